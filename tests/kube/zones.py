"""A database with a whole copy in each of two zones, of which one is drained, loses its power, is cut off, and comes back under load.

    zones.py ZONES_SAMPLE SAMPLE NODE_SCRIPT CLUSTER [WORD …]     KUBECONFIG names the cluster; only the claims whose name contains a word

etcd and the object store are one pod each, in the zone that stays: a loss of theirs is tried in tests/roles. Each zone is one machine. Numbers
of pods are cut to two cores: one proxy and one query node in each zone, beside one query node of no group.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import Any, Callable, Iterator

from pymilvus import MilvusClient, MilvusException

from guides import Guides, copies
from suite import ROWS, SMALL, Failed, World, await_beside, await_ready, equal, fill, get, items, kubectl, row, run_claims, until, verify

CLAIMS: list[Callable[["Zones"], None]] = []
# The zone that stays, and the one that goes.
STAYS, GOES = "z1", "z2"
ZONE = "topology.kubernetes.io/zone"
# How long a zone is away once that is known. Unit: seconds.
AWAY = 30
# How long a client waits for one proxy before it asks the other. Unit: seconds.
PATIENCE = 4


def claim(check: Callable[["Zones"], None]) -> Callable[["Zones"], None]:
    CLAIMS.append(check)
    return check


def documents(path: str) -> list[dict[str, Any]]:
    """The objects of a file, as the API server's own client reads them, with the zones of this cluster."""
    text = kubectl("create", "--dry-run=client", "-f", path, "-o", "json")
    found, at, decoder = [], 0, json.JSONDecoder()
    while at < len(text.rstrip()):
        one, end = decoder.raw_decode(text, at)
        found.extend(one["items"] if one.get("kind") == "List" else [one])
        at = end + len(text[end:]) - len(text[end:].lstrip())
    plain = json.dumps(found)
    for sample, ours in (("a", STAYS), ("b", GOES)):
        plain = plain.replace(f'"{ZONE}": "{sample}"', f'"{ZONE}": "{ours}"')
        plain = plain.replace(f'"name": "MILVUS_SERVER_LABEL_ZONE", "value": "{sample}"', f'"name": "MILVUS_SERVER_LABEL_ZONE", "value": "{ours}"')
    return json.loads(plain)


class Zones(Guides):
    """The sample of zones with fewer pods, and its collection loaded into both."""

    def __init__(self, zones_sample: str, sample: str, node: list[str]) -> None:
        World.__init__(self, sample, "")
        self.node, self.objects = node, documents(zones_sample)
        self.name = self.of("Milvus")[0]["metadata"]["name"]
        self.namespace = self.make_namespace("zones", **{"pod-security.kubernetes.io/enforce": "restricted"})
        nodes = json.loads(kubectl("get", "nodes", "-o", "json"))["items"]
        self.zone_of = {one["metadata"]["name"]: one["metadata"]["labels"].get(ZONE, "") for one in nodes}
        self.machine = next(name for name, zone in self.zone_of.items() if zone == GOES)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [one for one in self.objects if one["kind"] == kind]

    def up(self) -> None:
        """All objects of the sample, made if they are not there: each claim can run alone."""
        if get("milvus", self.name, self.namespace) is None:
            gone = {"deletionPolicy": "Delete", "pvcDeletion": True}
            values = {"replicaCount": 1, "persistence": {"size": "1Gi"}, "resources": SMALL, "nodeSelector": {ZONE: STAYS}}
            milvus = json.loads(json.dumps(self.of("Milvus")[0]))
            milvus["spec"]["components"]["resources"] = SMALL
            milvus["spec"]["dependencies"] = {"etcd": {"inCluster": {**gone, "values": values}}, "storage": {"inCluster": {**gone, "values": values}}}
            # One that is cut off is not waited for longer than the claims wait.
            milvus["spec"]["config"] = {"queryNode": {"gracefulStopTimeout": 10}}
            self.apply(milvus)
            for group in self.of("MilvusResourceGroup"):
                self.apply({**group, "spec": {**group["spec"], "replicas": 1}})
        await_ready(self.name, self.namespace, 300)
        for group in self.of("MilvusResourceGroup"):
            await_beside("milvusresourcegroup", group["metadata"]["name"], self.namespace, 120)
        with self.client() as client:
            if not client.has_collection("rows"):
                fill(client)
        if get("milvuscollection", "rows", self.namespace) is None:
            collection = self.of("MilvusCollection")[0]
            self.apply({**collection, "metadata": {"name": "rows"}})
        await_beside("milvuscollection", "rows", self.namespace, 120)
        self.await_whole()

    def zones_of_copies(self, client: MilvusClient) -> list[list[str]]:
        """For each copy the zones in which its nodes are."""
        where = {number: self.zone_of[pod["spec"]["nodeName"]] for number, pod in self.nodes(client).items()}
        try:
            return sorted(sorted({where.get(node, "nowhere") for node in nodes}) for nodes in copies(client, "rows"))
        except MilvusException as error:
            raise Failed(f"copies: {error}") from error

    def await_whole(self, seconds: float = 240) -> None:
        """Waits until each zone has a whole copy and a proxy that serves."""

        def whole() -> bool:
            with self.client() as client:
                found = self.zones_of_copies(client)
            proxies = sorted(self.zone_of[pod["spec"]["nodeName"]] for pod in self.live("proxy"))
            if (found, proxies) != ([[STAYS], [GOES]], [STAYS, GOES]):
                raise Failed(f"copies in {found}, proxies in {proxies}")
            return True

        until("a whole copy and a proxy in each zone", seconds, whole)

    @contextmanager
    def address(self, namespace: str | None = None) -> Iterator[str]:
        """A proxy of the zone that stays: the Service leads to one of the other zone, too, until its loss is known."""
        here = [pod for pod in self.live("proxy") if self.zone_of[pod["spec"]["nodeName"]] == STAYS]
        if not here:
            raise Failed(f"no proxy serves in {STAYS}")
        yield f"http://{here[0]['status']['podIP']}:19530"

    def do(self, what: str) -> None:
        subprocess.run([self.node[0], what, self.machine.removeprefix("n"), *self.node[1:]], check=True, capture_output=True)

    def is_ready_machine(self) -> bool:
        found = get("node", self.machine, "default") or {}
        return any(one["type"] == "Ready" and one["status"] == "True" for one in found.get("status", {}).get("conditions", []))


