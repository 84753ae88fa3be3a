//! The task behind the writer of one channel: it writes what was appended as chunks.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::{FuturesOrdered, FuturesUnordered};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info};

use crate::base::{Kind, Kinded as _};
use crate::log::Error;
use crate::log::queue::{Queue, Waiting};
use crate::log::recent::{Kept, Recent};
use crate::obs::LogMetrics;

use super::boundary::{Boundary, WAYPOINT_EVERY};
use super::chain::{Chain, Verdict, judge};
use super::channel::Channel;
use super::chunk::{Body, FRAMING_BYTES, HEADER_BYTES, Header, What};
use super::flaw::Flaw;
use super::linger::{Bounds, Ready, Traffic, ready, smoothed};
use super::store::{Created, Store};

/// The task behind a writer.
pub(super) struct Writing {
    pub store: Arc<Store>,
    pub recent: Arc<Recent<Chain>>,
    pub channel: Arc<Channel>,
    pub queue: Arc<Queue>,
    pub metrics: LogMetrics,
    /// The chain with this writer's fence.
    pub fence: Chain,
}

/// A chunk under way.
struct Flight {
    batch: Vec<Waiting>,
    body: Arc<Body>,
    header: Header,
    /// The chain before it.
    before: Chain,
}

/// How a chunk's flight ended.
enum Landed {
    /// It is durable, and took this long.
    Durable(Duration),
    /// Its number is taken by a chunk that does not count.
    Stale,
    /// Neither: the writer can promise nothing any more.
    Failed(Error),
}

