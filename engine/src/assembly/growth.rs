//! Moves what is in the directory of a standalone to a bucket and a metadata store, where a cluster goes on with it.
//!
//! Most is copied while the source serves: objects never change. Then the source is held: it takes no writes, seals
//! what its log has, and changes nothing. What is new since then is copied, the directory is marked as moved, the pages of the catalog's
//! copy follow, and the catalog is made anew from them. Until the mark is written the source can go on as if nothing had
//! been; from then on only the target can.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use contract::role::Role;
use contract::settings::Settings;
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};

use crate::assembly::adopt::Ends;
use crate::assembly::identity::{self, Identity};
use crate::assembly::leave::Leave;
use crate::assembly::{Door, Error, Node, NodeCalls, Surroundings, seams, stores};
use crate::base::{Clock, Kind, Kinded as _, NodeId, Rng, TaskSet};
use crate::blob::{self, BlobEntry, Blobs, LocalBlobs};
use crate::coord::{self, Rebuilt};
use crate::obs::{Health, Lines, Metrics, TraceSettings};
use crate::rpc::{self, LocalNodes, Served};

/// Objects copied at the same time.
const AT_ONCE: usize = 4;
/// A pass that took no longer is followed by the pause.
const SHORT_PASS: Duration = Duration::from_secs(2);
/// Passes while the source serves, at most: a source that writes faster than can be copied is held all the same.
const PASSES: usize = 10;
/// How often a source that cannot be held is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// Pages of the catalog's copy: last, and only once nothing changes any more.
const PAGES: &str = "catalog/";
/// What belongs to the directory and not to its content.
const LEFT_BEHIND: [&str; 3] = [PAGES, "generations/", "redkite.json"];
/// Where the node that seals a source is found, by itself alone.
const OWN: &str = "local";
/// File that says that the directory was moved.
const MOVED: &str = "moved.json";

/// What the mark of a moved directory says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Bucket and path where everything is now.
    pub to: String,
}

/// The source, as something that can be held.
#[async_trait]
pub trait Source: Send + Sync {
    /// Whether it can be held now.
    fn is_free(&self) -> bool;

    /// Takes no more writes, seals everything and changes nothing any more.
    ///
    /// # Errors
    /// If that cannot be; then it goes on as it was.
    async fn hold(&self) -> Result<(), rpc::Error>;

    /// Goes on as if it had not been held.
    ///
    /// # Errors
    /// If that cannot be.
    async fn resume(&self) -> Result<(), rpc::Error>;

    /// Ends for good.
    async fn end(&self);
}

/// A directory that was moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Objects that the target has now.
    pub objects: usize,
    /// Their bytes.
    pub bytes: u64,
    /// For how long the source took no writes before the catalog was at the target.
    pub paused: Duration,
    /// The catalog.
    pub catalog: Rebuilt,
}

impl fmt::Display for Moved {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { objects, bytes, paused, catalog } = self;
        let seconds = paused.as_secs_f64();
        write!(out, "moved: {objects} objects, {} MB; no writes for {seconds:.1} s; {catalog}", bytes >> 20)
    }
}

/// What a move needs.
pub struct MoveParts<'a> {
    /// The directory.
    pub from: &'a Path,
    /// Who serves it.
    pub source: &'a dyn Source,
    /// Where everything goes.
    pub settings: &'a Settings,
    /// The longest time without writes; what does not get there in time is tried again later.
    pub pause: Duration,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub rng: Arc<dyn Rng>,
}

/// Why a directory cannot be used: it was moved.
///
/// # Errors
/// [`Error::DataMoved`] if it was; [`Error::DataDirectory`] if that cannot be seen.
pub fn refuse_moved(root: &Path) -> Result<(), Error> {
    match read_mark(root)? {
        Some(mark) => Err(Error::DataMoved { path: root.to_owned(), to: mark.to }),
        None => Ok(()),
    }
}

