//! Which index to build: Milvus's index parameters, checked.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Algorithm, Error};
use crate::model::memory::{AUTO_M, DEFAULT_M};
use crate::model::{DataType, Metric};

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
    /// Graph, by its users' wish on disk.
    DiskAnn,
    /// Binary vectors without an index: every row is compared.
    BinFlat,
    /// Inverted file of binary vectors.
    BinIvfFlat,
    /// Sparse vectors by index.
    SparseInverted,
    /// Sparse vectors by index, searched as its name says.
    SparseWand,
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
    /// As lists of the rows that have an index of sparse vectors.
    Postings,
}

impl IndexType {
    /// All of them.
    pub(super) const ALL: [Self; 16] = [
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
        Self::DiskAnn,
        Self::BinFlat,
        Self::BinIvfFlat,
        Self::SparseInverted,
        Self::SparseWand,
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
            Self::DiskAnn => "DISKANN",
            Self::BinFlat => "BIN_FLAT",
            Self::BinIvfFlat => "BIN_IVF_FLAT",
            Self::SparseInverted => "SPARSE_INVERTED_INDEX",
            Self::SparseWand => "SPARSE_WAND",
        }
    }

    pub(super) const fn form(self) -> Form {
        match self {
            Self::Flat | Self::BinFlat => Form::Flat,
            Self::Hnsw | Self::Auto | Self::HnswSq | Self::HnswPq | Self::HnswPrq | Self::DiskAnn => {
                Form::Graph
            }
            Self::IvfFlat | Self::IvfSq8 | Self::IvfPq | Self::IvfRabitq | Self::Scann | Self::BinIvfFlat => {
                Form::Lists
            }
            Self::SparseInverted | Self::SparseWand => Form::Postings,
        }
    }

    /// Whether it is for vectors of numbers.
    #[must_use]
    pub const fn is_dense(self) -> bool {
        !matches!(self, Self::BinFlat | Self::BinIvfFlat | Self::SparseInverted | Self::SparseWand)
    }

    /// Whether vectors of `data_type` may have it.
    fn suits(self, data_type: DataType) -> bool {
        match data_type {
            DataType::BinaryVector => matches!(self, Self::BinFlat | Self::BinIvfFlat),
            DataType::SparseFloatVector => matches!(self, Self::SparseInverted | Self::SparseWand),
            _ => self.is_dense(),
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

/// Names of Milvus for which a type of this engine answers, with its parameters.
const STAND_INS: [(&str, IndexType); 6] = [
    // Signatures are compared one by one, and none is missed.
    ("MINHASH_LSH", IndexType::BinFlat),
    ("AISAQ", IndexType::DiskAnn),
    ("SVS_FLAT", IndexType::Flat),
    ("SVS_VAMANA", IndexType::Hnsw),
    ("SVS_VAMANA_LVQ", IndexType::Hnsw),
    ("SVS_VAMANA_LEANVEC", IndexType::Hnsw),
];

/// Milvus's types that this engine does not build.
const NOT_YET: [&str; 6] =
    ["IVF_SQ8_HYBRID", "SCANN_DVR", "GPU_BRUTE_FORCE", "GPU_IVF_FLAT", "GPU_IVF_PQ", "GPU_CAGRA"];

/// A type that is named by its parts, as in `OPQ16,IVF64,PQ16x4`.
const BY_PARTS: &str = "FAISS";

/// What rows may be compared again by, in Milvus's names.
const REFINE_TYPES: [&str; 7] = ["sq4u", "sq6", "sq8", "fp16", "bf16", "fp32", "flat"];

/// Candidates of a build of `AUTOINDEX`, as Milvus ships it.
const AUTO_EF_CONSTRUCTION: usize = 240;
/// The same of HNSW, unless named.
const DEFAULT_EF_CONSTRUCTION: usize = 360;
/// IVF without a named parameter.
const DEFAULT_NLIST: usize = 128;
/// Rows of a window of lists without a named parameter: scores of so many take 256 KiB, which stay near the processor.
const DEFAULT_WINDOW: usize = 65_535;
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
    /// How lists of sparse vectors are searched.
    pub algorithm: Algorithm,
    /// Rows of a window of lists, where the algorithm has windows; 1 to 65,535.
    pub window: usize,
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
            algorithm: Algorithm::MaxScore,
            window: DEFAULT_WINDOW,
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

    /// What `AUTOINDEX` stands for on vectors of `data_type`.
    fn auto_for(data_type: DataType, metric: Metric) -> Self {
        match data_type {
            DataType::BinaryVector => Self { index_type: IndexType::BinFlat, ..Self::flat(metric) },
            DataType::SparseFloatVector => {
                Self { index_type: IndexType::SparseInverted, ..Self::flat(metric) }
            }
            _ => Self::auto(metric),
        }
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
        Self::parse_for(DataType::FloatVector, pairs)
    }

    /// As [`Self::parse`], of an index on vectors of `data_type`. `AUTOINDEX` on binary vectors compares every row, under
    /// HAMMING unless a metric is given; on sparse ones it is an inverted index, under IP.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_for<K: AsRef<str>, V: AsRef<str>>(
        data_type: DataType,
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, Error> {
        let mut given = flatten(pairs)?;
        let index_type = given.remove("index_type").unwrap_or_else(|| AUTO.to_owned());
        let index_type =
            if index_type == BY_PARTS { type_by_parts(data_type, &mut given) } else { index_type };
        let metric = given.remove("metric_type").filter(|metric| !metric.is_empty());
        let auto = index_type.is_empty() || index_type == AUTO;
        let metric = match metric {
            Some(name) => metric_of(data_type, name)?,
            None if auto => Metric::default_of(data_type),
            None => return Err(Error::MetricMissing),
        };
        if auto {
            return if given.keys().any(|key| is_build_param(key)) {
                Err(Error::AutoIndexParams)
            } else {
                Ok(Self { others: given, ..Self::auto_for(data_type, metric) })
            };
        }
        let mut spec = Self { index_type: index_type_of(data_type, index_type)?, ..Self::flat(metric) };
        match spec.index_type.form() {
            Form::Flat => {}
            Form::Graph => spec.read_graph(&mut given)?,
            Form::Lists => {
                if let Some(nlist) = integer(&mut given, "nlist", 1, 65_536, in_json("nlist"))? {
                    spec.nlist = nlist;
                }
            }
            Form::Postings => {
                spec.algorithm = algorithm_of(spec.index_type, &given)?;
                let key = "sindi_window_size";
                // Others keep it as it was given: of them nobody looked at it before there were windows.
                if spec.algorithm == Algorithm::Sindi
                    && let Some(window) = integer(&mut given, key, 1024, 65_535, in_json(key))?
                {
                    spec.window = window;
                }
            }
        }
        check_codes(spec.index_type, &given)?;
        spec.others = given;
        Ok(spec)
    }

    /// What building it over `rows` rows takes at most in memory besides their vectors, with the finished index and its
    /// stored form. Unit: bytes. Source: what is allocated, and `segment::needs` `measure`.
    #[must_use]
    pub fn build_bytes(&self, vector_bytes: u64, rows: u64, threads: u64) -> u64 {
        // Rows in codes of a byte and of half a byte, where vectors are numbers of four.
        let codes = vector_bytes / 4 + vector_bytes / 8;
        match self.index_type.form() {
            Form::Flat => codes,
            // Links of a row: as they are, written out into bytes that grow, and sealed. While they are found, each thread
            // notes which rows it has seen.
            Form::Graph => {
                let links = 4 * (2 * self.m as u64 + 3);
                codes + rows * (48 + (4 * links).max(links + 4 * threads))
            }
            // The rows that centres are found with, and the centres.
            Form::Lists => {
                let share = |rows_of: u64| vector_bytes / rows.max(1) * rows_of.min(rows);
                let lists = self.nlist as u64;
                codes + share(lists.saturating_mul(64)) + 4 * share(lists) + rows * 24
            }
            // The lists, and while they are made, of each index how many rows have it.
            Form::Postings => 5 * vector_bytes,
        }
    }

    fn read_graph(&mut self, given: &mut BTreeMap<String, String>) -> Result<(), Error> {
        if self.index_type == IndexType::DiskAnn {
            return self.read_disk_graph(given);
        }
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

    /// A graph of `DISKANN` has one layer of `max_degree` links in Milvus; the lowest layer here has twice `m`.
    fn read_disk_graph(&mut self, given: &mut BTreeMap<String, String>) -> Result<(), Error> {
        (self.m, self.ef_construction) = (AUTO_M, AUTO_EF_CONSTRUCTION);
        if let Some(degree) = integer(given, "max_degree", 1, 2048, in_json("max_degree"))? {
            self.m = (degree / 2).max(2);
        }
        let high = i64::from(i32::MAX);
        if let Some(size) = integer(given, "search_list_size", 1, high, in_json("search_list_size"))? {
            self.ef_construction = size;
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

fn metric_of(data_type: DataType, name: String) -> Result<Metric, Error> {
    match Metric::from_name(&name).filter(|metric| metric.suits(data_type)) {
        Some(metric) => Ok(metric),
        None if data_type == DataType::SparseFloatVector => Err(Error::SparseMetric),
        None if data_type == DataType::BinaryVector => Err(Error::BinaryMetric { metric: name }),
        None => Err(Error::UnknownMetric { metric: name }),
    }
}

/// How the lists of a sparse index are searched; its type or a parameter says so.
fn algorithm_of(index_type: IndexType, given: &BTreeMap<String, String>) -> Result<Algorithm, Error> {
    if let Some(text) = given.get("drop_ratio_build") {
        share_of("drop_ratio_build", text)?;
    }
    match given.get("inverted_index_algo") {
        None if index_type == IndexType::SparseWand => Ok(Algorithm::Wand),
        None => Ok(Algorithm::MaxScore),
        Some(name) => {
            Algorithm::from_name(name).ok_or_else(|| Error::UnknownAlgorithm { name: name.clone() })
        }
    }
}

/// A share of what is left out: at least 0, less than 1.
pub(super) fn share_of(key: &'static str, text: &str) -> Result<f32, Error> {
    match text.trim().parse::<f32>() {
        Ok(share) if (0.0..1.0).contains(&share) => Ok(share),
        Ok(_) => Err(Error::ShareOutOfRange { key, value: text.to_owned() }),
        Err(_) => Err(Error::NoNumberInJson { key, value: text.to_owned() }),
    }
}

/// The type that answers for a name by parts, which may add a parameter: inverted files and graphs are built as named, of
/// everything else rows are compared one by one. Codes are of this engine's choice.
fn type_by_parts(data_type: DataType, given: &mut BTreeMap<String, String>) -> String {
    let name = given.get("faiss_index_name").cloned().unwrap_or_default();
    let is_binary = data_type == DataType::BinaryVector;
    let number_of = |kind: &str| {
        name.split(',').find_map(|part| {
            let part = part.trim();
            let part = if is_binary { part.strip_prefix('B').unwrap_or(part) } else { part };
            let digits = part.strip_prefix(kind)?;
            let end = digits.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(digits.len());
            (end > 0).then(|| digits[..end].to_owned())
        })
    };
    if let Some(lists) = number_of("IVF") {
        given.insert("nlist".to_owned(), lists);
        return if is_binary { IndexType::BinIvfFlat } else { IndexType::IvfFlat }.name().to_owned();
    }
    match number_of("HNSW").filter(|_| !is_binary) {
        Some(links) => {
            given.insert("M".to_owned(), links);
            IndexType::Hnsw.name().to_owned()
        }
        None if is_binary => IndexType::BinFlat.name().to_owned(),
        None => IndexType::Flat.name().to_owned(),
    }
}

fn index_type_of(data_type: DataType, name: String) -> Result<IndexType, Error> {
    let stand_in = STAND_INS.iter().find(|(known, _)| *known == name).map(|(_, stand_in)| *stand_in);
    if let Some(found) = stand_in.or_else(|| IndexType::ALL.into_iter().find(|known| known.name() == name)) {
        if found.suits(data_type) {
            Ok(found)
        } else {
            Err(Error::TypeOfOthers { data_type: data_type.name(), index_type: name })
        }
    } else if NOT_YET.contains(&name.as_str()) {
        Err(Error::UnsupportedType { index_type: name })
    } else {
        Err(Error::UnknownType { index_type: name })
    }
}

fn flatten<K: AsRef<str>, V: AsRef<str>>(
    pairs: impl IntoIterator<Item = (K, V)>,
) -> Result<BTreeMap<String, String>, Error> {
    // As `model::index_param` does: what is said by itself goes before what `params` says, and the first before the next.
    let (mut flat, mut texts) = (BTreeMap::<String, String>::new(), Vec::new());
    for (key, value) in pairs {
        let (key, value) = (key.as_ref(), value.as_ref().to_owned());
        if key == "params" {
            texts.push(value);
        } else {
            flat.entry(key.to_owned()).or_insert(value);
        }
    }
    for text in texts {
        let Ok(Value::Object(inner)) = serde_json::from_str(&text) else {
            return Err(Error::BadParams { text });
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
mod tests;
