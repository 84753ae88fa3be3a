"""What a cluster of roles withstands, each part on a cluster of its own.

    faults.py PART [--long] [--figures FILE] [--keep]

Prints what was measured; FILE gets a line of the table of docs/results/roles.md.
"""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
import time
import traceback
import urllib.error
from typing import Any

from pymilvus import DataType, MilvusClient

import faults_admin  # noqa: F401 - each brings its parts
import faults_catalog  # noqa: F401
import faults_clocks  # noqa: F401
import faults_net  # noqa: F401
import faults_owners  # noqa: F401
import faults_room  # noqa: F401
import faults_store  # noqa: F401
import network
from cluster import ROLES, Cluster, Node, free_port, get
from load import ONCE, WRITES, Still, Workers, connect, make, row, until, vector, writing
from parts import PARTS, all_alive, compared, full, leader_of, part, stopped
from relay import Relay

# Parts that need a namespace of their own, for networks and mounts.
APART = ("network", "full-disk", "full-cache")

# ---------------------------------------------------------------- query nodes


@part
def torn(given: argparse.Namespace) -> dict[str, Any]:
    """One copy over three query nodes, all of whose keys are upserted again and again and flushed: every read finds every key once."""
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
    """One of two replicas dies; nobody's search fails; a new node makes it full again, so that the other may die too."""
    with Cluster(query=2, keep=given.keep) as cluster:
        client = connect(cluster.uri)
        still = Still(client, "still", replicas=2)
        until("two replicas on two nodes", 30, lambda: full(client, "still", 2, 2))
        still.check(client)
        workers = Workers()
        workers.searching(still, lambda: cluster.uri, 4)
        time.sleep(3)
        first, second = cluster.of("querynode")
        killed = time.monotonic()
        first.kill()
        time.sleep(20)
        in_time = workers.of("search", killed, killed + 20)
        failed = workers.failures("search", killed, killed + 20)
        begin = time.monotonic()
        cluster.start("querynode")
        until("full again", 60, lambda: full(client, "still", 2, 2))
        again = time.monotonic() - begin
        time.sleep(1)
        second.kill()
        time.sleep(6)
        workers.stop()
        workers.none_failed("search", 0.001, killed, killed + 20)
        workers.none_failed("search", 0.001)
        still.check(client)
        all_alive(cluster, (first, second))
        return {"in 20 s": len(in_time), "failed in 20 s": len(failed), **workers.figures("search"), "full again s": round(again, 1)}


@part
def scale(given: argparse.Namespace) -> dict[str, Any]:
    """One query node, then three, then one that is not the first, under constant searches."""
    with Cluster(query=1, keep=given.keep) as cluster:
        client = connect(cluster.uri)
        still = Still(client, "still")
        still.check(client)
        workers = Workers()
        workers.searching(still, lambda: cluster.uri, 4)
        time.sleep(2)
        old = cluster.of("querynode")
        added = [cluster.start("querynode"), cluster.start("querynode")]
        spread = until("three nodes at work", 30, lambda: full(client, "still", 1, 3))
        time.sleep(3)
        took = [stopped(node) for node in (old[0], added[0])]
        time.sleep(3)
        workers.stop()
        workers.none_failed("search")
        still.check(client)
        all_alive(cluster, (old[0], added[0]))
        return {**workers.figures("search"), "three at work s": round(spread, 1), "ends s": [round(each, 1) for each in took]}


def loads(cluster: Cluster, nodes: list[Node]) -> list[float]:
    """Rows in the memory of each node."""
    return [node.figure("milvus_querynode_entity_num") for node in nodes]


