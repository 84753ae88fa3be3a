//! Follows the log of one channel into its shard.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use tokio::sync::Notify;
use tracing::{debug, warn};

use super::Error;
use super::held::Failed;
use super::shard::Shard;
use crate::base::{Clock, Kind, Kinded, chain};
use crate::log::record;
use crate::rpc::Writer;

/// How long after a failure the owner is tried again, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// How long nothing may come that somebody waits for until the owner is looked for anew: at first, and at most, where nothing
/// comes of that. An owner that was stopped, or cut off, does not say that there is another one.
const SILENCE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(16));
/// Records that are applied before others get a turn.
const TURN: u32 = 64;

/// Follows one log until its shard is retired or lost.
pub(super) struct Follower {
    pub(super) writer: Arc<dyn Writer>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) shard: Arc<Shard>,
    /// Told when the shard has caught up, is lost, or is in trouble or out of it.
    pub(super) news: Arc<Notify>,
}

impl Follower {
    pub(super) async fn run(self) {
        let stop = self.shard.retired.clone();
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.keep_on() => {}
        }
    }

    async fn keep_on(&self) {
        let (mut pause, mut silence) = (PAUSE.0, SILENCE.0);
        let mut has_goal = false;
        loop {
            let before = self.shard.applied();
            let error = match self.follow(&mut has_goal, silence).await {
                Err(error) => error,
                Ok(never) => match never {},
            };
            let channel = &self.shard.channel;
            if error.kind() == Kind::NotFound && has_goal {
                warn!(%channel, position = %self.shard.applied(), "the log was truncated past this follower");
                self.shard.lose();
                self.news.notify_one();
                return;
            }
            // A change of the owner is everyday life; what does not go away by itself is reported.
            let is_trouble = error.kind() != Kind::Unavailable;
            if is_trouble {
                warn!(%channel, error = chain(&error), "following the log broke off");
            } else {
                debug!(%channel, error = chain(&error), "following the log broke off");
            }
            self.tell(is_trouble.then(|| Failed::by(&error)));
            if matches!(error, Error::Silent { .. }) {
                silence = (silence * 2).min(SILENCE.1);
            }
            if self.shard.applied() > before {
                (pause, silence) = (PAUSE.0, SILENCE.0);
            }
            self.clock.sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    fn tell(&self, trouble: Option<Failed>) {
        if self.shard.set_trouble(trouble) {
            self.news.notify_one();
        }
    }

    /// Completes once nothing has come for `silence` and somebody waits.
    async fn silent(&self, silence: Duration) {
        loop {
            self.clock.sleep(silence).await;
            if self.shard.is_awaited() {
                return;
            }
        }
    }

    async fn follow(
        &self,
        has_goal: &mut bool,
        silence: Duration,
    ) -> Result<std::convert::Infallible, Error> {
        let channel = &self.shard.channel;
        let failed = |source| Error::Follow { channel: channel.clone(), source };
        // Asked anew until it is reached: what an owner had taken and not yet made durable may have gone with that owner.
        if !self.shard.side().caught_up {
            let mark = self.writer.mark(channel).await.map_err(failed)?;
            *has_goal = true;
            if self.shard.set_goal(mark.end) {
                self.news.notify_one();
            }
        }
        let mut tail = self.writer.tail(channel, self.shard.applied()).await.map_err(failed)?;
        let mut applied = 0;
        loop {
            let next = tokio::select! {
                biased;
                next = tail.next() => next,
                () = self.silent(silence) => return Err(Error::Silent { channel: channel.clone() }),
            };
            let Some(next) = next else { return Err(Error::Ended { channel: channel.clone() }) };
            let (position, payload) = next.map_err(failed)?;
            let expected = self.shard.applied();
            if position < expected {
                continue;
            }
            if position > expected {
                return Err(Error::Truncated { channel: channel.clone(), position: expected });
            }
            let message = record::decode(&payload, &self.shard.schema())
                .map_err(|source| Error::BadRecord { channel: channel.clone(), source })?;
            if self.shard.apply(position, message) {
                self.news.notify_one();
            }
            if applied == 0 {
                self.tell(None);
            }
            applied += 1;
            if applied % TURN == 0 {
                tokio::task::yield_now().await;
            }
        }
    }
}
