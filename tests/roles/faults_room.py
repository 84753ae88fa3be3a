"""Too little room: a full disk under the log and under a cache, and a limit of memory that is hardly more than what is needed; a long log to start from."""

from __future__ import annotations

import argparse
import os
import pathlib
import shutil
import subprocess
import tempfile
import time
from typing import Any

import grpc
import numpy as np
from pymilvus import MilvusClient
from pymilvus.grpc_gen import milvus_pb2, milvus_pb2_grpc

from cluster import Cluster, Node
from load import ONCE, Load, Still, Workers, connect, make, until
from parts import all_alive, part


def small(folder: pathlib.Path, size: str) -> None:
    """A file system of that size in the folder; made larger if it is there. It is gone with this process's namespace."""
    folder.mkdir(parents=True, exist_ok=True)
    option = f"remount,size={size}" if os.path.ismount(folder) else f"size={size}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", option, "tmpfs", folder], check=True)


class Alone:
    """A standalone in a folder."""

    def __init__(self, folder: pathlib.Path, settings: dict[str, str] | None = None, group: pathlib.Path | None = None) -> None:
        self.node = Node("standalone-0", "standalone", folder, settings or {}, group=group)
        self.node.wait_healthy()

    def client(self) -> MilvusClient:
        return connect(self.node.uri)


def keys_of(client: MilvusClient, name: str) -> list[int]:
    found = client.query(name, filter="id >= 0", output_fields=["id", "value"], consistency_level="Strong", limit=16_000, **ONCE)
    if any(each["value"] != 1 for each in found):
        raise AssertionError("a row has another value")
    return sorted(each["id"] for each in found)


def wide(client: MilvusClient, name: str, dim: int) -> None:
    """A collection whose rows are mostly vector; without an index it is scanned."""
    make(client, name, shards=1, dim=dim)


def fill(client: MilvusClient, name: str, dim: int, rows: int, begin: int, known: list[int], unknown: list[int], most: int) -> str:
    """Inserts until a refusal, which is returned; acknowledged and other keys go to the lists."""
    for first in range(begin, begin + most, rows):
        keys = list(range(first, first + rows))
        data = [{"id": key, "value": 1, "vec": np.full(dim, key, dtype=np.float32).tolist()} for key in keys]
        try:
            client.insert(name, data, **ONCE)
        except Exception as error:  # the refusal
            unknown.extend(keys)
            return str(error)[:300]
        known.extend(keys)
    raise AssertionError(f"{most} rows fit, so the room is not small")


def whole(client: MilvusClient, name: str, known: list[int], unknown: list[int]) -> None:
    found = keys_of(client, name)
    lost, strange = set(known) - set(found), set(found) - set(known) - set(unknown)
    if lost or strange or len(found) != len(set(found)):
        raise AssertionError(f"{len(lost)} acknowledged rows are lost, {len(strange)} from nowhere, {len(found)} found")


