//! The store's past, read in order of time.

use std::sync::Arc;

use super::archive::{Archive, ArchiveError};
use super::version::{Revision, Version};

/// All versions from some revision on, as the store was when it was asked; read without holding it.
#[derive(Debug)]
pub struct History {
    from: i64,
    archive: Arc<dyn Archive>,
    /// The part in memory. The archive may have the beginning of it too.
    tail: Vec<Arc<Version>>,
}

impl History {
    pub(super) fn new(from: i64, archive: Arc<dyn Archive>, tail: Vec<Arc<Version>>) -> Self {
        Self { from, archive, tail }
    }

    /// The versions in order, whole revisions, up to revision `to` or until there are about `limit`; and the revision up
    /// to which these are all.
    pub fn read(self, to: i64, limit: usize) -> Result<(Vec<Arc<Version>>, i64), ArchiveError> {
        let mut found: Vec<Arc<Version>> = Vec::new();
        // Enough, and what comes next is of another revision.
        let is_full = |found: &[Arc<Version>], next: Revision| {
            found.len() >= limit && found.last().is_some_and(|last| last.revision.main < next.main)
        };
        let mut full = false;
        let end = Revision::end_of(to);
        let archived_to = self.tail.first().map_or(end, |first| first.revision.min(end));
        self.archive
            .scan(Revision::new(self.from, 0), archived_to, &mut |version| {
                full = is_full(&found, version.revision);
                if !full {
                    found.push(Arc::new(version));
                }
                !full
            })?;
        for version in self.tail {
            let known = found.last().is_some_and(|last| last.revision >= version.revision);
            if full || version.revision > end {
                break;
            }
            full = !known && is_full(&found, version.revision);
            if !full && !known {
                found.push(version);
            }
        }
        let reached = if full {
            found.last().map_or(to, |last| last.revision.main)
        } else {
            to
        };
        Ok((found, reached))
    }
}
