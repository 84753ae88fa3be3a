"""Kills the engine with SIGKILL under load, again and again, and compares every row with a model each time.

    kill9.py --binary FILE --folder DIR --kills 200 [--seed N] [--operations 500] [--report FILE.md --commit ID]

Four workers insert, upsert and delete, each over keys of its own, and note in the model what the server acknowledged. The
one operation that each may have in flight at the kill may be there afterwards or not, but only as a whole. A run that was
stopped goes on where it was, from DIR.
"""

from __future__ import annotations

import argparse
import datetime
import json
import logging
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from pymilvus import DataType, MilvusClient
from pymilvus.grpc_gen import common_pb2, milvus_pb2, milvus_pb2_grpc, schema_pb2

NAME = "kills"
DIM = 8
WORKERS = 4
LIVE_ROWS = 6_000  # above it a worker deletes more than it adds
PAGE = 4_000
Row = tuple[int, str, int, tuple[float, ...]]


def row(key: int, version: int) -> Row:
    """The one row that belongs to a key and a version; versions are never used twice."""
    draw = random.Random(key * 1_000_003 + version)
    vector = struct.unpack(f"<{DIM}f", struct.pack(f"<{DIM}f", *(draw.uniform(-1, 1) for _ in range(DIM))))
    return key, f"{key}/{version}" + "x" * draw.randrange(40), version, vector


@dataclass
class Operation:
    """One request: what becomes of which keys (a version, or None for gone)."""

    kind: str
    effects: dict[int, int | None]


@dataclass
class Counts:
    """What the report says."""

    kills: int = 0
    unflushed: int = 0
    flushing: int = 0
    indexing: int = 0
    operations: int = 0
    least: int = 10**9
    compared: int = 0
    in_flight: int = 0
    in_flight_kept: int = 0
    restart_slowest: float = 0.0
    minutes: float = 0.0


class Engine:
    """The release binary as a process."""

    def __init__(self, binary: str, folder: Path) -> None:
        self.binary, self.folder = binary, folder
        self.port, self.metrics = free_port(), free_port()
        self.process: subprocess.Popen | None = None

    def start(self) -> float:
        """Starts it and waits until it serves; returns how many seconds that took."""
        begin = time.monotonic()
        log = open(self.folder / "engine.log", "ab")
        command = [self.binary, "run", "standalone", "--data-dir", str(self.folder / "data")]
        command += ["--listen", f"127.0.0.1:{self.port}", "--metrics-listen", f"127.0.0.1:{self.metrics}"]
        self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
        while time.monotonic() - begin < 120:
            if self.process.poll() is not None:
                raise SystemExit(f"the engine ended with {self.process.returncode} at its start; see {self.folder}/engine.log")
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics}/healthz", timeout=2) as answer:
                    if answer.status == 200:
                        return time.monotonic() - begin
            except OSError:
                time.sleep(0.05)
        raise SystemExit("the engine was not healthy within 120 s")

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def column(name: str, kind: int, form: str, values: list) -> schema_pb2.FieldData:
    scalars = schema_pb2.ScalarField()
    getattr(scalars, form).data.extend(values)
    return schema_pb2.FieldData(field_name=name, type=kind, scalars=scalars)


def columns(rows: list[Row]) -> list[schema_pb2.FieldData]:
    flat = [value for _, _, _, vector in rows for value in vector]
    vectors = schema_pb2.VectorField(dim=DIM, float_vector=schema_pb2.FloatArray(data=flat))
    return [
        column("id", DataType.INT64, "long_data", [key for key, _, _, _ in rows]),
        column("title", DataType.VARCHAR, "string_data", [title for _, title, _, _ in rows]),
        column("version", DataType.INT64, "long_data", [version for _, _, version, _ in rows]),
        schema_pb2.FieldData(field_name="vec", type=DataType.FLOAT_VECTOR, vectors=vectors),
    ]


