//! Numbers of one geometry or between two, and the points and boxes that sum one up.

use geo::line_measures::LengthMeasurable;
use geo::{
    Area, Centroid, Coord, CoordsIter, Distance, Euclidean, Geodesic, Geometry, InteriorPoint, LineLocatePoint,
    LineString, Point, Polygon,
};

use super::scalar::Kind::{self, Integer, Number};
use super::scalar::{Definition, Returns, Row, Value};
use super::vertices::hull;
use crate::spatial::geometry::wkb;
use crate::spatial::geometry::{Bounds, GeometryError, Shape, bounds};
use crate::spatial::relation::{EARTH_RADIUS_METRES, distance, distance_sphere, sphere_point};

type Answer = Result<Value, GeometryError>;

const fn of_one(name: &'static str, returns: Returns, kernel: fn(&Row<'_>) -> Answer) -> Definition {
    Definition {
        name,
        aliases: &[],
        args: &[Kind::Geometry],
        optional: 0,
        returns,
        kernel,
    }
}

const fn between(name: &'static str, kernel: fn(&Row<'_>) -> Answer) -> Definition {
    let args = &[Kind::Geometry, Kind::Geometry];
    Definition {
        name,
        aliases: &[],
        args,
        optional: 0,
        returns: Returns::Number,
        kernel,
    }
}

pub const FUNCTIONS: &[Definition] = &[
    of_one("st_area", Returns::Number, |row| {
        Ok(Value::Number(row.shape(0)?.geometry.unsigned_area()))
    }),
    of_one("st_length", Returns::Number, |row| {
        Ok(Value::Number(length(&row.shape(0)?.geometry)))
    }),
    of_one("st_perimeter", Returns::Number, |row| {
        Ok(Value::Number(perimeter(&row.shape(0)?.geometry)))
    }),
    between("st_distance", |row| {
        let (a, b) = (row.shape(0)?, row.shape(1)?);
        a.same_srid(&b)?;
        Ok(distance(&a, &b).into())
    }),
    Definition {
        name: "st_distancesphere",
        aliases: &[],
        args: &[Kind::Geometry, Kind::Geometry, Number],
        optional: 1,
        returns: Returns::Number,
        kernel: |row| {
            let radius = if row.len() > 2 {
                row.number(2)
            } else {
                EARTH_RADIUS_METRES
            };
            Ok(distance_sphere(&*row.shape(0)?, &*row.shape(1)?, radius).into())
        },
    },
    between("st_distancespheroid", |row| {
        let (a, b) = (row.shape(0)?, row.shape(1)?);
        let points = sphere_point(&a).zip(sphere_point(&b));
        Ok(points.map(|(a, b)| Geodesic.distance(Point(a), Point(b))).into())
    }),
    between("st_maxdistance", |row| {
        let (a, b) = (row.shape(0)?, row.shape(1)?);
        a.same_srid(&b)?;
        let far = |from: Coord<f64>| {
            b.geometry
                .coords_iter()
                .map(|to| (from.x - to.x).hypot(from.y - to.y))
                .fold(0.0, f64::max)
        };
        let matchable = a.matchable() && b.matchable();
        Ok(matchable
            .then(|| a.geometry.coords_iter().map(far).fold(0.0, f64::max))
            .into())
    }),
    between("st_azimuth", |row| {
        let (a, b) = (row.shape(0)?, row.shape(1)?);
        let (Geometry::Point(from), Geometry::Point(to)) = (&a.geometry, &b.geometry) else {
            return Ok(Value::Null);
        };
        let (dx, dy) = (to.x() - from.x(), to.y() - from.y());
        let azimuth = || dx.atan2(dy).rem_euclid(std::f64::consts::TAU);
        Ok((dx != 0.0 || dy != 0.0).then(azimuth).into())
    }),
    between("st_linelocatepoint", |row| {
        let (line, point) = (row.shape(0)?, row.shape(1)?);
        let (Geometry::LineString(line), Geometry::Point(point)) = (&line.geometry, &point.geometry) else {
            return Ok(Value::Null);
        };
        Ok(line.line_locate_point(point).into())
    }),
    of_one("st_envelope", Returns::Geometry, |row| {
        let shape = row.shape(0)?;
        let Some(bounds) = shape.bounds else {
            return Ok(Value::Geometry(wkb::with_srid(row.wkb(0), row.srid(0)?)?));
        };
        Ok(made(envelope(&bounds), &shape))
    }),
    of_one("st_centroid", Returns::Geometry, |row| {
        let shape = row.shape(0)?;
        let centroid = if shape.matchable() {
            shape.geometry.centroid()
        } else {
            None
        };
        Ok(centroid.map_or_else(empty_point, |point| made(Geometry::Point(point), &shape)))
    }),
    Definition {
        name: "st_pointonsurface",
        aliases: &[],
        args: &[Kind::Geometry],
        optional: 0,
        returns: Returns::Geometry,
        kernel: |row| {
            let shape = row.shape(0)?;
            let point = if shape.matchable() {
                shape.geometry.interior_point()
            } else {
                None
            };
            Ok(point.map_or_else(empty_point, |point| made(Geometry::Point(point), &shape)))
        },
    },
    of_one("st_convexhull", Returns::Geometry, |row| {
        let (tree, srid) = row.tree(0)?;
        // Empty, or not finite: nothing to wrap.
        if bounds(row.wkb(0))?.is_none() {
            return Ok(Value::Geometry(row.wkb(0).to_vec()));
        }
        Ok(Value::Geometry(hull(&tree).encode(srid)))
    }),
    Definition {
        name: "st_geohash",
        aliases: &[],
        args: &[Kind::Geometry, Integer],
        optional: 1,
        returns: Returns::Text,
        kernel: |row| {
            let shape = row.shape(0)?;
            let digits = if row.len() > 1 { row.integer(1).clamp(1, 20) } else { 20 };
            let Some(bounds) = shape.bounds else {
                return Ok(Value::Null);
            };
            let (x, y) = bounds.center();
            if !(-180.0..=180.0).contains(&x) || !(-90.0..=90.0).contains(&y) {
                return Err(GeometryError::Unsupported(format!(
                    "a geohash wants degrees, not ({x}, {y})"
                )));
            }
            Ok(Value::Text(geohash(x, y, usize::try_from(digits).unwrap_or(20))))
        },
    },
];

