//! Query nodes: as many as searches and loaded data ask for.
//!
//! Nodes are added when a target was passed for a while, or at once for what is ordered to be loaded and does not fit. One is removed
//! when one fewer would be enough, with room to spare, for a longer while. Between the two nothing happens, and what the last
//! raise was for is remembered, so that a load that stays as it is never makes the number go up and down.

use k8s_openapi::jiff::Timestamp;

use super::{Decision, Held, NodeLoad, QueryWindow, Reason, changed, since, stepped, within};
use crate::crd::{QueryScaling, ScalingStatus};

/// A rule with everything said.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QueryRule {
    /// Never fewer.
    pub min: i32,
    /// Never more.
    pub max: i32,
    /// What a node has for searches. Unit: processors; `None` if that is not known.
    pub node_cpu: Option<f64>,
    /// Share of it that may be in use.
    pub cpu_share: f64,
    /// Share of the memory that may be full.
    pub memory_share: f64,
    /// Unit: milliseconds.
    pub queue_wait_ms: f64,
    /// Unit: milliseconds.
    pub p99_ms: Option<f64>,
    /// Unit: seconds.
    pub up_after_seconds: i64,
    /// Unit: seconds.
    pub down_after_seconds: i64,
}

impl QueryRule {
    /// The rule for nodes that have `node_cpu` processors each.
    #[must_use]
    pub fn of(written: &QueryScaling, node_cpu: Option<f64>) -> Self {
        let targets = written.targets.clone().unwrap_or_default();
        let share = |percent: Option<i32>| f64::from(percent.unwrap_or(70)) / 100.0;
        let max = written.max.max(1);
        Self {
            min: written.min.unwrap_or(1).clamp(1, max),
            max,
            node_cpu: node_cpu.filter(|cpu| *cpu > 0.0),
            cpu_share: share(targets.cpu_percent),
            memory_share: share(targets.memory_percent),
            queue_wait_ms: f64::from(targets.queue_wait_ms.unwrap_or(50)),
            p99_ms: targets.p99_ms.map(f64::from),
            up_after_seconds: i64::from(written.up_after_seconds.unwrap_or(30)),
            down_after_seconds: i64::from(written.down_after_seconds.unwrap_or(300)),
        }
    }
}

/// How far above its target processor time must be before nodes are added.
const UP_MARGIN: f64 = 1.1;
/// How far below each target one node fewer must stay before a node is removed.
const DOWN_MARGIN: f64 = 0.8;
/// Below this a raise is not remembered as one for processor time. Unit: thousandths of a processor.
const LEAST_CPU_MILLIS: f64 = 50.0;

/// A group of nodes at one look.
struct Seen<'a> {
    nodes: &'a [NodeLoad],
}

impl Seen<'_> {
    fn staying(&self) -> impl Iterator<Item = &NodeLoad> {
        self.nodes.iter().filter(|node| node.stays)
    }

    /// Whether just so many nodes are there, and none is on its way out.
    fn is_whole(&self, replicas: i32) -> bool {
        i32::try_from(self.nodes.len()).is_ok_and(|count| count == replicas)
            && self.nodes.iter().all(|node| node.stays)
    }

    fn cpu(&self) -> f64 {
        self.staying().map(|node| node.search_cpu.max(0.0)).sum()
    }

    fn worst(&self, of: impl Fn(&NodeLoad) -> f64) -> f64 {
        self.staying().map(of).fold(0.0, f64::max)
    }

    fn bytes_to_load(&self) -> u64 {
        self.staying().map(|node| node.bytes_to_load).sum()
    }

    /// Nodes that hold what is loaded, and what is ordered if `ordered`, with `share` of the memory of each; 0 if they have
    /// no limit.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "sizes, near enough to count nodes"
    )]
    fn needed(&self, share: f64, ordered: bool) -> i32 {
        let each = self.staying().map(|node| node.memory_bytes).filter(|bytes| *bytes > 0).min();
        let Some(each) = each else { return 0 };
        let held: u64 = self.staying().map(|node| node.held_bytes).sum();
        let all = held.saturating_add(if ordered { self.bytes_to_load() } else { 0 });
        (all as f64 / (each as f64 * share)).ceil() as i32
    }
}

/// How many query nodes there are to be.
#[must_use]
pub fn query_nodes(
    window: &QueryWindow,
    rule: &QueryRule,
    before: Option<&ScalingStatus>,
    begins: i32,
    now: Timestamp,
) -> Decision {
    let status = within(before, begins, (rule.min, rule.max), now);
    let (true, Some(last)) = (before == Some(&status), window.last()) else {
        return Decision { status, held: None };
    };
    let last = Seen { nodes: last };
    if !last.is_whole(status.replicas) {
        let held = Held::Moving(format!(
            "{} of {} nodes serve, {} leave",
            last.staying().count(),
            status.replicas,
            last.nodes.iter().filter(|node| !node.stays).count(),
        ));
        return Decision { status, held: Some(held) };
    }
    if let Some((asked, reason, message)) = more(window, rule, &status, &last, now) {
        let wanted = stepped(status.replicas, asked.min(rule.max));
        let held = (asked > rule.max)
            .then(|| Held::AtMax(format!("the load asks for more nodes than the {} of max", rule.max)));
        if wanted <= status.replicas {
            return Decision { status, held };
        }
        let mut raised = changed(&status, wanted, reason, message, now);
        if reason != Reason::Memory {
            raised.raised_at_cpu_millis = Some(millis(last.cpu()));
        }
        return Decision { status: raised, held };
    }
    if status.replicas > rule.min && is_calm(window, rule, &status, now) {
        let message = format!("one node fewer was enough for {} s", rule.down_after_seconds);
        let mut fewer = changed(&status, status.replicas - 1, Reason::Calm, message, now);
        if fewer.replicas == rule.min {
            fewer.raised_at_cpu_millis = None;
        }
        return Decision { status: fewer, held: None };
    }
    Decision { status, held: None }
}

