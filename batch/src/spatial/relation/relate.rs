//! The intersection matrix of two geometries (DE-9IM), exactly.
//!
//! # How it moves
//! The lines of both geometries cut the plane into nodes, edges and faces. Whether such a cell is in the interior, on the
//! boundary or in the exterior of each geometry gives one entry of the matrix, of the cell's dimension. It is enough to
//! look around some nodes: where lines of both meet, at ends of lines, at points, and at one place of each line and ring
//! that meets nothing. Around a node the incident segments are sorted by angle, and the sectors between them are known
//! from the segments' sides.
//!
//! # Why it is exact
//! Every decision is the sign of a polynomial in the given coordinates ([`exact`](super::exact)). Where two segments cross
//! between their ends the node is kept as the two segments, and is never rounded to a double.
//!
//! # What a collection means
//! The union of its parts, as in GEOS's RelateNG: the interior of any polygon wins over boundaries, and polygons win over
//! lines, lines over points. The result for invalid polygons is not specified; it is the same every time.

use std::cmp::Ordering;
use std::collections::HashSet;

use geo::Coord;

use super::exact::{Crossing, Directed, side, turn};
use super::locate::Position;
use super::topology::{Owner, Place, Segment, Topology};
use crate::spatial::geometry::Bounds;

/// Where a cell is to one geometry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Location {
    Interior = 0,
    Boundary = 1,
    Exterior = 2,
}

/// The dimensions of the nine intersections; `None`: empty. Rows: interior, boundary, exterior of the first geometry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matrix(pub [[Option<u8>; 3]; 3]);

impl Matrix {
    fn raise(&mut self, a: Location, b: Location, dimension: u8) {
        let cell = &mut self.0[a as usize][b as usize];
        *cell = (*cell).max(Some(dimension));
    }

    /// `212101212`, row by row; F for an empty intersection.
    pub fn text(&self) -> String {
        let letter = |cell: &Option<u8>| cell.map_or('F', |dimension| char::from(b'0' + dimension));
        self.0.iter().flatten().map(letter).collect()
    }
}

/// The matrix, or what is known of it when `enough` first says so.
pub fn relate(a: &Topology, b: &Topology, enough: impl Fn(&Matrix) -> bool) -> Matrix {
    let mut matrix = Matrix([[None; 3]; 3]);
    matrix.raise(Location::Exterior, Location::Exterior, 2);
    let mut work = Work {
        sides: [a, b],
        met: [vec![false; a.segments.len()], vec![false; b.segments.len()]],
        seen: HashSet::new(),
        matrix,
    };
    work.run(enough);
    work.matrix
}

/// A node: a coordinate that is given, or a crossing between ends.
enum Node {
    At(Coord<f64>),
    Crossing(Crossing),
}

impl Node {
    fn about(&self) -> Bounds {
        match self {
            Node::At(coord) => Bounds::of_point(coord.x, coord.y),
            Node::Crossing(crossing) => {
                let Coord { x, y } = crossing.about;
                // What `about` may be off: the search is only for candidates.
                let slack = 1e-9 * (x.abs() + y.abs() + 1.0);
                Bounds::of_point(x, y).expand(slack)
            }
        }
    }

    fn is_on(&self, segment: &Segment) -> bool {
        match self {
            Node::At(coord) => {
                segment.bounds().contains(&Bounds::of_point(coord.x, coord.y))
                    && side((segment.from, segment.to), *coord) == Ordering::Equal
            }
            Node::Crossing(crossing) => crossing.is_on((segment.from, segment.to)),
        }
    }

    fn is_at(&self, coord: Coord<f64>) -> bool {
        match self {
            Node::At(own) => *own == coord,
            Node::Crossing(crossing) => crossing.is_at(coord),
        }
    }
}

/// A segment as it leaves a node.
#[derive(Clone, Copy)]
struct Ray {
    direction: Directed,
    /// 0: of the first geometry, 1: of the second.
    geometry: usize,
    owner: Owner,
}

