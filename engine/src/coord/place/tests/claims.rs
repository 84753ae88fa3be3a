//! What placement promises, one claim a test.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::cluster::{Dice, Log, Logs, Process};
use super::{PARTITIONS, group, info, labelled, loaded, loaded_in, manifest, node, segment};
use crate::base::{ChannelName, CollectionId, NodeId, Position, SegmentId, Timestamp};
use crate::coord::place::groups::{Candidate, members};
use crate::coord::place::pools::{Member, divide};
use crate::coord::place::{Hindrance, PlaceSettings, Placer};
use crate::model::{ChannelManifest, Schema};
use crate::rpc::{
    ChannelShare, CollectionInfo, DEFAULT_GROUP, Duties, Extent, GroupConfig, LoadSpec, NodeInfo, NodeShare,
    NodeState, OpenChannel, OrderNumber, Place, ReplicaRoute, Routes, Share, Wants,
};

const SECOND: Duration = Duration::from_secs(1);

/// A coordinator with nodes that do at once what they are told.
struct World {
    placer: Placer,
    now: Duration,
    nodes: BTreeMap<NodeId, Process>,
    logs: Logs,
    term: u64,
    /// Whether terms can be made durable.
    commits: bool,
    /// The term that was there for whoever came last to own a channel.
    opened: BTreeMap<ChannelName, Option<u64>>,
    /// Nodes that load nothing.
    stuck: BTreeSet<NodeId>,
}

impl World {
    fn new(infos: Vec<NodeInfo>) -> Self {
        let settings = PlaceSettings { settle: Duration::ZERO, ..PlaceSettings::default() };
        let mut world = Self {
            placer: Placer::new(1, settings, Duration::ZERO, Timestamp::ZERO),
            now: Duration::ZERO,
            nodes: infos.into_iter().map(|info| (info.id, Process::new(info))).collect(),
            logs: Logs::new(),
            term: 0,
            commits: true,
            opened: BTreeMap::new(),
            stuck: BTreeSet::new(),
        };
        world.beat();
        world
    }

    fn of(count: i64) -> Self {
        Self::new((1..=count).map(node).collect())
    }

    fn put(&mut self, info: &Arc<CollectionInfo>, manifests: &[Arc<ChannelManifest>]) {
        for (channel, manifest) in info.channels.iter().zip(manifests) {
            let tip = manifest.checkpoint.0 + 5;
            self.logs.insert(channel.clone(), Log { manifest: manifest.clone(), tip });
        }
        self.placer.put_collection(info.clone(), manifests.to_vec(), self.now);
    }

    fn beat(&mut self) {
        for process in self.nodes.values_mut() {
            if !self.stuck.contains(&process.id()) {
                process.work(&self.logs, &mut Dice(0), 100);
            }
            self.placer.report(process.report(), self.now);
            if let Some(orders) =
                self.placer.orders(process.id(), process.seen, Timestamp::ZERO, Duration::ZERO)
            {
                process.obey(&orders);
            }
        }
        if self.commits {
            let missing: Vec<_> = self.placer.missing_terms().cloned().collect();
            for channel in missing {
                self.term += 1;
                self.placer.keep_term(&channel, self.term, self.now);
            }
        }
        for (channel, node) in self.placer.wanted_terms() {
            self.term += 1;
            if self.placer.grant(&channel, node, self.term, self.now) {
                let kept = self.placer.take_term(&channel, node);
                self.opened.insert(channel, kept);
            }
        }
    }

    fn run(&mut self, seconds: u32) {
        for _ in 0..seconds {
            self.now += SECOND;
            self.beat();
            self.placer.tick(self.now);
        }
    }

    fn counts(&self) -> Vec<usize> {
        self.placer.nodes().iter().map(|node| node.channels.len()).collect()
    }

    fn segments(&self) -> Vec<(NodeId, SegmentId)> {
        let ids = self.placer.collections.keys().copied();
        let mut all: Vec<_> =
            ids.flat_map(|id| self.placer.replicas(id)).flat_map(|replica| replica.segments).collect();
        all.sort_unstable();
        all
    }
}

fn place(id: i64) -> Place {
    Place { node: NodeId(id), address: format!("node-{id}:1").into() }
}

#[test]
fn who_asks_for_a_copy_where_none_is_complete_is_told_what_is_damaged() {
    let mut world = World::of(1);
    let info = info(7, 1, loaded());
    world.put(&info, &[manifest(10, &[(1, 100)])]);
    world.run(4);
    let text = "the vectors of segment 1 are damaged";
    let held = world.placer.nodes.get_mut(&NodeId(1)).unwrap().held.get_mut(&info.id).unwrap();
    held.harm = Some(text.to_owned());

    // A copy can be read: what is not there of another one is no matter.
    assert_eq!(world.placer.routes(info.id).unwrap().harm, None);
    let known = world.placer.collections.get_mut(&info.id).unwrap();
    known.routes = Arc::new(Routes { replicas: Vec::new(), ..(*known.routes).clone() });
    assert_eq!(world.placer.routes(info.id).unwrap().harm.as_deref(), Some(text));
}

#[test]
fn nodes_keep_what_they_have_of_a_collection_that_cannot_be_read_and_serve_it_again_once_it_can() {
    let mut world = World::of(3);
    let (hurt, other) = (info(7, 1, loaded()), info(8, 1, loaded()));
    let of_hurt = [manifest(10, &[(1, 100), (2, 100), (3, 100)])];
    let of_other = [manifest(10, &[(4, 100)])];
    world.put(&hurt, &of_hurt);
    world.put(&other, &of_other);
    world.run(4);
    let held = |world: &World| -> Vec<BTreeSet<SegmentId>> {
        let key = (hurt.id, hurt.channels[0].clone());
        let has =
            |process: &Process| process.has.get(&key).map(|has| has.segments.clone()).unwrap_or_default();
        world.nodes.values().map(has).collect()
    };
    let before = held(&world);
    assert_eq!(before.iter().map(BTreeSet::len).sum::<usize>(), 3);

    // The next leader cannot read what is sealed of the one.
    let settings = PlaceSettings { settle: Duration::ZERO, ..PlaceSettings::default() };
    world.placer = Placer::new(2, settings, world.now, Timestamp::ZERO);
    world.placer.set_aside(hurt.id, "the manifest is damaged".to_owned());
    world.put(&hurt, &[Arc::default()]);
    world.put(&other, &of_other);
    world.logs.insert(hurt.channels[0].clone(), Log { manifest: of_hurt[0].clone(), tip: 15 });
    world.run(8);

    assert_eq!(held(&world), before, "nobody is told to let go");
    let routes = world.placer.routes(hurt.id).unwrap();
    assert_eq!(routes.harm.as_deref(), Some("the manifest is damaged"));
    assert!(routes.replicas.is_empty() && routes.owners.iter().all(|owner| owner.place.is_none()));
    assert_eq!(world.placer.followers_of(&hurt.channels[0]), crate::rpc::Followed::default());
    let routes = world.placer.routes(other.id).unwrap();
    assert_eq!((routes.harm.as_deref(), routes.replicas.len()), (None, 1));
    assert!(routes.owners[0].place.is_some());

    world.placer.mend_collection(hurt.clone(), of_hurt.to_vec(), world.now);
    world.run(8);

    let routes = world.placer.routes(hurt.id).unwrap();
    assert_eq!((routes.harm.as_deref(), routes.replicas.len()), (None, 1));
    assert!(routes.owners[0].place.is_some());
    assert_eq!(held(&world), before, "what is where it may be stays");
    for process in world.nodes.values() {
        assert_eq!(process.lacks(&routes), None);
    }
}

#[test]
fn a_leader_counts_what_is_to_be_loaded_who_is_there_for_it_and_what_nobody_owns() {
    let mut world = World::of(2);
    world.put(&info(7, 2, loaded()), &[manifest(10, &[(1, 100)]), Arc::default()]);
    world.put(&info(8, 1, None), &[Arc::default()]);
    let wants = |ownerless| Wants { collections: 2, to_load: 1, ownerless, ..Wants::default() };

    world.run(4);
    assert_eq!(world.placer.wants(), Wants { readers: 2, writers: 2, ..wants(0) });

    for mut gone in std::mem::take(&mut world.nodes).into_values() {
        gone.state = NodeState::Leaving;
        world.placer.report(gone.report(), world.now);
    }
    assert_eq!(world.placer.wants(), wants(3));

    // It is named as what it is, and not as what nobody owns.
    world.placer.set_aside(CollectionId(8), "the manifest is damaged".to_owned());
    assert_eq!(world.placer.wants(), wants(2));

    world.placer.remove_collection(CollectionId(7), world.now);
    assert_eq!(world.placer.wants(), Wants { collections: 1, ..Wants::default() });
}

