"""Imports of files that pymilvus's own writer makes: every format and type, what is refused, and what is there after a crash.

    importing.py URI FOLDER write     imports files that it puts below FOLDER, where the engine keeps its objects
    importing.py URI FOLDER read      looks at them in another life of the engine
"""

from __future__ import annotations

import json
import logging
import shutil
import sys
import time
from pathlib import Path
from typing import Any, Callable

import ml_dtypes
import numpy as np
import requests
from pymilvus import DataType, Function, FunctionType, MilvusClient, connections, utility
from pymilvus.bulk_writer import BulkFileType, LocalBulkWriter, bulk_import, get_import_progress, list_import_jobs

from suite import equal

URI, FOLDER = sys.argv[1], Path(sys.argv[2])
ROWS, DIM = 300, 16
KINDS = {"parquet": BulkFileType.PARQUET, "json": BulkFileType.JSON, "jsonl": BulkFileType.JSONL, "csv": BulkFileType.CSV}
RANDOM = np.random.default_rng(5)
VECTORS = RANDOM.standard_normal((ROWS, DIM)).astype(np.float32)
Row = dict[str, Any]
logging.disable(logging.ERROR)


def rest(path: str, body: Row) -> Row:
    return requests.post(f"{URI}/v2/vectordb/{path}", json=body, timeout=60).json()


def ended(job: str, wanted: str = "Completed") -> Row:
    deadline = time.monotonic() + 120
    while True:
        found = get_import_progress(URI, job).json()["data"]
        if found["state"] in ("Completed", "Failed", wanted):
            equal(found["state"], wanted, f"state of an import ({found.get('reason')})")
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"an import has not ended: {found}")
        time.sleep(0.1)


def started(name: str, files: list[list[str]], **more: Any) -> str:
    return bulk_import(URI, name, files=files, **more).json()["data"]["jobId"]


def imported(name: str, files: list[list[str]], **more: Any) -> Row:
    return ended(started(name, files, **more))


def failed(name: str, files: list[list[str]], *words: str, **more: Any) -> None:
    reason = ended(started(name, files, **more), "Failed")["reason"]
    for word in words:
        equal(word in reason, True, f"{word!r} in {reason!r}")


def refused(name: str, files: Any, word: str, code: int = 2100, **more: Any) -> None:
    answer = rest("jobs/import/create", {"collectionName": name, "files": files, **more})
    equal((answer["code"], word in answer["message"]), (code, True), f"refusal {answer}")


def fields() -> list[tuple[str, Any, Row]]:
    array = lambda element, **more: (DataType.ARRAY, {"element_type": element, "max_capacity": 8, **more})
    arrays = {
        "bools": array(DataType.BOOL), "int8s": array(DataType.INT8), "int16s": array(DataType.INT16),
        "int32s": array(DataType.INT32), "int64s": array(DataType.INT64), "floats": array(DataType.FLOAT),
        "doubles": array(DataType.DOUBLE), "texts": array(DataType.VARCHAR, max_length=40),
    }
    return [
        ("bool", DataType.BOOL, {}), ("int8", DataType.INT8, {}), ("int16", DataType.INT16, {}),
        ("int32", DataType.INT32, {}), ("int64", DataType.INT64, {}), ("float", DataType.FLOAT, {}),
        ("double", DataType.DOUBLE, {}), ("text", DataType.VARCHAR, {"max_length": 200}), ("json", DataType.JSON, {}),
        *((name, kind, more) for name, (kind, more) in arrays.items()),
        ("maybe", DataType.INT64, {"nullable": True}), ("maybe_text", DataType.VARCHAR, {"max_length": 40, "nullable": True}),
        ("usual", DataType.INT64, {"default_value": 7}),
        ("vec", DataType.FLOAT_VECTOR, {"dim": DIM}), ("half", DataType.FLOAT16_VECTOR, {"dim": DIM}),
        ("brain", DataType.BFLOAT16_VECTOR, {"dim": DIM}), ("bytes", DataType.INT8_VECTOR, {"dim": DIM}),
        ("bits", DataType.BINARY_VECTOR, {"dim": DIM}), ("pairs", DataType.SPARSE_FLOAT_VECTOR, {}),
    ]


def schema_of(client: MilvusClient, wanted: list[str], **more: Any) -> Any:
    schema = client.create_schema(**more)
    schema.add_field("id", DataType.INT64, is_primary=True, auto_id=more.get("auto_id", False))
    for name, kind, params in fields():
        if name in wanted:
            schema.add_field(name, kind, **params)
    return schema


