//! Segments cut at each other, until none crosses or touches another but at common ends.
//!
//! Whether two segments meet is decided exactly; where they cross is rounded to doubles, so the pieces bend a little and
//! may cross others. The cut is therefore repeated until nothing is left to cut. Where that does not end, all
//! coordinates go to a grid of the magnitude's last bits and a segment also bends to each vertex that it passes within a
//! grid cell (snap rounding, Hobby 1999), on coarser grids if it must.

use std::cmp::Ordering;
use std::collections::HashMap;

use geo::Coord;
use geo_index::rtree::sort::HilbertSort;
use geo_index::rtree::{RTree, RTreeBuilder, RTreeIndex};

use crate::spatial::geometry::{Bounds, GeometryError};
use crate::spatial::relation::{Crossing, Place, side};

/// Rounds of cutting on one grid; nearly all end after two.
const ROUNDS_MAX: usize = 16;
/// Grids that are tried, by the exponent of two under the magnitude of the coordinates.
const GRIDS: [i32; 3] = [-46, -42, -38];
/// Segments that one overlay may come to. A pair of combs can cross in the product of their teeth.
const SEGMENTS_MAX: usize = 1 << 23;

/// What a segment adds to the geometries 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Source {
    /// By how much the depth in each geometry's areas is greater on the left of the segment than on its right.
    pub rise: [i32; 2],
    /// It is part of a ring, whatever its rise.
    pub ring: [bool; 2],
    /// It is part of a line.
    pub line: [bool; 2],
}

impl Source {
    fn reversed(self) -> Source {
        Source {
            rise: self.rise.map(|rise| -rise),
            ..self
        }
    }

