//! What should exist: `Milvus` → [`Checked`] → [`Objects<Planned>`]. Pure.
//!
//! [`check`] reads the whole spec once and names every field that cannot be carried out; after it nothing is left to
//! check. [`render`] turns a checked object into Kubernetes objects. Neither knows what exists now, nor the time.

mod before;
mod certificates;
mod check;
mod component;
mod dependency;
mod fields;
mod foreign;
mod hash;
mod image;
mod object;
mod quantity;
mod resource_group;
mod settings;
mod storage;
mod store;
mod superseded;
#[cfg(test)]
mod tests;
mod workload;

pub use before::as_before;
pub use certificates::{Certificates, Side, authority_secret, node_tls};
pub use check::{Checked, Fault, FaultReason, Metrics, Platform, check, deletes_data, nodes_need_tls};
pub use component::Component;
pub use dependency::{Facts, Log, MetaStore, Prints, StoreFact, describe_log, secrets_of};
pub use foreign::shared_data;
pub use hash::print;
pub use image::{BadCatalog, Catalog, CatalogEntry, Image, Level};
pub use object::{
    Live, Objects, Planned, RandomSecret, StoreObjects, Wanted, WorkloadObjects, admin_secret, fit_claim,
    fit_deployment, fit_stateful_set, owner, pod_monitor_kind, random_secrets, read_authorities, read_issued,
    render, render_authorities, render_issued,
};
pub use resource_group::{is_taken, processors, resource_group_faults, resource_group_workload};
pub use settings::UserSettings;
pub use storage::{Bucket, DataClaim, DataStore};
pub use store::{Fate, Store, StoreKind, fate};
pub use superseded::milvus_of;
pub use workload::Workload;
