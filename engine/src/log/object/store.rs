//! The object store as the log uses it: each call is repeated until a deadline, and answers are read as what they are.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use tracing::warn;

use crate::base::{Clock, Kind, Kinded as _, Rng};
use crate::blob::{self, Blobs};
use crate::log::Error;

use super::ObjectLogSettings;
use super::boundary::{Boundary, WAYPOINT_EVERY};
use super::chain::{Chain, Step};
use super::chunk::{HEADER_BYTES, Header, records};
use super::flaw::{Flaw, Flaws};
use super::names::Life;

/// First pause before a failed call is repeated; it doubles up to [`LAST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LAST_PAUSE: Duration = Duration::from_secs(1);

/// Most headers that are asked for at once.
const MAX_WINDOW: u64 = 32;
/// How many waypoints are looked for at first: an owner that was lost before it noted one leaves a gap.
const FIRST_WAYPOINTS: u64 = 4;

/// The object store with what is needed to wait for it.
pub(super) struct Store {
    pub blobs: Arc<dyn Blobs>,
    pub clock: Arc<dyn Clock>,
    pub rng: Arc<dyn Rng>,
    pub settings: ObjectLogSettings,
    pub flaws: Flaws,
}

/// How a conditional creation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Created {
    /// The object is there by this call.
    New,
    /// There is an object, perhaps by an earlier attempt of this call.
    Taken,
}

/// What others may have changed about a channel's life.
#[derive(Clone, Copy, Debug)]
pub(super) struct News {
    /// The newest boundary.
    pub boundary: Boundary,
    /// Whether the life is over.
    pub removed: bool,
}

/// Where a walk along the chunks ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    /// No chunk has the next number.
    Tail,
    /// There may be more, so many that it pays to look for waypoints.
    Far,
    /// The channel was removed.
    Removed,
    /// The chunk at this number is not what an owner would have written, for this reason.
    Broken(u64, &'static str),
}

impl Store {
    /// Until when a call that starts now is repeated, on the monotonic clock.
    pub fn deadline(&self) -> Duration {
        self.clock.monotonic() + Duration::from_millis(self.settings.deadline_ms)
    }

    /// Creates the object under `key` unless there is one.
    pub async fn create(
        &self,
        life: &Life,
        key: &str,
        body: Bytes,
        until: Duration,
    ) -> Result<Created, Error> {
        match self.persist(life, key, until, || self.blobs.create(key, body.clone())).await {
            Ok(()) => Ok(Created::New),
            Err(Error::Object { source, .. }) if source.kind() == Kind::Exists => Ok(Created::Taken),
            Err(error) => Err(error),
        }
    }

