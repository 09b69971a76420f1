//! Distances: planar, on the sphere, and the bound that the sphere's index needs.

use geo::{Centroid, Coord, Geometry};

use super::locate::{Position, position};
use super::predicate::Predicate;
use super::topology::{Segment, Topology};
use crate::spatial::geometry::{Bounds, Shape};

/// The radius that Sedona's ST_DistanceSphere takes.
pub const EARTH_RADIUS_METRES: f64 = 6_371_008.0;

/// The planar distance of the nearest points; `None` where one is empty or not finite. It is 0 wherever the two intersect.
pub fn distance(a: &Shape, b: &Shape) -> Option<f64> {
    if !(a.matchable() && b.matchable()) {
        return None;
    }
    Some(match (&a.geometry, &b.geometry) {
        (Geometry::Point(a), Geometry::Point(b)) => (a.x() - b.x()).hypot(a.y() - b.y()),
        (area @ (Geometry::Polygon(_) | Geometry::MultiPolygon(_)), Geometry::Point(point))
        | (Geometry::Point(point), area @ (Geometry::Polygon(_) | Geometry::MultiPolygon(_))) => {
            if position(area, point.0) != Some(Position::Outside) {
                return Some(0.0);
            }
            to_lines(area, point.0)
        }
        (line @ (Geometry::LineString(_) | Geometry::MultiLineString(_)), Geometry::Point(point))
        | (Geometry::Point(point), line @ (Geometry::LineString(_) | Geometry::MultiLineString(_))) => {
            to_lines(line, point.0)
        }
        (one, other) => {
            if Predicate::Intersects.holds(a, b) {
                return Some(0.0);
            }
            apart(&Topology::of(one), &Topology::of(other))
        }
    })
}

/// From a point to the nearest segment of lines or rings.
fn to_lines(geometry: &Geometry<f64>, point: Coord<f64>) -> f64 {
    let of_line = |line: &geo::LineString<f64>| match line.0.as_slice() {
        [only] => (only.x - point.x).hypot(only.y - point.y),
        coords => coords
            .windows(2)
            .map(|pair| to_segment(point, pair[0], pair[1]))
            .fold(f64::INFINITY, f64::min),
    };
    let of_polygon = |polygon: &geo::Polygon<f64>| {
        let rings = std::iter::once(polygon.exterior()).chain(polygon.interiors());
        rings.map(of_line).fold(f64::INFINITY, f64::min)
    };
    match geometry {
        Geometry::LineString(line) => of_line(line),
        Geometry::MultiLineString(lines) => lines.iter().map(of_line).fold(f64::INFINITY, f64::min),
        Geometry::Polygon(polygon) => of_polygon(polygon),
        Geometry::MultiPolygon(polygons) => polygons.iter().map(of_polygon).fold(f64::INFINITY, f64::min),
        _ => f64::INFINITY,
    }
}

/// As GEOS computes it (Distance::pointToSegment), so that both agree on what is 0.
fn to_segment(point: Coord<f64>, a: Coord<f64>, b: Coord<f64>) -> f64 {
    let (dx, dy) = (b.x - a.x, b.y - a.y);
    let length2 = dx * dx + dy * dy;
    if length2 == 0.0 {
        return (point.x - a.x).hypot(point.y - a.y);
    }
    let along = ((point.x - a.x) * dx + (point.y - a.y) * dy) / length2;
    if along <= 0.0 {
        return (point.x - a.x).hypot(point.y - a.y);
    }
    if along >= 1.0 {
        return (point.x - b.x).hypot(point.y - b.y);
    }
    let off = ((a.y - point.y) * dx - (a.x - point.x) * dy) / length2;
    off.abs() * length2.sqrt()
}

