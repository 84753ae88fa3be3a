//! Making one segment out of several, without the rows that deletes have hidden.

use std::collections::HashMap;
use std::sync::Arc;

use super::hiding::Hiding;
use super::part::{Part, Visible};
use super::runs::Runs;
use super::sealed::{read_scalars, read_vectors, work};
use super::store::{Columns, finish, write_scalars, write_vectors};
use super::{Error, read_deletes};
use crate::base::{CollectionId, FieldId, SegmentId, Timestamp};
use crate::blob::Blobs;
use crate::model::{Batch, Bitset, Column, ColumnData, ColumnRef, DeleteManifest, Schema, SegmentManifest};

/// The rows of one source that stay.
struct Kept {
    /// Their scalar columns.
    scalars: Batch,
    times: Vec<Timestamp>,
    /// Their numbers in the source, ascending.
    rows: Vec<usize>,
    /// Which vectors of the source have a value, for fields where some lack one.
    valid_vectors: HashMap<FieldId, Bitset>,
}

/// Where the rows that stay go.
struct Layout {
    /// By source: a row's number there, and its number in the new segment.
    moves: Vec<Vec<(usize, usize)>>,
    rows: usize,
}

/// Stores the rows of `sources` that no delete hides as the segment `id`, in the order of their times; rows of one time
/// stay in the order of `sources` and of the rows there, so that of two rows of one key and time the same one counts
/// before and after. `None` if no row is left; then nothing is stored.
///
/// - `sources`: segments of one partition of one channel, oldest first; not empty.
/// - `deletes`: all delete files of the channel, as of one manifest that has all of `sources`.
/// - `id`: fresh; nothing was ever stored under it.
///
/// In memory at a time: the scalar columns that stay, twice while they are encoded; the vectors of one field that stay,
/// twice while they are encoded; and besides one source's scalar columns with one file of deletes, or its vectors of one
/// field. Reads every file of deletes once for each source that needs it.
///
/// Not cancel safe: objects may remain that no manifest names.
///
/// # Errors
/// [`Error::Read`], [`Error::Damaged`], [`Error::Parquet`] and [`Error::TooNew`] if an object is not what was written,
/// [`Error::Write`] if the store fails, [`Error::Ragged`] if the sources do not fit together.
pub async fn compact(
    blobs: &dyn Blobs,
    collection: CollectionId,
    id: SegmentId,
    schema: &Arc<Schema>,
    sources: &[SegmentManifest],
    deletes: &[DeleteManifest],
) -> Result<Option<SegmentManifest>, Error> {
    let Some(first) = sources.first() else {
        return Err(Error::Ragged { what: "no segment is to be compacted" });
    };
    if sources.iter().any(|source| source.partition != first.partition) {
        return Err(Error::Ragged { what: "segments of several partitions are to be one" });
    }
    let mut kept = Vec::with_capacity(sources.len());
    for source in sources {
        kept.push(keep(blobs, schema, source, deletes).await?);
    }
    if kept.iter().all(|kept| kept.rows.is_empty()) {
        return Ok(None);
    }
    let vectors: Vec<FieldId> = schema.vectors().map(|field| field.id).collect();
    let stored = |field| sources.iter().any(|source| vector_column(source, field).is_some());
    let vectors: Vec<FieldId> = vectors.into_iter().filter(|field| stored(*field)).collect();
    let of_schema = Arc::clone(schema);
    let (layout, rows, times) = work(id, move || join(&of_schema, kept, &vectors)).await??;
    let mut columns = vec![write_scalars(blobs, collection, id, schema, &rows, &times).await?];
    for column in rows.columns.iter().filter(|column| column.data.data_type().is_vector()) {
        columns.push(move_vectors(blobs, collection, id, column.field, sources, &layout).await?);
    }
    let applied = deletes.iter().map(|file| file.newest).max().unwrap_or_default();
    let unhidden = sources.iter().map(SegmentManifest::unhidden_through).min().unwrap_or_default();
    let columns = Columns { partition: first.partition, columns, clean_through: applied.max(unhidden) };
    finish(blobs, collection, id, columns, &rows, &times).await.map(Some)
}

