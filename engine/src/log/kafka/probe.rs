//! Looks into topics: where the end is, and where a position is. Everything here blocks.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientConfig, Message as _};

use crate::base::ChannelName;
use crate::log::error::{Doing, Error};

use super::cluster::{Context, Deadline, Presence, partition, passes};
use super::codec::{Header, Kind};
use super::names::channel_of;

/// How long one question waits for an answer before it is looked whether the brokers refuse us.
const LOOK: Duration = Duration::from_secs(1);
/// A stretch of this many offsets is walked, not divided further.
const NEAR: i64 = 32;

const fn is_refusal(code: RDKafkaErrorCode) -> bool {
    matches!(code, RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed)
}

/// A client for single looks at any topic.
pub(super) struct Probe {
    consumer: BaseConsumer<Context>,
    /// State of the certificates' files when it was made.
    pub certificates: u32,
}

/// The end of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tail {
    /// Offset of the first message left.
    pub low: i64,
    /// Offset after the last message of a finished transaction.
    pub high: i64,
    /// The next position to come.
    pub next: u64,
    /// The highest term; `None` for a channel that nobody has opened.
    pub term: Option<u64>,
}

/// Whether a walk goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Walk {
    On,
    Stop,
}

impl Probe {
    /// A client of `config`.
    pub fn connect(config: &ClientConfig, certificates: u32) -> Result<Self, Error> {
        let consumer = config.create_with_context(Context).map_err(|source| Error::Kafka {
            doing: Doing::Connect,
            topic: "*".to_owned(),
            source: std::sync::Arc::new(source),
        })?;
        Ok(Self { consumer, certificates })
    }

    /// The channels that have topics, ascending.
    pub fn channels(&self, prefix: &str, deadline: &Deadline) -> Result<Vec<ChannelName>, Error> {
        loop {
            let asked = self.consumer.fetch_metadata(None, deadline.left()?.min(LOOK));
            if let Some(metadata) = deadline.tried(asked)? {
                let topics = metadata.topics().iter();
                let mut channels =
                    topics.filter_map(|topic| channel_of(prefix, topic.name())).collect::<Vec<_>>();
                channels.sort_unstable();
                return Ok(channels);
            }
            self.check_welcome(deadline)?;
            deadline.pause()?;
        }
    }

    /// Looks whether the brokers refuse us: they say so beside the call, which by itself would only wait.
    fn check_welcome(&self, deadline: &Deadline) -> Result<(), Error> {
        while let Some(event) = self.consumer.poll(Duration::ZERO) {
            if let Err(error) = event
                && error.rdkafka_error_code().is_some_and(is_refusal)
            {
                return Err(deadline.failed(error));
            }
        }
        Ok(())
    }

