//! Scalar columns and row times as one Parquet object.
//!
//! Column names are field numbers; arrays are large lists, shapes large runs of bytes. An array of vectors is a large run of
//! bytes too: its vectors on end, components as `f32` little-endian, or bits eight a byte.
//! `time` has the times, `valid-<field>` which vectors of a nullable field have a value.
//! The file's metadata says `redkite.format` = `scalars/1`. LZ4, one row group per million rows.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::builder::{
    ArrayBuilder, BooleanBuilder, LargeBinaryBuilder, LargeListBuilder, LargeStringBuilder, PrimitiveBuilder,
};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt64Type};
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, BooleanArray, LargeBinaryArray, LargeStringArray, PrimitiveArray,
    RecordBatch, UInt64Array,
};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use crate::base::{FieldId, Timestamp};
use crate::model::{
    Arrays, Batch, Bitset, Column, ColumnData, DataType, Field, Schema, Texts, VectorElement,
};

const FORMAT_KEY: &str = "redkite.format";
const FORMAT: &str = "scalars/1";
const TIME: &str = "time";
/// Most rows that are unpacked at once.
const BATCH_ROWS: usize = 65_536;

/// What the object of scalar columns holds.
#[derive(Debug)]
pub(super) struct Scalars {
    /// One column per scalar field of the schema, in its order; defaults where the object has none.
    pub(super) columns: Vec<Column>,
    /// One time a row.
    pub(super) times: Vec<Timestamp>,
    /// Which vectors have a value, for fields where some lack one.
    pub(super) valid_vectors: HashMap<FieldId, Bitset>,
}

fn wrong(what: &str) -> ParquetError {
    ParquetError::General(what.to_owned())
}

/// The object for the scalar columns of `rows`, written at `times`.
pub(super) fn encode(rows: &Batch, times: &[Timestamp]) -> Result<Bytes, ParquetError> {
    let mut columns: Vec<(String, ArrayRef)> = Vec::with_capacity(rows.columns.len() + 1);
    for column in &rows.columns {
        if let Some(array) = array_of(column) {
            columns.push((column.field.to_string(), array));
        } else if let Some(valid) = &column.valid {
            let array = BooleanArray::from((0..rows.rows).map(|row| valid.contains(row)).collect::<Vec<_>>());
            columns.push((format!("valid-{}", column.field), Arc::new(array)));
        }
    }
    columns.push((TIME.to_owned(), Arc::new(UInt64Array::from_iter_values(times.iter().map(|time| time.0)))));
    let batch =
        RecordBatch::try_from_iter(columns).map_err(|source| ParquetError::ArrowError(source.to_string()))?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::LZ4_RAW)
        .set_created_by("redkite".to_owned())
        .set_key_value_metadata(Some(vec![KeyValue::new(FORMAT_KEY.to_owned(), FORMAT.to_owned())]))
        .build();
    let mut out = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut out, batch.schema(), Some(properties))?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(out.into())
}

