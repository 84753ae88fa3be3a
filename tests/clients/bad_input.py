"""What a server must refuse, with the code and the text of the refusal. Requests go out as raw messages, so that no client
library mends or refuses them first; every refusal must come in the body's status of a successful call.

    bad_input.py URI [WORD …]     only the cases whose name contains one of the words
"""

from __future__ import annotations

import json
import logging
import struct
import sys
import time
from typing import Any, Callable

import grpc
from pymilvus import MilvusClient
from pymilvus.grpc_gen import common_pb2, milvus_pb2, milvus_pb2_grpc, schema_pb2

DIM = 4
TAG = f"bad_{int(time.time() * 1000) % 10**9}"
NAME = f"good_{TAG}"
FULL = f"full_{TAG}"  # holds enough flushed rows that a search walks the index
FULL_ROWS = 3_000
Call = Callable[[milvus_pb2_grpc.MilvusServiceStub], Any]
# In 3.0 an invalid parameter is 1100; earlier servers answered most of these with 65535, which clients take as well.
INVALID = (1100, 65535)


def pairs(**values: Any) -> list[common_pb2.KeyValuePair]:
    return [common_pb2.KeyValuePair(key=key, value=str(value)) for key, value in values.items()]


def field(name: str, kind: int, **more: Any) -> schema_pb2.FieldSchema:
    params = more.pop("params", {})
    return schema_pb2.FieldSchema(name=name, data_type=kind, type_params=pairs(**params), **more)


T = schema_pb2.DataType
KEY = field("id", T.Int64, is_primary_key=True)
VECTOR = field("vec", T.FloatVector, params={"dim": DIM})


def create(name: str, *fields: schema_pb2.FieldSchema, **more: Any) -> Call:
    schema = schema_pb2.CollectionSchema(name=name, fields=fields)
    request = milvus_pb2.CreateCollectionRequest(collection_name=name, schema=schema.SerializeToString(), **more)
    return lambda stub: stub.CreateCollection(request)


def column(name: str, kind: int, **data: list) -> schema_pb2.FieldData:
    (form, values), *_ = data.items()
    scalars = schema_pb2.ScalarField()
    getattr(scalars, form).data.extend(values)
    return schema_pb2.FieldData(field_name=name, type=kind, scalars=scalars)


def vectors(values: list[float], dim: int = DIM, name: str = "vec") -> schema_pb2.FieldData:
    data = schema_pb2.VectorField(dim=dim, float_vector=schema_pb2.FloatArray(data=values))
    return schema_pb2.FieldData(field_name=name, type=T.FloatVector, vectors=data)


def good_columns(rows: int = 1) -> dict[str, schema_pb2.FieldData]:
    return {
        "id": column("id", T.Int64, long_data=list(range(rows))),
        "title": column("title", T.VarChar, string_data=["t"] * rows),
        "small": column("small", T.Int8, int_data=[1] * rows),
        "price": column("price", T.Double, double_data=[1.0] * rows),
        "info": column("info", T.JSON, json_data=[b"{}"] * rows),
        "vec": vectors([0.5] * DIM * rows),
    }


def insert(rows: int = 1, collection: str = NAME, partition: str = "", extra: schema_pb2.FieldData | None = None, **replaced: Any) -> Call:
    columns = {**good_columns(max(rows, 1)), **replaced}
    data = [value for value in columns.values() if value is not None] + ([extra] if extra else [])
    request = milvus_pb2.InsertRequest(collection_name=collection, partition_name=partition, fields_data=data, num_rows=rows)
    return lambda stub: stub.Insert(request)


def placeholder(values: list[bytes], kind: int = common_pb2.PlaceholderType.FloatVector) -> bytes:
    value = common_pb2.PlaceholderValue(tag="$0", type=kind, values=values)
    return common_pb2.PlaceholderGroup(placeholders=[value]).SerializeToString()


