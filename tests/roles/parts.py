"""What the parts of the fault tests share: the table of them, and small questions to a cluster."""

from __future__ import annotations

import argparse
import re
import time
from typing import Any, Callable

from pymilvus import MilvusClient

from cluster import Cluster, Node
from load import connect

PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {}


def part(run: Callable[[argparse.Namespace], dict[str, Any]]) -> Callable[[argparse.Namespace], dict[str, Any]]:
    PARTS[run.__name__.replace("_", "-")] = run
    return run


def replicas_of(client: MilvusClient, name: str) -> list[list[int]]:
    """The query nodes of each replica."""
    return [list(replica.group_nodes) for replica in client.describe_replica(name)]


def full(client: MilvusClient, name: str, replicas: int, nodes: int) -> bool:
    found = replicas_of(client, name)
    return len(found) == replicas and all(found) and len({node for each in found for node in each}) == nodes


def all_alive(cluster: Cluster, but: tuple[Node, ...] = ()) -> None:
    dead = [node.name for node in cluster.nodes.values() if not node.alive() and node not in but]
    if dead:
        raise AssertionError(f"ended by themselves: {dead}\n{cluster.nodes[dead[0]].tail()}")


def stopped(node: Node, seconds: float = 60) -> float:
    """SIGTERM; the seconds until the process has ended by itself."""
    begin = time.monotonic()
    if not node.stop(seconds):
        raise AssertionError(f"{node.name} did not end by itself within {seconds} s\n{node.tail()}")
    if node.popen.returncode != 0:
        raise AssertionError(f"{node.name} ended with {node.popen.returncode}\n{node.tail()}")
    return time.monotonic() - begin


def compared(cluster: Cluster, writers: list) -> int:
    client = connect(cluster.uri)
    return sum(writer.compare(client) for writer in writers)


def leader_of(cluster: Cluster) -> Node:
    """The coordinator that said last that it leads."""
    said = []
    for node in cluster.of("mixcoord"):
        lines = [line for line in node.log.read_text(errors="replace").splitlines() if "coordinator leads" in line]
        if lines:
            found = re.search(r"\d{4}-\d\d-\d\dT[\d:.]+", lines[-1])
            said.append((found.group() if found else lines[-1], node))
    if not said:
        raise AssertionError("no coordinator says that it leads")
    return max(said, key=lambda each: each[0])[1]
