//! Finding out what a spec refers to and what stands already.

use std::collections::BTreeMap;

use contract::names;
use futures::future::join_all;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, Secret, Service};
use kube::ResourceExt;

use super::{Error, step};
use crate::cluster::{Cluster, Kind, Place, get_as, list_all_as, list_as};
use crate::crd::{Milvus, MilvusResourceGroup, Mode};
use crate::reach::Reach;
use crate::render::{
    Checked, DataStore, Facts, Log, MetaStore, StoreFact, StoreKind, WorkloadObjects, print, secrets_of,
};
use crate::rollout::{Dependency, Found, SecretFault, Silent};

/// What exists and decides what is rendered. Of Secrets only the names of keys and prints of their values are kept.
///
/// Secrets are read by name at each look and never watched: a watch, of metadata alone too, needs the rights to list and to
/// watch, and these show the contents of every Secret of a namespace. A change is so seen within [`super::Next::Relying`]'s delay.
pub(super) async fn facts(cluster: &dyn Cluster, milvus: &Milvus) -> Result<Facts, Error> {
    let namespace = milvus.namespace().unwrap_or_default();
    let groups = groups(cluster, &namespace, &milvus.name_any()).await?;
    let mut facts = Facts { groups, ..Facts::default() };
    let uid = milvus.uid().unwrap_or_default();
    for name in secrets_of(&milvus.spec) {
        let place = Place::new(&namespace, &name);
        let found = get_as::<Secret>(cluster, &place).await.map_err(step("find the Secrets of"))?;
        if let Some(found) = found {
            let data = found.data.into_iter().flatten();
            let prints = data.map(|(key, value)| (key, print(&uid, &value.0))).collect();
            facts.secrets.insert(name, prints);
        }
    }
    if milvus.spec.mode == Mode::Cluster {
        for kind in StoreKind::ALL {
            let place = Place::new(&namespace, kind.name(&milvus.name_any()));
            if let Some(fact) = store(cluster, &place).await? {
                facts.stores.insert(kind, fact);
            }
        }
    }
    Ok(facts)
}

/// Resource groups that are about this database. Where nobody knows the kind there are none.
pub(super) async fn groups(
    cluster: &dyn Cluster,
    namespace: &str,
    milvus: &str,
) -> Result<Vec<MilvusResourceGroup>, Error> {
    match list_all_as::<MilvusResourceGroup>(cluster, namespace).await {
        Err(error) if error.kind() == Kind::NotFound => Ok(Vec::new()),
        found => {
            let mut found = found.map_err(step("find the resource groups of"))?;
            found.retain(|group| group.spec.milvus.name == milvus);
            Ok(found)
        }
    }
}

/// A store is somebody else's if its Service is.
async fn store(cluster: &dyn Cluster, place: &Place) -> Result<Option<StoreFact>, Error> {
    let failed = || step("look at the stores of");
    let service = get_as::<Service>(cluster, place).await.map_err(failed())?;
    let set = get_as::<StatefulSet>(cluster, place).await.map_err(failed())?;
    let foreign = service.is_some_and(|found| !found.annotations().contains_key(names::ANNOTATION_RENDERED));
    let members = set.and_then(|set| set.spec?.replicas);
    Ok(match (members, foreign) {
        (None, false) => None,
        (members, foreign) => Some(StoreFact { members: members.unwrap_or(1), foreign }),
    })
}

/// Workloads that exist and belong to the object, by name.
pub(super) async fn running(
    cluster: &dyn Cluster,
    milvus: &Milvus,
) -> Result<BTreeMap<String, Deployment>, Error> {
    let (namespace, name) = (milvus.namespace().unwrap_or_default(), milvus.name_any());
    let found = list_as::<Deployment>(cluster, &namespace, (names::LABEL_INSTANCE, &name)).await;
    let found = found.map_err(step("look at the workloads of"))?;
    let ours = found
        .into_iter()
        .filter(|found| found.labels().get(names::LABEL_NAME).is_some_and(|name| name == names::NAME_VALUE));
    Ok(ours.map(|found| (found.name_any(), found)).collect())
}

