//! Search aggregations: the hits of a search put into buckets by the values of fields, buckets into buckets.
//!
//! The nearest hits of a search are looked at, as many as a search may find. Of them, the best of each combination of values
//! make the pool that buckets count and measure, as in Milvus.

use std::cmp::Ordering;
use std::collections::HashMap;

use contract::pb::common::{MetricAggSpec, OrderSpec, SearchAggregationSpec, SortSpec};
use contract::pb::schema::{
    AggBucket, AggHit, AggHitField, BucketKeyEntry, MetricValue, SearchResultData, agg_hit, agg_hit_field,
    bucket_key_entry, metric_value,
};

use super::grouping::check_group_type;
use super::output::Output;
use crate::base::FieldId;
use crate::calendar;
use crate::model::{DataType, Field, Key, Schema, Value};
use crate::plan::{Group, Order, SearchHits, Sorting, best_of_groups};
use crate::proxy::Error;
use crate::shape;

/// Most buckets within buckets.
const MAX_LEVELS: usize = 4;
/// Most hits that all buckets of all queries may hold.
const MAX_ENTRIES: i64 = 10_000;

/// Most queries of one request: of each, all hits that there may be are looked at.
const MOST_QUERIES: usize = 256;
/// Most fields of a level.
const MOST_FIELDS: usize = 16;
/// Most metrics of a level.
const MOST_METRICS: usize = 32;
/// Most things that buckets of a level, or hits of a bucket, are ordered by.
const MOST_SORTS: usize = 8;

/// What an aggregation asks for, checked.
#[derive(Clone, Debug)]
pub struct Aggregation {
    /// The outermost buckets first; at least one level.
    levels: Vec<Level>,
    /// Most combinations of values in the pool of a query.
    combinations: usize,
    /// Most hits of a combination in the pool.
    hits: usize,
}

#[derive(Clone, Debug)]
struct Level {
    fields: Vec<Field>,
    size: usize,
    metrics: Vec<(String, Measure)>,
    order: Vec<(By, bool)>,
    top_hits: Option<(usize, Vec<Sort>)>,
}

/// What is measured of a bucket.
#[derive(Clone, Debug)]
struct Measure {
    op: Op,
    of: Of,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Count,
    Sum,
    Average,
    Least,
    Greatest,
}

/// Whose values are measured.
#[derive(Clone, Debug)]
enum Of {
    Rows,
    Scores,
    Field(FieldId),
}

/// What buckets are ordered by.
#[derive(Clone, Debug)]
enum By {
    Count,
    Key,
    Metric(String),
}

/// What hits of a bucket are ordered by.
#[derive(Clone, Debug)]
enum Sort {
    Score { descending: bool },
    Field(Order),
}

impl Aggregation {
    /// Reads what a client asks for, over the hits of `queries` queries.
    ///
    /// # Errors
    /// Milvus's words for what is wrong with it.
    pub fn of(spec: &SearchAggregationSpec, schema: &Schema, queries: i64) -> Result<Self, Error> {
        let mut levels = Vec::new();
        let mut next = Some(spec);
        while let Some(spec) = next {
            if levels.len() == MAX_LEVELS {
                let text = format!("search_aggregation nesting exceeds max {MAX_LEVELS} levels");
                return Err(Error::Aggregation { text });
            }
            levels.push(Level::of(spec, schema)?);
            next = spec.sub_aggregation.as_deref();
        }
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let combinations = levels.iter().fold(1_i64, |all, level| all.saturating_mul(count(level.size)));
        let hits = levels.iter().filter_map(|level| level.top_hits.as_ref()).map(|(size, _)| *size).max();
        let hits = hits.unwrap_or(1);
        let entries = combinations.saturating_mul(count(hits)).saturating_mul(queries.max(1));
        if entries > MAX_ENTRIES {
            let text = format!(
                "number of search_aggregation result entries is too large, {entries} are more than {MAX_ENTRIES}"
            );
            return Err(Error::Aggregation { text });
        }
        Ok(Self { levels, combinations: usize::try_from(combinations).unwrap_or(usize::MAX), hits })
    }

    /// Checks that so many queries may be asked at once: of each, as many hits as there may be are looked at.
    ///
    /// # Errors
    /// [`Error::Aggregation`] for too many.
    pub fn check(&self, queries: usize) -> Result<(), Error> {
        if queries <= MOST_QUERIES {
            return Ok(());
        }
        let text = format!("search_aggregation takes at most {MOST_QUERIES} queries at once, got {queries}");
        Err(Error::Aggregation { text })
    }

