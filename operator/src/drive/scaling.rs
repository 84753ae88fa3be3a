//! The part of a reconcile that is about numbers of pods that follow the load: reads the load, remembers what was seen, and
//! puts what was decided where it is rendered.

use std::collections::BTreeMap;
use std::sync::Mutex;

use contract::names;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::{Resource, ResourceExt};

use super::doors::{Asked, Closed, Doors, ip};
use super::{Driver, Error, step};
use crate::cluster::{Place, get_as};
use crate::crd::{AutoscalingStatus, Milvus, MilvusResourceGroup, MilvusStatus, ScalingStatus};
use crate::render::{Checked, Component, processors, resource_group_workload};
use crate::rollout::Errors;
use crate::scaling::{
    Decision, JobRule, JobWindow, LoadReport, NodeLoad, QueryRule, QueryWindow, Standing, Unread, data_nodes,
    query_nodes,
};

/// What was seen lately of workloads that follow the load, and of requests while images change. Kept by this process alone: another one that takes over looks for as
/// long as its rules say before it changes anything.
#[derive(Debug, Default)]
pub struct Windows {
    queries: Mutex<BTreeMap<Place, QueryWindow>>,
    jobs: Mutex<BTreeMap<Place, JobWindow>>,
    errors: Mutex<BTreeMap<Place, Errors>>,
}

impl Windows {
    fn queries<T>(&self, workload: &Place, look: impl FnOnce(&mut QueryWindow) -> T) -> T {
        let mut windows = self.queries.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        look(windows.entry(workload.clone()).or_default())
    }

    fn jobs<T>(&self, workload: &Place, look: impl FnOnce(&mut JobWindow) -> T) -> T {
        let mut windows = self.jobs.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        look(windows.entry(workload.clone()).or_default())
    }

    /// What was seen of a database's requests while its images change.
    pub(super) fn errors<T>(&self, database: &Place, look: impl FnOnce(&mut Errors) -> T) -> T {
        let mut seen = self.errors.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        look(seen.entry(database.clone()).or_default())
    }

    /// Forgets a database's requests.
    pub(super) fn forget_errors(&self, database: &Place) {
        self.errors.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(database);
    }

    fn forget(&self, workload: &Place) {
        self.queries.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(workload);
        self.jobs.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(workload);
    }
}

/// A report, and the pods at that time.
struct Read {
    report: LoadReport,
    pods: Vec<Pod>,
}

impl Read {
    /// The query nodes that run in pods of this resource group's workload, or in those of no group.
    fn nodes_of(&self, group: Option<&str>) -> Vec<NodeLoad> {
        let label = |pod: &Pod, key: &str| pod.labels().get(key).cloned();
        let own = self.pods.iter().filter(|pod| {
            label(pod, names::LABEL_COMPONENT).as_deref() == Some(Component::QueryNode.name())
                && label(pod, names::LABEL_RESOURCE_GROUP).as_deref() == group
        });
        let own: Vec<&Pod> = own.collect();
        let runs = |node: &&NodeLoad| {
            let host = node.address.rsplit_once(':').map_or("", |(host, _)| host);
            let host = host.trim_start_matches('[').trim_end_matches(']');
            own.iter().any(|pod| pod.name_any() == node.host || ip(pod) == Some(host))
        };
        self.report.nodes.iter().filter(runs).cloned().collect()
    }
}

/// What follows the load in one object, and what came of it.
pub(super) struct Scaled {
    status: AutoscalingStatus,
    standing: Standing,
}

impl Scaled {
    /// Puts it into a status.
    pub(super) fn tell(self, milvus: &Milvus, status: &mut MilvusStatus, driver: &Driver) {
        let before = milvus.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
        status.conditions.push(self.standing.condition(before, milvus.metadata.generation, (driver.now)()));
        status.redkite.get_or_insert_default().autoscaling = Some(self.status);
    }
}

/// The Deployment of a component that is not split.
fn workload(milvus: &Milvus, component: Component) -> Place {
    let name = format!("{}-milvus-{}", milvus.name_any(), component.name());
    Place::new(milvus.namespace().unwrap_or_default(), name)
}

