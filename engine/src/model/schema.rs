//! The shape of a collection.

use super::json_path::first_key;
use crate::base::{FieldId, PartitionId};
use crate::model::{JsonPath, JsonTarget, Metric, Value};

/// Longest value of a `Text` field. Unit: bytes. Source: wire specification 2.4.
pub const MAX_LONG_TEXT_BYTES: usize = 2 << 20;

/// Name of the hidden JSON field that holds the dynamic keys of a row.
pub const DYNAMIC_FIELD: &str = "$meta";

/// Number of a schema's first field; lower ones are Milvus's hidden row id and time.
pub const FIRST_FIELD: FieldId = FieldId(100);

/// What arrays are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum ElementType {
    /// True or false.
    Bool,
    /// Signed 8-bit integer.
    Int8,
    /// Signed 16-bit integer.
    Int16,
    /// Signed 32-bit integer.
    Int32,
    /// Signed 64-bit integer.
    Int64,
    /// IEEE single, always finite.
    Float,
    /// IEEE double, always finite.
    Double,
    /// UTF-8 text of at most `max_length` bytes.
    VarChar,
}

impl ElementType {
    /// Every type, for tables and tests.
    pub const ALL: [Self; 8] = [
        Self::Bool,
        Self::Int8,
        Self::Int16,
        Self::Int32,
        Self::Int64,
        Self::Float,
        Self::Double,
        Self::VarChar,
    ];

    /// The type of one element by itself.
    #[must_use]
    pub const fn scalar(self) -> DataType {
        match self {
            Self::Bool => DataType::Bool,
            Self::Int8 => DataType::Int8,
            Self::Int16 => DataType::Int16,
            Self::Int32 => DataType::Int32,
            Self::Int64 => DataType::Int64,
            Self::Float => DataType::Float,
            Self::Double => DataType::Double,
            Self::VarChar => DataType::VarChar,
        }
    }

    /// Arrays of what is of `scalar` by itself; `None` if there are none.
    #[must_use]
    pub fn of(scalar: DataType) -> Option<Self> {
        Self::ALL.into_iter().find(|element| element.scalar() == scalar)
    }
}

/// What arrays of vectors are of: vectors of one dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum VectorElement {
    /// `dim` finite IEEE singles.
    Float,
    /// `dim` finite IEEE half-precision floats.
    Float16,
    /// `dim` finite singles of which only the upper half is kept.
    BFloat16,
    /// `dim` signed 8-bit integers.
    Int8,
    /// `dim` bits, eight a byte.
    Binary,
}

impl VectorElement {
    /// Every type, for tables and tests.
    pub const ALL: [Self; 5] = [Self::Float, Self::Float16, Self::BFloat16, Self::Int8, Self::Binary];

    /// The type of one vector by itself.
    #[must_use]
    pub const fn vector(self) -> DataType {
        match self {
            Self::Float => DataType::FloatVector,
            Self::Float16 => DataType::Float16Vector,
            Self::BFloat16 => DataType::BFloat16Vector,
            Self::Int8 => DataType::Int8Vector,
            Self::Binary => DataType::BinaryVector,
        }
    }

    /// Arrays of what is of `vector` by itself; `None` if there are none.
    #[must_use]
    pub fn of(vector: DataType) -> Option<Self> {
        Self::ALL.into_iter().find(|element| element.vector() == vector)
    }
}

/// The type of a field, as far as this version stores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum DataType {
    /// True or false.
    Bool,
    /// Signed 8-bit integer.
    Int8,
    /// Signed 16-bit integer.
    Int16,
    /// Signed 32-bit integer.
    Int32,
    /// Signed 64-bit integer.
    Int64,
    /// IEEE single, always finite.
    Float,
    /// IEEE double, always finite.
    Double,
    /// UTF-8 text of at most `max_length` bytes.
    VarChar,
    /// UTF-8 text of at most [`MAX_LONG_TEXT_BYTES`] bytes, which is no key and makes no groups.
    Text,
    /// Any JSON value, kept as its text.
    Json,
    /// At most `max_capacity` values of one type.
    Array(ElementType),
    /// An instant between the years 1 and 9999, in microseconds since 1970.
    Timestamptz,
    /// A shape on a plane, as WKB.
    Geometry,
    /// `dim` finite IEEE singles.
    FloatVector,
    /// `dim` finite IEEE half-precision floats.
    Float16Vector,
    /// `dim` finite singles of which only the upper half is kept.
    BFloat16Vector,
    /// `dim` signed 8-bit integers.
    Int8Vector,
    /// `dim` bits, eight a byte.
    BinaryVector,
    /// Finite singles that are not negative, at some of 2^32 - 1 places.
    SparseFloatVector,
    /// At most `max_capacity` vectors of one type and dimension; only in a struct.
    ArrayOfVector(VectorElement),
}

