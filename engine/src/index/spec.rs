//! Which index to build: Milvus's index parameters, checked.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Error;
use crate::model::Metric;

/// The index types this engine builds. Open: more follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IndexType {
    /// No index: every row is compared.
    Flat,
    /// Layered proximity graph.
    Hnsw,
    /// Inverted file of full vectors.
    IvfFlat,
    /// The engine's own choice: a graph, walked over the shortest codes that lead as well as full vectors.
    Auto,
    /// Graph over codes of a named width.
    HnswSq,
    /// Graph, by its users' wish over product codes.
    HnswPq,
    /// Graph, by its users' wish over product codes of residuals.
    HnswPrq,
    /// Inverted file of byte codes.
    IvfSq8,
    /// Inverted file, by its users' wish of product codes.
    IvfPq,
    /// Inverted file, by its users' wish of codes of a bit.
    IvfRabitq,
    /// Inverted file, by its users' wish of product codes that are compared again.
    Scann,
}

/// How an index is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As the rows themselves.
    Flat,
    /// As a graph.
    Graph,
    /// As lists of rows.
    Lists,
}

impl IndexType {
    /// All of them.
    pub(super) const ALL: [Self; 11] = [
        Self::Flat,
        Self::Hnsw,
        Self::IvfFlat,
        Self::Auto,
        Self::HnswSq,
        Self::HnswPq,
        Self::HnswPrq,
        Self::IvfSq8,
        Self::IvfPq,
        Self::IvfRabitq,
        Self::Scann,
    ];

    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Flat => "FLAT",
            Self::Hnsw => "HNSW",
            Self::IvfFlat => "IVF_FLAT",
            Self::Auto => AUTO,
            Self::HnswSq => "HNSW_SQ",
            Self::HnswPq => "HNSW_PQ",
            Self::HnswPrq => "HNSW_PRQ",
            Self::IvfSq8 => "IVF_SQ8",
            Self::IvfPq => "IVF_PQ",
            Self::IvfRabitq => "IVF_RABITQ",
            Self::Scann => "SCANN",
        }
    }

    pub(super) const fn form(self) -> Form {
        match self {
            Self::Flat => Form::Flat,
            Self::Hnsw | Self::Auto | Self::HnswSq | Self::HnswPq | Self::HnswPrq => Form::Graph,
            Self::IvfFlat | Self::IvfSq8 | Self::IvfPq | Self::IvfRabitq | Self::Scann => Form::Lists,
        }
    }
}

/// How wide the codes are that a graph is walked over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// Half a byte a component where that leads as well as full vectors do, by a measurement; else a byte.
    Measured,
    /// A byte a component.
    Byte,
}

impl Width {
    /// As it is stored.
    pub(super) const fn code(self) -> u32 {
        match self {
            Self::Measured => 4,
            Self::Byte => 8,
        }
    }

    /// What [`Self::code`] gave.
    pub(super) const fn of_code(code: u32) -> Result<Self, Error> {
        match code {
            4 => Ok(Self::Measured),
            8 => Ok(Self::Byte),
            _ => Err(Error::Corrupt { what: "the width of its codes is unknown" }),
        }
    }

    /// The width for Milvus's `sq_type`. Rows are compared by their full vectors in the end whatever it is, so what is
    /// wider than a byte is a byte here too.
    fn of_sq_type(name: &str) -> Result<Self, Error> {
        match name.to_ascii_lowercase().as_str() {
            "sq4u" => Ok(Self::Measured),
            "sq6" | "sq8" | "bf16" | "fp16" => Ok(Self::Byte),
            _ => Err(Error::UnknownQuantizer),
        }
    }
}

/// The automatic type.
const AUTO: &str = "AUTOINDEX";

/// Milvus's types for float vectors that this engine does not build yet.
const NOT_YET: [&str; 13] = [
    "IVF_SQ8_HYBRID",
    "SCANN_DVR",
    "DISKANN",
    "AISAQ",
    "SVS_FLAT",
    "SVS_VAMANA",
    "SVS_VAMANA_LVQ",
    "SVS_VAMANA_LEANVEC",
    "GPU_BRUTE_FORCE",
    "GPU_IVF_FLAT",
    "GPU_IVF_PQ",
    "GPU_CAGRA",
    "FAISS",
];

/// What rows may be compared again by, in Milvus's names.
const REFINE_TYPES: [&str; 7] = ["sq4u", "sq6", "sq8", "fp16", "bf16", "fp32", "flat"];

