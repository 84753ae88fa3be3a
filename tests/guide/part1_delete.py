"""Part 1, deleting, replacing, flushing and compacting."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import numpy as np
from harness import Server, case, equal, fails, holds, until
from part1_schemas import (
    CLIENT, L2, STRONG, count, counted, created, doc3, doc5, documents, ids, key, plain, ready, rows, scalar, text, titles, uniform, vector,
)
from pymilvus import Collection, CollectionSchema, DataType, utility
from pymilvus.client.types import CompactionPlans
from pymilvus.exceptions import DataNotMatchException, ParamError


@case
def case_1_061_rows_are_deleted_by_key_and_by_value(server: Server) -> None:
    with documents(server, "deleted", 1023) as collection:
        collection.flush()
        deletions = {"id == 1001": 1, "id in [1, 2, 3, 4, 5]": 5, "id > 500 and id < 600": 99, 'title == "文档7"': 1}
        for expr, number in deletions.items():
            equal(collection.delete(expr).delete_count, number, expr)
            equal(ids(collection, expr), [], expr)
        equal(count(collection), 1023 - 106)
        equal(collection.num_entities, 1023)


@case
def case_1_062_a_deletion_says_what_it_deletes(server: Server) -> None:
    with documents(server, "undeleted", 10) as collection:
        with fails(kind=ParamError):
            collection.delete("")
        with fails("cannot parse expression", code=(65535, 1100)):
            collection.delete("id ===")
        equal(count(collection), 10)


@case
def case_1_063_a_deletion_takes_exactly_what_matches(server: Server) -> None:
    names = ("test", "temp", "技术", "draft")
    with created(server, "conditions", doc5()) as collection:
        kept = [(number, names[number % 4], 1_699_999_000 + 2 * number) for number in range(1000)]
        collection.insert([[row[0] for row in kept], titles(range(1000)), [row[1] for row in kept], [row[2] for row in kept], uniform(1000)])
        ready(collection)
        matching = [number for number, name, when in kept if name in ("test", "temp") and when < 1_700_000_000]
        equal(len(matching), 250)
        expr = '(category == "test" or category == "temp") and timestamp < 1700000000'
        equal(collection.delete(expr).delete_count, 250)
        equal(ids(collection, "id >= 0"), sorted(set(range(1000)) - set(matching)))


def batch_delete(collection: Collection, expr: str, most: int, **options: Any) -> tuple[int, int]:
    """The guide's loop: how many it deleted, in how many rounds."""
    total = rounds = 0
    while found := [row["id"] for row in collection.query(expr, output_fields=["id"], limit=most, **options)]:
        total += collection.delete(f"id in {found}").delete_count
        rounds += 1
        holds(rounds <= 30, "the loop ends")
        time.sleep(0.1)  # the guide's own pause
    return total, rounds


@case
def case_1_064_deleting_in_batches_ends(server: Server) -> None:
    with created(server, "batches", [key(), text("category", 50), vector(8)]) as collection:
        ready(collection)
        for options in ({}, STRONG):
            collection.insert([list(range(3000)), ["temp"] * 2500 + ["kept"] * 500, uniform(3000, 8)])
            equal(count(collection), 3000)
            total, _ = batch_delete(collection, 'category == "temp"', 1000, **options)
            holds(total >= 2500, "every row was deleted")
            if options:
                equal(total, 2500)
            equal(ids(collection, "id >= 0"), list(range(2500, 3000)))
            collection.delete("id >= 0")


@case
def case_1_065_a_collection_is_emptied_and_used_again(server: Server) -> None:
    with documents(server, "emptied") as collection:
        collection.flush()
        schema = collection.schema
        equal(collection.delete("id >= 0").delete_count, 1000)
        collection.flush()
        collection.compact()
        collection.wait_for_compaction_completed()
        equal(count(collection), 0)
        again = Collection("emptied")
        equal((again.schema, [index.field_name for index in again.indexes]), (schema, ["embedding"]))
        collection.insert([[5, 6], titles(range(5, 7)), uniform(7)[5:]])
        hits = collection.search(uniform(6)[5:], "embedding", L2, limit=10, **STRONG)[0]
        equal((hits.ids, hits[0].distance), ([5, 6], 0.0))


