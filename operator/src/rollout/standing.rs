//! How far a rollout is, and what follows when it does not come right.

use std::collections::{BTreeMap, BTreeSet};

use super::{ERRORS, Observed, Progress, Total, Turn};
use crate::crd::{
    CompleteRollout, ImageUpdateMode, OnFailure, RejectedRollout, RolloutFailure, RolloutState, RolloutStatus,
};
use crate::render::{Checked, WorkloadObjects};

/// A rollout, as far as it decides.
#[derive(Clone, Debug)]
pub struct Attempt<'a> {
    /// What the status said of it before.
    pub before: Option<&'a RolloutStatus>,
    /// Whether that was said of the present generation of the spec.
    pub current: bool,
    /// What is being carried out.
    pub checked: &'a Checked,
    /// The attempt that was given up, where what ran before it is being carried out instead of it.
    pub rejected: Option<&'a RejectedRollout>,
    /// What has failed.
    pub failure: Option<RolloutFailure>,
    /// Whether requests have not told yet how they fare with what was given last.
    pub settles: bool,
}

/// What was rolled out before and is to be carried out in place of the spec, with the attempt that was given up: as long as
/// neither the spec nor the images it stands for have changed since, and the spec says that it rolls back.
#[must_use]
pub fn rolled_back<'a>(
    before: Option<&'a RolloutStatus>,
    wanted: &Checked,
) -> Option<(&'a RejectedRollout, &'a CompleteRollout)> {
    let before = before.filter(|_| wanted.rollout.on_failure == Some(OnFailure::Rollback))?;
    let rejected = before.rejected.as_ref()?;
    let same = rejected.generation == wanted.generation && rejected.images == wanted.images();
    same.then_some(rejected).zip(before.complete.as_ref())
}

/// The order to go back in: what was changed last goes first.
#[must_use]
pub const fn backwards(mode: ImageUpdateMode) -> ImageUpdateMode {
    match mode {
        ImageUpdateMode::RollingUpgrade => ImageUpdateMode::RollingDowngrade,
        ImageUpdateMode::RollingDowngrade => ImageUpdateMode::RollingUpgrade,
        same @ (ImageUpdateMode::All | ImageUpdateMode::Force) => same,
    }
}

/// How far the rollout is. A failure pauses it, or begins to roll it back where the spec says so and other images ran before.
#[must_use]
pub fn standing(
    attempt: &Attempt<'_>,
    total: &Total,
    live: &[WorkloadObjects],
    turns: &[Turn],
) -> RolloutStatus {
    let Attempt { before, current, checked, rejected, failure, settles } = attempt;
    let complete = before.and_then(|before| before.complete.clone());
    let kept = before.and_then(|before| before.failure.clone());
    let images = checked.images();
    let other = complete.as_ref().is_some_and(|complete| complete.images != images);
    let backs = checked.rollout.on_failure == Some(OnFailure::Rollback) && other && rejected.is_none();
    let end = if rejected.is_some() { RolloutState::RolledBack } else { RolloutState::Complete };
    // Without the word of a report after the last change, what does not serve may be what that change brought.
    let settled = *current && !other && before.is_some_and(|before| before.state == end);
    let (state, failure) = match (&total.progress, failure) {
        // Every pod serves, and yet more requests fail than before.
        (Progress::Done, Some(failure)) if backs => (RolloutState::RollingBack, Some(failure.clone())),
        (Progress::Done, Some(failure)) if other && rejected.is_none() => {
            (RolloutState::Paused, Some(failure.clone()))
        }
        (Progress::Done, None) if *settles && other && rejected.is_none() => (RolloutState::Rolling, None),
        (Progress::Done, _) => (end, kept.filter(|_| rejected.is_some())),
        (Progress::Stopped | Progress::Stopping, _) => (end, None),
        // Nothing is being rolled: a pod that runs what it should is away.
        (Progress::NotReady, _) if settled => (end, kept.filter(|_| rejected.is_some())),
        (_, Some(failure)) if backs => (RolloutState::RollingBack, Some(failure.clone())),
        (_, Some(failure)) => (RolloutState::Paused, Some(failure.clone())),
        (_, None) if rejected.is_some() => (RolloutState::RollingBack, kept),
        (_, None) => (RolloutState::Rolling, None),
    };
    let begun = (state == RolloutState::RollingBack && backs)
        .then(|| RejectedRollout { generation: checked.generation, images: images.clone() });
    let reached = total.progress == Progress::Done && state == RolloutState::Complete;
    let complete = match reached {
        true => Some(CompleteRollout {
            image: checked.image.named.clone(),
            version: checked.version.clone(),
            images,
        }),
        false => complete,
    };
    let mut status = RolloutStatus {
        state,
        failure,
        rejected: begun.or_else(|| rejected.cloned()),
        complete,
        ..counted(live, turns)
    };
    status.summary = summary(&status);
    status
}

