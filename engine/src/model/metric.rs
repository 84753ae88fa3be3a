//! How near two vectors are.

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
}

impl Metric {
    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::L2 => "L2",
            Self::Ip => "IP",
            Self::Cosine => "COSINE",
        }
    }

    /// The metric of a name on the wire, whatever its case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::L2, Self::Ip, Self::Cosine].into_iter().find(|metric| metric.name().eq_ignore_ascii_case(name))
    }

    /// Whether a larger score is nearer.
    #[must_use]
    pub const fn larger_is_nearer(self) -> bool {
        matches!(self, Self::Ip | Self::Cosine)
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
