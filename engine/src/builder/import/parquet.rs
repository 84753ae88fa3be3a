//! Columns in Parquet.
//!
//! Pages are read one at a time. What a page claims to hold is looked at before it is unpacked: a few bytes may stand for
//! gigabytes.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, GenericListArray, OffsetSizeTrait, RecordBatch};
use arrow_schema::{DataType as Arrow, Field as ArrowField};
use bytes::Bytes;
use parking_lot::Mutex;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use super::columns::{Misfit, Values, to_wire};
use super::files::File;
use super::{Error, PIECE_ROWS};
use crate::model::{Field, Schema};
use crate::rpc::ImportPlace;
use contract::pb::schema::FieldData;

/// The name of the format, for errors.
const FORMAT: &str = "Parquet";
/// Longest description of a file.
const MAX_FOOTER: u64 = 16 << 20;
/// Bytes that are kept at once, in case that the next ones are asked for.
const BLOCK: u64 = 256 << 10;
/// How many of them.
const BLOCKS: usize = 64;
/// Most bytes of an unpacked page.
const MAX_PAGE_BYTES: i64 = 256 << 20;
/// Most values of a page.
const MAX_PAGE_VALUES: i64 = 32 << 20;

/// Walks along the rows of a file.
pub struct ParquetRows {
    file: File,
    reader: ParquetRecordBatchReader,
    row: u64,
    /// All rows.
    pub total: u64,
}

impl ParquetRows {
    /// The rows of `file` from `place` on, about `piece` bytes at a time.
    ///
    /// # Errors
    /// If it is no such file, or has a column that is no field's.
    pub fn open(file: &File, schema: &Schema, place: ImportPlace, piece: usize) -> Result<Self, Error> {
        let malformed = |why: String| Error::Malformed { file: file.path.clone(), format: FORMAT, why };
        check_footer(file)?;
        let chunk = Chunk::of(file);
        let failed = |error: ParquetError| failure(error).unwrap_or_else(&malformed);
        let builder = ParquetRecordBatchReaderBuilder::try_new(chunk.clone()).map_err(failed)?;
        chunk.guards.store(true, Ordering::Relaxed);
        let names = builder.schema().fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
        let is_unknown = |name: &&String| schema.field(name).is_none() && schema.struct_field(name).is_none();
        if let Some(name) = names.iter().find(is_unknown) {
            let name = crate::intake::shown(name);
            let why = match schema.dynamic() {
                Some(_) => format!("column {name} is no field; values of dynamic keys are in a column $meta"),
                None => format!("column {name} is no field of the collection"),
            };
            return Err(Error::Unfit { file: file.path.clone(), why });
        }
        let groups = builder.metadata().row_groups();
        let rows_of = |group: i64| u64::try_from(group).unwrap_or(0);
        let total: u64 = groups.iter().map(|group| rows_of(group.num_rows())).sum();
        let bytes: u64 = groups.iter().map(|group| rows_of(group.total_byte_size())).sum();
        let each = usize::try_from(bytes / total.max(1)).unwrap_or(usize::MAX).max(1);
        let (mut before, mut wanted) = (0, Vec::new());
        for (at, group) in groups.iter().enumerate() {
            let rows = rows_of(group.num_rows());
            if before + rows > place.row {
                wanted.push(at);
            } else {
                before += rows;
            }
        }
        let skipped = usize::try_from(place.row - before.min(place.row)).unwrap_or(usize::MAX);
        let reader = builder
            .with_row_groups(wanted)
            .with_offset(skipped)
            .with_projection(ProjectionMask::all())
            .with_batch_size((piece / each).clamp(1, PIECE_ROWS))
            .build()
            .map_err(failed)?;
        Ok(Self { file: file.clone(), reader, row: place.row, total })
    }

    /// The place before the next row.
    pub const fn place(&self) -> ImportPlace {
        ImportPlace { row: self.row, byte: 0 }
    }

