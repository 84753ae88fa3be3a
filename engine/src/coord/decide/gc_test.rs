//! Removal of objects racing with everybody who writes, replaces and reads them: seeded steps over the decisions alone,
//! with a store that is a set of keys.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::compact::tests::info;
use super::*;
use crate::base::{
    ChannelName, CollectionId, IndexId, PartitionId, Position, Rng as _, SeededRng, SegmentId, Timestamp,
};
use crate::coord::catalog::{Catalog, Garbage};
use crate::model::{
    ChannelManifest, ColumnRef, DeleteManifest, IndexDefinition, IndexRef, Metric, ObjectRef, SegmentManifest,
};
use crate::rpc::Flushed;

const COLLECTION: CollectionId = CollectionId(1);
const INDEX: IndexId = IndexId(9);
/// How long replaced objects stay. Unit: milliseconds.
const GRACE: u64 = 60_000;
const READERS: usize = 3;

/// Work that writes objects one after the other and then wants them named.
struct Flight {
    todo: Vec<String>,
    done: Vec<String>,
    what: What,
    began: u64,
    /// Whether it takes very long.
    is_slow: bool,
}

enum What {
    Flush { flushed: Flushed, first: i64 },
    Compaction { plan: CompactPlan, made: Vec<SegmentManifest> },
    Index { segment: SegmentId, built: IndexRef },
}

/// How far a search for orphans is.
enum Sweep {
    Begun { before: Catalog, until: Timestamp, in_work: BTreeSet<SegmentId> },
    Listed { before: Catalog, until: Timestamp, in_work: BTreeSet<SegmentId>, listed: BTreeMap<String, u64> },
    Removing(Vec<String>),
}

/// A node that reads what it was last ordered to hold, and lets go of the rest a little later.
#[derive(Default)]
struct Reader {
    ordered: Arc<ChannelManifest>,
    /// Of older orders, still read by routes that some proxy uses.
    retiring: Vec<SegmentManifest>,
}

impl Reader {
    fn holds(&self, id: SegmentId) -> bool {
        self.ordered.segments.iter().chain(&self.retiring).any(|segment| segment.id == id)
    }

    /// Everything that it may have to read at any moment.
    fn needs(&self) -> BTreeSet<String> {
        let mut needs: BTreeSet<String> = self
            .ordered
            .segments
            .iter()
            .chain(&self.retiring)
            .flat_map(|segment| segment.columns.iter().map(|column| column.object.key.clone()))
            .collect();
        for segment in &self.ordered.segments {
            let files = self.ordered.deletes.iter().filter(|file| segment.needs(file));
            needs.extend(files.map(|file| file.object.key.clone()));
            needs.extend(segment.indexes.iter().map(|index| index.object.key.clone()));
        }
        needs
    }
}

#[derive(Default)]
struct Counts {
    flushed: u64,
    late: u64,
    kept_long: u64,
    compacted: u64,
    indexed: u64,
    swept: u64,
    removed: u64,
    read: u64,
    leaders: u64,
}

struct World {
    rng: Arc<SeededRng>,
    now: u64,
    last: i64,
    catalog: Catalog,
    store: BTreeSet<String>,
    flights: Vec<Flight>,
    in_work: BTreeSet<SegmentId>,
    sweep: Option<Sweep>,
    /// What a leader that was replaced is still removing, with a call that it has made already.
    old_sweep: Vec<String>,
    removing: Option<(Garbage, Vec<String>)>,
    readers: Vec<Reader>,
    counts: Counts,
}

fn object(key: String) -> ObjectRef {
    ObjectRef { key, size_bytes: 100, crc32: 0 }
}

