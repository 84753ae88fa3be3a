//! Opens the seams of a standalone process: a data directory, and an object store if one is set.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use contract::settings::Settings;

use crate::assembly::{Error, NodeSeams};
use crate::assembly::identity::claim;
use crate::base::{Clock, Rng, TaskSet};
use crate::blob::{Blobs, LocalBlobs, S3Blobs, S3Settings};
use crate::log::{FileLogs, OsDisk};
use crate::meta::RedbMetas;
use crate::obs::Metrics;

/// Opens everything that outlives the process. The directory is locked until the result is dropped.
///
/// # Errors
/// Whatever cannot be opened, with its name.
pub async fn open_seams(
    settings: &Settings,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    metrics: &Metrics,
    tasks: &TaskSet,
) -> Result<NodeSeams, Error> {
    let root = Path::new(&settings.local_storage.path);
    let lock = lock_directory(root)?;
    let blobs = open_blobs(settings, root).await?;
    let metas = RedbMetas::open(&root.join("meta.redb")).await.map_err(|source| Error::OpenMetas { source })?;
    claim(blobs.as_ref(), &metas, rng.as_ref()).await?;
    let log_failed = |source| Error::OpenLogs { source };
    let disk = OsDisk::open(&root.join("log")).await.map_err(|source| log_failed(source))?;
    let logs = FileLogs::open(Arc::new(disk), tasks.clone(), Arc::clone(&clock), metrics.log.clone())
        .await
        .map_err(log_failed)?;
    Ok(NodeSeams { blobs, metas: Arc::new(metas), logs: Arc::new(logs), clock, lock: Some(lock) })
}

/// Makes the directory if need be, and keeps every other process out of it.
fn lock_directory(root: &Path) -> Result<File, Error> {
    let failed = |source| Error::DataDirectory { path: root.to_owned(), source };
    std::fs::create_dir_all(root).map_err(failed)?;
    let lock = File::create(root.join("lock")).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(std::fs::TryLockError::WouldBlock) => Err(Error::DataDirectoryInUse { path: root.to_owned() }),
        Err(std::fs::TryLockError::Error(source)) => Err(failed(source)),
    }
}

async fn open_blobs(settings: &Settings, root: &Path) -> Result<Arc<dyn Blobs>, Error> {
    let failed = |source| Error::OpenBlobs { source };
    if !settings.stores_remotely() {
        let local = LocalBlobs::open(&root.join("blobs")).await.map_err(failed)?;
        return Ok(Arc::new(local));
    }
    let store = S3Blobs::open(s3_settings(settings)).await.map_err(failed)?;
    Ok(Arc::new(store))
}
