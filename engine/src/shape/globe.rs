//! Distances on the globe: X is the longitude and Y the latitude in degrees, edges are the shortest ways.

use geo::{Coord, Geometry, LineString, Polygon};

use super::relate::{Shape, covers};
use super::wkb::Bounds;

/// Mean radius of the earth. Unit: metres.
const RADIUS: f64 = 6_371_000.0;

/// All that is within a distance of a point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Near {
    /// Longitude and latitude. Unit: degrees.
    pub center: [f64; 2],
    /// Unit: metres.
    pub metres: f64,
}

/// Boxes that together have every point near a place.
#[derive(Clone, Debug, PartialEq)]
pub struct NearBounds(pub Vec<Bounds>);

impl Near {
    /// Whether some point of the shape of `bytes` is that near. What is inside of a polygon is told on the plane.
    #[must_use]
    pub fn holds(&self, bytes: &[u8]) -> bool {
        Shape::read(bytes).is_some_and(|shape| self.reaches(&shape.geometry))
    }

    fn reaches(&self, geometry: &Geometry<f64>) -> bool {
        match geometry {
            Geometry::Point(point) => self.reaches_point(point.0),
            Geometry::MultiPoint(points) => points.0.iter().any(|point| self.reaches_point(point.0)),
            Geometry::LineString(line) => self.reaches_line(line),
            Geometry::MultiLineString(lines) => lines.0.iter().any(|line| self.reaches_line(line)),
            Geometry::Polygon(polygon) => self.reaches_polygon(polygon),
            Geometry::MultiPolygon(polygons) => {
                polygons.0.iter().any(|polygon| self.reaches_polygon(polygon))
            }
            Geometry::GeometryCollection(members) => members.0.iter().any(|member| self.reaches(member)),
            _ => false,
        }
    }

    fn center(&self) -> Coord<f64> {
        Coord { x: self.center[0], y: self.center[1] }
    }

    fn reaches_point(&self, point: Coord<f64>) -> bool {
        metres_between(self.center(), point) <= self.metres
    }

    fn reaches_line(&self, line: &LineString<f64>) -> bool {
        line.lines().any(|edge| metres_to_edge(self.center(), edge.start, edge.end) <= self.metres)
            || line.0.first().is_some_and(|first| self.reaches_point(*first))
    }

    fn reaches_polygon(&self, polygon: &Polygon<f64>) -> bool {
        covers(polygon, self.center())
            || self.reaches_line(polygon.exterior())
            || polygon.interiors().iter().any(|ring| self.reaches_line(ring))
    }

    /// Boxes that have every near point whose longitude is within 180 degrees and whose latitude is within 90; `None` where
    /// only all of the globe would do.
    #[must_use]
    pub fn bounds(&self) -> Option<NearBounds> {
        // A little more than is asked for, as numbers are rounded.
        let angle = self.metres / RADIUS * (1.0 + 1e-9) + 1e-9;
        let [longitude, latitude] = self.center;
        if !(-180.0..=180.0).contains(&longitude) || !(-90.0..=90.0).contains(&latitude) {
            return None;
        }
        let degrees = angle.to_degrees();
        let (low, high) = (latitude - degrees, latitude + degrees);
        // Around a pole every longitude is near.
        if !angle.is_finite() || low <= -90.0 || high >= 90.0 {
            return (degrees < 180.0)
                .then(|| NearBounds(vec![Bounds { least: [-180.0, low], greatest: [180.0, high] }]));
        }
        let side = (angle.sin() / latitude.to_radians().cos()).clamp(-1.0, 1.0).asin().to_degrees() + 1e-7;
        let (west, east) = (longitude - side, longitude + side);
        let one = |west: f64, east: f64| Bounds { least: [west, low], greatest: [east, high] };
        let mut boxes = vec![one(west.max(-180.0), east.min(180.0))];
        if west < -180.0 {
            boxes.push(one(west + 360.0, 180.0));
        }
        if east > 180.0 {
            boxes.push(one(-180.0, east - 360.0));
        }
        // The two ends of the map are one line.
        if west <= -180.0 && boxes.len() == 1 {
            boxes.push(one(180.0, 180.0));
        }
        if east >= 180.0 && boxes.len() == 1 {
            boxes.push(one(-180.0, -180.0));
        }
        Some(NearBounds(boxes))
    }
}

/// Distance of two points. Source: the haversine formula.
fn metres_between(one: Coord<f64>, other: Coord<f64>) -> f64 {
    let (latitude, other_latitude) = (one.y.to_radians(), other.y.to_radians());
    let half = |angle: f64| (angle.to_radians() / 2.0).sin().powi(2);
    let squared = half(other.y - one.y) + latitude.cos() * other_latitude.cos() * half(other.x - one.x);
    2.0 * RADIUS * squared.clamp(0.0, 1.0).sqrt().asin()
}

type Vector = [f64; 3];

fn vector(point: Coord<f64>) -> Vector {
    let (longitude, latitude) = (point.x.to_radians(), point.y.to_radians());
    [latitude.cos() * longitude.cos(), latitude.cos() * longitude.sin(), latitude.sin()]
}

fn cross(one: Vector, other: Vector) -> Vector {
    [
        one[1] * other[2] - one[2] * other[1],
        one[2] * other[0] - one[0] * other[2],
        one[0] * other[1] - one[1] * other[0],
    ]
}

fn dot(one: Vector, other: Vector) -> f64 {
    one.iter().zip(other).map(|(left, right)| left * right).sum()
}

/// Distance of a point to the shortest way between two.
fn metres_to_edge(point: Coord<f64>, start: Coord<f64>, end: Coord<f64>) -> f64 {
    /// Ends nearer to each other, or to opposite places, name no way.
    const SHORTEST: f64 = 1e-12;
    let to_ends = metres_between(point, start).min(metres_between(point, end));
    let (from, to, seen) = (vector(start), vector(end), vector(point));
    let normal = cross(from, to);
    let length = dot(normal, normal).sqrt();
    if length.is_nan() || length <= SHORTEST {
        return to_ends;
    }
    let is_beside = dot(cross(normal, from), seen) > 0.0 && dot(cross(to, normal), seen) > 0.0;
    if !is_beside {
        return to_ends;
    }
    let to_way = (dot(normal, seen) / length).clamp(-1.0, 1.0).asin().abs() * RADIUS;
    to_way.min(to_ends)
}

#[cfg(test)]
pub(super) fn metres_to_edge_of(point: [f64; 2], start: [f64; 2], end: [f64; 2]) -> f64 {
    let coord = |[x, y]: [f64; 2]| Coord { x, y };
    metres_to_edge(coord(point), coord(start), coord(end))
}
