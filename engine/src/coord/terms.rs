//! Terms of channels' logs: each is the version of a record, so it is greater than all before it and durable before anybody has
//! it; nobody is given one twice.
//!
//! A channel that is to go from one node to another keeps its owner until there is a term for the next one. So a move that has
//! begun ends whether or not the metadata can be reached.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::base::{ChannelName, Kind, NodeId, chain};
use crate::coord::drive::Coordinator;
use crate::coord::{Error, record};
use crate::meta::Txn;
use crate::rpc;

/// Terms made in one transaction, at most.
pub(super) const AT_ONCE: usize = 64;
/// How long after a failure they are tried to be made again.
const RETRY: Duration = Duration::from_secs(1);
/// Of a term, the bits below are the version of a record; no store comes to so many.
const GENERATION_SHIFT: u32 = 40;

/// The term of which the record has this version: greater than all that were given before the metadata was made anew.
pub(super) const fn term_of(generation: u64, version: u64) -> u64 {
    (generation << GENERATION_SHIFT) + version
}

/// Adds new terms of channels to a transaction.
pub(super) fn make<'a>(txn: Txn, channels: impl IntoIterator<Item = &'a ChannelName>) -> Txn {
    channels.into_iter().fold(txn, |txn, channel| txn.put(record::term_key(channel.as_str()), Bytes::new()))
}

impl Coordinator {
    /// Gives the owner of a channel a term of its log, the one that is kept for it if there is one.
    ///
    /// # Errors
    /// Kind `Conflict` if the node is not to own it; else if no term can be made durable.
    pub(super) async fn give_term(&self, channel: &ChannelName, node: NodeId) -> Result<u64, rpc::Error> {
        // Also by a leader that may have been replaced: terms of later leaders are greater, and the log goes by them.
        if let Some(kept) = self.placer.lock().take_term(channel, node) {
            return Ok(kept);
        }
        let _one_at_a_time = self.writing.lock().await;
        // One that may not lead any more cannot say what is final.
        self.check_lead().map_err(|error| error.answer("give a term"))?;
        {
            let mut placer = self.placer.lock();
            if placer.owner(channel) != Some(node) {
                // Final: no other coordinator knows better, so the caller is not to ask one.
                return Err(rpc::Error::Failed {
                    call: "give a term",
                    kind: Kind::Conflict,
                    reason: format!("{node} is not to own {channel}"),
                });
            }
            if let Some(kept) = placer.take_term(channel, node) {
                return Ok(kept);
            }
        }
        let version = self.commit_txn(make(Txn::new(), [channel])).await;
        let term = self.term(version.map_err(|error| error.answer("give a term"))?);
        self.placer.lock().note_term(channel, term);
        Ok(term)
    }

    /// The term that a transaction of this version has made.
    pub(super) const fn term(&self, version: u64) -> u64 {
        term_of(self.mirror.generation, version)
    }

    /// Makes terms for channels that are to move until `stop`; returns then.
    ///
    /// # Errors
    /// None: failures are logged and tried again.
    pub async fn keep_terms(self: Arc<Self>, stop: CancellationToken) -> anyhow::Result<()> {
        let mut failing = false;
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = self.lacking.notified() => {}
            }
            let Err(error) = self.make_terms().await else {
                failing = false;
                continue;
            };
            if !failing {
                warn!(
                    error = chain(&error),
                    "channels cannot be moved: there is no term for their next owners"
                );
            }
            failing = true;
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = self.parts.clock.sleep(RETRY) => self.lacking.notify_one(),
            }
        }
    }

    async fn make_terms(&self) -> Result<(), Error> {
        let _one_at_a_time = self.writing.lock().await;
        let channels: Vec<_> = self.placer.lock().missing_terms().take(AT_ONCE).cloned().collect();
        if channels.is_empty() {
            return Ok(());
        }
        let term = self.term(self.commit_txn(make(Txn::new(), &channels)).await?);
        self.place(|placer, now| channels.iter().for_each(|channel| placer.keep_term(channel, term, now)));
        Ok(())
    }
}
