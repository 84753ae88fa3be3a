//! Objects in a bucket of S3 or of a server that speaks like it.
//!
//! A create is conditional (`If-None-Match: *`). The client library repeats requests whose answer was lost, so a
//! create may meet the object that it made itself: each call marks its object with a number of its own and looks at
//! it before it says that the key is taken. A server that answers 501 to conditional requests gets a look and a plain
//! put instead; then two racing creates of one key could both win, which the engine's keys, each made once by one
//! owner, do not do. [`super::keeps_creates_apart`] tells whether a server takes the condition seriously.

mod answer;
mod clock;
mod settings;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::Credentials;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    BucketLocationConstraint, CompletedMultipartUpload, CompletedPart, CreateBucketConfiguration,
};
use aws_smithy_async::time::SharedTimeSource;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use parking_lot::Mutex;
use tracing::{info, warn};

use crate::base::Rng;

use super::key::{check_key, check_prefix, check_range, whole_range};
use super::{BlobEntry, Blobs, Doing, Error, Outside};
use answer::Answer;
use clock::ServerTime;
pub use settings::{Addressing, S3Credentials, S3Settings};

/// Key under which an object's metadata has the number of the call that made it.
const MARK: &str = "redkite-create";
/// How often a create is repeated that met another one under way.
const RACED_ATTEMPTS: usize = 8;
/// How often a body is read again that broke off.
const READ_ATTEMPTS: usize = 3;
/// Parts that are sent at the same time.
const PARTS_AT_ONCE: usize = 4;

/// Objects in a bucket. Cloning shares the connections.
#[derive(Clone)]
pub struct S3Blobs {
    shared: Arc<Shared>,
}

struct Shared {
    /// The same for the view of the whole bucket.
    client: Arc<ArcSwap<Client>>,
    /// What `client` was made of.
    settings: Mutex<S3Settings>,
    /// Who the process found itself to be when `client` was made.
    found: Mutex<Option<Credentials>>,
    rng: Arc<dyn Rng>,
    time: ServerTime,
    bucket: String,
    /// Before every key; empty or ending with a slash.
    root: String,
    multipart_over_bytes: usize,
    part_bytes: usize,
    /// Whether the server has said that it knows no conditional requests.
    unconditional: AtomicBool,
}

/// How an attempt to create ended.
enum Created {
    Done,
    Taken,
}

impl S3Blobs {
    /// The store in the bucket of `settings`; makes the bucket if asked to and it is missing.
    ///
    /// # Errors
    /// [`Error::BadSetting`] for settings that cannot work, among them a bucket that does not exist; kind `Denied`
    /// for refused credentials, `Unavailable` while the server cannot be reached.
    pub async fn open(settings: &S3Settings, rng: Arc<dyn Rng>) -> Result<Arc<Self>, Error> {
        Self::open_at(settings, rng, SharedTimeSource::default()).await
    }

    /// As [`Self::open`], on a machine whose clock shows `time`.
    async fn open_at(
        settings: &S3Settings,
        rng: Arc<dyn Rng>,
        time: SharedTimeSource,
    ) -> Result<Arc<Self>, Error> {
        settings.check()?;
        let time = ServerTime::new(time);
        let shared = Shared {
            client: Arc::new(ArcSwap::from_pointee(settings.client(&time).await?)),
            time,
            settings: Mutex::new(settings.clone()),
            found: Mutex::new(settings.found().await),
            rng,
            bucket: settings.bucket.clone(),
            root: settings.prefix(),
            multipart_over_bytes: settings.multipart_over_bytes,
            part_bytes: settings.part_bytes,
            unconditional: AtomicBool::new(false),
        };
        if settings.create_bucket {
            shared.make_bucket(&settings.region).await?;
        }
        shared.look_into_bucket(&shared.client()).await?;
        Ok(Arc::new(Self { shared: Arc::new(shared) }))
    }