impl DataType {
    /// Every type, for tables and tests.
    pub const ALL: [Self; 31] = [
        Self::Bool,
        Self::Int8,
        Self::Int16,
        Self::Int32,
        Self::Int64,
        Self::Float,
        Self::Double,
        Self::VarChar,
        Self::Json,
        Self::FloatVector,
        Self::Float16Vector,
        Self::BFloat16Vector,
        Self::Int8Vector,
        Self::BinaryVector,
        Self::SparseFloatVector,
        Self::Timestamptz,
        Self::Geometry,
        Self::Text,
        Self::Array(ElementType::Bool),
        Self::Array(ElementType::Int8),
        Self::Array(ElementType::Int16),
        Self::Array(ElementType::Int32),
        Self::Array(ElementType::Int64),
        Self::Array(ElementType::Float),
        Self::Array(ElementType::Double),
        Self::Array(ElementType::VarChar),
        Self::ArrayOfVector(VectorElement::Float),
        Self::ArrayOfVector(VectorElement::Float16),
        Self::ArrayOfVector(VectorElement::BFloat16),
        Self::ArrayOfVector(VectorElement::Int8),
        Self::ArrayOfVector(VectorElement::Binary),
    ];

    /// Milvus's name of the type, as error texts carry it (`Int64`, `VarChar`, `FloatVector`).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bool => "Bool",
            Self::Int8 => "Int8",
            Self::Int16 => "Int16",
            Self::Int32 => "Int32",
            Self::Int64 => "Int64",
            Self::Float => "Float",
            Self::Double => "Double",
            Self::VarChar => "VarChar",
            Self::Text => "Text",
            Self::Json => "JSON",
            Self::Array(_) => "Array",
            Self::Timestamptz => "Timestamptz",
            Self::Geometry => "Geometry",
            Self::FloatVector => "FloatVector",
            Self::Float16Vector => "Float16Vector",
            Self::BFloat16Vector => "BFloat16Vector",
            Self::Int8Vector => "Int8Vector",
            Self::BinaryVector => "BinaryVector",
            Self::SparseFloatVector => "SparseFloatVector",
            Self::ArrayOfVector(_) => "ArrayOfVector",
        }
    }

    /// Whether searches may be by values of this type: vectors, and arrays of them.
    #[must_use]
    pub const fn is_searched(self) -> bool {
        self.is_vector() || matches!(self, Self::ArrayOfVector(_))
    }

    /// The type of one element, of arrays; the type itself, of others.
    #[must_use]
    pub const fn element(self) -> Self {
        match self {
            Self::Array(element) => element.scalar(),
            Self::ArrayOfVector(element) => element.vector(),
            other => other,
        }
    }

    /// Whether values of this type are vectors. Arrays of vectors are arrays.
    #[must_use]
    pub const fn is_vector(self) -> bool {
        self.is_dense() || matches!(self, Self::BinaryVector | Self::SparseFloatVector)
    }

    /// Whether values of this type are vectors of `dim` numbers.
    #[must_use]
    pub const fn is_dense(self) -> bool {
        matches!(self, Self::FloatVector | Self::Float16Vector | Self::BFloat16Vector | Self::Int8Vector)
    }

    /// The type of the columns that hold such values: narrower vectors are held as the singles that they are exactly,
    /// instants as the numbers that they are, long texts as texts.
    #[must_use]
    pub const fn held_as(self) -> Self {
        match self {
            dense if dense.is_dense() => Self::FloatVector,
            Self::Timestamptz => Self::Int64,
            Self::Text => Self::VarChar,
            Self::ArrayOfVector(VectorElement::Binary) => self,
            Self::ArrayOfVector(_) => Self::ArrayOfVector(VectorElement::Float),
            other => other,
        }
    }

    /// What each value takes in memory, where all take the same and are no vectors. Unit: bytes.
    #[must_use]
    pub const fn width(self) -> Option<u64> {
        match self {
            Self::Bool | Self::Int8 => Some(1),
            Self::Int16 => Some(2),
            Self::Int32 | Self::Float => Some(4),
            Self::Int64 | Self::Double | Self::Timestamptz => Some(8),
            _ => None,
        }
    }

    /// Whether only processes of format 2 and later know this type.
    #[must_use]
    pub const fn is_newer(self) -> bool {
        matches!(self, Self::Timestamptz | Self::Geometry | Self::Text | Self::ArrayOfVector(_))
    }

    /// Whether values of this type are texts.
    #[must_use]
    pub const fn is_text(self) -> bool {
        matches!(self, Self::VarChar | Self::Text)
    }

    /// Whether values of this type are whole numbers.
    #[must_use]
    pub const fn is_integer(self) -> bool {
        matches!(self, Self::Int8 | Self::Int16 | Self::Int32 | Self::Int64)
    }

    /// Whether values of this type are numbers.
    #[must_use]
    pub const fn is_number(self) -> bool {
        self.is_integer() || matches!(self, Self::Float | Self::Double)
    }
}

