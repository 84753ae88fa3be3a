"""Haystack 2, by milvus-haystack: the store of farm-haystack, which the guide has, is gone from that package."""

from __future__ import annotations

import sys
from typing import Any

from haystack import Document
from milvus_haystack import MilvusDocumentStore, MilvusEmbeddingRetriever, MilvusHybridRetriever
from milvus_haystack.function import BM25BuiltInFunction

from common import check, main, same

DIM = 384


def vector(key: int, dim: int = DIM) -> list[float]:
    return [1.0 if axis == key else 0.001 * axis for axis in range(dim)]


def documents() -> list[Document]:
    kinds = ["AI", "ML", "DB", "OS", "UI"]
    return [Document(id=f"d{key:02}", content=f"text {key}", meta={"category": kinds[key % 5]}, embedding=vector(key)) for key in range(50)]


def store_of(uri: str, name: str, **more: Any) -> MilvusDocumentStore:
    return MilvusDocumentStore(connection_args={"uri": uri}, collection_name=name, consistency_level="Strong", drop_old=True, **more)


@check
def check_107_vectors_of_another_length_are_refused(uri: str, name: str) -> None:
    store = store_of(uri, name)
    store.write_documents([Document(id="first", content="text", embedding=vector(0, 768))])
    try:
        store.write_documents([Document(id="second", content="text", embedding=vector(0, 384))])
    except Exception as error:
        said = f"{error} {error.__cause__}"
        same(f"the dimension in {said[:500]}", "dim" in said.lower(), True)
    else:
        sys.exit("a vector of 384 was accepted among those of 768")
    same("the documents", store.count_documents(), 1)


@check
def check_108_documents_are_filtered_and_found_by_words(uri: str, name: str) -> None:
    sparse = {"sparse_vector_field": "sparse", "builtin_function": [BM25BuiltInFunction(output_field_names="sparse")]}
    store = store_of(uri, name, **sparse)
    rare = Document(id="rare", content="an elephant", meta={"category": "OS"}, embedding=vector(300))
    store.write_documents([*documents()[:49], rare])
    same("the documents", store.count_documents(), 50)
    found = MilvusEmbeddingRetriever(document_store=store, top_k=3).run(query_embedding=vector(9))["documents"]
    same("the nearest", (len(found), found[0].id, found[0].content), (3, "d09", "text 9"))
    filters = {"field": "meta.category", "operator": "in", "value": ["AI", "ML"]}
    wanted = [f"d{key:02}" for key in range(49) if key % 5 < 2]
    same("filtered", sorted(document.id for document in store.filter_documents(filters)), wanted)
    found = MilvusEmbeddingRetriever(document_store=store, top_k=50, filters=filters).run(query_embedding=vector(9))["documents"]
    same("found under a filter", sorted(document.id for document in found), wanted)
    hybrid = MilvusHybridRetriever(document_store=store, top_k=5)
    found = hybrid.run(query_embedding=vector(9), query_text="elephant")["documents"]
    same("by both", {"d09", "rare"} <= {document.id for document in found}, True)
    store.delete_documents(["d00", "rare"])
    same("the documents after the deletion", store.count_documents(), 48)


main()
