"""Cases of guides to Milvus that need several query nodes: copies, failures, scaling, groups; in the network of their cluster.

    guides.py SAMPLE OTHER_IMAGE [WORD …]     KUBECONFIG names the cluster; only the claims whose name contains a word

Claims named gG_N are cases: cases.md says which. They run in this order; each begins with what the one before it left, or makes it.
Guides have three to seven query nodes, here there are three to six: two cores carry them all.
"""

from __future__ import annotations

import itertools
import json
import re
import sys
import time
import urllib.request
from contextlib import contextmanager
from typing import Any, Callable, Iterator

from pymilvus import DataType, MilvusClient, MilvusException
from pymilvus.client.types import ResourceGroupConfig

from suite import DIM, ROWS, SMALL, Asking, Failed, Searching, World, await_ready, equal, fill, get, items, kubectl, ready_pod, roles_patch, roles_pods, row, run_claims, until, verify

CLAIMS: list[Callable[["Guides"], None]] = []
DEFAULT = "__default_resource_group"
PODS = {"mixcoord": 2, "streamingnode": 1, "querynode": 3, "datanode": 2, "proxy": 2}
WIDE_ROWS = 2_000
# How long a node that is lost may be missed by those who are asked. Unit: seconds.
NOTICED = 5


def claim(check: Callable[["Guides"], None]) -> Callable[["Guides"], None]:
    CLAIMS.append(check)
    return check


def of_a_guide() -> dict[str, Any]:
    """A guide's object, with amounts that two cores have, two coordinators, and one etcd instead of three."""
    gone = {"deletionPolicy": "Delete", "pvcDeletion": True}
    store = {**gone, "values": {"persistence": {"size": "1Gi"}, "resources": SMALL}}
    replicas = {"proxy": 2, "queryNode": 3, "dataNode": 2, "indexNode": 1, "mixCoord": 2}
    return {
        "mode": "cluster",
        "dependencies": {
            "etcd": {"inCluster": {**store, "values": {**store["values"], "replicaCount": 1}}},
            "storage": {"inCluster": store},
            "pulsar": {"inCluster": gone},
        },
        "components": {"resources": SMALL, **{component: {"replicas": count} for component, count in replicas.items()}},
        "config": {"minio": {"bucketName": "milvus-bucket"}},
    }


class Guides(World):
    """A cluster of roles with several pods of each, but for the streaming node."""

    def __init__(self, sample: str, other_image: str) -> None:
        super().__init__(sample, other_image)
        self.name = "my-milvus"
        self.namespace = self.make_namespace("guides", **{"pod-security.kubernetes.io/enforce": "restricted"})

    @contextmanager
    def address(self, namespace: str | None = None) -> Iterator[str]:
        """The Service by its name, whichever pods are behind it."""
        yield f"http://{self.name}-milvus.{namespace or self.namespace}:19530"

    def up(self) -> None:
        """The cluster, made if it is not there: each claim can run alone."""
        if get("milvus", self.name, self.namespace) is None:
            self.apply({**self.milvus(), "spec": of_a_guide()})
        await_ready(self.name, self.namespace, 300)
        with self.client() as client:
            if not client.has_collection("rows"):
                fill(client)
            if not client.has_collection("wide"):
                widen(client)

    def settled(self, **replicas: int) -> None:
        """Waits until the database is Ready and components have just that many pods."""
        await_ready(self.name, self.namespace, 300)

        def done() -> bool:
            pods = {role: items("pods", self.namespace, "-l", self.chosen(role)) for role in replicas}
            found = {role: [ready_pod(pod) and not pod["metadata"].get("deletionTimestamp") for pod in of] for role, of in pods.items()}
            if found != {role: [True] * count for role, count in replicas.items()}:
                raise Failed(str(found))
            return True

        until(f"{replicas} pods", 240, done)

    def chosen(self, role: str) -> str:
        return f"app.kubernetes.io/instance={self.name},app.kubernetes.io/component={role}"

    def live(self, role: str) -> list[dict[str, Any]]:
        return [pod for pod in roles_pods(self, self.namespace, role) if ready_pod(pod)]

    def scale(self, role: str, component: str, count: int) -> None:
        roles_patch(self, self.namespace, {"components": {component: {"replicas": count}}})
        self.settled(**{role: count})

    def page(self, pod: dict[str, Any], path: str) -> str:
        """What a pod serves beside the API."""
        try:
            with urllib.request.urlopen(f"http://{pod['status']['podIP']}:9091{path}", timeout=20) as answer:
                return answer.read().decode()
        except OSError as error:  # it is about to go
            raise Failed(f"{pod['metadata']['name']}{path}: {error}") from error

    def nodes(self, client: MilvusClient) -> dict[int, dict[str, Any]]:
        """The query nodes that serve, by the number that the engine has for each."""
        pods = {pod["metadata"]["name"]: pod for pod in self.live("querynode")}
        try:
            known = [node for group in client.list_resource_groups() for node in client.describe_resource_group(group).nodes]
        except MilvusException as error:
            raise Failed(f"query nodes: {error}") from error
        return {node.node_id: pods[node.hostname] for node in known if node.hostname in pods}

    def figure(self, pod: dict[str, Any], name: str, **labels: str) -> float:
        """A metric of a pod, summed over what the labels leave open."""
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        lines = [line for line in self.page(pod, "/metrics").splitlines() if re.match(rf"{name}[{{ ]", line)]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if all(word in line for word in wanted))

    def searches(self, client: MilvusClient) -> dict[int, float]:
        """How many searches each query node has answered so far."""
        return {number: self.figure(pod, "milvus_querynode_sq_req_count", query_type="search", status="success") for number, pod in self.nodes(client).items()}

    def kill(self, pod: dict[str, Any]) -> None:
        kubectl("-n", self.namespace, "delete", "pod", pod["metadata"]["name"], "--grace-period=0", "--force")


