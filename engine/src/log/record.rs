//! What the log of a channel carries: messages as bytes.
//!
//! The format, all numbers little-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 0 | magic, 0xB5 |
//! | 1 | version, 1 or 2 |
//! | 2 | kind: 1 insert, 2 delete, 3 upsert |
//! | 3 | version 1: zero; version 2: 1 if a request's number follows the body, 2 if a client's, 3 if both in this order |
//! | 4..8 | zero |
//! | 8..16 | timestamp, put there by [`stamp`] |
//! | 16.. | insert: partition `i64`, rows; delete: flag `u8`, partition `i64`, keys; upsert: partition `i64`, keys, rows |
//! | after that | numbers of where the write comes from, `u128` each, put there by [`sign`] |
//!
//! Keys and rows are those of [`crate::model::wire`]. The log itself carries a checksum, so there is none here. Version 1 says
//! nothing of where a write comes from; version 2 without numbers says that it comes from no request.

use bytes::{BufMut, Bytes, BytesMut};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::base::{FieldId, Kind, Kinded, Origin, PartitionId, RequestId, Timestamp};
use crate::model::wire::{Damaged, Reader, keys_bytes, put_keys, put_rows, rows_bytes};
use crate::model::{Batch, Column, ColumnData, DataType, Keys, Schema};

const MAGIC: u8 = 0xB5;
const VERSION: u8 = 2;
/// The version of records that do not say where they come from.
const UNSIGNED: u8 = 1;
const INSERT: u8 = 1;
const DELETE: u8 = 2;
const UPSERT: u8 = 3;
/// Where the timestamp is.
const STAMP: std::ops::Range<usize> = 8..16;
/// Bytes before the body.
const HEAD_BYTES: usize = 16;
/// Which numbers follow the body.
const BY_REQUEST: u8 = 1;
const BY_CLIENT: u8 = 2;
/// Bytes of one of them.
const NUMBER_BYTES: usize = 16;

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
    /// The record was written under a later schema than the one at hand.
    #[error("a log record has field {field}, which a later schema has")]
    NewerSchema {
        /// The field.
        field: FieldId,
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
            // It is understood as soon as the schema is.
            Self::NewerSchema { .. } => Kind::Unavailable,
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
    let mut out = BytesMut::with_capacity(HEAD_BYTES + body_bytes + 2 * NUMBER_BYTES);
    out.put_slice(&[MAGIC, UNSIGNED, kind, 0, 0, 0, 0, 0]);
    out.put_u64_le(0);
    out
}

/// Puts the time into the bytes that an `encode_` function gave; shorter bytes are left alone.
pub fn stamp(record: &mut [u8], at: Timestamp) {
    if let Some(place) = record.get_mut(STAMP) {
        place.copy_from_slice(&at.0.to_le_bytes());
    }
}

/// Writes into the bytes that an `encode_` function gave where the write comes from, once.
pub fn sign(record: &mut BytesMut, origin: &Origin) {
    let [_, version, _, flags, ..] = &mut record[..] else { return };
    let flag = |number: Option<RequestId>, flag| if number.is_some() { flag } else { 0 };
    (*version, *flags) = (VERSION, flag(origin.request, BY_REQUEST) | flag(origin.client, BY_CLIENT));
    for number in [origin.request, origin.client].into_iter().flatten() {
        record.put_u128_le(number.0);
    }
}

/// Where the write comes from that a record holds; `None` if the record does not say it, or is none.
#[must_use]
pub fn origin_of(record: &[u8]) -> Option<Origin> {
    let [MAGIC, VERSION, _, flags, ..] = record else { return None };
    let mut numbers = record.get(record.len().checked_sub(numbers_bytes(*flags)?)?..)?;
    let mut number = |flag| {
        (*flags & flag != 0).then(|| {
            let (first, rest) = numbers.split_first_chunk::<NUMBER_BYTES>()?;
            numbers = rest;
            Some(RequestId(u128::from_le_bytes(*first)))
        })
    };
    let (request, client) = (number(BY_REQUEST).flatten(), number(BY_CLIENT).flatten());
    Some(Origin { request, client })
}

