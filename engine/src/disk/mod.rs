//! Files of this machine as seams: the same code runs on a real disk and on one that can lose power. Knows paths and
//! bytes, not what they mean.
//!
//! [`Disk`] is what the log needs, files that only grow, in calls that wait; [`Files`] what local objects need, whole
//! files that get a name, in calls that block. [`Scratch`] is for bytes that are mapped, and have no other life.

mod files;
mod os;
mod scratch;
mod sim;
mod sim_files;

use std::io;

use async_trait::async_trait;
use bytes::Bytes;

pub use files::{Files, OsFiles, make_dirs, sync_names_above};
pub use os::OsDisk;
pub use scratch::{Reads, Reserved, Scratch, ScratchFile};
pub use sim::SimDisk;
pub use sim_files::SimFiles;

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskEntry {
    /// The last part of its path.
    pub name: String,
    /// Length of a file, 0 for a directory. Unit: bytes.
    pub size_bytes: u64,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// Files under one root, by paths relative to it with `/` between the parts.
///
/// What a crash of the machine may undo: bytes appended or cut since the file's last `sync`, and names made or removed
/// since the directory's last `sync_dir`. Of bytes appended, any part may be left, in any order and with holes.
///
/// Calls are not cancel safe: a dropped call may still happen later.
#[async_trait]
pub trait Disk: Send + Sync + 'static {
    /// Makes a directory in the root; no error if it is there. Durable after `sync_dir("")`.
    ///
    /// # Errors
    /// What the system says.
    async fn create_dir(&self, dir: &str) -> io::Result<()>;

    /// Makes an empty file. Durable after `sync_dir` of its directory.
    ///
    /// # Errors
    /// `AlreadyExists` if the name is taken.
    async fn create(&self, file: &str) -> io::Result<()>;

    /// Writes `chunks` one after the other at the end of a file. Durable after `sync`. After an error any part of
    /// them may be there.
    ///
    /// # Errors
    /// What the system says.
    async fn append(&self, file: &str, chunks: Vec<Bytes>) -> io::Result<()>;

    /// Makes a file's bytes and length durable. After an error nothing is known about what is durable, and calling
    /// again does not help.
    ///
    /// # Errors
    /// What the system says.
    async fn sync(&self, file: &str) -> io::Result<()>;

    /// The bytes from `offset` on, `len` of them or as many as there are.
    ///
    /// # Errors
    /// `NotFound` if there is no such file.
    async fn read(&self, file: &str, offset: u64, len: usize) -> io::Result<Bytes>;

    /// The names in a directory, ascending; `""` is the root.
    ///
    /// # Errors
    /// `NotFound` if there is no such directory.
    async fn list(&self, dir: &str) -> io::Result<Vec<DiskEntry>>;

    /// Cuts a file to its first `size_bytes`. Durable after `sync`.
    ///
    /// # Errors
    /// What the system says.
    async fn truncate(&self, file: &str, size_bytes: u64) -> io::Result<()>;

    /// Removes a file; no error if there is none. Durable after `sync_dir` of its directory.
    ///
    /// # Errors
    /// What the system says.
    async fn remove(&self, file: &str) -> io::Result<()>;

    /// Removes an empty directory; no error if there is none. Durable after `sync_dir("")`.
    ///
    /// # Errors
    /// What the system says.
    async fn remove_dir(&self, dir: &str) -> io::Result<()>;

    /// Makes the names in a directory durable; `""` is the root.
    ///
    /// # Errors
    /// What the system says.
    async fn sync_dir(&self, dir: &str) -> io::Result<()>;
}
