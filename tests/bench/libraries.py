"""Measures index libraries in this process, one query a call on one thread: what a server without a network could reach.

    libraries.py --data FOLDER --out FILE hnswlib|faiss …
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Callable

import numpy as np

K = 10
EFS = (16, 32, 48, 64, 80, 96, 128, 256)
Search = Callable[[np.ndarray], np.ndarray]


def memory_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def hnswlib_index(base: np.ndarray) -> tuple[Callable[[int], None], Search]:
    import hnswlib

    index = hnswlib.Index("ip", base.shape[1])
    index.init_index(len(base), ef_construction=200, M=16)
    index.set_num_threads(2)
    index.add_items(base)
    index.set_num_threads(1)
    return index.set_ef, lambda query: index.knn_query(query, K)[0][0]


def faiss_index(base: np.ndarray) -> tuple[Callable[[int], None], Search]:
    import faiss

    faiss.omp_set_num_threads(2)
    index = faiss.IndexHNSWFlat(base.shape[1], 16, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = 200
    index.add(base)
    faiss.omp_set_num_threads(1)

    def set_ef(ef: int) -> None:
        index.hnsw.efSearch = ef

    return set_ef, lambda query: index.search(query, K)[1][0]


MAKERS = {"hnswlib": hnswlib_index, "faiss": faiss_index}


def measure(name: str, data: Path, out: Path) -> None:
    base, queries, truth = (np.load(data / file) for file in ("vectors.npy", "queries.npy", "truth-ip.npy"))

    def note(**figures: object) -> None:
        line = {"name": name, "load1": os.getloadavg()[0], **figures}
        print("  " + ", ".join(f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in line.items()), flush=True)
        with out.open("a") as lines:
            lines.write(json.dumps(line) + "\n")

    before, begin, cpu = memory_mb(), time.monotonic(), time.process_time()
    set_ef, search = MAKERS[name](base)
    note(op="build", seconds=time.monotonic() - begin, server_cpu_s=time.process_time() - cpu, added_mb=memory_mb() - before)
    for ef in EFS:
        set_ef(ef)
        found = sum(len(set(search(query[None]).tolist()) & set(exact[:K].tolist())) for query, exact in zip(queries, truth))
        times = []
        end = time.monotonic() + 4
        begin, cpu = time.monotonic(), time.process_time()
        while time.monotonic() < end:
            for query in queries:
                start = time.perf_counter()
                search(query[None])
                times.append(time.perf_counter() - start)
        seconds, spent = time.monotonic() - begin, time.process_time() - cpu
        p50, p99 = np.percentile(times, [50, 99]) * 1000
        note(
            op="search", clients=1, topk=K, params=json.dumps({"ef": ef}), filter="", queries=len(times), qps=len(times) / seconds,
            p50_ms=float(p50), p99_ms=float(p99), recall=found / (K * len(queries)), cpu_ms=spent * 1000 / len(times),
        )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("libraries", nargs="+", choices=sorted(MAKERS))
    options = parser.parse_args()
    for name in options.libraries:
        measure(name, options.data, options.out)


if __name__ == "__main__":
    main()
