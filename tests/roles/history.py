"""A few keys that several threads write and read at once through several proxies; every operation is recorded with its begin and
its end, and afterwards the history of each key must be that of one register (Strong reads are linearizable per key). Beside them keys
with one writer each, which Session reads must show as it left them and Bounded reads not older than the staleness that is configured.
"""

from __future__ import annotations

import itertools
import threading
import time
from dataclasses import dataclass
from typing import Any, Callable

import numpy as np

from load import ONCE, Workers, connect, vector

BASE = 900_000_000  # no writer of load.py comes there
OWN = 950_000_000  # and nobody but `Levels` there
STALENESS_S = 5.0  # common.gracefulTime, by default


@dataclass(frozen=True)
class Operation:
    """What was asked of a key. `value` is what was written or read; None is no row."""

    begin: float
    end: float | None  # None: nobody knows whether it was done, or will be
    is_read: bool
    value: int | None


def is_linear(operations: list[Operation]) -> bool:
    """Whether some order of these operations of one key explains all answers and respects who came after whom. A write of
    unknown outcome may take its place at any time after its begin, or never."""
    operations = sorted(operations, key=lambda each: each.begin)
    ends = [float("inf") if each.end is None else each.end for each in operations]
    required = sum(1 << place for place, each in enumerate(operations) if each.end is not None)
    seen, stack = set(), [(0, None)]
    while stack:
        state = stack.pop()
        done, value = state
        if done & required == required:
            return True
        if state in seen:
            continue
        seen.add(state)
        limit = min(end for place, end in enumerate(ends) if not done >> place & 1)
        for place, each in enumerate(operations):
            if each.begin > limit:
                break
            if done >> place & 1 or (each.is_read and each.value != value):
                continue
            stack.append((done | 1 << place, value if each.is_read else each.value))
    return False


def check_the_checker() -> None:
    """A checker that finds nothing would make every test pass."""
    def read(begin: float, end: float, value: int | None) -> Operation:
        return Operation(begin, end, True, value)

    def write(begin: float, end: float | None, value: int | None) -> Operation:
        return Operation(begin, end, False, value)

    right = [
        [write(0, 1, 5), read(2, 3, 5)],
        [write(0, 4, 5), read(1, 2, None), read(2.5, 3, 5)],
        [write(0, 1, 5), write(2, None, 6), read(3, 4, 5), read(5, 6, 6)],
        [write(0, 1, 5), write(2, None, 6), read(3, 4, 5), write(5, 6, None), read(7, 8, None)],
    ]
    wrong = {
        "a lost write": [write(0, 1, 5), read(2, 3, None)],
        "a stale read": [write(0, 1, 5), write(2, 3, 6), read(4, 5, 5)],
        "back in time": [write(0, 9, 5), read(1, 2, 5), read(3, 4, None)],
        "a deleted row that came back": [write(0, 1, 5), write(2, 3, None), read(4, 5, 5)],
        "a value from nowhere": [write(0, 1, 5), read(2, 3, 7)],
        "an unknown write undone": [write(0, 1, 5), write(2, None, 6), read(3, 4, 6), read(5, 6, 5)],
    }
    if not all(is_linear(each) for each in right):
        raise AssertionError("the checker refuses a right history")
    missed = [name for name, each in wrong.items() if is_linear(each)]
    if missed:
        raise AssertionError(f"the checker does not see: {missed}")


class Registers:
    """Threads that write and read the same keys. A key gets about `turns` operations, then another takes its place."""

    def __init__(self, workers: Workers, name: str, addresses: Callable[[], list[str]], threads: int = 4, keys: int = 4, turns: int = 40) -> None:
        check_the_checker()
        self.workers, self.name, self.addresses, self.keys, self.turns = workers, name, addresses, keys, turns
        self.lock, self.values, self.count = threading.Lock(), itertools.count(1), itertools.count()
        self.operations: dict[int, list[Operation]] = {}
        self.last = 0.0  # when something succeeded last
        self.good: list[float] = []
        for number in range(threads):
            workers.spawn(self.body(number), pause=0.01)

    def body(self, number: int) -> Callable[[], None]:
        rng, clients = np.random.default_rng([77, number]), {}

        def once() -> None:
            addresses = self.addresses()
            uri = addresses[number % len(addresses)]
            if uri not in clients:
                clients[uri] = connect(uri)
            turn = next(self.count)
            key = BASE + turn // (self.keys * self.turns) * self.keys + int(rng.integers(self.keys))
            dice = rng.random()
            kind = "register read" if dice < 0.5 else "register upsert" if dice < 0.9 else "register delete"
            self.operate(clients[uri], key, kind)

        return once

    def operate(self, client: Any, key: int, kind: str) -> None:
        value = next(self.values) if kind == "register upsert" else None
        read: list[int] = []

        def call() -> None:
            if kind == "register read":
                found = client.query(self.name, filter=f"id == {key}", output_fields=["value"], consistency_level="Strong", **ONCE)
                read.extend(each["value"] for each in found)
            elif kind == "register upsert":
                data = [{"id": key, "value": value, "vec": vector(key, value).tolist()}]
                client.upsert(self.name, data, **ONCE)
            else:
                client.delete(self.name, ids=[key], **ONCE)

        begin = time.monotonic()
        done = self.workers.timed(kind, call)
        end = time.monotonic()
        if len(read) > 1:
            raise AssertionError(f"key {key} is there twice: {read}")
        if kind == "register read" and not done:
            return
        if kind == "register read":
            value = read[0] if read else None
        with self.lock:
            self.operations.setdefault(key, []).append(Operation(begin, end if done else None, kind == "register read", value))
            if done:
                self.good.append(end)

    def check(self) -> dict[str, int]:
        """Every key's history; what there was of it."""
        for key, operations in self.operations.items():
            if not is_linear(operations):
                shown = "\n".join(map(str, sorted(operations, key=lambda each: each.begin)))
                raise AssertionError(f"the history of key {key} is not linear:\n{shown}")
        total = [each for operations in self.operations.values() for each in operations]
        return {"keys with a linear history": len(self.operations), "operations in it": len(total),
                "of unknown outcome": sum(each.end is None for each in total)}

    def first_after(self, moment: float) -> float:
        """Seconds from a moment until something succeeded that ended after it."""
        later = [end for end in self.good if end >= moment]
        if not later:
            raise AssertionError("nothing succeeded any more")
        return min(later) - moment


