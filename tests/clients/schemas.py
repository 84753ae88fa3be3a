"""A schema that changes under rows: fields, arrays of structs and functions come and go while the collection is loaded, over gRPC
and REST; looked at before and after the engine was killed.

    schemas.py URI write      makes the collection, changes it and looks at it
    schemas.py URI read       looks at it in another life of the engine, and once more when all is sealed and merged
"""

from __future__ import annotations

import json
import logging
import sys
import urllib.request
from typing import Any

import numpy as np
from pymilvus import DataType, FieldSchema, Function, FunctionType, MilvusClient

from suite import equal, refused, until

NAME = "schemas"
# Rows of these keys were sealed before anything changed, written before, written after the fields went, and after they came.
SEALED, EARLY, WITHOUT, LATE = range(0, 60), range(60, 120), range(120, 180), range(180, 240)
KEYS = [*SEALED, *EARLY, *WITHOUT, *LATE]
DIM = 8
INVALID, NO_FIELD = 1100, 1700
WORDS = ["fox", "dog", "owl"]


def rest(uri: str, path: str, body: dict[str, Any]) -> tuple[int, str]:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{uri}/v2/vectordb/collections/{path}", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        found = json.load(answer)
    return found["code"], found.get("message", "")


def vector(key: int) -> list[float]:
    return np.random.default_rng(key).standard_normal(DIM).astype(np.float32).tolist()


def word(key: int) -> str:
    return WORDS[key % 3]


def clips(key: int) -> list[dict[str, Any]] | None:
    return [{"n": key + at} for at in range(key % 3)] if key in LATE and key % 4 else None


def row(key: int) -> dict[str, Any]:
    made = {"id": key, "vector": vector(key), "text": f"a {word(key)} of {key}"}
    if key in SEALED or key in EARLY:
        made |= {"tag": f"old {key}", "second": vector(-key - 1 + 10_000)}
    elif key in WITHOUT:
        made |= {"tag": f"dynamic {key}"}
    elif key % 2:
        made |= {"tag": f"new {key}"}
    if clips(key) is not None:
        made |= {"clips": clips(key)}
    return made


def make(client: MilvusClient) -> None:
    schema = client.create_schema(enable_dynamic_field=True)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM)
    schema.add_field("second", DataType.FLOAT_VECTOR, dim=DIM)
    schema.add_field("tag", DataType.VARCHAR, max_length=32)
    schema.add_field("text", DataType.VARCHAR, max_length=100, enable_analyzer=True)
    index = client.prepare_index_params()
    index.add_index("vector", index_type="HNSW", metric_type="L2")
    index.add_index("second", index_type="HNSW", metric_type="L2")
    index.add_index("tag", index_type="INVERTED")
    client.create_collection(NAME, schema=schema, index_params=index, consistency_level="Strong")


def drop_fields(client: MilvusClient) -> None:
    for name, code, text in [
        ("id", INVALID, "cannot drop primary key field: id"),
        ("$meta", INVALID, "cannot drop dynamic field: $meta"),
        ("nope", NO_FIELD, "field not found"),
    ]:
        refused(lambda: client.drop_collection_field(NAME, name), code, text)
    client.drop_collection_field(NAME, "tag")
    number = {field["name"]: field["field_id"] for field in client.describe_collection(NAME)["fields"]}["second"]
    client.drop_collection_field(NAME, field_id=number)
    refused(lambda: client.drop_collection_field(NAME, field_id=number), NO_FIELD, "field not found")
    refused(lambda: client.drop_collection_field(NAME, "vector"), INVALID, "cannot drop the last vector field: vector")
    equal(client.list_indexes(NAME), ["vector"], "indexes go with their fields")
    refused(lambda: client.search(NAME, [vector(0)], anns_field="second", limit=3), INVALID, "fieldName(second) not found")
    equal(client.query(NAME, "tag == 'old 3'", output_fields=["id"]), [], "no row has a dynamic key of that name")


