//! Functions of a schema, and fields whose texts are analysed.

use super::{FunctionRequest, SchemaError, SchemaRequest};
use crate::model::{DataType, Field, Function, FunctionKind};

/// Milvus's number of BM25.
const BM25: i32 = 1;
/// Milvus's number of TextEmbedding.
const TEXT_EMBEDDING: i32 = 2;
/// Milvus's number of MinHash.
const MIN_HASH: i32 = 4;
/// What Milvus has besides, by its numbers.
const NOT_BUILT: [(i32, &str); 2] = [(3, "Rerank"), (5, "MolFingerprint")];
/// Most places of a signature: each is computed for every run of a text.
const MAX_PLACES: u32 = 1024;
/// Longest run of letters or words.
const MAX_RUN: u32 = 1024;
/// Seed of signatures where the user names none.
const DEFAULT_SEED: u64 = 1234;
/// Length of a run where the user names none.
const DEFAULT_RUN: u32 = 3;

/// How signatures of texts are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signing {
    /// Places of a signature, of 32 bits each.
    pub places: u32,
    /// Letters, in bytes, or words of a run.
    pub run: u32,
    /// Another seed, other signatures.
    pub seed: u64,
    /// Whether runs are hashed by SHA-1, not by XXH3.
    pub is_sha1: bool,
    /// Whether runs are of letters, not of words.
    pub by_letters: bool,
}

impl Signing {
    /// Reads the parameters of a function that fills a field of `dim` bits.
    ///
    /// # Errors
    /// [`SchemaError::MinHashParam`] for one that means nothing, [`SchemaError::MinHashDim`] if signatures have another length.
    pub fn of(params: &[(String, String)], dim: usize) -> Result<Self, SchemaError> {
        let given = |wanted: &str| {
            let found = params.iter().find(|(key, _)| key.eq_ignore_ascii_case(wanted));
            found.map(|(_, value)| value.trim())
        };
        let wrong = |why: String| SchemaError::MinHashParam { why };
        let count = |key: &str, most: u32| {
            let parse = |text: &str| match text.parse::<u32>() {
                Ok(number) if (1..=most).contains(&number) => Ok(number),
                _ => Err(wrong(format!("{key} must be a whole number in range [1, {most}], got {text}"))),
            };
            given(key).map(parse).transpose()
        };
        let places = match count("num_hashes", MAX_PLACES)? {
            Some(places) => places,
            None => u32::try_from(dim / 32).unwrap_or(0),
        };
        if !(1..=MAX_PLACES).contains(&places) || places as usize * 32 != dim {
            return Err(SchemaError::MinHashDim { dim, expected: places as usize * 32 });
        }
        let parse_seed = |text: &str| {
            let seed = text.parse::<i64>().map(i64::cast_unsigned).or_else(|_| text.parse::<u64>());
            seed.map_err(|_| wrong(format!("seed must be a whole number, got {text}")))
        };
        Ok(Self {
            places,
            run: count("shingle_size", MAX_RUN)?.unwrap_or(DEFAULT_RUN),
            seed: given("seed").map(parse_seed).transpose()?.unwrap_or(DEFAULT_SEED),
            is_sha1: match given("hash_function") {
                None | Some("xxhash64" | "xxhash") => false,
                Some("sha1") => true,
                Some(other) => return Err(wrong(format!("unknown hash function: {other}"))),
            },
            by_letters: match given("token_level") {
                None | Some("word") => false,
                Some("char" | "character") => true,
                Some(other) => return Err(wrong(format!("unknown token_level: {other}"))),
            },
        })
    }
}
/// The keys that say how a field's texts are analysed.
const TEXT_KEYS: [&str; 4] = ["enable_analyzer", "enable_match", "analyzer_params", "multi_analyzer_params"];

/// Checks names and kinds, and that the fields exist: the first rules of a schema.
pub(super) fn check_requests(request: &SchemaRequest) -> Result<(), SchemaError> {
    let has_field = |name: &str| request.fields.iter().any(|field| field.name == name);
    for (at, function) in request.functions.iter().enumerate() {
        let earlier = &request.functions[..at];
        let filled = || earlier.iter().flat_map(|one| &one.outputs).map(String::as_str);
        let is_taken = earlier.iter().any(|one| one.name == function.name);
        check_request(function, is_taken, has_field, |name| filled().any(|field| field == name))?;
    }
    Ok(())
}

