//! Opening, truncating and removing: what changes a channel besides appends.

use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use tracing::warn;

use crate::base::ChannelName;
use crate::log::Error;

use super::boundary::{Boundary, WAYPOINT_EVERY};
use super::chain::{Chain, is_freed};
use super::channel::Channel;
use super::chunk::{Body, What};
use super::flaw::Flaw;
use super::names::Life;
use super::store::{Created, End, Store};

/// How many small requests go at once.
const CONCURRENCY: usize = 16;

/// Why a channel is claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// To write with this term.
    Term(u64),
    /// To end its life.
    Removal,
}

impl Store {
    /// The first life that is not over. Lives follow each other, so doubling steps and then halving ones find it.
    pub async fn present_life(&self, channel: &ChannelName) -> Result<Life, Error> {
        let (mut over, mut step) = (None, 1);
        let is_over = async |number| {
            let life = Life::new(channel, number);
            self.exists(&life, &life.removed()).await
        };
        let mut lasting = loop {
            let number = over.map_or(0, |over| over + step);
            if !is_over(number).await? {
                break number;
            }
            step = if over.is_some() { step * 2 } else { 1 };
            over = Some(number);
        };
        while let Some(last) = over.filter(|last| lasting - last > 1) {
            let number = last + (lasting - last) / 2;
            if is_over(number).await? {
                over = Some(number);
            } else {
                lasting = number;
            }
        }
        Ok(Life::new(channel, lasting))
    }

    /// Those of `lives` that have begun and are not over.
    pub async fn lasting(&self, lives: Vec<Life>) -> Result<Vec<Life>, Error> {
        let looks = lives.into_iter().map(async |life| {
            // The first chunk is a fence, which is never freed.
            let has_begun = self.header(&life, 1, self.deadline()).await?.is_some();
            let is_over = !has_begun || self.exists(&life, &life.removed()).await?;
            Ok::<_, Error>((!is_over).then_some(life))
        });
        let lasting = stream::iter(looks).buffered(CONCURRENCY).try_collect::<Vec<_>>().await?;
        Ok(lasting.into_iter().flatten().collect())
    }

    /// The chain to its present end, which `channel` takes up.
    ///
    /// # Errors
    /// [`Error::Removed`] if the life is over; everybody can see that by then. Kind `Corrupt` for damage.
    pub async fn catch_up(&self, channel: &Channel) -> Result<Chain, Error> {
        let life = &channel.life;
        let known = channel.view.lock().boundary;
        channel.learn_boundary(self.news(life, known).await?.boundary);
        let mut is_far = false;
        loop {
            let (mut start, known) = {
                let view = channel.view.lock();
                (view.tail, view.boundary)
            };
            // Nothing behind the boundary is known here, or an end of old, as to a former owner that was away for long.
            if is_far || start == known.chain {
                for chain in self.waypoints(life, start.sequence).await? {
                    channel.view.lock().learn(chain);
                    start = chain;
                }
            }
            let (passed, end) = self.walk(life, start).await?;
            // Numbers that were freed before this walk looked at them may have been used again.
            let news = self.news(life, known).await?;
            if news.removed {
                return Err(channel.removed());
            }
            if news.boundary.chain.sequence > start.sequence {
                channel.learn_boundary(news.boundary);
                continue;
            }
            channel.learn_boundary(news.boundary);
            is_far = match end {
                End::Tail => false,
                End::Far => true,
                End::Removed => {
                    self.create(life, &life.removed(), Bytes::from_static(b"removed"), self.deadline())
                        .await?;
                    return Err(channel.removed());
                }
                End::Broken(sequence, why) => {
                    return Err(Error::DamagedObject { key: life.chunk(sequence), why });
                }
            };
            let mut view = channel.view.lock();
            let tail = passed.last().copied().unwrap_or(start);
            for chain in passed {
                view.learn(chain);
            }
            if !is_far {
                return Ok(tail);
            }
        }
    }

    /// Takes the next number for a fence or a removal, and gives the chain with the fence.
    ///
    /// # Errors
    /// [`Error::Fenced`] if the term is not above all before. [`Error::Removed`] if the life is over, also by this
    /// very claim.
    pub async fn claim(&self, channel: &Channel, claim: Claim) -> Result<Chain, Error> {
        let life = &channel.life;
        let writer = u128::from(self.rng.next_u64()) << 64 | u128::from(self.rng.next_u64());
        let until = self.deadline();
        let mut is_marked = false;
        loop {
            let tail = self.catch_up(channel).await?;
            if tail.live > 0 && tail.writer == writer {
                return Ok(tail);
            }
            let (what, term) = match claim {
                Claim::Term(term) => (What::Fence, term),
                Claim::Removal => (What::Removal, u64::MAX),
            };
            if let (Some(seen), What::Fence) = (tail.term().filter(|seen| *seen >= term), what) {
                return Err(Error::Fenced { channel: life.channel.clone(), term, seen });
            }
            if self.clock.monotonic() >= until {
                return Err(Error::Late { key: life.chunk(tail.sequence + 1) });
            }
            if tail.live == 0 && !is_marked {
                self.create(life, &life.marker(), Bytes::from_static(b"opened"), until).await?;
                is_marked = true;
            }
            let body = Body::empty();
            let header = tail.following(what, term, writer, &body, self.clock.unix_ms());
            let object = body.object(&header, life);
            // Taken or not: the next look at the chain decides what came of it.
            self.create(life, &life.chunk(header.sequence), object, until).await?;
        }
    }

