//! Opens channels, writes to them, and seals them by demand, size and age.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::RwLock;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::base::{ChannelName, Clock, CollectionId, Kind, Kinded, Position};
use crate::blob::Blobs;
use crate::log::{Logs, record};
use crate::rpc::{self, CollectionRef, Coord, Flushed, Operation, Write, Writer, Written};
use crate::writer::channel::{Channel, Unsealed};
use crate::writer::{Error, flush};

/// How often the writer looks for channels that are due.
const LOOK: Duration = Duration::from_secs(1);

/// When a channel is sealed without being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlushLimits {
    /// Once so many bytes of log are not sealed.
    pub bytes: u64,
    /// Once the oldest unsealed record is so old.
    pub age: Duration,
}

/// The writer duty.
pub struct ChannelWriter {
    coord: Arc<dyn Coord>,
    logs: Arc<dyn Logs>,
    blobs: Arc<dyn Blobs>,
    clock: Arc<dyn Clock>,
    limits: FlushLimits,
    channels: RwLock<HashMap<ChannelName, Arc<Channel>>>,
    /// Held while a channel is opened, so that each is opened once.
    opening: tokio::sync::Mutex<()>,
}

impl ChannelWriter {
    /// A writer that has opened nothing yet.
    #[must_use]
    pub fn new(
        coord: Arc<dyn Coord>,
        logs: Arc<dyn Logs>,
        blobs: Arc<dyn Blobs>,
        clock: Arc<dyn Clock>,
        limits: FlushLimits,
    ) -> Arc<Self> {
        let (channels, opening) = (RwLock::default(), tokio::sync::Mutex::new(()));
        Arc::new(Self { coord, logs, blobs, clock, limits, channels, opening })
    }

    async fn channel(&self, name: &ChannelName) -> Result<Arc<Channel>, rpc::Error> {
        if let Some(open) = self.channels.read().get(name) {
            return Ok(Arc::clone(open));
        }
        let _one_at_a_time = self.opening.lock().await;
        if let Some(open) = self.channels.read().get(name) {
            return Ok(Arc::clone(open));
        }
        let (collection, shard) = self.owner(name).await?;
        let manifests = self.coord.manifests(collection).await?;
        let checkpoint = manifests.get(shard).map_or(Position::default(), |manifest| manifest.checkpoint);
        let term = self.coord.channel_term(name).await?;
        let failed =
            |source| rpc::Error::failed("open channel", &Error::OpenLog { channel: name.clone(), source });
        let log = self.logs.open(name, term).await.map_err(failed)?;
        let end = log.next_position();
        let channel = Arc::new(Channel::new(name.clone(), collection, log, checkpoint));
        if end > checkpoint {
            // How large the rest is shows when it is sealed; that it is there is enough for its age to count.
            *channel.unsealed.lock() = Unsealed { bytes: 1, since: Some(self.clock.monotonic()) };
        }
        info!(channel = %name, %term, %checkpoint, %end, "channel opened");
        self.channels.write().insert(name.clone(), Arc::clone(&channel));
        Ok(channel)
    }

    /// The collection of a channel and the channel's place in it.
    async fn owner(&self, name: &ChannelName) -> Result<(CollectionId, usize), rpc::Error> {
        for database in self.coord.databases().await? {
            for info in self.coord.collections(&database.name).await? {
                if let Some(shard) = info.channels.iter().position(|channel| channel == name) {
                    return Ok((info.id, shard));
                }
            }
        }
        Err(rpc::Refusal::CollectionNotFound { database: String::new(), collection: name.to_string() }.into())
    }

    /// Seals what the channel holds now; true if there was something.
    async fn seal(&self, channel: &Channel) -> Result<bool, rpc::Error> {
        let failed = |error: Error| rpc::Error::failed("flush", &error);
        let mut checkpoint = channel.flushing.lock().await;
        let (from, to) = (*checkpoint, channel.durable_end());
        if to <= from {
            return Ok(false);
        }
        let started = self.clock.monotonic();
        let before = std::mem::take(&mut *channel.unsealed.lock());
        let sealed = self.seal_stretch(channel, from, to).await;
        let flushed = match sealed {
            Ok(flushed) => flushed,
            Err(error) => {
                let mut unsealed = channel.unsealed.lock();
                unsealed.bytes += before.bytes;
                unsealed.since = before.since.or(unsealed.since);
                return Err(error);
            }
        };
        *checkpoint = to;
        drop(checkpoint);
        self.logs
            .truncate(&channel.name, to)
            .await
            .map_err(|source| failed(Error::GiveUp { channel: channel.name.clone(), source }))?;
        let (segments, rows) =
            (flushed.segments.len(), flushed.segments.iter().map(|one| one.rows).sum::<u64>());
        let took_ms = self.clock.monotonic().saturating_sub(started).as_millis();
        info!(channel = %channel.name, segments, rows, took_ms, "channel flushed");
        Ok(true)
    }

