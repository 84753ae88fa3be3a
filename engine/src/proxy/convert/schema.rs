//! Schemas, properties and names.

use contract::pb::milvus::{CreateCollectionRequest, DescribeCollectionResponse};
use contract::pb::schema::{
    CollectionSchema, DataType as WireType, FieldSchema, FunctionSchema, FunctionType,
    StructArrayFieldSchema, ValueField, value_field,
};
use prost::Message as _;

use super::output::wire_type;
use super::params;
use super::search::{LARGE_TOPK, QUERY_MODE};
use super::status::success;
use super::texts;
use super::times::{self, TIMEZONE, zone_of};
use crate::base::FieldId;
use crate::calendar::{self, TimeZone};
use crate::model::check_schema::{
    self, DefaultRequest, FieldRequest, FunctionRequest, SchemaError, SchemaRequest, StructRequest,
    add_field, add_function, add_struct, check_added_field, check_added_function, check_added_struct,
    check_altered_function, check_schema, drop_field, drop_function,
};
use crate::model::name::{Named, check_name, group_flaw};
use crate::model::{
    DYNAMIC_FIELD, DataType, Field, Function, FunctionKind, FunctionOutput, Schema, StructField, Value,
};
use crate::proxy::Error;
use crate::rpc::{CollectionChange, CollectionInfo, NewCollection, RETENTION, TTL, TTL_FIELD};
use crate::shape;

/// Most shards of a collection. Source: wire specification 7.
const MAX_SHARDS: i32 = 16;
/// Partitions that a partition key spreads rows over where the client says nothing.
const DEFAULT_KEY_PARTITIONS: u32 = 16;
/// Most partitions of a collection.
const MAX_PARTITIONS: i64 = 1024;
/// Longest time to live. Unit: seconds.
const MAX_TTL_SECONDS: i64 = 3_155_760_000;

/// What a request to make a collection asks for, checked. `zone` is the time zone of its database, if that has one.
///
/// # Errors
/// Milvus's words for the first rule that the request breaks.
pub fn new_collection(
    database: String,
    zone: Option<String>,
    request: CreateCollectionRequest,
) -> Result<NewCollection, Error> {
    let wire = CollectionSchema::decode(request.schema.as_slice())
        .map_err(|reason| Error::SchemaBytes { reason: reason.to_string() })?;
    if request.shards_num > MAX_SHARDS {
        return Err(Error::TooManyShards);
    }
    let schema_properties = wire.properties.clone();
    let mut properties = params::pairs(request.properties);
    for pair in schema_properties {
        if !properties.iter().any(|(key, _)| *key == pair.key) {
            properties.push((pair.key, pair.value));
        }
    }
    if !properties.iter().any(|(key, _)| key == TIMEZONE) {
        properties.push((TIMEZONE.to_owned(), zone.unwrap_or_else(|| "UTC".to_owned())));
    }
    let schema = checked_schema(&request.collection_name, wire, &zone_of(&properties))?;
    let partitions_by_key = key_partitions(&schema, request.num_partitions)?;
    check_properties(&schema, &properties)?;
    check_one_ttl(&properties)?;
    Ok(NewCollection {
        database,
        name: request.collection_name,
        schema,
        shards: u32::try_from(request.shards_num).unwrap_or(0).max(1),
        partitions_by_key,
        consistency: request.consistency_level,
        properties,
    })
}

fn key_partitions(schema: &Schema, wanted: i64) -> Result<u32, Error> {
    match (schema.partition_key().is_some(), wanted) {
        (false, 0) => Ok(0),
        (false, _) => Err(Error::PartitionsWithoutKey),
        (true, 0) => Ok(DEFAULT_KEY_PARTITIONS),
        (true, ..0) => Err(Error::NoKeyPartitions),
        (true, count) if count > MAX_PARTITIONS => Err(Error::TooManyKeyPartitions { count }),
        (true, count) => Ok(u32::try_from(count).unwrap_or(DEFAULT_KEY_PARTITIONS)),
    }
}

