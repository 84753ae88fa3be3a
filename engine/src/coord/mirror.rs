//! Keeps a copy of the catalog's records in the bucket, from which all of it can be made anew.
//!
//! Every commit is noted in its order. Who wants its change to be in the bucket writes a page of all that is not there yet, or
//! waits for who is at it: as many changes as come meanwhile share the next page. A flush is answered only after that, since
//! its owner then gives up the log; garbage waits for it, too. Other changes wait for a while and no longer: while the
//! bucket is away, collections can still be made.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::de::Error as _;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::base::{Kind, Kinded as _, Timestamp, chain};
use crate::coord::drive::Coordinator;
use crate::coord::page::{self, Image, PAGES, Page};
use crate::coord::shelf::Shelf;
use crate::coord::{Error, stored};
use crate::meta::{Metas, Write};
use crate::rpc;

/// A page says that time is given out up to so far ahead of what is durable, so that few pages are needed only for that.
const AHEAD_MS: u64 = 60_000;
/// A chain of more pages is made one page.
const PAGES_AT_MOST: usize = 256;
/// And one whose changes are larger than this and than the page they begin with. Unit: bytes.
const CHANGES_AT_LEAST: u64 = 1 << 20;
/// How long a flush waits for the bucket.
const FLUSHED_WITHIN: Duration = Duration::from_secs(30);
/// How long after a failure a page is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// What is to be in the bucket, and what is.
pub struct Mirror {
    /// How often the metadata was made anew.
    pub generation: u64,
    noted: Mutex<Noted>,
    /// Held while a page is written.
    written: tokio::sync::Mutex<Written>,
    /// Whether nothing is in a log that is not sealed, and nothing changes any more.
    sealed: watch::Sender<bool>,
    wake: Notify,
}

#[derive(Default)]
struct Noted {
    /// Everything as of the start, until it is written.
    whole: Option<Vec<(String, Option<String>)>>,
    /// Changes that are in no page, with their numbers.
    open: VecDeque<(u64, Vec<(String, Option<String>)>)>,
    /// The number of the newest change.
    newest: u64,
    /// All changes up to this number are in pages.
    covered: u64,
    /// Time is given out up to here.
    bound: Timestamp,
    /// And up to here by what pages say.
    told: Timestamp,
    /// Whether the last page said that all is sealed.
    told_sealed: bool,
}

/// The call, as errors name it.
const MIRROR: &str = "mirror the catalog";

/// The chain of pages.
#[derive(Default)]
struct Written {
    last: Option<i64>,
    pages: usize,
    whole_bytes: u64,
    change_bytes: u64,
}

/// A page that is not written yet.
struct Draft {
    page: Page,
    /// Up to which change it says everything.
    newest: u64,
    number: i64,
}

impl Mirror {
    /// Of the records as they are, before anything is committed. In the place of those under `spoilt`, which are damaged or gone,
    /// stays what the bucket says of them: it may be all that is left.
    ///
    /// # Errors
    /// If they cannot be read; if there are damaged ones and it cannot be seen now what the bucket says.
    pub async fn open(
        metas: &dyn Metas,
        shelf: &Shelf,
        bound: Timestamp,
        spoilt: &BTreeSet<String>,
    ) -> Result<Self, Error> {
        let failed = |source| Error::ReadCatalog { prefix: "", source };
        let generation = generation(metas).await?;
        let records = metas.list("").await.map_err(failed)?;
        let puts: Vec<Write> =
            records.into_iter().map(|(key, record)| Write::Put { key, value: record.value }).collect();
        let mut copies = if spoilt.is_empty() { BTreeMap::new() } else { copies(shelf).await? };
        let mut puts = page::mirrored(&puts);
        for (key, value) in puts.iter_mut().filter(|(key, _)| spoilt.contains(key)) {
            // Without a copy the damaged one stays: whoever makes the catalog anew is to find it and not an empty channel.
            *value = copies.remove(key).or_else(|| value.take());
        }
        let gone = spoilt.iter().filter_map(|key| copies.remove_entry(key));
        puts.extend(gone.map(|(key, value)| (key, Some(value))));
        let whole = Some(puts);
        let noted = Noted { whole, newest: 1, bound, ..Noted::default() };
        Ok(Self {
            generation,
            noted: Mutex::new(noted),
            written: tokio::sync::Mutex::default(),
            sealed: watch::Sender::new(false),
            wake: Notify::new(),
        })
    }

