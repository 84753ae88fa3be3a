//! Naive duties in memory, for the tests and fuzz targets of this room: rows in a list, searched one by one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, also in its twin"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;

use super::{AccessSettings, LimitSettings, ProxyParts, ProxySettings};
use crate::base::{
    ChannelName, CollectionId, DatabaseId, FieldId, IndexId, Kind, NodeId, NodeTime, PartitionId, Position,
    RealClock, RequestId, SegmentId, Timestamp,
};
use crate::inference::{ModelSettings, Models, Nowhere};
use crate::intake::functions;
use crate::model::access::{Policy, Role, User};
use crate::model::check_schema::{
    SchemaError, add_field, add_function, add_struct, alter_function, drop_field, drop_function,
};
use crate::model::{
    Batch, ChannelManifest, Column, IndexDefinition, Key, Keys, Metric, Partition, Schema, SegmentManifest,
    Value, Vector,
};
use crate::plan::{
    Aggregates, Groups, Operand, QueryKind, QueryPlan, QueryRows, SearchHits, SearchPlan, TermStatistics,
    merge_query, merge_search,
};
use crate::rpc::{
    AliasChange, CollectionChange, CollectionInfo, CollectionRef, CompactionPlan, CompactionState,
    CompactionStep, Consistency, Coord, DEFAULT_GROUP, DatabaseInfo, Duties, Error, Flushed, Followed, Fsck,
    GroupConfig, GroupInfo, GroupNode, HeldTransfer, ImportInfo, ImportState, ImportTask, IndexProgress,
    LeadInfo, LoadSpec, Mark, NewCollection, NewImport, NewIndex, NodeInfo, NodeStatus, Operation, Orders,
    PolicyChange, Reader, Refusal, ReplicaInfo, ReplicaShard, ReplicaSpec, Report, Routes, SteerChange,
    Steering, Tail, Write, Writer, Written,
};

/// The only compaction that was asked for.
pub(super) const COMPACTION: i64 = 4_711;

/// One stored row.
struct Row {
    collection: CollectionId,
    partition: PartitionId,
    key: Key,
    at: Timestamp,
    gone: Timestamp,
    values: Batch,
}

/// All duties in one.
pub struct Twin {
    next: AtomicI64,
    databases: Mutex<Vec<DatabaseInfo>>,
    collections: Mutex<Vec<Arc<CollectionInfo>>>,
    rows: Mutex<Vec<Row>>,
    groups: Mutex<Vec<GroupInfo>>,
    /// Who may do what.
    pub policy: Mutex<Arc<Policy>>,
    /// Imports that were begun.
    pub imports: Mutex<Vec<ImportInfo>>,
    /// How fresh each read was asked to be.
    pub asked: Mutex<Vec<Consistency>>,
    /// What the client of each write has called its call.
    pub named: Mutex<Vec<Option<RequestId>>>,
    /// Channels that were flushed.
    pub flushed: Mutex<Vec<ChannelName>>,
    /// Where each channel ends.
    pub end: Mutex<Position>,
    /// How many of the next questions how far something is loaded hear that it fits nowhere.
    pub full_for: Mutex<usize>,
    /// How many of the next flushes seal nothing, as those of an owner that was replaced.
    pub idle_flushes: Mutex<usize>,
    /// Collections of which a manifest is damaged.
    pub damaged: Mutex<Vec<CollectionId>>,
    /// Whether nobody hears which databases there are, nor who leads.
    pub silent: AtomicBool,
    /// Whether nobody is known to lead.
    pub leaderless: AtomicBool,
    /// Who leads.
    pub lead: Mutex<LeadInfo>,
    /// The nodes that take part.
    pub nodes: Mutex<Vec<NodeStatus>>,
    /// How often all nodes were listed.
    pub listings: Mutex<usize>,
    /// Up to where each channel is sealed.
    sealed: Mutex<Position>,
}

impl Twin {
    /// Nothing but the default database.
    pub fn new() -> Arc<Self> {
        let default = DatabaseInfo {
            id: DatabaseId(1),
            name: "default".to_owned(),
            created: Timestamp::from_unix_ms(1_000),
            properties: Vec::new(),
        };
        Arc::new(Self {
            next: AtomicI64::new(449_000_000_000_000_001),
            databases: Mutex::new(vec![default]),
            collections: Mutex::new(Vec::new()),
            rows: Mutex::new(Vec::new()),
            groups: Mutex::new(vec![default_group()]),
            policy: Mutex::default(),
            imports: Mutex::default(),
            asked: Mutex::default(),
            named: Mutex::default(),
            flushed: Mutex::default(),
            end: Mutex::default(),
            full_for: Mutex::default(),
            idle_flushes: Mutex::default(),
            damaged: Mutex::default(),
            silent: AtomicBool::default(),
            leaderless: AtomicBool::default(),
            lead: Mutex::default(),
            nodes: Mutex::default(),
            listings: Mutex::default(),
            sealed: Mutex::default(),
        })
    }

