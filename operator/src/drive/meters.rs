//! The operator's metrics. One registry per process, made at its start and passed down.

use std::collections::BTreeMap;
use std::sync::Mutex;

use contract::names;
use prometheus::{
    Encoder, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
};

use crate::cluster::Place;
use crate::crd::Phase;

/// Counters, gauges and the last known state of each object.
pub struct Meters {
    registry: Registry,
    status: GaugeVec,
    total: GaugeVec,
    reconciles: IntCounterVec,
    seconds: HistogramVec,
    leader: IntGauge,
    scaled: GaugeVec,
    follows: GaugeVec,
    changes: IntCounterVec,
    states: Mutex<BTreeMap<Place, State>>,
}

/// State of one object as `milvus_status` counts it.
#[derive(Clone, Copy, PartialEq)]
enum State {
    Phase(Phase),
    Maintaining,
}

impl State {
    const ALL: [Self; 6] = [
        Self::Phase(Phase::Pending),
        Self::Phase(Phase::Healthy),
        Self::Phase(Phase::Unhealthy),
        Self::Phase(Phase::Deleting),
        Self::Phase(Phase::Stopped),
        Self::Maintaining,
    ];

    const fn number(self) -> f64 {
        match self {
            Self::Phase(Phase::Pending) => 0.0,
            Self::Phase(Phase::Healthy) => 1.0,
            Self::Phase(Phase::Unhealthy) => 2.0,
            Self::Phase(Phase::Deleting) => 3.0,
            Self::Phase(Phase::Stopped) => 4.0,
            Self::Maintaining => 5.0,
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Phase(phase) => phase.name(),
            Self::Maintaining => "Maintaining",
        }
    }
}