    /// Notes a commit; to be called in the order of commits.
    pub fn note(&self, writes: &[Write]) {
        let writes = page::mirrored(writes);
        if writes.is_empty() {
            return;
        }
        let mut noted = self.noted.lock();
        noted.newest += 1;
        let number = noted.newest;
        noted.open.push_back((number, writes));
        self.wake.notify_one();
    }

    /// Notes that time may be given out up to `bound`.
    pub fn note_bound(&self, bound: Timestamp) {
        let mut noted = self.noted.lock();
        noted.bound = noted.bound.max(bound);
        if noted.is_bound_due() {
            self.wake.notify_one();
        }
    }

    /// Whether the newest change of this record is in the bucket. What an earlier leader committed is, once all is
    /// written that there was at the start: that leader may have died before its page.
    pub fn has(&self, key: &str) -> bool {
        let noted = self.noted.lock();
        noted.whole.is_none()
            && !noted.open.iter().flat_map(|(_, writes)| writes).any(|(written, _)| written == key)
    }

    /// What the next page is to say, and up to which change it says everything.
    fn next(&self) -> Option<(Page, u64)> {
        let sealed = self.is_sealed();
        let noted = self.noted.lock();
        if noted.covered == noted.newest && !noted.is_bound_due() && sealed == noted.told_sealed {
            return None;
        }
        let whole = noted.whole.clone();
        let is_whole = whole.is_some();
        let changes = noted.open.iter().flat_map(|(_, writes)| writes.iter().cloned());
        let writes = whole.into_iter().flatten().chain(changes).collect();
        let bound = Timestamp(noted.bound.0.saturating_add(AHEAD_MS << 18));
        // Filled in by who writes it, who knows the chain.
        let after = if is_whole { None } else { Some(0) };
        Some((Page { after, generation: self.generation, bound, sealed, writes }, noted.newest))
    }

    fn cover(&self, page: &Page, newest: u64) {
        let mut noted = self.noted.lock();
        if page.after.is_none() {
            noted.whole = None;
        }
        noted.covered = noted.covered.max(newest);
        while noted.open.front().is_some_and(|(number, _)| *number <= newest) {
            noted.open.pop_front();
        }
        noted.told = noted.told.max(page.bound);
        noted.told_sealed = page.sealed;
    }

    /// Whether nothing is to change.
    pub fn is_sealed(&self) -> bool {
        *self.sealed.borrow()
    }

    /// Waits until something may change again.
    pub async fn unsealed(&self) {
        // The sender lives as long as this does.
        drop(self.sealed.subscribe().wait_for(|sealed| !sealed).await);
    }

    fn newest(&self) -> u64 {
        self.noted.lock().newest
    }

    fn covered(&self) -> u64 {
        self.noted.lock().covered
    }
}

impl Noted {
    fn is_bound_due(&self) -> bool {
        self.whole.is_some() || self.bound.0.saturating_add((AHEAD_MS / 2) << 18) > self.told.0
    }
}

/// How often the metadata was made anew.
///
/// # Errors
/// If it cannot be read or understood.
pub async fn generation(metas: &dyn Metas) -> Result<u64, Error> {
    let failed = |source| Error::ReadCatalog { prefix: page::GENERATION, source };
    match metas.get(page::GENERATION).await.map_err(failed)? {
        Some(stored) => super::record::decode(page::GENERATION, &stored.value),
        None => Ok(0),
    }
}

/// The records that the bucket says; none if its pages are damaged, too.
///
/// # Errors
/// If they cannot be read now.
async fn copies(shelf: &Shelf) -> Result<BTreeMap<String, String>, Error> {
    match read(shelf).await {
        Ok(image) => Ok(image.map(|(image, _)| image.records).unwrap_or_default()),
        Err(error) if matches!(error.kind(), Kind::Corrupt | Kind::NotFound) => {
            warn!(error = chain(&error), "the copy of a damaged record is damaged, too");
            Ok(BTreeMap::new())
        }
        Err(error) => Err(error),
    }
}

