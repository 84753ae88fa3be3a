//! What a proxy away from the coordinator remembers of the catalog.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::future::{BoxFuture, FutureExt as _};
use parking_lot::Mutex;

use super::ids::Ids;
use super::passes;
use super::table::{Found, Table};
use super::under_way::{Reading, UnderWay};
use crate::base::CollectionId;
use crate::model::access::Policy;
use crate::rpc::{CollectionInfo, CollectionRef, Coord, Error, Follower, Orders, Report, Routes};

/// Collections whose routes are renewed at the same time.
const RENEWED_AT_ONCE: usize = 16;

/// A collection's name or alias, in a database.
type Name = (String, String);

#[derive(Debug, Default)]
struct Tables {
    names: Table<Name, CollectionInfo>,
    infos: Table<CollectionId, CollectionInfo>,
    routes: Table<CollectionId, Routes>,
    policy: Table<(), Policy>,
}

impl Tables {
    fn forget(&mut self, collection: CollectionId) {
        self.names.drop_where(|_, info| info.id == collection);
        self.infos.remove(&collection);
        self.routes.forget(&collection);
    }

    fn forget_all(&mut self) {
        self.names.clear();
        self.infos.clear();
        self.routes.forget_all();
        self.policy.forget(&());
    }

    /// Forgets whatever `collection` may mean.
    fn forget_meant(&mut self, collection: &CollectionRef) {
        let (database, name) = match collection {
            CollectionRef::Id(id) => return self.forget(*id),
            CollectionRef::Name { database, name } => (database, name),
        };
        let is_meant = |info: &CollectionInfo| {
            info.database_name == *database && (info.name == *name || info.aliases.contains(name))
        };
        let key = (database.clone(), name.clone());
        let mut meant: Vec<CollectionId> = self.names.known(&key).map(|info| info.id).into_iter().collect();
        let known = self.infos.all_known().chain(self.names.all_known());
        meant.extend(known.filter(|info| is_meant(info)).map(|info| info.id));
        for id in meant {
            self.forget(id);
        }
        self.names.drop_where(|known, _| *known == key);
    }
}

/// Routes in use that have been replaced, and are to be asked for before somebody needs them. If the coordinator goes away before
/// it has answered, reads have only the replaced ones to go by: each counts as a read until then. By itself, so that one that is
/// replaced in the meantime does not make others wait.
type Renewal = BTreeMap<CollectionId, Reading>;

/// A coordinator whose answers about collections and routes are remembered, and whose ids are fetched ahead; every other
/// call goes through.
///
/// It forgets when the coordinator says that a collection has changed ([`Follower::obey`]), and what a change made
/// through it touches, before that call returns. What was on its way meanwhile is handed to those who asked before and
/// not kept. Failures are never kept. Routes in use that the coordinator replaces are asked for at once ([`Follower::changed`]),
/// and said to be in use until the new ones are there. What is remembered is answered also while the coordinator is away; routes, which
/// every node checks by itself, even if they had to be forgotten.
pub struct CatalogCache {
    pub(super) inner: Arc<dyn Coord>,
    pub(super) ids: Ids,
    tables: Mutex<Tables>,
    under_way: Arc<UnderWay>,
    renewal: Mutex<Renewal>,
}

