"""What a Milvus object does in a real cluster: made, killed, edited, broken, deleted; the operator killed and doubled.

    suite.py SAMPLE OTHER_IMAGE [WORD …]     KUBECONFIG names the cluster; only the claims whose name contains a word
    CLUSTER, CLUSTER_DISPOSABLE      set for somebody's cluster: then faults only where that is 1

OTHER_IMAGE is the engine's image under another tag, for the change of images.
Claims named gG_N are cases of guides to Milvus: cases.md says which. A claim named row_N is that promise of docs/reliability.md's list.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from contextlib import contextmanager
from typing import Any, Callable, Iterator

from pymilvus import DataType, MilvusClient

from watched import writes_of_operator

OPERATOR_NAMESPACE = os.environ.get("OPERATOR_NAMESPACE", "redkite-operator")
PREFIX = os.environ.get("NAMESPACE_PREFIX", "rk-test")
ROWS = 3_000
DIM = 16
CLAIMS: list[Callable[["World"], None]] = []


FAULTS: set[Callable[["World"], None]] = set()


def claim(check: Callable[["World"], None]) -> Callable[["World"], None]:
    """Marks a function as one claim; claims run in the order of this file."""
    CLAIMS.append(check)
    return check


def fault(check: Callable[["World"], None]) -> Callable[["World"], None]:
    """Marks a claim that kills pods or scales something: in somebody's cluster only where CLUSTER_DISPOSABLE=1."""
    FAULTS.add(check)
    return check


class Failed(AssertionError):
    """A claim does not hold."""


def kubectl(*words: str, text: str | None = None, check: bool = True) -> str:
    done = subprocess.run(["kubectl", *words], input=text, capture_output=True, text=True)
    if check and done.returncode:
        raise Failed(f"kubectl {' '.join(words)}: {done.stderr.strip()[:600]}")
    return done.stdout


def get(kind: str, name: str, namespace: str) -> dict[str, Any] | None:
    out = kubectl("-n", namespace, "get", kind, name, "-o", "json", "--ignore-not-found")
    return json.loads(out) if out.strip() else None


def items(kind: str, namespace: str, *words: str) -> list[dict[str, Any]]:
    return json.loads(kubectl("-n", namespace, "get", kind, "-o", "json", *words))["items"]


def until(what: str, seconds: float, done: Callable[[], Any]) -> Any:
    """Waits until `done` gives something true; says what it last gave otherwise."""
    end, last = time.monotonic() + seconds, None
    while time.monotonic() < end:
        try:
            last = done()
            if last:
                return last
        except Failed as error:
            last = str(error)
        time.sleep(0.5)
    raise Failed(f"{what}: not within {seconds:.0f} s (last: {str(last)[:300]})")


def equal(found: Any, wanted: Any, what: str) -> None:
    if found != wanted:
        raise Failed(f"{what}: found {str(found)[:600]}, wanted {str(wanted)[:600]}")


def condition(milvus: dict[str, Any] | None, kind: str) -> dict[str, Any]:
    conditions = (milvus or {}).get("status", {}).get("conditions", [])
    return next((entry for entry in conditions if entry["type"] == kind), {})


def is_ready(name: str, namespace: str) -> bool:
    milvus = get("milvus", name, namespace)
    ready = condition(milvus, "Ready")
    return bool(milvus) and ready.get("status") == "True" and ready.get("observedGeneration") == milvus["metadata"]["generation"]


def await_ready(name: str, namespace: str, seconds: float = 180) -> None:
    def done() -> bool:
        return is_ready(name, namespace)

    try:
        until(f"milvus/{name} is Ready", seconds, done)
    except Failed as error:
        state = (get("milvus", name, namespace) or {}).get("status", {})
        events = kubectl("-n", namespace, "get", "events", "--sort-by=.lastTimestamp", check=False)
        pods = kubectl("-n", namespace, "get", "pods", check=False)
        raise Failed(f"{error}; status {json.dumps(state)[:800]}\n{pods}\n{events[-1500:]}") from error


class World:
    """The sample object, under names of this run."""

    def __init__(self, sample: str, other_image: str) -> None:
        # The API server's own reading of the file, so that no YAML library is needed here.
        self.sample = json.loads(kubectl("create", "--dry-run=client", "-f", sample, "-o", "json"))
        self.other_image = other_image
        self.name = "kite"
        self.namespace = self.make_namespace("main")

    @staticmethod
    def make_namespace(suffix: str, **labels: str) -> str:
        name = f"{PREFIX}-{suffix}"
        made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        kubectl("apply", "-f", "-", text=json.dumps(made))
        return name

    def milvus(self, **spec: Any) -> dict[str, Any]:
        """The sample under another name, with parts of the spec replaced."""
        made = json.loads(json.dumps(self.sample))
        made["metadata"] = {"name": self.name}
        made["spec"] = {**made.get("spec", {}), **spec}
        return made

    def apply(self, milvus: dict[str, Any], namespace: str | None = None) -> None:
        kubectl("-n", namespace or self.namespace, "apply", "-f", "-", text=json.dumps(milvus))

    def patch(self, spec: dict[str, Any]) -> None:
        kubectl("-n", self.namespace, "patch", "milvus", self.name, "--type=merge", "-p", json.dumps({"spec": spec}))

    def deployment(self) -> dict[str, Any]:
        found = get("deployment", f"{self.name}-milvus-standalone", self.namespace)
        if found is None:
            raise Failed("the workload is not there")
        return found

    def container(self) -> dict[str, Any]:
        return self.deployment()["spec"]["template"]["spec"]["containers"][0]

    def pods(self) -> list[dict[str, Any]]:
        return items("pods", self.namespace, "-l", f"app.kubernetes.io/instance={self.name}")

    @contextmanager
    def client(self, namespace: str | None = None) -> Iterator[MilvusClient]:
        """A client through a port forward to the service."""
        with self.address(namespace) as uri:
            client = MilvusClient(uri, timeout=60)
            yield client
            client.close()

    @contextmanager
    def address(self, namespace: str | None = None) -> Iterator[str]:
        """Where the service is forwarded to."""
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        command = ["kubectl", "-n", namespace or self.namespace, "port-forward", f"service/{self.name}-milvus", f"{port}:19530"]
        forward = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            until("the port forward", 30, lambda: answers(port))
            yield f"http://127.0.0.1:{port}"
        finally:
            forward.terminate()
            forward.wait()


def answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def row(key: int) -> dict[str, Any]:
    draw = random.Random(key)
    return {"id": key, "title": f"title {key}", "vec": [round(draw.uniform(-1, 1) * 1024) / 1024 for _ in range(DIM)]}


def fill(client: MilvusClient) -> None:
    schema = client.create_schema(auto_id=False)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("title", DataType.VARCHAR, max_length=50)
    schema.add_field("vec", DataType.FLOAT_VECTOR, dim=DIM)
    client.create_collection("rows", schema=schema)
    index = client.prepare_index_params()
    index.add_index("vec", index_type="HNSW", metric_type="L2", params={"M": 8, "efConstruction": 100})
    client.create_index("rows", index)
    client.load_collection("rows")
    # Half of the rows are flushed, half are only acknowledged.
    for first in range(0, ROWS, 500):
        client.insert("rows", [row(key) for key in range(first, first + 500)])
        if first + 500 == ROWS // 2:
            client.flush("rows")


def verify(client: MilvusClient) -> None:
    """Every row by value, and a search for some of them."""
    until("the collection is loaded", 60, lambda: "Loaded" in str(client.get_load_state("rows")["state"]))
    found = client.query("rows", filter="id >= 0", output_fields=["*"], limit=ROWS + 10, consistency_level="Strong")
    found = [{**entity, "vec": [float(value) for value in entity["vec"]]} for entity in found]
    equal(len(found), ROWS, "rows")
    for entity in found:
        equal(entity, row(entity["id"]), "row")
    hits = client.search("rows", [row(key)["vec"] for key in (0, 1700, ROWS - 1)], anns_field="vec", limit=1, search_params={"params": {"ef": 64}})
    equal([answer[0]["id"] for answer in hits], [0, 1700, ROWS - 1], "nearest to stored rows")


@claim
def an_applied_object_becomes_ready(world: World) -> None:
    world.apply(world.milvus())
    await_ready(world.name, world.namespace)
    milvus = get("milvus", world.name, world.namespace) or {}
    equal(condition(milvus, "SpecAccepted").get("status"), "True", "SpecAccepted")
    equal(condition(milvus, "MilvusReady").get("status"), "True", "MilvusReady")
    equal(milvus["status"].get("observedGeneration"), milvus["metadata"]["generation"], "observedGeneration")
    if not milvus["status"].get("endpoint"):
        raise Failed("status.endpoint is empty")
    kubectl("-n", world.namespace, "wait", f"milvus/{world.name}", "--for=condition=Ready", "--timeout=10s")
    pods = world.pods()
    equal(len(pods), 1, "pods")
    equal(get("pvc", f"{world.name}-data", world.namespace)["status"]["phase"], "Bound", "the claim")


