//! What the proxy refuses by itself, with Milvus's words and codes.

use super::access::Refused;
use crate::base::{Kind, Kinded};
use crate::inference;
use crate::intake;
use crate::rpc;

/// Why a request failed. `Display` is the text on the wire, [`Error::code`] the number; both are Milvus 3.0's.
///
/// Source: wire specification, codes (1.2), texts of each call (1.3) and rules (2.2 to 2.20).
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say what each variant is; the fields are what they name")]
pub enum Error {
    /// A peer duty said no or could not do it.
    #[error("{0}")]
    Peer(rpc::Error),
    /// A failure inside a step that Milvus names in front of the cause.
    #[error("{step}: {cause}")]
    Step { step: &'static str, cause: Box<Error> },
    /// A flush of several collections that flushed all but some, with why the first of these was not.
    #[error("{refused} of {all} collections are not flushed ({named}), all others are: {cause}")]
    NotFlushed { refused: usize, all: usize, named: String, cause: Box<Error> },
    /// The server cannot listen any more.
    #[error("cannot accept connections")]
    Accept(#[source] std::io::Error),
    /// A task of the server ended by a defect.
    #[error("cannot go on serving connections")]
    Serve(#[source] crate::base::TaskError),

    /// For now; the same may be asked a little later.
    #[error("rate limit exceeded[rate={rate}]")]
    RateExceeded { rate: f64 },

    // Names and schemas: the words come from the checks of the data model.
    #[error("{text}")]
    Checked { code: i32, text: String },
    #[error("can't find collection[database={database}][collection={collection}]")]
    DescribeNotFound { database: String, collection: String },
    #[error("fail to unmarshal collection schema: {reason}: invalid parameter")]
    SchemaBytes { reason: String },
    #[error("maximum shards's number should be limited to 16")]
    TooManyShards,
    #[error("num_partitions should only be specified with partition key field enabled")]
    PartitionsWithoutKey,
    #[error("partition number ({count}) exceeds max configuration (1024)")]
    TooManyKeyPartitions { count: i64 },
    #[error("The specified num_partitions should be greater than or equal to 1: invalid parameter")]
    NoKeyPartitions,
    #[error(
        "partition key isolation mode is enabled but no partition key field is set. Please set the partition key first"
    )]
    IsolationWithoutKey,
    #[error("collection TTL is out of range, expect [-1, 3155760000], got {ttl}: invalid parameter")]
    TtlRange { ttl: i64 },
    #[error("collection ttl property value not valid, parse error: {reason}: invalid parameter")]
    TtlNumber { reason: String },
    #[error("invalid mmap.enabled value: {value}, expected: true, false: invalid parameter")]
    MmapValue { value: String },
    #[error(
        "warmup is a setting of fields and indexes, a collection has warmup.scalarField, warmup.scalarIndex, warmup.vectorField and warmup.vectorIndex: invalid parameter"
    )]
    FieldWarmup,
    #[error("invalid query_mode value \"{value}\", valid values: [large_topk]: invalid parameter")]
    QueryMode { value: String },
    #[error("invalid property key \"{key}\", did you mean \"query_mode\"?: invalid parameter")]
    QueryModeKey { key: String },
    #[error(
        "can not alter query_mode if the collection already has a vector index. Please drop the index first"
    )]
    AlterQueryMode,
    #[error("no properties or delete keys provided: invalid parameter")]
    NothingToAlter,
    #[error("can not provide properties and deletekeys at the same time: invalid parameter")]
    AlterBoth,
    #[error(
        "can not {verb} {what} properties if collection loaded: collection already loaded[collection={collection}]"
    )]
    AlterHeldLoaded { verb: &'static str, what: &'static str, collection: String },
    #[error("cannot delete key dynamicfield.enabled: invalid parameter")]
    DeleteDynamic,
    #[error("dynamicfield.enabled cannot be altered yet: invalid parameter")]
    AlterDynamic,
    #[error(
        "can not alter collection field properties if collection loaded: collection already loaded[collection={collection}]"
    )]
    AlterFieldLoaded { collection: String },
    #[error("can not alter warmup if collection loaded: collection already loaded[collection={collection}]")]
    AlterWarmupLoaded { collection: String },
    #[error("field {field} does not exist in collection {collection}: invalid parameter")]
    AlteredField { field: String, collection: String },
    #[error("can not modify the maxlength for non-string types: invalid parameter")]
    MaxLengthOfOther,
    #[error("{key} does not allow update in collection field param: invalid parameter")]
    FixedFieldParam { key: String },
    #[error(
        "the maximum length specified for the field({field}) should be in (0, 65535], but got {value} instead: invalid parameter"
    )]
    MaxLengthRange { field: String, value: String },

    // Databases.
    #[error(
        "alter database with empty properties and delete keys, expected to set either properties or delete keys: invalid parameter"
    )]
    AlterDatabaseEmpty,

    // Partitions.
    #[error("disable {verb} partition if partition key mode is used")]
    PartitionKeyMode { verb: &'static str },
    #[error("not support manually specifying the partition names if partition key mode is used")]
    PartitionNamesWithKey,
    #[error(
        "due to no partition specified: invalid parameter[expected=any partition][actual=empty partition list]"
    )]
    EmptyPartitionList,
    #[error("partition name {partition} not found")]
    PartitionNameNotFound { partition: String },

    // Compaction.
    #[error(
        "targetSize ({asked} MB) must not be less than the greatest size of a segment ({least} MB): invalid parameter"
    )]
    TargetSize { asked: i64, least: i64 },

    // Indexes.
    #[error("{text}")]
    Index { code: i32, text: String },
    #[error("index type {index_type} is not supported yet: index type not supported[indexType={index_type}]")]
    IndexNotBuilt { index_type: String },
    #[error("{key} is not a configable index property: invalid parameter")]
    FixedIndexParam { key: String },
    #[error(
        "can't alter index on loaded collection, please release the collection first: collection already loaded[collection={collection}]"
    )]
    AlterIndexLoaded { collection: String },

    // Rows: the words come from where they are taken in.
    #[error("{0}")]
    Intake(intake::Error),
    /// A model does not answer, or is not asked.
    #[error("{0}")]
    Model(inference::Error),
    #[error("collection schema mismatch[collection={collection}]")]
    SchemaMismatch { collection: String },
    #[error("duplicate primary keys are not allowed in the same batch: invalid parameter")]
    DuplicateKeys,
    #[error("partial update op {op} on field {field} is not supported yet: invalid parameter")]
    FieldOpNotBuilt { op: &'static str, field: String },
    #[error("op {op} requires Array field, but field \"{field}\" is {data_type}: invalid parameter")]
    FieldOpType { op: &'static str, field: String, data_type: &'static str },
    #[error("field \"{field}\" is the primary key and cannot carry a partial-update op: invalid parameter")]
    FieldOpKey { field: String },
    #[error("array length {length} exceeds max_capacity {limit} of field \"{field}\": invalid parameter")]
    FieldOpCapacity { field: String, length: usize, limit: usize },
    #[error("partial-update op targets field \"{field}\" not present in fields_data: invalid parameter")]
    FieldOpTarget { field: String },

    #[error(
        "failed to create query plan: expression template variable value is nil, template name: {{{name}}}: invalid parameter"
    )]
    TemplateMissing { name: String },

    // Deletes.
    #[error("delete plan can't be empty or always true : {expr}: invalid parameter")]
    DeleteEverything { expr: String },
    #[error("failed to create delete plan: {text}: query plan failed: invalid parameter")]
    DeletePlan { text: String },

    // Reads.
    #[error("failed to create query plan: {text}: query plan failed: invalid parameter")]
    QueryPlan { text: String },
    #[error(
        "nq [{nq}] is invalid, nq (number of search vector per search request) should be in range [1, 16384], but got {nq}: invalid parameter"
    )]
    QueryCount { nq: i64 },
    #[error(
        "{name} [{value}] is invalid, it should be in range [1, {most}], but got {value}: invalid parameter"
    )]
    Window { name: &'static str, value: i64, most: i64 },
    #[error("{queries} queries of {count} hits each are more than {limit} hits: invalid parameter")]
    TooManyHits { queries: usize, count: usize, limit: usize },
    #[error("{name} not found in search_params: invalid parameter")]
    NoTopk { name: &'static str },
    #[error("{name} [{value}] is invalid: invalid parameter")]
    NotNumber { name: &'static str, value: String },
    #[error(
        "parse ignore growing field failed, err:strconv.ParseBool: parsing \"{value}\": invalid syntax: invalid parameter"
    )]
    IgnoreGrowing { value: String },
    #[error(
        "round_decimal [{value}] is invalid, it should be -1 or an integer in range [0, 6]: invalid parameter"
    )]
    RoundDecimal { value: String },
    #[error("multiple anns_fields exist, please specify a anns_field in search_params: invalid parameter")]
    ManyVectorFields,
    #[error("failed to get field schema by name: fieldName({field}) not found: invalid parameter")]
    SearchField { field: String },
    #[error("field ({field}) to search is not of vector data type: invalid parameter")]
    SearchScalar { field: String },
    #[error("metric type not match: invalid parameter[expected={expected}][actual={actual}]")]
    MetricMismatch { expected: String, actual: String },
    #[error("metric type not found: invalid parameter")]
    NoMetric,
    #[error("vector dimension mismatch, expected vector size(byte) {expected}, actual {actual}.")]
    QuerySize { expected: usize, actual: usize },
    #[error(
        "vector type must be the same: field type {field_type}, search type {search_type}: invalid parameter"
    )]
    QueryType { field_type: &'static str, search_type: String },
    #[error("value 'NaN' is not a number or infinity: invalid parameter")]
    QueryNotFinite,
    #[error("failed to decode the placeholder group: {reason}: invalid parameter")]
    PlaceholderBytes { reason: String },
    #[error("nq ({nq}) does not equal the number of placeholder values ({values}): invalid parameter")]
    QueryCountDiffers { nq: i64, values: usize },
    #[error("please provide a vector or ids to search: invalid parameter")]
    NoSearchInput,
    #[error("{text}: invalid parameter")]
    SearchIds { text: String },
    #[error("json format error in search params: {reason}: invalid parameter")]
    SearchParamsJson { reason: String },
    #[error("{name} type must be number: invalid parameter")]
    RangeNotNumber { name: &'static str },
    #[error("range_filter requires radius to be set: invalid parameter")]
    RangeWithoutRadius,
    #[error("metric type {metric}, range_filter({range_filter}) must be {relation} than radius({radius})")]
    RangeOrder { metric: &'static str, range_filter: f32, relation: &'static str, radius: f32 },
    #[error("hints: {hint} not supported: invalid parameter")]
    Hint { hint: String },
    #[error("{what} is not supported yet: invalid parameter")]
    ReadNotBuilt { what: &'static str },
    #[error("Not allowed to do groupBy when doing iteration: invalid parameter")]
    GroupByIteration,
    #[error("Not allowed to do range-search when doing search-group-by: invalid parameter")]
    GroupByRange,
    #[error("not support search_group_by operation based on binary vector: invalid parameter")]
    GroupBits,
    #[error("groupBy field not found in schema: field not found[field={field}]")]
    GroupField { field: String },
    #[error("unsupported data type {data_type} for group by operator")]
    GroupType { data_type: &'static str },
    #[error("input group size:{size} is negative, failed to do search_groupby: invalid parameter")]
    GroupSizeNegative { size: i64 },
    #[error("input group size:{size} exceeds configured max group size:{limit}: invalid parameter")]
    GroupSizeLarge { size: i64, limit: i64 },
    #[error("failed to parse strict_group_size, value: {value}: invalid parameter")]
    StrictGroupSize { value: String },
    #[error("order_by field '{field}' does not exist in collection schema: invalid parameter")]
    OrderField { field: String },
    #[error(
        "order_by field '{field}' has unsortable type {data_type}; supported types: bool, int8/16/32/64, float, double, string, varchar; for JSON fields use path syntax like field[\"key\"]: invalid parameter"
    )]
    OrderType { field: String, data_type: &'static str },
    #[error("order_by field '{field}' has type {data_type} which is not sortable: invalid parameter")]
    QueryOrderType { field: String, data_type: &'static str },
    #[error(
        "invalid order direction '{direction}' for field '{field}', expected 'asc' or 'desc': invalid parameter"
    )]
    OrderDirection { field: String, direction: String },
    #[error("order_by is not supported when using search iterator: invalid parameter")]
    OrderSearchIterator,
    #[error("offset is not supported when using search iterator: invalid parameter")]
    IteratorOffset,
    #[error("nq must be 1 when using search iterator, but got {nq}: invalid parameter")]
    IteratorQueries { nq: usize },
    #[error("rerank is not supported when using search iterator: invalid parameter")]
    IteratorRanker,
    #[error("ORDER BY with iterator is not supported: invalid parameter")]
    OrderIterator,
    #[error("ORDER BY requires explicit limit: invalid parameter")]
    OrderWithoutLimit,
    #[error("{text}: invalid parameter")]
    Aggregation { text: String },
    #[error("{op}(*) is not supported, only count(*) is allowed: invalid parameter")]
    AggregateRows { op: &'static str },
    #[error("aggregation operator {op} does not support data type {data_type}: invalid parameter")]
    AggregateType { op: &'static str, data_type: &'static str },
    #[error("group by field {field} has unsupported data type {data_type}: invalid parameter")]
    GroupByType { field: String, data_type: &'static str },
    #[error(
        "output field '{field}' is not allowed, only fields of GROUP BY and aggregates are: invalid parameter"
    )]
    NotGrouped { field: String },
    #[error("ORDER BY can only reference GROUP BY columns: invalid parameter")]
    OrderNotGrouped,
    #[error("signatures of MinHash do not support range search: invalid parameter")]
    SignatureRange,
    #[error("Search highlight only support with metric type \"BM25\" but was: {metric}: invalid parameter")]
    HighlightMetric { metric: String },
    #[error("invalid {name}: {value}: invalid parameter")]
    HighlightParam { name: &'static str, value: String },
    #[error("{name} cannot be empty list: invalid parameter")]
    HighlightNoTags { name: &'static str },
    #[error("{name} is not {wanted} in JSON: invalid parameter")]
    HighlightJson { name: &'static str, wanted: &'static str },
    #[error("unsupported highlight query type {name}, only TextMatch is: invalid parameter")]
    HighlightQueryType { name: String },
    #[error("highlight query field {field} not found in schema: field not found[field={field}]")]
    HighlightField { field: String },
    #[error("{name} of a highlighter has more than {limit} {unit}: invalid parameter")]
    HighlightLong { name: &'static str, limit: usize, unit: &'static str },
    #[error("{what} to highlight have more than {limit} bytes, ask for fewer hits: invalid parameter")]
    HighlightHits { what: &'static str, limit: usize },

    // Rankers.
    #[error("hybrid search without a search request: invalid parameter")]
    NoRequests,
    #[error("maximum of ann search requests is {limit}: invalid parameter")]
    TooManyRequests { limit: usize },
    #[error(
        "nq of the searches of a hybrid search differ: invalid parameter[expected={expected}][actual={actual}]"
    )]
    RequestCountsDiffer { expected: usize, actual: usize },
    #[error("hybrid search does not support iterators: invalid parameter")]
    HybridIterator,
    #[error("limit not found in rank_params: invalid parameter")]
    NoRankLimit,
    #[error("unsupported rank type {strategy}: invalid parameter")]
    RankStrategy { strategy: String },
    #[error("json format error in rank params: {reason}: invalid parameter")]
    RankParamsJson { reason: String },
    #[error("rank param {name} [{value}] is invalid: invalid parameter")]
    RankNumber { name: &'static str, value: String },
    #[error("The rank params k should be in range (0, 16384), but got {k}: invalid parameter")]
    RankK { k: f64 },
    #[error("weights not found in rank_params: invalid parameter")]
    NoWeights,
    #[error("rank param weight should be in range [0, 1], but got {weight}: invalid parameter")]
    RankWeight { weight: f64 },
    #[error(
        "the length of weights param mismatch with ann search requests: invalid parameter[expected={expected}][actual={actual}]"
    )]
    RankWeightCount { expected: usize, actual: usize },
    #[error("unsupported rank_group_scorer {name}, only max, sum and avg are: invalid parameter")]
    GroupScorer { name: String },
    #[error("reranker name not specified: invalid parameter")]
    NoReranker,
    #[error("model reranker requires exactly 1 input field, got {count}: invalid parameter")]
    ModelInputs { count: usize },
    #[error("model input field {field} must be VarChar, got {data_type}: invalid parameter")]
    ModelType { field: String, data_type: &'static str },
    #[error("rerank function missing required param: queries: invalid parameter")]
    ModelQueries,
    #[error("parse rerank params [queries] failed, {reason}: invalid parameter")]
    ModelQueriesJson { reason: String },
    #[error("queries count ({texts}) != nq count ({queries}): invalid parameter")]
    ModelQueryCount { texts: usize, queries: i64 },
    #[error("unsupported reranker {name}: invalid parameter")]
    Reranker { name: String },
    #[error("function {name} is not a rerank function: invalid parameter")]
    NotReranker { name: String },
    #[error("only one rerank function is supported, unless all are of boost: invalid parameter")]
    ManyRerankers,
    #[error("rerank input field {field} not found in schema: field not found[field={field}]")]
    RerankField { field: String },
    #[error("decay reranker requires exactly 1 input field, got {count}: invalid parameter")]
    DecayInputs { count: usize },
    #[error("decay input field {field} must be numeric, got {data_type}: invalid parameter")]
    DecayType { field: String, data_type: &'static str },
    #[error("decay {name} not specified: invalid parameter")]
    DecayMissing { name: &'static str },
    #[error("decay: {name} must be {wanted}, got {value}: invalid parameter")]
    DecayRange { name: &'static str, wanted: &'static str, value: f64 },
    #[error("invalid decay function: {name}, only gauss, linear and exp are: invalid parameter")]
    DecayCurve { name: String },
    #[error("unsupported score_mode {name}, only max, sum and avg are: invalid parameter")]
    ScoreMode { name: String },
    #[error("segment scorer with group_by is not supported: invalid parameter")]
    BoostGroups,
    #[error("parse expr failed with error {reason}: invalid parameter")]
    BoostFilter { reason: String },
    #[error("function must set weight params: invalid parameter")]
    NoBoostWeight,
    #[error("unsupported {name} {value}, only multiply and sum are: invalid parameter")]
    BoostMode { name: &'static str, value: String },
    #[error("field {field} not exist: invalid parameter")]
    OutputField { field: String },
    #[error("parse output field name failed: {field}: invalid parameter")]
    OutputName { field: String },
    #[error("not support getting subkeys of json field yet: invalid parameter")]
    OutputSubkey,
    #[error("not support getting multiple level of dynamic field for now: invalid parameter")]
    OutputLevels,
    #[error("empty expression should be used with limit: invalid parameter")]
    EmptyExpression,
    #[error("invalid max query result window, {text}: invalid parameter")]
    QueryWindow { text: String },
    #[error("{name} [{value}] is invalid: invalid parameter")]
    QueryNumber { name: &'static str, value: String },
    #[error("count entities with pagination is not allowed: invalid parameter")]
    CountPaginated,
    #[error(
        "collection id in the request and in the catalog differ: alias or database {verb} been changed, request collection id {wanted}, actual {actual}: invalid parameter"
    )]
    CollectionChanged { verb: &'static str, wanted: String, actual: i64 },
    #[error("Timestamp lag too large")]
    GuaranteeTooFar,
    #[error("travel_timestamp is not one hybrid timestamp: {value}: invalid parameter")]
    Travel { value: String },
    #[error("only support to travel back to {retention_s}s so far, but got {asked_s}s: invalid parameter")]
    TravelTooFar { retention_s: u64, asked_s: u64 },
    #[error(
        "timetravel.retention.seconds is out of range, expect [0, {most}], got {value}: invalid parameter"
    )]
    Retention { value: String, most: i64 },
    #[error("the answer of a peer is not what was asked for: {reason}")]
    Answer { reason: String },

    // Texts and functions.
    #[error("not allowed to retrieve raw data of field {field}: invalid parameter")]
    ComputedOutput { field: String },
    #[error("please provide varchar/text for BM25 Function based search, got {found}: invalid parameter")]
    TextWanted { found: String },
    #[error("the text to search for is not UTF-8: invalid parameter")]
    TextNotUtf8,
    #[error("run analyzer can't use analyzer params and (collection,field) in same time: invalid parameter")]
    AnalyzerTwice,
    #[error("the texts to analyse have more than {limit} bytes together: invalid parameter")]
    AnalyzedTooLong { limit: usize },
    #[error("{names} analyzer names were given for {texts} texts: one, or one for each: invalid parameter")]
    AnalyzerNames { names: usize, texts: usize },
    #[error("field {field} does not enable analyzer: invalid parameter")]
    NotAnalyzed { field: String },

    // Imports.
    #[error("import request is empty: invalid parameter")]
    EmptyImport,
    #[error("parse job id failed, jobID={given}: invalid parameter")]
    ImportNumber { given: String },

    // Metrics.
    #[error("failed to parse the request of metrics: {reason}: invalid parameter")]
    MetricRequest { reason: String },
    #[error("metric not found[metric={metric}]")]
    MetricNotFound { metric: String },

    // Users.
    #[error("cannot hash the password: {reason}")]
    Hash { reason: String },

    // Placement.
    #[error("{text}")]
    GroupConfig { text: String },
    #[error(
        "source resource group and target resource group should not be the same, resource group: {group}: invalid parameter"
    )]
    SameGroup { group: String },
    #[error(
        "transfer {what} num can't be [{count}]: invalid parameter[expected=positive number][actual={count}]"
    )]
    TransferCount { what: &'static str, count: i64 },
    #[error("replica not found[collection={collection}]")]
    NoReplicas { collection: String },

    // REST.
    #[error("missing required parameters, error: {reason}")]
    MissingParameter { reason: String },
    #[error("{0}")]
    Refused(Refused),
    #[error("timeout")]
    Timeout,
    #[error("{path} is not supported yet: service unimplemented")]
    PathNotBuilt { path: &'static str },
    #[error("data type {name} is invalid(case sensitive).: invalid parameter")]
    DataTypeName { name: String },
    #[error("cannot use \"{value}\" as {data_type} default value of field {field}: invalid parameter")]
    DefaultValue { field: String, data_type: String, value: String },
    #[error("function type {name} is invalid(case sensitive).: invalid parameter")]
    FunctionTypeName { name: String },
    #[error("`{field}` hasn't defined in schema: invalid parameter")]
    IndexedField { field: String },
    #[error("{what} can only be {choice}: invalid parameter[expected={choice}][actual={actual}]")]
    Choice { what: &'static str, choice: &'static str, actual: String },
    #[error("{what} must be {wanted}, got {actual}: invalid parameter")]
    WrongKind { what: &'static str, wanted: &'static str, actual: String },
    #[error(
        "the vectors asked for have more than {limit} numbers, ask for fewer rows or fields: invalid parameter"
    )]
    AnswerTooLarge { limit: usize },
    #[error("there are multiple indexes, please specify the index_name: invalid parameter")]
    AmbiguousIndex,
}

