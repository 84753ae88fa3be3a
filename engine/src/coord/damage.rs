//! Manifests that are damaged or lost: what is said of them, what is refused meanwhile, and how they come back.
//!
//! A leader leads without them. Of a collection with such a manifest the catalog has no manifest at all, so that nothing can
//! be decided on a part of what is sealed: nothing is flushed, compacted, indexed, imported, emptied or removed. It can be
//! renamed, and dropped. Only a start finds damage; from then on a manifest can only come back, all of a collection at once.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::base::{ChannelName, CollectionId, Kind, Kinded as _, chain};
use crate::coord::drive::Coordinator;
use crate::coord::{Error, record};
use crate::rpc::{self, CollectionInfo, CollectionRef, DamagedCollection};

/// How often what is damaged is read again.
const LOOK: Duration = Duration::from_secs(5);

/// A manifest that is damaged or lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The channel whose manifest it is.
    pub channel: ChannelName,
    /// The record or the object that is damaged or lost.
    pub key: String,
    /// What is wrong with it, with its key.
    pub why: String,
}

impl Damage {
    /// What a failure to read the manifest of a channel says of it; `None` if that may pass by itself, such as a store that
    /// is away.
    pub fn of(channel: &ChannelName, error: &Error) -> Option<Self> {
        let key = match error {
            Error::BadRecord { key, .. } | Error::NoRecord { key } => key,
            Error::Store { key, source } if matches!(source.kind(), Kind::NotFound | Kind::Corrupt) => key,
            _ => return None,
        };
        Some(Self { channel: channel.clone(), key: key.clone(), why: chain(error) })
    }

    /// Whether it is the record itself that is damaged or gone, and not an object that it names.
    pub fn is_of_record(&self) -> bool {
        self.key == record::channel_key(&self.channel)
    }

    /// What who asks for `call` is told, which needs the manifest. It does not pass within the time that a caller waits, so the
    /// kind is none that is tried again without being asked.
    fn answer(&self, call: &'static str) -> rpc::Error {
        rpc::Error::Failed { call, kind: Kind::Corrupt, reason: self.to_string() }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "the manifest of channel {} is damaged or lost: {}", self.channel, self.why)
    }
}

impl Coordinator {
    /// Goes on if all manifests of a collection can be read. What is not damaged now will not be for this leader.
    ///
    /// # Errors
    /// Kind `Corrupt`, with the name of what is damaged.
    pub(super) fn check_readable(&self, call: &'static str, id: CollectionId) -> Result<(), rpc::Error> {
        match self.catalog.read().damage_of(id) {
            Some(damage) => Err(damage.answer(call)),
            None => Ok(()),
        }
    }

    /// The same of a collection by its name. One that does not exist passes: whoever looks for it says so.
    ///
    /// # Errors
    /// As [`Self::check_readable`].
    pub(super) fn check_named(
        &self,
        call: &'static str,
        collection: &CollectionRef,
    ) -> Result<(), rpc::Error> {
        let id = self.catalog.read().collection(collection).map(|info| info.id);
        id.map_or(Ok(()), |id| self.check_readable(call, id))
    }

    /// Says what is damaged, and reads it again and again until all of it is whole, or `stop`; returns then.
    ///
    /// # Errors
    /// None: failures are logged and tried again.
    pub async fn watch_damage(self: Arc<Self>, stop: CancellationToken) -> anyhow::Result<()> {
        loop {
            let damaged = self.damaged();
            if damaged.is_empty() {
                return Ok(());
            }
            for collection in damaged {
                if let Err(error) = self.mend(&collection).await {
                    let (collection, error) = (collection.id, chain(&error));
                    warn!(%collection, error, "a damaged manifest was not read again");
                }
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = self.parts.clock.sleep(LOOK) => {}
            }
        }
    }

    /// The collections of which a manifest is damaged.
    fn damaged(&self) -> Vec<Arc<CollectionInfo>> {
        let catalog = self.catalog.read();
        catalog.unreadable.keys().filter_map(|id| catalog.collections.get(id)).cloned().collect()
    }

    /// The collections that are set aside, ascending by id, and what is damaged of them.
    pub(super) fn damages(&self) -> Vec<DamagedCollection> {
        let catalog = self.catalog.read();
        let known = catalog.unreadable.keys().filter_map(|id| catalog.collections.get(id));
        let shown = known.map(|info| DamagedCollection {
            id: info.id,
            database: info.database_name.clone(),
            name: info.name.clone(),
            what: catalog.damage_of(info.id).map(ToString::to_string).unwrap_or_default(),
        });
        shown.collect()
    }

    /// Takes all manifests of a collection over if none is damaged any more; whether that was so.
    ///
    /// # Errors
    /// If it cannot be seen now.
    pub(super) async fn mend(&self, info: &CollectionInfo) -> Result<bool, Error> {
        let known = self.catalog.read().unreadable.get(&info.id).cloned().unwrap_or_default();
        let read = record::read_again(self.parts.metas.as_ref(), &self.shelf, info, &known).await?;
        let (read, records) = read;
        let _one_at_a_time = self.writing.lock().await;
        // Who has been replaced, or may have missed a commit, takes nothing over.
        if self.deposed.is_cancelled() || self.is_unsure() {
            return Ok(false);
        }
        let mut catalog = self.catalog.write();
        if !catalog.unreadable.contains_key(&info.id) {
            // Dropped meanwhile.
            return Ok(false);
        }
        let changes = match read {
            Ok(changes) => changes,
            Err(damage) => {
                let what = damage.first().map(ToString::to_string).unwrap_or_default();
                catalog.set_aside(info.id, damage);
                self.place(|placer, _| placer.set_aside(info.id, what));
                return Ok(false);
            }
        };
        catalog.mend(info.id, changes);
        // The copy in the bucket has had an earlier one of a record that was damaged.
        self.mirror.note(&records);
        if let Some(known) = catalog.collections.get(&info.id) {
            let manifests = catalog.manifests.get(&info.id).cloned().unwrap_or_default();
            self.place(|placer, now| placer.mend_collection(Arc::clone(known), manifests, now));
        }
        drop(catalog);
        info!(collection = %info.id, name = info.name, "all manifests can be read again");
        self.wake.notify_one();
        Ok(true)
    }
}
