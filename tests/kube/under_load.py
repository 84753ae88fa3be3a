"""Changes of a database under load, in the network of its cluster: at 80 % of what it can do, clients without retries.

    under_load.py SAMPLE OTHER_IMAGE [--record] [WORD …]     KUBECONFIG names the cluster; only the changes whose name contains a word
    SECONDS_EACH=n (180)       how long each change is measured at least

All pods of the database may use one core together, also while some of them are there twice. What it can do is measured in the same run, for each
number of query nodes that a change begins with: right answers a second to clients that ask again at once, the median of three laps, while
rows are written. Then searches come at 80 % of that, first in a quiet time and then while the change is made. Of each change is told, and
held against what is promised: requests that failed (none), acknowledged rows that are lost (none), and the p99 of searches outside the 20 s
after the start of a container (at most 1.5 times that of the quiet time); these 20 s may be a third of the time. A change that
starts many containers is measured for longer, until they are.
"""

from __future__ import annotations

import datetime
import itertools
import json
import os
import statistics
import sys
import time
from contextlib import contextmanager
from typing import Any, Callable, Iterator, NamedTuple

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path += [os.path.join(HERE, "..", "roles"), os.path.join(HERE, "..", "bench")]

import numpy as np
from pymilvus import MilvusClient

from guides import DEFAULT, Guides, copies
from guides import load as with_copies
from load import K, WRITES, Workers, Writer, make
from loading import index_built
from many import commit
from quota import model
from steady import Call, Pods, Question, Searches, Trust, Watch, outside, p99, question, windows
from suite import SMALL, Failed, World, await_ready, beside, condition, equal, get, kubectl, ready_pod, replica_groups, roles_patch, roles_spec, run_claims, until

CLAIMS: list[Callable[["UnderLoad"], None]] = []
RESULTS = os.path.join(HERE, "..", "..", "docs", "results", "load.md")

# Thousandths of a core of one pod, and how many there are. Three query nodes come to 980, and one pod more of any component beside one
# query node to 860.
LIMITS = {"mixCoord": 80, "streamingNode": 100, "queryNode": 120, "dataNode": 80, "proxy": 80}
STORE_LIMITS = {"etcd": 120, "storage": 80}
COMPONENTS = {"mixcoord": "mixCoord", "streamingnode": "streamingNode", "querynode": "queryNode", "datanode": "dataNode", "proxy": "proxy"}
PODS = {"mixcoord": 1, "streamingnode": 1, "datanode": 1, "proxy": 2}
CORE = 1000

# What is promised.
SHARE = 0.8
RATIO = 1.5
AFTER_A_START = 20.0
LEFT_OUT = 1 / 3

# Unit: seconds.
EACH = float(os.environ.get("SECONDS_EACH", "180"))
QUIET = EACH * 2 / 3
LAP = min(30.0, EACH / 6)
STAYS = EACH / 6
LONGEST = 6 * EACH
# Clients of a lap, and writers beside them with the time between their writes.
CLIENTS = 16
WRITERS, PAUSE, BATCH = 2, 0.4, 10

# What is searched: so many parts that three query nodes can share them, and wide rows, so that the work is that of the query nodes.
WIDTH, PARTS, PART = 256, 6, 3_000


class Times(NamedTuple):
    """When the quiet time began, when the change did, and when its measurement ended."""

    quiet: float
    begin: float
    end: float


