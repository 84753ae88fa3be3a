//! Losses of power at every kind of moment: threads create and delete objects in the same directories, one step of the
//! disk at a time, in an order that the seed draws.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use parking_lot::Condvar;

use super::*;
use crate::base::SeededRng;
use crate::disk::{DiskEntry, SimFiles};

const ROOT: &str = "/data/redkite/blobs";
const THREADS: usize = 3;
const CALLS: u64 = 6;
/// Few, in directories that come and go.
const KEYS: [&str; 6] = ["a/b/x", "a/b/y", "a/c/x", "a/b/d/x", "z", "e/x"];

/// Lets one thread go on at a time, each time another one that the seed draws.
struct Turns {
    /// Whose turn it is, and who has not ended.
    state: Mutex<(usize, Vec<usize>)>,
    changed: Condvar,
    rng: Arc<SeededRng>,
}

thread_local! {
    static WHO: Cell<Option<usize>> = const { Cell::new(None) };
}

impl Turns {
    fn next(&self, state: &mut (usize, Vec<usize>)) {
        if let Some(drawn) = state.1.get(self.rng.below(state.1.len() as u64) as usize) {
            state.0 = *drawn;
            self.changed.notify_all();
        }
    }

    fn wait(&self, who: usize) {
        let mut state = self.state.lock();
        self.changed.wait_while(&mut state, |(turn, _)| *turn != who);
    }

    /// Before each step.
    fn pass(&self) {
        if let Some(who) = WHO.get() {
            self.next(&mut self.state.lock());
            self.wait(who);
        }
    }

    fn end(&self, who: usize) {
        let mut state = self.state.lock();
        state.1.retain(|other| *other != who);
        self.next(&mut state);
    }
}

/// What was asked for and answered so far.
type Story = BTreeMap<&'static str, KeyStory>;

#[derive(Clone, Default)]
struct KeyStory {
    /// Bodies that creates have begun with.
    begun: BTreeSet<Vec<u8>>,
    deletes: u64,
    deleting: u64,
    /// Somebody was told that it is there, and nobody has begun to delete it since.
    promised: bool,
    /// What that is, if it was told.
    body: Option<Vec<u8>>,
}

fn create(place: &Place, story: &Mutex<Story>, key: &'static str, body: Vec<u8>) {
    let (deletes, is_quiet) = {
        let mut story = story.lock();
        let of_key = story.entry(key).or_default();
        of_key.begun.insert(body.clone());
        (of_key.deletes, of_key.deleting == 0)
    };
    let created = place.create(key, &body);
    let mut story = story.lock();
    let of_key = story.entry(key).or_default();
    let is_kept = is_quiet && of_key.deletes == deletes;
    match created {
        Ok(()) if is_kept => (of_key.promised, of_key.body) = (true, Some(body)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_kept => of_key.promised = true,
        Ok(()) => {}
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::AlreadyExists, "{error}"),
    }
}

fn delete(place: &Place, story: &Mutex<Story>, key: &'static str) {
    {
        let mut story = story.lock();
        let of_key = story.entry(key).or_default();
        (of_key.promised, of_key.body) = (false, None);
        of_key.deletes += 1;
        of_key.deleting += 1;
    }
    place.delete(key).unwrap();
    story.lock().entry(key).or_default().deleting -= 1;
}

fn body_of(rng: &dyn Rng) -> Vec<u8> {
    let bytes = std::iter::repeat_with(|| rng.next_u64().to_le_bytes()).flatten();
    bytes.take(8 + rng.below(2_000) as usize).collect()
}

/// What is there, compared with what may and must be.
fn compare(files: &Arc<dyn Files>, story: &Story) -> Result<(), String> {
    let place = Place::new(Arc::clone(files), ROOT.into(), SeededRng::new(1));
    place.prepare().map_err(|error| format!("the store does not open: {error}"))?;
    let found = place.list("").unwrap().into_iter().map(|entry| {
        let body = files.read(&place.path(&entry.key)).unwrap().to_vec();
        (entry.key, body)
    });
    let found = found.collect::<BTreeMap<_, _>>();
    for (key, body) in &found {
        if !story.get(key.as_str()).is_some_and(|of_key| of_key.begun.contains(body)) {
            return Err(format!("{key} is not what anybody stored: {} bytes", body.len()));
        }
    }
    for (key, of_key) in story.iter().filter(|(_, of_key)| of_key.promised) {
        match (found.get(*key), &of_key.body) {
            (None, _) => return Err(format!("{key} is lost")),
            (Some(found), Some(body)) if found != body => return Err(format!("{key} is another's")),
            (Some(_), _) => {}
        }
    }
    Ok(())
}