    /// The parts of a proxy over this twin.
    pub fn parts(self: &Arc<Self>) -> ProxyParts {
        ProxyParts {
            coord: self.clone(),
            writer: self.clone(),
            reader: self.clone(),
            clock: RealClock::new(),
            time: NodeTime::new(RealClock::new()),
            settings: ProxySettings::default(),
            meter: None,
            access: AccessSettings::default(),
            limits: LimitSettings::default(),
            models: Models::new(Arc::new(Nowhere), ModelSettings::default(), RealClock::new()),
            node: NodeInfo {
                id: NodeId(3),
                address: "10.0.0.3:19529".to_owned(),
                host: "pod-3".to_owned(),
                role: "proxy".to_owned(),
                duties: Duties { proxies: true, ..Duties::default() },
                ..NodeInfo::default()
            },
            usage: None,
            store: None,
        }
    }

    fn id(&self) -> i64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn tick(&self) -> Timestamp {
        let id = u64::try_from(self.id()).unwrap();
        Timestamp(crate::base::Clock::unix_ms(&*RealClock::new()) << 18 | id & 0x3_ffff)
    }

    fn find(&self, collection: &CollectionRef) -> Result<Arc<CollectionInfo>, Error> {
        let known = self.collections.lock();
        let found = match collection {
            CollectionRef::Id(id) => known.iter().find(|info| info.id == *id),
            CollectionRef::Name { database, name } => known.iter().find(|info| {
                info.database_name == *database && (info.name == *name || info.aliases.contains(name))
            }),
        };
        let missing = || match collection {
            CollectionRef::Id(id) => {
                Refusal::CollectionNotFound { database: "default".to_owned(), collection: id.to_string() }
            }
            CollectionRef::Name { database, name } => {
                Refusal::CollectionNotFound { database: database.clone(), collection: name.clone() }
            }
        };
        found.cloned().ok_or_else(|| missing().into())
    }

    /// Goes on if no manifest of the collection is damaged; else `call` fails so.
    fn check_whole(&self, id: CollectionId, call: &'static str, kind: Kind) -> Result<(), Error> {
        if !self.damaged.lock().contains(&id) {
            return Ok(());
        }
        let reason = format!("a manifest of collection {id} is damaged");
        Err(Error::Failed { call, kind, reason })
    }

    fn change(&self, id: CollectionId, change: impl FnOnce(&mut CollectionInfo)) {
        let mut known = self.collections.lock();
        let info = known.iter_mut().find(|info| info.id == id).unwrap();
        change(Arc::make_mut(info));
    }

    /// Changes the schema of a collection, and what its rows have: as if every segment had been rewritten.
    fn reshape(
        &self,
        info: &mut CollectionInfo,
        change: impl FnOnce(&Schema) -> Result<Schema, SchemaError>,
    ) {
        let schema = Arc::new(change(&info.schema).unwrap());
        info.indexes.retain(|index| schema.field_by_id(index.field).is_some());
        info.schema = schema;
        for row in self.rows.lock().iter_mut().filter(|row| row.collection == info.id) {
            let columns = info.schema.fields.iter().map(|field| {
                row.values.column(field.id).cloned().unwrap_or_else(|| Column::absent(field, 1))
            });
            row.values = Batch { rows: 1, columns: columns.collect() };
            functions::complete(&info.schema, &mut row.values).unwrap();
        }
    }

    fn hide(&self, collection: CollectionId, partition: Option<PartitionId>, keys: &Keys, at: Timestamp) {
        let keys: std::collections::HashSet<Key> = keys.iter().collect();
        for row in self.rows.lock().iter_mut().filter(|row| row.collection == collection && row.gone > at) {
            if partition.is_none_or(|only| only == row.partition) && keys.contains(&row.key) {
                row.gone = at;
            }
        }
    }

    fn add(&self, collection: CollectionId, partition: PartitionId, rows: &Batch, at: Timestamp) {
        let info = self.find(&CollectionRef::Id(collection)).unwrap();
        let keys = Keys::from_column(&rows.column(info.schema.primary().id).unwrap().data).unwrap();
        let row = |number| Row {
            collection,
            partition,
            key: keys.get(number),
            at,
            gone: Timestamp::MAX,
            values: rows.take(&[number]),
        };
        self.rows.lock().extend((0..rows.rows).map(row));
    }

    /// The rows that a read sees: whole rows, their keys and times.
    fn seen(
        &self,
        collection: CollectionId,
        partitions: Option<&[PartitionId]>,
        filter: Option<&crate::expr::Filter>,
        (expired_before, read_at): (Timestamp, Timestamp),
    ) -> QueryRows {
        let info = self.find(&CollectionRef::Id(collection)).unwrap();
        let mut seen = QueryRows {
            keys: Keys::empty(info.schema.primary().data_type),
            times: Vec::new(),
            rows: Batch::empty(&info.schema),
            count: 0,
        };
        for row in self.rows.lock().iter() {
            let is_in = partitions.is_none_or(|only| only.contains(&row.partition));
            let is_there = row.at >= expired_before
                && row.at <= read_at
                && (row.gone > read_at || row.gone == Timestamp::MAX);
            if row.collection == collection && is_in && is_there && matches(filter, &row.values) {
                seen.keys.push(&row.key);
                seen.times.push(row.at);
                seen.rows.extend(&row.values).unwrap();
                seen.count += 1;
            }
        }
        seen
    }

