//! The demo's map: counties coloured by delay, airports, KD-tree cells, a legend; as SVG and as PNG.
//!
//! Pure: geography in, text and pixels out, and the same input gives the same bytes. [`geography`] reads the polygons,
//! [`projection`] puts them on paper (the contiguous states, with Alaska, Hawaii and Puerto Rico in boxes of their own),
//! [`palette`] turns minutes into colours, [`svg`] writes the picture, [`lettering`] its labels, [`png`] renders it with resvg
//! and the font that comes with us (Ubuntu Light; the PNG looks the same on a machine without fonts).

mod geography;
mod lettering;
mod palette;
mod png;
mod projection;
mod svg;

pub use geography::counties;
pub use lettering::Lettering;
pub use png::{PngError, render};
pub use svg::{Airport, Cell, Picture, draw};
