//! Making one segment out of several, without the rows that deletes have hidden or that have expired.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use super::hiding::Hiding;
use super::keys::KeyColumn;
use super::moved::Moved;
use super::part::{Part, Visible};
use super::runs::Runs;
use super::sealed::{read_scalars, read_vectors, work};
use super::store::{Columns, finish, write_scalars, write_vectors};
use super::{Error, read_deletes};
use crate::base::{CollectionId, FieldId, SegmentId, Timestamp};
use crate::blob::Blobs;
use crate::model::{
    Batch, Bitset, Column, ColumnData, ColumnRef, DeleteManifest, Expiry, Function, Schema, SegmentManifest,
};

/// The rows of one source that stay.
#[derive(Default)]
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

/// How rows are spread over several new segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clustering {
    /// The scalar field by whose values: each segment gets a range of them.
    pub field: FieldId,
    /// About so many stored bytes go into one segment. Not 0.
    pub max_bytes: u64,
}

/// Computes the column that a function fills, of rows of which all scalar columns are there; says why not.
pub type Compute = fn(&Schema, &Function, &Batch) -> Result<ColumnData, String>;

/// What is asked of a compaction besides what deletes hide.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    /// How rows are spread over several segments; `None` for one.
    pub clustering: Option<Clustering>,
    /// Rows that do not stay.
    pub expiry: Expiry,
    /// Rows that only deletes of after this time hide stay; `None` for none.
    pub keeps_since: Option<Timestamp>,
    /// Computes what functions fill where rows lack it, since they were written before there was the function; `None` to leave it.
    pub compute: Option<Compute>,
}

/// All rows that stay, and where each was.
struct Joined {
    scalars: Batch,
    times: Vec<Timestamp>,
    /// The source of each row, and its number there.
    origins: Vec<(usize, usize)>,
    /// By source: which vectors have a value.
    valid: Vec<HashMap<FieldId, Bitset>>,
}

