//! Objects as files of one directory.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::base::Rng;

use super::key::{bad_range, check_key, check_prefix};
use super::{BlobEntry, Blobs, Doing, Error};

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
}

impl LocalBlobs {
    /// The store in the directory `root`, made if missing.
    ///
    /// # Errors
    /// Kinds of the file system.
    pub async fn open(root: impl Into<PathBuf>, rng: Arc<dyn Rng>) -> Result<Arc<Self>, Error> {
        let root = root.into();
        let name = root.display().to_string();
        let place = Arc::new(Place { root, rng });
        let opened = place.clone();
        run(Doing::Open, &name, move || opened.prepare()).await?;
        Ok(Arc::new(Self { place }))
    }

    /// A view of a directory that another process uses: only to read and to list.
    #[must_use]
    pub fn view(root: impl Into<PathBuf>, rng: Arc<dyn Rng>) -> Arc<Self> {
        Arc::new(Self { place: Arc::new(Place { root: root.into(), rng }) })
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
        let path = self.place.path(key);
        run(Doing::Read, key, move || std::fs::read(path).map(Bytes::from)).await
    }

    async fn read_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, Error> {
        check_key(key)?;
        if range.start == range.end {
            return Ok(Bytes::new());
        }
        let (path, wanted) = (self.place.path(key), range.clone());
        let read = run(Doing::Read, key, move || read_part(&path, wanted)).await?;
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
    fn path(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }

    /// Makes the directories and removes what an earlier process left unfinished.
    fn prepare(&self) -> io::Result<()> {
        let unfinished = self.root.join(UNFINISHED);
        std::fs::create_dir_all(&unfinished)?;
        for entry in std::fs::read_dir(&unfinished)? {
            std::fs::remove_file(entry?.path())?;
        }
        sync_dir(&self.root)?;
        // The root itself may be new, too.
        self.root.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or(Ok(()), sync_dir)
    }

    fn create(&self, key: &str, body: &[u8]) -> io::Result<()> {
        let path = self.path(key);
        // The usual loser of a race is seen before it writes the body; the link below decides.
        if path.exists() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let name = format!("{:016x}{:016x}", self.rng.next_u64(), self.rng.next_u64());
        let unfinished = self.root.join(UNFINISHED).join(name);
        let created = self.write_and_link(body, &unfinished, &path);
        // Left behind, it is removed at the next start.
        drop(std::fs::remove_file(&unfinished));
        created
    }

    fn write_and_link(&self, body: &[u8], unfinished: &Path, path: &Path) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).open(unfinished)?;
        file.write_all(body)?;
        file.sync_all()?;
        drop(file);
        let parent = path.parent().unwrap_or(&self.root);
        for attempt in 1.. {
            self.make_dirs(parent)?;
            match std::fs::hard_link(unfinished, path) {
                // A delete has just removed the directory because it was empty.
                Err(error) if error.kind() == io::ErrorKind::NotFound && attempt < ATTEMPTS => {}
                Err(error) => return Err(error),
                Ok(()) => break,
            }
        }
        sync_dir(parent)
    }

    /// Makes a directory below the root with those above it, durably.
    fn make_dirs(&self, dir: &Path) -> io::Result<()> {
        if dir == self.root || dir.is_dir() {
            return Ok(());
        }
        let parent = dir.parent().unwrap_or(&self.root);
        self.make_dirs(parent)?;
        match std::fs::create_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
            // Removed under this create, which looks again.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
            Ok(()) => {}
        }
        sync_dir(parent)
    }

    fn list(&self, prefix: &str) -> io::Result<Vec<BlobEntry>> {
        let deepest = prefix.rsplit_once('/').map_or("", |(dir, _)| dir);
        let mut found = Vec::new();
        let mut dirs = vec![deepest.to_owned()];
        while let Some(dir) = dirs.pop() {
            let entries = match std::fs::read_dir(self.path(&dir)) {
                Ok(entries) => entries,
                Err(error) if is_absent(&error) => continue,
                Err(error) => return Err(error),
            };
            for entry in entries {
                let entry = entry?;
                let Ok(name) = entry.file_name().into_string() else { continue };
                let key = if dir.is_empty() { name } else { format!("{dir}/{name}") };
                if key.starts_with('.') {
                    continue;
                }
                match entry.metadata() {
                    // A directory is entered if keys in it can have the prefix.
                    Ok(metadata) if metadata.is_dir() => {
                        if key.starts_with(prefix) || prefix.starts_with(&format!("{key}/")) {
                            dirs.push(key);
                        }
                    }
                    Ok(metadata) if key.starts_with(prefix) => {
                        found.push(BlobEntry { key, size_bytes: metadata.len() });
                    }
                    Ok(_) => {}
                    Err(error) if is_absent(&error) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        found.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        Ok(found)
    }

    fn delete(&self, key: &str) -> io::Result<()> {
        let path = self.path(key);
        match std::fs::remove_file(&path) {
            Err(error) if is_absent(&error) => return Ok(()),
            Err(error) => return Err(error),
            Ok(()) => {}
        }
        // Directories that became empty go, so that listings stay short; one that is not empty refuses.
        let above = path.ancestors().skip(1).take_while(|dir| *dir != self.root);
        for dir in above {
            if std::fs::remove_dir(dir).is_err() {
                break;
            }
        }
        Ok(())
    }
}

/// The bytes `range` of a file, or `None` if it does not have them.
fn read_part(path: &Path, range: Range<u64>) -> io::Result<Option<Bytes>> {
    let mut file = File::open(path)?;
    if range.start > range.end || range.end > file.metadata()?.len() {
        return Ok(None);
    }
    let Ok(len) = usize::try_from(range.end - range.start) else { return Ok(None) };
    let mut part = vec![0; len];
    file.seek(SeekFrom::Start(range.start))?;
    file.read_exact(&mut part)?;
    Ok(Some(part.into()))
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
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
    let ended = tokio::task::spawn_blocking(work).await.map_err(io::Error::other);
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