def widen(client: MilvusClient) -> None:
    """A collection of four channels, so that its parts can lie on four nodes."""
    schema = client.create_schema(auto_id=False)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vec", DataType.FLOAT_VECTOR, dim=DIM)
    index = client.prepare_index_params()
    index.add_index("vec", index_type="FLAT", metric_type="L2")
    client.create_collection("wide", schema=schema, num_shards=4)
    client.insert("wide", [{"id": key, "vec": row(key)["vec"]} for key in range(WIDE_ROWS)])
    client.flush("wide")
    client.create_index("wide", index)
    client.load_collection("wide")


def verify_wide(client: MilvusClient) -> None:
    found = client.query("wide", filter="", output_fields=["count(*)"], consistency_level="Strong")
    equal(found[0]["count(*)"], WIDE_ROWS, "rows of the wide collection")
    hits = client.search("wide", [row(key)["vec"] for key in (0, 999, WIDE_ROWS - 1)], anns_field="vec", limit=1, consistency_level="Strong")
    equal([answer[0]["id"] for answer in hits], [0, 999, WIDE_ROWS - 1], "nearest to stored rows")


def copies(client: MilvusClient, name: str) -> list[list[int]]:
    """The query nodes of each copy."""
    try:
        return sorted(sorted(replica.group_nodes) for replica in client.describe_replica(name))
    except MilvusException as error:
        raise Failed(f"copies of {name}: {error}") from error


def apart(client: MilvusClient, name: str, count: int, nodes: set[int] | None = None) -> bool:
    """Whether there are so many copies, none empty, no two on one node, and all on these nodes."""
    found = copies(client, name)
    flat = [node for copy in found for node in copy]
    if len(found) != count or not all(found) or len(set(flat)) != len(flat) or not set(flat) <= (nodes or set(flat)):
        raise Failed(f"copies of {name}: {found}, wanted {count} on {nodes}")
    return True


def load(client: MilvusClient, name: str, count: int, seconds: float = 60, **more: Any) -> None:
    client.load_collection(name, replica_number=count, **more)
    until(f"{count} copies of {name}", seconds, lambda: apart(client, name, count))


def nearest(client: MilvusClient, key: int, name: str = "rows") -> None:
    hits = client.search(name, [row(key)["vec"]], anns_field="vec", limit=1, retry_times=0, retry_on_rate_limit=False)
    equal(hits[0][0]["id"], key, "nearest to a stored row")


class Timed(Asking):
    """Keeps when each question failed, too."""

    def __init__(self, ask: Callable[[], Any]) -> None:
        self.when: list[float] = []

        def timed() -> None:
            try:
                ask()
            except Exception:
                self.when.append(time.monotonic())
                raise

        super().__init__(timed)


def one_try(client: MilvusClient) -> Callable[[], None]:
    keys = itertools.count()
    return lambda: nearest(client, next(keys) * 37 % ROWS)