    fn statistics(&self, plan: &QueryPlan, field: FieldId, terms: &[u32]) -> TermStatistics {
        let seen = self.seen(plan.collection, None, None, (Timestamp::ZERO, plan.read_at));
        let mut all = TermStatistics::none(terms.len());
        for row in 0..seen.rows.rows {
            let Value::Sparse(row) = seen.rows.column(field).unwrap().value(row) else {
                panic!("no counts of words")
            };
            let having = terms.iter().map(|term| u64::from(row.indices.contains(term))).collect();
            let words = row.values.iter().sum::<f32>() as u64;
            all.add(&TermStatistics { documents: 1, words, having });
        }
        all
    }
}

fn matches(filter: Option<&crate::expr::Filter>, row: &Batch) -> bool {
    filter.is_none_or(|filter| filter.evaluate(row).unwrap().contains(0))
}

fn grouped(aggregates: &Aggregates, rows: &Batch) -> QueryRows {
    let mut groups = Groups::new(aggregates);
    let column = |id: FieldId| Operand::Column(rows.column(id).expect("a column"));
    let by: Vec<Operand<'_>> = aggregates.by.iter().map(|group| column(group.field)).collect();
    let of = aggregates.of.iter().map(|aggregate| aggregate.field.map_or(Operand::Rows, column));
    groups.add(0..rows.rows, &by, &of.collect::<Vec<_>>()).unwrap();
    groups.into_rows()
}

fn only(rows: Batch, output: &[crate::base::FieldId]) -> Batch {
    let columns = output.iter().filter_map(|id| rows.column(*id).cloned()).collect();
    Batch { rows: rows.rows, columns }
}

/// What a row of counts of words scores for a query of rarities.
fn bm25(plan: &SearchPlan, query: &Vector, row: &Value) -> f32 {
    let param = |name: &str| plan.params[name].parse::<f32>().unwrap();
    let (k1, b, average) = (param("bm25_k1"), param("bm25_b"), param("bm25_avgdl"));
    let (Vector::Sparse(query), Value::Sparse(row)) = (query, row) else { panic!("no counts of words") };
    let length: f32 = row.values.iter().sum();
    let count = |index: u32| row.as_row().iter().find(|(known, _)| *known == index).map(|(_, count)| count);
    let one = |(index, weight): (u32, f32)| {
        count(index)
            .map(|count| weight * count * (k1 + 1.0) / (count + k1 * (1.0 - b + b * length / average)))
    };
    query.as_row().iter().filter_map(one).sum()
}

fn score_of(metric: Metric, query: &Vector, row: &Value) -> f32 {
    let count = |left: &[u8], right: &[u8], both: fn(u8, u8) -> u8| -> f32 {
        left.iter().zip(right).map(|(left, right)| both(*left, *right).count_ones()).sum::<u32>() as f32
    };
    match (query, row) {
        (Vector::Dense(query), Value::Vector(row)) => score(metric, query, row),
        (Vector::Bits(query), Value::Bits(row)) if metric == Metric::Hamming => {
            count(query, row, |left, right| left ^ right)
        }
        (Vector::Bits(query), Value::Bits(row)) => {
            1.0 - count(query, row, |left, right| left & right)
                / count(query, row, |left, right| left | right)
        }
        (Vector::Sparse(query), Value::Sparse(row)) => {
            let at = |index| row.as_row().iter().find(|(known, _)| *known == index);
            query.as_row().iter().filter_map(|(index, value)| Some(value * at(index)?.1)).sum()
        }
        other => panic!("a query for another field: {other:?}"),
    }
}

fn score(metric: Metric, left: &[f32], right: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    match metric {
        Metric::L2 => left.iter().zip(right).map(|(a, b)| (a - b) * (a - b)).sum(),
        Metric::Ip => dot(left, right),
        _ => dot(left, right) / (dot(left, left) * dot(right, right)).sqrt().max(f32::MIN_POSITIVE),
    }
}

fn in_band(plan: &SearchPlan, score: f32) -> bool {
    plan.range.is_none_or(|band| {
        if plan.metric.larger_is_nearer() {
            score > band.outer && band.inner.is_none_or(|inner| score <= inner)
        } else {
            score < band.outer && band.inner.is_none_or(|inner| score >= inner)
        }
    })
}

/// The default group, with the one node there is.
fn default_group() -> GroupInfo {
    let node = GroupNode { id: NodeId(7), address: "n7".to_owned(), host: "h7".to_owned() };
    let config = GroupConfig { limits: 1_000_000, ..GroupConfig::default() };
    GroupInfo { nodes: vec![node], ..group(DEFAULT_GROUP, config) }
}

fn group(name: &str, config: GroupConfig) -> GroupInfo {
    GroupInfo {
        name: name.to_owned(),
        config,
        nodes: Vec::new(),
        replicas: Default::default(),
        outgoing: Default::default(),
        incoming: Default::default(),
    }
}