impl Ray {
    /// 0: from east to just before west, counter-clockwise; 1: the rest.
    fn half(&self) -> u8 {
        let (from, to) = self.direction;
        u8::from(to.y < from.y || (to.y == from.y && to.x < from.x))
    }

    fn angle(&self, other: &Ray) -> Ordering {
        let halves = self.half().cmp(&other.half());
        halves.then_with(|| turn(self.direction, other.direction).reverse())
    }
}

struct Work<'t> {
    sides: [&'t Topology; 2],
    /// The segments on which a node was looked at.
    met: [Vec<bool>; 2],
    seen: HashSet<Place>,
    matrix: Matrix,
}

impl Work<'_> {
    fn run(&mut self, enough: impl Fn(&Matrix) -> bool) {
        if self.meetings(0, 1, &enough) || self.places(&enough) {
            return;
        }
        for geometry in [0, 1] {
            if self.sides[geometry].overlapping && self.meetings(geometry, geometry, &enough) {
                return;
            }
        }
        // What met nothing is the same all along.
        for geometry in [0, 1] {
            let topology = self.sides[geometry];
            for chain in &topology.chains {
                if self.met[geometry][chain.clone()].iter().any(|met| *met) {
                    continue;
                }
                self.place(topology.segments[chain.start].from);
                if enough(&self.matrix) {
                    return;
                }
            }
        }
    }

    /// Points and ends of lines.
    fn places(&mut self, enough: &impl Fn(&Matrix) -> bool) -> bool {
        for geometry in [0, 1] {
            let topology = self.sides[geometry];
            for place in topology.points.iter().chain(&topology.ends) {
                self.place(place.coord());
                if enough(&self.matrix) {
                    return true;
                }
            }
        }
        false
    }

    /// Looks at all nodes where segments of `first` meet segments of `second`.
    fn meetings(&mut self, first: usize, second: usize, enough: &impl Fn(&Matrix) -> bool) -> bool {
        let (Some(a), Some(b)) = (self.sides[first].bounds, self.sides[second].bounds) else {
            return false;
        };
        if !a.intersects(&b) {
            return false;
        }
        // The larger one is searched.
        let swap = self.sides[first].segments.len() > self.sides[second].segments.len();
        let (few, many) = if swap { (second, first) } else { (first, second) };
        let (few_side, many_side) = (self.sides[few], self.sides[many]);
        let Some(of_many) = many_side.bounds else { return false };
        let mut candidates = Vec::new();
        for (at, segment) in few_side.segments.iter().enumerate() {
            let bounds = segment.bounds();
            if !bounds.intersects(&of_many) {
                continue;
            }
            candidates.clear();
            many_side.near(&bounds, |other| candidates.push(other));
            for other in &candidates {
                if few == many && *other <= at {
                    continue;
                }
                self.meeting(segment, &many_side.segments[*other]);
                if enough(&self.matrix) {
                    return true;
                }
            }
        }
        false
    }

    fn meeting(&mut self, a: &Segment, b: &Segment) {
        let (line_a, line_b) = ((a.from, a.to), (b.from, b.to));
        let of_b = [side(line_a, b.from), side(line_a, b.to)];
        if of_b[0] == of_b[1] && of_b[0] != Ordering::Equal {
            return;
        }
        let of_a = [side(line_b, a.from), side(line_b, a.to)];
        if of_a[0] == of_a[1] && of_a[0] != Ordering::Equal {
            return;
        }
        let all = [of_b[0], of_b[1], of_a[0], of_a[1]];
        if all.iter().all(|side| *side != Ordering::Equal) {
            self.look(&Node::Crossing(Crossing::new(line_a, line_b)));
            return;
        }
        let ends = [
            (b.from, of_b[0], a),
            (b.to, of_b[1], a),
            (a.from, of_a[0], b),
            (a.to, of_a[1], b),
        ];
        for (end, of_end, segment) in ends {
            if of_end == Ordering::Equal && segment.bounds().contains(&Bounds::of_point(end.x, end.y)) {
                self.place(end);
            }
        }
    }

    fn place(&mut self, coord: Coord<f64>) {
        if self.seen.insert(Place::of(coord)) {
            self.look(&Node::At(coord));
        }
    }

    /// Enters the cells around a node into the matrix.
    fn look(&mut self, node: &Node) {
        let Some(rays) = self.rays(node) else { return };
        let around = Around::new(rays);
        let inside = [0, 1].map(|geometry| {
            around.inside(geometry, self.sides[geometry].polygons.len(), |polygon| {
                self.is_in(node, geometry, polygon)
            })
        });
        let whole = [0, 1].map(|geometry| self.of_node(node, geometry, &around, &inside[geometry]));
        self.matrix.raise(whole[0], whole[1], 0);
        let in_or_out = |inside: bool| if inside { Location::Interior } else { Location::Exterior };
        for (a, b) in inside[0].iter().zip(&inside[1]) {
            self.matrix.raise(in_or_out(*a), in_or_out(*b), 2);
        }
        for group in 0..around.groups.len() {
            let of_edge = |geometry: usize| around.of_edge(group, geometry, &inside[geometry]);
            self.matrix.raise(of_edge(0), of_edge(1), 1);
        }
    }

    /// The segments at a node. `None`: a crossing at which a segment ends, so that it is looked at as that end.
    fn rays(&mut self, node: &Node) -> Option<Vec<Ray>> {
        let mut rays = Vec::new();
        for geometry in [0, 1] {
            let topology = self.sides[geometry];
            let mut incident = Vec::new();
            topology.near(&node.about(), |at| incident.push(at));
            incident.retain(|at| node.is_on(&topology.segments[*at]));
            for at in incident {
                let segment = &topology.segments[at];
                self.met[geometry][at] = true;
                let ends = [segment.from, segment.to].map(|end| node.is_at(end));
                if matches!(node, Node::Crossing(_)) && (ends[0] || ends[1]) {
                    return None;
                }
                if !ends[1] {
                    rays.push(Ray {
                        direction: (segment.from, segment.to),
                        geometry,
                        owner: segment.owner,
                    });
                }
                if !ends[0] {
                    let owner = match segment.owner {
                        Owner::Ring { polygon, inside_left } => Owner::Ring {
                            polygon,
                            inside_left: !inside_left,
                        },
                        Owner::Line => Owner::Line,
                    };
                    rays.push(Ray {
                        direction: (segment.to, segment.from),
                        geometry,
                        owner,
                    });
                }
            }
        }
        Some(rays)
    }

    /// Whether a node that is on no ring of a polygon is inside it.
    fn is_in(&self, node: &Node, geometry: usize, polygon: usize) -> bool {
        match node {
            Node::At(coord) => self.sides[geometry].polygons[polygon].position(*coord) == Position::Inside,
            Node::Crossing(crossing) => self.crossing_is_in(crossing, geometry, polygon),
        }
    }

    /// By the ray to the right: a segment counts where it goes from below, or level, to above.
    fn crossing_is_in(&self, crossing: &Crossing, geometry: usize, polygon: usize) -> bool {
        let topology = self.sides[geometry];
        let bounds = topology.polygons[polygon].bounds();
        let about = Node::Crossing(crossing.clone()).about();
        let Some(bounds) = bounds.filter(|bounds| bounds.intersects(&about)) else {
            return false;
        };
        let mut inside = false;
        let to_the_right = Bounds {
            max_x: bounds.max_x.max(about.max_x),
            ..about
        };
        topology.near(&to_the_right, |at| {
            let segment = &topology.segments[at];
            let own = matches!(segment.owner, Owner::Ring { polygon: of, .. } if of as usize == polygon);
            let (low, high) = if segment.from.y <= segment.to.y {
                (segment.from, segment.to)
            } else {
                (segment.to, segment.from)
            };
            let spans =
                own && crossing.y_against(low.y) != Ordering::Less && crossing.y_against(high.y) == Ordering::Less;
            // To the left of the upward segment.
            if spans && crossing.side_of((low, high)) == Ordering::Greater {
                inside = !inside;
            }
        });
        inside
    }

    fn of_node(&self, node: &Node, geometry: usize, around: &Around, inside: &[bool]) -> Location {
        let topology = self.sides[geometry];
        if inside.iter().all(|inside| *inside) {
            return Location::Interior;
        }
        let of_geometry = || around.rays.iter().filter(|ray| ray.geometry == geometry);
        if inside.iter().any(|inside| *inside) || of_geometry().any(|ray| ray.owner != Owner::Line) {
            return Location::Boundary;
        }
        let at = match node {
            Node::At(coord) => Some(Place::of(*coord)),
            Node::Crossing(_) => None,
        };
        if at.is_some_and(|place| topology.ends.contains(&place)) {
            return Location::Boundary;
        }
        let is_point = match node {
            Node::At(coord) => topology.points.contains(&Place::of(*coord)),
            Node::Crossing(crossing) => topology.points.iter().any(|point| crossing.is_at(point.coord())),
        };
        if is_point || of_geometry().next().is_some() {
            Location::Interior
        } else {
            Location::Exterior
        }
    }
}

