//! Directories and files in memory that can lose power, with files that are written in place.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Component, Path};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::base::Rng;

use super::{DiskEntry, Files};

/// What a disk writes as a whole. Unit: bytes.
const SECTOR_BYTES: usize = 512;

/// Told of each step before it is done.
type Watch = Arc<dyn Fn() + Send + Sync>;

/// Directories and files in memory below `/`. They remember what was synced, so that they can say what a crash of the
/// machine leaves.
///
/// Besides the calls of [`Files`] there are those of a file that is written in place, as a database needs them.
#[derive(Default)]
pub struct SimFiles {
    state: Mutex<State>,
    watch: Mutex<Option<Watch>>,
}

impl fmt::Debug for SimFiles {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("SimFiles").finish_non_exhaustive()
    }
}

#[derive(Clone)]
struct State {
    /// The first is `/`. One that was removed stays here without a name.
    dirs: Vec<Dir>,
    files: Vec<Content>,
}

impl Default for State {
    fn default() -> Self {
        Self { dirs: vec![Dir::default()], files: Vec::new() }
    }
}

/// The names in a directory: now, and as a crash leaves them for certain.
#[derive(Clone, Debug, Default)]
struct Dir {
    now: BTreeMap<String, Node>,
    synced: BTreeMap<String, Node>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Dir(usize),
    File(usize),
}

/// A file's bytes, and what changed since they were synced.
#[derive(Clone, Debug, Default)]
struct Content {
    now: Vec<u8>,
    synced: Vec<u8>,
    unsynced: Vec<Step>,
}

#[derive(Clone, Debug)]
enum Step {
    Write { offset: usize, bytes: Vec<u8> },
    Resize(usize),
}

impl SimFiles {
    /// Only `/`, and nothing in it.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Calls `watch` before each step that changes or syncs something, in the thread that makes it. A write of a whole
    /// file is three.
    pub fn watch(&self, watch: impl Fn() + Send + Sync + 'static) {
        *self.watch.lock() = Some(Arc::new(watch));
    }

    /// The files as a machine finds them that lost power now: what was synced, and of what was not nothing or a random
    /// part, names each by itself and bytes by sectors. These files themselves stay as they are, for whoever still writes
    /// to them.
    #[must_use]
    pub fn crash(&self, rng: &dyn Rng) -> Arc<Self> {
        let before = self.state.lock();
        let loses_all = rng.below(2) == 0;
        let mut after = State { files: before.files.clone(), ..State::default() };
        let mut todo = vec![(0, 0)];
        while let Some((from, to)) = todo.pop() {
            let Dir { now, synced } = &before.dirs[from];
            let mut names = synced.clone();
            names.extend(now.iter().map(|(name, node)| (name.clone(), *node)));
            for name in names.into_keys() {
                let (now, synced) = (now.get(&name), synced.get(&name));
                let left = if now != synced && (loses_all || rng.below(2) == 0) { synced } else { now };
                let node = match left {
                    None => continue,
                    Some(Node::File(id)) => Node::File(*id),
                    Some(Node::Dir(id)) => {
                        after.dirs.push(Dir::default());
                        todo.push((*id, after.dirs.len() - 1));
                        Node::Dir(after.dirs.len() - 1)
                    }
                };
                after.dirs[to].now.insert(name, node);
            }
            after.dirs[to].synced = after.dirs[to].now.clone();
        }
        for content in &mut after.files {
            content.lose(loses_all, rng);
        }
        Arc::new(Self { state: Mutex::new(after), watch: Mutex::default() })
    }

    /// The files as they are, for a process that begins after another was killed: nothing is lost, and nothing is more
    /// durable than it was.
    #[must_use]
    pub fn fork(&self) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(self.state.lock().clone()), watch: Mutex::default() })
    }

    /// Makes an empty file to be written in place, unless it is there.
    ///
    /// # Errors
    /// `NotFound` if its directory is not there.
    pub fn open_in_place(&self, file: &Path) -> io::Result<()> {
        match self.step(|state| state.create(file).map(drop)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    }

    /// Writes into a file, which grows where it has to.
    ///
    /// # Errors
    /// `NotFound` if there is none.
    pub fn write_at(&self, file: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        self.step(|state| {
            state.file(file)?.write(offset, bytes);
            Ok(())
        })
    }

    /// Cuts a file, or makes it longer by zeros.
    ///
    /// # Errors
    /// `NotFound` if there is none.
    pub fn resize(&self, file: &Path, size_bytes: u64) -> io::Result<()> {
        let size = usize::try_from(size_bytes).map_err(io::Error::other)?;
        self.step(|state| {
            let content = state.file(file)?;
            content.now.resize(size, 0);
            content.unsynced.push(Step::Resize(size));
            Ok(())
        })
    }

    /// Makes a file's bytes and length durable.
    ///
    /// # Errors
    /// `NotFound` if there is none.
    pub fn sync(&self, file: &Path) -> io::Result<()> {
        self.step(|state| {
            let content = state.file(file)?;
            let Content { synced, unsynced, .. } = content;
            for step in unsynced.drain(..) {
                step.apply(synced);
            }
            Ok(())
        })
    }

    fn step<T>(&self, work: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let watch = self.watch.lock().clone();
        if let Some(watch) = watch {
            watch();
        }
        work(&mut self.state.lock())
    }
}

