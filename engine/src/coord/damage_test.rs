//! Manifests that are damaged, over several leaders.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::catalog::Garbage;
use super::change::Change;
use super::drive::Coordinator;
use super::large_test::{World, commit, create_named};
use super::shelf::Shelf;
use super::{read_mirror, record};
use crate::base::{ChannelName, CollectionId, Kind, Kinded as _, PartitionId, Position, TaskSet, Timestamp};
use crate::blob::Blobs as _;
use crate::meta::{Metas as _, Txn};
use crate::model::{ChannelManifest, DataType};
use crate::rpc::{
    CollectionChange, CollectionRef, Coord as _, DamagedCollection, Error, Flushed, NewCollection, Unread,
    Wants,
};
use crate::segment::fixture::schema;

type Place = (CollectionId, PartitionId);

/// The record of a channel that is damaged or gone, as it was before.
struct Flipped {
    key: String,
    whole: Bytes,
}

impl World {
    /// Flips a bit of a channel's record.
    async fn flip(&self, channel: &ChannelName) -> Flipped {
        let key = record::channel_key(channel);
        let whole = self.metas.get(&key).await.unwrap().unwrap().value;
        let mut damaged = whole.to_vec();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 0x10;
        self.put(&key, damaged.into()).await;
        Flipped { key, whole }
    }

    async fn put_back(&self, flipped: &Flipped) {
        self.put(&flipped.key, flipped.whole.clone()).await;
    }

    /// Deletes a channel's record.
    async fn lose(&self, channel: &ChannelName) -> Flipped {
        let key = record::channel_key(channel);
        let whole = self.metas.get(&key).await.unwrap().unwrap().value;
        self.metas.commit(Txn::new().delete(key.clone())).await.unwrap();
        Flipped { key, whole }
    }

    async fn put(&self, key: &str, value: Bytes) {
        self.metas.commit(Txn::new().put(key.to_owned(), value)).await.unwrap();
    }
}

fn channel(place: Place) -> ChannelName {
    ChannelName::of(place.0, 0)
}

/// Of collection `place`, as a leader has it that can read all.
async fn known(coord: &Coordinator, place: Place) -> Vec<Arc<ChannelManifest>> {
    coord.manifests(place.0).await.unwrap()
}

fn is_named(error: &Error, kind: Kind, key: &str) {
    assert_eq!(error.kind(), kind, "{error}");
    let text = error.to_string();
    assert!(text.contains("is damaged or lost") && text.contains(key), "{text}");
}

/// A leader over two collections, the first of which has a manifest in a damaged record.
async fn damaged() -> (World, Arc<Coordinator>, Place, Place, Flipped) {
    let world = World::new();
    let first = world.lead().await.unwrap();
    let (hurt, other) =
        (create_named(&first, "hurt").await.unwrap(), create_named(&first, "other").await.unwrap());
    commit(&first, hurt, 1).await.unwrap();
    commit(&first, other, 1).await.unwrap();
    let flipped = world.flip(&channel(hurt)).await;
    let next = world.lead().await.unwrap();
    (world, next, hurt, other, flipped)
}

/// For other rooms: who leads over the collections `hurt`, whose manifest in the record of this key is damaged, and `other`, of which
/// a segment of 1,000 rows is sealed.
pub(crate) async fn beside_damaged() -> (Arc<dyn crate::rpc::Coord>, String) {
    let (_, leader, _, _, flipped) = damaged().await;
    let coord: Arc<dyn crate::rpc::Coord> = leader;
    (coord, flipped.key)
}

#[tokio::test]
async fn a_leader_leads_without_a_damaged_manifest_and_refuses_its_collection_alone() {
    let (world, coord, hurt, other, flipped) = damaged().await;
    let by_id = || CollectionRef::Id(hurt.0);

    commit(&coord, other, 1).await.unwrap();
    assert_eq!(known(&coord, other).await[0].segments.len(), 2);
    create_named(&coord, "new").await.unwrap();
    let record = world.metas.get(&flipped.key).await.unwrap();

    let key = flipped.key.as_str();
    is_named(&coord.manifests(hurt.0).await.unwrap_err(), Kind::Corrupt, key);
    is_named(&coord.indexes(by_id()).await.unwrap_err(), Kind::Corrupt, key);
    is_named(&coord.drop_index(by_id(), "i").await.unwrap_err(), Kind::Corrupt, key);
    is_named(&coord.drop_partition(by_id(), "p").await.unwrap_err(), Kind::Corrupt, key);
    let emptied = coord.alter_collection(by_id(), CollectionChange::Truncate).await;
    is_named(&emptied.unwrap_err(), Kind::Corrupt, key);
    let routes = coord.routes(hurt.0).await.unwrap();
    assert!(routes.harm.as_ref().is_some_and(|harm| harm.contains(key)), "{routes:?}");
    assert!(routes.owners.iter().all(|owner| owner.place.is_none()), "{routes:?}");
    assert_eq!(coord.routes(other.0).await.unwrap().harm, None);

    // What is no matter of the manifest is changed, and keeps nothing in the place of the manifest.
    let name = "called".to_owned();
    let rename = CollectionChange::Rename { database: String::new(), name };
    coord.alter_collection(by_id(), rename).await.unwrap();
    is_named(&coord.manifests(hurt.0).await.unwrap_err(), Kind::Corrupt, key);
    assert_eq!(world.metas.get(&flipped.key).await.unwrap(), record, "nothing is written in its place");
}

