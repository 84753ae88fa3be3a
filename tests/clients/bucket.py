"""A standalone engine whose sealed data is in a bucket: `write` leaves sealed and unsealed rows, `read` finds them all.

    bucket.py URI write|read|again
"""

import sys

import numpy
from pymilvus import MilvusClient

DIM = 32
SEALED = 3_000
LATER = 200


def vectors() -> numpy.ndarray:
    return numpy.random.default_rng(7).standard_normal((SEALED + LATER, DIM), dtype=numpy.float32)


def rows(first: int, last: int) -> list[dict]:
    base = vectors()
    return [{"id": key, "vector": base[key], "word": f"w{key % 13}"} for key in range(first, last)]


def write(client: MilvusClient) -> None:
    client.create_collection("bucket", dimension=DIM, metric_type="L2")
    client.insert("bucket", rows(0, SEALED))
    client.flush("bucket")
    client.insert("bucket", rows(SEALED, SEALED + LATER))
    client.delete("bucket", ids=[0, 1, SEALED])


def read(client: MilvusClient) -> None:
    gone = {0, 1, SEALED}
    found = client.query("bucket", filter="id >= 0", output_fields=["word", "vector"], limit=16_000)
    base = vectors()
    assert {row["id"] for row in found} == set(range(SEALED + LATER)) - gone, "every key is there and no other"
    for row in found:
        assert row["word"] == f"w{row['id'] % 13}", row["id"]
        assert numpy.array_equal(numpy.asarray(row["vector"], numpy.float32), base[row["id"]]), row["id"]
    for key in (2, SEALED + 1):
        hits = client.search("bucket", [base[key]], limit=1)[0]
        assert hits[0]["id"] == key, (key, hits)


def again(client: MilvusClient) -> None:
    """Seals rows once more: that needs the store, which memory does not."""
    name = f"again_{len(client.list_collections())}"
    client.create_collection(name, dimension=DIM, metric_type="L2", consistency_level="Strong")
    client.insert(name, rows(0, 100))
    client.flush(name)
    assert len(client.query(name, filter="id >= 0", output_fields=["id"])) == 100


if __name__ == "__main__":
    {"write": write, "read": read, "again": again}[sys.argv[2]](MilvusClient(sys.argv[1]))
