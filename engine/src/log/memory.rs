//! Logs in memory, for tests and simulation. Durable here means: until this value is dropped.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::base::ChannelName;

use super::{Appending, Error, LogReader, LogWriter, Logs, MAX_PAYLOAD_BYTES, Position};

/// Logs in memory. Every append is acknowledged at once.
#[derive(Debug, Default)]
pub struct MemoryLogs {
    channels: Mutex<BTreeMap<ChannelName, Arc<Channel>>>,
}

#[derive(Debug)]
struct Channel {
    name: ChannelName,
    state: Mutex<State>,
    /// Told after each change that a waiting reader could care for.
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    term: Option<u64>,
    first: u64,
    records: VecDeque<Bytes>,
    removed: bool,
}

impl State {
    fn next(&self) -> u64 {
        self.first + self.records.len() as u64
    }
}

impl MemoryLogs {
    /// No channels yet.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    fn channel(&self, name: &ChannelName) -> Result<Arc<Channel>, Error> {
        super::check_name(name)?;
        let mut channels = self.channels.lock();
        let channel = channels.entry(name.clone()).or_insert_with(|| {
            let changed = watch::Sender::new(());
            Arc::new(Channel { name: name.clone(), state: Mutex::default(), changed })
        });
        Ok(channel.clone())
    }
}

#[async_trait]
impl Logs for MemoryLogs {
    async fn open(&self, channel: &ChannelName, term: u64) -> Result<Arc<dyn LogWriter>, Error> {
        let channel = self.channel(channel)?;
        let mut state = channel.state.lock();
        if let Some(seen) = state.term.filter(|seen| *seen >= term) {
            return Err(Error::Fenced { channel: channel.name.clone(), term, seen });
        }
        state.term = Some(term);
        drop(state);
        Ok(Arc::new(Writer { channel, term }))
    }

    async fn read(&self, channel: &ChannelName, from: Position) -> Result<Box<dyn LogReader>, Error> {
        let channel = self.channel(channel)?;
        let (first, next) = {
            let state = channel.state.lock();
            (Position(state.first), Position(state.next()))
        };
        let name = channel.name.clone();
        if from < first {
            return Err(Error::Truncated { channel: name, position: from, first });
        }
        if from > next {
            return Err(Error::Ahead { channel: name, position: from, next });
        }
        let changed = channel.changed.subscribe();
        Ok(Box::new(Reader { channel, position: from, changed }))
    }

    async fn truncate(&self, channel: &ChannelName, before: Position) -> Result<(), Error> {
        let channel = self.channel(channel)?;
        let mut state = channel.state.lock();
        while state.first < before.0 && state.records.pop_front().is_some() {
            state.first += 1;
        }
        Ok(())
    }

    async fn remove(&self, channel: &ChannelName) -> Result<(), Error> {
        super::check_name(channel)?;
        let removed = self.channels.lock().remove(channel);
        if let Some(removed) = removed {
            removed.state.lock().removed = true;
            removed.changed.send_replace(());
        }
        Ok(())
    }

    async fn channels(&self) -> Result<Vec<ChannelName>, Error> {
        let channels = self.channels.lock();
        let opened = channels.values().filter(|channel| channel.state.lock().term.is_some());
        Ok(opened.map(|channel| channel.name.clone()).collect())
    }
}

struct Writer {
    channel: Arc<Channel>,
    term: u64,
}

impl LogWriter for Writer {
    fn append(&self, payload: Bytes) -> Result<Appending, Error> {
        if payload.len() > MAX_PAYLOAD_BYTES {
            return Err(Error::TooLarge { size_bytes: payload.len() });
        }
        let name = &self.channel.name;
        let mut state = self.channel.state.lock();
        if state.removed {
            return Err(Error::Removed { channel: name.clone() });
        }
        if let Some(seen) = state.term.filter(|seen| *seen > self.term) {
            return Err(Error::Fenced { channel: name.clone(), term: self.term, seen });
        }
        let position = Position(state.next());
        state.records.push_back(payload);
        drop(state);
        self.channel.changed.send_replace(());
        let (appending, acknowledge) = Appending::begin(name.clone(), position);
        acknowledge.settle(Ok(()));
        Ok(appending)
    }

    fn next_position(&self) -> Position {
        Position(self.channel.state.lock().next())
    }
}

struct Reader {
    channel: Arc<Channel>,
    position: Position,
    changed: watch::Receiver<()>,
}

impl Reader {
    /// The record at this reader's position, if it is there; moves on by one then.
    fn take(&mut self) -> Result<Option<(Position, Bytes)>, Error> {
        let state = self.channel.state.lock();
        let (name, position) = (&self.channel.name, self.position);
        if state.removed {
            return Err(Error::Removed { channel: name.clone() });
        }
        let Some(index) = position.0.checked_sub(state.first) else {
            let first = Position(state.first);
            return Err(Error::Truncated { channel: name.clone(), position, first });
        };
        let Some(payload) = usize::try_from(index).ok().and_then(|index| state.records.get(index)) else {
            return Ok(None);
        };
        self.position = position.next();
        Ok(Some((position, payload.clone())))
    }
}

#[async_trait]
impl LogReader for Reader {
    async fn next(&mut self) -> Result<(Position, Bytes), Error> {
        loop {
            // Marked as seen before looking: a change after the look wakes the wait.
            self.changed.mark_unchanged();
            if let Some(record) = self.take()? {
                return Ok(record);
            }
            if self.changed.changed().await.is_err() {
                return Err(Error::Stopped { channel: self.channel.name.clone() });
            }
        }
    }

    async fn try_next(&mut self) -> Result<Option<(Position, Bytes)>, Error> {
        self.take()
    }

    fn position(&self) -> Position {
        self.position
    }
}
