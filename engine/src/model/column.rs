//! Rows by columns: what is inserted, stored, filtered and returned.

use std::ops::Range;
use std::sync::Arc;

use crate::base::FieldId;
use crate::model::{
    Arrays, Bitset, ByteRows, DataType, ElementType, Field, Key, Schema, SparseRows, Texts, Value,
};

/// The values of one column, one per row. A row without a value holds a placeholder (zero, empty text, `null`).
#[derive(Clone, Debug, PartialEq)]
pub enum ColumnData {
    /// `Bool`.
    Bool(Vec<bool>),
    /// `Int8`.
    Int8(Vec<i8>),
    /// `Int16`.
    Int16(Vec<i16>),
    /// `Int32`.
    Int32(Vec<i32>),
    /// `Int64`, and `Timestamptz` in microseconds since 1970.
    Int64(Vec<i64>),
    /// `Float`.
    Float(Vec<f32>),
    /// `Double`.
    Double(Vec<f64>),
    /// `VarChar`.
    VarChar(Texts),
    /// `Json`: the text of one JSON value per row.
    Json(Texts),
    /// `Geometry`: the WKB of one shape per row; nothing where there is no value.
    Geometry(ByteRows),
    /// `Array` and `ArrayOfVector`: one array per row.
    Array(Arrays),
    /// Every dense vector of numbers: row-major, shape `[rows, dim]`.
    FloatVector {
        /// Components per row, at least 1.
        dim: usize,
        /// All components.
        values: Vec<f32>,
    },
    /// `BinaryVector`: row-major, `dim / 8` bytes a row.
    BinaryVector {
        /// Bits per row, a multiple of 8, at least 8.
        dim: usize,
        /// All bits.
        bytes: Vec<u8>,
    },
    /// `SparseFloatVector`.
    SparseVector(SparseRows),
}

/// Runs `$body` with `$values` bound to the vector inside a fixed-width scalar column, or to texts or bytes, or to arrays.
macro_rules! each_data {
    ($data:expr, $values:ident => $body:expr, $texts:ident => $text_body:expr, $arrays:ident => $array_body:expr, ($dim:ident, $vectors:ident) => $vector_body:expr, ($bits:ident, $bytes:ident) => $bits_body:expr, $sparse:ident => $sparse_body:expr) => {
        match $data {
            ColumnData::Bool($values) => $body,
            ColumnData::Int8($values) => $body,
            ColumnData::Int16($values) => $body,
            ColumnData::Int32($values) => $body,
            ColumnData::Int64($values) => $body,
            ColumnData::Float($values) => $body,
            ColumnData::Double($values) => $body,
            ColumnData::VarChar($texts) | ColumnData::Json($texts) => $text_body,
            ColumnData::Geometry($texts) => $text_body,
            ColumnData::Array($arrays) => $array_body,
            ColumnData::FloatVector { dim: $dim, values: $vectors } => $vector_body,
            ColumnData::BinaryVector { dim: $bits, bytes: $bytes } => $bits_body,
            ColumnData::SparseVector($sparse) => $sparse_body,
        }
    };
}

impl ColumnData {
    /// No row yet, for values of `field`.
    #[must_use]
    pub fn empty(field: &Field) -> Self {
        match field.data_type {
            dense if dense.is_dense() => Self::FloatVector { dim: field.dim().max(1), values: Vec::new() },
            DataType::BinaryVector => Self::BinaryVector { dim: field.dim().max(8), bytes: Vec::new() },
            DataType::ArrayOfVector(element) => Self::Array(Arrays::of_vectors(element, field.dim())),
            scalar => Self::none_of(scalar),
        }
    }

    /// No row yet, for values of `data_type`; vectors have one component.
    #[must_use]
    pub fn none_of(data_type: DataType) -> Self {
        match data_type {
            DataType::Bool => Self::Bool(Vec::new()),
            DataType::Int8 => Self::Int8(Vec::new()),
            DataType::Int16 => Self::Int16(Vec::new()),
            DataType::Int32 => Self::Int32(Vec::new()),
            DataType::Int64 | DataType::Timestamptz => Self::Int64(Vec::new()),
            DataType::Float => Self::Float(Vec::new()),
            DataType::Double => Self::Double(Vec::new()),
            DataType::VarChar => Self::VarChar(Texts::new()),
            DataType::Json => Self::Json(Texts::new()),
            DataType::Geometry => Self::Geometry(ByteRows::new()),
            DataType::Array(element) => Self::Array(Arrays::new(element)),
            DataType::FloatVector
            | DataType::Float16Vector
            | DataType::BFloat16Vector
            | DataType::Int8Vector => Self::FloatVector { dim: 1, values: Vec::new() },
            DataType::BinaryVector => Self::BinaryVector { dim: 8, bytes: Vec::new() },
            DataType::SparseFloatVector => Self::SparseVector(SparseRows::new()),
            DataType::ArrayOfVector(element) => Self::Array(Arrays::of_vectors(element, 1)),
        }
    }