@claim
def rows_are_found_by_value(world: World) -> None:
    with world.client() as client:
        fill(client)
        verify(client)


@claim
@fault
def acknowledged_rows_outlive_the_pod(world: World) -> None:
    for _ in range(2):
        before = [pod["metadata"]["uid"] for pod in world.pods()]
        kubectl("-n", world.namespace, "delete", "pod", "-l", f"app.kubernetes.io/instance={world.name}", "--grace-period=0", "--force")
        until("another pod", 120, lambda: [p for p in world.pods() if p["metadata"]["uid"] not in before and ready_pod(p)])
        await_ready(world.name, world.namespace)
        with world.client() as client:
            verify(client)


def ready_pod(pod: dict[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)


@claim
def nothing_changes_while_nothing_is_asked(world: World) -> None:
    audit_log, begin = os.environ.get("AUDIT_LOG"), time.time()
    if audit_log:
        # The last status and Events of what was done before.
        until("an end of what was begun", 60, lambda: not writes_of_operator(audit_log, time.time() - 5))
        begin = time.time()
    before = world.deployment()["metadata"]["generation"], get("milvus", world.name, world.namespace)["metadata"]["generation"]
    time.sleep(10)
    after = world.deployment()["metadata"]["generation"], get("milvus", world.name, world.namespace)["metadata"]["generation"]
    equal(after, before, "generations of workload and object")
    if audit_log:
        equal(writes_of_operator(audit_log, begin), [], "what the operator wrote, but for its lease")


@claim
def changed_resources_roll_out(world: World) -> None:
    wanted = {"requests": {"cpu": "110m", "memory": "130Mi"}, "limits": {"memory": "1Gi"}}
    world.patch({"components": {"standalone": {"resources": wanted}}})
    until("the workload has the resources", 60, lambda: world.container().get("resources", {}).get("requests") == wanted["requests"])
    await_ready(world.name, world.namespace)
    pod = until("a pod with them", 120, lambda: [p for p in world.pods() if ready_pod(p) and p["spec"]["containers"][0]["resources"].get("requests") == wanted["requests"]])
    equal(len(pod), 1, "pods")


@claim
def changed_settings_reach_the_engine(world: World) -> None:
    before = {pod["metadata"]["uid"] for pod in world.pods()}
    world.patch({"config": {"log": {"level": "debug"}}})
    until("the config map has the setting", 60, lambda: "debug" in json.dumps((get("configmap", world.name, world.namespace) or {}).get("data", {})))
    await_ready(world.name, world.namespace)
    until("a pod that started with it", 120, lambda: [p for p in world.pods() if p["metadata"]["uid"] not in before and ready_pod(p)])


@claim
@fault
def zero_replicas_stop_and_one_starts(world: World) -> None:
    world.patch({"components": {"standalone": {"replicas": 0}}})
    until("no pod", 120, lambda: not world.pods())
    world.patch({"components": {"standalone": {"replicas": 1}}})
    until("a pod", 120, lambda: [pod for pod in world.pods() if ready_pod(pod)])
    await_ready(world.name, world.namespace)
    with world.client() as client:
        verify(client)


@claim
def another_image_rolls_out(world: World) -> None:
    world.patch({"components": {"image": world.other_image}})
    until("the workload has the image", 60, lambda: world.container()["image"] == world.other_image)
    until("a pod with it", 120, lambda: [p for p in world.pods() if ready_pod(p) and p["spec"]["containers"][0]["image"] == world.other_image])
    await_ready(world.name, world.namespace)
    with world.client() as client:
        verify(client)


@claim
def g3_36_a_paused_deployment_takes_another_image_only_once_it_goes_on(world: World) -> None:
    deployment = f"deployment/{world.name}-milvus-standalone"

    def lives() -> list[str]:
        return sorted(pod["metadata"]["uid"] for pod in world.pods())

    def given(image: str | None, **components: Any) -> None:
        """The workload has another image, and its pod stays for as long as a rollout takes to begin."""
        before, old = lives(), world.container()["image"]
        world.patch({"components": {"image": image, **components}})
        until("the workload has another image", 60, lambda: world.container()["image"] != old)
        time.sleep(5)
        equal(lives(), before, "pods of the paused workload")

    def goes_on() -> None:
        wanted = world.container()["image"]
        until("a pod with the image", 120, lambda: [p for p in world.pods() if ready_pod(p) and p["spec"]["containers"][0]["image"] == wanted])
        await_ready(world.name, world.namespace)

    kubectl("-n", world.namespace, "rollout", "pause", deployment)
    given(None)
    kubectl("-n", world.namespace, "rollout", "resume", deployment)
    goes_on()
    given(world.other_image, paused=True)
    equal(world.deployment()["spec"].get("paused"), True, "whether the object's `paused` is the workload's")
    world.patch({"components": {"paused": None}})
    goes_on()


@claim
def a_broken_object_gets_a_condition_that_names_the_field(world: World) -> None:
    namespace = world.make_namespace("broken")
    broken = world.milvus(dependencies={"storage": {"external": True, "type": "S3", "endpoint": "minio:99999"}})
    world.apply(broken, namespace)

    def named() -> bool:
        accepted = condition(get("milvus", world.name, namespace), "SpecAccepted")
        return accepted.get("status") == "False" and "spec.dependencies.storage.endpoint" in accepted.get("message", "")

    until("the condition names spec.dependencies.storage.endpoint", 60, named)
    equal(items("deployments", namespace), [], "workloads of a broken object")
    # Mended, it comes up.
    kubectl("-n", namespace, "patch", "milvus", world.name, "--type=json", "-p", '[{"op": "remove", "path": "/spec/dependencies"}]')
    await_ready(world.name, namespace)
    kubectl("-n", namespace, "delete", "milvus", world.name, "--timeout=120s")


@claim
def what_the_schema_forbids_is_refused_at_once(world: World) -> None:
    follows = {"redkite": {"autoscaling": {"queryNode": {"min": 3, "max": 2}}}}
    cases = [
        ("spec.redkite.autoscaling.queryNode: Invalid value: min must not be more than max", follows),
        ("spec.mode", {"mode": "galaxy"}),
        ("spec.dependencies.storage", {"dependencies": {"storage": {"external": True}}}),
    ]
    for path, spec in cases:
        command = ["kubectl", "-n", world.namespace, "apply", "--dry-run=server", "-f", "-"]
        done = subprocess.run(command, input=json.dumps(world.milvus(**spec)), capture_output=True, text=True)
        if done.returncode == 0 or path not in done.stderr:
            raise Failed(f"{spec} was answered with {done.returncode} {done.stderr[:300]}")


@claim
@fault
def the_operator_killed_at_any_moment_converges(world: World) -> None:
    namespace = world.make_namespace("killed")
    rng = random.Random(11)
    for turn in range(3):
        world.apply(world.milvus(), namespace)
        for _ in range(2):
            time.sleep(rng.random() * 1.5)
            kubectl("-n", OPERATOR_NAMESPACE, "delete", "pods", "--all", "--grace-period=0", "--force")
        await_ready(world.name, namespace)
        kinds = "deployments,services,configmaps,serviceaccounts,persistentvolumeclaims"
        made = sorted(f"{entry['kind']}/{entry['metadata']['name']}" for entry in items(kinds, namespace) if "root-ca" not in entry["metadata"]["name"])
        wanted = sorted(f"{entry['kind']}/{entry['metadata']['name']}" for entry in items(kinds, world.namespace) if "root-ca" not in entry["metadata"]["name"])
        equal(made, wanted, f"objects after turn {turn}")
        kubectl("-n", namespace, "delete", "milvus", world.name, "--wait=false")
        time.sleep(rng.random())
        kubectl("-n", OPERATOR_NAMESPACE, "delete", "pods", "--all", "--grace-period=0", "--force")
        until("the object is gone", 120, lambda: get("milvus", world.name, namespace) is None)
        kubectl("-n", namespace, "delete", "pvc", "--all", "--wait=true", "--timeout=60s")


@claim
@fault
def a_second_operator_changes_nothing(world: World) -> None:
    deployment = items("deployments", OPERATOR_NAMESPACE)[0]["metadata"]["name"]
    kubectl("-n", OPERATOR_NAMESPACE, "scale", "deployment", deployment, "--replicas=2")
    kubectl("-n", OPERATOR_NAMESPACE, "rollout", "status", f"deployment/{deployment}", "--timeout=120s")
    before = world.deployment()["metadata"]["generation"]
    world.patch({"components": {"standalone": {"resources": {"requests": {"cpu": "120m", "memory": "130Mi"}}}}})
    until("the change arrives", 60, lambda: world.container()["resources"]["requests"]["cpu"] == "120m")
    await_ready(world.name, world.namespace)
    time.sleep(5)
    equal(world.deployment()["metadata"]["generation"], before + 1, "changes of the workload")
    leases = [lease for lease in items("leases", OPERATOR_NAMESPACE) if lease["spec"].get("holderIdentity")]
    equal(len(leases), 1, "leases that are held")
    # The one that leads goes; the other takes over.
    kubectl("-n", OPERATOR_NAMESPACE, "delete", "pod", leases[0]["spec"]["holderIdentity"], "--grace-period=0", "--force", check=False)
    world.patch({"components": {"standalone": {"resources": {"requests": {"cpu": "130m", "memory": "130Mi"}}}}})
    until("the other one carries it out", 90, lambda: world.container()["resources"]["requests"]["cpu"] == "130m")
    await_ready(world.name, world.namespace)
    kubectl("-n", OPERATOR_NAMESPACE, "scale", "deployment", deployment, "--replicas=1")


@claim
def pods_pass_the_restricted_profile(world: World) -> None:
    namespace = world.make_namespace("strict", **{"pod-security.kubernetes.io/enforce": "restricted"})
    world.apply(world.milvus(), namespace)
    await_ready(world.name, namespace)
    kubectl("-n", namespace, "delete", "milvus", world.name, "--timeout=120s")


@claim
@fault
def what_is_taken_over_keeps_what_it_had_and_every_row(world: World) -> None:
    name = f"{world.name}-milvus"
    kept = [("service", name), ("configmap", world.name), ("serviceaccount", name), ("pvc", f"{world.name}-data")]

    def identities() -> dict[str, str]:
        return {f"{kind}/{which}": (get(kind, which, world.namespace) or {"metadata": {"uid": "none"}})["metadata"]["uid"] for kind, which in kept}

    # A release as another operator leaves it whose pods are ours: without its object, and without a mark of who made it.
    kubectl("-n", world.namespace, "delete", "milvus", world.name, "--cascade=orphan", "--timeout=60s")
    for kind, which in [*kept, ("deployment", f"{name}-standalone")]:
        kubectl("-n", world.namespace, "annotate", kind, which, "redkite.io/rendered-")
    before, pods = identities(), [pod["metadata"]["uid"] for pod in world.pods()]
    world.apply(world.milvus())
    until("the release is named", 60, lambda: condition(get("milvus", world.name, world.namespace), "SpecAccepted").get("reason") == "ForeignRelease")
    equal((identities(), [pod["metadata"]["uid"] for pod in world.pods()]), (before, pods), "what is left alone")
    kubectl("-n", world.namespace, "annotate", "milvus", world.name, "redkite.io/take-over=true")
    await_ready(world.name, world.namespace)
    equal(identities(), before, "what a take-over keeps: only Deployments are replaced")
    equal(set(pods) & {pod["metadata"]["uid"] for pod in world.pods()}, set(), "pods that were there before")
    with world.client() as client:
        verify(client)


@claim
def deleting_keeps_the_volume_and_its_rows_come_back(world: World) -> None:
    kubectl("-n", world.namespace, "delete", "milvus", world.name, "--timeout=120s")
    until("no pod", 60, lambda: not world.pods())
    equal(get("deployment", f"{world.name}-milvus-standalone", world.namespace), None, "the workload")
    if get("pvc", f"{world.name}-data", world.namespace) is None:
        raise Failed("the claim is gone although the policy keeps it")
    world.apply(world.milvus())
    await_ready(world.name, world.namespace)
    with world.client() as client:
        verify(client)


@claim
def deleting_removes_the_volume_where_the_policy_says_so(world: World) -> None:
    world.patch({"redkite": {"dataPolicy": "Delete"}})
    await_ready(world.name, world.namespace)
    kubectl("-n", world.namespace, "delete", "milvus", world.name, "--timeout=120s")
    until("the claim is gone", 60, lambda: get("pvc", f"{world.name}-data", world.namespace) is None)


# A cluster of roles. Requests are small and most components have one pod, since two cores carry it all.
ROLES = ["mixcoord", "streamingnode", "querynode", "datanode", "proxy"]
SMALL = {"requests": {"cpu": "20m", "memory": "64Mi"}}


def roles_spec(**more: Any) -> dict[str, Any]:
    values = {"persistence": {"size": "1Gi"}, "resources": SMALL}
    return {
        "mode": "cluster",
        "components": {"resources": SMALL, "queryNode": {"replicas": 1}, **more.pop("components", {})},
        "dependencies": {
            "msgStreamType": "woodpecker",
            "etcd": {"inCluster": {"values": {**values, "replicaCount": 1}, **more.pop("policy", {})}},
            "storage": {"inCluster": {"values": values, **more.pop("storage_policy", {})}},
        },
        **more,
    }


def roles_namespace(world: World) -> str:
    return world.make_namespace("roles", **{"pod-security.kubernetes.io/enforce": "restricted"})


def roles_pods(world: World, namespace: str, role: str) -> list[dict[str, Any]]:
    labels = f"app.kubernetes.io/instance={world.name},app.kubernetes.io/component={role}"
    return [pod for pod in items("pods", namespace, "-l", labels) if not pod["metadata"].get("deletionTimestamp")]


def roles_up(world: World) -> str:
    """The cluster of roles, made if it is not there: each of its claims can run alone."""
    namespace = roles_namespace(world)
    if get("milvus", world.name, namespace) is None:
        world.apply({**world.milvus(), "spec": roles_spec()}, namespace)
    await_ready(world.name, namespace, 240)
    with world.client(namespace) as client:
        if not client.has_collection("rows"):
            fill(client)
    return namespace


def roles_patch(world: World, namespace: str, spec: dict[str, Any]) -> None:
    kubectl("-n", namespace, "patch", "milvus", world.name, "--type=merge", "-p", json.dumps({"spec": spec}))


@claim
def roles_with_stores_beside_them_become_ready(world: World) -> None:
    namespace = roles_namespace(world)
    world.apply({**world.milvus(), "spec": roles_spec()}, namespace)
    await_ready(world.name, namespace, 240)
    made = sorted(entry["metadata"]["name"] for entry in items("deployments", namespace))
    equal(made, sorted(f"{world.name}-milvus-{role}" for role in ROLES), "workloads")
    milvus = get("milvus", world.name, namespace) or {}
    equal(milvus["status"]["status"], "Healthy", "status")
    equal(milvus["metadata"]["generation"], 1, "generation: the spec is never rewritten")
    # The engine serves as soon as etcd answers it, which can be before etcd's own probe has told Kubernetes so.
    kinds = ["EtcdReady", "StorageReady", "MsgStreamReady"]

    def stores_are_ready() -> bool:
        found = get("milvus", world.name, namespace)
        reasons = [condition(found, kind).get("reason") for kind in kinds]
        if reasons != kinds:
            raise Failed(f"reasons: {reasons}")
        return True

    until("conditions of the stores", 60, stores_are_ready)


@claim
def roles_serve_the_client_suite_through_the_service(world: World) -> None:
    namespace = roles_up(world)
    suite = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "clients", "suite.py")
    with world.address(namespace) as uri:
        done = subprocess.run([sys.executable, suite, uri], capture_output=True, text=True, timeout=300)
    if done.returncode:
        lines = [line for line in done.stdout.splitlines() if "ok" not in line.split()[:1]]
        raise Failed(f"the suite ended with {done.returncode}: {' | '.join(lines)[-1500:]} {done.stderr[-300:]}")


