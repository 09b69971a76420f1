//! What must always hold, one file each, with its source.
//!
//! Each invariant watches the world from outside, with what no member has: all logs, all disks, all answers at once. It is
//! told what happens as it happens, remembers as little as it needs, and says at the first step that breaks it what is
//! broken. None asks the code under test for its opinion where the world can know better: whether an entry is durable, the
//! disks say, not the acknowledgements.
//!
//! Those of consensus are here, those of the coordinator's promises in [`crate::coordinator`]. A check that is not in this
//! list is made by the histories ([`crate::history`]).

mod bounds;
mod committed_is_final;
mod committed_on_quorum;
mod convergence;
mod election_safety;
mod equal_states;
mod found_as_written;
mod fresh_reads;
mod leader_completeness;
mod leader_hears_a_quorum;
mod log_matching;
mod never_back;
mod one_change_at_a_time;
mod one_vote;
mod own_term_first;
mod progress_is_true;
mod promises_are_durable;
mod refused_is_refused;
mod removed_leaders_leave;
mod state_machine_safety;

pub use bounds::{Bounds, check_bounds};
pub use committed_is_final::CommittedIsFinal;
pub use committed_on_quorum::{Majority, committed_on_quorum};
pub use convergence::{SoftState, converged};
pub use election_safety::ElectionSafety;
pub use equal_states::EqualStates;
pub use found_as_written::{Kept, found_as_written};
pub use fresh_reads::check_fresh_read;
pub use leader_completeness::leader_completeness;
pub use leader_hears_a_quorum::leader_hears_a_quorum;
pub use log_matching::LogMatching;
pub use never_back::{NeverBack, Promise};
pub use one_change_at_a_time::{change_is_alone, one_change_at_a_time};
pub use one_vote::OneVote;
pub use own_term_first::own_term_first;
pub use progress_is_true::progress_is_true;
pub use promises_are_durable::{acknowledgement_is_durable, vote_is_durable};
pub use refused_is_refused::RefusedIsRefused;
pub use removed_leaders_leave::removed_leaders_leave;
pub use state_machine_safety::StateMachineSafety;

use std::fmt;

/// A member's name in the cluster.
pub type Member = u64;

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Its name: that of its file.
    pub invariant: &'static str,
    pub told: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.told)
    }
}

/// What a check says.
pub type Check = Result<(), Violation>;

/// Fails with the text unless `holds`.
pub fn require(holds: bool, invariant: &'static str, told: impl FnOnce() -> String) -> Check {
    if holds {
        return Ok(());
    }
    Err(Violation {
        invariant,
        told: told(),
    })
}

/// An entry as the world knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    pub term: u64,
    /// Of its kind and payload.
    pub digest: u64,
}
