//! How much clients may ask for: rates, kept by buckets of tokens, and what is denied altogether.
//!
//! Each proxy keeps its part of a rate by itself, without a word to others; how many there are it learns from the
//! coordinator now and then, as it does what databases deny.

mod bucket;
mod settings;

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

pub use settings::{Asked, LimitSettings, MB, Rate};

use bucket::{Buckets, Wanted};

use super::access::{Login, Rights};
use super::api::Caller;
use super::{Error, Proxy};
use crate::base::{CollectionId, PartitionId};
use crate::rpc::{CollectionInfo, Coord, DatabaseInfo, Refusal};

/// How often it is asked what databases deny. Source: Milvus collects its quotas as often.
const EVERY: Duration = Duration::from_secs(3);
/// Every so many times it is asked how many proxies there are, which takes a list of all nodes.
const ROUNDS: u32 = 10;
/// Milvus's reason of a denial. Source: wire specification 2.17.
pub const DENIED: &str = "access has been disabled by the administrator";
/// How long a call that changed a database waits until it is known what that denies.
const PATIENCE: Duration = Duration::from_secs(1);
/// How properties that deny something begin.
const DENIAL: &str = "database.force.deny.";

/// What a call is about.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// The database.
    database: &'a str,
    /// The collection, of calls that are about one that is there.
    collection: Option<&'a CollectionInfo>,
    /// The partitions that it names.
    partitions: &'a [String],
}

impl<'a> About<'a> {
    /// A database.
    pub const fn database(name: &'a str) -> Self {
        Self { database: name, collection: None, partitions: &[] }
    }

    /// A collection.
    pub fn collection(info: &'a CollectionInfo) -> Self {
        Self::partitions(info, &[])
    }

    /// Some partitions of a collection; all of it if none are named.
    pub fn partitions(info: &'a CollectionInfo, names: &'a [String]) -> Self {
        Self { database: &info.database_name, collection: Some(info), partitions: names }
    }
}

/// What a rate is of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Scope {
    All,
    Database(String),
    /// All databases that are not known: their names are whatever clients send, and must not be kept one by one.
    Unknown,
    Collection(CollectionId),
    Partition(PartitionId),
}

type Key = (Asked, Scope);

/// One of the things that a call asks for.
#[derive(Clone, Copy, Debug)]
pub struct Demand<'a> {
    /// What.
    pub asked: Asked,
    /// Of what.
    pub about: About<'a>,
    /// How much.
    pub cost: u64,
}

/// What was learnt of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Learnt {
    /// Proxies that share the rates, this one too.
    proxies: u32,
    /// The databases that there are.
    databases: BTreeSet<String>,
    /// By database, the names of its properties that deny something.
    denials: BTreeMap<String, BTreeSet<String>>,
}

impl Learnt {
    fn denies(&self, database: &str, asked: Asked) -> bool {
        let Some(denials) = self.denials.get(database) else { return false };
        asked.denials().iter().any(|key| denials.contains(*key))
    }
}

/// What is denied now, whoever asks for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Denied {
    /// Whether reads of all databases are.
    pub reads: bool,
    /// Whether writes to all databases are.
    pub writes: bool,
    /// By database, its properties that deny something.
    pub databases: BTreeMap<String, BTreeSet<String>>,
}

/// The limits of a proxy, and how much of them is used up.
pub struct Limits {
    settings: LimitSettings,
    buckets: Mutex<Buckets<Key>>,
    learnt: ArcSwap<Learnt>,
    /// Whether there are rates, of the settings or of a collection that was seen: until then it does not matter how many proxies
    /// there are.
    met: AtomicBool,
}

impl Limits {
    /// As the settings say, alone and with nothing denied as long as nothing else is known.
    #[must_use]
    pub fn new(settings: LimitSettings) -> Self {
        let learnt = Learnt { proxies: 1, databases: BTreeSet::new(), denials: BTreeMap::new() };
        let met = AtomicBool::new(!settings.rates.is_empty());
        Self { settings, buckets: Mutex::default(), learnt: ArcSwap::from_pointee(learnt), met }
    }

    /// Lets a call through or refuses it; `cost` is only asked for where there is a rate.
    fn admit(
        &self,
        now: Duration,
        asked: Asked,
        about: &About<'_>,
        cost: impl FnOnce() -> u64,
    ) -> Result<(), Error> {
        if !self.settings.enabled {
            return Ok(());
        }
        let learnt = self.learnt.load();
        self.check_denials(&learnt, asked, about)?;
        let mut wanted = self.wanted(&learnt, asked, about);
        if wanted.is_empty() {
            return Ok(());
        }
        let cost = cost() as f64;
        wanted.iter_mut().for_each(|one| one.cost = cost);
        self.take(now, &learnt, wanted)
    }

