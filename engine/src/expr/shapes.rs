//! Statements about shapes.

use std::fmt::{Display, Formatter};
use std::sync::Arc;

use crate::expr::literal::write_text;
use crate::model::{Bitset, ByteRows};
use crate::shape::{self, Near, Relation, Shape};

/// What may be true of a shape.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ShapeTest {
    /// It lies so to a constant one.
    Lies {
        /// How.
        relation: Relation,
        /// The constant.
        to: Given,
    },
    /// Some point of it is near a place.
    Near(Near),
    /// It keeps the rules.
    IsSound,
}

impl ShapeTest {
    /// Whether the shape in each row is so, asked of those rows only that `choose` asks about.
    pub(super) fn chosen(
        &self,
        shapes: &ByteRows,
        choose: impl FnOnce(&mut dyn FnMut(usize) -> bool) -> Bitset,
    ) -> Bitset {
        match self {
            Self::Lies { relation, to } => {
                let to = to.shape.prepared(*relation);
                choose(&mut |row| to.holds(*relation, shapes.get(row)))
            }
            Self::Near(near) => choose(&mut |row| near.holds(shapes.get(row))),
            Self::IsSound => {
                choose(&mut |row| Shape::read(shapes.get(row)).is_some_and(|shape| shape.is_sound()))
            }
        }
    }

    /// Writes the call that says this of `column`.
    pub(super) fn write(&self, column: &str, out: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Lies { relation, to } => {
                write!(out, "{}({column}, {to})", relation.name())
            }
            Self::Near(Near { center: [x, y], metres }) => {
                write!(out, "st_dwithin({column}, \"POINT ({x} {y})\", {metres:?})")
            }
            Self::IsSound => write!(out, "st_isvalid({column})"),
        }
    }
}

/// A constant shape, ready for comparisons.
#[derive(Clone, Debug)]
pub(super) struct Given {
    bytes: Arc<[u8]>,
    pub(super) shape: Arc<Shape>,
}

impl PartialEq for Given {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Given {
    /// The shape that a text says.
    pub(super) fn parse(text: &str) -> Result<Self, shape::Error> {
        let bytes = shape::parse_given(text)?;
        Self::of(&bytes).ok_or(shape::Error::Ring)
    }

    /// The shape of some bytes.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        Some(Self { bytes: bytes.into(), shape: Arc::new(Shape::read(bytes)?) })
    }

    /// Its bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where it is, if it is one point.
    pub(super) fn place(&self) -> Option<[f64; 2]> {
        self.shape.place()
    }
}

impl Display for Given {
    fn fmt(&self, out: &mut Formatter<'_>) -> std::fmt::Result {
        write_text(&shape::to_text(&self.bytes).unwrap_or_default(), out)
    }
}
