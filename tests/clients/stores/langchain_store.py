"""LangChain's Milvus store, as its page shows it: texts in, similar ones out, filters, scores, MMR, upsert, delete, reopening.

    langchain_store.py URI
"""

from __future__ import annotations

import sys
import time

from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_milvus import Milvus

URI = sys.argv[1]
NAME = f"langchain_{time.time_ns()}"
EMBEDDINGS = DeterministicFakeEmbedding(size=384)
DOCUMENTS = [
    Document(page_content=f"{text} {i}", metadata={"source": source, "page": i})
    for i, (text, source) in enumerate([("a red kite circles", "birds"), ("an engine is tuned", "cars"), ("bread is baked", "food")] * 10)
]
KEYS = [f"doc-{i}" for i in range(len(DOCUMENTS))]


def same(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        sys.exit(f"{what}: {found!r} instead of {wanted!r}")


def options(index: str) -> dict:
    params = {} if index == "AUTOINDEX" else {"M": 8, "efConstruction": 64}
    return {"connection_args": {"uri": URI}, "index_params": {"index_type": index, "metric_type": "COSINE", "params": params}}


def texts_and_scores() -> None:
    store = Milvus.from_documents(DOCUMENTS, EMBEDDINGS, ids=KEYS, collection_name=NAME, drop_old=True, consistency_level="Strong", **options("HNSW"))
    for document in DOCUMENTS[:5]:
        found = store.similarity_search(document.page_content, k=1)
        same("the document itself", (found[0].page_content, found[0].metadata["source"], found[0].metadata["page"]), (document.page_content, document.metadata["source"], document.metadata["page"]))
    found = store.similarity_search_with_score(DOCUMENTS[3].page_content, k=4)
    same("as many as asked", len(found), 4)
    same("the score of itself", round(found[0][1], 4), 1.0)
    same("scores in order", [score for _, score in found], sorted((score for _, score in found), reverse=True))
    found = store.similarity_search("anything", k=30, expr='source == "cars" and page < 10')
    same("the filtered", sorted(one.metadata["page"] for one in found), [1, 4, 7])
    found = store.max_marginal_relevance_search(DOCUMENTS[0].page_content, k=3, fetch_k=10)
    same("MMR begins with itself", (len(found), found[0].page_content), (3, DOCUMENTS[0].page_content))
    found = store.as_retriever(search_type="similarity_score_threshold", search_kwargs={"k": 5, "score_threshold": 0.99}).invoke(DOCUMENTS[6].page_content)
    same("above the threshold", [one.page_content for one in found], [DOCUMENTS[6].page_content])


def changes() -> None:
    store = Milvus(EMBEDDINGS, collection_name=NAME, consistency_level="Strong", **options("HNSW"))
    same("keys by expression", sorted(store.get_pks("page >= 27")), ["doc-27", "doc-28", "doc-29"])
    store.delete(ids=["doc-27"])
    same("after the deletion", sorted(store.get_pks("page >= 27")), ["doc-28", "doc-29"])
    store.upsert(ids=["doc-28"], documents=[Document(page_content="written anew", metadata={"source": "new", "page": 28})])
    found = store.similarity_search("written anew", k=1)
    same("the upserted", (found[0].page_content, found[0].metadata["source"]), ("written anew", "new"))
    same("by metadata", sorted(one.metadata["page"] for one in store.search_by_metadata('source == "food"', limit=50)), [i for i in range(2, 30, 3)])
    store.add_texts(["one more"], metadatas=[{"source": "added", "page": 100}], ids=["doc-100"])
    same("the added", [one.page_content for one in store.similarity_search("one more", k=1)], ["one more"])


def dynamic_fields_and_own_keys() -> None:
    name = NAME + "_dynamic"
    store = Milvus(EMBEDDINGS, collection_name=name, auto_id=True, enable_dynamic_field=True, consistency_level="Strong", drop_old=True, **options("AUTOINDEX"))
    keys = store.add_documents([Document(page_content="first", metadata={"a": 1}), Document(page_content="second", metadata={"b": "two"})])
    same("generated keys", len(set(keys)), 2)
    found = store.similarity_search("second", k=2, expr='b == "two"')
    same("by a key of only one document", [one.page_content for one in found], ["second"])
    store.drop()


texts_and_scores()
changes()
dynamic_fields_and_own_keys()
Milvus(EMBEDDINGS, collection_name=NAME, **options("HNSW")).drop()
print("langchain-milvus: texts, scores, filters, MMR, retriever, upsert, delete, dynamic fields")
