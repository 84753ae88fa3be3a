//! Kubernetes values inside our objects: kept as written, read into their type only where they are checked.
//!
//! A `Milvus` object must stay readable whatever a user put into an embedded pod field, or one bad object would stop the
//! watch of all. So both types hold the value as it came; [`Typed::read`] and [`Open::read`] give the Kubernetes type or
//! say why not.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// A value whose schema is the Kubernetes type `T`'s, without its descriptions.
pub struct Typed<T>(Value, PhantomData<fn() -> T>);

/// A value that the API server stores unchecked, `null` and unknown keys included; `T` is what it should be.
pub struct Open<T>(Value, PhantomData<fn() -> T>);

macro_rules! embedded {
    ($name:ident) => {
        impl<T> $name<T> {
            /// Wraps a value as it would stand in a manifest.
            #[must_use]
            pub fn new(value: Value) -> Self {
                Self(value, PhantomData)
            }

            /// The value as the user wrote it.
            #[must_use]
            pub fn value(&self) -> &Value {
                &self.0
            }
        }

        impl<T: DeserializeOwned> $name<T> {
            /// Reads the value as its Kubernetes type. Quantities may be numbers, as the API server allows.
            ///
            /// # Errors
            /// The reason why the value is not a `T`.
            pub fn read(&self) -> Result<T, serde_json::Error> {
                let mut value = self.0.clone();
                quantities_as_text(&mut value);
                serde_json::from_value(value)
            }
        }

        impl<T> Clone for $name<T> {
            fn clone(&self) -> Self {
                Self(self.0.clone(), PhantomData)
            }
        }

        impl<T> PartialEq for $name<T> {
            fn eq(&self, other: &Self) -> bool {
                self.0 == other.0
            }
        }

        impl<T> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl<T> Serialize for $name<T> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.0.serialize(serializer)
            }
        }

        impl<'de, T> Deserialize<'de> for $name<T> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Value::deserialize(deserializer).map(Self::new)
            }
        }
    };
}

embedded!(Typed);
embedded!(Open);

impl<T: JsonSchema> JsonSchema for Typed<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Typed_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = T::json_schema(generator).to_value();
        drop_descriptions(&mut schema);
        Schema::try_from(schema).unwrap_or_default()
    }
}

impl<T> JsonSchema for Open<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Open".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
    }
}

/// Removes `description` wherever it documents a schema, not where it is the name of a property.
fn drop_descriptions(schema: &mut Value) {
    let Value::Object(fields) = schema else { return };
    fields.remove("description");
    for (key, value) in fields.iter_mut() {
        match (key.as_str(), value) {
            ("properties", Value::Object(properties)) => properties.values_mut().for_each(drop_descriptions),
            (_, Value::Array(items)) => items.iter_mut().for_each(drop_descriptions),
            (_, value) => drop_descriptions(value),
        }
    }
}

/// Turns numbers into text where Kubernetes has a quantity: the API server takes both, the Rust types only text.
fn quantities_as_text(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields.iter_mut() {
                match (key.as_str(), &mut *value) {
                    ("sizeLimit" | "divisor", Value::Number(number)) => {
                        *value = Value::String(number.to_string())
                    }
                    ("limits" | "requests", Value::Object(amounts)) => {
                        for amount in amounts.values_mut() {
                            if let Value::Number(number) = amount {
                                *amount = Value::String(number.to_string());
                            }
                        }
                    }
                    _ => quantities_as_text(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(quantities_as_text),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ResourceRequirements;
    use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_quantity_may_be_a_number() {
        let written = Typed::<ResourceRequirements>::new(json!({"limits": {"cpu": 4, "memory": "8Gi"}}));

        let limits = written.read().unwrap().limits.unwrap();

        assert_eq!(limits["cpu"], Quantity("4".into()));
        assert_eq!(limits["memory"], Quantity("8Gi".into()));
    }

    #[test]
    fn a_property_called_description_is_not_taken_for_documentation() {
        let mut schema = json!({"description": "text", "properties": {"description": {"type": "string", "description": "x"}}});

        drop_descriptions(&mut schema);

        assert_eq!(schema, json!({"properties": {"description": {"type": "string"}}}));
    }
}
