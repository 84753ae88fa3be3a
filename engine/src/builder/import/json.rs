//! Rows in JSON: a list of objects, an object `rows` with such a list, or one object after the other.
//!
//! A file is walked along once; of it one piece and one row are in memory.

use std::ops::Range;

use super::files::{File, Pieces};
use super::{Error, MAX_ROW_BYTES};
use crate::rpc::ImportPlace;

/// The name of the format, for errors.
const FORMAT: &str = "JSON";
/// So much of the buffer that was read may stay in it.
const SPENT_BYTES: usize = 4 << 20;

/// What stands between rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// They are in a list.
    List,
    /// Nothing but white space.
    Lines,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// A row, or the end.
    First,
    /// The end, or what stands before another row.
    More,
    /// Nothing.
    End,
}

/// Walks along the rows of a file.
pub struct JsonRows {
    pieces: Pieces,
    buffer: Vec<u8>,
    /// Where in the file the buffer begins.
    offset: u64,
    /// How much of the buffer was read.
    at: usize,
    layout: Layout,
    expected: Expected,
    /// Whether the list is in an object.
    is_wrapped: bool,
    /// Rows before the next one.
    row: u64,
}

impl JsonRows {
    /// The rows of `file` from `place` on.
    ///
    /// # Errors
    /// If its beginning is that of no such file.
    pub fn open(file: &File, layout: Layout, place: ImportPlace) -> Result<Self, Error> {
        let mut rows = Self {
            pieces: file.from(0),
            buffer: Vec::new(),
            offset: 0,
            at: 0,
            layout,
            expected: Expected::First,
            is_wrapped: false,
            row: place.row,
        };
        rows.begin()?;
        if place.row > 0 {
            rows.pieces = file.from(place.byte);
            rows.buffer.clear();
            (rows.offset, rows.at, rows.expected) = (place.byte, 0, Expected::More);
        }
        Ok(rows)
    }

    /// The file's path.
    pub fn path(&self) -> &str {
        &self.pieces.file().path
    }

    /// The place before the next row.
    pub fn place(&self) -> ImportPlace {
        ImportPlace { row: self.row, byte: self.offset + self.at as u64 }
    }

    /// The text of the next row, an object; `None` at the end.
    ///
    /// # Errors
    /// If the file ends before it should, goes on after it, or a row is no object or too long.
    pub fn next(&mut self) -> Result<Option<&str>, Error> {
        let next = self.peek()?;
        match (self.layout, self.expected, next) {
            (_, Expected::End, None) | (Layout::Lines, _, None) => return Ok(None),
            (_, Expected::End, Some(_)) => return Err(self.wrong("there is something after the rows")),
            (Layout::List, _, None) => return Err(self.wrong("it ends within the rows")),
            (Layout::List, _, Some(b']')) => {
                self.at += 1;
                return self.end();
            }
            (Layout::List, Expected::More, Some(b',')) => {
                self.at += 1;
                self.peek()?;
            }
            (Layout::List, Expected::More, Some(_)) => {
                return Err(self.wrong("there is no comma between two rows"));
            }
            (Layout::List, Expected::First, _) | (Layout::Lines, _, _) => {}
        }
        if self.peek()? != Some(b'{') {
            return Err(self.wrong("a row is no object"));
        }
        let object = self.object()?;
        self.expected = Expected::More;
        self.row += 1;
        std::str::from_utf8(&self.buffer[object]).map(Some).map_err(|_| Error::Value {
            file: self.pieces.file().path.clone(),
            row: self.row - 1,
            why: "it is not UTF-8".to_owned(),
        })
    }

    fn begin(&mut self) -> Result<(), Error> {
        self.fill(3)?;
        if self.buffer.starts_with(b"\xef\xbb\xbf") {
            self.at = 3;
        }
        if self.layout == Layout::Lines {
            return Ok(());
        }
        match self.peek()? {
            Some(b'[') => {}
            Some(b'{') => {
                self.at += 1;
                for part in [&b"\"rows\""[..], b":"] {
                    self.peek()?;
                    self.fill(part.len())?;
                    if !self.buffer[self.at..].starts_with(part) {
                        return Err(self.wrong("an object must have the rows under the key \"rows\""));
                    }
                    self.at += part.len();
                }
                self.is_wrapped = true;
                if self.peek()? != Some(b'[') {
                    return Err(self.wrong("\"rows\" must be a list"));
                }
            }
            _ => return Err(self.wrong("it is neither a list of rows nor an object with one")),
        }
        self.at += 1;
        Ok(())
    }

    /// What follows the list.
    fn end(&mut self) -> Result<Option<&str>, Error> {
        if self.is_wrapped {
            if self.peek()? != Some(b'}') {
                return Err(self.wrong("an object must have nothing but the rows"));
            }
            self.at += 1;
        }
        self.expected = Expected::End;
        match self.peek()? {
            None => Ok(None),
            Some(_) => Err(self.wrong("there is something after the rows")),
        }
    }

    /// Goes on to what is no white space; `None` at the end.
    fn peek(&mut self) -> Result<Option<u8>, Error> {
        loop {
            let rest = &self.buffer[self.at..];
            match rest.iter().position(|byte| !byte.is_ascii_whitespace()) {
                Some(skipped) => {
                    self.at += skipped;
                    return Ok(Some(self.buffer[self.at]));
                }
                None => {
                    self.at = self.buffer.len();
                    if !self.more()? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Where in the buffer the object is that begins here, and goes behind it.
    fn object(&mut self) -> Result<Range<usize>, Error> {
        self.drop_spent();
        let start = self.at;
        let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
        let mut at = start;
        loop {
            while let Some(&byte) = self.buffer.get(at) {
                at += 1;
                match byte {
                    _ if escaped => escaped = false,
                    b'\\' => escaped = quoted,
                    b'"' => quoted = !quoted,
                    b'{' | b'[' if !quoted => depth += 1,
                    b'}' | b']' if !quoted => {
                        depth -= 1;
                        if depth == 0 {
                            self.at = at;
                            return Ok(start..at);
                        }
                    }
                    _ => {}
                }
            }
            if at - start > MAX_ROW_BYTES {
                let why = format!("it has more than {MAX_ROW_BYTES} bytes");
                return Err(Error::Value { file: self.pieces.file().path.clone(), row: self.row, why });
            }
            if !self.more()? {
                return Err(self.wrong("it ends within a row"));
            }
        }
    }

    /// Has at least `count` bytes in the buffer from here on, if the file has.
    fn fill(&mut self, count: usize) -> Result<(), Error> {
        while self.buffer.len() - self.at < count && self.more()? {}
        Ok(())
    }

    fn more(&mut self) -> Result<bool, Error> {
        let Some(piece) = self.pieces.next()? else { return Ok(false) };
        self.buffer.extend_from_slice(&piece);
        Ok(true)
    }

    fn drop_spent(&mut self) {
        if self.at > SPENT_BYTES {
            self.buffer.drain(..self.at);
            self.offset += self.at as u64;
            self.at = 0;
        }
    }

    fn wrong(&self, why: &str) -> Error {
        let file = self.pieces.file().path.clone();
        let why = format!("{why}, at byte {}, after {} rows", self.offset + self.at as u64, self.row);
        Error::Malformed { file, format: FORMAT, why }
    }
}
