//! Aggregates of a query, from the wire and to it: `count(f)`, `sum(f)`, `avg(f)`, `min(f)`, `max(f)` by groups.

use contract::pb::schema::FieldData;

use super::output::field_data;
use super::query::{COUNT, QueryParams};
use super::times::Times;
use crate::base::FieldId;
use crate::model::{Bitset, Column, ColumnData, DataType, Field, Schema, Value};
use crate::plan::{Aggregate, AggregateOp, Aggregated, Aggregates, GroupField, QueryRows};
use crate::proxy::Error;

/// Most fields that groups are made of.
const MOST_FIELDS: usize = 16;
/// Most aggregates of a query.
const MOST_AGGREGATES: usize = 64;

/// A query of which groups come back instead of rows.
#[derive(Clone, Debug)]
pub struct AggregateQuery {
    /// What nodes are asked.
    pub aggregates: Aggregates,
    /// Groups that are skipped.
    offset: usize,
    /// What is returned, in the order asked for.
    columns: Vec<Shown>,
}

/// A column of the answer.
#[derive(Clone, Debug)]
struct Shown {
    from: Source,
    /// Its name and type.
    field: Field,
}

/// Where a column comes from.
#[derive(Clone, Copy, Debug)]
enum Source {
    /// From a value that groups are made of, by its place in [`Aggregates::by`].
    Group(usize),
    /// From an aggregate, by its place in [`Aggregates::of`].
    Aggregate(usize),
}

impl AggregateQuery {
    /// What a client asks for who names `outputs`; `None` if it is rows, or nothing but their number.
    ///
    /// # Errors
    /// Milvus's words for what is wrong with it.
    pub fn of(schema: &Schema, outputs: &[String], params: &QueryParams) -> Result<Option<Self>, Error> {
        let by = group_fields(schema, &params.group_by)?;
        let mut names: Vec<&str> = Vec::new();
        for name in outputs.iter().map(|name| name.trim()) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        if by.is_empty() && names.iter().all(|name| call(name).is_none()) {
            return Ok(None);
        }
        let groups = order(&by, params)?;
        if by.is_empty() && names == [COUNT] {
            return Ok(None);
        }
        if params.iterator {
            let text = "aggregation with iterator is not supported".to_owned();
            return Err(Error::Aggregation { text });
        }
        if by.is_empty() && params.limit.is_some() && names.contains(&COUNT) {
            return Err(Error::CountPaginated);
        }
        let place =
            |field: &Field| groups.iter().position(|group| group.field == field.id).map(Source::Group);
        let (mut of, mut columns) = (Vec::new(), Vec::new());
        if names.is_empty() {
            let all =
                by.iter().filter_map(|field| Some(Shown { from: place(field)?, field: (*field).clone() }));
            columns.extend(all);
        }
        for name in names {
            let Some((op, argument)) = call(name) else {
                let field = by.iter().find(|field| field.name == name);
                let shown = field.and_then(|field| Some((place(field)?, (*field).clone())));
                let (from, field) = shown.ok_or_else(|| Error::NotGrouped { field: name.to_owned() })?;
                columns.push(Shown { from, field });
                continue;
            };
            if of.len() == MOST_AGGREGATES {
                let text = format!("a query has at most {MOST_AGGREGATES} aggregates");
                return Err(Error::Aggregation { text });
            }
            let (aggregate, data_type) = aggregate(schema, op, argument)?;
            columns
                .push(Shown { from: Source::Aggregate(of.len()), field: computed(schema, name, data_type) });
            of.push(aggregate);
        }
        let limit = params.limit.map(|limit| limit + params.offset);
        let offset = if limit.is_some() { params.offset } else { 0 };
        Ok(Some(Self { aggregates: Aggregates { by: groups, of, limit }, offset, columns }))
    }

    /// What nodes found, as columns of the wire and their names.
    ///
    /// # Errors
    /// [`Error::Answer`] for an answer without groups; Milvus's kind of words for a sum that is too large.
    pub fn shown(&self, found: &QueryRows, times: &Times) -> Result<(Vec<FieldData>, Vec<String>), Error> {
        let finished = self.aggregates.finish(found);
        let finished = finished.map_err(|error| Error::Aggregation { text: error.to_string() })?;
        let found = finished.ok_or_else(|| Error::Answer {
            reason: "a query node is of an earlier version, which knows no aggregates of queries".to_owned(),
        })?;
        let columns = self.columns.iter().map(|shown| shown.column(&found, self.offset, times));
        let names = self.columns.iter().map(|shown| shown.field.name.clone());
        Ok((columns.collect::<Result<_, _>>()?, names.collect()))
    }
}

