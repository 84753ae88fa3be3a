"""Document 0: a knowledge base that is kept up to date by upserts, with the calls of the ORM."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from harness import Server, case, equal, fails, holds, until
from kills import TwoKills
from pymilvus import Collection, CollectionSchema, DataType, FieldSchema
from readers import reading
from tables import ALL_ROWS, Row, nearest, same_hits, same_rows, unique
from words import DIM, model, texts

FIELDS = ["id", "title", "content", "category", "version", "updated_at", "embedding"]
BEGIN = 1_700_000_000
IVF = {"index_type": "IVF_FLAT", "metric_type": "L2", "params": {"nlist": 128}}
# A search of all lists, which finds the nearest of all.
EXACT = {"metric_type": "L2", "params": {"nprobe": 128}}


class Conflict(Exception):
    """A document is not of the version that its writer has read."""


class Knowledge:
    """The document's manager: whatever it writes is an upsert of whole columns, and every write is flushed."""

    def __init__(self, name: str) -> None:
        varchar = DataType.VARCHAR
        fields = [
            FieldSchema("id", DataType.INT64, is_primary=True, auto_id=False),
            FieldSchema("title", varchar, max_length=500),
            FieldSchema("content", varchar, max_length=8000),
            FieldSchema("category", varchar, max_length=100),
            FieldSchema("version", DataType.INT64),
            FieldSchema("updated_at", DataType.INT64),
            FieldSchema("embedding", DataType.FLOAT_VECTOR, dim=DIM),
        ]
        self.collection = Collection(name, CollectionSchema(fields, "知识库"), consistency_level="Strong")
        self.collection.create_index("embedding", IVF)

    def write(self, rows: Sequence[Row], flushed: bool = True) -> None:
        result = self.collection.upsert([[row[field] for row in rows] for field in FIELDS])
        equal((result.upsert_count, list(result.primary_keys)), (len(rows), [row["id"] for row in rows]), "the answer of an upsert")
        if flushed:
            self.collection.flush()

    def read(self, expr: str = "id >= 0", fields: Sequence[str] = ("*",)) -> list[Row]:
        return [dict(row) for row in self.collection.query(expr, output_fields=list(fields), limit=ALL_ROWS)]

    def upsert(self, documents: Sequence[Row], now: int, flushed: bool = True) -> tuple[int, int]:
        """Adds what is new and replaces the rest, each with its next version: how many of either."""
        versions = {row["id"]: row["version"] for row in self.read(f"id in {[each['id'] for each in documents]}", ["id", "version"])}
        vectors = model().encode([f"{each['title']} {each['content']}" for each in documents])
        self.write(
            [
                {"updated_at": now, **each, "version": versions.get(each["id"], 0) + 1, "embedding": vector}
                for each, vector in zip(documents, vectors)
            ],
            flushed,
        )
        return len(documents) - len(versions), len(versions)

    def update(self, condition: str, changes: Row, now: int) -> int:
        """Changes some fields of all that meet the condition; embeds anew only where the text has changed."""
        found = self.read(condition)
        for row in found:
            row.update(changes, version=row["version"] + 1, updated_at=now)
            if {"title", "content"} & set(changes):
                row["embedding"] = model().encode([f"{row['title']} {row['content']}"])[0]
        if found:
            self.write(found)
        return len(found)

    def sync(self, external: Sequence[Row]) -> list[int]:
        """Writes what another system has newer, or alone: the keys of those."""
        known = {row["id"]: row for row in self.read(f"id in {[each['id'] for each in external]}", ["id", "version", "updated_at"])}
        newer = [each for each in external if each["id"] not in known or each["updated_at"] > known[each["id"]]["updated_at"]]
        if newer:
            self.upsert(newer, 0)
        return [each["id"] for each in newer]

    def resolve(self, document: Row, strategy: str, now: int, expected: int = 0) -> None:
        """Writes a document that somebody else may have changed."""
        known = self.read(f"id == {document['id']}")
        if known and strategy == "merge":
            document = {**document, "content": f"{known[0]['content']} {document['content']}"}
        if known and strategy == "version_check" and known[0]["version"] != expected:
            raise Conflict(f"{document['id']} is of version {known[0]['version']}, not {expected}")
        self.upsert([document], now)


def document(key: int, text: int | None = None) -> Row:
    """Document `key` with the words of one of the texts."""
    words = texts()[key if text is None else text]
    return {"id": key, "title": words.title, "content": words.content, "category": words.category}


def row(document: Row, version: int, updated_at: int) -> Row:
    """What the table has to hold of a document."""
    return {"updated_at": updated_at, **document, "version": version, "embedding": model().encode([f"{document['title']} {document['content']}"])[0]}


Table = dict[int, Row]


@contextlib.contextmanager
def knowledge(server: Server, number: int) -> Iterator[tuple[Knowledge, Table]]:
    """A base of so many documents of version 1, inserted, flushed and loaded, and what is to be in it; after the block that is there."""
    server.connect()
    base, table = Knowledge(unique("knowledge_base")), {key: row(document(key), 1, BEGIN) for key in range(number)}
    base.collection.insert([[each[field] for each in table.values()] for field in FIELDS])
    base.collection.flush()
    base.collection.load()
    try:
        yield base, table
        same_rows(base.read(), table.values())
        equal(base.collection.query("", output_fields=["count(*)"])[0]["count(*)"], len(table), "count(*)")
    finally:
        base.collection.drop()


