//! Definitions of indexes: what a spec wants, and what of it no engine takes. It is known before anything is released or dropped,
//! for a field has one index at a time and the old one goes first.

use std::collections::BTreeMap;

use super::{EngineField, EngineIndex, EngineSchema};
use crate::crd::{CollectionIndex, FieldType, MilvusCollection, text_of};

/// The automatic type.
const AUTO: &str = "AUTOINDEX";

/// What the indexes of a type are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Dense,
    Bits,
    Sparse,
    Scalar,
}

/// Types by Milvus's names that the engine makes, beside the automatic one.
const TYPES: [(&str, Family); 25] = [
    ("FLAT", Family::Dense),
    ("IVF_FLAT", Family::Dense),
    ("HNSW", Family::Dense),
    ("IVF_SQ8", Family::Dense),
    ("IVF_PQ", Family::Dense),
    ("IVF_RABITQ", Family::Dense),
    ("HNSW_SQ", Family::Dense),
    ("HNSW_PQ", Family::Dense),
    ("HNSW_PRQ", Family::Dense),
    ("SCANN", Family::Dense),
    ("DISKANN", Family::Dense),
    ("AISAQ", Family::Dense),
    ("SVS_VAMANA", Family::Dense),
    ("SVS_VAMANA_LVQ", Family::Dense),
    ("SVS_VAMANA_LEANVEC", Family::Dense),
    ("SVS_FLAT", Family::Dense),
    ("BIN_FLAT", Family::Bits),
    ("BIN_IVF_FLAT", Family::Bits),
    ("SPARSE_INVERTED_INDEX", Family::Sparse),
    ("SPARSE_WAND", Family::Sparse),
    ("INVERTED", Family::Scalar),
    ("BITMAP", Family::Scalar),
    ("TRIE", Family::Scalar),
    ("STL_SORT", Family::Scalar),
    ("NGRAM", Family::Scalar),
];

const METRICS: [&str; 7] = ["L2", "IP", "COSINE", "HAMMING", "JACCARD", "BM25", "MHJACCARD"];

/// Whole numbers: the parameter, the types that read it by the beginnings of their names, the least and the most.
const NUMBERS: [(&str, &[&str], i64, i64); 8] = [
    ("M", &["HNSW"], 2, 2048),
    ("efConstruction", &["HNSW"], 1, 2_147_483_647),
    ("nlist", &["IVF_", "SCANN", "BIN_IVF_FLAT"], 1, 65_536),
    ("m", &["HNSW_PQ", "HNSW_PRQ", "IVF_PQ"], 1, 65_536),
    ("nbits", &["HNSW_PQ", "HNSW_PRQ", "IVF_PQ"], 1, 24),
    ("nrq", &["HNSW_PRQ"], 1, 16),
    ("max_degree", &["DISKANN", "AISAQ"], 1, 2048),
    ("search_list_size", &["DISKANN", "AISAQ"], 1, 2_147_483_647),
];

/// Keys of `params` that are said elsewhere, or hold others.
const RESERVED: [&str; 3] = ["params", "index_type", "metric_type"];

/// The indexes that a spec wants.
pub(super) fn wanted_indexes(object: &MilvusCollection) -> Vec<EngineIndex> {
    object.spec.indexes.iter().map(wanted_index).collect()
}

fn wanted_index(index: &CollectionIndex) -> EngineIndex {
    let mut params: BTreeMap<String, String> =
        index.params.iter().map(|(key, value)| (key.clone(), text_of(value))).collect();
    let kind = index.kind.clone().unwrap_or_else(|| AUTO.to_owned());
    params.insert("index_type".to_owned(), kind);
    params.extend(index.metric.clone().map(|metric| ("metric_type".to_owned(), metric)));
    EngineIndex {
        name: index.name.clone().unwrap_or_else(|| index.field.clone()),
        field: index.field.clone(),
        params,
    }
}

