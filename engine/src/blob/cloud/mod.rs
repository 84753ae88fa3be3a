//! Objects in a bucket of Google Cloud Storage or a container of Azure Blob Storage.
//!
//! A create is conditional on the key being free. Requests whose answer was lost are repeated, so a create may meet
//! the object that it made itself: each call marks its object with a number of its own and looks at it before it says
//! that the key is taken. Bodies go in one request, up to the 5000 MiB that Azure takes.

mod answer;
mod settings;
mod transport;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, Error as Failure, GetOptions, GetRange, ObjectStore, ObjectStoreExt as _, PutMode,
    PutOptions, RetryConfig,
};
use parking_lot::Mutex;

use crate::base::{Clock, Kind, Rng};

use super::key::{check_key, check_prefix, check_range, whole_range};
use super::{BlobEntry, Blobs, Doing, Error, Outside};
pub use settings::{AzureCredentials, CloudSettings, GoogleCredentials, Provider};
use transport::{Transport, extra_ms};

/// Name under which an object's metadata has the number of the call that made it. Azure takes letters only.
const MARK: &str = "redkitecreate";
/// How often a create is repeated that met something under its key that was gone when it looked.
const RACED_ATTEMPTS: usize = 8;

/// What this room needs of the client library.
trait Store: ObjectStore + PaginatedListStore {}
impl<T: ObjectStore + PaginatedListStore> Store for T {}

/// Objects in a bucket of Google's or a container of Azure's. Cloning shares the connections.
#[derive(Clone)]
pub struct CloudBlobs {
    shared: Arc<Shared>,
}

struct Shared {
    /// The same for the view of the whole bucket.
    store: Arc<ArcSwap<Box<dyn Store>>>,
    /// What `store` was made of.
    settings: Mutex<CloudSettings>,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    bucket: String,
    /// Before every key; empty or ending with a slash.
    root: String,
    request_timeout_ms: u64,
    /// Whether the client library leaves the object out of a listing whose key is the prefix itself, as it does for
    /// Azure, where that can be a directory.
    leaves_out_prefix: bool,
}

impl CloudBlobs {
    /// The store in the bucket of `settings`, which has to exist.
    ///
    /// # Errors
    /// [`Error::BadSetting`] for settings that cannot work, among them a bucket that does not exist; kind `Denied`
    /// for refused credentials, `Unavailable` while the server cannot be reached.
    pub async fn open(
        settings: &CloudSettings,
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
    ) -> Result<Arc<Self>, Error> {
        let store = connect(settings, &clock, &rng)?;
        let shared = Shared {
            store: Arc::new(ArcSwap::from_pointee(store)),
            settings: Mutex::new(settings.clone()),
            clock,
            rng,
            bucket: settings.bucket.clone(),
            root: settings.prefix(),
            request_timeout_ms: settings.request_timeout_ms,
            leaves_out_prefix: matches!(settings.provider, Provider::Azure { .. }),
        };
        shared.look_into_bucket(&**shared.store.load_full()).await?;
        Ok(Arc::new(Self { shared: Arc::new(shared) }))
    }

    /// Goes on with other credentials, certificates or limits of attempts; calls under way end with the old ones.
    /// Returns whether anything was different. What is refused changes nothing: the new settings are tried first.
    ///
    /// # Errors
    /// [`Error::BadSetting`] for another provider, bucket, root or time limit of calls, which need a restart; otherwise as
    /// [`Self::open`].
    pub async fn reload(&self, settings: &CloudSettings) -> Result<bool, Error> {
        let shared = &self.shared;
        let now = shared.settings.lock().clone();
        if now == *settings {
            return Ok(false);
        }
        let fixed = [
            ("bucket", now.bucket == settings.bucket),
            ("provider", matches!(settings.provider, Provider::Azure { .. }) == shared.leaves_out_prefix),
            ("root", now.prefix() == settings.prefix()),
            ("request_timeout_ms", now.request_timeout_ms == settings.request_timeout_ms),
        ];
        if let Some((setting, _)) = fixed.into_iter().find(|(_, same)| !same) {
            let why = "it cannot change while the process runs".to_owned();
            return Err(Error::BadSetting { setting, why });
        }
        let store = connect(settings, &shared.clock, &shared.rng)?;
        shared.look_into_bucket(&*store).await?;
        shared.store.store(Arc::new(store));
        *shared.settings.lock() = settings.clone();
        Ok(true)
    }
}

