//! Two nodes that hold one collection between them, against a naive list of rows: whatever is written, flushed and moved,
//! old and new routes give exactly the rows of the model.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::QuerierSettings;
use super::fixture::{COLLECTION, Node, Owner, all_rows, channel, info};
use crate::base::{PartitionId, Position, Rng as _, SeededRng, SegmentId, TaskSet, Timestamp};
use crate::blob::MemoryBlobs;
use crate::model::{ChannelManifest, ColumnData, DataType, Keys, SegmentManifest, Value};
use crate::plan::{
    Aggregate, AggregateOp, Aggregated, Aggregates, GroupField, QueryKind, QueryPlan, merge_query,
};
use crate::rpc::{ChannelShare, HoldChannel, HoldOrder, Querier as _, ReadAfter, Share};
use crate::segment::fixture::{KEY, NUMBER, Row, batch, schema};
use crate::segment::{Deletes, compact, write_deletes, write_segment};

const CHANNELS: u32 = 2;
const NODES: usize = 2;

/// A row of the model.
#[derive(Clone, Debug)]
struct Known {
    key: i64,
    number: i64,
    at: u64,
    partition: i64,
}

/// What a delete of the model hides: a key, from a time on, in a partition or in all.
type Hides = (i64, u64, Option<i64>);

/// Where the parts of a channel are.
#[derive(Clone, Default)]
struct Placement {
    /// The node of each segment that is read.
    segments: BTreeMap<SegmentId, usize>,
    /// The node of the rows that are not sealed, and from where on.
    growing: (usize, Position),
}

#[derive(Default)]
struct Channel {
    manifest: ChannelManifest,
    rows: Vec<Known>,
    deletes: Vec<Hides>,
    placement: Placement,
}

struct World {
    rng: Arc<SeededRng>,
    owner: Arc<Owner>,
    blobs: Arc<MemoryBlobs>,
    nodes: Vec<Node>,
    /// What each node was ordered to hold, by channel.
    orders: Vec<Vec<HoldChannel>>,
    channels: Vec<Channel>,
    now: u64,
    next: i64,
}

impl World {
    async fn new(seed: u64, tasks: &TaskSet) -> Self {
        let (owner, blobs) = (Arc::new(Owner::default()), MemoryBlobs::new());
        let settings = QuerierSettings { retry: Duration::from_millis(10), ..Default::default() };
        let mut world = Self {
            rng: SeededRng::new(seed),
            nodes: (0..NODES).map(|_| Node::new(&owner, &blobs, tasks, settings.clone())).collect(),
            orders: vec![Vec::new(); NODES],
            channels: (0..CHANNELS).map(|_| Channel::default()).collect(),
            owner,
            blobs,
            now: 0,
            next: 0,
        };
        for number in 0..CHANNELS as usize {
            world.channels[number].placement.growing.0 = number % NODES;
        }
        world.place().await;
        world
    }

    fn below(&self, bound: usize) -> usize {
        self.rng.below(bound as u64) as usize
    }

    /// Some keys of a channel, each once.
    fn keys(&self, number: usize) -> Vec<i64> {
        let first = self.below(10) as i64;
        let count = 1 + self.below(4) as i64;
        (first..first + count).map(|key| key * i64::from(CHANNELS) + number as i64).collect()
    }

    fn write(&mut self) {
        let number = self.below(CHANNELS as usize);
        let keys = self.keys(number);
        let partition = 1 + self.below(2) as i64;
        self.now += 10;
        let (name, at) = (channel(number as u32), self.now);
        let rows: Vec<Row> = keys
            .iter()
            .map(|&key| {
                self.next += 1;
                Row::of(key, self.next)
            })
            .collect();
        let known = |row: &Row| Known { key: row.key, number: row.number, at, partition };
        let kind = self.below(5);
        let some = (self.below(2) == 0).then_some(partition);
        let model = &mut self.channels[number];
        match kind {
            0 | 1 => {
                self.owner.insert(&name, at, partition, &rows);
                model.rows.extend(rows.iter().map(known));
            }
            2 => {
                self.owner.delete(&name, at, some, &keys);
                model.deletes.extend(keys.iter().map(|&key| (key, at, some)));
            }
            _ => {
                self.owner.upsert(&name, at, partition, &rows);
                model.deletes.extend(keys.iter().map(|&key| (key, at, None)));
                model.rows.extend(rows.iter().map(known));
            }
        }
    }

