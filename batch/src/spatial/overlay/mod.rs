//! New geometries from where others lie: intersection, union, differences, repair.
//!
//! # How it moves
//! The lines and rings of both geometries are cut at each other ([`noding`]); what results is an arrangement of faces, each
//! with its depth in both geometries ([`arrangement`]); faces, edges and vertices that the operation keeps are put together
//! to polygons, lines and points ([`result`]). Vertices of the input keep their coordinates exactly, new ones are where
//! lines cross, rounded once. Points do not cut lines.
//!
//! # What a geometry's inside is
//! Of polygons and multi-polygons, where an odd number of rings is around, as predicates see it. Of several geometries that
//! may overlap (a collection, the rows of an aggregate), the union of their insides.
//!
//! Empty results have the kind that GEOS gives them.

mod arrangement;
mod noding;
mod result;
#[cfg(test)]
mod tests;
mod valid;

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use geo::{Coord, Geometry, GeometryCollection, LineString, MultiPoint, Point, Polygon};

use super::geometry::GeometryError;
use super::relation::{Place, Position, is_left_turn, position};
use arrangement::Arrangement;
use noding::{Segment, Source, noded};
use result::{Parts, collect};

pub use result::merged_lines;
pub use valid::flaw;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Intersection,
    Union,
    Difference,
    SymmetricDifference,
}

impl Operation {
    fn keeps(self, a: bool, b: bool) -> bool {
        match self {
            Operation::Intersection => a && b,
            Operation::Union => a || b,
            Operation::Difference => a && !b,
            Operation::SymmetricDifference => a != b,
        }
    }
}

/// How a face's depth says whether it is inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fill {
    Odd,
    Any,
}

impl Fill {
    fn holds(self, depth: i32) -> bool {
        match self {
            Fill::Odd => depth % 2 != 0,
            Fill::Any => depth != 0,
        }
    }
}

/// The segments and points of both sides.
struct Input {
    segments: Vec<Segment>,
    points: [Vec<Coord<f64>>; 2],
    fill: [Fill; 2],
    dimension: [usize; 2],
}

impl Input {
    fn new() -> Input {
        Input {
            segments: Vec::new(),
            points: [Vec::new(), Vec::new()],
            fill: [Fill::Odd; 2],
            dimension: [0; 2],
        }
    }

    fn add(&mut self, geometry: &Geometry<f64>, of: usize) {
        match geometry {
            Geometry::Point(point) => self.points[of].push(point.0),
            Geometry::MultiPoint(points) => self.points[of].extend(points.iter().map(|point| point.0)),
            Geometry::LineString(line) => self.line(line, of),
            Geometry::Line(line) => self.line(&LineString::from(line), of),
            Geometry::MultiLineString(lines) => {
                self.raise(of, 1);
                lines.iter().for_each(|line| self.line(line, of));
            }
            Geometry::Polygon(polygon) => self.polygon(polygon, of),
            Geometry::MultiPolygon(polygons) => {
                self.raise(of, 2);
                polygons.iter().for_each(|polygon| self.polygon(polygon, of));
            }
            Geometry::GeometryCollection(parts) => {
                self.fill[of] = Fill::Any;
                parts.iter().for_each(|part| self.add(part, of));
            }
            Geometry::Rect(rect) => self.polygon(&rect.to_polygon(), of),
            Geometry::Triangle(triangle) => self.polygon(&triangle.to_polygon(), of),
        }
    }

    fn raise(&mut self, of: usize, dimension: usize) {
        self.dimension[of] = self.dimension[of].max(dimension);
    }

    fn line(&mut self, line: &LineString<f64>, of: usize) {
        self.raise(of, 1);
        let mut source = Source::default();
        source.line[of] = true;
        self.chain(&line.0, source);
        // A line without length is a point.
        if let Some(first) = line.0.first()
            && line.0.iter().all(|at| at == first)
        {
            self.points[of].push(*first);
        }
    }