#[test]
fn who_has_not_let_go_of_a_channel_when_its_manifest_is_whole_again_goes_on_with_it() {
    let mut world = World::of(2);
    let hurt = info(7, 1, loaded());
    let of_hurt = [manifest(10, &[(1, 100)])];
    world.put(&hurt, &of_hurt);
    world.run(4);
    let channel = hurt.channels[0].clone();
    let owner = world.placer.owner(&channel);
    assert!(owner.is_some());

    let settings = PlaceSettings { settle: Duration::ZERO, ..PlaceSettings::default() };
    world.placer = Placer::new(2, settings, world.now, Timestamp::ZERO);
    world.placer.set_aside(hurt.id, "the manifest is damaged".to_owned());
    world.put(&hurt, &[Arc::default()]);
    // All have reported, and none has heard of this leader's orders.
    for process in world.nodes.values() {
        world.placer.report(process.report(), world.now);
    }
    assert_eq!(world.placer.owner(&channel), None);

    world.placer.mend_collection(hurt.clone(), of_hurt.to_vec(), world.now);

    assert_eq!((world.placer.owner(&channel), world.placer.wanted_terms()), (owner, Vec::new()));
}

#[test]
fn what_nodes_keep_of_a_collection_that_cannot_be_read_goes_once_it_is_dropped_or_not_loaded() {
    for is_dropped in [true, false] {
        let mut world = World::of(2);
        let hurt = info(7, 1, loaded());
        world.put(&hurt, &[manifest(10, &[(1, 100), (2, 100)])]);
        world.run(4);
        let settings = PlaceSettings { settle: Duration::ZERO, ..PlaceSettings::default() };
        world.placer = Placer::new(2, settings, world.now, Timestamp::ZERO);
        world.placer.set_aside(hurt.id, "the manifest is damaged".to_owned());
        let released = info(7, 1, None);
        world.put(&released, &[Arc::default()]);
        world.run(4);
        assert!(world.nodes.values().any(|process| !process.has.is_empty()), "it is kept");

        if is_dropped {
            world.placer.remove_collection(hurt.id, world.now);
        } else {
            let manifests = vec![manifest(10, &[(1, 100), (2, 100)])];
            world.placer.mend_collection(released, manifests, world.now);
        }
        world.run(4);

        assert!(world.nodes.values().all(|process| process.has.is_empty()));
    }
}

#[test]
fn a_node_that_is_emptied_lets_go_of_what_it_keeps_and_others_have_it_once_it_can_be_read() {
    // An operator asks, the node does as it stops, and it did before this leader gave any orders.
    for asked in ["drain", "stop", "earlier"] {
        let mut world = World::of(2);
        let hurt = info(7, 1, loaded());
        let of_hurt = [manifest(10, &[(1, 100), (2, 100)])];
        world.put(&hurt, &of_hurt);
        world.run(4);
        let keepers = |world: &World| -> Vec<NodeId> {
            world.nodes.values().filter(|process| !process.has.is_empty()).map(Process::id).collect()
        };
        let before = keepers(&world);
        let emptied = before[0];
        let settings = PlaceSettings { settle: Duration::ZERO, ..PlaceSettings::default() };
        world.placer = Placer::new(2, settings, world.now, Timestamp::ZERO);
        world.placer.set_aside(hurt.id, "the manifest is damaged".to_owned());
        world.put(&hurt, &[Arc::default()]);
        world.logs.insert(hurt.channels[0].clone(), Log { manifest: of_hurt[0].clone(), tip: 15 });
        let stops = |world: &mut World| world.nodes.get_mut(&emptied).unwrap().state = NodeState::Draining;
        if asked == "earlier" {
            stops(&mut world);
        } else {
            world.run(4);
            assert_eq!(keepers(&world), before, "it is kept until then");
        }

        match asked {
            "drain" => assert!(world.placer.drain(emptied, true)),
            "stop" => stops(&mut world),
            _ => {}
        }
        world.run(4);

        let others: Vec<NodeId> = before.iter().copied().filter(|node| *node != emptied).collect();
        assert_eq!(keepers(&world), others, "{asked}: nobody else lets go of anything");
        let status = world.placer.nodes().into_iter().find(|status| status.info.id == emptied).unwrap();
        assert_eq!((status.remaining, status.held), (0, Vec::new()), "{asked}");

        world.placer.mend_collection(hurt.clone(), of_hurt.to_vec(), world.now);
        world.run(8);

        let routes = world.placer.routes(hurt.id).unwrap();
        assert_eq!((routes.harm.as_deref(), routes.replicas.len()), (None, 1), "{asked}");
        for process in world.nodes.values() {
            assert_eq!(process.lacks(&routes), None, "{asked}");
        }
        assert!(!keepers(&world).contains(&emptied), "{asked}");
    }
}

#[test]
fn one_node_holds_and_owns_everything() {
    let mut world = World::of(1);
    let info = info(7, 1, loaded());
    world.put(&info, &[manifest(10, &[(1, 100), (2, 100)])]);

    world.run(4);

    let routes = world.placer.routes(info.id).unwrap();
    let share = ChannelShare {
        channel: info.channels[0].clone(),
        segments: vec![SegmentId(1), SegmentId(2)],
        growing_from: Some(Position(10)),
    };
    let nodes = vec![NodeShare {
        place: place(1),
        share: Arc::new(Share { channels: vec![share], extent: Extent::All, ..Share::default() }),
    }];
    assert_eq!(
        *routes,
        Routes {
            collection: info.id,
            version: routes.version,
            owners: vec![crate::rpc::Owner {
                channel: info.channels[0].clone(),
                place: Some(place(1)),
                term: 1
            }],
            replicas: vec![ReplicaRoute {
                id: 1,
                group: DEFAULT_GROUP.to_owned(),
                zone: String::new(),
                nodes,
                partitions: None,
            }],
            wanted: true,
            partitions: None,
            readable: Extent::All,
            listening: false,
            harm: None,
        }
    );
    assert_eq!(world.placer.loaded(info.id), Ok(100));
}

#[test]
fn a_partition_is_loaded_once_it_is_read_and_not_before_also_beside_others() {
    let of = |ids: &[usize]| {
        let partitions = ids.iter().map(|at| PARTITIONS[*at]).collect();
        Some(LoadSpec { partitions: Some(partitions), ..loaded().unwrap() })
    };
    let mut world = World::of(1);
    let segments = vec![segment(1, PARTITIONS[0], 100), segment(2, PARTITIONS[1], 100)];
    let manifest = Arc::new(ChannelManifest { segments, ..ChannelManifest::clone(&manifest(10, &[])) });
    world.put(&info(7, 1, of(&[0])), std::slice::from_ref(&manifest));
    world.run(4);
    let seen = |world: &World| {
        let routes = world.placer.routes(CollectionId(7)).unwrap();
        (world.placer.loaded(CollectionId(7)), routes.replicas[0].partitions.clone(), routes.readable.clone())
    };
    let (first, both) = (Some(vec![PARTITIONS[0]]), Some(PARTITIONS.to_vec()));
    let these = |list: &Option<Vec<crate::base::PartitionId>>| Extent::of(list.as_deref());
    assert_eq!(seen(&world), (Ok(100), first.clone(), these(&first)));

    world.put(&info(7, 1, of(&[0, 1])), std::slice::from_ref(&manifest));
    world.placer.tick(world.now);
    let (progress, there, readable) = seen(&world);
    assert!(progress.as_ref().is_ok_and(|percent| *percent < 100), "{progress:?}");
    assert_eq!((there, readable), (first.clone(), these(&first)), "what is loaded goes on being read");
    world.run(4);
    assert_eq!(seen(&world), (Ok(100), both.clone(), these(&both)));

    // All of it is there already, and still the node must have heard that it is loaded.
    world.put(&info(7, 1, loaded()), std::slice::from_ref(&manifest));
    world.placer.tick(world.now);
    let (progress, there, readable) = seen(&world);
    assert!(progress.as_ref().is_ok_and(|percent| *percent < 100), "{progress:?}");
    assert_eq!((there, readable), (both.clone(), these(&both)));
    world.run(4);
    assert_eq!(seen(&world), (Ok(100), None, Extent::All));

    // What is released is not read any more at once.
    world.put(&info(7, 1, of(&[0])), &[manifest]);
    world.placer.tick(world.now);
    assert_eq!(seen(&world), (Ok(100), first.clone(), these(&first)));
}

