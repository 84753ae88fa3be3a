//! The cache against a naive twin, over restarts and on disks that fail.

use std::sync::atomic::AtomicBool;

use proptest::prelude::*;

use crate::base::{Kind, Kinded as _, RealClock, SeededRng, TestClock};
use crate::blob::{Doing, FaultPlan, FaultyBlobs, MemoryBlobs, conformance};

use super::files::Head;
use super::inside::{MARK_EVERY_MS, WRITE_AGAIN_AFTER};
use super::*;

fn settings(folder: &std::path::Path) -> DiskCacheSettings {
    DiskCacheSettings {
        folder: folder.to_owned(),
        budget_bytes: 1 << 20,
        largest_percent: 50,
        prefixes: vec!["seg/".to_owned()],
        keep_created: false,
    }
}

async fn open(inner: Arc<dyn Blobs>, settings: DiskCacheSettings) -> Arc<CachedBlobs> {
    CachedBlobs::open(inner, settings, RealClock::new()).await.unwrap()
}

/// A folder whose writes or reads can be made to fail.
struct SickDisk {
    folder: Folder,
    full: AtomicBool,
    unreadable: AtomicBool,
}

impl SickDisk {
    fn open(path: &std::path::Path) -> Arc<Self> {
        let folder = Folder::open(path.to_owned()).unwrap();
        Arc::new(Self { folder, full: AtomicBool::new(false), unreadable: AtomicBool::new(false) })
    }
}

impl Disk for SickDisk {
    fn list(&self) -> io::Result<Vec<files::Found>> {
        self.folder.list()
    }

    fn write(&self, file: &str, head: &[u8], body: &[u8], now_ms: u64) -> io::Result<()> {
        if self.full.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.folder.write(file, head, body, now_ms)
    }

    fn read(&self, file: &str, range: Range<u64>) -> io::Result<Vec<u8>> {
        if self.unreadable.load(Ordering::SeqCst) {
            return Err(io::Error::other("bad sector"));
        }
        self.folder.read(file, range)
    }

    fn mark(&self, file: &str, now_ms: u64) -> io::Result<()> {
        self.folder.mark(file, now_ms)
    }

    fn remove(&self, file: &str) -> io::Result<()> {
        self.folder.remove(file)
    }
}

/// The files of copies in a folder.
fn files_in(folder: &std::path::Path) -> Vec<PathBuf> {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_copy = |path: &PathBuf| files::number_of(path.file_name().unwrap().to_str().unwrap()).is_some();
    paths.filter(is_copy).collect()
}

#[tokio::test]
async fn a_cached_store_keeps_the_contract() {
    for keep_created in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        // Room for the contract's largest object, and for little more.
        let settings = DiskCacheSettings {
            prefixes: vec![String::new()],
            budget_bytes: 410_000,
            largest_percent: 100,
            keep_created,
            ..settings(dir.path())
        };
        conformance::run(open(MemoryBlobs::new(), settings).await).await;
    }
}

#[tokio::test]
async fn a_second_read_asks_the_disk_only_and_other_keys_always_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let inner = MemoryBlobs::new();
    let blobs = open(inner.clone(), settings(dir.path())).await;
    for key in ["seg/a", "log/a"] {
        blobs.create(key, Bytes::from_static(b"0123456789")).await.unwrap();
        blobs.read(key).await.unwrap();
        inner.delete(key).await.unwrap();
    }

    assert_eq!(blobs.read("seg/a").await.unwrap(), Bytes::from_static(b"0123456789"));
    assert_eq!(blobs.read_range("seg/a", 2..5).await.unwrap(), Bytes::from_static(b"234"));
    assert!(matches!(blobs.read_range("seg/a", 2..11).await, Err(Error::BadRange { .. })));
    assert!(matches!(blobs.read("log/a").await, Err(Error::NotFound { .. })));

    let expected = CacheCounters {
        hits: 2,
        misses: 1,
        passed: 2,
        hit_bytes: 13,
        miss_bytes: 10,
        kept_objects: 1,
        kept_bytes: 10 + 28 + 5,
        ..CacheCounters::default()
    };
    assert_eq!(blobs.counters(), expected);
}

