//! What an operation keeps of an arrangement, as polygons, lines and points.

use std::collections::{HashMap, HashSet};

use geo::{Coord, Geometry, GeometryCollection, LineString, MultiLineString, MultiPoint, MultiPolygon, Point, Polygon};

use super::arrangement::Arrangement;
use super::{Fill, Operation, counter_clockwise};
use crate::spatial::geometry::GeometryError;
use crate::spatial::relation::{Place, Position, position};

#[derive(Debug, Default)]
pub struct Parts {
    pub polygons: Vec<Polygon<f64>>,
    pub lines: Vec<LineString<f64>>,
    pub points: Vec<Coord<f64>>,
}

impl Parts {
    pub fn of(arrangement: &Arrangement, fill: [Fill; 2], operation: Operation) -> Result<Parts, GeometryError> {
        let inside = |face: usize| {
            let depth = arrangement.depth[face];
            [fill[0].holds(depth[0]), fill[1].holds(depth[1])]
        };
        let kept_face: Vec<bool> = (0..arrangement.depth.len())
            .map(|face| {
                let [a, b] = inside(face);
                operation.keeps(a, b)
            })
            .collect();
        let polygons = polygons(arrangement, &kept_face)?;
        // Whether a segment is on a geometry: part of it, or inside.
        let on: Vec<[bool; 2]> = (0..arrangement.segments.len())
            .map(|segment| {
                let source = arrangement.segments[segment].source;
                let (left, right) = sides(arrangement, segment);
                let (left, right) = (inside(left), inside(right));
                [0, 1].map(|of| source.ring[of] || source.line[of] || (left[of] && right[of]))
            })
            .collect();
        let kept_line: Vec<bool> = (0..arrangement.segments.len())
            .map(|segment| {
                let (left, right) = sides(arrangement, segment);
                let [a, b] = on[segment];
                operation.keeps(a, b) && !kept_face[left] && !kept_face[right]
            })
            .collect();
        let lines = lines(arrangement, &kept_line);
        let mut points = Vec::new();
        if operation == Operation::Intersection {
            for (vertex, around) in arrangement.leaving.iter().enumerate() {
                let segments = || around.iter().map(|half| *half as usize / 2);
                let met = [0, 1].map(|of| segments().any(|segment| on[segment][of]));
                let covered = segments().any(|segment| kept_line[segment])
                    || around.iter().any(|half| kept_face[arrangement.face(*half)]);
                if met[0] && met[1] && !covered {
                    points.push(arrangement.vertices[vertex]);
                }
            }
        }
        Ok(Parts {
            polygons,
            lines,
            points,
        })
    }

    pub fn is_empty(&self) -> bool {
        self.polygons.is_empty() && self.lines.is_empty() && self.points.is_empty()
    }

    /// Leaves each point once, and none that a polygon or line of the result holds.
    pub fn drop_covered_points(&mut self) {
        let mut seen = HashSet::new();
        let mut points = std::mem::take(&mut self.points);
        points.retain(|at| {
            let polygons = || {
                self.polygons
                    .iter()
                    .any(|polygon| position(&Geometry::Polygon(polygon.clone()), *at) != Some(Position::Outside))
            };
            let lines = || {
                let geometry = |line: &LineString<f64>| super::is_on(&Geometry::LineString(line.clone()), *at);
                self.lines.iter().any(geometry)
            };
            seen.insert(Place::of(*at)) && !polygons() && !lines()
        });
        self.points = points;
    }
}

fn sides(arrangement: &Arrangement, segment: usize) -> (usize, usize) {
    let half = 2 * segment as u32;
    (arrangement.face(half), arrangement.face(half ^ 1))
}

fn inconsistent() -> GeometryError {
    GeometryError::Unsupported(
        "the overlay's rings do not close: this is a defect, please report the geometries".into(),
    )
}