#[test]
fn a_partition_that_has_no_room_keeps_nobody_from_reading_the_others() {
    let of = |ids: &[usize]| {
        let partitions = ids.iter().map(|at| PARTITIONS[*at]).collect();
        Some(LoadSpec { partitions: Some(partitions), ..loaded().unwrap() })
    };
    let mut world = World::new(vec![NodeInfo { memory_bytes: 1000, ..node(1) }]);
    let segments = vec![segment(1, PARTITIONS[0], 500), segment(2, PARTITIONS[1], 400)];
    let manifest = Arc::new(ChannelManifest { segments, ..ChannelManifest::clone(&manifest(10, &[])) });
    world.put(&info(7, 1, of(&[0])), std::slice::from_ref(&manifest));
    world.run(4);

    world.put(&info(7, 1, of(&[0, 1])), &[manifest]);
    world.run(4);

    let routes = world.placer.routes(CollectionId(7)).unwrap();
    let first = vec![PARTITIONS[0]];
    assert_eq!(
        (routes.readable.partitions(), routes.replicas[0].partitions.clone()),
        (Some(&*first), Some(first.clone()))
    );
    assert_eq!(routes.replicas[0].nodes[0].share.channels[0].segments, [SegmentId(1)]);
    assert!(world.placer.loaded(CollectionId(7)).is_err_and(|hindrance| hindrance.is_full));
}

#[test]
fn a_collection_that_is_not_loaded_has_owners_and_nothing_else() {
    let mut world = World::of(2);
    let info = info(7, 4, None);
    world.put(&info, &[manifest(3, &[(1, 100)]), manifest(0, &[]), manifest(0, &[]), manifest(0, &[])]);

    world.run(3);

    assert_eq!(world.counts(), [2, 2]);
    assert_eq!(world.placer.routes(info.id).unwrap().replicas, []);
    assert!(world.nodes.values().all(|process| process.has.is_empty()));
}

#[test]
fn channels_of_a_lost_owner_go_elsewhere_at_once_and_those_of_others_stay() {
    let mut world = World::of(3);
    world.put(&info(7, 9, None), &[]);
    world.run(3);
    let before: BTreeSet<_> = world.nodes[&NodeId(1)].own.iter().map(|own| own.channel.clone()).collect();

    world.nodes.remove(&NodeId(3));
    world.run(8);

    assert_eq!(world.counts(), [5, 4]);
    let after: BTreeSet<_> = world.nodes[&NodeId(1)].own.iter().map(|own| own.channel.clone()).collect();
    assert!(after.is_superset(&before));
}

#[test]
fn an_owner_changes_only_with_a_durable_term() {
    let mut world = World::of(1);
    let info = info(7, 1, None);
    world.placer.put_collection(info.clone(), vec![manifest(0, &[])], world.now);
    world.placer.report(world.nodes[&NodeId(1)].report(), world.now);
    let channel = info.channels[0].clone();

    assert_eq!(world.placer.wanted_terms(), [(channel.clone(), NodeId(1))]);
    assert_eq!(world.placer.routes(info.id).unwrap().owners[0].place, None);
    assert!(world.placer.grant(&channel, NodeId(1), 4, world.now));
    assert_eq!(world.placer.wanted_terms(), []);
    assert_eq!(world.placer.routes(info.id).unwrap().owners[0].place, Some(place(1)));
    assert!(!world.placer.grant(&channel, NodeId(1), 4, world.now));
}

#[test]
fn a_channel_is_moved_for_balance_once_in_a_pause() {
    let mut world = World::of(1);
    world.put(&info(7, 4, None), &[]);
    world.run(2);
    world.nodes.insert(NodeId(2), Process::new(node(2)));
    world.run(5);
    assert_eq!(world.counts(), [2, 2]);
    let moved: BTreeSet<_> = world.nodes[&NodeId(2)].own.iter().map(|own| own.channel.clone()).collect();

    world.placer.drain(NodeId(1), true);
    world.run(3);
    world.placer.drain(NodeId(1), false);
    world.run(20);

    assert_eq!(world.counts(), [2, 2], "those that have not moved for balance go back");
    let stayed: BTreeSet<_> = world.nodes[&NodeId(2)].own.iter().map(|own| own.channel.clone()).collect();
    assert_eq!(stayed, moved);
}

#[test]
fn while_nothing_can_be_committed_no_channel_is_moved_for_balance() {
    let mut world = World::of(1);
    world.put(&info(7, 4, None), &[]);
    world.run(2);
    world.placer.may_move_channels(false);
    world.nodes.insert(NodeId(2), Process::new(node(2)));

    world.run(5);
    let meanwhile = world.counts();
    world.placer.may_move_channels(true);
    world.run(5);

    assert_eq!((meanwhile, world.counts()), (vec![4, 0], vec![2, 2]));
}

/// The nodes that routes name as owners of a collection's channels.
fn owners(world: &World, info: &CollectionInfo) -> Vec<Option<NodeId>> {
    let routes = world.placer.routes(info.id).unwrap();
    routes.owners.iter().map(|owner| owner.place.as_ref().map(|place| place.node)).collect()
}

#[test]
fn a_channel_has_its_owner_until_there_is_a_term_for_the_next_one() {
    let mut world = World::of(1);
    let info = info(7, 2, None);
    world.put(&info, &[manifest(0, &[]), manifest(0, &[])]);
    world.run(2);
    world.nodes.insert(NodeId(2), Process::new(node(2)));
    world.run(6);
    let before = owners(&world, &info);

    world.commits = false;
    world.placer.drain(NodeId(2), true);
    world.run(20);
    let meanwhile = (owners(&world, &info), world.nodes[&NodeId(2)].own.len());
    world.commits = true;
    world.run(6);

    let [one, two] = [1, 2].map(|id| Some(NodeId(id)));
    assert_eq!((before.iter().filter(|owner| **owner == two).count(), meanwhile), (1, (before, 1)));
    assert_eq!(owners(&world, &info), [one, one]);
}

#[test]
fn a_move_that_has_begun_ends_without_another_commit() {
    let mut world = World::of(1);
    let info = info(7, 2, None);
    world.put(&info, &[manifest(0, &[]), manifest(0, &[])]);
    world.run(2);
    world.nodes.insert(NodeId(2), Process::new(node(2)));
    world.beat();
    world.placer.tick(world.now);
    world.beat();
    let begun = world.placer.missing_terms().count();

    world.commits = false;
    world.run(3);

    let moved = owners(&world, &info).iter().position(|owner| *owner == Some(NodeId(2))).unwrap();
    assert_eq!(begun, 0);
    assert!(world.opened[&info.channels[moved]].is_some());
}

#[test]
fn a_term_that_is_kept_is_given_once_and_only_while_it_is_the_greatest() {
    let mut world = World::of(1);
    let info = info(7, 1, None);
    world.put(&info, &[manifest(0, &[])]);
    world.run(2);
    let channel = &info.channels[0];
    let mut take = |kept: u64, noted: Option<u64>, node: i64| {
        world.placer.keep_term(channel, kept, world.now);
        noted.into_iter().for_each(|term| world.placer.note_term(channel, term));
        world.placer.take_term(channel, NodeId(node))
    };

    assert_eq!(take(11, None, 2), None, "it is no owner");
    assert_eq!([take(11, None, 1), take(11, None, 1), take(10, None, 1)], [Some(11), None, None]);
    assert_eq!([take(12, Some(13), 1), take(15, Some(14), 1)], [None, Some(15)]);
    assert_eq!(owners(&world, &info), [Some(NodeId(1))]);
}

#[test]
fn an_owner_that_stays_after_all_has_the_term_kept_for_the_next_move() {
    let mut world = World::of(1);
    let info = info(7, 2, None);
    world.put(&info, &[manifest(0, &[]), manifest(0, &[])]);
    world.run(2);
    world.nodes.insert(NodeId(2), Process::new(node(2)));
    world.beat();
    world.placer.tick(world.now);
    let moving = world.placer.missing_terms().next().unwrap().clone();
    world.placer.keep_term(&moving, 90, world.now);

    let mut gone = world.nodes.remove(&NodeId(2)).unwrap();
    gone.state = NodeState::Leaving;
    world.placer.report(gone.report(), world.now);
    world.run(3);

    assert_eq!(owners(&world, &info), [Some(NodeId(1)); 2]);
    assert_eq!(world.placer.take_term(&moving, NodeId(1)), Some(90));
}

