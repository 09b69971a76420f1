//! GeoJSON geometries (RFC 7946): x, y and z; no M, no reference system.

use std::fmt::Write;

use serde_json::Value;

use super::GeometryError;
use super::wkb::{self, Dimensions, Header, Kind, Ordinates, Visitor};

/// As for WKB.
const DEPTH_MAX: usize = 32;

/// The GeoJSON of a WKB geometry.
pub fn to_geojson(bytes: &[u8]) -> Result<String, GeometryError> {
    let mut writer = Writer::default();
    wkb::walk(bytes, &mut writer)?;
    Ok(writer.out)
}

#[derive(Default)]
struct Writer {
    out: String,
    open: Vec<Kind>,
    first: bool,
}

impl Writer {
    fn comma(&mut self) {
        if !std::mem::take(&mut self.first) {
            self.out.push(',');
        }
    }
}

impl Visitor for Writer {
    fn begin(&mut self, header: &Header) {
        let parent = self.open.last().copied();
        if parent.is_some() {
            self.comma();
        }
        if parent.is_none_or(|kind| kind == Kind::Collection) {
            let member = if header.kind == Kind::Collection {
                "geometries"
            } else {
                "coordinates"
            };
            let _infallible = write!(self.out, "{{\"type\":\"{}\",\"{member}\":", header.kind.name());
        }
        // A point is its own list of numbers; a line string's brackets come with its points.
        if header.kind != Kind::LineString && !(header.kind == Kind::Point && header.count == 1) {
            self.out.push('[');
        }
        self.open.push(header.kind);
        self.first = true;
    }

    fn points(&mut self, _count: usize) {
        if self.open.last() == Some(&Kind::Polygon) {
            self.comma();
        }
        self.out.push('[');
        self.first = true;
    }

    fn coordinate(&mut self, ordinates: Ordinates) {
        self.comma();
        // `{:?}` keeps the decimal point and reads back exactly.
        let _infallible = write!(self.out, "[{:?},{:?}", ordinates.x, ordinates.y);
        if let Some(z) = ordinates.z {
            let _infallible = write!(self.out, ",{z:?}");
        }
        self.out.push(']');
    }

    fn points_end(&mut self) {
        self.out.push(']');
        self.first = false;
    }

    fn end(&mut self, header: &Header) {
        if header.kind != Kind::LineString && !(header.kind == Kind::Point && header.count == 1) {
            self.out.push(']');
        }
        self.open.pop();
        if self.open.last().is_none_or(|kind| *kind == Kind::Collection) {
            self.out.push('}');
        }
        self.first = false;
    }
}

/// Parses a GeoJSON geometry (or the geometry of a Feature) to WKB.
pub fn from_geojson(text: &str) -> Result<Vec<u8>, GeometryError> {
    let value: Value = serde_json::from_str(text).map_err(|error| GeometryError::GeoJson(error.to_string()))?;
    let geometry = if value["type"] == "Feature" {
        &value["geometry"]
    } else {
        &value
    };
    let mut out = Vec::with_capacity(text.len());
    put(&mut out, geometry, 0)?;
    Ok(out)
}

fn bad(why: &str) -> GeometryError {
    GeometryError::GeoJson(why.to_string())
}

fn array(value: &Value) -> Result<&[Value], GeometryError> {
    value
        .as_array()
        .map(Vec::as_slice)
        .ok_or_else(|| bad("a list is missing"))
}

fn put(out: &mut Vec<u8>, value: &Value, depth: usize) -> Result<(), GeometryError> {
    if depth > DEPTH_MAX {
        return Err(bad("collections are nested too deeply"));
    }
    let name = value["type"]
        .as_str()
        .ok_or_else(|| bad("the member \"type\" is missing"))?;
    let kind = Kind::from_word(name).ok_or_else(|| bad(&format!("\"{name}\" is no kind of geometry")))?;
    if kind == Kind::Collection {
        let parts = array(&value["geometries"])?;
        wkb::put_header(out, kind, Dimensions::default(), None);
        wkb::put_count(out, parts.len());
        return parts.iter().try_for_each(|part| put(out, part, depth + 1));
    }
    let coordinates = &value["coordinates"];
    let dimensions = Dimensions {
        z: first_position(coordinates).is_some_and(|list| list.len() > 2),
        m: false,
    };
    put_coordinates(out, kind, coordinates, dimensions)
}

/// The first list that begins with a number: it tells whether there is a z.
fn first_position(value: &Value) -> Option<&Vec<Value>> {
    let list = value.as_array()?;
    if list.first()?.is_number() {
        Some(list)
    } else {
        list.iter().find_map(first_position)
    }
}

fn put_coordinates(out: &mut Vec<u8>, kind: Kind, value: &Value, dimensions: Dimensions) -> Result<(), GeometryError> {
    wkb::put_header(out, kind, dimensions, None);
    let list = array(value)?;
    match kind {
        Kind::Point if list.is_empty() => {
            (0..dimensions.count()).for_each(|_| wkb::put_float(out, f64::NAN));
            Ok(())
        }
        Kind::Point => put_position(out, value, dimensions),
        Kind::LineString => put_positions(out, list, dimensions),
        Kind::Polygon => {
            wkb::put_count(out, list.len());
            list.iter()
                .try_for_each(|ring| put_positions(out, array(ring)?, dimensions))
        }
        _ => {
            let member = kind.member().unwrap_or(Kind::Point);
            wkb::put_count(out, list.len());
            list.iter()
                .try_for_each(|part| put_coordinates(out, member, part, dimensions))
        }
    }
}

fn put_positions(out: &mut Vec<u8>, list: &[Value], dimensions: Dimensions) -> Result<(), GeometryError> {
    wkb::put_count(out, list.len());
    list.iter()
        .try_for_each(|position| put_position(out, position, dimensions))
}

fn put_position(out: &mut Vec<u8>, value: &Value, dimensions: Dimensions) -> Result<(), GeometryError> {
    let list = array(value)?;
    for at in 0..dimensions.count() {
        let number = list.get(at).and_then(Value::as_f64);
        wkb::put_float(out, number.ok_or_else(|| bad("a position has too few numbers"))?);
    }
    Ok(())
}