    /// Gives up the records before `before`, then frees the chunks that have nothing else.
    pub async fn give_up(&self, channel: &Channel, before: u64) -> Result<(), Error> {
        let life = &channel.life;
        if channel.view.lock().owner.is_none() {
            self.catch_up(channel).await?;
        }
        loop {
            let wanted = {
                let view = channel.view.lock();
                let first = before.min(view.tail.next);
                if first <= view.boundary.first {
                    return Ok(());
                }
                Boundary { number: view.boundary.number + 1, first, chain: view.chain_before(first) }
            };
            let object = wanted.encode(life);
            match self.create(life, &life.boundary(wanted.number), object, self.deadline()).await? {
                Created::New => {
                    channel.learn_boundary(wanted);
                    break;
                }
                Created::Taken => {
                    let known = channel.view.lock().boundary;
                    let news = self.news(life, known).await?;
                    if news.removed {
                        return Err(channel.removed());
                    }
                    channel.learn_boundary(news.boundary);
                    if news.boundary == wanted {
                        break;
                    }
                }
            }
        }
        let boundary = channel.view.lock().boundary;
        if let Err(error) = self.free_chunks(life, boundary.chain.sequence).await {
            // The next truncation finds them again.
            warn!(channel = %life.channel, error = ?error, "chunks that were given up stay for now");
        }
        Ok(())
    }

    /// Deletes the waypoints up to the chunk `last`.
    async fn free_waypoints(&self, life: &Life, last: u64) -> Result<(), Error> {
        let notes = self.list(life, &life.waypoints()).await?;
        let is_passed =
            |key: &str| life.waypoint_of(key).is_some_and(|number| number <= last / WAYPOINT_EVERY);
        let freed = notes.into_iter().filter(|note| is_passed(&note.key));
        let deletes = freed.map(async |note| self.delete(life, &note.key).await);
        stream::iter(deletes).buffer_unordered(CONCURRENCY).try_collect().await
    }

    /// Deletes the chunks up to the number `last`, but no fences and nothing that is too young.
    async fn free_chunks(&self, life: &Life, last: u64) -> Result<(), Error> {
        let chunks = self.list(life, &life.chunks()).await?;
        let freed = chunks.into_iter().filter(|chunk| {
            life.sequence_of(&chunk.key).is_some_and(|sequence| {
                let frees_fences = self.flaws.has(Flaw::FencesFreed) && sequence <= last;
                frees_fences || is_freed(sequence, chunk.size_bytes, last)
            })
        });
        let deletes = freed.map(async |chunk| {
            if let Some(sequence) = life.sequence_of(&chunk.key)
                && self.is_old(life, sequence).await?
            {
                self.delete(life, &chunk.key).await?;
            }
            Ok(())
        });
        stream::iter(deletes).buffer_unordered(CONCURRENCY).try_collect::<()>().await?;
        if last < WAYPOINT_EVERY { Ok(()) } else { self.free_waypoints(life, last).await }
    }

    async fn is_old(&self, life: &Life, sequence: u64) -> Result<bool, Error> {
        if self.settings.min_age_ms == 0 {
            return Ok(true);
        }
        match self.header(life, sequence, self.deadline()).await {
            Ok(header) => Ok(header.is_some_and(|header| {
                self.clock.unix_ms().saturating_sub(header.written_ms) >= self.settings.min_age_ms
            })),
            Err(Error::DamagedObject { .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Ends the life, if it has begun, and frees what it had; says whether it is over.
    pub async fn end_life(&self, channel: &Channel) -> Result<bool, Error> {
        let life = &channel.life;
        match self.catch_up(channel).await {
            // A marker may be there, of an opening that is under way or failed before its fence; it lists nothing.
            Ok(tail) if tail.live == 0 => return Ok(false),
            Ok(_) => match self.claim(channel, Claim::Removal).await {
                Ok(_) | Err(Error::Removed { .. }) => {}
                Err(error) => return Err(error),
            },
            Err(Error::Removed { .. }) => {}
            Err(error) => return Err(error),
        }
        channel.end();
        self.delete(life, &life.marker()).await?;
        if let Err(error) = self.free_life(life).await {
            warn!(channel = %life.channel, error = ?error, "objects of a removed channel stay");
        }
        Ok(true)
    }

    async fn free_life(&self, life: &Life) -> Result<(), Error> {
        self.free_chunks(life, u64::MAX).await?;
        let boundaries = self.list(life, &life.boundaries()).await?;
        let deletes = boundaries.into_iter().map(async |boundary| self.delete(life, &boundary.key).await);
        stream::iter(deletes).buffer_unordered(CONCURRENCY).try_collect().await
    }
}
