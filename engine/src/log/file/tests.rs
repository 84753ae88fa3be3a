//! Tests of the file log: the contract on every disk, crashes, damage, failing disks.

use std::time::Duration;

use bytes::Bytes;

use crate::base::{Kind, Kinded as _, NodeId, RealClock, Rng, SeededRng};
use crate::disk::{OsDisk, SimDisk};
use crate::log::conformance;
use crate::obs::Metrics;

use super::*;

/// A process that uses a disk: its logs, and the set that its tasks die with.
struct Process {
    logs: Arc<FileLogs>,
    tasks: TaskSet,
}

fn small() -> FileLogSettings {
    FileLogSettings { segment_bytes: 600, recent_bytes: 300, queue_bytes: 1 << 20, batch_bytes: 400 }
}

fn process(disk: Arc<dyn Disk>, settings: FileLogSettings) -> Process {
    let tasks = TaskSet::new();
    let metrics = Metrics::new(NodeId(1)).log.clone();
    let logs = FileLogs::new(disk, tasks.clone(), RealClock::new(), metrics, settings);
    Process { logs, tasks }
}

fn name() -> ChannelName {
    ChannelName("c".into())
}

async fn append(writer: &Arc<dyn LogWriter>, payload: impl Into<Bytes>) -> Result<Position, Error> {
    writer.append(payload.into())?.durable().await
}

async fn read_all(logs: &FileLogs, from: Position) -> Result<Vec<(u64, Bytes)>, Error> {
    let mut reader = logs.read(&name(), from).await?;
    let mut records = Vec::new();
    while let Some((position, payload)) = reader.try_next().await? {
        records.push((position.0, payload));
    }
    Ok(records)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_log_keeps_the_contract_on_the_operating_systems_disk() {
    for settings in [FileLogSettings::default(), small()] {
        let dir = tempfile::tempdir().unwrap();
        let disk = OsDisk::open(dir.path().join("log")).await.unwrap();
        conformance::run(process(disk, settings).logs).await;
    }
}

#[tokio::test]
async fn a_file_log_keeps_the_contract_on_the_simulated_disk() {
    for settings in [FileLogSettings::default(), small()] {
        conformance::run(process(SimDisk::new(), settings).logs).await;
    }
}

#[tokio::test]
async fn records_and_terms_are_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("log");
    let before = process(OsDisk::open(&root).await.unwrap(), small());
    let writer = before.logs.open(&name(), 3).await.unwrap();
    for number in 0..30u8 {
        append(&writer, vec![number; 40]).await.unwrap();
    }
    before.logs.truncate(&name(), Position(12)).await.unwrap();
    before.tasks.stop();
    before.tasks.join().await.unwrap();
    drop((before, writer));

    let after = process(OsDisk::open(&root).await.unwrap(), small());

    assert_eq!(after.logs.channels().await.unwrap(), [name()]);
    assert_eq!(after.logs.open(&name(), 3).await.err().unwrap().kind(), Kind::Fenced);
    let expected = (12..30).map(|number: u8| (u64::from(number), Bytes::from(vec![number; 40])));
    assert_eq!(read_all(&after.logs, Position(12)).await.unwrap(), expected.collect::<Vec<_>>());
    assert!(matches!(read_all(&after.logs, Position(11)).await, Err(Error::Truncated { .. })));
    assert_eq!(after.logs.open(&name(), 4).await.unwrap().next_position(), Position(30));
}

#[tokio::test]
async fn what_is_let_go_is_in_memory_no_more() {
    let process = process(SimDisk::new(), FileLogSettings::default());
    let writer = process.logs.open(&name(), 1).await.unwrap();
    for number in 0..3u8 {
        append(&writer, vec![number; 40]).await.unwrap();
    }
    let (channel, _) = process.logs.hold(&name()).await.unwrap();

    process.logs.let_go(&name(), Position(2));

    assert_eq!([0, 1, 2].map(|position| channel.recent(position).is_some()), [false, false, true]);
}

