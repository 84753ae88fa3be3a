//! The status of a `Milvus` object: a value computed from what exists.

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::standing::{stopped, told};
use super::{CertificateState, Found, Progress, Total, Turn, certificates, foundation};
use crate::crd::{
    Condition, ConditionStatus, ConditionType, ImageUpdateMode, Milvus, MilvusStatus, Open, Phase,
    RedkiteStatus, RolloutState, RolloutStatus, ServiceType, Typed,
};
use crate::render::{Checked, Fault, Live, Objects, Wanted, WorkloadObjects};

/// What a status is computed from, beside the live objects.
#[derive(Clone, Debug)]
pub struct Picture<'a> {
    /// The object, with its last status.
    pub milvus: &'a Milvus,
    /// What its spec means.
    pub checked: &'a Checked,
    /// What was found out about dependencies.
    pub found: &'a Found,
    /// What was found out about certificates, if the spec asks for any.
    pub certificates: Option<&'a CertificateState>,
    /// Whether each workload was given what its spec says.
    pub turns: &'a [Turn],
    /// What is wrong with pods that do not serve, if anything was found.
    pub trouble: Option<String>,
    /// How far the rollout is.
    pub rollout: &'a RolloutStatus,
    /// The time now.
    pub now: Timestamp,
}

/// A condition before its times are known.
pub(super) struct Said {
    pub(super) kind: ConditionType,
    pub(super) holds: bool,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

pub(super) fn said(
    kind: ConditionType,
    holds: bool,
    reason: &'static str,
    message: impl Into<String>,
) -> Said {
    Said { kind, holds, reason, message: message.into() }
}

/// The status of an object whose spec is carried out.
#[must_use]
pub fn report(picture: &Picture<'_>, live: &Objects<Live>) -> MilvusStatus {
    let Picture { milvus, checked, found, turns, rollout, .. } = picture;
    let total = Total::of(live, turns);
    let mut conditions = vec![said(ConditionType::SpecAccepted, true, "Accepted", accepted(checked))];
    if !matches!(total.progress, Progress::Stopped | Progress::Stopping) {
        conditions.extend(foundation::conditions(checked, found, live));
    }
    conditions.extend(picture.certificates.map(certificates::condition));
    conditions.extend(workloads(picture, &total));
    let before = milvus.status.clone().unwrap_or_default();
    let (components, groups) = deployed(live);
    let done = total.progress == Progress::Done;
    MilvusStatus {
        status: phase(&total, before.status),
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
        components_deploy_status: Some(Open::new(components)),
        deployment_groups_deploy_status: groups.map(Open::new),
        rolling_mode_version: before.rolling_mode_version,
        observed_generation: Some(checked.generation),
        current_image: match done {
            true => Some(checked.image.named.clone().unwrap_or_else(|| checked.image.reference.clone())),
            false => before.current_image,
        },
        current_version: if done { checked.version.clone() } else { before.current_version },
        replicas: Some(total.ready),
        redkite: Some(RedkiteStatus {
            image: Some(checked.image.reference.clone()),
            level: Some(checked.level.name().to_owned()),
            notes: checked.notes.clone(),
            rollout: Some((*rollout).clone()),
            autoscaling: None,
        }),
    }
}

/// State of the Deployments: by component, and by group where a component is split.
fn deployed(live: &Objects<Live>) -> (Value, Option<Value>) {
    let (mut components, mut groups) = (Map::new(), Map::new());
    let image = |workload: &WorkloadObjects| {
        let pod = workload.deployment.spec.as_ref().and_then(|spec| spec.template.spec.clone());
        pod.and_then(|pod| pod.containers.first().and_then(|first| first.image.clone()))
    };
    for workload in &live.workloads {
        let state = json!({
            "generation": workload.deployment.metadata.generation,
            "image": image(workload),
            "status": workload.deployment.status,
        });
        let component = workload.component.name();
        match &workload.group {
            None => {
                components.insert(component.to_owned(), state);
            }
            Some(group) => {
                let of = groups.entry(component).or_insert_with(|| json!({}));
                of[group] = state.clone();
                match components.get_mut(component) {
                    None => {
                        components.insert(component.to_owned(), state);
                    }
                    Some(sum) => add(&mut sum["status"], &state["status"]),
                }
            }
        }
    }
    (Value::Object(components), (!groups.is_empty()).then_some(Value::Object(groups)))
}

/// Adds the counts of one Deployment's status to those of another.
fn add(sum: &mut Value, more: &Value) {
    for count in ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas"]
    {
        let (one, other) = (sum[count].as_i64().unwrap_or(0), more[count].as_i64().unwrap_or(0));
        if one + other > 0 {
            sum[count] = json!(one + other);
        }
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

/// The conditions about the pods: the peer's two and the three that every tool understands.
fn workloads(picture: &Picture<'_>, total: &Total) -> Vec<Said> {
    use ConditionType::{MilvusReady, MilvusUpdated, Ready, Reconciling, Stalled};
    let rollout = picture.rollout;
    let trouble = rollout.failure.as_ref().map(told).or_else(|| picture.trouble.clone());
    let count = match trouble.filter(|_| total.progress != Progress::Done) {
        Some(trouble) => format!("{}; {trouble}", total.message),
        None => total.message.clone(),
    };
    let moved = format!("rolling out: {}; {count}", rollout.summary);
    let back = rollout.rejected.is_some();
    let changing = match (total.image_changes, picture.checked.update) {
        (false, _) => "MilvusComponentsUpdating",
        (true, ImageUpdateMode::RollingDowngrade) => "MilvusDowngradingImage",
        (true, _) => "MilvusUpgradingImage",
    };
    let not_ready = "MilvusComponentNotHealthy";
    let (ready, ready_reason, updated, updated_reason, message) = match &total.progress {
        Progress::Done if back => (true, "ReasonMilvusHealthy", false, "RolledBack", count),
        Progress::Done => (true, "ReasonMilvusHealthy", true, "MilvusComponentsUpdated", count),
        Progress::NotReady if back => (total.serves, not_ready, false, "RolledBack", count),
        Progress::NotReady => (total.serves, not_ready, true, "MilvusComponentsUpdated", count),
        Progress::Updating => (total.serves, not_ready, false, changing, moved),
        Progress::Stuck(why) => (total.serves, not_ready, false, changing, format!("{count}: {why}")),
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
    let done = total.progress == Progress::Done;
    // Every pod serves, and what requests say of them is not known yet, or bad.
    let watched =
        matches!(rollout.state, RolloutState::Rolling | RolloutState::Paused | RolloutState::RollingBack);
    let finished = done && !watched;
    let reached = finished && !back;
    let none_run = total.progress == Progress::Stopped;
    let stuck = match (&total.progress, picture.found.secrets.first()) {
        (_, Some(fault)) if !done && !none_run => Some((fault.reason, fault.message.clone())),
        (_, _) if !none_run => stopped(rollout, picture.checked),
        _ => None,
    };
    let moving = !finished && !none_run && stuck.is_none();
    let steps = match (moving, done) {
        (true, true) => "Watching",
        (true, false) => updated_reason,
        (false, _) => "Settled",
    };
    let (stalled, stalled_reason, stalled_message) = match stuck {
        Some((reason, why)) => (true, reason, why),
        None => (false, "NotStalled", "nobody has to act".to_owned()),
    };
    let whole = if reached {
        "Ready"
    } else if back {
        "RolledBack"
    } else if done && stalled {
        stalled_reason
    } else if done {
        "Watching"
    } else if ready {
        not_ready
    } else {
        ready_reason
    };
    vec![
        said(MilvusReady, ready, ready_reason, message.clone()),
        said(MilvusUpdated, updated, updated_reason, message.clone()),
        said(Ready, reached, whole, message.clone()),
        said(Reconciling, moving, steps, message),
        said(Stalled, stalled, stalled_reason, stalled_message),
    ]
}

/// A database that is being changed and serves all the while stays healthy.
fn phase(total: &Total, before: Phase) -> Phase {
    match &total.progress {
        Progress::Done => Phase::Healthy,
        Progress::Stopped => Phase::Stopped,
        Progress::Stopping => before,
        Progress::Stuck(_) if !total.serves => Phase::Unhealthy,
        Progress::Updating | Progress::NotReady | Progress::Stuck(_) => match before {
            Phase::Healthy | Phase::Unhealthy if total.serves => Phase::Healthy,
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