class Broad:
    """A collection that does not change, and the exact answer to each of its questions."""

    name = "still"

    def __init__(self, client: MilvusClient) -> None:
        if client.has_collection(self.name):
            client.drop_collection(self.name)
        make(client, self.name, dim=WIDTH)
        client.release_collection(self.name)
        # Else its parts would become one.
        client.alter_collection_properties(self.name, {"collection.autocompaction.enabled": "false"})
        rng = np.random.default_rng(17)
        self.matrix = rng.standard_normal((PARTS * PART, WIDTH)).astype(np.float32)
        for first in range(0, len(self.matrix), 250):
            client.insert(self.name, [{"id": key, "value": 0, "vec": self.matrix[key].tolist()} for key in range(first, first + 250)])
            if (first + 250) % PART == 0:
                client.flush(self.name)
        until("the index is built", 300, lambda: index_built(client, self.name, "vec"))
        client.load_collection(self.name)
        self.questions = [self.asked(query) for query in rng.standard_normal((64, WIDTH)).astype(np.float32)]

    def asked(self, query: np.ndarray) -> Question:
        scores = ((self.matrix.astype(np.float64) - query.astype(np.float64)) ** 2).sum(axis=1)
        return question(self.name, "vec", query, [int(key) for key in np.argsort(scores, kind="stable")[:K]])

    def check(self, client: MilvusClient) -> None:
        counted = client.query(self.name, filter="", output_fields=["count(*)"], consistency_level="Strong")[0]["count(*)"]
        equal(counted, len(self.matrix), "rows of the collection that does not change")


class Writing(Writer):
    """A writer that connects anew when other authorities are to be trusted."""

    def __init__(self, workers: Workers, name: str, load: "UnderLoad", number: int) -> None:
        super().__init__(workers, name, lambda: load.uri, number, batch=BATCH)
        self.trust, self.trusted = load.trust, ""

    def __call__(self) -> None:
        text, made = self.trust.text(), []
        if text != self.trusted:
            if not self.workers.timed("connect", lambda: made.append(self.trust.client(self.address()))):
                return
            if self.client:
                self.client.close()
            self.uri, self.client, self.trusted = self.address(), made[0], text
        super().__call__()


def asked_for() -> dict[str, Any]:
    gone = {"deletionPolicy": "Delete", "pvcDeletion": True}

    def limited(amount: int) -> dict[str, Any]:
        return {**SMALL, "limits": {"cpu": f"{amount}m"}}

    components: dict[str, Any] = {component: {"resources": limited(amount)} for component, amount in LIMITS.items()}
    for role, count in {**PODS, "querynode": 1}.items():
        components[COMPONENTS[role]]["replicas"] = count
    redkite = {"certificates": {"clients": {}, "nodes": {}, "overlapHours": 0}}
    spec = roles_spec(components=components, policy=gone, storage_policy=gone, redkite=redkite)
    for store, amount in STORE_LIMITS.items():
        about = spec["dependencies"][store]["inCluster"]
        about["values"] = {**about["values"], "resources": limited(amount)}
    return spec


