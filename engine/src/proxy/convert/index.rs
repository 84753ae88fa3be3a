//! Index parameters: defaults and checks, by the table of types that Milvus knows.
//!
//! Source: wire specification 2.13.

use std::collections::BTreeMap;

use super::params::{boolean, plain, shown};
use super::schema::check_warmup;
use crate::expr::{self, Templates};
use crate::model::{DataType, Field, FunctionKind, JsonPath, Metric, Schema};
use crate::proxy::Error;

/// The automatic type.
const AUTO: &str = "AUTOINDEX";

/// The most that the parameters of an index may take, in bytes.
const MOST_BYTES: usize = 100 << 10;

/// What a name of an index type stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    /// On dense vectors of singles, and built.
    Dense,
    /// Named by its parts, on vectors of singles and on binary ones.
    ByParts,
    /// On dense vectors, built by Milvus on a GPU only.
    Gpu,
    /// On binary vectors.
    Bits,
    /// On binary vectors that are signatures.
    Signatures,
    /// On sparse vectors.
    Sparse,
    /// On scalars: recorded only, filters are answered by scan.
    Scalar,
    /// On scalars, not built yet.
    ScalarNotBuilt,
}

const TYPES: [(&str, Family); 35] = [
    (AUTO, Family::Dense),
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
    ("FAISS", Family::ByParts),
    ("GPU_IVF_FLAT", Family::Gpu),
    ("GPU_IVF_PQ", Family::Gpu),
    ("GPU_CAGRA", Family::Gpu),
    ("GPU_BRUTE_FORCE", Family::Gpu),
    ("SVS_VAMANA", Family::Dense),
    ("SVS_VAMANA_LVQ", Family::Dense),
    ("SVS_VAMANA_LEANVEC", Family::Dense),
    ("SVS_FLAT", Family::Dense),
    ("BIN_FLAT", Family::Bits),
    ("BIN_IVF_FLAT", Family::Bits),
    ("MINHASH_LSH", Family::Signatures),
    ("SPARSE_INVERTED_INDEX", Family::Sparse),
    ("SPARSE_WAND", Family::Sparse),
    ("INVERTED", Family::Scalar),
    ("BITMAP", Family::Scalar),
    ("TRIE", Family::Scalar),
    ("Trie", Family::Scalar),
    ("STL_SORT", Family::Scalar),
    ("NGRAM", Family::Scalar),
    ("RTREE", Family::Scalar),
    ("HYBRID", Family::ScalarNotBuilt),
];

/// Checks the parameters of an index on `field` of `schema`, which the user called `asked`, and fills in `index_type`,
/// `metric_type`, and the path of an index on a dynamic key. What is returned is what clients see again: the user's pairs
/// as they came, in order.
///
/// # Errors
/// Milvus's words for the first parameter that is wrong.
pub fn checked(
    schema: &Schema,
    field: &Field,
    asked: &str,
    mut pairs: Vec<(String, String)>,
) -> Result<Vec<(String, String)>, Error> {
    let bytes: usize = pairs.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > MOST_BYTES {
        return Err(invalid(format!("index params size {bytes} exceeds limit {MOST_BYTES}")));
    }
    let mut flat = flattened(&pairs)?;
    if field.is_dynamic && given(&flat, "json_path").is_none_or(str::is_empty) {
        for pairs in [&mut pairs, &mut flat] {
            pairs.retain(|(key, _)| key != "json_path");
            pairs.push(entry("json_path", asked));
        }
    }
    let named = flat.iter().find(|(key, _)| key == "index_type").map_or("", |(_, value)| value.as_str());
    let name = if named.is_empty() { AUTO } else { named };
    let unknown = format!("invalid parameter[expected=valid index][actual=invalid index type: {name}]");
    let of_lists = matches!(field.data_type, DataType::ArrayOfVector(_));
    let family = TYPES.iter().find(|(known, _)| *known == name).map(|(_, family)| *family);
    // Milvus has this one for arrays of vectors alone.
    let family = family.or((of_lists && name == "IVF_FLAT_CC").then_some(Family::Dense));
    let family = family.ok_or_else(|| bare(unknown.clone()))?;
    if family == Family::Gpu {
        return Err(bare(format!("{unknown}: no index is built on a GPU here")));
    }
    check_mmap(&flat)?;
    given(&flat, "warmup").map_or(Ok(()), check_warmup)?;
    if field.data_type.is_searched() {
        check_vector(field, name, family, &flat)?;
        let given = metric_name(&flat);
        let is_computed = schema.counts_of(field.id).is_some();
        check_computed(is_computed, given)?;
        if name == AUTO {
            let default = match schema.function_of(field.id).map(|function| function.kind) {
                Some(FunctionKind::Bm25) => Metric::Bm25,
                Some(FunctionKind::MinHash) => Metric::MhJaccard,
                Some(FunctionKind::TextEmbedding) | None => Metric::default_of(field.data_type),
            };
            let metric = given.unwrap_or(default.name());
            let mut shown = vec![entry("index_type", AUTO), entry("metric_type", metric)];
            shown.extend(flat.iter().find(|(key, _)| key == "mmap.enabled").cloned());
            return Ok(shown);
        }
        // Only an automatic index has a metric of its own choice.
        let metric = given.ok_or_else(|| bare("metric type not set for vector index".to_owned()))?.to_owned();
        if !pairs.iter().any(|(key, _)| key == "metric_type") {
            pairs.push(entry("metric_type", &metric));
        }
    } else {
        check_scalar(schema, field, name, family, &flat)?;
    }
    if named.is_empty() {
        pairs.insert(0, entry("index_type", name));
    }
    Ok(pairs)
}

