//! Manifests and lists that are too large for a record: immutable objects, and what a record says of them.
//!
//! A manifest is one whole object and up to [`DELTAS`] objects that each say how it changed, so that a flush does not
//! write megabytes again. Pure: what is read and written, and where, is in `shelf`.
//!
//! An object is a line with its format, a line with the CRC-32 of the rest as eight hexadecimal digits, then JSON.

use std::collections::HashMap;
use std::hash::Hash;

use bytes::Bytes;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Serialize};

use crate::base::{ChannelName, CollectionId, Position, Timestamp};
use crate::coord::Error;
use crate::model::{ChannelManifest, DeleteManifest, SegmentManifest};

/// What is encoded in no more than this stays in its record: a start reads it without asking the bucket. Unit: bytes.
pub const INLINE: usize = 2_048;
/// Changes after which a manifest is written whole again.
const DELTAS: usize = 8;
/// A manifest of more segments and delete files than this is never encoded only to see whether it is small.
const SURELY_LARGE: usize = 32;
/// First line of an object, before the checksum of the rest.
const FORMAT: &str = "redkite-catalog/1";
/// Length of both lines.
const HEAD: usize = FORMAT.len() + 1 + 8 + 1;

/// One object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// Makes its name unique; tells when it was begun, too.
    pub number: i64,
    /// Its length. Unit: bytes.
    pub size_bytes: u64,
    /// CRC-32 of the whole object.
    pub crc32: u32,
}

/// Where the manifest of one channel is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// A whole manifest.
    pub base: Piece,
    /// Its changes since, oldest first.
    pub deltas: Vec<Piece>,
    /// The checkpoint, where it is not the one that the objects say: the log was begun anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Position>,
}

impl Stored {
    /// All its objects, oldest first.
    pub fn pieces(&self) -> impl Iterator<Item = &Piece> {
        std::iter::once(&self.base).chain(&self.deltas)
    }

    /// The keys of its objects.
    pub fn keys(&self, collection: CollectionId, channel: &ChannelName) -> impl Iterator<Item = String> {
        self.pieces().map(move |piece| manifest_key(collection, channel, piece.number))
    }
}

/// Key of a piece of a manifest.
pub fn manifest_key(collection: CollectionId, channel: &ChannelName, number: i64) -> String {
    format!("manifests/{collection}/{channel}/{number}.bin")
}

/// Key of a list of garbage.
pub fn garbage_key(number: i64) -> String {
    format!("garbage/{number}.bin")
}

/// The object that says which segments a step of an import has made.
#[must_use]
pub fn import_key(number: i64) -> String {
    format!("imports/{number}.bin")
}

/// Part of a new list: what stays of the old one, or what is new.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Run<T> {
    /// As many of the old list, from a place on.
    #[serde(rename = "k")]
    Keep(usize, usize),
    /// These.
    #[serde(rename = "p")]
    Put(Vec<T>),
}

/// What a piece of a manifest says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// Everything.
    Whole(ChannelManifest),
    /// What changed.
    Delta(Delta),
}

/// How a manifest changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delta {
    checkpoint: Position,
    segments: Vec<Run<SegmentManifest>>,
    deletes: Vec<Run<DeleteManifest>>,
    #[serde(default)]
    expired_through: Timestamp,
    #[serde(default)]
    history_from: Timestamp,
    #[serde(default)]
    named_through: Timestamp,
    #[serde(default)]
    emptied: Timestamp,
}

impl Delta {
    /// What makes `new` of `old`.
    pub fn between(old: &ChannelManifest, new: &ChannelManifest) -> Self {
        Self {
            checkpoint: new.checkpoint,
            segments: difference(&old.segments, &new.segments, |segment| segment.id),
            deletes: difference(&old.deletes, &new.deletes, |file| &*file.object.key),
            expired_through: new.expired_through,
            history_from: new.history_from,
            named_through: new.named_through,
            emptied: new.emptied,
        }
    }

    fn apply(self, old: &ChannelManifest) -> Option<ChannelManifest> {
        Some(ChannelManifest {
            checkpoint: self.checkpoint,
            segments: applied(&old.segments, self.segments)?,
            deletes: applied(&old.deletes, self.deletes)?,
            // A leader of an earlier version does not write these; they only grow.
            expired_through: self.expired_through.max(old.expired_through),
            named_through: self.named_through.max(old.named_through),
            emptied: self.emptied.max(old.emptied),
            // Nor does it write this, and then it is not known what it has dropped.
            history_from: self.history_from,
        })
    }
}

fn difference<'a, T: PartialEq + Clone, K: Eq + Hash>(
    old: &'a [T],
    new: &'a [T],
    key: impl Fn(&'a T) -> K,
) -> Vec<Run<T>> {
    let places: HashMap<K, usize> = old.iter().enumerate().map(|(at, one)| (key(one), at)).collect();
    let mut runs = Vec::new();
    for one in new {
        let known = places.get(&key(one)).copied().filter(|&at| old[at] == *one);
        match (known, runs.last_mut()) {
            (Some(at), Some(Run::Keep(from, count))) if *from + *count == at => *count += 1,
            (Some(at), _) => runs.push(Run::Keep(at, 1)),
            (None, Some(Run::Put(put))) => put.push(one.clone()),
            (None, _) => runs.push(Run::Put(vec![one.clone()])),
        }
    }
    runs
}

