//! The Kafka cluster as the log uses it: clients, topics, deadlines. Calls that block run on threads that may block.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{Consumer as _, ConsumerContext, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tracing::{debug, info, warn};

use crate::base::{ChannelName, Clock};
use crate::log::error::{Doing, Error};

use super::codec::Message;
use super::probe::Probe;
use super::settings::KafkaSettings;

/// Idle probes that are kept for the next call.
const IDLE_PROBES: usize = 4;

/// How long to wait before a look at what Kafka does in the background, or before another try.
pub(super) const PAUSE: Duration = Duration::from_millis(20);

/// What librdkafka tells goes to our own log. It never tells secrets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context;

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, log_message: &str) {
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => {
                warn!(facility = fac, message = log_message, "Kafka's client warns")
            }
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
                debug!(facility = fac, message = log_message, "Kafka's client tells");
            }
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // Most pass by themselves; who waits gets an error at its deadline.
        debug!(%error, reason, "Kafka's client met an error");
    }
}

impl ConsumerContext for Context {}

/// A client of Kafka. Dropping one can block for a while, so that happens on a thread that may.
pub(super) struct Client<T: Send + 'static>(Option<T>);

impl<T: Send + 'static> Client<T> {
    pub fn new(client: T) -> Self {
        Self(Some(client))
    }
}

impl<T: Send + 'static> Deref for Client<T> {
    type Target = T;

    #[expect(clippy::expect_used, reason = "it is taken out only when this is dropped")]
    fn deref(&self) -> &T {
        self.0.as_ref().expect("a client is there until it is dropped")
    }
}

impl<T: Send + 'static> Drop for Client<T> {
    fn drop(&mut self) {
        let client = self.0.take();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            // Nobody waits for it: a client that is gone has nothing to say.
            drop(runtime.spawn_blocking(move || drop(client)));
        }
    }
}

/// When a call must have ended.
#[derive(Clone)]
pub(super) struct Deadline {
    clock: Arc<dyn Clock>,
    /// On the monotonic clock.
    at: Duration,
    limit: Duration,
    pub doing: Doing,
    pub topic: Arc<str>,
}

impl Deadline {
    /// What is left.
    ///
    /// # Errors
    /// [`Error::KafkaTimeout`] if nothing is.
    pub fn left(&self) -> Result<Duration, Error> {
        let left = self.at.saturating_sub(self.clock.monotonic());
        if left.is_zero() {
            return Err(self.passed());
        }
        Ok(left)
    }

    /// Waits a moment on a thread that may block.
    ///
    /// # Errors
    /// [`Error::KafkaTimeout`] if the deadline has passed.
    pub fn pause(&self) -> Result<(), Error> {
        self.pause_for(PAUSE)
    }

    /// Waits for `span`, or less, on a thread that may block.
    ///
    /// # Errors
    /// [`Error::KafkaTimeout`] if the deadline has passed.
    pub fn pause_for(&self, span: Duration) -> Result<(), Error> {
        let span = self.left()?.min(span);
        tokio::runtime::Handle::current().block_on(self.clock.sleep(span));
        Ok(())
    }

    /// The value of `future`, waited for on a thread that may block.
    ///
    /// # Errors
    /// [`Error::KafkaTimeout`] if the deadline passed before.
    pub fn wait_for<T>(&self, future: impl Future<Output = T>) -> Result<T, Error> {
        let ended = tokio::runtime::Handle::current().block_on(async {
            tokio::select! {
                biased;
                value = future => Some(value),
                () = self.clock.sleep(self.at.saturating_sub(self.clock.monotonic())) => None,
            }
        });
        ended.ok_or_else(|| self.passed())
    }

    fn passed(&self) -> Error {
        let limit_ms = u64::try_from(self.limit.as_millis()).unwrap_or(u64::MAX);
        Error::KafkaTimeout { doing: self.doing, topic: self.topic.to_string(), limit_ms }
    }

