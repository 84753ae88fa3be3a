//! Kubernetes: read, apply, patch and delete any object, publish events, hold the leader lease.
//!
//! Knows objects and places, no kind of ours and no policy. [`KubeCluster`] talks to an API server, [`Sparing`] keeps writes
//! from it that would change nothing; [`MemoryCluster`] is its twin for tests, which can lose its connection after any number
//! of calls.

mod kube_cluster;
mod lease;
mod memory;
mod sparing;
#[cfg(test)]
mod tests;

use std::fmt;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::{ApiResource, DynamicObject};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

pub use kube_cluster::KubeCluster;
pub use lease::{Lease, LeaseError};
pub use memory::MemoryCluster;
pub use sparing::Sparing;

/// Where a namespaced object is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Place {
    /// The place `name` in `namespace`.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// The place that an object's metadata says.
    #[must_use]
    pub fn of(metadata: &ObjectMeta) -> Self {
        Self::new(metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Something that happened to an object, for `kubectl describe`.
#[derive(Clone, Debug, PartialEq)]
pub struct Note {
    /// The object.
    pub regarding: ObjectReference,
    /// Whether somebody should look.
    pub warning: bool,
    /// One word: why.
    pub reason: String,
    /// One word: what the operator was doing.
    pub action: String,
    /// One sentence for people.
    pub message: String,
}

/// An API server as the operator needs it. Every call is one request; all are safe to repeat.
#[async_trait]
pub trait Cluster: Send + Sync + 'static {
    /// The object, or `None` if there is none.
    ///
    /// # Errors
    /// If the API server cannot be asked or refuses.
    async fn get(&self, kind: &ApiResource, place: &Place) -> Result<Option<DynamicObject>, Error>;

    /// All objects of the kind in `namespace` that carry the label `key=value`, by name.
    ///
    /// # Errors
    /// If the API server cannot be asked or refuses.
    async fn list(
        &self,
        kind: &ApiResource,
        namespace: &str,
        label: (&str, &str),
    ) -> Result<Vec<DynamicObject>, Error>;

    /// All objects of the kind in `namespace`, by name.
    ///
    /// # Errors
    /// If the API server cannot be asked or refuses; [`Kind::NotFound`] if it does not know the kind.
    async fn list_all(&self, kind: &ApiResource, namespace: &str) -> Result<Vec<DynamicObject>, Error>;

    /// Makes the object be as said, by server-side apply with our field manager: fields we applied before and leave out
    /// now go, fields of others stay. Returns the object as it is now.
    ///
    /// # Errors
    /// If the API server cannot be asked or refuses; [`Kind::Conflict`] if the object names a version and has another one.
    async fn apply(&self, kind: &ApiResource, object: &DynamicObject) -> Result<DynamicObject, Error>;

    /// Like [`Cluster::apply`], for the status alone.
    ///
    /// # Errors
    /// If the API server cannot be asked or refuses; [`Kind::NotFound`] if the object is gone.
    async fn apply_status(&self, kind: &ApiResource, object: &DynamicObject) -> Result<(), Error>;

    /// Replaces the finalizers of the object, if it is still at `version`.
    ///
    /// # Errors
    /// [`Kind::Conflict`] if it has changed; [`Kind::NotFound`] if it is gone.
    async fn set_finalizers(
        &self,
        kind: &ApiResource,
        place: &Place,
        version: &str,
        finalizers: &[String],
    ) -> Result<(), Error>;

    /// Changes the fields that `patch` names and no other, as a JSON merge patch.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if the object is gone.
    async fn merge(&self, kind: &ApiResource, place: &Place, patch: &serde_json::Value) -> Result<(), Error>;

    /// Deletes the object if it is the one of this `uid`; whatever depends on it goes first. One that is gone already is
    /// success.
    ///
    /// # Errors
    /// If the API server cannot be asked or refuses.
    async fn delete(&self, kind: &ApiResource, place: &Place, uid: &str) -> Result<(), Error>;

    /// Publishes an event. Equal ones in a row are counted, not repeated.
    ///
    /// # Errors
    /// If the API server cannot be asked or refuses.
    async fn publish(&self, note: &Note) -> Result<(), Error>;
}

/// Reads an object as its type.
///
/// # Errors
/// As [`Cluster::get`], and [`Error::Decode`] if the answer is no `K`.
pub async fn get_as<K>(cluster: &dyn Cluster, place: &Place) -> Result<Option<K>, Error>
where
    K: Resource<DynamicType = ()> + DeserializeOwned,
{
    let kind = ApiResource::erase::<K>(&());
    cluster.get(&kind, place).await?.map(|object| decode(&kind, place, object)).transpose()
}

/// Reads all objects of a type that carry a label; see [`Cluster::list`].
///
/// # Errors
/// As [`Cluster::list`], and [`Error::Decode`] if one is no `K`.
pub async fn list_as<K>(cluster: &dyn Cluster, namespace: &str, label: (&str, &str)) -> Result<Vec<K>, Error>
where
    K: Resource<DynamicType = ()> + DeserializeOwned,
{
    let kind = ApiResource::erase::<K>(&());
    let found = cluster.list(&kind, namespace, label).await?;
    found.into_iter().map(|object| decode(&kind, &Place::of(&object.metadata), object)).collect()
}

/// Reads all objects of a type; see [`Cluster::list_all`].
///
/// # Errors
/// As [`Cluster::list_all`], and [`Error::Decode`] if one is no `K`.
pub async fn list_all_as<K>(cluster: &dyn Cluster, namespace: &str) -> Result<Vec<K>, Error>
where
    K: Resource<DynamicType = ()> + DeserializeOwned,
{
    let kind = ApiResource::erase::<K>(&());
    let found = cluster.list_all(&kind, namespace).await?;
    found.into_iter().map(|object| decode(&kind, &Place::of(&object.metadata), object)).collect()
}

/// Applies an object of a Kubernetes type; see [`Cluster::apply`].
///
/// # Errors
/// As [`Cluster::apply`], and [`Error::Decode`] if object or answer is no `K`.
pub async fn apply_as<K>(cluster: &dyn Cluster, object: &K) -> Result<K, Error>
where
    K: Resource<DynamicType = ()> + Serialize + DeserializeOwned,
{
    let kind = ApiResource::erase::<K>(&());
    let place = Place::of(object.meta());
    let wanted = encode(&kind, &place, object)?;
    let live = cluster.apply(&kind, &wanted).await?;
    decode(&kind, &place, live)
}

/// The object as JSON with its type, ready to be applied.
///
/// # Errors
/// [`Error::Decode`] if it cannot be written as JSON.
pub fn encode<K: Serialize>(kind: &ApiResource, place: &Place, object: &K) -> Result<DynamicObject, Error> {
    let failed = |source| Error::Decode { kind: kind.kind.clone(), place: place.clone(), source };
    let mut value = serde_json::to_value(object).map_err(failed)?;
    value["apiVersion"] = kind.api_version.clone().into();
    value["kind"] = kind.kind.clone().into();
    serde_json::from_value(value).map_err(failed)
}

fn decode<K: DeserializeOwned>(kind: &ApiResource, place: &Place, object: DynamicObject) -> Result<K, Error> {
    serde_json::to_value(object).and_then(serde_json::from_value).map_err(|source| Error::Decode {
        kind: kind.kind.clone(),
        place: place.clone(),
        source,
    })
}

/// What a call can do, as it stands in errors and in the operator's rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Read one object.
    Get,
    /// Read all objects with a label.
    List,
    /// Server-side apply.
    Apply,
    /// Server-side apply of the status.
    ApplyStatus,
    /// Change of finalizers, or of single fields.
    Patch,
    /// Delete.
    Delete,
    /// Publish an event.
    Publish,
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Get => "read",
            Self::List => "list",
            Self::Apply => "apply",
            Self::ApplyStatus => "apply the status of",
            Self::Patch => "change",
            Self::Delete => "delete",
            Self::Publish => "publish an event about",
        })
    }
}