def search(expression: str = "", collection: str = NAME, dim: int = DIM, nq: int = 1, group: bytes | None = None, fields: tuple = (), partitions: tuple = (), **params: Any) -> Call:
    settings = {"anns_field": "vec", "topk": 5, "params": "{}", "metric_type": "L2", "round_decimal": -1, **params}
    request = milvus_pb2.SearchRequest(
        collection_name=collection,
        dsl=expression,
        dsl_type=common_pb2.DslType.BoolExprV1,
        placeholder_group=group if group is not None else placeholder([struct.pack(f"<{dim}f", *([0.5] * dim))] * nq),
        search_params=pairs(**{key: value for key, value in settings.items() if value is not None}),
        nq=nq,
        output_fields=fields,
        partition_names=partitions,
    )
    return lambda stub: stub.Search(request)


def query(expression: str, collection: str = NAME, fields: tuple = ("id",), partitions: tuple = (), **params: Any) -> Call:
    request = milvus_pb2.QueryRequest(
        collection_name=collection, expr=expression, output_fields=fields, partition_names=partitions, query_params=pairs(**params)
    )
    return lambda stub: stub.Query(request)


def delete(expression: str, collection: str = NAME, partition: str = "") -> Call:
    request = milvus_pb2.DeleteRequest(collection_name=collection, partition_name=partition, expr=expression)
    return lambda stub: stub.Delete(request)


def index(field_name: str = "vec", collection: str = f"bare_{TAG}", name: str = "", **params: Any) -> Call:
    request = milvus_pb2.CreateIndexRequest(collection_name=collection, field_name=field_name, index_name=name, extra_params=pairs(**params))
    return lambda stub: stub.CreateIndex(request)


def upsert(**replaced: Any) -> Call:
    data = [value for value in {**good_columns(), **replaced}.values() if value is not None]
    return lambda stub: stub.Upsert(milvus_pb2.UpsertRequest(collection_name=NAME, fields_data=data, num_rows=1))


def named(method: str, request: str, /, **fields: Any) -> Call:
    message = getattr(milvus_pb2, request)(**fields)
    return lambda stub: getattr(stub, method)(message)


MISSING = f"missing_{TAG}"
NOT_FOUND = f"collection not found[database=default][collection={MISSING}]"
NAN = float("nan")

