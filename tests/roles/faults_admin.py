"""What `redkite ctl` says of a cluster and does to it, compared with what runs."""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import re
import subprocess
import time
from typing import Any

from cluster import CACHE, RELEASE, Cluster, Node
from load import Load, Still, Workers, connect, make, until
from parts import all_alive, full, leader_of, part, stopped

# The engine one version of the formats ahead, as tests/formats/next makes it.
NEXT = pathlib.Path(os.environ.get("NEXT", CACHE / "next-format/redkite"))


def ctl(node: Node, *words: str, code: int = 0) -> tuple[str, str]:
    """What the command says to people and what is wrong, asked of that process; it must end with `code`."""
    at = f"{node.host}:{node.internal}"
    done = subprocess.run([RELEASE / "redkite", "ctl", "--address", at, *words], capture_output=True, text=True, timeout=60)
    if done.returncode != code:
        raise AssertionError(f"ctl {words} ended with {done.returncode}, wanted {code}: {done.stdout}{done.stderr}")
    return done.stdout, done.stderr


def shown(node: Node, *words: str) -> dict[str, Any]:
    return json.loads(ctl(node, *words, "-o", "json")[0])


def equal(found: Any, wanted: Any, what: str) -> None:
    if found != wanted:
        raise AssertionError(f"{what}: {found}, wanted {wanted}")


def listed(asked: Node) -> list[tuple[str, str, str]]:
    return [(node["role"], node["address"], node["state"]) for node in shown(asked, "nodes")["nodes"]]


def running(cluster: Cluster) -> list[tuple[str, str, str]]:
    alive = [node for node in cluster.nodes.values() if node.alive() and node.role != "mixcoord"]
    return sorted((node.role, f"{node.host}:{node.internal}", "ready") for node in alive)


def as_it_runs(cluster: Cluster, client: Any) -> None:
    """Every process lists the same cluster: the processes that there are, and what was written to them."""
    wanted = running(cluster)
    leader = leader_of(cluster)
    for asked in cluster.nodes.values():
        equal(sorted(listed(asked)), wanted, f"nodes by {asked.name}")
        equal(shown(asked, "cluster")["leader"]["address"], f"{leader.host}:{leader.internal}", f"the leader by {asked.name}")
        process = shown(asked, "process")
        equal((process["role"], process["ready"], process["leads"]), (asked.role, True, asked is leader), asked.name)
        # 0 of a coordinator, which has no number; which nodes there are is told by the leader, with the number of each.
        lines = [line for line in asked.get("/metrics").splitlines() if not line.startswith("milvus_num_node")]
        equal(set(re.findall(r'node_id="([^"]*)"', "\n".join(lines))), {str(process["node"])}, f"nodes in the metrics of {asked.name}")
    proxy = cluster.of("proxy")[0]
    collection = shown(proxy, "collections", "still")["collections"][0]
    equal([collection[key] for key in ("name", "sealed_rows", "replicas", "loaded_percent")], ["still", 3000, 1, 100], "collection")
    segments = shown(proxy, "segments", "still")["segments"]
    equal(sum(segment["rows"] for segment in segments), 3000, "rows of the segments")
    replica = shown(proxy, "replicas", "still")["replicas"][0]
    equal(sorted(replica["nodes"]), sorted(client.describe_replica("still")[0].group_nodes), "nodes of the replica")
    nodes = {node["id"] for node in shown(proxy, "nodes")["nodes"] if node["role"] == "querynode"}
    if not all(segment["nodes"] and set(segment["nodes"]) <= nodes for segment in segments):
        raise AssertionError(f"a segment is held by nobody or by no query node: {segments}")
    # The rows that are not sealed are in the report of their owner a second later at the latest.
    until("unsealed bytes", 5, lambda: all(one["unsealed_bytes"] > 0 for one in shown(proxy, "channels", "still")["channels"]))
    ctl(proxy, "fsck", "--checksums")


def named(asked: Node, node: Node) -> dict[str, Any]:
    address = f"{node.host}:{node.internal}"
    return next(one for one in shown(asked, "nodes")["nodes"] if one["address"] == address)


