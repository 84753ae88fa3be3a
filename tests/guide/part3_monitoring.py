"""Part 3, chapters 11.1 and 12.4: alerts (case 67) and dashboards (70), by a Prometheus beside the server."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.parse
import urllib.request
from typing import Any

import fixtures as of
import services
from harness import HERE, Server, case, equal, free_port, holds, until
from part3_process import folder_of

MONITORING = HERE / "../../config/monitoring"
COUNTED = 'milvus_proxy_req_count{{function_name="Search",node_id="1",status="{}"}}'
# The guide's alerts: severity, minutes, its own expression, and series of a server for which each has to fire.
ALERTS: dict[str, tuple[str, int, str, dict[str, str]]] = {
    "HighQueryRate": (
        "warning",
        5,
        "rate(milvus_query_total[5m]) > 10000",
        {COUNTED.format("total"): "0+300000x200", COUNTED.format("success"): "0+300000x200"},
    ),
    "HighQueryLatency": (
        "warning",
        5,
        "histogram_quantile(0.99, rate(milvus_query_latency_ms_bucket[5m])) > 100",
        {
            f'milvus_proxy_sq_latency_bucket{{le="{bound}",query_type="search"}}': values
            for bound, values in (("64", "0+0x200"), ("512", "0+100x200"), ("+Inf", "0+100x200"))
        },
    ),
    "HighErrorRate": (
        "critical",
        5,
        "rate(milvus_query_errors_total[5m]) / rate(milvus_query_total[5m]) > 0.05",
        {COUNTED.format("total"): "0+100x200", COUNTED.format("success"): "0+80x200", COUNTED.format("fail"): "0+20x200"},
    ),
    "HighMemoryUsage": (
        "warning",
        5,
        "milvus_memory_usage_bytes / milvus_memory_limit_bytes > 0.9",
        {"redkite_memory_used_bytes": "95x200", "redkite_memory_limit_bytes": "100x200"},
    ),
    "HighDiskUsage": (
        "warning",
        10,
        "milvus_disk_usage_bytes / milvus_disk_limit_bytes > 0.85",
        {"redkite_disk_used_bytes": "90x200", "redkite_disk_limit_bytes": "100x200"},
    ),
    "MilvusDown": ("critical", 1, 'up{job="milvus"} == 0', {'up{job="milvus"}': "0x200"}),
    "SlowIndexBuilding": (
        "warning",
        10,
        "milvus_index_build_duration_ms > 300000",
        {
            'milvus_indexnode_build_index_latency_sum{node_id="1"}': "0+400000x200",
            'milvus_indexnode_build_index_latency_count{node_id="1"}': "0+1x200",
        },
    ),
}


def of_the_guide() -> str:
    """The guide's own rules, as it writes them, under names that are not ours."""
    rules = [
        {"alert": f"Guides{name}", "expr": expr, "for": f"{minutes}m", "labels": {"severity": severity}}
        for name, (severity, minutes, expr, _) in ALERTS.items()
    ]
    return json.dumps({"groups": [{"name": "guide", "rules": rules}]})


def alert_test(name: str) -> dict[str, Any]:
    """It is not firing half a minute before its time (the rate of five minutes included), and is a minute after: ours, and the guide's."""
    severity, minutes, _, series = ALERTS[name]
    moments = {(minutes - 0.5): 0, (minutes + 10): 1}
    tests = [
        {
            "expr": f'count(ALERTS{{alertname="{whose}{name}",alertstate="firing",severity="{severity}"}}) or vector(0)',
            "eval_time": f"{int(at * 60)}s",
            "exp_samples": [{"value": value}],
        }
        for whose in ("", "Guides")
        for at, value in moments.items()
    ]
    given = [{"series": one, "values": values} for one, values in series.items()]
    return {"name": name, "interval": "15s", "input_series": given, "promql_expr_test": tests}


