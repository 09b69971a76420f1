//! Defragmentation: asked for by a client, carried out by the archivist, who is the store file's one writer.
//!
//! The file is written anew beside the old one and takes its place, so that a crash leaves the one or the other. Reads go
//! on; writes too, for as long as memory has room for what the archivist does not take meanwhile.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::oneshot;

use super::bell::Call;
use super::node::Node;
use super::redb_disk::Space;
use super::store_file::StoreFile;
use crate::Error;
use crate::machine::Machine;
use crate::store::ArchiveError;

type Answer = oneshot::Sender<Result<(), ArchiveError>>;

/// Those who wait for it.
#[derive(Debug, Default)]
pub(super) struct Defragmentation(Mutex<Vec<Answer>>);

impl Defragmentation {
    /// Whether one is wanted or under way.
    pub(super) fn is_wanted(&self) -> bool {
        !self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// The archivist's part: one rewriting for all who wait.
    pub(super) fn carry_out(&self, node: &Node, file: &mut StoreFile) {
        if !self.is_wanted() {
            return;
        }
        let (before, begun) = (node.space.bytes(), Instant::now());
        let outcome = file.rewrite().and_then(|()| {
            let snapshot = Arc::new(file.snapshot()?);
            node.machine_mut().store_mut().replace_archive(snapshot);
            Ok(())
        });
        node.metrics.defragmentation.observe(begun.elapsed().as_secs_f64());
        match &outcome {
            Ok(()) => tracing::info!(
                before,
                after = node.space.bytes(),
                seconds = begun.elapsed().as_secs_f64(),
                "finished defragmenting"
            ),
            Err(error) => tracing::warn!(%error, "could not defragment; the store file stays as it was"),
        }
        for answer in self.0.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _caller_gone = answer.send(outcome.clone());
        }
    }
}

/// Before anybody is served, where that frees at least so many bytes (`--bootstrap-defrag-threshold-megabytes`).
pub(super) fn at_start(
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

/// The client's part.
pub(super) async fn defragment(node: &Node) -> Result<(), Error> {
    let (answer, outcome) = oneshot::channel();
    node.defragmentation
        .0
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(answer);
    node.bell().ring(Call::Now);
    outcome
        .await
        .unwrap_or(Err(ArchiveError("the server ended".to_owned())))?;
    Ok(())
}
