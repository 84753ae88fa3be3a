"""Part 2, chapters 8.4 and 8.5: what applications build above the database (cases 134 to 136)."""

from __future__ import annotations

import queue
import threading
from collections import Counter, OrderedDict

from pymilvus import Collection, utility
from pymilvus.client.types import LoadState

import fixtures as of
from harness import Server, case, equal


class Loaded:
    """The guide's cache: the collections that were used last are loaded, and no others."""

    def __init__(self, most: int) -> None:
        self.most, self.kept, self.hits, self.misses = most, OrderedDict[str, Collection](), 0, 0

    def get(self, name: str) -> Collection:
        if name in self.kept:
            self.hits += 1
            self.kept.move_to_end(name)
            return self.kept[name]
        self.misses += 1
        if len(self.kept) >= self.most:
            self.kept.popitem(last=False)[1].release()
        self.kept[name] = Collection(name)
        self.kept[name].load()
        return self.kept[name]

    def clear(self) -> None:
        for each in self.kept.values():
            each.release()
        self.kept.clear()


@case
def case_2_134_the_collections_used_last_are_loaded_and_no_others(server: Server) -> None:
    server.connect()
    prefix = of.unique("coll")
    names = [f"{prefix}_{number}" for number in range(1, 7)]
    for name in names:
        of.filled(name, [of.key(), of.vector(2)], [[1], [[0, 1]]]).release()
    cache = Loaded(5)

    def states() -> dict[str, LoadState]:
        return {name: utility.load_state(name) for name in names}

    # Six that are new; then 1, which the sixth drove out, 2, which 1 drove out, and 3, which 2 did.
    for number in (1, 2, 3, 4, 5, 6, 1, 2, 3):
        cache.get(names[number - 1]).search([[0, 0]], "embedding", of.FLAT, 1)
        equal(states(), {name: LoadState.Loaded if name in cache.kept else LoadState.NotLoad for name in names}, "what is loaded")
    equal((cache.hits, cache.misses), (0, 9), "hits and misses")
    equal(list(cache.kept), [names[at - 1] for at in (5, 6, 1, 2, 3)], "what is kept")
    cache.clear()
    equal(set(states().values()), {LoadState.NotLoad}, "the states after all were released")


@case
def case_2_135_queries_by_priority_all_come_to_an_end(server: Server) -> None:
    target = of.documents(server)
    waiting: queue.PriorityQueue[tuple[int, int]] = queue.PriorityQueue()
    priorities = [0, 1, 2, 1, 0, 2, 1, 0, 2, 1]
    done: Counter[int] = Counter()
    guard = threading.Lock()
    for number, priority in enumerate(priorities):
        waiting.put((priority, number))

    def work() -> None:
        while True:
            try:
                priority, number = waiting.get_nowait()
            except queue.Empty:
                return
            hits = target.search([of.DOCUMENTS[number].tolist()], "embedding", of.FLAT, 1)[0]
            if of.ids(hits) == [number]:
                with guard:
                    done[priority] += 1
            waiting.task_done()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    waiting.join()
    for thread in threads:
        thread.join()
    equal(done, Counter({0: 3, 1: 4, 2: 3}), "the answers of high, medium and low priority")


@case
def case_2_136_an_answer_is_never_older_than_a_row(server: Server) -> None:
    server.connect()
    target = of.filled(of.unique("cached"), [of.key(), of.vector(2)], [[1, 2], [[5, 0], [6, 0]]])
    for _ in range(2):
        of.ranked(target.search([[0, 0]], "embedding", of.FLAT, 1)[0], [(1, 25)])
    target.insert([[3], [[1, 0]]])
    of.ranked(target.search([[0, 0]], "embedding", of.FLAT, 1)[0], [(3, 1)])
    target.delete("id == 3")
    of.ranked(target.search([[0, 0]], "embedding", of.FLAT, 1)[0], [(1, 25)])