/// Checks the properties of a collection whose values matter.
///
/// # Errors
/// Milvus's words for a value that does not fit.
pub fn check_properties(schema: &Schema, properties: &[(String, String)]) -> Result<(), Error> {
    times::check_properties(properties)?;
    for (key, value) in properties {
        match key.as_str() {
            TTL => {
                let ttl: i64 = value.parse().map_err(|_| Error::TtlNumber {
                    reason: format!("strconv.ParseInt: parsing \"{value}\": invalid syntax"),
                })?;
                if !(-1..=MAX_TTL_SECONDS).contains(&ttl) {
                    return Err(Error::TtlRange { ttl });
                }
            }
            RETENTION => {
                let range = 0..=MAX_TTL_SECONDS;
                if !value.parse().is_ok_and(|seconds: i64| range.contains(&seconds)) {
                    return Err(Error::Retention { value: value.clone(), most: MAX_TTL_SECONDS });
                }
            }
            TTL_FIELD => {
                let refuse =
                    |text: String| Err(Error::Checked { code: 1100, text: text + ": invalid parameter" });
                match schema.field(value).map(|field| field.data_type) {
                    Some(DataType::Timestamptz) => {}
                    Some(_) => return refuse(format!("ttl field must be timestamptz, field name = {value}")),
                    None => return refuse(format!("ttl field name {value} not found in schema")),
                }
            }
            "mmap.enabled" if params::boolean(value).is_none() => {
                return Err(Error::MmapValue { value: value.clone() });
            }
            QUERY_MODE if value != LARGE_TOPK => return Err(Error::QueryMode { value: value.clone() }),
            other if other != QUERY_MODE && other.eq_ignore_ascii_case(QUERY_MODE) => {
                return Err(Error::QueryModeKey { key: other.to_owned() });
            }
            "warmup" => return Err(Error::FieldWarmup),
            "warmup.scalarField" | "warmup.scalarIndex" | "warmup.vectorField" | "warmup.vectorIndex" => {
                check_warmup(value)?;
            }
            "partitionkey.isolation"
                if params::boolean(value) == Some(true) && schema.partition_key().is_none() =>
            {
                return Err(Error::IsolationWithoutKey);
            }
            _ => {}
        }
    }
    Ok(())
}

/// Checks that rows end by one rule, whichever it is.
///
/// # Errors
/// If `properties` have a time to live and name a field with the ends of rows, too.
pub fn check_one_ttl(properties: &[(String, String)]) -> Result<(), Error> {
    let value = |key: &str| properties.iter().find(|(known, _)| known == key).map(|(_, value)| value);
    let lives = value(TTL).and_then(|ttl| ttl.parse::<i64>().ok()).is_some_and(|ttl| ttl > 0);
    match value(TTL_FIELD) {
        Some(field) if lives => {
            let text = format!("{TTL} and {TTL_FIELD} ({field}) exclude each other: invalid parameter");
            Err(Error::Checked { code: 1100, text })
        }
        _ => Ok(()),
    }
}

/// Checks a setting of when data is brought into memory.
///
/// # Errors
/// Milvus's words for one that means nothing.
pub fn check_warmup(value: &str) -> Result<(), Error> {
    check_schema::check_warmup(value)
        .map_err(|error| Error::Checked { code: error.milvus_code(), text: error.to_string() })
}

fn checked_schema(collection: &str, wire: CollectionSchema, zone: &TimeZone) -> Result<Schema, Error> {
    let request = SchemaRequest {
        name: collection.to_owned(),
        description: wire.description,
        // Some clients send the hidden field along; it is made here.
        fields: wire
            .fields
            .into_iter()
            .filter(|field| field.name != DYNAMIC_FIELD || field.data_type != i32::from(WireType::Json))
            .map(|field| field_of_wire(field, zone))
            .collect(),
        enable_dynamic_field: wire.enable_dynamic_field,
        functions: wire.functions.into_iter().map(function_of_wire).collect(),
        structs: wire.struct_array_fields.into_iter().map(|one| struct_of_wire(one, zone)).collect(),
    };
    let schema = check_schema(&request).map_err(wrong_schema)?;
    texts::check_analyzers(&schema)?;
    Ok(schema)
}

fn struct_of_wire(wire: StructArrayFieldSchema, zone: &TimeZone) -> StructRequest {
    StructRequest {
        name: wire.name,
        description: wire.description,
        nullable: wire.nullable,
        parts: wire.fields.into_iter().map(|part| field_of_wire(part, zone)).collect(),
        type_params: params::pairs(wire.type_params),
    }
}

fn struct_to_wire(schema: &Schema, of: &StructField, zone: &TimeZone) -> StructArrayFieldSchema {
    let part =
        |field: &Field| FieldSchema { name: of.bare(&field.name).to_owned(), ..field_to_wire(field, zone) };
    StructArrayFieldSchema {
        field_id: of.id.0,
        name: of.name.clone(),
        description: of.description.clone(),
        fields: schema.parts(of).map(part).collect(),
        type_params: params::to_wire(&of.type_params),
        nullable: of.nullable,
    }
}

