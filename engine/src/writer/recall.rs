//! Finds out whether a write that is sent again is in the log already.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::BytesMut;
use tracing::{debug, warn};

use super::drive::ChannelWriter;
use crate::base::{Kind, Kinded as _, NAMED_MS, Origin, REQUESTS_FORMAT, Timestamp, chain};
use crate::log::record;
use crate::model::Keys;
use crate::rpc::{self, Request};
use crate::writer::channel::{Channel, Entry};
use crate::writer::requests::{Known, MADE_MS, Place, Signed};

/// How long a write waits for names to be read back: less than a write has in all.
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
        if is_old {
            let to = entry.since().max(opened.minus_ms(MADE_MS));
            if let Err(error) = channel.reach_back(self.parts.logs.as_ref(), to).await {
                warn!(channel = %channel.of.name, error = chain(&error), "earlier requests could not be read back");
                if entry.is_repeat() {
                    return Err(rpc::Error::failed("write", &error));
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

    /// Reads back what was inserted under names before the channel was opened; once, and for as long as a write may wait for it.
    /// What is not found by then is not known. While the log is away nothing is said to be new: its rows may be in there.
    async fn recall_names(&self, channel: &Arc<Channel>) -> Result<(), rpc::Error> {
        if channel.knows_names.load(Ordering::Acquire) {
            return Ok(());
        }
        let to = channel.of.newest.minus_ms(NAMED_MS);
        tokio::select! {
            biased;
            read = channel.reach_back(self.parts.logs.as_ref(), to) => if let Err(error) = read {
                warn!(channel = %channel.of.name, error = chain(&error), "names could not be read back");
                if error.kind() == Kind::Unavailable {
                    return Err(rpc::Error::failed("write", &error));
                }
            },
            () = self.parts.clock.sleep(NAMES_WITHIN) => {
                debug!(channel = %channel.of.name, "there is too much to read names back");
            }
        }
        channel.knows_names.store(true, Ordering::Release);
        Ok(())
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