/// What a function counts is compared by BM25, and nothing else is.
fn check_computed(is_computed: bool, metric: Option<&str>) -> Result<(), Error> {
    let is_bm25 = |name| Metric::from_name(name) == Some(Metric::Bm25);
    match metric {
        Some(name) if is_computed && !is_bm25(name) => {
            Err(invalid("index metric type of BM25 function output field must be BM25"))
        }
        Some(name) if !is_computed && is_bm25(name) => {
            Err(invalid("only BM25 Function output field support BM25 metric type"))
        }
        _ => Ok(()),
    }
}

fn entry(key: &str, value: &str) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

fn bare(text: String) -> Error {
    Error::Index { code: 1100, text }
}

fn invalid(text: impl AsRef<str>) -> Error {
    bare(format!("{}: invalid parameter", text.as_ref()))
}

/// The pairs, and after them what JSON texts `params` carry: the first of a key holds, as in `model::index_param`.
pub(super) fn flattened(pairs: &[(String, String)]) -> Result<Vec<(String, String)>, Error> {
    let (mut flat, mut inner) = (Vec::with_capacity(pairs.len() + 4), Vec::new());
    for (key, value) in pairs {
        if key != "params" {
            flat.push((key.clone(), value.clone()));
        } else if !value.is_empty() {
            let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(value)
                .map_err(|reason| invalid(format!("failed to unmarshal params: {reason}")))?;
            inner.extend(object.iter().map(|(key, value)| (key.clone(), plain(value))));
        }
    }
    flat.append(&mut inner);
    Ok(flat)
}

fn metric_name(flat: &[(String, String)]) -> Option<&str> {
    flat.iter()
        .find(|(key, _)| key == "metric_type")
        .map(|(_, value)| value.as_str())
        .filter(|name| !name.is_empty())
}

fn check_mmap(flat: &[(String, String)]) -> Result<(), Error> {
    match flat.iter().find(|(key, _)| key == "mmap.enabled") {
        Some((_, value)) if boolean(value).is_none() => Err(Error::MmapValue { value: value.clone() }),
        _ => Ok(()),
    }
}

