//! From the schema that a user asks for to one that is checked and numbered.

mod changes;
mod error;
mod functions;

pub use changes::{
    add_field, add_function, add_struct, alter_function, check_added_field, check_added_function,
    check_added_struct, check_altered_function, drop_field, drop_function,
};
pub use error::SchemaError;
pub use functions::Signing;

use crate::base::FieldId;
use crate::calendar::{self, TimeZone};
use crate::model::name::{Named, check_name};
use crate::model::{
    DYNAMIC_FIELD, DataType, ElementType, FIRST_FIELD, Field, Schema, StructField, Value, VectorElement,
    part_name,
};
use crate::shape;

/// Most fields of a schema, the hidden one not counted.
pub const MAX_FIELDS: usize = 64;
/// Most vector fields of a schema.
pub const MAX_VECTORS: usize = 10;
/// Longest text of a `VarChar` field. Unit: bytes.
pub const MAX_TEXT_BYTES: i64 = 65_535;
/// Most bytes of a default text, and of a default shape: it is there once for each row that lacks the field.
const MAX_DEFAULT_TEXT: usize = 65_535;
const MAX_DEFAULT_SHAPE: usize = 4096;
/// Most elements of an array.
pub const MAX_CAPACITY: i64 = 4096;
/// Fewest components of a float vector.
pub const MIN_DIM: i64 = 2;
/// Most components of a float vector.
pub const MAX_DIM: i64 = 32_768;
/// Fewest bits of a binary vector.
pub const MIN_BITS: i64 = 8;
/// Most bits of a binary vector.
pub const MAX_BITS: i64 = 262_144;
/// Milvus's number of arrays of scalars.
const ARRAY: i32 = 22;
/// Milvus's number of arrays of vectors.
const ARRAY_OF_VECTOR: i32 = 106;
/// Names that the system itself uses.
const RESERVED: [&str; 4] = ["RowID", "Timestamp", DYNAMIC_FIELD, "$namespace_id"];

/// The schema of a collection as a user asks for it.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct SchemaRequest {
    /// Name of the collection.
    pub name: String,
    /// Free text.
    pub description: String,
    /// Fields in the user's order, the hidden one left out.
    pub fields: Vec<FieldRequest>,
    /// Whether rows may carry keys that no field names.
    pub enable_dynamic_field: bool,
    /// What is to be computed.
    pub functions: Vec<FunctionRequest>,
    /// Fields of arrays of structs in the user's order.
    pub structs: Vec<StructRequest>,
}

/// A field of arrays of structs as a user asks for it.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct StructRequest {
    /// Name.
    pub name: String,
    /// Free text.
    pub description: String,
    /// Whether rows may lack the whole array.
    pub nullable: bool,
    /// The parts by their own names: fields of arrays.
    pub parts: Vec<FieldRequest>,
    /// Type parameters as given.
    pub type_params: Vec<(String, String)>,
}

/// A function as a user asks for it.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct FunctionRequest {
    /// Name.
    pub name: String,
    /// Free text.
    pub description: String,
    /// Milvus's number of what it computes.
    pub kind: i32,
    /// Names of the fields that it reads.
    pub inputs: Vec<String>,
    /// Names of the fields that it fills.
    pub outputs: Vec<String>,
    /// Parameters as given.
    pub params: Vec<(String, String)>,
}

/// A field as a user asks for it.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct FieldRequest {
    /// Name.
    pub name: String,
    /// Free text.
    pub description: String,
    /// Milvus's number of the type.
    pub data_type: i32,
    /// Milvus's number of the type of elements, for arrays.
    pub element_type: i32,
    /// Whether it is the primary key.
    pub is_primary: bool,
    /// Whether the server makes its values.
    pub auto_id: bool,
    /// Whether it claims to be the hidden field of dynamic keys.
    pub is_dynamic: bool,
    /// Whether rows may lack a value.
    pub nullable: bool,
    /// Taken where a row lacks a value.
    pub default: Option<DefaultRequest>,
    /// Whether rows are spread over partitions by this field.
    pub is_partition_key: bool,
    /// Whether compaction may cluster rows by this field.
    pub is_clustering_key: bool,
    /// Type parameters as given.
    pub type_params: Vec<(String, String)>,
    /// The zone of a default time without an offset.
    pub zone: TimeZone,
}

