//! The chart: what it renders, and that the one-file install is what it renders.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{clone, documents};

/// Helm; none skips the test.
pub fn helm() -> Option<PathBuf> {
    tool("helm")
}

/// A program or file of others, from the path or from the cache of the test cluster; none skips the test.
pub fn tool(name: &str) -> Option<PathBuf> {
    let cache = std::env::var_os("REDKITE_CACHE")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/redkite")));
    let folders = std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    let mut candidates = folders.unwrap_or_default();
    candidates.extend(cache.map(|cache| cache.join("cluster-bin")));
    let found = candidates.into_iter().map(|folder| folder.join(name)).find(|found| found.is_file());
    if found.is_none() {
        println!("skipped: {name} is neither in the path nor in the cache");
    }
    found
}

/// What the operator's chart renders, or what Helm says against it.
pub fn template(helm: &Path, arguments: &[&str]) -> Result<String, String> {
    rendered(helm, "redkite-operator", "redkite-operator", arguments)
}

/// What a chart renders for a release in a namespace of the chart's name, or what Helm says against it.
pub fn rendered(helm: &Path, release: &str, chart: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(helm)
        .args(["template", release])
        .arg(clone(&format!("charts/{chart}")))
        .args(["--namespace", chart])
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

#[test]
fn the_committed_install_is_what_the_chart_renders() {
    let Some(helm) = helm() else { return };

    let rendered = template(&helm, &[]).unwrap();

    let committed = std::fs::read_to_string(clone("config/install.yaml")).unwrap();
    assert!(committed.ends_with(&rendered), "config/install.yaml is not current: run `make gen`");
}

#[test]
fn watched_namespaces_get_roles_and_nothing_is_granted_beyond_them() {
    let Some(helm) = helm() else { return };

    let rendered = template(&helm, &["--set", "watchNamespaces={one,two}"]).unwrap();

    let roles: Vec<String> = documents(&rendered)
        .iter()
        .filter(|document| document["kind"].as_str().is_some_and(|kind| kind.ends_with("Role")))
        .map(|role| {
            format!("{} {}", role["kind"].as_str().unwrap(), role["metadata"]["namespace"].as_str().unwrap())
        })
        .collect();
    assert_eq!(roles, ["Role one", "Role two", "Role redkite-operator"]);
    assert!(rendered.contains("--watch-namespaces=one,two"));
}

#[test]
fn monitors_of_either_kind_find_the_operator_and_have_the_labels_that_a_prometheus_looks_for() {
    let Some(helm) = helm() else { return };
    let monitor = |of: &str, kind: &str| {
        let values = format!("{of}.enabled=true,{of}.interval=7s,{of}.labels.release=stack");
        let rendered = documents(&template(&helm, &["--set", &values]).unwrap());
        rendered.into_iter().find(|document| document["kind"] == kind).unwrap()
    };
    let rendered = documents(&template(&helm, &[]).unwrap());
    let of_kind = |kind: &str| rendered.iter().find(|document| document["kind"] == kind);
    assert!(of_kind("PodMonitor").is_none() && of_kind("ServiceMonitor").is_none());
    let service = of_kind("Service").unwrap();
    let deployment = of_kind("Deployment").unwrap();

    let (pods, services) = (monitor("podMonitor", "PodMonitor"), monitor("serviceMonitor", "ServiceMonitor"));

    for one in [&pods, &services] {
        assert_eq!(one["metadata"]["labels"]["release"], "stack");
    }
    assert_eq!(pods["spec"]["podMetricsEndpoints"][0]["interval"], "7s");
    assert_eq!(services["spec"]["endpoints"][0]["interval"], "7s");
    assert_eq!(services["spec"]["endpoints"][0]["port"], service["spec"]["ports"][0]["name"]);
    let chosen = |monitor: &serde_json::Value, labels: &serde_json::Value| {
        let wanted = monitor["spec"]["selector"]["matchLabels"].as_object().unwrap();
        !wanted.is_empty() && wanted.iter().all(|(key, value)| labels[key] == *value)
    };
    assert!(chosen(&services, &service["metadata"]["labels"]));
    assert!(chosen(&pods, &deployment["spec"]["template"]["metadata"]["labels"]));
}

#[test]
fn a_misspelt_value_is_refused() {
    let Some(helm) = helm() else { return };

    let error = template(&helm, &["--set", "engine.imagge.tag=x"]).unwrap_err();

    assert!(error.contains("imagge"), "{error}");
}
