//! One reconcile of one `Milvus` object.

use std::collections::BTreeMap;
use std::sync::Arc;

use contract::names;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::jiff::Timestamp;
use kube::core::{ApiResource, DynamicObject};
use kube::{Resource, ResourceExt};
use serde_json::json;
use tracing::{info, warn};

use super::apply::Applier;
use super::remove::{Removal, remove};
use super::rollout::{self, Course};
use super::scaling::said;
use super::{Error, Meters, Next, Windows, find, step};
use crate::certificates::{self, Key};
use crate::cluster::{self, Cluster, Kind, Note, Place, apply_as, get_as};
use crate::crd::{
    Condition, ConditionStatus, ConditionType, Milvus, MilvusStatus, Mode, Phase, ScalingStatus, read,
};
use crate::engine_admin::Engine;
use crate::reach::Reach;
use crate::render::{
    Catalog, Checked, Component, DataStore, Facts, Fault, FaultReason, Log, MetaStore, Platform,
    random_secrets, render, shared_data,
};
use crate::rollout::{
    CertificateState, ForeignRelease, Picture, Progress, Total, Turn, leftovers, refused, removing, report,
    trouble,
};

/// Key of the text in the ConfigMap of the image catalog.
const CATALOG_KEY: &str = "catalog.yaml";

/// Everything a reconcile needs. Two drivers over one cluster do no harm.
pub struct Driver {
    /// The API server.
    pub cluster: Arc<dyn Cluster>,
    /// The network, to see whether what a database stands on answers.
    pub reach: Arc<dyn Reach>,
    /// What running engines are told.
    pub engine: Arc<dyn Engine>,
    /// What the installation provides to every object, without the catalog.
    pub platform: Platform,
    /// Namespace of the operator, where the image catalog is; none outside a cluster.
    pub home: Option<String>,
    /// The time now.
    pub now: fn() -> Timestamp,
    /// A secret that nobody can guess.
    pub random: fn() -> std::io::Result<String>,
    /// A private key that nobody can guess.
    pub new_key: fn() -> Result<Key, certificates::Error>,
    /// Counters.
    pub meters: Arc<Meters>,
    /// What was seen lately of workloads that follow the load; all else that a reconcile knows is in the API server.
    pub windows: Windows,
}

impl Driver {
    /// Brings what exists one round closer to what the object at `place` says.
    ///
    /// # Errors
    /// If a call to the API server failed. What was done stays done, and the next reconcile goes on from there.
    pub async fn reconcile(&self, place: &Place) -> Result<Next, Error> {
        let kind = ApiResource::erase::<Milvus>(&());
        let Some(object) = self.cluster.get(&kind, place).await.map_err(step("read"))? else {
            self.meters.forget(place);
            self.unfollow_all(place);
            self.windows.forget_errors(place);
            return Ok(Next::Waiting);
        };
        let milvus = read(object).map_err(|source| Error::Read { source })?;
        let next = match &milvus.metadata.deletion_timestamp {
            Some(_) => self.finish(&milvus).await?,
            None if is_set(&milvus, names::ANNOTATION_PAUSE) => {
                info!("the object is paused");
                Next::Waiting
            }
            None => self.advance(&milvus).await?,
        };
        Ok(next)
    }

