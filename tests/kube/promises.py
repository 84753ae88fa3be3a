"""Promises of docs/reliability.md at their figures, with pods, in the network of their cluster. A claim's name has the row's number.

    promises.py SAMPLE NODE_SCRIPT CLUSTER [WORD …]     KUBECONFIG names the cluster; only the claims whose name contains a word

Each claim begins with what the one before it left, or makes it, and compares every acknowledged row by value at its end. The load is
that of tests/roles with half of its threads: two cores carry the Kubernetes, its stores and all roles besides.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import Any, Iterator

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "roles"))

from pymilvus import MilvusClient

from faults import Heavy
from faults_catalog import admitted, described, elsewhere, furnish, when_loaded
from guides import Guides, apart, copies
from load import DIM, ONCE, SEARCHERS, WRITERS, WRITES, Load, Stamps, Still, Workers, connect, make
from load import until as seconds_until
from suite import SMALL, Failed, World, equal, get, items, kubectl, roles_patch, roles_spec, run_claims, until

CLAIMS: list[Any] = []
PODS = {"mixcoord": 2, "streamingnode": 2, "querynode": 2, "datanode": 1, "proxy": 2}
COMPONENTS = {"mixcoord": "mixCoord", "streamingnode": "streamingNode", "querynode": "queryNode", "datanode": "dataNode", "proxy": "proxy"}
REDKITE = "/redkite/bin/redkite"
TOKEN = "/milvus/admin/token"
SETTINGS = "/milvus/configs/user.yaml"
# How long a query node waits for somebody who takes over what it has. Unit: seconds.
PATIENCE = 10
MINUTE = 60.0
KILLS = int(os.environ.get("KILLS", "30"))
# Numbers of the process of a pod on its machine.
FIND = "for at in /proc/[0-9]*; do tr '\\0' '\\n' <$at/environ 2>/dev/null | grep -qx HOSTNAME=$1 && tr '\\0' ' ' <$at/cmdline | grep -q ' run ' && echo ${at#/proc/}; done; true"


def claim(check: Any) -> Any:
    CLAIMS.append(check)
    return check


def asked_for() -> dict[str, Any]:
    gone = {"deletionPolicy": "Delete", "pvcDeletion": True}
    components: dict[str, Any] = {COMPONENTS[role]: {"replicas": count} for role, count in PODS.items()}
    components["queryNode"]["resources"] = {**SMALL, "limits": {"memory": "256Mi"}}
    config = {"redkite": {"cache": {"budgetMb": 256}}, "queryNode": {"gracefulStopTimeout": PATIENCE}}
    return roles_spec(components=components, policy=gone, storage_policy=gone, config=config)


class Promises(Guides):
    """Two of each role that keeps or decides something, and two proxies."""

    def __init__(self, sample: str, node: list[str]) -> None:
        World.__init__(self, sample, "")
        self.name, self.node = "kite", node
        self.namespace = self.make_namespace("promises", **{"pod-security.kubernetes.io/enforce": "restricted"})
        self.uri = f"http://{self.name}-milvus.{self.namespace}:19530"
        self.loads = itertools.count()

    def up(self) -> None:
        """The cluster with its numbers of pods, made if it is not there: each claim can run alone."""
        if get("milvus", self.name, self.namespace) is None:
            self.apply({**self.milvus(), "spec": asked_for()})
        else:
            self.resize(PODS)
        self.settled(**PODS)

    def resize(self, counts: dict[str, int]) -> None:
        roles_patch(self, self.namespace, {"components": {COMPONENTS[role]: {"replicas": count} for role, count in counts.items()}})

    @contextmanager
    def fresh(self) -> Iterator[MilvusClient]:
        """A client of a cluster without collections."""
        self.up()
        with self.client() as client:
            for name in client.list_collections():
                for alias in client.list_aliases(name)["aliases"]:
                    client.drop_alias(alias)
                client.drop_collection(name)
            yield client

    @contextmanager
    def loaded(self, client: MilvusClient, level: str = "Bounded", replicas: int = 1, also: tuple[Still, ...] = ()) -> Iterator[Load]:
        """The load, until the block ends. `still` is what is searched and does not change, `moving` what is written."""
        number = next(self.loads)
        self.still, self.moving = Still(client, f"still_{number}", replicas=replicas), f"moving_{number}"
        make(client, self.moving, replicas=replicas)
        seconds_until("searches", 60, lambda: self.still.check(client) or True)
        if replicas > 1:
            until("copies on nodes of their own", 60, lambda: all(apart(client, name, replicas) for name in (self.still.name, self.moving)))
        workers = Workers()
        load = Load(workers, self.moving, [self.still, *also], lambda: self.uri, level, searchers=SEARCHERS // 2, writers=WRITERS // 2)
        try:
            yield load
        finally:
            workers.stop()

    def compared(self, client: MilvusClient, load: Load) -> int:
        """Every row of the load by value. Returns how many there are."""
        self.still.check(client)
        return load.compare(client)

    def ctl(self, *words: str) -> Any:
        """What the admin API says, asked of the process of a proxy."""
        pod = self.live("proxy")[0]["metadata"]["name"]
        return json.loads(kubectl("-n", self.namespace, "exec", pod, "--", REDKITE, "ctl", "--token-file", TOKEN, *words, "-o", "json"))

    def pod_at(self, role: str, **where: str) -> dict[str, Any]:
        """The pod of this name, or of this address."""
        for pod in roles_of(self, role):
            if where in ({"name": pod["metadata"]["name"]}, {"address": pod["status"].get("podIP")}):
                return pod
        raise Failed(f"no {role} is {where}")

    def leader(self) -> dict[str, Any]:
        leader = self.ctl("cluster").get("leader") or {}
        return self.pod_at("mixcoord", address=leader.get("address", "").rsplit(":", 1)[0])

    def owner(self) -> dict[str, Any]:
        """The streaming node with the most channels."""
        nodes = [node for node in self.ctl("nodes")["nodes"] if node["role"] == "streamingnode"]
        most = max(nodes, key=lambda node: node["channels"], default={"channels": 0})
        if not most["channels"]:
            raise Failed(f"nobody owns a channel: {nodes}")
        return self.pod_at("streamingnode", name=most["host"])

    def sigkill(self, pod: dict[str, Any]) -> float:
        """Ends the pod's process as a crash does: a deletion would let it say farewell. Returns when."""
        name, machine = pod["metadata"]["name"], pod["spec"]["nodeName"].removeprefix("n")

        def shell(script: str, word: str) -> str:
            command = [*self.node, "shell", machine, "--", "sh", "-c", script, "sh", word]
            return subprocess.run(command, check=True, capture_output=True, text=True).stdout

        found = shell(FIND, name).split()
        equal(len(found), 1, f"processes of {name}")
        killed = time.monotonic()
        shell("kill -KILL $1", found[0])
        return killed

    def restarted(self, pod: dict[str, Any]) -> bool:
        """Whether the pod that was killed has a new process, and serves."""
        uid, before = pod["metadata"]["uid"], restarts(pod)
        found = [one for one in self.live(pod["metadata"]["labels"]["app.kubernetes.io/component"]) if one["metadata"]["uid"] == uid]
        return bool(found) and restarts(found[0]) > before

    def rows_held(self, bytes_of_a_row: dict[int, int]) -> dict[str, int]:
        """Bytes of rows in the memory of each query node; those of a row are as in the small collections where nothing else is said."""
        held = {}
        for pod in self.live("querynode"):
            total = 0
            for line in self.page(pod, "/metrics").splitlines():
                found = re.match(r'milvus_querynode_entity_num\{.*collection_id="(\d+)"', line)
                if found:
                    total += round(float(line.rsplit(" ", 1)[1])) * bytes_of_a_row.get(int(found[1]), 4 * DIM + 16)
            held[pod["metadata"]["name"]] = total
        return held

    def shrunk(self, count: int, seconds: float) -> list[float]:
        """Takes query nodes away until so many are left. How long each was there after it was told to go."""
        told: dict[str, float] = {}
        gone: dict[str, float] = {}
        there = {pod["metadata"]["uid"] for pod in items("pods", self.namespace, "-l", self.chosen("querynode"))}
        fewer = len(there) - count
        self.resize({"querynode": count})

        def done() -> bool:
            now = time.monotonic()
            pods = {pod["metadata"]["uid"]: pod for pod in items("pods", self.namespace, "-l", self.chosen("querynode"))}
            for uid, pod in pods.items():
                if pod["metadata"].get("deletionTimestamp"):
                    told.setdefault(uid, now)
            for uid in there - set(pods):
                gone.setdefault(uid, now)
            if len(gone) != fewer or len(pods) != count:
                raise Failed(f"{len(pods)} pods, {len(told)} told to go, {len(gone)} gone")
            return True

        until(f"{count} query nodes", seconds, done)
        # One that went between two looks went in less than the time between them.
        return [round(gone[uid] - told.get(uid, gone[uid]), 1) for uid in gone]


