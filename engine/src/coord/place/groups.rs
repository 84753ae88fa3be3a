//! Which resource group a query node is in.

use std::collections::{BTreeMap, BTreeSet};

use super::Placer;
use crate::base::NodeId;
use crate::rpc::{DEFAULT_GROUP, GroupConfig};

/// The label that names a node's resource group. Source: the design, section 8.
const LABEL: &str = "RESOURCE_GROUP";

/// A resource group as planning needs it.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// Its nodes, ascending.
    pub nodes: Vec<NodeId>,
    /// The numbers of their seats, in the same order.
    pub slots: Vec<usize>,
    /// What all replicas in it take together. Unit: bytes of memory.
    pub wanted: u64,
}

/// A node that can be in a group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<'a> {
    pub id: NodeId,
    pub labels: &'a BTreeMap<String, String>,
    /// The group it is in; empty for none yet.
    pub current: &'a str,
}

/// Who is in which group: requests are met first, then limits are kept; nobody moves without need.
///
/// A node with the label stays in the group it names. A group with a filter takes only matching nodes, and takes them up
/// to its limit; another one takes what it requests and leaves the rest in the default group.
pub(super) fn members(
    configs: &BTreeMap<String, GroupConfig>,
    nodes: &[Candidate<'_>],
) -> BTreeMap<NodeId, String> {
    let mut table = Table::new(configs, nodes);
    table.shed_surplus();
    table.meet_requests();
    table.follow_filters();
    table.place
}

struct Table<'a> {
    configs: &'a BTreeMap<String, GroupConfig>,
    labels: BTreeMap<NodeId, &'a BTreeMap<String, String>>,
    place: BTreeMap<NodeId, String>,
    pinned: BTreeSet<NodeId>,
    counts: BTreeMap<String, u32>,
}

impl<'a> Table<'a> {
    fn new(configs: &'a BTreeMap<String, GroupConfig>, nodes: &[Candidate<'a>]) -> Self {
        let labels = nodes.iter().map(|node| (node.id, node.labels)).collect();
        let mut table = Self {
            configs,
            labels,
            place: BTreeMap::new(),
            pinned: BTreeSet::new(),
            counts: BTreeMap::new(),
        };
        for node in nodes {
            let label = node.labels.get(LABEL).filter(|group| configs.contains_key(*group));
            if label.is_some() {
                table.pinned.insert(node.id);
            }
            let stays = || table.configs.contains_key(node.current) && table.fits(node.current, node.id);
            let group = match label {
                Some(group) => group.as_str(),
                None if stays() => node.current,
                None => DEFAULT_GROUP,
            };
            table.put(node.id, group);
        }
        table
    }

    fn put(&mut self, node: NodeId, group: &str) {
        if let Some(before) = self.place.insert(node, group.to_owned()) {
            *self.counts.entry(before).or_default() -= 1;
        }
        *self.counts.entry(group.to_owned()).or_default() += 1;
    }

    fn count(&self, group: &str) -> u32 {
        self.counts.get(group).copied().unwrap_or(0)
    }

    fn requests(&self, group: &str) -> u32 {
        self.configs.get(group).map_or(0, |config| config.requests)
    }

    fn shortage(&self, group: &str) -> u32 {
        self.requests(group).saturating_sub(self.count(group))
    }

    /// Whether the group's filter lets the node in.
    fn fits(&self, group: &str, node: NodeId) -> bool {
        let Some(config) = self.configs.get(group) else { return true };
        let labels = self.labels.get(&node);
        config
            .node_filter
            .iter()
            .all(|(key, value)| labels.is_some_and(|labels| labels.get(key) == Some(value)))
    }

    /// Nodes of a group that may leave it, the newest first.
    fn movable(&self, group: &str) -> Vec<NodeId> {
        let inside = self.place.iter().filter(|(id, at)| *at == group && !self.pinned.contains(id));
        inside.map(|(id, _)| *id).rev().collect()
    }

    /// Moves nodes out of groups that have more than they may.
    fn shed_surplus(&mut self) {
        for (name, config) in self.configs {
            let surplus = self.count(name).saturating_sub(config.limits) as usize;
            for node in self.movable(name).into_iter().take(surplus) {
                let has_room = |group: &&String| {
                    self.configs.get(*group).is_some_and(|config| self.count(group) < config.limits)
                };
                let named = config.transfer_to.iter().filter(has_room).find(|group| self.fits(group, node));
                let target = named
                    .cloned()
                    .or_else(|| self.neediest(node))
                    .unwrap_or_else(|| DEFAULT_GROUP.to_owned());
                self.put(node, &target);
            }
        }
    }

    /// The group that lacks most nodes of those that would take this one.
    fn neediest(&self, node: NodeId) -> Option<String> {
        let lacking = self.configs.keys().filter(|group| self.shortage(group) > 0 && self.fits(group, node));
        lacking.rev().max_by_key(|group| self.shortage(group)).cloned()
    }

    /// Moves nodes to groups that have less than they request, the neediest first.
    fn meet_requests(&mut self) {
        let mut hopeless = BTreeSet::new();
        loop {
            let lacking =
                self.configs.keys().filter(|group| self.shortage(group) > 0 && !hopeless.contains(*group));
            let Some(group) = lacking.rev().max_by_key(|group| self.shortage(group)).cloned() else { return };
            match self.spare_for(&group) {
                Some(node) => self.put(node, &group),
                None => {
                    hopeless.insert(group);
                }
            }
        }
    }

    /// A node that a group may have: from the groups it names, then from the default one, then from any with a surplus.
    fn spare_for(&self, group: &str) -> Option<NodeId> {
        let named = self.configs.get(group).map(|config| config.transfer_from.as_slice()).unwrap_or_default();
        let others = std::iter::once(DEFAULT_GROUP).chain(self.configs.keys().map(String::as_str));
        let sources = named.iter().map(String::as_str).chain(others);
        sources.filter(|source| *source != group && self.count(source) > self.requests(source)).find_map(
            |source| {
                let fitting = self.movable(source).into_iter().filter(|node| self.fits(group, *node));
                fitting.min_by_key(|node| (self.filters_matched(*node, group), std::cmp::Reverse(*node)))
            },
        )
    }

    /// How many other groups wait for just such a node.
    fn filters_matched(&self, node: NodeId, except: &str) -> usize {
        let filtered = self.configs.iter().filter(|(_, config)| !config.node_filter.is_empty());
        filtered.filter(|(name, _)| *name != except && self.fits(name, node)).count()
    }

    /// Moves spare nodes to groups whose filter names them, as long as there is room.
    fn follow_filters(&mut self) {
        for node in self.movable(DEFAULT_GROUP).into_iter().rev() {
            let filtered = self.configs.iter().filter(|(_, config)| !config.node_filter.is_empty());
            let open =
                filtered.filter(|(name, config)| self.count(name) < config.limits && self.fits(name, node));
            let emptiest = open.min_by_key(|(name, _)| self.count(name)).map(|(name, _)| name.clone());
            if let Some(group) = emptiest {
                self.put(node, &group);
            }
        }
    }
}