fn check_vector(field: &Field, name: &str, family: Family, flat: &[(String, String)]) -> Result<(), Error> {
    // An index of arrays of vectors is named and checked as one of their vectors.
    let element = match field.data_type {
        DataType::ArrayOfVector(element) => element.vector(),
        other => other,
    };
    let (of_bits, of_pairs) = (element == DataType::BinaryVector, element == DataType::SparseFloatVector);
    match family {
        Family::Dense if name == AUTO || element.is_dense() => {}
        // Milvus has graphs of lists of bits.
        Family::Dense if of_bits && element != field.data_type && name == "HNSW" => {}
        Family::Bits | Family::Signatures if of_bits => {}
        Family::Sparse if of_pairs => {}
        Family::ByParts if matches!(element, DataType::FloatVector | DataType::BinaryVector) => {}
        // What is wrong with a scalar index is looked for last.
        Family::Scalar | Family::ScalarNotBuilt if metric_name(flat).is_none() => {
            let text = "metric type not set for vector index: invalid parameter[expected=valid index params][actual=invalid index params]";
            return Err(bare(text.to_owned()));
        }
        _ => {
            let data_type = field.data_type.name();
            return Err(invalid(format!("data type {data_type} can't build with this index {name}")));
        }
    }
    // Milvus has nothing but graphs of 8-bit vectors.
    if element == DataType::Int8Vector && name != AUTO && !name.starts_with("HNSW") {
        let data_type = field.data_type.name();
        return Err(invalid(format!("data type {data_type} can't build with this index {name}")));
    }
    let strategy = given(flat, "emb_list_strategy").filter(|name| !name.eq_ignore_ascii_case("tokenann"));
    if strategy.is_some() && name == "DISKANN" {
        return Err(invalid("DiskANN only supports TokenANN strategy"));
    }
    let metric = metric_name(flat);
    if name == AUTO {
        let is_extra = |key: &str| {
            !matches!(key, "index_type" | "metric_type" | "mmap.enabled" | "warmup" | "index_name")
        };
        if flat.iter().any(|(key, _)| is_extra(key)) {
            return Err(invalid("only metric type can be passed when use AutoIndex"));
        }
    }
    let suits = |name: &str| Metric::from_name(name).is_some_and(|metric| metric.suits(field.data_type));
    if let Some(metric) = metric.filter(|name| !suits(name)) {
        if of_pairs {
            let text = "only IP&BM25 is the supported metric type for sparse index: invalid parameter[expected=valid index params][actual=invalid index params]";
            return Err(bare(text.to_owned()));
        }
        let kind = if of_bits { "binary" } else { "float" };
        return Err(invalid(format!("{kind} vector index does not support metric type: {metric}")));
    }
    let is_signed = metric.and_then(Metric::from_name) == Some(Metric::MhJaccard);
    if is_signed && !field.dim().is_multiple_of(32) {
        return Err(invalid("vectors under the metric type MHJACCARD must have a multiple of 32 bits"));
    }
    match family {
        Family::Signatures | Family::Bits
            if family == Family::Signatures || is_signed && name != "BIN_IVF_FLAT" =>
        {
            check_signatures(name, is_signed, flat)
        }
        Family::Bits
            if name == "BIN_IVF_FLAT"
                && metric
                    .is_some_and(|name| !matches!(name.to_uppercase().as_str(), "HAMMING" | "JACCARD")) =>
        {
            let metric = metric.unwrap_or_default();
            Err(invalid(format!(
                "metric type {metric} not found or not supported, supported: [HAMMING JACCARD]"
            )))
        }
        Family::Bits if name == "BIN_IVF_FLAT" => check_number(flat, "nlist", 1, 65_536),
        Family::Bits => Ok(()),
        Family::Sparse => check_sparse(flat),
        Family::ByParts => check_parts_named(of_bits, metric, flat),
        _ => check_dense(field, name, flat),
    }
}

/// Checks an index on signatures, which are compared place by place.
fn check_signatures(name: &str, is_signed: bool, flat: &[(String, String)]) -> Result<(), Error> {
    if !is_signed {
        return Err(invalid(format!("{name} only supports the metric type MHJACCARD")));
    }
    check_number(flat, "mh_lsh_band", 1, 65_536)?;
    check_boolean(flat, "with_raw_data")
}

