//! The picture as pixels.

use resvg::{tiny_skia, usvg};

use super::lettering::{FontError, Lettering};
use super::svg::{Picture, draw};

/// Why a picture cannot be rendered: a defect of ours, never the reader's.
#[derive(Debug, thiserror::Error)]
pub enum PngError {
    #[error("the map cannot be rendered: {0}")]
    Svg(#[from] usvg::Error),
    #[error("the map's labels cannot be drawn: {0}")]
    Font(#[from] FontError),
    #[error("the map is too large to be rendered")]
    Size,
    #[error("the map cannot be encoded: {0}")]
    Encode(String),
}

pub fn render(picture: &Picture<'_>) -> Result<Vec<u8>, PngError> {
    pixels(&draw(picture, &Lettering::outlines()?))
}

pub(super) fn pixels(svg: &str) -> Result<Vec<u8>, PngError> {
    let tree = usvg::Tree::from_str(svg, &usvg::Options::default())?;
    let size = tree.size().to_int_size();
    let mut pixels = tiny_skia::Pixmap::new(size.width(), size.height()).ok_or(PngError::Size)?;
    resvg::render(&tree, tiny_skia::Transform::identity(), &mut pixels.as_mut());
    pixels.encode_png().map_err(|error| PngError::Encode(error.to_string()))
}