/// A default value as it comes: the wire tells 32-bit from 64-bit numbers.
#[derive(Clone, Debug, PartialEq)]
pub enum DefaultRequest {
    /// Truth value.
    Bool(bool),
    /// 32-bit integer, for `Int8` to `Int32`.
    Int(i32),
    /// 64-bit integer.
    Long(i64),
    /// Single.
    Float(f32),
    /// Double.
    Double(f64),
    /// Text.
    Text(String),
    /// Instant, in microseconds since 1970.
    Instant(i64),
    /// Anything else, which no field takes.
    Other,
}

impl DefaultRequest {
    const fn type_name(&self) -> &'static str {
        match self {
            Self::Bool(_) => "DataType_Bool",
            Self::Int(_) => "DataType_Int32",
            Self::Long(_) => "DataType_Int64",
            Self::Float(_) => "DataType_Float",
            Self::Double(_) => "DataType_Double",
            Self::Text(_) => "DataType_VarChar",
            Self::Instant(_) => "DataType_Timestamptz",
            Self::Other => "DataType_None",
        }
    }
}

/// Checks the schema that a user asks for and numbers its fields: 100 and up in order, then the hidden field, then each struct
/// and its parts.
///
/// # Errors
/// [`SchemaError`] for the first rule that is broken, in Milvus's order of rules.
pub fn check_schema(request: &SchemaRequest) -> Result<Schema, SchemaError> {
    functions::check_requests(request)?;
    check_shape(request)?;
    check_name(Named::Collection, &request.name).map_err(SchemaError::Name)?;
    request.fields.iter().try_for_each(check_field_name)?;
    check_primary(&request.fields)?;
    let mut fields = Vec::with_capacity(request.fields.len() + 1);
    for (id, field) in (FIRST_FIELD.0..).zip(&request.fields) {
        fields.push(check_field(FieldId(id), field, &request.name)?);
    }
    check_partition_key(&fields)?;
    check_clustering_key(&fields)?;
    let next = FIRST_FIELD.0
        + i64::try_from(fields.len()).unwrap_or(i64::MAX - FIRST_FIELD.0)
        + i64::from(request.enable_dynamic_field);
    let (structs, mut parts) = checked_structs(&request.structs, &request.name, next)?;
    let names = fields.iter().map(|field| &field.name).chain(structs.iter().map(|one| &one.name));
    let names: Vec<&String> = names.chain(parts.iter().map(|part| &part.name)).collect();
    for (at, name) in names.iter().enumerate() {
        if names[..at].contains(name) {
            return Err(SchemaError::Duplicate { field: (*name).clone() });
        }
    }
    for field in fields.iter().chain(&parts) {
        check_memory(field)?;
    }
    if request.enable_dynamic_field {
        fields.push(dynamic_field(FieldId(
            FIRST_FIELD.0 + i64::try_from(fields.len()).unwrap_or(i64::MAX - FIRST_FIELD.0),
        )));
    }
    let functions = functions::checked(&request.functions, &fields)?;
    fields.iter().try_for_each(functions::check_match)?;
    fields.append(&mut parts);
    Ok(Schema {
        description: request.description.clone(),
        fields,
        functions,
        enable_dynamic_field: request.enable_dynamic_field,
        structs,
        youngest_dropped: None,
    })
}

/// Checks what a field says of how it is held in memory.
fn check_memory(field: &Field) -> Result<(), SchemaError> {
    if let Some(value) = field.type_param("mmap.enabled")
        && !["true", "false"].iter().any(|word| value.eq_ignore_ascii_case(word))
    {
        return Err(SchemaError::Mmap { value: value.to_owned() });
    }
    field.type_param("warmup").map_or(Ok(()), check_warmup)
}

