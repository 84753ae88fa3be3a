//! Rows and keys as bytes: what the log stores and what nodes send each other.
//!
//! All numbers little-endian. Keys: type `u8` (5 integers, 8 texts), count `u64`, values. Rows: columns `u32`, rows
//! `u64`, then each column: field `i64`, type `u8`, flag `u8`, for flag 1 the valid rows as `u64` words, then the values.
//! Values of fixed width stand one after the other; texts and shapes are the ends as `u32` and then the bytes; vectors are the
//! dimension as `u32` and then the components, bits eight a byte; sparse vectors are the ends as `u32`, then the indices as
//! `u32`, then the values; arrays, of vectors too, are the ends as `u32` and then the elements, in the way of their own type. No version and no checksum: whoever stores or sends the bytes adds them.

use bytes::{BufMut, Bytes, BytesMut};

use crate::base::FieldId;
use crate::model::{
    Arrays, Batch, Bitset, ByteRows, Column, ColumnData, DataType, ElementType, Keys, SparseRows, Texts,
    VectorElement,
};

/// Bytes that do not follow the format; says in which way, as the rest of a sentence about the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Damaged(pub &'static str);

/// The code of a type, for ever.
#[must_use]
pub const fn type_code(data_type: DataType) -> u8 {
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
        DataType::Float16Vector => 11,
        DataType::BFloat16Vector => 12,
        DataType::Int8Vector => 13,
        DataType::BinaryVector => 14,
        DataType::SparseFloatVector => 15,
        DataType::Timestamptz => 16,
        DataType::Geometry => 17,
        DataType::Text => 18,
        DataType::Array(ElementType::Bool) => 33,
        DataType::Array(ElementType::Int8) => 34,
        DataType::Array(ElementType::Int16) => 35,
        DataType::Array(ElementType::Int32) => 36,
        DataType::Array(ElementType::Int64) => 37,
        DataType::Array(ElementType::Float) => 38,
        DataType::Array(ElementType::Double) => 39,
        DataType::Array(ElementType::VarChar) => 40,
        DataType::ArrayOfVector(VectorElement::Float) => 41,
        DataType::ArrayOfVector(VectorElement::Float16) => 42,
        DataType::ArrayOfVector(VectorElement::BFloat16) => 43,
        DataType::ArrayOfVector(VectorElement::Int8) => 44,
        DataType::ArrayOfVector(VectorElement::Binary) => 45,
    }
}

/// The type of a code.
#[must_use]
pub fn type_of(code: u8) -> Option<DataType> {
    DataType::ALL.into_iter().find(|data_type| type_code(*data_type) == code)
}

fn texts_bytes(texts: &Texts) -> usize {
    texts.len() * 4 + texts.parts().0.len()
}

/// How many bytes [`put_keys`] adds.
#[must_use]
pub fn keys_bytes(keys: &Keys) -> usize {
    9 + match keys {
        Keys::Int(keys) => keys.len() * 8,
        Keys::Text(keys) => texts_bytes(keys),
    }
}

/// About how many bytes [`put_rows`] adds.
#[must_use]
pub fn rows_bytes(rows: &Batch) -> usize {
    let column_bytes = |column: &Column| {
        14 + column.valid.as_ref().map_or(0, |valid| valid.words().len() * 8) + data_bytes(&column.data)
    };
    12 + rows.columns.iter().map(column_bytes).sum::<usize>()
}

fn data_bytes(data: &ColumnData) -> usize {
    match data {
        ColumnData::VarChar(texts) | ColumnData::Json(texts) => texts_bytes(texts),
        ColumnData::Geometry(shapes) => shapes.len() * 4 + shapes.parts().0.len(),
        ColumnData::Array(arrays) => arrays.len() * 4 + data_bytes(arrays.elements()),
        ColumnData::SparseVector(sparse) => sparse.len() * 4 + sparse.parts().0.len() * 8,
        data => data.memory_bytes(),
    }
}

/// Appends fixed-width values through a small block, which compilers turn into plain copies.
pub fn put_values<T: Copy, const W: usize>(
    out: &mut BytesMut,
    values: &[T],
    bytes_of: impl Fn(T) -> [u8; W],
) {
    let mut block = [[0_u8; W]; 512];
    for values in values.chunks(block.len()) {
        for (place, &value) in block.iter_mut().zip(values) {
            *place = bytes_of(value);
        }
        out.extend_from_slice(block[..values.len()].as_flattened());
    }
}

fn put_texts(out: &mut BytesMut, texts: &Texts) {
    put_byte_rows(out, texts.parts());
}

