"""What rows of every type come back as: not sealed, sealed, merged, loaded again, replaced and deleted; and what filters say of them.

    field_types.py URI [REST_OF_NAME …]     only the claims whose name contains one of the words
"""

from __future__ import annotations

import logging
import sys
import time
import traceback
from typing import Any, Callable

import numpy as np
import pymilvus
from pymilvus import DataType, MilvusClient, MilvusException

from suite import equal, refused

ROWS = 600
DIM = 8
TAG = f"{int(time.time() * 1000) % 10**9}"
CLAIMS: list[Callable[[MilvusClient, str], None]] = []
Row = dict[str, Any]
VECTORS = np.random.default_rng(11).standard_normal((2 * ROWS, DIM)).astype(np.float32)


def claim(check: Callable[[MilvusClient, str], None]) -> Callable[[MilvusClient, str], None]:
    CLAIMS.append(check)
    return check


class Table:
    """A collection with a key, a vector and some fields, and the rows that it must hold."""

    def __init__(self, client: MilvusClient, name: str, fields: list[tuple[str, Any, Row]], make: Callable[[int], Row], **schema: Any) -> None:
        self.client, self.name, self.make = client, f"{name}_{TAG}", make
        described = client.create_schema(auto_id=False, enable_dynamic_field=False, **schema)
        described.add_field("id", DataType.INT64, is_primary=True)
        for field, kind, more in fields:
            described.add_field(field, kind, **more)
        described.add_field("vec", DataType.FLOAT_VECTOR, dim=DIM)
        self.fields = [field for field, _, _ in fields]
        client.create_collection(self.name, schema=described)
        index = client.prepare_index_params()
        index.add_index("vec", index_type="FLAT", metric_type="L2")
        client.create_index(self.name, index)
        client.load_collection(self.name)
        self.rows: dict[int, Row] = {}

    def sent(self, key: int, made: Row) -> Row:
        return {"id": key, "vec": VECTORS[key % len(VECTORS)].tolist(), **made}

    def write(self, keys: range, call: Callable[..., Any], make: Callable[[int], Row] | None = None, read: Callable[[Row], Row] = lambda row: row) -> None:
        made = {key: (make or self.make)(key) for key in keys}
        call(self.name, [self.sent(key, row) for key, row in made.items()])
        self.rows |= {key: read(row) for key, row in made.items()}

    def found(self, expression: str) -> dict[int, Row]:
        answer = self.client.query(self.name, expression, output_fields=["*"], consistency_level="Strong", limit=16384)
        return {row["id"]: {field: plain(row[field]) for field in self.fields} for row in answer}

    def check(self, when: str) -> None:
        found = self.found("id >= 0")
        equal(sorted(found), sorted(self.rows), f"keys {when}")
        for key, row in self.rows.items():
            equal(found[key], {field: plain(row.get(field)) for field in self.fields}, f"row {key} {when}")

    def through_its_life(self, checks: Callable[[str], None] = lambda when: None, read: Callable[[Row], Row] = lambda row: row) -> None:
        """Rows not sealed, sealed, both, loaded anew, replaced, deleted, merged: the same rows and the same answers each time."""
        half = ROWS // 2

        def looked(when: str) -> None:
            self.check(when)
            checks(when)

        self.write(range(half), self.client.insert, read=read)
        looked("not sealed")
        self.client.flush(self.name)
        looked("sealed")
        self.write(range(half, ROWS), self.client.insert, read=read)
        looked("half of them sealed")
        self.client.release_collection(self.name)
        self.client.load_collection(self.name)
        looked("loaded again")
        self.write(range(0, ROWS, 5), self.client.upsert, lambda key: self.make(key + 1), read)
        looked("after an upsert")
        self.client.delete(self.name, filter=f"id >= {half} and id < {half + 50}")
        self.rows = {key: row for key, row in self.rows.items() if not half <= key < half + 50}
        looked("after a delete")
        self.client.flush(self.name)
        job = self.client.compact(self.name)
        deadline = time.monotonic() + 60
        while self.client.get_compaction_state(job) != "Completed":
            if time.monotonic() > deadline:
                raise AssertionError("the compaction does not end")
            time.sleep(0.2)
        looked("merged")
        hits = self.client.search(self.name, [VECTORS[7].tolist()], anns_field="vec", limit=5, output_fields=["*"], consistency_level="Strong")
        for hit in hits[0]:
            entity = {field: plain(hit["entity"][field]) for field in self.fields}
            equal(entity, {field: plain(self.rows[hit["id"]].get(field)) for field in self.fields}, f"hit {hit['id']}")

    def where(self, expression: str, keep: Callable[[Row], bool], when: str) -> None:
        wanted = sorted(key for key, row in self.rows.items() if keep({"id": key, **row}))
        equal(sorted(self.found(expression)), wanted, f"{expression} {when}")