    /// The header of the chunk at `sequence`, if there is one.
    pub async fn header(&self, life: &Life, sequence: u64, until: Duration) -> Result<Option<Header>, Error> {
        let key = life.chunk(sequence);
        let read =
            self.persist(life, &key, until, || self.blobs.read_range(&key, 0..HEADER_BYTES as u64)).await;
        let bytes = match found(read) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(None),
            Err(Error::Object { source, .. }) if matches!(*source, blob::Error::BadRange { .. }) => {
                return Err(Error::DamagedObject { key, why: "the header is incomplete" });
            }
            Err(error) => return Err(error),
        };
        match Header::decode(&bytes, life, sequence) {
            Ok(header) => Ok(Some(header)),
            Err(why) => Err(Error::DamagedObject { key, why }),
        }
    }

    /// The chunk at `sequence`, if there is one: its header, and its records or what is wrong with them.
    pub async fn chunk(&self, life: &Life, sequence: u64) -> Result<Option<(Header, Vec<Bytes>)>, Error> {
        let key = life.chunk(sequence);
        let read = self.persist(life, &key, self.deadline(), || self.blobs.read(&key)).await;
        let Some(object) = found(read)? else { return Ok(None) };
        let decoded = Header::decode(&object, life, sequence)
            .and_then(|header| Ok((records(&object, &header)?, header)));
        match decoded {
            Ok((records, header)) => Ok(Some((header, records))),
            Err(why) => Err(Error::DamagedObject { key, why }),
        }
    }

    /// Whether there is an object under `key`, which is small.
    pub async fn exists(&self, life: &Life, key: &str) -> Result<bool, Error> {
        let read = self.persist(life, key, self.deadline(), || self.blobs.read(key)).await;
        found(read).map(|object| object.is_some())
    }

    /// What `prefix` has: keys and lengths.
    pub async fn list(&self, life: &Life, prefix: &str) -> Result<Vec<blob::BlobEntry>, Error> {
        self.persist(life, prefix, self.deadline(), || self.blobs.list(prefix)).await
    }

    /// Deletes the object under `key`, if there is one.
    pub async fn delete(&self, life: &Life, key: &str) -> Result<(), Error> {
        self.persist(life, key, self.deadline(), || self.blobs.delete(key)).await
    }

    /// Whether the life is over and what was given up, as it is now; `known` is some boundary of the life.
    ///
    /// The boundaries are looked at first: a removal deletes them only after it can be seen itself.
    pub async fn news(&self, life: &Life, known: Boundary) -> Result<News, Error> {
        let boundary = self.newest_boundary(life, known).await?;
        let removed = self.exists(life, &life.removed()).await?;
        Ok(News { boundary, removed })
    }

    /// The newest boundary. Their numbers have no gaps, so doubling steps and then halving ones find the last.
    async fn newest_boundary(&self, life: &Life, known: Boundary) -> Result<Boundary, Error> {
        let (mut newest, mut step) = (known, 1);
        let mut missing = loop {
            let number = newest.number + step;
            match self.boundary(life, number).await? {
                Some(boundary) => newest = boundary,
                None => break number,
            }
            step *= 2;
        };
        while missing - newest.number > 1 {
            let number = newest.number + (missing - newest.number) / 2;
            match self.boundary(life, number).await? {
                Some(boundary) => newest = boundary,
                None => missing = number,
            }
        }
        Ok(newest)
    }

    async fn boundary(&self, life: &Life, number: u64) -> Result<Option<Boundary>, Error> {
        let key = life.boundary(number);
        let read = self.persist(life, &key, self.deadline(), || self.blobs.read(&key)).await;
        let Some(object) = found(read)? else { return Ok(None) };
        match Boundary::decode(&object, life, number) {
            Ok(boundary) => Ok(Some(boundary)),
            Err(why) => Err(Error::DamagedObject { key, why }),
        }
    }

    /// Chains that owners noted behind the number `after`, ascending. One that is missing or damaged is passed over: they only
    /// save looking at chunks, of which there may be very many.
    pub async fn waypoints(&self, life: &Life, after: u64) -> Result<Vec<Chain>, Error> {
        let (mut found, mut number, mut window) = (Vec::new(), after / WAYPOINT_EVERY + 1, FIRST_WAYPOINTS);
        loop {
            let looks = (number..number + window).map(|number| self.waypoint(life, number));
            let before = found.len();
            for chain in join_all(looks).await {
                found.extend(chain?);
            }
            if found.len() == before {
                return Ok(found);
            }
            number += window;
            window = MAX_WINDOW.min(window * 2);
        }
    }

    async fn waypoint(&self, life: &Life, number: u64) -> Result<Option<Chain>, Error> {
        let key = life.waypoint(number);
        let read = self.persist(life, &key, self.deadline(), || self.blobs.read(&key)).await;
        let Some(object) = found(read)? else { return Ok(None) };
        match Boundary::decode(&object, life, number) {
            Ok(note) => Ok(Some(note.chain)),
            Err(why) => {
                warn!(key, why, "a waypoint is damaged and is passed over");
                Ok(None)
            }
        }
    }

    /// Walks on from `chain` as far as there are chunks, or over about as many as lie between waypoints, and gives the chain
    /// after each of them that was passed. Looks at headers only, ever more of them at once. What it finds is true unless
    /// the boundary has passed `chain` meanwhile.
    pub async fn walk(&self, life: &Life, mut chain: Chain) -> Result<(Vec<Chain>, End), Error> {
        let (mut passed, mut window) = (Vec::new(), 1);
        loop {
            let until = self.deadline();
            let numbers = chain.sequence + 1..=chain.sequence + window;
            let headers = join_all(numbers.map(|number| self.header(life, number, until))).await;
            for header in headers {
                let header = match header {
                    Ok(Some(header)) => header,
                    Ok(None) => return Ok((passed, End::Tail)),
                    Err(Error::DamagedObject { why, .. }) => {
                        return Ok((passed, End::Broken(chain.sequence + 1, why)));
                    }
                    Err(error) => return Err(error),
                };
                match self.step(&chain, &header, life) {
                    Step::Counts(next) | Step::Stale(next) => chain = next,
                    Step::Ends => return Ok((passed, End::Removed)),
                    Step::Broken(why) => return Ok((passed, End::Broken(header.sequence, why))),
                }
                passed.push(chain);
            }
            if passed.len() as u64 >= WAYPOINT_EVERY {
                return Ok((passed, End::Far));
            }
            window = MAX_WINDOW.min(window * 2);
        }
    }

    /// [`Chain::step`], unless a test leaves a rule out.
    pub fn step(&self, chain: &Chain, header: &Header, life: &Life) -> Step {
        match chain.step(header, life) {
            Step::Stale(_) if self.flaws.has(Flaw::StaleCounts) => Step::Counts(chain.with(header, life)),
            step => step,
        }
    }

    /// Repeats `call` about `key` while it fails for a reason that may pass, and gives up at `until`.
    async fn persist<T, F>(
        &self,
        life: &Life,
        key: &str,
        until: Duration,
        call: impl Fn() -> F + Sync,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, blob::Error>> + Send,
    {
        let mut pause = FIRST_PAUSE;
        loop {
            let left = until.saturating_sub(self.clock.monotonic());
            let outcome = tokio::select! {
                biased;
                outcome = call() => outcome,
                () = self.clock.sleep(left) => return Err(Error::Late { key: key.to_owned() }),
            };
            let source = match outcome {
                Ok(answer) => return Ok(answer),
                Err(source) => source,
            };
            // A conflict is two creations at once, neither of which need have won.
            let may_pass = source.kind().is_retriable() || source.kind() == Kind::Conflict;
            // Half of the pause is drawn, so that many callers do not come back together.
            let half = u64::try_from(pause.as_millis() / 2).unwrap_or_default();
            let wait = Duration::from_millis(half + self.rng.below(half + 1));
            if !may_pass || self.clock.monotonic() + wait >= until {
                return Err(Error::Object { channel: life.channel.clone(), source: Arc::new(source) });
            }
            self.clock.sleep(wait).await;
            pause = LAST_PAUSE.min(pause * 2);
        }
    }
}

/// An answer with "there is none" as a value.
fn found<T>(answer: Result<T, Error>) -> Result<Option<T>, Error> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(Error::Object { source, .. }) if source.kind() == Kind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
