//! Whether messages come in the order in which they must stand in a topic.

use super::codec::{Header, Kind};

/// What was seen last on a walk along a topic.
#[derive(Debug, Default)]
pub(super) struct Sequence {
    term: u64,
    /// Position and piece that must come next; `None` before the first message.
    expected: Option<(u64, u32)>,
}

impl Sequence {
    /// Takes the next message's header in.
    ///
    /// # Errors
    /// What is wrong with it. A message that a fenced writer got through, a record twice, or a record missing must
    /// not happen; so the topic was changed by somebody else or Kafka broke a promise.
    pub fn take(&mut self, header: &Header) -> Result<(), &'static str> {
        let Header { kind, term, position, piece, pieces } = *header;
        if kind == Kind::Kept {
            return Ok(());
        }
        if term < self.term {
            return Err("a writer wrote after it was fenced");
        }
        if let Some(expected) = self.expected {
            if (position, piece) < expected {
                return Err("a record stands here twice");
            }
            if (position, piece) > expected {
                return Err("records before this one are missing");
            }
        }
        self.term = term;
        self.expected = Some(match kind {
            Kind::Record if piece + 1 < pieces => (position, piece + 1),
            Kind::Record => (position.saturating_add(1), 0),
            Kind::Opened | Kind::Kept => (position, 0),
        });
        Ok(())
    }

    /// Whether a message was seen.
    pub fn has_begun(&self) -> bool {
        self.expected.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(term: u64, position: u64, piece: u32, pieces: u32) -> Header {
        Header { kind: Kind::Record, term, position, piece, pieces }
    }

    fn walk(headers: &[Header]) -> Result<(), &'static str> {
        let mut sequence = Sequence::default();
        headers.iter().try_for_each(|header| sequence.take(header))
    }

    #[test]
    fn what_writers_write_is_in_order() {
        let headers = [
            record(1, 4, 1, 3),
            record(1, 4, 2, 3),
            record(1, 5, 0, 1),
            Header::note(Kind::Kept, 0, 2),
            Header::note(Kind::Opened, 2, 6),
            record(2, 6, 0, 2),
            record(2, 6, 1, 2),
        ];
        assert_eq!(walk(&headers), Ok(()));
    }

    #[test]
    fn what_must_not_happen_is_told() {
        let twice = walk(&[record(1, 4, 0, 1), record(1, 4, 0, 1)]);
        assert_eq!(twice, Err("a record stands here twice"));
        let missing = walk(&[record(1, 4, 0, 1), record(1, 6, 0, 1)]);
        assert_eq!(missing, Err("records before this one are missing"));
        let cut = walk(&[record(1, 4, 0, 2), record(1, 5, 0, 1)]);
        assert_eq!(cut, Err("records before this one are missing"));
        let fenced = walk(&[record(1, 4, 0, 1), Header::note(Kind::Opened, 3, 5), record(1, 5, 0, 1)]);
        assert_eq!(fenced, Err("a writer wrote after it was fenced"));
    }
}