#[async_trait]
impl Reader for Twin {
    async fn search(&self, plan: SearchPlan, consistency: Consistency) -> Result<SearchHits, Error> {
        self.asked.lock().push(consistency);
        let times = (plan.expired_before, plan.read_at);
        let seen = self.seen(plan.collection, plan.partitions.as_deref(), plan.filter.as_ref(), times);
        let vectors = &seen.rows.column(plan.field).expect("a vector field").data;
        let (mut counts, mut scores, mut chosen) = (Vec::new(), Vec::new(), Vec::new());
        for query in &plan.queries {
            let score = |row| match plan.metric {
                Metric::Bm25 => bm25(&plan, query, &vectors.value(row)),
                metric => score_of(metric, query, &vectors.value(row)),
            };
            let scored = (0..vectors.len()).map(|row| (row, score(row)));
            let scored = scored.filter(|(_, score)| plan.metric != Metric::Bm25 || *score > 0.0);
            let hits: Vec<(usize, f32)> = scored.filter(|(_, score)| in_band(&plan, *score)).collect();
            counts.push(hits.len());
            chosen.extend(hits.iter().map(|(row, _)| *row));
            scores.extend(hits.iter().map(|(_, score)| *score));
        }
        let rows = only(seen.rows.take(&chosen), &plan.output);
        let all = SearchHits { counts, keys: seen.keys.take(&chosen), scores, rows };
        Ok(merge_search(&plan, vec![all]).unwrap())
    }

    async fn query(&self, plan: QueryPlan, consistency: Consistency) -> Result<QueryRows, Error> {
        self.asked.lock().push(consistency);
        let times = (plan.expired_before, plan.read_at);
        let mut seen = self.seen(plan.collection, plan.partitions.as_deref(), plan.filter.as_ref(), times);
        match &plan.kind {
            QueryKind::Rows => {}
            QueryKind::Count => return Ok(seen),
            QueryKind::Terms { field, terms } => {
                return Ok(self.statistics(&plan, *field, terms).into_rows());
            }
            QueryKind::Aggregates(aggregates) => return Ok(grouped(aggregates, &seen.rows)),
        }
        seen.rows = only(seen.rows, &plan.output);
        Ok(merge_query(&plan, vec![seen]).unwrap())
    }

    async fn pin(&self, _: CollectionId) -> Result<Timestamp, Error> {
        Ok(self.tick())
    }
}

#[async_trait]
impl Writer for Twin {
    async fn write(&self, write: Write) -> Result<Written, Error> {
        let at = self.tick();
        self.named.lock().push(write.client);
        match write.operation {
            Operation::Insert { partition, rows } => self.add(write.collection, partition, &rows, at),
            Operation::Delete { partition, keys } => self.hide(write.collection, partition, &keys, at),
            Operation::Upsert { partition, replaced, rows } => {
                self.hide(write.collection, None, &replaced, at);
                self.add(write.collection, partition, &rows, at);
            }
        }
        Ok(Written { at })
    }

    async fn flush(&self, channel: &ChannelName) -> Result<(), Error> {
        if let Some(id) = channel.collection() {
            // Nobody owns its channels.
            self.check_whole(id, "flush", Kind::Unavailable)?;
        }
        self.flushed.lock().push(channel.clone());
        let mut idle = self.idle_flushes.lock();
        if *idle == 0 {
            *self.sealed.lock() = *self.end.lock();
        }
        *idle = idle.saturating_sub(1);
        Ok(())
    }

    async fn mark(&self, _: &ChannelName) -> Result<Mark, Error> {
        let now = self.tick();
        Ok(Mark { end: *self.end.lock(), at: now, now })
    }

    async fn tail(&self, _: &ChannelName, _: Position) -> Result<Tail, Error> {
        Ok(Box::pin(futures::stream::empty()))
    }

    async fn forget(&self, _: &[ChannelName]) -> Result<(), Error> {
        Ok(())
    }
}

#[async_trait]
impl Coord for Twin {
    async fn allocate_timestamps(&self, _: u32) -> Result<Timestamp, Error> {
        Ok(self.tick())
    }

    async fn allocate_ids(&self, count: u32) -> Result<i64, Error> {
        Ok(self.next.fetch_add(i64::from(count), Ordering::Relaxed))
    }

    async fn create_database(&self, name: &str, properties: Vec<(String, String)>) -> Result<(), Error> {
        let mut known = self.databases.lock();
        if known.iter().any(|database| database.name == name) {
            return Err(Refusal::DatabaseExists { database: name.to_owned() }.into());
        }
        let id = DatabaseId(self.id());
        known.push(DatabaseInfo { id, name: name.to_owned(), created: self.tick(), properties });
        Ok(())
    }

    async fn drop_database(&self, name: &str) -> Result<(), Error> {
        if name == "default" {
            return Err(Refusal::DropDefaultDatabase.into());
        }
        self.databases.lock().retain(|database| database.name != name);
        Ok(())
    }

