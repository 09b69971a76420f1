//! A geometry as what its relations depend on: segments, polygons, ends of lines, points.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::OnceLock;

use geo::{Coord, Geometry, LineString, Polygon};
use geo_index::rtree::sort::HilbertSort;
use geo_index::rtree::{RTree, RTreeBuilder, RTreeIndex};

use super::locate::Locator;
use crate::spatial::geometry::Bounds;

/// With fewer segments, walking all is as fast as a search.
const SEGMENTS_INDEXED_MIN: usize = 24;

/// What a segment is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    Line,
    /// A ring of the polygon of this number; the interior is on the left of the segment, or on the right.
    Ring {
        polygon: u32,
        inside_left: bool,
    },
}

#[derive(Debug, Clone, Copy)]
pub struct Segment {
    pub from: Coord<f64>,
    pub to: Coord<f64>,
    pub owner: Owner,
}

impl Segment {
    pub fn bounds(&self) -> Bounds {
        Bounds::of_point(self.from.x, self.from.y).union(Bounds::of_point(self.to.x, self.to.y))
    }
}

/// One geometry.
///
/// - No segment has length 0; a line of length 0 is a point.
/// - Lines' ends follow the mod-2 rule: a point where an odd number of lines end is their boundary.
#[derive(Debug, Default)]
pub struct Topology {
    pub segments: Vec<Segment>,
    /// The segments of each line and ring.
    pub chains: Vec<Range<usize>>,
    pub polygons: Vec<Locator>,
    /// Where an odd number of lines end.
    pub ends: HashSet<Place>,
    pub points: HashSet<Place>,
    /// Parts may overlap each other: the geometry is a collection of more than one part.
    pub overlapping: bool,
    pub bounds: Option<Bounds>,
    tree: OnceLock<Option<RTree<f64>>>,
}

/// A coordinate that can be a key: without a negative zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place(u64, u64);

impl Place {
    pub fn of(coord: Coord<f64>) -> Place {
        Place((coord.x + 0.0).to_bits(), (coord.y + 0.0).to_bits())
    }

    pub fn coord(self) -> Coord<f64> {
        Coord {
            x: f64::from_bits(self.0),
            y: f64::from_bits(self.1),
        }
    }
}

impl Topology {
    pub fn of(geometry: &Geometry<f64>) -> Topology {
        let mut topology = Topology::default();
        topology.add(geometry);
        let parts = usize::from(!topology.points.is_empty())
            + usize::from(
                topology
                    .chains
                    .iter()
                    .any(|chain| topology.segments[chain.start].owner == Owner::Line),
            );
        topology.overlapping = match geometry {
            Geometry::GeometryCollection(_) => topology.polygons.len() + parts > 1,
            _ => false,
        };
        let of_segments = topology.segments.iter().map(Segment::bounds);
        let of_points = topology.points.iter().map(|place| {
            let coord = place.coord();
            Bounds::of_point(coord.x, coord.y)
        });
        topology.bounds = of_segments.chain(of_points).reduce(Bounds::union);
        topology
    }

    /// 0, 1 or 2; `None`: empty.
    pub fn dimension(&self) -> Option<u8> {
        if !self.polygons.is_empty() {
            Some(2)
        } else if !self.segments.is_empty() {
            Some(1)
        } else {
            (!self.points.is_empty()).then_some(0)
        }
    }

    /// Calls `found` with the number of each segment whose box meets `bounds`.
    pub fn near(&self, bounds: &Bounds, mut found: impl FnMut(usize)) {
        match self.tree.get_or_init(|| self.index()) {
            Some(tree) => tree
                .search(bounds.min_x, bounds.min_y, bounds.max_x, bounds.max_y)
                .into_iter()
                .for_each(|item| found(item as usize)),
            None => {
                let boxes = self.segments.iter().map(Segment::bounds).enumerate();
                boxes
                    .filter(|(_, of_segment)| of_segment.intersects(bounds))
                    .for_each(|(at, _)| found(at));
            }
        }
    }

    /// The bytes that the topology of a geometry with this many coordinates takes, about, with all its indexes.
    pub fn bytes(coordinates: usize) -> usize {
        /// A segment, its place in the R-tree, and its share of the locator's slabs.
        const PER_COORDINATE: usize = size_of::<Segment>() + 48 + 160;
        size_of::<Topology>() + coordinates * PER_COORDINATE
    }

