//! Reads of a whole collection: one copy of several, its nodes at once, and their parts as one answer.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::{Either, select, try_join_all};

use super::after::read_after;
use super::choose::{Candidate, choose, choose_second};
use super::instant::{at_one_time, is_spread};
use super::memory::Memory;
use super::{Error, Router, passes};
use crate::base::{CollectionId, Kind, Kinded as _, PartitionId, TaskError, Timestamp, heavy};
use crate::plan::{
    self, Aggregates, QueryKind, QueryPlan, QueryRows, SearchHits, SearchPlan, merge_query, merge_search,
};
use crate::rpc::{
    self, Consistency, NodeShare, Querier, ReadAfter, Reader, Refusal, ReplicaRoute, Routes, Share, TimeSpan,
    Writer as _,
};

/// Parts of an answer of groups that take more than this are put together on a thread that may be busy. Unit: bytes.
const INLINE_BYTES: usize = 128 << 10;

/// A kind of read: a search or a query.
#[async_trait]
trait Plan: Clone + Send + Sync + 'static {
    /// What comes back.
    type Answer: Send + 'static;
    /// Its name.
    const CALL: &'static str;

    fn collection(&self) -> CollectionId;

    /// Nothing after this time is seen; [`Timestamp::MAX`] for no bound.
    fn read_at(&self) -> Timestamp;

    /// Only rows of these are seen; `None` for those of all that are loaded.
    fn partitions(&self) -> Option<&[PartitionId]>;

    async fn ask(
        self,
        node: &dyn Querier,
        share: Arc<Share>,
        after: ReadAfter,
    ) -> Result<Self::Answer, rpc::Error>;

    fn merge(&self, parts: Vec<Self::Answer>) -> Result<Self::Answer, plan::Error>;

    /// Whether [`Self::merge`] is more than a thread that serves should do.
    fn is_long_merge(&self, parts: &[Self::Answer]) -> bool;
}

#[async_trait]
impl Plan for SearchPlan {
    type Answer = SearchHits;
    const CALL: &'static str = "search";

    fn collection(&self) -> CollectionId {
        self.collection
    }

    fn read_at(&self) -> Timestamp {
        self.read_at
    }

    fn partitions(&self) -> Option<&[PartitionId]> {
        self.partitions.as_deref()
    }

    async fn ask(
        self,
        node: &dyn Querier,
        share: Arc<Share>,
        after: ReadAfter,
    ) -> Result<SearchHits, rpc::Error> {
        node.search(self, share, after).await
    }

    fn merge(&self, parts: Vec<SearchHits>) -> Result<SearchHits, plan::Error> {
        merge_search(self, parts).map_err(|source| plan::Error::Columns { source })
    }

    fn is_long_merge(&self, _: &[SearchHits]) -> bool {
        false
    }
}

#[async_trait]
impl Plan for QueryPlan {
    type Answer = QueryRows;
    const CALL: &'static str = "query";

    fn collection(&self) -> CollectionId {
        self.collection
    }

    fn read_at(&self) -> Timestamp {
        self.read_at
    }

    fn partitions(&self) -> Option<&[PartitionId]> {
        self.partitions.as_deref()
    }

    async fn ask(
        self,
        node: &dyn Querier,
        share: Arc<Share>,
        after: ReadAfter,
    ) -> Result<QueryRows, rpc::Error> {
        let is_of_groups = matches!(self.kind, QueryKind::Aggregates(_));
        let found = node.query(self, share, after).await?;
        if is_of_groups && !Aggregates::is_answer(&found) {
            // Another copy may know them.
            return Err(rpc::Error::failed(Self::CALL, &Error::NoAggregates));
        }
        Ok(found)
    }

    fn merge(&self, parts: Vec<QueryRows>) -> Result<QueryRows, plan::Error> {
        merge_query(self, parts)
    }

    fn is_long_merge(&self, parts: &[QueryRows]) -> bool {
        let bytes: usize = parts.iter().map(|part| part.rows.memory_bytes()).sum();
        matches!(self.kind, QueryKind::Aggregates(_)) && bytes > INLINE_BYTES
    }
}

