//! Arrays of scalars or of vectors, one a row.

use std::ops::Range;

use super::column::{ColumnData, TypeMismatch};
use super::ends::{range_of, to_index};
use super::{DataType, ElementType, Value, VectorElement};

/// Arrays of one element type one after the other, with where each ends.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrays {
    /// `Array`, or `ArrayOfVector` as it is held.
    data_type: DataType,
    elements: Box<ColumnData>,
    /// End of each array in `elements`.
    ends: Vec<u64>,
}

impl Arrays {
    /// No array.
    #[must_use]
    pub fn new(element: ElementType) -> Self {
        let elements = Box::new(ColumnData::none_of(element.scalar()));
        Self { data_type: DataType::Array(element), elements, ends: Vec::new() }
    }

    /// No array, of vectors of `dim` components each.
    #[must_use]
    pub fn of_vectors(element: VectorElement, dim: usize) -> Self {
        let elements = match element {
            VectorElement::Binary => ColumnData::BinaryVector { dim: dim.max(8), bytes: Vec::new() },
            _ => ColumnData::FloatVector { dim: dim.max(1), values: Vec::new() },
        };
        let data_type = DataType::ArrayOfVector(element).held_as();
        Self { data_type, elements: Box::new(elements), ends: Vec::new() }
    }

    /// The type of the arrays, as they are held.
    #[must_use]
    pub const fn data_type(&self) -> DataType {
        self.data_type
    }

    /// Where each array ends in [`Self::elements`].
    #[must_use]
    pub fn ends(&self) -> &[u64] {
        &self.ends
    }

    /// How many arrays there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Which of [`Self::elements`] are those of row `row`; none past the end.
    #[must_use]
    pub fn range(&self, row: usize) -> Range<usize> {
        range_of(&self.ends, row)
    }

    /// The elements of all arrays.
    #[must_use]
    pub fn elements(&self) -> &ColumnData {
        &self.elements
    }

    /// The elements of all arrays, and where each array ends in them: what a codec stores.
    #[must_use]
    pub fn parts(&self) -> (&ColumnData, &[u64]) {
        (&self.elements, &self.ends)
    }

    /// The arrays that [`Self::parts`] was taken from; `None` unless the elements are of a type that arrays have
    /// and the ends ascend to their end.
    #[must_use]
    pub fn from_parts(elements: ColumnData, ends: Vec<u64>) -> Option<Self> {
        let scalars = || ElementType::of(elements.data_type()).map(DataType::Array);
        let vectors = || VectorElement::of(elements.data_type()).map(DataType::ArrayOfVector);
        let data_type = scalars().or_else(vectors)?;
        let is_whole = to_index(ends.last().copied().unwrap_or(0)) == elements.len();
        (is_whole && ends.is_sorted()).then(|| Self { data_type, elements: Box::new(elements), ends })
    }

    /// Adds an array of `elements` at the end.
    ///
    /// # Errors
    /// [`TypeMismatch`] if they are of another type; nothing is added then.
    pub fn push(&mut self, elements: &ColumnData) -> Result<(), TypeMismatch> {
        self.elements.extend(elements)?;
        self.close();
        Ok(())
    }

    /// Adds an array of some of `elements`, which exist, at the end.
    ///
    /// # Errors
    /// [`TypeMismatch`] if they are of another type; nothing is added then.
    pub fn push_range(&mut self, elements: &ColumnData, range: Range<usize>) -> Result<(), TypeMismatch> {
        self.elements.extend_range(elements, range)?;
        self.close();
        Ok(())
    }

    /// Adds array `row` of `other` at the end.
    ///
    /// # Errors
    /// [`TypeMismatch`] if its elements are of another type; nothing is added then.
    pub fn push_from(&mut self, other: &Self, row: usize) -> Result<(), TypeMismatch> {
        self.push_range(&other.elements, other.range(row))
    }

    /// Adds an array of `values` at the end.
    ///
    /// # Errors
    /// [`TypeMismatch`] if one of them is of another type; nothing is added then.
    pub fn push_values(&mut self, values: &[Value]) -> Result<(), TypeMismatch> {
        let mut elements = self.elements.take(&[]);
        for value in values {
            if matches!(value, Value::Null) {
                return Err(TypeMismatch { expected: self.data_type.element(), found: DataType::Json });
            }
            elements.push(value)?;
        }
        self.push(&elements)
    }

    /// Adds an array without elements at the end.
    pub fn push_none(&mut self) {
        self.close();
    }

    fn close(&mut self) {
        self.ends.push(self.elements.len() as u64);
    }