def create(client: MilvusClient, name: str, schema: Any, **more: Any) -> None:
    if client.has_collection(name):
        client.drop_collection(name)
    index = client.prepare_index_params()
    for field in schema.fields:
        if field.dtype == DataType.FLOAT_VECTOR:
            index.add_index(field.name, index_type="FLAT", metric_type="L2")
        elif field.dtype in (DataType.FLOAT16_VECTOR, DataType.BFLOAT16_VECTOR, DataType.INT8_VECTOR):
            index.add_index(field.name, index_type="HNSW", metric_type="L2", params={"M": 8, "efConstruction": 40})
        elif field.dtype == DataType.BINARY_VECTOR:
            index.add_index(field.name, index_type="BIN_FLAT", metric_type="HAMMING")
        elif field.dtype == DataType.SPARSE_FLOAT_VECTOR:
            metric = "BM25" if field.is_function_output else "IP"
            index.add_index(field.name, index_type="SPARSE_INVERTED_INDEX", metric_type=metric)
    client.create_collection(name, schema=schema, index_params=index, **more)


def row(key: int, wanted: list[str]) -> Row:
    every = key % 3 == 0
    whole = {
        "bool": every, "int8": key % 100 - 50, "int16": key - 150, "int32": key * 1000, "int64": key << 40,
        "float": key / 4, "double": key / 8, "text": f'text {key}, "quoted" 文', "json": {"a": key, "b": [None, "x"]},
        "bools": [every, not every], "int8s": [key % 100, -1], "int16s": [key], "int32s": [], "int64s": [key << 33, 1, 2],
        "floats": [key / 2, 0.5], "doubles": [key / 16], "texts": ["a,b", f"文{key}"],
        "maybe": None if every else key, "maybe_text": None if every else f"m{key}", "usual": key,
        "vec": VECTORS[key].tolist(), "half": VECTORS[key].astype(np.float16), "brain": VECTORS[key].astype(ml_dtypes.bfloat16),
        "bytes": [(key + at) % 100 for at in range(DIM)], "bits": [(key >> at % 8) & 1 for at in range(DIM)],
        "pairs": {key: 0.5, key + 10: 1.25},
    }
    return {"id": key, **{name: whole[name] for name in wanted}}


def sent(key: int, wanted: list[str]) -> Row:
    """A row as it comes back: narrow vectors as their bytes."""
    whole = row(key, wanted)
    return whole | {name: whole[name].tobytes() for name in ("half", "brain") if name in whole}


def plain(found: Row) -> Row:
    """A row that was found, of plain values."""
    made = {}
    for name, value in found.items():
        if name in ("half", "brain"):
            value = value[0] if isinstance(value, list) else value
        elif name == "bytes":
            value = value[0] if isinstance(value, list) and isinstance(value[0], bytes) else value
            value = np.frombuffer(value, dtype=np.int8).tolist() if isinstance(value, bytes) else [int(one) for one in value]
        elif name == "bits":
            value = np.unpackbits(np.frombuffer(b"".join(value) if isinstance(value, list) else value, dtype=np.uint8)).tolist()
        elif name == "vec":
            value = [float(one) for one in value]
        elif isinstance(value, (list, tuple)) or type(value).__name__.startswith("Repeated"):
            value = list(value)
        elif name == "pairs":
            value = dict(value)
        made[name] = value
    return made


def written(kind: str, schema: Any, rows: list[Row], **more: Any) -> list[list[str]]:
    """Files of these rows, as paths that the engine knows."""
    (FOLDER / "import").mkdir(parents=True, exist_ok=True)
    writer = LocalBulkWriter(schema, str(FOLDER / "import"), chunk_size=64 << 20, file_type=KINDS.get(kind, BulkFileType.NUMPY), **more)
    for one in rows:
        writer.append_row(dict(one))
    writer.commit()
    return [[str(Path(file).relative_to(FOLDER)) for file in files] for files in writer.batch_files]


def put(name: str, body: bytes | str) -> str:
    path = FOLDER / "import" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body if isinstance(body, bytes) else body.encode())
    return f"import/{name}"


def rows_of(client: MilvusClient, name: str, what: str = "id >= 0") -> dict[int, Row]:
    client.load_collection(name)
    found = client.query(name, what, output_fields=["*"], consistency_level="Strong", limit=16384)
    return {one["id"]: plain(one) for one in found}


ALL = [name for name, _, _ in fields()]
# What NumPy files have no form for: lists, sparse vectors, and rows without a value.
NUMPY = [name for name in ALL if name not in ("pairs", "maybe", "maybe_text") and not name.endswith("s") or name in ("bits", "bytes")]
CLAIMS: list[Callable[[MilvusClient], None]] = []


