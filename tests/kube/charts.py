"""Both charts in a real cluster: installed, upgraded, rolled back, uninstalled, installed again.

    charts.py CHARTS [WORD …]     KUBECONFIG names the cluster; only the claims whose name contains a word
    OPERATOR_IMAGE, ENGINE_IMAGE, ETCD_IMAGE, STORAGE_IMAGE     how the cluster calls the images
    QUICK=1     without the claims that take long

Claims named gG_N are cases of guides to Milvus: cases.md says which. They run in this order; each begins with what the one before it left.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from typing import Any, Callable, Iterator

from pymilvus import MilvusClient

import suite
from suite import OPERATOR_NAMESPACE, Failed, Searching, await_ready, condition, equal, fill, get, is_ready, items, kubectl, run_claims, until, verify

CLAIMS: list[Callable[["Releases"], None]] = []
SLOW: set[Callable[["Releases"], None]] = set()
RELEASE, NAMESPACE = "milvus-release", "milvus"
SMALL = {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}}
# Of an image below 2.6.
ROLES = ["datanode", "indexnode", "mixcoord", "proxy", "querynode"]


def claim(check: Callable[["Releases"], None]) -> Callable[["Releases"], None]:
    CLAIMS.append(check)
    return check


def slow(check: Callable[["Releases"], None]) -> Callable[["Releases"], None]:
    """Marks a claim that QUICK=1 leaves out."""
    SLOW.add(check)
    return check


def of_a_guide() -> dict[str, Any]:
    """A guide's values-custom.yaml, with pods and amounts that a machine of two cores has."""
    probe = {"httpGet": {"path": "/healthz", "port": 9091}}
    return {
        "cluster": {"enabled": True},
        "image": {"all": {"repository": "milvusdb/milvus", "tag": "v2.3.0", "pullPolicy": "IfNotPresent"}},
        "queryNode": {
            "replicas": 1,
            "resources": SMALL,
            "livenessProbe": {**probe, "initialDelaySeconds": 60, "periodSeconds": 30, "timeoutSeconds": 10, "failureThreshold": 3},
            "readinessProbe": {**probe, "initialDelaySeconds": 1, "periodSeconds": 2, "timeoutSeconds": 5, "failureThreshold": 3},
        },
        "dataNode": {"replicas": 1, "resources": SMALL},
        "indexNode": {"replicas": 1, "resources": SMALL},
        "proxy": {"resources": SMALL},
        "mixCoordinator": {"resources": SMALL},
        "minio": {"mode": "distributed", "replicas": 4, "resources": SMALL, "persistence": {"size": "1Gi"}},
        "pulsar": {"enabled": True, "broker": {"replicaCount": 3}},
        "etcd": {"replicaCount": 1, "resources": SMALL, "persistence": {"size": "1Gi"}},
        "service": {"type": "LoadBalancer", "port": 19530},
    }


