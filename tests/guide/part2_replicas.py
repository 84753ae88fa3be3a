"""Part 2, chapters 7.2 and 8.4: copies and resource groups, as far as one node can have them.

What needs several nodes is tested in clusters (`tests/cluster`, `tests/kube`): the cases 78, 79, 81, 83 to 90, 123, 126, 128, 130 and 131.
"""

from __future__ import annotations

from typing import Any

from pymilvus import utility
from pymilvus.client.types import LoadState, ResourceGroupConfig

import fixtures as of
from harness import Server, case, equal, fails, holds, until

DEFAULT = "__default_resource_group"


def asked(requests: int, limits: int | None = None) -> dict[str, Any]:
    """What a group asks for, as plain as the guide has it."""
    both: dict[str, Any] = {"requests": {"node_num": requests}}
    return both if limits is None else {**both, "limits": {"node_num": limits}}


def updated(group: str, **asks: Any) -> None:
    """Replaces what a group asks for; clients before 2.6 take no plain dict for that."""
    utility.update_resource_groups({group: ResourceGroupConfig(**asks)})


def nodes_of(group: str) -> int:
    return len(utility.describe_resource_group(group).nodes)


def of_nodes(**groups: int) -> None:
    """Waits until the groups have so many nodes; `default` is the default one."""
    wanted = {DEFAULT if name == "default" else name: number for name, number in groups.items()}
    until(f"the groups have {wanted} nodes", 30, lambda: {name: nodes_of(name) for name in wanted} == wanted)


@case
def case_2_077_a_collection_has_one_copy_that_names_its_nodes(server: Server) -> None:
    target = of.line(server)
    target.load(replica_number=1)
    groups = target.get_replicas().groups
    equal(len(groups), 1, "the copies")
    holds(groups[0].id > 0, "a copy has a number")
    equal((len(groups[0].shards), groups[0].resource_group), (target.num_shards, DEFAULT), "its shards and its group")
    equal(len(groups[0].group_nodes), 1, "its nodes")
    equal([shard.shard_leader in groups[0].group_nodes for shard in groups[0].shards], [True], "whether its leader is among them")


@case
def case_2_080_more_copies_than_nodes_are_refused(server: Server) -> None:
    """The guide has four on three nodes, here it is two on one; its text is that of 2.3, and that of today is in wire-api 2.14."""
    server.connect()
    target = of.filled(of.unique("copies"), [of.key(), of.vector(2)], [[1], [[0, 1]]])
    target.release()
    with fails("when load 2 replica count: service resource insufficient[currentStreamingNode=1][expectedStreamingNode=2]"):
        target.load(replica_number=2)
    equal(utility.load_state(target.name), LoadState.NotLoad, "the state")


@case
def case_2_082_a_released_collection_has_no_copies(server: Server) -> None:
    server.connect()
    target = of.filled(of.unique("released"), [of.key(), of.vector(2)], [[1], [[0, 1]]])
    one, other = target.get_replicas().groups[0], server.client().describe_replica(target.name)[0]
    names = ("id", "group_nodes", "resource_group", "num_outbound_node")
    equal([getattr(other, name) for name in names], [getattr(one, name) for name in names], "what the other client says")
    equal([str(shard) for shard in other.shards], [str(shard) for shard in one.shards], "what the other client says of shards")
    target.release()
    with fails("replica not found", 400):
        target.get_replicas()


@case
def case_2_120_there_is_a_default_group_of_all_nodes(server: Server) -> None:
    server.connect()
    holds(DEFAULT in utility.list_resource_groups(), "it is listed")
    group = utility.describe_resource_group(DEFAULT)
    equal((group.name, group.capacity, group.num_available_node), (DEFAULT, 1_000_000, 1), "the group")


@case
def case_2_121_a_group_gets_the_nodes_it_asks_for(server: Server) -> None:
    """Two of five nodes, cut to one of one."""
    with server.another() as own:
        own.connect()
        of_nodes(default=1)
        utility.create_resource_group("business_a", config=asked(1, 1))
        of_nodes(business_a=1, default=0)
        node = utility.describe_resource_group("business_a").nodes[0]
        holds(node.node_id > 0 and node.address and node.hostname, f"the node says where it is: {node}")


@case
def case_2_122_a_group_without_limits_has_those_of_its_requests(server: Server) -> None:
    """Decision D2: accepted, as the guide has it; Milvus answers 303."""
    with server.another() as own:
        own.connect()
        utility.create_resource_group("business_a", config=asked(1))
        of_nodes(business_a=1)
        config = utility.describe_resource_group("business_a").config
        equal((config.requests.node_num, config.limits.node_num), (1, 1), "what it asks for")