    /// The orders that go with placements: everything that any of them has on a node.
    fn orders_for(&self, placements: &[Vec<Placement>]) -> Vec<Vec<HoldChannel>> {
        (0..NODES)
            .map(|node| {
                let each = placements.iter().zip(&self.channels).enumerate();
                let wanted = each.map(|(number, (some, known))| {
                    let mut segments: Vec<SegmentId> = some
                        .iter()
                        .flat_map(|one| &one.segments)
                        .filter_map(|(&id, &at)| (at == node).then_some(id))
                        .collect();
                    segments.sort_unstable();
                    segments.dedup();
                    let from = some.iter().filter(|one| one.growing.0 == node).map(|one| one.growing.1);
                    HoldChannel {
                        channel: channel(number as u32),
                        manifest: Arc::new(known.manifest.clone()),
                        segments,
                        growing_from: from.min(),
                    }
                });
                wanted.filter(|wanted| !wanted.segments.is_empty() || wanted.growing_from.is_some()).collect()
            })
            .collect()
    }

    fn give(&mut self, orders: Vec<Vec<HoldChannel>>) {
        let old = std::mem::replace(&mut self.orders, orders);
        for (at, older) in old.iter().enumerate() {
            let hold = |channels: &[HoldChannel]| {
                vec![HoldOrder { info: info(CHANNELS, Vec::new()), channels: channels.to_vec() }]
            };
            let (newest, older) = (hold(&self.orders[at]), hold(older));
            let times = 1 + self.below(2);
            let node = &mut self.nodes[at];
            node.order(newest.clone());
            for _ in 0..times {
                // Calls repeat and overtake each other.
                node.obey(node.number, newest.clone());
                node.obey(node.number - 1, older.clone());
            }
        }
    }

    async fn until_ready(&self) {
        for (node, orders) in self.nodes.iter().zip(&self.orders) {
            for wanted in orders {
                node.until_ready(wanted).await;
            }
        }
    }

    /// Orders what the placements of the channels say.
    async fn place(&mut self) {
        let placements: Vec<Vec<Placement>> =
            self.channels.iter().map(|one| vec![one.placement.clone()]).collect();
        self.give(self.orders_for(&placements));
        self.until_ready().await;
    }

    /// Goes over to a new placement of a channel as the coordinator does: make, publish, break.
    async fn move_to(&mut self, number: usize, new: Placement) {
        let old: Vec<Placement> = self.channels.iter().map(|one| one.placement.clone()).collect();
        let mut both: Vec<Vec<Placement>> = old.iter().map(|one| vec![one.clone()]).collect();
        both[number].push(new.clone());
        self.give(self.orders_for(&both));
        if self.below(2) == 0 {
            self.write();
        }
        self.check(&old).await;
        self.until_ready().await;
        self.check(&old).await;
        self.channels[number].placement = new;
        let current: Vec<Placement> = self.channels.iter().map(|one| one.placement.clone()).collect();
        self.write();
        self.check(&current).await;
        self.check(&old).await;
        self.place().await;
        self.check(&current).await;
    }

    async fn flush(&mut self) {
        self.flush_of(self.below(CHANNELS as usize)).await;
    }

    async fn flush_of(&mut self, number: usize) {
        let from = self.channels[number].manifest.checkpoint;
        let name = channel(number as u32);
        let to = self.owner.end(&name);
        let since = self.sealed_until(number);
        let schema = schema(DataType::Int64);
        let mut placement = self.channels[number].placement.clone();
        for partition in [1, 2] {
            let is_new = |row: &&Known| row.partition == partition && row.at > since;
            let rows: Vec<Known> = self.channels[number].rows.iter().filter(is_new).cloned().collect();
            if rows.is_empty() {
                continue;
            }
            self.next += 1;
            let (id, node) = (SegmentId(self.next), self.below(NODES));
            let times: Vec<Timestamp> = rows.iter().map(|row| Timestamp(row.at)).collect();
            let rows: Vec<Row> = rows.iter().map(|row| Row::of(row.key, row.number)).collect();
            let (partition, rows) = (PartitionId(partition), batch(&schema, &rows));
            let written =
                write_segment(self.blobs.as_ref(), COLLECTION, id, partition, &schema, &rows, &times).await;
            self.channels[number].manifest.segments.push(written.unwrap());
            placement.segments.insert(id, node);
        }
        let deletes: Vec<Hides> =
            self.channels[number].deletes.iter().filter(|(_, at, _)| *at > since).copied().collect();
        if !deletes.is_empty() {
            self.next += 1;
            let deletes = Deletes {
                keys: Keys::Int(deletes.iter().map(|one| one.0).collect()),
                times: deletes.iter().map(|one| Timestamp(one.1)).collect(),
                partitions: deletes.iter().map(|one| one.2.map(PartitionId)).collect(),
            };
            let written =
                write_deletes(self.blobs.as_ref(), COLLECTION, &name, self.next, &deletes).await.unwrap();
            self.channels[number].manifest.deletes.push(written);
        }
        assert!(from <= to);
        self.channels[number].manifest.checkpoint = to;
        placement.growing.1 = to;
        if self.below(3) == 0 {
            // Followers have it all; who follows from now on finds only what comes after.
            let current: Vec<Placement> = self.channels.iter().map(|one| one.placement.clone()).collect();
            self.check(&current).await;
            self.owner.truncate(&name, to);
        }
        if self.below(3) == 0 {
            placement.growing.0 = 1 - placement.growing.0;
        }
        self.move_to(number, placement).await;
    }

