//! Whether a geometry is valid by the simple features standard, and why not.

use std::collections::HashSet;

use geo::{Geometry, LineString, Polygon};

use super::arrangement::Arrangement;
use super::noding::noded;
use super::{Fill, Input, Operation, Parts, is_simple};
use crate::spatial::geometry::GeometryError;
use crate::spatial::relation::Place;

/// `None`: it is valid. The words are those of GEOS. Coordinates must be finite.
pub fn flaw(geometry: &Geometry<f64>) -> Result<Option<&'static str>, GeometryError> {
    match geometry {
        Geometry::LineString(line) => Ok(flaw_of_line(line)),
        Geometry::MultiLineString(lines) => Ok(lines.iter().find_map(flaw_of_line)),
        Geometry::Polygon(polygon) => flaw_of_polygon(polygon),
        Geometry::MultiPolygon(polygons) => {
            for polygon in polygons {
                if let Some(flaw) = flaw_of_polygon(polygon)? {
                    return Ok(Some(flaw));
                }
            }
            let polygons: Vec<&Polygon<f64>> = polygons.iter().collect();
            flaw_of_areas(&polygons)
        }
        Geometry::GeometryCollection(parts) => {
            for part in parts {
                if let Some(flaw) = flaw(part)? {
                    return Ok(Some(flaw));
                }
            }
            Ok(None)
        }
        _ => Ok(None),
    }
}

fn places(line: &LineString<f64>) -> usize {
    line.0.iter().map(|at| Place::of(*at)).collect::<HashSet<_>>().len()
}

fn flaw_of_line(line: &LineString<f64>) -> Option<&'static str> {
    (!line.0.is_empty() && places(line) < 2).then_some("Too few points in geometry component")
}

fn flaw_of_polygon(polygon: &Polygon<f64>) -> Result<Option<&'static str>, GeometryError> {
    if polygon.exterior().0.is_empty() {
        return Ok(None);
    }
    let rings = || std::iter::once(polygon.exterior()).chain(polygon.interiors());
    if rings().any(|ring| places(ring) < 3) {
        return Ok(Some("Too few points in geometry component"));
    }
    for ring in rings() {
        if !is_simple(&Geometry::LineString(ring.clone()))? {
            return Ok(Some("Self-intersection"));
        }
    }
    flaw_of_areas(&[polygon])
}

/// Every face is in one area at most, no border is shared, and no area falls apart.
fn flaw_of_areas(polygons: &[&Polygon<f64>]) -> Result<Option<&'static str>, GeometryError> {
    let mut input = Input::new();
    polygons.iter().for_each(|polygon| input.polygon(polygon, 0));
    let arrangement = Arrangement::of(noded(input.segments)?);
    if arrangement.depth.iter().any(|depth| depth[0] < 0) {
        return Ok(Some("Hole lies outside shell"));
    }
    let shared = arrangement.segments.iter().any(|segment| segment.source.rise[0] == 0);
    if shared || arrangement.depth.iter().any(|depth| depth[0] > 1) {
        return Ok(Some("Self-intersection"));
    }
    let areas = Parts::of(&arrangement, [Fill::Any; 2], Operation::Union)?
        .polygons
        .len();
    let given = polygons.iter().filter(|polygon| !polygon.exterior().0.is_empty());
    Ok((areas != given.count()).then_some("Interior is disconnected"))
}
