//! A picture of the cells, each with its count.

use std::fmt::Write;

use crate::spatial::geometry::Bounds;

/// Drawn width; the height follows the extent.
const WIDTH: f64 = 1200.0;
const MARGIN: f64 = 20.0;
/// A cell narrower than this has no room for its count.
const LABEL_WIDTH_MIN: f64 = 26.0;

/// An SVG of the cells, darker where more rows are, over a sample of the points.
pub fn svg(cells: &[(Bounds, u64)], points: &[(f64, f64)], title: &str) -> String {
    let extent = cells.iter().map(|(bounds, _)| *bounds).reduce(Bounds::union);
    let extent = extent.unwrap_or(Bounds {
        min_x: 0.0,
        min_y: 0.0,
        max_x: 1.0,
        max_y: 1.0,
    });
    let span = |min: f64, max: f64| if max > min { max - min } else { 1.0 };
    let scale = (WIDTH - 2.0 * MARGIN) / span(extent.min_x, extent.max_x);
    // A flat or a very tall extent still makes a picture that fits a screen.
    let height = (span(extent.min_y, extent.max_y) * scale).clamp(40.0, 2.0 * WIDTH);
    let scale_y = height / span(extent.min_y, extent.max_y);
    let x = |value: f64| MARGIN + (value - extent.min_x) * scale;
    let y = |value: f64| MARGIN + (extent.max_y - value) * scale_y;
    let full_height = height + 2.0 * MARGIN + 30.0;
    let rows: u64 = cells.iter().map(|(_, rows)| rows).sum();
    let most = cells.iter().map(|(_, rows)| *rows).max().unwrap_or(0);

    let mut out = String::new();
    let mut line = |text: std::fmt::Arguments<'_>| {
        let _infallible = writeln!(out, "{text}");
    };
    line(format_args!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {full_height:.0}\" font-family=\"sans-serif\">"
    ));
    line(format_args!(
        "<rect width=\"{WIDTH}\" height=\"{full_height:.0}\" fill=\"#ffffff\"/>"
    ));
    line(format_args!(
        "<g fill=\"#3a6ea5\" stroke=\"#16324f\" stroke-width=\"1\">"
    ));
    for (cell, rows) in cells {
        let weight = if most > 0 {
            0.08 + 0.32 * *rows as f64 / most as f64
        } else {
            0.08
        };
        line(format_args!(
            "<rect x=\"{:.2}\" y=\"{:.2}\" width=\"{:.2}\" height=\"{:.2}\" fill-opacity=\"{weight:.2}\"/>",
            x(cell.min_x),
            y(cell.max_y),
            (cell.max_x - cell.min_x) * scale,
            (cell.max_y - cell.min_y) * scale_y,
        ));
    }
    line(format_args!("</g>\n<g fill=\"#16324f\" fill-opacity=\"0.5\">"));
    for (px, py) in points {
        line(format_args!(
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"0.8\"/>",
            x(*px),
            y(*py)
        ));
    }
    line(format_args!(
        "</g>\n<g fill=\"#000000\" font-size=\"11\" text-anchor=\"middle\">"
    ));
    for (cell, rows) in cells {
        if (cell.max_x - cell.min_x) * scale >= LABEL_WIDTH_MIN {
            let (cx, cy) = cell.center();
            line(format_args!(
                "<text x=\"{:.1}\" y=\"{:.1}\">{rows}</text>",
                x(cx),
                y(cy) + 4.0
            ));
        }
    }
    let mean = if cells.is_empty() {
        0.0
    } else {
        rows as f64 / cells.len() as f64
    };
    let skew = if mean > 0.0 { most as f64 / mean } else { 0.0 };
    line(format_args!(
        "</g>\n<text x=\"{MARGIN}\" y=\"{:.0}\" font-size=\"15\">{}: {rows} rows in {} cells, fullest {most} = {skew:.3} x mean</text>\n</svg>",
        full_height - 14.0,
        escape(title),
        cells.len(),
    ));
    out
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
