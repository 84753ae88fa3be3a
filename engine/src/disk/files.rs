//! Whole files and their names, for code that may block.

use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::ops::Range;
use std::path::Path;

use bytes::Bytes;

use super::DiskEntry;

/// Files and directories, by paths.
///
/// What a crash of the machine may undo: names made or removed since the last `sync_dir` of the directory that they
/// are in. A directory that comes back or goes does so with all in it.
pub trait Files: Debug + Send + Sync + 'static {
    /// Makes one directory.
    ///
    /// # Errors
    /// `AlreadyExists` if the name is taken, `NotFound` if the directory above is not there.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// Makes a file whose bytes are durable when this returns, which its name is not. After an error or a crash any part of
    /// it may be there.
    ///
    /// # Errors
    /// `AlreadyExists` if the name is taken.
    fn write(&self, file: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Gives a file one more name.
    ///
    /// # Errors
    /// `AlreadyExists` if that name is taken, `NotFound` if its directory or the file is not there.
    fn link(&self, file: &Path, name: &Path) -> io::Result<()>;

    /// Removes a file's name.
    ///
    /// # Errors
    /// `NotFound` if there is none.
    fn remove(&self, file: &Path) -> io::Result<()>;

    /// Removes an empty directory.
    ///
    /// # Errors
    /// What the system says of one that is not empty.
    fn remove_dir(&self, dir: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// What the system says.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// What has this name.
    ///
    /// # Errors
    /// `NotFound` if nothing has.
    fn look(&self, path: &Path) -> io::Result<DiskEntry>;

    /// A whole file.
    ///
    /// # Errors
    /// `NotFound` if there is none.
    fn read(&self, file: &Path) -> io::Result<Bytes>;

    /// The bytes `range` of a file, or `None` if it does not have them.
    ///
    /// # Errors
    /// `NotFound` if there is none.
    fn read_part(&self, file: &Path, range: Range<u64>) -> io::Result<Option<Bytes>>;

    /// The names in a directory, in any order; those that are no text are left out.
    ///
    /// # Errors
    /// `NotFound` if there is no such directory.
    fn list(&self, dir: &Path) -> io::Result<Vec<DiskEntry>>;
}

/// Makes a directory with those above it, durably: also such as an earlier process made and did not live to sync.
///
/// # Errors
/// What the system says.
pub fn make_dirs(files: &dyn Files, dir: &Path) -> io::Result<()> {
    let missing = |dir: &&Path| !is_root(dir) && files.look(dir).is_err();
    let missing = dir.ancestors().take_while(missing).collect::<Vec<_>>();
    for dir in missing.into_iter().rev() {
        match files.create_dir(dir) {
            // Somebody else was first.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
            Ok(()) => {}
        }
    }
    sync_names_above(files, dir)
}

/// Makes the name of a file or directory durable, and those of all directories that it is in.
///
/// # Errors
/// What the system says.
pub fn sync_names_above(files: &dyn Files, path: &Path) -> io::Result<()> {
    let above = path
        .ancestors()
        .skip(1)
        .map(|dir| if is_root(dir) && dir.as_os_str().is_empty() { here() } else { dir });
    for (number, dir) in above.enumerate() {
        match files.sync_dir(dir) {
            // A directory far above that we may not even open, or that is on a medium that is only read, is not one
            // that we have made.
            Err(error) if number > 0 && is_others(&error) => return Ok(()),
            Err(error) => return Err(error),
            Ok(()) => {}
        }
    }
    Ok(())
}

/// The directory that relative paths begin at.
fn here() -> &'static Path {
    Path::new(".")
}

/// Whether a path has nothing above it that it could be made in.
fn is_root(dir: &Path) -> bool {
    dir.parent().is_none() || dir.as_os_str().is_empty()
}

fn is_others(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::Unsupported
    )
}

/// Files of the operating system.
#[derive(Clone, Copy, Debug)]
pub struct OsFiles;

impl Files for OsFiles {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        std::fs::create_dir(dir)
    }

    fn write(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).open(file)?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    fn link(&self, file: &Path, name: &Path) -> io::Result<()> {
        std::fs::hard_link(file, name)
    }

    fn remove(&self, file: &Path) -> io::Result<()> {
        std::fs::remove_file(file)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        std::fs::remove_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn look(&self, path: &Path) -> io::Result<DiskEntry> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(entry(name, &std::fs::metadata(path)?))
    }

    fn read(&self, file: &Path) -> io::Result<Bytes> {
        std::fs::read(file).map(Bytes::from)
    }

    fn read_part(&self, file: &Path, range: Range<u64>) -> io::Result<Option<Bytes>> {
        let mut file = File::open(file)?;
        if range.start > range.end || range.end > file.metadata()?.len() {
            return Ok(None);
        }
        let Ok(len) = usize::try_from(range.end - range.start) else { return Ok(None) };
        let mut part = vec![0; len];
        file.seek(SeekFrom::Start(range.start))?;
        file.read_exact(&mut part)?;
        Ok(Some(part.into()))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DiskEntry>> {
        let mut found = Vec::new();
        for one in std::fs::read_dir(dir)? {
            let one = one?;
            let Ok(name) = one.file_name().into_string() else { continue };
            match one.metadata() {
                Ok(metadata) => found.push(entry(name, &metadata)),
                // Removed meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }
}

fn entry(name: String, metadata: &std::fs::Metadata) -> DiskEntry {
    let is_dir = metadata.is_dir();
    DiskEntry { name, size_bytes: if is_dir { 0 } else { metadata.len() }, is_dir }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SeededRng;
    use crate::disk::SimFiles;

    #[test]
    fn directories_are_there_after_a_crash_although_an_earlier_process_died_before_it_synced_them() {
        let files = SimFiles::new();
        let dir = Path::new("/data/redkite/blobs");
        for one in ["/data", "/data/redkite"] {
            files.create_dir(Path::new(one)).unwrap();
        }

        make_dirs(&*files, dir).unwrap();

        for seed in 0..20 {
            let after = files.crash(&*SeededRng::new(seed));
            assert!(after.look(dir).unwrap().is_dir);
        }
    }

    #[test]
    fn directories_of_the_system_are_made_with_all_above_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/c");

        make_dirs(&OsFiles, &path).unwrap();
        make_dirs(&OsFiles, &path).unwrap();

        assert!(OsFiles.look(&path).unwrap().is_dir);
    }
}