#[tokio::test]
async fn a_log_of_which_all_is_given_up_has_no_file_of_records_left_unless_it_is_small() {
    let disk = SimDisk::new();
    let settings = FileLogSettings { segment_bytes: 64 * 1_000, ..FileLogSettings::default() };
    let process = process(disk.clone(), settings);
    let writer = process.logs.open(&name(), 1).await.unwrap();
    let files = async || {
        let all = disk.list("c").await.unwrap();
        all.into_iter().map(|entry| entry.name).filter(|name| name.ends_with(".log")).count()
    };

    append(&writer, vec![0u8; 400]).await.unwrap();
    process.logs.truncate(&name(), Position(1)).await.unwrap();
    assert_eq!(files().await, 1, "a new one is not worth its cost");
    append(&writer, vec![1u8; 400]).await.unwrap();
    append(&writer, vec![2u8; 400]).await.unwrap();
    process.logs.truncate(&name(), Position(2)).await.unwrap();
    assert_eq!(files().await, 1, "it has a record that was not given up");
    process.logs.truncate(&name(), Position(3)).await.unwrap();
    assert_eq!(files().await, 0);

    assert_eq!(append(&writer, vec![3u8; 40]).await.unwrap(), Position(3));
    assert_eq!(read_all(&process.logs, Position(3)).await.unwrap(), [(3, Bytes::from(vec![3u8; 40]))]);
    assert_eq!(files().await, 1);
}

#[tokio::test]
async fn a_directory_is_used_by_one_process_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let _held = OsDisk::open(dir.path()).await.unwrap();

    let error = OsDisk::open(dir.path()).await.unwrap_err();

    assert_eq!(error.kind(), std::io::ErrorKind::ResourceBusy);
}

#[tokio::test]
async fn a_writer_told_to_stop_writes_what_waits_and_refuses_more() {
    let process = process(SimDisk::new(), small());
    let writer = process.logs.open(&name(), 1).await.unwrap();
    let appending = writer.append(Bytes::from("x")).unwrap();

    process.tasks.stop();
    process.tasks.join().await.unwrap();

    assert_eq!(appending.durable().await.unwrap(), Position(0));
    assert!(matches!(writer.append(Bytes::from("y")), Err(Error::Stopped { .. })));
}