def claim(check: Callable[[MilvusClient], None]) -> Callable[[MilvusClient], None]:
    CLAIMS.append(check)
    return check


def looked(client: MilvusClient, kind: str) -> None:
    wanted = NUMPY if kind == "npy" else ALL
    found = rows_of(client, f"all_{kind}")
    for key in range(ROWS):
        equal(found[key], sent(key, wanted), f"row {key} of {kind}")
    equal(len(found), ROWS, f"rows of {kind}")
    hits = client.search(f"all_{kind}", [VECTORS[11].tolist()], anns_field="vec", limit=1, consistency_level="Strong")
    equal(hits[0][0]["id"], 11, f"nearest of {kind}")


@claim
def files_of_every_format_have_rows_of_every_type(client: MilvusClient) -> None:
    for kind in [*KINDS, "npy"]:
        wanted = NUMPY if kind == "npy" else ALL
        schema = schema_of(client, wanted)
        create(client, f"all_{kind}", schema)
        files = written(kind, schema, [row(key, wanted) for key in range(ROWS)])
        done = imported(f"all_{kind}", files)
        equal((done["importedRows"], done["progress"]), (ROWS, 100), f"import of {kind}")
        looked(client, kind)
        equal(client.get_collection_stats(f"all_{kind}")["row_count"], ROWS, "count")


@claim
def several_files_are_one_import_and_shards_and_partition_keys_hold(client: MilvusClient) -> None:
    schema = client.create_schema(enable_dynamic_field=True)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("tenant", DataType.VARCHAR, max_length=20, is_partition_key=True)
    schema.add_field("vec", DataType.FLOAT_VECTOR, dim=DIM)
    create(client, "spread", schema, num_shards=3, num_partitions=5)
    made = lambda key: {"id": key, "tenant": f"t{key % 7}", "vec": VECTORS[key % ROWS].tolist(), "more": key, "$meta": {"other": [key]}}
    files = [*written("parquet", schema, [made(key) for key in range(100)]), *written("json", schema, [made(key) for key in range(100, 200)]),
             *written("csv", schema, [made(key) for key in range(200, 300)]), *written("jsonl", schema, [made(key) for key in range(300, 400)])]
    client.load_collection("spread")
    done = imported("spread", files)
    equal((done["importedRows"], len(done["details"])), (400, 4), "import of four files")
    found = client.query("spread", "tenant == 't3'", output_fields=["more", "other"], consistency_level="Strong", limit=1000)
    wanted = {key: (key, [key]) for key in range(400) if key % 7 == 3}
    equal({one["id"]: (one["more"], list(one["other"])) for one in found}, wanted, "rows of a tenant")
    client.delete("spread", ids=[3, 10])
    client.upsert("spread", [{name: value for name, value in made(17).items() if name != "$meta"} | {"more": -1}])
    found = client.query("spread", "id in [3, 10, 17]", output_fields=["more"], consistency_level="Strong")
    equal([(one["id"], one["more"]) for one in found], [(17, -1)], "rows deleted and replaced")
    refused("spread", files[:1], "not allow to set partition name", partitionName="_default_0")


@claim
def keys_are_made_and_functions_computed(client: MilvusClient) -> None:
    schema = client.create_schema(auto_id=True)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("body", DataType.VARCHAR, max_length=200, enable_analyzer=True)
    schema.add_field("words", DataType.SPARSE_FLOAT_VECTOR)
    schema.add_function(Function("count", FunctionType.BM25, input_field_names=["body"], output_field_names=["words"]))
    create(client, "texts", schema)
    bodies = ["a red kite over the hill", "blue water", "the kite is red", "nothing at all"]
    done = imported("texts", written("parquet", schema, [{"body": body} for body in bodies]))
    equal(done["importedRows"], 4, "texts")
    client.load_collection("texts")
    hits = client.search("texts", ["red kite"], anns_field="words", limit=4, output_fields=["body"], consistency_level="Strong")[0]
    equal(sorted(hit["entity"]["body"] for hit in hits), sorted([bodies[0], bodies[2]]), "texts found")
    keys = {one["id"] for one in client.query("texts", "", limit=10, consistency_level="Strong")}
    equal(len(keys), 4, "keys made")
    failed("texts", [[put("keys.json", json.dumps([{"id": 1, "body": "x"}]))]], "keys.json", "id")


