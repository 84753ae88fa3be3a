"""LlamaIndex, by its own Milvus store."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from typing import Any

from llama_index.core import MockEmbedding, Settings, StorageContext, VectorStoreIndex
from llama_index.core.agent.workflow import ReActAgent, ToolCallResult
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.llms import CompletionResponse, CustomLLM, LLMMetadata, MockLLM
from llama_index.core.query_engine import RouterQueryEngine, SubQuestionQueryEngine
from llama_index.core.question_gen import LLMQuestionGenerator
from llama_index.core.schema import TextNode
from llama_index.core.selectors import LLMSingleSelector
from llama_index.core.tools import FunctionTool, QueryEngineTool
from llama_index.core.vector_stores import ExactMatchFilter, MetadataFilters
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode
from llama_index.vector_stores.milvus import MilvusVectorStore
from llama_index.vector_stores.milvus.utils import BM25BuiltInFunction
from pymilvus import MilvusClient

from common import check, main, same

DIM = 1536
Settings.llm = MockLLM(max_tokens=5)


def vector(key: int) -> list[float]:
    return [1.0 if axis == key else 0.0 for axis in range(DIM)]


class Numbered(BaseEmbedding):
    """Gives a text that ends with a number the axis of that number."""

    def _get_text_embedding(self, text: str) -> list[float]:
        return vector(int(text.split()[-1]))

    def _get_query_embedding(self, query: str) -> list[float]:
        return vector(int(query.split()[-1]))

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_query_embedding(query)


def nodes() -> list[TextNode]:
    kinds = ["machine_learning", "机器学习", """it's "quoted" """]
    return [TextNode(id_=f"node-{key}", text=f"text {key}", metadata={"category": kinds[key % 3]}, embedding=vector(key)) for key in range(9)]


def store_of(uri: str, name: str, **more: Any) -> MilvusVectorStore:
    return MilvusVectorStore(uri=uri, collection_name=name, consistency_level="Strong", use_async_client=False, **more)


def filled(uri: str, name: str) -> MilvusVectorStore:
    store = store_of(uri, name, dim=DIM, overwrite=True)
    store.add(nodes())
    return store


def index_of(store: MilvusVectorStore) -> VectorStoreIndex:
    return VectorStoreIndex.from_vector_store(store, embed_model=Numbered(embed_batch_size=1))


@check
def check_100_an_index_is_made_and_opened_again(uri: str, name: str) -> None:
    store = filled(uri, name)
    described = MilvusClient(uri).describe_collection(name)
    same("the fields", {"id", "doc_id", "text", "embedding"} <= {field["name"] for field in described["fields"]}, True)
    same("dynamic", described["enable_dynamic_field"], True)
    for opened in (store, store_of(uri, name)):
        found = index_of(opened).as_retriever(similarity_top_k=3).retrieve("text 4")
        same("the nearest", (len(found), found[0].node.node_id, found[0].score, found[0].metadata["category"]), (3, "node-4", 1.0, "机器学习"))
    made = VectorStoreIndex(nodes(), storage_context=StorageContext.from_defaults(vector_store=store), embed_model=MockEmbedding(embed_dim=DIM))
    same("an index from nodes", made is not None, True)


@check
def check_101_an_address_in_parts_reaches_no_server(uri: str, name: str) -> None:
    """The guide's form. The package opens a file instead, or fails because it has nothing to open it with."""
    host, port = uri.removeprefix("http://").split(":")
    try:
        MilvusVectorStore(host=host, port=int(port), dim=DIM, collection_name=name, overwrite=True, use_async_client=False)
    except Exception as error:
        print(f"refused by the package: {error}", file=sys.stderr)
    same("whether the server has it", name in MilvusClient(uri).list_collections(), False)
    filled(uri, name)
    same("whether the server has it", name in MilvusClient(uri).list_collections(), True)


@check
def check_102_filters_match_what_nodes_have(uri: str, name: str) -> None:
    store = filled(uri, name)

    def found(key: str, value: str) -> list[str]:
        filters = MetadataFilters(filters=[ExactMatchFilter(key=key, value=value)])
        return sorted(store.query(VectorStoreQuery(query_embedding=vector(0), similarity_top_k=9, filters=filters)).ids)

    same("by a word", found("category", "machine_learning"), ["node-0", "node-3", "node-6"])
    same("by Chinese", found("category", "机器学习"), ["node-1", "node-4", "node-7"])
    same("by quotes", found("category", """it's "quoted" """), ["node-2", "node-5", "node-8"])
    same("by a key that no node has", found("absent", "machine_learning"), [])


