//! Texts to bytes, in one pass.

use super::wkb::{Kind, Layout};
use super::{DEEPEST, Error, MOST_COORDINATE, MOST_POINTS, MOST_POINTS_GIVEN};

/// The bytes of the shape that a text says. The names of types have any case; `MULTIPOINT` takes points with brackets around
/// each and without.
///
/// # Errors
/// What is wrong with it, at the first place where something is.
pub fn parse(text: &str) -> Result<Vec<u8>, Error> {
    parse_up_to(text, MOST_POINTS)
}

/// As [`parse`], of a shape that others are compared with, which has fewer points at most.
///
/// # Errors
/// As for [`parse`].
pub fn parse_given(text: &str) -> Result<Vec<u8>, Error> {
    parse_up_to(text, MOST_POINTS_GIVEN)
}

fn parse_up_to(text: &str, limit: usize) -> Result<Vec<u8>, Error> {
    let mut parser = Parser { rest: text, out: Vec::new(), points: 0, limit };
    parser.shape(0)?;
    parser.blanks();
    if parser.rest.is_empty() { Ok(parser.out) } else { Err(parser.unexpected("the end")) }
}

struct Parser<'a> {
    rest: &'a str,
    out: Vec<u8>,
    /// Points so far, and shapes in collections, which take room without any.
    points: usize,
    /// Most of them.
    limit: usize,
}