    /// The next rows; `None` at the end.
    ///
    /// # Errors
    /// If the file is damaged, or a value does not fit its field.
    pub fn next(&mut self, schema: &Schema) -> Result<Option<(Vec<FieldData>, usize)>, Error> {
        let Some(batch) = self.reader.next() else { return Ok(None) };
        let batch = batch.map_err(|error| {
            let why = crate::base::chain(&error);
            Error::Malformed { file: self.file.path.clone(), format: FORMAT, why }
        })?;
        let fields = self.fields(schema, &batch)?;
        self.row += batch.num_rows() as u64;
        Ok(Some((fields, batch.num_rows())))
    }

    fn fields(&self, schema: &Schema, batch: &RecordBatch) -> Result<Vec<FieldData>, Error> {
        let names = batch.schema();
        let columns = names.fields().iter().zip(batch.columns());
        let misfit = |misfit: Misfit| Error::Value {
            file: self.file.path.clone(),
            row: self.row + misfit.at as u64,
            why: misfit.why,
        };
        let mut fields = Vec::new();
        for (name, array) in columns {
            if let Some(field) = schema.field(name.name()) {
                fields.push(column(field, array).map_err(misfit)?);
            } else if let Some(of) = schema.struct_field(name.name()) {
                for part in schema.parts(of) {
                    let array = part_of(array, of.bare(&part.name)).map_err(misfit)?;
                    fields.push(column(part, &array).map_err(misfit)?);
                }
            }
        }
        Ok(fields)
    }
}

/// Of a column of lists of records, the lists of what is called `part` in them. What a record that is null has in its parts is
/// nobody's value.
fn part_of(array: &ArrayRef, part: &str) -> Result<ArrayRef, Misfit> {
    fn lists<O: OffsetSizeTrait>(array: &ArrayRef, part: &str) -> Option<ArrayRef> {
        let lists = array.as_list_opt::<O>()?;
        let values = lists.values().as_struct_opt().filter(|values| values.null_count() == 0)?;
        let column = values.column_by_name(part)?;
        let field = Arc::new(ArrowField::new("item", column.data_type().clone(), true));
        let (offsets, nulls) = (lists.offsets().clone(), lists.nulls().cloned());
        let of_part = GenericListArray::<O>::try_new(field, offsets, Arc::clone(column), nulls).ok()?;
        Some(Arc::new(of_part))
    }
    if *array.data_type() == Arrow::Null {
        return Ok(Arc::clone(array));
    }
    let found = lists::<i32>(array, part).or_else(|| lists::<i64>(array, part));
    let why =
        || format!("an array of structs must be a list of records, none of them null, each with {part}");
    found.ok_or_else(|| Misfit { at: 0, why: why() })
}

/// One column of the protocol. The place of a misfit is that of its row.
fn column(field: &Field, array: &ArrayRef) -> Result<FieldData, Misfit> {
    // A column without a type has no list of its nulls, but is nothing else.
    let nulls = array.logical_nulls();
    let is_there = |row: usize| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
    let there: Vec<usize> = (0..array.len()).filter(|row| is_there(*row)).collect();
    let valid = if there.len() == array.len() {
        Vec::new()
    } else {
        (0..array.len()).map(is_there).collect::<Vec<bool>>()
    };
    if let Some(at) = valid.iter().position(|there| !there)
        && !field.nullable
        && field.default.is_none()
    {
        return Err(Misfit { at, why: format!("field {} has no value and may not be null", field.name) });
    }
    let values = values(array.as_ref(), &there)
        .map_err(|why| Misfit { at: 0, why: format!("column {}: {why}", field.name) })?;
    let row_of = |misfit: Misfit| Misfit { at: there.get(misfit.at).copied().unwrap_or(misfit.at), ..misfit };
    to_wire(field, values, valid).map_err(row_of)
}