class UnderLoad(Guides):
    """A database of roles whose pods have limits, over TLS, and what is measured of it."""

    def __init__(self, sample: str, other_image: str, record: bool) -> None:
        World.__init__(self, sample, other_image)
        self.name, self.record = "kite", record
        self.namespace = self.make_namespace("load", **{"pod-security.kubernetes.io/enforce": "restricted"})
        self.uri = f"https://{self.name}-milvus.{self.namespace}:19530"
        self.watches: dict[str, Watch] = {}
        self.pods_seen: Pods | None = None
        self.searches: Searches | None = None
        self.capacities: dict[int, float] = {}
        self.numbers = itertools.count()

    @contextmanager
    def client(self, namespace: str | None = None) -> Iterator[MilvusClient]:
        client = self.trust.client(self.uri)
        try:
            yield client
        finally:
            client.close()

    def up(self) -> None:
        if self.searches:
            return
        if not self.watches:
            self.pods_seen = Pods(self.namespace)
            for kind in ("milvus", "milvusresourcegroup", "milvuscollection", "secret"):
                self.watches[kind] = Watch(kind, self.namespace).start()
        self.apply({**self.milvus(), "spec": asked_for()})
        await_ready(self.name, self.namespace, 600)
        self.settled(**PODS, querynode=1)
        until("the certificates are issued", 120, lambda: self.certified() == "CertificatesValid")
        self.trust = Trust(self.watches["secret"], f"{self.name}-client-tls")
        with self.client() as client:
            self.still = Broad(client)
        self.searches = Searches(self.uri.removeprefix("https://"), self.trust, self.still.questions)
        self.searches.connect()
        amounts = ", ".join(f"{name} {amount} m" for name, amount in {**LIMITS, **STORE_LIMITS}.items())
        print(f"        limits of one pod: {amounts}; pods: {PODS}, query nodes as said; {len(self.still.matrix)} rows of {WIDTH} numbers", flush=True)

    def certified(self) -> str | None:
        return condition(self.watches["milvus"].named(self.name), "CertificatesReady").get("reason")

    def ready(self, kind: str, name: str, seconds: float = 300) -> dict[str, Any]:
        """The object, once it is Ready at the generation that it has now, or a later one."""
        wanted = (get(kind, name, self.namespace) or {})["metadata"]["generation"]

        def done() -> dict[str, Any]:
            found = self.watches[kind].named(name) or {"metadata": {"generation": 0}}
            about, generation = condition(found, "Ready"), found["metadata"]["generation"]
            if generation < wanted or (about.get("status"), about.get("observedGeneration")) != ("True", generation):
                raise Failed(json.dumps(found.get("status", {}))[:600])
            return found

        return until(f"{kind}/{name} is Ready", seconds, done)

    def settled(self, **replicas: int) -> None:
        """As that of guides, but told by the API server: to ask it all the time would take a part of the machine."""
        self.ready("milvus", self.name, 400)
        until(f"{replicas} pods", 300, lambda: self.pods_are(replicas))

    def pods_are(self, replicas: dict[str, int], image: str | None = None) -> bool:
        """Whether there are just these pods of the database, all of them serve, and none is about to go; all with that image."""
        found: dict[str, list[bool]] = {role: [] for role in replicas}
        for pod in self.pods_seen.watch.all():
            labels = pod["metadata"].get("labels", {})
            if labels.get("app.kubernetes.io/name") == "milvus" and (role := labels.get("app.kubernetes.io/component")) in found:
                is_right = image in (None, pod["spec"]["containers"][0]["image"])
                found[role].append(is_right and ready_pod(pod) and not pod["metadata"].get("deletionTimestamp"))
        if found != {role: [True] * count for role, count in replicas.items()}:
            raise Failed(str(found))
        return True

    def resize(self, count: int) -> None:
        roles_patch(self, self.namespace, {"components": {"queryNode": {"replicas": count}}})
        self.settled(**PODS, querynode=count)

    def on_nodes(self, count: int) -> None:
        """Waits until so many query nodes share the one copy of what is searched."""
        with self.client() as client:

            def shared() -> bool:
                found = copies(client, Broad.name)
                if [len(nodes) for nodes in found] != [count]:
                    raise Failed(str(found))
                return True

            until(f"one copy on {count} query nodes", 120, shared)

    def calm(self) -> None:
        """Waits until the last start of a container is long ago."""
        until("no container starts", 300, lambda: not self.pods_seen.started(time.monotonic() - AFTER_A_START - 5, float("inf")))

    def capacity(self, nodes: int) -> float:
        """Right answers a second with so many query nodes."""
        if nodes not in self.capacities:
            self.searches.capacity(CLIENTS, LAP * 2 / 3)
            begin = time.monotonic()
            laps = [self.searches.capacity(CLIENTS, LAP) for _ in range(3)]
            failed = [call.error for call in self.searches.of(begin, time.monotonic(), "closed") if call.error]
            self.capacities[nodes] = statistics.median(laps)
            told = ", ".join(f"{lap:.1f}" for lap in laps)
            print(f"        capacity with {nodes} query nodes: {told} searches a second of {CLIENTS} clients, {len(failed)} failed {failed[:2]}", flush=True)
        return self.capacities[nodes]

    @contextmanager
    def writing(self) -> Iterator[tuple[Workers, list[Writing]]]:
        """Writers of a collection of their own, until the block ends; then it is compared by `compared`."""
        with self.client() as client:
            name = f"written_{next(self.numbers)}"
            make(client, name)
        workers = Workers()
        writers = [Writing(workers, name, self, number) for number in range(WRITERS)]
        for writer in writers:
            workers.spawn(writer, PAUSE)
        try:
            yield workers, writers
        finally:
            workers.stop()
            for writer in writers:
                if writer.client:
                    writer.client.close()

    def compared(self, writers: list[Writing]) -> int:
        """Every row that was acknowledged, by value. Returns how many there are; the collection is dropped."""
        with self.client() as client:
            self.still.check(client)
            rows = sum(writer.compare(client) for writer in writers)
            counted = client.query(writers[0].name, filter="", output_fields=["count(*)"], consistency_level="Strong")[0]["count(*)"]
            equal(counted, rows, "rows that are counted, and rows that were found by their keys")
            client.drop_collection(writers[0].name)
        return rows

    def as_before(self) -> None:
        """Undoes what a change that failed may have left."""
        kubectl("-n", self.namespace, "delete", "milvuscollection", "--all", "--timeout=60s")
        with self.client() as client:
            with_copies(client, Broad.name, 1, 180, resource_groups=[DEFAULT])
        kubectl("-n", self.namespace, "delete", "milvusresourcegroup", "--all", "--timeout=180s")

    def left_out(self, begin: float, end: float) -> list[tuple[float, float]]:
        return windows(self.pods_seen.started(begin - AFTER_A_START, end), AFTER_A_START, begin, end)

    def measured(self, name: str, nodes: int, steps: Callable[["UnderLoad"], str]) -> None:
        self.up()
        self.as_before()
        self.resize(nodes)
        self.on_nodes(nodes)
        self.pods_seen.most = self.pods_seen.limits()
        with self.writing() as (workers, writers):
            self.calm()
            rate = SHARE * self.capacity(nodes)
            if rate < 5:
                raise Failed(f"{rate:.1f} searches a second say nothing")
            with self.searches.rate(rate):
                time.sleep(LAP / 3)
                self.calm()
                quiet = time.monotonic()
                time.sleep(QUIET)
                begin = time.monotonic()
                said = steps(self)
                changed = time.monotonic() - begin
                end = self.measured_on(begin)
        self.told(name, nodes, rate, said, changed, Times(quiet, begin, end), workers, writers)

    def measured_on(self, begin: float) -> float:
        """Goes on until it has been long enough, and what is left out is a small enough part of it. Returns when that is."""
        while True:
            now = time.monotonic()
            long = now - begin
            if long >= LONGEST or (long >= EACH and total(self.left_out(begin, now)) <= LEFT_OUT * long):
                return now
            time.sleep(1)

    def told(
        self, name: str, nodes: int, rate: float, said: str, changed: float, times: Times, workers: Workers, writers: list[Writing],
    ) -> None:
        """Says and records what was measured, and fails if a promise is broken."""
        quiet, begin, end = times
        left_out = self.left_out(begin, end)
        searches = self.searches.of(begin, end, "search", "new")
        before = self.searches.of(quiet, begin, "search", "new")
        writes, writes_before = (writes_of(workers, since, till) for since, till in ((begin, end), (quiet, begin)))
        broken = [f"containers started in the quiet time, {at - quiet:.0f} s after it began" for at in self.pods_seen.started(quiet - AFTER_A_START, begin)]
        for what, calls in (("searches", before + searches), ("writes", writes_before + writes)):
            if failed := [f"{call.error} ({call.due - begin:+.1f} s)" for call in calls if call.error]:
                broken.append(f"{len(failed)} of {len(calls)} {what} failed, with the quiet time: {failed[:4]}")
        try:
            rows = self.compared(writers)
        except AssertionError as error:
            rows = 0
            broken.append(f"rows: {error}")
        figures = {
            "change": name.replace("_", " "),
            "query nodes": nodes,
            "capacity": f"{self.capacities[nodes]:.1f}",
            "searches a second": f"{rate:.1f}",
            "seconds": f"{end - begin:.0f}",
            "the change took": f"{changed:.0f}",
            "searches": f"{len(searches):,}",
            "failed": count_failed(searches),
            "writes": f"{len(writes):,}",
            "failed writes": count_failed(writes),
            "rows compared": f"{rows:,}",
        }
        of_quiet = p99([call for call in before if call.kind == "search"])
        meanwhile = p99(outside([call for call in searches if call.kind == "search"], left_out))
        share = total(left_out) / (end - begin)
        figures |= {
            "p99 quiet": f"{of_quiet:.0f}",
            "p99 meanwhile": f"{meanwhile:.0f}",
            "ratio": f"{meanwhile / of_quiet:.2f}",
            "p99 with all": f"{p99([call for call in searches if call.kind == 'search']):.0f}",
            "p99 of writes": f"{p99(writes_before):.0f} / {p99(outside(writes, left_out)):.0f}",
            "left out": f"{share:.2f}",
            "limits at most": f"{self.pods_seen.most} m",
        }
        # Too few answers have none, which is no number and not within anything.
        if not meanwhile <= RATIO * of_quiet:
            broken.append(f"p99 {meanwhile:.0f} ms is {meanwhile / of_quiet:.2f} times the {of_quiet:.0f} ms of the quiet time")
        if share > LEFT_OUT:
            broken.append(f"{share:.2f} of the time is within {AFTER_A_START:.0f} s of the start of a container")
        if self.pods_seen.most > CORE or self.pods_seen.without_limit:
            broken.append(f"limits come to {self.pods_seen.most} m, and these have none: {sorted(self.pods_seen.without_limit)}")
        print("        " + ", ".join(f"{word}: {figure}" for word, figure in figures.items()) + f"; {said}", flush=True)
        if self.record:
            with open(RESULTS, "a") as results:
                machine = f"{os.cpu_count()} × {model()}"
                words = [str(datetime.date.today()), commit(), machine, *map(str, figures.values()), "; ".join(broken) or "kept"]
                results.write(f"| {' | '.join(word.replace('|', '/') for word in words)} |\n")
        equal(broken, [], "what is not as promised")

    def stop(self) -> None:
        if self.searches:
            self.searches.stop()
        for watch in [*self.watches.values(), *([self.pods_seen] if self.pods_seen else [])]:
            watch.stop()