# (what is wrong, the call, codes, text that the reason contains)
CASES: list[tuple[str, Call, int | tuple[int, ...], str]] = [
    # -- collections
    ("an empty collection name", create("", KEY, VECTOR), INVALID, "collection name should not be empty"),
    ("a name with a leading digit", create("1abc", KEY, VECTOR), INVALID, "Invalid collection name: 1abc. the first character of a collection name must be an underscore or letter"),
    ("a name with a blank", create("a b", KEY, VECTOR), INVALID, "collection name can only contain numbers, letters and underscores"),
    ("a name of 256 letters", create("a" * 256, KEY, VECTOR), INVALID, "the length of a collection name must be less than 255 characters"),
    ("no primary key", create(f"x_{TAG}", field("id", T.Int64), VECTOR), INVALID, "primary key is not specified"),
    ("two primary keys", create(f"x_{TAG}", KEY, field("b", T.Int64, is_primary_key=True), VECTOR), INVALID, "there are more than one primary key"),
    ("a float primary key", create(f"x_{TAG}", field("id", T.Float, is_primary_key=True), VECTOR), INVALID, "the data type of primary key should be Int64 or VarChar"),
    ("automatic ids elsewhere", create(f"x_{TAG}", KEY, field("n", T.Int64, autoID=True), VECTOR), INVALID, "only primary field can speficy AutoID with true, field name = n"),
    ("a vector without dim", create(f"x_{TAG}", KEY, field("vec", T.FloatVector)), INVALID, "dimension is not defined in field type params of field vec"),
    ("dim 1", create(f"x_{TAG}", KEY, field("vec", T.FloatVector, params={"dim": 1})), INVALID, "invalid dimension: 1. should be in range 2 ~ 32768"),
    ("dim 32769", create(f"x_{TAG}", KEY, field("vec", T.FloatVector, params={"dim": 32769})), INVALID, "should be in range 2 ~ 32768"),
    ("a string without max_length", create(f"x_{TAG}", KEY, VECTOR, field("s", T.VarChar)), INVALID, "type param(max_length) should be specified for the field(s)"),
    ("max_length 65536", create(f"x_{TAG}", KEY, VECTOR, field("s", T.VarChar, params={"max_length": 65536})), INVALID, "the maximum length specified for the field(s) should be in (0, 65535], but got 65536 instead: invalid parameter"),
    ("a field name with a blank", create(f"x_{TAG}", KEY, VECTOR, field("a b", T.Int64)), 1701, "Invalid field name: a b."),
    ("17 shards", create(f"x_{TAG}", KEY, VECTOR, shards_num=17), INVALID, "maximum shards's number should be limited to 16"),
    ("65 fields", create(f"x_{TAG}", KEY, VECTOR, *(field(f"f{i}", T.Int64) for i in range(63))), INVALID, "maximum field's number should be limited to 64"),
    ("the same field twice", create(f"x_{TAG}", KEY, VECTOR, VECTOR), INVALID, "duplicated field name"),
    ("a schema that is no schema", lambda stub: stub.CreateCollection(milvus_pb2.CreateCollectionRequest(collection_name=f"x_{TAG}", schema=b"\xff\xff\xff")), INVALID + (1,), ""),
    ("the same name, another schema", create(NAME, KEY, VECTOR), INVALID, f"create duplicate collection with different parameters, collection: {NAME}"),
    ("describe a missing collection", named("DescribeCollection", "DescribeCollectionRequest", collection_name=MISSING), 100, f"can't find collection[database=default][collection={MISSING}]"),
    ("load a missing collection", named("LoadCollection", "LoadCollectionRequest", collection_name=MISSING), 100, NOT_FOUND),
    ("release a missing collection", named("ReleaseCollection", "ReleaseCollectionRequest", collection_name=MISSING), 100, NOT_FOUND),
    ("statistics of a missing collection", named("GetCollectionStatistics", "GetCollectionStatisticsRequest", collection_name=MISSING), 100, NOT_FOUND),
    ("load without an index", named("LoadCollection", "LoadCollectionRequest", collection_name=f"bare_{TAG}"), (700,), "index not found[collection=bare_"),
    ("progress of what is not loaded", named("GetLoadingProgress", "GetLoadingProgressRequest", collection_name=f"bare_{TAG}"), 101, "collection not loaded"),
    ("search by an impossible name", search(collection="12-s", group=None), 100, "collection not found[database=default][collection=12-s]"),
    ("index by an impossible name", index(collection="12-s"), 100, "collection not found[database=default][collection=12-s]"),
    ("load by an impossible name", named("LoadCollection", "LoadCollectionRequest", collection_name="12-s"), INVALID, "Invalid collection name: 12-s."),
    ("alter without properties", named("AlterCollection", "AlterCollectionRequest", collection_name=NAME), INVALID, "no properties or delete keys provided"),
    # -- databases
    ("a database that is not there", named("ShowCollections", "ShowCollectionsRequest", db_name="nodb"), 800, "database not found[database=nodb]"),
    ("drop the default database", named("DropDatabase", "DropDatabaseRequest", db_name="default"), INVALID, "can not drop default database"),
    ("a database name with a digit first", named("CreateDatabase", "CreateDatabaseRequest", db_name="1db"), 802, "the first character of a database name must be an underscore or letter"),
    ("drop a missing database", named("DropDatabase", "DropDatabaseRequest", db_name=f"db_{TAG}"), 800, "database not found"),
    # -- partitions and aliases
    ("a partition of a missing collection", named("CreatePartition", "CreatePartitionRequest", collection_name=MISSING, partition_name="p"), 100, NOT_FOUND),
    ("drop the default partition", named("DropPartition", "DropPartitionRequest", collection_name=NAME, partition_name="_default"), INVALID, "default partition cannot be deleted"),
    ("load an unknown partition", named("LoadPartitions", "LoadPartitionsRequest", collection_name=NAME, partition_names=["p9"]), 200, "partition not found[partition=p9]"),
    ("load no partition", named("LoadPartitions", "LoadPartitionsRequest", collection_name=NAME), INVALID, "due to no partition specified: invalid parameter[expected=any partition][actual=empty partition list]"),
    ("an alias of a missing collection", named("CreateAlias", "CreateAliasRequest", collection_name=MISSING, alias="a1"), 100, "collection not found"),
    ("an alias named as a collection", named("CreateAlias", "CreateAliasRequest", collection_name=NAME, alias=f"bare_{TAG}"), 1601, "alias and collection name conflict"),
    ("drop a missing alias", named("DropAlias", "DropAliasRequest", alias="nope"), 1600, "alias not found[database=default][alias=nope]"),
    # -- indexes
    ("describe an index that is not there", named("DescribeIndex", "DescribeIndexRequest", collection_name=f"bare_{TAG}"), 700, "index not found"),
    ("an unknown index type", index(index_type="HSNW", metric_type="L2"), INVALID, "invalid parameter[expected=valid index][actual=invalid index type: HSNW]"),
    ("no metric", index(index_type="HNSW", params=json.dumps({"M": 8, "efConstruction": 64})), INVALID, "metric type not set for vector index"),
    ("a metric of other vectors", index(index_type="HNSW", metric_type="HAMMING", params=json.dumps({"M": 8, "efConstruction": 64})), INVALID, "float vector index does not support metric type: HAMMING"),
    ("M of -1", index(index_type="HNSW", metric_type="L2", params=json.dumps({"M": -1, "efConstruction": 64})), INVALID, "param 'M' (-1) should be in range [2, 2048]"),
    ("M that is a word", index(index_type="HNSW", metric_type="L2", params=json.dumps({"M": "many", "efConstruction": 64})), INVALID, "invalid integer value, key: 'M', value: 'many'"),
    ("efConstruction of 0", index(index_type="HNSW", metric_type="L2", params=json.dumps({"M": 8, "efConstruction": 0})), INVALID, "param 'efConstruction' (0) should be in range [1, 2147483647]"),
    ("nlist of 65537", index(index_type="IVF_FLAT", metric_type="L2", params=json.dumps({"nlist": 65537})), INVALID, "param 'nlist' (65537) should be in range [1, 65536]"),
    ("an index on no field", index("none", index_type="FLAT", metric_type="L2"), INVALID, "cannot create index on non-exist field: none"),
    ("an index of a missing collection", index(collection=MISSING, index_type="FLAT", metric_type="L2"), 100, NOT_FOUND),
    ("another index on the same field", index(collection=NAME, name="second", index_type="FLAT", metric_type="L2"), INVALID, "creating multiple indexes on same field is not supported"),
    ("AUTOINDEX with parameters", index(index_type="AUTOINDEX", metric_type="L2", M="8"), INVALID, "only metric type can be passed when use AutoIndex"),
    ("drop the index of a loaded collection", named("DropIndex", "DropIndexRequest", collection_name=NAME, field_name="vec", index_name="vec"), INVALID, "vector index cannot be dropped on loaded collection"),
    # -- inserts
    ("rows for a missing collection", insert(collection=MISSING), 100, NOT_FOUND),
    ("rows for a missing partition", insert(partition="p9"), 200, "partition not found[partition=p9]"),
    ("no rows", insert(rows=0), INVALID, "num_rows should be greater than 0"),
    ("a missing column", insert(title=None), INVALID, "fieldSchema(title) has no corresponding fieldData pass in"),
    ("a column too many", insert(extra=column("other", T.Int64, long_data=[1])), INVALID, "more fieldData has pass in"),
    ("columns of unequal length", insert(rows=2, title=column("title", T.VarChar, string_data=["a"])), INVALID, "the num_rows (1) of field (title) is not equal to passed num_rows (2)"),
    ("vectors of another dim", insert(vec=vectors([0.5] * 6, dim=6)), INVALID, ""),
    ("half a vector", insert(vec=vectors([0.5] * 3)), INVALID, "of float data should divide the dim(4)"),
    ("a NaN in a vector", insert(vec=vectors([NAN, 0, 0, 0])), INVALID, "is not a number or infinity"),
    ("an infinity in a vector", insert(vec=vectors([float("inf"), 0, 0, 0])), INVALID, "is not a number or infinity"),
    ("a NaN in a double", insert(price=column("price", T.Double, double_data=[NAN])), INVALID, "is not a number or infinity"),
    ("an over-long string", insert(title=column("title", T.VarChar, string_data=["é" * 11])), INVALID, "length of varchar field title exceeds max length, row number: 0, length: 22, max length: 20"),
    ("an INT8 of 128", insert(small=column("small", T.Int8, int_data=[128])), INVALID, "the 0th element (128) out of range: [-128, 127]"),
    ("a JSON value that is none", insert(info=column("info", T.JSON, json_data=[b"{broken"])), INVALID, ""),
    ("a JSON value of 65,537 bytes", insert(info=column("info", T.JSON, json_data=[b'"' + b"x" * 65535 + b'"'])), INVALID, "exceeds max length"),
    ("a column of another type", insert(title=column("title", T.Int64, long_data=[1])), INVALID, ""),
    ("an upsert without its key", upsert(id=None), INVALID, "must assign pk when upsert, primary field: id"),
    # -- deletes
    ("delete everything", delete(""), INVALID, "delete plan can't be empty or always true"),
    ("delete by what cannot be read", delete("id in"), INVALID + (2201,), "failed to create delete plan: cannot parse expression: id in"),
    ("delete in a missing collection", delete("id in [1]", collection=MISSING), 100, NOT_FOUND),
    ("delete in a missing partition", delete("id in [1]", partition="p9"), 200, "partition not found[partition=p9]"),
    # -- searches
    ("search a missing collection", search(collection=MISSING), 100, NOT_FOUND),
    ("search what is not loaded", search(collection=f"bare_{TAG}"), 101, "collection not loaded"),
    ("a query vector of another dim", search(dim=5), INVALID, "vector dimension mismatch, expected vector size(byte) 16, actual 20"),
    ("topk 0", search(topk=0), INVALID, "topk [0] is invalid, it should be in range [1, 16384], but got 0"),
    ("topk 16385", search(topk=16385), INVALID, "topk [16385] is invalid, it should be in range [1, 16384], but got 16385"),
    ("nq 0", search(nq=0), INVALID, "nq [0] is invalid, nq (number of search vector per search request) should be in range [1, 16384], but got 0"),
    ("a negative offset", search(offset=-1), INVALID, "offset [-1] is invalid, it should be in range [1, 16384], but got -1"),
    ("a metric that is not the index's", search(metric_type="IP"), INVALID, "metric type not match: invalid parameter[expected=L2][actual=IP]"),
    ("ef of -1", search(collection=FULL, params='{"ef": -1}'), INVALID + (2000,), "param 'ef' (-1) should be in range [1, 2147483647]"),
    ("ef below topk", search(collection=FULL, params='{"ef": 2}'), INVALID + (2000,), "ef(2) should be larger than k(5)"),
    ("ef that is no integer", search(collection=FULL, params='{"ef": 32.5}'), INVALID + (2000,), "should be integer"),
    ("search parameters that are no JSON", search(params="{ef"), INVALID, ""),
    ("a field that is not there", search(anns_field="none"), INVALID + (1700,), "none"),
    ("an output field that is not there", search(fields=("none",)), INVALID + (1700,), "field none not exist"),
    ("a placeholder that is none", search(group=b"\xff\xff"), INVALID, ""),
    ("a partition that is not there", search(partitions=("p9",)), INVALID + (200,), "p9 not found"),
    ("radius beyond range_filter", search(params='{"radius": 1, "range_filter": 4}'), INVALID + (2000,), "must be less than radius"),
    # -- expressions
    ("an expression cut off", search("id > "), INVALID + (2201,), "failed to create query plan: cannot parse expression: id >"),
    ("an unknown field", search("none > 1"), INVALID + (2201,), "cannot parse expression: none > 1"),
    ("a string compared with a number", search("title > 1"), INVALID + (2201,), "cannot parse expression: title > 1"),
    ("an integer compared with a fraction", search("id == 1.5"), INVALID + (2201,), "cannot cast value to Int64, value: float_val:1.5"),
    ("no predicate", search("id + 1"), INVALID + (2201,), "predicate is not a boolean expression"),
    ("modulo of a double", search("price % 2 == 1"), INVALID + (2201,), "modulo can only apply on integer types"),
    ("division by zero", search("id / 0 == 1"), INVALID + (2201,), "division or modulus by zero"),
    ("like on a number", search('id like "1%"'), INVALID + (2201,), "like operation on non-string or no-json field is unsupported"),
    # -- queries
    ("query without filter and limit", query(""), INVALID, "empty expression should be used with limit"),
    ("query limit 0", query("id > 0", limit=0), INVALID, "invalid max query result window, limit [0] is invalid, should be greater than 0"),
    ("query limit 16385", query("id > 0", limit=16385), INVALID, "invalid max query result window, (offset+limit) should be in range [1, 16384], but got 16385"),
    ("query offset -1", query("id > 0", limit=1, offset=-1), INVALID, "offset [-1] is invalid, should be gte than 0"),
    ("count with limit", query("", fields=("count(*)",), limit=3), INVALID, "count entities with pagination is not allowed"),
    ("query an unknown output field", query("id > 0", fields=("none",)), INVALID + (1700,), "field none not exist"),
    ("query a missing collection", query("id > 0", collection=MISSING), 100, NOT_FOUND),
    ("query what is not loaded", query("id > 0", collection=f"bare_{TAG}"), 101, "collection not loaded"),
    ("query a missing partition", query("id > 0", partitions=("p9",)), INVALID + (200,), "partition name p9 not found"),
    # -- metrics
    ("metrics by no request", named("GetMetrics", "GetMetricsRequest"), INVALID, "failed to parse the request of metrics"),
    ("metrics of a list", named("GetMetrics", "GetMetricsRequest", request="[1]"), INVALID, "failed to parse the request of metrics"),
    ("metrics without a type", named("GetMetrics", "GetMetricsRequest", request="{}"), INVALID, "metric_type not found in request"),
    ("metrics that are not there", named("GetMetrics", "GetMetricsRequest", request='{"metric_type": "weather"}'), 1200, "metric not found[metric=weather]"),
    # -- flush
    ("flush a missing collection", named("Flush", "FlushRequest", collection_names=[MISSING]), 100, NOT_FOUND),
]

