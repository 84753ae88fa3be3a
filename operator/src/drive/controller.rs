//! The process: lease, watches, servers, and their orderly end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use contract::names;
use futures::StreamExt;
use futures::future::join_all;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::jiff::Timestamp;
use kube::core::{NamespaceResourceScope, PartialObjectMeta};
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Api, Client, Resource};
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, info, info_span, warn};

use super::{Driver, Meters, Windows, beside, delay, serve};
use crate::cluster::{KubeCluster, Lease, LeaseError, Place, Sparing};
use crate::crd::{Milvus, MilvusResourceGroup};
use crate::engine_admin::NetEngine;
use crate::reach::NetReach;
use crate::render::Platform;

/// How the operator is run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Image of the engine for objects that name none or an upstream one.
    pub engine_image: String,
    /// Pull policy of the engine where a spec has none.
    pub engine_pull_policy: String,
    /// Image of etcd, where it runs beside a database.
    pub etcd_image: String,
    /// Image of the S3 server, where it runs beside a database.
    pub storage_image: String,
    /// Namespaces to watch; empty means all.
    pub namespaces: Vec<String>,
    /// Address of `/metrics`.
    pub metrics: SocketAddr,
    /// Address of `/healthz` and `/readyz`.
    pub health: SocketAddr,
    /// Whether to wait for the lease. Without it two copies may work at once, which does no harm but costs.
    pub elect: bool,
    /// Namespace of the lease and of the image catalog.
    pub home: String,
    /// Name of this copy in the lease.
    pub identity: String,
    /// Objects worked on at once.
    pub concurrency: u16,
}

