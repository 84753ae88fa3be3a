"""A collection that changes while it is used: fields are added, JSON paths are indexed, rows are truncated; looked at before
and after the engine was killed.

    changing.py URI write      makes the collections and looks at them
    changing.py URI read       looks at them in another life of the engine, and once more when all is sealed and merged
"""

from __future__ import annotations

import logging
import re
import sys
import time
from typing import Any

import numpy as np
from pymilvus import DataType, MilvusClient

from suite import equal, refused

NAME, EMPTIED = "changing", "emptied"
# Rows of these keys were sealed before the fields came, written before, and written after.
SEALED, EARLY, LATE = range(0, 100), range(100, 200), range(200, 300)
DIM = 8
INVALID = 1100


def row(key: int) -> dict[str, Any]:
    vector = np.random.default_rng(key).standard_normal(DIM).astype(np.float32).tolist()
    made = {"id": key, "vector": vector, "meta": {"a": [{"b": key}], "c": f"n{key}"}, "tag": f"t{key % 7}"}
    if key in LATE and key % 3:
        made |= {"added": key * 2}
    if key in LATE and key % 5 == 0:
        made |= {"nine": key, "words": f"word {key}"}
    return made


def added(key: int) -> int | None:
    return row(key).get("added")


def nine(key: int) -> int:
    return row(key).get("nine", 9)


def make(client: MilvusClient, name: str) -> None:
    schema = client.create_schema(enable_dynamic_field=True)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM)
    schema.add_field("meta", DataType.JSON)
    index = client.prepare_index_params()
    index.add_index("vector", index_type="DISKANN", metric_type="L2", params={"search_list_size": 50})
    client.create_collection(name, schema=schema, index_params=index)


def write(client: MilvusClient) -> None:
    make(client, NAME)
    client.insert(NAME, [row(key) for key in SEALED])
    client.flush(NAME)
    client.insert(NAME, [row(key) for key in EARLY])
    add = lambda name, **more: client.add_collection_field(NAME, name, DataType.INT64, **more)
    refused(lambda: add("x", nullable=False), INVALID, "must be nullable")
    add("added", nullable=True)
    add("nine", nullable=True, default_value=9)
    client.add_collection_field(NAME, "words", DataType.VARCHAR, max_length=32, nullable=True)
    refused(lambda: add("nine", nullable=True), INVALID, "duplicated field name nine")
    client.insert(NAME, [row(key) for key in LATE])
    index_paths(client)
    make(client, EMPTIED)
    client.insert(EMPTIED, [row(key) for key in SEALED])
    client.flush(EMPTIED)
    client.insert(EMPTIED, [row(key) for key in EARLY])
    client.truncate_collection(EMPTIED)
    look_emptied(client, 0)
    client.insert(EMPTIED, [row(key) for key in range(5)])


def index_paths(client: MilvusClient) -> None:
    def create(field: str, cast: str, path: str, name: str = "", kind: str = "INVERTED") -> None:
        index = client.prepare_index_params()
        params = {"json_cast_type": cast, "json_path": path}
        index.add_index(field, index_type=kind, index_name=name, params=params)
        client.create_index(NAME, index)

    create("meta", "DOUBLE", "meta['a'][0]['b']")
    create("meta", "VARCHAR", 'meta["c"]', "texts")
    create("tag", "VARCHAR", "tag", "tags", "AUTOINDEX")
    for cast, path, name, text in [
        ("varchar", "meta['c']", "again", "multiple indexes on same field"),
        ("BOOL", "meta['c']", "texts", "at most one distinct index"),
        ("DOUBLE", "a/b", "bad", "cannot parse identifier: a/b"),
        ("INT64", "meta['c']", "bad", "json_cast_type INT64 is not supported"),
    ]:
        refused(lambda: create("meta", cast, path, name), INVALID, text)


def look(client: MilvusClient) -> None:
    keys = [*SEALED, *EARLY, *LATE]
    found = client.query(NAME, "id >= 0", output_fields=["added", "nine", "words"], limit=1_000)
    expected = [{"id": key, "added": added(key), "nine": nine(key), "words": row(key).get("words")} for key in keys]
    equal(sorted(found, key=lambda one: one["id"]), expected, "every row with the fields that came later")
    for text, holds in [
        ("added is null", lambda key: added(key) is None),
        ("added > 500", lambda key: (added(key) or 0) > 500),
        ("nine == 9", lambda key: nine(key) == 9),
        ("words =~ '[05]$'", lambda key: re.search("[05]$", row(key).get("words", "-")) is not None),
        ("tag !~ '^t[0-5]'", lambda key: key % 7 == 6),
        ("meta['a'][0]['b'] < 30 and tag == 't2'", lambda key: key < 30 and key % 7 == 2),
    ]:
        answer = client.query(NAME, text, output_fields=["id"], limit=1_000)
        equal(sorted(one["id"] for one in answer), [key for key in keys if holds(key)], text)
    for key in (0, 150, 299):
        hits = client.search(NAME, [row(key)["vector"]], limit=3, output_fields=["added"], search_params={"params": {"search_list": 60}})
        equal((hits[0][0]["id"], hits[0][0]["entity"]["added"]), (key, added(key)), "the nearest is itself")
    shown = {name: client.describe_index(NAME, name) for name in client.list_indexes(NAME)}
    told = {name: (one["field_name"], one["index_type"], one.get("json_path")) for name, one in shown.items()}
    equal(told, {
        "vector": ("vector", "DISKANN", None),
        "meta/a/0/b": ("meta", "INVERTED", "meta['a'][0]['b']"),
        "texts": ("meta", "INVERTED", 'meta["c"]'),
        "tags": ("tag", "AUTOINDEX", "tag"),
    }, "indexes as they were asked for")


def look_emptied(client: MilvusClient, rows: int) -> None:
    equal(client.query(EMPTIED, "", output_fields=["count(*)"])[0]["count(*)"], rows, "rows after a truncation")
    equal(client.list_indexes(EMPTIED), ["vector"], "its index")
    equal(len(client.search(EMPTIED, [row(0)["vector"]], limit=10)[0]), rows, "hits after a truncation")


def main() -> int:
    logging.disable(logging.CRITICAL)  # the client writes down every refusal
    uri, what = sys.argv[1:]
    client = MilvusClient(uri, timeout=60)
    if what == "write":
        write(client)
    look(client)
    look_emptied(client, 5)
    if what == "read":
        client.flush(NAME)
        look(client)
        job = client.compact(NAME)
        while client.get_compaction_state(job) != "Completed":
            time.sleep(0.1)
        look(client)
        client.drop_index(NAME, "texts")
        equal(sorted(client.list_indexes(NAME)), ["meta/a/0/b", "tags", "vector"], "one index is gone")
    print(f"changing, {what}: as expected")
    return 0


if __name__ == "__main__":
    sys.exit(main())
