//! The same vertices in another order, with other ordinates, or moved by a rule.

use std::cmp::Ordering;

use super::scalar::Kind::{self, Integer, Number};
use super::scalar::{Definition, Returns, Row, Value};
use crate::spatial::geometry::wkb::{Dimensions, Kind as Feature, Ordinates};
use crate::spatial::geometry::{Body, GeometryError, Tree};
use crate::spatial::relation::is_left_turn;

type Answer = Result<Value, GeometryError>;

const fn of(name: &'static str, args: &'static [Kind], optional: usize, kernel: fn(&Row<'_>) -> Answer) -> Definition {
    Definition {
        name,
        aliases: &[],
        args,
        optional,
        returns: Returns::Geometry,
        kernel,
    }
}

const ONE: &[Kind] = &[Kind::Geometry];
const WITH_NUMBER: &[Kind] = &[Kind::Geometry, Number];
const AFFINE: &[Kind] = &[
    Kind::Geometry,
    Number,
    Number,
    Number,
    Number,
    Number,
    Number,
    Number,
    Number,
    Number,
    Number,
    Number,
    Number,
];

pub const FUNCTIONS: &[Definition] = &[
    of("st_normalize", ONE, 0, |row| changed(row, normalize)),
    of("st_reverse", ONE, 0, |row| {
        changed(row, |tree| chains(tree, &mut |_, points| points.reverse()))
    }),
    of("st_force2d", ONE, 0, |row| force(row, false, false, 0.0)),
    Definition {
        aliases: &["st_force3dz"],
        ..of("st_force3d", WITH_NUMBER, 1, |row| force(row, true, false, added(row)))
    },
    of("st_force3dm", WITH_NUMBER, 1, |row| force(row, false, true, added(row))),
    of("st_force4d", ONE, 0, |row| force(row, true, true, 0.0)),
    of("st_forcepolygoncw", ONE, 0, |row| {
        changed(row, |tree| wind(tree, false))
    }),
    of("st_forcepolygonccw", ONE, 0, |row| {
        changed(row, |tree| wind(tree, true))
    }),
    flag("st_ispolygoncw", |row| wound(row, false)),
    flag("st_ispolygonccw", |row| wound(row, true)),
    flag("st_iscollection", |row| {
        Ok(Value::Flag(matches!(row.tree(0)?.0.body, Body::Members(..))))
    }),
    of("st_multi", ONE, 0, |row| {
        let (tree, srid) = row.tree(0)?;
        let kind = match tree.kind() {
            Feature::Point => Feature::MultiPoint,
            Feature::LineString => Feature::MultiLineString,
            Feature::Polygon => Feature::MultiPolygon,
            _ => return geometry(tree, srid),
        };
        let members = if tree.is_empty() { Vec::new() } else { vec![tree] };
        geometry(Tree::members(kind, members), srid)
    }),
    of("st_collectionextract", &[Kind::Geometry, Integer], 1, extract),
    of("st_collect", &[Kind::Geometry, Kind::Geometry], 0, |row| {
        let srid = row.shape(0)?.same_srid(&*row.shape(1)?)?;
        geometry(super::aggregate::collect(vec![row.tree(0)?.0, row.tree(1)?.0]), srid)
    }),
    of("st_removerepeatedpoints", WITH_NUMBER, 1, |row| {
        let tolerance = added(row);
        changed(row, |tree| {
            chains(tree, &mut |ring, points| {
                without_repeats(points, tolerance, if ring { 4 } else { 2 })
            });
        })
    }),
    of("st_points", ONE, 0, |row| {
        let (tree, srid) = row.tree(0)?;
        let dimensions = tree.dimensions;
        let points = tree.vertices().into_iter();
        let points = points.map(|vertex| Tree {
            dimensions,
            body: Body::Point(Some(vertex)),
        });
        geometry(Tree::members(Feature::MultiPoint, points.collect()), srid)
    }),
    of("st_linefrommultipoint", ONE, 0, |row| {
        let (tree, srid) = row.tree(0)?;
        if tree.kind() != Feature::MultiPoint {
            return Err(GeometryError::Unsupported("it takes a MULTIPOINT".into()));
        }
        geometry(Tree::line(tree.dimensions, tree.vertices()), srid)
    }),
    // Places count from 0 here, as in Sedona and PostGIS; negative ones from the end.
    of("st_addpoint", &[Kind::Geometry, Kind::Geometry, Integer], 1, |row| {
        edit_line(row, |line, row| {
            let point = one_point(row, 1)?;
            let at = if row.len() > 2 { row.integer(2) } else { -1 };
            let at = match usize::try_from(at) {
                Ok(at) if at <= line.len() => at,
                Err(_) if at == -1 => line.len(),
                _ => return Err(no_place(at)),
            };
            line.insert(at, point);
            Ok(())
        })
    }),
    of("st_setpoint", &[Kind::Geometry, Integer, Kind::Geometry], 0, |row| {
        edit_line(row, |line, row| {
            let (at, point) = (row.integer(1), one_point(row, 2)?);
            let from_end = if at < 0 {
                i64::try_from(line.len()).unwrap_or(0)
            } else {
                0
            };
            let place = at.checked_add(from_end).and_then(|at| usize::try_from(at).ok());
            *place.and_then(|at| line.get_mut(at)).ok_or_else(|| no_place(at))? = point;
            Ok(())
        })
    }),
    of("st_removepoint", &[Kind::Geometry, Integer], 1, |row| {
        edit_line(row, |line, row| {
            let last = i64::try_from(line.len()).unwrap_or(0) - 1;
            let at = if row.len() > 1 { row.integer(1) } else { last };
            let place = usize::try_from(at).ok().filter(|at| *at < line.len());
            line.remove(place.ok_or_else(|| no_place(at))?);
            if line.len() < 2 {
                return Err(GeometryError::Unsupported("a line keeps two points at least".into()));
            }
            Ok(())
        })
    }),
    of("st_scale", &[Kind::Geometry, Number, Number], 0, |row| {
        changed(row, |tree| {
            tree.for_each(&mut |vertex| {
                vertex.x *= row.number(1);
                vertex.y *= row.number(2);
            });
        })
    }),
    of("st_affine", AFFINE, 6, affine),
    of("st_snaptogrid", WITH_NUMBER, 0, |row| {
        let size = row.number(1);
        if !(size > 0.0 && size.is_finite()) {
            return Err(GeometryError::Unsupported(format!("{size} is no size of a grid")));
        }
        let (mut tree, srid) = row.tree(0)?;
        tree.for_each(&mut |vertex| {
            vertex.x = (vertex.x / size).round() * size;
            vertex.y = (vertex.y / size).round() * size;
        });
        chains(&mut tree, &mut |_, points| points.dedup_by(|a, b| a.is_at(b)));
        geometry(collapsed(tree), srid)
    }),
];

const fn flag(name: &'static str, kernel: fn(&Row<'_>) -> Answer) -> Definition {
    Definition {
        returns: Returns::Flag,
        ..of(name, ONE, 0, kernel)
    }
}

