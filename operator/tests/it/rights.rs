//! The rights that the chart asks for: enough for what the code does, and no wildcard.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{clone, documents};

/// What the operator does, as rights: group, resource, verb. Watches list and watch; server-side apply creates and
/// patches.
fn needed() -> BTreeSet<(&'static str, &'static str, &'static str)> {
    let mut needed = BTreeSet::new();
    let mut need = |group, resource, verbs: &[&'static str]| {
        needed.extend(verbs.iter().map(|verb| (group, resource, *verb)));
    };
    const WATCH: [&str; 2] = ["list", "watch"];
    const APPLY: [&str; 2] = ["create", "patch"];
    need("milvus.io", "milvuses", &["get", "list", "watch", "create", "patch"]);
    need("milvus.io", "milvusclusters", &["get", "list", "watch", "patch"]);
    need("milvus.io", "milvusclusters/status", &["patch"]);
    need("milvus.io", "milvusclusters/finalizers", &["update"]);
    need("milvus.io", "milvusupgrades", &["get", "list", "watch"]);
    need("milvus.io", "milvusupgrades/status", &["patch"]);
    need("milvus.io", "milvuses/status", &["patch"]);
    need("milvus.io", "milvuses/finalizers", &["update"]);
    need("redkite.io", "milvusresourcegroups", &["get", "list", "watch", "patch"]);
    need("redkite.io", "milvusresourcegroups/status", &["patch"]);
    need("redkite.io", "milvuscollections", &["get", "list", "watch", "patch"]);
    need("redkite.io", "milvuscollections/status", &["patch"]);
    for (group, resource) in [
        ("apps", "deployments"),
        ("", "services"),
        ("", "configmaps"),
        ("", "serviceaccounts"),
        ("", "persistentvolumeclaims"),
        ("networking.k8s.io", "ingresses"),
        ("networking.k8s.io", "networkpolicies"),
        ("apps", "statefulsets"),
        ("policy", "poddisruptionbudgets"),
    ] {
        need(group, resource, &WATCH);
        need(group, resource, &APPLY);
    }
    for (group, resource) in [
        ("apps", "deployments"),
        ("", "serviceaccounts"),
        ("", "persistentvolumeclaims"),
        ("", "services"),
        ("networking.k8s.io", "ingresses"),
        ("networking.k8s.io", "networkpolicies"),
        ("apps", "statefulsets"),
        ("policy", "poddisruptionbudgets"),
    ] {
        need(group, resource, &["get", "delete"]);
    }
    need("", "secrets", &["get", "create", "patch", "delete"]);
    need("", "pods", &["list"]);
    need("monitoring.coreos.com", "podmonitors", &["get", "list", "create", "patch", "delete"]);
    need("events.k8s.io", "events", &["create", "patch"]);
    need("", "configmaps", &["get"]);
    need("coordination.k8s.io", "leases", &["get", "create", "patch"]);
    needed
}

fn granted(manifest: &str) -> BTreeSet<(String, String, String)> {
    let mut granted = BTreeSet::new();
    let strings = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(|item| item.as_str().map(str::to_owned)).collect()
    };
    for role in documents(manifest)
        .iter()
        .filter(|document| document["kind"] == "ClusterRole" || document["kind"] == "Role")
    {
        for rule in role["rules"].as_array().into_iter().flatten() {
            for group in strings(&rule["apiGroups"]) {
                for resource in strings(&rule["resources"]) {
                    for verb in strings(&rule["verbs"]) {
                        granted.insert((group.clone(), resource.clone(), verb));
                    }
                }
            }
        }
    }
    granted
}

#[test]
fn the_rights_are_exactly_those_that_the_code_uses() {
    let manifest = std::fs::read_to_string(clone("config/install.yaml")).unwrap();

    let granted = granted(&manifest);

    let needed: BTreeSet<(String, String, String)> = needed()
        .into_iter()
        .map(|(group, resource, verb)| (group.into(), resource.into(), verb.into()))
        .collect();
    assert_eq!(granted, needed);
}

#[test]
fn every_verb_in_the_chart_has_its_reason_beside_it() {
    for file in ["_rules.tpl", "rbac.yaml"] {
        let text = std::fs::read_to_string(clone("charts/redkite-operator/templates").join(file)).unwrap();
        let verbs = ["get", "list", "watch", "create", "patch", "delete", "update"];
        for line in text.lines().map(str::trim) {
            let verb = line.strip_prefix("- ").and_then(|rest| rest.split_whitespace().next());
            if verb.is_some_and(|verb| verbs.contains(&verb)) {
                assert!(line.contains(" # "), "{file}: `{line}` has no reason");
            }
        }
    }
}