    fn plus(self, other: Source) -> Source {
        let either = |a: [bool; 2], b: [bool; 2]| [a[0] || b[0], a[1] || b[1]];
        Source {
            rise: [self.rise[0] + other.rise[0], self.rise[1] + other.rise[1]],
            ring: either(self.ring, other.ring),
            line: either(self.line, other.line),
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Segment {
    pub from: Coord<f64>,
    pub to: Coord<f64>,
    pub source: Source,
}

impl Segment {
    fn bounds(&self) -> Bounds {
        Bounds::of_point(self.from.x, self.from.y).union(Bounds::of_point(self.to.x, self.to.y))
    }

    fn has_end(&self, at: Coord<f64>) -> bool {
        self.from == at || self.to == at
    }

    fn box_holds(&self, at: Coord<f64>) -> bool {
        self.bounds().contains(&Bounds::of_point(at.x, at.y))
    }
}

/// The segments between nodes, each pair of ends once, with all that runs there.
pub fn noded(segments: Vec<Segment>) -> Result<Vec<Segment>, GeometryError> {
    if let Some(done) = cut(segments.clone(), None)? {
        return Ok(done);
    }
    let largest = segments.iter().flat_map(|segment| [segment.from, segment.to]);
    let largest = largest.fold(0.0, |most: f64, at| most.max(at.x.abs()).max(at.y.abs()));
    for exponent in GRIDS {
        let grid = 2f64.powi(largest.log2().ceil() as i32 + exponent);
        if grid > 0.0
            && let Some(done) = cut(segments.clone(), Some(grid))?
        {
            return Ok(done);
        }
    }
    Err(GeometryError::Unsupported(
        "the lines of the geometries run too near to each other to be told apart".into(),
    ))
}

/// `None`: there is no end to it.
fn cut(mut segments: Vec<Segment>, grid: Option<f64>) -> Result<Option<Vec<Segment>>, GeometryError> {
    if let Some(grid) = grid {
        for segment in &mut segments {
            segment.from = rounded(segment.from, grid);
            segment.to = rounded(segment.to, grid);
        }
    }
    segments = merged(segments);
    for _ in 0..ROUNDS_MAX {
        let mut cuts: Vec<(u32, Coord<f64>)> = Vec::new();
        let index = index(&segments);
        for (at, segment) in segments.iter().enumerate() {
            let mut bounds = segment.bounds();
            if let Some(grid) = grid {
                bounds = bounds.expand(grid);
            }
            near(&segments, index.as_ref(), &bounds, |other| {
                if other > at {
                    meet(&segments, at, other, grid, &mut cuts);
                }
            });
            if segments.len() + cuts.len() > SEGMENTS_MAX {
                return Err(GeometryError::Unsupported(format!(
                    "the lines of the geometries cross more than {SEGMENTS_MAX} times"
                )));
            }
        }
        if cuts.is_empty() {
            return Ok(Some(segments));
        }
        segments = merged(pieces(&segments, cuts));
    }
    Ok(None)
}

fn rounded(at: Coord<f64>, grid: f64) -> Coord<f64> {
    Coord {
        x: (at.x / grid).round() * grid,
        y: (at.y / grid).round() * grid,
    }
}

/// Two segments: adds where each must be cut.
fn meet(segments: &[Segment], at: usize, other: usize, grid: Option<f64>, cuts: &mut Vec<(u32, Coord<f64>)>) {
    let (s, t) = (&segments[at], &segments[other]);
    let mut cut = |of: usize, place: Coord<f64>| {
        if let Ok(of) = u32::try_from(of) {
            cuts.push((of, place));
        }
    };
    let before = |ends: [Coord<f64>; 2], segment: &Segment| {
        ends.map(|end| {
            let place = side((segment.from, segment.to), end);
            let touches = (place == Ordering::Equal && segment.box_holds(end))
                || grid.is_some_and(|grid| distance(segment, end) < grid * 0.75);
            (place, touches && !segment.has_end(end))
        })
    };
    let of_t = before([t.from, t.to], s);
    let of_s = before([s.from, s.to], t);
    let mut touched = false;
    for ((_, touches), end) in of_t.iter().zip([t.from, t.to]) {
        if *touches {
            touched = true;
            cut(at, end);
        }
    }
    for ((_, touches), end) in of_s.iter().zip([s.from, s.to]) {
        if *touches {
            touched = true;
            cut(other, end);
        }
    }
    let opposite = |ends: &[(Ordering, bool); 2]| {
        ends[0].0 != Ordering::Equal && ends[1].0 != Ordering::Equal && ends[0].0 != ends[1].0
    };
    if touched || !opposite(&of_t) || !opposite(&of_s) {
        return;
    }
    let (a, b) = (s.bounds(), t.bounds());
    let about = Crossing::new((s.from, s.to), (t.from, t.to)).about;
    // No rounding may take the crossing out of either box.
    let inside = |value: f64, low: f64, high: f64| value.max(low).min(high);
    let mut place = Coord {
        x: inside(about.x, a.min_x.max(b.min_x), a.max_x.min(b.max_x)),
        y: inside(about.y, a.min_y.max(b.min_y), a.max_y.min(b.max_y)),
    };
    if let Some(grid) = grid {
        place = rounded(place, grid);
    }
    if !s.has_end(place) {
        cut(at, place);
    }
    if !t.has_end(place) {
        cut(other, place);
    }
}

fn distance(segment: &Segment, to: Coord<f64>) -> f64 {
    let (dx, dy) = (segment.to.x - segment.from.x, segment.to.y - segment.from.y);
    let length2 = dx * dx + dy * dy;
    let share = if length2 > 0.0 {
        (((to.x - segment.from.x) * dx + (to.y - segment.from.y) * dy) / length2).clamp(0.0, 1.0)
    } else {
        0.0
    };
    (segment.from.x + share * dx - to.x).hypot(segment.from.y + share * dy - to.y)
}

fn pieces(segments: &[Segment], mut cuts: Vec<(u32, Coord<f64>)>) -> Vec<Segment> {
    let along = |(of, place): &(u32, Coord<f64>)| {
        let segment = &segments[*of as usize];
        (place.x - segment.from.x) * (segment.to.x - segment.from.x)
            + (place.y - segment.from.y) * (segment.to.y - segment.from.y)
    };
    cuts.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| along(a).total_cmp(&along(b))));
    let mut out = Vec::with_capacity(segments.len() + cuts.len());
    let mut cuts = cuts.into_iter().peekable();
    for (at, segment) in segments.iter().enumerate() {
        let mut from = segment.from;
        while let Some((_, place)) = cuts.next_if(|(of, _)| *of as usize == at) {
            out.push(Segment {
                from,
                to: place,
                source: segment.source,
            });
            from = place;
        }
        out.push(Segment {
            from,
            to: segment.to,
            source: segment.source,
        });
    }
    out
}

/// Segments with the same ends become one, those without length none. Order and sense are those of the first.
fn merged(segments: Vec<Segment>) -> Vec<Segment> {
    let mut places: HashMap<(Place, Place), usize> = HashMap::with_capacity(segments.len());
    let mut out: Vec<Segment> = Vec::with_capacity(segments.len());
    for segment in segments {
        let (from, to) = (Place::of(segment.from), Place::of(segment.to));
        if from == to {
            continue;
        }
        match places.entry((from.min(to), from.max(to))) {
            std::collections::hash_map::Entry::Occupied(known) => {
                let known = &mut out[*known.get()];
                let same = Place::of(known.from) == from;
                let source = if same {
                    segment.source
                } else {
                    segment.source.reversed()
                };
                known.source = known.source.plus(source);
            }
            std::collections::hash_map::Entry::Vacant(free) => {
                free.insert(out.len());
                out.push(segment);
            }
        }
    }
    out
}

/// With fewer segments, walking all is as fast as a search.
const SEGMENTS_INDEXED_MIN: usize = 24;

pub fn index(segments: &[Segment]) -> Option<RTree<f64>> {
    if segments.len() < SEGMENTS_INDEXED_MIN {
        return None;
    }
    let mut builder = RTreeBuilder::<f64>::new(u32::try_from(segments.len()).ok()?);
    for bounds in segments.iter().map(Segment::bounds) {
        builder.add(bounds.min_x, bounds.min_y, bounds.max_x, bounds.max_y);
    }
    Some(builder.finish::<HilbertSort>())
}

/// Calls `found` with the number of each segment whose box meets `bounds`.
pub fn near(segments: &[Segment], index: Option<&RTree<f64>>, bounds: &Bounds, mut found: impl FnMut(usize)) {
    match index {
        Some(tree) => tree
            .search(bounds.min_x, bounds.min_y, bounds.max_x, bounds.max_y)
            .into_iter()
            .for_each(|item| found(item as usize)),
        None => {
            let boxes = segments.iter().map(Segment::bounds).enumerate();
            boxes
                .filter(|(_, of_segment)| of_segment.intersects(bounds))
                .for_each(|(at, _)| found(at));
        }
    }
}
