//! Rows in CSV: the first line names the fields.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

use bytes::{Buf as _, Bytes};
use csv::{ErrorKind, Reader, ReaderBuilder, StringRecord};

use super::files::{File, Pieces, io_error, source_of};
use super::{Error, MAX_ROW_BYTES};
use crate::rpc::{ImportOptions, ImportPlace};

/// The name of the format, for errors.
const FORMAT: &str = "CSV";
/// Most columns of a file.
const MAX_COLUMNS: usize = 4096;

/// Walks along the rows of a file.
pub struct CsvRows {
    file: File,
    reader: Reader<Capped>,
    left: Rc<Cell<usize>>,
    /// What the columns are called.
    header: Vec<String>,
    record: StringRecord,
    /// Where in the file the reader began.
    offset: u64,
    row: u64,
}

/// Reads no more than what one row may have.
struct Capped {
    pieces: Pieces,
    piece: Bytes,
    left: Rc<Cell<usize>>,
}

impl Read for Capped {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() {
            let Some(piece) = self.pieces.next().map_err(io_error)? else { return Ok(0) };
            self.piece = piece;
        }
        let count = out.len().min(self.piece.len()).min(self.left.get());
        if count == 0 && !out.is_empty() {
            return Err(io::Error::other(format!("a row has more than {MAX_ROW_BYTES} bytes")));
        }
        self.piece.copy_to_slice(&mut out[..count]);
        self.left.set(self.left.get() - count);
        Ok(count)
    }
}

impl CsvRows {
    /// The rows of `file` from `place` on.
    ///
    /// # Errors
    /// If it has no line with names.
    pub fn open(file: &File, options: &ImportOptions, place: ImportPlace) -> Result<Self, Error> {
        let malformed = |why: String| Error::Malformed { file: file.path.clone(), format: FORMAT, why };
        let mut rows = Self::reading(file, options, 0)?;
        let mut first = StringRecord::new();
        if !rows.reader.read_record(&mut first).map_err(|error| rows.failed(error))? {
            return Err(malformed("it is empty".to_owned()));
        }
        if first.len() > MAX_COLUMNS {
            return Err(malformed(format!("it has more than {MAX_COLUMNS} columns")));
        }
        let header: Vec<String> =
            first.iter().map(|name| name.trim_start_matches('\u{feff}').trim().to_owned()).collect();
        let mut names: Vec<&String> = header.iter().collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(malformed(format!("two columns are called {}", twice[0])));
        }
        if place.row > 0 {
            rows = Self::reading(file, options, place.byte)?;
            rows.row = place.row;
        }
        Ok(Self { header, ..rows })
    }

    fn reading(file: &File, options: &ImportOptions, offset: u64) -> Result<Self, Error> {
        let separator = u8::try_from(options.separator).ok().filter(u8::is_ascii);
        let separator = separator.filter(|byte| !matches!(byte, b'\0' | b'\n' | b'\r' | b'"'));
        let separator = separator.ok_or_else(|| Error::Unfit {
            file: file.path.clone(),
            why: format!("{:?} cannot stand between values", options.separator),
        })?;
        let left = Rc::new(Cell::new(MAX_ROW_BYTES));
        let capped = Capped { pieces: file.from(offset), piece: Bytes::new(), left: Rc::clone(&left) };
        let reader = ReaderBuilder::new().has_headers(false).delimiter(separator).from_reader(capped);
        Ok(Self {
            file: file.clone(),
            reader,
            left,
            header: Vec::new(),
            record: StringRecord::new(),
            offset,
            row: 0,
        })
    }

    /// The file's path.
    pub fn path(&self) -> &str {
        &self.file.path
    }

    /// The place before the next row.
    pub fn place(&self) -> ImportPlace {
        ImportPlace { row: self.row, byte: self.offset + self.reader.position().byte() }
    }

    /// The values of the next row with their names; `None` at the end.
    ///
    /// # Errors
    /// If a row has more or fewer values than there are names, is too long, or no text.
    pub fn next(&mut self) -> Result<Option<impl Iterator<Item = (&str, &str)>>, Error> {
        self.left.set(MAX_ROW_BYTES);
        match self.reader.read_record(&mut self.record) {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(error) => return Err(self.failed(error)),
        }
        if self.record.len() != self.header.len() {
            let why = format!("it has {} values for {} columns", self.record.len(), self.header.len());
            return Err(self.wrong(why));
        }
        self.row += 1;
        Ok(Some(self.header.iter().map(String::as_str).zip(&self.record)))
    }

    fn failed(&self, error: csv::Error) -> Error {
        match error.into_kind() {
            ErrorKind::Io(error) => match source_of(error) {
                Ok(ours) => ours,
                Err(error) => self.wrong(error.to_string()),
            },
            ErrorKind::UnequalLengths { expected_len, len, .. } => {
                self.wrong(format!("it has {len} values for {expected_len} columns"))
            }
            ErrorKind::Utf8 { .. } => self.wrong("it is not UTF-8".to_owned()),
            other => self.wrong(format!("{other:?}")),
        }
    }

    fn wrong(&self, why: String) -> Error {
        Error::Value { file: self.file.path.clone(), row: self.row, why }
    }
}