impl CatalogCache {
    /// A cache in front of `inner` that knows nothing yet.
    #[must_use]
    pub fn new(inner: Arc<dyn Coord>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            ids: Ids::default(),
            tables: Mutex::default(),
            under_way: Arc::default(),
            renewal: Mutex::default(),
        })
    }

    /// A read begins, which may go by any routes that are known now or later. While it is under way the coordinator is told
    /// that routes of before are in use.
    #[must_use]
    pub fn reading(&self) -> Reading {
        self.under_way.begin()
    }

    /// Forgets everything about a collection.
    pub fn forget(&self, collection: CollectionId) {
        self.tables.lock().forget(collection);
    }

    /// The routes of a collection, newer than version `seen` if the coordinator has such. Those that are known serve
    /// other callers until then. Cancel safe.
    ///
    /// # Errors
    /// The coordinator's; what is known stays.
    pub async fn renew_routes(&self, collection: CollectionId, seen: u64) -> Result<Arc<Routes>, Error> {
        let is_newer = |routes: &Routes| routes.version > seen;
        let found = self.tables.lock().routes.look(&collection, is_newer, || self.ask_routes(collection));
        self.routes_from(collection, found).await
    }

    fn ask_routes(&self, collection: CollectionId) -> BoxFuture<'static, Result<Arc<Routes>, Error>> {
        let inner = Arc::clone(&self.inner);
        async move { inner.routes(collection).await }.boxed()
    }

    async fn routes_from(
        &self,
        collection: CollectionId,
        found: Found<Routes>,
    ) -> Result<Arc<Routes>, Error> {
        match found {
            Found::Known(routes) => Ok(routes),
            Found::Coming(number, fetch) => {
                let answer = fetch.await;
                let mut tables = self.tables.lock();
                let answer = answer.map(|fresh| completed(fresh, tables.routes.last(&collection)));
                tables.routes.settle(&collection, number, &answer);
                answer
            }
        }
    }

    /// The routes that were known last, forgotten or not, if they are of what is to be loaded as far as is known. Any
    /// node that they name and that has not their part says so; that a part is missing in them nobody would say.
    pub(super) fn last_routes(&self, collection: CollectionId) -> Option<Arc<Routes>> {
        let tables = self.tables.lock();
        let wanted = tables.infos.known(&collection)?.load.as_ref()?;
        let last = tables.routes.last(&collection)?;
        (last.wanted && last.partitions == wanted.partitions && !last.replicas.is_empty()).then_some(last)
    }

    pub(super) async fn known_routes(&self, collection: CollectionId) -> Result<Arc<Routes>, Error> {
        match self.sound_routes(collection).await {
            Err(error) if passes(&error) => self.tables.lock().routes.last(&collection).ok_or(error),
            answer => answer,
        }
    }

    /// As [`Self::known_routes`], for reads: nothing that was forgotten, which may lack rows that are to be read.
    pub(super) async fn sound_routes(&self, collection: CollectionId) -> Result<Arc<Routes>, Error> {
        let found = self.tables.lock().routes.look(&collection, |_| true, || self.ask_routes(collection));
        self.routes_from(collection, found).await
    }

    /// Asks once for routes that were in use when they were replaced. Those that cannot be had while the coordinator is away
    /// stay to be asked for. Cancel safe.
    async fn renew(&self) {
        let due: Vec<CollectionId> = self.renewal.lock().keys().copied().collect();
        let asked = futures::stream::iter(due)
            .map(async |collection| (collection, self.sound_routes(collection).await));
        let mut answers = std::pin::pin!(asked.buffer_unordered(RENEWED_AT_ONCE));
        while let Some((collection, answer)) = answers.next().await {
            if answer.is_err_and(|error| passes(&error)) {
                continue;
            }
            self.tables.lock().routes.leave(&collection);
            self.renewal.lock().remove(&collection);
        }
    }

    /// Who may do what. While the coordinator is away, what was known last goes on being in force: who may read may still
    /// read then, as the data can still be read.
    pub(super) async fn known_policy(&self) -> Result<Arc<Policy>, Error> {
        let found = self.tables.lock().policy.look(
            &(),
            |_| true,
            || {
                let inner = Arc::clone(&self.inner);
                async move { inner.policy().await }.boxed()
            },
        );
        let (number, fetch) = match found {
            Found::Known(policy) => return Ok(policy),
            Found::Coming(number, fetch) => (number, fetch),
        };
        let answer = fetch.await;
        let mut tables = self.tables.lock();
        tables.policy.settle(&(), number, &answer);
        match answer {
            Err(error) if passes(&error) => tables.policy.last(&()).ok_or(error),
            answer => answer,
        }
    }

    /// Forgets who may do what once a change of that ends, however it ends.
    pub(super) const fn changing_policy(&self) -> PolicyChanging<'_> {
        PolicyChanging(self)
    }

    fn ask_info(&self, collection: CollectionRef) -> BoxFuture<'static, Result<Arc<CollectionInfo>, Error>> {
        let inner = Arc::clone(&self.inner);
        async move { inner.collection(collection).await }.boxed()
    }

    pub(super) async fn known_info(&self, collection: CollectionRef) -> Result<Arc<CollectionInfo>, Error> {
        match collection {
            CollectionRef::Id(id) => {
                let found = self.tables.lock().infos.look(&id, |_| true, || self.ask_info(collection));
                let (number, fetch) = match found {
                    Found::Known(info) => return Ok(info),
                    Found::Coming(number, fetch) => (number, fetch),
                };
                let answer = fetch.await;
                self.tables.lock().infos.settle(&id, number, &answer);
                answer
            }
            CollectionRef::Name { database, name } => {
                let key = (database.clone(), name.clone());
                let named = CollectionRef::Name { database, name };
                let found = self.tables.lock().names.look(&key, |_| true, || self.ask_info(named));
                let (number, fetch) = match found {
                    Found::Known(info) => return Ok(info),
                    Found::Coming(number, fetch) => (number, fetch),
                };
                let answer = fetch.await;
                let mut tables = self.tables.lock();
                let is_kept = tables.names.settle(&key, number, &answer);
                if let (true, Ok(info)) = (is_kept, &answer) {
                    tables.infos.add(info.id, info);
                }
                drop(tables);
                answer
            }
        }
    }

    /// Forgets what a change touches once it ends, however it ends.
    pub(super) fn touching(&self, touched: Vec<CollectionRef>) -> Touching<'_> {
        Touching { cache: self, touched }
    }
}

