//! How two geometries lie to each other: predicates (DE-9IM) and distances.
//!
//! One rule stands above all: a geometry that is empty or not finite matches nothing. So every predicate is false for
//! it but ST_Disjoint (true) and ST_Equals of two empty ones (true), and it has no distance.
//!
//! Points against polygons, which is what most joins ask, take a ray-crossing test ([`locate`]); everything else goes
//! through the intersection matrix of `geo`.

mod distance;
mod locate;
mod predicate;
#[cfg(test)]
mod tests;

pub use distance::{EARTH_RADIUS_METRES, distance, distance_sphere, sphere_distance, sphere_point, spherical_gap};
pub use locate::{Locator, Position, position};
pub use predicate::{Predicate, Prepared, matrix};
