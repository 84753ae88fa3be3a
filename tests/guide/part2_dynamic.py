"""Part 2, chapter 7.3: rows with fields that the schema does not have (cases 91 to 97)."""

from __future__ import annotations

from typing import Any

from pymilvus import Collection, MilvusClient
from pymilvus.exceptions import DataNotMatchException

import fixtures as of
from harness import Server, case, equal, fails

FILTERS: dict[str, list[int]] = {
    'category == "技术"': [1],
    "rating > 4": [2],
    "year == 2024": [3],
    "year == 2024.0": [3],
    'year == "2024"': [],
    "price in [99.99]": [4],
    'title like "文档%"': [1, 2, 3, 4, 5],
    "nokey == 1": [],
}
PATHS: dict[str, list[int]] = {
    'tags[0] == "AI"': [1],
    'json_contains(tags,"AI")': [1],
    "array_length(tags) == 2": [1],
    "exists tags": [1],
    '$meta["title"] == "文档1"': [1],
    "stock + 1 == 101": [4],
    "exists author": [2],
}


def matching(target: Collection, wanted: dict[str, list[int]]) -> None:
    """Queries and searches find these rows by these filters."""
    equal({expr: of.keys(target, expr) for expr in wanted}, wanted, "what queries find")
    query = [0.0] * 128
    found = {expr: sorted(of.ids(of.search(target, query, 10, of.FLAT, expr=expr))) for expr in wanted}
    equal(found, wanted, "what searches find")


@case
def case_2_091_rows_have_what_they_were_given_and_nothing_else(server: Server) -> None:
    target = of.dynamic(server)
    equal(target.schema.enable_dynamic_field, True, "whether fields are dynamic")
    names = ["title", "category", "author"]
    hits = target.search([[0.0] * 128], "embedding", of.FLAT, 10, output_fields=["id", *names])[0]
    found = {hit.id: {name: hit.entity.get(name) for name in names} for hit in hits}
    equal(found, {row + 1: {name: given.get(name) for name in names} for row, given in enumerate(of.DYNAMIC)})


@case
def case_2_092_filters_take_undeclared_fields_as_they_are(server: Server) -> None:
    matching(of.dynamic(server), FILTERS)


@case
def case_2_093_filters_reach_into_undeclared_fields(server: Server) -> None:
    matching(of.dynamic(server), PATHS)


@case
def case_2_094_all_undeclared_fields_are_given_together(server: Server) -> None:
    target = of.dynamic(server)
    for names in (["$meta"], ["*"]):
        rows = target.query("id > 0", output_fields=names)
        found = {row["id"]: {key: value for key, value in row.items() if key not in ("id", "embedding")} for row in rows}
        # A client gives them one by one, or as the one field that they are kept in.
        plain = {key: row.get("$meta", row) for key, row in found.items()}
        equal(plain, {row + 1: given for row, given in enumerate(of.DYNAMIC)}, f"the fields by {names}")
        hits = target.search([[0.0] * 128], "embedding", of.FLAT, 10, output_fields=names)[0]
        equal({hit.id: undeclared(hit.fields) for hit in hits}, {row + 1: given for row, given in enumerate(of.DYNAMIC)})


def undeclared(fields: dict[str, Any]) -> dict[str, Any]:
    rest = {key: value for key, value in fields.items() if key not in ("id", "embedding")}
    return rest.get("$meta", rest)


@case
def case_2_095_columns_are_those_of_the_schema(server: Server) -> None:
    server.connect()
    target = of.make_dynamic(of.unique("columns"))
    vectors = of.random_vectors(2, 128, 8).tolist()
    target.insert([[7, 8], vectors])
    equal(of.keys(target, "id > 0"), list(range(1, 9)))
    with fails("expect 2 list, got 3", kind=DataNotMatchException):
        target.insert([[9, 10], vectors, [{"title": "文档9"}, {"title": "文档10"}]])
    strict = of.collection(of.unique("strict"), [of.key(), of.vector(128)])
    with fails("unexpected field `title`"):
        strict.insert([{"id": 1, "embedding": vectors[0], "title": "文档1"}])
    equal(of.keys(target, "id > 6"), [7, 8])


@case
def case_2_096_undeclared_fields_have_indexes(server: Server) -> None:
    server.connect()
    target = of.make_dynamic(of.unique("paths"))
    paths = {"category": "varchar", "rating": "double", "title": "varchar"}
    for path, cast in paths.items():
        made = {"index_type": "INVERTED", "params": {"json_path": path, "json_cast_type": cast}}
        target.create_index(path, made, index_name=f"{path}_index")
    client: MilvusClient = server.client()
    equal(set(client.list_indexes(target.name)), {"embedding", *(f"{path}_index" for path in paths)}, "the indexes")
    matching(target, FILTERS)


@case
def case_2_097_rows_come_with_fields_of_their_own_later(server: Server) -> None:
    server.connect()
    target = of.make_dynamic(of.unique("views"))
    categories, views = ["技术", "科学", "技术", "艺术", "技术"], [1000, 500, 800, 300, 1200]
    vectors = of.random_vectors(5, 128, 9).tolist()
    target.insert([
        {"id": 10 + at, "embedding": vectors[at], "title": f"文档{10 + at}", "category": categories[at], "views": views[at]} for at in range(5)
    ])
    matching(target, {"views > 700": [10, 12, 14], 'category == "技术" and views >= 800': [10, 12, 14]})
