//! The part of a reconcile that is about rollouts: what is carried out, whose turn it is, how far it came.

use std::collections::BTreeMap;

use futures::future::join_all;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use super::doors::{Asked, Doors};
use super::{Driver, Error, Next, find};
use crate::cluster::Place;
use crate::crd::{Milvus, RejectedRollout, RolloutFailure, RolloutState, RolloutStatus};
use crate::render::{Checked, Facts, Fault, Live, Objects, Platform, WorkloadObjects, as_before, check};
use crate::rollout::{
    Attempt, Calls, Look, MAX_ERROR_PERCENT, Observed, Progress, Total, Turn, all_given, backwards, erring,
    failure, newest, order, rolled_back, shrink, shrinks, standing, unsteady,
};

/// What is carried out: the spec, or what ran before an attempt at it that was given up.
pub(super) struct Course {
    pub(super) checked: Checked,
    pub(super) rejected: Option<RejectedRollout>,
}

/// What requests say while images change.
#[derive(Debug, Default)]
pub(super) struct Watched {
    /// More of them fail than before.
    failure: Option<RolloutFailure>,
    /// They have not told yet how they fare with what was given last.
    settles: bool,
    /// Whether they are looked at.
    looked: bool,
}

/// What the status said of the rollout before.
fn before(milvus: &Milvus) -> Option<&RolloutStatus> {
    milvus.status.as_ref()?.redkite.as_ref()?.rollout.as_ref()
}

impl Course {
    /// Reads the spec, and what is to take its place.
    pub(super) fn of(milvus: &Milvus, platform: &Platform, facts: &Facts) -> Result<Self, Vec<Fault>> {
        let wanted = check(milvus, platform, facts)?;
        let Some((rejected, complete)) = rolled_back(before(milvus), &wanted) else {
            return Ok(Self { checked: wanted, rejected: None });
        };
        let mut checked = check(&as_before(milvus, complete), platform, facts)?.with_images(&complete.images);
        checked.update = backwards(wanted.update);
        Ok(Self { checked, rejected: Some(rejected.clone()) })
    }

    /// How far the rollout is now; `pods` may be empty where everything serves.
    pub(super) fn standing(
        &self,
        driver: &Driver,
        milvus: &Milvus,
        live: &Objects<Live>,
        turns: &[Turn],
        pods: &[Pod],
        watched: &Watched,
    ) -> RolloutStatus {
        let before = before(milvus);
        let look = Look {
            pods,
            bound_seconds: self.checked.rollout.progress_deadline_seconds,
            before: before.and_then(|before| before.failure.as_ref()),
            now: (driver.now)(),
        };
        let attempt = Attempt {
            before,
            current: milvus.status.as_ref().and_then(|status| status.observed_generation)
                == Some(self.checked.generation),
            checked: &self.checked,
            rejected: self.rejected.as_ref(),
            failure: failure(&live.workloads, turns, &look).or_else(|| watched.failure.clone()),
            settles: watched.settles,
        };
        standing(&attempt, &Total::of(live, turns), &live.workloads, turns)
    }
}

/// When to look again for the rollout's sake: no watch tells what becomes of a pod, nor how requests fare.
pub(super) fn next(rollout: &RolloutStatus, turns: &[Turn], watched: &Watched) -> Option<Next> {
    match rollout.state {
        RolloutState::RollingBack => Some(Next::Following),
        RolloutState::Rolling if turns.iter().any(|turn| matches!(turn, Turn::After(_))) => {
            Some(Next::Missing)
        }
        RolloutState::Rolling | RolloutState::Paused if watched.looked => Some(Next::Missing),
        _ => None,
    }
}

impl Driver {
    /// Looks at the requests of a database whose images change: whether more of them fail than before. Nothing is said where no
    /// proxy can be asked, nor of the first images, before which there was nothing.
    pub(super) async fn watch_requests(
        &self,
        milvus: &Milvus,
        course: &Course,
        planned: &[WorkloadObjects],
        running: &BTreeMap<String, Deployment>,
    ) -> Result<Watched, Error> {
        let place = Place::of(&milvus.metadata);
        let most = course.checked.rollout.max_error_percent.unwrap_or(MAX_ERROR_PERCENT);
        let said = before(milvus);
        let complete = said.and_then(|said| said.complete.as_ref());
        let changes = complete.filter(|complete| complete.images != course.checked.images());
        let (Some(complete), None, true) = (changes, &course.rejected, most < 100) else {
            self.windows.forget_errors(&place);
            return Ok(Watched::default());
        };
        let counted = match self.doors(milvus, Asked::Counts).await? {
            Ok(Doors { each, pods: _ }) => {
                let asked = each.into_iter().map(|door| async move {
                    // One that does not answer counts on from where it was once it does.
                    self.engine.calls(&door).await.ok().map(|calls| (door.address, calls))
                });
                join_all(asked).await.into_iter().flatten().collect::<BTreeMap<String, Calls>>()
            }
            Err(_) => BTreeMap::new(),
        };
        let (now, given, heard) = ((self.now)(), all_given(planned, running), !counted.is_empty());
        let (verdict, settles) = self.windows.errors(&place, |errors| {
            errors.look(now, counted, given);
            (errors.verdict(now, most), errors.settles(now))
        });
        let newest = newest(planned, running, &complete.images, course.checked.update);
        let failure = erring(verdict, newest, said.and_then(|said| said.failure.as_ref()), now);
        let looked = heard || failure.is_some();
        Ok(Watched { failure, settles, looked })
    }

    /// Which workloads are given what the spec says now, and which on the way to it; and the pods, if they had to be looked at.
    pub(super) async fn turns(
        &self,
        checked: &Checked,
        planned: &[WorkloadObjects],
        running: &BTreeMap<String, Deployment>,
        watched: &Watched,
    ) -> Result<(Vec<Turn>, Option<Vec<Pod>>), Error> {
        let now = |workload: &WorkloadObjects| running.get(&workload.deployment.name_any());
        let done =
            |found: &Deployment| matches!(Observed::of(found).progress, Progress::Done | Progress::Stopped);
        // Whether anything would wait if no pod were to be trusted, or waits anyway.
        let doubtful = order(planned, running, checked.update, &running.keys().cloned().collect());
        let waits = doubtful.iter().any(|turn| matches!(turn, Turn::After(_)));
        let fewer = planned.iter().any(|workload| shrinks(workload, now(workload)));
        if !waits && !fewer && planned.iter().filter_map(now).all(done) {
            return Ok((doubtful, None));
        }
        let pods = find::pods(self.cluster.as_ref(), checked).await?;
        let mut unsteady = unsteady(running.values(), &pods, (self.now)());
        // What comes after the image with which requests began to fail waits.
        unsteady.extend(watched.failure.as_ref().map(|failure| failure.workload.clone()));
        let mut turns = order(planned, running, checked.update, &unsteady);
        for ((workload, turn), leaving) in planned.iter().zip(&mut turns).zip(find::leaving(&pods, planned)) {
            if let (Turn::Now, Some(count)) = (&*turn, shrink(workload, now(workload), leaving)) {
                *turn = Turn::Step(count);
            }
        }
        Ok((turns, Some(pods)))
    }
}
