"""Part 2, chapter 6: searches (cases 1 to 20) and ranges (21 to 30)."""

from __future__ import annotations

from typing import Any

import numpy as np
from pymilvus import Collection, DataType, MilvusException
from pymilvus.exceptions import ParamError, SchemaNotReadyException

import fixtures as of
from harness import Server, case, equal, fails, holds

PARAMETERS = (65535, 1100)


def search(target: Collection, query: Any, limit: int = 10, params: dict[str, Any] | None = None, metric: str = "L2", **more: Any) -> Any:
    """The hits of one query."""
    return of.search(target, query, limit, {"metric_type": metric, "params": params or {}}, **more)


@case
def case_2_001_the_nearest_by_l2_come_first_with_squared_distances(server: Server) -> None:
    of.ranked(search(of.line(server), [0, 0]), [(row, row * row) for row in range(10)])


@case
def case_2_002_the_largest_products_come_first(server: Server) -> None:
    of.ranked(search(of.ipl(server), [1, 0], 3, metric="IP"), [(9, 9), (8, 8), (7, 7)])


@case
def case_2_003_cosines_do_not_depend_on_the_length(server: Server) -> None:
    for query in ([1, 0], [7, 0]):
        of.ranked(search(of.cos(server), query, 5, metric="COSINE"), [(0, 1), (1, 0.5), (2, 0), (3, -0.5), (4, -1)])


def binary(server: Server, metric: str) -> Collection:
    """BIN, with an index of this metric."""
    rows = [bytes.fromhex(row) for row in ("0000", "ff00", "ffff", "0101")]
    fields = [of.key(), of.vector(16, kind=DataType.BINARY_VECTOR)]
    name = f"bin_{metric.lower()}"
    return of.once(server, name, lambda made: of.filled(made, fields, [list(range(4)), rows], of.index("BIN_FLAT", metric)))


@case
def case_2_004_bits_are_compared_by_hamming_and_by_jaccard(server: Server) -> None:
    query = bytes.fromhex("ff00")
    hits = search(binary(server, "HAMMING"), query, 4, metric="HAMMING")
    of.ranked(hits[:1], [(1, 0)])
    equal((set(of.ids(hits[1:])), of.distances(hits[1:])), ({0, 2, 3}, [8, 8, 8]))
    hits = search(binary(server, "JACCARD"), query, 4, metric="JACCARD")
    of.ranked(hits, [(1, 0), (2, 0.5), (3, 8 / 9), (0, 1)])


@case
def case_2_005_bits_have_no_l2(server: Server) -> None:
    """The text is the one of 2.3; that of today names the kind of the field (wire-api 2.13), and one of the two has to be there."""
    server.connect()
    target = of.collection(of.unique("bin"), [of.key(), of.vector(16, kind=DataType.BINARY_VECTOR)])
    try:
        target.create_index("embedding", of.index("BIN_FLAT", "L2"))
    except MilvusException as error:
        known = ("metric type not found or not supported", "binary vector index does not support metric type: L2")
        holds(any(text in str(error) for text in known), f"{error} names the metric")
    else:
        raise AssertionError("a binary field has an index by L2")


@case
def case_2_006_another_metric_than_the_indexs_is_refused(server: Server) -> None:
    for metric in ("IP", "COSINE"):
        with fails(f"metric type not match: invalid parameter[expected=L2][actual={metric}]", PARAMETERS):
            search(of.documents(server), of.DOCUMENTS[0].tolist(), metric=metric)


@case
def case_2_007_metric_and_parameters_may_be_left_out(server: Server) -> None:
    target = of.line(server)
    for param in ({"params": {}}, {"metric_type": "L2"}, {}):
        of.ranked(target.search([[0, 0]], "embedding", param, 10)[0], [(row, row * row) for row in range(10)])


@case
def case_2_008_several_queries_are_answered_in_their_order(server: Server) -> None:
    target, queries = of.documents(server), of.DOCUMENTS[[5, 77, 400, 1999, 2500]] + np.float32(0.1)
    answers = target.search(queries.tolist(), "embedding", of.FLAT, 10)
    equal(len(answers), 5, "the answers")
    for query, hits in zip(queries, answers):
        equal(of.ids(hits), of.nearest(of.DOCUMENTS, query, 10))
        alone = search(target, query.tolist())
        equal((of.ids(hits), of.distances(hits)), (of.ids(alone), of.distances(alone)))


@case
def case_2_009_there_are_at_most_16384_queries_in_a_call(server: Server) -> None:
    target = of.line(server)
    answers = target.search([[row % 10, 0] for row in range(16384)], "embedding", of.FLAT, 1)
    equal([of.ids(hits) for hits in answers], [[row % 10] for row in range(16384)])
    with fails("should be in range [1, 16384], but got 16385"):
        target.search([[0, 0]] * 16385, "embedding", of.FLAT, 1)