    /// The type of the values; [`DataType::held_as`] of their field's.
    #[must_use]
    pub const fn data_type(&self) -> DataType {
        match self {
            Self::Bool(_) => DataType::Bool,
            Self::Int8(_) => DataType::Int8,
            Self::Int16(_) => DataType::Int16,
            Self::Int32(_) => DataType::Int32,
            Self::Int64(_) => DataType::Int64,
            Self::Float(_) => DataType::Float,
            Self::Double(_) => DataType::Double,
            Self::VarChar(_) => DataType::VarChar,
            Self::Json(_) => DataType::Json,
            Self::Geometry(_) => DataType::Geometry,
            Self::Array(arrays) => arrays.data_type(),
            Self::FloatVector { .. } => DataType::FloatVector,
            Self::BinaryVector { .. } => DataType::BinaryVector,
            Self::SparseVector(_) => DataType::SparseFloatVector,
        }
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        each_data!(self, values => values.len(), texts => texts.len(), arrays => arrays.len(), (dim, values) => values.len() / (*dim).max(1), (dim, bytes) => bytes.len() / (*dim / 8).max(1), sparse => sparse.len())
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory that the values take.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        each_data!(
            self,
            values => std::mem::size_of_val(values.as_slice()),
            texts => texts.memory_bytes(),
            arrays => arrays.memory_bytes(),
            (_dim, values) => std::mem::size_of_val(values.as_slice()),
            (_dim, bytes) => bytes.len(),
            sparse => sparse.memory_bytes()
        )
    }

    /// The chosen rows, in the order given. Every row must exist.
    #[must_use]
    pub fn take(&self, rows: &[usize]) -> Self {
        match self {
            Self::Bool(values) => Self::Bool(pick(values, rows)),
            Self::Int8(values) => Self::Int8(pick(values, rows)),
            Self::Int16(values) => Self::Int16(pick(values, rows)),
            Self::Int32(values) => Self::Int32(pick(values, rows)),
            Self::Int64(values) => Self::Int64(pick(values, rows)),
            Self::Float(values) => Self::Float(pick(values, rows)),
            Self::Double(values) => Self::Double(pick(values, rows)),
            Self::VarChar(texts) => Self::VarChar(rows.iter().map(|&row| texts.get(row)).collect()),
            Self::Json(texts) => Self::Json(rows.iter().map(|&row| texts.get(row)).collect()),
            Self::Geometry(shapes) => Self::Geometry(rows.iter().map(|&row| shapes.get(row)).collect()),
            Self::Array(arrays) => Self::Array(arrays.take(rows)),
            Self::FloatVector { dim, values } => {
                Self::FloatVector { dim: *dim, values: pick_wide(values, *dim, rows) }
            }
            Self::BinaryVector { dim, bytes } => {
                Self::BinaryVector { dim: *dim, bytes: pick_wide(bytes, dim / 8, rows) }
            }
            Self::SparseVector(sparse) => Self::SparseVector(sparse.take(rows)),
        }
    }

    /// Adds the rows of `other`, which has the same type (and dimension), at the end.
    ///
    /// # Errors
    /// [`TypeMismatch`] if it has not; nothing is added then.
    pub fn extend(&mut self, other: &Self) -> Result<(), TypeMismatch> {
        self.extend_range(other, 0..other.len())
    }

    /// Makes room for `rows` more vectors of numbers or bits. If there is too little, then at once for `ahead` further ones too, which
    /// are about as many as will come, and have no more than `ahead_bytes`: where a column doubles as it grows, it is in memory up to
    /// three times while it moves. Columns of other types are small, and grow as they need.
    pub fn reserve(&mut self, rows: usize, ahead: usize, ahead_bytes: usize) {
        fn grow<T>(values: &mut Vec<T>, width: usize, rows: usize, ahead: usize, ahead_bytes: usize) {
            let ahead = ahead.min(ahead_bytes / (width * size_of::<T>()).max(1));
            if values.capacity() - values.len() < rows.saturating_mul(width) {
                // Never by so little that what comes unforeseen moves the column again and again.
                let least = values.len() / 4;
                values.reserve_exact(rows.saturating_add(ahead).saturating_mul(width).max(least));
            }
        }
        match self {
            Self::FloatVector { dim, values } => grow(values, *dim, rows, ahead, ahead_bytes),
            Self::BinaryVector { dim, bytes } => grow(bytes, *dim / 8, rows, ahead, ahead_bytes),
            _ => {}
        }
    }

