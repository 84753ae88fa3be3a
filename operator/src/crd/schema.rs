//! The CustomResourceDefinitions, and reading an object that came from the API server.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use kube::core::DynamicObject;
use serde_json::{Map, Value, json};
use thiserror::Error;

use super::{Milvus, MilvusCluster, MilvusCollection, MilvusResourceGroup, MilvusUpgrade};

/// An object of our kind that its type cannot hold.
#[derive(Debug, Error)]
#[error("the object does not have the shape of a Milvus")]
pub struct BadObject {
    #[source]
    source: serde_json::Error,
}

/// Fields that `v1alpha1` has directly in the spec of its standalone database. The stored version keeps them too, since the
/// API server converts nothing; they are read as if they stood in `components.standalone`.
const INLINE: [&str; 30] = [
    "affinity",
    "commands",
    "dnsPolicy",
    "env",
    "hostNetwork",
    "image",
    "imagePullPolicy",
    "imagePullSecrets",
    "ingress",
    "nodeSelector",
    "paused",
    "podAnnotations",
    "podLabels",
    "priorityClassName",
    "probes",
    "replicas",
    "resources",
    "runWithSubProcess",
    "schedulerName",
    "securityContext",
    "serviceAccountName",
    "serviceAnnotations",
    "serviceLabels",
    "serviceType",
    "tolerations",
    "topologySpreadConstraints",
    "version",
    "volumeMounts",
    "volumes",
    "sidecars",
];

/// Where else a field of `v1alpha1` belongs.
const MOVED: [(&str, &str); 2] =
    [("persistence", "/dependencies/rocksmq/persistence"), ("disableMetric", "/components/disableMetric")];

/// Moves what `v1alpha1` has directly in the spec to where it belongs. What stands there already wins.
fn fold_inline(spec: &mut Value) {
    let Value::Object(fields) = &mut *spec else { return };
    let mut found: Vec<(String, Value)> = Vec::new();
    for name in INLINE {
        if let Some(value) = fields.shift_remove(name) {
            found.push((format!("/components/standalone/{name}"), value));
        }
    }
    for (name, path) in MOVED {
        if let Some(value) = fields.shift_remove(name) {
            found.push((path.to_owned(), value));
        }
    }
    for (path, value) in found {
        let mut place = &mut *spec;
        for part in path.split('/').skip(1) {
            if place.is_null() {
                *place = json!({});
            }
            place = &mut place[part];
        }
        if place.is_null() {
            *place = value;
        }
    }
}

/// Reads a `Milvus` object of either version; one without a spec has an empty one.
///
/// # Errors
/// [`BadObject`] if a field has the wrong type, which the API server refuses where our definition is installed.
pub fn read(object: DynamicObject) -> Result<Milvus, BadObject> {
    let bad = |source| BadObject { source };
    let mut value = serde_json::to_value(object).map_err(bad)?;
    if value["spec"].is_null() {
        value["spec"] = json!({});
    }
    fold_inline(&mut value["spec"]);
    serde_json::from_value(value).map_err(bad)
}

/// Reads a `MilvusCluster` object.
///
/// # Errors
/// [`BadObject`] if a field has the wrong type.
pub fn read_cluster(object: DynamicObject) -> Result<MilvusCluster, BadObject> {
    let bad = |source| BadObject { source };
    let mut value = serde_json::to_value(object).map_err(bad)?;
    if value["spec"].is_null() {
        value["spec"] = json!({});
    }
    serde_json::from_value(value).map_err(bad)
}

