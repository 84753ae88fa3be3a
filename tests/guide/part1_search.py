"""Part 1, indexes of vectors and searches, compared with NumPy."""

from __future__ import annotations

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from fixtures import memory_of
from harness import Server, case, equal, fails, holds, until
from part1_schemas import (
    FLAT, HNSW, IVF, L2, ROWS, STRONG, count, created, documents, embedded, ids, key, nearest, plain, ready, recall, reindex, rows,
    scalar, scores, text, titles, uniform, vector, vectors,
)
from pymilvus import Collection, DataType, utility
from pymilvus.exceptions import ParamError

LISTS = 64  # as 1024 is to 100,000 rows


def index(kind: str, metric: str = "L2", **params: Any) -> dict[str, Any]:
    return {"index_type": kind, "metric_type": metric, "params": params}


def search(collection: Collection, queries: Any, limit: int = 100, metric: str = "L2", **params: Any) -> Any:
    return collection.search(queries, "embedding", {"metric_type": metric, "params": params}, limit=limit, **STRONG)


def pairs(found: Any) -> list[list[tuple[int, float]]]:
    return [[(hit.id, hit.distance) for hit in hits] for hits in found]


def exact(found: Any, data: np.ndarray, queries: np.ndarray, metric: str, limit: int) -> None:
    """The hits are those of brute force, in its order, with its distances."""
    all_scores, truth = scores(data, queries, metric), nearest(data, queries, metric, limit)
    equal([list(hits.ids) for hits in found], truth.tolist())
    wanted = np.take_along_axis(all_scores, truth, axis=1)
    holds(np.allclose(np.array([hits.distances for hits in found]), wanted, rtol=1e-5, atol=1e-4), f"the distances by {metric} are right")


@case
def case_1_083_flat_finds_what_brute_force_finds(server: Server) -> None:
    data = uniform(ROWS)
    queries = np.random.default_rng(9).random((10, 128), dtype=np.float32)
    with vectors(server, "flat_test", data) as collection:
        for metric in ("L2", "IP", "COSINE"):
            reindex(collection, index("FLAT", metric))
            found = search(collection, queries, 100, metric)
            exact(found, data, queries, metric, 100)
            for hits in found:
                equal(list(hits.distances), sorted(hits.distances, reverse=metric != "L2"), metric)
            if metric == "COSINE":
                holds(all(-1 <= distance <= 1 for hits in found for distance in hits.distances), "COSINE is between -1 and 1")
            if metric != "IP":
                itself = search(collection, data[:1], 1, metric)[0][0]
                equal((itself.id, round(itself.distance, 5)), (0, 0.0 if metric == "L2" else 1.0), metric)


@case
def case_1_084_vectors_stay_as_they_are_under_cosine(server: Server) -> None:
    data = embedded(1000) * np.linspace(0.1, 30, 1000, dtype=np.float32)[:, None]
    with vectors(server, "not_normal", data, index("FLAT", "COSINE")) as collection:
        exact(search(collection, data[:5], 50, "COSINE"), data, data[:5], "COSINE", 50)
        found = np.array([row["embedding"] for row in rows(collection, "id >= 0", ["embedding"])], dtype=np.float32)
        equal(found.tobytes(), data.tobytes())


@case
def case_1_085_a_search_may_leave_out_its_metric(server: Server) -> None:
    with created(server, "example", [key(), vector(name="vector")]) as collection:
        data = uniform(1000)
        collection.insert([list(range(1000)), data])
        ready(collection, IVF, flush=True)
        for param in ({"nprobe": 10}, {}, L2):
            hits = collection.search([[0.1] * 128], "vector", param, limit=10)[0]
            equal((len(hits), list(hits.distances)), (10, sorted(hits.distances)), str(param))
        with fails("metric type not match: invalid parameter[expected=L2][actual=IP]"):
            collection.search([[0.1] * 128], "vector", {"metric_type": "IP"}, limit=10)