def changed(table: Table, document: Row, now: int) -> None:
    """Notes that a document was written."""
    table[document["id"]] = row(document, table[document["id"]]["version"] + 1 if document["id"] in table else 1, now)


@case
def case_0_001_inserted_documents_are_read_back_whole(server: Server) -> None:
    with knowledge(server, 300) as (base, table):
        same_rows(base.read("id == 7"), [table[7]])
        equal(base.read("id == 300"), [])


@case
def case_0_002_an_upsert_of_one_document_replaces_or_adds_it(server: Server) -> None:
    with knowledge(server, 100) as (base, table):
        for key, text, expected in ((1, 301, (0, 1)), (100, 100, (1, 0)), (1, 302, (0, 1)), (100, 303, (0, 1))):
            equal(base.upsert([document(key, text)], BEGIN + text), expected, "new and replaced")
            changed(table, document(key, text), BEGIN + text)
            same_rows(base.read(f"id == {key}"), [table[key]], "the document")
        equal((table[1]["version"], table[100]["version"]), (3, 2))


@case
def case_0_003_an_upsert_of_many_documents_replaces_some_and_adds_others(server: Server) -> None:
    with knowledge(server, 200) as (base, table):
        written = [document(key, key + 300) for key in range(120, 320)]
        equal(base.upsert(written, BEGIN + 1), (120, 80), "new and replaced")
        for each in written:
            changed(table, each, BEGIN + 1)


@case
def case_0_004_a_field_is_changed_and_the_others_stay_to_the_bit(server: Server) -> None:
    with knowledge(server, 100) as (base, table):
        equal(base.update("id == 1", {"category": "高级编程"}, BEGIN + 1), 1)
        table[1].update(category="高级编程", version=2, updated_at=BEGIN + 1)
        content = texts()[500].content
        equal(base.update("id == 2", {"content": content}, BEGIN + 2), 1)
        changed(table, {**document(2), "content": content}, BEGIN + 2)
        equal(base.update("id == 100", {"category": "nobody's"}, BEGIN + 3), 0)


@case
def case_0_005_a_condition_changes_all_that_meet_it_and_no_other(server: Server) -> None:
    with knowledge(server, 300) as (base, table):
        meant = [each for each in table.values() if each["category"] in ("json", "os") or each["title"].startswith("re.")]
        holds(10 < len(meant) < 100, "some documents meet the condition")
        equal(base.update('category in ["json", "os"] or title like "re.%"', {"category": "人工智能"}, BEGIN + 1), len(meant))
        for each in meant:
            each.update(category="人工智能", version=2, updated_at=BEGIN + 1)
        same_rows(base.read("category == '人工智能'"), meant, "what the condition has changed")
        equal(base.update('category == "json"', {"category": "x"}, BEGIN + 2), 0)


@case
def case_0_006_a_sync_writes_what_is_newer_outside_and_nothing_twice(server: Server) -> None:
    with knowledge(server, 100) as (base, table):
        ages = {1: 100, 2: 0, 3: -100, 4: 1, 100: -5, 101: 7}
        outside = [{**document(key, key + 200), "updated_at": BEGIN + age} for key, age in ages.items()]
        written = [1, 4, 100, 101]
        equal(base.sync(outside), written, "what the sync has written")
        for each in outside:
            if each["id"] in written:
                changed(table, each, each["updated_at"])
        same_rows(base.read(), table.values(), "after the first sync")
        equal(base.sync(outside), [], "what the same sync writes again")


@case
def case_0_007_of_a_conflict_the_last_write_the_version_or_both_texts_decide(server: Server) -> None:
    with knowledge(server, 50) as (base, table):
        base.resolve(document(1, 201), "last_write_wins", BEGIN + 1)
        changed(table, document(1, 201), BEGIN + 1)
        base.resolve(document(1, 202), "version_check", BEGIN + 2, expected=2)
        changed(table, document(1, 202), BEGIN + 2)
        with fails("1 is of version 3, not 2", kind=Conflict):
            base.resolve(document(1, 203), "version_check", BEGIN + 3, expected=2)
        same_rows(base.read("id == 1"), [table[1]], "after the version that was out of date")
        base.resolve(document(1, 204), "merge", BEGIN + 4)
        changed(table, {**document(1, 204), "content": f"{texts()[202].content} {texts()[204].content}"}, BEGIN + 4)
        base.resolve(document(50, 205), "merge", BEGIN + 5)
        changed(table, document(50, 205), BEGIN + 5)