    async fn alter_database(
        &self,
        name: &str,
        set: Vec<(String, String)>,
        removed: Vec<String>,
    ) -> Result<(), Error> {
        let mut known = self.databases.lock();
        let database = known.iter_mut().find(|database| database.name == name);
        let missing = || Refusal::DatabaseNotFound { database: name.to_owned() };
        let properties = &mut database.ok_or_else(missing)?.properties;
        properties.retain(|(key, _)| !removed.contains(key) && !set.iter().any(|(new, _)| new == key));
        properties.extend(set);
        Ok(())
    }

    async fn databases(&self) -> Result<Vec<DatabaseInfo>, Error> {
        if self.silent.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        Ok(self.databases.lock().clone())
    }

    async fn create_collection(&self, new: NewCollection) -> Result<Arc<CollectionInfo>, Error> {
        let named = CollectionRef::Name { database: new.database.clone(), name: new.name.clone() };
        if let Ok(known) = self.find(&named) {
            let is_same = *known.schema == new.schema && known.properties == new.properties;
            return if is_same {
                Ok(known)
            } else {
                Err(Refusal::CollectionDiffers { collection: new.name }.into())
            };
        }
        let id = CollectionId(self.id());
        let names: Vec<String> = match new.partitions_by_key {
            0 => vec!["_default".to_owned()],
            count => (0..count).map(|number| format!("_default_{number}")).collect(),
        };
        let partition = |name| Partition { id: PartitionId(self.id()), name, created_unix_ms: 1_000 };
        let info = Arc::new(CollectionInfo {
            id,
            name: new.name,
            database: DatabaseId(1),
            database_name: new.database,
            schema: Arc::new(new.schema),
            channels: (0..new.shards).map(|shard| ChannelName::of(id, shard)).collect(),
            partitions: names.into_iter().map(partition).collect(),
            partitions_by_key: new.partitions_by_key,
            aliases: Vec::new(),
            properties: new.properties,
            consistency: new.consistency,
            created: self.tick(),
            updated: self.tick(),
            partitioned: Timestamp::ZERO,
            indexes: Vec::new(),
            load: None,
            recorded: true,
        });
        self.collections.lock().push(info.clone());
        Ok(info)
    }

    async fn drop_collection(&self, database: &str, name: &str) -> Result<(), Error> {
        self.collections.lock().retain(|info| info.database_name != database || info.name != name);
        Ok(())
    }

    async fn alter_collection(
        &self,
        collection: CollectionRef,
        change: CollectionChange,
    ) -> Result<(), Error> {
        let id = self.find(&collection)?.id;
        self.change(id, |info| match change {
            CollectionChange::SetProperties(set) => {
                info.properties.retain(|(key, _)| set.iter().all(|(other, _)| other != key));
                info.properties.extend(set);
            }
            CollectionChange::DeleteProperties(keys) => {
                info.properties.retain(|(key, _)| !keys.contains(key))
            }
            CollectionChange::Rename { database, name } => {
                info.database_name = database;
                info.name = name;
            }
            CollectionChange::AddField { field } => self.reshape(info, |old| add_field(old, field)),
            CollectionChange::AddStruct { of, parts } => {
                self.reshape(info, |old| add_struct(old, of, parts));
            }
            CollectionChange::DropField { field } => self.reshape(info, |old| drop_field(old, field)),
            CollectionChange::AddFunction { function, output } => {
                let field = output.as_ref().map(|output| output.field.clone());
                self.reshape(info, |old| add_function(old, function, field));
                if let Some(output) = output {
                    let field = info.schema.field(&output.field.name).unwrap();
                    let index =
                        IndexDefinition::wanted(IndexId(self.id()), &output.index, field, output.params);
                    info.indexes.push(index);
                }
            }
            CollectionChange::AlterFunction { function } => {
                self.reshape(info, |old| alter_function(old, function));
            }
            CollectionChange::DropFunction { function, output } => {
                self.reshape(info, |old| drop_function(old, &function, output));
            }
            CollectionChange::Truncate => self.rows.lock().retain(|row| row.collection != id),
            CollectionChange::SetFieldParams { .. } => {}
        });
        Ok(())
    }

    async fn collection(&self, collection: CollectionRef) -> Result<Arc<CollectionInfo>, Error> {
        self.find(&collection)
    }

    async fn collections(&self, database: &str) -> Result<Vec<Arc<CollectionInfo>>, Error> {
        Ok(self.collections.lock().iter().filter(|info| info.database_name == database).cloned().collect())
    }

    async fn create_partition(&self, collection: CollectionRef, name: &str) -> Result<(), Error> {
        let info = self.find(&collection)?;
        let partition =
            Partition { id: PartitionId(self.id()), name: name.to_owned(), created_unix_ms: 1_000 };
        if info.partition(name).is_none() {
            self.change(info.id, |info| info.partitions.push(partition));
        }
        Ok(())
    }

    async fn drop_partition(&self, collection: CollectionRef, name: &str) -> Result<(), Error> {
        let info = self.find(&collection)?;
        self.change(info.id, |info| info.partitions.retain(|partition| partition.name != name));
        Ok(())
    }

