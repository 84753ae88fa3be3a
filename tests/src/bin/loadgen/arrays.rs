//! Reads the little of NumPy's file format that the data sets use: version 1 headers, C order, one or two dimensions.

use anyhow::{Context, Result, bail, ensure};

/// A two-dimensional array, row after row.
pub struct Matrix<T> {
    /// All values, `columns` per row.
    pub values: Vec<T>,
    /// Length of a row.
    pub columns: usize,
}

impl<T> Matrix<T> {
    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.values.len().checked_div(self.columns).unwrap_or(0)
    }

    /// Row `index`; panics beyond the end, as slices do.
    pub fn row(&self, index: usize) -> &[T] {
        &self.values[index * self.columns..(index + 1) * self.columns]
    }
}

/// Reads 32-bit floats (`<f4`).
pub fn floats(path: &str) -> Result<Matrix<f32>> {
    read(path, "<f4", f32::from_le_bytes)
}

/// Reads 32-bit integers (`<i4`).
pub fn integers(path: &str) -> Result<Matrix<i32>> {
    read(path, "<i4", i32::from_le_bytes)
}

/// Reads 64-bit integers (`<i8`).
pub fn longs(path: &str) -> Result<Matrix<i64>> {
    read(path, "<i8", i64::from_le_bytes)
}

fn read<T, const WIDTH: usize>(path: &str, kind: &str, value: fn([u8; WIDTH]) -> T) -> Result<Matrix<T>> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {path}"))?;
    let (header, body) = split(&bytes).with_context(|| format!("{path} is not a NumPy file of version 1"))?;
    ensure!(
        header.contains(&format!("'descr': '{kind}'")),
        "{path}: expected {kind}, the header is {header}"
    );
    ensure!(header.contains("'fortran_order': False"), "{path}: expected C order");
    let columns = columns(header).with_context(|| format!("{path}: cannot read the shape of {header}"))?;
    let (chunks, rest) = body.as_chunks::<WIDTH>();
    if !rest.is_empty() || columns == 0 || chunks.len() % columns != 0 {
        bail!("{path}: the file is cut off");
    }
    Ok(Matrix { values: chunks.iter().copied().map(value).collect(), columns })
}

fn split(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let rest = bytes.strip_prefix(b"\x93NUMPY\x01\x00")?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let (header, body) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    Some((std::str::from_utf8(header).ok()?, body))
}

/// The second number of the shape, or 1 for one dimension.
fn columns(header: &str) -> Option<usize> {
    let shape = header.split_once("'shape': (")?.1.split_once(')')?.0;
    let numbers: Vec<usize> = shape.split(',').filter_map(|number| number.trim().parse().ok()).collect();
    match numbers[..] {
        [_] => Some(1),
        [_, columns] => Some(columns),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{columns, split};

    #[test]
    fn the_shape_gives_the_columns() {
        assert_eq!(columns("{'descr': '<f4', 'fortran_order': False, 'shape': (7, 384), }"), Some(384));
        assert_eq!(columns("{'descr': '<f4', 'fortran_order': False, 'shape': (7,), }"), Some(1));
    }

    #[test]
    fn the_header_ends_where_its_length_says() {
        assert_eq!(split(b"\x93NUMPY\x01\x00\x02\x00{}data"), Some(("{}", &b"data"[..])));
        assert_eq!(split(b"\x93NUMPY\x01\x00\x09\x00{}"), None);
    }
}
