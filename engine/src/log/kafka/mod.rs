//! The log on Kafka: one topic with one partition per channel, one transactional id per channel as the fence.
//!
//! A writer that opens a channel takes the channel's transactional id, which shuts every older producer out for ever
//! and ends what those had begun; then it reads the end and writes its term in its first transaction. Each group of
//! appends is one transaction, acknowledged once it is committed on all in-sync replicas and readers can see it; the
//! next group collects meanwhile. Readers see committed messages only.
//!
//! Offsets have gaps (transactions leave marks), positions have none: each message carries its position, and a reader
//! that begins in the middle looks for the offset by halving. What tells the term and the next position is the last
//! record, the note that a writer leaves when it opens, or the note that a truncation of everything leaves; one of
//! them is always kept.
//!
//! Truncation deletes the topic's beginning. Brokers remember that beginning durably a while later (a minute unless
//! changed), so records given up may be readable again after a broker's crash, until the next truncation.
//!
//! Not promised: that a lower term never disturbs. One that looked before the greater term was written takes the
//! transactional id away from it and only then finds that it has lost. Then neither acknowledges anything, and
//! opening with a greater term still settles it. A term that was lower when it looked disturbs nobody.

mod channel;
mod cluster;
mod codec;
#[cfg(any(test, feature = "fuzz"))]
pub(super) mod fuzz;
mod names;
mod probe;
mod reader;
mod sequence;
mod settings;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;
use tracing::info;

use crate::base::{ChannelName, Clock, TaskSet};
use crate::obs::LogMetrics;

use super::error::{Doing, Error};
use super::queue::{Queue, Writer};
use super::{LogReader, LogWriter, Logs, Position, check_name};
use channel::Channel;
use cluster::{Cluster, Deadline, PAUSE};
use codec::{Header, Kind};
use probe::Tail;
use reader::{Begin, Reader};
pub use settings::KafkaSettings;
use writer::{Failure, Transactions, Writing};

/// Logs on a Kafka cluster, which other processes may use too.
///
/// After a failed write the writer is poisoned, since the group may have been committed or not; opening the channel
/// again with a greater term settles which.
///
/// Certificates: files that changed are read by every call that begins after the change, and by readers that lose
/// their connection. A writer keeps what it had when its channel was opened; once that is refused on a new connection,
/// the writer is poisoned and opening again reads the files.
pub struct KafkaLogs {
    cluster: Arc<Cluster>,
    tasks: TaskSet,
    metrics: LogMetrics,
    channels: Mutex<BTreeMap<ChannelName, Arc<Channel>>>,
}

type Owner = OwnedMutexGuard<Option<Arc<Queue>>>;

/// A channel that was taken over.
struct Taken {
    transactions: Transactions,
    /// The next position.
    next: u64,
}

impl KafkaLogs {
    /// The logs on the cluster of `settings`. Writing tasks run in `tasks`: told to stop, they write what waits and
    /// end.
    ///
    /// # Errors
    /// Kind `Invalid` if the settings cannot be right, `Unavailable` if Kafka does not answer in time, `Denied`.
    pub async fn connect(
        settings: KafkaSettings,
        tasks: TaskSet,
        clock: Arc<dyn Clock>,
        metrics: LogMetrics,
    ) -> Result<Arc<Self>, Error> {
        let cluster = Cluster::new(settings, clock);
        let logs = Self { cluster, tasks, metrics, channels: Mutex::default() };
        logs.channels().await?;
        Ok(Arc::new(logs))
    }

    fn channel(&self, name: &ChannelName) -> Result<Arc<Channel>, Error> {
        check_name(name)?;
        let mut channels = self.channels.lock();
        if let Some(channel) = channels.get(name) {
            return Ok(channel.clone());
        }
        let channel = Channel::new(&self.cluster.settings.topic_prefix, name)?;
        channels.insert(name.clone(), channel.clone());
        Ok(channel)
    }

    /// The channel of this name and the place of its writer, held.
    async fn hold(&self, name: &ChannelName) -> Result<(Arc<Channel>, Owner), Error> {
        loop {
            let channel = self.channel(name)?;
            let owner = channel.owner.clone().lock_owned().await;
            // If it was removed while this call waited, the name stands for a new channel by now.
            if !channel.is_removed() {
                return Ok((channel, owner));
            }
        }
    }

