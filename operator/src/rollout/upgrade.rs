//! One change of version, as a state machine: what to set, and how far it is.

use k8s_openapi::jiff::Timestamp;

use crate::crd::{
    Condition, ConditionStatus, ConditionType, Milvus, MilvusUpgrade, MilvusUpgradeStatus, Operation,
};

/// What an order to change the version comes to.
#[derive(Clone, Debug, PartialEq)]
pub struct UpgradeStep {
    /// The image to put into the spec of the database, if it is another one.
    pub set_image: Option<String>,
    /// What to tell.
    pub status: MilvusUpgradeStatus,
}

/// The oldest versions that the peer takes.
const OLDEST: [(u64, u64); 2] = [(2, 0), (2, 2)];

/// The next step. `milvus` is the database, if it exists.
#[must_use]
pub fn upgrade(upgrade: &MilvusUpgrade, milvus: Option<&Milvus>, now: Timestamp) -> UpgradeStep {
    let before = upgrade.status.clone().unwrap_or_default();
    let generation = upgrade.metadata.generation;
    let told = |mut status: MilvusUpgradeStatus, said: Vec<(&str, bool, &str, String)>| {
        status.conditions = dated(said, &before, generation, now);
        status.observed_generation = generation;
        status
    };
    let refused = |reason: &str, message: String| UpgradeStep {
        set_image: None,
        status: told(before.clone(), vec![("CheckingUpgrationState", false, reason, message)]),
    };
    if let Some((field, version)) = too_old(upgrade) {
        return refused(
            "InvalidVersion",
            format!("spec.{field}: '{version}' is no version that can be upgraded"),
        );
    }
    let Some(milvus) = milvus else {
        return refused(
            "MilvusNotFound",
            format!("spec.milvus: Milvus {} does not exist", upgrade.spec.milvus.name),
        );
    };
    let image = milvus.spec.components.as_ref().and_then(|components| components.global.image.clone());
    let failed = stalled(milvus) && upgrade.spec.rollback_if_failed != Some(false);
    let began = before.source_image.is_some();
    let source = before
        .source_image
        .clone()
        .or_else(|| image.clone())
        .unwrap_or_else(|| tagged(&upgrade.spec.source_version));
    let target = upgrade.spec.target_image.clone().unwrap_or_else(|| tagged(&upgrade.spec.target_version));
    let back = upgrade.spec.operation == Operation::Rollback
        || before.is_rollbacking == Some(true)
        || (began && failed && before.state.as_deref() != Some("Succeeded"));
    let (wanted, running, done) = match back {
        false => (target, "NewVersionStarting", "Succeeded"),
        true => (source.clone(), "RollbackOldVersionStarting", "RollbackedSucceeded"),
    };
    // Carried out once: what becomes of the image afterwards is the spec's business.
    if before.state.as_deref() == Some(done) {
        let status = MilvusUpgradeStatus { observed_generation: generation, ..before.clone() };
        return UpgradeStep { set_image: None, status };
    }
    let reached = image.as_ref() == Some(&wanted) && runs(milvus);
    let message = match reached {
        true => format!("{wanted} runs"),
        false => format!("waiting until {wanted} runs"),
    };
    let reason = if reached { done } else { running };
    let mut said = vec![("CheckingUpgrationState", true, "Accepted", "the order is carried out".to_owned())];
    said.push((if back { "Rollbacked" } else { "Upgraded" }, reached, reason, message));
    let status = MilvusUpgradeStatus {
        state: Some(reason.to_owned()),
        source_image: Some(source),
        is_rollbacking: back.then_some(true),
        ..before.clone()
    };
    UpgradeStep { set_image: (image.as_ref() != Some(&wanted)).then_some(wanted), status: told(status, said) }
}

fn tagged(version: &str) -> String {
    format!("milvusdb/milvus:v{}", version.trim_start_matches('v'))
}

/// The first version that is none, or is older than any that the peer upgrades.
fn too_old(upgrade: &MilvusUpgrade) -> Option<(&'static str, String)> {
    let spec = &upgrade.spec;
    let named = [("sourceVersion", &spec.source_version), ("targetVersion", &spec.target_version)];
    named
        .into_iter()
        .zip(OLDEST)
        .find(|((_, version), oldest)| numbers(version).is_none_or(|found| found < *oldest))
        .map(|((field, version), _)| (field, version.clone()))
}

fn numbers(version: &str) -> Option<(u64, u64)> {
    let mut parts = version.trim_start_matches('v').split('.');
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next()?.parse().ok()?;
    Some((major, minor))
}

fn condition(milvus: &Milvus, kind: ConditionType) -> bool {
    let status = milvus.status.as_ref();
    let current = status.is_some_and(|status| status.observed_generation == milvus.metadata.generation);
    current
        && status.is_some_and(|status| {
            status
                .conditions
                .iter()
                .any(|found| found.kind == kind.name() && found.status == ConditionStatus::True)
        })
}

/// Whether the database runs what its newest spec says.
fn runs(milvus: &Milvus) -> bool {
    condition(milvus, ConditionType::Ready)
}

fn stalled(milvus: &Milvus) -> bool {
    condition(milvus, ConditionType::Stalled)
}