/// Checks the build parameters of an index on sparse vectors.
fn check_sparse(flat: &[(String, String)]) -> Result<(), Error> {
    if let Some(value) = given(flat, "drop_ratio_build") {
        match value.trim().parse::<f32>() {
            Ok(share) if (0.0..1.0).contains(&share) => {}
            Ok(_) => {
                let range = "should be in range [0.000000, 1.000000)";
                return Err(invalid(format!(
                    "Out of range in json: param 'drop_ratio_build' ({value}) {range}"
                )));
            }
            Err(_) => {
                return Err(invalid(format!(
                    "invalid float value, key: 'drop_ratio_build', value: '{value}'"
                )));
            }
        }
    }
    for (key, least, most) in [("bm25_k1", 0.0, 3.0), ("bm25_b", 0.0, 1.0), ("bm25_avgdl", 1.0, f64::MAX)] {
        check_float(flat, key, least, most)?;
    }
    let known = ["DAAT_MAXSCORE", "DAAT_WAND", "TAAT_NAIVE", "SINDI", "BLOCK_MAX_MAXSCORE", "BLOCK_MAX_WAND"];
    let other = |key: &str, known: &[&str]| given(flat, key).filter(|name| !known.contains(name)).map(shown);
    if let Some(name) = other("inverted_index_algo", &known) {
        return Err(invalid(format!("sparse inverted index algo {name} not found or not supported")));
    }
    // How lists are laid out is this engine's choice; what is said of it is kept.
    let codecs = ["block_streamvbyte", "block_maskedvbyte"];
    if let Some(name) = other("inverted_index_codec", &codecs) {
        let known = codecs.join(" ");
        return Err(invalid(format!(
            "inverted_index_codec {name} not found or not supported, supported: [{known}]"
        )));
    }
    let is_bm25 = metric_name(flat).and_then(Metric::from_name) == Some(Metric::Bm25);
    let widths: &[&str] = if is_bm25 { &["u16", "u32"] } else { &["fp16", "fp32"] };
    if let Some(name) = other("quant_type", widths) {
        let known = widths.join(" ");
        return Err(invalid(format!("quant_type {name} not found or not supported, supported: [{known}]")));
    }
    check_number(flat, "sindi_window_size", 1024, 65_535)?;
    check_number(flat, "block_max_block_size", 1, 2_147_483_647)
}

/// Checks a number; one that is not given has a default.
fn check_float(flat: &[(String, String)], key: &str, least: f64, most: f64) -> Result<(), Error> {
    let Some(value) = given(flat, key) else { return Ok(()) };
    match value.trim().parse::<f64>() {
        Ok(number) if (least..=most).contains(&number) => Ok(()),
        Ok(_) if most == f64::MAX => Err(invalid(format!(
            "Out of range in json: param '{key}' ({value}) should be at least {least:.6}"
        ))),
        Ok(_) => Err(invalid(format!(
            "Out of range in json: param '{key}' ({value}) should be in range [{least:.6}, {most:.6}]"
        ))),
        Err(_) => Err(invalid(format!("invalid float value, key: '{key}', value: '{value}'"))),
    }
}

/// What the parts of a name of `FAISS` begin with, behind the `B` of binary ones.
const PARTS: [&str; 16] = [
    "Flat", "IVF", "HNSW", "PQ", "OPQ", "SQ", "RFlat", "Refine", "PCA", "IMI", "NSG", "LSH", "ITQ", "L2norm",
    "RR", "Pad",
];

/// Checks the name of an index that is named by its parts.
fn check_parts_named(of_bits: bool, metric: Option<&str>, flat: &[(String, String)]) -> Result<(), Error> {
    let name = given(flat, "faiss_index_name").unwrap_or_default();
    for part in name.split(',').map(str::trim) {
        let bare = part.strip_prefix('B').filter(|_| of_bits).unwrap_or(part);
        for (kind, least, most) in [("IVF", 1, 65_536), ("HNSW", 2, 2_048)] {
            let Some(digits) = bare.strip_prefix(kind) else { continue };
            let end = digits.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(digits.len());
            if end > 0 && !digits[..end].parse::<u32>().is_ok_and(|number| (least..=most).contains(&number)) {
                return Err(invalid(format!("invalid faiss_index_name: {}", shown(name))));
            }
            if let Some(metric) = metric.filter(|_| of_bits && kind == "IVF")
                && !matches!(metric.to_uppercase().as_str(), "HAMMING" | "JACCARD")
            {
                return Err(invalid(format!(
                    "metric type {metric} not found or not supported, supported: [HAMMING JACCARD]"
                )));
            }
        }
    }
    let is_known = |part: &str| {
        let part = part.trim();
        let bare = part.strip_prefix('B').unwrap_or(part);
        PARTS.iter().any(|known| part.starts_with(known) || bare.starts_with(known))
    };
    if name.split(',').all(is_known) {
        Ok(())
    } else {
        Err(invalid(format!("invalid faiss_index_name: {}", shown(name))))
    }
}