def plain(value: Any) -> Any:
    """Values as they can be compared: lists of what NumPy and protobuf have, single floats as singles."""
    if isinstance(value, np.ndarray) or type(value).__name__.startswith("Repeated"):
        return [plain(element) for element in value]
    if isinstance(value, list):
        return [plain(element) for element in value]
    if isinstance(value, np.generic):
        return value.item()
    return value


# ---------------------------------------------------------------- values that may be missing


def scalar_fields(**more: Any) -> list[tuple[str, Any, Row]]:
    return [
        ("bo", DataType.BOOL, more),
        ("i8", DataType.INT8, more),
        ("i16", DataType.INT16, more),
        ("i32", DataType.INT32, more),
        ("i64", DataType.INT64, more),
        ("fl", DataType.FLOAT, more),
        ("do", DataType.DOUBLE, more),
        ("te", DataType.VARCHAR, {"max_length": 40, **more}),
    ]


def scalars_of(key: int) -> Row:
    return {
        "bo": key % 2 == 0,
        "i8": key % 128,
        "i16": key,
        "i32": -key,
        "i64": key << 40,
        "fl": key / 4,
        "do": key / 3,
        "te": f"文{key}",
    }


@claim
def rows_may_lack_values_of_nullable_fields(client: MilvusClient, tag: str) -> None:
    def make(key: int) -> Row:
        row: Row = {**scalars_of(key), "js": {"k": key, "n": None}}
        # Each field is missing in other rows: as None in some, without its name in others.
        for at, field in enumerate(list(row)):
            if key % (at + 3) == 1:
                row[field] = None
        if key % 20 == 19:
            return {}
        return row

    fields = [*scalar_fields(nullable=True), ("js", DataType.JSON, {"nullable": True})]
    table = Table(client, "nullable", fields, make)

    def checks(when: str) -> None:
        for field in ["bo", "i8", "i64", "do", "te", "js"]:
            table.where(f"{field} is null", lambda row: row.get(field) is None, when)
            table.where(f"{field} is not null", lambda row: row.get(field) is not None, when)
        table.where("i8 > 50", lambda row: row.get("i8") is not None and row["i8"] > 50, when)
        table.where("not (i8 > 50)", lambda row: row.get("i8") is not None and row["i8"] <= 50, when)
        table.where("i16 != 7", lambda row: row.get("i16") is not None and row["i16"] != 7, when)
        table.where("i16 not in [7, 8]", lambda row: row.get("i16") is not None and row["i16"] not in (7, 8), when)
        table.where("te like '文1%' or i16 is null", lambda row: (row.get("te") or "").startswith("文1") or row.get("i16") is None, when)
        table.where("not (bo == true and i32 is null)", lambda row: row.get("i32") is not None or row.get("bo") is False, when)
        table.where('js["k"] != 3', lambda row: row.get("js") is not None and row["js"]["k"] != 3, when)

    table.through_its_life(checks)
    # A row that names no value of a field any more has none, unless only some fields are to be changed.
    client.upsert(table.name, [table.sent(3, {"i64": 5})])
    table.rows[3] = {"i64": 5}
    client.upsert(table.name, [{"id": 3, "te": "partly"}], partial_update=True)
    table.rows[3]["te"] = "partly"
    client.upsert(table.name, [{"id": 3, "i64": None}], partial_update=True)
    del table.rows[3]["i64"]
    table.check("after upserts of one row")


@claim
def missing_values_become_the_default(client: MilvusClient, tag: str) -> None:
    # pymilvus tells the type of a default by that of the value.
    typed = {
        "bo": True, "i8": np.int8(7), "i16": np.int16(-300), "i32": np.int32(70_000),
        "i64": 1 << 50, "fl": np.float32(0.5), "do": 0.1, "te": "无",
    }
    defaults = {field: plain(value) for field, value in typed.items()}

    def make(key: int) -> Row:
        row = scalars_of(key)
        for at, field in enumerate(list(row)):
            if key % (at + 2) == 1:
                row[field] = None
        return {} if key % 10 == 9 else row

    def read(row: Row) -> Row:
        return {field: default if row.get(field) is None else row[field] for field, default in defaults.items()}

    for nullable in (False, True):
        fields = [(field, kind, {**more, "nullable": nullable, "default_value": typed[field]}) for field, kind, more in scalar_fields()]
        table = Table(client, f"default_{nullable}", fields, make)
        described = {field["name"]: field for field in client.describe_collection(table.name)["fields"]}
        equal(bool(described["i8"].get("nullable")), nullable, "nullable as described")

        def checks(when: str) -> None:
            table.where("i8 == 7 and te == '无'", lambda row: row["i8"] == 7 and row["te"] == "无", when)
            table.where("i16 is null", lambda row: False, when)
            table.where("fl < 1", lambda row: row["fl"] < 1, when)

        table.through_its_life(checks, read)


