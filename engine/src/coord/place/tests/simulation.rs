//! A whole cluster under faults, from a seed: what must never happen does not, and all comes to rest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::cluster::{Dice, Log, Logs, Process};
use super::{Defect, PARTITIONS, group, info, labelled, segment};
use crate::base::{ChannelName, CollectionId, NodeId, PartitionId, Position, SegmentId, Timestamp};
use crate::coord::place::{PlaceSettings, Placer};
use crate::model::ChannelManifest;
use crate::rpc::{
    CollectionInfo, DEFAULT_GROUP, Duties, GroupConfig, LoadSpec, NodeInfo, NodeState, ReplicaRoute,
    ReplicaSpec,
};

const STEP: Duration = Duration::from_millis(500);

fn settings() -> PlaceSettings {
    PlaceSettings {
        lost_after: Duration::from_secs(5),
        settle: Duration::from_secs(5),
        channel_move_pause: Duration::from_secs(10),
        ..PlaceSettings::default()
    }
}

/// A channel's segments as some manifest listed them, up to its checkpoint.
type State = (Position, Vec<(SegmentId, PartitionId)>);

struct Cluster {
    dice: Dice,
    now: Duration,
    placer: Placer,
    defect: Option<Defect>,
    epoch: u64,
    next_id: i64,
    terms: BTreeMap<ChannelName, u64>,
    /// When each channel was last moved from an owner that wanted to keep it, by this leader.
    moves: BTreeMap<ChannelName, Duration>,
    processes: BTreeMap<NodeId, Process>,
    groups: BTreeMap<String, GroupConfig>,
    /// What operators steer by hand: whether balance is on, and who is given nothing more.
    balances: bool,
    suspended: BTreeSet<NodeId>,
    catalog: BTreeMap<CollectionId, Arc<CollectionInfo>>,
    logs: Logs,
    history: BTreeMap<ChannelName, Vec<State>>,
    /// Partitions that were to be loaded, all along.
    selections: BTreeMap<CollectionId, Vec<Option<Vec<PartitionId>>>>,
}

impl Cluster {
    fn new(seed: u64, defect: Option<Defect>) -> Self {
        let now = Duration::from_secs(1000);
        let mut cluster = Self {
            dice: Dice(seed << 32),
            now,
            placer: Placer::new(1, settings(), now, Timestamp::ZERO),
            defect,
            epoch: 1,
            next_id: 100,
            terms: BTreeMap::new(),
            moves: BTreeMap::new(),
            processes: BTreeMap::new(),
            groups: BTreeMap::new(),
            balances: true,
            suspended: BTreeSet::new(),
            catalog: BTreeMap::new(),
            logs: Logs::new(),
            history: BTreeMap::new(),
            selections: BTreeMap::new(),
        };
        cluster.placer.defect = defect;
        for _ in 0..3 + cluster.dice.below(3) {
            cluster.join();
        }
        for _ in 0..1 + cluster.dice.below(3) {
            cluster.create();
        }
        cluster
    }

    fn fresh(&mut self) -> i64 {
        self.next_id += 1;
        self.next_id
    }

    fn join(&mut self) {
        let id = self.fresh();
        let labels: &[(&str, &str)] = match self.dice.below(4) {
            0 => &[("ZONE", "a"), ("disk", "fast")],
            1 => &[("ZONE", "b")],
            2 => &[("RESOURCE_GROUP", "g1")],
            _ => &[],
        };
        let duties = match self.dice.below(4) {
            0 => Duties { proxies: true, ..Duties::default() },
            1 => Duties { queries: true, ..Duties::default() },
            _ => Duties { proxies: true, writes: true, queries: true, builds: true },
        };
        let info = NodeInfo { duties, ..labelled(id, labels) };
        self.processes.insert(info.id, Process::new(info));
    }

