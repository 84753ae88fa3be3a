"""Rows that live for two seconds, or as long as a field of theirs says: gone from every answer then, and after a compaction
gone for good. What was made to live for ever in time stays.

    lives.py URI
"""

from __future__ import annotations

import sys
import time
from typing import Any

from pymilvus import DataType, MilvusClient

from suite import equal, until

NAME, DIM, ROWS = "lives", 4, 100
TTL = "collection.ttl.seconds"


def make(client: MilvusClient, properties: dict[str, str]) -> None:
    client.drop_collection(NAME)
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM)
    schema.add_field("ends", DataType.TIMESTAMPTZ, nullable=True)
    index = client.prepare_index_params()
    index.add_index("vector", index_type="AUTOINDEX", metric_type="L2")
    client.create_collection(NAME, schema=schema, index_params=index, num_shards=2, properties=properties)


def row(key: int, ends: str | None = None) -> dict[str, Any]:
    return {"id": key, "vector": [float(key % 7), 1.0, float(key), 0.5], "ends": ends}


def count(client: MilvusClient) -> int:
    found = client.query(NAME, filter="", output_fields=["count(*)"], consistency_level="Strong")
    return found[0]["count(*)"]


def hits(client: MilvusClient) -> int:
    return len(client.search(NAME, data=[[0.0] * DIM], limit=ROWS, consistency_level="Strong")[0])


def is_compacted(client: MilvusClient) -> bool:
    """Whether nothing is stored after one more compaction."""
    job = client.compact(NAME)
    until("a compaction", lambda: client.get_compaction_state(job) == "Completed")
    return client.get_collection_stats(NAME)["row_count"] == 0


def by_age(client: MilvusClient) -> None:
    make(client, {TTL: "2"})
    began = time.time()
    client.insert(NAME, [row(key) for key in range(ROWS)])
    found = count(client)
    if time.time() - began < 1.0:
        equal(found, ROWS, "rows that are younger than they may become")
    until("the end of all rows", lambda: count(client) == 0)
    equal(hits(client), 0, "hits once no row is left")
    equal(client.get(NAME, ids=[1, 2]), [], "rows by key once no row is left")
    client.flush(NAME)
    until("an empty collection", lambda: is_compacted(client))


def for_ever(client: MilvusClient) -> None:
    make(client, {TTL: "3600"})
    client.insert(NAME, [row(key) for key in range(ROWS)])
    for key, value in (("0", ROWS), ("1", 0), ("-1", ROWS)):
        client.alter_collection_properties(NAME, properties={TTL: key})
        if value == 0:
            until("rows that are older than a second", lambda: count(client) == 0)
        equal(count(client), value, f"rows once they may live for {key} s")
        equal(hits(client), value, f"hits once they may live for {key} s")
    client.alter_collection_properties(NAME, properties={TTL: "1"})
    until("rows that are older than a second", lambda: count(client) == 0)
    client.drop_collection_properties(NAME, property_keys=[TTL])
    equal(count(client), ROWS, "rows once the property is gone")
    client.flush(NAME)
    client.compact(NAME)
    equal(count(client), ROWS, "rows after a compaction without the property")


def by_field(client: MilvusClient) -> None:
    make(client, {"ttl_field": "ends"})
    ends = [None, "2000-01-01T00:00:00Z", "2990-01-01T00:00:00Z"]
    client.insert(NAME, [row(key, ends[key % 3]) for key in range(90)])
    equal(count(client), 60, "rows that have not come to their ends")
    equal(hits(client), 60, "hits that have not come to their ends")
    client.flush(NAME)
    job = client.compact(NAME)
    until("a compaction", lambda: client.get_compaction_state(job) == "Completed")
    equal(client.get_collection_stats(NAME)["row_count"], 60, "rows that are stored after a compaction")
    client.upsert(NAME, [row(key, ends[2]) for key in range(90)])
    equal(count(client), 90, "rows with new ends")


def main() -> None:
    client = MilvusClient(uri=sys.argv[1])
    for check in (by_age, for_ever, by_field):
        check(client)
    client.drop_collection(NAME)
    print(f"{NAME}: all as it should be")


if __name__ == "__main__":
    main()
