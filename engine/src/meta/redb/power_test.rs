//! Losses of power at any step of opening and of commits; what was written and not synced is lost, or torn by sectors.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use ::redb::{Builder, StorageBackend};
use parking_lot::Mutex;

use super::*;
use crate::base::{Rng, SeededRng};
use crate::disk::SimFiles;

const PATH: &str = "/data/meta.redb";
const LIVES: usize = 4;
const COMMITS: u64 = 12;

/// A file that may be full, or forget to sync.
#[derive(Debug)]
struct Backend {
    inner: InPlace,
    syncs: bool,
    /// Whether the disk takes nothing more.
    full: Arc<AtomicBool>,
}

impl Backend {
    fn has_room(&self) -> io::Result<()> {
        if self.full.load(Ordering::Relaxed) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.has_room()?;
        self.inner.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.syncs { self.inner.sync_data() } else { Ok(()) }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.has_room()?;
        self.inner.write(offset, data)
    }
}

fn open(files: &Arc<SimFiles>, syncs: bool) -> Result<Store, Error> {
    open_on(files, syncs, Arc::default())
}

fn open_on(files: &Arc<SimFiles>, syncs: bool, full: Arc<AtomicBool>) -> Result<Store, Error> {
    let own = Arc::clone(files);
    Store::open(&**files, PATH.into(), None, move |path| {
        own.open_in_place(path).map_err(::redb::StorageError::Io)?;
        let inner = InPlace { files: Arc::clone(&own), path: path.to_owned() };
        let backend = Backend { inner, syncs, full: Arc::clone(&full) };
        Builder::new().create_with_backend(backend)
    })
}

type Records = BTreeMap<String, Vec<u8>>;

/// What was committed, and what the commit under way would make of it.
#[derive(Clone, Default)]
struct Model {
    committed: Records,
    under_way: Option<Records>,
    /// The highest version that was told.
    version: u64,
}

impl Model {
    /// What is found is all that was committed, with or without the commit under way; from then on the model says which.
    fn compare(&mut self, store: &Store) -> Result<(), String> {
        let found = store.list("").map_err(|error| format!("the records cannot be read: {error:?}"))?;
        let found = found.into_iter().map(|(key, versioned)| (key, versioned.value.to_vec()));
        let found = found.collect::<Records>();
        let after = self.under_way.take();
        if found != self.committed && after.as_ref() != Some(&found) {
            let (expected, found) = (self.committed.len(), found.len());
            return Err(format!(
                "{found} records are neither the {expected} before nor those after a commit"
            ));
        }
        self.committed = found;
        Ok(())
    }
}

fn next_txn(rng: &dyn Rng, records: &Records) -> (Txn, Records) {
    let (mut txn, mut after) = (Txn::new(), records.clone());
    for key in 0..1 + rng.below(6) {
        // Keys of one transaction are different.
        let key = format!("key {:03}", key * 40 + rng.below(40));
        if rng.below(4) == 0 {
            txn = txn.delete(key.clone());
            after.remove(&key);
        } else {
            let longest = if rng.below(5) == 0 { 60_000 } else { 600 };
            let value = vec![rng.next_u64().to_le_bytes()[0]; rng.below(longest) as usize];
            txn = txn.put(key.clone(), value.clone());
            after.insert(key, value);
        }
    }
    (txn, after)
}

/// One seed: lives of the store, each ended by a loss of power at a random step. Gives how many commits there were.
fn run(seed: u64, syncs: bool) -> Result<u64, String> {
    let rng = SeededRng::new(seed);
    let mut files = SimFiles::new();
    make_dirs(&*files, Path::new("/data")).unwrap();
    let mut model = Model::default();
    let mut commits = 0;
    for _ in 0..LIVES {
        let shared = Arc::new(Mutex::new(model.clone()));
        // Steps that are left, and then what is left by the end.
        let end = Arc::new(Mutex::new((rng.below(150), None)));
        {
            let (shared, end) = (Arc::clone(&shared), Arc::clone(&end));
            let (now, rng) = (Arc::downgrade(&files), SeededRng::new(rng.next_u64()));
            files.watch(move || {
                let mut end = end.lock();
                if end.1.is_none() && end.0 == 0 {
                    end.1 = Some((now.upgrade().unwrap().crash(&*rng), shared.lock().clone()));
                }
                end.0 = end.0.saturating_sub(1);
            });
        }
        let store = open(&files, syncs).map_err(|error| format!("the store does not open: {error:?}"))?;
        let mut found = shared.lock().clone();
        found.compare(&store)?;
        *shared.lock() = found;
        for _ in 0..COMMITS {
            if end.lock().1.is_some() {
                break;
            }
            let (txn, after) = next_txn(&*rng, &shared.lock().committed);
            shared.lock().under_way = Some(after);
            let version = store.commit(&txn).map_err(|error| format!("a commit fails: {error:?}"))?;
            let mut model = shared.lock();
            if version <= model.version {
                return Err(format!("version {version} was given before"));
            }
            model.version = version;
            model.committed = model.under_way.take().unwrap();
            commits += 1;
        }
        let ended = end.lock().1.take();
        let (left, at_end) = ended.unwrap_or_else(|| (files.crash(&*rng), shared.lock().clone()));
        drop(store);
        (files, model) = (left, at_end);
    }
    model.compare(&open(&files, syncs).map_err(|error| format!("at the end: {error:?}"))?)?;
    Ok(commits)
}

#[test]
fn no_commit_is_lost_or_half_there_when_the_power_fails() {
    let seeds = std::env::var("REDKITE_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(100);
    let mut commits = 0;
    for seed in 0..seeds {
        commits += run(seed, true).unwrap_or_else(|complaint| panic!("seed {seed}: {complaint}"));
    }
    println!("{commits} commits over {seeds} seeds");
    assert!(commits > seeds * 5, "too few commits to prove anything: {commits}");
}

#[test]
fn a_file_that_is_not_synced_is_found() {
    let found = (0..20).find_map(|seed| run(seed, false).err());
    println!("{}", found.expect("some seed shows what is lost"));
}

#[test]
fn once_a_full_disk_has_room_again_changes_are_committed_and_none_is_half_there() {
    let full = Arc::new(AtomicBool::new(false));
    let files = SimFiles::new();
    make_dirs(&*files, Path::new("/data")).unwrap();
    let store = open_on(&files, true, Arc::clone(&full)).unwrap();
    let put = |number: u8| Txn::new().put("a", vec![number; 3_000]).put("b", vec![number; 3_000]);
    store.commit(&put(1)).unwrap();

    full.store(true, Ordering::Relaxed);
    let meanwhile: Vec<_> = (2..5).map(|number| store.commit(&put(number)).is_err()).collect();
    full.store(false, Ordering::Relaxed);
    let [a, b] = ["a", "b"].map(|key| store.get(key).unwrap().unwrap());
    let version = store.commit(&put(9)).unwrap();

    assert_eq!(meanwhile, [true; 3]);
    assert_eq!((&a.value, a.version), (&b.value, b.version));
    assert!(version > a.version);
    assert_eq!(store.get("a").unwrap().unwrap().value, Bytes::from(vec![9; 3_000]));
}
