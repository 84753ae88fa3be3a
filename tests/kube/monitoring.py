"""A real Prometheus over the operator and two databases under load, in the network of their cluster.

    monitoring.py WORK OPERATOR_CHART CONFIG NODE_SCRIPT CLUSTER [WORD …]
    KUBECONFIG names the cluster; WORK has the operator's values and takes Prometheus's files; only the claims whose name contains a word

What Prometheus is told to scrape is made of the PodMonitor objects in the cluster by the rules of the Prometheus operator, so that these
are what is tried. Debian's Prometheus is built without the discovery of pods; it gets them over HTTP, with the labels that it would give.
"""

from __future__ import annotations

import glob
import http.server
import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import suppress
from typing import Any, Callable, Iterator

from pymilvus import MilvusClient

from suite import DIM, OPERATOR_NAMESPACE, ROWS, Failed, await_ready, equal, items, kubectl, roles_spec, row, run_claims, until

CLAIMS: list[Callable[["Watched"], None]] = []
NAMESPACE = "watched"
ROLES, SINGLE = "roles", "single"
PORT, DISCOVERY_PORT = 9090, 9091
CACHE = os.environ["REDKITE_CACHE"]
# Series of ours, of the process, and of Prometheus itself; recorded ones are of ours, too.
SERIES = re.compile(r"\b(?:(?:milvus|redkite|process)_\w+|up)\b(?!\s*[=!]|\s*,\s*\"|\")")
# Labels by which queries group, which look like series.
LABELS = {"milvus_namespace", "milvus_name", "redkite_io_resource_group"}
# What a dashboard or an alert names that need not be there: the metric, and why.
ON_EVENTS: dict[str, str] = {}
# Panels that may have no answer: the query's series, and why.
EMPTY: dict[str, str] = {"status=\"fail\"": "no call fails here"}
# What may go off although all is well: guides ask for 100 ms, and here is a whole cluster on one machine.
OF_SPEED = {"HighQueryLatency"}


def claim(check: Callable[["Watched"], None]) -> Callable[["Watched"], None]:
    CLAIMS.append(check)
    return check


def sanitized(label: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_]", "_", label)


def scrape_config(monitor: dict[str, Any], at: int) -> dict[str, Any]:
    """One endpoint of a PodMonitor as Prometheus's configuration."""
    spec, meta = monitor["spec"], monitor["metadata"]
    endpoint = spec["podMetricsEndpoints"][at]
    chosen: list[tuple[str, str]] = list(spec["selector"].get("matchLabels", {}).items())
    for expression in spec["selector"].get("matchExpressions", []):
        if expression["operator"] != "In":
            raise Failed(f"{meta['name']}: {expression['operator']} is not understood here")
        chosen.append((expression["key"], "|".join(expression["values"])))
    relabel: list[dict[str, Any]] = [
        {"action": "keep", "source_labels": [f"__meta_kubernetes_pod_label_{sanitized(key)}"], "regex": f"({value})"} for key, value in chosen
    ]
    relabel.append({"action": "drop", "source_labels": ["__meta_kubernetes_pod_phase"], "regex": "(Failed|Succeeded)"})
    relabel.append({"action": "keep", "source_labels": ["__meta_kubernetes_pod_container_port_name"], "regex": endpoint["port"]})
    for source, label in [("namespace", "namespace"), ("pod_container_name", "container"), ("pod_name", "pod")]:
        relabel.append({"source_labels": [f"__meta_kubernetes_{source}"], "target_label": label})
    for label in spec.get("podTargetLabels", []):
        relabel.append({"source_labels": [f"__meta_kubernetes_pod_label_{sanitized(label)}"], "target_label": sanitized(label), "regex": "(.+)"})
    relabel.append({"target_label": "job", "replacement": f"{meta['namespace']}/{meta['name']}"})
    relabel.append({"target_label": "endpoint", "replacement": endpoint["port"]})
    metric = [{"action": rule["action"], "target_label": rule["targetLabel"], "replacement": rule["replacement"]} for rule in endpoint.get("metricRelabelings", [])]
    names = spec.get("namespaceSelector", {}).get("matchNames", [meta["namespace"]])
    relabel.insert(0, {"action": "keep", "source_labels": ["__meta_kubernetes_namespace"], "regex": "|".join(names)})
    return {
        "job_name": f"podMonitor/{meta['namespace']}/{meta['name']}/{at}",
        "metrics_path": endpoint.get("path", "/metrics"),
        "scrape_interval": endpoint["interval"],
        "scrape_timeout": endpoint["interval"],
        "http_sd_configs": [{"url": f"http://127.0.0.1:{DISCOVERY_PORT}/", "refresh_interval": "2s"}],
        "relabel_configs": relabel,
        "metric_relabel_configs": metric,
    }


