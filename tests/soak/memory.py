"""Fills the engine in a control group with little memory until it refuses, and sees it recover by itself.

    memory.py --binary FILE --folder DIR [--limit-mb 400] [--report FILE.md --commit ID]

Rows are inserted until the engine refuses them. Then the process must be alive (no kill by the kernel), the refusal must say
what is full and be one of Milvus's quota codes, searches must go on, and once a collection is dropped, inserts too. Where
control groups cannot be made, the limit is the engine's own setting alone, and the report says so.
"""

from __future__ import annotations

import argparse
import datetime
import logging
import os
import random
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy
from pymilvus import DataType, MilvusClient, MilvusException

DIM = 256
BATCH = 2_000
V1, V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
QUOTA_CODES = (8, 9)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Group:
    """A control group with a limit on memory, if one can be made."""

    def __init__(self, limit: int) -> None:
        name = f"redkite-memory-{os.getpid()}"
        self.folder: Path | None = None
        self.old = (V1 / "memory.limit_in_bytes").exists()
        root = V1 if self.old else V2
        if not self.old and not (V2 / "cgroup.controllers").exists():
            return
        try:
            (root / name).mkdir()
            self.folder = root / name
            (self.folder / ("memory.limit_in_bytes" if self.old else "memory.max")).write_text(str(limit))
        except OSError:
            self.remove()

    def enter(self) -> None:
        """Called in the child before it becomes the engine."""
        if self.folder:
            (self.folder / "cgroup.procs").write_text(str(os.getpid()))

    def kills(self) -> int:
        """How often the kernel killed somebody in the group."""
        if not self.folder:
            return 0
        lines = (self.folder / ("memory.oom_control" if self.old else "memory.events")).read_text().split("\n")
        return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))

    def most(self) -> int:
        if not self.folder:
            return 0
        return int((self.folder / ("memory.max_usage_in_bytes" if self.old else "memory.peak")).read_text())

    def remove(self) -> None:
        if self.folder:
            try:
                self.folder.rmdir()
            except OSError as error:
                print(f"the control group {self.folder} stays: {error}", file=sys.stderr)
            self.folder = None


class Engine:
    """The binary as a process in the group."""

    def __init__(self, binary: str, folder: Path, group: Group, limit_mb: int) -> None:
        self.port, self.metrics, self.folder = free_port(), free_port(), folder
        config = folder / "memory.yaml"
        own = "" if group.folder else f"redkite: {{memory: {{limitMb: {limit_mb}}}}}\n"
        config.write_text(own + "dataCoord: {segment: {maxSize: 64}}\n")
        command = [binary, "run", "standalone", "--config", str(config), "--data-dir", str(folder / "data")]
        command += ["--listen", f"127.0.0.1:{self.port}", "--metrics-listen", f"127.0.0.1:{self.metrics}"]
        log = open(folder / "engine.log", "ab")
        self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, preexec_fn=group.enter)
        begin = time.monotonic()
        while time.monotonic() - begin < 120:
            self.check()
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics}/healthz", timeout=2) as answer:
                    if answer.status == 200:
                        return
            except OSError:
                time.sleep(0.05)
        raise SystemExit("the engine was not healthy within 120 s")

    def check(self) -> None:
        if self.process.poll() is not None:
            raise SystemExit(f"the engine ended with {self.process.returncode}; see {self.folder}/engine.log")

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def make(client: MilvusClient, name: str) -> None:
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=DIM)
    index = client.prepare_index_params()
    index.add_index("v", index_type="IVF_FLAT", metric_type="L2", params={"nlist": 32})
    client.create_collection(name, schema=schema, index_params=index)


def insert(client: MilvusClient, name: str, first: int, count: int) -> None:
    values = numpy.random.default_rng(first).random((count, DIM), dtype=numpy.float32)
    rows = [{"id": first + at, "v": values[at]} for at in range(count)]
    client.insert(name, rows, retry_on_rate_limit=False, timeout=60)


