//! An API server in memory, for tests: versions, generations, finalizers, owners, and a connection that can be cut.
//!
//! Not modelled: field ownership of several managers, defaulting, admission. An apply replaces what was applied before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use async_trait::async_trait;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::core::{ApiResource, DynamicObject};
use serde_json::Value;

use super::{Cluster, Error, Note, Place, Verb};

/// What kind of object, and where.
type Key = (String, Place);

/// An API server in memory.
#[derive(Default)]
pub struct MemoryCluster {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<Key, DynamicObject>,
    notes: Vec<Note>,
    verbs: Vec<(Verb, String)>,
    clock: i64,
    cut: Option<Cut>,
    unknown: BTreeSet<String>,
}

/// When the connection is lost.
#[derive(Clone, Copy)]
struct Cut {
    calls_left: usize,
    /// Whether the first lost call is carried out, with only its answer lost.
    carried_out: bool,
}

impl MemoryCluster {
    /// Loses the connection after `calls` more calls. With `carried_out` the first lost call still takes effect.
    pub fn cut_after(&self, calls: usize, carried_out: bool) {
        self.lock().cut = Some(Cut { calls_left: calls, carried_out });
    }

    /// Restores the connection; returns whether it had been lost.
    pub fn mend(&self) -> bool {
        self.lock().cut.take().is_some_and(|cut| cut.calls_left == 0)
    }

    /// Answers every later call about this kind as an API server that has no definition of it.
    pub fn does_not_know(&self, kind: &str) {
        self.lock().unknown.insert(kind.to_owned());
    }

    /// Stores an object as a user or another controller would, status included.
    pub fn put(&self, kind: &ApiResource, object: DynamicObject) {
        let mut state = self.lock();
        let key = (kind.kind.clone(), Place::of(&object.metadata));
        state.store(key, object);
    }

    /// Everything that is stored, by kind and place.
    #[must_use]
    pub fn objects(&self) -> BTreeMap<(String, Place), DynamicObject> {
        self.lock().objects.clone()
    }

    /// All events so far.
    #[must_use]
    pub fn notes(&self) -> Vec<Note> {
        self.lock().notes.clone()
    }

    /// All calls so far: what was done to which kind.
    #[must_use]
    pub fn verbs(&self) -> Vec<(Verb, String)> {
        self.lock().verbs.clone()
    }

    /// Begins to delete an object, as `kubectl delete` does: it goes when its last finalizer does.
    pub fn begin_delete(&self, kind: &ApiResource, place: &Place) {
        let mut state = self.lock();
        let key = (kind.kind.clone(), place.clone());
        let now = state.tick();
        if let Some(object) = state.objects.get_mut(&key) {
            object.metadata.deletion_timestamp = Timestamp::from_second(now).ok().map(Time);
        }
        state.collect(&key);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Runs one call under the lock, unless the connection is lost before or after it.
    async fn call<T>(
        &self,
        verb: Verb,
        kind: &str,
        place: &Place,
        act: impl FnOnce(&mut State) -> Result<T, u16> + Send,
    ) -> Result<T, Error> {
        // Lets another copy run between any two calls.
        tokio::task::yield_now().await;
        let refused = |status| Error::Twin { verb, kind: kind.to_owned(), place: place.clone(), status };
        let mut state = self.lock();
        state.verbs.push((verb, kind.to_owned()));
        if state.unknown.contains(kind) {
            return Err(refused(404));
        }
        match state.cut.as_mut() {
            Some(Cut { calls_left: 0, carried_out }) => {
                if std::mem::take(carried_out) {
                    act(&mut state).map_err(refused)?;
                }
                Err(refused(503))
            }
            Some(cut) => {
                cut.calls_left -= 1;
                act(&mut state).map_err(refused)
            }
            None => act(&mut state).map_err(refused),
        }
    }
}

impl State {
    fn tick(&mut self) -> i64 {
        self.clock += 1;
        self.clock
    }

