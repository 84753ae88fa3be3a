//! Objects as files of one directory.

use std::collections::HashSet;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use crate::base::{Rng, heavy};
use crate::disk::{Files, OsFiles, make_dirs};

use super::key::{bad_range, check_key, check_prefix};
use super::{BlobEntry, Blobs, Doing, Error};

#[cfg(test)]
mod power_test;

/// Where bodies are written before they get their name. No key begins with a dot.
const UNFINISHED: &str = ".unfinished";
/// How often a directory may be removed under a create before that gives up.
const ATTEMPTS: usize = 20;

/// Objects as files below one directory, used by one process at a time.
///
/// A body is written to a file of its own and synced, and then linked to its name, which fails if the name is taken;
/// the directories are synced before `create` returns. What a crash leaves unfinished is removed at the next start.
pub struct LocalBlobs {
    place: Arc<Place>,
}

struct Place {
    root: PathBuf,
    rng: Arc<dyn Rng>,
    files: Arc<dyn Files>,
    names: Mutex<Names>,
}

/// Directories below the root whose names are durable, as far as that is known.
#[derive(Default)]
struct Names {
    durable: HashSet<PathBuf>,
    /// Removals of directories under way: while there are any, nothing is known for certain.
    removing: usize,
    /// How many removals have begun.
    removals: u64,
}

impl LocalBlobs {
    /// The store in the directory `root`, made if missing.
    ///
    /// # Errors
    /// Kinds of the file system.
    pub async fn open(root: impl Into<PathBuf>, rng: Arc<dyn Rng>) -> Result<Arc<Self>, Error> {
        Self::open_in(Arc::new(OsFiles), root, rng).await
    }

    /// The same in other files than those of the operating system.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_in(
        files: Arc<dyn Files>,
        root: impl Into<PathBuf>,
        rng: Arc<dyn Rng>,
    ) -> Result<Arc<Self>, Error> {
        let place = Arc::new(Place::new(files, root.into(), rng));
        let (name, opened) = (place.root.display().to_string(), Arc::clone(&place));
        run(Doing::Open, &name, move || opened.prepare()).await?;
        Ok(Arc::new(Self { place }))
    }

    /// A view of a directory that another process uses: only to read and to list.
    #[must_use]
    pub fn view(root: impl Into<PathBuf>, rng: Arc<dyn Rng>) -> Arc<Self> {
        Arc::new(Self { place: Arc::new(Place::new(Arc::new(OsFiles), root.into(), rng)) })
    }
}

#[async_trait]
impl Blobs for LocalBlobs {
    async fn create(&self, key: &str, body: Bytes) -> Result<(), Error> {
        check_key(key)?;
        let (place, name) = (self.place.clone(), key.to_owned());
        run(Doing::Create, key, move || place.create(&name, &body)).await
    }

    async fn read(&self, key: &str) -> Result<Bytes, Error> {
        check_key(key)?;
        let (place, path) = (self.place.clone(), self.place.path(key));
        run(Doing::Read, key, move || place.files.read(&path)).await
    }

    async fn read_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, Error> {
        check_key(key)?;
        if range.start == range.end {
            return Ok(Bytes::new());
        }
        let (place, path, wanted) = (self.place.clone(), self.place.path(key), range.clone());
        let read = run(Doing::Read, key, move || place.files.read_part(&path, wanted)).await?;
        read.ok_or_else(|| bad_range(key, &range))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<BlobEntry>, Error> {
        check_prefix(prefix)?;
        let (place, wanted) = (self.place.clone(), prefix.to_owned());
        run(Doing::List, prefix, move || place.list(&wanted)).await
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        check_key(key)?;
        let (place, name) = (self.place.clone(), key.to_owned());
        run(Doing::Delete, key, move || place.delete(&name)).await
    }
}

impl Place {
    fn new(files: Arc<dyn Files>, root: PathBuf, rng: Arc<dyn Rng>) -> Self {
        Self { root, rng, files, names: Mutex::default() }
    }

    fn path(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }

    /// Makes the directories and removes what an earlier process left unfinished.
    fn prepare(&self) -> io::Result<()> {
        let unfinished = self.root.join(UNFINISHED);
        make_dirs(&*self.files, &unfinished)?;
        for entry in self.files.list(&unfinished)? {
            self.files.remove(&unfinished.join(entry.name))?;
        }
        Ok(())
    }

    fn create(&self, key: &str, body: &[u8]) -> io::Result<()> {
        let path = self.path(key);
        // The usual loser of a race is seen before it writes the body; the link below decides.
        let created = if self.files.look(&path).is_ok() {
            Err(io::ErrorKind::AlreadyExists.into())
        } else {
            let name = format!("{:016x}{:016x}", self.rng.next_u64(), self.rng.next_u64());
            let unfinished = self.root.join(UNFINISHED).join(name);
            let created = self.write_and_link(body, &unfinished, &path);
            // Left behind, it is removed at the next start.
            drop(self.files.remove(&unfinished));
            created
        };
        match &created {
            // Who lost goes on with what the winner stored, which may not have synced it yet.
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {}
            _ => self.sync_names(&path)?,
        }
        created
    }

    fn write_and_link(&self, body: &[u8], unfinished: &Path, path: &Path) -> io::Result<()> {
        self.files.write(unfinished, body)?;
        let parent = path.parent().unwrap_or(&self.root);
        for attempt in 1.. {
            self.make_dirs(parent)?;
            match self.files.link(unfinished, path) {
                // A delete has just removed the directory because it was empty.
                Err(error) if error.kind() == io::ErrorKind::NotFound && attempt < ATTEMPTS => {}
                other => return other,
            }
        }
        Ok(())
    }

