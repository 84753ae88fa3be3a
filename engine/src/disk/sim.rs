//! A disk in memory that can lose power, fail, and be looked into.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use crate::base::Rng;

use super::{Disk, DiskEntry};

/// A disk in memory. It remembers what was synced, so that it can say what a crash of the machine leaves.
#[derive(Debug, Default)]
pub struct SimDisk {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    dirs: Durably<BTreeSet<String>>,
    names: Durably<BTreeMap<String, usize>>,
    files: Vec<Content>,
    /// Operations that still succeed; `None` for all.
    left: Option<u64>,
}

/// What is now, and what a crash could leave.
#[derive(Debug, Default)]
struct Durably<T> {
    now: T,
    synced: T,
}

#[derive(Clone, Debug, Default)]
struct Content {
    now: Vec<u8>,
    synced: Vec<u8>,
    /// Length of the prefix that is sure to be the same in both.
    same: usize,
}

impl SimDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Lets `operations` more succeed; every one after that fails, until [`Self::crash`] or [`Self::repair`].
    pub fn fail_after(&self, operations: u64) {
        self.state.lock().left = Some(operations);
    }

    /// Lets operations succeed again.
    pub fn repair(&self) {
        self.state.lock().left = None;
    }

    /// The disk as a machine finds it that lost power now: synced bytes and names; of what was not synced a random
    /// part, bytes possibly torn or garbled. This disk itself stays as it is, for whoever still writes to it.
    #[must_use]
    pub fn crash(&self, rng: &dyn Rng) -> Arc<Self> {
        let state = self.state.lock();
        let mut names = BTreeMap::new();
        let all = state.names.now.keys().chain(state.names.synced.keys()).collect::<BTreeSet<_>>();
        for name in all {
            let (now, synced) = (state.names.now.get(name), state.names.synced.get(name));
            if let Some(file) = either(rng, now, synced) {
                names.insert(name.clone(), *file);
            }
        }
        let mut dirs = BTreeSet::new();
        for dir in state.dirs.now.union(&state.dirs.synced) {
            let (now, synced) = (state.dirs.now.get(dir), state.dirs.synced.get(dir));
            let holds_names = names.keys().any(|name| parent(name) == dir);
            if holds_names || either(rng, now, synced).is_some() {
                dirs.insert(dir.clone());
            }
        }
        let files = state.files.iter().map(|content| content.after_crash(rng)).collect();
        let names = Durably { synced: names.clone(), now: names };
        let dirs = Durably { synced: dirs.clone(), now: dirs };
        Arc::new(Self { state: Mutex::new(State { dirs, names, files, left: None }) })
    }

    /// Changes the bytes of a file, synced and not, as a failing medium would. Nothing for a name that is not there.
    pub fn damage(&self, file: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state.lock();
        let Some(id) = state.names.now.get(file).copied() else { return };
        let content = &mut state.files[id];
        change(&mut content.now);
        content.synced = content.now.clone();
        content.same = content.now.len();
    }

    /// Every file's path, ascending.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        self.state.lock().names.now.keys().cloned().collect()
    }

    async fn operate<T>(&self, work: impl FnOnce(&mut State) -> io::Result<T> + Send) -> io::Result<T> {
        // Whoever else can run does so between two operations, as around a real one.
        tokio::task::yield_now().await;
        let mut state = self.state.lock();
        match &mut state.left {
            Some(0) => return Err(io::Error::other("the simulated disk fails")),
            Some(left) => *left -= 1,
            None => {}
        }
        work(&mut state)
    }
}