fn made(geometry: Geometry<f64>, from: &Shape) -> Value {
    Value::Geometry(wkb::encode(&geometry, from.srid))
}

fn empty_point() -> Value {
    Value::Geometry(wkb::point(f64::NAN, f64::NAN).to_vec())
}

fn line_length(line: &LineString<f64>) -> f64 {
    line.length(&Euclidean)
}

fn length(geometry: &Geometry<f64>) -> f64 {
    match geometry {
        Geometry::LineString(line) => line_length(line),
        Geometry::MultiLineString(lines) => lines.iter().map(line_length).sum(),
        Geometry::GeometryCollection(parts) => parts.iter().map(length).sum(),
        _ => 0.0,
    }
}

fn perimeter(geometry: &Geometry<f64>) -> f64 {
    let of_polygon = |polygon: &Polygon<f64>| {
        line_length(polygon.exterior()) + polygon.interiors().iter().map(line_length).sum::<f64>()
    };
    match geometry {
        Geometry::Polygon(polygon) => of_polygon(polygon),
        Geometry::MultiPolygon(polygons) => polygons.iter().map(of_polygon).sum(),
        Geometry::GeometryCollection(parts) => parts.iter().map(perimeter).sum(),
        _ => 0.0,
    }
}

/// The box as what it is: a point, a line where it is flat, else a polygon.
pub fn envelope(bounds: &Bounds) -> Geometry<f64> {
    let (low, high) = (
        Coord {
            x: bounds.min_x,
            y: bounds.min_y,
        },
        Coord {
            x: bounds.max_x,
            y: bounds.max_y,
        },
    );
    if low == high {
        return Geometry::Point(Point(low));
    }
    if low.x == high.x || low.y == high.y {
        return Geometry::LineString(LineString(vec![low, high]));
    }
    Geometry::Polygon(envelope_polygon(bounds))
}

/// The box as a polygon even where it is flat.
pub fn envelope_polygon(bounds: &Bounds) -> Polygon<f64> {
    let corners = [
        (bounds.min_x, bounds.min_y),
        (bounds.min_x, bounds.max_y),
        (bounds.max_x, bounds.max_y),
        (bounds.max_x, bounds.min_y),
        (bounds.min_x, bounds.min_y),
    ];
    Polygon::new(
        LineString(corners.into_iter().map(|(x, y)| Coord { x, y }).collect()),
        Vec::new(),
    )
}

/// Halves longitude and latitude in turn, five bits a letter.
fn geohash(x: f64, y: f64, digits: usize) -> String {
    const LETTERS: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
    let (mut lon, mut lat) = ((-180.0, 180.0), (-90.0, 90.0));
    let mut halve = |at: usize| {
        let (value, range) = if at.is_multiple_of(2) {
            (x, &mut lon)
        } else {
            (y, &mut lat)
        };
        let middle = (range.0 + range.1) / 2.0;
        let high = value >= middle;
        *(if high { &mut range.0 } else { &mut range.1 }) = middle;
        usize::from(high)
    };
    let letter = |digit: usize| (0..5).fold(0, |bits, bit| bits << 1 | halve(digit * 5 + bit));
    (0..digits)
        .map(letter)
        .map(|letter| char::from(LETTERS[letter]))
        .collect()
}
