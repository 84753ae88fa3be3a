//! The fields of a collection: what a spec wants, and how what there is differs from it.

use serde_json::Value;

use super::index::index_faults;
use super::{EngineField, EngineSchema};
use crate::crd::{CollectionField, CollectionSchema, FieldType, MilvusCollection, text_of};

/// The fields that a spec wants.
///
/// # Errors
/// A sentence for each field that no collection can have.
pub(super) fn wanted_schema(schema: &CollectionSchema) -> Result<EngineSchema, Vec<String>> {
    let mut faults = Vec::new();
    let fields = schema.fields.iter().map(|field| {
        wanted_field(field).unwrap_or_else(|fault| {
            faults.push(format!("spec.schema.fields[{}].default: {fault}", field.name));
            EngineField::default()
        })
    });
    let fields = fields.collect();
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok(EngineSchema {
        description: schema.description.clone().unwrap_or_default(),
        fields,
        dynamic: schema.enable_dynamic_field == Some(true),
    })
}

fn wanted_field(field: &CollectionField) -> Result<EngineField, String> {
    let mut params: std::collections::BTreeMap<String, String> =
        field.params.iter().map(|(key, value)| (key.clone(), text_of(value))).collect();
    let limits = [("dim", field.dim), ("max_length", field.max_length), ("max_capacity", field.max_capacity)];
    for (key, value) in limits {
        params.extend(value.map(|value| (key.to_owned(), value.to_string())));
    }
    let default = match &field.default {
        None | Some(Value::Null) => None,
        Some(value) => Some(
            default_text(field.kind, value)
                .ok_or_else(|| format!("{value} is no value of {}", field.kind.name()))?,
        ),
    };
    Ok(EngineField {
        name: field.name.clone(),
        kind: Some(field.kind),
        element: field.element_type,
        description: field.description.clone().unwrap_or_default(),
        primary: field.primary_key == Some(true),
        auto_id: field.auto_id == Some(true),
        nullable: field.nullable == Some(true),
        partition_key: field.partition_key == Some(true),
        default,
        params,
    })
}

/// The one text of a default value.
fn default_text(kind: FieldType, value: &Value) -> Option<String> {
    let within = |low: i64, high: i64| {
        value.as_i64().filter(|number| (low..=high).contains(number)).map(|number| number.to_string())
    };
    match kind {
        FieldType::Bool => value.as_bool().map(|value| value.to_string()),
        FieldType::Int8 => within(i8::MIN.into(), i8::MAX.into()),
        FieldType::Int16 => within(i16::MIN.into(), i16::MAX.into()),
        FieldType::Int32 => within(i32::MIN.into(), i32::MAX.into()),
        FieldType::Int64 => within(i64::MIN, i64::MAX),
        // A single is compared as the single that the engine keeps.
        FieldType::Float => value.as_f64().map(|value| (value as f32).to_string()),
        FieldType::Double => value.as_f64().map(|value| value.to_string()),
        FieldType::VarChar => value.as_str().map(str::to_owned),
        FieldType::Json
        | FieldType::Array
        | FieldType::FloatVector
        | FieldType::Float16Vector
        | FieldType::BFloat16Vector
        | FieldType::Int8Vector
        | FieldType::BinaryVector
        | FieldType::SparseFloatVector => None,
    }
}

/// How the fields that there are differ from those that are wanted: a sentence for each. Words about fields do not count, nor do
/// parameters beside the limits of a type.
pub(super) fn fields_differ(wanted: &EngineSchema, found: &EngineSchema) -> Vec<String> {
    let mut said = Vec::new();
    for field in &wanted.fields {
        let wanted = shape(field);
        match found.fields.iter().find(|found| found.name == field.name) {
            None => said.push(format!("there is no field {}", field.name)),
            Some(found) if shape(found) != wanted => {
                said.push(format!("field {} is {}, not {wanted}", field.name, shape(found)));
            }
            Some(_) => {}
        }
    }
    let listed = |field: &&EngineField| wanted.fields.iter().any(|wanted| wanted.name == field.name);
    for field in found.fields.iter().filter(|field| !listed(field)) {
        said.push(format!("field {} is not in the spec", field.name));
    }
    if wanted.dynamic != found.dynamic {
        said.push(format!("enableDynamicField is {}", found.dynamic));
    }
    said
}

/// What a field is, in words that are equal if fields are.
fn shape(field: &EngineField) -> String {
    let name = |kind: Option<FieldType>| kind.map_or("another type", FieldType::name);
    let mut words = name(field.kind).to_owned();
    if field.kind == Some(FieldType::Array) {
        words = format!("{words} of {}", name(field.element));
    }
    for (key, said) in [("dim", "dim"), ("max_length", "maxLength"), ("max_capacity", "maxCapacity")] {
        if let Some(value) = field.params.get(key) {
            words = format!("{words} {said} {value}");
        }
    }
    let marks = [
        (field.primary, "primaryKey"),
        (field.auto_id, "autoId"),
        (field.nullable, "nullable"),
        (field.partition_key, "partitionKey"),
    ];
    for (holds, said) in marks {
        if holds {
            words = format!("{words} {said}");
        }
    }
    match &field.default {
        Some(value) => format!("{words} default {value}"),
        None => words,
    }
}

/// Everything in a spec that no engine could carry out: a sentence for each.
pub(super) fn spec_faults(object: &MilvusCollection) -> Vec<String> {
    match object.spec.schema.as_ref().map(wanted_schema) {
        Some(Err(faults)) => faults,
        Some(Ok(schema)) => index_faults(object, Some(&schema)),
        None => index_faults(object, None),
    }
}