    fn create(&mut self) {
        let id = self.fresh();
        let shards = 1 + u32::try_from(self.dice.below(3)).unwrap();
        let load = self.load_spec();
        let info = info(id, shards, load);
        for channel in &info.channels {
            self.logs.insert(channel.clone(), Log::default());
            self.history.insert(channel.clone(), vec![(Position::FIRST, Vec::new())]);
        }
        for channel in info.channels.clone() {
            self.flush(&channel);
        }
        self.put(info);
    }

    fn load_spec(&mut self) -> Option<LoadSpec> {
        if self.dice.percent(20) {
            return None;
        }
        let groups: Vec<_> =
            self.groups.keys().map(String::as_str).chain([DEFAULT_GROUP, DEFAULT_GROUP]).collect();
        let count = 1 + self.dice.below(2);
        let mut replicas = Vec::new();
        for id in 1..=count {
            let group = self.dice.pick(&groups).unwrap_or(DEFAULT_GROUP).to_owned();
            replicas.push(ReplicaSpec { id: i64::try_from(id).unwrap(), group });
        }
        let partitions = self.dice.percent(30).then(|| vec![PARTITIONS[0]]);
        Some(LoadSpec { partitions, replicas })
    }

    fn put(&mut self, info: Arc<CollectionInfo>) {
        let selection = info.load.as_ref().and_then(|load| load.partitions.clone());
        self.selections.entry(info.id).or_default().push(selection);
        let manifests = info.channels.iter().map(|channel| self.logs[channel].manifest.clone()).collect();
        self.catalog.insert(info.id, info.clone());
        self.placer.put_collection(info, manifests, self.now);
    }

    fn set_manifest(&mut self, channel: &ChannelName, manifest: ChannelManifest) {
        let state =
            (manifest.checkpoint, manifest.segments.iter().map(|one| (one.id, one.partition)).collect());
        self.history.entry(channel.clone()).or_default().push(state);
        self.logs.get_mut(channel).unwrap().manifest = Arc::new(manifest);
        let id = channel.collection().unwrap();
        if let Some(info) = self.catalog.get(&id).cloned() {
            self.put(info);
        }
    }

    fn flush(&mut self, channel: &ChannelName) {
        let mut manifest = (*self.logs[channel].manifest).clone();
        for partition in PARTITIONS {
            let id = self.fresh();
            manifest.segments.push(segment(id, partition, 50 + self.dice.below(100)));
        }
        manifest.checkpoint = Position(self.logs[channel].tip);
        self.set_manifest(channel, manifest);
    }

    /// Replaces the first two segments of a partition by one.
    fn compact(&mut self, channel: &ChannelName) {
        let mut manifest = (*self.logs[channel].manifest).clone();
        let first: Vec<_> = manifest
            .segments
            .iter()
            .filter(|one| one.partition == PARTITIONS[0])
            .take(2)
            .map(|one| one.id)
            .collect();
        if first.len() < 2 {
            return;
        }
        manifest.segments.retain(|one| !first.contains(&one.id));
        let id = self.fresh();
        manifest.segments.push(segment(id, PARTITIONS[0], 100 + self.dice.below(100)));
        self.set_manifest(channel, manifest);
    }

    fn index(&mut self, channel: &ChannelName) {
        let mut manifest = (*self.logs[channel].manifest).clone();
        for one in &mut manifest.segments {
            one.columns[0].object.size_bytes += 5;
        }
        self.set_manifest(channel, manifest);
    }