/// The numbers of all pages, ascending.
///
/// # Errors
/// If they cannot be listed.
pub async fn pages(shelf: &Shelf) -> Result<Vec<i64>, Error> {
    Ok(shelf.list(PAGES).await?.iter().filter_map(|key| page::number_of(key)).collect())
}

/// What the pages of a bucket amount to, and the number of the last; `None` if there is none.
///
/// # Errors
/// If a page of the chain is missing or damaged.
pub async fn read(shelf: &Shelf) -> Result<Option<(Image, i64)>, Error> {
    let Some(last) = pages(shelf).await?.last().copied() else { return Ok(None) };
    let mut chain = Vec::new();
    let mut next = Some(last);
    while let Some(number) = next {
        let page: Page = shelf.get(&page::page_key(number), None).await?;
        next = page.after;
        if next.is_some_and(|after| after >= number) {
            let key = page::page_key(number);
            let source = serde_json::Error::custom("the page continues one that is not older");
            return Err(Error::BadRecord { key, source });
        }
        chain.push(page);
    }
    Ok(Some((Image::of(chain.into_iter().rev()), last)))
}

impl Coordinator {
    /// Returns once every change that is committed is in the bucket.
    ///
    /// # Errors
    /// If a page cannot be written.
    pub(super) async fn mirrored(&self) -> Result<(), Error> {
        let wanted = self.mirror.newest();
        let mut written = self.mirror.written.lock().await;
        while self.mirror.covered() < wanted {
            self.write_page(&mut written).await?;
        }
        Ok(())
    }

    /// The same, for a while.
    pub(super) async fn mirrored_within(&self, limit: Duration) -> Result<(), rpc::Error> {
        let end = self.parts.clock.monotonic() + limit;
        let wanted = self.mirror.newest();
        let mut written = self.before(end, async { Ok(self.mirror.written.lock().await) }).await?;
        while self.mirror.covered() < wanted {
            // This may be a commit, and is not broken off: nobody would know whether it happened.
            let drafted = self.draft(&written).await;
            let Some(draft) = drafted.map_err(|error| error.answer(MIRROR))? else { break };
            self.before(end, self.put_page(&mut written, draft)).await?;
        }
        Ok(())
    }

    /// What a step comes to, unless that takes until `end` on the monotonic clock.
    async fn before<T>(
        &self,
        end: Duration,
        step: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, rpc::Error> {
        let clock = &self.parts.clock;
        tokio::select! {
            biased;
            done = step => done.map_err(|error| error.answer(MIRROR)),
            () = clock.sleep(end.saturating_sub(clock.monotonic())) => Err(rpc::Error::Failed {
                call: MIRROR,
                kind: Kind::Unavailable,
                reason: "the object store takes too long".to_owned(),
            }),
        }
    }

    /// Waits as long as a flush may take.
    pub(super) async fn mirrored_flush(&self) -> Result<(), rpc::Error> {
        self.mirrored_within(FLUSHED_WITHIN).await
    }

    /// Writes pages that nobody waits for, tries again what failed, and keeps the chain short, until `stop`; returns then.
    ///
    /// # Errors
    /// None: failures are logged and tried again.
    pub async fn keep_mirror(self: Arc<Self>, stop: CancellationToken) -> anyhow::Result<()> {
        let mut failing = false;
        loop {
            let woken = self.mirror.wake.notified();
            let kept = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                kept = self.tidy_mirror() => kept,
            };
            match kept {
                Ok(()) => failing = false,
                Err(Error::Deposed) => return Ok(()),
                Err(error) => {
                    if !failing {
                        warn!(error = chain(&error), "the catalog's copy in the object store is behind");
                    }
                    failing = true;
                }
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = woken, if !failing => {}
                () = self.parts.clock.sleep(AGAIN), if failing => {}
            }
        }
    }

    /// Writes what is in no page, and keeps the chain short.
    ///
    /// # Errors
    /// If a page cannot be written.
    pub(super) async fn tidy_mirror(&self) -> Result<(), Error> {
        let mut written = self.mirror.written.lock().await;
        self.write_page(&mut written).await?;
        self.shorten(&mut written).await
    }