    /// Goes on with other credentials, certificates, time limits or addresses; calls under way end with the old ones.
    /// Returns whether anything was different. What is refused changes nothing: the new settings are tried first.
    ///
    /// # Errors
    /// [`Error::BadSetting`] for another bucket, root or length of parts, which need a restart; otherwise as
    /// [`Self::open`].
    pub async fn reload(&self, settings: &S3Settings) -> Result<bool, Error> {
        let shared = &self.shared;
        let now = shared.settings.lock().clone();
        let found = settings.found().await;
        let is_another =
            |one: &Credentials| shared.found.lock().as_ref().is_none_or(|known| !is_same(known, one));
        if now == *settings && !found.as_ref().is_some_and(is_another) {
            return Ok(false);
        }
        settings.check()?;
        let fixed = [
            ("bucket", now.bucket == settings.bucket),
            ("root", now.prefix() == settings.prefix()),
            ("part_bytes", now.part_bytes == settings.part_bytes),
            ("multipart_over_bytes", now.multipart_over_bytes == settings.multipart_over_bytes),
        ];
        if let Some((setting, _)) = fixed.into_iter().find(|(_, same)| !same) {
            let why = "it cannot change while the process runs".to_owned();
            return Err(Error::BadSetting { setting, why });
        }
        let client = settings.client(&shared.time).await?;
        shared.look_into_bucket(&client).await?;
        shared.client.store(Arc::new(client));
        *shared.settings.lock() = settings.clone();
        *shared.found.lock() = found;
        Ok(true)
    }
}

fn is_same(one: &Credentials, other: &Credentials) -> bool {
    let all = |keys: &Credentials| {
        [keys.access_key_id(), keys.secret_access_key(), keys.session_token().unwrap_or_default()]
            .map(str::to_owned)
    };
    all(one) == all(other)
}

impl Shared {
    /// The client of now.
    fn client(&self) -> Arc<Client> {
        self.client.load_full()
    }

    fn full(&self, key: &str) -> String {
        format!("{}{key}", self.root)
    }

    async fn make_bucket(&self, region: &str) -> Result<(), Error> {
        let head = self.client().head_bucket().bucket(&self.bucket).send().await;
        match head.map_err(|error| Answer::of(&error)) {
            Ok(_) => return Ok(()),
            Err(answer) if answer.is_not_found() => {}
            Err(answer) => return Err(answer.into_error(Doing::Open, &self.bucket)),
        }
        let mut request = self.client().create_bucket().bucket(&self.bucket);
        // The oldest region has no name in this place.
        if region != "us-east-1" {
            let place = BucketLocationConstraint::from(region);
            let place = CreateBucketConfiguration::builder().location_constraint(place).build();
            request = request.create_bucket_configuration(place);
        }
        match request.send().await.map_err(|error| Answer::of(&error)) {
            Ok(_) => info!(bucket = self.bucket, "bucket made"),
            // Somebody else made it meanwhile; whether it can be used is looked at next.
            Err(answer) if answer.is_condition_raced() => {}
            Err(answer) => return Err(answer.into_error(Doing::Open, &self.bucket)),
        }
        Ok(())
    }

    async fn look_into_bucket(&self, client: &Client) -> Result<(), Error> {
        let look = client.list_objects_v2().bucket(&self.bucket).prefix(&self.root).max_keys(1);
        match look.send().await.map_err(|error| Answer::of(&error)) {
            Ok(_) => Ok(()),
            Err(answer) if answer.is_no_bucket() => {
                let why = format!("there is no bucket {}", self.bucket);
                Err(Error::BadSetting { setting: "bucket", why })
            }
            Err(answer) => Err(answer.into_error(Doing::Open, &self.bucket)),
        }
    }

    /// One put on condition that the key is free.
    async fn put(&self, key: &str, body: &Bytes, mark: &str) -> Result<(), Answer> {
        let mut request =
            self.client().put_object().bucket(&self.bucket).key(self.full(key)).metadata(MARK, mark);
        if !self.unconditional.load(Ordering::Relaxed) {
            request = request.if_none_match("*");
        }
        let sent = request.body(ByteStream::from(body.clone())).send().await;
        sent.map(drop).map_err(|error| Answer::of(&error))
    }

