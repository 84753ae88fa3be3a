"""The sample manifests of Milvus's own operator, as its users apply them, against a real API server and a running operator.

    peers.py FOLDER SAMPLE [WORD …]     KUBECONFIG names the cluster; only the claims whose name contains a word. ONLY names some of the files

Each file has a namespace of its own, which takes the place of one that it names. To become healthy on two cores it is run with small requests
and one pod each, and with a certificate in the place of the words "change to your own"; whether it is taken, carried out and left as it is
written is tried with all that it says. What needs a store outside is not run: that the setting is named is tried.
"""

from __future__ import annotations

import glob
import json
import os
import subprocess
import sys
import tempfile
from typing import Any, Callable, Iterator

from suite import SMALL, Failed, World, await_ready, condition, equal, get, items, kubectl, run_claims, until

CLAIMS: list[Callable[["Peers"], None]] = []
# The only field of all files that the peer's own definition does not know either.
UNKNOWN = {"milvus_pulsar_with_authn_jwt_token": "spec.component"}
FOUNDATIONS = ("EtcdReady", "StorageReady", "MsgStreamReady")
OF_CLUSTER = {"Namespace"}


def claim(check: Callable[["Peers"], None]) -> Callable[["Peers"], None]:
    CLAIMS.append(check)
    return check


def tried(*words: str, text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["kubectl", *words], input=text, capture_output=True, text=True)


class Peers:
    def __init__(self, folder: str, sample: str) -> None:
        self.world = World(sample, "")
        only = os.environ.get("ONLY", "").split()
        files = sorted(glob.glob(os.path.join(folder, "*.yaml")) + glob.glob(os.path.join(folder, "beta", "*.yaml")))
        named = {os.path.relpath(path, folder).removesuffix(".yaml"): path for path in files}
        self.files = {name: path for name, path in named.items() if not only or name in only}
        if not self.files:
            raise SystemExit(f"no manifest in {folder}")
        self.openssl = tempfile.TemporaryDirectory()

    def objects(self, path: str) -> list[dict[str, Any]]:
        """The objects of a file in order, as the API server's client reads them."""
        text = kubectl("create", "--dry-run=client", "--validate=ignore", "-f", path, "-o", "json")
        found: list[dict[str, Any]] = []
        decoder, at = json.JSONDecoder(), 0
        while text[at:].strip():
            at += len(text[at:]) - len(text[at:].lstrip())
            one, at = decoder.raw_decode(text, at)
            found.extend(one["items"] if one.get("kind") == "List" else [one])
        return found

    def cases(self, suffix: str) -> Iterator[tuple[str, str, list[dict[str, Any]]]]:
        """Each file with a namespace that is there while it is tried, and its objects in that."""
        for name, path in self.files.items():
            namespace = self.world.make_namespace(f"{suffix}-{name.replace('/', '-').replace('_', '-')}"[:55])
            objects = [one for one in self.objects(path) if one["kind"] not in OF_CLUSTER]
            for one in objects:
                one["metadata"]["namespace"] = namespace
            try:
                yield name, namespace, objects
            finally:
                kubectl("-n", namespace, "delete", "milvuses", "--all", "--timeout=180s")
                kubectl("delete", "namespace", namespace, "--wait=false")

    def certificate(self) -> dict[str, str]:
        """One that is its own authority, for the words of a sample that ask for one."""
        at = self.openssl.name
        if not os.path.exists(f"{at}/key"):
            words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
            words += ["-addext", "subjectAltName=DNS:localhost", "-keyout", f"{at}/key", "-out", f"{at}/pem"]
            subprocess.run(words, check=True, capture_output=True)
        with open(f"{at}/key") as key, open(f"{at}/pem") as pem:
            shown = pem.read()
            return {"server.key": key.read(), "server.pem": shown, "ca.pem": shown}


def spec_of(milvus: dict[str, Any]) -> dict[str, Any]:
    return milvus.get("spec") or {}


def is_outside(milvus: dict[str, Any]) -> bool:
    """Whether it stands on a store that is not here."""
    dependencies = spec_of(milvus).get("dependencies") or {}
    return any((dependencies.get(kind) or {}).get("external") for kind in ("etcd", "storage", "kafka"))


def small(milvus: dict[str, Any]) -> dict[str, Any]:
    """The same object with amounts that two cores have."""
    made = json.loads(json.dumps(milvus))
    spec = made.setdefault("spec", {}) or {}
    made["spec"] = spec
    components = spec.get("components") or {}
    spec["components"] = components
    components["resources"] = SMALL
    for one in components.values():
        if isinstance(one, dict):
            one.pop("resources", None)
            if (one.get("replicas") or 0) > 1:
                one["replicas"] = 1
            for group in one.get("groups") or []:
                group["replicas"] = min(group["replicas"], 1)
    components["resources"] = SMALL
    dependencies = spec.get("dependencies") or {}
    spec["dependencies"] = dependencies
    for kind in ("etcd", "storage"):
        store = dependencies.get(kind) or {}
        dependencies[kind] = store
        inside = store.get("inCluster") or {}
        store["inCluster"] = inside
        inside["values"] = {"replicaCount": 1, "persistence": {"size": "1Gi"}, "resources": SMALL}
    return made


