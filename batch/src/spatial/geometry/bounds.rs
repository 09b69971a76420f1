//! The box around a geometry.

use geo::{Coord, Rect};

use super::GeometryError;
use super::wkb::{self, Ordinates, Visitor};

/// A closed box in f64; never empty, never NaN.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    pub min_x: f64,
    pub min_y: f64,
    pub max_x: f64,
    pub max_y: f64,
}

impl Bounds {
    pub fn of_point(x: f64, y: f64) -> Bounds {
        Bounds {
            min_x: x,
            min_y: y,
            max_x: x,
            max_y: y,
        }
    }

    pub fn union(self, other: Bounds) -> Bounds {
        Bounds {
            min_x: self.min_x.min(other.min_x),
            min_y: self.min_y.min(other.min_y),
            max_x: self.max_x.max(other.max_x),
            max_y: self.max_y.max(other.max_y),
        }
    }

    pub fn intersects(&self, other: &Bounds) -> bool {
        self.min_x <= other.max_x && other.min_x <= self.max_x && self.min_y <= other.max_y && other.min_y <= self.max_y
    }

    pub fn contains(&self, other: &Bounds) -> bool {
        self.min_x <= other.min_x && self.max_x >= other.max_x && self.min_y <= other.min_y && self.max_y >= other.max_y
    }

    /// Grown by `distance` on every side, and by the rounding that the subtraction may have cost.
    pub fn expand(self, distance: f64) -> Bounds {
        Bounds {
            min_x: (self.min_x - distance).next_down(),
            min_y: (self.min_y - distance).next_down(),
            max_x: (self.max_x + distance).next_up(),
            max_y: (self.max_y + distance).next_up(),
        }
    }

    /// The middle; halved first, so that the sum cannot overflow.
    pub fn center(&self) -> (f64, f64) {
        (self.min_x / 2.0 + self.max_x / 2.0, self.min_y / 2.0 + self.max_y / 2.0)
    }

    /// The planar distance between the nearest points of the two boxes: no two geometries in them are nearer.
    pub fn distance(&self, other: &Bounds) -> f64 {
        let gap = |min: f64, max: f64, other_min: f64, other_max: f64| (other_min - max).max(min - other_max).max(0.0);
        let x = gap(self.min_x, self.max_x, other.min_x, other.max_x);
        let y = gap(self.min_y, self.max_y, other.min_y, other.max_y);
        x.hypot(y)
    }

    pub fn rect(&self) -> Rect<f64> {
        Rect::new(
            Coord {
                x: self.min_x,
                y: self.min_y,
            },
            Coord {
                x: self.max_x,
                y: self.max_y,
            },
        )
    }
}

/// Collects the box of all finite coordinates.
#[derive(Default)]
pub struct Extent {
    bounds: Option<Bounds>,
    /// A coordinate was NaN or infinite.
    not_finite: bool,
}

impl Visitor for Extent {
    fn coordinate(&mut self, ordinates: Ordinates) {
        if !(ordinates.x.is_finite() && ordinates.y.is_finite()) {
            self.not_finite = true;
            return;
        }
        let point = Bounds::of_point(ordinates.x, ordinates.y);
        self.bounds = Some(self.bounds.map_or(point, |bounds| bounds.union(point)));
    }
}

/// The box around a WKB geometry without building it. `None`: empty, or a coordinate is NaN or infinite, so that it can
/// match nothing.
pub fn bounds(bytes: &[u8]) -> Result<Option<Bounds>, GeometryError> {
    if let Some(point) = wkb::plain_point(bytes).filter(|_| bytes.len() == 21) {
        return Ok(Some(Bounds::of_point(point.x, point.y)));
    }
    let mut extent = Extent::default();
    wkb::walk(bytes, &mut extent)?;
    Ok(extent.bounds.filter(|_| !extent.not_finite))
}
