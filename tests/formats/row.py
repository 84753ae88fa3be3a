"""Adds row N to the only collection, made with the first, and compares all rows that are there then.

    row.py URI N
"""

import logging
import sys

from pymilvus import MilvusClient


def main() -> None:
    uri, count = sys.argv[1], int(sys.argv[2])
    logging.disable(logging.CRITICAL)
    client = MilvusClient(uri, timeout=30)
    if count == 1:
        client.create_collection("rows", dimension=2, metric_type="L2")
    client.insert("rows", [{"id": count, "vector": [count, 0.5]}])
    # Two rows are sealed by the builds that wrote them, the next two are only in their logs, and so on.
    if count % 4 in (1, 2):
        client.flush("rows")
    client.load_collection("rows")
    found = client.query("rows", "id > 0", output_fields=["id", "vector"], consistency_level="Strong")
    rows = sorted((row["id"], list(row["vector"])) for row in found)
    wanted = [(id, [float(id), 0.5]) for id in range(1, count + 1)]
    if rows != wanted:
        raise SystemExit(f"found {rows}, wanted {wanted}")


if __name__ == "__main__":
    main()