/// Stores the rows of `sources` that no delete hides and that have not expired as the segment `id`, in the order of their times; rows of one time
/// stay in the order of `sources` and of the rows there, so that of two rows of one key and time the same one counts
/// before and after. With [`Rules::clustering`] they are spread over segments with ids from `id` on, each of which has the rows of
/// one range of values, in the same order. None if no row is left; then nothing is stored.
///
/// - `sources`: segments of one partition of one channel, oldest first; not empty.
/// - `deletes`: all delete files of the channel, as of one manifest that has all of `sources`.
/// - `id`: fresh, with as many numbers after it as there may be segments ([`segments_of`]); nothing was ever stored under
///   any of them.
///
/// In memory at a time: the scalar columns that stay, twice while they are encoded; the vectors of one field of one new
/// segment, twice while they are encoded; and besides one source's scalar columns with one file of deletes, or its vectors
/// of one field, or those that a function fills. Reads every file of deletes once for each source that needs it, and the vectors of each source once for
/// each new segment.
///
/// Not cancel safe: objects may remain that no manifest names.
///
/// # Errors
/// [`Error::Read`], [`Error::Damaged`], [`Error::Parquet`] and [`Error::TooNew`] if an object is not what was written,
/// [`Error::Write`] if the store fails, [`Error::Ragged`] if the sources do not fit together, [`Error::Compute`] if a function fails.
pub async fn compact(
    blobs: &dyn Blobs,
    collection: CollectionId,
    id: SegmentId,
    schema: &Arc<Schema>,
    sources: &[SegmentManifest],
    deletes: &[DeleteManifest],
    rules: Rules,
) -> Result<Vec<SegmentManifest>, Error> {
    let Rules { clustering, expiry, keeps_since, compute } = rules;
    let Some(first) = sources.first() else {
        return Err(Error::Ragged { what: "no segment is to be compacted" });
    };
    if sources.iter().any(|source| source.partition != first.partition) {
        return Err(Error::Ragged { what: "segments of several partitions are to be one" });
    }
    let mut kept = Vec::with_capacity(sources.len());
    for source in sources {
        kept.push(keep(blobs, schema, source, deletes, (expiry, keeps_since)).await?);
    }
    if kept.iter().all(|kept| kept.rows.is_empty()) {
        return Ok(Vec::new());
    }
    let vectors: Vec<FieldId> = schema.vectors().map(|field| field.id).collect();
    let living = || sources.iter().filter(|source| !expiry.is_all_of(source));
    let stored = |field| living().any(|source| vector_column(source, field).is_some());
    let fillings: Vec<(Compute, &Function)> = compute.map_or_else(Vec::new, |compute| {
        schema.recomputed().filter(|one| lack(&kept, one.output)).map(|one| (compute, one)).collect()
    });
    let is_filled = |field: FieldId| fillings.iter().any(|(_, function)| function.output == field);
    let vectors: Vec<FieldId> =
        vectors.into_iter().filter(|field| stored(*field) && !is_filled(*field)).collect();
    let of_schema = Arc::clone(schema);
    let most = clustering.map_or(1, |clustering| segments_of(sources, clustering.max_bytes));
    let work_on = move || {
        let joined = join(&of_schema, kept)?;
        let (key, field) = (of_schema.primary().id, clustering.map(|clustering| clustering.field));
        let groups = group(&joined, key, field, most);
        Ok::<_, Error>((joined, groups))
    };
    let (mut joined, groups) = work(id, work_on).await??;
    let applied = deletes.iter().map(|file| file.newest).max().unwrap_or_default();
    // What later deletes hide is there, and they still have to be applied.
    let applied = keeps_since.map_or(applied, |since| applied.min(since));
    let unhidden = sources.iter().map(SegmentManifest::unhidden_through).min().unwrap_or_default();
    let known =
        first.clustered_by.filter(|_| sources.iter().all(|one| one.clustered_by == first.clustered_by));
    let mut made = Vec::with_capacity(groups.len());
    for (group, at) in groups.iter().zip(0..) {
        let id = SegmentId(id.0 + at);
        let (layout, rows, times) = pick(&mut joined, group, sources.len(), &vectors);
        let mut columns = vec![write_scalars(blobs, collection, id, schema, &rows, &times).await?];
        for column in rows.columns.iter().filter(|column| column.data.data_type().is_vector()) {
            columns
                .push(move_vectors(blobs, collection, id, column.field, (sources, expiry), &layout).await?);
        }
        let mut rows = rows;
        for (compute, function) in &fillings {
            let column;
            (column, rows) = fill(id, schema, function, *compute, rows).await?;
            columns.push(write_vectors(blobs, collection, id, function.output, &column).await?);
        }
        let columns = Columns {
            partition: first.partition,
            columns,
            clean_through: applied.max(unhidden),
            clustered_by: clustering.map(|clustering| clustering.field).or(known),
        };
        made.push(finish(blobs, collection, id, schema, columns, &rows, &times).await?);
    }
    Ok(made)
}

/// What `function` fills of `rows`, which come back.
async fn fill(
    segment: SegmentId,
    schema: &Arc<Schema>,
    function: &Function,
    compute: Compute,
    rows: Batch,
) -> Result<(ColumnData, Batch), Error> {
    let (schema, function) = (Arc::clone(schema), function.clone());
    let (column, rows) = work(segment, move || (compute(&schema, &function, &rows), rows)).await?;
    Ok((column.map_err(|cause| Error::Compute { segment, cause })?, rows))
}

/// Whether some of the rows that stay have no value of `field`, a vector.
fn lack(kept: &[Kept], field: FieldId) -> bool {
    kept.iter().any(|kept| {
        let valid = kept.valid_vectors.get(&field);
        valid.is_some_and(|valid| kept.rows.iter().any(|row| !valid.contains(*row)))
    })
}

