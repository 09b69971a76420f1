//! What a member takes for the time.

use super::events::Micros;
use super::random::Random;

/// A clock that goes wrong by a constant and runs too fast or too slow: no two members agree, none ever goes back.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    offset: Micros,
    /// Parts per million by which it is faster (or, below 0, slower) than the world.
    drift_ppm: i64,
}

impl Clock {
    /// A clock that shows the world's time.
    pub fn exact() -> Self {
        Self {
            offset: 0,
            drift_ppm: 0,
        }
    }

    /// A clock that is `offset` ahead and too fast (below 0: too slow) by a constant rate.
    pub fn ahead(offset: Micros, drift_ppm: i64) -> Self {
        Self { offset, drift_ppm }
    }

    /// A clock that is up to an hour ahead and up to `drift_ppm_max` too fast or too slow.
    pub fn skewed(random: &mut Random, drift_ppm_max: u32) -> Self {
        let drift = random.below(2 * u64::from(drift_ppm_max) + 1) as i64;
        Self {
            offset: random.below(3_600_000_000),
            drift_ppm: drift - i64::from(drift_ppm_max),
        }
    }

    /// The member's time at the world's moment `now`, in milliseconds.
    pub fn milliseconds(&self, now: Micros) -> u64 {
        (self.offset + self.stretch(now)) / 1_000
    }

    /// The same in microseconds.
    pub fn microseconds(&self, now: Micros) -> Micros {
        self.offset + self.stretch(now)
    }

    /// How much of the world's time passes while this clock moves by `wait`.
    pub fn world_time(&self, wait: Micros) -> Micros {
        let faster = (1_000_000 + self.drift_ppm).unsigned_abs();
        match wait.checked_mul(1_000_000) {
            Some(scaled) => scaled.div_ceil(faster),
            None => wait,
        }
    }

    /// How much of the world's time passes until this clock has moved by `milliseconds`, at least.
    pub fn world_time_for(&self, milliseconds: u64) -> Micros {
        let faster = (1_000_000 + self.drift_ppm).unsigned_abs();
        // 128 bits are slow to divide, and nothing waits for years.
        match milliseconds.checked_mul(1_000_000_000) {
            Some(scaled) => scaled.div_ceil(faster),
            None => (u128::from(milliseconds) * 1_000_000_000).div_ceil(faster.into()) as Micros,
        }
    }

    fn stretch(&self, now: Micros) -> Micros {
        let now = now as i64;
        // Far from overflow: no world lasts a year.
        (now + now * self.drift_ppm / 1_000_000) as Micros
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_clock_is_fast_and_none_goes_back() {
        let clock = Clock {
            offset: 5_000_000,
            drift_ppm: 100_000,
        };
        assert_eq!(clock.milliseconds(0), 5_000);
        assert_eq!(clock.milliseconds(10_000_000), 16_000);
        let later = clock.world_time_for(1_100);
        assert!(clock.milliseconds(later) - clock.milliseconds(0) >= 1_099);
        let mut random = Random::new(3);
        for _ in 0..100 {
            let clock = Clock::skewed(&mut random, 50_000);
            let times: Vec<u64> = (0..100).map(|n| clock.milliseconds(n * 777)).collect();
            assert!(times.is_sorted());
        }
    }
}
