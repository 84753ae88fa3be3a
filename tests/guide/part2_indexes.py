"""Part 2, chapters 8.1 to 8.3: indexes of vectors (cases 48 to 56)."""

from __future__ import annotations

from typing import Any

import numpy as np
from pymilvus import Collection, utility
from pymilvus.exceptions import MilvusException

import fixtures as of
from harness import Server, case, equal, fails, holds

QUERIES = of.DOCUMENTS[::60] + np.float32(0.05)
# The indexes of case 48: type, how it is built, how it is searched, the mean recall of ten hits that it has to reach.
BUILT: list[tuple[str, dict[str, Any], dict[str, Any], float]] = [
    ("FLAT", {}, {}, 1.0),
    ("IVF_FLAT", {"nlist": 128}, {"nprobe": 128}, 1.0),
    ("IVF_FLAT", {"nlist": 512}, {"nprobe": 512}, 1.0),
    ("IVF_FLAT", {"nlist": 1024}, {"nprobe": 1024}, 1.0),
    ("IVF_SQ8", {"nlist": 1024}, {"nprobe": 1024}, 0.95),
    ("IVF_PQ", {"nlist": 1024, "m": 16, "nbits": 8}, {"nprobe": 1024}, 0.80),
    ("HNSW", {"M": 16, "efConstruction": 200}, {"ef": 64}, 0.95),
    ("DISKANN", {}, {"search_list": 100}, 0.95),
]


def tops(target: Collection, queries: np.ndarray, params: dict[str, Any], limit: int = 10) -> list[list[int]]:
    answers = target.search(queries.tolist(), "embedding", {"metric_type": "L2", "params": params}, limit)
    return [of.ids(hits) for hits in answers]


def indexed(server: Server, kind: str, **params: Any) -> Collection:
    """The documents with this index, for cases that only read."""
    name = "_".join(["documents", kind.lower(), *(str(value) for value in params.values())])
    rows = of.document_rows(of.DOCUMENTS)
    return of.once(server, name, lambda made: of.filled(made, of.document_fields(), rows, of.index(kind, "L2", **params)))


def refuses(texts: tuple[str, ...], made: Collection, index: dict[str, Any]) -> None:
    try:
        made.create_index("embedding", index)
    except MilvusException as error:
        holds(any(text in str(error) for text in texts), f"{error} says one of {texts}")
    else:
        raise AssertionError(f"the index {index} was accepted")


@case
def case_2_048_every_index_finds_nearly_all_that_a_scan_finds(server: Server) -> None:
    expected = tops(of.documents(server), QUERIES, {})
    equal(expected, [of.nearest(of.DOCUMENTS, query, 10) for query in QUERIES], "what a scan finds")
    target, missed = of.make_documents(of.unique("rebuilt")), {}
    for kind, built, searched, least in BUILT:
        target.release()
        target.drop_index()
        target.create_index("embedding", of.index(kind, "L2", **built))
        target.load()
        share = of.recall(tops(target, QUERIES, searched), expected)
        if share < least:
            missed[f"{kind} {built}"] = f"{share:.3f} of {least}"
    equal(missed, {}, "those that find too little")


@case
def case_2_049_more_lists_read_find_more(server: Server) -> None:
    target = indexed(server, "IVF_FLAT", nlist=1024)
    expected = tops(of.documents(server), QUERIES, {})
    shares = [of.recall(tops(target, QUERIES, {"nprobe": nprobe}), expected) for nprobe in (1, 8, 16, 64, 256, 1024)]
    equal(shares, sorted(shares), "the recall by lists read")
    equal(shares[-1], 1.0, "the recall of all lists")
    equal(tops(target, QUERIES, {"nprobe": 2000}), expected, "what more lists than there are find")
    for nprobe in (0, 65537):
        with fails("out of range"):
            tops(target, QUERIES, {"nprobe": nprobe})


@case
def case_2_050_ef_is_at_least_the_limit(server: Server) -> None:
    target = indexed(server, "HNSW", M=16, efConstruction=200)
    equal([len(tops(target, QUERIES[:1], {"ef": limit}, limit)[0]) for limit in (10, 50, 100)], [10, 50, 100], "the hits")
    with fails("should be larger than k"):
        tops(target, QUERIES[:1], {"ef": 2})
    equal(len(tops(target, QUERIES[:1], {})[0]), 10, "the hits without ef")


@case
def case_2_051_parameters_of_other_indexes_are_ignored(server: Server) -> None:
    expected = tops(of.documents(server), QUERIES, {})
    equal(tops(of.documents(server), QUERIES, {"nprobe": 16}), expected, "what FLAT finds")
    graph = indexed(server, "HNSW", M=16, efConstruction=200)
    equal(tops(graph, QUERIES, {"nprobe": 16}), tops(graph, QUERIES, {}), "what HNSW finds")


