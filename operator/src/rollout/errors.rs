//! Whether requests of clients fail more than before while new images are rolled out.
//!
//! What failed for a client's own mistake is not counted by the proxies. A rollout that begins while requests fail is compared with
//! what the same proxies counted until then.

use std::collections::{BTreeMap, VecDeque};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::jiff::Timestamp;

use super::{Observed, Progress};
use crate::crd::{ImageUpdateMode, RolloutFailure};
use crate::render::WorkloadObjects;

/// The word for it in a failure.
pub const ERRORS: &str = "Errors";
/// Share of requests that may fail where the spec says nothing. Unit: percent.
pub const MAX_ERROR_PERCENT: i32 = 5;
/// What is looked at. Unit: seconds.
const SPAN_SECONDS: i64 = 30;
/// Fewer requests in the span say nothing.
const LEAST_REQUESTS: u64 = 20;
/// How many times the usual share is more than usual.
const RISE: f64 = 2.0;

/// Requests that ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// All of them.
    pub ended: u64,
    /// Those that failed, and not by their client's doing.
    pub failed: u64,
}

impl Calls {
    /// What came since `before`; all, if the process counts anew.
    const fn since(self, before: Self) -> Self {
        if self.ended < before.ended || self.failed < before.failed {
            return self;
        }
        Self { ended: self.ended - before.ended, failed: self.failed - before.failed }
    }

    const fn plus(self, other: Self) -> Self {
        Self {
            ended: self.ended.saturating_add(other.ended),
            failed: self.failed.saturating_add(other.failed),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a share of requests")]
    fn percent(self) -> f64 {
        if self.ended == 0 { 0.0 } else { self.failed as f64 * 100.0 / self.ended as f64 }
    }
}

/// What was seen of requests since images began to change. Kept by this process alone: one that takes over looks for as long as the
/// span is before it says that all is well.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Errors {
    /// What each proxy had counted when it was last heard, by its address.
    heard: BTreeMap<String, Calls>,
    /// When the first look was, and what the proxies had counted until then.
    began: Option<(Timestamp, Calls)>,
    /// What came between looks, oldest first.
    came: VecDeque<(Timestamp, Calls)>,
    /// Since when all pods have been as the spec says.
    complete: Option<Timestamp>,
}

/// What the requests say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No more fail than before.
    Usual,
    /// Not looked for long enough.
    Unknown,
    /// More fail; in one sentence.
    Rising(String),
}

impl Errors {
    /// Takes what each proxy has counted since it started, by its address, and whether all pods are as the spec says.
    pub fn look(&mut self, now: Timestamp, counted: BTreeMap<String, Calls>, complete: bool) {
        self.complete = if complete { self.complete.or(Some(now)) } else { None };
        if counted.is_empty() {
            return;
        }
        let none = Calls::default();
        if self.began.is_some() {
            let before = |address: &String| self.heard.get(address).copied().unwrap_or_default();
            let came =
                counted.iter().map(|(address, calls)| calls.since(before(address))).fold(none, Calls::plus);
            self.came.push_back((now, came));
        } else {
            self.began = Some((now, counted.values().copied().fold(none, Calls::plus)));
        }
        // A proxy that was not heard this time counts from where it was.
        self.heard.extend(counted);
        while self.came.front().is_some_and(|(at, _)| seconds(*at, now) > SPAN_SECONDS) {
            self.came.pop_front();
        }
    }

    fn seen(&self) -> Calls {
        self.came.iter().map(|(_, calls)| *calls).fold(Calls::default(), Calls::plus)
    }

    /// Whether more than `most_percent` fail, and more than is usual.
    #[must_use]
    pub fn verdict(&self, now: Timestamp, most_percent: i32) -> Verdict {
        let Some((began, before)) = self.began else { return Verdict::Unknown };
        let seen = self.seen();
        let (share, usual) = (seen.percent(), before.percent());
        if seen.ended >= LEAST_REQUESTS && share > f64::from(most_percent).max(usual * RISE) {
            return Verdict::Rising(format!(
                "{share:.1} % of {} requests failed within {SPAN_SECONDS} s, where {most_percent} % may \
                 (spec.redkite.rollout.maxErrorPercent) and {usual:.1} % had before",
                seen.ended
            ));
        }
        if seconds(began, now) < SPAN_SECONDS { Verdict::Unknown } else { Verdict::Usual }
    }

    /// Whether everything has been given its image for less than the span while requests come: what they will say is not heard yet.
    #[must_use]
    pub fn settles(&self, now: Timestamp) -> bool {
        let fresh = self.complete.is_some_and(|since| seconds(since, now) < SPAN_SECONDS);
        fresh && self.seen().ended > 0
    }
}

fn seconds(from: Timestamp, to: Timestamp) -> i64 {
    to.duration_since(from).as_secs()
}

