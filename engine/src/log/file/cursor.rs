//! A walk along one log file, checking every byte.

use std::sync::Arc;

use bytes::Bytes;

use super::codec::{FILE_HEADER_BYTES, FileHeader, RECORD_HEADER_BYTES, RecordHeader};
use crate::disk::Disk;
use crate::log::error::{Doing, Error};

/// How much is read at once. Unit: bytes.
const WINDOW_BYTES: usize = 1 << 20;
/// Payloads up to this length are copied out of what was read, so that a small one does not hold the rest in memory.
const COPY_BYTES: usize = 64 << 10;

/// What comes next in a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A whole record, as it was written.
    Record { position: u64, payload: Bytes },
    /// Nothing: the file ends here.
    End,
    /// Something else, for this reason.
    Bad(&'static str),
}

/// A walk along one log file.
pub(super) struct Cursor {
    disk: Arc<dyn Disk>,
    file: String,
    seed: u32,
    /// Where the next record begins. Unit: bytes.
    offset: u64,
    /// The position that the next record must have.
    position: u64,
    window: Bytes,
    window_offset: u64,
}

impl Cursor {
    /// A walk along `file` from its first record, after its header was checked.
    pub async fn open(disk: Arc<dyn Disk>, file: String, header: FileHeader) -> Result<Self, Error> {
        let found = read(disk.as_ref(), &file, 0, FILE_HEADER_BYTES).await?;
        if let Err(why) = header.check(&found) {
            return Err(Error::Damaged { file, offset: 0, why });
        }
        Ok(Self {
            disk,
            file,
            seed: header.seed(),
            offset: FILE_HEADER_BYTES as u64,
            position: header.base,
            window: Bytes::new(),
            window_offset: 0,
        })
    }

    /// The file's path.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The CRC that records of this file start from.
    pub fn seed(&self) -> u32 {
        self.seed
    }

    /// Where the next record begins. Unit: bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The position that the next record must have.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Takes one step within the first `limit` bytes of the file. Cancel safe; a bad step and an end can be repeated.
    pub async fn step(&mut self, limit: u64) -> Result<Step, Error> {
        if self.offset >= limit {
            return Ok(Step::End);
        }
        let head = self.bytes(self.offset, RECORD_HEADER_BYTES, limit).await?;
        let Some((header, crc)) = RecordHeader::decode(&head) else {
            return Ok(Step::Bad("a record header is incomplete"));
        };
        if header.position != self.position {
            return Ok(Step::Bad("a record has another position than expected"));
        }
        let after_head = self.offset + RECORD_HEADER_BYTES as u64;
        // Compared before reading, so that a damaged length does not make a huge buffer.
        if u64::from(header.length) > limit - after_head {
            return Ok(Step::Bad("a record is incomplete"));
        }
        let length = header.length as usize;
        let payload = self.bytes(after_head, length, limit).await?;
        if payload.len() < length {
            return Ok(Step::Bad("a record is incomplete"));
        }
        if header.crc(self.seed, &payload) != crc {
            return Ok(Step::Bad("a record's checksum is wrong"));
        }
        self.offset = after_head + u64::from(header.length);
        self.position += 1;
        let payload = if length <= COPY_BYTES { Bytes::copy_from_slice(&payload) } else { payload };
        Ok(Step::Record { position: header.position, payload })
    }

    /// `len` bytes from `offset` on, fewer where the file or `limit` ends before.
    async fn bytes(&mut self, offset: u64, len: usize, limit: u64) -> Result<Bytes, Error> {
        let cap = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let len = len.min(cap(limit.saturating_sub(offset)));
        if let Some(found) = self.in_window(offset, len) {
            return Ok(found);
        }
        let ahead = len.max(WINDOW_BYTES).min(cap(limit - offset));
        let window = read(self.disk.as_ref(), &self.file, offset, ahead).await?;
        self.window = window;
        self.window_offset = offset;
        Ok(self.window.slice(..len.min(self.window.len())))
    }

    fn in_window(&self, offset: u64, len: usize) -> Option<Bytes> {
        let start = usize::try_from(offset.checked_sub(self.window_offset)?).ok()?;
        let end = start.checked_add(len)?;
        (end <= self.window.len()).then(|| self.window.slice(start..end))
    }
}

/// Reads a part of a file.
pub(super) async fn read(disk: &dyn Disk, file: &str, offset: u64, len: usize) -> Result<Bytes, Error> {
    disk.read(file, offset, len).await.map_err(|source| failed(Doing::Read, file, source))
}

/// The error for a failed file operation.
pub(super) fn failed(doing: Doing, file: &str, source: std::io::Error) -> Error {
    Error::File { doing, file: file.to_owned(), source: Arc::new(source) }
}