def roles_of(promises: Promises, role: str) -> list[dict[str, Any]]:
    return items("pods", promises.namespace, "-l", promises.chosen(role))


def restarts(pod: dict[str, Any]) -> int:
    return sum(container["restartCount"] for container in pod["status"].get("containerStatuses", []))


def writes_again(load: Load, killed: float, before: float = float("inf")) -> tuple[float, float]:
    """Seconds after the kill until writes were taken and none was refused any more, and the longest time without one."""
    workers = load.workers
    # Every insert is spread over both channels, so one that succeeds shows that both accept.
    done = sorted(begin + took - killed for begin, took, error in workers.of("insert", killed, before) if error is None)
    refused = sorted(begin - killed for kind in WRITES for begin, _, error in workers.of(kind, killed, before) if error)
    again = max([*done[:1], *refused[-1:]], default=None)
    if not done or again > 15:
        raise Failed(f"writes again only after {again} s: {workers.failures('insert', killed, before)[:3]}")
    return again, max((later - one for one, later in zip([0.0, *done], done)), default=0.0)


def said(load: Load, text: str) -> None:
    figures = load.figures()
    counts = f"{figures['search calls']} searches ({figures['search failed']} failed), {figures['writes']} writes ({figures['writes failed']} failed)"
    print(f"        {counts}; {text}", flush=True)