/// The object's pods.
pub(super) async fn pods(cluster: &dyn Cluster, checked: &Checked) -> Result<Vec<Pod>, Error> {
    let label = (names::LABEL_INSTANCE, checked.name.as_str());
    list_as::<Pod>(cluster, &checked.namespace, label).await.map_err(step("look at the pods of"))
}

/// How many pods of each planned workload are on their way out.
pub(super) fn leaving(pods: &[Pod], planned: &[WorkloadObjects]) -> Vec<usize> {
    let of = |workload: &WorkloadObjects| {
        let selector = workload.deployment.spec.as_ref().and_then(|spec| spec.selector.match_labels.clone());
        let selector = selector.unwrap_or_default();
        let selected = |pod: &&Pod| selector.iter().all(|(key, value)| pod.labels().get(key) == Some(value));
        let gone = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_some());
        gone.filter(selected).count()
    };
    planned.iter().map(of).collect()
}

/// Asks what the database stands on whether it answers, and looks whether Secrets have their keys.
pub(super) async fn dependencies(reach: &dyn Reach, checked: &Checked, facts: &Facts) -> Found {
    let dials = addresses(checked, facts).into_iter().map(|(dependency, path, address)| async move {
        let why = reach.dial(&address).await.err()?.to_string();
        Some(Silent { dependency, path, address, why })
    });
    let silent = join_all(dials).await.into_iter().flatten().collect();
    Found { silent, secrets: secrets(checked, facts) }
}

/// Addresses outside the database, each with the field that names it. Those beside it are seen by their pods.
fn addresses(checked: &Checked, facts: &Facts) -> Vec<(Dependency, String, String)> {
    let mut addresses = Vec::new();
    let mut add = |dependency, path: &str, list: &[String]| {
        for (at, address) in list.iter().enumerate() {
            addresses.push((dependency, format!("{path}[{at}]"), address.clone()));
        }
    };
    let foreign = |kind| facts.stores.get(&kind).is_some_and(|fact| fact.foreign);
    match &checked.meta {
        MetaStore::Etcd { endpoints, external: true } => {
            add(Dependency::Etcd, "spec.dependencies.etcd.endpoints", endpoints);
        }
        MetaStore::Etcd { endpoints, external: false } if foreign(StoreKind::Etcd) => {
            add(Dependency::Etcd, StoreKind::Etcd.path(), endpoints);
        }
        _ => {}
    }
    if let Log::Kafka { brokers, .. } = &checked.log {
        add(Dependency::Stream, "spec.dependencies.kafka.brokerList", brokers);
    }
    if let DataStore::Bucket(bucket) = &checked.store
        && (bucket.external || foreign(StoreKind::Objects))
        // Azure's address is a suffix that an account's name is put before.
        && !bucket.azure
    {
        let path =
            if bucket.external { "spec.dependencies.storage.endpoint" } else { StoreKind::Objects.path() };
        addresses.push((Dependency::Storage, path.to_owned(), format!("{}:{}", bucket.host, bucket.port)));
    }
    addresses
}

fn secrets(checked: &Checked, facts: &Facts) -> Vec<SecretFault> {
    let mut faults = Vec::new();
    let mut look = |dependency, path: &str, secret: &str, keys: [&str; 2]| {
        let fault = |reason, message| SecretFault { dependency, reason, message };
        let Some(found) = facts.secrets.get(secret) else {
            let message = format!("{path}: Secret {secret} does not exist in {}", checked.namespace);
            return faults.push(fault("SecretNotExist", message));
        };
        if let Some(key) = keys.into_iter().find(|key| !found.contains_key(*key)) {
            faults.push(fault("SecretDecodeError", format!("{path}: Secret {secret} has no key {key}")));
        }
    };
    if let DataStore::Bucket(bucket) = &checked.store
        && let (true, Some(secret)) = (bucket.external, &bucket.secret)
    {
        let keys = [names::SECRET_ACCESS_KEY, names::SECRET_SECRET_KEY];
        look(Dependency::Storage, "spec.dependencies.storage.secretRef", secret, keys);
    }
    if let Log::Kafka { secret: Some(secret), .. } = &checked.log {
        let keys = [names::SECRET_KAFKA_USER, names::SECRET_KAFKA_PASSWORD];
        look(Dependency::Stream, "spec.dependencies.kafka.secretRef", secret, keys);
    }
    faults
}