fn read_mark(root: &Path) -> Result<Option<Mark>, Error> {
    match std::fs::read(root.join(MOVED)) {
        Ok(bytes) => {
            let mark = serde_json::from_slice(&bytes);
            Ok(Some(mark.unwrap_or_else(|_| Mark { to: "another place".to_owned() })))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::DataDirectory { path: root.join(MOVED), source }),
    }
}

/// Writes the mark so that it is there whatever is switched off next.
fn write_mark(root: &Path, mark: &Mark) -> Result<(), Error> {
    let failed = |source| Error::DataDirectory { path: root.join(MOVED), source };
    let bytes = serde_json::to_vec_pretty(mark).map_err(|source| Error::BadIdentity { source })?;
    let unfinished = root.join(format!("{MOVED}.new"));
    let mut file = std::fs::File::create(&unfinished).map_err(failed)?;
    file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(failed)?;
    std::fs::rename(&unfinished, root.join(MOVED)).map_err(failed)?;
    std::fs::File::open(root).and_then(|folder| folder.sync_all()).map_err(failed)
}

/// Moves a directory. May be called again if it was broken off, with the same target. Progress goes to `out`.
///
/// # Errors
/// [`Error::TargetNotEmpty`] if the target has something that is not of this move; whatever cannot be read or written.
pub async fn move_directory(parts: &MoveParts<'_>, out: &mut (dyn Write + Send)) -> Result<Moved, Error> {
    let settings = parts.settings;
    if !settings.stores_remotely() {
        return Err(Error::NoBucket { role: "target" });
    }
    let from: Arc<dyn Blobs> = LocalBlobs::view(parts.from.join("blobs"), Arc::clone(&parts.rng));
    let to = stores::open(settings, parts.from, &parts.clock, &parts.rng).await?.blobs;
    let role = Role::Coordinator;
    let metas = seams::open_metas(role, settings, parts.from, None, &parts.clock).await?;
    let metas = metas.ok_or(Error::NoCatalog { role: "target" })?;
    let ours = identity::read(from.as_ref()).await?;
    let Identity { cluster, oldest_reader, .. } =
        ours.ok_or(Error::Catalog { source: coord::Error::NoMirror })?;
    let place = format!("{}/{}", settings.minio.bucket_name, settings.minio.root_path);
    let mark = read_mark(parts.from)?;
    if let Some(mark) = mark.as_ref().filter(|mark| mark.to != place) {
        return Err(Error::DataMoved { path: parts.from.to_owned(), to: mark.to.clone() });
    }
    claim(to.as_ref(), &cluster, &place).await?;
    coord::check_empty(metas.as_ref()).await.map_err(|source| Error::Catalog { source })?;
    let mut copy =
        Copying { from, to: Arc::clone(&to), clock: Arc::clone(&parts.clock), objects: 0, bytes: 0 };
    let paused_at = match mark {
        // Broken off after the point of no return: everything but the catalog is there.
        Some(_) => parts.clock.monotonic(),
        None => copy_and_hold(parts, &mut copy, out).await?,
    };
    write_mark(parts.from, &Mark { to: place })?;
    copy.pages().await?;
    let tasks = TaskSet::new();
    let metrics = Metrics::new(NodeId(0));
    let (clock, rng) = (&parts.clock, &parts.rng);
    let logs = seams::open_logs(role, settings, parts.from, None, &to, clock, rng, &metrics, &tasks).await?;
    let (ends, now) = (Ends(logs), parts.clock.unix_ms());
    let rebuilt = coord::rebuild(metas.as_ref(), Arc::clone(&to), &cluster, oldest_reader, &ends, now).await;
    let catalog = rebuilt.map_err(|source| Error::Catalog { source })?;
    let paused = parts.clock.monotonic().saturating_sub(paused_at);
    parts.source.end().await;
    tasks.stop();
    Ok(Moved { objects: copy.objects, bytes: copy.bytes, paused, catalog })
}

