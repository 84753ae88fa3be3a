//! How two shapes lie to each other.

use std::sync::OnceLock;

use geo::coordinate_position::CoordPos;
use geo::{
    CoordinatePosition as _, CoordsIter as _, Geometry, GeometryCollection, Intersects as _, LineString,
    MultiLineString, MultiPoint, MultiPolygon, Polygon, PreparedGeometry, Relate as _,
};

use super::DEEPEST;
use super::sound::is_sound;
use super::wkb::{Bounds, Kind, Layout, Reader, bounds};

/// Shapes of no more points are compared edge by edge.
const FEW_POINTS: usize = 256;

/// What may be true of two shapes, the first of which is the one that is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// They are the same points.
    Equals,
    /// They have points in common, but none inside both.
    Touches,
    /// Both are of one dimension, as is what they have in common, and each has more.
    Overlaps,
    /// They have inside points in common, and what that is has a lower dimension than one of them.
    Crosses,
    /// The first has all points of the second, some of them inside.
    Contains,
    /// They have a point in common.
    Intersects,
    /// The second contains the first.
    Within,
}

impl Relation {
    /// All of them with the names of their functions.
    pub const ALL: [(&'static str, Self); 7] = [
        ("st_equals", Self::Equals),
        ("st_touches", Self::Touches),
        ("st_overlaps", Self::Overlaps),
        ("st_crosses", Self::Crosses),
        ("st_contains", Self::Contains),
        ("st_intersects", Self::Intersects),
        ("st_within", Self::Within),
    ];

    /// The name of its function.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, relation)| *relation == self).map_or("", |(name, _)| name)
    }

    /// Whether boxes allow it: what is said of two shapes follows for the boxes around them.
    #[must_use]
    pub fn may_hold(self, first: &Bounds, second: &Bounds) -> bool {
        match self {
            Self::Equals => first == second,
            Self::Contains => first.holds(second),
            Self::Within => second.holds(first),
            Self::Touches | Self::Overlaps | Self::Crosses | Self::Intersects => first.meets(second),
        }
    }
}

/// A shape ready for comparisons.
#[derive(Clone, Debug)]
pub struct Shape {
    pub(super) geometry: Geometry<f64>,
    bounds: Option<Bounds>,
    /// Found out when it is asked for.
    is_sound: OnceLock<bool>,
}

impl Shape {
    /// The shape of some bytes; `None` if they are none.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let geometry = read(&mut reader, 0)?;
        if !reader.is_done() {
            return None;
        }
        Some(Self { geometry, bounds: bounds(bytes), is_sound: OnceLock::new() })
    }

    /// Whether the shape is one by the rules: rings that do not meet themselves, holes inside of shells, and so on. One with
    /// too many edges beside each other counts as none. Takes up to half a second of CPU.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        *self.is_sound.get_or_init(|| is_sound(&self.geometry))
    }

    /// The box around it; `None` if it has no point.
    #[must_use]
    pub const fn bounds(&self) -> Option<&Bounds> {
        self.bounds.as_ref()
    }

    /// Where it is, if it is one point. X and Y.
    #[must_use]
    pub const fn place(&self) -> Option<[f64; 2]> {
        match &self.geometry {
            Geometry::Point(point) => Some([point.0.x, point.0.y]),
            _ => None,
        }
    }

    /// Ready to be compared with many as `relation` has it. Takes as long as [`Self::is_sound`].
    #[must_use]
    pub fn prepared(&self, relation: Relation) -> Prepared<'_> {
        let is_needed = relation != Relation::Intersects || self.geometry.coords_count() > FEW_POINTS;
        let prepared = (is_needed && self.is_sound()).then(|| PreparedGeometry::from(&self.geometry));
        Prepared { shape: self, prepared }
    }
}

/// A shape that many are compared with.
pub struct Prepared<'s> {
    shape: &'s Shape,
    prepared: Option<PreparedGeometry<'s, &'s Geometry<f64>, f64>>,
}

