"""Threads that write and search without retries of their own, and a model of what the server must hold.

pymilvus tries a call again by itself when the transport fails or a limit of rate is met; `ONCE` turns that off, so that each
call here is one request and its answer is the server's.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import Any, Callable

import numpy as np
from pymilvus import DataType, MilvusClient

ONCE: dict[str, Any] = {"retry_times": 0, "retry_on_rate_limit": False}
DIM = 16
K = 10
SPAN = 1_000_000  # keys of one worker
HUNG = 10.0  # a call that takes longer has failed; seconds
WRITERS, SEARCHERS = 4, 8  # of the common load


def vector(key: int, value: int) -> np.ndarray:
    return np.random.default_rng([key, value]).standard_normal(DIM).astype(np.float32)


def row(key: int, value: int) -> dict[str, Any]:
    return {"id": key, "value": value, "vec": vector(key, value).tolist()}


def until(what: str, seconds: float, check: Callable[[], Any]) -> float:
    """Seconds until `check()` is true; what it raises counts as not yet."""
    begin, last = time.monotonic(), None
    while True:
        try:
            if check():
                return time.monotonic() - begin
        except Exception as error:  # not yet
            last = error
        if time.monotonic() - begin > seconds:
            raise AssertionError(f"{what}: not within {seconds} s ({str(last)[:300]})")
        time.sleep(0.02)


def connect(uri: str) -> MilvusClient:
    return MilvusClient(uri, timeout=30)


def make(client: MilvusClient, name: str, shards: int = 2, replicas: int = 1, dim: int = DIM) -> None:
    """A collection with an exact index, loaded."""
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("value", DataType.INT64)
    schema.add_field("vec", DataType.FLOAT_VECTOR, dim=dim)
    index = client.prepare_index_params()
    index.add_index("vec", index_type="FLAT", metric_type="L2")
    client.create_collection(name, schema=schema, num_shards=shards)
    client.create_index(name, index)
    client.load_collection(name, replica_number=replicas)


class Still:
    """A collection that does not change: sealed and growing rows, and the exact answer to each of its queries."""

    def __init__(self, client: MilvusClient, name: str, replicas: int = 1, sealed: int = 3000, growing: int = 300) -> None:
        self.name = name
        make(client, name, replicas=replicas)
        total = sealed + growing
        for begin, end in ((0, sealed // 2), (sealed // 2, sealed), (sealed, total)):
            for first in range(begin, end, 500):
                client.insert(name, [row(key, 0) for key in range(first, min(first + 500, end))])
            if end <= sealed:
                client.flush(name)
        matrix = np.stack([vector(key, 0) for key in range(total)]).astype(np.float64)
        self.queries = np.random.default_rng(11).standard_normal((8, DIM)).astype(np.float32)
        self.wanted = []
        for query in self.queries.astype(np.float64):
            scores = ((matrix - query) ** 2).sum(axis=1)
            self.wanted.append([int(key) for key in np.argsort(scores, kind="stable")[:K]])

    def search(self, client: MilvusClient, number: int, level: str) -> None:
        """One search, its answer compared with the exact one."""
        number %= len(self.queries)
        found = client.search(
            self.name, [self.queries[number].tolist()], limit=K, output_fields=["value"], consistency_level=level, **ONCE
        )[0]
        keys = [hit["id"] for hit in found]
        if keys != self.wanted[number]:
            raise AssertionError(f"another answer: {keys}, wanted {self.wanted[number]}")

    def check(self, client: MilvusClient) -> None:
        for number in range(len(self.queries)):
            self.search(client, number, "Strong")


class Workers:
    """Threads that run until `stop`; each call is timed and its failure kept."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.ended = threading.Event()
        self.threads: list[threading.Thread] = []
        self.calls: dict[str, list[tuple[float, float, str | None]]] = {}  # kind → (begin, seconds, error)
        self.busy: dict[int, tuple[str, float]] = {}
        self.broken: list[Exception] = []

    def timed(self, kind: str, call: Callable[[], Any]) -> bool:
        begin, error = time.monotonic(), None
        self.busy[threading.get_ident()] = (kind, begin)
        try:
            call()
        except Exception as failure:  # every failure is an answer to be counted
            error = f"{type(failure).__name__}: {str(failure)[:300]}"
        took = time.monotonic() - begin
        if error is None and took > HUNG:
            error = f"took {took:.1f} s"
        with self.lock:
            self.busy.pop(threading.get_ident(), None)
            self.calls.setdefault(kind, []).append((begin, took, error))
        return error is None

    def spawn(self, body: Callable[[], None], pause: float = 0.002) -> None:
        def run() -> None:
            try:
                while not self.ended.is_set():
                    body()
                    time.sleep(pause)
            except Exception as failure:  # of the test itself: every call's own failure is counted
                self.broken.append(failure)

        thread = threading.Thread(target=run, daemon=True)
        self.threads.append(thread)
        thread.start()

    def searching(self, still: Still, address: Callable[[], str], threads: int, level: str = "Bounded", kind: str = "search") -> None:
        for number in range(threads):
            self.spawn(Searcher(self, still, address, number, level, kind))

    def stop(self) -> None:
        self.ended.set()
        for thread in self.threads:
            thread.join(HUNG + 20)
        for kind, begin in list(self.busy.values()):
            self.calls.setdefault(kind, []).append((begin, time.monotonic() - begin, "never answered"))
        if self.broken:
            raise self.broken[0]

    def of(self, kind: str, since: float = 0.0, before: float = float("inf")) -> list[tuple[float, float, str | None]]:
        with self.lock:
            return [call for call in self.calls.get(kind, []) if since <= call[0] < before]

    def failures(self, kind: str, since: float = 0.0, before: float = float("inf")) -> list[str]:
        return [error for _, _, error in self.of(kind, since, before) if error]

    def none_failed(self, kind: str, share: float = 0.0, since: float = 0.0, before: float = float("inf")) -> None:
        calls, failed = self.of(kind, since, before), self.failures(kind, since, before)
        if not calls:
            raise AssertionError(f"not one {kind} was made")
        if len(failed) > share * len(calls):
            kinds = sorted({(failed.count(text), text) for text in set(failed)}, reverse=True)[:4]
            raise AssertionError(f"{len(failed)} of {len(calls)} {kind} calls failed: {kinds}")

    def figures(self, kind: str) -> dict[str, Any]:
        calls = self.of(kind)
        slowest = max((took for _, took, _ in calls), default=0.0)
        return {f"{kind} calls": len(calls), f"{kind} failed": len(self.failures(kind)), f"slowest {kind} ms": round(slowest * 1000)}


