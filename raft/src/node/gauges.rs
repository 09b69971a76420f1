//! What the driver tells anyone who looks: plain numbers, read without asking it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::consensus::{MemberId, RoleName, SoftState};

/// Figures of one node. Each is true by itself; together they may be of slightly different moments.
#[derive(Debug, Default)]
pub struct Gauges {
    term: AtomicU64,
    /// Zero for none.
    leader: AtomicU64,
    is_leader: AtomicBool,
    leader_changes: AtomicU64,
    commit: AtomicU64,
    last: AtomicU64,
    records: AtomicU64,
    groups: AtomicU64,
    bytes: AtomicU64,
    full: AtomicBool,
    alone: AtomicBool,
}

macro_rules! numbers {
    ($($(#[$doc:meta])* $get:ident $set:ident;)*) => {
        impl Gauges {
            $(
                $(#[$doc])*
                pub fn $get(&self) -> u64 {
                    self.$get.load(Ordering::Relaxed)
                }

                pub(super) fn $set(&self, value: u64) {
                    self.$get.store(value, Ordering::Relaxed);
                }
            )*
        }
    };
}

numbers! {
    /// Up to where the log is known to be committed.
    commit set_commit;
    /// The last entry of the log.
    last set_last;
}

impl Gauges {
    /// The current term.
    pub fn term(&self) -> u64 {
        self.term.load(Ordering::Relaxed)
    }

    /// Who leads, as far as this member knows.
    pub fn leader(&self) -> Option<MemberId> {
        Some(self.leader.load(Ordering::Relaxed)).filter(|leader| *leader != 0)
    }

    pub fn is_leader(&self) -> bool {
        self.is_leader.load(Ordering::Acquire)
    }

    /// How often another leader, or a first one, was seen.
    pub fn leader_changes(&self) -> u64 {
        self.leader_changes.load(Ordering::Relaxed)
    }

    /// Whether this member is the only voter: then whatever it has applied is all that was ever acknowledged, and it may
    /// be read without asking anybody. Set before a change of members is sent anywhere.
    pub fn is_alone(&self) -> bool {
        self.alone.load(Ordering::Acquire)
    }

    /// Whether the log could not be written for lack of space.
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Entries made durable, the groups they came in (one write and one sync each), and their bytes.
    pub fn written(&self) -> crate::log::Stats {
        crate::log::Stats {
            records: self.records.load(Ordering::Relaxed),
            groups: self.groups.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }

    pub(super) fn set_soft_state(&self, soft_state: &SoftState) {
        let leader = soft_state.leader.unwrap_or(0);
        let before = self.leader.swap(leader, Ordering::Relaxed);
        let term_before = self.term.swap(soft_state.term, Ordering::Relaxed);
        if leader != 0 && (leader != before || soft_state.term != term_before) {
            self.leader_changes.fetch_add(1, Ordering::Relaxed);
        }
        self.is_leader
            .store(soft_state.role == RoleName::Leader, Ordering::Release);
    }

    pub(super) fn set_alone(&self, alone: bool) {
        self.alone.store(alone, Ordering::Release);
    }

    pub(super) fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::Relaxed);
    }

    pub(super) fn note_group(&self, records: u64, bytes: u64) {
        self.records.fetch_add(records, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.groups.fetch_add(1, Ordering::Relaxed);
    }
}
