//! The SVG text, rendered.

use std::sync::Arc;

use resvg::{tiny_skia, usvg};

/// Why a picture cannot be rendered: a defect of ours, never the reader's.
#[derive(Debug, thiserror::Error)]
pub enum PngError {
    #[error("the map cannot be rendered: {0}")]
    Svg(#[from] usvg::Error),
    #[error("the map is too large to be rendered")]
    Size,
    #[error("the map cannot be encoded: {0}")]
    Encode(String),
}

pub fn render(svg: &str) -> Result<Vec<u8>, PngError> {
    let mut fonts = usvg::fontdb::Database::new();
    fonts.load_font_source(usvg::fontdb::Source::Binary(Arc::new(
        epaint_default_fonts::UBUNTU_LIGHT,
    )));
    let options = usvg::Options {
        fontdb: Arc::new(fonts),
        ..usvg::Options::default()
    };
    let tree = usvg::Tree::from_str(svg, &options)?;
    let size = tree.size().to_int_size();
    let mut pixels = tiny_skia::Pixmap::new(size.width(), size.height()).ok_or(PngError::Size)?;
    resvg::render(&tree, tiny_skia::Transform::identity(), &mut pixels.as_mut());
    pixels.encode_png().map_err(|error| PngError::Encode(error.to_string()))
}
