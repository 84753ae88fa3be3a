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
}

impl IndexType {
    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Flat => "FLAT",
            Self::Hnsw => "HNSW",
            Self::IvfFlat => "IVF_FLAT",
        }
    }
}

/// Milvus's types for float vectors that this engine does not build yet.
const NOT_YET: [&str; 20] = [
    "IVF_SQ8",
    "IVF_SQ8_HYBRID",
    "IVF_PQ",
    "IVF_RABITQ",
    "HNSW_SQ",
    "HNSW_PQ",
    "HNSW_PRQ",
    "SCANN",
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

/// What `AUTOINDEX` builds: HNSW with the parameters Milvus ships for it.
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
    /// What to build; `AUTOINDEX` is [`IndexType::Hnsw`] here.
    pub index_type: IndexType,
    /// How near is measured.
    pub metric: Metric,
    /// Links of a graph node per layer; twice as many on the lowest layer.
    pub m: usize,
    /// Candidates kept while a graph node looks for its neighbours.
    pub ef_construction: usize,
    /// Lists of an inverted file.
    pub nlist: usize,
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
            seed: DEFAULT_SEED,
            others: BTreeMap::new(),
        }
    }

    /// `HNSW` under `metric`.
    #[must_use]
    pub fn hnsw(metric: Metric, m: usize, ef_construction: usize) -> Self {
        Self { index_type: IndexType::Hnsw, m, ef_construction, ..Self::flat(metric) }
    }

    /// `IVF_FLAT` under `metric`.
    #[must_use]
    pub fn ivf_flat(metric: Metric, nlist: usize) -> Self {
        Self { index_type: IndexType::IvfFlat, nlist, ..Self::flat(metric) }
    }

    /// Reads the key-value pairs of an index on float vectors. A pair `params` is a JSON object of more pairs.
    /// `AUTOINDEX`, or no type at all, is HNSW with `M` 18 and `efConstruction` 240, under COSINE unless a metric is given.
    ///
    /// # Errors
    /// The refusals of Milvus, in its words; [`Error::UnsupportedType`] for a type that Milvus has and this engine not.
    pub fn parse<K: AsRef<str>, V: AsRef<str>>(
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, Error> {
        let mut given = flatten(pairs)?;
        let index_type = given.remove("index_type").unwrap_or_else(|| "AUTOINDEX".to_owned());
        let metric = given.remove("metric_type").filter(|metric| !metric.is_empty());
        let auto = index_type.is_empty() || index_type == "AUTOINDEX";
        let metric = match metric {
            Some(name) => Metric::from_name(&name).ok_or(Error::UnknownMetric { metric: name })?,
            None if auto => Metric::Cosine,
            None => return Err(Error::MetricMissing),
        };
        if auto {
            return if given.keys().any(|key| is_build_param(key)) {
                Err(Error::AutoIndexParams)
            } else {
                Ok(Self { others: given, ..Self::hnsw(metric, AUTO_M, AUTO_EF_CONSTRUCTION) })
            };
        }
        let mut spec = Self { index_type: index_type_of(index_type)?, ..Self::flat(metric) };
        match spec.index_type {
            IndexType::Flat => {}
            IndexType::Hnsw => {
                let graph = |key| {
                    move |value: i64, low, high| Error::OutOfRange {
                        key,
                        value: value.to_string(),
                        low,
                        high,
                    }
                };
                if let Some(m) = integer(&mut given, "M", 2, 2048, graph("M"))? {
                    spec.m = m;
                }
                let high = i64::from(i32::MAX);
                if let Some(ef) = integer(&mut given, "efConstruction", 1, high, graph("efConstruction"))? {
                    spec.ef_construction = ef;
                }
            }
            IndexType::IvfFlat => {
                let file = |value: i64, low, high| Error::OutOfRangeInJson {
                    key: "nlist",
                    value: value.to_string(),
                    low,
                    high,
                };
                if let Some(nlist) = integer(&mut given, "nlist", 1, 65_536, file)? {
                    spec.nlist = nlist;
                }
            }
        }
        spec.others = given;
        Ok(spec)
    }
}

/// Whether `key` shapes an index, as opposed to how it is held.
fn is_build_param(key: &str) -> bool {
    !(key.contains("mmap") || key.contains("warmup") || key == "dim" || key.contains("offsetcache"))
}

fn index_type_of(name: String) -> Result<IndexType, Error> {
    let known = [IndexType::Flat, IndexType::Hnsw, IndexType::IvfFlat];
    if let Some(found) = known.into_iter().find(|known| known.name() == name) {
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
    fn unknown_parameters_are_kept() {
        let spec =
            parse(&[("index_type", "FLAT"), ("metric_type", "L2"), ("nlist", "x"), ("mmap.enabled", "true")]);

        let others =
            [("nlist", "x"), ("mmap.enabled", "true")].map(|(key, value)| (key.into(), value.into()));
        assert_eq!(spec, Ok(IndexSpec { others: others.into(), ..IndexSpec::flat(Metric::L2) }));
    }

    #[test]
    fn autoindex_is_a_graph_of_its_own_choice() {
        assert_eq!(parse(&[]), Ok(IndexSpec::hnsw(Metric::Cosine, 18, 240)));
        assert_eq!(
            parse(&[("index_type", "AUTOINDEX"), ("metric_type", "L2")]),
            Ok(IndexSpec::hnsw(Metric::L2, 18, 240))
        );
        assert_eq!(
            parse(&[("index_type", "AUTOINDEX"), ("M", "8")]),
            Err("only metric type can be passed when use AutoIndex".to_owned())
        );
    }

    #[test]
    fn refusals_are_in_milvus_words() {
        let cases: [(&[(&str, &str)], &str); 10] = [
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
        ];
        for (pairs, text) in cases {
            assert_eq!(parse(pairs), Err(text.to_owned()), "{pairs:?}");
        }
    }
}
