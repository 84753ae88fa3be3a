//! The task behind the writer of one channel: it writes what was appended in transactions.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord, Producer as _};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::base::ChannelName;
use crate::log::Error;
use crate::log::error::Doing;
use crate::log::queue::{Queue, Waiting};
use crate::obs::LogMetrics;

use super::channel::Channel;
use super::cluster::{Client, Cluster, Context, Deadline};
use super::codec::{HEADER_BYTES, Message, cut};
use super::probe::is_out_of_range;

/// How long an open transaction that cannot be committed is tried to be aborted. The next writer does it otherwise.
const ABORT_LIMIT: Duration = Duration::from_secs(3);

/// How long to wait before asking again whether a commit can be seen.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Why a transaction was not committed, or perhaps was.
pub(super) enum Failure {
    /// A newer producer has the channel's transactional id.
    Fenced,
    /// Anything else; whether it was committed is open.
    Broken(Error),
}

/// The transactions of one writer. Everything here blocks.
pub(super) struct Transactions {
    producer: Client<FutureProducer<Context>>,
}

impl Transactions {
    /// Shuts every older producer of this topic out; what those had begun is aborted, what they had committed can be
    /// seen by everybody from then on.
    pub fn begin(cluster: &Cluster, deadline: &Deadline) -> Result<Self, Failure> {
        let made = cluster.producer(&deadline.topic);
        let producer = made.map_err(|source| Failure::Broken(deadline.failed(source)))?;
        let begun = Self { producer };
        loop {
            match begun.producer.init_transactions(deadline.left().map_err(Failure::Broken)?) {
                Ok(()) => return Ok(begun),
                Err(error) => begun.again(error, deadline)?,
            }
        }
    }

    /// Writes `messages` as one: the offsets of the first and of the last. They are durable then.
    pub fn commit(&self, messages: &[Message], deadline: &Deadline) -> Result<(i64, i64), Failure> {
        self.producer.begin_transaction().map_err(|error| self.failure(error, deadline))?;
        let mut deliveries = Vec::with_capacity(messages.len());
        for message in messages {
            let record = FutureRecord::to(&deadline.topic)
                .partition(0)
                .key(&message.header[..])
                .payload(&message.payload[..]);
            let sent = self.producer.send_result(record);
            deliveries.push(sent.map_err(|(error, _)| self.failure(error, deadline))?);
        }
        let (offsets, undelivered) =
            self.wait_for_deliveries(deliveries, deadline).map_err(Failure::Broken)?;
        loop {
            match self.producer.commit_transaction(deadline.left().map_err(Failure::Broken)?) {
                Ok(()) => return Ok(offsets),
                Err(error) => {
                    self.again(error, deadline).map_err(|failure| match (failure, &undelivered) {
                        // That a message was not delivered says more than that the transaction failed therefore.
                        (Failure::Broken(_), Some(error)) => Failure::Broken(deadline.failed(error.clone())),
                        (failure, _) => failure,
                    })?
                }
            }
        }
    }

    /// Waits until Kafka has told of every message: the offsets of the first and of the last, and why one was not
    /// delivered, if so. The client's own wait in a commit would take 100 ms.
    fn wait_for_deliveries(
        &self,
        deliveries: Vec<DeliveryFuture>,
        deadline: &Deadline,
    ) -> Result<((i64, i64), Option<KafkaError>), Error> {
        let (mut first, mut last, mut undelivered) = (None, 0, None);
        for delivery in deliveries {
            match deadline.wait_for(delivery)? {
                Ok(Ok(delivered)) => {
                    first.get_or_insert(delivered.offset);
                    last = delivered.offset;
                }
                Ok(Err((error, _))) => undelivered = undelivered.or(Some(error)),
                Err(_) => undelivered = undelivered.or(Some(KafkaError::Canceled)),
            }
        }
        // The thread that told us lets the messages go right after.
        while self.producer.in_flight_count() > 0 {
            deadline.pause_for(LOOK_AGAIN)?;
        }
        Ok(((first.unwrap_or(last), last), undelivered))
    }

    /// Waits until every reader can see the committed message at `offset`: brokers finish a commit in the background.
    pub fn wait_for(&self, offset: i64, deadline: &Deadline) -> Result<(), Error> {
        loop {
            let asked = self.producer.client().fetch_watermarks(&deadline.topic, 0, deadline.left()?);
            match deadline.tried(asked)? {
                Some((_, stable)) if stable > offset => return Ok(()),
                Some(_) | None => deadline.pause_for(LOOK_AGAIN)?,
            }
        }
    }

    /// Waits for another try if that makes sense.
    fn again(&self, error: KafkaError, deadline: &Deadline) -> Result<(), Failure> {
        match &error {
            KafkaError::Transaction(cause) if cause.is_retriable() => {
                deadline.pause().map_err(|_| self.failure(error, deadline))
            }
            _ => Err(self.failure(error, deadline)),
        }
    }

    fn failure(&self, error: KafkaError, deadline: &Deadline) -> Failure {
        let fatal = self.producer.client().fatal_error().map(|(code, _)| code);
        if [error.rdkafka_error_code(), fatal].into_iter().flatten().any(is_fence) {
            return Failure::Fenced;
        }
        if matches!(&error, KafkaError::Transaction(cause) if cause.txn_requires_abort()) {
            // Readers need not wait for the next writer then.
            if let Err(error) = self.producer.abort_transaction(ABORT_LIMIT) {
                warn!(topic = %deadline.topic, %error, "a failed transaction stays open until the next writer comes");
            }
        }
        Failure::Broken(deadline.failed(error))
    }
}