/// The kept faces that hang together by edges, each a polygon.
fn polygons(arrangement: &Arrangement, kept: &[bool]) -> Result<Vec<Polygon<f64>>, GeometryError> {
    // Faces that share an edge are one region.
    let mut region: Vec<usize> = (0..kept.len()).collect();
    fn find(region: &mut [usize], mut at: usize) -> usize {
        while region[at] != at {
            region[at] = region[region[at]];
            at = region[at];
        }
        at
    }
    for segment in 0..arrangement.segments.len() {
        let (left, right) = sides(arrangement, segment);
        if kept[left] && kept[right] {
            let (left, right) = (find(&mut region, left), find(&mut region, right));
            region[left.max(right)] = left.min(right);
        }
    }
    assembled(arrangement, kept, |face| find(&mut region, face))
}

/// Each face that has bounds, as a polygon.
pub fn faces(arrangement: &Arrangement) -> Result<Vec<Polygon<f64>>, GeometryError> {
    // Dangling edges have the same face on both sides and are no border.
    let mut kept = vec![true; arrangement.depth.len()];
    if let Some(outside) = kept.first_mut() {
        *outside = false;
    }
    assembled(arrangement, &kept, |face| face)
}

/// The borders between regions of kept faces, put together to polygons in the order in which they are met.
fn assembled(
    arrangement: &Arrangement,
    kept: &[bool],
    mut region_of: impl FnMut(usize) -> usize,
) -> Result<Vec<Polygon<f64>>, GeometryError> {
    let border: Vec<bool> = (0..arrangement.halves())
        .map(|half| {
            let (left, right) = (arrangement.face(half), arrangement.face(half ^ 1));
            kept[left] && (!kept[right] || region_of(left) != region_of(right))
        })
        .collect();
    #[derive(Default)]
    struct Region {
        shell: Option<LineString<f64>>,
        holes: Vec<LineString<f64>>,
    }
    let mut order: Vec<usize> = Vec::new();
    let mut regions: HashMap<usize, Region> = HashMap::new();
    let mut done = vec![false; border.len()];
    for start in 0..arrangement.halves() {
        if !border[start as usize] || done[start as usize] {
            continue;
        }
        let mut vertices = Vec::new();
        let mut half = start;
        loop {
            if std::mem::replace(&mut done[half as usize], true) {
                return Err(inconsistent());
            }
            vertices.push(arrangement.start(half));
            // Clockwise around the end, to the next border of the same sector.
            half = arrangement.next(half);
            while !border[half as usize] {
                half = arrangement.next(half ^ 1);
            }
            if half == start {
                break;
            }
        }
        let key = region_of(arrangement.face(start));
        let region = regions.entry(key).or_insert_with(|| {
            order.push(key);
            Region::default()
        });
        for ring in simple_rings(&vertices) {
            let mut coords: Vec<_> = ring
                .iter()
                .map(|vertex| arrangement.vertices[*vertex as usize])
                .collect();
            coords.push(coords[0]);
            let shell = counter_clockwise(&coords);
            // Shells clockwise, holes against them, as GEOS has it.
            coords.reverse();
            if !shell {
                region.holes.push(LineString(coords));
            } else if region.shell.replace(LineString(coords)).is_some() {
                return Err(inconsistent());
            }
        }
    }
    let polygon = |key| {
        let region = regions.remove(key).ok_or_else(inconsistent)?;
        Ok(Polygon::new(region.shell.ok_or_else(inconsistent)?, region.holes))
    };
    order.iter().map(polygon).collect()
}

/// A ring that comes back to a vertex is cut there.
fn simple_rings(vertices: &[u32]) -> Vec<Vec<u32>> {
    let mut rings = Vec::new();
    let mut open: Vec<u32> = Vec::new();
    let mut at: HashMap<u32, usize> = HashMap::new();
    for vertex in vertices {
        if let Some(from) = at.get(vertex).copied() {
            let ring: Vec<u32> = open.drain(from..).collect();
            ring.iter().for_each(|vertex| {
                at.remove(vertex);
            });
            rings.push(ring);
        }
        at.insert(*vertex, open.len());
        open.push(*vertex);
    }
    rings.push(open);
    rings.retain(|ring| ring.len() > 2);
    rings
}