#[tokio::test]
async fn what_is_created_is_kept_if_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let inner = MemoryBlobs::new();
    let blobs = open(inner.clone(), DiskCacheSettings { keep_created: true, ..settings(dir.path()) }).await;
    blobs.create("seg/a", Bytes::from_static(b"x")).await.unwrap();
    inner.delete("seg/a").await.unwrap();

    assert_eq!(blobs.read("seg/a").await.unwrap(), Bytes::from_static(b"x"));
}

#[tokio::test(start_paused = true)]
async fn however_many_ask_an_object_is_downloaded_once() {
    let dir = tempfile::tempdir().unwrap();
    let inner = MemoryBlobs::new();
    inner.create("seg/a", Bytes::from(vec![7; 1000])).await.unwrap();
    let plan =
        FaultPlan { delay_permille: 1000, max_delay_ms: 100, ..FaultPlan::of(&[Doing::Read, Doing::List]) };
    let slow = FaultyBlobs::new(inner, plan, TestClock::starting_at(1), SeededRng::new(1));
    let blobs = open(slow.clone(), settings(dir.path())).await;

    let whole = (0..20).map(|_| async { blobs.read("seg/a").await.unwrap().len() });
    let parts = (0..20).map(|_| async { blobs.read_range("seg/a", 5..1000).await.unwrap().len() });
    let (whole, parts) = futures::join!(futures::future::join_all(whole), futures::future::join_all(parts));

    assert!(whole.iter().all(|len| *len == 1000) && parts.iter().all(|len| *len == 995));
    assert_eq!(slow.injected()[&(Doing::Read, crate::blob::Fault::Delay)], 1);
    assert_eq!(blobs.counters().miss_bytes, 1000);
}

#[tokio::test(start_paused = true)]
async fn a_failed_download_fails_all_who_asked_and_none_who_ask_later() {
    let dir = tempfile::tempdir().unwrap();
    let inner = MemoryBlobs::new();
    inner.create("seg/a", Bytes::from_static(b"x")).await.unwrap();
    let plan = FaultPlan {
        fail_before_permille: 1000,
        delay_permille: 1000,
        max_delay_ms: 100,
        ..FaultPlan::of(&[Doing::Read])
    };
    let sick = FaultyBlobs::new(inner, plan, TestClock::starting_at(1), SeededRng::new(1));
    let blobs = open(sick.clone(), settings(dir.path())).await;

    let asked = futures::future::join_all((0..5).map(|_| blobs.read("seg/a"))).await;
    sick.follow(FaultPlan::calm());

    assert!(asked.into_iter().all(|asked| asked.unwrap_err().kind() == Kind::Unavailable));
    assert_eq!(sick.injected()[&(Doing::Read, crate::blob::Fault::Before)], 1);
    assert_eq!(blobs.read("seg/a").await.unwrap(), Bytes::from_static(b"x"));
    assert_eq!(blobs.read("seg/none").await.unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_download_that_nobody_waits_for_any_more_harms_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let inner = MemoryBlobs::new();
    inner.create("seg/a", Bytes::from_static(b"x")).await.unwrap();
    let plan = FaultPlan { delay_permille: 1000, max_delay_ms: 1000, ..FaultPlan::of(&[Doing::Read]) };
    let slow = FaultyBlobs::new(inner, plan, TestClock::starting_at(1), SeededRng::new(1));
    let blobs = open(slow, settings(dir.path())).await;

    let given_up = tokio::time::timeout(Duration::from_millis(1), blobs.read("seg/a")).await;

    assert!(given_up.is_err());
    assert_eq!(blobs.read("seg/a").await.unwrap(), Bytes::from_static(b"x"));
    assert_eq!(blobs.counters().kept_objects, 1);
}

#[tokio::test(start_paused = true)]
async fn a_delete_calls_off_the_copy_of_a_download_under_way() {
    let dir = tempfile::tempdir().unwrap();
    let inner = MemoryBlobs::new();
    inner.create("seg/a", Bytes::from_static(b"old")).await.unwrap();
    let plan = FaultPlan { delay_permille: 1000, max_delay_ms: 0, ..FaultPlan::of(&[Doing::Read]) };
    let slow = FaultyBlobs::new(inner.clone(), plan, TestClock::starting_at(1), SeededRng::new(1));
    let blobs = open(slow, settings(dir.path())).await;

    for _ in 0..50 {
        let (read, deleted) = futures::join!(blobs.read("seg/a"), blobs.delete("seg/a"));
        deleted.unwrap();
        drop(read);
        assert_eq!(blobs.read("seg/a").await.unwrap_err().kind(), Kind::NotFound);
        inner.create("seg/a", Bytes::from_static(b"old")).await.unwrap();
    }
}

#[tokio::test]
async fn objects_too_large_for_their_share_go_through() {
    let dir = tempfile::tempdir().unwrap();
    let inner = MemoryBlobs::new();
    let blobs = open(inner.clone(), settings(dir.path())).await;
    blobs.create("seg/large", Bytes::from(vec![1; (1 << 19) + 1])).await.unwrap();

    assert_eq!(blobs.read_range("seg/large", 0..10).await.unwrap().len(), 10);
    assert_eq!(blobs.counters().miss_bytes, 10);
    assert_eq!(blobs.read("seg/large").await.unwrap().len(), (1 << 19) + 1);

    assert_eq!(blobs.counters().kept_objects, 0);
    assert!(files_in(dir.path()).is_empty());
}

#[tokio::test]
async fn copies_are_there_after_a_restart_and_torn_ones_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let inner = MemoryBlobs::new();
    let blobs = open(inner.clone(), settings(dir.path())).await;
    let keys = ["whole", "shortened", "flipped", "headless"].map(|key| format!("seg/{key}"));
    for key in &keys {
        inner.create(key, Bytes::from(key.repeat(100))).await.unwrap();
        blobs.read(key).await.unwrap();
    }
    drop(blobs);
    for path in files_in(dir.path()) {
        let mut content = std::fs::read(&path).unwrap();
        let key = Head::decode(&content).unwrap().key;
        match &key["seg/".len()..] {
            "shortened" => content.truncate(content.len() - 1),
            "flipped" => *content.last_mut().unwrap() ^= 1,
            "headless" => content[9] ^= 1,
            _ => continue,
        }
        std::fs::write(path, content).unwrap();
    }
    std::fs::write(dir.path().join(".new-0000"), "half").unwrap();
    std::fs::write(dir.path().join("foreign"), "not ours").unwrap();

    let blobs = open(inner.clone(), settings(dir.path())).await;

    assert_eq!((blobs.counters().kept_objects, blobs.counters().torn), (2, 2));
    for key in &keys {
        assert_eq!(blobs.read_range(key, 4..9).await.unwrap(), Bytes::from(key.repeat(100)).slice(4..9));
    }
    // The whole one was a hit; the flipped one was found out by its CRC.
    let counters = blobs.counters();
    assert_eq!((counters.hits, counters.misses, counters.torn, counters.kept_objects), (1, 3, 3, 4));
    assert_eq!(files_in(dir.path()).len(), 4);
    assert!(!dir.path().join(".new-0000").exists());
    assert!(dir.path().join("foreign").exists());
}