/// The client for `settings`. Does not connect yet.
fn connect(
    settings: &CloudSettings,
    clock: &Arc<dyn Clock>,
    rng: &Arc<dyn Rng>,
) -> Result<Box<dyn Store>, Error> {
    settings.check()?;
    let transport = Transport::new(settings, Arc::clone(clock), Arc::clone(rng))?;
    // The transport repeats requests, within its budget.
    let once = RetryConfig { max_retries: 0, ..RetryConfig::default() };
    match &settings.provider {
        Provider::Google { credentials } => {
            let mut builder = GoogleCloudStorageBuilder::new()
                .with_bucket_name(&settings.bucket)
                .with_http_connector(transport)
                .with_retry(once);
            if let Some(endpoint) = &settings.endpoint {
                builder = builder.with_base_url(endpoint.trim_end_matches('/'));
            }
            builder = match credentials {
                GoogleCredentials::Json(key) => builder.with_service_account_key(key.reveal()),
                GoogleCredentials::Machine => builder,
                GoogleCredentials::Anonymous => builder.with_bearer_token("").with_skip_signature(true),
            };
            let store = builder.build().map_err(|failure| bad_client(&failure))?;
            Ok(Box::new(store))
        }
        Provider::Azure { account, credentials } => {
            let mut builder = MicrosoftAzureBuilder::new()
                .with_account(account)
                .with_container_name(&settings.bucket)
                .with_http_connector(transport)
                .with_retry(once);
            if let Some(endpoint) = &settings.endpoint {
                builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
            }
            builder = azure_credentials(builder, credentials);
            let store = builder.build().map_err(|failure| bad_client(&failure))?;
            Ok(Box::new(store))
        }
    }
}

fn azure_credentials(
    builder: MicrosoftAzureBuilder,
    credentials: &AzureCredentials,
) -> MicrosoftAzureBuilder {
    match credentials {
        AzureCredentials::Key(key) => builder.with_access_key(key.reveal()),
        AzureCredentials::Workload { client_id, tenant_id, token_file, authority } => {
            let builder = builder
                .with_client_id(client_id)
                .with_tenant_id(tenant_id)
                .with_federated_token_file(token_file);
            match authority {
                Some(authority) => builder.with_authority_host(authority),
                None => builder,
            }
        }
        AzureCredentials::Machine { client_id: Some(client_id) } => builder.with_client_id(client_id),
        AzureCredentials::Machine { client_id: None } => builder,
    }
}

/// Settings that the client library takes no client from. Which one it was only its text says; a key that cannot be
/// read is the usual case.
fn bad_client(failure: &Failure) -> Error {
    Error::BadSetting { setting: "credentials", why: failure.to_string() }
}

impl Shared {
    fn path(&self, key: &str) -> Result<Path, Error> {
        let bad = |_| Error::BadKey { key: key.to_owned(), why: "the store takes no such path" };
        Path::parse(format!("{}{key}", self.root)).map_err(bad)
    }

    /// Runs `work` within the time for a call that sends so many bytes.
    async fn in_time<T>(
        &self,
        doing: Doing,
        key: &str,
        sent_bytes: usize,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let after_ms = self.request_timeout_ms.saturating_add(extra_ms(sent_bytes as u64));
        tokio::select! {
            ended = work => ended,
            () = self.clock.sleep(Duration::from_millis(after_ms)) => {
                Err(answer::too_long(after_ms, doing, key))
            }
        }
    }

    async fn look_into_bucket(&self, store: &dyn Store) -> Result<(), Error> {
        let one = PaginatedListOptions { max_keys: Some(1), ..PaginatedListOptions::default() };
        let look = async {
            let root = Some(self.root.as_str()).filter(|root| !root.is_empty());
            match store.list_paginated(root, one).await {
                Ok(_) => Ok(()),
                Err(failure) if answer::is_not_found(&failure) => {
                    let why = format!("there is no bucket {}", self.bucket);
                    Err(Error::BadSetting { setting: "bucket", why })
                }
                Err(failure) => Err(answer::error(&failure, Doing::Open, &self.bucket)),
            }
        };
        self.in_time(Doing::Open, &self.bucket, 0, look).await
    }

