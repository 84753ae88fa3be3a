//! Whether shapes keep the rules of simple features, without which it is not certain what is inside of them.

use geo::coordinate_position::{CoordPos, coord_pos_relative_to_ring};
use geo::line_intersection::{LineIntersection, line_intersection};
use geo::{
    BoundingRect as _, Coord, CoordinatePosition as _, Geometry, Intersects as _, Line, LineString, Polygon,
    Rect,
};

/// Most pairs of edges that are looked at; a shape with more is taken for one that breaks the rules.
const MOST_PAIRS: usize = 8 << 20;
/// Most places where lines of a shape meet, which the rules allow; with more it is taken for one that breaks them, since each
/// takes memory when the shape is compared.
const MOST_MEETINGS: usize = 4 << 10;

/// What is left of both for a shape as a whole.
struct Budget {
    pairs: usize,
    meetings: usize,
}

/// Whether a shape keeps the rules. Edges are met by a line that sweeps over the plane: only pairs whose spans of X have a
/// place in common are looked at, each once, and not more than [`MOST_PAIRS`].
pub(super) fn is_sound(geometry: &Geometry<f64>) -> bool {
    keeps_rules(geometry, &mut Budget { pairs: MOST_PAIRS, meetings: MOST_MEETINGS })
}

fn keeps_rules(geometry: &Geometry<f64>, budget: &mut Budget) -> bool {
    match geometry {
        Geometry::Polygon(polygon) => are_sound(std::slice::from_ref(polygon), budget),
        Geometry::MultiPolygon(polygons) => are_sound(&polygons.0, budget),
        Geometry::LineString(line) => are_lines(std::slice::from_ref(line), budget),
        Geometry::MultiLineString(lines) => are_lines(&lines.0, budget),
        Geometry::GeometryCollection(members) => {
            members.0.iter().all(|member| keeps_rules(member, budget))
                && are_apart(members.0.iter().filter_map(geo::BoundingRect::bounding_rect))
        }
        _ => true,
    }
}

/// Whether each is a line, and they do not meet all too often.
fn are_lines(lines: &[LineString<f64>], budget: &mut Budget) -> bool {
    let edges = lines.iter().enumerate().flat_map(|(number, line)| {
        let of = line.0.len().saturating_sub(1);
        line.lines().enumerate().map(move |(at, line)| Edge { line, ring: number, at, of })
    });
    lines.iter().all(is_line)
        && sweep(edges.collect(), budget, |one, other, budget| {
            let is_apart = one.ring == other.ring && one.at.abs_diff(other.at) == 1;
            if !is_apart && line_intersection(one.line, other.line).is_some() {
                budget.meetings = budget.meetings.saturating_sub(1);
            }
            budget.meetings > 0
        })
}

/// Not all points of it are one.
fn is_line(line: &LineString<f64>) -> bool {
    line.0.is_empty() || line.0.iter().any(|point| *point != line.0[0])
}

/// No two boxes have a point in common: what members of a collection say together is not certain otherwise.
fn are_apart(boxes: impl Iterator<Item = Rect<f64>>) -> bool {
    let mut boxes: Vec<Rect<f64>> = boxes.collect();
    boxes.sort_by(|left, right| left.min().x.total_cmp(&right.min().x));
    let mut open: Vec<Rect<f64>> = Vec::new();
    boxes.into_iter().all(|next| {
        open.retain(|one| one.max().x >= next.min().x);
        let is_apart = !open.iter().any(|one| one.intersects(&next));
        open.push(next);
        is_apart
    })
}

/// An edge of one of many rings.
#[derive(Clone, Copy)]
struct Edge {
    line: Line<f64>,
    ring: usize,
    /// Its place in the ring.
    at: usize,
    /// How many edges the ring has.
    of: usize,
}

impl Edge {
    fn left(&self) -> f64 {
        self.line.start.x.min(self.line.end.x)
    }

    fn right(&self) -> f64 {
        self.line.start.x.max(self.line.end.x)
    }

    fn is_next_to(&self, other: &Self) -> bool {
        self.ring == other.ring
            && (self.at.abs_diff(other.at) == 1 || self.at.abs_diff(other.at) == self.of - 1)
    }
}