    async fn tail(&self, channel: &Channel, deadline: &Deadline) -> Result<Option<Tail>, Error> {
        let (crc, deadline) = (channel.crc, deadline.clone());
        self.cluster.probing(move |probe| probe.tail(crc, &deadline)).await
    }

    /// Shuts older writers out and makes `term` the channel's, durably. `None` if another one came in between.
    async fn take_over(
        &self,
        channel: &Arc<Channel>,
        term: u64,
        deadline: &Deadline,
    ) -> Result<Option<Taken>, Error> {
        let (channel, deadline) = (channel.clone(), deadline.clone());
        let work = move |cluster: &Arc<Cluster>| {
            let transactions = match Transactions::begin(cluster, &deadline) {
                Ok(transactions) => transactions,
                Err(Failure::Fenced) => return Ok(None),
                Err(Failure::Broken(error)) => return Err(error),
            };
            // Read after the fence: nothing of an older writer comes after this end.
            let Some(tail) = cluster.probe(|probe| probe.tail(channel.crc, &deadline))? else {
                return Ok(None);
            };
            check_term(&channel, tail.term, term)?;
            let opened = Header::note(Kind::Opened, term, tail.next).message(channel.crc, Bytes::new());
            match transactions.commit(&[opened], &deadline) {
                Ok((_, last)) => transactions.wait_for(last, &deadline)?,
                Err(Failure::Fenced) => return Ok(None),
                Err(Failure::Broken(error)) => return Err(error),
            }
            Ok(Some(Taken { transactions, next: tail.next }))
        };
        self.cluster.blocking(work).await
    }

    /// Starts the task of a new writer and gives its handle.
    fn start_writer(&self, channel: Arc<Channel>, queue: Arc<Queue>, taken: Taken) -> Arc<dyn LogWriter> {
        let Taken { transactions, next } = taken;
        let writing = Writing {
            cluster: self.cluster.clone(),
            channel,
            queue: queue.clone(),
            transactions: Arc::new(transactions),
            metrics: self.metrics.clone(),
            next,
        };
        self.tasks.start("log writer", |stop| writing.run(stop));
        Arc::new(Writer { queue, clock: self.cluster.clock.clone() })
    }
}

/// Whether `term` may open a channel whose highest term is `seen`.
fn check_term(channel: &Channel, seen: Option<u64>, term: u64) -> Result<(), Error> {
    match seen {
        Some(seen) if seen >= term => Err(Error::Fenced { channel: channel.name.clone(), term, seen }),
        Some(_) | None => Ok(()),
    }
}

#[async_trait]
impl Logs for KafkaLogs {
    async fn open(&self, channel: &ChannelName, term: u64) -> Result<Arc<dyn LogWriter>, Error> {
        let (channel, mut owner) = self.hold(channel).await?;
        let deadline = self.cluster.changing(Doing::Fence, &channel.topic);
        let taken = loop {
            // Looked at first without a fence, so that a term that lost long ago disturbs nobody.
            match self.tail(&channel, &deadline).await? {
                None => {
                    self.cluster.create(&deadline).await?;
                    channel.renew();
                    continue;
                }
                Some(tail) => check_term(&channel, tail.term, term)?,
            }
            match self.take_over(&channel, term, &deadline).await? {
                Some(taken) => break taken,
                None => self.cluster.clock.sleep(PAUSE.min(deadline.left()?)).await,
            }
        };
        let (name, next) = (channel.name.clone(), taken.next);
        if let Some(owner) = owner.take() {
            owner.close(Error::Fenced { channel: name.clone(), term: owner.term, seen: term });
        }
        let queue = Arc::new(Queue::new(name, term, next, self.cluster.settings.queue_bytes));
        *owner = Some(queue.clone());
        channel.changed.send_replace(());
        info!(channel = %channel.name, term, next, "log channel opened");
        Ok(self.start_writer(channel.clone(), queue, taken))
    }