    async fn alter_alias(&self, database: &str, alias: &str, change: AliasChange) -> Result<(), Error> {
        for info in self.collections(database).await? {
            self.change(info.id, |info| info.aliases.retain(|known| known != alias));
        }
        if let AliasChange::Create { collection } | AliasChange::Alter { collection } = change {
            let named = CollectionRef::Name { database: database.to_owned(), name: collection };
            let info = self.find(&named)?;
            self.change(info.id, |info| info.aliases.push(alias.to_owned()));
        }
        Ok(())
    }

    async fn create_index(&self, index: NewIndex) -> Result<(), Error> {
        let info = self.find(&index.collection)?;
        let field = info.schema.field(&index.field).unwrap();
        let definition = IndexDefinition::wanted(IndexId(self.id()), &index.name, field, index.params);
        self.change(info.id, |info| info.indexes.push(definition));
        Ok(())
    }

    async fn drop_index(&self, collection: CollectionRef, name: &str) -> Result<(), Error> {
        let info = self.find(&collection)?;
        self.change(info.id, |info| info.indexes.retain(|index| index.name != name));
        Ok(())
    }

    async fn alter_index(
        &self,
        _: CollectionRef,
        _: &str,
        _: Vec<(String, String)>,
        _: Vec<String>,
    ) -> Result<(), Error> {
        Ok(())
    }

    async fn indexes(&self, collection: CollectionRef) -> Result<Vec<IndexProgress>, Error> {
        let info = self.find(&collection)?;
        let built = |index: &IndexDefinition| IndexProgress {
            index: index.clone(),
            indexed_rows: 0,
            total_rows: 0,
            failure: None,
        };
        Ok(info.indexes.iter().map(built).collect())
    }

    async fn load(
        &self,
        collection: CollectionRef,
        partitions: Option<Vec<String>>,
        replicas: u32,
        resource_groups: Vec<String>,
    ) -> Result<(), Error> {
        let info = self.find(&collection)?;
        let partitions =
            partitions.map(|names| names.iter().map(|name| info.partition(name).unwrap().id).collect());
        let group = |number: u32| resource_groups.get(number as usize).or(resource_groups.first()).cloned();
        let spec = |number| ReplicaSpec {
            id: i64::from(number) + 1,
            group: group(number).unwrap_or_else(|| DEFAULT_GROUP.to_owned()),
        };
        let replicas = (0..replicas).map(spec).collect();
        self.change(info.id, |info| info.load = Some(LoadSpec { partitions, replicas }));
        Ok(())
    }

    async fn release(&self, collection: CollectionRef, _: Option<Vec<String>>) -> Result<(), Error> {
        let info = self.find(&collection)?;
        self.change(info.id, |info| info.load = None);
        Ok(())
    }

    async fn load_progress(&self, collection: CollectionRef) -> Result<Option<u8>, Error> {
        let info = self.find(&collection)?;
        let percent = info.load.as_ref().map(|_| 100);
        if percent.is_some() {
            self.check_whole(info.id, "load", Kind::Corrupt)?;
        }
        let mut full = self.full_for.lock();
        if *full == 0 {
            return Ok(percent);
        }
        *full -= 1;
        Err(Error::Failed { call: "load", kind: Kind::Exhausted, reason: "no room".to_owned() })
    }

    async fn manifests(&self, collection: CollectionId) -> Result<Vec<Arc<ChannelManifest>>, Error> {
        let info = self.find(&CollectionRef::Id(collection))?;
        self.check_whole(collection, "manifests", Kind::Corrupt)?;
        let segment = |partition: &Partition| {
            let rows = self.rows.lock();
            SegmentManifest {
                id: SegmentId(partition.id.0 + 1_000_000),
                partition: partition.id,
                rows: rows.iter().filter(|row| row.partition == partition.id).count() as u64,
                oldest: Timestamp::ZERO,
                newest: Timestamp::ZERO,
                clean_through: Timestamp::ZERO,
                clustered_by: None,
                instants: Vec::new(),
                stats: None,
                columns: Vec::new(),
                indexes: Vec::new(),
            }
        };
        let mut segments: Vec<SegmentManifest> = info.partitions.iter().map(segment).collect();
        let checkpoint = *self.sealed.lock();
        // The first channel has all of them.
        let manifest = |_: &ChannelName| {
            Arc::new(ChannelManifest {
                checkpoint,
                segments: std::mem::take(&mut segments),
                ..Default::default()
            })
        };
        Ok(info.channels.iter().map(manifest).collect())
    }

    async fn commit_flush(&self, _: Flushed) -> Result<(), Error> {
        Ok(())
    }

    async fn keep_flush(&self, _: &ChannelName, _: i64) -> Result<(), Error> {
        Ok(())
    }

    async fn followed(&self, channels: Vec<ChannelName>) -> Result<Vec<Followed>, Error> {
        Ok(vec![Followed::default(); channels.len()])
    }

    async fn channel_term(&self, _: &ChannelName, _: NodeId) -> Result<u64, Error> {
        Ok(1)
    }

    async fn allocate_node(&self) -> Result<NodeId, Error> {
        Ok(NodeId(self.id()))
    }

