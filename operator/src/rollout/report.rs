//! The status of a `Milvus` object: a value computed from what exists.

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use super::{Observed, Progress};
use crate::crd::{
    Condition, ConditionStatus, ConditionType, Milvus, MilvusStatus, MsgStreamType, Open, Phase,
    RedkiteStatus, ServiceType, Typed,
};
use crate::render::{Checked, DataStore, Fault, Live, Objects, Wanted};

/// What a status is computed from, beside the live objects.
#[derive(Clone, Debug)]
pub struct Picture<'a> {
    /// The object, with its last status.
    pub milvus: &'a Milvus,
    /// What its spec means.
    pub checked: &'a Checked,
    /// What is wrong with the Secret of the object storage.
    pub storage_fault: Option<(&'static str, String)>,
    /// The time now.
    pub now: Timestamp,
}

/// A condition before its times are known.
struct Said {
    kind: ConditionType,
    holds: bool,
    reason: &'static str,
    message: String,
}

fn said(kind: ConditionType, holds: bool, reason: &'static str, message: impl Into<String>) -> Said {
    Said { kind, holds, reason, message: message.into() }
}

/// The status of an object whose spec is carried out.
#[must_use]
pub fn report(picture: &Picture<'_>, live: &Objects<Live>) -> MilvusStatus {
    let Picture { milvus, checked, .. } = picture;
    let observed = Observed::of(&live.deployment);
    let mut conditions = vec![said(ConditionType::SpecAccepted, true, "Accepted", accepted(checked))];
    let stopped = matches!(observed.progress, Progress::Stopped | Progress::Stopping);
    if !stopped {
        conditions.extend(dependencies(picture));
    }
    conditions.extend(workload(&observed, picture.storage_fault.as_ref()));
    let before = milvus.status.clone().unwrap_or_default();
    let deployed = live.deployment.status.as_ref();
    MilvusStatus {
        status: phase(&observed.progress, before.status),
        conditions: dated(conditions, &before, checked.generation, picture.now),
        endpoint: endpoint(checked, &live.service),
        ingress: match &live.ingress {
            Wanted::Present(ingress) => ingress
                .status
                .as_ref()
                .and_then(|status| serde_json::to_value(status).ok())
                .filter(|status| status.as_object().is_some_and(|fields| !fields.is_empty()))
                .map(Typed::new),
            Wanted::Absent(_) => None,
        },
        components_deploy_status: Some(Open::new(json!({"standalone": {
            "generation": live.deployment.metadata.generation,
            "image": checked.image.reference,
            "status": deployed,
        }}))),
        deployment_groups_deploy_status: before.deployment_groups_deploy_status,
        rolling_mode_version: before.rolling_mode_version,
        observed_generation: Some(checked.generation),
        current_image: match observed.progress {
            Progress::Done => {
                Some(checked.image.named.clone().unwrap_or_else(|| checked.image.reference.clone()))
            }
            _ => before.current_image,
        },
        current_version: match observed.progress {
            Progress::Done => checked.version.clone(),
            _ => before.current_version,
        },
        replicas: Some(observed.ready),
        redkite: Some(RedkiteStatus {
            image: Some(checked.image.reference.clone()),
            notes: checked.notes.clone(),
        }),
    }
}