impl Shown {
    fn column(&self, found: &Aggregated, offset: usize, times: &Times) -> Result<FieldData, Error> {
        let values = match self.from {
            Source::Group(at) => found.by.get(at),
            Source::Aggregate(at) => found.of.get(at),
        };
        // Groups that are none have no columns.
        let values = values.map_or(&[] as &[Value], Vec::as_slice);
        let values = values.get(offset..).unwrap_or_default();
        let mut data = ColumnData::none_of(self.field.data_type);
        for value in values {
            data.push(value).map_err(|error| Error::Answer { reason: error.to_string() })?;
        }
        let has_none = values.contains(&Value::Null);
        let valid = has_none.then(|| Bitset::from_fn(values.len(), |row| values[row] != Value::Null));
        let field = Field { nullable: self.field.nullable || has_none, ..self.field.clone() };
        Ok(field_data(&field, Column { field: field.id, data, valid }, None, times))
    }
}

/// The operator and the argument of an aggregate; `None` for the name of anything else.
fn call(name: &str) -> Option<(AggregateOp, &str)> {
    let (op, rest) = name.split_once('(')?;
    let argument = rest.strip_suffix(')')?.trim();
    let ops = [
        AggregateOp::Count,
        AggregateOp::Sum,
        AggregateOp::Average,
        AggregateOp::Least,
        AggregateOp::Greatest,
    ];
    let op = ops.into_iter().find(|known| op.trim().eq_ignore_ascii_case(word(*known)))?;
    Some((op, argument))
}

const fn word(op: AggregateOp) -> &'static str {
    match op {
        AggregateOp::Count => "count",
        AggregateOp::Sum => "sum",
        AggregateOp::Average => "avg",
        AggregateOp::Least => "min",
        AggregateOp::Greatest => "max",
    }
}

/// An aggregate of the field that `argument` names, and the type of its values.
fn aggregate(schema: &Schema, op: AggregateOp, argument: &str) -> Result<(Aggregate, DataType), Error> {
    if argument == "*" {
        return match op {
            AggregateOp::Count => Ok((Aggregate { op, field: None }, DataType::Int64)),
            _ => Err(Error::AggregateRows { op: word(op) }),
        };
    }
    let field = schema.field(argument).filter(|field| !field.is_dynamic);
    let field = field.ok_or_else(|| Error::OutputField { field: argument.to_owned() })?;
    let data_type = field.data_type;
    let has_order = data_type.is_number() || matches!(data_type, DataType::VarChar | DataType::Timestamptz);
    let of = match op {
        AggregateOp::Count => Some(DataType::Int64),
        AggregateOp::Sum if data_type.is_integer() => Some(DataType::Int64),
        AggregateOp::Sum | AggregateOp::Average if data_type.is_number() => Some(DataType::Double),
        AggregateOp::Least | AggregateOp::Greatest if has_order => Some(data_type),
        AggregateOp::Sum | AggregateOp::Average | AggregateOp::Least | AggregateOp::Greatest => None,
    };
    let of = of.ok_or_else(|| Error::AggregateType { op: word(op), data_type: data_type.name() })?;
    Ok((Aggregate { op, field: Some(field.id) }, of))
}

/// A column that is no field of the schema.
fn computed(schema: &Schema, name: &str, data_type: DataType) -> Field {
    Field {
        id: FieldId(0),
        name: name.to_owned(),
        data_type,
        is_primary: false,
        type_params: Vec::new(),
        ..schema.primary().clone()
    }
}

/// The fields whose values make groups, each once.
fn group_fields<'a>(schema: &'a Schema, text: &str) -> Result<Vec<&'a Field>, Error> {
    let mut by: Vec<&Field> = Vec::new();
    for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let field = schema.field(name).ok_or_else(|| Error::OutputField { field: name.to_owned() })?;
        let data_type = field.data_type;
        let makes_groups = data_type.is_integer()
            || matches!(data_type, DataType::Bool | DataType::VarChar | DataType::Timestamptz);
        if !makes_groups {
            return Err(Error::GroupByType { field: name.to_owned(), data_type: data_type.name() });
        }
        if by.iter().any(|known| known.id == field.id) {
            continue;
        }
        if by.len() == MOST_FIELDS {
            return Err(Error::Aggregation {
                text: format!("a query has at most {MOST_FIELDS} GROUP BY columns"),
            });
        }
        by.push(field);
    }
    Ok(by)
}

/// The fields of groups in the order of their weight: those that the client names, and then the others.
fn order(by: &[&Field], params: &QueryParams) -> Result<Vec<GroupField>, Error> {
    let mut groups: Vec<GroupField> = Vec::new();
    for (name, descending) in super::grouping::named_order(&params.order_by)? {
        let field = by.iter().find(|field| field.name == name).ok_or(Error::OrderNotGrouped)?;
        if groups.iter().all(|known| known.field != field.id) {
            groups.push(GroupField { field: field.id, descending });
        }
    }
    for field in by {
        if groups.iter().all(|known| known.field != field.id) {
            groups.push(GroupField { field: field.id, descending: false });
        }
    }
    Ok(groups)
}
