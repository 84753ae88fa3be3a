//! Conditions of our objects.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One statement about the object, and since when it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What the statement is about.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: ConditionStatus,
    /// When `status` last changed. RFC 3339, UTC, whole seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub last_transition_time: Option<String>,
    /// One word for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// One sentence for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The generation of the spec that the statement is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// Whether a statement holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// Not known.
    Unknown,
}

/// The statements we make. The first five are the peer's and keep its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionType {
    /// The metadata store can be used.
    EtcdReady,
    /// The object storage can be used.
    StorageReady,
    /// The message stream can be used.
    MsgStreamReady,
    /// The database serves.
    MilvusReady,
    /// The pods run what the spec asks for.
    MilvusUpdated,
    /// The certificates that the spec asks for can be used.
    CertificatesReady,
    /// The spec can be carried out.
    SpecAccepted,
    /// The database serves what the spec asks for.
    Ready,
    /// The operator is bringing the database to what the spec asks for.
    Reconciling,
    /// The spec cannot be reached without somebody acting.
    Stalled,
    /// The engine is as the spec says; of resource groups and collections.
    InSync,
    /// Numbers of pods follow the load, where the spec asks for it.
    ScalingActive,
}

impl ConditionType {
    /// The name in `status.conditions[].type`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::EtcdReady => "EtcdReady",
            Self::StorageReady => "StorageReady",
            Self::MsgStreamReady => "MsgStreamReady",
            Self::MilvusReady => "MilvusReady",
            Self::MilvusUpdated => "MilvusUpdated",
            Self::CertificatesReady => "CertificatesReady",
            Self::SpecAccepted => "SpecAccepted",
            Self::Ready => "Ready",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
            Self::InSync => "InSync",
            Self::ScalingActive => "ScalingActive",
        }
    }
}