    fn fault(&mut self) {
        let ids: Vec<_> = self.processes.keys().copied().collect();
        let channels: Vec<_> = self.logs.keys().cloned().collect();
        let at = usize::try_from(self.dice.below(channels.len() as u64)).unwrap();
        let channel = channels.get(at).cloned();
        let collections: Vec<_> = self.catalog.keys().copied().collect();
        match self.dice.below(26) {
            0 | 1 if ids.len() < 8 => self.join(),
            2 if ids.len() > 2 => drop(self.dice.pick(&ids).map(|id| self.processes.remove(&id))),
            3 if ids.len() > 2 => self.leave(),
            4 | 5 => self.drain(),
            6..=10 => drop(channel.map(|channel| self.flush(&channel))),
            11 | 12 => drop(channel.map(|channel| self.compact(&channel))),
            13 => drop(channel.map(|channel| self.index(&channel))),
            14 | 15 => self.reload(&collections),
            16 if collections.len() < 5 => self.create(),
            17 if collections.len() > 1 => self.drop_one(&collections),
            18 => self.change_groups(),
            19 if self.dice.percent(50) => self.replace_leader(),
            20 | 21 => {
                let silent = 1 + self.dice.below(14);
                if let Some(process) = self.dice.pick(&ids).and_then(|id| self.processes.get_mut(&id)) {
                    process.silent = silent;
                }
            }
            22 => self.move_by_hand(&collections),
            23 => self.steer(&ids),
            24 => self.start_again(&ids),
            _ => {}
        }
    }

    /// A process ends, and another one is at its address at once.
    fn start_again(&mut self, ids: &[NodeId]) {
        if let Some(former) = self.dice.pick(ids).and_then(|id| self.processes.remove(&id)) {
            let info = NodeInfo { id: NodeId(self.fresh()), ..former.info };
            self.processes.insert(info.id, Process::new(info));
        }
    }

    fn steer(&mut self, ids: &[NodeId]) {
        if self.dice.percent(30) {
            self.balances = !self.balances;
        } else if let Some(id) = self.dice.pick(ids)
            && !self.suspended.remove(&id)
        {
            self.suspended.insert(id);
        }
        self.placer.steer(self.balances, self.suspended.clone());
    }

    fn leave(&mut self) {
        let ids: Vec<_> = self.processes.keys().copied().collect();
        if let Some(mut process) = self.dice.pick(&ids).and_then(|id| self.processes.remove(&id)) {
            process.state = NodeState::Leaving;
            self.placer.report(process.report(), self.now);
        }
    }

    fn drain(&mut self) {
        let ids: Vec<_> = self.processes.keys().copied().collect();
        let by_itself = self.dice.percent(50);
        let Some(process) = self.dice.pick(&ids).and_then(|id| self.processes.get_mut(&id)) else { return };
        if by_itself {
            process.state = NodeState::Draining;
        } else {
            process.drained = !process.drained;
            self.placer.drain(process.info.id, process.drained);
        }
    }

    fn reload(&mut self, collections: &[CollectionId]) {
        let Some(id) = self.dice.pick(collections) else { return };
        let load = self.load_spec();
        let info = CollectionInfo { load, ..(*self.catalog[&id]).clone() };
        self.put(Arc::new(info));
    }

    fn drop_one(&mut self, collections: &[CollectionId]) {
        let Some(id) = self.dice.pick(collections) else { return };
        if let Some(info) = self.catalog.remove(&id) {
            for channel in &info.channels {
                self.logs.remove(channel);
            }
        }
        self.placer.remove_collection(id, self.now);
    }

    fn change_groups(&mut self) {
        if self.dice.percent(70) {
            let requests = u32::try_from(self.dice.below(3)).unwrap();
            let mut config = group(requests, requests + u32::try_from(self.dice.below(2)).unwrap());
            if self.dice.percent(30) {
                config.node_filter.insert("disk".to_owned(), "fast".to_owned());
            }
            let name = if self.dice.percent(50) { "g1" } else { "g2" };
            self.groups.insert(name.to_owned(), config);
        } else {
            self.groups.pop_first();
        }
        self.placer.put_groups(self.groups.clone(), self.now);
    }

    fn replace_leader(&mut self) {
        self.epoch += 1;
        self.moves.clear();
        self.placer = Placer::new(self.epoch, settings(), self.now, Timestamp::ZERO);
        self.placer.defect = self.defect;
        self.placer.put_groups(self.groups.clone(), self.now);
        self.placer.steer(self.balances, self.suspended.clone());
        let catalog: Vec<_> = self.catalog.values().cloned().collect();
        for info in catalog {
            self.put(info);
        }
        // Some leaders find no record of the nodes.
        let recorded = self.dice.percent(70).then(|| self.processes.keys().copied().collect());
        self.placer.expect(recorded, self.now);
    }