# Servers differ on whether these are right or wrong; whatever the answer, it comes at once, in a status, and nothing breaks.
EITHER_WAY: list[tuple[str, Call]] = [
    ("a hundred thousand brackets", search("(" * 100_000 + "id > 1" + ")" * 100_000)),
    ("a hundred thousand times not", search("not " * 100_000 + "(id > 1)")),
    ("a filter of a million numbers", search(f"id in {list(range(1_000_000))}")),
    ("a NaN in a query vector", search(group=placeholder([struct.pack("<4f", NAN, 0, 0, 0)]))),
    ("sixteen thousand query vectors", search(nq=16_384)),
]


def status_of(answer: Any) -> common_pb2.Status:
    return answer if isinstance(answer, common_pb2.Status) else answer.status


def judge(call: Call, codes: int | tuple[int, ...], text: str, stub: milvus_pb2_grpc.MilvusServiceStub) -> str | None:
    """None when the refusal is the right one, else what is wrong with it."""
    wanted = (codes,) if isinstance(codes, int) else codes
    try:
        status = status_of(call(stub))
    except grpc.RpcError as error:
        return f"gRPC {error.code()} {error.details()!r} instead of a status"
    if status.code == 0 and status.error_code == 0:
        return "accepted"
    if status.code not in wanted or status.error_code == 0:
        return f"code {status.code} (legacy {status.error_code}), wanted {codes}: {status.reason[:300]!r}"
    if text not in status.reason:
        return f"text {status.reason[:300]!r}, wanted {text!r}"
    return None


