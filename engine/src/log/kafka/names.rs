//! Names of topics.

use std::fmt::Write as _;

use crate::base::ChannelName;
use crate::log::Error;

/// Kafka's limit of a topic's name. Unit: bytes.
const MAX_TOPIC_BYTES: usize = 249;

/// The topic of a channel: the prefix, `-`, and the name with every byte but letters, digits, `-` and `_` as `.` and
/// two hex digits.
///
/// # Errors
/// [`Error::BadName`] if that is longer than a topic's name can be.
pub(super) fn topic_of(prefix: &str, channel: &ChannelName) -> Result<String, Error> {
    let mut topic = format!("{prefix}-");
    for byte in channel.as_str().bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' {
            topic.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(topic, ".{byte:02x}");
        }
    }
    if topic.len() > MAX_TOPIC_BYTES {
        let why = "with its prefix it is longer than a Kafka topic's name";
        return Err(Error::BadName { channel: channel.to_string(), why });
    }
    Ok(topic)
}

/// The channel of a topic; `None` for a topic that this code does not make.
pub(super) fn channel_of(prefix: &str, topic: &str) -> Option<ChannelName> {
    let mut rest = topic.strip_prefix(prefix)?.strip_prefix('-')?.bytes();
    let mut bytes = Vec::new();
    while let Some(byte) = rest.next() {
        if byte == b'.' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    let channel = ChannelName(String::from_utf8(bytes).ok()?.into());
    (topic_of(prefix, &channel).ok()? == topic).then_some(channel)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_channel_name_becomes_one_valid_topic() {
        for (name, topic) in [
            ("by-dev-rootcoord-dml_0_445v0", "redkite-by-dev-rootcoord-dml_0_445v0"),
            ("../é", "redkite-.2e.2e.2f.c3.a9"),
        ] {
            let channel = ChannelName(name.into());
            assert_eq!(topic_of("redkite", &channel).unwrap(), topic);
            assert_eq!(channel_of("redkite", topic), Some(channel));
        }
    }

    #[test]
    fn other_topics_are_no_channels() {
        for topic in ["__consumer_offsets", "redkite", "redkite2-a", "redkite-.zz", "redkite-.41"] {
            assert_eq!(channel_of("redkite", topic), None, "{topic}");
        }
    }

    #[test]
    fn a_name_that_no_topic_can_have_is_refused() {
        let channel = ChannelName("é".repeat(40).into());
        assert!(topic_of("a-prefix-of-some-length", &channel).is_err());
    }
}