fn geometry(tree: Tree, srid: u32) -> Answer {
    Ok(Value::Geometry(tree.encode(srid)))
}

fn changed(row: &Row<'_>, change: impl FnOnce(&mut Tree)) -> Answer {
    let (mut tree, srid) = row.tree(0)?;
    change(&mut tree);
    geometry(tree, srid)
}

/// The second argument, 0 where it is left out.
fn added(row: &Row<'_>) -> f64 {
    if row.len() > 1 { row.number(1) } else { 0.0 }
}

fn no_place(at: i64) -> GeometryError {
    GeometryError::Unsupported(format!("the line has no place {at}"))
}

/// Calls `change` with each line (`false`) and each ring (`true`).
fn chains(tree: &mut Tree, change: &mut impl FnMut(bool, &mut Vec<Ordinates>)) {
    match &mut tree.body {
        Body::Point(_) => {}
        Body::Line(points) => change(false, points),
        Body::Polygon(rings) => rings.iter_mut().for_each(|ring| change(true, ring)),
        Body::Members(_, members) => members.iter_mut().for_each(|member| chains(member, change)),
    }
}

fn force(row: &Row<'_>, z: bool, m: bool, value: f64) -> Answer {
    fn dimensions(tree: &mut Tree, to: Dimensions) {
        tree.dimensions = to;
        if let Body::Members(_, members) = &mut tree.body {
            members.iter_mut().for_each(|member| dimensions(member, to));
        }
    }
    changed(row, |tree| {
        tree.for_each(&mut |vertex| {
            vertex.z = z.then(|| vertex.z.unwrap_or(value));
            vertex.m = m.then(|| vertex.m.unwrap_or(value));
        });
        dimensions(tree, Dimensions { z, m });
    })
}

fn order(a: &Ordinates, b: &Ordinates) -> Ordering {
    let number = |a: f64, b: f64| (a + 0.0).total_cmp(&(b + 0.0));
    number(a.x, b.x).then(number(a.y, b.y))
}