/// Turns the parameters of a search of an index that is named by its parts into those of the index that answers for it, for
/// a search of `count` hits.
///
/// # Errors
/// Milvus's words for one that is no number.
pub fn search_by_parts(params: &mut BTreeMap<String, String>, count: usize) -> Result<(), Error> {
    for key in ["nprobe", "efSearch", "k_factor", "ht", "quantizer_efSearch", "quantizer_nprobe"] {
        match params.get(key) {
            Some(value) if value.trim().parse::<f64>().is_err() => {
                let value = shown(value);
                return Err(invalid(format!("faiss search parameter {key} expects a number, got {value}")));
            }
            _ => {}
        }
    }
    if let Some(kept) = params.remove("efSearch").and_then(|text| text.trim().parse::<usize>().ok()) {
        params.insert("ef".to_owned(), kept.max(count).to_string());
    }
    Ok(())
}

/// Checks the build parameters of an index on dense vectors.
fn check_dense(field: &Field, name: &str, flat: &[(String, String)]) -> Result<(), Error> {
    if name.starts_with("HNSW") {
        check_number(flat, "M", 2, 2048)?;
        check_number(flat, "efConstruction", 1, 2_147_483_647)?;
    }
    if name.starts_with("IVF_") || name == "SCANN" {
        check_number(flat, "nlist", 1, 65_536)?;
    }
    if matches!(name, "HNSW_PQ" | "HNSW_PRQ" | "IVF_PQ") {
        check_number(flat, "m", 1, 65_536)?;
        check_number(flat, "nbits", 1, 24)?;
        // Milvus words it in two ways.
        check_parts(if name == "IVF_PQ" { "a vector" } else { "the vector" }, field.dim(), flat)?;
    }
    if name == "HNSW_PRQ" {
        check_number(flat, "nrq", 1, 16)?;
    }
    if name == "SCANN" {
        check_boolean(flat, "with_raw_data")?;
    }
    if matches!(name, "DISKANN" | "AISAQ") {
        check_number(flat, "max_degree", 1, 2048)?;
        check_number(flat, "search_list_size", 1, 2_147_483_647)?;
    }
    let one_of = |key: &str, known: &[&str]| {
        given(flat, key).filter(|value| !known.iter().any(|known| known.eq_ignore_ascii_case(value)))
    };
    if name == "HNSW_SQ" && one_of("sq_type", &["sq4u", "sq6", "sq8", "fp16", "bf16"]).is_some() {
        return Err(invalid("invalid scalar quantizer type"));
    }
    if matches!(name, "HNSW_SQ" | "HNSW_PQ" | "HNSW_PRQ" | "IVF_RABITQ") {
        check_boolean(flat, "refine")?;
        let refine_types = ["sq4u", "sq6", "sq8", "fp16", "bf16", "fp32", "flat"];
        if let Some(value) = one_of("refine_type", &refine_types) {
            let known = refine_types.join(", ");
            return Err(invalid(format!("invalid refine type : {value}, optional types are [{known}]")));
        }
    }
    Ok(())
}

fn given<'a>(flat: &'a [(String, String)], key: &str) -> Option<&'a str> {
    flat.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
}

/// Product codes cut a vector into equal parts. `vector` is what error texts call it.
fn check_parts(vector: &str, dim: usize, flat: &[(String, String)]) -> Result<(), Error> {
    match given(flat, "m").and_then(|m| m.trim().parse::<usize>().ok()) {
        Some(m) if m > 0 && !dim.is_multiple_of(m) => Err(invalid(format!(
            "The dimension of {vector} (dim) should be a multiple of the number of subquantizers (m). Dimension:{dim}, m:{m}"
        ))),
        _ => Ok(()),
    }
}

fn check_boolean(flat: &[(String, String)], key: &str) -> Result<(), Error> {
    match given(flat, key) {
        Some(value) if !["true", "false"].iter().any(|known| known.eq_ignore_ascii_case(value)) => {
            let value = shown(value);
            Err(invalid(format!("Type conflict in json: param '{key}' (\"{value}\") should be a boolean")))
        }
        _ => Ok(()),
    }
}