class Discovery(http.server.BaseHTTPRequestHandler):
    """Every port of every container of every pod, as Prometheus itself would tell of them."""

    def do_GET(self) -> None:
        body = json.dumps([target for pod in json.loads(kubectl("get", "pods", "-A", "-o", "json"))["items"] for target in targets(pod)]).encode()
        with suppress(BrokenPipeError, ConnectionResetError):  # Prometheus ends while it asks
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing: who asks is known."""


def targets(pod: dict[str, Any]) -> Iterator[dict[str, Any]]:
    address = pod["status"].get("podIP")
    labels = {
        "__meta_kubernetes_namespace": pod["metadata"]["namespace"],
        "__meta_kubernetes_pod_name": pod["metadata"]["name"],
        "__meta_kubernetes_pod_phase": pod["status"]["phase"],
        **{f"__meta_kubernetes_pod_label_{sanitized(key)}": value for key, value in pod["metadata"].get("labels", {}).items()},
    }
    for container in pod["spec"]["containers"] if address else []:
        for port in container.get("ports", []):
            of_port = {"__meta_kubernetes_pod_container_name": container["name"], "__meta_kubernetes_pod_container_port_name": port.get("name", "")}
            yield {"targets": [f"{address}:{port['containerPort']}"], "labels": {**labels, **of_port}}


class Load:
    """Writes, deletes, searches and queries, again and again until it is stopped; what failed is kept."""

    def __init__(self, uri: str) -> None:
        self.uri, self.failed, self.asked = uri, [], 0
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        client = MilvusClient(self.uri, timeout=60)
        schema = client.create_schema(auto_id=False)
        schema.add_field("id", 5, is_primary=True)
        schema.add_field("vec", 101, dim=DIM)
        client.create_collection("rows", schema=schema)
        index = client.prepare_index_params()
        index.add_index("vec", index_type="HNSW", metric_type="L2", params={"M": 8, "efConstruction": 60})
        client.insert("rows", [{"id": key, "vec": row(key)["vec"]} for key in range(ROWS)])
        client.flush("rows")
        client.create_index("rows", index)
        client.load_collection("rows")
        while not self.stopped.wait(0.02):
            self.asked += 1
            key = self.asked % ROWS
            vector = row(key)["vec"]
            try:
                client.search("rows", [vector], anns_field="vec", limit=1)
                client.query("rows", filter=f"id == {key}", output_fields=["id"])
                client.insert("rows", [{"id": ROWS + self.asked, "vec": vector}])
                client.delete("rows", ids=[ROWS + self.asked - 5])
            except Exception as error:  # noqa: BLE001 - every failure counts
                self.failed.append(str(error)[:200])
        client.close()

    def stop(self) -> None:
        self.stopped.set()
        self.thread.join()


class Watched:
    """The cluster, and the Prometheus that looks at it."""

    def __init__(self, work: str, chart: str, config: str, node: list[str]) -> None:
        self.work, self.chart, self.config, self.node = work, chart, config, node
        self.prometheus: subprocess.Popen[bytes] | None = None
        self.load: list[Load] = []
        self.discovery = http.server.ThreadingHTTPServer(("127.0.0.1", DISCOVERY_PORT), Discovery)
        threading.Thread(target=self.discovery.serve_forever, daemon=True).start()

    def monitors(self) -> list[dict[str, Any]]:
        return json.loads(kubectl("get", "podmonitors", "-A", "-o", "json"))["items"]

    def start(self, wait: str | None = None) -> None:
        """Starts Prometheus with what the cluster's objects say; `wait` stands in for the alerts' own `for`."""
        self.stop()
        rule = json.loads(kubectl("get", "prometheusrules", "-A", "-o", "json"))["items"][0]
        groups = rule["spec"]["groups"]
        for alert in [rule for group in groups if wait for rule in group["rules"] if "alert" in rule]:
            alert["for"] = wait
        configs = [scrape_config(monitor, at) for monitor in self.monitors() for at in range(len(monitor["spec"]["podMetricsEndpoints"]))]
        settings = {"global": {"evaluation_interval": "1s"}, "rule_files": ["rules.yaml"], "scrape_configs": configs}
        for name, value in [("rules.yaml", {"groups": groups}), ("prometheus.yaml", settings)]:
            with open(os.path.join(self.work, name), "w") as file:
                json.dump(value, file)
        check = subprocess.run([f"{CACHE}/cluster-bin/promtool", "check", "config", "prometheus.yaml"], cwd=self.work, capture_output=True, text=True)
        equal(check.returncode, 0, check.stdout + check.stderr)
        flags = ["--config.file=prometheus.yaml", f"--web.listen-address=127.0.0.1:{PORT}", "--storage.tsdb.path=data"]
        with open(os.path.join(self.work, "log"), "ab") as log:
            self.prometheus = subprocess.Popen([f"{CACHE}/cluster-bin/prometheus", *flags], cwd=self.work, stdout=log, stderr=log)
        until("Prometheus answers", 60, self.answers)

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/-/ready", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def stop(self) -> None:
        if self.prometheus:
            self.prometheus.terminate()
            self.prometheus.wait()
            self.prometheus = None

    def ask(self, path: str, **parameters: str) -> Any:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/api/v1/{path}?{urllib.parse.urlencode(parameters)}", timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise Failed(f"{path} {parameters}: {error.read().decode()[:400]}") from error

    def query(self, text: str) -> list[dict[str, Any]]:
        """What a query gives now, without what is no number."""
        return [found for found in self.ask("query", query=text)["result"] if found["value"][1] != "NaN"]

    def states(self) -> dict[str, str]:
        """Alerts that are not quiet."""
        return {alert["labels"]["alertname"]: alert["state"] for alert in self.ask("alerts")["alerts"]}

    def pods(self) -> list[dict[str, Any]]:
        """All that is to be scraped: the engine's pods, etcd's and the operator's."""
        chosen = "app.kubernetes.io/name in (milvus,etcd)"
        found = items("pods", NAMESPACE, "-l", chosen) + items("pods", OPERATOR_NAMESPACE)
        return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]

    def dashboards(self) -> list[tuple[str, str]]:
        """Every query of a panel, and where it stands, with Grafana's variables filled in."""
        found = []
        values = {"$__rate_interval": "20s", "$namespace": NAMESPACE, "$database": f"{ROLES}|{SINGLE}"}
        for path in sorted(glob.glob(os.path.join(self.config, "*.json"))):
            with open(path) as file:
                dashboard = json.load(file)
            for panel in dashboard["panels"]:
                for target in panel.get("targets", []):
                    query = target["expr"]
                    for name, value in values.items():
                        query = query.replace(name, value)
                    found.append((f"{os.path.basename(path)}: {panel['title']}", query))
        return found

    def rules(self) -> list[tuple[str, str]]:
        """Every alert and every recorded series, with its query."""
        return [(rule["name"], rule["query"]) for group in self.ask("rules")["groups"] for rule in group["rules"]]


