"""How searches scale with query nodes that each get a tenth of a core, and whether any fails while nodes come and go.

    scale.py --loadgen FILE --data FOLDER [--part replicas|segments|both] [--seconds 20] [--rounds 3] [--clients 32] [--record FILE]

`replicas`: as many copies of one segment as nodes; `segments`: one copy, of 16 segments, over all nodes. At 1, 2 and 4 nodes a
closed loop of searches measures the throughput, on the way up and again on the way back to 1, and so in each round, since the
machine's speed drifts by a tenth and more within a minute; a figure is the mean of all. In between, a constant load of half of what one node can do
goes on, of which no search may fail. Ends with 1 if a promise is not kept.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import resource
import signal
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any, Callable

from pymilvus import DataType, MilvusClient

from capped import CappedCluster, Meter
from cluster import wait_for
from loading import command, index_built, loadgen, verdict
from quota import model

NAME = "scale"
DIM = 384
CORES = 0.1
EF = 256
STEPS = (1, 2, 4)
WANTED = {2: 1.9, 4: 3.6}
RECALL_WITHIN = 0.005
BUSY_BELOW = 0.7
# What of one node's throughput the constant load asks for.
CONSTANT = 0.5


class Scale:
    def __init__(self, given: argparse.Namespace, part: str, cluster: CappedCluster) -> None:
        self.given, self.part, self.cluster = given, part, cluster
        self.client = MilvusClient(cluster.uri, timeout=120)
        self.segments = 16 if part == "segments" else 1
        self.background: subprocess.Popen[str] | None = None
        self.constant = {"queries": 0, "failed": 0, "max_ms": 0.0, "failures": {}}

    # ---------------------------------------------------------------- the rows

    def fill(self) -> None:
        schema = self.client.create_schema(auto_id=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM)
        # Compaction would make one segment of the sixteen.
        self.client.create_collection(NAME, schema=schema, num_shards=1, properties={"collection.autocompaction.enabled": "false"})
        step = -(-self.given.rows // self.segments)
        for first in range(0, self.given.rows, step):
            self.loadgen("insert", vectors=self.file("vectors.npy"), batch=1000, first=first, limit=step)
            self.client.flush(NAME)
        index = self.client.prepare_index_params()
        index.add_index("vector", index_type="HNSW", metric_type="IP", params={"M": 16, "efConstruction": 200})
        self.client.create_index(NAME, index, sync=False)
        wait_for("the index", 300, lambda: index_built(self.client, NAME))
        self.client.load_collection(NAME, replica_number=1)
        self.settled(1)

    def settled(self, nodes: int) -> float:
        """Waits until reads go to so many nodes, each with its part, and nobody has anything to let go of."""
        begin, copies = time.monotonic(), nodes if self.part == "replicas" else 1

        def check() -> bool:
            replicas = [list(replica.group_nodes) for replica in self.client.describe_replica(NAME)]
            held: dict[int, int] = {}
            for segment in self.client.list_loaded_segments(NAME):
                for node in segment.node_ids:
                    held[node] = held.get(node, 0) + 1
            is_spread = len(held) == nodes and set(held.values()) == {self.segments * copies // nodes}
            return is_spread and len(replicas) == copies and {node for replica in replicas for node in replica} == set(held)

        wait_for(f"{nodes} query nodes at work", 180, check)
        return time.monotonic() - begin

    # ---------------------------------------------------------------- the load

    def file(self, name: str) -> str:
        return str(Path(self.given.data) / name)

    def command(self, what: str, **flags: Any) -> list[str]:
        return command(self.given.loadgen, what, self.cluster.uri, NAME, **flags)

    def loadgen(self, what: str, **flags: Any) -> dict[str, Any]:
        return loadgen(self.given.loadgen, what, self.cluster.uri, NAME, **flags)

    def searches(self) -> dict[str, Any]:
        return {"queries": self.file("queries.npy"), "metric": "IP", "params": json.dumps({"ef": EF}), "warmup": 0}

    def measure(self, nodes: int) -> dict[str, Any]:
        self.loadgen("search", **self.searches(), clients=self.given.clients, seconds=2)
        meter, before = Meter(self.cluster), own_children()
        found = self.loadgen("search", **self.searches(), clients=self.given.clients, seconds=self.given.seconds, truth=self.file("truth-ip.npy"))
        cores = meter.cores()
        cores["loadgen"] = (own_children() - before) / found["seconds"]
        busiest = max((used, name) for name, used in cores.items() if not name.startswith("querynode"))
        line = {
            "nodes": nodes, "qps": found["qps"], "recall": found["recall"], "p50_ms": found["p50_ms"], "p99_ms": found["p99_ms"],
            "query node cores": [round(used, 3) for name, used in cores.items() if name.startswith("querynode")],
            "throttled": meter.throttled(), "busiest other": busiest[1], "busiest": busiest[0], "cores": {k: round(v, 3) for k, v in cores.items()},
        }  # fmt: skip
        print("  " + ", ".join(f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in line.items()), flush=True)
        return line

    def constantly(self, qps: float, change: Callable[[], float]) -> float:
        """Makes a change while searches come at a constant rate."""
        flags = {**self.searches(), "clients": 16, "seconds": 900, "rate": qps * CONSTANT, "failures": "count"}
        loading = subprocess.Popen(self.command("search", **flags), stdout=subprocess.PIPE, text=True)
        try:
            time.sleep(1)
            took = change()
            time.sleep(2)
        finally:
            loading.send_signal(signal.SIGTERM)
            text, _ = loading.communicate(timeout=60)
        if loading.returncode != 0:
            raise RuntimeError("the constant load ended early")
        found = json.loads(text)
        self.constant["queries"] += found["queries"] + found["failed"]
        self.constant["failed"] += found["failed"]
        self.constant["max_ms"] = max(self.constant["max_ms"], found["max_ms"])
        self.constant["failures"].update(found["failures"])
        return took

    # ---------------------------------------------------------------- the way up and down

    def to(self, nodes: int) -> float:
        """As many query nodes, and with `replicas` as many copies."""
        began = time.monotonic()
        while len(self.cluster.of("querynode")) < nodes:
            self.cluster.start("querynode", wait=False)
        if self.part == "replicas":
            for node in self.cluster.of("querynode"):
                node.wait_healthy(120)
            self.client.load_collection(NAME, replica_number=nodes)
        for node in self.cluster.of("querynode")[nodes:]:
            if not node.stop(120):
                raise RuntimeError(f"{node.name} did not end by itself\n{node.tail()}")
        self.settled(nodes)
        return time.monotonic() - began

    def run(self) -> tuple[list[dict[str, Any]], list[float]]:
        self.fill()
        lines: dict[int, list[dict[str, Any]]] = {nodes: [] for nodes in STEPS}
        lines[1].append(self.measure(1))
        took = []
        for at in range(self.given.rounds):
            if at > 0:
                lines[1].append(self.measure(1))
            for nodes in STEPS[1:]:
                took.append(self.change(lines, nodes))
            lines[STEPS[-1]].append(self.measure(STEPS[-1]))
            for nodes in reversed(STEPS[:-1]):
                took.append(self.change(lines, nodes))
        return [mean(lines[nodes]) for nodes in STEPS], took

    def change(self, lines: dict[int, list[dict[str, Any]]], nodes: int) -> float:
        """Goes to so many nodes under a constant load and measures what they do. Returns how long that took. Unit: s."""
        took = self.constantly(lines[1][0]["qps"], lambda: self.to(nodes))
        lines[nodes].append(self.measure(nodes))
        return took


def mean(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """One line of several measurements: the mean of what was done, the worst of what is bounded."""
    means = {key: sum(line[key] for line in lines) / len(lines) for key in ("qps", "p50_ms", "recall")}
    return {**max(lines, key=lambda line: line["busiest"]), **means, "p99_ms": max(line["p99_ms"] for line in lines)}


def own_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def broken(lines: list[dict[str, Any]], constant: dict[str, Any]) -> list[str]:
    """The promises that were not kept."""
    one, found = lines[0], []
    for line in lines[1:]:
        ratio = line["qps"] / one["qps"]
        if ratio < WANTED[line["nodes"]]:
            found.append(f"{line['nodes']} nodes do {ratio:.2f} times what one does, not {WANTED[line['nodes']]}")
        if abs(line["recall"] - one["recall"]) > RECALL_WITHIN:
            found.append(f"recall {line['recall']:.4f} at {line['nodes']} nodes, {one['recall']:.4f} at one")
    found += [f"{line['busiest other']} used {line['busiest']:.0%} of a core at {line['nodes']} nodes" for line in lines if line["busiest"] >= BUSY_BELOW]
    if constant["failed"]:
        found.append(f"{constant['failed']} of {constant['queries']} searches failed while nodes came and went: {constant['failures']}")
    return found


HEAD = """# Searches over more query nodes

