"""The first two REST calls, as `curl` would make them: list of collections, search of entities; and their refusals.

    rest.py URI
"""

from __future__ import annotations

import base64
import json
import logging
import sys
import time
import urllib.error
import urllib.request
from typing import Any

import numpy as np
from pymilvus import DataType, MilvusClient

NAME = f"rest_{int(time.time() * 1000) % 10**9}"


def post(uri: str, path: str, body: bytes, **headers: str) -> tuple[int, Any]:
    request = urllib.request.Request(f"{uri}/v2/vectordb/{path}", data=body, headers={"Content-Type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read().decode(errors="replace")
            return answer.status, json.loads(text) if text.startswith("{") else text
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")


def equal(found: Any, wanted: Any, what: str) -> None:
    if found != wanted:
        raise SystemExit(f"  FAIL  {what}: found {found!r}, wanted {wanted!r}\nREST: 0 passed, 1 failed")


def arrays_and_narrow_vectors(client: MilvusClient, uri: str) -> None:
    """Arrays are what Go prints of their message, narrow vectors are base64."""
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("tags", DataType.ARRAY, element_type=DataType.INT64, max_capacity=4, nullable=True)
    schema.add_field("half", DataType.FLOAT16_VECTOR, dim=2)
    index = client.prepare_index_params()
    index.add_index("half", index_type="FLAT", metric_type="L2")
    client.create_collection(NAME, schema=schema, index_params=index)
    halves = np.array([1.5, -2], dtype=np.float16)
    client.insert(NAME, [{"id": key, "tags": tags, "half": halves} for key, tags in enumerate([[7, 8], [], None])])
    query = {"collectionName": NAME, "data": [[1.5, -2.0]], "annsField": "half", "limit": 3, "outputFields": ["tags", "half"]}
    query["consistencyLevel"] = "Strong"
    _, answer = post(uri, "entities/search", json.dumps(query).encode())
    equal(answer["code"], 0, "a search by singles")
    tags = {hit["id"]: hit["tags"] for hit in answer["data"]}
    equal(tags, {"0": {"Data": {"LongData": {"data": [7, 8]}}}, "1": {"Data": {"LongData": {}}}, "2": None}, "arrays")
    equal(answer["data"][0]["half"], base64.b64encode(halves.tobytes()).decode(), "a narrow vector")
    client.drop_collection(NAME)


def bits_and_sparse_vectors(client: MilvusClient, uri: str) -> None:
    """Bits are base64 or bytes, sparse vectors are objects; they come back as base64 and as an object of values by index."""
    name = NAME + "_others"
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("bits", DataType.BINARY_VECTOR, dim=16)
    schema.add_field("pairs", DataType.SPARSE_FLOAT_VECTOR)
    index = client.prepare_index_params()
    index.add_index("bits", index_type="BIN_FLAT", metric_type="HAMMING")
    index.add_index("pairs", index_type="SPARSE_INVERTED_INDEX", metric_type="IP")
    client.create_collection(name, schema=schema, index_params=index)
    rows = [(b"\x00\x00", {1: 0.5}), (b"\xff\x00", {1: 2.0, 70000: 1.5}), (b"\xff\xff", {7: 1.0})]
    client.insert(name, [{"id": key, "bits": bits, "pairs": pairs} for key, (bits, pairs) in enumerate(rows)])
    query = {"collectionName": name, "limit": 3, "outputFields": ["bits", "pairs"], "consistencyLevel": "Strong"}

    def ask(field: str, data: Any) -> list[tuple[str, float]]:
        _, answer = post(uri, "entities/search", json.dumps({**query, "annsField": field, "data": data}).encode())
        equal(answer["code"], 0, f"a search of {field} by {data}")
        for hit in answer["data"]:
            bits, pairs = rows[int(hit["id"])]
            equal(hit["bits"], base64.b64encode(bits).decode(), "bits")
            equal(hit["pairs"], {str(at): value for at, value in pairs.items()}, "a sparse vector")
        return [(hit["id"], hit["distance"]) for hit in answer["data"]]

    for data in ([base64.b64encode(b"\xff\x00").decode()], [[255, 0]]):
        equal(ask("bits", data), [("1", 0.0), ("0", 8.0), ("2", 8.0)], f"hits of {data}")
    for data in ([{"1": 1.0, "70000": 2}], [{"indices": [70000, 1], "values": [2.0, 1.0]}]):
        equal(ask("pairs", data), [("1", 5.0), ("0", 0.5)], f"hits of {data}")
    body = {**query, "annsField": "pairs", "data": [{"a": 1}]}
    _, answer = post(uri, "entities/search", json.dumps(body).encode())
    equal(answer["code"], 1801, "what is no sparse vector")
    client.drop_collection(name)


def main() -> None:
    uri = sys.argv[1]
    logging.disable(logging.CRITICAL)
    client = MilvusClient(uri, timeout=30)
    client.create_collection(NAME, dimension=2, metric_type="L2")
    client.insert(NAME, [{"id": i, "vector": [i, 0], "colour": "red" if i % 2 else "blue"} for i in range(10)])

    status, answer = post(uri, "collections/list", b"{}")
    equal((status, answer["code"], NAME in answer["data"]), (200, 0, True), "collections/list")
    status, answer = post(uri, "collections/list", b"null")
    equal((status, answer["code"], NAME in answer["data"]), (200, 0, True), "a body of null is an empty one")
    status, answer = post(uri, "collections/list", b'{"dbName": "nodb"}')
    equal((status, answer["code"]), (200, 800), "a database that is not there")

    query = {"collectionName": NAME, "data": [[3.0, 0.0]], "annsField": "vector", "limit": 3, "filter": 'colour == "red"', "outputFields": ["colour"]}
    query["consistencyLevel"] = "Strong"
    status, answer = post(uri, "entities/search", json.dumps(query).encode())
    equal((status, answer["code"]), (200, 0), "entities/search")
    equal([(str(hit["id"]), hit["colour"]) for hit in answer["data"]], [("3", "red"), ("1", "red"), ("5", "red")], "hits")
    equal([hit["distance"] for hit in answer["data"]], [0, 4, 4], "distances")
    # 64-bit integers travel as strings unless the caller says that it can read them.
    equal(answer["data"][0]["id"], "3", "an id without Accept-Type-Allow-Int64")
    _, answer = post(uri, "entities/search", json.dumps(query).encode(), **{"Accept-Type-Allow-Int64": "true"})
    equal(answer["data"][0]["id"], 3, "an id with Accept-Type-Allow-Int64")

    _, answer = post(uri, "entities/search", json.dumps({**query, "collectionName": "missing"}).encode())
    equal(answer["code"], 100, "a missing collection")
    _, answer = post(uri, "entities/search", b'{"data": [[1, 2]]}')
    equal(answer["code"], 1802, "no collection name")
    _, answer = post(uri, "entities/search", b"{broken")
    equal(answer["code"], 1801, "a body that is no JSON")
    status, _ = post(uri, "nothing/here", b"{}")
    equal(status, 404, "an unknown path")
    client.drop_collection(NAME)
    arrays_and_narrow_vectors(client, uri)
    bits_and_sparse_vectors(client, uri)
    print("REST: 1 passed, 0 failed")


if __name__ == "__main__":
    main()
