use std::sync::Arc;

use super::*;
use crate::base::{DatabaseId, FieldId, IndexId, Position};
use crate::coord::catalog::Garbage;
use crate::model::{ColumnRef, DataType, Field, IndexRef, ObjectRef, Partition};
use crate::segment::fixture::field;

const COLLECTION: CollectionId = CollectionId(1);
const FRESH: Timestamp = Timestamp(500);
const HUNDRED: Sizes = Sizes::of(100);

fn object(key: String, size_bytes: u64) -> ObjectRef {
    ObjectRef { key, size_bytes, crc32: 0 }
}

/// A segment of partition 1 with one row for each of its bytes.
pub(in crate::coord::decide) fn segment(id: i64, bytes: u64, oldest: u64) -> SegmentManifest {
    let object = object(format!("segments/1/{id}/scalars.parquet"), bytes);
    SegmentManifest {
        id: SegmentId(id),
        partition: PartitionId(1),
        rows: bytes,
        oldest: Timestamp(oldest),
        newest: Timestamp(oldest + 5),
        clean_through: Timestamp::ZERO,
        clustered_by: None,
        instants: Vec::new(),
        stats: None,
        columns: vec![ColumnRef { fields: vec![FieldId(100)], object }],
        indexes: Vec::new(),
    }
}

pub(in crate::coord::decide) fn file(newest: u64, rows: u64) -> DeleteManifest {
    let object = object(format!("deletes/1/c/{newest}.bin"), rows);
    DeleteManifest { rows, newest: Timestamp(newest), object }
}

pub(in crate::coord::decide) fn info(partitions: &[i64]) -> CollectionInfo {
    let partition = |id: &i64| Partition { id: PartitionId(*id), name: format!("p{id}"), created_unix_ms: 0 };
    CollectionInfo {
        id: COLLECTION,
        name: "c".to_owned(),
        database: DatabaseId(1),
        database_name: "default".to_owned(),
        schema: Arc::new(Schema {
            description: String::new(),
            fields: Vec::new(),
            enable_dynamic_field: false,
            functions: Vec::new(),
            structs: Vec::new(),
        }),
        channels: vec![ChannelName::of(COLLECTION, 0)],
        partitions: partitions.iter().map(partition).collect(),
        partitions_by_key: 0,
        aliases: Vec::new(),
        properties: Vec::new(),
        consistency: 0,
        created: Timestamp(1),
        updated: Timestamp(1),
        partitioned: Timestamp::ZERO,
        indexes: Vec::new(),
        load: None,
        recorded: true,
    }
}

fn manifest(segments: Vec<SegmentManifest>, deletes: Vec<DeleteManifest>) -> ChannelManifest {
    ChannelManifest { checkpoint: Position(77), segments, deletes, ..ChannelManifest::default() }
}

pub(in crate::coord::decide) fn catalog(partitions: &[i64], manifest: ChannelManifest) -> Catalog {
    let mut catalog = Catalog::default();
    catalog.apply(Change::PutCollection(info(partitions)));
    let channel = ChannelName::of(COLLECTION, 0);
    catalog.apply(Change::PutManifest { collection: COLLECTION, shard: 0, channel, manifest });
    catalog
}

fn next(manifest: &ChannelManifest, pace: Pace, taken: &[i64]) -> Option<Vec<i64>> {
    let manifests = [Arc::new(manifest.clone())];
    let plan = next_compaction(&info(&[1]), &manifests, HUNDRED, (pace, Moment::default()), |id| {
        taken.contains(&id.0)
    })?;
    Some(plan.sources.iter().map(|source| source.id.0).collect())
}

fn of_sizes(sizes: &[u64]) -> ChannelManifest {
    let ids = 1..;
    manifest(ids.zip(sizes).map(|(id, &bytes)| segment(id, bytes, 10)).collect(), Vec::new())
}

#[test]
fn four_small_segments_are_merged_and_three_only_on_demand() {
    assert_eq!(next(&of_sizes(&[10, 10, 10]), Pace::Automatic, &[]), None);
    assert_eq!(next(&of_sizes(&[10, 10, 10]), Pace::Manual, &[]), Some(vec![1, 2, 3]));
    assert_eq!(next(&of_sizes(&[10, 60, 12, 9, 11]), Pace::Automatic, &[]), Some(vec![1, 3, 4, 5]));
    assert_eq!(next(&of_sizes(&[10, 10, 10, 10]), Pace::Automatic, &[3]), None);
    assert_eq!(next(&of_sizes(&[10, 60]), Pace::Manual, &[]), None);
}