    /// Makes a directory below the root with those above it. Their names are not durable yet.
    fn make_dirs(&self, dir: &Path) -> io::Result<()> {
        let is_there = |dir: &Path| self.files.look(dir).is_ok_and(|entry| entry.is_dir);
        if dir == self.root || is_there(dir) {
            return Ok(());
        }
        self.make_dirs(dir.parent().unwrap_or(&self.root))?;
        match self.files.create_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_there(dir) => Ok(()),
            // Removed under this create, which looks again.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Makes the name of an object that is there durable, and those of the directories that it is in: whoever made one
    /// of these may not have come so far yet.
    fn sync_names(&self, path: &Path) -> io::Result<()> {
        let above = path.ancestors().skip(1).take_while(|dir| *dir != self.root).collect::<Vec<_>>();
        let (removals, unsure) = {
            let names = self.names.lock();
            let is_calm = names.removing == 0;
            let is_sure = |dir: &&Path| is_calm && names.durable.contains(*dir);
            let unsure = above.iter().copied().filter(|dir| !is_sure(dir)).collect::<Vec<_>>();
            (is_calm.then_some(names.removals), unsure)
        };
        for name in std::iter::once(path).chain(unsure.iter().copied()) {
            // What somebody has deleted meanwhile needs no name any more, nor does a directory that went with it.
            if let Err(error) = self.files.look(name) {
                return if is_absent(&error) { Ok(()) } else { Err(error) };
            }
            match self.files.sync_dir(name.parent().unwrap_or(&self.root)) {
                Err(error) if is_absent(&error) => return Ok(()),
                other => other?,
            }
        }
        let mut names = self.names.lock();
        // A directory that was removed and made again since would pass for the one before.
        if removals == Some(names.removals) {
            names.durable.extend(unsure.into_iter().map(Path::to_owned));
        }
        Ok(())
    }

    fn list(&self, prefix: &str) -> io::Result<Vec<BlobEntry>> {
        let deepest = prefix.rsplit_once('/').map_or("", |(dir, _)| dir);
        let mut found = Vec::new();
        let mut dirs = vec![deepest.to_owned()];
        while let Some(dir) = dirs.pop() {
            let entries = match self.files.list(&self.path(&dir)) {
                Ok(entries) => entries,
                Err(error) if is_absent(&error) => continue,
                Err(error) => return Err(error),
            };
            for entry in entries {
                let key = if dir.is_empty() { entry.name } else { format!("{dir}/{}", entry.name) };
                if key.starts_with('.') {
                    continue;
                }
                if entry.is_dir {
                    // A directory is entered if keys in it can have the prefix.
                    if key.starts_with(prefix) || prefix.starts_with(&format!("{key}/")) {
                        dirs.push(key);
                    }
                } else if key.starts_with(prefix) {
                    found.push(BlobEntry { key, size_bytes: entry.size_bytes });
                }
            }
        }
        found.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        Ok(found)
    }

    fn delete(&self, key: &str) -> io::Result<()> {
        let path = self.path(key);
        match self.files.remove(&path) {
            Err(error) if is_absent(&error) => return Ok(()),
            Err(error) => return Err(error),
            Ok(()) => {}
        }
        // Directories that became empty go, so that listings stay short; one that is not empty refuses.
        let above = path.ancestors().skip(1).take_while(|dir| *dir != self.root).collect::<Vec<_>>();
        {
            let mut names = self.names.lock();
            names.removing += 1;
            names.removals += 1;
            for dir in &above {
                names.durable.remove(*dir);
            }
        }
        for dir in above {
            if self.files.remove_dir(dir).is_err() {
                break;
            }
        }
        self.names.lock().removing -= 1;
        Ok(())
    }
}

/// Whether a name does not lead to anything; a file where a directory would have to be leads nowhere either.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Runs blocking work on the object or directory `key`.
async fn run<T: Send + 'static>(
    doing: Doing,
    key: &str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Error> {
    let ended = heavy("work with local objects", work).await.map_err(io::Error::other);
    ended.and_then(|done| done).map_err(|source| {
        let key = key.to_owned();
        match source.kind() {
            io::ErrorKind::AlreadyExists if doing == Doing::Create => Error::Exists { key },
            _ if doing == Doing::Read
                && (is_absent(&source) || source.kind() == io::ErrorKind::IsADirectory) =>
            {
                Error::NotFound { key }
            }
            _ => Error::Local { doing, key, source },
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SeededRng;
    use crate::blob::conformance;
    use crate::disk::SimFiles;

    #[tokio::test]
    async fn simulated_files_keep_the_contract() {
        let blobs = LocalBlobs::open_in(SimFiles::new(), "/data/blobs", SeededRng::new(1)).await.unwrap();
        conformance::run(blobs).await;
    }

    #[tokio::test]
    async fn a_directory_keeps_the_contract() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = LocalBlobs::open(dir.path().join("blobs"), SeededRng::new(1)).await.unwrap();
        conformance::run(blobs).await;
    }

    #[tokio::test]
    async fn objects_are_there_after_reopening_and_unfinished_ones_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = LocalBlobs::open(dir.path(), SeededRng::new(1)).await.unwrap();
        blobs.create("a/b", Bytes::from("x")).await.unwrap();
        let unfinished = dir.path().join(UNFINISHED).join("left");
        std::fs::write(&unfinished, "half").unwrap();

        let blobs = LocalBlobs::open(dir.path(), SeededRng::new(1)).await.unwrap();

        assert!(!unfinished.exists());
        assert_eq!(blobs.list("").await.unwrap(), [BlobEntry { key: "a/b".to_owned(), size_bytes: 1 }]);
    }

    #[tokio::test]
    async fn a_create_that_lost_leaves_nothing_behind_and_deleting_clears_directories() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = LocalBlobs::open(dir.path(), SeededRng::new(1)).await.unwrap();
        blobs.create("a/b/c", Bytes::from("x")).await.unwrap();
        blobs.create("a/b/c", Bytes::from("y")).await.unwrap_err();

        blobs.delete("a/b/c").await.unwrap();

        let names = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(names.collect::<Vec<_>>(), [UNFINISHED]);
        assert_eq!(std::fs::read_dir(dir.path().join(UNFINISHED)).unwrap().count(), 0);
    }
}
