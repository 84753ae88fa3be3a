"""Part 1, inserting."""

from __future__ import annotations

import queue
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from harness import Server, case, equal, fails, holds, until
from part1_schemas import (
    CLIENT, L2, ROWS, STRONG, count, created, doc3, doc5, documents, ids, key, plain, ready, rows, scalar, text, titles, uniform, vector,
)
from pymilvus import Collection, CollectionSchema, DataType, MilvusException
from pymilvus.exceptions import DataNotMatchException, ParamError

MIB = 1 << 20


@case
def case_1_030_columns_come_back_with_their_keys_in_order(server: Server) -> None:
    with created(server, "columns", doc3()) as collection:
        inserted = collection.insert([list(range(1000)), titles(range(1000)), uniform(1000)])
        equal((inserted.insert_count, list(inserted.primary_keys)), (1000, list(range(1000))))
        equal(collection.num_entities, 0)
        collection.flush()
        equal(collection.num_entities, 1000)


@case
def case_1_031_rows_and_arrays_are_read_back_exactly(server: Server) -> None:
    data = uniform(30)
    with created(server, "forms", doc3()) as collection:
        mixed = [{"id": 0, "title": "文档0", "embedding": data[0].tolist()}, {"embedding": data[1].tolist(), "title": "文档1", "id": 1}]
        equal(collection.insert(mixed).insert_count, 2)
        equal(collection.insert([list(range(2, 10)), titles(range(2, 10)), data[2:10]]).insert_count, 8)
        equal(collection.insert([list(range(10, 30)), titles(range(10, 30)), list(data[10:])]).insert_count, 20)
        ready(collection)
        found = collection.query("id >= 0", output_fields=["id", "title", "embedding"], **STRONG)
        equal([(row["id"], row["title"]) for row in found], list(enumerate(titles(range(30)))))
        equal(np.array([row["embedding"] for row in found], dtype=np.float32).tobytes(), data.tobytes())


@case
def case_1_032_given_keys_are_unique_and_increase(server: Server) -> None:
    with created(server, "auto_id_collection", [key(auto=True), text("text"), vector()], {"description": "自增ID示例"}) as collection:
        first, second = (list(collection.insert([titles(range(100)), uniform(100)]).primary_keys) for _ in range(2))
        for given in (first, second):
            equal(len(given), 100)
            holds(all(isinstance(each, int) and 0 < each < 2**63 for each in given), "keys are 64-bit integers")
            equal(given, sorted(set(given)))
        holds(second[0] > first[-1], "the keys of the second insert are greater")
        ready(collection)
        equal(ids(collection, f"id in {first[:5]}"), first[:5])


@case
def case_1_033_a_key_that_is_given_cannot_be_said(server: Server) -> None:
    with created(server, "auto_id_only", doc3(auto=True)) as collection:
        with fails("expect 2 list, got 3", kind=DataNotMatchException):
            collection.insert([list(range(10)), titles(range(10)), uniform(10)])
        # Since 2.6 the client leaves this to the server.
        said = "can not assign primary field data when auto id enabled" if CLIENT >= (2, 6) else "unexpected field `id`"
        with fails(said):
            collection.insert([{"id": 1, "title": "文档1", "embedding": uniform(1)[0]}])
        collection.flush()
        equal(collection.num_entities, 0)


@case
def case_1_034_columns_that_do_not_fit_insert_nothing(server: Server) -> None:
    with created(server, "ragged", doc5()) as collection:
        numbers, data = list(range(1000)), uniform(1000)
        categories = ["技术", "新闻", "博客"] * 334
        with fails("misaligned", kind=ParamError):
            collection.insert([numbers, titles(range(1000)), categories, numbers, data])
        for columns in ([numbers, titles(range(1000)), numbers, data], [numbers, titles(range(1000)), categories[:1000], numbers, data, numbers]):
            with fails("expect 5 list", kind=DataNotMatchException):
                collection.insert(columns)
        collection.flush()
        equal(collection.num_entities, 0)
        equal(count(ready(collection)), 0)


