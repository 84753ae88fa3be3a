//! A file of log lines that does not grow for ever: it is put away, under a name with the time, before it is larger or older
//! than it may be, and what was put away is removed in time. Lines are written whole and at once, so that none is in memory
//! alone when the process ends.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use parking_lot::Mutex;

use crate::base::Clock;

/// How often files that are too old are looked for, and how long after a failed rotation another one is tried.
const SWEEP: Duration = Duration::from_secs(600);
/// How often it is looked whether the file still has the name: another process may have put it away.
const LOOK: Duration = Duration::from_secs(1);
/// Ending of the files.
const ENDING: &str = ".log";
/// How the time is written in the name of a file that was put away. As texts they are in the order of time.
const STAMP: &str = "%Y-%m-%dT%H-%M-%S.%3f";
/// What such a time looks like: `0` stands for a digit.
const STAMP_SHAPE: &str = "0000-00-00T00-00-00.000";

/// Where lines go, and how much of them is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFileSettings {
    /// The folder; it is made if it is not there.
    pub folder: PathBuf,
    /// Name of the file, without its ending.
    pub name: String,
    /// No file is larger, but for one that is a single line. Unit: bytes.
    pub max_bytes: u64,
    /// What was put away is removed, and what is written to is put away, once it is so old.
    pub max_age: Option<Duration>,
    /// The most files that were put away.
    pub max_backups: Option<usize>,
}

impl LogFileSettings {
    fn path(&self) -> PathBuf {
        self.folder.join(format!("{}{ENDING}", self.name))
    }
}

/// The file that lines are written to.
pub(super) struct LogFile {
    settings: LogFileSettings,
    clock: Arc<dyn Clock>,
    open: Mutex<Open>,
}

struct Open {
    file: File,
    /// Device and number of the file.
    identity: (u64, u64),
    /// Unit: bytes.
    size: u64,
    /// When its first line was written. Unit: Unix milliseconds.
    begun: u64,
    /// When old files are looked for next. Unit: Unix milliseconds.
    sweep_at: u64,
    /// No rotation is tried before. Unit: Unix milliseconds.
    turn_at: u64,
    /// When it is looked next whether the file still has the name. Unit: Unix milliseconds.
    look_at: u64,
    /// Whether the last line could not be written: another file would have no more room, and would have one file less be kept.
    is_full: bool,
    /// Whether the last line could not be written, or not where it should be, which is said once.
    failing: bool,
}

impl LogFile {
    /// Opens the file and goes on behind what it has.
    ///
    /// # Errors
    /// If the folder cannot be made or the file not be written.
    pub(super) fn open(settings: LogFileSettings, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let open = Open::new(&settings, clock.unix_ms())?;
        let file = Self { settings, clock, open: Mutex::new(open) };
        file.remove_old(file.clock.unix_ms());
        Ok(file)
    }

    /// Where it is.
    pub(super) fn path(&self) -> PathBuf {
        self.settings.path()
    }

    /// Goes on in the file that now has the name: whoever renamed the old one has all of its lines.
    ///
    /// # Errors
    /// If it cannot be opened; lines go on into the old one.
    pub(super) fn reopen(&self) -> io::Result<()> {
        let mut open = self.open.lock();
        *open = Open::new(&self.settings, self.clock.unix_ms())?;
        Ok(())
    }

    /// Writes a line, with what ends it. That it cannot be is said on the standard error, once until lines are written again.
    pub(super) fn write(&self, line: &[u8]) {
        let mut open = self.open.lock();
        let now = self.clock.unix_ms();
        let written = self.make_room(&mut open, line.len() as u64, now);
        let (bytes, put) = put(&mut open.file, line);
        open.size += bytes;
        open.is_full = put.is_err();
        let written = put.and(written);
        if let Err(error) = &written
            && !open.failing
        {
            let path = self.settings.path();
            // There is nobody else to be told.
            let _ = writeln!(io::stderr(), "cannot keep log lines in {}: {error}", path.display());
        }
        open.failing = written.is_err();
    }

