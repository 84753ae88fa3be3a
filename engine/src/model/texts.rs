//! Texts, one a row.

use super::ends::{range_of, to_index};

/// Texts one after the other, with where each ends.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Texts {
    bytes: Vec<u8>,
    /// End of each text in `bytes`.
    ends: Vec<u64>,
}

impl Texts {
    /// No text.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `text` at the end.
    pub fn push(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        self.ends.push(self.bytes.len() as u64);
    }

    /// How many texts there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Text `row`; empty past the end.
    #[must_use]
    pub fn get(&self, row: usize) -> &str {
        let bytes = &self.bytes[range_of(&self.ends, row)];
        // Only whole texts were ever pushed, so this is a check and not a conversion; a failure shows as an empty text.
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    /// The texts in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|row| self.get(row))
    }

    /// The bytes of all texts, and where each text ends in them: what a codec stores.
    #[must_use]
    pub fn parts(&self) -> (&[u8], &[u64]) {
        (&self.bytes, &self.ends)
    }

    /// The texts that [`Self::parts`] was taken from; `None` unless the ends ascend to the end of `bytes` and every text
    /// is UTF-8.
    #[must_use]
    pub fn from_parts(bytes: Vec<u8>, ends: Vec<u64>) -> Option<Self> {
        let all = std::str::from_utf8(&bytes).ok()?;
        let mut start = 0;
        for &end in &ends {
            if end < start || !all.is_char_boundary(to_index(end)) {
                return None;
            }
            start = end;
        }
        (to_index(start) == bytes.len()).then_some(Self { bytes, ends })
    }

    /// Bytes of memory that the texts take.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * 8
    }
}

impl<'a> FromIterator<&'a str> for Texts {
    fn from_iter<I: IntoIterator<Item = &'a str>>(texts: I) -> Self {
        let mut all = Self::new();
        for text in texts {
            all.push(text);
        }
        all
    }
}