/// Kept segments, joined where nothing else is.
fn lines(arrangement: &Arrangement, kept: &[bool]) -> Vec<LineString<f64>> {
    let goes_on = |half: u32| {
        let around = &arrangement.leaving[arrangement.start(half ^ 1) as usize];
        let [a, b] = around.as_slice() else { return None };
        let on = if *a == half ^ 1 { *b } else { *a };
        let same =
            arrangement.segments[on as usize / 2].source.line == arrangement.segments[half as usize / 2].source.line;
        (kept[on as usize / 2] && same).then_some(on)
    };
    let mut done = vec![false; kept.len()];
    let mut found = Vec::new();
    let mut follow = |start: u32, done: &mut Vec<bool>| {
        let mut line = vec![arrangement.place(start)];
        let mut half = Some(start);
        while let Some(at) = half {
            if std::mem::replace(&mut done[at as usize / 2], true) {
                break;
            }
            line.push(arrangement.place(at ^ 1));
            half = goes_on(at);
        }
        found.push(LineString(line));
    };
    // From ends first, then what is left: rings.
    for half in 0..arrangement.halves() {
        let starts = kept[half as usize / 2] && !done[half as usize / 2] && goes_on(half ^ 1).is_none();
        if starts {
            follow(half, &mut done);
        }
    }
    for segment in 0..kept.len() {
        if kept[segment] && !done[segment] {
            follow(2 * segment as u32, &mut done);
        }
    }
    found
}

/// Lines joined where exactly two of them end.
pub fn merged_lines(given: &[LineString<f64>]) -> Vec<LineString<f64>> {
    let mut ends: HashMap<Place, Vec<usize>> = HashMap::new();
    let given: Vec<&LineString<f64>> = given.iter().filter(|line| line.0.len() > 1).collect();
    for (at, line) in given.iter().enumerate() {
        for end in [line.0.first(), line.0.last()].into_iter().flatten() {
            ends.entry(Place::of(*end)).or_default().push(at);
        }
    }
    let mut done = vec![false; given.len()];
    let mut merged = Vec::new();
    for start in 0..given.len() {
        if std::mem::replace(&mut done[start], true) {
            continue;
        }
        let mut line = given[start].0.clone();
        for _ in 0..2 {
            while let Some(last) = line.last().copied() {
                let here = ends.get(&Place::of(last)).map_or(&[][..], Vec::as_slice);
                let [a, b] = here else { break };
                let Some(other) = [*a, *b].into_iter().find(|at| !done[*at]) else {
                    break;
                };
                done[other] = true;
                let mut more = given[other].0.clone();
                if more.first() != Some(&last) {
                    more.reverse();
                }
                line.extend_from_slice(&more[1..]);
            }
            line.reverse();
        }
        merged.push(LineString(line));
    }
    merged
}

/// One geometry of all parts; where there is none, the empty one of a dimension.
pub fn collect(parts: Parts, dimension: usize) -> Geometry<f64> {
    let Parts {
        mut polygons,
        mut lines,
        points,
    } = parts;
    let kinds = [!polygons.is_empty(), !lines.is_empty(), !points.is_empty()];
    match kinds {
        [false, false, false] => match dimension {
            // The empty point.
            0 => Geometry::MultiPoint(MultiPoint(Vec::new())),
            1 => Geometry::LineString(LineString(Vec::new())),
            _ => Geometry::Polygon(Polygon::new(LineString(Vec::new()), Vec::new())),
        },
        [true, false, false] if polygons.len() == 1 => Geometry::Polygon(polygons.remove(0)),
        [true, false, false] => Geometry::MultiPolygon(MultiPolygon(polygons)),
        [false, true, false] if lines.len() == 1 => Geometry::LineString(lines.remove(0)),
        [false, true, false] => Geometry::MultiLineString(MultiLineString(lines)),
        [false, false, true] if points.len() == 1 => Geometry::Point(Point(points[0])),
        [false, false, true] => Geometry::MultiPoint(MultiPoint(points.into_iter().map(Point).collect())),
        _ => {
            let polygons = polygons.into_iter().map(Geometry::Polygon);
            let lines = lines.into_iter().map(Geometry::LineString);
            let points = points.into_iter().map(|at| Geometry::Point(Point(at)));
            Geometry::GeometryCollection(GeometryCollection(polygons.chain(lines).chain(points).collect()))
        }
    }
}