impl Error {
    /// Puts the name of a step in front, as Milvus does.
    pub(super) fn during(step: &'static str) -> impl FnOnce(Self) -> Self {
        move |cause| Self::Step { step, cause: Box::new(cause) }
    }

    /// Milvus's words for a key that must be there. `request` is the name of the request's type in Milvus's words.
    #[must_use]
    pub(super) fn missing(request: &str, key: &str) -> Self {
        let mut letters = key.chars();
        let first = letters.next().map(|first| first.to_ascii_uppercase());
        let key: String = first.into_iter().chain(letters).collect();
        let reason =
            format!("Key: '{request}.{key}' Error:Field validation for '{key}' failed on the 'required' tag");
        Self::MissingParameter { reason }
    }

    /// Milvus's code.
    #[must_use]
    pub fn code(&self) -> i32 {
        match self {
            Self::Peer(rpc::Error::Refused(refusal)) => refusal.code(),
            Self::Peer(error @ (rpc::Error::Stale { .. } | rpc::Error::Failed { .. })) => {
                code_of_kind(error.kind())
            }
            Self::Step { cause, .. } | Self::NotFlushed { cause, .. } => cause.code(),
            Self::Checked { code, .. } | Self::Index { code, .. } => *code,
            Self::RateExceeded { .. } => 8,
            Self::DescribeNotFound { .. } => 100,
            Self::AlterHeldLoaded { .. }
            | Self::AlterWarmupLoaded { .. }
            | Self::AlterFieldLoaded { .. }
            | Self::AlterIndexLoaded { .. } => 104,
            Self::SchemaMismatch { .. } => 109,
            Self::GroupConfig { .. } => 303,
            Self::NoReplicas { .. } => 400,
            Self::IndexNotBuilt { .. } => 701,
            Self::GroupField { .. } | Self::RerankField { .. } | Self::HighlightField { .. } => 1700,
            Self::AlterQueryMode => 702,
            Self::Model(error) => error.code(),
            Self::Intake(error) => error.code(),
            Self::MetricNotFound { .. } => 1200,
            Self::MissingParameter { .. } => 1802,
            Self::Refused(refused) => refused.code(),
            Self::Timeout => 10_001,
            Self::PathNotBuilt { .. } => 10,
            Self::Hash { .. } | Self::Answer { .. } | Self::Accept(_) | Self::Serve(_) => 5,
            Self::PartitionNameNotFound { .. }
            | Self::QuerySize { .. }
            | Self::RangeOrder { .. }
            | Self::GuaranteeTooFar => 65_535,
            _ => 1100,
        }
    }
}

