//! The files of the cache: how a copy looks on the disk, and the folder.
//!
//! A file is a head, the key and the body: `RKCOPY01`, length of the key (u32), length of the body (u64), CRC-32 of
//! the body, CRC-32 of all that and the key; numbers are little-endian.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

const MAGIC: &[u8; 8] = b"RKCOPY01";
/// Length of the head before the key. Unit: bytes.
const FIXED_BYTES: usize = 28;
/// No key is longer. Unit: bytes.
const MAX_KEY_BYTES: usize = 900;
/// What unfinished files begin with.
const UNFINISHED: &str = ".new-";
/// The file that says who uses the folder.
const LOCK: &str = ".lock";

/// What stands before the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub key: String,
    /// Unit: bytes.
    pub body_bytes: u64,
    pub crc: u32,
}

impl Head {
    /// The head for `body` under `key`.
    pub fn of(key: &str, body: &[u8]) -> Self {
        Self { key: key.to_owned(), body_bytes: body.len() as u64, crc: crc32fast::hash(body) }
    }

    /// Length of the head with the key. Unit: bytes.
    pub fn len(&self) -> u64 {
        (FIXED_BYTES + self.key.len()) as u64
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FIXED_BYTES + self.key.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&u32::try_from(self.key.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend_from_slice(&self.body_bytes.to_le_bytes());
        bytes.extend_from_slice(&self.crc.to_le_bytes());
        let mut check = crc32fast::Hasher::new();
        check.update(&bytes);
        check.update(self.key.as_bytes());
        bytes.extend_from_slice(&check.finalize().to_le_bytes());
        bytes.extend_from_slice(self.key.as_bytes());
        bytes
    }

    /// The head at the beginning of `bytes`; `None` if there is none or it is torn.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (fixed, rest) = bytes.split_at_checked(FIXED_BYTES)?;
        let number = |range: Range<usize>| fixed[range].try_into().map(u32::from_le_bytes).ok();
        let key_bytes = usize::try_from(number(8..12)?).ok()?;
        let key = rest.get(..key_bytes).filter(|_| key_bytes <= MAX_KEY_BYTES)?;
        let mut check = crc32fast::Hasher::new();
        check.update(&fixed[..24]);
        check.update(key);
        if &fixed[..8] != MAGIC || check.finalize() != number(24..28)? {
            return None;
        }
        let key = std::str::from_utf8(key).ok()?.to_owned();
        let body_bytes = u64::from_le_bytes(fixed[12..20].try_into().ok()?);
        Some(Self { key, body_bytes, crc: number(20..24)? })
    }
}

/// One file as a listing of the folder shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub file: String,
    /// Unit: bytes.
    pub size_bytes: u64,
    /// Unit: ms since 1970.
    pub marked_ms: u64,
    /// The beginning of the file, as long as a head can be.
    pub beginning: Vec<u8>,
}

/// The folder, as the cache needs it; tests put failing ones here. All calls block.
pub(super) trait Disk: Send + Sync + 'static {
    /// Every file that may be a copy. Removes what is unfinished and sees no foreign files.
    fn list(&self) -> io::Result<Vec<Found>>;
    /// Makes a file of two parts under a name that is free. A crash leaves it out, torn or whole.
    fn write(&self, file: &str, head: &[u8], body: &[u8], now_ms: u64) -> io::Result<()>;
    /// The bytes `range` of a file.
    fn read(&self, file: &str, range: Range<u64>) -> io::Result<Vec<u8>>;
    /// Marks a file as used now.
    fn mark(&self, file: &str, now_ms: u64) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, file: &str) -> io::Result<()>;
}