@claim
def metrics_carry_the_number_of_their_node(promises: Promises) -> None:
    promises.up()
    nodes = promises.ctl("nodes")["nodes"]
    wanted, found = {}, {}
    for node in nodes:
        text = promises.page(promises.pod_at(node["role"], name=node["host"]), "/metrics")
        wanted[node["host"]] = {str(node["id"])}
        found[node["host"]] = set(re.findall(r'node_id="([^"]*)"', text))
    equal(found, wanted, "nodes in the metrics of each pod")
    equal(len(nodes), sum(PODS.values()) - PODS["mixcoord"], "nodes")


@claim
def row_4_an_owner_of_channels_is_killed_and_they_take_writes_within_15_s_and_no_search_of_sealed_rows_fails(promises: Promises) -> None:
    with promises.fresh() as client:
        # Reads of sealed data are promised; what waits for a mark of an owner waits for the next owner.
        with promises.loaded(client, "Eventually") as load:
            time.sleep(5)
            victim = promises.owner()
            killed = promises.sigkill(victim)
            until("the pod serves again", 60, lambda: promises.restarted(victim))
            time.sleep(max(0.0, killed + 30 - time.monotonic()))
        again, gap = writes_again(load, killed)
        load.workers.none_failed("search")
        rows = promises.compared(client, load)
        said(load, f"writes again after {again:.1f} s, the longest time without one {gap:.1f} s; {rows} rows equal")


@claim
def row_4_every_other_role_is_killed_and_writes_and_searches_go_on_within_15_s(promises: Promises) -> None:
    """No search fails but those of a proxy that dies, and with two copies one in a thousand of the minute of a query node."""
    with promises.fresh() as client:
        kills: dict[str, float] = {}
        with promises.loaded(client, replicas=2) as load:
            time.sleep(3)
            for role in ("mixcoord", "querynode", "datanode", "proxy"):
                pods = promises.live(role)
                busiest = max(pods, key=lambda pod: promises.figure(pod, "milvus_proxy_req_count"))
                victim = promises.leader() if role == "mixcoord" else busiest
                kills[role] = promises.sigkill(victim)
                until(f"the {role} serves again", 60, lambda: promises.restarted(victim))
                time.sleep(max(0.0, kills[role] + 20 - time.monotonic()))
        laps, moments = [], [*kills.values(), float("inf")]
        for role, killed, before in zip(kills, moments, moments[1:]):
            again, _ = writes_again(load, killed, before)
            if role == "proxy":
                failed = [begin - killed for begin, _, error in load.workers.of("search", killed - 10, before) if error]
                if max(failed, default=0.0) > 15:
                    raise Failed(f"searches failed up to {max(failed):.1f} s after a proxy was killed: {load.workers.failures('search', killed)[:3]}")
                laps.append(f"{role}: writes after {again:.1f} s, {len(failed)} searches failed")
            else:
                load.workers.none_failed("search", 0.001 if role == "querynode" else 0.0, killed, before)
                laps.append(f"{role}: writes after {again:.1f} s")
        rows = promises.compared(client, load)
        said(load, f"{'; '.join(laps)}; {rows} rows equal")


