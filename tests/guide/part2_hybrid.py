"""Part 2, chapters 6.3 and 7.5: several vector fields and hybrid searches (cases 107 to 119)."""

from __future__ import annotations

from typing import Any

import pymilvus
from pymilvus import AnnSearchRequest, Collection, CollectionSchema, DataType, FieldSchema, RRFRanker, WeightedRanker

import fixtures as of
from harness import Server, case, equal, fails, holds

TEXT = {"metric_type": "COSINE", "params": {}}
IMAGE = {"metric_type": "L2", "params": {}}
BY_RANK = [(3, 0.0322665), (2, 0.0322581), (1, 0.0163934), (4, 0.015625)]


def requests(few: int = 4, **image: Any) -> list[AnnSearchRequest]:
    """The two searches; the one by image has `few` hits."""
    return [AnnSearchRequest([[1, 0]], "text", TEXT, 4), AnnSearchRequest([[2.6, 0]], "image", IMAGE, few, **image)]


def hybrid(target: Collection, ranker: Any, few: int = 4, limit: int = 4, image: dict[str, Any] | None = None, **more: Any) -> Any:
    return target.hybrid_search(requests(few, **(image or {})), ranker, limit, **more)[0]


@case
def case_2_107_each_field_is_searched_by_its_own_metric(server: Server) -> None:
    target = of.mm(server)
    of.ranked(of.search(target, [1, 0], 4, TEXT, "text"), [(1, 1), (2, 0.6), (3, 0), (4, -1)])
    of.ranked(of.search(target, [2.6, 0], 4, IMAGE, "image"), [(3, 0.16), (2, 2.56), (1, 6.76), (4, 19.36)])


@case
def case_2_108_ranks_are_fused(server: Server) -> None:
    of.ranked(hybrid(of.mm(server), RRFRanker(60), few=2), BY_RANK)


@case
def case_2_109_ranks_are_fused_by_a_constant_that_has_bounds(server: Server) -> None:
    target = of.mm(server)
    of.ranked(hybrid(target, RRFRanker(1), few=2), [(3, 0.75), (2, 0.666667), (1, 0.5), (4, 0.2)])
    of.ranked(hybrid(target, RRFRanker(), few=2), BY_RANK)
    for k in (0, 16384):
        with fails("(0, 16384)"):
            hybrid(target, RRFRanker(k), few=2)


@case
def case_2_110_scores_are_weighted(server: Server) -> None:
    target = of.mm(server)
    of.ranked(hybrid(target, WeightedRanker(0.6, 0.4)), [(3, 0.659599), (1, 0.637399), (2, 0.574830), (4, 0.013142)])
    of.ranked(hybrid(target, WeightedRanker(1, 0)), [(1, 1), (2, 0.8), (3, 0.5), (4, 0)])


@case
def case_2_111_scores_are_weighted_as_they_are(server: Server) -> None:
    expected = [(1, 0.637399), (2, 0.454830), (3, 0.359599), (4, -0.586858)]
    of.ranked(hybrid(of.mm(server), WeightedRanker(0.6, 0.4, norm_score=False)), expected)


@case
def case_2_112_there_is_a_weight_from_0_to_1_for_each_request(server: Server) -> None:
    target = of.mm(server)
    with fails("the length of weights param mismatch with ann search requests"):
        hybrid(target, WeightedRanker(0.6, 0.3, 0.1))
    for weight in (1.2, -1):
        with fails("rank param weight should be in range [0, 1]"):
            hybrid(target, WeightedRanker(weight, 0.4))


@case
def case_2_113_requests_have_filters_of_their_own(server: Server) -> None:
    target = of.mm(server)
    hits = hybrid(target, WeightedRanker(0.6, 0.4), image={"expr": "id != 3"})
    of.ranked(hits, [(1, 0.637399), (2, 0.574830), (3, 0.3), (4, 0.013142)])
    hits = hybrid(target, RRFRanker(), few=2, output_fields=["id", "image"])
    found = {hit.id: {name: list(value) if name == "image" else value for name, value in hit.fields.items()} for hit in hits}
    equal(found, {key: {"id": key, "image": of.MM_IMAGES[key - 1]} for key in (1, 2, 3, 4)}, "the fields")
    with fails("invalid max query result window"):
        hybrid(target, RRFRanker(), limit=10, offset=16375)
    target = of.make_mm(of.unique("mm"))
    target.create_partition("more")
    target.insert([[5, 6], [[1, 0], [0, 1]], [[2.6, 0], [9, 0]]], partition_name="more")
    equal(of.ids(hybrid(target, RRFRanker(), partition_names=["more"])), [5, 6])
    equal(set(of.ids(hybrid(target, RRFRanker(), partition_names=["_default"]))), {1, 2, 3, 4}, "the keys")


def multimodal_fields() -> list[FieldSchema]:
    return [of.key(), of.text(), of.vector(768, "text_embedding"), of.vector(512, "image_embedding")]


def multimodal_rows(rows: int, first: int = 0) -> list[Any]:
    texts, images = of.random_vectors(rows, 768, 11), of.random_vectors(rows, 512, 12)
    numbers = list(range(first, first + rows))
    return [numbers, [f"商品{number}" for number in numbers], list(texts), list(images)]


def multimodal_indexes(target: Collection) -> None:
    target.create_index("text_embedding", of.index("IVF_FLAT", "COSINE", nlist=128))
    target.create_index("image_embedding", of.index("IVF_FLAT", "L2", nlist=128))
    target.load()