fn dated(
    said: Vec<(&str, bool, &str, String)>,
    before: &MilvusUpgradeStatus,
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    let now = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let new: Vec<Condition> = said
        .into_iter()
        .map(|(kind, holds, reason, message)| {
            let status = if holds { ConditionStatus::True } else { ConditionStatus::False };
            let old = before.conditions.iter().find(|old| old.kind == kind && old.status == status);
            Condition {
                kind: kind.to_owned(),
                status,
                last_transition_time: old
                    .and_then(|old| old.last_transition_time.clone())
                    .or_else(|| Some(now.clone())),
                reason: Some(reason.to_owned()),
                message: Some(message),
                observed_generation: generation,
            }
        })
        .collect();
    let kept = before.conditions.iter().filter(|old| !new.iter().any(|condition| condition.kind == old.kind));
    kept.cloned().chain(new.clone()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    fn order(spec: Value, status: MilvusUpgradeStatus) -> MilvusUpgrade {
        let mut full = json!({"milvus": {"name": "db"}, "sourceVersion": "v2.5.4", "targetVersion": "2.6.0"});
        full.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let mut order: MilvusUpgrade =
            from_value(json!({"metadata": {"name": "up", "generation": 1}, "spec": full})).unwrap();
        order.status = Some(status);
        order
    }

    fn database(image: &str, condition: &str) -> Milvus {
        from_value(json!({"metadata": {"name": "db", "generation": 4}, "spec": {"components": {"image": image}},
            "status": {"status": "Healthy", "observedGeneration": 4, "conditions": [{"type": condition, "status": "True"}]}}))
        .unwrap()
    }

    fn step(spec: Value, status: &MilvusUpgradeStatus, milvus: Option<&Milvus>) -> (Option<String>, String) {
        let step = upgrade(&order(spec, status.clone()), milvus, Timestamp::UNIX_EPOCH);
        (step.set_image, step.status.state.unwrap_or_default())
    }

    #[test]
    fn an_upgrade_sets_the_image_once_and_succeeds_when_it_runs() {
        let old = database("milvusdb/milvus:v2.5.4", "Ready");
        let first =
            upgrade(&order(json!({}), MilvusUpgradeStatus::default()), Some(&old), Timestamp::UNIX_EPOCH);
        assert_eq!(first.set_image.as_deref(), Some("milvusdb/milvus:v2.6.0"));
        assert_eq!(first.status.source_image.as_deref(), Some("milvusdb/milvus:v2.5.4"));

        let rolling = database("milvusdb/milvus:v2.6.0", "Reconciling");
        assert_eq!(step(json!({}), &first.status, Some(&rolling)), (None, "NewVersionStarting".to_owned()));
        let there = database("milvusdb/milvus:v2.6.0", "Ready");
        let last = upgrade(&order(json!({}), first.status), Some(&there), Timestamp::UNIX_EPOCH);
        assert_eq!(last.status.state.as_deref(), Some("Succeeded"));

        // A later change by the user is not undone.
        let changed = database("milvusdb/milvus:v2.6.7", "Ready");
        assert_eq!(step(json!({}), &last.status, Some(&changed)), (None, "Succeeded".to_owned()));
    }

    #[test]
    fn an_image_that_is_given_up_is_taken_back_unless_the_order_says_otherwise() {
        let begun = MilvusUpgradeStatus {
            state: Some("NewVersionStarting".into()),
            source_image: Some("milvusdb/milvus:v2.5.4".into()),
            ..MilvusUpgradeStatus::default()
        };
        let stuck = database("milvusdb/milvus:v2.6.0", "Stalled");

        assert_eq!(
            step(json!({}), &begun, Some(&stuck)),
            (Some("milvusdb/milvus:v2.5.4".to_owned()), "RollbackOldVersionStarting".to_owned())
        );
        assert_eq!(
            step(json!({"rollbackIfFailed": false}), &begun, Some(&stuck)),
            (None, "NewVersionStarting".to_owned())
        );
    }

    #[test]
    fn a_rollback_puts_the_image_of_before_back() {
        let done = MilvusUpgradeStatus {
            state: Some("Succeeded".into()),
            source_image: Some("milvusdb/milvus:v2.5.4".into()),
            ..MilvusUpgradeStatus::default()
        };
        let back = json!({"operation": "rollback"});

        let new = database("milvusdb/milvus:v2.6.0", "Ready");
        assert_eq!(step(back.clone(), &done, Some(&new)).0.as_deref(), Some("milvusdb/milvus:v2.5.4"));
        let old = database("milvusdb/milvus:v2.5.4", "Ready");
        assert_eq!(step(back, &done, Some(&old)), (None, "RollbackedSucceeded".to_owned()));
    }

    #[test]
    fn an_order_that_cannot_be_carried_out_says_why() {
        let said = |spec: Value, milvus: Option<&Milvus>| {
            let status =
                upgrade(&order(spec, MilvusUpgradeStatus::default()), milvus, Timestamp::UNIX_EPOCH).status;
            status.conditions[0].message.clone().unwrap()
        };

        assert_eq!(said(json!({}), None), "spec.milvus: Milvus db does not exist");
        assert_eq!(
            said(json!({"sourceVersion": "1.0"}), None),
            "spec.sourceVersion: '1.0' is no version that can be upgraded"
        );
        assert_eq!(
            said(json!({"targetVersion": "newest"}), None),
            "spec.targetVersion: 'newest' is no version that can be upgraded"
        );
    }
}
