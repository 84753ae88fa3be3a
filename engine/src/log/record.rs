//! What the log of a channel carries: messages as bytes.
//!
//! The format, version 1, all numbers little-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 0 | magic, 0xB5 |
//! | 1 | version, 1 |
//! | 2 | kind: 1 insert, 2 delete, 3 upsert |
//! | 3..8 | zero |
//! | 8..16 | timestamp, put there by [`stamp`] |
//! | 16.. | insert: partition `i64`, rows; delete: flag `u8`, partition `i64`, keys; upsert: partition `i64`, keys, rows |
//!
//! Keys: type `u8` (5 integers, 8 texts), count `u64`, values. Rows: columns `u32`, rows `u64`, then each column: field
//! `i64`, type `u8`, flag `u8`, for flag 1 the valid rows as `u64` words, then the values. Values of fixed width stand
//! one after the other; texts are the ends as `u32` and then the bytes; vectors are the dimension as `u32` and then the
//! components. The log itself carries a checksum, so there is none here.

use bytes::{BufMut, Bytes, BytesMut};

use crate::base::{FieldId, Kind, Kinded, PartitionId, Timestamp};
use crate::model::{Batch, Bitset, Column, ColumnData, DataType, Keys, Schema, Texts};

const MAGIC: u8 = 0xB5;
const VERSION: u8 = 1;
const INSERT: u8 = 1;
const DELETE: u8 = 2;
const UPSERT: u8 = 3;
/// Where the timestamp is.
const STAMP: std::ops::Range<usize> = 8..16;
/// Bytes before the body.
const HEAD_BYTES: usize = 16;

/// One write to a channel, as its log carries it.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// Adds rows.
    Insert {
        /// When it took effect; the time of every row in it.
        at: Timestamp,
        /// Where the rows go.
        partition: PartitionId,
        /// Whole rows, in the schema's column order.
        rows: Batch,
    },
    /// Hides the older rows of some keys.
    Delete {
        /// When it took effect.
        at: Timestamp,
        /// Only in this partition, or in all.
        partition: Option<PartitionId>,
        /// The keys.
        keys: Keys,
    },
    /// Hides the older rows of `replaced` and adds rows, at one instant.
    Upsert {
        /// When it took effect; the time of every row in it.
        at: Timestamp,
        /// Where the rows go.
        partition: PartitionId,
        /// Keys whose older rows go away.
        replaced: Keys,
        /// Whole rows, in the schema's column order.
        rows: Batch,
    },
}

/// Bytes that are not a message of a schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes do not follow the format.
    #[error("a log record of {size_bytes} bytes is damaged: {what}")]
    Damaged {
        /// How long the record is.
        size_bytes: usize,
        /// What was wrong.
        what: &'static str,
    },
    /// The record was written by a later version.
    #[error("a log record has version {version}, this program reads up to {VERSION}")]
    TooNew {
        /// The record's version.
        version: u8,
    },
    /// A column has another type than the schema says.
    #[error("a log record has {} for field {field}, the schema says {}", found.name(), expected.name())]
    WrongType {
        /// The field.
        field: FieldId,
        /// The schema's type.
        expected: DataType,
        /// The record's type.
        found: DataType,
    },
}

impl Kinded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Damaged { .. } | Self::WrongType { .. } => Kind::Corrupt,
            Self::TooNew { .. } => Kind::Invalid,
        }
    }
}

/// The bytes of a [`Message::Insert`] whose time is still zero; [`stamp`] puts it in.
#[must_use]
pub fn encode_insert(partition: PartitionId, rows: &Batch) -> BytesMut {
    let mut out = head(INSERT, 8 + rows_bytes(rows));
    out.put_i64_le(partition.0);
    put_rows(&mut out, rows);
    out
}

/// The bytes of a [`Message::Delete`] whose time is still zero.
#[must_use]
pub fn encode_delete(partition: Option<PartitionId>, keys: &Keys) -> BytesMut {
    let mut out = head(DELETE, 9 + keys_bytes(keys));
    out.put_u8(u8::from(partition.is_some()));
    out.put_i64_le(partition.map_or(0, |partition| partition.0));
    put_keys(&mut out, keys);
    out
}