def add_words(client: MilvusClient, uri: str) -> None:
    count = Function("count", FunctionType.BM25, ["text"], ["words"])
    refused(lambda: client.add_collection_function(NAME, Function("count", FunctionType.BM25, ["text"], ["vector"])), INVALID, "SparseFloatVector")
    index = client.prepare_index_params()
    index.add_index("words", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25")
    client.add_function_field(NAME, FieldSchema("words", DataType.SPARSE_FLOAT_VECTOR), count, index)
    refused(lambda: client.drop_collection_field(NAME, "words"), INVALID, "is the output of function count")
    refused(lambda: client.drop_collection_field(NAME, "text"), INVALID, "is the input of function count")
    signs = {"name": "sign", "type": "MinHash", "inputFieldNames": ["text"], "outputFieldNames": ["bits"]}
    body = {
        "collectionName": NAME,
        "schema": {"fieldName": "bits", "dataType": "BinaryVector", "elementTypeParams": {"dim": "64"}},
        "function": signs,
        "indexParams": [{"fieldName": "bits", "indexType": "BIN_FLAT", "metricType": "HAMMING"}],
    }
    equal(rest(uri, "add_function_field", body), (0, ""), "a function over REST")
    equal(rest(uri, "drop_function_field", {"collectionName": NAME, "functionName": "sign"}), (0, ""), "and without it")
    equal(sorted(client.list_indexes(NAME)), ["vector", "words"], "its index, too")


def wait_for_words(client: MilvusClient) -> None:
    """Rows that were there are found by their words once these are counted; the index says for how many that is still to be done."""
    until("counting the words of all rows", lambda: client.describe_index(NAME, "words")["pending_index_rows"] == 0)
    wanted = [key for key in KEYS if word(key) == "fox"]
    until("finding all rows by their words", lambda: by_words(client, "fox") == wanted)


def by_words(client: MilvusClient, text: str) -> list[int]:
    hits = client.search(NAME, [text], anns_field="words", limit=500, search_params={"metric_type": "BM25"})
    return sorted(hit["id"] for hit in hits[0])


def write(client: MilvusClient, uri: str) -> None:
    make(client)
    client.insert(NAME, [row(key) for key in SEALED])
    client.flush(NAME)
    client.insert(NAME, [row(key) for key in EARLY])
    drop_fields(client)
    client.insert(NAME, [row(key) for key in WITHOUT])
    client.add_collection_field(NAME, "tag", DataType.VARCHAR, max_length=32, nullable=True)
    clip = client.create_struct_field_schema()
    clip.add_field("n", DataType.INT64)
    client.add_collection_struct_field(NAME, "clips", clip, max_capacity=4)
    refused(lambda: client.add_collection_struct_field(NAME, "clips", clip, max_capacity=4), INVALID, "duplicated field name clips")
    other = {"fieldName": "other", "nullable": True, "fields": [{"fieldName": "n", "dataType": "Array", "elementDataType": "Int64", "elementTypeParams": {"max_capacity": "4"}}]}
    equal(rest(uri, "struct_fields/add", {"collectionName": NAME, "schema": other}), (0, ""), "a struct over REST")
    equal(rest(uri, "fields/drop", {"collectionName": NAME, "fieldName": "other"}), (0, ""), "and without it")
    equal(rest(uri, "fields/drop", {"collectionName": NAME, "fieldName": "other"})[0], NO_FIELD, "it is gone")
    client.insert(NAME, [row(key) for key in LATE])
    add_words(client, uri)
    wait_for_words(client)


def tag(key: int) -> str | None:
    return row(key).get("tag") if key in LATE else None


def look(client: MilvusClient) -> None:
    found = client.query(NAME, "id >= 0", output_fields=["tag", "clips", "text"], limit=1_000)
    expected = [{"id": key, "tag": tag(key), "clips": clips(key), "text": row(key)["text"]} for key in KEYS]
    equal(sorted(found, key=lambda one: one["id"]), expected, "every row, without a value of what was dropped")
    for text, holds in [
        ("tag is null", lambda key: tag(key) is None),
        ("tag like 'old%' or tag like 'dynamic%'", lambda key: False),
        ("tag like 'new%'", lambda key: tag(key) is not None),
        ("$meta['tag'] like 'dynamic%'", lambda key: key in WITHOUT),
        ("clips is null", lambda key: clips(key) is None),
    ]:
        answer = client.query(NAME, text, output_fields=["id"], limit=1_000)
        equal(sorted(one["id"] for one in answer), [key for key in KEYS if holds(key)], text)
    for text in WORDS:
        equal(by_words(client, text), [key for key in KEYS if word(key) == text], f"rows with {text}")
    for key in (0, 100, 150, 239):
        hits = client.search(NAME, [vector(key)], anns_field="vector", limit=1, output_fields=["tag"])
        equal((hits[0][0]["id"], hits[0][0]["entity"]["tag"]), (key, tag(key)), "the nearest is itself")
    names = [field["name"] for field in client.describe_collection(NAME)["fields"]]
    equal(sorted(name for name in names if name != "clips"), ["id", "tag", "text", "vector", "words"], "fields")


def main() -> int:
    logging.disable(logging.CRITICAL)  # the client writes down every refusal
    uri, what = sys.argv[1:]
    client = MilvusClient(uri, timeout=60)
    if what == "write":
        write(client, uri)
    look(client)
    if what == "read":
        client.flush(NAME)
        look(client)
        job = client.compact(NAME)
        until("a compaction", lambda: client.get_compaction_state(job) == "Completed")
        look(client)
        client.drop_function_field(NAME, "count")
        client.drop_collection_field(NAME, "clips")
        equal(client.list_indexes(NAME), ["vector"], "one function is gone")
        refused(lambda: by_words(client, "fox"), INVALID, "fieldName(words) not found")
        equal(len(client.query(NAME, "id >= 0", output_fields=["*"], limit=1_000)), len(KEYS), "rows")
    print(f"schemas, {what}: as expected")
    return 0


if __name__ == "__main__":
    sys.exit(main())
