"""Part 3, chapter 10: LangChain (92 to 99), LlamaIndex (100 to 105) and Haystack (106 to 109).

Each framework has an environment of its own; the cases are in `frameworks`. Left out is what asks nothing else of the database than
these do, and needs more packages: chains above a retriever (97) and a web service (109).
"""

from __future__ import annotations

import functools
import os
import subprocess

import fixtures as of
from harness import HERE, Server, case, equal, fails, holds
from part3_operation import total

ROOT = HERE / "../.."


@functools.cache
def python_of(framework: str) -> str:
    """The Python of the environment that the tests of clients have for this framework."""
    script = f'source "{ROOT}/scripts/env.sh" && venv {framework} "{ROOT}/tests/clients/stores/requirements-{framework}.txt"'
    made = subprocess.run(["bash", "-c", script], check=True, stdout=subprocess.PIPE, text=True)
    return f"{made.stdout.strip()}/bin/python"


def checked(server: Server, framework: str, number: int) -> None:
    command = [python_of(framework), "-W", "ignore", str(HERE / "frameworks" / f"{framework}_checks.py"), server.uri, str(number)]
    quiet = {"HAYSTACK_TELEMETRY_ENABLED": "False", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=server.folder, env={**os.environ, **quiet})
    holds(done.returncode == 0, f"{framework} works: {done.stderr[-1500:]}")


@case
def case_3_092_langchain_puts_documents_in_and_finds_similar_ones(server: Server) -> None:
    checked(server, "langchain", 92)


@case
def case_3_093_langchains_scores_are_distances(server: Server) -> None:
    checked(server, "langchain", 93)


@case
def case_3_094_langchains_relevance_is_that_of_numpy(server: Server) -> None:
    checked(server, "langchain", 94)


@case
def case_3_095_langchain_opens_a_collection_again(server: Server) -> None:
    checked(server, "langchain", 95)


@case
def case_3_096_langchains_scores_have_a_threshold(server: Server) -> None:
    checked(server, "langchain", 96)


@case
def case_3_098_langchain_changes_and_deletes_documents(server: Server) -> None:
    checked(server, "langchain", 98)


@case
def case_3_099_langchain_is_told_of_a_text_that_is_too_long(server: Server) -> None:
    checked(server, "langchain", 99)


@case
def case_3_100_llamaindex_makes_an_index_and_opens_it_again(server: Server) -> None:
    checked(server, "llamaindex", 100)


@case
def case_3_101_llamaindex_reaches_the_server_by_its_uri_only(server: Server) -> None:
    checked(server, "llamaindex", 101)
    holds(total(server, "milvus_proxy_req_count", 'function_name="CreateCollection"') > 0, "there were calls by the uri")


@case
def case_3_102_llamaindexs_filters_match_what_nodes_have(server: Server) -> None:
    checked(server, "llamaindex", 102)


@case
def case_3_103_llamaindex_answers_from_the_same_nodes_in_every_way(server: Server) -> None:
    checked(server, "llamaindex", 103)


@case
def case_3_104_llamaindexs_engines_and_agents_ask_the_store(server: Server) -> None:
    def searches() -> float:
        return total(server, "milvus_proxy_req_count", 'function_name="Search"', 'status="success"')

    before = searches()
    checked(server, "llamaindex", 104)
    holds(searches() >= before + 3, "each of them searched")


@case
def case_3_105_llamaindex_finds_words_besides_vectors(server: Server) -> None:
    checked(server, "llamaindex", 105)


@case
def case_3_106_what_the_old_haystack_sends_is_answered(server: Server) -> None:
    """Its package runs on no Python of today; its calls are those that the guide's inventory has of it (10.3 / 01.a)."""
    server.connect()
    fields = [of.key(auto_id=True), of.vector(384)]
    target = of.collection(of.unique("haystack"), fields)
    vectors = of.random_vectors(20, 384, 31).tolist()
    keys = list(target.insert([vectors]).primary_keys)
    target.flush()
    target.create_index("embedding", of.index("IVF_FLAT", "IP", nlist=16384))
    target.load()
    equal(target.delete("id in []").delete_count, 0, "the rows deleted")
    hits = target.search([vectors[5]], "embedding", {"metric_type": "IP", "nprobe": 10}, 3, consistency_level=0)[0]
    equal((len(hits), hits[0].id), (3, keys[5]), "the hits, and the nearest")
    rows = target.query(f"id in [ {keys[0]},{keys[1]} ]", output_fields=["embedding"])
    equal({row["id"]: [float(part) for part in row["embedding"]] for row in rows}, {keys[0]: vectors[0], keys[1]: vectors[1]}, "the vectors")
    with fails("dim"):
        target.insert([[[0.0] * 768]])


@case
def case_3_107_haystack_is_told_of_vectors_of_another_length(server: Server) -> None:
    checked(server, "haystack", 107)


@case
def case_3_108_haystack_filters_and_finds_by_words(server: Server) -> None:
    checked(server, "haystack", 108)