fn function_of_wire(wire: FunctionSchema) -> FunctionRequest {
    FunctionRequest {
        name: wire.name,
        description: wire.description,
        kind: wire.r#type,
        inputs: wire.input_field_names,
        outputs: wire.output_field_names,
        params: params::pairs(wire.params),
    }
}

fn function_to_wire(schema: &Schema, function: &Function) -> FunctionSchema {
    let name = |id| schema.field_by_id(id).map(|field| field.name.clone()).unwrap_or_default();
    FunctionSchema {
        name: function.name.clone(),
        id: function.id,
        description: function.description.clone(),
        r#type: match function.kind {
            FunctionKind::Bm25 => FunctionType::Bm25.into(),
            FunctionKind::MinHash => FunctionType::MinHash.into(),
            FunctionKind::TextEmbedding => FunctionType::TextEmbedding.into(),
        },
        input_field_names: vec![name(function.input)],
        input_field_ids: vec![function.input.0],
        output_field_names: vec![name(function.output)],
        output_field_ids: vec![function.output.0],
        params: params::to_wire(&function.params),
    }
}

/// The field that is to be added to a collection, checked; its number is not its own yet.
///
/// # Errors
/// Milvus's words for the first rule that the field breaks.
pub fn added_field(info: &CollectionInfo, wire: FieldSchema) -> Result<Field, Error> {
    let request = field_of_wire(wire, &zone_of(&info.properties));
    let field = check_added_field(&request, &info.name).map_err(wrong_schema)?;
    // Whether it still fits is seen again where it is added.
    let schema = add_field(&info.schema, field.clone()).map_err(wrong_schema)?;
    texts::check_analyzers(&schema)?;
    Ok(field)
}

/// The array of structs that is to be added to a collection, and its parts, checked; the numbers are not their own yet.
///
/// # Errors
/// As for [`added_field`].
pub fn added_struct(
    info: &CollectionInfo,
    wire: StructArrayFieldSchema,
) -> Result<(StructField, Vec<Field>), Error> {
    let request = struct_of_wire(wire, &zone_of(&info.properties));
    let (of, parts) = check_added_struct(&request, &info.name).map_err(wrong_schema)?;
    add_struct(&info.schema, of.clone(), parts.clone()).map_err(wrong_schema)?;
    Ok((of, parts))
}

/// The function that is to be added to a collection, with the field that it fills if that is to come with it, checked, and what
/// the schema will be; the numbers are not their own yet.
///
/// # Errors
/// As for [`added_field`].
pub fn added_function(
    info: &CollectionInfo,
    wire: FunctionSchema,
    output: Option<FieldSchema>,
) -> Result<(Function, Option<Field>, Schema), Error> {
    let zone = zone_of(&info.properties);
    let output = output.map(|output| field_of_wire(output, &zone));
    let request = function_of_wire(wire);
    let (function, field) =
        check_added_function(&info.schema, &request, output.as_ref(), &info.name).map_err(wrong_schema)?;
    let schema = add_function(&info.schema, function.clone(), field.clone()).map_err(wrong_schema)?;
    Ok((function, field, schema))
}

/// What is to be in the place of the function called `name`, checked.
///
/// # Errors
/// As for [`added_field`].
pub fn altered_function(info: &CollectionInfo, name: &str, wire: FunctionSchema) -> Result<Function, Error> {
    check_altered_function(&info.schema, name, &function_of_wire(wire)).map_err(wrong_schema)
}

/// How a client calls a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Called {
    /// By its name.
    Name(String),
    /// By its number.
    Number(i64),
}

/// The change that drops a field or an array of structs.
///
/// # Errors
/// If there is none, or it has to stay.
pub fn dropped_field(info: &CollectionInfo, called: &Called) -> Result<CollectionChange, Error> {
    let schema = &info.schema;
    let found = match called {
        Called::Name(name) => {
            let of_field = schema.field(name).map(|field| field.id);
            of_field.or_else(|| schema.struct_field(name).map(|one| one.id))
        }
        Called::Number(id) => Some(FieldId(*id)),
    };
    let not_found = || {
        let field = match called {
            Called::Name(name) => name.clone(),
            Called::Number(id) => id.to_string(),
        };
        wrong_schema(SchemaError::DroppedNotFound { field })
    };
    let field = found.ok_or_else(not_found)?;
    // Whether it may go is seen again where it is dropped.
    drop_field(schema, field).map_err(wrong_schema)?;
    Ok(CollectionChange::DropField { field })
}