    /// The same in parts: the condition is at the completion, and nothing is seen before it.
    async fn put_in_parts(&self, key: &str, body: &Bytes, mark: &str) -> Result<(), Answer> {
        let full = self.full(key);
        let begin =
            self.client().create_multipart_upload().bucket(&self.bucket).key(&full).metadata(MARK, mark);
        let begun = begin.send().await.map_err(|error| Answer::of(&error))?;
        let upload = begun.upload_id().unwrap_or_default();
        let ended = self.send_parts(&full, body, upload).await;
        if ended.is_err() {
            let abort =
                self.client().abort_multipart_upload().bucket(&self.bucket).key(&full).upload_id(upload);
            if let Err(error) = abort.send().await {
                warn!(key, error = %Answer::of(&error), "parts of an upload that failed stay in the bucket");
            }
        }
        ended
    }

    async fn send_parts(&self, full: &str, body: &Bytes, upload: &str) -> Result<(), Answer> {
        let starts = (0..body.len()).step_by(self.part_bytes);
        let sending = (1..).zip(starts).map(|(number, start)| async move {
            let part = body.slice(start..body.len().min(start + self.part_bytes));
            let request = self.client().upload_part().bucket(&self.bucket).key(full).upload_id(upload);
            let request = request.part_number(number).body(ByteStream::from(part));
            let sent = request.send().await.map_err(|error| Answer::of(&error))?;
            let tag = sent.e_tag().unwrap_or_default();
            Ok(CompletedPart::builder().part_number(number).e_tag(tag).build())
        });
        let parts = futures::stream::iter(sending).buffered(PARTS_AT_ONCE).try_collect().await?;
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let mut complete = self
            .client()
            .complete_multipart_upload()
            .bucket(&self.bucket)
            .key(full)
            .upload_id(upload)
            .multipart_upload(parts);
        if !self.unconditional.load(Ordering::Relaxed) {
            complete = complete.if_none_match("*");
        }
        complete.send().await.map(drop).map_err(|error| Answer::of(&error))
    }

    /// The mark of the object under `key`, `None` if there is no object.
    async fn mark_of(&self, key: &str) -> Result<Option<String>, Error> {
        let head = self.client().head_object().bucket(&self.bucket).key(self.full(key)).send().await;
        match head.map_err(|error| Answer::of(&error)) {
            Ok(found) => {
                let mark = found.metadata().and_then(|metadata| metadata.get(MARK));
                Ok(Some(mark.cloned().unwrap_or_default()))
            }
            Err(answer) if answer.is_not_found() && !answer.is_no_bucket() => Ok(None),
            Err(answer) => Err(answer.into_error(Doing::Create, key)),
        }
    }

    async fn try_create(&self, key: &str, body: &Bytes) -> Result<Created, Error> {
        let mark = format!("{:016x}{:016x}", self.rng.next_u64(), self.rng.next_u64());
        for attempt in 1.. {
            if self.unconditional.load(Ordering::Relaxed) {
                match self.mark_of(key).await? {
                    Some(found) if found == mark => return Ok(Created::Done),
                    Some(_) => return Ok(Created::Taken),
                    None => {}
                }
            }
            let put = if body.len() > self.multipart_over_bytes {
                self.put_in_parts(key, body, &mark).await
            } else {
                self.put(key, body, &mark).await
            };
            match put {
                Ok(()) => return Ok(Created::Done),
                Err(answer) if answer.is_condition_failed() => {
                    let own = self.mark_of(key).await?.as_ref() == Some(&mark);
                    return Ok(if own { Created::Done } else { Created::Taken });
                }
                Err(answer) if answer.is_condition_raced() && attempt < RACED_ATTEMPTS => {}
                Err(answer) if answer.is_not_implemented() && !self.unconditional.load(Ordering::Relaxed) => {
                    warn!(
                        bucket = self.bucket,
                        "the server knows no conditional writes; creates are not guarded"
                    );
                    self.unconditional.store(true, Ordering::Relaxed);
                }
                Err(answer) => return Err(answer.into_error(Doing::Create, key)),
            }
        }
        Ok(Created::Taken)
    }