impl State {
    fn find(&self, path: &Path) -> io::Result<Node> {
        let mut found = Node::Dir(0);
        for part in path.components() {
            let Component::Normal(name) = part else { continue };
            let Node::Dir(dir) = found else { return Err(io::ErrorKind::NotADirectory.into()) };
            let next = self.dirs[dir].now.get(&*name.to_string_lossy());
            found = *next.ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(found)
    }

    fn dir(&mut self, path: &Path) -> io::Result<&mut Dir> {
        match self.find(path)? {
            Node::Dir(id) => Ok(&mut self.dirs[id]),
            Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn file_id(&self, path: &Path) -> io::Result<usize> {
        match self.find(path)? {
            Node::File(id) => Ok(id),
            Node::Dir(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn file(&mut self, path: &Path) -> io::Result<&mut Content> {
        let id = self.file_id(path)?;
        Ok(&mut self.files[id])
    }

    fn insert(&mut self, path: &Path, node: Node) -> io::Result<()> {
        let names = &mut self.dir(above(path))?.now;
        if names.contains_key(&last(path)) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        names.insert(last(path), node);
        Ok(())
    }

    fn create(&mut self, path: &Path) -> io::Result<&mut Content> {
        let id = self.files.len();
        self.insert(path, Node::File(id))?;
        self.files.push(Content::default());
        Ok(&mut self.files[id])
    }
}

impl Content {
    fn write(&mut self, offset: usize, bytes: &[u8]) {
        let step = Step::Write { offset, bytes: bytes.to_vec() };
        step.apply(&mut self.now);
        self.unsynced.push(step);
    }

    /// Becomes what a crash leaves.
    fn lose(&mut self, loses_all: bool, rng: &dyn Rng) {
        let steps = std::mem::take(&mut self.unsynced);
        if !loses_all {
            // A sector was written back after any of the writes to it; of the lengths any may have been the last.
            let mut lengths = vec![self.synced.len()];
            let mut reached = BTreeMap::new();
            for step in &steps {
                match step {
                    Step::Resize(len) => lengths.push(*len),
                    Step::Write { offset, bytes } => {
                        lengths.push((offset + bytes.len()).max(*lengths.last().unwrap_or(&0)));
                        for sector in offset / SECTOR_BYTES..=(offset + bytes.len()) / SECTOR_BYTES {
                            *reached.entry(sector).or_insert(0) += 1;
                        }
                    }
                }
            }
            for times in reached.values_mut() {
                *times = rng.below(*times + 1);
            }
            let len = lengths[usize::try_from(rng.below(lengths.len() as u64)).unwrap_or(0)];
            for step in &steps {
                let Step::Write { offset, bytes } = step else { continue };
                for sector in offset / SECTOR_BYTES..=(offset + bytes.len()) / SECTOR_BYTES {
                    let left = reached.entry(sector).or_default();
                    if *left > 0 {
                        *left -= 1;
                        let start = (sector * SECTOR_BYTES).max(*offset);
                        let end = ((sector + 1) * SECTOR_BYTES).min(offset + bytes.len());
                        let part = bytes[start - offset..end - offset].to_vec();
                        Step::Write { offset: start, bytes: part }.apply(&mut self.synced);
                    }
                }
            }
            self.synced.resize(len, 0);
        }
        self.now = self.synced.clone();
    }
}

impl Step {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::Resize(len) => to.resize(*len, 0),
            Self::Write { offset, bytes } => {
                let end = offset + bytes.len();
                if to.len() < end {
                    to.resize(end, 0);
                }
                to[*offset..end].copy_from_slice(bytes);
            }
        }
    }
}

fn above(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

fn last(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

impl Files for SimFiles {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.step(|state| {
            let id = state.dirs.len();
            state.insert(dir, Node::Dir(id))?;
            state.dirs.push(Dir::default());
            Ok(())
        })
    }

    fn write(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        self.step(|state| state.create(file).map(drop))?;
        self.write_at(file, 0, bytes)?;
        self.sync(file)
    }

    fn link(&self, file: &Path, name: &Path) -> io::Result<()> {
        self.step(|state| {
            let id = state.file_id(file)?;
            state.insert(name, Node::File(id))
        })
    }

    fn remove(&self, file: &Path) -> io::Result<()> {
        self.step(|state| {
            state.file_id(file)?;
            state.dir(above(file))?.now.remove(&last(file));
            Ok(())
        })
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.step(|state| {
            if !state.dir(dir)?.now.is_empty() {
                return Err(io::ErrorKind::DirectoryNotEmpty.into());
            }
            state.dir(above(dir))?.now.remove(&last(dir));
            Ok(())
        })
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.step(|state| {
            let dir = state.dir(dir)?;
            dir.synced = dir.now.clone();
            Ok(())
        })
    }

    fn look(&self, path: &Path) -> io::Result<DiskEntry> {
        let state = self.state.lock();
        Ok(match state.find(path)? {
            Node::Dir(_) => DiskEntry { name: last(path), size_bytes: 0, is_dir: true },
            Node::File(id) => {
                DiskEntry { name: last(path), size_bytes: state.files[id].now.len() as u64, is_dir: false }
            }
        })
    }

    fn read(&self, file: &Path) -> io::Result<Bytes> {
        Ok(Bytes::copy_from_slice(&self.state.lock().file(file)?.now))
    }

    fn read_part(&self, file: &Path, range: Range<u64>) -> io::Result<Option<Bytes>> {
        let mut state = self.state.lock();
        let (Ok(start), Ok(end)) = (usize::try_from(range.start), usize::try_from(range.end)) else {
            return Ok(None);
        };
        Ok(state.file(file)?.now.get(start..end).map(Bytes::copy_from_slice))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DiskEntry>> {
        let mut state = self.state.lock();
        let names = state.dir(dir)?.now.clone();
        let entries = names.into_iter().map(|(name, node)| match node {
            Node::Dir(_) => DiskEntry { name, size_bytes: 0, is_dir: true },
            Node::File(id) => DiskEntry { name, size_bytes: state.files[id].now.len() as u64, is_dir: false },
        });
        Ok(entries.collect())
    }
}