/// A folder that this process has for itself.
pub(super) struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes the folder if need be and keeps other processes out.
    pub fn open(path: PathBuf) -> io::Result<Self> {
        std::fs::create_dir_all(&path)?;
        let lock = File::create(path.join(LOCK))?;
        lock.try_lock().map_err(|error| match error {
            std::fs::TryLockError::WouldBlock => {
                io::Error::new(io::ErrorKind::ResourceBusy, "another process uses the folder")
            }
            std::fs::TryLockError::Error(source) => source,
        })?;
        Ok(Self { path, _lock: lock })
    }
}

/// The name of the file with that number.
pub(super) fn name_of(number: u64) -> String {
    format!("{number:016x}")
}

/// The number in a file's name; `None` if no copy is named so.
pub(super) fn number_of(file: &str) -> Option<u64> {
    let is_name = file.len() == 16 && file.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(file, 16).ok().filter(|_| is_name)
}

fn time_of(unix_ms: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(unix_ms)
}

impl Disk for Folder {
    fn list(&self) -> io::Result<Vec<Found>> {
        let mut all = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            let entry = entry?;
            let Ok(file) = entry.file_name().into_string() else { continue };
            let metadata = entry.metadata()?;
            if file.starts_with(UNFINISHED) {
                std::fs::remove_file(entry.path())?;
            }
            if number_of(&file).is_none() || !metadata.is_file() {
                continue;
            }
            let marked = metadata.modified()?.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let mut beginning = Vec::new();
            let most = (FIXED_BYTES + MAX_KEY_BYTES) as u64;
            File::open(entry.path())?.take(most).read_to_end(&mut beginning)?;
            let marked_ms = u64::try_from(marked.as_millis()).unwrap_or(0);
            all.push(Found { file, size_bytes: metadata.len(), marked_ms, beginning });
        }
        Ok(all)
    }

    fn write(&self, file: &str, head: &[u8], body: &[u8], now_ms: u64) -> io::Result<()> {
        let unfinished = self.path.join(format!("{UNFINISHED}{file}"));
        let write = || {
            let mut new = OpenOptions::new().write(true).create_new(true).open(&unfinished)?;
            new.write_all(head)?;
            new.write_all(body)?;
            new.set_modified(time_of(now_ms))?;
            drop(new);
            std::fs::rename(&unfinished, self.path.join(file))
        };
        write().inspect_err(|_| drop(std::fs::remove_file(&unfinished)))
    }

    fn read(&self, file: &str, range: Range<u64>) -> io::Result<Vec<u8>> {
        let len = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
        let mut part = vec![0; len];
        let mut open = File::open(self.path.join(file))?;
        open.seek(SeekFrom::Start(range.start))?;
        open.read_exact(&mut part)?;
        Ok(part)
    }

    fn mark(&self, file: &str, now_ms: u64) -> io::Result<()> {
        OpenOptions::new().append(true).open(self.path.join(file))?.set_modified(time_of(now_ms))
    }

    fn remove(&self, file: &str) -> io::Result<()> {
        std::fs::remove_file(self.path.join(file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_keeps_its_form() {
        let head = Head::of("seg/1", b"body");
        let golden = [
            b"RKCOPY01".as_slice(),
            &[5, 0, 0, 0],
            &[4, 0, 0, 0, 0, 0, 0, 0],
            &crc32fast::hash(b"body").to_le_bytes(),
        ]
        .concat();

        let encoded = head.encode();

        assert_eq!(encoded[..24], golden);
        assert_eq!(&encoded[28..], b"seg/1");
        assert_eq!(encoded.len() as u64, head.len());
        assert_eq!(Head::decode(&[&encoded[..], b"body"].concat()), Some(head));
    }

    #[test]
    fn a_head_with_any_byte_changed_or_missing_is_none() {
        let encoded = Head::of("seg/1", b"body").encode();
        for position in 0..encoded.len() {
            let mut torn = encoded.clone();
            torn[position] ^= 0x40;
            assert_eq!(Head::decode(&torn), None, "{position}");
            assert_eq!(Head::decode(&encoded[..position]), None, "{position}");
        }
    }
}