fn is_fence(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::Fenced | RDKafkaErrorCode::ProducerFenced | RDKafkaErrorCode::InvalidProducerEpoch
    )
}

/// The task behind a writer.
pub(super) struct Writing {
    pub cluster: Arc<Cluster>,
    pub channel: Arc<Channel>,
    pub queue: Arc<Queue>,
    pub transactions: Arc<Transactions>,
    pub metrics: LogMetrics,
    /// Position of the next record to be written.
    pub next: u64,
}

impl Writing {
    /// Writes what comes in until the writer is dropped, fenced, stopped or broken.
    pub async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        // However this ends, nobody waits for an answer that cannot come.
        let _closing = Closing { queue: self.queue.clone(), channel: self.channel.name.clone() };
        loop {
            // The appenders that the last group woke get a chance to be in the next one together.
            tokio::task::yield_now().await;
            let batch = self.queue.take(self.cluster.settings.batch_bytes.max(1));
            if !batch.is_empty() {
                self.write(batch).await;
            } else if self.queue.is_finished() {
                return Ok(());
            } else {
                tokio::select! {
                    () = self.queue.wake.notified() => {}
                    () = stop.cancelled() => self.queue.refuse(self.stopped()),
                }
            }
        }
    }

    /// Writes one group and tells its appenders.
    async fn write(&mut self, batch: Vec<Waiting>) {
        if self.queue.closed().is_some() {
            return self.queue.settle(batch, Ok(()));
        }
        match self.commit(&batch).await {
            Ok(written_bytes) => {
                self.next += batch.len() as u64;
                self.metrics.bytes_total.add(written_bytes);
                let now = self.cluster.clock.monotonic();
                for waiting in &batch {
                    self.metrics.append_seconds.observe(now.saturating_sub(waiting.since).as_secs_f64());
                }
                self.queue.settle(batch, Ok(()));
            }
            Err(reason) => {
                self.queue.close(reason);
                self.queue.settle(batch, Ok(()));
            }
        }
    }

    /// Commits one group; on failure, why this writer ends. Returns how many bytes were written.
    async fn commit(&self, batch: &[Waiting]) -> Result<u64, Error> {
        let deadline = self.cluster.changing(Doing::Append, &self.channel.topic);
        let (crc, term, next) = (self.channel.crc, self.queue.term, self.next);
        let payloads = batch.iter().map(|waiting| waiting.payload.clone()).collect::<Vec<_>>();
        let transactions = self.transactions.clone();
        let committed = self.cluster.blocking(move |_| {
            let records = (next..).zip(&payloads);
            let messages =
                records.flat_map(|(position, payload)| cut(crc, term, position, payload)).collect::<Vec<_>>();
            let written = messages.iter().map(|message| HEADER_BYTES + message.payload.len()).sum::<usize>();
            let (first, last) = match transactions.commit(&messages, &deadline) {
                Ok(offsets) => offsets,
                Err(Failure::Fenced) => return Ok(None),
                Err(Failure::Broken(error)) => return Err(error),
            };
            if let Err(error) = transactions.wait_for(last, &deadline) {
                // It is committed all the same, so it is acknowledged.
                warn!(topic = %deadline.topic, %error, "whether a commit can be seen yet is not known");
            }
            Ok(Some((first, written as u64)))
        });
        match committed.await {
            Ok(Some((first, written))) => {
                self.channel.remember(next, first);
                Ok(written)
            }
            Ok(None) => Err(self.fenced().await),
            // A client waits for a topic that was removed until its deadline, and then only says so.
            Err(source) if is_out_of_range(&source) || matches!(source, Error::KafkaTimeout { .. }) => {
                match self.fenced().await {
                    Error::Fenced { .. } => Err(self.poisoned(source)),
                    removed => Err(removed),
                }
            }
            Err(source) => Err(self.poisoned(source)),
        }
    }

    fn poisoned(&self, source: Error) -> Error {
        let (channel, term) = (self.channel.name.clone(), self.queue.term);
        error!(%channel, term, error = ?source, "a log write failed; the writer gives up");
        Error::Poisoned { channel, source: Arc::new(source) }
    }

    /// Why somebody else shut this writer out.
    async fn fenced(&self) -> Error {
        let deadline = self.cluster.reading(&self.channel.topic);
        let (channel, crc, term) = (self.channel.name.clone(), self.channel.crc, self.queue.term);
        match self.cluster.probing(move |probe| probe.tail(crc, &deadline)).await {
            Ok(None) => Error::Removed { channel },
            // The one who did it may not have written its term yet.
            Ok(Some(tail)) => Error::Fenced { channel, term, seen: tail.term.unwrap_or(term).max(term) },
            Err(_) => Error::Fenced { channel, term, seen: term },
        }
    }

    fn stopped(&self) -> Error {
        Error::Stopped { channel: self.channel.name.clone() }
    }
}

struct Closing {
    queue: Arc<Queue>,
    channel: ChannelName,
}

impl Drop for Closing {
    fn drop(&mut self) {
        self.queue.close(Error::Stopped { channel: self.channel.clone() });
    }
}