/// Whether a ring runs counter-clockwise, by its lowest corner; exact for simple rings.
fn counter_clockwise(ring: &[Ordinates]) -> bool {
    let open = &ring[..ring.len().saturating_sub(1)];
    let Some(corner) = (0..open.len()).min_by(|a, b| order(&open[*a], &open[*b])) else {
        return true;
    };
    let steps = || 1..open.len();
    let other = |at: &usize| !open[*at].is_at(&open[corner]);
    let before = steps()
        .map(|step| (corner + open.len() - step) % open.len())
        .find(other);
    let after = steps().map(|step| (corner + step) % open.len()).find(other);
    let (Some(before), Some(after)) = (before, after) else {
        return true;
    };
    let at = |at: usize| (open[at].x, open[at].y);
    is_left_turn(at(before), at(corner), at(after))
}

fn wind(tree: &mut Tree, shell_counter_clockwise: bool) {
    match &mut tree.body {
        Body::Polygon(rings) => {
            for (number, ring) in rings.iter_mut().enumerate() {
                if counter_clockwise(ring) == (shell_counter_clockwise != (number == 0)) {
                    ring.reverse();
                }
            }
        }
        Body::Members(_, members) => members
            .iter_mut()
            .for_each(|member| wind(member, shell_counter_clockwise)),
        _ => {}
    }
}

/// Polygons and multi-polygons only; false for anything else.
fn wound(row: &Row<'_>, shell_counter_clockwise: bool) -> Answer {
    let (tree, _) = row.tree(0)?;
    let right = |tree: &Tree| match &tree.body {
        Body::Polygon(rings) => (rings.iter().enumerate())
            .all(|(number, ring)| counter_clockwise(ring) == (shell_counter_clockwise == (number == 0))),
        _ => false,
    };
    Ok(Value::Flag(match &tree.body {
        Body::Members(Feature::MultiPolygon, members) => members.iter().all(right),
        _ => right(&tree),
    }))
}

/// The order of GEOS: rings from their lowest corner, shells clockwise, parts and holes from the greatest to the least.
fn normalize(tree: &mut Tree) {
    match &mut tree.body {
        Body::Point(_) => {}
        Body::Line(points) => {
            let closed = points.len() > 1 && points.first().zip(points.last()).is_some_and(|(a, b)| a.is_at(b));
            if closed {
                from_lowest(points, false);
            } else {
                let ends = points.iter().zip(points.iter().rev()).take(points.len() / 2);
                let first = ends.map(|(a, b)| order(a, b)).find(|order| *order != Ordering::Equal);
                if first == Some(Ordering::Greater) {
                    points.reverse();
                }
            }
        }
        Body::Polygon(rings) => {
            for (number, ring) in rings.iter_mut().enumerate() {
                from_lowest(ring, number > 0);
            }
            if let Some((_, holes)) = rings.split_first_mut() {
                holes.sort_by(|a, b| points_order(b, a));
            }
        }
        Body::Members(_, members) => {
            members.iter_mut().for_each(normalize);
            members.sort_by(|a, b| tree_order(b, a));
        }
    }
}

fn from_lowest(ring: &mut Vec<Ordinates>, wanted_counter_clockwise: bool) {
    if ring.len() < 2 {
        return;
    }
    ring.pop();
    let lowest = (0..ring.len()).min_by(|a, b| order(&ring[*a], &ring[*b])).unwrap_or(0);
    ring.rotate_left(lowest);
    ring.push(ring[0]);
    if ring.len() > 3 && counter_clockwise(ring) != wanted_counter_clockwise {
        ring.reverse();
    }
}

fn points_order(a: &[Ordinates], b: &[Ordinates]) -> Ordering {
    let differing = a
        .iter()
        .zip(b)
        .map(|(a, b)| order(a, b))
        .find(|order| *order != Ordering::Equal);
    differing.unwrap_or_else(|| a.len().cmp(&b.len()))
}

fn tree_order(a: &Tree, b: &Tree) -> Ordering {
    let rank = |tree: &Tree| match tree.kind() {
        Feature::Point => 0,
        Feature::MultiPoint => 1,
        Feature::LineString => 2,
        Feature::MultiLineString => 3,
        Feature::Polygon => 4,
        Feature::MultiPolygon => 5,
        Feature::Collection => 6,
    };
    rank(a)
        .cmp(&rank(b))
        .then_with(|| points_order(&a.vertices(), &b.vertices()))
}

