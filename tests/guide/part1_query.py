"""Part 1, queries and their expressions."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator

import numpy as np
from harness import Server, case, equal, fails
from part1_schemas import (
    FLAT, L2, STRONG, count, created, doc3, doc5, documents, ids, key, plain, ready, rows, scalar, text, titles, uniform, vector,
)
from pymilvus import Collection, DataType

MANY = 20000  # more rows than a window has


@case
def case_1_046_what_is_not_loaded_is_not_read(server: Server) -> None:
    with created(server, "not_loaded", doc3()) as collection:
        with fails("index not found", code=700):
            collection.load()
        collection.create_index("embedding", FLAT)
        with fails("failed to query: collection not loaded", code=101):
            collection.query("id == 1")
        with fails("failed to search: collection not loaded", code=101):
            collection.search(uniform(1), "embedding", L2, limit=10)


@case
def case_1_047_rows_are_found_by_their_key(server: Server) -> None:
    with documents(server, "by_key") as collection:
        found = rows(collection, "id == 1", ["id", "title", "embedding"])
        equal([(row["id"], row["title"], len(row["embedding"])) for row in found], [(1, "文档1", 128)])
        equal(np.array(found[0]["embedding"], dtype=np.float32).tobytes(), uniform(2)[1].tobytes())
        wanted = [{"id": number, "title": f"文档{number}"} for number in (1, 10, 100)]
        equal(rows(collection, f"id in {[1, 10, 100, 1000]}", ["id", "title"]), wanted)
        equal([dict(row) for row in collection.query("id in [1, 10]", **STRONG)], [{"id": 1}, {"id": 10}])


@case
def case_1_048_numbers_are_compared_and_combined(server: Server) -> None:
    both = "(id > 100 and id < 200) or (id > 800 and id < 900)"
    wanted = {
        "id > 100 and id < 200": list(range(101, 200)),
        both: [*range(101, 200), *range(801, 900)],
        "not (id < 990)": list(range(990, 1000)),
        "id not in [1,2] and id < 10": [0, 3, 4, 5, 6, 7, 8, 9],
        "id != 1 and id <= 10 and id >= 0": [0, *range(2, 11)],
    }
    with documents(server, "compared") as collection:
        for expr, numbers in wanted.items():
            equal(ids(collection, expr), numbers, expr)
        equal(ids(collection, "id > 100 and id < 200", limit=10), list(range(101, 111)))
        equal(ids(collection, both, limit=20), list(range(101, 121)))


@case
def case_1_048a_operators_have_several_spellings(server: Server) -> None:
    """What else 0.8 of the guide says of expressions; words in capitals are of later versions."""
    wanted = {
        "0 < id < 3": [1, 2],
        "id > 2 && id < 5": [3, 4],
        "id > 2 AND id < 5": [3, 4],
        "id < 1 || id > 998": [0, 999],
        "id < 1 OR id > 998": [0, 999],
        "!(id < 998)": [998, 999],
        "NOT (id < 998)": [998, 999],
    }
    with documents(server, "spellings") as collection:
        for expr, numbers in wanted.items():
            equal(ids(collection, expr), numbers, expr)
        with fails("not op can only be applied on boolean expression", code=(65535, 1100)):
            collection.query("not id == 1")


@case
def case_1_049_texts_are_compared_by_their_beginning(server: Server) -> None:
    with documents(server, "prefixes") as collection:
        beginning = [number for number in range(1000) if str(number).startswith("1")]
        equal(ids(collection, 'title like "文档1%"'), beginning)
        equal(len(beginning), 111)
        equal(ids(collection, 'id > 100 and id < 500 and title like "文档%"'), list(range(101, 500)))
        for quoted in (f"title in {['文档1', '文档10', '文档100']}", 'title in ["文档1", "文档10", "文档100"]'):
            equal(ids(collection, quoted), [1, 10, 100], quoted)


@case
def case_1_050_texts_are_compared_by_their_end_and_middle(server: Server) -> None:
    with documents(server, "infixes") as collection:
        for infix, wanted in (('"%9"', 100), ('"%99%"', 19)):
            match = str.endswith if infix == '"%9"' else str.__contains__
            numbers = [number for number in range(1000) if match(str(number), infix.strip('"%'))]
            equal(len(numbers), wanted)
            equal(ids(collection, f"title like {infix}"), numbers, infix)


@case
def case_1_051_truth_values_are_compared(server: Server) -> None:
    fields = [key(), text("title"), scalar("is_deleted", DataType.BOOL), scalar("deleted_at", DataType.INT64), vector()]
    with created(server, "truths", fields, {"description": "支持软删除"}) as collection:
        collection.insert([[1, 2, 3], titles(range(1, 4)), [True, True, False], [100, 200, 0], uniform(3)])
        ready(collection)
        for spelling in ("false", "False", "FALSE"):
            equal(ids(collection, f"is_deleted == {spelling}"), [3], spelling)
        for spelling in ("true", "True", "TRUE"):
            equal(ids(collection, f"is_deleted == {spelling} and deleted_at < 200"), [1], spelling)
        with fails("predicate is not a boolean expression"):
            collection.query("is_deleted", **STRONG)


@case
def case_1_052_paths_into_json_are_compared(server: Server) -> None:
    values = [
        {"views": 1000, "tags": ["AI", "ML"], "n": {"k": 1}},
        {"views": 600, "tags": ["DL"], "n": {"k": 2}},
        {"views": 601.5, "tags": [], "n": {}},
        {"author": "张三"},
    ]
    with created(server, "paths", [key(), scalar("metadata", DataType.JSON), vector(8)]) as collection:
        collection.insert([[1, 2, 3, 4], values, uniform(4, 8)])
        ready(collection)
        wanted = {'metadata["views"] > 600': [1, 3], 'metadata["n"]["k"] == 1': [1], 'json_contains(metadata["tags"], "AI")': [1]}
        for expr, numbers in wanted.items():
            equal(ids(collection, expr), numbers, expr)


@case
def case_1_053_pages_follow_each_other(server: Server) -> None:
    with documents(server, "pages", 1023) as collection:
        pages: list[list[int]] = []
        while page := ids(collection, "id > 0", limit=100, offset=100 * len(pages)):
            pages.append(page)
        equal(len(pages), 11)
        equal(sum(pages, []), list(range(1, 1023)))
        # An offset alone is ignored (wire-api, 2.10).
        equal(ids(collection, "id > 0", offset=10), list(range(1, 1023)))


@contextlib.contextmanager
def many(server: Server, name: str) -> Iterator[Collection]:
    with created(server, name, plain(2)) as collection:
        collection.insert([np.arange(MANY), uniform(MANY, 2)])
        yield ready(collection)


@case
def case_1_054_a_page_ends_within_the_first_16384_rows(server: Server) -> None:
    with many(server, "windows") as collection:
        equal(ids(collection, "id >= 0", limit=16384), list(range(16384)))
        equal(ids(collection, "id >= 0", limit=384, offset=16000), list(range(16000, 16384)))
        said = "invalid max query result window, (offset+limit) should be in range [1, 16384], but got"
        with fails(f"{said} 16385"):
            collection.query("id >= 0", limit=16385)
        with fails(f"{said} 20000"):
            collection.query("id >= 0", limit=10000, offset=10000)


@case
def case_1_055_without_a_limit_all_rows_come(server: Server) -> None:
    with many(server, "limitless") as collection:
        equal(ids(collection, "id >= 0"), list(range(MANY)))
        with fails("empty expression should be used with limit"):
            collection.query("", output_fields=["id"])
        equal([dict(row) for row in collection.query("", output_fields=["count(*)"], **STRONG)], [{"count(*)": MANY}])


@case
def case_1_056_a_list_may_have_fifty_thousand_keys(server: Server) -> None:
    with many(server, "long_lists") as collection:
        equal(ids(collection, f"id in {list(range(-15000, 35000))}"), list(range(MANY)))
        equal(ids(collection, "id in []"), [])


@case
def case_1_057_wrong_expressions_are_named(server: Server) -> None:
    # What "s > 5" says has the other words of later versions: wire-api, 3.4.
    wrong = {
        "zzz == 1": "cannot parse expression: zzz == 1, error: field zzz not exist",
        "id === 1": "token recognition error",
        "title > 5": "comparisons between VarChar and Int64 are not supported",
    }
    with documents(server, "wrong_expressions", 10) as collection:
        for expr, said in wrong.items():
            with fails(said, code=(65535, 1100)):
                collection.query(expr, **STRONG)
            with fails(said, code=(65535, 1100)):
                collection.search(uniform(1), "embedding", L2, limit=1, expr=expr)
        with fails("field zzz not exist", code=(65535, 1100)):
            collection.query("id == 1", output_fields=["zzz"])
        equal(ids(collection, "id == 1"), [1])


@case
def case_1_058_a_star_stands_for_all_fields(server: Server) -> None:
    data = uniform(5000)
    with created(server, "stars", doc5()) as collection:
        numbers = np.random.default_rng(7).permutation(5000)
        categories, times = ["技术", "新闻", "博客", "AI"], 1_700_000_000
        collection.insert([numbers, [f"文档{each}" for each in numbers], [categories[each % 4] for each in numbers], numbers + times, data[numbers]])
        found = rows(ready(collection), "id >= 0", ["*"], limit=10000)
        vectors = np.array([row.pop("embedding") for row in found], dtype=np.float32)
        equal(vectors.tobytes(), data.tobytes())
        wanted = [{"id": each, "title": f"文档{each}", "category": categories[each % 4], "timestamp": times + each} for each in range(5000)]
        equal(found, wanted)


@case
def case_1_059_ranges_of_keys_rebuild_a_collection(server: Server) -> None:
    data = uniform(5000)
    with created(server, "backed_up", doc3()) as source, created(server, "documents_restored", doc3()) as copy:
        source.insert([list(range(5000)), titles(range(5000)), data])
        ready(source)
        for begin in range(0, 5000, 1000):
            page = rows(source, f"id >= {begin} and id < {begin + 1000}", ["*"])
            copy.insert([[row[name] for row in page] for name in ("id", "title", "embedding")])
        ready(copy, flush=True)
        equal(copy.num_entities, 5000)
        for name in ("id", "title"):
            equal([row[name] for row in rows(copy, "id >= 0", [name])], [row[name] for row in rows(source, "id >= 0", [name])], name)
        found = np.array([row["embedding"] for row in rows(copy, "id >= 0", ["embedding"])], dtype=np.float32)
        equal(found.tobytes(), data.tobytes())


@case
def case_1_060_texts_are_keys_too(server: Server) -> None:
    fields = [key(dtype=DataType.VARCHAR, max_length=36), text("text"), vector()]
    with created(server, "custom_str_id", fields, {"description": "VARCHAR主键"}) as collection:
        names = [str(uuid.UUID(int=number)) for number in range(1, 101)] + [f"ORDER{number:08d}" for number in range(100)]
        collection.insert([names, [f"文本{number}" for number in range(200)], uniform(200)])
        ready(collection)
        equal(rows(collection, f'id == "{names[5]}"', ["id", "text"]), [{"id": names[5], "text": "文本5"}])
        equal(ids(collection, f"id in {['ORDER00000001', 'ORDER00000002', 'nothing']}"), ["ORDER00000001", "ORDER00000002"])
        equal(ids(collection, 'id >= "ORDER00000010" and id < "ORDER00000020"'), names[110:120])
        equal(collection.delete(f'id == "{names[5]}"').delete_count, 1)
        equal(ids(collection, f'id == "{names[5]}"'), [])
        equal(count(collection), 199)
