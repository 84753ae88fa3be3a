//! Records in etcd: the metadata of a cluster.
//!
//! A record lies at `<root>/<key>`; its version is the revision that changed it last. All members are used. Reads are
//! linearizable and go on to the next member when one is down or slow; so does a commit that replaces or deletes a
//! record of an expected version, because it can succeed only once; it is sent again and again until a member says how it
//! ended, and where it finds its own mark, an earlier attempt has done it. Any other commit is sent once, to a member that
//! has answered within the last second or is asked first; if it is not known how that ended, the error is of kind
//! `Unavailable`.
//!
//! Certificates, keys and the file of the password are looked at every few seconds and when a call fails; changed ones
//! count from the next call on.

mod fault;
mod identity;
mod member;
mod race;
mod settings;
mod wire;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use etcd_client::{GetOptions, GetResponse, KvClient};
use parking_lot::Mutex;
use tracing::{info, warn};

use crate::base::{Clock, chain};

use super::txn::check_key;
use super::{Doing, Error, Metas, Txn, Versioned};
use fault::{Fault, What};
use identity::{Files, Identity};
use member::Member;
use race::{Ended, Race, Repeat};
use settings::Place;
pub use settings::{EtcdSettings, EtcdTls, EtcdUser};
use wire::{Request, Root};

/// Look at the files this often.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Look at the files again after a failed call, but not more often than this.
const LOOK_AFTER_FAILURE: Duration = Duration::from_secs(1);
/// Records that are read at once.
const PAGE: usize = 1_000;
/// How often the first look asks every member: what broke off once may say why the next time.
const FIRST_ROUNDS: usize = 2;
/// How often a listing begins anew because its revision is gone.
const LISTINGS: usize = 3;

/// Records in etcd, below one root path.
pub struct EtcdMetas {
    settings: EtcdSettings,
    root: Root,
    places: Vec<Place>,
    /// The members as text, for errors.
    place: String,
    clock: Arc<dyn Clock>,
    circle: ArcSwap<Circle>,
    looked_at: Mutex<Duration>,
}

/// All members, spoken to as one identity.
struct Circle {
    digest: u64,
    members: Vec<Member>,
    /// The member to ask first: the one that answered last.
    first: AtomicUsize,
}

impl EtcdMetas {
    /// The store that `settings` name. An etcd that cannot be reached within its limit is no error: calls go on
    /// looking for it.
    ///
    /// # Errors
    /// [`Error::BadSetting`] for a setting or file that cannot work; kind `Denied` if etcd does not accept who asks,
    /// or is not who the certificates vouch for.
    pub async fn connect(settings: EtcdSettings, clock: Arc<dyn Clock>) -> Result<Arc<Self>, Error> {
        let places = settings.check()?;
        let identity = Files::read(&settings).await?.identity(&settings)?;
        let addresses = places.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let metas = Self {
            root: Root::new(&settings.root),
            circle: ArcSwap::from_pointee(Circle::new(&places, &identity, &clock)),
            place: format!("etcd at {addresses}"),
            places,
            looked_at: Mutex::new(clock.monotonic()),
            settings,
            clock,
        };
        let limit = Duration::from_millis(metas.settings.connect_timeout_ms);
        let race = Race { rounds: FIRST_ROUNDS, ..metas.race(limit) };
        let circle = metas.circle.load_full();
        match circle.read(race, probe(&metas.root)).await {
            Ok(_) => info!(place = metas.place, "metadata store reached"),
            Err(fault) if matches!(fault.what, What::Denied | What::Invalid) => {
                return Err(fault.error(Doing::Open, &metas.place));
            }
            Err(fault) => warn!(place = metas.place, error = %fault.said, "metadata store not reached yet"),
        }
        Ok(Arc::new(metas))
    }

