//! Reads: plans, shares and what is found.

use bytes::{Bytes, BytesMut};
use contract::internal as pb;
use pb::read_after::What;

use super::Damaged;
use crate::base::{ChannelName, CollectionId, FieldId, PartitionId, Position, SegmentId, Timestamp};
use crate::expr::Filter;
use crate::model::wire::{Reader, decode_keys, decode_rows, encode_keys, encode_rows, put_values};
use crate::model::{Metric, SparseVector, Vector};
use crate::plan::{
    Aggregate, AggregateOp, Aggregates, GroupField, Grouping, Order, QueryKind, QueryPlan, QueryRows, Range,
    SearchHits, SearchPlan, Sorting,
};
use crate::rpc::{ChannelShare, Extent, ReadAfter, Share, TimeSpan};

pub(in crate::rpc::net) fn search_to(plan: &SearchPlan) -> pb::SearchPlan {
    let SearchPlan {
        collection,
        partitions,
        field,
        metric,
        queries,
        count,
        grouping,
        params,
        range,
        filter,
        output,
        read_at,
        expired_before,
        ignore_growing,
    } = plan;
    pb::SearchPlan {
        collection: collection.0,
        partitions: partitions.as_deref().map(partitions_to),
        field: field.0,
        metric: metric.name().to_owned(),
        queries: queries.iter().map(vector_to).collect(),
        kinds: kinds_of(queries),
        count: *count as u64,
        grouping: grouping.map(|grouping| pb::Grouping {
            field: grouping.field.0,
            size: grouping.size as u64,
            strict: grouping.strict,
        }),
        params: params.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        range: range.map(|range| pb::Range { outer: range.outer, inner: range.inner }),
        filter: filter.as_ref().map(Filter::to_bytes),
        output: output.iter().map(|field| field.0).collect(),
        read_at: read_at.0,
        expired_before: expired_before.0,
        ignore_growing: *ignore_growing,
    }
}

pub(in crate::rpc::net) fn search_from(plan: pb::SearchPlan) -> Result<SearchPlan, Damaged> {
    Ok(SearchPlan {
        collection: CollectionId(plan.collection),
        partitions: plan.partitions.map(partitions_from),
        field: FieldId(plan.field),
        metric: Metric::from_name(&plan.metric).ok_or(Damaged::Unknown("metric"))?,
        queries: vectors_from(&plan.queries, &plan.kinds)?,
        count: to_usize(plan.count)?,
        grouping: plan.grouping.map(grouping_from).transpose()?,
        params: plan.params.into_iter().collect(),
        range: plan.range.map(|range| Range { outer: range.outer, inner: range.inner }),
        filter: plan.filter.as_deref().map(filter_from).transpose()?,
        output: plan.output.into_iter().map(FieldId).collect(),
        read_at: Timestamp(plan.read_at),
        expired_before: Timestamp(plan.expired_before),
        ignore_growing: plan.ignore_growing,
    })
}

pub(in crate::rpc::net) fn query_to(plan: &QueryPlan) -> pb::QueryPlan {
    let QueryPlan {
        collection,
        partitions,
        filter,
        limit,
        order,
        output,
        read_at,
        expired_before,
        ignore_growing,
        kind,
    } = plan;
    pb::QueryPlan {
        collection: collection.0,
        partitions: partitions.as_deref().map(partitions_to),
        filter: filter.as_ref().map(Filter::to_bytes),
        limit: limit.map(|limit| limit as u64),
        order: order.as_ref().map(order_to),
        output: output.iter().map(|field| field.0).collect(),
        read_at: read_at.0,
        expired_before: expired_before.0,
        ignore_growing: *ignore_growing,
        count: match kind {
            QueryKind::Rows | QueryKind::Terms { .. } | QueryKind::Aggregates(_) => false,
            QueryKind::Count => true,
        },
        terms: match kind {
            QueryKind::Rows | QueryKind::Count | QueryKind::Aggregates(_) => None,
            QueryKind::Terms { field, terms } => Some(pb::Terms { field: field.0, terms: terms.clone() }),
        },
        aggregates: match kind {
            QueryKind::Rows | QueryKind::Count | QueryKind::Terms { .. } => None,
            QueryKind::Aggregates(aggregates) => Some(aggregates_to(aggregates)),
        },
    }
}