/// The columns in an object, in the order of `schema`.
pub(super) fn decode(body: Bytes, schema: &Schema) -> Result<Scalars, ParquetError> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(body)?;
    let metadata = builder.metadata().file_metadata().key_value_metadata();
    let is_ours = metadata.is_some_and(|all| {
        all.iter().any(|entry| entry.key == FORMAT_KEY && entry.value.as_deref() == Some(FORMAT))
    });
    if !is_ours {
        return Err(wrong("it is no object of scalar columns in a format this program reads"));
    }
    // What is said is not trusted before it is seen: it may be more than there is memory for, or less than there is.
    let said = builder.metadata().file_metadata().num_rows();
    let mut groups = builder.metadata().row_groups().iter().map(|group| group.num_rows());
    // A reader goes by the smaller of the two.
    if groups.try_fold(0, |sum: i64, rows| sum.checked_add(rows)) != Some(said) {
        return Err(wrong("it has another number of rows than it says"));
    }
    let count = usize::try_from(said).unwrap_or(0);
    let reader = builder.with_batch_size(count.clamp(1, BATCH_ROWS)).build()?;
    let mut columns: Vec<Option<Column>> = schema.fields.iter().map(|_| None).collect();
    let mut times = Vec::with_capacity(count.min(BATCH_ROWS));
    let mut valid_vectors: HashMap<FieldId, Vec<bool>> = HashMap::new();
    for batch in reader {
        let batch = batch.map_err(|source| ParquetError::ArrowError(source.to_string()))?;
        for (at, field) in schema.fields.iter().enumerate() {
            if field.data_type.is_vector() {
                read_valid(&batch, field, &mut valid_vectors)?;
            } else if let Some(array) = batch.column_by_name(&field.id.to_string()) {
                let more = column_of(field, array)?;
                match &mut columns[at] {
                    None => columns[at] = Some(more),
                    Some(all) => {
                        all.extend(&more).map_err(|source| ParquetError::General(source.to_string()))?
                    }
                }
            }
        }
        let more = batch.column_by_name(TIME).and_then(|array| array.as_primitive_opt::<UInt64Type>());
        times.extend(
            more.ok_or_else(|| wrong("it has no times"))?.values().iter().map(|&time| Timestamp(time)),
        );
    }
    let fields = schema.fields.iter().zip(columns).filter(|(field, _)| !field.data_type.is_vector());
    let columns: Vec<Column> =
        fields.map(|(field, column)| column.unwrap_or_else(|| Column::absent(field, times.len()))).collect();
    if columns.iter().any(|column| column.data.len() != times.len()) {
        return Err(wrong("its columns differ in length"));
    }
    if times.len() != count || valid_vectors.values().any(|valid| valid.len() != count) {
        return Err(wrong("it has another number of rows than it says"));
    }
    let bits = |(field, valid): (FieldId, Vec<bool>)| (field, Bitset::from_fn(count, |row| valid[row]));
    let valid_vectors = valid_vectors.into_iter().map(bits).collect();
    Ok(Scalars { columns, times, valid_vectors })
}

fn read_valid(
    batch: &RecordBatch,
    field: &Field,
    all: &mut HashMap<FieldId, Vec<bool>>,
) -> Result<(), ParquetError> {
    let Some(array) = batch.column_by_name(&format!("valid-{}", field.id)) else { return Ok(()) };
    let array = array.as_boolean_opt().ok_or_else(|| wrong("a column has an unexpected type"))?;
    all.entry(field.id).or_default().extend((0..array.len()).map(|row| array.value(row)));
    Ok(())
}

/// The array of a scalar column; `None` for vectors.
fn array_of(column: &Column) -> Option<ArrayRef> {
    fn numbers<T: ArrowPrimitiveType>(column: &Column, values: &[T::Native]) -> ArrayRef {
        if column.valid.is_none() {
            return Arc::new(PrimitiveArray::<T>::from_iter_values(values.iter().copied()));
        }
        let values = values.iter().enumerate().map(|(row, &value)| column.is_valid(row).then_some(value));
        Arc::new(values.collect::<PrimitiveArray<T>>())
    }
    Some(match &column.data {
        ColumnData::Bool(values) if column.valid.is_none() => Arc::new(BooleanArray::from(values.clone())),
        ColumnData::Bool(values) => {
            let values = values.iter().enumerate().map(|(row, &value)| column.is_valid(row).then_some(value));
            Arc::new(values.collect::<BooleanArray>())
        }
        ColumnData::Int8(values) => numbers::<Int8Type>(column, values),
        ColumnData::Int16(values) => numbers::<Int16Type>(column, values),
        ColumnData::Int32(values) => numbers::<Int32Type>(column, values),
        ColumnData::Int64(values) => numbers::<Int64Type>(column, values),
        ColumnData::Float(values) => numbers::<Float32Type>(column, values),
        ColumnData::Double(values) => numbers::<Float64Type>(column, values),
        ColumnData::VarChar(texts) | ColumnData::Json(texts) if column.valid.is_none() => {
            Arc::new(LargeStringArray::from_iter_values(texts.iter()))
        }
        ColumnData::VarChar(texts) | ColumnData::Json(texts) => {
            let texts = texts.iter().enumerate().map(|(row, text)| column.is_valid(row).then_some(text));
            Arc::new(texts.collect::<LargeStringArray>())
        }
        ColumnData::Geometry(shapes) => {
            let shapes = shapes.iter().enumerate().map(|(row, shape)| column.is_valid(row).then_some(shape));
            Arc::new(shapes.collect::<LargeBinaryArray>())
        }
        ColumnData::Array(arrays) => match arrays.elements() {
            ColumnData::FloatVector { dim, values } => {
                let run = |range: Range<usize>| {
                    let components = &values[range.start * dim..range.end * dim];
                    components.iter().flat_map(|component| component.to_le_bytes()).collect::<Vec<u8>>()
                };
                runs_of(column, arrays, run)
            }
            ColumnData::BinaryVector { dim, bytes } => {
                let width = dim / 8;
                runs_of(column, arrays, |range| bytes[range.start * width..range.end * width].to_vec())
            }
            _ => list_of(column, arrays)?,
        },
        ColumnData::FloatVector { .. } | ColumnData::BinaryVector { .. } | ColumnData::SparseVector(_) => {
            return None;
        }
    })
}

