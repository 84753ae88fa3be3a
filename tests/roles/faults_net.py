"""Networks that break: between roles, and between and to the members of etcd. Every process has a namespace of its own."""

from __future__ import annotations

import argparse
import itertools
import signal
import threading
import time
from typing import Any, Callable

from pymilvus import DataType, MilvusClient

from cluster import Cluster
from history import Levels, Operation, Registers, is_linear
from load import DIM, ONCE, Load, Still, Workers, connect, make, row, until
from network import Network
from parts import all_alive, full, leader_of, part

TARGETS = [f"t{number}" for number in range(4)]


class Aliases:
    """The catalog as registers: two clients point aliases at collections and read where they point, through two proxies."""

    def __init__(self, workers: Workers, addresses: list[str], aliases: int) -> None:
        client = connect(addresses[0])
        for name in TARGETS:
            client.create_collection(name, dimension=4, **ONCE)
        for number in range(aliases):
            client.create_alias(TARGETS[0], f"a{number}", **ONCE)
        self.workers, self.aliases, self.count, self.lock = workers, aliases, itertools.count(), threading.Lock()
        begin = time.monotonic()
        self.operations = {number: [Operation(begin, begin, False, 0)] for number in range(aliases)}
        for number, address in enumerate([*addresses, *addresses]):
            workers.spawn(self.body(number, connect(address)), pause=0.1)

    def body(self, number: int, client: Any) -> Callable[[], None]:
        def once() -> None:
            turn = next(self.count)
            alias, target = turn // 24 % self.aliases, turn % len(TARGETS)
            read: list[int] = []

            def write() -> None:
                client.alter_alias(TARGETS[target], f"a{alias}", **ONCE)

            def look() -> None:
                read.append(TARGETS.index(client.describe_alias(f"a{alias}", **ONCE)["collection_name"]))

            begin = time.monotonic()
            done = self.workers.timed("alias read" if number % 2 else "alias switch", look if number % 2 else write)
            if number % 2 and not done:
                return
            with self.lock:
                self.operations[alias].append(Operation(begin, time.monotonic() if done else None, bool(number % 2), read[0] if read else target))

        return once

    def check(self) -> dict[str, int]:
        for alias, operations in self.operations.items():
            if not is_linear(operations):
                shown = "\n".join(map(str, sorted(operations, key=lambda each: each.begin)))
                raise AssertionError(f"the history of alias {alias} is not linear:\n{shown}")
        total = sum(map(len, self.operations.values()))
        return {"changes and reads of aliases, linear": total, "switches failed": len(self.workers.failures("alias switch"))}


class Growing:
    """A collection with a graph over each of its sealed segments, one more of which is made at a time."""

    ROWS = 1500  # of a segment: enough for a graph

    def __init__(self, client: MilvusClient) -> None:
        self.client, self.name, self.rows = client, "growing", 0
        schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("value", DataType.INT64)
        schema.add_field("vec", DataType.FLOAT_VECTOR, dim=DIM)
        index = client.prepare_index_params()
        index.add_index("vec", index_type="HNSW", metric_type="L2", params={"M": 8, "efConstruction": 50})
        client.create_collection(self.name, schema=schema, num_shards=1, properties={"collection.autocompaction.enabled": "false"})
        client.create_index(self.name, index)

    def grow(self) -> None:
        for first in range(self.rows, self.rows + self.ROWS, 500):
            self.client.insert(self.name, [row(key, 0) for key in range(first, first + 500)])
        self.client.flush(self.name)
        self.rows += self.ROWS

    def is_indexed(self) -> bool:
        return int(self.client.describe_index(self.name, self.client.list_indexes(self.name)[0])["indexed_rows"]) == self.rows


def nodding(process: Any, ended: threading.Event) -> None:
    """Two seconds asleep, a moment awake, over and over: a member that answers, but slowly."""
    while not ended.is_set():
        process.signal(signal.SIGSTOP)
        ended.wait(2)
        process.signal(signal.SIGCONT)
        ended.wait(0.3)