/// The bytes of a [`Message::Upsert`] whose time is still zero.
#[must_use]
pub fn encode_upsert(partition: PartitionId, replaced: &Keys, rows: &Batch) -> BytesMut {
    let mut out = head(UPSERT, 8 + keys_bytes(replaced) + rows_bytes(rows));
    out.put_i64_le(partition.0);
    put_keys(&mut out, replaced);
    put_rows(&mut out, rows);
    out
}

/// The head of a message with room for its body.
fn head(kind: u8, body_bytes: usize) -> BytesMut {
    let mut out = BytesMut::with_capacity(HEAD_BYTES + body_bytes);
    out.put_slice(&[MAGIC, VERSION, kind, 0, 0, 0, 0, 0]);
    out.put_u64_le(0);
    out
}

/// Puts the time into the bytes that an `encode_` function gave; shorter bytes are left alone.
pub fn stamp(record: &mut [u8], at: Timestamp) {
    if let Some(place) = record.get_mut(STAMP) {
        place.copy_from_slice(&at.0.to_le_bytes());
    }
}

/// The message in `record`, with rows in the order of `schema`: columns that the record lacks hold the field's default
/// or no value, columns that the schema lacks are left out.
///
/// # Errors
/// [`Error`] if the bytes are not a message of this schema. Never panics, whatever the bytes.
pub fn decode(record: &Bytes, schema: &Schema) -> Result<Message, Error> {
    read_message(&mut Reader { rest: record }, schema).map_err(|failure| match failure {
        Failure::Damaged(what) => Error::Damaged { size_bytes: record.len(), what },
        Failure::TooNew(version) => Error::TooNew { version },
        Failure::WrongType { field, expected, found } => Error::WrongType { field, expected, found },
    })
}

const fn type_code(data_type: DataType) -> u8 {
    match data_type {
        DataType::Bool => 1,
        DataType::Int8 => 2,
        DataType::Int16 => 3,
        DataType::Int32 => 4,
        DataType::Int64 => 5,
        DataType::Float => 6,
        DataType::Double => 7,
        DataType::VarChar => 8,
        DataType::Json => 9,
        DataType::FloatVector => 10,
    }
}

fn type_of(code: u8) -> Option<DataType> {
    DataType::ALL.into_iter().find(|data_type| type_code(*data_type) == code)
}

fn texts_bytes(texts: &Texts) -> usize {
    texts.len() * 4 + texts.parts().0.len()
}

fn keys_bytes(keys: &Keys) -> usize {
    9 + match keys {
        Keys::Int(keys) => keys.len() * 8,
        Keys::Text(keys) => texts_bytes(keys),
    }
}

fn rows_bytes(rows: &Batch) -> usize {
    let column_bytes = |column: &Column| {
        14 + column.valid.as_ref().map_or(0, |valid| valid.words().len() * 8)
            + match &column.data {
                ColumnData::VarChar(texts) | ColumnData::Json(texts) => texts_bytes(texts),
                data => data.memory_bytes(),
            }
    };
    12 + rows.columns.iter().map(column_bytes).sum::<usize>()
}

/// Appends fixed-width values through a small block, which compilers turn into plain copies.
fn put_values<T: Copy, const W: usize>(out: &mut BytesMut, values: &[T], bytes_of: impl Fn(T) -> [u8; W]) {
    let mut block = [[0_u8; W]; 512];
    for values in values.chunks(block.len()) {
        for (place, &value) in block.iter_mut().zip(values) {
            *place = bytes_of(value);
        }
        out.extend_from_slice(block[..values.len()].as_flattened());
    }
}