/// The structs that a user asks for, and all their parts, which are fields like others; numbered from `next` on.
fn checked_structs(
    requests: &[StructRequest],
    collection: &str,
    mut next: i64,
) -> Result<(Vec<StructField>, Vec<Field>), SchemaError> {
    let mut structs = Vec::with_capacity(requests.len());
    let mut all = Vec::new();
    for asked in requests {
        check_any_name(&asked.name)?;
        let id = FieldId(next);
        next += 1;
        let mut parts = Vec::with_capacity(asked.parts.len());
        for part in &asked.parts {
            parts.push(checked_part(FieldId(next), asked, part, collection)?);
            next += 1;
        }
        let Some(first) = parts.first() else {
            return Err(SchemaError::StructWithoutParts { field: asked.name.clone() });
        };
        if let Some(other) = parts.iter().find(|part| part.max_capacity() != first.max_capacity()) {
            return Err(SchemaError::StructCapacity {
                field: asked.name.clone(),
                part: other.name.clone(),
                capacity: other.max_capacity(),
                expected: first.max_capacity(),
            });
        }
        structs.push(StructField {
            id,
            name: asked.name.clone(),
            description: asked.description.clone(),
            nullable: asked.nullable,
            parts: parts.iter().map(|part| part.id).collect(),
            type_params: asked.type_params.clone(),
        });
        all.extend(parts.into_iter().map(|part| Field { name: part_name(&asked.name, &part.name), ..part }));
    }
    Ok((structs, all))
}

/// One part of a struct, still by its own name.
fn checked_part(
    id: FieldId,
    of: &StructRequest,
    part: &FieldRequest,
    collection: &str,
) -> Result<Field, SchemaError> {
    check_field_name(part)?;
    let refuse = |what| Err(SchemaError::StructPart { what, of: of.name.clone(), part: part.name.clone() });
    match part {
        FieldRequest { is_primary: true, .. } => return refuse("primary key"),
        FieldRequest { auto_id: true, .. } => return refuse("auto id"),
        FieldRequest { is_partition_key: true, .. } => return refuse("partition key"),
        FieldRequest { is_clustering_key: true, .. } => return refuse("clustering key"),
        FieldRequest { is_dynamic: true, .. } => return refuse("dynamic field"),
        FieldRequest { nullable: true, .. } if !of.nullable => {
            return Err(SchemaError::StructPartNull { of: of.name.clone(), part: part.name.clone() });
        }
        _ => {}
    }
    let data_type = match part.data_type {
        ARRAY => stored_type(ARRAY, part.element_type)?,
        ARRAY_OF_VECTOR => {
            let element = stored_type(part.element_type, 0)?;
            let vector = VectorElement::of(element);
            DataType::ArrayOfVector(vector.ok_or_else(|| SchemaError::StructVector {
                part: part.name.clone(),
                found: element.name(),
            })?)
        }
        _ => return Err(SchemaError::StructPartType { part: part.name.clone() }),
    };
    let field = field_of(id, part, data_type, collection)?;
    Ok(Field { nullable: of.nullable, ..field })
}

/// Checks one field by itself, as when it is added to a collection that exists; `id` becomes its number.
///
/// # Errors
/// [`SchemaError`] for the first rule of names, types, parameters and default values that is broken.
pub fn check_new_field(id: FieldId, request: &FieldRequest, collection: &str) -> Result<Field, SchemaError> {
    check_field_name(request)?;
    let field = check_field(id, request, collection)?;
    functions::check_match(&field)?;
    check_memory(&field)?;
    Ok(field)
}

/// Checks a setting of when data is brought into memory: with the load, after it, or when it is first read.
///
/// # Errors
/// [`SchemaError::Warmup`] for any other word; capital letters count.
pub fn check_warmup(value: &str) -> Result<(), SchemaError> {
    if matches!(value, "sync" | "async" | "disable") {
        Ok(())
    } else {
        Err(SchemaError::Warmup { value: value.to_owned() })
    }
}

fn check_shape(request: &SchemaRequest) -> Result<(), SchemaError> {
    let parts = || request.structs.iter().flat_map(|one| &one.parts);
    let is_searched =
        |field: &&FieldRequest| is_vector(field.data_type) || field.data_type == ARRAY_OF_VECTOR;
    let vectors = request.fields.iter().chain(parts()).filter(is_searched).count();
    match () {
        () if request.fields.len() + parts().count() > MAX_FIELDS => Err(SchemaError::TooManyFields),
        () if vectors > MAX_VECTORS => Err(SchemaError::TooManyVectors),
        () if vectors == 0 => Err(SchemaError::NoVector),
        () => Ok(()),
    }
}