/// Whether an index is what is wanted. Parameters that are not listed may be anything, and of an automatic index the engine keeps
/// none.
pub(super) fn is_as_wanted(found: &EngineIndex, wanted: &EngineIndex) -> bool {
    let is_auto = kind(wanted) == AUTO;
    let counts = |key: &str| !is_auto || matches!(key, "index_type" | "metric_type");
    let mut params = wanted.params.iter().filter(|(key, _)| counts(key));
    found.field == wanted.field && params.all(|(key, value)| found.params.get(key) == Some(value))
}

/// The one text of a definition.
pub(super) fn definition(index: &EngineIndex) -> String {
    let pairs = index.params.iter().map(|(key, value)| format!("{key}={value}"));
    format!("{}: {}", index.field, pairs.collect::<Vec<_>>().join(" "))
}

/// Everything in the indexes of a spec that no engine could carry out: a sentence for each. `schema` is the spec's.
pub(super) fn index_faults(object: &MilvusCollection, schema: Option<&EngineSchema>) -> Vec<String> {
    let mut faults = Vec::new();
    let indexes = wanted_indexes(object);
    for (at, (written, index)) in object.spec.indexes.iter().zip(&indexes).enumerate() {
        let path = format!("spec.indexes[{}]", index.field);
        if indexes[..at].iter().any(|other| other.name == index.name) {
            faults.push(format!("{path}.name: another one is called {}", index.name));
        }
        for key in written.params.keys().filter(|key| RESERVED.contains(&key.as_str())) {
            faults.push(format!(
                "{path}.params: {key} is not said there, but by type, metric and params themselves"
            ));
        }
        if object.spec.schema.is_none() && index.field.starts_with("$meta") {
            faults.push(format!("{path}.field: keys beside the fields are not indexed from here"));
        }
        let field = schema.map(|schema| schema.fields.iter().find(|field| field.name == index.field));
        match field {
            Some(None) => faults.push(format!("{path}.field: spec.schema has no such field")),
            Some(field) => faults.extend(definition_faults(index, field)),
            None => faults.extend(definition_faults(index, None)),
        }
    }
    faults
}

/// Everything in a definition that is wrong for a field of the collection that there is: a sentence for each.
pub(super) fn faults_with(index: &EngineIndex, schema: &EngineSchema) -> Vec<String> {
    match schema.fields.iter().find(|field| field.name == index.field) {
        // A name with a bracket is that of a part of a field, which is not described here.
        None if !index.field.contains('[') => {
            vec![format!("spec.indexes[{}].field: the collection has no such field", index.field)]
        }
        field => definition_faults(index, field),
    }
}

fn kind(index: &EngineIndex) -> &str {
    index.params.get("index_type").map_or(AUTO, String::as_str)
}

/// What is wrong with a definition, as far as the field is known.
fn definition_faults(index: &EngineIndex, field: Option<&EngineField>) -> Vec<String> {
    let path = format!("spec.indexes[{}]", index.field);
    let name = kind(index);
    // The one name that Milvus knows in two writings.
    let known = if name == "Trie" { "TRIE" } else { name };
    let family = TYPES.iter().find(|(listed, _)| *listed == known).map(|(_, family)| *family);
    if family.is_none() && name != AUTO {
        return vec![format!("{path}.type: {name} is no type of index that the engine makes")];
    }
    let mut faults = Vec::new();
    if let Some((field, data)) = field.and_then(|field| Some((field, field.kind?))) {
        faults.extend(type_fault(known, family, field, data).map(|fault| format!("{path}.type: {fault}")));
        faults
            .extend(params_fault(index, family, field, data).map(|fault| format!("{path}.params: {fault}")));
    }
    let data = field.and_then(|field| field.kind);
    faults.extend(metric_fault(index, family, data).map(|fault| format!("{path}.metric: {fault}")));
    let numbers = NUMBERS.iter().filter(|(_, of, ..)| of.iter().any(|begin| known.starts_with(begin)));
    for (key, _, low, high) in numbers {
        let Some(value) = index.params.get(*key) else { continue };
        if !value.trim().parse::<i64>().is_ok_and(|number| (*low..=*high).contains(&number)) {
            faults.push(format!("{path}.params.{key}: {value} is no whole number from {low} to {high}"));
        }
    }
    faults
}