fn put_texts(out: &mut BytesMut, texts: &Texts) {
    let (bytes, ends) = texts.parts();
    // A record is far smaller than 4 GiB, so ends fit.
    put_values(out, ends, |end| (end as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn put_keys(out: &mut BytesMut, keys: &Keys) {
    out.put_u8(type_code(if matches!(keys, Keys::Int(_)) { DataType::Int64 } else { DataType::VarChar }));
    out.put_u64_le(keys.len() as u64);
    match keys {
        Keys::Int(keys) => put_values(out, keys, i64::to_le_bytes),
        Keys::Text(keys) => put_texts(out, keys),
    }
}

fn put_rows(out: &mut BytesMut, rows: &Batch) {
    out.put_u32_le(rows.columns.len() as u32);
    out.put_u64_le(rows.rows as u64);
    for column in &rows.columns {
        out.put_i64_le(column.field.0);
        out.put_u8(type_code(column.data.data_type()));
        out.put_u8(u8::from(column.valid.is_some()));
        if let Some(valid) = &column.valid {
            put_values(out, valid.words(), u64::to_le_bytes);
        }
        match &column.data {
            ColumnData::Bool(values) => put_values(out, values, |value| [u8::from(value)]),
            ColumnData::Int8(values) => put_values(out, values, i8::to_le_bytes),
            ColumnData::Int16(values) => put_values(out, values, i16::to_le_bytes),
            ColumnData::Int32(values) => put_values(out, values, i32::to_le_bytes),
            ColumnData::Int64(values) => put_values(out, values, i64::to_le_bytes),
            ColumnData::Float(values) => put_values(out, values, f32::to_le_bytes),
            ColumnData::Double(values) => put_values(out, values, f64::to_le_bytes),
            ColumnData::VarChar(texts) | ColumnData::Json(texts) => put_texts(out, texts),
            ColumnData::FloatVector { dim, values } => {
                out.put_u32_le(*dim as u32);
                put_values(out, values, f32::to_le_bytes);
            }
        }
    }
}

/// Why reading stopped; the caller adds what it knows of the record.
enum Failure {
    Damaged(&'static str),
    TooNew(u8),
    WrongType { field: FieldId, expected: DataType, found: DataType },
}

/// The bytes not read yet.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8], Failure> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Failure::Damaged("it ends too early"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const W: usize>(&mut self) -> Result<[u8; W], Failure> {
        let (taken, rest) =
            self.rest.split_first_chunk::<W>().ok_or(Failure::Damaged("it ends too early"))?;
        self.rest = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, Failure> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Result<u32, Failure> {
        self.array().map(u32::from_le_bytes)
    }

    fn i64(&mut self) -> Result<i64, Failure> {
        self.array().map(i64::from_le_bytes)
    }

    fn flag(&mut self) -> Result<bool, Failure> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Failure::Damaged("a flag is neither 0 nor 1")),
        }
    }

    /// A number of things of which each takes at least one bit of what is left.
    fn count(&mut self) -> Result<usize, Failure> {
        let count = u64::from_le_bytes(self.array()?);
        usize::try_from(count)
            .ok()
            .filter(|&count| count <= self.rest.len().saturating_mul(8))
            .ok_or(Failure::Damaged("a count is larger than the record"))
    }

    fn values<T, const W: usize>(
        &mut self,
        count: usize,
        value_of: impl Fn([u8; W]) -> T,
    ) -> Result<Vec<T>, Failure> {
        let bytes = self.bytes(count.checked_mul(W).ok_or(Failure::Damaged("a count is too large"))?)?;
        Ok(bytes.as_chunks::<W>().0.iter().map(|chunk| value_of(*chunk)).collect())
    }

    fn texts(&mut self, count: usize) -> Result<Texts, Failure> {
        let ends = self.values(count, |end| u64::from(u32::from_le_bytes(end)))?;
        let size_bytes = usize::try_from(ends.last().copied().unwrap_or(0)).unwrap_or(usize::MAX);
        let bytes = self.bytes(size_bytes)?.to_vec();
        Texts::from_parts(bytes, ends).ok_or(Failure::Damaged("its texts are not texts"))
    }

    fn data_type(&mut self) -> Result<DataType, Failure> {
        let code = self.u8()?;
        type_of(code).ok_or(Failure::Damaged("it has an unknown type"))
    }

    fn keys(&mut self) -> Result<Keys, Failure> {
        let data_type = self.data_type()?;
        let count = self.count()?;
        match data_type {
            DataType::Int64 => self.values(count, i64::from_le_bytes).map(Keys::Int),
            DataType::VarChar => self.texts(count).map(Keys::Text),
            _ => Err(Failure::Damaged("its keys have a type that keys cannot have")),
        }
    }

    fn data(&mut self, data_type: DataType, rows: usize) -> Result<ColumnData, Failure> {
        Ok(match data_type {
            DataType::Bool => ColumnData::Bool(self.values(rows, |[byte]| byte != 0)?),
            DataType::Int8 => ColumnData::Int8(self.values(rows, i8::from_le_bytes)?),
            DataType::Int16 => ColumnData::Int16(self.values(rows, i16::from_le_bytes)?),
            DataType::Int32 => ColumnData::Int32(self.values(rows, i32::from_le_bytes)?),
            DataType::Int64 => ColumnData::Int64(self.values(rows, i64::from_le_bytes)?),
            DataType::Float => ColumnData::Float(self.values(rows, f32::from_le_bytes)?),
            DataType::Double => ColumnData::Double(self.values(rows, f64::from_le_bytes)?),
            DataType::VarChar => ColumnData::VarChar(self.texts(rows)?),
            DataType::Json => ColumnData::Json(self.texts(rows)?),
            DataType::FloatVector => {
                let dim = self.u32()? as usize;
                let count = rows
                    .checked_mul(dim)
                    .filter(|_| dim > 0)
                    .ok_or(Failure::Damaged("it has a wrong dimension"))?;
                ColumnData::FloatVector { dim, values: self.values(count, f32::from_le_bytes)? }
            }
        })
    }

    fn column(&mut self, rows: usize) -> Result<Column, Failure> {
        let field = FieldId(self.i64()?);
        let data_type = self.data_type()?;
        let valid = if self.flag()? {
            Some(Bitset::from_words(self.values(rows.div_ceil(64), u64::from_le_bytes)?, rows))
        } else {
            None
        };
        Ok(Column { field, data: self.data(data_type, rows)?, valid })
    }

    fn rows(&mut self, schema: &Schema) -> Result<Batch, Failure> {
        let columns = self.u32()? as usize;
        let rows = self.count()?;
        if columns == 0 && rows > 0 || columns > self.rest.len() {
            return Err(Failure::Damaged("it has a wrong number of columns"));
        }
        let stored = (0..columns).map(|_| self.column(rows)).collect::<Result<Vec<_>, _>>()?;
        arrange(stored, schema, rows)
    }
}