/// For how many nodes the load asks, if for more, and why.
fn more(
    window: &QueryWindow,
    rule: &QueryRule,
    status: &ScalingStatus,
    last: &Seen<'_>,
    now: Timestamp,
) -> Option<(i32, Reason, String)> {
    let replicas = status.replicas;
    // What moves because of the last change is held twice for a while; it is no load.
    let whole = |nodes: &Vec<NodeLoad>| Seen { nodes }.is_whole(replicas);
    let calm = |nodes: &Vec<NodeLoad>| whole(nodes) && Seen { nodes }.bytes_to_load() == 0;
    let settled = status.reason == Reason::Began.name()
        || window.since(since(status)).any(calm)
        || is_stuck(window, rule, status, last, now);
    let ordered = last.needed(rule.memory_share, true);
    if settled && last.bytes_to_load() > 0 && ordered > replicas {
        let bytes = last.bytes_to_load();
        let message =
            format!("{bytes} bytes are to be loaded, and with what is loaded they need {ordered} nodes");
        return Some((ordered, Reason::Memory, message));
    }
    let lasts = |is_so: &dyn Fn(&Seen<'_>) -> bool| {
        let whole = |nodes: &Vec<NodeLoad>| Seen { nodes }.is_whole(replicas) && is_so(&Seen { nodes });
        window.all(now, rule.up_after_seconds, since(status), whole)
    };
    let held = last.needed(rule.memory_share, false);
    if lasts(&|seen| seen.needed(rule.memory_share, false) > replicas) {
        return Some((held, Reason::Memory, format!("what is loaded needs {held} nodes")));
    }
    if let Some(node_cpu) = rule.node_cpu {
        let each = node_cpu * rule.cpu_share;
        if lasts(&|seen| seen.cpu() > each * f64::from(replicas) * UP_MARGIN) {
            let asked = at_least(last.cpu() / each).max(replicas + 1);
            let message = format!("searches use {:.2} processors, {each:.2} are for one node", last.cpu());
            return Some((asked, Reason::Cpu, message));
        }
    }
    let queue = |seen: &Seen<'_>| seen.worst(|node| node.queue_wait_ms);
    if lasts(&|seen| queue(seen) > rule.queue_wait_ms) {
        let message = format!(
            "searches wait {:.0} ms for a thread, the target is {:.0}",
            queue(last),
            rule.queue_wait_ms
        );
        return Some((replicas + 1, Reason::QueueWait, message));
    }
    let slowest = |seen: &Seen<'_>| seen.worst(|node| node.p99_ms);
    let p99 = rule.p99_ms.filter(|target| lasts(&|seen| slowest(seen) > *target))?;
    let message = format!("searches take {:.0} ms, the target is {p99:.0}", slowest(last));
    Some((replicas + 1, Reason::P99, message))
}

/// Whether what is to be loaded has no room where it is: all nodes have been there for long, and it does not become less.
fn is_stuck(
    window: &QueryWindow,
    rule: &QueryRule,
    status: &ScalingStatus,
    last: &Seen<'_>,
    now: Timestamp,
) -> bool {
    let mut later = last.bytes_to_load();
    let has_stayed = |nodes: &Vec<NodeLoad>| {
        let seen = Seen { nodes };
        let is_no_less = seen.bytes_to_load() <= later;
        later = seen.bytes_to_load();
        seen.is_whole(status.replicas) && is_no_less
    };
    window.all(now, rule.down_after_seconds, since(status), has_stayed)
}

/// Whether one node fewer would have been enough for long.
fn is_calm(window: &QueryWindow, rule: &QueryRule, status: &ScalingStatus, now: Timestamp) -> bool {
    let (replicas, fewer) = (status.replicas, status.replicas - 1);
    // What made more nodes necessary would do so again.
    let still = status.raised_at_cpu_millis.map_or(f64::INFINITY, |millis| processors(millis) * DOWN_MARGIN);
    let is_so = |nodes: &Vec<NodeLoad>| {
        let seen = Seen { nodes };
        let cpu_fits = rule
            .node_cpu
            .is_none_or(|node_cpu| seen.cpu() <= node_cpu * rule.cpu_share * f64::from(fewer) * DOWN_MARGIN);
        seen.is_whole(replicas)
            && seen.bytes_to_load() == 0
            && seen.needed(rule.memory_share * DOWN_MARGIN, true) <= fewer
            && cpu_fits
            && seen.worst(|node| node.queue_wait_ms) <= rule.queue_wait_ms * DOWN_MARGIN
            && rule.p99_ms.is_none_or(|target| seen.worst(|node| node.p99_ms) <= target * DOWN_MARGIN)
            && seen.cpu() <= still
    };
    window.all(now, rule.down_after_seconds, since(status), is_so)
}

#[expect(clippy::cast_possible_truncation, reason = "a number of processors")]
fn millis(cpu: f64) -> i64 {
    (cpu * 1000.0).max(LEAST_CPU_MILLIS) as i64
}

#[expect(clippy::cast_precision_loss, reason = "a number of processors")]
fn processors(millis: i64) -> f64 {
    millis as f64 / 1000.0
}

#[expect(clippy::cast_possible_truncation, reason = "a number of nodes")]
fn at_least(nodes: f64) -> i32 {
    nodes.ceil() as i32
}