/// The values of some rows that have one.
fn values(array: &dyn Array, rows: &[usize]) -> Result<Values, String> {
    macro_rules! ints {
        ($arrow:ty) => {{
            let array = array.as_primitive::<$arrow>();
            Values::Ints(rows.iter().map(|&row| i64::from(array.value(row))).collect())
        }};
    }
    macro_rules! texts {
        ($array:expr) => {{
            let array = $array;
            Values::Texts(rows.iter().map(|&row| array.value(row).to_owned()).collect())
        }};
    }
    macro_rules! bytes {
        ($array:expr) => {{
            let array = $array;
            let (mut ends, mut bytes) = (Vec::with_capacity(rows.len()), Vec::new());
            for &row in rows {
                bytes.extend_from_slice(array.value(row));
                ends.push(bytes.len());
            }
            Values::Bytes { ends, bytes }
        }};
    }
    macro_rules! lists {
        ($array:expr) => {{
            let array = $array;
            lists(rows.iter().map(|&row| array.value(row)), array.value_type())?
        }};
    }
    Ok(match array.data_type() {
        Arrow::Boolean => {
            let array = array.as_boolean();
            Values::Bools(rows.iter().map(|&row| array.value(row)).collect())
        }
        Arrow::Int8 => ints!(Int8Type),
        Arrow::Int16 => ints!(Int16Type),
        Arrow::Int32 => ints!(Int32Type),
        Arrow::Int64 => ints!(Int64Type),
        Arrow::UInt8 => ints!(UInt8Type),
        Arrow::UInt16 => ints!(UInt16Type),
        Arrow::UInt32 => ints!(UInt32Type),
        Arrow::UInt64 => {
            let array = array.as_primitive::<UInt64Type>();
            let fit = |&row: &usize| {
                i64::try_from(array.value(row)).map_err(|_| "a number is too large".to_owned())
            };
            Values::Ints(rows.iter().map(fit).collect::<Result<_, _>>()?)
        }
        Arrow::Float16 => {
            let array = array.as_primitive::<Float16Type>();
            Values::Singles(rows.iter().map(|&row| array.value(row).to_f32()).collect())
        }
        Arrow::Float32 => {
            let array = array.as_primitive::<Float32Type>();
            Values::Singles(rows.iter().map(|&row| array.value(row)).collect())
        }
        Arrow::Float64 => {
            let array = array.as_primitive::<Float64Type>();
            Values::Doubles(rows.iter().map(|&row| array.value(row)).collect())
        }
        Arrow::Utf8 => texts!(array.as_string::<i32>()),
        Arrow::LargeUtf8 => texts!(array.as_string::<i64>()),
        Arrow::Utf8View => texts!(array.as_string_view()),
        Arrow::Binary => bytes!(array.as_binary::<i32>()),
        Arrow::LargeBinary => bytes!(array.as_binary::<i64>()),
        Arrow::FixedSizeBinary(_) => bytes!(array.as_fixed_size_binary()),
        Arrow::List(_) => lists!(array.as_list::<i32>()),
        Arrow::LargeList(_) => lists!(array.as_list::<i64>()),
        Arrow::FixedSizeList(_, _) => lists!(array.as_fixed_size_list()),
        Arrow::Struct(_) => sparse(array, rows)?,
        // A column without a type has no value at all.
        Arrow::Null => Values::Texts(Vec::new()),
        other => return Err(format!("its type {other} is none that a field has")),
    })
}

fn lists(each: impl Iterator<Item = ArrayRef>, of: Arrow) -> Result<Values, String> {
    let (mut ends, mut items, mut count) = (Vec::new(), None, 0);
    for list in each {
        if list.null_count() > 0 {
            return Err("an element of a list has no value".to_owned());
        }
        count += list.len();
        ends.push(count);
        let all: Vec<usize> = (0..list.len()).collect();
        let more = values(list.as_ref(), &all)?;
        // Lists of what has no type have elements, but no values.
        if more.len() != list.len() {
            return Err("an element of a list has no value".to_owned());
        }
        match &mut items {
            None => items = Some(more),
            Some(items) => join(items, more),
        }
    }
    let items = match items {
        Some(items) => items,
        None => values(arrow_array::new_empty_array(&of).as_ref(), &[])?,
    };
    Ok(Values::Lists { ends, items: Box::new(items) })
}

/// Adds values of the same kind.
fn join(all: &mut Values, more: Values) {
    match (all, more) {
        (Values::Bools(all), Values::Bools(more)) => all.extend(more),
        (Values::Ints(all), Values::Ints(more)) => all.extend(more),
        (Values::Singles(all), Values::Singles(more)) => all.extend(more),
        (Values::Doubles(all), Values::Doubles(more)) => all.extend(more),
        (Values::Texts(all), Values::Texts(more)) => all.extend(more),
        (Values::Bytes { ends, bytes }, Values::Bytes { ends: others, bytes: more }) => {
            let start = bytes.len();
            ends.extend(others.into_iter().map(|end| start + end));
            bytes.extend(more);
        }
        (Values::Sparse(all), Values::Sparse(more)) => all.extend(more),
        (Values::Lists { ends, items }, Values::Lists { ends: others, items: more }) => {
            let start = items.len();
            ends.extend(others.into_iter().map(|end| start + end));
            join(items, *more);
        }
        // A list that has no element may be of another kind.
        (all, more) => *all = more,
    }
}

