//! Data nodes: as many as jobs ask for, none while there is none.

use k8s_openapi::jiff::Timestamp;

use super::{Decision, Held, JobWindow, Reason, changed, since, stepped, within};
use crate::crd::{JobScaling, ScalingStatus};

/// A rule with everything said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobRule {
    /// Never fewer.
    pub min: i32,
    /// Never more.
    pub max: i32,
    /// Jobs for one node.
    pub jobs_per_node: i32,
    /// How long without a job. Unit: seconds.
    pub idle_seconds: i64,
}

impl From<&JobScaling> for JobRule {
    fn from(written: &JobScaling) -> Self {
        let max = written.max.max(0);
        Self {
            min: written.min.unwrap_or(0).clamp(0, max),
            max,
            jobs_per_node: written.jobs_per_node.unwrap_or(4).max(1),
            idle_seconds: i64::from(written.idle_seconds.unwrap_or(300)),
        }
    }
}

/// How many data nodes there are to be. They grow with the jobs and go when there has been none for a while: one that has work is
/// never removed for having little of it.
#[must_use]
pub fn data_nodes(
    window: &JobWindow,
    rule: &JobRule,
    before: Option<&ScalingStatus>,
    begins: i32,
    now: Timestamp,
) -> Decision {
    let status = within(before, begins, (rule.min, rule.max), now);
    let stays = |held| Decision { status: status.clone(), held };
    if before != Some(&status) {
        return stays(None);
    }
    let Some(jobs) = window.last() else { return stays(None) };
    let count = i64::from(jobs.waiting) + i64::from(jobs.running);
    let per_node = i64::from(rule.jobs_per_node);
    let asked = i32::try_from((count + per_node - 1) / per_node).unwrap_or(i32::MAX);
    if asked > status.replicas {
        let wanted = stepped(status.replicas, asked.min(rule.max));
        let held = (asked > rule.max).then(|| {
            let max = rule.max;
            Held::AtMax(format!("there are jobs for more nodes than the {max} of max"))
        });
        if wanted <= status.replicas {
            return stays(held);
        }
        let message = format!(
            "{} jobs wait and {} run, for {per_node} of which there is one node",
            jobs.waiting, jobs.running
        );
        return Decision { status: changed(&status, wanted, Reason::Jobs, message, now), held };
    }
    let idle = window.all(now, rule.idle_seconds, since(&status), |jobs| jobs.waiting + jobs.running == 0);
    if idle && status.replicas > rule.min {
        let message = format!("there has been no job for {} s", rule.idle_seconds);
        return Decision { status: changed(&status, rule.min, Reason::Idle, message, now), held: None };
    }
    stays(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scaling::Jobs;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    /// The numbers that follow a queue which is looked at every ten seconds.
    fn follow(rule: &JobScaling, queue: &[(usize, u32, u32)]) -> Vec<(i32, String)> {
        let rule = JobRule::from(rule);
        let (mut window, mut status, mut now) = (JobWindow::default(), None, 0);
        let mut seen: Vec<(i32, String)> = Vec::new();
        for (looks, waiting, running) in queue {
            for _ in 0..*looks {
                now += 10;
                window.add(at(now), Jobs { waiting: *waiting, running: *running }, rule.idle_seconds);
                let decided = data_nodes(&window, &rule, status.as_ref(), 1, at(now)).status;
                if seen.last().is_none_or(|last| last.0 != decided.replicas) {
                    seen.push((decided.replicas, decided.reason.clone()));
                }
                status = Some(decided);
            }
        }
        seen
    }

    fn said(seen: &[(i32, String)]) -> String {
        seen.iter().map(|(number, why)| format!("{number} {why}")).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn data_nodes_go_when_nothing_waits_and_come_when_something_does() {
        let rule = JobScaling { max: 6, ..JobScaling::default() };

        let seen = follow(&rule, &[(40, 0, 0), (1, 1, 0), (40, 0, 1), (20, 0, 0), (2, 90, 0), (60, 0, 0)]);

        assert_eq!(said(&seen), "1 Began, 0 Idle, 1 Jobs, 5 Jobs, 6 Jobs, 0 Idle");
    }

    #[test]
    fn a_short_pause_between_jobs_ends_no_node() {
        let rule = JobScaling { max: 6, idle_seconds: Some(60), ..JobScaling::default() };
        let busy: Vec<(usize, u32, u32)> = (0..50).flat_map(|_| [(5, 0, 0), (1, 1, 0)]).collect();

        assert_eq!(said(&follow(&rule, &busy)), "1 Began");
    }

    #[test]
    fn more_jobs_than_nodes_may_be_are_said() {
        let rule = JobRule::from(&JobScaling { max: 1, ..JobScaling::default() });
        let mut window = JobWindow::default();
        let status = data_nodes(&window, &rule, None, 1, at(0)).status;
        window.add(at(10), Jobs { waiting: 9, running: 1 }, 300);

        let decided = data_nodes(&window, &rule, Some(&status), 1, at(10));

        let held = Held::AtMax("there are jobs for more nodes than the 1 of max".into());
        assert_eq!(decided, Decision { status, held: Some(held) });
    }
}