/// How much is as it should be. A component is there once all its workloads are.
fn counted(live: &[WorkloadObjects], turns: &[Turn]) -> RolloutStatus {
    let mut all: BTreeMap<&str, bool> = BTreeMap::new();
    let (mut updated, mut pods) = (0, 0);
    for (workload, turn) in live.iter().zip(turns) {
        let observed = Observed::of(&workload.deployment);
        let given = !matches!(turn, Turn::After(_));
        let done = given && matches!(observed.progress, Progress::Done | Progress::Stopped);
        *all.entry(workload.component.name()).or_insert(true) &= done;
        pods += observed.wanted;
        updated += if given { observed.updated } else { 0 };
    }
    let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    RolloutStatus {
        updated_components: count(all.values().filter(|done| **done).count()),
        components: count(all.len()),
        updated_pods: updated,
        pods,
        ..RolloutStatus::default()
    }
}

fn summary(status: &RolloutStatus) -> String {
    let RolloutStatus { state, updated_components, components, updated_pods, pods, failure, .. } = status;
    let numbers = format!("{updated_components} of {components} components, {updated_pods} of {pods} pods");
    let at = failure.as_ref().map(|failure| format!(" at {}", failure.component)).unwrap_or_default();
    match state {
        RolloutState::Complete => "complete".to_owned(),
        RolloutState::Rolling => numbers,
        RolloutState::Paused => format!("paused{at}: {numbers}"),
        RolloutState::RollingBack => format!("rolling back: {numbers}"),
        RolloutState::RolledBack => "rolled back".to_owned(),
    }
}

/// Why the rollout is not coming to its end by itself and what to do about it, as a reason and a sentence.
#[must_use]
pub fn stopped(rollout: &RolloutStatus, checked: &Checked) -> Option<(&'static str, String)> {
    let failure = rollout.failure.as_ref()?;
    let what = told(failure);
    match rollout.state {
        RolloutState::Complete | RolloutState::Rolling => None,
        RolloutState::Paused => Some((
            "RolloutPaused",
            format!(
                "the rollout is paused at {} (Deployment {}): {what}; nothing further is rolled and the pods that serve go on. \
                 {}",
                failure.component,
                failure.workload,
                advice(failure, rollout, &checked.images())
            ),
        )),
        RolloutState::RollingBack | RolloutState::RolledBack => Some((
            "RolledBack",
            format!(
                "the rollout failed at {} (Deployment {}): {what}; spec.redkite.rollout.onFailure is Rollback, so {} takes its \
                 place. {}",
                failure.component,
                failure.workload,
                before(rollout).unwrap_or_else(|| "what ran before".to_owned()),
                advice(failure, rollout, &checked.images())
            ),
        )),
    }
}

/// What is wrong, with the pod where there is one.
#[must_use]
pub fn told(failure: &RolloutFailure) -> String {
    match &failure.pod {
        Some(pod) => format!("pod {pod}: {}", failure.message),
        None => failure.message.clone(),
    }
}

fn advice(failure: &RolloutFailure, rollout: &RolloutStatus, images: &BTreeMap<String, String>) -> String {
    let pod = failure.pod.as_deref();
    let look = match (failure.reason.as_str(), pod) {
        ("ImagePull", _) => {
            "Name an image that can be pulled (spec.components.image, or the component's own), or give its imagePullSecrets"
                .to_owned()
        }
        ("Crash", Some(pod)) => {
            format!("Read `kubectl logs {pod} --previous`, then correct spec.components or spec.config")
        }
        (ERRORS, _) => format!(
            "Read the logs of the proxies and of the pods of {}, then correct spec.components or spec.config",
            failure.component
        ),
        ("Config", _) => "Make what the pod refers to, or correct spec.components".to_owned(),
        (_, Some(pod)) => format!("Look at `kubectl describe pod {pod}`, then correct spec.components or spec.config"),
        (_, None) => format!("Look at `kubectl describe deployment {}`", failure.workload),
    };
    let other = rollout.complete.as_ref().is_some_and(|complete| complete.images != *images);
    match (rollout.state, before(rollout).filter(|_| other)) {
        (RolloutState::Paused, Some(image)) if rollout.rejected.is_none() => {
            format!(
                "{look}; it then goes on by itself. spec.redkite.rollout.onFailure: Rollback puts {image} back"
            )
        }
        (RolloutState::Paused, _) => format!("{look}; it then goes on by itself"),
        _ => format!("{look}: a change of the spec is a new try"),
    }
}