    fn move_by_hand(&mut self, collections: &[CollectionId]) {
        let ids: Vec<_> = self.processes.keys().copied().collect();
        if let (Some(collection), Some(from)) = (self.dice.pick(collections), self.dice.pick(&ids)) {
            let _refused = match self.dice.below(3) {
                0 => self.placer.transfer_segments(from, self.dice.pick(&ids), &[], self.now),
                1 => self.placer.transfer_followers(from, self.dice.pick(&ids), &[], self.now),
                _ => self.placer.balance(collection, from, &[], &[], self.now),
            };
        }
    }

    /// One step of everybody. `calm`: nothing is lost, nothing is late.
    fn step(&mut self, calm: bool) {
        self.now += STEP;
        for log in self.logs.values_mut() {
            log.tip += self.dice.below(5);
        }
        self.placer.tick(self.now);
        let ids: Vec<_> = self.processes.keys().copied().collect();
        for id in ids {
            self.beat(id, calm);
            self.placer_grants(calm);
        }
        self.remove_emptied();
    }

    fn beat(&mut self, id: NodeId, calm: bool) {
        let process = self.processes.get_mut(&id).unwrap();
        process.go_on_reading();
        process.work(&self.logs, &mut self.dice, if calm { 100 } else { 40 });
        if self.now.saturating_sub(process.beat) >= settings().lost_after {
            process.trusted = false;
        }
        let idle = process.silent > 0 || self.dice.percent(15);
        process.silent = process.silent.saturating_sub(1);
        if idle && !calm {
            return;
        }
        process.beat = self.now;
        self.placer.report(process.report(), self.now);
        self.placer.drain(id, process.drained);
        let orders = self.placer.orders(id, process.seen, Timestamp::ZERO, Duration::ZERO);
        if let Some(orders) = orders.filter(|_| calm || !self.dice.percent(10)) {
            process.obey(&orders);
        }
        if process.info.duties.proxies {
            for collection in self.catalog.keys() {
                if let Some(routes) = self.placer.routes(*collection).filter(|_| self.dice.percent(50)) {
                    process.table.entry(*collection).or_insert(routes);
                }
                if self.dice.percent(30) {
                    process.read(*collection, 1 + self.dice.below(3));
                }
            }
        }
    }

    fn placer_grants(&mut self, calm: bool) {
        let missing: Vec<_> = self.placer.missing_terms().cloned().collect();
        for channel in missing {
            if calm || self.dice.percent(50) {
                let term = self.terms.entry(channel.clone()).or_default();
                *term += 1;
                self.placer.keep_term(&channel, *term, self.now);
            }
        }
        for (channel, node) in self.placer.wanted_terms() {
            if !calm && self.dice.percent(50) {
                continue;
            }
            let term = self.terms.entry(channel.clone()).or_default();
            *term += 1;
            self.placer.grant(&channel, node, *term, self.now);
        }
    }

    /// Processes that were asked to go do so once they are told that nothing is left.
    fn remove_emptied(&mut self) {
        for status in self.placer.nodes() {
            let id = status.info.id;
            let Some(process) = self.processes.get(&id) else { continue };
            if process.state != NodeState::Draining || status.remaining > 0 {
                continue;
            }
            for proxy in self.processes.values().filter(|proxy| proxy.trusted) {
                for routes in proxy.uses().filter(|one| self.catalog.contains_key(&one.collection)) {
                    let named = routes.replicas.iter().flat_map(|replica| &replica.nodes);
                    assert!(
                        named.into_iter().all(|share| share.place.node != id),
                        "{} uses {id}, which is said to be empty",
                        proxy.id()
                    );
                }
            }
            let mut process = self.processes.remove(&id).unwrap();
            process.state = NodeState::Leaving;
            self.placer.report(process.report(), self.now);
        }
    }

