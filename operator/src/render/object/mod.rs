//! The Kubernetes objects of one `Milvus`, each built from a [`Checked`] alone.

mod claim;
mod config_map;
mod deployment;
mod ingress;
mod service;
mod service_account;

use std::marker::PhantomData;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource;

use super::Checked;
use crate::crd::Milvus;

pub use claim::fit_claim;

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

/// All objects of one `Milvus`, at stage `S`. Whoever handles it destructures it whole, so that none is forgotten.
#[derive(Clone, Debug, PartialEq)]
pub struct Objects<S> {
    /// Identity of the pod, without rights. Absent if the spec names one.
    pub service_account: Wanted<ServiceAccount>,
    /// Settings.
    pub config_map: ConfigMap,
    /// Claim of the data volume. `None` if the spec names one that exists; ours is then left as it is.
    pub claim: Option<PersistentVolumeClaim>,
    /// Where clients connect.
    pub service: Service,
    /// Where clients connect from outside.
    pub ingress: Wanted<Ingress>,
    /// The engine.
    pub deployment: Deployment,
    stage: PhantomData<S>,
}

impl Objects<Live> {
    /// The applied objects, as the API server answered.
    #[must_use]
    pub fn live(
        service_account: Wanted<ServiceAccount>,
        config_map: ConfigMap,
        claim: Option<PersistentVolumeClaim>,
        service: Service,
        ingress: Wanted<Ingress>,
        deployment: Deployment,
    ) -> Self {
        Self { service_account, config_map, claim, service, ingress, deployment, stage: PhantomData }
    }
}

/// Everything that a checked object asks for.
#[must_use]
pub fn render(checked: &Checked) -> Objects<Planned> {
    Objects {
        service_account: service_account::render(checked),
        config_map: config_map::render(checked),
        claim: claim::render(checked),
        service: service::render(checked),
        ingress: ingress::render(checked),
        deployment: deployment::render(checked),
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