class Worker(threading.Thread):
    """Sends operations over keys of its own until it is stopped or the server is gone."""

    def __init__(self, number: int, world: "World", rng: random.Random) -> None:
        super().__init__(daemon=True)
        self.number, self.world, self.rng = number, world, rng
        self.acknowledged = 0
        self.rows_acknowledged = 0
        self.in_flight: Operation | None = None
        self.refusal: str | None = None
        self.stop = threading.Event()
        self.stub = milvus_pb2_grpc.MilvusServiceStub(grpc.insecure_channel(f"127.0.0.1:{world.engine.port}"))

    def run(self) -> None:
        while not self.stop.is_set():
            operation = self.choose()
            self.in_flight = operation
            try:
                answer = self.send(operation)
            except grpc.RpcError as error:
                if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNKNOWN):
                    return
                self.refusal = f"gRPC {error.code()} {error.details()}"
                return
            if answer.status.code or answer.status.error_code:
                self.refusal = f"{operation.kind}: {answer.status.code} {answer.status.reason}"
                return
            self.world.rows.apply(operation)
            self.in_flight = None
            self.acknowledged += 1
            self.rows_acknowledged += len(operation.effects)

    def choose(self) -> Operation:
        rows, rng = self.world.rows, self.rng
        mine = rows.keys[self.number]
        crowded = len(mine) > LIVE_ROWS // WORKERS
        kind = rng.choices(["insert", "upsert", "delete"], [1, 2, 4] if crowded else [4, 3, 2])[0]
        size = rng.choice([1, 1, 2, 5, 20])
        if kind == "insert" or len(mine) < 50:
            return Operation("insert", {rows.new_key(self.number): rows.new_version(self.number) for _ in range(size)})
        picked = {mine[rng.randrange(len(mine))] for _ in range(size)}
        if kind == "delete":
            return Operation("delete", dict.fromkeys(picked))
        effects = {key: rows.new_version(self.number) for key in picked}
        if rng.random() < 0.3:
            effects[rows.new_key(self.number)] = rows.new_version(self.number)
        return Operation("upsert", effects)

    def send(self, operation: Operation) -> Any:
        if operation.kind == "delete":
            expression = f"id in {sorted(operation.effects)}"
            return self.stub.Delete(milvus_pb2.DeleteRequest(collection_name=NAME, expr=expression), timeout=60)
        data = columns([row(key, version) for key, version in operation.effects.items() if version is not None])
        if operation.kind == "insert":
            return self.stub.Insert(milvus_pb2.InsertRequest(collection_name=NAME, fields_data=data, num_rows=len(operation.effects)), timeout=60)
        return self.stub.Upsert(milvus_pb2.UpsertRequest(collection_name=NAME, fields_data=data, num_rows=len(operation.effects)), timeout=60)


@dataclass
class Rows:
    """The model: the version that each key must have. A worker touches only keys of its own, so nothing is locked."""

    versions: dict[int, int] = field(default_factory=dict)
    keys: list[list[int]] = field(default_factory=lambda: [[] for _ in range(WORKERS)])
    places: dict[int, int] = field(default_factory=dict)
    next_key: list[int] = field(default_factory=lambda: list(range(WORKERS)))
    next_version: list[int] = field(default_factory=lambda: list(range(WORKERS)))

    def new_key(self, worker: int) -> int:
        self.next_key[worker] += WORKERS
        return self.next_key[worker]

    def new_version(self, worker: int) -> int:
        self.next_version[worker] += WORKERS
        return self.next_version[worker]

    def apply(self, operation: Operation) -> None:
        for key, version in operation.effects.items():
            mine = self.keys[key % WORKERS]
            if version is None:
                if self.versions.pop(key, None) is not None:
                    place, last = self.places.pop(key), mine.pop()
                    if last != key:
                        mine[place], self.places[last] = last, place
            else:
                if key not in self.versions:
                    self.places[key] = len(mine)
                    mine.append(key)
                self.versions[key] = version

    def dump(self) -> dict:
        return {"versions": list(self.versions.items()), "next_key": self.next_key, "next_version": self.next_version}

    @classmethod
    def restore(cls, saved: dict) -> "Rows":
        rows = cls(next_key=saved["next_key"], next_version=saved["next_version"])
        rows.apply(Operation("insert", dict(saved["versions"])))
        return rows


class World:
    """Engine, model, counts, and the folder that keeps them between runs."""

    def __init__(self, binary: str, folder: Path) -> None:
        self.folder = folder
        self.progress = folder / "progress.json"
        self.counts, self.rows = Counts(), Rows()
        folder.mkdir(parents=True, exist_ok=True)
        saved = json.loads(self.progress.read_text()) if self.progress.exists() else None
        if saved:
            self.counts = Counts(**saved["counts"])
        if saved and not saved["open"]:
            self.rows = Rows.restore(saved["rows"])
        else:
            # Stopped amid a round, the model is older than the data: begin with new data, keep the counts.
            shutil.rmtree(folder / "data", ignore_errors=True)
        self.engine = Engine(binary, folder)

    def save(self, is_open: bool) -> None:
        text = json.dumps({"counts": vars(self.counts), "rows": self.rows.dump(), "open": is_open})
        unfinished = self.progress.with_suffix(".part")
        unfinished.write_text(text)
        unfinished.replace(self.progress)

    def client(self) -> MilvusClient:
        return MilvusClient(f"http://127.0.0.1:{self.engine.port}", timeout=60)

    def prepare(self) -> None:
        """Makes the collection if it is not there, and loads it."""
        client = self.client()
        if not client.has_collection(NAME):
            schema = client.create_schema(auto_id=False)
            schema.add_field("id", DataType.INT64, is_primary=True)
            schema.add_field("title", DataType.VARCHAR, max_length=100)
            schema.add_field("version", DataType.INT64)
            schema.add_field("vec", DataType.FLOAT_VECTOR, dim=DIM)
            client.create_collection(NAME, schema=schema)
        if not client.list_indexes(NAME):
            # A kill between drop and create leaves it without one.
            make_index(client)
        client.load_collection(NAME)
        client.close()