/// How many bytes follow the body; `None` for flags of a later version.
const fn numbers_bytes(flags: u8) -> Option<usize> {
    match flags {
        0 => Some(0),
        BY_REQUEST | BY_CLIENT => Some(NUMBER_BYTES),
        3 => Some(2 * NUMBER_BYTES),
        _ => None,
    }
}

/// Whether the bytes are those of a message that adds rows and hides none.
#[must_use]
pub fn is_insert(record: &[u8]) -> bool {
    matches!(record, [MAGIC, _, INSERT, ..])
}

/// A number that stands for what a message does, whenever and for whomever.
#[must_use]
pub fn content_of(record: &[u8]) -> u64 {
    let (kind, flags) = match record {
        [_, VERSION, kind, flags, ..] => (*kind, *flags),
        [_, _, kind, ..] => (*kind, 0),
        _ => (0, 0),
    };
    let end = record.len().saturating_sub(numbers_bytes(flags).unwrap_or(0));
    xxh3_64_with_seed(record.get(HEAD_BYTES..end).unwrap_or_default(), u64::from(kind))
}

/// The time in the bytes of a message; `None` for bytes that are too short to be one.
#[must_use]
pub fn stamp_of(record: &[u8]) -> Option<Timestamp> {
    let bytes: [u8; 8] = record.get(STAMP)?.try_into().ok()?;
    Some(Timestamp(u64::from_le_bytes(bytes)))
}

/// The message in `record`, with rows in the order of `schema`: columns that the record lacks hold the field's default
/// or no value, columns that the schema has no more are left out.
///
/// # Errors
/// [`Error::NewerSchema`] if a column is younger than every field that the schema has or had: leaving it out would lose its values.
/// Other [`Error`]s if the bytes are not a message of this schema. Never panics, whatever the bytes.
pub fn decode(record: &Bytes, schema: &Schema) -> Result<Message, Error> {
    read_message(&mut Reader::new(record), schema).map_err(|failure| match failure {
        Failure::Damaged(what) => Error::Damaged { size_bytes: record.len(), what },
        Failure::TooNew(version) => Error::TooNew { version },
        Failure::NewerSchema(field) => Error::NewerSchema { field },
        Failure::WrongType { field, expected, found } => Error::WrongType { field, expected, found },
    })
}

/// Why reading stopped; the caller adds what it knows of the record.
enum Failure {
    Damaged(&'static str),
    TooNew(u8),
    NewerSchema(FieldId),
    WrongType { field: FieldId, expected: DataType, found: DataType },
}

impl Failure {
    const fn damaged(Damaged(what): Damaged) -> Self {
        Self::Damaged(what)
    }
}

fn rows(reader: &mut Reader<'_>, schema: &Schema) -> Result<Batch, Failure> {
    let stored = reader.batch().map_err(Failure::damaged)?;
    if stored.columns.is_empty() && stored.rows > 0 {
        return Err(Failure::Damaged("it has a wrong number of columns"));
    }
    arrange(stored.columns, schema, stored.rows)
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
        let expected = field.data_type.held_as();
        if found != expected {
            return Err(Failure::WrongType { field: field.id, expected, found });
        }
        let dim = match column.data {
            ColumnData::FloatVector { dim, .. } | ColumnData::BinaryVector { dim, .. } => Some(dim),
            _ => None,
        };
        if dim.is_some_and(|dim| dim != field.dim()) {
            return Err(Failure::Damaged("its vectors have another dimension than the field"));
        }
        columns.push(column);
    }
    // Numbers of fields only grow: what has a lower one belonged to a field that was dropped.
    let newest = schema.newest();
    match stored.iter().find(|column| Some(column.field) > newest) {
        Some(column) => Err(Failure::NewerSchema(column.field)),
        None => Ok(Batch { rows, columns }),
    }
}