@part
def spread(given: argparse.Namespace) -> dict[str, Any]:
    """Two query nodes, then six, then two that are not the first, under constant searches; then one that can hand nothing over."""
    most = 6
    with Cluster(query=2, keep=given.keep, roles={"querynode": {"REDKITE__QUERYNODE__GRACEFULSTOPTIMEOUT": "5"}}) as cluster:
        client = connect(cluster.uri)
        stills = [Still(client, f"still{number}", sealed=1200, growing=0) for number in range(6)]
        still = Still(client, "still")
        still.check(client)
        workers = Workers()
        for each in [still, *stills[:2]]:
            workers.searching(each, lambda: cluster.uri, 2)
        time.sleep(2)
        old = cluster.of("querynode")
        begin = time.monotonic()
        added = [cluster.start("querynode", wait=False) for _ in range(most - len(old))]
        for node in added:
            node.wait_healthy()
        spread: list[float] = []

        def even() -> bool:
            spread[:] = loads(cluster, cluster.of("querynode"))
            return min(spread) > 0 and max(spread) / min(spread) <= 1.3

        try:
            until("an even load", 120, even)
        except AssertionError as error:
            raise AssertionError(f"{error}: rows of each node {spread}") from None
        took = time.monotonic() - begin
        time.sleep(2)
        rate = len(workers.of("search", time.monotonic() - 2)) / 2
        ends = [stopped(node) for node in (*old, *added[: most - 4])]
        time.sleep(2)
        workers.stop()
        workers.none_failed("search")
        for each in (still, *stills):
            each.check(client)
        # Nobody is left who could take anything over from the last one: it goes at its deadline.
        last = cluster.of("querynode")
        stopped(last[0])
        alone = stopped(last[1], 5 + 15)
        if alone < 4:
            raise AssertionError(f"the last query node was gone after {alone:.1f} s, before its deadline")
        all_alive(cluster, (*old, *added))
        return {**workers.figures("search"), "searches a second": round(rate), "rows of six": spread, "even s": round(took, 1),
                "ends s": [round(each, 1) for each in ends], "ends with nobody to hand over to s": round(alone, 1)}


@part
def one_replica(given: argparse.Namespace) -> dict[str, Any]:
    """The only query node of a part dies and comes back on the same disk, whose cache is warm."""
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
        still.check(client)
        workers = Workers()
        workers.searching(still, lambda: cluster.uri, 4)
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
        all_alive(cluster)
        return {**workers.figures("search"), "to two s": took[2], "to one s": took[1]}


# ---------------------------------------------------------------- writers


@part
def kill_writer(given: argparse.Namespace) -> dict[str, Any]:
    """One of two streaming nodes dies among writers and searchers."""
    with Cluster(streaming=2, keep=given.keep) as cluster:
        client = connect(cluster.uri)
        still = Still(client, "still")
        make(client, "moving")
        workers = Workers()
        workers.searching(still, lambda: cluster.uri, 2, "Eventually")
        writers = writing(workers, "moving", lambda: cluster.uri, 3)
        reader = connect(cluster.uri)
        probe = vector(1, 1).tolist()
        workers.spawn(lambda: workers.timed("search of the moving", lambda: reader.search(
            "moving", [probe], limit=5, consistency_level="Eventually", **ONCE)), 0.01)
        time.sleep(5)
        victim = cluster.of("streamingnode")[0]
        killed = time.monotonic()
        victim.kill()
        time.sleep(20)
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
        rows = compared(cluster, writers)
        still.check(client)
        all_alive(cluster, (victim,))
        failed = sum(len(workers.failures(kind)) for kind in WRITES)
        return {**workers.figures("search"), "writes failed": failed, "longest time without a write s": round(gap, 1), "rows compared": rows}


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
        workers.searching(still, lambda: cluster.uri, 2)
        writers = writing(workers, "moving", lambda: cluster.uri, 2)
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
        if len(ids) != made:
            raise AssertionError(f"{made} collections have {len(ids)} ids")
        if len(set(keys)) != len(keys):
            raise AssertionError(f"{len(keys)} generated keys, {len(set(keys))} of them different")
        if max(times) > 10:
            raise AssertionError(f"DDL again only after {times} s")
        rows = compared(cluster, writers)
        all_alive(cluster, tuple(victims))
        return {**workers.figures("search"), **workers.figures("insert"), "DDL again s": times, "loaded s": loaded, "generated keys": len(keys), "rows compared": rows}


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
            workers.searching(still, lambda: cluster.uri, 2)
            writers = writing(workers, "moving", lambda: cluster.uri, 2)
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
            rows = compared(cluster, writers)
            still.check(client)
            all_alive(cluster, (first,))
            return {**workers.figures("search"), **workers.figures("insert"), "another leads s": round(led, 1),
                    "changes s": round(changed, 1), "loaded s": round(loaded, 1), "rows compared": rows}
        finally:
            relay.stop()