#[test]
fn a_merge_is_not_larger_than_a_segment_may_be() {
    assert_eq!(next(&of_sizes(&[40, 45, 41, 42]), Pace::Automatic, &[]), Some(vec![1, 3]));
    assert_eq!(next(&of_sizes(&[50, 50]), Pace::Manual, &[]), Some(vec![1, 2]));
}

/// The sources of the next merge of segments that have so many bytes of an integer and of vectors each, where segments of anything
/// have 100 and merged ones 400.
fn merged(each: &[(u64, u64)], is_clustered: bool) -> Option<Vec<i64>> {
    let integers = field(FieldId(100), "integers", DataType::Int64);
    let fields = vec![
        Field { is_clustering_key: is_clustered, ..integers },
        field(FieldId(101), "vectors", DataType::FloatVector),
    ];
    let mut info = info(&[1]);
    info.schema = Arc::new(Schema { fields, ..Schema::clone(&info.schema) });
    let segments = (1..).zip(each).map(|(id, &(integers, vectors))| {
        let mut made = segment(id, integers, 10);
        let object = object(format!("segments/1/{id}/101.bin"), vectors);
        made.columns.push(ColumnRef { fields: vec![FieldId(101)], object });
        made
    });
    let manifests = [Arc::new(manifest(segments.collect(), Vec::new()))];
    let sizes = Sizes { any: 100, merged: 400 };
    let plan = next_compaction(&info, &manifests, sizes, (Pace::Manual, Moment::default()), |_| false)?;
    Some(plan.sources.iter().map(|source| source.id.0).collect())
}

#[test]
fn a_merged_segment_may_have_more_of_vectors_than_of_what_is_unpacked_to_be_joined() {
    assert_eq!(merged(&[(0, 100); 5], false), Some(vec![1, 2, 3, 4]));
    assert_eq!(merged(&[(30, 0); 5], false), Some(vec![1, 2, 3]));
    assert_eq!(merged(&[(10, 60); 5], false), Some(vec![1, 2, 3, 4]));
    assert_eq!(merged(&[(0, 200), (0, 200)], false), Some(vec![1, 2]));
    assert_eq!(merged(&[(51, 0), (51, 0)], false), None, "they are more than half of what may be");
}

#[test]
fn segments_are_not_made_larger_than_there_is_room_for_beside_what_they_are_made_of() {
    let sizes = Sizes { any: 100, merged: 400 };
    let merged = [0, 199, 201, 600, 800, u64::MAX].map(|room| sizes.within(room).merged);

    assert_eq!(merged, [100, 100, 100, 300, 400, 400]);
    assert_eq!(sizes.within(0).any, 100);
}

#[test]
fn segments_that_are_to_be_clustered_are_not_made_larger_before() {
    assert_eq!(merged(&[(0, 60), (0, 60)], false), Some(vec![1, 2]));
    assert_eq!(merged(&[(0, 60), (0, 60)], true), None);
    assert_eq!(merged(&[(0, 40), (0, 40)], true), Some(vec![1, 2]));
}

#[test]
fn a_segment_is_not_rewritten_for_a_few_rows_more() {
    assert_eq!(next(&of_sizes(&[45, 1, 1, 1]), Pace::Automatic, &[]), None);
    assert_eq!(next(&of_sizes(&[45, 1, 1, 1, 1]), Pace::Automatic, &[]), Some(vec![2, 3, 4, 5]));
}

#[test]
fn a_segment_is_rewritten_once_a_fifth_of_it_may_be_deleted() {
    let with = |rows| manifest(vec![segment(1, 100, 10), segment(2, 80, 90)], vec![file(50, rows)]);

    assert_eq!(next(&with(20), Pace::Automatic, &[]), None);
    assert_eq!(next(&with(21), Pace::Automatic, &[]), Some(vec![1]));
    assert_eq!(next(&with(1), Pace::Manual, &[]), Some(vec![1]));
    let mut clean = with(21);
    clean.segments[0].clean_through = Timestamp(50);
    assert_eq!(next(&clean, Pace::Manual, &[]), None);
}