    /// Everything that must hold at any time.
    fn check(&mut self) {
        for id in self.catalog.keys() {
            let Some(routes) = self.placer.routes(*id) else { continue };
            for replica in &routes.replicas {
                self.check_route(*id, replica);
            }
            for process in self.processes.values() {
                if let Some(lacking) = process.lacks(&routes) {
                    panic!("published: {lacking}");
                }
            }
        }
        for proxy in self.processes.values().filter(|proxy| proxy.trusted) {
            // A leader does not know what was dropped before its time; reads of that may fail.
            for routes in proxy.uses().filter(|one| self.placer.collections.contains_key(&one.collection)) {
                for process in self.processes.values() {
                    if let Some(lacking) = process.lacks(routes) {
                        panic!("used by {} after {:?}: {lacking}", proxy.id(), proxy.seen);
                    }
                }
            }
        }
        let mut terms = BTreeMap::new();
        for process in self.processes.values() {
            for own in &process.own {
                let other = terms.insert((own.channel.clone(), own.term), process.id());
                assert!(other.is_none(), "{} has two owners of term {}", own.channel, own.term);
            }
        }
        self.check_moves();
    }

    /// Over its nodes, a route has every row of some manifest once.
    fn check_route(&self, id: CollectionId, replica: &ReplicaRoute) {
        for channel in &self.catalog[&id].channels {
            let shares = replica.nodes.iter().flat_map(|node| &node.share.channels);
            let shares: Vec<_> = shares.filter(|share| share.channel == *channel).collect();
            let mut segments: Vec<_> = shares.iter().flat_map(|share| share.segments.clone()).collect();
            segments.sort_unstable();
            let growing: Vec<_> = shares.iter().filter_map(|share| share.growing_from).collect();
            let matches = |(checkpoint, listed): &State, selection: &Option<Vec<PartitionId>>| {
                let wanted = listed
                    .iter()
                    .filter(|(_, partition)| selection.as_ref().is_none_or(|list| list.contains(partition)));
                let mut wanted: Vec<_> = wanted.map(|(segment, _)| *segment).collect();
                wanted.sort_unstable();
                growing == [*checkpoint] && wanted == segments
            };
            let history = &self.history[channel];
            let found =
                history.iter().any(|state| self.selections[&id].iter().any(|one| matches(state, one)));
            assert!(found, "a route of {channel} is of no manifest: {growing:?} {segments:?} of {history:?}");
        }
    }

    fn check_moves(&mut self) {
        for (channel, to) in self.placer.wanted_terms() {
            let (id, at) = self.placer.channels[&channel];
            let known = &self.placer.collections[&id].channels[at];
            let keeps = known.owner.is_some_and(|node| self.placer.nodes[&node].writes() && node != to);
            let Some(moved) = known.moved.filter(|_| keeps) else { continue };
            if let Some(before) = self.moves.insert(channel.clone(), moved) {
                assert!(
                    before == moved || moved - before >= settings().channel_move_pause,
                    "{channel} moved at {before:?} and {moved:?}"
                );
            }
        }
    }

    fn run(seed: u64, defect: Option<Defect>) {
        let mut cluster = Self::new(seed, defect);
        for _ in 0..80 {
            for _ in 0..cluster.dice.below(3) {
                cluster.fault();
            }
            cluster.step(false);
            cluster.check();
        }
        // What nobody promised to keep is no longer looked at; at least one of each duty is there, and all take something.
        cluster.placer.steer(true, BTreeSet::new());
        for process in cluster.processes.values_mut() {
            process.silent = 0;
        }
        for _ in 0..2 {
            let id = cluster.fresh();
            let info = super::node(id);
            cluster.processes.insert(info.id, Process::new(info));
        }
        for _ in 0..150 {
            cluster.step(true);
            cluster.check();
        }
        cluster.check_rest();
    }

