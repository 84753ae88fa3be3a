"""Reads that are made again and again while a case writes."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from harness import until


@contextlib.contextmanager
def reading(*reads: Callable[[], None]) -> Iterator[Callable[[], None]]:
    """Makes each read over and over on a thread of its own, amid the block. What the block is given waits until each was made once more
    from begin to end. A read that fails ends its thread, and the block fails when it ends."""
    ended, made = threading.Event(), [0] * len(reads)

    def repeat(at: int) -> None:
        while not ended.is_set():
            reads[at]()
            made[at] += 1

    with ThreadPoolExecutor(len(reads)) as pool:
        running = [pool.submit(repeat, at) for at in range(len(reads))]

        def again() -> None:
            before = list(made)
            # The first that ends after this may have begun before it.
            whole = lambda: all(now > then + 1 for now, then in zip(made, before))
            until("each read is made again", 120, lambda: whole() or any(each.done() for each in running))

        try:
            again()
            yield again
        finally:
            ended.set()
        for each in running:
            each.result()
