//! Keys of a channel's objects.
//!
//! `wal/<channel>/<life>/chunk/<sequence>`, `wal/<channel>/<life>/boundary/<number>`, `wal/<channel>/<life>/waypoint/<number>`,
//! `wal/<channel>/removed/<life>` and `wal-channels/<channel>/<life>`. A channel lives once more each time it is opened after a removal; since a
//! life's number is part of every key, no name of an earlier life is ever written again.

use std::fmt::Write as _;

use crate::base::ChannelName;
use crate::log::file::names::{decode_channel, encode_channel};

/// Under this are the markers of opened channels, apart from the chunks so that listing them is cheap.
pub(super) const MARKERS: &str = "wal-channels/";

/// Longest directory. Unit: bytes; what a part of a key may have.
const MAX_DIR_BYTES: usize = 200;

/// Before a name in hexadecimal. No other directory begins so: `%` is always followed by a digit.
const HEX: &str = "%%";

/// One life of a channel: from an opening to a removal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Life {
    /// The channel.
    pub channel: ChannelName,
    /// How many lives it had before.
    pub number: u64,
    dir: String,
}

impl Life {
    /// Life `number` of `channel`.
    pub fn new(channel: &ChannelName, number: u64) -> Self {
        Self { channel: channel.clone(), number, dir: encode_dir(channel) }
    }

    /// The chunk at `sequence`.
    pub fn chunk(&self, sequence: u64) -> String {
        format!("{}{sequence:020}", self.chunks())
    }

    /// What the keys of all chunks begin with.
    pub fn chunks(&self) -> String {
        format!("wal/{}/{:06}/chunk/", self.dir, self.number)
    }

    /// The number of the chunk under `key`; `None` for a key that is no chunk's.
    pub fn sequence_of(&self, key: &str) -> Option<u64> {
        let sequence = key.strip_prefix(&self.chunks())?.parse().ok()?;
        (self.chunk(sequence) == key).then_some(sequence)
    }

    /// The boundary with this number.
    pub fn boundary(&self, number: u64) -> String {
        format!("{}{number:020}", self.boundaries())
    }

    /// What the keys of all boundaries begin with.
    pub fn boundaries(&self) -> String {
        format!("wal/{}/{:06}/boundary/", self.dir, self.number)
    }

    /// The waypoint with this number.
    pub fn waypoint(&self, number: u64) -> String {
        format!("{}{number:020}", self.waypoints())
    }

    /// What the keys of all waypoints begin with.
    pub fn waypoints(&self) -> String {
        format!("wal/{}/{:06}/waypoint/", self.dir, self.number)
    }

    /// The number of the waypoint under `key`; `None` for a key that is no waypoint's.
    pub fn waypoint_of(&self, key: &str) -> Option<u64> {
        let number = key.strip_prefix(&self.waypoints())?.parse().ok()?;
        (self.waypoint(number) == key).then_some(number)
    }

    /// There once this life is over.
    pub fn removed(&self) -> String {
        format!("wal/{}/removed/{:06}", self.dir, self.number)
    }

    /// There while this life goes on, perhaps longer.
    pub fn marker(&self) -> String {
        format!("{MARKERS}{}/{:06}", self.dir, self.number)
    }

    /// The life whose marker `key` is; `None` for a key that is no marker's.
    pub fn of_marker(key: &str) -> Option<Self> {
        let (dir, number) = key.strip_prefix(MARKERS)?.split_once('/')?;
        let life = Self::new(&decode_dir(dir)?, number.parse().ok()?);
        (life.marker() == key).then_some(life)
    }
}

/// A channel's name as one part of a key.
fn encode_dir(channel: &ChannelName) -> String {
    let dir = encode_channel(channel);
    if dir.len() <= MAX_DIR_BYTES {
        return dir;
    }
    channel.as_str().bytes().fold(HEX.to_owned(), |mut dir, byte| {
        // Writing to a string does not fail.
        let _ = write!(dir, "{byte:02x}");
        dir
    })
}

fn decode_dir(dir: &str) -> Option<ChannelName> {
    let Some(digits) = dir.strip_prefix(HEX) else { return decode_channel(dir) };
    let pairs = (0..digits.len()).step_by(2).map(|at| digits.get(at..at + 2));
    let bytes = pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect::<Option<Vec<_>>>()?;
    Some(ChannelName(String::from_utf8(bytes).ok()?.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_back() {
        for name in ["by-dev-rootcoord-dml_0_445v0", "../é", &"/".repeat(80)] {
            let life = Life::new(&ChannelName(name.into()), 3);
            assert_eq!(Life::of_marker(&life.marker()), Some(life.clone()), "{name}");
            assert_eq!(life.sequence_of(&life.chunk(77)), Some(77));
            assert_eq!(life.sequence_of(&life.boundary(77)), None);
            assert_eq!(life.waypoint_of(&life.waypoint(77)), Some(77));
            assert_eq!(life.waypoint_of(&life.chunk(77)), None);
            assert!(life.dir.len() <= MAX_DIR_BYTES);
        }
    }

    #[test]
    fn the_keys_do_not_change() {
        let life = Life::new(&ChannelName("a/b".into()), 2);

        assert_eq!(life.chunk(5), "wal/a%2fb/000002/chunk/00000000000000000005");
        assert_eq!(life.boundary(6), "wal/a%2fb/000002/boundary/00000000000000000006");
        assert_eq!(life.waypoint(7), "wal/a%2fb/000002/waypoint/00000000000000000007");
        assert_eq!(life.removed(), "wal/a%2fb/removed/000002");
        assert_eq!(life.marker(), "wal-channels/a%2fb/000002");
    }
}