/// One field of a schema.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Field {
    /// Number of the field, stable for the life of the collection.
    pub id: FieldId,
    /// Name, unique in the schema.
    pub name: String,
    /// Free text of the user.
    pub description: String,
    /// Type of the values.
    pub data_type: DataType,
    /// Whether this is the primary key: `Int64` or `VarChar`, exactly one per schema.
    pub is_primary: bool,
    /// Whether the server makes the key.
    pub auto_id: bool,
    /// Whether this is the hidden field [`DYNAMIC_FIELD`].
    pub is_dynamic: bool,
    /// Whether rows may lack a value.
    pub nullable: bool,
    /// Taken where a row lacks a value.
    pub default: Option<Value>,
    /// Whether rows are spread over partitions by this field.
    pub is_partition_key: bool,
    /// Whether compaction may cluster rows by this field.
    pub is_clustering_key: bool,
    /// Type parameters exactly as the user gave them (`dim`, `max_length`, `mmap.enabled`, …).
    pub type_params: Vec<(String, String)>,
}

impl Field {
    /// The value of a type parameter.
    #[must_use]
    pub fn type_param(&self, key: &str) -> Option<&str> {
        self.type_params.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Components of each vector of a field; 0 for sparse vectors and other types.
    #[must_use]
    pub fn dim(&self) -> usize {
        if self.data_type.is_searched() {
            self.type_param("dim").and_then(|dim| dim.parse().ok()).unwrap_or(0)
        } else {
            0
        }
    }

    /// Longest text of a field of texts or element of one, in bytes. Of a `Text` field no parameter says it.
    #[must_use]
    pub fn max_length(&self) -> usize {
        if self.data_type == DataType::Text {
            return MAX_LONG_TEXT_BYTES;
        }
        self.type_param("max_length").and_then(|length| length.parse().ok()).unwrap_or(65_535)
    }

    /// Whether a type parameter says `true`.
    #[must_use]
    pub fn is_on(&self, key: &str) -> bool {
        self.type_param(key).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// Most elements of an array.
    #[must_use]
    pub fn max_capacity(&self) -> usize {
        self.type_param("max_capacity").and_then(|capacity| capacity.parse().ok()).unwrap_or(4096)
    }
}

/// What a function computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum FunctionKind {
    /// Of a text, how often it has each of its words: a sparse vector that searches by BM25 read.
    Bm25,
    /// Of a text, a signature: a binary vector that agrees with those of similar texts in many places.
    MinHash,
    /// Of a text, the vector that a model makes of it: a service outside is asked.
    TextEmbedding,
}

impl FunctionKind {
    /// What Milvus's users call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bm25 => "BM25",
            Self::MinHash => "MinHash",
            Self::TextEmbedding => "TextEmbedding",
        }
    }
}

/// What becomes of the field that a function fills when the function is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum FunctionOutput {
    /// It stays, with what is in it.
    Stays,
    /// It is dropped, too.
    Goes,
}

/// Fields that are computed from others whenever a row is written.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Function {
    /// Its number in the schema, from 1 on.
    pub id: i64,
    /// Name, unique in the schema.
    pub name: String,
    /// Free text of the user.
    pub description: String,
    /// What it computes.
    pub kind: FunctionKind,
    /// The field that it reads.
    pub input: FieldId,
    /// The field that it fills.
    pub output: FieldId,
    /// Parameters exactly as the user gave them.
    pub params: Vec<(String, String)>,
}

/// A field of arrays of structs. Each of its parts is a field of the schema, of arrays, called `struct[part]`; the arrays of
/// one row have one length.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct StructField {
    /// Number, of the same count as those of fields.
    pub id: FieldId,
    /// Name, unique among structs and fields.
    pub name: String,
    /// Free text of the user.
    pub description: String,
    /// Whether rows may lack the whole array; then they lack it in every part.
    pub nullable: bool,
    /// The parts, at least one, in the user's order.
    pub parts: Vec<FieldId>,
    /// Type parameters exactly as the user gave them.
    pub type_params: Vec<(String, String)>,
}