def three_tries(client: MilvusClient) -> Callable[[], None]:
    """As clients of guides do it."""
    keys = itertools.count()

    def ask() -> None:
        key = next(keys) * 41 % ROWS
        for left in (2, 1, 0):
            try:
                return nearest(client, key)
            except Exception:  # noqa: BLE001 - however it fails
                if not left:
                    raise
                time.sleep(0.3)

    return ask


@claim
def g1_116_and_g3_25_a_cluster_has_the_pods_that_it_asks_for(guides: Guides) -> None:
    guides.up()
    guides.settled(**PODS)
    milvus = get("milvus", guides.name, guides.namespace) or {}
    equal((milvus["status"]["status"], milvus["status"]["observedGeneration"]), ("Healthy", milvus["metadata"]["generation"]), "state and generation")
    equal(sorted(set(PODS) - set(milvus["status"]["componentsDeployStatus"])), [], "components that the status does not have")
    line = kubectl("-n", guides.namespace, "get", "milvus", guides.name).splitlines()
    equal((line[0].split()[:3], line[1].split()[1:3]), (["NAME", "MODE", "STATUS"], ["cluster", "Healthy"]), "what is printed")
    listed = kubectl("-n", guides.namespace, "get", "all", "-l", f"app.kubernetes.io/instance={guides.name}", "-o", "name").split()
    wanted = [f"deployment.apps/{guides.name}-milvus-{role}" for role in PODS] + [f"service/{guides.name}-milvus"]
    equal([name for name in wanted if name not in listed], [], "parts that are not listed")
    if "milvus-bucket" not in json.dumps((get("configmap", guides.name, guides.namespace) or {})["data"]):
        raise Failed("the bucket of the spec is not the engine's")
    equal(milvus["status"]["endpoint"].rsplit(":", 1)[1], "19530", "the endpoint's port")
    with guides.client() as client:
        verify(client)
        verify_wide(client)


@claim
def g3_41_both_coordinators_are_healthy(guides: Guides) -> None:
    guides.up()
    equal([guides.page(pod, "/healthz") for pod in guides.live("mixcoord")], ["OK", "OK"], "what they say of themselves")


@claim
def g1_79_and_g2_78_each_copy_is_on_nodes_of_its_own(guides: Guides) -> None:
    guides.up()
    with guides.client() as client:
        for name, count in (("rows", 2), ("wide", 2), ("rows", 3)):
            client.release_collection(name)
            load(client, name, count)
            replicas = client.describe_replica(name)
            channels = {tuple(sorted(shard.channel_name for shard in replica.shards)) for replica in replicas}
            equal((len(channels), {replica.resource_group for replica in replicas}), (1, {DEFAULT}), f"channels of the copies of {name}, and their group")
            strange = [str(shard) for replica in replicas for shard in replica.shards if shard.shard_leader not in shard.shard_nodes or not shard.shard_nodes <= set(replica.group_nodes)]
            equal(strange, [], "shards that are led from elsewhere")
        verify(client)
        verify_wide(client)


@claim
def g2_83_and_84_reads_are_shared_among_copies(guides: Guides) -> None:
    guides.up()
    with guides.client() as client:
        load(client, "wide", 1)
        load(client, "rows", 3)

        def shares(ask: Callable[[], None]) -> list[float]:
            before = guides.searches(client)
            ask()
            after = guides.searches(client)
            return sorted(after[number] - before[number] for number in before)

        def in_turn() -> None:
            for key in range(300):
                nearest(client, key)

        def at_once() -> None:
            askers = [Searching(f"http://{guides.name}-milvus.{guides.namespace}:19530") for _ in range(10)]
            for asker in askers:
                asker.thread.start()
            until("500 searches", 120, lambda: sum(asker.asked for asker in askers) >= 500)
            for asker in askers:
                asker.stopped.set()
            for asker in askers:
                asker.thread.join()
            equal([why for asker in askers for why in asker.failed], [], "searches that failed")

        for ask in (in_turn, at_once):
            found = shares(ask)
            low, high = found[0] / sum(found), found[-1] / sum(found)
            if low < 0.13 or high > 0.53:
                raise Failed(f"shares of the copies: {found}")
        roles_patch(guides, guides.namespace, {"config": {"proxy": {"replicaSelectionPolicy": "round_robin"}}})
        until("the config map has it", 60, lambda: "round_robin" in json.dumps((get("configmap", guides.name, guides.namespace) or {})["data"]))
        guides.settled(**PODS)
    with guides.client() as client:
        nearest(client, 0)
        found = shares(in_turn)
        if found[0] < 97 or found[-1] > 103:
            raise Failed(f"300 searches in turn: {found}")
    roles_patch(guides, guides.namespace, {"config": {"proxy": None}})
    until("the config map has it no more", 60, lambda: "round_robin" not in json.dumps((get("configmap", guides.name, guides.namespace) or {})["data"]))
    guides.settled(**PODS)