/// The status of an object whose spec cannot be carried out. What runs keeps running, as it was before.
#[must_use]
pub fn refused(milvus: &Milvus, faults: &[Fault], now: Timestamp) -> MilvusStatus {
    let before = milvus.status.clone().unwrap_or_default();
    let generation = milvus.metadata.generation.unwrap_or_default();
    let reason = faults.first().map_or("InvalidField", |fault| fault.reason.name());
    let sentences: Vec<String> =
        faults.iter().map(|fault| format!("{}: {}", fault.path, fault.message)).collect();
    let message = sentences.join("; ");
    let conditions = vec![
        said(ConditionType::SpecAccepted, false, reason, message.clone()),
        said(ConditionType::MilvusUpdated, false, reason, message.clone()),
        said(ConditionType::Ready, false, reason, message.clone()),
        said(ConditionType::Reconciling, false, reason, "waiting for a change of the spec"),
        said(ConditionType::Stalled, true, reason, message),
    ];
    let mut dated = dated(conditions, &before, generation, now);
    let kept = |condition: &&Condition| !dated.iter().any(|new| new.kind == condition.kind);
    let mut conditions: Vec<Condition> = before.conditions.iter().filter(kept).cloned().collect();
    conditions.append(&mut dated);
    MilvusStatus {
        status: if before.status == Phase::Pending { Phase::Unhealthy } else { before.status },
        conditions,
        observed_generation: Some(generation),
        ..before
    }
}

/// The status of an object that is being deleted; `waiting` says for what.
#[must_use]
pub fn removing(milvus: &Milvus, waiting: &str, now: Timestamp) -> MilvusStatus {
    let before = milvus.status.clone().unwrap_or_default();
    let generation = milvus.metadata.generation.unwrap_or_default();
    let conditions = vec![
        said(ConditionType::MilvusReady, false, "Deleting", waiting),
        said(ConditionType::Ready, false, "Deleting", waiting),
        said(ConditionType::Reconciling, true, "Deleting", waiting),
    ];
    MilvusStatus {
        status: Phase::Deleting,
        conditions: dated(conditions, &before, generation, now),
        observed_generation: Some(generation),
        replicas: before.replicas,
        redkite: before.redkite,
        ..MilvusStatus::default()
    }
}

fn accepted(checked: &Checked) -> String {
    match checked.notes.is_empty() {
        true => "the spec is carried out".to_owned(),
        false => format!("the spec is carried out, except: {}", checked.notes.join("; ")),
    }
}

/// The three conditions of the peer about what the engine stands on.
fn dependencies(picture: &Picture<'_>) -> [Said; 3] {
    let checked = picture.checked;
    let etcd = match checked.external_etcd {
        false => "metadata is kept in the embedded store (redb) on the data volume".to_owned(),
        true => "metadata is kept in the embedded store (redb) on the data volume; the external etcd is not used in \
                 standalone mode"
            .to_owned(),
    };
    let storage = match (&checked.store, &picture.storage_fault) {
        (DataStore::Embedded, _) => said(
            ConditionType::StorageReady,
            true,
            "EmbeddedStorage",
            "objects are kept as files in the embedded store on the data volume",
        ),
        (DataStore::External(_), Some((reason, message))) => {
            said(ConditionType::StorageReady, false, reason, message.clone())
        }
        (DataStore::External(external), None) => said(
            ConditionType::StorageReady,
            true,
            "StorageReady",
            format!("objects are kept in the storage at {}:{}", external.host, external.port),
        ),
    };
    let stream = match checked.stream {
        MsgStreamType::Unset => {
            "the log is kept in files of the embedded store on the data volume".to_owned()
        }
        other => format!(
            "the log is kept in files of the embedded store on the data volume; {} is not used in standalone mode",
            other.name()
        ),
    };
    [
        said(ConditionType::EtcdReady, true, "EmbeddedMetadataStore", etcd),
        storage,
        said(ConditionType::MsgStreamReady, true, "EmbeddedLog", stream),
    ]
}