@claim
def bad_nulls_and_defaults_are_refused(client: MilvusClient, tag: str) -> None:
    def schema_with(*fields: tuple[str, Any, Row]) -> Any:
        schema = client.create_schema()
        schema.add_field("id", DataType.INT64, is_primary=True)
        for name, kind, more in fields:
            schema.add_field(name, kind, **more)
        schema.add_field("vec", DataType.FLOAT_VECTOR, dim=DIM)
        return schema

    def creating(*fields: tuple[str, Any, Row]) -> Callable[[], Any]:
        return lambda: client.create_collection(f"refused_{TAG}", schema=schema_with(*fields))

    refused(creating(("key", DataType.INT64, {"nullable": True, "is_partition_key": True})), 1100, "partition key field not support nullable: invalid parameter")
    refused(creating(("te", DataType.VARCHAR, {"max_length": 2, "default_value": "abc"})), 1100, "the length (3) of string exceeds max length (2)")


# ---------------------------------------------------------------- arrays


ELEMENTS = {
    "bo": (DataType.BOOL, lambda at: at % 3 == 0),
    "i8": (DataType.INT8, lambda at: at % 256 - 128),
    "i16": (DataType.INT16, lambda at: at - 300),
    "i32": (DataType.INT32, lambda at: at << 20),
    "i64": (DataType.INT64, lambda at: at << 40),
    "fl": (DataType.FLOAT, lambda at: at / 8),
    "do": (DataType.DOUBLE, lambda at: at / 3),
    "te": (DataType.VARCHAR, lambda at: f"词{at % 10}"),
}


def arrays_of(key: int) -> Row:
    """Arrays of no to five elements, of other lengths in each field."""
    return {f"a_{name}": [element(key + at) for at in range((key + order) % 6)] for order, (name, (_, element)) in enumerate(ELEMENTS.items())}


def array_fields(**more: Any) -> list[tuple[str, Any, Row]]:
    text = {"max_length": 20}
    return [
        (f"a_{name}", DataType.ARRAY, {"element_type": element, "max_capacity": 5, **(text if name == "te" else {}), **more})
        for name, (element, _) in ELEMENTS.items()
    ]


@claim
def arrays_of_every_element_type_come_back(client: MilvusClient, tag: str) -> None:
    table = Table(client, "arrays", array_fields(), arrays_of)
    described = {field["name"]: field for field in client.describe_collection(table.name)["fields"]}
    equal((described["a_te"]["type"], described["a_te"]["element_type"]), (DataType.ARRAY, DataType.VARCHAR), "types as described")
    equal((described["a_te"]["params"]["max_capacity"], described["a_te"]["params"]["max_length"]), (5, 20), "bounds as described")

    def checks(when: str) -> None:
        table.where("a_i16[0] == -280", lambda row: row["a_i16"][:1] == [-280], when)
        table.where("a_i16[3] != 5", lambda row: len(row["a_i16"]) > 3 and row["a_i16"][3] != 5, when)
        table.where("a_i16[9] != 5", lambda row: False, when)
        table.where("a_i32[1] + 1 > 300000000", lambda row: len(row["a_i32"]) > 1 and row["a_i32"][1] + 1 > 300000000, when)
        table.where("a_te[1] in ['词3', '词4']", lambda row: row["a_te"][1:2] in (["词3"], ["词4"]), when)
        table.where("a_te[0] like '词%'", lambda row: len(row["a_te"]) > 0, when)
        table.where("array_contains(a_te, '词3')", lambda row: "词3" in row["a_te"], when)
        table.where("array_contains_all(a_te, ['词3', '词4'])", lambda row: {"词3", "词4"} <= set(row["a_te"]), when)
        table.where("array_contains_any(a_i16, [1, 2, 3])", lambda row: not {1, 2, 3}.isdisjoint(row["a_i16"]), when)
        table.where("array_contains(a_fl, 2.125)", lambda row: 2.125 in row["a_fl"], when)
        table.where("array_length(a_do) == 4", lambda row: len(row["a_do"]) == 4, when)
        table.where("a_bo == [true, false]", lambda row: row["a_bo"] == [True, False], when)
        table.where("a_i64 == []", lambda row: row["a_i64"] == [], when)

    table.through_its_life(checks)
    client.upsert(table.name, [{"id": 3, "a_te": ["new"]}], partial_update=True)
    table.rows[3]["a_te"] = ["new"]
    table.check("after a partial upsert")
    if hasattr(pymilvus, "FieldOp"):
        add_and_remove_elements(client, table)


def add_and_remove_elements(client: MilvusClient, table: Table) -> None:
    from pymilvus import FieldOp

    client.upsert(table.name, [{"id": 3, "a_te": ["b", "new"]}], field_ops={"a_te": FieldOp.array_append()})
    table.rows[3]["a_te"] = ["new", "b", "new"]
    table.check("after elements were added")
    client.upsert(table.name, [{"id": 3, "a_te": ["new", "x"]}], field_ops={"a_te": FieldOp.array_remove()})
    table.rows[3]["a_te"] = ["b"]
    table.check("after elements were removed")
    many = lambda: client.upsert(table.name, [{"id": 3, "a_te": ["c"] * 5}], field_ops={"a_te": FieldOp.array_append()})
    refused(many, 1100, "array length 6 exceeds max_capacity 5")