    /// The mark of the object under `path`, `None` if there is no object.
    async fn mark_of(&self, path: &Path) -> Result<Option<String>, Failure> {
        let head = GetOptions { head: true, ..GetOptions::default() };
        match self.store.load_full().get_opts(path, head).await {
            Ok(found) => {
                let mark = found.attributes.get(&Attribute::Metadata(MARK.into()));
                Ok(Some(mark.map(|mark| mark.as_ref().to_owned()).unwrap_or_default()))
            }
            Err(failure) if answer::is_not_found(&failure) && !answer::is_no_bucket(&failure) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    async fn create(&self, key: &str, body: &Bytes) -> Result<(), Error> {
        let path = self.path(key)?;
        let failed = |failure: &Failure| answer::error(failure, Doing::Create, key);
        let mark = format!("{:016x}{:016x}", self.rng.next_u64(), self.rng.next_u64());
        for attempt in 1.. {
            let attributes = Attributes::from_iter([(Attribute::Metadata(MARK.into()), mark.clone())]);
            let options = PutOptions { mode: PutMode::Create, attributes, ..PutOptions::default() };
            let put = self.store.load_full().put_opts(&path, body.clone().into(), options).await;
            match put {
                Ok(_) => return Ok(()),
                Err(failure) if answer::is_taken(&failure) => {
                    match self.mark_of(&path).await.map_err(|failure| failed(&failure))? {
                        Some(found) if found == mark => return Ok(()),
                        Some(_) => return Err(Error::Exists { key: key.to_owned() }),
                        // Deleted since, or the conflict was another one.
                        None if attempt < RACED_ATTEMPTS => {}
                        None => {
                            let source = Box::new(answer::error(&failure, Doing::Create, key));
                            let kind = Kind::Unavailable;
                            return Err(Error::Remote {
                                doing: Doing::Create,
                                key: key.to_owned(),
                                kind,
                                source,
                            });
                        }
                    }
                }
                Err(failure) => return Err(failed(&failure)),
            }
        }
        Ok(())
    }

    /// An object or a part of it. `None` if the part is not within the object.
    async fn fetch(&self, key: &str, range: Option<Range<u64>>) -> Result<Option<Bytes>, Error> {
        let path = self.path(key)?;
        let options = GetOptions { range: range.clone().map(GetRange::Bounded), ..GetOptions::default() };
        let found = match self.store.load_full().get_opts(&path, options).await {
            Ok(found) => found.bytes().await,
            Err(failure) => Err(failure),
        };
        match found {
            Ok(body) => Ok(Some(body)),
            Err(failure) if answer::is_bad_range(&failure) => Ok(None),
            Err(failure) if answer::is_not_found(&failure) && !answer::is_no_bucket(&failure) => {
                Err(Error::NotFound { key: key.to_owned() })
            }
            Err(failure) => {
                // The library checks ranges itself and tells that in words only: the object's length decides.
                if let Some(range) = range
                    && answer::kind(&failure) == Kind::Unavailable
                    && let Ok(meta) = self.store.load_full().head(&path).await
                    && range.end > meta.size
                {
                    return Ok(None);
                }
                Err(answer::error(&failure, Doing::Read, key))
            }
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<BlobEntry>, Error> {
        let full = format!("{}{prefix}", self.root);
        let mut entries = Vec::new();
        let mut page_token = None;
        loop {
            let options = PaginatedListOptions { page_token, ..PaginatedListOptions::default() };
            let wanted = Some(full.as_str()).filter(|full| !full.is_empty());
            let listed = self.store.load_full().list_paginated(wanted, options).await;
            let listed = listed.map_err(|failure| answer::error(&failure, Doing::List, prefix))?;
            for object in listed.result.objects {
                let key = object.location.as_ref().strip_prefix(&self.root);
                // What other programs put there under names that are no keys is not ours to see.
                if let Some(key) = key.filter(|key| check_key(key).is_ok() && key.starts_with(prefix)) {
                    entries.push(BlobEntry { key: key.to_owned(), size_bytes: object.size });
                }
            }
            page_token = listed.page_token;
            if page_token.is_none() {
                break;
            }
        }
        if self.leaves_out_prefix && check_key(prefix).is_ok() {
            match self.store.load_full().head(&self.path(prefix)?).await {
                Ok(object) => entries.push(BlobEntry { key: prefix.to_owned(), size_bytes: object.size }),
                Err(failure) if answer::is_not_found(&failure) && !answer::is_no_bucket(&failure) => {}
                Err(failure) => return Err(answer::error(&failure, Doing::List, prefix)),
            }
        }
        entries.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        Ok(entries)
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        match self.store.load_full().delete(&self.path(key)?).await {
            Ok(()) => Ok(()),
            Err(failure) if answer::is_not_found(&failure) && !answer::is_no_bucket(&failure) => Ok(()),
            Err(failure) => Err(answer::error(&failure, Doing::Delete, key)),
        }
    }
}

#[async_trait]
impl Blobs for CloudBlobs {
    async fn create(&self, key: &str, body: Bytes) -> Result<(), Error> {
        check_key(key)?;
        self.shared.in_time(Doing::Create, key, body.len(), self.shared.create(key, &body)).await
    }

    async fn read(&self, key: &str) -> Result<Bytes, Error> {
        check_key(key)?;
        let read = self.shared.in_time(Doing::Read, key, 0, self.shared.fetch(key, None)).await?;
        read.ok_or_else(|| Error::NotFound { key: key.to_owned() })
    }

    async fn read_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, Error> {
        if !check_range(key, &range)? {
            return Ok(Bytes::new());
        }
        let fetch = self.shared.fetch(key, Some(range.clone()));
        let part = self.shared.in_time(Doing::Read, key, 0, fetch).await?;
        whole_range(part, key, &range)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<BlobEntry>, Error> {
        check_prefix(prefix)?;
        self.shared.in_time(Doing::List, prefix, 0, self.shared.list(prefix)).await
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        check_key(key)?;
        self.shared.in_time(Doing::Delete, key, 0, self.shared.delete(key)).await
    }

    fn outside(&self) -> Option<Outside> {
        let shared = &self.shared;
        if shared.root.is_empty() {
            return None;
        }
        let whole = Shared {
            store: Arc::clone(&shared.store),
            settings: Mutex::new(shared.settings.lock().clone()),
            clock: Arc::clone(&shared.clock),
            rng: Arc::clone(&shared.rng),
            bucket: shared.bucket.clone(),
            root: String::new(),
            request_timeout_ms: shared.request_timeout_ms,
            leaves_out_prefix: shared.leaves_out_prefix,
        };
        Some(Outside { blobs: Arc::new(Self { shared: Arc::new(whole) }), root: shared.root.clone() })
    }
}

#[cfg(test)]
mod tests;
