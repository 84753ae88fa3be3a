"""Document 2: the rules of upserts, one by one: what is left out, what is merged, what is replaced whole, what is computed anew."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from harness import Server, case, equal, fails, holds, until
from pymilvus import DataType, Function, FunctionType, MilvusClient, MilvusException
from pymilvus.exceptions import DataNotMatchException, ParamError
from readers import reading
from tables import ALL_ROWS, STRONG, Row, nearest, same_hits, same_rows, unique
from words import DIM, model, texts

REFUSED = (MilvusException, DataNotMatchException, ParamError)
# Rows of each collection; the first half of them is sealed, the others are not.
ROWS = 100
SEALED, GROWING = 3, 60
BOTH = (SEALED, GROWING)
META = {"author": "John", "year": 2020, "tags": ["fiction"]}


class Articles:
    """The document's `my_collection` on the server, and what is to be in it."""

    def __init__(self, client: MilvusClient, name: str, fields: list[str]) -> None:
        self.client, self.name, self.fields = client, name, fields
        self.table: dict[int, Row] = {}

    def upsert(self, rows: list[Row], merge: bool = False, **more: Any) -> None:
        answer = self.client.upsert(self.name, [dict(row) for row in rows], partial_update=merge, **more)
        equal((answer["upsert_count"], list(answer["ids"])), (len(rows), [row["id"] for row in rows]), "the answer of an upsert")

    def read(self, filter: str = "id >= 0", **more: Any) -> list[Row]:
        return [dict(row) for row in self.client.query(self.name, filter, output_fields=self.fields, limit=ALL_ROWS, **STRONG, **more)]

    def check(self, what: str) -> None:
        same_rows(self.read(), self.table.values(), what)

    def count(self, **more: Any) -> int:
        return self.client.query(self.name, "", output_fields=["count(*)"], **STRONG, **more)[0]["count(*)"]


def vector(text: int) -> list[float]:
    return model().encode([texts()[text].whole])[0]


def article(key: int, text: int | None = None) -> Row:
    """What document `key` says in full, with the words of one of the texts."""
    text = key if text is None else text
    return {"id": key, "vector": vector(text), "title": texts()[text].title, "issue": f"vol.{text}"}


