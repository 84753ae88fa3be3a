//! The rows that clients write, and how they read them back.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::base::{CollectionId, FieldId, PartitionId, Timestamp};
use engine::model::{Batch, ColumnData, Keys, Metric};
use engine::plan::{QueryKind, QueryPlan, SearchPlan};
use engine::rpc::{CollectionInfo, CollectionRef, NewCollection, NewIndex, Operation, Write};

use crate::table::{DIM, KEY, VALUE, VECTOR, batch, schema, vector};

pub const SHARDS: i64 = 2;
pub const DATABASE: &str = "default";

pub fn named(name: &str) -> CollectionRef {
    CollectionRef::Name { database: DATABASE.to_owned(), name: name.to_owned() }
}

pub fn new_collection(name: &str, shards: u32) -> NewCollection {
    NewCollection {
        database: DATABASE.to_owned(),
        name: name.to_owned(),
        schema: schema(),
        shards,
        partitions_by_key: 0,
        consistency: 0,
        properties: Vec::new(),
    }
}

/// An index that finds all there is, so that a search can be compared with what was written.
pub fn new_index(collection: &str) -> NewIndex {
    let param = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    NewIndex {
        collection: named(collection),
        name: String::new(),
        field: "vector".to_owned(),
        params: vec![param("index_type", "FLAT"), param("metric_type", "L2")],
    }
}

/// One write, of keys of one shard.
#[derive(Clone, Debug)]
pub enum Change {
    Insert(Vec<(i64, i64)>),
    Upsert(Vec<(i64, i64)>),
    Delete(Vec<i64>),
}

impl Change {
    pub fn effects(&self) -> Vec<(i64, Option<i64>)> {
        match self {
            Self::Insert(rows) | Self::Upsert(rows) => {
                rows.iter().map(|(key, value)| (*key, Some(*value))).collect()
            }
            Self::Delete(keys) => keys.iter().map(|key| (*key, None)).collect(),
        }
    }

    pub fn write(&self, info: &CollectionInfo, shard: usize, partition: PartitionId) -> Write {
        let operation = match self {
            Self::Insert(rows) => Operation::Insert { partition, rows: batch(rows).1 },
            Self::Upsert(rows) => {
                let (replaced, rows) = batch(rows);
                Operation::Upsert { partition, replaced, rows }
            }
            Self::Delete(keys) => {
                Operation::Delete { partition: None, keys: Arc::new(Keys::Int(keys.clone())) }
            }
        };
        Write::new(info.id, info.channels[shard].clone(), operation)
    }
}

pub fn query(collection: CollectionId, kind: QueryKind) -> QueryPlan {
    QueryPlan {
        collection,
        partitions: None,
        filter: None,
        limit: None,
        order: None,
        output: vec![KEY, VALUE, VECTOR],
        read_at: Timestamp::MAX,
        expired_before: Timestamp::ZERO,
        ignore_growing: false,
        kind,
    }
}

/// The nearest of a point, so many that it is all rows.
pub fn search(collection: CollectionId) -> SearchPlan {
    SearchPlan {
        collection,
        partitions: None,
        field: VECTOR,
        metric: Metric::L2,
        queries: vec![vec![0.0; DIM].into()],
        count: 16_384,
        grouping: None,
        params: BTreeMap::new(),
        range: None,
        filter: None,
        output: vec![KEY, VALUE, VECTOR],
        read_at: Timestamp::MAX,
        expired_before: Timestamp::ZERO,
        ignore_growing: false,
    }
}

fn data(rows: &Batch, field: FieldId) -> Option<&ColumnData> {
    rows.column(field).map(|column| &column.data)
}

/// Keys with their values, ascending by key, each key once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found(Vec<(i64, i64)>);

impl Found {
    /// `None` if a key is there twice.
    pub fn new(mut rows: Vec<(i64, i64)>) -> Option<Self> {
        // Queries give them in order, searches do not.
        rows.sort_unstable();
        rows.is_sorted_by(|one, next| one.0 < next.0).then_some(Self(rows))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn get(&self, key: i64) -> Option<i64> {
        self.0.binary_search_by_key(&key, |row| row.0).ok().map(|at| self.0[at].1)
    }

    pub fn iter(&self) -> impl Iterator<Item = (i64, i64)> {
        self.0.iter().copied()
    }
}

/// What an answer shows.
///
/// # Errors
/// If a row is not as it was written: another row's vector, a column of another type, a key twice.
pub fn read_back(rows: &Batch) -> Result<Found, String> {
    if rows.rows == 0 {
        return Ok(Found::default());
    }
    let (
        Some(ColumnData::Int64(keys)),
        Some(ColumnData::Int64(values)),
        Some(ColumnData::FloatVector { values: vectors, .. }),
    ) = (data(rows, KEY), data(rows, VALUE), data(rows, VECTOR))
    else {
        return Err("an answer lacks a column".to_owned());
    };
    for (row, value) in values.iter().enumerate() {
        if vectors[row * DIM..(row + 1) * DIM] != vector(*value) {
            return Err(format!("key {} has the vector of another row", keys[row]));
        }
    }
    let found = Found::new(keys.iter().copied().zip(values.iter().copied()).collect());
    found.ok_or_else(|| "a key is twice in one answer".to_owned())
}