/// The rays of a node by angle; those of one direction are one group. Sector `i` is behind group `i`, counter-clockwise.
struct Around {
    rays: Vec<Ray>,
    groups: Vec<std::ops::Range<usize>>,
}

impl Around {
    fn new(mut rays: Vec<Ray>) -> Around {
        rays.sort_by(Ray::angle);
        let mut groups = Vec::new();
        let mut start = 0;
        for end in 1..=rays.len() {
            if end == rays.len() || rays[start].angle(&rays[end]) != Ordering::Equal {
                groups.push(start..end);
                start = end;
            }
        }
        Around { rays, groups }
    }

    /// For each sector (one where there is no ray) whether it is in a polygon of the geometry. `polygons` are all of them;
    /// `is_in` answers for those of which no ring is here.
    fn inside(&self, geometry: usize, polygons: usize, is_in: impl Fn(usize) -> bool) -> Vec<bool> {
        let mut inside = vec![false; self.groups.len().max(1)];
        let ring_of = |ray: &Ray| match ray.owner {
            Owner::Ring { polygon, inside_left } if ray.geometry == geometry => Some((polygon as usize, inside_left)),
            _ => None,
        };
        let mut here: Vec<usize> = self
            .rays
            .iter()
            .filter_map(ring_of)
            .map(|(polygon, _)| polygon)
            .collect();
        here.sort_unstable();
        here.dedup();
        for polygon in &here {
            // What is behind each group: the interior's side where one ring passes, the same as before where none does.
            let behind: Vec<Option<bool>> = self
                .groups
                .iter()
                .map(|group| {
                    let mut own = self.rays[group.clone()]
                        .iter()
                        .filter_map(ring_of)
                        .filter(|(of, _)| of == polygon);
                    match (own.next(), own.next()) {
                        (Some((_, left)), None) => Some(left),
                        _ => None,
                    }
                })
                .collect();
            let Some(mut now) = behind.iter().rev().find_map(|left| *left) else {
                continue;
            };
            for (sector, left) in behind.iter().enumerate() {
                now = left.unwrap_or(now);
                inside[sector] |= now;
            }
        }
        let elsewhere = (0..polygons).filter(|polygon| here.binary_search(polygon).is_err());
        if inside.iter().any(|inside| !inside) && elsewhere.into_iter().any(is_in) {
            inside.fill(true);
        }
        inside
    }

    /// Where the edges of a group are to a geometry.
    fn of_edge(&self, group: usize, geometry: usize, inside: &[bool]) -> Location {
        let before = if group == 0 { inside.len() - 1 } else { group - 1 };
        match (inside[before], inside[group]) {
            (true, true) => return Location::Interior,
            (false, false) => {}
            _ => return Location::Boundary,
        }
        let mut own = self.rays[self.groups[group].clone()]
            .iter()
            .filter(|ray| ray.geometry == geometry)
            .peekable();
        if own.peek().is_none() {
            Location::Exterior
        } else if own.any(|ray| ray.owner == Owner::Line) {
            Location::Interior
        } else {
            Location::Boundary
        }
    }
}
