//! A collection as placement keeps it, and how the catalog's changes get in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::Placer;
use super::hold::Hold;
use super::split::{Piece, Split};
use crate::base::{ChannelName, CollectionId, NodeId, PartitionId};
use crate::model::{ChannelManifest, SegmentManifest, memory};
use crate::rpc::{CollectionInfo, Extent, OrderNumber, Routes, covers};

/// A collection.
#[derive(Debug)]
pub(super) struct Collection {
    pub info: Arc<CollectionInfo>,
    /// Dropped; kept only until no proxy uses its routes.
    pub removed: bool,
    pub channels: Vec<Channel>,
    pub replicas: Vec<Replica>,
    pub retired: Vec<Retired>,
    /// What each node is ordered to hold of it.
    pub holds: BTreeMap<NodeId, Vec<Hold>>,
    pub routes: Arc<Routes>,
    /// The number by which proxies hear what has become readable last, if it was not so from the start.
    pub readable_since: Option<OrderNumber>,
}

/// A channel and its owner.
#[derive(Debug)]
pub(super) struct Channel {
    pub name: ChannelName,
    pub manifest: Arc<ChannelManifest>,
    pub owner: Option<NodeId>,
    /// The greatest order to own it that is known; the owner's, if there is one.
    pub term: u64,
    /// The greatest term of its log that was given out, by any leader.
    pub given: u64,
    /// A greater term of its log that is durable and was given to nobody.
    pub spare: Option<u64>,
    /// Who is to own it once nobody else does.
    pub wanted: Option<NodeId>,
    /// The owner that was told to let go, by which order, while another one is wanted: only once there is a term for that one.
    pub closing: Option<(NodeId, u64)>,
    /// When it was last moved for balance.
    pub moved: Option<Duration>,
}

impl Channel {
    /// The node it counts for.
    pub fn counts_for(&self) -> Option<NodeId> {
        self.wanted.or(self.owner)
    }
}

/// A replica.
#[derive(Debug)]
pub(super) struct Replica {
    pub id: i64,
    pub group: String,
    /// Its part of the group's nodes, ascending; `None` for all of them.
    pub pool: Option<Vec<NodeId>>,
    /// By channel, in the collection's order.
    pub follows: Vec<Follow>,
}

impl Replica {
    /// Whether it is as it is wanted to be.
    pub fn is_quiet(&self) -> bool {
        !self.follows.is_empty() && self.follows.iter().all(Follow::is_quiet)
    }

    /// Whether every row can be read of some partitions at least.
    pub fn is_complete(&self) -> bool {
        !self.follows.is_empty() && self.follows.iter().all(|follow| follow.live.is_some())
    }

    /// Of which partitions every row can be read; `None` for all.
    pub fn partitions(&self) -> Option<Vec<PartitionId>> {
        let lists = self.follows.iter().filter_map(|follow| follow.live.as_ref()?.partitions.clone());
        lists.reduce(|one, other| {
            // Mostly they are the same, and there may be a thousand.
            if one == other {
                return one;
            }
            one.into_iter().filter(|partition| other.contains(partition)).collect()
        })
    }

    /// Whether every row of `wanted` can be read; `None` for all partitions.
    pub fn has_all_of(&self, wanted: Option<&[PartitionId]>) -> bool {
        self.is_complete() && covers(self.partitions().as_deref(), wanted)
    }
}

/// One channel of a replica: how it is read now, and how it is to be.
#[derive(Debug, Default)]
pub(super) struct Follow {
    pub target: Arc<Split>,
    /// Nodes that are not ready for the target.
    pub waiting: BTreeSet<NodeId>,
    /// What the published route says; the target itself when there is nothing to do.
    pub live: Option<Arc<Split>>,
    /// When its follower was last moved for balance.
    pub moved: Option<Duration>,
}

impl Follow {
    /// Whether it is read as it is to be.
    pub fn is_quiet(&self) -> bool {
        self.live.as_ref().is_some_and(|live| Arc::ptr_eq(live, &self.target))
    }
}

/// What a former route needs while some proxy may use it.
#[derive(Clone, Debug)]
pub(super) struct Retired {
    /// Proxies that have seen it do not use the route.
    pub number: u64,
    /// The channel's number in its collection.
    pub channel: usize,
    pub split: Arc<Split>,
}

impl Collection {
    /// The partitions that are to be loaded; `None` for all.
    pub fn wanted_partitions(&self) -> Option<&[PartitionId]> {
        self.info.loaded_partitions()
    }

    /// What a read sees that names no partition: what is wanted if a copy has it or none has any of it, else as much of it as
    /// one copy has.
    pub fn readable(&self) -> Extent {
        let wanted = self.wanted_partitions();
        let there = self.replicas.iter().filter(|replica| replica.is_complete()).map(Replica::partitions);
        let mut most: Vec<PartitionId> = Vec::new();
        for there in there {
            let Some(mut there) = there.filter(|there| !covers(Some(there), wanted)) else {
                return Extent::of(wanted);
            };
            there.retain(|partition| wanted.is_none_or(|wanted| wanted.contains(partition)));
            if there.len() > most.len() {
                most = there;
            }
        }
        if most.is_empty() { Extent::of(wanted) } else { Extent::These(most) }
    }

