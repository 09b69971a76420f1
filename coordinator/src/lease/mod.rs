//! Leases: a time to live that keys can be attached to.
//!
//! Two halves with different fates. [`Leases`] is part of the replicated state: which leases exist, for how many seconds
//! they were granted, which keys hang on them. It changes only by log entries and knows no time. [`Deadlines`] belongs to
//! the one member that leads: when each lease ends by that member's clock. Renewing moves a deadline and writes nothing;
//! a deadline that passed makes the leader propose a revocation, and the log decides. So the expiry of a lease is one
//! entry, and all its keys go in one revision.
//!
//! A lease never ends early: after a change of leader all deadlines start again, with the full time or with what the lease
//! had left at its last *checkpoint*, since no one else knows when it was renewed last. The leader notes checkpoints in the
//! log now and then for leases of more than a few minutes, so that a cluster whose leader changes often still ends them.

mod deadlines;
mod leases;

pub use deadlines::Deadlines;
pub use leases::{Lease, LeaseChange, Leases, TTL_SECONDS_MAX, TTL_SECONDS_MIN};