/// The change that drops a function.
///
/// # Errors
/// If there is none, or what it fills has to stay or cannot.
pub fn dropped_function(
    info: &CollectionInfo,
    function: String,
    output: FunctionOutput,
) -> Result<CollectionChange, Error> {
    drop_function(&info.schema, &function, output).map_err(wrong_schema)?;
    Ok(CollectionChange::DropFunction { function, output })
}

fn wrong_schema(error: SchemaError) -> Error {
    Error::Checked { code: error.milvus_code(), text: error.to_string() }
}

fn field_of_wire(wire: FieldSchema, zone: &TimeZone) -> FieldRequest {
    FieldRequest {
        name: wire.name,
        description: wire.description,
        data_type: wire.data_type,
        element_type: wire.element_type,
        is_primary: wire.is_primary_key,
        auto_id: wire.auto_id,
        is_dynamic: wire.is_dynamic,
        nullable: wire.nullable,
        default: wire.default_value.and_then(default_of_wire),
        is_partition_key: wire.is_partition_key,
        is_clustering_key: wire.is_clustering_key,
        type_params: params::pairs(wire.type_params),
        zone: zone.clone(),
    }
}

fn default_of_wire(value: ValueField) -> Option<DefaultRequest> {
    use value_field::Data;
    Some(match value.data? {
        Data::BoolData(value) => DefaultRequest::Bool(value),
        Data::IntData(value) => DefaultRequest::Int(value),
        Data::LongData(value) => DefaultRequest::Long(value),
        Data::FloatData(value) => DefaultRequest::Float(value),
        Data::DoubleData(value) => DefaultRequest::Double(value),
        Data::StringData(value) => DefaultRequest::Text(value),
        Data::TimestamptzData(value) => DefaultRequest::Instant(value),
        Data::BytesData(_) | Data::DateData(_) | Data::TimeData(_) => DefaultRequest::Other,
    })
}

fn value_to_wire(value: &Value, data_type: DataType, zone: &TimeZone) -> Option<ValueField> {
    use value_field::Data;
    let data = match value {
        Value::Null | Value::Array(_) | Value::Vector(_) | Value::Bits(_) | Value::Sparse(_) => return None,
        Value::Bool(value) => Data::BoolData(*value),
        Value::Shape(bytes) => Data::StringData(shape::to_text(bytes)?),
        Value::Int(value) if data_type == DataType::Timestamptz => {
            Data::StringData(calendar::show(*value, zone))
        }
        Value::Int(value) if data_type == DataType::Int64 => Data::LongData(*value),
        Value::Int(value) => Data::IntData(i32::try_from(*value).unwrap_or_default()),
        Value::Float(value) => Data::FloatData(*value),
        Value::Double(value) => Data::DoubleData(*value),
        Value::Text(value) => Data::StringData(value.clone()),
        Value::Json(value) => Data::BytesData(value.clone().into_bytes()),
    };
    Some(ValueField { data: Some(data) })
}

/// A collection as clients see it: without the hidden field, type parameters as they were given.
#[must_use]
pub fn describe(info: &CollectionInfo) -> DescribeCollectionResponse {
    let virtual_channel_names: Vec<String> = info.channels.iter().map(ToString::to_string).collect();
    let physical_channel_names = virtual_channel_names
        .iter()
        .map(|name| name.rsplit_once('_').map_or(name.as_str(), |(physical, _)| physical).to_owned())
        .collect();
    DescribeCollectionResponse {
        status: Some(success()),
        schema: Some(schema_to_wire(info)),
        collection_id: info.id.0,
        shards_num: i32::try_from(virtual_channel_names.len()).unwrap_or(i32::MAX),
        virtual_channel_names,
        physical_channel_names,
        created_timestamp: info.created.0,
        created_utc_timestamp: info.created.unix_ms(),
        aliases: info.aliases.clone(),
        consistency_level: info.consistency,
        collection_name: info.name.clone(),
        properties: params::to_wire(&info.properties),
        db_name: info.database_name.clone(),
        num_partitions: i64::try_from(info.partitions.len()).unwrap_or(i64::MAX),
        db_id: info.database.0,
        update_timestamp: info.updated.0,
        update_timestamp_str: info.updated.to_string(),
        ..Default::default()
    }
}

