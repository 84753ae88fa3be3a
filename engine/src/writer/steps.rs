//! What an owner does so that neither its log nor anybody's memory grows without end: seals step by step, gives up what is
//! sealed, slows writers down and refuses them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tracing::{info, warn};

use super::drive::{ChannelWriter, LOOK, WriterParts};
use crate::base::{Kind, Kinded as _, Position, Timestamp, Work, chain};
use crate::model::SegmentManifest;
use crate::rpc::{self, CollectionRef, Flushed, Operation, Refusal};
use crate::writer::channel::Channel;
use crate::writer::pressure::{self, Sealed, Stand, Unsealed, WriteLimits};
use crate::writer::{Error, flush};

/// How often a flush that goes on says so, that its objects are not taken for orphans. Well below the time for which they
/// are spared anyway.
const STILL_FLUSHING: Duration = Duration::from_secs(4 * 60);

/// Whether a call that is made again could be looked for in what was sealed.
fn is_named(flushed: &Flushed) -> bool {
    flushed.named_through > Timestamp::ZERO
}

impl ChannelWriter {
    /// Seals what the channel holds now, step by step; true if there was something.
    pub(super) async fn seal(&self, channel: &Channel) -> Result<bool, rpc::Error> {
        let clock = &self.parts.clock;
        let mut checkpoint = channel.flushing.lock().await;
        let (began, end) = (clock.monotonic(), channel.durable_end());
        let is_some = *checkpoint < end;
        while *checkpoint < end {
            let started = clock.monotonic();
            let (flushed, bytes) = self.seal_step(channel, *checkpoint, end).await?;
            let (from, to, now) = (*checkpoint, flushed.to, clock.monotonic());
            *checkpoint = to;
            let rest = (to >= end).then_some(began);
            channel.note_sealed(from, bytes, rest, Sealed { to, since: now, is_named: is_named(&flushed) });
            let (segments, rows) =
                (flushed.segments.len(), flushed.segments.iter().map(|one| one.rows).sum::<u64>());
            let took_ms = now.saturating_sub(started).as_millis();
            info!(channel = %channel.of.name, segments, rows, took_ms, "channel flushed");
        }
        Ok(is_some)
    }

    /// Seals a stretch of the log that begins at `from` and ends at `end` at the latest. Returns what was committed and
    /// how many bytes of log came since the channel was opened.
    async fn seal_step(
        &self,
        channel: &Channel,
        from: Position,
        end: Position,
    ) -> Result<(Flushed, u64), rpc::Error> {
        let WriterParts { coord, logs, blobs, limits, memory, .. } = &self.parts;
        let failed = |error: Error| rpc::Error::failed("flush", &error);
        // Before anything else: nothing of the step is there that could grow old while this waits.
        let permit =
            memory.admit(Work::Flush, flush::needs(channel.step_bytes(from, limits.step_bytes))).await;
        let info = coord.collection(CollectionRef::Id(channel.of.collection)).await?;
        // Not later than the number of any object of this step.
        let first = coord.allocate_ids(1).await?;
        let step = async {
            let stretch = flush::read(logs.as_ref(), channel, &info, from, end, limits.step_bytes).await?;
            let bytes = stretch.fresh_bytes;
            let flushed = flush::seal(blobs, coord.as_ref(), channel, &info, stretch).await;
            drop(permit);
            flushed.map(|flushed| (flushed, bytes))
        };
        let (flushed, bytes) = self.keep_flush(channel, first, step).await.map_err(failed)?;
        if let Err(refused) = coord.commit_flush(flushed.clone()).await {
            // Nothing names the new objects and nothing will; after any other failure that is not known.
            if matches!(refused.kind(), Kind::NotFound | Kind::Conflict) {
                self.discard(&flushed).await;
            }
            return Err(refused);
        }
        Ok((flushed, bytes))
    }

    /// Does `step`, and tells the coordinator now and then that it goes on.
    async fn keep_flush<T>(&self, channel: &Channel, first: i64, step: impl Future<Output = T>) -> T {
        tokio::pin!(step);
        loop {
            tokio::select! {
                done = &mut step => return done,
                () = self.parts.clock.sleep(STILL_FLUSHING) => {}
            }
            if let Err(error) = self.parts.coord.keep_flush(&channel.of.name, first).await {
                warn!(channel = %channel.of.name, %error, "a flush that takes long could not be announced");
            }
        }
    }

    /// Removes all objects of a flush that was refused.
    async fn discard(&self, flushed: &Flushed) {
        let segments = flushed.segments.iter().flat_map(SegmentManifest::objects);
        let deletes = flushed.deletes.iter().map(|deletes| deletes.object.key.clone());
        for key in segments.chain(deletes) {
            if let Err(error) = self.parts.blobs.delete(&key).await {
                warn!(key, %error, "an object of a refused flush was not removed");
            }
        }
    }

