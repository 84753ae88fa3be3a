"""Haystack's Milvus store in pipelines: documents with metadata in, filters, an embedding retriever, deletion, reopening.

    haystack_store.py URI
"""

from __future__ import annotations

import sys
import time

from haystack import Document, Pipeline
from haystack.components.writers import DocumentWriter
from milvus_haystack import MilvusDocumentStore, MilvusEmbeddingRetriever

URI = sys.argv[1]
NAME = f"haystack_{time.time_ns()}"
DIM = 128


def same(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        sys.exit(f"{what}: {found!r} instead of {wanted!r}")


def vector(key: int) -> list[float]:
    return [1.0 if axis == key % DIM else 0.01 * axis for axis in range(DIM)]


def keys(documents: list[Document]) -> list[str]:
    return sorted(document.id for document in documents)


def open_store(drop_old: bool) -> MilvusDocumentStore:
    return MilvusDocumentStore(connection_args={"uri": URI}, collection_name=NAME, consistency_level="Strong", drop_old=drop_old)


DOCUMENTS = [
    Document(id=f"d{key:02}", content=f"text {key}", meta={"page": key, "chapter": ["intro", "end"][key % 2]}, embedding=vector(key))
    for key in range(20)
]
store = open_store(drop_old=True)
same("of nothing", store.count_documents(), 0)
writing = Pipeline()
writing.add_component("writer", DocumentWriter(store))
same("written", writing.run({"writer": {"documents": DOCUMENTS}}), {"writer": {"documents_written": 20}})
same("counted", store.count_documents(), 20)

reading = Pipeline()
reading.add_component("retriever", MilvusEmbeddingRetriever(document_store=store, top_k=3))
for key in (0, 9):
    found = reading.run({"retriever": {"query_embedding": vector(key)}})["retriever"]["documents"]
    same("nearest", (len(found), found[0].id, found[0].content, found[0].meta["page"]), (3, f"d{key:02}", f"text {key}", key))

by_page = {"field": "meta.page", "operator": ">=", "value": 17}
same("a range", keys(store.filter_documents(by_page)), ["d17", "d18", "d19"])
both = {"operator": "AND", "conditions": [{"field": "meta.chapter", "operator": "==", "value": "end"}, {"field": "meta.page", "operator": "<", "value": 6}]}
same("two conditions", keys(store.filter_documents(both)), ["d01", "d03", "d05"])
either = {"operator": "OR", "conditions": [by_page, {"field": "meta.page", "operator": "in", "value": [1, 2]}]}
same("either", keys(store.filter_documents(either)), ["d01", "d02", "d17", "d18", "d19"])
negated = {"operator": "NOT", "conditions": [{"field": "meta.page", "operator": "<", "value": 18}]}
same("negated", keys(store.filter_documents(negated)), ["d18", "d19"])
found = MilvusEmbeddingRetriever(document_store=store, top_k=20, filters=both).run(query_embedding=vector(1))["documents"]
same("retrieved under a filter", keys(found), ["d01", "d03", "d05"])

store.delete_documents(["d00", "d01"])
same("after the deletion", store.count_documents(), 18)
same("reopened", (open_store(drop_old=False).count_documents(), open_store(drop_old=True).count_documents()), (18, 0))
print("milvus-haystack: pipelines that write and retrieve, filters, deletion, reopening")
