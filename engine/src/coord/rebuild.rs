//! Makes the metadata of a cluster anew from what is in its bucket.
//!
//! The records come from the mirror's pages. Terms are not among them: a cluster whose metadata was made anew gives
//! terms above every one before, since the generation is their high part. Time goes on where the last page says that
//! it had not come to. An object that is created if absent says which generation is the newest; metadata of an
//! older one is refused at a start, should it ever come back.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tracing::info;

use crate::base::{ChannelName, Kind, Kinded as _, Position, Timestamp};
use crate::blob::Blobs;
use crate::coord::catalog::Catalog;
use crate::coord::page::{self, GENERATION, Image, REBUILDING};
use crate::coord::shelf::Shelf;
use crate::coord::stored::Stored;
use crate::coord::{Error, format, lead, mirror, record};
use crate::meta::{Metas, Txn, Versioned};
use crate::model::ChannelManifest;
use crate::rpc;

/// Keys of objects that say which generations there have been begin so.
const GENERATIONS: &str = "generations/";
/// Records written with one transaction, which etcd bounds by number and size.
const AT_ONCE: usize = 100;
/// And their size together. Unit: bytes.
const BYTES_AT_ONCE: usize = 512 << 10;

/// Tells how far logs go.
#[async_trait]
pub trait LogEnds: Send + Sync {
    /// Whether the log of `channel` goes as far as `position`, where reading would go on.
    ///
    /// # Errors
    /// If that cannot be seen now.
    async fn reaches(&self, channel: &ChannelName, position: Position) -> Result<bool, rpc::Error>;
}

/// A catalog that was made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rebuilt {
    /// How often the metadata has been made anew by now.
    pub generation: u64,
    /// Records of the catalog.
    pub records: usize,
    /// Collections among them.
    pub collections: usize,
    /// Sealed segments that these name.
    pub segments: usize,
    /// Channels whose log is not there: they begin a new one, and what was written after their last flush is lost unless
    /// the copy was sealed.
    pub new_logs: usize,
    /// Whether all was sealed when the copy was made.
    pub sealed: bool,
    /// Time and ids begin here.
    pub bound: Timestamp,
}

impl fmt::Display for Rebuilt {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { generation, records, collections, segments, new_logs, sealed, .. } = self;
        write!(
            out,
            "made anew: {collections} collections with {segments} sealed segments, {records} records, generation {generation}"
        )?;
        match (new_logs, sealed) {
            (0, _) => Ok(()),
            (_, true) => write!(out, "; {new_logs} channels begin new logs, and everything was sealed"),
            (_, false) => write!(
                out,
                "; the logs of {new_logs} channels are not there: what was written after their last flush is lost"
            ),
        }
    }
}

/// What the mirror in a bucket says; `None` if there is none.
///
/// # Errors
/// If a page is missing or damaged.
pub async fn read_mirror(blobs: Arc<dyn Blobs>) -> Result<Option<Image>, Error> {
    Ok(mirror::read(&Shelf::new(blobs)).await?.map(|(image, _)| image))
}

/// The newest generation that the objects of a bucket tell of; 0 for none.
///
/// # Errors
/// If they cannot be listed.
pub async fn newest_generation(blobs: &dyn Blobs) -> Result<u64, Error> {
    let failed = |source| Error::Store { key: GENERATIONS.to_owned(), source };
    let listed = blobs.list(GENERATIONS).await.map_err(failed)?;
    let number = |key: &str| key.strip_prefix(GENERATIONS)?.parse().ok();
    Ok(listed.iter().filter_map(|entry| number(&entry.key)).max().unwrap_or(0))
}

/// How often the metadata was made anew, as it says itself.
///
/// # Errors
/// If it cannot be read.
pub async fn own_generation(metas: &dyn Metas) -> Result<u64, Error> {
    mirror::generation(metas).await
}

/// Makes the records of the catalog anew in `metas`, which must be empty, from the mirror in `blobs`. May be called
/// again if it was broken off.
///
/// - `cluster`: whose bucket it is.
/// - `format`: the one that the bucket says it was finalized to.
/// - `logs`: those of the cluster that is to go on. A channel whose log does not reach its checkpoint begins a new one.
/// - `now_unix_ms`: the time, which the new one does not fall behind.
///
/// # Errors
/// [`Error::NotEmpty`] if there is a catalog, or a leader; [`Error::NoMirror`] if there is nothing to make it from;
/// [`Error::NewerFormat`] if that is in a format that this build does not read;
/// [`Error::BadRecord`] and [`Error::Store`] if a page or manifest is missing or damaged: then nothing leads.
pub async fn rebuild(
    metas: &dyn Metas,
    blobs: Arc<dyn Blobs>,
    cluster: &str,
    format: u32,
    logs: &dyn LogEnds,
    now_unix_ms: u64,
) -> Result<Rebuilt, Error> {
    let shelf = Shelf::new(Arc::clone(&blobs));
    let leftovers = leftovers(metas).await?;
    let (mut image, last) = mirror::read(&shelf).await?.ok_or(Error::NoMirror)?;
    let format = format::continue_copy(&mut image.records, format)?;
    // Everybody was stopped, so none is under way: what they wrote is not to be spared.
    image.records.retain(|key, _| !key.starts_with(record::FLUSHES));
    let generation = image.generation.max(newest_generation(blobs.as_ref()).await?) + 1;
    claim_generation(blobs.as_ref(), generation).await?;
    // Whoever wrote meanwhile has not seen the claim; whoever begins to write from here on sees it.
    if mirror::pages(&shelf).await?.last() != Some(&last) {
        return Err(Error::StillWritten);
    }
    let marker = begin(metas, &leftovers, generation).await?;
    let read = record::read_copy(&image.records, &shelf).await?;
    let new_logs = begin_lost_logs(&mut image, &read, format, logs).await?;
    write(metas, &image.records, marker).await?;
    let bound = image.bound.max(Timestamp::from_unix_ms(now_unix_ms));
    let done = Txn::new()
        .expect_version(REBUILDING, marker)
        .put(page::CLUSTER, Bytes::from(cluster.to_owned()))
        .put(GENERATION, record::encode(GENERATION, &generation)?)
        .put(super::drive::TIME, record::encode(super::drive::TIME, &bound)?)
        .delete(REBUILDING);
    metas.commit(done).await.map_err(Error::of_commit)?;
    let segments = read.manifests.values().flatten().map(|manifest| manifest.segments.len()).sum();
    let (records, collections) = (image.records.len(), read.collections.len());
    let sealed = image.sealed;
    info!(generation, records, collections, segments, new_logs, sealed, "catalog made anew");
    Ok(Rebuilt { generation, records, collections, segments, new_logs, sealed, bound })
}

