//! Index parameters: defaults and checks, by the table of types that Milvus knows.
//!
//! Source: wire specification 2.13.

use super::params::{boolean, plain};
use crate::model::{DataType, Field, Metric};
use crate::proxy::Error;

/// The automatic type.
const AUTO: &str = "AUTOINDEX";

/// What a name of an index type stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    /// On dense vectors of singles, and built.
    Dense,
    /// On dense vectors of singles, not built yet.
    DenseNotBuilt,
    /// On binary vectors.
    Bits,
    /// On binary vectors, not built yet.
    BitsNotBuilt,
    /// On sparse vectors.
    Sparse,
    /// On scalars: recorded only, filters are answered by scan.
    Scalar,
    /// On scalars, not built yet.
    ScalarNotBuilt,
}

const TYPES: [(&str, Family); 33] = [
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
    ("DISKANN", Family::DenseNotBuilt),
    ("AISAQ", Family::DenseNotBuilt),
    ("FAISS", Family::DenseNotBuilt),
    ("GPU_IVF_FLAT", Family::DenseNotBuilt),
    ("GPU_IVF_PQ", Family::DenseNotBuilt),
    ("GPU_CAGRA", Family::DenseNotBuilt),
    ("GPU_BRUTE_FORCE", Family::DenseNotBuilt),
    ("SVS_VAMANA", Family::DenseNotBuilt),
    ("SVS_FLAT", Family::DenseNotBuilt),
    ("BIN_FLAT", Family::Bits),
    ("BIN_IVF_FLAT", Family::Bits),
    ("MINHASH_LSH", Family::BitsNotBuilt),
    ("SPARSE_INVERTED_INDEX", Family::Sparse),
    ("SPARSE_WAND", Family::Sparse),
    ("INVERTED", Family::Scalar),
    ("BITMAP", Family::Scalar),
    ("TRIE", Family::Scalar),
    ("Trie", Family::Scalar),
    ("STL_SORT", Family::Scalar),
    ("NGRAM", Family::ScalarNotBuilt),
    ("RTREE", Family::ScalarNotBuilt),
    ("HYBRID", Family::ScalarNotBuilt),
];