def total(spans: list[tuple[float, float]]) -> float:
    return sum(last - first for first, last in spans)


def count_failed(calls: list[Call]) -> int:
    return sum(call.error is not None for call in calls)


def writes_of(workers: Workers, since: float, before: float) -> list[Call]:
    return [Call(kind, *call) for kind in (*WRITES, "connect") for call in workers.of(kind, since, before)]


def change(nodes: int) -> Callable[[Callable[["UnderLoad"], str]], None]:
    """Marks the steps of a change that begins with so many query nodes. They return what is worth saying."""

    def marked(steps: Callable[["UnderLoad"], str]) -> None:
        def check(load: UnderLoad) -> None:
            load.measured(steps.__name__, nodes, steps)

        check.__name__ = steps.__name__
        CLAIMS.append(check)

    return marked


@change(nodes=1)
def every_component_takes_another_image(load: UnderLoad) -> str:
    begin = time.monotonic()
    roles_patch(load, load.namespace, {"components": {"image": load.other_image}})
    until("every pod has the image", 900, lambda: load.pods_are({**PODS, "querynode": 1}, load.other_image))
    load.ready("milvus", load.name)
    return f"every pod has the image after {time.monotonic() - begin:.0f} s"


@change(nodes=1)
def query_nodes_become_three_and_one_again(load: UnderLoad) -> str:
    laps = []
    for count in (3, 1):
        begin = time.monotonic()
        load.resize(count)
        load.on_nodes(count)
        laps.append(f"{count} at work after {time.monotonic() - begin:.0f} s")
        time.sleep(STAYS)
    return ", ".join(laps)