@claim
def an_import_that_is_asked_for_again_under_its_name_is_the_same(client: MilvusClient) -> None:
    schema = schema_of(client, ["vec"])
    create(client, "again", schema)
    files = written("json", schema, [row(key, ["vec"]) for key in range(20)])
    ask = lambda name: requests.post(f"{URI}/v2/vectordb/jobs/import/create", json={"collectionName": "again", "files": files},
                                     headers={"Request-Id": name}, timeout=60).json()["data"]["jobId"]
    first, second, other = ask("once"), ask("once"), ask("twice")
    ended(first)
    equal([second, ask("once")], [first, first], "imports of one name")
    equal(other == first, False, "an import of another name is the same")
    ended(other)
    client.load_collection("again")
    equal(client.query("again", "", output_fields=["count(*)"], consistency_level="Strong")[0]["count(*)"], 40, "rows of two imports")


@claim
def what_is_wrong_is_said_at_once_or_fails_the_import_with_file_and_row(client: MilvusClient) -> None:
    schema = schema_of(client, ["vec", "int8", "text"])
    create(client, "strict", schema)
    good = [row(key, ["vec", "int8", "text"]) for key in range(5)]
    refused("strict", [], "import request is empty", 1100)
    refused("strict", [[]], "import request is empty", 1100)
    refused("strict", [["a.json"], []], "no file to import")
    refused("strict", [["a.json"]], "options.auto_commit must be a string, got bool", 1801, options={"auto_commit": False})
    refused("strict", [["a.txt"]], "unexpected file type, files=[a.txt]")
    refused("strict", [["a.parquet", "b.parquet"]], "accepts only one file")
    refused("strict", [["a.json"]] * 1025, "1024")
    refused("missing", [["a.json"]], "collection not found", 100)
    refused("strict", [["a.json"]], "partition not found", 200, partitionName="nowhere")
    refused("strict", [["a.csv"]], "csv separator", options={"sep": "||"})
    failed("strict", [["import/nothing.json"]], "import/nothing.json is not there")
    failed("strict", [["segments/1/2/scalars.parquet"]], "its own data")
    failed("strict", [["../meta.json"]], "../meta.json")
    wrong = lambda at, change: json.dumps([one | change if key == at else one for key, one in enumerate(good)])
    failed("strict", [[put("broken.json", '[{"id": 1, "vec": [')]], "broken.json", "no JSON file")
    failed("strict", [[put("dim.json", wrong(3, {"vec": [1.0, 2.0]}))]], "dim.json", "vec")
    failed("strict", [[put("range.json", wrong(2, {"int8": 300}))]], "range.json", "row 2", "int8")
    failed("strict", [[put("lacks.json", json.dumps([{"id": 1, "int8": 1, "text": "x"}]))]], "lacks.json", "vec")
    failed("strict", [[put("more.json", wrong(1, {"more": 1}))]], "more.json", "more")
    failed("strict", [[put("long.json", wrong(4, {"text": "x" * 300}))]], "long.json", "max length")
    failed("strict", [[put("not.parquet", b"PAR1 is not all")]], "not.parquet", "no Parquet file")
    failed("strict", [[put("id.npy", b"\x93NUMPY nothing")]], "id.npy", "no Numpy file")
    failed("strict", [[put("values.csv", "id,int8,text\n1,2\n")]], "values.csv", "row 0")
    # One bad file, and no row of the good ones comes.
    files = [*written("parquet", schema, good), [put("bad.json", wrong(2, {"int8": "x"}))]]
    failed("strict", files, "bad.json", "row 2")
    equal(rows_of(client, "strict"), {}, "rows of failed imports")
    failed("strict", written("parquet", schema, good), "timeout", options={"timeout": "0s"})
    # A file that comes under the same name later is another file.
    equal(imported("strict", [[put("dim.json", json.dumps(good))]])["importedRows"], 5, "rows")
    equal(len(rows_of(client, "strict")), 5, "rows")


@claim
def csv_may_be_separated_and_empty_otherwise(client: MilvusClient) -> None:
    schema = schema_of(client, ["vec", "maybe", "maybe_text", "text"])
    create(client, "separated", schema)
    config = {"sep": "|", "nullkey": "NULL"}
    files = written("csv", schema, [row(key, ["vec", "maybe", "maybe_text", "text"]) for key in range(50)], config=config)
    imported("separated", files, options=config)
    found = rows_of(client, "separated")
    equal(found, {key: row(key, ["vec", "maybe", "maybe_text", "text"]) for key in range(50)}, "rows")