impl State {
    fn content(&mut self, file: &str) -> io::Result<&mut Content> {
        let id = self.names.now.get(file).copied().ok_or(io::ErrorKind::NotFound)?;
        self.files.get_mut(id).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Content {
    fn after_crash(&self, rng: &dyn Rng) -> Self {
        let kept = if self.synced.len() > self.same && rng.below(2) == 0 {
            // An unsynced cut that did not reach the disk.
            self.synced.clone()
        } else {
            let unsynced = (self.now.len() - self.same) as u64;
            let reached = usize::try_from(rng.below(unsynced + 1)).unwrap_or(0);
            let mut kept = self.now[..self.same + reached].to_vec();
            garble(&mut kept[self.same..], rng);
            kept
        };
        Self { same: kept.len(), synced: kept.clone(), now: kept }
    }
}

/// Now and then makes a hole of other bytes.
fn garble(bytes: &mut [u8], rng: &dyn Rng) {
    if bytes.is_empty() || rng.below(3) != 0 {
        return;
    }
    let pick = |bound: usize| usize::try_from(rng.below(bound as u64)).unwrap_or(0);
    let start = pick(bytes.len());
    let len = 1 + pick(bytes.len() - start);
    let zeros = rng.below(2) == 0;
    for byte in &mut bytes[start..start + len] {
        *byte = if zeros { 0 } else { rng.next_u64().to_le_bytes()[0] };
    }
}

fn either<T>(rng: &dyn Rng, now: Option<T>, synced: Option<T>) -> Option<T> {
    if now.is_some() == synced.is_some() || rng.below(2) == 0 { now } else { synced }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn last(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, last)| last)
}

#[async_trait]
impl Disk for SimDisk {
    async fn create_dir(&self, dir: &str) -> io::Result<()> {
        self.operate(|state| {
            state.dirs.now.insert(dir.to_owned());
            Ok(())
        })
        .await
    }

    async fn create(&self, file: &str) -> io::Result<()> {
        self.operate(|state| {
            if !state.dirs.now.contains(parent(file)) {
                return Err(io::ErrorKind::NotFound.into());
            }
            if state.names.now.contains_key(file) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            state.files.push(Content::default());
            state.names.now.insert(file.to_owned(), state.files.len() - 1);
            Ok(())
        })
        .await
    }

    async fn append(&self, file: &str, chunks: Vec<Bytes>) -> io::Result<()> {
        self.operate(|state| {
            let content = state.content(file)?;
            for chunk in chunks {
                content.now.extend_from_slice(&chunk);
            }
            Ok(())
        })
        .await
    }

    async fn sync(&self, file: &str) -> io::Result<()> {
        self.operate(|state| {
            let content = state.content(file)?;
            content.synced.truncate(content.same);
            content.synced.extend_from_slice(&content.now[content.same..]);
            content.same = content.now.len();
            Ok(())
        })
        .await
    }

    async fn read(&self, file: &str, offset: u64, len: usize) -> io::Result<Bytes> {
        self.operate(|state| {
            let bytes = &state.content(file)?.now;
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
            let end = start.saturating_add(len).min(bytes.len());
            Ok(Bytes::copy_from_slice(&bytes[start..end]))
        })
        .await
    }

    async fn list(&self, dir: &str) -> io::Result<Vec<DiskEntry>> {
        self.operate(|state| {
            if !dir.is_empty() && !state.dirs.now.contains(dir) {
                return Err(io::ErrorKind::NotFound.into());
            }
            let mut entries = Vec::new();
            for (path, id) in &state.names.now {
                if parent(path) == dir {
                    let size_bytes = state.files[*id].now.len() as u64;
                    entries.push(DiskEntry { name: last(path).to_owned(), size_bytes, is_dir: false });
                }
            }
            for path in state.dirs.now.iter().filter(|path| parent(path) == dir) {
                entries.push(DiskEntry { name: last(path).to_owned(), size_bytes: 0, is_dir: true });
            }
            entries.sort_by(|one, other| one.name.cmp(&other.name));
            Ok(entries)
        })
        .await
    }

    async fn truncate(&self, file: &str, size_bytes: u64) -> io::Result<()> {
        self.operate(|state| {
            let content = state.content(file)?;
            let size = usize::try_from(size_bytes).unwrap_or(usize::MAX);
            content.now.truncate(size);
            content.same = content.same.min(content.now.len());
            Ok(())
        })
        .await
    }

    async fn remove(&self, file: &str) -> io::Result<()> {
        self.operate(|state| {
            state.names.now.remove(file);
            Ok(())
        })
        .await
    }

    async fn remove_dir(&self, dir: &str) -> io::Result<()> {
        self.operate(|state| {
            if state.names.now.keys().any(|path| parent(path) == dir) {
                return Err(io::ErrorKind::DirectoryNotEmpty.into());
            }
            state.dirs.now.remove(dir);
            Ok(())
        })
        .await
    }

    async fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.operate(|state| {
            let inside = |path: &String| parent(path) == dir;
            state.names.synced.retain(|path, _| !inside(path));
            let now = state.names.now.iter().filter(|(path, _)| inside(path));
            state.names.synced.extend(now.map(|(path, id)| (path.clone(), *id)));
            if dir.is_empty() {
                state.dirs.synced = state.dirs.now.clone();
            }
            Ok(())
        })
        .await
    }
}