    async fn seal_stretch(
        &self,
        channel: &Channel,
        from: Position,
        to: Position,
    ) -> Result<Flushed, rpc::Error> {
        let failed = |error: Error| rpc::Error::failed("flush", &error);
        let info = self.coord.collection(CollectionRef::Id(channel.collection)).await?;
        let stretch = flush::read(self.logs.as_ref(), channel, &info, from, to).await.map_err(failed)?;
        let flushed =
            flush::seal(&self.blobs, self.coord.as_ref(), channel, &info, stretch).await.map_err(failed)?;
        if let Err(refused) = self.coord.commit_flush(flushed.clone()).await {
            // Nothing names the new objects and nothing will; after any other failure that is not known.
            if matches!(refused.kind(), Kind::NotFound | Kind::Conflict) {
                self.discard(&flushed).await;
            }
            return Err(refused);
        }
        Ok(flushed)
    }

    /// Removes the objects of a flush that was refused.
    async fn discard(&self, flushed: &Flushed) {
        let columns = flushed.segments.iter().flat_map(|segment| &segment.columns);
        let objects =
            columns.map(|column| &column.object).chain(flushed.deletes.iter().map(|deletes| &deletes.object));
        for object in objects {
            if let Err(error) = self.blobs.delete(&object.key).await {
                warn!(key = object.key, %error, "an object of a refused flush was not removed");
            }
        }
    }

    /// Opens the channels of all collections and seals those that are due, until `stop`.
    ///
    /// # Errors
    /// None: failures are logged and tried again.
    pub async fn keep(self: Arc<Self>, stop: CancellationToken) -> anyhow::Result<()> {
        self.open_all().await;
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = self.clock.sleep(LOOK) => {}
            }
            let open: Vec<Arc<Channel>> = self.channels.read().values().cloned().collect();
            for channel in open {
                let unsealed = *channel.unsealed.lock();
                if !is_due(unsealed, self.limits, self.clock.monotonic()) {
                    continue;
                }
                if let Err(error) = self.seal(&channel).await {
                    warn!(channel = %channel.name, %error, "channel was not flushed");
                }
            }
        }
    }

    async fn open_all(&self) {
        let Ok(databases) = self.coord.databases().await else { return };
        for database in databases {
            let Ok(collections) = self.coord.collections(&database.name).await else { continue };
            for channel in collections.iter().flat_map(|info| &info.channels) {
                if let Err(error) = self.channel(channel).await {
                    warn!(%channel, %error, "channel was not opened");
                }
            }
        }
    }
}

/// Whether a channel should be sealed now.
fn is_due(unsealed: Unsealed, limits: FlushLimits, now: Duration) -> bool {
    let old = unsealed.since.is_some_and(|since| now.saturating_sub(since) >= limits.age);
    unsealed.bytes >= limits.bytes || (unsealed.bytes > 0 && old)
}

#[async_trait]
impl Writer for ChannelWriter {
    async fn write(&self, write: Write) -> Result<Written, rpc::Error> {
        let channel = self.channel(&write.channel).await?;
        let encoded = match &write.operation {
            Operation::Insert { partition, rows } => record::encode_insert(*partition, rows),
            Operation::Delete { partition, keys } => record::encode_delete(*partition, keys),
            Operation::Upsert { partition, replaced, rows } => {
                record::encode_upsert(*partition, replaced, rows)
            }
        };
        let written = channel.write(encoded, self.coord.as_ref(), self.clock.monotonic()).await;
        let at = written.map_err(|error| {
            if matches!(error.kind(), Kind::Fenced | Kind::Unavailable) {
                // The next write opens the channel again, with a greater term.
                self.channels.write().remove(&write.channel);
            }
            rpc::Error::failed("write", &error)
        })?;
        Ok(Written { at })
    }

    async fn flush(&self, collection: CollectionId) -> Result<(), rpc::Error> {
        let info = self.coord.collection(CollectionRef::Id(collection)).await?;
        for name in &info.channels {
            let channel = self.channel(name).await?;
            self.seal(&channel).await?;
        }
        Ok(())
    }

    async fn durable_end(&self, channel: &ChannelName) -> Result<Position, rpc::Error> {
        Ok(self.channel(channel).await?.durable_end())
    }

    async fn forget(&self, channels: &[ChannelName]) -> Result<(), rpc::Error> {
        for name in channels {
            let open = self.channels.write().remove(name);
            if let Some(channel) = open {
                // A flush that still runs must not read a log that is being removed.
                let _idle = channel.flushing.lock().await;
            }
            let removed = self.logs.remove(name).await;
            removed.map_err(|source| {
                rpc::Error::failed("forget channel", &Error::GiveUp { channel: name.clone(), source })
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{FlushLimits, Unsealed, is_due};

    const LIMITS: FlushLimits = FlushLimits { bytes: 100, age: Duration::from_secs(10) };

    #[test]
    fn a_large_channel_is_due_at_once() {
        let unsealed = Unsealed { bytes: 100, since: Some(Duration::from_secs(5)) };

        assert!(is_due(unsealed, LIMITS, Duration::from_secs(5)));
    }

    #[test]
    fn a_small_channel_is_due_once_it_is_old() {
        let unsealed = Unsealed { bytes: 1, since: Some(Duration::from_secs(5)) };

        assert!(!is_due(unsealed, LIMITS, Duration::from_secs(14)));
        assert!(is_due(unsealed, LIMITS, Duration::from_secs(15)));
    }

    #[test]
    fn an_empty_channel_is_never_due() {
        assert!(!is_due(Unsealed::default(), LIMITS, Duration::from_secs(1_000)));
    }
}
