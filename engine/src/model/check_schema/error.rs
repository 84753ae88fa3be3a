//! Why a schema cannot be, in Milvus's words.

use super::{MAX_BITS, MAX_CAPACITY, MAX_DIM, MAX_FIELDS, MAX_TEXT_BYTES, MAX_VECTORS, MIN_BITS, MIN_DIM};
use crate::base::{Kind, Kinded};
use crate::calendar;
use crate::model::name::NameError;
use crate::shape;

/// Why a schema cannot be. `Display` is Milvus's text where Milvus has one.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SchemaError {
    /// A function without a name.
    #[error("function name cannot be empty")]
    FunctionWithoutName,
    /// Two functions of one name.
    #[error("duplicate function name {function}")]
    DuplicateFunction {
        /// Name of the function.
        function: String,
    },
    /// Milvus has such functions, this version does not.
    #[error("functions of type {kind} are not built yet, only BM25, TextEmbedding and MinHash are")]
    FunctionNotBuilt {
        /// Milvus's name of the type.
        kind: &'static str,
    },
    /// The number names no type of functions.
    #[error("check function params with unknown function type")]
    UnknownFunction,
    /// A function reads a field that is not there.
    #[error("function input field not found: {field}")]
    FunctionInput {
        /// Name of the field.
        field: String,
    },
    /// A function fills a field that is not there.
    #[error("function output field not found: {field}")]
    FunctionOutput {
        /// Name of the field.
        field: String,
    },
    /// Two functions fill one field.
    #[error("duplicate function output field {field}")]
    SharedOutput {
        /// Name of the field.
        field: String,
    },
    /// BM25 reads one field.
    #[error("BM25 function should have exactly one input field, but got {count}")]
    Bm25Inputs {
        /// How many were given.
        count: usize,
    },
    /// BM25 fills one field.
    #[error("BM25 function should have exactly one output field, but got {count}")]
    Bm25Outputs {
        /// How many were given.
        count: usize,
    },
    /// BM25 reads texts.
    #[error("BM25 function input field must be a VARCHAR/TEXT field, got {data_type} field")]
    Bm25InputType {
        /// Type of the field.
        data_type: &'static str,
    },
    /// BM25 reads words.
    #[error("BM25 function input field must set enable_analyzer to true")]
    Bm25WithoutAnalyzer,
    /// BM25 fills sparse vectors.
    #[error("BM25 function output field must be a SparseFloatVector field, but got {data_type}")]
    Bm25OutputType {
        /// Type of the field.
        data_type: &'static str,
    },
    /// BM25 takes no parameter; those of its scores are the index's.
    #[error("BM25 function accepts no params")]
    Bm25Params,
    /// A function that asks a model reads or fills what it cannot.
    #[error("TextEmbedding function {why}: invalid parameter")]
    Embedding {
        /// What is wrong.
        why: String,
    },
    /// A function of signatures is asked for with what it does not take.
    #[error("MinHash function: {why}: invalid parameter")]
    MinHashParam {
        /// What is wrong.
        why: String,
    },
    /// Signatures are as long as the field that they fill.
    #[error(
        "MinHash function: output field dim {dim} does not match expected dim {expected}: invalid parameter"
    )]
    MinHashDim {
        /// Bits of the field.
        dim: usize,
        /// Bits of a signature.
        expected: usize,
    },
    /// What is computed is always there.
    #[error("function output field cannot be nullable: function {function}, field {field}")]
    OutputNullable {
        /// Name of the function.
        function: String,
        /// Name of the field.
        field: String,
    },
    /// Only texts are analysed.
    #[error("{key} is only supported on VarChar fields, field type is not supported, field name = {field}")]
    AnalyzerOfOthers {
        /// The parameter.
        key: &'static str,
        /// Name of the field.
        field: String,
    },
    /// A parameter that is neither true nor false.
    #[error("the value of {key} of field {field} must be true or false")]
    NoBoolean {
        /// The parameter.
        key: &'static str,
        /// Name of the field.
        field: String,
    },
    /// Words cannot be matched without being told apart.
    #[error("field {field} which has enable_match or is input of BM25 function must also enable_analyzer")]
    MatchWithoutAnalyzer {
        /// Name of the field.
        field: String,
    },
    /// Which analyzer matches words must not depend on the row.
    #[error("multi analyzer now only support for bm25, but now field {field} enable match")]
    MatchByLanguage {
        /// Name of the field.
        field: String,
    },
    /// One analyzer and several.
    #[error("field {field} has both analyzer_params and multi_analyzer_params")]
    TwoAnalyzers {
        /// Name of the field.
        field: String,
    },
    /// More than [`MAX_FIELDS`].
    #[error("maximum field's number should be limited to {MAX_FIELDS}")]
    TooManyFields,
    /// More than [`MAX_VECTORS`].
    #[error("maximum vector field's number should be limited to {MAX_VECTORS}")]
    TooManyVectors,
    /// Nothing to search.
    #[error("schema does not contain vector field: invalid parameter")]
    NoVector,
    /// The collection or a field has a bad name.
    #[error("{0}")]
    Name(NameError),
    /// A field has a name of the system.
    #[error(
        "Invalid field name: {field}. The name is reserved for the system.: field name invalid[field={field}]"
    )]
    Reserved {
        /// Name of the field.
        field: String,
    },
    /// No primary key.
    #[error("primary key is not specified")]
    NoPrimary,
    /// More than one primary key.
    #[error("there are more than one primary key, field name = {first}, {second}")]
    ManyPrimaries {
        /// The first one's name.
        first: String,
        /// The second one's name.
        second: String,
    },
    /// The primary key has another type.
    #[error("the data type of primary key should be Int64 or VarChar")]
    PrimaryType,
    /// The primary key may lack a value.
    #[error("primary field not support null")]
    PrimaryNull,
    /// The primary key has a default value.
    #[error("primary field not support default_value")]
    PrimaryDefault,
    /// A field claims to be the hidden one.
    #[error("cannot explicitly set a field as a dynamic field")]
    DynamicField,
    /// Another field than the primary key is made by the server.
    #[error("only primary field can speficy AutoID with true, field name = {field}")]
    AutoId {
        /// Name of the field.
        field: String,
    },
    /// The number names no type.
    #[error("data type {number} is not valid")]
    UnknownType {
        /// The number, `None` for zero as in Milvus.
        number: String,
    },
    /// The old text type.
    #[error("string data type not supported yet, please use VarChar type instead")]
    StringType,
    /// Milvus has the type, this version does not.
    #[error("data type {name} is not supported")]
    UnsupportedType {
        /// Milvus's name of the type.
        name: &'static str,
    },
    /// The number names no type of elements.
    #[error("element data type {number} is not valid")]
    UnknownElement {
        /// The number, `None` for zero as in Milvus.
        number: String,
    },
    /// No arrays are of this type.
    #[error("element type {name} is not supported")]
    ElementType {
        /// Milvus's name of the type.
        name: String,
    },
    /// Arrays of vectors by themselves.
    #[error("array of vector can only be in the struct array field: invalid parameter")]
    VectorsOutsideStruct,
    /// A struct of nothing.
    #[error("struct array field {field} has no sub-field: invalid parameter")]
    StructWithoutParts {
        /// Name of the struct.
        field: String,
    },
    /// A part of a struct that cannot be what it claims to be.
    #[error(
        "{what} is not supported for struct field, structName={of}, subFieldName={part}: invalid parameter"
    )]
    StructPart {
        /// What it claims to be.
        what: &'static str,
        /// Name of the struct.
        of: String,
        /// Name of the part.
        part: String,
    },
    /// A part of a struct that may be missing by itself.
    #[error(
        "sub-field in non-nullable struct cannot be nullable individually, set nullable on the struct instead: structName={of}, subFieldName={part}: invalid parameter"
    )]
    StructPartNull {
        /// Name of the struct.
        of: String,
        /// Name of the part.
        part: String,
    },
    /// A part of a struct that is no array.
    #[error("fields in a struct array field can only be arrays or arrays of vectors, but {part} is neither")]
    StructPartType {
        /// Name of the part.
        part: String,
    },
    /// Vectors that have no one length.
    #[error(
        "unsupported element type {found} of array field {part}, only fixed dimension vector types are supported"
    )]
    StructVector {
        /// Name of the part.
        part: String,
        /// Milvus's name of the type.
        found: &'static str,
    },
    /// Parts of one struct with different bounds.
    #[error(
        "all sub-fields in struct array field must have the same max_capacity, but {part} of {field} has {capacity} and not {expected}: invalid parameter"
    )]
    StructCapacity {
        /// Name of the struct.
        field: String,
        /// Name of the part.
        part: String,
        /// Its bound.
        capacity: usize,
        /// The bound of the first part.
        expected: usize,
    },
    /// An array field without a bound.
    #[error(
        "type param(max_capacity) should be specified for array field {field} of collection {collection}"
    )]
    NoMaxCapacity {
        /// Name of the field.
        field: String,
        /// Name of the collection.
        collection: String,
    },
    /// A bound of an array that is no number.
    #[error("the value for max_capacity of field {field} must be an integer")]
    CapacityNumber {
        /// Name of the field.
        field: String,
    },
    /// A bound of an array out of range.
    #[error("the maximum capacity specified for a Array should be in (0, {MAX_CAPACITY}]")]
    MaxCapacity,
    /// A vector field without dimension.
    #[error(
        "dimension is not defined in field type params of field {field}, check type param `dim` for vector field"
    )]
    NoDim {
        /// Name of the field.
        field: String,
    },
    /// A type parameter that is no number.
    #[error("strconv.ParseInt: parsing \"{value}\": invalid syntax")]
    Number {
        /// What is there.
        value: String,
    },
    /// A dimension that no vector can have; Milvus says so before it looks at the field's type.
    #[error("invalid dimension: {dim}. should be in range {MIN_DIM} ~ {MAX_DIM}")]
    DimTooSmall {
        /// The dimension.
        dim: i64,
    },
    /// A dimension out of range.
    #[error(
        "invalid dimension: {dim} of field {field}. float vector dimension should be in range {MIN_DIM} ~ {MAX_DIM}"
    )]
    Dim {
        /// The dimension.
        dim: i64,
        /// Name of the field.
        field: String,
    },
    /// A number of bits out of range.
    #[error(
        "invalid dimension: {dim} of field {field}. binary vector dimension should be in range {MIN_BITS} ~ {MAX_BITS}"
    )]
    Bits {
        /// The dimension.
        dim: i64,
        /// Name of the field.
        field: String,
    },
    /// A number of bits that fills no bytes.
    #[error("invalid dimension: {dim} of field {field}. binary vector dimension should be multiple of 8.")]
    BitsOfBytes {
        /// The dimension.
        dim: i64,
        /// Name of the field.
        field: String,
    },
    /// A dimension of sparse vectors.
    #[error("dim should not be specified for sparse vector field {field}({id})")]
    SparseDim {
        /// Name of the field.
        field: String,
        /// Its number.
        id: i64,
    },
    /// A text field without longest length.
    #[error("type param(max_length) should be specified for the field({field}) of collection {collection}")]
    NoMaxLength {
        /// Name of the field.
        field: String,
        /// Name of the collection.
        collection: String,
    },
    /// A longest length out of range.
    #[error(
        "the maximum length specified for the field({field}) should be in (0, {MAX_TEXT_BYTES}], but got {length} instead: invalid parameter"
    )]
    MaxLength {
        /// Name of the field.
        field: String,
        /// The length.
        length: i64,
    },
    /// A default value on a type that takes none.
    #[error("type not support default_value, type:{data_type}, name:{field}")]
    DefaultUnsupported {
        /// Name of the type.
        data_type: &'static str,
        /// Name of the field.
        field: String,
    },
    /// A default value of another type.
    #[error("type ({data_type}) of field ({field}) is not equal to the type({found}) of default_value")]
    DefaultType {
        /// Name of the field's type.
        data_type: &'static str,
        /// Name of the field.
        field: String,
        /// Name of the value's type.
        found: &'static str,
    },
    /// A default that says no instant.
    #[error("invalid default value of timestamptz field {field}: {source}: invalid parameter")]
    DefaultTime {
        /// Name of the field.
        field: String,
        /// Why it says none.
        source: calendar::Error,
    },
    /// A default that is no shape.
    #[error("invalid default value of geometry field {field}: {source}: invalid parameter")]
    DefaultShape {
        /// Name of the field.
        field: String,
        /// Why it is none.
        source: shape::Error,
    },
    /// A default shape of too many points: each row that lacks the field gets it.
    #[error(
        "invalid default value of geometry field {field}: it takes more than {limit} bytes: invalid parameter"
    )]
    DefaultSize {
        /// Name of the field.
        field: String,
        /// The most. Unit: bytes of WKB.
        limit: usize,
    },
    /// A default text longer than the field takes.
    #[error(
        "the length ({length}) of string exceeds max length ({limit}): invalid parameter[expected=valid length string][actual=string length exceeds max length]"
    )]
    DefaultLength {
        /// Bytes of the text.
        length: usize,
        /// Bytes that the field takes.
        limit: usize,
    },
    /// A default number outside the field's type.
    #[error("the default value ({value}) of field ({field}) is out of range")]
    DefaultRange {
        /// The number.
        value: String,
        /// Name of the field.
        field: String,
    },
    /// More than one partition key.
    #[error("there are more than one partition key, field name = {first}, {second}")]
    ManyPartitionKeys {
        /// The first one's name.
        first: String,
        /// The second one's name.
        second: String,
    },
    /// The partition key has another type.
    #[error("the data type of partition key should be Int64 or VarChar")]
    PartitionKeyType,
    /// The partition key is the primary key.
    #[error("the partition key field must not be primary field")]
    PartitionKeyPrimary,
    /// The partition key may lack a value.
    #[error("partition key field not support nullable: invalid parameter")]
    PartitionKeyNull,
    /// More than one clustering key.
    #[error("there are more than one clustering key, field name = {first}, {second}")]
    ManyClusteringKeys {
        /// The first one's name.
        first: String,
        /// The second one's name.
        second: String,
    },
    /// The clustering key is a vector.
    #[error("vector clustering key not allowed[field={field}]")]
    VectorClusteringKey {
        /// Name of the field.
        field: String,
    },
    /// A second clustering key is to be added.
    #[error("already has another clustering key field, field name: {field}")]
    OtherClusteringKey {
        /// The first one's name.
        field: String,
    },
    /// A field that is to be added would be one more than [`MAX_FIELDS`].
    #[error("The number of fields has reached the maximum value {MAX_FIELDS}")]
    AddedTooMany,
    /// A primary key is to be added.
    #[error("not support to add pk field, field name = {field}")]
    AddedPrimary {
        /// Name of the field.
        field: String,
    },
    /// A partition key is to be added.
    #[error("not support to add partition key field, field name  = {field}")]
    AddedPartitionKey {
        /// Name of the field.
        field: String,
    },
    /// A vector field is to be added that takes no null.
    #[error("not support to add vector field, field name = {field}, added field must be nullable")]
    AddedVector {
        /// Name of the field.
        field: String,
    },
    /// A field is to be added that takes no null.
    #[error("added field must be nullable, please check it, field name = {field}")]
    AddedNotNull {
        /// Name of the field.
        field: String,
    },
    /// A field is to be added that the function does not fill.
    #[error("function {function} does not fill field {field} that is to be added with it: invalid parameter")]
    AddedOutput {
        /// Name of the function.
        function: String,
        /// Name of the field.
        field: String,
    },
    /// A field is to be added that a model fills: it would have to be asked about every row that is there.
    #[error(
        "function {function} of type TextEmbedding cannot be added with its output field, since no model is asked about rows that are there: make the collection with it: invalid parameter"
    )]
    AddedEmbedding {
        /// Name of the function.
        function: String,
    },
    /// A function is to be added to a field that holds what users wrote.
    #[error(
        "function {function} of type {kind} can only be added together with its output field: invalid parameter"
    )]
    AddedWithoutOutput {
        /// Name of the function.
        function: String,
        /// Milvus's name of the type.
        kind: &'static str,
    },
    /// No function of the name.
    #[error("function not found: {function}: invalid parameter")]
    FunctionNotFound {
        /// The name.
        function: String,
    },
    /// A function is to have another name.
    #[error("function name cannot be altered from {function} to {other}: invalid parameter")]
    RenamedFunction {
        /// Its name.
        function: String,
        /// The other one.
        other: String,
    },
    /// A function is to be altered whose results are stored.
    #[error(
        "only functions of type TextEmbedding can be altered, function {function} is of type {kind}: invalid parameter"
    )]
    AlteredFunction {
        /// Name of the function.
        function: String,
        /// Milvus's name of the type.
        kind: &'static str,
    },
    /// A function is to be dropped without the field that means nothing without it.
    #[error(
        "function {function} of type {kind} can only be dropped together with its output field: invalid parameter"
    )]
    DroppedWithoutOutput {
        /// Name of the function.
        function: String,
        /// Milvus's name of the type.
        kind: &'static str,
    },
    /// No field to drop.
    #[error("field not found[field={field}]")]
    DroppedNotFound {
        /// Its name or number.
        field: String,
    },
    /// A field is to be dropped without which no row can be.
    #[error("cannot drop {what} field: {field}: invalid parameter")]
    DroppedKey {
        /// What it is.
        what: &'static str,
        /// Name of the field.
        field: String,
    },
    /// A part of a struct is to be dropped by itself.
    #[error("cannot drop sub-field {field} of struct field {of}, drop the struct field: invalid parameter")]
    DroppedPart {
        /// Name of the part.
        field: String,
        /// Name of the struct.
        of: String,
    },
    /// What a function reads or fills is to be dropped.
    #[error("cannot drop field {field}: it is the {end} of function {function}: invalid parameter")]
    DroppedOfFunction {
        /// Name of the field.
        field: String,
        /// Whether the function reads or fills it.
        end: &'static str,
        /// Name of the function.
        function: String,
    },
    /// What says which analyzer a text is for is to be dropped.
    #[error("cannot drop field {field}: it chooses the analyzer of field {of}: invalid parameter")]
    DroppedChooser {
        /// Name of the field.
        field: String,
        /// Name of the field with the texts.
        of: String,
    },
    /// Nothing to search would be left.
    #[error("cannot drop the last vector field: {field}: invalid parameter")]
    DroppedLastVector {
        /// Name of the field.
        field: String,
    },
    /// Two fields of one name.
    #[error("duplicated field name {field}")]
    Duplicate {
        /// The name.
        field: String,
    },
    /// A setting of warm-up that means nothing.
    #[error("invalid warmup policy: {value}, must be one of sync, async and disable: invalid parameter")]
    Warmup {
        /// What is there.
        value: String,
    },
    /// A setting of memory mapping that is no truth value.
    #[error("invalid mmap.enabled value: {value}, expected: true, false")]
    Mmap {
        /// What is there.
        value: String,
    },
}

impl SchemaError {
    /// The code under which Milvus reports it.
    #[must_use]
    pub const fn milvus_code(&self) -> i32 {
        match self {
            Self::Name(error) => error.milvus_code(),
            Self::Reserved { .. } => 1701,
            Self::VectorClusteringKey { .. } => 107,
            Self::DroppedNotFound { .. } => 1700,
            Self::StructVector { .. } => 65_535,
            _ => 1100,
        }
    }
}

impl Kinded for SchemaError {
    fn kind(&self) -> Kind {
        Kind::Invalid
    }
}
