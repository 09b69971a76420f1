//! Well-known binary, read by walking and written by appending.
//!
//! [`walk`] is the one reader: it checks every byte it takes (order, kind, counts against the bytes that are left,
//! depth) and tells a [`Visitor`] what it sees. Decoding, bounds, text and counting are all visitors, so none of them
//! has to be careful again, and none builds a tree that it does not need. It reads ISO WKB and EWKB, both byte orders,
//! with Z and M.

use geo::{Coord, Geometry, LineString, Polygon};

use super::GeometryError;

/// Collections may hold collections; a chain of them must not exhaust the stack.
const DEPTH_MAX: usize = 32;
/// One member of a multi-geometry takes at least byte order, kind and one count.
const MEMBER_BYTES_MIN: usize = 9;

const EWKB_Z: u32 = 0x8000_0000;
const EWKB_M: u32 = 0x4000_0000;
const EWKB_SRID: u32 = 0x2000_0000;

/// What a geometry is, with the number that stands for it in WKB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Point = 1,
    LineString = 2,
    Polygon = 3,
    MultiPoint = 4,
    MultiLineString = 5,
    MultiPolygon = 6,
    Collection = 7,
}

impl Kind {
    const ALL: [Kind; 7] = [
        Kind::Point,
        Kind::LineString,
        Kind::Polygon,
        Kind::MultiPoint,
        Kind::MultiLineString,
        Kind::MultiPolygon,
        Kind::Collection,
    ];

    fn from_code(code: u32) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| *kind as u32 == code)
    }

    pub fn from_word(word: &str) -> Option<Kind> {
        Kind::ALL
            .into_iter()
            .find(|kind| word.eq_ignore_ascii_case(kind.word()))
    }

    /// The word in well-known text.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Point => "POINT",
            Kind::LineString => "LINESTRING",
            Kind::Polygon => "POLYGON",
            Kind::MultiPoint => "MULTIPOINT",
            Kind::MultiLineString => "MULTILINESTRING",
            Kind::MultiPolygon => "MULTIPOLYGON",
            Kind::Collection => "GEOMETRYCOLLECTION",
        }
    }

    /// The name in GeoJSON and, after `ST_`, in `ST_GeometryType`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Point => "Point",
            Kind::LineString => "LineString",
            Kind::Polygon => "Polygon",
            Kind::MultiPoint => "MultiPoint",
            Kind::MultiLineString => "MultiLineString",
            Kind::MultiPolygon => "MultiPolygon",
            Kind::Collection => "GeometryCollection",
        }
    }

    /// What the members of a multi-geometry are; `None`: anything.
    pub fn member(self) -> Option<Kind> {
        match self {
            Kind::MultiPoint => Some(Kind::Point),
            Kind::MultiLineString => Some(Kind::LineString),
            Kind::MultiPolygon => Some(Kind::Polygon),
            _ => None,
        }
    }
}

/// Which ordinates a coordinate has beside x and y.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dimensions {
    pub z: bool,
    pub m: bool,
}

impl Dimensions {
    pub fn count(self) -> usize {
        2 + usize::from(self.z) + usize::from(self.m)
    }

    /// The ordinates that one of both has.
    pub fn or(self, other: Dimensions) -> Dimensions {
        Dimensions {
            z: self.z || other.z,
            m: self.m || other.m,
        }
    }
}

/// The head of a geometry: `count` is 0 or 1 for a point, else the points, rings or members.
#[derive(Debug, Clone, Copy)]
pub struct Header {
    pub kind: Kind,
    pub dimensions: Dimensions,
    pub srid: Option<u32>,
    pub count: usize,
}

/// x, y and, where the header says so, z and m.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ordinates {
    pub x: f64,
    pub y: f64,
    pub z: Option<f64>,
    pub m: Option<f64>,
}

impl Ordinates {
    pub fn dimensions(&self) -> Dimensions {
        Dimensions {
            z: self.z.is_some(),
            m: self.m.is_some(),
        }
    }

    /// Whether both are at the same place in the plane.
    pub fn is_at(&self, other: &Ordinates) -> bool {
        self.x == other.x && self.y == other.y
    }
}

/// Gets the parts of a geometry in the order in which they are written.
pub trait Visitor {
    fn begin(&mut self, _header: &Header) {}
    /// A line string's or a ring's points follow.
    fn points(&mut self, _count: usize) {}
    fn coordinate(&mut self, ordinates: Ordinates);
    fn points_end(&mut self) {}
    fn end(&mut self, _header: &Header) {}
}

/// Reads one geometry, which must be all of `bytes`.
pub fn walk(bytes: &[u8], visitor: &mut impl Visitor) -> Result<(), GeometryError> {
    let mut reader = Reader { bytes, at: 0 };
    reader.geometry(visitor, None, 0)?;
    if reader.at != bytes.len() {
        return Err(reader.bad("the geometry ends before its bytes do"));
    }
    Ok(())
}

/// Reads the head only.
pub fn header(bytes: &[u8]) -> Result<Header, GeometryError> {
    Reader { bytes, at: 0 }.header().map(|(header, _)| header)
}