    fn open_channels(&self) -> Vec<Arc<Channel>> {
        self.channels.read().values().cloned().collect()
    }

    /// Asks how those who follow our channels are doing. What is not answered in time stays as it was.
    pub(super) async fn ask_followers(&self) {
        let memory = self.parts.writes.memory;
        // Where writes are held up nothing new may come to be sealed, so there it is asked for as long as that lasts.
        let is_busy = |channel: &Arc<Channel>| {
            channel.unsealed.lock().bytes > 0
                || !channel.sealed.lock().is_empty()
                || memory.at(channel.followed.lock().fullness) != Stand::Free
        };
        let busy: Vec<Arc<Channel>> = self.open_channels().into_iter().filter(is_busy).collect();
        if busy.is_empty() {
            return;
        }
        let names = busy.iter().map(|channel| channel.of.name.clone()).collect();
        tokio::select! {
            answer = self.parts.coord.followed(names) => {
                for (channel, followed) in busy.iter().zip(answer.unwrap_or_default()) {
                    *channel.followed.lock() = followed;
                }
            }
            () = self.parts.clock.sleep(LOOK) => {}
        }
    }

    pub(super) async fn truncate_sealed(&self) {
        for channel in self.open_channels() {
            let needed_from = channel.followed.lock().needs_from;
            let (read, gone) = {
                let mut sealed = channel.sealed.lock();
                let read = pressure::read_by_all(&sealed, needed_from);
                (read, pressure::may_go(&mut sealed, needed_from, self.parts.clock.monotonic()))
            };
            if let Some(before) = read {
                self.parts.logs.let_go(&channel.of.name, before);
            }
            let Some(before) = gone else { continue };
            if let Err(error) = self.parts.logs.truncate(&channel.of.name, before).await {
                // The next flush gives up this stretch too.
                warn!(channel = %channel.of.name, error = chain(&error), "sealed records were not given up");
            }
        }
    }

    pub(super) async fn seal_due(&self) {
        let open = self.open_channels();
        let unsealed: Vec<Unsealed> = open.iter().map(|channel| *channel.unsealed.lock()).collect();
        self.unsealed_bytes.store(unsealed.iter().map(|one| one.bytes).sum(), Ordering::Relaxed);
        for at in pressure::due(&unsealed, self.parts.limits, self.parts.clock.monotonic()) {
            let channel = &open[at];
            let before = unsealed[at].bytes;
            if let Err(error) = self.seal(channel).await {
                warn!(channel = %channel.of.name, %error, "channel was not flushed");
                self.give_up_if_sealed_by_another(channel, &error);
            }
            let less = before.saturating_sub(channel.unsealed.lock().bytes);
            let _ = self
                .unsealed_bytes
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |all| Some(all.saturating_sub(less)));
        }
    }

    /// Holds a write up, or refuses it, if too much is not sealed yet or query nodes have too little memory.
    pub(super) async fn admit(&self, channel: &Channel, operation: &Operation) -> Result<(), rpc::Error> {
        let WriteLimits { unsealed_bytes, memory } = self.parts.writes;
        let bytes = self.unsealed_bytes.load(Ordering::Relaxed);
        let by_bytes = unsealed_bytes.at(bytes as f64);
        let fullness = channel.followed.lock().fullness;
        // What is deleted makes room in the end.
        let is_delete = matches!(operation, Operation::Delete { .. });
        let by_memory = if is_delete { Stand::Free } else { memory.at(fullness) };
        let slow = |stand| if let Stand::Slow(pause) = stand { pause } else { Duration::ZERO };
        match (by_bytes, by_memory) {
            (_, Stand::Full) => {
                let percent = (fullness * 100.0).round();
                let reason = format!(
                    "the memory of query nodes is {percent} % full, delete or release data or add memory"
                );
                Err(Refusal::QuotaExceeded { reason }.into())
            }
            (Stand::Full, _) => {
                let reason = format!("{bytes} bytes that were written are not sealed yet, try again later");
                Err(Refusal::RateLimited { reason }.into())
            }
            (by_bytes, by_memory) => {
                let pause = slow(by_bytes).max(slow(by_memory));
                if !pause.is_zero() {
                    self.parts.clock.sleep(pause).await;
                }
                Ok(())
            }
        }
    }

    /// Counts what was written, and has it sealed if that is much.
    pub(super) fn count(&self, bytes: u64) {
        let before = self.unsealed_bytes.fetch_add(bytes, Ordering::Relaxed);
        let high = self.parts.limits.high_bytes;
        if before < high && before + bytes >= high {
            self.full.notify_one();
        }
    }
}
