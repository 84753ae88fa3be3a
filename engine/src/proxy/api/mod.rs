//! The calls of the public API, by subject; `grpc` and `rest` are their two doors.

mod access;
mod aliases;
mod collections;
mod compaction;
mod counting;
mod databases;
mod groups;
mod grpc;
mod hybrid;
mod imports;
mod index;
mod load;
mod models;
mod partial;
mod partitions;
mod placement;
mod reads;
pub mod rest;
mod rows;
mod schema;
mod search;
mod system;
mod texts;

use std::net::IpAddr;
use std::sync::Arc;

use ring::digest::{Context, SHA256};

use super::access::Login;
use super::{Error, Proxy};
use crate::base::{PartitionId, RequestId, heavy};
use crate::model::access::ROOT;
use crate::rpc::{CollectionInfo, CollectionRef};

/// Name of the database that is meant where none is named.
pub const DEFAULT_DATABASE: &str = "default";
/// Name of the partition that every collection has.
pub const DEFAULT_PARTITION: &str = "_default";

/// Who calls: what a request's headers say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The database of the connection, if it names one.
    pub database: Option<String>,
    /// The user, where users are checked.
    pub login: Option<Login>,
    /// The address it comes from, if that is known.
    pub from: Option<IpAddr>,
    /// What it calls this call, if it does.
    pub request: Option<String>,
}

impl Caller {
    /// Who a change is put down to: root where nobody has to say who they are.
    pub fn user(&self) -> &str {
        self.login.as_ref().map_or(ROOT, |login| &*login.user)
    }

    /// The name that it gives this call as a number; the same name of another user is another number.
    pub fn request_id(&self) -> Option<RequestId> {
        let name = self.request.as_deref()?;
        let mut hash = Context::new(&SHA256);
        for part in [self.user(), name] {
            hash.update(&part.len().to_le_bytes());
            hash.update(part.as_bytes());
        }
        let first = hash.finish().as_ref().first_chunk::<16>().copied()?;
        Some(RequestId(u128::from_le_bytes(first)))
    }

    /// The database that a request means: its own, else the connection's, else the default one.
    pub fn database(&self, named: &str) -> String {
        if named.is_empty() {
            self.database.clone().unwrap_or_else(|| DEFAULT_DATABASE.to_owned())
        } else {
            named.to_owned()
        }
    }

    /// The collection that a request means, by any name: the calls that check none answer a bad one like a missing one.
    pub fn collection_unchecked(&self, database: &str, name: &str) -> CollectionRef {
        CollectionRef::Name { database: self.database(database), name: name.to_owned() }
    }

    /// The collection that a request means.
    pub fn collection(&self, database: &str, name: &str) -> Result<CollectionRef, Error> {
        crate::proxy::convert::schema::check_collection_name(name)?;
        Ok(self.collection_unchecked(database, name))
    }
}

impl Proxy {
    /// What the catalog knows of a collection by name.
    pub(super) async fn info(
        &self,
        caller: &Caller,
        database: &str,
        name: &str,
    ) -> Result<Arc<CollectionInfo>, Error> {
        Ok(self.coord().collection(caller.collection(database, name)?).await?)
    }

    /// The same for the calls to which a bad name is only that of a collection which is not there.
    pub(super) async fn info_unchecked(
        &self,
        caller: &Caller,
        database: &str,
        name: &str,
    ) -> Result<Arc<CollectionInfo>, Error> {
        Ok(self.coord().collection(caller.collection_unchecked(database, name)).await?)
    }
}

/// The partitions that a read names; `None` for all loaded ones.
fn partitions_of_read(info: &CollectionInfo, names: &[String]) -> Result<Option<Vec<PartitionId>>, Error> {
    if names.is_empty() {
        return Ok(None);
    }
    if info.schema.partition_key().is_some() {
        return Err(Error::PartitionNamesWithKey);
    }
    let id = |name: &String| {
        info.partition(name)
            .map(|partition| partition.id)
            .ok_or_else(|| Error::PartitionNameNotFound { partition: name.clone() })
    };
    names.iter().map(id).collect::<Result<_, _>>().map(Some)
}

/// Does `work` where a thread may be busy.
async fn computed<T: Send + 'static>(
    name: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    heavy(name, work).await.map_err(|error| Error::Answer { reason: error.to_string() })
}
