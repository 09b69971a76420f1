//! The archivist: one thread that moves what is new from memory to the store file.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use raft::consensus::{Position, Snapshot};

use super::bell::Call;
use super::catch_up::membership_of;
use super::node::Node;
use super::store_file::StoreFile;
use crate::store::ArchiveError;

/// How often it looks. A restart replays the log of about this time.
const INTERVAL: Duration = Duration::from_secs(1);

/// Starts with what recovery found: `archived` is the last entry that the file holds.
pub(super) fn start(node: Arc<Node>, mut file: StoreFile, mut archived: u64) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("archivist".to_owned()).spawn(move || {
        // What the file holds: a compaction that a kill interrupted is in the log still, and finished here.
        let mut compacted = match file.present_numbers() {
            Ok(numbers) => numbers.compacted,
            Err(error) => return node.fail(error.to_string()),
        };
        loop {
            let call = node.bell().wait(INTERVAL);
            match archive(&node, &mut file, archived, &mut compacted) {
                Ok(applied) => archived = applied,
                Err(error) => {
                    // The log has it all, so nothing is lost when the end is near anyway.
                    if call != Call::Last {
                        node.fail(error.to_string());
                    }
                    return;
                }
            }
            node.defragmentation.carry_out(&node, &mut file);
            archived = node.jobs.carry_out(&node, &mut file).unwrap_or(archived);
            if call == Call::Last {
                return;
            }
        }
    })
}

/// Moves everything up to the last entry applied; returns its index. `compacted` is what the file is compacted to.
fn archive(node: &Node, file: &mut StoreFile, archived: u64, compacted: &mut i64) -> Result<u64, ArchiveError> {
    if node.machine().applied() == archived {
        return Ok(archived);
    }
    let (hand_over, membership) = {
        let mut machine = node.machine_mut();
        (machine.hand_over(), membership_of(machine.members()))
    };
    let begun = Instant::now();
    file.take_over(&hand_over)?;
    node.metrics.backend_commit.observe(begun.elapsed().as_secs_f64());
    if hand_over.store.compacted > *compacted {
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