#[test]
fn a_lost_node_makes_a_replica_unreadable_until_others_have_loaded_its_part() {
    let mut world = World::of(2);
    let info = info(7, 1, loaded());
    let segments: Vec<_> = (1..=20).map(|id| (id, 100)).collect();
    world.put(&info, &[manifest(10, &segments)]);
    world.run(4);
    assert_eq!(world.placer.loaded(info.id), Ok(100));

    world.nodes.remove(&NodeId(2));
    world.stuck.insert(NodeId(1));
    world.run(6);
    let broken = world.placer.routes(info.id).unwrap();
    assert_eq!((broken.replicas.len(), broken.wanted), (0, true));
    assert!(world.placer.loaded(info.id).unwrap() < 100);

    world.stuck.clear();
    world.run(3);
    let whole = world.placer.routes(info.id).unwrap();
    assert_eq!(whole.replicas[0].nodes[0].share.channels[0].segments.len(), 20);
    assert!(whole.version > broken.version);
}

/// The nodes that a collection is read from.
fn read_from(world: &World, id: CollectionId) -> Vec<NodeId> {
    let routes = world.placer.routes(id).unwrap();
    let nodes = routes.replicas.iter().flat_map(|replica| &replica.nodes);
    nodes.map(|share| share.place.node).collect()
}

/// Node 1 owns channels and takes calls; node 2 only holds data.
fn owner_and_reader() -> World {
    let owns = Duties { proxies: true, writes: true, ..Duties::default() };
    let reads = Duties { queries: true, ..Duties::default() };
    World::new(vec![NodeInfo { duties: owns, ..node(1) }, NodeInfo { duties: reads, ..node(2) }])
}

/// Ends the process of a node; another one is at its address.
fn start_again(world: &mut World, before: i64, after: i64) {
    let former = world.nodes.remove(&NodeId(before)).unwrap().info;
    let info = NodeInfo { id: NodeId(after), ..former };
    world.nodes.insert(info.id, Process::new(info));
}

#[test]
fn what_a_query_node_held_is_placed_again_as_soon_as_another_process_is_at_its_address() {
    let mut world = owner_and_reader();
    let info = info(7, 1, loaded());
    world.put(&info, &[manifest(10, &[(1, 100), (2, 100)])]);
    world.run(4);
    assert_eq!(read_from(&world, info.id), [NodeId(2)]);

    start_again(&mut world, 2, 3);
    world.run(2);

    assert_eq!(read_from(&world, info.id), [NodeId(3)]);
    assert_eq!(world.segments(), [(NodeId(3), SegmentId(1)), (NodeId(3), SegmentId(2))]);
    assert_eq!(world.placer.present(), BTreeSet::from([NodeId(1), NodeId(3)]));
}

#[test]
fn an_owner_is_waited_for_until_its_lease_is_over_although_another_process_is_at_its_address() {
    let mut world = owner_and_reader();
    let info = info(7, 1, None);
    world.put(&info, &[Arc::default()]);
    world.run(2);
    let owner = |world: &World| world.placer.owner(&info.channels[0]);
    assert_eq!(owner(&world), Some(NodeId(1)));

    start_again(&mut world, 1, 3);
    world.run(4);
    let before = owner(&world);
    world.run(3);

    assert_eq!((before, owner(&world)), (Some(NodeId(1)), Some(NodeId(3))));
}

#[test]
fn two_processes_that_are_at_one_address_do_not_drive_each_other_out() {
    let mut world = owner_and_reader();
    let info = info(7, 1, loaded());
    world.put(&info, &[manifest(10, &[(1, 100)])]);
    world.run(4);
    let twin = NodeInfo { id: NodeId(3), ..world.nodes[&NodeId(2)].info.clone() };
    world.nodes.insert(twin.id, Process::new(twin));

    world.run(2);
    let present: Vec<_> = (0..4)
        .map(|_| {
            world.run(1);
            world.placer.present()
        })
        .collect();

    assert_eq!(present, vec![BTreeSet::from([1, 2, 3].map(NodeId)); 4]);
    assert_eq!(world.placer.loaded(info.id), Ok(100));
}

#[test]
fn a_drained_node_serves_until_others_do_and_then_has_nothing_left() {
    let mut world = World::of(3);
    let info = info(7, 2, loaded());
    let segments: Vec<_> = (1..=30).map(|id| (id, 100)).collect();
    world.put(&info, &[manifest(10, &segments), manifest(0, &[])]);
    world.run(4);

    world.stuck.extend([NodeId(1), NodeId(2)]);
    assert!(world.placer.drain(NodeId(3), true));
    world.run(5);
    assert_eq!(world.placer.routes(info.id).unwrap().replicas.len(), 1, "it goes on");
    assert!(world.placer.nodes()[2].remaining > 0);

    world.stuck.clear();
    world.run(5);
    assert_eq!(world.placer.nodes()[2].remaining, 0);
    assert!(world.nodes[&NodeId(3)].has.is_empty());
    assert!(!world.placer.drain(NodeId(9), true));
}

#[test]
fn two_replicas_have_nodes_of_their_own() {
    let mut world = World::of(4);
    let info = info(7, 1, loaded_in(&[DEFAULT_GROUP, DEFAULT_GROUP]));
    let segments: Vec<_> = (1..=8).map(|id| (id, 100)).collect();
    world.put(&info, &[manifest(10, &segments)]);
    world.run(5);

    let replicas = world.placer.replicas(info.id);
    assert!(replicas.iter().all(|replica| replica.complete && replica.nodes.len() == 2));
    let nodes: BTreeSet<_> = replicas.iter().flat_map(|replica| replica.nodes.clone()).collect();
    assert_eq!(nodes.len(), 4);
}

#[test]
fn a_replica_without_nodes_waits_and_the_others_go_on() {
    let mut world = World::of(1);
    let info = info(7, 1, loaded_in(&[DEFAULT_GROUP, DEFAULT_GROUP]));
    world.put(&info, &[manifest(10, &[(1, 100)])]);
    world.run(4);

    assert_eq!(world.placer.routes(info.id).unwrap().replicas.len(), 1);
    world.nodes.insert(NodeId(2), Process::new(node(2)));
    world.run(5);
    assert_eq!(world.placer.routes(info.id).unwrap().replicas.len(), 2);
}

#[test]
fn what_fits_nowhere_is_said_and_loaded_when_there_is_room() {
    let mut world = World::new(vec![NodeInfo { memory_bytes: 1000, ..node(1) }]);
    let info = info(7, 1, loaded());
    world.put(&info, &[manifest(10, &[(1, 500), (2, 400)])]);
    world.run(4);

    assert_eq!(
        world.placer.loaded(info.id),
        Err(Hindrance {
            reason: "no query node has memory for 1 segments of channel by-dev-rootcoord-dml_0_7v0, such as 2 of 400 bytes"
                .to_owned(),
            is_full: true
        })
    );
    assert!(world.placer.has_unplaced());
    world.nodes.insert(NodeId(2), Process::new(NodeInfo { memory_bytes: 1000, ..node(2) }));
    world.run(5);
    assert_eq!(world.placer.loaded(info.id), Ok(100));
    assert!(!world.placer.has_unplaced());
}

#[test]
fn a_leader_knows_what_the_fullest_node_that_holds_data_has_room_for() {
    let writes = Duties { writes: true, ..Duties::default() };
    let mut world = World::new(vec![
        NodeInfo { memory_bytes: 1000, ..node(1) },
        NodeInfo { memory_bytes: 10, duties: writes, ..node(2) },
    ]);
    world.put(&info(7, 1, loaded()), &[manifest(10, &[(1, 500)])]);
    world.run(4);
    assert_eq!(world.placer.room(), 350);

    world.placer.remove_collection(CollectionId(7), world.now);
    world.run(10);
    assert_eq!(world.placer.room(), 850);
    let mut unlimited = World::of(1);
    unlimited.run(4);
    assert_eq!(unlimited.placer.room(), u64::MAX);
}