#[tokio::test]
async fn a_leader_says_which_collections_are_set_aside_until_they_come_back() {
    let (world, coord, hurt, _, flipped) = damaged().await;
    let info = coord.collection(CollectionRef::Id(hurt.0)).await.unwrap();

    let wants = coord.lead().await.unwrap().wants.unwrap();

    let what = wants.damaged.first().map(|damaged| damaged.what.clone()).unwrap();
    assert!(what.contains("is damaged or lost") && what.contains(&flipped.key), "{what}");
    let set_aside =
        DamagedCollection { id: hurt.0, database: info.database_name.clone(), name: "hurt".to_owned(), what };
    let damaged = vec![set_aside];
    assert_eq!(wants, Wants { collections: 2, to_load: 0, damaged, ..wants.clone() });

    world.put_back(&flipped).await;
    assert!(coord.mend(&info).await.unwrap());
    assert_eq!(coord.lead().await.unwrap().wants.unwrap().damaged, []);
}

#[tokio::test]
async fn of_a_flush_into_a_damaged_manifest_nobody_says_that_nothing_was_done() {
    let (_world, coord, hurt, _, flipped) = damaged().await;
    let flush = |from| Flushed {
        collection: hurt.0,
        channel: channel(hurt),
        from: Position(from),
        to: Position(from + 1),
        segments: Vec::new(),
        deletes: Vec::new(),
        named_through: Timestamp::ZERO,
    };

    // The one that was committed before, whose answer was lost, and the next one.
    for from in [0, 1] {
        let refused = coord.commit_flush(flush(from)).await.unwrap_err();
        is_named(&refused, Kind::Unavailable, &flipped.key);
    }
    // One that is too late is refused for good elsewhere, and its objects are removed.
    let key = format!("deletes/{}/{}/5.bin", hurt.0, channel(hurt));
    let object = crate::model::ObjectRef { key, size_bytes: 1, crc32: 1 };
    let file = crate::model::DeleteManifest { rows: 1, newest: Timestamp(5), object };
    let late = Flushed { deletes: vec![file], ..flush(0) };
    is_named(&coord.commit_flush(late).await.unwrap_err(), Kind::Unavailable, &flipped.key);
}

#[tokio::test]
async fn a_damaged_manifest_that_is_put_back_is_taken_over_by_the_leader_there_is() {
    let (world, coord, hurt, _, flipped) = damaged().await;
    let tasks = TaskSet::new();
    tasks.start("watch", |stop| Arc::clone(&coord).watch_damage(stop));

    world.put_back(&flipped).await;
    let back = async {
        while coord.manifests(hurt.0).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), back).await.expect("it is whole again");

    // Nothing is left to watch.
    tasks.join().await.unwrap();
    assert_eq!(coord.routes(hurt.0).await.unwrap().harm, None);
    commit(&coord, hurt, 1).await.unwrap();
    let all = known(&coord, hurt).await;
    assert_eq!((all[0].segments.len(), all[0].checkpoint), (2, Position(2)));
    assert_eq!(known(&world.lead().await.unwrap(), hurt).await, all);
}