/// Whether Milvus's type number is one of its vector types.
const fn is_vector(data_type: i32) -> bool {
    data_type >= 100 && data_type <= 105
}

fn check_field_name(field: &FieldRequest) -> Result<(), SchemaError> {
    check_any_name(&field.name)
}

fn check_any_name(name: &str) -> Result<(), SchemaError> {
    if RESERVED.contains(&name) {
        return Err(SchemaError::Reserved { field: name.to_owned() });
    }
    check_name(Named::Field, name).map_err(SchemaError::Name)
}

fn check_primary(fields: &[FieldRequest]) -> Result<(), SchemaError> {
    let mut primaries = fields.iter().filter(|field| field.is_primary);
    let primary = primaries.next().ok_or(SchemaError::NoPrimary)?;
    if let Some(second) = primaries.next() {
        return Err(SchemaError::ManyPrimaries { first: primary.name.clone(), second: second.name.clone() });
    }
    if !matches!(stored_type(primary.data_type, 0), Ok(DataType::Int64 | DataType::VarChar)) {
        return Err(SchemaError::PrimaryType);
    }
    if primary.nullable {
        return Err(SchemaError::PrimaryNull);
    }
    if primary.default.is_some() {
        return Err(SchemaError::PrimaryDefault);
    }
    if fields.iter().any(|field| field.is_dynamic) {
        return Err(SchemaError::DynamicField);
    }
    match fields.iter().find(|field| field.auto_id && !field.is_primary) {
        Some(field) => Err(SchemaError::AutoId { field: field.name.clone() }),
        None => Ok(()),
    }
}

/// The type of Milvus's number, if this version stores it; `element` is the number of an array's elements.
fn stored_type(number: i32, element: i32) -> Result<DataType, SchemaError> {
    let unsupported = |name| Err(SchemaError::UnsupportedType { name });
    match number {
        0 => Err(SchemaError::UnknownType { number: "None".to_owned() }),
        1 => Ok(DataType::Bool),
        2 => Ok(DataType::Int8),
        3 => Ok(DataType::Int16),
        4 => Ok(DataType::Int32),
        5 => Ok(DataType::Int64),
        10 => Ok(DataType::Float),
        11 => Ok(DataType::Double),
        20 => Err(SchemaError::StringType),
        21 => Ok(DataType::VarChar),
        ARRAY => element_type(element).map(DataType::Array),
        23 => Ok(DataType::Json),
        24 => Ok(DataType::Geometry),
        25 => Ok(DataType::Text),
        26 => Ok(DataType::Timestamptz),
        100 => Ok(DataType::BinaryVector),
        101 => Ok(DataType::FloatVector),
        102 => Ok(DataType::Float16Vector),
        103 => Ok(DataType::BFloat16Vector),
        104 => Ok(DataType::SparseFloatVector),
        105 => Ok(DataType::Int8Vector),
        ARRAY_OF_VECTOR => Err(SchemaError::VectorsOutsideStruct),
        200 => unsupported("ArrayOfStruct"),
        201 => unsupported("Struct"),
        other => Err(SchemaError::UnknownType { number: other.to_string() }),
    }
}

/// The element type of Milvus's number.
fn element_type(number: i32) -> Result<ElementType, SchemaError> {
    match stored_type(number, 0) {
        Ok(scalar) => {
            ElementType::of(scalar).ok_or(SchemaError::ElementType { name: scalar.name().to_owned() })
        }
        Err(SchemaError::UnsupportedType { name }) => Err(SchemaError::ElementType { name: name.to_owned() }),
        Err(SchemaError::UnknownType { number }) => Err(SchemaError::UnknownElement { number }),
        // An array of arrays says of what, or the old text type.
        Err(SchemaError::UnknownElement { .. }) => Err(SchemaError::ElementType { name: "Array".to_owned() }),
        Err(other) => Err(other),
    }
}

fn check_field(id: FieldId, request: &FieldRequest, collection: &str) -> Result<Field, SchemaError> {
    let data_type = stored_type(request.data_type, request.element_type)?;
    field_of(id, request, data_type, collection)
}

