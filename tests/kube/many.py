"""A thousand Milvus objects under one operator, measured.

    many.py CLUSTER NODE_SCRIPT AUDIT_LOG [--record] [--idle SECONDS]     KUBECONFIG names the cluster

NODE_SCRIPT runs a command on a node of the cluster; AUDIT_LOG is what the API server notes about writes of pods.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable

from suite import OPERATOR_NAMESPACE, Failed, equal, get, items, kubectl, until
from watched import writes_of_operator

DATABASES = 1_000
STARTED = 100
NODES = 10
OPERATOR = "redkite-operator"
# What is allowed.
PASS_SECONDS, MEMORY_MB, FAILOVER_SECONDS = 180, 150, 20
HERE = os.path.dirname(os.path.abspath(__file__))
RESULTS = os.path.join(HERE, "..", "..", "docs", "results", "operator-scale.md")


def database(number: int) -> dict[str, Any]:
    spec = {
        "components": {
            "standalone": {"replicas": 0},
            "nodeSelector": {"type": "kwok"},
            "tolerations": [{"key": "kwok.x-k8s.io/node", "operator": "Exists"}],
            "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}},
        },
    }
    metadata = {"name": f"kite-{number}", "namespace": f"many-{number % 10}"}
    return {"apiVersion": "milvus.io/v1beta1", "kind": "Milvus", "metadata": metadata, "spec": spec}


def make(kind: str, name: str, version: str = "v1", **more: Any) -> dict[str, Any]:
    metadata = {"name": name, **more.pop("metadata", {})}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **more}


def surroundings() -> list[dict[str, Any]]:
    """Namespaces, simulated nodes, and volumes that need no provisioner."""
    made = [make("Namespace", f"many-{number}") for number in range(10)]
    for number in range(NODES):
        marks = {"labels": {"type": "kwok", "kubernetes.io/hostname": f"kwok-{number}"}}
        taint = {"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}
        size = {"cpu": "32", "memory": "256Gi", "pods": "110"}
        made.append(make("Node", f"kwok-{number}", metadata=marks, spec={"taints": [taint]}, status={"allocatable": size, "capacity": size}))
    default = {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}
    made.append(
        make("StorageClass", "kwok", "storage.k8s.io/v1", metadata=default, provisioner="kubernetes.io/no-provisioner", volumeBindingMode="WaitForFirstConsumer")
    )
    for number in range(STARTED):
        spec = {
            "storageClassName": "kwok",
            "capacity": {"storage": "1Ti"},
            "accessModes": ["ReadWriteOnce"],
            "hostPath": {"path": f"/nowhere/{number}"},
        }
        made.append(make("PersistentVolume", f"kwok-{number}", spec=spec))
    return made


def create(objects: list[dict[str, Any]]) -> None:
    """In a few streams, each of which waits for the API server."""
    parts = [objects[at::4] for at in range(4)]

    def put(part: list[dict[str, Any]]) -> None:
        kubectl("create", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": part}))

    with ThreadPoolExecutor(4) as streams:
        list(streams.map(put, [part for part in parts if part]))


class Operator:
    """The operator's copies, as a person beside them sees them."""

    def __init__(self, cluster: str, node_script: str) -> None:
        self.node = [node_script, "--name", cluster, "shell", "1", "--"]

    def pods(self) -> list[str]:
        found = items("pods", OPERATOR_NAMESPACE)
        return [pod["metadata"]["name"] for pod in found if not pod["metadata"].get("deletionTimestamp")]

    def scale(self, replicas: int) -> None:
        kubectl("-n", OPERATOR_NAMESPACE, "scale", "deployment", OPERATOR, f"--replicas={replicas}")
        until(f"{replicas} copies", 90, lambda: len(items("pods", OPERATOR_NAMESPACE)) == replicas)
        if replicas:
            kubectl("-n", OPERATOR_NAMESPACE, "rollout", "status", f"deployment/{OPERATOR}", "--timeout=90s")

    def metrics(self, pod: str) -> dict[str, float]:
        text = kubectl("get", "--raw", f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/pods/{pod}:8080/proxy/metrics", check=False)
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line and not line.startswith("#")}

    def holder(self) -> str | None:
        leases = items("leases", OPERATOR_NAMESPACE)
        return next((entry["spec"].get("holderIdentity") or None for entry in leases), None)

    def leader(self) -> str | None:
        """The holder of the lease, once it says itself that it leads."""
        pod = self.holder()
        return pod if pod in self.pods() and self.metrics(pod).get("redkite_operator_leader") == 1 else None

    def count(self, state: str) -> float:
        pod = self.leader()
        return self.metrics(pod).get(f'milvus_total_count{{status="{state}"}}', 0) if pod else -1

    def processes(self) -> list[dict[str, Any]]:
        """Each copy's process on the node, with its memory in MB: the most it ever had, and now."""
        script = (
            "for at in /proc/[0-9]*; do read -r name 2>/dev/null <$at/comm || continue; [ $name = redkite-operato ] || continue;"
            " echo PID ${at#/proc/}; grep -E '^Vm(HWM|RSS)' $at/status; tr '\\0' '\\n' <$at/environ | grep -E '^(HOSTNAME|POD_NAME)='; done"
        )
        out = subprocess.run([*self.node, "sh", "-c", script], capture_output=True, text=True, check=True).stdout
        found = []
        for part in out.split("PID ")[1:]:
            number = {word: int(kib) * 1024 / 1e6 for word, kib in re.findall(r"(VmHWM|VmRSS):\s+(\d+) kB", part)}
            name = re.search(r"(?:HOSTNAME|POD_NAME)=(\S+)", part)
            found.append({"pid": part.split()[0], "pod": name.group(1) if name else "", "most": number["VmHWM"], "now": number["VmRSS"]})
        return found

    def signal(self, name: str, pod: str) -> None:
        pid = next(process["pid"] for process in self.processes() if process["pod"] == pod)
        subprocess.run([*self.node, "kill", f"-{name}", pid], check=True)