@part
def etcd_away(given: argparse.Namespace) -> dict[str, Any]:
    """All of etcd stands still; reads and writes go on, nobody ends, and DDL works soon after it is back."""
    away = 600 if given.long else 30
    with Cluster(keep=given.keep) as cluster:
        client = connect(cluster.uri)
        still = Still(client, "still")
        make(client, "moving")
        workers = Workers()
        workers.searching(still, lambda: cluster.uri, 2, "Bounded")
        writers = writing(workers, "moving", lambda: cluster.uri, 2)
        time.sleep(2)
        members = [server for name, server in cluster.servers.items() if name.startswith("etcd")]
        gone = time.monotonic()
        for member in members:
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
        back = time.monotonic()
        for member in members:
            member.signal(signal.SIGCONT)
        names = iter(f"after_{number}" for number in range(10_000))
        until("DDL again", 60, lambda: client.create_database(next(names), **ONCE) or True)
        again = time.monotonic() - back
        time.sleep(2)
        workers.stop()
        if sick:
            raise AssertionError(f"/healthz was not 200: {sick}")
        for kind in ("search", *WRITES):
            workers.none_failed(kind)
        if again > 15:
            raise AssertionError(f"DDL again only after {again:.1f} s")
        rows = compared(cluster, writers)
        still.check(client)
        all_alive(cluster)
        return {"away s": away, **workers.figures("search"), **workers.figures("insert"), "DDL again s": round(again, 1), "rows compared": rows}


# ---------------------------------------------------------------- all of them


@part
def rolling(given: argparse.Namespace) -> dict[str, Any]:
    """Every process is replaced, the new one started first."""
    with Cluster(query=2, keep=given.keep) as cluster:
        client = connect(cluster.uri)
        still = Still(client, "still", replicas=2)
        make(client, "moving", replicas=2)
        workers = Workers()
        address = [cluster.uri]
        workers.searching(still, lambda: address[0], 3)
        writers = writing(workers, "moving", lambda: address[0], 2)
        time.sleep(2)
        took, gone = {}, []
        for role in ("datanode", "streamingnode", "querynode", "mixcoord", "proxy"):
            for old in cluster.of(role):
                new = cluster.start(role)
                if role == "proxy":
                    address[0] = new.uri
                    time.sleep(0.5)
                gone.append(old)
                took[old.name] = round(stopped(old), 1)
                time.sleep(1)
        time.sleep(2)
        workers.stop()
        workers.none_failed("search")
        rows = compared(cluster, writers)
        still.check(connect(cluster.uri))
        all_alive(cluster, tuple(gone))
        failed = sum(len(workers.failures(kind)) for kind in WRITES)
        return {**workers.figures("search"), **workers.figures("insert"), "writes failed": failed, "ends s": took, "rows compared": rows}


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
    """What one proxy did, another one knows at once."""
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
        traceback.print_exc(limit=-4)
        print(f"{given.part} failed: {str(error)[:4000]}")
        sys.exit(1)
    text = ", ".join(f"{name}: {json.dumps(value)}" for name, value in figures.items())
    print(f"    {text}")
    if given.figures:
        with open(given.figures, "a", encoding="utf-8") as out:
            out.write(f"{given.part}{' (long)' if given.long else ''} | {text.replace('|', '/')} | {time.monotonic() - begin:.0f}\n")


if __name__ == "__main__":
    main()
