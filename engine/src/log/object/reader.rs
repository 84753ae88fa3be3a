//! A reader of one channel: from memory what this process wrote lately, from objects the rest.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use tokio::sync::watch;

use crate::log::recent::Recent;
use crate::log::{Error, LogReader, Position};

use super::boundary::Boundary;
use super::chain::{Chain, Step};
use super::channel::Channel;
use super::chunk::Header;
use super::store::Store;

/// While a reader polls in vain, it looks for a removal or a truncation once in so many polls.
const POLLS_PER_NEWS: u32 = 10;

/// Most chunks that a reader asks for at once, and about how much they may have together. Unit of that: bytes.
const MAX_AHEAD: usize = 16;
const AHEAD_BYTES: u64 = 32 << 20;

type Fetched = Result<Option<(Header, Vec<Bytes>)>, Error>;

/// Chunks asked for ahead of their turn.
#[derive(Default)]
struct Ahead {
    /// Number of the first of them.
    first: u64,
    flying: FuturesOrdered<BoxFuture<'static, Fetched>>,
    /// How many to ask for at once.
    window: usize,
}

/// A reader of one channel.
pub(super) struct Reader {
    store: Arc<Store>,
    recent: Arc<Recent<Chain>>,
    channel: Arc<Channel>,
    changed: watch::Receiver<()>,
    /// Position of the next record.
    position: u64,
    /// The next records.
    buffer: VecDeque<Bytes>,
    /// The chain up to the end of the buffer. Only whole steps are written here, so a dropped call loses nothing.
    chain: Chain,
    ahead: Ahead,
    /// Polls in vain since the last record.
    idle: u32,
}

impl Reader {
    /// A reader that stands at `position`, with a true chain of which no record lies at or after it.
    pub fn new(
        store: Arc<Store>,
        recent: Arc<Recent<Chain>>,
        channel: Arc<Channel>,
        position: u64,
        chain: Chain,
    ) -> Self {
        let changed = channel.changed.subscribe();
        let (buffer, ahead) = (VecDeque::new(), Ahead::default());
        Self { store, recent, channel, changed, position, buffer, chain, ahead, idle: 0 }
    }