@contextlib.contextmanager
def articles(server: Server, dynamic: bool = False, extras: bool = False, words: bool = False, number: int = ROWS) -> Iterator[Articles]:
    """The collection with its rows, loaded; after the block it has what it is to have, once loaded anew, too."""
    client, name = server.client(), unique("my_collection")
    schema = client.create_schema(auto_id=False, enable_dynamic_field=dynamic)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM)
    schema.add_field("title", DataType.VARCHAR, max_length=512)
    schema.add_field("issue", DataType.VARCHAR, max_length=64, nullable=True)
    index = client.prepare_index_params()
    index.add_index("vector", index_type="HNSW", metric_type="COSINE", params={"M": 16, "efConstruction": 200})
    if extras:
        schema.add_field("extras", DataType.JSON)
    if words:
        schema.add_field("content", DataType.VARCHAR, max_length=2000, enable_analyzer=True)
        schema.add_field("words", DataType.SPARSE_FLOAT_VECTOR)
        schema.add_function(Function("bm25", FunctionType.BM25, ["content"], ["words"]))
        index.add_index("words", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25")
    client.create_collection(name, schema=schema, index_params=index)
    made = Articles(client, name, ["id", "vector", "title", "issue"] + ["extras"] * extras + ["content"] * words + ["$meta"] * dynamic)
    more = lambda key: {**({"extras": META} if extras else {}), **({"content": texts()[key].content} if words else {}), **(META if dynamic else {})}
    made.table = {key: {**article(key), **more(key)} for key in range(number)}
    for half in (range(number // 2), range(number // 2, number)):
        if half:
            client.insert(name, [dict(made.table[key]) for key in half])
        if half.start == 0:
            client.flush(name)
    try:
        made.check("before")
        yield made
        made.check("after")
        equal(made.count(), len(made.table), "count(*)")
        client.flush(name)
        client.release_collection(name)
        client.load_collection(name)
        made.check("after it was flushed and loaded anew")
    finally:
        client.drop_collection(name)
        client.close()


@case
def case_2_001_an_upsert_overwrites_what_is_there_and_adds_what_is_not(server: Server) -> None:
    with articles(server) as made:
        for keys in ((0, 1, 2), (SEALED, GROWING, ROWS), (SEALED, GROWING, ROWS)):
            rows = [article(key, key + 200 + keys[2]) for key in keys]
            made.upsert(rows)
            made.table.update({row["id"]: row for row in rows})
            made.check(f"after an upsert of {keys}")


@case
def case_2_002_a_nullable_field_that_is_left_out_becomes_null(server: Server) -> None:
    with articles(server) as made:
        for key in BOTH:
            row = {name: value for name, value in article(key, key + 200).items() if name != "issue"}
            made.upsert([row])
            made.table[key] = {**row, "issue": None}
        same_rows(made.read("issue is null"), [made.table[key] for key in BOTH], "rows without an issue")


@case
def case_2_003_a_nullable_field_that_a_merge_leaves_out_or_an_upsert_repeats_stays(server: Server) -> None:
    with articles(server) as made:
        made.upsert([{"id": key, "title": f"new {key}"} for key in BOTH], merge=True)
        for key in BOTH:
            made.table[key]["title"] = f"new {key}"
        made.check("after a merge without the issue")
        for key in BOTH:
            made.table[key] = {**article(key, key + 200), "issue": made.table[key]["issue"]}
            made.upsert([made.table[key]])
        made.check("after an upsert with the issue as it was")
        made.upsert([{"id": key, "issue": None} for key in BOTH], merge=True)
        for key in BOTH:
            made.table[key]["issue"] = None


@case
def case_2_004_dynamic_fields_are_overwritten_by_an_upsert(server: Server) -> None:
    with articles(server, dynamic=True) as made:
        for key in BOTH:
            made.table[key] = {**article(key, key + 200), "author": "Jane", "genre": "fantasy"}
            made.upsert([made.table[key]])
        same_rows(made.read('genre == "fantasy"'), [made.table[key] for key in BOTH], "rows of the genre")
        same_rows(made.read("not exists year"), [made.table[key] for key in BOTH], "rows without a year")


@case
def case_2_005_dynamic_fields_are_merged_by_a_merge(server: Server) -> None:
    with articles(server, dynamic=True) as made:
        made.upsert([{"id": key, "author": "Jane", "genre": "fantasy"} for key in BOTH], merge=True)
        for key in BOTH:
            made.table[key].update({"author": "Jane", "year": 2020, "tags": ["fiction"], "genre": "fantasy"})
        same_rows(made.read('author == "Jane" and year == 2020'), [made.table[key] for key in BOTH], "rows of the author")
        made.upsert([{"id": key, "issue": "vol.1"} for key in BOTH], merge=True)
        for key in BOTH:
            made.table[key]["issue"] = "vol.1"


@case
def case_2_006_a_json_field_is_replaced_whole_in_either_mode(server: Server) -> None:
    with articles(server, extras=True) as made:
        made.upsert([{"id": key, "extras": {"author": "Jane", "genre": "fantasy"}} for key in BOTH], merge=True)
        for key in BOTH:
            made.table[key]["extras"] = {"author": "Jane", "genre": "fantasy"}
        made.check("after a merge")
        made.upsert([{"id": key, "title": "as it was"} for key in BOTH], merge=True)
        for key in BOTH:
            made.table[key]["title"] = "as it was"
        made.check("after a merge without it")
        for key in BOTH:
            made.table[key] = {**article(key, key + 200), "extras": {"year": {"of": [2021]}}}
            made.upsert([made.table[key]])
        equal(made.read('extras["author"] == "Jane"'), [], "rows of the author that was replaced")


@case
def case_2_007_an_upsert_without_the_key_is_refused(server: Server) -> None:
    with articles(server) as made:
        row = article(SEALED, 200)
        del row["id"]
        for merge in (False, True):
            with fails(kind=REFUSED):
                made.client.upsert(made.name, [row], partial_update=merge)
            made.check(f"after it was refused, merge {merge}")


@case
def case_2_008_a_merge_into_a_collection_that_is_not_loaded_is_refused(server: Server) -> None:
    with articles(server) as made:
        made.client.release_collection(made.name)
        with fails("not loaded", kind=MilvusException):
            made.client.upsert(made.name, [{"id": SEALED, "issue": "vol.1"}], partial_update=True)
        made.client.load_collection(made.name)
        made.check("after it was refused")
        made.upsert([{"id": key, "issue": "vol.1"} for key in BOTH], merge=True)
        for key in BOTH:
            made.table[key]["issue"] = "vol.1"


@case
def case_2_009_a_field_that_the_schema_does_not_have_is_refused(server: Server) -> None:
    with articles(server) as made:
        for merge, row in ((False, article(SEALED, 200)), (True, {"id": SEALED, "issue": "vol.1"})):
            with fails("genre", kind=REFUSED):
                made.client.upsert(made.name, [{**row, "genre": "fantasy"}], partial_update=merge)
            made.check(f"after it was refused, merge {merge}")


@case
def case_2_010_values_of_a_wrong_type_are_refused_with_all_rows_beside_them(server: Server) -> None:
    with articles(server) as made:
        short = vector(200)[:100]
        wrong_ones: list[Row] = [{"title": 7}, {"issue": ["vol.1"]}, {"vector": short}, {"vector": "no vector"}, {"title": None}, {"title": "x" * 513}]
        for wrong in wrong_ones:
            for merge in (False, True):
                fields = {"id", *wrong} if merge else set(article(0))
                rows = [{name: value for name, value in article(key, 200).items() if name in fields} for key in (1, 2, SEALED)]
                rows[2].update(wrong)
                with fails(kind=REFUSED):
                    made.client.upsert(made.name, rows, partial_update=merge)
                made.check(f"after {str(wrong):.40} was refused, merge {merge}")


@case
def case_2_011_what_a_function_makes_is_made_anew(server: Server) -> None:
    with articles(server, words=True) as made:

        def find(word: str) -> list[int]:
            hits = made.client.search(made.name, [word], anns_field="words", limit=ROWS, search_params={"metric_type": "BM25"}, **STRONG)[0]
            return sorted(hit["id"] for hit in hits)

        before = find("xylophone"), find("zeppelin")
        equal(before, ([], []), "rows with either word")
        for key in BOTH:
            made.table[key] = {**article(key, key + 200), "content": f"A xylophone was number {key}"}
            made.upsert([made.table[key]])
        equal(find("xylophone"), [*BOTH], "rows with the word of an upsert")
        made.upsert([{"id": key, "content": f"A zeppelin was number {key}"} for key in BOTH], merge=True)
        for key in BOTH:
            made.table[key]["content"] = f"A zeppelin was number {key}"
        equal((find("xylophone"), find("zeppelin")), ([], [*BOTH]), "rows with the word of a merge, and the one before")
        made.upsert([{"id": key, "title": "about airships"} for key in BOTH], merge=True)
        for key in BOTH:
            made.table[key]["title"] = "about airships"
        equal(find("zeppelin"), [*BOTH], "after a merge of another field")


@case
def case_2_012_scores_of_words_are_those_of_the_texts_as_they_are(server: Server) -> None:
    """A collection whose texts came by upserts and merges scores as one into which they were inserted, once what was replaced is compacted
    away: until then it counts in the statistics, as with Milvus."""
    with articles(server, words=True) as made, articles(server, words=True) as other:
        for key in range(0, ROWS, 3):
            made.table[key] = {**article(key), "content": texts()[key + 300].content}
            made.upsert([made.table[key]])
        changed = [{"id": key, "content": texts()[key + 300].content} for key in range(1, ROWS, 3)]
        made.upsert(changed, merge=True)
        for row in changed:
            made.table[row["id"]]["content"] = row["content"]
        other.client.delete(other.name, filter="id >= 0")
        other.table = {key: dict(row) for key, row in made.table.items()}
        other.client.insert(other.name, [dict(row) for row in other.table.values()])
        for each in (made, other):
            each.client.flush(each.name)
            job = each.client.compact(each.name)
            until("the compaction ends", 60, lambda: each.client.get_compaction_state(job) == "Completed")

        def find(where: Articles, words: str) -> list[tuple[int, float]]:
            hits = where.client.search(where.name, [words], anns_field="words", limit=ROWS, search_params={"metric_type": "BM25"}, **STRONG)[0]
            return sorted((hit["id"], round(hit["distance"], 3)) for hit in hits)

        for words in ("return a string", "the current thread", "file path"):
            # Reads go over to the compacted segments a little after the compaction has ended.
            until(f"keys and scores of {words!r} are the same", 60, lambda: find(made, words) == find(other, words))


@case
def case_2_013_an_upsert_goes_into_the_partition_that_it_names(server: Server) -> None:
    with articles(server) as made:
        made.client.create_partition(made.name, "PartitionA")
        with fails("partition", kind=MilvusException):
            made.client.upsert(made.name, [article(200)], partition_name="partitionA")
        for text in (300, 400):
            rows = [article(key, text + key) for key in (110, 111, 112)]
            made.upsert(rows, partition_name="PartitionA")
            made.table.update({row["id"]: row for row in rows})
            same_rows(made.read(partition_names=["PartitionA"]), rows, "the partition")
            same_rows(made.read(partition_names=["_default"]), [made.table[key] for key in range(ROWS)], "the partition beside it")
        made.upsert([{"id": 111, "issue": "vol.1"}], merge=True, partition_name="PartitionA")
        made.table[111]["issue"] = "vol.1"
        same_rows(made.read(partition_names=["PartitionA"]), [made.table[key] for key in (110, 111, 112)], "the partition after a merge")


@case
def case_2_014_a_key_that_comes_to_another_partition_is_there_alone(server: Server) -> None:
    with articles(server) as made:
        made.client.create_partition(made.name, "PartitionA")
        rows = [article(key, key + 200) for key in BOTH]
        made.upsert(rows, partition_name="PartitionA")
        made.table.update({row["id"]: row for row in rows})
        same_rows(made.read(partition_names=["PartitionA"]), rows, "the partition")
        rest = [row for key, row in made.table.items() if key not in BOTH]
        same_rows(made.read(partition_names=["_default"]), rest, "the partition where the keys were")


@case
def case_2_015_with_keys_by_the_server_an_upsert_replaces_a_row_under_a_new_key(server: Server) -> None:
    client, name = server.client(), unique("auto")
    schema = client.create_schema(auto_id=True)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM)
    schema.add_field("title", DataType.VARCHAR, max_length=512)
    index = client.prepare_index_params()
    index.add_index("vector", index_type="AUTOINDEX", metric_type="COSINE")
    client.create_collection(name, schema=schema, index_params=index)
    rows = [{"vector": vector(text), "title": texts()[text].title} for text in range(40)]
    keys = list(client.insert(name, rows[:20])["ids"])
    client.flush(name)
    keys += list(client.insert(name, rows[20:])["ids"])
    table = {key: {"id": key, **row} for key, row in zip(keys, rows)}
    replaced = [keys[3], keys[30]]
    changed = [{"vector": vector(500 + text), "title": texts()[500 + text].title} for text in range(2)]
    answer = client.upsert(name, [{"id": key, **row} for key, row in zip(replaced, changed)])
    new = list(answer["ids"])
    equal((answer["upsert_count"], len(set(new) | set(keys))), (2, 42), "rows replaced, and keys that ever were")
    for old, key, row in zip(replaced, new, changed):
        del table[old]
        table[key] = {"id": key, **row}
    same_rows(client.query(name, "", output_fields=["*"], limit=ALL_ROWS, **STRONG), table.values())
    equal(client.query(name, f"id in {replaced}", output_fields=["id"], **STRONG), [], "rows under the old keys")
    equal(client.query(name, "", output_fields=["count(*)"], **STRONG)[0]["count(*)"], 40, "count(*)")
    client.drop_collection(name)


@case
def case_2_016_a_merge_changes_the_same_fields_of_many_rows(server: Server) -> None:
    with articles(server) as made:
        rows = [{"id": key, "issue": f"merged {key}"} for key in range(0, ROWS, 2)]
        made.upsert(rows, merge=True)
        for row in rows:
            made.table[row["id"]]["issue"] = row["issue"]
        rows = [{"id": key, "vector": vector(key + 300), "title": texts()[key + 300].title} for key in range(0, ROWS, 3)]
        made.upsert(rows, merge=True)
        for row in rows:
            made.table[row["id"]].update(row)
        vectors, point = {key: row["vector"] for key, row in made.table.items()}, model().encode(["make a temporary file"])[0]
        hits = made.client.search(made.name, [point], anns_field="vector", limit=10, search_params={"params": {"ef": 200}}, **STRONG)[0]
        same_hits([(hit["id"], hit["distance"]) for hit in hits], nearest(vectors, point, 10, "COSINE"))


@case
def case_2_017_a_merge_whose_rows_have_different_fields_is_refused(server: Server) -> None:
    with articles(server) as made:
        with fails(kind=REFUSED):
            made.client.upsert(made.name, [{"id": 1, "issue": "vol.14"}, {"id": 2, "title": "vol.7"}], partial_update=True)


@case
def case_2_018_a_merge_of_a_key_that_is_not_there_adds_a_whole_row_and_refuses_a_part(server: Server) -> None:
    with articles(server) as made:
        row = article(ROWS)
        made.upsert([row], merge=True)
        made.table[ROWS] = row
        made.check("after a whole row")
        with fails(kind=REFUSED):
            made.client.upsert(made.name, [{"id": ROWS + 1, "issue": "vol.1"}], partial_update=True)
        made.check("after a part of one")
        with fails(kind=REFUSED):
            made.client.upsert(made.name, [{"id": SEALED, "issue": "vol.1"}, {"id": ROWS + 1, "issue": "vol.1"}], partial_update=True)
        made.check("after a part of one beside one that is there")
        row = {name: value for name, value in article(ROWS + 1).items() if name != "issue"}
        made.upsert([row], merge=True)
        made.table[ROWS + 1] = {**row, "issue": None}


@case
def case_2_019_every_merge_stands_on_the_write_before_it(server: Server) -> None:
    with articles(server, dynamic=True) as made:
        second = server.client()
        for number in range(50):
            key = BOTH[number % 2]
            parts: list[Row] = [{"issue": f"vol.{number}"}, {"title": f"title {number}"}, {f"note_{number}": number}, {"vector": vector(number + 200)}]
            part = parts[number // 2 % 4]
            (made.client, second)[number % 3 % 2].upsert(made.name, [{"id": key, **part}], partial_update=True)
            made.table[key].update(part)
        second.close()


@case
def case_2_020_readers_see_each_row_once_and_whole_amid_merges(server: Server) -> None:
    with articles(server) as made:
        rounds, client = 25, server.client()
        before = {(row["title"], row["issue"]) for row in made.table.values()}
        each_round = [{(f"round {number}", str(number))} for number in range(rounds)]
        vectors = [{"id": key, "vector": row["vector"]} for key, row in made.table.items()]

        def read() -> None:
            found = client.query(made.name, "id >= 0", output_fields=["id", "title", "issue", "vector"], limit=ALL_ROWS, **STRONG)
            shown = {(row["title"], row["issue"]) for row in found}
            holds(shown == before or shown in each_round, f"{shown} is what one round, or none, has written")
            same_rows([{"id": row["id"], "vector": row["vector"]} for row in found], vectors, "keys and vectors of a read")

        with reading(read, read) as again:
            for number in range(rounds):
                made.upsert([{"id": key, "title": f"round {number}", "issue": str(number)} for key in range(ROWS)], merge=True)
                if number % 5 == 2:
                    again()
        client.close()
        for row in made.table.values():
            row.update(title=f"round {rounds - 1}", issue=str(rounds - 1))
