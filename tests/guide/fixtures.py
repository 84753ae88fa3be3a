"""The collections that the cases of parts 2 and 3 read: made once on each server, however many cases, or which of them, are run."""

from __future__ import annotations

import itertools
import logging
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from pymilvus import Collection, CollectionSchema, DataType, FieldSchema, MilvusClient, MilvusException, connections, utility
from pymilvus.exceptions import ParamError

from harness import Server, equal, fails

# The client logs every error with its trace, and most errors here are expected ones.
logging.getLogger("pymilvus").setLevel(logging.CRITICAL)

FLAT = {"metric_type": "L2", "params": {}}
CATEGORIES = ["电子", "图书", "服装", "食品", "特价", "电子产品"]
MADE: weakref.WeakKeyDictionary[Server, set[str]] = weakref.WeakKeyDictionary()
NUMBERS = itertools.count()


def unique(word: str) -> str:
    """A name that no other case uses."""
    return f"{word}_{next(NUMBERS)}"


def once(server: Server, name: str, make: Callable[[str], Any]) -> Collection:
    """The collection `name`; `make(name)` makes it if no case did so on this server."""
    server.connect()
    made = MADE.setdefault(server, set())
    if name not in made:
        make(name)
        made.add(name)
    return Collection(name)


def key(**more: Any) -> FieldSchema:
    return FieldSchema("id", DataType.INT64, is_primary=True, **more)


def vector(dim: int, name: str = "embedding", kind: DataType = DataType.FLOAT_VECTOR) -> FieldSchema:
    return FieldSchema(name, kind, dim=dim)


def text(name: str = "title", length: int = 200, **more: Any) -> FieldSchema:
    return FieldSchema(name, DataType.VARCHAR, max_length=length, **more)


def collection(name: str, fields: Sequence[FieldSchema], **more: Any) -> Collection:
    """A collection of level Strong that has neither rows nor indexes."""
    dynamic = more.pop("dynamic", False)
    schema = CollectionSchema(list(fields), enable_dynamic_field=dynamic)
    return Collection(name, schema, consistency_level="Strong", **more)


def index(kind: str, metric: str, **params: Any) -> dict[str, Any]:
    return {"index_type": kind, "metric_type": metric, "params": params}


def filled(
    name: str, fields: Sequence[FieldSchema], data: Any, built: dict[str, Any] | None = None, field: str = "embedding", **more: Any
) -> Collection:
    """A collection with rows that are sealed, indexed and loaded."""
    made = collection(name, fields, **more)
    made.insert(data)
    made.flush()
    made.create_index(field, built or index("FLAT", "L2"))
    made.load()
    return made


def ids(hits: Iterable[Any]) -> list[Any]:
    return [hit.id for hit in hits]


def distances(hits: Iterable[Any]) -> list[float]:
    return [hit.distance for hit in hits]


def keys(target: Collection, expr: str, **more: Any) -> list[Any]:
    """The keys of the rows for which `expr` is true, in order."""
    field = target.primary_field.name
    return sorted(row[field] for row in target.query(expr, output_fields=[field], limit=16384, **more))


def count(target: Collection, expr: str = "", **more: Any) -> int:
    return target.query(expr, output_fields=["count(*)"], **more)[0]["count(*)"]


def memory_of(name: str) -> int:
    """What the loaded segments of a collection take, by what the server says of each."""
    return sum(segment.mem_size for segment in utility.get_query_segment_info(name))


def near(found: Sequence[float], expected: Sequence[float], what: str = "the scores", within: float = 2e-5) -> None:
    if len(found) != len(expected) or any(abs(one - other) > within for one, other in zip(found, expected)):
        raise AssertionError(f"{what}: {list(found)}, expected {list(expected)}")


def ranked(hits: Iterable[Any], expected: Sequence[tuple[Any, float]]) -> None:
    """The hits have these keys, in this order, with these scores."""
    hits = list(hits)
    equal(ids(hits), [one for one, _ in expected], "the keys")
    near(distances(hits), [score for _, score in expected])


def again() -> MilvusClient:
    """The client that is not of the ORM, where the ORM is connected to."""
    return MilvusClient(f"http://{connections.get_connection_addr('default')['address']}")


def search(target: Collection, query: Any, limit: int, param: dict[str, Any], field: str = "embedding", **more: Any) -> Any:
    """The hits of one query by the ORM; those of `MilvusClient` are the same, and so are its errors."""

    def other() -> list[tuple[Any, float]]:
        given = {key: value for key, value in more.items() if key != "expr"}
        hits = again().search(target.name, [query], more.get("expr") or "", limit, search_params=param, anns_field=field, **given)[0]
        return [(hit[target.primary_field.name], hit["distance"]) for hit in hits]

    try:
        hits = target.search([query], field, param, limit, **more)[0]
    except ParamError:
        raise
    except MilvusException as error:
        with fails(error.message, error.code):
            other()
        raise
    equal(other(), list(zip(ids(hits), distances(hits))), "what MilvusClient finds")
    return hits


def random_vectors(rows: int, dim: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, dim)).astype(np.float32)


def clustered_vectors(rows: int, dim: int, clusters: int = 50, seed: int = 2) -> np.ndarray:
    """Vectors around some centres, as those of real documents are."""
    generator = np.random.default_rng(seed)
    centres = generator.standard_normal((clusters, dim)) * 3
    return (centres[np.arange(rows) % clusters] + generator.standard_normal((rows, dim))).astype(np.float32)