    /// Lets all of this through or refuses it, and then none of it has used anything up.
    fn admit_all(&self, now: Duration, demands: &[Demand<'_>]) -> Result<(), Error> {
        if !self.settings.enabled {
            return Ok(());
        }
        let learnt = self.learnt.load();
        let mut wanted: Vec<Wanted<Key>> = Vec::new();
        let mut places = HashMap::new();
        for Demand { asked, about, cost } in demands {
            self.check_denials(&learnt, *asked, about)?;
            for one in self.wanted(&learnt, *asked, about) {
                let one = Wanted { cost: *cost as f64, ..one };
                match places.entry(one.key.clone()) {
                    Entry::Occupied(place) => {
                        let place: &usize = place.get();
                        wanted[*place].cost += one.cost;
                    }
                    Entry::Vacant(place) => {
                        place.insert(wanted.len());
                        wanted.push(one);
                    }
                }
            }
        }
        if wanted.is_empty() { Ok(()) } else { self.take(now, &learnt, wanted) }
    }

    fn check_denials(&self, learnt: &Learnt, asked: Asked, about: &About<'_>) -> Result<(), Error> {
        if self.settings.denies(asked) || learnt.denies(about.database, asked) {
            return Err(Refusal::QuotaExceeded { reason: DENIED.to_owned() }.into());
        }
        Ok(())
    }

    /// Takes this proxy's part of each rate, or nothing of any.
    fn take(&self, now: Duration, learnt: &Learnt, mut wanted: Vec<Wanted<Key>>) -> Result<(), Error> {
        self.met.store(true, Ordering::Relaxed);
        let proxies = f64::from(learnt.proxies);
        wanted.iter_mut().for_each(|one| one.rate /= proxies);
        let taken = self.buckets.lock().take(now, &wanted);
        taken.map_err(|place| {
            let rate = wanted.get(place).map_or(0.0, |one| one.rate * proxies);
            Error::RateExceeded { rate }
        })
    }

    /// The rates that count for a call, without what it costs.
    fn wanted(&self, learnt: &Learnt, asked: Asked, about: &About<'_>) -> Vec<Wanted<Key>> {
        let rate = self.settings.rates.get(&asked).copied().unwrap_or(Rate::NONE);
        let mut wanted = Vec::new();
        let mut add = |rate: f64, scope: Scope| {
            if rate >= 0.0 {
                wanted.push(Wanted { key: (asked, scope), rate, cost: 0.0 });
            }
        };
        add(rate.all, Scope::All);
        if rate.database >= 0.0 {
            // That of a collection that was found is there, whether it is known yet or not.
            let is_there = about.collection.is_some() || learnt.databases.contains(about.database);
            let scope = if is_there { Scope::Database(about.database.to_owned()) } else { Scope::Unknown };
            add(rate.database, scope);
        }
        let Some(info) = about.collection else { return wanted };
        add(own_rate(info, asked).unwrap_or(rate.collection), Scope::Collection(info.id));
        if rate.partition >= 0.0 {
            let named = about.partitions.iter().filter_map(|name| info.partition(name));
            let ids: BTreeSet<PartitionId> = named.map(|partition| partition.id).collect();
            ids.into_iter().for_each(|id| add(rate.partition, Scope::Partition(id)));
        }
        wanted
    }

    /// Takes over which databases there are and what they deny.
    fn learn_databases(&self, databases: &[DatabaseInfo]) {
        let is_denial = |(key, value): &&(String, String)| {
            key.starts_with(DENIAL) && value.trim().eq_ignore_ascii_case("true")
        };
        let denials = databases.iter().filter_map(|database| {
            let keys: BTreeSet<String> =
                database.properties.iter().filter(is_denial).map(|(key, _)| key.clone()).collect();
            (!keys.is_empty()).then(|| (database.name.clone(), keys))
        });
        let denials = denials.collect::<BTreeMap<_, _>>();
        let names: BTreeSet<String> = databases.iter().map(|database| database.name.clone()).collect();
        self.learnt.rcu(|known| Learnt {
            proxies: known.proxies,
            databases: names.clone(),
            denials: denials.clone(),
        });
    }

    /// Takes over how many proxies share the rates.
    fn learn_proxies(&self, proxies: usize) {
        let proxies = u32::try_from(proxies).unwrap_or(u32::MAX).max(1);
        self.learnt.rcu(|known| Learnt { proxies, ..Learnt::clone(known) });
    }

    /// Asks what databases deny.
    ///
    /// # Errors
    /// The coordinator's; what was known stays.
    async fn ask_databases(&self, coord: &dyn Coord) -> Result<(), Error> {
        if self.settings.enabled {
            self.learn_databases(&coord.databases().await?);
        }
        Ok(())
    }

    /// Asks how many proxies there are.
    ///
    /// # Errors
    /// The coordinator's; what was known stays.
    async fn ask_proxies(&self, coord: &dyn Coord) -> Result<(), Error> {
        let nodes = coord.nodes().await?;
        self.learn_proxies(nodes.iter().filter(|node| node.info.duties.proxies).count());
        Ok(())
    }

    /// What is denied, as far as it is known.
    pub fn denied(&self) -> Denied {
        if !self.settings.enabled {
            return Denied::default();
        }
        Denied {
            reads: self.settings.denies_reads,
            writes: self.settings.denies_writes,
            databases: self.learnt.load().denials.clone(),
        }
    }

    /// Whether there are rates to share.
    fn matter(&self) -> bool {
        self.settings.enabled && self.met.load(Ordering::Relaxed)
    }
}

/// Whether the caller's calls are not counted.
fn is_operator(caller: &Caller) -> bool {
    matches!(&caller.login, Some(Login { rights: Rights::All, .. }))
}

/// The rate that a collection has of its own.
fn own_rate(info: &CollectionInfo, asked: Asked) -> Option<f64> {
    let (property, unit) = asked.property()?;
    let (_, value) = info.properties.iter().find(|(key, _)| key == property)?;
    value.trim().parse::<f64>().ok().filter(|rate| *rate >= 0.0).map(|rate| rate * unit)
}

impl Proxy {
    /// Lets a call through that asks for one thing.
    ///
    /// # Errors
    /// As [`Self::admit`].
    pub(in crate::proxy) fn admit_one(
        &self,
        caller: &Caller,
        asked: Asked,
        about: About<'_>,
    ) -> Result<(), Error> {
        self.admit(caller, asked, about, || 1)
    }

