//! Rows of files become segments, so many at a time as one job may take.
//!
//! Files are read on a thread that may wait; of a file a few pieces are in memory, and of rows what one job may buffer. Rows
//! take the same way as those of an insert (`intake`). They have no time yet: that is given to all rows of an import at once
//! when they are committed.

mod columns;
mod csv;
mod error;
mod files;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod json;
mod npy;
mod parquet;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use contract::pb::schema::FieldData;
use serde_json::Value as Json;
use serde_json::value::RawValue;
use tokio::runtime::Handle;

pub use error::Error;

use self::csv::CsvRows;
use self::files::{Bucket, File};
use self::json::{JsonRows, Layout};
use self::npy::Npy;
use self::parquet::ParquetRows;
use crate::base::{PartitionId, SegmentId, Timestamp};
use crate::blob::Blobs;
use crate::intake::json_rows::{Meta, Rows, Table};
use crate::intake::rows::{KeyColumn, Outputs, fill_keys, sent};
use crate::intake::{self, check_rows, functions, route, zone_of};
use crate::model::{Batch, DataType, Field, Keys, Schema, SegmentManifest};
use crate::rpc::{ImportDone, ImportFormat, ImportJob, ImportOptions, ImportPlace};
use crate::segment::write_segment;

/// Longest row of a text. Unit: bytes.
const MAX_ROW_BYTES: usize = 64 << 20;
/// Most rows that are converted at once.
const PIECE_ROWS: usize = 8_192;
/// After so many bytes of rows a job ends: others wait for the node, too.
const JOB_BYTES: usize = 256 << 20;

/// How many bytes of rows are in memory in one form at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffers {
    /// About so many are converted at once.
    piece: usize,
    /// So many wait until they fill a segment.
    rows: usize,
}

impl Buffers {
    /// The largest ones that a job takes about `bytes` in memory with; with little they are small, but not useless.
    pub fn within(bytes: u64) -> Self {
        const LEAST: u64 = 8 << 20;
        const MOST: u64 = 64 << 20;
        let rows = usize::try_from((bytes / Self::TIMES).clamp(LEAST, MOST)).unwrap_or(usize::MAX);
        Self { piece: rows / 8, rows }
    }

    /// What waits is in memory twice while it grows, and what is stored of it once more. A piece is there as it is in the
    /// file, unpacked, as a client would send it, as columns, checked, and divided among segments.
    const TIMES: u64 = 4;

    /// What a job takes in memory. Unit: bytes.
    pub const fn needs(self) -> u64 {
        self.rows as u64 * Self::TIMES
    }
}

/// Does a job. `held` is dropped once what this takes in memory is given back, also where nobody waits for it any more.
///
/// # Errors
/// What is wrong with the files or their rows; what a store says.
pub async fn run(
    blobs: Arc<dyn Blobs>,
    job: ImportJob,
    buffers: Buffers,
    held: impl Send + 'static,
) -> Result<ImportDone, Error> {
    let runtime = Handle::current();
    let work = move || {
        let bucket = Bucket::new(Arc::clone(&blobs), runtime);
        let done = import(&bucket, blobs.as_ref(), &job, buffers);
        drop(held);
        done
    };
    let done = crate::base::heavy("import", work).await;
    done.map_err(|error| Error::Broke { why: error.to_string() })?
}

fn import(
    bucket: &Bucket,
    blobs: &dyn Blobs,
    job: &ImportJob,
    buffers: Buffers,
) -> Result<ImportDone, Error> {
    let files = bucket.files(&job.files)?;
    let paths: Vec<String> = files.iter().map(|file| file.path.clone()).collect();
    let format = ImportFormat::of(&paths).map_err(|why| Error::Format { why })?;
    let bytes = files.iter().map(|file| file.size).sum();
    let mut done = ImportDone { files: paths, bytes, ..ImportDone::default() };
    let schema = &job.collection.schema;
    let place = job.from.unwrap_or_default();
    let mut source = Source::open(format, &files, schema, &job.options, (place, buffers.piece))?;
    done.total = source.total();
    if job.from.is_none() {
        done.next = Some(source.place());
        return Ok(done);
    }
    let mut filling = Filling::new(bucket, blobs, job, buffers.rows);
    done.next = loop {
        if filling.is_spent() {
            break Some(source.place());
        }
        let first = source.place().row;
        let Some((fields, rows)) = source.next(schema, buffers.piece)? else { break None };
        let rows_are_wrong = |source| Error::Rows { file: files[0].path.clone(), first, source };
        let batch = filling.take_in(fields, rows).map_err(rows_are_wrong)?;
        done.rows += batch.rows as u64;
        filling.add(batch)?;
    };
    done.segments = filling.finish()?;
    done.read = match done.next {
        Some(place) => source.read(place, bytes),
        None => bytes,
    };
    Ok(done)
}

