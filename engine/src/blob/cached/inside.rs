//! How copies are found, made and taken away.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::Shared;
use tracing::{info, warn};

use crate::base::{Kinded as _, chain};
use crate::blob::key::{bad_range, check_key};
use crate::blob::{Doing, Error};

use super::files::{Disk, Head, name_of, number_of};
use super::shelf::Copy;
use super::{Counters, DiskCacheSettings, Download, Flight, Inside, State, add};

/// After a failed write the folder is left alone for so long.
pub(super) const WRITE_AGAIN_AFTER: Duration = Duration::from_secs(60);
/// A file in use is marked at most this often; the marks give the order after a restart. Unit: ms.
pub(super) const MARK_EVERY_MS: u64 = 600_000;
/// Keys of objects too large to be kept that are remembered.
const MAX_LARGE_KEYS: usize = 10_000;
/// How often a read looks for a copy that goes away under it.
const LOOKS: usize = 3;

/// Runs work on the disk.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other).flatten()
}

/// Takes over what an earlier process left in the folder, the files used last preferred.
pub(super) async fn adopt(
    disk: &Arc<dyn Disk>,
    settings: &DiskCacheSettings,
    state: &mut State,
    counters: &Counters,
) -> io::Result<()> {
    let listing = Arc::clone(disk);
    let mut found = blocking(move || listing.list()).await?;
    // Numbers are never given twice, so the newer of two files with the same mark has the larger one.
    found.sort_by_key(|found| (found.marked_ms, number_of(&found.file)));
    let mut gone = Vec::new();
    for found in found {
        state.next_number = state.next_number.max(number_of(&found.file).map_or(0, |number| number + 1));
        let head = Head::decode(&found.beginning);
        let head = head.filter(|head| {
            head.len().checked_add(head.body_bytes) == Some(found.size_bytes) && check_key(&head.key).is_ok()
        });
        let Some(head) = head else {
            add(&counters.torn, 1);
            gone.push(found.file);
            continue;
        };
        let wanted = is_kept(settings, &head.key) && head.body_bytes <= largest(settings);
        let Some(evicted) = wanted.then(|| state.shelf.reserve(found.size_bytes)).flatten() else {
            gone.push(found.file);
            continue;
        };
        add(&counters.evicted, evicted.len() as u64);
        gone.extend(evicted);
        let copy = Copy {
            file: found.file,
            head_bytes: head.len(),
            body_bytes: head.body_bytes,
            crc: head.crc,
            checked: false,
            marked_ms: found.marked_ms,
        };
        gone.extend(state.shelf.put(&head.key, copy));
    }
    let removing = Arc::clone(disk);
    blocking(move || gone.iter().try_for_each(|file| removing.remove(file))).await?;
    let (objects, size_bytes) = (state.shelf.len(), state.shelf.used_bytes());
    info!(objects, size_bytes, "copies of objects found in the disk cache");
    Ok(())
}