    /// Waits for `span`, without blocking.
    pub async fn wait(&self, span: Duration) {
        self.clock.sleep(span).await;
    }

    /// An error of this call.
    pub fn failed(&self, source: KafkaError) -> Error {
        Error::Kafka { doing: self.doing, topic: self.topic.to_string(), source: Arc::new(source) }
    }

    /// The result of one try: `None` if it should be tried again.
    pub fn tried<T>(&self, result: Result<T, KafkaError>) -> Result<Option<T>, Error> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(source) if passes(&source) => {
                debug!(topic = %self.topic, error = %source, "Kafka is asked again");
                self.left()?;
                Ok(None)
            }
            Err(source) => Err(self.failed(source)),
        }
    }
}

/// Whether an error may pass by itself.
pub(super) fn passes(error: &KafkaError) -> bool {
    use crate::base::{Kind, Kinded as _};
    let error = Error::Kafka { doing: Doing::Read, topic: String::new(), source: Arc::new(error.clone()) };
    error.kind() == Kind::Unavailable
}

/// The cluster.
pub(super) struct Cluster {
    pub settings: KafkaSettings,
    pub clock: Arc<dyn Clock>,
    idle: Mutex<Vec<Client<Probe>>>,
    admin: Mutex<Option<(u32, Arc<Client<AdminClient<Context>>>)>>,
    notes: Mutex<Option<(u32, Arc<Client<FutureProducer<Context>>>)>>,
}