fn are_sound(polygons: &[Polygon<f64>], budget: &mut Budget) -> bool {
    let mut edges = Vec::new();
    let rings =
        polygons.iter().flat_map(|polygon| std::iter::once(polygon.exterior()).chain(polygon.interiors()));
    for (number, ring) in rings.enumerate() {
        if ring.0.is_empty() {
            continue;
        }
        let mut points = ring.0.clone();
        points.dedup();
        if points.len() < 4 || points.first() != points.last() {
            return false;
        }
        let of = points.len() - 1;
        let lines = points.windows(2).map(|pair| Line::new(pair[0], pair[1]));
        edges.extend(lines.enumerate().map(|(at, line)| Edge { line, ring: number, at, of }));
    }
    sweep(edges, budget, |one, other, _| may_meet(one, other))
        && polygons.iter().all(holes_are_inside)
        && are_beside(polygons)
}

/// Whether `is_fine` says so of each two edges whose spans of X have a place in common, and they are not too many.
fn sweep(
    mut edges: Vec<Edge>,
    budget: &mut Budget,
    mut is_fine: impl FnMut(&Edge, &Edge, &mut Budget) -> bool,
) -> bool {
    edges.sort_by(|one, other| one.left().total_cmp(&other.left()));
    let mut open: Vec<Edge> = Vec::new();
    for edge in edges {
        let Some(left) = budget.pairs.checked_sub(open.len()) else { return false };
        budget.pairs = left;
        open.retain(|one| one.right() >= edge.left());
        if !open.iter().all(|one| is_fine(one, &edge, budget)) {
            return false;
        }
        open.push(edge);
    }
    true
}

/// Whether two edges neither cross nor lie on each other, and meet within one ring only where one follows the other.
fn may_meet(one: &Edge, other: &Edge) -> bool {
    let span = |line: &Line<f64>| (line.start.y.min(line.end.y), line.start.y.max(line.end.y));
    let ((low, high), (other_low, other_high)) = (span(&one.line), span(&other.line));
    if high < other_low || other_high < low {
        return true;
    }
    match line_intersection(one.line, other.line) {
        None => true,
        Some(LineIntersection::Collinear { intersection }) => {
            // Neighbours on one line share a point, and nothing else unless the ring turns back.
            intersection.start == intersection.end && (one.ring != other.ring || one.is_next_to(other))
        }
        Some(LineIntersection::SinglePoint { is_proper, .. }) => {
            !is_proper && (one.ring != other.ring || one.is_next_to(other))
        }
    }
}

/// Where a ring that crosses no other lies to one: by its first point that is not on it.
fn position(ring: &LineString<f64>, to: impl Fn(Coord<f64>) -> CoordPos) -> CoordPos {
    let middle = |pair: &[Coord<f64>]| (pair[0] + pair[1]) / 2.0;
    let points = ring.0.iter().copied().chain(ring.0.windows(2).map(middle));
    points.map(to).find(|position| *position != CoordPos::OnBoundary).unwrap_or(CoordPos::OnBoundary)
}

fn holes_are_inside(polygon: &Polygon<f64>) -> bool {
    let (shell, holes) = (polygon.exterior(), polygon.interiors());
    let is_inside = |hole: &LineString<f64>| {
        hole.0.is_empty()
            || position(hole, |point| coord_pos_relative_to_ring(point, shell)) == CoordPos::Inside
    };
    let boxes: Vec<Option<Rect<f64>>> = holes.iter().map(geo::BoundingRect::bounding_rect).collect();
    let is_beside = |one: usize, other: usize| match (boxes[one], boxes[other]) {
        (Some(left), Some(right)) if left.intersects(&right) => {
            position(&holes[one], |point| coord_pos_relative_to_ring(point, &holes[other]))
                == CoordPos::Outside
        }
        _ => true,
    };
    let each = 0..holes.len();
    holes.iter().all(is_inside)
        && each.clone().all(|one| each.clone().all(|other| one == other || is_beside(one, other)))
}

/// No polygon lies in another.
fn are_beside(polygons: &[Polygon<f64>]) -> bool {
    let boxes: Vec<Option<Rect<f64>>> = polygons.iter().map(|polygon| polygon.bounding_rect()).collect();
    let is_beside = |one: usize, other: usize| match (boxes[one], boxes[other]) {
        (Some(left), Some(right)) if left.intersects(&right) => {
            position(polygons[one].exterior(), |point| polygons[other].coordinate_position(&point))
                == CoordPos::Outside
        }
        _ => true,
    };
    let each = 0..polygons.len();
    each.clone().all(|one| each.clone().all(|other| one == other || is_beside(one, other)))
}
