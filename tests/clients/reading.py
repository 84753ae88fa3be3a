"""Hybrid search, rankers, groups, aggregates, order and iterators: what comes back, in which order, compared with NumPy and plain Python.

    reading.py URI [REST_OF_NAME …]     only the claims whose name contains one of the words
"""

from __future__ import annotations

import json
import logging
import math
import sys
import time
import urllib.request
from typing import Any, Callable

import numpy as np
from pymilvus import AnnSearchRequest, DataType, Function, FunctionType, MilvusClient, RRFRanker, SearchAggregation, TopHits, WeightedRanker

from suite import close, equal, refused, tried

ROWS = 2_000
DIM = 16
TAG = f"{int(time.time() * 1000) % 10**9}"
CLAIMS: list[Callable[["World"], None]] = []
Row = dict[str, Any]


def claim(check: Callable[["World"], None]) -> Callable[["World"], None]:
    CLAIMS.append(check)
    return check


class World:
    """A collection of two shards, half of its rows sealed, and the small one of the guide's hybrid searches."""

    def __init__(self, uri: str) -> None:
        self.uri, self.client = uri, MilvusClient(uri, timeout=60)
        self.name, self.small = f"reading_{TAG}", f"mm_{TAG}"
        self.vectors = np.random.default_rng(5).standard_normal((ROWS, DIM)).astype(np.float32)
        self.rows = [self.row(key) for key in range(ROWS)]
        self.make_large()
        self.make_small()

    def row(self, key: int) -> Row:
        # Group 0 has nearly everything, so that the others are hidden behind it.
        group = 0 if key % 10 else key // 10 % 23 + 1
        return {
            "id": key,
            "group": group,
            "maker": None if key % 5 == 0 else f"maker {key % 4}",
            "price": (key * 37 % 101) / 4,
            "vec": self.vectors[key].tolist(),
            "colour": ["red", "green", "blue"][key % 3],
        }

    def make_large(self) -> None:
        schema = self.client.create_schema(enable_dynamic_field=True)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("group", DataType.INT16)
        schema.add_field("maker", DataType.VARCHAR, max_length=20, nullable=True)
        schema.add_field("price", DataType.DOUBLE)
        schema.add_field("vec", DataType.FLOAT_VECTOR, dim=DIM)
        index = self.client.prepare_index_params()
        index.add_index("vec", index_type="HNSW", metric_type="L2", params={"M": 16, "efConstruction": 200})
        self.client.create_collection(self.name, schema=schema, index_params=index, num_shards=2)
        self.client.insert(self.name, self.rows[: ROWS // 2])
        self.client.flush(self.name)
        self.client.insert(self.name, self.rows[ROWS // 2 :])

    def make_small(self) -> None:
        schema = self.client.create_schema()
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("text", DataType.FLOAT_VECTOR, dim=2)
        schema.add_field("image", DataType.FLOAT_VECTOR, dim=2)
        index = self.client.prepare_index_params()
        index.add_index("text", index_type="FLAT", metric_type="COSINE")
        index.add_index("image", index_type="FLAT", metric_type="L2")
        self.client.create_collection(self.small, schema=schema, index_params=index)
        texts, images = [[1, 0], [0.6, 0.8], [0, 1], [-1, 0]], [[0, 0], [1, 0], [3, 0], [7, 0]]
        # The images lie 6.76, 2.56, 0.16 and 19.36 from (2.6, 0).
        self.client.insert(self.small, [{"id": at + 1, "text": texts[at], "image": images[at]} for at in range(4)])

    def search(self, query: np.ndarray, **more: Any) -> list[Any]:
        given = {"anns_field": "vec", "search_params": {"params": {"ef": ROWS}}, "consistency_level": "Strong", **more}
        return self.client.search(self.name, [query.tolist()], **given)[0]

    def nearest(self, query: np.ndarray, keep: Callable[[Row], bool] = lambda row: True) -> list[tuple[int, float]]:
        scores = ((self.vectors.astype(np.float64) - query.astype(np.float64)) ** 2).sum(axis=1)
        return [(int(key), float(scores[key])) for key in np.argsort(scores, kind="stable") if keep(self.rows[key])]

    def hybrid(self, rerank: Any, limit: int = 4, few: int = 4, **more: Any) -> list[tuple[int, float]]:
        text = AnnSearchRequest([[1, 0]], "text", {"metric_type": "COSINE", "params": {}}, 4)
        image = AnnSearchRequest([[2.6, 0]], "image", {"metric_type": "L2", "params": {}}, few, **more.pop("image", {}))
        hits = self.client.hybrid_search(self.small, [text, image], rerank, limit=limit, consistency_level="Strong", **more)[0]
        return [(hit["id"], hit["distance"]) for hit in hits]


def ranked(found: list[tuple[int, float]], wanted: list[tuple[int, float]], what: str) -> None:
    equal([key for key, _ in found], [key for key, _ in wanted], what)
    for (key, score), (_, expected) in zip(found, wanted):
        if abs(score - expected) > 2e-6:
            raise AssertionError(f"{what}: {key} has {score}, wanted {expected}")


# ---------------------------------------------------------------- hybrid search (the guide's cases 108 to 113)


@claim
def reciprocal_ranks_are_those_of_the_guide(world: World) -> None:
    ranked(world.hybrid(RRFRanker(60), few=2), [(3, 0.0322665), (2, 0.0322581), (1, 0.0163934), (4, 0.015625)], "k 60")
    ranked(world.hybrid(RRFRanker(), few=2), [(3, 0.0322665), (2, 0.0322581), (1, 0.0163934), (4, 0.015625)], "k by default")
    ranked(world.hybrid(RRFRanker(1), few=2), [(3, 0.75), (2, 0.666667), (1, 0.5), (4, 0.2)], "k 1")
    for k in (0, 16384):
        refused(lambda: world.hybrid(RRFRanker(k)), (1100, 65535), "The rank params k should be in range (0, 16384)")


@claim
def weighted_scores_are_those_of_the_guide(world: World) -> None:
    ranked(world.hybrid(WeightedRanker(0.6, 0.4)), [(3, 0.659599), (1, 0.637399), (2, 0.574830), (4, 0.013142)], "normalised")
    ranked(world.hybrid(WeightedRanker(1, 0)), [(1, 1), (2, 0.8), (3, 0.5), (4, 0)], "only one")
    ranked(world.hybrid(WeightedRanker(0.6, 0.4, norm_score=False)), [(1, 0.637399), (2, 0.454830), (3, 0.359599), (4, -0.586858)], "as they are")
    refused(lambda: world.hybrid(WeightedRanker(0.1, 0.2, 0.3)), (1100, 65535), "the length of weights param mismatch with ann search requests")
    for weight in (1.2, -1):
        refused(lambda: world.hybrid(WeightedRanker(weight, 0.5)), (1100, 65535), "rank param weight should be in range [0, 1]")


@claim
def filters_offsets_and_fields_of_a_hybrid_search(world: World) -> None:
    alone = world.hybrid(RRFRanker(60), image={"expr": "id != 3"})
    equal({key for key, _ in alone}, {1, 2, 3, 4}, "keys with a filter on one request")
    close(dict(alone)[3], 1 / 63, "what is left of row 3")
    whole = world.hybrid(WeightedRanker(0.6, 0.4))
    equal([key for key, _ in world.hybrid(WeightedRanker(0.6, 0.4), limit=2, offset=1)], [key for key, _ in whole[1:3]], "offset 1, limit 2")
    refused(lambda: world.hybrid(RRFRanker(60), limit=16384, offset=1), (1, 1100, 65535), "invalid max query result window")
    text = AnnSearchRequest([[1, 0]], "text", {}, 2)
    hits = world.client.hybrid_search(world.small, [text, text], RRFRanker(), limit=2, output_fields=["image"], round_decimal=2, consistency_level="Strong")[0]
    equal([(hit["id"], hit["distance"], hit["entity"]["image"]) for hit in hits], [(1, 0.03, [0.0, 0.0]), (2, 0.03, [1.0, 0.0])], "fields and digits")


@claim
def a_hybrid_search_by_groups_has_each_group_once(world: World) -> None:
    requests = [AnnSearchRequest([world.vectors[key].tolist()], "vec", {"params": {"ef": ROWS}}, 30) for key in (1, 2)]
    hits = world.client.hybrid_search(
        world.name, requests, RRFRanker(), limit=5, group_by_field="group", output_fields=["group"], consistency_level="Strong"
    )[0]
    groups = [hit["entity"]["group"] for hit in hits]
    equal((len(groups), len(set(groups))), (5, 5), "five groups")
    scores = [hit["distance"] for hit in hits]
    equal(scores, sorted(scores, reverse=True), "the best first")


@claim
def rest_ranks_as_grpc_does(world: World) -> None:
    sub = lambda field, vector: {"data": [vector], "annsField": field, "limit": 4}  # noqa: E731
    body = {
        "collectionName": world.small,
        "search": [sub("text", [1, 0]), sub("image", [2.6, 0])],
        "rerank": {"strategy": "weighted", "params": {"weights": [0.6, 0.4], "norm_score": True}},
        "limit": 3,
        "outputFields": ["image"],
        "consistencyLevel": "Strong",
    }
    for path in ("hybrid_search", "advanced_search"):
        request = urllib.request.Request(f"{world.uri}/v2/vectordb/entities/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            found = json.loads(answer.read())
        equal((found["code"], found["topks"]), (0, [3]), path)
        ranked([(int(hit["id"]), hit["distance"]) for hit in found["data"]], [(3, 0.659599), (1, 0.637399), (2, 0.574830)], path)


# ---------------------------------------------------------------- function scores


def decayed(function: str, **more: Any) -> Function:
    params = {"reranker": "decay", "function": function, "origin": 10, "scale": 4, "offset": 1, "decay": 0.25, **more}
    return Function(name="near ten", input_field_names=["price"], function_type=FunctionType.RERANK, params=params)


@claim
def a_decay_ranker_orders_by_score_and_distance_from_its_origin(world: World) -> None:
    query, count = world.vectors[3], 50
    nearest = world.nearest(query)[:count]

    def factor(function: str, price: float) -> float:
        far = max(0.0, abs(price - 10) - 1)
        if function == "gauss":
            return math.exp(far**2 * math.log(0.25) / 16)
        if function == "exp":
            return math.exp(far * math.log(0.25) / 4)
        return max(0.25, 1 - far * 0.75 / 4)

    for function in ("gauss", "exp", "linear"):
        hits = world.search(query, limit=count, ranker=decayed(function))
        expected = {key: (1 - 2 * math.atan(score) / math.pi) * factor(function, world.rows[key]["price"]) for key, score in nearest}
        equal({hit["id"] for hit in hits}, set(expected), f"{function}: the same hits")
        for hit in hits:
            if abs(hit["distance"] - expected[hit["id"]]) > 1e-5:
                raise AssertionError(f"{function}: {hit['id']} has {hit['distance']}, wanted {expected[hit['id']]}")
        scores = [hit["distance"] for hit in hits]
        equal(scores, sorted(scores, reverse=True), f"{function}: the best first")
    refused(lambda: world.search(query, limit=5, ranker=decayed("gauss", scale=0)), (1100, 65535), "decay: scale must be > 0, got 0")
    refused(lambda: world.search(query, limit=5, ranker=decayed("steps")), (1100, 65535), "invalid decay function")


@claim
def a_boost_ranker_raises_what_matches(world: World) -> None:
    query = world.vectors[4]
    boost = Function(name="red", input_field_names=[], function_type=FunctionType.RERANK, params={"reranker": "boost", "filter": 'colour == "red"', "weight": 0.5})
    hits = world.search(query, limit=30, ranker=boost)
    expected = {key: score * (0.5 if world.rows[key]["colour"] == "red" else 1) for key, score in world.nearest(query)[:30]}
    equal([hit["id"] for hit in hits], sorted(expected, key=lambda key: (expected[key], key)), "hits")
    for hit in hits:
        close(hit["distance"], expected[hit["id"]], f"score of {hit['id']}")


# ---------------------------------------------------------------- groups


@claim
def a_search_by_groups_finds_each_group_that_there_is(world: World) -> None:
    query = world.vectors[1]
    best: dict[int, tuple[int, float]] = {}
    for key, score in world.nearest(query):
        best.setdefault(world.rows[key]["group"], (key, score))
    for limit in (1, 5, 24, 40):
        hits = world.search(query, limit=limit, group_by_field="group", output_fields=["group"])
        expected = list(best.items())[:limit]
        equal([hit["entity"]["group"] for hit in hits], [group for group, _ in expected], f"{limit} groups")
        equal([hit["id"] for hit in hits], [key for _, (key, _) in expected], f"the best of {limit} groups")
    later = world.search(query, limit=5, offset=3, group_by_field="group")
    equal([hit["id"] for hit in later], [key for _, (key, _) in list(best.items())[3:8]], "an offset counts groups")


@claim
def strict_groups_are_full_as_far_as_their_rows_go(world: World) -> None:
    query, size = world.vectors[2], 4
    groups: dict[str | None, list[int]] = {}
    for key, _ in world.nearest(query, lambda row: row["id"] % 100 < 7):
        groups.setdefault(world.rows[key]["maker"], []).append(key)
    hits = world.search(query, limit=3, filter="id % 100 < 7", group_by_field="maker", group_size=size, strict_group_size=True, output_fields=["maker"])
    equal([hit["id"] for hit in hits], [key for keys in list(groups.values())[:3] for key in keys[:size]], "hits, group after group")
    loose = world.search(query, limit=3, filter="id % 100 < 7", group_by_field="maker", group_size=size, output_fields=["maker"])
    equal(list(dict.fromkeys(hit["entity"]["maker"] for hit in loose)), list(groups)[:3], "groups that need not be full")


@claim
def groups_that_make_no_sense_are_refused(world: World) -> None:
    query = world.vectors[0]
    refused(lambda: world.search(query, limit=3, group_by_field="vec"), (1100, 2000, 65535), "unsupported data type VECTOR_FLOAT for group by operator")
    refused(lambda: world.search(query, limit=3, group_by_field="absent"), 1700, "groupBy field not found in schema: field not found[field=absent]")
    refused(lambda: world.search(query, limit=3, group_by_field="group", group_size=-1), (1100, 65535), "input group size:-1 is negative")
    refused(lambda: world.search(query, limit=3, group_by_field="group", group_size=100), (1100, 65535), "input group size:100 exceeds configured max group size:10")
    refused(
        lambda: world.search(query, limit=3, group_by_field="group", search_params={"params": {"radius": 9, "range_filter": 1}}),
        (1100, 65535),
        "Not allowed to do range-search when doing search-group-by",
    )


# ---------------------------------------------------------------- aggregates


def makers(rows: list[Row]) -> dict[str | None, list[Row]]:
    """Rows by their maker, those without one last."""
    groups: dict[str | None, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["maker"], []).append(row)
    return dict(sorted(groups.items(), key=lambda group: (group[0] is None, group[0] or "")))


@claim
def rows_are_counted_and_measured_by_groups(world: World) -> None:
    def query(outputs: list[str], by: list[str], expr: str = "id < 1500", **more: Any) -> list[Row]:
        found = world.client.query(world.name, expr, output_fields=outputs, group_by_fields=by, consistency_level="Strong", **more)
        return [dict(row) for row in found]

    outputs = ["maker", "count(*)", "sum(group)", "avg(price)", "min(id)", "max(price)", "count(maker)", "max(maker)"]

    def measured(rows: list[Row], maker: str | None) -> Row:
        prices = [row["price"] for row in rows]
        named = 0 if maker is None else len(rows)
        values = [maker, len(rows), sum(row["group"] for row in rows), sum(prices) / len(rows), rows[0]["id"], max(prices), named, maker]
        return dict(zip(outputs, values))

    groups = makers(world.rows[:1500])
    wanted = [measured(rows, maker) for maker, rows in groups.items()]
    equal(query(outputs, ["maker"]), wanted, "groups of one field")
    page = {"order_by": ["maker:desc"], "limit": 2, "offset": 1}
    equal(query(outputs, ["maker"], **page), wanted[::-1][1:3], "the second and third of them from the last")
    pairs = sorted({(row["group"], row["maker"] is None, row["maker"] or "") for row in world.rows[:1500]})
    found = [(row["group"], row["maker"]) for row in query(["group", "maker"], ["group", "maker"])]
    equal(found, [(group, None if is_none else maker) for group, is_none, maker in pairs], "pairs of values")
    whole = {"count(*)": 1500, "sum(id)": 1500 * 1499 // 2, "min(maker)": "maker 0"}
    equal(query(list(whole), []), [whole], "all rows as one group")
    none = {"count(*)": 0, "sum(id)": None, "min(maker)": None}
    equal(query(list(none), [], expr="id < 0"), [none], "no rows as one group")
    equal(query(["maker", "count(*)"], ["maker"], expr="id < 0"), [], "no rows, no groups")


@claim
def aggregates_that_make_no_sense_are_refused(world: World) -> None:
    for outputs, more, text in [
        (["sum(maker)"], {}, "aggregation operator sum does not support data type VarChar"),
        (["avg(*)"], {}, "avg(*) is not supported, only count(*) is allowed"),
        (["count(*)"], {"group_by_fields": ["price"]}, "group by field price has unsupported data type Double"),
        (["price"], {"group_by_fields": ["maker"]}, "output field 'price' is not allowed"),
        (["count(*)"], {"group_by_fields": ["maker"], "order_by": ["maker"]}, "ORDER BY requires explicit limit"),
        (["count(*)"], {"group_by_fields": ["maker"], "order_by": ["price"], "limit": 2}, "ORDER BY can only reference GROUP BY columns"),
    ]:
        refused(lambda: world.client.query(world.name, "id < 9", output_fields=outputs, **more), (1100, 65535), text)


@claim
def hits_of_a_search_go_into_buckets(world: World) -> None:
    query = world.vectors[4]
    groups: dict[str | None, list[int]] = {}
    for key, _ in world.nearest(query):
        groups.setdefault(world.rows[key]["maker"], []).append(key)
    metrics = {"rows": {"count": "*"}, "dearest": {"max": "price"}}
    asked = SearchAggregation(fields=["maker"], size=3, metrics=metrics, top_hits=TopHits(size=2))
    found = world.client.search(
        world.name, [query.tolist()], anns_field="vec", limit=1, search_aggregation=asked, output_fields=["price"], consistency_level="Strong"
    ).agg_buckets[0]
    equal([bucket.key[0]["value"] for bucket in found], list(groups)[:3], "the makers of the nearest hits")
    for bucket in found:
        keys = groups[bucket.key[0]["value"]][:2]
        equal([hit.pk for hit in bucket.hits], keys, "the nearest of a maker")
        dearest = max(world.rows[key]["price"] for key in keys)
        equal((bucket.count, bucket.metrics), (2, {"rows": 2, "dearest": dearest}), "what is counted and measured of them")
    refused(
        lambda: world.client.search(
            world.name, [query.tolist()], anns_field="vec", limit=1, search_aggregation=SearchAggregation(fields=["price"], size=2)
        ),
        (1100, 65535),
        "FLOAT / DOUBLE fields are not supported with search_aggregation",
    )


# ---------------------------------------------------------------- order


@claim
def hits_and_rows_come_in_the_order_asked_for(world: World) -> None:
    query = world.vectors[6]
    hits = world.search(query, limit=40, order_by_fields=[{"field": "price", "order": "desc"}], output_fields=["price"])
    nearest = world.nearest(query)[:40]
    place = {key: at for at, (key, _) in enumerate(nearest)}
    wanted = sorted(place, key=lambda key: (-world.rows[key]["price"], place[key]))
    equal([hit["id"] for hit in hits], wanted, "hits by price")
    refused(lambda: world.search(query, limit=3, order_by_fields=[{"field": "vec"}]), (1100, 65535), "order_by field 'vec' has unsortable type FloatVector")
    found = world.client.query(world.name, "id < 500", output_fields=["maker"], limit=450, order_by=["maker:desc", "id:desc"], consistency_level="Strong")
    rows = sorted(world.rows[:500], key=lambda row: -row["id"])
    rows.sort(key=lambda row: row["maker"] or "~", reverse=True)
    equal([row["id"] for row in found], [row["id"] for row in rows][:450], "rows by maker, those without one first")
    refused(lambda: world.client.query(world.name, "id < 500", order_by=["maker"]), (1100, 65535), "ORDER BY requires explicit limit")


# ---------------------------------------------------------------- iterators, keys, counts


@claim
def an_iterator_of_either_kind_gives_every_hit_once(world: World) -> None:
    query = world.vectors[7]
    iterator = world.client.search_iterator(
        world.name, [query.tolist()], anns_field="vec", batch_size=300, limit=1500, search_params={"params": {"ef": ROWS}}, consistency_level="Strong"
    )
    found: list[int] = []
    while batch := iterator.next():
        found += [hit["id"] for hit in batch]
    iterator.close()
    equal(found, [key for key, _ in world.nearest(query)[:1500]], "hits in batches")
    iterator = world.client.query_iterator(world.name, filter="group == 0", batch_size=170, output_fields=["id"], consistency_level="Strong")
    world.client.insert(world.name, [{**world.rows[1], "id": ROWS + 1}])
    rows: list[int] = []
    while batch := iterator.next():
        rows += [row["id"] for row in batch]
    iterator.close()
    world.client.delete(world.name, ids=[ROWS + 1])
    equal(rows, [row["id"] for row in world.rows if row["group"] == 0], "rows in batches, as of the first")


@claim
def a_search_by_keys_is_one_by_their_vectors(world: World) -> None:
    by_keys = world.client.search(world.name, ids=[5, 9], anns_field="vec", limit=4, search_params={"params": {"ef": ROWS}}, consistency_level="Strong")
    by_vectors = [[key for key, _ in world.nearest(world.vectors[key])[:4]] for key in (5, 9)]
    equal([[hit["id"] for hit in hits] for hits in by_keys], by_vectors, "hits")
    refused(lambda: world.client.search(world.name, ids=[5, -4], anns_field="vec", limit=4), (1100, 65535), "some of the provided primary key IDs do not exist")


def main() -> None:
    world, words = World(sys.argv[1]), sys.argv[2:]
    logging.disable(logging.CRITICAL)
    passed, failed = tried(CLAIMS, world, words)
    for name in (world.name, world.small):
        world.client.drop_collection(name)
    print(f"reading: {passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
