//! A reader of one channel: one client of its topic that waits for what comes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::FutureExt as _;
use rdkafka::Message as _;
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use tokio::sync::watch;

use crate::log::{Error, LogReader, Position};

use super::channel::Channel;
use super::cluster::{Client, Cluster, Context, PAUSE, passes};
use super::codec::{Header, Kind};
use super::probe::is_gone;
use super::sequence::Sequence;

/// How often a reader of a channel that nobody has opened looks whether somebody has, elsewhere.
const LOOK_FOR_TOPIC: Duration = Duration::from_millis(200);

/// How long to wait for messages that are known to be there before looking again.
const LOOK_FOR_END: Duration = Duration::from_millis(2);

/// Where reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    /// The channel has no topic yet.
    Unopened,
    /// At this offset, which is not after the record wanted.
    At(i64),
}

/// A reader of one channel.
pub(super) struct Reader {
    cluster: Arc<Cluster>,
    channel: Arc<Channel>,
    position: u64,
    changed: watch::Receiver<()>,
    /// Where to begin again after an error.
    begin: Begin,
    tailing: Option<Tailing>,
}

/// A client that reads, and what came of the record at the reader's position so far.
struct Tailing {
    consumer: Client<StreamConsumer<Context>>,
    /// Where it began.
    start: i64,
    sequence: Sequence,
    pieces: BytesMut,
    certificates: u32,
}

impl Tailing {
    /// The offset before which nothing comes any more.
    fn reached(&self, topic: &str) -> i64 {
        // Moves over the marks of transactions too, which are never shown as messages.
        let position = self.consumer.position().ok();
        let offset = position.and_then(|at| at.find_partition(topic, 0)?.offset().to_raw());
        offset.unwrap_or(self.start).max(self.start)
    }
}

/// What a message was to the reader.
enum Step {
    Record(Position, Bytes),
    Nothing,
}

impl Reader {
    /// A reader that stands at `position`.
    pub fn new(cluster: Arc<Cluster>, channel: Arc<Channel>, position: Position, begin: Begin) -> Self {
        let changed = channel.changed.subscribe();
        Self { cluster, channel, position: position.0, changed, begin, tailing: None }
    }

    /// Connects unless that was done. `false` if there is no topic yet. Cancel safe.
    async fn connect(&mut self) -> Result<bool, Error> {
        if self.tailing.is_some() {
            return Ok(true);
        }
        let deadline = self.cluster.reading(&self.channel.topic);
        if self.begin == Begin::Unopened {
            let (crc, asked) = (self.channel.crc, deadline.clone());
            let Some(tail) = self.cluster.probing(move |probe| probe.tail(crc, &asked)).await? else {
                return Ok(false);
            };
            self.begin = Begin::At(tail.low);
        }
        let Begin::At(start) = self.begin else { return Ok(false) };
        let work = move |cluster: &Arc<Cluster>| {
            let certificates = cluster.certificates();
            let consumer = cluster.tail(&deadline.topic, start).map_err(|source| deadline.failed(source))?;
            Ok((consumer, certificates))
        };
        let (consumer, certificates) = self.cluster.blocking(work).await?;
        let (sequence, pieces) = (Sequence::default(), BytesMut::new());
        self.tailing = Some(Tailing { consumer, start, sequence, pieces, certificates });
        Ok(true)
    }

    /// Takes in what the client gave. After an error the reader begins again where it was.
    async fn take(&mut self, taken: Result<Step, Taken>) -> Result<Option<(Position, Bytes)>, Error> {
        match taken {
            Ok(Step::Record(position, payload)) => Ok(Some((position, payload))),
            Ok(Step::Nothing) => Ok(None),
            Err(Taken::Wrong(error)) => {
                self.tailing = None;
                Err(error)
            }
            Err(Taken::Failed(error)) if is_gone(&error) => {
                let outcome = self.why_gone().await;
                self.tailing = None;
                outcome?;
                // What brokers know of a new topic spreads in the background.
                self.cluster.clock.sleep(PAUSE).await;
                Ok(None)
            }
            Err(Taken::Failed(error)) if passes(&error) => self.renew_certificates().await.map(|()| None),
            Err(Taken::Failed(error)) => {
                self.tailing = None;
                Err(self.cluster.reading(&self.channel.topic).failed(error))
            }
        }
    }

    /// Why the offset to read is not there; nothing is wrong if it is, after all.
    async fn why_gone(&self) -> Result<(), Error> {
        let deadline = self.cluster.reading(&self.channel.topic);
        let crc = self.channel.crc;
        let looked = self.cluster.probing(move |probe| {
            let Some(tail) = probe.tail(crc, &deadline)? else { return Ok(None) };
            let first = probe.first(crc, &tail, &deadline)?;
            Ok(Some((tail, first)))
        });
        let removed = Error::Removed { channel: self.channel.name.clone() };
        let Some((tail, first)) = looked.await? else { return Err(removed) };
        match self.begin {
            Begin::At(offset) if offset > tail.high => Err(removed),
            _ if self.position < first => Err(self.channel.truncated(self.position, first)),
            Begin::At(_) | Begin::Unopened => Ok(()),
        }
    }

