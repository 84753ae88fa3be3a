"""Arrays of structs: written by gRPC and REST, read whole and in part, filtered and searched by lists of vectors and by single
ones, before and after the engine was killed. What is found is held against the same computed here.

    structs.py URI write      makes the collection and looks at it
    structs.py URI read       looks at it in another life of the engine
"""

from __future__ import annotations

import json
import logging
import sys
import urllib.request
from typing import Any, Callable, Iterator

import numpy as np
from pymilvus import AnnSearchRequest, DataType, MilvusClient, RRFRanker
from pymilvus.client.embedding_list import EmbeddingList

from suite import equal, told

LISTS, ELEMENTS = "clips_by_lists", "clips_by_elements"
ROWS, DIM = 300, 8
COLOURS = ["red", "green", "blue"]


def rest(uri: str, path: str, body: dict[str, Any]) -> Any:
    headers = {"Content-Type": "application/json", "Accept-Type-Allow-Int64": "true"}
    request = urllib.request.Request(f"{uri}/v2/vectordb/{path}", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        found = json.load(answer)
    equal(found["code"], 0, f"{path}: {found}")
    return found["data"]


def vector(seed: int) -> list[float]:
    """Quarters, so that sums are exact whatever their order."""
    return [float(number) / 4 for number in np.random.RandomState(seed).randint(-8, 9, DIM)]


def clips(key: int) -> list[dict[str, Any]] | None:
    """Every eleventh row has no array, every seventh an empty one."""
    if key % 11 == 5:
        return None
    count = 0 if key % 7 == 3 else 1 + key % 4
    return [{"n": key * 10 + at, "t": COLOURS[(key + at) % 3], "v": vector(key * 100 + at)} for at in range(count)]


def row(key: int) -> dict[str, Any]:
    return {"id": key, "plain": vector(key), "clips": clips(key)}


def gone(key: int) -> bool:
    return key % 13 == 4


def live() -> Iterator[int]:
    return (key for key in range(ROWS) if not gone(key))


def elements() -> Iterator[tuple[int, int, dict[str, Any]]]:
    return ((key, at, clip) for key in live() for at, clip in enumerate(clips(key) or []))


def make(client: MilvusClient, uri: str, name: str, metric: str) -> None:
    if client.has_collection(name):
        client.drop_collection(name)
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("plain", DataType.FLOAT_VECTOR, dim=DIM)
    clip = client.create_struct_field_schema()
    clip.add_field("n", DataType.INT64)
    clip.add_field("t", DataType.VARCHAR, max_length=16)
    clip.add_field("v", DataType.FLOAT_VECTOR, dim=DIM)
    schema.add_field("clips", DataType.ARRAY, element_type=DataType.STRUCT, struct_schema=clip, max_capacity=4, nullable=True)
    index = client.prepare_index_params()
    index.add_index("plain", index_type="FLAT", metric_type="L2")
    index.add_index("clips[v]", index_type="HNSW", metric_type=metric, params={"M": 16, "efConstruction": 100})
    index.add_index("clips[n]", index_type="INVERTED")
    client.create_collection(name, schema=schema, index_params=index)
    third = ROWS // 3
    client.insert(name, [row(key) for key in range(third)])
    client.flush(name)
    rest(uri, "entities/insert", {"collectionName": name, "data": [row(key) for key in range(third, 2 * third)]})
    # These are written wrong first.
    client.insert(name, [row(key) | {"clips": [{"n": 0, "t": "", "v": [0.0] * DIM}]} for key in range(2 * third, ROWS)])
    client.upsert(name, [row(key) for key in range(2 * third, ROWS)])
    client.delete(name, ids=[key for key in range(ROWS) if gone(key)])


def refusals(client: MilvusClient) -> None:
    many = [{"n": 1, "t": "a", "v": vector(1)}] * 5
    told("array length exceeds max capacity", lambda: client.insert(LISTS, [row(1) | {"clips": many}]))
    query = EmbeddingList([np.array(vector(1), dtype=np.float32)])
    told("range search is not supported for multi-search-multi", lambda: client.search(LISTS, [query], anns_field="clips[v]", search_params={"params": {"radius": 0.1}}))
    told("metric type not match", lambda: client.search(LISTS, [query], anns_field="clips[v]", search_params={"metric_type": "MAX_SIM_L2"}))
    told("vector type must be the same", lambda: client.search(LISTS, [vector(1)], anns_field="clips[v]"))
    told("array of vector is not supported for search by IDs", lambda: client.search(LISTS, ids=[1], anns_field="clips[v]"))


def look_at_rows(client: MilvusClient, uri: str, name: str, when: str) -> None:
    found = client.query(name, "id >= 0", output_fields=["*"], limit=16384, consistency_level="Strong")
    equal([(row["id"], row["clips"]) for row in found], [(key, clips(key)) for key in live()], f"rows of {name} {when}")
    some = rest(uri, "entities/query", {"collectionName": name, "filter": "id < 40", "outputFields": ["clips"], "limit": 100})
    equal([row["clips"] for row in some], [clips(key) for key in live() if key < 40], f"rows over REST {when}")
    part = client.query(name, "id == 1", output_fields=["clips[n]"])
    equal(part[0]["clips"], [{"n": clip["n"]} for clip in clips(1) or []], f"one part {when}")

    def where(expression: str, keep: Callable[[list[dict[str, Any]]], bool]) -> None:
        answer = client.query(name, expression, output_fields=["id"], limit=16384, consistency_level="Strong")
        wanted = [key for key in live() if clips(key) is not None and keep(clips(key) or [])]
        equal([row["id"] for row in answer], wanted, f"{expression} {when}")

    red = lambda all: sum(clip["t"] == "red" for clip in all)
    where('MATCH_ANY(clips, $[t] == "red" && $[n] > 500)', lambda all: any(clip["t"] == "red" and clip["n"] > 500 for clip in all))
    where('MATCH_ALL(clips, $[t] != "red")', lambda all: red(all) == 0)
    where('match_least(clips, $[t] == "red", threshold=2)', lambda all: red(all) >= 2)
    where('match_most(clips, $[t] == "red", threshold=1)', lambda all: red(all) <= 1)
    where('match_exact(clips, $[t] == "red", threshold=1)', lambda all: red(all) == 1)
    where("array_contains(clips[n], 121)", lambda all: any(clip["n"] == 121 for clip in all))
    where("array_length(clips[n]) == 3", lambda all: len(all) == 3)
    where('clips[0][t] == "blue"', lambda all: bool(all) and all[0]["t"] == "blue")
    where("clips is not null", lambda all: True)
    answer = client.query(name, "element_filter(clips, $[n] % 10 == 1)", output_fields=["id"], limit=16384)
    wanted = [(key, at) for key, at, clip in elements() if clip["n"] % 10 == 1]
    equal([(row["id"], row["offset"]) for row in answer], wanted, f"elements {when}")
    pages = client.query_iterator(name, filter='element_filter(clips, $[t] == "green")', output_fields=["id"], batch_size=7)
    seen = []
    while page := pages.next():
        seen.extend((row["id"], row["offset"]) for row in page)
    equal(seen, [(key, at) for key, at, clip in elements() if clip["t"] == "green"], f"elements by pages {when}")


def cosine(left: Any, right: Any) -> float:
    left, right = np.array(left), np.array(right)
    norms = np.linalg.norm(left) * np.linalg.norm(right)
    return float(left @ right / norms) if norms else 0.0


def look_at_lists(client: MilvusClient, when: str) -> None:
    queries = [[vector(7000 + at) for at in range(count)] for count in (1, 3, 5)]
    data = [EmbeddingList([np.array(one, dtype=np.float32) for one in query]) for query in queries]
    for expression, keep in [("", lambda key: True), ("id >= 100 and match_any(clips, $[n] % 2 == 0)", lambda key: key >= 100)]:
        found = client.search(LISTS, data, anns_field="clips[v]", filter=expression, limit=10, output_fields=["clips"], consistency_level="Strong")
        for query, hits in zip(queries, found):
            scores = {}
            for key in live():
                if not keep(key) or not clips(key):
                    continue
                scores[key] = sum(max(cosine(one, clip["v"]) for clip in clips(key) or []) for one in query)
            best = sorted(scores.values(), reverse=True)[:10]
            equal(np.allclose([hit["distance"] for hit in hits], best, atol=1e-4), True, f"scores of {len(query)} vectors {when}")
            for hit in hits:
                equal(abs(scores[hit["id"]] - hit["distance"]) < 1e-4, True, f"the score of {hit['id']} {when}")
                equal(hit["entity"]["clips"], clips(hit["id"]), f"the clips of a hit {when}")
    both = [
        AnnSearchRequest(data[1:2], "clips[v]", {"metric_type": "MAX_SIM_COSINE"}, 20),
        AnnSearchRequest([queries[1][0]], "plain", {"metric_type": "L2"}, 20),
    ]
    fused = client.hybrid_search(LISTS, both, RRFRanker(), limit=10, output_fields=["id"])
    equal(len({hit["id"] for hit in fused[0]}), 10, f"a hybrid search {when}")


def look_at_elements(client: MilvusClient, when: str) -> None:
    query = vector(8000)
    ip = {(key, at): float(np.dot(query, clip["v"])) for key, at, clip in elements()}

    def best(keep: Callable[[dict[str, Any]], bool], most: int) -> list[tuple[int, int, float]]:
        chosen = [(key, at, ip[key, at]) for key, at, clip in elements() if keep(clip)]
        return sorted(chosen, key=lambda one: (-one[2], one[0], one[1]))[:most]

    def shown(hits: Any) -> list[tuple[int, int, float]]:
        return [(hit["id"], hit["offset"], hit["distance"]) for hit in hits]

    search = lambda **more: client.search(ELEMENTS, [query], anns_field="clips[v]", consistency_level="Strong", **more)[0]
    equal(shown(search(limit=25)), best(lambda clip: True, 25), f"elements {when}")
    equal(shown(search(limit=10, offset=5)), best(lambda clip: True, 15)[5:], f"elements past others {when}")
    red = 'id > 0 && element_filter(clips, $[t] == "red")'
    equal(shown(search(limit=25, filter=red)), [one for one in best(lambda clip: clip["t"] == "red", 26) if one[0] > 0][:25], f"red elements {when}")
    bound = best(lambda clip: True, 12)[11][2]
    near = search(limit=100, search_params={"params": {"radius": bound}})
    equal(shown(near), [one for one in best(lambda clip: True, 100) if one[2] > bound], f"near elements {when}")
    rows = search(limit=8, group_by_field="id", output_fields=["id"])
    heads: dict[int, float] = {}
    for key, _, score in best(lambda clip: True, 10_000):
        heads.setdefault(key, score)
    equal([(hit["id"], hit["distance"]) for hit in rows], list(heads.items())[:8], f"elements by rows {when}")


def main() -> None:
    logging.disable(logging.CRITICAL)
    uri, step = sys.argv[1], sys.argv[2]
    client = MilvusClient(uri)
    if step == "write":
        make(client, uri, LISTS, "MAX_SIM_COSINE")
        make(client, uri, ELEMENTS, "IP")
        refusals(client)
    for when in ["at first", "compacted"] if step == "write" else ["in another life"]:
        for name in (LISTS, ELEMENTS):
            look_at_rows(client, uri, name, when)
        look_at_lists(client, when)
        look_at_elements(client, when)
        if when == "at first":
            for name in (LISTS, ELEMENTS):
                client.flush(name)
                client.compact(name)
    print("arrays of structs hold what was put into them")


if __name__ == "__main__":
    main()
