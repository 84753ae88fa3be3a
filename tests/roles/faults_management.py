"""What administrators do at `/management` of the operators' port, compared with what the cluster then does."""

from __future__ import annotations

import argparse
import base64
import json
import time
import urllib.error
import urllib.request
from typing import Any

from pymilvus import MilvusClient

from cluster import Cluster, Node
from faults_admin import equal
from load import Still, make, row, until
from parts import all_alive, full, leader_of, part

ROOT = ("root", "Milvus")
# Every path, with what it takes. None of them may do anything for who is no administrator.
PATHS = [
    "check/ready?role=proxy", "stop?role=proxy", "config/get?keys=log.level", "config/alter", "none",
    "datacoord/garbage_collection/status", "datacoord/garbage_collection/pause?pause_seconds=60", "datacoord/garbage_collection/resume",
    "querycoord/balance/status", "querycoord/balance/suspend", "querycoord/balance/resume",
    "querycoord/node/list", "querycoord/node/suspend?node_id=1", "querycoord/node/resume?node_id=1",
    "querycoord/transfer/segment?source_node_id=1", "querycoord/transfer/channel?source_node_id=1",
    "querycoord/distribution/get?node_id=1", "querycoord/distribution/check?source_node_id=1&target_node_id=2",
]


def asked(
    node: Node, path: str, method: str = "GET", body: dict[str, Any] | None = None, user: tuple[str, str] | None = ROOT,
) -> tuple[int, dict[str, Any]]:
    """Status and JSON of an answer at the operators' port."""
    request = urllib.request.Request(f"http://{node.host}:{node.metrics}/{path}", method=method)
    if user:
        request.add_header("Authorization", "Basic " + base64.b64encode(":".join(user).encode()).decode())
    if body is not None:
        request.add_header("Content-Type", "application/json")
        request.data = json.dumps(body).encode()
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def managed(node: Node, path: str, **more: Any) -> dict[str, Any]:
    """The answer to an administrator for whom it must be done."""
    status, said = asked(node, f"management/{path}", **more)
    if status != 200:
        raise AssertionError(f"{path} at {node.name}: {status} {said}")
    return said


def strangers(cluster: Cluster) -> None:
    """No role does anything for who is no administrator, and says so in JSON."""
    for node in cluster.nodes.values():
        for path in PATHS:
            for method in ("GET", "POST"):
                said = asked(node, f"management/{path}", method, user=None)
                equal((said[0], said[1]["code"]), (401, 1800), f"{method} {path} at {node.name}")
        # Once only: who guesses often is held up.
        said = asked(node, "management/querycoord/node/list", user=("root", "wrong"))
        equal((said[0], said[1]["code"]), (401, 1800), f"a wrong password at {node.name}")
        equal(asked(node, "log/level", "PUT", {"level": "debug"}, user=None)[0], 401, f"the level of {node.name}")
        for path, method in (("api/v1/collections", "GET"), ("v2/vectordb/collections/list", "POST")):
            status, said = asked(node, path, method)
            equal((status, "port" in said["message"]), (404, True), f"{path} at {node.name}")
        equal(asked(node, "management/none")[0], 404, f"an unknown path at {node.name}")


def held(asked_of: Node, number: int) -> tuple[set[str], set[int]]:
    """Channels and segments that a query node holds."""
    said = managed(asked_of, f"querycoord/distribution/get?node_id={number}")
    return set(said["channel_names"]), set(said["sealed_segmentIDs"])


def numbers(proxy: Node) -> dict[str, tuple[int, str]]:
    """Query nodes by address: their numbers and states."""
    listed = managed(proxy, "querycoord/node/list")["nodeInfos"]
    return {one["address"]: (one["ID"], one["state"]) for one in listed}


def moved_by_hand(cluster: Cluster, client: MilvusClient, still: Still) -> float:
    """All that one query node holds goes to the other and stays there while balance is suspended; it is given nothing more."""
    proxy, (first, second) = cluster.of("proxy")[0], cluster.of("querynode")
    until("two nodes at work", 30, lambda: full(client, "still", 1, 2))
    known = numbers(proxy)
    equal(sorted(known), sorted(f"{node.host}:{node.internal}" for node in (first, second)), "query nodes")
    (one, _), (other, _) = (known[f"{node.host}:{node.internal}"] for node in (first, second))
    managed(proxy, "querycoord/balance/suspend", method="POST")
    equal(managed(proxy, "querycoord/balance/status")["status"], "suspended", "balance")

    def rests() -> bool:
        before = held(proxy, one), held(proxy, other)
        time.sleep(2)  # a node reports what it holds at least once a second
        return all(segments for _, segments in before) and before == (held(proxy, one), held(proxy, other))

    # What was on its way when balance was suspended still arrives, and cannot be moved from where it then no longer is.
    until("both to hold segments, and nothing to move", 60, rests)
    managed(proxy, "querycoord/node/suspend", method="POST", body={"node_id": one})
    equal(numbers(proxy)[f"{first.host}:{first.internal}"], (one, "Suspend"), "the suspended node")
    refused = asked(proxy, f"management/querycoord/transfer/segment?source_node_id={other}&target_node_id={one}")
    equal(refused, (400, {"msg": f"query node {one} is suspended"}), "a transfer to it")
    channels, segments = held(proxy, one)
    begin = time.monotonic()
    ends = f"source_node_id={one}&target_node_id={other}"
    managed(proxy, f"querycoord/transfer/segment?{ends}")
    for channel in channels:
        managed(proxy, f"querycoord/transfer/channel?{ends}&channel_name={channel}")
    until("nothing left there", 60, lambda: held(proxy, one) == (set(), set()))
    took = time.monotonic() - begin
    there = held(proxy, other)
    if not channels <= there[0] or not segments <= there[1]:
        raise AssertionError(f"{channels} and {segments} were moved, and {there} is there")
    managed(proxy, f"querycoord/distribution/check?{ends}")
    still.check(client)
    make(client, "more")
    client.insert("more", [row(key, 0) for key in range(500)])
    client.flush("more")
    until("the new segments on the other node", 60, lambda: held(proxy, other)[1] > there[1])
    counted = client.query("more", filter="", output_fields=["count(*)"], consistency_level="Strong")
    equal(counted[0]["count(*)"], 500, "rows")
    equal(held(proxy, one), (set(), set()), "what the suspended node holds")
    managed(proxy, "querycoord/node/resume", method="POST", body={"node_id": one})
    managed(proxy, "querycoord/balance/resume", method="POST")
    until("balance to give it something again", 60, lambda: held(proxy, one)[1])
    still.check(client)
    return took


