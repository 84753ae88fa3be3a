//! Opens the seams of a standalone process: a data directory, and an object store if one is set.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use contract::settings::{Minio, Settings};

use crate::assembly::identity::claim;
use crate::assembly::{Error, NodeSeams};
use crate::base::{Clock, Rng, TaskSet};
use crate::blob::{Addressing, Blobs, LocalBlobs, S3Blobs, S3Credentials, S3Settings, Secret};
use crate::log::disk::OsDisk;
use crate::log::{FileLogSettings, FileLogs};
use crate::meta::{Metas, RedbMetas};
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
    let blobs = open_blobs(settings, root, &rng).await?;
    let metas: Arc<dyn Metas> =
        RedbMetas::open(root.join("meta.redb")).await.map_err(|source| Error::OpenMetas { source })?;
    claim(blobs.as_ref(), metas.as_ref(), rng.as_ref()).await?;
    let logs = root.join("log");
    let disk = OsDisk::open(&logs).await.map_err(|source| Error::DataDirectory { path: logs, source })?;
    let sizes = FileLogSettings::default();
    let logs = FileLogs::new(disk, tasks.clone(), Arc::clone(&clock), metrics.log.clone(), sizes);
    Ok(NodeSeams { blobs, metas, logs, clock, lock: Some(lock) })
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

async fn open_blobs(settings: &Settings, root: &Path, rng: &Arc<dyn Rng>) -> Result<Arc<dyn Blobs>, Error> {
    let failed = |source| Error::OpenBlobs { source };
    if settings.stores_remotely() {
        let bucket = s3_settings(&settings.minio, settings.redkite.create_bucket)?;
        return Ok(S3Blobs::open(&bucket, Arc::clone(rng)).await.map_err(failed)?);
    }
    Ok(LocalBlobs::open(root.join("blobs"), Arc::clone(rng)).await.map_err(failed)?)
}

fn s3_settings(minio: &Minio, create_bucket: bool) -> Result<S3Settings, Error> {
    let ca_pem = match minio.ssl.tls_ca_cert.as_str() {
        "" => None,
        path => {
            let read = std::fs::read_to_string(path);
            Some(read.map_err(|source| Error::ReadFile { path: path.into(), source })?)
        }
    };
    let credentials = if minio.use_iam || minio.access_key_id.is_empty() {
        S3Credentials::Chain
    } else {
        S3Credentials::Static {
            access_key: minio.access_key_id.clone(),
            secret_key: Secret::new(minio.secret_access_key.reveal()),
            session_token: None,
        }
    };
    let defaults = S3Settings::default();
    Ok(S3Settings {
        endpoint: Some(endpoint(minio)),
        region: if minio.region.is_empty() { defaults.region.clone() } else { minio.region.clone() },
        bucket: minio.bucket_name.clone(),
        root: minio.root_path.clone(),
        addressing: if minio.use_virtual_host { Addressing::VirtualHost } else { Addressing::Path },
        credentials,
        ca_pem,
        create_bucket,
        attempt_timeout_ms: minio.request_timeout_ms,
        ..defaults
    })
}

/// The store's URL from an address that may be a host, a host with port, or a URL already.
fn endpoint(minio: &Minio) -> String {
    if minio.address.contains("://") {
        return minio.address.clone();
    }
    let scheme = if minio.use_ssl { "https" } else { "http" };
    let has_port = minio.address.rsplit(':').next().is_some_and(|port| port.parse::<u16>().is_ok());
    match minio.port {
        port if port != 0 && !has_port => format!("{scheme}://{}:{port}", minio.address),
        _ => format!("{scheme}://{}", minio.address),
    }
}

#[cfg(test)]
mod tests {
    use contract::settings::Minio;

    use super::endpoint;

    #[test]
    fn an_address_becomes_a_url_however_it_is_written() {
        let of = |address: &str, port, use_ssl| {
            endpoint(&Minio { address: address.to_owned(), port, use_ssl, ..Minio::default() })
        };

        assert_eq!(of("store", 9000, false), "http://store:9000");
        assert_eq!(of("store:9001", 9000, false), "http://store:9001");
        assert_eq!(of("store", 0, true), "https://store");
        assert_eq!(of("https://store", 9000, false), "https://store");
    }
}