    /// Stores `object`; identity, deletion and generation are carried over from the one there is.
    fn store(&mut self, key: Key, mut object: DynamicObject) -> DynamicObject {
        let now = self.tick();
        let old = self.objects.get(&key);
        let spec = |object: &DynamicObject| {
            let mut data = object.data.clone();
            if let Value::Object(fields) = &mut data {
                fields.remove("status");
            }
            data
        };
        let changed = old.is_none_or(|old| spec(old) != spec(&object));
        let generation = old.and_then(|old| old.metadata.generation).unwrap_or(0);
        let metadata = ObjectMeta {
            uid: old
                .and_then(|old| old.metadata.uid.clone())
                .or_else(|| object.metadata.uid.clone())
                .or_else(|| Some(format!("uid-{now}"))),
            generation: Some(generation + i64::from(changed)),
            deletion_timestamp: old.and_then(|old| old.metadata.deletion_timestamp.clone()),
            resource_version: Some(now.to_string()),
            ..object.metadata.clone()
        };
        object.metadata = metadata;
        self.objects.insert(key, object.clone());
        object
    }

    /// Removes an object that is being deleted and held by nobody, and what it owns.
    fn collect(&mut self, key: &Key) {
        let gone = self.objects.get(key).is_some_and(|object| {
            object.metadata.deletion_timestamp.is_some()
                && object.metadata.finalizers.as_ref().is_none_or(Vec::is_empty)
        });
        if !gone {
            return;
        }
        let uid = self.objects.remove(key).and_then(|object| object.metadata.uid);
        self.objects.retain(|_, object| {
            let owners = object.metadata.owner_references.as_deref().unwrap_or_default();
            !owners.iter().any(|owner| Some(&owner.uid) == uid.as_ref())
        });
    }
}

#[async_trait]
impl Cluster for MemoryCluster {
    async fn get(&self, kind: &ApiResource, place: &Place) -> Result<Option<DynamicObject>, Error> {
        let key = (kind.kind.clone(), place.clone());
        self.call(Verb::Get, &kind.kind, place, |state| Ok(state.objects.get(&key).cloned())).await
    }

    async fn list(
        &self,
        kind: &ApiResource,
        namespace: &str,
        label: (&str, &str),
    ) -> Result<Vec<DynamicObject>, Error> {
        let place = Place::new(namespace, "");
        self.call(Verb::List, &kind.kind, &place, |state| {
            let carries = |object: &DynamicObject| {
                object.metadata.labels.as_ref().and_then(|labels| labels.get(label.0))
                    == Some(&label.1.to_owned())
            };
            let here =
                state.objects.iter().filter(|((of, at), _)| *of == kind.kind && at.namespace == namespace);
            Ok(here.filter(|(_, object)| carries(object)).map(|(_, object)| object.clone()).collect())
        })
        .await
    }

    async fn list_all(&self, kind: &ApiResource, namespace: &str) -> Result<Vec<DynamicObject>, Error> {
        let place = Place::new(namespace, "");
        self.call(Verb::List, &kind.kind, &place, |state| {
            let here =
                state.objects.iter().filter(|((of, at), _)| *of == kind.kind && at.namespace == namespace);
            Ok(here.map(|(_, object)| object.clone()).collect())
        })
        .await
    }