#[tokio::test]
async fn a_collection_comes_back_as_a_whole_or_not_at_all() {
    let world = World::new();
    let first = world.lead().await.unwrap();
    let made = first.create_collection(NewCollection {
        database: String::new(),
        name: "c".to_owned(),
        schema: schema(DataType::Int64),
        shards: 2,
        properties: Vec::new(),
        consistency: 0,
        partitions_by_key: 0,
    });
    let info = made.await.unwrap();
    for channel in &info.channels {
        let flushed = Flushed {
            collection: info.id,
            channel: channel.clone(),
            from: Position::FIRST,
            to: Position(Position::FIRST.0 + 7),
            segments: Vec::new(),
            deletes: Vec::new(),
            named_through: Timestamp::ZERO,
        };
        first.commit_flush(flushed).await.unwrap();
    }
    let whole = first.manifests(info.id).await.unwrap();
    let flipped = [world.flip(&info.channels[0]).await, world.flip(&info.channels[1]).await];
    let coord = world.lead().await.unwrap();
    is_named(&coord.manifests(info.id).await.unwrap_err(), Kind::Corrupt, &flipped[0].key);

    assert!(!coord.mend(&info).await.unwrap(), "nothing has changed");
    world.put_back(&flipped[0]).await;
    assert!(!coord.mend(&info).await.unwrap(), "one of two");
    is_named(&coord.manifests(info.id).await.unwrap_err(), Kind::Corrupt, &flipped[1].key);
    // Damaged again, and then gone: a channel without a record would be an empty one.
    world.flip(&info.channels[0]).await;
    world.metas.commit(Txn::new().delete(flipped[1].key.clone())).await.unwrap();
    assert!(!coord.mend(&info).await.unwrap(), "none of two");
    world.put_back(&flipped[0]).await;
    assert!(!coord.mend(&info).await.unwrap(), "a record is gone");
    world.put_back(&flipped[1]).await;

    assert!(coord.mend(&info).await.unwrap());
    assert_eq!(coord.manifests(info.id).await.unwrap(), whole);
    assert!(!coord.mend(&info).await.unwrap(), "it is there already");
}

#[tokio::test]
async fn garbage_that_a_damaged_manifest_may_name_stays() {
    let (world, coord, hurt, other, flipped) = damaged().await;
    let garbage = |id, place: Place| {
        let objects = vec![format!("segments/{}/5/scalars.parquet", place.0)];
        Change::PutGarbage(Garbage { id, objects, ..Garbage::default() })
    };
    coord.change("leave", |_| Ok(vec![garbage(1, hurt), garbage(2, other)])).await.unwrap();
    coord.tidy_mirror().await.unwrap();

    assert_eq!(coord.next_garbage().map(|garbage| garbage.id), Some(2));

    world.put_back(&flipped).await;
    let info = coord.collection(CollectionRef::Id(hurt.0)).await.unwrap();
    assert!(coord.mend(&info).await.unwrap());
    coord.tidy_mirror().await.unwrap();
    assert_eq!(coord.next_garbage().map(|garbage| garbage.id), Some(1));
}

#[tokio::test]
async fn the_copy_in_the_bucket_keeps_what_a_damaged_record_said() {
    let (world, coord, _, _, flipped) = damaged().await;
    let text = String::from_utf8(flipped.whole.to_vec()).unwrap();
    let copied = async || {
        let image = read_mirror(Arc::clone(&world.blobs) as _).await.unwrap().unwrap();
        image.records.get(&flipped.key).cloned()
    };

    coord.tidy_mirror().await.unwrap();
    assert_eq!(copied().await.as_ref(), Some(&text));
    // And so does the next leader, of which the one before has written the page.
    let next = world.lead().await.unwrap();
    next.tidy_mirror().await.unwrap();
    assert_eq!(copied().await, Some(text));
}