    fn polygon(&mut self, polygon: &Polygon<f64>, of: usize) {
        self.raise(of, 2);
        let mut ring = |ring: &LineString<f64>, hole: bool| {
            let mut source = Source::default();
            source.ring[of] = true;
            source.rise[of] = if counter_clockwise(&ring.0) == hole { -1 } else { 1 };
            self.chain(&ring.0, source);
        };
        ring(polygon.exterior(), false);
        polygon.interiors().iter().for_each(|hole| ring(hole, true));
    }

    fn chain(&mut self, points: &[Coord<f64>], source: Source) {
        let segments = points.windows(2).map(|pair| Segment {
            from: pair[0],
            to: pair[1],
            source,
        });
        self.segments.extend(segments);
    }
}

/// The sense of a simple ring, exactly, by its leftmost corner.
fn counter_clockwise(ring: &[Coord<f64>]) -> bool {
    let open = &ring[..ring.len().saturating_sub(1)];
    let Some(corner) = (0..open.len()).min_by(|a, b| {
        let (a, b) = (open[*a], open[*b]);
        a.x.total_cmp(&b.x).then(a.y.total_cmp(&b.y))
    }) else {
        return true;
    };
    let at = open[corner];
    let count = open.len();
    let before = (1..count)
        .map(|step| open[(corner + count - step) % count])
        .find(|other| *other != at);
    let after = (1..count)
        .map(|step| open[(corner + step) % count])
        .find(|other| *other != at);
    let (Some(before), Some(after)) = (before, after) else {
        return true;
    };
    let tuple = |at: Coord<f64>| (at.x, at.y);
    if is_left_turn(tuple(before), tuple(at), tuple(after)) {
        return true;
    }
    if is_left_turn(tuple(after), tuple(at), tuple(before)) {
        return false;
    }
    // A spike at the corner: the ring is not simple, so any sense will do.
    ring.windows(2)
        .map(|edge| (edge[0].x - at.x) * (edge[1].y - at.y) - (edge[1].x - at.x) * (edge[0].y - at.y))
        .sum::<f64>()
        > 0.0
}

/// The overlay of two geometries with finite coordinates.
pub fn overlay(a: &Geometry<f64>, b: &Geometry<f64>, operation: Operation) -> Result<Geometry<f64>, GeometryError> {
    let mut input = Input::new();
    input.add(a, 0);
    input.add(b, 1);
    let dimension = match operation {
        Operation::Intersection => input.dimension[0].min(input.dimension[1]),
        Operation::Difference => input.dimension[0],
        Operation::Union | Operation::SymmetricDifference => input.dimension[0].max(input.dimension[1]),
    };
    let fill = input.fill;
    let points = std::mem::take(&mut input.points);
    let arrangement = Arrangement::of(noded(input.segments)?);
    let mut parts = Parts::of(&arrangement, fill, operation)?;
    parts.points.extend(kept_points(&points, [a, b], operation));
    parts.drop_covered_points();
    Ok(collect(parts, dimension))
}

/// The points of either side that an operation keeps, given what they lie on on the other side.
fn kept_points(points: &[Vec<Coord<f64>>; 2], sides: [&Geometry<f64>; 2], operation: Operation) -> Vec<Coord<f64>> {
    let mut kept = Vec::new();
    for (of, points) in points.iter().enumerate() {
        if of == 1 && operation == Operation::Difference {
            break;
        }
        let other = sides[1 - of];
        let keeps = |at: &&Coord<f64>| match (operation, of) {
            (Operation::Union, _) => true,
            (Operation::Intersection, _) => is_on(other, **at),
            _ => !is_on(other, **at),
        };
        kept.extend(points.iter().filter(keeps));
    }
    kept
}

