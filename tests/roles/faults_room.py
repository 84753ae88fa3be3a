"""Too little room: a full disk under the log and under a cache, and a limit of memory that is hardly more than what is needed; a long log to start from."""

from __future__ import annotations

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections import Counter
from typing import Any

import grpc
import numpy as np
from pymilvus import MilvusClient
from pymilvus.grpc_gen import milvus_pb2, milvus_pb2_grpc

from cluster import Cluster, Node
from load import ONCE, Load, Still, Workers, connect, make, until
from parts import all_alive, part, stopped


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


def kills_of(group: pathlib.Path) -> int:
    """How often the kernel killed somebody in a control group."""
    file = next(each for each in (group.parent / "memory.oom_control", group.parent / "memory.events") if each.exists())
    return sum(int(line.split()[1]) for line in file.read_text().splitlines() if line.startswith("oom_kill "))


def most_within(node: Node, seconds: float) -> int:
    """The most that a node was seen to have in memory meanwhile."""
    end, most = time.monotonic() + seconds, 0.0
    while time.monotonic() < end:
        most = max(most, node.figure("process_resident_memory_bytes"))
        time.sleep(0.1)
    return int(most)


@part
def little_memory(given: argparse.Namespace) -> dict[str, Any]:
    """A query node in a control group with a tenth more memory than the first collection and the common load need: the second collection
    is refused, no search fails and nobody is killed; without the first one it fits."""
    dim, rows, seconds = 1024, 15_000, 60 if given.long else 10
    with Cluster(query=0, keep=given.keep) as cluster:
        client = connect(cluster.uri)
        node = cluster.start("querynode")
        for name in ("first", "second"):
            wide(client, name, dim)
            client.release_collection(name)
            # In several segments: one is in memory twice while it is loaded.
            client.alter_collection_properties(name, {"collection.autocompaction.enabled": "false"})
            for begin in range(0, rows, 500):
                client.insert(name, [{"id": key, "value": 1, "vec": np.full(dim, key, dtype=np.float32).tolist()} for key in range(begin, begin + 500)])
                if (begin + 500) % 2500 == 0:
                    client.flush(name)
        still = Still(client, "still")
        make(client, "moving")
        probe = lambda name: client.search(name, [[5.0] * dim], limit=1, consistency_level="Strong", **ONCE)[0][0]["id"]
        workers = Workers()
        load = Load(workers, "moving", still, lambda: cluster.uri)
        # What a node under load needs without the first collection, and with it.
        time.sleep(2)
        idle = most_within(node, 8)
        client.load_collection("first")
        if probe("first") != 5:
            raise AssertionError("another answer")
        time.sleep(2)
        used = most_within(node, 8)
        client.release_collection("first")
        limit = int(1.1 * used)
        group = memory_group(f"redkite-test-{os.getpid()}", limit)
        try:
            # The setting is for data alone: the program and its work need what a node without the first collection needs.
            held = {"REDKITE__REDKITE__MEMORY__LIMITMB": str((limit - idle) >> 20), "REDKITE__REDKITE__MEMORY__LOADSHARE": "0.95"}
            small = cluster.start("querynode", environment=held, group=group)
            stopped(node)
            client.load_collection("first")
            refusal = ""
            try:
                client.load_collection("second", timeout=25)
            except Exception as error:  # as it should be
                refusal = str(error)[:300]
            status = progress_of(cluster, "second").status
            hint = status.code, status.retriable
            if not refusal:
                raise AssertionError(f"two collections fit where there is room for one: idle {idle >> 20}, with one {used >> 20}, limit {limit >> 20} MiB")
            full_for = time.monotonic()
            while time.monotonic() < full_for + seconds:
                if probe("first") != 5:
                    raise AssertionError("another answer")
            all_alive(cluster, (node,))
            most = most_within(small, 1)
            client.release_collection("first")
            client.load_collection("second", timeout=60)
            if probe("second") != 5:
                raise AssertionError("another answer")
            workers.stop()
            all_alive(cluster, (node,))
            if kills_of(group):
                raise AssertionError("somebody of the control group was killed")
            workers.none_failed("search")
            if hint != (EXHAUSTED, True):
                raise AssertionError(f"a collection without room is refused with (code, retriable) {hint}, wanted {EXHAUSTED} and retriable: {status.reason}")
            compared = load.compare(client)
            still.check(client)
            return {"idle, loaded, limit MiB": [each >> 20 for each in (idle, used, limit)], "refusal": status.reason, "resident then MiB": most >> 20,
                    "resident in the end MiB": most_within(small, 1) >> 20, **load.figures(), "rows compared": compared}
        finally:
            for each in cluster.of("querynode"):
                each.kill()
            until("the control group is free", 10, lambda: group.parent.rmdir() or True)


def peak(node: Node) -> int:
    """The most that a process ever had in memory."""
    lines = pathlib.Path(f"/proc/{node.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:"))


QUOTA = ("8", "9")  # Milvus's codes of a limit of rates and of a denial
SEGMENT_MIB = 64
BUSY_ROLES = ("streamingnode", "datanode")