def wrong_words(cluster: Cluster) -> None:
    """What cannot be done is said, with a code of its own."""
    proxy = cluster.of("proxy")[0]
    equal(ctl(proxy, "drain", "status", "nobody", code=1)[1], "redkite ctl: there is no node nobody\n", "an unknown node")
    equal(ctl(proxy, "segments", "nothing", code=1)[1].startswith("redkite ctl: collection not found"), True, "an unknown collection")
    equal(ctl(proxy, "groups", "create", "1", code=1)[1].startswith("redkite ctl: Invalid resource group name 1."), True, "a bad name")
    nobody = subprocess.run([RELEASE / "redkite", "ctl", "--address", "127.0.0.1:1", "nodes"], capture_output=True, text=True)
    equal((nobody.returncode, nobody.stdout), (3, ""), f"nobody there: {nobody.stderr}")


@part
def admin(given: argparse.Namespace) -> dict[str, Any]:
    """What is listed is what runs; a query node and an owner are emptied under load; the lead is handed on; two formats."""
    with Cluster(query=2, coords=2, streaming=2, keep=given.keep) as cluster:
        client = connect(cluster.uri)
        still = Still(client, "still")
        make(client, "moving")
        proxy = cluster.of("proxy")[0]
        until("two nodes at work", 30, lambda: full(client, "still", 1, 2))
        as_it_runs(cluster, client)
        wrong_words(cluster)
        workers = Workers()
        load = Load(workers, "moving", still, lambda: cluster.uri)
        time.sleep(1)
        first, second = cluster.of("querynode")
        begin = time.monotonic()
        ctl(proxy, "drain", "start", f"{first.host}:{first.internal}", "--wait", "30")
        emptied = time.monotonic() - begin
        equal((named(proxy, first)["state"], named(proxy, first)["segments"]), ("draining", 0), "the emptied node")
        equal(named(proxy, second)["state"], "ready", "the other node")
        # Who leads next knows it too.
        was = leader_of(cluster)
        ctl(proxy, "resign")
        until("another leader", 30, lambda: leader_of(cluster) is not was and shown(proxy, "cluster")["leader"]["settled"])
        equal(named(proxy, first)["state"], "draining", "the emptied node under the next leader")
        begin = time.monotonic()
        owner = max(cluster.of("streamingnode"), key=lambda node: named(proxy, node)["channels"])
        ctl(proxy, "drain", "start", str(named(proxy, owner)["id"]), "--wait", "30")
        handed = time.monotonic() - begin
        equal(named(proxy, owner)["channels"], 0, "channels of the emptied owner")
        ends = [stopped(node) for node in (first, owner)]
        time.sleep(0.5)
        workers.stop()
        workers.none_failed("search")
        rows = load.compare(client)
        still.check(client)
        all_alive(cluster, (first, owner))
        finalized(cluster)
        still.check(connect(cluster.uri))
        return {
            **load.figures(), "query node emptied s": round(emptied, 1), "owner emptied s": round(handed, 1),
            "ends s": [round(each, 1) for each in ends], "rows compared": rows,
        }


def finalized(cluster: Cluster) -> None:
    """Every process is replaced by one of the next version; as long as an older one is there, the format stays."""
    cluster.binary = NEXT
    for role in ("mixcoord", "querynode", "datanode", "streamingnode"):
        for old in cluster.of(role):
            cluster.start(role)
            stopped(old)
    old, new = cluster.of("proxy")[0], cluster.start("proxy")
    # One that said farewell may be listed until it counts as lost.
    until("the new ones and the old proxy to be listed", 20, lambda: sorted(listed(new)) == running(cluster))
    said = ctl(new, "finalize", code=1)[1]
    number = named(new, old)["id"]
    who = f"node {number} (proxy at {old.host}:{old.internal}, version "
    if "cannot be finalized to format 3" not in said or who not in said or "reads up to 2 only" not in said:
        raise AssertionError(f"the refusal does not name {who}: {said}")
    equal(shown(new, "cluster")["format"], 2, "the format")
    stopped(old)
    until("the new ones to be listed", 20, lambda: sorted(listed(new)) == running(cluster))
    equal(ctl(new, "finalize")[0], "the cluster writes format 3 from now on, 2 before\n", "finalize")
    equal(shown(new, "cluster")["format"], 3, "the format")
    cluster.binary = None
    older = cluster.start("querynode", wait=False)
    until("the older one to refuse", 20, lambda: not older.alive())
    if "the cluster was finalized to format 3, and this version reads up to 2" not in older.log.read_text():
        raise AssertionError(f"the refusal is not clear: {older.tail()}")
