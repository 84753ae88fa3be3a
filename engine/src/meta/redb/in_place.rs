//! A database file on simulated files.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use ::redb::StorageBackend;

use crate::disk::{Files as _, SimFiles};

/// The file as the library wants it, which writes it in place.
#[derive(Debug)]
pub(super) struct InPlace {
    pub files: Arc<SimFiles>,
    pub path: PathBuf,
}

impl StorageBackend for InPlace {
    fn len(&self) -> io::Result<u64> {
        Ok(self.files.look(&self.path)?.size_bytes)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let range = offset..offset + out.len() as u64;
        let found = self.files.read_part(&self.path, range)?;
        out.copy_from_slice(&found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.files.resize(&self.path, len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.files.sync(&self.path)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.files.write_at(&self.path, offset, data)
    }
}