Each query node is held to a tenth of a core by a control group (period 10 ms); closed loop, HNSW M=16 efConstruction=200, ef=256, IP, top
10; other processes (three etcd, S3 server, coordinator, streaming node, data node, proxy, load generator) share the machine
(`make bench PART=scale`). "Others" is the busiest process that is no query node, in parts of one core. The last columns are of
a constant load of half of what one node does, all the way from 1 to 4 nodes and back. The commit is the engine's, in a release
build unless it says otherwise. Since commit 4a82013 each figure is the mean of two measurements, on the way up and on the way
back; rows that say so, of six, on three ways up and back.

| date | commit | machine | data | part | nodes | QPS | ratio | recall@10 | p50 / p99 ms | others | searches while scaling, failed, slowest ms |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""


def record(given: argparse.Namespace, part: str, lines: list[dict[str, Any]], constant: dict[str, Any]) -> None:
    path = Path(given.record)
    if not path.exists():
        path.write_text(HEAD)
    rounds = "" if given.rounds == 1 else f", {given.rounds} ways"
    with open(path, "a") as out:
        for line in lines:
            scaling = f"{constant['queries']:,}, {constant['failed']}, {constant['max_ms']:.0f}" if line is lines[-1] else ""
            out.write(
                f"| {date.today()} | {given.commit} | {os.cpu_count()} × {model()}, {platform.release().split('-')[0]} | {given.data_name} | {part}{rounds} | {line['nodes']} "
                f"| {line['qps']:,.0f} | {line['qps'] / lines[0]['qps']:.2f} | {line['recall']:.4f} | {line['p50_ms']:.0f} / {line['p99_ms']:.0f} "
                f"| {line['busiest other']} {line['busiest']:.2f} | {scaling} |\n"
            )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--loadgen", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--data-name", default="debian-63k")
    parser.add_argument("--rows", type=int, default=63_666)
    parser.add_argument("--part", choices=["replicas", "segments", "both"], default="both")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--record", default="")
    parser.add_argument("--commit", default="")
    parser.add_argument("--keep", action="store_true")
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    failed = []
    for part in ("replicas", "segments") if given.part == "both" else (given.part,):
        print(f"{part}:", flush=True)
        with CappedCluster(CORES, keep=given.keep) as cluster:
            scale = Scale(given, part, cluster)
            lines, took = scale.run()
        print(f"  while scaling: {scale.constant}, took s {[round(each, 1) for each in took]}")
        for line in lines[1:]:
            print(f"  {line['nodes']} nodes: {line['qps'] / lines[0]['qps']:.2f} times one")
        if given.record:
            record(given, part, lines, scale.constant)
        failed += [f"{part}: {text}" for text in broken(lines, scale.constant)]
    verdict(failed)


if __name__ == "__main__":
    main()