impl Placer {
    /// Puts every query node into its group again; collections that this touches are planned anew.
    pub(super) fn regroup(&mut self) {
        let eligible = self.nodes.values().filter(|node| node.serves() && node.info.duties.queries);
        let candidates: Vec<_> = eligible
            .map(|node| Candidate { id: node.info.id, labels: &node.info.labels, current: &node.group })
            .collect();
        let places = members(&self.configs, &candidates);
        let mut changed = BTreeSet::new();
        let ids: Vec<_> = self.nodes.keys().copied().collect();
        for id in ids {
            let group = places.get(&id).cloned().unwrap_or_default();
            let number = self.number + 1;
            let Some(node) = self.nodes.get_mut(&id).filter(|node| node.group != group) else { continue };
            self.number = number;
            node.log.group = number;
            self.dirty.extend(node.log.last.keys().copied());
            changed.insert(std::mem::replace(&mut node.group, group.clone()));
            changed.insert(group);
        }
        let deserted = self.deserted();
        self.rebuild_groups(&places);
        let revived: BTreeSet<_> = deserted.difference(&self.deserted()).cloned().collect();
        self.replan_groups(&changed);
        // What was left on other nodes while the group had none comes home.
        for (id, collection) in self.collections.iter().filter(|_| !revived.is_empty()) {
            if collection.replicas.iter().any(|replica| revived.contains(&replica.group)) {
                self.dirty.insert(*id);
            }
        }
    }

    /// Groups without nodes.
    fn deserted(&self) -> BTreeSet<String> {
        let empty = self.groups.iter().filter(|(_, group)| group.nodes.is_empty());
        empty.map(|(name, _)| name.clone()).collect()
    }

    fn rebuild_groups(&mut self, places: &BTreeMap<NodeId, String>) {
        let wanted: BTreeMap<_, _> =
            self.groups.iter().map(|(name, group)| (name.clone(), group.wanted)).collect();
        self.groups.clear();
        let names = self.configs.keys().map(String::as_str).chain([DEFAULT_GROUP]);
        for name in names.chain(wanted.keys().map(String::as_str)) {
            let wanted = wanted.get(name).copied().unwrap_or(0);
            self.groups.entry(name.to_owned()).or_insert(Group { wanted, ..Group::default() });
        }
        for (node, name) in places {
            if let (Some(group), Some(slot)) = (self.groups.get_mut(name), self.seats.slot(*node)) {
                group.nodes.push(*node);
                group.slots.push(slot);
            }
        }
    }

    /// Collections that gain from other nodes in their groups: waiting ones at once, divided ones bit by bit.
    pub(super) fn replan_groups(&mut self, changed: &BTreeSet<String>) {
        for (id, collection) in &self.collections {
            let mut touched = collection.replicas.iter().filter(|replica| changed.contains(&replica.group));
            if touched.clone().any(|replica| !replica.is_quiet()) {
                self.dirty.insert(*id);
            } else if touched.any(|replica| replica.pool.is_some()) {
                self.later.insert(*id);
            }
        }
    }
}