/// The bytes of each row of a column of arrays of vectors; `run` gives those of some vectors.
fn runs_of(column: &Column, arrays: &Arrays, run: impl Fn(Range<usize>) -> Vec<u8>) -> ArrayRef {
    let mut runs = LargeBinaryBuilder::new();
    for row in 0..arrays.len() {
        runs.append_option(column.is_valid(row).then(|| run(arrays.range(row))));
    }
    Arc::new(runs.finish())
}

/// The array of lists of a column of arrays; `None` for elements that arrays do not have.
fn list_of(column: &Column, arrays: &Arrays) -> Option<ArrayRef> {
    fn lists<B: ArrayBuilder>(
        column: &Column,
        arrays: &Arrays,
        builder: B,
        add: impl Fn(&mut B, std::ops::Range<usize>),
    ) -> ArrayRef {
        let mut lists = LargeListBuilder::new(builder);
        for row in 0..arrays.len() {
            let is_valid = column.is_valid(row);
            if is_valid {
                add(lists.values(), arrays.range(row));
            }
            lists.append(is_valid);
        }
        Arc::new(lists.finish())
    }
    fn numbers<T: ArrowPrimitiveType>(column: &Column, arrays: &Arrays, all: &[T::Native]) -> ArrayRef {
        lists(column, arrays, PrimitiveBuilder::<T>::new(), |builder, range| {
            builder.append_slice(&all[range])
        })
    }
    Some(match arrays.elements() {
        ColumnData::Bool(all) => {
            lists(column, arrays, BooleanBuilder::new(), |builder, range| builder.append_slice(&all[range]))
        }
        ColumnData::Int8(all) => numbers::<Int8Type>(column, arrays, all),
        ColumnData::Int16(all) => numbers::<Int16Type>(column, arrays, all),
        ColumnData::Int32(all) => numbers::<Int32Type>(column, arrays, all),
        ColumnData::Int64(all) => numbers::<Int64Type>(column, arrays, all),
        ColumnData::Float(all) => numbers::<Float32Type>(column, arrays, all),
        ColumnData::Double(all) => numbers::<Float64Type>(column, arrays, all),
        ColumnData::VarChar(all) => lists(column, arrays, LargeStringBuilder::new(), |builder, range| {
            range.for_each(|at| builder.append_value(all.get(at)));
        }),
        ColumnData::Json(_)
        | ColumnData::Geometry(_)
        | ColumnData::Array(_)
        | ColumnData::FloatVector { .. }
        | ColumnData::BinaryVector { .. }
        | ColumnData::SparseVector(_) => return None,
    })
}

/// The column of `field` in an array.
fn column_of(field: &Field, array: &ArrayRef) -> Result<Column, ParquetError> {
    let data = match field.data_type {
        DataType::ArrayOfVector(element) => vectors_of(field, element, array),
        data_type => data_of(data_type, array),
    };
    let data = data.ok_or_else(|| wrong("a column has an unexpected type"))?;
    let valid = (array.null_count() > 0).then(|| Bitset::from_fn(array.len(), |row| array.is_valid(row)));
    Ok(Column { field: field.id, data, valid })
}

