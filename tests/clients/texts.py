"""Full-text search: analyzers, BM25 functions, matches of words and phrases, compared with plain Python.

    texts.py URI [REST_OF_NAME …]     only the claims whose name contains one of the words
"""

from __future__ import annotations

import logging
import math
import re
import sys
import time
import zlib
from collections import Counter
from typing import Any, Callable

import numpy as np
from pymilvus import AnnSearchRequest, DataType, Function, FunctionType, LexicalHighlighter, MilvusClient, RRFRanker

from suite import equal, refused, tried

TAG = f"{int(time.time() * 1000) % 10**9}"
WORDS = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma tau upsilon".split()
ROWS = 600
CLAIMS: list[Callable[["World"], None]] = []


def claim(check: Callable[["World"], None]) -> Callable[["World"], None]:
    CLAIMS.append(check)
    return check


class World:
    """A collection of two shards with texts of which half are sealed, and an index with parameters of its own."""

    K1, B = 1.5, 0.6

    def __init__(self, uri: str) -> None:
        self.client = MilvusClient(uri, timeout=60)
        self.name = f"texts_{TAG}"
        rng = np.random.default_rng(3)
        weights = 1 / np.arange(1, len(WORDS) + 1)
        lengths = rng.integers(0, 12, ROWS)
        self.texts = [" ".join(rng.choice(WORDS, length, p=weights / weights.sum())) for length in lengths]
        self.vectors = rng.standard_normal((ROWS, 4)).astype(np.float32)
        schema = self.client.create_schema()
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("text", DataType.VARCHAR, max_length=500, enable_analyzer=True, enable_match=True)
        schema.add_field("words", DataType.SPARSE_FLOAT_VECTOR)
        schema.add_field("vec", DataType.FLOAT_VECTOR, dim=4)
        schema.add_function(Function(name="bm25", function_type=FunctionType.BM25, input_field_names=["text"], output_field_names=["words"]))
        index = self.client.prepare_index_params()
        index.add_index("words", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25", params={"bm25_k1": self.K1, "bm25_b": self.B})
        index.add_index("vec", index_type="FLAT", metric_type="L2")
        self.client.create_collection(self.name, schema=schema, index_params=index, num_shards=2)
        self.client.insert(self.name, [self.row(key) for key in range(ROWS // 2)])
        self.client.flush(self.name)
        self.client.insert(self.name, [self.row(key) for key in range(ROWS // 2, ROWS)])

    def row(self, key: int) -> dict[str, Any]:
        return {"id": key, "text": self.texts[key], "vec": self.vectors[key].tolist()}

    def scores(self, query: str) -> dict[int, float]:
        """The formula, for every text with one of the words."""
        counts = [Counter(text.split()) for text in self.texts]
        average = sum(map(Counter.total, counts)) / ROWS
        found: dict[int, float] = {}
        for word in query.lower().split():
            having = sum(word in of for of in counts)
            rarity = math.log(1 + (ROWS - having + 0.5) / (having + 0.5))
            for key, of in enumerate(counts):
                if n := of[word]:
                    length = 1 - self.B + self.B * of.total() / average
                    found[key] = found.get(key, 0) + rarity * n * (self.K1 + 1) / (n + self.K1 * length)
        return found

    def search(self, query: str, **more: Any) -> list[dict[str, Any]]:
        return self.client.search(self.name, data=[query], anns_field="words", consistency_level="Strong", **{"limit": 10, **more})[0]

    def query(self, expr: str) -> list[int]:
        return sorted(row["id"] for row in self.client.query(self.name, expr, output_fields=["id"], consistency_level="Strong"))


@claim
def scores_are_those_of_the_formula(world: World) -> None:
    for query in ("alpha", "Upsilon tau", "sigma SIGMA pi", "beta, gamma; delta!", "omicron rho mu nu xi"):
        wanted = world.scores(query.replace(",", "").replace(";", "").replace("!", ""))
        best = sorted(wanted.values(), reverse=True)[:10]
        hits = world.search(query)
        equal(len(hits), min(10, len(wanted)), f"hits of {query}")
        for hit, score in zip(hits, best):
            if abs(hit["distance"] - score) > 1e-3 or abs(wanted[hit["id"]] - score) > 1e-3:
                raise AssertionError(f"{query}: {hit} scores {wanted[hit['id']]}, place {score}")


@claim
def texts_without_a_word_are_no_hits(world: World) -> None:
    equal(world.search("nowhere"), [], "hits of a word that no text has")
    equal(len(world.search("upsilon", limit=ROWS)), len(world.scores("upsilon")), "hits")


@claim
def a_filter_leaves_scores_alone(world: World) -> None:
    wanted = {key: score for key, score in world.scores("tau").items() if key % 2}
    hits = world.search("tau", filter="id % 2 == 1", limit=ROWS, output_fields=["text"])
    equal({hit["id"] for hit in hits}, set(wanted), "hits")
    if any(abs(hit["distance"] - wanted[hit["id"]]) > 1e-3 for hit in hits):
        raise AssertionError("a score is another one with a filter")
    equal({hit["entity"]["text"] for hit in hits}, {world.texts[key] for key in wanted}, "texts")


def fragments(text: str, words: set[str], lead: int = 0, size: int = 100, most: int = 5) -> list[str]:
    """What a highlighter with braces shows of a text, in plain Python."""
    spans = [found.span() for found in re.finditer(r"\w+", text) if found.group() in words]
    shown, all_of_them = 0, []
    while spans and len(all_of_them) < most:
        first, last = spans[0]
        start = max(first - max(min(lead, size - (last - first)), 0), min(shown, first))
        end = max(start + size, last)
        inside = [span for span in spans if span[1] <= end]
        part = text[start:end]
        for begin, stop in reversed(inside):
            part = f"{part[: begin - start]}{{{part[begin - start : stop - start]}}}{part[stop - start :]}"
        all_of_them.append(part)
        spans, shown = spans[len(inside) :], end
    return all_of_them


@claim
def words_of_hits_are_highlighted(world: World) -> None:
    braces = {"pre_tags": ["{"], "post_tags": ["}"]}
    named = [{"type": "TextMatch", "field": "text", "text": "gamma BETA"}]
    shapes = [{}, {"size": 12}, {"lead": 9, "size": 20}, {"lead": 4, "size": 5, "most": 2}, {"size": 1, "most": 1}]
    sent = {"lead": "fragment_offset", "size": "fragment_size", "most": "num_of_fragments"}
    for shape in shapes:
        params = {sent[key]: value for key, value in shape.items()}
        for source, more in (({"highlight_search_text": True}, set()), ({"highlight_search_text": True, "highlight_query": named}, {"gamma", "beta"})):
            lexical = LexicalHighlighter(**braces, **source, **params)
            queries = ["Alpha tau", "sigma"]
            found = world.client.search(world.name, data=queries, anns_field="words", limit=40, offset=2, highlighter=lexical, consistency_level="Strong")
            for query, hits in zip(queries, found):
                equal(len(hits) > 5, True, f"hits of {query}")
                for hit in hits:
                    wanted = fragments(world.texts[hit["id"]], set(query.lower().split()) | more, **shape)
                    equal((hit["highlight"], hit["entity"]), ({"text": {"fragments": wanted, "scores": []}}, {}), f"{query} {shape} {hit['id']}")
    usual = world.search("upsilon", highlighter=LexicalHighlighter(highlight_search_text=True), output_fields=["text"])
    for hit in usual:
        wanted = [part.replace("{", "<em>").replace("}", "</em>") for part in fragments(hit["entity"]["text"], {"upsilon"})]
        equal(hit["highlight"]["text"]["fragments"], wanted, "fragments with the usual tags")
    one = LexicalHighlighter(highlight_search_text=True)
    vector = lambda **more: world.client.search(world.name, data=[world.vectors[0].tolist()], anns_field="vec", limit=3, **more)
    refused(lambda: vector(highlighter=one), (1100, 65535), 'Search highlight only support with metric type "BM25" but was: ')
    refused(lambda: world.search("tau", highlighter=LexicalHighlighter(pre_tags=[])), (1100, 65535), "pre_tags cannot be empty list")
    refused(lambda: world.search("tau", highlighter=LexicalHighlighter(fragment_size=-1)), (1100, 65535), "invalid fragment_size: -1")


@claim
def words_and_phrases_are_matched(world: World) -> None:
    def keys(test: Callable[[list[str]], bool]) -> list[int]:
        return [key for key, text in enumerate(world.texts) if test(text.split())]

    equal(world.query("text_match(text, 'TAU sigma')"), keys(lambda words: "tau" in words or "sigma" in words), "text_match")
    least = "text_match(text, 'alpha beta gamma', minimum_should_match=3)"
    equal(world.query(least), keys(lambda words: {"alpha", "beta", "gamma"} <= set(words)), "minimum_should_match")
    pairs = lambda words: list(zip(words, words[1:]))
    equal(world.query("phrase_match(text, 'alpha beta')"), keys(lambda words: ("alpha", "beta") in pairs(words)), "phrase_match")
    near = lambda words: any(words[at] == "alpha" and "beta" in words[at + 1 : at + 3] for at in range(len(words)))
    equal(world.query("phrase_match(text, 'alpha beta', 1)"), keys(near), "phrase_match with slop")
    equal(world.query("not text_match(text, 'alpha') and id < 50"), [key for key in keys(lambda words: "alpha" not in words) if key < 50], "not")


@claim
def what_is_computed_is_not_given_and_not_returned(world: World) -> None:
    row = world.client.query(world.name, "id == 1", output_fields=["*"])[0]
    equal(sorted(row), ["id", "text", "vec"], "fields of a row")
    refused(lambda: world.search("alpha", output_fields=["words"]), (1100, 65535), "not allowed to retrieve raw data of field words")
    by_vector = lambda: world.client.search(world.name, data=[{1: 0.5}], anns_field="words", limit=1)
    refused(by_vector, (1100, 65535), "please provide varchar/text for BM25 Function based search")


@claim
def a_schema_comes_back_as_it_was_given(world: World) -> None:
    schema = world.client.describe_collection(world.name)
    function = schema["functions"][0]
    shown = (function["name"], function["type"], function["input_field_names"], function["output_field_names"])
    equal(shown, ("bm25", FunctionType.BM25, ["text"], ["words"]), "function")
    equal([field.get("is_function_output", False) for field in schema["fields"]], [False, False, True, False], "computed")
    params = schema["fields"][1]["params"]
    equal([str(params[key]).lower() for key in ("enable_analyzer", "enable_match")], ["true", "true"], "type parameters")
    index = world.client.describe_index(world.name, "words")
    equal((index["metric_type"], float(index["bm25_k1"]), float(index["bm25_b"])), ("BM25", world.K1, world.B), "index")


@claim
def texts_and_vectors_are_searched_together(world: World) -> None:
    requests = [
        AnnSearchRequest(["upsilon"], "words", {"metric_type": "BM25"}, limit=20),
        AnnSearchRequest([world.vectors[7].tolist()], "vec", {"metric_type": "L2"}, limit=20),
    ]
    hits = world.client.hybrid_search(world.name, requests, RRFRanker(), limit=5, consistency_level="Strong")[0]
    equal((len(hits), 7 in {hit["id"] for hit in hits}), (5, True), "hits, and the nearest vector among them")


@claim
def changed_texts_are_counted_anew(world: World) -> None:
    name = f"changed_{TAG}"
    schema = world.client.create_schema(auto_id=False)
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=20)
    schema.add_field("text", DataType.VARCHAR, max_length=500, nullable=True, enable_analyzer=True, analyzer_params={"type": "english"})
    schema.add_field("words", DataType.SPARSE_FLOAT_VECTOR)
    schema.add_field("n", DataType.INT64, nullable=True)
    schema.add_function(Function(name="bm25", function_type=FunctionType.BM25, input_field_names=["text"], output_field_names=["words"]))
    index = world.client.prepare_index_params()
    index.add_index("words", index_type="AUTOINDEX", metric_type="BM25")
    world.client.create_collection(name, schema=schema, index_params=index)
    found = lambda text: sorted(hit["id"] for hit in world.client.search(name, data=[text], limit=9, consistency_level="Strong")[0])
    try:
        world.client.insert(name, [{"id": "a", "text": "Running foxes", "n": 1}, {"id": "b", "text": None, "n": 2}])
        equal(found("a fox runs"), ["a"], "hits")
        world.client.upsert(name, [{"id": "b", "text": "one more fox", "n": 3}])
        equal(found("fox"), ["a", "b"], "hits after an upsert")
        world.client.upsert(name, [{"id": "a", "text": "dogs"}], partial_update=True)
        equal((found("fox"), found("dog")), (["b"], ["a"]), "hits after a part of a row was changed")
        world.client.upsert(name, [{"id": "a", "n": 9}], partial_update=True)
        equal(found("dog"), ["a"], "hits after another part was")
        world.client.flush(name)
        equal(found("dog"), ["a"], "hits once sealed")
        refused(lambda: world.client.query(name, "text_match(text, 'fox')"), (1100,), 'field "text" does not enable match')
    finally:
        world.client.drop_collection(name)


@claim
def analyzers_are_run_on_request(world: World) -> None:
    tokens = lambda text, **params: world.client.run_analyzer([text], **params)[0].tokens
    equal(list(tokens("The Milvus vector database is built for scale!", analyzer_params={"type": "english"})), ["milvus", "vector", "databas", "built", "scale"], "english")
    chinese = {"tokenizer": "jieba", "filter": ["removepunct"]}
    equal(list(tokens("milvus结巴分词器中文测试。", analyzer_params=chinese)), ["milvus", "结巴", "分词", "分词器", "中文", "测试"], "jieba")
    detailed = tokens("Über Alpha", collection_name=world.name, field_name="text", with_detail=True, with_hash=True)[1]
    wanted = {"token": "alpha", "start_offset": 6, "end_offset": 11, "position": 1, "position_length": 1, "hash": zlib.crc32(b"alpha")}
    equal({key: detailed[key] for key in wanted}, wanted, "a token")
    refused(lambda: tokens("a", analyzer_params={"tokenizer": "nope"}), (2000,), "unsupported tokenizer")


@claim
def what_is_not_built_says_so(world: World) -> None:
    def make(function: FunctionType, **params: Any) -> None:
        schema = world.client.create_schema()
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("text", DataType.VARCHAR, max_length=500, **params)
        if function == FunctionType.BM25:
            schema.add_field("words", DataType.SPARSE_FLOAT_VECTOR)
        else:
            schema.add_field("words", DataType.FLOAT_VECTOR, dim=4)
        schema.add_function(Function(name="f", function_type=function, input_field_names=["text"], output_field_names=["words"]))
        world.client.create_collection(f"refused_{TAG}", schema=schema)

    refused(lambda: make(FunctionType.BM25), (1100, 65535), "BM25 function input field must set enable_analyzer to true")
    refused(lambda: make(FunctionType.TEXTEMBEDDING), (1100, 65535), "text embedding function: param provider is missing")
    analyzer = {"enable_analyzer": True, "analyzer_params": {"tokenizer": "lindera"}}
    refused(lambda: make(FunctionType.BM25, **analyzer), (2000,), "unsupported tokenizer: lindera is not built yet")


def main() -> None:
    world, words = World(sys.argv[1]), sys.argv[2:]
    logging.disable(logging.CRITICAL)
    passed, failed = tried(CLAIMS, world, words)
    world.client.drop_collection(world.name)
    print(f"texts: {passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
