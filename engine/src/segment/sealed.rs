//! A sealed segment in memory.

use std::sync::Arc;

use futures::StreamExt as _;
use parking_lot::Mutex;
use tracing::warn;

use super::build::spec_of;
use super::object::read;
use super::part::{Part, Vectors};
use super::runs::Runs;
use super::stats::Stats;
use super::vectors::{Mapped, Pieces, Wrong};
use super::{Deletes, Error, scalars, vectors};
use crate::base::{FieldId, IndexId, Kind, Kinded as _, PartitionId, SegmentId, chain, heavy};
use crate::blob::{self, Blobs};
use crate::disk::{Reads, Scratch};
use crate::expr::{ColumnIndex, ColumnIndexSpec};
use crate::index::{Block, Index};
use crate::model::{ColumnRef, DataType, IndexDefinition, IndexRef, ObjectRef, Schema, SegmentManifest};

/// Objects of vectors that are larger than this are read in pieces of this length; whole components. Unit: bytes.
const PIECE_BYTES: u64 = 4 << 20;

/// Vectors that are to lie on the disk instead of in memory.
#[derive(Clone, Copy, Debug)]
pub struct OnDisk<'a> {
    /// Where.
    pub scratch: &'a Arc<Scratch>,
    /// The fields that they are of, and how each is going to be read. Others are held in memory, as all vectors are that are not
    /// of numbers.
    pub fields: &'a [(FieldId, Reads)],
}

impl<'a> OnDisk<'a> {
    fn place_of(&self, field: FieldId) -> Option<Mapped> {
        let (_, reads) = self.fields.iter().find(|(id, _)| *id == field)?;
        Some(Mapped { scratch: Arc::clone(self.scratch), reads: *reads })
    }
}

/// A sealed segment, loaded. Its rows never change; deletes and indexes come while readers read.
#[derive(Debug)]
pub struct Sealed {
    manifest: SegmentManifest,
    part: Arc<Part>,
    /// Why the statistics that the manifest names are not used.
    lost_stats: Option<Error>,
    /// Keys of the objects of the indexes in use.
    attached: Mutex<Vec<String>>,
    /// Indexes of scalar columns that are there, or that the segment does without.
    settled: Mutex<Vec<IndexId>>,
}

impl Sealed {
    /// Loads a segment with those of its indexes that are in `definitions`. Fields that the schema has gained since hold
    /// their default or no value. No deletes are applied yet. Statistics only spare work: a segment whose statistics are
    /// lost, damaged or of a later version is loaded without them, see [`Self::lost_stats`].
    ///
    /// Objects come one after the other; of an object of vectors no more than two pieces of 4 MiB are in memory besides
    /// what they hold, of others the whole object, and so of one that a cache on the disk has to get first. Cancel safe.
    ///
    /// # Errors
    /// [`Error::Read`] if the store fails, [`Error::Damaged`], [`Error::Parquet`] or [`Error::TooNew`] if an object is
    /// not what was written, [`Error::Index`] if an index is not.
    pub async fn load(
        blobs: &dyn Blobs,
        schema: Arc<Schema>,
        manifest: &SegmentManifest,
        definitions: &[IndexDefinition],
    ) -> Result<Self, Error> {
        Self::load_onto(blobs, schema, manifest, definitions, None).await
    }

