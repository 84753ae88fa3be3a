//! The API server's strict validation, as far as our definitions use it.

use serde_json::{Map, Value};

/// Everything that a strict apply of `value` against `schema` would refuse.
pub fn violations(schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    visit(schema, value, "", &mut found);
    found
}

fn visit(schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    if value.is_null() {
        // The API server drops a null that is not nullable.
        return;
    }
    if schema["x-kubernetes-int-or-string"] == true {
        if !value.is_string() && !value.is_i64() {
            found.push(format!("{path}: neither integer nor string"));
        }
        return;
    }
    let fits = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("boolean") => value.is_boolean(),
        Some("number") => value.is_number(),
        _ => true,
    };
    if !fits {
        found.push(format!("{path}: {value} is not of type {}", schema["type"]));
        return;
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        found.push(format!("{path}: {value} is none of {allowed:?}"));
    }
    if let (Some(minimum), Some(number)) = (schema["minimum"].as_f64(), value.as_f64())
        && number < minimum
    {
        found.push(format!("{path}: {number} is below {minimum}"));
    }
    match value {
        Value::Object(fields) => fields_of(schema, fields, path, found),
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                visit(&schema["items"], item, &format!("{path}[{at}]"), found);
            }
        }
        _ => {}
    }
}

fn fields_of(schema: &Value, fields: &Map<String, Value>, path: &str, found: &mut Vec<String>) {
    for required in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !fields.contains_key(required) {
            found.push(format!("{path}.{required}: missing"));
        }
    }
    for (name, value) in fields {
        let path = format!("{path}.{name}");
        let open = schema["x-kubernetes-preserve-unknown-fields"] == true;
        match (schema["properties"].get(name), schema.get("additionalProperties")) {
            (Some(known), _) => visit(known, value, &path, found),
            (None, Some(any)) if any.is_object() => visit(any, value, &path, found),
            (None, _) if open => {}
            // The root's own fields are the API server's business.
            (None, _) if [".apiVersion", ".kind", ".metadata"].contains(&path.as_str()) => {}
            (None, _) => found.push(format!("{path}: unknown field")),
        }
    }
}