/// The new list; `None` if the old one is not that of which the difference was taken.
fn applied<T: Clone>(old: &[T], runs: Vec<Run<T>>) -> Option<Vec<T>> {
    let mut new = Vec::new();
    for run in runs {
        match run {
            Run::Keep(from, count) => new.extend_from_slice(old.get(from..from.checked_add(count)?)?),
            Run::Put(mut put) => new.append(&mut put),
        }
    }
    Some(new)
}

/// How a manifest is to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arranged {
    /// In the record.
    Inline,
    /// In objects, of which the last is to be written.
    Object {
        /// What the record is to say.
        stored: Stored,
        /// The object.
        body: Bytes,
    },
}

/// Decides how to keep `new`, after `old` that is kept as `stored`; `number` is unused.
///
/// # Errors
/// [`Error::BadRecord`] if a value cannot be written down, which would be a defect.
pub fn arrange(
    old: Option<(&ChannelManifest, &Stored)>,
    new: &ChannelManifest,
    number: i64,
) -> Result<Arranged, Error> {
    if is_small(new) {
        return Ok(Arranged::Inline);
    }
    if let Some((old, stored)) = old.filter(|(_, stored)| stored.deltas.len() < DELTAS) {
        let body = seal(&Content::Delta(Delta::between(old, new)))?;
        let changed: u64 = stored.deltas.iter().map(|piece| piece.size_bytes).sum();
        if changed + body.len() as u64 <= stored.base.size_bytes {
            let mut deltas = stored.deltas.clone();
            deltas.push(piece_of(number, &body));
            let stored = Stored { base: stored.base, deltas, checkpoint: None };
            return Ok(Arranged::Object { stored, body });
        }
    }
    let body = seal(&Content::Whole(new.clone()))?;
    let stored = Stored { base: piece_of(number, &body), deltas: Vec::new(), checkpoint: None };
    Ok(Arranged::Object { stored, body })
}

/// Whether a manifest stays in its record.
pub fn is_small(manifest: &ChannelManifest) -> bool {
    manifest.segments.len() + manifest.deletes.len() <= SURELY_LARGE
        && serde_json::to_vec(manifest).is_ok_and(|bytes| bytes.len() <= INLINE)
}

/// What an object under `number` is known as.
pub fn piece_of(number: i64, body: &[u8]) -> Piece {
    Piece { number, size_bytes: body.len() as u64, crc32: crc32fast::hash(body) }
}

/// The manifest that its pieces say, oldest first.
///
/// # Errors
/// [`Error::BadRecord`] if they do not belong together.
pub fn assemble(key: &str, pieces: Vec<Content>) -> Result<ChannelManifest, Error> {
    let mut manifest = None;
    for piece in pieces {
        manifest = match (piece, manifest) {
            (Content::Whole(whole), None) => Some(whole),
            (Content::Delta(delta), Some(old)) => delta.apply(&old),
            _ => None,
        };
        if manifest.is_none() {
            break;
        }
    }
    manifest.ok_or_else(|| bad(key, "the pieces of the manifest do not belong together"))
}

/// The bytes of an object.
///
/// # Errors
/// [`Error::BadRecord`] if a value cannot be written down, which would be a defect.
pub fn seal<T: Serialize>(value: &T) -> Result<Bytes, Error> {
    let body = serde_json::to_vec(value)
        .map_err(|source| Error::BadRecord { key: "a catalog object".to_owned(), source })?;
    let mut object = Vec::with_capacity(HEAD + body.len());
    object.extend_from_slice(format!("{FORMAT}\n{:08x}\n", crc32fast::hash(&body)).as_bytes());
    object.extend_from_slice(&body);
    Ok(object.into())
}

/// What an object says.
///
/// # Errors
/// [`Error::BadRecord`] if it is damaged, of another format, or not the `piece` that is meant.
pub fn unseal<T: DeserializeOwned>(key: &str, object: &[u8], piece: Option<&Piece>) -> Result<T, Error> {
    if let Some(piece) = piece
        && piece_of(piece.number, object) != *piece
    {
        return Err(bad(key, "length or checksum differ from what the record says"));
    }
    let head = object.get(..HEAD).and_then(|head| std::str::from_utf8(head).ok());
    let head = head.ok_or_else(|| bad(key, "it is too short"))?;
    let mut lines = head.lines();
    if lines.next() != Some(FORMAT) {
        return Err(bad(key, "its format is not one that this version reads"));
    }
    let body = &object[HEAD..];
    if lines.next() != Some(&*format!("{:08x}", crc32fast::hash(body))) {
        return Err(bad(key, "its checksum is wrong"));
    }
    serde_json::from_slice(body).map_err(|source| Error::BadRecord { key: key.to_owned(), source })
}

fn bad(key: &str, why: &str) -> Error {
    Error::BadRecord { key: key.to_owned(), source: serde_json::Error::custom(why) }
}

#[cfg(test)]
mod tests;
