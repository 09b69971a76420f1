//! What came of a world.

use crate::actor::Figures;
use crate::invariant::Violation;
use crate::world::{Micros, Tally};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub violation: Option<Violation>,
    pub tally: Tally,
    /// Equal for equal runs.
    pub digest: u64,
    /// Events that happened.
    pub steps: u64,
    pub simulated: Micros,
    /// What clients asked, and how much of it was answered.
    pub operations: u64,
    pub answered: u64,
    /// Elections won.
    pub leaders: u64,
    /// Entries committed.
    pub committed: u64,
    /// Histories whose check was given up.
    pub undecided: u64,
    /// Whether members wrote with the real log.
    pub real_log: bool,
    /// What the world measured.
    pub figures: Figures,
}
