//! Known lines made wrong on demand, to see whether the simulated world catches them. Without the feature nothing is.

/// A line to break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// A member is suspected at the first missed answer, without asking others.
    SuspectsAtOnce,
    /// A member that is suspected does not refute.
    NeverRefutes,
    /// A full member of the ring takes another key.
    LoadUnbounded,
    /// A move starts although too few copies would serve meanwhile.
    DropsFirst,
    /// The clock does not take over what it hears.
    StampNotMerged,
}

#[cfg(feature = "planted-faults")]
mod planted {
    use std::cell::Cell;

    use super::Plant;

    thread_local! {
        static PLANTED: Cell<Option<Plant>> = const { Cell::new(None) };
    }

    /// Plants a fault for this thread; gives what was planted before.
    pub fn plant(plant: Option<Plant>) -> Option<Plant> {
        PLANTED.replace(plant)
    }

    pub fn is(plant: Plant) -> bool {
        PLANTED.get() == Some(plant)
    }
}

#[cfg(feature = "planted-faults")]
pub use planted::{is, plant};

/// Nothing is ever planted in what runs in production.
#[cfg(not(feature = "planted-faults"))]
pub const fn is(_plant: Plant) -> bool {
    false
}