impl Driver {
    /// Lets the numbers of pods follow the load where the spec says so; `checked` then has them. `None` if none does.
    pub(super) async fn scale(
        &self,
        milvus: &Milvus,
        checked: &mut Checked,
        running: &BTreeMap<String, Deployment>,
    ) -> Result<Option<Scaled>, Error> {
        let rules =
            milvus.spec.redkite.as_ref().and_then(|redkite| redkite.autoscaling.clone()).unwrap_or_default();
        let numbers = [Component::QueryNode, Component::DataNode].map(|one| (one, number(checked, one)));
        let written =
            |component| numbers.iter().find(|(one, _)| *one == component).and_then(|(_, number)| *number);
        let stopped = |component| written(component) == Some(0);
        let query = rules.query_node.filter(|_| !stopped(Component::QueryNode));
        let data = rules.data_node.filter(|_| !stopped(Component::DataNode));
        for (component, follows) in
            [(Component::QueryNode, query.is_some()), (Component::DataNode, data.is_some())]
        {
            if !follows {
                self.unfollow(&workload(milvus, component));
            }
        }
        if query.is_none() && data.is_none() {
            return Ok(None);
        }
        let read = self.read_load(milvus).await?;
        let mut unread = read.as_ref().err().cloned();
        let before = milvus.status.as_ref().and_then(|status| status.redkite.as_ref()?.autoscaling.clone());
        let before = before.unwrap_or_default();
        let runs = |component| {
            let found = running.get(&workload(milvus, component).name);
            // One that was stopped begins anew.
            let number = found.and_then(|found| found.spec.as_ref()?.replicas).filter(|number| *number > 0);
            number.or_else(|| written(component)).unwrap_or(1)
        };
        let mut status = AutoscalingStatus::default();
        let mut decisions = Vec::new();
        if let Some(rule) = query {
            let place = workload(milvus, Component::QueryNode);
            let rule = QueryRule::of(&rule, running.get(&place.name).and_then(processors));
            let look = read.as_ref().ok().map(|read| read.nodes_of(None));
            let begins = runs(Component::QueryNode);
            let decision = self.follow_queries(&place, look, &rule, before.query_node.as_ref(), begins);
            self.measure(&place, before.query_node.as_ref(), &decision, unread.is_none());
            set_number(checked, Component::QueryNode, decision.status.replicas);
            status.query_node = Some(decision.status.clone());
            decisions.push(("query nodes", decision));
        }
        if let Some(rule) = data {
            let place = workload(milvus, Component::DataNode);
            let rule = JobRule::from(&rule);
            let now = (self.now)();
            let jobs = read.as_ref().ok().map(|read| read.report.jobs);
            if jobs == Some(None) {
                let why = "the engine is of a version that does not count its jobs".to_owned();
                unread = Some(Unread::Unknown(why));
            }
            let begins = runs(Component::DataNode);
            let decision = self.windows.jobs(&place, |window| {
                match jobs.flatten() {
                    Some(jobs) => window.add(now, jobs, rule.idle_seconds),
                    None => *window = JobWindow::default(),
                }
                data_nodes(window, &rule, before.data_node.as_ref(), begins, now)
            });
            self.measure(&place, before.data_node.as_ref(), &decision, unread.is_none());
            set_number(checked, Component::DataNode, decision.status.replicas);
            status.data_node = Some(decision.status.clone());
            decisions.push(("data nodes", decision));
        }
        let decisions: Vec<(&str, &Decision)> = decisions.iter().map(|(name, one)| (*name, one)).collect();
        let standing = Standing::of(&decisions, unread.as_ref());
        Ok(Some(Scaled { status, standing }))
    }