#[test]
fn a_collection_can_be_left_alone() {
    let mut info = info(&[1]);
    info.properties = vec![("collection.autocompaction.enabled".to_owned(), "False".to_owned())];
    let manifests = [Arc::new(of_sizes(&[1, 1, 1, 1]))];

    assert!(
        next_compaction(&info, &manifests, HUNDRED, (Pace::Automatic, Moment::default()), |_| false)
            .is_none()
    );
    assert!(
        next_compaction(&info, &manifests, HUNDRED, (Pace::Manual, Moment::default()), |_| false).is_some()
    );
}

fn plan_of(manifest: &ChannelManifest, sources: &[i64]) -> CompactPlan {
    let is_source = |one: &&SegmentManifest| sources.contains(&one.id.0);
    CompactPlan {
        collection: COLLECTION,
        channel: ChannelName::of(COLLECTION, 0),
        sources: manifest.segments.iter().filter(is_source).cloned().collect(),
        deletes: manifest.deletes.clone(),
        cluster_by: None,
        expiry: Expiry::default(),
        keeps_since: None,
    }
}

fn made(id: i64, clean_through: u64) -> SegmentManifest {
    SegmentManifest { clean_through: Timestamp(clean_through), ..segment(id, 20, 10) }
}

fn left(changes: &[Change]) -> Vec<Garbage> {
    let garbage = changes.iter().filter_map(|change| match change {
        Change::PutGarbage(garbage) => Some(garbage.clone()),
        _ => None,
    });
    garbage.collect()
}

#[test]
fn outputs_take_the_place_of_all_sources_in_one_change() {
    let planned = ChannelManifest {
        history_from: Timestamp(1),
        ..manifest(vec![segment(1, 10, 10), segment(2, 10, 10), segment(3, 90, 80)], vec![file(50, 3)])
    };
    let plan = plan_of(&planned, &[1, 2]);
    // Meanwhile an index of a source was built, and a flush came.
    let mut now = planned;
    let index = object("segments/1/2/index-7-8.bin".to_owned(), 5);
    now.segments[1].indexes.push(IndexRef { index: IndexId(7), field: FieldId(101), object: index });
    now.segments.push(segment(4, 10, 95));
    now.deletes.push(file(99, 1));

    let done = commit_compaction(&catalog(&[1], now.clone()), &plan, &[made(9, 50)], FRESH, 60_000);

    let expected = Change::PutManifest {
        collection: COLLECTION,
        shard: 0,
        channel: ChannelName::of(COLLECTION, 0),
        manifest: ChannelManifest {
            // No row went.
            history_from: Timestamp(1),
            ..manifest(vec![made(9, 50), now.segments[2].clone(), now.segments[3].clone()], vec![file(99, 1)])
        },
    };
    assert!(done.taken);
    assert_eq!(done.changes[0], expected);
    let garbage = Garbage {
        id: 500,
        objects: [
            "segments/1/1/scalars.parquet",
            "segments/1/1/manifest.json",
            "segments/1/2/scalars.parquet",
            "segments/1/2/index-7-8.bin",
            "segments/1/2/manifest.json",
            "deletes/1/c/50.bin",
        ]
        .map(str::to_owned)
        .to_vec(),
        collection: Some(COLLECTION),
        segments: vec![SegmentId(1), SegmentId(2)],
        not_before_unix_ms: 60_000,
        ..Garbage::default()
    };
    assert_eq!(left(&done.changes[1..]), [garbage]);
}

#[test]
fn a_stale_result_changes_nothing_and_is_garbage() {
    let planned = manifest(vec![segment(1, 10, 10), segment(2, 10, 10)], vec![file(50, 3)]);
    let plan = plan_of(&planned, &[1, 2]);
    let without = manifest(vec![segment(1, 10, 10)], vec![file(50, 3)]);
    let mut earlier = planned.clone();
    earlier.deletes.push(file(49, 1));

    for stale in
        [catalog(&[1], without), catalog(&[2], planned.clone()), catalog(&[1], earlier), Catalog::default()]
    {
        let done = commit_compaction(&stale, &plan, &[made(9, 50)], FRESH, 60_000);

        let objects = made(9, 50).objects();
        let segments = vec![SegmentId(9)];
        let garbage =
            Garbage { id: 500, objects, collection: Some(COLLECTION), segments, ..Garbage::default() };
        assert_eq!(done, Compacted { changes: vec![Change::PutGarbage(garbage)], taken: false });
    }
    assert!(still_there(&catalog(&[1], planned), &plan));
}