/// The object with the vectors of `field`.
fn vector_column(source: &SegmentManifest, field: FieldId) -> Option<&ColumnRef> {
    source.columns.iter().find(|column| column.fields == [field] && column.object.key.ends_with(".bin"))
}

/// The rows of `source` that none of `deletes` hides.
async fn keep(
    blobs: &dyn Blobs,
    schema: &Arc<Schema>,
    source: &SegmentManifest,
    deletes: &[DeleteManifest],
) -> Result<Kept, Error> {
    let is_vector = |column: &&ColumnRef| {
        column.fields.first().is_some_and(|field| vector_column(source, *field) == Some(*column))
    };
    let column = source.columns.iter().find(|column| !is_vector(column));
    let column = column.ok_or(Error::Ragged { what: "the manifest names no scalar columns" })?;
    let scalars = read_scalars(blobs, schema, source, column).await?;
    if scalars.times.len() as u64 != source.rows {
        return Err(Error::Ragged { what: "columns have another length than the manifest says" });
    }
    let (of_schema, partition, times) = (Arc::clone(schema), source.partition, scalars.times.clone());
    let part = work(source.id, move || {
        let runs = Runs::sealed(partition, &times);
        Arc::new(Part::new(&of_schema, scalars.columns, Vec::new(), runs, Hiding::default()))
    });
    let part = part.await?;
    for file in deletes.iter().filter(|file| source.needs(file)) {
        let deletes = read_deletes(blobs, file).await?;
        let part = Arc::clone(&part);
        work(source.id, move || part.hide(deletes.iter())).await?;
    }
    let (of_schema, times, mut valid_vectors) = (Arc::clone(schema), scalars.times, scalars.valid_vectors);
    for field in schema.vectors().filter(|field| vector_column(source, field.id).is_none()) {
        // Rows that were written before the field existed have no value.
        valid_vectors.insert(field.id, Bitset::none(times.len()));
    }
    work(source.id, move || {
        let visible = part.visible(None, Timestamp::MAX);
        let rows: Vec<usize> = match &visible {
            Visible::All => (0..part.rows()).collect(),
            Visible::Some(rows) => rows.iter().collect(),
            Visible::None => Vec::new(),
        };
        let fields = of_schema.fields.iter().filter(|field| !field.data_type.is_vector());
        let columns = fields.map(|field| match part.column(field.id) {
            Some(column) => column.take(&rows),
            None => Column::absent(field, rows.len()),
        });
        let scalars = Batch { rows: rows.len(), columns: columns.collect() };
        let times = rows.iter().map(|&row| times[row]).collect();
        Kept { scalars, times, rows, valid_vectors }
    })
    .await
}

/// All rows that stay, by time: their scalar columns, and for each of the vector fields a column that only says which
/// rows have a value.
fn join(
    schema: &Schema,
    kept: Vec<Kept>,
    vectors: &[FieldId],
) -> Result<(Layout, Batch, Vec<Timestamp>), Error> {
    let origins: Vec<(usize, usize)> = kept
        .iter()
        .enumerate()
        .flat_map(|(source, kept)| kept.rows.iter().map(move |&row| (source, row)))
        .collect();
    let times: Vec<Timestamp> = kept.iter().flat_map(|kept| &kept.times).copied().collect();
    let sources = kept.len();
    let mut valid: Vec<HashMap<FieldId, Bitset>> = Vec::with_capacity(sources);
    let scalar_fields = schema.fields.iter().filter(|field| !field.data_type.is_vector());
    let mut rows = Batch { rows: 0, columns: scalar_fields.map(Column::empty).collect() };
    for kept in kept {
        rows.extend(&kept.scalars).map_err(|source| Error::Columns { source })?;
        valid.push(kept.valid_vectors);
    }
    let mut order: Vec<usize> = (0..origins.len()).collect();
    order.sort_by_key(|&at| times[at]);
    if !order.is_sorted() {
        rows = rows.take(&order);
    }
    let times = order.iter().map(|&at| times[at]).collect();
    let mut moves = vec![Vec::new(); sources];
    for (place, &at) in order.iter().enumerate() {
        let (source, row) = origins[at];
        moves[source].push((row, place));
    }
    for &field in vectors {
        rows.columns.push(Column {
            field,
            data: ColumnData::FloatVector { dim: 1, values: Vec::new() },
            valid: valid.iter().any(|valid| valid.contains_key(&field)).then(|| {
                Bitset::from_fn(order.len(), |place| {
                    let (source, row) = origins[order[place]];
                    valid[source].get(&field).is_none_or(|valid| valid.contains(row))
                })
            }),
        });
    }
    Ok((Layout { moves, rows: order.len() }, rows, times))
}

