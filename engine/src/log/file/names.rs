//! Names of directories and files. What a name says needs no checksum and cannot be torn.

use std::fmt::Write as _;

use crate::base::ChannelName;

/// What a file in a channel's directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name {
    /// Records from `base` on, written by `term`.
    Records { base: u64, term: u64 },
    /// The channel was opened with this term. Empty file; the highest counts.
    Term(u64),
    /// Records before this position were given up. Empty file; the highest counts.
    First(u64),
    /// The channel was removed and what is still here goes too. Empty file.
    Removed,
}

impl Name {
    /// The name as text.
    pub fn encode(self) -> String {
        match self {
            Self::Records { base, term } => format!("{base:020}-{term:020}.log"),
            Self::Term(term) => format!("term-{term:020}"),
            Self::First(first) => format!("first-{first:020}"),
            Self::Removed => "removed".to_owned(),
        }
    }

    /// What a name is; `None` for one that this code does not make.
    pub fn decode(name: &str) -> Option<Self> {
        let found = if name == "removed" {
            Self::Removed
        } else if let Some(term) = name.strip_prefix("term-") {
            Self::Term(term.parse().ok()?)
        } else if let Some(first) = name.strip_prefix("first-") {
            Self::First(first.parse().ok()?)
        } else {
            let (base, term) = name.strip_suffix(".log")?.split_once('-')?;
            Self::Records { base: base.parse().ok()?, term: term.parse().ok()? }
        };
        (found.encode() == name).then_some(found)
    }
}

/// The directory of a channel: its name, with every byte but letters, digits, `-` and `_` as `%` and two hex digits.
pub(in crate::log) fn encode_channel(channel: &ChannelName) -> String {
    let mut dir = String::new();
    for byte in channel.as_str().bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' {
            dir.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(dir, "%{byte:02x}");
        }
    }
    dir
}

/// The channel of a directory; `None` for a directory that this code does not make.
pub(in crate::log) fn decode_channel(dir: &str) -> Option<ChannelName> {
    let mut bytes = Vec::new();
    let mut rest = dir.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    let channel = ChannelName(String::from_utf8(bytes).ok()?.into());
    (encode_channel(&channel) == dir).then_some(channel)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_back() {
        for name in [Name::Records { base: 3, term: 4 }, Name::Term(u64::MAX), Name::First(0), Name::Removed]
        {
            assert_eq!(Name::decode(&name.encode()), Some(name));
        }
        for other in ["", "3-4.log", "term-4", "notes.txt", "term-x"] {
            assert_eq!(Name::decode(other), None, "{other}");
        }
    }

    #[test]
    fn any_channel_name_becomes_one_safe_directory() {
        for (name, dir) in [
            ("by-dev-rootcoord-dml_0_445v0", "by-dev-rootcoord-dml_0_445v0"),
            ("../é", "%2e%2e%2f%c3%a9"),
            ("100%", "100%25"),
        ] {
            let channel = ChannelName(name.into());
            assert_eq!(encode_channel(&channel), dir);
            assert_eq!(decode_channel(dir), Some(channel));
        }
        assert_eq!(decode_channel("lost+found"), None);
    }
}
