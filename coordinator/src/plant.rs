//! Planted faults: lines of the pure rooms that can be broken on purpose, to show that the net catches it.
//!
//! Without the feature `planted-faults` all of this is a constant `false` that the compiler removes. With it, a thread
//! chooses one fault for everything that runs on it.

/// A fault that can be planted. Each is one line, wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Plant {
    /// Watchers that fell behind are not told what they missed.
    WatchGap,
    /// A lease's time is half of what was granted.
    LeaseEarly,
    /// A lease that is over can still be renewed.
    RenewedWhenOver,
    /// The keys of a revoked lease stay.
    RevokedKeysStay,
    /// Conditions of transactions always hold.
    CompareIgnored,
    /// Compaction removes what a reader at just its revision sees.
    CompactsTooMuch,
    /// Compaction removes a tombstone of just its revision.
    TombstoneForgotten,
    /// No one looks at which revision of users and roles a caller was established.
    OldCallersPass,
    /// What roles allow is not put together again after a change.
    PermissionsNotUnited,
    /// A user's tokens stay good when the password changes.
    TokensOutlivePasswords,
    /// NOSPACE lets transactions pass.
    NoSpaceForgetsTxns,
    /// What is disarmed is not handed over to the store file.
    DisarmedInMemoryOnly,
}

impl Plant {
    /// All of them.
    #[cfg_attr(not(feature = "planted-faults"), allow(dead_code))]
    pub const ALL: [Self; 12] = [
        Self::WatchGap,
        Self::LeaseEarly,
        Self::RenewedWhenOver,
        Self::RevokedKeysStay,
        Self::CompareIgnored,
        Self::CompactsTooMuch,
        Self::TombstoneForgotten,
        Self::OldCallersPass,
        Self::PermissionsNotUnited,
        Self::TokensOutlivePasswords,
        Self::NoSpaceForgetsTxns,
        Self::DisarmedInMemoryOnly,
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