/// How many segments of about `max_bytes` the rows of `sources` make at most.
#[must_use]
pub fn segments_of(sources: &[SegmentManifest], max_bytes: u64) -> usize {
    let bytes: u64 = sources.iter().map(SegmentManifest::stored_bytes).sum();
    usize::try_from(bytes.div_ceil(max_bytes.max(1))).unwrap_or(usize::MAX).max(1)
}

/// The object with the vectors of `field`.
fn vector_column(source: &SegmentManifest, field: FieldId) -> Option<&ColumnRef> {
    source.columns.iter().find(|column| column.fields == [field] && column.object.key.ends_with(".bin"))
}

/// The rows of `source` that none of `deletes` hides and that have not expired. A source of which all have is not read.
async fn keep(
    blobs: &dyn Blobs,
    schema: &Arc<Schema>,
    source: &SegmentManifest,
    deletes: &[DeleteManifest],
    (expiry, keeps_since): (Expiry, Option<Timestamp>),
) -> Result<Kept, Error> {
    if expiry.is_all_of(source) {
        return Ok(Kept::default());
    }
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
        let visible = part.unhidden(expiry.written_before, keeps_since.unwrap_or(Timestamp::MAX));
        let mut rows: Vec<usize> = match &visible {
            Visible::All => (0..part.rows()).collect(),
            Visible::Some(rows) => rows.iter().collect(),
            Visible::None => Vec::new(),
        };
        if let Some((field, until)) = expiry.by_field {
            let ends = part.column(field);
            rows.retain(|row| ends.is_none_or(|ends| !is_over(ends, *row, until)));
        }
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

/// Whether the instant in row `row` is not after `until`; never where there is none.
fn is_over(ends: &Column, row: usize, until: i64) -> bool {
    ends.is_valid(row)
        && matches!(&ends.data, ColumnData::Int64(ends) if ends.get(row).is_some_and(|end| *end <= until))
}

/// All rows that stay.
fn join(schema: &Schema, kept: Vec<Kept>) -> Result<Joined, Error> {
    let scalar_fields = schema.fields.iter().filter(|field| !field.data_type.is_vector());
    let mut joined = Joined {
        scalars: Batch { rows: 0, columns: scalar_fields.map(Column::empty).collect() },
        times: Vec::new(),
        origins: Vec::new(),
        valid: Vec::with_capacity(kept.len()),
    };
    for (source, kept) in kept.into_iter().enumerate() {
        joined.scalars.extend(&kept.scalars).map_err(|source| Error::Columns { source })?;
        joined.times.extend(kept.times);
        joined.origins.extend(kept.rows.into_iter().map(|row| (source, row)));
        joined.valid.push(kept.valid_vectors);
    }
    Ok(joined)
}

/// The rows of each new segment, by time; with `field`, in up to `most` groups of about equal size, each with the rows of
/// one range of its values. Rows of one primary key and one time stay together.
fn group(joined: &Joined, primary: FieldId, field: Option<FieldId>, most: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..joined.times.len()).collect();
    let values = field.and_then(|field| joined.scalars.column(field)).filter(|_| most > 1);
    let mut groups: Vec<Vec<usize>> = Vec::new();
    match values {
        None => groups.push(order),
        Some(values) => {
            let first = first_twins(joined, primary);
            order.sort_by(|&left, &right| {
                let (one, other) = (first[left], first[right]);
                by_value(values, one, other).then(one.cmp(&other)).then(left.cmp(&right))
            });
            let size = order.len().div_ceil(most).max(1);
            for at in order {
                match groups.last_mut() {
                    Some(group)
                        if group.len() < size
                            || group.last().is_some_and(|last| first[*last] == first[at]) =>
                    {
                        group.push(at);
                    }
                    _ => groups.push(vec![at]),
                }
            }
        }
    }
    for group in &mut groups {
        group.sort_by_key(|&at| (joined.times[at], at));
    }
    groups
}

