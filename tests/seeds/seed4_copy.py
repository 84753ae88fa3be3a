"""Document 4: memories that MongoDB has are copied into a collection, which is rebuilt beside itself and takes over an alias."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import random
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

from bson import ObjectId, json_util
from harness import Server, case, equal, fails, holds
from pymilvus import Collection, DataType, MilvusClient
from pymongo import MongoClient
from pymongo.collection import Collection as Source
from readers import reading
from tables import ALL_ROWS, STRONG, Row, nearest, same_hits, same_rows, unique
from words import DIM, model, texts

MEMORIES = 500
NOW = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
# A search that looks at more than all there is.
WIDE = {"params": {"ef": 500}}
HNSW: dict[str, Any] = {"index_type": "HNSW", "metric_type": "COSINE", "params": {"M": 16, "efConstruction": 256}}


# ---------------------------------------------------------------- MongoDB


@functools.cache
def mongo() -> MongoClient[Row]:
    """A server of MongoDB's protocol; it ends with this process."""
    command = ["java", "-Xmx256m", "-XX:+UseSerialGC", "-cp", os.environ["MONGO"], "Mongo"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(process.communicate)
    client: MongoClient[Row] = MongoClient("127.0.0.1", int(process.stdout.readline()), tz_aware=True)
    atexit.register(client.close)
    return client


def memory(number: int) -> Row:
    """A memory as MongoDB has it; of some the vector was never made."""
    text = texts()[number]
    made = {
        "_id": ObjectId(f"{number * 7919 % 999_983:024x}"),
        "user_id": f"user_{number % 7}",
        "title": text.title,
        "episode": text.content,
        "keywords": sorted(set(text.title.split("."))),
        "created_at": NOW - timedelta(hours=number % 480),
        "vector": model().encode([text.whole])[0],
    }
    if number % 50 == 7:
        del made["vector"]
    elif number % 50 == 23:
        made["vector"] = [] if number % 100 == 23 else None
    return made


@contextlib.contextmanager
def memories(number: int = MEMORIES) -> Iterator[Source[Row]]:
    """A collection of MongoDB with so many memories, in no order."""
    source = mongo()["memory"][unique("episodic_memories")]
    documents = [memory(at) for at in range(number)]
    random.Random(4).shuffle(documents)
    source.insert_many(documents)
    try:
        yield source
    finally:
        source.drop()


def entity(document: Row, generation: int = 1) -> Row:
    """A memory as Milvus has it."""
    return {
        "id": str(document["_id"]),
        "user_id": document["user_id"],
        "title": document["title"],
        "episode": document["episode"],
        "keywords": document["keywords"],
        "created_at": round(document["created_at"].timestamp()),
        "vector": document["vector"],
        "generation": generation,
    }


def wanted(documents: Iterable[Row], generation: int = 1) -> list[Row]:
    """What a table is to have of these documents: those with a vector."""
    return [entity(document, generation) for document in documents if document.get("vector")]


# ---------------------------------------------------------------- the scripts of the document


def create(client: MilvusClient, name: str, topics: bool = False) -> None:
    """A collection of memories, indexed and loaded; a later one has a topic besides."""
    schema = client.create_schema(auto_id=False)
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=64)
    schema.add_field("user_id", DataType.VARCHAR, max_length=64)
    schema.add_field("title", DataType.VARCHAR, max_length=500)
    schema.add_field("episode", DataType.VARCHAR, max_length=4000)
    schema.add_field("keywords", DataType.ARRAY, element_type=DataType.VARCHAR, max_capacity=16, max_length=100)
    schema.add_field("created_at", DataType.INT64)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM)
    schema.add_field("generation", DataType.INT64)
    if topics:
        schema.add_field("topic", DataType.VARCHAR, max_length=100, nullable=True)
    index = client.prepare_index_params()
    index.add_index("vector", **HNSW)
    client.create_collection(name, schema=schema, index_params=index)


def sync(
    client: MilvusClient, name: str, source: Iterable[Row], batch: int = 100, limit: int = 0, days: int = 0, insert: bool = False, **more: Any
) -> tuple[int, int]:
    """Copies memories in batches, of the last days where that is asked for: how many were written, and how many have no vector."""
    documents: Any = source
    if isinstance(source, Source):
        after = {"created_at": {"$gte": NOW - timedelta(days=days)}} if days else {}
        documents = source.find(after).sort("_id", 1).limit(limit).batch_size(batch)
    written = skipped = 0
    rows: list[Row] = []

    def write() -> None:
        nonlocal written
        if rows:
            (client.insert if insert else client.upsert)(name, [{**row, **more} for row in rows])
            written += len(rows)
            rows.clear()

    for document in documents:
        if not document.get("_id") or not document.get("vector"):
            skipped += 1
            continue
        rows.append(entity(document))
        if len(rows) == batch:
            write()
    write()
    client.flush(name)
    return written, skipped