pub(in crate::rpc::net) fn query_from(plan: pb::QueryPlan) -> Result<QueryPlan, Damaged> {
    Ok(QueryPlan {
        collection: CollectionId(plan.collection),
        partitions: plan.partitions.map(partitions_from),
        filter: plan.filter.as_deref().map(filter_from).transpose()?,
        limit: plan.limit.map(to_usize).transpose()?,
        order: plan.order.map(order_from),
        output: plan.output.into_iter().map(FieldId).collect(),
        read_at: Timestamp(plan.read_at),
        expired_before: Timestamp(plan.expired_before),
        ignore_growing: plan.ignore_growing,
        kind: match (plan.terms, plan.aggregates) {
            (Some(pb::Terms { field, terms }), _) => QueryKind::Terms { field: FieldId(field), terms },
            (None, Some(aggregates)) => QueryKind::Aggregates(aggregates_from(aggregates)?),
            (None, None) if plan.count => QueryKind::Count,
            (None, None) => QueryKind::Rows,
        },
    })
}

fn aggregates_to(aggregates: &Aggregates) -> pb::Aggregates {
    let Aggregates { by, of, limit } = aggregates;
    let group_to = |group: &GroupField| pb::GroupField { field: group.field.0, descending: group.descending };
    let aggregate_to = |aggregate: &Aggregate| pb::Aggregate {
        op: match aggregate.op {
            AggregateOp::Count => pb::AggregateOp::Count.into(),
            AggregateOp::Sum => pb::AggregateOp::Sum.into(),
            AggregateOp::Average => pb::AggregateOp::Average.into(),
            AggregateOp::Least => pb::AggregateOp::Least.into(),
            AggregateOp::Greatest => pb::AggregateOp::Greatest.into(),
        },
        field: aggregate.field.map(|field| field.0),
    };
    pb::Aggregates {
        by: by.iter().map(group_to).collect(),
        of: of.iter().map(aggregate_to).collect(),
        limit: limit.map(|limit| limit as u64),
    }
}

fn aggregates_from(aggregates: pb::Aggregates) -> Result<Aggregates, Damaged> {
    let group_from =
        |group: pb::GroupField| GroupField { field: FieldId(group.field), descending: group.descending };
    let aggregate_from = |aggregate: pb::Aggregate| {
        let op = match aggregate.op() {
            pb::AggregateOp::Count => AggregateOp::Count,
            pb::AggregateOp::Sum => AggregateOp::Sum,
            pb::AggregateOp::Average => AggregateOp::Average,
            pb::AggregateOp::Least => AggregateOp::Least,
            pb::AggregateOp::Greatest => AggregateOp::Greatest,
            pb::AggregateOp::Unspecified => return Err(Damaged::Unknown("aggregate")),
        };
        Ok(Aggregate { op, field: aggregate.field.map(FieldId) })
    };
    Ok(Aggregates {
        by: aggregates.by.into_iter().map(group_from).collect(),
        of: aggregates.of.into_iter().map(aggregate_from).collect::<Result<_, _>>()?,
        limit: aggregates.limit.map(to_usize).transpose()?,
    })
}

fn grouping_from(grouping: pb::Grouping) -> Result<Grouping, Damaged> {
    let pb::Grouping { field, size, strict } = grouping;
    Ok(Grouping { field: FieldId(field), size: to_usize(size)?, strict })
}

fn order_to(order: &Order) -> pb::Order {
    let sorting_to = |sorting: &Sorting| pb::Sorting {
        field: sorting.field.0,
        path: sorting.path.clone(),
        descending: sorting.descending,
    };
    pb::Order { by: order.by.iter().map(sorting_to).collect() }
}

fn order_from(order: pb::Order) -> Order {
    let sorting_from = |sorting: pb::Sorting| Sorting {
        field: FieldId(sorting.field),
        path: sorting.path,
        descending: sorting.descending,
    };
    Order { by: order.by.into_iter().map(sorting_from).collect() }
}

pub(in crate::rpc::net) fn share_to(share: &Share) -> pb::Share {
    let channel_to = |channel: &ChannelShare| pb::ChannelShare {
        channel: channel.channel.as_str().to_owned(),
        segments: channel.segments.iter().map(|segment| segment.0).collect(),
        growing_from: channel.growing_from.map(|position| position.0),
    };
    pb::Share {
        channels: share.channels.iter().map(channel_to).collect(),
        times: share.times.iter().map(|time| time.0).collect(),
        extent: match &share.extent {
            Extent::Unsaid | Extent::All => None,
            Extent::These(list) => Some(partitions_to(list)),
        },
        is_all: share.extent == Extent::All,
    }
}