def survives(call: Call, stub: milvus_pb2_grpc.MilvusServiceStub) -> str | None:
    """None when the server answered in time and by a status."""
    begin = time.monotonic()
    try:
        call(stub)
    except grpc.RpcError as error:
        return f"gRPC {error.code()} {(error.details() or '')[:200]!r} instead of a status"
    seconds = time.monotonic() - begin
    return None if seconds < 20 else f"took {seconds:.0f} s"


def make_collections(client: MilvusClient, stub: milvus_pb2_grpc.MilvusServiceStub) -> None:
    """One that is loaded and holds a row, one that is bare, and one whose index is built."""
    fields = [
        KEY,
        field("title", T.VarChar, params={"max_length": 20}),
        field("small", T.Int8),
        field("price", T.Double),
        field("info", T.JSON),
        VECTOR,
    ]
    for call in (
        create(NAME, *fields),
        create(f"bare_{TAG}", KEY, VECTOR),
        index(collection=NAME, index_type="HNSW", metric_type="L2", params=json.dumps({"M": 8, "efConstruction": 64})),
        insert(),
    ):
        status = status_of(call(stub))
        if status.code or status.error_code:
            raise SystemExit(f"cannot prepare: {status.reason}")
    client.load_collection(NAME)
    client.create_collection(FULL, schema=client.create_schema(auto_id=False).add_field("id", T.Int64, is_primary=True).add_field("vec", T.FloatVector, dim=DIM))
    client.insert(FULL, [{"id": i, "vec": [i % 7, i % 11, i % 13, i / FULL_ROWS]} for i in range(FULL_ROWS)])
    client.flush(FULL)
    built = client.prepare_index_params()
    built.add_index("vec", index_type="HNSW", metric_type="L2", params={"M": 8, "efConstruction": 64})
    client.create_index(FULL, built)
    client.load_collection(FULL)