def fill(client: MilvusClient, engine: Engine, name: str, most: int) -> tuple[int, MilvusException | None]:
    """Inserts until it is refused for good: the same for ten seconds."""
    rows, since, refusal = 0, None, None
    while rows < most:
        engine.check()
        try:
            insert(client, name, rows, BATCH)
            rows, since = rows + BATCH, None
        except MilvusException as error:
            if error.code not in QUOTA_CODES:
                raise
            refusal, since = error, since or time.monotonic()
            if time.monotonic() - since > 10:
                return rows, refusal
            time.sleep(0.2)
    return rows, None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--limit-mb", type=int, default=400)
    parser.add_argument("--report")
    parser.add_argument("--commit", default="unknown")
    options = parser.parse_args()
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
    folder = Path(options.folder)
    folder.mkdir(parents=True, exist_ok=True)
    limit = options.limit_mb << 20
    group = Group(limit)
    how = "control group" if group.folder else "setting redkite.memory.limitMb alone: no control group could be made"
    print(f"limit {options.limit_mb} MiB by {how}")
    engine = Engine(options.binary, folder, group, options.limit_mb)
    try:
        client = MilvusClient(f"http://127.0.0.1:{engine.port}", timeout=60)
        for name in ("first", "second"):
            make(client, name)
        half = limit // 2 // (DIM * 4) // BATCH * BATCH // 2
        kept, refusal = fill(client, engine, "first", half)
        assert refusal is None, f"a quarter of the memory was refused: {refusal}"
        more, refusal = fill(client, engine, "second", 4 * limit // (DIM * 4))
        assert refusal is not None, f"{more} rows were taken, more than there is room for"
        print(f"{kept} and {more} rows were taken, then: {refusal.message} (code {refusal.code})")
        assert refusal.message.startswith(("quota exceeded[reason=", "rate limit exceeded[reason=")), refusal
        begin = time.monotonic()
        queries = [[random.random() for _ in range(DIM)] for _ in range(5)]
        found = client.search("first", queries, limit=10, consistency_level="Strong")
        assert all(len(hits) == 10 for hits in found), "searches go on"
        count = client.query("second", output_fields=["count(*)"], consistency_level="Strong")[0]["count(*)"]
        assert count == more, f"{count} rows are there, {more} were acknowledged"
        print(f"searched and counted while full: {time.monotonic() - begin:.1f} s")
        client.drop_collection("first")
        begin = time.monotonic()
        while True:
            engine.check()
            try:
                insert(client, "second", more, 100)
                break
            except MilvusException as error:
                assert error.code in QUOTA_CODES, error
                assert time.monotonic() - begin < 60, f"still refused a minute after room was made: {error}"
                time.sleep(0.2)
        recovered = time.monotonic() - begin
        print(f"inserts went on {recovered:.1f} s after a collection was dropped")
        assert group.kills() == 0, "the kernel killed something"
        used = (kept + more) * DIM * 4 / limit
        most = group.most() / (1 << 20)
        print(f"rows filled {used:.0%} of the memory; most memory used: {most:.0f} MiB of {options.limit_mb}")
    finally:
        engine.stop()
        group.remove()
    if options.report:
        report = Path(options.report)
        if not report.exists():
            report.write_text(
                "# Little memory\n\nA standalone in a control group, filled until it refuses (`make soak PART=memory`).\n\n"
                "| date | commit | limit MiB | by | rows taken | vectors, part of the limit | most used MiB | kills | code | recovered after s |\n"
                "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
            )
        with report.open("a") as out:
            out.write(
                f"| {datetime.date.today()} | {options.commit} | {options.limit_mb} | {how.split(':')[0]} | {kept + more} "
                f"| {used:.0%} | {most:.0f} | 0 | {refusal.code} | {recovered:.1f} |\n"
            )


if __name__ == "__main__":
    main()