@claim
def row_9_the_leader_is_killed_every_20_s_and_no_search_or_write_fails_and_changes_go_on_within_10_s(promises: Promises) -> None:
    with promises.fresh() as client, promises.client() as inserter:
        client.create_collection("own", dimension=4, auto_id=True)
        keys: list[int] = []
        times: list[float] = []

        def generated() -> None:
            keys.extend(inserter.insert("own", [{"vector": [0.0, 1.0, 2.0, 3.0]}] * 5, **ONCE)["ids"])

        with promises.loaded(client) as load:
            load.workers.spawn(lambda: load.workers.timed("insert with own keys", generated), 0.05)
            stamps = Stamps(load.workers, [client, connect(promises.uri)])
            # A change whose answer was lost may have been made: another name each time.
            names = (f"after_{number}" for number in itertools.count())
            killed = 0.0
            for _ in range(KILLS):
                time.sleep(max(0.0, killed + 20 - time.monotonic()) if killed else 2)
                victim = until("a leader", 30, promises.leader)
                killed = promises.sigkill(victim)
                # Another pod takes its place at once, as that of a machine that is gone: Kubernetes lets one that dies again and again wait.
                kubectl("-n", promises.namespace, "delete", "pod", victim["metadata"]["name"], "--grace-period=0", "--force", "--wait=false")
                seconds_until("a change", 30, lambda: client.create_database(next(names), **ONCE) or True)
                times.append(round(time.monotonic() - killed, 1))
                promises.settled(mixcoord=2)
                for name in client.list_databases():
                    if name.startswith("after_"):
                        client.drop_database(name)
        for kind in ("search", *WRITES, "insert with own keys"):
            load.workers.none_failed(kind)
        if max(times) > 10:
            raise Failed(f"changes again only after {times} s")
        equal(len(set(keys)), len(keys), "keys that were given once")
        rows = promises.compared(client, load)
        counted = client.query("own", filter="", output_fields=["count(*)"], consistency_level="Strong")[0]["count(*)"]
        equal(counted, len(keys), "rows with own keys")
        said(load, f"{KILLS} kills, changes again after {times} s; {len(stamps.given)} timestamps each above all given before, {len(keys)} keys and "
                   f"{len(load.changes.ids)} numbers of collections each once; {rows} rows equal")


@claim
def row_16_a_query_node_of_two_copies_is_killed_and_at_most_one_search_in_a_thousand_fails_in_the_next_minute(promises: Promises) -> None:
    with promises.fresh() as client:
        with promises.loaded(client, replicas=2) as load:
            time.sleep(3)
            dead = copies(client, promises.still.name)[0][0]
            victim = promises.nodes(client)[dead]
            killed = promises.sigkill(victim)

            def whole() -> bool:
                names = (promises.still.name, promises.moving)
                if any(dead in copy for name in names for copy in copies(client, name)):
                    raise Failed("the dead node has a copy")
                return all(apart(client, name, 2) for name in names)

            until("two whole copies of both", MINUTE, whole)
            again = time.monotonic() - killed
            until("the pod serves again", 60, lambda: promises.restarted(victim))
            time.sleep(max(0.0, killed + MINUTE - time.monotonic()))
        load.workers.none_failed("search", 0.001, killed, killed + MINUTE)
        in_time = load.workers.of("search", killed, killed + MINUTE)
        failed = load.workers.failures("search", killed, killed + MINUTE)
        rows = promises.compared(client, load)
        said(load, f"{len(failed)} of {len(in_time)} in the minute after the kill; both copies whole after {again:.1f} s; {rows} rows equal")


