//! Where versions are kept that have left the memory.

use std::fmt::Debug;

use super::version::{Revision, Version};

/// The archive failed; whatever it said. Nothing acknowledged is lost, since the log has it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the store of old versions failed: {0}; check the disk and restart")]
pub struct ArchiveError(pub String);

/// An immutable set of versions: what was durable at one moment.
pub trait Archive: Debug + Send + Sync {
    /// The version made at exactly this revision, if it is here.
    fn get(&self, revision: Revision) -> Result<Option<Version>, ArchiveError>;

    /// Shows all versions from `from` to `to` (both included) in order, until `visit` says false.
    fn scan(&self, from: Revision, to: Revision, visit: &mut dyn FnMut(Version) -> bool) -> Result<(), ArchiveError>;
}

/// The archive of a store that never archived anything.
#[derive(Debug, Clone, Copy, Default)]
pub struct EmptyArchive;

impl Archive for EmptyArchive {
    fn get(&self, _revision: Revision) -> Result<Option<Version>, ArchiveError> {
        Ok(None)
    }

    fn scan(
        &self,
        _from: Revision,
        _to: Revision,
        _visit: &mut dyn FnMut(Version) -> bool,
    ) -> Result<(), ArchiveError> {
        Ok(())
    }
}
