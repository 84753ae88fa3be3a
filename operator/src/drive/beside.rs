//! Watches the kinds beside `Milvus`. There are few objects of each.

use std::future::Future;
use std::sync::Arc;

use contract::names;
use futures::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use kube::core::{NamespaceResourceScope, PartialObjectMeta};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Client, Resource};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info_span};

use super::controller::{log, metadata};
use super::{Driver, Error, Next, delay};
use crate::cluster::Place;
use crate::crd::{Milvus, MilvusCluster, MilvusCollection, MilvusResourceGroup, MilvusUpgrade};

/// Watches one namespace, or all, until `stop`.
pub(super) async fn watch(
    scope: Option<&str>,
    client: &Client,
    driver: &Arc<Driver>,
    stop: &CancellationToken,
) {
    let all = watcher::Config::default();
    let clusters = Controller::new(metadata::<MilvusCluster>(client, scope), all.clone())
        .owns(metadata::<Milvus>(client, scope), all.clone());
    let upgrades = Controller::new(metadata::<MilvusUpgrade>(client, scope), all.clone());
    let collections = Controller::new(metadata::<MilvusCollection>(client, scope), all.clone());
    let groups = Controller::new(metadata::<MilvusResourceGroup>(client, scope), all.clone());
    let known = groups.store();
    let groups = groups
        .watches(
            metadata::<Deployment>(client, scope),
            all.clone().labels(names::LABEL_RESOURCE_GROUP),
            |found| labelled(&found),
        )
        // A database that came, changed or went concerns all groups beside it: metadata does not say which are its own.
        .watches(metadata::<Milvus>(client, scope), all, move |milvus| {
            let here = known
                .state()
                .into_iter()
                .filter(move |group| group.metadata.namespace == milvus.metadata.namespace);
            here.map(|group| ObjectRef::from_obj(group.as_ref())).collect::<Vec<_>>()
        });
    tokio::join!(
        keep(clusters, driver, stop, |driver, place| async move { driver.reconcile_cluster(&place).await }),
        keep(upgrades, driver, stop, |driver, place| async move { driver.reconcile_upgrade(&place).await }),
        keep(groups, driver, stop, |driver, place| async move { driver.reconcile_group(&place).await }),
        keep(
            collections,
            driver,
            stop,
            |driver, place| async move { driver.reconcile_collection(&place).await }
        ),
    );
}

/// Reconciles the objects of one kind by `act` until `stop`.
async fn keep<K, Done>(
    controller: Controller<PartialObjectMeta<K>>,
    driver: &Arc<Driver>,
    stop: &CancellationToken,
    act: impl Fn(Arc<Driver>, Place) -> Done + Copy + Send + Sync + 'static,
) where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + Send
        + Sync
        + 'static,
    Done: Future<Output = Result<Next, Error>> + Send + 'static,
{
    let stop = stop.clone();
    controller
        .graceful_shutdown_on(async move { stop.cancelled().await })
        .run(
            move |found: Arc<PartialObjectMeta<K>>, driver: Arc<Driver>| async move {
                let place = Place::of(&found.metadata);
                let generation = found.metadata.generation;
                let span = info_span!("reconcile", kind = %K::kind(&()), object = %place, generation);
                act(driver, place)
                    .instrument(span)
                    .await
                    .inspect_err(log)
                    .map(|next| next.after().map_or_else(Action::await_change, Action::requeue))
            },
            |_, error: &Error, _| Action::requeue(delay(error.kind())),
            Arc::clone(driver),
        )
        // Failures of a reconcile are logged where they are handled, above.
        .for_each(|_| async {})
        .await;
}

/// The resource group that the label of its workload names.
fn labelled(
    found: &PartialObjectMeta<Deployment>,
) -> Option<ObjectRef<PartialObjectMeta<MilvusResourceGroup>>> {
    let group = found.metadata.labels.as_ref()?.get(names::LABEL_RESOURCE_GROUP)?;
    Some(ObjectRef::new(group).within(found.metadata.namespace.as_ref()?))
}