/// Drops vertices that are within the tolerance of the one kept before them; the last one stays, and `least` do.
fn without_repeats(points: &mut Vec<Ordinates>, tolerance: f64, least: usize) {
    let Some((first, rest)) = points.split_first() else {
        return;
    };
    let near = |a: &Ordinates, b: &Ordinates| (a.x - b.x).hypot(a.y - b.y) <= tolerance;
    let mut kept = vec![*first];
    for (at, point) in rest.iter().enumerate() {
        let left = rest.len() - at;
        let last = left == 1;
        if kept.last().is_some_and(|before| near(before, point)) && kept.len() + left > least {
            if last && kept.len() > 1 {
                kept.pop();
                kept.push(*point);
            }
            continue;
        }
        kept.push(*point);
    }
    *points = kept;
}

/// Lines of one point and rings of less than four have vanished.
fn collapsed(tree: Tree) -> Tree {
    let dimensions = tree.dimensions;
    let body = match tree.body {
        Body::Line(points) => Body::Line(if points.len() < 2 { Vec::new() } else { points }),
        Body::Polygon(rings) => {
            let gone = rings.first().is_none_or(|shell| shell.len() < 4);
            Body::Polygon(if gone {
                Vec::new()
            } else {
                rings.into_iter().filter(|ring| ring.len() > 3).collect()
            })
        }
        Body::Members(kind, members) => {
            let members = members.into_iter().map(collapsed).filter(|member| !member.is_empty());
            Body::Members(kind, members.collect())
        }
        point @ Body::Point(_) => point,
    };
    Tree { dimensions, body }
}

/// The members of the greatest dimension, or of the one that is asked for (1: points, 2: lines, 3: polygons).
fn extract(row: &Row<'_>) -> Answer {
    fn gather(tree: &Tree, found: &mut [Vec<Tree>; 3]) {
        match &tree.body {
            _ if tree.is_empty() => {}
            Body::Point(_) => found[0].push(tree.clone()),
            Body::Line(_) => found[1].push(tree.clone()),
            Body::Polygon(_) => found[2].push(tree.clone()),
            Body::Members(_, members) => members.iter().for_each(|member| gather(member, found)),
        }
    }
    let (tree, srid) = row.tree(0)?;
    let mut found = [Vec::new(), Vec::new(), Vec::new()];
    gather(&tree, &mut found);
    let at = if row.len() > 1 {
        usize::try_from(row.integer(1) - 1)
            .ok()
            .filter(|at| *at < 3)
            .ok_or_else(|| {
                GeometryError::Unsupported("the kind to extract is 1 (points), 2 (lines) or 3 (polygons)".into())
            })?
    } else {
        (0..3).rev().find(|at| !found[*at].is_empty()).unwrap_or(0)
    };
    let kind = [Feature::MultiPoint, Feature::MultiLineString, Feature::MultiPolygon][at];
    geometry(Tree::members(kind, std::mem::take(&mut found[at])), srid)
}

fn one_point(row: &Row<'_>, argument: usize) -> Result<Ordinates, GeometryError> {
    match row.tree(argument)?.0.body {
        Body::Point(Some(point)) => Ok(point),
        _ => Err(GeometryError::Unsupported(
            "it takes a line and a point that is not empty".into(),
        )),
    }
}

fn edit_line(row: &Row<'_>, edit: impl Fn(&mut Vec<Ordinates>, &Row<'_>) -> Result<(), GeometryError>) -> Answer {
    let (mut tree, srid) = row.tree(0)?;
    let Body::Line(line) = &mut tree.body else {
        return Err(GeometryError::Unsupported("it takes a LINESTRING".into()));
    };
    edit(line, row)?;
    geometry(tree, srid)
}

/// a, b, d, e, x, y in the plane; a … i, x, y, z in space.
fn affine(row: &Row<'_>) -> Answer {
    let number = |at: usize| row.number(at);
    match row.len() {
        7 => changed(row, |tree| {
            tree.for_each(&mut |vertex| {
                let (x, y) = (vertex.x, vertex.y);
                vertex.x = number(1) * x + number(2) * y + number(5);
                vertex.y = number(3) * x + number(4) * y + number(6);
            });
        }),
        13 => changed(row, |tree| {
            tree.for_each(&mut |vertex| {
                let (x, y, z) = (vertex.x, vertex.y, vertex.z.unwrap_or(0.0));
                let at = |row: usize| number(row) * x + number(row + 1) * y + number(row + 2) * z;
                let (new_x, new_y, new_z) = (at(1) + number(10), at(4) + number(11), at(7) + number(12));
                (vertex.x, vertex.y) = (new_x, new_y);
                vertex.z = vertex.z.map(|_| new_z);
            });
        }),
        other => Err(GeometryError::Unsupported(format!(
            "it takes 6 numbers (a, b, d, e, x, y) or 12 (a … i, x, y, z), not {}",
            other - 1
        ))),
    }
}