    /// Adds the rows `range` of `other`, which has them and the same type (and dimension), at the end.
    ///
    /// # Errors
    /// [`TypeMismatch`] if it has not; nothing is added then.
    pub fn extend_range(&mut self, other: &Self, range: Range<usize>) -> Result<(), TypeMismatch> {
        match (self, other) {
            (Self::Bool(all), Self::Bool(more)) => all.extend_from_slice(&more[range]),
            (Self::Int8(all), Self::Int8(more)) => all.extend_from_slice(&more[range]),
            (Self::Int16(all), Self::Int16(more)) => all.extend_from_slice(&more[range]),
            (Self::Int32(all), Self::Int32(more)) => all.extend_from_slice(&more[range]),
            (Self::Int64(all), Self::Int64(more)) => all.extend_from_slice(&more[range]),
            (Self::Float(all), Self::Float(more)) => all.extend_from_slice(&more[range]),
            (Self::Double(all), Self::Double(more)) => all.extend_from_slice(&more[range]),
            (Self::VarChar(all), Self::VarChar(more)) | (Self::Json(all), Self::Json(more)) => {
                range.for_each(|row| all.push(more.get(row)));
            }
            (Self::Geometry(all), Self::Geometry(more)) => range.for_each(|row| all.push(more.get(row))),
            (Self::Array(all), Self::Array(more)) if range == (0..more.len()) => return all.extend(more),
            (Self::Array(all), Self::Array(more)) => {
                for row in range {
                    all.push_from(more, row)?;
                }
            }
            (Self::FloatVector { dim, values }, Self::FloatVector { dim: other_dim, values: more })
                if dim == other_dim =>
            {
                values.extend_from_slice(&more[range.start * *dim..range.end * *dim]);
            }
            (Self::BinaryVector { dim, bytes }, Self::BinaryVector { dim: other_dim, bytes: more })
                if dim == other_dim =>
            {
                let width = *dim / 8;
                bytes.extend_from_slice(&more[range.start * width..range.end * width]);
            }
            (Self::SparseVector(all), Self::SparseVector(more)) => all.extend_range(more, range),
            (this, other) => {
                return Err(TypeMismatch { expected: this.data_type(), found: other.data_type() });
            }
        }
        Ok(())
    }

    /// Adds one value at the end: a placeholder for [`Value::Null`].
    ///
    /// # Errors
    /// [`TypeMismatch`] if the value is of another type or an integer does not fit.
    pub fn push(&mut self, value: &Value) -> Result<(), TypeMismatch> {
        let mismatch = TypeMismatch { expected: self.data_type(), found: value_type(value) };
        match (self, value) {
            (Self::Bool(all), Value::Bool(one)) => all.push(*one),
            (Self::Int8(all), Value::Int(one)) => all.push(i8::try_from(*one).map_err(|_| mismatch)?),
            (Self::Int16(all), Value::Int(one)) => all.push(i16::try_from(*one).map_err(|_| mismatch)?),
            (Self::Int32(all), Value::Int(one)) => all.push(i32::try_from(*one).map_err(|_| mismatch)?),
            (Self::Int64(all), Value::Int(one)) => all.push(*one),
            (Self::Float(all), Value::Float(one)) => all.push(*one),
            (Self::Double(all), Value::Double(one)) => all.push(*one),
            (Self::VarChar(all), Value::Text(one)) | (Self::Json(all), Value::Json(one)) => all.push(one),
            (Self::Geometry(all), Value::Shape(one)) => all.push(one),
            (Self::Array(all), Value::Array(one)) => return all.push_values(one),
            (Self::FloatVector { dim, values }, Value::Vector(one)) if one.len() == *dim => {
                values.extend_from_slice(one)
            }
            (Self::BinaryVector { dim, bytes }, Value::Bits(one)) if one.len() == *dim / 8 => {
                bytes.extend_from_slice(one);
            }
            (Self::SparseVector(all), Value::Sparse(one)) => all.push(one.as_row()),
            (Self::Bool(all), Value::Null) => all.push(false),
            (Self::Int8(all), Value::Null) => all.push(0),
            (Self::Int16(all), Value::Null) => all.push(0),
            (Self::Int32(all), Value::Null) => all.push(0),
            (Self::Int64(all), Value::Null) => all.push(0),
            (Self::Float(all), Value::Null) => all.push(0.0),
            (Self::Double(all), Value::Null) => all.push(0.0),
            (Self::VarChar(all), Value::Null) => all.push(""),
            (Self::Json(all), Value::Null) => all.push("null"),
            (Self::Geometry(all), Value::Null) => all.push(&[]),
            (Self::Array(all), Value::Null) => all.push_none(),
            (Self::FloatVector { dim, values }, Value::Null) => values.extend(std::iter::repeat_n(0.0, *dim)),
            (Self::BinaryVector { dim, bytes }, Value::Null) => {
                bytes.extend(std::iter::repeat_n(0, *dim / 8));
            }
            (Self::SparseVector(all), Value::Null) => all.push_none(),
            _ => return Err(mismatch),
        }
        Ok(())
    }

