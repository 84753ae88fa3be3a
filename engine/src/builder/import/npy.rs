//! Columns in files of NumPy, one file a field: a short header that says the type and the shape, then the values.

use std::ops::Range;

use half::f16;

use super::Error;
use super::columns::Values;
use super::files::File;

/// The name of the format, for errors.
const FORMAT: &str = "Numpy";
/// What a file begins with.
const MAGIC: &[u8] = b"\x93NUMPY";
/// Longest header.
const MAX_HEADER: usize = 64 << 10;

/// The type of the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Bool,
    /// Whole numbers of so many bytes, with a sign or without.
    Int {
        bytes: usize,
        signed: bool,
    },
    /// Fractions of so many bytes.
    Float {
        bytes: usize,
    },
    /// Texts of so many letters of four bytes, filled up with zeros.
    Letters {
        count: usize,
    },
    /// Texts of so many bytes, filled up with zeros.
    Bytes {
        count: usize,
    },
}

impl Kind {
    const fn width(self) -> usize {
        match self {
            Self::Bool => 1,
            Self::Int { bytes, .. } | Self::Float { bytes } => bytes,
            Self::Letters { count } => count * 4,
            Self::Bytes { count } => count,
        }
    }
}

/// One file, and what its header says.
pub struct Npy {
    file: File,
    kind: Kind,
    is_big: bool,
    /// Rows.
    pub rows: u64,
    /// Values a row, where rows are lists.
    wide: Option<usize>,
    /// Where the values begin.
    start: u64,
}

impl Npy {
    /// Reads the header of a file.
    ///
    /// # Errors
    /// If it is none, or says a type or shape that no field has, or another size than the file has.
    pub fn open(file: &File) -> Result<Self, Error> {
        let wrong = |why: &str| malformed(file, why);
        if file.size < 10 {
            return Err(wrong("it is too short"));
        }
        let head = file.read(0..file.size.min(12))?;
        if !head.starts_with(MAGIC) {
            return Err(wrong("it does not begin as one"));
        }
        let (length, at) = match (head[6], head.len()) {
            (1, _) => (usize::from(u16::from_le_bytes([head[8], head[9]])), 10),
            (2 | 3, 12) => (u32::from_le_bytes([head[8], head[9], head[10], head[11]]) as usize, 12),
            _ => return Err(wrong("its version is not known")),
        };
        let start = at + length as u64;
        if length > MAX_HEADER || start > file.size {
            return Err(wrong("its header is too long"));
        }
        let header = file.read(at..start)?;
        let header = std::str::from_utf8(&header).map_err(|_| wrong("its header is no text"))?;
        let (kind, is_big, shape) = parse(header).map_err(|why| wrong(&why))?;
        let (rows, wide) = match shape[..] {
            [rows] => (rows, None),
            [rows, wide] => (rows, Some(usize::try_from(wide).map_err(|_| wrong("its rows are too long"))?)),
            _ => return Err(wrong("it must have one or two dimensions")),
        };
        let row_bytes = (kind.width() as u64).checked_mul(wide.map_or(1, |wide| wide as u64));
        let bytes = row_bytes.and_then(|bytes| bytes.checked_mul(rows));
        if bytes.and_then(|bytes| bytes.checked_add(start)) != Some(file.size) {
            return Err(wrong("its size is not what its header says"));
        }
        Ok(Self { file: file.clone(), kind, is_big, rows, wide, start })
    }

    /// The file's path.
    pub fn path(&self) -> &str {
        &self.file.path
    }

    /// Bytes of a row.
    pub fn row_bytes(&self) -> u64 {
        (self.kind.width() * self.wide.unwrap_or(1)) as u64
    }

    /// The values of some rows, which exist.
    ///
    /// # Errors
    /// If the file cannot be read, or a text is none.
    pub fn read(&self, rows: Range<u64>) -> Result<Values, Error> {
        let row_bytes = self.row_bytes();
        let bytes = self.file.read(self.start + rows.start * row_bytes..self.start + rows.end * row_bytes)?;
        let items = self.values(&bytes).map_err(|at| {
            let row = rows.start + (at / self.wide.unwrap_or(1).max(1)) as u64;
            let why = "it is no text, or a number of more than 63 bits".to_owned();
            Error::Value { file: self.file.path.clone(), row, why }
        })?;
        Ok(match self.wide {
            None => items,
            Some(wide) => {
                let ends = (1..=rows.end - rows.start).map(|row| row as usize * wide).collect();
                Values::Lists { ends, items: Box::new(items) }
            }
        })
    }

