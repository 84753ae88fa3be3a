//! What can go wrong in this room, in the words Milvus's clients know (wire-api, sections 2.9 and 2.13).

use crate::base::{Kind, Kinded};

/// Why an index could not be specified, built, searched or read.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// No such index type for float vectors.
    #[error("invalid parameter[expected=valid index][actual=invalid index type: {index_type}]")]
    UnknownType {
        /// The type that was asked for.
        index_type: String,
    },
    /// An index type of Milvus that this engine does not build yet.
    #[error("index type not supported: {index_type}")]
    UnsupportedType {
        /// The type that was asked for.
        index_type: String,
    },
    /// An index type was given without a metric.
    #[error("metric type not set for vector index")]
    MetricMissing,
    /// The metric is not one of float vectors.
    #[error("float vector index does not support metric type: {metric}")]
    UnknownMetric {
        /// The metric that was asked for.
        metric: String,
    },
    /// The metric is not one of binary vectors.
    #[error("binary vector index does not support metric type: {metric}")]
    BinaryMetric {
        /// The metric that was asked for.
        metric: String,
    },
    /// The metric is not one of sparse vectors.
    #[error("only IP&BM25 is the supported metric type for sparse index")]
    SparseMetric,
    /// An index type of vectors of another kind.
    #[error("data type {data_type} can't build with this index {index_type}")]
    TypeOfOthers {
        /// The type of the vectors.
        data_type: &'static str,
        /// The index type that was asked for.
        index_type: String,
    },
    /// No such way to search sparse vectors.
    #[error("sparse inverted index algo {name} not found or not supported")]
    UnknownAlgorithm {
        /// The way that was asked for.
        name: String,
    },
    /// A share that is not one.
    #[error("Out of range in json: param '{key}' ({value}) should be in range [0.000000, 1.000000)")]
    ShareOutOfRange {
        /// The parameter.
        key: &'static str,
        /// The value that was given.
        value: String,
    },
    /// A query of another kind than the rows.
    #[error("vector type must be the same, field - type {expected}, search info type {actual}")]
    WrongKind {
        /// The kind of the rows.
        expected: &'static str,
        /// The kind of the query.
        actual: &'static str,
    },
    /// A binary vector of another length than the block's.
    #[error("vector dimension mismatch, expected vector size(byte) {expected}, actual {actual}")]
    WrongBits {
        /// Bytes of each row.
        expected: usize,
        /// Bytes that were given.
        actual: usize,
    },
    /// `AUTOINDEX` chooses its parameters itself.
    #[error("only metric type can be passed when use AutoIndex")]
    AutoIndexParams,
    /// The parameter `params` is not a JSON object.
    #[error("invalid index params: {text}")]
    BadParams {
        /// The value that was given.
        text: String,
    },
    /// A build parameter that is no number.
    #[error("invalid integer value, key: '{key}', value: '{value}': invalid parameter")]
    NotInteger {
        /// The parameter.
        key: String,
        /// The value that was given.
        value: String,
    },
    /// A build parameter that is a number but no integer.
    #[error("wrong data type in json, key: '{key}', value: '{value}'")]
    WrongDataType {
        /// The parameter.
        key: String,
        /// The value that was given.
        value: String,
    },
    /// A parameter of a graph index outside its range.
    #[error("param '{key}' ({value}) should be in range [{low}, {high}]")]
    OutOfRange {
        /// The parameter.
        key: &'static str,
        /// The value that was given.
        value: String,
        /// The least value allowed.
        low: i64,
        /// The greatest value allowed.
        high: i64,
    },
    /// A parameter of an inverted-file index outside its range.
    #[error("Out of range in json: param '{key}' ({value}) should be in range [{low}, {high}]")]
    OutOfRangeInJson {
        /// The parameter.
        key: &'static str,
        /// The value that was given.
        value: String,
        /// The least value allowed.
        low: i64,
        /// The greatest value allowed.
        high: i64,
    },
    /// A build parameter that is neither true nor false.
    #[error("Type conflict in json: param '{key}' (\"{value}\") should be a boolean: invalid parameter")]
    NotBool {
        /// The parameter.
        key: &'static str,
        /// The value that was given.
        value: String,
    },
    /// No such codes for the rows of a graph.
    #[error("invalid scalar quantizer type")]
    UnknownQuantizer,
    /// No such rows to compare again.
    #[error("invalid refine type : {value}, optional types are [sq4u, sq6, sq8, fp16, bf16, fp32, flat]")]
    UnknownRefineType {
        /// The value that was given.
        value: String,
    },
    /// A search parameter that is no number.
    #[error("Type conflict in json: param '{key}' ({value}) should be a number")]
    NoNumberInJson {
        /// The parameter.
        key: &'static str,
        /// The value that was given.
        value: String,
    },
    /// A search parameter that is a text of no number.
    #[error("invalid float value, key: '{key}', value: '{value}'")]
    NoFloat {
        /// The parameter.
        key: &'static str,
        /// The value that was given.
        value: String,
    },
    /// A factor below the least one.
    #[error("Out of range in json: param '{key}' ({value}) should be in range [1, 3.4028235e+38]")]
    FactorTooSmall {
        /// The parameter.
        key: &'static str,
        /// The value that was given.
        value: String,
    },
    /// A number out of its range.
    #[error("Out of range in json: param '{key}' ({value}) should be in range [{least:.6}, {most:.6}]")]
    FloatOutOfRange {
        /// The parameter.
        key: &'static str,
        /// The value that was given.
        value: String,
        /// The least value.
        least: f32,
        /// The greatest value.
        most: f32,
    },
    /// Fewer rows to compare again than to answer with.
    #[error("reorder_k({reorder_k}) should be larger than k({k})")]
    ReorderBelowK {
        /// Rows to compare again.
        reorder_k: usize,
        /// Rows to answer with.
        k: usize,
    },
    /// A search parameter of the wrong JSON type.
    #[error("Type conflict in json: param '{key}' ({value}) should be integer")]
    TypeConflict {
        /// The parameter.
        key: &'static str,
        /// The value that was given, as JSON.
        value: String,
    },
    /// A bound of a range search that is no number.
    #[error("param '{key}' ({value}) is invalid: type must be number")]
    NotNumber {
        /// The parameter.
        key: &'static str,
        /// The value that was given, as JSON.
        value: String,
    },
    /// `search_list` must not be below the number of rows asked for.
    #[error("search_list_size({size}) should be larger than k({k})")]
    SearchListBelowK {
        /// The value of `search_list`.
        size: usize,
        /// How many rows were asked for.
        k: usize,
    },
    /// `ef` must not be below the number of rows asked for.
    #[error("ef({ef}) should be larger than k({k})")]
    EfBelowK {
        /// The value of `ef`.
        ef: usize,
        /// How many rows were asked for.
        k: usize,
    },
    /// `range_filter` was given alone.
    #[error("range_filter requires radius to be set")]
    RangeFilterAlone,
    /// The bounds of a distance range are the wrong way round.
    #[error("range_filter({range_filter}) must be less than radius({radius})")]
    RangeNotBelow {
        /// The nearer bound.
        range_filter: f32,
        /// The farther bound.
        radius: f32,
    },
    /// The bounds of a similarity range are the wrong way round.
    #[error("range_filter({range_filter}) must be greater than radius({radius})")]
    RangeNotAbove {
        /// The nearer bound.
        range_filter: f32,
        /// The farther bound.
        radius: f32,
    },
    /// A vector of another dimension than the block's.
    #[error("vector dimension mismatch, expected vector size(byte) {}, actual {}", expected * 4, actual * 4)]
    WrongDim {
        /// Components of each row.
        expected: usize,
        /// Components that were given.
        actual: usize,
    },
    /// Values that are not a whole number of rows.
    #[error("{bytes} bytes are not a whole number of vectors of {dim} dimensions")]
    RaggedBlock {
        /// How many bytes were given.
        bytes: usize,
        /// Components of each row.
        dim: usize,
    },
    /// More rows than row numbers.
    #[error("an index cannot hold {rows} rows")]
    TooManyRows {
        /// How many rows the block has.
        rows: usize,
    },
    /// The caller asked to stop.
    #[error("the index build was stopped")]
    Stopped,
    /// Stored bytes that are not an index of this block.
    #[error("the stored index is damaged or of another block: {what}")]
    Corrupt {
        /// What did not fit.
        what: &'static str,
    },
}

