//! The bytes of shapes, read without trust in them.

use super::{DEEPEST, MOST_POINTS};

/// What a shape is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Point,
    Line,
    Polygon,
    MultiPoint,
    MultiLine,
    MultiPolygon,
    Collection,
}

impl Kind {
    const ALL: [(Self, &'static str); 7] = [
        (Self::Point, "POINT"),
        (Self::Line, "LINESTRING"),
        (Self::Polygon, "POLYGON"),
        (Self::MultiPoint, "MULTIPOINT"),
        (Self::MultiLine, "MULTILINESTRING"),
        (Self::MultiPolygon, "MULTIPOLYGON"),
        (Self::Collection, "GEOMETRYCOLLECTION"),
    ];

    /// The kind that a word in capital letters names, and what its points have if that is said at the end of the word.
    pub(super) fn of_word(word: &str) -> Option<(Self, Layout)> {
        Self::ALL.into_iter().find_map(|(kind, name)| {
            let (z, m) = match word.strip_prefix(name)? {
                "" => (false, false),
                "Z" => (true, false),
                "M" => (false, true),
                "ZM" => (true, true),
                _ => return None,
            };
            Some((kind, Layout { z, m }))
        })
    }

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }
}

/// What points have beside X and Y.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) z: bool,
    pub(super) m: bool,
}

impl Layout {
    /// Numbers of a point.
    pub(super) const fn width(self) -> usize {
        2 + self.z as usize + self.m as usize
    }

    pub(super) const fn code(self, kind: Kind) -> u32 {
        kind as u32 + 1 + 1000 * self.z as u32 + 2000 * self.m as u32
    }

    fn of_code(code: u32) -> Option<(Kind, Self)> {
        let (kind, _) = Kind::ALL.get((code % 1000).checked_sub(1)? as usize)?;
        let layout = Self { z: code / 1000 % 2 == 1, m: code / 2000 % 2 == 1 };
        (layout.code(*kind) == code).then_some((*kind, layout))
    }
}

/// One point: X, Y, and what else it has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    numbers: [f64; 4],
    width: usize,
}

impl Point {
    pub(super) const fn x(&self) -> f64 {
        self.numbers[0]
    }

    pub(super) const fn y(&self) -> f64 {
        self.numbers[1]
    }

    /// Whether it is a point: the bytes of none have no numbers.
    pub(super) const fn is_there(&self) -> bool {
        !self.numbers[0].is_nan() && !self.numbers[1].is_nan()
    }
}

/// The bytes not read yet.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) const fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    /// What the next shape is.
    pub(super) fn head(&mut self) -> Option<(Kind, Layout)> {
        let ([1, a, b, c, d], rest) = self.rest.split_first_chunk::<5>()? else { return None };
        self.rest = rest;
        Layout::of_code(u32::from_le_bytes([*a, *b, *c, *d]))
    }

    /// The head of a member of a shape of many.
    pub(super) fn head_of(&mut self, kind: Kind, layout: Layout) -> Option<()> {
        (self.head()? == (kind, layout)).then_some(())
    }

    /// How many members come next.
    pub(super) fn count(&mut self) -> Option<usize> {
        let (count, rest) = self.rest.split_first_chunk::<4>()?;
        self.rest = rest;
        Some(u32::from_le_bytes(*count) as usize).filter(|count| *count <= MOST_POINTS)
    }

    pub(super) fn point(&mut self, layout: Layout) -> Option<Point> {
        let width = layout.width();
        let (bytes, rest) = self.rest.split_at_checked(width * 8)?;
        self.rest = rest;
        let mut numbers = [0.0; 4];
        for (number, bytes) in numbers.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *number = f64::from_le_bytes(*bytes);
        }
        Some(Point { numbers, width })
    }
}

/// The box around a shape.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Least X and Y.
    pub least: [f64; 2],
    /// Greatest X and Y.
    pub greatest: [f64; 2],
}

impl Bounds {
    /// Whether two boxes have a point in common.
    #[must_use]
    pub fn meets(&self, other: &Self) -> bool {
        (0..2)
            .all(|axis| self.least[axis] <= other.greatest[axis] && other.least[axis] <= self.greatest[axis])
    }

    /// Whether this box has every point of the other.
    #[must_use]
    pub fn holds(&self, other: &Self) -> bool {
        (0..2)
            .all(|axis| self.least[axis] <= other.least[axis] && other.greatest[axis] <= self.greatest[axis])
    }

    fn with(this: Option<Self>, point: &Point) -> Option<Self> {
        if !point.is_there() {
            return this;
        }
        let at = [point.x(), point.y()];
        let Some(Self { least, greatest }) = this else {
            return Some(Self { least: at, greatest: at });
        };
        let least = [least[0].min(at[0]), least[1].min(at[1])];
        let greatest = [greatest[0].max(at[0]), greatest[1].max(at[1])];
        Some(Self { least, greatest })
    }
}

