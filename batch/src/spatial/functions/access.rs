//! What a geometry is and what it consists of.

use geo::Geometry;
use geo::dimensions::{Dimensions, HasDimensions};

use super::scalar::Kind::{self, Integer};
use super::scalar::{Definition, Returns, Row, Value};
use super::vertices;
use crate::spatial::geometry::wkb::{self, Header, Kind as Feature, Ordinates, Visitor};
use crate::spatial::geometry::{Body, Bounds, GeometryError, Tree, bounds};

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

const fn of_nth(name: &'static str, kernel: fn(&Row<'_>) -> Answer) -> Definition {
    Definition {
        name,
        aliases: &[],
        args: &[Kind::Geometry, Integer],
        optional: 0,
        returns: Returns::Geometry,
        kernel,
    }
}

pub const FUNCTIONS: &[Definition] = &[
    of_one("st_x", Returns::Number, |row| {
        ordinate(row, "ST_X", |point| Some(point.x))
    }),
    of_one("st_y", Returns::Number, |row| {
        ordinate(row, "ST_Y", |point| Some(point.y))
    }),
    of_one("st_z", Returns::Number, |row| ordinate(row, "ST_Z", |point| point.z)),
    of_one("st_m", Returns::Number, |row| ordinate(row, "ST_M", |point| point.m)),
    of_one("st_xmin", Returns::Number, |row| side(row, |bounds| bounds.min_x)),
    of_one("st_xmax", Returns::Number, |row| side(row, |bounds| bounds.max_x)),
    of_one("st_ymin", Returns::Number, |row| side(row, |bounds| bounds.min_y)),
    of_one("st_ymax", Returns::Number, |row| side(row, |bounds| bounds.max_y)),
    of_one("st_zmin", Returns::Number, |row| {
        Ok(heights(row)?.into_iter().reduce(f64::min).into())
    }),
    of_one("st_zmax", Returns::Number, |row| {
        Ok(heights(row)?.into_iter().reduce(f64::max).into())
    }),
    of_one("st_srid", Returns::Integer, |row| {
        Ok(Value::Integer(i64::from(row.srid(0)?)))
    }),
    of_one("st_geometrytype", Returns::Text, |row| {
        Ok(Value::Text(format!("ST_{}", wkb::header(row.wkb(0))?.kind.name())))
    }),
    of_one("st_isempty", Returns::Flag, |row| {
        Ok(Value::Flag(count(row)?.points == 0))
    }),
    of_one("st_npoints", Returns::Integer, |row| {
        Ok(Value::Integer(count(row)?.points))
    }),
    of_one("st_nrings", Returns::Integer, |row| {
        Ok(Value::Integer(count(row)?.rings))
    }),
    of_one("st_numpoints", Returns::Integer, |row| {
        let points = count(row)?.points;
        Ok(if wkb::header(row.wkb(0))?.kind == Feature::LineString {
            Value::Integer(points)
        } else {
            Value::Null
        })
    }),
    of_one("st_numgeometries", Returns::Integer, |row| {
        let header = wkb::header(row.wkb(0))?;
        let single = matches!(header.kind, Feature::Point | Feature::LineString | Feature::Polygon);
        let parts = if single {
            i64::from(count(row)?.points > 0)
        } else {
            i64::try_from(header.count).unwrap_or(i64::MAX)
        };
        Ok(Value::Integer(parts))
    }),
    of_one("st_hasz", Returns::Flag, |row| {
        Ok(Value::Flag(wkb::header(row.wkb(0))?.dimensions.z))
    }),
    of_one("st_hasm", Returns::Flag, |row| {
        Ok(Value::Flag(wkb::header(row.wkb(0))?.dimensions.m))
    }),
    of_one("st_dimension", Returns::Integer, |row| {
        Ok(Value::Integer(dimension(&row.shape(0)?.geometry)))
    }),
    of_one("st_isclosed", Returns::Flag, |row| {
        Ok(Value::Flag(is_closed(&row.shape(0)?.geometry)))
    }),
    of_one("st_startpoint", Returns::Geometry, |row| {
        line_point(row, |line| line.first().copied())
    }),
    of_one("st_endpoint", Returns::Geometry, |row| {
        line_point(row, |line| line.last().copied())
    }),
    of_nth("st_pointn", |row| {
        let at = usize::try_from(row.integer(1) - 1).ok();
        line_point(row, move |line| at.and_then(|at| line.get(at).copied()))
    }),
    of_nth("st_geometryn", |row| {
        let (tree, srid) = row.tree(0)?;
        let part = usize::try_from(row.integer(1) - 1)
            .ok()
            .and_then(|at| vertices::parts(tree).into_iter().nth(at));
        Ok(part.map_or(Value::Null, |part| geometry(&part, srid)))
    }),
    of_nth("st_interiorringn", |row| match usize::try_from(row.integer(1)) {
        Ok(at) if at > 0 => ring(row, at),
        _ => Ok(Value::Null),
    }),
    of_one("st_exteriorring", Returns::Geometry, |row| ring(row, 0)),
    of_one("st_numinteriorrings", Returns::Integer, |row| {
        let shape = row.shape(0)?;
        let Geometry::Polygon(polygon) = &shape.geometry else {
            return Ok(Value::Null);
        };
        Ok(Value::Integer(
            i64::try_from(polygon.interiors().len()).unwrap_or(i64::MAX),
        ))
    }),
    of_one("st_dump", Returns::Geometries, |row| {
        let (tree, srid) = row.tree(0)?;
        let parts = vertices::parts(tree);
        Ok(Value::Geometries(parts.iter().map(|part| part.encode(srid)).collect()))
    }),
    of_one("st_boundary", Returns::Geometry, |row| {
        let (tree, srid) = row.tree(0)?;
        Ok(geometry(&vertices::boundary(&tree)?, srid))
    }),
    of_one("st_flipcoordinates", Returns::Geometry, |row| {
        let (mut tree, srid) = row.tree(0)?;
        tree.for_each(&mut |vertex| std::mem::swap(&mut vertex.x, &mut vertex.y));
        Ok(geometry(&tree, srid))
    }),
];