@case
def case_1_035_vectors_that_are_none_insert_nothing(server: Server) -> None:
    with documents(server, "bad_vectors", 10) as collection:
        with fails("128", kind=MilvusException):
            collection.insert([[10, 11], titles(range(2)), uniform(2, 100).tolist()])
        for bad in (float("nan"), float("inf"), float("-inf")):
            data = uniform(2).tolist()
            data[1][64] = bad
            with fails("is not a number or infinity"):
                collection.insert([[10, 11], titles(range(2)), data])
        equal(count(collection), 10)


@case
def case_1_036_lengths_of_texts_are_counted_in_bytes(server: Server) -> None:
    with created(server, "text_lengths", doc3()) as collection:
        with fails("length of string exceeds max length. length: 201, max length: 200", kind=ParamError):
            collection.insert([[1], ["a" * 201], uniform(1)])
        equal(collection.insert([[1], ["文" * 66], uniform(1)]).insert_count, 1)
        # The words since 2.4 (wire-api, 2.4 and 3.7); 2.3.5 says "the length (600) of 0th string exceeds max length (200)".
        said = "length of varchar field title exceeds max length, row number: 0, length: 600, max length: 200"
        with fails(said, code=1100):
            collection.insert([[2], ["文" * 200], uniform(1)])
        equal(ids(ready(collection), "id >= 0"), [1])
        equal(collection.query("id == 1", output_fields=["title"], **STRONG)[0]["title"], "文" * 66)


@case
def case_1_037_integers_have_the_range_of_their_type(server: Server) -> None:
    types = {"i8": DataType.INT8, "i16": DataType.INT16, "i32": DataType.INT32}
    with created(server, "ranges", [key(), *(scalar(name, dtype) for name, dtype in types.items()), vector(8)]) as collection:
        data = uniform(1, 8)
        with fails("the 0th element (300) out of range: [-128, 127]", code=1100):
            collection.insert([[1], [300], [0], [0], data])
        with fails("the 0th element (70000) out of range: [-32768, 32767]", code=1100):
            collection.insert([[1], [0], [70000], [0], data])
        with fails(kind=DataNotMatchException):
            collection.insert([[1], [0], [0], [2**40], data])
        for number, (small, middle, large) in enumerate(((-128, -32768, -(2**31)), (127, 32767, 2**31 - 1))):
            equal(collection.insert([[number], [small], [middle], [large], data]).insert_count, 1)
        found = ready(collection).query("id >= 0", output_fields=list(types), **STRONG)
        equal([tuple(row[name] for name in types) for row in found], [(-128, -32768, -(2**31)), (127, 32767, 2**31 - 1)])


@case
def case_1_038_every_type_comes_back_as_it_went(server: Server) -> None:
    values = {
        "i8": (DataType.INT8, -8), "i16": (DataType.INT16, -16), "i32": (DataType.INT32, -32), "i64": (DataType.INT64, 2**62),
        "float": (DataType.FLOAT, 1.5), "double": (DataType.DOUBLE, 2.5), "bool": (DataType.BOOL, True),
        "json": (DataType.JSON, {"author": "张三", "tags": ["AI", "ML"], "views": 1000, "n": {"k": 1, "f": 0.5, "none": None, "yes": True}}),
    }
    fields = [key(), *(scalar(name, dtype) for name, (dtype, _) in values.items()), text("text"), vector(8)]
    with created(server, "types", fields) as collection:
        row = {"id": 1, **{name: value for name, (_, value) in values.items()}, "text": "文本\n\"'\\"}
        data = uniform(1, 8)[0]
        collection.insert([{**row, "embedding": data}])
        found = dict(ready(collection).query("id == 1", output_fields=["*"], **STRONG)[0])
        equal(np.array(found.pop("embedding"), dtype=np.float32).tobytes(), data.tobytes())
        equal(found, row)
        types = {name: type(value) for name, value in row.items()}
        if CLIENT < (2, 5):
            types["float"] = np.float32
        equal({name: type(value) for name, value in found.items()}, types)