#[test]
fn delete_files_stay_while_a_segment_needs_them_and_the_newest_time_is_never_lost() {
    let needed = manifest(vec![segment(1, 10, 10), segment(2, 10, 20)], vec![file(15, 1), file(50, 3)]);
    let done =
        commit_compaction(&catalog(&[1], needed.clone()), &plan_of(&needed, &[1]), &[made(9, 50)], FRESH, 0);
    let Change::PutManifest { manifest: kept, .. } = &done.changes[0] else { panic!("{done:?}") };
    assert_eq!(kept.deletes, [file(50, 3)]);

    let last = manifest(vec![segment(1, 10, 10)], vec![file(15, 1), file(50, 3)]);
    let done = commit_compaction(&catalog(&[1], last.clone()), &plan_of(&last, &[1]), &[], FRESH, 0);
    let Change::PutManifest { manifest: kept, .. } = &done.changes[0] else { panic!("{done:?}") };
    let left = manifest(Vec::new(), vec![file(50, 3)]);
    assert_eq!(*kept, ChannelManifest { history_from: FRESH, ..left });
    assert_eq!(kept.newest(), last.newest());
}

#[test]
fn a_delete_file_stays_while_a_segment_is_held_that_was_replaced_before() {
    let last = manifest(vec![segment(1, 10, 10)], vec![file(15, 1), file(50, 3)]);
    let mut catalog = catalog(&[1], last.clone());
    let garbage = |id, collection, segment| Garbage {
        id,
        collection: Some(CollectionId(collection)),
        segments: vec![SegmentId(segment)],
        ..Garbage::default()
    };
    for waiting in [garbage(3, 1, 7), garbage(4, 2, 8)] {
        catalog.apply(Change::PutGarbage(waiting));
    }

    let done = commit_compaction(&catalog, &plan_of(&last, &[1]), &[], FRESH, 60_000);

    let [Change::PutManifest { .. }, Change::PutGarbage(left)] = &done.changes[..] else {
        panic!("{done:?}")
    };
    assert!(left.objects.contains(&file(15, 1).object.key), "{left:?}");
    assert_eq!(left.segments, [SegmentId(1), SegmentId(7)], "of this collection alone");
}

const HOUR_MS: u64 = 3_600_000;

fn with_ttl(seconds: &str) -> CollectionInfo {
    CollectionInfo { properties: vec![(crate::rpc::TTL.to_owned(), seconds.to_owned())], ..info(&[1]) }
}

fn moment(now: Timestamp) -> Moment {
    Moment { now, retention_s: 0 }
}

/// A segment with rows of these hours.
fn of_hours(id: i64, bytes: u64, oldest: u64, newest: u64) -> SegmentManifest {
    let time = |hours: u64| Timestamp::from_unix_ms(hours * HOUR_MS);
    SegmentManifest { oldest: time(oldest), newest: time(newest), ..segment(id, bytes, 0) }
}

/// What is compacted at an hour, of a collection whose rows live an hour, and whether nothing is left of it.
fn next_at(hours: u64, ttl: &str, manifest: &ChannelManifest, pace: Pace) -> Option<(Vec<i64>, bool)> {
    let now = Timestamp::from_unix_ms(hours * HOUR_MS);
    let manifests = [Arc::new(manifest.clone())];
    let plan = next_compaction(&with_ttl(ttl), &manifests, HUNDRED, (pace, moment(now)), |_| false)?;
    Some((plan.sources.iter().map(|source| source.id.0).collect(), plan.leaves_nothing()))
}

#[test]
fn what_has_expired_is_dropped_first_and_without_a_look_at_the_rows() {
    let manifest = manifest(
        vec![
            of_hours(1, 90, 10, 11),
            of_hours(2, 5, 12, 13),
            of_hours(3, 90, 11, 12),
            of_hours(4, 5, 20, 20),
        ],
        Vec::new(),
    );

    let at = |hours, ttl, pace| next_at(hours, ttl, &manifest, pace);

    assert_eq!(at(12, "3600", Pace::Manual), Some((vec![1], true)), "to the moment, when asked for");
    assert_eq!(at(12, "3600", Pace::Automatic), Some((vec![1], false)), "by itself a little later");
    assert_eq!(at(13, "3600", Pace::Automatic), Some((vec![1], true)));
    assert_eq!(at(15, "3600", Pace::Automatic), Some((vec![1, 2, 3], true)));
    for never in ["0", "-1"] {
        assert_eq!(at(99, never, Pace::Automatic), None);
        assert_eq!(at(99, never, Pace::Manual), Some((vec![2, 4], false)));
    }
}