    fn race(&self, limit: Duration) -> Race<'_> {
        Race {
            clock: &*self.clock,
            first: 0,
            members: self.places.len(),
            overtake_after: Duration::from_millis(self.settings.overtake_after_ms),
            limit,
            rounds: usize::MAX,
        }
    }

    /// When a request that begins now has to end, as monotonic time.
    fn deadline(&self) -> Duration {
        self.clock.monotonic() + Duration::from_millis(self.settings.request_timeout_ms)
    }

    fn race_until(&self, deadline: Duration) -> Race<'_> {
        self.race(deadline.saturating_sub(self.clock.monotonic()))
    }

    /// The answer to one read.
    async fn read<T, A>(&self, call: impl Fn(KvClient) -> A) -> Result<T, Fault>
    where
        A: Future<Output = Result<T, etcd_client::Error>>,
    {
        let deadline = self.deadline();
        let circle = self.circle().await;
        let ended = circle.read(self.race_until(deadline), &call).await;
        match ended {
            Ok(answer) => Ok(answer),
            Err(fault) => match self.renewed(&circle).await {
                Some(circle) => circle.read(self.race_until(deadline), &call).await,
                None => Err(fault),
            },
        }
    }

    /// The members; asked for before every call.
    async fn circle(&self) -> Arc<Circle> {
        if self.is_due(LOOK_EVERY) {
            self.look().await;
        }
        self.circle.load_full()
    }

    /// The members as another identity than `failed` was, if the files have changed.
    async fn renewed(&self, failed: &Arc<Circle>) -> Option<Arc<Circle>> {
        if self.is_due(LOOK_AFTER_FAILURE) {
            self.look().await;
        }
        let current = self.circle.load_full();
        (!Arc::ptr_eq(&current, failed)).then_some(current)
    }

    fn is_due(&self, every: Duration) -> bool {
        let now = self.clock.monotonic();
        let mut looked_at = self.looked_at.lock();
        let is_due = Files::are_named(&self.settings) && now.saturating_sub(*looked_at) >= every;
        if is_due {
            *looked_at = now;
        }
        is_due
    }

    /// Takes over changed files. What cannot be read or does not fit together yet is left for the next look.
    async fn look(&self) {
        let files = match Files::read(&self.settings).await {
            Ok(files) if files.digest() == self.circle.load().digest => return,
            Ok(files) => files.identity(&self.settings),
            Err(error) => Err(error),
        };
        match files {
            Ok(identity) => {
                self.circle.store(Arc::new(Circle::new(&self.places, &identity, &self.clock)));
                info!(place = self.place, "changed files of the metadata store taken over");
            }
            Err(error) => warn!(error = %chain(&error), "changed files of the metadata store not taken over"),
        }
    }

    async fn try_commit(
        &self,
        circle: &Circle,
        request: &Request<'_>,
        deadline: Duration,
    ) -> Result<Ended, Fault> {
        if request.repeat == Repeat::Harmful && !circle.is_first_fresh() {
            let probed = circle.read(self.race_until(deadline), probe(&self.root)).await;
            // Nothing of the commit was sent.
            probed.map_err(|fault| match fault.what {
                What::Lost => Fault { what: What::Unreached, ..fault },
                _ => fault,
            })?;
        }
        circle.commit(self.race_until(deadline), request).await
    }

    /// Records of one revision, from the key `from` on; the revision of the first page is the store's latest.
    async fn page(&self, from: Vec<u8>, end: &[u8], revision: i64) -> Result<GetResponse, Fault> {
        let limit = i64::try_from(PAGE).unwrap_or(i64::MAX);
        let options = GetOptions::new().with_range(end).with_limit(limit).with_revision(revision);
        self.read(move |mut kv| {
            let (from, options) = (from.clone(), options.clone());
            async move { kv.get(from, Some(options)).await }
        })
        .await
    }

    /// Every record with the prefix at one revision, or the fault that ended it.
    async fn try_list(&self, prefix: &str) -> Result<Result<Vec<(String, Versioned)>, Error>, Fault> {
        let (mut from, end) = (self.root.key(prefix), self.root.end(prefix));
        let (mut found, mut revision) = (Vec::new(), 0);
        loop {
            let mut page = self.page(from, &end, revision).await?;
            if revision == 0 {
                revision = page.header().map_or(0, |header| header.revision());
            }
            let (more, records) = (page.more(), page.take_kvs());
            from = records.last().map(|last| [last.key(), &[0]].concat()).unwrap_or_default();
            for record in records {
                match self.root.record(record) {
                    Ok(record) => found.push(record),
                    Err(error) => return Ok(Err(error)),
                }
            }
            if !more || from.is_empty() {
                return Ok(Ok(found));
            }
        }
    }
}

