//! The definitions: current, small enough, structural.

use operator::crd;
use serde_json::Value;

use crate::clone;

fn milvuses() -> Value {
    let found = crd::definitions().unwrap().into_iter().find(|(name, _)| *name == "milvus.io_milvuses.yaml");
    found.unwrap().1
}

#[test]
fn the_committed_definitions_are_those_of_the_types() {
    for (name, text) in crd::files().unwrap() {
        for folder in ["crds", "charts/redkite-operator/files/crds"] {
            let path = clone(folder).join(name);
            let committed = std::fs::read_to_string(&path).unwrap_or_default();

            assert!(committed == text, "{} is not current: run `make gen`", path.display());
        }
    }
}

#[test]
fn a_definition_fits_the_annotation_of_a_client_side_apply() {
    for (name, value) in crd::definitions().unwrap() {
        let size_bytes = value.to_string().len();

        assert!(size_bytes < 256 * 1024, "{name} has {size_bytes} bytes");
    }
}

/// Each schema has a type or is an int-or-string, and no word that structural schemas forbid.
fn structural(schema: &Value, path: &str, wrong: &mut Vec<String>) {
    let open = schema["x-kubernetes-int-or-string"] == true
        || schema["x-kubernetes-preserve-unknown-fields"] == true;
    if schema["type"].as_str().is_none() && !open {
        wrong.push(format!("{path}: no type"));
    }
    for word in ["$ref", "definitions", "oneOf", "const", "title"] {
        if schema.get(word).is_some() {
            wrong.push(format!("{path}: {word}"));
        }
    }
    if schema["type"] == "array" && schema.get("items").is_none() {
        wrong.push(format!("{path}: no items"));
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        structural(property, &format!("{path}.{name}"), wrong);
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get(key).filter(|inner| inner.is_object()) {
            structural(inner, &format!("{path}.{key}"), wrong);
        }
    }
}

#[test]
fn the_schemas_are_structural() {
    let mut wrong = Vec::new();
    for (_, value) in crd::definitions().unwrap() {
        for version in value["spec"]["versions"].as_array().unwrap() {
            structural(&version["schema"]["openAPIV3Schema"], "", &mut wrong);
        }
    }

    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn our_fields_are_documented_and_embedded_kubernetes_types_are_not() {
    let value = milvuses();
    let spec = &value["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let standalone = &spec["properties"]["components"]["properties"]["standalone"]["properties"];

    assert!(standalone["replicas"]["description"].is_string());
    assert!(standalone["affinity"]["description"].is_string());
    assert_eq!(standalone["affinity"].to_string().matches("\"description\"").count(), 1);
}

#[test]
fn the_peers_names_columns_and_openness_are_kept() {
    let value = milvuses();
    let version = &value["spec"]["versions"][0];
    let columns: Vec<&str> = version["additionalPrinterColumns"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|column| column["priority"].as_i64().unwrap_or(0) == 0)
        .map(|column| column["name"].as_str().unwrap())
        .collect();
    let spec = &version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
    let open = |schema: &Value| schema["x-kubernetes-preserve-unknown-fields"] == true;
    let component = &spec["components"]["properties"]["queryNode"]["properties"];
    let dependencies = &spec["dependencies"]["properties"];

    assert_eq!(value["metadata"]["name"], "milvuses.milvus.io");
    assert_eq!(value["spec"]["names"]["shortNames"], serde_json::json!(["mi"]));
    assert_eq!(columns, ["Mode", "Status", "Updated", "Age"]);
    for schema in [
        &spec["config"],
        &spec["hookConfig"],
        &dependencies["customMsgStream"],
        &dependencies["etcd"]["properties"]["inCluster"]["properties"]["values"],
        &component["probes"],
        &component["securityContext"],
        &component["volumes"]["items"],
        &component["sidecars"]["items"],
        &component["initContainers"]["items"],
    ] {
        assert!(open(schema), "{schema}");
    }
    assert_eq!(component["probes"]["nullable"], true);
    assert_eq!(spec["components"]["properties"]["updateConfigMapOnly"]["nullable"], true);
}

#[test]
fn a_resource_group_can_be_scaled_and_says_its_number_to_an_autoscaler() {
    let all = crd::definitions().unwrap();
    let (_, group) = all.iter().find(|(name, _)| *name == "redkite.io_milvusresourcegroups.yaml").unwrap();
    let version = &group["spec"]["versions"][0];

    assert_eq!(
        version["subresources"]["scale"],
        serde_json::json!({
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        })
    );
    let replicas = &version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["replicas"];
    assert_eq!(replicas["default"], 1);
}

/// What waits for conditions, as `helm install --wait` does, takes an object for ready that has none and says no generation.
#[test]
fn an_object_that_nobody_has_looked_at_yet_does_not_pass_for_ready() {
    for (name, value) in crd::definitions().unwrap() {
        let properties = &value["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];

        assert_eq!(properties["status"]["default"], serde_json::json!({"observedGeneration": -1}), "{name}");
    }
}

/// With no conversion the API server prunes by the schema of the version that is stored.
#[test]
fn d15_what_v1alpha1_has_is_stored_and_no_webhook_converts_it() {
    let value = milvuses();
    let properties = |at: usize| {
        let schema = &value["spec"]["versions"][at]["schema"]["openAPIV3Schema"];
        schema["properties"]["spec"]["properties"].as_object().unwrap().clone()
    };
    let (stored, old) = (properties(0), properties(1));

    assert_eq!(value["spec"]["versions"][0]["name"], "v1beta1");
    assert_eq!(value["spec"]["versions"][1]["name"], "v1alpha1");
    assert_eq!(value["spec"]["versions"][1]["served"], true);
    assert!(value["spec"].get("conversion").is_none());
    for name in old.keys().chain(["persistence".to_owned()].iter()) {
        assert!(stored.contains_key(name), "{name} would be pruned");
    }
    assert!(old.contains_key("serviceAnnotations") && old.contains_key("persistence"));
}