@claim
def arrays_may_be_missing(client: MilvusClient, tag: str) -> None:
    def make(key: int) -> Row:
        row = arrays_of(key)
        for at, field in enumerate(list(row)):
            if key % (at + 3) == 1:
                row[field] = None
        return {} if key % 10 == 9 else row

    table = Table(client, "nullable_arrays", array_fields(nullable=True), make)

    def checks(when: str) -> None:
        table.where("a_i16 is null", lambda row: row.get("a_i16") is None, when)
        table.where("a_te is not null", lambda row: row.get("a_te") is not None, when)
        table.where("array_length(a_i32) == 0", lambda row: row.get("a_i32") == [], when)
        table.where("not array_contains(a_te, '词3')", lambda row: row.get("a_te") is not None and "词3" not in row["a_te"], when)

    table.through_its_life(checks)


@claim
def bad_arrays_are_refused(client: MilvusClient, tag: str) -> None:
    table = Table(client, "bad_arrays", array_fields(), arrays_of)
    row = table.sent(1, arrays_of(1))
    refused(lambda: client.insert(table.name, [{**row, "a_i64": list(range(6))}]), 1100, "array length exceeds max capacity")
    refused(lambda: client.insert(table.name, [{**row, "a_te": ["x" * 21]}]), 1100, 'length of Array array field "a_te" exceeds max length')
    refused(lambda: client.insert(table.name, [{**row, "a_i8": [128]}]), 1100, "the 0th element (128) out of range: [-128, 127]")
    refused(lambda: table.found("array_contains(a_i64, 'x')"), 1100, "contains operation can't compare between array element type: Int64 and VarChar")
    refused(lambda: table.found("a_i64 > [1]"), 1100, "can not comparisons array fields directly")
    equal(table.found("id >= 0"), {}, "rows")


# ---------------------------------------------------------------- vectors


def bfloat16(vector: np.ndarray) -> np.ndarray:
    """Singles rounded to the nearest that their upper halves say, ties to even."""
    bits = vector.astype(np.float32).view(np.uint32)
    return (((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16) << 16).astype(np.uint32).view(np.float32)


def upper_halves(vector: np.ndarray) -> bytes:
    return (bfloat16(vector).view(np.uint32) >> 16).astype("<u2").tobytes()


NARROW: dict[str, tuple[Any, Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], Any]]] = {
    # type, the nearest vectors that it has as singles, what a client sends
    "f16": (DataType.FLOAT16_VECTOR, lambda v: v.astype(np.float16).astype(np.float32), lambda v: v.astype(np.float16)),
    "bf16": (DataType.BFLOAT16_VECTOR, bfloat16, upper_halves),
    "i8": (getattr(DataType, "INT8_VECTOR", None), lambda v: np.clip(np.round(v * 40), -128, 127), lambda v: np.clip(np.round(v * 40), -128, 127).astype(np.int8)),
}


def components(name: str, value: Any) -> list[float]:
    """A narrow vector as it comes back, as singles."""
    raw = bytes(value[0]) if isinstance(value, list) and value and isinstance(value[0], bytes) else bytes(value) if isinstance(value, bytes) else None
    if raw is None:
        return np.asarray(value).astype(np.float32).tolist()
    if name == "f16":
        return np.frombuffer(raw, "<f2").astype(np.float32).tolist()
    if name == "i8":
        return np.frombuffer(raw, np.int8).astype(np.float32).tolist()
    return (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32).tolist()


def scores(metric: str, rows: np.ndarray, query: np.ndarray) -> np.ndarray:
    rows, query = rows.astype(np.float64), query.astype(np.float64)
    if metric == "L2":
        return ((rows - query) ** 2).sum(axis=1)
    dots = rows @ query
    return dots / (np.linalg.norm(rows, axis=1) * np.linalg.norm(query)) if metric == "COSINE" else dots