def pages(client: MilvusClient, name: str, size: int) -> Iterator[list[Row]]:
    """All rows of a collection, page by page in the order of their keys as texts."""
    last = ""
    while page := client.query(name, f'id > "{last}"', output_fields=["*"], limit=size, **STRONG):
        yield [dict(row) for row in page]
        last = max(row["id"] for row in page)


def rebuild(
    client: MilvusClient, alias: str, batch: int = 70, migrate: bool = True, drop_old: bool = False, between: Callable[[str], Any] = lambda new: None
) -> tuple[str, str]:
    """Makes the collection behind an alias anew beside it, copies its rows, and switches: the names of both."""
    old = client.describe_alias(alias)["collection_name"]
    new = f"{alias}_{time.time_ns()}"
    create(client, new, topics=True)
    if migrate:
        for page in pages(client, old, batch):
            client.insert(new, [{**row, "generation": row["generation"] + 1, "topic": row["title"].split(".")[0]} for row in page])
            client.flush(new)
    between(new)
    client.alter_alias(new, alias)
    if drop_old:
        client.drop_collection(old)
    return old, new


def rebuilt(rows: Iterable[Row], times: int = 1) -> list[Row]:
    """What rows are to be after so many rebuilds."""
    return [{**row, "generation": row["generation"] + times, "topic": row["title"].split(".")[0]} for row in rows]


def everything(client: MilvusClient, name: str) -> list[Row]:
    return [dict(row) for row in client.query(name, "", output_fields=["*"], limit=ALL_ROWS, **STRONG)]


def count(client: MilvusClient, name: str) -> int:
    return client.query(name, "", output_fields=["count(*)"], **STRONG)[0]["count(*)"]


@contextlib.contextmanager
def copied(server: Server, number: int = MEMORIES) -> Iterator[tuple[MilvusClient, str, Source[Row], list[Row]]]:
    """Memories in MongoDB and behind an alias, and the rows that they make; what is behind the alias in the end is dropped."""
    client, alias = server.client(), unique("episodic_memory")
    with memories(number) as source:
        rows = wanted(source.find())
        create(client, f"{alias}_0")
        client.create_alias(f"{alias}_0", alias)
        equal(sync(client, alias, source), (len(rows), number - len(rows)), "written and skipped")
        try:
            yield client, alias, source, rows
        finally:
            names = [name for name in client.list_collections() if name.startswith(f"{alias}_")]
            client.drop_alias(alias)
            for name in names:
                client.drop_collection(name)
            client.close()


@contextlib.contextmanager
def empty(server: Server) -> Iterator[tuple[MilvusClient, str]]:
    client, name = server.client(), unique("memories")
    create(client, name)
    try:
        yield client, name
    finally:
        client.drop_collection(name)
        client.close()


@case
def case_4_001_all_memories_with_a_vector_are_copied_whole(server: Server) -> None:
    with memories() as source, empty(server) as (client, name):
        expected = wanted(source.find())
        holds(len(expected) == MEMORIES - 20, "some memories have no vector")
        equal(sync(client, name, source, batch=500), (len(expected), 20), "written and skipped")
        same_rows(everything(client, name), expected)
        equal(client.get_collection_stats(name)["row_count"], len(expected), "row_count after the flush")


@case
def case_4_002_batches_of_any_size_copy_the_same(server: Server) -> None:
    with memories(200) as source:
        for batch in (1, 33, 1000):
            with empty(server) as (client, name):
                sync(client, name, source, batch=batch)
                same_rows(everything(client, name), wanted(source.find()), f"a copy in batches of {batch}")


@case
def case_4_003_a_limit_and_days_copy_that_part(server: Server) -> None:
    with memories() as source, empty(server) as (client, name):
        first = sorted(source.find(), key=lambda document: document["_id"])[:100]
        sync(client, name, source, batch=30, limit=100)
        same_rows(everything(client, name), wanted(first), "a copy of the first hundred")
    with memories() as source, empty(server) as (client, name):
        for days in (1, 7):
            sync(client, name, source, days=days)
            recent = [document for document in source.find() if document["created_at"] >= NOW - timedelta(days=days)]
            holds(20 < len(recent) < MEMORIES - 100, "the days have a part of the memories")
            same_rows(everything(client, name), wanted(recent), f"a copy of {days} days")