    /// The columns that are needed of every hit.
    pub fn fields(&self) -> impl Iterator<Item = FieldId> {
        self.levels.iter().flat_map(Level::columns)
    }

    /// The answer for the hits of a search, `output` of each.
    #[must_use]
    pub fn results(&self, schema: &Schema, output: &Output, hits: &SearchHits) -> SearchResultData {
        let pool = Pool { schema, output, hits };
        let groups = self.levels.iter().flat_map(|level| &level.fields).map(|field| field.id);
        let groups: Vec<FieldId> = groups.collect();
        let (mut agg_buckets, mut agg_topks) = (Vec::new(), Vec::new());
        for span in hits.spans() {
            let best = best_of_groups(span, |hit| pool.key(hit, &groups), self.combinations, self.hits);
            let mut chosen: Vec<usize> = best.into_iter().flatten().collect();
            chosen.sort_unstable();
            let buckets = pool.buckets(chosen, &self.levels);
            agg_topks.push(i64::try_from(buckets.len()).unwrap_or(i64::MAX));
            agg_buckets.extend(buckets);
        }
        SearchResultData {
            num_queries: i64::try_from(hits.counts.len()).unwrap_or(i64::MAX),
            topks: vec![0; hits.counts.len()],
            ids: Some(super::output::ids(crate::model::Keys::empty(schema.primary().data_type))),
            output_fields: output.names.clone(),
            primary_field_name: schema.primary().name.clone(),
            agg_buckets,
            agg_topks,
            ..Default::default()
        }
    }
}

impl Level {
    fn of(spec: &SearchAggregationSpec, schema: &Schema) -> Result<Self, Error> {
        let wrong = |text: String| Error::Aggregation { text };
        let positive = |name: &str, value: i64| {
            let size = usize::try_from(value).ok().filter(|size| *size > 0);
            size.ok_or_else(|| wrong(format!("search_aggregation {name} must be positive, got {value}")))
        };
        if spec.fields.is_empty() {
            return Err(wrong("search_aggregation fields must not be empty".to_owned()));
        }
        let lists = [
            ("fields", spec.fields.len(), MOST_FIELDS),
            ("metrics", spec.metrics.len(), MOST_METRICS),
            ("orders", spec.order.len(), MOST_SORTS),
            ("sorts", spec.top_hits.as_ref().map_or(0, |top| top.sort.len()), MOST_SORTS),
        ];
        if let Some((what, count, most)) = lists.into_iter().find(|(_, count, most)| count > most) {
            return Err(wrong(format!("search_aggregation has too many {what}: {count}, at most {most}")));
        }
        let fields = spec.fields.iter().map(|name| group_field(schema, name)).collect::<Result<_, _>>()?;
        let mut metrics = Vec::new();
        for (alias, asked) in &spec.metrics {
            metrics.push((alias.clone(), Measure::of(asked, schema)?));
        }
        let by = |asked: &OrderSpec| {
            let by = match asked.key.as_str() {
                "_count" => By::Count,
                "_key" => By::Key,
                alias if spec.metrics.contains_key(alias) => By::Metric(alias.to_owned()),
                other => {
                    return Err(wrong(format!(
                        "search_aggregation order key {other} must be a metric alias, _count or _key"
                    )));
                }
            };
            Ok((by, descending(&asked.direction)?))
        };
        let order = spec.order.iter().map(by).collect::<Result<_, _>>()?;
        let top_hits = match &spec.top_hits {
            None => None,
            Some(top) => {
                let sort = top.sort.iter().map(|sort| Sort::of(sort, schema)).collect::<Result<_, _>>()?;
                Some((positive("top_hits size", top.size)?, sort))
            }
        };
        Ok(Self { fields, size: positive("size", spec.size)?, metrics, order, top_hits })
    }

    fn columns(&self) -> impl Iterator<Item = FieldId> {
        let groups = self.fields.iter().map(|field| field.id);
        let measured = self.metrics.iter().filter_map(|(_, measure)| match measure.of {
            Of::Field(field) => Some(field),
            Of::Rows | Of::Scores => None,
        });
        let sorts = self.top_hits.iter().flat_map(|(_, sorts)| sorts);
        let sorted = sorts.flat_map(|sort| match sort {
            Sort::Field(order) => order.fields().collect(),
            Sort::Score { .. } => Vec::new(),
        });
        groups.chain(measured).chain(sorted)
    }
}