/// The box around the shape of some bytes; `None` for one without points and for bytes that are no shape.
#[must_use]
pub fn bounds(bytes: &[u8]) -> Option<Bounds> {
    let mut found = None;
    walk(&mut Reader::new(bytes), 0, &mut |point| found = Bounds::with(found, point))?;
    found
}

/// Shows every point to `see`; `None` if the bytes are no shape.
fn walk(reader: &mut Reader<'_>, depth: usize, see: &mut dyn FnMut(&Point)) -> Option<()> {
    if depth > DEEPEST {
        return None;
    }
    let (kind, layout) = reader.head()?;
    let line = |reader: &mut Reader<'_>, see: &mut dyn FnMut(&Point)| {
        (0..reader.count()?).try_for_each(|_| reader.point(layout).map(|point| see(&point)))
    };
    match kind {
        Kind::Point => see(&reader.point(layout)?),
        Kind::Line => line(reader, see)?,
        Kind::Polygon => (0..reader.count()?).try_for_each(|_| line(reader, see))?,
        Kind::MultiPoint => (0..reader.count()?).try_for_each(|_| {
            reader.head_of(Kind::Point, layout)?;
            reader.point(layout).map(|point| see(&point))
        })?,
        Kind::MultiLine => (0..reader.count()?).try_for_each(|_| {
            reader.head_of(Kind::Line, layout)?;
            line(reader, see)
        })?,
        Kind::MultiPolygon => (0..reader.count()?).try_for_each(|_| {
            reader.head_of(Kind::Polygon, layout)?;
            (0..reader.count()?).try_for_each(|_| line(reader, see))
        })?,
        Kind::Collection => (0..reader.count()?).try_for_each(|_| walk(reader, depth + 1, see))?,
    }
    Some(())
}

/// The text of the shape of some bytes; `None` for bytes that are no shape.
#[must_use]
pub fn to_text(bytes: &[u8]) -> Option<String> {
    let mut reader = Reader::new(bytes);
    let mut text = String::with_capacity(bytes.len());
    write(&mut reader, 0, &mut text)?;
    reader.is_done().then_some(text)
}

fn write(reader: &mut Reader<'_>, depth: usize, out: &mut String) -> Option<()> {
    if depth > DEEPEST {
        return None;
    }
    let (kind, layout) = reader.head()?;
    out.push_str(kind.name());
    out.push_str(match (layout.z, layout.m) {
        (false, false) => " ",
        (true, false) => " Z ",
        (false, true) => " M ",
        (true, true) => " ZM ",
    });
    match kind {
        Kind::Point => write_point(reader, layout, out),
        Kind::Line => write_line(reader, layout, out),
        Kind::Polygon => write_polygon(reader, layout, out),
        Kind::MultiPoint => write_many(reader, out, |reader, out| {
            reader.head_of(Kind::Point, layout)?;
            write_point(reader, layout, out)
        }),
        Kind::MultiLine => write_many(reader, out, |reader, out| {
            reader.head_of(Kind::Line, layout)?;
            write_line(reader, layout, out)
        }),
        Kind::MultiPolygon => write_many(reader, out, |reader, out| {
            reader.head_of(Kind::Polygon, layout)?;
            write_polygon(reader, layout, out)
        }),
        Kind::Collection => write_many(reader, out, |reader, out| write(reader, depth + 1, out)),
    }
}

fn write_many(
    reader: &mut Reader<'_>,
    out: &mut String,
    mut one: impl FnMut(&mut Reader<'_>, &mut String) -> Option<()>,
) -> Option<()> {
    let count = reader.count()?;
    if count == 0 {
        out.push_str("EMPTY");
        return Some(());
    }
    for at in 0..count {
        out.push_str(if at == 0 { "(" } else { ", " });
        one(reader, out)?;
    }
    out.push(')');
    Some(())
}

fn write_point(reader: &mut Reader<'_>, layout: Layout, out: &mut String) -> Option<()> {
    let point = reader.point(layout)?;
    if !point.is_there() {
        out.push_str("EMPTY");
        return Some(());
    }
    out.push('(');
    write_numbers(&point, out);
    out.push(')');
    Some(())
}

fn write_line(reader: &mut Reader<'_>, layout: Layout, out: &mut String) -> Option<()> {
    write_many(reader, out, |reader, out| {
        let point = reader.point(layout)?;
        write_numbers(&point, out);
        Some(())
    })
}

fn write_polygon(reader: &mut Reader<'_>, layout: Layout, out: &mut String) -> Option<()> {
    write_many(reader, out, |reader, out| write_line(reader, layout, out))
}

fn write_numbers(point: &Point, out: &mut String) {
    use std::fmt::Write as _;
    for (at, number) in point.numbers[..point.width].iter().enumerate() {
        let space = if at == 0 { "" } else { " " };
        let size = number.abs();
        // Writing to a text does not fail. Digits of what is very small or large would be hundreds.
        let _ = if size == 0.0 || (1e-7..1e21).contains(&size) {
            write!(out, "{space}{number}")
        } else {
            write!(out, "{space}{number:e}")
        };
    }
}
