//! Schemas of JSON: from what REST sends to a schema of the wire, and back to what it shows.

use contract::pb::common::KeyValuePair;
use contract::pb::schema::{
    CollectionSchema, DataType as WireType, FieldSchema, FunctionSchema, FunctionType,
    StructArrayFieldSchema, ValueField, value_field,
};
use serde_json::{Map, Value as Json, json};

use super::params::{boolean, plain, shown};
use crate::proxy::Error;

/// Milvus's name of a field of a schema, in complaints about missing keys.
const FIELD: &str = "FieldSchema";

/// A schema of the wire from one of REST.
///
/// # Errors
/// What is missing in a field, and the names that mean nothing.
pub fn schema(collection: &str, json: &Json) -> Result<CollectionSchema, Error> {
    let object = object("schema", json)?;
    let auto_id = flag(object, "autoId")?.or(flag(object, "autoID")?).unwrap_or(false);
    let fields = list(object, "fields").iter().map(|json| field(json, auto_id)).collect::<Result<_, _>>()?;
    Ok(CollectionSchema {
        name: collection.to_owned(),
        description: text(object, "description"),
        enable_dynamic_field: flag(object, "enableDynamicField")?.unwrap_or(false),
        fields,
        functions: list(object, "functions").iter().map(function).collect::<Result<_, _>>()?,
        struct_array_fields: list(object, "structFields")
            .iter()
            .map(struct_field)
            .collect::<Result<_, _>>()?,
        ..Default::default()
    })
}

/// A field that is to be added to a collection.
///
/// # Errors
/// As for [`schema`], and for an array of structs, which has a path of its own.
pub fn new_field(json: &Json) -> Result<FieldSchema, Error> {
    let of_structs = ["ArrayOfStruct", "Struct"];
    let named = |key: &str| json.get(key).and_then(Json::as_str).unwrap_or_default();
    if of_structs.contains(&named("dataType")) || of_structs.contains(&named("elementDataType")) {
        let what = "the type of a field that is added";
        let wanted = "no array of structs, which /v2/vectordb/collections/struct_fields/add takes";
        return Err(Error::WrongKind { what, wanted, actual: shown(named("dataType")) });
    }
    field(json, false)
}

/// A function as REST shows it.
#[must_use]
pub fn shown_function(function: &FunctionSchema) -> Json {
    json!({
        "name": function.name,
        "description": function.description,
        "type": function.r#type().as_str_name(),
        "id": function.id,
        "inputFieldNames": function.input_field_names,
        "outputFieldNames": function.output_field_names,
        "params": shown_pairs(&function.params),
    })
}

fn field(json: &Json, auto_id: bool) -> Result<FieldSchema, Error> {
    let object = object("schema.fields", json)?;
    let name = required(object, "fieldName")?;
    let data_type = named_type(&required(object, "dataType")?)?;
    let element_type = match text(object, "elementDataType") {
        empty if empty.is_empty() => WireType::None,
        named => named_type(&named)?,
    };
    let is_primary_key = flag(object, "isPrimary")?.unwrap_or(false);
    let default_value =
        object.get("defaultValue").map(|value| default_value(&name, data_type, value)).transpose()?;
    Ok(FieldSchema {
        is_primary_key,
        auto_id: is_primary_key && (auto_id || flag(object, "autoId")?.unwrap_or(false)),
        description: text(object, "description"),
        is_partition_key: flag(object, "isPartitionKey")?.unwrap_or(false),
        is_clustering_key: flag(object, "isClusteringKey")?.unwrap_or(false),
        nullable: flag(object, "nullable")?.unwrap_or(false),
        type_params: object.get("elementTypeParams").map(pairs).unwrap_or_default(),
        data_type: data_type.into(),
        element_type: element_type.into(),
        default_value,
        name,
        ..Default::default()
    })
}

/// A field of arrays of structs.
///
/// # Errors
/// As for [`schema`].
pub fn struct_field(json: &Json) -> Result<StructArrayFieldSchema, Error> {
    let object = object("schema.structFields", json)?;
    let nullable = flag(object, "nullable")?.unwrap_or(false);
    let part = |json: &Json| {
        field(json, false).map(|part| FieldSchema { nullable: part.nullable || nullable, ..part })
    };
    Ok(StructArrayFieldSchema {
        name: required(object, "fieldName")?,
        description: text(object, "description"),
        nullable,
        type_params: object.get("typeParams").map(pairs).unwrap_or_default(),
        fields: list(object, "fields").iter().map(part).collect::<Result<_, _>>()?,
        ..Default::default()
    })
}

/// A field of arrays of structs as REST shows it.
#[must_use]
pub fn shown_struct(of: &StructArrayFieldSchema) -> Json {
    let mut shown = json!({
        "name": of.name,
        "id": of.field_id,
        "description": of.description,
        "nullable": of.nullable,
        "fields": of.fields.iter().map(shown_field).collect::<Vec<_>>(),
    });
    if !of.type_params.is_empty() {
        shown["params"] = shown_pairs(&of.type_params);
    }
    shown
}

/// A function.
///
/// # Errors
/// As for [`schema`].
pub fn function(json: &Json) -> Result<FunctionSchema, Error> {
    let object = object("schema.functions", json)?;
    let named = text(object, "type");
    let kind = FunctionType::from_str_name(&named);
    let kind = kind.ok_or_else(|| Error::FunctionTypeName { name: shown(&named) })?;
    let names = |key: &str| list(object, key).iter().map(plain).collect();
    Ok(FunctionSchema {
        name: text(object, "name"),
        description: text(object, "description"),
        r#type: kind.into(),
        input_field_names: names("inputFieldNames"),
        output_field_names: names("outputFieldNames"),
        params: object.get("params").map(pairs).unwrap_or_default(),
        ..Default::default()
    })
}