#[test]
fn a_segment_is_rewritten_once_half_of_it_may_have_expired_and_on_demand_for_any_row() {
    let manifest = manifest(vec![of_hours(1, 100, 10, 20)], Vec::new());

    let at = |hours, pace| next_at(hours, "3600", &manifest, pace);

    assert_eq!([at(10, Pace::Manual), at(16, Pace::Automatic)], [None, None]);
    assert_eq!(at(12, Pace::Manual), Some((vec![1], false)));
    assert_eq!(at(17, Pace::Automatic), Some((vec![1], false)));
}

#[test]
fn what_had_expired_when_a_compaction_was_asked_for_stays_if_it_has_not_any_more() {
    let now = Timestamp::from_unix_ms(17 * HOUR_MS);
    let manifest = manifest(vec![of_hours(1, 100, 10, 20)], Vec::new());
    let mut catalog = catalog(&[1], manifest);
    catalog.apply(Change::PutCollection(with_ttl("3600")));
    let asked =
        ask_compaction(&catalog, COLLECTION, (5, moment(now)), false, HUNDRED, &BTreeSet::new()).unwrap();
    let [Change::PutCompaction(asked)] = &asked[..] else { panic!("{asked:?}") };

    let plan = |catalog: &Catalog| {
        super::plan_of(catalog, COLLECTION, &asked.plans[0], moment(now.plus_ms(HOUR_MS)))
    };
    let same = plan(&catalog).unwrap().expiry;
    catalog.apply(Change::PutCollection(with_ttl("7200")));
    let longer = plan(&catalog).unwrap().expiry;
    catalog.apply(Change::PutCollection(info(&[1])));
    let none = plan(&catalog).unwrap().expiry;

    let hours = |hours: u64| Timestamp::from_unix_ms(hours * HOUR_MS).next();
    assert_eq!(same.written_before, hours(16), "that of when it was asked for, an hour later too");
    assert_eq!((longer.written_before, none), (hours(16), Expiry::default()));
}

#[test]
fn a_plan_that_drops_what_is_seen_again_is_not_carried_out() {
    let (hour, now) =
        (|hours: u64| Timestamp::from_unix_ms(hours * HOUR_MS), Timestamp::from_unix_ms(17 * HOUR_MS));
    let manifest = manifest(vec![of_hours(1, 100, 10, 12), of_hours(2, 100, 11, 13)], Vec::new());
    let mut catalog = catalog(&[1], manifest.clone());
    catalog.apply(Change::PutCollection(with_ttl("3600")));
    let asked =
        ask_compaction(&catalog, COLLECTION, (5, moment(now)), false, HUNDRED, &BTreeSet::new()).unwrap();
    let [Change::PutCompaction(asked)] = &asked[..] else { panic!("{asked:?}") };
    let plan = super::plan_of(&catalog, COLLECTION, &asked.plans[0], moment(now)).unwrap();
    assert!(plan.sources.len() == 2 && plan.leaves_nothing());

    let later = |catalog: &Catalog| {
        let is_planned = super::plan_of(catalog, COLLECTION, &asked.plans[0], moment(hour(18))).is_some();
        (is_planned, has_still_expired(catalog, &plan, moment(hour(18))))
    };
    let same = later(&catalog);
    catalog.apply(Change::PutCollection(with_ttl("36000")));
    let longer = later(&catalog);
    catalog.apply(Change::PutCollection(info(&[1])));
    let never = later(&catalog);

    assert_eq!([same, longer, never], [(true, true), (false, false), (false, false)]);
    let given_up = give_up_compaction(&plan, &[made(9, 50)], FRESH);
    assert!(!given_up.taken && left(&given_up.changes)[0].objects.len() == made(9, 50).objects().len());
}

#[test]
fn the_newest_time_is_not_lost_with_rows_that_expired() {
    let planned = manifest(vec![segment(1, 10, 10), segment(2, 10, 20)], Vec::new());
    let mut plan = plan_of(&planned, &[1, 2]);
    plan.expiry.written_before = Timestamp(99);

    let done = commit_compaction(&catalog(&[1], planned.clone()), &plan, &[], FRESH, 0);

    let Change::PutManifest { manifest: left, .. } = &done.changes[0] else { panic!("{done:?}") };
    let expected =
        ChannelManifest { expired_through: Timestamp(25), history_from: FRESH, ..ChannelManifest::default() };
    assert_eq!(*left, ChannelManifest { checkpoint: planned.checkpoint, ..expected });
    assert_eq!(left.newest(), planned.newest());
}

