//! Geometry as it travels: WKB in binary columns, parsed when a function needs it.
//!
//! A geometry column is Arrow `Binary` (or a view) holding WKB; an SRID travels inside as EWKB does it. [`Shape`] is
//! one geometry parsed for computing: the `geo` crate's type in x and y, its bounds, and whether its coordinates are
//! finite. Z and M are kept in the bytes, shown by the texts and ignored by every computation; [`Tree`] has them, for the
//! functions that rearrange vertices.
//!
//! The empty point has no form in `geo`; a [`Shape`] holds it as an empty multi-point.

mod bounds;
mod geojson;
mod shape;
mod tree;
pub mod wkb;
mod wkt;

pub use bounds::{Bounds, bounds};
pub use geojson::{from_geojson, to_geojson};
pub use shape::Shape;
pub use tree::{Body, Tree};
pub use wkt::{from_wkt, to_wkt};

/// What is wrong with a geometry: fix the input.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum GeometryError {
    /// Bytes that are not WKB.
    #[error("not a WKB geometry: {why} (byte {at})")]
    Wkb { at: usize, why: &'static str },
    /// Text that is not WKT.
    #[error("not a WKT geometry: {why} (character {at})")]
    Wkt { at: usize, why: String },
    /// Text that is not GeoJSON.
    #[error("not a GeoJSON geometry: {0}")]
    GeoJson(String),
    /// Two geometries in different reference systems.
    #[error(
        "the geometries have different reference systems, SRID {0} and SRID {1}: transform one, or set the same SRID on both"
    )]
    MixedSrid(u32, u32),
    /// A function that does not answer for this kind of geometry.
    #[error("{0}")]
    Unsupported(String),
}

#[cfg(test)]
mod tests;