@case
def case_2_114_one_insert_takes_51_megabytes(server: Server) -> None:
    server.connect()
    target = of.collection(of.unique("multimodal"), multimodal_fields())
    rows = multimodal_rows(10_000)
    equal(target.insert(rows).insert_count, 10_000, "the rows")
    target.flush()
    equal(target.num_entities, 10_000, "the rows")
    multimodal_indexes(target)
    for at in (0, 9_999):
        by_text = target.search([rows[2][at]], "text_embedding", {"metric_type": "COSINE", "params": {"nprobe": 16}}, 10)[0]
        by_image = target.search([rows[3][at]], "image_embedding", {"metric_type": "L2", "params": {"nprobe": 16}}, 10)[0]
        equal([(len(hits), hits[0].id) for hits in (by_text, by_image)], [(10, at), (10, at)], "the hits, and the first")
    target.drop()


@case
def case_2_115_keys_that_come_twice_are_found_once(server: Server) -> None:
    server.connect()
    fields, name = multimodal_fields(), of.unique("multimodal")
    first = of.collection(name, fields)
    second = Collection(name, CollectionSchema(fields))
    rows = multimodal_rows(100)
    for target in (first, second):
        target.insert(rows)
        target.flush()
    multimodal_indexes(second)
    for field, query, metric in (("text_embedding", rows[2][3], "COSINE"), ("image_embedding", rows[3][3], "L2")):
        hits = second.search([query], field, {"metric_type": metric, "params": {"nprobe": 128}}, 200)[0]
        equal(sorted(of.ids(hits)), list(range(100)), f"the keys by {field}")


@case
def case_2_116_a_collection_has_several_vector_fields(server: Server) -> None:
    """The guide has four as the most; since 2.6 it is ten (wire-api 7)."""
    server.connect()

    def made(number: int) -> Collection:
        return of.collection(of.unique("vectors"), [of.key(), *(of.vector(2, f"vector_{at}") for at in range(number))])

    for number in (4, 5, 10):
        equal(len(made(number).schema.fields), number + 1, "the fields")
    with fails("maximum vector field's number should be limited to 10"):
        made(11)


@case
def case_2_117_words_are_found_by_patterns_and_break_no_filter(server: Server) -> None:
    server.connect()
    words = ["AI", "机器学习", "AI 机器学习", "数据库"]
    titles = [f"{words[row % 4]} {row}" for row in range(100)]
    rows = [list(range(100)), titles, of.random_vectors(100, 8, 13).tolist()]
    target = of.filled(of.unique("words"), of.document_fields(dim=8), rows)
    expr = 'title like "%AI%" or title like "%机器学习%"'
    equal(of.keys(target, expr), [row for row in range(100) if row % 4 != 3])
    hits = target.search([[0.0] * 8], "embedding", of.FLAT, 20, expr=expr, output_fields=["title"])[0]
    equal(len(hits), 20, "the hits")
    equal([hit.entity.get("title") for hit in hits if "AI" not in hit.entity.get("title") and "机器学习" not in hit.entity.get("title")], [])
    word = 'A"I'
    for read in (lambda expr: target.query(expr), lambda expr: target.search([[0.0] * 8], "embedding", of.FLAT, 20, expr=expr)):
        with fails("cannot parse expression"):
            read(f'title like "%{word}%" or title like "%机器学习%"')


def make_articles(name: str) -> Collection:
    fields = [
        of.key(),
        of.text("body", enable_analyzer=True),
        of.vector(2, "dense"),
        FieldSchema("sparse", DataType.SPARSE_FLOAT_VECTOR),
    ]
    function = pymilvus.Function("bm25", pymilvus.FunctionType.BM25, ["body"], ["sparse"])
    made = Collection(name, CollectionSchema(fields, functions=[function]), consistency_level="Strong")
    bodies = ["vector databases find neighbours", "cats sleep all day", "neighbours of vector search", "dogs bark"]
    made.insert([{"id": at + 1, "body": body, "dense": [at, 0]} for at, body in enumerate(bodies)])
    made.flush()
    made.create_index("dense", of.index("FLAT", "L2"))
    made.create_index("sparse", of.index("SPARSE_INVERTED_INDEX", "BM25"))
    made.load()
    return made


@case
def case_2_118_words_and_vectors_are_searched_together(server: Server) -> None:
    if not hasattr(pymilvus, "Function"):
        return  # the client of 2.4
    target = of.once(server, "articles", make_articles)
    words = AnnSearchRequest(["vector neighbours"], "sparse", {"metric_type": "BM25", "params": {}}, 4)
    dense = AnnSearchRequest([[0, 0]], "dense", {"metric_type": "L2", "params": {}}, 2)
    # Rows 1 and 3 have both words, in four words each; row 1 is also the nearest.
    sparse = target.search(["vector neighbours"], "sparse", {"metric_type": "BM25", "params": {}}, 4)[0]
    equal(sorted(of.ids(sparse)), [1, 3], "the rows that share a word")
    hits = target.hybrid_search([words, dense], RRFRanker(), 4)[0]
    equal(of.ids(hits)[0], 1, "the row that matches both")
    equal(sorted(of.ids(hits)), [1, 2, 3], "the keys")
    equal(of.ids(target.search(["elephants"], "sparse", {"metric_type": "BM25", "params": {}}, 4)[0]), [], "the hits of a word that no row has")
    of.near([hits[0].distance], [2 / 61])


@case
def case_2_119_the_other_client_finds_the_same(server: Server) -> None:
    target, client = of.mm(server), server.client()
    for ranker, few in ((RRFRanker(60), 2), (WeightedRanker(0.6, 0.4), 4)):
        hits = client.hybrid_search(target.name, requests(few), ranker, limit=4)[0]
        orm = hybrid(target, ranker, few)
        equal([(hit["id"], hit["distance"]) for hit in hits], list(zip(of.ids(orm), of.distances(orm))), "the hits")
    holds(len(orm) == 4, "there are hits")