/// A definition cannot be written: a defect of the types.
#[derive(Debug, Error)]
pub enum DefinitionError {
    /// It has no JSON.
    #[error("a definition cannot be written as JSON")]
    Json {
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// It has no YAML.
    #[error("a definition cannot be written as YAML")]
    Yaml {
        /// Why.
        #[source]
        source: serde_yaml::Error,
    },
}

/// All definitions with the name of the file that holds each, as they are installed.
///
/// # Errors
/// [`DefinitionError::Json`].
pub fn definitions() -> Result<Vec<(&'static str, Value)>, DefinitionError> {
    let failed = |source| DefinitionError::Json { source };
    let mut milvus = tidy(Milvus::crd()).map_err(failed)?;
    serve_v1alpha1(&mut milvus);
    let cluster = tidy(MilvusCluster::crd()).map_err(failed)?;
    let upgrade = tidy(MilvusUpgrade::crd()).map_err(failed)?;
    let collection = tidy(MilvusCollection::crd()).map_err(failed)?;
    let mut group = tidy(MilvusResourceGroup::crd()).map_err(failed)?;
    // An autoscaler reads the number where it stands; one that is not there is 0 to it.
    if let Some(replicas) = group.pointer_mut(GROUP_REPLICAS) {
        replicas["default"] = 1.into();
    }
    Ok(vec![
        ("milvus.io_milvusclusters.yaml", cluster),
        ("milvus.io_milvuses.yaml", milvus),
        ("milvus.io_milvusupgrades.yaml", upgrade),
        ("redkite.io_milvuscollections.yaml", collection),
        ("redkite.io_milvusresourcegroups.yaml", group),
    ])
}

/// All definitions as the text of their files under `crds/`.
///
/// # Errors
/// [`DefinitionError`].
pub fn files() -> Result<Vec<(&'static str, String)>, DefinitionError> {
    definitions()?
        .into_iter()
        .map(|(name, value)| {
            let text = serde_yaml::to_string(&value).map_err(|source| DefinitionError::Yaml { source })?;
            Ok((name, format!("# Generated from operator/src/crd by `make gen`.\n---\n{text}")))
        })
        .collect()
}

/// Where the number of pods of a resource group stands in its definition.
const GROUP_REPLICAS: &str = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/replicas";

/// Components that few manifests name. Their affinity is stored unchecked by the API server and checked by the operator:
/// its schema is by far the largest part of the definition, whose size is bounded.
const RARE: [&str; 7] =
    ["rootCoord", "dataCoord", "indexCoord", "queryCoord", "indexNode", "cdc", "mixCoord"];

/// Fields beside the open ones where `null` is stored as written.
const NULLABLE: [&str; 2] = ["streamingMode", "updateConfigMapOnly"];

fn tidy(definition: CustomResourceDefinition) -> Result<Value, serde_json::Error> {
    let mut value = serde_json::to_value(definition)?;
    if let Some(schema) = value.pointer_mut("/spec/versions/0/schema/openAPIV3Schema") {
        // A spec with fields that must be there has no default, and must be there itself.
        let needs_spec = schema["properties"]["spec"].get("required").is_some();
        if let Value::Object(root) = schema {
            root.remove("title");
            if !needs_spec {
                root.remove("required");
            }
        }
        if let Some(components) = schema.pointer_mut("/properties/spec/properties/components/properties") {
            for name in RARE {
                components[name]["properties"]["affinity"] =
                    json!({"type": "object", "nullable": true, "x-kubernetes-preserve-unknown-fields": true});
            }
        }
        tidy_schema(schema, "");
        if !needs_spec {
            schema["properties"]["spec"]["default"] = json!({});
        }
        // An object that nobody has looked at yet would pass for ready with all that knows no more of it than what Kubernetes
        // agrees on (`helm install --wait`): there is no condition that says otherwise.
        if schema.pointer("/properties/status/properties/observedGeneration").is_some() {
            schema["properties"]["status"]["default"] = json!({"observedGeneration": -1});
        }
    }
    Ok(value)
}

/// Adds `v1alpha1`: a standalone database with its fields directly in the spec. Nothing converts between the versions, so
/// the stored one takes these fields too, and `v1alpha1` lets through what only the stored one knows.
fn serve_v1alpha1(definition: &mut Value) {
    let root = "/spec/versions/0/schema/openAPIV3Schema/properties";
    let open = json!({"type": "object", "nullable": true, "x-kubernetes-preserve-unknown-fields": true});
    let Some(properties) = definition.pointer(root).cloned() else { return };
    let spec = &properties["spec"]["properties"];
    let standalone = &spec["components"]["properties"]["standalone"]["properties"];
    let mut inline = Map::new();
    for name in INLINE {
        let mut schema = if name == "affinity" { open.clone() } else { standalone[name].clone() };
        schema["description"] = format!("Of v1alpha1: see components.standalone.{name}.").into();
        // A default would be stored into every object.
        if let Value::Object(fields) = &mut schema {
            fields.remove("default");
        }
        inline.insert(name.to_owned(), schema);
    }
    let mut persistence = spec["dependencies"]["properties"]["rocksmq"]["properties"]["persistence"].clone();
    persistence["description"] = "Of v1alpha1: see dependencies.rocksmq.persistence.".into();
    inline.insert("persistence".to_owned(), persistence);
    let metric = json!({"type": "boolean", "description": "Of v1alpha1: see components.disableMetric."});
    inline.insert("disableMetric".to_owned(), metric);
    let mut old = inline.clone();
    for name in ["dependencies", "config", "hookConfig", "redkite", "components"] {
        old.insert(name.to_owned(), open.clone());
    }
    old.insert("mode".to_owned(), json!({"type": "string", "enum": ["standalone", "cluster"]}));
    if let Some(Value::Object(stored)) = definition.pointer_mut(&format!("{root}/spec/properties")) {
        stored.extend(inline);
    }
    let Some(Value::Array(versions)) = definition.pointer_mut("/spec/versions") else { return };
    let Some(mut version) = versions.first().cloned() else { return };
    version["name"] = "v1alpha1".into();
    version["storage"] = false.into();
    version["deprecated"] = true.into();
    version["schema"]["openAPIV3Schema"]["properties"]["spec"] =
        json!({"type": "object", "default": {}, "properties": old});
    version["schema"]["openAPIV3Schema"]["properties"]["status"] = open;
    versions.push(version);
}

/// Leaves `null` only where the peer's definition keeps it, and defaults only where they say something.
fn tidy_schema(schema: &mut Value, name: &str) {
    let Value::Object(fields) = schema else { return };
    if !fields.contains_key("x-kubernetes-preserve-unknown-fields") && !NULLABLE.contains(&name) {
        fields.remove("nullable");
    }
    if fields.get("default").is_some_and(|value| !value.is_string()) {
        fields.remove("default");
    }
    for key in ["properties"] {
        if let Some(Value::Object(properties)) = fields.get_mut(key) {
            each_property(properties);
        }
    }
    for key in ["items", "additionalProperties"] {
        if let Some(value) = fields.get_mut(key) {
            tidy_schema(value, "");
        }
    }
}

fn each_property(properties: &mut Map<String, Value>) {
    for (name, value) in properties.iter_mut() {
        tidy_schema(value, name);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::from_value;

    use super::*;

    #[test]
    fn fields_of_v1alpha1_are_read_as_those_of_the_standalone() {
        let object = json!({"apiVersion": "milvus.io/v1alpha1", "kind": "Milvus", "metadata": {"name": "a"}, "spec": {
            "image": "milvusdb/milvus:v2.4.0", "replicas": 1, "serviceType": "NodePort", "disableMetric": true,
            "persistence": {"enabled": true}, "components": {"standalone": {"replicas": 0}},
        }});

        let milvus = read(from_value(object).unwrap()).unwrap();

        let components = milvus.spec.components.unwrap();
        let standalone = components.standalone.unwrap();
        assert_eq!(standalone.component.spec.image.as_deref(), Some("milvusdb/milvus:v2.4.0"));
        // What stands in its proper place wins.
        assert_eq!(standalone.component.replicas, Some(0));
        assert_eq!(standalone.serving.service_type.name(), "NodePort");
        assert_eq!(components.disable_metric, Some(true));
        let rocksmq = milvus.spec.dependencies.unwrap().rocksmq.unwrap();
        assert_eq!(rocksmq.persistence.unwrap().enabled, Some(true));
    }
}