    /// Whether the topic is there.
    pub fn presence(&self, deadline: &Deadline) -> Result<Presence, Error> {
        loop {
            let asked = self.consumer.fetch_metadata(Some(&deadline.topic), deadline.left()?);
            let Some(metadata) = deadline.tried(asked)? else {
                deadline.pause()?;
                continue;
            };
            let found = metadata.topics().iter().find(|topic| topic.name() == &*deadline.topic);
            let Some(topic) = found else { return Ok(Presence::Absent) };
            return match topic.error() {
                None if topic.partitions().iter().any(|partition| partition.leader() >= 0) => {
                    Ok(Presence::Ready)
                }
                Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) => Ok(Presence::Absent),
                None | Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE) => Ok(Presence::Coming),
                Some(code) => {
                    let error = KafkaError::MetadataFetch(code.into());
                    match deadline.tried::<Presence>(Err(error))? {
                        Some(presence) => Ok(presence),
                        None => Ok(Presence::Coming),
                    }
                }
            };
        }
    }

    /// The offset after the last message of a finished transaction; `None` if there is no topic.
    pub fn end(&self, deadline: &Deadline) -> Result<Option<i64>, Error> {
        loop {
            match self.consumer.fetch_watermarks(&deadline.topic, 0, deadline.left()?) {
                Err(error) if is_gone(&error) && self.presence(deadline)? == Presence::Absent => {
                    return Ok(None);
                }
                asked => {
                    if let Some((_, end)) = deadline.tried(asked)? {
                        return Ok(Some(end));
                    }
                }
            }
            deadline.pause()?;
        }
    }

    /// The end of the channel; `None` if it has no topic.
    ///
    /// # Errors
    /// [`Error::DamagedTopic`] if the messages there are not this log's.
    pub fn tail(&self, channel_crc: u32, deadline: &Deadline) -> Result<Option<Tail>, Error> {
        loop {
            let (low, high) = match self.presence(deadline)? {
                Presence::Absent => return Ok(None),
                Presence::Coming => {
                    deadline.pause()?;
                    continue;
                }
                Presence::Ready => {
                    let asked = self.consumer.fetch_watermarks(&deadline.topic, 0, deadline.left()?);
                    match deadline.tried(asked)? {
                        Some(marks) => marks,
                        None => {
                            deadline.pause()?;
                            continue;
                        }
                    }
                }
            };
            match self.tail_between(channel_crc, low, high, deadline) {
                // It was truncated or removed meanwhile.
                Err(error) if is_out_of_range(&error) => deadline.pause()?,
                result => return result.map(Some),
            }
        }
    }

    fn tail_between(
        &self,
        channel_crc: u32,
        low: i64,
        high: i64,
        deadline: &Deadline,
    ) -> Result<Tail, Error> {
        let mut reach = 8;
        loop {
            let start = high.saturating_sub(reach).max(low);
            let (mut next, mut bound, mut term) = (None, None, None);
            self.walk(channel_crc, start, deadline, |offset, header| {
                if offset >= high {
                    return Walk::Stop;
                }
                term = term.max(Some(header.term));
                match header.kind {
                    Kind::Kept => bound = bound.max(Some(header.position)),
                    Kind::Opened => next = Some(header.position),
                    Kind::Record => next = Some(header.position.saturating_add(1)),
                }
                Walk::On
            })?;
            if next.is_none() && start > low {
                reach = reach.saturating_mul(8);
                continue;
            }
            if next.is_none() && bound.is_none() && low > 0 {
                let why = "what tells the next position was deleted by somebody else";
                return Err(Error::DamagedTopic { topic: deadline.topic.to_string(), offset: low, why });
            }
            return Ok(Tail { low, high, next: next.max(bound).unwrap_or(0), term });
        }
    }

    /// The first position of the channel that can be read.
    pub fn first(&self, channel_crc: u32, tail: &Tail, deadline: &Deadline) -> Result<u64, Error> {
        if tail.low == 0 {
            return Ok(0);
        }
        let mut first = None;
        self.walk(channel_crc, tail.low, deadline, |offset, header| {
            if offset < tail.high {
                first = Some(header.begins_at());
            }
            Walk::Stop
        })?;
        Ok(first.unwrap_or(tail.next))
    }

    /// An offset at or shortly before the record at `position`, which lies before `tail.next`. `known` is an offset
    /// that is not after it, if one is known.
    pub fn near(
        &self,
        channel_crc: u32,
        position: u64,
        tail: &Tail,
        known: Option<(u64, i64)>,
        deadline: &Deadline,
    ) -> Result<i64, Error> {
        let mut low = tail.low;
        let mut high = tail.high;
        if let Some((known_position, offset)) = known.filter(|(_, offset)| (low..high).contains(offset))
            // What is known may be of a topic that was removed and made again by others.
            && self.begins_at(channel_crc, offset, high, deadline)? == Some((offset, known_position))
        {
            low = offset;
        }
        while high - low > NEAR {
            let middle = low + (high - low) / 2;
            match self.begins_at(channel_crc, middle, high, deadline)? {
                Some((offset, begins_at)) if begins_at <= position => low = offset,
                Some(_) | None => high = middle,
            }
        }
        Ok(low)
    }

    /// The offset of the first piece of the record at `position`; `None` if it is not there.
    pub fn exact(
        &self,
        channel_crc: u32,
        position: u64,
        from: i64,
        deadline: &Deadline,
    ) -> Result<Option<i64>, Error> {
        let mut found = None;
        self.walk(channel_crc, from, deadline, |offset, header| {
            if header.kind != Kind::Record || header.position < position {
                return Walk::On;
            }
            if header.position == position && header.piece == 0 {
                found = Some(offset);
            }
            Walk::Stop
        })?;
        Ok(found)
    }

    /// The first message at or after `from` and before `end` that tells a position, and the position it tells.
    fn begins_at(
        &self,
        channel_crc: u32,
        from: i64,
        end: i64,
        deadline: &Deadline,
    ) -> Result<Option<(i64, u64)>, Error> {
        let mut found = None;
        self.walk(channel_crc, from, deadline, |offset, header| {
            if offset >= end {
                return Walk::Stop;
            }
            if header.kind == Kind::Kept {
                return Walk::On;
            }
            found = Some((offset, header.begins_at()));
            Walk::Stop
        })?;
        Ok(found)
    }

    /// Shows `visit` the messages from offset `from` to the end, until it says stop.
    fn walk(
        &self,
        channel_crc: u32,
        from: i64,
        deadline: &Deadline,
        mut visit: impl FnMut(i64, &Header) -> Walk,
    ) -> Result<(), Error> {
        let failed = |source| deadline.failed(source);
        self.consumer.assign(&partition(&deadline.topic, from).map_err(failed)?).map_err(failed)?;
        loop {
            let left = deadline.left()?.min(Duration::from_millis(200));
            match self.consumer.poll(left) {
                None => {}
                Some(Ok(message)) => {
                    let payload = message.payload().unwrap_or_default();
                    let header = Header::decode(channel_crc, message.key(), payload).map_err(|why| {
                        let (topic, offset) = (deadline.topic.to_string(), message.offset());
                        Error::DamagedTopic { topic, offset, why }
                    })?;
                    if visit(message.offset(), &header) == Walk::Stop {
                        break;
                    }
                }
                // Assigned after the end was asked for, so this end is not before that one.
                Some(Err(KafkaError::PartitionEOF(_))) => break,
                Some(Err(error)) if passes(&error) && !is_gone(&error) => {}
                Some(Err(error)) => return Err(failed(error)),
            }
        }
        self.consumer.unassign().map_err(failed)
    }
}

/// Whether the topic, or the offset asked for, is not there.
pub(super) fn is_gone(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::AutoOffsetReset
                | RDKafkaErrorCode::OffsetOutOfRange
                | RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownPartition
        )
    )
}

/// Whether a walk failed because the messages are not there any more.
pub(super) fn is_out_of_range(error: &Error) -> bool {
    matches!(error, Error::Kafka { source, .. } if is_gone(source))
}