impl StructField {
    /// The name under which `part` is a field of the schema.
    #[must_use]
    pub fn name_of(&self, part: &str) -> String {
        part_name(&self.name, part)
    }

    /// The name of a part by itself, from the one that it has in the schema.
    #[must_use]
    pub fn bare<'a>(&self, name: &'a str) -> &'a str {
        let inner = name.strip_prefix(self.name.as_str()).and_then(|rest| rest.strip_prefix('['));
        inner.and_then(|rest| rest.strip_suffix(']')).unwrap_or(name)
    }
}

/// The name of the field of a schema that is a part of a struct.
#[must_use]
pub fn part_name(of: &str, part: &str) -> String {
    format!("{of}[{part}]")
}

/// The checked shape of a collection: ids are given, exactly one primary key. Parts of structs are last, `$meta` before them,
/// where there are such.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Schema {
    /// Free text of the user.
    pub description: String,
    /// Fields in the user's order, then [`DYNAMIC_FIELD`] if the schema is open, then the parts of structs.
    pub fields: Vec<Field>,
    /// Whether rows may carry keys that no field names.
    pub enable_dynamic_field: bool,
    /// What is computed, in the user's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub functions: Vec<Function>,
    /// Fields of arrays of structs, in the user's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub structs: Vec<StructField>,
    /// The greatest number of a field or struct that was dropped. No number up to it is given again, and what is stored under the number
    /// of a dropped field is nobody's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub youngest_dropped: Option<FieldId>,
}

impl Schema {
    /// The greatest number that a field or struct has or had; numbers are given one after the other.
    #[must_use]
    pub fn newest(&self) -> Option<FieldId> {
        let fields = self.fields.iter().map(|field| field.id);
        fields.chain(self.structs.iter().map(|one| one.id)).chain(self.youngest_dropped).max()
    }

    /// Whether `id` is the number of a field or struct that was there once and is not any more.
    #[must_use]
    pub fn is_dropped(&self, id: FieldId) -> bool {
        let is_there = || self.field_by_id(id).is_some() || self.structs.iter().any(|one| one.id == id);
        // Lower numbers are no fields of users.
        id >= FIRST_FIELD && Some(id) <= self.newest() && !is_there()
    }

    /// The field called `name`, the hidden one included.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The field numbered `id`.
    #[must_use]
    pub fn field_by_id(&self, id: FieldId) -> Option<&Field> {
        self.fields.iter().find(|field| field.id == id)
    }

    /// Position of the field numbered `id`, which is also its position in every [`crate::model::Batch`] of whole rows.
    #[must_use]
    pub fn position(&self, id: FieldId) -> Option<usize> {
        self.fields.iter().position(|field| field.id == id)
    }

    /// The primary key.
    ///
    /// # Panics
    /// Never for a checked schema: it has exactly one.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a checked schema has exactly one primary key")]
    pub fn primary(&self) -> &Field {
        self.fields.iter().find(|field| field.is_primary).expect("a checked schema has a primary key")
    }

    /// The field of the dynamic keys.
    #[must_use]
    pub fn dynamic(&self) -> Option<&Field> {
        self.fields.iter().find(|field| field.is_dynamic)
    }

    /// The field that spreads rows over partitions.
    #[must_use]
    pub fn partition_key(&self) -> Option<&Field> {
        self.fields.iter().find(|field| field.is_partition_key)
    }

    /// The function that fills a field.
    #[must_use]
    pub fn function_of(&self, output: FieldId) -> Option<&Function> {
        self.functions.iter().find(|function| function.output == output)
    }

    /// The functions whose output follows from what is stored: BM25 and MinHash. What rows lack of it can be computed at any time.
    pub fn recomputed(&self) -> impl Iterator<Item = &Function> {
        self.functions.iter().filter(|function| function.kind != FunctionKind::TextEmbedding)
    }

    /// The function that fills `output` with counts of words, which nobody reads.
    #[must_use]
    pub fn counts_of(&self, output: FieldId) -> Option<&Function> {
        self.function_of(output).filter(|function| function.kind == FunctionKind::Bm25)
    }

    /// The function that fills `output` with what a model says, which rows may bring themselves where their collection lets them.
    #[must_use]
    pub fn embedding_of(&self, output: FieldId) -> Option<&Function> {
        self.function_of(output).filter(|function| function.kind == FunctionKind::TextEmbedding)
    }

