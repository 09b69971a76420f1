//! The picture as SVG text.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use geo::{Coord, LineString};

use super::geography::County;
use super::lettering::{Anchor, Label, Lettering};
use super::palette;
use super::projection::{Part, Point, Sheet};

/// Two points of an outline closer than this, in paper units, are drawn as one.
const DETAIL: f64 = 0.45;
/// The sides of a cell are straight in degrees, so curved on paper: pieces of this length, in degrees.
const CELL_PIECE: f64 = 1.0;
const INK: &str = "#2b2b2b";
const QUIET: &str = "#6d6a64";

/// An airport with a mean delay.
#[derive(Debug, Clone, PartialEq)]
pub struct Airport {
    pub code: String,
    pub longitude: f64,
    pub latitude: f64,
    pub mean_delay: f64,
}

/// A cell of the KD-tree, in degrees.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
pub struct Cell {
    pub min_x: f64,
    pub min_y: f64,
    pub max_x: f64,
    pub max_y: f64,
    pub rows: u64,
}

/// Everything on the map.
#[derive(Debug)]
pub struct Picture<'a> {
    pub title: &'a str,
    pub subtitle: &'a str,
    pub source: &'a str,
    pub counties: &'a [County],
    /// Mean delay in minutes by county number.
    pub delays: &'a BTreeMap<String, f64>,
    pub airports: &'a [Airport],
    pub cells: &'a [Cell],
}