    /// An object that is to exist.
    async fn advance(&self, milvus: &Milvus) -> Result<Next, Error> {
        if self.hold(milvus).await? {
            return Ok(Next::Moving);
        }
        let cluster = self.cluster.as_ref();
        let mut running = find::running(cluster, milvus).await?;
        let foreign = ForeignRelease::of(&running);
        let allowed = is_set(milvus, names::ANNOTATION_TAKE_OVER);
        if let Some(release) = foreign.as_ref().filter(|_| !allowed) {
            return self.refuse(milvus, &release.stays(allowed, &[])).await;
        }
        let facts = find::facts(cluster, milvus).await?;
        let mut course = match Course::of(milvus, &self.platform().await?, &facts) {
            Ok(course) => course,
            Err(faults) => return self.refuse(milvus, &faults).await,
        };
        if let Some(release) = foreign {
            return self.take_over(milvus, &course.checked, &release).await;
        }
        running.retain(|name, _| !course.checked.left_alone.contains(name));
        if let Some(fault) = other_mode(&course.checked, &running) {
            return self.refuse(milvus, &[fault]).await;
        }
        let scaled = self.scale(milvus, &mut course.checked, &running).await?;
        let checked = &course.checked;
        self.draw_secrets(checked).await?;
        let certificates = self.keep_certificates(milvus, checked).await?;
        let planned = render(checked);
        let watched = self.watch_requests(milvus, &course, &planned.workloads, &running).await?;
        let (turns, seen) = self.turns(checked, &planned.workloads, &running, &watched).await?;
        let applier = Applier {
            cluster,
            namespace: &checked.namespace,
            uid: &checked.uid,
            running: &running,
            turns: &turns,
            config_rolls: checked.config_rolls,
        };
        let live = match applier.apply(planned).await {
            Ok(live) => live,
            Err(error) if error.kind() == Kind::Invalid => {
                self.refuse(milvus, &[refusal(&error)]).await?;
                return Ok(Next::Settled);
            }
            Err(source) => return Err(step("apply the objects of")(source)),
        };
        let total = Total::of(&live, &turns);
        let complete = matches!(total.progress, Progress::Done | Progress::Stopped);
        let left = leftovers(&live.workloads, &running, complete);
        for name in &left {
            info!(workload = %name, "removing a workload that the spec does not ask for");
            applier.remove::<PodDisruptionBudget>(name).await.map_err(step("tidy up after"))?;
            applier.remove::<Deployment>(name).await.map_err(step("tidy up after"))?;
        }
        let mut found = find::dependencies(self.reach.as_ref(), checked, &facts).await;
        found.secrets.extend(certificates.iter().flat_map(CertificateState::secret_faults));
        let pods = match (complete, seen) {
            (true, _) => Vec::new(),
            (false, Some(pods)) => pods,
            (false, None) => find::pods(cluster, checked).await?,
        };
        let rollout = course.standing(self, milvus, &live, &turns, &pods, &watched);
        // Nothing that is watched tells that a pod is gone.
        let steps = turns.iter().any(|turn| matches!(turn, Turn::Step(_)));
        let rotating = certificates.as_ref().is_some_and(|state| state.soon);
        let away = steps || rotating || !found.secrets.is_empty() || !found.silent.is_empty();
        let now = (self.now)();
        let picture = Picture {
            milvus,
            checked,
            found: &found,
            certificates: certificates.as_ref(),
            turns: &turns,
            trouble: trouble(&pods),
            rollout: &rollout,
            now,
        };
        let mut status = report(&picture, &live);
        let follows = scaled.is_some();
        if let Some(scaled) = scaled {
            scaled.tell(milvus, &mut status, self);
        }
        let settled = complete && left.is_empty();
        self.tell(milvus, status).await?;
        let next = match (away, settled) {
            (true, _) => Next::Missing,
            _ if follows => Next::Measuring,
            (false, true) if relies_on_others(checked, &facts) => Next::Relying,
            (false, true) => Next::Settled,
            (false, false) => Next::Moving,
        };
        Ok(rollout::next(&rollout, &turns, &watched).unwrap_or(next))
    }

    /// Ends the pods of another operator's release, which its object allows; unless ours would be pointed at its data. Its settings
    /// are still the release's own: nothing of ours is applied before it is gone.
    async fn take_over(
        &self,
        milvus: &Milvus,
        checked: &Checked,
        release: &ForeignRelease,
    ) -> Result<Next, Error> {
        let place = Place::new(&checked.namespace, milvus.name_any());
        let found = get_as::<ConfigMap>(self.cluster.as_ref(), &place).await;
        let found = found.map_err(step("look at the settings of"))?;
        let text = found.and_then(|found| found.data?.remove(names::CONFIG_KEY));
        let theirs = text.and_then(|text| serde_yaml::from_str(&text).ok());
        let stays = release.stays(true, &shared_data(theirs.as_ref(), checked));
        if !stays.is_empty() {
            return self.refuse(milvus, &stays).await;
        }
        let kind = ApiResource::erase::<Deployment>(&());
        for (name, uid) in &release.workloads {
            info!(workload = %name, "removing a workload of another operator, as the object allows");
            let place = Place::new(&checked.namespace, name);
            self.cluster.delete(&kind, &place, uid).await.map_err(step("take over"))?;
        }
        let note = Note {
            regarding: milvus.object_ref(&()),
            warning: false,
            reason: "TakenOver".to_owned(),
            action: "Reconcile".to_owned(),
            message: "the Deployments of another operator were deleted, as the annotation allows".to_owned(),
        };
        if let Err(error) = self.cluster.publish(&note).await {
            warn!(%error, "an event was not published");
        }
        Ok(Next::Missing)
    }

