//! The Kubernetes objects of one `Milvus`, each built from a [`Checked`] alone.

mod budget;
mod certificate;
mod claim;
mod config_map;
mod deployment;
mod ingress;
mod network_policy;
mod pod_monitor;
mod secret;
mod service;
mod service_account;
mod store;
mod volumes;

use std::marker::PhantomData;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource;
use kube::core::DynamicObject;

use super::workload::Workload;
use super::{Checked, Component};
use crate::crd::Milvus;

pub use certificate::{read_authorities, read_issued, render_authorities, render_issued};
pub use claim::fit_claim;
pub use deployment::fit_deployment;
pub use pod_monitor::pod_monitor_kind;
pub use secret::{RandomSecret, random_secrets};
pub use store::{StoreObjects, fit_stateful_set};

/// Stage of objects: as they should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Planned;

/// Stage of objects: as the API server answered when they were applied. Only applying makes it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Live;

/// An object that a spec may or may not ask for.
#[derive(Clone, Debug, PartialEq)]
pub enum Wanted<T> {
    /// It should exist.
    Present(T),
    /// The one of this name should not exist, if it is ours.
    Absent(String),
}

/// The objects of one workload.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkloadObjects {
    /// The component.
    pub component: Component,
    /// The group, where the component is split.
    pub group: Option<String>,
    /// Its pods.
    pub deployment: Deployment,
    /// How many of them may be evicted at once.
    pub budget: Wanted<PodDisruptionBudget>,
}

impl WorkloadObjects {
    /// The component, with its group if it has one, as sentences name it.
    #[must_use]
    pub fn label(&self) -> String {
        match &self.group {
            Some(group) => format!("{}-{group}", self.component.name()),
            None => self.component.name().to_owned(),
        }
    }
}

/// All objects of one `Milvus`, at stage `S`. Whoever handles it destructures it whole, so that none is forgotten.
#[derive(Clone, Debug, PartialEq)]
pub struct Objects<S> {
    /// Identity of the pods, without rights. Absent if the spec names one for all of them.
    pub service_account: Wanted<ServiceAccount>,
    /// Settings.
    pub config_map: ConfigMap,
    /// Settings of the spec that are secret.
    pub settings_secret: Wanted<Secret>,
    /// Claim of the data volume of a standalone. `None` if the spec names one that exists; ours is then left as it is.
    pub claim: Option<PersistentVolumeClaim>,
    /// Where clients connect.
    pub service: Service,
    /// Where clients connect from outside.
    pub ingress: Wanted<Ingress>,
    /// Who may connect.
    pub policies: Vec<Wanted<NetworkPolicy>>,
    /// What Prometheus scrapes.
    pub pod_monitor: Wanted<DynamicObject>,
    /// Metadata and objects, where they are kept beside the database.
    pub stores: Vec<StoreObjects>,
    /// The engine, in the order of an upgrade.
    pub workloads: Vec<WorkloadObjects>,
    stage: PhantomData<S>,
}

impl<S> Objects<S> {
    /// The same objects at another stage; only applying may call it with [`Live`].
    pub(crate) fn at_stage<T>(self) -> Objects<T> {
        let Self {
            service_account,
            config_map,
            settings_secret,
            claim,
            service,
            ingress,
            policies,
            pod_monitor,
            stores,
            workloads,
            stage: PhantomData,
        } = self;
        Objects {
            service_account,
            config_map,
            settings_secret,
            claim,
            service,
            ingress,
            policies,
            pod_monitor,
            stores,
            workloads,
            stage: PhantomData,
        }
    }
}

/// Everything that a checked object asks for.
#[must_use]
pub fn render(checked: &Checked) -> Objects<Planned> {
    let workload = |workload: &Workload| WorkloadObjects {
        component: workload.component,
        group: workload.group.clone(),
        deployment: deployment::render(checked, workload),
        budget: budget::render(checked, workload),
    };
    Objects {
        service_account: service_account::render(checked),
        config_map: config_map::render(checked),
        settings_secret: secret::render(checked),
        claim: claim::render(checked),
        service: service::render(checked),
        ingress: ingress::render(checked),
        policies: network_policy::render(checked),
        pod_monitor: pod_monitor::render(checked),
        stores: checked.stores.iter().map(|wanted| store::render(checked, wanted)).collect(),
        workloads: checked.workloads.iter().map(workload).collect(),
        stage: PhantomData,
    }
}

/// The reference that lets an object go with its `Milvus`.
#[must_use]
pub fn owner(name: &str, uid: &str) -> OwnerReference {
    OwnerReference {
        api_version: Milvus::api_version(&()).into_owned(),
        kind: Milvus::kind(&()).into_owned(),
        name: name.to_owned(),
        uid: uid.to_owned(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// Metadata of an object that goes with its `Milvus`.
fn owned(checked: &Checked, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(checked.namespace.clone()),
        labels: Some(checked.labels()),
        owner_references: Some(vec![owner(&checked.name, &checked.uid)]),
        ..ObjectMeta::default()
    }
}

/// Name of the Service, the Ingress and the ServiceAccount.
fn service_name(checked: &Checked) -> String {
    format!("{}-milvus", checked.name)
}

/// Name of the Deployment and the budget of a workload.
fn workload_name(checked: &Checked, workload: &Workload) -> String {
    let name = format!("{}-{}", service_name(checked), workload.component.name());
    match &workload.group {
        Some(group) => format!("{name}-{group}"),
        None => name,
    }
}

/// Name of the Secret with the token of calls between nodes.
#[must_use]
pub fn admin_secret(instance: &str) -> String {
    format!("{instance}-admin")
}