/// The whole picture; `lettering` says what becomes of its labels.
pub fn draw(picture: &Picture<'_>, lettering: &Lettering) -> String {
    let sheet = Sheet::new();
    let mut svg = String::with_capacity(2 << 20);
    let (width, height) = (Sheet::WIDTH, Sheet::HEIGHT);
    let _ = writeln!(
        svg,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" font-family="Ubuntu Light, Ubuntu, Helvetica Neue, Arial, sans-serif" font-weight="300" fill="{INK}">"#
    );
    let _ = writeln!(svg, "<title>{}</title>", escaped(picture.title));
    let _ = writeln!(svg, r##"<rect width="{width}" height="{height}" fill="#fbfaf7"/>"##);
    heading(&mut svg, picture, lettering);
    let land = draw_counties(&mut svg, &sheet, picture);
    draw_cells(&mut svg, &sheet, picture.cells, &land);
    for part in Part::BOXES {
        draw_box(&mut svg, part, lettering);
    }
    draw_airports(&mut svg, &sheet, picture.airports, lettering);
    draw_legend(&mut svg, lettering);
    let source = Label::new(40.0, height - 24.0, 13.0).fill(QUIET);
    lettering.write(&mut svg, &source, picture.source);
    svg.push_str("</svg>\n");
    svg
}

fn heading(svg: &mut String, picture: &Picture<'_>, lettering: &Lettering) {
    lettering.write(svg, &Label::new(40.0, 60.0, 38.0), picture.title);
    lettering.write(svg, &Label::new(40.0, 92.0, 18.0).fill(QUIET), picture.subtitle);
}

/// One path a colour: far smaller than one a county. Those of the contiguous states have names, and together they are
/// the land on which the cells are drawn. Returns those names.
fn draw_counties(svg: &mut String, sheet: &Sheet, picture: &Picture<'_>) -> Vec<String> {
    let mut paths: BTreeMap<(Part, &str), String> = BTreeMap::new();
    for county in picture.counties {
        let Some(part) = Part::of_fips(&county.fips) else {
            continue;
        };
        let colour = picture
            .delays
            .get(&county.fips)
            .map_or(palette::NO_DATA, |minutes| palette::colour(*minutes));
        let path = paths.entry((part, colour)).or_default();
        for polygon in &county.outline {
            ring(path, sheet, part, polygon.exterior());
            for hole in polygon.interiors() {
                ring(path, sheet, part, hole);
            }
        }
    }
    let mut land = Vec::new();
    let _ = writeln!(
        svg,
        r##"<g fill-rule="evenodd" stroke="#fbfaf7" stroke-width="0.45" stroke-linejoin="round">"##
    );
    for ((part, colour), path) in paths {
        let name = format!("{}-{}", part.title().replace(' ', "-"), colour.trim_start_matches('#'));
        let _ = writeln!(svg, r#"<path id="{name}" fill="{colour}" d="{path}"/>"#);
        if part == Part::Contiguous {
            land.push(name);
        }
    }
    svg.push_str("</g>\n");
    land
}

fn ring(path: &mut String, sheet: &Sheet, part: Part, line: &LineString<f64>) {
    let points: Vec<Point> = line.0.iter().map(|Coord { x, y }| sheet.place(part, *x, *y)).collect();
    polyline(path, &points, DETAIL);
    path.push('Z');
}

/// `M x y L …` in tenths of a unit, without points nearer than `detail` to the one before.
fn polyline(path: &mut String, points: &[Point], detail: f64) {
    let mut last: Option<Point> = None;
    for point in points {
        match last {
            Some(before) if (point.0 - before.0).hypot(point.1 - before.1) < detail => continue,
            Some(_) => path.push('L'),
            None => path.push('M'),
        }
        let _ = write!(path, "{:.1} {:.1}", point.0, point.1);
        last = Some(*point);
    }
}

/// The cells, where they lie on the land of the contiguous states.
fn draw_cells(svg: &mut String, sheet: &Sheet, cells: &[Cell], land: &[String]) {
    svg.push_str(r#"<clipPath id="land">"#);
    for name in land {
        let _ = write!(svg, r##"<use href="#{name}"/>"##);
    }
    svg.push_str("</clipPath>\n");
    let mut path = String::new();
    for cell in cells {
        // The outer cells reach to the islands and to Alaska, where the projection bends back on itself.
        let (west, east) = (cell.min_x.max(-125.5), cell.max_x.min(-66.2));
        let (south, north) = (cell.min_y.max(24.2), cell.max_y.min(49.8));
        if west >= east || south >= north {
            continue;
        }
        let mut corners = vec![
            (west, south),
            (east, south),
            (east, north),
            (west, north),
            (west, south),
        ];
        let mut points = Vec::new();
        for pair in corners.windows(2) {
            points.extend(pieces(pair[0], pair[1]));
        }
        points.extend(corners.pop());
        let placed: Vec<Point> = points
            .iter()
            .map(|(x, y)| sheet.place(Part::Contiguous, *x, *y))
            .collect();
        polyline(&mut path, &placed, 0.0);
    }
    let _ = writeln!(
        svg,
        r##"<path clip-path="url(#land)" fill="none" stroke="#1d3b53" stroke-opacity="0.6" stroke-width="1" d="{path}"/>"##
    );
}

/// The points of a straight line in degrees, without its end.
fn pieces(from: Point, to: Point) -> impl Iterator<Item = Point> {
    let length = (to.0 - from.0).hypot(to.1 - from.1);
    let count = (length / CELL_PIECE).ceil().max(1.0);
    (0..count as u32).map(move |step| {
        let share = f64::from(step) / count;
        (from.0 + share * (to.0 - from.0), from.1 + share * (to.1 - from.1))
    })
}

fn draw_box(svg: &mut String, part: Part, lettering: &Lettering) {
    let (x, y, width, height) = Sheet::frame(part);
    let _ = writeln!(
        svg,
        r##"<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="4" fill="none" stroke="#cfcac0"/>"##
    );
    lettering.write(svg, &Label::new(x + 8.0, y + 17.0, 13.0).fill(QUIET), part.title());
}

fn draw_airports(svg: &mut String, sheet: &Sheet, airports: &[Airport], lettering: &Lettering) {
    let placed: Vec<(&Airport, Point)> = airports
        .iter()
        .filter_map(|airport| {
            let part = Part::of_place(airport.longitude, airport.latitude)?;
            Some((airport, sheet.place(part, airport.longitude, airport.latitude)))
        })
        .collect();
    let _ = writeln!(svg, r##"<g stroke="#ffffff" stroke-width="1.4" fill="{INK}">"##);
    for (_, (x, y)) in &placed {
        let _ = writeln!(svg, r#"<circle cx="{x:.1}" cy="{y:.1}" r="4.2"/>"#);
    }
    let _ = writeln!(
        svg,
        r##"</g><g paint-order="stroke" stroke="#fbfaf7" stroke-opacity="0.85" stroke-width="3" stroke-linejoin="round">"##
    );
    let mut taken: Vec<Frame> = placed.iter().map(|(_, (x, y))| Frame::around(*x, *y, 4.0)).collect();
    for (airport, (x, y)) in &placed {
        if let Some((left, baseline)) = label_place(&mut taken, *x, *y) {
            lettering.write(svg, &Label::new(left, baseline, 13.0), &airport.code);
        }
    }
    svg.push_str("</g>\n");
}

#[derive(Debug, Clone, Copy)]
struct Frame {
    left: f64,
    top: f64,
    right: f64,
    bottom: f64,
}

impl Frame {
    fn around(x: f64, y: f64, radius: f64) -> Self {
        Self {
            left: x - radius,
            top: y - radius,
            right: x + radius,
            bottom: y + radius,
        }
    }

    fn meets(&self, other: &Self) -> bool {
        self.left < other.right && other.left < self.right && self.top < other.bottom && other.top < self.bottom
    }
}

/// The first of four places around a dot where a label of three letters covers nothing; `None` where there is none.
fn label_place(taken: &mut Vec<Frame>, x: f64, y: f64) -> Option<Point> {
    const WIDTH: f64 = 28.0;
    const HEIGHT: f64 = 12.0;
    let corners = [
        (x + 7.0, y - 6.0),
        (x - WIDTH - 6.0, y - 6.0),
        (x - WIDTH / 2.0, y - 19.0),
        (x - WIDTH / 2.0, y + 6.0),
    ];
    for (left, top) in corners {
        let frame = Frame {
            left,
            top,
            right: left + WIDTH,
            bottom: top + HEIGHT,
        };
        if !taken.iter().any(|other| other.meets(&frame)) {
            taken.push(frame);
            return Some((left, top + HEIGHT - 1.5));
        }
    }
    None
}

fn draw_legend(svg: &mut String, lettering: &Lettering) {
    const STEP: f64 = 62.0;
    let (left, top) = (560.0, 962.0);
    let title = "mean arrival delay at the nearest airport, minutes";
    lettering.write(svg, &Label::new(left, top - 12.0, 15.0), title);
    for (place, colour) in palette::steps().enumerate() {
        let x = left + place as f64 * STEP;
        let _ = writeln!(
            svg,
            r#"<rect x="{x}" y="{top}" width="{STEP}" height="18" fill="{colour}"/>"#
        );
    }
    let right = left + 8.0 * STEP;
    let mut below = |x: f64, text: &str| {
        let label = Label::new(x, top + 36.0, 13.0).fill(QUIET).anchor(Anchor::Middle);
        lettering.write(svg, &label, text);
    };
    for (place, bound) in palette::BOUNDS.iter().enumerate() {
        let sign = if *bound < 0.0 { "−" } else { "" };
        below(left + (place + 1) as f64 * STEP, &format!("{sign}{}", bound.abs()));
    }
    below(left + STEP / 2.0 - 12.0, "early");
    below(right - STEP / 2.0 + 12.0, "late");
    let x = right + 34.0;
    let _ = writeln!(
        svg,
        r##"<circle cx="{}" cy="{}" r="4.2" fill="{INK}"/>"##,
        x + 8.0,
        top + 2.0
    );
    lettering.write(svg, &Label::new(x + 24.0, top + 7.0, 14.0), "served airport");
    let _ = writeln!(
        svg,
        r##"<rect x="{x}" y="{}" width="16" height="12" fill="none" stroke="#1d3b53" stroke-opacity="0.6"/>"##,
        top + 20.0
    );
    lettering.write(svg, &Label::new(x + 24.0, top + 31.0, 14.0), "KD-tree cell");
}

pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use geo::{MultiPolygon, polygon};

    fn picture_with(delay: f64, lettering: &Lettering) -> String {
        let square = polygon![(x: -100.0, y: 40.0), (x: -99.0, y: 40.0), (x: -99.0, y: 41.0), (x: -100.0, y: 41.0)];
        let counties = [County {
            fips: "31001".into(),
            outline: MultiPolygon::new(vec![square]),
        }];
        let delays = BTreeMap::from([("31001".to_owned(), delay)]);
        let picture = Picture {
            title: "A < B",
            subtitle: "",
            source: "",
            counties: &counties,
            delays: &delays,
            airports: &[Airport {
                code: "OMA".into(),
                longitude: -95.9,
                latitude: 41.3,
                mean_delay: 50.6,
            }],
            cells: &[Cell {
                min_x: -110.0,
                min_y: 30.0,
                max_x: -90.0,
                max_y: 45.0,
                rows: 7,
            }],
        };
        draw(&picture, lettering)
    }

    #[test]
    fn a_county_has_the_colour_of_its_delay() {
        let svg = picture_with(50.0, &Lettering::Text);
        let path = format!(r#" fill="{}" d="M"#, palette::colour(50.0));
        assert!(svg.contains(&path));
        assert!(svg.contains("A &lt; B") && svg.contains(">OMA<"));
    }

    #[test]
    fn it_is_drawn_to_pixels() {
        let outlines = Lettering::outlines().unwrap();
        let drawn = |delay| super::super::png::pixels(&picture_with(delay, &outlines)).unwrap();
        assert!(drawn(-50.0).starts_with(b"\x89PNG"));
        assert_ne!(drawn(-50.0), drawn(50.0));
        assert_eq!(drawn(-50.0), drawn(-50.0));
    }

    #[test]
    fn labels_do_not_cover_each_other() {
        let mut taken = Vec::new();
        let places: Vec<_> = (0..6).filter_map(|_| label_place(&mut taken, 100.0, 100.0)).collect();
        assert_eq!(places.len(), 4);
    }
}
