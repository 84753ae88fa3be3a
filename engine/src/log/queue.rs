//! What waits to be written to one channel.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::base::{ChannelName, Clock};
use crate::log::{Acknowledge, Appending, Error, LogWriter, MAX_PAYLOAD_BYTES, Position};

/// An append that waits.
pub(in crate::log) struct Waiting {
    pub payload: Bytes,
    pub acknowledge: Acknowledge,
    /// When it came, on the monotonic clock.
    pub since: Duration,
}

/// The appends of one writer that its task has not taken yet, and whether more are taken in.
pub(in crate::log) struct Queue {
    channel: ChannelName,
    /// The writer's term.
    pub term: u64,
    /// More than this waiting, and an append is refused. Unit: bytes.
    limit_bytes: usize,
    state: Mutex<State>,
    /// Told when there is something to write or nothing more will come.
    pub wake: Notify,
}

/// The handle of a channel's writer, whatever task empties its queue.
pub(in crate::log) struct Writer {
    pub queue: Arc<Queue>,
    pub clock: Arc<dyn Clock>,
}

impl LogWriter for Writer {
    fn append(&self, payload: Bytes) -> Result<Appending, Error> {
        self.queue.push(payload, self.clock.monotonic())
    }

    fn next_position(&self) -> Position {
        self.queue.next_position()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Nobody can append any more, so nobody sees the reason.
        self.queue.refuse(Error::Stopped { channel: ChannelName("".into()) });
    }
}

/// What waits in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::log) struct Backlog {
    /// Payload. Unit: bytes.
    pub bytes: usize,
    /// When the oldest of it came, on the monotonic clock.
    pub since: Duration,
}

struct State {
    next: u64,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    /// Why no more is taken in.
    refused: Option<Error>,
    /// Why nothing more is acknowledged.
    closed: Option<Error>,
}

impl Queue {
    /// An empty queue whose first append gets the position `next`.
    pub fn new(channel: ChannelName, term: u64, next: u64, limit_bytes: usize) -> Self {
        let state = State { next, waiting: VecDeque::new(), waiting_bytes: 0, refused: None, closed: None };
        Self { channel, term, limit_bytes, state: Mutex::new(state), wake: Notify::new() }
    }

    /// Takes in an append that came at `since`.
    pub fn push(&self, payload: Bytes, since: Duration) -> Result<Appending, Error> {
        if payload.len() > MAX_PAYLOAD_BYTES {
            return Err(Error::TooLarge { size_bytes: payload.len() });
        }
        let mut state = self.state.lock();
        if let Some(error) = &state.refused {
            return Err(error.clone());
        }
        if state.waiting_bytes > self.limit_bytes {
            let waiting_bytes = state.waiting_bytes;
            return Err(Error::QueueFull { channel: self.channel.clone(), waiting_bytes });
        }
        let (appending, acknowledge) = Appending::begin(self.channel.clone(), Position(state.next));
        state.next += 1;
        state.waiting_bytes += payload.len();
        state.waiting.push_back(Waiting { payload, acknowledge, since });
        drop(state);
        self.wake.notify_one();
        Ok(appending)
    }

    /// The position that the next append gets.
    pub fn next_position(&self) -> Position {
        Position(self.state.lock().next)
    }

    /// The oldest waiting appends: all, or as many as reach `limit_bytes`.
    pub fn take(&self, limit_bytes: usize) -> Vec<Waiting> {
        let mut state = self.state.lock();
        let (mut taken, mut taken_bytes) = (Vec::new(), 0);
        while taken_bytes < limit_bytes {
            let Some(waiting) = state.waiting.pop_front() else { break };
            taken_bytes += waiting.payload.len();
            taken.push(waiting);
        }
        state.waiting_bytes -= taken_bytes;
        taken
    }

    /// The oldest waiting appends that together stay within `limit_bytes`, each counted with `framing_bytes` more;
    /// a first one that is larger comes alone.
    pub fn take_within(&self, limit_bytes: usize, framing_bytes: usize) -> Vec<Waiting> {
        let mut state = self.state.lock();
        let (mut taken, mut taken_bytes, mut payload_bytes) = (Vec::new(), 0, 0);
        while let Some(next) = state.waiting.front() {
            let with_next = taken_bytes + next.payload.len() + framing_bytes;
            if with_next > limit_bytes && !taken.is_empty() {
                break;
            }
            taken_bytes = with_next;
            payload_bytes += next.payload.len();
            taken.extend(state.waiting.pop_front());
        }
        state.waiting_bytes -= payload_bytes;
        taken
    }

    /// How much waits, and since when the oldest of it does; `None` if nothing waits.
    pub fn backlog(&self) -> Option<Backlog> {
        let state = self.state.lock();
        let oldest = state.waiting.front()?;
        Some(Backlog { bytes: state.waiting_bytes, since: oldest.since })
    }

    /// Takes no more in, for the reason `error`; what waits is still written.
    pub fn refuse(&self, error: Error) {
        self.state.lock().refused.get_or_insert(error);
        self.wake.notify_one();
    }

    /// Acknowledges nothing any more: what waits fails with `error`. A later closing changes nothing.
    pub fn close(&self, error: Error) {
        let waiting = {
            let mut state = self.state.lock();
            let error = state.closed.get_or_insert(error).clone();
            state.refused = Some(error);
            state.waiting_bytes = 0;
            std::mem::take(&mut state.waiting)
        };
        self.settle(waiting, Ok(()));
        self.wake.notify_one();
    }

    /// Why nothing is acknowledged any more.
    pub fn closed(&self) -> Option<Error> {
        self.state.lock().closed.clone()
    }

    /// Whether nothing more is taken in.
    pub fn is_refusing(&self) -> bool {
        self.state.lock().refused.is_some()
    }

    /// Whether nothing waits and nothing more will come.
    pub fn is_finished(&self) -> bool {
        let state = self.state.lock();
        state.waiting.is_empty() && state.refused.is_some()
    }

    /// Tells who waits for `batch` how it ended; that this queue was closed goes before `outcome`.
    pub fn settle(&self, batch: impl IntoIterator<Item = Waiting>, outcome: Result<(), Error>) {
        let outcome = self.closed().map_or(outcome, Err);
        for waiting in batch {
            waiting.acknowledge.settle(outcome.clone());
        }
    }
}