/// Sparse vectors as records of indices and values.
fn sparse(array: &dyn Array, rows: &[usize]) -> Result<Values, String> {
    let of = || "a record must have indices and values, lists of the same length".to_owned();
    let record = array.as_struct();
    let part = |name: &str| record.column_by_name(name).ok_or_else(of);
    let (indices, numbers) =
        (values(part("indices")?.as_ref(), rows)?, values(part("values")?.as_ref(), rows)?);
    let (Values::Lists { ends, items: indices }, Values::Lists { ends: same, items: numbers }) =
        (indices, numbers)
    else {
        return Err(of());
    };
    let (Values::Ints(indices), numbers) = (*indices, *numbers) else { return Err(of()) };
    #[expect(clippy::cast_possible_truncation, reason = "sparse vectors are made of singles")]
    let numbers = match numbers {
        Values::Singles(all) => all,
        Values::Doubles(all) => all.into_iter().map(|value| value as f32).collect(),
        _ => return Err(of()),
    };
    if ends != same {
        return Err(of());
    }
    let mut start = 0;
    let vector = |end: usize| {
        let mut pairs = Vec::with_capacity(end - start);
        for at in start..end {
            let index = u32::try_from(indices[at]).map_err(|_| format!("{} is no index", indices[at]))?;
            pairs.push((index, numbers[at]));
        }
        start = end;
        pairs.sort_by_key(|(index, _)| *index);
        let (indices, values): (Vec<u32>, Vec<f32>) = pairs.into_iter().unzip();
        Ok(crate::intake::sparse::bytes(crate::model::SparseRow { indices: &indices, values: &values }))
    };
    Ok(Values::Sparse(ends.into_iter().map(vector).collect::<Result<_, String>>()?))
}

/// Refuses a file whose description is too long to be read at once.
fn check_footer(file: &File) -> Result<(), Error> {
    let malformed =
        |why: &str| Error::Malformed { file: file.path.clone(), format: FORMAT, why: why.to_owned() };
    if file.size < 12 {
        return Err(malformed("it is too short"));
    }
    let tail = file.read(file.size - 8..file.size)?;
    if &tail[4..] != b"PAR1" {
        return Err(malformed("it does not end as one"));
    }
    let length = u64::from(u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]));
    if length > MAX_FOOTER || length + 8 > file.size {
        return Err(malformed("its description is too long"));
    }
    Ok(())
}

/// A failure of ours inside an error of the reader, or the words of that.
fn failure(error: ParquetError) -> Result<Error, String> {
    match error {
        ParquetError::External(inner) => match inner.downcast::<Error>() {
            Ok(ours) => Ok(*ours),
            Err(inner) => Err(inner.to_string()),
        },
        other => Err(other.to_string()),
    }
}

/// A file as the reader of Parquet reads it.
#[derive(Clone)]
struct Chunk {
    file: File,
    /// Whether what is read piece by piece are pages.
    guards: Arc<AtomicBool>,
    /// The bytes that were read last, by the number of their block.
    blocks: Arc<Mutex<VecDeque<(u64, Bytes)>>>,
}

impl Chunk {
    fn of(file: &File) -> Self {
        Self { file: file.clone(), guards: Arc::default(), blocks: Arc::default() }
    }

    fn block(&self, number: u64) -> Result<Bytes, Error> {
        let mut blocks = self.blocks.lock();
        let known = blocks.iter().position(|(known, _)| *known == number);
        if let Some(block) = known.and_then(|at| blocks.remove(at)) {
            let bytes = block.1.clone();
            blocks.push_back(block);
            return Ok(bytes);
        }
        let start = number * BLOCK;
        let bytes = self.file.read(start..(start + BLOCK).min(self.file.size))?;
        if blocks.len() >= BLOCKS {
            blocks.pop_front();
        }
        blocks.push_back((number, bytes.clone()));
        Ok(bytes)
    }