class Levels:
    """Pairs of threads. One writes a key of its own and reads it with Session after each write: it must be what was written. The other
    reads that key with Bounded through another proxy: it must be no older than `STALENESS_S`, give or take `slack`."""

    def __init__(self, workers: Workers, name: str, addresses: Callable[[], list[str]], pairs: int = 2, slack: float = 0.5) -> None:
        self.workers, self.name, self.addresses, self.slack = workers, name, addresses, slack
        self.lock, self.oldest = threading.Lock(), 0.0
        for number in range(pairs):
            key = OWN + number * 1_000_000
            # When each value was acknowledged, of the key that is written now; the value is the place in the list.
            acknowledged: dict[str, Any] = {"key": key, "at": []}
            workers.spawn(self.writer(number, acknowledged), pause=0.02)
            workers.spawn(self.reader(number + 1, acknowledged), pause=0.02)

    def read(self, client: Any, key: int, level: str) -> int | None:
        found = client.query(self.name, filter=f"id == {key}", output_fields=["value"], consistency_level=level, **ONCE)
        if len(found) > 1:
            raise AssertionError(f"key {key} is there twice: {found}")
        return found[0]["value"] if found else None

    def client(self, number: int, clients: dict[str, Any]) -> Any:
        addresses = self.addresses()
        uri = addresses[number % len(addresses)]
        if uri not in clients:
            clients[uri] = connect(uri)
        return clients[uri]

    def writer(self, number: int, acknowledged: dict[str, Any]) -> Callable[[], None]:
        clients: dict[str, Any] = {}

        def once() -> None:
            client, key, value = self.client(number, clients), acknowledged["key"], len(acknowledged["at"])
            data = [{"id": key, "value": value, "vec": vector(key, value).tolist()}]
            if not self.workers.timed("own upsert", lambda: client.upsert(self.name, data, **ONCE)):
                # It may be done later: what this key is to be is not known any more.
                with self.lock:
                    acknowledged.update(key=key + 1, at=[])
                return
            with self.lock:
                acknowledged["at"].append(time.monotonic())
            read: list[int | None] = []
            if self.workers.timed("Session read", lambda: read.append(self.read(client, key, "Session"))) and read != [value]:
                raise AssertionError(f"key {key} is {read[0]} for a session that wrote {value} before")

        return once

    def reader(self, number: int, acknowledged: dict[str, Any]) -> Callable[[], None]:
        clients: dict[str, Any] = {}

        def once() -> None:
            with self.lock:
                key, at = acknowledged["key"], acknowledged["at"]
                known = len(at)
            if not known:
                return
            client, begin = self.client(number, clients), time.monotonic()
            read: list[int | None] = []
            if not self.workers.timed("Bounded read", lambda: read.append(self.read(client, key, "Bounded"))):
                return
            shown = -1 if read[0] is None else read[0]
            # Of what was acknowledged before the read began, the first that it does not show is how old it is.
            if shown + 1 < known:
                age = begin - at[shown + 1]
                with self.lock:
                    self.oldest = max(self.oldest, age)
                if age > STALENESS_S + self.slack:
                    raise AssertionError(f"a Bounded read of key {key} shows {shown}, {known - 1} was acknowledged, and what is missing is {age:.1f} s old")

        return once

    def check(self) -> dict[str, Any]:
        for kind in ("own upsert", "Session read", "Bounded read"):
            if not any(error is None for _, _, error in self.workers.of(kind)):
                raise AssertionError(f"not one {kind} succeeded")
        good = {kind: len(self.workers.of(kind)) - len(self.workers.failures(kind)) for kind in ("Session read", "Bounded read")}
        return {"Session reads of own writes": good["Session read"], "Bounded reads": good["Bounded read"], "oldest Bounded read s": round(self.oldest, 2)}