def narrow_vectors(client: MilvusClient, metric: str, index_type: str, nullable: bool) -> None:
    """Three narrow vector fields beside each other: searched exactly and read back bit for bit through a segment's life."""
    name = f"narrow_{metric}_{index_type}_{nullable}_{TAG}"
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    index = client.prepare_index_params()
    for field, (kind, _, _) in NARROW.items():
        schema.add_field(field, kind, dim=DIM, nullable=nullable)
        # Of 8-bit vectors there are only graphs.
        index.add_index(field, index_type="HNSW" if field == "i8" else index_type, metric_type=metric)
    client.create_collection(name, schema=schema)
    client.create_index(name, index)
    client.load_collection(name)
    held: dict[str, dict[int, np.ndarray]] = {field: {} for field in NARROW}

    def write(keys: range, shift: int, call: Callable[..., Any]) -> None:
        rows = []
        for key in keys:
            row: Row = {"id": key}
            for order, (field, (_, nearest, sent)) in enumerate(NARROW.items()):
                vector = VECTORS[key + shift]
                held[field].pop(key, None)
                if nullable and key % 5 == order:
                    row[field] = None
                    continue
                row[field], held[field][key] = sent(vector), nearest(vector)
            rows.append(row)
        call(name, rows)

    def looked(when: str) -> None:
        found = {row["id"]: row for row in client.query(name, "id >= 0", output_fields=["*"], consistency_level="Strong", limit=16384)}
        equal(sorted(found), list(range(count)), f"keys {when}")
        for field, (_, nearest, sent) in NARROW.items():
            for key in range(count):
                value, wanted = found[key][field], held[field].get(key)
                got = None if value is None else components(field, value)
                equal(got, None if wanted is None else wanted.tolist(), f"{field} of {key} {when}")
            keys = sorted(held[field])
            matrix = np.array([held[field][key] for key in keys])
            for at in (3, 77):
                query = VECTORS[-at]
                wanted = scores(metric, matrix, nearest(query))
                best = np.argsort(wanted if metric == "L2" else -wanted, kind="stable")[:10]
                hits = client.search(name, [sent(query)], anns_field=field, limit=10, consistency_level="Strong")[0]
                equal(len(hits), 10, f"hits {when}")
                for hit, place in zip(hits, best):
                    if abs(hit["distance"] - wanted[place]) > 1e-3 * max(1.0, abs(wanted[place])):
                        raise AssertionError(f"{field} {when}: score {hit['distance']}, wanted {wanted[place]}")

    count = ROWS // 2
    write(range(count), 0, client.insert)
    looked("not sealed")
    client.flush(name)
    looked("sealed")
    write(range(count, ROWS), 0, client.insert)
    count = ROWS
    write(range(0, ROWS, 3), 1, client.upsert)
    looked("after an upsert")
    client.flush(name)
    client.release_collection(name)
    client.load_collection(name)
    looked("loaded again")


@claim
def narrow_vectors_are_searched_and_come_back_exactly(client: MilvusClient, tag: str) -> None:
    for metric in ("L2", "IP", "COSINE"):
        narrow_vectors(client, metric, "FLAT", nullable=False)
    narrow_vectors(client, "L2", "HNSW", nullable=False)


@claim
def vectors_may_be_missing(client: MilvusClient, tag: str) -> None:
    narrow_vectors(client, "L2", "FLAT", nullable=True)


# ---------------------------------------------------------------- bits and sparse vectors


BITS = 64
SPARSE_INDICES = 400


def bits_of(key: int) -> bytes:
    """The signs of a vector and of its shifts."""
    signs = np.concatenate([VECTORS[key % len(VECTORS)] > shift for shift in np.linspace(-1, 1, BITS)])[:BITS]
    return np.packbits(signs).tobytes()


def pairs_of(key: int) -> dict[int, float]:
    """Unevenly common indices, values that singles hold exactly; every thirteenth row is empty."""
    rng = np.random.default_rng(key)
    if key % 13 == 5:
        return {}
    indices = np.unique((rng.random(20) ** 3 * SPARSE_INDICES).astype(int))
    return {int(index) * 1001: float(np.float32(rng.integers(1, 400) / 64)) for index in indices}


def bit_scores(metric: str, rows: list[bytes], query: bytes) -> np.ndarray:
    matrix = np.unpackbits(np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), -1), axis=1).astype(int)
    wanted = np.unpackbits(np.frombuffer(query, np.uint8)).astype(int)
    if metric == "HAMMING":
        return (matrix != wanted).sum(axis=1)
    common, either = (matrix & wanted).sum(axis=1), (matrix | wanted).sum(axis=1)
    return np.where(either == 0, 1.0, 1 - common / np.maximum(either, 1))


def pair_scores(metric: str, rows: list[dict[int, float]], query: dict[int, float]) -> np.ndarray:
    return np.array([sum(value * row.get(index, 0.0) for index, value in query.items()) for row in rows])


def plain_bits(value: Any) -> bytes:
    return bytes(value[0]) if isinstance(value, list) else bytes(value)


def wire_pairs(pairs: dict[int, float]) -> dict[int, float]:
    # A client may give indices in any order.
    return dict(sorted(pairs.items(), reverse=True))


OTHERS: dict[str, tuple[DataType, Callable[[int], Any], Callable[[Any], Any], Callable[[Any], Any], Callable[..., np.ndarray]]] = {
    # type, the vector of a key, what a client sends, what it gets as what it sent, scores of rows
    "bits": (DataType.BINARY_VECTOR, bits_of, lambda bits: bits, plain_bits, bit_scores),
    "pairs": (DataType.SPARSE_FLOAT_VECTOR, pairs_of, wire_pairs, dict, pair_scores),
}