    /// The value of row `row`, which must exist, whether it is there or a placeholder.
    #[must_use]
    pub fn value(&self, row: usize) -> Value {
        match self {
            Self::Bool(values) => Value::Bool(values[row]),
            Self::Int8(values) => Value::Int(i64::from(values[row])),
            Self::Int16(values) => Value::Int(i64::from(values[row])),
            Self::Int32(values) => Value::Int(i64::from(values[row])),
            Self::Int64(values) => Value::Int(values[row]),
            Self::Float(values) => Value::Float(values[row]),
            Self::Double(values) => Value::Double(values[row]),
            Self::VarChar(texts) => Value::Text(texts.get(row).to_owned()),
            Self::Json(texts) => Value::Json(texts.get(row).to_owned()),
            Self::Geometry(shapes) => Value::Shape(shapes.get(row).to_vec()),
            Self::Array(arrays) => Value::Array(arrays.values(row)),
            Self::FloatVector { dim, values } => Value::Vector(values[row * dim..(row + 1) * dim].to_vec()),
            Self::BinaryVector { dim, bytes } => {
                let width = dim / 8;
                Value::Bits(bytes[row * width..(row + 1) * width].to_vec())
            }
            Self::SparseVector(sparse) => Value::Sparse(sparse.get(row).to_vector()),
        }
    }
}

fn pick<T: Copy>(values: &[T], rows: &[usize]) -> Vec<T> {
    rows.iter().map(|&row| values[row]).collect()
}

/// Rows of `width` values each.
fn pick_wide<T: Copy>(values: &[T], width: usize, rows: &[usize]) -> Vec<T> {
    let mut picked = Vec::with_capacity(rows.len() * width);
    rows.iter().for_each(|&row| picked.extend_from_slice(&values[row * width..(row + 1) * width]));
    picked
}

fn value_type(value: &Value) -> DataType {
    match value {
        Value::Null | Value::Json(_) => DataType::Json,
        Value::Bool(_) => DataType::Bool,
        Value::Int(_) => DataType::Int64,
        Value::Float(_) => DataType::Float,
        Value::Double(_) => DataType::Double,
        Value::Text(_) => DataType::VarChar,
        Value::Array(elements) => {
            let element = elements.first().and_then(|first| ElementType::of(value_type(first)));
            DataType::Array(element.unwrap_or(ElementType::Int64))
        }
        Value::Vector(_) => DataType::FloatVector,
        Value::Bits(_) => DataType::BinaryVector,
        Value::Sparse(_) => DataType::SparseFloatVector,
        Value::Shape(_) => DataType::Geometry,
    }
}

/// Two columns, or a column and a value, are not of one type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a column of {} cannot take values of {}", expected.name(), found.name())]
pub struct TypeMismatch {
    /// The column's type.
    pub expected: DataType,
    /// The type that came.
    pub found: DataType,
}

/// One column of some rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Whose values these are.
    pub field: FieldId,
    /// The values.
    pub data: ColumnData,
    /// Which rows have a value; `None` says all of them.
    pub valid: Option<Bitset>,
}

impl Column {
    /// No row yet, for `field`.
    #[must_use]
    pub fn empty(field: &Field) -> Self {
        Self { field: field.id, data: ColumnData::empty(field), valid: None }
    }