    /// Lets the number of a resource group follow the load; its status then has it.
    pub(super) async fn scale_group(
        &self,
        object: &MilvusResourceGroup,
        milvus: Option<&Milvus>,
    ) -> Result<Option<(ScalingStatus, Standing)>, Error> {
        let name = resource_group_workload(object);
        let place = Place::new(object.namespace().unwrap_or_default(), name);
        let leaving = object.metadata.deletion_timestamp.is_some();
        let rule = object.spec.autoscaling.as_ref().filter(|_| !leaving);
        let (Some(rule), Some(milvus)) = (rule, milvus) else {
            self.unfollow(&place);
            return Ok(None);
        };
        let found = get_as::<Deployment>(self.cluster.as_ref(), &place).await;
        let found = found.map_err(step("look at the workloads of"))?;
        let rule = QueryRule::of(rule, found.as_ref().and_then(processors));
        let read = self.read_load(milvus).await?;
        let unread = read.as_ref().err().cloned();
        let before = object.status.as_ref().and_then(|status| status.autoscaling.as_ref());
        let look = read.as_ref().ok().map(|read| read.nodes_of(Some(&object.name_any())));
        let begins = object.spec.replicas.unwrap_or(1);
        let decision = self.follow_queries(&place, look, &rule, before, begins);
        self.measure(&place, before, &decision, unread.is_none());
        let standing = Standing::of(&[("query nodes", &decision)], unread.as_ref());
        if before.is_some_and(|before| before.replicas != decision.status.replicas) {
            let (reason, message) = said(before, &decision.status);
            self.did(object.object_ref(&()), reason, message).await;
        }
        Ok(Some((decision.status, standing)))
    }

    /// Without a look nothing is changed but what the rule's bounds ask for.
    fn follow_queries(
        &self,
        place: &Place,
        look: Option<Vec<NodeLoad>>,
        rule: &QueryRule,
        before: Option<&ScalingStatus>,
        begins: i32,
    ) -> Decision {
        let now = (self.now)();
        self.windows.queries(place, |window| {
            match look {
                Some(look) => window.add(now, look, rule.down_after_seconds.max(rule.up_after_seconds)),
                None => *window = QueryWindow::default(),
            }
            query_nodes(window, rule, before, begins, now)
        })
    }

    fn measure(&self, place: &Place, before: Option<&ScalingStatus>, decision: &Decision, active: bool) {
        let ScalingStatus { replicas, reason, .. } = &decision.status;
        self.meters.follow(&place.namespace, &place.name, *replicas, active);
        if before.is_some_and(|before| before.replicas != *replicas) {
            self.meters.scaled(reason);
        }
    }

    fn unfollow(&self, place: &Place) {
        self.windows.forget(place);
        self.meters.unfollow(&place.namespace, &place.name);
    }

    /// Forgets an object that is gone.
    pub(super) fn unfollow_all(&self, place: &Place) {
        for component in [Component::QueryNode, Component::DataNode] {
            let name = format!("{}-milvus-{}", place.name, component.name());
            self.unfollow(&Place::new(&place.namespace, name));
        }
    }

    /// Asks a pod of the database how busy all of it is: a coordinator if one serves.
    async fn read_load(&self, milvus: &Milvus) -> Result<Result<Read, Unread>, Error> {
        let Doors { each, pods } = match self.doors(milvus, Asked::Overview).await? {
            Ok(doors) => doors,
            Err(Closed::NotServing) => return Ok(Err(Unread::NotServing)),
            Err(Closed::Unknown(why)) => return Ok(Err(Unread::Unknown(why))),
        };
        let mut last = Unread::NotServing;
        for door in each {
            match self.engine.load_report(&door).await {
                Ok(report) if report.settled => return Ok(Ok(Read { report, pods })),
                Ok(_) => {
                    let why = "the leader is new and still listens to the nodes".to_owned();
                    return Ok(Err(Unread::Unknown(why)));
                }
                Err(error) => last = Unread::Unknown(error.line()),
            }
        }
        Ok(Err(last))
    }
}

/// Reason and words of an event about a change.
pub(super) fn said(before: Option<&ScalingStatus>, now: &ScalingStatus) -> (&'static str, String) {
    let from = before.map_or(now.replicas, |before| before.replicas);
    let reason = if now.replicas > from { "ScaledUp" } else { "ScaledDown" };
    (reason, format!("from {from} to {} ({}): {}", now.replicas, now.reason, now.message))
}

fn number(checked: &Checked, component: Component) -> Option<i32> {
    let own = checked.workloads.iter().find(|one| one.component == component && one.group.is_none());
    own.and_then(|own| own.replicas)
}

fn set_number(checked: &mut Checked, component: Component, replicas: i32) {
    let own = checked.workloads.iter_mut().find(|one| one.component == component && one.group.is_none());
    if let Some(own) = own {
        own.replicas = Some(replicas);
    }
}