fn named_type(name: &str) -> Result<WireType, Error> {
    WireType::from_str_name(name).ok_or_else(|| Error::DataTypeName { name: shown(name) })
}

fn default_value(field: &str, data_type: WireType, json: &Json) -> Result<ValueField, Error> {
    use value_field::Data;
    let data = match data_type {
        WireType::Bool => json.as_bool().map(Data::BoolData),
        WireType::Int8 | WireType::Int16 | WireType::Int32 => {
            whole(json).and_then(|value| i32::try_from(value).ok()).map(Data::IntData)
        }
        WireType::Int64 => whole(json).map(Data::LongData),
        WireType::Float => json.as_f64().map(single).map(Data::FloatData),
        WireType::Double => json.as_f64().map(Data::DoubleData),
        WireType::VarChar | WireType::Text | WireType::Timestamptz | WireType::Geometry => {
            json.as_str().map(|text| Data::StringData(text.to_owned()))
        }
        _ => Some(Data::BytesData(json.to_string().into_bytes())),
    };
    let wrong = || Error::DefaultValue {
        field: shown(field),
        data_type: data_type.as_str_name().to_owned(),
        value: shown(&plain(json)),
    };
    Ok(ValueField { data: Some(data.ok_or_else(wrong)?) })
}

fn whole(json: &Json) -> Option<i64> {
    json.as_number().and_then(|number| super::json::whole(&number.to_string()))
}

#[expect(clippy::cast_possible_truncation, reason = "the field holds singles")]
const fn single(value: f64) -> f32 {
    value as f32
}

/// The pairs of an object as the wire has them; of anything else none.
#[must_use]
pub fn pairs(json: &Json) -> Vec<KeyValuePair> {
    let object = json.as_object().into_iter().flatten();
    object.map(|(key, value)| KeyValuePair { key: key.clone(), value: plain(value) }).collect()
}

/// Pairs of the wire as REST shows them.
#[must_use]
pub fn shown_pairs(pairs: &[KeyValuePair]) -> Json {
    pairs.iter().map(|pair| json!({ "key": pair.key, "value": pair.value })).collect()
}

/// A field as REST shows it: version 1 has fewer keys.
#[must_use]
pub fn shown_field(field: &FieldSchema) -> Map<String, Json> {
    let data_type = WireType::try_from(field.data_type).unwrap_or_default();
    let mut shown = Map::from_iter([
        ("name".to_owned(), json!(field.name)),
        ("id".to_owned(), json!(field.field_id)),
        ("type".to_owned(), json!(data_type.as_str_name())),
        ("primaryKey".to_owned(), json!(field.is_primary_key)),
        ("partitionKey".to_owned(), json!(field.is_partition_key)),
        ("clusteringKey".to_owned(), json!(field.is_clustering_key)),
        ("autoId".to_owned(), json!(field.auto_id)),
        ("nullable".to_owned(), json!(field.nullable)),
        ("description".to_owned(), json!(field.description)),
    ]);
    if let Some(value) = field.default_value.as_ref().and_then(|value| value.data.as_ref()) {
        shown.insert("defaultValue".to_owned(), json!({ "Data": dumped(value) }));
    }
    if matches!(data_type, WireType::Array | WireType::ArrayOfVector) {
        let element = WireType::try_from(field.element_type).unwrap_or_default();
        shown.insert("elementType".to_owned(), json!(element.as_str_name()));
    }
    if field.is_function_output {
        shown.insert("isFunctionOutput".to_owned(), json!(true));
    }
    if !field.type_params.is_empty() {
        shown.insert("params".to_owned(), shown_pairs(&field.type_params));
    }
    shown
}

/// A default value as Go prints the message that holds it.
fn dumped(value: &value_field::Data) -> Json {
    use value_field::Data;
    match value {
        Data::BoolData(value) => json!({ "BoolData": value }),
        Data::IntData(value) | Data::DateData(value) => json!({ "IntData": value }),
        Data::LongData(value) | Data::TimestamptzData(value) | Data::TimeData(value) => {
            json!({ "LongData": value })
        }
        Data::FloatData(value) => json!({ "FloatData": value }),
        Data::DoubleData(value) => json!({ "DoubleData": value }),
        Data::StringData(value) => json!({ "StringData": value }),
        Data::BytesData(value) => json!({ "BytesData": String::from_utf8_lossy(value) }),
    }
}

fn object<'a>(what: &'static str, json: &'a Json) -> Result<&'a Map<String, Json>, Error> {
    let wrong = || Error::WrongKind { what, wanted: "an object", actual: shown(&json.to_string()) };
    json.as_object().ok_or_else(wrong)
}

fn required(object: &Map<String, Json>, key: &'static str) -> Result<String, Error> {
    let found = text(object, key);
    if found.is_empty() { Err(Error::missing(FIELD, key)) } else { Ok(found) }
}

fn text(object: &Map<String, Json>, key: &str) -> String {
    object.get(key).and_then(Json::as_str).unwrap_or_default().to_owned()
}

fn list<'a>(object: &'a Map<String, Json>, key: &str) -> &'a [Json] {
    object.get(key).and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// A truth value, also as a text; `None` where there is no such key.
///
/// # Errors
/// [`Error::WrongKind`] for anything else.
pub fn flag(object: &Map<String, Json>, key: &'static str) -> Result<Option<bool>, Error> {
    let Some(json) = object.get(key) else { return Ok(None) };
    match boolean(&plain(json)) {
        Some(value) => Ok(Some(value)),
        None => {
            Err(Error::WrongKind { what: key, wanted: "true or false", actual: shown(&json.to_string()) })
        }
    }
}
