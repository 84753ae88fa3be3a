//! Bytes that lie in files instead of in memory, and are read as if they were there.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use memmap2::{Advice, MmapOptions};

/// A folder for files without names: nobody else can open one, and it is gone with its last reader, however that ends.
///
/// What is read of a file stays in the system's page cache, which gives it up when memory is short. A disk that fails while
/// such bytes are read ends the process (SIGBUS), as it does for whoever maps files.
#[derive(Debug)]
pub struct Scratch {
    folder: PathBuf,
}

impl Scratch {
    /// Makes the folder where it is missing, and tries it with a file. Blocks.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(folder: PathBuf) -> io::Result<Arc<Self>> {
        std::fs::create_dir_all(&folder)?;
        let scratch = Self { folder };
        let mut probe = scratch.file()?;
        probe.push(b"x")?;
        probe.finish()?;
        Ok(Arc::new(scratch))
    }

    /// An empty file. Blocks.
    ///
    /// # Errors
    /// What the system says.
    pub fn file(&self) -> io::Result<ScratchFile> {
        Ok(ScratchFile { file: tempfile::tempfile_in(&self.folder)?, size: 0 })
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

    /// All that is in, at an address that a page begins at. Single rows of it are going to be read, in no order.
    ///
    /// # Errors
    /// What the system says.
    #[allow(unsafe_code, reason = "only a mapping reads a file as memory")]
    pub fn finish(self) -> io::Result<Bytes> {
        if self.size == 0 {
            return Ok(Bytes::new());
        }
        // SAFETY: the file has no name, was made by this process for this struct, which is used up here, and is never written
        // again: its bytes stay as they are for as long as they are mapped.
        let map = unsafe { MmapOptions::new().map(&self.file)? };
        map.advise(Advice::Random)?;
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
        let bytes = file.finish().unwrap();

        assert_eq!((size, bytes.len(), bytes.as_ptr().align_offset(4096)), (10_005, 10_005, 0));
        assert_eq!((&bytes[..5], &bytes[5..]), (&b"some "[..], &[7; 10_000][..]));
        assert_eq!(std::fs::read_dir(folder.path().join("a/b")).unwrap().count(), 0);
        assert!(scratch.file().unwrap().finish().unwrap().is_empty());
    }

    #[test]
    fn a_folder_that_cannot_be_used_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, b"").unwrap();

        assert!(Scratch::open(file.join("below")).is_err());
    }
}