@case
def case_2_010_no_query_at_all_is_answered(server: Server) -> None:
    """Empty or refused: both will do, if it is said what is missing."""
    try:
        equal(list(of.line(server).search([], "embedding", of.FLAT, 10, timeout=5)), [], "the answers")
    except MilvusException as error:
        known = ("nq", "should be in range [1, 16384], but got 0", "empty")
        holds(any(text in str(error) for text in known), f"{error} says that there is no query")


@case
def case_2_011_limits_are_whole_numbers_from_1_to_16384(server: Server) -> None:
    target = of.line(server)
    for limit in (0, -1, 1.5, "10"):
        with fails("limit", kind=ParamError):
            search(target, [0, 0], limit)
    equal(of.ids(search(target, [0, 0], 16384)), list(range(10)))
    with fails("should be in range [1, 16384]"):
        search(target, [0, 0], 16385)


@case
def case_2_012_there_are_no_more_hits_than_rows(server: Server) -> None:
    of.ranked(search(of.line(server), [0, 0], 100), [(row, row * row) for row in range(10)])


@case
def case_2_013_pages_follow_each_other(server: Server) -> None:
    target = of.line(server)
    equal(of.ids(search(target, [0, 0], 3, offset=5)), [5, 6, 7])
    equal([of.ids(search(target, [0, 0], 3, offset=offset)) for offset in (0, 3, 6, 9)], [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]])
    equal(of.ids(search(target, [0, 0], 3, offset=10)), [])


@case
def case_2_014_pages_end_at_16384(server: Server) -> None:
    target = of.line(server)
    equal(of.ids(search(target, [0, 0], 10, offset=16374)), [])
    with fails("16385"):
        search(target, [0, 0], 10, offset=16375)
    with fails("offset [-1] is invalid"):
        search(target, [0, 0], 10, offset=-1)


@case
def case_2_015_hits_have_the_fields_that_were_asked_for(server: Server) -> None:
    target, query = of.documents(server), of.DOCUMENTS[7].tolist()
    fields = [search(target, query, 1, output_fields=names)[0].fields for names in (["id", "title"], None, ["*"])]
    equal(fields[0], {"id": 7, "title": "文档7"})
    equal(fields[1], {})
    equal({**fields[2], "embedding": list(fields[2]["embedding"])}, {"id": 7, "title": "文档7", "embedding": query})
    with fails("field nope not exist"):
        search(target, query, output_fields=["nope"])


@case
def case_2_016_vectors_and_fields_that_do_not_fit_are_refused(server: Server) -> None:
    target = of.documents(server)
    with fails("dimension"):
        search(target, [0.0] * 127)
    with fails("fieldName(nope) not found"):
        target.search([[0.0] * 128], "nope", of.FLAT, 10)
    with fails("field (title) to search is not of vector data type"):
        target.search([[0.0] * 128], "title", of.FLAT, 10)


@case
def case_2_017_what_is_not_loaded_or_has_no_index_is_not_read(server: Server) -> None:
    """Code and text of the second are those of 2.3; today they are those of wire-api 1.3, and one of the two has to be there."""
    server.connect()
    target = of.collection(of.unique("unloaded"), [of.key(), of.vector(2)])
    target.insert([[1], [[0, 1]]])
    try:
        target.load()
    except MilvusException as error:
        known = {700: ("index not found",), 65535: ("there is no vector index on field",), 1100: ("there is no vector index on field",)}
        holds(any(text in str(error) for text in known.get(error.code, ())), f"{error} says that there is no index")
    else:
        raise AssertionError("a collection without an index is loaded")
    target.create_index("embedding", of.index("FLAT", "L2"))
    with fails("collection not loaded", 101):
        search(target, [0, 0])


@case
def case_2_018_distances_are_rounded(server: Server) -> None:
    query = [0.123, 0]
    exact = of.distances(search(of.line(server), query))
    rounded = of.distances(search(of.line(server), query, round_decimal=2))
    near = [round(score, 2) for score in exact]
    of.near(rounded, near, within=1e-6)
    holds(near != exact, "there was something to round")


@case
def case_2_019_rows_are_found_at_once_and_counted_after_a_flush(server: Server) -> None:
    server.connect()
    target = of.filled(of.unique("fresh"), [of.key(), of.vector(2)], [[1, 2], [[5, 5], [6, 6]]])
    target.insert([[3], [[0, 0.5]]])
    of.ranked(search(target, [0, 0], 1), [(3, 0.25)])
    target.flush()
    equal(target.num_entities, 3, "the rows")


@case
def case_2_020_a_collection_is_opened_by_its_own_schema_only(server: Server) -> None:
    of.documents(server)
    other = of.collection(of.unique("other"), [of.key(), of.vector(2)]).schema
    with fails("the schema is not the same as the schema passed in", kind=SchemaNotReadyException):
        Collection("documents", schema=other)
    with fails("not exist", kind=SchemaNotReadyException):
        Collection(of.unique("absent"))


