"""Part 1, the paths of HTTP."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

from harness import Server, case, equal, holds
from part1_connection import AUTHORIZED
from part1_schemas import FLAT, L2, STRONG, connect, drop, ids
from pymilvus import Collection, utility

JSON = dict[str, Any]


def http(method: str, url: str, body: Any = None, **headers: str) -> tuple[int, str]:
    data = None if body is None else json.dumps(body).encode()
    kind = {} if data is None else {"content-type": "application/json"}
    request = urllib.request.Request(url, data, {**kind, **headers}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def ask(method: str, url: str, body: Any = None, **headers: str) -> JSON:
    status, said = http(method, url, body, **headers)
    equal(status, 200, f"the status of {method} {url}, which says {said}")
    return json.loads(said)


def operators(server: Server) -> str:
    return f"http://127.0.0.1:{server.metrics_port}"


@case
def case_1_110_the_port_of_operators_tells_health_and_figures(server: Server) -> None:
    equal(http("GET", f"{operators(server)}/healthz"), (200, "OK"))
    status, said = http("GET", f"{operators(server)}/api/v1/health")
    equal((status, json.loads(said)), (200, {"status": "ok"}))
    connect(server)
    utility.list_collections()
    status, said = http("GET", f"{operators(server)}/metrics")
    families = {line.split()[2] for line in said.splitlines() if line.startswith("# TYPE ")}
    equal(status, 200)
    for prefix in ("milvus_proxy_", "milvus_querynode_"):
        holds(any(family.startswith(prefix) for family in families), f"there are figures {prefix}*")


@case
def case_1_111_the_oldest_api_works_with_its_own_messages(server: Server) -> None:
    """On the port of clients, where users are checked; on the port of operators nothing is changed."""
    named = {"collection_name": "rest_example"}

    def call(method: str, path: str, **body: Any) -> JSON:
        return ask(method, f"{server.uri}/api/v1/{path}", {**named, **body})

    connect(server)
    drop("rest_example")
    dim = [{"key": "dim", "value": "4"}]
    fields = [{"name": "id", "data_type": 5, "is_primary_key": True}, {"name": "vector", "data_type": 101, "type_params": dim}]
    equal(call("POST", "collection", schema={"name": "rest_example", "fields": fields}), {})
    columns = [
        {"field_name": "id", "type": 5, "field": [1, 2, 3]},
        {"field_name": "vector", "type": 101, "field": [[value] * 4 for value in (0.1, 0.2, 0.3)]},
    ]
    inserted = call("POST", "entities", num_rows=3, fields_data=columns)
    equal((inserted["status"], inserted["insert_cnt"], inserted["IDs"]), ({}, 3, {"IdField": {"IntId": {"data": [1, 2, 3]}}}))
    equal(call("POST", "persist", collection_names=["rest_example"]), {"status": {}})
    extra = [{"key": "index_type", "value": "FLAT"}, {"key": "metric_type", "value": "L2"}]
    equal(call("POST", "index", field_name="vector", extra_params=extra), {})
    equal(call("POST", "collection/load"), {})
    params = {"anns_field": "vector", "topk": "2", "params": '{"nprobe":10}', "metric_type": "L2", "round_decimal": "-1"}
    pairs = [{"key": key, "value": value} for key, value in params.items()]
    found = call("POST", "search", output_fields=["id"], vectors=[[0.15, 0.15, 0.15, 0.16]], dsl="", dsl_type=1, search_params=pairs)["results"]
    equal(found["ids"], {"IdField": {"IntId": {"data": [2, 1]}}})
    equal([round(score, 4) for score in found["scores"]], [0.0091, 0.0111])
    rows = call("POST", "query", expr="id > 1", output_fields=["id"])
    equal(rows["fields_data"][0]["Field"], {"Scalars": {"Data": {"LongData": {"data": [2, 3]}}}})
    equal(call("GET", "collection/statistics")["stats"], [{"key": "row_count", "value": "3"}])
    collection = Collection("rest_example")
    equal(ids(collection, "id >= 0"), [1, 2, 3])
    collection.insert([[4], [[0.4] * 4]])
    equal(ids(collection, "id >= 0"), [1, 2, 3, 4])
    rows = call("POST", "query", expr="id > 2", output_fields=["id"])
    equal(rows["fields_data"][0]["Field"], {"Scalars": {"Data": {"LongData": {"data": [3, 4]}}}})
    equal(call("DELETE", "collection"), {})
    equal(utility.has_collection("rest_example"), False)


def printed() -> list[tuple[str, str, Any]]:
    """The guide's four requests as it prints them."""
    fields = [{"name": "id", "dtype": "Int64", "is_primary": True}, {"name": "vector", "dtype": "FloatVector", "params": {"dim": 128}}]
    columns = [
        {"field_name": "id", "type": "Int64", "field": [1, 2, 3]},
        {"field_name": "vector", "type": "FloatVector", "field": [[value] * 128 for value in (0.1, 0.2, 0.3)]},
    ]
    return [
        ("POST", "collection", {"collection_name": "rest_example", "schema": {"fields": fields}}),
        ("POST", "entities", {"collection_name": "rest_example", "fields_data": columns}),
        ("POST", "search", {"collection_name": "rest_example", "vectors": [[0.15] * 128], "dsl_type": "Dsl", "params": {"nprobe": 10}, "limit": 5}),
        ("GET", "collection/info?collection_name=rest_example", None),
    ]