impl Writing {
    /// Writes what comes in until the writer is dropped, fenced, stopped or broken.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        // However this ends, nobody waits for an answer that cannot come.
        let _closing = Closing(&self);
        let mut chain = self.fence;
        let mut put_time = Duration::ZERO;
        let mut flights = VecDeque::new();
        let mut landing = FuturesOrdered::new();
        // Notes of where the chain is, for whoever opens the channel after us. At most one is under way.
        let (mut noting, mut noted) = (FuturesUnordered::new(), self.fence.sequence / WAYPOINT_EVERY);
        loop {
            if flights.is_empty() {
                // The appenders that the last chunk woke get a chance to be in the next one together.
                tokio::task::yield_now().await;
            }
            if self.queue.closed().is_some() {
                self.queue.settle(flights.into_iter().flat_map(|flight: Flight| flight.batch), Ok(()));
                return Ok(());
            }
            let wait = match self.is_ready(&chain, flights.len(), put_time) {
                Ready::Now => {
                    let flight = self.launch(chain, self.take());
                    chain = chain.with(&flight.header, &self.channel.life);
                    landing.push_back(self.put(flight.header.clone(), flight.body.clone()));
                    flights.push_back(flight);
                    continue;
                }
                Ready::After(wait) => Some(wait),
                Ready::No => None,
            };
            if flights.is_empty() && self.queue.is_finished() {
                return Ok(());
            }
            tokio::select! {
                Some(landed) = landing.next(), if !flights.is_empty() => {
                    let Some(flight) = flights.pop_front() else { continue };
                    match landed {
                        Landed::Durable(took) => {
                            put_time = smoothed(put_time, took);
                            let note = Boundary::waypoint(self.acknowledge(flight));
                            if note.number > noted && noting.is_empty() {
                                noted = note.number;
                                noting.push(self.note(note));
                            }
                        }
                        Landed::Stale if flights.is_empty() => {
                            let after = Chain { sequence: flight.header.sequence, ..flight.before };
                            let again = self.launch_body(after, flight.batch, flight.body);
                            chain = again.before.with(&again.header, &self.channel.life);
                            landing.push_back(self.put(again.header.clone(), again.body.clone()));
                            flights.push_back(again);
                        }
                        // The chunks after it are linked to one that will not be there.
                        Landed::Stale => {
                            let key = self.channel.life.chunk(flight.header.sequence);
                            let why = "its writer keeps to another limit of chunks under way";
                            flights.push_front(flight);
                            self.give_up(flights, Error::DamagedObject { key, why });
                            return Ok(());
                        }
                        Landed::Failed(error) => {
                            flights.push_front(flight);
                            self.give_up(flights, error);
                            return Ok(());
                        }
                    }
                }
                Some(()) = noting.next(), if !noting.is_empty() => {}
                () = self.queue.wake.notified() => {}
                () = self.store.clock.sleep(wait.unwrap_or_default()), if wait.is_some() => {}
                () = stop.cancelled(), if !self.queue.is_refusing() => self.queue.refuse(self.stopped()),
            }
        }
    }

    fn is_ready(&self, chain: &Chain, flying: usize, put_time: Duration) -> Ready {
        let settings = &self.store.settings;
        let traffic = Traffic {
            backlog: self.queue.backlog(),
            flying,
            slots: usize::try_from(chain.slots(settings.pipeline)).unwrap_or(1),
            put_time,
            now: self.store.clock.monotonic(),
        };
        let bounds = Bounds {
            chunk_bytes: settings.max_chunk_bytes,
            linger_min: Duration::from_millis(settings.linger_min_ms),
            linger_max: Duration::from_millis(settings.linger_max_ms),
        };
        ready(traffic, bounds)
    }

    fn take(&self) -> Vec<Waiting> {
        self.queue.take_within(self.store.settings.max_chunk_bytes, FRAMING_BYTES)
    }

    fn launch(&self, chain: Chain, batch: Vec<Waiting>) -> Flight {
        let payloads = batch.iter().map(|waiting| waiting.payload.clone()).collect();
        let flight = self.launch_body(chain, batch, Arc::new(Body::new(payloads)));
        if self.store.flaws.has(Flaw::EarlyAcknowledgement) {
            let Flight { batch, .. } = flight;
            self.queue.settle(batch, Ok(()));
            return Flight { batch: Vec::new(), ..flight };
        }
        flight
    }

    fn launch_body(&self, before: Chain, batch: Vec<Waiting>, body: Arc<Body>) -> Flight {
        let Chain { term, writer, .. } = self.fence;
        let header = before.following(What::Records, term, writer, &body, self.store.clock.unix_ms());
        Flight { batch, body, header, before }
    }

    /// Writes one chunk. That a retry finds the number taken is not yet a failure: the first attempt may have
    /// succeeded without an answer.
    async fn put(&self, header: Header, body: Arc<Body>) -> Landed {
        let life = &self.channel.life;
        let key = life.chunk(header.sequence);
        let began = self.store.clock.monotonic();
        let until = self.store.deadline();
        let object = body.object(&header, life);
        loop {
            match self.store.create(life, &key, object.clone(), until).await {
                Ok(Created::New) => break,
                Ok(Created::Taken) if self.store.flaws.has(Flaw::TakenIsOwn) => break,
                Ok(Created::Taken) => {}
                Err(error) => return Landed::Failed(error),
            }
            let found = match self.store.header(life, header.sequence, until).await {
                Ok(Some(found)) => found,
                // Freed since; the next attempt says whether there is a chunk now.
                Ok(None) => continue,
                Err(error) => return Landed::Failed(error),
            };
            match judge(&found, &header) {
                Verdict::Own => break,
                Verdict::Stale if self.store.flaws.has(Flaw::StaleUnchecked) => return Landed::Stale,
                // If the number was given up, this writer's own chunk may have lain there, counted and been freed
                // before a zombie came.
                Verdict::Stale => {
                    return match self.check_name(&header).await {
                        Ok(()) => Landed::Stale,
                        Err(error) => Landed::Failed(error),
                    };
                }
                Verdict::Removed => return Landed::Failed(self.channel.removed()),
                Verdict::Fenced(seen) => {
                    let channel = life.channel.clone();
                    return Landed::Failed(Error::Fenced { channel, term: header.term, seen });
                }
            }
        }
        let took = self.store.clock.monotonic().saturating_sub(began);
        let has_stalled = took > Duration::from_millis(self.store.settings.stall_limit_ms);
        let is_doubtful = self.fence.is_early(header.sequence) && !self.store.flaws.has(Flaw::EarlyUnchecked);
        if (has_stalled || is_doubtful)
            && let Err(error) = self.check_name(&header).await
        {
            return Landed::Failed(error);
        }
        Landed::Durable(took)
    }

    /// Notes how the chain is behind a chunk that was acknowledged. That is true for ever, and only saves time.
    async fn note(&self, note: Boundary) {
        let life = &self.channel.life;
        let (key, object) = (life.waypoint(note.number), note.encode(life));
        let noted = self.store.create(life, &key, object, self.store.deadline());
        if let Err(error) = noted.await {
            debug!(channel = %life.channel, error = ?error, "a waypoint was not noted");
        }
    }

    /// Fails if the chunk's name had been given up.
    async fn check_name(&self, header: &Header) -> Result<(), Error> {
        let known = self.channel.view.lock().boundary;
        let news = self.store.news(&self.channel.life, known).await?;
        if news.removed {
            return Err(self.channel.removed());
        }
        if news.boundary.has_given_up(header.sequence) {
            return Err(Error::Outlived { key: self.channel.life.chunk(header.sequence) });
        }
        Ok(())
    }

    /// Shows the records of a durable chunk to readers and tells the appenders; gives the chain with it. All chunks before it are
    /// durable.
    fn acknowledge(&self, flight: Flight) -> Chain {
        let Flight { batch, body, header, before } = flight;
        let chain = before.with(&header, &self.channel.life);
        self.metrics.bytes_total.add(HEADER_BYTES as u64 + body.bytes);
        {
            let mut view = self.channel.view.lock();
            let kept = Kept { base: header.base, records: body.payloads().to_vec(), after: chain };
            self.recent.keep(self.channel.id, kept);
            view.learn(chain);
            let now = self.store.clock.monotonic();
            for waiting in &batch {
                self.metrics.append_seconds.observe(now.saturating_sub(waiting.since).as_secs_f64());
            }
            // With the view held: whoever opens the channel in this process closes the queue with the view held.
            self.queue.settle(batch, Ok(()));
        }
        self.channel.changed.send_replace(());
        chain
    }

    /// Acknowledges nothing any more, because of `source`.
    fn give_up(&self, flights: VecDeque<Flight>, source: Error) {
        let channel = self.channel.life.channel.clone();
        let term = self.fence.term;
        let reason = match source.kind() {
            Kind::Fenced | Kind::NotFound => {
                info!(%channel, term, reason = %source, "a log writer was superseded");
                source
            }
            Kind::Invalid
            | Kind::Denied
            | Kind::Exists
            | Kind::Conflict
            | Kind::Exhausted
            | Kind::Unavailable
            | Kind::Corrupt
            | Kind::Internal => {
                error!(%channel, term, error = ?source, "a log write failed; the writer gives up");
                Error::Poisoned { channel, source: Arc::new(source) }
            }
        };
        self.queue.close(reason);
        self.queue.settle(flights.into_iter().flat_map(|flight| flight.batch), Ok(()));
    }

    fn stopped(&self) -> Error {
        Error::Stopped { channel: self.channel.life.channel.clone() }
    }
}

struct Closing<'a>(&'a Writing);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        let Writing { channel, queue, .. } = self.0;
        queue.close(self.0.stopped());
        {
            let mut view = channel.view.lock();
            if view.owner.as_ref().is_some_and(|owner| Arc::ptr_eq(owner, queue)) {
                view.owner = None;
            }
        }
        // Readers go over to polling.
        channel.changed.send_replace(());
    }
}
