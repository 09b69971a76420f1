//! The applier: one thread that gives durable entries to the machine.
//!
//! Whatever is waiting is applied under one lock; then the watchers are fed, then the clients answered. So a client that
//! has its answer finds its change in every read, and the log syncs the next group meanwhile.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use super::bell::Call;
use super::node::{Durable, Node, TAIL_BYTES_MAX, Work};
use crate::Error;
use crate::machine::{Applied, Outcome, Request};
use crate::store::ArchiveError;

/// Entries that are applied under one lock; readers wait for so many at most.
const BATCH_MAX: usize = 256;
/// At this size of what is new in memory the archivist is called, in bytes.
const TAIL_BYTES_CALL: usize = TAIL_BYTES_MAX / 8;

/// An answer that waits for its batch.
type Waiting = (oneshot::Sender<Result<Outcome, Error>>, Result<Outcome, Error>);

pub(super) fn start(node: Arc<Node>, work: Receiver<Work>) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name("applier".to_owned())
        .spawn(move || run(&node, &work))
}

fn run(node: &Node, work: &Receiver<Work>) {
    let mut stopping = false;
    while !stopping {
        let Ok(first) = work.recv() else { return };
        let mut batch = Vec::new();
        let mut next = Some(first);
        while let Some(item) = next.take() {
            match item {
                Work::Apply(entry) => batch.push(entry),
                Work::Stop => stopping = true,
            }
            if batch.len() < BATCH_MAX {
                next = work.try_recv().ok();
            }
        }
        if !batch.is_empty() && apply(node, batch).is_err() {
            // Nothing is answered: those who wait are told that the server stopped.
            return;
        }
    }
}

fn apply(node: &Node, batch: Vec<Durable>) -> Result<(), ArchiveError> {
    let mut waiting: Vec<Waiting> = Vec::with_capacity(batch.len());
    let mut revisions = Vec::new();
    let tail_bytes = {
        let mut machine = node.machine_mut();
        for Durable {
            index,
            caller,
            request,
            respond,
        } in batch
        {
            match machine.apply(index, &caller, &request) {
                Ok(Applied { outcome, changes }) => {
                    follow_lease(node, &outcome, &request);
                    node.gate.follow(&request, &outcome, node.now_ms());
                    node.metrics.applied(&changes);
                    revisions.extend((!changes.is_empty()).then_some(changes));
                    waiting.push((respond, outcome));
                }
                Err(error) => {
                    node.fail(error.to_string());
                    return Err(error);
                }
            }
        }
        node.gate.applied(&machine);
        machine.store().tail_bytes()
    };
    node.set_tail_bytes(tail_bytes);
    if tail_bytes > TAIL_BYTES_CALL {
        node.bell().ring(Call::Now);
    }
    if !revisions.is_empty() {
        let mut feed = node.feed();
        for changes in revisions {
            feed.push(changes);
        }
        let last = feed.last();
        drop(feed);
        node.publish(last);
    }
    for (respond, outcome) in waiting {
        let _caller_gone = respond.send(outcome);
    }
    Ok(())
}

/// Keeps the deadlines in step with the leases that exist.
fn follow_lease(node: &Node, outcome: &Result<Outcome, Error>, request: &Request) {
    match (outcome, request) {
        (Ok(Outcome::LeaseGrant(granted)), _) => node.deadlines().start(granted.id, granted.ttl, node.now_ms()),
        (Ok(Outcome::LeaseRevoke(_)), Request::LeaseRevoke(revoke)) => node.deadlines().remove(revoke.id),
        _ => {}
    }
}
