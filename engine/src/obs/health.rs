//! Whether this process serves, and if not, why.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Condition {
    Ok,
    /// Serves, but something is wrong.
    Degraded(String),
    /// Does not serve.
    Failing(String),
}

/// One component of a process, as health pages show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComponentHealth {
    /// Its name.
    pub name: &'static str,
    /// Whether it does its work.
    pub serves: bool,
    /// What is wrong with it; empty if nothing is.
    pub reason: String,
}

/// The health of a process by component, shared between the duties that report and the page that shows it.
///
/// Cloning shares it. A process of which nobody has said anything yet is not healthy: it has not joined.
#[derive(Clone, Debug, Default)]
pub struct Health {
    components: Arc<Mutex<BTreeMap<&'static str, Condition>>>,
}

impl Health {
    /// Nothing reported yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// `component` does its work.
    pub fn ok(&self, component: &'static str) {
        self.components.lock().insert(component, Condition::Ok);
    }

    /// `component` works around something, for example a metadata store that is away; the process still serves.
    pub fn degraded(&self, component: &'static str, why: impl Into<String>) {
        self.components.lock().insert(component, Condition::Degraded(why.into()));
    }

    /// `component` cannot serve: it has not started yet, drains, or is broken.
    pub fn failing(&self, component: &'static str, why: impl Into<String>) {
        self.components.lock().insert(component, Condition::Failing(why.into()));
    }

    /// `component` is no longer part of this process.
    pub fn forget(&self, component: &'static str) {
        self.components.lock().remove(component);
    }

    /// What has been reported, by name.
    #[must_use]
    pub fn components(&self) -> Vec<ComponentHealth> {
        let show = |(name, condition): (&&'static str, &Condition)| {
            let (serves, reason) = match condition {
                Condition::Ok => (true, ""),
                Condition::Degraded(why) => (true, why.as_str()),
                Condition::Failing(why) => (false, why.as_str()),
            };
            ComponentHealth { name, serves, reason: reason.to_owned() }
        };
        self.components.lock().iter().map(show).collect()
    }

    /// Whether the process serves, and the text for `/healthz`: `OK` alone when nothing is wrong, else what is.
    #[must_use]
    pub fn report(&self) -> (bool, String) {
        let components = self.components.lock();
        if components.is_empty() {
            return (false, "starting".to_owned());
        }
        let failing = wrongs(&components, |condition| match condition {
            Condition::Failing(why) => Some(why),
            Condition::Ok | Condition::Degraded(_) => None,
        });
        if !failing.is_empty() {
            return (false, failing);
        }
        let degraded = wrongs(&components, |condition| match condition {
            Condition::Degraded(why) => Some(why),
            Condition::Ok | Condition::Failing(_) => None,
        });
        if degraded.is_empty() { (true, "OK".to_owned()) } else { (true, format!("OK, but {degraded}")) }
    }
}

fn wrongs(
    components: &BTreeMap<&'static str, Condition>,
    why: impl Fn(&Condition) -> Option<&String>,
) -> String {
    let found = components
        .iter()
        .filter_map(|(component, condition)| why(condition).map(|why| format!("{component}: {why}")));
    found.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_healthy_once_all_that_reported_are_ok() {
        let health = Health::new();
        assert_eq!(health.report(), (false, "starting".to_owned()));

        health.failing("proxy", "no address yet");
        health.ok("coord");
        assert_eq!(health.report(), (false, "proxy: no address yet".to_owned()));

        health.ok("proxy");
        assert_eq!(health.report(), (true, "OK".to_owned()));
    }

    #[test]
    fn a_degraded_component_is_named_and_the_process_still_serves() {
        let health = Health::new();
        health.ok("proxy");

        health.degraded("meta", "unreachable");

        assert_eq!(health.report(), (true, "OK, but meta: unreachable".to_owned()));
    }

    #[test]
    fn every_component_is_shown_with_what_is_wrong_with_it() {
        let health = Health::new();
        health.ok("proxy");
        health.degraded("meta", "unreachable");
        health.failing("log", "full");

        let shown = |name, serves, reason: &str| ComponentHealth { name, serves, reason: reason.to_owned() };
        assert_eq!(
            health.components(),
            [shown("log", false, "full"), shown("meta", true, "unreachable"), shown("proxy", true, "")]
        );
    }

    #[test]
    fn a_component_that_left_is_not_asked_any_more() {
        let health = Health::new();
        health.ok("proxy");
        health.failing("querier", "draining");

        health.forget("querier");

        assert_eq!(health.report(), (true, "OK".to_owned()));
    }
}