def other_vectors(client: MilvusClient, of_bits: tuple[str, str, dict[str, Any]], of_pairs: tuple[str, dict[str, Any]], nullable: bool) -> None:
    """Binary and sparse vectors beside each other: searched exactly and read back through a segment's life."""
    metrics = {"bits": of_bits[1], "pairs": "IP"}
    name = f"others_{of_bits[0]}_{of_bits[1]}_{of_pairs[0]}_{nullable}_{len(of_pairs[1])}_{TAG}"
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("number", DataType.INT64)
    schema.add_field("bits", DataType.BINARY_VECTOR, dim=BITS, nullable=nullable)
    schema.add_field("pairs", DataType.SPARSE_FLOAT_VECTOR, nullable=nullable)
    index = client.prepare_index_params()
    index.add_index("bits", index_type=of_bits[0], metric_type=of_bits[1], params=of_bits[2])
    index.add_index("pairs", index_type=of_pairs[0], metric_type="IP", params=of_pairs[1])
    client.create_collection(name, schema=schema)
    client.create_index(name, index)
    client.load_collection(name)
    held: dict[str, dict[int, Any]] = {field: {} for field in OTHERS}

    def write(keys: range, shift: int, call: Callable[..., Any]) -> None:
        rows = []
        for key in keys:
            row: Row = {"id": key, "number": key % 10}
            for order, (field, (_, made, sent, _, _)) in enumerate(OTHERS.items()):
                held[field].pop(key, None)
                if nullable and key % 5 == order:
                    row[field] = None
                else:
                    held[field][key] = made(key + shift)
                    row[field] = sent(held[field][key])
            rows.append(row)
        call(name, rows)

    def looked(when: str) -> None:
        found = {row["id"]: row for row in client.query(name, "id >= 0", output_fields=["*"], consistency_level="Strong", limit=16384)}
        equal(sorted(found), sorted(alive), f"keys {when}")
        for field, (_, made, sent, got, score) in OTHERS.items():
            for key in alive:
                value, wanted = found[key][field], held[field].get(key)
                equal(None if value is None else got(value), wanted, f"{field} of {key} {when}")
            for query_key, filter_, mask in ((3, "", lambda key: True), (77, "number == 4", lambda key: key % 10 == 4)):
                query = made(query_key)
                keys = sorted(key for key in alive if key in held[field] and mask(key))
                wanted = score(metrics[field], [held[field][key] for key in keys], query)
                if field == "pairs":
                    keys, wanted = [key for key, one in zip(keys, wanted) if one > 0], wanted[wanted > 0]
                order = np.argsort(wanted if field == "bits" else -wanted, kind="stable")
                best = [float(wanted[place]) for place in order[:10]]
                options = {"anns_field": field, "consistency_level": "Strong", "filter": filter_, "output_fields": [field]}
                hits = client.search(name, [sent(query)], limit=10, search_params={"params": {"nprobe": 1024}}, **options)[0]
                equal(len(hits), len(best), f"hits of {field} {when}")
                for hit, one in zip(hits, best):
                    if abs(hit["distance"] - one) > 1e-4 * max(1.0, abs(one)):
                        raise AssertionError(f"{field} {when}: score {hit['distance']}, wanted {one}")
                    equal(got(hit["entity"][field]), held[field][hit["id"]], f"output of {field} {when}")
                if len(best) == 10:
                    radius, near = (best[7], best[2]) if best[2] != best[7] else (best[0] + (1 if field == "bits" else -1), best[0])
                    inside = (lambda one: near <= one < radius) if field == "bits" else (lambda one: radius < one <= near)
                    ranged = client.search(name, [sent(query)], limit=100, search_params={"params": {"radius": radius, "range_filter": near, "nprobe": 1024}}, **options)[0]
                    in_doubt = sum(1 for one in wanted if min(abs(one - radius), abs(one - near)) < 1e-4 * max(1.0, abs(one)) and not float(one).is_integer())
                    count = min(100, sum(1 for one in wanted if inside(float(one))))
                    if abs(len(ranged) - count) > in_doubt:
                        raise AssertionError(f"{field} {when}: {len(ranged)} rows in a range, wanted {count}")

    count = ROWS // 2
    alive = set(range(count))
    write(range(count), 0, client.insert)
    looked("not sealed")
    client.flush(name)
    looked("sealed")
    write(range(count, ROWS), 0, client.insert)
    write(range(0, ROWS, 3), 1, client.upsert)
    alive = set(range(ROWS)) - {4, 5, 40}
    client.delete(name, ids=[4, 5, 40])
    looked("after an upsert and a delete")
    client.flush(name)
    client.release_collection(name)
    client.load_collection(name)
    looked("loaded again")
    if hasattr(client, "get") and not nullable:
        by_id = client.search(name, ids=[7], anns_field="bits", limit=1, consistency_level="Strong") if "ids" in client.search.__code__.co_varnames else None
        if by_id is not None:
            equal(by_id[0][0]["distance"], 0.0 if held["bits"][7].strip(b"\0") or metrics["bits"] == "HAMMING" else 1.0, "a search by key")


