"""Part 1, indexes of scalars."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
from harness import Server, case, equal, fails, holds
from part1_schemas import FLAT, IVF, L2, ROWS, STRONG, count, created, ids, key, nearest, ready, scalar, text, titles, uniform, vector
from pymilvus import Collection, DataType
from pymilvus.exceptions import AmbiguousIndexName

CATEGORIES = np.array(["电子", "服装", "食品", "图书"])
START = 1_700_000_000
EXPRESSIONS = (
    'category == "电子" and price > 500',
    'category == "服装" or category == "图书"',
    'category in ["电子", "服装", "食品"]',
    'category == "食品" and price > 500 and timestamp > 1700001000',
    "price > 100 and price < 500",
    "timestamp >= 1700000100 and timestamp < 1700000200",
    'not (category == "电子") and price <= 50',
    'category like "图%" and timestamp % 7 == 3',
    "price >= 999",
    'category == "没有"',
)


def prices() -> np.ndarray:
    return np.random.default_rng(7).uniform(10, 1000, ROWS).astype(np.float32)


@contextlib.contextmanager
def sold(server: Server, name: str) -> Iterator[Collection]:
    """SCAL with four categories in turn, prices from 10 to 1000 and a second for each row; sealed, and without an index."""
    fields = [key(), text("title"), text("category", 50), scalar("price", DataType.FLOAT), scalar("timestamp", DataType.INT64), vector()]
    with created(server, name, fields) as collection:
        numbers = np.arange(ROWS)
        collection.insert([numbers, titles(range(ROWS)), CATEGORIES[numbers % 4].tolist(), prices(), numbers + START, uniform(ROWS)])
        collection.flush()
        yield collection


def answers(collection: Collection) -> list[tuple[list[int], list[int]]]:
    """What each expression finds by a query, and by a search."""
    query = uniform(1)
    return [
        (ids(collection, expr), list(collection.search(query, "embedding", L2, limit=10, expr=expr, **STRONG)[0].ids))
        for expr in EXPRESSIONS
    ]


@case
def case_1_106_indexes_of_scalars_change_no_answer(server: Server) -> None:
    names = {"category_index": "category", "price_index": "price", "timestamp_index": "timestamp"}
    with sold(server, "scalar_index_demo") as collection:
        ready(collection)
        before = answers(collection)
        collection.release()
        for name, field in names.items():
            collection.create_index(field_name=field, index_name=name)
        equal({each.index_name: each.field_name for each in collection.indexes}, {"embedding": "embedding", **names})
        collection.load()
        equal(answers(collection), before)
        dear = np.flatnonzero((np.arange(ROWS) % 4 == 0) & (prices() > 500))
        equal(before[0][0], dear.tolist())
        order = [int(each) for each in nearest(uniform(ROWS), uniform(1), "L2", ROWS)[0] if each in set(dear.tolist())]
        equal(before[0][1], order[:10])
        fields = ["id", "title", "category", "price"]
        equal(len(collection.query(EXPRESSIONS[0], output_fields=fields, limit=100, **STRONG)), 100)


@case
def case_1_107_every_type_of_scalar_index_is_right(server: Server) -> None:
    kinds = {
        "category": ("INVERTED", "AUTOINDEX", "Trie", "BITMAP"),
        "price": ("INVERTED", "AUTOINDEX", "STL_SORT"),
        "timestamp": ("INVERTED", "AUTOINDEX", "STL_SORT", "BITMAP"),
    }
    with sold(server, "scalar_types") as collection:
        ready(collection)
        before = answers(collection)
        for turn in range(4):
            collection.release()
            made = {field: types[turn] for field, types in kinds.items() if turn < len(types)}
            for field, kind in made.items():
                collection.create_index(field, {"index_type": kind})
            shown = {each.field_name: each.params["index_type"] for each in collection.indexes if each.field_name != "embedding"}
            equal(shown, made)
            collection.load()
            equal(answers(collection), before, f"what is found with {made}")
            for field in made:
                collection.drop_index(index_name=field)
        with fails("invalid index type: AUTO_INDEX"):
            collection.create_index("category", {"index_type": "AUTO_INDEX"})


@case
def case_1_107a_truth_values_and_json_have_indexes_too(server: Server) -> None:
    fields = [key(), scalar("flag", DataType.BOOL), scalar("data", DataType.JSON), vector(8)]
    with created(server, "other_scalars", fields) as collection:
        collection.insert([list(range(2000)), [each % 3 == 0 for each in range(2000)], [{"n": each % 5} for each in range(2000)], uniform(2000, 8)])
        ready(collection, flush=True)
        for kind in ("INVERTED", "BITMAP", "AUTOINDEX"):
            collection.create_index("flag", {"index_type": kind})
            collection.release()
            collection.load()
            equal(ids(collection, "flag == true"), list(range(0, 2000, 3)))
            collection.drop_index(index_name="flag")
        # Of JSON since 2.5, by a path and a type (wire-api, 2.13).
        with fails("json index must specify cast type: missing parameter"):
            collection.create_index("data", {"index_type": "INVERTED"})
        params = {"json_path": 'data["n"]', "json_cast_type": "DOUBLE"}
        collection.create_index("data", {"index_type": "INVERTED", "params": params}, index_name="path")
        collection.release()
        collection.load()
        equal(ids(collection, 'data["n"] == 4'), list(range(4, 2000, 5)))


@case
def case_1_108_an_index_of_several_is_dropped_by_its_name(server: Server) -> None:
    with sold(server, "several_indexes") as collection:
        collection.create_index("embedding", FLAT)
        for field in ("category", "price"):
            collection.create_index(field_name=field, index_name=f"{field}_index")
        with fails("There are multiple indexes, please specify the index_name.", kind=AmbiguousIndexName):
            collection.drop_index()
        collection.drop_index(index_name="price_index")
        equal({each.index_name for each in collection.indexes}, {"embedding", "category_index"})
        wanted = {"category_index": True, "price_index": False, "embedding": True}
        equal({name: collection.has_index(index_name=name) for name in wanted}, wanted)


@case
def case_1_109_filters_of_indexed_fields_count_right(server: Server) -> None:
    """The guide only reports how much faster an index is: of so few rows it is nothing beside the call."""
    with sold(server, "scalar_counts") as collection:
        for field in ("category", "price"):
            collection.create_index(field_name=field, index_name=f"{field}_index")
        ready(collection, IVF)
        for category in CATEGORIES:
            equal(count(collection, f'category == "{category}"'), ROWS // 4)
        cheapest = float(np.sort(prices())[ROWS // 1000 - 1])
        for low, high in ((100, 500), (0, 10_000), (10, cheapest + 0.001), (500, 500.5)):
            wanted = int(((prices() >= np.float32(low)) & (prices() < np.float32(high))).sum())
            equal(count(collection, f"price >= {low} and price < {high}"), wanted)
        holds(count(collection, f"price <= {cheapest + 0.001}") == ROWS // 1000, "a thousandth of the rows is that cheap")