/// For each row the first one of the same primary key and time.
fn first_twins(joined: &Joined, primary: FieldId) -> Vec<usize> {
    let mut first: Vec<usize> = (0..joined.times.len()).collect();
    let Some(keys) = joined.scalars.column(primary).map(|column| KeyColumn::of(&column.data)) else {
        return first;
    };
    let mut order = first.clone();
    order.sort_by(|&left, &right| {
        keys.get(left)
            .cmp(&keys.get(right))
            .then(joined.times[left].cmp(&joined.times[right]))
            .then(left.cmp(&right))
    });
    for pair in order.windows(2) {
        if keys.get(pair[0]) == keys.get(pair[1]) && joined.times[pair[0]] == joined.times[pair[1]] {
            first[pair[1]] = first[pair[0]];
        }
    }
    first
}

/// The order of two rows by a column's values; rows without one come first.
fn by_value(column: &Column, left: usize, right: usize) -> Ordering {
    let values = match &column.data {
        ColumnData::Bool(all) => all[left].cmp(&all[right]),
        ColumnData::Int8(all) => all[left].cmp(&all[right]),
        ColumnData::Int16(all) => all[left].cmp(&all[right]),
        ColumnData::Int32(all) => all[left].cmp(&all[right]),
        ColumnData::Int64(all) => all[left].cmp(&all[right]),
        ColumnData::Float(all) => all[left].total_cmp(&all[right]),
        ColumnData::Double(all) => all[left].total_cmp(&all[right]),
        ColumnData::VarChar(all) => all.get(left).cmp(all.get(right)),
        ColumnData::Json(_)
        | ColumnData::Geometry(_)
        | ColumnData::Array(_)
        | ColumnData::FloatVector { .. }
        | ColumnData::BinaryVector { .. }
        | ColumnData::SparseVector(_) => Ordering::Equal,
    };
    column.is_valid(left).cmp(&column.is_valid(right)).then(values)
}

/// Some rows (of all only once): their scalar columns, for each of the vector fields a column that only says which rows
/// have a value, their times, and where they come from.
fn pick(
    joined: &mut Joined,
    group: &[usize],
    sources: usize,
    vectors: &[FieldId],
) -> (Layout, Batch, Vec<Timestamp>) {
    let is_all = group.len() == joined.times.len() && group.is_sorted();
    let mut rows = if is_all { std::mem::take(&mut joined.scalars) } else { joined.scalars.take(group) };
    let times = group.iter().map(|&at| joined.times[at]).collect();
    let mut moves = vec![Vec::new(); sources];
    for (place, &at) in group.iter().enumerate() {
        let (source, row) = joined.origins[at];
        moves[source].push((row, place));
    }
    for &field in vectors {
        let is_valid = |place: usize| {
            let (source, row) = joined.origins[group[place]];
            joined.valid[source].get(&field).is_none_or(|valid| valid.contains(row))
        };
        rows.columns.push(Column {
            field,
            data: ColumnData::FloatVector { dim: 1, values: Vec::new() },
            valid: joined
                .valid
                .iter()
                .any(|valid| valid.contains_key(&field))
                .then(|| Bitset::from_fn(group.len(), is_valid)),
        });
    }
    (Layout { moves, rows: group.len() }, rows, times)
}

