//! Aggregates of the rows that a plan may answer with.

use super::allow::{Allowed, Rule};
use super::{Error, Readable};
use crate::base::FieldId;
use crate::model::{Bitset, Column, DataType, Schema};
use crate::plan::{self, Groups, Operand, QueryPlan};
use crate::segment::Part;

/// Adds the rows of `on` that `plan` may answer with, duplicates of a key included, to `groups`, which are of its aggregates. So
/// several shards are read into the same groups, and what they take together has one bound.
///
/// # Errors
/// [`Error::Filter`] or [`Error::NoField`] for a plan that does not fit the schema; [`Error::Aggregates`].
pub fn aggregate(
    plan: &QueryPlan,
    schema: &Schema,
    on: &Readable,
    groups: &mut Groups<'_>,
) -> Result<(), Error> {
    let failed = |source| Error::Aggregates { source };
    let times = (plan.expired_before, plan.read_at);
    let rule = Rule::new(schema, plan.partitions.as_deref(), times, plan.filter.as_ref());
    let aggregates = groups.aggregates();
    for part in &on.parts(plan.ignore_growing) {
        let Some(allowed) = rule.allow(part)? else { continue };
        let by = aggregates.by.iter().map(|group| {
            let values = Values::of(part, schema, group.field)?;
            match &values {
                Values::Valid(_) => Err(failed(plan::Error::Type { data_type: DataType::FloatVector })),
                Values::Rows | Values::Column(_) | Values::Absent(_) => Ok(values),
            }
        });
        let by: Vec<Values<'_>> = by.collect::<Result<_, _>>()?;
        let of = aggregates.of.iter().map(|aggregate| match aggregate.field {
            Some(field) => Values::of(part, schema, field),
            None => Ok(Values::Rows),
        });
        let of: Vec<Values<'_>> = of.collect::<Result<_, _>>()?;
        let by: Vec<Operand<'_>> = by.iter().map(Values::operand).collect();
        let of: Vec<Operand<'_>> = of.iter().map(Values::operand).collect();
        let added = match &allowed {
            Allowed::All => groups.add(0..part.rows(), &by, &of),
            Allowed::Some(rows) => groups.add(rows.iter(), &by, &of),
            Allowed::Few(rows) => groups.add(rows.iter().copied(), &by, &of),
        };
        added.map_err(failed)?;
    }
    Ok(())
}

/// The values of one field in a part.
enum Values<'a> {
    /// The rows themselves.
    Rows,
    Column(&'a Column),
    /// The part was written before the field was added: a column of one row, which stands for all.
    Absent(Column),
    /// Of vectors only which rows have one.
    Valid(Option<Bitset>),
}

impl<'a> Values<'a> {
    fn of(part: &'a Part, schema: &Schema, id: FieldId) -> Result<Self, Error> {
        let field = schema.field_by_id(id).ok_or(Error::NoField { field: id })?;
        if field.data_type.is_vector() {
            let valid = match part.vectors(id) {
                Some(vectors) => vectors.valid.clone(),
                None => Some(Bitset::none(part.rows())),
            };
            return Ok(Self::Valid(valid));
        }
        Ok(match part.column(id) {
            Some(column) => Self::Column(column),
            None => Self::Absent(Column::absent(field, 1)),
        })
    }

    const fn operand(&self) -> Operand<'_> {
        match self {
            Self::Rows => Operand::Rows,
            Self::Column(column) => Operand::Column(column),
            Self::Absent(column) => Operand::Same(column),
            Self::Valid(valid) => Operand::Valid(valid.as_ref()),
        }
    }
}
