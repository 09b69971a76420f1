//! Geometries from numbers, texts and bytes, and back to texts and bytes.

use geo::{Coord, Geometry, LineString, Polygon};

use super::scalar::Kind::{self, Integer, Number, Text};
use super::scalar::{Definition, Returns, Row, Value};
use crate::spatial::geometry::wkb::{self, Kind as Feature};
use crate::spatial::geometry::{Bounds, GeometryError, from_geojson, from_wkt, to_geojson, to_wkt};

type Answer = Result<Value, GeometryError>;

const fn function(
    name: &'static str,
    args: &'static [Kind],
    optional: usize,
    returns: Returns,
    kernel: fn(&Row<'_>) -> Answer,
) -> Definition {
    Definition {
        name,
        aliases: &[],
        args,
        optional,
        returns,
        kernel,
    }
}

pub const FUNCTIONS: &[Definition] = &[
    Definition {
        name: "st_point",
        aliases: &["st_makepoint"],
        args: &[Number, Number, Integer],
        optional: 1,
        returns: Returns::Geometry,
        kernel: point,
    },
    function(
        "st_makeenvelope",
        &[Number, Number, Number, Number, Integer],
        1,
        Returns::Geometry,
        make_envelope,
    ),
    Definition {
        name: "st_geomfromwkt",
        aliases: &["st_geomfromtext", "st_geometryfromtext", "st_geomfromewkt"],
        args: &[Text, Integer],
        optional: 1,
        returns: Returns::Geometry,
        kernel: geometry_from_text,
    },
    function("st_pointfromtext", &[Text, Integer], 1, Returns::Geometry, |row| {
        typed_text(row, Feature::Point)
    }),
    function("st_linefromtext", &[Text, Integer], 1, Returns::Geometry, |row| {
        typed_text(row, Feature::LineString)
    }),
    function("st_polygonfromtext", &[Text, Integer], 1, Returns::Geometry, |row| {
        typed_text(row, Feature::Polygon)
    }),
    function("st_mpointfromtext", &[Text, Integer], 1, Returns::Geometry, |row| {
        typed_text(row, Feature::MultiPoint)
    }),
    function("st_mlinefromtext", &[Text, Integer], 1, Returns::Geometry, |row| {
        typed_text(row, Feature::MultiLineString)
    }),
    function("st_mpolyfromtext", &[Text, Integer], 1, Returns::Geometry, |row| {
        typed_text(row, Feature::MultiPolygon)
    }),
    function("st_geomcollfromtext", &[Text, Integer], 1, Returns::Geometry, |row| {
        typed_text(row, Feature::Collection)
    }),
    Definition {
        name: "st_geomfromwkb",
        aliases: &["st_geomfromewkb"],
        args: &[Kind::Geometry, Integer],
        optional: 1,
        returns: Returns::Geometry,
        kernel: geometry_from_bytes,
    },
    function("st_geomfromgeojson", &[Text], 0, Returns::Geometry, |row| {
        Ok(Value::Geometry(from_geojson(row.text(0))?))
    }),
    Definition {
        name: "st_astext",
        aliases: &["st_aswkt"],
        args: &[Kind::Geometry],
        optional: 0,
        returns: Returns::Text,
        kernel: |row| Ok(Value::Text(to_wkt(row.wkb(0))?)),
    },
    function("st_asewkt", &[Kind::Geometry], 0, Returns::Text, |row| {
        let text = to_wkt(row.wkb(0))?;
        let srid = wkb::header(row.wkb(0))?.srid.filter(|srid| *srid != 0);
        Ok(Value::Text(
            srid.map_or(text.clone(), |srid| format!("SRID={srid};{text}")),
        ))
    }),
    function("st_asgeojson", &[Kind::Geometry], 0, Returns::Text, |row| {
        Ok(Value::Text(to_geojson(row.wkb(0))?))
    }),
    Definition {
        name: "st_asbinary",
        aliases: &["st_aswkb"],
        args: &[Kind::Geometry],
        optional: 0,
        returns: Returns::Geometry,
        kernel: |row| checked(wkb::with_srid(row.wkb(0), 0)?),
    },
    function("st_asewkb", &[Kind::Geometry], 0, Returns::Geometry, |row| {
        checked(row.wkb(0).to_vec())
    }),
    function("st_setsrid", &[Kind::Geometry, Integer], 0, Returns::Geometry, |row| {
        checked(wkb::with_srid(row.wkb(0), srid(row.integer(1))?)?)
    }),
    function(
        "st_makeline",
        &[Kind::Geometry, Kind::Geometry],
        0,
        Returns::Geometry,
        make_line,
    ),
    Definition {
        name: "st_makepolygon",
        aliases: &["st_polygon"],
        args: &[Kind::Geometry],
        optional: 0,
        returns: Returns::Geometry,
        kernel: make_polygon,
    },
];

fn srid(number: i64) -> Result<u32, GeometryError> {
    u32::try_from(number)
        .ok()
        .filter(|srid| *srid <= 999_999)
        .ok_or_else(|| GeometryError::Unsupported(format!("{number} is no SRID: it must be from 0 to 999999")))
}

/// Bytes from outside become a geometry only whole.
fn checked(bytes: Vec<u8>) -> Answer {
    struct Ignore;
    impl wkb::Visitor for Ignore {
        fn coordinate(&mut self, _ordinates: wkb::Ordinates) {}
    }
    wkb::walk(&bytes, &mut Ignore)?;
    Ok(Value::Geometry(bytes))
}

fn with_optional_srid(row: &Row<'_>, argument: usize, bytes: Vec<u8>) -> Answer {
    if row.len() <= argument {
        return Ok(Value::Geometry(bytes));
    }
    Ok(Value::Geometry(wkb::with_srid(&bytes, srid(row.integer(argument))?)?))
}

fn point(row: &Row<'_>) -> Answer {
    with_optional_srid(row, 2, wkb::point(row.number(0), row.number(1)).to_vec())
}

fn make_envelope(row: &Row<'_>) -> Answer {
    let (a, b) = (
        Bounds::of_point(row.number(0), row.number(1)),
        Bounds::of_point(row.number(2), row.number(3)),
    );
    let polygon = Geometry::Polygon(super::measure::envelope_polygon(&a.union(b)));
    with_optional_srid(row, 4, wkb::encode(&polygon, 0))
}

fn geometry_from_text(row: &Row<'_>) -> Answer {
    with_optional_srid(row, 1, from_wkt(row.text(0))?)
}

fn typed_text(row: &Row<'_>, wanted: Feature) -> Answer {
    let bytes = from_wkt(row.text(0))?;
    let found = wkb::header(&bytes)?.kind;
    if found != wanted {
        return Err(GeometryError::Wkt {
            at: 0,
            why: format!("a {} is expected, not a {}", wanted.word(), found.word()),
        });
    }
    with_optional_srid(row, 1, bytes)
}

fn geometry_from_bytes(row: &Row<'_>) -> Answer {
    match checked(row.wkb(0).to_vec())? {
        Value::Geometry(bytes) => with_optional_srid(row, 1, bytes),
        other => Ok(other),
    }
}

/// The points of points, multi-points and lines, in order.
fn vertices(geometry: &Geometry<f64>) -> Result<Vec<Coord<f64>>, GeometryError> {
    match geometry {
        Geometry::Point(point) => Ok(vec![point.0]),
        Geometry::MultiPoint(points) => Ok(points.iter().map(|point| point.0).collect()),
        Geometry::LineString(line) => Ok(line.0.clone()),
        _ => Err(GeometryError::Unsupported(
            "a line is made of points, multi-points and lines only".into(),
        )),
    }
}

fn make_line(row: &Row<'_>) -> Answer {
    let (a, b) = (row.shape(0)?, row.shape(1)?);
    let srid = a.same_srid(&b)?;
    let mut line = vertices(&a.geometry)?;
    let more = vertices(&b.geometry)?;
    // Lines that continue each other share the vertex.
    let shared = matches!(&b.geometry, Geometry::LineString(_)) && !line.is_empty() && line.last() == more.first();
    line.extend_from_slice(&more[usize::from(shared)..]);
    Ok(Value::Geometry(wkb::encode(
        &Geometry::LineString(LineString(line)),
        srid,
    )))
}

fn make_polygon(row: &Row<'_>) -> Answer {
    let shape = row.shape(0)?;
    match &shape.geometry {
        Geometry::LineString(line) if line.0.len() >= 4 && line.is_closed() => {
            let polygon = Polygon::new(line.clone(), Vec::new());
            Ok(Value::Geometry(wkb::encode(&Geometry::Polygon(polygon), shape.srid)))
        }
        _ => Err(GeometryError::Unsupported(
            "a polygon is made of a closed line with four points at least".into(),
        )),
    }
}