def unharmed(client: MilvusClient) -> str | None:
    """Nothing refused may have been half applied."""
    rows = client.query(NAME, filter="id >= 0", output_fields=["id", "title"], limit=10, consistency_level="Strong")
    found = [(row["id"], row["title"]) for row in rows]
    if found != [(0, "t")]:
        return f"the collection holds {found}"
    if client.has_collection(f"x_{TAG}"):
        return "a refused collection exists"
    return None


def unimplemented(stub: milvus_pb2_grpc.MilvusServiceStub) -> str | None:
    """A call that is not built answers UNIMPLEMENTED, at once."""
    try:
        answer = stub.ListFileResources(milvus_pb2.ListFileResourcesRequest(), timeout=5)
    except grpc.RpcError as error:
        return None if error.code() == grpc.StatusCode.UNIMPLEMENTED else f"gRPC {error.code()}"
    return f"answered {answer}"


def oversize(stub: milvus_pb2_grpc.MilvusServiceStub) -> str | None:
    """A message beyond 64 MiB is refused by gRPC itself, with words that clients look for."""
    message = milvus_pb2.DeleteRequest(collection_name=NAME, expr="x" * (65 << 20))
    try:
        answer = stub.Delete(message, timeout=30)
    except grpc.RpcError as error:
        right = error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED and "message larger than max" in (error.details() or "")
        return None if right else f"gRPC {error.code()} {error.details()!r}"
    return f"answered {str(answer)[:200]}"


