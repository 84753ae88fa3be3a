//! Files of the operating system.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use super::{Disk, DiskEntry, OsFiles, make_dirs};

/// The file whose lock says that a process uses the directory.
const LOCK: &str = ".lock";

/// A directory of the operating system, used by one process at a time.
#[derive(Debug)]
pub struct OsDisk {
    root: PathBuf,
    /// Files being written. One handle per file, so that a failed write-back is reported to who wrote.
    open: Mutex<HashMap<String, Arc<File>>>,
    /// Held locked; the lock ends with the handle.
    _lock: File,
    /// Of the directory around it: let go of last.
    _outer: Option<Arc<File>>,
}

impl OsDisk {
    /// The directory `root`, made if missing, and locked against other processes as long as this value lives.
    ///
    /// # Errors
    /// `ResourceBusy` if another process uses the directory; otherwise what the system says.
    pub async fn open(root: impl Into<PathBuf>) -> io::Result<Arc<Self>> {
        Self::open_locked(root, None).await
    }

    /// The same, which lets go of `outer` only once this directory is free.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_locked(root: impl Into<PathBuf>, outer: Option<Arc<File>>) -> io::Result<Arc<Self>> {
        let root = root.into();
        run(move || {
            make_dirs(&OsFiles, &root)?;
            let lock = OpenOptions::new().create(true).truncate(false).write(true).open(root.join(LOCK))?;
            match lock.try_lock() {
                Ok(()) => Ok(Arc::new(Self { root, open: Mutex::default(), _lock: lock, _outer: outer })),
                Err(std::fs::TryLockError::WouldBlock) => {
                    let why = format!("another process uses {}", root.display());
                    Err(io::Error::new(io::ErrorKind::ResourceBusy, why))
                }
                Err(std::fs::TryLockError::Error(source)) => Err(source),
            }
        })
        .await
    }

    fn path(&self, relative: &str) -> PathBuf {
        if relative.is_empty() { self.root.clone() } else { self.root.join(relative) }
    }

    /// The handle through which `file` is written.
    fn handle(&self, file: &str) -> io::Result<Arc<File>> {
        if let Some(handle) = self.open.lock().get(file) {
            return Ok(handle.clone());
        }
        let handle = Arc::new(OpenOptions::new().append(true).open(self.path(file))?);
        Ok(self.open.lock().entry(file.to_owned()).or_insert(handle).clone())
    }
}

#[async_trait]
impl Disk for OsDisk {
    async fn create_dir(&self, dir: &str) -> io::Result<()> {
        let path = self.path(dir);
        run(move || std::fs::create_dir_all(path)).await
    }

    async fn create(&self, file: &str) -> io::Result<()> {
        let path = self.path(file);
        run(move || OpenOptions::new().append(true).create_new(true).open(path).map(drop)).await
    }

    async fn append(&self, file: &str, chunks: Vec<Bytes>) -> io::Result<()> {
        let handle = self.handle(file)?;
        run(move || write_all(&handle, &chunks)).await
    }

    async fn sync(&self, file: &str) -> io::Result<()> {
        let handle = self.handle(file)?;
        run(move || handle.sync_data()).await
    }

    async fn read(&self, file: &str, offset: u64, len: usize) -> io::Result<Bytes> {
        let path = self.path(file);
        run(move || read_up_to(&path, offset, len)).await
    }

    async fn list(&self, dir: &str) -> io::Result<Vec<DiskEntry>> {
        let path = self.path(dir);
        run(move || {
            let mut entries = Vec::new();
            for entry in std::fs::read_dir(path)? {
                let entry = entry?;
                let metadata = entry.metadata()?;
                let name = entry.file_name().to_string_lossy().into_owned();
                let is_dir = metadata.is_dir();
                let size_bytes = if is_dir { 0 } else { metadata.len() };
                if name != LOCK {
                    entries.push(DiskEntry { name, size_bytes, is_dir });
                }
            }
            entries.sort_by(|one, other| one.name.cmp(&other.name));
            Ok(entries)
        })
        .await
    }

    async fn truncate(&self, file: &str, size_bytes: u64) -> io::Result<()> {
        let handle = self.handle(file)?;
        run(move || handle.set_len(size_bytes)).await
    }

    async fn remove(&self, file: &str) -> io::Result<()> {
        self.open.lock().remove(file);
        let path = self.path(file);
        run(move || gone(std::fs::remove_file(path))).await
    }

    async fn remove_dir(&self, dir: &str) -> io::Result<()> {
        let path = self.path(dir);
        run(move || gone(std::fs::remove_dir(path))).await
    }

    async fn sync_dir(&self, dir: &str) -> io::Result<()> {
        let path = self.path(dir);
        run(move || File::open(path)?.sync_all()).await
    }
}

/// Runs a blocking file operation where it may block.
async fn run<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// Being gone already is as good as being removed.
fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn write_all(mut file: &File, chunks: &[Bytes]) -> io::Result<()> {
    let mut slices = chunks.iter().map(|chunk| IoSlice::new(chunk)).collect::<Vec<_>>();
    let mut left = slices.as_mut_slice();
    // Leading empty slices would make a write of nothing look like a full disk.
    IoSlice::advance_slices(&mut left, 0);
    while !left.is_empty() {
        match file.write_vectored(left) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut left, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn read_up_to(path: &Path, offset: u64, len: usize) -> io::Result<Bytes> {
    let file = File::open(path)?;
    let left = file.metadata()?.len().saturating_sub(offset);
    let len = len.min(usize::try_from(left).unwrap_or(usize::MAX));
    let mut buffer = vec![0; len];
    let mut filled = 0;
    while filled < len {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(filled);
    Ok(buffer.into())
}