/// What is asked of a copy.
#[derive(Debug)]
struct Wish<'a, P> {
    plan: &'a P,
    after: ReadAfter,
    /// When waiting for what must be seen ends (monotonic), if there has been waiting in vain; else a node decides.
    end: Option<Duration>,
}

impl<P> Clone for Wish<'_, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P> Copy for Wish<'_, P> {}

/// A read that went wrong: what was said, and which copies were asked.
struct Missed {
    error: rpc::Error,
    replicas: Vec<i64>,
}

/// What to do about a failed read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Any copy may answer soon, this one as well.
    Again,
    /// Another copy may answer, this one will not.
    Elsewhere,
    /// Every copy would say the same.
    Nothing,
}

fn next(error: &rpc::Error) -> Next {
    match error {
        rpc::Error::Refused(_) => Next::Nothing,
        error if passes(error) => Next::Again,
        error => match error.kind() {
            Kind::Invalid | Kind::Exists => Next::Nothing,
            _ => Next::Elsewhere,
        },
    }
}

impl Router {
    /// What is remembered of a collection.
    pub(super) fn memory(&self, collection: CollectionId) -> Arc<Memory> {
        self.memories.of(collection, self.now().minus_ms(self.parts.settings.graceful_ms))
    }

    fn now(&self) -> Timestamp {
        self.parts.time.now()
    }

    /// Asks copy after copy until one answers as a whole. Fresh routes are asked for when those in hand turn out to be
    /// old or all their copies have failed; a copy that failed is asked again only after the others, and a pause.
    ///
    /// Waiting, be it for routes, a copy or writes, takes twice the deadline at most: whoever waited in vain for as long as
    /// one copy waits deserves a second try. Reading itself takes as long as it takes.
    async fn read<P: Plan>(&self, plan: P, consistency: Consistency) -> Result<P::Answer, rpc::Error> {
        let collection = plan.collection();
        let _reading = self.parts.cache.as_ref().map(|cache| cache.reading());
        let memory = self.memory(collection);
        let graceful_ms = self.parts.settings.graceful_ms;
        let after = read_after(consistency, self.now(), graceful_ms, memory.newest());
        let mut patience = self.patience(self.parts.settings.read_deadline_ms);
        let began = self.parts.clock.monotonic();
        // When waiting for writes to be seen ends, once something has failed.
        let mut end = None;
        let (mut seen, mut tried): (Option<Arc<Routes>>, Vec<i64>) = (None, Vec::new());
        let brief = Duration::from_millis(self.parts.settings.fresh_ms);
        let mut long = 10 * brief;
        let mut routes = self.readable(P::CALL, collection, &mut patience, &mut seen, brief).await?;
        loop {
            // Copies that do not have all that is read, while some of it is being loaded.
            let short = short_of(&routes, plan.partitions());
            tried.extend(&short);
            let missed = match self.choose(&routes, &tried, &memory) {
                Some(first) => {
                    let wish = Wish { plan: &plan, after, end };
                    match self.ask_one_or_two(wish, &routes, (first, &short), &memory).await {
                        Ok(answer) => return Ok(answer),
                        Err(missed) => missed,
                    }
                }
                None => {
                    let missing = Error::NoReplica { collection, harm: routes.harm.clone() };
                    let error = rpc::Error::failed(P::CALL, &missing);
                    Missed { error, replicas: Vec::new() }
                }
            };
            tried.extend(missed.replicas);
            let now = self.parts.clock.monotonic();
            let end = *end.get_or_insert_with(|| {
                let limit = Duration::from_millis(self.parts.settings.read_deadline_ms);
                (began + 2 * limit).max(now + limit)
            });
            if now >= end {
                return Err(missed.error);
            }
            let is_another_left = routes.replicas.iter().any(|replica| is_open(replica, &tried));
            match next(&missed.error) {
                Next::Nothing => return Err(missed.error),
                Next::Elsewhere if !is_another_left => return Err(missed.error),
                // The routes are good, as far as we know: on to the next copy without asking anybody.
                Next::Elsewhere => continue,
                Next::Again if is_another_left && !missed.error.is_stale() => continue,
                Next::Again => {}
            }
            let version = routes.version;
            seen = Some(routes);
            let wait = if is_another_left { brief } else { long.min(end.saturating_sub(now)) };
            routes = self.readable(P::CALL, collection, &mut patience, &mut seen, wait).await?;
            if routes.version == version && !is_another_left {
                // A coordinator that is slow rather than away must be heard out in the end.
                long *= 2;
                self.pause(&mut patience, missed.error).await?;
                tried.clear();
            }
            if routes.version != version {
                tried.clear();
            }
        }
    }