    /// As [`Self::load`], with vectors on the disk that [`OnDisk`] says so of: no more than a few pieces of them are in memory
    /// while they are loaded, and afterwards what the system keeps of what was read.
    ///
    /// # Errors
    /// As there, and [`Error::Scratch`].
    pub async fn load_onto(
        blobs: &dyn Blobs,
        schema: Arc<Schema>,
        manifest: &SegmentManifest,
        definitions: &[IndexDefinition],
        disk: Option<OnDisk<'_>>,
    ) -> Result<Self, Error> {
        let mut scalars = None;
        let mut blocks = Vec::new();
        for column in &manifest.columns {
            match column.fields.as_slice() {
                [field] if column.object.key.ends_with(".bin") => {
                    if schema.field_by_id(*field).is_some() {
                        let place = disk.and_then(|disk| disk.place_of(*field));
                        let block = read_vectors(blobs, manifest, column, *field, place).await?;
                        blocks.push((*field, block));
                    }
                }
                _ => scalars = Some(read_scalars(blobs, &schema, manifest, column).await?),
            }
        }
        let Some(mut scalars) = scalars else {
            return Err(Error::Ragged { what: "the manifest names no scalar columns" });
        };
        let is_whole = |rows: usize| rows as u64 == manifest.rows;
        if !is_whole(scalars.times.len()) || !blocks.iter().all(|(_, block)| is_whole(block.rows())) {
            return Err(Error::Ragged { what: "columns have another length than the manifest says" });
        }
        let vectors = blocks
            .into_iter()
            .map(|(field, block)| Vectors { field, block, valid: scalars.valid_vectors.remove(&field) })
            .collect();
        let runs = Runs::sealed(manifest.partition, &scalars.times);
        let (stats, lost_stats) = match read_stats(blobs, &schema, manifest).await {
            Ok(stats) => (stats, None),
            Err(error) if may_be_done_without(&error) => {
                warn!(segment = %manifest.id, error = chain(&error), "a segment is read without its statistics");
                (None, Some(error))
            }
            Err(error) => return Err(error),
        };
        let part = work(manifest.id, move || {
            Part::new(&schema, scalars.columns, vectors, runs, super::hiding::Hiding::default())
                .with_stats(stats)
        })
        .await?;
        let part = Arc::new(part);
        let sealed = Self {
            manifest: manifest.clone(),
            part,
            lost_stats,
            attached: Mutex::default(),
            settled: Mutex::default(),
        };
        for built in &manifest.indexes {
            if let Some(definition) = definitions.iter().find(|definition| definition.id == built.index) {
                sealed.attach_index(blobs, built, definition).await?;
            }
        }
        Ok(sealed)
    }

    /// The segment's id.
    #[must_use]
    pub const fn id(&self) -> SegmentId {
        self.manifest.id
    }

    /// Whether some of its vectors lie on the disk.
    #[must_use]
    pub fn is_on_disk(&self) -> bool {
        self.part.is_on_disk()
    }

    /// The partition that all its rows are in.
    #[must_use]
    pub const fn partition(&self) -> PartitionId {
        self.manifest.partition
    }

