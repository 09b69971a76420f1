//! Defragmentation: asked for by a client, carried out by the persister, who is the store file's one writer.
//!
//! The file is written again beside the old one and takes its place, so that a crash leaves the one or the other. Reads go
//! on; writes too, for as long as memory has room for what the persister does not take meanwhile.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::machine::Machine;
use crate::server::storage::redb_disk::Space;
use crate::server::storage::store_file::StoreFile;
use crate::store::ArchiveError;

type Answer = oneshot::Sender<Result<(), ArchiveError>>;

/// Those who wait for it.
#[derive(Debug, Default)]
pub(in crate::server) struct Defragmentation(Mutex<Vec<Answer>>);

impl Defragmentation {
    /// Whether one is wanted or under way.
    pub(in crate::server) fn is_wanted(&self) -> bool {
        !self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Waits for the next one.
    pub(in crate::server) fn want(&self) -> oneshot::Receiver<Result<(), ArchiveError>> {
        let (answer, outcome) = oneshot::channel();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(answer);
        outcome
    }

    /// Tells those who wait how it ended.
    pub(in crate::server) fn finish(&self, outcome: &Result<(), ArchiveError>) {
        for answer in self.0.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _caller_gone = answer.send(outcome.clone());
        }
    }
}

/// Before anybody is served, where that frees at least this many bytes (`--bootstrap-defrag-threshold-megabytes`).
pub(in crate::server) fn at_start(
    threshold_bytes: u64,
    space: &Space,
    machine: &mut Machine,
    file: &mut StoreFile,
) -> Result<(), ArchiveError> {
    let (before, in_use) = (space.bytes(), file.stored_bytes());
    if before.saturating_sub(in_use) < threshold_bytes {
        tracing::info!(bytes = before, in_use, threshold_bytes, "Skipping defragmentation");
        return Ok(());
    }
    file.rewrite()?;
    machine.store_mut().replace_archive(Arc::new(file.snapshot()?));
    tracing::info!(before, after = space.bytes(), "finished defragmenting");
    Ok(())
}