    /// Routes of a collection that is to be loaded; fresh ones if some were `seen`.
    async fn readable(
        &self,
        call: &'static str,
        collection: CollectionId,
        patience: &mut super::Patience,
        seen: &mut Option<Arc<Routes>>,
        wait: Duration,
    ) -> Result<Arc<Routes>, rpc::Error> {
        loop {
            match self.routes_to_read(collection, seen.as_ref(), wait).await {
                Ok(routes) if routes.wanted => return Ok(routes),
                // It may have been loaded by way of another proxy a moment ago.
                Ok(routes) if self.parts.cache.is_some() && seen.is_none() => *seen = Some(routes),
                Ok(_) => {
                    return Err(Refusal::CollectionNotLoaded { collection: collection.to_string() }.into());
                }
                Err(error) if passes(&error) => {
                    tracing::debug!(call, %collection, "no routes");
                    self.pause(patience, error).await?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn candidates(&self, routes: &Routes, tried: &[i64]) -> Vec<Candidate> {
        let now = self.parts.clock.monotonic();
        let nodes = routes.replicas.iter().flat_map(|replica| &replica.nodes);
        let known: Vec<f64> =
            nodes.filter_map(|part| self.board.node(part.place.node).latency_ms(now)).collect();
        // A node that never answered is taken for an average one.
        let usual_ms = if known.is_empty() { 1.0 } else { known.iter().sum::<f64>() / known.len() as f64 };
        let candidate = |replica: &ReplicaRoute| {
            let zone = &self.parts.settings.zone;
            let near = !zone.is_empty() && replica.zone == *zone;
            let tried = !is_open(replica, tried);
            let mut candidate = Candidate { score: 0.0, avoided: false, tried, near };
            for part in &replica.nodes {
                let node = self.board.node(part.place.node);
                // A floor, so that questions under way count where answers take no time at all.
                let latency_ms = node.latency_ms(now).unwrap_or(usual_ms) + 0.05;
                candidate.score = candidate.score.max(latency_ms * f64::from(node.asked() + 1));
                candidate.avoided |= self.board.is_avoided(&node, now);
            }
            candidate
        };
        routes.replicas.iter().map(candidate).collect()
    }

    /// The copy to ask, as its place in `routes`.
    fn choose(&self, routes: &Routes, tried: &[i64], memory: &Memory) -> Option<usize> {
        if let [only] = routes.replicas.as_slice() {
            return is_open(only, tried).then_some(0);
        }
        let (policy, rng) = (self.parts.settings.policy, self.parts.rng.as_ref());
        choose(policy, &self.candidates(routes, tried), memory.turn(), rng)
    }

    /// Asks the copy at `first`, and a second one if that takes longer than most and one is there; the first good answer
    /// wins.
    async fn ask_one_or_two<P: Plan>(
        &self,
        wish: Wish<'_, P>,
        routes: &Routes,
        (first, short): (usize, &[i64]),
        memory: &Memory,
    ) -> Result<P::Answer, Missed> {
        let replica = &routes.replicas[first];
        let missed = |error| Missed { error, replicas: vec![replica.id] };
        if routes.replicas.len() < 2 {
            return self.ask_replica(wish, replica).await.map_err(missed);
        }
        let started = self.parts.clock.monotonic();
        let least = Duration::from_millis(self.parts.settings.hedge_after_ms);
        let limit = {
            let mut pace = memory.pace.lock();
            pace.begin(self.parts.settings.hedge_percent);
            pace.limit(least)
        };
        let one = Box::pin(self.ask_replica(wish, replica));
        let outcome = match limit {
            None => one.await.map_err(missed),
            Some(limit) => match select(one, self.parts.clock.sleep(limit)).await {
                Either::Left((outcome, _)) => outcome.map_err(missed),
                Either::Right(((), one)) => match self.second(routes, (first, short), memory) {
                    None => one.await.map_err(missed),
                    Some(second) => {
                        let other = Box::pin(self.ask_replica(wish, second));
                        first_good(one, replica.id, other, second.id).await
                    }
                },
            },
        };
        if outcome.is_ok() {
            let took = self.parts.clock.monotonic().saturating_sub(started);
            memory.pace.lock().took(took);
        }
        outcome
    }

    /// A second copy, if one works and asking it is within the budget.
    fn second<'a>(
        &self,
        routes: &'a Routes,
        (first, short): (usize, &[i64]),
        memory: &Memory,
    ) -> Option<&'a ReplicaRoute> {
        let (policy, rng) = (self.parts.settings.policy, self.parts.rng.as_ref());
        let second = choose_second(policy, &self.candidates(routes, short), first, rng)?;
        memory.pace.lock().spend().then(|| &routes.replicas[second])
    }

    /// Asks all nodes of one copy at once: every part, or none.
    ///
    /// Where nodes have parts of one channel, all of them read it at one time: they say first which times they can read
    /// at, and that is also where the waiting for writes is done. So it is where the waiting has an end.
    async fn ask_replica<P: Plan>(
        &self,
        wish: Wish<'_, P>,
        replica: &ReplicaRoute,
    ) -> Result<P::Answer, rpc::Error> {
        let Wish { plan, after, end } = wish;
        let nodes = replica.nodes.as_slice();
        let waits_apart = end.is_some() && after != ReadAfter::Nothing;
        if let [only] = nodes
            && !waits_apart
        {
            return self.ask_node(plan, after, only).await;
        }
        // A read that is bound to a time has its one time already.
        let is_free = plan.read_at() == Timestamp::MAX;
        let spans = if waits_apart || (is_free && is_spread(nodes)) {
            Some(self.spans(wish, nodes).await?)
        } else {
            None
        };
        let parts = match spans {
            Some(spans) if is_free => {
                let Some(timed) = at_one_time(nodes, &spans) else {
                    return Err(rpc::Error::failed(P::CALL, &Error::Times { collection: plan.collection() }));
                };
                try_join_all(timed.iter().map(|part| self.ask_node(plan, ReadAfter::Nothing, part))).await?
            }
            _ => try_join_all(nodes.iter().map(|part| self.ask_node(plan, after, part))).await?,
        };
        self::merge(plan, parts).await
    }

    /// The times that each of `nodes` can read its part at, once all of them have reached what must be seen.
    async fn spans<P: Plan>(
        &self,
        Wish { plan, after, end }: Wish<'_, P>,
        nodes: &[NodeShare],
    ) -> Result<Vec<Vec<TimeSpan>>, rpc::Error> {
        let collection = plan.collection();
        let spans = try_join_all(nodes.iter().map(|part| self.reach(collection, after, part)));
        let Some(end) = end else { return spans.await };
        let left = end.saturating_sub(self.parts.clock.monotonic());
        tokio::select! {
            biased;
            spans = spans => spans,
            () = self.parts.clock.sleep(left) => Err(rpc::Error::failed(P::CALL, &Error::Behind { collection })),
        }
    }

    /// The times that a node can read its part at.
    async fn reach(
        &self,
        collection: CollectionId,
        after: ReadAfter,
        part: &NodeShare,
    ) -> Result<Vec<TimeSpan>, rpc::Error> {
        let node = self.board.node(part.place.node);
        let asked = node.ask();
        let querier = self.parts.dial.querier(&part.place.address);
        let outcome = querier.reach(collection, Arc::clone(&part.share), after).await;
        drop(asked);
        // How fast the node is shows in the read that follows.
        if let Err(error) = &outcome
            && !error.is_stale()
            && passes(error)
        {
            node.failed(self.parts.clock.monotonic());
        }
        outcome
    }

    async fn ask_node<P: Plan>(
        &self,
        plan: &P,
        after: ReadAfter,
        part: &NodeShare,
    ) -> Result<P::Answer, rpc::Error> {
        let node = self.board.node(part.place.node);
        let started = self.parts.clock.monotonic();
        let asked = node.ask();
        let querier = self.parts.dial.querier(&part.place.address);
        // The plan itself is kept: a node may turn out not to hold its share any more.
        let outcome = plan.clone().ask(querier.as_ref(), Arc::clone(&part.share), after).await;
        drop(asked);
        let now = self.parts.clock.monotonic();
        match &outcome {
            Ok(_) => node.answered(now.saturating_sub(started), now),
            Err(error) if !error.is_stale() && passes(error) => node.failed(now),
            Err(_) => {}
        }
        outcome
    }
}

/// The copies that do not have all of what a read is of: `partitions`, or all that can be read.
fn short_of(routes: &Routes, partitions: Option<&[PartitionId]>) -> Vec<i64> {
    let needed = routes.needed(partitions);
    let is_short = |replica: &&ReplicaRoute| !replica.covers(needed.as_deref());
    routes.replicas.iter().filter(is_short).map(|replica| replica.id).collect()
}

/// Whether a copy can be asked: it has nodes, and this read has not failed there.
fn is_open(replica: &ReplicaRoute, tried: &[i64]) -> bool {
    !replica.nodes.is_empty() && !tried.contains(&replica.id)
}

/// One answer of its parts.
async fn merge<P: Plan>(plan: &P, parts: Vec<P::Answer>) -> Result<P::Answer, rpc::Error> {
    let collection = plan.collection();
    let merged = if plan.is_long_merge(&parts) {
        let inner = plan.clone();
        let broke = |error: TaskError| rpc::Error::Failed {
            call: P::CALL,
            kind: Kind::Internal,
            reason: error.to_string(),
        };
        heavy("merge", move || inner.merge(parts)).await.map_err(broke)?
    } else {
        plan.merge(parts)
    };
    merged.map_err(|source| match source.kind() {
        Kind::Invalid => Refusal::BadSearch { text: source.to_string() }.into(),
        _ => rpc::Error::failed(P::CALL, &Error::Merge { collection, source }),
    })
}

/// The first good answer of two, or the first that every copy would give.
async fn first_good<T>(
    one: impl Future<Output = Result<T, rpc::Error>> + Unpin,
    one_id: i64,
    other: impl Future<Output = Result<T, rpc::Error>> + Unpin,
    other_id: i64,
) -> Result<T, Missed> {
    let both = || vec![one_id, other_id];
    let (earlier, later) = match select(one, other).await {
        Either::Left((outcome, other)) => (outcome, Either::Left(other)),
        Either::Right((outcome, one)) => (outcome, Either::Right(one)),
    };
    match earlier {
        Err(error) if next(&error) != Next::Nothing => {
            later.await.map_err(|error| Missed { error, replicas: both() })
        }
        outcome => outcome.map_err(|error| Missed { error, replicas: both() }),
    }
}

#[async_trait]
impl Reader for Router {
    async fn search(&self, plan: SearchPlan, consistency: Consistency) -> Result<SearchHits, rpc::Error> {
        self.read(plan, consistency).await
    }

    async fn query(&self, plan: QueryPlan, consistency: Consistency) -> Result<QueryRows, rpc::Error> {
        self.read(plan, consistency).await
    }

    async fn pin(&self, collection: CollectionId) -> Result<Timestamp, rpc::Error> {
        let mut patience = self.patience(self.parts.settings.read_deadline_ms);
        let routes = loop {
            match self.routes(collection, None).await {
                Ok(routes) => break routes,
                Err(error) if passes(&error) => self.pause(&mut patience, error).await?,
                Err(error) => return Err(error),
            }
        };
        let marks = try_join_all(routes.owners.iter().map(|owner| self.mark(&owner.channel))).await?;
        let newest = marks.into_iter().map(|mark| mark.at).max();
        newest.ok_or_else(|| rpc::Error::failed("pin", &Error::NoReplica { collection, harm: None }))
    }
}
