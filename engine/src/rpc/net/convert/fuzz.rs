//! Fuzz target of what nodes say to each other.

#![expect(clippy::panic, reason = "how a target says what it has found")]

use contract::internal as pb;
use prost::Message;

use super::{
    after_from, after_to, hits_from, hits_to, query_from, query_to, rows_from, rows_to, search_from,
    search_to, share_from, share_to, write_from, write_to,
};
use crate::base::{ChannelName, CollectionId, FieldId, PartitionId, RequestId, Timestamp};
use crate::expr::{self, Templates, parse};
use crate::model::fuzz::{chosen, fixture, tagged};
use crate::model::{Keys, Metric, SparseVector, Vector};
use crate::plan::{QueryKind, QueryPlan, QueryRows, Range, SearchHits, SearchPlan};
use crate::rpc::{Operation, Request, Write};

/// Any bytes are refused as a plan, a write, an answer a share or a filter, or are one that is said in one way.
pub fn call(data: &[u8]) {
    let Some((choice, data)) = chosen(data) else { return };
    match choice % 8 {
        0 => said::<pb::SearchPlan>(data, |plan| search_from(plan).ok().map(|plan| search_to(&plan))),
        1 => said::<pb::QueryPlan>(data, |plan| query_from(plan).ok().map(|plan| query_to(&plan))),
        2 => said::<pb::WriteCall>(data, |call| write_from(call).ok().map(|write| write_to(&write))),
        3 => said::<pb::SearchAnswer>(data, |hits| hits_from(&hits).ok().map(|hits| hits_to(&hits))),
        4 => said::<pb::QueryAnswer>(data, |rows| rows_from(&rows).ok().map(|rows| rows_to(&rows))),
        5 => said::<pb::Share>(data, |share| Some(share_to(&share_from(share)))),
        6 => said::<pb::ReadAfter>(data, |after| after_from(Some(after)).ok().map(after_to)),
        _ => expr::fuzz::filter(data),
    }
}

/// What is understood of a message, said again, is understood as the same.
fn said<T: Message + Default + Clone + PartialEq + std::fmt::Debug>(
    data: &[u8],
    again: impl Fn(T) -> Option<T>,
) {
    let Ok(message) = T::decode(data) else { return };
    let Some(first) = again(message) else { return };
    let second = again(first.clone()).unwrap_or_else(|| panic!("what is said is understood"));
    // What is no number does not equal itself, and pairs of a map come in any order.
    assert!(second == first || second.encoded_len() == first.encoded_len(), "{second:?} after {first:?}");
}

/// Inputs for [`call`] to begin with.
pub fn calls() -> Vec<Vec<u8>> {
    let (schema, rows) = fixture();
    let filter = parse("id in [1, 2] and s like \"a%\"", schema, &Templates::new()).ok();
    let search = |metric, queries: Vec<Vector>| SearchPlan {
        collection: CollectionId(1),
        partitions: Some(vec![PartitionId(2)]),
        field: FieldId(3),
        metric,
        queries,
        count: 4,
        grouping: None,
        params: [("ef".to_owned(), "64".to_owned())].into(),
        range: Some(Range { outer: 1.5, inner: None }),
        filter: filter.clone(),
        output: vec![FieldId(100)],
        read_at: Timestamp(5),
        expired_before: Timestamp(6),
        ignore_growing: true,
    };
    let query = |kind| QueryPlan {
        collection: CollectionId(1),
        partitions: None,
        filter: filter.clone(),
        limit: Some(9),
        order: None,
        output: vec![FieldId(100), FieldId(101)],
        read_at: Timestamp(5),
        expired_before: Timestamp(6),
        ignore_growing: false,
        kind,
    };
    let write = |operation| Write {
        collection: CollectionId(1),
        channel: ChannelName("c".into()),
        operation,
        request: Some(Request { id: RequestId(3), since: Timestamp(4), is_repeat: true }),
        client: Some(RequestId(5)),
    };
    let (some, keys) = (rows.take(&[0, 4]), Keys::Int(vec![1, 2]));
    let times = vec![Timestamp(7), Timestamp(8)];
    let hits = SearchHits { counts: vec![2], keys: keys.clone(), scores: vec![0.5, 1.0], rows: some.clone() };
    let of = |choice: u8, message: Vec<u8>| [&[choice][..], &message].concat();
    let partition = PartitionId(2);
    let insert = Operation::Insert { partition, rows: some.clone().into() };
    let upsert = Operation::Upsert { partition, replaced: keys.clone().into(), rows: some.clone().into() };
    let delete = Operation::Delete { partition: None, keys: keys.clone().into() };
    let sparse = SparseVector { indices: vec![1], values: vec![0.5] };
    let messages = vec![
        of(0, search_to(&search(Metric::L2, vec![Vector::Dense(vec![0.5, 1.0])])).encode_to_vec()),
        of(0, search_to(&search(Metric::Jaccard, vec![Vector::Bits(vec![1, 2])])).encode_to_vec()),
        of(0, search_to(&search(Metric::Bm25, vec![Vector::Sparse(sparse)])).encode_to_vec()),
        of(1, query_to(&query(QueryKind::Rows)).encode_to_vec()),
        of(1, query_to(&query(QueryKind::Count)).encode_to_vec()),
        of(2, write_to(&write(insert)).encode_to_vec()),
        of(2, write_to(&write(upsert)).encode_to_vec()),
        of(2, write_to(&write(delete)).encode_to_vec()),
        of(3, hits_to(&hits).encode_to_vec()),
        of(4, rows_to(&QueryRows { keys, times, rows: some, count: 2 }).encode_to_vec()),
        of(5, Vec::new()),
        of(6, Vec::new()),
    ];
    [messages, tagged(b'7', expr::fuzz::filters())].concat()
}