impl<'a> Parser<'a> {
    fn blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
    }

    fn found(&self) -> String {
        let end = self.rest.find([' ', ',', '(', ')']).unwrap_or(self.rest.len()).max(1);
        self.rest.chars().take(end.min(32)).collect()
    }

    fn unexpected(&self, expected: &'static str) -> Error {
        Error::Expected { expected, found: self.found() }
    }

    fn word(&mut self) -> &'a str {
        self.blanks();
        let end = self.rest.find(|letter: char| !letter.is_ascii_alphabetic()).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    /// Takes `word` if it comes next.
    fn takes(&mut self, word: &str) -> bool {
        let before = self.rest;
        if self.word().eq_ignore_ascii_case(word) {
            return true;
        }
        self.rest = before;
        false
    }

    fn sign(&mut self, sign: char) -> bool {
        self.blanks();
        match self.rest.strip_prefix(sign) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, sign: char, expected: &'static str) -> Result<(), Error> {
        if self.sign(sign) { Ok(()) } else { Err(self.unexpected(expected)) }
    }

    fn count_one(&mut self) -> Result<(), Error> {
        self.points += 1;
        if self.points > self.limit { Err(Error::Points { limit: self.limit }) } else { Ok(()) }
    }

    fn shape(&mut self, depth: usize) -> Result<(), Error> {
        if depth > DEEPEST {
            return Err(Error::Depth { limit: DEEPEST });
        }
        self.blanks();
        let found = self.found();
        let word = self.word().to_ascii_uppercase();
        let (kind, mut layout) = Kind::of_word(&word).ok_or(Error::Kind { found })?;
        if layout == Layout::default() {
            let named = [("Z", true, false), ("M", false, true), ("ZM", true, true)];
            if let Some((_, z, m)) = named.into_iter().find(|(name, ..)| self.takes(name)) {
                layout = Layout { z, m };
            }
        }
        self.head(kind, layout);
        if self.takes("EMPTY") {
            self.empty(kind, layout);
            return Ok(());
        }
        match kind {
            Kind::Point => {
                self.expect('(', "'('")?;
                self.coordinate(layout)?;
                self.expect(')', "')'")
            }
            Kind::Line => self.line(layout),
            Kind::Polygon => self.polygon(layout),
            Kind::MultiPoint => self.many(|parser| parser.bracketed_point(layout)),
            Kind::MultiLine => self.many(|parser| {
                parser.head(Kind::Line, layout);
                if parser.takes("EMPTY") { parser.none() } else { parser.line(layout) }
            }),
            Kind::MultiPolygon => self.many(|parser| {
                parser.head(Kind::Polygon, layout);
                if parser.takes("EMPTY") { parser.none() } else { parser.polygon(layout) }
            }),
            Kind::Collection => self.many(|parser| {
                parser.count_one()?;
                parser.shape(depth + 1)
            }),
        }
    }

    fn head(&mut self, kind: Kind, layout: Layout) {
        self.out.push(1);
        self.out.extend_from_slice(&layout.code(kind).to_le_bytes());
    }

    /// A shape without points; of a point, no number where its coordinates are.
    fn empty(&mut self, kind: Kind, layout: Layout) {
        if kind == Kind::Point {
            (0..layout.width()).for_each(|_| self.out.extend_from_slice(&f64::NAN.to_le_bytes()));
        } else {
            self.out.extend_from_slice(&0_u32.to_le_bytes());
        }
    }

    fn none(&mut self) -> Result<(), Error> {
        self.out.extend_from_slice(&0_u32.to_le_bytes());
        self.count_one()
    }

    /// `(a, b, …)`, with how many there are in front.
    fn many(&mut self, mut one: impl FnMut(&mut Self) -> Result<(), Error>) -> Result<(), Error> {
        self.expect('(', "'(' or EMPTY")?;
        let place = self.out.len();
        self.out.extend_from_slice(&[0; 4]);
        let mut count: u32 = 0;
        loop {
            one(self)?;
            count += 1;
            if !self.sign(',') {
                break;
            }
        }
        self.expect(')', "',' or ')'")?;
        self.out[place..place + 4].copy_from_slice(&count.to_le_bytes());
        Ok(())
    }

    fn bracketed_point(&mut self, layout: Layout) -> Result<(), Error> {
        self.head(Kind::Point, layout);
        if self.takes("EMPTY") {
            self.empty(Kind::Point, layout);
            return self.count_one();
        }
        let bracketed = self.sign('(');
        self.coordinate(layout)?;
        if bracketed { self.expect(')', "')'") } else { Ok(()) }
    }

    /// The coordinates of a list, and where it begins and ends in the bytes.
    fn list(&mut self, layout: Layout) -> Result<(usize, usize), Error> {
        let start = self.out.len() + 4;
        self.many(|parser| parser.coordinate(layout))?;
        Ok((start, self.out.len()))
    }

    fn line(&mut self, layout: Layout) -> Result<(), Error> {
        let (start, end) = self.list(layout)?;
        if end - start < 2 * layout.width() * 8 { Err(Error::Line) } else { Ok(()) }
    }

    fn polygon(&mut self, layout: Layout) -> Result<(), Error> {
        self.many(|parser| {
            let (start, end) = parser.list(layout)?;
            let width = layout.width() * 8;
            // Closed by what is compared, whatever else a point has.
            let (first, last) = (&parser.out[start..start + 16], &parser.out[end - width..end - width + 16]);
            if end - start < 4 * width || first != last { Err(Error::Ring) } else { Ok(()) }
        })
    }

    fn coordinate(&mut self, layout: Layout) -> Result<(), Error> {
        self.count_one()?;
        for _ in 0..layout.width() {
            self.blanks();
            let end = self.rest.find([' ', '\t', '\r', '\n', ',', '(', ')']).unwrap_or(self.rest.len());
            let (written, rest) = self.rest.split_at(end);
            let is_plain = written
                .bytes()
                .all(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E'));
            let number = written.parse::<f64>().ok().filter(|_| is_plain);
            let number = number.filter(|number| number.abs() <= MOST_COORDINATE);
            let number =
                number.ok_or_else(|| Error::Coordinate { found: written.chars().take(32).collect() })?;
            // One zero, so that equal points have equal bytes.
            self.out.extend_from_slice(&(number + 0.0).to_le_bytes());
            self.rest = rest;
        }
        Ok(())
    }
}