/// A 2-D little-endian point without SRID, the most frequent geometry there is: no walk needed.
pub fn plain_point(bytes: &[u8]) -> Option<Coord<f64>> {
    let rest = bytes.strip_prefix(&[1, 1, 0, 0, 0])?;
    let (x, y) = rest.split_at_checked(8)?;
    let coord = Coord {
        x: f64::from_le_bytes(x.try_into().ok()?),
        y: f64::from_le_bytes(y.try_into().ok()?),
    };
    (coord.x.is_finite() && coord.y.is_finite()).then_some(coord)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn bad(&self, why: &'static str) -> GeometryError {
        GeometryError::Wkb { at: self.at, why }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], GeometryError> {
        let taken = self
            .bytes
            .get(self.at..self.at + N)
            .and_then(|bytes| bytes.try_into().ok());
        let taken = taken.ok_or_else(|| self.bad("the bytes end in the middle of the geometry"))?;
        self.at += N;
        Ok(taken)
    }

    fn int(&mut self, little: bool) -> Result<u32, GeometryError> {
        let bytes = self.take()?;
        Ok(if little {
            u32::from_le_bytes(bytes)
        } else {
            u32::from_be_bytes(bytes)
        })
    }

    fn float(&mut self, little: bool) -> Result<f64, GeometryError> {
        let bytes = self.take()?;
        Ok(if little {
            f64::from_le_bytes(bytes)
        } else {
            f64::from_be_bytes(bytes)
        })
    }

    /// A count of items that take at least `bytes_min` each: more than fit into the rest is a lie.
    fn count(&mut self, little: bool, bytes_min: usize) -> Result<usize, GeometryError> {
        let count = self.int(little)? as usize;
        if count > (self.bytes.len() - self.at) / bytes_min {
            return Err(self.bad("it counts more items than its bytes can hold"));
        }
        Ok(count)
    }

    /// The head, and whether the numbers are little-endian. A point's count is left open (1).
    fn header(&mut self) -> Result<(Header, bool), GeometryError> {
        let little = match self.take::<1>()?[0] {
            0 => false,
            1 => true,
            _ => return Err(self.bad("the byte order is neither 0 nor 1")),
        };
        let code = self.int(little)?;
        let iso = code & 0x0FFF_FFFF;
        let kind = Kind::from_code(iso % 1000).filter(|_| iso / 1000 <= 3);
        let kind = kind.ok_or_else(|| self.bad("the kind of geometry is not one of the seven simple features"))?;
        let dimensions = Dimensions {
            z: code & EWKB_Z != 0 || matches!(iso / 1000, 1 | 3),
            m: code & EWKB_M != 0 || matches!(iso / 1000, 2 | 3),
        };
        let srid = if code & EWKB_SRID != 0 {
            Some(self.int(little)?)
        } else {
            None
        };
        let point_bytes = dimensions.count() * 8;
        let count = match kind {
            Kind::Point => 1,
            Kind::LineString => self.count(little, point_bytes)?,
            Kind::Polygon => self.count(little, 4)?,
            _ => self.count(little, MEMBER_BYTES_MIN)?,
        };
        Ok((
            Header {
                kind,
                dimensions,
                srid,
                count,
            },
            little,
        ))
    }

    fn geometry(
        &mut self,
        visitor: &mut impl Visitor,
        wanted: Option<Kind>,
        depth: usize,
    ) -> Result<(), GeometryError> {
        if depth > DEPTH_MAX {
            return Err(self.bad("collections are nested too deeply"));
        }
        let (mut header, little) = self.header()?;
        if wanted.is_some_and(|wanted| wanted != header.kind) {
            return Err(self.bad("a multi-geometry holds a member of another kind"));
        }
        match header.kind {
            Kind::Point => {
                let point = self.ordinates(little, header.dimensions)?;
                // The empty point is written as NaN, NaN.
                header.count = usize::from(!(point.x.is_nan() && point.y.is_nan()));
                visitor.begin(&header);
                if header.count == 1 {
                    visitor.coordinate(point);
                }
            }
            Kind::LineString => {
                visitor.begin(&header);
                self.points(visitor, header.count, little, header.dimensions)?;
            }
            Kind::Polygon => {
                visitor.begin(&header);
                for _ in 0..header.count {
                    let points = self.count(little, header.dimensions.count() * 8)?;
                    self.points(visitor, points, little, header.dimensions)?;
                }
            }
            _ => {
                visitor.begin(&header);
                for _ in 0..header.count {
                    self.geometry(visitor, header.kind.member(), depth + 1)?;
                }
            }
        }
        visitor.end(&header);
        Ok(())
    }

    fn points(
        &mut self,
        visitor: &mut impl Visitor,
        count: usize,
        little: bool,
        dimensions: Dimensions,
    ) -> Result<(), GeometryError> {
        visitor.points(count);
        for _ in 0..count {
            let ordinates = self.ordinates(little, dimensions)?;
            visitor.coordinate(ordinates);
        }
        visitor.points_end();
        Ok(())
    }

    fn ordinates(&mut self, little: bool, dimensions: Dimensions) -> Result<Ordinates, GeometryError> {
        let (x, y) = (self.float(little)?, self.float(little)?);
        let z = if dimensions.z { Some(self.float(little)?) } else { None };
        let m = if dimensions.m { Some(self.float(little)?) } else { None };
        Ok(Ordinates { x, y, z, m })
    }
}