@case
def case_1_066_a_key_is_used_again_after_it_was_deleted(server: Server) -> None:
    fields = [key(), text("title"), scalar("is_deleted", DataType.BOOL), scalar("deleted_at", DataType.INT64), vector()]
    with created(server, "soft_delete_collection", fields, {"description": "支持软删除"}) as collection:
        collection.insert([[1, 2, 3], titles(range(1, 4)), [False] * 3, [0] * 3, uniform(3)])
        ready(collection)
        for numbers, flag, left in (([1, 2], True, [3]), ([1], False, [1, 3])):
            found = rows(collection, f"id in {numbers}", ["*"])
            equal([row["is_deleted"] for row in found], [not flag] * len(numbers))
            collection.delete(f"id in {numbers}")
            collection.insert([{**row, "is_deleted": flag, "deleted_at": 1_700_000_000 if flag else 0} for row in found])
            collection.flush()
            equal(ids(collection, "is_deleted == false"), left)
        wanted = [(1, "文档1", False, 0), (2, "文档2", True, 1_700_000_000), (3, "文档3", False, 0)]
        found = rows(collection, "id >= 0", ["title", "is_deleted", "deleted_at"])
        equal([(row["id"], row["title"], row["is_deleted"], row["deleted_at"]) for row in found], wanted)
        equal(count(collection), 3)


def doc5_rows(collection: Collection, number: int = 100) -> np.ndarray:
    data = uniform(number)
    collection.insert([list(range(number)), titles(range(number)), ["test"] * number, [1_700_000_000] * number, data])
    return data


@case
def case_1_067_an_upsert_replaces_or_inserts(server: Server) -> None:
    with created(server, "upserted", doc5()) as collection:
        data = doc5_rows(collection)
        ready(collection)
        new = 1 - data[:2]
        result = collection.upsert([[1, 99999], ["新标题", "新文档"], ["AI", "ML"], [1, 2], new])
        equal((result.upsert_count, list(result.primary_keys)), (2, [1, 99999]))
        found = rows(collection, "id in [1, 99999]", ["title", "category", "timestamp"])
        wanted = [{"id": 1, "title": "新标题", "category": "AI", "timestamp": 1}, {"id": 99999, "title": "新文档", "category": "ML", "timestamp": 2}]
        equal(found, wanted)
        equal(count(collection), 101)
        hits = collection.search([data[1]], "embedding", L2, limit=101, **STRONG)[0]
        holds(hits[0].distance > 0, "the old vector is not found any more")
        equal(sorted(hits.ids), [*range(100), 99999])


@case
def case_1_068_an_upsert_has_rows_or_columns(server: Server) -> None:
    with created(server, "upsert_forms", doc5()) as collection:
        data = doc5_rows(collection)
        ready(collection)
        row = {"category": "AI", "timestamp": 1, "embedding": data[0]}
        equal(collection.upsert([{"id": 20, "title": "二十", **row}, {"title": "二十一", "id": 21, **row}]).upsert_count, 2)
        columns = [list(range(10, 15)), [f"新{number}" for number in range(10, 15)], ["ML"] * 5, [2] * 5, data[:5]]
        equal(collection.upsert(columns).upsert_count, 5)
        changed = {**{number: f"新{number}" for number in range(10, 15)}, 20: "二十", 21: "二十一"}
        found = rows(collection, "category != 'test'", ["title"])
        equal({each["id"]: each["title"] for each in found}, changed)
        with fails("expect 5 list, got 1", kind=DataNotMatchException):
            collection.upsert([[1, "新标题", "AI", 1, data[0].tolist()]])
        with fails(kind=Exception):
            collection.upsert([{"id": 1, "title": "新标题", **{name: value for name, value in row.items() if name != "embedding"}}])
        equal(rows(collection, "id == 1", ["title"]), [{"id": 1, "title": "文档1"}])
        if CLIENT >= (2, 6):
            equal(collection.upsert([{"id": 1, "title": "x"}], partial_update=True).upsert_count, 1)
            found = rows(collection, "id == 1", ["*"])
            equal(np.array(found[0].pop("embedding"), dtype=np.float32).tobytes(), data[1].tobytes())
            equal(found, [{"id": 1, "title": "x", "category": "test", "timestamp": 1_700_000_000}])
        equal(count(collection), 100)


@case
def case_1_069_what_was_read_is_changed_and_written_back(server: Server) -> None:
    fields = [key(), text("title"), text("category", 50), scalar("metadata", DataType.JSON), vector()]
    with created(server, "written_back", fields) as collection:
        data = uniform(3)
        collection.insert([[1, 2, 3], titles(range(1, 4)), ["test"] * 3, [{"tags": ["AI"], "views": number} for number in range(3)], data])
        ready(collection)
        found = rows(collection, 'category == "test"', ["*"])
        columns = {name: [row[name] for row in found] for name in ("id", "title", "category", "metadata", "embedding")}
        columns["category"] = ["AI", "ML", "DL"]
        columns["metadata"] = [{**value, "tags": [*value["tags"], "新"]} for value in columns["metadata"]]
        equal(collection.upsert(list(columns.values())).upsert_count, 3)
        again = rows(collection, "id >= 0", ["*"])
        equal(np.array([row.pop("embedding") for row in again], dtype=np.float32).tobytes(), data.tobytes())
        wanted = [
            {"id": number, "title": f"文档{number}", "category": name, "metadata": {"tags": ["AI", "新"], "views": number - 1}}
            for number, name in enumerate(("AI", "ML", "DL"), 1)
        ]
        equal(again, wanted)


