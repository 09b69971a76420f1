//! Places along lines, nearest points, how far shapes are from each other, and simpler or dual shapes.

use geo::line_measures::LengthMeasurable;
use geo::{
    Coord, CoordsIter, Geodesic, GeodesicArea, Geometry, GeometryCollection, LinesIter, MultiPoint, Point,
    TriangulateDelaunayUnconstrained,
};

use super::scalar::Kind::{self, Number};
use super::scalar::{Definition, Returns, Row, Value};
use super::vertices::simplify;
use crate::spatial::geometry::wkb::{self, Ordinates};
use crate::spatial::geometry::{Body, GeometryError, Shape, Tree};
use crate::spatial::overlay;
use crate::spatial::relation::{Crossing, Position, distance, position, side};

type Answer = Result<Value, GeometryError>;

const fn of(name: &'static str, args: &'static [Kind], returns: Returns, kernel: fn(&Row<'_>) -> Answer) -> Definition {
    Definition {
        name,
        aliases: &[],
        args,
        optional: 0,
        returns,
        kernel,
    }
}

const ONE: &[Kind] = &[Kind::Geometry];
const PAIR: &[Kind] = &[Kind::Geometry, Kind::Geometry];

/// Pairs of vertices that a Fréchet distance looks at.
const PAIRS_MAX: usize = 1 << 28;

pub const FUNCTIONS: &[Definition] = &[
    of(
        "st_lineinterpolatepoint",
        &[Kind::Geometry, Number],
        Returns::Geometry,
        |row| {
            let (line, dimensions, srid) = line(row)?;
            let share = share(row.number(1))?;
            Ok(match along(&line, share) {
                Some((point, _)) => Value::Geometry(
                    Tree {
                        dimensions,
                        body: Body::Point(Some(point)),
                    }
                    .encode(srid),
                ),
                None => Value::Geometry(wkb::with_srid(&wkb::point(f64::NAN, f64::NAN), srid)?),
            })
        },
    ),
    of(
        "st_linesubstring",
        &[Kind::Geometry, Number, Number],
        Returns::Geometry,
        |row| {
            let (line, dimensions, srid) = line(row)?;
            let (from, to) = (share(row.number(1))?, share(row.number(2))?);
            if from > to {
                return Err(GeometryError::Unsupported("the part ends before it starts".into()));
            }
            let (Some((start, after)), Some((end, before))) = (along(&line, from), along(&line, to)) else {
                return Ok(Value::Geometry(Tree::line(dimensions, Vec::new()).encode(srid)));
            };
            let mut part = vec![start];
            part.extend(line.get(after..before).unwrap_or_default());
            part.push(end);
            part.dedup_by(|a, b| a.is_at(b));
            if let [only] = part.as_slice() {
                let point = Tree {
                    dimensions,
                    body: Body::Point(Some(*only)),
                };
                return Ok(Value::Geometry(point.encode(srid)));
            }
            Ok(Value::Geometry(Tree::line(dimensions, part).encode(srid)))
        },
    ),
    of("st_shortestline", PAIR, Returns::Geometry, |row| {
        let (nearest, srid) = nearest(row)?;
        Ok(nearest.map_or(Value::Null, |(a, b)| {
            let line = Geometry::LineString(geo::LineString(vec![a, b]));
            Value::Geometry(wkb::encode(&line, srid))
        }))
    }),
    of("st_closestpoint", PAIR, Returns::Geometry, |row| {
        let (nearest, srid) = nearest(row)?;
        Ok(nearest.map_or(Value::Null, |(a, _)| {
            Value::Geometry(wkb::encode(&Geometry::Point(Point(a)), srid))
        }))
    }),
    of("st_hausdorffdistance", PAIR, Returns::Number, |row| {
        let (a, b) = (row.shape(0)?, row.shape(1)?);
        a.same_srid(&b)?;
        if !(a.matchable() && b.matchable()) {
            return Ok(Value::Null);
        }
        Ok(Value::Number(farthest(&a, &b).max(farthest(&b, &a))))
    }),
    of("st_frechetdistance", PAIR, Returns::Number, |row| {
        let (a, b) = (row.shape(0)?, row.shape(1)?);
        a.same_srid(&b)?;
        if !(a.matchable() && b.matchable()) {
            return Ok(Value::Null);
        }
        let of = |shape: &Shape| shape.geometry.coords_iter().collect::<Vec<_>>();
        frechet(&of(&a), &of(&b)).map(Value::Number)
    }),
    of("st_areaspheroid", ONE, Returns::Number, |row| {
        let shape = row.shape(0)?;
        degrees(&shape)?;
        Ok(Value::Number(spheroid_area(&shape.geometry)))
    }),
    of("st_lengthspheroid", ONE, Returns::Number, |row| {
        let shape = row.shape(0)?;
        degrees(&shape)?;
        Ok(Value::Number(spheroid_length(&shape.geometry)))
    }),
    of(
        "st_snap",
        &[Kind::Geometry, Kind::Geometry, Number],
        Returns::Geometry,
        |row| {
            row.shape(0)?.same_srid(&*row.shape(1)?)?;
            let (mut tree, srid) = row.tree(0)?;
            let mut targets = row.tree(1)?.0.vertices();
            targets.sort_by(|a, b| a.x.total_cmp(&b.x).then(a.y.total_cmp(&b.y)));
            targets.dedup_by(|a, b| a.is_at(b));
            snap(&mut tree, &targets, row.number(2));
            Ok(Value::Geometry(tree.encode(srid)))
        },
    ),
    of(
        "st_simplifypreservetopology",
        &[Kind::Geometry, Number],
        Returns::Geometry,
        |row| {
            let shape = row.shape(0)?;
            finite(&shape)?;
            let (tree, srid) = row.tree(0)?;
            Ok(Value::Geometry(preserved(&tree, &shape, row.number(1))?.encode(srid)))
        },
    ),
    of("st_delaunaytriangles", ONE, Returns::Geometry, |row| {
        let shape = row.shape(0)?;
        finite(&shape)?;
        let points = MultiPoint(shape.geometry.coords_iter().map(Point).collect());
        let refused = |error| GeometryError::Unsupported(format!("the points cannot be triangulated: {error}"));
        let triangles = if points.0.len() < 3 {
            Vec::new()
        } else {
            points.unconstrained_triangulation().map_err(refused)?
        };
        let polygons = triangles
            .iter()
            .map(|triangle| Geometry::Polygon(triangle.to_polygon()));
        let all = Geometry::GeometryCollection(GeometryCollection(polygons.collect()));
        Ok(Value::Geometry(wkb::encode(&all, shape.srid)))
    }),
];

fn finite(shape: &Shape) -> Result<(), GeometryError> {
    if shape.finite {
        return Ok(());
    }
    Err(GeometryError::Unsupported("a coordinate is NaN or infinite".into()))
}

fn line(row: &Row<'_>) -> Result<(Vec<Ordinates>, wkb::Dimensions, u32), GeometryError> {
    finite(&*row.shape(0)?)?;
    let (tree, srid) = row.tree(0)?;
    match tree.body {
        Body::Line(line) => Ok((line, tree.dimensions, srid)),
        _ => Err(GeometryError::Unsupported("it takes a LINESTRING".into())),
    }
}

fn share(number: f64) -> Result<f64, GeometryError> {
    if (0.0..=1.0).contains(&number) {
        return Ok(number);
    }
    Err(GeometryError::Unsupported(format!(
        "{number} is no place on a line: it must be from 0 to 1"
    )))
}

/// The point at a share of a line's length, and how many vertices are before or at it.
fn along(line: &[Ordinates], share: f64) -> Option<(Ordinates, usize)> {
    let length = |pair: &[Ordinates]| (pair[1].x - pair[0].x).hypot(pair[1].y - pair[0].y);
    let total: f64 = line.windows(2).map(length).sum();
    if share >= 1.0 {
        return line.last().map(|last| (*last, line.len() - 1));
    }
    let mut left = total * share;
    for (at, pair) in line.windows(2).enumerate() {
        let here = length(pair);
        if left <= here && here > 0.0 {
            let part = left / here;
            let mix = |a: f64, b: f64| a + part * (b - a);
            let optional = |a: Option<f64>, b: Option<f64>| Some(mix(a?, b?));
            let point = Ordinates {
                x: mix(pair[0].x, pair[1].x),
                y: mix(pair[0].y, pair[1].y),
                z: optional(pair[0].z, pair[1].z),
                m: optional(pair[0].m, pair[1].m),
            };
            return Some((point, at + 1));
        }
        left -= here;
    }
    line.last().map(|last| (*last, line.len() - 1))
}

type Nearest = Option<(Coord<f64>, Coord<f64>)>;

/// The first of the nearest pairs of points, one on each geometry; `None` where one matches nothing.
fn nearest(row: &Row<'_>) -> Result<(Nearest, u32), GeometryError> {
    let (a, b) = (row.shape(0)?, row.shape(1)?);
    let srid = a.same_srid(&b)?;
    if !(a.matchable() && b.matchable()) {
        return Ok((None, srid));
    }
    // What is inside of an area is on it.
    let inside = |points: &Shape, area: &Shape| {
        let inside = |at: &Coord<f64>| in_area(&area.geometry, *at);
        points.geometry.coords_iter().find(inside)
    };
    if let Some(at) = inside(&a, &b).or_else(|| inside(&b, &a)) {
        return Ok((Some((at, at)), srid));
    }
    let (of_a, of_b) = (edges(&a.geometry), edges(&b.geometry));
    let mut best: Option<(f64, Coord<f64>, Coord<f64>)> = None;
    for s in &of_a {
        for t in &of_b {
            let (p, q) = nearest_of(*s, *t);
            let far = (p.x - q.x).hypot(p.y - q.y);
            if best.is_none_or(|(least, ..)| far < least) {
                best = Some((far, p, q));
            }
        }
    }
    Ok((best.map(|(_, p, q)| (p, q)), srid))
}

fn in_area(geometry: &Geometry<f64>, at: Coord<f64>) -> bool {
    match geometry {
        Geometry::GeometryCollection(parts) => parts.iter().any(|part| in_area(part, at)),
        other => position(other, at).is_some_and(|position| position != Position::Outside),
    }
}

type Edge = (Coord<f64>, Coord<f64>);

/// Segments, and points as segments without length.
fn edges(geometry: &Geometry<f64>) -> Vec<Edge> {
    match geometry {
        Geometry::Point(point) => vec![(point.0, point.0)],
        Geometry::MultiPoint(points) => points.iter().map(|point| (point.0, point.0)).collect(),
        Geometry::LineString(line) => line.lines().map(|edge| (edge.start, edge.end)).collect(),
        Geometry::MultiLineString(lines) => lines.lines_iter().map(|edge| (edge.start, edge.end)).collect(),
        Geometry::Polygon(polygon) => polygon.lines_iter().map(|edge| (edge.start, edge.end)).collect(),
        Geometry::MultiPolygon(polygons) => polygons.lines_iter().map(|edge| (edge.start, edge.end)).collect(),
        Geometry::GeometryCollection(parts) => parts.iter().flat_map(edges).collect(),
        _ => Vec::new(),
    }
}

fn nearest_of(s: Edge, t: Edge) -> Edge {
    let opposite = |line: Edge, ends: Edge| {
        let (a, b) = (side(line, ends.0), side(line, ends.1));
        a != b && a.is_ne() && b.is_ne()
    };
    if s.0 != s.1 && t.0 != t.1 && opposite(s, t) && opposite(t, s) {
        let at = Crossing::new(s, t).about;
        return (at, at);
    }
    let candidates = [
        (s.0, foot(t, s.0)),
        (s.1, foot(t, s.1)),
        (foot(s, t.0), t.0),
        (foot(s, t.1), t.1),
    ];
    let far = |(p, q): &Edge| (p.x - q.x).hypot(p.y - q.y);
    let least = candidates
        .into_iter()
        .min_by(|one, other| far(one).total_cmp(&far(other)));
    least.unwrap_or((s.0, t.0))
}

fn foot((a, b): Edge, of: Coord<f64>) -> Coord<f64> {
    let (dx, dy) = (b.x - a.x, b.y - a.y);
    let length2 = dx * dx + dy * dy;
    if length2 == 0.0 {
        return a;
    }
    let share = ((of.x - a.x) * dx + (of.y - a.y) * dy) / length2;
    if share <= 0.0 {
        a
    } else if share >= 1.0 {
        b
    } else {
        Coord {
            x: a.x + share * dx,
            y: a.y + share * dy,
        }
    }
}

/// How far the farthest vertex of one is from the other.
fn farthest(from: &Shape, to: &Shape) -> f64 {
    let far = |at: Coord<f64>| {
        let point = Shape {
            geometry: Geometry::Point(Point(at)),
            bounds: Some(crate::spatial::geometry::Bounds::of_point(at.x, at.y)),
            finite: true,
            srid: 0,
        };
        distance(&point, to).unwrap_or(0.0)
    };
    from.geometry.coords_iter().map(far).fold(0.0, f64::max)
}

/// The discrete Fréchet distance of two lists of vertices.
fn frechet(a: &[Coord<f64>], b: &[Coord<f64>]) -> Result<f64, GeometryError> {
    if a.len().saturating_mul(b.len()) > PAIRS_MAX {
        return Err(GeometryError::Unsupported(format!(
            "{} and {} vertices are too many to compare",
            a.len(),
            b.len()
        )));
    }
    let mut before: Vec<f64> = Vec::new();
    for p in a {
        let mut row: Vec<f64> = Vec::with_capacity(b.len());
        for (at, q) in b.iter().enumerate() {
            let here = (p.x - q.x).hypot(p.y - q.y);
            let left = at.checked_sub(1).map(|left| row[left]);
            let above = before.get(at).copied();
            let corner = at.checked_sub(1).and_then(|left| before.get(left).copied());
            let least = [left, above, corner].into_iter().flatten().reduce(f64::min);
            row.push(least.map_or(here, |least| here.max(least)));
        }
        before = row;
    }
    Ok(before.last().copied().unwrap_or(0.0))
}

fn degrees(shape: &Shape) -> Result<(), GeometryError> {
    finite(shape)?;
    match shape.bounds {
        Some(bounds) if bounds.min_y < -90.0 || bounds.max_y > 90.0 => Err(GeometryError::Unsupported(
            "the spheroid wants longitude and latitude in degrees".into(),
        )),
        _ => Ok(()),
    }
}

fn spheroid_area(geometry: &Geometry<f64>) -> f64 {
    match geometry {
        Geometry::Polygon(polygon) => polygon.geodesic_area_unsigned(),
        Geometry::MultiPolygon(polygons) => polygons.iter().map(GeodesicArea::geodesic_area_unsigned).sum(),
        Geometry::GeometryCollection(parts) => parts.iter().map(spheroid_area).sum(),
        _ => 0.0,
    }
}

fn spheroid_length(geometry: &Geometry<f64>) -> f64 {
    match geometry {
        Geometry::LineString(line) => line.length(&Geodesic),
        Geometry::MultiLineString(lines) => lines.iter().map(|line| line.length(&Geodesic)).sum(),
        Geometry::GeometryCollection(parts) => parts.iter().map(spheroid_length).sum(),
        _ => 0.0,
    }
}

/// Vertices go to the nearest target within the tolerance; a target near an edge then becomes a vertex of it.
fn snap(tree: &mut Tree, targets: &[Ordinates], tolerance: f64) {
    let far = |a: &Ordinates, b: &Ordinates| (a.x - b.x).hypot(a.y - b.y);
    let snapped = |at: &Ordinates| {
        let within = targets.iter().filter(|target| far(at, target) <= tolerance);
        let nearest = within.min_by(|a, b| far(at, a).total_cmp(&far(at, b)));
        nearest.map_or(*at, |target| Ordinates {
            x: target.x,
            y: target.y,
            ..*at
        })
    };
    match &mut tree.body {
        Body::Point(point) => *point = point.as_ref().map(snapped),
        Body::Line(points) => snap_chain(points, targets, tolerance, snapped),
        Body::Polygon(rings) => {
            for ring in rings {
                snap_chain(ring, targets, tolerance, snapped);
            }
        }
        Body::Members(_, members) => members.iter_mut().for_each(|member| snap(member, targets, tolerance)),
    }
}

fn snap_chain(
    points: &mut Vec<Ordinates>,
    targets: &[Ordinates],
    tolerance: f64,
    snapped: impl Fn(&Ordinates) -> Ordinates,
) {
    points.iter_mut().for_each(|point| *point = snapped(point));
    let coord = |at: &Ordinates| Coord { x: at.x, y: at.y };
    for target in targets {
        if points.iter().any(|point| point.is_at(target)) {
            continue;
        }
        let off = |pair: &[Ordinates]| {
            let foot = foot((coord(&pair[0]), coord(&pair[1])), coord(target));
            (foot.x - target.x).hypot(foot.y - target.y)
        };
        let edges = points.windows(2).map(off).enumerate();
        let nearest = edges.min_by(|(_, a), (_, b)| a.total_cmp(b));
        if let Some((at, off)) = nearest
            && off <= tolerance
        {
            let new = Ordinates {
                x: target.x,
                y: target.y,
                ..points[at]
            };
            points.insert(at + 1, new);
        }
    }
}

/// Simplified with the greatest tolerance, halved from the given one, that leaves it valid, simple and whole.
fn preserved(tree: &Tree, shape: &Shape, tolerance: f64) -> Result<Tree, GeometryError> {
    /// Beyond it what is left to drop is far below the given tolerance.
    const HALVINGS_MAX: usize = 16;
    if shape.is_empty() || tolerance.is_nan() || tolerance <= 0.0 {
        return Ok(tree.clone());
    }
    let sound = |shape: &Shape| -> Result<(bool, bool), GeometryError> {
        let valid = overlay::flaw(&shape.geometry)?.is_none();
        Ok((valid, overlay::is_simple(&shape.geometry)?))
    };
    let whole = |tree: &Tree| {
        let mut count = (0usize, 0usize);
        count_chains(tree, &mut count);
        count
    };
    let before = sound(shape)?;
    let mut tolerance = tolerance;
    for _ in 0..HALVINGS_MAX {
        let simpler = simplify(tree, tolerance);
        let (valid, simple) = sound(&Shape::decode(&simpler.encode(0))?)?;
        if (valid || !before.0) && (simple || !before.1) && whole(&simpler) == whole(tree) {
            return Ok(simpler);
        }
        tolerance /= 2.0;
    }
    Ok(tree.clone())
}

/// Lines with two points, and rings with four, at least.
fn count_chains(tree: &Tree, count: &mut (usize, usize)) {
    match &tree.body {
        Body::Point(_) => {}
        Body::Line(points) => count.0 += usize::from(points.len() > 1),
        Body::Polygon(rings) => count.1 += rings.iter().filter(|ring| ring.len() > 3).count(),
        Body::Members(_, members) => members.iter().for_each(|member| count_chains(member, count)),
    }
}