    /// Makes the Secrets that are made once; one that exists is left as it is.
    async fn draw_secrets(&self, checked: &Checked) -> Result<(), Error> {
        for wanted in random_secrets(checked) {
            let place = Place::new(&checked.namespace, &wanted.name);
            let found =
                get_as::<Secret>(self.cluster.as_ref(), &place).await.map_err(step("draw the secrets of"))?;
            if found.is_some() {
                continue;
            }
            let mut drawn = Vec::new();
            for _ in &wanted.random {
                drawn.push((self.random)().map_err(|source| Error::Random { source })?);
            }
            let mut drawn = drawn.into_iter();
            let secret = wanted.render(checked, || drawn.next().unwrap_or_default());
            apply_as(self.cluster.as_ref(), &secret).await.map_err(step("draw the secrets of"))?;
        }
        Ok(())
    }

    /// Makes sure that the object cannot go before we have cleaned up; true if it had to be changed for that.
    async fn hold(&self, milvus: &Milvus) -> Result<bool, Error> {
        if milvus.finalizers().iter().any(|finalizer| finalizer == names::FINALIZER) {
            return Ok(false);
        }
        let mut finalizers = milvus.finalizers().to_vec();
        finalizers.push(names::FINALIZER.to_owned());
        let version = milvus.resource_version().unwrap_or_default();
        let kind = ApiResource::erase::<Milvus>(&());
        self.cluster
            .set_finalizers(&kind, &Place::of(&milvus.metadata), &version, &finalizers)
            .await
            .map_err(step("hold"))?;
        Ok(true)
    }

    /// An object that is to go.
    async fn finish(&self, milvus: &Milvus) -> Result<Next, Error> {
        let removal = remove(self.cluster.as_ref(), milvus).await?;
        match removal {
            Removal::Done => self.meters.forget(&Place::of(&milvus.metadata)),
            Removal::Waiting(what) => self.tell(milvus, removing(milvus, what, (self.now)())).await?,
        }
        Ok(removal.next())
    }

    /// A spec that cannot be carried out: nothing is changed, and the object says why.
    async fn refuse(&self, milvus: &Milvus, faults: &[Fault]) -> Result<Next, Error> {
        let status = refused(milvus, faults, (self.now)());
        self.tell(milvus, status).await?;
        Ok(Next::Waiting)
    }

    /// What the installation provides, with the catalog as it is now.
    async fn platform(&self) -> Result<Platform, Error> {
        let mut platform = self.platform.clone();
        platform.home = self.home.clone().unwrap_or_default();
        if let Some(home) = &self.home {
            let place = Place::new(home, names::IMAGE_CATALOG);
            let found = get_as::<ConfigMap>(self.cluster.as_ref(), &place)
                .await
                .map_err(step("find the image of"))?;
            if let Some(text) = found.and_then(|map| map.data?.remove(CATALOG_KEY)) {
                platform.catalog = Catalog::parse(&text).map_err(|source| Error::Catalog { source })?;
            }
        }
        Ok(platform)
    }

    /// Writes the status if it says anything new, and an event for each change of state.
    async fn tell(&self, milvus: &Milvus, status: MilvusStatus) -> Result<(), Error> {
        self.meters.observe(
            &Place::of(&milvus.metadata),
            status.status,
            is_set(milvus, names::ANNOTATION_MAINTAINING),
        );
        if milvus.status.as_ref() == Some(&status) {
            return Ok(());
        }
        let kind = ApiResource::erase::<Milvus>(&());
        let mut object = DynamicObject::new(&milvus.name_any(), &kind).data(json!({"status": status}));
        object.metadata.namespace = milvus.namespace();
        self.cluster.apply_status(&kind, &object).await.map_err(step("write the status of"))?;
        for note in notes(milvus, &status) {
            info!(reason = %note.reason, text = %note.message, "state changed");
            if let Err(error) = self.cluster.publish(&note).await {
                warn!(%error, "an event was not published");
            }
        }
        Ok(())
    }
}

/// Another mode keeps its data elsewhere: the database would come up empty beside the one with the rows.
fn other_mode(checked: &Checked, running: &BTreeMap<String, Deployment>) -> Option<Fault> {
    let component =
        |found: &Deployment| found.labels().get(names::LABEL_COMPONENT).cloned().unwrap_or_default();
    let standalone = running.values().any(|found| component(found) == Component::Standalone.name());
    let changed = match checked.mode {
        Mode::Standalone => !running.is_empty() && !standalone,
        Mode::Cluster => standalone,
    };
    changed.then(|| Fault {
        reason: FaultReason::NotSupported,
        path: "spec.mode".to_owned(),
        message: "the mode of a database that runs cannot be changed by this version: its data is kept elsewhere in the \
                  other mode"
            .to_owned(),
    })
}

