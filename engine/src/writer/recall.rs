//! Finds out whether a write that is sent again is in the log already.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::BytesMut;
use tokio::sync::watch;
use tracing::{debug, warn};

use super::drive::ChannelWriter;
use crate::base::{Kind, Kinded as _, NAMED_MS, Origin, REQUESTS_FORMAT, Timestamp, chain};
use crate::log::{self, record};
use crate::model::Keys;
use crate::rpc::{self, Request};
use crate::writer::Error;
use crate::writer::channel::{Channel, Entry};
use crate::writer::former::{self, Ending};
use crate::writer::requests::{Known, MADE_MS, Place, Signed};

/// How long writes wait for names to be read back, all of them together: less than a write has in all.
const NAMES_WITHIN: Duration = Duration::from_secs(8);

impl ChannelWriter {
    /// A record with the request that it is of, if everybody can read that.
    pub(super) fn entry(&self, mut bytes: BytesMut, origin: Origin, request: Option<Request>) -> Entry {
        let signed = Signed::of(origin, &bytes);
        if self.format.load(Ordering::Relaxed) >= REQUESTS_FORMAT {
            record::sign(&mut bytes, &origin);
        }
        Entry { bytes, signed, request }
    }

    /// Appends a record that says nothing: once it is durable, whatever is before it is too, and nobody else was owner so long.
    pub(super) async fn prove(&self, channel: &Arc<Channel>) -> Result<(), rpc::Error> {
        let proof = record::encode_delete(None, &Keys::empty(channel.of.primary));
        let mut entry = self.entry(proof, Origin::default(), None);
        entry.signed.removes = false;
        self.append(channel, entry).await.map(drop)
    }

    /// When a write took effect that was sent before, if it did; durable now.
    pub(super) async fn recall(
        &self,
        channel: &Arc<Channel>,
        entry: &Entry,
    ) -> Result<Option<Timestamp>, rpc::Error> {
        let opened = channel.of.newest;
        // What came after it was opened is known; what was sent before may be there from an earlier owner.
        let is_old = entry.request.is_some() && entry.since() < opened;
        // Once some were forgotten nobody can tell of older ones anyway.
        if is_old && channel.takes_former() {
            let to = entry.since().max(opened.minus_ms(MADE_MS));
            if let Err(error) = self.reach_back(channel, to).await {
                warn!(channel = %channel.of.name, error = chain(&*error), "earlier requests could not be read back");
                if entry.is_repeat() {
                    return Err(rpc::Error::failed("write", &*error));
                }
            }
        }
        if entry.signed.insert.is_some() && channel.now() < opened.plus_ms(NAMED_MS) {
            self.recall_names(channel).await?;
        }
        if !(entry.is_repeat() || is_old || entry.signed.insert.is_some()) {
            return Ok(None);
        }
        match channel.known(entry) {
            Known::There(place) => self.settle(channel, place).await.map(Some),
            Known::Named(place) => self.still_there(channel, place).await,
            Known::Forgotten if entry.is_repeat() => Err(rpc::Error::failed("write", &channel.forgotten())),
            Known::Forgotten | Known::Not => Ok(None),
        }
    }

    /// Reads back what was inserted under names before the channel was opened; once, and for as long as writes may wait for it.
    /// What is not found by then is not known until it is. While the log is away nothing is said to be new: its rows may be in there.
    async fn recall_names(&self, channel: &Arc<Channel>) -> Result<(), rpc::Error> {
        let to = channel.of.newest.minus_ms(NAMED_MS);
        let left = channel.read_back.lock().names_left(self.parts.clock.monotonic(), NAMES_WITHIN);
        let Some(left) = left else { return Ok(()) };
        tokio::select! {
            biased;
            read = self.reach_back(channel, to) => if let Err(error) = read {
                warn!(channel = %channel.of.name, error = chain(&*error), "names could not be read back");
                if error.kind() == Kind::Unavailable {
                    return Err(rpc::Error::failed("write", &*error));
                }
                channel.read_back.lock().give_up_names();
            },
            () = self.parts.clock.sleep(left) => {
                debug!(channel = %channel.of.name, "there is too much to read names back");
            }
        }
        Ok(())
    }

    /// Makes known which requests the log holds that are later than `to`, as far as it still has them.
    ///
    /// # Errors
    /// If the log cannot be read. Cancel safe: what was begun goes on.
    async fn reach_back(&self, channel: &Arc<Channel>, to: Timestamp) -> Result<(), Arc<Error>> {
        // One that was begun for another write may not go back far enough for this one.
        while let Some(mut ending) = self.reading(channel, to) {
            let ended = match ending.wait_for(Option::is_some).await {
                Ok(ended) => ended.clone(),
                Err(_) => None,
            };
            ended.unwrap_or_else(|| {
                let name = &channel.of.name;
                let source = log::Error::Stopped { channel: name.clone() };
                Err(Arc::new(Error::ReadLog { channel: name.clone(), source }))
            })?;
        }
        Ok(())
    }

    /// The reading of a channel's log that goes on, or else one that goes back to `to`; `None` if it was read back that far. It is
    /// nobody's: a client that waits for less than it takes, and asks again and again, would else begin it anew each time, until
    /// what it has sent before is too old to be looked for.
    fn reading(&self, channel: &Arc<Channel>, to: Timestamp) -> Option<Ending> {
        let mut read_back = channel.read_back.lock();
        let reached = read_back.reached;
        if reached.covers(to) {
            return None;
        }
        if let Some(ending) = &read_back.under_way {
            return Some(ending.clone());
        }
        let (tell, ending) = watch::channel(None);
        read_back.under_way = Some(ending.clone());
        let (logs, name, closed) = (Arc::clone(&self.parts.logs), channel.of.name.clone(), channel.closed());
        // Not held meanwhile: once nobody else has it, it is to be closed.
        let channel = Arc::downgrade(channel);
        self.parts.tasks.start("read requests back", move |stop| async move {
            let read = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                () = closed.cancelled() => return Ok(()),
                read = former::read_back(logs.as_ref(), &name, reached, to) => read,
            };
            if let Some(channel) = channel.upgrade() {
                let ended = read.map(|(former, reached)| channel.note_former(&former, reached));
                channel.read_back.lock().end(ended.as_ref().err());
                tell.send_replace(Some(ended.map_err(Arc::new)));
            }
            Ok(())
        });
        Some(ending)
    }

    /// The time of an insert that a call of the same name has made, unless its rows were dropped with the whole collection since.
    async fn still_there(
        &self,
        channel: &Arc<Channel>,
        place: Place,
    ) -> Result<Option<Timestamp>, rpc::Error> {
        if !channel.is_sealed(&place) {
            // Only what is sealed is dropped, and nobody else has sealed it if this process is the owner still.
            self.prove(channel).await?;
            return Ok(Some(place.at));
        }
        let manifests = self.parts.coord.manifests(channel.of.collection).await?;
        let manifest = channel.of.shard.and_then(|shard| manifests.get(shard));
        let emptied = manifest.map(|manifest| manifest.emptied).unwrap_or_default();
        channel.clear_names(emptied);
        Ok((place.at > emptied).then_some(place.at))
    }

    /// Waits until a record is durable; gives its time.
    pub(super) async fn settle(&self, channel: &Arc<Channel>, place: Place) -> Result<Timestamp, rpc::Error> {
        if place.position >= channel.durable_end() {
            self.prove(channel).await?;
        }
        debug!(channel = %channel.of.name, position = %place.position, "a write was sent again");
        Ok(place.at)
    }
}
