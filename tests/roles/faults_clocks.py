"""Wrong clocks: nodes an hour ahead and behind, clocks that are set while they run, and one that is fast. libfaketime stands between
the processes and their clock."""

from __future__ import annotations

import argparse
import os
import pathlib
import time
from typing import Any

from cluster import Cluster, Node
from history import Registers
from load import WRITES, Load, Stamps, Still, Workers, connect, make, until
from parts import all_alive, leader_of, part

LIBRARY = os.environ.get("FAKETIME_LIBRARY", "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")


class Clocks:
    """A file per node says how wrong its clock is; it is read again at each look at the clock."""

    def __init__(self, folder: pathlib.Path) -> None:
        if not pathlib.Path(LIBRARY).exists():
            raise SystemExit(f"there is no {LIBRARY}")
        self.folder = folder

    def environment(self, name: str, wrong: str) -> dict[str, str]:
        self.set(name, wrong)
        # The monotonic clock stays: nothing can be made of it that waits of the kernel, which end by it, agree with.
        return {"LD_PRELOAD": LIBRARY, "FAKETIME_TIMESTAMP_FILE": str(self.folder / f"{name}.clock"), "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1"}

    def set(self, name: str, wrong: str) -> None:
        unfinished = self.folder / f"{name}.clock.part"
        unfinished.write_text(wrong + "\n")
        unfinished.replace(self.folder / f"{name}.clock")


def shown(node: Node) -> float:
    """What the last line of a node's log says is the time, seconds against ours: the proof that its clock is wrong."""
    import datetime
    import re

    lines = re.findall(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", node.log.read_text(errors="replace"))
    stamp = datetime.datetime.strptime(lines[-1], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=datetime.timezone.utc)
    return stamp.timestamp() - time.time()


@part
def clocks(given: argparse.Namespace) -> dict[str, Any]:
    """An owner an hour ahead and one an hour behind, a coordinator ahead and its successor behind, proxies that disagree, a fast query
    node, and steps: time as clients see it only grows, and Strong reads are right."""
    with Cluster(proxies=0, coords=0, streaming=0, query=0, data=0, keep=given.keep) as cluster:
        clocks = Clocks(cluster.folder)

        def start(role: str, wrong: str, wait: bool = False) -> Node:
            name = f"{role}-{cluster.numbers.get(role, 0)}"
            return cluster.start(role, wait=wait, environment=clocks.environment(name, wrong))

        first = start("mixcoord", "+3600")
        start("datanode", "+0")
        owners = [start("streamingnode", "+3600"), start("streamingnode", "-3600")]
        start("querynode", "+0 x1.05")
        proxies = [start("proxy", "-3600"), start("proxy", "+3600")]
        for node in cluster.nodes.values():
            node.wait_healthy()
        second = start("mixcoord", "-3600", wait=True)
        wrong = {node.name: round(shown(node)) for node in (first, second, *owners, *proxies)}
        if any(abs(seconds) < 3000 for seconds in wrong.values()):
            raise AssertionError(f"the clocks are not wrong: {wrong}")
        client, other = connect(proxies[0].uri), connect(proxies[1].uri)
        still = Still(client, "still")
        make(client, "moving")
        workers = Workers()
        load = Load(workers, "moving", still, lambda: proxies[0].uri)
        registers = Registers(workers, "moving", lambda: cluster.uris, 4)
        stamps = Stamps(workers, [client, other])
        time.sleep(4)
        for _ in range(20 if given.long else 1):
            clocks.set(owners[0].name, "-3600")
            clocks.set(proxies[1].name, "-7200")
            time.sleep(2)
            clocks.set(owners[1].name, "+3600")
            clocks.set(first.name, "-3600")
            time.sleep(2)
            clocks.set(owners[0].name, "+0")
            clocks.set(proxies[1].name, "+3600")
            time.sleep(2)
            clocks.set(first.name, "+3600")
        killed = time.monotonic()
        if leader_of(cluster) is not first and leader_of(cluster) is not second:
            raise AssertionError("nobody leads")
        victim = first
        victim.kill()
        again = until("time from the other coordinator", 30, lambda: any(error is None for _, _, error in workers.of("timestamp", killed + 0.5)))
        time.sleep(3)
        workers.stop()
        workers.none_failed("search")
        failed = {kind: workers.failures(kind)[:2] for kind in WRITES if workers.failures(kind)}
        if failed:
            raise AssertionError(f"writes failed: {failed}")
        history = registers.check()
        rows = load.compare(client)
        still.check(client)
        all_alive(cluster, (victim,))
        return {"clocks s": wrong, "timestamps, each above all before": len(stamps.given), "time again after the leader's end s": round(again, 1), **history,
                **load.figures(), **workers.figures("register read"), "rows compared": rows}