/// What the indexes of a field are; `None` for a scalar.
const fn vectors(data: FieldType) -> Option<Family> {
    match data {
        FieldType::FloatVector
        | FieldType::Float16Vector
        | FieldType::BFloat16Vector
        | FieldType::Int8Vector => Some(Family::Dense),
        FieldType::BinaryVector => Some(Family::Bits),
        FieldType::SparseFloatVector => Some(Family::Sparse),
        _ => None,
    }
}

/// Why a field of such data has no index of this type.
fn type_fault(name: &str, family: Option<Family>, field: &EngineField, data: FieldType) -> Option<String> {
    use FieldType::{Array, Bool, Double, Float, Int8Vector, Json, VarChar};
    let family = family?;
    let suits = family == vectors(data).unwrap_or(Family::Scalar);
    let values = if data == Array { field.element.unwrap_or(data) } else { data };
    // Milvus has no inverted files and nothing on disk of 8-bit vectors.
    let is_wide = name.starts_with("IVF") || matches!(name, "DISKANN" | "AISAQ");
    let never = match name {
        _ if data == Int8Vector => is_wide,
        "BITMAP" => field.primary || matches!(values, Float | Double),
        "TRIE" => data != VarChar,
        "STL_SORT" => matches!(data, Bool | Array),
        "NGRAM" => !matches!(data, VarChar | Json),
        _ => false,
    };
    (!suits || never).then(|| {
        let key = if field.primary { " as a primary key" } else { "" };
        format!("{name} is not for {}{key}", data.name())
    })
}

/// Why the engine does not take these parameters together.
fn params_fault(
    index: &EngineIndex,
    family: Option<Family>,
    field: &EngineField,
    data: FieldType,
) -> Option<String> {
    let given = |key: &str| index.params.get(key).filter(|value| !value.is_empty());
    if family.is_none() && vectors(data).is_some() {
        let taken = ["index_type", "metric_type", "mmap.enabled", "warmup", "index_name"];
        let other = index.params.keys().find(|key| !taken.contains(&key.as_str()))?;
        return Some(format!("an automatic index takes a metric only, not {other}"));
    }
    if data == FieldType::Json && given("json_cast_type").is_none() {
        return Some("an index of JSON needs json_cast_type".to_owned());
    }
    if kind(index) == "NGRAM" && (given("min_gram").is_none() || given("max_gram").is_none()) {
        return Some("NGRAM needs min_gram and max_gram".to_owned());
    }
    let number = |text: Option<&String>| text.and_then(|text| text.trim().parse::<u64>().ok());
    let in_parts = matches!(kind(index), "HNSW_PQ" | "HNSW_PRQ" | "IVF_PQ");
    match (number(field.params.get("dim")), number(given("m"))) {
        (Some(dim), Some(m)) if in_parts && m > 0 && !dim.is_multiple_of(m) => {
            Some(format!("m must divide the {dim} dimensions, which {m} does not"))
        }
        _ => None,
    }
}

/// Why a metric is none, does not suit, or is missing.
fn metric_fault(index: &EngineIndex, family: Option<Family>, data: Option<FieldType>) -> Option<String> {
    let family = family.filter(|family| *family != Family::Scalar);
    let Some(metric) = index.params.get("metric_type") else {
        return family.map(|_| format!("{} needs one", kind(index)));
    };
    let upper = metric.to_ascii_uppercase();
    if !METRICS.contains(&upper.as_str()) {
        return Some(format!("{metric} is no metric: there are {}", METRICS.join(", ")));
    }
    let suits = match data.map_or(family, vectors)? {
        Family::Dense => matches!(upper.as_str(), "L2" | "IP" | "COSINE"),
        Family::Bits => matches!(upper.as_str(), "HAMMING" | "JACCARD"),
        Family::Sparse => matches!(upper.as_str(), "IP" | "BM25"),
        Family::Scalar => true,
    };
    let of = match data {
        Some(data) => data.name(),
        None => kind(index),
    };
    (!suits).then(|| format!("{metric} is not for {of}"))
}