impl Measure {
    fn of(asked: &MetricAggSpec, schema: &Schema) -> Result<Self, Error> {
        let wrong = |text: String| Error::Aggregation { text };
        let op = match asked.op.as_str() {
            "count" => Op::Count,
            "sum" => Op::Sum,
            "avg" => Op::Average,
            "min" => Op::Least,
            "max" => Op::Greatest,
            other => return Err(wrong(format!("search_aggregation metric op {other} is not supported"))),
        };
        let of = match asked.field_name.as_str() {
            "*" if op == Op::Count => Of::Rows,
            "*" => return Err(wrong("search_aggregation metric field * is for count only".to_owned())),
            "_score" => Of::Scores,
            name => {
                let field = match schema.field(name).filter(|field| !field.is_dynamic) {
                    Some(field) if field.data_type == DataType::Json && op != Op::Count => return Err(json()),
                    Some(field) => field,
                    None if schema.dynamic().is_some() => return Err(json()),
                    None => {
                        return Err(wrong(format!(
                            "search_aggregation metric field {name} not found in schema"
                        )));
                    }
                };
                let is_number = matches!(
                    field.data_type,
                    DataType::Int8
                        | DataType::Int16
                        | DataType::Int32
                        | DataType::Int64
                        | DataType::Float
                        | DataType::Double
                );
                let has_order = is_number || field.data_type == DataType::VarChar;
                let fits = match op {
                    Op::Count => !field.data_type.is_vector(),
                    Op::Sum | Op::Average => is_number,
                    Op::Least | Op::Greatest => has_order,
                };
                if !fits {
                    return Err(wrong(format!(
                        "search_aggregation metric {} does not support data type {} of field {name}",
                        asked.op,
                        field.data_type.name()
                    )));
                }
                Of::Field(field.id)
            }
        };
        Ok(Self { op, of })
    }
}

impl Sort {
    fn of(asked: &SortSpec, schema: &Schema) -> Result<Self, Error> {
        let descending = descending(&asked.direction)?;
        if asked.field_name == "_score" {
            return Ok(Self::Score { descending });
        }
        let (field, path) = super::grouping::sorted_field(&asked.field_name, schema)?;
        Ok(Self::Field(Order { by: vec![Sorting { field: field.id, path, descending }] }))
    }
}

fn descending(direction: &str) -> Result<bool, Error> {
    match direction.to_lowercase().as_str() {
        "" | "asc" | "ascending" => Ok(false),
        "desc" | "descending" => Ok(true),
        other => Err(Error::Aggregation {
            text: format!("search_aggregation direction {other} is invalid, expected asc or desc"),
        }),
    }
}

fn group_field(schema: &Schema, name: &str) -> Result<Field, Error> {
    match schema.field(name) {
        Some(field) if field.is_dynamic || field.data_type == DataType::Json => {}
        None if schema.dynamic().is_some() => {}
        None => return Err(Error::GroupField { field: name.to_owned() }),
        Some(field) if matches!(field.data_type, DataType::Float | DataType::Double) => {
            let text = "FLOAT / DOUBLE fields are not supported with search_aggregation".to_owned();
            return Err(Error::Aggregation { text });
        }
        Some(field) => return check_group_type(field.data_type).map(|()| field.clone()),
    }
    Err(json())
}

fn json() -> Error {
    Error::Aggregation {
        text: "JSON / dynamic fields are not yet supported with search_aggregation".to_owned(),
    }
}

/// The hits that buckets are made of.
struct Pool<'a> {
    schema: &'a Schema,
    output: &'a Output,
    hits: &'a SearchHits,
}