impl Prepared<'_> {
    /// Whether the shape of `bytes` lies so to this one. Of a shape that breaks the rules only meeting and sameness are known.
    #[must_use]
    pub fn holds(&self, relation: Relation, bytes: &[u8]) -> bool {
        let (Some(first), Some(second)) = (bounds(bytes), self.shape.bounds()) else { return false };
        if !relation.may_hold(&first, second) {
            return false;
        }
        let Some(shape) = Shape::read(bytes) else { return false };
        self.compare(relation, &shape)
    }

    fn compare(&self, relation: Relation, first: &Shape) -> bool {
        let (left, right) = (&first.geometry, &self.shape.geometry);
        if relation == Relation::Intersects {
            // Edge by edge is quickest for few of them, and with a tree of the edges for many.
            let is_long = left.coords_count() * right.coords_count() > FEW_POINTS * FEW_POINTS;
            let prepared = self.prepared.as_ref().filter(|_| is_long && first.is_sound());
            return prepared
                .map_or_else(|| left.intersects(right), |prepared| left.relate(prepared).is_intersects());
        }
        if relation == Relation::Equals && left == right {
            return true;
        }
        let Some(prepared) = self.prepared.as_ref().filter(|_| first.is_sound()) else { return false };
        // Points are many, and quickly told.
        match (relation, left, right) {
            (Relation::Within, Geometry::Point(point), _) => {
                return right.coordinate_position(&point.0) == CoordPos::Inside;
            }
            (Relation::Touches, Geometry::Point(point), _) => {
                return right.coordinate_position(&point.0) == CoordPos::OnBoundary;
            }
            (Relation::Contains, _, Geometry::Point(point)) => {
                return left.coordinate_position(&point.0) == CoordPos::Inside;
            }
            (Relation::Touches, _, Geometry::Point(point)) => {
                return left.coordinate_position(&point.0) == CoordPos::OnBoundary;
            }
            (Relation::Crosses | Relation::Overlaps, Geometry::Point(_), _)
            | (Relation::Crosses | Relation::Overlaps, _, Geometry::Point(_)) => return false,
            _ => {}
        }
        let matrix = left.relate(prepared);
        match relation {
            Relation::Equals => matrix.is_equal_topo(),
            Relation::Touches => matrix.is_touches(),
            Relation::Overlaps => matrix.is_overlaps(),
            Relation::Crosses => matrix.is_crosses(),
            Relation::Contains => matrix.is_contains(),
            Relation::Intersects => matrix.is_intersects(),
            Relation::Within => matrix.is_within(),
        }
    }
}

/// Whether a point is in or on a polygon.
pub(super) fn covers(polygon: &Polygon<f64>, point: geo::Coord<f64>) -> bool {
    polygon.intersects(&point)
}

fn read(reader: &mut Reader<'_>, depth: usize) -> Option<Geometry<f64>> {
    if depth > DEEPEST {
        return None;
    }
    let (kind, layout) = reader.head()?;
    Some(match kind {
        Kind::Point => match point(reader, layout)? {
            Some(coord) => Geometry::Point(coord.into()),
            None => Geometry::MultiPoint(MultiPoint(Vec::new())),
        },
        Kind::Line => Geometry::LineString(line(reader, layout)?),
        Kind::Polygon => Geometry::Polygon(polygon(reader, layout)?),
        Kind::MultiPoint => {
            let points = members(reader, |reader| {
                reader.head_of(Kind::Point, layout)?;
                point(reader, layout)
            })?;
            Geometry::MultiPoint(MultiPoint(points.into_iter().flatten().map(Into::into).collect()))
        }
        Kind::MultiLine => Geometry::MultiLineString(MultiLineString(filled(
            members(reader, |reader| {
                reader.head_of(Kind::Line, layout)?;
                line(reader, layout)
            })?,
            |line| !line.0.is_empty(),
        ))),
        Kind::MultiPolygon => Geometry::MultiPolygon(MultiPolygon(filled(
            members(reader, |reader| {
                reader.head_of(Kind::Polygon, layout)?;
                polygon(reader, layout)
            })?,
            |polygon| !polygon.exterior().0.is_empty(),
        ))),
        Kind::Collection => {
            let members = members(reader, |reader| read(reader, depth + 1))?;
            Geometry::GeometryCollection(GeometryCollection(members))
        }
    })
}

fn filled<T>(mut members: Vec<T>, has_points: impl Fn(&T) -> bool) -> Vec<T> {
    members.retain(has_points);
    members
}

fn members<T>(reader: &mut Reader<'_>, mut one: impl FnMut(&mut Reader<'_>) -> Option<T>) -> Option<Vec<T>> {
    (0..reader.count()?).map(|_| one(reader)).collect()
}

/// A point; `Some(None)` for one that is nowhere.
fn point(reader: &mut Reader<'_>, layout: Layout) -> Option<Option<geo::Coord<f64>>> {
    let point = reader.point(layout)?;
    Some(point.is_there().then(|| geo::Coord { x: point.x(), y: point.y() }))
}

fn line(reader: &mut Reader<'_>, layout: Layout) -> Option<LineString<f64>> {
    let points = members(reader, |reader| point(reader, layout).flatten())?;
    Some(LineString(points))
}

fn polygon(reader: &mut Reader<'_>, layout: Layout) -> Option<Polygon<f64>> {
    let mut rings = members(reader, |reader| line(reader, layout))?.into_iter();
    let shell = rings.next().unwrap_or_else(|| LineString(Vec::new()));
    Some(Polygon::new(shell, rings.collect()))
}