impl Cluster {
    pub fn new(settings: KafkaSettings, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            settings,
            clock,
            idle: Mutex::default(),
            admin: Mutex::default(),
            notes: Mutex::default(),
        })
    }

    /// The deadline of a call that changes something and begins now.
    pub fn changing(&self, doing: Doing, topic: &Arc<str>) -> Deadline {
        self.deadline(doing, topic, self.settings.call_timeout)
    }

    /// The deadline of a call that only reads and begins now.
    pub fn reading(&self, topic: &Arc<str>) -> Deadline {
        self.deadline(Doing::Read, topic, self.settings.read_timeout)
    }

    fn deadline(&self, doing: Doing, topic: &Arc<str>, limit: Duration) -> Deadline {
        let at = self.clock.monotonic() + limit;
        Deadline { clock: self.clock.clone(), at, limit, doing, topic: topic.clone() }
    }

    /// What the certificates' files hold now. A client of another state is not used for new work. Reads files.
    pub fn certificates(&self) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        for file in self.settings.files() {
            // A file that cannot be read is told by librdkafka when a client is made.
            hasher.update(&std::fs::read(file).unwrap_or_default());
        }
        hasher.finalize()
    }

    /// Runs `work` on a thread that may block.
    pub async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Arc<Self>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let cluster = self.clone();
        match tokio::task::spawn_blocking(move || work(&cluster)).await {
            Ok(result) => result,
            // The process ends.
            Err(_) => Err(Error::Stopped { channel: ChannelName("".into()) }),
        }
    }

    /// Runs `work` with a probe, on a thread that may block.
    pub async fn probing<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Probe) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.blocking(move |cluster| cluster.probe(work)).await
    }

    /// Runs `work` with a probe. Blocks.
    pub fn probe<T>(self: &Arc<Self>, work: impl FnOnce(&Probe) -> Result<T, Error>) -> Result<T, Error> {
        let certificates = self.certificates();
        let idle = self.idle.lock().pop().filter(|probe| probe.certificates == certificates);
        let probe = match idle {
            Some(probe) => probe,
            None => Client::new(Probe::connect(&self.consumer_config(true), certificates)?),
        };
        let result = work(&probe)?;
        // After an error the next call begins with a fresh one.
        let mut idle = self.idle.lock();
        if idle.len() < IDLE_PROBES {
            idle.push(probe);
        }
        Ok(result)
    }

    fn consumer_config(&self, tells_end: bool) -> ClientConfig {
        let mut config = self.client_config();
        // A group is never joined; the client wants a name of one to be given partitions.
        config.set("group.id", format!("{}-readers", self.settings.topic_prefix));
        config.set("enable.auto.commit", "false").set("enable.auto.offset.store", "false");
        config.set("isolation.level", "read_committed").set("auto.offset.reset", "error");
        config.set("check.crcs", "true").set("enable.partition.eof", tells_end.to_string());
        config.set("queued.max.messages.kbytes", "16384").set("fetch.error.backoff.ms", "20");
        config.set("fetch.wait.max.ms", if tells_end { "10" } else { "500" });
        config
    }

    /// A consumer that reads `topic` from `offset` on. Blocks; call it inside a runtime.
    pub fn tail(&self, topic: &str, offset: i64) -> Result<Client<StreamConsumer<Context>>, KafkaError> {
        let config = self.consumer_config(false);
        let consumer = Client::new(config.create_with_context::<_, StreamConsumer<Context>>(Context)?);
        consumer.assign(&partition(topic, offset)?)?;
        Ok(consumer)
    }

    /// A producer of one channel, not fencing anybody yet. Blocks.
    pub fn producer(&self, topic: &str) -> Result<Client<FutureProducer<Context>>, KafkaError> {
        let mut config = self.producer_config();
        config.set("transactional.id", topic);
        config.set("transaction.timeout.ms", self.settings.call_timeout.as_millis().to_string());
        Ok(Client::new(config.create_with_context(Context)?))
    }

    fn client_config(&self) -> ClientConfig {
        let mut config = self.settings.client();
        // So long a topic that is gone is taken for one that is still coming.
        config.set("topic.metadata.propagation.max.ms", "2000");
        config
    }

    fn producer_config(&self) -> ClientConfig {
        let mut config = self.client_config();
        config.set("acks", "all").set("enable.idempotence", "true");
        // Groups are formed before; and a topic that was removed must not come back by itself.
        config.set("linger.ms", "0").set("allow.auto.create.topics", "false");
        config.set("queue.buffering.max.messages", "0");
        config.set("message.timeout.ms", self.settings.call_timeout.as_millis().to_string());
        config
    }

    fn shared<T: Send + 'static>(
        &self,
        place: &Mutex<Option<(u32, Arc<Client<T>>)>>,
        make: impl FnOnce() -> Result<T, KafkaError>,
    ) -> Result<Arc<Client<T>>, KafkaError> {
        let certificates = self.certificates();
        let mut place = place.lock();
        if let Some((_, client)) = place.as_ref().filter(|(made_with, _)| *made_with == certificates) {
            return Ok(client.clone());
        }
        let client = Arc::new(Client::new(make()?));
        *place = Some((certificates, client.clone()));
        Ok(client)
    }

    async fn admin(
        self: &Arc<Self>,
        deadline: &Deadline,
    ) -> Result<Arc<Client<AdminClient<Context>>>, Error> {
        let failed = deadline.clone();
        self.blocking(move |cluster| {
            let mut config = cluster.settings.client();
            config.set("allow.auto.create.topics", "false");
            let admin = cluster.shared(&cluster.admin, || config.create_with_context(Context));
            admin.map_err(|source| failed.failed(source))
        })
        .await
    }

    fn options(deadline: &Deadline) -> Result<AdminOptions, Error> {
        let left = deadline.left()?;
        Ok(AdminOptions::new().request_timeout(Some(left)).operation_timeout(Some(left)))
    }

    /// Makes the topic, unless it is there.
    pub async fn create(self: &Arc<Self>, deadline: &Deadline) -> Result<(), Error> {
        let admin = self.admin(deadline).await?;
        let replicas = self.settings.replication.map_or(-1, i32::from);
        let topic = NewTopic::new(&deadline.topic, 1, TopicReplication::Fixed(replicas))
            .set("cleanup.policy", "delete")
            .set("retention.ms", "-1")
            .set("retention.bytes", "-1")
            .set("max.message.bytes", "1048588");
        loop {
            let created = admin.create_topics([&topic], &Self::options(deadline)?).await;
            match first(created) {
                Err(KafkaError::AdminOp(RDKafkaErrorCode::TopicAlreadyExists)) => break,
                result => {
                    if deadline.tried(result)?.is_some() {
                        info!(topic = %deadline.topic, "Kafka topic created");
                        break;
                    }
                    self.clock.sleep(PAUSE).await;
                }
            }
        }
        self.wait_until(deadline, Presence::Ready).await
    }

    /// Removes the topic, if it is there.
    pub async fn delete(self: &Arc<Self>, deadline: &Deadline) -> Result<(), Error> {
        let admin = self.admin(deadline).await?;
        loop {
            let deleted = admin.delete_topics(&[&deadline.topic], &Self::options(deadline)?).await;
            match first(deleted) {
                Err(KafkaError::AdminOp(
                    RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic,
                )) => break,
                result => {
                    if deadline.tried(result)?.is_some() {
                        info!(topic = %deadline.topic, "Kafka topic removed");
                        break;
                    }
                    self.clock.sleep(PAUSE).await;
                }
            }
        }
        self.wait_until(deadline, Presence::Absent).await
    }

    /// Waits until every broker that is asked tells so: topics come and go in the background.
    async fn wait_until(self: &Arc<Self>, deadline: &Deadline, wanted: Presence) -> Result<(), Error> {
        let deadline = deadline.clone();
        self.probing(move |probe| {
            while probe.presence(&deadline)? != wanted {
                deadline.pause()?;
            }
            Ok(())
        })
        .await
    }

    /// Gives up the messages before `offset`.
    pub async fn give_up(self: &Arc<Self>, deadline: &Deadline, offset: i64) -> Result<(), Error> {
        let admin = self.admin(deadline).await?;
        let before = partition(&deadline.topic, offset).map_err(|source| deadline.failed(source))?;
        loop {
            let deleted = admin.delete_records(&before, &Self::options(deadline)?).await;
            let deleted = deleted.and_then(|done| done.elements().iter().try_for_each(|part| part.error()));
            if deadline.tried(deleted)?.is_some() {
                return Ok(());
            }
            self.clock.sleep(PAUSE).await;
        }
    }

    /// Writes a message outside any transaction.
    pub async fn note(self: &Arc<Self>, deadline: &Deadline, message: Message) -> Result<(), Error> {
        let failed = deadline.clone();
        let producer = self.blocking(move |cluster| {
            let make = || cluster.producer_config().create_with_context(Context);
            cluster.shared(&cluster.notes, make).map_err(|source| failed.failed(source))
        });
        let producer = producer.await?;
        let record = FutureRecord::to(&deadline.topic)
            .partition(0)
            .key(&message.header[..])
            .payload(&message.payload[..]);
        // It is given up after the deadline of messages, which is that of this call.
        let sent = producer.send(record, deadline.left()?).await;
        sent.map(|_| ()).map_err(|(source, _)| deadline.failed(source))
    }
}

/// Whether a topic is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    Absent,
    /// It is being made, or without a leader for the moment.
    Coming,
    Ready,
}

/// The one partition of `topic`, at `offset`.
pub(super) fn partition(topic: &str, offset: i64) -> Result<TopicPartitionList, KafkaError> {
    let mut partitions = TopicPartitionList::with_capacity(1);
    partitions.add_partition_offset(topic, 0, Offset::Offset(offset))?;
    Ok(partitions)
}

/// The outcome of an administrative call about one topic.
fn first(results: Result<Vec<rdkafka::admin::TopicResult>, KafkaError>) -> Result<(), KafkaError> {
    for result in results? {
        result.map_err(|(_, code)| KafkaError::AdminOp(code))?;
    }
    Ok(())
}