@case
def case_1_039_a_row_has_every_field_and_no_other(server: Server) -> None:
    with created(server, "whole_rows", [*doc3(), scalar("note", DataType.INT64, nullable=True)]) as collection:
        row = {"id": 1, "title": "文档1", "embedding": uniform(1)[0], "note": 1}
        with fails("missed an field `title`" if CLIENT >= (2, 5) else "Field title don't match in entities[0]"):
            collection.insert([{name: value for name, value in row.items() if name != "title"}])
        with fails("unexpected field `zzz`"):
            collection.insert([{**row, "zzz": 1}])
        with fails(kind=MilvusException):
            collection.insert([{**row, "title": None}])
        if CLIENT >= (2, 5):  # before, no field may be without a value
            collection.insert([{**row, "note": None}])
            equal(rows(ready(collection), "id >= 0", ["title", "note"]), [{"id": 1, "title": "文档1", "note": None}])


def dynamic_rows() -> list[dict[str, Any]]:
    data = uniform(4).tolist()
    return [
        {"id": 1, "embedding": data[0], "title": "标题1", "score": 100, "metadata": {"tag": "AI"}},
        {"id": 2, "embedding": data[1], "title": "标题2", "score": 200, "metadata": {"tag": "ML"}},
        {"id": 3, "embedding": data[2], "title": "标题3", "score": 300},
        {"id": 4, "embedding": data[3]},
    ]


@case
def case_1_040_keys_that_no_field_has_are_kept_with_the_row(server: Server) -> None:
    options = {"enable_dynamic_field": True, "description": "动态Schema示例"}
    with created(server, "dynamic_collection", plain(), options) as collection:
        given = dynamic_rows()
        collection.insert(given)
        ready(collection)
        wanted = [{name: value for name, value in row.items() if name != "embedding"} for row in given]
        equal(rows(collection, "id > 0", ["id", "title", "score", "metadata"]), wanted)
        for expr in ("score >= 200", '$meta["score"] >= 200'):
            equal(ids(collection, expr), [2, 3], expr)
        for fields in (["*"], ["id", "$meta"]):
            found = rows(collection, "id > 0", fields)
            equal([{name: value for name, value in row.items() if name != "embedding"} for row in found], wanted, str(fields))
        hits = collection.search([given[3]["embedding"]], "embedding", L2, limit=4, output_fields=["title"], **STRONG)[0]
        equal({hit.id: hit.entity.get("title") for hit in hits}, {1: "标题1", 2: "标题2", 3: "标题3", 4: None})
        columns = [[5], uniform(1), ["标题5"], [500], [{"tag": "DL"}]]
        with fails("expect 2 list, got 5", kind=DataNotMatchException):
            collection.insert(columns, fields=["id", "embedding", "title", "score", "metadata"])
        equal(count(collection), 4)


@case
def case_1_041_binary_vectors_have_a_bit_a_dimension(server: Server) -> None:
    fields = [key(), vector(512, "binary_vector", DataType.BINARY_VECTOR)]
    data = np.random.default_rng(7).integers(0, 256, (10, 64), dtype=np.uint8)
    packed = [row.tobytes() for row in data]
    with created(server, "binary_collection", fields) as collection:
        equal(collection.insert([list(range(10)), packed]).insert_count, 10)
        # bytes() of the guide's int64 array: eight bytes for each that was meant.
        # Clients before 2.5 send the wrong dimension too, and later servers name that instead.
        with fails("is not equal to passed num_rows" if CLIENT >= (2, 5) else "is not equal to schema dim (512)", code=1100):
            collection.insert([list(range(10)), [row.astype(np.int64).tobytes() for row in data]])
        ready(collection, {"index_type": "BIN_FLAT", "metric_type": "HAMMING", "params": {}})
        hits = collection.search([packed[3]], "binary_vector", {"metric_type": "HAMMING"}, limit=10, **STRONG)[0]
        equal((hits[0].id, hits[0].distance), (3, 0.0))
        bits = np.unpackbits(data, axis=1)
        truth = (bits != bits[3]).sum(1)
        equal({hit.id: hit.distance for hit in hits}, {number: float(distance) for number, distance in enumerate(truth)})
        equal(count(collection), 10)