/// Milvus's code for a failure that is nobody's fault in the request.
const fn code_of_kind(kind: Kind) -> i32 {
    match kind {
        Kind::Invalid | Kind::Exists => 1100,
        Kind::Denied => 1401,
        Kind::NotFound => 1000,
        Kind::Unavailable | Kind::Conflict | Kind::Fenced => 2,
        Kind::Exhausted => 12,
        Kind::Corrupt => 1009,
        Kind::Internal => 5,
    }
}

impl Kinded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Peer(peer) => peer.kind(),
            Self::Intake(error) => error.kind(),
            Self::Model(error) => error.kind(),
            Self::Step { cause, .. } | Self::NotFlushed { cause, .. } => cause.kind(),
            Self::Accept(source) => Kinded::kind(source),
            Self::Refused(refused) => refused.kind(),
            Self::Timeout => Kind::Unavailable,
            Self::RateExceeded { .. } => Kind::Exhausted,
            Self::Hash { .. } | Self::Answer { .. } | Self::Serve(_) => Kind::Internal,
            Self::DescribeNotFound { .. }
            | Self::PartitionNameNotFound { .. }
            | Self::NoReplicas { .. }
            | Self::MetricNotFound { .. } => Kind::NotFound,
            _ => Kind::Invalid,
        }
    }
}

impl From<rpc::Error> for Error {
    fn from(peer: rpc::Error) -> Self {
        Self::Peer(peer)
    }
}

impl From<rpc::Refusal> for Error {
    fn from(refusal: rpc::Refusal) -> Self {
        Self::Peer(rpc::Error::Refused(refusal))
    }
}

impl From<inference::Error> for Error {
    fn from(error: inference::Error) -> Self {
        Self::Model(error)
    }
}

impl From<intake::Error> for Error {
    fn from(error: intake::Error) -> Self {
        Self::Intake(error)
    }
}
