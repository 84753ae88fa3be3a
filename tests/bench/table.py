"""Prints the figures of one run as Markdown: when, of which commit and on which machine, the main table at the first ef that reaches
recall 0.95, and ratios to the peers.

    table.py RESULTS.jsonl [--commit COMMIT] [--record FILE]

FILE gets the same at its end. Ends with 1 if inserts are slower than those of the peer's server in the same run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from datetime import date
from pathlib import Path
from typing import Any

from quota import model

OURS = "redkite"
# The peer that is a server too, as it begins; libraries have no inserts over a network.
PEER = "milvus"
RECALL = 0.95
HEAD = """# Redkite beside its peers

What `make bench` measured (`PEERS=milvus,hnswlib,faiss`: the peers in the same run, one after the other; `RECORD=1` adds a run here): real
vectors of 384 dimensions, HNSW M=16 efConstruction=200. The commit is the engine's, in a release build unless it says otherwise.
"""


def fmt(value: float | None, digits: int = 0) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def first(lines: list[dict[str, Any]], **wanted: Any) -> dict[str, Any]:
    """The last line that has these values, or nothing."""
    found = [line for line in lines if all(line.get(key) == value for key, value in wanted.items())]
    return found[-1] if found else {}


def main_point(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """The search with one client at the smallest ef whose recall is high enough (else at the largest ef)."""
    plain = [line for line in lines if line["op"] == "search" and line["clients"] == 1 and not line["filter"]]
    plain.sort(key=lambda line: json.loads(line["params"])["ef"])
    return next((line for line in plain if line["recall"] >= RECALL), plain[-1] if plain else {})


def row(name: str, lines: list[dict[str, Any]]) -> dict[str, Any]:
    one = main_point(lines)
    eight = first(lines, op="search", clients=8, params=one.get("params"), filter="")
    build, loaded = first(lines, op="build"), first(lines, op="load")
    insert = first(lines, op="insert", batch=1000, clients=1)
    return {
        "name": name,
        "setting": f"HNSW ef={json.loads(one['params'])['ef']}" if one else "",
        "recall": one.get("recall"),
        "qps1": one.get("qps"),
        "p99_1": one.get("p99_ms"),
        "qps8": eight.get("qps"),
        "p99_8": eight.get("p99_ms"),
        "cpu": one.get("cpu_ms"),
        "insert": insert.get("rows_per_s"),
        "insert8": first(lines, op="insert", batch=1000, clients=8).get("rows_per_s"),
        "build": build.get("seconds"),
        "build_cpu": build.get("server_cpu_s"),
        "memory": loaded.get("rss_mb") or build.get("added_mb"),
        "load1": one.get("load1"),
    }


def slower(rows: dict[str, dict[str, Any]]) -> list[str]:
    """Inserts that are slower than the peer's."""
    found = []
    ours = rows.get(OURS, {})
    for name in (name for name in rows if name.startswith(PEER)):
        for key, clients in (("insert", 1), ("insert8", 8)):
            mine, theirs = ours.get(key), rows[name].get(key)
            if theirs and (not mine or mine < theirs):
                found.append(f"{mine or 0:,.0f} rows a second with {clients} clients, {name} takes {theirs:,.0f}")
    return found


def text_of(lines: list[dict[str, Any]], names: list[str], rows: dict[str, dict[str, Any]]) -> str:
    """The tables."""
    out: list[str] = []
    out.append("| | setting | recall@10 | QPS, 1 client | p99 ms | QPS, 8 clients | p99 ms | CPU ms a query | inserts rows/s (8 clients) | HNSW build s (CPU s) | memory MB | load1 |")
    out.append("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for name in names:
        r = rows[name]
        inserts = f"{fmt(r['insert'])} ({fmt(r['insert8'])})" if r["insert"] else ""
        out.append(
            f"| {name} | {r['setting']} | {fmt(r['recall'], 3)} | {fmt(r['qps1'])} | {fmt(r['p99_1'], 2)} | {fmt(r['qps8'])} | {fmt(r['p99_8'], 1)} "
            f"| {fmt(r['cpu'], 2)} | {inserts} | {fmt(r['build'], 1)} ({fmt(r['build_cpu'], 1)}) | {fmt(r['memory'])} | {fmt(r['load1'], 1)} |"
        )
    filtered = [line for line in lines if line["op"] == "search" and line["filter"]]
    if filtered:
        out.append("\n| filter (ef=64) | " + " | ".join(f"{name}: recall, QPS 1 / 8 clients" for name in names) + " |")
        out.append("| --- |" + " --- |" * len(names))
        for text in dict.fromkeys(line["filter"] for line in filtered):
            cells = []
            for name in names:
                mine = [line for line in filtered if line["name"] == name]
                one, eight = first(mine, filter=text, clients=1), first(mine, filter=text, clients=8)
                cells.append(f"{fmt(one.get('recall'), 3)}, {fmt(one.get('qps'))} / {fmt(eight.get('qps'))}" if one else "")
            out.append(f"| `{text}` | " + " | ".join(cells) + " |")
    ours = rows.get(OURS)
    for name in names if ours else ():
        if name == OURS:
            continue
        ratios = [
            f"{label} {ours[key] / rows[name][key]:.2f}"
            for label, key in (("QPS with 1 client", "qps1"), ("QPS with 8 clients", "qps8"), ("inserts", "insert"), ("inserts with 8 clients", "insert8"),
                               ("build time", "build"), ("memory", "memory"), ("CPU a query", "cpu"))
            if ours.get(key) and rows[name].get(key)
        ]  # fmt: skip
        out.append(f"\nRedkite to {name}, same run: " + ", ".join(ratios) + ".")
    return "\n".join(out)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("results")
    parser.add_argument("--commit", default="unknown")
    parser.add_argument("--record", default="")
    given = parser.parse_args()
    lines = [json.loads(line) for line in open(given.results)]
    names = list(dict.fromkeys(line["name"] for line in lines))
    rows = {name: row(name, [line for line in lines if line["name"] == name]) for name in names}
    text = f"{date.today()}, commit {given.commit}, {os.cpu_count()} × {model()}, {platform.release().split('-')[0]}\n\n{text_of(lines, names, rows)}"
    print(text)
    if given.record:
        path = Path(given.record)
        if not path.exists():
            path.write_text(HEAD)
        with open(path, "a") as out:
            out.write(f"\n## {text}\n")
    failed = slower(rows)
    for each in failed:
        print(f"not kept: inserts are slower than the peer's: {each}", file=sys.stderr)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