    /// Lets a call through, or refuses it before anything is done. Operators are not counted.
    ///
    /// # Errors
    /// [`Error::RateExceeded`] where too much is asked for a second, [`Refusal::QuotaExceeded`] where it is denied.
    pub(in crate::proxy) fn admit(
        &self,
        caller: &Caller,
        asked: Asked,
        about: About<'_>,
        cost: impl FnOnce() -> u64,
    ) -> Result<(), Error> {
        if is_operator(caller) {
            return Ok(());
        }
        self.limits().admit(self.clock().monotonic(), asked, &about, cost)
    }

    /// Lets a call through that asks for several things, or refuses it before anything is done: all of them or none.
    ///
    /// # Errors
    /// As [`Self::admit`].
    pub(in crate::proxy) fn admit_all(&self, caller: &Caller, demands: &[Demand<'_>]) -> Result<(), Error> {
        if is_operator(caller) {
            return Ok(());
        }
        self.limits().admit_all(self.clock().monotonic(), demands)
    }

    /// Learns at once what databases deny, after one of them was altered. What cannot be asked now is asked soon: what was
    /// altered is, whatever becomes of the coordinator meanwhile.
    pub(in crate::proxy) async fn databases_changed(&self) {
        tokio::select! {
            () = self.learn_databases() => {}
            () = self.clock().sleep(PATIENCE) => {}
        }
    }

    async fn learn_databases(&self) {
        if let Err(error) = self.limits().ask_databases(self.coord()).await {
            tracing::debug!(%error, "cannot see what databases deny");
        }
    }

    /// Learns now and then what the limits depend on, until `stop`.
    pub(super) async fn keep_limits(self, stop: CancellationToken) {
        // Rounds until it is asked again how many proxies there are.
        let mut left = 0_u32;
        let keep = async {
            loop {
                self.learn_databases().await;
                left = left.saturating_sub(1);
                if left == 0 && self.limits().matter() {
                    match self.limits().ask_proxies(self.coord()).await {
                        Ok(()) => left = ROUNDS,
                        Err(error) => tracing::debug!(%error, "cannot see how many proxies there are"),
                    }
                }
                self.clock().sleep(EVERY).await;
            }
        };
        tokio::select! {
            () = keep => {}
            () = stop.cancelled() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{DatabaseId, Kinded as _, Timestamp};

    fn limits(rates: impl IntoIterator<Item = (Asked, Rate)>) -> Limits {
        Limits::new(LimitSettings { rates: rates.into_iter().collect(), ..LimitSettings::default() })
    }

    fn database(name: &str, properties: &[(&str, &str)]) -> DatabaseInfo {
        let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        DatabaseInfo {
            id: DatabaseId(1),
            name: name.to_owned(),
            created: Timestamp::ZERO,
            properties: properties.iter().map(pair).collect(),
        }
    }

    /// How many of ten calls at one instant are let through.
    fn of_ten(limits: &Limits, asked: Asked, database: &str) -> usize {
        let ask = || limits.admit(Duration::ZERO, asked, &About::database(database), || 1);
        (0..10).filter(|_| ask().is_ok()).count()
    }

    #[test]
    fn each_database_has_a_rate_and_all_have_one_together() {
        let limits = limits([(Asked::Index, Rate { all: 5.0, database: 3.0, ..Rate::NONE })]);
        limits.learn_databases(&[database("one", &[]), database("two", &[])]);

        assert_eq!(of_ten(&limits, Asked::Index, "one"), 3);
        assert_eq!(of_ten(&limits, Asked::Index, "two"), 2);
        assert_eq!(of_ten(&limits, Asked::Flush, "two"), 10, "what has no rate");
    }

    #[test]
    fn databases_that_are_not_there_have_one_rate_together() {
        let limits = limits([(Asked::Collection, Rate { database: 3.0, ..Rate::NONE })]);
        limits.learn_databases(&[database("one", &[])]);

        let made_up: usize =
            (0..50).map(|number| of_ten(&limits, Asked::Collection, &format!("made up {number}"))).sum();

        assert_eq!((made_up, of_ten(&limits, Asked::Collection, "one")), (3, 3));
    }

    #[test]
    fn all_that_a_call_asks_for_is_let_through_or_none_of_it_is_used_up() {
        let rate = |all: f64| Rate { all, ..Rate::NONE };
        let limits = limits([(Asked::Collection, rate(5.0)), (Asked::Index, rate(1.0))]);
        let ask = |asked: Asked, cost: u64| Demand { asked, about: About::database("one"), cost };
        let both = [ask(Asked::Collection, 1), ask(Asked::Index, 1), ask(Asked::Collection, 1)];

        let admitted = [1, 2, 3].map(|_| limits.admit_all(Duration::ZERO, &both).is_ok());

        assert_eq!(admitted, [true, false, false]);
        assert_eq!(of_ten(&limits, Asked::Collection, "one"), 3);
    }

    #[test]
    fn proxies_share_a_rate_and_a_refusal_names_the_whole() {
        let limits = limits([(Asked::Index, Rate { all: 6.0, ..Rate::NONE })]);
        limits.learn_proxies(3);

        let admitted = of_ten(&limits, Asked::Index, "one");
        let refused = limits.admit(Duration::ZERO, Asked::Index, &About::database("one"), || 1).unwrap_err();

        assert_eq!(admitted, 2);
        assert_eq!((refused.code(), refused.to_string().as_str()), (8, "rate limit exceeded[rate=6]"));
        assert_eq!(refused.kind(), crate::base::Kind::Exhausted);
    }

    #[test]
    fn a_database_denies_what_its_properties_name() {
        let limits = limits([]);
        let all = [
            Asked::Query,
            Asked::Delete,
            Asked::Truncate,
            Asked::Alteration,
            Asked::Partition,
            Asked::Index,
            Asked::Database,
        ];
        let denied = |name: &str| all.map(|asked| of_ten(&limits, asked, name) == 0);

        limits.learn_databases(&[
            database("read", &[("database.force.deny.writing", "true")]),
            database(
                "still",
                &[("database.force.deny.ddl", "True"), ("database.force.deny.reading", "false")],
            ),
            database("fixed", &[("database.force.deny.partitionDDL", "true")]),
        ]);

        assert_eq!(denied("read"), [false, true, true, false, false, false, false]);
        assert_eq!(denied("still"), [false, false, true, true, true, true, false]);
        assert_eq!(denied("fixed"), [false, false, false, false, true, false, false]);
        assert_eq!(denied("other"), [false; 7]);
    }

    #[test]
    fn what_is_switched_off_limits_nothing() {
        let rates = [(Asked::Query, Rate { all: 0.0, ..Rate::NONE })].into();
        let settings = LimitSettings { rates, denies_reads: true, ..LimitSettings::default() };
        let (on, off) =
            (Limits::new(settings.clone()), Limits::new(LimitSettings { enabled: false, ..settings }));

        assert_eq!((of_ten(&on, Asked::Query, "one"), of_ten(&off, Asked::Query, "one")), (0, 10));
    }
}