/// One seed: work, its end at a random step by a kill or a loss of power, a second life, and a loss of power at its end.
fn run(seed: u64, files_of: fn(Arc<SimFiles>) -> Arc<dyn Files>) -> Result<(), String> {
    let rng = SeededRng::new(seed);
    let files = SimFiles::new();
    let place = Place::new(files_of(Arc::clone(&files)), ROOT.into(), SeededRng::new(rng.next_u64()));
    place.prepare().unwrap();
    let story = Arc::new(Mutex::new(Story::default()));
    let turns = Arc::new(Turns {
        state: Mutex::new((0, (0..THREADS).collect())),
        changed: Condvar::new(),
        rng: SeededRng::new(rng.next_u64()),
    });
    // Steps that are left, and then what is left by the end.
    let end = Arc::new(Mutex::new((rng.below(250), None)));
    let is_killed = rng.below(4) == 0;
    {
        let (turns, story, end) = (Arc::clone(&turns), Arc::clone(&story), Arc::clone(&end));
        let (now, rng) = (Arc::downgrade(&files), SeededRng::new(rng.next_u64()));
        files.watch(move || {
            turns.pass();
            let mut end = end.lock();
            if end.1.is_none() && end.0 == 0 {
                let files = now.upgrade().unwrap();
                let left = if is_killed { files.fork() } else { files.crash(&*rng) };
                end.1 = Some((left, story.lock().clone()));
            }
            end.0 = end.0.saturating_sub(1);
        });
    }
    std::thread::scope(|scope| {
        for who in 0..THREADS {
            let (place, turns, story) = (&place, &turns, &story);
            let rng = SeededRng::new(rng.next_u64());
            scope.spawn(move || {
                WHO.set(Some(who));
                turns.wait(who);
                for _ in 0..CALLS {
                    let key = KEYS[rng.below(KEYS.len() as u64) as usize];
                    if rng.below(3) == 0 {
                        delete(place, story, key);
                    } else {
                        create(place, story, key, body_of(&*rng));
                    }
                }
                turns.end(who);
            });
        }
    });
    let (left, story) = match end.lock().1.take() {
        Some(end) => end,
        None => (files.crash(&*rng), story.lock().clone()),
    };
    compare(&(left.fork() as Arc<dyn Files>), &story)?;
    let place = Place::new(files_of(Arc::clone(&left)), ROOT.into(), SeededRng::new(rng.next_u64()));
    place.prepare().unwrap();
    let story = Mutex::new(story);
    for key in KEYS {
        create(&place, &story, key, body_of(&*rng));
    }
    compare(&(left.crash(&*rng) as Arc<dyn Files>), &story.lock())
}

fn seeds() -> std::ops::Range<u64> {
    let seeds = std::env::var("REDKITE_SEEDS").ok().and_then(|text| text.parse().ok());
    0..seeds.unwrap_or(300)
}

#[test]
fn no_object_is_lost_or_half_there_when_the_power_fails() {
    for seed in seeds() {
        if let Err(complaint) = run(seed, |files| files) {
            panic!("seed {seed}: {complaint}");
        }
    }
}

/// Files that leave out a rule.
#[derive(Debug)]
struct Careless {
    files: Arc<SimFiles>,
    syncs_names: bool,
    syncs_bodies: bool,
}

impl Files for Careless {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.files.create_dir(dir)
    }

    fn write(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        if self.syncs_bodies {
            return self.files.write(file, bytes);
        }
        self.files.open_in_place(file)?;
        self.files.write_at(file, 0, bytes)
    }

    fn link(&self, file: &Path, name: &Path) -> io::Result<()> {
        self.files.link(file, name)
    }

    fn remove(&self, file: &Path) -> io::Result<()> {
        self.files.remove(file)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.files.remove_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        if self.syncs_names { self.files.sync_dir(dir) } else { Ok(()) }
    }

    fn look(&self, path: &Path) -> io::Result<DiskEntry> {
        self.files.look(path)
    }

    fn read(&self, file: &Path) -> io::Result<Bytes> {
        self.files.read(file)
    }

    fn read_part(&self, file: &Path, range: Range<u64>) -> io::Result<Option<Bytes>> {
        self.files.read_part(file, range)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DiskEntry>> {
        self.files.list(dir)
    }
}

fn is_found(files_of: fn(Arc<SimFiles>) -> Arc<dyn Files>) {
    let found = seeds().find_map(|seed| run(seed, files_of).err());
    println!("{}", found.expect("some seed shows what is lost"));
}

#[test]
fn names_that_are_not_synced_are_found() {
    is_found(|files| Arc::new(Careless { files, syncs_names: false, syncs_bodies: true }));
}

#[test]
fn bodies_that_are_not_synced_are_found() {
    is_found(|files| Arc::new(Careless { files, syncs_names: true, syncs_bodies: false }));
}
