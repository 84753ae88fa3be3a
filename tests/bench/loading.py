"""What programs that measure a server share: the load generator, the collection that it fills, the server's CPU time,
and how a program ends."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any, NoReturn

from pymilvus import DataType, MilvusClient


def command(program: Any, what: str, uri: str, name: str, **flags: Any) -> list[str]:
    words = [str(program), what, "--uri", uri, "--collection", name]
    for key, value in flags.items():
        words += [f"--{key}", str(value)]
    return words


def loadgen(program: Any, what: str, uri: str, name: str, **flags: Any) -> dict[str, Any]:
    """One run of the load generator, and what it says of it."""
    done = subprocess.run(command(program, what, uri, name, **flags), capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"loadgen {what}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def plain_schema(client: MilvusClient, dim: int) -> Any:
    """The fields that the load generator fills."""
    schema = client.create_schema(auto_id=False)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
    schema.add_field("part", DataType.INT64)
    schema.add_field("installed_size", DataType.INT64)
    schema.add_field("name", DataType.VARCHAR, max_length=256)
    schema.add_field("section", DataType.VARCHAR, max_length=256)
    return schema


def index_built(client: MilvusClient, name: str, field: str = "vector") -> bool:
    about = client.describe_index(name, field) or {}
    return str(about.get("state", "Finished")) in ("Finished", "3") and int(about.get("pending_index_rows", 0)) == 0


def cpu_seconds(pid: int) -> float:
    """CPU time of a process, to the nanosecond: the ticks of /proc are too coarse for a thousand small calls."""
    return time.clock_gettime((~pid << 3) | 2)


def verdict(broken: list[str]) -> NoReturn:
    """Ends the program: with 1 if promises were not kept, which it names."""
    for text in broken:
        print(f"not kept: {text}", file=sys.stderr)
    sys.exit(1 if broken else 0)
