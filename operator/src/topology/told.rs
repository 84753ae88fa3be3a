//! Conditions of resource groups and collections.

use k8s_openapi::jiff::Timestamp;

use crate::crd::{Condition, ConditionStatus, ConditionType};

/// The database that an object is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Database {
    /// There is none of this name.
    Missing,
    /// It is being deleted.
    Leaving,
    /// Its pods are those of another operator, and it was not said that they may be replaced.
    NotTakenOver,
    /// It is there.
    Here,
}

impl Database {
    /// Why nothing can be done with `milvus`, if that is so.
    pub(super) fn missing(self, milvus: &str) -> Option<Wait> {
        let (reason, message) = match self {
            Self::Here => return None,
            Self::Missing => {
                (Reason::MilvusNotFound, format!("spec.milvus.name: there is no Milvus {milvus}"))
            }
            Self::Leaving => (Reason::MilvusDeleting, format!("Milvus {milvus} is being deleted")),
            Self::NotTakenOver => (
                Reason::NotTakenOver,
                format!(
                    "Milvus {milvus} runs pods of another operator, which Redkite has not taken over: its condition \
                     SpecAccepted says how"
                ),
            ),
        };
        Some(Wait::new(reason, message))
    }
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<A> {
    /// This is to be done, and then everything looked at again.
    Act(A),
    /// Nothing more can be done now.
    Wait(Wait),
    /// All is as it should be.
    Rest,
}

/// Why nothing more can be done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// One word for programs.
    pub reason: Reason,
    /// One sentence for people.
    pub message: String,
}

impl Wait {
    /// Waits for `reason`.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// One word for why nothing more can be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The database does not exist.
    MilvusNotFound,
    /// The database is being deleted.
    MilvusDeleting,
    /// A field cannot be carried out.
    InvalidField,
    /// The engine does not answer.
    EngineUnreachable,
    /// The engine does not take what it was told.
    EngineRefused,
    /// Something is being changed in the engine.
    Changing,
    /// Another group that is named does not exist.
    GroupNotFound,
    /// A group has too few query nodes.
    GroupTooSmall,
    /// Pods are starting or ending.
    PodsNotReady,
    /// Replicas are still in the group that is to go.
    StillHoldsReplicas,
    /// There is no such collection.
    CollectionNotFound,
    /// Only some partitions are loaded.
    LoadedInPart,
    /// The collection is being loaded.
    Loading,
    /// The engine differs from the spec, and the policy is to look only.
    Differs,
    /// The database runs pods of another operator.
    NotTakenOver,
    /// An older object manages the same collection.
    AnotherManages,
    /// What is asked for is not done through an alias.
    NamedByAlias,
    /// The fields differ, which cannot be changed.
    SchemaDiffers,
    /// The field has an index that the spec does not list.
    IndexInTheWay,
    /// The engine keeps another definition of an index than it was given.
    IndexDiffers,
    /// An index is to go that is in use.
    IndexInUse,
    /// An older object lists the alias.
    AliasTaken,
    /// An alias would lead from a collection that is loaded to one that is not.
    AliasWaits,
    /// An alias is no longer listed and is dropped soon.
    AliasGoes,
}

impl Reason {
    /// The word in a condition.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MilvusNotFound => "MilvusNotFound",
            Self::MilvusDeleting => "MilvusDeleting",
            Self::InvalidField => "InvalidField",
            Self::EngineUnreachable => "EngineUnreachable",
            Self::EngineRefused => "EngineRefused",
            Self::Changing => "Changing",
            Self::GroupNotFound => "GroupNotFound",
            Self::GroupTooSmall => "GroupTooSmall",
            Self::PodsNotReady => "PodsNotReady",
            Self::StillHoldsReplicas => "StillHoldsReplicas",
            Self::CollectionNotFound => "CollectionNotFound",
            Self::LoadedInPart => "LoadedInPart",
            Self::Loading => "Loading",
            Self::Differs => "Differs",
            Self::NotTakenOver => "NotTakenOver",
            Self::AnotherManages => "AnotherManages",
            Self::NamedByAlias => "NamedByAlias",
            Self::SchemaDiffers => "SchemaDiffers",
            Self::IndexInTheWay => "IndexInTheWay",
            Self::IndexDiffers => "IndexDiffers",
            Self::IndexInUse => "IndexInUse",
            Self::AliasTaken => "AliasTaken",
            Self::AliasWaits => "AliasWaits",
            Self::AliasGoes => "AliasGoes",
        }
    }

    /// Whether it does not pass without somebody acting.
    #[must_use]
    pub const fn needs_somebody(self) -> bool {
        matches!(
            self,
            Self::InvalidField
                | Self::EngineRefused
                | Self::LoadedInPart
                | Self::StillHoldsReplicas
                | Self::Differs
                | Self::NotTakenOver
                | Self::AnotherManages
                | Self::NamedByAlias
                | Self::SchemaDiffers
                | Self::IndexInTheWay
                | Self::IndexDiffers
                | Self::IndexInUse
                | Self::AliasTaken
        )
    }
}

/// Where an object is between what it says and what is.
pub(super) struct Standing<'a> {
    /// The spec is wrong.
    pub invalid: Option<&'a Wait>,
    /// The engine is as the spec says; `None`: not known.
    pub in_sync: Option<bool>,
    /// What is waited for; nothing once all is as it should be.
    pub wait: Option<&'a Wait>,
    /// Said when nothing is waited for.
    pub done: String,
}

/// The five conditions, each with the time since when it says what it says.
pub(super) fn conditions(
    standing: &Standing<'_>,
    before: &[Condition],
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    use ConditionStatus::{False, True, Unknown};
    let Standing { invalid, in_sync, wait, done } = standing;
    let wait = invalid.or(*wait);
    let (reason, message) =
        wait.map_or(("Settled", done.as_str()), |wait| (wait.reason.name(), wait.message.as_str()));
    let holds = |yes: bool| if yes { True } else { False };
    let accepted = match invalid {
        None => (True, "Accepted", "the spec is carried out"),
        Some(wait) => (False, wait.reason.name(), wait.message.as_str()),
    };
    let synced = match in_sync {
        None => (Unknown, reason, message),
        Some(true) => (True, "InSync", "the engine is as the spec says"),
        Some(false) => (False, reason, message),
    };
    let stuck = wait.is_some_and(|wait| wait.reason.needs_somebody());
    let observing = wait.is_some_and(|wait| wait.reason == Reason::Differs);
    let ready = wait.is_none() || observing;
    let stalled = stuck && !observing;
    let said = [
        (ConditionType::SpecAccepted, accepted),
        (ConditionType::InSync, synced),
        (ConditionType::Ready, (holds(ready), reason, message)),
        (ConditionType::Reconciling, (holds(wait.is_some() && !stuck), reason, message)),
        (
            ConditionType::Stalled,
            match stalled {
                true => (True, reason, message),
                false => (False, "NotStalled", "nobody has to act"),
            },
        ),
    ];
    let now = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    said.into_iter()
        .map(|(kind, (status, reason, message))| {
            let same = |old: &&Condition| old.kind == kind.name() && old.status == status;
            let since = before.iter().find(same).and_then(|old| old.last_transition_time.clone());
            Condition {
                kind: kind.name().to_owned(),
                status,
                last_transition_time: Some(since.unwrap_or_else(|| now.clone())),
                reason: Some(reason.to_owned()),
                message: Some(message.to_owned()),
                observed_generation: generation,
            }
        })
        .collect()
}