    /// An object or the part of it that an HTTP range names. A body that breaks off is asked for again.
    async fn fetch(&self, key: &str, range: Option<&str>) -> Result<Option<Bytes>, Error> {
        for attempt in 1.. {
            let request = self.client().get_object().bucket(&self.bucket).key(self.full(key));
            let found = request.set_range(range.map(str::to_owned)).send().await;
            let found = match found.map_err(|error| Answer::of(&error)) {
                Ok(found) => found,
                Err(answer) if answer.is_bad_range() => return Ok(None),
                Err(answer) if answer.is_not_found() && !answer.is_no_bucket() => {
                    return Err(Error::NotFound { key: key.to_owned() });
                }
                Err(answer) => return Err(answer.into_error(Doing::Read, key)),
            };
            match found.body.collect().await {
                Ok(body) => return Ok(Some(body.into_bytes())),
                Err(error) if attempt >= READ_ATTEMPTS => {
                    return Err(Answer::broken_off(&error).into_error(Doing::Read, key));
                }
                Err(_) => {}
            }
        }
        Ok(None)
    }
}

#[async_trait]
impl Blobs for S3Blobs {
    async fn create(&self, key: &str, body: Bytes) -> Result<(), Error> {
        check_key(key)?;
        match self.shared.try_create(key, &body).await? {
            Created::Done => Ok(()),
            Created::Taken => Err(Error::Exists { key: key.to_owned() }),
        }
    }

    async fn read(&self, key: &str) -> Result<Bytes, Error> {
        check_key(key)?;
        let found = self.shared.fetch(key, None).await?;
        found.ok_or_else(|| Error::NotFound { key: key.to_owned() })
    }

    async fn read_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, Error> {
        if !check_range(key, &range)? {
            return Ok(Bytes::new());
        }
        let header = format!("bytes={}-{}", range.start, range.end - 1);
        let part = self.shared.fetch(key, Some(&header)).await?;
        whole_range(part, key, &range)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<BlobEntry>, Error> {
        check_prefix(prefix)?;
        let shared = &self.shared;
        let mut entries = Vec::new();
        let mut page = None;
        loop {
            let request =
                shared.client().list_objects_v2().bucket(&shared.bucket).prefix(shared.full(prefix));
            let listed = request.set_continuation_token(page.take()).send().await;
            let listed = listed.map_err(|error| Answer::of(&error).into_error(Doing::List, prefix))?;
            for object in listed.contents() {
                let key = object.key().and_then(|key| key.strip_prefix(&shared.root));
                // What other programs put there under names that are no keys is not ours to see.
                if let Some(key) = key.filter(|key| check_key(key).is_ok()) {
                    let size_bytes = object.size().and_then(|size| u64::try_from(size).ok()).unwrap_or(0);
                    entries.push(BlobEntry { key: key.to_owned(), size_bytes });
                }
            }
            page = listed.next_continuation_token().map(str::to_owned);
            if page.is_none() {
                break;
            }
        }
        entries.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        Ok(entries)
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        check_key(key)?;
        let shared = &self.shared;
        let deleted =
            shared.client().delete_object().bucket(&shared.bucket).key(shared.full(key)).send().await;
        match deleted.map_err(|error| Answer::of(&error)) {
            Ok(_) => Ok(()),
            Err(answer) if answer.is_not_found() && !answer.is_no_bucket() => Ok(()),
            Err(answer) => Err(answer.into_error(Doing::Delete, key)),
        }
    }

    fn outside(&self) -> Option<Outside> {
        let shared = &self.shared;
        if shared.root.is_empty() {
            return None;
        }
        let whole = Shared {
            client: Arc::clone(&shared.client),
            settings: Mutex::new(shared.settings.lock().clone()),
            found: Mutex::default(),
            rng: Arc::clone(&shared.rng),
            time: shared.time.clone(),
            bucket: shared.bucket.clone(),
            root: String::new(),
            multipart_over_bytes: shared.multipart_over_bytes,
            part_bytes: shared.part_bytes,
            unconditional: AtomicBool::new(false),
        };
        Some(Outside { blobs: Arc::new(Self { shared: Arc::new(whole) }), root: shared.root.clone() })
    }

    fn guards_creates(&self) -> bool {
        !self.shared.unconditional.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
