//! The faces that noded segments cut the plane into, and how deep each is in the two geometries.
//!
//! Half edges: number `2 i` runs along segment `i`, `2 i + 1` back. The half edges around a face on their left form a
//! cycle. Pieces of the arrangement that hang together share their depths by crossing edges; one that lies free in a face
//! of another is found by looking to the left of its leftmost vertex. All decisions are exact, so depths cannot contradict
//! each other.

use std::cmp::Ordering;
use std::collections::HashMap;

use geo::Coord;

use super::noding::{Segment, index, near};
use crate::spatial::geometry::Bounds;
use crate::spatial::relation::{Place, side, turn};

/// The face without bounds.
const OUTSIDE: usize = 0;

#[derive(Debug)]
pub struct Arrangement {
    pub segments: Vec<Segment>,
    pub vertices: Vec<Coord<f64>>,
    /// The vertex that each half edge starts from.
    origin: Vec<u32>,
    /// The half edges from each vertex, counter-clockwise.
    pub leaving: Vec<Vec<u32>>,
    /// The next half edge around the face.
    next: Vec<u32>,
    /// The face on the left of each half edge.
    face: Vec<u32>,
    /// By face: how many areas of each geometry it is in.
    pub depth: Vec<[i32; 2]>,
}

impl Arrangement {
    pub fn of(segments: Vec<Segment>) -> Arrangement {
        let mut numbers: HashMap<Place, u32> = HashMap::new();
        let mut vertices = Vec::new();
        let mut origin = Vec::with_capacity(2 * segments.len());
        for end in segments.iter().flat_map(|segment| [segment.from, segment.to]) {
            let number = *numbers.entry(Place::of(end)).or_insert_with(|| {
                vertices.push(end);
                vertices.len() as u32 - 1
            });
            origin.push(number);
        }
        let mut leaving = vec![Vec::new(); vertices.len()];
        for (half, from) in origin.iter().enumerate() {
            leaving[*from as usize].push(half as u32);
        }
        let mut this = Arrangement {
            segments,
            vertices,
            origin,
            leaving: Vec::new(),
            next: Vec::new(),
            face: Vec::new(),
            depth: Vec::new(),
        };
        for around in &mut leaving {
            around.sort_by(|a, b| this.by_angle(*a, *b));
        }
        this.next = vec![0; this.origin.len()];
        for around in &leaving {
            for (at, half) in around.iter().enumerate() {
                // Clockwise of the way back.
                let before = around[(at + around.len() - 1) % around.len()];
                this.next[(*half ^ 1) as usize] = before;
            }
        }
        this.leaving = leaving;
        this.find_faces();
        this
    }

    pub fn halves(&self) -> u32 {
        self.origin.len() as u32
    }

    pub fn start(&self, half: u32) -> u32 {
        self.origin[half as usize]
    }

    pub fn place(&self, half: u32) -> Coord<f64> {
        self.vertices[self.start(half) as usize]
    }

    pub fn next(&self, half: u32) -> u32 {
        self.next[half as usize]
    }

    pub fn face(&self, half: u32) -> usize {
        self.face[half as usize] as usize
    }

    fn directed(&self, half: u32) -> (Coord<f64>, Coord<f64>) {
        (self.place(half), self.place(half ^ 1))
    }

    fn by_angle(&self, a: u32, b: u32) -> Ordering {
        let (a, b) = (self.directed(a), self.directed(b));
        upper(a).cmp(&upper(b)).reverse().then_with(|| turn(a, b).reverse())
    }

    fn find_faces(&mut self) {
        const NONE: u32 = u32::MAX;
        let halves = self.origin.len();
        self.face = vec![NONE; halves];
        let mut faces = 1;
        for start in 0..halves {
            if self.face[start] != NONE {
                continue;
            }
            let mut half = start;
            while self.face[half] == NONE {
                self.face[half] = faces;
                half = self.next[half] as usize;
            }
            faces += 1;
        }
        let outer = self.outer_cycles();
        let mut same: Vec<u32> = (0..faces).collect();
        self.depth = vec![[0; 2]; faces as usize];
        let index = if outer.len() > 1 { index(&self.segments) } else { None };
        let mut known = vec![false; faces as usize];
        known[OUTSIDE] = true;
        for (leftmost, half) in outer.iter().copied() {
            let around = if outer.len() > 1 {
                self.left_of(self.vertices[leftmost as usize], index.as_ref())
            } else {
                None
            };
            let around = around.map_or(OUTSIDE as u32, |half| self.face[half as usize]);
            let cycle = self.face[half as usize];
            same[cycle as usize] = around;
            self.depth[cycle as usize] = self.depth[around as usize];
            self.spread(half, &mut known);
        }
        // Pieces come from the left to the right, so what is around one is known before it.
        for cycle in 0..faces as usize {
            let mut to = same[cycle];
            while same[to as usize] != to {
                to = same[to as usize];
            }
            same[cycle] = to;
        }
        self.face.iter_mut().for_each(|face| *face = same[*face as usize]);
    }