@claim
def g2_79_and_81_copies_change_while_searches_go_on_and_each_collection_has_its_own_number(guides: Guides) -> None:
    guides.up()
    with guides.client() as client, guides.address() as uri:
        load(client, "rows", 1)
        load(client, "wide", 1)
        with Searching(uri) as searches:
            laps = []
            for count in (3, 1, 2, 3):
                begin = time.monotonic()
                load(client, "rows", count)
                laps.append(f"{count} after {time.monotonic() - begin:.1f} s")
                time.sleep(2)
        equal(searches.failed, [], f"failed of {searches.asked} searches ({', '.join(laps)})")
        equal((len(copies(client, "rows")), len(copies(client, "wide"))), (3, 1), "copies of the collections")
        verify(client)
    print(f"        {searches.asked} searches; copies: {', '.join(laps)}", flush=True)


@claim
def g2_88_every_copy_shows_what_is_written_and_never_again_what_is_deleted(guides: Guides) -> None:
    guides.up()
    with guides.client() as client:
        load(client, "rows", 3)
        key, vector = ROWS + 7, [2.0] * DIM
        client.insert("rows", [{"id": key, "title": "new", "vec": vector}])

        def seen() -> set[bool]:
            found = (client.search("rows", [vector], anns_field="vec", limit=1, consistency_level="Strong") for _ in range(60))
            return {answer[0][0]["id"] == key for answer in found}

        equal(seen(), {True}, "whether Strong searches find what was inserted")
        client.delete("rows", ids=[key])
        equal(seen(), {False}, "whether Strong searches find what was deleted")
        verify(client)


@claim
def g2_90_copies_take_as_much_memory_each_and_nothing_of_the_store(guides: Guides) -> None:
    guides.up()
    with guides.client() as client:
        client.flush("rows")

        def stored() -> float:
            return max(guides.figure(pod, "milvus_datacoord_stored_binlog_size", collection_name="rows") for pod in guides.live("mixcoord"))

        load(client, "rows", 1)
        until("the rows are in the store", 60, lambda: stored() > 0)
        alone = stored()
        load(client, "rows", 3)

        def held() -> bool:
            found = [guides.figure(pod, "milvus_querynode_entity_num", collection_name="rows") for pod in guides.live("querynode")]
            if found[0] < ROWS or len(set(found)) != 1:
                raise Failed(f"rows in memory: {found}")
            return True

        until("each node holds every row", 60, held)
        if stored() > 1.2 * alone:
            raise Failed(f"{stored()} bytes in the store with three copies, {alone} with one")


@claim
def g1_81_g2_86_and_g3_46_a_node_of_one_of_two_copies_is_killed(guides: Guides) -> None:
    guides.up()
    with guides.client() as client, guides.client() as patient, guides.client() as asking:
        load(client, "rows", 2)
        nodes = guides.nodes(client)
        victim = nodes[copies(client, "rows")[0][0]]
        with Timed(one_try(asking)) as hasty, Asking(three_tries(patient)) as tried:
            time.sleep(3)
            killed = time.monotonic()
            guides.kill(victim)
            gone = victim["metadata"]["uid"]

            def whole() -> bool:
                live = guides.nodes(client)
                return gone not in {pod["metadata"]["uid"] for pod in live.values()} and apart(client, "rows", 2, set(live))

            until("two whole copies on nodes that live", 120, whole)
            again = time.monotonic() - killed
            time.sleep(max(0.0, killed + 15 - time.monotonic()))
        equal(tried.failed, [], f"failed of {tried.asked} searches of up to three tries")
        late = [moment - killed for moment in hasty.when if moment - killed > NOTICED]
        equal(late, [], f"seconds after the kill at which searches of one try failed ({hasty.failed[:2]})")
        verify(client)
    print(f"        {len(hasty.failed)} of {hasty.asked} searches of one try failed, 0 of {tried.asked} of three; two copies again after {again:.0f} s", flush=True)
    guides.settled(**PODS)