@change(nodes=1)
def a_resource_group_is_created_moved_into_resized_and_removed(load: UnderLoad) -> str:
    begin, laps = time.monotonic(), []

    def lap(what: str) -> None:
        laps.append(f"{what} at {time.monotonic() - begin:.0f} s")

    def group_has(count: int) -> None:
        load.ready("milvusresourcegroup", "gold")
        until(
            f"{count} query nodes in the group", 180,
            lambda: (load.watches["milvusresourcegroup"].named("gold") or {}).get("status", {}).get("nodeNum") == count,
        )
        load.settled(**PODS, querynode=1 + count)

    def moved_to(group: str) -> None:
        about = {"policy": "Manage", "load": {"resourceGroups": [group]}}
        load.apply(beside("MilvusCollection", Broad.name, load, about))
        equal(replica_groups(load.ready("milvuscollection", Broad.name)), [group], "replicas")

    load.apply(beside("MilvusResourceGroup", "gold", load, {"replicas": 1}))
    group_has(1)
    lap("created")
    moved_to("gold")
    lap("moved into it")
    for count in (2, 1):
        kubectl("-n", load.namespace, "scale", "milvusresourcegroup", "gold", f"--replicas={count}")
        group_has(count)
        load.on_nodes(count)
        lap(f"{count} nodes")
    moved_to(DEFAULT)
    lap("moved back")
    kubectl("-n", load.namespace, "delete", "milvuscollection", Broad.name, "--timeout=60s")
    kubectl("-n", load.namespace, "delete", "milvusresourcegroup", "gold", "--timeout=180s")
    load.settled(**PODS, querynode=1)
    lap("removed")
    return ", ".join(laps)