    /// The bytes from `start` to the end of their block; none at the end of the file.
    fn rest_of_block(&self, start: u64) -> Result<Bytes, Error> {
        if start >= self.file.size {
            return Ok(Bytes::new());
        }
        let block = self.block(start / BLOCK)?;
        let skipped = usize::try_from(start % BLOCK).unwrap_or(0);
        Ok(block.slice(skipped.min(block.len())..))
    }
}

impl Length for Chunk {
    fn len(&self) -> u64 {
        self.file.size
    }
}

impl ChunkReader for Chunk {
    type T = Walk;

    fn get_read(&self, start: u64) -> Result<Walk, ParquetError> {
        let mut walk = Walk { chunk: self.clone(), at: start, rest: Bytes::new() };
        if self.guards.load(Ordering::Relaxed) {
            let mut head = Vec::new();
            Read::by_ref(&mut walk).take(64).read_to_end(&mut head)?;
            if let Some((bytes, values)) = page_claims(&head)
                && (bytes > MAX_PAGE_BYTES || values > MAX_PAGE_VALUES)
            {
                let why = format!("a page has {bytes} bytes and {values} values, which is too much");
                return Err(ParquetError::General(why));
            }
            walk = Walk { chunk: self.clone(), at: start, rest: Bytes::new() };
        }
        Ok(walk)
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let failed = |error: Error| ParquetError::External(Box::new(error));
        let rest = self.rest_of_block(start).map_err(failed)?;
        if length <= rest.len() {
            return Ok(rest.slice(..length));
        }
        self.file.read(start..start.saturating_add(length as u64)).map_err(failed)
    }
}

/// A walk along a file.
struct Walk {
    chunk: Chunk,
    at: u64,
    rest: Bytes,
}

impl Read for Walk {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.rest.is_empty() {
            self.rest = self.chunk.rest_of_block(self.at).map_err(super::files::io_error)?;
        }
        let count = out.len().min(self.rest.len());
        out[..count].copy_from_slice(&self.rest.split_to(count));
        self.at += count as u64;
        Ok(count)
    }
}

/// How many bytes a page says that it has when it is unpacked, and how many values. `None` for what is no header of a page:
/// a record in Thrift's compact form, whose first fields are numbers.
fn page_claims(head: &[u8]) -> Option<(i64, i64)> {
    let mut rest = head.iter().copied();
    let mut number = || {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = rest.next()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some((byte, (value >> 1).cast_signed() ^ -((value & 1).cast_signed())));
            }
        }
        None
    };
    // A field begins with how much its number is above that of the one before, and its type: 5 is a number, 12 a record.
    let field = |byte: u8| (byte >> 4, byte & 0xf);
    let mut field_number = 0;
    let mut bytes = None;
    loop {
        let (byte, _) = number()?;
        let (step, kind) = field(byte);
        field_number += step;
        match (field_number, kind) {
            (2, 5) => bytes = Some(number()?.1),
            (1 | 3 | 4, 5) => _ = number()?,
            (5 | 7 | 8, 12) => {
                let (byte, _) = number()?;
                return (field(byte) == (1, 5)).then(|| Some((bytes?, number()?.1)))?;
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::page_claims;

    #[test]
    fn what_a_page_claims_is_read_from_its_first_bytes() {
        // type 0, 300 bytes, 40 packed, a data page of 7 values.
        assert_eq!(
            page_claims(&[0x15, 0x00, 0x15, 0xd8, 0x04, 0x15, 0x50, 0x2c, 0x15, 0x0e]),
            Some((300, 7))
        );
        // With a checksum, a dictionary page of 2^31 - 1 values.
        let dictionary =
            [0x15, 0x04, 0x15, 0x02, 0x15, 0x02, 0x15, 0x02, 0x3c, 0x15, 0xfe, 0xff, 0xff, 0xff, 0x0f];
        assert_eq!(page_claims(&dictionary), Some((1, i64::from(i32::MAX))));
        assert_eq!(page_claims(b"PAR1"), None);
        assert_eq!(page_claims(&[]), None);
    }
}