#[tokio::test]
async fn a_collection_with_a_damaged_manifest_can_be_dropped() {
    let (world, coord, hurt, other, flipped) = damaged().await;

    coord.drop_collection("", "hurt").await.unwrap();

    assert_eq!(coord.manifests(hurt.0).await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(world.metas.get(&flipped.key).await.unwrap(), None);
    assert!(coord.catalog.read().unreadable.is_empty());
    let next = world.lead().await.unwrap();
    assert_eq!(known(&next, other).await, known(&coord, other).await);
    create_named(&next, "hurt").await.unwrap();
}

#[tokio::test]
async fn what_is_damaged_is_told_by_a_comparison_of_the_store_with_the_catalog() {
    let (_world, coord, hurt, _, flipped) = damaged().await;
    let catalog = coord.catalog.read().clone();

    let found = super::decide::compare(
        &catalog,
        &catalog,
        &[(format!("segments/{}/5/scalars.parquet", hurt.0), 1)].into(),
        &std::collections::BTreeSet::new(),
        Timestamp::MAX,
    );

    assert_eq!(found.orphans, Vec::<String>::new(), "it may be named by what is damaged");
    let why = catalog.damage_of(hurt.0).unwrap().to_string();
    assert_eq!(found.unread, [Unread { key: flipped.key, why }]);
}

#[tokio::test]
async fn a_leader_does_not_lead_without_what_all_need_whatever_else_is_damaged() {
    let (world, _, hurt, _, flipped) = damaged().await;
    let key = format!("collections/{}", hurt.0);
    let mut record = world.metas.get(&key).await.unwrap().unwrap().value.to_vec();
    record[20] ^= 1;
    world.put(&key, record.into()).await;

    let refused = world.lead().await.err().unwrap();

    assert_eq!(refused.kind(), Kind::Corrupt);
    assert!(refused.to_string().contains(&key) && !refused.to_string().contains(&flipped.key), "{refused}");
}

#[tokio::test]
async fn an_object_of_a_manifest_that_is_lost_is_damage_and_is_named() {
    let world = World::new();
    let first = world.lead().await.unwrap();
    let place = create_named(&first, "c").await.unwrap();
    commit(&first, place, 100).await.unwrap();
    let whole = known(&first, place).await;
    let key = world.stored("manifests/").await.pop_first().unwrap();
    let body = world.blobs.read(&key).await.unwrap();
    world.blobs.delete(&key).await.unwrap();

    let coord = world.lead().await.unwrap();
    is_named(&coord.manifests(place.0).await.unwrap_err(), Kind::Corrupt, &key);
    world.blobs.create(&key, body).await.unwrap();
    let info = coord.collection(CollectionRef::Id(place.0)).await.unwrap();

    assert!(coord.mend(&info).await.unwrap());
    assert_eq!(known(&coord, place).await, whole);
}

#[tokio::test]
async fn a_record_that_is_gone_when_a_leader_starts_is_damage_and_no_empty_channel() {
    let world = World::new();
    let first = world.lead().await.unwrap();
    let full = create_named(&first, "full").await.unwrap();
    // Nothing was ever sealed of this one, and its record is there all the same.
    let empty = create_named(&first, "empty").await.unwrap();
    commit(&first, full, 1).await.unwrap();
    let whole = [known(&first, full).await, known(&first, empty).await];
    let lost = [world.lose(&channel(full)).await, world.lose(&channel(empty)).await];

    let coord = world.lead().await.unwrap();
    for (place, lost) in [full, empty].into_iter().zip(&lost) {
        is_named(&coord.manifests(place.0).await.unwrap_err(), Kind::Corrupt, &lost.key);
    }
    let segment = format!("segments/{}/5/scalars.parquet", full.0);
    let catalog = coord.catalog.read().clone();
    let none = std::collections::BTreeSet::new();
    let found = super::decide::compare(&catalog, &catalog, &[(segment, 1)].into(), &none, Timestamp::MAX);
    assert_eq!(found.orphans, Vec::<String>::new(), "nothing of it is removed");
    assert_eq!(found.unread.len(), 2);
    // The first page of this leader has everything, and keeps what was said of the records that are gone.
    coord.tidy_mirror().await.unwrap();
    let image = read_mirror(Arc::clone(&world.blobs) as _).await.unwrap().unwrap();
    for lost in &lost {
        assert_eq!(image.records.get(&lost.key).map(String::as_bytes), Some(&lost.whole[..]));
    }
    // Nor does who makes the catalog anew take a copy without it for that of an empty channel.
    let mut copy = image.records;
    copy.remove(&lost[0].key);
    let refused = record::read_copy(&copy, &Shelf::new(Arc::clone(&world.blobs) as _)).await.unwrap_err();
    assert!(refused.kind() == Kind::Corrupt && refused.to_string().contains(&lost[0].key), "{refused}");

    for lost in &lost {
        world.put_back(lost).await;
    }
    for (place, whole) in [full, empty].into_iter().zip(&whole) {
        let info = coord.collection(CollectionRef::Id(place.0)).await.unwrap();
        assert!(coord.mend(&info).await.unwrap());
        assert_eq!(known(&coord, place).await, *whole);
    }
}

#[tokio::test]
async fn a_channel_of_an_earlier_version_has_no_record_before_its_first_flush() {
    let world = World::new();
    let first = world.lead().await.unwrap();
    let place = create_named(&first, "c").await.unwrap();
    world.lose(&channel(place)).await;
    // As an earlier version writes what it knows of a collection.
    let key = format!("collections/{}", place.0);
    let info = first.collection(CollectionRef::Id(place.0)).await.unwrap();
    let mut earlier = serde_json::to_value(&*info).unwrap();
    assert_eq!(earlier.as_object_mut().unwrap().remove("recorded"), Some(serde_json::Value::Bool(true)));
    world.put(&key, record::encode(&key, &earlier).unwrap()).await;

    let coord = world.lead().await.unwrap();

    assert_eq!(known(&coord, place).await, [Arc::new(ChannelManifest::default())]);
    commit(&coord, place, 1).await.unwrap();
    assert_eq!(known(&world.lead().await.unwrap(), place).await, known(&coord, place).await);
}