/// Checks a whole number; one that is not given has a default.
fn check_number(flat: &[(String, String)], key: &str, low: i64, high: i64) -> Result<(), Error> {
    let Some((_, value)) = flat.iter().find(|(known, _)| known == key) else { return Ok(()) };
    let Ok(number) = value.trim().parse::<i64>() else {
        let is_number = value.trim().parse::<f64>().is_ok();
        let complaint = if is_number { "wrong data type in json" } else { "invalid integer value" };
        return Err(invalid(format!("{complaint}, key: '{key}', value: '{value}'")));
    };
    if (low..=high).contains(&number) {
        return Ok(());
    }
    Err(invalid(format!("Out of range in json: param '{key}' ({number}) should be in range [{low}, {high}]")))
}

fn check_scalar(
    schema: &Schema,
    field: &Field,
    name: &str,
    family: Family,
    flat: &[(String, String)],
) -> Result<(), Error> {
    let data_type = field.data_type;
    match family {
        Family::Scalar => {}
        Family::Dense if name == AUTO => {}
        Family::ScalarNotBuilt => return Err(Error::IndexNotBuilt { index_type: name.to_owned() }),
        Family::Dense
        | Family::ByParts
        | Family::Gpu
        | Family::Bits
        | Family::Signatures
        | Family::Sparse => {
            return Err(invalid(format!("index {name} only supports vector data type")));
        }
    }
    if name == "NGRAM" {
        check_ngram(data_type, flat)?;
    }
    // Of a part of a struct, each element is what an index is of.
    let data_type = if schema.struct_of(field.id).is_some() { data_type.element() } else { data_type };
    let values = match data_type {
        DataType::Array(element) => element.scalar(),
        // What is taken from a JSON field is of the type that the user names.
        DataType::Json => {
            check_target(name, schema, field, flat)?.ok_or_else(|| wrong_values(name, data_type))?
        }
        other => other,
    };
    if name == "BITMAP" && field.is_primary {
        return Err(invalid("create bitmap index on primary key not supported"));
    }
    if is_of_values(name, data_type, values) { Ok(()) } else { Err(wrong_values(name, data_type)) }
}

/// Whether an index called `name` may be on a field of `data_type` for the sake of such values in it.
fn is_of_values(name: &str, data_type: DataType, values: DataType) -> bool {
    use DataType::{Bool, Double, Float, Geometry, Int8, Int16, Int32, Int64, Json, Timestamptz, VarChar};
    match name {
        "RTREE" => data_type == Geometry,
        "INVERTED" => data_type != Geometry,
        "BITMAP" => matches!(values, Bool | Int8 | Int16 | Int32 | Int64 | VarChar),
        "TRIE" | "Trie" => data_type == VarChar,
        "STL_SORT" => {
            matches!(data_type, Int8 | Int16 | Int32 | Int64 | Float | Double | VarChar | Json | Timestamptz)
                && values != Bool
        }
        "NGRAM" => values == VarChar,
        _ => true,
    }
}

/// Checks how long the runs of letters are that an index is made of.
fn check_ngram(data_type: DataType, flat: &[(String, String)]) -> Result<(), Error> {
    if !matches!(data_type, DataType::VarChar | DataType::Json) {
        return Err(invalid("ngram index can only be created on VARCHAR or JSON field"));
    }
    if data_type == DataType::Json && given(flat, "json_cast_type").is_none_or(str::is_empty) {
        return Err(invalid("JSON field with ngram index must specify json_cast_type"));
    }
    let (Some(least), Some(most)) = (given(flat, "min_gram"), given(flat, "max_gram")) else {
        return Err(invalid("Ngram index must specify both min_gram and max_gram"));
    };
    match (least.trim().parse::<u32>(), most.trim().parse::<u32>()) {
        (Ok(low), Ok(high)) if low > 0 && low <= high => Ok(()),
        _ => Err(invalid(format!(
            "invalid min_gram or max_gram value for Ngram index, min_gram: {least}, max_gram: {most}"
        ))),
    }
}

fn wrong_values(name: &str, data_type: DataType) -> Error {
    match name {
        "BITMAP" => invalid("bitmap index are only supported on bool, int, string and array field"),
        "TRIE" | "Trie" => invalid("TRIE are only supported on varchar field"),
        "RTREE" => invalid("RTREE index can only be built on geometry field"),
        "INVERTED" => invalid("INVERTED are not supported on Geometry field"),
        "NGRAM" => invalid("JSON field with ngram index only supports json_cast_type VARCHAR"),
        _ => invalid(format!(
            "STL_SORT are only supported on numeric, varchar or timestamptz field, got {}",
            data_type.name()
        )),
    }
}

