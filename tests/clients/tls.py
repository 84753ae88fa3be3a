"""A pymilvus client over TLS: what it may do, and that it gets nowhere when it should not.

    tls.py HOST:PORT FOLDER one-way AUTHORITY|mutual IDENTITY|clear works|refused
"""

import sys
from pathlib import Path

from pymilvus import MilvusClient
from pymilvus.exceptions import MilvusException

DIM = 8


def connect(address: str, folder: Path, kind: str, name: str | None) -> MilvusClient:
    if kind == "clear":
        return MilvusClient(f"http://{address}", timeout=5)
    keys = {"secure": True, "server_name": "localhost", "timeout": 5}
    if kind == "one-way":
        keys["server_pem_path"] = str(folder / f"{name}.pem")
    else:
        keys["ca_pem_path"] = str(folder / "ours.pem")
        keys["client_pem_path"] = str(folder / f"{name}.pem")
        keys["client_key_path"] = str(folder / f"{name}.key")
    return MilvusClient(f"https://{address}", **keys)


def work(client: MilvusClient) -> None:
    client.drop_collection("tls")
    client.create_collection("tls", dimension=DIM, consistency_level="Strong")
    client.insert("tls", [{"id": key, "vector": [float(key)] * DIM} for key in range(1, 101)])
    found = client.query("tls", filter="id > 90", output_fields=["id"])
    assert {row["id"] for row in found} == set(range(91, 101)), found
    client.close()


def main() -> None:
    address, folder, kind, *name, expected = sys.argv[1:]
    try:
        work(connect(address, Path(folder), kind, name[0] if name else None))
        outcome = "works"
    except MilvusException as error:
        outcome = "refused"
        if expected == "works":
            raise
        assert "connect" in str(error).lower() or "unavailable" in str(error).lower(), error
    assert outcome == expected, f"{kind} {name}: {outcome}, expected {expected}"


if __name__ == "__main__":
    main()
