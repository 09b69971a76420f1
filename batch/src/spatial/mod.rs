//! Everything spatial, without a plan, a thread or a clock.
//!
//! [`geometry`] reads and writes geometries; [`relation`] decides predicates and distances between two of them;
//! [`overlay`] makes new ones of where they lie;
//! [`partition`] cuts the plane into cells of equal weight; [`index`] finds the candidates for a join or the nearest
//! neighbours; [`functions`] makes SQL's `ST_*` of all this. The operators that use it in a query plan live in
//! `engine::join`.
//!
//! Computation is planar, in the units of the coordinates, except where a name says sphere or spheroid. Two different
//! reference systems are refused; [`projection`] transforms between those it knows.

pub mod functions;
pub mod geometry;
pub mod index;
pub mod overlay;
pub mod partition;
pub mod projection;
pub mod relation;