/// Types that values in JSON may be taken as, and what an index of single values has of each.
const CASTS: [(&str, Option<DataType>); 7] = [
    ("BOOL", Some(DataType::Bool)),
    ("DOUBLE", Some(DataType::Double)),
    ("VARCHAR", Some(DataType::VarChar)),
    ("ARRAY_BOOL", None),
    ("ARRAY_DOUBLE", None),
    ("ARRAY_VARCHAR", None),
    ("JSON", None),
];

/// Checks what an index on a JSON field is to cover, and gives the type of the values if they are single ones or the index
/// takes any.
fn check_target(
    name: &str,
    schema: &Schema,
    field: &Field,
    flat: &[(String, String)],
) -> Result<Option<DataType>, Error> {
    if matches!(name, "TRIE" | "Trie") {
        return Ok(None);
    }
    let Some(cast) = given(flat, "json_cast_type").filter(|cast| !cast.is_empty()) else {
        let text = "json index must specify cast type: missing parameter".to_owned();
        return Err(Error::Index { code: 1101, text });
    };
    let Some((_, values)) = CASTS.iter().find(|(known, _)| known.eq_ignore_ascii_case(cast)) else {
        return Err(invalid(format!("json_cast_type {cast} is not supported")));
    };
    if let Some(function) = given(flat, "json_cast_function").filter(|function| !function.is_empty()) {
        if !function.eq_ignore_ascii_case("STRING_TO_DOUBLE") {
            return Err(invalid(format!("json_cast_function {function} is not supported")));
        }
        if *values != Some(DataType::Double) {
            return Err(invalid(format!(
                "json_cast_function {function} is not supported for json_cast_type {cast}"
            )));
        }
    }
    if let Some(path) = given(flat, "json_path").filter(|path| !path.is_empty()) {
        check_path(schema, field, path)?;
    }
    let takes_any = matches!(name, "INVERTED" | AUTO);
    Ok(values.or(takes_any.then_some(DataType::Json)))
}

/// Checks that a path begins at `field`: with its name, or with a key of the dynamic field.
fn check_path(schema: &Schema, field: &Field, path: &str) -> Result<(), Error> {
    let refused = |why: String| invalid(format!("cannot parse identifier: {path}, error: {why}"));
    let parsed = JsonPath::parse(path).ok_or_else(|| match expr::parse(path, schema, &Templates::new()) {
        Err(wrong @ (expr::Error::Token { .. } | expr::Error::Mismatched { .. })) => {
            refused(wrong.to_string())
        }
        _ => refused("it is no path into JSON".to_owned()),
    })?;
    match schema.field(&parsed.base).or_else(|| schema.dynamic()) {
        Some(found) if found.id == field.id => Ok(()),
        Some(_) => Err(invalid("fieldID not match with field name")),
        None => Err(refused(format!("field {} not exist", parsed.base))),
    }
}

/// Checks that only a bitmap is told whether to keep the places of its values.
///
/// # Errors
/// Milvus's words for an index of another type.
pub fn check_offsets(index_type: &str, set: &[(String, String)]) -> Result<(), Error> {
    let is_set = set.iter().any(|(key, _)| key == "indexoffsetcache.enabled");
    if is_set && !index_type.eq_ignore_ascii_case("BITMAP") {
        return Err(invalid("invalid offset cache index params"));
    }
    Ok(())
}

/// Checks that every parameter to set (with a value) or to remove (without) may change after an index was made.
///
/// # Errors
/// [`Error::FixedIndexParam`] for any other, and Milvus's words for a bad value.
pub fn check_alterable<'a>(params: impl Iterator<Item = (&'a str, Option<&'a str>)>) -> Result<(), Error> {
    for (key, value) in params {
        match (key, value) {
            ("mmap.enabled" | "indexoffsetcache.enabled", Some(value)) if boolean(value).is_none() => {
                return Err(Error::MmapValue { value: value.to_owned() });
            }
            ("warmup", Some(value)) => check_warmup(value)?,
            ("mmap.enabled" | "indexoffsetcache.enabled" | "warmup", _) => {}
            _ => return Err(Error::FixedIndexParam { key: key.to_owned() }),
        }
    }
    Ok(())
}