    /// `rows` rows that were written before `field` existed: its default, or no value.
    #[must_use]
    pub fn absent(field: &Field, rows: usize) -> Self {
        let value = field.default.as_ref().unwrap_or(&Value::Null);
        let mut data = ColumnData::empty(field);
        let is_known = (0..rows).all(|_| data.push(value).is_ok()) && *value != Value::Null;
        if is_known {
            return Self { field: field.id, data, valid: None };
        }
        // A placeholder fits every type.
        data = ColumnData::empty(field);
        for _ in 0..rows {
            let _ = data.push(&Value::Null);
        }
        Self { field: field.id, data, valid: Some(Bitset::none(rows)) }
    }

    /// Whether row `row` has a value.
    #[must_use]
    #[inline]
    pub fn is_valid(&self, row: usize) -> bool {
        self.valid.as_ref().is_none_or(|valid| valid.contains(row))
    }

    /// The value of row `row`, which must exist.
    #[must_use]
    pub fn value(&self, row: usize) -> Value {
        if !self.is_valid(row) {
            return Value::Null;
        }
        self.data.value(row)
    }

    /// The chosen rows, in the order given. Every row must exist.
    #[must_use]
    pub fn take(&self, rows: &[usize]) -> Self {
        let valid =
            self.valid.as_ref().map(|valid| Bitset::from_fn(rows.len(), |at| valid.contains(rows[at])));
        Self { field: self.field, data: self.data.take(rows), valid }
    }

    /// Adds the rows of `other`, a column of the same field, at the end.
    ///
    /// # Errors
    /// [`TypeMismatch`] if the types differ; nothing is added then.
    pub fn extend(&mut self, other: &Self) -> Result<(), TypeMismatch> {
        let before = self.data.len();
        self.data.extend(&other.data)?;
        if self.valid.is_some() || other.valid.is_some() {
            let valid = Bitset::from_fn(self.data.len(), |row| {
                if row < before { self.is_valid(row) } else { other.is_valid(row - before) }
            });
            self.valid = Some(valid);
        }
        Ok(())
    }
}

/// Some rows, by columns. Every column has `rows` values; whole rows have the schema's columns in the schema's order.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Batch {
    /// How many rows.
    pub rows: usize,
    /// The columns.
    pub columns: Vec<Column>,
}

impl Batch {
    /// No row, with all columns of `schema`.
    #[must_use]
    pub fn empty(schema: &Schema) -> Self {
        Self { rows: 0, columns: schema.fields.iter().map(Column::empty).collect() }
    }

    /// The column of `field`.
    #[must_use]
    pub fn column(&self, field: FieldId) -> Option<&Column> {
        self.columns.iter().find(|column| column.field == field)
    }

    /// The chosen rows, in the order given. Every row must exist.
    #[must_use]
    pub fn take(&self, rows: &[usize]) -> Self {
        Self { rows: rows.len(), columns: self.columns.iter().map(|column| column.take(rows)).collect() }
    }

    /// Adds the rows of `other`, which has the same columns in the same order, at the end.
    ///
    /// # Errors
    /// [`TypeMismatch`] if a column differs in type.
    pub fn extend(&mut self, other: &Self) -> Result<(), TypeMismatch> {
        for (column, more) in self.columns.iter_mut().zip(&other.columns) {
            column.extend(more)?;
        }
        self.rows += other.rows;
        Ok(())
    }

    /// As [`ColumnData::reserve`], of each column.
    pub fn reserve(&mut self, rows: usize, ahead: usize, ahead_bytes: usize) {
        self.columns.iter_mut().for_each(|column| column.data.reserve(rows, ahead, ahead_bytes));
    }

    /// Bytes of memory that the rows take.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.columns.iter().map(|column| column.data.memory_bytes()).sum()
    }
}

/// Many primary keys of one collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keys {
    /// Of an `Int64` key.
    Int(Vec<i64>),
    /// Of a `VarChar` key.
    Text(Texts),
}

impl Keys {
    /// No key, of the type of `primary`.
    #[must_use]
    pub fn empty(primary: DataType) -> Self {
        if primary == DataType::VarChar { Self::Text(Texts::new()) } else { Self::Int(Vec::new()) }
    }

