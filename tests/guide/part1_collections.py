"""Part 1, collections, their schemas, properties and aliases."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from harness import Server, case, equal, fails, holds, until
from part1_schemas import (
    FLAT, L2, STRONG, connect, count, counted, created, doc3, drop, key, plain, ready, scalar, text, uniform, vector,
)
from pymilvus import Collection, CollectionSchema, DataType, FieldSchema, utility
from pymilvus.client.types import LoadState
from pymilvus.exceptions import PrimaryKeyException, SchemaNotReadyException

NOT_THE_SAME = "The collection already exist, but the schema is not the same as the schema passed in."


@case
def case_1_014_a_new_collection_is_described_as_it_was_made(server: Server) -> None:
    description = {"description": "文档向量库", "enable_dynamic_field": False}
    with created(server, "described", doc3(), description, using="default", shards_num=2) as collection:
        shown = (collection.num_shards, collection.num_entities, collection.indexes, collection.description)
        equal(shown, (2, 0, [], "文档向量库"))
        equal(utility.load_state("described"), LoadState.NotLoad)
        equal(collection.describe()["consistency_level"], 2)
        equal(utility.has_collection("described"), True)


@case
def case_1_015_a_collection_is_made_again_only_as_it_is(server: Server) -> None:
    with created(server, "once", doc3()) as collection:
        again = Collection("once", CollectionSchema(doc3()))
        equal(again.schema, collection.schema)
        with fails(NOT_THE_SAME, kind=SchemaNotReadyException):
            Collection("once", CollectionSchema(plain()))
        with fails("Collection 'nope' not exist, or you can pass in schema to create one.", kind=SchemaNotReadyException):
            Collection("nope")


@case
def case_1_016_names_of_collections_have_rules(server: Server) -> None:
    connect(server)
    rules = {
        "bad-name": "Invalid collection name: bad-name. collection name can only contain numbers, letters and underscores",
        "1abc": "the first character of a collection name must be an underscore or letter",
        "a" * 256: "the length of a collection name must be less than 255 characters",
    }
    for name, text_of_it in rules.items():
        with fails(text_of_it, code=1100):
            Collection(name, CollectionSchema(plain(4)))
    for name in ("_abc", "a" * 255):
        with created(server, name, plain(4)):
            equal(utility.has_collection(name), True)


@case
def case_1_017_a_collection_has_one_to_sixteen_shards(server: Server) -> None:
    for wanted, options in ((1, {}), (1, {"shards_num": 0}), (4, {"shards_num": 4}), (16, {"shards_num": 16})):
        with created(server, "sharded", plain(4), **options) as collection:
            equal(collection.num_shards, wanted)
    with fails("maximum shards's number should be limited to 16"):
        Collection("sharded", CollectionSchema(plain(4)), shards_num=17)
    equal(utility.has_collection("sharded"), False)


@case
def case_1_018_a_varchar_has_a_length_of_at_most_65535(server: Server) -> None:
    connect(server)
    endless = FieldSchema(name="title", dtype=DataType.VARCHAR)
    with fails("type param(max_length) should be specified for"):
        Collection("lengths", CollectionSchema([key(), endless, vector(4)]))
    with fails("(0, 65535]", code=1100):
        Collection("lengths", CollectionSchema([key(), text("title", 65536), vector(4)]))
    with created(server, "lengths", [key(), text("title", 65535), vector(4)]) as collection:
        equal(collection.schema.fields[1].params, {"max_length": 65535})


@case
def case_1_019_dimensions_have_a_range(server: Server) -> None:
    connect(server)
    with fails("invalid dimension: 32769"):
        Collection("dimensions", CollectionSchema(plain(32769)))
    with fails("should be multiple of 8"):
        Collection("dimensions", CollectionSchema([key(), vector(9, dtype=DataType.BINARY_VECTOR)]))
    for field in (vector(32768), vector(512, dtype=DataType.BINARY_VECTOR)):
        with created(server, "dimensions", [key(), field]) as collection:
            equal(collection.schema.fields[1].params, field.params)


def s7() -> list[FieldSchema]:
    texts = [text("title"), text("content", 5000), text("category", 50)]
    return [key(auto=True), *texts, scalar("timestamp", DataType.INT64), scalar("score", DataType.FLOAT), vector(768)]


@case
def case_1_020_a_schema_has_exactly_one_key_of_the_right_type(server: Server) -> None:
    second, number = FieldSchema(name="second", dtype=DataType.INT64, is_primary=True), key(dtype=DataType.FLOAT)
    for fields in ([text("title"), vector()], [key(), second, vector()], [number, vector()]):
        with fails(kind=PrimaryKeyException):
            CollectionSchema(fields)
    schema = CollectionSchema(s7(), description="文档搜索系统", enable_dynamic_field=False)
    equal((len(schema.fields), schema.primary_field.name, schema.auto_id), (7, "id", True))
    with created(server, "seven_fields", s7(), {"description": "文档搜索系统"}) as collection:
        shown = Collection(collection.name).schema
        equal([field.to_dict() for field in shown.fields], [field.to_dict() for field in schema.fields])


def many_vectors(number: int) -> list[FieldSchema]:
    return [key(), *(vector(8, f"vector_{each}") for each in range(number))]


@case
def case_1_021_every_vector_of_a_row_is_searched_by_itself(server: Server) -> None:
    random = np.random.default_rng(7)
    kinds = {
        "embedding": (DataType.FLOAT_VECTOR, 128, uniform(20), FLAT),
        "high_dim_embedding": (DataType.FLOAT_VECTOR, 1536, uniform(20, 1536), FLAT),
        "binary_embedding": (
            DataType.BINARY_VECTOR, 512, [row.tobytes() for row in random.integers(0, 256, (20, 64), dtype=np.uint8)],
            {"index_type": "BIN_FLAT", "metric_type": "HAMMING", "params": {}},
        ),
        "fp16_embedding": (DataType.FLOAT16_VECTOR, 256, list(uniform(20, 256).astype(np.float16)), FLAT),
    }
    fields = [key(), *(vector(dim, name, dtype) for name, (dtype, dim, _, _) in kinds.items())]
    with created(server, "four_vectors", fields) as collection:
        collection.insert([{"id": number, **{name: kind[2][number] for name, kind in kinds.items()}} for number in range(20)])
        for name, (_, _, _, index) in kinds.items():
            collection.create_index(name, index)
        collection.load()
        for name, (_, _, data, index) in kinds.items():
            hits = collection.search([data[3]], name, {"metric_type": index["metric_type"]}, limit=3, **STRONG)[0]
            equal((len(hits), hits[0].id, hits[0].distance), (3, 3, 0.0), name)


@case
def case_1_021a_a_collection_has_at_most_ten_vectors(server: Server) -> None:
    """The guide says 4, of 2.4 and 2.5; it is 10 since 2.6 (wire-api, 2.2), so that the setting has nothing to raise."""
    with fails("maximum vector field's number should be limited to 10"):
        connect(server)
        Collection("eleven_vectors", CollectionSchema(many_vectors(11)))
    for number in (6, 10):
        with created(server, "many_vectors", many_vectors(number)) as collection:
            equal(len(collection.schema.fields), number + 1)


@case
def case_1_022_properties_are_texts_and_are_there_after_a_restart(server: Server) -> None:
    with server.another() as own:
        own.connect()
        collection = Collection("kept", CollectionSchema(plain(4)))
        collection.set_properties({"collection.ttl.seconds": 86400})
        collection.set_properties({"collection.replica.number": 2})
        wanted = {"collection.ttl.seconds": "86400", "collection.replica.number": "2"}
        for _ in range(2):
            found = dict(Collection("kept").describe()["properties"])
            found.pop("timezone", None)  # every collection has it in later versions
            equal(found, wanted)
            own.stop()
            own.start()
            own.connect()


@case
def case_1_023_rows_expire_unless_their_time_is_taken_back(server: Server) -> None:
    with created(server, "stays", plain(8)) as stays, created(server, "expires", plain(8)) as expires:
        for collection in (stays, expires):
            ready(collection)
            collection.set_properties({"collection.ttl.seconds": 2})
            collection.insert([list(range(100)), uniform(100, 8)])
            if collection is stays:
                equal(count(stays), 100)
                stays.set_properties({"collection.ttl.seconds": 0})
        until("the rows expire", 6, lambda: count(expires) == 0)
        equal(len(expires.search(uniform(1, 8), "embedding", L2, limit=10, **STRONG)[0]), 0)
        equal(count(stays), 100)
        equal(len(stays.search(uniform(1, 8), "embedding", L2, limit=10, **STRONG)[0]), 10)
        expires.flush()
        expires.compact()
        expires.wait_for_compaction_completed()
        counted(expires, 0)


@contextlib.contextmanager
def versions(server: Server, rows: int = 20) -> Iterator[tuple[Collection, Collection]]:
    """`documents_v1` with even ids and `documents_v2` with odd ones."""
    with created(server, "documents_v1", plain(8)) as first, created(server, "documents_v2", plain(8)) as second:
        for offset, collection in enumerate((first, second)):
            collection.insert([[2 * number + offset for number in range(rows)], uniform(rows, 8)])
            collection.flush()
            ready(collection)
        yield first, second


@case
def case_1_024_a_collection_is_found_by_all_of_its_names(server: Server) -> None:
    names = ("documents", "docs", "doc_collection")
    with versions(server) as (first, _):
        for name in ("documents", *names):
            utility.create_alias("documents_v1", name)
        equal(set(utility.list_aliases("documents_v1")), set(names))
        found = Collection("documents")
        equal((found.describe()["collection_name"], found.name), ("documents_v1", "documents"))
        equal(utility.has_collection("documents"), True)
        holds("documents" not in utility.list_collections(), "an alias is not listed as a collection")
        equal([Collection(name).num_entities for name in names], [first.num_entities] * 3)
        equal(first.num_entities, 20)


@case
def case_1_025_an_alias_moves_between_two_searches(server: Server) -> None:
    with versions(server) as (first, _):
        utility.create_alias(first.name, "documents")
        utility.alter_alias("documents_v2", "documents")
        equal(Collection("documents").describe()["collection_name"], "documents_v2")
        done, through, query = threading.Event(), Collection("documents"), uniform(1, 8)

        def search() -> int:
            number = 0
            while not done.is_set() or not number:
                found = through.search(query, "embedding", L2, limit=20)[0].ids
                holds(len(found) == 20 and len({each % 2 for each in found}) == 1, f"{found} are all of one collection")
                number += 1
            return number

        with ThreadPoolExecutor(8) as threads:
            searches = [threads.submit(search) for _ in range(8)]
            try:
                for turn in range(100):
                    utility.alter_alias(("documents_v1", "documents_v2")[turn % 2], "documents")
            finally:
                done.set()
            holds(all(each.result() > 0 for each in searches), "every thread searched")


@case
def case_1_026_aliases_and_collections_do_not_get_in_each_others_way(server: Server) -> None:
    with versions(server):
        utility.create_alias("documents_v1", "documents")
        with fails("documents is alias to another collection: documents_v1: alias already exist", code=1602):
            utility.create_alias("documents_v2", "documents")
        with fails("alias and collection name conflict", code=1601):
            utility.create_alias("documents_v1", "documents_v2")
        with fails("collection not found", code=100):
            utility.create_alias("missing", "other")
        with fails("alias not found", code=1600):
            utility.alter_alias("documents_v2", "nope")
        # 2.6 and later refuse what 2.3.5 and the guide let pass (wire-api, 1.3).
        with fails("alias not found", code=1600):
            utility.drop_alias("nope")
        with fails("cannot drop the collection via alias"):
            utility.drop_collection("documents")
        with fails("unable to drop the collection [documents_v1] because it has associated aliases [documents]"):
            utility.drop_collection("documents_v1")
        for fields in (plain(8), plain(16)):
            with fails("documents", code=(65535, 1100)):
                server.client().create_collection("documents", schema=CollectionSchema(fields))
        equal(set(utility.list_aliases("documents_v1")), {"documents"})


@case
def case_1_027_a_loaded_collection_is_dropped_with_everything_of_it(server: Server) -> None:
    with created(server, "dropped", plain(8)) as collection:
        collection.insert([list(range(100)), uniform(100, 8)])
        ready(collection, flush=True)
        equal(count(collection), 100)
        utility.drop_collection("dropped")
        equal(utility.has_collection("dropped"), False)
        again = ready(Collection("dropped", CollectionSchema(plain(8))))
        equal((again.num_entities, again.query("id >= 0", **STRONG), count(again)), (0, [], 0))
    utility.drop_collection("missing")


@case
def case_1_027a_nothing_is_left_of_what_was_dropped(server: Server) -> None:
    with server.another() as own:
        own.connect()

        def bytes_kept() -> int:
            files = (own.folder / "data" / "blobs" / "segments").rglob("*")
            return sum(path.stat().st_size for path in files if path.is_file())

        collection = Collection("dropped", CollectionSchema(plain(128)))
        before = bytes_kept()
        collection.insert([list(range(2000)), uniform(2000)])
        collection.flush()
        holds(bytes_kept() - before >= 2000 * 128 * 4, "the vectors were written")
        utility.drop_collection("dropped")
        until("what was dropped is gone", 60, lambda: bytes_kept() <= before)


@case
def case_1_028_collections_are_dropped_by_their_prefix(server: Server) -> None:
    connect(server)
    names = [f"test_{number}" for number in range(5)] + [f"keep_{number}" for number in range(3)]
    for name in names:
        Collection(name, CollectionSchema(plain(4)))
    for name in utility.list_collections():
        if name.startswith("test_"):
            Collection(name).release()
            utility.drop_collection(name)
    equal(sorted(set(names) & set(utility.list_collections())), ["keep_0", "keep_1", "keep_2"])
    for name in names[5:]:
        drop(name)


@case
def case_1_029_what_the_guide_invents_is_not_there(server: Server) -> None:
    with created(server, "invented", plain(4)) as collection:
        for owner, name in ((collection, "shards_num"), (collection, "properties"), (collection, "get_stats"),
                            (utility, "LoadState"), (utility, "get_compaction_state"), (utility, "get_compaction_plans")):
            with fails(name, kind=AttributeError):
                getattr(owner, name)