@case
def case_1_070_a_row_that_was_replaced_is_read_as_it_is_now(server: Server) -> None:
    with created(server, "fresh", [key(), scalar("version", DataType.INT64), vector(8)]) as collection:
        data = uniform(1, 8)
        collection.insert([[1], [0], data])
        ready(collection)

        def read(**options: Any) -> int:
            return collection.query("id == 1", output_fields=["version"], **options)[0]["version"]

        for version in range(1, 201):
            collection.upsert([[1], [version], data])
            equal(read(**STRONG), version)
        for version in range(201, 221):
            collection.upsert([[1], [version], data])
            equal(read(consistency_level="Session"), version)
        collection.upsert([[1], [1000], data])
        until("a bounded read sees the new row", 6, lambda: read(consistency_level="Bounded") == 1000)
        collection.upsert([[1], [1001], data])
        collection.flush()
        equal(read(), 1001)


@case
def case_1_071_what_was_flushed_outlives_the_process(server: Server) -> None:
    with server.another() as own:
        own.connect()
        collection = Collection("flushed", CollectionSchema(doc3()))
        data = uniform(1000)
        collection.insert([list(range(1000)), titles(range(1000)), data])
        collection.flush()
        own.kill()
        own.start()
        own.connect()
        collection = Collection("flushed")
        equal(collection.num_entities, 1000)
        found = rows(ready(collection), "id >= 0", ["*"])
        equal(np.array([row.pop("embedding") for row in found], dtype=np.float32).tobytes(), data.tobytes())
        equal(found, [{"id": number, "title": f"文档{number}"} for number in range(1000)])


@case
def case_1_072_a_compaction_removes_what_was_deleted(server: Server) -> None:
    with documents(server, "compacted", 1023) as collection:
        collection.flush()
        for expr in ("id == 1001", "id in [1, 2, 3, 4, 5]", "id > 500 and id < 600", 'title == "文档7"'):
            collection.delete(expr)
        collection.flush()
        done, query = Event(), uniform(1)

        def search() -> set[tuple[int, ...]]:
            found = set()
            while not done.is_set() or not found:
                found.add(tuple(collection.search(query, "embedding", L2, limit=10)[0].ids))
            return found

        with ThreadPoolExecutor(1) as threads:
            searches = threads.submit(search)
            try:
                collection.compact()
                equal(collection.wait_for_compaction_completed(timeout=60), True)
                counted(collection, 917)
            finally:
                done.set()
            equal(len(searches.result()), 1, "the number of different answers to a search meanwhile")
        state = collection.get_compaction_state()
        equal((int(state.state), state.in_executing, state.in_timeout), (2, 0, 0))
        holds(state.completed >= 1, "a plan was completed")
        plans = collection.get_compaction_plans()
        holds(isinstance(plans, CompactionPlans) and plans.plans, "there are plans")
        holds(all(plan.sources and plan.target for plan in plans.plans), "each plan has its sources and its target")
        equal(count(collection), 917)


@case
def case_1_073_small_segments_are_merged_unasked(server: Server) -> None:
    data = uniform(5000, 16)
    with created(server, "merged", plain(16)) as collection:
        ready(collection)
        for begin in range(0, 5000, 100):
            collection.insert([list(range(begin, begin + 100)), data[begin:begin + 100]])
            collection.flush()

        def found() -> list[list[tuple[int, float]]]:
            return [[(hit.id, hit.distance) for hit in hits] for hits in collection.search(data[:5], "embedding", L2, limit=20, **STRONG)]

        before = found()
        until("segments are merged", 60, lambda: len(segments("merged")) < 50)
        equal(found(), before)
        equal((count(collection), collection.num_entities), (5000, 5000))


def segments(name: str) -> dict[int, int]:
    """The rows of each sealed segment that is loaded."""
    return {each.segmentID: each.num_rows for each in utility.get_query_segment_info(name) if each.state == 3}


@case
def case_1_074_loaded_segments_are_shown(server: Server) -> None:
    with created(server, "shown_segments", doc3()) as collection:
        collection.insert([list(range(1000)), titles(range(1000)), uniform(1000)])
        ready(collection, flush=True)
        until("all sealed rows are held", 30, lambda: sum(segments("shown_segments").values()) == 1000)
        for each in utility.get_query_segment_info("shown_segments"):
            holds(each.segmentID > 0 and each.collectionID > 0 and each.partitionID > 0, "a segment says what it is of")
            holds(each.num_rows > 0 and list(each.nodeIds), "a segment says how many rows are where")
            equal(each.state, 3)
        collection.release()
        try:
            equal(list(utility.get_query_segment_info("shown_segments")), [])
        except Exception as error:
            holds("not loaded" in str(error), f"{error} says that the collection is not loaded")