#[test]
fn while_a_query_node_puts_no_vectors_on_its_disk_all_are_reckoned_with_whole() {
    let small = |id, maps_vectors| NodeInfo { memory_bytes: 1000, maps_vectors, ..node(id) };
    let mapped = |id| {
        let mut info = CollectionInfo::clone(&info(id, 1, loaded()));
        let mut schema = Schema::clone(&info.schema);
        schema.fields[0].type_params = vec![("mmap.enabled".to_owned(), "true".to_owned())];
        info.schema = Arc::new(schema);
        Arc::new(info)
    };
    let mut world = World::new(vec![small(1, true)]);
    let (first, second) = (mapped(7), mapped(8));
    world.put(&first, &[manifest(10, &[(1, 5000)])]);
    world.run(4);
    assert_eq!(world.placer.loaded(first.id), Ok(100));

    world.nodes.insert(NodeId(2), Process::new(small(2, false)));
    world.run(4);
    world.put(&second, &[manifest(10, &[(2, 5000)])]);
    world.run(4);
    let hindrance = world.placer.loaded(second.id).unwrap_err();
    assert!(hindrance.is_full && hindrance.reason.ends_with("such as 2 of 5000 bytes"), "{hindrance:?}");
    assert_eq!(world.placer.loaded(first.id), Ok(100), "what is loaded stays");

    world.nodes.remove(&NodeId(2));
    world.run(20);
    assert_eq!(world.placer.loaded(second.id), Ok(100));
}

#[test]
fn a_flush_moves_the_route_on_and_the_log_is_held_until_no_proxy_uses_the_old_one() {
    let mut world = World::of(1);
    let info = info(7, 1, loaded());
    world.put(&info, &[manifest(10, &[(1, 100)])]);
    world.run(4);
    let late = NodeInfo { duties: Duties { proxies: true, ..Default::default() }, ..node(9) };
    let mut late = Process::new(late);
    world.placer.report(late.report(), world.now);
    late.obey(&world.placer.orders(NodeId(9), late.seen, Timestamp::ZERO, Duration::ZERO).unwrap());
    world.placer.report(late.report(), world.now);

    world.put(&info, &[manifest(20, &[(1, 100), (2, 100)])]);
    world.run(3);
    let from = |world: &World| world.nodes[&NodeId(1)].hold[&CollectionId(7)][0].growing_from;
    let share = world.placer.routes(info.id).unwrap().replicas[0].nodes[0].share.channels[0].clone();
    assert_eq!((share.segments.len(), share.growing_from), (2, Some(Position(20))));
    assert_eq!(from(&world), Some(Position(10)));

    late.obey(&world.placer.orders(NodeId(9), late.seen, Timestamp::ZERO, Duration::ZERO).unwrap());
    world.placer.report(late.report(), world.now);
    world.run(1);
    assert_eq!(from(&world), Some(Position(20)));
}

#[test]
fn what_was_dropped_is_left_once_no_route_names_it_and_that_waits_for_the_nodes() {
    let mut world = World::of(1);
    let info = info(7, 1, loaded());
    let gone = BTreeSet::from([SegmentId(1)]);
    let has_left = |world: &World| world.placer.has_left(CollectionId(7), &[Position(20)], &gone);
    world.put(&info, &[manifest(10, &[(1, 100)])]);
    world.run(4);
    world.stuck.insert(NodeId(1));

    world.put(&info, &[manifest(20, &[])]);
    world.run(3);
    let served = world.placer.routes(info.id).unwrap().replicas[0].nodes[0].share.channels[0].clone();
    assert_eq!((served.segments.as_slice(), has_left(&world)), (&[SegmentId(1)][..], false));

    world.stuck.clear();
    world.run(3);
    let served = world.placer.routes(info.id).unwrap().replicas[0].nodes[0].share.channels[0].clone();
    assert_eq!((served.segments.as_slice(), has_left(&world)), (&[][..], true));
}

#[test]
fn what_was_dropped_at_the_same_checkpoint_is_left_only_with_its_segments() {
    let mut world = World::of(1);
    let info = info(7, 1, loaded());
    world.put(&info, &[manifest(10, &[(1, 100)])]);
    world.run(4);

    let has_left =
        |gone: i64| world.placer.has_left(info.id, &[Position(10)], &BTreeSet::from([SegmentId(gone)]));
    assert_eq!((has_left(1), has_left(2)), (false, true));
}

#[test]
fn nothing_is_to_be_left_where_nothing_is_read() {
    let mut world = World::of(1);
    let gone = BTreeSet::from([SegmentId(1)]);
    world.stuck.insert(NodeId(1));
    for (id, load) in [(7, None), (8, loaded())] {
        let info = info(id, 1, load);
        world.put(&info, &[manifest(10, &[(1, 100)])]);
        world.run(4);
        world.put(&info, &[manifest(20, &[])]);
        world.run(1);
        assert!(world.placer.has_left(info.id, &[Position(20)], &gone), "{id}");
    }
    assert!(world.placer.has_left(CollectionId(9), &[Position(20)], &gone), "there is none");
}

#[test]
fn a_new_index_changes_orders_and_not_routes() {
    let mut world = World::of(1);
    let info = info(7, 1, loaded());
    world.put(&info, &[manifest(10, &[(1, 100)])]);
    world.run(4);
    let before = world.placer.routes(info.id).unwrap();

    let newest = manifest(10, &[(1, 150)]);
    world.put(&info, std::slice::from_ref(&newest));
    world.run(1);

    assert_eq!(world.nodes[&NodeId(1)].hold[&info.id][0].manifest, newest);
    assert_eq!(world.placer.routes(info.id).unwrap(), before);
}

#[test]
fn manifests_that_come_faster_than_loads_do_not_stop_progress() {
    let mut world = World::of(2);
    let info = info(7, 1, loaded());
    let mut segments: Vec<_> = (1..=20).map(|id| (id, 100)).collect();
    world.put(&info, &[manifest(10, &segments)]);
    world.run(1);
    let slow = |world: &mut World, percent| {
        for process in world.nodes.values_mut() {
            process.work(&world.logs, &mut Dice(7), percent);
        }
    };
    // One node follows at once; segments take several rounds, in each of which a new one comes.
    let mut published = 0;
    world.stuck.extend([NodeId(1), NodeId(2)]);
    for round in 0..40 {
        slow(&mut world, 30);
        segments.push((100 + round, 100));
        world.put(&info, &[manifest(11 + round.unsigned_abs(), &segments)]);
        world.run(1);
        published += world.placer.routes(info.id).unwrap().replicas.len();
    }
    assert!(published > 0);
}

#[test]
fn a_new_leader_keeps_what_nodes_have_and_gives_no_orders_before_it_has_listened() {
    let mut world = World::of(3);
    let info = info(7, 2, loaded_in(&[DEFAULT_GROUP, DEFAULT_GROUP]));
    let segments: Vec<_> = (1..=12).map(|id| (id, 100)).collect();
    let manifests = [manifest(10, &segments), manifest(0, &[])];
    world.put(&info, &manifests);
    world.run(8);
    let (held, owners) = (world.segments(), world.placer.routes(info.id).unwrap());

    world.placer = Placer::new(2, PlaceSettings::default(), world.now, Timestamp::ZERO);
    world.placer.put_collection(info.clone(), manifests.to_vec(), world.now);
    world.run(4);
    assert!(world.nodes.values().all(|process| process.seen.epoch == 1));
    assert_eq!(world.placer.wanted_terms(), []);
    assert_eq!(world.placer.routes(info.id).unwrap().owners, owners.owners);

    world.run(2);
    let routes = world.placer.routes(info.id).unwrap();
    assert_eq!((routes.replicas.len(), world.segments()), (2, held));
    assert!(routes.version > owners.version);
    assert!(world.nodes.values().all(|process| process.seen.epoch == 2));
}

/// A world whose leader was replaced just now by one that knows which nodes there were.
fn with_a_new_leader(expected: Option<&[i64]>) -> (World, Arc<CollectionInfo>) {
    let mut world = World::of(3);
    let (info, manifest) = (info(7, 2, loaded()), manifest(10, &[(1, 100), (2, 100)]));
    let manifests = [manifest, Arc::default()];
    world.put(&info, &manifests);
    world.run(8);
    world.placer = Placer::new(2, PlaceSettings::default(), world.now, Timestamp::ZERO);
    world.placer.put_collection(info.clone(), manifests.to_vec(), world.now);
    let expected = expected.map(|ids| ids.iter().copied().map(NodeId).collect());
    world.placer.expect(expected, world.now);
    (world, info)
}

