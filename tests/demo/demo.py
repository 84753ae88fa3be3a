"""Inserts the texts into a server and asks it five questions in words.

    demo.py URI        writes the answers as a table
    demo.py URI check  also fails unless the packages that each question names are among its first ten, and unless the
                       answers hold at least 0.95 of what a brute-force search finds
"""

from __future__ import annotations

import logging
import os
import sys
import time
from pathlib import Path

import numpy as np
from pymilvus import DataType, MilvusClient

from model import WIDTH, Embedder
from texts import Question, load, questions

NAME = "packages"
BATCH = 200
SHOWN = 3
K = 10
LEAST_RECALL = 0.95


class Progress:
    """A bar on a terminal, one line at the end elsewhere."""

    def __init__(self, title: str, total: int) -> None:
        self.title, self.total, self.begin = title, total, time.monotonic()

    def __call__(self, done: int) -> None:
        if sys.stdout.isatty():
            filled = 30 * done // self.total
            print(f"\r    {self.title} [{'#' * filled}{'.' * (30 - filled)}] {done}/{self.total}", end="", flush=True)
        if done >= self.total:
            start = "\r\033[K" if sys.stdout.isatty() else ""
            print(f"{start}    {self.title}: {self.total} in {time.monotonic() - self.begin:.1f} s", flush=True)


def embed(texts: list[str]) -> tuple[Embedder, np.ndarray]:
    cache = Path(os.environ.get("REDKITE_CACHE", Path.home() / ".cache/redkite")) / "demo"
    embedder = Embedder(cache)
    embedder.check()
    return embedder, embedder.embed(texts, Progress("embedding texts", len(texts)))


def fill(client: MilvusClient, packages: list[tuple[str, str]], rows: np.ndarray) -> None:
    """Makes the collection anew, inserts every text and builds the index."""
    if client.has_collection(NAME):
        client.drop_collection(NAME)
    schema = client.create_schema(auto_id=False, description="Debian packages, by what their descriptions mean")
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("name", DataType.VARCHAR, max_length=256)
    schema.add_field("text", DataType.VARCHAR, max_length=2048)
    schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=WIDTH)
    client.create_collection(NAME, schema=schema)
    progress = Progress("inserting rows", len(packages))
    for first in range(0, len(packages), BATCH):
        batch = [
            {"id": i, "name": packages[i][0], "text": packages[i][1], "embedding": rows[i].tolist()}
            for i in range(first, min(first + BATCH, len(packages)))
        ]
        client.insert(NAME, batch)
        progress(first + len(batch))
    begin = time.monotonic()
    client.flush(NAME)
    index = client.prepare_index_params()
    index.add_index("embedding", index_type="HNSW", metric_type="COSINE", params={"M": 16, "efConstruction": 200})
    client.create_index(NAME, index)
    client.load_collection(NAME)
    print(f"    index HNSW built and loaded: {time.monotonic() - begin:.1f} s", flush=True)


def ask(client: MilvusClient, vectors: np.ndarray) -> list[list[dict]]:
    return client.search(
        NAME, vectors.tolist(), anns_field="embedding", limit=K, output_fields=["name", "text"], search_params={"params": {"ef": 128}}, consistency_level="Strong"
    )


def show(asked: list[Question], answers: list[list[dict]]) -> None:
    width = max(len(question.words) for question in asked)
    print(f"\n  {'question':<{width}}  {'score':>5}  answer\n  {'-' * width}  -----  {'-' * 60}")
    for question, hits in zip(asked, answers):
        for line, hit in enumerate(hits[:SHOWN]):
            print(f"  {question.words if line == 0 else '':<{width}}  {hit['distance']:5.2f}  {hit['entity']['text'][:90]}")
    print(flush=True)


def faults(asked: list[Question], answers: list[list[dict]], exact: list[set[int]]) -> list[str]:
    """What is wrong with the answers; empty when they hold."""
    wrong = []
    for question, hits in zip(asked, answers):
        names = [hit["entity"]["name"] for hit in hits]
        missing = [name for name in question.answers if name not in names]
        if missing:
            wrong.append(f"{question.words!r}: {missing} not among the first ten, which are {names}")
    found = sum(len(best & {hit["id"] for hit in hits}) for best, hits in zip(exact, answers))
    recall = found / sum(len(best) for best in exact)
    print(f"    recall@{K} against brute force over {len(exact)} questions: {recall:.3f}", flush=True)
    if recall < LEAST_RECALL:
        wrong.append(f"recall@{K} is {recall:.3f}, below {LEAST_RECALL}")
    return wrong


def main() -> int:
    uri, check = sys.argv[1], sys.argv[2:] == ["check"]
    logging.disable(logging.CRITICAL)
    packages = load()
    asked = questions({name for name, _ in packages})
    if not asked:
        raise SystemExit("the package lists of this machine hold none of the answers: run `apt-get update` first")
    print(f"    texts: {len(packages)} package descriptions of this machine", flush=True)
    embedder, rows = embed([text for _, text in packages])
    client = MilvusClient(uri, timeout=120)
    fill(client, packages, rows)
    vectors = embedder.embed([question.words for question in asked])
    answers = ask(client, vectors)
    show(asked, answers)
    if not check:
        return 0
    # Recall over the questions and a hundred of the texts themselves.
    probes = np.concatenate([vectors, rows[:: max(1, len(rows) // 100)]])
    exact = [set(np.argsort(-scores, kind="stable")[:K].tolist()) for scores in probes @ rows.T]
    wrong = faults(asked, [*answers, *ask(client, probes[len(asked) :])], exact)
    if len(asked) < 5:
        wrong.append(f"only {len(asked)} questions have their answers in this machine's package lists")
    for line in wrong:
        print(f"  FAIL  {line}", flush=True)
    print(f"demo: {len(asked)} questions, {'all answered' if not wrong else f'{len(wrong)} faults'}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