    /// Makes one segment out of some, as the coordinator commits it, and goes over to that.
    async fn compact(&mut self) {
        let number = self.below(CHANNELS as usize);
        let partition = PartitionId(1 + self.below(2) as i64);
        let planned = self.channels[number].manifest.clone();
        let is_source = |one: &&SegmentManifest| one.partition == partition && self.below(4) > 0;
        let sources: Vec<SegmentManifest> = planned.segments.iter().filter(is_source).cloned().collect();
        if sources.is_empty() {
            return;
        }
        self.next += 1;
        let (id, node) = (SegmentId(self.next), self.below(NODES));
        let schema = Arc::new(schema(DataType::Int64));
        let made = compact(
            self.blobs.as_ref(),
            COLLECTION,
            id,
            &schema,
            &sources,
            &planned.deletes,
            Default::default(),
        );
        let made = made.await.unwrap();
        if self.below(2) == 0 {
            // Deletes and rows that are sealed between the reading and the commit.
            self.write();
            self.flush_of(number).await;
        }
        let mut placement = self.channels[number].placement.clone();
        let manifest = &mut self.channels[number].manifest;
        let newest = manifest.newest();
        manifest.segments.retain(|one| !sources.iter().any(|source| source.id == one.id));
        placement.segments.retain(|id, _| !sources.iter().any(|source| source.id == *id));
        for made in made {
            placement.segments.insert(made.id, node);
            manifest.segments.push(made);
        }
        let segments = &manifest.segments;
        manifest
            .deletes
            .retain(|file| file.newest == newest || segments.iter().any(|segment| segment.needs(file)));
        self.move_to(number, placement).await;
    }

    /// Time of the newest write that is sealed.
    fn sealed_until(&self, number: usize) -> u64 {
        self.channels[number].manifest.newest().0
    }

    async fn shift(&mut self) {
        let number = self.below(CHANNELS as usize);
        let mut placement = self.channels[number].placement.clone();
        if self.below(3) == 0 {
            placement.growing.0 = 1 - placement.growing.0;
        }
        for node in placement.segments.values_mut() {
            if self.rng.below(2) == 0 {
                *node = 1 - *node;
            }
        }
        self.move_to(number, placement).await;
    }

