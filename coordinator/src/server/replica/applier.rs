//! The applier: one thread that applies committed entries to the state machine, in the order of the log.
//!
//! Whatever is waiting is applied under one lock; then the watchers are fed, then the clients answered. So a client that
//! has its answer finds its change in every read, and the log syncs the next group meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use coordinator_wire::coordinatorpb::member_change::Change;
use coordinator_wire::coordinatorpb::{Entry, MemberChange};
use prost::Message;
use raft::consensus::{Payload, RoleName, SoftState};
use raft::node::Committed;
use tokio::sync::oneshot;

use crate::Error;
use crate::auth::Caller;
use crate::machine::{Applied, Machine, Outcome, Request};
use crate::server::replica::hashing;
use crate::server::replica::node::{Node, TAIL_BYTES_MAX};
use crate::server::replica::snapshot_transfer;
use crate::server::replica::work::Work;
use crate::server::replica::work::{Answer, Reader, Waiting};
use crate::server::storage::wake_up::WakeReason;
use crate::store::ArchiveError;

/// Entries that are applied under one lock; readers wait for this many at most.
const BATCH_MAX: usize = 256;
/// At this size of what is new in memory the persister is called, in bytes.
const TAIL_BYTES_CALL: usize = TAIL_BYTES_MAX / 8;

/// An answer that waits for its batch.
enum Respond {
    Request(oneshot::Sender<Answer>, Result<Outcome, Error>),
    Change(oneshot::Sender<Result<u64, raft::node::ProposalError>>, u64),
}

pub(in crate::server) fn start(node: Arc<Node>, work: Receiver<Work>) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("applier".to_owned()).spawn(move || {
        let applier = Applier {
            node: &node,
            readers: BTreeMap::new(),
        };
        applier.run(&work);
    })
}

/// A fatal apply error: the state machine must not be used any more, and waiting requests fail.
struct Fatal;

struct Applier<'a> {
    node: &'a Node,
    /// Those who may read once some entry is applied.
    readers: BTreeMap<u64, Vec<Reader>>,
}

impl Applier<'_> {
    fn run(mut self, work: &Receiver<Work>) {
        let mut batch = Vec::new();
        let mut held = None;
        loop {
            let next = match held.take() {
                Some(next) => next,
                None => match work.recv() {
                    Ok(next) => next,
                    Err(_) => return,
                },
            };
            let outcome = match next {
                Work::Apply(entries) => {
                    batch.extend(entries);
                    // What has come meanwhile goes with it, as far as it is more of the same.
                    while batch.len() < BATCH_MAX && held.is_none() {
                        match work.try_recv() {
                            Ok(Work::Apply(entries)) => batch.extend(entries),
                            Ok(other) => held = Some(other),
                            Err(_) => break,
                        }
                    }
                    self.apply_all(&mut batch)
                }
                Work::Read { readers, from } => {
                    self.readers.entry(from).or_default().extend(readers);
                    Ok(())
                }
                Work::SoftState(soft_state) => {
                    follow_leader(self.node, soft_state);
                    Ok(())
                }
                Work::Install { snapshot, done } => {
                    let installed = snapshot_transfer::install(self.node, &snapshot);
                    let _gone = done.send(installed);
                    Ok(())
                }
                Work::Stop => return,
            };
            if outcome.is_err() {
                return;
            }
            self.release_readers();
        }
    }

    fn apply_all(&mut self, batch: &mut Vec<Committed<Waiting>>) -> Result<(), Fatal> {
        while !batch.is_empty() {
            let rest = batch.split_off(batch.len().min(BATCH_MAX));
            let portion = std::mem::replace(batch, rest);
            if let Err(error) = apply(self.node, portion) {
                self.node.fail(error.to_string());
                return Err(Fatal);
            }
        }
        Ok(())
    }

    fn release_readers(&mut self) {
        if self.readers.is_empty() {
            return;
        }
        let later = self.readers.split_off(&(self.node.machine().applied() + 1));
        for reader in std::mem::replace(&mut self.readers, later).into_values().flatten() {
            let _gone = reader.send(Ok(()));
        }
    }
}

