//! Records in one `redb` file: the metadata of a single machine.
//!
//! Table `records`: the key's text to version (`u64` little-endian) and value. Table `store`: `format` (1) and
//! `version`, the highest version given.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::redb::{Builder, Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::{RwLock, RwLockWriteGuard};

use crate::base::{Kind, heavy};
use crate::disk::{Files, OsFiles, SimFiles, make_dirs, sync_names_above};

use super::txn::check_key;
use super::{Doing, Error, Metas, Txn, Versioned, Write};

mod in_place;
#[cfg(test)]
mod power_test;

use in_place::InPlace;

const RECORDS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("records");
const STORE: TableDefinition<'_, &str, u64> = TableDefinition::new("store");
const FORMAT_KEY: &str = "format";
const VERSION_KEY: &str = "version";
/// The format that this code writes and the only one so far.
const FORMAT: u64 = 1;
const VERSION_BYTES: usize = 8;
/// What a new file's name ends with until it is whole.
const UNFINISHED: &str = "unfinished";

/// Records in one file, used by one process at a time.
pub struct RedbMetas {
    store: Arc<Store>,
}

/// Fields are dropped in their order: what is let go of last is the lock.
struct Store {
    /// `None` after an error of the disk: the library takes nothing more until the file is opened again.
    database: RwLock<Option<Database>>,
    make: Box<Make>,
    path: PathBuf,
    _lock: Option<Arc<File>>,
}

/// Opens a file, and makes it where there is none.
type Make = dyn Fn(&Path) -> Result<Database, DatabaseError> + Send + Sync;

impl RedbMetas {
    /// The store in the file `path`, made with its directory if missing. A file that was not closed is brought in
    /// order: every commit that had returned is there.
    ///
    /// # Errors
    /// [`Error::InUse`] if it is open already, kind `Corrupt` if it is damaged or of an unknown format.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Arc<Self>, Error> {
        Self::open_locked(path, None).await
    }

    /// The same, which lets go of `lock` only once the file is closed, also if work on it outlasts this value.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_locked(path: impl Into<PathBuf>, lock: Option<Arc<File>>) -> Result<Arc<Self>, Error> {
        let path = path.into();
        let place = path.clone();
        let opened = run(&place, Doing::Open, move || {
            if let Some(parent) = path.parent() {
                make_dirs(&OsFiles, parent).map_err(|source| failed(&path, Doing::Open, source))?;
            }
            Store::open(&OsFiles, path, lock, |path| Database::create(path))
        });
        Ok(Arc::new(Self { store: Arc::new(opened.await?) }))
    }

    /// The same on simulated files, for simulations that take the power away.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_simulated(files: Arc<SimFiles>, path: impl Into<PathBuf>) -> Result<Arc<Self>, Error> {
        let path = path.into();
        let place = path.clone();
        let opened = run(&place, Doing::Open, move || {
            if let Some(parent) = path.parent() {
                make_dirs(&*files, parent).map_err(|source| failed(&path, Doing::Open, source))?;
            }
            let own = Arc::clone(&files);
            Store::open(&*files, path, None, move |path| {
                own.open_in_place(path).map_err(::redb::StorageError::Io)?;
                let backend = InPlace { files: Arc::clone(&own), path: path.to_owned() };
                Builder::new().create_with_backend(backend)
            })
        });
        Ok(Arc::new(Self { store: Arc::new(opened.await?) }))
    }

    async fn work<T: Send + 'static>(
        &self,
        doing: Doing,
        work: impl FnOnce(&Store) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let store = self.store.clone();
        run(&self.store.path, doing, move || work(&store)).await
    }
}