@claim
def rows_wait_until_they_are_committed_if_so_asked(client: MilvusClient) -> None:
    schema = schema_of(client, ["vec"])
    create(client, "held", schema)
    client.create_partition("held", "p")
    files = written("parquet", schema, [row(key, ["vec"]) for key in range(40)])
    for commits in (False, True):
        job = started("held", files, partition_name="p", options={"auto_commit": "false"})
        ended(job, "Uncommitted")
        equal(rows_of(client, "held"), {}, "rows that wait")
        word, against = ("commit", "abort") if commits else ("abort", "commit")
        for _ in range(2):
            equal(rest(f"jobs/import/{word}", {"jobId": job})["code"], 0, "answer")
        why = "cannot be aborted" if commits else "expected Uncommitted"
        answer = rest(f"jobs/import/{against}", {"jobId": job})
        equal((answer["code"], why in answer["message"]), (2100, True), f"answer {answer}")
        ended(job, "Completed" if commits else "Failed")
    equal(len(rows_of(client, "held")), 40, "rows committed")
    found = client.query("held", "id >= 0", partition_names=["p"], consistency_level="Strong", limit=100)
    equal(len(found), 40, "rows of the partition")
    job = started("held", files, partition_name="p", options={"auto_commit": "false"})
    ended(job, "Uncommitted")
    client.release_collection("held")
    client.drop_partition("held", "p")
    equal("partition p has been dropped" in ended(job, "Failed")["reason"], True, "reason")
    listed = list_import_jobs(URI, "held").json()["data"]["records"]
    equal([one["state"] for one in listed], ["Failed", "Completed", "Failed"], "imports listed")
    job = started("held", files, options={"auto_commit": "false", "timeout": "3s"})
    equal("timeout" in ended(job, "Failed")["reason"], True, "reason")


@claim
def rows_that_waited_are_as_new_as_their_commit(client: MilvusClient) -> None:
    schema = schema_of(client, ["vec", "int64"])
    create(client, "dated", schema)
    client.load_collection("dated")
    made = lambda key, value: row(key, ["vec"]) | {"int64": value}
    found = lambda: {
        one["id"]: one["int64"]
        for one in client.query("dated", "id >= 0", output_fields=["int64"], consistency_level="Strong", limit=100)
    }
    job = started("dated", written("parquet", schema, [made(key, 1) for key in range(6)]), options={"auto_commit": "false"})
    ended(job, "Uncommitted")
    client.delete("dated", ids=[0, 1])
    client.upsert("dated", [made(2, 2), made(3, 2)])
    equal(found(), {2: 2, 3: 2}, "rows before the commit")
    equal(rest("jobs/import/commit", {"jobId": job})["code"], 0, "answer")
    ended(job, "Completed")
    equal(found(), {key: 1 for key in range(6)}, "rows at the commit")
    client.delete("dated", ids=[1])
    client.upsert("dated", [made(3, 3)])
    equal(found(), {0: 1, 2: 1, 3: 3, 4: 1, 5: 1}, "rows after the commit")


@claim
def the_calls_of_grpc_do_the_same(client: MilvusClient) -> None:
    schema = schema_of(client, ["vec"])
    create(client, "called", schema)
    [files] = written("npy", schema, [row(key, ["vec"]) for key in range(60)])
    connections.connect("importing", uri=URI)
    task = utility.do_bulk_insert("called", files, using="importing")
    deadline = time.monotonic() + 60
    while (state := utility.get_bulk_insert_state(task, using="importing")).state_name != "Completed":
        equal(time.monotonic() < deadline and state.state_name != "Failed", True, f"state {state}")
        time.sleep(0.1)
    equal((state.row_count, state.collection_name, state.progress), (60, "called", 100), "state")
    equal([one.task_id for one in utility.list_bulk_insert_tasks(collection_name="called", using="importing")], [task], "tasks")
    equal(len(rows_of(client, "called")), 60, "rows")


def main() -> None:
    client = MilvusClient(URI, timeout=60)
    if sys.argv[3] == "write":
        shutil.rmtree(FOLDER / "import", ignore_errors=True)
        words = sys.argv[4:]
        for check in CLAIMS:
            if not words or any(word in check.__name__ for word in words):
                begin = time.monotonic()
                check(client)
                print(f"    {check.__name__.replace('_', ' ')}: {time.monotonic() - begin:.1f} s", flush=True)
    else:
        for kind in [*KINDS, "npy"]:
            looked(client, kind)
        equal(len(client.query("spread", "id >= 0", limit=1000, consistency_level="Strong")), 398, "rows of several files")
        records = list_import_jobs(URI, "all_csv").json()["data"]["records"]
        equal([one["state"] for one in records], ["Completed"], "imports after the engine was killed")


if __name__ == "__main__":
    main()