    /// How many rows there are, hidden ones included.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.part.rows()
    }

    /// The manifest it was loaded from; indexes attached later are not in it.
    #[must_use]
    pub const fn manifest(&self) -> &SegmentManifest {
        &self.manifest
    }

    /// Why the rows are read without the statistics that the manifest names, if they are.
    #[must_use]
    pub const fn lost_stats(&self) -> Option<&Error> {
        self.lost_stats.as_ref()
    }

    /// The rows.
    #[must_use]
    pub const fn part(&self) -> &Arc<Part> {
        &self.part
    }

    /// Loads an index that was built since and searches with it from now on; one that is in use already is left alone.
    /// Cancel safe.
    ///
    /// # Errors
    /// As [`Self::load`], and [`Error::NoVectors`] for an index on a field that the segment lacks.
    pub async fn attach_index(
        &self,
        blobs: &dyn Blobs,
        built: &IndexRef,
        definition: &IndexDefinition,
    ) -> Result<(), Error> {
        let segment = self.manifest.id;
        if self.attached.lock().contains(&built.object.key) {
            return Ok(());
        }
        let Some(vectors) = self.part.vectors(definition.field) else {
            return Err(Error::NoVectors { segment, field: definition.field });
        };
        let block = vectors.block.clone();
        let body = read(blobs, &built.object).await?;
        // Of a definition that no index can be built by, what was stored holds.
        let sparse = matches!(block, Block::Sparse(_)).then_some(DataType::SparseFloatVector);
        let wanted = sparse.and_then(|data_type| spec_of(data_type, definition).ok());
        let index = work(segment, move || Index::decode_for(&body, &block, wanted.as_ref())).await?;
        let index = index.map_err(|source| Error::Index { segment, source })?;
        self.part.set_index(definition.field, index);
        self.attached.lock().push(built.object.key.clone());
        Ok(())
    }

    /// Whether there is an index over the vectors of `field`.
    #[must_use]
    pub fn has_index(&self, field: FieldId) -> bool {
        self.part.index(field).is_some()
    }

    /// Whether this very index is in use.
    #[must_use]
    pub fn uses_index(&self, built: &IndexRef) -> bool {
        self.attached.lock().contains(&built.object.key)
    }

    /// The indexes of scalar columns among `definitions` that are still to be [made](Self::make_column_index) or
    /// [given up](Self::do_without).
    #[must_use]
    pub fn lacking_column_indexes(
        &self,
        schema: &Schema,
        definitions: &[IndexDefinition],
    ) -> Vec<(IndexId, ColumnIndexSpec)> {
        let settled = self.settled.lock();
        let lacking = definitions.iter().filter(|definition| !settled.contains(&definition.id));
        let spec = |definition: &IndexDefinition| {
            let spec = ColumnIndexSpec::of(definition, schema.field_by_id(definition.field)?)?;
            Some((definition.id, spec))
        };
        lacking.filter_map(spec).collect()
    }

    /// What making an index takes at most in memory, the index included. Unit: bytes.
    #[must_use]
    pub fn column_index_bytes(&self, spec: &ColumnIndexSpec) -> u64 {
        self.part.column(spec.field()).map_or(0, |column| spec.bytes(column))
    }

    /// Makes the index of a scalar column, for filters from now on. A column that cannot have it goes without. Cancel safe.
    ///
    /// # Errors
    /// [`Error::Broke`].
    pub async fn make_column_index(&self, id: IndexId, spec: ColumnIndexSpec) -> Result<(), Error> {
        let part = Arc::clone(&self.part);
        let made = work(self.manifest.id, move || {
            part.column(spec.field()).and_then(|column| ColumnIndex::build(&spec, column))
        });
        if let Some(index) = made.await? {
            self.part.add_column_index(id, index);
        }
        self.do_without(id);
        Ok(())
    }

    /// Does not ask for an index again; filters compare rows unless it is there.
    pub fn do_without(&self, id: IndexId) {
        let mut settled = self.settled.lock();
        if !settled.contains(&id) {
            settled.push(id);
        }
    }

    /// Drops the indexes of scalar columns that are not among `definitions`; `true` if there was one.
    pub fn drop_column_indexes(&self, definitions: &[IndexDefinition]) -> bool {
        let is_wanted = |id| definitions.iter().any(|definition| definition.id == id);
        self.settled.lock().retain(|id| is_wanted(*id));
        self.part.keep_column_indexes(is_wanted)
    }

    /// Applies deletes. Applying one again, and in any order, changes nothing.
    pub fn delete(&self, deletes: &Deletes) {
        self.part.hide(deletes.iter());
    }

    /// Bytes of memory held.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.part.memory_bytes()
    }
}

/// Runs CPU work on a thread that may block.
pub(super) async fn work<T: Send + 'static>(
    segment: SegmentId,
    job: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    heavy("work on a segment", job)
        .await
        .map_err(|source| Error::Broke { segment, cause: source.to_string() })
}

/// Whether statistics that cannot be read for this reason never will be.
fn may_be_done_without(error: &Error) -> bool {
    matches!(error, Error::TooNew { .. }) || matches!(error.kind(), Kind::NotFound | Kind::Corrupt)
}

/// What is known of a segment without its rows; nothing for one of an earlier version.
async fn read_stats(
    blobs: &dyn Blobs,
    schema: &Schema,
    manifest: &SegmentManifest,
) -> Result<Option<Stats>, Error> {
    let Some(object) = &manifest.stats else { return Ok(None) };
    let body = read(blobs, object).await?;
    let stats = Stats::decode(&body, schema.primary().id);
    stats.map(Some).map_err(|wrong| wrong.at(&object.key))
}