/// The graph of `AUTOINDEX`: with the parameters Milvus ships for it.
const AUTO_M: usize = 18;
const AUTO_EF_CONSTRUCTION: usize = 240;
/// HNSW without named parameters.
const DEFAULT_M: usize = 30;
const DEFAULT_EF_CONSTRUCTION: usize = 360;
/// IVF without a named parameter.
const DEFAULT_NLIST: usize = 128;
/// Where builds start their random choices unless told otherwise.
const DEFAULT_SEED: u64 = 0x5eed;

/// A checked wish for an index.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexSpec {
    /// What to build.
    pub index_type: IndexType,
    /// How near is measured.
    pub metric: Metric,
    /// Links of a graph node per layer; twice as many on the lowest layer.
    pub m: usize,
    /// Candidates kept while a graph node looks for its neighbours.
    pub ef_construction: usize,
    /// Lists of an inverted file.
    pub nlist: usize,
    /// Codes that a graph is walked over.
    pub width: Width,
    /// Seed of all random choices of the build.
    pub seed: u64,
    /// Parameters that mean nothing here, kept as they were given.
    pub others: BTreeMap<String, String>,
}

impl IndexSpec {
    /// `FLAT` under `metric`.
    #[must_use]
    pub const fn flat(metric: Metric) -> Self {
        Self {
            index_type: IndexType::Flat,
            metric,
            m: DEFAULT_M,
            ef_construction: DEFAULT_EF_CONSTRUCTION,
            nlist: DEFAULT_NLIST,
            width: Width::Measured,
            seed: DEFAULT_SEED,
            others: BTreeMap::new(),
        }
    }

    /// `HNSW` under `metric`.
    #[must_use]
    pub fn hnsw(metric: Metric, m: usize, ef_construction: usize) -> Self {
        Self { index_type: IndexType::Hnsw, m, ef_construction, ..Self::flat(metric) }
    }

    /// `AUTOINDEX` under `metric`.
    #[must_use]
    pub fn auto(metric: Metric) -> Self {
        let graph = Self::hnsw(metric, AUTO_M, AUTO_EF_CONSTRUCTION);
        Self { index_type: IndexType::Auto, ..graph }
    }

    /// `IVF_FLAT` under `metric`.
    #[must_use]
    pub fn ivf_flat(metric: Metric, nlist: usize) -> Self {
        Self { index_type: IndexType::IvfFlat, nlist, ..Self::flat(metric) }
    }