def over_etcd(world: World, *endpoints: str, **components: Any) -> str:
    """A single process whose metadata is in the etcd of the cluster of roles, under another root path."""
    namespace, given = world.make_namespace("etcd"), world.sample.get("spec", {})
    etcd = {"etcd": {"external": True, "endpoints": list(endpoints)}}
    spec = {"dependencies": {**given.get("dependencies", {}), **etcd}, "config": {"etcd": {"rootPath": "beside"}}}
    world.apply(world.milvus(components={**given.get("components", {}), **components}, **spec), namespace)
    return namespace


@claim
def g3_32_a_wrong_address_of_etcd_is_named_and_once_it_is_right_the_database_comes_up(world: World) -> None:
    roles = roles_up(world)
    namespace = over_etcd(world, f"nobody.{roles}:2379")

    def named() -> bool:
        milvus = get("milvus", world.name, namespace)
        found = condition(milvus, "EtcdReady")
        if (found.get("status"), found.get("reason")) != ("False", "EtcdNotReady") or "spec.dependencies.etcd.endpoints[0]" not in found.get("message", ""):
            raise Failed(str(found))
        # It never served: what does not come up is Pending here.
        return condition(milvus, "Ready").get("status") == "False" and (milvus or {})["status"]["status"] == "Pending"

    until("the condition names the setting", 60, named)
    over_etcd(world, f"{world.name}-etcd.{roles}:2379")
    await_ready(world.name, namespace)
    milvus = get("milvus", world.name, namespace)
    equal((condition(milvus, "EtcdReady").get("status"), (milvus or {})["status"]["status"]), ("True", "Healthy"), "state")