fn read_message(reader: &mut Reader<'_>, schema: &Schema) -> Result<Message, Failure> {
    let damaged = Failure::damaged;
    let [magic, version, kind, flags, zeros @ ..] = reader.array::<8>().map_err(damaged)?;
    if magic != MAGIC {
        return Err(Failure::Damaged("it does not begin as a record does"));
    }
    if version > VERSION {
        return Err(Failure::TooNew(version));
    }
    let numbers = if version == UNSIGNED && flags != 0 { None } else { numbers_bytes(flags) };
    let Some(numbers) = numbers.filter(|_| version > 0 && zeros == [0; 4]) else {
        return Err(Failure::Damaged("its head is wrong"));
    };
    let at = Timestamp(u64::from_le_bytes(reader.array().map_err(damaged)?));
    let message = match kind {
        INSERT => Message::Insert {
            at,
            partition: PartitionId(reader.i64().map_err(damaged)?),
            rows: rows(reader, schema)?,
        },
        DELETE => {
            let is_one = reader.flag().map_err(damaged)?;
            let partition = PartitionId(reader.i64().map_err(damaged)?);
            Message::Delete {
                at,
                partition: is_one.then_some(partition),
                keys: reader.keys().map_err(damaged)?,
            }
        }
        UPSERT => Message::Upsert {
            at,
            partition: PartitionId(reader.i64().map_err(damaged)?),
            replaced: reader.keys().map_err(damaged)?,
            rows: rows(reader, schema)?,
        },
        _ => return Err(Failure::Damaged("it is of an unknown kind")),
    };
    if reader.remaining() == numbers {
        Ok(message)
    } else {
        Err(Failure::Damaged("its end is not where its numbers begin"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::fixture::schema_of;
    use crate::model::{Bitset, ElementType, Field, SparseVector, Value, VectorElement};

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
            type_params: vec![(
                "dim".to_owned(),
                if data_type.element() == DataType::BinaryVector { "24" } else { "3" }.to_owned(),
            )],
        }
    }

    /// A text key and one field of every type.
    fn schema() -> Schema {
        let others = DataType::ALL.into_iter().zip(101..).map(|(data_type, id)| field(id, data_type));
        let fields = std::iter::once(field(100, DataType::VarChar)).chain(others).collect();
        schema_of(fields)
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
                    DataType::VarChar | DataType::Text => Value::Text(format!("ü{number}")),
                    DataType::Timestamptz => Value::Int(number),
                    DataType::Geometry => {
                        Value::Shape(vec![number as u8; number.unsigned_abs() as usize % 5])
                    }
                    DataType::Json => Value::Json(format!("{{\"a\":{number}}}")),
                    DataType::Array(element) => array_of(element, number),
                    DataType::ArrayOfVector(VectorElement::Binary) => {
                        Value::Array(vec![
                            Value::Bits(vec![number as u8, 4, 5]);
                            number.unsigned_abs() as usize % 3
                        ])
                    }
                    DataType::ArrayOfVector(_) => {
                        let vector = Value::Vector(vec![0.5, number as f32, 1.0]);
                        Value::Array(vec![vector; number.unsigned_abs() as usize % 4])
                    }
                    DataType::BinaryVector => Value::Bits(vec![number as u8, 1, 2]),
                    DataType::SparseFloatVector => {
                        Value::Sparse(SparseVector { indices: vec![7, 9], values: vec![number as f32, 0.5] })
                    }
                    _ => Value::Vector(vec![number as f32, 0.5, -1.0]),
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

    /// Up to three elements.
    fn array_of(element: ElementType, number: i64) -> Value {
        let one = |at: i64| match element {
            ElementType::Bool => Value::Bool(at % 2 == 0),
            ElementType::Float => Value::Float(at as f32 / 3.0),
            ElementType::Double => Value::Double(at as f64 / 7.0),
            ElementType::VarChar => Value::Text(format!("ü{at}")),
            _ => Value::Int(at),
        };
        Value::Array((0..number.rem_euclid(4)).map(one).collect())
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
        let two = schema_of(vec![field(100, DataType::Int64), field(101, DataType::VarChar)]);
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
    fn the_values_of_a_dropped_field_are_left_out_also_if_none_is_younger() {
        let old =
            Schema { fields: vec![field(100, DataType::Int64), field(101, DataType::Int8)], ..schema() };
        let record = stamped(encode_insert(PartitionId(1), &batch(&old, 2, 0)), 1);
        let dropped = Schema {
            fields: vec![field(100, DataType::Int64)],
            youngest_dropped: Some(FieldId(101)),
            ..schema()
        };
        // Under the same name, but it is another field.
        let again = Schema {
            fields: vec![field(100, DataType::Int64), field(102, DataType::Int8)],
            ..dropped.clone()
        };

        let values = |schema: &Schema| match decode(&record, schema) {
            Ok(Message::Insert { rows, .. }) => {
                rows.columns.iter().map(|column| column.value(1)).collect::<Vec<_>>()
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(values(&dropped), [Value::Int(1)]);
        assert_eq!(values(&again), [Value::Int(1), Value::Null]);
    }

    #[test]
    fn a_record_of_a_later_schema_waits_for_that_schema() {
        let old = Schema { fields: vec![field(100, DataType::Int64)], ..schema() };
        let new =
            Schema { fields: vec![field(100, DataType::Int64), field(101, DataType::Int8)], ..schema() };
        let record = stamped(encode_insert(PartitionId(1), &batch(&new, 2, 0)), 1);

        let failure = decode(&record, &old).unwrap_err();

        assert_eq!(
            (failure.clone(), failure.kind()),
            (Error::NewerSchema { field: FieldId(101) }, Kind::Unavailable)
        );
        assert!(decode(&record, &new).is_ok());
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
        record[1] = 3;

        assert_eq!(decode(&record.freeze(), &schema()), Err(Error::TooNew { version: 3 }));
    }

    #[test]
    fn a_record_says_where_it_comes_from_and_is_the_same_message() {
        let schema = schema();
        let plain = stamped(encode_insert(PartitionId(3), &batch(&schema, 5, 4)), 9);
        let number = |number: u128| Some(RequestId(number));
        assert_eq!((origin_of(&plain), plain[1]), (None, 1), "as an earlier version reads it");

        for (request, client) in
            [(None, None), (number(7), None), (None, number(8)), (number(u128::MAX), number(1))]
        {
            let origin = Origin { request, client };
            let mut record = BytesMut::from(&plain[..]);
            sign(&mut record, &origin);
            let record = record.freeze();

            assert_eq!(origin_of(&record), Some(origin));
            assert_eq!(decode(&record, &schema), decode(&plain, &schema));
            assert_eq!((content_of(&record), is_insert(&record)), (content_of(&plain), true));
            let cut = record.slice(..record.len() - 1);
            assert!(matches!(decode(&cut, &schema), Err(Error::Damaged { .. })), "{origin:?}");
        }
        let other = encode_insert(PartitionId(4), &batch(&schema, 5, 4));
        let delete = encode_delete(None, &keys(1));
        assert_ne!(content_of(&other), content_of(&plain));
        assert!(!is_insert(&delete));
    }

    #[test]
    fn the_numbers_of_a_record_stand_after_its_body() {
        let mut record = encode_delete(None, &Keys::Int(Vec::new()));
        let body = record.len();
        sign(&mut record, &Origin { request: Some(RequestId(1)), client: Some(RequestId(2)) });

        assert_eq!(record[..8], [0xB5, 2, 2, 3, 0, 0, 0, 0]);
        let numbers = [
            [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            [2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        ];
        assert_eq!(record[body..], numbers.concat());
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
            let mut record = encode_upsert(PartitionId(1), &keys(rows as i64), &batch(&schema, rows, 1));
            if rows % 2 == 0 {
                sign(&mut record, &Origin { request: Some(RequestId(rows as u128)), client: None });
            }
            let mut record = record.to_vec();
            for (at, byte) in changes {
                // Most damage goes where lengths and types are.
                let reach = if byte % 2 == 0 { record.len() } else { record.len().min(120) };
                record[at.index(reach)] = byte;
            }
            if cut.index(3) == 0 {
                record.truncate(cut.index(record.len()));
            }
            let _ = (origin_of(&record), content_of(&record));
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