class Clients:
    """One that searches all the time and one that writes. Each knows the proxies that Kubernetes calls ready, asks that of its zone first
    and, if that fails, another one once. A search that failed twice has failed; a write is repeated until it is acknowledged."""

    def __init__(self, zones: Zones, zone: str) -> None:
        self.zones, self.zone = zones, zone
        self.known: list[tuple[str, MilvusClient]] = []
        self.clients: dict[str, MilvusClient] = {}
        self.asked, self.twice, self.failed, self.longest = 0, 0, [], 0.0
        self.written: dict[int, None] = {}
        self.stopped = threading.Event()
        self.threads = [threading.Thread(target=work) for work in (self.look_on, self.search_on, self.write_on)]

    def look(self) -> None:
        """As a client that resolves a headless Service would see them."""
        found = []
        for pod in sorted(self.zones.live("proxy"), key=lambda pod: self.zones.zone_of[pod["spec"]["nodeName"]] != self.zone):
            address = pod["status"]["podIP"]
            if address not in self.clients:
                try:
                    self.clients[address] = MilvusClient(f"http://{address}:19530", timeout=PATIENCE, dedicated=True)
                except MilvusException:  # it is not reached yet, or not any more
                    continue
            found.append((address, self.clients[address]))
        if found:
            self.known = found

    def look_on(self) -> None:
        while not self.stopped.wait(1):
            try:
                self.look()
            except Failed as error:
                self.failed.append(f"{time.strftime('%H:%M:%S')} look: {error}")

    def search(self, client: MilvusClient, key: int) -> None:
        how = {"params": {"ef": 64}}
        hits = client.search(
            "rows", [row(key)["vec"]], anns_field="vec", limit=1, search_params=how, consistency_level="Eventually",
            timeout=PATIENCE, retry_times=0, retry_on_rate_limit=False,
        )
        equal(hits[0][0]["id"], key, "nearest to a stored row")

    def search_on(self) -> None:
        while not self.stopped.wait(0.02):
            key, begin, errors = self.asked * 37 % ROWS, time.monotonic(), []
            self.asked += 1
            # The first two that are known; the same one again where there is no other.
            for _, client in (self.known * 2)[:2]:
                try:
                    self.search(client, key)
                    break
                except Failed as error:  # a wrong answer is not asked again
                    self.failed.append(f"{time.strftime('%H:%M:%S')} {error}")
                    break
                except Exception as error:  # noqa: BLE001 - every failure counts
                    errors.append(str(error))
            self.longest = max(self.longest, time.monotonic() - begin)
            if len(errors) == 1:
                self.twice += 1
            elif errors:
                self.failed.append(f"{time.strftime('%H:%M:%S')} {errors}")

    def write_on(self) -> None:
        number = 0
        while not self.stopped.wait(0.1):
            key = ROWS + number
            for _, client in self.known:
                try:
                    client.upsert("rows", [row(key)], timeout=2 * PATIENCE, retry_times=0, retry_on_rate_limit=False)
                except Exception:  # noqa: BLE001 - it is written again, at whoever is there
                    continue
                self.written[key] = None
                number += 1
                break

    def __enter__(self) -> "Clients":
        self.look()
        if not self.known:
            raise Failed("no proxy is known")
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        for thread in self.threads:
            thread.join()
        for client in self.clients.values():
            client.close()


