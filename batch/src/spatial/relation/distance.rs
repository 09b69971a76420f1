//! Distances: planar, on the sphere, and the bound that the sphere's index needs.

use geo::{Centroid, Coord, Distance, Euclidean, Geometry};

use crate::spatial::geometry::{Bounds, Shape};

/// The radius that Sedona's ST_DistanceSphere takes.
pub const EARTH_RADIUS_METRES: f64 = 6_371_008.0;

/// The planar distance of the nearest points; `None` where one is empty or not finite.
pub fn distance(a: &Shape, b: &Shape) -> Option<f64> {
    if !(a.matchable() && b.matchable()) {
        return None;
    }
    Some(match (&a.geometry, &b.geometry) {
        (Geometry::Point(a), Geometry::Point(b)) => (a.x() - b.x()).hypot(a.y() - b.y()),
        (a, b) => Euclidean.distance(a, b),
    })
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
