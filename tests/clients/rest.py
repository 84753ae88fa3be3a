"""REST as `curl` would speak it: every family of version 2, version 1, the oldest API, and their refusals.

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


def call(uri: str, path: str, body: Any = None, method: str = "POST") -> Any:
    """What any path answers, with numbers of 64 bits as numbers."""
    headers = {"Content-Type": "application/json", "Accept-Type-Allow-Int64": "true"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{uri}{path}", data=data, headers=headers, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def good(uri: str, path: str, **body: Any) -> Any:
    """The data of a path of version 2 that must succeed."""
    answer = call(uri, f"/v2/vectordb/{path}", body)
    equal(answer.get("code"), 0, f"{path} {body}: {answer}")
    return answer["data"]


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


def wait(what: str, done: Any) -> None:
    end = time.time() + 60
    while not done():
        if time.time() > end:
            raise SystemExit(f"  FAIL  {what} took over a minute\nREST: 0 passed, 1 failed")
        time.sleep(0.1)


def every_family(client: MilvusClient, uri: str) -> None:
    """What is made over REST is there over gRPC, and the other way round."""
    base, name = f"{NAME}_db", "books"
    at = {"dbName": base, "collectionName": name}
    good(uri, "databases/create", dbName=base, properties={"database.max.collections": 10})
    equal(base in good(uri, "databases/list"), True, "databases/list")
    equal(good(uri, "databases/describe", dbName=base)["dbName"], base, "databases/describe")
    fields = [
        {"fieldName": "key", "dataType": "VarChar", "isPrimary": True, "elementTypeParams": {"max_length": 16}},
        {"fieldName": "tags", "dataType": "Array", "elementDataType": "Int32", "nullable": True, "elementTypeParams": {"max_capacity": 4}},
        {"fieldName": "facts", "dataType": "JSON"},
        {"fieldName": "age", "dataType": "Int8", "defaultValue": 7},
        {"fieldName": "v", "dataType": "FloatVector", "elementTypeParams": {"dim": "2"}},
        {"fieldName": "half", "dataType": "BFloat16Vector", "elementTypeParams": {"dim": "2"}},
    ]
    indexes = [
        {"fieldName": "v", "indexName": "v", "metricType": "L2", "params": {"index_type": "HNSW", "M": 8, "efConstruction": 64}},
        {"fieldName": "half", "metricType": "IP"},
    ]
    schema = {"enableDynamicField": True, "fields": fields}
    good(uri, "collections/create", **at, schema=schema, indexParams=indexes, params={"consistencyLevel": "Strong"})
    wait("loading", lambda: good(uri, "collections/get_load_state", **at)["loadState"] == "LoadStateLoaded")
    shown = good(uri, "collections/describe", **at)
    equal([field["name"] for field in shown["fields"]], [field["fieldName"] for field in fields], "fields")
    equal((shown["load"], shown["consistencyLevel"]), ("LoadStateLoaded", "Strong"), "a described collection")
    equal(sorted(good(uri, "indexes/list", **at)), ["half", "v"], "indexes/list")
    equal(good(uri, "indexes/describe", **at, indexName="v")[0]["indexType"], "HNSW", "indexes/describe")

    good(uri, "partitions/create", **at, partitionName="p")
    equal(good(uri, "partitions/list", **at), ["_default", "p"], "partitions/list")
    facts = {"big": 9007199254740993, "half": 1.50}
    rows = [{"key": "a", "tags": [1, 2], "facts": facts, "v": [1, 0], "half": [1, 0.5], "more": {"x": [1]}},
            {"key": "b", "tags": None, "facts": "text", "age": "8", "v": [2, 0], "half": "gD8AQA=="}]
    equal(good(uri, "entities/insert", **at, partitionName="p", data=rows), {"insertCount": 2, "insertIds": ["a", "b"]}, "insert")
    found = good(uri, "entities/get", **at, id=["a", "b"])
    equal([(row["key"], row["age"], row.get("more")) for row in found], [("a", 7, {"x": [1]}), ("b", 8, None)], "entities/get")
    equal([json.loads(row["facts"]) for row in found], [facts, "text"], "JSON fields")
    equal([row["tags"] for row in found], [{"Data": {"IntData": {"data": [1, 2]}}}, None], "arrays")
    over_grpc = MilvusClient(uri, db_name=base, timeout=30)
    equal(over_grpc.query(name, "key == 'a'", output_fields=["facts", "tags"])[0]["tags"], [1, 2], "rows over gRPC")
    over_grpc.close()
    hits = good(uri, "entities/search", **at, data=[[2, 0]], annsField="v", limit=2, outputFields=["age"])
    equal([(hit["id"], hit["distance"], hit["age"]) for hit in hits], [("b", 0, 8), ("a", 1, 7)], "entities/search")
    search = [{"data": [[2, 0]], "annsField": "v", "limit": 2}, {"data": ["gD8AQA=="], "annsField": "half", "limit": 2}]
    hits = good(uri, "entities/hybrid_search", **at, search=search, rerank={"strategy": "rrf", "params": {"k": 60}}, limit=1)
    equal([hit["id"] for hit in hits], ["b"], "entities/hybrid_search")
    equal(good(uri, "entities/upsert", **at, partitionName="p", data={"key": "a", "age": 9}, partialUpdate=True)["upsertCount"], 1, "upsert")
    ages = good(uri, "entities/query", **at, filter="age > {least}", exprParams={"least": 7}, outputFields=["age"], orderByFields=["age:desc"])
    equal([row["age"] for row in ages], [9, 8], "entities/query")
    equal(good(uri, "entities/delete", **at, filter="key == 'a'"), {"deleteCount": 1}, "entities/delete")
    equal(good(uri, "entities/query", **at, outputFields=["count(*)"]), [{"count(*)": 1}], "a count")
    good(uri, "collections/flush", **at)
    equal(good(uri, "partitions/get_stats", **at, partitionName="p")["rowCount"] >= 1, True, "partitions/get_stats")

    good(uri, "aliases/create", **at, aliasName="alias")
    equal(good(uri, "aliases/describe", dbName=base, aliasName="alias")["collectionName"], name, "aliases/describe")
    good(uri, "aliases/drop", dbName=base, aliasName="alias")
    good(uri, "collections/release", **at)
    good(uri, "collections/alter_properties", **at, properties={"collection.ttl.seconds": 3600})
    good(uri, "collections/drop_properties", **at, propertyKeys=["collection.ttl.seconds"])
    good(uri, "indexes/drop", **at, indexName="half")
    good(uri, "partitions/drop", **at, partitionName="p")
    good(uri, "collections/rename", **at, newCollectionName="films")
    equal(good(uri, "collections/list", dbName=base), ["films"], "collections/list")
    good(uri, "collections/drop", dbName=base, collectionName="films")
    good(uri, "databases/drop", dbName=base)
    answer = call(uri, "/v2/vectordb/file_resources/list", {})
    equal(answer["code"], 10, "what is not built")


def version_1(uri: str) -> None:
    """Case 113: what is made by version 1 is filled, searched, described and dropped by it."""
    name = f"{NAME}_v1"
    at = {"collectionName": name}
    equal(call(uri, "/v1/vector/collections/create", {**at, "dimension": 4, "metricType": "L2"}), {"code": 200, "data": {}}, "create")
    inserted = call(uri, "/v1/vector/insert", {**at, "data": [{"vector": [i, 0, 0, 0], "k": i} for i in range(3)]})
    equal((inserted["code"], inserted["data"]["insertCount"]), (200, 3), "insert")
    described = call(uri, f"/v1/vector/collections/describe?collectionName={name}", method="GET")
    equal((described["code"], described["data"]["collectionName"]), (200, name), "describe")

    def found() -> bool:
        answer = call(uri, "/v1/vector/search", {**at, "vector": [2, 0, 0, 0], "limit": 2, "outputFields": ["k"]})
        return answer["code"] == 200 and [hit["k"] for hit in answer["data"]] == [2, 1]

    wait("a search of version 1", found)
    equal(call(uri, "/v1/vector/collections/drop", at), {"code": 200, "data": {}}, "drop")


def the_oldest_api(client: MilvusClient, uri: str) -> None:
    """Cases 111 and 112: the messages that worked on Milvus, and the requests of the guide."""
    name = f"{NAME}_old"
    at = {"collection_name": name}
    fields = [{"name": "id", "data_type": 5, "is_primary_key": True}, {"name": "vector", "data_type": 101, "type_params": [{"key": "dim", "value": "4"}]}]
    equal(call(uri, "/api/v1/collection", {**at, "schema": {"name": name, "fields": fields}}), {}, "collection")
    data = [{"field_name": "id", "type": 5, "field": [1, 2, 3]}, {"field_name": "vector", "type": 101, "field": [[x] * 4 for x in (0.1, 0.2, 0.3)]}]
    equal(call(uri, "/api/v1/entities", {**at, "num_rows": 3, "fields_data": data})["insert_cnt"], 3, "entities")
    call(uri, "/api/v1/persist", {"collection_names": [name]})
    params = [{"key": "index_type", "value": "FLAT"}, {"key": "metric_type", "value": "L2"}]
    equal(call(uri, "/api/v1/index", {**at, "field_name": "vector", "extra_params": params}), {}, "index")
    equal(call(uri, "/api/v1/collection/load", at), {}, "load")
    client.load_collection(name)
    search = [{"key": "anns_field", "value": "vector"}, {"key": "topk", "value": "2"}, {"key": "params", "value": "{}"},
              {"key": "metric_type", "value": "L2"}, {"key": "round_decimal", "value": "2"}]
    body = {**at, "output_fields": ["id"], "search_params": search, "vectors": [[0.15, 0.15, 0.15, 0.16]], "dsl": "", "dsl_type": 1}
    results = call(uri, "/api/v1/search", body)["results"]
    equal((results["ids"]["IdField"]["IntId"]["data"], [round(score, 2) for score in results["scores"]]), ([2, 1], [0.01, 0.01]), "search")
    equal(call(uri, "/api/v1/collection/statistics", at, "GET")["stats"], [{"key": "row_count", "value": "3"}], "statistics")
    equal(client.query(name, "id > 1", output_fields=["id"], consistency_level="Strong"), [{"id": 2}, {"id": 3}], "rows over gRPC")
    equal(call(uri, "/api/v1/collection", at, "DELETE"), {}, "drop")
    guide = [{"name": "id", "dtype": "Int64", "is_primary": True}, {"name": "vector", "dtype": "FloatVector", "params": {"dim": 128}}]
    equal(call(uri, "/api/v1/collection", {**at, "schema": {"fields": guide}}), {}, "the guide's collection")
    shown = call(uri, f"/api/v1/collection/info?collection_name={name}", method="GET")
    equal(shown["schema"]["fields"][1]["type_params"], [{"key": "dim", "value": "128"}], "the guide's description")
    equal(client.has_collection(name), True, "the guide's collection over gRPC")
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
    every_family(client, uri)
    version_1(uri)
    the_oldest_api(client, uri)
    print("REST: 1 passed, 0 failed")


if __name__ == "__main__":
    main()