#[tokio::test]
async fn a_failed_write_poisons_the_writer_and_only_acknowledged_records_remain() {
    for operations in 0..3 {
        let disk = SimDisk::new();
        let process = process(disk.clone(), FileLogSettings::default());
        let writer = process.logs.open(&name(), 1).await.unwrap();
        append(&writer, "good").await.unwrap();

        disk.fail_after(operations % 2);
        let lost = [writer.append(Bytes::from("lost")).unwrap(), writer.append(Bytes::from("too")).unwrap()];
        for lost in lost {
            let error = lost.durable().await.unwrap_err();
            assert!(matches!(error, Error::Poisoned { .. }), "{error:?}");
        }
        disk.repair();

        let error = writer.append(Bytes::from("later")).unwrap_err();
        assert!(matches!(error, Error::Poisoned { .. }), "{error:?}");
        assert_eq!(error.kind(), Kind::Unavailable);
        let writer = process.logs.open(&name(), 2).await.unwrap();
        assert_eq!(append(&writer, "again").await.unwrap(), Position(1));
        let expected = [(0, Bytes::from("good")), (1, Bytes::from("again"))];
        assert_eq!(read_all(&process.logs, Position(0)).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn appends_are_refused_while_too_much_waits() {
    let settings = FileLogSettings { queue_bytes: 100, ..small() };
    let process = process(SimDisk::new(), settings);
    let writer = process.logs.open(&name(), 1).await.unwrap();

    let mut taken = Vec::new();
    let error = loop {
        match writer.append(Bytes::from(vec![0; 30])) {
            Ok(appending) => taken.push(appending),
            Err(error) => break error,
        }
    };

    assert_eq!(error.kind(), Kind::Exhausted);
    assert_eq!(taken.len(), 4);
    for taken in taken {
        taken.durable().await.unwrap();
    }
    assert_eq!(append(&writer, "x").await.unwrap(), Position(4));
}

/// A log whose files hold records `0..number` in groups of one, and the paths of its record files.
async fn filled(number: u8, settings: FileLogSettings) -> (Arc<SimDisk>, Vec<String>) {
    let disk = SimDisk::new();
    let process = process(disk.clone(), settings);
    let writer = process.logs.open(&name(), 1).await.unwrap();
    for number in 0..number {
        append(&writer, vec![number; 40]).await.unwrap();
    }
    let files = disk.paths().into_iter().filter(|path| path.ends_with(".log")).collect();
    (disk, files)
}

#[tokio::test]
async fn damage_in_the_middle_is_reported_with_file_and_offset() {
    let settings = FileLogSettings { recent_bytes: 0, ..FileLogSettings::default() };
    let record = 32 + 40;
    for (byte, offset) in
        [(36 + record * 3 + 50, 36 + record * 3), (36 + 2, 36), (36 + record * 8, 36 + record * 8)]
    {
        let (disk, files) = filled(10, settings.clone()).await;
        disk.damage(&files[0], |bytes| bytes[byte] ^= 0x40);

        let error = process(disk, settings.clone()).logs.open(&name(), 2).await.err().unwrap();

        assert_eq!(error.kind(), Kind::Corrupt);
        let Error::Damaged { file, offset: found, .. } = error else { panic!("{error:?}") };
        assert_eq!((file, found), (files[0].clone(), offset as u64));
    }
}

#[tokio::test]
async fn damage_in_an_older_file_is_never_served() {
    let (disk, files) = filled(30, small()).await;
    assert!(files.len() > 2, "{files:?}");
    disk.damage(&files[1], |bytes| *bytes.last_mut().unwrap() ^= 1);

    let process = process(disk, small());
    let error = read_all(&process.logs, Position(0)).await.unwrap_err();

    let Error::Damaged { file, .. } = error else { panic!("{error:?}") };
    assert_eq!(file, files[1]);
    assert_eq!(process.logs.open(&name(), 2).await.unwrap().next_position(), Position(30));
}

#[tokio::test]
async fn a_missing_tail_of_an_older_file_and_a_damaged_header_are_damage() {
    let (disk, files) = filled(30, small()).await;
    disk.damage(&files[0], |bytes| bytes.truncate(bytes.len() - 72));
    let read = read_all(&process(disk, small()).logs, Position(0)).await;
    assert_eq!(read.unwrap_err().kind(), Kind::Corrupt);

    let (disk, files) = filled(30, small()).await;
    disk.damage(files.last().unwrap(), |bytes| bytes[9] ^= 1);
    let opened = process(disk, small()).logs.open(&name(), 2).await;
    assert_eq!(opened.err().unwrap().kind(), Kind::Corrupt);
}

#[tokio::test]
async fn a_torn_tail_is_cut() {
    let (disk, files) = filled(10, FileLogSettings::default()).await;
    disk.damage(&files[0], |bytes| bytes.truncate(bytes.len() - 5));

    let process = process(disk, FileLogSettings::default());
    let writer = process.logs.open(&name(), 2).await.unwrap();

    assert_eq!(append(&writer, "next").await.unwrap(), Position(9));
    assert_eq!(read_all(&process.logs, Position(8)).await.unwrap().len(), 2);
}

/// What the appenders of a log may expect after a crash.
#[derive(Default)]
struct Model {
    term: u64,
    /// Every payload ever appended, by position, the last one first acknowledged or not.
    sent: BTreeMap<u64, Vec<Bytes>>,
    /// Acknowledged payloads.
    acknowledged: BTreeMap<u64, Bytes>,
    /// No position below this can be read any more.
    truncated: u64,
    /// A truncation up to here was asked for, but may not have happened.
    truncating: u64,
}

/// Runs random appends and truncations with random disk failures; returns when the disk fails or enough was done.
async fn work(logs: &FileLogs, model: &mut Model, rng: &dyn Rng) -> Result<(), Error> {
    model.term += 1;
    let mut writer = logs.open(&name(), model.term).await?;
    for _ in 0..rng.below(40) {
        match rng.below(10) {
            0 => {
                let before = rng.below(writer.next_position().0 + 1);
                model.truncating = model.truncating.max(before);
                logs.truncate(&name(), Position(before)).await?;
                model.truncated = model.truncated.max(before);
            }
            1 => {
                model.term += 1;
                writer = logs.open(&name(), model.term).await?;
            }
            _ => {
                let mut waiting = Vec::new();
                for _ in 0..=rng.below(4) {
                    let size = usize::try_from(rng.below(150)).unwrap();
                    let mut payload = rng.next_u64().to_le_bytes().to_vec();
                    payload.resize(8 + size, 0x5a);
                    let payload = Bytes::from(payload);
                    let appending = writer.append(payload.clone())?;
                    model.sent.entry(appending.position.0).or_default().push(payload.clone());
                    waiting.push((appending, payload));
                }
                for (appending, payload) in waiting {
                    let position = appending.durable().await?;
                    model.acknowledged.insert(position.0, payload);
                }
            }
        }
    }
    Ok(())
}

/// Compares what a restarted log holds with what it must and may hold.
async fn check(logs: &FileLogs, model: &mut Model) {
    let first = match logs.read(&name(), Position(0)).await {
        Ok(_) => 0,
        Err(Error::Truncated { first, .. }) => first.0,
        Err(error) => panic!("{error:?}"),
    };
    assert!(model.truncated <= first && first <= model.truncating, "{first} of {}", model.truncating);
    model.truncated = first;
    let found = read_all(logs, Position(first)).await.unwrap();
    for (expected, (position, payload)) in (first..).zip(&found) {
        assert_eq!(*position, expected, "no gaps");
        match model.acknowledged.get(position) {
            Some(acknowledged) => assert_eq!(payload, acknowledged, "at {position}"),
            None => assert!(model.sent[position].contains(payload), "nobody sent what is at {position}"),
        }
    }
    let next = first + found.len() as u64;
    let last = model.acknowledged.last_key_value().map_or(0, |(position, _)| position + 1);
    assert!(next >= last, "acknowledged up to {last}, there up to {next}");
    // What was kept of the unacknowledged tail counts as acknowledged from now on.
    model.acknowledged.extend(found);
    model.sent.split_off(&next);
}

async fn crash_again_and_again(seed: u64) {
    let rng = SeededRng::new(seed);
    let mut disk = SimDisk::new();
    let mut model = Model::default();
    for _ in 0..6 {
        let process = process(disk.clone(), small());
        if rng.below(4) != 0 {
            disk.fail_after(rng.below(250));
        }
        // Ends early when the disk fails, with whatever it was doing half done.
        let _ = work(&process.logs, &mut model, &*rng).await;
        disk = match rng.below(3) {
            // The process is killed; the machine goes on.
            0 => {
                disk.repair();
                disk
            }
            _ => disk.crash(&*rng),
        };
        drop(process);
        let restarted = self::process(disk.clone(), small());
        check(&restarted.logs, &mut model).await;
        drop(restarted);
    }
}

#[tokio::test]
async fn two_hundred_seeds_of_crashes_lose_nothing() {
    for seed in 0..200 {
        let run = std::panic::AssertUnwindSafe(crash_again_and_again(seed));
        let ended =
            tokio::time::timeout(Duration::from_secs(60), futures::FutureExt::catch_unwind(run)).await;
        assert!(matches!(ended, Ok(Ok(()))), "seed {seed}");
    }
}

/// Appends from `appenders` at once, each waiting for one record before the next; prints rates and waits.
async fn measure(root: &std::path::Path, appenders: usize, records: usize, payload_bytes: usize) {
    let disk = OsDisk::open(root).await.unwrap();
    let process = process(disk, FileLogSettings::default());
    let writer = process.logs.open(&name(), 1).await.unwrap();
    let payload = Bytes::from(vec![0x5a; payload_bytes]);
    let clock = RealClock::new();
    let started = clock.monotonic();
    let appending = (0..appenders).map(|_| {
        let (writer, payload, clock) = (writer.clone(), payload.clone(), clock.clone());
        async move {
            let mut waits = Vec::new();
            for _ in 0..records {
                let since = clock.monotonic();
                append(&writer, payload.clone()).await.unwrap();
                waits.push(clock.monotonic() - since);
            }
            waits
        }
    });
    let mut waits = futures::future::join_all(appending).await.concat();
    let took = (clock.monotonic() - started).as_secs_f64();
    waits.sort_unstable();
    let total = waits.len();
    println!(
        "{appenders} appenders of {payload_bytes} bytes: {:.0} records/s, {:.1} MB/s, p50 {:?}, p99 {:?}",
        total as f64 / took,
        (total * payload_bytes) as f64 / took / 1e6,
        waits[total / 2],
        waits[total * 99 / 100],
    );
    let started = clock.monotonic();
    drop((process, writer));
    let restarted = self::process(
        reopened(root).await,
        FileLogSettings { recent_bytes: 0, ..FileLogSettings::default() },
    );
    let read = read_all(&restarted.logs, Position(0)).await.unwrap().len();
    assert_eq!(read, total);
    println!("  replay of {read} records after a restart: {:?}", clock.monotonic() - started);
}

/// The disk, once the process before has let go of it.
async fn reopened(root: &std::path::Path) -> Arc<OsDisk> {
    loop {
        match OsDisk::open(root).await {
            Ok(disk) => return disk,
            Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => tokio::task::yield_now().await,
            Err(error) => panic!("{error:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement; run it alone with --nocapture"]
async fn measure_appends() {
    for (appenders, records, payload_bytes) in
        [(1, 100, 1_600_000), (4, 50, 1_600_000), (1, 500, 200), (8, 500, 200), (64, 200, 200)]
    {
        let dir =
            tempfile::tempdir_in(std::env::var("REDKITE_MEASURE_DIR").unwrap_or(".".to_owned())).unwrap();
        measure(dir.path(), appenders, records, payload_bytes).await;
    }
}