fn apply(node: &Node, batch: Vec<Committed<Waiting>>) -> Result<(), ArchiveError> {
    let mut responses: Vec<Respond> = Vec::with_capacity(batch.len());
    let mut revisions = Vec::new();
    let mut members_changed = false;
    let (tail_bytes, applied) = {
        let mut machine = node.machine_mut();
        for entry in batch {
            let (index, term) = (entry.index, entry.term);
            machine.enter_term(term);
            match entry.payload {
                Payload::Blank => machine.pass(index),
                Payload::Membership(change) => {
                    members_changed = true;
                    change_members(node, &mut machine, index, &change.context);
                    if let Some(Waiting::Change(respond)) = entry.waiting {
                        responses.push(Respond::Change(respond, index));
                    }
                }
                Payload::Command(command) => {
                    let asked = match entry.waiting {
                        Some(Waiting::Request {
                            caller,
                            request,
                            only_in_term,
                            respond,
                        }) => (caller, request, only_in_term, Some(respond)),
                        _ => decode(index, command)?,
                    };
                    let (caller, request, only_in_term, respond) = asked;
                    if only_in_term != 0 && only_in_term != term {
                        machine.pass(index);
                        responses.extend(respond.map(|respond| Respond::Request(respond, Err(Error::NotLeader))));
                        continue;
                    }
                    let unhashed = hashing::before(node, &machine, &request);
                    let begun = Instant::now();
                    let Applied { outcome, changes } = machine.apply(index, &caller, &request)?;
                    warn_if_slow(node, index, begun.elapsed());
                    if let Some(unhashed) = unhashed {
                        hashing::after(node, unhashed, &outcome);
                    }
                    follow_lease(node, &outcome, &request);
                    if index > node.replay_to {
                        node.gate.follow(&request, &outcome, node.now_ms());
                    }
                    node.metrics.applied(&changes);
                    revisions.extend((!changes.is_empty()).then_some(changes));
                    responses.extend(respond.map(|respond| Respond::Request(respond, outcome)));
                }
            }
        }
        node.gate.applied(&machine);
        (machine.store().tail_bytes(), machine.applied())
    };
    if members_changed {
        node.connect_members();
    }
    node.set_tail_bytes(tail_bytes);
    if tail_bytes > TAIL_BYTES_CALL {
        node.persister_wake_up().wake(WakeReason::Requested);
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
    node.note_applied(applied);
    for response in responses {
        match response {
            Respond::Request(respond, outcome) => {
                let _caller_gone = respond.send(Ok(outcome));
            }
            Respond::Change(respond, index) => {
                let _caller_gone = respond.send(Ok(index));
            }
        }
    }
    Ok(())
}

/// In etcd's words. Replayed entries are not logged.
fn warn_if_slow(node: &Node, index: u64, took: Duration) {
    let expected = node.limits.slow_apply;
    if took > expected && index > node.replay_to {
        node.metrics.slow_applies.inc();
        tracing::warn!(index, ?took, "expected-duration" = ?expected, "apply request took too long");
    }
}

type Asked = (Caller, Request, u64, Option<oneshot::Sender<Answer>>);

/// A request of another member, or of the time before this start.
fn decode(index: u64, command: bytes::Bytes) -> Result<Asked, ArchiveError> {
    let unknown = || {
        ArchiveError(format!(
            "entry {index} of the log cannot be read by this program, use a newer one"
        ))
    };
    let entry = Entry::decode(command).map_err(|_| unknown())?;
    let request = entry.request.ok_or_else(unknown)?;
    Ok((entry.caller.unwrap_or_default(), request, entry.only_in_term, None))
}

/// A change of members that was committed.
fn change_members(node: &Node, machine: &mut Machine, index: u64, context: &[u8]) {
    let change = MemberChange::decode(context).unwrap_or_default();
    let before: Vec<u64> = machine.members().iter().map(|member| member.id).collect();
    machine.change_members(index, &change);
    match change.change {
        Some(Change::Add(member)) => {
            let (id, learner) = (format!("{:x}", member.id), member.is_learner);
            tracing::info!(%id, learner, peer_urls = ?member.peer_ur_ls, "added member");
        }
        Some(Change::Promote(id)) => tracing::info!(id = format!("{id:x}"), "promoted member"),
        Some(Change::Remove(_) | Change::Only(_)) => {
            let gone = before.into_iter().filter(|id| machine.members().get(*id).is_none());
            for id in gone {
                tracing::info!(id = format!("{id:x}"), "removed member");
                if id == node.identity.member {
                    node.fail_as_removed();
                }
            }
        }
        Some(Change::Update(member)) => {
            tracing::info!(id = format!("{:x}", member.id), peer_urls = ?member.peer_ur_ls, "updated member");
        }
        None => {}
    }
}

/// Keeps the deadlines where the leader is.
fn follow_leader(node: &Node, soft_state: SoftState) {
    let leads = soft_state.role == RoleName::Leader;
    {
        let machine = node.machine();
        let mut deadlines = node.deadlines();
        if leads && !deadlines.is_leading() {
            let leases = machine.leases().iter().map(|(id, lease)| (id, lease.remaining_seconds));
            let extra_ms = u64::try_from(node.limits.election.as_millis()).unwrap_or(0);
            deadlines.promote(leases, extra_ms, node.now_ms());
        } else if !leads && deadlines.is_leading() {
            deadlines.demote();
        }
    }
    let leader = soft_state.leader.map(|leader| format!("{leader:x}"));
    tracing::info!(term = soft_state.term, role = ?soft_state.role, leader, "raft role or leader changed");
}

/// Keeps the deadlines in step with the leases that exist.
fn follow_lease(node: &Node, outcome: &Result<Outcome, Error>, request: &Request) {
    match (outcome, request) {
        (Ok(Outcome::LeaseGrant(granted)), _) => node.deadlines().start(granted.id, granted.ttl, node.now_ms()),
        (Ok(Outcome::LeaseRevoke(_)), Request::LeaseRevoke(revoke)) => node.deadlines().remove(revoke.id),
        _ => {}
    }
}