@claim
def bits_and_sparse_vectors_are_searched_and_come_back_exactly(client: MilvusClient, tag: str) -> None:
    inverted = "SPARSE_INVERTED_INDEX"
    other_vectors(client, ("BIN_FLAT", "HAMMING", {}), (inverted, {"inverted_index_algo": "DAAT_MAXSCORE"}), nullable=False)
    other_vectors(client, ("BIN_IVF_FLAT", "JACCARD", {"nlist": 16}), ("SPARSE_WAND", {}), nullable=False)
    other_vectors(client, ("AUTOINDEX", "HAMMING", {}), ("AUTOINDEX", {}), nullable=False)


@claim
def bits_and_sparse_vectors_may_be_missing(client: MilvusClient, tag: str) -> None:
    taat = {"inverted_index_algo": "TAAT_NAIVE", "drop_ratio_build": 0.2}
    other_vectors(client, ("BIN_IVF_FLAT", "HAMMING", {"nlist": 16}), ("SPARSE_INVERTED_INDEX", taat), nullable=True)


@claim
def a_share_of_a_sparse_query_may_be_left_out(client: MilvusClient, tag: str) -> None:
    name = f"dropped_{TAG}"
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("pairs", DataType.SPARSE_FLOAT_VECTOR)
    index = client.prepare_index_params()
    index.add_index("pairs", index_type="SPARSE_INVERTED_INDEX", metric_type="IP")
    client.create_collection(name, schema=schema, index_params=index)
    client.insert(name, [{"id": key, "pairs": pairs_of(key)} for key in range(ROWS)])
    client.flush(name)
    ask = lambda params: client.search(name, [pairs_of(8)], limit=10, consistency_level="Strong", search_params={"params": params})
    equal([hit["id"] for hit in ask({"drop_ratio_search": 0.2})[0]][0], ask({})[0][0]["id"], "the nearest")
    refused(lambda: ask({"drop_ratio_search": 1.0}), (1100, 65535, 2000), "param 'drop_ratio_search' (1.0) should be in range [0.000000, 1.000000)")


@claim
def every_algorithm_of_sparse_indexes_answers_alike(client: MilvusClient, tag: str) -> None:
    ways: dict[str, Row] = {
        "usual": {},
        "naive": {"inverted_index_algo": "TAAT_NAIVE"},
        "halves": {"inverted_index_algo": "DAAT_WAND", "quant_type": "fp16"},
        "masked": {"inverted_index_algo": "DAAT_MAXSCORE", "inverted_index_codec": "block_maskedvbyte"},
        "sindi": {"inverted_index_algo": "SINDI", "drop_ratio_build": 0.4},
        "windows": {"inverted_index_algo": "SINDI", "sindi_window_size": 1024},
        "block_score": {"inverted_index_algo": "BLOCK_MAX_MAXSCORE", "block_max_block_size": 128},
        "block_wand": {"inverted_index_algo": "BLOCK_MAX_WAND", "block_max_block_size": 128},
    }
    name, rows = f"algorithms_{TAG}", 3 * 1024 + 100
    schema, index = client.create_schema(), client.prepare_index_params()
    schema.add_field("id", DataType.INT64, is_primary=True)
    for field, params in ways.items():
        schema.add_field(field, DataType.SPARSE_FLOAT_VECTOR)
        index.add_index(field, index_type="SPARSE_INVERTED_INDEX", metric_type="IP", params=params)
    client.create_collection(name, schema=schema)
    client.insert(name, [{"id": key, **{field: pairs_of(key) for field in ways}} for key in range(rows)])
    client.flush(name)
    client.create_index(name, index)
    client.load_collection(name)
    for field, params in ways.items():
        shown = client.describe_index(name, field)
        equal({key: str(shown.get(key)) for key in params}, {key: str(value) for key, value in params.items()}, f"parameters of {field}")

    def ask(field: str, expression: str, limit: int, **params: Any) -> list[tuple[int, float]]:
        asked = {"metric_type": "IP", "params": params}
        found = client.search(name, [pairs_of(8)], filter=expression, limit=limit, anns_field=field, search_params=asked, consistency_level="Strong")
        return [(hit["id"], hit["distance"]) for hit in found[0]]

    held = [pairs_of(key) for key in range(rows)]
    scores = [sum(np.float32(value) * np.float32(held[key].get(at, 0)) for at, value in held[8].items()) for key in range(rows)]
    for expression, limit, least in [("", 10, 0), ("", 1000, 0), ("id >= 1234", 10, 1234), (f"id >= {rows - 40}", 10, rows - 40)]:
        order = sorted((key for key in range(least, rows) if scores[key] > 0), key=lambda key: (-scores[key], key))
        wanted = [(key, float(scores[key])) for key in order[:limit]]
        for field in ways:
            equal(ask(field, expression, limit), wanted, f"{field}, {limit} of {expression}")
            equal(ask(field, expression, limit, dim_max_score_ratio=1.3), wanted, f"{field}, {limit} of {expression}, bounds raised")
    refused(lambda: ask("block_wand", "", 10, dim_max_score_ratio=1.4), (999, 1100, 65535), "should be in range [0.500000, 1.300000]")