    /// The record at this reader's position, if it is there; moves on by one then. Cancel safe.
    async fn take(&mut self) -> Result<Option<(Position, Bytes)>, Error> {
        loop {
            self.channel.check(self.position)?;
            if let Some(payload) = self.buffer.pop_front() {
                let position = Position(self.position);
                self.position += 1;
                self.idle = 0;
                return Ok(Some((position, payload)));
            }
            if let Some(kept) = self.recent.find(self.channel.id, self.position) {
                self.buffer_records(kept.base, &kept.records);
                self.chain = kept.after;
                continue;
            }
            let (is_owned, is_known) = {
                let view = self.channel.view.lock();
                (view.owner.is_some(), self.position < view.tail.next)
            };
            if is_owned && !is_known {
                return Ok(None);
            }
            match self.fetch().await {
                Ok(Some((header, records))) => self.pass(&header, &records).await?,
                Ok(None) => {
                    let is_due = self.idle.is_multiple_of(POLLS_PER_NEWS);
                    self.idle = self.idle.wrapping_add(1);
                    if (is_known || is_due) && self.is_behind().await? {
                        continue;
                    }
                    return Ok(None);
                }
                // Damage in what was given up is none.
                Err(error @ Error::DamagedObject { .. }) => {
                    if !self.is_behind().await? {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The chunk with the next number, if there is one now. Those after it that are known to be there are asked for
    /// at the same time, ever more of them.
    async fn fetch(&mut self) -> Fetched {
        let next = self.chain.sequence + 1;
        if self.ahead.first != next {
            self.ahead = Ahead { first: next, window: 1, ..Ahead::default() };
        }
        let known = self.channel.view.lock().tail.sequence.saturating_sub(self.chain.sequence);
        let window = self.ahead.window.min(usize::try_from(known).unwrap_or(MAX_AHEAD)).max(1);
        while self.ahead.flying.len() < window {
            let sequence = next + self.ahead.flying.len() as u64;
            let (store, channel) = (self.store.clone(), self.channel.clone());
            let fetch = async move { store.chunk(&channel.life, sequence).await };
            self.ahead.flying.push_back(Box::pin(fetch));
        }
        let fetched = self.ahead.flying.next().await.unwrap_or(Ok(None));
        if let Ok(Some((header, _))) = &fetched {
            let fitting = usize::try_from(AHEAD_BYTES / header.body_bytes.max(1)).unwrap_or(MAX_AHEAD);
            self.ahead.window = (self.ahead.window * 2).min(fitting).clamp(1, MAX_AHEAD);
            self.ahead.first += 1;
            return fetched;
        }
        self.ahead = Ahead::default();
        if window == 1 {
            return fetched;
        }
        // What was asked for ahead of its turn may be outdated by now.
        self.store.chunk(&self.channel.life, next).await
    }

    /// Goes over the chunk with the next number.
    async fn pass(&mut self, header: &Header, records: &[Bytes]) -> Result<(), Error> {
        let step = self.store.step(&self.chain, header, &self.channel.life);
        // A zombie may have written a freed number again; what it could be is believed only above the boundary, see
        // `mod.rs`.
        if step.is_doubtful(header) && self.is_behind().await? {
            return Ok(());
        }
        match step {
            Step::Counts(chain) => {
                self.buffer_records(header.base, records);
                self.chain = chain;
                Ok(())
            }
            Step::Stale(chain) => {
                self.chain = chain;
                Ok(())
            }
            Step::Ends => {
                self.channel.end();
                Err(self.channel.removed())
            }
            Step::Broken(why) => {
                Err(Error::DamagedObject { key: self.channel.life.chunk(header.sequence), why })
            }
        }
    }

    /// Whether the boundary has passed the next number; then this reader goes on from there, or is told that its
    /// position was truncated away.
    async fn is_behind(&mut self) -> Result<bool, Error> {
        let known = self.channel.view.lock().boundary;
        let news = self.store.news(&self.channel.life, known).await?;
        if news.removed {
            self.channel.end();
        }
        self.channel.learn_boundary(news.boundary);
        self.channel.check(self.position)?;
        let Boundary { chain, .. } = news.boundary;
        let is_behind = chain.sequence > self.chain.sequence;
        if is_behind {
            // Every record up to there lies before the boundary's position, which is not after this reader's.
            self.chain = chain;
        }
        Ok(is_behind)
    }

    fn buffer_records(&mut self, base: u64, records: &[Bytes]) {
        let skipped = usize::try_from(self.position.saturating_sub(base)).unwrap_or(usize::MAX);
        self.buffer.extend(records.iter().skip(skipped).cloned());
    }

    /// Waits until there may be something new; `pause` is how long without being told.
    async fn wait(&mut self, pause: Duration) -> Result<(), Error> {
        let is_owned = self.channel.view.lock().owner.is_some();
        let told = tokio::select! {
            told = self.changed.changed() => told,
            () = self.store.clock.sleep(pause), if !is_owned => Ok(()),
        };
        told.map_err(|_| Error::Stopped { channel: self.channel.life.channel.clone() })
    }
}

#[async_trait]
impl LogReader for Reader {
    async fn next(&mut self) -> Result<(Position, Bytes), Error> {
        loop {
            // Marked as seen before looking: a change after the look wakes the wait.
            self.changed.mark_unchanged();
            if let Some(record) = self.take().await? {
                return Ok(record);
            }
            let settings = &self.store.settings;
            let doublings = self.idle.saturating_sub(1).min(16);
            let pause = settings.poll_min_ms.saturating_mul(1 << doublings).min(settings.poll_max_ms);
            self.wait(Duration::from_millis(pause)).await?;
        }
    }

    async fn try_next(&mut self) -> Result<Option<(Position, Bytes)>, Error> {
        self.take().await
    }

    fn position(&self) -> Position {
        Position(self.position)
    }
}
