//! What a database stands on: metadata, objects, log; each embedded, beside it in the cluster, or somebody else's.

use std::collections::{BTreeMap, BTreeSet};

use contract::names;
use serde_json::{Value, json};

use super::fields::Faults;
use super::storage::{self, DataStore};
use super::store::{Store, StoreKind};
use super::{FaultReason, Platform, store};
use crate::crd::{Dependencies, Kafka, MilvusResourceGroup, MilvusSpec, Mode, MsgStreamType};

/// Of each key of a Secret, a print of its value: four hex digits of a hash. Enough to see nearly every change, too few to find
/// the value by.
pub type Prints = BTreeMap<String, String>;

/// What exists already and decides what is rendered. No content of a Secret is in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// Prints of each Secret that the spec names and that exists.
    pub secrets: BTreeMap<String, Prints>,
    /// Stores of this object that exist.
    pub stores: BTreeMap<StoreKind, StoreFact>,
    /// Resource groups that are about this object.
    pub groups: Vec<MilvusResourceGroup>,
}

/// A store that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreFact {
    /// Its number of members, which cannot change.
    pub members: i32,
    /// Whether somebody else made it; it is then used and left as it is.
    pub foreign: bool,
}

/// Where metadata is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetaStore {
    /// In a file on the data volume.
    Embedded,
    /// In etcd.
    Etcd {
        /// Its members, `host:port` each.
        endpoints: Vec<String>,
        /// Whether somebody else runs it.
        external: bool,
    },
}

/// Where what is not sealed yet is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Log {
    /// In files on the data volume.
    Files,
    /// In the object store.
    Objects,
    /// In Kafka.
    Kafka {
        /// Its brokers, `host:port` each.
        brokers: Vec<String>,
        /// Secret with user and password.
        secret: Option<String>,
        /// Whether that Secret has a certificate authority too.
        authority: bool,
    },
}

/// Everything a database stands on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Foundation {
    pub(super) meta: MetaStore,
    pub(super) store: DataStore,
    pub(super) log: Log,
    /// Stores that are to run beside the database.
    pub(super) stores: Vec<Store>,
}

/// What the spec is about, as far as dependencies care.
pub(super) struct Subject<'a> {
    pub(super) name: &'a str,
    pub(super) namespace: &'a str,
    pub(super) mode: Mode,
    pub(super) config: Option<&'a Value>,
}

/// Reads `spec.dependencies`.
pub(super) fn read(
    subject: &Subject<'_>,
    dependencies: &Dependencies,
    platform: &Platform,
    facts: &Facts,
    faults: &mut Faults,
) -> Foundation {
    let mut stores = Vec::new();
    let mut beside = |kind, in_cluster: Option<&crate::crd::InCluster>, faults: &mut Faults| {
        let store = store::read(kind, in_cluster, platform, facts, faults);
        let members = store.members;
        if !facts.stores.get(&kind).is_some_and(|fact| fact.foreign) {
            stores.push(store);
        }
        members
    };
    let etcd = dependencies.etcd.as_ref();
    let meta = if etcd.is_some_and(|etcd| etcd.external == Some(true)) {
        MetaStore::Etcd {
            endpoints: addresses(
                "spec.dependencies.etcd.endpoints",
                etcd.and_then(|etcd| etcd.endpoints.as_deref()),
                faults,
            ),
            external: true,
        }
    } else if subject.mode == Mode::Cluster {
        let members = beside(StoreKind::Etcd, etcd.and_then(|etcd| etcd.in_cluster.as_ref()), faults);
        let endpoints = (0..members).map(|at| store::etcd_member(subject, at)).collect();
        MetaStore::Etcd { endpoints, external: false }
    } else {
        MetaStore::Embedded
    };
    let written = dependencies.storage.as_ref();
    let flag = |name: &str| {
        subject.config.and_then(|config| config.pointer(&format!("/minio/{name}")))
            == Some(&Value::Bool(true))
    };
    let store = if written.is_some_and(|storage| storage.external == Some(true)) {
        storage::store(dependencies, flag("useSSL"), flag("useIAM"), faults)
    } else if subject.mode == Mode::Cluster {
        beside(StoreKind::Objects, written.and_then(|storage| storage.in_cluster.as_ref()), faults);
        DataStore::Bucket(store::bucket(subject))
    } else {
        DataStore::Embedded
    };
    let log = log(subject.mode, dependencies, facts, faults);
    Foundation { meta, store, log, stores }
}