pub(in crate::rpc::net) fn share_from(share: pb::Share) -> Share {
    let channel_from = |channel: pb::ChannelShare| ChannelShare {
        channel: ChannelName(channel.channel.into()),
        segments: channel.segments.into_iter().map(SegmentId).collect(),
        growing_from: channel.growing_from.map(Position),
    };
    Share {
        channels: share.channels.into_iter().map(channel_from).collect(),
        times: share.times.into_iter().map(Timestamp).collect(),
        extent: match share.extent {
            Some(list) => Extent::These(partitions_from(list)),
            None if share.is_all => Extent::All,
            None => Extent::Unsaid,
        },
    }
}

pub(in crate::rpc::net) fn spans_to(spans: &[TimeSpan]) -> Vec<pb::TimeSpan> {
    spans.iter().map(|span| pb::TimeSpan { from: span.from.0, to: span.to.0 }).collect()
}

pub(in crate::rpc::net) fn spans_from(spans: Vec<pb::TimeSpan>) -> Vec<TimeSpan> {
    let span_of = |span: pb::TimeSpan| TimeSpan { from: Timestamp(span.from), to: Timestamp(span.to) };
    spans.into_iter().map(span_of).collect()
}

pub(in crate::rpc::net) fn after_to(after: ReadAfter) -> pb::ReadAfter {
    let what = match after {
        ReadAfter::Nothing => What::Nothing(pb::Nothing {}),
        ReadAfter::Time(time) => What::Time(time.0),
        ReadAfter::History(time) => What::History(time.0),
        ReadAfter::Everything => What::Everything(pb::Everything {}),
    };
    pb::ReadAfter { what: Some(what) }
}

pub(in crate::rpc::net) fn after_from(after: Option<pb::ReadAfter>) -> Result<ReadAfter, Damaged> {
    // Never guessed: a read that sees too little is a wrong answer.
    match after.and_then(|after| after.what).ok_or(Damaged::Lacks("what it must see"))? {
        What::Nothing(pb::Nothing {}) => Ok(ReadAfter::Nothing),
        What::Time(time) => Ok(ReadAfter::Time(Timestamp(time))),
        What::History(time) => Ok(ReadAfter::History(Timestamp(time))),
        What::Everything(pb::Everything {}) => Ok(ReadAfter::Everything),
    }
}

pub(in crate::rpc::net) fn hits_to(hits: &SearchHits) -> pb::SearchAnswer {
    pb::SearchAnswer {
        error: None,
        counts: hits.counts.iter().map(|count| *count as u64).collect(),
        keys: encode_keys(&hits.keys),
        scores: floats_to(&hits.scores),
        rows: encode_rows(&hits.rows),
    }
}

pub(in crate::rpc::net) fn hits_from(answer: &pb::SearchAnswer) -> Result<SearchHits, Damaged> {
    Ok(SearchHits {
        counts: answer.counts.iter().map(|count| to_usize(*count)).collect::<Result<_, _>>()?,
        keys: decode_keys(&answer.keys).map_err(|damaged| Damaged::Bytes("its keys", damaged))?,
        scores: floats_from(&answer.scores)?,
        rows: decode_rows(&answer.rows).map_err(|damaged| Damaged::Bytes("its rows", damaged))?,
    })
}

pub(in crate::rpc::net) fn rows_to(rows: &QueryRows) -> pb::QueryAnswer {
    let mut times = BytesMut::with_capacity(rows.times.len() * 8);
    put_values(&mut times, &rows.times, |time| time.0.to_le_bytes());
    pb::QueryAnswer {
        error: None,
        keys: encode_keys(&rows.keys),
        times: times.freeze(),
        rows: encode_rows(&rows.rows),
        count: rows.count,
    }
}

pub(in crate::rpc::net) fn rows_from(answer: &pb::QueryAnswer) -> Result<QueryRows, Damaged> {
    let times = values(&answer.times, "its times", |bytes| Timestamp(u64::from_le_bytes(bytes)))?;
    Ok(QueryRows {
        keys: decode_keys(&answer.keys).map_err(|damaged| Damaged::Bytes("its keys", damaged))?,
        times,
        rows: decode_rows(&answer.rows).map_err(|damaged| Damaged::Bytes("its rows", damaged))?,
        count: answer.count,
    })
}

fn partitions_to(partitions: &[PartitionId]) -> pb::Partitions {
    pb::Partitions { ids: partitions.iter().map(|partition| partition.0).collect() }
}

fn partitions_from(partitions: pb::Partitions) -> Vec<PartitionId> {
    partitions.ids.into_iter().map(PartitionId).collect()
}

fn filter_from(bytes: &[u8]) -> Result<Filter, Damaged> {
    Filter::from_bytes(bytes).map_err(|damaged| Damaged::Bytes("its filter", damaged))
}

