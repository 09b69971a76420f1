//! A hybrid logical clock: stamps that follow causality and stay near real time.
//!
//! Kulkarni, Demirbas and others, *Logical Physical Clocks* (2014). A stamp is the largest physical time heard of, and a
//! counter for what happens within one of its milliseconds. Whatever an event may have caused has a larger stamp, on
//! whatever node; and the stamp differs from the node's own clock by no more than clocks differ among each other.
//! Wall-clock time alone orders wrongly as soon as a clock is behind; a Lamport clock (1978) alone says nothing of the
//! time.
//!
//! A stamp from a clock that is ahead by more than the bound is refused, so that one broken clock does not carry all
//! others along. [`Clock::resume`] begins above a stamp that was made before a restart.

use std::fmt;

use crate::plant::{self, Plant};

/// Milliseconds since 1970, and a counter. Compares as it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Stamp {
    pub millis: u64,
    pub counter: u16,
}

impl Stamp {
    /// 48 bits of time and 16 of counter: order is kept until the year 10889.
    pub fn to_bits(self) -> u64 {
        self.millis << 16 | u64::from(self.counter)
    }

    pub fn from_bits(bits: u64) -> Self {
        Self {
            millis: bits >> 16,
            counter: bits as u16,
        }
    }

    /// The next larger stamp.
    fn next(self) -> Self {
        match self.counter.checked_add(1) {
            Some(counter) => Self { counter, ..self },
            None => Self {
                millis: self.millis + 1,
                counter: 0,
            },
        }
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:05}", self.millis, self.counter)
    }
}

/// A stamp that is too far ahead of the local clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a clock is {ahead_ms} ms ahead of this one, more than the {bound_ms} ms allowed; check both clocks")]
pub struct TooFarAhead {
    pub ahead_ms: u64,
    pub bound_ms: u64,
}

/// A node's clock. Each stamp is larger than all before it.
#[derive(Debug, Clone)]
pub struct Clock {
    last: Stamp,
    bound_ms: u64,
}

impl Clock {
    /// `bound_ms`: how far ahead another node's clock may be.
    pub fn new(bound_ms: u64) -> Self {
        Self {
            last: Stamp::default(),
            bound_ms,
        }
    }

    /// Begins above what was stamped before a restart.
    pub fn resume(bound_ms: u64, last: Stamp) -> Self {
        Self { last, bound_ms }
    }

    pub fn last(&self) -> Stamp {
        self.last
    }

    /// Stamps an event of this node, at its physical time.
    pub fn tick(&mut self, now_ms: u64) -> Stamp {
        let physical = Stamp {
            millis: now_ms,
            counter: 0,
        };
        self.last = if physical > self.last {
            physical
        } else {
            self.last.next()
        };
        self.last
    }

    /// Stamps the arrival of what another node stamped.
    pub fn receive(&mut self, theirs: Stamp, now_ms: u64) -> Result<Stamp, TooFarAhead> {
        let ahead_ms = theirs.millis.saturating_sub(now_ms);
        if ahead_ms > self.bound_ms {
            return Err(TooFarAhead {
                ahead_ms,
                bound_ms: self.bound_ms,
            });
        }
        if !plant::is(Plant::StampNotMerged) {
            self.last = self.last.max(theirs);
        }
        Ok(self.tick(now_ms))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn stamps_grow_over_events_clocks_that_go_back_and_restarts(events in prop::collection::vec((0..2u8, 0..200u64, 0..200u64), 1..50)) {
            let mut clock = Clock::new(300);
            let mut last = Stamp::default();
            for (kind, now, theirs) in events {
                let theirs = Stamp { millis: theirs, counter: u16::MAX };
                let stamp = match kind {
                    0 => clock.tick(now),
                    _ => clock.receive(theirs, now).unwrap(),
                };
                prop_assert!(stamp > last && (kind == 0 || stamp > theirs));
                prop_assert_eq!(Stamp::from_bits(stamp.to_bits()), stamp);
                // Never farther ahead of real time than the farthest clock.
                prop_assert!(stamp.millis <= 201);
                last = stamp;
                clock = Clock::resume(300, clock.last());
            }
        }
    }

    #[test]
    fn one_broken_clock_does_not_carry_the_others_along() {
        let mut clock = Clock::new(500);
        let ahead = Stamp {
            millis: 10_501,
            counter: 0,
        };
        let refused = clock.receive(ahead, 10_000).unwrap_err();
        assert_eq!((refused.ahead_ms, clock.last()), (501, Stamp::default()));
        assert!(clock.receive(ahead, 10_001).is_ok());
        assert!(
            Stamp {
                millis: 1,
                counter: u16::MAX
            }
            .next()
                == Stamp { millis: 2, counter: 0 }
        );
    }
}