/// The workload that was given another image than `before` last, in the order of the change. `live` has the Deployments that exist,
/// by name.
#[must_use]
pub fn newest<'a>(
    planned: &'a [WorkloadObjects],
    live: &BTreeMap<String, Deployment>,
    before: &BTreeMap<String, String>,
    mode: ImageUpdateMode,
) -> Option<&'a WorkloadObjects> {
    let given = |workload: &&WorkloadObjects| {
        let wanted = image(&workload.deployment);
        let runs = name(&workload.deployment).and_then(|name| live.get(name)).and_then(image);
        runs.is_some() && runs == wanted && before.get(workload.component.name()) != wanted
    };
    match mode {
        ImageUpdateMode::RollingDowngrade => planned.iter().find(given),
        ImageUpdateMode::RollingUpgrade | ImageUpdateMode::All | ImageUpdateMode::Force => {
            planned.iter().rev().find(given)
        }
    }
}

/// Whether every planned workload exists with its image, and all its pods serve.
#[must_use]
pub fn all_given(planned: &[WorkloadObjects], live: &BTreeMap<String, Deployment>) -> bool {
    planned.iter().all(|workload| {
        name(&workload.deployment).and_then(|name| live.get(name)).is_some_and(|found| {
            image(found) == image(&workload.deployment)
                && matches!(Observed::of(found).progress, Progress::Done | Progress::Stopped)
        })
    })
}

/// The failure that a verdict is, of the workload that was given a new image last. One that was found before stays until it is
/// known that all is well, in the words that it had.
#[must_use]
pub fn erring(
    verdict: Verdict,
    newest: Option<&WorkloadObjects>,
    before: Option<&RolloutFailure>,
    now: Timestamp,
) -> Option<RolloutFailure> {
    let kept = before.filter(|before| before.reason == ERRORS).cloned();
    match verdict {
        Verdict::Usual => None,
        Verdict::Unknown => kept,
        Verdict::Rising(message) => kept.or_else(|| {
            let newest = newest?;
            Some(RolloutFailure {
                component: newest.label(),
                workload: name(&newest.deployment).cloned().unwrap_or_default(),
                pod: None,
                reason: ERRORS.to_owned(),
                message,
                since: now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            })
        }),
    }
}

const fn name(deployment: &Deployment) -> Option<&String> {
    deployment.metadata.name.as_ref()
}