@case
def case_2_124_names_and_wishes_of_groups_have_rules(server: Server) -> None:
    with server.another() as own:
        own.connect()
        for _ in range(2):
            utility.create_resource_group("business_a", config=asked(1, 1))
        with fails("resource group already exist", 301):
            utility.create_resource_group("business_a", config=asked(2, 2))
        for name in ("业务", "1abc", "x" * 256):
            with fails("Invalid resource group name", 1100):
                utility.create_resource_group(name, config=asked(0, 0))
        with fails("resource group not found", 300):
            utility.describe_resource_group("nope")
        equal(set(utility.list_resource_groups()), {DEFAULT, "business_a"}, "the groups")


@case
def case_2_125_nodes_are_moved_from_group_to_group(server: Server) -> None:
    """The guide's group has a node before; here there is only one."""
    with server.another() as own:
        own.connect()
        of_nodes(default=1)
        utility.create_resource_group("business_c", config=asked(0, 0))
        with fails("node not enough", 304):
            utility.transfer_node(DEFAULT, "business_c", 2)
        utility.transfer_node(DEFAULT, "business_c", 1)
        of_nodes(business_c=1, default=0)
        equal(utility.describe_resource_group("business_c").config.requests.node_num, 1, "the nodes it asks for")
        with fails("should not be the same", 1100):
            utility.transfer_node(DEFAULT, DEFAULT, 1)
        for source, target in ((DEFAULT, "nope"), ("nope", DEFAULT)):
            with fails("resource group not found", 300):
                utility.transfer_node(source, target, 1)


@case
def case_2_127_copies_and_groups_have_to_fit(server: Server) -> None:
    """That two groups get a copy each takes two nodes, and is tested in clusters."""
    server.connect()
    target = of.filled(of.unique("grouped"), [of.key(), of.vector(2)], [[1], [[0, 1]]])
    target.release()
    with fails("resource group num can only be 0, 1 or same as replica number"):
        target.load(replica_number=3, _resource_groups=["business_b", "business_c"])
    with fails("resource group not found[rg=nope]", 300):
        target.load(replica_number=1, _resource_groups=["nope"])
    equal(utility.load_state(target.name), LoadState.NotLoad, "the state")


@case
def case_2_129_a_group_is_dropped_once_it_asks_for_nothing(server: Server) -> None:
    with server.another() as own:
        own.connect()
        utility.create_resource_group("business_c", config=asked(1, 1))
        of_nodes(business_c=1)
        with fails("limits node num is not 0", 303):
            utility.drop_resource_group("business_c")
        updated("business_c", **asked(0, 0))
        of_nodes(business_c=0, default=1)
        for _ in range(2):
            utility.drop_resource_group("business_c")
        equal(utility.list_resource_groups(), [DEFAULT], "the groups")
        with fails("default resource group is not deletable"):
            utility.drop_resource_group(DEFAULT)


@case
def case_2_132_groups_are_there_after_a_restart(server: Server) -> None:
    with server.another() as own:
        own.connect()
        utility.create_resource_group("business_a", config=asked(0, 0))
        utility.create_resource_group("business_b", config=asked(0, 0))
        moved = {**asked(1, 1), "transfer_from": [{"resource_group": "business_b"}], "transfer_to": [{"resource_group": "business_b"}]}
        updated("business_a", **moved)
        for other in ("business_a", "nope"):
            for where in ("transfer_from", "transfer_to"):
                with fails(code=303):
                    updated("business_a", **asked(1, 1), **{where: [{"resource_group": other}]})
        before = utility.describe_resource_group("business_a").config
        own.stop()
        own.start()
        own.connect()
        equal(utility.describe_resource_group("business_a").config, before, "what it asks for")
        of_nodes(business_a=1)


@case
def case_2_133_groups_choose_nodes_by_label(server: Server) -> None:
    with server.another({"MILVUS_SERVER_LABEL_TIER": "hot"}) as own:
        own.connect()
        of_nodes(default=1)

        def wants(value: str) -> dict[str, Any]:
            return {**asked(1, 1), "node_filter": {"node_labels": [{"key": "TIER", "value": value}]}}

        utility.create_resource_group("cold", config=wants("cold"))
        utility.create_resource_group("hot", config=wants("hot"))
        of_nodes(hot=1, cold=0)
