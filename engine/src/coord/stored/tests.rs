use super::*;
use crate::base::{FieldId, IndexId, PartitionId, Rng as _, SeededRng, SegmentId, Timestamp};
use crate::model::{ColumnRef, IndexRef, ObjectRef};

fn object(key: String) -> ObjectRef {
    ObjectRef { key, size_bytes: 123_456, crc32: 0xdead_beef }
}

/// As real ones: ids are times, three columns and statistics.
fn segment(number: i64) -> SegmentManifest {
    let id = 466_000_000_000_000_000 + number;
    let column = |name: &str| ColumnRef {
        fields: vec![FieldId(100)],
        object: object(format!("segments/466000000000000001/{id}/{name}")),
    };
    SegmentManifest {
        id: SegmentId(id),
        partition: PartitionId(466_000_000_000_000_002),
        rows: 100_000,
        oldest: Timestamp(466_000_000_000_000_000),
        newest: Timestamp(466_000_000_000_000_999),
        clean_through: Timestamp::ZERO,
        clustered_by: None,
        instants: Vec::new(),
        columns: vec![column("scalars.parquet"), column("vector-101.bin"), column("vector-102.bin")],
        stats: Some(object(format!("segments/466000000000000001/{id}/stats.bin"))),
        indexes: Vec::new(),
    }
}

fn index(segment: &mut SegmentManifest, serial: i64) {
    let object = object(format!("segments/466000000000000001/{}/index-7-{serial}.bin", segment.id));
    segment.indexes.push(IndexRef { index: IndexId(7), field: FieldId(101), object });
}

fn manifest(segments: i64) -> ChannelManifest {
    ChannelManifest { segments: (0..segments).map(segment).collect(), ..ChannelManifest::default() }
}

/// The next manifest: a flush, an index, a compaction or a drop.
fn changed(old: &ChannelManifest, step: i64, rng: &SeededRng) -> ChannelManifest {
    let mut new = old.clone();
    let at = |len: usize| (rng.next_u64() % len.max(1) as u64) as usize;
    match rng.next_u64() % 8 {
        0..=3 => {
            new.checkpoint = Position(old.checkpoint.0 + 10);
            new.segments.push(segment(1_000_000 + step));
            let object = object(format!("deletes/1/c/{step}.bin"));
            new.deletes.push(DeleteManifest { rows: 3, newest: Timestamp(9), object });
        }
        4 | 5 => {
            let at = at(new.segments.len());
            new.segments.get_mut(at).into_iter().for_each(|segment| index(segment, step));
        }
        6 => {
            let from = at(new.segments.len());
            let to = (from + 4).min(new.segments.len());
            drop(new.segments.splice(from..to, [segment(2_000_000 + step)]));
            new.deletes.truncate(2);
        }
        _ => {
            let at = at(new.segments.len());
            new.segments.truncate(at.max(40));
        }
    }
    new
}

#[test]
fn whatever_changes_a_manifest_is_what_its_objects_say() {
    for seed in 0..40 {
        let rng = SeededRng::new(seed);
        let mut old = manifest(60);
        let mut stored: Option<Stored> = None;
        let mut objects: HashMap<i64, Bytes> = HashMap::new();
        for step in 0..60 {
            let new = changed(&old, step, &rng);

            let arranged = arrange(stored.as_ref().map(|stored| (&old, stored)), &new, step).unwrap();

            let Arranged::Object { stored: now, body } = arranged else {
                panic!("{} segments", new.segments.len())
            };
            objects.insert(step, body);
            let read = now.pieces().map(|piece| unseal("k", &objects[&piece.number], Some(piece)).unwrap());
            assert_eq!(assemble("k", read.collect()).unwrap(), new, "seed {seed} step {step}");
            (old, stored) = (new, Some(now));
        }
    }
}

#[test]
fn a_flush_of_a_large_channel_writes_a_fraction_of_its_manifest_and_a_record_of_half_a_kilobyte() {
    let mut old = manifest(5_000);
    let Arranged::Object { stored, body } = arrange(None, &old, 0).unwrap() else { panic!("is inline") };
    let (whole, mut written, mut stored) = (body.len(), 0, stored);

    for step in 1..=90 {
        let mut new = old.clone();
        new.segments.push(segment(100_000 + step));
        let arranged = arrange(Some((&old, &stored)), &new, 466_000_000_000_000_000 + step).unwrap();
        let Arranged::Object { stored: now, body } = arranged else { panic!("is inline") };
        written += body.len();
        (old, stored) = (new, now);
        let record = serde_json::to_vec(&stored).unwrap();
        assert!(record.len() < 700, "{} bytes", record.len());
    }

    assert!(whole > 2_000_000, "{whole} bytes");
    assert!(written < 90 * whole / 8, "{written} bytes for 90 flushes of {whole}");
}

#[test]
fn what_an_earlier_version_has_dropped_of_the_past_is_not_taken_for_kept() {
    let old = ChannelManifest { history_from: Timestamp(1), expired_through: Timestamp(7), ..manifest(60) };
    let new = ChannelManifest { checkpoint: Position(10), ..old.clone() };
    let mut delta = serde_json::to_value(Delta::between(&old, &new)).unwrap();
    for later in ["history_from", "expired_through"] {
        delta.as_object_mut().unwrap().remove(later).unwrap();
    }

    let read = serde_json::from_value::<Delta>(delta).unwrap().apply(&old).unwrap();

    assert_eq!(read, ChannelManifest { history_from: Timestamp::ZERO, ..new });
}

#[test]
fn what_is_small_stays_in_its_record() {
    assert_eq!(arrange(None, &manifest(2), 1).unwrap(), Arranged::Inline);
    assert!(matches!(arrange(None, &manifest(30), 1).unwrap(), Arranged::Object { .. }));
}

#[test]
fn no_flipped_bit_and_no_lost_byte_of_an_object_is_served() {
    let body = seal(&Content::Whole(manifest(3))).unwrap();
    let piece = piece_of(7, &body);
    for bit in 0..body.len() * 8 {
        let mut damaged = body.to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(unseal::<Content>("k", &damaged, Some(&piece)).is_err(), "bit {bit}");
        // Also without the record that knows the checksum of the whole.
        assert!(unseal::<Content>("k", &damaged, None).is_err(), "bit {bit}, by itself");
    }
    for cut in 0..body.len() {
        assert!(unseal::<Content>("k", &body[..cut], None).is_err(), "cut at {cut}");
    }
    assert_eq!(unseal::<Content>("k", &body, Some(&piece)).unwrap(), Content::Whole(manifest(3)));
}

#[test]
fn pieces_that_do_not_belong_together_are_refused() {
    let (old, new) = (manifest(60), manifest(61));
    let delta = || Content::Delta(Delta::between(&old, &new));

    assert!(assemble("k", vec![delta()]).is_err());
    assert!(assemble("k", vec![Content::Whole(manifest(10)), delta()]).is_err());
    assert!(assemble("k", vec![Content::Whole(old.clone()), Content::Whole(old.clone())]).is_err());
    assert!(assemble("k", Vec::new()).is_err());
    assert_eq!(assemble("k", vec![Content::Whole(old.clone()), delta()]).unwrap(), new);
}