def garbage_stays(cluster: Cluster, client: MilvusClient) -> float:
    """What was dropped stays in the bucket while an administrator has it stay, also under the next leader."""
    proxy = cluster.of("proxy")[0]
    make(client, "gone")
    client.insert("gone", [row(key, 0) for key in range(200)])
    client.flush("gone")
    folder = f"segments/{client.describe_collection('gone')['collection_id']}"
    objects = cluster.objects(folder)
    equal(bool(objects), True, "objects of the collection")
    managed(proxy, "datacoord/garbage_collection/pause?pause_seconds=3600")
    client.drop_collection("gone")
    time.sleep(5)
    was = leader_of(cluster)
    was.kill()
    until("another leader", 60, lambda: leader_of(cluster) is not was)
    until("it to answer", 60, lambda: managed(proxy, "datacoord/garbage_collection/status")["is_paused"])
    time.sleep(3)
    equal(cluster.objects(folder), objects, "objects while garbage is paused")
    begin = time.monotonic()
    managed(proxy, "datacoord/garbage_collection/resume")
    equal(managed(proxy, "datacoord/garbage_collection/status")["is_paused"], False, "the pause")
    # The new leader listens first, for as long as a node may be silent.
    until("it to be removed", 120, lambda: not cluster.objects(folder))
    return time.monotonic() - begin


def settings(cluster: Cluster) -> None:
    proxy = cluster.of("proxy")[0]
    before = managed(proxy, "config/get?keys=log.level")
    equal(before, {"configs": [{"key": "log.level", "value": "info"}]}, "the level")
    managed(proxy, "config/alter", method="POST", body={"key": "log.level", "value": "debug"})
    equal(managed(proxy, "config/get?keys=log.level")["configs"][0]["value"], "debug", "the level")
    managed(proxy, "config/alter", method="POST", body={"key": "log.level", "value": "info"})
    hidden = managed(proxy, "config/get?keys=minio.secretAccessKey,no.such")["configs"]
    equal(hidden[0], {"key": "minio.secretAccessKey", "value": "(hidden)"}, "a secret")
    equal("error" in hidden[1], True, "an unknown key")
    status, said = asked(proxy, "management/config/alter", "POST", {"key": "minio.bucketName", "value": "b"})
    equal((status, "next start" in said["msg"]), (400, True), "a setting of the start")


def stops(cluster: Cluster) -> float:
    """A process that is asked to stop ends by itself, and only the one that is meant."""
    proxy, node = cluster.of("proxy")[0], cluster.of("datanode")[0]
    for role in ("proxy", "mixcoord", "querynode", "datanode", "streamingnode"):
        # A new leader is not before it has heard all nodes.
        until(f"{role} ready", 30, lambda: asked(proxy, f"management/check/ready?role={role}")[0] == 200)
    status, said = asked(proxy, "management/stop?role=datanode", "POST")
    equal((status, "this process is a proxy" in said["msg"]), (400, True), "the wrong process")
    begin = time.monotonic()
    managed(node, "stop?role=datanode", method="POST")
    equal(node.popen.wait(60), 0, "the code of the end")
    until("nobody ready", 30, lambda: asked(proxy, "management/check/ready?role=datanode")[0] == 503)
    return time.monotonic() - begin


@part
def management(given: argparse.Namespace) -> dict[str, Any]:
    """Each path, refused to strangers and done for administrators, on a cluster that checks its users."""
    checked = {"REDKITE__COMMON__SECURITY__AUTHORIZATIONENABLED": "true"}
    with Cluster(query=2, coords=2, environment=checked, keep=given.keep) as cluster:
        strangers(cluster)
        client = MilvusClient(cluster.uri, token=":".join(ROOT), timeout=30)
        still = Still(client, "still")
        moved = moved_by_hand(cluster, client, still)
        settings(cluster)
        removed = garbage_stays(cluster, client)
        stopped = stops(cluster)
        still.check(client)
        dead = tuple(node for node in cluster.nodes.values() if node.role in ("mixcoord", "datanode"))
        all_alive(cluster, dead)
        return {"moved by hand s": round(moved, 1), "removed after the pause s": round(removed, 1), "stopped s": round(stopped, 1)}