    /// Writes the first page, and with it sees whether the catalog was made anew elsewhere before that: who does so looks at
    /// the pages after it has said so. Waits for a bucket that is away.
    ///
    /// # Errors
    /// [`Error::Superseded`] if it was.
    pub async fn prove_current(&self, stop: &CancellationToken) -> Result<(), Error> {
        loop {
            match self.mirrored().await {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == Kind::Unavailable => {
                    warn!(error = chain(&error), "waiting for the object store");
                }
                Err(error) => return Err(error),
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = self.parts.clock.sleep(AGAIN) => {}
            }
        }
    }

    /// Says in the bucket that nothing is in any log that is not sealed, or takes that back. The next leader takes it back, too.
    ///
    /// # Errors
    /// If that cannot be written.
    pub async fn seal_mirror(&self, on: bool) -> Result<(), rpc::Error> {
        let answer = |error: Error| error.answer("seal the catalog");
        if on {
            // Whoever commits is done; who comes later waits.
            let _one_at_a_time = self.writing.lock().await;
            self.mirror.sealed.send_replace(true);
        }
        let mut written = self.mirror.written.lock().await;
        if !on {
            // Told first: nothing changes while a page says that nothing does.
            self.mirror.sealed.send_replace(false);
        }
        self.write_page(&mut written).await.map_err(answer)
    }

    /// Writes a page of what is in none, if there is anything.
    async fn write_page(&self, written: &mut Written) -> Result<(), Error> {
        let Some(draft) = self.draft(written).await? else { return Ok(()) };
        self.put_page(written, draft).await
    }

    /// A page of what is in none, if there is anything.
    async fn draft(&self, written: &Written) -> Result<Option<Draft>, Error> {
        let Some((mut page, newest)) = self.mirror.next() else { return Ok(None) };
        let number = self.timestamps(1).await?.as_id();
        if page.after.is_some() {
            page.after = written.last;
        }
        Ok(Some(Draft { page, newest, number }))
    }

    async fn put_page(&self, written: &mut Written, draft: Draft) -> Result<(), Error> {
        let Draft { page, newest, number } = draft;
        // An attempt of unknown outcome stays beside the chain: the next one has all its changes, and a greater number.
        let body = stored::seal(&page)?;
        let bytes = body.len() as u64;
        self.shelf.put(&page::page_key(number), body).await?;
        self.mirror.cover(&page, newest);
        // Garbage waits for this.
        self.wake.notify_one();
        if page.after.is_none() {
            self.begin_chain(written, number, bytes).await?;
        } else {
            written.last = Some(number);
            written.pages += 1;
            written.change_bytes += bytes;
        }
        Ok(())
    }

    /// Makes one page of a long chain.
    async fn shorten(&self, written: &mut Written) -> Result<(), Error> {
        let is_long = written.change_bytes > written.whole_bytes.max(CHANGES_AT_LEAST);
        if !is_long && written.pages < PAGES_AT_MOST {
            return Ok(());
        }
        let Some((image, _)) = read(&self.shelf).await? else { return Ok(()) };
        let number = self.timestamps(1).await?.as_id();
        let body = stored::seal(&image.page())?;
        let bytes = body.len() as u64;
        let key = page::page_key(number);
        self.shelf.put(&key, body).await?;
        // What is read back may take the place of all that was before.
        self.shelf.get::<Page>(&key, None).await?;
        self.begin_chain(written, number, bytes).await
    }

    /// A page that holds everything is there: those before can go.
    async fn begin_chain(&self, written: &mut Written, number: i64, bytes: u64) -> Result<(), Error> {
        *written = Written { last: Some(number), pages: 1, whole_bytes: bytes, change_bytes: 0 };
        let older = pages(&self.shelf).await?.into_iter().filter(|&page| page < number);
        let older: Vec<String> = older.map(page::page_key).collect();
        self.shelf.discard(&older).await;
        let newest = self.shelf.newest_generation().await?;
        if newest > self.mirror.generation {
            // Somebody believed that this metadata was lost. What was made of the copy is what counts.
            self.deposed.cancel();
            return Err(Error::Superseded { newest });
        }
        info!(number, bytes, "catalog copied to the object store");
        Ok(())
    }
}
