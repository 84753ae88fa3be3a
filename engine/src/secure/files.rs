//! Files that are read again while we run.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use xxhash_rust::xxh3::xxh3_128;

use super::Error;
use crate::base::{Clock, chain};

/// A file and what was in it when it was read.
#[derive(Debug)]
pub(super) struct File {
    pub(super) path: PathBuf,
    pub(super) content: Vec<u8>,
}

type Make<T> = Box<dyn Fn(&[File]) -> Result<T, Error> + Send + Sync>;

/// Something made of files, made anew after they changed. While new files cannot be used, the old thing stays.
pub(super) struct Watched<T> {
    paths: Vec<PathBuf>,
    make: Make<T>,
    reread: Duration,
    clock: Arc<dyn Clock>,
    state: Mutex<State<T>>,
}

struct State<T> {
    value: Arc<T>,
    /// Of the contents tried last, whether they could be used or not.
    tried: Vec<u128>,
    next_look: Duration,
}

impl<T> Watched<T> {
    /// Makes the first one.
    pub(super) async fn open(
        paths: Vec<PathBuf>,
        reread: Duration,
        clock: Arc<dyn Clock>,
        make: impl Fn(&[File]) -> Result<T, Error> + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let files = read(&paths).await?;
        let value = Arc::new(make(&files)?);
        let state = State { value, tried: fingerprints(&files), next_look: clock.monotonic() + reread };
        Ok(Self { paths, make: Box::new(make), reread, clock, state: Mutex::new(state) })
    }

    /// The newest one that could be made. Looks at the files if the last look was long enough ago. Cancel safe.
    pub(super) async fn current(&self) -> Arc<T> {
        let now = self.clock.monotonic();
        let before = {
            let mut state = self.state.lock();
            if now < state.next_look {
                return Arc::clone(&state.value);
            }
            // Set before the look, so that others do not look meanwhile.
            state.next_look = now + self.reread;
            Arc::clone(&state.value)
        };
        let files = match read(&self.paths).await {
            Ok(files) => files,
            Err(error) => {
                tracing::warn!(
                    error = chain(&error),
                    "cannot look for newer credentials, keeping those there are"
                );
                return before;
            }
        };
        let found = fingerprints(&files);
        if self.state.lock().tried == found {
            return before;
        }
        let made = (self.make)(&files);
        let mut state = self.state.lock();
        state.tried = found;
        match made {
            Ok(value) => {
                state.value = Arc::new(value);
                tracing::info!(file = %self.paths[0].display(), "took over newer credentials");
            }
            Err(error) => {
                tracing::warn!(
                    error = chain(&error),
                    "cannot use newer credentials, keeping those there are"
                );
            }
        }
        Arc::clone(&state.value)
    }
}

async fn read(paths: &[PathBuf]) -> Result<Vec<File>, Error> {
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        let content =
            tokio::fs::read(path).await.map_err(|source| Error::Read { path: path.clone(), source })?;
        files.push(File { path: path.clone(), content });
    }
    Ok(files)
}

/// What tells contents apart without keeping them: some are secret.
fn fingerprints(files: &[File]) -> Vec<u128> {
    files.iter().map(|file| xxh3_128(&file.content)).collect()
}

/// All certificates of a file, at least one.
pub(super) fn certificates(file: &File) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found = CertificateDer::pem_slice_iter(&file.content)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| Error::Pem { path: file.path.clone(), source })?;
    if found.is_empty() {
        return Err(Error::Empty { path: file.path.clone(), what: "certificate" });
    }
    Ok(found)
}

/// The private key of a file.
pub(super) fn private_key(file: &File) -> Result<PrivateKeyDer<'static>, Error> {
    PrivateKeyDer::from_pem_slice(&file.content)
        .map_err(|source| Error::Pem { path: file.path.clone(), source })
}

/// The certificates of a file as authorities.
pub(super) fn authorities(file: &File) -> Result<RootCertStore, Error> {
    let mut all = RootCertStore::empty();
    for certificate in certificates(file)? {
        all.add(certificate).map_err(|source| Error::Unusable { path: file.path.clone(), source })?;
    }
    Ok(all)
}