    /// The keys in a column of a primary field; `None` for a column of another type.
    #[must_use]
    pub fn from_column(column: &ColumnData) -> Option<Self> {
        match column {
            ColumnData::Int64(keys) => Some(Self::Int(keys.clone())),
            ColumnData::VarChar(keys) => Some(Self::Text(keys.clone())),
            _ => None,
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Int(keys) => keys.len(),
            Self::Text(keys) => keys.len(),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Key `at`, which must exist.
    #[must_use]
    pub fn get(&self, at: usize) -> Key {
        match self {
            Self::Int(keys) => Key::Int(keys[at]),
            Self::Text(keys) => Key::Text(Arc::from(keys.get(at))),
        }
    }

    /// Adds a key of the same type; a key of the other type is a defect of the caller and is left out.
    pub fn push(&mut self, key: &Key) {
        match (self, key) {
            (Self::Int(keys), Key::Int(key)) => keys.push(*key),
            (Self::Text(keys), Key::Text(key)) => keys.push(key),
            _ => debug_assert!(false, "keys of one collection have one type"),
        }
    }

    /// Adds keys of the same type; keys of the other type are a defect of the caller and are left out.
    pub fn extend(&mut self, more: &Self) {
        match (self, more) {
            (Self::Int(keys), Self::Int(more)) => keys.extend_from_slice(more),
            (Self::Text(keys), Self::Text(more)) => (0..more.len()).for_each(|at| keys.push(more.get(at))),
            (_, more) => debug_assert!(more.is_empty(), "keys of one collection have one type"),
        }
    }

    /// The keys in order.
    pub fn iter(&self) -> impl Iterator<Item = Key> {
        (0..self.len()).map(|at| self.get(at))
    }

    /// The chosen keys, in the order given. Every one must exist.
    #[must_use]
    pub fn take(&self, rows: &[usize]) -> Self {
        match self {
            Self::Int(keys) => Self::Int(pick(keys, rows)),
            Self::Text(keys) => Self::Text(rows.iter().map(|&row| keys.get(row)).collect()),
        }
    }
}

impl FromIterator<Key> for Keys {
    /// Collects keys of one type; no key at all gives integer keys.
    fn from_iter<I: IntoIterator<Item = Key>>(keys: I) -> Self {
        let mut all: Option<Self> = None;
        for key in keys {
            let empty =
                || if matches!(key, Key::Text(_)) { Self::Text(Texts::new()) } else { Self::Int(Vec::new()) };
            all.get_or_insert_with(empty).push(&key);
        }
        all.unwrap_or(Self::Int(Vec::new()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capacity(data: &ColumnData) -> usize {
        match data {
            ColumnData::FloatVector { values, .. } => values.capacity(),
            ColumnData::BinaryVector { bytes, .. } => bytes.capacity(),
            _ => 0,
        }
    }

    #[test]
    fn vectors_take_room_once_for_what_is_foreseen() {
        let columns = [
            (ColumnData::FloatVector { dim: 4, values: vec![0.5; 40] }, 4),
            (ColumnData::BinaryVector { dim: 16, bytes: vec![7; 20] }, 2),
        ];
        for (mut all, width) in columns {
            let more = all.clone();
            for _ in 0..9 {
                all.reserve(10, 80, usize::MAX);
                all.extend(&more).unwrap();
                assert_eq!((capacity(&all), all.len() % 10), (100 * width, 0), "{:?}", all.data_type());
            }
        }
    }

    #[test]
    fn no_room_is_taken_for_more_than_there_is_to_come() {
        // Rows from before the field was added are small in the log, so very many of them seem to be to come.
        let mut all = ColumnData::FloatVector { dim: 4, values: vec![0.0; 40] };

        all.reserve(10, 1 << 40, 33 * 16 + 15);

        assert_eq!(capacity(&all), (10 + 10 + 33) * 4);
    }

    #[test]
    fn vectors_that_nobody_foresaw_are_not_moved_each_time() {
        let mut all = ColumnData::FloatVector { dim: 1, values: Vec::new() };
        let more = ColumnData::FloatVector { dim: 1, values: vec![1.0] };
        let mut moves = 0;
        for _ in 0..10_000 {
            let before = capacity(&all);
            all.reserve(1, 0, 0);
            all.extend(&more).unwrap();
            moves += usize::from(capacity(&all) > before);
        }

        assert!(moves < 50, "{moves} moves");
    }

    #[test]
    fn columns_of_other_types_take_no_room() {
        let mut ints = ColumnData::Int64(vec![1, 2]);

        ints.reserve(1 << 40, 1 << 60, usize::MAX);

        assert_eq!(ints, ColumnData::Int64(vec![1, 2]));
    }
}