class Releases:
    """The operator and one database, each a release of its chart."""

    def __init__(self, charts: str) -> None:
        self.charts = charts
        self.values = of_a_guide()
        # Where the database is, in the words of the other suite's helpers.
        self.name, self.namespace = RELEASE, NAMESPACE

    def run(self, *words: str, values: dict[str, Any] | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        given = [] if values is None else ["--values", "-"]
        text = None if values is None else json.dumps(values)
        done = subprocess.run(["helm", *words, *given], input=text, capture_output=True, text=True)
        if check and done.returncode:
            raise Failed(f"helm {' '.join(words)}: {done.stderr.strip()[:600]}")
        return done

    def database(self, verb: str, *words: str, values: dict[str, Any] | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run(verb, RELEASE, os.path.join(self.charts, "milvus"), "-n", NAMESPACE, *words, values=values, check=check)

    def operator(self, verb: str, *words: str, **more: Any) -> None:
        def image(name: str) -> dict[str, str]:
            repository, tag = os.environ[name].rsplit(":", 1)
            return {"repository": repository, "tag": tag}

        stores = {"etcdImage": os.environ["ETCD_IMAGE"], "storageImage": os.environ["STORAGE_IMAGE"]}
        values = {"image": image("OPERATOR_IMAGE"), "engine": {"image": image("ENGINE_IMAGE")}, "stores": stores, **more}
        chart = os.path.join(self.charts, "redkite-operator")
        self.run(verb, "redkite-operator", chart, "-n", OPERATOR_NAMESPACE, "--wait", "--timeout=3m", *words, values=values)

    def history(self, release: str = RELEASE, namespace: str = NAMESPACE) -> list[tuple[int, str]]:
        found = json.loads(self.run("history", release, "-n", namespace, "-o", "json").stdout)
        return [(entry["revision"], entry["status"]) for entry in found]

    def milvus(self) -> dict[str, Any]:
        return get("milvus", RELEASE, NAMESPACE) or {}

    def deployments(self) -> dict[str, dict[str, Any]]:
        """By component."""
        found = items("deployments", NAMESPACE, "-l", f"app.kubernetes.io/instance={RELEASE}")
        return {entry["metadata"]["name"].removeprefix(f"{RELEASE}-milvus-"): entry for entry in found}

    def pods(self, *roles: str) -> list[dict[str, Any]]:
        found = items("pods", NAMESPACE, "-l", f"app.kubernetes.io/instance={RELEASE},app.kubernetes.io/name=milvus")
        return [pod for pod in found if not roles or pod["metadata"]["labels"]["app.kubernetes.io/component"] in roles]

    def lives(self, *spared: str) -> list[tuple[str, str, int]]:
        """Every pod of the database but those of some components, and how often it was restarted."""
        kept = [pod for pod in items("pods", NAMESPACE) if pod["metadata"]["labels"].get("app.kubernetes.io/component") not in spared]
        return sorted((pod["metadata"]["name"], pod["metadata"]["uid"], sum(c["restartCount"] for c in pod["status"].get("containerStatuses", []))) for pod in kept)

    def settled(self, **replicas: int) -> None:
        """Waits until the database is Ready and components have just that many pods."""
        await_ready(RELEASE, NAMESPACE, 240)

        def done() -> bool:
            found = {role: [pod["metadata"].get("deletionTimestamp") is None and suite.ready_pod(pod) for pod in self.pods(role)] for role in replicas}
            if found != {role: [True] * count for role, count in replicas.items()}:
                raise Failed(str(found))
            return is_ready(RELEASE, NAMESPACE)

        until(f"{replicas} pods", 180, done)

    @contextmanager
    def address(self) -> Iterator[str]:
        with suite.World.address(self, NAMESPACE) as uri:  # type: ignore[arg-type]
            yield uri

    @contextmanager
    def client(self) -> Iterator[MilvusClient]:
        with self.address() as uri:
            client = MilvusClient(uri, timeout=60)
            yield client
            client.close()


def without(values: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in keys}


@claim
def the_operator_is_installed_by_its_chart(releases: Releases) -> None:
    releases.operator("install", "--create-namespace")
    equal(releases.history("redkite-operator", OPERATOR_NAMESPACE), [(1, "deployed")], "history")
    served = [entry["metadata"]["name"] for entry in json.loads(kubectl("get", "crd", "-o", "json"))["items"]]
    ours = sorted(name for name in served if name.endswith((".milvus.io", ".redkite.io")))
    equal(ours, ["milvusclusters.milvus.io", "milvuscollections.redkite.io", "milvuses.milvus.io", "milvusresourcegroups.redkite.io", "milvusupgrades.milvus.io"], "definitions")


@claim
def g3_12_a_release_with_the_values_of_a_guide_becomes_healthy_and_serves(releases: Releases) -> None:
    # Helm itself sees by the object's condition when the database serves.
    releases.database("install", "--create-namespace", "--wait", "--timeout=5m", values=releases.values)
    equal(is_ready(RELEASE, NAMESPACE), True, "whether it is Ready when Helm says so")
    equal(releases.history(), [(1, "deployed")], "history")
    milvus = releases.milvus()
    equal((milvus["status"]["status"], milvus["metadata"]["generation"]), ("Healthy", 1), "state and generation")
    equal({role: one["spec"]["replicas"] for role, one in releases.deployments().items()}, dict.fromkeys(ROLES, 1), "pods of the components")
    service = (get("service", f"{RELEASE}-milvus", NAMESPACE) or {})["spec"]
    equal((service["type"], sorted(port["port"] for port in service["ports"])), ("LoadBalancer", [9091, 19530]), "the Service")
    with releases.client() as client:
        fill(client)
        verify(client)


@claim
def g3_20_probes_of_a_guide_are_the_pods_and_without_them_they_are_the_operators(releases: Releases) -> None:
    deployments = releases.deployments()
    for name in ("livenessProbe", "readinessProbe"):
        given = releases.values["queryNode"][name]
        found = {role: deployments[role]["spec"]["template"]["spec"]["containers"][0][name] for role in ("querynode", "datanode")}
        equal({key: found["querynode"].get(key) for key in given if key != "httpGet"}, without(given, "httpGet"), f"{name} of the values")
        equal(found["querynode"]["httpGet"]["path"], "/healthz", "the page it asks")
        if found["datanode"] == found["querynode"]:
            raise Failed(f"{name} is the same where no value names it")


@claim
def g3_21_every_spelling_of_labels_finds_the_query_nodes(releases: Releases) -> None:
    wanted = sorted(pod["metadata"]["name"] for pod in releases.pods("querynode"))
    for words in ("component=querynode", "app.kubernetes.io/component=querynode", "app=milvus,component=querynode"):
        equal(sorted(pod["metadata"]["name"] for pod in items("pods", NAMESPACE, "-l", words)), wanted, words)
    kubectl("wait", "--for=condition=ready", "pod", "-l", "app=milvus", "-n", NAMESPACE, "--timeout=60s")


@claim
def g3_13_an_upgrade_to_more_query_nodes_touches_nothing_else(releases: Releases) -> None:
    before = releases.lives()
    releases.values["queryNode"]["replicas"] = 2
    releases.database("upgrade", values=releases.values)
    releases.settled(querynode=2)
    equal(releases.history()[-1], (2, "deployed"), "history")
    equal([life for life in before if life not in releases.lives()], [], "pods that were there and are not")
    equal({role: one["metadata"]["generation"] for role, one in releases.deployments().items() if role != "querynode"}, dict.fromkeys([role for role in ROLES if role != "querynode"], 1), "generations")
    with releases.client() as client:
        verify(client)


@claim
def an_upgrade_of_resources_rolls_the_query_nodes_and_no_search_fails(releases: Releases) -> None:
    before, old = releases.lives("querynode"), {pod["metadata"]["uid"] for pod in releases.pods("querynode")}
    wanted = {"requests": {"cpu": "30m", "memory": "80Mi"}, "limits": {"cpu": "1", "memory": "2Gi"}}
    releases.values["queryNode"]["resources"] = wanted
    with releases.address() as uri, Searching(uri) as searches:
        releases.database("upgrade", "--wait", "--timeout=5m", values=releases.values)
        releases.settled(querynode=2)
    equal(searches.failed, [], f"failed of {searches.asked} searches")
    pods = releases.pods("querynode")
    equal([pod["spec"]["containers"][0]["resources"] for pod in pods], [wanted] * 2, "resources")
    equal(old & {pod["metadata"]["uid"] for pod in pods}, set(), "pods that were there before")
    equal(releases.lives("querynode"), before, "the other pods")
    print(f"        {searches.asked} searches, none failed", flush=True)


@claim
def g3_14_rolled_back_it_is_as_it_was(releases: Releases) -> None:
    others = releases.lives("querynode")
    releases.run("rollback", RELEASE, "-n", NAMESPACE)
    equal(releases.history()[-1], (4, "deployed"), "history after the first rollback")
    until("resources as they were", 60, lambda: releases.deployments()["querynode"]["spec"]["template"]["spec"]["containers"][0]["resources"] == SMALL)
    releases.run("rollback", RELEASE, "1", "-n", NAMESPACE)
    equal(releases.history()[-1], (5, "deployed"), "history after the second")
    releases.settled(querynode=1)
    releases.values = of_a_guide()
    equal(releases.lives("querynode"), others, "the other pods")
    with releases.client() as client:
        verify(client)


@claim
def g3_16_values_that_are_not_given_again_are_lost_unless_they_are_kept(releases: Releases) -> None:
    def spec(*words: str) -> dict[str, Any]:
        made = releases.database("upgrade", "--set", "queryNode.replicas=2", "--dry-run=server", "-o", "json", *words).stdout
        found = json.loads(kubectl("create", "--dry-run=client", "-o", "json", "-f", "-", text=json.loads(made)["manifest"]))
        return found["spec"]["components"]

    equal("resources" in spec()["queryNode"], False, "whether resources are kept without a word")
    equal(spec("--reset-then-reuse-values")["queryNode"]["resources"], SMALL, "resources with --reset-then-reuse-values")
    notes = releases.run("get", "notes", RELEASE, "-n", NAMESPACE).stdout
    if "--reset-then-reuse-values" not in notes:
        raise Failed("the notes of the release do not warn of it")


@claim
def g3_23_values_that_would_be_lost_are_refused_and_the_release_stays(releases: Releases) -> None:
    before = releases.history(), releases.milvus()["metadata"]["resourceVersion"]
    for values, hint in [
        ({"backup": {"enabled": True}}, "run milvus-backup"),
        ({"bakup": {"enabled": True}}, "bakup is not a value of this chart"),
        ({"readOnly": True}, "give clients a user without write privileges"),
        ({"global": {"region": "eu-central-1"}}, "the bucket's region is externalS3.region"),
        ({"attu": {"enabled": True}}, "install it beside the database"),
        ({"externalPulsar": {"enabled": True}}, "use externalKafka"),
        ({"queryNode": {"replicass": 3}}, "replicass"),
    ]:
        done = releases.database("upgrade", values={**releases.values, **values}, check=False)
        if done.returncode == 0 or hint not in done.stderr:
            raise Failed(f"{values} was answered with {done.returncode} {done.stderr[:400]}")
    equal((releases.history(), releases.milvus()["metadata"]["resourceVersion"]), before, "history and object")


@claim
@slow
def g3_59_and_60_a_scaler_of_the_values_has_the_number_of_pods(releases: Releases) -> None:
    scaler = {"enabled": True, "minReplicas": 2, "maxReplicas": 3, "targetCPUUtilizationPercentage": 100_000}
    values = {**releases.values, "queryNode": {**releases.values["queryNode"], "autoscaling": scaler}}
    releases.database("upgrade", values=values)

    def reads() -> bool:
        found = get("hpa", f"{RELEASE}-querynode-hpa", NAMESPACE) or {}
        active = condition(found, "ScalingActive")
        if active.get("status") != "True":
            raise Failed(str(active))
        return bool(found["status"].get("currentMetrics"))

    releases.settled(querynode=2)
    until("the scaler reads the pods' use", 120, reads)
    # Another change of the values leaves its number alone.
    values["service"] = {**values["service"], "annotations": {"example.com/touched": "yes"}}
    releases.database("upgrade", values=values)
    until("the change arrives", 60, lambda: "example.com/touched" in ((get("service", f"{RELEASE}-milvus", NAMESPACE) or {})["metadata"].get("annotations") or {}))
    releases.settled(querynode=2)
    releases.database("upgrade", values=releases.values)
    releases.settled(querynode=1)
    equal(items("hpa", NAMESPACE), [], "scalers")


@claim
@slow
def g3_62_two_scalers_of_one_deployment_are_told_and_neither_acts(releases: Releases) -> None:
    own, other = f"{RELEASE}-querynode-hpa", "milvus-querynode-custom-hpa"
    scaler = {"enabled": True, "minReplicas": 1, "maxReplicas": 2, "targetCPUUtilizationPercentage": 100_000}
    releases.database("upgrade", values={**releases.values, "queryNode": {**releases.values["queryNode"], "autoscaling": scaler}})
    until("the chart's scaler", 30, lambda: get("hpa", own, NAMESPACE))
    second = {**(get("hpa", own, NAMESPACE) or {}), "metadata": {"name": other}}
    second.pop("status", None)
    kubectl("-n", NAMESPACE, "create", "-f", "-", text=json.dumps(second))

    def told(name: str) -> bool:
        found = condition(get("hpa", name, NAMESPACE), "ScalingActive")
        if (found.get("status"), found.get("reason")) != ("False", "AmbiguousSelector"):
            raise Failed(f"{name}: {found}")
        return True

    for name in (own, other):
        until(f"{name} says that there are two", 90, lambda: told(name))
    kubectl("-n", NAMESPACE, "delete", "hpa", other)
    until("the one that is left acts", 120, lambda: condition(get("hpa", own, NAMESPACE), "ScalingActive").get("status") == "True")
    releases.database("upgrade", values=releases.values)
    releases.settled(querynode=1)


@claim
@slow
def g3_18_only_what_tolerates_a_taint_runs_on_its_machine(releases: Releases) -> None:
    machine = sorted(node["metadata"]["name"] for node in json.loads(kubectl("get", "nodes", "-o", "json"))["items"])[-1]
    here = {"nodeSelector": {"kubernetes.io/hostname": machine}}
    tolerates = {"tolerations": [{"key": "milvus", "operator": "Equal", "value": "querynode", "effect": "NoSchedule"}]}
    kubectl("taint", "node", machine, "milvus=querynode:NoSchedule")
    try:
        values = {
            **releases.values,
            "queryNode": {**releases.values["queryNode"], **here, **tolerates},
            "proxy": {**releases.values["proxy"], **here},
        }
        releases.database("upgrade", values=values)

        def placed() -> bool:
            query = [(pod["spec"].get("nodeName"), suite.ready_pod(pod)) for pod in releases.pods("querynode")]
            proxies = sorted((pod["status"]["phase"], suite.ready_pod(pod)) for pod in releases.pods("proxy"))
            if (query, proxies) != ([(machine, True)], [("Pending", False), ("Running", True)]):
                raise Failed(f"query nodes {query}, proxies {proxies}")
            return True

        until("the query node is there, and a proxy that may not be waits while the old one serves", 180, placed)
        why = [event["message"] for event in items("events", NAMESPACE) if event["reason"] == "FailedScheduling"]
        if not any("untolerated taint" in message for message in why):
            raise Failed(f"no event names the taint: {why}")
        with releases.client() as client:
            verify(client)
    finally:
        kubectl("taint", "node", machine, "milvus-")
    releases.database("upgrade", values=releases.values)
    releases.settled(querynode=1, proxy=1)


@claim
@slow
def g3_26_a_number_set_by_hand_is_put_back_unless_the_values_leave_it_open(releases: Releases) -> None:
    deployment = f"deployment/{RELEASE}-milvus-querynode"
    kubectl("-n", NAMESPACE, "scale", deployment, "--replicas=2")
    until("the number of the values", 30, lambda: releases.deployments()["querynode"]["spec"]["replicas"] == 1)
    open_ = {**releases.values, "queryNode": {**releases.values["queryNode"], "replicas": -1}}
    releases.database("upgrade", values=open_)
    until("the object leaves it open", 30, lambda: releases.milvus()["spec"]["components"]["queryNode"]["replicas"] == -1 and is_ready(RELEASE, NAMESPACE))
    kubectl("-n", NAMESPACE, "scale", deployment, "--replicas=2")
    releases.settled(querynode=2)
    equal(releases.deployments()["querynode"]["spec"]["replicas"], 2, "pods as they were set")
    releases.database("upgrade", values=releases.values)
    releases.settled(querynode=1)


@claim
@slow
def g3_17_pods_that_fit_on_no_node_are_named_and_the_others_serve(releases: Releases) -> None:
    apart = {"key": "app.kubernetes.io/component", "operator": "In", "values": ["querynode"]}
    of_us = {"key": "app.kubernetes.io/name", "operator": "In", "values": ["milvus"]}
    term = {"labelSelector": {"matchExpressions": [of_us, apart]}, "topologyKey": "kubernetes.io/hostname"}
    affinity = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    releases.database("upgrade", values={**releases.values, "queryNode": {**releases.values["queryNode"], "replicas": 3, "affinity": affinity}})

    def placed() -> bool:
        found = sorted((pod["status"]["phase"], suite.ready_pod(pod)) for pod in releases.pods("querynode"))
        # With no node left for a pod of the new kind Kubernetes keeps those of the old.
        if found != [("Pending", False), *[("Running", True)] * 3]:
            raise Failed(str(found))
        return True

    until("one query node waits for a node, and the others serve", 120, placed)

    def told() -> bool:
        ready = condition(releases.milvus(), "Ready")
        if ready.get("status") != "False" or "Unschedulable" not in ready.get("message", ""):
            raise Failed(str(ready))
        return any(event["reason"] == "FailedScheduling" for event in items("events", NAMESPACE))

    until("the object is not Ready, and an event says why", 60, told)
    with releases.client() as client:
        verify(client)
    releases.database("upgrade", values=releases.values)
    releases.settled(querynode=1)


@claim
def the_operators_upgrade_and_rollback_leave_the_database_alone(releases: Releases) -> None:
    before, generation = releases.lives(), releases.milvus()["metadata"]["generation"]
    releases.operator("upgrade", replicas=2, log="debug")
    releases.run("rollback", "redkite-operator", "-n", OPERATOR_NAMESPACE, "--wait", "--timeout=3m")
    equal([status for _, status in releases.history("redkite-operator", OPERATOR_NAMESPACE)], ["superseded", "superseded", "deployed"], "history")
    until("one copy", 60, lambda: len(items("pods", OPERATOR_NAMESPACE)) == 1)
    # It works: a change is carried out.
    kubectl("-n", NAMESPACE, "delete", "service", f"{RELEASE}-milvus")
    until("the Service again", 60, lambda: get("service", f"{RELEASE}-milvus", NAMESPACE))
    equal((releases.lives(), releases.milvus()["metadata"]["generation"]), (before, generation), "pods and the object's generation")


@claim
@slow
def an_operator_that_is_uninstalled_and_installed_again_leaves_databases_and_definitions(releases: Releases) -> None:
    before, uid = releases.lives(), releases.milvus()["metadata"]["uid"]
    releases.run("uninstall", "redkite-operator", "-n", OPERATOR_NAMESPACE, "--wait", "--timeout=2m")
    equal(items("deployments", OPERATOR_NAMESPACE), [], "the operator")
    left = [kind for kind in ("clusterroles", "clusterrolebindings") if "redkite" in kubectl("get", kind, "-o", "name")]
    equal(left, [], "rights that stay behind")
    with releases.client() as client:
        verify(client)
    releases.operator("install")
    equal((releases.lives(), releases.milvus()["metadata"]["uid"]), (before, uid), "pods and object")
    kubectl("-n", NAMESPACE, "delete", "service", f"{RELEASE}-milvus")
    until("the Service again", 60, lambda: get("service", f"{RELEASE}-milvus", NAMESPACE))
    await_ready(RELEASE, NAMESPACE)


@claim
def g3_15_uninstalled_and_installed_again_every_row_is_there(releases: Releases) -> None:
    claims = sorted(entry["metadata"]["name"] for entry in items("pvc", NAMESPACE))
    releases.run("uninstall", RELEASE, "-n", NAMESPACE, "--wait", "--timeout=3m")
    equal(releases.milvus(), {}, "the object")
    until("no pod of the engine", 60, lambda: not releases.pods())
    equal(sorted(entry["metadata"]["name"] for entry in items("pvc", NAMESPACE)), claims, "claims that stay")
    releases.database("install", "--wait", "--timeout=5m", values=releases.values)
    with releases.client() as client:
        verify(client)


@claim
@slow
def g3_19_and_124_a_missing_storage_class_is_named_and_made_it_heals_and_a_user_of_the_values_can_write_there(releases: Releases) -> None:
    given = json.loads(kubectl("get", "storageclass", "-o", "json"))["items"][0]
    user = {"securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "fsGroup": 1000}}
    values = {"cluster": {"enabled": False}, "standalone": {"resources": SMALL}, **user, "persistence": {"enabled": True, "storageClass": "fast-ssd", "accessMode": "ReadWriteOnce", "size": "500Gi"}}
    releases.run("install", "milvus-single", os.path.join(releases.charts, "milvus"), "-n", NAMESPACE, "--create-namespace", values=values)

    def named() -> bool:
        ready = condition(get("milvus", "milvus-single", NAMESPACE), "Ready")
        if ready.get("status") != "False" or "PersistentVolumeClaims" not in ready.get("message", ""):
            raise Failed(str(ready))
        return any('"fast-ssd" not found' in event["message"] for event in items("events", NAMESPACE))

    until("the object is not Ready for its claim, whose event names the class", 60, named)
    # What kind of volume it makes is said in an annotation.
    notes = {key: value for key, value in given["metadata"].get("annotations", {}).items() if "is-default-class" not in key and "last-applied" not in key}
    made = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "fast-ssd", "annotations": notes}, **{key: given[key] for key in ("provisioner", "reclaimPolicy", "volumeBindingMode", "parameters") if key in given}}
    kubectl("create", "-f", "-", text=json.dumps(made))
    await_ready("milvus-single", NAMESPACE, 180)
    pods = items("pods", NAMESPACE, "-l", "app.kubernetes.io/instance=milvus-single")
    # As the container runtime tells it.
    equal([pod["status"]["containerStatuses"][0].get("user", {}).get("linux", {}).get("uid") for pod in pods], [1000], "the user that the engine is")
    equal((get("pvc", "milvus-single-data", NAMESPACE) or {})["spec"]["resources"]["requests"]["storage"], "500Gi", "the volume")
    releases.run("uninstall", "milvus-single", "-n", NAMESPACE, "--wait", "--timeout=3m")
    equal((get("pvc", "milvus-single-data", NAMESPACE) or {"status": {}})["status"].get("phase"), "Bound", "the claim afterwards")


def main() -> int:
    quick = os.environ.get("QUICK") == "1"
    return run_claims("charts", [check for check in CLAIMS if not (quick and check in SLOW)], Releases(sys.argv[1]), sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