/// Kafka that somebody else runs is Kafka; everything else is our own log: no broker is run for it.
fn log(mode: Mode, dependencies: &Dependencies, facts: &Facts, faults: &mut Faults) -> Log {
    let own = match mode {
        Mode::Standalone => Log::Files,
        Mode::Cluster => Log::Objects,
    };
    let external = |kafka: &&Kafka| kafka.external == Some(true);
    let Some(kafka) = dependencies.kafka.as_ref().filter(external) else { return own };
    if dependencies.msg_stream_type != Some(MsgStreamType::Kafka) {
        return own;
    }
    let brokers = addresses("spec.dependencies.kafka.brokerList", kafka.broker_list.as_deref(), faults);
    let secret = kafka.secret_ref.clone().filter(|name| !name.is_empty());
    let keys = secret.as_ref().and_then(|secret| facts.secrets.get(secret));
    let authority = keys.is_some_and(|keys| keys.contains_key(names::SECRET_KAFKA_CA));
    Log::Kafka { brokers, secret, authority }
}

/// Addresses of an external service. Placeholders in angle brackets, as samples have them, are taken as they are.
fn addresses(path: &str, written: Option<&[String]>, faults: &mut Faults) -> Vec<String> {
    let written = written.unwrap_or_default();
    if written.is_empty() {
        faults.add(FaultReason::InvalidField, path, "an address is needed when external is true");
    }
    let mut read = Vec::new();
    for (at, address) in written.iter().enumerate() {
        let bare = address.trim().trim_end_matches('/');
        let bare = bare.strip_prefix("http://").or_else(|| bare.strip_prefix("https://")).unwrap_or(bare);
        let port = bare.rsplit_once(':').map(|(_, port)| port.trim_end_matches('>').parse::<u16>());
        if !matches!(port, Some(Ok(1..))) {
            let message = format!("'{address}' is no host and port");
            faults.add(FaultReason::InvalidField, format!("{path}[{at}]"), message);
        }
        read.push(bare.to_owned());
    }
    read
}

/// Names of the Secrets whose values reach the pods by environment: of the dependencies, and of `env` of any component.
#[must_use]
pub fn secrets_of(spec: &MilvusSpec) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = spec.dependencies.iter().flat_map(of_dependencies).collect();
    if let Some(Ok(components)) = spec.components.as_ref().map(serde_json::to_value) {
        by_environment(&components, &mut names);
    }
    names
}

fn by_environment(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            let name = fields.get("secretKeyRef").and_then(|from| from.get("name")).and_then(Value::as_str);
            names.extend(name.filter(|name| !name.is_empty()).map(str::to_owned));
            fields.values().for_each(|value| by_environment(value, names));
        }
        Value::Array(items) => items.iter().for_each(|value| by_environment(value, names)),
        _ => {}
    }
}

fn of_dependencies(dependencies: &Dependencies) -> Vec<String> {
    let storage = dependencies.storage.as_ref().filter(|storage| storage.external == Some(true));
    let kafka = dependencies.kafka.as_ref().filter(|kafka| kafka.external == Some(true));
    let named = [
        storage.and_then(|storage| storage.secret_ref.clone()),
        kafka.and_then(|kafka| kafka.secret_ref.clone()),
    ];
    named.into_iter().flatten().filter(|name| !name.is_empty()).collect()
}

/// The settings that the dependencies dictate.
pub(super) fn settings(foundation: &Foundation) -> Vec<Value> {
    let mut dictated = vec![storage::settings(&foundation.store)];
    if let MetaStore::Etcd { endpoints, external } = &foundation.meta {
        dictated.push(json!({"etcd": {"endpoints": endpoints}}));
        if !external {
            // The members beside the database know no users.
            dictated.push(json!({"etcd": {"auth": {"enabled": false}, "ssl": {"enabled": false}}}));
        }
    }
    match &foundation.log {
        Log::Files => {}
        Log::Objects => dictated.push(json!({"mq": {"type": "default"}})),
        Log::Kafka { brokers, authority, .. } => {
            dictated.push(json!({"mq": {"type": "kafka"}, "kafka": {"brokerList": brokers}}));
            if *authority {
                let file = format!("{}/{}", names::KAFKA_DIR, names::SECRET_KAFKA_CA);
                dictated.push(json!({"kafka": {"ssl": {"enabled": true, "tlsCaCert": file}}}));
            }
        }
    }
    dictated
}

/// What the three stores of the message stream mean here, for people.
#[must_use]
pub fn describe_log(log: &Log, asked: MsgStreamType) -> String {
    let (place, mode) = match log {
        Log::Files => {
            ("the log is kept in files of the embedded store on the data volume", "standalone mode")
        }
        Log::Objects => ("the log is kept in the object store", "this version"),
        Log::Kafka { brokers, .. } => {
            return format!("the log is kept in Kafka at {}", brokers.join(","));
        }
    };
    match asked {
        MsgStreamType::Unset => place.to_owned(),
        other => format!("{place}; {} is not used in {mode}", other.name()),
    }
}
