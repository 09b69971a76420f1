//! Planted faults: lines of the core, and one of the log, that can be broken on purpose, to show that the net catches it.
//!
//! Without the feature `planted-faults` all of this is a constant `false` that the compiler removes. With it, a thread
//! chooses one fault for everything that runs on it.

/// A fault that can be planted. Each is one line, wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Plant {
    /// Elections, commitment and reads need one voter less than a majority.
    QuorumMinusOne,
    /// Messages of an older term are taken as if they were of this one.
    StaleTermAccepted,
    /// A member votes although it hears from a leader.
    LeaseCheckSkipped,
    /// A member gives more than one vote in a term.
    VotesTwice,
    /// A member votes for a candidate whose log is behind its own.
    StaleLogElected,
    /// A follower appends without comparing what is before.
    PreviousUnchecked,
    /// A follower acknowledges entries before they are durable.
    AcknowledgedUnsynced,
    /// A leader begins without an entry of its own term.
    NoBlankEntry,
    /// A leader counts entries of older terms for commitment.
    OldTermCommitted,
    /// A leader counts its own entries before they are durable.
    OwnUnsyncedCounted,
    /// A leader appends a repeated batch of forwarded proposals again.
    ForwardedTwice,
    /// All rounds of heartbeats of a leader have one number, so that old answers confirm new reads.
    ReadRoundReused,
    /// A leader answers reads without asking whether it still leads.
    ReadUnconfirmed,
    /// A leader answers reads before it has committed an entry of its own term.
    ReadBeforeOwnTerm,
    /// A leader that hears from no one goes on leading.
    QuorumUnchecked,
    /// A leader takes a change of members while another is not committed.
    ChangesOverlap,
    /// A leader changes members before it has committed an entry of its own term.
    ChangeBeforeOwnTerm,
    /// A leader goes on leading after its removal was committed.
    RemovedLeaderStays,
    /// Acknowledgements of an earlier replication session count.
    SessionIgnored,
    /// The log takes a record's payload without comparing its checksum.
    ChecksumIgnored,
}

#[cfg(feature = "planted-faults")]
impl Plant {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::QuorumMinusOne,
        Self::StaleTermAccepted,
        Self::LeaseCheckSkipped,
        Self::VotesTwice,
        Self::StaleLogElected,
        Self::PreviousUnchecked,
        Self::AcknowledgedUnsynced,
        Self::NoBlankEntry,
        Self::OldTermCommitted,
        Self::OwnUnsyncedCounted,
        Self::ForwardedTwice,
        Self::ReadRoundReused,
        Self::ReadUnconfirmed,
        Self::ReadBeforeOwnTerm,
        Self::QuorumUnchecked,
        Self::ChangesOverlap,
        Self::ChangeBeforeOwnTerm,
        Self::RemovedLeaderStays,
        Self::SessionIgnored,
        Self::ChecksumIgnored,
    ];
}

#[cfg(feature = "planted-faults")]
std::thread_local! {
    static PLANTED: std::cell::Cell<Option<Plant>> = const { std::cell::Cell::new(None) };
}

/// Plants this fault, or none, on this thread; returns what was planted before.
#[cfg(feature = "planted-faults")]
pub fn plant(fault: Option<Plant>) -> Option<Plant> {
    PLANTED.replace(fault)
}

#[cfg(feature = "planted-faults")]
pub(crate) fn is_planted(fault: Plant) -> bool {
    PLANTED.get() == Some(fault)
}

#[cfg(not(feature = "planted-faults"))]
#[inline(always)]
pub(crate) const fn is_planted(_: Plant) -> bool {
    false
}
