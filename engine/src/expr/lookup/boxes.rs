//! Rows by the boxes around their shapes.

use rstar::primitives::{GeomWithData, Rectangle};
use rstar::{AABB, RTree};

use crate::expr::shapes::ShapeTest;
use crate::model::{ByteRows, Column};
use crate::shape::{Bounds, bounds};

/// The box of one row, and the row.
type Boxed = GeomWithData<Rectangle<[f64; 2]>, u32>;

/// The rows that have a shape with points, by where these are.
#[derive(Debug)]
pub(super) struct Boxes {
    tree: RTree<Boxed>,
    /// The rows whose shape is more than one point, or is not on the map of the globe: the way from a place to them may lead
    /// past their boxes.
    wide: Vec<u32>,
}

impl Boxes {
    /// The boxes of the shapes in `column`.
    pub(super) fn build(column: &Column, shapes: &ByteRows) -> Self {
        let rows = (0..shapes.len()).filter(|&row| column.is_valid(row));
        let boxes = rows.filter_map(|row| Some((bounds(shapes.get(row))?, row as u32)));
        let mut wide = Vec::new();
        let mut all = Vec::new();
        for (bounds, row) in boxes {
            if !is_on_map(&bounds) {
                wide.push(row);
            }
            all.push(Boxed::new(Rectangle::from_corners(bounds.least, bounds.greatest), row));
        }
        Self { tree: RTree::bulk_load(all), wide }
    }

    /// The rows that may pass `test`, each once; `None` if boxes say nothing of it.
    pub(super) fn find(&self, test: &ShapeTest) -> Option<Vec<u32>> {
        match test {
            ShapeTest::IsSound => None,
            ShapeTest::Lies { relation, to } => {
                let Some(given) = to.shape.bounds() else { return Some(Vec::new()) };
                let found = self.meeting(given).filter(|one| relation.may_hold(&bounds_of(one), given));
                Some(found.map(|one| one.data).collect())
            }
            ShapeTest::Near(near) => {
                let boxes = near.bounds()?.0;
                let mut rows = self.wide.clone();
                for one in &boxes {
                    let found = self.meeting(one).filter(|found| is_on_map(&bounds_of(found)));
                    rows.extend(found.map(|found| found.data));
                }
                // Boxes may have a border in common.
                rows.sort_unstable();
                rows.dedup();
                Some(rows)
            }
        }
    }

    fn meeting(&self, bounds: &Bounds) -> impl Iterator<Item = &Boxed> {
        self.tree.locate_in_envelope_intersecting(&AABB::from_corners(bounds.least, bounds.greatest))
    }

    /// Bytes of memory held.
    pub(super) fn memory_bytes(&self) -> usize {
        // Inner nodes take about a third of what leaves take.
        self.tree.size() * (size_of::<Boxed>() + 16) * 4 / 3 + self.wide.capacity() * 4
    }
}

fn bounds_of(one: &Boxed) -> Bounds {
    Bounds { least: one.geom().lower(), greatest: one.geom().upper() }
}

/// Whether it is one point whose coordinates are degrees.
fn is_on_map(bounds: &Bounds) -> bool {
    bounds.least == bounds.greatest
        && (-180.0..=180.0).contains(&bounds.least[0])
        && (-90.0..=90.0).contains(&bounds.least[1])
}
