"""What a server says of itself: its version and how it runs, its components and their state, what they take, and whether all is well.

    system.py URI [REST_OF_NAME …]     only the claims whose name contains one of the words
"""

from __future__ import annotations

import json
import logging
import sys
import time
from datetime import datetime
from typing import Any, Callable

import grpc
from pymilvus import MilvusClient
from pymilvus.grpc_gen import common_pb2, milvus_pb2, milvus_pb2_grpc

from suite import equal, tried, until

TAG = f"{int(time.time() * 1000) % 10**9}"
COORDINATORS = {"mixcoord", "rootcoord", "datacoord", "querycoord"}
TYPES = COORDINATORS | {"proxy", "streamingnode", "querynode", "datanode"}
CLAIMS: list[Callable[["World"], None]] = []


def claim(check: Callable[["World"], None]) -> Callable[["World"], None]:
    CLAIMS.append(check)
    return check


class World:
    """A loaded collection, and a bare connection beside the client's."""

    def __init__(self, uri: str) -> None:
        self.client, self.name = MilvusClient(uri, timeout=60), f"system_{TAG}"
        self.stub = milvus_pb2_grpc.MilvusServiceStub(grpc.insecure_channel(uri.removeprefix("http://")))
        self.client.create_collection(self.name, dimension=4, metric_type="L2")
        self.client.insert(self.name, [{"id": key, "vector": [key, 0, 0, 1]} for key in range(10)])

    def metrics(self, request: str) -> Any:
        return self.stub.GetMetrics(milvus_pb2.GetMetricsRequest(request=request), timeout=30)

    def nodes(self) -> list[dict[str, Any]]:
        answer = self.metrics('{"metric_type": "system_info"}')
        equal((answer.status.code, answer.status.reason), (0, ""), "status")
        return json.loads(answer.response)["nodes_info"]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [node for node in self.nodes() if node["infos"]["type"] == kind]

    def mode(self) -> str:
        return self.stub.Connect(milvus_pb2.ConnectRequest(), timeout=30).server_info.deploy_mode


@claim
def every_type_of_component_is_there(world: World) -> None:
    nodes = world.nodes()
    equal({node["infos"]["type"] for node in nodes}, TYPES, "types")
    for node in nodes:
        infos = node["infos"]
        equal((infos["id"], infos["name"]), (node["identifier"], infos["type"]), "number and name")
        equal((infos["has_error"], infos["error_reason"]), (False, ""), "errors")
        known = {(other["identifier"], other["infos"]["type"]) for other in nodes}
        for edge in node["connected"] or []:
            equal((edge["connected_identifier"], edge["target_type"]) in known, True, f"an edge to {edge}")


@claim
def how_it_runs_is_said_alike_and_is_true(world: World) -> None:
    mode, nodes = world.mode(), world.nodes()
    equal({node["infos"]["system_info"]["deploy_mode"] for node in nodes}, {mode}, "deploy modes")
    equal(mode, "STANDALONE" if len({node["identifier"] for node in nodes}) == 1 else "DISTRIBUTED", "deploy mode")
    version = world.client.get_server_version()
    equal({node["infos"]["system_info"]["build_version"] for node in nodes}, {version}, "versions")


@claim
def the_query_nodes_are_those_that_hold_the_copies(world: World) -> None:
    """Suites of tests take the identifiers for the numbers that a load balance goes by."""
    request = milvus_pb2.GetReplicasRequest(collection_name=world.name, with_shard_nodes=True)
    replicas = world.stub.GetReplicas(request, timeout=30).replicas
    used = {node for replica in replicas for node in replica.node_ids}
    equal(len(used) > 0 and used <= {node["identifier"] for node in world.of("querynode")}, True, f"nodes {used}")


@claim
def what_the_nodes_take_is_measured(world: World) -> None:
    def measured() -> bool:
        found = [node["infos"]["hardware_infos"] for node in world.nodes() if node["infos"]["type"] not in COORDINATORS]
        return all(0 < one["memory_usage"] and 0 < one["disk_usage"] <= one["disk"] for one in found)

    until("figures of all nodes", measured)
    for node in world.nodes():
        infos = node["infos"]
        if infos["type"] in COORDINATORS:
            continue
        hardware = infos["hardware_infos"]
        equal(hardware["cpu_core_count"] > 0 and hardware["memory_usage"] < hardware["memory"], True, f"hardware {hardware}")
        equal(hardware["cpu_core_usage"] >= 0, True, f"hardware {hardware}")
        created, updated = (datetime.fromisoformat(infos[key].replace("Z", "+00:00")) for key in ("created_time", "updated_time"))
        equal(created < updated, True, f"made {created}, seen {updated}")


@claim
def all_components_are_healthy(world: World) -> None:
    answer = world.stub.GetComponentStates(milvus_pb2.GetComponentStatesRequest(), timeout=30)
    equal((answer.status.code, answer.state.role), (0, "proxy"), "status and role")
    states = {(one.nodeID, one.role): one.state_code for one in answer.subcomponent_states}
    equal(set(states.values()), {common_pb2.StateCode.Healthy}, f"states {states}")
    equal((answer.state.nodeID, "proxy") in states, True, "the one that was asked is among them")
    equal(set(states), {(node["identifier"], node["infos"]["type"]) for node in world.nodes()}, "components")


@claim
def all_is_well_while_a_collection_is_loaded(world: World) -> None:
    answer = world.stub.CheckHealth(milvus_pb2.CheckHealthRequest(), timeout=30)
    equal((answer.status.code, answer.isHealthy, list(answer.reasons)), (0, True, []), "health")


@claim
def what_a_database_denies_is_said(world: World) -> None:
    base = f"denied_{TAG}"
    world.client.create_database(base)
    quotas = milvus_pb2.QuotaState

    def said() -> tuple[bool, list[int]]:
        answer = world.stub.CheckHealth(milvus_pb2.CheckHealthRequest(), timeout=30)
        return answer.isHealthy, [state for state in answer.quota_states if any(base in reason for reason in answer.reasons)]

    world.client.alter_database_properties(base, {"database.force.deny.writing": "true"})
    until("a denial", lambda: said() == (True, [quotas.DenyToWrite]))
    world.client.alter_database_properties(base, {"database.force.deny.writing": "false"})
    until("no denial", lambda: said() == (True, []))
    world.client.drop_database(base)


@claim
def other_metrics_are_refused(world: World) -> None:
    cases = [
        ("", 1100, "failed to parse the request of metrics"),
        ("[1", 1100, "failed to parse the request of metrics"),
        ("{}", 1100, "metric_type not found in request"),
        ('{"metric_type": "weather"}', 1200, "metric not found[metric=weather]"),
    ]
    for request, code, text in cases:
        answer = world.metrics(request)
        equal((answer.status.code, text in answer.status.reason), (code, True), f"{request}: {answer.status.reason}")


def main() -> None:
    world, words = World(sys.argv[1]), sys.argv[2:]
    logging.disable(logging.CRITICAL)
    passed, failed = tried(CLAIMS, world, words)
    world.client.drop_collection(world.name)
    print(f"system: {passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
