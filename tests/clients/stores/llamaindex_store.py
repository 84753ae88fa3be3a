"""LlamaIndex's Milvus store: an index over nodes, queries with metadata filters, MMR, nodes by key, deletion, reopening.

    llamaindex_store.py URI
"""

from __future__ import annotations

import sys
import time

from llama_index.core import MockEmbedding, StorageContext, VectorStoreIndex
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores import ExactMatchFilter, FilterOperator, MetadataFilter, MetadataFilters
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode
from llama_index.vector_stores.milvus import MilvusVectorStore

URI = sys.argv[1]
NAME = f"llamaindex_{time.time_ns()}"
DIM = 32


def same(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        sys.exit(f"{what}: {found!r} instead of {wanted!r}")


def vector(key: int) -> list[float]:
    return [1.0 if axis == key % DIM else 0.01 * axis for axis in range(DIM)]


NODES = [
    TextNode(
        id_=f"node-{key}",
        text=f"text {key}",
        metadata={"author": ["mi", "ka"][key % 2], "page": key},
        embedding=vector(key),
        relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=f"source-{key // 4}")},
    )
    for key in range(20)
]


def open_store(**more: object) -> MilvusVectorStore:
    return MilvusVectorStore(uri=URI, dim=DIM, collection_name=NAME, consistency_level="Strong", similarity_metric="COSINE", use_async_client=False, **more)


def ids(store: MilvusVectorStore, key: int, top: int, **more: object) -> list[str]:
    return store.query(VectorStoreQuery(query_embedding=vector(key), similarity_top_k=top, **more)).ids


store = open_store(overwrite=True)
store.add(NODES)
for key in (0, 7, 19):
    answer = store.query(VectorStoreQuery(query_embedding=vector(key), similarity_top_k=3))
    same("nearest", (answer.ids[0], answer.nodes[0].get_content(), answer.nodes[0].metadata["page"]), (f"node-{key}", f"text {key}", key))
    same("scores in order", answer.similarities, sorted(answer.similarities, reverse=True))
authors = MetadataFilters(filters=[ExactMatchFilter(key="author", value="ka"), MetadataFilter(key="page", value=8, operator=FilterOperator.LT)])
same("filtered", sorted(ids(store, 1, 20, filters=authors)), ["node-1", "node-3", "node-5", "node-7"])
several = MetadataFilters(filters=[MetadataFilter(key="page", value=[2, 4], operator=FilterOperator.IN)])
same("in a list", sorted(ids(store, 1, 20, filters=several)), ["node-2", "node-4"])
found = ids(store, 3, 4, mode=VectorStoreQueryMode.MMR)
same("MMR begins with the nearest", (len(found), found[0]), (4, "node-3"))
same("nodes by key", sorted(node.node_id for node in store.get_nodes(node_ids=["node-4", "node-5"])), ["node-4", "node-5"])
store.delete("source-0")
same("a source deleted", sorted(ids(store, 1, 20)), sorted(f"node-{key}" for key in range(4, 20)))
store.delete_nodes(node_ids=["node-4"])
same("a node deleted", "node-4" in ids(store, 4, 20), False)

reopened = open_store()
same("reopened", len(ids(reopened, 6, 20)), 15)
index = VectorStoreIndex.from_vector_store(reopened, embed_model=MockEmbedding(embed_dim=DIM))
index.insert_nodes([TextNode(id_="late", text="a later text", metadata={"author": "mi", "page": 99})])
pages = MetadataFilters(filters=[MetadataFilter(key="page", value=99)])
found = index.as_retriever(similarity_top_k=2, filters=pages).retrieve("anything")
same("through the index", [(one.node.node_id, one.node.get_content()) for one in found], [("late", "a later text")])
again = VectorStoreIndex(NODES[:2], storage_context=StorageContext.from_defaults(vector_store=open_store(overwrite=True)), embed_model=MockEmbedding(embed_dim=DIM))
same("overwritten", sorted(one.node.node_id for one in again.as_retriever(similarity_top_k=9).retrieve("text")), ["node-0", "node-1"])
reopened.clear()
print("llama-index-vector-stores-milvus: queries, filters, MMR, nodes by key, deletion, reopening, an index above it")