/// Checks one function by itself: the same rules.
///
/// - `is_taken`: whether there is one of its name.
/// - `has_field`, `is_filled`: whether there is a field of a name, and whether another function fills it.
fn check_request(
    function: &FunctionRequest,
    is_taken: bool,
    has_field: impl Fn(&str) -> bool,
    is_filled: impl Fn(&str) -> bool,
) -> Result<(), SchemaError> {
    if function.name.is_empty() {
        return Err(SchemaError::FunctionWithoutName);
    }
    if is_taken {
        return Err(SchemaError::DuplicateFunction { function: function.name.clone() });
    }
    if let Some((_, kind)) = NOT_BUILT.into_iter().find(|(number, _)| *number == function.kind) {
        return Err(SchemaError::FunctionNotBuilt { kind });
    }
    if !matches!(function.kind, BM25 | TEXT_EMBEDDING | MIN_HASH) {
        return Err(SchemaError::UnknownFunction);
    }
    let is_missing = |wanted: &&String| !has_field(wanted);
    if let Some(field) = function.inputs.iter().find(is_missing) {
        return Err(SchemaError::FunctionInput { field: field.clone() });
    }
    if let Some(field) = function.outputs.iter().find(is_missing) {
        return Err(SchemaError::FunctionOutput { field: field.clone() });
    }
    match function.outputs.iter().find(|field| is_filled(field)) {
        Some(field) => Err(SchemaError::SharedOutput { field: field.clone() }),
        None => Ok(()),
    }
}

/// The functions over fields that were checked one by one.
pub(super) fn checked(requests: &[FunctionRequest], fields: &[Field]) -> Result<Vec<Function>, SchemaError> {
    (1..).zip(requests).map(|(id, request)| checked_one(id, request, fields)).collect()
}

/// A function beside those that there are, over fields that were checked.
pub(super) fn checked_beside(
    known: &[Function],
    request: &FunctionRequest,
    fields: &[Field],
) -> Result<Function, SchemaError> {
    let field = |name: &str| fields.iter().find(|field| field.name == name);
    let is_filled = |name: &str| {
        field(name).is_some_and(|field| known.iter().any(|function| function.output == field.id))
    };
    let is_taken = known.iter().any(|function| function.name == request.name);
    check_request(request, is_taken, |name| field(name).is_some(), is_filled)?;
    let id = known.iter().map(|function| function.id).max().unwrap_or(0) + 1;
    checked_one(id, request, fields)
}

fn checked_one(id: i64, request: &FunctionRequest, fields: &[Field]) -> Result<Function, SchemaError> {
    match request.kind {
        MIN_HASH => min_hash(id, request, fields),
        TEXT_EMBEDDING => embedding(id, request, fields),
        _ => bm25(id, request, fields),
    }
}

/// What a model makes of a text. Its parameters are for whoever asks it.
fn embedding(id: i64, request: &FunctionRequest, fields: &[Field]) -> Result<Function, SchemaError> {
    let wrong = |why: String| SchemaError::Embedding { why };
    let input = only(&request.inputs, fields).ok_or_else(|| {
        wrong(format!("must have exactly one input field, but got {}", request.inputs.len()))
    })?;
    if !input.data_type.is_text() {
        let data_type = input.data_type.name();
        return Err(wrong(format!("input field must be a VARCHAR/TEXT field, got {data_type} field")));
    }
    let output = only(&request.outputs, fields).ok_or_else(|| {
        wrong(format!("must have exactly one output field, but got {}", request.outputs.len()))
    })?;
    if output.data_type != DataType::FloatVector {
        let data_type = output.data_type.name();
        return Err(wrong(format!("output field must be a FloatVector field, but got {data_type}")));
    }
    if output.nullable {
        return Err(SchemaError::OutputNullable {
            function: request.name.clone(),
            field: output.name.clone(),
        });
    }
    Ok(Function {
        id,
        name: request.name.clone(),
        description: request.description.clone(),
        kind: FunctionKind::TextEmbedding,
        input: input.id,
        output: output.id,
        params: request.params.clone(),
    })
}