@change(nodes=2)
def copies_become_two_and_one_again(load: UnderLoad) -> str:
    laps = []
    with load.client() as client:
        for count in (2, 1):
            begin = time.monotonic()
            with_copies(client, Broad.name, count, 180)
            laps.append(f"{count} after {time.monotonic() - begin:.1f} s")
            time.sleep(STAYS)
    return ", ".join(laps)


@change(nodes=1)
def certificates_and_their_authority_are_replaced(load: UnderLoad) -> str:
    names = (f"{load.name}-client-tls", f"{load.name}-node-tls")

    def shown() -> list[str]:
        found = [load.watches["secret"].named(name) for name in names]
        if None in found:
            raise Failed("a Secret is not there")
        return [one["data"]["tls.crt"] for one in found]

    begin, before, old = time.monotonic(), shown(), load.trust.text()
    roles_patch(load, load.namespace, {"redkite": {"certificates": {"rotation": f"asked-{begin:.0f}"}}})
    until("a new authority is introduced", 120, lambda: load.certified() == "RotatingAuthority")
    until("it issues", 400, lambda: all(new != one for new, one in zip(shown(), before)))
    issues = time.monotonic() - begin
    until("the old one is retired", 400, lambda: load.certified() == "CertificatesValid")
    retired = time.monotonic() - begin
    until("clients trust the new one alone", 30, lambda: load.trust.text().count("BEGIN") == 1 and load.trust.text().strip() not in old)
    # Every connection is made anew with it once.
    wanted = load.searches.renewals + len(load.searches.ring)
    until("new connections", 120, lambda: load.searches.renewals >= wanted)
    equal(load.pods_seen.started(begin, float("inf")), [], "containers that started")
    return f"the new authority issues after {issues:.0f} s, the old one is retired after {retired:.0f} s"


def main() -> int:
    sample, other_image, words = sys.argv[1], sys.argv[2], sys.argv[3:]
    load = UnderLoad(sample, other_image, "--record" in words)
    try:
        return run_claims("load", CLAIMS, load, [word for word in words if word != "--record"])
    finally:
        load.stop()


if __name__ == "__main__":
    sys.exit(main())