fn geometry(tree: &Tree, srid: u32) -> Value {
    Value::Geometry(tree.encode(srid))
}

/// A ring of a polygon as a line: 0 is the shell. NULL where there is none.
fn ring(row: &Row<'_>, at: usize) -> Answer {
    let (tree, srid) = row.tree(0)?;
    let Body::Polygon(rings) = tree.body else {
        return Ok(Value::Null);
    };
    let ring = rings.into_iter().nth(at).or((at == 0).then(Vec::new));
    Ok(ring.map_or(Value::Null, |ring| geometry(&Tree::line(tree.dimensions, ring), srid)))
}

fn ordinate(row: &Row<'_>, name: &str, pick: fn(&Ordinates) -> Option<f64>) -> Answer {
    struct First(Option<Ordinates>);
    impl Visitor for First {
        fn coordinate(&mut self, ordinates: Ordinates) {
            self.0 = Some(ordinates);
        }
    }
    let header = wkb::header(row.wkb(0))?;
    if header.kind != Feature::Point {
        return Err(GeometryError::Unsupported(format!(
            "{name} takes a POINT, not a {}",
            header.kind.word()
        )));
    }
    let mut first = First(None);
    wkb::walk(row.wkb(0), &mut first)?;
    Ok(first.0.as_ref().and_then(pick).into())
}

fn side(row: &Row<'_>, pick: fn(Bounds) -> f64) -> Answer {
    Ok(bounds(row.wkb(0))?.map(pick).into())
}

fn heights(row: &Row<'_>) -> Result<Vec<f64>, GeometryError> {
    struct Heights(Vec<f64>);
    impl Visitor for Heights {
        fn coordinate(&mut self, ordinates: Ordinates) {
            self.0.extend(ordinates.z);
        }
    }
    let mut heights = Heights(Vec::new());
    wkb::walk(row.wkb(0), &mut heights)?;
    Ok(heights.0)
}

#[derive(Default)]
struct Count {
    points: i64,
    rings: i64,
    in_polygon: bool,
}

impl Visitor for Count {
    fn begin(&mut self, header: &Header) {
        self.in_polygon = header.kind == Feature::Polygon;
    }

    fn points(&mut self, _count: usize) {
        self.rings += i64::from(self.in_polygon);
    }

    fn coordinate(&mut self, _ordinates: Ordinates) {
        self.points += 1;
    }
}

fn count(row: &Row<'_>) -> Result<Count, GeometryError> {
    let mut count = Count::default();
    wkb::walk(row.wkb(0), &mut count)?;
    Ok(count)
}

/// The dimension of the kind, whatever the coordinates: a flat polygon is 2.
fn dimension(geometry: &Geometry<f64>) -> i64 {
    match geometry {
        Geometry::Point(_) | Geometry::MultiPoint(_) => 0,
        Geometry::Line(_) | Geometry::LineString(_) | Geometry::MultiLineString(_) => 1,
        Geometry::GeometryCollection(parts) => parts.iter().map(dimension).max().unwrap_or(0),
        _ => 2,
    }
}

fn is_closed(geometry: &Geometry<f64>) -> bool {
    match geometry {
        Geometry::LineString(line) => !line.0.is_empty() && line.is_closed(),
        Geometry::MultiLineString(lines) => !lines.0.is_empty() && lines.is_closed(),
        Geometry::GeometryCollection(parts) => parts.iter().all(is_closed),
        geometry => !matches!(geometry.dimensions(), Dimensions::Empty),
    }
}

fn line_point(row: &Row<'_>, pick: impl Fn(&[Ordinates]) -> Option<Ordinates>) -> Answer {
    let (tree, srid) = row.tree(0)?;
    let Body::Line(line) = &tree.body else {
        return Ok(Value::Null);
    };
    Ok(pick(line).map_or(Value::Null, |point| geometry(&Tree::point(point), srid)))
}
