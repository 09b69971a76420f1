//! Where a point lies to a polygon, by counting the edges that a ray to the right crosses.
//!
//! A ring's inside is where the count is odd, whatever its sense, so holes need no orientation. Side tests are exact
//! (adaptive precision). [`Locator`] sorts the edges of a polygon, so that a point looks at the edges beside it only.

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

/// Counts the edges of one ring after the other.
///
/// The shell decides first: outside of it a point is outside whatever the holes are, so a hole that lies outside its
/// shell (which is not valid) takes nothing away and adds nothing. The first hole that a point is in, or on, decides then.
struct Count {
    ring: u32,
    /// Where the point is to the ring at hand.
    now: Position,
    decided: Option<Position>,
}

impl Count {
    fn new() -> Count {
        Count {
            ring: 0,
            now: Position::Outside,
            decided: None,
        }
    }

    /// The edges of a ring must come together, and those of the shell (ring 0) first.
    fn edge(&mut self, ring: u32, a: Coord<f64>, b: Coord<f64>, point: Coord<f64>) {
        if ring != self.ring {
            self.end_ring();
            self.ring = ring;
            self.now = Position::Outside;
        }
        if self.decided.is_some() || self.now == Position::Boundary {
            return;
        }
        self.now = match (crossing(a, b, point), self.now) {
            (Crossing::None, now) => now,
            (Crossing::Touches, _) => Position::Boundary,
            (Crossing::Crosses, Position::Inside) => Position::Outside,
            (Crossing::Crosses, _) => Position::Inside,
        };
    }

    fn end_ring(&mut self) {
        if self.decided.is_some() {
            return;
        }
        self.decided = match (self.ring, self.now) {
            (0, Position::Inside) | (1.., Position::Outside) => None,
            (0, decided) => Some(decided),
            (_, Position::Inside) => Some(Position::Outside),
            (_, Position::Boundary) => Some(Position::Boundary),
        };
    }

    fn end(mut self) -> Position {
        self.end_ring();
        self.decided.unwrap_or(Position::Inside)
    }
}

/// All edges with the number of their ring; the shell is 0.
fn edges(polygon: &Polygon<f64>) -> impl Iterator<Item = (u32, Coord<f64>, Coord<f64>)> {
    let rings = std::iter::once(polygon.exterior()).chain(polygon.interiors());
    (0u32..)
        .zip(rings)
        .flat_map(|(number, ring)| ring.0.windows(2).map(move |edge| (number, edge[0], edge[1])))
}

