//! Geometries from numbers, texts and bytes, and back to texts and bytes.

use geo::Geometry;

use super::scalar::Kind::{self, Integer, Number, Text};
use super::scalar::{Definition, Returns, Row, Value};
use crate::spatial::geometry::wkb::{self, Kind as Feature, Ordinates};
use crate::spatial::geometry::{Body, Bounds, GeometryError, Tree, from_geojson, from_wkt, to_geojson, to_wkt};

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
        aliases: &[],
        args: &[Number, Number, Integer],
        optional: 1,
        returns: Returns::Geometry,
        kernel: point,
    },
    // The third number of ST_MakePoint is z, as in PostGIS and Sedona; that of ST_Point is the SRID.
    function(
        "st_makepoint",
        &[Number, Number, Number, Number],
        2,
        Returns::Geometry,
        |row| {
            let more = |at: usize| (row.len() > at).then(|| row.number(at));
            point_of(row, 4, more(2), more(3))
        },
    ),
    function(
        "st_pointz",
        &[Number, Number, Number, Integer],
        1,
        Returns::Geometry,
        |row| point_of(row, 3, Some(row.number(2)), None),
    ),
    function(
        "st_pointm",
        &[Number, Number, Number, Integer],
        1,
        Returns::Geometry,
        |row| point_of(row, 3, None, Some(row.number(2))),
    ),
    function(
        "st_pointzm",
        &[Number, Number, Number, Number, Integer],
        1,
        Returns::Geometry,
        |row| point_of(row, 4, Some(row.number(2)), Some(row.number(3))),
    ),
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
        let srid = Some(row.srid(0)?).filter(|srid| *srid != 0);
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
        checked(wkb::with_srid(row.wkb(0), row.srid(0)?)?)
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

/// A point with these ordinates, and the SRID that the argument `srid_at` gives.
fn point_of(row: &Row<'_>, srid_at: usize, z: Option<f64>, m: Option<f64>) -> Answer {
    let (x, y) = (row.number(0), row.number(1));
    let bytes = Tree::point(Ordinates { x, y, z, m }).encode(0);
    with_optional_srid(row, srid_at, bytes)
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
fn vertices(tree: &Tree) -> Result<Vec<Ordinates>, GeometryError> {
    match tree.body {
        Body::Point(_) | Body::Line(_) | Body::Members(wkb::Kind::MultiPoint, _) => Ok(tree.vertices()),
        _ => Err(GeometryError::Unsupported(
            "a line is made of points, multi-points and lines only".into(),
        )),
    }
}

fn make_line(row: &Row<'_>) -> Answer {
    let srid = row.shape(0)?.same_srid(&*row.shape(1)?)?;
    let ((a, _), (b, _)) = (row.tree(0)?, row.tree(1)?);
    let mut line = vertices(&a)?;
    let more = vertices(&b)?;
    // Lines that continue each other share the vertex.
    let shared = matches!(b.body, Body::Line(_)) && line.last().zip(more.first()).is_some_and(|(a, b)| a.is_at(b));
    line.extend_from_slice(&more[usize::from(shared)..]);
    let dimensions = a.dimensions.or(b.dimensions);
    Ok(Value::Geometry(Tree::line(dimensions, line).encode(srid)))
}

fn make_polygon(row: &Row<'_>) -> Answer {
    let (tree, srid) = row.tree(0)?;
    let Body::Line(line) = tree.body else {
        return Err(unclosed());
    };
    let closed = line.len() >= 4 && line.first().zip(line.last()).is_some_and(|(a, b)| a.is_at(b));
    if !closed {
        return Err(unclosed());
    }
    let polygon = Tree {
        dimensions: tree.dimensions,
        body: Body::Polygon(vec![line]),
    };
    Ok(Value::Geometry(polygon.encode(srid)))
}

fn unclosed() -> GeometryError {
    GeometryError::Unsupported("a polygon is made of a closed line with four points at least".into())
}