@claim
def g3_28_settings_restart_no_pod_where_only_the_config_map_may_change(world: World) -> None:
    namespace = over_etcd(world, f"{world.name}-etcd.{roles_up(world)}:2379")
    await_ready(world.name, namespace)

    def lives() -> list[str]:
        return sorted(pod["metadata"]["uid"] for pod in items("pods", namespace, "-l", f"app.kubernetes.io/instance={world.name}"))

    before = lives()
    # Turned on with a change of settings, and a change while it is on.
    for level in ("debug", "warn"):
        roles_patch(world, namespace, {"components": {"updateConfigMapOnly": True}, "config": {"log": {"level": level}}})
        until("the config map has the setting", 60, lambda: level in json.dumps((get("configmap", world.name, namespace) or {}).get("data", {})))
        await_ready(world.name, namespace)
    time.sleep(5)
    equal(lives(), before, "pods")
    roles_patch(world, namespace, {"components": {"updateConfigMapOnly": False}})
    until("another pod", 60, lambda: not set(before) & set(lives()))
    await_ready(world.name, namespace)
    kubectl("-n", namespace, "delete", "milvus", world.name, "--timeout=120s")


@claim
def g3_122_and_123_what_guides_look_at_answers_and_no_key_is_in_a_config_map(world: World) -> None:
    namespace = roles_up(world)
    for words in (
        ("get", "pods", "--field-selector=status.phase!=Running"),
        ("get", "events", "--sort-by=.lastTimestamp"),
        ("get", "pods,pvc,svc,deployments", "-l", f"app.kubernetes.io/instance={world.name}"),
        ("describe", "deployment", f"{world.name}-milvus-querynode"),
        ("logs", f"deployment/{world.name}-milvus-querynode", "--tail=100"),
    ):
        kubectl("-n", namespace, *words)
    until("metrics of nodes and of pods", 90, lambda: kubectl("top", "nodes") and f"{world.name}-milvus-querynode" in kubectl("-n", namespace, "top", "pods"))
    secret = {base64.b64decode(value).decode(errors="replace") for one in items("secrets", namespace) for value in one.get("data", {}).values()}
    shown = json.dumps([one.get("data", {}) for one in items("configmaps", namespace)])
    if len(secret) < 2:
        raise Failed(f"only {len(secret)} secret values: nothing is said about them")
    equal([len(value) for value in secret if len(value) > 7 and value in shown], [], "lengths of secret values that a ConfigMap shows")


@claim
@fault
def roles_that_are_killed_come_back_with_every_row(world: World) -> None:
    namespace = roles_up(world)
    for role in ROLES:
        before = {pod["metadata"]["uid"] for pod in roles_pods(world, namespace, role)}
        kubectl("-n", namespace, "delete", "pod", "-l", f"app.kubernetes.io/instance={world.name},app.kubernetes.io/component={role}", "--grace-period=0", "--force")
        until(f"another {role}", 90, lambda: [pod for pod in roles_pods(world, namespace, role) if ready_pod(pod) and pod["metadata"]["uid"] not in before])
    await_ready(world.name, namespace)
    with world.client(namespace) as client:
        verify(client)


@claim
@fault
def roles_scale_out_and_in_and_no_search_fails(world: World) -> None:
    namespace = roles_up(world)
    with world.client(namespace) as client:
        verify(client)
        for count in (2, 1):
            roles_patch(world, namespace, {"components": {"queryNode": {"replicas": count}}})
            end, asked = time.monotonic() + 90, 0
            while time.monotonic() < end:
                hits = client.search("rows", [row(asked % ROWS)["vec"]], anns_field="vec", limit=1, search_params={"params": {"ef": 64}})
                equal(hits[0][0]["id"], asked % ROWS, "nearest to a stored row")
                asked += 37
                if asked % 370 == 0:
                    pods = items("pods", namespace, "-l", f"app.kubernetes.io/instance={world.name},app.kubernetes.io/component=querynode")
                    if len(pods) == count and all(ready_pod(pod) for pod in pods) and is_ready(world.name, namespace):
                        break
            else:
                raise Failed(f"not {count} query nodes within 90 s")
        verify(client)


class Searching:
    """Searches all the time, without any retry, and keeps what failed."""

    def __init__(self, uri: str) -> None:
        self.uri, self.asked, self.failed = uri, 0, []
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self) -> None:
        client = MilvusClient(self.uri, timeout=60)
        while not self.stopped.is_set():
            key = self.asked * 37 % ROWS
            self.asked += 1
            try:
                hits = client.search("rows", [row(key)["vec"]], anns_field="vec", limit=1, search_params={"params": {"ef": 64}}, retry_times=0, retry_on_rate_limit=False)
                equal(hits[0][0]["id"], key, "nearest to a stored row")
            except Exception as error:  # noqa: BLE001 - every failure counts
                self.failed.append(f"{time.strftime('%H:%M:%S')} {error}")
            time.sleep(0.02)
        client.close()

    def __enter__(self) -> "Searching":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self.thread.join()


def beside(kind: str, name: str, world: World, spec: dict[str, Any]) -> dict[str, Any]:
    made = {"apiVersion": "redkite.io/v1alpha1", "kind": kind, "metadata": {"name": name}}
    return {**made, "spec": {"milvus": {"name": world.name}, **spec}}


def await_beside(kind: str, name: str, namespace: str, seconds: float = 60) -> dict[str, Any]:
    """The object, once it is Ready at its present generation."""
    last: dict[str, Any] = {}

    def ready() -> bool:
        nonlocal last
        last = get(kind, name, namespace) or {}
        found = condition(last, "Ready")
        return found.get("status") == "True" and found.get("observedGeneration") == last["metadata"]["generation"]

    try:
        until(f"{kind}/{name} is Ready", seconds, ready)
    except Failed as error:
        raise Failed(f"{error}; status {json.dumps(last.get('status', {}))[:900]}") from error
    return last


def replica_groups(found: dict[str, Any]) -> list[str]:
    return [replica["resourceGroup"] for replica in found["status"]["load"]["replicas"]]


@claim
@fault
def groups_and_replicas_change_as_objects_and_no_search_fails(world: World) -> None:
    namespace, default = roles_up(world), "__default_resource_group"
    begin = time.monotonic()
    laps: list[str] = []

    def lap(what: str) -> None:
        laps.append(f"{what} at {time.monotonic() - begin:.0f} s")

    def rows(**load: Any) -> None:
        world.apply(beside("MilvusCollection", "rows", world, {"policy": "Manage", "load": load}), namespace)

    def gold_nodes() -> int:
        return await_beside("milvusresourcegroup", "gold", namespace)["status"]["nodeNum"]

    with world.address(namespace) as uri, Searching(uri) as searches:
        world.apply(beside("MilvusResourceGroup", "gold", world, {"replicas": 1}), namespace)
        rows(resourceGroups=[default, "gold"])
        equal(gold_nodes(), 1, "query nodes of the group")
        lap("group")
        equal(replica_groups(await_beside("milvuscollection", "rows", namespace)), [default, "gold"], "replicas")
        lap("two replicas")
        scale = json.loads(kubectl("get", "--raw", f"/apis/redkite.io/v1alpha1/namespaces/{namespace}/milvusresourcegroups/gold/scale"))
        chosen = items("pods", namespace, "-l", scale["status"]["selector"])
        equal([pod["metadata"]["labels"]["redkite.io/resource-group"] for pod in chosen], ["gold"], "pods that an autoscaler looks at")
        for count in (2, 1):
            kubectl("-n", namespace, "scale", "milvusresourcegroup", "gold", f"--replicas={count}")
            until(f"{count} pods of the group", 60, lambda: len(items("pods", namespace, "-l", "redkite.io/resource-group=gold")) == count)
            until(f"{count} query nodes in the group", 60, lambda: gold_nodes() == count)
            lap(f"{count} nodes")
        rows(resourceGroups=["gold"])
        equal(replica_groups(await_beside("milvuscollection", "rows", namespace)), ["gold"], "replicas")
        lap("moved")
        rows(resourceGroups=[default])
        equal(replica_groups(await_beside("milvuscollection", "rows", namespace)), [default], "replicas")
        kubectl("-n", namespace, "delete", "milvuscollection", "rows", "--timeout=30s")
        kubectl("-n", namespace, "delete", "milvusresourcegroup", "gold", "--timeout=60s")
        lap("gone")
    if searches.asked < 50:
        raise Failed(f"only {searches.asked} searches: nothing is said about them")
    equal(searches.failed, [], f"failed of {searches.asked} searches ({', '.join(laps)})")
    print(f"        {searches.asked} searches; {', '.join(laps)}", flush=True)
    equal(items("pods", namespace, "-l", "redkite.io/resource-group=gold"), [], "pods of the group")
    with world.client(namespace) as client:
        equal(client.list_resource_groups(), [default], "groups of the engine")
        verify(client)
    await_ready(world.name, namespace)


