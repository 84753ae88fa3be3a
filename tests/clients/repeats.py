"""Inserts that a client sends again, blindly, under the name that it gave the first time: their rows are there once, also in
another life of the engine.

    repeats.py URI write      sends inserts once or several times
    repeats.py URI read       sends them all again after the engine was killed
"""

from __future__ import annotations

import json
import sys
import urllib.request
from typing import Any

from pymilvus import DataType, MilvusClient

from suite import equal

NAME, DIM, BATCHES, ROWS = "repeats", 4, 20, 50
EXTRA = [{"id": 10_000 + key, "vector": [0.0] * DIM, "tag": "x"} for key in range(3)]


def rows(batch: int) -> list[dict[str, Any]]:
    keys = range(batch * ROWS, (batch + 1) * ROWS)
    return [{"id": key, "vector": [float(key % 7), 1.0, float(batch), 0.5], "tag": f"t{key % 5}"} for key in keys]


def send(client: MilvusClient, batch: int) -> None:
    answer = client.insert(NAME, rows(batch), client_request_id=f"batch-{batch}")
    equal(answer["insert_count"], ROWS, "rows that an insert answers with")
    equal(list(answer["ids"]), [row["id"] for row in rows(batch)], "keys that an insert answers with")


def send_rest(uri: str, batch: int) -> None:
    body = json.dumps({"collectionName": NAME, "data": rows(batch)}).encode()
    headers = {"Content-Type": "application/json", "Request-Id": f"batch-{batch}"}
    request = urllib.request.Request(f"{uri}/v2/vectordb/entities/insert", body, headers)
    with urllib.request.urlopen(request) as answer:
        equal(json.load(answer)["code"], 0, "code of an insert over REST")


def count(client: MilvusClient) -> int:
    found = client.query(NAME, filter="", output_fields=["count(*)"], consistency_level="Strong")
    return found[0]["count(*)"]


def write(client: MilvusClient, uri: str) -> None:
    client.drop_collection(NAME)
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM)
    schema.add_field("tag", DataType.VARCHAR, max_length=10)
    index = client.prepare_index_params()
    index.add_index("vector", index_type="AUTOINDEX", metric_type="L2")
    client.create_collection(NAME, schema=schema, index_params=index, num_shards=2)
    for batch in range(BATCHES):
        for _ in range(1 + batch % 3):
            send(client, batch)
    equal(count(client), BATCHES * ROWS, "rows after some were sent several times")
    for batch in range(0, BATCHES, 2):
        send_rest(uri, batch)
    equal(count(client), BATCHES * ROWS, "rows after some were sent over REST too")

    # Nor does it matter that they are sealed.
    client.flush(NAME)
    for batch in range(BATCHES):
        send(client, batch)
    equal(count(client), BATCHES * ROWS, "rows after all were sent again behind a flush")

    # One name for many calls is no repeat of any.
    for one in EXTRA:
        client.insert(NAME, [one], client_request_id="batch-0")
    equal(count(client), BATCHES * ROWS + 3, "rows under a name that stands for many calls")


def read(client: MilvusClient) -> None:
    for batch in range(BATCHES):
        send(client, batch)
    for one in EXTRA:
        client.insert(NAME, [one], client_request_id="batch-0")
    equal(count(client), BATCHES * ROWS + 3, "rows after all were sent again")

    # What was removed, by whomever, can be added again under the same name.
    client.delete(NAME, ids=[one["id"] for one in EXTRA])
    for _ in range(2):
        for one in EXTRA:
            client.insert(NAME, [one], client_request_id="batch-0")
    equal(count(client), BATCHES * ROWS + 3, "rows that were removed and added again under a name")
    client.delete(NAME, ids=[row["id"] for row in rows(0)])
    client.insert(NAME, rows(0))
    equal(count(client), BATCHES * ROWS + 3, "rows that were added again without a name")
    if hasattr(client, "truncate_collection"):
        client.insert(NAME, EXTRA, client_request_id="last")
        client.truncate_collection(NAME)
        client.insert(NAME, EXTRA, client_request_id="last")
        equal(count(client), len(EXTRA), "rows that were truncated away and added again under a name")


def main() -> None:
    uri, mode = sys.argv[1:]
    client = MilvusClient(uri=uri)
    if mode == "write":
        write(client, uri)
    else:
        read(client)
    print(f"{NAME} {mode}: all as it should be")


if __name__ == "__main__":
    main()