const DENSE: u32 = 0;
const BITS: u32 = 1;
const SPARSE: u32 = 2;

/// The kind of each vector; nothing where all are dense, as every version knows them.
fn kinds_of(queries: &[Vector]) -> Vec<u32> {
    if queries.iter().all(|query| matches!(query, Vector::Dense(_))) {
        return Vec::new();
    }
    let kind = |query: &Vector| match query {
        Vector::Dense(_) => DENSE,
        Vector::Bits(_) => BITS,
        Vector::Sparse(_) => SPARSE,
    };
    queries.iter().map(kind).collect()
}

fn vector_to(query: &Vector) -> Bytes {
    match query {
        Vector::Dense(components) => floats_to(components),
        Vector::Bits(bytes) => Bytes::copy_from_slice(bytes),
        Vector::Sparse(SparseVector { indices, values }) => {
            let mut out = BytesMut::with_capacity((indices.len() + values.len()) * 4);
            put_values(&mut out, indices, u32::to_le_bytes);
            put_values(&mut out, values, f32::to_le_bytes);
            out.freeze()
        }
    }
}

fn vectors_from(queries: &[Bytes], kinds: &[u32]) -> Result<Vec<Vector>, Damaged> {
    let kinds = kinds.iter().copied().chain(std::iter::repeat(DENSE));
    let vector = |(query, kind): (&Bytes, u32)| match kind {
        DENSE => floats_from(query).map(Vector::Dense),
        BITS => Ok(Vector::Bits(query.to_vec())),
        SPARSE => {
            let (indices, floats) = query.split_at(query.len() / 8 * 4);
            let indices = values(indices, "a vector", u32::from_le_bytes)?;
            let vector = SparseVector { indices, values: floats_from(floats)? };
            let is_whole = vector.indices.len() == vector.values.len()
                && vector.indices.is_sorted_by(|left, right| left < right);
            if is_whole {
                Ok(Vector::Sparse(vector))
            } else {
                Err(Damaged::Lacks("pairs in ascending order"))
            }
        }
        _ => Err(Damaged::Unknown("kind of vector")),
    };
    queries.iter().zip(kinds).map(vector).collect()
}

fn floats_to(values: &[f32]) -> Bytes {
    let mut out = BytesMut::with_capacity(values.len() * 4);
    put_values(&mut out, values, f32::to_le_bytes);
    out.freeze()
}

fn floats_from(bytes: &[u8]) -> Result<Vec<f32>, Damaged> {
    values(bytes, "a vector", f32::from_le_bytes)
}

/// All of `bytes` as values of `W` bytes each.
fn values<T, const W: usize>(
    bytes: &[u8],
    what: &'static str,
    value_of: impl Fn([u8; W]) -> T,
) -> Result<Vec<T>, Damaged> {
    let mut reader = Reader::new(bytes);
    let read = reader.values(bytes.len() / W, value_of).map_err(|damaged| Damaged::Bytes(what, damaged))?;
    if reader.remaining() == 0 { Ok(read) } else { Err(Damaged::Lacks("the end of a value")) }
}