/// Where rows come from.
enum Source<'a> {
    Json(JsonRows),
    Csv(Box<CsvRows>, &'a ImportOptions),
    Parquet(Box<ParquetRows>),
    Numpy(NumpyRows),
}

impl<'a> Source<'a> {
    fn open(
        format: ImportFormat,
        files: &[File],
        schema: &Schema,
        options: &'a ImportOptions,
        (place, piece): (ImportPlace, usize),
    ) -> Result<Self, Error> {
        let file = &files[0];
        Ok(match format {
            ImportFormat::Json => Self::Json(JsonRows::open(file, Layout::List, place)?),
            ImportFormat::JsonLines => Self::Json(JsonRows::open(file, Layout::Lines, place)?),
            ImportFormat::Csv => Self::Csv(Box::new(CsvRows::open(file, options, place)?), options),
            ImportFormat::Parquet => Self::Parquet(Box::new(ParquetRows::open(file, schema, place, piece)?)),
            ImportFormat::Numpy => Self::Numpy(NumpyRows::open(files, schema, place, piece)?),
        })
    }

    /// All rows, where the files say so.
    fn total(&self) -> u64 {
        match self {
            Self::Json(_) | Self::Csv(..) => 0,
            Self::Parquet(rows) => rows.total,
            Self::Numpy(rows) => rows.total,
        }
    }

    /// The place before the next row.
    fn place(&self) -> ImportPlace {
        match self {
            Self::Json(rows) => rows.place(),
            Self::Csv(rows, _) => rows.place(),
            Self::Parquet(rows) => rows.place(),
            Self::Numpy(rows) => ImportPlace { row: rows.row, byte: 0 },
        }
    }

    /// How many of all `bytes` lie before a place.
    fn read(&self, place: ImportPlace, bytes: u64) -> u64 {
        match self.total() {
            0 => place.byte,
            total => {
                u64::try_from(u128::from(bytes) * u128::from(place.row) / u128::from(total)).unwrap_or(bytes)
            }
        }
    }

    /// The next rows as a client would send them, about `piece` bytes of them; `None` at the end.
    fn next(&mut self, schema: &Schema, piece: usize) -> Result<Option<(Vec<FieldData>, usize)>, Error> {
        match self {
            Self::Json(rows) => {
                let (path, first) = (rows.path().to_owned(), rows.place().row);
                collect((schema, &path, first), piece, |table| match rows.next()? {
                    Some(text) => table.add(text).map(|()| text.len()).map(Some).map_err(Stop::Row),
                    None => Ok(None),
                })
            }
            Self::Csv(rows, options) => {
                let (path, first) = (rows.path().to_owned(), rows.place().row);
                collect((schema, &path, first), piece, |table| match rows.next()? {
                    Some(values) => add_texts(table, schema, options, values).map(Some).map_err(Stop::Row),
                    None => Ok(None),
                })
            }
            Self::Parquet(rows) => rows.next(schema),
            Self::Numpy(rows) => rows.next(schema),
        }
    }
}

/// Why no row was added.
enum Stop {
    File(Error),
    Row(intake::Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::File(error)
    }
}

/// The columns of as many rows as are converted at once. `add` adds one and says how long it was.
fn collect(
    (schema, path, first): (&Schema, &str, u64),
    piece: usize,
    mut add: impl FnMut(&mut Table<'_>) -> Result<Option<usize>, Stop>,
) -> Result<Option<(Vec<FieldData>, usize)>, Error> {
    let of_row = |source| Error::Rows { file: path.to_owned(), first, source };
    let mut table = Table::new(schema, Meta::Keys);
    let mut bytes = 0;
    while bytes < piece && table.rows() < PIECE_ROWS {
        match add(&mut table) {
            Ok(Some(more)) => bytes += more,
            Ok(None) => break,
            Err(Stop::File(error)) => return Err(error),
            Err(Stop::Row(source)) => return Err(of_row(source)),
        }
    }
    let rows = table.rows();
    if rows == 0 {
        return Ok(None);
    }
    Ok(Some((table.finish(Rows::Whole).map_err(of_row)?, rows)))
}

/// Adds a row of texts: what a text says depends on the type of its field.
fn add_texts<'v>(
    table: &mut Table<'_>,
    schema: &Schema,
    options: &ImportOptions,
    values: impl Iterator<Item = (&'v str, &'v str)>,
) -> Result<usize, intake::Error> {
    let mut length = 0;
    let mut row: Vec<(&str, Box<RawValue>)> = Vec::new();
    for (name, text) in values {
        length += text.len();
        let field = schema.field(name).filter(|field| !field.is_dynamic);
        let may_lack = |field: &Field| field.nullable || field.default.is_some();
        let is_null = text == options.null && field.is_none_or(may_lack);
        let raw = match field.map(|field| field.data_type) {
            _ if is_null => RawValue::from_string("null".to_owned()),
            // What stands in quotes is taken for what it says, whatever the type.
            Some(
                DataType::Bool
                | DataType::Int8
                | DataType::Int16
                | DataType::Int32
                | DataType::Int64
                | DataType::Float
                | DataType::Double
                | DataType::VarChar
                | DataType::Text
                | DataType::Timestamptz
                | DataType::Geometry,
            ) => quoted(text),
            Some(_) => RawValue::from_string(text.to_owned()),
            // A dynamic key has a value of JSON, or a text.
            None => RawValue::from_string(text.to_owned()).or_else(|_| quoted(text)),
        };
        let raw = raw.map_err(|reason| {
            let reason = format!("row {}: {name} is no JSON: {reason}", table.rows());
            intake::Error::InsertData { reason }
        })?;
        if field.is_none() && is_null && name != crate::model::DYNAMIC_FIELD {
            // Nobody needs a dynamic key that says nothing.
            continue;
        }
        row.push((name, raw));
    }
    table.add_pairs(row.iter().map(|(name, raw)| (*name, raw.as_ref())))?;
    Ok(length)
}