/// Puts the columns into the schema's order.
fn arrange(mut stored: Vec<Column>, schema: &Schema, rows: usize) -> Result<Batch, Failure> {
    let mut columns = Vec::with_capacity(schema.fields.len());
    for field in &schema.fields {
        let Some(at) = stored.iter().position(|column| column.field == field.id) else {
            columns.push(Column::absent(field, rows));
            continue;
        };
        let column = stored.swap_remove(at);
        let found = column.data.data_type();
        if found != field.data_type {
            return Err(Failure::WrongType { field: field.id, expected: field.data_type, found });
        }
        if matches!(column.data, ColumnData::FloatVector { dim, .. } if dim != field.dim()) {
            return Err(Failure::Damaged("its vectors have another dimension than the field"));
        }
        columns.push(column);
    }
    Ok(Batch { rows, columns })
}

fn read_message(reader: &mut Reader<'_>, schema: &Schema) -> Result<Message, Failure> {
    let [magic, version, kind, zeros @ ..] = reader.array::<8>()?;
    if magic != MAGIC {
        return Err(Failure::Damaged("it does not begin as a record does"));
    }
    if version > VERSION {
        return Err(Failure::TooNew(version));
    }
    if version == 0 || zeros != [0; 5] {
        return Err(Failure::Damaged("its head is wrong"));
    }
    let at = Timestamp(u64::from_le_bytes(reader.array()?));
    let message = match kind {
        INSERT => Message::Insert { at, partition: PartitionId(reader.i64()?), rows: reader.rows(schema)? },
        DELETE => {
            let is_one = reader.flag()?;
            let partition = PartitionId(reader.i64()?);
            Message::Delete { at, partition: is_one.then_some(partition), keys: reader.keys()? }
        }
        UPSERT => Message::Upsert {
            at,
            partition: PartitionId(reader.i64()?),
            replaced: reader.keys()?,
            rows: reader.rows(schema)?,
        },
        _ => return Err(Failure::Damaged("it is of an unknown kind")),
    };
    if reader.rest.is_empty() { Ok(message) } else { Err(Failure::Damaged("it has bytes after its end")) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Field, Value};

    fn field(id: i64, data_type: DataType) -> Field {
        Field {
            id: FieldId(id),
            name: format!("f{id}"),
            description: String::new(),
            data_type,
            is_primary: id == 100,
            auto_id: false,
            is_dynamic: false,
            nullable: id != 100,
            default: None,
            is_partition_key: false,
            is_clustering_key: false,
            type_params: vec![("dim".to_owned(), "3".to_owned())],
        }
    }

    /// A text key and one field of every type.
    fn schema() -> Schema {
        let others = DataType::ALL.into_iter().zip(101..).map(|(data_type, id)| field(id, data_type));
        let fields = std::iter::once(field(100, DataType::VarChar)).chain(others).collect();
        Schema { description: String::new(), fields, enable_dynamic_field: false }
    }

    /// `rows` rows whose values follow from `seed`; every third value is missing.
    fn batch(schema: &Schema, rows: usize, seed: i64) -> Batch {
        let mut batch = Batch::empty(schema);
        batch.rows = rows;
        for (column, field) in batch.columns.iter_mut().zip(&schema.fields) {
            for row in 0..rows as i64 {
                let number = seed.wrapping_mul(31).wrapping_add(row);
                let value = match field.data_type {
                    DataType::Bool => Value::Bool(number % 2 == 0),
                    DataType::Int8 | DataType::Int16 | DataType::Int32 => Value::Int(number % 100),
                    DataType::Int64 => Value::Int(number),
                    DataType::Float => Value::Float(number as f32 / 3.0),
                    DataType::Double => Value::Double(number as f64 / 7.0),
                    DataType::VarChar => Value::Text(format!("ü{number}")),
                    DataType::Json => Value::Json(format!("{{\"a\":{number}}}")),
                    DataType::FloatVector => Value::Vector(vec![number as f32, 0.5, -1.0]),
                };
                column.data.push(&value).unwrap();
            }
            if field.nullable {
                column.valid =
                    Some(Bitset::from_fn(rows, |row| !(row + field.id.0 as usize).is_multiple_of(3)));
            }
        }
        batch
    }

    fn keys(rows: i64) -> Keys {
        Keys::Text(
            (0..rows).map(|row| format!("k{row}")).collect::<Vec<_>>().iter().map(String::as_str).collect(),
        )
    }

    fn stamped(mut record: BytesMut, at: u64) -> Bytes {
        stamp(&mut record, Timestamp(at));
        record.freeze()
    }

    #[test]
    fn the_format_is_this() {
        let two = Schema {
            description: String::new(),
            fields: vec![field(100, DataType::Int64), field(101, DataType::VarChar)],
            enable_dynamic_field: false,
        };
        let mut rows = Batch::empty(&two);
        rows.rows = 2;
        rows.columns[0].data = ColumnData::Int64(vec![1, -1]);
        rows.columns[1].data = ColumnData::VarChar(["ab", ""].into_iter().collect());
        rows.columns[1].valid = Some(Bitset::from_fn(2, |row| row == 0));

        let record = stamped(encode_upsert(PartitionId(5), &Keys::Int(vec![7]), &rows), 0x0102);

        let expected = [
            b"\xb5\x01\x03\0\0\0\0\0\x02\x01\0\0\0\0\0\0".as_slice(),
            b"\x05\0\0\0\0\0\0\0",
            b"\x05\x01\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0",
            b"\x02\0\0\0\x02\0\0\0\0\0\0\0",
            b"\x64\0\0\0\0\0\0\0\x05\0\x01\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\x65\0\0\0\0\0\0\0\x08\x01\x01\0\0\0\0\0\0\0\x02\0\0\0\x02\0\0\0ab",
        ];
        assert_eq!(record, expected.concat());
        let message = decode(&record, &two).unwrap();
        let (at, partition) = (Timestamp(0x0102), PartitionId(5));
        assert_eq!(message, Message::Upsert { at, partition, replaced: Keys::Int(vec![7]), rows });
    }

    #[test]
    fn what_was_encoded_is_decoded() {
        let schema = schema();
        for rows in [0, 1, 63, 64, 65, 700] {
            let (at, partition) = (Timestamp(9), PartitionId(3));
            let batch = batch(&schema, rows, 4);

            let insert = decode(&stamped(encode_insert(partition, &batch), 9), &schema);
            let delete = decode(&stamped(encode_delete(None, &keys(rows as i64)), 9), &schema);
            let one = decode(&stamped(encode_delete(Some(partition), &Keys::Int(vec![-4])), 9), &schema);

            assert_eq!(insert, Ok(Message::Insert { at, partition, rows: batch }));
            assert_eq!(delete, Ok(Message::Delete { at, partition: None, keys: keys(rows as i64) }));
            assert_eq!(
                one,
                Ok(Message::Delete { at, partition: Some(partition), keys: Keys::Int(vec![-4]) })
            );
        }
    }

    #[test]
    fn columns_that_came_or_went_with_the_schema_are_filled_or_left_out() {
        let two =
            Schema { fields: vec![field(100, DataType::Int64), field(101, DataType::Int8)], ..schema() };
        let mut added = field(102, DataType::VarChar);
        added.default = Some(Value::Text("x".to_owned()));
        let other = Schema {
            fields: vec![added, field(100, DataType::Int64), field(103, DataType::Double)],
            ..schema()
        };
        let record = stamped(encode_insert(PartitionId(1), &batch(&two, 2, 0)), 1);

        let Ok(Message::Insert { rows, .. }) = decode(&record, &other) else { panic!("it decodes") };

        let values: Vec<Vec<Value>> =
            rows.columns.iter().map(|column| (0..2).map(|row| column.value(row)).collect()).collect();
        let text = Value::Text("x".to_owned());
        assert_eq!(
            values,
            [vec![text.clone(), text], vec![Value::Int(0), Value::Int(1)], vec![Value::Null, Value::Null],]
        );
    }

    #[test]
    fn a_column_of_another_type_is_refused() {
        let ints = Schema { fields: vec![field(100, DataType::Int64)], ..schema() };
        let record = stamped(encode_insert(PartitionId(1), &batch(&ints, 2, 0)), 1);

        let failure = decode(&record, &schema());

        let (expected, found) = (DataType::VarChar, DataType::Int64);
        assert_eq!(failure, Err(Error::WrongType { field: FieldId(100), expected, found }));
    }

    #[test]
    fn a_record_of_a_later_version_is_refused() {
        let mut record = encode_delete(None, &keys(1));
        record[1] = 2;

        assert_eq!(decode(&record.freeze(), &schema()), Err(Error::TooNew { version: 2 }));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn damaged_bytes_never_panic(
            rows in 0_usize..70,
            cut in any::<prop::sample::Index>(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        ) {
            let schema = schema();
            let mut record = encode_upsert(PartitionId(1), &keys(rows as i64), &batch(&schema, rows, 1)).to_vec();
            for (at, byte) in changes {
                // Most damage goes where lengths and types are.
                let reach = if byte % 2 == 0 { record.len() } else { record.len().min(120) };
                record[at.index(reach)] = byte;
            }
            if cut.index(3) == 0 {
                record.truncate(cut.index(record.len()));
            }
            let _ = decode(&record.into(), &schema);
        }

        #[test]
        fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut record = vec![MAGIC, VERSION, noise.first().map_or(1, |byte| byte % 4), 0, 0, 0, 0, 0];
            record.extend(noise);
            let _ = decode(&record.into(), &schema());
        }
    }

    #[test]
    #[ignore = "measures"]
    fn speed_of_the_codec() {
        let mut wide = schema();
        wide.fields = vec![field(100, DataType::Int64), field(101, DataType::FloatVector)];
        wide.fields[1].type_params = vec![("dim".to_owned(), "384".to_owned())];
        let mut rows = Batch::empty(&wide);
        rows.rows = 20_000;
        rows.columns[0].data = ColumnData::Int64((0..20_000).collect());
        rows.columns[1].data = ColumnData::FloatVector { dim: 384, values: vec![0.5; 384 * 20_000] };
        for _ in 0..5 {
            let start = std::time::Instant::now();
            let record = encode_insert(PartitionId(1), &rows).freeze();
            let encoded = start.elapsed();
            let message = decode(&record, &wide).unwrap();
            let decoded = start.elapsed() - encoded;
            drop(message);
            let gigabytes = record.len() as f64 / 1e9;
            println!(
                "encode {:.1} GB/s, decode {:.1} GB/s",
                gigabytes / encoded.as_secs_f64(),
                gigabytes / decoded.as_secs_f64()
            );
        }
    }
}