/// Whether a catalog can be made in this metadata.
///
/// # Errors
/// [`Error::NotEmpty`] if there is one, or a leader.
pub async fn check_empty(metas: &dyn Metas) -> Result<(), Error> {
    leftovers(metas).await.map(drop)
}

/// What an earlier attempt left. Anything else is a catalog, or somebody who leads one.
async fn leftovers(metas: &dyn Metas) -> Result<Vec<(String, Versioned)>, Error> {
    if let Some((_, leader)) = lead::read(metas).await? {
        return Err(Error::NotEmpty { found: format!("a coordinator at {}", leader.address) });
    }
    let failed = |source| Error::ReadCatalog { prefix: "", source };
    let found = metas.list("").await.map_err(failed)?;
    let is_broken_off = found.iter().any(|(key, _)| key == REBUILDING);
    // A node that was started too early left the name of a cluster that never was.
    match found.iter().find(|(key, _)| key != page::CLUSTER) {
        Some((key, _)) if !is_broken_off => Err(Error::NotEmpty { found: format!("the record {key}") }),
        _ => Ok(found),
    }
}

async fn claim_generation(blobs: &dyn Blobs, generation: u64) -> Result<(), Error> {
    let key = format!("{GENERATIONS}{generation:010}");
    match blobs.create(&key, Bytes::from_static(b"{}")).await {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == Kind::Exists => Err(Error::StillWritten),
        Err(source) => Err(Error::Store { key, source }),
    }
}

/// Marks the metadata as being made anew, and removes what an earlier attempt left. Returns the marker's version, which
/// every later step expects: of two attempts one goes on.
async fn begin(metas: &dyn Metas, leftovers: &[(String, Versioned)], generation: u64) -> Result<u64, Error> {
    let expected = leftovers.iter().find(|(key, _)| key == REBUILDING).map(|(_, record)| record.version);
    let txn = match expected {
        Some(version) => Txn::new().expect_version(REBUILDING, version),
        None => Txn::new().expect_absent(REBUILDING),
    };
    let txn = txn.expect_absent(lead::EPOCH).put(REBUILDING, record::encode(REBUILDING, &generation)?);
    let marker = metas.commit(txn).await.map_err(Error::of_commit)?;
    let old: Vec<&String> = leftovers.iter().map(|(key, _)| key).filter(|key| *key != REBUILDING).collect();
    for some in old.chunks(AT_ONCE) {
        let txn = Txn::new().expect_version(REBUILDING, marker);
        let txn = some.iter().fold(txn, |txn, key| txn.delete(key.as_str()));
        metas.commit(txn).await.map_err(Error::of_commit)?;
    }
    Ok(marker)
}

async fn write(metas: &dyn Metas, records: &BTreeMap<String, String>, marker: u64) -> Result<(), Error> {
    let begin = || Txn::new().expect_version(REBUILDING, marker);
    let (mut txn, mut bytes) = (begin(), 0);
    for (key, value) in records {
        if txn.writes.len() >= AT_ONCE || bytes + value.len() > BYTES_AT_ONCE && !txn.writes.is_empty() {
            metas.commit(std::mem::replace(&mut txn, begin())).await.map_err(Error::of_commit)?;
            bytes = 0;
        }
        bytes += value.len();
        txn = txn.put(key.clone(), Bytes::from(value.clone()));
    }
    if !txn.writes.is_empty() {
        metas.commit(txn).await.map_err(Error::of_commit)?;
    }
    Ok(())
}

/// Lets every channel whose log is not there begin at the first position of a new one; says how many.
async fn begin_lost_logs(
    image: &mut Image,
    catalog: &Catalog,
    format: u32,
    logs: &dyn LogEnds,
) -> Result<usize, Error> {
    let mut count = 0;
    for info in catalog.collections.values() {
        let manifests = catalog.manifests.get(&info.id).into_iter().flatten();
        for (channel, manifest) in info.channels.iter().zip(manifests) {
            let checkpoint = manifest.checkpoint;
            let failed = |source| Error::Log { channel: channel.clone(), source };
            if checkpoint == Position::FIRST || logs.reaches(channel, checkpoint).await.map_err(failed)? {
                continue;
            }
            count += 1;
            let key = record::channel_key(channel);
            let record = match catalog.stored.get(channel) {
                Some(stored) => {
                    let stored = Stored { checkpoint: Some(Position::FIRST), ..stored.clone() };
                    record::pointer(format, &key, &stored)?
                }
                None => {
                    let checkpoint = Position::FIRST;
                    let manifest = ChannelManifest { checkpoint, ..ChannelManifest::clone(manifest) };
                    record::encode_as(format, &key, &manifest)?
                }
            };
            image.records.insert(key, String::from_utf8_lossy(&record).into_owned());
        }
    }
    Ok(count)
}