@part
def full_disk(given: argparse.Namespace) -> dict[str, Any]:
    """The disk under the log of a standalone is full: writes are refused, reads go on, and once there is room writes do too. Not the
    common load: its small rows would take long to fill a disk, and a failed write ends what a writer may do with its keys."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="redkite-room-"))
    disk = folder / "standalone-0.data"
    small(disk, "24m")
    alone = Alone(folder)
    try:
        client, dim = alone.client(), 2048
        wide(client, "filled", dim)
        known: list[int] = []
        unknown: list[int] = []
        refusal = fill(client, "filled", dim, 50, 0, known, unknown, 16_000)
        fitted = len(known)
        # Again and again: a full disk does not get better by being asked.
        for turn in range(3):
            try:
                client.insert("filled", [{"id": 90_000 + turn, "value": 1, "vec": [1.0] * dim}] * 1, **ONCE)
                known.append(90_000 + turn)  # a small record may still fit
            except Exception:  # as it should be
                unknown.append(90_000 + turn)
        if not alone.node.alive() or not alone.node.healthy():
            raise AssertionError(f"the process did not outlive a full disk\n{alone.node.tail()}")
        reads = 0
        while reads < 20:
            hits = client.search("filled", [[1.0] * dim], limit=3, consistency_level="Eventually", **ONCE)[0]
            if hits[0]["id"] != 1:
                raise AssertionError(f"another answer on a full disk: {hits}")
            reads += 1
        small(disk, "96m")
        key = iter(range(100_000, 200_000))

        def written() -> bool:
            number = next(key)
            try:
                client.insert("filled", [{"id": number, "value": 1, "vec": [1.0] * dim}], **ONCE)
            except Exception:
                unknown.append(number)
                raise
            known.append(number)
            return True

        resumed = until("writes once there is room", 60, written)
        whole(client, "filled", known, unknown)
        alone.node.kill()
        alone.node.start()
        alone.node.wait_healthy()
        until("rows after a restart", 30, lambda: keys_of(alone.client(), "filled"))
        whole(alone.client(), "filled", known, unknown)
        return {"rows until full": fitted, "refusal": refusal[-160:], "rows compared twice": len(known), "reads on a full disk": reads, "writes again s": round(resumed, 1)}
    finally:
        alone.node.kill()
        subprocess.run(["umount", "-l", disk])
        shutil.rmtree(folder, ignore_errors=True)


@part
def long_log(given: argparse.Namespace) -> dict[str, Any]:
    """256 MB of log that nothing has been flushed of, and a standalone that is killed: how long it takes to have every row again.
    Without load: the log is to have that size and the start is timed."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="redkite-room-"))
    settings = {"REDKITE__DATACOORD__SEGMENT__MAXSIZE": "8192", "REDKITE__DATACOORD__SEGMENT__MAXIDLETIME": "36000"}
    alone = Alone(folder, settings)
    try:
        client, dim, rows = alone.client(), 2048, 32_768
        wide(client, "long", dim)
        for first in range(0, rows, 512):
            client.insert("long", [{"id": key, "value": 1, "vec": np.full(dim, key, dtype=np.float32).tolist()} for key in range(first, first + 512)])
        size = sum(file.stat().st_size for file in (folder / "standalone-0.data" / "log").rglob("*") if file.is_file())
        if size < 256_000_000:
            raise AssertionError(f"the log has {size} bytes, so something was flushed")
        alone.node.kill()
        begin = time.monotonic()
        alone.node.start()
        alone.node.wait_healthy()
        healthy = time.monotonic() - begin
        count = lambda: alone.client().query("long", filter="", output_fields=["count(*)"], consistency_level="Strong", **ONCE)[0]["count(*)"]
        until("every row", 60, lambda: count() == rows)
        whole_again = time.monotonic() - begin
        if whole_again > 10 * size / 256e6:
            raise AssertionError(f"{size >> 20} MiB of log took {whole_again:.1f} s")
        return {"log MiB": size >> 20, "healthy s": round(healthy, 1), "every row s": round(whole_again, 1)}
    finally:
        alone.node.kill()
        shutil.rmtree(folder, ignore_errors=True)


@part
def full_cache(given: argparse.Namespace) -> dict[str, Any]:
    """A query node whose cache has no room on its disk loads and answers like any other."""
    with Cluster(query=0, keep=given.keep) as cluster:
        small(cluster.folder / "querynode-0.data", "256k")
        node = cluster.start("querynode", environment={"REDKITE__REDKITE__CACHE__BUDGETMB": "64"})
        client = connect(cluster.uri)
        still = Still(client, "still", sealed=6000, growing=100)
        until("the cache's complaint", 30, lambda: "the disk cache cannot be" in node.log.read_text(errors="replace"))
        still.check(client)
        make(client, "moving")
        workers = Workers()
        load = Load(workers, "moving", still, lambda: cluster.uri)
        time.sleep(3)
        workers.none_failed("search")
        node.kill()
        node.start()
        node.wait_healthy()
        again = until("an answer after a restart", 30, lambda: still.check(client) or True)
        workers.stop()
        rows = load.compare(client)
        all_alive(cluster)
        subprocess.run(["umount", "-l", cluster.folder / "querynode-0.data"])
        return {"back s": round(again, 1), **load.figures(), "rows compared": rows}


def memory_group(name: str, size: int) -> pathlib.Path:
    """A control group that limits memory; returns the file that takes processes."""
    root = pathlib.Path("/sys/fs/cgroup")
    if (root / "memory").is_dir():
        group, limit = root / "memory" / name, "memory.limit_in_bytes"
    else:
        (root / "cgroup.subtree_control").write_text("+memory")
        group, limit = root / name, "memory.max"
    group.mkdir(exist_ok=True)
    (group / limit).write_text(str(size))
    return group / "cgroup.procs"


