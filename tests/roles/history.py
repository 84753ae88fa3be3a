"""A few keys that several threads write and read at once through several proxies; every operation is recorded with its begin and
its end, and afterwards the history of each key must be that of one register (Strong reads are linearizable per key).
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
