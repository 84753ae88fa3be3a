//! What the user is told about numbers that follow the load.

use k8s_openapi::jiff::Timestamp;

use super::{Decision, Held};
use crate::crd::{Condition, ConditionStatus, ConditionType};

/// Why the load is not known. Then no number is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unread {
    /// No pod serves that could be asked.
    NotServing,
    /// The engine does not answer, or not with a report that can be relied on.
    Unknown(String),
}

/// Whether numbers follow the load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    active: bool,
    reason: &'static str,
    message: String,
}

impl Standing {
    /// What stands after these decisions, each with the name of what it is about; `unread` is why the load is not known.
    #[must_use]
    pub fn of(decisions: &[(&str, &Decision)], unread: Option<&Unread>) -> Self {
        let numbers: Vec<String> = decisions
            .iter()
            .map(|(name, decision)| {
                let status = &decision.status;
                format!("{name}: {} ({}: {})", status.replicas, status.reason, status.message)
            })
            .collect();
        let numbers = numbers.join("; ");
        let at_max = decisions.iter().find_map(|(name, decision)| match &decision.held {
            Some(Held::AtMax(why)) => Some(format!("{name}: {why}")),
            _ => None,
        });
        match (unread, at_max) {
            (Some(Unread::NotServing), _) => Self {
                active: false,
                reason: "NotServing",
                message: format!("no pod serves that knows the load; {numbers}"),
            },
            (Some(Unread::Unknown(why)), _) => Self {
                active: false,
                reason: "LoadUnknown",
                message: format!("nothing is changed, since the load cannot be read: {why}"),
            },
            (None, Some(why)) => Self { active: true, reason: "AtMax", message: format!("{why}; {numbers}") },
            (None, None) => Self { active: true, reason: "FollowsLoad", message: numbers },
        }
    }

    /// Whether the load is known.
    #[must_use]
    pub const fn is_active(&self) -> bool {
        self.active
    }

    /// The condition, since when it says what it says.
    #[must_use]
    pub fn condition(&self, before: &[Condition], generation: Option<i64>, now: Timestamp) -> Condition {
        let kind = ConditionType::ScalingActive.name();
        let status = if self.active { ConditionStatus::True } else { ConditionStatus::False };
        let same = |old: &&Condition| old.kind == kind && old.status == status;
        let since = before.iter().find(same).and_then(|old| old.last_transition_time.clone());
        Condition {
            kind: kind.to_owned(),
            status,
            last_transition_time: since.or_else(|| Some(now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())),
            reason: Some(self.reason.to_owned()),
            message: Some(self.message.clone()),
            observed_generation: generation,
        }
    }
}