fn put_byte_rows(out: &mut BytesMut, (bytes, ends): (&[u8], &[u64])) {
    // A record is far smaller than 4 GiB, so ends fit.
    put_values(out, ends, |end| (end as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Adds keys at the end.
pub fn put_keys(out: &mut BytesMut, keys: &Keys) {
    out.put_u8(type_code(if matches!(keys, Keys::Int(_)) { DataType::Int64 } else { DataType::VarChar }));
    out.put_u64_le(keys.len() as u64);
    match keys {
        Keys::Int(keys) => put_values(out, keys, i64::to_le_bytes),
        Keys::Text(keys) => put_texts(out, keys),
    }
}

/// Adds rows at the end.
pub fn put_rows(out: &mut BytesMut, rows: &Batch) {
    out.put_u32_le(rows.columns.len() as u32);
    out.put_u64_le(rows.rows as u64);
    for column in &rows.columns {
        out.put_i64_le(column.field.0);
        out.put_u8(type_code(column.data.data_type()));
        out.put_u8(u8::from(column.valid.is_some()));
        if let Some(valid) = &column.valid {
            put_values(out, valid.words(), u64::to_le_bytes);
        }
        put_data(out, &column.data);
    }
}

fn put_data(out: &mut BytesMut, data: &ColumnData) {
    match data {
        ColumnData::Bool(values) => put_values(out, values, |value| [u8::from(value)]),
        ColumnData::Int8(values) => put_values(out, values, i8::to_le_bytes),
        ColumnData::Int16(values) => put_values(out, values, i16::to_le_bytes),
        ColumnData::Int32(values) => put_values(out, values, i32::to_le_bytes),
        ColumnData::Int64(values) => put_values(out, values, i64::to_le_bytes),
        ColumnData::Float(values) => put_values(out, values, f32::to_le_bytes),
        ColumnData::Double(values) => put_values(out, values, f64::to_le_bytes),
        ColumnData::VarChar(texts) | ColumnData::Json(texts) => put_texts(out, texts),
        ColumnData::Geometry(shapes) => put_byte_rows(out, shapes.parts()),
        ColumnData::FloatVector { dim, values } => {
            out.put_u32_le(*dim as u32);
            put_values(out, values, f32::to_le_bytes);
        }
        ColumnData::BinaryVector { dim, bytes } => {
            out.put_u32_le(*dim as u32);
            out.extend_from_slice(bytes);
        }
        ColumnData::SparseVector(sparse) => {
            let (indices, values, ends) = sparse.parts();
            put_values(out, ends, |end| (end as u32).to_le_bytes());
            put_values(out, indices, u32::to_le_bytes);
            put_values(out, values, f32::to_le_bytes);
        }
        ColumnData::Array(arrays) => {
            let (elements, ends) = arrays.parts();
            put_values(out, ends, |end| (end as u32).to_le_bytes());
            put_data(out, elements);
        }
    }
}

/// Keys as bytes of their own.
#[must_use]
pub fn encode_keys(keys: &Keys) -> Bytes {
    let mut out = BytesMut::with_capacity(keys_bytes(keys));
    put_keys(&mut out, keys);
    out.freeze()
}

/// Rows as bytes of their own.
#[must_use]
pub fn encode_rows(rows: &Batch) -> Bytes {
    let mut out = BytesMut::with_capacity(rows_bytes(rows));
    put_rows(&mut out, rows);
    out.freeze()
}

/// The keys that [`encode_keys`] was given.
///
/// # Errors
/// If the bytes are not that, to the end.
pub fn decode_keys(bytes: &[u8]) -> Result<Keys, Damaged> {
    whole(bytes, Reader::keys)
}

/// The rows that [`encode_rows`] was given.
///
/// # Errors
/// If the bytes are not that, to the end.
pub fn decode_rows(bytes: &[u8]) -> Result<Batch, Damaged> {
    whole(bytes, Reader::batch)
}

fn whole<'a, T>(
    bytes: &'a [u8],
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, Damaged>,
) -> Result<T, Damaged> {
    let mut reader = Reader::new(bytes);
    let value = read(&mut reader)?;
    if reader.remaining() == 0 { Ok(value) } else { Err(Damaged("it has bytes after its end")) }
}

/// The bytes not read yet. Every read takes from the front; never panics, whatever the bytes.
#[derive(Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads `bytes` from the start.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// How many bytes are left.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// If fewer are left.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], Damaged> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Damaged("it ends too early"))?;
        self.rest = rest;
        Ok(taken)
    }
    /// The next `W` bytes.
    ///
    /// # Errors
    /// If the bytes are not that.
    pub fn array<const W: usize>(&mut self) -> Result<[u8; W], Damaged> {
        let (taken, rest) = self.rest.split_first_chunk::<W>().ok_or(Damaged("it ends too early"))?;
        self.rest = rest;
        Ok(*taken)
    }
    /// One byte.
    ///
    /// # Errors
    /// If the bytes are not that.
    pub fn u8(&mut self) -> Result<u8, Damaged> {
        self.array::<1>().map(|[byte]| byte)
    }
    /// A 32-bit number.
    ///
    /// # Errors
    /// If the bytes are not that.
    pub fn u32(&mut self) -> Result<u32, Damaged> {
        self.array().map(u32::from_le_bytes)
    }
    /// A 64-bit number.
    ///
    /// # Errors
    /// If the bytes are not that.
    pub fn i64(&mut self) -> Result<i64, Damaged> {
        self.array().map(i64::from_le_bytes)
    }
    /// A byte that is 0 or 1.
    ///
    /// # Errors
    /// If the bytes are not that.
    pub fn flag(&mut self) -> Result<bool, Damaged> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Damaged("a flag is neither 0 nor 1")),
        }
    }

    /// A number of things of which each takes at least one bit of what is left.
    ///
    /// # Errors
    /// If the bytes are not that.
    pub fn count(&mut self) -> Result<usize, Damaged> {
        let count = u64::from_le_bytes(self.array()?);
        usize::try_from(count)
            .ok()
            .filter(|&count| count <= self.rest.len().saturating_mul(8))
            .ok_or(Damaged("a count is larger than the record"))
    }
    /// `count` values of `W` bytes each.
    ///
    /// # Errors
    /// If the bytes are not that.
    pub fn values<T, const W: usize>(
        &mut self,
        count: usize,
        value_of: impl Fn([u8; W]) -> T,
    ) -> Result<Vec<T>, Damaged> {
        let bytes = self.bytes(count.checked_mul(W).ok_or(Damaged("a count is too large"))?)?;
        Ok(bytes.as_chunks::<W>().0.iter().map(|chunk| value_of(*chunk)).collect())
    }

    fn texts(&mut self, count: usize) -> Result<Texts, Damaged> {
        let (bytes, ends) = self.byte_rows(count)?;
        Texts::from_parts(bytes, ends).ok_or(Damaged("its texts are not texts"))
    }

    /// The bytes of so many rows, and where each ends.
    fn byte_rows(&mut self, count: usize) -> Result<(Vec<u8>, Vec<u64>), Damaged> {
        let ends = self.values(count, |end| u64::from(u32::from_le_bytes(end)))?;
        let size_bytes = usize::try_from(ends.last().copied().unwrap_or(0)).unwrap_or(usize::MAX);
        Ok((self.bytes(size_bytes)?.to_vec(), ends))
    }

    /// A type by its code.
    ///
    /// # Errors
    /// If the bytes are not that.
    pub fn data_type(&mut self) -> Result<DataType, Damaged> {
        let code = self.u8()?;
        type_of(code).ok_or(Damaged("it has an unknown type"))
    }
    /// Keys as [`put_keys`] wrote them.
    ///
    /// # Errors
    /// If the bytes are not that.
    pub fn keys(&mut self) -> Result<Keys, Damaged> {
        let data_type = self.data_type()?;
        let count = self.count()?;
        match data_type {
            DataType::Int64 => self.values(count, i64::from_le_bytes).map(Keys::Int),
            DataType::VarChar => self.texts(count).map(Keys::Text),
            _ => Err(Damaged("its keys have a type that keys cannot have")),
        }
    }

    fn data(&mut self, data_type: DataType, rows: usize) -> Result<ColumnData, Damaged> {
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
            arrays @ (DataType::Array(_)
            | DataType::ArrayOfVector(VectorElement::Float | VectorElement::Binary)) => {
                let ends = self.values(rows, |end| u64::from(u32::from_le_bytes(end)))?;
                let count = usize::try_from(ends.last().copied().unwrap_or(0)).unwrap_or(usize::MAX);
                let elements = self.data(arrays.element(), count)?;
                ColumnData::Array(
                    Arrays::from_parts(elements, ends).ok_or(Damaged("its arrays are not arrays"))?,
                )
            }
            DataType::Geometry => {
                let (bytes, ends) = self.byte_rows(rows)?;
                ColumnData::Geometry(
                    ByteRows::from_parts(bytes, ends).ok_or(Damaged("its shapes have no ends"))?,
                )
            }
            DataType::Timestamptz
            | DataType::Text
            | DataType::Float16Vector
            | DataType::BFloat16Vector
            | DataType::Int8Vector
            | DataType::ArrayOfVector(_) => {
                return Err(Damaged("it has a column of a type that is held as another"));
            }
            DataType::FloatVector => {
                let dim = self.u32()? as usize;
                let count =
                    rows.checked_mul(dim).filter(|_| dim > 0).ok_or(Damaged("it has a wrong dimension"))?;
                ColumnData::FloatVector { dim, values: self.values(count, f32::from_le_bytes)? }
            }
            DataType::BinaryVector => {
                let dim = self.u32()? as usize;
                let is_whole = dim > 0 && dim.is_multiple_of(8);
                let count = rows
                    .checked_mul(dim / 8)
                    .filter(|_| is_whole)
                    .ok_or(Damaged("it has a wrong dimension"))?;
                ColumnData::BinaryVector { dim, bytes: self.bytes(count)?.to_vec() }
            }
            DataType::SparseFloatVector => {
                let ends = self.values(rows, |end| u64::from(u32::from_le_bytes(end)))?;
                let count = usize::try_from(ends.last().copied().unwrap_or(0)).unwrap_or(usize::MAX);
                let indices = self.values(count, u32::from_le_bytes)?;
                let values = self.values(count, f32::from_le_bytes)?;
                ColumnData::SparseVector(
                    SparseRows::from_parts(indices, values, ends)
                        .ok_or(Damaged("its sparse vectors are none"))?,
                )
            }
        })
    }

    fn column(&mut self, rows: usize) -> Result<Column, Damaged> {
        let field = FieldId(self.i64()?);
        let data_type = self.data_type()?;
        let valid = if self.flag()? {
            Some(Bitset::from_words(self.values(rows.div_ceil(64), u64::from_le_bytes)?, rows))
        } else {
            None
        };
        Ok(Column { field, data: self.data(data_type, rows)?, valid })
    }

    /// Rows as [`put_rows`] wrote them. Rows without a column keep their number.
    ///
    /// # Errors
    /// If the bytes are not that.
    pub fn batch(&mut self) -> Result<Batch, Damaged> {
        let columns = self.u32()? as usize;
        if columns == 0 {
            let rows = u64::from_le_bytes(self.array()?);
            let rows = usize::try_from(rows).map_err(|_| Damaged("a count is too large"))?;
            return Ok(Batch { rows, columns: Vec::new() });
        }
        let rows = self.count()?;
        if columns > self.rest.len() {
            return Err(Damaged("it has a wrong number of columns"));
        }
        let columns = (0..columns).map(|_| self.column(rows)).collect::<Result<_, _>>()?;
        Ok(Batch { rows, columns })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(rows: usize) -> impl Strategy<Value = Texts> {
        prop::collection::vec(".{0,5}", rows..=rows).prop_map(|all| all.iter().map(String::as_str).collect())
    }

    /// `rows` arrays of up to three numbers, texts or vectors.
    fn arrays(rows: usize) -> impl Strategy<Value = ColumnData> {
        let ends = prop::collection::vec(0_u64..4, rows..=rows).prop_map(|lengths| {
            let mut end = 0;
            lengths
                .into_iter()
                .map(|length| {
                    end += length;
                    end
                })
                .collect::<Vec<u64>>()
        });
        (ends, 0..4).prop_flat_map(|(ends, kind)| {
            let count = ends.last().copied().unwrap_or(0) as usize;
            let elements = match kind {
                0 => texts(count).prop_map(ColumnData::VarChar).boxed(),
                1 => prop::collection::vec(any::<i16>(), count..=count).prop_map(ColumnData::Int16).boxed(),
                2 => prop::collection::vec(-1e30_f32..1e30, count * 3..=count * 3)
                    .prop_map(|values| ColumnData::FloatVector { dim: 3, values })
                    .boxed(),
                _ => prop::collection::vec(any::<u8>(), count * 2..=count * 2)
                    .prop_map(|bytes| ColumnData::BinaryVector { dim: 16, bytes })
                    .boxed(),
            };
            elements.prop_map(move |elements| {
                ColumnData::Array(Arrays::from_parts(elements, ends.clone()).expect("whole arrays"))
            })
        })
    }

    /// A column of `rows` rows of any type. Floats are compared as values, so there is no NaN.
    fn data(rows: usize) -> impl Strategy<Value = ColumnData> {
        use prop::collection::vec;
        prop_oneof![
            vec(any::<bool>(), rows..=rows).prop_map(ColumnData::Bool),
            vec(any::<i8>(), rows..=rows).prop_map(ColumnData::Int8),
            vec(any::<i16>(), rows..=rows).prop_map(ColumnData::Int16),
            vec(any::<i32>(), rows..=rows).prop_map(ColumnData::Int32),
            vec(any::<i64>(), rows..=rows).prop_map(ColumnData::Int64),
            vec(-1e30_f32..1e30, rows..=rows).prop_map(ColumnData::Float),
            vec(-1e300_f64..1e300, rows..=rows).prop_map(ColumnData::Double),
            texts(rows).prop_map(ColumnData::VarChar),
            texts(rows).prop_map(ColumnData::Json),
            arrays(rows),
            vec(vec(any::<u8>(), 0..9), rows..=rows)
                .prop_map(|all| ColumnData::Geometry(all.iter().map(Vec::as_slice).collect())),
            (1_usize..9).prop_flat_map(move |dim| vec(-1e30_f32..1e30, rows * dim..=rows * dim)
                .prop_map(move |values| ColumnData::FloatVector { dim, values })),
            (1_usize..9).prop_flat_map(move |width| vec(any::<u8>(), rows * width..=rows * width)
                .prop_map(move |bytes| ColumnData::BinaryVector { dim: width * 8, bytes })),
            vec(prop::collection::btree_map(any::<u32>(), 0_f32..1e30, 0..4), rows..=rows).prop_map(|rows| {
                let mut all = SparseRows::new();
                for row in rows {
                    let (indices, values) = row.into_iter().unzip();
                    all.push(crate::model::SparseVector { indices, values }.as_row());
                }
                ColumnData::SparseVector(all)
            }),
        ]
    }

    fn column(rows: usize) -> impl Strategy<Value = Column> {
        let valid = prop::option::of(
            prop::collection::vec(any::<bool>(), rows..=rows)
                .prop_map(move |valid| Bitset::from_fn(rows, |row| valid[row])),
        );
        (any::<i64>(), data(rows), valid).prop_map(|(field, data, valid)| Column {
            field: FieldId(field),
            data,
            valid,
        })
    }

    fn batch() -> impl Strategy<Value = Batch> {
        (0_usize..70).prop_flat_map(|rows| {
            prop::collection::vec(column(rows), 0..5).prop_map(move |columns| Batch { rows, columns })
        })
    }

    fn keys() -> impl Strategy<Value = Keys> {
        prop_oneof![
            prop::collection::vec(any::<i64>(), 0..40).prop_map(Keys::Int),
            (0_usize..40).prop_flat_map(texts).prop_map(Keys::Text),
        ]
    }

    #[test]
    fn arrays_are_written_like_this() {
        let mut arrays = Arrays::new(ElementType::VarChar);
        arrays.push(&ColumnData::VarChar(["a", "bc"].into_iter().collect())).unwrap();
        arrays.push_none();
        let column = Column { field: FieldId(7), data: ColumnData::Array(arrays), valid: None };
        let rows = Batch { rows: 2, columns: vec![column] };

        let expected = [
            b"\x01\0\0\0\x02\0\0\0\0\0\0\0".as_slice(),
            b"\x07\0\0\0\0\0\0\0\x28\0",
            b"\x02\0\0\0\x02\0\0\0",
            b"\x01\0\0\0\x03\0\0\0abc",
        ];
        assert_eq!(encode_rows(&rows), expected.concat());
        assert_eq!(decode_rows(&expected.concat()), Ok(rows));
    }

    #[test]
    fn type_codes_are_for_ever() {
        let codes = DataType::ALL.map(type_code);

        let (scalars, vectors, newer, arrays) = (1..=9, 10..=15, 16..=18, 33..=45);
        assert_eq!(codes.to_vec(), scalars.chain(vectors).chain(newer).chain(arrays).collect::<Vec<u8>>());
        assert_eq!(codes.map(type_of), DataType::ALL.map(Some));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn rows_that_were_encoded_are_decoded(rows in batch()) {
            prop_assert_eq!(decode_rows(&encode_rows(&rows)), Ok(rows));
        }

        #[test]
        fn keys_that_were_encoded_are_decoded(keys in keys()) {
            prop_assert_eq!(decode_keys(&encode_keys(&keys)), Ok(keys));
        }

        #[test]
        fn damaged_rows_never_panic(
            rows in batch(),
            cut in any::<prop::sample::Index>(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        ) {
            let mut bytes = encode_rows(&rows).to_vec();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if cut.index(3) == 0 {
                bytes.truncate(cut.index(bytes.len()));
            }
            let _ = decode_rows(&bytes);
            let _ = decode_keys(&bytes);
        }
    }
}
