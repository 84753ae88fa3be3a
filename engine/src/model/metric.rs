//! How near two vectors are.

use crate::model::{DataType, VectorElement};

/// The measure of nearness of a vector index, by Milvus's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Metric {
    /// Squared Euclidean distance; smaller is nearer.
    L2,
    /// Inner product; larger is nearer.
    Ip,
    /// Cosine of the angle, in -1 ..= 1; larger is nearer. A zero vector has cosine 0 to everything.
    Cosine,
    /// How many bits differ; smaller is nearer.
    Hamming,
    /// 1 less the share of the bits set in both among those set in either; smaller is nearer. 1 where no bit is set.
    Jaccard,
    /// 0 for rows that have every bit of the query; others are no hits.
    Substructure,
    /// 0 for rows whose every bit the query has; others are no hits.
    Superstructure,
    /// In which share of their 32-bit places two signatures agree, in 0 ..= 1; larger is nearer.
    MhJaccard,
    /// How well a text fits words, by how often it has them and how rare they are; larger is nearer.
    Bm25,
    /// As [`Self::MaxSimCosine`].
    #[serde(rename = "MAX_SIM")]
    MaxSim,
    /// Of lists of vectors: for each vector of the query the greatest cosine of one in the row, added up; larger is nearer.
    #[serde(rename = "MAX_SIM_COSINE")]
    MaxSimCosine,
    /// The same of inner products; larger is nearer.
    #[serde(rename = "MAX_SIM_IP")]
    MaxSimIp,
    /// For each vector of the query the least squared distance of one in the row, added up; smaller is nearer.
    #[serde(rename = "MAX_SIM_L2")]
    MaxSimL2,
    /// The same of how many bits differ; smaller is nearer.
    #[serde(rename = "MAX_SIM_HAMMING")]
    MaxSimHamming,
    /// The same of [`Self::Jaccard`]; smaller is nearer.
    #[serde(rename = "MAX_SIM_JACCARD")]
    MaxSimJaccard,
}

impl Metric {
    /// Every metric, for tables and tests.
    pub const ALL: [Self; 15] = [
        Self::L2,
        Self::Ip,
        Self::Cosine,
        Self::Hamming,
        Self::Jaccard,
        Self::Substructure,
        Self::Superstructure,
        Self::MhJaccard,
        Self::Bm25,
        Self::MaxSim,
        Self::MaxSimCosine,
        Self::MaxSimIp,
        Self::MaxSimL2,
        Self::MaxSimHamming,
        Self::MaxSimJaccard,
    ];

    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::L2 => "L2",
            Self::Ip => "IP",
            Self::Cosine => "COSINE",
            Self::Hamming => "HAMMING",
            Self::Jaccard => "JACCARD",
            Self::Substructure => "SUBSTRUCTURE",
            Self::Superstructure => "SUPERSTRUCTURE",
            Self::MhJaccard => "MHJACCARD",
            Self::Bm25 => "BM25",
            Self::MaxSim => "MAX_SIM",
            Self::MaxSimCosine => "MAX_SIM_COSINE",
            Self::MaxSimIp => "MAX_SIM_IP",
            Self::MaxSimL2 => "MAX_SIM_L2",
            Self::MaxSimHamming => "MAX_SIM_HAMMING",
            Self::MaxSimJaccard => "MAX_SIM_JACCARD",
        }
    }

    /// The metric of a name on the wire, whatever its case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.name().eq_ignore_ascii_case(name))
    }

    /// Whether it compares bits.
    #[must_use]
    pub const fn is_of_bits(self) -> bool {
        matches!(
            self,
            Self::Hamming | Self::Jaccard | Self::Substructure | Self::Superstructure | Self::MhJaccard
        )
    }

    /// What the vectors of two lists are compared by, of a metric of lists; `None` of others.
    #[must_use]
    pub const fn of_lists(self) -> Option<Self> {
        match self {
            Self::MaxSim | Self::MaxSimCosine => Some(Self::Cosine),
            Self::MaxSimIp => Some(Self::Ip),
            Self::MaxSimL2 => Some(Self::L2),
            Self::MaxSimHamming => Some(Self::Hamming),
            Self::MaxSimJaccard => Some(Self::Jaccard),
            _ => None,
        }
    }

    /// Whether vectors, or arrays of them, of `data_type` are compared by it.
    #[must_use]
    pub const fn suits(self, data_type: DataType) -> bool {
        match data_type {
            DataType::BinaryVector => self.is_of_bits(),
            DataType::SparseFloatVector => matches!(self, Self::Ip | Self::Bm25),
            DataType::ArrayOfVector(VectorElement::Binary) => {
                matches!(self, Self::Hamming | Self::Jaccard | Self::MaxSimHamming | Self::MaxSimJaccard)
            }
            DataType::ArrayOfVector(_) => matches!(
                self,
                Self::L2
                    | Self::Ip
                    | Self::Cosine
                    | Self::MaxSim
                    | Self::MaxSimCosine
                    | Self::MaxSimIp
                    | Self::MaxSimL2
            ),
            _ => data_type.is_dense() && matches!(self, Self::L2 | Self::Ip | Self::Cosine),
        }
    }

    /// The metric of an automatic index on vectors of `data_type`.
    #[must_use]
    pub const fn default_of(data_type: DataType) -> Self {
        match data_type {
            DataType::BinaryVector => Self::Hamming,
            DataType::SparseFloatVector => Self::Ip,
            DataType::ArrayOfVector(VectorElement::Binary) => Self::MaxSimHamming,
            DataType::ArrayOfVector(_) => Self::MaxSimCosine,
            _ => Self::Cosine,
        }
    }

    /// Whether a larger score is nearer.
    #[must_use]
    pub const fn larger_is_nearer(self) -> bool {
        matches!(
            self,
            Self::Ip
                | Self::Cosine
                | Self::MhJaccard
                | Self::Bm25
                | Self::MaxSim
                | Self::MaxSimCosine
                | Self::MaxSimIp
        )
    }

    /// Orders two scores, nearest first. NaN comes last.
    #[must_use]
    pub fn nearest_first(self, left: f32, right: f32) -> std::cmp::Ordering {
        let (left, right) = if self.larger_is_nearer() { (-left, -right) } else { (left, right) };
        left.partial_cmp(&right).unwrap_or_else(|| left.is_nan().cmp(&right.is_nan()))
    }
}

impl std::fmt::Display for Metric {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.name())
    }
}