/// Whether a point is in a geometry or on its border.
fn is_on(geometry: &Geometry<f64>, at: Coord<f64>) -> bool {
    let on_line = |line: &LineString<f64>| {
        line.0.contains(&at)
            || line.0.windows(2).any(|edge| {
                let within = |value: f64, a: f64, b: f64| a.min(b) <= value && value <= a.max(b);
                within(at.x, edge[0].x, edge[1].x)
                    && within(at.y, edge[0].y, edge[1].y)
                    && super::relation::side((edge[0], edge[1]), at) == Ordering::Equal
            })
    };
    match geometry {
        Geometry::Point(point) => point.0 == at,
        Geometry::MultiPoint(points) => points.iter().any(|point| point.0 == at),
        Geometry::LineString(line) => on_line(line),
        Geometry::MultiLineString(lines) => lines.iter().any(on_line),
        Geometry::GeometryCollection(parts) => parts.iter().any(|part| is_on(part, at)),
        other => position(other, at).is_some_and(|position| position != Position::Outside),
    }
}

/// The union of any number of geometries, in one sweep; lines are cut where they cross.
pub fn union(geometries: &[Geometry<f64>]) -> Result<Geometry<f64>, GeometryError> {
    let mut input = Input::new();
    geometries.iter().for_each(|geometry| input.add(geometry, 0));
    let overlapping = geometries.len() > 1;
    if overlapping {
        input.fill[0] = Fill::Any;
    }
    let points = std::mem::take(&mut input.points[0]);
    let arrangement = Arrangement::of(noded(input.segments)?);
    let mut parts = Parts::of(&arrangement, input.fill, Operation::Union)?;
    parts.points = points;
    parts.drop_covered_points();
    if parts.is_empty()
        && geometries
            .iter()
            .all(|geometry| matches!(geometry, Geometry::GeometryCollection(_)))
    {
        return Ok(Geometry::GeometryCollection(GeometryCollection(Vec::new())));
    }
    Ok(collect(parts, input.dimension[0]))
}

/// A valid geometry with the same vertices: rings are cut where they cross, what an odd number of them is around is area,
/// what encloses nothing becomes lines or points (GEOS's "linework" method).
pub fn repaired(geometry: &Geometry<f64>) -> Result<Geometry<f64>, GeometryError> {
    match geometry {
        Geometry::GeometryCollection(parts) => {
            let parts: Result<Vec<_>, _> = parts.iter().map(repaired).collect();
            Ok(Geometry::GeometryCollection(GeometryCollection(parts?)))
        }
        Geometry::Polygon(_) | Geometry::MultiPolygon(_) => {
            let mut input = Input::new();
            input.add(geometry, 0);
            let rings = rings(geometry);
            let arrangement = Arrangement::of(noded(input.segments)?);
            let mut parts = Parts::of(&arrangement, input.fill, Operation::Union)?;
            // A ring all of whose vertices are at one place.
            let flat = rings.iter().filter(|ring| ring.0.iter().all(|at| at == &ring.0[0]));
            parts.points = flat.filter_map(|ring| ring.0.first().copied()).collect();
            parts.drop_covered_points();
            Ok(collect(parts, input.dimension[0]))
        }
        Geometry::LineString(line) => match line.0.first() {
            Some(first) if line.0.iter().all(|at| at == first) => Ok(Geometry::Point(Point(*first))),
            _ => Ok(geometry.clone()),
        },
        other => Ok(other.clone()),
    }
}

fn rings(geometry: &Geometry<f64>) -> Vec<&LineString<f64>> {
    match geometry {
        Geometry::Polygon(polygon) => std::iter::once(polygon.exterior())
            .chain(polygon.interiors())
            .filter(|ring| !ring.0.is_empty())
            .collect(),
        Geometry::MultiPolygon(polygons) => polygons
            .iter()
            .flat_map(|polygon| std::iter::once(polygon.exterior()).chain(polygon.interiors()))
            .filter(|ring| !ring.0.is_empty())
            .collect(),
        _ => Vec::new(),
    }
}