#[expect(deprecated, reason = "old clients read auto_id from the schema and not from the field")]
fn schema_to_wire(info: &CollectionInfo) -> CollectionSchema {
    let schema = &info.schema;
    let zone = zone_of(&info.properties);
    CollectionSchema {
        name: info.name.clone(),
        description: schema.description.clone(),
        auto_id: schema.primary().auto_id,
        fields: schema
            .fields
            .iter()
            .filter(|field| !field.is_dynamic && schema.struct_of(field.id).is_none())
            .map(|field| FieldSchema {
                is_function_output: schema.function_of(field.id).is_some(),
                ..field_to_wire(field, &zone)
            })
            .collect(),
        functions: schema.functions.iter().map(|function| function_to_wire(schema, function)).collect(),
        struct_array_fields: schema.structs.iter().map(|one| struct_to_wire(schema, one, &zone)).collect(),
        enable_dynamic_field: schema.enable_dynamic_field,
        properties: params::to_wire(&info.properties),
        db_name: info.database_name.clone(),
        ..Default::default()
    }
}

fn field_to_wire(field: &Field, zone: &TimeZone) -> FieldSchema {
    FieldSchema {
        field_id: field.id.0,
        name: field.name.clone(),
        is_primary_key: field.is_primary,
        description: field.description.clone(),
        data_type: wire_type(field.data_type).into(),
        element_type: match field.data_type {
            DataType::Array(_) | DataType::ArrayOfVector(_) => wire_type(field.data_type.element()).into(),
            _ => WireType::None.into(),
        },
        type_params: params::to_wire(&field.type_params),
        auto_id: field.auto_id,
        default_value: field.default.as_ref().and_then(|value| value_to_wire(value, field.data_type, zone)),
        is_dynamic: field.is_dynamic,
        is_partition_key: field.is_partition_key,
        is_clustering_key: field.is_clustering_key,
        nullable: field.nullable,
        ..Default::default()
    }
}

/// Checks which fields a client wants in memory. All of them are loaded whatever it wants.
///
/// # Errors
/// If the key or every vector is left out, or a name means nothing.
pub fn check_load_fields(schema: &Schema, names: &[String]) -> Result<(), Error> {
    if names.is_empty() {
        return Ok(());
    }
    let refuse = |text: String| Err(Error::Checked { code: 1100, text: text + ": invalid parameter" });
    let is_unknown = |name: &&String| schema.field(name).is_none() && schema.struct_field(name).is_none();
    if let Some(name) = names.iter().find(is_unknown) {
        return refuse(format!("field {name} is not in the schema"));
    }
    let list = names.join(" ");
    if !names.contains(&schema.primary().name) {
        return refuse(format!(
            "load fields list [{list}] does not contain primary key field {}",
            schema.primary().name
        ));
    }
    let is_named = |field: &Field| {
        let of = schema.struct_of(field.id);
        names.contains(&field.name) || of.is_some_and(|of| names.contains(&of.name))
    };
    if !schema.searched().any(is_named) {
        return refuse(format!("load fields list [{list}] does not contain vector field"));
    }
    match schema.partition_key().filter(|key| !names.contains(&key.name)) {
        Some(key) => {
            refuse(format!("load fields list [{list}] does not contain partition key field {}", key.name))
        }
        None => Ok(()),
    }
}

/// Checks the name of a collection.
///
/// # Errors
/// Milvus's words. Source: wire specification 2.20.
pub fn check_collection_name(name: &str) -> Result<(), Error> {
    check(Named::Collection, name)
}

/// Checks an alias.
///
/// # Errors
/// As for [`check_collection_name`].
pub fn check_alias_name(name: &str) -> Result<(), Error> {
    check(Named::Alias, name)
}

/// Checks the name of a database.
///
/// # Errors
/// As for [`check_collection_name`].
pub fn check_database_name(name: &str) -> Result<(), Error> {
    check(Named::Database, name)
}

/// Checks the name of a partition that rows go to, or that is made or dropped.
///
/// # Errors
/// As for [`check_collection_name`].
pub fn check_partition_name(name: &str) -> Result<(), Error> {
    check(Named::Partition, name)
}

/// Checks the name of an index; an empty one stands for the field's.
///
/// # Errors
/// As for [`check_collection_name`].
pub fn check_index_name(name: &str) -> Result<(), Error> {
    if name.is_empty() { Ok(()) } else { check(Named::Index, name) }
}

/// Checks the name of a resource group.
///
/// # Errors
/// Milvus's words for the first flaw: empty, long, first letter, other letters.
pub fn check_group_name(name: &str) -> Result<(), Error> {
    match group_flaw(name) {
        Some(text) => Err(Error::Checked { code: 1100, text }),
        None => Ok(()),
    }
}

fn check(named: Named, name: &str) -> Result<(), Error> {
    check_name(named, name)
        .map_err(|error| Error::Checked { code: error.milvus_code(), text: error.to_string() })
}
