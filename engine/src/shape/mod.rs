//! Shapes on a plane: texts (WKT) to bytes (WKB) and back, how two of them lie to each other, and distances on the globe.
//!
//! A shape is kept as its bytes, little-endian as ISO SQL/MM has them, with `Z` and `M` where the text had them; whatever
//! compares shapes looks at `X` and `Y` only. Knows no columns and no wire.

mod globe;
mod relate;
mod sound;
#[cfg(test)]
mod tests;
mod wkb;
mod wkt;

pub use globe::{Near, NearBounds};
pub use relate::{Prepared, Relation, Shape};
pub use wkb::{Bounds, bounds, to_text};
pub use wkt::{parse, parse_given};

/// Most points of one shape that is stored.
pub const MOST_POINTS: usize = 8192;
/// Most points of a shape that others are compared with. The two bound what one comparison takes: in the worst case every edge
/// of one meets every edge of the other.
pub const MOST_POINTS_GIVEN: usize = 2048;
/// Deepest nesting of collections.
const DEEPEST: usize = 16;
/// Greatest coordinate: products of four of them are still numbers.
const MOST_COORDINATE: f64 = 1e70;

/// Why a text is no shape.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text does not begin with the name of a kind of shape.
    #[error("cannot parse WKT: '{found}' is no type of geometry")]
    Kind {
        /// What is there.
        found: String,
    },
    /// Something else should stand here.
    #[error("cannot parse WKT: expected {expected}, found '{found}'")]
    Expected {
        /// What should.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// A coordinate is no finite number, or too large.
    #[error("invalid coordinate '{found}' in WKT")]
    Coordinate {
        /// What is there.
        found: String,
    },
    /// A line of one point.
    #[error("invalid WKT: a LINESTRING needs at least 2 points")]
    Line,
    /// A ring with fewer than four points, or that does not end where it begins.
    #[error(
        "invalid WKT: each ring of a POLYGON needs at least 4 points and must be closed: its last point is its first"
    )]
    Ring,
    /// More points than are taken.
    #[error("invalid WKT: a geometry has at most {limit} points")]
    Points {
        /// The most.
        limit: usize,
    },
    /// Collections in collections, too deep.
    #[error("invalid WKT: GEOMETRYCOLLECTION is nested deeper than {limit} levels")]
    Depth {
        /// The deepest.
        limit: usize,
    },
}
