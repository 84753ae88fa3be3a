//! The real API server.

use async_trait::async_trait;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, Preconditions};
use kube::core::{ApiResource, DynamicObject};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, ResourceExt};
use serde_json::json;

use super::{Cluster, Error, Note, Place, Verb};

/// An API server, reached through a client.
pub struct KubeCluster {
    client: Client,
    recorder: Recorder,
    manager: String,
}

impl KubeCluster {
    /// Uses `client`; `manager` owns the fields we apply and signs our events.
    #[must_use]
    pub fn new(client: Client, manager: &str) -> Self {
        let reporter = Reporter { controller: manager.to_owned(), instance: None };
        Self { recorder: Recorder::new(client.clone(), reporter), client, manager: manager.to_owned() }
    }

    fn api(&self, kind: &ApiResource, place: &Place) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &place.namespace, kind)
    }

    async fn list_by(
        &self,
        kind: &ApiResource,
        namespace: &str,
        params: &ListParams,
    ) -> Result<Vec<DynamicObject>, Error> {
        let place = Place::new(namespace, "");
        let found = self.api(kind, &place).list(params).await;
        let mut found = found.map_err(failed(Verb::List, &kind.kind, &place))?.items;
        found.sort_by_key(ResourceExt::name_any);
        Ok(found)
    }

    fn params(&self) -> PatchParams {
        PatchParams::apply(&self.manager).force()
    }
}

fn failed(verb: Verb, kind: &str, place: &Place) -> impl FnOnce(kube::Error) -> Error {
    let (kind, place) = (kind.to_owned(), place.clone());
    move |source| Error::Call { verb, kind, place, source: Box::new(source) }
}

#[async_trait]
impl Cluster for KubeCluster {
    async fn get(&self, kind: &ApiResource, place: &Place) -> Result<Option<DynamicObject>, Error> {
        self.api(kind, place).get_opt(&place.name).await.map_err(failed(Verb::Get, &kind.kind, place))
    }

    async fn list(
        &self,
        kind: &ApiResource,
        namespace: &str,
        label: (&str, &str),
    ) -> Result<Vec<DynamicObject>, Error> {
        let params = ListParams::default().labels(&format!("{}={}", label.0, label.1));
        self.list_by(kind, namespace, &params).await
    }

    async fn list_all(&self, kind: &ApiResource, namespace: &str) -> Result<Vec<DynamicObject>, Error> {
        self.list_by(kind, namespace, &ListParams::default()).await
    }

    async fn apply(&self, kind: &ApiResource, object: &DynamicObject) -> Result<DynamicObject, Error> {
        let place = Place::of(&object.metadata);
        self.api(kind, &place)
            .patch(&object.name_any(), &self.params(), &Patch::Apply(object))
            .await
            .map_err(failed(Verb::Apply, &kind.kind, &place))
    }

    async fn apply_status(&self, kind: &ApiResource, object: &DynamicObject) -> Result<(), Error> {
        let place = Place::of(&object.metadata);
        self.api(kind, &place)
            .patch_status(&object.name_any(), &self.params(), &Patch::Apply(object))
            .await
            .map(drop)
            .map_err(failed(Verb::ApplyStatus, &kind.kind, &place))
    }

    async fn set_finalizers(
        &self,
        kind: &ApiResource,
        place: &Place,
        version: &str,
        finalizers: &[String],
    ) -> Result<(), Error> {
        let patch = json!({"metadata": {"resourceVersion": version, "finalizers": finalizers}});
        let params = PatchParams { field_manager: Some(self.manager.clone()), ..PatchParams::default() };
        self.api(kind, place)
            .patch(&place.name, &params, &Patch::Merge(patch))
            .await
            .map(drop)
            .map_err(failed(Verb::Patch, &kind.kind, place))
    }

    async fn merge(&self, kind: &ApiResource, place: &Place, patch: &serde_json::Value) -> Result<(), Error> {
        let params = PatchParams { field_manager: Some(self.manager.clone()), ..PatchParams::default() };
        self.api(kind, place)
            .patch(&place.name, &params, &Patch::Merge(patch))
            .await
            .map(drop)
            .map_err(failed(Verb::Patch, &kind.kind, place))
    }

    async fn delete(&self, kind: &ApiResource, place: &Place, uid: &str) -> Result<(), Error> {
        let params = DeleteParams::foreground()
            .preconditions(Preconditions { uid: Some(uid.to_owned()), resource_version: None });
        match self.api(kind, place).delete(&place.name, &params).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(source) => Err(failed(Verb::Delete, &kind.kind, place)(source)),
        }
    }

    async fn publish(&self, note: &Note) -> Result<(), Error> {
        let event = Event {
            type_: if note.warning { EventType::Warning } else { EventType::Normal },
            reason: note.reason.clone(),
            note: Some(note.message.chars().take(1000).collect()),
            action: note.action.clone(),
            secondary: None,
        };
        let place = Place::new(
            note.regarding.namespace.clone().unwrap_or_default(),
            note.regarding.name.clone().unwrap_or_default(),
        );
        let kind = note.regarding.kind.clone().unwrap_or_default();
        self.recorder.publish(&event, &note.regarding).await.map_err(failed(Verb::Publish, &kind, &place))
    }
}