fn to_usize(count: u64) -> Result<usize, Damaged> {
    usize::try_from(count).map_err(|_| Damaged::Unknown("count"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    use super::*;
    use crate::expr::{Templates, parse};
    use crate::model::fixture::schema_of;
    use crate::model::{DataType, Field, Keys, Schema};

    fn schema() -> Schema {
        let field = |id, name: &str, data_type| Field {
            id: FieldId(id),
            name: name.to_owned(),
            description: String::new(),
            data_type,
            is_primary: id == 100,
            auto_id: false,
            is_dynamic: false,
            nullable: false,
            default: None,
            is_partition_key: false,
            is_clustering_key: false,
            type_params: Vec::new(),
        };
        let fields = vec![field(100, "id", DataType::Int64), field(101, "d", DataType::Double)];
        schema_of(fields)
    }

    /// Filters whose numbers are as odd as they can be; every kind of filter is tested in its own room.
    fn filter() -> impl Strategy<Value = Option<Filter>> {
        let parsed = |(int, double): (i64, f64)| {
            let text = format!("id in [{int}, {}] or d < {double:e}", int / 3);
            parse(&text, &schema(), &Templates::new()).ok()
        };
        (i64::MIN + 1..i64::MAX, any::<f64>().prop_filter("finite", |double| double.is_finite()))
            .prop_map(parsed)
    }

    /// Any bits, so also what is no number. Compared as texts, where that equals itself.
    fn float() -> impl Strategy<Value = f32> {
        any::<u32>().prop_map(f32::from_bits)
    }

    fn plan() -> impl Strategy<Value = SearchPlan> {
        let ids = || vec(any::<i64>(), 0..4);
        let pairs = proptest::collection::btree_map(any::<u32>(), float(), 0..4);
        let query = prop_oneof![
            2 => vec(float(), 0..5).prop_map(Vector::Dense),
            1 => vec(any::<u8>(), 0..5).prop_map(Vector::Bits),
            1 => pairs.prop_map(|pairs| {
                let (indices, values) = pairs.into_iter().unzip();
                Vector::Sparse(SparseVector { indices, values })
            }),
        ];
        let what = (option::of(ids()), vec(query, 0..4), option::of((float(), option::of(float()))));
        let rest = (any::<usize>(), any::<u64>(), any::<bool>(), ids(), "\\PC{0,9}", 0_usize..5);
        (what, rest, filter()).prop_map(|((partitions, queries, range), rest, filter)| {
            let (count, read_at, ignore_growing, output, text, metric) = rest;
            SearchPlan {
                collection: CollectionId(count as i64),
                partitions: partitions.map(|ids| ids.into_iter().map(PartitionId).collect()),
                field: FieldId(read_at as i64),
                metric: Metric::ALL[metric],
                queries,
                count,
                grouping: range.map(|_| Grouping { field: FieldId(3), size: count, strict: ignore_growing }),
                params: BTreeMap::from([(text.clone(), text)]),
                range: range.map(|(outer, inner)| Range { outer, inner }),
                filter,
                output: output.into_iter().map(FieldId).collect(),
                read_at: Timestamp(read_at),
                expired_before: Timestamp(read_at / 3),
                ignore_growing,
            }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_search_arrives_as_it_was_sent(plan in plan()) {
            let arrived = search_from(search_to(&plan)).unwrap();

            prop_assert_eq!(&arrived.filter, &plan.filter);
            prop_assert_eq!(format!("{arrived:?}"), format!("{plan:?}"));
        }

        #[test]
        fn a_query_arrives_as_it_was_sent(plan in plan(), limit in option::of(any::<usize>()), count in any::<bool>()) {
            let SearchPlan { collection, partitions, filter, output, read_at, expired_before, ignore_growing, .. } = plan;
            let terms = || QueryKind::Terms { field: FieldId(7), terms: vec![0, u32::MAX - 1] };
            let ops = [
                AggregateOp::Count,
                AggregateOp::Sum,
                AggregateOp::Average,
                AggregateOp::Least,
                AggregateOp::Greatest,
            ];
            let of = ops.map(|op| Aggregate { op, field: (op != AggregateOp::Count).then_some(FieldId(9)) });
            let aggregates = || Aggregates {
                by: output.iter().map(|field| GroupField { field: *field, descending: count }).collect(),
                of: of.to_vec(),
                limit: (!count).then_some(7),
            };
            let kind = match limit {
                Some(limit) if limit % 2 == 0 => terms(),
                Some(limit) if limit % 3 == 0 => QueryKind::Aggregates(aggregates()),
                _ if count => QueryKind::Count,
                _ => QueryKind::Rows,
            };
            let sorting = |field| Sorting { field, path: vec!["a".to_owned()], descending: count };
            let order = limit.map(|_| Order { by: output.iter().copied().map(sorting).collect() });
            let plan = QueryPlan {
                collection,
                partitions,
                filter,
                limit,
                order,
                output,
                read_at,
                expired_before,
                ignore_growing,
                kind,
            };

            let arrived = query_from(query_to(&plan)).unwrap();

            prop_assert_eq!(&arrived.filter, &plan.filter);
            prop_assert_eq!(format!("{arrived:?}"), format!("{plan:?}"));
        }

        #[test]
        fn what_was_found_arrives_as_it_was_sent(scores in vec(float(), 0..50), times in vec(any::<u64>(), 0..50)) {
            let keys = Keys::Int((0..scores.len() as i64).collect());
            let rows = crate::model::Batch { rows: scores.len(), columns: Vec::new() };
            let hits = SearchHits { counts: vec![scores.len()], keys: keys.clone(), scores, rows: rows.clone() };
            let times = times.into_iter().map(Timestamp).collect();
            let found = QueryRows { keys, times, count: u64::MAX, rows };

            prop_assert_eq!(format!("{:?}", hits_from(&hits_to(&hits)).unwrap()), format!("{hits:?}"));
            prop_assert_eq!(rows_from(&rows_to(&found)).unwrap(), found);
        }
    }
}
