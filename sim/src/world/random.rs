//! The one source of chance of a world.

/// A seeded generator: SplitMix64 (Steele, Lea and Flood, 2014). Quick, of full period, and the same on every machine.
#[derive(Debug, Clone)]
pub struct Random(u64);

/// Advances `state` and returns the next number of the stream; also a good mixer of two numbers.
pub fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

impl Random {
    pub fn new(seed: u64) -> Self {
        let mut random = Self(seed);
        // Neighbouring seeds must not begin alike.
        random.0 = random.draw() ^ seed.rotate_left(32);
        random
    }

    pub fn draw(&mut self) -> u64 {
        split_mix(&mut self.0)
    }

    /// A stream of its own, so that one part of the world can draw more without moving the others' luck.
    pub fn fork(&mut self) -> Self {
        Self::new(self.draw())
    }

    /// A number below `bound`, which is not 0. Multiply and shift (Lemire, 2019); the bias is below 2^-32 here.
    pub fn below(&mut self, bound: u64) -> u64 {
        debug_assert!(bound > 0, "there is no number below 0");
        let wide = u128::from(self.draw()) * u128::from(bound);
        (wide >> 64) as u64
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True this many times in a million.
    pub fn one_in_a_million(&mut self, times: u32) -> bool {
        times > 0 && self.below(1_000_000) < u64::from(times)
    }

    pub fn percent(&mut self, times: u32) -> bool {
        self.one_in_a_million(times * 10_000)
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        if from.is_empty() {
            return None;
        }
        let at = self.below(from.len() as u64) as usize;
        from.get(at)
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            items.swap(end, self.below(end as u64 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_stream_and_neighbours_differ() {
        let stream = |seed| {
            let mut random = Random::new(seed);
            (0..100).map(|_| random.draw()).collect::<Vec<_>>()
        };
        assert_eq!(stream(7), stream(7));
        assert_ne!(stream(7), stream(8));
    }

    #[test]
    fn numbers_stay_within_their_bounds_and_reach_them() {
        let mut random = Random::new(1);
        let mut seen = [0u32; 5];
        for _ in 0..5_000 {
            seen[random.between(3, 7) as usize - 3] += 1;
        }
        assert!(seen.iter().all(|times| (800..1_200).contains(times)), "{seen:?}");
        let hits = (0..100_000).filter(|_| random.one_in_a_million(10_000)).count();
        assert!((800..1_200).contains(&hits), "{hits}");
    }
}
