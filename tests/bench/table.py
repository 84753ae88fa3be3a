"""Prints the figures of one run as Markdown: the main table at the first ef that reaches recall 0.95, and ratios to the peers.

    table.py RESULTS.jsonl
"""

from __future__ import annotations

import json
import sys
from typing import Any

OURS = "redkite"
RECALL = 0.95


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


def main() -> None:
    lines = [json.loads(line) for line in open(sys.argv[1])]
    names = list(dict.fromkeys(line["name"] for line in lines))
    rows = {name: row(name, [line for line in lines if line["name"] == name]) for name in names}
    print("| | setting | recall@10 | QPS, 1 client | p99 ms | QPS, 8 clients | p99 ms | CPU ms a query | inserts rows/s (8 clients) | HNSW build s (CPU s) | memory MB | load1 |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for name in names:
        r = rows[name]
        inserts = f"{fmt(r['insert'])} ({fmt(r['insert8'])})" if r["insert"] else ""
        print(
            f"| {name} | {r['setting']} | {fmt(r['recall'], 3)} | {fmt(r['qps1'])} | {fmt(r['p99_1'], 2)} | {fmt(r['qps8'])} | {fmt(r['p99_8'], 1)} "
            f"| {fmt(r['cpu'], 2)} | {inserts} | {fmt(r['build'], 1)} ({fmt(r['build_cpu'], 1)}) | {fmt(r['memory'])} | {fmt(r['load1'], 1)} |"
        )
    filtered = [line for line in lines if line["op"] == "search" and line["filter"]]
    if filtered:
        print("\n| filter (ef=64) | " + " | ".join(f"{name}: recall, QPS 1 / 8 clients" for name in names) + " |")
        print("| --- |" + " --- |" * len(names))
        for text in dict.fromkeys(line["filter"] for line in filtered):
            cells = []
            for name in names:
                mine = [line for line in filtered if line["name"] == name]
                one, eight = first(mine, filter=text, clients=1), first(mine, filter=text, clients=8)
                cells.append(f"{fmt(one.get('recall'), 3)}, {fmt(one.get('qps'))} / {fmt(eight.get('qps'))}" if one else "")
            print(f"| `{text}` | " + " | ".join(cells) + " |")
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
        print(f"\nRedkite to {name}, same run: " + ", ".join(ratios) + ".")


if __name__ == "__main__":
    main()
