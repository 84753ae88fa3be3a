//! Files to import: where they are, and reading them piece by piece.
//!
//! A path is that of an object in the bucket, as Milvus has it; one that is not there may also be below the root path, where
//! all is that is ours. What we keep ourselves is no file to import.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Handle;

use super::Error;
use crate::base::{Kind, Kinded as _};
use crate::blob::{BlobEntry, Blobs, Outside};

/// Most bytes of one file. Source: wire specification 7.
const MAX_FILE_BYTES: u64 = 16 << 30;
/// Most files of one set.
const MAX_FILES: usize = 1024;
/// Folders below the root path that are ours.
const OWN: [&str; 11] = [
    "segments",
    "deletes",
    "manifests",
    "garbage",
    "imports",
    "catalog",
    "cluster",
    "finalized",
    "wal",
    "wal-channels",
    "probe",
];
/// Bytes that are asked for at once.
const PIECE_BYTES: u64 = 1 << 20;

/// Where files to import are. Its calls wait on the thread that makes them, which must not be one of the runtime's.
pub struct Bucket {
    own: Arc<dyn Blobs>,
    outside: Option<Outside>,
    runtime: Handle,
}

impl Bucket {
    /// The bucket that `own` is in.
    pub fn new(own: Arc<dyn Blobs>, runtime: Handle) -> Self {
        let outside = own.outside();
        Self { own, outside, runtime }
    }

    /// Waits for `work`.
    pub fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// The files that paths name, in their order; of a folder, whose path ends with a slash, those that are in it.
    ///
    /// # Errors
    /// If one is not there, is too large, or is none that may be imported.
    pub fn files(&self, paths: &[String]) -> Result<Vec<File>, Error> {
        let mut files = Vec::new();
        for path in paths {
            let found = self.find(path)?;
            if found.is_empty() {
                return Err(Error::Missing { file: path.clone() });
            }
            files.extend(found);
            if files.len() > MAX_FILES {
                return Err(Error::TooMany { limit: MAX_FILES });
            }
        }
        if let Some(file) = files.iter().find(|file| file.size > MAX_FILE_BYTES) {
            let (file, bytes) = (file.path.clone(), file.size);
            return Err(Error::TooLarge { file, bytes, limit: MAX_FILE_BYTES });
        }
        Ok(files)
    }

    fn find(&self, path: &str) -> Result<Vec<File>, Error> {
        let key = path.trim_start_matches('/');
        let refuse = |why| Error::BadPath { file: path.to_owned(), why };
        if key.is_empty() {
            return Err(refuse("it names everything"));
        }
        let in_root = match &self.outside {
            Some(Outside { root, .. }) => key.strip_prefix(root.as_str()),
            None => Some(key),
        };
        let is_own = |key: &str| OWN.iter().any(|own| key.split('/').next() == Some(own));
        if in_root.is_some_and(is_own) {
            return Err(refuse("the database keeps its own data there"));
        }
        if let (Some(Outside { blobs, .. }), None) = (&self.outside, in_root) {
            let found = self.list(blobs, path, key)?;
            if !found.is_empty() {
                return Ok(found);
            }
        }
        let key = in_root.unwrap_or(key);
        if is_own(key) {
            return Ok(Vec::new());
        }
        self.list(&self.own, path, key)
    }

    fn list(&self, blobs: &Arc<dyn Blobs>, path: &str, key: &str) -> Result<Vec<File>, Error> {
        let listed = match self.wait(blobs.list(key)) {
            Ok(listed) => listed,
            Err(error) if error.kind() == Kind::Invalid => {
                return Err(Error::BadPath { file: path.to_owned(), why: "it is no path of a file" });
            }
            Err(source) => return Err(Error::Read { file: path.to_owned(), source }),
        };
        let is_folder = key.ends_with('/');
        let is_meant = |entry: &BlobEntry| is_folder || entry.key == key;
        let files = listed.into_iter().filter(is_meant).map(|entry| {
            let within = entry.key.strip_prefix(key).unwrap_or_default();
            File {
                path: format!("{path}{within}"),
                blobs: Arc::clone(blobs),
                key: entry.key,
                size: entry.size_bytes,
                runtime: self.runtime.clone(),
            }
        });
        Ok(files.take(MAX_FILES + 1).collect())
    }
}

/// One file.
#[derive(Clone)]
pub struct File {
    /// Its path, as it was named.
    pub path: String,
    /// Unit: bytes.
    pub size: u64,
    blobs: Arc<dyn Blobs>,
    key: String,
    runtime: Handle,
}

impl File {
    /// Some of its bytes.
    ///
    /// # Errors
    /// [`Error::Read`], also if it ends before.
    pub fn read(&self, range: Range<u64>) -> Result<Bytes, Error> {
        let read = self.runtime.block_on(self.blobs.read_range(&self.key, range));
        read.map_err(|source| Error::Read { file: self.path.clone(), source })
    }

    /// Its name without folders and without what is behind the last dot.
    pub fn stem(&self) -> &str {
        let name = self.name();
        name.rsplit_once('.').map_or(name, |(stem, _)| stem)
    }

    fn name(&self) -> &str {
        self.path.rsplit_once('/').map_or(self.path.as_str(), |(_, name)| name)
    }

    /// Its bytes from `at` on, one piece after the other.
    pub fn from(&self, at: u64) -> Pieces {
        Pieces { file: self.clone(), at }
    }
}

/// A walk along a file.
pub struct Pieces {
    file: File,
    at: u64,
}

impl Pieces {
    /// The file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// As [`File::read`].
    pub fn next(&mut self) -> Result<Option<Bytes>, Error> {
        if self.at >= self.file.size {
            return Ok(None);
        }
        let end = (self.at + PIECE_BYTES).min(self.file.size);
        let piece = self.file.read(self.at..end)?;
        self.at = end;
        Ok(Some(piece))
    }
}

/// What a reader of another crate is told of a failure; [`source_of`] finds it again.
pub fn io_error(error: Error) -> io::Error {
    io::Error::other(error)
}

/// The failure inside an error of a reader, if it was one of ours.
pub fn source_of(error: io::Error) -> Result<Error, io::Error> {
    if error.get_ref().is_some_and(|inner| inner.is::<Error>()) {
        let inner = error.into_inner().and_then(|inner| inner.downcast::<Error>().ok());
        return inner.map(|inner| *inner).ok_or_else(|| io::ErrorKind::Other.into());
    }
    Err(error)
}