EXHAUSTED = 12  # Milvus's code of a lack of resources


def progress_of(cluster: Cluster, name: str) -> Any:
    """The answer to how far a collection is loaded, as it is on the wire: pymilvus does not show the hint, and asks again by itself. Where
    it cannot be loaded the answer takes as long as a call between nodes may, since the proxy asks again meanwhile."""
    with grpc.insecure_channel(cluster.uri.removeprefix("http://")) as channel:
        request = milvus_pb2.GetLoadingProgressRequest(collection_name=name)
        return milvus_pb2_grpc.MilvusServiceStub(channel).GetLoadingProgress(request, timeout=30)


def at_rest(node: Node) -> float:
    """What a node has in memory once it gives nothing back any more."""
    while True:
        before = node.figure("process_resident_memory_bytes")
        time.sleep(2)
        if before - (after := node.figure("process_resident_memory_bytes")) < 1e6:
            return after


@part
def little_memory(given: argparse.Namespace) -> dict[str, Any]:
    """A query node in a control group with a tenth more memory than the first collection needs: the second one is refused and
    nobody is killed; without the first one it fits. Without load: what a node needs at rest is measured first."""
    dim, rows = 1024, 15_000
    with Cluster(query=0, keep=given.keep) as cluster:
        client = connect(cluster.uri)
        # What a node without load needs, and one that has loaded the first collection.
        node = cluster.start("querynode")
        idle = int(node.figure("process_resident_memory_bytes"))
        for name in ("first", "second"):
            wide(client, name, dim)
            client.release_collection(name)
            # In several segments: one is in memory twice while it is loaded.
            client.alter_collection_properties(name, {"collection.autocompaction.enabled": "false"})
            for begin in range(0, rows, 500):
                client.insert(name, [{"id": key, "value": 1, "vec": np.full(dim, key, dtype=np.float32).tolist()} for key in range(begin, begin + 500)])
                if (begin + 500) % 2500 == 0:
                    client.flush(name)
        client.load_collection("first")
        probe = lambda name: client.search(name, [[5.0] * dim], limit=1, consistency_level="Strong", **ONCE)[0][0]["id"]
        if probe("first") != 5:
            raise AssertionError("another answer")
        used = at_rest(node)
        client.release_collection("first")
        node.stop()
        limit = int(1.1 * used)
        group = memory_group(f"redkite-test-{os.getpid()}", limit)
        try:
            # The setting is for data alone: the program and its work need what a node without load needs.
            held = {"REDKITE__REDKITE__MEMORY__LIMITMB": str((limit - idle) >> 20), "REDKITE__REDKITE__MEMORY__LOADSHARE": "0.95"}
            node = cluster.start("querynode", environment=held, group=group)
            client.load_collection("first")
            refusal = ""
            try:
                client.load_collection("second", timeout=25)
            except Exception as error:  # as it should be
                refusal = str(error)[:300]
            status = progress_of(cluster, "second").status
            hint = status.code, status.retriable
            if not refusal:
                raise AssertionError(f"two collections fit where there is room for one: idle {idle >> 20}, with one {used / 2**20:.0f}, limit {limit >> 20} MiB")
            for _ in range(20):
                if probe("first") != 5:
                    raise AssertionError("another answer")
            all_alive(cluster, tuple(each for each in cluster.nodes.values() if each.role == "querynode" and each is not node))
            client.release_collection("first")
            client.load_collection("second", timeout=60)
            if probe("second") != 5:
                raise AssertionError("another answer")
            if not node.alive():
                raise AssertionError("the node was killed")
            if hint != (EXHAUSTED, True):
                raise AssertionError(f"a collection without room is refused with (code, retriable) {hint}, wanted {EXHAUSTED} and retriable: {status.reason}")
            most = node.figure("process_resident_memory_bytes")
            return {"idle, loaded, limit MiB": [round(each / 2**20) for each in (idle, used, limit)], "refusal": status.reason, "resident then MiB": round(most / 2**20)}
        finally:
            node.kill()
            until("the control group is free", 10, lambda: group.parent.rmdir() or True)
