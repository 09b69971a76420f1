//! How long a suspicion stands before it is a declaration of death (Lifeguard's dogpile).

use super::{MemberId, Millis};

/// Confirmations that shorten it to the minimum.
pub const CONFIRMATIONS: usize = 3;

#[derive(Debug, Clone)]
pub struct Suspicion {
    pub id: MemberId,
    began: Millis,
    min: Millis,
    max: Millis,
    /// The members that suspect it, each once.
    by: Vec<MemberId>,
}

impl Suspicion {
    pub fn new(id: MemberId, by: MemberId, now: Millis, min: Millis, max: Millis) -> Self {
        Self {
            id,
            began: now,
            min,
            max,
            by: vec![by],
        }
    }

    /// Whether it is a confirmation that was not heard before, and still shortens.
    pub fn confirm(&mut self, by: MemberId) -> bool {
        let counts = self.by.len() <= CONFIRMATIONS && !self.by.contains(&by);
        if counts {
            self.by.push(by);
        }
        counts
    }

    /// Whether it began with that member's own probe.
    pub fn is_of(&self, by: MemberId) -> bool {
        self.by.first() == Some(&by)
    }

    /// When it becomes a death: from the maximum down to the minimum, logarithmically in the confirmations.
    pub fn ends(&self) -> Millis {
        let confirmed = (self.by.len() - 1) as f64;
        let share = (confirmed + 1.0).ln() / (CONFIRMATIONS as f64 + 1.0).ln();
        let span = self.max.saturating_sub(self.min) as f64;
        let wait = (self.max as f64 - span * share).max(self.min as f64);
        self.began + wait as Millis
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn independent_confirmations_shorten_it_to_the_minimum() {
        let mut suspicion = Suspicion::new(1, 2, 1_000, 500, 3_000);
        assert_eq!(suspicion.ends(), 4_000);
        assert!(!suspicion.confirm(2), "its own suspicion is no confirmation");
        assert!(suspicion.confirm(3));
        assert_eq!(
            suspicion.ends(),
            2_750,
            "half of the way at one of three, by logarithms"
        );
        assert!(suspicion.confirm(4) && suspicion.confirm(5));
        assert_eq!(suspicion.ends(), 1_500);
        assert!(!suspicion.confirm(6));
    }
}