    /// The field of arrays of structs called `name`.
    #[must_use]
    pub fn struct_field(&self, name: &str) -> Option<&StructField> {
        self.structs.iter().find(|one| one.name == name)
    }

    /// The field of arrays of structs that `field` is a part of.
    #[must_use]
    pub fn struct_of(&self, field: FieldId) -> Option<&StructField> {
        self.structs.iter().find(|one| one.parts.contains(&field))
    }

    /// The parts of a struct, in its order.
    pub fn parts<'a>(&'a self, of: &'a StructField) -> impl Iterator<Item = &'a Field> {
        of.parts.iter().filter_map(|id| self.field_by_id(*id))
    }

    /// The fields that searches may be by, in schema order: vectors, and arrays of them.
    pub fn searched(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter().filter(|field| field.data_type.is_searched())
    }

    /// The vector fields, in schema order; no arrays of vectors.
    pub fn vectors(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter().filter(|field| field.data_type.is_vector())
    }
}

/// One partition of a collection.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Partition {
    /// Its id.
    pub id: PartitionId,
    /// Its name; the first one of a collection is `_default`.
    pub name: String,
    /// When it was made, Unix milliseconds.
    pub created_unix_ms: u64,
}

/// What Go's `strconv.ParseBool` takes.
#[must_use]
pub fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// A parameter of an index as text, whether it is said by itself or in the JSON object `params`.
#[must_use]
pub fn index_param(params: &[(String, String)], key: &str) -> Option<String> {
    if let Some((_, value)) = params.iter().find(|(known, _)| known == key) {
        return Some(value.clone());
    }
    params.iter().filter(|(known, _)| known == "params").find_map(|(_, text)| {
        let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).ok()?;
        object.get(key).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    })
}

/// What the user asked of an index.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct IndexDefinition {
    /// Its id.
    pub id: crate::base::IndexId,
    /// Its name; by default the field's, followed on a JSON field by the pointer of its path.
    pub name: String,
    /// The field it is on.
    pub field: FieldId,
    /// Index type as the user named it (`HNSW`, `AUTOINDEX`, …).
    pub index_type: String,
    /// Measure of nearness; `None` for scalar indexes.
    pub metric: Option<Metric>,
    /// The user's parameters, verbatim and in order: what `DescribeIndex` shows.
    pub params: Vec<(String, String)>,
}

impl IndexDefinition {
    /// The index that a user asks for on `field` by `params`. `name` may be empty. Only vectors have a metric, whatever
    /// the parameters say.
    #[must_use]
    pub fn wanted(
        id: crate::base::IndexId,
        name: &str,
        field: &Field,
        params: Vec<(String, String)>,
    ) -> Self {
        let mut index = Self {
            id,
            name: name.to_owned(),
            field: field.id,
            index_type: String::new(),
            metric: None,
            params,
        };
        index.index_type = index.param("index_type").unwrap_or_else(|| "AUTOINDEX".to_owned());
        if field.data_type.is_searched() {
            index.metric = index.param("metric_type").and_then(|name| Metric::from_name(&name));
        }
        if name.is_empty() {
            let pointer = index.json_target(field).map(|target| target.pointer);
            index.name = format!("{}{}", field.name, pointer.unwrap_or_default());
        }
        index
    }

    /// A parameter as text, whether the user gave it by itself or in the JSON object `params`.
    #[must_use]
    pub fn param(&self, key: &str) -> Option<String> {
        index_param(&self.params, key)
    }

    /// What an index on the JSON field `field` covers; `None` on a field of another type.
    #[must_use]
    pub fn json_target(&self, field: &Field) -> Option<JsonTarget> {
        if field.data_type != DataType::Json {
            return None;
        }
        let cast = self.param("json_cast_type").unwrap_or_default().to_ascii_uppercase();
        let path = self.param("json_path").filter(|text| !text.is_empty());
        let pointer = match path.and_then(|text| JsonPath::parse(&text)) {
            None => String::new(),
            Some(path) if path.base == field.name => path.pointer(),
            Some(path) => path.pointer_with_base(),
        };
        Some(JsonTarget { pointer, cast })
    }

    /// The name of the field as users know it: of an index in the dynamic field, the key that it is on.
    #[must_use]
    pub fn field_name(&self, schema: &Schema) -> Option<String> {
        let field = schema.field_by_id(self.field)?;
        let key = self.json_target(field).filter(|_| field.is_dynamic);
        Some(key.and_then(|target| first_key(&target.pointer)).unwrap_or_else(|| field.name.clone()))
    }
}