#[async_trait]
impl Metas for RedbMetas {
    async fn get(&self, key: &str) -> Result<Option<Versioned>, Error> {
        check_key(key)?;
        let key = key.to_owned();
        self.work(Doing::Read, move |store| store.get(&key)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<(String, Versioned)>, Error> {
        let prefix = prefix.to_owned();
        self.work(Doing::Read, move |store| store.list(&prefix)).await
    }

    async fn commit(&self, txn: Txn) -> Result<u64, Error> {
        txn.check()?;
        self.work(Doing::Commit, move |store| store.commit(&txn)).await
    }
}

impl Store {
    /// Opens the file with `make`.
    fn open(
        files: &dyn Files,
        path: PathBuf,
        lock: Option<Arc<File>>,
        make: impl Fn(&Path) -> Result<Database, DatabaseError> + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let of_files = |source: io::Error| failed(&path, Doing::Open, source);
        let open = |path: &Path| {
            let database =
                make(path).map_err(|source| failed(path, Doing::Open, ::redb::Error::from(source)))?;
            prepare(&database, path)?;
            Ok(database)
        };
        if files.look(&path).is_err() {
            // A file that is half made would not be opened again, so it gets its name when it is whole.
            let unfinished = path.with_extension(UNFINISHED);
            absent(files.remove(&unfinished)).map_err(of_files)?;
            drop(open(&unfinished)?);
            match files.link(&unfinished, &path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                other => other.map_err(of_files)?,
            }
            absent(files.remove(&unfinished)).map_err(of_files)?;
        }
        let database = open(&path)?;
        // The library syncs the file, and not the name that it has.
        sync_names_above(files, &path).map_err(of_files)?;
        Ok(Self { database: RwLock::new(Some(database)), make: Box::new(make), path, _lock: lock })
    }

    /// Works with the file, opened again if an earlier call has met an error of the disk. What a call may have done that ends so
    /// is there as a whole or not at all.
    fn work<T>(
        &self,
        doing: Doing,
        work: impl Fn(&Database) -> Result<T, ::redb::Error>,
    ) -> Result<T, Error> {
        let mut held = self.database.read();
        if held.is_none() {
            drop(held);
            let mut closed = self.database.write();
            if closed.is_none() {
                let opened = (self.make)(&self.path).map_err(::redb::Error::from);
                *closed = Some(opened.map_err(|source| failed(&self.path, Doing::Open, source))?);
            }
            held = RwLockWriteGuard::downgrade(closed);
        }
        let Some(database) = held.as_ref() else {
            return Err(failed(&self.path, doing, ::redb::Error::PreviousIo));
        };
        let error = match work(database) {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        if matches!(error, ::redb::Error::Io(_) | ::redb::Error::PreviousIo) {
            drop(held);
            *self.database.write() = None;
        }
        Err(failed(&self.path, doing, error))
    }

    fn get(&self, key: &str) -> Result<Option<Versioned>, Error> {
        let found = self.work(Doing::Read, |database| {
            let table = database.begin_read()?.open_table(RECORDS)?;
            Ok(table.get(key)?.map(|record| record.value().to_vec()))
        })?;
        found.map(|record| decode(key, record)).transpose()
    }

    fn list(&self, prefix: &str) -> Result<Vec<(String, Versioned)>, Error> {
        let found = self.work(Doing::Read, |database| {
            let table = database.begin_read()?.open_table(RECORDS)?;
            let mut found = Vec::new();
            for entry in table.range(prefix..)? {
                let (key, record) = entry?;
                if !key.value().starts_with(prefix) {
                    break;
                }
                found.push((key.value().to_owned(), record.value().to_vec()));
            }
            Ok(found)
        })?;
        let decoded = found.into_iter().map(|(key, record)| {
            let versioned = decode(&key, record)?;
            Ok((key, versioned))
        });
        decoded.collect()
    }

    fn commit(&self, txn: &Txn) -> Result<u64, Error> {
        match self.work(Doing::Commit, |database| try_commit(database, txn))? {
            Committed::At(version) => Ok(version),
            Committed::Not { broken } => Err(Error::Conflict { key: broken }),
        }
    }
}

/// One write transaction; not committed if an expectation does not hold. The library lets one run at a time and
/// syncs before `commit` returns.
fn try_commit(database: &Database, txn: &Txn) -> Result<Committed, ::redb::Error> {
    let write = database.begin_write()?;
    let version = {
        let mut records = write.open_table(RECORDS)?;
        for expect in &txn.expect {
            let found = records.get(expect.key())?.and_then(|record| version_of(record.value()));
            if !expect.holds(found) {
                return Ok(Committed::Not { broken: expect.key().to_owned() });
            }
        }
        let mut store = write.open_table(STORE)?;
        let version = store.get(VERSION_KEY)?.map_or(0, |found| found.value()) + 1;
        store.insert(VERSION_KEY, version)?;
        for change in &txn.writes {
            match change {
                Write::Put { key, value } => {
                    let record = [&version.to_le_bytes(), value.as_ref()].concat();
                    records.insert(key.as_str(), record.as_slice())?;
                }
                Write::Delete { key } => {
                    records.remove(key.as_str())?;
                }
            }
        }
        version
    };
    write.commit()?;
    Ok(Committed::At(version))
}

/// Makes the tables and checks the format.
fn prepare(database: &Database, path: &Path) -> Result<(), Error> {
    let prepare = || -> Result<u64, ::redb::Error> {
        let txn = database.begin_write()?;
        let format = {
            txn.open_table(RECORDS)?;
            let mut store = txn.open_table(STORE)?;
            let format = store.get(FORMAT_KEY)?.map(|found| found.value());
            if format.is_none() {
                store.insert(FORMAT_KEY, FORMAT)?;
            }
            format.unwrap_or(FORMAT)
        };
        txn.commit()?;
        Ok(format)
    };
    if prepare().map_err(|source| failed(path, Doing::Open, source))? != FORMAT {
        let why = "the store has a format that this version does not know";
        return Err(Error::Damaged { key: FORMAT_KEY.to_owned(), why });
    }
    Ok(())
}

/// Being gone already is as good as being removed.
fn absent(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

enum Committed {
    At(u64),
    Not { broken: String },
}

fn version_of(record: &[u8]) -> Option<u64> {
    record.first_chunk::<VERSION_BYTES>().map(|bytes| u64::from_le_bytes(*bytes))
}

fn decode(key: &str, record: Vec<u8>) -> Result<Versioned, Error> {
    let Some(version) = version_of(&record) else {
        return Err(Error::Damaged { key: key.to_owned(), why: "it is too short to have a version" });
    };
    Ok(Versioned { value: Bytes::from(record).slice(VERSION_BYTES..), version })
}

async fn run<T: Send + 'static>(
    path: &Path,
    doing: Doing,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let ended = heavy("work with the metadata file", work).await;
    ended.map_err(|source| {
        let place = path.display().to_string();
        Error::Store { doing, place, kind: Kind::Internal, source: source.into() }
    })?
}

fn failed(path: &Path, doing: Doing, source: impl Into<::redb::Error>) -> Error {
    let source = source.into();
    if matches!(source, ::redb::Error::DatabaseAlreadyOpen) {
        return Error::InUse { place: path.display().to_string() };
    }
    let kind = match &source {
        ::redb::Error::Corrupted(_) | ::redb::Error::UpgradeRequired(_) => Kind::Corrupt,
        ::redb::Error::Io(source) => crate::base::Kinded::kind(source),
        ::redb::Error::TableTypeMismatch { .. } | ::redb::Error::TypeDefinitionChanged { .. } => {
            Kind::Corrupt
        }
        _ => Kind::Unavailable,
    };
    Error::Store { doing, place: path.display().to_string(), kind, source: source.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::conformance;

    #[tokio::test]
    async fn a_file_store_keeps_the_contract() {
        let dir = tempfile::tempdir().unwrap();
        let metas = RedbMetas::open(dir.path().join("sub/meta.redb")).await.unwrap();
        conformance::run(metas).await;
    }

    #[tokio::test]
    async fn commits_are_there_after_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("meta.redb");
        let metas = RedbMetas::open(&path).await.unwrap();
        let first = metas.commit(Txn::new().put("a", "1")).await.unwrap();
        drop(metas);

        let metas = RedbMetas::open(&path).await.unwrap();
        let found = metas.get("a").await.unwrap();
        let second = metas.commit(Txn::new().put("a", "2")).await.unwrap();

        assert_eq!(found, Some(Versioned { value: Bytes::from("1"), version: first }));
        assert!(second > first);
    }

    #[tokio::test]
    async fn commits_are_there_after_a_process_died_without_closing() {
        let dir = tempfile::tempdir().unwrap();
        let (path, copy) = (dir.path().join("meta.redb"), dir.path().join("copy.redb"));
        let metas = RedbMetas::open(&path).await.unwrap();
        for number in 0..50 {
            metas.commit(Txn::new().put(format!("k{number:02}"), vec![number; 3000])).await.unwrap();
        }
        // What a killed process leaves is the file as it is now, never closed.
        std::fs::copy(&path, &copy).unwrap();

        let reopened = RedbMetas::open(&copy).await.unwrap();

        assert_eq!(reopened.list("k").await.unwrap(), metas.list("k").await.unwrap());
    }

    #[tokio::test]
    async fn a_store_that_is_open_is_not_opened_twice() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("meta.redb");
        let _held = RedbMetas::open(&path).await.unwrap();

        let error = RedbMetas::open(&path).await.err().unwrap();

        assert!(matches!(&error, Error::InUse { place } if *place == path.display().to_string()), "{error}");
        assert_eq!(crate::base::Kinded::kind(&error), Kind::Unavailable);
    }

    #[tokio::test]
    async fn a_lock_is_let_go_of_only_once_the_file_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("meta.redb");
        let lock = Arc::new(File::create(dir.path().join("lock")).unwrap());
        lock.try_lock().unwrap();
        let metas = RedbMetas::open_locked(&path, Some(Arc::clone(&lock))).await.unwrap();
        drop(lock);
        let other = File::open(dir.path().join("lock")).unwrap();

        assert!(matches!(other.try_lock(), Err(std::fs::TryLockError::WouldBlock)));
        drop(metas);
        other.try_lock().unwrap();
        RedbMetas::open(&path).await.unwrap();
    }
}
