//! The CustomResourceDefinitions, and reading an object that came from the API server.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use kube::core::DynamicObject;
use serde_json::{Map, Value, json};
use thiserror::Error;

use super::Milvus;

/// An object of our kind that its type cannot hold.
#[derive(Debug, Error)]
#[error("the object does not have the shape of a Milvus")]
pub struct BadObject {
    #[source]
    source: serde_json::Error,
}

/// Reads a `Milvus` object; one without a spec has an empty one.
///
/// # Errors
/// [`BadObject`] if a field has the wrong type, which the API server refuses where our definition is installed.
pub fn read(object: DynamicObject) -> Result<Milvus, BadObject> {
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
    let value = tidy(Milvus::crd()).map_err(|source| DefinitionError::Json { source })?;
    Ok(vec![("milvus.io_milvuses.yaml", value)])
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

/// Components that few manifests name. Their affinity is stored unchecked by the API server and checked by the operator:
/// its schema is by far the largest part of the definition, whose size is bounded.
const RARE: [&str; 7] =
    ["rootCoord", "dataCoord", "indexCoord", "queryCoord", "indexNode", "cdc", "mixCoord"];

/// Fields beside the open ones where `null` is stored as written.
const NULLABLE: [&str; 2] = ["streamingMode", "updateConfigMapOnly"];

fn tidy(definition: CustomResourceDefinition) -> Result<Value, serde_json::Error> {
    let mut value = serde_json::to_value(definition)?;
    if let Some(schema) = value.pointer_mut("/spec/versions/0/schema/openAPIV3Schema") {
        if let Value::Object(root) = schema {
            root.remove("required");
            root.remove("title");
        }
        if let Some(components) = schema.pointer_mut("/properties/spec/properties/components/properties") {
            for name in RARE {
                components[name]["properties"]["affinity"] =
                    json!({"type": "object", "nullable": true, "x-kubernetes-preserve-unknown-fields": true});
            }
        }
        tidy_schema(schema, "");
        schema["properties"]["spec"]["default"] = json!({});
    }
    Ok(value)
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