#[test]
fn a_new_leader_listens_whomever_it_has_heard_and_says_so_in_its_routes() {
    for expected in [None, Some(&[1, 2, 3][..]), Some(&[1, 2, 3, 4][..])] {
        let (mut world, info) = with_a_new_leader(expected);
        let listening = world.placer.routes(info.id).unwrap();

        world.run(4);
        let before = world.placer.is_settled();
        world.run(2);

        assert_eq!((listening.listening, listening.replicas.len()), (true, 0));
        assert_eq!((before, world.placer.is_settled()), (false, true));
    }
}

#[test]
fn proxies_keep_what_the_catalog_says_of_a_collection_whose_routes_changed() {
    let mut world = World::of(2);
    let info = info(7, 1, loaded());
    world.put(&info, &[manifest(10, &[(1, 100)])]);
    world.run(5);
    let seen = world.nodes[&NodeId(1)].seen;
    let news = |world: &World| {
        let orders = world.placer.orders(NodeId(1), seen, Timestamp::ZERO, SECOND).unwrap();
        (orders.changed, orders.rerouted)
    };

    world.placer.announce(info.id);
    let rerouted = news(&world);
    world.placer.changed(info.id);

    assert_eq!(rerouted, (vec![], vec![info.id]));
    assert_eq!(news(&world), (vec![info.id], vec![]));
}

#[test]
fn a_proxy_that_heard_early_news_counts_as_one_with_former_routes_until_it_has_begun_anew() {
    let mut world = World::new(Vec::new());
    world.placer = Placer::new(2, PlaceSettings::default(), world.now, Timestamp::ZERO);
    let duties = Duties { proxies: true, ..Duties::default() };
    let mut proxy = Process::new(NodeInfo { duties, ..node(1) });
    let former = OrderNumber { epoch: 1, number: 5 };
    let hear = |world: &mut World, proxy: &mut Process| {
        let orders = world.placer.orders(NodeId(1), proxy.seen, Timestamp::ZERO, SECOND).unwrap();
        proxy.obey(&orders);
        world.placer.report(proxy.report(), world.now);
    };
    world.placer.report(proxy.report(), world.now);
    world.placer.changed(CollectionId(7));
    hear(&mut world, &mut proxy);
    world.now += PlaceSettings::default().settle;
    world.placer.report(proxy.report(), world.now);

    let settled = (world.placer.is_settled(), world.placer.proxies_saw(former));
    hear(&mut world, &mut proxy);

    assert_eq!((settled, world.placer.proxies_saw(former)), ((true, false), true));
}

#[test]
fn orders_are_what_changed_since_and_nothing_when_nothing_did() {
    let mut world = World::of(2);
    let info = info(7, 1, loaded());
    world.put(&info, &[manifest(10, &[(1, 100)])]);
    world.run(5);

    let seen = world.nodes[&NodeId(1)].seen;
    let orders = |world: &World, seen| world.placer.orders(NodeId(1), seen, Timestamp::ZERO, SECOND);
    assert_eq!(orders(&world, seen), None);
    assert!(orders(&world, OrderNumber::default()).unwrap().whole);
    assert!(orders(&world, OrderNumber { epoch: 2, number: 0 }).is_none(), "a later leader's node");

    let number = world.placer.changed(info.id);
    assert!(!world.placer.proxies_saw(number));
    let news = orders(&world, seen).unwrap();
    assert_eq!((news.whole, news.changed, news.hold, news.release), (false, vec![info.id], vec![], vec![]));
    world.run(1);
    world.beat();
    assert!(world.placer.proxies_saw(number));
}

#[test]
fn proxies_hear_that_who_may_do_what_changed() {
    let mut world = World::of(2);
    world.run(5);
    let seen = world.nodes[&NodeId(1)].seen;
    let orders = |world: &World, seen| world.placer.orders(NodeId(1), seen, Timestamp::ZERO, SECOND);

    world.placer.policy_changed();
    let number = world.placer.number();
    assert!(!world.placer.proxies_saw(number));
    let news = orders(&world, seen).unwrap();
    assert_eq!((news.whole, news.policy, news.changed, news.rerouted), (false, true, vec![], vec![]));
    world.run(1);
    world.beat();

    assert!(world.placer.proxies_saw(number));
    assert_eq!(orders(&world, world.nodes[&NodeId(1)].seen), None);
}

#[test]
fn what_a_read_goes_by_is_held_until_it_is_over_but_not_for_long() {
    for steps in [1, 3, u64::MAX] {
        let mut world = World::of(1);
        let info = info(7, 1, loaded());
        world.put(&info, &[manifest(10, &[(1, 100)])]);
        world.run(4);
        let proxy = NodeInfo { duties: Duties { proxies: true, ..Default::default() }, ..node(9) };
        let mut proxy = Process::new(proxy);
        let beat = |world: &mut World, proxy: &mut Process| {
            world.placer.report(proxy.report(), world.now);
            if let Some(orders) = world.placer.orders(NodeId(9), proxy.seen, Timestamp::ZERO, SECOND) {
                proxy.obey(&orders);
            }
            world.placer.report(proxy.report(), world.now);
        };
        beat(&mut world, &mut proxy);
        proxy.table.insert(info.id, world.placer.routes(info.id).unwrap());
        proxy.read(info.id, steps);

        world.put(&info, &[manifest(20, &[(1, 100), (2, 100)])]);
        let mut held = Vec::new();
        for _ in 0..6 {
            world.run(1);
            proxy.go_on_reading();
            beat(&mut world, &mut proxy);
            world.beat();
            held.push(world.nodes[&NodeId(1)].hold[&CollectionId(7)][0].growing_from.unwrap().0);
        }

        let expected = match steps {
            1 => [10, 20, 20, 20, 20, 20],
            3 => [10, 10, 20, 20, 20, 20],
            _ => [10, 10, 10, 20, 20, 20],
        };
        assert_eq!(held, expected, "a read of {steps} s");
    }
}

#[test]
fn a_dropped_collection_is_let_go_of_once_no_proxy_uses_it() {
    let mut world = World::of(2);
    let info = info(7, 1, loaded());
    world.put(&info, &[manifest(10, &[(1, 100)])]);
    world.run(5);

    world.placer.remove_collection(info.id, world.now);
    assert_eq!(world.placer.routes(info.id), None);
    world.run(4);

    assert!(world.nodes.values().all(|process| process.has.is_empty() && process.own.is_empty()));
    assert!(world.placer.collections.is_empty());
}

#[test]
fn a_segment_is_held_until_whoever_was_to_load_it_knows_that_it_is_not_to() {
    let mut world = World::of(1);
    let (info, compacted) = (info(7, 1, loaded()), manifest(11, &[(2, 100)]));
    world.stuck.insert(NodeId(1));
    world.put(&info, &[manifest(10, &[(1, 100)])]);
    world.run(5);
    let holds = |world: &World| world.placer.holds_any(info.id, &[SegmentId(1)]);

    // The first beat after the compaction brings the order, and the second says that it was seen.
    world.put(&info, std::slice::from_ref(&compacted));
    let mut held = vec![holds(&world)];
    for _ in 0..2 {
        world.beat();
        held.push(holds(&world));
    }

    assert_eq!(held, [true, true, false]);
}

#[test]
fn a_new_leader_takes_whatever_a_node_may_load_by_former_orders_as_held() {
    let mut world = World::of(1);
    let (info, compacted) = (info(7, 1, loaded()), manifest(11, &[(2, 100)]));
    world.stuck.insert(NodeId(1));
    world.put(&info, &[manifest(10, &[(1, 100)])]);
    world.run(5);

    world.placer = Placer::new(2, PlaceSettings::default(), world.now, Timestamp::ZERO);
    world.placer.put_collection(info.clone(), vec![compacted], world.now);

    for _ in 0..8 {
        let knows = world.nodes[&NodeId(1)].seen.epoch == 2;
        world.run(1);
        assert_eq!(world.placer.holds_any(info.id, &[SegmentId(1)]), !knows);
    }
    assert_eq!(world.nodes[&NodeId(1)].seen.epoch, 2);
}