@claim
def row_16_a_query_node_of_one_copy_is_killed_and_every_row_is_found_within_30_s(promises: Promises) -> None:
    """Not the load: searches of what the node had fail until it is back. Its cache outlives the process."""
    with promises.fresh() as client:
        stills = [Still(client, f"alone_{number}", sealed=2000, growing=100) for number in range(3)]

        def shared() -> bool:
            held = promises.rows_held({})
            if len(held) != 2 or not all(held.values()):
                raise Failed(str(held))
            return True

        until("rows on both nodes", 60, shared)
        time.sleep(2)
        # Kubernetes lets one that has died before wait, and that is no time of ours.
        victim = min(promises.live("querynode"), key=restarts)
        killed = promises.sigkill(victim)
        time.sleep(0.5)

        def back() -> bool:
            for still in stills:
                still.check(client)
            return True

        seconds_until("every row", 30, back)
        print(f"        every row after {time.monotonic() - killed:.1f} s", flush=True)
        until("the pod serves again", 60, lambda: promises.restarted(victim))


class Segments(Heavy):
    """So many parts that six nodes can have equally many."""

    dim, segment = 512, 125


@claim
def row_18_from_two_query_nodes_to_six_the_load_is_even_within_120_s_and_no_search_fails(promises: Promises) -> None:
    with promises.fresh() as client:
        heavy = Segments(client, 24 << 20)
        client.load_collection(heavy.name)
        row_bytes = {client.describe_collection(heavy.name)["collection_id"]: 4 * heavy.dim + 16}
        stills = tuple(Still(client, f"small_{number}", sealed=1200, growing=0) for number in range(3))
        with promises.loaded(client, also=stills) as load:
            time.sleep(3)
            begin = time.monotonic()
            promises.resize({"querynode": 6})
            shares: dict[str, int] = {}

            def even() -> bool:
                shares.clear()
                shares.update(promises.rows_held(row_bytes))
                if len(shares) != 6 or not all(shares.values()) or max(shares.values()) > 1.3 * min(shares.values()):
                    raise Failed(str(sorted(shares.values())))
                return True

            until("an even load of six", 120, even)
            took, found = time.monotonic() - begin, sorted(shares.values())
            heavy.check(client)
            time.sleep(5)
        load.workers.none_failed("search")
        killed = [pod["metadata"]["name"] for pod in promises.live("querynode") if "OOMKilled" in json.dumps(pod["status"])]
        equal(killed, [], "query nodes that were killed for their memory")
        rows = promises.compared(client, load)
        for still in stills:
            still.check(client)
        said(load, f"even after {took:.0f} s: {[size >> 10 for size in found]} KiB of rows; {rows} rows equal")


@claim
def row_17_from_four_query_nodes_to_two_no_search_fails_and_each_is_gone_within_120_s(promises: Promises) -> None:
    """The rate is what two cores give to the searches beside a Kubernetes, not the 200 a second of the promise; it is said."""
    with promises.fresh() as client:
        promises.resize({"querynode": 4})
        promises.settled(querynode=4)
        stills = tuple(Still(client, f"small_{number}", sealed=1200, growing=0) for number in range(3))
        with promises.loaded(client, also=stills) as load:
            until("rows on all four", 60, lambda: len(promises.rows_held({})) == 4 and all(promises.rows_held({}).values()))
            begin = time.monotonic()
            ends = promises.shrunk(2, 300)
            time.sleep(max(0.0, begin + 10 - time.monotonic()))
            end = time.monotonic()
        load.workers.none_failed("search")
        if max(ends) > 120:
            raise Failed(f"a node was gone only after {ends} s")
        rate = len(load.workers.of("search", begin, end)) / (end - begin)
        rows = promises.compared(client, load)
        for still in stills:
            still.check(client)
        # Nobody is left who could take anything over from the last one: it goes at its deadline.
        alone = promises.shrunk(0, 300)
        if max(alone) > 120:
            raise Failed(f"the last ones were gone only after {alone} s")
        said(load, f"{rate:.0f} searches a second; gone after {ends} s, with nobody to hand over to after {alone} s; {rows} rows equal")


