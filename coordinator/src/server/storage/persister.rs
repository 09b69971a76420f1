//! The persister, a background flusher: one thread that moves new versions from memory to the store file.
//!
//! It runs once a second, or when it is woken ([`super::wake_up`]), and moves bounded steps, so that memory is free again
//! after each of them.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use raft::consensus::{Position, Snapshot};

use crate::members::Members;
use crate::server::replica::node::Node;
use crate::server::storage::jobs::{INCOMING, Job};
use crate::server::storage::recovery;
use crate::server::storage::store_file::{Numbers, StoreFile};
use crate::server::storage::wake_up::WakeReason;
use crate::store::{ArchiveError, Revision, Version};

/// How often it looks. A restart replays the log of about this time.
const INTERVAL: Duration = Duration::from_secs(1);

/// What goes into the file in one transaction, in bytes and in versions.
const STEP_BYTES: usize = 8 << 20;
const STEP_VERSIONS: usize = 20_000;

/// Starts with what recovery found: `archived` is the last entry that the file holds.
pub(in crate::server) fn start(
    node: Arc<Node>,
    mut file: StoreFile,
    mut archived: u64,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("persister".to_owned()).spawn(move || {
        // What the file holds: a compaction that a kill interrupted before is in the log still, and carried out again.
        let mut compacted = match file.present_numbers() {
            Ok(numbers) => numbers.compacted,
            Err(error) => return node.fail(error.to_string()),
        };
        loop {
            let call = node.persister_wake_up().wait(INTERVAL);
            match archive(&node, &mut file, archived, &mut compacted) {
                Ok(applied) => archived = applied,
                Err(error) => {
                    // The log has it all, so nothing is lost when the end is near anyway.
                    if call != WakeReason::Shutdown {
                        node.fail(error.to_string());
                    }
                    return;
                }
            }
            defragment(&node, &mut file);
            archived = carry_out_jobs(&node, &mut file).unwrap_or(archived);
            if call == WakeReason::Shutdown {
                return;
            }
        }
    })
}

/// Cuts versions into steps of about [`STEP_BYTES`], so that memory is free again, and those who wait for it go on, long
/// before all are written. With them, how many are left for the last step, which says up to which entry the file goes.
fn steps(versions: &[Arc<Version>]) -> (Vec<&[Arc<Version>]>, usize) {
    let (mut steps, mut from, mut bytes) = (Vec::new(), 0, 0);
    for (at, version) in versions.iter().enumerate() {
        bytes += version.bytes();
        // A revision is never cut.
        let ends_revision = versions
            .get(at + 1)
            .is_some_and(|next| next.revision.main != version.revision.main);
        if ends_revision && (bytes >= STEP_BYTES || at + 1 - from >= STEP_VERSIONS) {
            steps.push(&versions[from..=at]);
            (from, bytes) = (at + 1, 0);
        }
    }
    (steps, versions.len() - from)
}

/// Moves everything up to the last entry applied; returns its index. `compacted` is what the file is compacted to.
fn archive(node: &Node, file: &mut StoreFile, archived: u64, compacted: &mut i64) -> Result<u64, ArchiveError> {
    {
        let machine = node.machine();
        if machine.applied() == archived && !machine.store().has_removed() {
            return Ok(archived);
        }
    }
    let (mut hand_over, membership) = {
        let mut machine = node.machine_mut();
        (machine.hand_over(), machine.members().membership())
    };
    let begun = Instant::now();
    let (steps, rest) = steps(&hand_over.store.versions);
    for step in steps {
        file.take_versions(step)?;
        if let Some(last) = step.last() {
            release(node, file, last.revision)?;
        }
    }
    hand_over.store.versions.drain(..hand_over.store.versions.len() - rest);
    file.take_over(&hand_over)?;
    if !hand_over.store.removed.is_empty() {
        release(node, file, hand_over.store.up_to)?;
    }
    for removed in hand_over.store.removed.chunks(STEP_VERSIONS) {
        file.remove_versions(removed)?;
    }
    node.metrics.backend_commit.observe(begun.elapsed().as_secs_f64());
    // Or a compaction whose removal a crash cut short.
    if hand_over.store.compacted > *compacted || !hand_over.store.removed.is_empty() {
        *compacted = hand_over.store.compacted;
        let (removed, took) = (hand_over.store.removed.len(), begun.elapsed());
        // etcd's words, which tools wait for.
        tracing::info!(
            compact_revision = *compacted,
            removed,
            ?took,
            "finished scheduled compaction"
        );
    }
    let snapshot = Arc::new(file.snapshot()?);
    node.metrics.set_size_in_use(file.stored_bytes());
    let tail_bytes = {
        let mut machine = node.machine_mut();
        machine.store_mut().archived(hand_over.store.up_to, snapshot);
        machine.store().tail_bytes()
    };
    node.set_tail_bytes(tail_bytes);
    node.set_archived(Snapshot {
        last: Position {
            term: hand_over.term,
            index: hand_over.applied,
        },
        membership,
    });
    Ok(hand_over.applied)
}