def small(mode: dict[str, Any]) -> dict[str, Any]:
    """Asked for each second: a dashboard's rates need several answers in their window."""
    return {**mode, "components": {**mode.get("components", {}), "metricInterval": "1s"}}


def database(name: str, spec: dict[str, Any]) -> str:
    return json.dumps({"apiVersion": "milvus.io/v1beta1", "kind": "Milvus", "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec})


@claim
def g3_125_databases_come_up_where_nobody_knows_monitors_and_get_one_once_somebody_does(watched: Watched) -> None:
    kubectl("create", "namespace", NAMESPACE)
    kubectl("apply", "-f", "-", text=database(ROLES, small(roles_spec())))
    kubectl("apply", "-f", "-", text=database(SINGLE, {}))
    await_ready(SINGLE, NAMESPACE, 180)
    kubectl("create", "-f", os.path.join(CACHE, "cluster-bin", "prometheus-operator-crds.yaml"))
    kubectl("wait", "--for=condition=Established", "crd/podmonitors.monitoring.coreos.com", "crd/prometheusrules.monitoring.coreos.com", "--timeout=60s")
    subprocess.run(["helm", "upgrade", "redkite-operator", watched.chart, "-n", OPERATOR_NAMESPACE, "-f", os.path.join(watched.work, "values.yaml")], check=True, capture_output=True)
    kubectl("-n", NAMESPACE, "patch", "milvus", SINGLE, "--type=merge", "-p", json.dumps({"spec": small({})}))
    await_ready(ROLES, NAMESPACE, 240)
    # One that was there before is looked at again within minutes; here at once, since something else of it changes.
    kubectl("-n", NAMESPACE, "patch", "milvus", ROLES, "--type=merge", "-p", '{"spec": {"components": {"proxy": {"serviceLabels": {"looked": "at"}}}}}')
    wanted = [(OPERATOR_NAMESPACE, "redkite-operator"), (NAMESPACE, ROLES), (NAMESPACE, SINGLE)]
    until("a monitor for each", 60, lambda: [(one["metadata"]["namespace"], one["metadata"]["name"]) for one in watched.monitors()] == wanted)
    equal({endpoint["interval"] for one in watched.monitors() for endpoint in one["spec"]["podMetricsEndpoints"]}, {"1s"}, "intervals")
    dashboards = [one["metadata"]["name"] for one in items("configmaps", OPERATOR_NAMESPACE, "-l", "grafana_dashboard=1")]
    equal(len(dashboards), len(glob.glob(os.path.join(watched.config, "*.json"))), f"dashboards {dashboards}")


@claim
def prometheus_finds_every_pod_by_the_monitors_and_each_answers(watched: Watched) -> None:
    watched.start()
    wanted = sorted(pod["metadata"]["name"] for pod in watched.pods())

    def up() -> bool:
        found = watched.ask("targets", state="active")["activeTargets"]
        names = sorted(target["labels"]["pod"] for target in found)
        unwell = [(target["labels"]["pod"], target["lastError"]) for target in found if target["health"] != "up"]
        if names != wanted or unwell:
            raise Failed(f"targets {names}, wanted {wanted}; not up: {unwell}")
        return True

    until("every pod is a target that answers", 90, up)
    components = {one["metric"]["app_kubernetes_io_component"] for one in watched.query(f'count by (app_kubernetes_io_component) (up{{namespace="{NAMESPACE}"}})')}
    equal(components, {"proxy", "mixcoord", "streamingnode", "querynode", "datanode", "standalone", "etcd"}, "components by label")


@claim
def g3_64_what_each_pod_serves_is_prometheuss_text(watched: Watched) -> None:
    for pod in watched.pods():
        address = f"{pod['status']['podIP']}:{next(port['containerPort'] for container in pod['spec']['containers'] for port in container.get('ports', []) if port['name'] == 'metrics')}"
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=30) as answer:
            text = answer.read()
        if pod["metadata"]["labels"]["app.kubernetes.io/name"] == "etcd":
            continue
        # 1 is a text that cannot be read; 3 finds fault with names, which are Milvus's.
        judged = subprocess.run([f"{CACHE}/cluster-bin/promtool", "check", "metrics"], input=text, capture_output=True)
        if judged.returncode not in (0, 3):
            raise Failed(f"{pod['metadata']['name']}: {judged.stderr.decode()[:400]}")
        timed = [line for line in text.decode().splitlines() if line and not line.startswith("#") and len(line.rsplit("}", 1)[-1].split()) > (1 if "}" in line else 2)]
        equal(timed, [], f"{pod['metadata']['name']}: values with a time")


@claim
def every_series_of_a_dashboard_or_an_alert_is_scraped_from_databases_under_load(watched: Watched) -> None:
    watched.load = [Load(f"http://{name}-milvus.{NAMESPACE}:19530") for name in (ROLES, SINGLE)]
    named = {name for _, query in watched.dashboards() + watched.rules() for name in SERIES.findall(query)} - LABELS
    if len(named) < 25:
        raise Failed(f"the queries were not understood: {sorted(named)}")

    def scraped() -> bool:
        missing = named - set(watched.ask("label/__name__/values")) - set(ON_EVENTS)
        if missing:
            raise Failed(f"nobody serves {sorted(missing)}")
        return True

    until("every series", 120, scraped)
    print(f"        {len(named)} series", flush=True)


@claim
def every_panel_has_an_answer_under_load(watched: Watched) -> None:
    def answered() -> bool:
        # Something to reconcile, over and over.
        labels = {"asked": str(time.time_ns())}
        kubectl("-n", NAMESPACE, "patch", "milvus", SINGLE, "--type=merge", "-p", json.dumps({"spec": {"components": {"standalone": {"serviceLabels": labels}}}}))
        silent = [f"{place}: {query}" for place, query in watched.dashboards() if not watched.query(query) and not any(text in query for text in EMPTY)]
        if silent:
            raise Failed("\n".join(silent))
        return True

    until("an answer to every panel's query", 120, answered)
    equal([load.failed for load in watched.load], [[], []], "calls that failed")


# Recorded, but only once there was something of the kind: calls that flush, builds of indexes, inserts.
OF_WORK = {"milvus_flush_duration_ms", "milvus_index_build_duration_ms", "milvus_insert_latency_ms"}


@claim
def the_series_that_guides_name_have_answers_and_their_queries_too(watched: Watched) -> None:
    with open(os.path.join(watched.config, "rules.yaml")) as file:
        recorded = re.findall(r"- record: (\w+)", file.read())
    of = f'{{namespace="{NAMESPACE}"}}'

    def answered() -> bool:
        silent = [name for name in recorded if not watched.query(f"{name}{of}")]
        if set(silent) - OF_WORK:
            raise Failed(f"nothing is recorded as {silent}")
        return True

    until("every recorded series", 60, answered)
    # A guide's queries, word for word but for the namespace. A rate of a recorded series needs two records of it.
    for query in (
        f"rate(milvus_query_total{of}[5m])",
        f"histogram_quantile(0.99, rate(milvus_query_latency_ms_bucket{of}[5m]))",
        f"rate(milvus_query_errors_total{of}[5m]) / rate(milvus_query_total{of}[5m])",
        f"milvus_memory_usage_bytes{of} / milvus_memory_limit_bytes{of}",
        f"milvus_disk_usage_bytes{of} / milvus_disk_limit_bytes{of}",
    ):
        until(f"an answer to {query}", 120, lambda query=query: bool(watched.query(query)))
    memory = [float(found["value"][1]) for found in watched.query(f"milvus_memory_usage_bytes{of} / milvus_memory_limit_bytes{of}")]
    equal([share for share in memory if not 0 < share < 1], [], "shares of memory that are none")


@claim
def g3_61_what_a_metrics_adapter_asks_has_one_answer_for_each_query_node(watched: Watched) -> None:
    """An adapter puts pods and a window into a query and hands on what Prometheus answers: its rule with the counter that a guide's
    must be, as it asks for a scaler's Deployment. The adapter itself is not run."""
    pods = sorted(pod["metadata"]["name"] for pod in watched.pods() if pod["metadata"]["labels"].get("app.kubernetes.io/component") == "querynode")
    chosen = f'namespace="{NAMESPACE}",pod=~"{"|".join(pods)}"'

    def by_pod(query: str) -> list[str]:
        return sorted(found["metric"]["pod"] for found in watched.query(query) if float(found["value"][1]) > 0)

    for rule in (
        "sum(rate(milvus_querynode_sq_req_count{%s}[2m])) by (pod)",
        "sum(rate(milvus_querynode_sq_req_latency_sum{%s}[2m])) by (pod) / sum(rate(milvus_querynode_sq_req_latency_count{%s}[2m])) by (pod)",
    ):
        query = rule.replace("%s", chosen)
        until(f"an answer for each query node to {query}", 60, lambda query=query: by_pod(query) == pods)
    # The guide's own series is the proxies': what clients ask, each call once. A rate is recorded of who was scraped twice.
    def who() -> set[str]:
        return {found["metric"]["app_kubernetes_io_component"] for found in watched.query(f'milvus_query_qps{{namespace="{NAMESPACE}"}}')}

    until("milvus_query_qps of the proxies and the standalone", 120, lambda: who() >= {"proxy", "standalone"})
    equal(who(), {"proxy", "standalone"}, "who has milvus_query_qps")


@claim
def the_alerts_are_evaluated_and_none_goes_off_for_databases_that_work(watched: Watched) -> None:
    with open(os.path.join(watched.config, "rules.yaml")) as file:
        wanted = re.findall(r"- (?:alert|record): (\w+)", file.read())

    def evaluated() -> list[str]:
        rules = [rule for group in watched.ask("rules")["groups"] for rule in group["rules"]]
        unwell = [(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] != "ok"]
        if unwell:
            raise Failed(str(unwell))
        return [rule["name"] for rule in rules]

    equal(sorted(until("all are evaluated", 60, evaluated)), sorted(wanted), "alerts and recorded series")
    equal({name for name, state in watched.states().items() if state == "firing"} - OF_SPEED, set(), "alerts that fire")


@claim
def a_pod_that_hangs_an_operator_that_is_gone_and_calls_that_fail_are_told_and_it_ends(watched: Watched) -> None:
    # The alerts as they are, but that they need not hold for minutes.
    watched.start(wait="3s")
    until("quiet", 60, lambda: watched.query("up") and not set(watched.states()) - OF_SPEED)
    stopped = items("pods", NAMESPACE, "-l", "app.kubernetes.io/component=datanode")[0]
    name, node = stopped["metadata"]["name"], stopped["spec"]["nodeName"].removeprefix("n")
    script = "for at in /proc/[0-9]*; do tr '\\0' '\\n' <$at/environ 2>/dev/null | grep -qx HOSTNAME=$1 && kill -$2 ${at#/proc/}; done; true"

    def signal(word: str) -> None:
        subprocess.run([*watched.node, "shell", node, "--", "sh", "-c", script, "sh", name, word], check=True, capture_output=True)

    def told_of() -> list[str]:
        down = [alert for alert in watched.ask("alerts")["alerts"] if alert["labels"]["alertname"] == "RedkitePodDown"]
        return [alert["labels"]["pod"] for alert in down if alert["state"] == "firing"]

    signal("STOP")
    try:
        # On a busy machine another one may be late for a scrape or two.
        until("that pod is told of, and no other", 60, lambda: told_of() == [name])
    finally:
        signal("CONT")
    kubectl("-n", OPERATOR_NAMESPACE, "scale", "deployment", "redkite-operator", "--replicas=0")
    until("the operator's absence is told of", 90, lambda: watched.states().get("RedkiteOperatorAbsent") == "firing")
    kubectl("-n", OPERATOR_NAMESPACE, "scale", "deployment", "redkite-operator", "--replicas=1")
    wrong = MilvusClient(f"http://{SINGLE}-milvus.{NAMESPACE}:19530", timeout=20)

    def told() -> bool:
        for _ in range(20):
            try:
                wrong.query("rows", filter="there is no such (", output_fields=["id"])
            except Exception:  # noqa: BLE001 - it is to fail
                pass
        return watched.states().get("RedkiteRequestsFail") == "firing"

    until("calls that fail are told of", 90, told)
    wrong.close()
    until("the others have ended", 120, lambda: not {"RedkitePodDown", "RedkiteOperatorAbsent"} & set(watched.states()))
    equal([load.failed for load in watched.load], [[], []], "calls of the load that failed")


def main() -> int:
    work, chart, config, node, cluster, words = *sys.argv[1:6], sys.argv[6:]
    watched = Watched(work, chart, config, [node, "--name", cluster])
    try:
        return run_claims("monitoring", CLAIMS, watched, words)
    finally:
        for load in watched.load:
            load.stop()
        watched.stop()


if __name__ == "__main__":
    sys.exit(main())