    /// What must hold once all is quiet.
    fn check_rest(&mut self) {
        let number = self.placer.number();
        for _ in 0..10 {
            self.step(true);
        }
        assert_eq!(self.placer.number(), number, "it does not come to rest");
        let nodes = self.placer.nodes();
        let owned: BTreeSet<_> = nodes.iter().flat_map(|node| node.channels.clone()).collect();
        let all: BTreeSet<_> = self.logs.keys().cloned().collect();
        assert_eq!(owned, all, "every channel has an owner");
        let counts: Vec<_> =
            self.placer.nodes.values().filter(|node| node.writes()).map(|node| node.owned.len()).collect();
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        assert!(most - least <= 1, "channels are balanced: {counts:?}");
        for status in nodes.iter().filter(|node| node.state == NodeState::Draining) {
            let last = status.group.is_empty() && status.remaining == 0;
            assert!(
                last || self.is_needed(status.info.id),
                "{} is drained: {}",
                status.info.id,
                status.remaining
            );
        }
        let ids: Vec<_> = self.catalog.keys().copied().collect();
        for id in ids {
            self.check_loaded(id);
        }
        for process in self.processes.values() {
            assert_eq!(process.seen.epoch, self.epoch);
            for (collection, _) in process.has.keys() {
                let held = self.placer.collections[collection].holds.get(&process.id());
                assert!(held.is_some(), "{} still holds {collection}", process.id());
            }
        }
    }

    /// Whether a replica has no other node to go to.
    fn is_needed(&self, node: NodeId) -> bool {
        let replicas = self.placer.collections.values().flat_map(|known| &known.replicas);
        replicas.filter(|replica| super::super::show::used(replica).contains(&node)).all(|replica| {
            self.placer.query_nodes(&replica.group) == 0 || replica.pool.as_ref().is_some_and(Vec::is_empty)
        })
    }

    fn check_loaded(&self, id: CollectionId) {
        let routes = self.placer.routes(id).unwrap();
        let info = &self.catalog[&id];
        let specs = info.load.as_ref().map(|load| load.replicas.clone()).unwrap_or_default();
        let mut in_group: BTreeMap<&str, usize> = BTreeMap::new();
        for spec in &specs {
            *in_group.entry(&spec.group).or_default() += 1;
        }
        for (group, replicas) in in_group {
            let readable = routes.replicas.iter().filter(|replica| replica.group == group);
            let nodes = self.placer.query_nodes(group);
            assert!(
                readable.clone().count() >= replicas.min(nodes),
                "{id} in {group} of {nodes} nodes: {:?}",
                self.placer.collections[&id]
            );
            for replica in readable.filter(|_| nodes >= replicas) {
                for channel in &info.channels {
                    let shares = replica.nodes.iter().flat_map(|node| &node.share.channels);
                    let from: Vec<_> = shares
                        .filter(|share| share.channel == *channel)
                        .filter_map(|one| one.growing_from)
                        .collect();
                    assert_eq!(from, [self.logs[channel].manifest.checkpoint], "{channel} is up to date");
                }
            }
        }
    }
}

#[test]
fn no_fault_breaks_a_route_and_all_comes_to_rest() {
    let first = std::env::var("PLACE_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    let seeds = first.map_or(0..100, |seed| seed..seed + 1);
    let mut bad = Vec::new();
    for seed in seeds {
        let run = std::panic::catch_unwind(|| Cluster::run(seed, None));
        if run.is_err() {
            bad.push(seed);
        }
    }
    assert!(bad.is_empty(), "seeds {bad:?}");
}

fn finds(defect: Defect) -> bool {
    (0..200).any(|seed| std::panic::catch_unwind(|| Cluster::run(seed, Some(defect))).is_err())
}

#[test]
fn letting_go_too_early_would_be_found() {
    assert!(finds(Defect::ReleaseEarly));
}

#[test]
fn publishing_too_early_would_be_found() {
    assert!(finds(Defect::PublishEarly));
}