/// Stores the vectors of `field` of all rows that stay; rows of sources without any hold zeros.
async fn move_vectors(
    blobs: &dyn Blobs,
    collection: CollectionId,
    id: SegmentId,
    field: FieldId,
    (sources, expiry): (&[SegmentManifest], Expiry),
    layout: &Layout,
) -> Result<ColumnRef, Error> {
    let mut moved: Option<Moved> = None;
    for (source, moves) in sources.iter().zip(&layout.moves) {
        let column = vector_column(source, field).filter(|_| !expiry.is_all_of(source));
        let Some(column) = column else { continue };
        let block = read_vectors(blobs, source, column, field, None).await?;
        let differs = || Error::Ragged { what: "vectors of segments that are to be one differ in shape" };
        if block.rows() as u64 != source.rows {
            return Err(differs());
        }
        let all = moved.get_or_insert_with(|| Moved::new(&block, layout.rows));
        if !moves.iter().all(|&(row, place)| all.take(&block, row, place)) {
            return Err(differs());
        }
    }
    let vectors = moved.map(Moved::into_column);
    let vectors = vectors.ok_or(Error::Ragged { what: "no segment has the vectors that one is to have" })?;
    write_vectors(blobs, collection, id, field, &vectors).await
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
        let visible = part.visible(None, Timestamp::ZERO, Timestamp::MAX);
        let vector = |field, row| match part.vectors(field) {
            Some(vectors) if vectors.valid.as_ref().is_none_or(|valid| valid.contains(row)) => {
                vectors.block.value(row)
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
            let made = compact(blobs.as_ref(), COLLECTION, id, &new, &sources, &files, Rules::default())
                .await
                .unwrap()
                .remove(0);

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

    /// A vector of its number for each row.
    fn numbered(_: &Schema, _: &Function, rows: &Batch) -> Result<ColumnData, String> {
        let Some(Column { data: ColumnData::Int64(numbers), .. }) = rows.column(NUMBER) else {
            return Err("there are no numbers".to_owned());
        };
        let values = numbers.iter().flat_map(|number| [*number as f32; DIM]).collect();
        Ok(ColumnData::FloatVector { dim: DIM, values })
    }

    #[tokio::test]
    async fn what_a_function_fills_is_computed_where_rows_came_before_it() {
        let (blobs, old) = (MemoryBlobs::new(), Arc::new(schema(DataType::Int64)));
        let mut new = Schema::clone(&old);
        new.fields
            .push(crate::model::Field { nullable: false, ..field(LATER, "later", DataType::FloatVector) });
        new.functions.push(Function {
            id: 1,
            name: "numbered".to_owned(),
            description: String::new(),
            kind: crate::model::FunctionKind::MinHash,
            input: NUMBER,
            output: LATER,
            params: Vec::new(),
        });
        let new = Arc::new(new);
        let rows = |from: i64| -> Vec<Row> { (from..from + 6).map(|key| Row::of(key, key * 3)).collect() };
        let times = |at| vec![Timestamp(at); 6];
        let mut before = Vec::new();
        for (id, from) in [(1, 0), (2, 6)] {
            let (rows, times) = (batch(&old, &rows(from)), times(from as u64 + 1));
            let id = SegmentId(id);
            let made = write_segment(blobs.as_ref(), COLLECTION, id, PARTITION, &old, &rows, &times);
            before.push(made.await.unwrap());
        }
        let mut whole = batch(&new, &rows(12));
        whole.columns[4].data = numbered(&new, &new.functions[0], &whole).unwrap();
        let at = times(20);
        let made = write_segment(blobs.as_ref(), COLLECTION, SegmentId(3), PARTITION, &new, &whole, &at);
        let after = made.await.unwrap();
        let all = [before.clone(), vec![after.clone()]].concat();
        let run = async |sources: &[SegmentManifest], id: i64, compute: Option<Compute>| {
            let rules = Rules { compute, ..Rules::default() };
            let made = compact(blobs.as_ref(), COLLECTION, SegmentId(id), &new, sources, &[], rules).await;
            let made = made.unwrap().remove(0);
            let sealed = load(&blobs, &new, &made, &[]).await;
            let of_row = |(scalars, _): (Vec<Value>, Timestamp)| (scalars[1].clone(), scalars[4].clone());
            (made.has_vectors(LATER), seen(sealed.part()).into_iter().map(of_row).collect::<Vec<_>>())
        };
        let row = |key: i64| {
            let number = key * 3;
            (Value::Int(number), Value::Vector(vec![number as f32; DIM]))
        };
        let expected = |keys: std::ops::Range<i64>| (true, keys.map(row).collect::<Vec<_>>());

        assert_eq!(run(&before, 10, Some(numbered)).await, expected(0..12));
        assert_eq!(run(&all, 11, Some(numbered)).await, expected(0..18));
        assert_eq!(run(&[after], 12, Some(numbered)).await, expected(12..18), "it is there already");
        let (has_vectors, rows) = run(&before, 13, None).await;
        assert!(!has_vectors && rows.iter().all(|(_, vector)| *vector == Value::Null), "nobody computes it");
    }

    #[tokio::test]
    async fn what_was_dropped_is_not_read_and_does_not_outlive_a_compaction() {
        let (blobs, old) = (MemoryBlobs::new(), Arc::new(schema(DataType::Int64)));
        let rows: Vec<Row> = (0..20).map(|key| Row::of(key, key)).collect();
        let written = batch(&old, &rows);
        let times = vec![Timestamp(3); 20];
        let source =
            write_segment(blobs.as_ref(), COLLECTION, SegmentId(1), PARTITION, &old, &written, &times);
        let source = source.await.unwrap();
        let mut new = Schema::clone(&old);
        new.fields.retain(|field| field.id != VECTOR && field.id != NOTE);
        // Of the same names, but others.
        new.fields.push(field(FieldId(104), "note", DataType::VarChar));
        new.fields.push(field(LATER, "v", DataType::FloatVector));
        let new = Arc::new(new);

        let sealed = load(&blobs, &new, &source, &[]).await;
        let (sources, rules) = ([source.clone()], Rules::default());
        let made = compact(blobs.as_ref(), COLLECTION, SegmentId(2), &new, &sources, &[], rules);
        let made = made.await.unwrap().remove(0);

        let of_made = load(&blobs, &new, &made, &[]).await;
        for part in [sealed.part(), of_made.part()] {
            assert!(part.vectors(VECTOR).is_none() && part.vectors(LATER).is_none());
            assert!(part.column(NOTE).is_none());
            let note = part.column(FieldId(104)).unwrap();
            assert!((0..20).all(|row| note.value(row) == Value::Null));
        }
        assert!(source.has_vectors(VECTOR) && !made.has_vectors(VECTOR));
        assert_eq!(made.columns.len(), 1, "{:?}", made.columns);
        let bytes = |segment: &SegmentManifest| segment.loaded_bytes(&new);
        let vectors =
            source.columns.iter().find(|column| column.fields == [VECTOR]).unwrap().object.size_bytes;
        assert!(bytes(&source) < source.loaded_bytes(&old) - vectors / 2, "nobody loads it");
    }

    #[tokio::test]
    async fn clustered_rows_are_all_there_once_in_ranges_that_do_not_overlap() {
        let (blobs, schema) = (MemoryBlobs::new(), Arc::new(schema(DataType::Int64)));
        let mut sources = Vec::new();
        for at in 0..4_i64 {
            let rows: Vec<Row> =
                (0..50).map(|key| Row::of(at * 50 + key, (key * 37 + at * 11) % 100)).collect();
            let (times, id) = (vec![Timestamp(at as u64 + 1); 50], SegmentId(at + 1));
            let rows = batch(&schema, &rows);
            let written =
                write_segment(blobs.as_ref(), COLLECTION, id, PARTITION, &schema, &rows, &times).await;
            sources.push(written.unwrap());
        }
        let bytes: u64 = sources.iter().map(SegmentManifest::stored_bytes).sum();
        let by = Clustering { field: NUMBER, max_bytes: bytes.div_ceil(5) };
        assert_eq!(segments_of(&sources, by.max_bytes), 5);

        let rules = Rules { clustering: Some(by), ..Rules::default() };
        let made =
            compact(blobs.as_ref(), COLLECTION, SegmentId(10), &schema, &sources, &[], rules).await.unwrap();

        let ids: Vec<i64> = made.iter().map(|one| one.id.0).collect();
        assert_eq!(ids, [10, 11, 12, 13, 14]);
        let (mut all, mut last) = (Vec::new(), i64::MIN);
        for one in &made {
            assert_eq!((one.clustered_by, one.partition), (Some(NUMBER), PARTITION));
            let part = load(&blobs, &schema, one, &[]).await;
            let rows = seen(part.part());
            assert!(rows.is_sorted_by_key(|(_, at)| *at));
            let number = |row: &(Vec<Value>, Timestamp)| match row.0[1] {
                Value::Int(number) => number,
                _ => panic!("{row:?}"),
            };
            let (least, most) =
                (rows.iter().map(number).min().unwrap(), rows.iter().map(number).max().unwrap());
            assert!(least >= last, "ranges do not overlap");
            last = most;
            all.extend(rows);
        }
        let mut expected = Vec::new();
        for source in &sources {
            expected.extend(seen(load(&blobs, &schema, source, &[]).await.part()));
        }
        let by_key = |row: &(Vec<Value>, Timestamp)| format!("{:?}", row.0[0]);
        all.sort_by_key(by_key);
        expected.sort_by_key(by_key);
        assert_eq!(all, expected);
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

        let made =
            compact(blobs.as_ref(), COLLECTION, SegmentId(3), &schema, &[source], &[file], Rules::default())
                .await;

        assert_eq!(made.unwrap(), Vec::new());
        assert_eq!(blobs.list("").await.unwrap(), stored);
    }

    #[tokio::test]
    async fn what_has_expired_does_not_stay_and_a_source_of_nothing_else_is_not_read() {
        let blobs = MemoryBlobs::new();
        let mut schema = schema(DataType::Int64);
        let ends = FieldId(106);
        schema.fields.push(field(ends, "ends", DataType::Timestamptz));
        let schema = Arc::new(schema);
        let mut sources = Vec::new();
        for id in 1..=3_u64 {
            let keys: Vec<Row> = (0..6).map(|key| Row::of(key, id as i64 * 10 + key)).collect();
            let mut rows = batch(&schema, &keys);
            rows.columns.retain(|column| column.field != ends);
            rows.columns.push(Column {
                field: ends,
                data: ColumnData::Int64((0..6).collect()),
                valid: Some(Bitset::from_fn(6, |row| row != 1)),
            });
            let times: Vec<Timestamp> = (0..6).map(|row| Timestamp(id * 10 + row)).collect();
            let id = SegmentId(id as i64);
            let written = write_segment(blobs.as_ref(), COLLECTION, id, PARTITION, &schema, &rows, &times);
            sources.push(written.await.unwrap());
        }
        for key in sources[0].objects() {
            blobs.delete(&key).await.unwrap();
        }
        let numbers = async |id: i64, written_before: u64, by_field: Option<i64>| {
            let by_field = by_field.map(|until| (ends, until));
            let expiry = Expiry { written_before: Timestamp(written_before), by_field };
            let rules = Rules { expiry, ..Rules::default() };
            let made =
                compact(blobs.as_ref(), COLLECTION, SegmentId(id), &schema, &sources, &[], rules).await;
            let mut numbers = Vec::new();
            for one in made.unwrap() {
                assert!(!expiry.may_be_of(&one), "{one:?}");
                let part = load(&blobs, &schema, &one, &[]).await;
                numbers.extend(seen(part.part()).into_iter().map(|(values, _)| values[1].clone()));
            }
            numbers
        };

        // Of the second source two rows are left, of the third all.
        assert_eq!(numbers(10, 24, None).await, [24, 25, 30, 31, 32, 33, 34, 35].map(Value::Int));
        // Rows with an instant that is not after 3 are over, the one without never is.
        assert_eq!(numbers(20, 24, Some(3)).await, [24, 25, 31, 34, 35].map(Value::Int));
        let stored = blobs.list("").await.unwrap();
        assert_eq!(numbers(30, 36, None).await, Vec::<Value>::new());
        assert_eq!(blobs.list("").await.unwrap(), stored);
    }
}