    async fn beat(&self, _: Report) -> Result<Orders, Error> {
        Ok(Orders::default())
    }

    async fn routes(&self, collection: CollectionId) -> Result<Arc<Routes>, Error> {
        Err(Refusal::CollectionNotLoaded { collection: collection.to_string() }.into())
    }

    async fn create_group(&self, name: &str, config: GroupConfig) -> Result<(), Error> {
        let mut groups = self.groups.lock();
        match groups.iter().find(|group| group.name == name) {
            Some(known) if known.config == config => {}
            Some(_) => return Err(Refusal::GroupExists { group: name.to_owned() }.into()),
            None => groups.push(group(name, config)),
        }
        Ok(())
    }

    async fn drop_group(&self, name: &str) -> Result<(), Error> {
        if name == DEFAULT_GROUP {
            return Err(
                Refusal::BadGroup { text: "default resource group is not deletable".to_owned() }.into()
            );
        }
        self.groups.lock().retain(|group| group.name != name);
        Ok(())
    }

    async fn update_groups(&self, configs: Vec<(String, GroupConfig)>) -> Result<(), Error> {
        let mut groups = self.groups.lock();
        for (name, config) in configs {
            match groups.iter_mut().find(|group| group.name == name) {
                Some(group) => group.config = config,
                None => return Err(Refusal::ResourceGroupNotFound { group: name }.into()),
            }
        }
        Ok(())
    }

    async fn groups(&self) -> Result<Vec<GroupInfo>, Error> {
        let mut groups = self.groups.lock().clone();
        for info in self.collections.lock().iter() {
            for replica in info.load.iter().flat_map(|load| &load.replicas) {
                if let Some(group) = groups.iter_mut().find(|group| group.name == replica.group) {
                    *group.replicas.entry(info.id).or_default() += 1;
                }
            }
        }
        Ok(groups)
    }

    async fn transfer_nodes(&self, from: &str, _: &str, count: u32) -> Result<(), Error> {
        let groups = self.groups.lock();
        let missing = || Refusal::ResourceGroupNotFound { group: from.to_owned() };
        let current = groups.iter().find(|group| group.name == from).ok_or_else(missing)?.nodes.len();
        let expected = count as usize;
        if current < expected {
            return Err(Refusal::GroupTooSmall { group: from.to_owned(), current, expected }.into());
        }
        Ok(())
    }

    async fn transfer_replicas(&self, _: &str, to: &str, _: CollectionRef, _: u32) -> Result<(), Error> {
        let missing = || Refusal::ResourceGroupNotFound { group: to.to_owned() };
        let groups = self.groups.lock();
        if groups.iter().any(|group| group.name == to) { Ok(()) } else { Err(missing().into()) }
    }

    async fn replicas(&self, collection: CollectionId) -> Result<Vec<ReplicaInfo>, Error> {
        let info = self.find(&CollectionRef::Id(collection))?;
        let segments: Vec<(NodeId, SegmentId)> = self.manifests(collection).await?[0]
            .segments
            .iter()
            .map(|segment| (NodeId(7), segment.id))
            .collect();
        let shard = |channel: &ChannelName| ReplicaShard {
            channel: channel.clone(),
            leader: NodeId(7),
            address: "n7".to_owned(),
            nodes: vec![NodeId(7)],
        };
        let replica = |spec: &ReplicaSpec| ReplicaInfo {
            id: spec.id,
            collection,
            partitions: Vec::new(),
            group: spec.group.clone(),
            nodes: vec![NodeId(7)],
            shards: info.channels.iter().map(shard).collect(),
            segments: segments.clone(),
            complete: true,
        };
        Ok(info.load.iter().flat_map(|load| &load.replicas).map(replica).collect())
    }

    async fn nodes(&self) -> Result<Vec<NodeStatus>, Error> {
        *self.listings.lock() += 1;
        Ok(self.nodes.lock().clone())
    }

    async fn balance(
        &self,
        _: CollectionId,
        from: NodeId,
        _: Vec<NodeId>,
        _: Vec<SegmentId>,
    ) -> Result<(), Error> {
        if from == NodeId(7) {
            return Ok(());
        }
        Err(Refusal::BadParameter { text: format!("node {from} holds nothing") }.into())
    }

    async fn drain(&self, _: NodeId, _: bool) -> Result<(), Error> {
        Ok(())
    }

    async fn steer(&self, _: SteerChange) -> Result<(), Error> {
        Ok(())
    }

    async fn steering(&self) -> Result<Steering, Error> {
        Ok(Steering::default())
    }

    async fn transfer_held(&self, _: HeldTransfer) -> Result<(), Error> {
        Ok(())
    }

    async fn compact(&self, collection: CollectionId, major: bool) -> Result<i64, Error> {
        self.find(&CollectionRef::Id(collection))?;
        if major {
            let text = "collection c has no clustering key".to_owned();
            return Err(Refusal::BadParameter { text }.into());
        }
        Ok(COMPACTION)
    }

