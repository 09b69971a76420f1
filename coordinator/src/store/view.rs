//! All versions of one moment.

use std::sync::Arc;

use super::archive::{Archive, ArchiveError};
use super::version::{Revision, Version};

/// Every version that the store had when it was asked, without those that compaction had removed but the archive still
/// has. It does not change, however long it takes to go through it.
#[derive(Debug)]
pub struct View {
    archive: Arc<dyn Archive>,
    /// The part in memory, in order. The archive may have the beginning of it too.
    tail: Vec<Arc<Version>>,
    /// Removed, in order.
    gone: Vec<Revision>,
}

impl View {
    pub(super) fn new(archive: Arc<dyn Archive>, tail: Vec<Arc<Version>>, gone: Vec<Revision>) -> Self {
        Self { archive, tail, gone }
    }

    fn is_gone(&self, revision: Revision) -> bool {
        self.gone.binary_search(&revision).is_ok()
    }
}

impl Archive for View {
    fn get(&self, revision: Revision) -> Result<Option<Version>, ArchiveError> {
        match self.tail.binary_search_by(|version| version.revision.cmp(&revision)) {
            _ if self.is_gone(revision) => Ok(None),
            Ok(at) => Ok(Some(self.tail[at].as_ref().clone())),
            Err(_) => self.archive.get(revision),
        }
    }

    fn scan(&self, from: Revision, to: Revision, visit: &mut dyn FnMut(Version) -> bool) -> Result<(), ArchiveError> {
        let mut wanted = true;
        let mut last = None;
        let archived_to = self.tail.first().map_or(to, |first| first.revision.min(to));
        self.archive.scan(from, archived_to, &mut |version| {
            last = Some(version.revision);
            wanted = self.is_gone(version.revision) || visit(version);
            wanted
        })?;
        let tail = self.tail.iter().filter(|version| {
            last.is_none_or(|last| version.revision > last)
                && (from..=to).contains(&version.revision)
                && !self.is_gone(version.revision)
        });
        for version in tail {
            wanted = wanted && visit(version.as_ref().clone());
            if !wanted {
                break;
            }
        }
        Ok(())
    }
}