impl Meters {
    /// Registers all metrics.
    ///
    /// # Errors
    /// If two have one name: a defect of this file.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let opts = |name: &str, help: &str| Opts::new(name, help);
        let status = GaugeVec::new(
            opts(names::METRIC_STATUS, "State of a Milvus object"),
            &["milvus_namespace", "milvus_name"],
        )?;
        let total = GaugeVec::new(opts(names::METRIC_TOTAL, "Milvus objects by state"), &["status"])?;
        let build = GaugeVec::new(opts(names::METRIC_BUILD, "Version of the operator"), &["version"])?;
        let reconciles =
            IntCounterVec::new(opts(names::METRIC_RECONCILES, "Reconciles by result"), &["result"])?;
        let seconds = HistogramVec::new(
            HistogramOpts::new(names::METRIC_RECONCILE_SECONDS, "Duration of a reconcile")
                .buckets(vec![0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0]),
            &["result"],
        )?;
        let leader = IntGauge::new(names::METRIC_LEADER, "1 while this copy holds the lease")?;
        let workload = ["namespace", "workload"];
        let scaled =
            GaugeVec::new(opts(names::METRIC_SCALING_REPLICAS, "Pods that autoscaling asks for"), &workload)?;
        let follows = GaugeVec::new(
            opts(names::METRIC_SCALING_ACTIVE, "1 while the load can be read that autoscaling follows"),
            &workload,
        )?;
        let changes = IntCounterVec::new(
            opts(names::METRIC_SCALING_CHANGES, "Changes of numbers of pods by autoscaling, by reason"),
            &["reason"],
        )?;
        registry.register(Box::new(scaled.clone()))?;
        registry.register(Box::new(follows.clone()))?;
        registry.register(Box::new(changes.clone()))?;
        registry.register(Box::new(status.clone()))?;
        registry.register(Box::new(total.clone()))?;
        registry.register(Box::new(build.clone()))?;
        registry.register(Box::new(reconciles.clone()))?;
        registry.register(Box::new(seconds.clone()))?;
        registry.register(Box::new(leader.clone()))?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1.0);
        Ok(Self {
            registry,
            status,
            total,
            reconciles,
            seconds,
            leader,
            scaled,
            follows,
            changes,
            states: Mutex::default(),
        })
    }

    /// Notes the state of an object.
    pub fn observe(&self, place: &Place, phase: Phase, maintaining: bool) {
        let state = if maintaining { State::Maintaining } else { State::Phase(phase) };
        self.status.with_label_values(&[&place.namespace, &place.name]).set(state.number());
        self.change(|states| {
            states.insert(place.clone(), state);
        });
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, place: &Place) {
        // An error means that it was not known.
        drop(self.status.remove_label_values(&[&place.namespace, &place.name]));
        self.change(|states| {
            states.remove(place);
        });
    }

    /// Counts one reconcile; `result` is `ok` or the kind of its failure.
    pub fn reconciled(&self, result: &'static str, seconds: f64) {
        self.reconciles.with_label_values(&[result]).inc();
        self.seconds.with_label_values(&[result]).observe(seconds);
    }

    /// Notes the number of pods that the load asks for, and whether the load could be read.
    pub fn follow(&self, namespace: &str, workload: &str, replicas: i32, active: bool) {
        let labels = [namespace, workload];
        self.scaled.with_label_values(&labels).set(f64::from(replicas));
        self.follows.with_label_values(&labels).set(f64::from(u8::from(active)));
    }

    /// Forgets a workload whose number does not follow the load any more.
    pub fn unfollow(&self, namespace: &str, workload: &str) {
        // An error means that it was not known.
        drop(self.scaled.remove_label_values(&[namespace, workload]));
        drop(self.follows.remove_label_values(&[namespace, workload]));
    }

    /// Counts a change of a number by autoscaling.
    pub fn scaled(&self, reason: &str) {
        self.changes.with_label_values(&[reason]).inc();
    }

    /// Notes whether this copy holds the lease.
    pub fn lead(&self, holds: bool) {
        self.leader.set(i64::from(holds));
    }

    /// All metrics in Prometheus's text format.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = Vec::new();
        match TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            Ok(()) => String::from_utf8_lossy(&text).into_owned(),
            Err(error) => format!("# {error}\n"),
        }
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<Place, State>)) {
        let mut states = self.states.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        change(&mut states);
        for state in State::ALL {
            let count =
                u32::try_from(states.values().filter(|known| **known == state).count()).unwrap_or(u32::MAX);
            self.total.with_label_values(&[state.label()]).set(f64::from(count));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peers_names_and_numbers_are_kept() {
        let meters = Meters::new().unwrap();

        meters.observe(&Place::new("ns", "a"), Phase::Stopped, false);
        meters.observe(&Place::new("ns", "b"), Phase::Healthy, true);
        meters.observe(&Place::new("ns", "gone"), Phase::Healthy, false);
        meters.forget(&Place::new("ns", "gone"));

        let text = meters.text();
        for line in [
            r#"milvus_status{milvus_name="a",milvus_namespace="ns"} 4"#,
            r#"milvus_status{milvus_name="b",milvus_namespace="ns"} 5"#,
            r#"milvus_total_count{status="Stopped"} 1"#,
            r#"milvus_total_count{status="Healthy"} 0"#,
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("gone"));
    }

    #[test]
    fn numbers_that_follow_the_load_are_shown_while_they_do() {
        let meters = Meters::new().unwrap();

        meters.follow("ns", "a", 3, true);
        meters.follow("ns", "b", 2, false);
        meters.follow("ns", "gone", 2, true);
        meters.unfollow("ns", "gone");
        meters.scaled("Cpu");

        let text = meters.text();
        for line in [
            r#"redkite_operator_autoscaling_replicas{namespace="ns",workload="a"} 3"#,
            r#"redkite_operator_autoscaling_active{namespace="ns",workload="b"} 0"#,
            r#"redkite_operator_autoscaling_changes_total{reason="Cpu"} 1"#,
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("gone"));
    }
}