    async fn read(&self, channel: &ChannelName, from: Position) -> Result<Box<dyn LogReader>, Error> {
        let channel = self.channel(channel)?;
        channel.check(from.0)?;
        let deadline = self.cluster.reading(&channel.topic);
        let looking = channel.clone();
        let begin = self.cluster.probing(move |probe| {
            let (crc, name) = (looking.crc, &looking.name);
            let ahead = |next| Error::Ahead { channel: name.clone(), position: from, next: Position(next) };
            let Some(tail) = probe.tail(crc, &deadline)? else {
                return if from == Position::FIRST { Ok(Begin::Unopened) } else { Err(ahead(0)) };
            };
            if from.0 > tail.next {
                return Err(ahead(tail.next));
            }
            if from.0 == tail.next {
                return Ok(Begin::At(tail.high));
            }
            let first = probe.first(crc, &tail, &deadline)?;
            if from.0 < first {
                return Err(looking.truncated(from.0, first));
            }
            probe.near(crc, from.0, &tail, looking.known(from.0), &deadline).map(Begin::At)
        });
        let begin = begin.await?;
        Ok(Box::new(Reader::new(self.cluster.clone(), channel, from, begin)))
    }

    async fn truncate(&self, channel: &ChannelName, before: Position) -> Result<(), Error> {
        let (channel, _owner) = self.hold(channel).await?;
        let deadline = self.cluster.changing(Doing::Truncate, &channel.topic);
        let (looking, asked) = (channel.clone(), deadline.clone());
        let looked = self.cluster.probing(move |probe| {
            let crc = looking.crc;
            let Some(tail) = probe.tail(crc, &asked)? else { return Ok(None) };
            let first = probe.first(crc, &tail, &asked)?.max(looking.first());
            if before.0 <= first || first == tail.next {
                return Ok(None);
            }
            if before.0 >= tail.next {
                return Ok(Some((tail, tail.high)));
            }
            let near = probe.near(crc, before.0, &tail, looking.known(before.0), &asked)?;
            let exact = probe.exact(crc, before.0, near, &asked)?;
            let why = "a record is missing";
            let missing = Error::DamagedTopic { topic: looking.topic.to_string(), offset: near, why };
            exact.map(|offset| Some((tail, offset))).ok_or(missing)
        });
        let Some((tail, offset)) = looked.await? else { return Ok(()) };
        if before.0 >= tail.next {
            // Nothing else may be left that tells where to go on. What a writer appends meanwhile stays: only what
            // lies before the end that was looked at goes.
            let kept = Header::note(Kind::Kept, tail.term.unwrap_or(0), tail.next);
            self.cluster.note(&deadline, kept.message(channel.crc, Bytes::new())).await?;
        }
        self.cluster.give_up(&deadline, offset).await?;
        channel.give_up(before.0.min(tail.next));
        Ok(())
    }

    async fn remove(&self, channel: &ChannelName) -> Result<(), Error> {
        let (channel, mut owner) = self.hold(channel).await?;
        let deadline = self.cluster.changing(Doing::Remove, &channel.topic);
        let fence = deadline.clone();
        let is_there = self.cluster.blocking(move |cluster| {
            if cluster.probe(|probe| probe.presence(&fence))? == cluster::Presence::Absent {
                return Ok(false);
            }
            // No writer may go on in a topic of this name that comes later.
            loop {
                match Transactions::begin(cluster, &fence) {
                    Ok(_) => return Ok(true),
                    Err(Failure::Fenced) => fence.pause()?,
                    Err(Failure::Broken(error)) => return Err(error),
                }
            }
        });
        let is_there = is_there.await?;
        if let Some(owner) = owner.take() {
            owner.close(Error::Removed { channel: channel.name.clone() });
        }
        if is_there {
            self.cluster.delete(&deadline).await?;
        }
        channel.remove();
        self.channels.lock().remove(&channel.name);
        Ok(())
    }

    async fn channels(&self) -> Result<Vec<ChannelName>, Error> {
        let prefix = self.cluster.settings.topic_prefix.clone();
        let deadline = self.cluster.reading(&format!("{prefix}-*").into());
        self.cluster.probing(move |probe| probe.channels(&prefix, &deadline)).await
    }
}