/// Whether something outside the cluster's own objects may go away without any watch telling.
fn relies_on_others(checked: &Checked, facts: &Facts) -> bool {
    let bucket = matches!(&checked.store, DataStore::Bucket(bucket) if bucket.external);
    let etcd = matches!(checked.meta, MetaStore::Etcd { external: true, .. });
    let kafka = matches!(checked.log, Log::Kafka { .. });
    let certificates = checked.certificates.sides().next().is_some();
    bucket
        || etcd
        || kafka
        || certificates
        || !facts.secrets.is_empty()
        || facts.stores.values().any(|fact| fact.foreign)
}

/// An answer of the API server that only a change of the spec can change.
fn refusal(error: &cluster::Error) -> Fault {
    Fault { reason: FaultReason::Refused, path: "spec".to_owned(), message: error.answer() }
}

fn is_set(milvus: &Milvus, annotation: &str) -> bool {
    milvus.annotations().get(annotation).is_some_and(|value| value == "true")
}

fn holds(conditions: &[Condition], kind: ConditionType) -> bool {
    conditions
        .iter()
        .any(|condition| condition.kind == kind.name() && condition.status == ConditionStatus::True)
}

/// Numbers of pods that follow the load, before and now.
fn numbers<'a>(
    before: &'a MilvusStatus,
    status: &'a MilvusStatus,
) -> Vec<(&'static str, Option<&'a ScalingStatus>, &'a ScalingStatus)> {
    let of =
        |status: &'a MilvusStatus| status.redkite.as_ref().and_then(|redkite| redkite.autoscaling.as_ref());
    let (was, is) = (of(before), of(status));
    let query = is.and_then(|is| is.query_node.as_ref());
    let data = is.and_then(|is| is.data_node.as_ref());
    let query = query.map(|is| ("query nodes", was.and_then(|was| was.query_node.as_ref()), is));
    let data = data.map(|is| ("data nodes", was.and_then(|was| was.data_node.as_ref()), is));
    [query, data].into_iter().flatten().collect()
}

/// Events for what changed between the last status and this one.
fn notes(milvus: &Milvus, status: &MilvusStatus) -> Vec<Note> {
    let before = milvus.status.clone().unwrap_or_default();
    let mut notes = Vec::new();
    let mut note = |warning: bool, reason: &str, message: String| {
        if notes.iter().any(|told: &Note| told.message == message) {
            return;
        }
        notes.push(Note {
            regarding: milvus.object_ref(&()),
            warning,
            reason: reason.to_owned(),
            action: "Reconcile".to_owned(),
            message,
        });
    };
    if before.status != status.status {
        // A rollout replaces the pod on purpose; not serving without one is a trouble.
        let warning =
            status.status == Phase::Unhealthy && holds(&status.conditions, ConditionType::MilvusUpdated);
        note(
            warning,
            status.status.name(),
            format!("the database went from {} to {}", before.status.name(), status.status.name()),
        );
    }
    for (component, was, is) in numbers(&before, status) {
        if was.is_some_and(|was| was.replicas != is.replicas) {
            let (reason, message) = said(was, is);
            note(false, reason, format!("{component}: {message}"));
        }
    }
    for watched in [
        ConditionType::SpecAccepted,
        ConditionType::EtcdReady,
        ConditionType::StorageReady,
        ConditionType::MsgStreamReady,
        ConditionType::CertificatesReady,
        ConditionType::Stalled,
        ConditionType::ScalingActive,
    ] {
        let find =
            |status: &MilvusStatus| status.conditions.iter().find(|old| old.kind == watched.name()).cloned();
        let (Some(now), then) = (find(status), find(&before)) else { continue };
        let bad = (now.status == ConditionStatus::True) == (watched == ConditionType::Stalled);
        let was = then.as_ref().map(|then| (then.status, then.message.clone()));
        let reason = then.as_ref().and_then(|then| then.reason.clone());
        // How many members of a store serve changes often while it starts; whether it can be used does not.
        let counts = matches!(watched, ConditionType::EtcdReady | ConditionType::MsgStreamReady);
        // Before its pods serve, nobody can say how busy a database is.
        if matches!(now.reason.as_deref(), Some("NotServing")) {
            continue;
        }
        // A rollout that is stopped is told once, whatever its pods go through meanwhile.
        let rollout = matches!(now.reason.as_deref(), Some("RolloutPaused" | "RolledBack"));
        let news = match &was {
            Some((status, _)) if counts => *status != now.status,
            Some((status, _)) if rollout => *status != now.status || reason != now.reason,
            was => *was != Some((now.status, now.message.clone())),
        };
        let recovered = then.is_some_and(|then| then.status != now.status);
        if (bad && news) || (!bad && recovered) {
            note(bad, now.reason.as_deref().unwrap_or(watched.name()), now.message.unwrap_or_default());
        }
    }
    notes
}