@claim
def wrong_groups_and_collections_are_refused_or_named(world: World) -> None:
    namespace = world.make_namespace("groups")

    def refused(made: dict[str, Any], words: str) -> None:
        done = subprocess.run(["kubectl", "-n", namespace, "apply", "-f", "-"], input=json.dumps(made), capture_output=True, text=True)
        if done.returncode == 0 or words not in done.stderr:
            raise Failed(f"{made['spec']} was answered with {done.returncode} {done.stderr[:400]}")

    refused(beside("MilvusResourceGroup", "gold", world, {"requests": {"nodeNum": 3}, "limits": {"nodeNum": 2}}), "spec.limits.nodeNum must not be less")
    refused(beside("MilvusResourceGroup", "gold", world, {"name": "__default_resource_group"}), "the default group is there without an object")
    refused(beside("MilvusResourceGroup", "gold", world, {"replicas": -1}), "spec.replicas")
    refused(beside("MilvusCollection", "rows", world, {"load": {"replicas": 3, "resourceGroups": ["a", "b"]}}), "spec.load.resourceGroups must name one group")
    world.apply(beside("MilvusResourceGroup", "gold", world, {"name": "gold"}), namespace)
    refused(beside("MilvusResourceGroup", "gold", world, {"name": "silver"}), "spec.name cannot be changed")
    equal((get("milvusresourcegroup", "gold", namespace) or {})["spec"]["replicas"], 1, "replicas that nobody named")

    def said(reason: str) -> Callable[[], bool]:
        return lambda: condition(get("milvusresourcegroup", "gold", namespace), "Ready").get("reason") == reason

    until("the missing database is named", 30, said("MilvusNotFound"))
    stopped = world.milvus(components={"standalone": {"replicas": 0}})
    world.apply(stopped, namespace)
    until("the database of one process is named", 30, said("InvalidField"))
    kubectl("-n", namespace, "delete", "milvusresourcegroup", "gold", "--timeout=30s")
    kubectl("-n", namespace, "delete", "milvus", world.name, "--timeout=60s")


def owned(version: int, **more: Any) -> dict[str, Any]:
    """A collection of two fields as an object; nobody but the operator makes it."""
    fields = [
        {"name": "id", "type": "Int64", "primaryKey": True},
        {"name": "title", "type": "VarChar", "maxLength": 50},
        {"name": "vec", "type": "FloatVector", "dim": DIM},
    ]
    hnsw = {"field": "vec", "type": "HNSW", "metric": "L2", "params": {"M": 8, "efConstruction": 100}}
    return {"name": f"films_v{version}", "schema": {"fields": fields}, "indexes": [hnsw], "load": {"state": "Loaded"}, **more}


def index_type(client: MilvusClient, collection: str) -> str | None:
    try:
        return str(client.describe_index(collection, "vec")["index_type"])
    except Exception:  # noqa: BLE001 - while it is made anew there is none
        return None


def target(client: MilvusClient, alias: str) -> str | None:
    """Where an alias leads."""
    try:
        return str(client.describe_alias(alias)["collection_name"])
    except Exception:  # noqa: BLE001 - there may be none
        return None


@claim
def collections_are_objects_also_where_users_are_checked(world: World) -> None:
    namespace = world.make_namespace("owned")
    guarded = {"common": {"security": {"authorizationEnabled": True, "defaultRootPassword": "rootpass"}}, "redkite": {"auditLog": True}}
    world.apply(world.milvus(config=guarded), namespace)
    await_ready(world.name, namespace)

    def films(version: int, **more: Any) -> None:
        world.apply(beside("MilvusCollection", f"films-v{version}", world, owned(version, **more)), namespace)

    films(1, aliases=["films"], properties={"collection.ttl.seconds": 86400})
    made = await_beside("milvuscollection", "films-v1", namespace)
    equal(made["status"]["managed"], True, "who manages what the object made")
    with world.address(namespace) as uri:
        client = MilvusClient(uri, token="root:rootpass", timeout=60)
        client.insert("films", [row(key) for key in range(100)])
        found = client.search("films", [row(7)["vec"]], anns_field="vec", limit=1, consistency_level="Strong")
        equal(found[0][0]["id"], 7, "nearest row through the alias")
        equal(client.describe_collection("films")["properties"].get("collection.ttl.seconds"), "86400", "property")
        try:
            MilvusClient(uri, timeout=10).list_collections()
            raise Failed("a client without a password was let in")
        except Failed:
            raise
        except Exception:  # noqa: BLE001 - however a client is refused
            pass

        # Another definition of the index: released, made anew, loaded again.
        flat = {"field": "vec", "type": "IVF_FLAT", "metric": "L2", "params": {"nlist": 4}}
        films(1, aliases=["films"], indexes=[flat])
        until("the index has its new type", 60, lambda: index_type(client, "films_v1") == "IVF_FLAT")
        await_beside("milvuscollection", "films-v1", namespace)
        found = client.search("films", [row(9)["vec"]], anns_field="vec", limit=1, consistency_level="Strong")
        equal(found[0][0]["id"], 9, "nearest row after the change of the index")
        until("the property that is no longer listed is gone", 60, lambda: "collection.ttl.seconds" not in client.describe_collection("films_v1")["properties"])

        # What somebody drops is made again.
        client.drop_alias("films")
        until("the alias is there again", 120, lambda: target(client, "films") == "films_v1")

        # The alias goes from one object to another, and leads somewhere at every moment.
        with Asking(lambda: client.describe_collection("films")) as asked:
            films(2)
            await_beside("milvuscollection", "films-v2", namespace)
            films(1, indexes=[flat])
            films(2, aliases=["films"])
            until("the alias leads to the other collection", 60, lambda: target(client, "films") == "films_v2")
        equal(asked.failed, [], f"failed of {asked.asked} questions through the alias")

        # Fields that differ are shown, and no row is touched.
        other = owned(1, indexes=[flat])
        other["schema"]["fields"][1]["maxLength"] = 40
        world.apply(beside("MilvusCollection", "films-v1", world, other), namespace)
        until("the field that differs is named", 60, lambda: condition(get("milvuscollection", "films-v1", namespace), "InSync").get("reason") == "SchemaDiffers")
        equal(len(client.query("films_v1", filter="id >= 0", output_fields=["id"], consistency_level="Strong")), 100, "rows")

        # A second object for the same collection says so and changes nothing.
        world.apply(beside("MilvusCollection", "films-again", world, {"name": "films_v1", "policy": "Manage", "load": {"state": "Released"}}), namespace)
        until("the second object says whose the collection is", 60, lambda: condition(get("milvuscollection", "films-again", namespace), "Ready").get("reason") == "AnotherManages")
        equal("Loaded" in str(client.get_load_state("films_v1")["state"]), True, "whether the collection is loaded")
        kubectl("-n", namespace, "delete", "milvuscollection", "films-again", "--timeout=30s")

        # Objects go; a collection goes along only where that is said.
        films(2, aliases=["films"], deletionPolicy="Delete")
        await_beside("milvuscollection", "films-v2", namespace)
        kubectl("-n", namespace, "delete", "milvuscollection", "films-v1", "films-v2", "--timeout=60s")
        equal(sorted(client.list_collections()), ["films_v1"], "collections that stay")
        client.close()
    pod = items("pods", namespace, "-l", f"app.kubernetes.io/instance={world.name}")[0]["metadata"]["name"]
    log = kubectl("-n", namespace, "logs", pod)
    if '"operator"' not in log and "who=operator" not in log and 'who="operator"' not in log:
        raise Failed("the audit log does not name the operator")
    kubectl("-n", namespace, "delete", "milvus", world.name, "--timeout=120s")