def counted(operator: Operator, state: str, wanted: int, seconds: float) -> float:
    """How long until the operator says that so many are in a state."""
    begin = time.monotonic()

    def done() -> bool:
        found = operator.count(state)
        if found != wanted:
            raise Failed(f"{found:.0f} {state}")
        return True

    until(f"{wanted} {state}", seconds, done)
    return time.monotonic() - begin


def check_objects(wanted: dict[str, int]) -> None:
    """What the API server has, not what the operator says."""
    databases = items("milvus", "", "--all-namespaces")
    states: dict[str, int] = {}
    for found in databases:
        status = found.get("status", {})
        current = status.get("observedGeneration") == found["metadata"]["generation"]
        state = status.get("status", "none") if current else "behind"
        states[state] = states.get(state, 0) + 1
    equal(states, wanted, "states of the objects")
    for kind in ("deployments", "services", "configmaps", "persistentvolumeclaims"):
        words = kubectl("get", kind, "--all-namespaces", "-l", "app.kubernetes.io/managed-by=milvus-operator", "-o", "name").split()
        if len(words) < DATABASES:
            raise Failed(f"only {len(words)} {kind}")


def failover(operator: Operator) -> tuple[float, float]:
    """The leader hangs, so that it neither works nor gives its lease back: how long until another leads, and until it has done
    what is asked for then, beside its first look at all the others."""
    leader = operator.leader()
    if leader is None:
        raise Failed("nobody leads")
    operator.signal("STOP", leader)
    begin = time.monotonic()
    wanted = {"requests": {"cpu": "60m", "memory": "130Mi"}}
    patch = json.dumps({"spec": {"components": {"standalone": {"resources": wanted}}}})
    kubectl("-n", "many-5", "patch", "milvus", "kite-995", "--type=merge", "-p", patch)

    def done() -> bool:
        found = get("deployment", "kite-995-milvus-standalone", "many-5") or {}
        return found["spec"]["template"]["spec"]["containers"][0]["resources"].get("requests") == wanted["requests"]

    until("another copy leads", 60, lambda: operator.holder() not in (None, leader))
    leads = time.monotonic() - begin
    until("it does what is asked for", 180, done)
    took = time.monotonic() - begin
    operator.signal("CONT", leader)
    return leads, took


