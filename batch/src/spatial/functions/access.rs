//! What a geometry is and what it consists of.

use geo::dimensions::{Dimensions, HasDimensions};
use geo::{Coord, Geometry, GeometryCollection, LineString, MapCoords, MultiLineString, MultiPoint, Point};

use super::scalar::Kind::{self, Integer};
use super::scalar::{Definition, Returns, Row, Value};
use crate::spatial::geometry::wkb::{self, Header, Kind as Feature, Ordinates, Visitor};
use crate::spatial::geometry::{Bounds, GeometryError, Shape, bounds};

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
        Ok(Value::Integer(i64::from(wkb::header(row.wkb(0))?.srid.unwrap_or(0))))
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
        line_point(row, |line| line.0.first().copied())
    }),
    of_one("st_endpoint", Returns::Geometry, |row| {
        line_point(row, |line| line.0.last().copied())
    }),
    of_nth("st_pointn", |row| {
        let at = usize::try_from(row.integer(1) - 1).ok();
        line_point(row, move |line| at.and_then(|at| line.0.get(at).copied()))
    }),
    of_nth("st_geometryn", |row| {
        let shape = row.shape(0)?;
        let part = usize::try_from(row.integer(1) - 1)
            .ok()
            .and_then(|at| parts(&shape.geometry).into_iter().nth(at));
        Ok(part.map_or(Value::Null, |part| Value::Geometry(wkb::encode(&part, shape.srid))))
    }),
    of_nth("st_interiorringn", |row| {
        let shape = row.shape(0)?;
        let Geometry::Polygon(polygon) = &shape.geometry else {
            return Ok(Value::Null);
        };
        let ring = usize::try_from(row.integer(1) - 1)
            .ok()
            .and_then(|at| polygon.interiors().get(at).cloned());
        Ok(ring.map_or(Value::Null, |ring| geometry(Geometry::LineString(ring), &shape)))
    }),
    of_one("st_exteriorring", Returns::Geometry, |row| {
        let shape = row.shape(0)?;
        let Geometry::Polygon(polygon) = &shape.geometry else {
            return Ok(Value::Null);
        };
        Ok(geometry(Geometry::LineString(polygon.exterior().clone()), &shape))
    }),
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
        let shape = row.shape(0)?;
        let encode = |part: &Geometry<f64>| wkb::encode(part, shape.srid);
        Ok(Value::Geometries(parts(&shape.geometry).iter().map(encode).collect()))
    }),
    of_one("st_boundary", Returns::Geometry, |row| {
        let shape = row.shape(0)?;
        Ok(geometry(boundary(&shape.geometry)?, &shape))
    }),
    of_one("st_flipcoordinates", Returns::Geometry, |row| {
        let shape = row.shape(0)?;
        Ok(geometry(
            shape.geometry.map_coords(|coord| Coord { x: coord.y, y: coord.x }),
            &shape,
        ))
    }),
];

fn geometry(geometry: Geometry<f64>, from: &Shape) -> Value {
    Value::Geometry(wkb::encode(&geometry, from.srid))
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

fn line_point(row: &Row<'_>, pick: impl Fn(&LineString<f64>) -> Option<Coord<f64>>) -> Answer {
    let shape = row.shape(0)?;
    let Geometry::LineString(line) = &shape.geometry else {
        return Ok(Value::Null);
    };
    Ok(pick(line).map_or(Value::Null, |coord| geometry(Geometry::Point(Point(coord)), &shape)))
}

/// The members; a single geometry is its own only one, an empty one has none.
pub fn parts(geometry: &Geometry<f64>) -> Vec<Geometry<f64>> {
    match geometry {
        Geometry::MultiPoint(points) => points.iter().map(|point| Geometry::Point(*point)).collect(),
        Geometry::MultiLineString(lines) => lines.iter().cloned().map(Geometry::LineString).collect(),
        Geometry::MultiPolygon(polygons) => polygons.iter().cloned().map(Geometry::Polygon).collect(),
        Geometry::GeometryCollection(parts) => parts.0.clone(),
        geometry if geometry.is_empty() => Vec::new(),
        geometry => vec![geometry.clone()],
    }
}

fn boundary(geometry: &Geometry<f64>) -> Result<Geometry<f64>, GeometryError> {
    let ends = |lines: &[LineString<f64>]| {
        // The mod-2 rule: an end that an even number of lines share is no boundary.
        let mut ends: Vec<Coord<f64>> = Vec::new();
        for end in lines
            .iter()
            .filter(|line| !line.0.is_empty())
            .flat_map(|line| [line.0[0], line.0[line.0.len() - 1]])
        {
            match ends.iter().position(|known| *known == end) {
                Some(at) => {
                    ends.remove(at);
                }
                None => ends.push(end),
            }
        }
        Geometry::MultiPoint(MultiPoint(ends.into_iter().map(Point).collect()))
    };
    let rings = |polygons: &[geo::Polygon<f64>]| {
        let rings = polygons.iter().flat_map(|polygon| {
            std::iter::once(polygon.exterior())
                .chain(polygon.interiors())
                .filter(|ring| !ring.0.is_empty())
                .cloned()
        });
        MultiLineString(rings.collect())
    };
    Ok(match geometry {
        Geometry::Point(_) | Geometry::MultiPoint(_) => Geometry::GeometryCollection(GeometryCollection(Vec::new())),
        Geometry::LineString(line) => ends(std::slice::from_ref(line)),
        Geometry::MultiLineString(lines) => ends(&lines.0),
        Geometry::Polygon(polygon) => {
            let mut lines = rings(std::slice::from_ref(polygon));
            match lines.0.len() {
                1 => Geometry::LineString(lines.0.remove(0)),
                _ => Geometry::MultiLineString(lines),
            }
        }
        Geometry::MultiPolygon(polygons) => Geometry::MultiLineString(rings(&polygons.0)),
        _ => {
            return Err(GeometryError::Unsupported(
                "a collection has no boundary of its own".into(),
            ));
        }
    })
}
