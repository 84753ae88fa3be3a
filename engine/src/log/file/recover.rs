//! What a channel's directory holds after a start: the tail is cut where it is torn, and refused where it is damaged.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use tracing::{info, warn};

use crate::disk::Disk;
use crate::log::error::{Doing, Error};

use super::codec::{FILE_HEADER_BYTES, FileHeader, proves_durable};
use super::cursor::{Cursor, Step, failed, read};
use super::names::Name;

/// A file of records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileInfo {
    /// Term of its writer.
    pub term: u64,
    /// Length up to which it holds durable records. Unit: bytes.
    pub size_bytes: u64,
}

/// A channel as its directory has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Whether there is a directory at all.
    pub has_directory: bool,
    /// Highest term that opened it.
    pub term: Option<u64>,
    /// Records before this position were given up.
    pub first: u64,
    /// Position of the next record to come.
    pub next: u64,
    /// Files by the position of their first record; none is empty.
    pub files: BTreeMap<u64, FileInfo>,
}

/// The directory of a channel.
#[derive(Clone)]
pub(super) struct Dir {
    pub disk: Arc<dyn Disk>,
    /// Path of the directory.
    pub path: String,
    /// CRC-32 of the channel's name, for file headers.
    pub channel_crc: u32,
}

impl Dir {
    /// Path of a file in it.
    pub fn file(&self, name: Name) -> String {
        format!("{}/{}", self.path, name.encode())
    }

    /// The header that a file of records must have.
    pub fn header(&self, base: u64, term: u64) -> FileHeader {
        FileHeader { channel_crc: self.channel_crc, base, term }
    }

    /// Makes the names in it durable.
    pub async fn sync(&self) -> Result<(), Error> {
        let synced = self.disk.sync_dir(&self.path).await;
        synced.map_err(|source| failed(Doing::Sync, &self.path, source))
    }

    /// Removes a file; no error if there is none.
    pub async fn remove(&self, name: Name) -> Result<(), Error> {
        let file = self.file(name);
        self.disk.remove(&file).await.map_err(|source| failed(Doing::Remove, &file, source))
    }

    /// Makes an empty file whose name is its content, durably; no error if it is there.
    pub async fn mark(&self, name: Name) -> Result<(), Error> {
        let file = self.file(name);
        match self.disk.create(&file).await {
            Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed(Doing::Create, &file, source));
            }
            Ok(()) | Err(_) => {}
        }
        self.sync().await
    }

    /// Removes the directory with all that is in it. Once begun, a start after a crash finishes it.
    pub async fn clear(&self) -> Result<(), Error> {
        self.mark(Name::Removed).await?;
        let entries = self.disk.list(&self.path).await;
        let entries = entries.map_err(|source| failed(Doing::List, &self.path, source))?;
        let marker = Name::Removed.encode();
        // The marker goes last, and only when nothing else can come back.
        for entry in entries.into_iter().filter(|entry| entry.name != marker) {
            let file = format!("{}/{}", self.path, entry.name);
            self.disk.remove(&file).await.map_err(|source| failed(Doing::Remove, &file, source))?;
        }
        self.sync().await?;
        self.remove(Name::Removed).await?;
        let removed = self.disk.remove_dir(&self.path).await;
        removed.map_err(|source| failed(Doing::Remove, &self.path, source))?;
        self.disk.sync_dir("").await.map_err(|source| failed(Doing::Sync, "", source))
    }
}

/// Reads what a directory holds and brings it in order. After this every record that can be read is durable.
///
/// Nobody may be writing to the channel.
pub(super) async fn recover(dir: &Dir) -> Result<Found, Error> {
    let entries = match dir.disk.list(&dir.path).await {
        Ok(entries) => entries,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(Found::default()),
        Err(source) => return Err(failed(Doing::List, &dir.path, source)),
    };
    let mut found = Found { has_directory: true, ..Found::default() };
    let mut files = Vec::new();
    let mut removed = false;
    for entry in entries {
        match Name::decode(&entry.name) {
            Some(Name::Records { base, term }) => files.push((base, term, entry.size_bytes)),
            Some(Name::Term(term)) => found.term = found.term.max(Some(term)),
            Some(Name::First(first)) => found.first = found.first.max(first),
            Some(Name::Removed) => removed = true,
            None => {
                warn!(dir = dir.path, name = entry.name, "a file that is not the log's is in its directory")
            }
        }
    }
    if removed {
        dir.clear().await?;
        return Ok(Found::default());
    }
    files.sort_unstable();
    let files = drop_given_up(dir, files, found.first).await?;
    (found.files, found.next) = recover_tail(dir, files, found.first).await?;
    dir.sync().await?;
    Ok(found)
}