/// Checks the parameters of an index on `field` and fills in `index_type` and `metric_type`. What is returned is what
/// clients see again: the user's pairs as they came, in order. `is_computed` says that a function fills the field.
///
/// # Errors
/// Milvus's words for the first parameter that is wrong.
pub fn checked(
    field: &Field,
    is_computed: bool,
    mut pairs: Vec<(String, String)>,
) -> Result<Vec<(String, String)>, Error> {
    let flat = flattened(&pairs)?;
    let named = flat.iter().find(|(key, _)| key == "index_type").map_or("", |(_, value)| value.as_str());
    let name = if named.is_empty() { AUTO } else { named };
    let family = TYPES.iter().find(|(known, _)| *known == name).map(|(_, family)| *family);
    let family = family.ok_or_else(|| {
        bare(format!("invalid parameter[expected=valid index][actual=invalid index type: {name}]"))
    })?;
    check_mmap(&flat)?;
    if field.data_type.is_vector() {
        check_vector(field, name, family, &flat)?;
        let given = metric_name(&flat);
        check_computed(is_computed, given)?;
        if name == AUTO {
            let default = if is_computed { Metric::Bm25 } else { Metric::default_of(field.data_type) };
            let metric = given.unwrap_or(default.name());
            return Ok(vec![entry("index_type", AUTO), entry("metric_type", metric)]);
        }
        // Only an automatic index has a metric of its own choice.
        let metric = given.ok_or_else(|| bare("metric type not set for vector index".to_owned()))?.to_owned();
        if !pairs.iter().any(|(key, _)| key == "metric_type") {
            pairs.push(entry("metric_type", &metric));
        }
    } else {
        check_scalar(field, name, family, &flat)?;
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

/// The pairs with what the JSON text `params` carries put beside them.
pub(super) fn flattened(pairs: &[(String, String)]) -> Result<Vec<(String, String)>, Error> {
    let mut flat = Vec::with_capacity(pairs.len() + 4);
    for (key, value) in pairs {
        if key != "params" {
            flat.push((key.clone(), value.clone()));
        } else if !value.is_empty() {
            let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(value)
                .map_err(|reason| invalid(format!("failed to unmarshal params: {reason}")))?;
            flat.extend(object.iter().map(|(key, value)| (key.clone(), plain(value))));
        }
    }
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
    let (of_bits, of_pairs) =
        (field.data_type == DataType::BinaryVector, field.data_type == DataType::SparseFloatVector);
    match family {
        Family::Dense if name == AUTO || field.data_type.is_dense() => {}
        Family::Bits if of_bits => {}
        Family::Sparse if of_pairs => {}
        Family::DenseNotBuilt if field.data_type.is_dense() => {
            return Err(Error::IndexNotBuilt { index_type: name.to_owned() });
        }
        Family::BitsNotBuilt if of_bits => {
            return Err(Error::IndexNotBuilt { index_type: name.to_owned() });
        }
        _ => {
            let data_type = field.data_type.name();
            return Err(invalid(format!("data type {data_type} can't build with this index {name}")));
        }
    }
    // What is built reads singles; Milvus has no inverted files of 8-bit vectors.
    if field.data_type == DataType::Int8Vector && name.starts_with("IVF") {
        let data_type = field.data_type.name();
        return Err(invalid(format!("data type {data_type} can't build with this index {name}")));
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
            return Err(invalid("only IP&BM25 is the supported metric type for sparse index"));
        }
        let kind = if of_bits { "binary" } else { "float" };
        return Err(invalid(format!("{kind} vector index does not support metric type: {metric}")));
    }
    match family {
        Family::Bits if name == "BIN_IVF_FLAT" => check_number(flat, "nlist", 1, 65_536),
        Family::Bits => Ok(()),
        Family::Sparse => check_sparse(flat),
        _ => check_dense(field, name, flat),
    }
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
    let known = ["DAAT_MAXSCORE", "DAAT_WAND", "TAAT_NAIVE"];
    match given(flat, "inverted_index_algo").filter(|name| !known.contains(name)) {
        Some(name) => Err(invalid(format!("sparse inverted index algo {name} not found or not supported"))),
        None => Ok(()),
    }
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
        check_parts(field.dim(), flat)?;
    }
    if name == "HNSW_PRQ" {
        check_number(flat, "nrq", 1, 16)?;
    }
    if name == "SCANN" {
        check_boolean(flat, "with_raw_data")?;
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

/// Product codes cut a vector into equal parts.
fn check_parts(dim: usize, flat: &[(String, String)]) -> Result<(), Error> {
    match given(flat, "m").and_then(|m| m.trim().parse::<usize>().ok()) {
        Some(m) if m > 0 && !dim.is_multiple_of(m) => Err(invalid(format!(
            "The dimension of a vector (dim) should be a multiple of the number of subquantizers (m). Dimension:{dim}, m:{m}"
        ))),
        _ => Ok(()),
    }
}

fn check_boolean(flat: &[(String, String)], key: &str) -> Result<(), Error> {
    match given(flat, key) {
        Some(value) if !["true", "false"].iter().any(|known| known.eq_ignore_ascii_case(value)) => {
            Err(invalid(format!("invalid bool value, key: '{key}', value: '{value}'")))
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

fn check_scalar(field: &Field, name: &str, family: Family, flat: &[(String, String)]) -> Result<(), Error> {
    use DataType::{Bool, Double, Float, Int8, Int16, Int32, Int64, Json, VarChar};
    let data_type = field.data_type;
    match family {
        Family::Scalar => {}
        Family::Dense if name == AUTO => {}
        Family::ScalarNotBuilt if name == "RTREE" => {
            return Err(invalid("RTREE index can only be built on geometry field"));
        }
        Family::ScalarNotBuilt if name == "NGRAM" && !matches!(data_type, VarChar | Json) => {
            return Err(invalid("ngram index can only be created on VARCHAR or JSON field"));
        }
        Family::ScalarNotBuilt => return Err(Error::IndexNotBuilt { index_type: name.to_owned() }),
        Family::Dense | Family::DenseNotBuilt | Family::Bits | Family::BitsNotBuilt | Family::Sparse => {
            return Err(invalid(format!("index {name} only supports vector data type")));
        }
    }
    let values = if let DataType::Array(element) = data_type { element.scalar() } else { data_type };
    match name {
        "BITMAP" if field.is_primary => Err(invalid("create bitmap index on primary key not supported")),
        "BITMAP" if !matches!(values, Bool | Int8 | Int16 | Int32 | Int64 | VarChar) => {
            Err(invalid("bitmap index are only supported on bool, int, string and array field"))
        }
        "TRIE" | "Trie" if data_type != VarChar => Err(invalid("TRIE are only supported on varchar field")),
        "STL_SORT" if !matches!(data_type, Int8 | Int16 | Int32 | Int64 | Float | Double | VarChar) => {
            Err(invalid(format!(
                "STL_SORT are only supported on numeric, varchar or timestamptz field, got {}",
                data_type.name()
            )))
        }
        "INVERTED" | AUTO if data_type == Json => check_json_index(flat),
        _ => Ok(()),
    }
}

const CASTS: [&str; 7] = ["BOOL", "DOUBLE", "VARCHAR", "ARRAY_BOOL", "ARRAY_DOUBLE", "ARRAY_VARCHAR", "JSON"];

fn check_json_index(flat: &[(String, String)]) -> Result<(), Error> {
    let cast = flat.iter().find(|(key, _)| key == "json_cast_type").map(|(_, value)| value.as_str());
    match cast {
        None | Some("") => Err(Error::Index {
            code: 1101,
            text: "json index must specify cast type: missing parameter".to_owned(),
        }),
        Some(cast) if !CASTS.iter().any(|known| known.eq_ignore_ascii_case(cast)) => {
            Err(invalid(format!("json_cast_type {cast} is not supported")))
        }
        Some(_) => Ok(()),
    }
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
            ("mmap.enabled" | "indexoffsetcache.enabled" | "warmup", _) => {}
            _ => return Err(Error::FixedIndexParam { key: key.to_owned() }),
        }
    }
    Ok(())
}
