"""Measures one server that speaks Milvus's protocol: inserts, HNSW build, searches, memory. One JSON object a line.

    server.py --name NAME --uri URI --pid PID --loadgen FILE --data FOLDER --out FILE [--seconds 8] [--quick]

Requests come ready-made from `loadgen`; only the set-up goes through pymilvus.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import time
from pathlib import Path
from typing import Any

from pymilvus import MilvusClient

from loading import index_built, loadgen, plain_schema

DIM = 384
NAME = "bench"
EFS = (16, 32, 48, 64, 80, 96, 128, 256)
QUICK_EFS = (64, 80)
TICKS = os.sysconf("SC_CLK_TCK")


class Bench:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.client = MilvusClient(options.uri, timeout=600)

    def note(self, **figures: Any) -> None:
        line = {"name": self.options.name, "load1": os.getloadavg()[0], **figures}
        print("  " + ", ".join(f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in line.items()), flush=True)
        with open(self.options.out, "a") as out:
            out.write(json.dumps(line) + "\n")

    def cpu(self) -> float:
        """CPU seconds of the server so far."""
        fields = Path(f"/proc/{self.options.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory(self, key: str) -> float:
        """MiB of the server: VmRSS now, VmHWM at its highest."""
        for line in Path(f"/proc/{self.options.pid}/status").read_text().splitlines():
            if line.startswith(key + ":"):
                return int(line.split()[1]) / 1024
        return 0.0

    def load(self, command: str, **flags: Any) -> dict[str, Any]:
        """One run of the load generator, with the CPU time that the server spent meanwhile."""
        before = self.cpu()
        answer = loadgen(self.options.loadgen, command, self.options.uri, NAME, **flags)
        answer["server_cpu_s"] = self.cpu() - before
        return answer

    def file(self, name: str) -> str:
        return str(Path(self.options.data) / name)

    def create(self) -> None:
        if self.client.has_collection(NAME):
            self.client.drop_collection(NAME)
        self.client.create_collection(NAME, schema=plain_schema(self.client, DIM))

    def inserts(self) -> None:
        """The last of the runs leaves its rows for the searches."""
        runs = [(1000, 8), (1000, 1)] if self.options.quick else [(100, 1), (1000, 8), (5000, 2), (1000, 1)]
        for batch, clients in runs:
            self.create()
            answer = self.load(
                "insert",
                vectors=self.file("vectors.npy"),
                names=self.file("name.txt"),
                sections=self.file("section.txt"),
                part=self.file("part.npy"),
                size=self.file("installed_size.npy"),
                batch=batch,
                clients=clients,
            )
            self.note(**answer)

    def build(self) -> None:
        begin = time.monotonic()
        self.client.flush(NAME)
        self.note(op="flush", seconds=time.monotonic() - begin)
        index = self.client.prepare_index_params()
        index.add_index("vector", index_type="HNSW", metric_type="IP", params={"M": 16, "efConstruction": 200})
        begin, before = time.monotonic(), self.cpu()
        self.client.create_index(NAME, index, sync=False)
        while not index_built(self.client, NAME):
            time.sleep(0.1)
        self.note(op="build", seconds=time.monotonic() - begin, server_cpu_s=self.cpu() - before)
        begin = time.monotonic()
        self.client.load_collection(NAME)
        self.note(op="load", seconds=time.monotonic() - begin, rss_mb=self.memory("VmRSS"), peak_mb=self.memory("VmHWM"))

    def searches(self) -> None:
        common = {"queries": self.file("queries.npy"), "metric": "IP", "seconds": self.options.seconds, "warmup": 1000}
        for ef in QUICK_EFS if self.options.quick else EFS:
            for clients in (1, 8):
                self.search(truth=self.file("truth-ip.npy"), params=json.dumps({"ef": ef}), clients=clients, **common)
        for part in () if self.options.quick else (1, 10, 50):
            truth = self.file(f"truth-ip-part{part}.npy")
            for clients in (1, 8):
                self.search(truth=truth, filter=f"part < {part}", params='{"ef": 64}', clients=clients, **common)
        self.note(op="memory", rss_mb=self.memory("VmRSS"), peak_mb=self.memory("VmHWM"))

    def search(self, **flags: Any) -> None:
        answer = self.load("search", **flags)
        # The warm-up is in the CPU time as well.
        answer["cpu_ms"] = answer["server_cpu_s"] * 1000 / (answer["queries"] + flags["warmup"])
        self.note(**answer)


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("name", "uri", "pid", "loadgen", "data", "out"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--quick", action="store_true")
    logging.disable(logging.CRITICAL)
    bench = Bench(parser.parse_args())
    bench.inserts()
    bench.build()
    bench.searches()
    bench.client.drop_collection(NAME)


if __name__ == "__main__":
    main()