    /// Puts the file away if it is full or old, and removes what is too old. Lines go on into the same file if that fails.
    fn make_room(&self, open: &mut Open, more: u64, now: u64) -> io::Result<()> {
        if now >= open.look_at || self.is_due(open, more, now) {
            self.follow(open, now)?;
        }
        if self.is_due(open, more, now) {
            let turned = self.turn(open, now);
            if turned.is_err() {
                open.turn_at = later(now, SWEEP);
            }
            turned?;
        } else if now >= open.sweep_at {
            self.remove_old(now);
            open.sweep_at = later(now, SWEEP);
        }
        Ok(())
    }

    /// Whether the file is to be put away.
    fn is_due(&self, open: &Open, more: u64, now: u64) -> bool {
        let is_full = open.size > 0 && open.size + more > self.settings.max_bytes;
        let age = Duration::from_millis(now.saturating_sub(open.begun));
        let is_old = open.size > 0 && self.settings.max_age.is_some_and(|most| age > most);
        (is_full || is_old) && now >= open.turn_at && !open.is_full
    }

    /// Goes on in the file that has the name, if that is another one by now or none has it.
    fn follow(&self, open: &mut Open, now: u64) -> io::Result<()> {
        open.look_at = later(now, LOOK);
        match std::fs::metadata(self.settings.path()) {
            Ok(about) if identity(&about) == open.identity => {
                // Another process may write to it, too.
                open.size = about.len();
                Ok(())
            }
            _ => match Open::new(&self.settings, now) {
                Ok(new) => {
                    *open = new;
                    Ok(())
                }
                Err(error) => {
                    open.turn_at = later(now, SWEEP);
                    Err(error)
                }
            },
        }
    }

    fn turn(&self, open: &mut Open, now: u64) -> io::Result<()> {
        let path = self.settings.path();
        std::fs::create_dir_all(&self.settings.folder)?;
        let away = self.free_name(now)?;
        match std::fs::rename(&path, &away) {
            Ok(()) => {}
            Err(error) => {
                // Nothing of anybody's is in it.
                let _ = std::fs::remove_file(&away);
                // Somebody else has put it away.
                if error.kind() != io::ErrorKind::NotFound {
                    return Err(error);
                }
            }
        }
        *open = Open::new(&self.settings, now)?;
        self.remove_old(now);
        Ok(())
    }

    /// A name for the file that is to be put away. An empty file has it, so that nobody else takes it.
    fn free_name(&self, now: u64) -> io::Result<PathBuf> {
        let mut at = now;
        loop {
            let away = self.away(at);
            match OpenOptions::new().write(true).create_new(true).open(&away) {
                Ok(_) => return Ok(away),
                // Two in one millisecond.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => at += 1,
                Err(error) => return Err(error),
            }
        }
    }

    fn away(&self, at: u64) -> PathBuf {
        self.settings.folder.join(format!("{}-{}{ENDING}", self.settings.name, stamp(at)))
    }

    /// Removes files that were put away, as far as there are too many or they are too old. What cannot be removed now will be
    /// another time.
    fn remove_old(&self, now: u64) {
        let Ok(entries) = std::fs::read_dir(&self.settings.folder) else { return };
        let mut found: Vec<String> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| self.stamp_of(name).is_some())
            .collect();
        found.sort_unstable_by(|one, other| other.cmp(one));
        let oldest = self.settings.max_age.map(|age| {
            let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
            stamp(now.saturating_sub(age))
        });
        let most = self.settings.max_backups.unwrap_or(usize::MAX);
        for (newer, name) in found.iter().enumerate() {
            let is_old = oldest
                .as_deref()
                .is_some_and(|oldest| self.stamp_of(name).is_some_and(|stamp| stamp < oldest));
            if newer >= most || is_old {
                // Somebody else may have removed it.
                let _ = std::fs::remove_file(self.settings.folder.join(name));
            }
        }
    }

    /// The time in the name of a file that was put away; nothing for another one.
    fn stamp_of<'a>(&self, name: &'a str) -> Option<&'a str> {
        let rest = name.strip_prefix(self.settings.name.as_str())?.strip_prefix('-')?;
        let stamp = rest.strip_suffix(ENDING)?;
        let fits = |(letter, shape): (u8, u8)| {
            if shape == b'0' { letter.is_ascii_digit() } else { letter == shape }
        };
        let is_stamp = stamp.len() == STAMP_SHAPE.len() && stamp.bytes().zip(STAMP_SHAPE.bytes()).all(fits);
        is_stamp.then_some(stamp)
    }
}