/// A collection that keeps what is gone for an hour, at the third hour.
fn keeping(properties: &[(&str, &str)]) -> (CollectionInfo, Moment) {
    let text = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    let info = CollectionInfo { properties: properties.iter().map(text).collect(), ..info(&[1]) };
    (info, moment(Timestamp::from_unix_ms(3 * HOUR_MS)))
}

#[test]
fn what_was_deleted_since_the_kept_past_began_is_no_reason_to_compact() {
    let time = |hours: u64| Timestamp::from_unix_ms(hours * HOUR_MS);
    let with_deletes = |hours: u64| {
        let deleted = DeleteManifest { newest: time(hours), ..file(0, 40) };
        Arc::new(manifest(vec![of_hours(1, 90, 0, 1)], vec![deleted]))
    };
    let next = |hours: u64, properties: &[(&str, &str)], pace: Pace| {
        let (info, when) = keeping(properties);
        let plan = next_compaction(&info, &[with_deletes(hours)], HUNDRED, (pace, when), |_| false)?;
        Some(plan.keeps_since)
    };
    let hour = [(crate::rpc::RETENTION, "3600")];

    for pace in [Pace::Automatic, Pace::Manual] {
        assert_eq!(next(2, &hour, pace), Some(Some(time(2))));
        assert_eq!(next(3, &hour, pace), None);
        assert_eq!(next(3, &[], pace), Some(None));
    }
}

#[test]
fn what_had_not_expired_when_the_kept_past_began_stays() {
    let time = |hours: u64| Timestamp::from_unix_ms(hours * HOUR_MS);
    let (info, when) = keeping(&[(crate::rpc::TTL, "3600"), (crate::rpc::RETENTION, "3600")]);
    let manifests = [Arc::new(manifest(vec![of_hours(1, 90, 0, 0), of_hours(2, 90, 2, 2)], Vec::new()))];

    let plan = next_compaction(&info, &manifests, HUNDRED, (Pace::Manual, when), |_| false).unwrap();

    assert_eq!(plan.sources.iter().map(|source| source.id.0).collect::<Vec<_>>(), [1]);
    assert_eq!(plan.expiry.written_before, time(1).next());
}

#[test]
fn rows_that_end_by_a_field_are_dropped_as_far_as_the_manifest_tells() {
    let ends = FieldId(107);
    let field = |id, name: &str, data_type| crate::segment::fixture::field(id, name, data_type);
    let mut info = info(&[1]);
    info.schema = Arc::new(Schema {
        fields: vec![field(ends, "ends", crate::model::DataType::Timestamptz)],
        ..Schema::clone(&info.schema)
    });
    info.properties = vec![(crate::rpc::TTL_FIELD.to_owned(), "ends".to_owned())];
    let known = |id, hours: (i64, i64)| SegmentManifest {
        instants: vec![crate::model::Instants {
            field: ends,
            nulls: 0,
            span: Some((hours.0 * 3_600_000_000, hours.1 * 3_600_000_000)),
        }],
        ..segment(id, 90, 10)
    };
    // Of the last nothing is known: it was made by an earlier version.
    let manifests =
        [Arc::new(manifest(vec![known(1, (1, 3)), known(2, (3, 13)), segment(3, 90, 10)], Vec::new()))];
    let at = |hours: u64, pace| {
        let now = Timestamp::from_unix_ms(hours * HOUR_MS);
        let plan = next_compaction(&info, &manifests, HUNDRED, (pace, moment(now)), |_| false)?;
        Some((plan.sources.iter().map(|source| source.id.0).collect::<Vec<_>>(), plan.leaves_nothing()))
    };

    assert_eq!(at(1, Pace::Automatic), None);
    assert_eq!(at(4, Pace::Automatic), Some((vec![1], true)));
    assert_eq!(at(14, Pace::Automatic), Some((vec![1, 2], true)));
    assert_eq!(at(3, Pace::Manual), Some((vec![1], true)));
    assert_eq!(at(0, Pace::Manual), Some((vec![3], false)));
}
