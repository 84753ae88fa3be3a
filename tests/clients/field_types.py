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
        index.add_index(field, index_type=index_type, metric_type=metric)
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