    async fn apply(&self, kind: &ApiResource, object: &DynamicObject) -> Result<DynamicObject, Error> {
        let place = Place::of(&object.metadata);
        let key = (kind.kind.clone(), place.clone());
        self.call(Verb::Apply, &kind.kind, &place, |state| {
            let mut wanted = object.clone();
            let known = state.objects.get(&key).and_then(|old| old.metadata.resource_version.as_ref());
            if object.metadata.resource_version.as_ref().is_some_and(|version| Some(version) != known) {
                return Err(409);
            }
            if let Some(old) = state.objects.get(&key) {
                let same = |one: &DynamicObject, other: &DynamicObject| {
                    one.metadata.labels == other.metadata.labels
                        && one.metadata.annotations == other.metadata.annotations
                        && one.metadata.owner_references == other.metadata.owner_references
                        && one.data == other.data
                };
                if let (Value::Object(new), Some(status)) = (&mut wanted.data, old.data.get("status")) {
                    new.insert("status".to_owned(), status.clone());
                }
                if same(old, &wanted) {
                    return Ok(old.clone());
                }
            }
            Ok(state.store(key, wanted))
        })
        .await
    }

    async fn apply_status(&self, kind: &ApiResource, object: &DynamicObject) -> Result<(), Error> {
        let place = Place::of(&object.metadata);
        let key = (kind.kind.clone(), place.clone());
        self.call(Verb::ApplyStatus, &kind.kind, &place, |state| {
            let mut stored = state.objects.get(&key).cloned().ok_or(404_u16)?;
            if let Value::Object(fields) = &mut stored.data {
                fields.insert("status".to_owned(), object.data["status"].clone());
            }
            state.store(key, stored);
            Ok(())
        })
        .await
    }

    async fn set_finalizers(
        &self,
        kind: &ApiResource,
        place: &Place,
        version: &str,
        finalizers: &[String],
    ) -> Result<(), Error> {
        let key = (kind.kind.clone(), place.clone());
        self.call(Verb::Patch, &kind.kind, place, |state| {
            let mut stored = state.objects.get(&key).cloned().ok_or(404_u16)?;
            if stored.metadata.resource_version.as_deref() != Some(version) {
                return Err(409);
            }
            stored.metadata.finalizers = (!finalizers.is_empty()).then(|| finalizers.to_vec());
            state.store(key.clone(), stored);
            state.collect(&key);
            Ok(())
        })
        .await
    }

    async fn merge(&self, kind: &ApiResource, place: &Place, patch: &Value) -> Result<(), Error> {
        let key = (kind.kind.clone(), place.clone());
        self.call(Verb::Patch, &kind.kind, place, |state| {
            let mut stored = state.objects.get(&key).cloned().ok_or(404_u16)?;
            merge(&mut stored.data, patch);
            state.store(key, stored);
            Ok(())
        })
        .await
    }

    async fn delete(&self, kind: &ApiResource, place: &Place, uid: &str) -> Result<(), Error> {
        let key = (kind.kind.clone(), place.clone());
        self.call(Verb::Delete, &kind.kind, place, |state| {
            let Some(stored) = state.objects.get(&key) else { return Ok(()) };
            if stored.metadata.uid.as_deref() != Some(uid) {
                return Err(409);
            }
            let now = state.tick();
            if let Some(stored) = state.objects.get_mut(&key) {
                stored.metadata.deletion_timestamp = Timestamp::from_second(now).ok().map(Time);
            }
            state.collect(&key);
            Ok(())
        })
        .await
    }

    async fn publish(&self, note: &Note) -> Result<(), Error> {
        let place = Place::new(
            note.regarding.namespace.clone().unwrap_or_default(),
            note.regarding.name.clone().unwrap_or_default(),
        );
        let kind = note.regarding.kind.clone().unwrap_or_default();
        self.call(Verb::Publish, &kind, &place, |state| {
            if state.notes.last() != Some(note) {
                state.notes.push(note.clone());
            }
            Ok(())
        })
        .await
    }
}

/// A JSON merge patch.
fn merge(under: &mut Value, over: &Value) {
    let Value::Object(over) = over else {
        *under = over.clone();
        return;
    };
    if !under.is_object() {
        *under = Value::Object(serde_json::Map::new());
    }
    let Value::Object(under) = under else { return };
    for (key, value) in over {
        if value.is_null() {
            under.shift_remove(key);
        } else {
            merge(under.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}
