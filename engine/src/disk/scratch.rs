//! Bytes that lie in files instead of in memory, and are read as if they were there.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use memmap2::{Advice, MmapOptions};

/// What is left free of the volume: this part of it, and no more than so many bytes.
const LEFT_FREE_PART: u64 = 10;
const LEFT_FREE_MOST: u64 = 4 << 30;

/// How the bytes of a file are going to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// From the first to the last, again and again.
    InOrder,
    /// Some of them, in no order.
    Single,
}

/// A folder for files without names: nobody else can open one, and it is gone with its last reader, however that ends.
///
/// What is read of a file stays in the system's page cache, which gives it up when memory is short. A disk that fails while
/// such bytes are read ends the process (SIGBUS), as it does for whoever maps files.
#[derive(Debug)]
pub struct Scratch {
    folder: PathBuf,
    /// What files that are being filled may still take. Unit: bytes.
    promised: Arc<AtomicU64>,
}

impl Scratch {
    /// Makes the folder where it is missing, and tries it with a file. Blocks.
    ///
    /// # Errors
    /// What the system says; `Unsupported` where files are held in memory.
    pub fn open(folder: PathBuf) -> io::Result<Arc<Self>> {
        std::fs::create_dir_all(&folder)?;
        let scratch = Self { folder, promised: Arc::default() };
        let mut probe = scratch.file()?;
        probe.push(b"x")?;
        probe.finish(Reads::Single)?;
        Ok(Arc::new(scratch))
    }

    /// Whether the files of the folder are held in memory, which they are to spare. Blocks.
    ///
    /// # Errors
    /// What the system says.
    pub fn is_in_memory(&self) -> io::Result<bool> {
        /// `TMPFS_MAGIC` and `RAMFS_MAGIC` of Linux.
        const KINDS: [u64; 2] = [0x0102_1994, 0x8584_58f6];
        let kind = rustix::fs::statfs(&self.folder)?.f_type;
        // The number has another width on other machines.
        Ok(u64::try_from(kind).is_ok_and(|kind| KINDS.contains(&kind)))
    }

    /// Room for so many bytes besides what has been promised and what the volume is to keep free: a tenth of it, at most 4 GiB.
    /// `None` if there is not as much. Blocks.
    ///
    /// # Errors
    /// What the system says.
    pub fn reserve(&self, bytes: u64) -> io::Result<Option<Reserved>> {
        let volume = rustix::fs::statvfs(&self.folder)?;
        let bytes_of = |blocks: u64| blocks.saturating_mul(volume.f_frsize);
        let left_free = (bytes_of(volume.f_blocks) / LEFT_FREE_PART).min(LEFT_FREE_MOST);
        let free = bytes_of(volume.f_bavail).saturating_sub(left_free);
        let add = |promised: u64| promised.checked_add(bytes).filter(|all| *all <= free);
        let promised = self.promised.fetch_update(Ordering::AcqRel, Ordering::Acquire, add);
        Ok(promised.is_ok().then(|| Reserved { promised: Arc::clone(&self.promised), bytes }))
    }

    /// An empty file. Blocks.
    ///
    /// # Errors
    /// What the system says.
    pub fn file(&self) -> io::Result<ScratchFile> {
        Ok(ScratchFile { file: tempfile::tempfile_in(&self.folder)?, size: 0 })
    }
}

/// Room that is promised while files are filled; what they took by then shows in the volume itself.
#[derive(Debug)]
pub struct Reserved {
    promised: Arc<AtomicU64>,
    /// Unit: bytes.
    bytes: u64,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.promised.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// A file that is being filled.
#[derive(Debug)]
pub struct ScratchFile {
    file: File,
    /// Unit: bytes.
    size: u64,
}

impl ScratchFile {
    /// Adds bytes at the end. Blocks.
    ///
    /// # Errors
    /// What the system says; a full disk is `StorageFull`.
    pub fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// How much is in. Unit: bytes.
    #[must_use]
    pub const fn size_bytes(&self) -> u64 {
        self.size
    }

    /// All that is in, at an address that a page begins at. It is on the disk by then: what could not be written is told here, and
    /// does not read as zeros later. Blocks.
    ///
    /// # Errors
    /// What the system says.
    #[expect(unsafe_code, reason = "only a mapping reads a file as memory")]
    pub fn finish(self, reads: Reads) -> io::Result<Bytes> {
        if self.size == 0 {
            return Ok(Bytes::new());
        }
        self.file.sync_data()?;
        // SAFETY: the file has no name, was made by this process for this struct, which is used up here, and is never written
        // again: its bytes stay as they are for as long as they are mapped.
        let map = unsafe { MmapOptions::new().map(&self.file)? };
        if reads == Reads::Single {
            // A system that takes no advice only reads more than is asked for.
            let _ = map.advise(Advice::Random);
        }
        Ok(Bytes::from_owner(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_pushed_is_read_and_leaves_no_name() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = Scratch::open(folder.path().join("a/b")).unwrap();

        let mut file = scratch.file().unwrap();
        file.push(b"some ").unwrap();
        file.push(&[7; 10_000]).unwrap();
        let size = file.size_bytes();
        let bytes = file.finish(Reads::Single).unwrap();

        assert_eq!((size, bytes.len(), bytes.as_ptr().align_offset(4096)), (10_005, 10_005, 0));
        assert_eq!((&bytes[..5], &bytes[5..]), (&b"some "[..], &[7; 10_000][..]));
        assert_eq!(std::fs::read_dir(folder.path().join("a/b")).unwrap().count(), 0);
        assert!(scratch.file().unwrap().finish(Reads::InOrder).unwrap().is_empty());
    }

    #[test]
    fn a_folder_that_cannot_be_used_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, b"").unwrap();

        assert!(Scratch::open(file.join("below")).is_err());
    }

    #[test]
    fn no_more_is_promised_than_the_volume_can_spare() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = Scratch::open(folder.path().to_owned()).unwrap();

        assert!(scratch.reserve(u64::MAX).unwrap().is_none());
        assert!(scratch.reserve(1 << 60).unwrap().is_none());
        let one = scratch.reserve(1).unwrap();
        assert_eq!((one.is_some(), scratch.promised.load(Ordering::Acquire)), (true, 1));
        drop(one);
        assert_eq!(scratch.promised.load(Ordering::Acquire), 0);
    }
}
