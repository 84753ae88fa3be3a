"""Binary and sparse vectors, sealed and not, before and after the engine was killed.

    restart_types.py URI write      makes a collection and looks at it
    restart_types.py URI read       looks at it in another life of the engine
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from pymilvus import DataType, MilvusClient

from field_types import BITS, ROWS, bit_scores, bits_of, pair_scores, pairs_of, plain_bits
from suite import equal

NAME = "restarted"
# The first half is sealed and indexed, the rest is in the log alone; some of both were replaced or deleted since.
REPLACED, DELETED = range(0, ROWS, 50), range(7, ROWS, 60)


def held() -> dict[int, tuple[bytes, dict[int, float]]]:
    rows = {key: (bits_of(key), pairs_of(key)) for key in range(ROWS)}
    rows |= {key: (bits_of(key + 1), pairs_of(key + 1)) for key in REPLACED}
    return {key: row for key, row in rows.items() if key not in DELETED}


def write(client: MilvusClient) -> None:
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("bits", DataType.BINARY_VECTOR, dim=BITS)
    schema.add_field("pairs", DataType.SPARSE_FLOAT_VECTOR)
    index = client.prepare_index_params()
    index.add_index("bits", index_type="BIN_IVF_FLAT", metric_type="HAMMING", params={"nlist": 8})
    index.add_index("pairs", index_type="SPARSE_WAND", metric_type="IP")
    client.create_collection(NAME, schema=schema, index_params=index)
    row = lambda key, shift=0: {"id": key, "bits": bits_of(key + shift), "pairs": pairs_of(key + shift)}
    client.insert(NAME, [row(key) for key in range(ROWS // 2)])
    client.flush(NAME)
    client.insert(NAME, [row(key) for key in range(ROWS // 2, ROWS)])
    client.upsert(NAME, [row(key, 1) for key in REPLACED])
    client.delete(NAME, ids=list(DELETED))


def looked(client: MilvusClient, when: str) -> None:
    rows = held()
    found = client.query(NAME, "id >= 0", output_fields=["*"], consistency_level="Strong", limit=16384)
    equal({row["id"]: (plain_bits(row["bits"]), dict(row["pairs"])) for row in found}, rows, f"rows {when}")
    keys = list(rows)
    for field, place, query, score in (("bits", 0, bits_of(9), bit_scores), ("pairs", 1, pairs_of(9), pair_scores)):
        wanted: Any = np.sort(score("HAMMING", [rows[key][place] for key in keys], query).astype(float))
        wanted = wanted[:10] if field == "bits" else wanted[::-1][:10]
        hits = client.search(NAME, [query], anns_field=field, limit=10, consistency_level="Strong")[0]
        equal(np.allclose([hit["distance"] for hit in hits], wanted, rtol=1e-4), True, f"scores of {field} {when}")


def main() -> None:
    client = MilvusClient(sys.argv[1], timeout=60)
    if sys.argv[2] == "write":
        write(client)
        looked(client, "before")
    else:
        client.load_collection(NAME)
        looked(client, "after the engine was killed")


if __name__ == "__main__":
    main()