    /// For each piece that hangs together, from the left to the right: its leftmost vertex, and a half edge around it.
    fn outer_cycles(&self) -> Vec<(u32, u32)> {
        let mut seen = vec![false; self.vertices.len()];
        let mut found = Vec::new();
        for start in 0..self.vertices.len() {
            if seen[start] {
                continue;
            }
            seen[start] = true;
            let mut open = vec![start as u32];
            let mut leftmost = start as u32;
            while let Some(at) = open.pop() {
                if order(self.vertices[at as usize], self.vertices[leftmost as usize]) == Ordering::Less {
                    leftmost = at;
                }
                for half in &self.leaving[at as usize] {
                    let to = self.start(half ^ 1);
                    if !std::mem::replace(&mut seen[to as usize], true) {
                        open.push(to);
                    }
                }
            }
            let around = &self.leaving[leftmost as usize];
            // What leaves the leftmost vertex most to the left has nothing of its piece on its left.
            let last = around
                .iter()
                .rfind(|half| upper(self.directed(**half)))
                .or(around.last());
            found.extend(last.map(|half| (leftmost, *half)));
        }
        found.sort_by(|a, b| order(self.vertices[a.0 as usize], self.vertices[b.0 as usize]));
        found
    }

    /// From one face of a piece to all others, across edges.
    fn spread(&mut self, from: u32, known: &mut [bool]) {
        known[self.face(from)] = true;
        let mut open = vec![from];
        while let Some(start) = open.pop() {
            let mut half = start;
            loop {
                let back = half ^ 1;
                let (here, there) = (self.face(half), self.face(back));
                if !std::mem::replace(&mut known[there], true) {
                    let rise = self.rise(half);
                    self.depth[there] = [self.depth[here][0] - rise[0], self.depth[here][1] - rise[1]];
                    open.push(back);
                }
                half = self.next(half);
                if half == start {
                    break;
                }
            }
        }
    }

    fn rise(&self, half: u32) -> [i32; 2] {
        let rise = self.segments[half as usize / 2].source.rise;
        if half & 1 == 0 { rise } else { rise.map(|rise| -rise) }
    }

    /// The half edge whose left side is what a ray from `at` to the left meets first.
    fn left_of(&self, at: Coord<f64>, index: Option<&geo_index::rtree::RTree<f64>>) -> Option<u32> {
        let ray = Bounds {
            min_x: f64::MIN,
            min_y: at.y,
            max_x: at.x,
            max_y: at.y,
        };
        let mut nearest: Option<u32> = None;
        near(&self.segments, index, &ray, |segment| {
            let forth = 2 * segment as u32;
            let (from, to) = self.directed(forth);
            let up = if from.y <= to.y { forth } else { forth ^ 1 };
            let (low, high) = self.directed(up);
            // The upper end belongs to the next segment.
            if at.y < low.y || at.y >= high.y || side((low, high), at) != Ordering::Less {
                return;
            }
            if nearest.is_none_or(|known| self.is_right_of(up, known)) {
                nearest = Some(up);
            }
        });
        nearest.map(|up| up ^ 1)
    }

    /// Of two upward half edges with common heights that do not cross.
    fn is_right_of(&self, a: u32, b: u32) -> bool {
        let (of_a, of_b) = (self.directed(a), self.directed(b));
        let low = if of_a.0.y >= of_b.0.y {
            side(of_b, of_a.0)
        } else {
            side(of_a, of_b.0).reverse()
        };
        let high = || {
            if of_a.1.y <= of_b.1.y {
                side(of_b, of_a.1)
            } else {
                side(of_a, of_b.1).reverse()
            }
        };
        low.then_with(high) == Ordering::Less
    }
}

/// From the left to the right, then from the bottom to the top.
fn order(a: Coord<f64>, b: Coord<f64>) -> Ordering {
    (a.x + 0.0)
        .total_cmp(&(b.x + 0.0))
        .then((a.y + 0.0).total_cmp(&(b.y + 0.0)))
}

/// Whether a direction is in the half circle from the right over the top, the left excluded.
fn upper((from, to): (Coord<f64>, Coord<f64>)) -> bool {
    to.y > from.y || (to.y == from.y && to.x > from.x)
}