@part
def network(given: argparse.Namespace) -> dict[str, Any]:
    """Members of etcd die, nod and are cut off; then links between roles break in one direction or both, packets are lost and come in
    another order. All the while keys and aliases are written and read through two proxies, and each must have the history of one
    register; reads of a session show its writes, and Bounded ones are no older than they may be."""
    seconds = 60 if given.long else 7
    where = Network()
    with Cluster(proxies=2, coords=2, streaming=2, query=2, where=where, keep=given.keep) as cluster:
        client = connect(cluster.uri)
        still = Still(client, "still", replicas=2)
        make(client, "moving", replicas=2)
        growing = Growing(client)
        workers = Workers()
        load = Load(workers, "moving", still, lambda: cluster.uri, "Eventually")
        aliases = Aliases(workers, cluster.uris, 200 if given.long else 40)
        registers = Registers(workers, "moving", lambda: cluster.uris, 4, turns=30)
        levels = Levels(workers, "moving", lambda: cluster.uris)
        time.sleep(3)
        figures: dict[str, Any] = {}

        def alive_again(what: str, moment: float) -> float:
            """Seconds from a moment until keys and aliases can be written again."""
            kinds = ("register upsert", "register read", "alias switch", "alias read", "insert", "change", "Session read", "Bounded read")

            def again() -> bool:
                lacking = [kind for kind in kinds if not any(error is None for _, _, error in workers.of(kind, moment))]
                if lacking:
                    last = {kind: workers.failures(kind, moment)[-1:] for kind in lacking}
                    raise AssertionError(f"none of these succeeded: {last}")
                return True

            until(f"progress after {what}", 15, again)
            return round(time.monotonic() - moment, 1)

        def switched(what: str, since: float) -> None:
            if not any(error is None for _, _, error in workers.of("alias switch", since)):
                raise AssertionError(f"no change of the catalog succeeded while {what}")

        # 11: one member of three.
        victim = cluster.servers["etcd-0"]
        begin = time.monotonic()
        victim.kill()
        time.sleep(seconds)
        switched("a member was down", begin)
        victim.start()
        begin, ended = time.monotonic(), threading.Event()
        nodder = threading.Thread(target=nodding, args=(cluster.servers["etcd-1"], ended), daemon=True)
        nodder.start()
        time.sleep(max(seconds, 10))
        ended.set()
        nodder.join()
        switched("a member nodded", begin)
        begin = time.monotonic()
        where.apart(["etcd-2"], [name for name in where.hosts if name != "etcd-2"])
        time.sleep(seconds)
        switched("a member was cut off", begin)
        lost, healed = where.heal(), time.monotonic()
        figures["etcd: changes again s"] = alive_again("a member of etcd was cut off", healed)
        # There is always a majority: no change is refused or given up, though one that waits for a silent member may be slow.
        hurt = [call for kind in ("alias switch", "change") for call in workers.of(kind, 0.0, healed)]
        failed = [error for _, _, error in hurt if error and not error.startswith("took ")]
        slowest = max(took for _, took, _ in hurt)
        if failed or slowest > 15:
            raise AssertionError(f"{len(failed)} of {len(hurt)} changes failed by one member of etcd, the slowest took {slowest:.1f} s: {failed[:4]}")
        figures.update({"changes while etcd was hurt, none failed": len(hurt), "slowest of them s": round(slowest, 1)})

        # 27: links between roles.
        proxy, follower = cluster.of("proxy")[0].name, cluster.of("querynode")[0].name
        roles = [node.name for node in cluster.nodes.values()]

        def but(*some: str) -> list[str]:
            return [name for name in roles if name not in some]

        coordinators = [node.name for node in cluster.of("mixcoord")]

        def owner_alone() -> None:
            where.apart([cluster.of("streamingnode")[0].name], coordinators)

        def worker_alone() -> None:
            """With work to be given to it."""
            where.apart([cluster.of("datanode")[0].name], coordinators)
            growing.grow()

        def work_is_done() -> float:
            return round(until("an index of what was sealed meanwhile", 60, growing.is_indexed), 1)

        def copies_are_there() -> float:
            return round(until("both copies", 60, lambda: full(client, "still", 2, 2) and full(client, "moving", 2, 2)), 1)

        def leader_deaf() -> None:
            leader = leader_of(cluster).name
            where.deaf(leader, but(leader))

        def leader_without_etcd() -> None:
            where.apart([leader_of(cluster).name], ["etcd-0", "etcd-1", "etcd-2"])

        cuts: dict[str, Callable[[], None]] = {
            "proxy deaf to an owner": lambda: where.deaf(proxy, [cluster.of("streamingnode")[0].name]),
            "follower deaf to an owner": lambda: where.deaf(follower, [cluster.of("streamingnode")[1].name]),
            "owner apart from coordinators": owner_alone,
            "leader deaf": leader_deaf,
            "leader apart from etcd": leader_without_etcd,
            "proxy deaf to a query node": lambda: where.deaf(proxy, [follower]),
            "query node apart from coordinators": lambda: where.apart([follower], coordinators),
            "data node apart from coordinators": worker_alone,
            "owner deaf to the store": lambda: where.deaf(cluster.of("streamingnode")[1].name, ["store"]),
            "5 % loss": lambda: where.lossy(0.05),
            "another order": where.reorder,
        }
        # What is not seen by anybody who reads or writes, and has to be well again, too.
        besides = {"query node apart from coordinators": ("both copies s", copies_are_there), "data node apart from coordinators": ("index s", work_is_done)}
        failed_searches: dict[str, int] = {}
        slowest_searches: dict[str, float] = {}
        for name, cut in cuts.items():
            begin = time.monotonic()
            cut()
            time.sleep(seconds)
            if name.startswith("data node") and growing.is_indexed():
                raise AssertionError(f"{name}: an index was made meanwhile, so the node was not apart")
            packets, healed = where.heal(), time.monotonic()
            if packets == 0:
                raise AssertionError(f"{name}: not one packet was lost or late")
            lost += packets
            figures[f"after {name} s"] = alive_again(name, healed)
            searches = workers.of("search", begin, healed)
            slowest_searches[name] = round(max((took for _, took, _ in searches), default=0.0), 1)
            if failed := sum(error is not None for _, _, error in searches):
                failed_searches[name] = failed
            if name in besides:
                what, well = besides[name]
                figures[f"after {name}, {what}"] = well()
        workers.stop()
        figures.update(aliases.check())
        figures.update(registers.check())
        figures.update(levels.check())
        rows = load.compare(client)
        still.check(client)
        all_alive(cluster)
        return {"packets lost or late on purpose": lost, **figures, "searches failed while it was so": failed_searches,
                "slowest search then s": slowest_searches, **load.figures(), **workers.figures("register read"), "rows compared": rows}
