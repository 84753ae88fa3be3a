//! What the operator ships, checked without a cluster: definitions, manifests, chart.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking, also in its helpers"
)]

mod chart;
mod definitions;
mod gitops;
mod manifests;
mod milvus_chart;
mod monitoring;
mod promql;
mod rights;
mod schema;
mod tools;

use std::path::PathBuf;

/// A path in the clone.
fn clone(path: &str) -> PathBuf {
    // Asked while running: clones that share a target folder also share this binary.
    PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("..").join(path)
}

/// All documents of a YAML text.
fn documents(text: &str) -> Vec<serde_json::Value> {
    use serde::Deserialize;
    serde_yaml::Deserializer::from_str(text)
        .map(|document| serde_json::Value::deserialize(document).unwrap())
        .filter(|document| !document.is_null())
        .collect()
}