impl Circle {
    fn new(places: &[Place], identity: &Identity, clock: &Arc<dyn Clock>) -> Self {
        let members = places.iter().map(|place| Member::new(place.clone(), identity, clock.clone()));
        Self { digest: identity.digest, members: members.collect(), first: AtomicUsize::new(0) }
    }

    fn first(&self) -> usize {
        self.first.load(Ordering::Relaxed)
    }

    fn is_first_fresh(&self) -> bool {
        self.members.get(self.first()).is_some_and(Member::is_fresh)
    }

    async fn ask<T, A>(&self, member: usize, call: impl Fn(KvClient) -> A) -> Result<T, Fault>
    where
        A: Future<Output = Result<T, etcd_client::Error>>,
    {
        let answer = self.members[member].ask(call).await;
        if answer.is_ok() {
            self.first.store(member, Ordering::Relaxed);
        }
        answer
    }

    async fn read<T, A>(&self, race: Race<'_>, call: impl Fn(KvClient) -> A) -> Result<T, Fault>
    where
        A: Future<Output = Result<T, etcd_client::Error>>,
    {
        let race = Race { first: self.first(), ..race };
        race.read(|member| self.ask(member, &call), |member| self.overtaken(member)).await
    }

    async fn commit(&self, race: Race<'_>, request: &Request<'_>) -> Result<Ended, Fault> {
        let race = Race { first: self.first(), ..race };
        let call = |mut kv: KvClient| {
            let words = request.words.clone();
            async move { kv.txn(words).await }
        };
        let ask = async |member| self.ask(member, &call).await.map(|answer| request.ended(&answer));
        race.commit(request.repeat, ask, |member| self.overtaken(member)).await
    }

    /// Later calls begin with the next one.
    fn overtaken(&self, member: usize) {
        self.members[member].overtaken();
        let next = (member + 1) % self.members.len();
        let _ = self.first.compare_exchange(member, next, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// The cheapest read that a majority has to agree to; it needs no right beyond the root.
fn probe(
    root: &Root,
) -> impl Fn(KvClient) -> futures::future::BoxFuture<'static, Result<GetResponse, etcd_client::Error>> {
    let key = root.key("");
    move |mut kv| {
        let key = key.clone();
        Box::pin(async move { kv.get(key, Some(GetOptions::new().with_keys_only())).await })
    }
}

#[async_trait]
impl Metas for EtcdMetas {
    async fn get(&self, key: &str) -> Result<Option<Versioned>, Error> {
        check_key(key)?;
        let full = self.root.key(key);
        let read = self.read(|mut kv| {
            let full = full.clone();
            async move { kv.get(full, None).await }
        });
        let mut found = read.await.map_err(|fault| fault.error(Doing::Read, &self.place))?;
        let record = found.take_kvs().into_iter().next().map(|found| self.root.record(found)).transpose()?;
        Ok(record.map(|(_, versioned)| versioned))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<(String, Versioned)>, Error> {
        let mut attempt = 1;
        loop {
            match self.try_list(prefix).await {
                Ok(listed) => return listed,
                Err(fault) if fault.what == What::Compacted && attempt < LISTINGS => attempt += 1,
                Err(fault) => return Err(fault.error(Doing::Read, &self.place)),
            }
        }
    }

    async fn commit(&self, txn: Txn) -> Result<u64, Error> {
        txn.check()?;
        let request = Request::new(&self.root, &txn)?;
        let deadline = self.deadline();
        let circle = self.circle().await;
        let mut ended = self.try_commit(&circle, &request, deadline).await;
        if let Err(fault) = &ended
            && let Some(circle) = self.renewed(&circle).await
            && fault.what.is_undone()
        {
            ended = self.try_commit(&circle, &request, deadline).await;
        }
        match ended {
            Ok(Ended::Done(version)) => Ok(version),
            Ok(Ended::Conflict(key)) => Err(Error::Conflict { key }),
            Err(fault) => Err(fault.error(Doing::Commit, &self.place)),
        }
    }
}