/// What a leader says that still listens, with the copies that its predecessor named last. Who owns a channel it may know
/// already.
fn completed(fresh: Arc<Routes>, last: Option<Arc<Routes>>) -> Arc<Routes> {
    if !fresh.listening || !fresh.wanted || !fresh.replicas.is_empty() {
        return fresh;
    }
    let same = |last: &Arc<Routes>| last.wanted && last.partitions == fresh.partitions;
    match last.filter(same) {
        Some(last) => {
            let (replicas, readable) = (last.replicas.clone(), last.readable.clone());
            Arc::new(Routes { replicas, readable, ..(*fresh).clone() })
        }
        None => fresh,
    }
}

/// A change under way: what it touches is forgotten when this is dropped.
pub(super) struct Touching<'a> {
    cache: &'a CatalogCache,
    touched: Vec<CollectionRef>,
}

impl Drop for Touching<'_> {
    fn drop(&mut self) {
        let mut tables = self.cache.tables.lock();
        for touched in &self.touched {
            tables.forget_meant(touched);
        }
    }
}

/// A change of who may do what is under way: what was known of that is forgotten when this is dropped.
pub(super) struct PolicyChanging<'a>(&'a CatalogCache);

impl Drop for PolicyChanging<'_> {
    fn drop(&mut self) {
        self.0.tables.lock().policy.forget(&());
    }
}

#[async_trait]
impl Follower for CatalogCache {
    fn report(&self, report: &mut Report) {
        report.node.duties.proxies = true;
        report.reads_since = self.under_way.oldest();
    }

    fn obey(&self, orders: &Orders, _: Duration) {
        let mut tables = self.tables.lock();
        if orders.whole {
            tables.forget_all();
        }
        for collection in &orders.changed {
            tables.forget(*collection);
        }
        if orders.policy {
            tables.policy.forget(&());
        }
        let in_use: Vec<CollectionId> = orders
            .rerouted
            .iter()
            .filter(|&collection| tables.routes.is_in_use(collection))
            .copied()
            .collect();
        for collection in &orders.rerouted {
            tables.routes.forget(collection);
        }
        drop(tables);
        let mut renewal = self.renewal.lock();
        for collection in in_use {
            renewal.entry(collection).or_insert_with(|| self.under_way.begin());
        }
        drop(renewal);
        // Only now: a read that begins in between is taken for an older one.
        self.under_way.obey(orders.number);
    }

    async fn changed(&self) {
        // What could not be renewed is tried again after the next report. Renewing ends a read, which is what is waited for.
        let renewing = async {
            self.renew().await;
            std::future::pending().await
        };
        tokio::select! {
            biased;
            () = renewing => {}
            () = self.under_way.over() => {}
        }
    }
}