@case
def case_1_112_the_requests_that_the_guide_prints_are_answered(server: Server) -> None:
    connect(server)
    drop("rest_example")
    for method, path, body in printed():
        status, said = http(method, f"{operators(server)}/api/v1/{path}", body)
        equal((status, isinstance(json.loads(said), dict)), (404, True), "the answer of the port of operators")
        holds(f"port {server.port}" in said, "it says where clients are served")
    equal(utility.has_collection("rest_example"), False)
    made, inserted, searched, described = (ask(method, f"{server.uri}/api/v1/{path}", body) for method, path, body in printed())
    equal((made, inserted["insert_cnt"], searched["code"]), ({}, 3, 101))
    equal(described["schema"]["fields"][1]["type_params"], [{"key": "dim", "value": "128"}])
    collection = Collection("rest_example")
    collection.create_index("vector", FLAT)
    collection.load()
    hits = collection.search([[0.19] * 128], "vector", L2, limit=5, **STRONG)[0]
    equal(list(hits.ids), [2, 1, 3])
    method, path, body = printed()[2]
    found = ask(method, f"{server.uri}/api/v1/{path}", body)["results"]
    equal(sorted(found["ids"]["IdField"]["IntId"]["data"]), [1, 2, 3])
    drop("rest_example")


@case
def case_1_113_the_first_rest_api_works_and_wants_a_user(server: Server) -> None:
    named = {"collectionName": "books"}
    with server.another(AUTHORIZED) as own:
        base = f"{own.uri}/v1/vector"
        new = {**named, "dimension": 4, "metricType": "L2"}
        status, said = http("POST", f"{base}/collections/create", new)
        equal((status, json.loads(said)["code"]), (401, 1800))
        user = {"Authorization": "Bearer root:Milvus"}
        equal(ask("POST", f"{base}/collections/create", new, **user), {"code": 200, "data": {}})
        inserted = ask("POST", f"{base}/insert", {**named, "data": [{"vector": [value] * 4} for value in (0.1, 0.2, 0.3)]}, **user)
        equal((inserted["code"], inserted["data"]["insertCount"]), (200, 3))
        keys = inserted["data"]["insertIds"]
        found = ask("POST", f"{base}/search", {**named, "vector": [0.15, 0.15, 0.15, 0.16], "limit": 2, "outputFields": ["id"]}, **user)
        equal((found["code"], [str(hit["id"]) for hit in found["data"]]), (200, [str(keys[1]), str(keys[0])]))
        equal([round(hit["distance"], 4) for hit in found["data"]], [0.0091, 0.0111])
        described = ask("GET", f"{base}/collections/describe?collectionName=books", **user)
        equal((described["code"], described["data"]["collectionName"]), (200, "books"))
        for headers in ({}, {"Authorization": "Bearer root:wrong"}):
            status, said = http("POST", f"{base}/search", {**named, "vector": [0.15] * 4}, **headers)
            equal((status, json.loads(said)["code"]), (401, 1800))
        for path in ("collection", "entities", "search"):
            # Nothing of clients is on the port of operators; where it is served, a user is wanted.
            equal(http("POST", f"{operators(own)}/api/v1/{path}", named)[0], 404)
            equal(http("POST", f"{own.uri}/api/v1/{path}", named)[0], 401)
        equal(http("GET", f"{own.uri}/api/v1/collections")[0], 401)
        equal(ask("GET", f"{own.uri}/api/v1/collections", **user)["collection_names"], ["books"])
        equal(ask("POST", f"{base}/collections/drop", named, **user), {"code": 200, "data": {}})
        equal(ask("GET", f"{base}/collections", **user), {"code": 200, "data": []})
