//! An append under way.

use tokio::sync::oneshot;

use crate::base::ChannelName;

use super::{Error, Position};

/// An append that has its position and is on its way to being durable. Dropping it does not take the record back.
#[derive(Debug)]
#[must_use = "the record is not durable before `durable` has returned"]
pub struct Appending {
    /// The record's position, final from the start.
    pub position: Position,
    channel: ChannelName,
    outcome: oneshot::Receiver<Result<(), Error>>,
}

/// The other end of an [`Appending`], for implementations of [`super::LogWriter`]. Dropped unused, the append fails
/// with [`Error::Stopped`].
#[derive(Debug)]
pub struct Acknowledge(oneshot::Sender<Result<(), Error>>);

impl Appending {
    /// An append to `channel` at `position`, and the end that settles it.
    pub fn begin(channel: ChannelName, position: Position) -> (Self, Acknowledge) {
        let (sender, outcome) = oneshot::channel();
        (Self { position, channel, outcome }, Acknowledge(sender))
    }

    /// Waits until the record is durable. Cancel safe in that dropping the wait changes nothing; but nobody will
    /// say then whether the record became durable.
    ///
    /// # Errors
    /// [`Error::Fenced`], [`Error::Removed`], [`Error::Poisoned`] or [`Error::Stopped`]: the record was not
    /// acknowledged. It may be found by a later replay nevertheless, except after `Removed`.
    pub async fn durable(self) -> Result<Position, Error> {
        match self.outcome.await {
            Ok(outcome) => outcome.map(|()| self.position),
            Err(_) => Err(Error::Stopped { channel: self.channel }),
        }
    }
}

impl Acknowledge {
    /// Tells the one who waits, if somebody does.
    pub fn settle(self, outcome: Result<(), Error>) {
        // Nobody waiting is fine: dropping an `Appending` gives up the news, not the record.
        drop(self.0.send(outcome));
    }
}