@claim
def row_29_etcd_and_every_pod_are_lost_and_one_command_brings_catalog_users_and_rows_back_from_the_bucket(promises: Promises) -> None:
    """The load without its changes of the catalog, which is compared with what it was."""
    namespace = promises.namespace
    with promises.fresh() as client:
        furnish(client)
        still = Still(client, "still")
        workers = Workers()
        load = Load(workers, "written", still, lambda: promises.uri, searchers=SEARCHERS // 2, writers=WRITERS // 2, changes=False)
        try:
            time.sleep(4)
            client.flush("written")
            before = described(client)
            time.sleep(2)
            lose_all_but_the_bucket(promises)
        finally:
            workers.stop()
        until("the coordinators say what to do", 180, lambda: "redkite ctl rebuild" in json.dumps([pod["status"] for pod in roles_of(promises, "mixcoord")]))
        promises.resize(dict.fromkeys(PODS, 0))
        until("no process of ours", 180, lambda: not any(roles_of(promises, role) for role in PODS))
        begin = time.monotonic()
        words = rebuild(promises)
        rebuilt = time.monotonic() - begin
        promises.resize(PODS)
        promises.settled(**PODS)
        when_loaded(client, still)
        after = described(client)
        equal({key: after.get(key) for key in before if after.get(key) != before[key]}, {}, "what is another one in the catalog")
        equal(sorted(after), sorted(before), "parts of the catalog")
        rows = load.compare(client)
        elsewhere(client)
        promises.ctl("fsck", "--checksums")
        said(load, f"{words}, in {rebuilt:.1f} s with the start of its pod; {rows + 3300 + 100} rows equal")
    checks_users = {"common": {"security": {"authorizationEnabled": True}}}
    roles_patch(promises, namespace, {"config": checks_users})
    until("the config map has it", 60, lambda: "authorizationEnabled" in json.dumps((get("configmap", promises.name, namespace) or {})["data"]))
    promises.settled(**PODS)
    admitted(promises.uri)


def lose_all_but_the_bucket(promises: Promises) -> None:
    namespace = promises.namespace
    volumes = [one["metadata"]["name"] for one in items("pvc", namespace) if f"{promises.name}-etcd" in one["metadata"]["name"]]
    equal(len(volumes), 1, "volumes of etcd")
    lost = (get("pvc", volumes[0], namespace) or {})["metadata"]["uid"]
    kubectl("-n", namespace, "delete", "pvc", *volumes, "--wait=false")
    kubectl("-n", namespace, "delete", "pods", "--all", "--grace-period=0", "--force")

    def another() -> bool:
        found = get("pvc", volumes[0], namespace)
        return found is not None and found["metadata"]["uid"] != lost and found["status"].get("phase") == "Bound"

    until("another volume of etcd", 120, another)


def rebuild(promises: Promises) -> str:
    """Runs the command in a pod like the coordinators', and returns what it says."""
    namespace = promises.namespace
    spec = (get("deployment", f"{promises.name}-milvus-mixcoord", namespace) or {})["spec"]["template"]["spec"]
    left_out = ("startupProbe", "livenessProbe", "readinessProbe", "lifecycle", "ports")
    container = {key: value for key, value in spec["containers"][0].items() if key not in left_out}
    container["args"] = ["ctl", "rebuild", "--config", SETTINGS]
    kept = {key: spec[key] for key in ("serviceAccountName", "securityContext", "volumes", "enableServiceLinks") if key in spec}
    made = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "rebuild"}, "spec": {**kept, "containers": [container], "restartPolicy": "Never"}}
    kubectl("-n", namespace, "apply", "-f", "-", text=json.dumps(made))
    phase = until("the command ends", 180, lambda: (found := (get("pod", "rebuild", namespace) or {})["status"]["phase"]) in ("Succeeded", "Failed") and found)
    words = kubectl("-n", namespace, "logs", "rebuild").strip()
    equal(phase, "Succeeded", f"how the command ended ({words[-600:]})")
    kubectl("-n", namespace, "delete", "pod", "rebuild")
    return words


def main() -> int:
    sample, node, cluster, words = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]
    return run_claims("promises", CLAIMS, Promises(sample, [node, "--name", cluster]), words)


if __name__ == "__main__":
    sys.exit(main())
