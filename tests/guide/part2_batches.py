"""Part 2, chapters 6.5, 8.2 and 8.4: many searches at once (cases 57 to 61)."""

from __future__ import annotations

import pathlib
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from pymilvus import Collection, connections
from pymilvus.exceptions import ConnectionNotExistException, MilvusException

import fixtures as of
from harness import Server, case, equal, fails, holds

QUERIES = of.DOCUMENTS[::30] + np.float32(0.05)


@case
def case_2_057_a_batch_finds_what_single_searches_find_and_sooner(server: Server) -> None:
    target = of.documents(server)
    since = time.monotonic()
    batch = [of.ids(hits) for hits in target.search(QUERIES.tolist(), "embedding", of.FLAT, 10)]
    together = time.monotonic() - since
    single = [of.ids(target.search([query.tolist()], "embedding", of.FLAT, 10)[0]) for query in QUERIES]
    alone = time.monotonic() - since - together
    equal(batch, single, "the keys")
    holds(together < alone, f"a batch takes less time: {together:.3f} s, one by one {alone:.3f} s")


@case
def case_2_058_many_threads_on_one_connection_get_their_own_answers(server: Server) -> None:
    """500 searches of each thread, cut to 20."""
    target = of.documents(server)
    queries = QUERIES.tolist()
    serial = [of.ids(target.search([query], "embedding", of.FLAT, 10)[0]) for query in queries]

    def work(thread: int) -> list[int]:
        numbers = [(thread * 7 + turn) % len(queries) for turn in range(20)]
        return [at for at in numbers if of.ids(target.search([queries[at]], "embedding", of.FLAT, 10)[0]) != serial[at]]

    with ThreadPoolExecutor(64) as threads:
        equal(list(threads.map(work, range(64))), [[]] * 64, "the queries of each thread that got another answer")


@case
def case_2_059_connections_have_aliases_of_their_own(server: Server) -> None:
    of.documents(server)
    aliases = [f"conn_{number}" for number in range(5)]
    for alias in aliases:
        connections.connect(alias=alias, host="127.0.0.1", port=str(server.port), timeout=30)
    query = QUERIES[0].tolist()

    def work(thread: int) -> list[int]:
        target = Collection("documents", using=aliases[thread % 5])
        return of.ids(target.search([query], "embedding", of.FLAT, 10)[0])

    with ThreadPoolExecutor(10) as threads:
        equal(list(threads.map(work, range(10))), [of.nearest(of.DOCUMENTS, QUERIES[0], 10)] * 10, "the keys of each thread")
    for alias in aliases:
        connections.disconnect(alias)
    with fails("should create connection first", kind=ConnectionNotExistException):
        Collection("documents", using="conn_0")


def resident(server: Server) -> int:
    """The memory of the server's process, in bytes."""
    assert server.process
    return int(pathlib.Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]) * 4096


@case
def case_2_060_many_batches_take_no_more_memory_than_few(server: Server) -> None:
    with server.another() as own:
        own.connect()
        target = of.make_documents("documents")

        def searches(rounds: int) -> None:
            for _ in range(rounds * 10):
                target.search(QUERIES.tolist(), "embedding", of.FLAT, 10)

        searches(3)
        level = resident(own)
        searches(10)
        holds(resident(own) <= level * 1.05, f"memory stays within 5 % of {level}, it is {resident(own)}")


@case
def case_2_061_a_rate_of_searches_is_kept_if_one_is_set(server: Server) -> None:
    def refused(to: Server) -> list[int]:
        to.connect()
        target, codes = of.line(to), []
        for _ in range(100):
            try:
                target.search([[0, 0]], "embedding", of.FLAT, 1, retry_on_rate_limit=False)
            except MilvusException as error:
                holds("rate limit" in str(error), f"{error} says that there is a limit")
                codes.append(error.code)
        return codes

    equal(refused(server), [], "the searches that are refused without a limit")
    limits = {"REDKITE__QUOTAANDLIMITS__DQL__ENABLED": "true", "REDKITE__QUOTAANDLIMITS__DQL__SEARCHRATE__MAX": "10"}
    with server.another(limits) as own:
        codes = refused(own)
        equal(set(codes), {8}, "the codes of those that are refused at 10 searches a second")
        holds(own.get("/healthz").startswith("OK"), "the server is healthy")