/// What kind of failure a call met; requeue delay and metric label are chosen from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request is wrong and will be wrong again.
    Invalid,
    /// We lack the right.
    Denied,
    /// The object is gone.
    NotFound,
    /// Somebody else changed the object meanwhile.
    Conflict,
    /// The API server asks for fewer requests.
    Exhausted,
    /// The API server cannot be reached, or is failing.
    Unavailable,
    /// A defect of ours.
    Internal,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 7] = [
        Self::Invalid,
        Self::Denied,
        Self::NotFound,
        Self::Conflict,
        Self::Exhausted,
        Self::Unavailable,
        Self::Internal,
    ];

    /// The label under which failures of this kind are counted.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Denied => "denied",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::Exhausted => "exhausted",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }

    /// The kind of an HTTP status of the API server.
    #[must_use]
    pub const fn of_status(code: u16) -> Self {
        match code {
            401 | 403 => Self::Denied,
            404 => Self::NotFound,
            409 => Self::Conflict,
            429 => Self::Exhausted,
            400..=499 => Self::Invalid,
            _ => Self::Unavailable,
        }
    }
}

/// Why a call failed.
#[derive(Debug, Error)]
pub enum Error {
    /// The API server could not be asked or refused.
    #[error("cannot {verb} {kind} {place}")]
    Call {
        /// What was attempted.
        verb: Verb,
        /// Kind of the object.
        kind: String,
        /// The object.
        place: Place,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// An object is not what its kind says.
    #[error("{kind} {place} does not have the shape of its kind")]
    Decode {
        /// Kind of the object.
        kind: String,
        /// The object.
        place: Place,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The memory twin lost its connection, or refuses as an API server would.
    #[error("cannot {verb} {kind} {place}: status {status}")]
    Twin {
        /// What was attempted.
        verb: Verb,
        /// Kind of the object.
        kind: String,
        /// The object.
        place: Place,
        /// The status an API server would give.
        status: u16,
    },
}

impl Error {
    /// The kind of this error.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Call { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => Kind::of_status(status.code),
                _ => Kind::Unavailable,
            },
            Self::Decode { .. } => Kind::Internal,
            Self::Twin { status, .. } => Kind::of_status(*status),
        }
    }

    /// What the API server answered, for the user.
    #[must_use]
    pub fn answer(&self) -> String {
        match self {
            Self::Call { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => status.message.clone(),
                other => other.to_string(),
            },
            Self::Decode { source, .. } => source.to_string(),
            Self::Twin { .. } => self.to_string(),
        }
    }
}