    /// Connects anew if the certificates have changed since.
    async fn renew_certificates(&mut self) -> Result<(), Error> {
        if self.cluster.settings.files().next().is_none() {
            return Ok(());
        }
        let now = self.cluster.blocking(|cluster| Ok(cluster.certificates())).await?;
        if self.tailing.as_ref().is_some_and(|tailing| tailing.certificates != now) {
            self.tailing = None;
        }
        Ok(())
    }
}

/// Why nothing could be taken.
enum Taken {
    /// A message is not what was written.
    Wrong(Error),
    /// The client says so.
    Failed(KafkaError),
}

/// Takes one message in. Has no await, so that a dropped call has either taken it whole or not at all.
fn step(
    message: Result<BorrowedMessage<'_>, KafkaError>,
    channel: &Channel,
    begin: &mut Begin,
    wanted: &mut u64,
    (sequence, pieces): (&mut Sequence, &mut BytesMut),
) -> Result<Step, Taken> {
    let message = message.map_err(Taken::Failed)?;
    let (offset, payload) = (message.offset(), message.payload().unwrap_or_default());
    let wrong = |why| Taken::Wrong(Error::DamagedTopic { topic: channel.topic.to_string(), offset, why });
    let header = Header::decode(channel.crc, message.key(), payload).map_err(wrong)?;
    let is_first = !sequence.has_begun();
    sequence.take(&header).map_err(wrong)?;
    if header.kind == Kind::Kept {
        return Ok(Step::Nothing);
    }
    if header.begins_at() > *wanted && !(header.kind == Kind::Record && header.position == *wanted) {
        // Only what was truncated away before this reader came to it can be missing at its beginning.
        let missing = "records before this one are missing";
        let gone = Taken::Wrong(channel.truncated(*wanted, header.begins_at()));
        return Err(if is_first { gone } else { wrong(missing) });
    }
    if header.kind != Kind::Record || header.position < *wanted {
        return Ok(Step::Nothing);
    }
    if header.piece == 0 {
        *begin = Begin::At(offset);
    }
    if header.piece + 1 < header.pieces {
        pieces.extend_from_slice(payload);
        return Ok(Step::Nothing);
    }
    let whole = if header.piece == 0 {
        channel.remember(header.position, offset);
        Bytes::copy_from_slice(payload)
    } else {
        pieces.extend_from_slice(payload);
        pieces.split().freeze()
    };
    *begin = Begin::At(offset + 1);
    *wanted = header.position + 1;
    Ok(Step::Record(Position(header.position), whole))
}

/// Waits for a message and takes it in.
macro_rules! receive {
    ($reader:ident) => {{
        let Reader { tailing, channel, begin, position, .. } = $reader;
        async move {
            let Some(Tailing { consumer, sequence, pieces, .. }) = tailing else {
                return Ok(Step::Nothing);
            };
            step(consumer.recv().await, channel, begin, position, (sequence, pieces))
        }
    }};
}

#[async_trait]
impl LogReader for Reader {
    async fn next(&mut self) -> Result<(Position, Bytes), Error> {
        loop {
            // Marked as seen before looking: a change after the look wakes the wait.
            self.changed.mark_unchanged();
            self.channel.check(self.position)?;
            let is_connected = self.connect().await?;
            let mut changed = self.changed.clone();
            if !is_connected {
                tokio::select! {
                    _ = changed.changed() => {}
                    () = self.cluster.clock.sleep(LOOK_FOR_TOPIC) => {}
                }
                continue;
            }
            let taken = tokio::select! {
                biased;
                _ = changed.changed() => continue,
                taken = async { let this = &mut *self; receive!(this).await } => taken,
            };
            if let Some(record) = self.take(taken).await? {
                return Ok(record);
            }
        }
    }

    async fn try_next(&mut self) -> Result<Option<(Position, Bytes)>, Error> {
        let deadline = self.cluster.reading(&self.channel.topic);
        let mut end = None;
        loop {
            self.channel.check(self.position)?;
            deadline.left()?;
            if !self.connect().await? {
                return Ok(None);
            }
            let this = &mut *self;
            if let Some(taken) = receive!(this).now_or_never() {
                match self.take(taken).await? {
                    Some(record) => return Ok(Some(record)),
                    None => continue,
                }
            }
            let Some(tailing) = &self.tailing else { continue };
            match end {
                Some(end) if tailing.reached(&deadline.topic) >= end => return Ok(None),
                Some(_) => {}
                None => {
                    // Asked by another client: this one's connection may be busy with waiting for what comes.
                    let asked = deadline.clone();
                    let looked = self.cluster.probing(move |probe| probe.end(&asked)).await?;
                    let removed = || Error::Removed { channel: self.channel.name.clone() };
                    end = Some(looked.ok_or_else(removed)?);
                    continue;
                }
            }
            tokio::select! {
                biased;
                taken = async { let this = &mut *self; receive!(this).await } => {
                    if let Some(record) = self.take(taken).await? {
                        return Ok(Some(record));
                    }
                }
                () = deadline.wait(LOOK_FOR_END) => {}
            }
        }
    }

    fn position(&self) -> Position {
        Position(self.position)
    }
}