@case
def case_3_067_the_guides_alerts_fire_after_their_time(server: Server) -> None:
    """Ours of these names, and its own, word for word, over the series that are recorded under its names."""
    services.made("prometheus")
    folder = folder_of(server, "alerts")
    (folder / "guide.yaml").write_text(of_the_guide())
    files = [str((MONITORING / "rules.yaml").resolve()), str(folder / "guide.yaml")]
    # JSON is YAML too.
    (folder / "test.yaml").write_text(json.dumps({"rule_files": files, "tests": [alert_test(name) for name in ALERTS]}))
    rules = (MONITORING / "rules.yaml").read_text()
    equal([name for name in ALERTS if f"alert: {name}\n" not in rules], [], "the alerts that there are not")
    done = subprocess.run(["promtool", "test", "rules", str(folder / "test.yaml")], capture_output=True, text=True)
    holds(done.returncode == 0, f"the alerts fire as they should: {done.stdout}{done.stderr}")


LABELS = {"namespace": "some", "app_kubernetes_io_instance": "one", "app_kubernetes_io_component": "standalone", "pod": "one-0"}


def ask(port: int, expr: str) -> list[Any]:
    query = urllib.parse.urlencode({"query": expr})
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query?{query}", timeout=5) as answer:
        return json.load(answer)["data"]["result"]


def panels() -> dict[str, list[str]]:
    """The expressions of the dashboards' panels, for the server of the case."""
    found = {}
    for board in ("redkite-database", "redkite-roles"):
        for panel in json.loads((MONITORING / f"{board}.json").read_text())["panels"]:
            exprs = [target["expr"] for target in panel.get("targets", [])]
            plain = [re.sub(r"\$(namespace|database|pod)", ".*", expr).replace("$__rate_interval", "10s") for expr in exprs]
            if plain:
                found[f"{board}: {panel['title']}"] = plain
    return found


# The guide's eight panels, and a word of the metrics that such a panel is made of.
SUBJECTS = {
    "queries": "milvus_proxy_req_count",
    "latency": "milvus_proxy_sq_latency_bucket",
    "processors": "cpu",
    "memory": "memory",
    "disks": "disk|stored_binlog_size",
    "network": "receive_bytes_count|send_bytes_count|network",
    "errors": 'status="fail"',
    "vectors": "stored_rows_num|entity_num",
}


@case
def case_3_070_every_panel_of_the_dashboards_has_data(server: Server) -> None:
    """Five minutes of work cut to as much as fills the panels."""
    services.made("prometheus")
    folder, port = folder_of(server, "prometheus"), free_port()
    with server.another() as own:
        target = of.documents(own)
        scrape = {"job_name": "milvus", "static_configs": [{"targets": [f"127.0.0.1:{own.metrics_port}"], "labels": LABELS}]}
        (folder / "prometheus.yaml").write_text(json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": [scrape]}))
        flags = [f"--config.file={folder / 'prometheus.yaml'}", f"--storage.tsdb.path={folder / 'tsdb'}", f"--web.listen-address=127.0.0.1:{port}"]
        with services.ended(["prometheus", *flags], folder / "log", f"http://127.0.0.1:{port}/-/ready"):
            fresh = iter(range(10_000, 20_000))

            def empty() -> list[str]:
                """Works a little, and says which panels have nothing to show."""
                target.insert(of.document_rows(of.DOCUMENTS[:1], next(fresh)))
                target.delete("id == 3")
                for query in of.DOCUMENTS[:10].tolist():
                    target.search([query], "embedding", of.FLAT, 10)
                target.query("id < 5")
                for _ in range(2):
                    try:
                        target.query("nope == 1")
                    except Exception:
                        pass
                return [title for title, exprs in panels().items() if not all(ask(port, expr) for expr in exprs)]

            try:
                until("every panel has data", 20, lambda: not empty())
            except AssertionError:
                equal(empty(), [], "the panels that have no data")
    exprs = " ".join(expr for all_ in panels().values() for expr in all_)
    equal([subject for subject, word in SUBJECTS.items() if not re.search(word, exprs)], [], "the subjects without a panel")
