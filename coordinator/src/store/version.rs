//! Revisions, and what a key was at one of them.

use coordinator_wire::mvccpb::KeyValue;

/// When a change happened: the revision of its transaction, and its place within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision {
    pub main: i64,
    pub sub: u32,
}

impl Revision {
    pub const fn new(main: i64, sub: u32) -> Self {
        Self { main, sub }
    }

    /// After every change of the transaction `main`.
    pub const fn end_of(main: i64) -> Self {
        Self { main, sub: u32::MAX }
    }
}

/// What one change left behind.
#[derive(Debug, Clone, PartialEq)]
pub struct Version {
    pub revision: Revision,
    /// A tombstone: `kv` holds only the key and the revision.
    pub deleted: bool,
    pub kv: KeyValue,
}

/// What a version costs in memory beside its key and value, in bytes, roughly.
const OVERHEAD_BYTES: usize = 160;

impl Version {
    pub fn bytes(&self) -> usize {
        self.kv.key.len() + self.kv.value.len() + OVERHEAD_BYTES
    }
}