@claim
def bad_bits_and_sparse_vectors_are_refused(client: MilvusClient, tag: str) -> None:
    name = f"bad_others_{TAG}"

    def with_bits(dim: int) -> None:
        schema = client.create_schema()
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("bits", DataType.BINARY_VECTOR, dim=dim)
        client.create_collection(name, schema=schema)

    refused(lambda: with_bits(9), 1100, "should be multiple of 8")
    refused(lambda: with_bits(262152), 1100, "binary vector dimension should be in range")
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("bits", DataType.BINARY_VECTOR, dim=16)
    schema.add_field("pairs", DataType.SPARSE_FLOAT_VECTOR)
    client.create_collection(name, schema=schema)

    def index(field: str, index_type: str, metric: str, **params: Any) -> None:
        wanted = client.prepare_index_params()
        wanted.add_index(field, index_type=index_type, metric_type=metric, params=params)
        client.create_index(name, wanted)

    refused(lambda: index("bits", "BIN_FLAT", "L2"), 1100, "binary vector index does not support metric type: L2")
    refused(lambda: index("bits", "HNSW", "HAMMING"), 1100, "data type BinaryVector can't build with this index HNSW")
    refused(lambda: index("pairs", "SPARSE_WAND", "COSINE"), 1100, "only IP&BM25 is the supported metric type for sparse index")
    refused(lambda: index("pairs", "SPARSE_INVERTED_INDEX", "IP", inverted_index_algo="x"), 1100, "sparse inverted index algo x not found or not supported")
    refused(lambda: index("pairs", "SPARSE_INVERTED_INDEX", "IP", drop_ratio_build=1), 1100, "param 'drop_ratio_build' (1) should be in range")
    row = {"id": 1, "bits": b"\x01\x02", "pairs": {1: 0.5}}
    refused(lambda: client.insert(name, [{**row, "bits": bytes(64)}]), 1100, "is not equal to passed num_rows")
    refused(lambda: client.insert(name, [{**row, "pairs": {1: -0.5}}]), 1100, "negative value in sparse float vector")
    refused(lambda: client.insert(name, [{**row, "pairs": {1: float("nan")}}]), (1, 1100, 65535), "")
    equal(client.describe_collection(name)["fields"][1]["params"], {"dim": 16}, "the bits as they are described")


@claim
def bad_narrow_vectors_are_refused(client: MilvusClient, tag: str) -> None:
    name = f"bad_narrow_{TAG}"
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("i8", DataType.INT8_VECTOR, dim=DIM)
    schema.add_field("f16", DataType.FLOAT16_VECTOR, dim=DIM)
    client.create_collection(name, schema=schema)
    index = client.prepare_index_params()
    index.add_index("i8", index_type="IVF_FLAT", metric_type="L2", params={"nlist": 8})
    refused(lambda: client.create_index(name, index), 1100, "data type Int8Vector can't build with this index IVF_FLAT")
    infinite = np.full(DIM, np.inf, dtype=np.float16)
    refused(lambda: client.insert(name, [{"id": 1, "i8": np.zeros(DIM, np.int8), "f16": infinite}]), (1100, 65535), "value '+Inf' is not a number or infinity")


def main() -> int:
    uri, words = sys.argv[1], sys.argv[2:]
    logging.disable(logging.CRITICAL)  # pymilvus logs each refusal with a stack; refusals are asked for here
    client, failed, ran = MilvusClient(uri, timeout=60), 0, 0
    for check in CLAIMS:
        if words and not any(word in check.__name__ for word in words):
            continue
        title, begin, ran = check.__name__.replace("_", " "), time.monotonic(), ran + 1
        before = set(client.list_collections())
        try:
            check(client, TAG)
            print(f"  ok    {title} ({time.monotonic() - begin:.1f} s)", flush=True)
        except Exception as error:  # noqa: BLE001 - a claim may fail in any way; the others still run
            failed += 1
            print(f"  FAIL  {title}: {type(error).__name__}: {error}", flush=True)
            if not isinstance(error, (AssertionError, MilvusException)):
                traceback.print_exc()
        for name in set(client.list_collections()) - before:
            client.drop_collection(name)
    print(f"types, pymilvus {pymilvus.__version__}: {ran - failed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