@case
def case_4_004_a_copy_that_is_repeated_changes_nothing(server: Server) -> None:
    with copied(server) as (client, alias, source, rows):
        for days in (0, 7, 0):
            sync(client, alias, source, days=days)
            same_rows(everything(client, alias), rows)
            equal(count(client, alias), len(rows), "count(*)")


@case
def case_4_005_what_changed_in_mongodb_is_brought_by_the_copy_of_a_day(server: Server) -> None:
    with copied(server) as (client, alias, source, rows):
        changed = {"episode": "was told anew", "created_at": NOW}
        source.update_many({"user_id": "user_3"}, {"$set": changed})
        source.insert_one({**memory(MEMORIES), "created_at": NOW})
        source.update_one({"_id": memory(7)["_id"]}, {"$set": {"vector": memory(8)["vector"], "created_at": NOW}})
        before, expected = len(rows), wanted(source.find())
        equal(len(expected), before + 2, "memories with a vector")
        sync(client, alias, source, days=1)
        same_rows(everything(client, alias), expected)


@case
def case_4_006_an_export_file_makes_the_same_rows_as_the_server(server: Server) -> None:
    """One document a line in MongoDB's extended JSON, as `mongoexport` writes them."""
    with memories() as source, empty(server) as (client, name):
        path = server.folder / f"{name}.json"
        with open(path, "w") as file:
            for document in source.find():
                file.write(json_util.dumps(document, json_options=json_util.RELAXED_JSON_OPTIONS) + "\n")
        with open(path) as file:
            equal(sync(client, name, (json_util.loads(line) for line in file)), (MEMORIES - 20, 20), "written and skipped")
        same_rows(everything(client, name), wanted(source.find()))


@case
def case_4_007_pages_in_the_order_of_keys_have_every_row_once(server: Server) -> None:
    with copied(server) as (client, alias, _, rows):
        # Some rows are sealed, some are not, and some were replaced.
        client.upsert(alias, rows[:90])
        for size in (17, 70, 1000):
            found = list(pages(client, alias, size))
            equal([row["id"] for page in found for row in page], sorted(row["id"] for row in rows), f"keys in pages of {size}")
            same_rows([row for page in found for row in page], rows, f"pages of {size}")


@case
def case_4_008_a_rebuilt_collection_takes_over_the_alias_with_every_row(server: Server) -> None:
    with copied(server) as (client, alias, _, rows):
        old, new = rebuild(client, alias)
        same_rows(everything(client, alias), rebuilt(rows), "behind the alias")
        same_rows(everything(client, old), rows, "the old collection")
        described = client.describe_index(new, "vector")
        shown = [described["index_type"], described["metric_type"], int(described["M"]), int(described["efConstruction"])]
        equal(shown, ["HNSW", "COSINE", 16, 256], "the index")
        # How the document verifies it.
        server.connect()
        collection = Collection(alias)
        equal(client.describe_alias(alias)["collection_name"], new, "the collection behind the alias")
        equal(collection.num_entities, len(rows), "num_entities through the alias")
        point = model().encode(["make a temporary file"])[0]
        hits = client.search(alias, [point], anns_field="vector", limit=10, search_params=WIDE, **STRONG)[0]
        same_hits([(hit["id"], hit["distance"]) for hit in hits], nearest({row["id"]: row["vector"] for row in rows}, point, 10, "COSINE"))
        client.drop_collection(old)
        same_rows(everything(client, alias), rebuilt(rows), "after the old collection was dropped")


@case
def case_4_009_a_rebuild_without_its_rows_is_filled_from_mongodb(server: Server) -> None:
    with copied(server) as (client, alias, source, rows):
        old, _ = rebuild(client, alias, migrate=False)
        equal(everything(client, alias), [], "behind the alias")
        sync(client, alias, source, topic="again")
        same_rows(everything(client, alias), [{**row, "topic": "again"} for row in rows], "behind the alias once filled")
        same_rows(everything(client, old), rows, "the old collection")


@case
def case_4_010_a_rebuild_that_fails_leaves_the_alias_where_it_was(server: Server) -> None:
    with copied(server, 200) as (client, alias, _, rows):

        def fail(new: str) -> None:
            raise InterruptedError(new)

        with fails(kind=InterruptedError):
            rebuild(client, alias, between=fail)
        same_rows(everything(client, alias), rows, "after the rebuild that failed")
        rebuild(client, alias, drop_old=True)
        same_rows(everything(client, alias), rebuilt(rows), "after the one that did not")


