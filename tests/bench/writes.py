"""Acknowledged inserts with each kind of log: the same client and rows, one kind after the other.

    writes.py --loadgen FILE --data FOLDER [--kinds file,object,far,kafka] [--record FILE]

`file` is a standalone; the others are clusters of one process a role. `object` keeps the log in an S3 server on this machine,
`far` in the same one behind pauses like those of a real service (PUT 20 ms, one in a hundred over 80 ms), `kafka` in Kafka.
Ends with 1 if a promise about the object log is not kept.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any, Callable

from pymilvus import DataType, MilvusClient

from capped import cpu_seconds
from cluster import RELEASE, Cluster, Process, free_port, get, wait_for
from loading import loadgen, verdict
from quota import model

DIM = 384
# Rows a request, clients at once, rows at most.
LOADS = ((1, 1, 500), (1, 64, 20_000), (100, 16, 63_666), (1_000, 8, 63_666))
# The last one is what "full load" means in a promise.
FULL = LOADS[-1][:2]
FAR = {"median-ms": 20, "p99-ms": 80}
LINGER_MS = 5
REQUESTS_A_MILLION = 2_000
IDLE_S = 20
KINDS = ("file", "object", "far", "kafka")


class Alone:
    """A standalone in a folder of its own."""

    def __enter__(self) -> Alone:
        self.folder = Path(tempfile.mkdtemp(prefix="redkite-writes-"))
        port, metrics = free_port(), free_port()
        self.uri = f"http://127.0.0.1:{port}"
        command = [RELEASE / "redkite", "run", "standalone", "--data-dir", self.folder / "data"]
        command += ["--listen", f"127.0.0.1:{port}", "--metrics-listen", f"127.0.0.1:{metrics}"]
        self.process = Process("standalone", command, self.folder)
        wait_for("the standalone", 60, lambda: get(f"http://127.0.0.1:{metrics}/healthz").startswith("OK"))
        self.nodes = {"standalone": self.process}
        return self

    def __exit__(self, *_: Any) -> None:
        self.process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class Counted(Cluster):
    """A cluster whose requests to its object store pass a counter, which may take its time."""

    def __init__(self, pauses: dict[str, int], **rest: Any) -> None:
        self.pauses = pauses
        super().__init__(**rest)

    def start_store(self) -> None:
        super().start_store()
        own = f"127.0.0.1:{free_port()}"
        command = [RELEASE / "slowstore", "--listen", own, "--to", self.store]
        for name, value in self.pauses.items():
            command += [f"--{name}", value]
        self.servers["slowstore"] = Process("slowstore", command, self.folder)
        self.store = own
        wait_for("the way to the S3 server", 30, lambda: self.figures() is not None)

    def figures(self) -> dict[str, Any]:
        """What came since this was asked last."""
        return json.loads(get(f"http://{self.store}/figures"))


def opened(kind: str) -> Any:
    match kind:
        case "file":
            return Alone()
        case "kafka":
            return Cluster(log="kafka")
        case "object":
            return Counted({})
        case _:
            return Counted(FAR)


def create(client: MilvusClient, name: str) -> None:
    schema = client.create_schema(auto_id=False)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM)
    client.create_collection(name, schema=schema, num_shards=1)


def inserted(given: argparse.Namespace, uri: str, name: str, batch: int, clients: int, rows: int) -> dict[str, Any]:
    vectors = Path(given.data) / "vectors.npy"
    return loadgen(given.loadgen, "insert", uri, name, vectors=vectors, batch=batch, clients=clients, limit=rows)


def measure(given: argparse.Namespace, kind: str) -> list[dict[str, Any]]:
    lines = []
    with opened(kind) as system:
        client = MilvusClient(system.uri, timeout=120)
        figures: Callable[[], dict[str, Any]] | None = getattr(system, "figures", None)
        for batch, clients, rows in LOADS:
            # None is dropped: the removal of its log would be counted with the next one's.
            name = f"writes_{batch}_{clients}"
            create(client, name)
            # The first chunks of a new channel go one by one and are looked at twice: that is not the load.
            inserted(given, system.uri, name, 100, 1, 4_000)
            if figures:
                figures()
            before = {name: cpu_seconds(process.pid) for name, process in system.nodes.items()}
            found = inserted(given, system.uri, name, batch, clients, rows)
            line = {"kind": kind, **found}
            line["cpu_us_a_row"] = sum(cpu_seconds(p.pid) - before[n] for n, p in system.nodes.items()) * 1e6 / found["rows"]
            if figures:
                log = figures()["log"]
                line |= {"put_p50_ms": log["put_p50_ms"], "put_p99_ms": log["put_p99_ms"], "requests_a_million": log["requests"] * 1e6 / found["rows"]}
                line["requests"] = log["by_method"]
            lines.append(line)
            print("  " + ", ".join(f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in line.items()), flush=True)
        if figures:
            time.sleep(2)
            figures()
            time.sleep(IDLE_S)
            idle = figures()
            lines[-1]["idle_requests"] = {side: idle[side]["requests"] for side in ("log", "other")}
            print(f"  requests in {IDLE_S} s of rest: {idle}", flush=True)
    return lines


def broken(lines: list[dict[str, Any]]) -> list[str]:
    """The promises that were not kept."""
    found = []
    for line in lines:
        if "put_p99_ms" not in line:
            continue
        what = f"{line['kind']}, {line['batch']} rows × {line['clients']} clients"
        limit = 3 * (line["put_p99_ms"] + LINGER_MS)
        if line["p99_ms"] > limit:
            found.append(f"{what}: p99 {line['p99_ms']:.0f} ms, more than {limit:.0f}")
        if (line["batch"], line["clients"]) == FULL and line["requests_a_million"] > REQUESTS_A_MILLION:
            found.append(f"{what}: {line['requests_a_million']:.0f} requests for a million rows")
        # The coordinator looks for what dropped collections have left, now and then; the log asks for nothing.
        if line.get("idle_requests", {}).get("log"):
            found.append(f"{what}: requests at rest: {line['idle_requests']}")
    return found


HEAD = """# Acknowledged inserts with each kind of log