def make_index(client: MilvusClient) -> None:
    index = client.prepare_index_params()
    index.add_index("vec", index_type="HNSW", metric_type="L2", params={"M": 8, "efConstruction": 64})
    client.create_index(NAME, index)


class Chore(threading.Thread):
    """A flush, or an index made anew, that the kill shall interrupt."""

    def __init__(self, world: World, kind: str) -> None:
        super().__init__(daemon=True)
        self.world, self.kind = world, kind
        self.begun, self.done = threading.Event(), threading.Event()

    def run(self) -> None:
        try:
            client = self.world.client()
            if self.kind == "index":
                client.release_collection(NAME)
                client.drop_index(NAME, "vec")
                self.begun.set()
                make_index(client)
            else:
                self.begun.set()
                client.flush(NAME)
            self.done.set()
        except Exception:  # noqa: BLE001 - the kill comes in any form
            self.begun.set()


def round_kind(rng: random.Random, counts: Counts) -> str:
    """One in eight amid a flush or an index build, most others with unflushed rows."""
    if counts.flushing + counts.indexing < (counts.kills + 1) * 0.12:
        return rng.choice(["flush", "flush", "index"])
    return rng.choices(["unflushed", "flushed"], [3, 1])[0]


def load_then_kill(world: World, rng: random.Random, kind: str, operations: int) -> list[Worker]:
    """Runs the workers until enough is acknowledged, then kills at a random moment; returns the workers, stopped."""
    workers = [Worker(number, world, random.Random(rng.random())) for number in range(WORKERS)]
    for worker in workers:
        worker.start()
    target = operations + rng.randrange(operations)
    limit = time.monotonic() + 180
    while sum(worker.acknowledged for worker in workers) < target:
        refused = [worker.refusal for worker in workers if worker.refusal]
        if refused or time.monotonic() > limit:
            raise SystemExit(f"the load stopped before the kill: {refused or 'too slow'}")
        time.sleep(0.01)
    interrupted = False
    if kind == "flushed":
        for worker in workers:
            worker.stop.set()
        for worker in workers:
            worker.join()
        world.client().flush(NAME)
    elif kind in ("flush", "index"):
        chore = Chore(world, kind)
        chore.start()
        chore.begun.wait(60)
        time.sleep(rng.random() * 0.05)
        interrupted = not chore.done.is_set()
    else:
        time.sleep(rng.random() * 0.3)
    world.engine.kill()
    for worker in workers:
        worker.join(70)
        if worker.is_alive() or worker.refusal:
            raise SystemExit(f"a worker did not stop with the engine: {worker.refusal}")
    note(world.counts, workers, kind, interrupted)
    return workers


def note(counts: Counts, workers: list[Worker], kind: str, interrupted: bool) -> None:
    acknowledged = sum(worker.acknowledged for worker in workers)
    counts.kills += 1
    counts.operations += acknowledged
    counts.least = min(counts.least, acknowledged)
    counts.unflushed += kind != "flushed"
    counts.flushing += kind == "flush" and interrupted
    counts.indexing += kind == "index" and interrupted


def read_all(client: MilvusClient, highest: int) -> dict[int, Row]:
    found: dict[int, Row] = {}
    for first in range(0, highest + 1, PAGE):
        expression = f"{first} <= id < {first + PAGE}"
        for entity in client.query(NAME, filter=expression, output_fields=["id", "title", "version", "vec"], consistency_level="Strong"):
            key = entity["id"]
            if key in found:
                raise SystemExit(f"key {key} was returned twice")
            found[key] = (key, entity["title"], entity["version"], tuple(float(value) for value in entity["vec"]))
    return found


def settle(world: World, workers: list[Worker], found: dict[int, Row]) -> None:
    """Decides for each operation in flight whether it happened, as a whole or not at all, and tells the model."""
    for worker in workers:
        operation = worker.in_flight
        if operation is None:
            continue
        world.counts.in_flight += 1
        after = dict(operation.effects)
        before = {key: world.rows.versions.get(key) for key in operation.effects}
        seen = {key: found[key][2] if key in found else None for key in operation.effects}
        if seen == after:
            world.rows.apply(operation)
            world.counts.in_flight_kept += before != after
        elif seen != before:
            raise SystemExit(f"half of an operation survived: {operation.kind} {after}, before {before}, found {seen}")