/// Frees the memory of what the file holds up to `up_to`, in the middle of a hand-over.
fn release(node: &Node, file: &StoreFile, up_to: Revision) -> Result<(), ArchiveError> {
    let snapshot = Arc::new(file.snapshot()?);
    let tail_bytes = {
        let mut machine = node.machine_mut();
        machine.store_mut().archived_in_part(up_to, snapshot);
        machine.store().tail_bytes()
    };
    node.set_tail_bytes(tail_bytes);
    Ok(())
}

/// One rewriting of the file for all who wait for it.
fn defragment(node: &Node, file: &mut StoreFile) {
    if !node.defragmentation.is_wanted() {
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
        Err(error) => tracing::warn!(%error, "failed to defragment; the store file is unchanged"),
    }
    node.defragmentation.finish(&outcome);
}

/// The jobs that wait. The entry that the file holds is another one afterwards, if one is returned.
fn carry_out_jobs(node: &Node, file: &mut StoreFile) -> Option<u64> {
    let mut archived = None;
    for job in node.jobs.take() {
        match job {
            Job::Copy { to, done } => {
                let _gone = done.send(copy(file, &to));
            }
            Job::Adopt { done } => {
                let outcome = adopt(node, file);
                if let Ok(applied) = &outcome {
                    archived = Some(*applied);
                }
                let _gone = done.send(outcome.map(|_| ()));
            }
        }
    }
    archived
}

fn copy(file: &StoreFile, to: &Path) -> io::Result<(Numbers, Members)> {
    file.copy_to(to).map_err(io::Error::other)?;
    let numbers = file.present_numbers().map_err(io::Error::other)?;
    let members = file.members().map_err(io::Error::other)?;
    Ok((numbers, members))
}

fn adopt(node: &Node, file: &mut StoreFile) -> io::Result<u64> {
    let incoming = node.directory.join(INCOMING);
    file.adopt(&incoming, node.identity).map_err(io::Error::other)?;
    let machine = recovery::machine_of(file).map_err(io::Error::other)?;
    let (applied, revision) = (machine.applied(), machine.store().revision());
    node.replace_machine(machine);
    tracing::info!(applied, revision, "applied snapshot");
    Ok(applied)
}

#[cfg(test)]
mod tests {
    use coordinator_wire::mvccpb::KeyValue;

    use super::*;

    fn version(main: i64, sub: u32, bytes: usize) -> Arc<Version> {
        Arc::new(Version {
            revision: Revision::new(main, sub),
            deleted: false,
            kv: KeyValue {
                value: vec![0; bytes].into(),
                ..Default::default()
            },
        })
    }

    #[test]
    fn steps_are_bounded_and_cut_no_revision() {
        let half = STEP_BYTES / 2;
        assert!(steps(&[]).0.is_empty());
        let few = [version(2, 0, 1), version(3, 0, 1)];
        assert_eq!((steps(&few).0.len(), steps(&few).1), (0, 2));
        let many = [
            version(2, 0, half),
            version(3, 0, half),
            version(3, 1, half),
            version(4, 0, half),
            version(5, 0, 1),
        ];
        let (parts, rest) = steps(&many);
        let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
        assert_eq!((lengths, rest), (vec![3], 2));
        let small: Vec<_> = (0..2 * STEP_VERSIONS as i64 + 1)
            .map(|main| version(main, 0, 0))
            .collect();
        assert_eq!((steps(&small).0.len(), steps(&small).1), (2, 1));
    }
}
