//! A uniform sample of a stream whose length is not known (Vitter's algorithm R).

/// So many points are kept: with 64 cells a cell's weight is then within a few percent of the mean.
const SAMPLE_POINTS_MAX: usize = 65_536;

/// Keeps a uniform sample of the points that it is shown.
#[derive(Debug)]
pub struct Sampler {
    points: Vec<(f64, f64)>,
    seen: u64,
    state: u64,
}

impl Sampler {
    pub fn new(seed: u64) -> Sampler {
        Sampler {
            points: Vec::new(),
            seen: 0,
            state: seed,
        }
    }

    pub fn add(&mut self, x: f64, y: f64) {
        self.seen += 1;
        if self.points.len() < SAMPLE_POINTS_MAX {
            self.points.push((x, y));
            return;
        }
        let place = self.next() % self.seen;
        if let Some(kept) = usize::try_from(place).ok().and_then(|place| self.points.get_mut(place)) {
            *kept = (x, y);
        }
    }

    pub fn into_points(self) -> Vec<(f64, f64)> {
        self.points
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}
