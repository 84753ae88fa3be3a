"""Owners of channels that sleep, die again and again, and come and go."""

from __future__ import annotations

import argparse
import re
import signal
import time
from collections import Counter
from typing import Any

from cluster import Cluster, Node
from history import Registers
from load import ONCE, WRITES, Still, Workers, connect, make, row, until, writing
from parts import all_alive, compared, part


def openings(nodes: list[Node]) -> list[tuple[str, str, str]]:
    """Each opening of a channel: when, which, by whom; ascending in time."""
    found = []
    for node in nodes:
        for line in re.sub(r"\x1b\[[0-9;]*m", "", node.log.read_text(errors="replace")).splitlines():
            if "log channel opened" not in line:
                continue
            moment, channel = re.search(r"\d{4}-\d\d-\d\dT[\d:.]+", line), re.search(r"channel=(\S+)", line)
            found.append((moment.group() if moment else "", channel.group(1) if channel else line, node.name))
    return sorted(found)


def owners(cluster: Cluster) -> Counter:
    """How many channels each node opened last."""
    last = {channel: name for _, channel, name in openings(list(cluster.nodes.values()))}
    return Counter(last.values())


@part
def zombie(given: argparse.Namespace) -> dict[str, Any]:
    """An owner is stopped until long after its channels have another one, and wakes among them."""
    asleep = 60 if given.long else 15
    with Cluster(streaming=2, proxies=2, keep=given.keep) as cluster:
        client = connect(cluster.uri)
        still = Still(client, "still")
        make(client, "moving", shards=4)
        workers = Workers()
        workers.searching(still, lambda: cluster.uri, 1, "Eventually")
        writers = writing(workers, "moving", lambda: cluster.uri, 2)
        registers = Registers(workers, "moving", lambda: cluster.uris, 4)
        prober, turns = connect(cluster.uri), iter(range(1, 1_000_000))

        def probe() -> None:
            """Rows on every channel, by a client that does not wait long: calls that hang at the sleeper say nothing of the others."""
            turn = next(turns)
            prober.upsert("moving", [row(key, turn) for key in range(700_000_000, 700_000_040)], timeout=2, **ONCE)

        workers.spawn(lambda: workers.timed("probe", probe), pause=0.1)
        time.sleep(4)
        victim = max(cluster.of("streamingnode"), key=lambda node: owners(cluster)[node.name])
        if not owners(cluster)[victim.name]:
            raise AssertionError("the node owns nothing")
        had, slept = owners(cluster)[victim.name], time.monotonic()
        victim.signal(signal.SIGSTOP)
        time.sleep(asleep)
        woke = time.monotonic()
        victim.signal(signal.SIGCONT)
        time.sleep(8)
        workers.stop()
        done = [moment + spent for moment, spent, error in workers.of("probe", slept + 0.5, woke) if error is None]
        if not done or min(done) - slept > 15:
            raise AssertionError(f"no write to all channels within 15 s: {workers.failures('probe', slept)[:2]}")
        longest = max(spent for kind in WRITES for _, spent, _ in workers.of(kind))
        workers.none_failed("search")
        history = registers.check()
        rows = compared(cluster, writers)
        still.check(client)
        all_alive(cluster)
        return {"asleep s": asleep, "channels it had": had, "writes again s": round(min(done) - slept, 1), "longest write s": round(longest, 1),
                "first success after it woke s": round(registers.first_after(woke), 2), **history, **workers.figures("search"), "rows compared": rows}


@part
def owner_kills(given: argparse.Namespace) -> dict[str, Any]:
    """Five kills of owners within thirty seconds; each gets a successor at once."""
    with Cluster(streaming=2, keep=given.keep) as cluster:
        client = connect(cluster.uri)
        still = Still(client, "still")
        make(client, "moving", shards=2)
        workers = Workers()
        workers.searching(still, lambda: cluster.uri, 1, "Eventually")
        writers = writing(workers, "moving", lambda: cluster.uri, 3)
        registers = Registers(workers, "moving", lambda: cluster.uris, 3)
        time.sleep(3)
        victims = []
        for _ in range(25 if given.long else 5):
            begin = time.monotonic()
            victims.append(cluster.of("streamingnode")[0])
            victims[-1].kill()
            cluster.start("streamingnode")
            time.sleep(max(0.0, 6 - (time.monotonic() - begin)))
        last = time.monotonic()
        until("writes again", 20, lambda: any(error is None for _, _, error in workers.of("insert", last)))
        again = time.monotonic() - last
        time.sleep(2)
        workers.stop()
        workers.none_failed("search")
        history = registers.check()
        rows = compared(cluster, writers)
        still.check(client)
        all_alive(cluster, tuple(victims))
        failed = sum(len(workers.failures(kind)) for kind in WRITES)
        opened = len(openings(list(cluster.nodes.values())))
        return {"kills": len(victims), "channels opened": opened, "writes failed": failed, "writes again s": round(again, 1), **history, "rows compared": rows}


@part
def flapping(given: argparse.Namespace) -> dict[str, Any]:
    """More channels than nodes, and one of the nodes comes and goes every ten seconds: nobody's channels move but its own, and to it
    a channel comes back at most once a minute."""
    seconds = 600 if given.long else 65
    with Cluster(streaming=3, keep=given.keep) as cluster:
        client = connect(cluster.uri)
        for number in range(4):
            make(client, f"c{number}", shards=2)
        workers = Workers()
        writers = writing(workers, "c0", lambda: cluster.uri, 2)
        time.sleep(6)
        flapper, stays = cluster.of("streamingnode")[0], cluster.of("streamingnode")[1:]
        begin, cycles = time.time(), 0
        while time.time() < begin + seconds:
            flapper.kill()
            time.sleep(6)
            flapper.start()
            flapper.wait_healthy()
            time.sleep(4)
            cycles += 1
        workers.stop()
        since = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(begin))
        moves: dict[str, list[tuple[float, str]]] = {}
        last: dict[str, str] = {}
        for moment, channel, name in openings(list(cluster.nodes.values())):
            # A channel that goes to the node that flaps goes there for balance; all else follows a loss.
            if moment >= since and name == flapper.name and last.get(channel) in {node.name for node in stays}:
                stamp = time.mktime(time.strptime(moment[:19], "%Y-%m-%dT%H:%M:%S"))
                moves.setdefault(channel, []).append((stamp, f"{last[channel]} → {name}"))
            if moment >= since and name != flapper.name and last.get(channel) not in (None, flapper.name, name):
                stamp = time.mktime(time.strptime(moment[:19], "%Y-%m-%dT%H:%M:%S"))
                moves.setdefault(channel, []).append((stamp, f"{last[channel]} → {name}"))
            last[channel] = name
        often = {channel: each for channel, each in moves.items() if any(b[0] - a[0] < 59 for a, b in zip(each, each[1:]))}
        if often:
            raise AssertionError(f"moved for balance more than once a minute: {often}")
        rows = compared(cluster, writers)
        all_alive(cluster)
        failed = sum(len(workers.failures(kind)) for kind in WRITES)
        return {"cycles": cycles, "channels": len(last), "moves for balance": sum(map(len, moves.values())), "writes failed": failed, "rows compared": rows}