    /// What bytes say, or the place of a text or number that is none.
    fn values(&self, bytes: &[u8]) -> Result<Values, usize> {
        let width = self.kind.width().max(1);
        let each = bytes.chunks_exact(width);
        Ok(match self.kind {
            Kind::Bool => Values::Bools(bytes.iter().map(|byte| *byte != 0).collect()),
            Kind::Int { signed, .. } => {
                let fit = |(at, one): (usize, &[u8])| self.int(one, signed).ok_or(at);
                Values::Ints(each.enumerate().map(fit).collect::<Result<_, _>>()?)
            }
            Kind::Float { bytes: 8 } => {
                Values::Doubles(each.map(|one| f64::from_bits(self.bits(one))).collect())
            }
            Kind::Float { bytes: 4 } => {
                Values::Singles(each.map(|one| f32::from_bits(self.bits(one) as u32)).collect())
            }
            Kind::Float { .. } => {
                Values::Singles(each.map(|one| f16::from_bits(self.bits(one) as u16).to_f32()).collect())
            }
            Kind::Letters { .. } => {
                let text = |(at, one): (usize, &[u8])| {
                    let letters = one.chunks_exact(4).map(|four| self.bits(four) as u32);
                    let mut text = String::new();
                    let mut zeros = 0;
                    for letter in letters {
                        // Zeros within a text are letters; those at its end fill it up.
                        if letter == 0 {
                            zeros += 1;
                            continue;
                        }
                        text.extend(std::iter::repeat_n('\0', std::mem::take(&mut zeros)));
                        text.push(char::from_u32(letter).ok_or(at)?);
                    }
                    Ok::<_, usize>(text)
                };
                Values::Texts(each.enumerate().map(text).collect::<Result<_, _>>()?)
            }
            Kind::Bytes { .. } => {
                let text = |(at, one): (usize, &[u8])| {
                    let end = one.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
                    std::str::from_utf8(&one[..end]).map(str::to_owned).map_err(|_| at)
                };
                Values::Texts(each.enumerate().map(text).collect::<Result<_, _>>()?)
            }
        })
    }

    fn bits(&self, bytes: &[u8]) -> u64 {
        let fold = |all: u64, byte: &u8| all << 8 | u64::from(*byte);
        if self.is_big { bytes.iter().fold(0, fold) } else { bytes.iter().rev().fold(0, fold) }
    }

    fn int(&self, bytes: &[u8], signed: bool) -> Option<i64> {
        let bits = self.bits(bytes);
        let spare = 64 - 8 * bytes.len().min(8) as u32;
        if signed { Some((bits << spare).cast_signed() >> spare) } else { i64::try_from(bits).ok() }
    }
}

fn malformed(file: &File, why: &str) -> Error {
    Error::Malformed { file: file.path.clone(), format: FORMAT, why: why.to_owned() }
}

/// The type, whether numbers are big-endian, and the shape that a header says: a Python dictionary.
fn parse(header: &str) -> Result<(Kind, bool, Vec<u64>), String> {
    let value = |key: &str| {
        let quoted = [format!("'{key}'"), format!("\"{key}\"")];
        let place = quoted.iter().find_map(|quoted| Some(header.find(quoted.as_str())? + quoted.len()));
        let rest = header[place.ok_or_else(|| format!("its header has no {key}"))?..].trim_start();
        let rest = rest.strip_prefix(':').ok_or_else(|| format!("its header has no {key}"))?;
        Ok::<_, String>(rest.trim_start())
    };
    let descr = value("descr")?;
    let quote = descr.chars().next().filter(|first| matches!(first, '\'' | '"'));
    let quote = quote.ok_or("it holds records, which are no field's values")?;
    let descr = descr[1..].split(quote).next().unwrap_or_default();
    if value("fortran_order")?.starts_with("True") {
        return Err("its values are stored column by column (fortran_order)".to_owned());
    }
    let shape = value("shape")?.strip_prefix('(').and_then(|rest| Some(rest.split_once(')')?.0));
    let shape = shape.ok_or("its shape is none")?.split(',').map(str::trim).filter(|part| !part.is_empty());
    let shape: Result<Vec<u64>, _> = shape.map(|part| part.trim_end_matches('L').parse::<u64>()).collect();
    let shape = shape.map_err(|_| "its shape is none")?;
    let unknown = || format!("its type {} is none that a field has", crate::intake::shown(descr));
    let (order, kind) = match descr.chars().next() {
        Some(order @ ('<' | '>' | '|' | '=')) => (order, &descr[1..]),
        _ => ('=', descr),
    };
    let letter = kind.chars().next().filter(char::is_ascii).ok_or_else(unknown)?;
    if letter == 'O' {
        return Err("it holds Python objects (a column with missing values does)".to_owned());
    }
    let count: usize = if kind == "?" { 1 } else { kind[1..].parse().map_err(|_| unknown())? };
    let kind = match (letter, count) {
        ('b' | '?', 1) => Kind::Bool,
        ('i', 1 | 2 | 4 | 8) => Kind::Int { bytes: count, signed: true },
        ('u', 1 | 2 | 4 | 8) => Kind::Int { bytes: count, signed: false },
        ('f', 2 | 4 | 8) => Kind::Float { bytes: count },
        ('U', 1..=65_536) => Kind::Letters { count },
        ('S', 1..=65_536) => Kind::Bytes { count },
        _ => return Err(unknown()),
    };
    Ok((kind, order == '>', shape))
}