/// Appends a geometry's head, little-endian; the caller appends what it counts.
pub fn put_header(out: &mut Vec<u8>, kind: Kind, dimensions: Dimensions, srid: Option<u32>) {
    let iso = kind as u32 + if dimensions.z { 1000 } else { 0 } + if dimensions.m { 2000 } else { 0 };
    out.push(1);
    // EWKB marks the SRID in the kind; readers of ISO WKB do not know it, so only where there is one.
    let flag = if srid.is_some_and(|srid| srid != 0) {
        EWKB_SRID
    } else {
        0
    };
    out.extend_from_slice(&(iso | flag).to_le_bytes());
    if let Some(srid) = srid.filter(|srid| *srid != 0) {
        out.extend_from_slice(&srid.to_le_bytes());
    }
}

pub fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
}

pub fn put_float(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// The WKB of a point.
pub fn point(x: f64, y: f64) -> [u8; 21] {
    let mut out = [0; 21];
    out[0] = 1;
    out[1] = 1;
    out[5..13].copy_from_slice(&x.to_le_bytes());
    out[13..21].copy_from_slice(&y.to_le_bytes());
    out
}

/// The same geometry with another SRID; 0 takes it away.
pub fn with_srid(bytes: &[u8], srid: u32) -> Result<Vec<u8>, GeometryError> {
    let mut reader = Reader { bytes, at: 0 };
    let little = reader.take::<1>()?[0] == 1;
    let code = reader.int(little)?;
    if code & EWKB_SRID != 0 {
        reader.int(little)?;
    }
    let code = if srid == 0 { code & !EWKB_SRID } else { code | EWKB_SRID };
    let int = |value: u32| {
        if little {
            value.to_le_bytes()
        } else {
            value.to_be_bytes()
        }
    };
    let mut out = Vec::with_capacity(bytes.len() + 4);
    out.push(u8::from(little));
    out.extend_from_slice(&int(code));
    if srid != 0 {
        out.extend_from_slice(&int(srid));
    }
    out.extend_from_slice(&bytes[reader.at..]);
    Ok(out)
}

/// The WKB of a geometry of the `geo` crate.
pub fn encode(geometry: &Geometry<f64>, srid: u32) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, geometry, Some(srid));
    out
}

fn put(out: &mut Vec<u8>, geometry: &Geometry<f64>, srid: Option<u32>) {
    let mut head = |kind| put_header(out, kind, Dimensions::default(), srid);
    match geometry {
        Geometry::Point(point) => {
            head(Kind::Point);
            put_coord(out, point.0);
        }
        Geometry::Line(line) => put(out, &Geometry::LineString(LineString::from(line)), srid),
        Geometry::LineString(line) => {
            head(Kind::LineString);
            put_coords(out, line);
        }
        Geometry::Polygon(polygon) => {
            head(Kind::Polygon);
            put_rings(out, polygon);
        }
        Geometry::MultiPoint(points) => {
            head(Kind::MultiPoint);
            put_count(out, points.0.len());
            points.iter().for_each(|point| put(out, &Geometry::Point(*point), None));
        }
        Geometry::MultiLineString(lines) => {
            head(Kind::MultiLineString);
            put_count(out, lines.0.len());
            lines
                .iter()
                .for_each(|line| put(out, &Geometry::LineString(line.clone()), None));
        }
        Geometry::MultiPolygon(polygons) => {
            head(Kind::MultiPolygon);
            put_count(out, polygons.0.len());
            polygons
                .iter()
                .for_each(|polygon| put(out, &Geometry::Polygon(polygon.clone()), None));
        }
        Geometry::GeometryCollection(parts) => {
            head(Kind::Collection);
            put_count(out, parts.0.len());
            parts.iter().for_each(|part| put(out, part, None));
        }
        Geometry::Rect(rect) => put(out, &Geometry::Polygon(rect.to_polygon()), srid),
        Geometry::Triangle(triangle) => put(out, &Geometry::Polygon(triangle.to_polygon()), srid),
    }
}

fn put_coord(out: &mut Vec<u8>, coord: Coord<f64>) {
    put_float(out, coord.x);
    put_float(out, coord.y);
}

fn put_coords(out: &mut Vec<u8>, line: &LineString<f64>) {
    put_count(out, line.0.len());
    line.0.iter().for_each(|coord| put_coord(out, *coord));
}

fn put_rings(out: &mut Vec<u8>, polygon: &Polygon<f64>) {
    if polygon.exterior().0.is_empty() {
        return put_count(out, 0);
    }
    put_count(out, 1 + polygon.interiors().len());
    put_coords(out, polygon.exterior());
    polygon.interiors().iter().for_each(|ring| put_coords(out, ring));
}
