//! How two geometries lie to each other: predicates (DE-9IM) and distances.
//!
//! One rule stands above all: a geometry that is empty or not finite matches nothing. So every predicate is false for
//! it but ST_Disjoint (true) and ST_Equals of two empty ones (true), and it has no distance.
//!
//! Points against polygons, which is what most joins ask, take a ray-crossing test ([`locate`]); everything else goes
//! through the intersection matrix ([`relate`]), whose decisions are exact ([`exact`]).

mod distance;
mod exact;
mod locate;
mod predicate;
mod relate;
#[cfg(test)]
mod tests;
mod topology;

pub use distance::{EARTH_RADIUS_METRES, distance, distance_sphere, sphere_distance, sphere_point, spherical_gap};
pub use exact::{Crossing, side, turn};
pub use locate::{Locator, Position, position};
pub use topology::{Place, Topology};

/// Whether the way from `a` over `b` to `c` turns left; exact.
pub fn is_left_turn(a: (f64, f64), b: (f64, f64), c: (f64, f64)) -> bool {
    let coord = |(x, y)| geo::Coord { x, y };
    exact::side((coord(a), coord(b)), coord(c)) == std::cmp::Ordering::Greater
}

/// A key that two coordinates share exactly when they are equal.
pub fn same_place_key(x: f64, y: f64) -> impl Eq + std::hash::Hash {
    topology::Place::of(geo::Coord { x, y })
}
pub use predicate::{Predicate, Prepared, matrix};
