//! One life of a channel as this process knows it.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::log::queue::Queue;
use crate::log::{Error, Position};

use super::boundary::Boundary;
use super::chain::Chain;
use super::names::Life;

/// How many places are remembered before every other one is forgotten.
const MAX_MARKS: usize = 4096;

/// One life of a channel.
pub(super) struct Channel {
    pub life: Life,
    /// Its id in this process.
    pub id: u64,
    pub view: Mutex<View>,
    /// Told after every change of `view` that a waiting reader could care for.
    pub changed: watch::Sender<()>,
    /// Held by a call of this process that opens, truncates or removes.
    pub gate: Arc<tokio::sync::Mutex<()>>,
}

/// What is known of a life. All of it is true; others may have gone on since.
pub(super) struct View {
    pub boundary: Boundary,
    /// The furthest chain known.
    pub tail: Chain,
    /// Chains on the way to the tail by their next position; of several with the same the furthest.
    marks: BTreeMap<u64, Chain>,
    /// Queue of the writer in this process, while it goes on.
    pub owner: Option<Arc<Queue>>,
    pub removed: bool,
}

impl Channel {
    /// A life of which nothing is known.
    pub fn new(life: Life, id: u64) -> Arc<Self> {
        let view = View {
            boundary: Boundary::NONE,
            tail: Chain::START,
            marks: BTreeMap::new(),
            owner: None,
            removed: false,
        };
        Arc::new(Self {
            life,
            id,
            view: Mutex::new(view),
            changed: watch::Sender::new(()),
            gate: Arc::default(),
        })
    }

    /// Takes up that the life is over, and closes the writer of this process.
    pub fn end(&self) {
        {
            let mut view = self.view.lock();
            view.removed = true;
            if let Some(owner) = view.owner.take() {
                owner.close(self.removed());
            }
        }
        self.changed.send_replace(());
    }

    /// Takes up a boundary.
    pub fn learn_boundary(&self, boundary: Boundary) {
        let is_new = self.view.lock().learn_boundary(boundary);
        if is_new {
            self.changed.send_replace(());
        }
    }

    /// Whether a record at `position` can still be read, as far as this process knows.
    pub fn check(&self, position: u64) -> Result<(), Error> {
        let view = self.view.lock();
        if view.removed {
            return Err(self.removed());
        }
        let first = Position(view.boundary.first);
        if Position(position) < first {
            let channel = self.life.channel.clone();
            return Err(Error::Truncated { channel, position: Position(position), first });
        }
        Ok(())
    }

    /// The error that says that the life is over.
    pub fn removed(&self) -> Error {
        Error::Removed { channel: self.life.channel.clone() }
    }
}

impl View {
    fn learn_boundary(&mut self, boundary: Boundary) -> bool {
        if boundary.number <= self.boundary.number {
            return false;
        }
        self.boundary = boundary;
        self.marks.retain(|_, mark| mark.sequence >= boundary.chain.sequence);
        if self.tail.sequence < boundary.chain.sequence {
            self.tail = boundary.chain;
        }
        true
    }

    /// Takes up a chain that goes on from the tail.
    pub fn learn(&mut self, chain: Chain) {
        if chain.sequence <= self.tail.sequence {
            return;
        }
        self.tail = chain;
        self.marks.insert(chain.next, chain);
        if self.marks.len() > MAX_MARKS {
            let mut keep = false;
            self.marks.retain(|_, _| {
                keep = !keep;
                keep
            });
        }
    }

    /// The furthest remembered chain whose records all lie before `position`.
    pub fn chain_before(&self, position: u64) -> Chain {
        let mark = self.marks.range(..=position).next_back().map(|(_, mark)| *mark);
        mark.unwrap_or(self.boundary.chain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ChannelName;

    #[test]
    fn places_are_found_again_however_many_there_were() {
        let channel = Channel::new(Life::new(&ChannelName("c".into()), 0), 0);
        let chain = |sequence| Chain { sequence, live: sequence, next: sequence * 10, ..Chain::START };
        for sequence in 1..=10_000 {
            channel.view.lock().learn(chain(sequence));
        }
        assert!(channel.view.lock().marks.len() <= MAX_MARKS);
        assert_eq!(channel.view.lock().tail, chain(10_000));
        let mark = channel.view.lock().chain_before(50_005);
        assert!((4_000..=5_000).contains(&mark.sequence), "{mark:?}");

        let boundary = Boundary { number: 1, first: 99_999, chain: chain(9_999) };
        channel.learn_boundary(boundary);

        assert_eq!(channel.view.lock().chain_before(99_995), chain(9_999));
        assert!(matches!(channel.check(99_998), Err(Error::Truncated { first: Position(99_999), .. })));
        channel.check(99_999).unwrap();
    }
}
