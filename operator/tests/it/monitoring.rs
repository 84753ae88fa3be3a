//! Dashboards and alerts: what they name is what engine and operator serve.

use std::collections::BTreeSet;
use std::path::Path;

use contract::names;
use operator::cluster::Place;
use operator::crd::Phase;
use operator::drive::Meters;
use serde_json::Value;

use crate::chart::{helm, template};
use crate::{clone, documents, promql};

/// What Prometheus makes by itself for each thing that it scrapes.
const OF_PROMETHEUS: &str = "up";
/// Functions that the queries may use; another one is a slip, or belongs here.
const CALLS: [&str; 7] = ["absent", "histogram_quantile", "label_replace", "max", "rate", "sum", "min"];

fn text(path: &str) -> String {
    std::fs::read_to_string(clone(path)).unwrap()
}

/// The series of a metric: a histogram has three.
fn series(name: &str, histogram: bool) -> Vec<String> {
    let endings: &[&str] = if histogram { &["_bucket", "_sum", "_count"] } else { &[""] };
    endings.iter().map(|ending| format!("{name}{ending}")).collect()
}

/// Series and labels of the operator, from its registry with a value in each metric.
fn of_operator() -> (BTreeSet<String>, BTreeSet<String>) {
    let meters = Meters::new().unwrap();
    meters.observe(&Place::new("ns", "db"), Phase::Healthy, false);
    meters.reconciled("ok", 1.0);
    meters.lead(true);
    let served = meters.text();
    let (mut all, mut labels) = (BTreeSet::new(), BTreeSet::new());
    for line in served.lines() {
        if let Some(declared) = line.strip_prefix("# TYPE ") {
            let (name, kind) = declared.split_once(' ').unwrap();
            all.extend(series(name, kind == "histogram"));
        } else if let Some((_, inner)) = line.split_once('{') {
            labels.extend(
                inner.split(',').filter_map(|pair| pair.split_once('=')).map(|(label, _)| label.to_owned()),
            );
        }
    }
    (all, labels)
}

/// The constants of the engine's names: what each is called in the code, and its text.
fn constants() -> Vec<(String, String)> {
    text("engine/src/obs/names.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("pub const ")?.strip_suffix("\";")?.split_once(": &str = \""))
        .map(|(constant, name)| (constant.to_owned(), name.to_owned()))
        .collect()
}

/// Every word of the engine's code outside the room that declares the metrics.
fn words_outside(folder: &Path, words: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !path.ends_with("obs") {
                words_outside(&path, words);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let code = std::fs::read_to_string(&path).unwrap();
            let all = code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            words.extend(all.filter(|word| word.contains('_')).map(str::to_owned));
        }
    }
}

/// Series of the engine, from the code that registers them; those that no other code ever touches are left out, because a
/// scrape never shows them.
///
/// Read from the source: the operator does not link the engine.
fn of_engine() -> BTreeSet<String> {
    let registry: String = text("engine/src/obs/metrics.rs").split_whitespace().collect();
    let process = text("engine/src/obs/process.rs");
    let mut touched = BTreeSet::new();
    words_outside(&clone("engine/src"), &mut touched);
    let mut all = BTreeSet::new();
    for (constant, name) in constants() {
        let made = |by: &str| registry.contains(&format!(".{by}(n::{constant},"));
        let histogram = made("ms") || made("histogram");
        let field =
            name.trim_start_matches("milvus_").trim_start_matches("redkite_").trim_start_matches("log_");
        if (histogram || made("counter") || made("gauge")) && touched.contains(field) {
            all.extend(series(&name, histogram));
        } else if process.contains(&format!("names::{constant},")) {
            all.insert(name);
        }
    }
    all
}

/// Labels that a scraped series has besides its own: from the scrape, and from the pods through the PodMonitor.
fn of_scrape() -> BTreeSet<String> {
    let of_pod =
        [names::LABEL_INSTANCE, names::LABEL_COMPONENT, names::LABEL_GROUP, names::LABEL_RESOURCE_GROUP];
    let of_pod = of_pod.into_iter().map(|label| label.replace(['.', '/', '-'], "_"));
    ["namespace", "pod", "job", "instance", "le"].into_iter().map(str::to_owned).chain(of_pod).collect()
}