@case
def case_4_011_writes_amid_a_rebuild_are_brought_by_the_copy_of_a_day(server: Server) -> None:
    with copied(server, 200) as (client, alias, source, rows):
        late = {**memory(300), "created_at": NOW}

        def write(_: str) -> None:
            source.insert_one(late)
            client.upsert(alias, [entity(late)])

        old, _ = rebuild(client, alias, between=write)
        same_rows(everything(client, old), [*rows, entity(late)], "the old collection")
        same_rows(everything(client, alias), rebuilt(rows), "behind the alias, without the late write")
        recent = [entity(document) for document in source.find({"created_at": {"$gte": NOW - timedelta(days=1)}}) if document.get("vector")]
        sync(client, alias, source, days=1, topic="late")
        expected = {row["id"]: row for row in rebuilt(rows)} | {row["id"]: {**row, "topic": "late"} for row in recent}
        same_rows(everything(client, alias), expected.values(), "behind the alias after the copy of a day")


def rebuilds_amid_reads(server: Server, drop_old: bool) -> None:
    """Reads through the alias, by queries, counts and searches, while it is switched from one collection to the next: none fails, each shows
    all rows of one collection, and none that begins after a switch shows what was before it."""
    with copied(server, 300) as (client, alias, _, rows):
        tables = [rows, *(rebuilt(rows, times) for times in (1, 2, 3))]
        wrong: list[str] = []
        seen: set[int] = set()
        switched, number = 0, 0

        def query(reader: MilvusClient) -> set[int]:
            found = everything(reader, alias)
            generations = {row["generation"] for row in found}
            if len(generations) == 1:
                same_rows(found, tables[min(generations) - 1], f"a read of generation {generations}")
            return generations

        def search(reader: MilvusClient) -> set[int]:
            point, shown = rows[0]["vector"], ["generation"]
            hits = reader.search(alias, [point], anns_field="vector", limit=len(rows), search_params=WIDE, output_fields=shown, **STRONG)[0]
            equal({hit["id"] for hit in hits}, {row["id"] for row in rows}, "rows that a search finds")
            return {hit["generation"] for hit in hits}

        def counted(reader: MilvusClient) -> set[int]:
            equal(count(reader, alias), len(rows), "count(*)")
            return {switched + 1}

        def read(how: Callable[[MilvusClient], set[int]]) -> Callable[[], None]:
            reader = server.client()

            def once() -> None:
                nonlocal number
                before = switched
                try:
                    generations = how(reader)
                    if len(generations) != 1:
                        wrong.append(f"a mixed read: generations {generations}")
                    if min(generations) < before + 1:
                        wrong.append(f"generation {generations} after switch {before}")
                    seen.update(generations)
                except Exception as error:
                    wrong.append(f"{how.__name__} failed: {error}")
                number += 1

            return once

        with reading(*map(read, (query, query, search, counted))) as again:
            for switch in (1, 2, 3):
                old, _ = rebuild(client, alias, batch=150)
                switched = switch
                if drop_old:
                    client.drop_collection(old)
                again()
        equal(len(wrong), 0, f"of {number} reads, the number of wrong ones ({wrong[:3]})")
        equal(seen, {1, 2, 3, 4}, "the generations that reads saw")


@case
def case_4_012_no_read_through_the_alias_fails_or_is_mixed_while_it_is_switched(server: Server) -> None:
    rebuilds_amid_reads(server, drop_old=False)


@case
def case_4_013_nor_when_the_old_collection_is_dropped_at_once(server: Server) -> None:
    rebuilds_amid_reads(server, drop_old=True)


@case
def case_4_014_a_copy_by_plain_inserts_that_is_repeated_shows_every_memory_once_to_queries(server: Server) -> None:
    """The document inserts, and says that a key that is there already is taken care of. As with Milvus a query and a search show it once."""
    with memories(200) as source, empty(server) as (client, name):
        for _ in range(2):
            sync(client, name, source, insert=True)
            same_rows(everything(client, name), wanted(source.find()))
        point = memory(0)["vector"]
        hits = client.search(name, [point], anns_field="vector", limit=300, search_params=WIDE, **STRONG)[0]
        equal(sorted(hit["id"] for hit in hits), sorted(row["id"] for row in wanted(source.find())), "what a search finds")
