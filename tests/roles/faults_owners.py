"""Owners of channels that sleep, die again and again, and come and go."""

from __future__ import annotations

import argparse
import pathlib
import re
import signal
import sys
import threading
import time
from collections import Counter
from typing import Any

from between import Between
from cluster import Cluster, Node, Process, free_port
from history import Registers
from faults_admin import shown
from load import ONCE, WRITES, Load, Repeater, Still, Workers, connect, make, row, until
from parts import all_alive, part


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


def fenced(node: Node, since: int) -> list[str]:
    """Channels whose writer at this node found, after so many bytes of its log, that a later owner's fence refuses what it appends."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", node.log.read_bytes()[since:].decode(errors="replace"))
    return re.findall(r"a log writer was superseded channel=(\S+)", text)


def owners(cluster: Cluster) -> Counter:
    """How many channels each node opened last."""
    last = {channel: name for _, channel, name in openings(list(cluster.nodes.values()))}
    return Counter(last.values())


@part
def zombie(given: argparse.Namespace) -> dict[str, Any]:
    """An owner is stopped until long after its channels have another one, and wakes among them. Then one is stopped amid appends that
    are on their way to the store and come there once another one has opened the channels: a fence must refuse them."""
    asleep = 60 if given.long else 15
    with Cluster(streaming=0, proxies=2, keep=given.keep) as cluster:
        # Each has a way of its own to the store.
        control, ports = free_port(), [free_port(), free_port()]
        links = [f"streamingnode-{number}=http:127.0.0.1:{port}:{cluster.store}" for number, port in enumerate(ports)]
        script = pathlib.Path(__file__).with_name("between.py")
        cluster.servers["between"] = Process("between", [sys.executable, script, control, *links], cluster.folder)
        between = Between(control)
        for port in ports:
            cluster.start("streamingnode", environment={"MINIO_ADDRESS": f"127.0.0.1:{port}"})
        client = connect(cluster.uri)
        still = Still(client, "still")
        make(client, "moving", shards=4)
        workers = Workers()
        load = Load(workers, "moving", still, lambda: cluster.uri, "Eventually")
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
        # The second one: what it sends to the store is held on its way, and passed on before it wakes.
        late = max(cluster.of("streamingnode"), key=lambda node: owners(cluster)[node.name])
        between.rule(late.name, silent=True)
        time.sleep(0.5)
        said, held = late.log.stat().st_size, time.monotonic()
        late.signal(signal.SIGSTOP)
        until("another owner of all channels", 15, lambda: any(error is None for _, _, error in workers.of("probe", held + 0.5)))
        taken = time.monotonic() - held
        between.rule(late.name)
        time.sleep(0.3)
        late.signal(signal.SIGCONT)
        time.sleep(5)
        workers.stop()
        done = [moment + spent for moment, spent, error in workers.of("probe", slept + 0.5, woke) if error is None]
        if not done or min(done) - slept > 15:
            raise AssertionError(f"no write to all channels within 15 s: {workers.failures('probe', slept)[:2]}")
        longest = max(spent for kind in WRITES for _, spent, _ in workers.of(kind))
        refused = fenced(late, said)
        if not refused:
            raise AssertionError(f"no append that came to the store {taken:.1f} s late was refused by a fence:\n{late.tail()}")
        workers.none_failed("search")
        history = registers.check()
        rows = load.compare(client)
        still.check(client)
        all_alive(cluster)
        return {"asleep s": asleep, "channels it had": had, "writers of late appends that met a fence": len(refused), "writes again s": round(min(done) - slept, 1), "longest write s": round(longest, 1),
                "first success after it woke s": round(registers.first_after(woke), 2), **history, **load.figures(), "rows compared": rows}


@part
def owner_kills(given: argparse.Namespace) -> dict[str, Any]:
    """Five kills of owners within thirty seconds; each gets a successor at once, which knows the inserts of the one before, also those
    that an impatient client sends again."""
    with Cluster(streaming=2, keep=given.keep) as cluster:
        client = connect(cluster.uri)
        still = Still(client, "still")
        make(client, "moving", shards=2)
        make(client, "repeated")
        workers = Workers()
        load = Load(workers, "moving", still, lambda: cluster.uri, "Eventually")
        registers = Registers(workers, "moving", lambda: cluster.uris, 3)
        repeater = Repeater(workers, "insert", "repeated", cluster.uri)
        workers.spawn(repeater, pause=0.01)
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
        history = {**registers.check(), **repeater.check(client)}
        rows = load.compare(client)
        still.check(client)
        all_alive(cluster, tuple(victims))
        opened = len(openings(list(cluster.nodes.values())))
        return {"kills": len(victims), "channels opened": opened, **load.figures(), "writes again s": round(again, 1), **history, "rows compared": rows}


@part
def flapping(given: argparse.Namespace) -> dict[str, Any]:
    """More channels than nodes, and one of the nodes comes and goes every ten seconds: nobody's channels move but its own, and to it
    a channel comes back at most once a minute. The common load without its changes of the catalog: collections that come and go
    would be moves of their own."""
    seconds = 600 if given.long else 65
    with Cluster(streaming=3, keep=given.keep) as cluster:
        client = connect(cluster.uri)
        for number in range(4):
            make(client, f"c{number}", shards=2)
        still = Still(client, "still")
        workers = Workers()
        load = Load(workers, "c0", still, lambda: cluster.uri, "Eventually", changes=False)
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
        workers.none_failed("search")
        rows = load.compare(client)
        all_alive(cluster)
        return {"cycles": cycles, "channels": len(last), "moves for balance": sum(map(len, moves.values())), **load.figures(), "rows compared": rows}


def numbers_of(proxy: Node, node: Node) -> set[int]:
    """The numbers under which a process is listed; one that died may still be, beside its successor."""
    return {each["id"] for each in shown(proxy, "nodes")["nodes"] if each["address"] == f"{node.host}:{node.internal}"}


class Leaders:
    """Which query node leads each copy of each channel, looked at several times a second."""

    def __init__(self, uri: str, names: list[str]) -> None:
        self.client, self.names = connect(uri), names
        self.ended = threading.Event()
        self.seen: dict[tuple[int, str], list[tuple[float, int]]] = {}  # copy of a channel → when another node led it, and which
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def watch(self) -> None:
        while not self.ended.wait(0.2):
            for name in self.names:
                try:
                    replicas = self.client.describe_replica(name, timeout=5)
                except Exception:  # looked at again soon
                    continue
                for replica in replicas:
                    for shard in replica.shards:
                        found = self.seen.setdefault((replica.id, shard.channel_name), [])
                        if shard.shard_leader > 0 and (not found or found[-1][1] != shard.shard_leader):
                            found.append((time.monotonic(), shard.shard_leader))

    def stop(self) -> None:
        self.ended.set()
        self.thread.join(10)


@part
def flapping_readers(given: argparse.Namespace) -> dict[str, Any]:
    """More channels than query nodes, each with two copies, and one of the nodes dies and comes back every ten seconds: a copy of a
    channel is taken from a node that lives at most once a minute, and every collection has somebody who answers all the while. The
    common load without its changes of the catalog, which would be moves of their own."""
    seconds = 600 if given.long else 65
    # Two for each copy, so that one that dies leaves its copy to the other, and no node is taken from the other copy.
    with Cluster(query=4, keep=given.keep) as cluster:
        client = connect(cluster.uri)
        names = [f"c{number}" for number in range(4)]
        stills = [Still(client, name, replicas=2, sealed=600, growing=60) for name in names]
        make(client, "moving", replicas=2)
        workers = Workers()
        load = Load(workers, "moving", stills, lambda: cluster.uri, changes=False)
        for number, still in enumerate(stills):
            workers.searching(still, lambda: cluster.uri, 1, kind=f"search of c{number}")
        leaders = Leaders(cluster.uri, names)
        time.sleep(6)
        flapper = cluster.of("querynode")[0]
        proxy = cluster.of("proxy")[0]
        begin, cycles = time.monotonic(), 0
        flappers: set[int] = set()
        while time.monotonic() < begin + seconds:
            # A node that starts again has a number of its own.
            flappers |= numbers_of(proxy, flapper)
            flapper.kill()
            time.sleep(6)
            flapper.start()
            flapper.wait_healthy()
            time.sleep(4)
            cycles += 1
        flappers |= numbers_of(proxy, flapper)
        workers.stop()
        leaders.stop()
        moves: dict[tuple[int, str], list[tuple[float, str]]] = {}
        for copy, led in leaders.seen.items():
            for (_, before), (moment, after) in zip(led, led[1:]):
                # What leaves the node that dies follows its death; all else is taken from a node that lives.
                if moment >= begin and before not in flappers:
                    moves.setdefault(copy, []).append((moment, f"{before} → {after}"))
        often = {copy: each for copy, each in moves.items() if any(b[0] - a[0] < 59 for a, b in zip(each, each[1:]))}
        if often:
            raise AssertionError(f"taken from a node that lives more than once a minute: {often}")
        gaps = {}
        for number in range(len(names)):
            kind = f"search of c{number}"
            good = [began + took for began, took, error in workers.of(kind, begin) if error is None]
            gaps[names[number]] = round(max((b - a for a, b in zip(good, good[1:])), default=float("inf")), 2)
            workers.none_failed(kind, 0.001)
        workers.none_failed("search", 0.001)
        rows = load.compare(client)
        for still in stills:
            still.check(client)
        all_alive(cluster)
        return {"cycles": cycles, "copies of channels": len(leaders.seen), "moves for balance": sum(map(len, moves.values())),
                "longest time without an answer s": gaps, **load.figures(), "rows compared": rows}