impl Kinded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::UnknownType { .. }
            | Self::UnsupportedType { .. }
            | Self::MetricMissing
            | Self::UnknownMetric { .. }
            | Self::AutoIndexParams
            | Self::BinaryMetric { .. }
            | Self::SparseMetric
            | Self::TypeOfOthers { .. }
            | Self::UnknownAlgorithm { .. }
            | Self::ShareOutOfRange { .. }
            | Self::WrongKind { .. }
            | Self::WrongBits { .. }
            | Self::BadParams { .. }
            | Self::NotInteger { .. }
            | Self::WrongDataType { .. }
            | Self::OutOfRange { .. }
            | Self::OutOfRangeInJson { .. }
            | Self::NotBool { .. }
            | Self::UnknownQuantizer
            | Self::UnknownRefineType { .. }
            | Self::NoNumberInJson { .. }
            | Self::NoFloat { .. }
            | Self::FactorTooSmall { .. }
            | Self::FloatOutOfRange { .. }
            | Self::ReorderBelowK { .. }
            | Self::TypeConflict { .. }
            | Self::NotNumber { .. }
            | Self::EfBelowK { .. }
            | Self::SearchListBelowK { .. }
            | Self::RangeFilterAlone
            | Self::RangeNotBelow { .. }
            | Self::RangeNotAbove { .. }
            | Self::WrongDim { .. } => Kind::Invalid,
            Self::TooManyRows { .. } => Kind::Exhausted,
            Self::Stopped => Kind::Unavailable,
            Self::RaggedBlock { .. } | Self::Corrupt { .. } => Kind::Corrupt,
        }
    }
}