    async fn compaction(&self, id: i64) -> Result<CompactionState, Error> {
        let plan = |sources: [i64; 2], targets: &[i64], step| CompactionPlan {
            sources: sources.map(SegmentId).to_vec(),
            targets: targets.iter().copied().map(SegmentId).collect(),
            cluster_by: None,
            expiry: Default::default(),
            step,
        };
        let plans =
            vec![plan([1, 2], &[5], CompactionStep::Completed), plan([3, 4], &[], CompactionStep::Executing)];
        let known = CompactionState { executing: 1, completed: 1, failed: 0, plans };
        Ok(if id == COMPACTION { known } else { CompactionState::default() })
    }

    /// One that has begun, under the number of a compaction.
    async fn import(&self, import: NewImport) -> Result<i64, Error> {
        let info = self.find(&CollectionRef::Id(import.collection))?;
        let task = |files: &Vec<String>| ImportTask { files: files.clone(), ..ImportTask::default() };
        let begun = ImportInfo {
            id: COMPACTION,
            collection: info.id,
            collection_name: info.name.clone(),
            database: info.database_name.clone(),
            partition: import.partition,
            partition_name: "_default".to_owned(),
            may_commit: import.options.commits,
            options: import.options,
            state: ImportState::Pending,
            reason: String::new(),
            tasks: import.files.iter().map(task).collect(),
            created_unix_ms: 1_714_979_289_000,
            ended_unix_ms: 0,
        };
        self.imports.lock().push(begun);
        Ok(COMPACTION)
    }

    async fn imports(&self, id: Option<i64>) -> Result<Vec<ImportInfo>, Error> {
        let known = self.imports.lock();
        Ok(known.iter().filter(|import| id.is_none_or(|id| import.id == id)).cloned().collect())
    }

    async fn end_import(&self, id: i64, commits: bool) -> Result<(), Error> {
        let mut known = self.imports.lock();
        let missing = || Refusal::Import { text: format!("there is no import {id}") };
        let import = known.iter_mut().find(|import| import.id == id).ok_or_else(missing)?;
        import.state = if commits { ImportState::Completed } else { ImportState::Failed };
        Ok(())
    }

    async fn policy(&self) -> Result<Arc<Policy>, Error> {
        Ok(Arc::clone(&self.policy.lock()))
    }

    async fn change_policy(&self, change: PolicyChange) -> Result<(), Error> {
        let mut policy = self.policy.lock();
        let policy = Arc::make_mut(&mut policy);
        match change {
            PolicyChange::CreateUser { user, .. } if policy.has_user(&user) => {
                return Err(Refusal::UserExists { user }.into());
            }
            PolicyChange::CreateUser { user, password, description } => {
                let new = User { password: Some(password), description, ..User::default() };
                policy.users.insert(user, new);
            }
            PolicyChange::SetPassword { user, password, .. } => {
                policy.users.entry(user).or_default().password = Some(password);
            }
            PolicyChange::DescribeUser { user, description } => {
                policy.users.entry(user).or_default().description = description;
            }
            PolicyChange::DropUser { user } => {
                policy.users.remove(&user);
            }
            PolicyChange::CreateRole { role, description } => {
                policy.roles.insert(role, Role { description, ..Role::default() });
            }
            PolicyChange::DescribeRole { role, description } => {
                policy.roles.entry(role).or_default().description = description;
            }
            PolicyChange::DropRole { role, .. } => {
                policy.roles.remove(&role);
            }
            PolicyChange::Bind { user, role } => {
                policy.users.entry(user).or_default().roles.insert(role);
            }
            PolicyChange::Unbind { user, role } => {
                policy.users.entry(user).or_default().roles.remove(&role);
            }
            PolicyChange::Grant { role, grant } => policy.roles.entry(role).or_default().grants.push(grant),
            PolicyChange::Revoke { role, grant } => {
                policy.roles.entry(role).or_default().grants.retain(|known| !known.is_same(&grant));
            }
            PolicyChange::CreateGroup { group } => {
                policy.groups.insert(group, std::collections::BTreeSet::new());
            }
            PolicyChange::DropGroup { group } => {
                policy.groups.remove(&group);
            }
            PolicyChange::AddToGroup { group, privileges } => {
                policy.groups.entry(group).or_default().extend(privileges);
            }
            PolicyChange::RemoveFromGroup { group, privileges } => {
                policy.groups.entry(group).or_default().retain(|one| !privileges.contains(one));
            }
            PolicyChange::Restore(saved) => *policy = *saved,
        }
        Ok(())
    }

    async fn lead(&self) -> Result<LeadInfo, Error> {
        if self.silent.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        if self.leaderless.load(Ordering::Relaxed) {
            let reason = "no node is known to lead".to_owned();
            return Err(Error::Failed { call: "lead", kind: Kind::Unavailable, reason });
        }
        Ok(self.lead.lock().clone())
    }

    async fn resign(&self) -> Result<LeadInfo, Error> {
        Ok(LeadInfo::default())
    }

    async fn fsck(&self) -> Result<Fsck, Error> {
        Ok(Fsck::default())
    }

    async fn finalize(&self, format: u32) -> Result<(u32, u32), Error> {
        Ok((format, format))
    }
}
