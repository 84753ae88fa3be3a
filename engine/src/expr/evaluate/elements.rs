//! What filters say of the elements of arrays of structs: each element is looked at as if it were a row.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

use super::{Evaluation, Wanted};
use crate::base::FieldId;
use crate::expr::predicate::{ColumnName, Predicate, Share};
use crate::expr::{Error, Rows};
use crate::model::{Arrays, Bitset, Column, ColumnData};

/// The elements of some rows, one after the other.
struct Flat {
    elements: usize,
    columns: Vec<Column>,
}

impl Rows for Flat {
    fn len(&self) -> usize {
        self.elements
    }

    fn column(&self, field: FieldId) -> Option<&Column> {
        self.columns.iter().find(|column| column.field == field)
    }
}

/// Which elements of some rows a statement is true of.
pub(super) struct Passed<'a> {
    pub(super) passed: Bitset,
    /// The arrays of those rows: all, or the wanted ones.
    arrays: Cow<'a, Arrays>,
    /// The rows, if they are not all.
    rows: Option<Vec<usize>>,
}

impl Passed<'_> {
    /// Where the elements of a row are, which is one of those that were asked for; nothing for others.
    pub(super) fn range(&self, row: usize) -> Range<usize> {
        match &self.rows {
            None => self.arrays.range(row),
            Some(rows) => rows.binary_search(&row).map_or(0..0, |at| self.arrays.range(at)),
        }
    }
}

impl<'r> Evaluation<'r> {
    /// A column of arrays.
    pub(super) fn arrays(&self, name: &ColumnName) -> Result<(&'r Column, &'r Arrays), Error> {
        let column = self.column(name)?;
        match &column.data {
            ColumnData::Array(arrays) => Ok((column, arrays)),
            _ => Err(Error::Column { field: name.id }),
        }
    }

    /// Of which elements of the wanted rows `inner` is true. `of` are the arrays of a part of the struct; those of the others
    /// have the same lengths.
    pub(super) fn elements(
        &self,
        inner: &Predicate,
        of: &'r Arrays,
        wanted: Wanted<'_>,
    ) -> Result<Passed<'r>, Error> {
        let rows: Option<Vec<usize>> = wanted.map(|wanted| wanted.iter().collect());
        let arrays = match &rows {
            None => Cow::Borrowed(of),
            Some(rows) => Cow::Owned(of.take(rows)),
        };
        let mut fields = BTreeSet::new();
        inner.collect_fields(&mut fields);
        let column = |field: FieldId| {
            let missing = Error::Column { field };
            let column = self.rows.column(field).ok_or_else(|| missing.clone())?;
            let ColumnData::Array(all) = &column.data else { return Err(missing) };
            if all.ends() != of.ends() {
                return Err(missing);
            }
            let data = match &rows {
                None => all.elements().clone(),
                Some(rows) => all.take(rows).elements().clone(),
            };
            Ok(Column { field, data, valid: None })
        };
        let columns = fields.into_iter().map(column).collect::<Result<_, _>>()?;
        let flat = Flat { elements: arrays.elements().len(), columns };
        let passed = Evaluation { rows: &flat }.truth(inner, None)?.yes;
        Ok(Passed { passed, arrays, rows })
    }
}

/// The elements of the arrays of `part`'s struct that `predicate` lets through, where it chooses elements: those of which its
/// `element_filter` is true, in rows of which the rest is; `None` if it chooses rows alone.
pub(in crate::expr) fn chosen(predicate: &Predicate, rows: &dyn Rows) -> Result<Option<Bitset>, Error> {
    let evaluation = Evaluation { rows };
    let Some((part, of)) = part_of(predicate) else { return Ok(None) };
    let (column, arrays) = evaluation.arrays(part)?;
    let mut chosen = Bitset::none(arrays.elements().len());
    evaluation.choose_elements(predicate, of, (column, arrays), &mut chosen)?;
    Ok(Some(chosen))
}

/// The part and the struct of the `element_filter` in `predicate`.
fn part_of(predicate: &Predicate) -> Option<(&ColumnName, &str)> {
    match predicate {
        Predicate::Elements { share: Share::Filter, part, of, .. } => Some((part, of)),
        Predicate::All(parts) | Predicate::Any(parts) => parts.iter().find_map(part_of),
        _ => None,
    }
}

impl<'r> Evaluation<'r> {
    fn choose_elements(
        &self,
        predicate: &Predicate,
        of: &str,
        (column, arrays): (&'r Column, &'r Arrays),
        chosen: &mut Bitset,
    ) -> Result<(), Error> {
        match predicate {
            Predicate::Elements { share: Share::Filter, of: this, inner, .. } if &**this == of => {
                let found = self.elements(inner, arrays, None)?;
                chosen.unite(&found.passed);
            }
            Predicate::All(parts) => {
                let mut all = Bitset::all(arrays.elements().len());
                for part in parts {
                    let mut one = Bitset::none(arrays.elements().len());
                    self.choose_elements(part, of, (column, arrays), &mut one)?;
                    all.intersect(&one);
                }
                chosen.unite(&all);
            }
            Predicate::Any(parts) => {
                for part in parts {
                    self.choose_elements(part, of, (column, arrays), chosen)?;
                }
            }
            row => {
                let truth = self.truth(row, None)?;
                truth.yes.iter().for_each(|row| chosen.insert_range(arrays.range(row)));
            }
        }
        Ok(())
    }
}