class Heap:
    """A collection of wide rows, written by four threads as fast as it takes them, flushed every second meanwhile, and compacted."""

    name, dim, batch, writers = "heap", 512, 100, 4

    def __init__(self, client: MilvusClient, rows: int) -> None:
        self.rows, self.client = rows, client
        wide(client, self.name, self.dim)
        self.known: list[int] = []
        self.unknown: list[int] = []
        self.codes: Counter[str] = Counter()
        self.seen: set[int] = set()
        self.lock = threading.Lock()

    def write(self, uri: str, keys: range) -> None:
        """What is refused is written again, a little later; a failure of another kind ends the test."""
        client = connect(uri)
        for first in range(keys.start, keys.stop, self.batch):
            some = range(first, min(first + self.batch, keys.stop))
            data = [{"id": key, "value": 1, "vec": np.full(self.dim, key, dtype=np.float32).tolist()} for key in some]
            end = time.monotonic() + 60
            while True:
                try:
                    client.insert(self.name, data, **ONCE)
                    break
                except Exception as error:
                    code = re.search(r"\(code=(\d+)", str(error))
                    with self.lock:
                        self.codes[code.group(1) if code else str(error)[:200]] += 1
                    if code is None or code.group(1) not in QUOTA or time.monotonic() > end:
                        with self.lock:
                            self.unknown.extend(some)
                        return
                    time.sleep(0.1)
            with self.lock:
                self.known.extend(some)

    def fill(self, uri: str) -> float:
        """Seconds that it took."""
        begin, share = time.monotonic(), self.rows // self.writers
        threads = [threading.Thread(target=self.write, args=(uri, range(number * share, (number + 1) * share))) for number in range(self.writers)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            time.sleep(1)
            self.flush()
        for thread in threads:
            thread.join()
        return time.monotonic() - begin

    def flush(self) -> None:
        self.client.flush(self.name, timeout=60)
        self.seen |= self.segments()

    def segments(self) -> set[int]:
        return {each.segment_id for each in self.client.list_persistent_segments(self.name)}

    def compact(self) -> tuple[int, int, float]:
        """Merges what is still small: how many segments were seen, how many are left, and seconds. Those that are merged while the rows
        come are among them."""
        begin = time.monotonic()
        self.flush()

        def merged() -> bool:
            job = self.client.compact(self.name)
            until("a compaction", 60, lambda: self.client.get_compaction_state(job) == "Completed")
            left = len(self.segments())
            return left <= most and left < len(self.seen)

        # Two that are not full have room in one, so at most one is smaller than half a segment.
        most = self.rows * (4 * self.dim + 16) // (SEGMENT_MIB << 19) + 1
        try:
            until("segments that were merged", 120, merged)
        except AssertionError as error:
            raise AssertionError(f"{error}: {len(self.seen)} segments were seen, {len(self.segments())} are left, {most} wanted") from None
        return len(self.seen), len(self.segments()), time.monotonic() - begin

    def check(self) -> int:
        """Every row by value. Returns how many there are."""
        found: list[int] = []
        for first in range(0, self.rows, 2000):
            for each in self.client.query(self.name, f"id >= {first} and id < {first + 2000}", output_fields=["id", "vec"], consistency_level="Strong"):
                if not np.array_equal(np.array(each["vec"], dtype=np.float32), np.full(self.dim, each["id"], dtype=np.float32)):
                    raise AssertionError(f"row {each['id']} has another vector")
                found.append(each["id"])
        lost, strange = set(self.known) - set(found), set(found) - set(self.known) - set(self.unknown)
        if lost or strange or len(found) != len(set(found)):
            raise AssertionError(f"{len(lost)} acknowledged rows are lost, {len(strange)} from nowhere, {len(found)} found")
        return len(found)


@part
def little_memory_writing(given: argparse.Namespace) -> dict[str, Any]:
    """An owner and a node for jobs in control groups with a tenth more memory than they had at most when nothing limited them, under
    writers at full speed and then a compaction: writes are slower or refused for lack of room, nobody is killed, and every row is there.
    Not the common load: its rows are too small to fill anything."""
    rows = 80_000 if given.long else 40_000
    figures: dict[str, Any] = {}
    limits: dict[str, int] = {}
    for limited in (False, True):
        with Cluster(streaming=0, data=0, keep=given.keep, environment={"REDKITE__DATACOORD__SEGMENT__MAXSIZE": str(SEGMENT_MIB)}) as cluster:
            groups = {role: memory_group(f"redkite-test-{os.getpid()}-{role}", limits[role]) for role in BUSY_ROLES} if limited else {}
            try:
                nodes = {role: cluster.start(role, group=groups.get(role)) for role in BUSY_ROLES}
                heap = Heap(connect(cluster.uri), rows)
                took = heap.fill(cluster.uri)
                before, after, compacted = heap.compact()
                found = heap.check()
                all_alive(cluster)
                most = {role: peak(node) for role, node in nodes.items()}
                killed = {role: count for role, group in groups.items() if (count := kills_of(group))}
                if killed or set(heap.codes) - set(QUOTA):
                    raise AssertionError(f"killed for memory: {killed}, writes refused by code: {dict(heap.codes)}, at most {most}, limits {limits}")
                if found != rows:
                    raise AssertionError(f"{rows - found} rows could not be written: {dict(heap.codes)}")
                limits = limits or {role: int(1.1 * size) for role, size in most.items()}
                word = "limited" if limited else "unlimited"
                figures.update({f"{word}: at most MiB": {role: size >> 20 for role, size in most.items()}, f"{word}: filled s": round(took, 1),
                                f"{word}: writes refused by code": dict(heap.codes), f"{word}: segments seen and left": [before, after],
                                f"{word}: compacted s": round(compacted, 1)})
            finally:
                for role in BUSY_ROLES:
                    for node in cluster.of(role):
                        node.kill()
                for group in groups.values():
                    until("the control group is free", 10, lambda: group.parent.rmdir() or True)
    return {"rows": rows, "limits MiB": {role: size >> 20 for role, size in limits.items()}, **figures}