def observed(name: str, namespace: str) -> dict[str, Any]:
    """The object, once the operator has told of its present spec."""

    def told() -> dict[str, Any] | None:
        milvus = get("milvus", name, namespace)
        current = (milvus or {}).get("status", {}).get("observedGeneration") == (milvus or {"metadata": {}})["metadata"].get("generation")
        return milvus if milvus and current and condition(milvus, "SpecAccepted") else None

    return until(f"the operator has looked at {namespace}/{name}", 60, told)


@claim
def every_manifest_has_the_verdict_that_it_has_with_the_peer(peers: Peers) -> None:
    wrong = []
    for name, path in peers.files.items():
        with open(path) as file:
            text = file.read()
        # What a file has in a namespace of its own is tried in the one that is there.
        lines = [line for line in text.splitlines() if not line.startswith("  namespace: ")]
        words = ("-n", peers.world.namespace, "apply", "--dry-run=server", "-f", "-")
        strict = tried(*words, "--validate=strict", text="\n".join(lines))
        plain = tried(*words, "--validate=ignore", text="\n".join(lines))
        unknown = UNKNOWN.get(name)
        sound = unknown in strict.stderr if unknown else strict.returncode == 0
        if not sound or plain.returncode:
            wrong.append(f"{name}: strict {strict.returncode} {strict.stderr.strip()[:200]}; plain {plain.returncode} {plain.stderr.strip()[:200]}")
    equal(wrong, [], "verdicts")
    print(f"        {len(peers.files)} files", flush=True)


@claim
def every_manifest_is_carried_out_and_never_rewritten_and_what_is_missing_is_named_by_its_setting(peers: Peers) -> None:
    count = 0
    for name, namespace, objects in peers.cases("as"):
        generations: dict[str, int] = {}
        for one in objects:
            text = json.dumps(one)
            kubectl("apply", "--validate=ignore", "-f", "-", text=text)
            if one["kind"] != "Milvus":
                continue
            which = one["metadata"]["name"]
            generations[which] = generations.get(which, 0) + 1
            found = observed(which, namespace)
            accepted = condition(found, "SpecAccepted")
            equal(accepted.get("status"), "True", f"{name}: whether the spec is accepted ({accepted.get('message', '')[:200]})")
            if not items("deployments", namespace, "-l", f"app.kubernetes.io/instance={which}"):
                raise Failed(f"{name}: no workload of {which}")
            if is_outside(one):

                def named() -> bool:
                    said = [condition(get("milvus", which, namespace), kind) for kind in FOUNDATIONS]
                    missing = [entry.get("message", "") for entry in said if entry.get("status") == "False"]
                    if not any(message.startswith("spec.dependencies.") for message in missing):
                        raise Failed(f"{name}: {said}")
                    return True

                until("a condition names the setting", 60, named)
            difference = tried("diff", "--validate=ignore", "-f", "-", text=text)
            equal((difference.returncode, difference.stdout[:300]), (0, ""), f"{name}: kubectl diff of the manifest ({difference.stderr[:200]})")
            equal((get("milvus", which, namespace) or {})["metadata"]["generation"], generations[which], f"{name}: generation, by what was applied")
            count += 1
    print(f"        {count} objects", flush=True)


@claim
def every_manifest_whose_stores_can_be_here_becomes_healthy(peers: Peers) -> None:
    count, left = 0, []
    for name, namespace, objects in peers.cases("up"):
        if any(is_outside(one) for one in objects if one["kind"] == "Milvus"):
            left.append(name)
            continue
        for one in objects:
            if one["kind"] == "Secret" and "change to your own" in json.dumps(one):
                one.pop("data", None)
                one["stringData"] = peers.certificate()
            if one["kind"] == "MilvusUpgrade":
                continue
            made = small(one) if one["kind"] == "Milvus" else one
            kubectl("apply", "--validate=ignore", "-f", "-", text=json.dumps(made))
            if one["kind"] == "Milvus":
                await_ready(one["metadata"]["name"], namespace, 300)
                equal((get("milvus", one["metadata"]["name"], namespace) or {})["status"]["status"], "Healthy", f"{name}: status")
                count += 1
    print(f"        {count} objects; not run, since their stores are outside: {', '.join(left)}", flush=True)


def main() -> int:
    folder, sample, words = sys.argv[1], sys.argv[2], sys.argv[3:]
    return run_claims("peers", CLAIMS, Peers(folder, sample), words)


if __name__ == "__main__":
    sys.exit(main())