/// Removes files whose records were all given up, and files that another one with the same beginning replaced: their
/// writer failed before it could write a record.
async fn drop_given_up(
    dir: &Dir,
    files: Vec<(u64, u64, u64)>,
    first: u64,
) -> Result<BTreeMap<u64, FileInfo>, Error> {
    let mut kept = BTreeMap::new();
    let ends = files.iter().skip(1).map(|(base, ..)| Some(*base)).chain([None]);
    for ((base, term, size_bytes), end) in files.iter().zip(ends) {
        if end.is_some_and(|end| end <= first || end == *base) {
            dir.remove(Name::Records { base: *base, term: *term }).await?;
        } else {
            kept.insert(*base, FileInfo { term: *term, size_bytes: *size_bytes });
        }
    }
    Ok(kept)
}

/// Finds the end of the last file that has records, cuts what is torn after it, and says which position comes next.
async fn recover_tail(
    dir: &Dir,
    mut files: BTreeMap<u64, FileInfo>,
    first: u64,
) -> Result<(BTreeMap<u64, FileInfo>, u64), Error> {
    // Where the next record belongs according to an empty file that was made for it.
    let mut announced = None;
    while let Some((base, info)) = files.pop_last() {
        let name = Name::Records { base, term: info.term };
        let (next, size_bytes) = end_of_file(dir, base, &info).await?;
        if announced.is_some_and(|announced| announced != next) {
            let file = dir.file(name);
            return Err(Error::Damaged {
                file,
                offset: size_bytes,
                why: "records at the file's end are missing",
            });
        }
        if next == base {
            announced = Some(base);
            dir.remove(name).await?;
            continue;
        }
        if next < first {
            let file = dir.file(name);
            return Err(Error::Damaged {
                file,
                offset: size_bytes,
                why: "records before the truncation are missing",
            });
        }
        files.insert(base, FileInfo { size_bytes, ..info });
        return Ok((files, next));
    }
    match announced {
        Some(announced) if announced != first => {
            let why = "the files before the last one are missing";
            Err(Error::Damaged { file: dir.path.clone(), offset: 0, why })
        }
        Some(_) | None => Ok((files, first)),
    }
}

/// The position after the last record of a file and the length up to there, after the rest was cut off.
async fn end_of_file(dir: &Dir, base: u64, info: &FileInfo) -> Result<(u64, u64), Error> {
    let file = dir.file(Name::Records { base, term: info.term });
    let disk = &dir.disk;
    let header = dir.header(base, info.term);
    let head_bytes = FILE_HEADER_BYTES as u64;
    if info.size_bytes <= head_bytes {
        // The header is durable before the first record is written: without records it may be torn.
        return Ok((base, 0));
    }
    let mut cursor = Cursor::open(disk.clone(), file.clone(), header).await?;
    let why = loop {
        match cursor.step(info.size_bytes).await? {
            Step::Record { .. } => {}
            Step::End => break None,
            Step::Bad(why) => break Some(why),
        }
    };
    let (offset, next) = (cursor.offset(), cursor.position());
    if let Some(why) = why {
        let left = usize::try_from(info.size_bytes - offset).unwrap_or(usize::MAX);
        let rest = read(disk.as_ref(), &file, offset, left).await?;
        if proves_durable(rest.get(1..).unwrap_or_default(), cursor.seed(), next) {
            return Err(Error::Damaged { file, offset, why });
        }
        info!(file, offset, cut_bytes = left, why, "a torn tail was cut");
        let cut = disk.truncate(&file, offset).await;
        cut.map_err(|source| failed(Doing::Truncate, &file, source))?;
    }
    // Whole records that were not acknowledged yet count from now on, so they must be durable.
    disk.sync(&file).await.map_err(|source| failed(Doing::Sync, &file, source))?;
    Ok((next, offset))
}