fn quoted(text: &str) -> Result<Box<RawValue>, serde_json::Error> {
    RawValue::from_string(Json::String(text.to_owned()).to_string())
}

/// Rows of which each field is a file.
struct NumpyRows {
    columns: Vec<(Field, Npy)>,
    row: u64,
    total: u64,
    at_once: u64,
}

impl NumpyRows {
    fn open(files: &[File], schema: &Schema, place: ImportPlace, piece: usize) -> Result<Self, Error> {
        let mut columns: Vec<(Field, Npy)> = Vec::new();
        for file in files {
            let unfit = |why: String| Error::Unfit { file: file.path.clone(), why };
            let field = schema.field(file.stem());
            let field = field.ok_or_else(|| unfit("it is named as no field of the collection".to_owned()))?;
            if columns.iter().any(|(known, _)| known.id == field.id) {
                return Err(unfit("another file is named as the same field".to_owned()));
            }
            let column = Npy::open(file)?;
            if let Some((other, first)) = columns.first()
                && first.rows != column.rows
            {
                let why =
                    format!("it has {} rows, and that of {} has {}", column.rows, other.name, first.rows);
                return Err(unfit(why));
            }
            columns.push((field.clone(), column));
        }
        let total = columns.first().map_or(0, |(_, column)| column.rows);
        let bytes: u64 = columns.iter().map(|(_, column)| column.row_bytes()).sum();
        let at_once = (piece as u64 / bytes.max(1)).clamp(1, PIECE_ROWS as u64);
        if bytes > MAX_ROW_BYTES as u64 {
            let why = format!("its rows have more than {MAX_ROW_BYTES} bytes");
            return Err(Error::Unfit { file: files[0].path.clone(), why });
        }
        Ok(Self { columns, row: place.row, total, at_once })
    }

    fn next(&mut self, _: &Schema) -> Result<Option<(Vec<FieldData>, usize)>, Error> {
        let end = (self.row + self.at_once).min(self.total);
        let range: Range<u64> = self.row..end;
        if range.is_empty() {
            return Ok(None);
        }
        let fields = self.columns.iter().map(|(field, column)| {
            let values = column.read(range.clone())?;
            columns::to_wire(field, values, Vec::new()).map_err(|misfit| Error::Value {
                file: column.path().to_owned(),
                row: range.start + misfit.at as u64,
                why: misfit.why,
            })
        });
        let fields = fields.collect::<Result<Vec<_>, _>>()?;
        self.row = end;
        Ok(Some((fields, usize::try_from(end - range.start).unwrap_or(usize::MAX))))
    }
}

/// Rows that wait to fill segments, by channel and partition.
struct Filling<'a> {
    bucket: &'a Bucket,
    blobs: &'a dyn Blobs,
    job: &'a ImportJob,
    /// So many bytes may wait.
    most: usize,
    waiting: BTreeMap<(usize, PartitionId), (Batch, usize)>,
    waiting_bytes: usize,
    taken_bytes: usize,
    keys_given: u32,
    made: Vec<(u32, SegmentManifest)>,
}

impl<'a> Filling<'a> {
    fn new(bucket: &'a Bucket, blobs: &'a dyn Blobs, job: &'a ImportJob, most: usize) -> Self {
        Self {
            bucket,
            blobs,
            job,
            most,
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            taken_bytes: 0,
            keys_given: 0,
            made: Vec::new(),
        }
    }