impl Open {
    /// Opens the file that has the name, or makes one, and the folder too.
    fn new(settings: &LogFileSettings, now: u64) -> io::Result<Self> {
        std::fs::create_dir_all(&settings.folder)?;
        let file = OpenOptions::new().append(true).create(true).open(settings.path())?;
        let about = file.metadata()?;
        Ok(Self {
            file,
            identity: identity(&about),
            size: about.len(),
            begun: if about.len() == 0 { now } else { made(&about, now) },
            sweep_at: later(now, SWEEP),
            turn_at: 0,
            look_at: later(now, LOOK),
            is_full: false,
            failing: false,
        })
    }
}

fn identity(about: &Metadata) -> (u64, u64) {
    (about.dev(), about.ino())
}

/// Writes bytes, and says how many of them were written whatever came of the rest.
fn put(to: &mut impl io::Write, bytes: &[u8]) -> (u64, io::Result<()>) {
    let mut done = 0;
    while done < bytes.len() {
        match to.write(&bytes[done..]) {
            Ok(0) => return (done as u64, Err(io::ErrorKind::WriteZero.into())),
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (done as u64, Err(error)),
        }
    }
    (done as u64, Ok(()))
}

/// When a file was made, or last written where that is not known. Unit: Unix milliseconds.
fn made(about: &Metadata, now: u64) -> u64 {
    let time = about.created().or_else(|_| about.modified()).ok();
    let since = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.and_then(|since| u64::try_from(since.as_millis()).ok()).unwrap_or(now)
}

fn later(now: u64, by: Duration) -> u64 {
    now.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX))
}