fn dashboards() -> Vec<(String, Value)> {
    let mut all: Vec<(String, Value)> = std::fs::read_dir(clone("config/monitoring"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| {
            let dashboard = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
            (path.file_name().unwrap().to_string_lossy().into_owned(), dashboard)
        })
        .collect();
    all.sort_by(|one, other| one.0.cmp(&other.0));
    all
}

fn rules() -> Vec<Value> {
    let all: Value = serde_yaml::from_str(&text("config/monitoring/rules.yaml")).unwrap();
    let groups = all["groups"].as_array().unwrap();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

/// The rules that are an `alert`, or that `record` a series, by name.
fn named(kind: &str) -> Vec<(String, Value)> {
    rules().into_iter().filter_map(|rule| Some((rule[kind].as_str()?.to_owned(), rule))).collect()
}

/// Every query, with where it stands.
fn queries() -> Vec<(String, String)> {
    let query = |value: &Value| value["expr"].as_str().unwrap().to_owned();
    let mut all: Vec<_> = ["alert", "record"]
        .iter()
        .flat_map(|kind| named(kind))
        .map(|(name, rule)| (name, query(&rule)))
        .collect();
    for (file, dashboard) in dashboards() {
        for panel in dashboard["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().into_iter().flatten() {
                all.push((format!("{file}: {}", panel["title"]), query(target)));
            }
        }
        for variable in dashboard["templating"]["list"].as_array().unwrap() {
            // `label_values(SELECTOR, LABEL)` is Grafana's and not a query; the selector is one.
            let Some(asked) = variable["query"]["query"].as_str() else { continue };
            let inner = asked.strip_prefix("label_values(").unwrap().strip_suffix(')').unwrap();
            let (selector, label) = inner.rsplit_once(", ").unwrap();
            all.push((format!("{file}: {}", variable["name"]), format!("sum by ({label}) ({selector})")));
        }
    }
    all
}

#[test]
fn every_series_and_label_of_a_dashboard_or_an_alert_is_served() {
    let (of_operator, operator_labels) = of_operator();
    let mut served = of_engine();
    assert!(served.len() > 20, "the engine's registry was not understood: {served:?}");
    served.extend(of_operator);
    served.insert(OF_PROMETHEUS.to_owned());
    let recorded: BTreeSet<String> = named("record").into_iter().map(|(name, _)| name).collect();
    let twice: Vec<&String> = recorded.intersection(&served).collect();
    assert_eq!(twice, Vec::<&String>::new(), "recorded under a name that is served");
    served.extend(recorded);
    let mut labels = of_scrape();
    labels.extend(operator_labels);
    labels.extend(constants().into_iter().map(|(_, text)| text));

    let mut faults = Vec::new();
    for (place, query) in queries() {
        let named = promql::read(&query).unwrap_or_else(|error| panic!("{place}: {error}: {query}"));
        assert!(!named.series.is_empty(), "{place} names no series: {query}");
        faults.extend(named.series.difference(&served).map(|name| format!("{place}: nobody serves {name}")));
        faults.extend(
            named.labels.difference(&labels).map(|name| format!("{place}: nothing has the label {name}")),
        );
        let unknown = named.calls.iter().filter(|call| !CALLS.contains(&call.as_str()));
        faults.extend(unknown.map(|call| format!("{place}: {call} is no function of this list")));
    }

    assert_eq!(faults, Vec::<String>::new());
}

#[test]
fn every_alert_says_what_it_is_what_to_do_and_why_at_that_threshold() {
    let mut seen = BTreeSet::new();
    let runbooks = text("docs/runbooks.md");
    let sections: Vec<&str> = runbooks.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let alerts: Vec<String> = named("alert").into_iter().map(|(name, _)| name).collect();
    assert_eq!(sections, alerts, "sections of docs/runbooks.md");
    for (name, rule) in named("alert") {
        let runbook = format!("docs/runbooks.md#{}", name.to_lowercase());
        assert_eq!(rule["annotations"]["runbook"].as_str(), Some(runbook.as_str()), "{name}");
        for text in ["summary", "description", "threshold"] {
            let said = rule["annotations"][text].as_str().unwrap_or_default();
            assert!(said.len() > 20 && said.ends_with('.'), "{name}: {text} is {said:?}");
        }
        let severity = rule["labels"]["severity"].as_str().unwrap_or_default();
        assert!(["critical", "warning", "info"].contains(&severity), "{name}: severity is {severity:?}");
        assert!(rule["for"].is_string(), "{name} fires at once");
        assert!(seen.insert(name.clone()), "{name} is there twice");
    }
}

/// What guides to Milvus call series that no server has; `milvus_query_latency_ms` is a number and a histogram to them.
const OF_GUIDES: [&str; 22] = [
    "milvus_query_total",
    "milvus_query_errors_total",
    "milvus_query_timeout_count",
    "milvus_query_qps",
    "milvus_query_success_rate",
    "milvus_query_latency_ms_bucket",
    "milvus_query_latency_ms_sum",
    "milvus_query_latency_ms_count",
    "milvus_query_latency_ms",
    "milvus_insert_qps",
    "milvus_insert_latency_ms",
    "milvus_insert_success_rate",
    "milvus_flush_duration_ms",
    "milvus_index_build_duration_ms",
    "milvus_index_size_bytes",
    "milvus_cpu_usage_percent",
    "milvus_memory_usage_bytes",
    "milvus_memory_limit_bytes",
    "milvus_disk_usage_bytes",
    "milvus_disk_limit_bytes",
    "milvus_network_io_bytes",
    // Nothing that is served says how much is left to build.
    "milvus_index_build_progress",
];

#[test]
fn the_series_that_guides_name_are_recorded_but_for_one() {
    let recorded: Vec<String> = named("record").into_iter().map(|(name, _)| name).collect();

    assert_eq!(recorded, OF_GUIDES[..OF_GUIDES.len() - 1]);
    assert_eq!(rules().len(), recorded.len() + named("alert").len(), "a rule that is neither");
}

#[test]
fn every_panel_says_what_it_tells_and_no_two_of_a_dashboard_have_one_number() {
    for (file, dashboard) in dashboards() {
        let mut numbers = BTreeSet::new();
        for panel in dashboard["panels"].as_array().unwrap() {
            assert!(numbers.insert(panel["id"].as_i64().unwrap()), "{file}: {panel}");
            let told = panel["description"].as_str().is_some_and(|text| !text.is_empty());
            assert!(told || panel["type"] == "row", "{file}: {} says nothing", panel["title"]);
        }
    }
}

#[test]
fn the_charts_copies_and_the_rule_object_are_what_config_has() {
    let mut files: Vec<String> = dashboards().into_iter().map(|(file, _)| file).collect();
    files.push("rules.yaml".to_owned());
    for file in files {
        let copy = text(&format!("charts/redkite-operator/files/monitoring/{file}"));
        assert_eq!(copy, text(&format!("config/monitoring/{file}")), "{file} is not current: run `make gen`");
    }
    let Some(helm) = helm() else { return };

    let rendered =
        template(&helm, &["--set", "rules.enabled=true", "--show-only", "templates/rules.yaml"]).unwrap();

    assert!(
        text("config/monitoring/prometheusrule.yaml").ends_with(&rendered),
        "not current: run `make gen`"
    );
    let plain: Value = serde_yaml::from_str(&text("config/monitoring/rules.yaml")).unwrap();
    assert_eq!(documents(&rendered)[0]["spec"], plain);
}

#[test]
fn the_chart_renders_rules_and_dashboards_only_when_asked() {
    let Some(helm) = helm() else { return };
    let kinds = |arguments: &[&str]| -> Vec<String> {
        let rendered = documents(&template(&helm, arguments).unwrap());
        let of_us = rendered.iter().filter(|one| {
            one["kind"] == "PrometheusRule" || !one["metadata"]["labels"]["grafana_dashboard"].is_null()
        });
        of_us
            .map(|one| {
                format!("{} {}", one["kind"].as_str().unwrap(), one["metadata"]["name"].as_str().unwrap())
            })
            .collect()
    };

    assert_eq!(kinds(&[]), Vec::<String>::new());
    assert_eq!(
        kinds(&["--set", "rules.enabled=true,dashboards.enabled=true"]),
        [
            "ConfigMap redkite-operator-database-dashboard",
            "ConfigMap redkite-operator-groups-dashboard",
            "ConfigMap redkite-operator-log-dashboard",
            "ConfigMap redkite-operator-operator-dashboard",
            "ConfigMap redkite-operator-roles-dashboard",
            "PrometheusRule redkite-operator",
        ]
    );
}