/// What the engine's container, the first of its pod, runs.
fn image(deployment: &Deployment) -> Option<&String> {
    deployment.spec.as_ref()?.template.spec.as_ref()?.containers.first()?.image.as_ref()
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;
    use crate::render::{Component, Wanted};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn counted(each: &[(&str, u64, u64)]) -> BTreeMap<String, Calls> {
        each.iter()
            .map(|(address, ended, failed)| ((*address).to_owned(), Calls { ended: *ended, failed: *failed }))
            .collect()
    }

    /// Looks every ten seconds.
    fn looked(looks: &[&[(&str, u64, u64)]]) -> (Errors, Timestamp) {
        let (mut errors, mut now) = (Errors::default(), at(0));
        for (number, look) in (0..).zip(looks) {
            now = at(10 * number);
            errors.look(now, counted(look), false);
        }
        (errors, now)
    }

    fn verdict(looks: &[&[(&str, u64, u64)]]) -> Verdict {
        let (errors, now) = looked(looks);
        errors.verdict(now, MAX_ERROR_PERCENT)
    }

    #[test]
    fn a_share_above_the_bound_is_told_with_its_numbers() {
        let rising = verdict(&[&[("a", 1000, 0)], &[("a", 1100, 10)]]);

        let message = "10.0 % of 100 requests failed within 30 s, where 5 % may \
                       (spec.redkite.rollout.maxErrorPercent) and 0.0 % had before";
        assert_eq!(rising, Verdict::Rising(message.to_owned()));
    }

    #[test]
    fn few_requests_few_failures_and_what_was_usual_before_are_no_rise() {
        let four = [&[("a", 0, 0)][..], &[("a", 7, 7)], &[("a", 13, 13)], &[("a", 19, 19)]];
        assert_eq!(verdict(&four), Verdict::Usual);
        let some = [&[("a", 0, 0)][..], &[("a", 100, 5)], &[("a", 200, 10)], &[("a", 300, 15)]];
        assert_eq!(verdict(&some), Verdict::Usual);
        let ever = [&[("a", 1000, 300)][..], &[("a", 1100, 340)], &[("a", 1200, 380)], &[("a", 1300, 420)]];
        assert_eq!(verdict(&ever), Verdict::Usual);
    }

    #[test]
    fn it_is_known_only_after_the_whole_span_and_what_is_older_than_that_is_forgotten() {
        assert_eq!(verdict(&[]), Verdict::Unknown);
        assert_eq!(verdict(&[&[("a", 0, 0)], &[("a", 100, 0)]]), Verdict::Unknown);
        let mut looks: Vec<&[(&str, u64, u64)]> = vec![&[("a", 0, 0)][..], &[("a", 100, 50)]];
        looks.extend([&[("a", 200, 50)][..], &[("a", 300, 50)], &[("a", 400, 50)], &[("a", 500, 50)]]);
        assert!(matches!(verdict(&looks[..5]), Verdict::Rising(_)));
        assert_eq!(verdict(&looks), Verdict::Usual);
    }

    #[test]
    fn a_proxy_that_is_new_or_counts_anew_counts_whole_and_one_that_was_not_heard_from_where_it_was() {
        let (errors, _) = looked(&[
            &[("a", 1000, 10), ("b", 500, 0)],
            &[("a", 30, 3), ("c", 20, 1)],
            &[("a", 40, 3), ("b", 510, 0), ("c", 20, 1)],
        ]);

        assert_eq!(errors.seen(), Calls { ended: 30 + 20 + 10 + 10, failed: 3 + 1 });
    }

    #[test]
    fn what_has_just_become_complete_settles_while_requests_come() {
        let mut errors = Errors::default();
        errors.look(at(0), counted(&[("a", 10, 0)]), false);
        errors.look(at(10), counted(&[("a", 20, 0)]), true);
        assert!(errors.settles(at(10)));
        errors.look(at(39), counted(&[("a", 30, 0)]), true);
        assert!(errors.settles(at(39)));
        assert!(!errors.settles(at(40)));

        let mut quiet = Errors::default();
        quiet.look(at(0), counted(&[("a", 10, 0)]), true);
        quiet.look(at(10), counted(&[("a", 10, 0)]), true);
        assert!(!quiet.settles(at(10)));
    }

    fn workload(component: Component, image: &str) -> WorkloadObjects {
        let deployment: Deployment = from_value(json!({
            "metadata": {"name": component.name(), "generation": 1},
            "spec": {"replicas": 1, "selector": {}, "template": {"spec": {"containers": [{"name": "a", "image": image}]}}},
            "status": {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1},
        }))
        .unwrap();
        WorkloadObjects { component, group: None, deployment, budget: Wanted::Absent(String::new()) }
    }

    #[test]
    fn the_workload_that_was_given_its_image_last_is_named() {
        const ORDER: [Component; 3] = [Component::MixCoord, Component::QueryNode, Component::Proxy];
        let planned = ORDER.map(|component| workload(component, "new"));
        let before = ORDER.map(|component| (component.name().to_owned(), "old".to_owned())).into();
        let named = |images: [&str; 3], mode| {
            let live: BTreeMap<String, Deployment> = ORDER
                .into_iter()
                .zip(images)
                .map(|(component, image)| {
                    (component.name().to_owned(), workload(component, image).deployment)
                })
                .collect();
            let found = newest(&planned, &live, &before, mode).map(|found| found.component);
            (found, all_given(&planned, &live))
        };

        let upgrade = ImageUpdateMode::RollingUpgrade;
        assert_eq!(named(["old", "old", "old"], upgrade), (None, false));
        assert_eq!(named(["new", "new", "old"], upgrade), (Some(Component::QueryNode), false));
        assert_eq!(named(["new", "new", "new"], upgrade), (Some(Component::Proxy), true));
        let downgrade = ImageUpdateMode::RollingDowngrade;
        assert_eq!(named(["old", "new", "new"], downgrade), (Some(Component::QueryNode), false));
    }

    #[test]
    fn a_failure_stays_in_its_words_until_it_is_known_that_all_is_well() {
        let proxy = workload(Component::Proxy, "new");
        let rising = |words: &str| Verdict::Rising(words.to_owned());

        let first = erring(rising("one"), Some(&proxy), None, at(5));
        let again = erring(rising("two"), Some(&proxy), first.as_ref(), at(15));
        let restarted = erring(Verdict::Unknown, Some(&proxy), first.as_ref(), at(25));
        let well = erring(Verdict::Usual, Some(&proxy), first.as_ref(), at(35));

        let found = first.as_ref().unwrap();
        assert_eq!(
            (found.component.as_str(), found.reason.as_str(), found.message.as_str()),
            ("proxy", "Errors", "one")
        );
        assert_eq!((&again, &restarted, well), (&first, &first, None));
        let other = RolloutFailure { reason: "Crash".to_owned(), ..RolloutFailure::default() };
        assert_eq!(erring(Verdict::Unknown, Some(&proxy), Some(&other), at(5)), None);
        assert_eq!(erring(rising("one"), None, None, at(5)), None, "nothing was given a new image yet");
    }
}