Rows of 384 dimensions, requests made before the clock starts, one shard; file: a standalone; others: a cluster of one process a role, its
three etcd, the S3 server or Kafka (one broker) and the load generator on the same machine (`make bench PART=writes`). "far" is
the object log behind pauses like those of a real service: 20 ms, one in a hundred over 80 ms. PUT times are those that the log's
node saw. Requests are those with keys of the log. The commit is the engine's, in a release build unless it says otherwise.

| date | commit | machine | log | rows a request × clients | rows/s | p50 ms | p99 ms | CPU µs a row | PUT p50 / p99 ms | requests per million rows | requests in 20 s of rest |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""


def record(given: argparse.Namespace, lines: list[dict[str, Any]]) -> None:
    path = Path(given.record)
    if not path.exists():
        path.write_text(HEAD)
    with open(path, "a") as out:
        for line in lines:
            puts = f"{line['put_p50_ms']:.1f} / {line['put_p99_ms']:.1f}" if "put_p50_ms" in line else ""
            requests = f"{line['requests_a_million']:,.0f}" if "requests_a_million" in line else ""
            idle = str(line["idle_requests"]["log"]) if "idle_requests" in line else ""
            out.write(
                f"| {date.today()} | {given.commit} | {os.cpu_count()} × {model()} | {line['kind']} | {line['batch']} × {line['clients']} "
                f"| {line['rows_per_s']:,.0f} | {line['p50_ms']:.2f} | {line['p99_ms']:.2f} | {line['cpu_us_a_row']:.1f} | {puts} | {requests} | {idle} |\n"
            )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--loadgen", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--data-name", default="debian-63k")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--record", default="")
    parser.add_argument("--commit", default="")
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    lines = []
    for kind in given.kinds.split(","):
        if kind == "kafka" and not shutil.which("java"):
            print("kafka: not measured, there is no Java here", flush=True)
            continue
        print(f"{kind}:", flush=True)
        lines += measure(given, kind)
    if given.record:
        record(given, lines)
    verdict(broken(lines))


if __name__ == "__main__":
    main()