@case
def case_1_042_a_key_may_come_twice_and_is_found_once(server: Server) -> None:
    with created(server, "custom_int_id", [key(), text("text"), vector()], {"description": "INT64主键"}) as collection:
        for turn in range(2):
            inserted = collection.insert([list(range(1000, 1100)), [f"文本{turn}"] * 100, uniform(100)])
            equal(inserted.insert_count, 100)
        ready(collection)
        equal(ids(collection, "id in [1000,1001]"), [1000, 1001])
        found = collection.search(uniform(1), "embedding", L2, limit=20, **STRONG)[0].ids
        equal((len(found), len(set(found))), (20, 20))


def insert_of(server: Server, name: str, mebibytes: float) -> int:
    """Inserts so much in one message of few, wide rows; how many more or less were counted afterwards."""
    dim = 16384
    number = int(mebibytes * MIB / (4 * dim + 16))
    with created(server, name, plain(dim)) as collection:
        inserted = collection.insert([np.arange(number), np.ones((number, dim), dtype=np.float32)], timeout=60)
        equal(inserted.insert_count, number)
        collection.flush()
        return collection.num_entities - number


@case
def case_1_043_a_message_of_more_than_64_mib_is_refused(server: Server) -> None:
    """The sizes of the guide's 100,000 and 130,000 rows, in fewer."""
    equal(insert_of(server, "messages", 53), 0)
    with fails("larger than max", kind=Exception):
        insert_of(server, "messages", 68)
    equal(insert_of(server, "messages", 1), 0)


@case
def case_1_043a_the_size_of_messages_can_be_set(server: Server) -> None:
    with server.another({"REDKITE__PROXY__GRPC__SERVERMAXRECVSIZE": "536870912"}) as own:
        equal(insert_of(own, "messages", 68), 0)


@case
def case_1_044_writers_that_run_side_by_side_lose_nothing(server: Server) -> None:
    each, data = 625, uniform(625)
    with created(server, "writers", doc3()) as collection:
        ready(collection)

        def write(first: int) -> int:
            numbers = range(first, first + each)
            return collection.insert([list(numbers), titles(numbers), data]).insert_count

        with ThreadPoolExecutor(8) as threads:
            equal(sum(threads.map(write, range(0, 8 * each, each))), 8 * each)
        equal(count(collection), 8 * each)
        equal(ids(collection, "id >= 0"), list(range(8 * each)))


@case
def case_1_044a_rows_of_a_queue_are_inserted_by_four_consumers(server: Server) -> None:
    batch = 500
    waiting: queue.Queue[dict[str, Any] | None] = queue.Queue(1000)
    data = uniform(ROWS, 16)
    with created(server, "consumers", plain(16)) as collection:
        ready(collection)

        def consume() -> int:
            taken: list[dict[str, Any]] = []
            written = 0
            while True:
                row = waiting.get()
                if row is not None:
                    taken.append(row)
                if taken and (row is None or len(taken) == batch):
                    written += collection.insert(taken).insert_count
                    taken = []
                if row is None:
                    return written

        with ThreadPoolExecutor(4) as threads:
            consumers = [threads.submit(consume) for _ in range(4)]
            for number in range(ROWS):
                waiting.put({"id": 30000 + number, "embedding": data[number]})
            for _ in consumers:
                waiting.put(None)
            equal(sum(each.result() for each in consumers), ROWS)
        equal(count(collection), ROWS)


@case
def case_1_045_what_was_acknowledged_outlives_the_process(server: Server) -> None:
    """A standalone that is killed stands for the guide's pods of a proxy and of a data node."""
    size, batches = 50, 100
    data = uniform(size)
    with server.another() as own:
        own.connect()
        collection = ready(Collection("killed", CollectionSchema(plain())))
        acknowledged: set[int] = set()
        for batch in range(batches):
            if batch in (30, 60):
                own.kill()
                own.start()
            numbers = list(range(batch * size, (batch + 1) * size))
            collection.insert([numbers, data])
            acknowledged.update(numbers)
        own.kill()
        own.start()
        until("the collection is read again", 60, lambda: ids(collection, "id >= 0") is not None)
        equal(acknowledged - set(ids(collection, "id >= 0")), set())
        equal(len(acknowledged), size * batches)
