//! Functions of a schema, and fields whose texts are analysed.

use super::{FunctionRequest, SchemaError, SchemaRequest};
use crate::model::{DataType, Field, Function, FunctionKind};

/// Milvus's number of BM25.
const BM25: i32 = 1;
/// What Milvus has besides, by its numbers.
const NOT_BUILT: [(i32, &str); 4] =
    [(2, "TextEmbedding"), (3, "Rerank"), (4, "MinHash"), (5, "MolFingerprint")];
/// The keys that say how a field's texts are analysed.
const TEXT_KEYS: [&str; 4] = ["enable_analyzer", "enable_match", "analyzer_params", "multi_analyzer_params"];

/// Checks names and kinds, and that the fields exist: the first rules of a schema.
pub(super) fn check_requests(request: &SchemaRequest) -> Result<(), SchemaError> {
    for (at, function) in request.functions.iter().enumerate() {
        let name = || function.name.clone();
        if function.name.is_empty() {
            return Err(SchemaError::FunctionWithoutName);
        }
        if request.functions[..at].iter().any(|earlier| earlier.name == function.name) {
            return Err(SchemaError::DuplicateFunction { function: name() });
        }
        if let Some((_, kind)) = NOT_BUILT.into_iter().find(|(number, _)| *number == function.kind) {
            return Err(SchemaError::FunctionNotBuilt { kind });
        }
        if function.kind != BM25 {
            return Err(SchemaError::UnknownFunction);
        }
        let is_missing = |wanted: &&String| !request.fields.iter().any(|field| field.name == **wanted);
        if let Some(field) = function.inputs.iter().find(is_missing) {
            return Err(SchemaError::FunctionInput { field: field.clone() });
        }
        if let Some(field) = function.outputs.iter().find(is_missing) {
            return Err(SchemaError::FunctionOutput { field: field.clone() });
        }
        let mut outputs = request.functions[..at].iter().flat_map(|earlier| &earlier.outputs);
        if let Some(field) = outputs.find(|field| function.outputs.contains(field)) {
            return Err(SchemaError::SharedOutput { field: field.clone() });
        }
    }
    Ok(())
}

/// The functions over fields that were checked one by one.
pub(super) fn checked(requests: &[FunctionRequest], fields: &[Field]) -> Result<Vec<Function>, SchemaError> {
    (1..).zip(requests).map(|(id, request)| bm25(id, request, fields)).collect()
}

fn bm25(id: i64, request: &FunctionRequest, fields: &[Field]) -> Result<Function, SchemaError> {
    let input =
        only(&request.inputs, fields).ok_or(SchemaError::Bm25Inputs { count: request.inputs.len() })?;
    if input.data_type != DataType::VarChar {
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
    if field.data_type != DataType::VarChar {
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