#[test]
fn segments_are_moved_by_hand_within_a_replica() {
    let mut world = World::of(2);
    let info = info(7, 1, loaded());
    let segments: Vec<_> = (1..=20).map(|id| (id, 100)).collect();
    world.put(&info, &[manifest(10, &segments)]);
    world.run(4);
    let (from, moved) = world.segments()[0];
    let to = NodeId(3 - from.0);

    assert_eq!(world.placer.balance(info.id, from, &[to], &[moved], world.now), Ok(()));
    world.run(3);
    assert!(world.segments().contains(&(to, moved)));
    assert_eq!(
        world.placer.balance(info.id, to, &[NodeId(9)], &[moved], world.now),
        Err(format!("query node 9 is in another replica or group than query node {to}"))
    );
    assert_eq!(
        world.placer.balance(info.id, to, &[], &[SegmentId(99)], world.now),
        Err(format!("segment 99 of collection 7 is not on query node {to}"))
    );
}

/// What is to be read from a node.
fn segments_on(world: &World, node: NodeId) -> BTreeSet<SegmentId> {
    let all = world.segments().into_iter();
    all.filter(|(holder, _)| *holder == node).map(|(_, segment)| segment).collect()
}

#[test]
fn a_suspended_node_keeps_what_it_has_and_is_given_nothing_more() {
    let mut world = World::of(2);
    let info = info(7, 1, loaded());
    let segments: Vec<_> = (1..=40).map(|id| (id, 100)).collect();
    world.put(&info, &[manifest(10, &segments[..10])]);
    world.run(4);
    let before = segments_on(&world, NodeId(1));
    assert!(!before.is_empty());

    world.placer.steer(true, [NodeId(1)].into());
    world.put(&info, &[manifest(20, &segments)]);
    world.run(10);

    assert_eq!((segments_on(&world, NodeId(1)), world.segments().len()), (before.clone(), 40));
    world.placer.steer(true, BTreeSet::new());
    world.run(20);
    assert!(segments_on(&world, NodeId(1)).len() > before.len(), "balance gives it more again");
}

#[test]
fn where_all_nodes_are_suspended_a_load_says_so_and_goes_on_later() {
    let mut world = World::of(2);
    let info = info(7, 1, loaded());
    world.placer.steer(true, [NodeId(1), NodeId(2), NodeId(9)].into());
    world.put(&info, &[manifest(10, &[(1, 100)])]);
    world.run(3);

    let Hindrance { reason, is_full } = world.placer.loaded(info.id).unwrap_err();
    assert!(reason.ends_with("; suspended query nodes take nothing: 1, 2"), "{reason}");
    assert!(!is_full, "more memory does not help");
    world.placer.steer(true, BTreeSet::new());
    world.run(4);
    assert_eq!(world.placer.loaded(info.id), Ok(100));
}

#[test]
fn while_balance_is_suspended_only_who_drains_is_relieved() {
    let mut world = World::of(1);
    let info = info(7, 4, loaded());
    let manifests = [1, 2, 3, 4].map(|id| manifest(10, &[(id, 100), (10 + id, 100)]));
    world.put(&info, &manifests);
    world.run(3);
    world.placer.steer(false, BTreeSet::new());
    world.nodes.insert(NodeId(2), Process::new(node(2)));

    world.run(10);
    let here = (world.counts(), segments_on(&world, NodeId(1)).len());
    world.placer.drain(NodeId(1), true);
    world.run(10);
    world.placer.drain(NodeId(1), false);
    world.run(10);
    let there = (world.counts(), segments_on(&world, NodeId(1)).len());
    world.placer.steer(true, BTreeSet::new());
    world.run(20);

    assert_eq!((here, there), ((vec![4, 0], 8), (vec![0, 4], 0)));
    assert_eq!((world.counts(), segments_on(&world, NodeId(1)).len()), (vec![2, 2], 4));
}

#[test]
fn what_a_query_node_holds_of_all_collections_is_moved_by_hand_or_nothing_is() {
    let mut world = World::of(3);
    world.placer.steer(false, BTreeSet::new());
    let infos = [7, 8].map(|id| info(id, 1, loaded()));
    for (info, first) in infos.iter().zip([1, 100]) {
        let segments: Vec<_> = (first..first + 12).map(|id| (id, 100)).collect();
        world.put(info, &[manifest(10, &segments)]);
    }
    world.run(4);
    let (from, to) = (NodeId(1), NodeId(2));
    let (before, there) = (segments_on(&world, from), segments_on(&world, to));
    assert!(!before.is_empty());
    let one = *there.first().unwrap();

    let refused = [
        world.placer.transfer_segments(from, Some(to), &[one], world.now),
        world.placer.transfer_segments(NodeId(9), None, &[], world.now),
        world.placer.transfer_segments(from, Some(NodeId(9)), &[], world.now),
        world.placer.transfer_segments(from, Some(from), &[], world.now),
    ];
    world.placer.steer(false, [to].into());
    let suspended = world.placer.transfer_segments(from, Some(to), &[], world.now);
    world.run(3);
    assert_eq!(segments_on(&world, from), before);
    world.placer.steer(false, BTreeSet::new());
    let moved = world.placer.transfer_segments(from, Some(to), &[], world.now);
    world.run(3);

    let texts = [
        format!("segment {one} is not on query node 1"),
        "there is no query node 9".to_owned(),
        "there is no query node 9".to_owned(),
        "query node 1 cannot hand anything to itself".to_owned(),
    ];
    assert_eq!(refused, texts.map(Err));
    assert_eq!((suspended, moved), (Err("query node 2 is suspended".to_owned()), Ok(())));
    assert_eq!(segments_on(&world, from), BTreeSet::new());
    assert_eq!(segments_on(&world, to), &before | &there);
}

#[test]
fn what_does_not_fit_on_a_node_together_is_not_moved_there_at_all() {
    let mut world = World::of(1);
    world.placer.steer(false, BTreeSet::new());
    let info = info(7, 1, loaded());
    world.put(&info, &[manifest(10, &[(1, 400), (2, 400), (3, 400)])]);
    world.run(4);
    world.nodes.insert(NodeId(2), Process::new(NodeInfo { memory_bytes: 1000, ..node(2) }));
    world.run(4);
    let (from, to) = (NodeId(1), NodeId(2));

    let refused = world.placer.transfer_segments(from, Some(to), &[], world.now);
    world.run(4);
    let there = segments_on(&world, to);
    let moved = world.placer.transfer_segments(from, Some(to), &[SegmentId(1), SegmentId(2)], world.now);
    world.run(4);

    let text = "no query node that is meant has room for segment 3 of 400 bytes".to_owned();
    assert_eq!((refused, there), (Err(text), BTreeSet::new()));
    assert_eq!(moved, Ok(()));
    assert_eq!(segments_on(&world, to), [SegmentId(1), SegmentId(2)].into());
}

#[test]
fn who_follows_a_channel_is_changed_by_hand() {
    let mut world = World::of(2);
    let info = info(7, 2, loaded());
    world.put(&info, &[manifest(0, &[]), manifest(0, &[])]);
    world.run(4);
    let leaders = |world: &World| {
        let shards = world.placer.replicas(info.id).remove(0).shards;
        shards.into_iter().map(|shard| shard.leader).collect::<Vec<_>>()
    };
    let from = leaders(&world)[0];
    let to = NodeId(3 - from.0);

    let unknown = [ChannelName::of(CollectionId(9), 0)];
    let refused = world.placer.transfer_followers(from, Some(to), &unknown, world.now);
    let moved = world.placer.transfer_followers(from, None, &[info.channels[0].clone()], world.now);
    world.run(3);

    assert_eq!(
        (refused, moved),
        (Err(format!("channel {} is not followed by query node {from}", unknown[0])), Ok(()))
    );
    assert_eq!(leaders(&world)[0], to);
    assert_eq!(world.placer.transfer_followers(to, Some(from), &[], world.now), Ok(()));
    world.run(3);
    assert_eq!(leaders(&world), [from, from]);
}

#[test]
fn a_replica_whose_group_changes_is_served_by_the_old_nodes_until_the_new_ones_are_ready() {
    let mut world = World::new(vec![node(1), labelled(2, &[("RESOURCE_GROUP", "g")])]);
    world.placer.put_groups([("g".to_owned(), group(1, 1))].into(), world.now);
    let here = info(7, 1, loaded());
    let there = info(7, 1, loaded_in(&["g"]));
    world.put(&here, &[manifest(10, &[(1, 100)])]);
    world.run(4);

    world.stuck.insert(NodeId(2));
    world.put(&there, &[manifest(10, &[(1, 100)])]);
    world.run(2);
    let node_of = |world: &World| world.placer.routes(here.id).unwrap().replicas[0].nodes[0].place.node;
    assert_eq!(node_of(&world), NodeId(1));
    let groups = world.placer.groups();
    assert_eq!((groups[0].incoming.len(), groups[1].outgoing.len(), groups[1].replicas.len()), (1, 1, 1));

    world.stuck.clear();
    world.run(3);
    assert_eq!(node_of(&world), NodeId(2));
}