/// Why the process ended.
#[derive(Debug, Error)]
pub enum RunError {
    /// No API server is configured.
    #[error("cannot find out how to reach the API server")]
    Client {
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// A port cannot be served.
    #[error("cannot serve {what} at {address}")]
    Serve {
        /// What was to be served.
        what: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The lease cannot be kept.
    #[error("cannot keep the leader lease")]
    Lease {
        /// Why.
        #[source]
        source: LeaseError,
    },
    /// Another copy has taken the lease; this one must stop at once.
    #[error("the leader lease was lost")]
    Deposed,
    /// The metrics clash: a defect.
    #[error("cannot register the metrics")]
    Meters {
        /// Why.
        #[source]
        source: prometheus::Error,
    },
}

/// Runs the operator until `stop`, then lets running reconciles end and gives the lease back.
///
/// # Errors
/// Why the process cannot go on.
pub async fn run(settings: Settings, stop: CancellationToken) -> Result<(), RunError> {
    let client =
        Client::try_default().await.map_err(|source| RunError::Client { source: Box::new(source) })?;
    let meters = Arc::new(Meters::new().map_err(|source| RunError::Meters { source })?);
    let ended = stop.child_token();
    let serve_metrics = serve::metrics(settings.metrics, Arc::clone(&meters), ended.clone());
    let serve_health = serve::health(settings.health, ended.clone());
    let work = async {
        let result = lead(&settings, client, meters, stop.clone()).await;
        ended.cancel();
        result
    };
    // A server that cannot serve stops the work too, in its orderly way.
    let served = |what, address, result: std::io::Result<()>| {
        result.map_err(|source| {
            stop.cancel();
            RunError::Serve { what, address, source }
        })
    };
    let (metrics, health, work) = tokio::join!(
        async { served("metrics", settings.metrics, serve_metrics.await) },
        async { served("probes", settings.health, serve_health.await) },
        work
    );
    metrics.and(health).and(work)
}

/// Works while the lease is held.
async fn lead(
    settings: &Settings,
    client: Client,
    meters: Arc<Meters>,
    stop: CancellationToken,
) -> Result<(), RunError> {
    if !settings.elect {
        meters.lead(true);
        watch(settings, client, meters, stop).await;
        return Ok(());
    }
    let failed = |source| RunError::Lease { source };
    let mut lease = Lease::open(client.clone(), &settings.home, names::LEADER_LEASE, &settings.identity)
        .await
        .map_err(failed)?;
    let result = tokio::select! {
        () = stop.cancelled() => Ok(()),
        held = lease.held() => match held {
            Err(source) => Err(failed(source)),
            Ok(()) => {
                info!(identity = %settings.identity, "this copy leads");
                meters.lead(true);
                tokio::select! {
                    () = watch(settings, client, Arc::clone(&meters), stop.clone()) => Ok(()),
                    () = lease.lost() => Err(RunError::Deposed),
                }
            }
        },
    };
    meters.lead(false);
    if let Err(error) = lease.release().await {
        warn!(%error, "the lease was not released");
    }
    result
}

/// Watches and reconciles until `stop`.
async fn watch(settings: &Settings, client: Client, meters: Arc<Meters>, stop: CancellationToken) {
    let driver = Arc::new(Driver {
        cluster: Arc::new(Sparing::new(KubeCluster::new(client.clone(), names::FIELD_MANAGER))),
        platform: Platform {
            engine_image: settings.engine_image.clone(),
            pull_policy: settings.engine_pull_policy.clone(),
            etcd_image: settings.etcd_image.clone(),
            storage_image: settings.storage_image.clone(),
            ..Platform::default()
        },
        home: Some(settings.home.clone()).filter(|home| !home.is_empty()),
        reach: Arc::new(NetReach),
        engine: Arc::new(NetEngine),
        now: Timestamp::now,
        random: draw,
        new_key: crate::certificates::new_key,
        meters,
        windows: Windows::default(),
    });
    let scopes: Vec<Option<&str>> = match settings.namespaces.as_slice() {
        [] => vec![None],
        namespaces => namespaces.iter().map(|namespace| Some(namespace.as_str())).collect(),
    };
    let databases = scopes
        .iter()
        .map(|scope| watch_scope(*scope, &client, settings.concurrency, Arc::clone(&driver), stop.clone()));
    let beside = scopes.iter().map(|scope| beside::watch(*scope, &client, &driver, &stop));
    futures::future::join(join_all(databases), join_all(beside)).await;
}

/// Watches one namespace, or all. Watches carry metadata only: a reconcile reads the objects it needs.
async fn watch_scope(
    scope: Option<&str>,
    client: &Client,
    concurrency: u16,
    driver: Arc<Driver>,
    stop: CancellationToken,
) {
    let all = watcher::Config::default();
    let ours = watcher::Config::default().labels(&format!(
        "{}={}",
        names::LABEL_MANAGED_BY,
        names::MANAGED_BY_VALUE
    ));
    Controller::new(metadata::<Milvus>(client, scope), all)
        .with_config(Config::default().debounce(Duration::from_millis(50)).concurrency(concurrency))
        .owns(metadata::<Deployment>(client, scope), ours.clone())
        .owns(metadata::<NetworkPolicy>(client, scope), ours.clone())
        .owns(metadata::<PodDisruptionBudget>(client, scope), ours.clone())
        .owns(metadata::<ConfigMap>(client, scope), ours.clone())
        .owns(metadata::<ServiceAccount>(client, scope), ours.clone())
        .owns(metadata::<Ingress>(client, scope), ours.clone())
        // Stores and data have no owner, since they may outlive their object; their label says whose they are.
        .watches(metadata::<Service>(client, scope), ours.clone(), |found| labelled(&found))
        .watches(metadata::<StatefulSet>(client, scope), ours.clone(), |found| labelled(&found))
        .watches(metadata::<PersistentVolumeClaim>(client, scope), ours, |found| labelled(&found))
        // A resource group has its pods from its database.
        .watches(whole::<MilvusResourceGroup>(client, scope), watcher::Config::default(), |group| {
            let name = group.spec.milvus.name;
            group.metadata.namespace.map(|namespace| ObjectRef::new(&name).within(&namespace))
        })
        .graceful_shutdown_on(async move { stop.cancelled().await })
        .run(
            |milvus: Arc<PartialObjectMeta<Milvus>>, driver: Arc<Driver>| reconcile(milvus, driver),
            |_, error: &super::Error, _| Action::requeue(delay(error.kind())),
            driver,
        )
        // Failures of a reconcile are logged where they are handled, below.
        .for_each(|_| async {})
        .await;
}

/// The object that the label of another one names.
fn labelled<K>(found: &PartialObjectMeta<K>) -> Option<ObjectRef<PartialObjectMeta<Milvus>>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    let instance = found.metadata.labels.as_ref()?.get(names::LABEL_INSTANCE)?.clone();
    Some(ObjectRef::new(&instance).within(found.metadata.namespace.as_ref()?))
}

/// 32 bytes of the machine's randomness, in hex.
fn draw() -> std::io::Result<String> {
    use std::io::Read as _;
    let mut bytes = [0_u8; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The kind, of which only metadata is fetched.
pub(super) fn metadata<K>(client: &Client, scope: Option<&str>) -> Api<PartialObjectMeta<K>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    whole(client, scope)
}

/// The kind, fetched whole.
fn whole<K>(client: &Client, scope: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match scope {
        None => Api::all(client.clone()),
        Some(namespace) => Api::namespaced(client.clone(), namespace),
    }
}

async fn reconcile(
    milvus: Arc<PartialObjectMeta<Milvus>>,
    driver: Arc<Driver>,
) -> Result<Action, super::Error> {
    let place = Place::of(&milvus.metadata);
    let span = info_span!("reconcile", milvus = %place, generation = milvus.metadata.generation);
    async move {
        let began = Instant::now();
        let result = driver.reconcile(&place).await;
        let label = result.as_ref().map_or_else(|error| error.kind().label(), |_| "ok");
        driver.meters.reconciled(label, began.elapsed().as_secs_f64());
        match result {
            Ok(next) => Ok(next.after().map_or_else(Action::await_change, Action::requeue)),
            Err(failure) => {
                log(&failure);
                Err(failure)
            }
        }
    }
    .instrument(span)
    .await
}

/// Logs a failure once, with all its causes. One that the next try usually repairs is a warning.
pub(super) fn log(failure: &super::Error) {
    let mut causes = Vec::new();
    let mut cause = std::error::Error::source(failure);
    while let Some(next) = cause {
        causes.push(next.to_string());
        cause = next.source();
    }
    let causes = causes.join(": ");
    match failure.kind() {
        crate::cluster::Kind::Conflict
        | crate::cluster::Kind::NotFound
        | crate::cluster::Kind::Unavailable => {
            warn!(error = %failure, causes, "a reconcile failed and is repeated");
        }
        _ => error!(error = %failure, causes, "a reconcile failed"),
    }
}
