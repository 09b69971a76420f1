//! New geometries from the points of others.

use super::scalar::Kind::{self, Number};
use super::scalar::{Definition, Returns, Row, Value};
use super::vertices::simplify;
use crate::spatial::geometry::wkb::Ordinates;
use crate::spatial::geometry::{GeometryError, bounds};

type Answer = Result<Value, GeometryError>;

pub const FUNCTIONS: &[Definition] = &[
    Definition {
        name: "st_rotate",
        aliases: &[],
        args: &[Kind::Geometry, Number],
        optional: 0,
        returns: Returns::Geometry,
        kernel: |row| {
            let (sin, cos) = row.number(1).sin_cos();
            moved(row, |vertex| {
                (vertex.x, vertex.y) = (cos * vertex.x - sin * vertex.y, sin * vertex.x + cos * vertex.y);
            })
        },
    },
    Definition {
        name: "st_translate",
        aliases: &[],
        args: &[Kind::Geometry, Number, Number, Number],
        optional: 1,
        returns: Returns::Geometry,
        kernel: |row| {
            let up = if row.len() > 3 { row.number(3) } else { 0.0 };
            moved(row, |vertex| {
                vertex.x += row.number(1);
                vertex.y += row.number(2);
                vertex.z = vertex.z.map(|z| z + up);
            })
        },
    },
    Definition {
        name: "st_simplify",
        aliases: &[],
        args: &[Kind::Geometry, Number],
        optional: 0,
        returns: Returns::Geometry,
        kernel: |row| {
            let (tree, srid) = row.tree(0)?;
            if bounds(row.wkb(0))?.is_none() && !tree.is_empty() {
                return Err(GeometryError::Unsupported("a coordinate is NaN or infinite".into()));
            }
            Ok(Value::Geometry(simplify(&tree, row.number(1)).encode(srid)))
        },
    },
];

fn moved(row: &Row<'_>, mut change: impl FnMut(&mut Ordinates)) -> Answer {
    let (mut tree, srid) = row.tree(0)?;
    tree.for_each(&mut change);
    Ok(Value::Geometry(tree.encode(srid)))
}