class Searcher:
    """One searching thread; connects again when its proxy changes."""

    def __init__(self, workers: Workers, still: Still, address: Callable[[], str], number: int, level: str, kind: str) -> None:
        self.workers, self.still, self.address, self.number, self.level, self.kind = workers, still, address, number, level, kind
        self.uri, self.client = "", None

    def __call__(self) -> None:
        if self.address() != self.uri:
            self.uri = self.address()
            self.client = connect(self.uri)
        self.number += 1
        self.workers.timed(self.kind, lambda: self.still.search(self.client, self.number, self.level))


class Writer:
    """One writing thread with keys of its own. What is acknowledged is in `rows`; a key whose last operation failed may be as
    before or as it was to be, is in `maybe` with both, and is left alone from then on."""

    def __init__(self, workers: Workers, name: str, address: Callable[[], str], number: int, batch: int = 20) -> None:
        self.workers, self.name, self.address, self.number, self.batch = workers, name, address, number, batch
        self.first = self.next = (number + 1) * SPAN
        self.rows: dict[int, int] = {}
        self.maybe: dict[int, tuple[int | None, int | None]] = {}
        self.turn, self.uri, self.client = 0, "", None
        self.rng = np.random.default_rng(number)

    def __call__(self) -> None:
        if self.address() != self.uri:
            self.uri = self.address()
            self.client = connect(self.uri)
        self.turn += 1
        what = ("insert", "insert", "upsert", "delete")[self.turn % 4] if len(self.rows) > 3 * self.batch else "insert"
        if what == "insert":
            after: dict[int, int | None] = {key: self.turn for key in range(self.next, self.next + self.batch)}
            self.next += self.batch
        else:
            chosen = self.rng.choice(list(self.rows), self.batch // 2, replace=False)
            after = {int(key): self.turn if what == "upsert" else None for key in chosen}
        if what == "delete":
            call = lambda: self.client.delete(self.name, ids=list(after), **ONCE)
        else:
            data = [row(key, self.turn) for key in after]
            call = lambda: getattr(self.client, what)(self.name, data, **ONCE)
        # A call that was slow has failed for its caller, but its outcome is known; treating it as unknown is right as well.
        done = self.workers.timed(what, call)
        for key, value in after.items():
            before = self.rows.pop(key, None)
            if not done:
                self.maybe[key] = (before, value)
            elif value is not None:
                self.rows[key] = value

    def compare(self, client: MilvusClient) -> int:
        """Every key of this writer by value, read with Strong. Returns how many rows there are."""
        found: dict[int, int] = {}
        for first in range(self.first, self.next, 2000):
            last = min(first + 2000, self.next)
            rows = client.query(
                self.name, filter=f"id >= {first} and id < {last}", output_fields=["id", "value", "vec"], consistency_level="Strong"
            )
            for each in rows:
                key, value = each["id"], each["value"]
                if key in found:
                    raise AssertionError(f"key {key} is there twice")
                if not np.array_equal(np.array(each["vec"], dtype=np.float32), vector(key, value)):
                    raise AssertionError(f"key {key}: the vector is not that of value {value}")
                found[key] = value
        lost = {key: value for key, value in self.rows.items() if found.get(key) != value}
        if lost:
            some = [(key, value, found.get(key)) for key, value in list(lost.items())[:5]]
            raise AssertionError(f"{len(lost)} of {len(self.rows)} acknowledged rows are lost or older, as (key, wanted, found): {some}")
        wrong = {key: found.get(key) for key, both in self.maybe.items() if found.get(key) not in both}
        if wrong:
            raise AssertionError(f"keys of failed operations with a third value: {list(wrong.items())[:5]}")
        extra = [key for key in found if key not in self.rows and key not in self.maybe]
        if extra:
            raise AssertionError(f"{len(extra)} deleted keys came back: {extra[:5]}")
        return len(found)


WRITES = ("insert", "upsert", "delete")


def writing(workers: Workers, name: str, address: Callable[[], str], threads: int) -> list[Writer]:
    writers = [Writer(workers, name, address, number) for number in range(threads)]
    for writer in writers:
        workers.spawn(writer, pause=0.01)
    return writers


class Changes:
    """One thread that changes the catalog: it makes a collection with an index, loads it, points an alias at it, looks through the
    alias, and drops the third last one. Each call is counted as a "change". What a failed call was to make or to drop may be there or
    not, and is left alone from then on; of all others is known which are there."""

    KEPT = 3

    def __init__(self, workers: Workers, address: Callable[[], str]) -> None:
        self.workers, self.address = workers, address
        self.turn, self.uri, self.client = 0, "", None
        self.there: list[str] = []
        self.gone: list[str] = []
        self.maybe: set[str] = set()
        self.ids: dict[str, int] = {}  # collection → its number

    def change(self, call: Callable[[], Any]) -> bool:
        return self.workers.timed("change", call)

    def __call__(self) -> None:
        if self.address() != self.uri:
            self.uri = self.address()
            self.client = connect(self.uri)
        client, name = self.client, f"change_{self.turn}"
        self.turn += 1
        schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vec", DataType.FLOAT_VECTOR, dim=4)
        index = client.prepare_index_params()
        index.add_index("vec", index_type="FLAT", metric_type="L2")
        if not self.change(lambda: client.create_collection(name, schema=schema, num_shards=1, **ONCE)):
            self.maybe.add(name)
            return
        self.there.append(name)
        if self.change(lambda: client.create_index(name, index, **ONCE)):
            self.change(lambda: client.load_collection(name, timeout=HUNG, **ONCE))
        if self.change(lambda: client.create_alias(name, f"the_{name}", **ONCE)):
            described: list[dict[str, Any]] = []
            if self.change(lambda: described.append(client.describe_collection(f"the_{name}", **ONCE))):
                if described[0]["collection_name"] != name:
                    raise AssertionError(f"the alias of {name} names {described[0]['collection_name']}")
                self.ids[name] = described[0]["collection_id"]
        if len(self.there) > self.KEPT:
            old = self.there.pop(0)
            done = self.change(lambda: client.drop_alias(f"the_{old}", **ONCE)) and self.change(lambda: client.drop_collection(old, **ONCE))
            if done:
                self.gone.append(old)
            else:
                self.maybe.add(old)

    def check(self, client: MilvusClient) -> None:
        """What is listed is what was made and not dropped, and no two had one number."""
        listed = {name for name in client.list_collections() if name.startswith("change_")}
        lost, back = set(self.there) - listed, set(self.gone) & listed
        if lost or back or listed - set(self.there) - self.maybe:
            raise AssertionError(f"collections lost: {lost}, back after a drop: {back}, from nowhere: {listed - set(self.there) - self.maybe}")
        if len(set(self.ids.values())) != len(self.ids):
            raise AssertionError(f"{len(self.ids)} collections have {len(set(self.ids.values()))} numbers")


class Load:
    """What runs beside every fault of the list unless its part says why not: four writers of rows of their own (inserts, upserts,
    deletes), eight searchers whose answers are known, and one who changes the catalog. `name` is loaded already."""

    def __init__(
        self, workers: Workers, name: str, still: Still | list[Still], address: Callable[[], str], level: str = "Bounded",
        searchers: int = SEARCHERS, writers: int = WRITERS, changes: bool = True,
    ) -> None:
        self.workers = workers
        stills = still if isinstance(still, list) else [still]
        for number in range(searchers):
            workers.searching(stills[number % len(stills)], address, 1, level)
        self.writers = writing(workers, name, address, writers)
        self.changes = Changes(workers, address) if changes else None
        if self.changes:
            workers.spawn(self.changes, pause=0.5)

    def compare(self, client: MilvusClient) -> int:
        """Every row of every writer by value, and the catalog. Returns how many rows there are."""
        if self.changes:
            self.changes.check(client)
        return sum(writer.compare(client) for writer in self.writers)

    def writes_failed(self, since: float = 0.0, before: float = float("inf")) -> list[str]:
        return [error for kind in WRITES for error in self.workers.failures(kind, since, before)]

    def figures(self) -> dict[str, Any]:
        """What was done and what failed, for the record."""
        found = {**self.workers.figures("search"), "writes": sum(len(self.workers.of(kind)) for kind in WRITES), "writes failed": len(self.writes_failed())}
        if self.changes:
            found.update({"changes": len(self.workers.of("change")), "changes failed": len(self.workers.failures("change"))})
        return found


class Repeater:
    """A client with little patience: a write that is not answered in time is sent again, as often as it takes. Its inserts have a name for
    each call, the same one whenever it is sent again, and its collection takes nothing else: only so are they there once."""

    def __init__(self, workers: Workers, kind: str, name: str, uri: str) -> None:
        self.client, self.kind, self.name, self.workers = connect(uri), kind, name, workers
        self.first = self.next = 800_000_000
        self.sent = self.given_up = self.again = 0
        self.done = True  # whether the last write was acknowledged

    def send(self, keys: range) -> None:
        named = {"client_request_id": f"blind-{keys[0]}"} if self.kind == "insert" else {}
        getattr(self.client, self.kind)(self.name, [row(key, 1) for key in keys], timeout=0.35, **named, **ONCE)

    def __call__(self) -> None:
        keys, tries = range(self.next, self.next + 10), 0
        self.done = False
        while not self.workers.ended.is_set():
            self.sent += 1
            try:
                self.send(keys)
                self.next += 10
                self.again += tries > 0
                self.done = True
                return
            except Exception:  # sent again; what counts is what is there in the end
                self.given_up += 1
                tries += 1

    def check(self, client: MilvusClient) -> dict[str, int]:
        """Each row that was acknowledged is there once; of a write that the end of the test found under way, each once or not at all."""
        last = self.next if self.done else self.next + 10
        found: list[dict[str, int]] = []
        for first in range(self.first, last, 5000):
            keys = f"id >= {first} and id < {min(first + 5000, last)}"
            found += client.query(self.name, filter=keys, output_fields=["id", "value"], consistency_level="Strong", limit=16_000)
        times = Counter(each["id"] for each in found)
        lost = set(range(self.first, self.next)) - set(times)
        twice = {key: count for key, count in times.items() if count > 1}
        if lost or twice or set(times) - set(range(self.first, last)) or any(each["value"] != 1 for each in found):
            raise AssertionError(f"{self.next - self.first} keys of {self.kind}s were acknowledged after repeats: {len(lost)} are lost, {len(twice)} are there "
                                 f"more than once, {len(found)} rows in all: {sorted(lost)[:5]} {dict(sorted(twice.items())[:5])}")
        if self.again == 0:
            raise AssertionError(f"no {self.kind} was given up and acknowledged later, so nothing was repeated")
        return {f"rows by blind {self.kind}s": len(times), f"{self.kind}s given up": self.given_up, f"{self.kind}s acknowledged only when repeated": self.again}


class Stamps:
    """Threads that ask proxies for timestamps: each must be above all that were given before it was asked for, and none may come
    twice, whoever gave it."""

    def __init__(self, workers: Workers, clients: list[MilvusClient], threads: int = 2) -> None:
        self.workers, self.lock = workers, threading.Lock()
        self.handlers = [client._get_connection() for client in clients]
        self.given: set[int] = set()
        self.highest, self.turn = 0, 0
        for _ in range(threads):
            workers.spawn(self, pause=0.02)

    def __call__(self) -> None:
        with self.lock:
            self.turn += 1
            handler, floor = self.handlers[self.turn % len(self.handlers)], self.highest
        got: list[int] = []
        if not self.workers.timed("timestamp", lambda: got.append(handler.alloc_timestamp(timeout=9, **ONCE))):
            return
        with self.lock:
            if got[0] <= floor:
                raise AssertionError(f"time went from {floor} to {got[0]}")
            if got[0] in self.given:
                raise AssertionError(f"time {got[0]} was given twice")
            self.given.add(got[0])
            self.highest = max(self.highest, got[0])