def compare(world: World, workers: list[Worker]) -> None:
    """Every row by value, the count, and that searches find rows that are there and none that is not."""
    client = world.client()
    wait_loaded(client)
    found = read_all(client, max(world.rows.next_key))
    settle(world, workers, found)
    versions = world.rows.versions
    lost = [key for key in versions if key not in found]
    back = [key for key in found if key not in versions]
    wrong = [key for key, version in versions.items() if key in found and found[key] != row(key, version)]
    if lost or back or wrong:
        raise SystemExit(
            f"rows differ from the model: {len(lost)} lost {[(k, versions[k]) for k in lost[:5]]}, {len(back)} too many "
            f"{[found[k][:3] for k in back[:5]]}, {len(wrong)} wrong {[(found[k], row(k, versions[k])) for k in wrong[:2]]}"
        )
    count = client.query(NAME, output_fields=["count(*)"], consistency_level="Strong")[0]["count(*)"]
    if count != len(versions):
        raise SystemExit(f"count(*) is {count} for {len(versions)} rows")
    picked = random.Random(world.counts.kills).sample(sorted(versions), min(20, len(versions)))
    if picked:
        queries = [list(row(key, versions[key])[3]) for key in picked]
        answers = client.search(NAME, queries, anns_field="vec", limit=3, search_params={"params": {"ef": 200}}, consistency_level="Strong")
        for key, hits in zip(picked, answers):
            if not hits or hits[0]["id"] != key or any(hit["id"] not in versions for hit in hits):
                raise SystemExit(f"a search for row {key} found {[(hit['id'], hit['distance']) for hit in hits]}")
    world.counts.compared += len(versions)
    client.close()


def wait_loaded(client: MilvusClient) -> None:
    """A restart keeps what was loaded; a kill amid an index build left it released."""
    if not client.list_indexes(NAME):
        make_index(client)
    client.load_collection(NAME)


def append_report(path: Path, counts: Counts, commit: str, seed: int) -> None:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            "# kill -9 under load\n\nEvery row compared by value with a model after each kill (`make soak PART=kill9`).\n\n"
            "| date | commit | kills | with unflushed rows | amid flush / index build | operations acknowledged (least between two kills) "
            "| rows compared | in flight at a kill: kept / all | slowest restart s | minutes | seed |\n"
            "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
        )
    day = datetime.date.today().isoformat()
    with path.open("a") as report:
        report.write(
            f"| {day} | {commit} | {counts.kills} | {counts.unflushed} | {counts.flushing} / {counts.indexing} | {counts.operations} "
            f"({counts.least}) | {counts.compared} | {counts.in_flight_kept} / {counts.in_flight} | {counts.restart_slowest:.1f} "
            f"| {counts.minutes:.1f} | {seed} |\n"
        )


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--kills", type=int, required=True)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**31))
    parser.add_argument("--operations", type=int, default=500)
    parser.add_argument("--report", type=Path)
    parser.add_argument("--commit", default="unknown")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    world = World(options.binary, options.folder)
    print(f"kill9: seed {options.seed}, {world.counts.kills} of {options.kills} kills done before", flush=True)
    world.save(is_open=True)
    world.engine.start()
    try:
        world.prepare()
        while world.counts.kills < options.kills:
            begin = time.monotonic()
            rng = random.Random(f"{options.seed}/{world.counts.kills}")
            kind = round_kind(rng, world.counts)
            workers = load_then_kill(world, rng, kind, options.operations)
            restart = world.engine.start()
            world.counts.restart_slowest = max(world.counts.restart_slowest, restart)
            compare(world, workers)
            world.counts.minutes += (time.monotonic() - begin) / 60
            world.save(is_open=True)
            acknowledged = sum(worker.acknowledged for worker in workers)
            print(
                f"  kill {world.counts.kills}/{options.kills} ({kind}): {acknowledged} operations, {len(world.rows.versions)} rows equal, "
                f"restart {restart:.1f} s, round {time.monotonic() - begin:.1f} s",
                flush=True,
            )
    finally:
        world.engine.kill()
    world.save(is_open=False)
    if options.report:
        append_report(options.report, world.counts, options.commit, options.seed)
        world.progress.unlink()
        shutil.rmtree(world.folder / "data", ignore_errors=True)
    counts = world.counts
    print(
        f"kill9: {counts.kills} kills ({counts.unflushed} with unflushed rows, {counts.flushing} amid a flush, {counts.indexing} amid an index build), "
        f"{counts.operations} operations, no acknowledged row lost, none back",
        flush=True,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