    /// Whether no more rows are to be taken.
    fn is_spent(&self) -> bool {
        // Each of the rows that come next may begin a segment of its own.
        let segments = self.made.len() + self.waiting.len() + PIECE_ROWS;
        let keys = self.keys_given as usize + PIECE_ROWS;
        let has_any = self.taken_bytes > 0;
        has_any
            && (self.taken_bytes >= JOB_BYTES
                || segments > self.job.segments as usize
                || self.makes_keys() && keys > self.job.keys as usize)
    }

    fn makes_keys(&self) -> bool {
        self.job.collection.schema.primary().auto_id
    }

    /// Whole, checked rows, as an insert makes them.
    fn take_in(&mut self, fields: Vec<FieldData>, rows: usize) -> Result<Batch, intake::Error> {
        let info = &self.job.collection;
        let allows_keys = info.allows_given_keys();
        let given = if allows_keys { KeyColumn::Allowed } else { KeyColumn::ByAutoId };
        let count = u32::try_from(rows).unwrap_or(u32::MAX);
        let outputs = if info.allows_given_outputs() { Outputs::MayBeGiven } else { Outputs::Computed };
        let sent = sent(&info.schema, &zone_of(&info.properties), (fields, count), (given, outputs))?;
        if let Some(function) = sent.to_ask(&info.schema).first() {
            let field = info.schema.field_by_id(function.output);
            let field = field.map(|field| field.name.clone()).unwrap_or_default();
            return Err(intake::Error::NotAsked { field });
        }
        let mut batch = sent.whole(&info.schema)?;
        let primary = info.schema.primary();
        if primary.auto_id && batch.column(primary.id).is_some_and(|column| column.data.is_empty()) {
            fill_keys(&info.schema, &mut batch, self.job.first_key + i64::from(self.keys_given));
            self.keys_given += count;
        }
        check_rows(&info.schema, &batch)?;
        functions::compute(&info.schema, &mut batch)?;
        Ok(batch)
    }

    /// Takes rows; makes segments of what waits if that is much.
    fn add(&mut self, batch: Batch) -> Result<(), Error> {
        let info = &self.job.collection;
        let keys = batch.column(info.schema.primary().id).and_then(|column| Keys::from_column(&column.data));
        let Some(keys) = keys else {
            return Err(Error::Broke { why: "rows have no keys".to_owned() });
        };
        let by_key = info.schema.partition_key().and_then(|field| batch.column(field.id));
        let partition = |row: usize| match (self.job.partition, by_key) {
            (Some(partition), _) => Some(partition),
            (None, Some(column)) => {
                let number = route::partition_of(&column.data, row, info.partitions.len());
                info.partitions.get(number).map(|partition| partition.id)
            }
            (None, None) => None,
        };
        for share in route::shares(&keys, info.channels.len(), partition) {
            let rows = batch.take(&share.rows);
            let bytes: usize = rows.columns.iter().map(|column| column.data.memory_bytes()).sum();
            self.waiting_bytes += bytes;
            self.taken_bytes += bytes.max(1);
            let (waiting, held) = self.waiting.entry((share.shard, share.partition)).or_default();
            if waiting.columns.is_empty() {
                *waiting = rows;
            } else {
                let joined = waiting.extend(&rows);
                joined.map_err(|mismatch| Error::Broke { why: mismatch.to_string() })?;
            }
            *held += bytes;
        }
        while self.waiting_bytes > self.most {
            let largest = self.waiting.iter().max_by_key(|(_, (_, bytes))| *bytes).map(|(place, _)| *place);
            match largest {
                Some(place) => self.store(place)?,
                None => break,
            }
        }
        Ok(())
    }

    /// Makes segments of all that waits.
    fn finish(mut self) -> Result<Vec<(u32, SegmentManifest)>, Error> {
        let places: Vec<_> = self.waiting.keys().copied().collect();
        places.into_iter().try_for_each(|place| self.store(place))?;
        Ok(self.made)
    }

    fn store(&mut self, place: (usize, PartitionId)) -> Result<(), Error> {
        let Some((rows, bytes)) = self.waiting.remove(&place) else { return Ok(()) };
        self.waiting_bytes -= bytes;
        let (shard, partition) = place;
        let number = i64::try_from(self.made.len()).unwrap_or(i64::MAX);
        let id = SegmentId(self.job.first_segment.0 + number);
        let info = &self.job.collection;
        let times = vec![Timestamp::ZERO; rows.rows];
        let stored = write_segment(self.blobs, info.id, id, partition, &info.schema, &rows, &times);
        let manifest = self.bucket.wait(stored).map_err(|source| Error::Store { source })?;
        self.made.push((u32::try_from(shard).unwrap_or(u32::MAX), manifest));
        Ok(())
    }
}
