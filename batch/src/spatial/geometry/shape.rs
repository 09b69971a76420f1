//! One geometry parsed for computing.

use geo::{Coord, Geometry, GeometryCollection, LineString, MultiLineString, MultiPoint, MultiPolygon, Point, Polygon};

use super::wkb::{self, Header, Kind, Ordinates, Visitor};
use super::{Bounds, GeometryError};

/// A geometry in x and y, ready for predicates and measures.
///
/// - `bounds` is `None` exactly when the geometry is empty or not `finite`.
/// - `finite` is false when a coordinate is NaN or infinite: such a geometry matches nothing, as an empty one does.
#[derive(Debug, Clone)]
pub struct Shape {
    pub geometry: Geometry<f64>,
    pub bounds: Option<Bounds>,
    pub finite: bool,
    /// 0: not set.
    pub srid: u32,
}

impl Shape {
    pub fn decode(bytes: &[u8]) -> Result<Shape, GeometryError> {
        if let Some(point) = wkb::plain_point(bytes).filter(|_| bytes.len() == 21) {
            let bounds = Some(Bounds::of_point(point.x, point.y));
            return Ok(Shape {
                geometry: Geometry::Point(Point(point)),
                bounds,
                finite: true,
                srid: 0,
            });
        }
        let mut builder = Builder {
            finite: true,
            ..Builder::default()
        };
        wkb::walk(bytes, &mut builder)?;
        let geometry = builder.done.ok_or(GeometryError::Wkb {
            at: 0,
            why: "there is no geometry",
        })?;
        let bounds = builder.bounds.filter(|_| builder.finite);
        Ok(Shape {
            geometry,
            bounds,
            finite: builder.finite,
            srid: builder.srid,
        })
    }

    /// Neither empty nor with a coordinate that is not finite.
    pub fn matchable(&self) -> bool {
        self.bounds.is_some()
    }

    pub fn is_empty(&self) -> bool {
        self.bounds.is_none() && self.finite
    }

    /// Refuses to compare two reference systems; one that is not set goes with any.
    pub fn same_srid(&self, other: &Shape) -> Result<u32, GeometryError> {
        match (self.srid, other.srid) {
            (0, srid) | (srid, 0) => Ok(srid),
            (left, right) if left == right => Ok(left),
            (left, right) => Err(GeometryError::MixedSrid(left, right)),
        }
    }
}

/// Builds the `geo` type from the walk, one frame for each geometry that is open.
#[derive(Default)]
struct Builder {
    frames: Vec<Frame>,
    done: Option<Geometry<f64>>,
    bounds: Option<Bounds>,
    finite: bool,
    srid: u32,
}

#[derive(Default)]
struct Frame {
    point: Option<Coord<f64>>,
    lines: Vec<Vec<Coord<f64>>>,
    parts: Vec<Geometry<f64>>,
}

impl Visitor for Builder {
    fn begin(&mut self, header: &Header) {
        if self.frames.is_empty() {
            self.srid = header.srid.unwrap_or(0);
        }
        self.frames.push(Frame::default());
    }

    fn points(&mut self, count: usize) {
        if let Some(frame) = self.frames.last_mut() {
            frame.lines.push(Vec::with_capacity(count));
        }
    }

    fn coordinate(&mut self, ordinates: Ordinates) {
        let coord = Coord {
            x: ordinates.x,
            y: ordinates.y,
        };
        if coord.x.is_finite() && coord.y.is_finite() {
            let point = Bounds::of_point(coord.x, coord.y);
            self.bounds = Some(self.bounds.map_or(point, |bounds| bounds.union(point)));
        } else {
            self.finite = false;
        }
        let Some(frame) = self.frames.last_mut() else { return };
        match frame.lines.last_mut() {
            Some(line) => line.push(coord),
            None => frame.point = Some(coord),
        }
    }

    fn end(&mut self, header: &Header) {
        let Some(frame) = self.frames.pop() else { return };
        let geometry = frame.assemble(header.kind);
        match self.frames.last_mut() {
            Some(parent) => parent.parts.push(geometry),
            None => self.done = Some(geometry),
        }
    }
}

impl Frame {
    fn assemble(self, kind: Kind) -> Geometry<f64> {
        let mut lines = self.lines.into_iter().map(LineString);
        let parts = self.parts.into_iter();
        match kind {
            Kind::Point => match self.point {
                Some(coord) => Geometry::Point(Point(coord)),
                None => Geometry::MultiPoint(MultiPoint(Vec::new())),
            },
            Kind::LineString => Geometry::LineString(lines.next().unwrap_or_else(|| LineString(Vec::new()))),
            Kind::Polygon => {
                let exterior = lines.next().unwrap_or_else(|| LineString(Vec::new()));
                // An empty ring is no hole.
                Geometry::Polygon(Polygon::new(
                    exterior,
                    lines.filter(|ring| !ring.0.is_empty()).collect(),
                ))
            }
            // Empty members add nothing to a multi-geometry, and `geo` does not expect them.
            Kind::MultiPoint => Geometry::MultiPoint(MultiPoint(
                parts
                    .filter_map(|part| {
                        if let Geometry::Point(point) = part {
                            Some(point)
                        } else {
                            None
                        }
                    })
                    .collect(),
            )),
            Kind::MultiLineString => Geometry::MultiLineString(MultiLineString(
                parts
                    .filter_map(|part| {
                        if let Geometry::LineString(line) = part {
                            Some(line)
                        } else {
                            None
                        }
                    })
                    .filter(|line| !line.0.is_empty())
                    .collect(),
            )),
            Kind::MultiPolygon => Geometry::MultiPolygon(MultiPolygon(
                parts
                    .filter_map(|part| {
                        if let Geometry::Polygon(polygon) = part {
                            Some(polygon)
                        } else {
                            None
                        }
                    })
                    .filter(|polygon| !polygon.exterior().0.is_empty())
                    .collect(),
            )),
            Kind::Collection => Geometry::GeometryCollection(GeometryCollection(parts.collect())),
        }
    }
}