fn field_of(
    id: FieldId,
    request: &FieldRequest,
    data_type: DataType,
    collection: &str,
) -> Result<Field, SchemaError> {
    let mut field = Field {
        id,
        name: request.name.clone(),
        description: request.description.clone(),
        data_type,
        is_primary: request.is_primary,
        auto_id: request.auto_id,
        is_dynamic: false,
        nullable: request.nullable,
        default: None,
        is_partition_key: request.is_partition_key,
        is_clustering_key: request.is_clustering_key,
        type_params: request.type_params.clone(),
    };
    match data_type {
        DataType::SparseFloatVector => check_no_dim(&field)?,
        vector if vector.is_vector() => check_dim(&field)?,
        DataType::VarChar => check_max_length(&field, collection)?,
        DataType::Array(element) => {
            if element == ElementType::VarChar {
                check_max_length(&field, collection)?;
            }
            check_max_capacity(&field, collection)?;
        }
        DataType::ArrayOfVector(_) => {
            check_dim(&field)?;
            check_max_capacity(&field, collection)?;
        }
        _ => {}
    }
    field.default =
        request.default.as_ref().map(|default| check_default(&field, default, &request.zone)).transpose()?;
    Ok(field)
}

fn number(text: &str) -> Result<i64, SchemaError> {
    text.trim().parse().map_err(|_| SchemaError::Number { value: text.to_owned() })
}

fn check_dim(field: &Field) -> Result<(), SchemaError> {
    let name = || field.name.clone();
    let dim = number(field.type_param("dim").ok_or_else(|| SchemaError::NoDim { field: name() })?)?;
    if field.data_type.element() == DataType::BinaryVector {
        return match dim {
            dim if dim % 8 != 0 => Err(SchemaError::BitsOfBytes { dim, field: name() }),
            dim if !(MIN_BITS..=MAX_BITS).contains(&dim) => Err(SchemaError::Bits { dim, field: name() }),
            _ => Ok(()),
        };
    }
    if dim < MIN_DIM {
        return Err(SchemaError::DimTooSmall { dim });
    }
    if dim > MAX_DIM {
        return Err(SchemaError::Dim { dim, field: name() });
    }
    Ok(())
}

/// A sparse vector is as long as its greatest index asks for.
fn check_no_dim(field: &Field) -> Result<(), SchemaError> {
    match field.type_param("dim") {
        Some(_) => Err(SchemaError::SparseDim { field: field.name.clone(), id: field.id.0 }),
        None => Ok(()),
    }
}

fn check_max_length(field: &Field, collection: &str) -> Result<(), SchemaError> {
    let missing =
        || SchemaError::NoMaxLength { field: field.name.clone(), collection: collection.to_owned() };
    let length = number(field.type_param("max_length").ok_or_else(missing)?)?;
    if (1..=MAX_TEXT_BYTES).contains(&length) {
        Ok(())
    } else {
        Err(SchemaError::MaxLength { field: field.name.clone(), length })
    }
}

fn check_max_capacity(field: &Field, collection: &str) -> Result<(), SchemaError> {
    let missing =
        || SchemaError::NoMaxCapacity { field: field.name.clone(), collection: collection.to_owned() };
    let text = field.type_param("max_capacity").ok_or_else(missing)?;
    let capacity: i64 =
        text.trim().parse().map_err(|_| SchemaError::CapacityNumber { field: field.name.clone() })?;
    if (1..=MAX_CAPACITY).contains(&capacity) { Ok(()) } else { Err(SchemaError::MaxCapacity) }
}