/// Stores the vectors of `field` of all rows that stay; rows of sources without any hold zeros.
async fn move_vectors(
    blobs: &dyn Blobs,
    collection: CollectionId,
    id: SegmentId,
    field: FieldId,
    sources: &[SegmentManifest],
    layout: &Layout,
) -> Result<ColumnRef, Error> {
    let mut shape = None;
    let mut values = Vec::new();
    for (source, moves) in sources.iter().zip(&layout.moves) {
        let Some(column) = vector_column(source, field) else { continue };
        let block = read_vectors(blobs, source, column, field).await?;
        let dim = *shape.get_or_insert(block.dim());
        if dim != block.dim() || block.rows() as u64 != source.rows {
            return Err(Error::Ragged { what: "vectors of segments that are to be one differ in shape" });
        }
        values.resize(layout.rows * dim, 0.0);
        for &(row, place) in moves {
            values[place * dim..(place + 1) * dim].copy_from_slice(block.row(row));
        }
    }
    write_vectors(blobs, collection, id, field, shape.unwrap_or(1), &values).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{ChannelName, PartitionId};
    use crate::blob::MemoryBlobs;
    use crate::model::{DataType, Value};
    use crate::segment::fixture::{DIM, KEY, NOTE, NUMBER, Row, VECTOR, batch, field, keys, schema};
    use crate::segment::{Deletes, Sealed, write_deletes, write_segment};

    const COLLECTION: CollectionId = CollectionId(1);
    const PARTITION: PartitionId = PartitionId(2);
    /// A vector field that the schema gained later.
    const LATER: FieldId = FieldId(105);

    /// The rows that can be seen, in row order: scalars, both vectors, time.
    fn seen(part: &Part) -> Vec<(Vec<Value>, Timestamp)> {
        let visible = part.visible(None, Timestamp::MAX);
        let vector = |field, row| match part.vectors(field) {
            Some(vectors) if vectors.valid.as_ref().is_none_or(|valid| valid.contains(row)) => {
                Value::Vector(vectors.block.row(row).to_vec())
            }
            _ => Value::Null,
        };
        let row = |row| {
            let scalars = [KEY, NUMBER, NOTE].map(|field| part.column(field).unwrap().value(row));
            let vectors = [VECTOR, LATER].map(|field| vector(field, row));
            ([&scalars[..], &vectors[..]].concat(), part.time(row))
        };
        (0..part.rows()).filter(|at| visible.contains(*at)).map(row).collect()
    }

    async fn load(
        blobs: &MemoryBlobs,
        schema: &Arc<Schema>,
        segment: &SegmentManifest,
        files: &[DeleteManifest],
    ) -> Sealed {
        let sealed = Sealed::load(blobs, Arc::clone(schema), segment, &[]).await.unwrap();
        for file in files.iter().filter(|file| segment.needs(file)) {
            sealed.delete(&read_deletes(blobs, file).await.unwrap());
        }
        sealed
    }

    #[tokio::test]
    async fn one_segment_has_what_can_be_seen_of_all_by_time() {
        for key in [DataType::Int64, DataType::VarChar] {
            let blobs = MemoryBlobs::new();
            let old = schema(key);
            let mut new = old.clone();
            new.fields.push(field(LATER, "later", DataType::FloatVector));
            let new = Arc::new(new);
            let rows =
                |from: i64| -> Vec<Row> { (from..from + 40).map(|key| Row::of(key % 50, key)).collect() };
            let times =
                |from: u64| -> Vec<Timestamp> { (0..40).map(|row| Timestamp(from + row / 4)).collect() };
            let mut sources = Vec::new();
            for (id, from) in [(10, 0), (11, 30)] {
                let (rows, times) = (batch(&old, &rows(from)), times(from as u64 / 6));
                let made =
                    write_segment(blobs.as_ref(), COLLECTION, SegmentId(id), PARTITION, &old, &rows, &times);
                sources.push(made.await.unwrap());
            }
            let mut whole = batch(&old, &rows(60));
            let values = (0..40 * DIM).map(|value| value as f32).collect();
            let valid = Some(Bitset::from_fn(40, |row| row % 3 == 0));
            whole.columns.push(Column {
                field: LATER,
                data: ColumnData::FloatVector { dim: DIM, values },
                valid,
            });
            let times = times(4);
            let made =
                write_segment(blobs.as_ref(), COLLECTION, SegmentId(12), PARTITION, &new, &whole, &times);
            sources.push(made.await.unwrap());
            let channel = ChannelName::of(COLLECTION, 0);
            let mut files = Vec::new();
            for (serial, at, some) in
                [(20, 7, None), (21, 12, Some(PARTITION)), (22, 13, Some(PartitionId(9)))]
            {
                let deleted: Vec<i64> = (serial..serial + 25).collect();
                let deletes = Deletes {
                    keys: keys(&new, &deleted),
                    times: vec![Timestamp(at); 25],
                    partitions: vec![some; 25],
                };
                files.push(
                    write_deletes(blobs.as_ref(), COLLECTION, &channel, serial, &deletes).await.unwrap(),
                );
            }

            let id = SegmentId(13);
            let made =
                compact(blobs.as_ref(), COLLECTION, id, &new, &sources, &files).await.unwrap().unwrap();

            let mut expected = Vec::new();
            for source in &sources {
                expected.extend(seen(load(&blobs, &new, source, &files).await.part()));
            }
            expected.sort_by_key(|(_, at)| *at);
            assert!(expected.len() > 30 && expected.len() < 100, "{}", expected.len());
            let sealed = load(&blobs, &new, &made, &files).await;
            assert_eq!(seen(sealed.part()), expected);
            assert_eq!((made.rows, sealed.rows()), (expected.len() as u64, expected.len()));
            assert_eq!((made.clean_through, made.partition), (Timestamp(13), PARTITION));
            assert!(files.iter().all(|file| !made.needs(file)));
        }
    }

    #[tokio::test]
    async fn without_a_row_there_is_no_segment() {
        let (blobs, schema) = (MemoryBlobs::new(), Arc::new(schema(DataType::Int64)));
        let rows = batch(&schema, &[Row::of(1, 1)]);
        let times = [Timestamp(5)];
        let source =
            write_segment(blobs.as_ref(), COLLECTION, SegmentId(1), PARTITION, &schema, &rows, &times);
        let deletes =
            Deletes { keys: keys(&schema, &[1]), times: vec![Timestamp(6)], partitions: vec![None] };
        let (source, channel) = (source.await.unwrap(), ChannelName::of(COLLECTION, 0));
        let file = write_deletes(blobs.as_ref(), COLLECTION, &channel, 2, &deletes).await.unwrap();
        let stored = blobs.list("").await.unwrap();

        let made = compact(blobs.as_ref(), COLLECTION, SegmentId(3), &schema, &[source], &[file]).await;

        assert_eq!(made.unwrap(), None);
        assert_eq!(blobs.list("").await.unwrap(), stored);
    }
}