fn count(edges: impl Iterator<Item = (u32, Coord<f64>, Coord<f64>)>, point: Coord<f64>) -> Position {
    let mut count = Count::new();
    for (ring, a, b) in edges {
        count.edge(ring, a, b, point);
    }
    count.end()
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

/// A polygon whose edges are sorted for many points.
///
/// Edges are sorted into slabs of equal height, so that a point looks at the edges beside it only. An edge is in every slab
/// that it reaches through; there are only as many slabs as keep the whole linear in the number of edges, so a comb of
/// long teeth gets few.
#[derive(Debug)]
pub struct Locator {
    bounds: Option<Bounds>,
    slabs_per_unit: f64,
    /// The edges of slab `i` are `edges[starts[i]..starts[i + 1]]`, by ring.
    starts: Vec<u32>,
    edges: Vec<(Coord<f64>, Coord<f64>)>,
    /// The ring of each edge; empty where there is no hole.
    rings: Vec<u32>,
}

impl Locator {
    pub fn of(polygon: &Polygon<f64>) -> Locator {
        /// With fewer edges, walking all is as fast.
        const EDGES_SORTED_MIN: usize = 16;
        /// Entries for each edge that all slabs together may have.
        const ENTRIES_PER_EDGE_MAX: usize = 4;
        const SLABS_MAX: usize = 1 << 16;
        let point = |coord: &Coord<f64>| Bounds::of_point(coord.x, coord.y);
        let bounds = polygon.exterior().0.iter().map(point).reduce(Bounds::union);
        let all: Vec<_> = edges(polygon).collect();
        let mut slabs = if all.len() < EDGES_SORTED_MIN {
            1
        } else {
            all.len().min(SLABS_MAX)
        };
        let height = bounds.map_or(0.0, |bounds| bounds.max_y - bounds.min_y);
        let mut this = Locator {
            bounds,
            slabs_per_unit: 0.0,
            starts: Vec::new(),
            edges: Vec::new(),
            rings: Vec::new(),
        };
        let ranges = loop {
            this.slabs_per_unit = if height > 0.0 { slabs as f64 / height } else { 0.0 };
            this.starts = vec![0; slabs + 1];
            let range = |(_, a, b): &(u32, Coord<f64>, Coord<f64>)| (this.slab(a.y.min(b.y)), this.slab(a.y.max(b.y)));
            let ranges: Vec<_> = all.iter().map(range).collect();
            let entries: usize = ranges.iter().map(|(low, high)| high - low + 1).sum();
            if slabs == 1 || entries <= ENTRIES_PER_EDGE_MAX * all.len() {
                break ranges;
            }
            slabs /= 2;
        };
        for (low, high) in &ranges {
            (*low..=*high).for_each(|slab| this.starts[slab + 1] += 1);
        }
        for slab in 0..slabs {
            this.starts[slab + 1] += this.starts[slab];
        }
        let mut next = this.starts.clone();
        let entries = this.starts[slabs] as usize;
        this.edges = vec![(Coord::default(), Coord::default()); entries];
        if !polygon.interiors().is_empty() {
            this.rings = vec![0; entries];
        }
        for ((ring, a, b), (low, high)) in all.iter().zip(&ranges) {
            for place in &mut next[*low..=*high] {
                let at = *place as usize;
                this.edges[at] = (*a, *b);
                if let Some(of_edge) = this.rings.get_mut(at) {
                    *of_edge = *ring;
                }
                *place += 1;
            }
        }
        this
    }

    /// Around the shell; `None`: there is none.
    pub fn bounds(&self) -> Option<Bounds> {
        self.bounds
    }

    /// What is held, in bytes.
    pub fn bytes(&self) -> usize {
        self.starts.len() * 4 + self.edges.len() * 32 + self.rings.len() * 4
    }

    pub fn position(&self, point: Coord<f64>) -> Position {
        let at = Bounds::of_point(point.x, point.y);
        if !self.bounds.is_some_and(|bounds| bounds.contains(&at)) {
            return Position::Outside;
        }
        let slab = self.slab(point.y);
        let range = self.starts[slab] as usize..self.starts[slab + 1] as usize;
        let edges = range.map(|at| {
            let (a, b) = self.edges[at];
            (self.rings.get(at).copied().unwrap_or(0), a, b)
        });
        count(edges, point)
    }

    fn slab(&self, y: f64) -> usize {
        // Rounding may move an edge and a point differently, but both by this one monotonous function.
        let base = self.bounds.map_or(0.0, |bounds| bounds.min_y);
        let slab = ((y - base) * self.slabs_per_unit) as usize;
        slab.min(self.starts.len().saturating_sub(2))
    }
}

/// The areas of a geometry for many points; `None` for kinds without.
pub fn locators(geometry: &Geometry<f64>) -> Option<Vec<Locator>> {
    match geometry {
        Geometry::Polygon(polygon) => Some(vec![Locator::of(polygon)]),
        Geometry::MultiPolygon(polygons) => Some(polygons.iter().map(Locator::of).collect()),
        _ => None,
    }
}

/// Where a point lies to areas of which the interiors do not overlap.
pub fn position_in(locators: &[Locator], point: Coord<f64>) -> Position {
    best(locators.iter().map(|locator| locator.position(point)))
}
