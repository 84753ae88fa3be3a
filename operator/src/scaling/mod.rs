//! How many pods there are to be: what was seen of the engine, a rule and the time → a number, and why. Pure.
//!
//! [`Window`] keeps what was seen lately; [`query_nodes`] and [`data_nodes`] decide. Knows no client and no clock. A number grows by a
//! bounded step and shrinks by one; whether a pod may go now is for `rollout` to say.

mod jobs;
mod observed;
mod query;
#[cfg(test)]
mod simulation;
mod standing;
mod window;

use k8s_openapi::jiff::Timestamp;

use crate::crd::ScalingStatus;

pub use jobs::{JobRule, data_nodes};
pub use observed::{Jobs, LoadReport, NodeLoad};
pub use query::{QueryRule, query_nodes};
pub use standing::{Standing, Unread};
pub use window::{JobWindow, QueryWindow, Window};

/// What comes of a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What there is to be.
    pub status: ScalingStatus,
    /// Why the number is not what the load asks for, if it is not.
    pub held: Option<Held>,
}

/// Why a number is not what the load asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// The load asks for more than the rule allows.
    AtMax(String),
    /// Nodes are starting or leaving: what they will do is not to be seen yet.
    Moving(String),
}

/// How far a number was changed, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The first number.
    Began,
    /// The rule has other bounds than before.
    Bounds,
    /// Searches use too much processor time.
    Cpu,
    /// Memory is, or is about to be, too full.
    Memory,
    /// Searches wait for threads.
    QueueWait,
    /// Searches take too long.
    P99,
    /// One fewer is enough.
    Calm,
    /// Jobs wait.
    Jobs,
    /// There has been no job for a while.
    Idle,
}

impl Reason {
    /// The word in a status.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Began => "Began",
            Self::Bounds => "Bounds",
            Self::Cpu => "Cpu",
            Self::Memory => "Memory",
            Self::QueueWait => "QueueWait",
            Self::P99 => "P99",
            Self::Calm => "Calm",
            Self::Jobs => "Jobs",
            Self::Idle => "Idle",
        }
    }
}

/// Most nodes that are added at once, unless there are more already: then as many again.
const MOST_ADDED: i32 = 4;

/// `wanted`, or as far towards it as one step may go.
fn stepped(now: i32, wanted: i32) -> i32 {
    wanted.min(now.saturating_add(now.max(MOST_ADDED)))
}

/// A status after a change.
fn changed(
    before: &ScalingStatus,
    replicas: i32,
    reason: Reason,
    message: String,
    now: Timestamp,
) -> ScalingStatus {
    ScalingStatus {
        replicas,
        reason: reason.name().to_owned(),
        message,
        since: now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        raised_at_cpu_millis: before.raised_at_cpu_millis,
    }
}

/// The status to decide from: the last one, or that of a number that begins, within the bounds of the rule.
fn within(
    before: Option<&ScalingStatus>,
    begins: i32,
    (min, max): (i32, i32),
    now: Timestamp,
) -> ScalingStatus {
    let bounded = |number: i32| number.max(min).min(max);
    match before {
        None => changed(
            &ScalingStatus::default(),
            bounded(begins),
            Reason::Began,
            "from here on the number follows the load".to_owned(),
            now,
        ),
        Some(before) if bounded(before.replicas) != before.replicas => changed(
            before,
            bounded(before.replicas),
            Reason::Bounds,
            format!("{} are not within {min} to {max}", before.replicas),
            now,
        ),
        Some(before) => before.clone(),
    }
}

/// When a status was decided; long ago if it does not say.
fn since(status: &ScalingStatus) -> Timestamp {
    status.since.parse().unwrap_or(Timestamp::UNIX_EPOCH)
}