    /// Compares all rows, read by these placements, with the model.
    async fn check(&self, placements: &[Placement]) {
        let partition = [None, Some(1), Some(2)][self.below(3)];
        let mut rows_plan = all_rows(QueryKind::Rows);
        rows_plan.partitions = partition.map(|partition| vec![PartitionId(partition)]);
        let mut count_plan = rows_plan.clone();
        count_plan.kind = QueryKind::Count;
        let sum = Aggregate { op: AggregateOp::Sum, field: Some(NUMBER) };
        let aggregates = Aggregates { by: Vec::new(), of: vec![sum], limit: None };
        let by_number = Aggregates {
            by: vec![GroupField { field: NUMBER, descending: true }],
            of: vec![
                Aggregate { op: AggregateOp::Count, field: None },
                Aggregate { op: AggregateOp::Greatest, field: Some(KEY) },
            ],
            limit: Some(3),
        };
        let mut sums_plan = rows_plan.clone();
        (sums_plan.kind, sums_plan.limit) = (QueryKind::Aggregates(aggregates.clone()), Some(0));
        let groups_plan = QueryPlan { kind: QueryKind::Aggregates(by_number.clone()), ..sums_plan.clone() };
        let (mut rows, mut counts) = (Vec::new(), Vec::new());
        let (mut sums, mut groups) = (Vec::new(), Vec::new());
        for (at, node) in self.nodes.iter().enumerate() {
            let parts = placements.iter().enumerate().map(|(number, one)| ChannelShare {
                channel: channel(number as u32),
                segments: one.segments.iter().filter(|(_, node)| **node == at).map(|(id, _)| *id).collect(),
                growing_from: (one.growing.0 == at).then_some(one.growing.1),
            });
            let parts = parts.filter(|part| !part.segments.is_empty() || part.growing_from.is_some());
            let share = Arc::new(Share { channels: parts.collect(), ..Share::default() });
            let after = match self.below(2) {
                0 => ReadAfter::Everything,
                _ => ReadAfter::Time(Timestamp(self.now)),
            };
            let querier = &node.querier;
            rows.push(querier.query(rows_plan.clone(), Arc::clone(&share), after).await.unwrap());
            counts.push(querier.query(count_plan.clone(), Arc::clone(&share), after).await.unwrap());
            sums.push(querier.query(sums_plan.clone(), Arc::clone(&share), after).await.unwrap());
            groups.push(querier.query(groups_plan.clone(), share, after).await.unwrap());
        }
        // A node without anything has keys of no type.
        rows.retain(|part| part.count > 0);
        let merged = merge_query(&rows_plan, rows).unwrap();
        let found: Vec<(i64, i64)> = match (&merged.keys, merged.rows.columns.get(1).map(|one| &one.data)) {
            (Keys::Int(keys), Some(ColumnData::Int64(numbers))) => {
                keys.iter().copied().zip(numbers.iter().copied()).collect()
            }
            _ => Vec::new(),
        };
        let visible: Vec<&Known> = self.channels.iter().flat_map(|one| visible(one, partition)).collect();
        let newest: BTreeMap<i64, i64> = visible.iter().map(|row| (row.key, row.number)).collect();
        assert_eq!(found, newest.into_iter().collect::<Vec<_>>());
        assert_eq!(counts.iter().map(|part| part.count).sum::<u64>(), visible.len() as u64);
        let merged = merge_query(&sums_plan, sums).unwrap();
        let sum = (!visible.is_empty()).then(|| visible.iter().map(|row| row.number).sum::<i64>());
        assert_eq!(aggregates.finish(&merged).unwrap().unwrap().of, [[sum.map_or(Value::Null, Value::Int)]]);
        let mut wanted: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
        for row in &visible {
            let (count, greatest) = wanted.entry(row.number).or_insert((0, row.key));
            (*count, *greatest) = (*count + 1, (*greatest).max(row.key));
        }
        let wanted: Vec<(i64, (i64, i64))> = wanted.into_iter().rev().take(3).collect();
        let merged = merge_query(&groups_plan, groups).unwrap();
        let found = by_number.finish(&merged).unwrap().unwrap();
        assert_eq!(found.groups, wanted.len());
        if !wanted.is_empty() {
            let column = |of: fn(&(i64, (i64, i64))) -> i64| wanted.iter().map(of).map(Value::Int).collect();
            let of = vec![column(|group| group.1.0), column(|group| group.1.1)];
            assert_eq!(found, Aggregated { groups: wanted.len(), by: vec![column(|group| group.0)], of });
        }
    }
}

/// The rows of the model that nothing hides, oldest first.
fn visible(channel: &Channel, partition: Option<i64>) -> Vec<&Known> {
    let is_hidden = |row: &Known| {
        channel.deletes.iter().any(|(key, at, some)| {
            *key == row.key && row.at < *at && some.is_none_or(|some| some == row.partition)
        })
    };
    let is_wanted = |row: &&Known| partition.is_none_or(|some| some == row.partition) && !is_hidden(row);
    channel.rows.iter().filter(is_wanted).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_together_have_exactly_the_rows_of_the_model() {
    for seed in 0..12 {
        println!("seed {seed}");
        let tasks = TaskSet::new();
        let mut world = World::new(seed, &tasks).await;
        for _ in 0..40 {
            match world.below(11) {
                0 => world.flush().await,
                1 => world.shift().await,
                2 => world.compact().await,
                _ => world.write(),
            }
        }
        let placements: Vec<Placement> = world.channels.iter().map(|one| one.placement.clone()).collect();
        world.check(&placements).await;
        tasks.stop();
        tasks.join().await.unwrap();
    }
}