fn min_hash(id: i64, request: &FunctionRequest, fields: &[Field]) -> Result<Function, SchemaError> {
    let wrong = |why: String| SchemaError::MinHashParam { why };
    let input = only(&request.inputs, fields).ok_or_else(|| {
        wrong(format!("exactly one input field is needed, but got {}", request.inputs.len()))
    })?;
    if !input.data_type.is_text() {
        let data_type = input.data_type.name();
        return Err(wrong(format!("input field must be a VARCHAR/TEXT field, got {data_type} field")));
    }
    let output = only(&request.outputs, fields).ok_or_else(|| {
        wrong(format!("exactly one output field is needed, but got {}", request.outputs.len()))
    })?;
    if output.data_type != DataType::BinaryVector {
        let data_type = output.data_type.name();
        return Err(wrong(format!("output field must be a BinaryVector field, but got {data_type}")));
    }
    if output.nullable {
        return Err(SchemaError::OutputNullable {
            function: request.name.clone(),
            field: output.name.clone(),
        });
    }
    Signing::of(&request.params, output.dim())?;
    Ok(Function {
        id,
        name: request.name.clone(),
        description: request.description.clone(),
        kind: FunctionKind::MinHash,
        input: input.id,
        output: output.id,
        params: request.params.clone(),
    })
}

fn bm25(id: i64, request: &FunctionRequest, fields: &[Field]) -> Result<Function, SchemaError> {
    let input =
        only(&request.inputs, fields).ok_or(SchemaError::Bm25Inputs { count: request.inputs.len() })?;
    if !input.data_type.is_text() {
        return Err(SchemaError::Bm25InputType { data_type: input.data_type.name() });
    }
    if !input.is_on("enable_analyzer") {
        return Err(SchemaError::Bm25WithoutAnalyzer);
    }
    let output =
        only(&request.outputs, fields).ok_or(SchemaError::Bm25Outputs { count: request.outputs.len() })?;
    if output.data_type != DataType::SparseFloatVector {
        return Err(SchemaError::Bm25OutputType { data_type: output.data_type.name() });
    }
    if output.nullable {
        return Err(SchemaError::OutputNullable {
            function: request.name.clone(),
            field: output.name.clone(),
        });
    }
    if !request.params.is_empty() {
        return Err(SchemaError::Bm25Params);
    }
    Ok(Function {
        id,
        name: request.name.clone(),
        description: request.description.clone(),
        kind: FunctionKind::Bm25,
        input: input.id,
        output: output.id,
        params: request.params.clone(),
    })
}

/// The one field of a list of names.
fn only<'a>(names: &[String], fields: &'a [Field]) -> Option<&'a Field> {
    let [name] = names else { return None };
    fields.iter().find(|field| field.name == *name)
}

/// Checks what a field says of its texts, as far as it can be without knowing analyzers.
pub(super) fn check_match(field: &Field) -> Result<(), SchemaError> {
    let name = || field.name.clone();
    if !field.data_type.is_text() {
        return match TEXT_KEYS.iter().find(|key| field.type_param(key).is_some_and(|value| value != "false"))
        {
            Some(key) if !field.is_dynamic => Err(SchemaError::AnalyzerOfOthers { key, field: name() }),
            _ => Ok(()),
        };
    }
    if let Some(key) = ["enable_analyzer", "enable_match"].into_iter().find(|key| !is_boolean(field, key)) {
        return Err(SchemaError::NoBoolean { key, field: name() });
    }
    if field.is_on("enable_match") && !field.is_on("enable_analyzer") {
        return Err(SchemaError::MatchWithoutAnalyzer { field: name() });
    }
    if field.type_param("multi_analyzer_params").is_none() {
        return Ok(());
    }
    if field.is_on("enable_match") {
        return Err(SchemaError::MatchByLanguage { field: name() });
    }
    if field.type_param("analyzer_params").is_some() {
        return Err(SchemaError::TwoAnalyzers { field: name() });
    }
    Ok(())
}

fn is_boolean(field: &Field, key: &str) -> bool {
    let words = ["true", "false"];
    field.type_param(key).is_none_or(|value| words.iter().any(|word| value.eq_ignore_ascii_case(word)))
}
