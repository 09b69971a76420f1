//! Entries and snapshots out, acknowledgements in, and what a quorum holds is committed.

use super::Leader;
use super::progress::{Progress, ProgressState};
use crate::consensus::effects::Fetch;
use crate::consensus::entry::{Entry, Index, MemberId, Position};
use crate::consensus::member::Member;
use crate::consensus::message::{Body, Session};
use crate::consensus::plant::{Plant, is_planted};
use crate::consensus::replica::Replica;

impl Member<Leader> {
    /// Sends every other member what it may be sent.
    pub(super) fn replicate(&mut self) {
        let Self { replica, role } = self;
        for peer in &mut role.peers {
            send_all(replica, peer);
        }
    }

    pub(super) fn append_acknowledged(
        &mut self,
        from: MemberId,
        session: Session,
        match_index: Index,
        is_answer: bool,
    ) {
        let Self { replica, role } = self;
        let Some(peer) = role.peer(from).filter(|peer| peer.is_current(session)) else {
            return;
        };
        peer.hear(replica.now);
        // What is not in this log cannot have come from it.
        if match_index > replica.log.last_index() {
            return;
        }
        if peer.acknowledged(match_index, is_answer) {
            self.advance_commit();
            self.transferee_caught_up(from);
        }
    }

    pub(super) fn append_rejected(&mut self, from: MemberId, session: Session, previous: Index, hint: Position) {
        let Self { replica, role } = self;
        let Some(peer) = role.peer(from).filter(|peer| peer.is_current(session)) else {
            return;
        };
        peer.hear(replica.now);
        let possible = replica.log.last_possible(hint);
        peer.rejected(previous, possible.index);
    }

    /// Commits what a quorum holds, if it is of this term.
    pub(super) fn advance_commit(&mut self) {
        let Self { replica, role } = self;
        let id = replica.id();
        let match_index = |member| match member == id {
            true if is_planted(Plant::OwnUnsyncedCounted) => replica.log.last_index(),
            true => replica.writes.durable(),
            false => role.peer_index(member).map_or(0, |at| role.peers[at].match_index),
        };
        let mut held = replica.membership().reached_by_quorum(match_index);
        if let Some((change, before)) = replica.memberships.pending_voter(replica.commit) {
            held = held.max(before.reached_by_quorum(match_index).min(change));
        }
        if held <= replica.commit {
            return;
        }
        let is_own = replica.log.term_at(held) == Some(replica.term) || is_planted(Plant::OldTermCommitted);
        let before = replica.commit;
        if is_own && replica.commit_to(held) {
            let committed = (before + 1..=held).filter_map(|index| replica.log.cached(index));
            let bytes = committed.map(Entry::weight).sum();
            role.uncommitted_bytes = role.uncommitted_bytes.saturating_sub(bytes);
            self.membership_committed();
        }
    }

    /// The driver has read entries from its log that were not in memory.
    pub(super) fn fetched(&mut self, fetch: Fetch, entries: Vec<Entry>) {
        let Self { replica, role } = self;
        if fetch.term != replica.term {
            return;
        }
        let Some(peer) = role.peer(fetch.to).filter(|peer| peer.session == fetch.session) else {
            return;
        };
        peer.is_fetching = false;
        let is_wanted = peer.next == fetch.first && !peer.is_paused(replica.config.inflight_max);
        let numbered = entries.iter().zip(fetch.first..=fetch.last);
        let is_ours =
            |(entry, index): (&Entry, Index)| entry.index == index && replica.log.term_at(index) == Some(entry.term);
        let is_sound = !entries.is_empty() && entries.len() as u64 <= fetch.last - fetch.first + 1;
        if is_wanted && is_sound && numbered.clone().all(is_ours) {
            if let Some(previous) = replica.log.position_at(fetch.first - 1) {
                send(replica, peer, previous, entries);
            }
        } else if entries.is_empty() {
            // They cannot be had: the next heartbeat's answer tries again, and finds out if they were purged.
            peer.probe(fetch.first);
            peer.sent(0);
        }
    }

    pub(super) fn snapshot_sent(&mut self, to: MemberId, session: Session, delivered: bool) {
        let Some(peer) = self.role.peer(to).filter(|peer| peer.session == session) else {
            return;
        };
        if let ProgressState::Snapshot { index } = peer.state {
            // Delivered or not: the answer to a probe tells, and a rejection leads back to a snapshot. After a failure
            // the next heartbeat's answer starts it, not this very step.
            peer.probe(if delivered { index + 1 } else { 0 });
            if !delivered {
                peer.sent(0);
            }
        }
    }

    /// What was on its way may be lost.
    pub(super) fn unreachable(&mut self, peer: MemberId) {
        if let Some(peer) = self.role.peer(peer)
            && matches!(peer.state, ProgressState::Replicate { .. })
        {
            peer.probe(0);
        }
    }
}

/// Sends a member everything that it may be sent now: entries, or a snapshot, and news of the commit index.
fn send_all(replica: &mut Replica, peer: &mut Progress) {
    send_entries(replica, peer);
    let known = replica.commit.min(peer.next - 1);
    if peer.commit_told < known && matches!(peer.state, ProgressState::Replicate { .. }) {
        peer.commit_told = known;
        let (session, commit) = (peer.session, replica.commit);
        replica.send(peer.id, Body::Commit { session, commit });
    }
}

fn send_entries(replica: &mut Replica, peer: &mut Progress) {
    while !peer.is_paused(replica.config.inflight_max) {
        let previous = (peer.next > replica.log.purged().index)
            .then(|| replica.log.position_at(peer.next - 1))
            .flatten();
        let Some(previous) = previous else {
            return send_snapshot(replica, peer);
        };
        if peer.next > replica.log.last_index() {
            if matches!(peer.state, ProgressState::Probe { .. }) {
                send(replica, peer, previous, Vec::new());
            }
            return;
        }
        if peer.next < replica.log.first_cached() {
            return fetch(replica, peer);
        }
        let entries = replica.log.batch(peer.next, replica.config.append_bytes_max);
        send(replica, peer, previous, entries);
    }
}

fn send(replica: &mut Replica, peer: &mut Progress, previous: Position, entries: Vec<Entry>) {
    let last = previous.index + entries.len() as u64;
    let commit = replica.commit;
    let session = peer.session;
    peer.commit_told = commit.min(last).max(peer.commit_told);
    peer.sent(last);
    replica.send(
        peer.id,
        Body::Append {
            session,
            previous,
            commit,
            entries,
        },
    );
}

/// The next entries are not in memory: has them read.
fn fetch(replica: &mut Replica, peer: &mut Progress) {
    peer.is_fetching = true;
    replica.effects.fetches.push(Fetch {
        to: peer.id,
        session: peer.session,
        term: replica.term,
        first: peer.next,
        last: replica.log.first_cached() - 1,
        bytes_max: replica.config.append_bytes_max,
    });
}

/// The next entries are not in the log any more: sends the snapshot, but not to a member that seems to be away.
fn send_snapshot(replica: &mut Replica, peer: &mut Progress) {
    if !peer.is_heard {
        return;
    }
    let snapshot = replica.snapshot.clone();
    peer.state = ProgressState::Snapshot {
        index: snapshot.last.index,
    };
    let session = peer.session;
    let snapshot = Box::new(snapshot);
    replica.send(peer.id, Body::Snapshot { session, snapshot });
}