@claim
def g3_47_a_node_of_the_only_copy_is_killed_and_every_row_comes_back(guides: Guides) -> None:
    guides.up()
    with guides.client() as client:
        load(client, "rows", 1)
        victim = guides.nodes(client)[copies(client, "rows")[0][0]]
        killed = time.monotonic()
        guides.kill(victim)

        def back() -> bool:
            try:
                verify(client)
            except Failed:
                raise
            except Exception as error:  # noqa: BLE001 - reads may fail meanwhile
                raise Failed(str(error)[:200]) from error
            return True

        until("every row by value", 120, back)
        print(f"        every row again {time.monotonic() - killed:.0f} s after the kill", flush=True)
    guides.settled(**PODS)


@claim
def g2_87_and_g3_38_query_nodes_of_two_copies_are_renewed_one_after_the_other_and_no_search_fails(guides: Guides) -> None:
    guides.up()
    with guides.client() as client, guides.address() as uri:
        load(client, "rows", 2)
        load(client, "wide", 2)
        before = {pod["metadata"]["uid"] for pod in guides.live("querynode")}
        deployment = f"deployment/{guides.name}-milvus-querynode"
        with Searching(uri) as searches:
            kubectl("-n", guides.namespace, "rollout", "restart", deployment)
            kubectl("-n", guides.namespace, "rollout", "status", deployment, "--timeout=300s")
            guides.settled(**PODS)
        equal(before & {pod["metadata"]["uid"] for pod in guides.live("querynode")}, set(), "pods that were there before")
        equal(searches.failed, [], f"failed of {searches.asked} searches")
        until("two copies", 60, lambda: apart(client, "rows", 2, set(guides.nodes(client))))
        verify(client)
        verify_wide(client)
    print(f"        {searches.asked} searches", flush=True)


@claim
def g2_89_and_g3_42_each_coordinator_is_deleted_and_the_other_leads(guides: Guides) -> None:
    guides.up()
    laps = []
    with guides.client() as client, guides.address() as uri:
        load(client, "rows", 2)
        before = copies(client, "rows")
        with Searching(uri) as searches:
            # One of the two leads.
            for turn, pod in enumerate(guides.live("mixcoord")):
                name = f"made_{turn}"
                kubectl("-n", guides.namespace, "delete", "pod", pod["metadata"]["name"], "--wait=false")
                begin = time.monotonic()

                def made() -> bool:
                    try:
                        if not client.has_collection(name):
                            client.create_collection(name, dimension=4, timeout=10)
                    except MilvusException as error:  # not yet
                        raise Failed(str(error)[:200]) from error
                    return True

                until("a collection is made", 10, made)
                laps.append(f"{time.monotonic() - begin:.1f}")
                guides.settled(mixcoord=2)
                client.drop_collection(name)
        equal(searches.failed, [], f"failed of {searches.asked} searches")
        equal(copies(client, "rows"), before, "copies")
        verify(client)
    print(f"        {searches.asked} searches; a collection was made {', '.join(laps)} s after the deletion", flush=True)


@claim
def g1_117_g3_53_and_54_query_nodes_come_and_go_and_no_search_fails(guides: Guides) -> None:
    guides.up()
    with guides.client() as client, guides.address() as uri:
        load(client, "rows", 1)
        load(client, "wide", 1)
        with Searching(uri) as searches:
            guides.scale("querynode", "queryNode", 4)
            begin = time.monotonic()
            until("parts of a collection on all four nodes", 60, lambda: copies(client, "wide") == [sorted(guides.nodes(client))])
            spread = time.monotonic() - begin
            guides.scale("querynode", "queryNode", 3)
            verify(client)
            verify_wide(client)
        equal(searches.failed, [], f"failed of {searches.asked} searches")
    print(f"        {searches.asked} searches; four nodes at work {spread:.0f} s after the fourth was there", flush=True)