class Asking:
    """Asks again and again until it is left, and keeps what failed."""

    def __init__(self, ask: Callable[[], Any]) -> None:
        self.ask, self.asked = ask, 0
        self.failed: list[str] = []
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self) -> None:
        while not self.stopped.wait(0.05):
            self.asked += 1
            try:
                self.ask()
            except Exception as error:  # noqa: BLE001 - whatever a client may see
                self.failed.append(str(error)[:200])

    def __enter__(self) -> "Asking":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self.thread.join()


@claim
def collections_that_no_engine_could_have_are_refused_at_once(world: World) -> None:
    def with_field(at: int, **more: Any) -> dict[str, Any]:
        spec = owned(1)
        spec["schema"]["fields"][at].update(more)
        return spec

    twice = {"field": "vec", "type": "HNSW", "metric": "L2"}
    cases = [
        ("one field must have primaryKey: true", with_field(0, primaryKey=False)),
        ("maxLength is for VarChar", with_field(0, maxLength=5)),
        ("dim is for dense and binary vectors", with_field(1, dim=4)),
        ("a primary key cannot be nullable", with_field(0, nullable=True)),
        ("spec.schema.fields[1].type", with_field(1, type="Text")),
        ("Duplicate value", owned(1, indexes=[twice, twice])),
        ("spec.deletionPolicy: Delete needs spec.policy: Manage", owned(1, policy="Observe", deletionPolicy="Delete")),
        ("a collection's own name is no alias of it", owned(1, aliases=["films_v1"])),
    ]
    for words, spec in cases:
        command = ["kubectl", "-n", world.namespace, "apply", "--dry-run=server", "-f", "-"]
        done = subprocess.run(command, input=json.dumps(beside("MilvusCollection", "films", world, spec)), capture_output=True, text=True)
        if done.returncode == 0 or words not in done.stderr:
            raise Failed(f"{spec} was answered with {done.returncode} {done.stderr[:400]}")


@claim
def a_release_of_another_operator_is_left_alone_until_it_may_be_taken_over(world: World) -> None:
    namespace = world.make_namespace("foreign")
    name = f"{world.name}-milvus-standalone"
    labels = {
        "app.kubernetes.io/instance": world.name,
        "app.kubernetes.io/name": "milvus",
        "app.kubernetes.io/component": "standalone",
        "app.kubernetes.io/managed-by": "milvus-operator",
    }
    # Stopped, so that no image is pulled.
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "standalone", "image": "milvusdb/milvus:v2.6.11"}]}}
    theirs = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": labels}}
    theirs["spec"] = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
    kubectl("-n", namespace, "apply", "-f", "-", text=json.dumps(theirs))
    before = (get("deployment", name, namespace) or {})["metadata"]
    world.apply(world.milvus(), namespace)
    world.apply(beside("MilvusCollection", "films", world, owned(1)), namespace)

    def accepted() -> dict[str, Any]:
        return condition(get("milvus", world.name, namespace), "SpecAccepted")

    until("the release is named", 60, lambda: accepted().get("reason") == "ForeignRelease" and name in accepted().get("message", ""))
    until("the collection waits for it", 60, lambda: condition(get("milvuscollection", "films", namespace), "Ready").get("reason") == "NotTakenOver")
    now = (get("deployment", name, namespace) or {})["metadata"]
    equal((now["uid"], now["generation"]), (before["uid"], before["generation"]), "the Deployment of the other operator")
    equal(items("services", namespace), [], "Services beside it")

    kubectl("-n", namespace, "annotate", "milvus", world.name, "redkite.io/take-over=true")
    await_ready(world.name, namespace)
    # Nothing that is watched tells that the pods are ours now.
    await_beside("milvuscollection", "films", namespace, 150)
    kubectl("-n", namespace, "annotate", "milvus", world.name, "redkite.io/image=milvusdb/milvus:v2.6.11")
    until("the image is refused", 60, lambda: accepted().get("reason") == "EngineRefused")
    equal([ready_pod(pod) for pod in items("pods", namespace, "-l", f"app.kubernetes.io/instance={world.name}")], [True], "pods that serve on")
    kubectl("-n", namespace, "annotate", "milvus", world.name, "redkite.io/image-")
    await_ready(world.name, namespace)
    kubectl("-n", namespace, "delete", "milvuscollection", "films", "--timeout=30s")
    kubectl("-n", namespace, "delete", "milvus", world.name, "--timeout=120s")


@claim
def roles_take_a_new_image_one_after_the_other(world: World) -> None:
    namespace = roles_up(world)
    seen: list[str] = []

    def images() -> dict[str, str]:
        found = items("deployments", namespace)
        return {entry["metadata"]["name"].rsplit("-", 1)[1]: entry["spec"]["template"]["spec"]["containers"][0]["image"] for entry in found}

    roles_patch(world, namespace, {"components": {"image": world.other_image}})

    def done() -> bool:
        seen.extend(role for role, image in images().items() if image == world.other_image and role not in seen)
        return len(seen) == len(ROLES)

    until("every component has the image", 240, done)
    equal(seen, ROLES, "order")
    await_ready(world.name, namespace)
    with world.client(namespace) as client:
        verify(client)


@claim
@fault
def row_23_operator_and_a_pod_are_killed_at_each_step_of_an_upgrade_and_of_the_way_back(world: World) -> None:
    namespace, draw = roles_up(world), random.Random(23)

    def images() -> dict[str, str]:
        found = items("deployments", namespace)
        return {entry["metadata"]["name"].rsplit("-", 1)[1]: entry["spec"]["template"]["spec"]["containers"][0]["image"] for entry in found}

    def kill() -> str:
        pods = [pod["metadata"]["name"] for role in ROLES for pod in roles_pods(world, namespace, role)]
        name = draw.choice(sorted(pods))
        kubectl("-n", OPERATOR_NAMESPACE, "delete", "pod", "-l", "app.kubernetes.io/name=redkite-operator", "--grace-period=0", "--force")
        kubectl("-n", namespace, "delete", "pod", name, "--grace-period=0", "--force", check=False)
        return name.removeprefix(f"{world.name}-milvus-").split("-")[0]

    milvus = get("milvus", world.name, namespace) or {}
    written = milvus["spec"].get("components", {}).get("image")
    other = None if written == world.other_image else world.other_image
    killed: list[str] = []
    for image in (other, written):
        started, steps = set(images().values()), set[str]()
        equal(len(started), 1, f"images before a change ({started})")
        roles_patch(world, namespace, {"components": {"image": image}})

        def next_step() -> bool:
            new = {role for role, found in images().items() if found not in started}
            if new - steps:
                steps.update(new)
                killed.append(kill())
            return len(steps) == len(ROLES)

        until("every component has the image", 420, next_step)
        await_ready(world.name, namespace, 300)
        equal(len(set(images().values())), 1, "images after a change")
        with world.client(namespace) as client:
            verify(client)
    if len(killed) < 4:
        raise Failed(f"only {len(killed)} kills: nothing is said about them")
    print(f"        killed with the operator: {', '.join(killed)}", flush=True)