/// Copies while the source serves, and then what is left while it is held. Returns when it was held.
async fn copy_and_hold(
    parts: &MoveParts<'_>,
    copy: &mut Copying,
    out: &mut (dyn Write + Send),
) -> Result<Duration, Error> {
    let (mut passes, mut asked) = (0_usize, false);
    loop {
        passes += 1;
        let began = parts.clock.monotonic();
        let new = copy.pass(out).await?;
        let took = parts.clock.monotonic().saturating_sub(began);
        if new > 0 {
            say(out, &format!("pass {passes}: {new} objects in {:.1} s", took.as_secs_f64()))?;
        }
        if took > SHORT_PASS && !passes.is_multiple_of(PASSES) {
            continue;
        }
        if !parts.source.is_free() {
            if !std::mem::replace(&mut asked, true) {
                say(out, "stop the source now: what it writes until then is copied")?;
            }
            parts.clock.sleep(LOOK).await;
            continue;
        }
        let paused_at = parts.clock.monotonic();
        say(out, "the source is held: it takes no writes")?;
        let held = tokio::select! {
            held = hold_and_copy(parts, copy, out) => Some(held),
            () = parts.clock.sleep(parts.pause) => None,
        };
        match held {
            Some(Ok(())) => return Ok(paused_at),
            Some(Err(error)) => {
                resume(parts, out).await?;
                return Err(error);
            }
            None => {
                resume(parts, out).await?;
                say(out, "it took too long, and the source goes on: trying again")?;
                if passes > 2 * PASSES {
                    return Err(Error::TooSlow { pause: parts.pause });
                }
            }
        }
    }
}

/// Makes the target that of this cluster, before anything else could make it another one's.
async fn claim(to: &dyn Blobs, cluster: &str, place: &str) -> Result<(), Error> {
    let failed = |source| Error::OpenBlobs { source };
    let not_empty = |found| Error::TargetNotEmpty { place: place.to_owned(), found };
    match identity::read(to).await? {
        Some(theirs) if theirs.cluster == cluster => return Ok(()),
        Some(theirs) => return Err(not_empty(format!("the cluster {}", theirs.cluster))),
        None => {}
    }
    if let Some(first) = to.list("").await.map_err(failed)?.first() {
        return Err(not_empty(format!("the object {}", first.key)));
    }
    let made = identity::create(to, cluster).await?;
    if made.cluster == cluster { Ok(()) } else { Err(not_empty(format!("the cluster {}", made.cluster))) }
}

async fn hold_and_copy(
    parts: &MoveParts<'_>,
    copy: &mut Copying,
    out: &mut (dyn Write + Send),
) -> Result<(), Error> {
    parts.source.hold().await.map_err(|source| Error::Source { doing: "hold", source })?;
    copy.pass(out).await?;
    Ok(())
}

async fn resume(parts: &MoveParts<'_>, out: &mut (dyn Write + Send)) -> Result<(), Error> {
    say(out, "the source goes on")?;
    parts.source.resume().await.map_err(|source| Error::Source { doing: "resume", source })
}

fn say(out: &mut (dyn Write + Send), text: &str) -> Result<(), Error> {
    writeln!(out, "{text}").map_err(|source| Error::Output { source })
}

/// Copies objects that the target does not have.
struct Copying {
    from: Arc<dyn Blobs>,
    to: Arc<dyn Blobs>,
    clock: Arc<dyn Clock>,
    objects: usize,
    bytes: u64,
}

