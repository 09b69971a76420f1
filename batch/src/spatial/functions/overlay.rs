//! New geometries from the points of others.

use geo::{AffineOps, AffineTransform, Geometry, Simplify};

use super::scalar::Kind::{self, Number};
use super::scalar::{Definition, Returns, Value};
use crate::spatial::geometry::{GeometryError, wkb};

pub const FUNCTIONS: &[Definition] = &[
    Definition {
        name: "st_rotate",
        aliases: &[],
        args: &[Kind::Geometry, Number],
        optional: 0,
        returns: Returns::Geometry,
        kernel: |row| {
            let shape = row.shape(0)?;
            let (sin, cos) = row.number(1).sin_cos();
            let turned = shape
                .geometry
                .affine_transform(&AffineTransform::new(cos, -sin, 0.0, sin, cos, 0.0));
            Ok(Value::Geometry(wkb::encode(&turned, shape.srid)))
        },
    },
    Definition {
        name: "st_translate",
        aliases: &[],
        args: &[Kind::Geometry, Number, Number],
        optional: 0,
        returns: Returns::Geometry,
        kernel: |row| {
            let shape = row.shape(0)?;
            let moved = shape
                .geometry
                .affine_transform(&AffineTransform::translate(row.number(1), row.number(2)));
            Ok(Value::Geometry(wkb::encode(&moved, shape.srid)))
        },
    },
    Definition {
        name: "st_simplify",
        aliases: &[],
        args: &[Kind::Geometry, Number],
        optional: 0,
        returns: Returns::Geometry,
        kernel: |row| {
            let shape = row.shape(0)?;
            if !shape.finite {
                return Err(GeometryError::Unsupported("a coordinate is NaN or infinite".into()));
            }
            let tolerance = row.number(1);
            let simple = match &shape.geometry {
                Geometry::LineString(line) => Geometry::LineString(line.simplify(tolerance)),
                Geometry::MultiLineString(lines) => Geometry::MultiLineString(lines.simplify(tolerance)),
                Geometry::Polygon(polygon) => Geometry::Polygon(polygon.simplify(tolerance)),
                Geometry::MultiPolygon(polygons) => Geometry::MultiPolygon(polygons.simplify(tolerance)),
                other => other.clone(),
            };
            Ok(Value::Geometry(wkb::encode(&simple, shape.srid)))
        },
    },
];