#[tokio::test]
async fn after_a_restart_with_a_smaller_budget_the_files_used_last_stay() {
    let dir = tempfile::tempdir().unwrap();
    let inner = MemoryBlobs::new();
    let clock = TestClock::starting_at(1_000_000_000_000);
    let open = async |budget_bytes| {
        let settings = DiskCacheSettings { budget_bytes, ..settings(dir.path()) };
        CachedBlobs::open(inner.clone(), settings, clock.clone()).await.unwrap()
    };
    tokio::time::pause();
    let blobs = open(1 << 20).await;
    for key in ["seg/a", "seg/b", "seg/c"] {
        inner.create(key, Bytes::from(vec![0; 100])).await.unwrap();
        blobs.read(key).await.unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    tokio::time::advance(Duration::from_millis(MARK_EVERY_MS)).await;
    blobs.read("seg/a").await.unwrap();
    drop(blobs);

    let blobs = open(300).await;

    let kept = blobs.inside.state.lock().shelf.keys();
    assert_eq!(kept, ["seg/c", "seg/a"]);
    assert_eq!(files_in(dir.path()).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_fails_no_read_and_is_tried_again_later() {
    let dir = tempfile::tempdir().unwrap();
    let inner = MemoryBlobs::new();
    for key in ["seg/a", "seg/b", "seg/c"] {
        inner.create(key, Bytes::from_static(b"x")).await.unwrap();
    }
    let disk = SickDisk::open(dir.path());
    let clock = TestClock::starting_at(1);
    let blobs =
        CachedBlobs::over(inner.clone(), settings(dir.path()), clock, Ok(disk.clone())).await.unwrap();
    disk.full.store(true, Ordering::SeqCst);

    for key in ["seg/a", "seg/b", "seg/a"] {
        assert_eq!(blobs.read(key).await.unwrap(), Bytes::from_static(b"x"));
        assert_eq!(blobs.read_range(key, 0..1).await.unwrap(), Bytes::from_static(b"x"));
    }
    assert_eq!((blobs.counters().failed_writes, blobs.counters().kept_bytes), (1, 0));
    disk.full.store(false, Ordering::SeqCst);
    tokio::time::advance(WRITE_AGAIN_AFTER).await;
    blobs.read_range("seg/c", 0..1).await.unwrap();

    assert_eq!((blobs.counters().failed_writes, blobs.counters().kept_objects), (1, 1));
}

#[tokio::test]
async fn what_is_distrusted_is_read_again_from_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let inner = MemoryBlobs::new();
    inner.create("seg/a", Bytes::from_static(b"damaged on its way")).await.unwrap();
    let blobs = open(inner.clone(), settings(folder.path())).await;
    blobs.read("seg/a").await.unwrap();
    inner.delete("seg/a").await.unwrap();
    inner.create("seg/a", Bytes::from_static(b"whole")).await.unwrap();

    assert_eq!(blobs.read("seg/a").await.unwrap(), "damaged on its way", "a copy is as good as the object");
    blobs.distrust("seg/a").await;

    assert_eq!(blobs.read("seg/a").await.unwrap(), "whole");
    assert_eq!(blobs.counters().kept_objects, 1);
}

#[tokio::test]
async fn files_that_cannot_be_read_or_are_gone_are_downloaded_again() {
    let dir = tempfile::tempdir().unwrap();
    let inner = MemoryBlobs::new();
    inner.create("seg/a", Bytes::from_static(b"x")).await.unwrap();
    let disk = SickDisk::open(dir.path());
    let clock = RealClock::new();
    let blobs =
        CachedBlobs::over(inner.clone(), settings(dir.path()), clock, Ok(disk.clone())).await.unwrap();
    blobs.read("seg/a").await.unwrap();

    disk.unreadable.store(true, Ordering::SeqCst);
    assert_eq!(blobs.read("seg/a").await.unwrap(), Bytes::from_static(b"x"));
    disk.unreadable.store(false, Ordering::SeqCst);
    for path in files_in(dir.path()) {
        std::fs::remove_file(path).unwrap();
    }
    assert_eq!(blobs.read_range("seg/a", 0..1).await.unwrap(), Bytes::from_static(b"x"));

    assert_eq!((blobs.counters().misses, blobs.counters().kept_objects), (3, 1));
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_means_a_store_without_copies() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let used = dir.path().join("used");
    let _other = Folder::open(used.clone()).unwrap();
    for folder in [file.join("below"), file, used] {
        let inner = MemoryBlobs::new();
        inner.create("seg/a", Bytes::from_static(b"x")).await.unwrap();
        let blobs = open(inner, settings(&folder)).await;

        assert_eq!(blobs.read("seg/a").await.unwrap(), Bytes::from_static(b"x"));
        assert_eq!(blobs.counters(), CacheCounters { passed: 1, ..CacheCounters::default() });
    }
}

#[tokio::test]
async fn settings_that_cannot_work_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let good = settings(dir.path());
    for (settings, name) in [
        (DiskCacheSettings { budget_bytes: 0, ..good.clone() }, "budget_bytes"),
        (DiskCacheSettings { largest_percent: 0, ..good.clone() }, "largest_percent"),
        (DiskCacheSettings { largest_percent: 101, ..good.clone() }, "largest_percent"),
    ] {
        let error = CachedBlobs::open(MemoryBlobs::new(), settings, RealClock::new()).await.err().unwrap();
        assert!(matches!(error, Error::BadSetting { setting, .. } if setting == name), "{error:?}");
    }
}

/// One thing done to the cache.
#[derive(Clone, Debug)]
enum Step {
    Create(usize, u64),
    Read(usize),
    ReadRange(usize, u64, u64),
    Delete(usize),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..8usize;
    prop_oneof![
        3 => (key.clone(), 0..500u64).prop_map(|(key, len)| Step::Create(key, len)),
        5 => key.clone().prop_map(Step::Read),
        3 => (key.clone(), 0..500u64, 0..500u64).prop_map(|(key, start, end)| Step::ReadRange(key, start, end)),
        1 => key.prop_map(Step::Delete),
        1 => Just(Step::Restart),
    ]
}

/// The same cache, slowly: keys with the lengths of their files, the one used last at the end.
#[derive(Default)]
struct Twin {
    kept: Vec<(String, u64)>,
}

impl Twin {
    const BUDGET: u64 = 1000;
    const LARGEST: u64 = 400;

    /// A read of an object that is there.
    fn used(&mut self, key: &str, len: u64) {
        if let Some(at) = self.kept.iter().position(|(kept, _)| kept == key) {
            let copy = self.kept.remove(at);
            self.kept.push(copy);
        } else if len <= Self::LARGEST {
            self.kept.push((key.to_owned(), len + 28 + key.len() as u64));
            while self.kept.iter().map(|(_, bytes)| bytes).sum::<u64>() > Self::BUDGET {
                self.kept.remove(0);
            }
        }
    }
}

async fn run_steps(steps: Vec<Step>) {
    let dir = tempfile::tempdir().unwrap();
    let (inner, plain) = (MemoryBlobs::new(), MemoryBlobs::new());
    let settings =
        DiskCacheSettings { budget_bytes: Twin::BUDGET, largest_percent: 40, ..settings(dir.path()) };
    let mut blobs = open(inner.clone(), settings.clone()).await;
    let mut twin = Twin::default();
    for (number, step) in steps.into_iter().enumerate() {
        let name = |key: usize| format!("{}/{key}", if key < 6 { "seg" } else { "log" });
        match step {
            Step::Create(key, len) => {
                let body =
                    Bytes::from(vec![u8::try_from(number % 251).unwrap(); usize::try_from(len).unwrap()]);
                let (one, other) =
                    (blobs.create(&name(key), body.clone()).await, plain.create(&name(key), body).await);
                assert_eq!(one.is_ok(), other.is_ok());
            }
            Step::Read(key) => {
                let (one, other) = (blobs.read(&name(key)).await, plain.read(&name(key)).await);
                assert_eq!(one.as_ref().ok(), other.as_ref().ok());
                if let Ok(body) = &other
                    && key < 6
                {
                    twin.used(&name(key), body.len() as u64);
                }
            }
            Step::ReadRange(key, start, end) => {
                let one = blobs.read_range(&name(key), start..end).await;
                let other = plain.read_range(&name(key), start..end).await;
                assert_eq!(one.as_ref().ok(), other.as_ref().ok());
                assert_eq!(
                    one.err().map(|error| error.kind()),
                    other.as_ref().err().map(|error| error.kind())
                );
                let body = plain.read(&name(key)).await;
                if let Ok(body) = body
                    && key < 6
                    && start != end
                {
                    let is_kept = twin.kept.iter().any(|(kept, _)| *kept == name(key));
                    // A backward range of a kept copy is refused after the look at it, as any other.
                    if is_kept || body.len() as u64 <= Twin::LARGEST {
                        twin.used(&name(key), body.len() as u64);
                    }
                }
            }
            Step::Delete(key) => {
                blobs.delete(&name(key)).await.unwrap();
                plain.delete(&name(key)).await.unwrap();
                twin.kept.retain(|(kept, _)| *kept != name(key));
            }
            Step::Restart => {
                drop(blobs);
                blobs = open(inner.clone(), settings.clone()).await;
                let mut kept = blobs.inside.state.lock().shelf.keys();
                // The order over a restart is that of the marks, which are coarser.
                twin.kept.sort_by_key(|(key, _)| kept.iter().position(|kept| kept == key));
                kept.sort();
                let mut expected = twin.kept.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>();
                expected.sort();
                assert_eq!(kept, expected);
            }
        }
        let kept = blobs.inside.state.lock().shelf.keys();
        assert_eq!(kept, twin.kept.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>());
        let on_disk = files_in(dir.path()).iter().map(|path| path.metadata().unwrap().len()).sum::<u64>();
        assert_eq!(on_disk, twin.kept.iter().map(|(_, bytes)| bytes).sum::<u64>());
        assert!(on_disk <= Twin::BUDGET);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn it_answers_as_a_plain_store_and_keeps_what_its_naive_twin_keeps(steps in prop::collection::vec(step(), 1..60)) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run_steps(steps));
    }
}