fn segment(id: i64, at: u64, clean_through: Timestamp) -> SegmentManifest {
    let key = |name: &str| object(format!("segments/1/{id}/{name}"));
    let column = |name: &str| ColumnRef { fields: Vec::new(), object: key(name) };
    SegmentManifest {
        id: SegmentId(id),
        partition: PartitionId(1),
        rows: 100,
        oldest: Timestamp(at),
        newest: Timestamp(at),
        clean_through,
        clustered_by: None,
        instants: Vec::new(),
        stats: Some(key("stats.bin")),
        columns: vec![column("scalars.parquet"), column("vector-101.bin")],
        indexes: Vec::new(),
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let mut info = info(&[1]);
        info.indexes.push(IndexDefinition {
            id: INDEX,
            name: "v".to_owned(),
            field: crate::base::FieldId(101),
            index_type: "HNSW".to_owned(),
            metric: Some(Metric::L2),
            params: Vec::new(),
        });
        let mut catalog = Catalog::default();
        catalog.apply(Change::PutCollection(info));
        Self {
            rng: SeededRng::new(seed),
            now: 1_700_000_000_000,
            last: 0,
            catalog,
            store: BTreeSet::new(),
            flights: Vec::new(),
            in_work: BTreeSet::new(),
            sweep: None,
            old_sweep: Vec::new(),
            removing: None,
            readers: (0..READERS).map(|_| Reader::default()).collect(),
            counts: Counts::default(),
        }
    }

    fn below(&self, bound: usize) -> usize {
        self.rng.below(bound as u64) as usize
    }

    /// A number and a time that were never given before.
    fn fresh(&mut self) -> i64 {
        self.last = self.last.max(Timestamp::from_unix_ms(self.now).as_id()) + 100;
        self.last
    }

    fn timestamp(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.now)
    }

    fn manifest(&self) -> Arc<ChannelManifest> {
        Arc::clone(&self.catalog.manifests[&COLLECTION][0])
    }

    fn apply(&mut self, changes: Vec<Change>) {
        changes.into_iter().for_each(|change| self.catalog.apply(change));
        for key in self.catalog.named_objects() {
            assert!(self.store.contains(&key), "{key} is named and gone");
        }
    }

    /// Removes an object; nobody may need it.
    fn remove(&mut self, key: &str) {
        let is_named = self.catalog.named_objects().any(|named| named == key);
        assert!(!is_named, "{key} is removed and named");
        for reader in &self.readers {
            assert!(!reader.needs().contains(key), "{key} is removed and read");
        }
        self.store.remove(key);
        self.counts.removed += 1;
    }

    fn begin_flush(&mut self) {
        let is_flush = |flight: &&Flight| matches!(flight.what, What::Flush { .. });
        if let Some(other) = self.flights.iter().find(is_flush) {
            // Seldom do two nodes believe to own the channel; so seldom that a flush that takes an hour is mostly the one
            // that is committed.
            let seldom = if other.is_slow { 64 } else { 8 };
            if self.below(seldom) > 0 {
                return;
            }
        }
        let manifest = self.manifest();
        let first = self.fresh();
        let (id, at) = (self.fresh(), self.fresh() as u64);
        let mut flushed = Flushed {
            collection: COLLECTION,
            channel: ChannelName::of(COLLECTION, 0),
            from: manifest.checkpoint,
            to: Position(manifest.checkpoint.0 + 1),
            segments: vec![segment(id, at, Timestamp::ZERO)],
            deletes: Vec::new(),
            named_through: Timestamp::ZERO,
        };
        if self.below(2) == 0 {
            let serial = self.fresh();
            let file = object(format!("deletes/1/{}/{serial}.bin", flushed.channel));
            flushed.deletes.push(DeleteManifest { rows: 5, newest: Timestamp(at), object: file });
        }
        let mut todo: Vec<String> = flushed.segments[0].objects();
        todo.extend(flushed.deletes.iter().map(|file| file.object.key.clone()));
        let what = What::Flush { flushed, first };
        self.flights.push(Flight {
            todo,
            done: Vec::new(),
            what,
            began: self.now,
            is_slow: self.below(2) == 0,
        });
    }

    fn begin_compaction(&mut self) {
        let manifests = [self.manifest()];
        let info = Arc::clone(&self.catalog.collections[&COLLECTION]);
        let taken = |id| self.in_work.contains(&id);
        let Some(plan) =
            next_compaction(&info, &manifests, Sizes::of(2_000), (Pace::Manual, Moment::default()), taken)
        else {
            return;
        };
        let newest = plan.sources.iter().map(|source| source.newest.0).max().unwrap_or_default();
        let through = plan.deletes.iter().map(|file| file.newest).max().unwrap_or_default();
        let made: Vec<SegmentManifest> = match self.below(4) {
            0 => Vec::new(),
            _ => vec![segment(self.fresh(), newest, through)],
        };
        self.in_work.extend(plan.sources.iter().chain(&made).map(|one| one.id));
        let todo = made.iter().flat_map(SegmentManifest::objects).collect();
        self.flights.push(Flight {
            todo,
            done: Vec::new(),
            what: What::Compaction { plan, made },
            began: self.now,
            is_slow: self.below(5) == 0,
        });
    }

    fn begin_index(&mut self) {
        let manifest = self.manifest();
        let wanted =
            manifest.segments.iter().find(|one| one.indexes.is_empty() && !self.in_work.contains(&one.id));
        let Some(segment) = wanted.map(|one| one.id) else { return };
        let serial = self.fresh();
        let key = format!("segments/1/{segment}/index-{INDEX}-{serial}.bin");
        let built = IndexRef { index: INDEX, field: crate::base::FieldId(101), object: object(key.clone()) };
        self.in_work.insert(segment);
        let what = What::Index { segment, built };
        self.flights.push(Flight {
            todo: vec![key],
            done: Vec::new(),
            what,
            began: self.now,
            is_slow: self.below(5) == 0,
        });
    }

    /// One of the works under way goes on: writes an object, is given up, or is committed.
    fn fly(&mut self) {
        if self.flights.is_empty() {
            return;
        }
        let at = self.below(self.flights.len());
        if let What::Flush { flushed, first } = &self.flights[at].what {
            let is_long = self.now - self.flights[at].began > 4 * 60 * 1_000;
            // Sometimes the coordinator does not hear it in time.
            if is_long && self.below(6) == 0 {
                let (channel, first) = (flushed.channel.clone(), *first);
                if let Ok(change) = keep_flush(&self.catalog, &channel, first, self.timestamp()) {
                    self.apply(change.into_iter().collect());
                }
            }
        }
        // A slow flush takes an hour or two.
        let pause = if matches!(self.flights[at].what, What::Flush { .. }) { 12 } else { 20 };
        if self.flights[at].is_slow && self.below(pause) > 0 {
            return;
        }
        if self.below(40) == 0 {
            // Its process died. What the leader knew of it, it learns at once.
            let flight = self.flights.swap_remove(at);
            self.forget(&flight);
            return;
        }
        if let Some(key) = self.flights[at].todo.pop() {
            self.store.insert(key.clone());
            self.flights[at].done.push(key);
            return;
        }
        let flight = self.flights.swap_remove(at);
        self.commit(flight);
    }

    fn forget(&mut self, flight: &Flight) {
        match &flight.what {
            What::Flush { .. } => {}
            What::Compaction { plan, made } => {
                for one in plan.sources.iter().chain(made) {
                    self.in_work.remove(&one.id);
                }
            }
            What::Index { segment, .. } => {
                self.in_work.remove(segment);
            }
        }
    }

    fn commit(&mut self, flight: Flight) {
        match &flight.what {
            What::Flush { flushed, .. } => match commit_flush(&self.catalog, flushed, self.timestamp()) {
                Ok(changes) => {
                    self.apply(changes);
                    self.counts.flushed += 1;
                    self.counts.kept_long += u64::from(self.now - flight.began > SPARED_MS);
                }
                Err(stale) => {
                    self.counts.late += u64::from(stale == Stale::Late);
                    // The owner removes what was refused, unless it dies before.
                    for key in flight.done.iter().filter(|_| self.rng.below(2) == 0) {
                        self.store.remove(key);
                    }
                }
            },
            What::Compaction { plan, made } => {
                let fresh = Timestamp(self.fresh() as u64);
                let done = commit_compaction(&self.catalog, plan, made, fresh, self.now + GRACE);
                self.counts.compacted += u64::from(done.taken);
                self.apply(done.changes);
            }
            What::Index { segment, built } => {
                match commit_index(&self.catalog, COLLECTION, *segment, built) {
                    Some(change) => {
                        self.apply(vec![change]);
                        self.counts.indexed += 1;
                    }
                    None => {
                        self.store.remove(&built.object.key);
                    }
                }
            }
        }
        self.forget(&flight);
    }

    fn sweep(&mut self) {
        self.sweep = match self.sweep.take() {
            None => {
                let until = self.timestamp().minus_ms(SPARED_MS);
                Some(Sweep::Begun { before: self.catalog.clone(), until, in_work: self.in_work.clone() })
            }
            Some(Sweep::Begun { before, until, in_work }) => {
                // Sizes are not looked at here.
                let listed = self.store.iter().map(|key| (key.clone(), 1)).collect();
                Some(Sweep::Listed { before, until, in_work, listed })
            }
            Some(Sweep::Listed { before, until, mut in_work, listed }) => {
                in_work.extend(&self.in_work);
                let found = compare(&before, &self.catalog, &listed, &in_work, until);
                assert_eq!((found.missing, found.strange), (Vec::new(), Vec::new()));
                (!found.orphans.is_empty()).then_some(Sweep::Removing(found.orphans))
            }
            Some(Sweep::Removing(mut keys)) => {
                if let Some(key) = keys.pop() {
                    self.remove(&key);
                    self.counts.swept += 1;
                }
                (!keys.is_empty()).then_some(Sweep::Removing(keys))
            }
        };
    }

    fn remove_garbage(&mut self) {
        match self.removing.take() {
            None => {
                let is_held = |garbage: &Garbage| {
                    garbage.segments.iter().any(|id| self.readers.iter().any(|reader| reader.holds(*id)))
                };
                let mut due = self.catalog.garbage.values().filter(|one| one.not_before_unix_ms <= self.now);
                let Some(garbage) = due.find(|one| !is_held(one)).cloned() else { return };
                let spared = spared(&self.catalog, &garbage);
                assert_eq!(spared, Vec::<String>::new(), "garbage names what is in use");
                let objects = garbage.objects.clone();
                self.removing = Some((garbage, objects));
            }
            Some((garbage, mut objects)) => match objects.pop() {
                Some(key) => {
                    self.remove(&key);
                    self.removing = Some((garbage, objects));
                }
                None => self.apply(vec![Change::RemoveGarbage(garbage.id)]),
            },
        }
    }

    fn read(&mut self) {
        let (manifest, at) = (self.manifest(), self.below(READERS));
        let dice = self.below(3);
        let reader = &mut self.readers[at];
        match dice {
            0 => {
                let old = std::mem::replace(&mut reader.ordered, manifest);
                let is_gone =
                    |one: &&SegmentManifest| !reader.ordered.segments.iter().any(|new| new.id == one.id);
                let gone: Vec<SegmentManifest> = old.segments.iter().filter(is_gone).cloned().collect();
                reader.retiring.extend(gone);
            }
            // No proxy uses an older route any more.
            1 => reader.retiring.clear(),
            _ => {
                for key in reader.needs() {
                    assert!(self.store.contains(&key), "{key} is needed by a reader and gone");
                }
                self.counts.read += 1;
            }
        }
    }

    /// Another leader: it knows no job under way, and nothing of the sweep of the old one, which has made a call.
    fn change_leader(&mut self) {
        self.counts.leaders += 1;
        self.in_work.clear();
        self.flights.retain(|flight| matches!(flight.what, What::Flush { .. }));
        if let Some(Sweep::Removing(keys)) = self.sweep.take() {
            self.old_sweep = keys;
        }
        self.removing = None;
    }

    fn step(&mut self) {
        self.now += match self.below(300) {
            // Short enough that a flush that takes long is mostly asked in time whether it goes on.
            0..=2 => self.rng.below(20 * 60 * 1_000),
            3..=22 => self.rng.below(60_000),
            _ => self.rng.below(500),
        };
        match self.below(64) {
            0 | 1 if self.flights.len() < 6 => self.begin_flush(),
            2..=4 if self.flights.len() < 6 => self.begin_compaction(),
            5 | 6 if self.flights.len() < 6 => self.begin_index(),
            7..=28 => self.fly(),
            29..=36 => self.sweep(),
            37..=46 => self.remove_garbage(),
            47 if self.below(20) == 0 => self.change_leader(),
            48..=50 => {
                if let Some(key) = self.old_sweep.pop() {
                    self.remove(&key);
                }
            }
            _ => self.read(),
        }
    }

    /// Everything comes to rest; nothing is left then that nobody names.
    fn settle(&mut self) {
        self.flights.clear();
        self.in_work.clear();
        self.sweep = None;
        for _ in 0..2 {
            self.now += 2 * SPARED_MS;
            let manifest = self.manifest();
            for reader in &mut self.readers {
                (reader.ordered, reader.retiring) = (Arc::clone(&manifest), Vec::new());
            }
            // A flush that was announced and died is replaced by the next one of the channel.
            while !self.catalog.flushes.is_empty() {
                self.begin_flush();
                while !self.flights.is_empty() {
                    self.fly();
                }
            }
            while !self.catalog.garbage.is_empty() || self.removing.is_some() {
                self.remove_garbage();
                self.now += GRACE;
            }
            self.sweep();
            while self.sweep.is_some() {
                self.sweep();
            }
            self.now += 2 * SPARED_MS;
        }
        self.sweep();
        while self.sweep.is_some() {
            self.sweep();
        }
        let named: BTreeSet<String> = self.catalog.named_objects().collect();
        let left: Vec<&String> = self.store.difference(&named).collect();
        assert_eq!(left, Vec::<&String>::new());
    }
}