/// The conditions about the pods: the peer's two and the three that every tool understands.
fn workload(observed: &Observed, storage_fault: Option<&(&'static str, String)>) -> Vec<Said> {
    use ConditionType::{MilvusReady, MilvusUpdated, Ready, Reconciling, Stalled};
    let count = format!("{} of {} pods serve", observed.ready, observed.wanted);
    let not_ready = "MilvusComponentNotHealthy";
    let (ready, ready_reason, updated, updated_reason, message) = match &observed.progress {
        Progress::Done => (true, "ReasonMilvusHealthy", true, "MilvusComponentsUpdated", count),
        Progress::NotReady => (false, not_ready, true, "MilvusComponentsUpdated", count),
        Progress::Updating => (
            observed.ready > 0,
            not_ready,
            false,
            "MilvusComponentsUpdating",
            format!("rolling out: {count}"),
        ),
        Progress::Stuck(why) => {
            (observed.ready > 0, not_ready, false, "MilvusComponentsUpdating", format!("{count}: {why}"))
        }
        Progress::Stopping => (
            false,
            "MilvusStopping",
            false,
            "MilvusComponentsUpdating",
            "waiting for the pods to end".to_owned(),
        ),
        Progress::Stopped => (
            false,
            "MilvusStopped",
            true,
            "MilvusComponentsUpdated",
            "no pods run, as the spec asks for".to_owned(),
        ),
    };
    let ready_reason = if ready { "ReasonMilvusHealthy" } else { ready_reason };
    let reached = ready && updated;
    let stopped = observed.progress == Progress::Stopped;
    let stuck = match (&observed.progress, storage_fault) {
        (Progress::Stuck(why), _) => Some(("DeploymentStuck", why.clone())),
        (_, Some((reason, why))) if !reached && !stopped => Some((*reason, why.clone())),
        _ => None,
    };
    let moving = !reached && !stopped && stuck.is_none();
    let (stalled, stalled_reason, stalled_message) = match stuck {
        Some((reason, why)) => (true, reason, why),
        None => (false, "NotStalled", "nobody has to act".to_owned()),
    };
    vec![
        said(MilvusReady, ready, ready_reason, message.clone()),
        said(MilvusUpdated, updated, updated_reason, message.clone()),
        said(Ready, reached, if reached { "Ready" } else { ready_reason }, message.clone()),
        said(Reconciling, moving, if moving { updated_reason } else { "Settled" }, message),
        said(Stalled, stalled, stalled_reason, stalled_message),
    ]
}

fn phase(progress: &Progress, before: Phase) -> Phase {
    match progress {
        Progress::Done => Phase::Healthy,
        Progress::Stopped => Phase::Stopped,
        Progress::Stopping => before,
        Progress::Stuck(_) => Phase::Unhealthy,
        Progress::Updating | Progress::NotReady => match before {
            Phase::Healthy | Phase::Unhealthy => Phase::Unhealthy,
            Phase::Pending | Phase::Stopped | Phase::Deleting => Phase::Pending,
        },
    }
}

/// Gives each condition its time: now if it changed its mind, else the time it had.
fn dated(said: Vec<Said>, before: &MilvusStatus, generation: i64, now: Timestamp) -> Vec<Condition> {
    let now = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    said.into_iter()
        .map(|said| {
            let status = if said.holds { ConditionStatus::True } else { ConditionStatus::False };
            let since = before
                .conditions
                .iter()
                .find(|old| old.kind == said.kind.name() && old.status == status)
                .and_then(|old| old.last_transition_time.clone());
            Condition {
                kind: said.kind.name().to_owned(),
                status,
                last_transition_time: Some(since.unwrap_or_else(|| now.clone())),
                reason: Some(said.reason.to_owned()),
                message: Some(said.message),
                observed_generation: Some(generation),
            }
        })
        .collect()
}

/// Where clients connect. A node port has no one address; a load balancer has one once it was given.
fn endpoint(checked: &Checked, service: &Service) -> Option<String> {
    match checked.serving.service_type {
        ServiceType::ClusterIP => {
            Some(format!("{}-milvus.{}:{}", checked.name, checked.namespace, checked.port()))
        }
        ServiceType::NodePort => None,
        ServiceType::LoadBalancer => {
            let ingress = service.status.as_ref()?.load_balancer.as_ref()?.ingress.as_ref()?.first()?;
            let address = ingress.ip.as_ref().or(ingress.hostname.as_ref())?;
            Some(format!("{address}:{}", checked.port()))
        }
    }
}