    /// The segments of a channel that are to be loaded, ascending by id, with what each takes, of 1 byte on, where query nodes put
    /// vectors on their disks or not.
    pub fn wanted_pieces(&self, channel: usize, maps_vectors: bool) -> Vec<Piece> {
        let partitions = self.wanted_partitions();
        let wanted =
            |segment: &&SegmentManifest| partitions.is_none_or(|list| list.contains(&segment.partition));
        let segments = self.channels[channel].manifest.segments.iter().filter(wanted);
        let CollectionInfo { schema, indexes, .. } = &*self.info;
        let on_disk = if maps_vectors { memory::fields_on_disk(schema, indexes) } else { Vec::new() };
        let needs = memory::Needs::new(schema, indexes, &on_disk);
        let piece =
            |segment: &SegmentManifest| Piece { id: segment.id, bytes: needs.segment_bytes(segment).max(1) };
        let mut pieces: Vec<_> = segments.map(piece).collect();
        pieces.sort_unstable();
        pieces
    }
}

impl Placer {
    /// Takes over a collection's newest state.
    pub(super) fn take_collection(
        &mut self,
        info: Arc<CollectionInfo>,
        mut manifests: Vec<Arc<ChannelManifest>>,
    ) {
        let id = info.id;
        manifests.resize_with(info.channels.len(), Arc::default);
        match self.collections.remove(&id) {
            Some(mut collection) if !collection.removed => {
                self.count_wanted(&collection, false);
                let wanted_before = collection.info.load.is_some();
                let same_info = *collection.info == *info;
                let mut touched = BTreeSet::new();
                for (at, manifest) in manifests.into_iter().enumerate() {
                    if collection.channels.get(at).is_some_and(|channel| channel.manifest != manifest) {
                        collection.channels[at].manifest = manifest;
                        touched.insert(at);
                    }
                }
                collection.info = info;
                self.touch_holders(&collection, |hold| !same_info || touched.contains(&hold.channel));
                self.count_wanted(&collection, true);
                let wanted_changed = wanted_before != collection.info.load.is_some();
                self.collections.insert(id, collection);
                if wanted_changed {
                    self.announce(id);
                }
            }
            _ => self.add_collection(info, manifests),
        }
        self.dirty.insert(id);
    }

    fn add_collection(&mut self, info: Arc<CollectionInfo>, manifests: Vec<Arc<ChannelManifest>>) {
        let id = info.id;
        let named = info.channels.iter().zip(manifests);
        let channels: Vec<_> = named
            .map(|(name, manifest)| Channel {
                name: name.clone(),
                manifest,
                owner: None,
                term: 0,
                given: 0,
                spare: None,
                wanted: None,
                closing: None,
                moved: None,
            })
            .collect();
        for (at, channel) in channels.iter().enumerate() {
            self.channels.insert(channel.name.clone(), (id, at));
            self.unowned.insert((id, at));
        }
        let routes = Routes {
            collection: id,
            version: 0,
            owners: Vec::new(),
            replicas: Vec::new(),
            wanted: false,
            partitions: None,
            readable: Extent::Unsaid,
            listening: false,
            harm: None,
        };
        let collection = Collection {
            info,
            removed: false,
            channels,
            replicas: Vec::new(),
            retired: Vec::new(),
            holds: BTreeMap::new(),
            routes: Arc::new(routes),
            readable_since: None,
        };
        self.count_wanted(&collection, true);
        self.collections.insert(id, collection);
        self.announce(id);
    }

    /// Takes over that a collection is gone; what is held of it stays until no proxy uses its routes.
    pub(super) fn drop_collection(&mut self, id: CollectionId) {
        let Some(collection) = self.collections.get_mut(&id).filter(|collection| !collection.removed) else {
            return;
        };
        collection.removed = true;
        for at in 0..collection.channels.len() {
            self.disown(id, at);
            self.unowned.remove(&(id, at));
        }
        if let Some(collection) = self.collections.remove(&id) {
            for channel in &collection.channels {
                self.channels.remove(&channel.name);
            }
            self.count_wanted(&collection, false);
            self.collections.insert(id, collection);
        }
        self.dirty.insert(id);
    }

    /// Takes over whether all query nodes put vectors on their disks: pieces have other sizes if that changes.
    pub(super) fn note_maps(&mut self) {
        let mut querying = self.nodes.values().filter(|node| node.info.duties.queries).peekable();
        let maps_vectors = querying.peek().is_some() && querying.all(|node| node.info.maps_vectors);
        if maps_vectors == self.maps_vectors {
            return;
        }
        let collections = std::mem::take(&mut self.collections);
        let there = || collections.values().filter(|collection| !collection.removed);
        there().for_each(|collection| self.count_wanted(collection, false));
        self.maps_vectors = maps_vectors;
        there().for_each(|collection| self.count_wanted(collection, true));
        self.dirty.extend(there().map(|collection| collection.info.id));
        self.collections = collections;
    }

    /// Counts what the collection's replicas take in their groups, or takes that back.
    fn count_wanted(&mut self, collection: &Collection, add: bool) {
        let Some(load) = &collection.info.load else { return };
        let pieces =
            (0..collection.channels.len()).flat_map(|at| collection.wanted_pieces(at, self.maps_vectors));
        let bytes: u64 = pieces.map(|piece| piece.bytes).sum();
        for replica in &load.replicas {
            let group = self.groups.entry(replica.group.clone()).or_default();
            group.wanted = if add { group.wanted + bytes } else { group.wanted.saturating_sub(bytes) };
        }
    }
}