/// The polygons that lines enclose, each face once.
pub fn polygonized(geometry: &Geometry<f64>) -> Result<Vec<Polygon<f64>>, GeometryError> {
    let mut input = Input::new();
    input.add(geometry, 0);
    let arrangement = Arrangement::of(noded(input.segments)?);
    result::faces(&arrangement)
}

/// The lines of a geometry, cut where they meet.
pub fn noded_lines(geometry: &Geometry<f64>) -> Result<Geometry<f64>, GeometryError> {
    let lines = match geometry {
        Geometry::LineString(_) | Geometry::MultiLineString(_) => geometry.clone(),
        _ => {
            return Err(GeometryError::Unsupported("it takes lines only".into()));
        }
    };
    union(&[lines])
}

/// Whether no line touches itself but at its ends, no point comes twice, and rings are simple.
pub fn is_simple(geometry: &Geometry<f64>) -> Result<bool, GeometryError> {
    let lines: Vec<&LineString<f64>> = match geometry {
        Geometry::MultiPoint(MultiPoint(points)) => {
            let mut places: Vec<_> = points.iter().map(|point| Place::of(point.0)).collect();
            let count = places.len();
            places.sort_unstable();
            places.dedup();
            return Ok(places.len() == count);
        }
        Geometry::LineString(line) => vec![line],
        Geometry::MultiLineString(lines) => lines.iter().collect(),
        Geometry::GeometryCollection(parts) => {
            for part in parts {
                if !is_simple(part)? {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        _ => rings(geometry),
    };
    let together = matches!(geometry, Geometry::MultiLineString(_));
    let simple = |lines: &[&LineString<f64>]| -> Result<bool, GeometryError> {
        let mut input = Input::new();
        lines.iter().for_each(|line| input.line(line, 0));
        let ends = |a: Coord<f64>, b: Coord<f64>| {
            let (a, b) = (Place::of(a), Place::of(b));
            (a.min(b), a.max(b))
        };
        let edges = || {
            lines
                .iter()
                .flat_map(|line| line.0.windows(2))
                .filter(|edge| edge[0] != edge[1])
        };
        let given: HashSet<_> = edges().map(|edge| ends(edge[0], edge[1])).collect();
        let noded = noded(input.segments)?;
        let uncut = noded
            .iter()
            .all(|segment| given.contains(&ends(segment.from, segment.to)));
        if !uncut || given.len() != edges().count() {
            return Ok(false);
        }
        // Nodes where more than two pieces meet must be ends of all lines that are there.
        let mut degree: HashMap<_, usize> = HashMap::new();
        for end in noded.iter().flat_map(|segment| [segment.from, segment.to]) {
            *degree.entry(Place::of(end)).or_default() += 1;
        }
        for line in lines {
            let closed = line.is_closed();
            let inner = line
                .0
                .iter()
                .enumerate()
                .filter(|(at, _)| *at > 0 && *at + 1 < line.0.len());
            let mut inner = inner
                .map(|(_, at)| at)
                .filter(|at| Some(*at) != line.0.first() && Some(*at) != line.0.last());
            if inner.any(|at| degree.get(&Place::of(*at)).is_some_and(|degree| *degree > 2)) {
                return Ok(false);
            }
            // An end of a line on an inner vertex of itself, or of another line on a closed one's.
            for end in [line.0.first(), line.0.last()].into_iter().flatten() {
                let own = line
                    .0
                    .windows(2)
                    .filter(|edge| edge[0] != edge[1])
                    .flat_map(<[_]>::iter)
                    .filter(|at| *at == end)
                    .count();
                let all = degree.get(&Place::of(*end)).copied().unwrap_or(0);
                if own > if closed { 2 } else { 1 } || (closed && all > 2) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    };
    if together {
        return simple(&lines);
    }
    for line in lines {
        if !simple(&[line])? {
            return Ok(false);
        }
    }
    Ok(true)
}