/// Unit: bytes.
fn largest(settings: &DiskCacheSettings) -> u64 {
    let bytes = u128::from(settings.budget_bytes) * u128::from(settings.largest_percent) / 100;
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

fn is_kept(settings: &DiskCacheSettings, key: &str) -> bool {
    settings.prefixes.iter().any(|prefix| key.starts_with(prefix.as_str()))
}

/// What of a body is asked for: all or a range. `None` if the range is not within it.
fn part_of(body: &Bytes, range: Option<&Range<u64>>) -> Option<Bytes> {
    let Some(range) = range else { return Some(body.clone()) };
    let (start, end) = (usize::try_from(range.start).ok()?, usize::try_from(range.end).ok()?);
    (start <= end && end <= body.len()).then(|| body.slice(start..end))
}

/// One error for each of those who asked together.
fn again(error: &Arc<Error>) -> Error {
    match &**error {
        Error::NotFound { key } => Error::NotFound { key: key.clone() },
        Error::BadKey { key, why } => Error::BadKey { key: key.clone(), why },
        other => Error::Remote {
            doing: Doing::Read,
            key: match other {
                Error::Local { key, .. } | Error::Remote { key, .. } => key.clone(),
                _ => String::new(),
            },
            kind: other.kind(),
            source: Box::new(Arc::clone(error)),
        },
    }
}

impl Inside {
    /// Whether copies of `key` are kept.
    pub(super) fn keeps(&self, key: &str) -> bool {
        self.disk.is_some() && is_kept(&self.settings, key)
    }

    /// What a whole copy answers; `None` if there is none.
    async fn look(&self, key: &str, range: Option<&Range<u64>>) -> Option<Result<Bytes, Error>> {
        let disk = Arc::clone(self.disk.as_ref()?);
        let now_ms = self.clock.unix_ms();
        let (copy, mark) = {
            let mut state = self.state.lock();
            let copy = state.shelf.touch(key)?;
            let mark = now_ms.saturating_sub(copy.marked_ms) >= MARK_EVERY_MS;
            if mark {
                copy.marked_ms = now_ms;
            }
            (copy.clone(), mark)
        };
        let wanted = range.cloned().unwrap_or(0..copy.body_bytes);
        if wanted.start > wanted.end || wanted.end > copy.body_bytes {
            return Some(Err(bad_range(key, &wanted)));
        }
        let whole = !copy.checked || range.is_none();
        let (file, body) = (copy.file.clone(), if whole { 0..copy.body_bytes } else { wanted.clone() });
        let at = copy.head_bytes + body.start..copy.head_bytes + body.end;
        let read = blocking(move || {
            if mark {
                // Only the order after a restart hangs on it.
                drop(disk.mark(&file, now_ms));
            }
            disk.read(&file, at).map(Bytes::from)
        });
        let read = read.await.ok().filter(|body| !whole || crc32fast::hash(body) == copy.crc);
        let Some(read) = read else {
            // Torn, unless it has made way meanwhile.
            let gone = self.state.lock().shelf.take_file(key, &copy.file);
            add(&self.counters.torn, u64::from(gone.is_some()));
            self.remove(gone).await;
            return None;
        };
        if !copy.checked
            && let Some(kept) = self.state.lock().shelf.touch(key)
            && kept.file == copy.file
        {
            kept.checked = true;
        }
        let answer = if whole { part_of(&read, range)? } else { read };
        add(&self.counters.hits, 1);
        add(&self.counters.hit_bytes, answer.len() as u64);
        Some(Ok(answer))
    }

    /// Takes the copy of `key` away and calls off one that is being made.
    pub(super) async fn drop_copy(&self, key: &str) {
        let gone = {
            let mut state = self.state.lock();
            state.flights.remove(key);
            state.large.remove(key);
            state.shelf.take(key)
        };
        self.remove(gone).await;
    }

    /// Removes a file. One that stays is seen at the next start.
    async fn remove(&self, file: Option<String>) {
        if let Some((disk, file)) = self.disk.clone().zip(file) {
            drop(blocking(move || disk.remove(&file)).await);
        }
    }

    /// The object of a cacheable key from the store, downloaded once however many ask; `None` if a copy has appeared.
    async fn download(self: &Arc<Self>, key: &str) -> Option<Result<Bytes, Error>> {
        let download = {
            let mut state = self.state.lock();
            let joined = state.flights.get(key).and_then(|flight| flight.download.as_ref()?.upgrade());
            match joined {
                Some(joined) => joined,
                None if state.shelf.contains(key) => return None,
                None => {
                    let number = state.next_number;
                    state.next_number += 1;
                    let download: Shared<Download> =
                        fly(Arc::clone(self), key.to_owned(), number).boxed().shared();
                    let flight = Flight { number, download: download.downgrade() };
                    state.flights.insert(key.to_owned(), flight);
                    download
                }
            }
        };
        Some(download.await.map_err(|error| again(&error)))
    }

    /// Keeps `body` unless it is too large, the disk fails or flight `number` for `key` was called off by a delete.
    /// Then the flight is over.
    pub(super) async fn keep(self: &Arc<Self>, key: &str, body: &Bytes, number: u64) {
        let head = Head::of(key, body);
        let Some((disk, gone)) = self.reserve(key, &head, number) else { return self.land(key, number) };
        add(&self.counters.evicted, gone.len() as u64);
        let (inside, key, body, now_ms) =
            (Arc::clone(self), key.to_owned(), body.clone(), self.clock.unix_ms());
        // What was reserved becomes a copy or is given back within the work on the disk, which goes on when the caller
        // goes away.
        let write = move || {
            gone.iter().for_each(|file| drop(disk.remove(file)));
            let copy = Copy {
                file: name_of(number),
                head_bytes: head.len(),
                body_bytes: head.body_bytes,
                crc: head.crc,
                checked: true,
                marked_ms: now_ms,
            };
            match disk.write(&copy.file, &head.encode(), &body, now_ms) {
                Ok(()) => inside.shelve(&key, copy, number).map_or(Ok(()), |gone| disk.remove(&gone)),
                Err(error) => {
                    inside.quiet(&error, copy.file_bytes());
                    inside.land(&key, number);
                    Ok(())
                }
            }
        };
        // A file that could not be removed is seen at the next start.
        drop(blocking(write).await);
    }

    /// Room for a copy, with the files that make way; `None` if none is to be made.
    fn reserve(&self, key: &str, head: &Head, number: u64) -> Option<(Arc<dyn Disk>, Vec<String>)> {
        let disk = self.disk.clone()?;
        let now = self.clock.monotonic();
        let mut state = self.state.lock();
        if head.body_bytes > largest(&self.settings) {
            state.remember_large(key);
            return None;
        }
        if state.is_quiet(now) || !state.is_flying(key, number) {
            return None;
        }
        Some((disk, state.shelf.reserve(head.len() + head.body_bytes)?))
    }

    /// Puts a written copy on the shelf and ends its flight; the file that has to be removed, if one has to.
    fn shelve(&self, key: &str, copy: Copy, number: u64) -> Option<String> {
        let mut state = self.state.lock();
        state.quiet_until = None;
        if state.is_flying(key, number) {
            state.flights.remove(key);
            return state.shelf.put(key, copy);
        }
        state.shelf.give_back(copy.file_bytes());
        Some(copy.file)
    }

    /// After a write that failed: nothing is written for a while. Warns once until a write succeeds.
    fn quiet(&self, error: &io::Error, reserved_bytes: u64) {
        add(&self.counters.failed_writes, 1);
        let until = self.clock.monotonic() + WRITE_AGAIN_AFTER;
        let mut state = self.state.lock();
        state.shelf.give_back(reserved_bytes);
        let first = state.quiet_until.replace(until).is_none();
        drop(state);
        if first {
            let folder = self.settings.folder.display();
            warn!(%folder, error = chain(error), "the disk cache cannot be written; objects are not kept");
        }
    }

    fn land(&self, key: &str, number: u64) {
        let mut state = self.state.lock();
        if state.is_flying(key, number) {
            state.flights.remove(key);
        }
    }

    /// Whether a ranged read should download the whole object of a key that is not kept.
    async fn is_worth_keeping(&self, key: &str) -> Result<bool, Error> {
        {
            let now = self.clock.monotonic();
            let state = self.state.lock();
            if state.large.contains(key) || state.is_quiet(now) {
                return Ok(false);
            }
            if state.flights.contains_key(key) || state.shelf.contains(key) {
                return Ok(true);
            }
        }
        let listed = self.blobs.list(key).await?;
        let size_bytes = listed.iter().find(|entry| entry.key == key).map(|entry| entry.size_bytes);
        let fits = size_bytes.is_some_and(|size_bytes| size_bytes <= largest(&self.settings));
        if !fits && size_bytes.is_some() {
            self.state.lock().remember_large(key);
        }
        Ok(fits)
    }

    /// A cacheable object or a part of it.
    pub(super) async fn get(self: &Arc<Self>, key: &str, range: Option<&Range<u64>>) -> Result<Bytes, Error> {
        for _ in 0..LOOKS {
            if let Some(answer) = self.look(key, range).await {
                return answer;
            }
            if range.is_some() && !self.is_worth_keeping(key).await? {
                break;
            }
            if let Some(body) = self.download(key).await {
                let body = body?;
                add(&self.counters.misses, 1);
                return part_of(&body, range).ok_or_else(|| match range {
                    Some(range) => bad_range(key, range),
                    None => Error::NotFound { key: key.to_owned() },
                });
            }
        }
        let read = match range {
            Some(range) => self.blobs.read_range(key, range.clone()).await?,
            None => self.blobs.read(key).await?,
        };
        add(&self.counters.misses, 1);
        add(&self.counters.miss_bytes, read.len() as u64);
        Ok(read)
    }
}

impl State {
    fn remember_large(&mut self, key: &str) {
        if self.large.len() >= MAX_LARGE_KEYS {
            self.large.clear();
        }
        self.large.insert(key.to_owned());
    }

    fn is_quiet(&self, now: Duration) -> bool {
        self.quiet_until.is_some_and(|until| now < until)
    }

    fn is_flying(&self, key: &str, number: u64) -> bool {
        self.flights.get(key).is_some_and(|flight| flight.number == number)
    }
}

/// One download and what becomes of it. Runs as long as anybody who asked waits.
async fn fly(inside: Arc<Inside>, key: String, number: u64) -> Result<Bytes, Arc<Error>> {
    match inside.blobs.read(&key).await {
        Ok(body) => {
            add(&inside.counters.miss_bytes, body.len() as u64);
            inside.keep(&key, &body, number).await;
            Ok(body)
        }
        Err(error) => {
            inside.land(&key, number);
            Err(Arc::new(error))
        }
    }
}
