//! Reads back from the log which requests earlier owners of a channel have put there.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::base::{ChannelName, Kind, Kinded as _, Position, Timestamp};
use crate::log::{Error as LogError, Logs, record};
use crate::writer::Error;
use crate::writer::requests::{Place, Signed};

/// Records that are gone back by at first, to see how old they are.
const STEP: u64 = 64;
/// Requests that are read back at once at most: what would be forgotten at once need not be kept until then.
const MOST: usize = 1 << 17;

/// How far back the log was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// From this position on.
    pub from: Position,
    /// All requests whose records are later than this were found.
    pub floor: Timestamp,
    /// Whether the log has nothing before that, or nothing that is of use.
    pub is_all: bool,
}

impl Reached {
    /// Whether everything later than `to` was found, as far as it can be.
    pub fn covers(&self, to: Timestamp) -> bool {
        self.is_all || self.floor <= to
    }
}

/// Says how a reading ended, once it has.
pub type Ending = watch::Receiver<Option<Result<(), Arc<Error>>>>;

/// How far back a channel's log was read, and the reading that goes on.
#[derive(Debug)]
pub struct ReadBack {
    /// How far.
    pub reached: Reached,
    /// The reading that goes on.
    pub under_way: Option<Ending>,
    /// Since when names are looked for, on the monotonic clock; not counted while the log is away.
    names_since: Option<Duration>,
    /// Whether names that were not found are not looked for any more.
    has_given_up: bool,
}

impl ReadBack {
    /// Nothing was read yet of a log that was opened when it ended at `end`, and in which nothing is later than `newest`.
    pub const fn new(end: Position, newest: Timestamp) -> Self {
        let reached = Reached { from: end, floor: newest, is_all: false };
        Self { reached, under_way: None, names_since: None, has_given_up: false }
    }

    /// How long who looks for names at `now` waits at most, if all of them together wait for `within`; `None` if they are not
    /// looked for any more. However often it is asked, the time does not begin anew.
    pub fn names_left(&mut self, now: Duration, within: Duration) -> Option<Duration> {
        let since = *self.names_since.get_or_insert(now);
        (!self.has_given_up).then(|| (since + within).saturating_sub(now))
    }

    /// The names cannot be read.
    pub fn give_up_names(&mut self) {
        self.has_given_up = true;
    }

    /// A reading has ended with `failure`, or well.
    pub fn end(&mut self, failure: Option<&Error>) {
        self.under_way = None;
        if failure.is_some_and(|error| error.kind() == Kind::Unavailable) {
            // What could not be read in that time says nothing of how much there is to read.
            self.names_since = None;
        }
    }
}

/// Which requests the log holds that are later than `to`, as far as it still has them: those that were not found before `reached`,
/// oldest first, and how far it was gone back for them.
///
/// # Errors
/// If the log cannot be read. Cancel safe.
pub async fn read_back(
    logs: &dyn Logs,
    name: &ChannelName,
    reached: Reached,
    to: Timestamp,
) -> Result<(Vec<(Signed, Place)>, Reached), Error> {
    let failed = |source| Error::ReadLog { channel: name.clone(), source };
    let (mut start, mut is_all) = start_of(logs, name, reached.from, to).await.map_err(failed)?;
    loop {
        match read_from(logs, name, start, reached).await {
            Ok((former, floor, is_torn)) => {
                return Ok((former, Reached { from: start, floor, is_all: is_all || is_torn }));
            }
            // Given up since it was looked where to begin; what lies behind is there still.
            Err(LogError::Truncated { first, .. }) if first > start => {
                (start, is_all) = (first.min(reached.from), true);
            }
            Err(source) => return Err(failed(source)),
        }
    }
}

/// The requests from `start` on that were not found before, oldest first; the time from which on none is missing; and whether what lies
/// before them helps nobody.
async fn read_from(
    logs: &dyn Logs,
    name: &ChannelName,
    start: Position,
    reached: Reached,
) -> Result<(Vec<(Signed, Place)>, Timestamp, bool), LogError> {
    let mut floor = (start == Position(0)).then_some(Timestamp::ZERO);
    // Once something is missing, what lies before it helps nobody: a request that is not found could be what is missing.
    let mut former = VecDeque::new();
    let mut is_torn = false;
    if start >= reached.from {
        return Ok((Vec::new(), floor.unwrap_or(reached.floor), is_torn));
    }
    let mut reader = logs.read(name, start).await?;
    while reader.position() < reached.from {
        let (position, payload) = reader.next().await?;
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
    Ok((former.into(), floor.unwrap_or(reached.floor), is_torn))
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