/// What a rollback puts back, in words; nothing if nothing ran before.
fn before(rollout: &RolloutStatus) -> Option<String> {
    let images: BTreeSet<&String> = rollout.complete.as_ref()?.images.values().collect();
    Some(images.into_iter().cloned().collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;
    use crate::crd::Milvus;
    use crate::render::{Facts, Platform, check};

    fn checked(image: &str, rollout: Value) -> Checked {
        let milvus: Milvus =
            from_value(json!({"metadata": {"name": "db", "namespace": "ns", "uid": "u", "generation": 3},
            "spec": {"components": {"image": image}, "redkite": {"rollout": rollout}}}))
            .unwrap();
        check(&milvus, &Platform::default(), &Facts::default()).unwrap()
    }

    fn images(image: &str) -> BTreeMap<String, String> {
        [("standalone".to_owned(), image.to_owned())].into()
    }

    fn ran(image: &str) -> RolloutStatus {
        let complete = CompleteRollout { image: Some(image.into()), version: None, images: images(image) };
        RolloutStatus { state: RolloutState::Complete, complete: Some(complete), ..RolloutStatus::default() }
    }

    fn failed() -> RolloutFailure {
        RolloutFailure {
            component: "standalone".into(),
            workload: "db-milvus-standalone".into(),
            pod: Some("p".into()),
            reason: "ImagePull".into(),
            message: "ImagePullBackOff: not found".into(),
            since: "1970-01-01T00:00:00Z".into(),
        }
    }

    fn total(progress: Progress) -> Total {
        Total { progress, serves: true, image_changes: false, message: String::new(), ready: 1 }
    }

    fn now(
        before: &RolloutStatus,
        checked: &Checked,
        rejected: Option<&RejectedRollout>,
        progress: Progress,
        failure: Option<RolloutFailure>,
    ) -> RolloutStatus {
        let attempt =
            Attempt { before: Some(before), current: true, checked, rejected, failure, settles: false };
        standing(&attempt, &total(progress), &[], &[])
    }

    #[test]
    fn a_failure_pauses_and_what_comes_right_goes_on() {
        let (before, bad) = (ran("x/engine:1"), checked("x/engine:2", json!({})));

        let paused = now(&before, &bad, None, Progress::Updating, Some(failed()));
        assert_eq!((paused.state, paused.failure.clone()), (RolloutState::Paused, Some(failed())));
        assert_eq!((paused.rejected.as_ref(), &paused.complete), (None, &before.complete));

        let on = now(&paused, &bad, None, Progress::Updating, None);
        assert_eq!((on.state, on.failure), (RolloutState::Rolling, None));
        let done = now(&paused, &bad, None, Progress::Done, None);
        assert_eq!(
            (done.state, done.complete.unwrap().images),
            (RolloutState::Complete, images("x/engine:2"))
        );
    }

    #[test]
    fn told_to_roll_back_it_gives_the_attempt_up_and_keeps_what_ran_before() {
        let bad = checked("x/engine:2", json!({"onFailure": "Rollback"}));
        let begun = now(&ran("x/engine:1"), &bad, None, Progress::Updating, Some(failed()));

        assert_eq!((begun.state, begun.failure.clone()), (RolloutState::RollingBack, Some(failed())));
        let rejected = RejectedRollout { generation: 3, images: images("x/engine:2") };
        assert_eq!(begun.rejected.as_ref(), Some(&rejected));
        let (given_up, complete) = rolled_back(Some(&begun), &bad).unwrap();
        assert_eq!((given_up, &complete.images), (&rejected, &images("x/engine:1")));

        // What ran before is carried out now.
        let old = checked("x/engine:1", json!({"onFailure": "Rollback"}));
        let under_way = now(&begun, &old, Some(&rejected), Progress::Updating, None);
        assert_eq!((under_way.state, under_way.failure.clone()), (RolloutState::RollingBack, Some(failed())));
        let back = now(&under_way, &old, Some(&rejected), Progress::Done, None);
        assert_eq!((back.state, back.failure.clone()), (RolloutState::RolledBack, Some(failed())));
        assert_eq!((back.rejected.as_ref(), &back.complete), (Some(&rejected), &begun.complete));
        // A pod that is away afterwards is no rollout.
        let away = now(&back, &old, Some(&rejected), Progress::NotReady, Some(failed()));
        assert_eq!(away.state, RolloutState::RolledBack);
        // What ran before does not come right either: nobody knows better.
        let worse = now(&under_way, &old, Some(&rejected), Progress::Updating, Some(failed()));
        assert_eq!((worse.state, worse.rejected.as_ref()), (RolloutState::Paused, Some(&rejected)));
    }

    #[test]
    fn an_attempt_is_made_again_once_spec_images_or_policy_change() {
        let rollback = || json!({"onFailure": "Rollback"});
        let bad = checked("x/engine:2", rollback());
        let begun = now(&ran("x/engine:1"), &bad, None, Progress::Updating, Some(failed()));
        let again = |wanted: &Checked| rolled_back(Some(&begun), wanted).is_none();

        assert!(!again(&bad));
        assert!(again(&Checked { generation: 4, ..bad.clone() }));
        assert!(again(&checked("x/engine:3", rollback())));
        assert!(again(&checked("x/engine:2", json!({}))));
        assert!(rolled_back(None, &bad).is_none());
    }

    #[test]
    fn with_nothing_to_go_back_to_it_only_pauses() {
        let same = checked("x/engine:1", json!({"onFailure": "Rollback"}));

        let first = now(&RolloutStatus::default(), &same, None, Progress::Updating, Some(failed()));
        let scaled = now(&ran("x/engine:1"), &same, None, Progress::Updating, Some(failed()));

        assert_eq!((first.state, first.rejected), (RolloutState::Paused, None));
        assert_eq!((scaled.state, scaled.rejected), (RolloutState::Paused, None));
    }

    #[test]
    fn a_pod_that_is_lost_when_all_is_rolled_out_is_no_rollout_that_failed() {
        let wanted = checked("x/engine:1", json!({}));

        let lost = now(&ran("x/engine:1"), &wanted, None, Progress::NotReady, Some(failed()));

        assert_eq!((lost.state, lost.failure), (RolloutState::Complete, None));
        // Broken off after the change and before the report, the old report says nothing about the change.
        let before = ran("x/engine:1");
        let old = Attempt {
            before: Some(&before),
            current: false,
            checked: &wanted,
            rejected: None,
            failure: Some(failed()),
            settles: false,
        };
        assert_eq!(standing(&old, &total(Progress::NotReady), &[], &[]).state, RolloutState::Paused);
    }

    #[test]
    fn pods_that_all_serve_are_no_end_while_requests_fail_or_have_not_told() {
        let (before, wanted) = (ran("x/engine:1"), checked("x/engine:2", json!({})));
        let errors = || RolloutFailure { reason: ERRORS.into(), pod: None, ..failed() };

        let paused = now(&before, &wanted, None, Progress::Done, Some(errors()));
        assert_eq!((paused.state, &paused.complete), (RolloutState::Paused, &before.complete));
        assert!(stopped(&paused, &wanted).unwrap().1.contains("Read the logs of the proxies"));
        let attempt = Attempt {
            before: Some(&before),
            current: true,
            checked: &wanted,
            rejected: None,
            failure: None,
            settles: true,
        };
        let settling = standing(&attempt, &total(Progress::Done), &[], &[]);
        assert_eq!((settling.state, &settling.complete), (RolloutState::Rolling, &before.complete));
        let well = now(&paused, &wanted, None, Progress::Done, None);
        assert_eq!(
            (well.state, well.complete.unwrap().images),
            (RolloutState::Complete, images("x/engine:2"))
        );

        let told = checked("x/engine:2", json!({"onFailure": "Rollback"}));
        let back = now(&before, &told, None, Progress::Done, Some(errors()));
        assert_eq!((back.state, back.rejected.is_some()), (RolloutState::RollingBack, true));
    }

    #[test]
    fn the_sentence_says_where_why_and_what_to_do() {
        let (before, bad) = (ran("x/engine:1"), checked("x/engine:2", json!({})));
        let paused = now(&before, &bad, None, Progress::Updating, Some(failed()));

        assert_eq!(
            stopped(&paused, &bad),
            Some((
                "RolloutPaused",
                "the rollout is paused at standalone (Deployment db-milvus-standalone): pod p: ImagePullBackOff: not found; \
                 nothing further is rolled and the pods that serve go on. Name an image that can be pulled \
                 (spec.components.image, or the component's own), or give its imagePullSecrets; it then goes on by itself. \
                 spec.redkite.rollout.onFailure: Rollback puts x/engine:1 back"
                    .to_owned()
            ))
        );
        assert_eq!(paused.summary, "paused at standalone: 0 of 0 components, 0 of 0 pods");
        let told = checked("x/engine:2", json!({"onFailure": "Rollback"}));
        let begun = now(&before, &told, None, Progress::Updating, Some(failed()));
        assert_eq!(
            stopped(&begun, &told).unwrap().1,
            "the rollout failed at standalone (Deployment db-milvus-standalone): pod p: ImagePullBackOff: not found; \
             spec.redkite.rollout.onFailure is Rollback, so x/engine:1 takes its place. Name an image that can be pulled \
             (spec.components.image, or the component's own), or give its imagePullSecrets: a change of the spec is a new try"
        );
        assert_eq!(stopped(&before, &bad), None);
    }

    #[test]
    fn a_rollback_goes_the_other_way_round() {
        use ImageUpdateMode::{All, Force, RollingDowngrade, RollingUpgrade};
        assert_eq!(
            [RollingUpgrade, RollingDowngrade, All, Force].map(backwards),
            [RollingDowngrade, RollingUpgrade, All, Force]
        );
    }
}