def scaler(guides: Guides, target: str) -> str:
    """A guide's scaler, with a target for the processor that decides at once which way it goes, and without its five minutes of rest."""
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": f"{guides.name}-milvus-querynode"},
        "minReplicas": 3,
        "maxReplicas": 4,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "AverageValue", "averageValue": target}}}],
        "behavior": {
            "scaleDown": {"stabilizationWindowSeconds": 0, "policies": [{"type": "Percent", "value": 50, "periodSeconds": 60}]},
            "scaleUp": {"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": [{"type": "Pods", "value": 2, "periodSeconds": 60}]},
        },
    }
    return json.dumps({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "milvus-querynode-hpa"}, "spec": spec})


@claim
def g3_58_and_63_a_scaler_adds_a_query_node_under_load_and_takes_it_away_amid_searches(guides: Guides) -> None:
    guides.up()
    with guides.client() as client, guides.address() as uri:
        load(client, "rows", 1)
        load(client, "wide", 1)
        roles_patch(guides, guides.namespace, {"components": {"queryNode": {"replicas": -1}}})
        guides.settled(**PODS)
        with Searching(uri) as searches, Searching(uri) as more:
            kubectl("-n", guides.namespace, "apply", "-f", "-", text=scaler(guides, "5m"))
            begin = time.monotonic()
            until("a fourth query node", 240, lambda: len(guides.live("querynode")) == 4)
            up = time.monotonic() - begin
            told = [event["reason"] for event in items("events", guides.namespace) if event["involvedObject"]["kind"] == "HorizontalPodAutoscaler"]
            equal("SuccessfulRescale" in told, True, f"whether an event says so ({sorted(set(told))})")
            kubectl("-n", guides.namespace, "apply", "-f", "-", text=scaler(guides, "10"))
            guides.settled(querynode=3)
        equal(searches.failed + more.failed, [], f"failed of {searches.asked + more.asked} searches")
        kubectl("-n", guides.namespace, "delete", "hpa", "milvus-querynode-hpa")
        roles_patch(guides, guides.namespace, {"components": {"queryNode": {"replicas": 3}}})
        guides.settled(**PODS)
        verify(client)
        verify_wide(client)
    print(f"        {searches.asked + more.asked} searches; a fourth node after {up:.0f} s", flush=True)


@claim
def g3_52_a_machine_is_drained_of_its_query_nodes_and_no_search_fails(guides: Guides) -> None:
    """Of query nodes alone: the volumes of etcd and the object store are of their machine here, and would hold the drain up."""
    guides.up()
    with guides.client() as client, guides.address() as uri:
        load(client, "rows", 2)
        hosts = [pod["spec"]["nodeName"] for pod in guides.live("querynode")]
        # The one with fewer of them.
        machine = min(sorted(set(hosts)), key=hosts.count)
        budget = get("poddisruptionbudget", f"{guides.name}-milvus-querynode", guides.namespace) or {}
        equal(budget.get("spec", {}).get("maxUnavailable"), 1, "query nodes that may be evicted at once")
        with Searching(uri) as searches:
            chosen = f"--pod-selector={guides.chosen('querynode')}"
            kubectl("drain", machine, "--ignore-daemonsets", "--delete-emptydir-data", chosen, "--timeout=240s")
            try:
                guides.settled(querynode=3)
                equal([pod["spec"]["nodeName"] for pod in guides.live("querynode") if pod["spec"]["nodeName"] == machine], [], "query nodes on the drained machine")
                until("two copies", 60, lambda: apart(client, "rows", 2, set(guides.nodes(client))))
            finally:
                kubectl("uncordon", machine)
        equal(searches.failed, [], f"failed of {searches.asked} searches")
        equal(((json.loads(kubectl("get", "node", machine, "-o", "json")))["spec"]).get("unschedulable"), None, "whether it is still closed")
        verify(client)
    print(f"        {searches.asked} searches; {hosts.count(machine)} query nodes left {machine}", flush=True)


@claim
def g3_34_every_component_takes_another_image_and_no_search_fails(guides: Guides) -> None:
    guides.up()
    with guides.client() as client, guides.address() as uri:
        load(client, "rows", 2)
        load(client, "wide", 2)
        with Searching(uri) as searches:
            roles_patch(guides, guides.namespace, {"components": {"image": guides.other_image}})

            def images() -> bool:
                found = {role: {pod["spec"]["containers"][0]["image"] for pod in items("pods", guides.namespace, "-l", guides.chosen(role))} for role in PODS}
                if found != dict.fromkeys(PODS, {guides.other_image}):
                    raise Failed(str(found))
                return True

            until("every pod has the image", 600, images)
            guides.settled(**PODS)
        equal(searches.failed, [], f"failed of {searches.asked} searches")
        verify(client)
        verify_wide(client)
    print(f"        {searches.asked} searches", flush=True)