/// The scalar columns and times of a segment.
pub(super) async fn read_scalars(
    blobs: &dyn Blobs,
    schema: &Arc<Schema>,
    manifest: &SegmentManifest,
    column: &ColumnRef,
) -> Result<scalars::Scalars, Error> {
    let body = read(blobs, &column.object).await?;
    let schema = Arc::clone(schema);
    let decoded = work(manifest.id, move || scalars::decode(body, &schema)).await?;
    let mut scalars =
        decoded.map_err(|source| Error::Parquet { key: column.object.key.clone(), reading: true, source })?;
    // Rows of an import get their one time when they are committed, long after they are stored.
    if manifest.oldest == manifest.newest {
        scalars.times.fill(manifest.newest);
    }
    Ok(scalars)
}

/// The vectors of `field`, mapped if that is asked for and they are numbers. Large ones, and those, come piece by piece: in
/// memory at a time are the vectors and two pieces.
pub(super) async fn read_vectors(
    blobs: &dyn Blobs,
    manifest: &SegmentManifest,
    column: &ColumnRef,
    field: FieldId,
    place: Option<Mapped>,
) -> Result<Block, Error> {
    let (segment, object) = (manifest.id, &column.object);
    for is_last in [false, true] {
        if object.size_bytes <= PIECE_BYTES && place.is_none() {
            break;
        }
        match read_pieces(blobs, segment, object, field, place.as_ref()).await {
            Ok(Some(block)) => return Ok(block),
            Ok(None) => break,
            // It may have been damaged on its way.
            Err(Error::Damaged { .. } | Error::TooNew { .. }) if !is_last => {
                blobs.distrust(&object.key).await
            }
            Err(error) => return Err(error),
        }
    }
    let body = read(blobs, object).await?;
    work(segment, move || vectors::decode(field, &body)).await?.map_err(|wrong| wrong_vectors(object, wrong))
}

/// As [`read_vectors`], by pieces; `None` for vectors that are to be read whole.
async fn read_pieces(
    blobs: &dyn Blobs,
    segment: SegmentId,
    object: &ObjectRef,
    field: FieldId,
    place: Option<&Mapped>,
) -> Result<Option<Block>, Error> {
    let size = object.size_bytes;
    let step = usize::try_from(PIECE_BYTES).unwrap_or(usize::MAX);
    let ranges = (0..size).step_by(step).map(|from| from..size.min(from + PIECE_BYTES));
    let mut bodies =
        futures::stream::iter(ranges).map(|range| blobs.read_range(&object.key, range)).buffered(2);
    let mut pieces: Option<Pieces> = None;
    while let Some(body) = bodies.next().await {
        let body = body.map_err(|source| match source {
            blob::Error::BadRange { .. } => {
                Error::Damaged { key: object.key.clone(), what: "its length is not the one recorded" }
            }
            source => Error::Read { key: object.key.clone(), source },
        })?;
        let place = place.cloned();
        let taken = work(segment, move || match pieces {
            None => Pieces::begin(field, size, &body, place.as_ref()),
            Some(mut pieces) => pieces.push(&body).map(|()| Some(pieces)),
        });
        pieces = taken.await?.map_err(|wrong| wrong_vectors(object, wrong))?;
        if pieces.is_none() {
            return Ok(None);
        }
    }
    let Some(pieces) = pieces else { return Ok(None) };
    let crc32 = object.crc32;
    let block = work(segment, move || pieces.finish(crc32)).await?;
    block.map(Some).map_err(|wrong| wrong_vectors(object, wrong))
}

fn wrong_vectors(object: &ObjectRef, wrong: Wrong) -> Error {
    let key = object.key.clone();
    match wrong {
        Wrong::Damaged(what) => Error::Damaged { key, what },
        Wrong::TooNew(version) => Error::TooNew { key, version },
        Wrong::Scratch(source) => Error::Scratch { key, source },
    }
}