def lists_of(data: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Lloyd's k-means: the centres, and the list of each row."""
    centres = data[np.random.default_rng(1).choice(len(data), number, replace=False)]
    for _ in range(15):
        of = scores(centres, data, "L2").argmin(1)
        centres = np.stack([data[of == each].mean(0) if (of == each).any() else centres[each] for each in range(number)])
    return centres, scores(centres, data, "L2").argmin(1)


def reference(data: np.ndarray, queries: np.ndarray, number: int, probes: list[int], limit: int) -> dict[int, float]:
    """The recall of a plain IVF_FLAT for each nprobe, which stands for the guide's table of 100,000 rows."""
    centres, of = lists_of(data, number)
    near, truth = scores(centres, queries, "L2").argsort(1), nearest(data, queries, "L2", limit)
    return {probe: float(np.mean([np.isin(of[wanted], row[:probe]).mean() for row, wanted in zip(near, truth, strict=True)])) for probe in probes}


@case
def case_1_086_more_lists_find_more(server: Server) -> None:
    data, probes = embedded(ROWS + 100), [1, 2, 4, 8, 16, 32, 64]
    data, queries = data[:ROWS], data[ROWS:]
    truth, table = nearest(data, queries, "L2", 100), reference(data, queries, LISTS, probes, 100)
    with vectors(server, "ivf_demo", data, index("IVF_FLAT", nlist=LISTS)) as collection:
        found = {probe: recall(search(collection, queries, nprobe=probe), truth) for probe in probes}
        equal(list(found.values()), sorted(found.values()), "recall by nprobe")
        equal(found[LISTS], 1.0)
        for probe in probes:
            holds(found[probe] >= table[probe] - 0.05, f"recall {found[probe]} of nprobe {probe} is about {table[probe]}")
        # 2.3.5 takes any nprobe; later versions refuse it (wire-api, 2.9 and 2.13).
        for probe in (0, 65537):
            with fails(f"Out of range in json: param 'nprobe' ({probe}) should be in range [1, 65536]"):
                search(collection, queries[:1], nprobe=probe)
        equal(recall(search(collection, queries, nprobe=65536), truth), 1.0)


@case
def case_1_087_ivf_sq8_finds_nearly_all(server: Server) -> None:
    data = embedded(ROWS + 100)
    data, queries = data[:ROWS], data[ROWS:]
    with vectors(server, "sq8", data, index("IVF_SQ8", nlist=LISTS)) as collection:
        holds(recall(search(collection, queries, 10, nprobe=LISTS), nearest(data, queries, "L2", 10)) >= 0.97, "recall@10 is 0.97")


def takes(server: Server, name: str, codes: dict[str, Any], most: float) -> None:
    """An index of codes takes at most so much of the memory that FLAT takes."""
    with vectors(server, name, embedded(ROWS), FLAT) as collection:
        whole = memory_of(collection.name)
        reindex(collection, codes)
        holds(whole >= ROWS * 512, "FLAT takes what the vectors take")
        part = memory_of(collection.name)
        holds(part <= most * whole, f"{codes['index_type']} takes {part} of {whole}")


@case
def case_1_087a_codes_of_a_byte_take_a_quarter(server: Server) -> None:
    takes(server, "sq8_size", index("IVF_SQ8", nlist=LISTS), 0.35)


@case
def case_1_088_ivf_pq_finds_more_than_half(server: Server) -> None:
    data = embedded(ROWS + 100)
    data, queries = data[:ROWS], data[ROWS:]
    truth = nearest(data, queries, "L2", 100)
    with vectors(server, "pq", data, index("IVF_PQ", nlist=LISTS, m=8, nbits=8)) as collection:
        whole = pairs(search(collection, queries, nprobe=LISTS))
        holds(recall(search(collection, queries, nprobe=LISTS), truth) >= 0.55, "recall@100 is 0.55")
        reindex(collection, index("IVF_PQ", nlist=LISTS, m=8))
        equal(pairs(search(collection, queries, nprobe=LISTS)), whole, "what is found without nbits")
        collection.release()
        collection.drop_index()
        # The words of later versions, which also have a default for `m` (wire-api, 2.13).
        with fails("Dimension:128, m:7"):
            collection.create_index("embedding", index("IVF_PQ", nlist=LISTS, m=7))
        equal(collection.indexes, [])


@case
def case_1_088a_codes_of_products_take_a_seventh(server: Server) -> None:
    takes(server, "pq_size", index("IVF_PQ", nlist=LISTS, m=8, nbits=8), 0.15)


@case
def case_1_089_hnsw_finds_nearly_all(server: Server) -> None:
    data = embedded(ROWS + 100)
    data, queries = data[:ROWS], data[ROWS:]
    truth = nearest(data, queries, "L2", 100)
    with vectors(server, "hnsw_demo", data, HNSW) as collection:
        for ef, least in ((128, 0.97), (256, 0.99)):
            holds(recall(search(collection, queries, ef=ef), truth) >= least, f"recall@100 at ef {ef} is {least}")
        # Of 100,000 rows; fewer are not harder to find.
        for m, least in ((4, 0.67), (8, 0.92), (16, 0.99), (32, 1.0), (64, 1.0)):
            reindex(collection, index("HNSW", M=m, efConstruction=200))
            holds(recall(search(collection, queries, ef=128), truth) >= least - 0.02, f"recall@100 with M {m} is {least}")
        for construction in (100, 400):
            reindex(collection, index("HNSW", M=16, efConstruction=construction))
            holds(recall(search(collection, queries, ef=128), truth) >= 0.97, f"recall@100 with efConstruction {construction} is 0.97")


@case
def case_1_090_ef_is_at_least_the_limit(server: Server) -> None:
    with vectors(server, "hnsw_ef", embedded(ROWS), HNSW) as collection:
        queries = embedded(1)
        for ef in (10, 32, 64):
            with fails(f"ef({ef}) should be larger than k(100)"):
                search(collection, queries, ef=ef)
        with fails("param 'ef' (0) should be in range [1, 2147483647]"):
            search(collection, queries, ef=0)
        for params in ({"ef": 100}, {}):
            equal(len(search(collection, queries, **params)[0]), 100)


@case
def case_1_091_wrong_parameters_of_an_index_are_refused_at_once(server: Server) -> None:
    """The words of later versions (wire-api, 2.13), where a missing nlist has a default."""
    wrong = [
        (index("IVF_FLAT", nlist=0), "param 'nlist' (0) should be in range [1, 65536]"),
        (index("IVF_FLAT", nlist=65537), "param 'nlist' (65537) should be in range [1, 65536]"),
        (index("IVF_FLAT", nlist="abc"), "invalid integer value, key: 'nlist', value: 'abc'"),
        (index("HNSW", M=3000, efConstruction=200), "param 'M' (3000) should be in range [2, 2048]"),
        (index("HNSW", M=16, efConstruction=0), "param 'efConstruction' (0) should be in range [1, 2147483647]"),
        (index("NOPE"), "invalid index type: NOPE"),
        (index("ANNOY"), "invalid index type: ANNOY"),
        (index("FLAT", "HAMMING"), "float vector index does not support metric type: HAMMING"),
        ({"index_type": "FLAT", "params": {}}, "metric type not set for vector index"),
    ]
    with vectors(server, "wrong_indexes", uniform(100)) as collection:
        for params, said in wrong:
            begin = time.monotonic()
            with fails(said, code=1100):
                collection.create_index("embedding", params)
            holds(time.monotonic() - begin < 2, f"{params} is refused within two seconds")
            equal(collection.indexes, [])
        collection.create_index("embedding", index("IVF_FLAT"))
        collection.drop_index()
        equal(ids(ready(collection), "id < 3"), [0, 1, 2])


@case
def case_1_092_a_field_has_one_index_after_the_other(server: Server) -> None:
    data = uniform(ROWS, 16)
    with vectors(server, "index_cycle", data, IVF) as collection:
        with fails("at most one distinct index is allowed per field"):
            collection.create_index("embedding", HNSW)
        collection.create_index("embedding", IVF)
        shown = [(each.index_name, each.field_name, each.params) for each in collection.indexes]
        equal(shown, [("embedding", "embedding", IVF)])
        # The guide's words are of 2.3.5; these are the later ones (wire-api, 1.3).
        with fails("vector index cannot be dropped on loaded collection"):
            collection.drop_index()
        collection.release()
        collection.drop_index()
        collection.drop_index()
        equal(collection.indexes, [])
        ready(collection, HNSW)
        equal([each.params for each in collection.indexes], [HNSW])
        equal(search(collection, data[:1], 10, ef=64)[0].ids[0], 0)


@case
def case_1_093_an_index_is_there_when_its_creation_returns(server: Server) -> None:
    with vectors(server, "built", uniform(ROWS)) as collection:
        collection.create_index("embedding", HNSW)
        progress = utility.index_building_progress("built")
        equal((progress["total_rows"], progress["indexed_rows"], progress["pending_index_rows"], progress["state"]), (ROWS, ROWS, 0, "Finished"))
        equal(utility.wait_for_index_building_complete("built"), True)


@case
def case_1_094_a_search_has_limits(server: Server) -> None:
    with vectors(server, "search_limits", uniform(ROWS, 16), FLAT) as collection:
        queries = uniform(100, 16)
        equal(sorted(search(collection, queries[:1], 16384)[0].ids), list(range(ROWS)))
        with fails("topk [16385] is invalid, it should be in range [1, 16384], but got 16385"):
            search(collection, queries[:1], 16385)
        with fails("`limit` value 0 is illegal", kind=ParamError):
            search(collection, queries[:1], 0)
        equal([len(hits) for hits in search(collection, queries, 10)], [10] * 100)
        with fails("nq (number of search vector per search request) should be in range [1, 16384]"):
            search(collection, np.zeros((16385, 16), dtype=np.float32), 1)


@case
def case_1_095_hits_have_what_was_asked_for(server: Server) -> None:
    with documents(server, "hits", 100) as collection:
        data = uniform(100)
        hit = collection.search(data[3:4], "embedding", L2, limit=3, output_fields=["title"], **STRONG)[0][0]
        equal((hit.id, hit.distance, hit.score, hit.entity.get("title"), hit.entity.get("missing")), (3, 0.0, 0.0, "文档3", None))
        shown = hit.to_dict()
        equal((shown["id"], shown["distance"], shown["entity"]), (3, 0.0, {"title": "文档3"}))
        hit = collection.search(data[3:4], "embedding", L2, limit=3, output_fields=["embedding"], **STRONG)[0][0]
        equal(np.array(hit.entity.get("embedding"), dtype=np.float32).tobytes(), data[3].tobytes())
        hit = collection.search(data[3:4], "embedding", L2, limit=3, **STRONG)[0][0]
        equal(hit.to_dict()["entity"], {})


@case
def case_1_096_a_search_names_a_vector_of_the_right_length(server: Server) -> None:
    with documents(server, "search_fields", 10) as collection:
        with fails("vector dimension mismatch"):
            collection.search(uniform(1, 100), "embedding", L2, limit=1)
        with fails("failed to get field schema by name: fieldName(vector) not found"):
            collection.search(uniform(1), "vector", L2, limit=1)
        with fails("field (title) to search is not of vector data type"):
            collection.search(uniform(1), "title", L2, limit=1)
        equal(collection.search(uniform(1), "embedding", L2, limit=1, **STRONG)[0].ids, [0])


@case
def case_1_097_a_filtered_search_finds_the_best_that_match(server: Server) -> None:
    data, names = embedded(ROWS), np.array(["电子", "服装", "食品", "图书"])
    prices = np.random.default_rng(3).uniform(10, 1000, ROWS).astype(np.float32)
    fields = [key(), text("category", 50), scalar("price", DataType.FLOAT), vector()]
    with created(server, "filtered", fields) as collection:
        categories = names[np.arange(ROWS) % 4]
        collection.insert([np.arange(ROWS), categories.tolist(), prices, data])
        ready(collection, flush=True)

        def found(expr: str, limit: int = 10) -> list[int]:
            return collection.search(data[:1], "embedding", L2, limit=limit, expr=expr, output_fields=["category", "price"], **STRONG)[0].ids

        def wanted(match: np.ndarray, limit: int = 10) -> list[int]:
            order = nearest(data, data[:1], "L2", ROWS)[0]
            return [int(each) for each in order if match[each]][:limit]

        dear = (categories == "电子") & (prices > 500)
        equal(found('category == "电子" and price > 500'), wanted(dear))
        hits = collection.search(data[:1], "embedding", L2, limit=10, expr='category == "电子" and price > 500',
                                 output_fields=["category", "price"], **STRONG)[0]
        holds(all(hit.entity.get("category") == "电子" and hit.entity.get("price") > 500 for hit in hits), "every hit matches")
        equal(found('category == "没有"'), [])
        either = wanted(np.isin(categories, ["电子", "图书"]))
        equal(found('category in ["电子", "图书"]'), either)
        equal(found('category == "电子" or category == "图书"'), either)
        reindex(collection, HNSW)
        rare = np.arange(ROWS) % 100 == 7
        some = found("id % 100 == 7")
        equal((len(some), bool(rare[some].all())), (10, True))
        holds(len(set(some) & set(wanted(rare))) >= 9, "recall of a rare filter is 0.9")


@case
def case_1_098_new_rows_are_found_at_once(server: Server) -> None:
    data = embedded(ROWS)
    with created(server, "growing", plain()) as collection:
        ready(collection, HNSW)
        for number in range(20):
            collection.insert([[number], data[number:number + 1]])
            hit = search(collection, data[number:number + 1], 1)[0][0]
            equal((hit.id, hit.distance), (number, 0.0))
        collection.insert([np.arange(20, ROWS), data[20:]])
        before = [hits[:10] for hits in pairs(search(collection, data[:20], 20))]
        equal([hits[0] for hits in before], [(number, 0.0) for number in range(20)])
        collection.flush()
        utility.wait_for_index_building_complete("growing")
        until("the sealed rows are held", 30, lambda: all(each.state == 3 for each in utility.get_query_segment_info("growing")))
        after = search(collection, data[:20], 20, ef=200)
        equal([[hit[0] for hit in hits[:10]] for hits in pairs(after)], [[hit[0] for hit in hits] for hits in before])
        equal(count(collection), ROWS)


@case
def case_1_099_what_is_deleted_is_never_found(server: Server) -> None:
    data = embedded(ROWS)
    with vectors(server, "mixed", data[:4000], HNSW) as collection:
        collection.insert([np.arange(4000, ROWS), data[4000:]])
        collection.delete("id % 3 == 0")
        left = np.arange(ROWS) % 3 != 0
        for queries in (data[:20], data[4500:4520]):
            truth = nearest(np.where(left[:, None], data, 1e6), queries, "L2", 100)
            found = search(collection, queries, ef=300)
            equal(sorted({each % 3 for hits in found for each in hits.ids}), [1, 2])
            holds(recall(found, truth) >= 0.97, "recall is 0.97")


@case
def case_1_100_many_queries_find_what_single_ones_find(server: Server) -> None:
    data = embedded(ROWS)
    with vectors(server, "batched", data, HNSW) as collection:
        single = [pairs(search(collection, data[number:number + 1], 10, ef=64))[0] for number in range(100)]
        for size in (1, 10, 50, 100):
            found = [hits for begin in range(0, 100, size) for hits in pairs(search(collection, data[begin:begin + size], 10, ef=64))]
            equal([[hit[0] for hit in hits] for hits in found], [[hit[0] for hit in hits] for hits in single], f"batches of {size}")
            holds(np.allclose([[hit[1] for hit in hits] for hits in found], [[hit[1] for hit in hits] for hits in single], rtol=1e-5, atol=1e-4),
                  f"distances in batches of {size} are the same")
        with ThreadPoolExecutor(16) as threads:
            found = threads.map(lambda number: pairs(search(collection, data[number % 100:number % 100 + 1], 10, ef=64))[0], range(1600))
            equal(list(found), single * 16)


def close(hits: Any, data: np.ndarray, query: np.ndarray, metric: str, limit: int) -> None:
    """The distances of an approximate search are exact for what it found, in order, and it found 95 % of what it should."""
    wanted = scores(data, query[None], metric)[0][list(hits.ids)]
    holds(np.allclose(hits.distances, wanted, rtol=1e-4, atol=1e-3), f"the distances by {metric} are right")
    equal(list(hits.distances), sorted(hits.distances, reverse=metric != "L2"))
    truth = nearest(data, query[None], metric, limit)[0]
    holds(len(set(hits.ids) & set(truth.tolist())) >= 0.95 * limit, f"recall@{limit} is 0.95")


@case
def case_1_101_hnsw_is_right_for_products_images_and_documents(server: Server) -> None:
    uses = [
        ("product_embeddings", "IP", 128, (16, 200), 64, 20, ["id", "title"]),
        ("image_vectors", "L2", 512, (32, 400), 256, 10, []),
        ("document_embeddings", "COSINE", 768, (16, 200), 128, 10, ["title", "content"]),
    ]
    for name, metric, dim, (m, construction), ef, limit, fields in uses:
        data = embedded(ROWS if dim == 128 else 2000, dim)
        if metric == "IP":
            data = data / np.linalg.norm(data, axis=1, keepdims=True)
        with created(server, name, [key(), text("title"), text("content", 5000), vector(dim)]) as collection:
            numbers = range(len(data))
            collection.insert([list(numbers), titles(numbers), [f"内容{number}" for number in numbers], data])
            ready(collection, index("HNSW", metric, M=m, efConstruction=construction), flush=True)
            for query in data[:5]:
                param = {"metric_type": metric, "params": {"ef": ef}}
                hits = collection.search([query], "embedding", param, limit=limit, output_fields=fields, **STRONG)[0]
                close(hits, data, query, metric, limit)
                for hit in hits:
                    whole = {"id": hit.id, "title": f"文档{hit.id}", "content": f"内容{hit.id}"}
                    equal({each: hit.entity.get(each) for each in fields}, {each: whole[each] for each in fields})


@case
def case_1_102_a_search_takes_less_than_ten_milliseconds(server: Server) -> None:
    """The guide's claim for a million rows, of 5,000; the best of ten rounds, since others use this machine too."""
    data = embedded(ROWS)
    with vectors(server, "benchmark", data, HNSW) as collection:
        medians = []
        for _ in range(10):
            took = []
            for query in data[:20]:
                begin = time.perf_counter()
                collection.search([query], "embedding", {"metric_type": "L2", "params": {"ef": 64}}, limit=10)
                took.append(time.perf_counter() - begin)
            medians.append(statistics.median(took))
        holds(min(medians) < 0.01, f"the median {min(medians)} is less than 10 ms")


@case
def case_1_103_recall_of_uniform_rows_is_that_of_the_original(server: Server) -> None:
    """A plain IVF_FLAT of NumPy stands for the original's figures of 100,000 rows, which those of HNSW are for fewer too."""
    data, probes = uniform(ROWS + 50), [1, 2, 4, 8, 16, 32, 64]
    data, queries = data[:ROWS], data[ROWS:]
    truth, table = nearest(data, queries, "L2", 100), reference(data, queries, LISTS, probes, 100)
    with vectors(server, "uniform_rows", data, index("IVF_FLAT", nlist=LISTS)) as collection:
        for probe in probes:
            found = recall(search(collection, queries, nprobe=probe), truth)
            holds(found >= table[probe] - 0.03, f"recall {found} of nprobe {probe} is {table[probe]}")
        reindex(collection, HNSW)
        for ef, theirs in ((100, 0.37), (128, 0.41), (256, 0.58), (512, 0.74)):
            found = recall(search(collection, queries, ef=ef), truth)
            holds(found >= theirs - 0.03, f"recall {found} of ef {ef} is {theirs}")


@case
def case_1_104_one_collection_has_all_kinds_of_indexes(server: Server) -> None:
    data = embedded(ROWS)
    kinds = [(FLAT, {}, 1.0), (index("IVF_FLAT", nlist=LISTS), {"nprobe": 16}, 0.9), (HNSW, {"ef": 128}, 0.95)]
    with vectors(server, "index_comparison", data) as collection:
        for params, param, least in kinds:
            ready(collection, params)
            found = search(collection, data[:10], 10, **param)
            holds(recall(found, nearest(data, data[:10], "L2", 10)) >= least, f"{params} finds {least}")
            collection.release()
            collection.drop_index()
        equal(collection.indexes, [])


@case
def case_1_105_few_rows_and_none_are_searched(server: Server) -> None:
    for number in (0, 10):
        with created(server, "few_rows", plain()) as collection:
            data = uniform(10)
            if number:
                collection.insert([list(range(number)), data])
                collection.flush()
            ready(collection, index("IVF_FLAT", nlist=1024))
            hits = search(collection, data[:1], 20, nprobe=1024)[0]
            equal(sorted(hits.ids), list(range(number)))
