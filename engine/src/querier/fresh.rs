//! Waiting until enough of the log has been applied for a read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::shard::Shard;
use crate::base::{ChannelName, Clock};
use crate::rpc::{self, Mark, ReadAfter, Writer};

/// How long after a mark that was no help the owner is asked again, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(100));

/// How far a channel has come, as its owner says. One question at a time; those who wait for the next answer share it.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// Questions begun.
    begun: AtomicU64,
    /// Held while the owner is asked.
    asking: tokio::sync::Mutex<()>,
    /// The newest answer, with the number of its question.
    latest: Mutex<Option<(u64, Result<Mark, rpc::Error>)>>,
}

impl Marks {
    /// A number such that questions with greater ones begin after this call.
    fn ticket(&self) -> u64 {
        self.begun.load(Ordering::Acquire)
    }

    /// The newest answer if it is enough.
    fn known(&self, is_enough: impl Fn(&Mark) -> bool) -> Option<Mark> {
        self.latest.lock().as_ref().and_then(|(_, answer)| answer.as_ref().ok().copied().filter(is_enough))
    }

    /// An answer that `is_enough`, or else the answer to a question that began after `ticket` was drawn. Cancel safe.
    async fn next(
        &self,
        ticket: u64,
        is_enough: impl Fn(&Mark) -> bool,
        writer: &dyn Writer,
        channel: &ChannelName,
    ) -> Result<Mark, rpc::Error> {
        let _asking = self.asking.lock().await;
        if let Some((number, answer)) = self.latest.lock().as_ref()
            && (*number > ticket || answer.as_ref().is_ok_and(&is_enough))
        {
            return answer.clone();
        }
        let number = self.begun.fetch_add(1, Ordering::AcqRel) + 1;
        let answer = writer.mark(channel).await;
        *self.latest.lock() = Some((number, answer.clone()));
        answer
    }
}

/// How waiting ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reached {
    /// Enough is applied.
    Enough,
    /// Another shard has taken the place of this one: look there.
    Replaced,
}

/// Waits until `shard` has applied what `after` asks for. Waits for ever if the owner cannot be asked. Cancel safe.
///
/// # Errors
/// Only refusals.
pub(super) async fn reach(
    shard: &Shard,
    after: ReadAfter,
    writer: &dyn Writer,
    clock: &dyn Clock,
) -> Result<Reached, rpc::Error> {
    let wait = |mark: Mark| async move {
        if shard.wait_applied(mark.end).await { Reached::Enough } else { Reached::Replaced }
    };
    let wanted = match after {
        ReadAfter::Time(time) | ReadAfter::History(time) => Some(time),
        ReadAfter::Nothing | ReadAfter::Everything => None,
    };
    let is_enough = |mark: &Mark| wanted.is_some_and(|time| mark.at >= time);
    // Of an answer to a question that began after this read did. Who reads the past must know what was there, also of what nobody has
    // acknowledged.
    let is_enough_now = |mark: &Mark| match after {
        ReadAfter::Time(time) => mark.now >= time,
        ReadAfter::History(_) => false,
        ReadAfter::Nothing | ReadAfter::Everything => true,
    };
    let mut pause = PAUSE.0;
    loop {
        match after {
            ReadAfter::Nothing => return Ok(Reached::Enough),
            ReadAfter::Time(time) | ReadAfter::History(time) if shard.visible() >= time => {
                return Ok(Reached::Enough);
            }
            ReadAfter::Time(_) | ReadAfter::History(_) => {
                if let Some(mark) = shard.marks.known(is_enough) {
                    return Ok(wait(mark).await);
                }
            }
            ReadAfter::Everything => {}
        }
        // Drawn anew each time: an answer that was no help must not be given again.
        let ticket = shard.marks.ticket();
        match shard.marks.next(ticket, is_enough, writer, &shard.channel).await {
            Ok(mark) if is_enough(&mark) || is_enough_now(&mark) => return Ok(wait(mark).await),
            Err(rpc::Error::Refused(refusal)) => return Err(refusal.into()),
            // The owner's clock is behind, writes are under way, or there is no owner just now.
            Ok(_) | Err(_) => {}
        }
        tokio::select! {
            () = clock.sleep(pause) => {}
            () = shard.retired.cancelled() => return Ok(Reached::Replaced),
        }
        pause = (pause * 2).min(PAUSE.1);
    }
}