def started(operator: Operator) -> float:
    begin = time.monotonic()
    patch = json.dumps({"spec": {"components": {"standalone": {"replicas": 1}}}})

    def start(number: int) -> None:
        kubectl("-n", f"many-{number % 10}", "patch", "milvus", f"kite-{number}", "--type=merge", "-p", patch)

    with ThreadPoolExecutor(4) as streams:
        list(streams.map(start, range(STARTED)))
    counted(operator, "Healthy", STARTED, 300)
    return time.monotonic() - begin


def idle(audit_log: str, seconds: int) -> list[str]:
    """What the operator writes while nothing happens, but for its lease."""
    # The last status writes and Events of what was done before.
    until("an end of what was begun", 120, lambda: not writes_of_operator(audit_log, time.time() - 15))
    begin = time.time()
    time.sleep(seconds)
    return writes_of_operator(audit_log, begin)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    operator, figures = Operator(arguments.cluster, arguments.node_script), {}
    say: Callable[[str], None] = lambda text: print(f"        {text}", flush=True)
    operator.scale(0)
    kubectl("annotate", "storageclass", "local-path", "storageclass.kubernetes.io/is-default-class=false", "--overwrite")
    create(surroundings())
    begin = time.monotonic()
    create([database(number) for number in range(DATABASES)])
    say(f"{DATABASES} objects applied in {time.monotonic() - begin:.0f} s")

    operator.scale(2)
    figures["first pass s"] = round(counted(operator, "Stopped", DATABASES, 600), 1)
    check_objects({"Stopped": DATABASES})
    say(f"first pass {figures['first pass s']} s; {operator.processes()}")
    operator.scale(0)
    operator.scale(2)
    figures["pass after a restart s"] = round(counted(operator, "Stopped", DATABASES, 600), 1)
    say(f"again {figures['pass after a restart s']} s; {operator.processes()}")
    leads, done = failover(operator)
    figures["failover s"], figures["change during it s"] = round(leads, 1), round(done, 1)
    until("two copies", 120, lambda: len(operator.processes()) == 2 and operator.leader())
    counted(operator, "Stopped", DATABASES, 600)
    say(f"failover {figures['failover s']} s, a change meanwhile {figures['change during it s']} s")
    figures[f"{STARTED} started s"] = round(started(operator), 1)
    check_objects({"Healthy": STARTED, "Stopped": DATABASES - STARTED})
    say(f"{STARTED} started in {figures[f'{STARTED} started s']} s")
    wrote = idle(arguments.audit_log, arguments.idle)
    figures[f"writes in {arguments.idle} idle s"] = len(wrote)
    if wrote:
        say(f"written while nothing happened: {wrote[:10]}")
    memory = operator.processes()
    figures["memory MB, most"] = round(max(process["most"] for process in memory))
    figures["memory MB, at rest"] = round(max(process["now"] for process in memory))
    return figures


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("cluster")
    parser.add_argument("node_script")
    parser.add_argument("audit_log")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--idle", type=int, default=60)
    arguments = parser.parse_args()
    begin = time.monotonic()
    figures = measure(arguments)
    line = ", ".join(f"{name}: {figure}" for name, figure in figures.items())
    print(f"  {line}", flush=True)
    limits = [
        ("first pass s", PASS_SECONDS),
        ("pass after a restart s", PASS_SECONDS),
        ("failover s", FAILOVER_SECONDS),
        ("memory MB, most", MEMORY_MB),
        (f"writes in {arguments.idle} idle s", 0),
    ]
    missed = [f"{name} {figures[name]} of {limit}" for name, limit in limits if figures[name] > limit]
    if arguments.record:
        record(line, time.monotonic() - begin)
    print(f"many: {len(limits) - len(missed)} passed, {len(missed)} failed {'; '.join(missed)}", flush=True)
    return 1 if missed else 0


def commit() -> str:
    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=HERE, capture_output=True, text=True).stdout.strip()

    changed = " with changes" if git("status", "--porcelain", "--untracked-files=no") else ""
    return f"{git('rev-parse', '--short', 'HEAD')}{changed}"


def record(line: str, seconds: float) -> None:
    with open(RESULTS, "a") as results:
        results.write(f"| {datetime.date.today()} | {commit()} | {line} | {seconds:.0f} |\n")


if __name__ == "__main__":
    sys.exit(main())