fn stamp(unix_ms: u64) -> String {
    super::time_text(unix_ms, STAMP)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use tempfile::TempDir;

    use super::*;
    use crate::obs::fixture::Hand;

    /// 2026-11-29 00:00:00 UTC.
    const START: u64 = 1_795_910_400_000;
    const DAY: u64 = 86_400_000;

    struct Bench {
        folder: TempDir,
        clock: Arc<Hand>,
    }

    impl Bench {
        fn new() -> Self {
            Self { folder: TempDir::new().unwrap(), clock: Hand::at(START) }
        }

        fn settings(&self) -> LogFileSettings {
            LogFileSettings {
                folder: self.folder.path().join("logs"),
                name: "proxy".to_owned(),
                max_bytes: 10,
                max_age: None,
                max_backups: None,
            }
        }

        fn open(&self, change: impl FnOnce(&mut LogFileSettings)) -> LogFile {
            let mut settings = self.settings();
            change(&mut settings);
            LogFile::open(settings, Arc::clone(&self.clock) as _).unwrap()
        }

        fn pass(&self, ms: u64) {
            self.clock.0.fetch_add(ms, Ordering::Relaxed);
        }

        /// Names and texts, ascending.
        fn files(&self) -> Vec<(String, String)> {
            let entries = std::fs::read_dir(self.folder.path().join("logs")).unwrap().flatten();
            let read = |entry: std::fs::DirEntry| {
                (entry.file_name().into_string().unwrap(), std::fs::read_to_string(entry.path()).unwrap())
            };
            let mut files: Vec<_> = entries.map(read).collect();
            files.sort();
            files
        }

        fn names(&self) -> Vec<String> {
            self.files().into_iter().map(|(name, _)| name).collect()
        }
    }

    fn owned(files: &[(&str, &str)]) -> Vec<(String, String)> {
        files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn a_file_is_put_away_before_it_is_too_large_and_no_line_is_torn() {
        let bench = Bench::new();
        let file = bench.open(|_| {});

        for line in ["one\n", "two\n", "three\n", "a line that is longer than a file may be\n", "four\n"] {
            file.write(line.as_bytes());
        }

        assert_eq!(
            bench.files(),
            owned(&[
                ("proxy-2026-11-29T00-00-00.000.log", "one\ntwo\n"),
                ("proxy-2026-11-29T00-00-00.001.log", "three\n"),
                ("proxy-2026-11-29T00-00-00.002.log", "a line that is longer than a file may be\n"),
                ("proxy.log", "four\n"),
            ])
        );
    }

    #[test]
    fn a_process_goes_on_in_the_file_that_it_left() {
        let bench = Bench::new();
        bench.open(|_| {}).write(b"before\n");

        bench.open(|_| {}).write(b"!\n");

        assert_eq!(bench.files(), owned(&[("proxy.log", "before\n!\n")]));
        bench.open(|_| {}).write(b"after\n");
        assert_eq!(bench.names().len(), 2, "what was there counts");
    }

    #[test]
    fn no_more_files_are_kept_than_asked_for_and_files_of_others_are_left_alone() {
        let bench = Bench::new();
        let file = bench.open(|settings| settings.max_backups = Some(2));
        for name in ["proxy-notes.log", "proxy-2026-11-29T00-00-00.000.log.gz", "old"] {
            std::fs::write(bench.settings().folder.join(name), "").unwrap();
        }

        for _ in 0..25 {
            bench.pass(1_000);
            file.write(b"123456789\n");
        }

        assert_eq!(
            bench.names(),
            [
                "old",
                "proxy-2026-11-29T00-00-00.000.log.gz",
                "proxy-2026-11-29T00-00-24.000.log",
                "proxy-2026-11-29T00-00-25.000.log",
                "proxy-notes.log",
                "proxy.log",
            ]
        );
    }

    #[test]
    fn what_is_too_old_is_removed_at_the_start_and_while_lines_are_written() {
        let bench = Bench::new();
        let ten_days = |settings: &mut LogFileSettings| settings.max_age = Some(Duration::from_secs(864_000));
        let file = bench.open(ten_days);
        file.write(b"123456789\n");
        file.write(b"!\n");
        drop(file);
        bench.pass(9 * DAY);
        let away = "proxy-2026-11-29T00-00-00.000.log";
        assert!(bench.names().contains(&away.to_owned()));

        let file = bench.open(ten_days);
        assert!(bench.names().contains(&away.to_owned()), "nine days are not too old");
        bench.pass(2 * DAY);
        file.write(b"?\n");

        assert!(!bench.names().contains(&away.to_owned()), "eleven days are");
    }

    #[test]
    fn a_file_that_was_begun_long_ago_is_put_away_however_small_it_is() {
        let bench = Bench::new();
        let file = bench.open(|settings| settings.max_age = Some(Duration::from_millis(DAY)));
        file.write(b"a\n");
        bench.pass(DAY + 1);

        file.write(b"b\n");

        assert_eq!(
            bench.files(),
            owned(&[("proxy-2026-11-30T00-00-00.001.log", "a\n"), ("proxy.log", "b\n")])
        );
    }

    #[test]
    fn no_line_is_lost_when_somebody_renames_the_file() {
        let bench = Bench::new();
        let file = bench.open(|_| {});
        file.write(b"a\n");
        let folder = bench.settings().folder;
        std::fs::rename(folder.join("proxy.log"), folder.join("old")).unwrap();
        file.write(b"b\n");

        file.reopen().unwrap();
        file.write(b"c\n");

        assert_eq!(bench.files(), owned(&[("old", "a\nb\n"), ("proxy.log", "c\n")]));
    }

    #[test]
    fn lines_go_on_into_the_same_file_while_it_cannot_be_put_away() {
        let bench = Bench::new();
        let file = bench.open(|_| {});
        file.write(b"123456789\n");
        let folder = bench.settings().folder;
        // No folder can be made where a file is.
        std::fs::rename(&folder, bench.folder.path().join("moved")).unwrap();
        std::fs::write(&folder, "").unwrap();
        file.write(b"a\n");

        file.reopen().unwrap_err();
        std::fs::remove_file(&folder).unwrap();
        std::fs::rename(bench.folder.path().join("moved"), &folder).unwrap();
        file.write(b"b\n");

        assert_eq!(bench.files(), owned(&[("proxy.log", "123456789\na\nb\n")]));
    }

    #[test]
    fn two_processes_with_one_file_lose_no_line_and_no_file() {
        let bench = Bench::new();
        let files = [bench.open(|_| {}), bench.open(|_| {})];
        let lines: Vec<String> = (10..60).map(|number| format!("line {number}\n")).collect();

        for (number, line) in lines.iter().enumerate() {
            // Neither one after the other nor each at its time.
            files[usize::from(number % 3 == 0)].write(line.as_bytes());
            bench.pass(if number % 7 == 0 { 1_500 } else { 0 });
        }

        let mut kept: Vec<String> =
            bench.files().iter().flat_map(|(_, text)| text.lines().map(|line| format!("{line}\n"))).collect();
        kept.sort();
        assert_eq!(kept, lines);
    }

    #[test]
    fn a_file_that_another_process_has_put_away_is_left_within_a_second() {
        let bench = Bench::new();
        let roomy = |settings: &mut LogFileSettings| settings.max_bytes = 100;
        let file = bench.open(roomy);
        file.write(b"a\n");
        let folder = bench.settings().folder;
        std::fs::rename(folder.join("proxy.log"), folder.join("old")).unwrap();

        file.write(b"b\n");
        bench.pass(1_000);
        file.write(b"c\n");

        assert_eq!(bench.files(), owned(&[("old", "a\nb\n"), ("proxy.log", "c\n")]));
    }

    #[test]
    fn a_folder_that_was_removed_is_made_again() {
        let bench = Bench::new();
        let file = bench.open(|_| {});
        let folder = bench.settings().folder;
        file.write(b"123456789\n");
        std::fs::remove_dir_all(&folder).unwrap();
        file.write(b"a\n");
        assert_eq!(bench.files(), owned(&[("proxy.log", "a\n")]), "at a turn");

        std::fs::remove_dir_all(&folder).unwrap();
        file.reopen().unwrap();
        file.write(b"b\n");

        assert_eq!(bench.files(), owned(&[("proxy.log", "b\n")]), "when asked to");
    }

    #[test]
    fn only_what_was_written_is_counted() {
        /// A disk with this much room.
        struct Disk(usize);
        impl io::Write for Disk {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let room = bytes.len().min(self.0);
                self.0 -= room;
                if room == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(room) }
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        let put = |room| {
            let (bytes, put) = put(&mut Disk(room), b"12345");
            (bytes, put.map_err(|error| error.kind()))
        };

        assert_eq!([put(9), put(3)], [(5, Ok(())), (3, Err(io::ErrorKind::StorageFull))]);
    }

    #[test]
    fn a_file_that_cannot_be_written_is_not_put_away() {
        let bench = Bench::new();
        let file = bench.open(|_| {});
        file.write(b"1234\n");
        // What is opened for reading takes no lines.
        file.open.lock().file = File::open(file.path()).unwrap();

        (0..9).for_each(|_| file.write(b"1\n"));
        file.write(b"another line\n");

        assert_eq!(bench.files(), owned(&[("proxy.log", "1234\n")]));
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_an_error() {
        let bench = Bench::new();
        let mut settings = bench.settings();
        settings.folder = bench.folder.path().join("file");
        std::fs::write(&settings.folder, "").unwrap();

        assert!(LogFile::open(settings, Arc::clone(&bench.clock) as _).is_err());
    }
}
