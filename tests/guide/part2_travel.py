"""Part 2, chapter 7.4: searches of the past (cases 98 to 105).

What the guide calls `travel_timestamp` was taken out of Milvus in 2.3, and its clients send it no more. The cases send it by a route that is
left to a client of today (decision D1): a search's parameter of that name, beside `nprobe` and the like.
"""

from __future__ import annotations

import time
from typing import Any

import grpc
from pymilvus import AnnSearchRequest, Collection, MilvusException, RRFRanker, utility

import fixtures as of
from harness import Server, case, equal, fails

RETENTION = {"REDKITE__COMMON__RETENTIONDURATION": "3600"}


def now() -> int:
    """A timestamp that lies after all that was done, and before all that will be."""
    time.sleep(0.02)
    moment = utility.mkts_from_unixtime(time.time())
    time.sleep(0.02)
    return moment


def put(target: Collection, title: str, *keys: int) -> None:
    vectors = of.random_vectors(len(keys), 8, sum(keys)).tolist()
    target.insert([list(keys), [f"{title.format(key)}" for key in keys], vectors])
    target.flush()


def empty(server: Server) -> Collection:
    server.connect()
    target = of.collection(of.unique("travelled"), of.document_fields(dim=8))
    target.create_index("embedding", of.index("FLAT", "L2"))
    target.load()
    return target


def at(target: Collection, moment: int | None = None, **more: Any) -> dict[int, str]:
    """Keys and titles, as they were at that moment, or are."""
    params = {} if moment is None else {"travel_timestamp": moment}
    hits = target.search([[0.0] * 8], "embedding", {"metric_type": "L2", "params": params}, 100, output_fields=["title"], **more)[0]
    return {hit.id: hit.entity.get("title") for hit in hits}


def versions(target: Collection) -> int:
    """Three rows, two of which are then replaced; the moment in between."""
    put(target, "文档{}_v1", 1, 2, 3)
    moment = now()
    target.delete("id in [1, 2]")
    put(target, "文档{}_v2", 1, 2)
    return moment


CURRENT = {1: "文档1_v2", 2: "文档2_v2", 3: "文档3_v1"}
PAST = {1: "文档1_v1", 2: "文档2_v1", 3: "文档3_v1"}


def history(target: Collection) -> list[int]:
    """The four snapshots of the guide."""
    moments = [now()]
    put(target, "文档{}", 100, 101, 102)
    moments.append(now())
    put(target, "文档{}", 103, 104)
    moments.append(now())
    target.delete("id in [100, 101]")
    target.flush()
    return [*moments, now()]


SNAPSHOTS = [set(), {100, 101, 102}, {100, 101, 102, 103, 104}, {102, 103, 104}]


def compared(target: Collection, moments: list[int]) -> None:
    snapshots = [set(at(target, moment)) for moment in moments]
    equal(snapshots, SNAPSHOTS, "the keys at each moment")
    before, after = snapshots[1], snapshots[3]
    equal((after - before, before - after, before & after), ({103, 104}, {100, 101}, {102}), "added, removed, common")


@case
def case_2_098_timestamps_are_made_from_times_and_back(server: Server) -> None:
    for moment in (1_700_000_000.0, 1_700_000_000.123, time.time()):
        stamp = utility.mkts_from_unixtime(moment)
        equal(stamp, int(moment * 1000) << 18, "the timestamp")
        of.near([utility.hybridts_to_unixtime(stamp)], [moment], within=0.001)


@case
def case_2_099_a_search_sees_what_was_at_its_timestamp(server: Server) -> None:
    with server.another(RETENTION) as own:
        target = empty(own)
        moment = versions(target)
        equal(at(target), CURRENT, "what is")
        equal(at(target, moment), PAST, "what was")
        # The other routes of D1: by the other client, by the filter's parameters, and inside a hybrid search.
        given = {"limit": 10, "output_fields": ["title"], "search_params": {"params": {"travel_timestamp": moment}}}
        hits = of.again().search(target.name, [[0.0] * 8], **given)[0]
        equal({hit["id"]: hit["entity"]["title"] for hit in hits}, PAST, "what was, by MilvusClient")
        rows = target.query("id > 0", output_fields=["title"], expr_params={"travel_timestamp": moment})
        equal({row["id"]: row["title"] for row in rows}, PAST, "what was, by a query")
        both = [AnnSearchRequest([[0.0] * 8], "embedding", {"metric_type": "L2", "params": {"travel_timestamp": moment}}, 10) for _ in range(2)]
        fused = target.hybrid_search(both, RRFRanker(), 10, output_fields=["title"])[0]
        equal({hit.id: hit.entity.get("title") for hit in fused}, PAST, "what was, by a hybrid search")


@case
def case_2_100_a_timestamp_that_the_client_drops_changes_nothing(server: Server) -> None:
    target = empty(server)
    moment = versions(target)
    equal(at(target, travel_timestamp=moment), CURRENT, "what is")


@case
def case_2_101_snapshots_are_compared(server: Server) -> None:
    with server.another(RETENTION) as own:
        target = empty(own)
        compared(target, history(target))


@case
def case_2_102_the_past_survives_a_compaction_and_a_restart(server: Server) -> None:
    with server.another(RETENTION) as own:
        target = empty(own)
        moments = history(target)
        target.compact()
        target.wait_for_compaction_completed(timeout=60)
        target.flush()
        equal(set(at(target)), SNAPSHOTS[3], "the keys")
        own.stop()
        own.start()
        own.connect()
        target = Collection(target.name)
        equal(set(at(target)), SNAPSHOTS[3], "the keys after a restart")
        compared(target, moments)


@case
def case_2_103_what_is_too_old_or_yet_to_come_is_not_answered_by_what_is(server: Server) -> None:
    with server.another(RETENTION) as own:
        target = empty(own)
        versions(target)
        with fails("only support to travel back to"):
            at(target, utility.mkts_from_unixtime(time.time() - 2 * 3600))
        # It waits until then, or says that it does not.
        try:
            at(target, utility.mkts_from_unixtime(time.time() + 3600), timeout=2)
        except (MilvusException, grpc.RpcError):
            return
        raise AssertionError("a read of the future is answered now")


@case
def case_2_104_an_audit_counts_what_was_and_what_is_left(server: Server) -> None:
    with server.another(RETENTION) as own:
        target = empty(own)
        put(target, "审计文档{}", 200, 201, 202)
        moment = now()
        equal(len(at(target)), 3, "the rows")
        put(target, "审计文档{}", 203, 204)
        target.delete("id in [200, 201]")
        equal(set(at(target)), {202, 203, 204}, "what is left")
        equal(set(at(target, moment)), {200, 201, 202}, "what was")


@case
def case_2_105_versions_without_a_write_between_them_are_equal(server: Server) -> None:
    with server.another(RETENTION) as own:
        target = empty(own)
        target.create_partition("other")
        put(target, "文档{}", 1, 2, 3)
        one = now()
        other = now()
        equal(at(target, one), at(target, other), "what was")
        target.insert([[4], ["文档4"], [[0.0] * 8]], partition_name="other")
        target.delete("id == 2")
        equal(set(at(target, one, expr="id > 1", partition_names=["_default"])), {2, 3}, "what was")
        equal(set(at(target, one, expr="id > 1", partition_names=["other"])), set(), "what was in the other partition")
        equal(set(at(target, expr="id > 1", partition_names=["_default"])), {3}, "what is")
        equal(set(at(target, expr="id > 1")), {3, 4}, "what is in both partitions")