impl Copying {
    /// Copies everything that is new but pages; says how much that was.
    async fn pass(&mut self, out: &mut (dyn Write + Send)) -> Result<usize, Error> {
        let wanted = self.missing(|key| !LEFT_BEHIND.iter().any(|left| key.starts_with(left))).await?;
        let (all, all_bytes) = (wanted.len(), wanted.iter().map(|entry| entry.size_bytes).sum::<u64>());
        let mut told = self.clock.monotonic();
        let (from, to) = (Arc::clone(&self.from), Arc::clone(&self.to));
        let copies = wanted.into_iter().map(|entry| copy(Arc::clone(&from), Arc::clone(&to), entry));
        let mut copies = futures::stream::iter(copies).buffer_unordered(AT_ONCE);
        let (mut objects, mut bytes) = (0, 0);
        while let Some(copied) = copies.next().await {
            let size = copied?;
            objects += usize::from(size.is_some());
            bytes += size.unwrap_or(0);
            if self.clock.monotonic().saturating_sub(told) >= Duration::from_secs(1) {
                told = self.clock.monotonic();
                say(out, &format!("{objects} of {all} objects, {} of {} MB", bytes >> 20, all_bytes >> 20))?;
            }
        }
        self.objects += objects;
        self.bytes += bytes;
        Ok(objects)
    }

    /// Copies the pages of the catalog's copy, the newest last: with it the target has a catalog.
    async fn pages(&mut self) -> Result<(), Error> {
        for entry in self.missing(|key| key.starts_with(PAGES)).await? {
            copy(Arc::clone(&self.from), Arc::clone(&self.to), entry).await?;
        }
        Ok(())
    }

    /// What the source has and the target has not, ascending. An object that is there in another size was not written by
    /// us, and creating it says so.
    async fn missing(&self, is_wanted: impl Fn(&str) -> bool) -> Result<Vec<BlobEntry>, Error> {
        let failed = |source| Error::OpenBlobs { source };
        let there = self.to.list("").await.map_err(failed)?.into_iter();
        let there: BTreeMap<String, u64> = there.map(|entry| (entry.key, entry.size_bytes)).collect();
        let here = self.from.list("").await.map_err(failed)?.into_iter();
        let is_missing =
            |entry: &BlobEntry| is_wanted(&entry.key) && there.get(&entry.key) != Some(&entry.size_bytes);
        Ok(here.filter(is_missing).collect())
    }
}

/// Copies an object; `None` if the source has given it up meanwhile.
async fn copy(from: Arc<dyn Blobs>, to: Arc<dyn Blobs>, entry: BlobEntry) -> Result<Option<u64>, Error> {
    let failed = |source: blob::Error| Error::OpenBlobs { source };
    let body = match from.read(&entry.key).await {
        Ok(body) => body,
        Err(error) if error.kind() == Kind::NotFound => return Ok(None),
        Err(source) => return Err(failed(source)),
    };
    let bytes = body.len() as u64;
    to.create(&entry.key, body).await.map_err(failed)?;
    Ok(Some(bytes))
}

/// What serves an idle source: tasks, and the node once it is there.
struct Serving {
    tasks: TaskSet,
    calls: Arc<LocalNodes>,
    node: Option<Node>,
}

/// A source that can be held once nobody serves it: it is started, without ports, for as long as it takes to seal it.
pub struct Idle {
    settings: Settings,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    served: tokio::sync::Mutex<Option<Serving>>,
}

impl Idle {
    /// The directory `from`.
    #[must_use]
    pub fn new(from: &Path, clock: Arc<dyn Clock>, rng: Arc<dyn Rng>) -> Self {
        let mut settings = Settings::default();
        settings.local_storage.path = from.display().to_string();
        Self { settings, clock, rng, served: tokio::sync::Mutex::default() }
    }

    async fn serve(&self, tasks: &TaskSet, local: Arc<LocalNodes>) -> Result<Node, Error> {
        let (role, settings) = (Role::Standalone, &self.settings);
        let unchanging = settings.clone();
        let around = Surroundings {
            clock: Arc::clone(&self.clock),
            rng: Arc::clone(&self.rng),
            tasks: tasks.clone(),
            health: Health::new(),
            metrics: Metrics::new(NodeId(0)),
            sources: Arc::new(move || Ok(unchanging.clone())),
            lines: Lines::unstarted(&TraceSettings::default(), Arc::clone(&self.clock)),
        };
        let seams = seams::open_seams(role, settings, &around).await?;
        let dial = Arc::clone(&local) as _;
        let publish = Box::new(move |served: Served, _: Option<&Door>| local.open(OWN, served));
        let calls = NodeCalls { address: OWN.to_owned(), dial, coord: None, publish };
        Node::start(role, seams, calls, settings, tasks).await
    }
}