def nearest(vectors: np.ndarray, query: Sequence[float] | np.ndarray, limit: int) -> list[int]:
    """The rows that lie nearest to the query, by all distances."""
    there = ((vectors.astype(np.float64) - np.asarray(query, np.float64)) ** 2).sum(axis=1)
    return [int(row) for row in np.argsort(there, kind="stable")[:limit]]


def recall(found: Iterable[Iterable[int]], expected: Iterable[Iterable[int]]) -> float:
    """The mean share of the expected keys that was found."""
    shares = [len(set(some) & set(all_)) / len(set(all_)) for some, all_ in zip(found, expected)]
    return sum(shares) / len(shares)


# ---------------------------------------------------------------- the guide's collections


def line(server: Server) -> Collection:
    """LINE: ten points [i, 0], by L2."""
    rows = [[row, 0] for row in range(10)]
    return once(server, "line", lambda name: filled(name, [key(), vector(2)], [list(range(10)), rows]))


def ipl(server: Server) -> Collection:
    """IPL: the same rows, by IP."""
    rows = [[row, 0] for row in range(10)]
    return once(server, "ipl", lambda name: filled(name, [key(), vector(2)], [list(range(10)), rows], index("FLAT", "IP")))


def cos(server: Server) -> Collection:
    """COS: five vectors at 0, 60, 90, 120 and 180 degrees whose norms are 1 to 5."""
    rows = [[(at + 1) * np.cos(np.radians(angle)), (at + 1) * np.sin(np.radians(angle))] for at, angle in enumerate((0, 60, 90, 120, 180))]
    return once(server, "cos", lambda name: filled(name, [key(), vector(2)], [list(range(5)), rows], index("FLAT", "COSINE")))


def product(row: int) -> dict[str, Any]:
    title = f"{'手机' if row % 4 == 0 else 'A'}{row}{'Pro' if row % 5 == 0 else ''}{' iPhone x' if row % 7 == 0 else ''}"
    return {
        "id": row,
        "title": title,
        "category": CATEGORIES[row % 6],
        "price": 10.0 * row,
        "rating": (row % 50) / 10,
        "stock": row % 3,
        "discount": (row % 10) / 10,
        "timestamp": 1_700_000_000 + row,
    }


def make_products(name: str) -> Collection:
    fields = [
        key(),
        text(),
        text("category"),
        FieldSchema("price", DataType.FLOAT),
        FieldSchema("rating", DataType.DOUBLE),
        FieldSchema("stock", DataType.INT32),
        FieldSchema("discount", DataType.FLOAT),
        FieldSchema("timestamp", DataType.INT64),
        vector(8),
    ]
    vectors = random_vectors(100, 8)
    return filled(name, fields, [{**product(row), "embedding": vectors[row].tolist()} for row in range(100)])


def products(server: Server) -> Collection:
    """PROD: a hundred products."""
    return once(server, "products", make_products)


DOCUMENTS = clustered_vectors(3000, 128)


def document_fields(length: int = 200, dim: int = 128) -> list[FieldSchema]:
    return [key(), text(length=length), vector(dim)]


def document_rows(vectors: np.ndarray, first: int = 0, word: str = "文档") -> list[Any]:
    """The columns of documents `first` and those after it."""
    numbers = list(range(first, first + len(vectors)))
    return [numbers, [f"{word}{number}" for number in numbers], vectors.tolist()]


def make_documents(name: str) -> Collection:
    return filled(name, document_fields(), document_rows(DOCUMENTS))


def documents(server: Server) -> Collection:
    """DOC: 3000 documents in clusters, FLAT."""
    return once(server, "documents", make_documents)


def make_parts(name: str) -> Collection:
    made = collection(name, document_fields())
    for year in (2024, 2023, 2022):
        made.create_partition(f"year_{year}")
    made.insert(document_rows(DOCUMENTS[:1000], 1000), partition_name="year_2024")
    made.insert(document_rows(DOCUMENTS[1000:2000], 2000), partition_name="year_2023")
    made.flush()
    made.create_index("embedding", index("IVF_FLAT", "L2", nlist=16))
    return made


def parts(server: Server) -> Collection:
    """PART: documents in partitions by year, loaded; only for cases that change nothing."""

    def make(name: str) -> None:
        make_parts(name).load()

    return once(server, "parts", make)


DYNAMIC = [
    {"title": "文档1", "category": "技术", "tags": ["AI", "ML"]},
    {"title": "文档2", "author": "张三", "rating": 4.5},
    {"title": "文档3", "category": "科学", "year": 2024},
    {"title": "文档4", "price": 99.99, "stock": 100},
    {"title": "文档5", "description": "这是一个描述"},
    {},
]


def make_dynamic(name: str) -> Collection:
    vectors = random_vectors(6, 128, 3)
    rows = [{"id": at + 1, "embedding": vectors[at].tolist(), **row} for at, row in enumerate(DYNAMIC)]
    return filled(name, [key(), vector(128)], rows, dynamic=True)


def dynamic(server: Server) -> Collection:
    """DYN: six rows that have no field in common but those of the schema."""
    return once(server, "dynamic_collection", make_dynamic)


MM_TEXTS = [[1, 0], [0.6, 0.8], [0, 1], [-1, 0]]
MM_IMAGES = [[0, 0], [1, 0], [3, 0], [7, 0]]


def make_mm(name: str) -> Collection:
    made = collection(name, [key(), vector(2, "text"), vector(2, "image")])
    made.insert([[1, 2, 3, 4], MM_TEXTS, MM_IMAGES])
    made.flush()
    made.create_index("text", index("FLAT", "COSINE"))
    made.create_index("image", index("FLAT", "L2"))
    made.load()
    return made


def mm(server: Server) -> Collection:
    """MM: four rows with a text and an image each."""
    return once(server, "mm", make_mm)