# ---------------------------------------------------------------- ranges


@case
def case_2_021_the_radius_itself_is_outside(server: Server) -> None:
    of.ranked(search(of.line(server), [0, 0], params={"radius": 9}), [(0, 0), (1, 1), (2, 4)])
    equal(of.ids(search(of.line(server), [0, 0], params={"radius": 0})), [])


@case
def case_2_022_the_inner_bound_is_inside(server: Server) -> None:
    of.ranked(search(of.line(server), [0, 0], params={"radius": 9, "range_filter": 1}), [(1, 1), (2, 4)])


@case
def case_2_023_an_inner_bound_needs_a_radius_that_is_larger(server: Server) -> None:
    """The guide has all ten rows for an inner bound alone, as 2.3 ignored it; Milvus refuses it since (wire-api 2.9)."""
    with fails("range_filter requires radius to be set"):
        search(of.line(server), [0, 0], params={"range_filter": 1})
    with fails("range_filter(4) must be less than radius(4)"):
        search(of.line(server), [0, 0], params={"radius": 4, "range_filter": 4})


@case
def case_2_024_products_lie_between_the_bounds_the_other_way_round(server: Server) -> None:
    target = of.ipl(server)
    equal(of.ids(search(target, [1, 0], params={"radius": 5}, metric="IP")), [9, 8, 7, 6])
    equal(of.ids(search(target, [1, 0], params={"radius": 5, "range_filter": 8}, metric="IP")), [8, 7, 6])
    with fails("range_filter(5) must be greater than radius(8)"):
        search(target, [1, 0], params={"radius": 8, "range_filter": 5}, metric="IP")


@case
def case_2_025_so_do_cosines(server: Server) -> None:
    target = of.cos(server)
    equal(of.ids(search(target, [1, 0], params={"radius": -0.6, "range_filter": 0.6}, metric="COSINE")), [1, 2, 3])
    equal(of.ids(search(target, [1, 0], params={"radius": 0.1}, metric="COSINE")), [0, 1])


@case
def case_2_026_ranges_have_pages(server: Server) -> None:
    target = of.line(server)
    found = [of.ids(search(target, [0, 0], limit, {"radius": 50}, offset=offset)) for limit, offset in ((3, 2), (5, 7), (5, 8), (3, 0))]
    equal(found, [[2, 3, 4], [7], [], [0, 1, 2]])


@case
def case_2_027_ranges_have_filters(server: Server) -> None:
    equal(of.ids(search(of.line(server), [0, 0], params={"radius": 50}, expr="id % 2 == 0")), [0, 2, 4, 6])


@case
def case_2_028_a_radius_is_a_number(server: Server) -> None:
    with fails("radius"):
        search(of.line(server), [0, 0], params={"radius": "x"})
    holds(server.get("/healthz").startswith("OK"), "the server is healthy")
    equal(of.ids(search(of.line(server), [0, 0], 1)), [0])


@case
def case_2_029_duplicates_lie_within_a_small_radius(server: Server) -> None:
    server.connect()
    vectors = np.concatenate([of.DOCUMENTS[:995], np.repeat(of.DOCUMENTS[:1], 5, axis=0)])
    target = of.filled(of.unique("copies"), of.document_fields(), of.document_rows(vectors))
    hits = search(target, vectors[0].tolist(), 100, {"nprobe": 16, "radius": 0.1})
    equal(set(of.ids(hits)), {0, 995, 996, 997, 998, 999})
    equal([hit.id for hit in hits if hit.distance >= 0.1], [], "those that lie too far away")


@case
def case_2_030_ranges_of_indexes_have_what_a_scan_has(server: Server) -> None:
    plain = of.documents(server)
    queries = of.DOCUMENTS[::150] + np.float32(0.05)
    radius = 270.0
    expected = [of.ids(search(plain, query.tolist(), 1000, {"radius": radius})) for query in queries]
    holds(all(10 < len(keys) < 1000 for keys in expected), "the range has some rows, and not all")
    built: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        ("hnsw", of.index("HNSW", "L2", M=16, efConstruction=200), {"ef": 128}),
        ("ivf", of.index("IVF_FLAT", "L2", nlist=64), {"nprobe": 64}),
    ]
    for name, index, params in built:
        rows = of.document_rows(of.DOCUMENTS)
        target = of.once(server, f"documents_{name}", lambda made, index=index: of.filled(made, of.document_fields(), rows, index))
        found = [search(target, query.tolist(), 1000, {"radius": radius, **params}) for query in queries]
        equal([hit.id for hits in found for hit in hits if hit.distance >= radius], [], "those that lie too far away")
        equal([set(of.ids(hits)) - set(keys) for hits, keys in zip(found, expected)], [set()] * len(queries), "false members")
        share = of.recall((of.ids(hits) for hits in found), expected)
        holds(share >= 0.95, f"{name} finds 95 % of a range, it finds {share:.3f}")