fn check_default(field: &Field, default: &DefaultRequest, zone: &TimeZone) -> Result<Value, SchemaError> {
    let name = || field.name.clone();
    let out_of_range = |value: String| SchemaError::DefaultRange { value, field: name() };
    let whole = |value: i32, low: i32, high: i32| {
        if (low..=high).contains(&value) {
            Ok(Value::Int(i64::from(value)))
        } else {
            Err(out_of_range(value.to_string()))
        }
    };
    match (field.data_type, default) {
        (data_type, _)
            if data_type.is_searched() || matches!(data_type, DataType::Json | DataType::Array(_)) =>
        {
            Err(SchemaError::DefaultUnsupported { data_type: field.data_type.name(), field: name() })
        }
        (DataType::Bool, DefaultRequest::Bool(value)) => Ok(Value::Bool(*value)),
        (DataType::Int8, DefaultRequest::Int(value)) => whole(*value, i8::MIN.into(), i8::MAX.into()),
        (DataType::Int16, DefaultRequest::Int(value)) => whole(*value, i16::MIN.into(), i16::MAX.into()),
        (DataType::Int32, DefaultRequest::Int(value)) => Ok(Value::Int(i64::from(*value))),
        (DataType::Int64, DefaultRequest::Long(value)) => Ok(Value::Int(*value)),
        (DataType::Float, DefaultRequest::Float(value)) if value.is_finite() => Ok(Value::Float(*value)),
        (DataType::Float, DefaultRequest::Float(value)) => Err(out_of_range(value.to_string())),
        (DataType::Double, DefaultRequest::Double(value)) if value.is_finite() => Ok(Value::Double(*value)),
        (DataType::Double, DefaultRequest::Double(value)) => Err(out_of_range(value.to_string())),
        (DataType::VarChar | DataType::Text, DefaultRequest::Text(text)) => {
            // It is there once for each row that lacks the field.
            let limit = field.max_length().min(MAX_DEFAULT_TEXT);
            if text.len() > limit {
                return Err(SchemaError::DefaultLength { length: text.len(), limit });
            }
            Ok(Value::Text(text.clone()))
        }
        (DataType::Timestamptz, DefaultRequest::Text(text)) => calendar::parse(text, zone)
            .map(Value::Int)
            .map_err(|source| SchemaError::DefaultTime { field: name(), source }),
        (DataType::Timestamptz, DefaultRequest::Instant(instant))
            if (calendar::EARLIEST..=calendar::LATEST).contains(instant) =>
        {
            Ok(Value::Int(*instant))
        }
        (DataType::Timestamptz, DefaultRequest::Instant(instant)) => Err(out_of_range(instant.to_string())),
        (DataType::Geometry, DefaultRequest::Text(text)) => {
            let bytes =
                shape::parse(text).map_err(|source| SchemaError::DefaultShape { field: name(), source })?;
            if bytes.len() > MAX_DEFAULT_SHAPE {
                return Err(SchemaError::DefaultSize { field: name(), limit: MAX_DEFAULT_SHAPE });
            }
            Ok(Value::Shape(bytes))
        }
        (_, other) => Err(SchemaError::DefaultType {
            data_type: field.data_type.name(),
            field: name(),
            found: other.type_name(),
        }),
    }
}

fn check_partition_key(fields: &[Field]) -> Result<(), SchemaError> {
    let mut keys = fields.iter().filter(|field| field.is_partition_key);
    let Some(key) = keys.next() else { return Ok(()) };
    if let Some(second) = keys.next() {
        return Err(SchemaError::ManyPartitionKeys { first: key.name.clone(), second: second.name.clone() });
    }
    match key {
        Field { is_primary: true, .. } => Err(SchemaError::PartitionKeyPrimary),
        Field { data_type: DataType::Int64 | DataType::VarChar, nullable: false, .. } => Ok(()),
        Field { data_type: DataType::Int64 | DataType::VarChar, .. } => Err(SchemaError::PartitionKeyNull),
        _ => Err(SchemaError::PartitionKeyType),
    }
}

fn check_clustering_key(fields: &[Field]) -> Result<(), SchemaError> {
    let mut keys = fields.iter().filter(|field| field.is_clustering_key);
    let Some(key) = keys.next() else { return Ok(()) };
    match keys.next() {
        Some(second) => {
            Err(SchemaError::ManyClusteringKeys { first: key.name.clone(), second: second.name.clone() })
        }
        None if key.data_type.is_vector() => {
            Err(SchemaError::VectorClusteringKey { field: key.name.clone() })
        }
        None => Ok(()),
    }
}

/// The hidden field of dynamic keys.
fn dynamic_field(id: FieldId) -> Field {
    Field {
        id,
        name: DYNAMIC_FIELD.to_owned(),
        description: "dynamic schema".to_owned(),
        data_type: DataType::Json,
        is_primary: false,
        auto_id: false,
        is_dynamic: true,
        nullable: false,
        default: None,
        is_partition_key: false,
        is_clustering_key: false,
        type_params: Vec::new(),
    }
}

#[cfg(test)]
mod tests;