@case
def case_2_052_indexes_that_cannot_be_are_refused(server: Server) -> None:
    """The first text is that of 2.3, with the one of today (wire-api 2.13) besides it."""
    server.connect()
    target = of.collection(of.unique("refusing"), of.document_fields())
    pq = ("dimension must be able to be divided by `m`", "should be a multiple of the number of subquantizers (m)")
    refuses(pq, target, of.index("IVF_PQ", "L2", nlist=16, m=15, nbits=8))
    refuses(("invalid index type: NOPE",), target, of.index("NOPE", "L2"))
    for nlist in (0, 65537):
        refuses(("param 'nlist'",), target, of.index("IVF_FLAT", "L2", nlist=nlist))
    refuses(("should be in range [2, 2048]",), target, of.index("HNSW", "L2", M=4096, efConstruction=200))
    equal(target.indexes, [], "the indexes")


@case
def case_2_053_a_field_has_one_index(server: Server) -> None:
    server.connect()
    target = of.collection(of.unique("twice"), of.document_fields())
    for _ in range(2):
        target.create_index("embedding", of.index("IVF_FLAT", "L2", nlist=128))
    with fails("at most one distinct index is allowed per field"):
        target.create_index("embedding", of.index("IVF_FLAT", "L2", nlist=64))
    equal([index.params["params"] for index in target.indexes], [{"nlist": 128}], "the indexes")


@case
def case_2_054_an_index_is_built_when_its_creation_returns(server: Server) -> None:
    server.connect()
    target = of.collection(of.unique("building"), of.document_fields())
    target.insert(of.document_rows(of.DOCUMENTS))
    target.flush()
    target.create_index("embedding", of.index("HNSW", "L2", M=16, efConstruction=200))
    progress = utility.index_building_progress(target.name)
    equal({key: progress[key] for key in ("indexed_rows", "total_rows")}, {"indexed_rows": 3000, "total_rows": 3000})
    equal(progress["pending_index_rows"], 0, "the rows that wait")


@case
def case_2_055_indexes_take_their_share_of_memory(server: Server) -> None:
    """Cut from a million rows to 5,000, of which what does not grow with them (the lists' centres, the codebook) is a twentieth."""
    server.connect()
    raw = 5000 * 128 * 4
    vectors = of.clustered_vectors(5000, 128)
    bounds: list[tuple[str, dict[str, Any], float]] = [
        ("FLAT", {}, 1.25),
        ("IVF_FLAT", {"nlist": 64}, 1.25),
        ("IVF_SQ8", {"nlist": 64}, 0.45),
        ("IVF_PQ", {"nlist": 64, "m": 16, "nbits": 8}, 0.25),
        ("HNSW", {"M": 16, "efConstruction": 100}, 1.6),
    ]
    target = of.filled(of.unique("weighed"), [of.key(), of.vector(128)], [list(range(5000)), vectors.tolist()])
    ratios = {}
    for kind, params, bound in bounds:
        target.release()
        target.drop_index()
        target.create_index("embedding", of.index(kind, "L2", **params))
        target.load()
        ratio = of.memory_of(target.name) / raw
        # Less than a hundredth is no index of these rows.
        if not 0.01 <= ratio <= bound:
            ratios[kind] = f"{ratio:.3f}, at most {bound}"
    equal(ratios, {}, "those whose memory is not as said")


@case
def case_2_056_a_load_that_does_not_fit_fails_and_hurts_nobody(server: Server) -> None:
    """The alerts at 80 % and 90 % are rules of the chart, and are tested there."""
    with server.another({"REDKITE__REDKITE__MEMORY__LIMITMB": "32", "REDKITE__REDKITE__CLUSTER__CALLTIMEOUTMS": "3000"}) as own:
        own.connect()
        small = of.filled("small", [of.key(), of.vector(2)], [[1], [[0, 1]]])
        large = of.collection("large", [of.key(), of.vector(1024)])
        for part in range(10):
            large.insert([list(range(part * 1000, part * 1000 + 1000)), list(of.random_vectors(1000, 1024, part))])
            large.flush()
        large.create_index("embedding", of.index("FLAT", "L2"))
        with fails("memory"):
            large.load(timeout=30)
        holds(own.get("/healthz").startswith("OK"), "the node survives")
        equal(of.ids(small.search([[0, 0]], "embedding", of.FLAT, 1)[0]), [1], "what the loaded collection answers")