    /// Reads the key-value pairs of an index on float vectors. A pair `params` is a JSON object of more pairs.
    /// `AUTOINDEX`, or no type at all, is under COSINE unless a metric is given.
    ///
    /// # Errors
    /// The refusals of Milvus, in its words; [`Error::UnsupportedType`] for a type that Milvus has and this engine not.
    pub fn parse<K: AsRef<str>, V: AsRef<str>>(
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, Error> {
        let mut given = flatten(pairs)?;
        let index_type = given.remove("index_type").unwrap_or_else(|| AUTO.to_owned());
        let metric = given.remove("metric_type").filter(|metric| !metric.is_empty());
        let auto = index_type.is_empty() || index_type == AUTO;
        let metric = match metric {
            Some(name) => Metric::from_name(&name).ok_or(Error::UnknownMetric { metric: name })?,
            None if auto => Metric::Cosine,
            None => return Err(Error::MetricMissing),
        };
        if auto {
            return if given.keys().any(|key| is_build_param(key)) {
                Err(Error::AutoIndexParams)
            } else {
                Ok(Self { others: given, ..Self::auto(metric) })
            };
        }
        let mut spec = Self { index_type: index_type_of(index_type)?, ..Self::flat(metric) };
        match spec.index_type.form() {
            Form::Flat => {}
            Form::Graph => spec.read_graph(&mut given)?,
            Form::Lists => {
                if let Some(nlist) = integer(&mut given, "nlist", 1, 65_536, in_json("nlist"))? {
                    spec.nlist = nlist;
                }
            }
        }
        check_codes(spec.index_type, &given)?;
        spec.others = given;
        Ok(spec)
    }

    fn read_graph(&mut self, given: &mut BTreeMap<String, String>) -> Result<(), Error> {
        let graph =
            |key| move |value: i64, low, high| Error::OutOfRange { key, value: value.to_string(), low, high };
        if let Some(m) = integer(given, "M", 2, 2048, graph("M"))? {
            self.m = m;
        }
        let high = i64::from(i32::MAX);
        if let Some(ef) = integer(given, "efConstruction", 1, high, graph("efConstruction"))? {
            self.ef_construction = ef;
        }
        if self.index_type == IndexType::HnswSq {
            self.width = Width::of_sq_type(given.get("sq_type").map_or("SQ8", String::as_str))?;
        }
        Ok(())
    }
}

/// Checks what shapes the codes of a type in Milvus. Rows are held in codes of this engine's choice and always compared
/// again by their full vectors, so these choose nothing here; they are kept as they were given.
fn check_codes(index_type: IndexType, given: &BTreeMap<String, String>) -> Result<(), Error> {
    use IndexType::{HnswPq, HnswPrq, HnswSq, IvfPq, IvfRabitq, Scann};
    let whole = |key, low, high| integer(&mut given.clone(), key, low, high, in_json(key)).map(drop);
    if matches!(index_type, HnswPq | HnswPrq | IvfPq) {
        whole("m", 1, 65_536)?;
        whole("nbits", 1, 24)?;
    }
    if index_type == HnswPrq {
        whole("nrq", 1, 16)?;
    }
    if index_type == Scann {
        check_bool("with_raw_data", given)?;
    }
    if matches!(index_type, HnswSq | HnswPq | HnswPrq | IvfRabitq) {
        check_bool("refine", given)?;
        if let Some(value) = given
            .get("refine_type")
            .filter(|value| !REFINE_TYPES.iter().any(|known| known.eq_ignore_ascii_case(value)))
        {
            return Err(Error::UnknownRefineType { value: value.clone() });
        }
    }
    Ok(())
}

fn check_bool(key: &'static str, given: &BTreeMap<String, String>) -> Result<(), Error> {
    match given.get(key) {
        Some(value) if !["true", "false"].iter().any(|known| known.eq_ignore_ascii_case(value)) => {
            Err(Error::NotBool { key, value: value.clone() })
        }
        _ => Ok(()),
    }
}

fn in_json(key: &'static str) -> impl Fn(i64, i64, i64) -> Error {
    move |value, low, high| Error::OutOfRangeInJson { key, value: value.to_string(), low, high }
}

/// Whether `key` shapes an index, as opposed to how it is held.
fn is_build_param(key: &str) -> bool {
    !(key.contains("mmap") || key.contains("warmup") || key == "dim" || key.contains("offsetcache"))
}

fn index_type_of(name: String) -> Result<IndexType, Error> {
    if let Some(found) = IndexType::ALL.into_iter().find(|known| known.name() == name) {
        Ok(found)
    } else if NOT_YET.contains(&name.as_str()) {
        Err(Error::UnsupportedType { index_type: name })
    } else {
        Err(Error::UnknownType { index_type: name })
    }
}

fn flatten<K: AsRef<str>, V: AsRef<str>>(
    pairs: impl IntoIterator<Item = (K, V)>,
) -> Result<BTreeMap<String, String>, Error> {
    let mut flat = BTreeMap::new();
    for (key, value) in pairs {
        let (key, value) = (key.as_ref(), value.as_ref());
        if key != "params" {
            flat.insert(key.to_owned(), value.to_owned());
            continue;
        }
        let Ok(Value::Object(inner)) = serde_json::from_str(value) else {
            return Err(Error::BadParams { text: value.to_owned() });
        };
        for (key, value) in inner {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            flat.entry(key).or_insert(text);
        }
    }
    Ok(flat)
}

/// Takes the integer `key` out of `given`.
fn integer(
    given: &mut BTreeMap<String, String>,
    key: &str,
    low: i64,
    high: i64,
    refuse: impl Fn(i64, i64, i64) -> Error,
) -> Result<Option<usize>, Error> {
    let Some(text) = given.remove(key) else { return Ok(None) };
    let Ok(value) = text.trim().parse::<i64>() else {
        let (key, value) = (key.to_owned(), text);
        return Err(match value.trim().parse::<f64>() {
            Ok(_) => Error::WrongDataType { key, value },
            Err(_) => Error::NotInteger { key, value },
        });
    };
    if (low..=high).contains(&value) {
        Ok(usize::try_from(value).ok())
    } else {
        Err(refuse(value, low, high))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<IndexSpec, String> {
        IndexSpec::parse(pairs.iter().copied()).map_err(|error| error.to_string())
    }

    #[test]
    fn parameters_come_flat_or_as_json() {
        let flat = [("index_type", "HNSW"), ("metric_type", "IP"), ("M", "16"), ("efConstruction", "200")];
        let nested =
            [("index_type", "HNSW"), ("metric_type", "IP"), ("params", r#"{"M":16,"efConstruction":"200"}"#)];

        assert_eq!(parse(&flat), Ok(IndexSpec::hnsw(Metric::Ip, 16, 200)));
        assert_eq!(parse(&nested), parse(&flat));
    }

    #[test]
    fn the_codes_of_a_graph_are_named() {
        let width = |sq_type| {
            parse(&[("index_type", "HNSW_SQ"), ("metric_type", "IP"), ("sq_type", sq_type)])
                .map(|spec| spec.width)
        };

        assert_eq!(
            ["SQ4U", "sq6", "SQ8", "BF16", "fp16"].map(width),
            [Ok(Width::Measured), Ok(Width::Byte), Ok(Width::Byte), Ok(Width::Byte), Ok(Width::Byte)]
        );
        for index_type in IndexType::ALL {
            let spec = parse(&[("index_type", index_type.name()), ("metric_type", "IP")]).unwrap();
            assert_eq!((spec.index_type, spec.metric), (index_type, Metric::Ip));
        }
    }

    #[test]
    fn unknown_parameters_are_kept() {
        let spec =
            parse(&[("index_type", "FLAT"), ("metric_type", "L2"), ("nlist", "x"), ("mmap.enabled", "true")]);

        let others =
            [("nlist", "x"), ("mmap.enabled", "true")].map(|(key, value)| (key.into(), value.into()));
        assert_eq!(spec, Ok(IndexSpec { others: others.into(), ..IndexSpec::flat(Metric::L2) }));
    }

    #[test]
    fn autoindex_is_a_graph_of_its_own_choice() {
        assert_eq!(parse(&[]), Ok(IndexSpec::auto(Metric::Cosine)));
        assert_eq!(
            parse(&[("index_type", "AUTOINDEX"), ("metric_type", "L2")]),
            Ok(IndexSpec::auto(Metric::L2))
        );
        assert_eq!(
            parse(&[("index_type", "AUTOINDEX"), ("M", "8")]),
            Err("only metric type can be passed when use AutoIndex".to_owned())
        );
    }

    #[test]
    fn refusals_are_in_milvus_words() {
        let cases: [(&[(&str, &str)], &str); 16] = [
            (
                &[("index_type", "NOPE"), ("metric_type", "IP")],
                "invalid parameter[expected=valid index][actual=invalid index type: NOPE]",
            ),
            (
                &[("index_type", "hnsw"), ("metric_type", "IP")],
                "invalid parameter[expected=valid index][actual=invalid index type: hnsw]",
            ),
            (&[("index_type", "DISKANN"), ("metric_type", "IP")], "index type not supported: DISKANN"),
            (&[("index_type", "HNSW")], "metric type not set for vector index"),
            (
                &[("index_type", "HNSW"), ("metric_type", "HAMMING")],
                "float vector index does not support metric type: HAMMING",
            ),
            (
                &[("index_type", "HNSW"), ("metric_type", "IP"), ("M", "-1")],
                "param 'M' (-1) should be in range [2, 2048]",
            ),
            (
                &[("index_type", "HNSW"), ("metric_type", "IP"), ("M", "True")],
                "invalid integer value, key: 'M', value: 'True': invalid parameter",
            ),
            (
                &[("index_type", "HNSW"), ("metric_type", "IP"), ("M", "16.0")],
                "wrong data type in json, key: 'M', value: '16.0'",
            ),
            (
                &[("index_type", "HNSW"), ("metric_type", "IP"), ("efConstruction", "0")],
                "param 'efConstruction' (0) should be in range [1, 2147483647]",
            ),
            (
                &[("index_type", "IVF_FLAT"), ("metric_type", "IP"), ("nlist", "65537")],
                "Out of range in json: param 'nlist' (65537) should be in range [1, 65536]",
            ),
            (
                &[("index_type", "HNSW_SQ"), ("metric_type", "IP"), ("sq_type", "SQ5")],
                "invalid scalar quantizer type",
            ),
            (
                &[("index_type", "HNSW_SQ"), ("metric_type", "IP"), ("refine_type", "x")],
                "invalid refine type : x, optional types are [sq4u, sq6, sq8, fp16, bf16, fp32, flat]",
            ),
            (
                &[("index_type", "HNSW_SQ"), ("metric_type", "IP"), ("refine", "1")],
                "invalid bool value, key: 'refine', value: '1': invalid parameter",
            ),
            (
                &[("index_type", "HNSW_PRQ"), ("metric_type", "IP"), ("nrq", "17")],
                "Out of range in json: param 'nrq' (17) should be in range [1, 16]",
            ),
            (
                &[("index_type", "HNSW_PQ"), ("metric_type", "IP"), ("nbits", "25")],
                "Out of range in json: param 'nbits' (25) should be in range [1, 24]",
            ),
            (
                &[("index_type", "IVF_PQ"), ("metric_type", "IP"), ("m", "16.0")],
                "wrong data type in json, key: 'm', value: '16.0'",
            ),
        ];
        for (pairs, text) in cases {
            assert_eq!(parse(pairs), Err(text.to_owned()), "{pairs:?}");
        }
    }
}