#[async_trait]
impl Source for Idle {
    fn is_free(&self) -> bool {
        let root = Path::new(&self.settings.local_storage.path);
        !matches!(seams::lock_directory(root), Err(Error::DataDirectoryInUse { .. }))
    }

    async fn hold(&self) -> Result<(), rpc::Error> {
        let mut served = self.served.lock().await;
        // Noted first: a hold that takes too long is given up at any await, and `end` must find what it had begun.
        let tasks = TaskSet::new();
        let calls = LocalNodes::new();
        let serving = served.insert(Serving { tasks: tasks.clone(), calls: Arc::clone(&calls), node: None });
        let node = self.serve(&tasks, calls).await;
        let node = node.map_err(|error| rpc::Error::failed("open the data directory", &error))?;
        let leave = Leave::new(&node);
        serving.node = Some(node);
        match leave {
            Some(leave) => leave.seal(std::future::ready(())).await,
            None => Ok(()),
        }
    }

    async fn resume(&self) -> Result<(), rpc::Error> {
        self.end().await;
        Ok(())
    }

    async fn end(&self) {
        if let Some(Serving { tasks, calls, node }) = self.served.lock().await.take() {
            tasks.stop();
            // Whatever a task says at its end, the directory is let go of.
            drop(tasks.join().await);
            // The leader holds the table in which it is found itself: else its catalog would never be closed.
            calls.close(OWN);
            drop(node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{RealClock, SeededRng};
    use crate::meta::RedbMetas;

    fn idle(root: &Path) -> Idle {
        Idle::new(root, RealClock::new(), SeededRng::new(1))
    }

    async fn until_free(source: &Idle) {
        let free = async {
            while !source.is_free() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), free).await.expect("the directory is let go of");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_directory_is_not_free_before_its_catalog_and_its_log_are_closed() {
        let directory = tempfile::tempdir().unwrap();
        let source = idle(directory.path());
        let tasks = TaskSet::new();
        let settings = source.settings.clone();
        let around = Surroundings {
            clock: RealClock::new(),
            rng: SeededRng::new(1),
            tasks: tasks.clone(),
            health: Health::new(),
            metrics: Metrics::new(NodeId(1)),
            sources: Arc::new(move || Ok(settings.clone())),
            lines: Lines::unstarted(&TraceSettings::default(), RealClock::new()),
        };
        let opened = seams::open_seams(Role::Standalone, &source.settings, &around).await.unwrap();
        let (metas, logs) = (opened.metas.clone(), Arc::clone(&opened.logs));
        tasks.stop();
        tasks.join().await.unwrap();

        drop(opened);
        assert!(!source.is_free(), "both are open");
        drop(metas);
        assert!(!source.is_free(), "the log is open");
        drop(logs);
        until_free(&source).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_source_goes_on_and_is_held_again_however_far_the_first_hold_came() {
        let directory = tempfile::tempdir().unwrap();
        let source = idle(directory.path());
        for patience in [1, 30, 300, 20_000] {
            let patience = Duration::from_millis(patience);
            if let Ok(held) = tokio::time::timeout(patience, source.hold()).await {
                held.unwrap();
                assert!(!source.is_free());
            }
            source.resume().await.unwrap();
            until_free(&source).await;
        }
        source.hold().await.unwrap();
        source.end().await;
    }

    #[tokio::test]
    async fn a_catalog_that_somebody_has_open_is_said_to_be_in_use() {
        let directory = tempfile::tempdir().unwrap();
        let _open = RedbMetas::open(directory.path().join("meta.redb")).await.unwrap();

        let refused = idle(directory.path()).hold().await.unwrap_err();

        let in_use = Error::DataDirectoryInUse { path: directory.path().to_owned() };
        assert_eq!(refused, rpc::Error::failed("open the data directory", &in_use));
    }
}