impl Pool<'_> {
    fn value(&self, hit: usize, field: FieldId) -> Value {
        self.hits.rows.column(field).map_or(Value::Null, |column| column.value(hit))
    }

    fn key(&self, hit: usize, fields: &[FieldId]) -> Vec<Group> {
        let group = |field: &FieldId| {
            self.hits.rows.column(*field).map_or(Group::None, |column| Group::of(column, hit))
        };
        fields.iter().map(group).collect()
    }

    /// The buckets of `hits`, which come best first.
    fn buckets(&self, hits: Vec<usize>, levels: &[Level]) -> Vec<AggBucket> {
        let Some((level, inner)) = levels.split_first() else { return Vec::new() };
        let fields: Vec<FieldId> = level.fields.iter().map(|field| field.id).collect();
        let all = hits.len();
        let groups = best_of_groups(hits, |hit| self.key(hit, &fields), level.size, all.max(1));
        let mut buckets: Vec<(Vec<Group>, AggBucket)> = groups
            .into_iter()
            .filter_map(|hits| {
                let key = self.key(*hits.first()?, &fields);
                let bucket = AggBucket {
                    key: level
                        .fields
                        .iter()
                        .zip(&key)
                        .map(|(field, group)| self.entry(field, group))
                        .collect(),
                    count: i64::try_from(hits.len()).unwrap_or(i64::MAX),
                    metrics: self.metrics(&hits, level),
                    hits: self.top_hits(&hits, level),
                    sub_groups: self.buckets(hits, inner),
                };
                Some((key, bucket))
            })
            .collect();
        buckets.sort_by(|left, right| {
            let mut orders = level.order.iter().map(|(by, descending)| {
                let order = compared(by, left, right);
                if *descending { order.reverse() } else { order }
            });
            orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
        });
        buckets.into_iter().map(|(_, bucket)| bucket).collect()
    }

    fn metrics(&self, hits: &[usize], level: &Level) -> HashMap<String, MetricValue> {
        let of = |(alias, measure): &(String, Measure)| {
            let value = self.measured(hits, measure);
            (alias.clone(), MetricValue { value })
        };
        level.metrics.iter().map(of).collect()
    }

    fn measured(&self, hits: &[usize], measure: &Measure) -> Option<metric_value::Value> {
        use metric_value::Value::{DoubleVal, IntVal, StringVal};
        let values: Vec<Value> = match measure.of {
            Of::Rows => return Some(IntVal(i64::try_from(hits.len()).unwrap_or(i64::MAX))),
            Of::Scores => hits.iter().map(|&hit| Value::Float(self.hits.scores[hit])).collect(),
            Of::Field(field) => {
                let values = hits.iter().map(|&hit| self.value(hit, field));
                values.filter(|value| *value != Value::Null).collect()
            }
        };
        if measure.op == Op::Count {
            return Some(IntVal(i64::try_from(values.len()).unwrap_or(i64::MAX)));
        }
        let number = |value: &Value| match value {
            Value::Int(number) => *number as f64,
            Value::Float(number) => f64::from(*number),
            Value::Double(number) => *number,
            _ => 0.0,
        };
        let whole = |value: &Value| if let Value::Int(number) = value { Some(*number) } else { None };
        let wholes: Option<Vec<i64>> = values.iter().map(whole).collect();
        let text = |value: &Value| if let Value::Text(text) = value { Some(text.clone()) } else { None };
        let first = values.first()?;
        Some(match (measure.op, wholes) {
            (Op::Average, _) => DoubleVal(values.iter().map(number).sum::<f64>() / values.len() as f64),
            (Op::Sum, Some(wholes)) => IntVal(wholes.iter().fold(0_i64, |sum, one| sum.saturating_add(*one))),
            (Op::Sum | Op::Count, _) => DoubleVal(values.iter().map(number).sum()),
            (Op::Least, Some(wholes)) => IntVal(wholes.into_iter().min()?),
            (Op::Greatest, Some(wholes)) => IntVal(wholes.into_iter().max()?),
            (Op::Least, None) if text(first).is_some() => StringVal(values.iter().filter_map(text).min()?),
            (Op::Greatest, None) if text(first).is_some() => StringVal(values.iter().filter_map(text).max()?),
            (Op::Least, None) => DoubleVal(values.iter().map(number).fold(f64::INFINITY, f64::min)),
            (Op::Greatest, None) => DoubleVal(values.iter().map(number).fold(f64::NEG_INFINITY, f64::max)),
        })
    }

    fn top_hits(&self, hits: &[usize], level: &Level) -> Vec<AggHit> {
        let Some((size, sorts)) = &level.top_hits else { return Vec::new() };
        let rows = self.hits.rows.take(hits);
        let mut places: Vec<usize> = (0..hits.len()).collect();
        // The weightiest one last, as a stable order keeps what the ones before it say.
        for sort in sorts.iter().rev() {
            match sort {
                Sort::Score { descending } => places.sort_by(|&left, &right| {
                    let score = |place: usize| self.hits.scores[hits[place]];
                    let order = score(left).total_cmp(&score(right));
                    if *descending { order.reverse() } else { order }
                }),
                Sort::Field(order) => {
                    let keys = order.keys(&rows);
                    places.sort_by(|&left, &right| order.compare(&keys[left], &keys[right]));
                }
            }
        }
        places.into_iter().take(*size).map(|place| self.hit(hits[place])).collect()
    }

    fn hit(&self, hit: usize) -> AggHit {
        let pk = match self.hits.keys.get(hit) {
            Key::Int(key) => agg_hit::Pk::IntPk(key),
            Key::Text(key) => agg_hit::Pk::StrPk(key.to_string()),
        };
        let fields = self.output.fields.iter().filter_map(|id| self.schema.field_by_id(*id));
        let shown = fields.filter(|field| !field.data_type.is_searched() && !field.is_dynamic);
        let fields = shown.map(|field| AggHitField {
            field_id: field.id.0,
            field_name: field.name.clone(),
            value: self.shown_value(field, self.value(hit, field.id)),
        });
        AggHit { score: self.hits.scores[hit], fields: fields.collect(), pk: Some(pk) }
    }

    fn shown_value(&self, field: &Field, value: Value) -> Option<agg_hit_field::Value> {
        use agg_hit_field::Value::{BoolVal, BytesVal, DoubleVal, FloatVal, IntVal, StringVal};
        Some(match value {
            Value::Bool(truth) => BoolVal(truth),
            Value::Int(instant) if field.data_type == DataType::Timestamptz => StringVal(self.shown(instant)),
            Value::Int(number) => IntVal(number),
            Value::Float(number) => FloatVal(number),
            Value::Double(number) => DoubleVal(number),
            Value::Text(text) => StringVal(text),
            Value::Json(text) => BytesVal(text.into_bytes()),
            Value::Shape(bytes) => StringVal(shape::to_text(&bytes)?),
            _ => return None,
        })
    }

    fn entry(&self, field: &Field, group: &Group) -> BucketKeyEntry {
        use bucket_key_entry::Value::{BoolVal, IntVal, StringVal};
        let value = match group {
            Group::None => None,
            Group::Int(number) if field.data_type == DataType::Bool => Some(BoolVal(*number != 0)),
            Group::Int(instant) if field.data_type == DataType::Timestamptz => {
                Some(StringVal(self.shown(*instant)))
            }
            Group::Int(number) => Some(IntVal(*number)),
            Group::Text(text) => Some(StringVal(text.clone())),
        };
        BucketKeyEntry { field_id: field.id.0, field_name: field.name.clone(), value }
    }

    /// An instant as the client wants it.
    fn shown(&self, instant: i64) -> String {
        calendar::show(instant, &self.output.times.zone)
    }
}