@claim
def g3_37_revisions_are_listed_and_an_undo_by_hand_is_put_back(guides: Guides) -> None:
    """What runs is what the object says: one goes back by changing that, or by `rollout.onFailure`."""
    guides.up()
    name = f"{guides.name}-milvus-datanode"

    def image() -> str:
        return (get("deployment", name, guides.namespace) or {})["spec"]["template"]["spec"]["containers"][0]["image"]

    def revisions() -> dict[str, str]:
        """The image of each revision that is kept."""
        found = items("replicasets", guides.namespace, "-l", guides.chosen("datanode"))
        return {one["metadata"]["annotations"]["deployment.kubernetes.io/revision"]: one["spec"]["template"]["spec"]["containers"][0]["image"] for one in found}

    if set(revisions().values()) == {image()}:
        roles_patch(guides, guides.namespace, {"components": {"image": guides.other_image}})
        until("the data nodes have another image", 400, lambda: image() == guides.other_image)
        await_ready(guides.name, guides.namespace, 300)
    wanted, kept = image(), revisions()
    told = kubectl("-n", guides.namespace, "rollout", "history", f"deployment/{name}").split()
    equal([number for number in kept if number not in told], [], "revisions that the history does not list")
    other = next(number for number, had in kept.items() if had != wanted)
    kubectl("-n", guides.namespace, "rollout", "undo", f"deployment/{name}", f"--to-revision={other}")
    until("the object's image is the workload's again", 5, lambda: image() == wanted)
    guides.settled(datanode=2)
    equal({pod["spec"]["containers"][0]["image"] for pod in guides.live("datanode")}, {wanted}, "images of the data nodes")


GROUPS = {"business_a": 2, "business_b": 1, "business_c": 1}


def wishes(count: int) -> ResourceGroupConfig:
    return ResourceGroupConfig(requests={"node_num": count}, limits={"node_num": count})


def members(client: MilvusClient, group: str) -> set[int]:
    try:
        return {node.node_id for node in client.describe_resource_group(group).nodes}
    except MilvusException as error:
        raise Failed(f"nodes of {group}: {error}") from error


def grouped(client: MilvusClient, live: set[int], spare: int) -> bool:
    """Every group has the nodes that it asks for, all of them live, and the default one the rest."""
    found = {group: members(client, group) for group in (*GROUPS, DEFAULT)}
    if {group: len(nodes & live) for group, nodes in found.items()} != {**GROUPS, DEFAULT: spare}:
        raise Failed(f"{found} of {live}")
    return True


def with_groups(guides: Guides, client: MilvusClient) -> None:
    """Five query nodes, and the groups: made if they are not there."""
    if len(guides.live("querynode")) != 5:
        guides.scale("querynode", "queryNode", 5)
    for group, count in GROUPS.items():
        if group not in client.list_resource_groups():
            client.create_resource_group(group, config=wishes(count))
    until("the groups have their nodes", 60, lambda: grouped(client, set(guides.nodes(client)), 1))


@claim
def g2_123_groups_have_the_nodes_that_they_ask_for(guides: Guides) -> None:
    guides.up()
    with guides.client() as client:
        with_groups(guides, client)
        equal(sorted(client.list_resource_groups()), sorted([DEFAULT, *GROUPS]), "groups")


@claim
def g2_126_and_127_a_group_answers_alone_for_what_is_loaded_into_it(guides: Guides) -> None:
    guides.up()
    with guides.client() as client:
        with_groups(guides, client)
        load(client, "rows", 1, resource_groups=["business_a"])
        load(client, "wide", 2, resource_groups=["business_b", "business_c"])
        until("copies in their groups", 60, lambda: set(copies(client, "rows")[0]) <= members(client, "business_a"))
        equal(sorted(replica.resource_group for replica in client.describe_replica("wide")), ["business_b", "business_c"], "groups of the copies")
        quiet = members(client, "business_b") | members(client, "business_c")
        before = guides.searches(client)
        for key in range(300):
            nearest(client, key)
        after = guides.searches(client)
        equal({number: after[number] - before[number] for number in quiet}, dict.fromkeys(quiet, 0.0), "searches of other groups' nodes")
        equal(sum(after[number] - before[number] for number in members(client, "business_a")) >= 300, True, "whether the group's nodes answered")


