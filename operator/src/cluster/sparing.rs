//! A cluster that writes only what is not there already.
//!
//! An apply that changes nothing still costs the API server a write's work, and a watch that tells of one object asks for all of
//! its database. So an object is read first where it was applied before with the same words: nobody has changed it since if it
//! still has the version that it had after that. What this process does not remember it writes once more.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Mutex;

use async_trait::async_trait;
use kube::core::{ApiResource, DynamicObject};
use serde_json::Value;

use super::{Cluster, Error, Note, Place};

/// Objects that are remembered. With more all are forgotten, which costs each of them one write.
const MOST: usize = 100_000;

/// A cluster that remembers what it applied.
pub struct Sparing<C> {
    inner: C,
    applied: Mutex<HashMap<(String, Place), Applied>>,
}

/// What was applied, and what came of it.
struct Applied {
    print: u64,
    version: String,
}

impl<C> Sparing<C> {
    /// Spares `inner`.
    pub fn new(inner: C) -> Self {
        Self { inner, applied: Mutex::default() }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(String, Place), Applied>> {
        self.applied.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The version that the object had after these words were applied to it.
    fn version_after(&self, key: &(String, Place), print: u64) -> Option<String> {
        self.lock().get(key).filter(|applied| applied.print == print).map(|applied| applied.version.clone())
    }
}

/// The same for the same words. Not kept beyond this process.
fn print(object: &DynamicObject) -> u64 {
    let mut hasher = DefaultHasher::new();
    serde_json::to_string(object).unwrap_or_default().hash(&mut hasher);
    hasher.finish()
}

#[async_trait]
impl<C: Cluster> Cluster for Sparing<C> {
    async fn get(&self, kind: &ApiResource, place: &Place) -> Result<Option<DynamicObject>, Error> {
        self.inner.get(kind, place).await
    }

    async fn list(
        &self,
        kind: &ApiResource,
        namespace: &str,
        label: (&str, &str),
    ) -> Result<Vec<DynamicObject>, Error> {
        self.inner.list(kind, namespace, label).await
    }

    async fn list_all(&self, kind: &ApiResource, namespace: &str) -> Result<Vec<DynamicObject>, Error> {
        self.inner.list_all(kind, namespace).await
    }

    async fn apply(&self, kind: &ApiResource, object: &DynamicObject) -> Result<DynamicObject, Error> {
        let place = Place::of(&object.metadata);
        let (key, print) = ((kind.kind.clone(), place.clone()), print(object));
        if let Some(version) = self.version_after(&key, print) {
            let found = self.inner.get(kind, &place).await?;
            let unchanged =
                |found: &DynamicObject| found.metadata.resource_version.as_ref() == Some(&version);
            if let Some(found) = found.filter(unchanged) {
                return Ok(found);
            }
        }
        let live = self.inner.apply(kind, object).await?;
        let mut applied = self.lock();
        if applied.len() >= MOST {
            applied.clear();
        }
        match live.metadata.resource_version.clone() {
            Some(version) => applied.insert(key, Applied { print, version }),
            None => applied.remove(&key),
        };
        drop(applied);
        Ok(live)
    }

    async fn apply_status(&self, kind: &ApiResource, object: &DynamicObject) -> Result<(), Error> {
        self.inner.apply_status(kind, object).await
    }

    async fn set_finalizers(
        &self,
        kind: &ApiResource,
        place: &Place,
        version: &str,
        finalizers: &[String],
    ) -> Result<(), Error> {
        self.inner.set_finalizers(kind, place, version, finalizers).await
    }

    async fn merge(&self, kind: &ApiResource, place: &Place, patch: &Value) -> Result<(), Error> {
        self.inner.merge(kind, place, patch).await
    }

    async fn delete(&self, kind: &ApiResource, place: &Place, uid: &str) -> Result<(), Error> {
        self.inner.delete(kind, place, uid).await
    }

    async fn publish(&self, note: &Note) -> Result<(), Error> {
        self.inner.publish(note).await
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::{from_value, json};

    use super::*;
    use crate::cluster::{MemoryCluster, Verb, apply_as};

    fn config(text: &str) -> ConfigMap {
        from_value(json!({"metadata": {"namespace": "ns", "name": "a"}, "data": {"key": text}})).unwrap()
    }

    /// What was done since the last time.
    fn did(cluster: &MemoryCluster, seen: &mut usize) -> Vec<Verb> {
        let verbs = cluster.verbs();
        let new = verbs[*seen..].iter().map(|(verb, _)| *verb).collect();
        *seen = verbs.len();
        new
    }

    #[tokio::test]
    async fn what_is_as_it_was_applied_is_read_and_not_written_again() {
        let (cluster, mut seen) = (Sparing::new(MemoryCluster::default()), 0);
        let twin = &cluster.inner;
        let first = apply_as(&cluster, &config("one")).await.unwrap();
        assert_eq!(did(twin, &mut seen), [Verb::Apply]);

        let again = apply_as(&cluster, &config("one")).await.unwrap();

        assert_eq!((again, did(twin, &mut seen)), (first, vec![Verb::Get]));
    }

    #[tokio::test]
    async fn other_words_and_what_somebody_changed_or_deleted_are_written() {
        let (cluster, mut seen) = (Sparing::new(MemoryCluster::default()), 0);
        let twin = &cluster.inner;
        let (kind, place) = (ApiResource::erase::<ConfigMap>(&()), Place::new("ns", "a"));
        apply_as(&cluster, &config("one")).await.unwrap();
        apply_as(&cluster, &config("two")).await.unwrap();
        assert_eq!(did(twin, &mut seen), [Verb::Apply, Verb::Apply]);

        twin.merge(&kind, &place, &json!({"data": {"key": "strange"}})).await.unwrap();
        let mended = apply_as(&cluster, &config("two")).await.unwrap();
        assert_eq!(mended.data.unwrap()["key"], "two");
        assert_eq!(did(twin, &mut seen), [Verb::Patch, Verb::Get, Verb::Apply]);

        twin.delete(&kind, &place, &mended.metadata.uid.unwrap()).await.unwrap();
        let made = apply_as(&cluster, &config("two")).await.unwrap();
        assert_eq!(made.data.unwrap()["key"], "two");
        assert_eq!(did(twin, &mut seen), [Verb::Delete, Verb::Get, Verb::Apply]);
    }

    #[tokio::test]
    async fn an_apply_that_failed_is_no_reason_to_spare_the_next() {
        let cluster = Sparing::new(MemoryCluster::default());
        let twin = &cluster.inner;
        apply_as(&cluster, &config("one")).await.unwrap();
        twin.cut_after(0, true);
        apply_as(&cluster, &config("two")).await.unwrap_err();
        twin.mend();

        let back = apply_as(&cluster, &config("one")).await.unwrap();

        assert_eq!(back.data.unwrap()["key"], "one");
    }
}