class AskingSecurely:
    """Searches and writes over TLS without any retry: on one connection each all the time, and searches on a new one each time too.
    It trusts what `ca.crt` of the issued Secret says, read again every second, as a client that mounts it would."""

    def __init__(self, uri: str, namespace: str, secret: str) -> None:
        self.uri, self.namespace, self.secret = uri.replace("http://", "https://"), namespace, secret
        self.folder = tempfile.TemporaryDirectory()
        self.authorities = os.path.join(self.folder.name, "ca.crt")
        self.trusted: set[str] = set()
        self.asked, self.failed = {"search": 0, "new": 0, "insert": 0}, []
        self.took: list[tuple[str, float, float]] = []
        self.stopped = threading.Event()
        self.threads = [threading.Thread(target=work) for work in (self.read_on, self.search_on, self.connect_on, self.write_on)]

    def client(self) -> MilvusClient:
        return MilvusClient(self.uri, timeout=60, dedicated=True, secure=True, server_pem_path=self.authorities, server_name="localhost")

    def read(self) -> None:
        found = get("secret", self.secret, self.namespace) or {}
        text = base64.b64decode(found["data"]["ca.crt"]).decode()
        self.trusted.add(text)
        with open(f"{self.authorities}.new", "w") as file:
            file.write(text)
        os.replace(f"{self.authorities}.new", self.authorities)

    def read_on(self) -> None:
        while not self.stopped.wait(1):
            self.read()

    def search(self, kind: str, client: MilvusClient) -> None:
        key = self.asked[kind] * 37 % ROWS
        hits = client.search("rows", [row(key)["vec"]], anns_field="vec", limit=1, search_params={"params": {"ef": 64}}, retry_times=0, retry_on_rate_limit=False)
        equal(hits[0][0]["id"], key, "nearest to a stored row")

    def each(self, kind: str, ask: Callable[[], None]) -> None:
        begin = time.monotonic()
        try:
            ask()
        except Exception as error:  # noqa: BLE001 - every failure counts
            self.failed.append(f"{time.strftime('%H:%M:%S')} {kind}: {error}")
        self.asked[kind] += 1
        self.took.append((kind, begin, time.monotonic() - begin))

    def search_on(self) -> None:
        client = self.client()
        while not self.stopped.wait(0.05):
            self.each("search", lambda: self.search("search", client))
        client.close()

    def connect_on(self) -> None:
        def ask() -> None:
            client = self.client()
            self.search("new", client)
            client.close()

        while not self.stopped.wait(0.3):
            self.each("new", ask)

    def write_on(self) -> None:
        client = self.client()
        while not self.stopped.wait(0.1):
            self.each("insert", lambda: client.insert("rows", [row(ROWS + self.asked["insert"])], retry_times=0, retry_on_rate_limit=False))
        client.close()

    def check_rows(self) -> None:
        client = self.client()
        found = client.query("rows", filter=f"id >= {ROWS}", output_fields=["id"], limit=16_000, consistency_level="Strong")
        equal(sorted(entity["id"] for entity in found), list(range(ROWS, ROWS + self.asked["insert"])), "rows written meanwhile")
        client.close()

    def p99(self, kind: str, begin: float, end: float) -> str:
        """Of those asked in that time, in milliseconds."""
        took = sorted(seconds for word, at, seconds in self.took if word == kind and begin <= at < end)
        return f"{took[len(took) * 99 // 100] * 1000:.0f}" if took else "-"

    def __enter__(self) -> "AskingSecurely":
        self.read()
        client = self.client()
        fill(client)
        client.close()
        for thread in self.threads:
            thread.start()
        return self

    def stop(self) -> None:
        self.stopped.set()
        for thread in self.threads:
            thread.join()

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.folder.cleanup()


def scaling(world: World, namespace: str) -> tuple[str | None, str | None]:
    found = condition(get("milvus", world.name, namespace), "ScalingActive")
    return found.get("status"), found.get("reason")


@claim
def no_data_node_runs_while_nothing_waits_for_one_and_one_comes_for_an_index(world: World) -> None:
    namespace = roles_up(world)
    roles_patch(world, namespace, {"redkite": {"autoscaling": {"dataNode": {"max": 1, "idleSeconds": 30}}}})
    begin = time.monotonic()
    until("no data node", 120, lambda: not roles_pods(world, namespace, "datanode"))
    gone = time.monotonic() - begin
    equal(scaling(world, namespace), ("True", "FollowsLoad"), "ScalingActive")
    await_ready(world.name, namespace)
    with world.client(namespace) as client:
        verify(client)
        schema = client.create_schema(auto_id=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vec", DataType.FLOAT_VECTOR, dim=DIM)
        client.create_collection("waits", schema=schema)
        client.insert("waits", [{"id": key, "vec": row(key)["vec"]} for key in range(ROWS)])
        client.flush("waits")
        index = client.prepare_index_params()
        index.add_index("vec", index_type="HNSW", metric_type="L2", params={"M": 8, "efConstruction": 100})
        begin = time.monotonic()
        client.create_index("waits", index)
        until("the index is built", 90, lambda: client.describe_index("waits", "vec")["state"] == "Finished")
        built = time.monotonic() - begin
        client.drop_collection("waits")
    status = (get("milvus", world.name, namespace) or {})["status"]["redkite"]["autoscaling"]["dataNode"]
    equal((status["replicas"], status["reason"]), (1, "Jobs"), "what was decided")
    told = {event["reason"] for event in items("events", namespace)}
    equal({"ScaledUp", "ScaledDown"} - told, set(), "events that are missing")
    print(f"        the data node left after {gone:.0f} s; an index was built {built:.0f} s after it was asked for", flush=True)
    roles_patch(world, namespace, {"redkite": {"autoscaling": None}})
    await_ready(world.name, namespace)


@claim
def certificates_and_their_authority_are_replaced_twice_and_no_request_fails(world: World) -> None:
    namespace = world.make_namespace("tls", **{"pod-security.kubernetes.io/enforce": "restricted"})
    certificates = {"clients": {}, "nodes": {}, "overlapHours": 0}
    # How busy the nodes are is asked over the same TLS; what it costs here asks for no second node.
    autoscaling = {"queryNode": {"max": 2, "upAfterSeconds": 3600, "targets": {"queueWaitMs": 60_000}}}
    world.apply({**world.milvus(), "spec": roles_spec(redkite={"certificates": certificates, "autoscaling": autoscaling})}, namespace)
    await_ready(world.name, namespace, 240)
    client_secret, node_secret = f"{world.name}-client-tls", f"{world.name}-node-tls"

    def said(reason: str) -> Callable[[], bool]:
        return lambda: condition(get("milvus", world.name, namespace), "CertificatesReady").get("reason") == reason

    def shown() -> list[str]:
        return [(get("secret", name, namespace) or {})["data"]["tls.crt"] for name in (client_secret, node_secret)]

    def lives() -> list[tuple[str, int]]:
        pods = items("pods", namespace, "-l", f"app.kubernetes.io/instance={world.name},app.kubernetes.io/name=milvus")
        return sorted((pod["metadata"]["uid"], sum(c["restartCount"] for c in pod["status"]["containerStatuses"])) for pod in pods)

    def unread() -> list[tuple[str, str, int]]:
        found = [event for event in items("events", namespace) if event["reason"] == "LoadUnknown"]
        return sorted((event["metadata"]["name"], event["message"], event.get("count") or 1) for event in found)

    until("the condition", 30, said("CertificatesValid"))
    # The operator tells the engine over TLS too.
    world.apply(beside("MilvusResourceGroup", "gold", world, {"replicas": 0}), namespace)
    await_beside("milvusresourcegroup", "gold", namespace)
    until("all pods are settled", 60, lambda: is_ready(world.name, namespace))
    until("the load is read", 30, lambda: scaling(world, namespace) == ("True", "FollowsLoad"))
    # Before the nodes were up there was nobody to ask.
    pods, laps, before_all = lives(), [], unread()
    with world.address(namespace) as uri, AskingSecurely(uri, namespace, client_secret) as load:
        quiet = time.monotonic()
        time.sleep(15)
        begin = time.monotonic()
        for alone, word in enumerate(("asked", "asked again"), start=2):
            before, asked = shown(), time.monotonic()
            roles_patch(world, namespace, {"redkite": {"certificates": {"rotation": word}}})
            until("a new authority is introduced", 60, said("RotatingAuthority"))
            until("it issues", 240, lambda: all(new != old for new, old in zip(shown(), before)))
            issues = time.monotonic() - asked
            until("the old one is retired", 240, said("CertificatesValid"))
            # Else the next one comes before clients have read that this one is alone.
            until("clients read of it", 30, lambda: sum(text.count("BEGIN") == 1 for text in load.trusted) == alone)
            laps.append(f"the new authority issues after {issues:.0f} s, the old one is retired after {time.monotonic() - asked:.0f} s")
        time.sleep(10)
        end = time.monotonic()
        load.stop()
        if not load.failed:
            load.check_rows()
    counts = f"{load.asked['search']} searches and {load.asked['insert']} inserts on one connection each, {load.asked['new']} searches each on a new one"
    if min(load.asked.values()) < 100:
        raise Failed(f"only {counts}: nothing is said about them")
    equal(load.failed, [], f"failed of {counts} ({'; '.join(laps)})")
    # Every authority alone, and each beside the next one in both orders.
    equal(sorted(text.count("BEGIN") for text in load.trusted), [1, 1, 1, 2, 2, 2, 2], "authorities in ca.crt, as it changed")
    equal(lives(), pods, "pods and their restarts")
    equal(scaling(world, namespace), ("True", "FollowsLoad"), "whether the load is read")
    equal(unread(), before_all, "looks at the load that failed")
    p99s = ", ".join(f"{kind} {load.p99(kind, quiet, begin)} and {load.p99(kind, begin, end)} ms" for kind in load.asked)
    print(f"        {counts}, 0 failed; {'; '.join(laps)}; p99 in quiet and meanwhile: {p99s}", flush=True)
    kubectl("-n", namespace, "delete", "milvusresourcegroup", "gold", "--timeout=60s")
    kubectl("-n", namespace, "delete", "milvus", world.name, "--timeout=150s")
    until("no Secret of ours", 60, lambda: [secret for secret in items("secrets", namespace) if "tls" in secret["metadata"]["name"]] == [])


@claim
@fault
def an_upgrade_to_an_image_that_cannot_run_stops_at_the_first_component_and_serves_on_and_rolled_back_it_is_as_before(world: World) -> None:
    namespace = roles_up(world)
    labels = f"app.kubernetes.io/instance={world.name},app.kubernetes.io/name=milvus"

    def images() -> dict[str, str]:
        found = items("deployments", namespace, "-l", labels)
        return {entry["metadata"]["name"].rsplit("-", 1)[1]: entry["spec"]["template"]["spec"]["containers"][0]["image"] for entry in found}

    def serving() -> list[str]:
        return sorted(pod["metadata"]["uid"] for pod in items("pods", namespace, "-l", labels) if ready_pod(pod))

    def reached(reason: str, state: str) -> bool:
        milvus = get("milvus", world.name, namespace) or {}
        rollout = milvus.get("status", {}).get("redkite", {}).get("rollout", {})
        if condition(milvus, "Stalled").get("reason") != reason or rollout.get("state") != state:
            raise Failed(f"{condition(milvus, 'Stalled')} {rollout}")
        return True

    named = (get("milvus", world.name, namespace) or {})["spec"].get("components", {}).get("image")
    bad = world.other_image.rsplit(":", 1)[0] + ":there-is-none"
    before, pods = images(), serving()
    with world.address(namespace) as uri, Searching(uri) as searches:
        begin = time.monotonic()
        roles_patch(world, namespace, {"components": {"image": bad}})
        until("the rollout is paused", 90, lambda: reached("RolloutPaused", "Paused"))
        paused = time.monotonic() - begin
        milvus = get("milvus", world.name, namespace) or {}
        message = condition(milvus, "Stalled")["message"]
        if "paused at mixcoord" not in message or bad not in message or "pod " not in message:
            raise Failed(f"the condition names not what is wrong: {message}")
        equal((milvus["status"]["status"], condition(milvus, "MilvusReady").get("status")), ("Healthy", "True"), "state")
        if "paused at mixcoord" not in kubectl("-n", namespace, "get", "milvus", world.name, "-o", "wide"):
            raise Failed("`kubectl get -o wide` does not show it")
        # Kubernetes goes on trying; nothing of that is news.
        time.sleep(35)
        reached("RolloutPaused", "Paused")
        told = [event for event in items("events", namespace) if event["reason"] == "RolloutPaused"]
        equal([(event["type"], event.get("count") or 1) for event in told], [("Warning", 1)], "events")
        equal([role for role, image in images().items() if image == bad], ["mixcoord"], "components with the image")
        equal(serving(), pods, "pods that serve")
        roles_patch(world, namespace, {"redkite": {"rollout": {"onFailure": "Rollback"}}})
        until("it is rolled back", 60, lambda: reached("RolledBack", "RolledBack"))
        equal(images(), before, "images")
        equal(serving(), pods, "pods that serve")
    equal(searches.failed, [], f"failed of {searches.asked} searches")
    print(f"        paused after {paused:.0f} s; {searches.asked} searches, none failed", flush=True)
    with world.client(namespace) as client:
        verify(client)
    roles_patch(world, namespace, {"components": {"image": named}, "redkite": {"rollout": None}})
    await_ready(world.name, namespace)
    equal(serving(), pods, "pods that serve")


@claim
@fault
def what_is_deleted_by_hand_is_made_again_at_once(world: World) -> None:
    namespace = roles_up(world)
    name = world.name
    for kind, which in [
        ("service", f"{name}-milvus"),
        ("service", f"{name}-minio"),
        ("configmap", name),
        ("serviceaccount", f"{name}-milvus"),
        ("deployment", f"{name}-milvus-datanode"),
    ]:
        old = (get(kind, which, namespace) or {})["metadata"]["uid"]
        kubectl("-n", namespace, "delete", kind, which, "--wait=false", "--grace-period=0", "--force", "--cascade=background")
        begin = time.monotonic()
        until(f"{kind}/{which} again", 5, lambda: (get(kind, which, namespace) or {"metadata": {"uid": old}})["metadata"]["uid"] != old)
        print(f"        {kind} {time.monotonic() - begin:.1f} s", flush=True)
    await_ready(name, namespace)


@claim
@fault
def what_is_edited_by_hand_is_put_back_at_once(world: World) -> None:
    namespace = roles_up(world)
    name = world.name
    strange: dict[str, Any] = {"labels": {"app.kubernetes.io/instance": "another"}}
    edits: list[tuple[str, str, dict[str, Any], list[Any]]] = [
        ("service", f"{name}-milvus", {"spec": {"selector": {"app.kubernetes.io/instance": "another"}}}, ["spec", "selector"]),
        ("configmap", name, {}, ["data"]),
        ("serviceaccount", f"{name}-milvus", {"metadata": strange}, ["metadata", "labels"]),
        ("deployment", f"{name}-milvus-datanode", {"spec": {"replicas": 0}}, ["spec", "replicas"]),
        ("statefulset", f"{name}-minio", {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 7}}}}, ["spec", "template"]),
    ]

    def read(kind: str, which: str, path: list[Any]) -> Any:
        found: Any = get(kind, which, namespace) or {}
        for key in path:
            found = found.get(key, {})
        return found

    for kind, which, patch, path in edits:
        wanted = read(kind, which, path)
        if kind == "configmap":
            patch = {"data": {key: "strange: 1" for key in wanted}}
        kubectl("-n", namespace, "patch", kind, which, "--type=merge", "-p", json.dumps(patch))
        begin = time.monotonic()
        until(f"{kind}/{which} as it was", 5, lambda: read(kind, which, path) == wanted)
        print(f"        {kind} {time.monotonic() - begin:.1f} s", flush=True)
    await_ready(name, namespace)


