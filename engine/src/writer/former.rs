//! Reads back from the log which requests earlier owners of a channel have put there.

use std::collections::VecDeque;

use crate::base::{ChannelName, Position, Timestamp};
use crate::log::{Error as LogError, Logs, record};
use crate::writer::Error;
use crate::writer::channel::Channel;
use crate::writer::requests::{Place, Signed};

/// Records that are gone back by at first, to see how old they are.
const STEP: u64 = 64;
/// Requests that are read back at once at most: what would be forgotten at once need not be kept until then.
const MOST: usize = 1 << 17;

/// How far back the log was read.
#[derive(Debug)]
pub struct Reached {
    /// From this position on.
    pub from: Position,
    /// All requests whose records are later than this were found.
    pub floor: Timestamp,
    /// Whether the log has nothing before that, or nothing that is of use.
    pub is_all: bool,
}

impl Channel {
    /// Makes known which requests the log holds that are later than `to`, as far as it still has them.
    ///
    /// # Errors
    /// If the log cannot be read. Cancel safe.
    pub async fn reach_back(&self, logs: &dyn Logs, to: Timestamp) -> Result<(), Error> {
        // One at a time: the others find what it has found.
        let mut reached = self.reached.lock().await;
        if reached.is_all || reached.floor <= to || !self.takes_former() {
            return Ok(());
        }
        let failed = |source| Error::ReadLog { channel: self.of.name.clone(), source };
        let (start, is_all) = start_of(logs, &self.of.name, reached.from, to).await.map_err(failed)?;
        let mut floor = (start == Position(0)).then_some(Timestamp::ZERO);
        // Once something is missing, what lies before it helps nobody: a request that is not found could be what is missing.
        let mut former = VecDeque::new();
        let mut is_torn = false;
        let mut reader = logs.read(&self.of.name, start).await.map_err(failed)?;
        while reader.position() < reached.from {
            let (position, payload) = reader.next().await.map_err(failed)?;
            let at = record::stamp_of(&payload).unwrap_or_default();
            // What came before the first is not known.
            let floor = floor.get_or_insert(Timestamp(at.0.saturating_sub(1)));
            match record::origin_of(&payload) {
                // Of an earlier version, which does not say what it is of: it may be of any request.
                None => (*floor, is_torn) = (at.max(*floor), true),
                Some(origin) if origin.request.is_some() || origin.client.is_some() => {
                    former.push_back((Signed::of(origin, &payload), Place { position, at }));
                }
                Some(_) => {}
            }
            if former.len() > MOST
                && let Some((_, place)) = former.pop_front()
            {
                (*floor, is_torn) = (place.at.max(*floor), true);
            }
        }
        let floor = floor.unwrap_or(reached.floor);
        self.note_former(former.make_contiguous(), floor);
        *reached = Reached { from: start, floor, is_all: is_all || is_torn };
        Ok(())
    }
}

/// Where to begin so that everything before `from` that is later than `to` is read, and whether the log has nothing before that.
async fn start_of(
    logs: &dyn Logs,
    name: &ChannelName,
    from: Position,
    to: Timestamp,
) -> Result<(Position, bool), LogError> {
    let (mut start, mut step) = (from, STEP);
    loop {
        if start == Position(0) {
            return Ok((start, true));
        }
        start = Position(start.0.saturating_sub(step));
        step = step.saturating_mul(4);
        let first = async { logs.read(name, start).await?.next().await };
        match first.await {
            Ok((_, payload)) if record::stamp_of(&payload).unwrap_or_default() <= to => {
                return Ok((start, false));
            }
            Ok(_) => {}
            Err(LogError::Truncated { first, .. }) => return Ok((first.min(from), true)),
            Err(error) => return Err(error),
        }
    }
}
