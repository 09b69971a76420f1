//! Where a point lies to a polygon, by counting the edges that a ray to the right crosses.
//!
//! A polygon is inside where the count is odd, whatever the sense of its rings, so holes need no orientation. Side tests
//! are exact (adaptive precision). [`Locator`] sorts the edges of a polygon into slabs of equal height, so that a
//! point looks at the edges beside it only.

use geo::{Coord, GeoNum, Geometry, Kernel, Orientation, Polygon};

use crate::spatial::geometry::Bounds;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    Inside,
    Boundary,
    Outside,
}

/// What one edge does to the ray from a point to the right.
enum Crossing {
    None,
    Crosses,
    Touches,
}

fn crossing(a: Coord<f64>, b: Coord<f64>, point: Coord<f64>) -> Crossing {
    let (low, high) = if a.y <= b.y { (a, b) } else { (b, a) };
    if point.y < low.y || point.y > high.y || point.x > low.x.max(high.x) {
        return Crossing::None;
    }
    if low.y == high.y {
        return if point.x >= low.x.min(high.x) {
            Crossing::Touches
        } else {
            Crossing::None
        };
    }
    // The upper end belongs to the next edge, or a corner would count twice.
    let counts = point.y < high.y;
    if point.x < low.x.min(high.x) {
        return if counts { Crossing::Crosses } else { Crossing::None };
    }
    match <f64 as GeoNum>::Ker::orient2d(low, high, point) {
        Orientation::Collinear => Crossing::Touches,
        Orientation::CounterClockwise if counts => Crossing::Crosses,
        _ => Crossing::None,
    }
}

fn edges(polygon: &Polygon<f64>) -> impl Iterator<Item = (Coord<f64>, Coord<f64>)> {
    let rings = std::iter::once(polygon.exterior()).chain(polygon.interiors());
    rings.flat_map(|ring| ring.0.windows(2).map(|edge| (edge[0], edge[1])))
}

fn count(edges: impl Iterator<Item = (Coord<f64>, Coord<f64>)>, point: Coord<f64>) -> Position {
    let mut inside = false;
    for (a, b) in edges {
        match crossing(a, b, point) {
            Crossing::None => {}
            Crossing::Crosses => inside = !inside,
            Crossing::Touches => return Position::Boundary,
        }
    }
    if inside { Position::Inside } else { Position::Outside }
}

/// Where a point lies to a polygon or a multi-polygon; `None` for other kinds.
pub fn position(geometry: &Geometry<f64>, point: Coord<f64>) -> Option<Position> {
    match geometry {
        Geometry::Polygon(polygon) => Some(count(edges(polygon), point)),
        Geometry::MultiPolygon(polygons) => Some(best(polygons.iter().map(|polygon| count(edges(polygon), point)))),
        _ => None,
    }
}

/// Inside one part is inside; on the border of one is on the border.
fn best(positions: impl Iterator<Item = Position>) -> Position {
    let mut best = Position::Outside;
    for position in positions {
        match position {
            Position::Inside => return Position::Inside,
            Position::Boundary => best = Position::Boundary,
            Position::Outside => {}
        }
    }
    best
}

/// A polygon or multi-polygon whose edges are sorted for many points.
#[derive(Debug)]
pub struct Locator {
    parts: Vec<Slabs>,
}

impl Locator {
    /// `None` for other kinds, and where there are too few edges for it to pay.
    pub fn new(geometry: &Geometry<f64>) -> Option<Locator> {
        /// Below, walking all edges is as fast.
        const EDGES_MIN: usize = 16;
        let polygons: Vec<&Polygon<f64>> = match geometry {
            Geometry::Polygon(polygon) => vec![polygon],
            Geometry::MultiPolygon(polygons) => polygons.iter().collect(),
            _ => return None,
        };
        let edges = polygons.iter().map(|polygon| polygon.exterior().0.len()).sum::<usize>();
        (edges >= EDGES_MIN).then(|| Locator {
            parts: polygons.into_iter().filter_map(Slabs::new).collect(),
        })
    }

    pub fn position(&self, point: Coord<f64>) -> Position {
        best(self.parts.iter().map(|part| part.position(point)))
    }
}

/// One polygon's edges by slab: those of slab `i` are `items[starts[i]..starts[i + 1]]`.
#[derive(Debug)]
struct Slabs {
    bounds: Bounds,
    slabs_per_unit: f64,
    starts: Vec<u32>,
    items: Vec<(Coord<f64>, Coord<f64>)>,
}

impl Slabs {
    fn new(polygon: &Polygon<f64>) -> Option<Slabs> {
        let point = |coord: &Coord<f64>| Bounds::of_point(coord.x, coord.y);
        let bounds = polygon.exterior().0.iter().map(point).reduce(Bounds::union)?;
        let all: Vec<_> = edges(polygon).collect();
        let slabs = all.len().clamp(1, 4096);
        let height = bounds.max_y - bounds.min_y;
        let slabs_per_unit = if height > 0.0 { slabs as f64 / height } else { 0.0 };
        let mut this = Slabs {
            bounds,
            slabs_per_unit,
            starts: vec![0; slabs + 1],
            items: Vec::new(),
        };
        let ranges: Vec<_> = all
            .iter()
            .map(|(a, b)| (this.slab(a.y.min(b.y)), this.slab(a.y.max(b.y))))
            .collect();
        for (low, high) in &ranges {
            (*low..=*high).for_each(|slab| this.starts[slab + 1] += 1);
        }
        for slab in 0..slabs {
            this.starts[slab + 1] += this.starts[slab];
        }
        let mut next = this.starts.clone();
        this.items = vec![(Coord::default(), Coord::default()); this.starts[slabs] as usize];
        for (edge, (low, high)) in all.iter().zip(&ranges) {
            for place in &mut next[*low..=*high] {
                this.items[*place as usize] = *edge;
                *place += 1;
            }
        }
        Some(this)
    }

    fn slab(&self, y: f64) -> usize {
        // Rounding may move an edge and a point differently, but both by this one monotonous function.
        let slab = ((y - self.bounds.min_y) * self.slabs_per_unit) as usize;
        slab.min(self.starts.len().saturating_sub(2))
    }

    fn position(&self, point: Coord<f64>) -> Position {
        if !self.bounds.contains(&Bounds::of_point(point.x, point.y)) {
            return Position::Outside;
        }
        let slab = self.slab(point.y);
        let range = self.starts[slab] as usize..self.starts[slab + 1] as usize;
        count(self.items[range].iter().copied(), point)
    }
}