/// The distance of two geometries that do not intersect: from an end of a segment of one to a segment of the other.
fn apart(a: &Topology, b: &Topology) -> f64 {
    let (few, many) = if a.segments.len() <= b.segments.len() {
        (a, b)
    } else {
        (b, a)
    };
    let points = |topology: &Topology| topology.points.iter().map(|place| place.coord()).collect::<Vec<_>>();
    let (few_points, many_points) = (points(few), points(many));
    let mut best = f64::INFINITY;
    for point in &few_points {
        for other in &many_points {
            best = best.min((point.x - other.x).hypot(point.y - other.y));
        }
    }
    let mut between = |of: &Segment, points: &[Coord<f64>]| {
        for point in points {
            best = best.min(to_segment(*point, of.from, of.to));
        }
    };
    many.segments.iter().for_each(|segment| between(segment, &few_points));
    few.segments.iter().for_each(|segment| between(segment, &many_points));
    // Any pair bounds the search of the others.
    if let (Some(first), false) = (few.segments.first(), many.segments.is_empty()) {
        for other in &many.segments {
            best = best.min(to_segment(first.from, other.from, other.to));
        }
    }
    for segment in &few.segments {
        let reach = segment.bounds().expand(best);
        many.near(&reach, |other| {
            let other = &many.segments[other];
            for (point, of) in [
                (segment.from, other),
                (segment.to, other),
                (other.from, segment),
                (other.to, segment),
            ] {
                best = best.min(to_segment(point, of.from, of.to));
            }
        });
    }
    best
}

/// The point that stands for a shape on the sphere: itself, or the centroid.
pub fn sphere_point(shape: &Shape) -> Option<Coord<f64>> {
    match &shape.geometry {
        _ if !shape.matchable() => None,
        Geometry::Point(point) => Some(point.0),
        geometry => geometry.centroid().map(|point| point.0),
    }
}

/// The great-circle distance in radians between two points in degrees (haversine).
pub fn sphere_distance(a: Coord<f64>, b: Coord<f64>) -> f64 {
    let (a_lat, b_lat) = (a.y.to_radians(), b.y.to_radians());
    let lat = ((b_lat - a_lat) / 2.0).sin();
    let lon = ((b.x - a.x).to_radians() / 2.0).sin();
    let h = lat * lat + a_lat.cos() * b_lat.cos() * lon * lon;
    2.0 * h.sqrt().min(1.0).asin()
}

/// The great-circle distance in the unit of `radius`; geometries other than points stand at their centroids.
pub fn distance_sphere(a: &Shape, b: &Shape, radius: f64) -> Option<f64> {
    Some(sphere_distance(sphere_point(a)?, sphere_point(b)?) * radius)
}

/// No point of a box in degrees is nearer to `point` on the sphere than this (radians).
///
/// Within the box's longitudes that is the gap of the latitudes. Else it is the distance to the nearer of the two
/// meridians that bound it: along a meridian at most 90° away the nearest latitude is where the perpendicular meets
/// it, beyond that it is one of its ends.
pub fn spherical_gap(point: Coord<f64>, bounds: &Bounds) -> f64 {
    /// Rounding must not make the bound larger than a distance.
    const SLACK: f64 = 1e-12;
    let lon_in = |lon: f64| bounds.min_x <= lon && lon <= bounds.max_x;
    if lon_in(point.x) || lon_in(point.x + 360.0) || lon_in(point.x - 360.0) {
        let gap = (bounds.min_y - point.y).max(point.y - bounds.max_y).max(0.0);
        return (gap.to_radians() - SLACK).max(0.0);
    }
    let to_meridian = |lon: f64| {
        let lon_gap = (lon - point.x).to_radians();
        let ends = [bounds.min_y, bounds.max_y].map(|y| sphere_distance(point, Coord { x: lon, y }));
        let nearest = ends[0].min(ends[1]);
        if lon_gap.cos() <= 0.0 {
            return nearest;
        }
        let foot = point.y.to_radians().tan().atan2(lon_gap.cos()).to_degrees();
        if foot > bounds.min_y && foot < bounds.max_y {
            nearest.min(sphere_distance(point, Coord { x: lon, y: foot }))
        } else {
            nearest
        }
    };
    (to_meridian(bounds.min_x).min(to_meridian(bounds.max_x)) - SLACK).max(0.0)
}