    /// Adds the arrays of `other` at the end.
    ///
    /// # Errors
    /// [`TypeMismatch`] if their elements are of another type; nothing is added then.
    pub fn extend(&mut self, other: &Self) -> Result<(), TypeMismatch> {
        let before = self.elements.len() as u64;
        self.elements.extend(&other.elements)?;
        self.ends.extend(other.ends.iter().map(|end| before + end));
        Ok(())
    }

    /// The chosen arrays, in the order given. Every one must exist.
    #[must_use]
    pub fn take(&self, rows: &[usize]) -> Self {
        let mut start = 0_u64;
        let ends = rows.iter().map(|&row| {
            start += self.range(row).len() as u64;
            start
        });
        let ends = ends.collect();
        let elements: Vec<usize> = rows.iter().flat_map(|&row| self.range(row)).collect();
        Self { data_type: self.data_type, elements: Box::new(self.elements.take(&elements)), ends }
    }

    /// The elements of array `row`, which must exist.
    #[must_use]
    pub fn values(&self, row: usize) -> Vec<Value> {
        self.range(row).map(|at| self.elements.value(at)).collect()
    }

    /// Bytes of memory that the arrays take.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.elements.memory_bytes() + self.ends.capacity() * 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Texts;

    fn texts(arrays: &[&[&str]]) -> Arrays {
        let mut all = Arrays::new(ElementType::VarChar);
        for array in arrays {
            all.push(&ColumnData::VarChar(array.iter().copied().collect())).unwrap();
        }
        all
    }

    #[test]
    fn arrays_are_taken_joined_and_read_back() {
        let mut all = texts(&[&["a", "bc"], &[], &["文"]]);
        all.extend(&texts(&[&["d"], &["e", "f", "g"]])).unwrap();
        all.push_from(&texts(&[&["x"], &["y", "z"]]), 1).unwrap();

        assert_eq!(all, texts(&[&["a", "bc"], &[], &["文"], &["d"], &["e", "f", "g"], &["y", "z"]]));
        assert_eq!(all.take(&[5, 1, 0, 0]), texts(&[&["y", "z"], &[], &["a", "bc"], &["a", "bc"]]));
        let text = |text: &str| Value::Text(text.to_owned());
        assert_eq!(all.values(4), [text("e"), text("f"), text("g")]);
        assert_eq!(all.values(1), []);
    }

    #[test]
    fn arrays_of_vectors_have_one_dimension() {
        let two = |values: &[f32]| ColumnData::FloatVector { dim: 2, values: values.to_vec() };
        let mut all = Arrays::of_vectors(VectorElement::Float16, 2);
        all.push(&two(&[1.0, 2.0, 3.0, 4.0])).unwrap();
        all.push_none();
        all.push_values(&[Value::Vector(vec![5.0, 6.0])]).unwrap();

        assert!(all.push(&ColumnData::FloatVector { dim: 3, values: vec![0.0; 3] }).is_err());
        assert!(all.push_values(&[Value::Vector(vec![5.0])]).is_err());
        assert_eq!(all.data_type(), DataType::ArrayOfVector(VectorElement::Float));
        let (elements, ends) = all.parts();
        assert_eq!((elements, ends), (&two(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), &[2, 2, 3][..]));
        assert_eq!(Arrays::from_parts(elements.clone(), ends.to_vec()), Some(all.clone()));
        let taken = all.take(&[2, 0]);
        assert_eq!(taken.values(0), [Value::Vector(vec![5.0, 6.0])]);
        assert_eq!(taken.values(1), [Value::Vector(vec![1.0, 2.0]), Value::Vector(vec![3.0, 4.0])]);
    }

    #[test]
    fn an_array_of_another_type_is_refused_and_changes_nothing() {
        let mut all = texts(&[&["a"]]);
        let before = all.clone();

        assert!(all.push(&ColumnData::Int64(vec![1])).is_err());
        assert!(all.extend(&Arrays::new(ElementType::Int8)).is_err());
        assert!(all.push_values(&[Value::Text("b".to_owned()), Value::Int(1)]).is_err());
        assert!(all.push_values(&[Value::Null]).is_err());
        assert_eq!(all, before);
    }

    #[test]
    fn only_whole_arrays_are_made_of_parts() {
        let elements = || ColumnData::VarChar(["a", "b"].into_iter().collect::<Texts>());

        assert_eq!(Arrays::from_parts(elements(), vec![0, 2]), Some(texts(&[&[], &["a", "b"]])));
        assert_eq!(Arrays::from_parts(elements(), vec![1]), None);
        assert_eq!(Arrays::from_parts(elements(), vec![2, 1]), None);
        assert_eq!(Arrays::from_parts(elements(), vec![3]), None);
        assert_eq!(Arrays::from_parts(ColumnData::Json(Texts::new()), Vec::new()), None);
    }
}