def main() -> int:
    uri, words = sys.argv[1], sys.argv[2:]
    logging.disable(logging.CRITICAL)
    client = MilvusClient(uri, timeout=30)
    address = uri.split("://")[-1]
    channel = grpc.insecure_channel(address, options=[("grpc.max_send_message_length", -1)])
    stub = milvus_pb2_grpc.MilvusServiceStub(channel)
    make_collections(client, stub)
    checks: list[tuple[str, Callable[[], str | None]]] = [
        (title, lambda call=call, codes=codes, text=text: judge(call, codes, text, stub)) for title, call, codes, text in CASES
    ]
    checks += [(title, lambda call=call: survives(call, stub)) for title, call in EITHER_WAY]
    checks += [
        ("a call that is not built", lambda: unimplemented(stub)),
        ("a message of 65 MiB", lambda: oversize(stub)),
        ("nothing was half applied", lambda: unharmed(client)),
    ]
    ran = failed = 0
    for title, check in checks:
        if words and not any(word in title for word in words):
            continue
        ran += 1
        if wrong := check():
            failed += 1
            print(f"  FAIL  {title}: {wrong}", flush=True)
    client.drop_collection(NAME)
    client.drop_collection(f"bare_{TAG}")
    client.drop_collection(FULL)
    print(f"bad input: {ran - failed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
