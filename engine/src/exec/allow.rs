//! Which rows of a part a plan may answer with: partition, time, age, deletes and filter together.

use std::sync::Arc;

use tracing::debug;

use super::Error;
use crate::base::{FieldId, PartitionId, Timestamp};
use crate::expr::{ColumnIndex, Filter, Rows};
use crate::model::{Bitset, Column, Keys, Schema};
use crate::segment::{Part, Visible, key_at};

/// What a plan says of rows, prepared once for all parts.
pub(super) struct Rule<'a> {
    schema: &'a Schema,
    partitions: Option<&'a [PartitionId]>,
    expired_before: Timestamp,
    read_at: Timestamp,
    filter: Option<&'a Filter>,
    /// Set if the filter is a list of keys.
    keys: Option<Keys>,
    fields: Vec<FieldId>,
    /// A field of the filter that the schema lacks.
    lacking: Option<FieldId>,
}

/// Rows that may be in the answer.
pub(super) enum Allowed {
    /// All of the part.
    All,
    /// These.
    Some(Arc<Bitset>),
    /// These few, ascending, each once.
    Few(Vec<usize>),
}

impl<'a> Rule<'a> {
    pub(super) fn new(
        schema: &'a Schema,
        partitions: Option<&'a [PartitionId]>,
        (expired_before, read_at): (Timestamp, Timestamp),
        filter: Option<&'a Filter>,
    ) -> Self {
        let filter = filter.filter(|filter| !filter.is_always_true());
        let keys = filter.and_then(|filter| filter.keys(schema));
        let fields = filter.map(Filter::fields).unwrap_or_default();
        let lacking = fields.iter().copied().find(|field| schema.field_by_id(*field).is_none());
        Self { schema, partitions, expired_before, read_at, filter, keys, fields, lacking }
    }

    /// The rows of `part` that may be in the answer; `None` if there are none.
    ///
    /// # Errors
    /// [`Error::NoField`] if the schema lacks a field of the filter, whatever the part has; [`Error::Filter`].
    pub(super) fn allow(&self, part: &Part) -> Result<Option<Allowed>, Error> {
        // Also where the part has its values still: nobody is told by what was dropped.
        if let Some(field) = self.lacking {
            return Err(Error::NoField { field });
        }
        let visible = part.visible(self.partitions, self.expired_before, self.read_at);
        if matches!(visible, Visible::None) {
            return Ok(None);
        }
        if let Some(keys) = &self.keys {
            return Ok(few(part, &visible, keys));
        }
        let Some(filter) = self.filter else {
            return Ok(match visible {
                Visible::All => Some(Allowed::All),
                Visible::Some(rows) => Some(Allowed::Some(rows)),
                Visible::None => None,
            });
        };
        if !part.may_match(filter) {
            return Ok(None);
        }
        let rows = FilledRows::new(part, self.schema, &self.fields);
        if tracing::enabled!(tracing::Level::DEBUG) {
            debug!(rows = part.rows(), %filter, plan = filter.explain(&rows), "a filter is evaluated");
        }
        let few = filter.evaluate_few(&rows).map_err(|source| Error::Filter { source })?;
        if let Some(mut few) = few {
            few.retain(|row| visible.contains(*row));
            return Ok((!few.is_empty()).then_some(Allowed::Few(few)));
        }
        let mut chosen = filter.evaluate(&rows).map_err(|source| Error::Filter { source })?;
        if let Visible::Some(visible) = &visible {
            chosen.intersect(visible);
        }
        if chosen.words().iter().all(|word| *word == 0) {
            return Ok(None);
        }
        Ok(Some(Allowed::Some(Arc::new(chosen))))
    }

    /// About how many rows [`Self::allow`] looks at.
    pub(super) fn weight(&self, part: &Part) -> usize {
        match (self.filter, &self.keys) {
            // Sets of rows are counted 64 rows at a time, but of rows that are newer than the read, or too old for it, each is
            // looked at.
            (None, _) if part.is_within(self.expired_before, self.read_at) => part.rows() / 64,
            (None, _) => part.rows(),
            // Each is looked for by halves.
            (Some(_), Some(keys)) => keys.len().saturating_mul(16),
            // Columns that the part was written without are made whole.
            (Some(_), None) if self.fields.iter().any(|field| part.column(*field).is_none()) => part.rows(),
            (Some(filter), None) if part.may_match(filter) => {
                let rows = FilledRows::new(part, self.schema, &self.fields);
                filter.few_rows(&rows).unwrap_or(part.rows())
            }
            (Some(_), None) => 0,
        }
    }
}

fn few(part: &Part, visible: &Visible, keys: &Keys) -> Option<Allowed> {
    let mut rows = Vec::new();
    for at in 0..keys.len() {
        part.each_row_of(key_at(keys, at), |row| {
            if visible.contains(row) {
                rows.push(row);
            }
        });
    }
    rows.sort_unstable();
    rows.dedup();
    (!rows.is_empty()).then_some(Allowed::Few(rows))
}

/// A part with columns in place of those that it was written without.
pub(super) struct FilledRows<'a> {
    part: &'a Part,
    absent: Vec<Column>,
    indexes: Arc<[Arc<ColumnIndex>]>,
}

impl<'a> FilledRows<'a> {
    pub(super) fn new(part: &'a Part, schema: &Schema, fields: &[FieldId]) -> Self {
        let missing = fields.iter().filter(|field| part.column(**field).is_none());
        let absent = missing.filter_map(|&id| {
            let field = schema.field_by_id(id)?;
            if !field.data_type.is_vector() {
                return Some(Column::absent(field, part.rows()));
            }
            // Filters ask of vectors only whether there is one.
            let valid = part
                .vectors(id)
                .map_or_else(|| Some(Bitset::none(part.rows())), |vectors| vectors.valid.clone());
            Some(Column { field: id, data: crate::model::ColumnData::empty(field), valid })
        });
        Self { part, absent: absent.collect(), indexes: part.column_indexes() }
    }
}

impl Rows for FilledRows<'_> {
    fn len(&self) -> usize {
        self.part.rows()
    }

    fn column(&self, field: FieldId) -> Option<&Column> {
        self.part.column(field).or_else(|| self.absent.iter().find(|column| column.field == field))
    }

    fn indexes(&self) -> &[Arc<ColumnIndex>] {
        &self.indexes
    }
}