fn grouped(configs: &[(&str, GroupConfig)], nodes: &[(i64, &[(&str, &str)], &str)]) -> Vec<String> {
    let configs = configs.iter().map(|(name, config)| ((*name).to_owned(), config.clone())).collect();
    let infos: Vec<_> = nodes.iter().map(|(id, labels, _)| labelled(*id, labels)).collect();
    let candidates: Vec<_> = infos
        .iter()
        .zip(nodes)
        .map(|(info, (_, _, current))| Candidate { id: info.id, labels: &info.labels, current })
        .collect();
    members(&configs, &candidates).into_values().collect()
}

#[test]
fn groups_get_what_they_request_and_the_default_group_keeps_the_rest() {
    let none: &[(&str, &str)] = &[];
    let configs = [("a", group(2, 2)), ("b", group(1, 3))];
    let nodes = [(1, none, ""), (2, none, ""), (3, none, ""), (4, none, "")];

    assert_eq!(grouped(&configs, &nodes), [DEFAULT_GROUP, "b", "a", "a"].map(str::to_owned).to_vec());
}

#[test]
fn members_stay_and_surplus_goes_where_it_is_named() {
    let none: &[(&str, &str)] = &[];
    let to_b = GroupConfig { transfer_to: vec!["b".to_owned()], ..group(0, 1) };
    let configs = [("a", to_b), ("b", group(0, 5))];
    let nodes = [(1, none, "a"), (2, none, "a"), (3, none, DEFAULT_GROUP)];

    assert_eq!(grouped(&configs, &nodes), ["a", "b", DEFAULT_GROUP].map(str::to_owned).to_vec());
}

#[test]
fn labels_and_filters_decide_before_numbers_do() {
    let fast = GroupConfig { node_filter: [("disk".to_owned(), "fast".to_owned())].into(), ..group(0, 1) };
    let configs = [("a", fast), ("b", group(0, 0))];
    let nodes: [(i64, &[(&str, &str)], &str); 4] = [
        (1, &[("disk", "fast")], ""),
        (2, &[("disk", "fast")], ""),
        (3, &[("RESOURCE_GROUP", "b")], ""),
        (4, &[("RESOURCE_GROUP", "nowhere")], "a"),
    ];

    assert_eq!(
        grouped(&configs, &nodes),
        ["a", DEFAULT_GROUP, "b", DEFAULT_GROUP].map(str::to_owned).to_vec()
    );
}

#[test]
fn replicas_share_nodes_evenly_and_by_zones_where_they_can() {
    let member = |id: i64, zone: &str| Member {
        id: NodeId(id),
        zone: zone.to_owned(),
        host: format!("h{id}"),
        draw: id.unsigned_abs(),
    };
    let nodes = [member(1, "a"), member(2, "b"), member(3, "a"), member(4, "b"), member(5, "b")];
    let ids = |pools: Vec<Vec<NodeId>>| -> Vec<Vec<i64>> {
        pools.iter().map(|pool| pool.iter().map(|id| id.0).collect()).collect()
    };

    assert_eq!(ids(divide(&nodes[..4], &[BTreeMap::new(), BTreeMap::new()])), [[1, 3], [2, 4]]);
    let has = [BTreeMap::from([(NodeId(1), 1), (NodeId(2), 9)]), BTreeMap::from([(NodeId(4), 1)])];
    assert_eq!(ids(divide(&nodes, &has)), [vec![1, 2, 3], vec![4, 5]], "what they have they keep");
    assert_eq!(ids(divide(&nodes[..1], &has)), [vec![1], vec![]]);
}

#[test]
fn a_channel_is_known_by_the_greatest_term() {
    let mut world = World::of(2);
    let info = info(7, 1, None);
    world.put(&info, &[manifest(0, &[])]);
    world.run(3);
    let channel: ChannelName = info.channels[0].clone();
    let open = OpenChannel { channel: channel.clone(), term: 77, opened: 0, unsealed_bytes: 0 };
    let mut report = world.nodes[&NodeId(2)].report();
    report.channels.push(open);

    world.placer.report(report, world.now);

    let owner = world.placer.routes(info.id).unwrap().owners[0].clone();
    assert_eq!((owner.place, owner.term), (Some(place(2)), 77));
}

#[test]
fn who_has_a_channel_open_by_an_older_term_than_was_given_out_is_not_its_owner() {
    let mut world = World::of(2);
    let info = info(7, 1, None);
    world.put(&info, &[manifest(0, &[])]);
    let channel: ChannelName = info.channels[0].clone();
    world.placer.note_term(&channel, 99);
    // The second one has the later order, but took long to open: the first one has had another term since.
    for (node, term, opened) in [(2, 12, 85), (1, 11, 99), (2, 12, 85)] {
        let mut report = world.nodes[&NodeId(node)].report();
        report.channels.push(OpenChannel { channel: channel.clone(), term, opened, unsealed_bytes: 0 });
        world.placer.report(report, world.now);
    }

    let owner = world.placer.routes(info.id).unwrap().owners[0].clone();
    assert_eq!((owner.place, owner.term), (Some(place(1)), 11));
}

/// A group that takes nodes of one zone, all of them.
fn zone_group(zone: &str) -> GroupConfig {
    let node_filter = BTreeMap::from([("ZONE".to_owned(), zone.to_owned())]);
    GroupConfig { requests: 0, limits: 100, node_filter, ..GroupConfig::default() }
}

/// The zones that each replica's route leads to, and what the route says of them.
fn zones_read(world: &World, id: CollectionId) -> Vec<(i64, BTreeSet<String>, String)> {
    let routes = world.placer.routes(id).unwrap();
    let of = |node: NodeId| world.nodes[&node].info.zone().to_owned();
    let zones = |replica: &ReplicaRoute| replica.nodes.iter().map(|part| of(part.place.node)).collect();
    routes.replicas.iter().map(|replica| (replica.id, zones(replica), replica.zone.clone())).collect()
}

#[test]
fn where_groups_are_zones_each_has_one_replica_and_no_replica_leaves_its_zone() {
    let zones = ["a", "b", "c"];
    let nodes = (1..=9).map(|id| labelled(id, &[("ZONE", zones[usize::try_from(id).unwrap() % 3])]));
    let mut world = World::new(nodes.collect());
    let groups = zones.map(|zone| (format!("zone-{zone}"), zone_group(zone)));
    world.placer.put_groups(groups.into_iter().collect(), world.now);
    let info = info(7, 2, loaded_in(&["zone-a", "zone-b", "zone-c"]));
    let segments: Vec<_> = (1..=30).map(|id| (id, 100)).collect();
    world.put(&info, &[manifest(10, &segments), manifest(0, &[])]);
    world.run(8);
    let one_each = |ids: &[i64]| -> Vec<(i64, BTreeSet<String>, String)> {
        let zone = |id: i64| zones[usize::try_from(id).unwrap() - 1].to_owned();
        ids.iter().map(|id| (*id, BTreeSet::from([zone(*id)]), zone(*id))).collect()
    };
    assert_eq!(zones_read(&world, info.id), one_each(&[1, 2, 3]));

    // A zone loses a node, and then all: its replica is not read any more, and nobody else takes it over.
    let of_b: Vec<_> = world.nodes.values().filter(|one| one.info.zone() == "b").map(Process::id).collect();
    world.nodes.remove(&of_b[0]);
    world.run(12);
    assert_eq!(zones_read(&world, info.id), one_each(&[1, 2, 3]));
    world.nodes.retain(|id, _| !of_b.contains(id));
    world.run(12);
    assert_eq!(zones_read(&world, info.id), one_each(&[1, 3]));
    let held: BTreeSet<i64> = world.placer.replicas(info.id)[1].nodes.iter().map(|node| node.0).collect();
    assert_eq!(held, BTreeSet::new());

    let back = labelled(11, &[("ZONE", "b")]);
    world.nodes.insert(back.id, Process::new(back));
    world.run(8);
    assert_eq!(zones_read(&world, info.id), one_each(&[1, 2, 3]));
}