@check
def check_103_answers_are_made_from_the_same_nodes(uri: str, name: str) -> None:
    index = index_of(filled(uri, name))
    wanted = {node.node.node_id for node in index.as_retriever(similarity_top_k=3).retrieve("text 4")}
    same("the nodes", ("node-4" in wanted, len(wanted)), (True, 3))
    for mode in ("compact", "tree_summarize", "refine"):
        answer = index.as_query_engine(response_mode=mode, similarity_top_k=3).query("text 4")
        same(f"the sources of {mode}", {node.node.node_id for node in answer.source_nodes}, wanted)
    answer = index.as_query_engine(streaming=True, similarity_top_k=3).query("text 4")
    same("a stream", len("".join(answer.response_gen)) > 0, True)
    same("the sources of a stream", {node.node.node_id for node in answer.source_nodes}, wanted)


class Scripted(CustomLLM):
    """Says what a model would: chooses, asks, uses the tool, and then repeats what the tool found."""

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(model_name="scripted", context_window=100_000)

    def said(self, prompt: str) -> str:
        if "sub_question" in prompt:
            return json.dumps({"items": [{"sub_question": "text 4", "tool_name": "knowledge"}]})
        if "choice" in prompt:
            return json.dumps([{"choice": 1, "reason": "it is the only one"}])
        if "Action: knowledge\n" in prompt:
            return "Thought: I can answer without using any more tools.\nAnswer: it says text 4"
        if "Action Input" in prompt:
            return 'Thought: I need to use a tool.\nAction: knowledge\nAction Input: {"input": "text 4"}'
        # An answer from contexts: the contexts.
        return prompt

    def complete(self, prompt: str, formatted: bool = False, **more: Any) -> CompletionResponse:
        return CompletionResponse(text=self.said(prompt))

    def stream_complete(self, prompt: str, formatted: bool = False, **more: Any) -> Iterator[CompletionResponse]:
        text = self.said(prompt)
        yield CompletionResponse(text=text, delta=text)


@check
def check_104_engines_and_agents_ask_the_store(uri: str, name: str) -> None:
    Settings.llm = Scripted()
    index = index_of(filled(uri, name))
    tool = QueryEngineTool.from_defaults(index.as_query_engine(similarity_top_k=1), name="knowledge", description="what is known")
    questions = SubQuestionQueryEngine.from_defaults([tool], question_gen=LLMQuestionGenerator.from_defaults(), use_async=False, verbose=False)
    router = RouterQueryEngine(selector=LLMSingleSelector.from_defaults(), query_engine_tools=[tool])
    for engine in (questions, router):
        same(f"the text in the answer of {type(engine).__name__}", "text 4" in str(engine.query("text 4")), True)

    def knowledge(input: str) -> str:
        return str(index.as_query_engine(similarity_top_k=1).query(input))

    async def asked() -> str:
        asking = FunctionTool.from_defaults(fn=knowledge, description="what is known")
        handler = ReActAgent(tools=[asking], llm=Settings.llm, streaming=False).run("what is known of text 4")
        used = [event.tool_output.content async for event in handler.stream_events() if isinstance(event, ToolCallResult)]
        same("what the tool found", ["text 4" in content for content in used], [True])
        return str(await handler)

    same("the agent's answer", "text 4" in asyncio.run(asked()), True)


@check
def check_105_words_are_found_besides_vectors(uri: str, name: str) -> None:
    sparse = {"enable_sparse": True, "sparse_embedding_function": BM25BuiltInFunction()}
    store = store_of(uri, name, dim=DIM, overwrite=True, hybrid_ranker="RRFRanker", **sparse)
    store.add([*nodes(), TextNode(id_="rare", text="an elephant 700", embedding=vector(700), metadata={"category": "animals"})])

    def found(mode: VectorStoreQueryMode) -> list[str]:
        query = VectorStoreQuery(query_embedding=vector(4), query_str="elephant", similarity_top_k=3, hybrid_top_k=3, mode=mode)
        return store.query(query).ids

    dense, hybrid = found(VectorStoreQueryMode.DEFAULT), found(VectorStoreQueryMode.HYBRID)
    same("by vectors alone", (dense[0], "rare" in dense), ("node-4", False))
    same("by both", ("node-4" in hybrid, "rare" in hybrid), (True, True))


main()