@claim
def deleted_roles_leave_their_stores_and_come_back_with_every_row(world: World) -> None:
    namespace = roles_up(world)
    kubectl("-n", namespace, "delete", "milvus", world.name, "--timeout=150s")
    until("no pod of the engine", 60, lambda: not items("pods", namespace, "-l", f"app.kubernetes.io/instance={world.name},app.kubernetes.io/name=milvus"))
    stores = sorted(entry["metadata"]["name"] for entry in items("statefulsets", namespace))
    equal(stores, [f"{world.name}-etcd", f"{world.name}-minio"], "stores that stay")
    gone = {"deletionPolicy": "Delete", "pvcDeletion": True}
    # Nobody is left to hand anything to: the nodes need not wait for that as long as they do unless told.
    impatient = {"queryNode": {"gracefulStopTimeout": 5}}
    world.apply({**world.milvus(), "spec": roles_spec(policy=gone, storage_policy=gone, config=impatient)}, namespace)
    await_ready(world.name, namespace, 240)
    with world.client(namespace) as client:
        verify(client)
    kubectl("-n", namespace, "delete", "milvus", world.name, "--timeout=150s")
    until("no claim", 60, lambda: not items("pvc", namespace))
    equal(items("statefulsets", namespace), [], "stores")


def run_claims(title: str, claims: list[Callable[[Any], None]], world: Any, words: list[str]) -> int:
    """Runs the claims whose name contains one of the words, all if there is none, and says how each ended. 1 if one failed."""
    logging.disable(logging.CRITICAL)
    spared = os.environ.get("CLUSTER", "") != "" and os.environ.get("CLUSTER_DISPOSABLE") != "1"
    ran, failed = 0, 0
    for check in claims:
        if words and not any(word in check.__name__ for word in words):
            continue
        if spared and check in FAULTS:
            print(f"  spared {check.__name__.replace('_', ' ')}: it kills or scales, and CLUSTER_DISPOSABLE is not 1", flush=True)
            continue
        begin, ran, said = time.monotonic(), ran + 1, check.__name__.replace("_", " ")
        try:
            check(world)
            print(f"  ok    {said} ({time.monotonic() - begin:.0f} s)", flush=True)
        except Exception as error:  # noqa: BLE001 - a claim may fail in any way; the others still run
            failed += 1
            print(f"  FAIL  {said} ({time.monotonic() - begin:.0f} s): {type(error).__name__}: {error}", flush=True)
            if not isinstance(error, Failed):
                traceback.print_exc()
    print(f"{title}: {ran - failed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


def main() -> int:
    sample, other_image, words = sys.argv[1], sys.argv[2], sys.argv[3:]
    return run_claims("cluster", CLAIMS, World(sample, other_image), words)


if __name__ == "__main__":
    sys.exit(main())