    fn index(&self) -> Option<RTree<f64>> {
        if self.segments.len() < SEGMENTS_INDEXED_MIN {
            return None;
        }
        let mut builder = RTreeBuilder::<f64>::new(u32::try_from(self.segments.len()).ok()?);
        for bounds in self.segments.iter().map(Segment::bounds) {
            builder.add(bounds.min_x, bounds.min_y, bounds.max_x, bounds.max_y);
        }
        Some(builder.finish::<HilbertSort>())
    }

    fn add(&mut self, geometry: &Geometry<f64>) {
        match geometry {
            Geometry::Point(point) => {
                self.points.insert(Place::of(point.0));
            }
            Geometry::MultiPoint(points) => self.points.extend(points.iter().map(|point| Place::of(point.0))),
            Geometry::Line(line) => self.line(&LineString(vec![line.start, line.end])),
            Geometry::LineString(line) => self.line(line),
            Geometry::MultiLineString(lines) => lines.iter().for_each(|line| self.line(line)),
            Geometry::Polygon(polygon) => self.polygon(polygon),
            Geometry::MultiPolygon(polygons) => polygons.iter().for_each(|polygon| self.polygon(polygon)),
            Geometry::GeometryCollection(parts) => parts.iter().for_each(|part| self.add(part)),
            Geometry::Rect(rect) => self.polygon(&rect.to_polygon()),
            Geometry::Triangle(triangle) => self.polygon(&triangle.to_polygon()),
        }
    }

    fn line(&mut self, line: &LineString<f64>) {
        let (Some(first), Some(last)) = (line.0.first(), line.0.last()) else {
            return;
        };
        if !self.chain(&line.0, Owner::Line) {
            self.points.insert(Place::of(*first));
            return;
        }
        if first != last {
            for end in [first, last].map(|end| Place::of(*end)) {
                if !self.ends.remove(&end) {
                    self.ends.insert(end);
                }
            }
        }
    }

    fn polygon(&mut self, polygon: &Polygon<f64>) {
        if polygon.exterior().0.is_empty() {
            return;
        }
        let number = u32::try_from(self.polygons.len()).unwrap_or(u32::MAX);
        self.polygons.push(Locator::of(polygon));
        let rings =
            std::iter::once((polygon.exterior(), true)).chain(polygon.interiors().iter().map(|ring| (ring, false)));
        for (ring, is_shell) in rings {
            let counter_clockwise = twice_area(&ring.0) > 0.0;
            let owner = Owner::Ring {
                polygon: number,
                inside_left: counter_clockwise == is_shell,
            };
            self.chain(&ring.0, owner);
        }
    }

    /// Adds the segments of one line or ring; `false`: it has no length.
    fn chain(&mut self, coords: &[Coord<f64>], owner: Owner) -> bool {
        let start = self.segments.len();
        let pairs = coords.windows(2).filter(|pair| pair[0] != pair[1]);
        self.segments.extend(pairs.map(|pair| Segment {
            from: pair[0],
            to: pair[1],
            owner,
        }));
        let chain = start..self.segments.len();
        let has_length = !chain.is_empty();
        if has_length {
            self.chains.push(chain);
        }
        has_length
    }
}

/// Twice the signed area of a ring, from its first corner, so that a ring far from the origin keeps its sign. Where that is
/// within rounding of nothing, the sign comes from the turn at the lowest corner, which is exact.
fn twice_area(ring: &[Coord<f64>]) -> f64 {
    let Some(origin) = ring.first() else { return 0.0 };
    let (mut sum, mut size) = (0.0, 0.0_f64);
    for pair in ring.windows(2) {
        let (a, b) = (pair[0] - *origin, pair[1] - *origin);
        let (left, right) = (a.x * b.y, a.y * b.x);
        sum += left - right;
        size += left.abs() + right.abs();
    }
    if sum.abs() > 1e-14 * size * ring.len() as f64 {
        return sum;
    }
    let open = &ring[..ring.len().saturating_sub(1)];
    let lowest = (0..open.len()).min_by(|a, b| {
        open[*a]
            .y
            .total_cmp(&open[*b].y)
            .then(open[*a].x.total_cmp(&open[*b].x))
    });
    let Some(lowest) = lowest else { return 0.0 };
    let other = |step: usize| {
        let places = (1..open.len()).map(|more| (lowest + more * step) % open.len());
        places.map(|at| open[at]).find(|coord| *coord != open[lowest])
    };
    match (other(open.len() - 1), other(1)) {
        (Some(before), Some(behind)) => match super::exact::side((before, open[lowest]), behind) {
            std::cmp::Ordering::Greater => 1.0,
            std::cmp::Ordering::Less => -1.0,
            std::cmp::Ordering::Equal => sum,
        },
        _ => sum,
    }
}