/// The arrays of vectors in an array of runs of bytes; `None` if it has another type, or runs that are no whole vectors.
fn vectors_of(field: &Field, element: VectorElement, array: &ArrayRef) -> Option<ColumnData> {
    let runs = array.as_binary_opt::<i64>()?;
    let dim = field.dim();
    let width = if element == VectorElement::Binary { dim / 8 } else { dim * 4 };
    let mut ends = Vec::with_capacity(runs.len());
    let mut bytes = Vec::new();
    for run in runs.iter() {
        bytes.extend_from_slice(run.unwrap_or_default());
        if width == 0 || !bytes.len().is_multiple_of(width) {
            return None;
        }
        ends.push((bytes.len() / width) as u64);
    }
    let elements = if element == VectorElement::Binary {
        ColumnData::BinaryVector { dim, bytes }
    } else {
        let values = bytes.as_chunks::<4>().0.iter().map(|component| f32::from_le_bytes(*component));
        ColumnData::FloatVector { dim, values: values.collect() }
    };
    Arrays::from_parts(elements, ends).map(ColumnData::Array)
}

/// The values in an array; `None` if it has another type.
fn data_of(data_type: DataType, array: &ArrayRef) -> Option<ColumnData> {
    fn numbers<T: ArrowPrimitiveType>(array: &ArrayRef) -> Option<Vec<T::Native>> {
        let numbers = array.as_primitive_opt::<T>()?;
        if numbers.null_count() == 0 {
            return Some(numbers.values().to_vec());
        }
        Some(numbers.iter().map(Option::unwrap_or_default).collect())
    }
    fn texts(array: &ArrayRef, placeholder: &'static str) -> Option<Texts> {
        let texts = array.as_string_opt::<i64>()?;
        Some(texts.iter().map(|text| text.unwrap_or(placeholder)).collect())
    }
    match data_type {
        DataType::Bool => array
            .as_boolean_opt()
            .map(|values| ColumnData::Bool(values.iter().map(Option::unwrap_or_default).collect())),
        DataType::Int8 => numbers::<Int8Type>(array).map(ColumnData::Int8),
        DataType::Int16 => numbers::<Int16Type>(array).map(ColumnData::Int16),
        DataType::Int32 => numbers::<Int32Type>(array).map(ColumnData::Int32),
        DataType::Int64 | DataType::Timestamptz => numbers::<Int64Type>(array).map(ColumnData::Int64),
        DataType::Float => numbers::<Float32Type>(array).map(ColumnData::Float),
        DataType::Double => numbers::<Float64Type>(array).map(ColumnData::Double),
        DataType::VarChar | DataType::Text => texts(array, "").map(ColumnData::VarChar),
        DataType::Json => texts(array, "null").map(ColumnData::Json),
        DataType::Geometry => {
            let shapes = array.as_binary_opt::<i64>()?;
            Some(ColumnData::Geometry(shapes.iter().map(Option::unwrap_or_default).collect()))
        }
        DataType::Array(element) => {
            let lists = array.as_list_opt::<i64>()?;
            let elements = data_of(element.scalar(), lists.values())?;
            let mut arrays = Arrays::new(element);
            for bounds in lists.value_offsets().windows(2) {
                let [start, end] = [bounds[0], bounds[1]].map(|bound| usize::try_from(bound).ok());
                arrays.push_range(&elements, start?..end?).ok()?;
            }
            Some(ColumnData::Array(arrays))
        }
        DataType::FloatVector
        | DataType::Float16Vector
        | DataType::BFloat16Vector
        | DataType::Int8Vector
        | DataType::BinaryVector
        | DataType::SparseFloatVector
        | DataType::ArrayOfVector(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixture::schema_of;
    use crate::model::{ElementType, Value};
    use crate::segment::fixture::field;

    fn value(data_type: DataType, number: i64) -> Value {
        match data_type {
            DataType::Bool => Value::Bool(number % 2 == 0),
            DataType::Float => Value::Float(number as f32 / 3.0),
            DataType::Double => Value::Double(number as f64 / 7.0),
            DataType::VarChar | DataType::Text => Value::Text("文".repeat((number % 3) as usize)),
            DataType::Json => Value::Json(format!("[{number}, \"ü\"]")),
            DataType::Geometry => Value::Shape(vec![number as u8; (number % 5) as usize]),
            DataType::ArrayOfVector(VectorElement::Binary) => {
                Value::Array((0..number % 4).map(|at| Value::Bits(vec![(number + at) as u8])).collect())
            }
            DataType::ArrayOfVector(_) => {
                let vector = |at| Value::Vector((0..8).map(|place| (number + at * place) as f32).collect());
                Value::Array((0..number % 4).map(vector).collect())
            }
            DataType::Array(element) => {
                Value::Array((0..number % 4).map(|at| value(element.scalar(), number + at)).collect())
            }
            _ => Value::Int(number % 128),
        }
    }

    /// A column of `field` whose every third row has no value, if `has_nulls`.
    fn column(field: &Field, rows: usize, has_nulls: bool) -> Column {
        let mut column = Column::empty(field);
        let is_valid = |row: usize| !has_nulls || row % 3 != 1;
        for row in 0..rows {
            let value = if is_valid(row) { value(field.data_type, row as i64) } else { Value::Null };
            column.data.push(&value).unwrap();
        }
        column.valid = (has_nulls && rows > 1).then(|| Bitset::from_fn(rows, is_valid));
        column
    }

    #[test]
    fn an_object_with_more_or_fewer_rows_than_it_says_is_refused() {
        let field = field(FieldId(103), "v", DataType::FloatVector);
        let valid = Some(Bitset::from_fn(7, |row| row != 2));
        let vectors = ColumnData::FloatVector { dim: 3, values: vec![0.0; 21] };
        let rows = Batch { rows: 7, columns: vec![Column { field: field.id, data: vectors, valid }] };
        let object = encode(&rows, &[Timestamp(1); 7]).unwrap().to_vec();
        let schema = Schema { fields: vec![field], ..crate::segment::fixture::schema(DataType::Int64) };
        // In the footer the number of rows stands before the list of their groups, and is twice what it means.
        let place = object.windows(3).rposition(|bytes| bytes == [0x16, 14, 0x19]).unwrap();

        for said in [0, 4, 16, 0x7e] {
            let mut other = object.clone();
            other[place + 1] = said;
            let refused = decode(other.into(), &schema).map(|scalars| scalars.times.len());
            assert!(refused.is_err(), "{said}: {refused:?}");
        }
        assert_eq!(decode(object.into(), &schema).unwrap().times.len(), 7);
    }

    #[test]
    fn columns_of_every_type_are_read_as_they_were_written() {
        let fields: Vec<Field> = DataType::ALL
            .into_iter()
            .filter(|data_type| !data_type.is_vector())
            .zip(100..)
            .map(|(data_type, id)| Field {
                type_params: vec![("dim".to_owned(), "8".to_owned())],
                ..field(FieldId(id), "f", data_type)
            })
            .collect();
        let schema = schema_of(fields);
        let none = Batch::empty(&schema);
        let found = decode(encode(&none, &[]).unwrap(), &schema).unwrap();
        assert!(found.times.is_empty() && found.columns.iter().all(|column| column.data.is_empty()));
        for (rows, has_nulls) in [(1, false), (50, false), (50, true), (70_000, true)] {
            let columns = schema.fields.iter().map(|field| column(field, rows, has_nulls)).collect();
            let batch = Batch { rows, columns };
            let times: Vec<Timestamp> = (0..rows as u64).map(Timestamp).collect();

            let found = decode(encode(&batch, &times).unwrap(), &schema).unwrap();

            assert_eq!((found.columns, found.times), (batch.columns, times), "{rows} rows");
        }
    }

    #[test]
    fn arrays_of_another_type_are_refused() {
        let ints = field(FieldId(100), "f", DataType::Array(ElementType::Int64));
        let texts = field(FieldId(100), "f", DataType::Array(ElementType::VarChar));
        let schema = |field: &Field| schema_of(vec![field.clone()]);
        let batch = Batch { rows: 2, columns: vec![column(&ints, 2, false)] };

        let body = encode(&batch, &[Timestamp(1), Timestamp(2)]).unwrap();

        assert!(decode(body.clone(), &schema(&ints)).is_ok());
        assert!(decode(body, &schema(&texts)).is_err());
    }
}
