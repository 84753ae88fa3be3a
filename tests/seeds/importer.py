"""The importer of document 1: files of CSV, JSON or Parquet, in batches that are embedded and inserted.

    importer.py URI COLLECTION CSV CHECKPOINT BATCH HOW VECTORS [DEATH]     an import that can be resumed, as a process that can be killed

HOW is what a batch that may have been written before is written by: `upsert`; `named`, an insert that the server knows by its name;
`insert`, as the document has it. DEATH is `BATCH:PLACE`, where the process kills itself: before the `insert`, before the `checkpoint`,
or `after` both.
"""

from __future__ import annotations

import json
import os
import pathlib
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

if __name__ == "__main__":
    sys.path.append(str(pathlib.Path(__file__).parent.parent / "demo"))

import pandas as pd
from pymilvus import Collection, CollectionSchema, DataType, FieldSchema, MilvusException, connections
from words import DIM, Model

FIELDS = ["id", "text", "category"]
Frame = pd.DataFrame


def make(name: str) -> Collection:
    """The document's collection, with its index."""
    fields = [
        FieldSchema("id", DataType.INT64, is_primary=True, auto_id=False),
        FieldSchema("text", DataType.VARCHAR, max_length=2000),
        FieldSchema("category", DataType.VARCHAR, max_length=100),
        FieldSchema("embedding", DataType.FLOAT_VECTOR, dim=DIM),
    ]
    collection = Collection(name, CollectionSchema(fields, "批量导入示例"), consistency_level="Strong")
    collection.create_index("embedding", {"index_type": "IVF_FLAT", "metric_type": "L2", "params": {"nlist": 128}})
    return collection


def validate(frame: Frame) -> None:
    """Refuses a file before anything of it is written."""
    for field in FIELDS:
        if field not in frame.columns:
            raise ValueError(f"缺少必需字段: {field}")
    if not pd.api.types.is_integer_dtype(frame["id"]):
        raise ValueError("id 字段必须是整数类型")
    if frame["id"].duplicated().any():
        raise ValueError("存在重复的 ID")


def read(path: pathlib.Path) -> Frame:
    """All rows of a file, checked. A text is a text, also one that says `nan`."""
    readers: dict[str, Callable[[pathlib.Path], Frame]] = {
        ".csv": lambda file: pd.read_csv(file, keep_default_na=False),
        ".json": lambda file: pd.DataFrame(json.loads(file.read_text())),
        ".parquet": pd.read_parquet,
    }
    frame = readers[path.suffix](path)
    validate(frame)
    return frame


class Importer:
    def __init__(self, collection: Collection, model: Model, how: str = "insert") -> None:
        self.collection, self.model, self.how = collection, model, how

    def batch(self, frame: Frame, name: str = "") -> int:
        """Writes one batch."""
        texts = frame["text"].tolist()
        columns = [frame["id"].tolist(), texts, frame["category"].tolist(), self.model.encode(texts)]
        if self.how == "upsert":
            return self.collection.upsert(columns).upsert_count
        named = {"client_request_id": name} if self.how == "named" else {}
        return self.collection.insert(columns, **named).insert_count

    def patiently(self, frame: Frame, name: str = "", patience: float = 60) -> int:
        """Writes one batch, again and again while the server is away or not yet ready."""
        end = time.monotonic() + patience
        while True:
            try:
                return self.batch(frame, name)
            except MilvusException:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)

    def load(self, path: pathlib.Path, size: int, workers: int = 1, flush_each: bool = False) -> int:
        """Imports a file, as many batches at once as there are workers: the number of rows."""
        frame = read(path)
        batches = [frame.iloc[first : first + size] for first in range(0, len(frame), size)]

        def one(batch: Frame) -> int:
            count = self.batch(batch)
            if flush_each:
                self.collection.flush()
            return count

        with ThreadPoolExecutor(workers) as pool:
            count = sum(pool.map(one, batches))
        self.collection.flush()
        return count

    def resume(
        self, path: pathlib.Path, checkpoint: pathlib.Path, size: int, reached: Callable[[int, str], Any] = lambda batch, place: None
    ) -> list[int]:
        """Imports what no checkpoint says to be there: the batches that were written."""
        frame, written = read(path), []
        first = json.loads(checkpoint.read_text())["last_batch"] + 1 if checkpoint.exists() else 0
        for number in range(first, -(-len(frame) // size)):
            reached(number, "insert")
            self.patiently(frame.iloc[number * size : (number + 1) * size], f"{self.collection.name}-{number}")
            reached(number, "checkpoint")
            unfinished = checkpoint.with_suffix(".part")
            unfinished.write_text(json.dumps({"last_batch": number}))
            os.replace(unfinished, checkpoint)
            reached(number, "after")
            written.append(number)
        self.collection.flush()
        checkpoint.unlink(missing_ok=True)
        return written


def main() -> None:
    uri, name, path, checkpoint, size, how, vectors, *death = sys.argv[1:]
    connections.connect(uri=uri)

    def reached(batch: int, place: str) -> None:
        if f"{batch}:{place}" in death:
            os.kill(os.getpid(), signal.SIGKILL)

    importer = Importer(Collection(name), Model(pathlib.Path(vectors)), how)
    print(json.dumps(importer.resume(pathlib.Path(path), pathlib.Path(checkpoint), int(size), reached)))


if __name__ == "__main__":
    main()