@claim
def g2_128_a_copy_goes_to_another_group_and_no_search_fails(guides: Guides) -> None:
    guides.up()
    with guides.client() as client, guides.client() as asking:
        with_groups(guides, client)
        load(client, "wide", 1, resource_groups=["business_b"])
        until("it is there", 60, lambda: copies(client, "wide") == [sorted(members(client, "business_b"))])
        keys = itertools.count()
        with Asking(lambda: nearest(asking, next(keys) * 37 % WIDE_ROWS, "wide")) as asked:
            client.transfer_replica("business_b", "business_c", "wide", 1)
            until("it is in the other group", 60, lambda: [replica.resource_group for replica in client.describe_replica("wide")] == ["business_c"])
            until("and on its nodes", 60, lambda: copies(client, "wide") == [sorted(members(client, "business_c"))])
            time.sleep(3)
        equal(asked.failed, [], f"failed of {asked.asked} searches")
        verify_wide(client)


@claim
def g2_130_a_node_of_a_group_is_killed_and_the_group_is_filled_again(guides: Guides) -> None:
    guides.up()
    with guides.client() as client:
        with_groups(guides, client)
        load(client, "rows", 1, resource_groups=["business_a"])
        victim = guides.nodes(client)[min(members(client, "business_a"))]
        killed = time.monotonic()
        guides.kill(victim)

        def filled() -> bool:
            live = {number for number, pod in guides.nodes(client).items() if pod["metadata"]["uid"] != victim["metadata"]["uid"]}
            return len(members(client, "business_a") & live) == 2 and apart(client, "rows", 1, live)

        until("the group has two nodes that live", 120, filled)
        verify(client)
        print(f"        filled again after {time.monotonic() - killed:.0f} s", flush=True)
        guides.settled(querynode=5)
        until("all groups have their nodes", 60, lambda: grouped(client, set(guides.nodes(client)), 1))


@claim
def g2_131_nodes_come_and_go_and_no_group_has_fewer_than_it_asks_for(guides: Guides) -> None:
    guides.up()
    with guides.client() as client, guides.client() as looking, guides.address() as uri:
        with_groups(guides, client)
        load(client, "rows", 1, resource_groups=["business_a"])

        def enough() -> None:
            found = {group: len(members(looking, group)) for group in GROUPS}
            if any(found[group] < count for group, count in GROUPS.items()):
                raise Failed(str(found))

        with Searching(uri) as searches, Asking(enough) as looks:
            guides.scale("querynode", "queryNode", 6)
            until("the new node is the default group's", 60, lambda: grouped(client, set(guides.nodes(client)), 2))
            guides.scale("querynode", "queryNode", 5)
            until("the default group has one less", 60, lambda: grouped(client, set(guides.nodes(client)), 1))
        equal(looks.failed, [], f"of {looks.asked} looks those at which a group had too few nodes")
        equal(searches.failed, [], f"failed of {searches.asked} searches")
        verify(client)
    print(f"        {searches.asked} searches, {looks.asked} looks at the groups", flush=True)


@claim
def groups_that_are_emptied_give_their_nodes_back(guides: Guides) -> None:
    guides.up()
    with guides.client() as client:
        with_groups(guides, client)
        for name in ("rows", "wide"):
            load(client, name, 1, resource_groups=[DEFAULT])
        for group in GROUPS:
            client.update_resource_groups({group: wishes(0)})
        until("all nodes are in the default group", 60, lambda: members(client, DEFAULT) == set(guides.nodes(client)))
        for group in GROUPS:
            client.drop_resource_group(group)
        equal(client.list_resource_groups(), [DEFAULT], "groups")
        verify(client)
        verify_wide(client)
    guides.scale("querynode", "queryNode", 3)


@claim
def g1_118_deleted_with_all_that_it_has_nothing_is_left(guides: Guides) -> None:
    guides.up()
    kubectl("-n", guides.namespace, "delete", "milvus", guides.name, "--timeout=300s")
    until("nothing is left", 120, lambda: not items("pods,pvc,statefulsets,deployments", guides.namespace))


def main() -> int:
    sample, other_image, words = sys.argv[1], sys.argv[2], sys.argv[3:]
    return run_claims("guides", CLAIMS, Guides(sample, other_image), words)


if __name__ == "__main__":
    sys.exit(main())