fn compared(by: &By, left: &(Vec<Group>, AggBucket), right: &(Vec<Group>, AggBucket)) -> Ordering {
    use metric_value::Value::{DoubleVal, IntVal, StringVal};
    match by {
        By::Count => left.1.count.cmp(&right.1.count),
        By::Key => {
            let pairs = left.0.iter().zip(&right.0);
            let mut orders = pairs.map(|pair| match pair {
                (Group::Int(left), Group::Int(right)) => left.cmp(right),
                (Group::Text(left), Group::Text(right)) => left.cmp(right),
                (left, right) => (*left == Group::None).cmp(&(*right == Group::None)),
            });
            orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
        }
        By::Metric(alias) => {
            let of = |bucket: &AggBucket| bucket.metrics.get(alias).and_then(|metric| metric.value.clone());
            let number = |value: &metric_value::Value| match value {
                IntVal(number) => *number as f64,
                DoubleVal(number) => *number,
                _ => f64::NAN,
            };
            match (of(&left.1), of(&right.1)) {
                (Some(StringVal(left)), Some(StringVal(right))) => left.cmp(&right),
                (Some(left), Some(right)) => number(&left).total_cmp(&number(&right)),
                (left, right) => left.is_none().cmp(&right.is_none()),
            }
        }
    }
}
