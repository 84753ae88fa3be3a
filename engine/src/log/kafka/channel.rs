//! One channel: what this process knows of it. The truth is in its topic.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::base::ChannelName;
use crate::log::queue::Queue;
use crate::log::{Error, Position};

use super::names::topic_of;

/// So many offsets are remembered of a channel; then every other is forgotten.
const MOST_OFFSETS: usize = 4096;

/// One channel.
pub(super) struct Channel {
    pub name: ChannelName,
    /// Name of its topic and of its transactional id.
    pub topic: Arc<str>,
    /// Begins the checksum of every message.
    pub crc: u32,
    /// Queue of the writer in this process. Held by a call that opens, truncates or removes.
    pub owner: Arc<tokio::sync::Mutex<Option<Arc<Queue>>>>,
    seen: Mutex<Seen>,
    /// Told after every change of `seen` that a waiting reader could care for.
    pub changed: watch::Sender<()>,
}

#[derive(Default)]
struct Seen {
    /// Positions before this were given up by this process.
    first: u64,
    removed: bool,
    /// Offsets of the first messages of some records, by position.
    offsets: BTreeMap<u64, i64>,
}

impl Channel {
    /// A channel of which nothing is known yet.
    ///
    /// # Errors
    /// [`Error::BadName`] if no topic can have its name.
    pub fn new(prefix: &str, name: &ChannelName) -> Result<Arc<Self>, Error> {
        Ok(Arc::new(Self {
            name: name.clone(),
            topic: topic_of(prefix, name)?.into(),
            crc: crc32fast::hash(name.as_str().as_bytes()),
            owner: Arc::default(),
            seen: Mutex::default(),
            changed: watch::Sender::new(()),
        }))
    }

    /// Whether this process has removed it.
    pub fn is_removed(&self) -> bool {
        self.seen.lock().removed
    }

    /// Checks that this process knows nothing against reading `position`.
    ///
    /// # Errors
    /// [`Error::Removed`] or [`Error::Truncated`].
    pub fn check(&self, position: u64) -> Result<(), Error> {
        let (first, removed) = {
            let seen = self.seen.lock();
            (seen.first, seen.removed)
        };
        if removed {
            return Err(Error::Removed { channel: self.name.clone() });
        }
        if position < first { Err(self.truncated(position, first)) } else { Ok(()) }
    }

    /// That `position` cannot be read any more.
    pub fn truncated(&self, position: u64, first: u64) -> Error {
        let (position, first) = (Position(position), Position(first));
        Error::Truncated { channel: self.name.clone(), position, first }
    }

    /// The first position that this process has not given up.
    pub fn first(&self) -> u64 {
        self.seen.lock().first
    }

    /// Forgets everything: the topic is new.
    pub fn renew(&self) {
        *self.seen.lock() = Seen::default();
    }

    /// Tells readers that records before `first` were given up.
    pub fn give_up(&self, first: u64) {
        {
            let mut seen = self.seen.lock();
            seen.first = seen.first.max(first);
            seen.offsets = seen.offsets.split_off(&first);
        }
        self.changed.send_replace(());
    }

    /// Tells readers that the channel was removed.
    pub fn remove(&self) {
        self.seen.lock().removed = true;
        self.changed.send_replace(());
    }

    /// Remembers where the record at `position` begins.
    pub fn remember(&self, position: u64, offset: i64) {
        let mut seen = self.seen.lock();
        seen.offsets.insert(position, offset);
        if seen.offsets.len() > MOST_OFFSETS {
            let mut kept = false;
            seen.offsets.retain(|_, _| {
                kept = !kept;
                kept
            });
        }
    }

    /// The last remembered record that is not after `position`: its position and offset.
    pub fn known(&self, position: u64) -> Option<(u64, i64)> {
        let seen = self.seen.lock();
        seen.offsets.range(..=position).next_back().map(|(position, offset)| (*position, *offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_remembered_and_do_not_grow_without_end() {
        let channel = Channel::new("p", &ChannelName("c".into())).unwrap();
        assert_eq!(channel.known(5), None);
        for position in 0..20_000 {
            channel.remember(position, i64::try_from(position).unwrap() * 2);
        }

        let (position, offset) = channel.known(9_999).unwrap();

        assert!(position <= 9_999 && position > 9_900, "{position}");
        assert_eq!(offset, i64::try_from(position).unwrap() * 2);
        assert!(channel.seen.lock().offsets.len() <= MOST_OFFSETS);
        channel.give_up(15_000);
        assert_eq!(channel.known(9_999), None);
        assert!(matches!(channel.check(14_999), Err(Error::Truncated { first: Position(15_000), .. })));
    }
}
