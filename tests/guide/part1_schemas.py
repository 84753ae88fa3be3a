"""Part 1: the guide's schemas by their labels (0.6), its kinds of data, and truth by brute force."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pymilvus
from harness import Server, until
from pymilvus import Collection, CollectionSchema, DataType, FieldSchema, connections, utility

FLAT = {"index_type": "FLAT", "metric_type": "L2", "params": {}}
IVF = {"index_type": "IVF_FLAT", "metric_type": "L2", "params": {"nlist": 128}}
HNSW = {"index_type": "HNSW", "metric_type": "L2", "params": {"M": 16, "efConstruction": 200}}
L2 = {"metric_type": "L2"}
STRONG = {"consistency_level": "Strong"}
CLIENT = tuple(int(part) for part in pymilvus.__version__.split(".")[:2])
ROWS = 5000  # where the guide has 10,000 or 100,000


def key(auto: bool = False, dtype: DataType = DataType.INT64, **more: Any) -> FieldSchema:
    return FieldSchema(name="id", dtype=dtype, is_primary=True, auto_id=auto, **more)


def text(name: str, longest: int = 200) -> FieldSchema:
    return FieldSchema(name=name, dtype=DataType.VARCHAR, max_length=longest)


def scalar(name: str, dtype: DataType, **more: Any) -> FieldSchema:
    return FieldSchema(name=name, dtype=dtype, **more)


def vector(dim: int = 128, name: str = "embedding", dtype: DataType = DataType.FLOAT_VECTOR) -> FieldSchema:
    return FieldSchema(name=name, dtype=dtype, dim=dim)


def doc3(auto: bool = False) -> list[FieldSchema]:
    return [key(auto), text("title"), vector()]


def doc5() -> list[FieldSchema]:
    return [key(), text("title"), text("category", 50), scalar("timestamp", DataType.INT64), vector()]


def plain(dim: int = 128) -> list[FieldSchema]:
    """S1, IDX2 and their like: a key and a vector."""
    return [key(), vector(dim)]


def titles(numbers: range) -> list[str]:
    return [f"文档{number}" for number in numbers]


def uniform(rows: int, dim: int = 128) -> np.ndarray:
    """U of the guide: as it fills its collections, with poor recall for every index."""
    return np.random.default_rng(7).random((rows, dim), dtype=np.float32)


def embedded(rows: int, dim: int = 128) -> np.ndarray:
    """K of the guide: of low intrinsic dimension, like real embeddings."""
    base, spread = np.random.default_rng(7).standard_normal((rows, 16)), np.random.default_rng(8).standard_normal((16, dim))
    return (base @ spread).astype(np.float32)


def scores(rows: np.ndarray, queries: np.ndarray, metric: str) -> np.ndarray:
    """What Milvus gives as the distance of each query to each row; L2 is squared."""
    rows, queries = rows.astype(np.float64), queries.astype(np.float64)
    if metric == "COSINE":
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    products = queries @ rows.T
    if metric == "L2":
        return (queries**2).sum(1)[:, None] - 2 * products + (rows**2).sum(1)[None, :]
    return products


def nearest(rows: np.ndarray, queries: np.ndarray, metric: str, limit: int) -> np.ndarray:
    """The numbers of the best rows of each query, the best first."""
    found = scores(rows, queries, metric)
    return np.argsort(found if metric == "L2" else -found, axis=1, kind="stable")[:, :limit]


def recall(found: Any, truth: np.ndarray) -> float:
    """How many of the true neighbours were found; the hits' keys are row numbers."""
    return float(np.mean([len(set(hits.ids) & set(wanted.tolist())) / len(wanted) for hits, wanted in zip(found, truth, strict=True)]))


def connect(server: Server) -> None:
    if not connections.has_connection("default"):
        server.connect()


@contextlib.contextmanager
def created(server: Server, name: str, fields: list[FieldSchema], schema: dict[str, Any] | None = None, **options: Any) -> Iterator[Collection]:
    """A collection for the block; dropping it afterwards is at the same time the next right request after what was refused."""
    connect(server)
    try:
        yield Collection(name, CollectionSchema(fields, **(schema or {})), **options)
    finally:
        drop(name)


def drop(name: str) -> None:
    if utility.has_collection(name):
        for alias in utility.list_aliases(name):
            utility.drop_alias(alias)
        utility.drop_collection(name)


def ready(collection: Collection, index: dict[str, Any] | None = None, flush: bool = False) -> Collection:
    """With an index on its vector and loaded, flushed first where what is asked of it is asked of sealed rows."""
    if flush:
        collection.flush()
    field = next(each.name for each in collection.schema.fields if each.dtype in (DataType.FLOAT_VECTOR, DataType.BINARY_VECTOR))
    collection.create_index(field, index or FLAT)
    collection.load()
    return collection


@contextlib.contextmanager
def documents(server: Server, name: str, rows: int = 1000, fields: list[FieldSchema] | None = None) -> Iterator[Collection]:
    """DOC3 with the ids from 0, the titles 文档0 … and uniform vectors, indexed and loaded."""
    with created(server, name, fields or doc3()) as collection:
        collection.insert([list(range(rows)), titles(range(rows)), uniform(rows)])
        yield ready(collection)


@contextlib.contextmanager
def vectors(server: Server, name: str, data: np.ndarray, index: dict[str, Any] | None = None) -> Iterator[Collection]:
    """A key and these vectors, sealed; with an index, also indexed and loaded."""
    with created(server, name, plain(data.shape[1])) as collection:
        collection.insert([np.arange(len(data)), data])
        collection.flush()
        yield ready(collection, index) if index else collection


def reindex(collection: Collection, index: dict[str, Any]) -> Collection:
    """The next index of a collection that may have had another one."""
    collection.release()
    collection.drop_index()
    return ready(collection, index)


def count(collection: Collection, expr: str = "") -> int:
    return collection.query(expr, output_fields=["count(*)"], **STRONG)[0]["count(*)"]


def ids(collection: Collection, expr: str, **options: Any) -> list[Any]:
    """The keys that match, as they come."""
    return [row["id"] for row in collection.query(expr, output_fields=["id"], **{**STRONG, **options})]


def rows(collection: Collection, expr: str, fields: list[str], **options: Any) -> list[dict[str, Any]]:
    """What matches, whole: the result of pymilvus 3.0 reads some fields only when it is walked."""
    return [dict(row) for row in collection.query(expr, output_fields=fields, **{**STRONG, **options})]


def counted(collection: Collection, wanted: int) -> None:
    until(f"{collection.name} counts {wanted} rows", 60, lambda: collection.num_entities == wanted)
