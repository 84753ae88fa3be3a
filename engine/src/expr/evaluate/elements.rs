//! What filters say of the elements of arrays of structs: each element is looked at as if it were a row.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::{Evaluation, Wanted};
use crate::base::FieldId;
use crate::expr::predicate::{ColumnName, Predicate, Share};
use crate::expr::{Error, Rows, Values};
use crate::model::{Arrays, Bitset, Column, ColumnData};

/// One element in so many is few: these are copied, and the others are not passed over one by one.
const COPIED_SHARE: usize = 8;

/// The elements of some rows, one after the other.
struct Flat<'a> {
    elements: usize,
    columns: Vec<(FieldId, Cow<'a, ColumnData>)>,
}

impl Rows for Flat<'_> {
    fn len(&self) -> usize {
        self.elements
    }

    /// None: elements lie inside the columns of their rows.
    fn column(&self, _: FieldId) -> Option<&Column> {
        None
    }

    fn values(&self, field: FieldId) -> Option<Values<'_>> {
        let (_, data) = self.columns.iter().find(|(known, _)| *known == field)?;
        Some(Values { data: data.as_ref(), valid: None })
    }
}

/// Which elements are those of `rows`.
fn elements_of(arrays: &Arrays, rows: &Bitset) -> Bitset {
    let mut elements = Bitset::none(arrays.elements().len());
    rows.iter().for_each(|row| elements.insert_range(arrays.range(row)));
    elements
}

impl<'r> Evaluation<'r> {
    /// A column of arrays.
    pub(super) fn arrays(&self, name: &ColumnName) -> Result<(Values<'r>, &'r Arrays), Error> {
        let column = self.column(name)?;
        match column.data {
            ColumnData::Array(arrays) => Ok((column, arrays)),
            _ => Err(Error::Column { field: name.id }),
        }
    }

    /// Of which elements of the wanted rows `inner` is true, counted over all rows. `of` are the arrays of a part of the struct;
    /// those of the others have the same lengths.
    pub(super) fn elements(
        &self,
        inner: &Predicate,
        of: &Arrays,
        wanted: Wanted<'_>,
    ) -> Result<Bitset, Error> {
        let length = of.elements().len();
        let asked = wanted.map(|rows| elements_of(of, rows));
        let few = asked.as_ref().filter(|asked| asked.count() * COPIED_SHARE <= length);
        let places: Option<Vec<usize>> = few.map(|few| few.iter().collect());
        let mut fields = BTreeSet::new();
        inner.collect_fields(&mut fields);
        let column = |field: FieldId| {
            let missing = Error::Column { field };
            let values = self.rows.values(field).ok_or_else(|| missing.clone())?;
            let ColumnData::Array(all) = values.data else { return Err(missing) };
            if all.ends() != of.ends() {
                return Err(missing);
            }
            let data = match &places {
                None => Cow::Borrowed(all.elements()),
                Some(places) => Cow::Owned(all.elements().take(places)),
            };
            Ok((field, data))
        };
        let columns: Vec<_> = fields.into_iter().map(column).collect::<Result<_, Error>>()?;
        let Some(places) = &places else {
            let flat = Flat { elements: length, columns };
            let mut passed = Evaluation { rows: &flat }.truth(inner, asked.as_ref())?.yes;
            if let Some(asked) = &asked {
                passed.intersect(asked);
            }
            return Ok(passed);
        };
        let flat = Flat { elements: places.len(), columns };
        let found = Evaluation { rows: &flat }.truth(inner, None)?.yes;
        let mut passed = Bitset::none(length);
        found.iter().for_each(|at| passed.insert(places[at]));
        Ok(passed)
    }
}

/// The elements of the arrays of `part`'s struct that `predicate` lets through, where it chooses elements: those of which its
/// `element_filter` is true, in wanted rows of which the rest is; `None` if it chooses rows alone.
pub(in crate::expr) fn chosen(
    predicate: &Predicate,
    rows: &dyn Rows,
    wanted: Option<&Bitset>,
) -> Result<Option<Bitset>, Error> {
    let evaluation = Evaluation { rows };
    let Some((part, of)) = part_of(predicate) else { return Ok(None) };
    let (_, arrays) = evaluation.arrays(part)?;
    evaluation.choose_elements(predicate, (of, arrays), wanted).map(Some)
}

/// The part and the struct of the `element_filter` in `predicate`.
fn part_of(predicate: &Predicate) -> Option<(&ColumnName, &str)> {
    match predicate {
        Predicate::Elements { share: Share::Filter, part, of, .. } => Some((part, of)),
        Predicate::All(parts) | Predicate::Any(parts) => parts.iter().find_map(part_of),
        _ => None,
    }
}

impl Evaluation<'_> {
    /// The elements of wanted rows that `predicate` lets through; what says nothing of elements lets through whole rows.
    fn choose_elements(
        &self,
        predicate: &Predicate,
        (of, arrays): (&str, &Arrays),
        wanted: Wanted<'_>,
    ) -> Result<Bitset, Error> {
        match predicate {
            Predicate::Elements { share: Share::Filter, of: this, inner, .. } if &**this == of => {
                self.elements(inner, arrays, wanted)
            }
            Predicate::All(parts) => {
                let every = || Bitset::all(arrays.elements().len());
                let mut all = wanted.map_or_else(every, |rows| elements_of(arrays, rows));
                for part in parts {
                    all.intersect(&self.choose_elements(part, (of, arrays), wanted)?);
                }
                Ok(all)
            }
            Predicate::Any(parts) => {
                let mut any = Bitset::none(arrays.elements().len());
                for part in parts {
                    any.unite(&self.choose_elements(part, (of, arrays), wanted)?);
                }
                Ok(any)
            }
            row => {
                let mut yes = self.truth(row, wanted)?.yes;
                if let Some(wanted) = wanted {
                    yes.intersect(wanted);
                }
                Ok(elements_of(arrays, &yes))
            }
        }
    }
}
