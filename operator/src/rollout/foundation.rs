//! The three conditions of the peer about what a database stands on.

use k8s_openapi::api::apps::v1::StatefulSet;

use super::report::{Said, said};
use crate::crd::ConditionType;
use crate::render::{Checked, DataStore, Live, Log, MetaStore, Objects, StoreKind, describe_log};

/// What was found out about dependencies by asking them, and about the Secrets that lead to them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Addresses that do not answer.
    pub silent: Vec<Silent>,
    /// What is wrong with Secrets.
    pub secrets: Vec<SecretFault>,
}

/// An address that does not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silent {
    /// Whose.
    pub dependency: Dependency,
    /// The field of the spec that names it.
    pub path: String,
    /// The address.
    pub address: String,
    /// Why not.
    pub why: String,
}

/// What is wrong with a Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretFault {
    /// Whose.
    pub dependency: Dependency,
    /// The peer's word for it.
    pub reason: &'static str,
    /// A sentence with the path of the field.
    pub message: String,
}

/// One of the things a database stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dependency {
    /// The metadata store.
    Etcd,
    /// The object storage.
    Storage,
    /// The message stream.
    Stream,
    /// The certificates of its pods.
    Certificates,
}

impl Found {
    fn silent(&self, dependency: Dependency) -> Vec<String> {
        let of = self.silent.iter().filter(|silent| silent.dependency == dependency);
        of.map(|silent| format!("{}: {} does not answer: {}", silent.path, silent.address, silent.why))
            .collect()
    }

    fn secret(&self, dependency: Dependency) -> Option<&SecretFault> {
        self.secrets.iter().find(|fault| fault.dependency == dependency)
    }
}

/// The conditions.
pub(super) fn conditions(checked: &Checked, found: &Found, live: &Objects<Live>) -> [Said; 3] {
    [etcd(checked, found, live), storage(checked, found, live), stream(checked, found)]
}

fn etcd(checked: &Checked, found: &Found, live: &Objects<Live>) -> Said {
    let kind = ConditionType::EtcdReady;
    let MetaStore::Etcd { endpoints, external } = &checked.meta else {
        let message = "metadata is kept in the embedded store (redb) on the data volume";
        return said(kind, true, "EmbeddedMetadataStore", message);
    };
    if let Some((ready, members)) = members(live, StoreKind::Etcd) {
        let message =
            format!("{ready} of {members} members of {} serve", StoreKind::Etcd.name(&checked.name));
        return match ready > members / 2 {
            true => said(kind, true, "EtcdReady", message),
            false => said(kind, false, "EtcdNotReady", format!("{}: {message}", StoreKind::Etcd.path())),
        };
    }
    let silent = found.silent(Dependency::Etcd);
    if silent.len() >= endpoints.len() {
        return said(kind, false, "EtcdNotReady", silent.join("; "));
    }
    let whose = if *external { "external etcd" } else { "etcd that was there before" };
    let mut message = format!("metadata is kept in the {whose} at {}", endpoints.join(","));
    if !silent.is_empty() {
        message = format!("{message}; but {}", silent.join("; "));
    }
    said(kind, true, "EtcdReady", message)
}

fn storage(checked: &Checked, found: &Found, live: &Objects<Live>) -> Said {
    let kind = ConditionType::StorageReady;
    let DataStore::Bucket(bucket) = &checked.store else {
        let message = "objects are kept as files in the embedded store on the data volume";
        return said(kind, true, "EmbeddedStorage", message);
    };
    if let Some((ready, _)) = members(live, StoreKind::Objects) {
        let name = StoreKind::Objects.name(&checked.name);
        return match ready > 0 {
            true => {
                said(kind, true, "StorageReady", format!("objects are kept in {name} beside the database"))
            }
            false => said(
                kind,
                false,
                "ClientError",
                format!("{}: {name} does not serve yet", StoreKind::Objects.path()),
            ),
        };
    }
    if let Some(fault) = found.secret(Dependency::Storage) {
        return said(kind, false, fault.reason, fault.message.clone());
    }
    let silent = found.silent(Dependency::Storage);
    if !silent.is_empty() {
        return said(kind, false, "ClientError", silent.join("; "));
    }
    let message = format!("objects are kept in the storage at {}:{}", bucket.host, bucket.port);
    said(kind, true, "StorageReady", message)
}

fn stream(checked: &Checked, found: &Found) -> Said {
    let kind = ConditionType::MsgStreamReady;
    let Log::Kafka { brokers, .. } = &checked.log else {
        let reason = if checked.log == Log::Files { "EmbeddedLog" } else { "MsgStreamReady" };
        return said(kind, true, reason, describe_log(&checked.log, checked.stream));
    };
    if let Some(fault) = found.secret(Dependency::Stream) {
        return said(kind, false, fault.reason, fault.message.clone());
    }
    let silent = found.silent(Dependency::Stream);
    if silent.len() >= brokers.len() {
        return said(kind, false, "ConnectionFailed", silent.join("; "));
    }
    let mut message = describe_log(&checked.log, checked.stream);
    if !silent.is_empty() {
        message = format!("{message}; but {}", silent.join("; "));
    }
    said(kind, true, "MsgStreamReady", message)
}

/// How many members of a store beside the database serve, and how many there are.
fn members(live: &Objects<Live>, kind: StoreKind) -> Option<(i32, i32)> {
    let store = live.stores.iter().find(|store| store.kind == kind)?;
    let StatefulSet { spec, status, .. } = &store.stateful_set;
    let members = spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let ready = status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0);
    Some((ready, members))
}