@case
def case_0_008_upserts_of_four_workers_are_all_there(server: Server) -> None:
    with knowledge(server, 100) as (base, table), ThreadPoolExecutor(4) as workers:
        written = [document(key, key + 100) for key in range(20, 220)]
        added = list(workers.map(lambda each: base.upsert([each], BEGIN + 1, flushed=False), written))
        equal(added, [(0, 1)] * 80 + [(1, 0)] * 120)
        for each in written:
            changed(table, each, BEGIN + 1)


@case
def case_0_009_of_upserts_of_one_key_at_once_one_stays_whole(server: Server) -> None:
    with knowledge(server, 20) as (base, table), ThreadPoolExecutor(4) as workers:
        written = [row(document(7, 100 + number), number, BEGIN + number) for number in range(200)]
        list(workers.map(lambda each: base.write([each], flushed=False), written))
        found = base.read("id == 7")
        equal(len(found), 1, "rows of that key")
        holds(found[0]["version"] >= 200 - 4, "one of the last writes stays")
        table[7] = written[found[0]["version"]]
        base.collection.flush()


@case
def case_0_010_upserts_one_by_one_do_what_one_of_all_does(server: Server) -> None:
    with knowledge(server, 15) as (base, table):
        for key in range(30):
            base.upsert([document(key, key + 100)], BEGIN + 1)
            changed(table, document(key, key + 100), BEGIN + 1)
        equal(base.upsert([document(1000 + key, key + 100) for key in range(30)], BEGIN + 1), (30, 0))
        for key in range(30):
            changed(table, document(1000 + key, key + 100), BEGIN + 1)


@case
def case_0_011_readers_see_a_batch_as_a_whole_and_every_document_once(server: Server) -> None:
    with knowledge(server, 100) as (base, table):
        rounds = 20
        every = [{key: row(document(key, (key + 30 * number) % 800), number + 1, BEGIN + number) for key in range(100)} for number in range(rounds)]

        def read() -> Callable[[], None]:
            last = 0

            def once() -> None:
                nonlocal last
                found = base.read()
                version = found[0]["version"]
                holds(version >= last, "no reader goes back")
                same_rows(found, every[version - 1].values(), f"a read of version {version}")
                last = version

            return once

        def find() -> None:
            hits = base.collection.search([every[0][0]["embedding"]], "embedding", EXACT, 100, output_fields=["version"])[0]
            equal((len(set(hits.ids)), len({hit.version for hit in hits})), (100, 1), "documents and versions in one search")

        with reading(read(), read(), find) as again:
            for number in range(1, rounds):
                base.write(list(every[number].values()), flushed=number % 5 == 0)
                if number % 5 == 2:
                    again()
        table.update(every[-1])


QUESTIONS = {
    "turn a JSON text into a Python object": "json",
    "parse command line arguments": "argparse",
    "compile a regular expression": "re",
    "random choice from a sequence": "random",
    "make a temporary file": "tempfile",
}


@case
def case_0_012_questions_find_what_the_texts_mean_before_and_after_upserts(server: Server) -> None:
    with knowledge(server, 800) as (base, table):
        points = model().encode(list(QUESTIONS))

        def ask(what: str) -> list[list[int]]:
            vectors = {key: each["embedding"] for key, each in table.items()}
            answers = base.collection.search(points, "embedding", EXACT, 10, output_fields=["title", "version"])
            for question, point, hits in zip(QUESTIONS, points, answers):
                same_hits([(hit.id, hit.distance) for hit in hits], nearest(vectors, point, 10), f"{what}, the hits of {question!r}")
                equal([(hit.title, hit.version) for hit in hits], [(table[hit.id]["title"], table[hit.id]["version"]) for hit in hits], what)
            return [list(hits.ids) for hits in answers]

        before = ask("before")
        for (question, module), keys in zip(QUESTIONS.items(), before):
            equal(table[keys[0]]["category"], module, f"the module of the best answer to {question!r}")
        # The best answer of each question is now about something else, and its words stand under a key of their own.
        best = sorted({keys[0] for keys in before})
        written = [document(key, 800 + at) for at, key in enumerate(best)] + [{**document(key), "id": 5000 + key} for key in best]
        base.upsert(written, BEGIN + 1)
        for each in written:
            changed(table, each, BEGIN + 1)
        equal([keys[0] for keys in ask("after")], [5000 + keys[0] for keys in before], "the best answers after the upserts")


@case
def case_0_013_upserts_that_are_tried_again_lose_nothing_when_the_server_is_killed(server: Server) -> None:
    with server.another() as mortal, knowledge(mortal, 100) as (base, table):
        written = [[document(key, (key + 7 * number) % 800) for key in range(60, 160)] for number in range(1, 9)]
        # The server is killed as the second write begins, whatever that has come to, and before the sixth.
        kills = TwoKills()

        def write() -> None:
            for number, documents in enumerate(written, 1):
                rows = [row(each, number + 1, BEGIN + number) for each in documents]
                if number == 2:
                    kills.amid()
                elif number == 6:
                    kills.before()
                until("the write is answered", 60, lambda: base.write(rows, flushed=number % 2 == 0) is None)
                table.update({each["id"]: each for each in rows})

        with ThreadPoolExecutor(1) as writer:
            running = writer.submit(write)
            kills.of(mortal)
            running.result()