def settle(zones: Zones, what: str, all_clients: list[Clients]) -> None:
    """No search failed twice, and every row that was acknowledged is there, by value."""
    for one in all_clients:
        if one.asked < 50 or len(one.written) < 10:
            raise Failed(f"only {one.asked} searches and {len(one.written)} rows from {one.zone}: nothing is said about them")
        equal(one.failed, [], f"failed twice of {one.asked} searches from {one.zone}")
    acknowledged = {key for one in all_clients for key in one.written}
    last = max(acknowledged) + 1
    with zones.client() as client:
        found = client.query("rows", filter=f"id >= {ROWS}", output_fields=["*"], limit=16_000, consistency_level="Strong")
        for entity in found:
            equal({**entity, "vec": [float(value) for value in entity["vec"]]}, row(entity["id"]), "row")
        keys = {entity["id"] for entity in found}
        equal(sorted(acknowledged - keys), [], "rows that were acknowledged and are not there")
        # Whether the last one was written, whose answer nobody waited for, nobody knows.
        equal([key for key in keys - acknowledged if key > last], [], "rows that nobody wrote")
        client.delete("rows", filter=f"id >= {ROWS}")
        verify(client)
    for one in all_clients:
        print(f"        {what}, from {one.zone}: {one.asked} searches, {one.twice} asked twice, the longest {one.longest:.1f} s, {len(one.written)} rows", flush=True)


def amid(zones: Zones, what: str, goes: Callable[[], None], comes: Callable[[], None]) -> None:
    """The zone goes and comes while a client in each zone searches and writes."""
    zones.up()
    here, there = Clients(zones, STAYS), Clients(zones, GOES)
    with here, there:
        time.sleep(5)
        begin = time.monotonic()
        try:
            goes()
            print(f"        gone after {time.monotonic() - begin:.1f} s", flush=True)
            time.sleep(AWAY)
        finally:
            begin = time.monotonic()
            comes()
        await_ready(zones.name, zones.namespace, 300)
        zones.await_whole()
        print(f"        whole again after {time.monotonic() - begin:.1f} s", flush=True)
        time.sleep(5)
    settle(zones, what, [here, there])


@claim
def each_zone_has_a_whole_copy_a_proxy_and_what_stands_by_is_in_both(zones: Zones) -> None:
    zones.up()
    with zones.client() as client:
        equal(zones.zones_of_copies(client), [[STAYS], [GOES]], "zones of the copies")
        verify(client)
    for role in ("mixcoord", "streamingnode"):
        equal(sorted({zones.zone_of[pod["spec"]["nodeName"]] for pod in zones.live(role)}), [STAYS, GOES], f"zones of each {role}")


@claim
def a_zone_is_drained_and_no_search_fails_twice(zones: Zones) -> None:
    """Of the database's pods: those of its zone wait until the machine is open again."""
    chosen = f"app.kubernetes.io/instance={zones.name},app.kubernetes.io/name=milvus"

    def goes() -> None:
        kubectl("drain", zones.machine, "--ignore-daemonsets", "--delete-emptydir-data", f"--pod-selector={chosen}", "--timeout=240s")
        left = [pod["metadata"]["name"] for pod in items("pods", zones.namespace, "-l", chosen) if pod["spec"].get("nodeName") == zones.machine]
        equal(left, [], "pods on the drained machine")

    def comes() -> None:
        kubectl("uncordon", zones.machine)

    amid(zones, "drained", goes, comes)


@claim
def a_zone_loses_its_power_and_comes_back_and_no_search_fails_twice(zones: Zones) -> None:
    def goes() -> None:
        zones.do("kill")
        until("Kubernetes knows", 90, lambda: not zones.is_ready_machine())

    def comes() -> None:
        zones.do("boot")
        until("the machine is back", 120, zones.is_ready_machine)

    amid(zones, "without power", goes, comes)


@claim
def a_zone_is_cut_off_and_comes_back_and_no_search_fails_twice(zones: Zones) -> None:
    """Its processes go on: what they own is taken over, and nothing that they still say counts."""

    def goes() -> None:
        zones.do("partition")
        until("Kubernetes knows", 90, lambda: not zones.is_ready_machine())

    def comes() -> None:
        zones.do("heal")
        until("the machine is back", 120, zones.is_ready_machine)

    amid(zones, "cut off", goes, comes)


def main() -> int:
    zones_sample, sample, node, cluster, words = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4], sys.argv[5:]
    return run_claims("zones", CLAIMS, Zones(zones_sample, sample, [node, "--name", cluster]), words)


if __name__ == "__main__":
    sys.exit(main())