#[test]
fn no_object_that_anybody_needs_is_removed_however_removal_races() {
    let steps: u64 =
        std::env::var("REDKITE_STEPS").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let seeds = 20;
    let mut all = Counts::default();
    for seed in 0..seeds {
        let mut world = World::new(seed);
        for _ in 0..steps / seeds {
            world.step();
        }
        world.settle();
        let Counts { flushed, late, kept_long, compacted, indexed, swept, removed, read, leaders } =
            world.counts;
        all.flushed += flushed;
        all.late += late;
        all.kept_long += kept_long;
        all.compacted += compacted;
        all.indexed += indexed;
        all.swept += swept;
        all.removed += removed;
        all.read += read;
        all.leaders += leaders;
    }
    let by_kind: BTreeMap<&str, u64> = BTreeMap::from([
        ("flushed", all.flushed),
        ("refused as late", all.late),
        ("flushed after half an hour", all.kept_long),
        ("compacted", all.compacted),
        ("indexed", all.indexed),
        ("orphans removed", all.swept),
        ("removed", all.removed),
        ("read", all.read),
        ("changes of leader", all.leaders),
    ]);
    println!("{steps} steps: {by_kind:?}");
    assert!(by_kind.values().all(|count| *count >= steps / 10_000), "something was never tried: {by_kind:?}");
}

#[test]
fn a_sweep_that_spares_nothing_young_would_be_found() {
    let caught = std::panic::catch_unwind(|| {
        for seed in 0..20 {
            let mut world = World::new(seed);
            for step in 0..20_000 {
                world.step();
                if step % 50 == 0 {
                    let listed = world.store.iter().map(|key| (key.clone(), 1)).collect();
                    let now = world.timestamp();
                    let found = compare(&world.catalog, &world.catalog, &listed, &BTreeSet::new(), now);
                    found.orphans.iter().for_each(|key| world.remove(key));
                }
            }
        }
    });
    assert!(caught.is_err(), "objects of works under way were removed and nobody noticed");
}
