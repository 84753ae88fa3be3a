"""What a cluster of roles withstands, each part on a cluster of its own.

    faults.py PART [--long] [--figures FILE] [--keep]

Prints what was measured; FILE gets a line of the table of docs/results/roles.md.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import pathlib
import re
import signal
import sys
import threading
import time
import traceback
import urllib.error
from typing import Any

import numpy as np
from pymilvus import DataType, MilvusClient

import faults_admin  # noqa: F401 - each brings its parts
import faults_catalog  # noqa: F401
import faults_clocks  # noqa: F401
import faults_management  # noqa: F401
import faults_net  # noqa: F401
import faults_owners  # noqa: F401
import faults_room  # noqa: F401
import faults_store  # noqa: F401
import network
from cluster import ROLES, Cluster, Node, free_port, get
from faults_room import memory_group, progress_of, wide
from load import DIM, ONCE, WRITES, Load, Stamps, Still, Workers, connect, make, row, until, vector
from parts import PARTS, all_alive, full, leader_of, part, stopped
from relay import Relay

# Parts that need a namespace of their own, for networks and mounts.
APART = ("network", "full-disk", "full-cache")

# ---------------------------------------------------------------- query nodes


@part
def torn(given: argparse.Namespace) -> dict[str, Any]:
    """One copy over three query nodes, all of whose keys are upserted again and again and flushed: every read finds every key once.
    Not the common load: what is looked for needs few keys that are all replaced while each level of read looks at all of them."""
    keys = range(600)
    with Cluster(query=3, keep=given.keep) as cluster:
        client = connect(cluster.uri)
        make(client, "torn")
        for first in range(0, len(keys), 100):
            client.insert("torn", [row(key, 0) for key in keys[first : first + 100]])
            client.flush("torn")
        until("a copy on three nodes", 60, lambda: full(client, "torn", 1, 3))
        workers, turn = Workers(), [0]

        def write() -> None:
            turn[0] += 1
            first = turn[0] % 6 * 100
            rows = [row(key, turn[0]) for key in keys[first : first + 100]]
            workers.timed("upsert", lambda: writer.upsert("torn", rows, **ONCE))

        def flush() -> None:
            workers.timed("flush", lambda: flusher.flush("torn"))

        def read(level: str) -> None:
            found = client.query("torn", f"id < {len(keys)}", output_fields=["id"], consistency_level=level, **ONCE)
            ids = sorted(each["id"] for each in found)
            if ids != list(keys):
                raise AssertionError(f"{level}: {len(ids)} rows, {len(set(ids))} keys")
            count = client.query("torn", "", output_fields=["count(*)"], consistency_level=level, **ONCE)[0]["count(*)"]
            if count != len(keys):
                raise AssertionError(f"{level}: {count} counted")

        writer, flusher = connect(cluster.uri), connect(cluster.uri)
        workers.spawn(write)
        workers.spawn(flush, pause=2)
        for level in ("Strong", "Session", "Bounded", "Eventually"):
            workers.spawn(lambda level=level: workers.timed(level, lambda: read(level)))
        time.sleep(120 if given.long else 20)
        workers.stop()
        for kind in ("Strong", "Session", "Bounded", "Eventually", "upsert"):
            workers.none_failed(kind)
        all_alive(cluster)
        return {**workers.figures("Strong"), **workers.figures("Bounded"), **workers.figures("upsert"), **workers.figures("flush")}


@part
def kill_query(given: argparse.Namespace) -> dict[str, Any]:
    """One of two replicas dies, and a node comes in its place: in the minute after the kill hardly a search fails, and within it both
    replicas are whole, so that the other one may die too."""
    minute = 60.0
    with Cluster(query=2, keep=given.keep) as cluster:
        client = connect(cluster.uri)
        still = Still(client, "still", replicas=2)
        make(client, "moving", replicas=2)
        until("two replicas on two nodes", 30, lambda: full(client, "still", 2, 2))
        still.check(client)
        workers = Workers()
        load = Load(workers, "moving", still, lambda: cluster.uri)
        time.sleep(3)
        first, second = cluster.of("querynode")
        killed = time.monotonic()
        first.kill()
        # As a supervisor would, which needs its time to notice.
        time.sleep(10)
        cluster.start("querynode")
        until("full again", minute, lambda: full(client, "still", 2, 2) and full(client, "moving", 2, 2))
        again = time.monotonic() - killed
        time.sleep(max(0.0, killed + minute - time.monotonic()))
        in_time = workers.of("search", killed, killed + minute)
        failed = workers.failures("search", killed, killed + minute)
        second.kill()
        time.sleep(6)
        workers.stop()
        if again > minute:
            raise AssertionError(f"full again only {again:.1f} s after the kill")
        workers.none_failed("search", 0.001, killed, killed + minute)
        workers.none_failed("search", 0.001)
        rows = load.compare(client)
        still.check(client)
        all_alive(cluster, (first, second))
        return {"in 60 s": len(in_time), "failed in 60 s": len(failed), **load.figures(), "full again after the kill s": round(again, 1), "rows compared": rows}


@part
def scale(given: argparse.Namespace) -> dict[str, Any]:
    """One query node, then three, then one that is not the first, under constant searches."""
    with Cluster(query=1, keep=given.keep) as cluster:
        client = connect(cluster.uri)
        still = Still(client, "still")
        make(client, "moving")
        still.check(client)
        workers = Workers()
        load = Load(workers, "moving", still, lambda: cluster.uri)
        time.sleep(2)
        old = cluster.of("querynode")
        added = [cluster.start("querynode"), cluster.start("querynode")]
        spread = until("three nodes at work", 30, lambda: full(client, "still", 1, 3))
        time.sleep(3)
        took = [stopped(node) for node in (old[0], added[0])]
        time.sleep(3)
        workers.stop()
        workers.none_failed("search")
        rows = load.compare(client)
        still.check(client)
        all_alive(cluster, (old[0], added[0]))
        return {**load.figures(), "rows compared": rows, "three at work s": round(spread, 1), "ends s": [round(each, 1) for each in took]}


def loads(cluster: Cluster, nodes: list[Node]) -> list[float]:
    """Rows in the memory of each node."""
    return [node.figure("milvus_querynode_entity_num") for node in nodes]


class Limited:
    """Query nodes in control groups of `size` bytes each; the most that each was seen to have in memory."""

    def __init__(self, cluster: Cluster, size: int) -> None:
        self.cluster, self.size = cluster, size
        self.groups: list[pathlib.Path] = []
        self.most: dict[str, float] = {}
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def start(self, wait: bool = True) -> Node:
        group = memory_group(f"redkite-test-{os.getpid()}-{len(self.groups)}", self.size)
        self.groups.append(group.parent)
        return self.cluster.start("querynode", wait=wait, group=group)

    def watch(self) -> None:
        while not self.ended.wait(0.3):
            for node in self.cluster.of("querynode"):
                try:
                    size = node.figure("process_resident_memory_bytes")
                except OSError:  # not there yet, or not any more
                    continue
                self.most[node.name] = max(self.most.get(node.name, 0.0), size)

    def check(self) -> list[int]:
        """MiB of each at most, none of them above the limit."""
        above = {name: size for name, size in self.most.items() if size > self.size}
        if above or not self.most:
            raise AssertionError(f"above the limit of {self.size >> 20} MiB: {above}")
        return [round(size / 2**20) for size in self.most.values()]

    def close(self) -> None:
        self.ended.set()
        self.thread.join(10)
        for node in self.cluster.of("querynode"):
            node.kill()
        for group in self.groups:
            until("the control group is free", 10, lambda: group.rmdir() or True)


class Heavy:
    """A collection of many small segments of wide rows, more than two query nodes may hold."""

    name, dim, segment = "heavy", 1024, 750

    def __init__(self, client: MilvusClient, size: int) -> None:
        self.rows = size // (4 * self.dim) // self.segment * self.segment
        wide(client, self.name, self.dim)
        client.release_collection(self.name)
        client.alter_collection_properties(self.name, {"collection.autocompaction.enabled": "false"})
        for begin in range(0, self.rows, self.segment):
            keys = range(begin, begin + self.segment)
            client.insert(self.name, [{"id": key, "value": 1, "vec": np.full(self.dim, key, dtype=np.float32).tolist()} for key in keys])
            client.flush(self.name)

    def lacks(self, cluster: Cluster) -> str:
        """Why it is not loaded; nothing once it is."""
        answer = progress_of(cluster, self.name)
        return answer.status.reason or ("" if answer.progress == 100 else f"{answer.progress} %")

    def check(self, client: MilvusClient) -> None:
        """A row of each segment is found by its vector."""
        for first in range(0, self.rows, self.segment * 8):
            keys = list(range(first, min(self.rows, first + self.segment * 8), self.segment))
            found = client.search(self.name, [[float(key)] * self.dim for key in keys], limit=1, consistency_level="Eventually", **ONCE)
            if [hits[0]["id"] for hits in found] != keys:
                raise AssertionError(f"another answer of the heavy collection: {found}")


def bytes_of(nodes: list[Node], ids: dict[int, int]) -> list[int]:
    """Bytes of rows in the memory of each node; `ids` has the bytes of a row of each collection."""
    found = []
    for node in nodes:
        total = 0
        for line in node.get("/metrics").splitlines():
            collection = re.search(r'^milvus_querynode_entity_num\{.*collection_id="(\d+)"', line)
            if collection:
                total += round(float(line.rsplit(" ", 1)[1])) * ids.get(int(collection.group(1)), 4 * DIM + 16)
        found.append(total)
    return found


@part
def spread(given: argparse.Namespace) -> dict[str, Any]:
    """Two query nodes with little memory, then six, then four, then two that are not the first, under the common load with 200 searches
    a second; then one that can hand nothing over. A collection for which two nodes have no room waits for more of them, and no node
    ever has more in memory than its limit."""
    most, limit = 6, 160 << 20
    # What placement fills: 0.85 of what the program leaves, see `redkite.memory`. Two nodes have less than this, three have more.
    heavy_bytes = int(2.3 * 0.85 * (limit - (64 << 20)))
    roles = {"querynode": {"REDKITE__QUERYNODE__GRACEFULSTOPTIMEOUT": "5"}}
    with Cluster(query=0, keep=given.keep, roles=roles) as cluster:
        limited = Limited(cluster, limit)
        try:
            old = [limited.start(), limited.start()]
            client = connect(cluster.uri)
            stills = [Still(client, f"still{number}", sealed=1200, growing=0) for number in range(6)]
            still = Still(client, "still")
            still.check(client)
            make(client, "moving")
            heavy = Heavy(client, heavy_bytes)
            row_bytes = {client.describe_collection("heavy")["collection_id"]: 4 * heavy.dim + 16}
            client.load_collection("heavy", _async=True)
            # 18: what fits is loaded, and the rest waits: neither is anybody above the limit nor does it end.
            time.sleep(20)
            waits = heavy.lacks(cluster)
            if "no query node has memory" not in waits:
                raise AssertionError(f"{heavy.rows} rows of {4 * heavy.dim} bytes and two nodes of {limit >> 20} MiB: {waits or 'loaded'}")
            at_two = bytes_of(old, row_bytes)
            workers = Workers()
            load = Load(workers, "moving", [still, *stills], lambda: cluster.uri)
            time.sleep(2)
            begin = time.monotonic()
            added = [limited.start(wait=False) for _ in range(most - len(old))]
            for node in added:
                node.wait_healthy()
            spread: list[int] = []

            def even() -> bool:
                spread[:] = bytes_of(cluster.of("querynode"), row_bytes)
                return min(spread) > 0 and max(spread) / min(spread) <= 1.3 and not heavy.lacks(cluster)

            try:
                until("an even load", 120, even)
            except AssertionError as error:
                raise AssertionError(f"{error}: bytes of each node {spread}, the heavy collection: {heavy.lacks(cluster) or 'loaded'}") from None
            took = time.monotonic() - begin
            heavy.check(client)
            time.sleep(2)
            # 17: six to four with all of it, four to two with what two can hold.
            ends = [stopped(node) for node in old]
            heavy.check(client)
            client.release_collection("heavy")
            time.sleep(2)
            four = time.monotonic()
            ends += [stopped(node) for node in added[: most - 4]]
            time.sleep(max(2.0, four + 10 - time.monotonic()))
            two = time.monotonic()
            rate = len([1 for _, _, error in workers.of("search", four, two) if error is None]) / (two - four)
            workers.stop()
            workers.none_failed("search")
            if max(ends) > 120:
                raise AssertionError(f"a node that leaves ended only after {ends} s")
            rows = load.compare(client)
            for each in (still, *stills):
                each.check(client)
            figures = load.figures()
            # Nobody is left who could take anything over from the last one: it goes at its deadline.
            last = cluster.of("querynode")
            stopped(last[0])
            alone = stopped(last[1], 5 + 15)
            if alone < 4:
                raise AssertionError(f"the last query node was gone after {alone:.1f} s, before its deadline")
            all_alive(cluster, (*old, *added))
            resident = limited.check()
            found = {**figures, "searches a second from four to two": round(rate), "at two nodes": waits,
                     "MiB of rows of two": [each >> 20 for each in at_two], "MiB of rows of six": [each >> 20 for each in spread],
                     "even s": round(took, 1), "ends s": [round(each, 1) for each in ends], "ends with nobody to hand over to s": round(alone, 1),
                     "limit MiB": limit >> 20, "resident at most MiB": resident, "rows compared": rows}
            if rate < 200:
                raise AssertionError(f"only {rate:.0f} searches a second from four to two nodes, 200 are promised: {found}")
            return found
        finally:
            limited.close()


@part
def one_replica(given: argparse.Namespace) -> dict[str, Any]:
    """The only query node of a part dies and comes back on the same disk, whose cache is warm. Not the common load: the requests
    that the cache saves are counted, and what is written meanwhile would be among them."""
    roles = {"querynode": {"REDKITE__REDKITE__CACHE__BUDGETMB": "256"}}
    with Cluster(query=2, between=True, roles=roles, keep=given.keep) as cluster:
        client = connect(cluster.uri)
        stills = [Still(client, f"still{number}", sealed=2000, growing=100) for number in range(3)]
        until("both at work", 30, lambda: min(loads(cluster, cluster.of("querynode"))) > 0)
        time.sleep(2)
        figures: dict[str, Any] = {}
        for returns in (False, True):
            victim = cluster.of("querynode")[0]
            before, killed = cluster.between.seen("store")["requests"], time.monotonic()
            victim.kill()
            if returns:
                victim.start()

            def back() -> bool:
                for still in stills:
                    still.check(client)
                return True

            until("all of it again", 30, back)
            figures["back by the same node s" if returns else "back by the other s"] = round(time.monotonic() - killed, 1)
            if returns:
                figures["requests then"] = cluster.between.seen("store")["requests"] - before
                victim.wait_healthy()
            else:
                victim.start()
                victim.wait_healthy()
                until("both at work again", 60, lambda: min(loads(cluster, cluster.of("querynode"))) > 0)
        all_alive(cluster)
        return figures


@part
def replicas(given: argparse.Namespace) -> dict[str, Any]:
    """A loaded collection gets a second replica and loses it again, three times, under constant searches."""
    with Cluster(query=2, keep=given.keep) as cluster:
        client = connect(cluster.uri)
        still = Still(client, "still")
        make(client, "moving")
        still.check(client)
        workers = Workers()
        load = Load(workers, "moving", still, lambda: cluster.uri)
        took: dict[int, list[float]] = {1: [], 2: []}
        for number in (2, 1, 2, 1, 2, 1):
            begin = time.monotonic()
            client.load_collection("still", replica_number=number)
            until(f"{number} replicas", 30, lambda: full(client, "still", number, 2))
            took[number].append(round(time.monotonic() - begin, 1))
            time.sleep(1)
            still.check(client)
        workers.stop()
        workers.none_failed("search")
        rows = load.compare(client)
        all_alive(cluster)
        return {**load.figures(), "rows compared": rows, "to two s": took[2], "to one s": took[1]}


# ---------------------------------------------------------------- writers


@part
def kill_writer(given: argparse.Namespace) -> dict[str, Any]:
    """One of two streaming nodes dies among writers and searchers."""
    with Cluster(streaming=2, keep=given.keep) as cluster:
        client = connect(cluster.uri)
        still = Still(client, "still")
        make(client, "moving")
        workers = Workers()
        # Reads of sealed data are promised; what waits for a mark of an owner waits for the next owner.
        load = Load(workers, "moving", still, lambda: cluster.uri, "Eventually")
        reader = connect(cluster.uri)
        probe = vector(1, 1).tolist()
        workers.spawn(lambda: workers.timed("search of the moving", lambda: reader.search(
            "moving", [probe], limit=5, consistency_level="Eventually", **ONCE)), 0.01)
        time.sleep(5)
        victim = cluster.of("streamingnode")[0]
        killed = time.monotonic()
        victim.kill()
        time.sleep(60 if given.long else 20)
        workers.stop()
        # Every insert is spread over both channels, so one that succeeds shows that both accept.
        done = sorted(begin + took - killed for begin, took, error in workers.of("insert", killed) if error is None)
        refused = sorted(begin - killed for kind in WRITES for begin, _, error in workers.of(kind, killed) if error)
        again = max([moment for moment in done[:1]] + refused[-1:], default=None)
        if not done or again > 15:
            raise AssertionError(f"writes again only after {again} s: {workers.failures('insert', killed)[:3]}")
        gap = max((b - a for a, b in zip([0.0, *done], done)), default=0.0)
        workers.none_failed("search")
        workers.none_failed("search of the moving")
        rows = load.compare(client)
        still.check(client)
        all_alive(cluster, (victim,))
        return {**load.figures(), "longest time without a write s": round(gap, 1), "rows compared": rows}


# ---------------------------------------------------------------- coordinators


@part
def kill_leader(given: argparse.Namespace) -> dict[str, Any]:
    """The leading coordinator dies three times; another leads; reads and writes do not notice. The first change that the new
    one makes is an alias switch through one proxy, which the other proxy knows at once."""
    with Cluster(coords=2, proxies=2, keep=given.keep) as cluster:
        client, other = (connect(uri) for uri in cluster.uris)
        still = Still(client, "still")
        make(client, "moving")
        client.create_collection("own", dimension=4, auto_id=True)
        workers = Workers()
        load = Load(workers, "moving", still, lambda: cluster.uri)
        stamps = Stamps(workers, [client, other])
        keys: list[int] = []

        def generated() -> None:
            keys.extend(inserter.insert("own", [{"vector": [0.0, 1.0, 2.0, 3.0]}] * 5, **ONCE)["ids"])

        inserter = connect(cluster.uri)
        workers.spawn(lambda: workers.timed("insert with own keys", generated), 0.01)
        ids, times, victims = {client.describe_collection(name)["collection_id"] for name in ("still", "moving", "own")}, [], []
        schema = MilvusClient.create_schema(auto_id=True)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vec", DataType.FLOAT_VECTOR, dim=4)
        index = client.prepare_index_params()
        index.add_index("vec", index_type="FLAT", metric_type="L2")
        for name, mark in (("red", 1), ("blue", 2)):
            make(client, name, shards=1)
            client.insert(name, [row(0, mark)], **ONCE)
        client.create_alias("red", "colour")
        made, loaded, stale, killed = 3, [], [], 0.0
        for round_ in range(30 if given.long else 3):
            # Every twenty seconds for ten minutes in the long form.
            time.sleep(max(1.0, killed + 20 - time.monotonic()) if given.long and victims else 1)
            victim = leader_of(cluster)
            victims.append(victim)
            killed = time.monotonic()
            victim.kill()
            name, tries = f"after_{round_}", []

            target, mark = (("blue", [2]), ("red", [1]))[round_ % 2]
            until("DDL again", 30, lambda: client.alter_alias(target, "colour", **ONCE) or True)
            times.append(round(time.monotonic() - killed, 1))
            found = other.query("colour", filter="id == 0", output_fields=["value"], consistency_level="Strong", **ONCE)
            if [each["value"] for each in found] != mark:
                stale.append(f"{target} wanted, {found} found")
            tries.append(name)
            client.create_collection(name, schema=schema, **ONCE)
            client.create_index(tries[-1], index)
            client.load_collection(tries[-1])
            loaded.append(round(time.monotonic() - killed, 1))
            ids.add(client.describe_collection(tries[-1])["collection_id"])
            made += 1
            cluster.start("mixcoord")
        time.sleep(1)
        workers.stop()
        for kind in ("search", *WRITES, "insert with own keys"):
            workers.none_failed(kind)
        if stale:
            raise AssertionError(f"the other proxy did not know of an alias switch: {stale}; DDL again {times} s, loaded {loaded} s")
        numbers = [*load.changes.ids.values(), *ids]
        if len(ids) != made or len(set(numbers)) != len(numbers):
            raise AssertionError(f"{made + len(load.changes.ids)} collections have {len(set(numbers))} ids")
        if len(set(keys)) != len(keys):
            raise AssertionError(f"{len(keys)} generated keys, {len(set(keys))} of them different")
        if max(times) > 10:
            raise AssertionError(f"DDL again only after {times} s")
        rows = load.compare(client)
        all_alive(cluster, tuple(victims))
        return {"kills": len(victims), **load.figures(), "DDL again s": times, "loaded s": loaded, "generated keys, each once": len(keys),
                "timestamps, each above all before": len(stamps.given), "collections, each with its own number": len(numbers), "rows compared": rows}


@part
def leader_cut(given: argparse.Namespace) -> dict[str, Any]:
    """The leader hears nothing of etcd any more, and everybody else does: another one leads, all nodes go to it, changes and
    loads work, and reads and writes do not notice. The old one lives and finds out."""
    with Cluster(query=2, keep=given.keep) as cluster:
        client = connect(cluster.uri)
        still = Still(client, "still", replicas=2)
        make(client, "moving")
        first = cluster.of("mixcoord")[0]
        relay = Relay(cluster.etcd.split(","))
        try:
            alone = cluster.start("mixcoord", environment={"ETCD_ENDPOINTS": ",".join(relay.addresses)})
            stopped(first)
            until("the one behind the relay leads", 30, lambda: "coordinator leads" in alone.log.read_text(errors="replace"))
            standby = cluster.start("mixcoord")
            client.create_collection("before", dimension=4)
            workers = Workers()
            load = Load(workers, "moving", still, lambda: cluster.uri)
            time.sleep(2)
            gone = time.monotonic()
            relay.cut.set()
            until("another one leads", 30, lambda: "coordinator leads" in standby.log.read_text(errors="replace"))
            led = time.monotonic() - gone
            until("a change", 30, lambda: client.alter_collection_properties("before", {"a": "b"}, **ONCE) or True)
            changed = time.monotonic() - gone
            make(client, "after", replicas=2)
            loaded = time.monotonic() - gone
            until("two replicas on two nodes", 30, lambda: full(client, "after", 2, 2))
            time.sleep(2)
            workers.stop()
            for kind in ("search", *WRITES):
                workers.none_failed(kind)
            if changed > 15:
                raise AssertionError(f"a change only after {changed} s")
            rows = load.compare(client)
            still.check(client)
            all_alive(cluster, (first,))
            return {**load.figures(), "another leads s": round(led, 1),
                    "changes s": round(changed, 1), "loaded s": round(loaded, 1), "rows compared": rows}
        finally:
            relay.stop()


def without_etcd(given: argparse.Namespace, kill: bool) -> dict[str, Any]:
    """All of etcd goes away and comes back; what was measured."""
    away = 600 if given.long else 30
    with Cluster(keep=given.keep) as cluster:
        client = connect(cluster.uri)
        still = Still(client, "still")
        make(client, "moving")
        workers = Workers()
        load = Load(workers, "moving", still, lambda: cluster.uri)
        time.sleep(2)
        members = [server for name, server in cluster.servers.items() if name.startswith("etcd")]
        gone = time.monotonic()
        for member in members:
            if kill:
                member.kill()
            else:
                member.signal(signal.SIGSTOP)
        sick: dict[str, str] = {}
        while time.monotonic() < gone + away:
            for node in cluster.nodes.values():
                try:
                    node.get("/healthz")
                except Exception as error:  # any answer but 200
                    sick.setdefault(node.name, f"{time.monotonic() - gone:.1f} s: {error}")
            time.sleep(0.5)
        all_alive(cluster)
        meanwhile = [call for call in workers.of("change", gone + 2) if call[2] is None]
        if meanwhile:
            raise AssertionError(f"{len(meanwhile)} changes succeeded, so etcd was not away")
        back = time.monotonic()
        for member in members:
            if kill:
                member.start()
            else:
                member.signal(signal.SIGCONT)
        names = iter(f"after_{number}" for number in range(10_000))
        # Normal again: a change, a flush (which names objects in the catalog) and a load, of what was written and sealed meanwhile.
        until("DDL again", 60, lambda: client.create_database(next(names), **ONCE) or True)
        again = time.monotonic() - back
        until("a flush", 60, lambda: client.flush("moving", timeout=30) or True)
        flushed = time.monotonic() - back
        made = next(names)
        until("a load", 60, lambda: make(client, made) or True)
        client.insert(made, [row(1, 1)], **ONCE)
        found = client.query(made, filter="id == 1", output_fields=["value"], consistency_level="Strong", **ONCE)
        if [each["value"] for each in found] != [1]:
            raise AssertionError(f"the collection that was loaded answers {found}")
        loaded = time.monotonic() - back
        time.sleep(2)
        workers.stop()
        if sick:
            raise AssertionError(f"/healthz was not 200: {sick}")
        for kind in ("search", *WRITES):
            workers.none_failed(kind)
        if max(again, flushed, loaded) > 15:
            raise AssertionError(f"normal again only after {again:.1f} s (DDL), {flushed:.1f} s (a flush), {loaded:.1f} s (a load)")
        rows = load.compare(client)
        still.check(client)
        all_alive(cluster)
        return {"away s": away, **load.figures(), "DDL again s": round(again, 1), "flushed s": round(flushed, 1), "loaded s": round(loaded, 1),
                "rows compared": rows}


@part
def etcd_away(given: argparse.Namespace) -> dict[str, Any]:
    """All of etcd stands still; reads and writes go on, nobody ends, and changes, flushes and loads work soon after it is back."""
    return without_etcd(given, kill=False)


@part
def etcd_killed(given: argparse.Namespace) -> dict[str, Any]:
    """As etcd-away, but every member is killed and started again on its data, so that connections are refused and not silent."""
    return without_etcd(given, kill=True)


# ---------------------------------------------------------------- all of them


@part
def rolling(given: argparse.Namespace) -> dict[str, Any]:
    """Every process is replaced, the new one started first. Clients have one address, as that of a Service: connections that are
    made after a proxy has come lead to it, and those to the old one last until it ends them."""
    with Cluster(query=2, keep=given.keep) as cluster:
        client = connect(cluster.uri)
        still = Still(client, "still", replicas=2)
        make(client, "moving", replicas=2)
        workers, front = Workers(), Relay([cluster.uri.removeprefix("http://")])
        try:
            load = Load(workers, "moving", still, lambda: f"http://{front.addresses[0]}")
            time.sleep(2)
            took, gone = {}, []
            for role in ("datanode", "streamingnode", "querynode", "mixcoord", "proxy"):
                for old in cluster.of(role):
                    new = cluster.start(role)
                    if role == "proxy":
                        front.lead_to(new.uri.removeprefix("http://"))
                    gone.append(old)
                    took[old.name] = round(stopped(old), 1)
                    time.sleep(1)
            time.sleep(2)
            workers.stop()
        finally:
            front.stop()
        workers.none_failed("search")
        workers.none_failed("change")
        for kind in WRITES:
            workers.none_failed(kind, 0.0001)
        rows = load.compare(connect(cluster.uri))
        still.check(connect(cluster.uri))
        all_alive(cluster, tuple(gone))
        return {**load.figures(), "ends s": took, "rows compared": rows}


def health(node: Node) -> str:
    """What /healthz says, also when it is not 200; nothing while nobody answers."""
    try:
        return get(f"http://127.0.0.1:{node.metrics}/healthz")
    except urllib.error.HTTPError as error:
        return error.read().decode()
    except OSError:
        return ""


def refused(cluster: Cluster, environment: dict[str, str], words: str) -> None:
    """A node with this environment ends by itself, and says why."""
    node = cluster.start("querynode", wait=False, environment=environment)
    if node.popen.wait(60) == 0 or words not in node.log.read_text():
        raise AssertionError(f"{words!r} is not why this ended with {node.popen.returncode}:\n{node.tail()}")
    for secret in ("not-the-secret",):
        if secret in node.log.read_text():
            raise AssertionError("the secret is in the log")


@part
def late_stores(given: argparse.Namespace) -> dict[str, Any]:
    """Every role starts before the object store, etcd and Kafka can be reached: it waits, says for what and where, and serves
    once they are there. What is wrong rather than late ends a start, with its name."""
    with Cluster(log="kafka", proxies=0, coords=0, streaming=0, query=0, data=0, keep=given.keep) as cluster:
        targets = {"MINIO_ADDRESS": cluster.store, "ETCD_ENDPOINTS": cluster.etcd.split(",")[0], "KAFKA_BROKER_LIST": cluster.brokers}
        ports = {name: free_port() for name in targets}
        environment = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
        nodes = [cluster.start(role, wait=False, environment=environment) for role in ROLES.values()]
        relays, waited = [], {}
        try:
            for name, target in targets.items():
                for node in nodes:
                    until(f"{node.name} names {name}", 60, lambda: environment[name] in health(node))
                all_alive(cluster)
                relays.append(Relay([target], [ports[name]]))
            waited["all serve s"] = until("all serve", 60, lambda: all(node.healthy() for node in nodes))
            client = connect(cluster.uri)
            Still(client, "still").check(client)
            refused(cluster, {"MINIO_SECRET_ACCESS_KEY": "not-the-secret"}, "minio.secretAccessKey")
            refused(cluster, {"ETCD_ROOT_PATH": "another"}, "the blob store belongs to the cluster")
            dead = [node for node in nodes if not node.alive()]
            if dead:
                raise AssertionError(f"{dead[0].name} ended by itself\n{dead[0].tail()}")
            return {name: round(seconds, 1) for name, seconds in waited.items()}
        finally:
            for relay in relays:
                relay.stop()


# ---------------------------------------------------------------- proxies


@part
def two_proxies(given: argparse.Namespace) -> dict[str, Any]:
    """What one proxy did, another one knows at once. Without load: each step is compared with the one before."""
    with Cluster(proxies=2, keep=given.keep) as cluster:
        one, other = (connect(uri) for uri in cluster.uris)
        make(one, "shared")

        def value(client: MilvusClient, key: int) -> list[int]:
            found = client.query("shared", filter=f"id == {key}", output_fields=["value"], consistency_level="Strong", **ONCE)
            return [each["value"] for each in found]

        def want(found: Any, wanted: Any, what: str) -> None:
            if found != wanted:
                raise AssertionError(f"{what}: found {found}, wanted {wanted}")

        reads = 0
        for key in range(100):
            writer, reader = (one, other) if key % 2 else (other, one)
            writer.insert("shared", [row(key, 1)], **ONCE)
            want(value(reader, key), [1], f"inserted key {key}")
            writer.upsert("shared", [row(key, 2)], **ONCE)
            want(value(reader, key), [2], f"upserted key {key}")
            reader.delete("shared", ids=[key], **ONCE)
            want(value(writer, key), [], f"deleted key {key}")
            reads += 3
        for name, mark in (("red", 1), ("blue", 2)):
            make(one, name, shards=1)
            one.insert(name, [row(0, mark)], **ONCE)
        one.create_alias("red", "colour")
        switches = 0
        for turn in range(20):
            name, mark = (("blue", 2), ("red", 1))[turn % 2]
            one.alter_alias(name, "colour")
            found = other.query("colour", filter="id == 0", output_fields=["value"], consistency_level="Strong", **ONCE)
            want([each["value"] for each in found], [mark], f"alias after switch {turn}")
            want(other.describe_alias("colour")["collection_name"], name, f"alias described after switch {turn}")
            switches += 1
        made = 0
        for turn in range(10):
            dim = 4 + turn
            make(one, "again", shards=1, dim=dim)
            fields = {field["name"]: field for field in other.describe_collection("again")["fields"]}
            want(int(fields["vec"]["params"]["dim"]), dim, f"dimension of creation {turn}")
            fresh = connect(cluster.uris[1])  # pymilvus keeps schemas; this one has none
            fresh.insert("again", [{"id": turn, "value": turn, "vec": [1.0] * dim}], **ONCE)
            hits = fresh.search("again", [[1.0] * dim], limit=3, output_fields=["value"], consistency_level="Strong", **ONCE)[0]
            want([(hit["id"], hit["entity"]["value"]) for hit in hits], [(turn, turn)], f"rows of creation {turn}")
            one.drop_collection("again")
            want(other.has_collection("again"), False, f"dropped {turn}")
            made += 1
        all_alive(cluster)
        return {"reads through the other": reads, "alias switches": switches, "drops and creations": made}


def main() -> None:
    arguments = argparse.ArgumentParser(description="One failure of a cluster of roles.")
    arguments.add_argument("part", choices=sorted(PARTS))
    arguments.add_argument("--long", action="store_true", help="at the figures promised, which takes longer")
    arguments.add_argument("--figures", help="file that gets the figures as a line of a table")
    arguments.add_argument("--keep", action="store_true", help="leave the folder with the logs")
    given = arguments.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    logging.disable(logging.CRITICAL)  # pymilvus logs each failure with a stack; they are counted here
    if given.part in APART:
        network.enter()
    begin = time.monotonic()
    try:
        figures = PARTS[given.part](given)
    except Exception as error:
        traceback.print_exc(limit=-8)
        print(f"{given.part} failed: {str(error)[:4000]}")
        sys.exit(1)
    text = ", ".join(f"{name}: {json.dumps(value)}" for name, value in figures.items())
    print(f"    {text}")
    if given.figures:
        with open(given.figures, "a", encoding="utf-8") as out:
            out.write(f"{given.part}{' (long)' if given.long else ''} | {text.replace('|', '/')} | {time.monotonic() - begin:.0f}\n")


if __name__ == "__main__":
    main()
