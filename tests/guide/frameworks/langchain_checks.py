"""LangChain, by langchain-milvus: the store of langchain-community, which the guide has, is gone from that package."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_milvus import Milvus
from pymilvus import MilvusClient

from common import check, main, same

EMBEDDINGS = DeterministicFakeEmbedding(size=1536)
DOCUMENTS = [Document(page_content=f"chunk {number}", metadata={"source": "document.txt", "page": number}) for number in range(30)]
VECTORS = np.array(EMBEDDINGS.embed_documents([document.page_content for document in DOCUMENTS]), np.float32)


def options(uri: str, name: str, metric: str = "L2") -> dict[str, Any]:
    index = {"index_type": "HNSW", "metric_type": metric, "params": {"M": 8, "efConstruction": 64}}
    return {"connection_args": {"uri": uri}, "collection_name": name, "index_params": index, "consistency_level": "Strong"}


def stored(uri: str, name: str, metric: str = "L2", **more: Any) -> Milvus:
    return Milvus.from_documents(DOCUMENTS, EMBEDDINGS, drop_old=True, **options(uri, name, metric), **more)


def query_vector(text: str) -> np.ndarray:
    return np.array(EMBEDDINGS.embed_query(text), np.float32)


def expected(text: str, limit: int) -> list[tuple[str, float]]:
    """The nearest texts with their squared distances."""
    there = ((VECTORS - query_vector(text)) ** 2).sum(axis=1)
    return [(DOCUMENTS[at].page_content, float(there[at])) for at in np.argsort(there)[:limit]]


@check
def check_92_documents_in_similar_ones_out(uri: str, name: str) -> None:
    for _ in range(2):
        store = stored(uri, name)
        found = [document.page_content for document in store.similarity_search("a question", k=3)]
        same("the nearest", found, [text for text, _ in expected("a question", 3)])
        client = MilvusClient(uri)
        fields = {field["name"] for field in client.describe_collection(name)["fields"]}
        same("the fields", {"text", "pk", "vector"} <= fields, True)
        same("the rows", client.query(name, output_fields=["count(*)"], consistency_level="Strong")[0]["count(*)"], 30)


@check
def check_93_scores_are_distances(uri: str, name: str) -> None:
    found = stored(uri, name).similarity_search_with_score("a question", k=5)
    wanted = expected("a question", 5)
    same("the texts", [document.page_content for document, _ in found], [text for text, _ in wanted])
    # The distances of vectors of 1,536 standard normal numbers are some 3,000: 1e-4 of that is what single precision can say.
    far = [(score, right) for (_, score), (_, right) in zip(found, wanted) if abs(score - right) > 1e-4 * right]
    same("the scores that are not the distances", far, [])
    same("ascending", [score for _, score in found], sorted(score for _, score in found))


def relevant(text: str, count: int, fetched: int, weight: float) -> list[str]:
    """Maximal marginal relevance, by cosines, as NumPy has it."""
    query = query_vector(text)
    candidates = [int(at) for at in np.argsort(((VECTORS - query) ** 2).sum(axis=1))[:fetched]]
    unit = VECTORS / np.linalg.norm(VECTORS, axis=1, keepdims=True)
    to_query = unit @ (query / np.linalg.norm(query))
    chosen = [max(candidates, key=lambda at: to_query[at])]
    while len(chosen) < count:
        rest = [at for at in candidates if at not in chosen]
        chosen.append(max(rest, key=lambda at: weight * to_query[at] - (1 - weight) * max(unit[at] @ unit[other] for other in chosen)))
    return [DOCUMENTS[at].page_content for at in chosen]


@check
def check_94_relevance_is_that_of_numpy(uri: str, name: str) -> None:
    found = stored(uri, name).max_marginal_relevance_search("a question", k=3, fetch_k=10)
    same("the chosen", [document.page_content for document in found], relevant("a question", 3, 10, 0.5))


@check
def check_95_a_collection_is_opened_again(uri: str, name: str) -> None:
    stored(uri, name)
    MilvusClient(uri).release_collection(name)
    store = Milvus(EMBEDDINGS, **options(uri, name))
    retriever = store.as_retriever(search_type="mmr", search_kwargs={"k": 3, "fetch_k": 10, "lambda_mult": 0.5})
    found = [document.page_content for document in retriever.invoke("a question")]
    same("the chosen", found, relevant("a question", 3, 10, 0.5))


@check
def check_96_scores_have_a_threshold(uri: str, name: str) -> None:
    store = stored(uri, name, "COSINE")
    scores = [score for _, score in store.similarity_search_with_relevance_scores("chunk 3", k=30)]
    same("scores from 0 to 1", [score for score in scores if not 0 <= score <= 1], [])
    retriever = store.as_retriever(search_type="similarity_score_threshold", search_kwargs={"score_threshold": 0.8, "k": 5})
    same("above the threshold", [document.page_content for document in retriever.invoke("chunk 3")], ["chunk 3"])


@check
def check_98_documents_are_changed_and_deleted(uri: str, name: str) -> None:
    keys = [f"doc-{number}" for number in range(30)]
    store = stored(uri, name, ids=keys, enable_dynamic_field=True)

    def count() -> int:
        return MilvusClient(uri).query(name, output_fields=["count(*)"], consistency_level="Strong")[0]["count(*)"]

    same("keys by a filter", sorted(store.get_pks("page >= 28") or []), ["doc-28", "doc-29"])
    store.upsert(ids=["doc-3"], documents=[Document(page_content="written anew", metadata={"source": "new", "page": 3})])
    same("after the upsert", (count(), [one.page_content for one in store.similarity_search("written anew", k=1)]), (30, ["written anew"]))
    store.delete(ids=["doc-28", "doc-29"])
    same("after the deletion", (count(), store.get_pks("page >= 27")), (28, ["doc-27"]))


@check
def check_99_a_text_that_is_too_long_is_named(uri: str, name: str) -> None:
    store = stored(uri, name)
    try:
        store.add_documents([Document(page_content="x" * 65536, metadata={"source": "long", "page": 99})])
    except Exception as error:
        said = f"{error} {error.__cause__}"
        same(f"the field and the limit in {said[:500]}", ("text" in said, "65535" in said), (True, True))
    else:
        sys.exit("a text of 65,536 bytes was accepted")
    rows = MilvusClient(uri).query(name, filter="page >= 0", output_fields=["page"], limit=100, consistency_level="Strong")
    same("the others", sorted(row["page"] for row in rows), list(range(30)))


main()
