//! Leading: appending, sending, counting what a quorum holds.
//!
//! | file | what |
//! |---|---|
//! | [`progress`] | how far one other member is, and what may be sent to it |
//! | [`replicate`] | entries and snapshots out, acknowledgements in, the commit index |
//! | [`reads`], [`confirm`] | linearizable reads; heartbeats, which confirm them and leadership |
//! | [`change`] | one change of members at a time |
//! | [`transfer`] | handing leadership over |

mod change;
mod confirm;
mod progress;
mod reads;
mod replicate;
mod transfer;

use super::entry::{Entry, Index, MemberId, Millis, Payload, Position, Term};
use super::event::{Event, Proposal, Proposed, Refusal};
use super::follower::Follower;
use super::member::{Member, State};
use super::message::{Body, Message, Session};
use super::plant::{Plant, is_planted};
use super::replica::Replica;
use progress::{Progress, ProgressState};
use reads::Reads;
use transfer::Transfer;

/// A leader.
///
/// - It appends to its log and never cuts it off (Leader Append-Only).
/// - It counts only entries of its own term for commitment; older ones are committed by those after them (Raft paper
///   §5.4.2).
#[derive(Debug)]
pub(super) struct Leader {
    /// All other members, and those that are being told that they are none any more; by id.
    peers: Vec<Progress>,
    /// The last replication session that was begun.
    sessions: Session,
    heartbeat_at: Millis,
    /// The last round of heartbeats.
    round: u64,
    reads: Reads,
    transfer: Option<Transfer>,
    /// What was appended in this term and is not committed.
    uncommitted_bytes: usize,
}

/// How far one other member is, as its leader knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerStatus {
    pub id: MemberId,
    /// Up to where it holds the leader's log, durably.
    pub match_index: Index,
    /// The next entry that it will be sent.
    pub next: Index,
    /// Whether it was heard from within the last `election_ms`.
    pub is_active: bool,
    /// Whether it waits for a snapshot.
    pub needs_snapshot: bool,
}

impl Leader {
    /// Begins to lead: with an entry of its own term, that commits those of older ones (Raft paper §8).
    pub fn begin(replica: Box<Replica>) -> Member<Self> {
        let role = Self {
            peers: Vec::new(),
            sessions: 0,
            heartbeat_at: replica.now + replica.config.heartbeat_ms,
            round: 0,
            reads: Reads::default(),
            transfer: None,
            uncommitted_bytes: 0,
        };
        let role = Box::new(role);
        let mut leader = Member { replica, role };
        leader.meet_members();
        if !is_planted(Plant::NoBlankEntry) {
            leader.append_all(std::iter::once(Payload::Blank));
        }
        leader.heartbeat();
        leader.replicate();
        leader
    }

    pub fn peers(&self, now: Millis, election_ms: Millis) -> Vec<PeerStatus> {
        let status = |peer: &Progress| PeerStatus {
            id: peer.id,
            match_index: peer.match_index,
            next: peer.next,
            is_active: peer.is_heard && now < peer.last_contact.saturating_add(election_ms),
            needs_snapshot: matches!(peer.state, ProgressState::Snapshot { .. }),
        };
        self.peers.iter().map(status).collect()
    }

    pub fn match_index(&self, id: MemberId) -> Option<Index> {
        self.peer_index(id).map(|at| self.peers[at].match_index)
    }

    pub fn next_deadline(&self) -> Millis {
        let transfer = self.transfer.as_ref().map_or(Millis::MAX, |transfer| transfer.deadline);
        self.heartbeat_at.min(transfer)
    }

    fn peer(&mut self, id: MemberId) -> Option<&mut Progress> {
        let at = self.peer_index(id)?;
        Some(&mut self.peers[at])
    }

    fn peer_index(&self, id: MemberId) -> Option<usize> {
        self.peers.binary_search_by_key(&id, |peer| peer.id).ok()
    }
}

impl Member<Leader> {
    pub fn tick(mut self) -> State {
        self.expire_transfer();
        let now = self.replica.now;
        if now >= self.role.heartbeat_at {
            if self.has_lost_quorum() {
                return State::Follower(self.into_follower(None));
            }
            self.role.peers.retain(|peer| peer.departs_at.is_none_or(|at| now < at));
            self.role.heartbeat_at = now + self.replica.config.heartbeat_ms;
            for peer in &mut self.role.peers {
                peer.check(self.role.round + 1);
            }
            self.heartbeat();
            self.replicate();
        }
        State::Leader(self)
    }

    pub fn into_follower(mut self, leader: Option<MemberId>) -> Member<Follower> {
        self.retire();
        self.follow(leader)
    }

    pub fn into_newer_term(mut self, term: Term, leader: Option<MemberId>) -> Member<Follower> {
        self.retire();
        self.follow_newer(term, leader)
    }

    /// The own disk has caught up: that counts as one acknowledgement.
    pub fn persisted(mut self) -> State {
        self.advance_commit();
        self.settle()
    }

    pub fn request(mut self, event: Event) -> State {
        match event {
            Event::Propose(proposals) => self.propose(proposals),
            Event::ReadIndex(tickets) => self.read(tickets),
            Event::ChangeMembers {
                ticket,
                change,
                context,
            } => self.change_members(ticket, change, context),
            Event::TransferLeadership { ticket, to } => self.begin_transfer(ticket, to),
            Event::Fetched { fetch, entries } => self.fetched(fetch, entries),
            Event::SnapshotSent { to, session, delivered } => self.snapshot_sent(to, session, delivered),
            Event::Unreachable { peer } => self.unreachable(peer),
            _ => {}
        }
        self.settle()
    }

    pub fn receive(mut self, message: Message) -> State {
        let Message { from, body, .. } = message;
        match body {
            Body::AppendAck { session, match_index } => self.append_acknowledged(from, session, match_index, true),
            Body::AppendReject {
                session,
                previous,
                hint,
            } => self.append_rejected(from, session, previous, hint),
            Body::HeartbeatAck {
                session,
                round,
                match_index,
                received,
            } => {
                self.heartbeat_acknowledged(from, session, round, received);
                self.append_acknowledged(from, session, match_index, false);
            }
            Body::ReadIndex { context } => self.read_for(from, context),
            Body::Forward { batch, commands } => self.propose_for(from, batch, commands),
            Body::Vote { .. } => self.replica.send(from, Body::VoteReply { granted: false }),
            Body::PreVote { .. } => self.replica.send(from, Body::PreVoteReply { granted: false }),
            _ => {}
        }
        self.settle()
    }

    fn propose(&mut self, proposals: Vec<Proposal>) {
        if let Some(why) = self.refusal() {
            for proposal in proposals {
                self.replica.refuse(proposal.ticket, why);
            }
            return;
        }
        let term = self.replica.term;
        let first = self.replica.log.last_index() + 1;
        self.replica.effects.proposed.reserve(proposals.len());
        for (proposal, index) in proposals.iter().zip(first..) {
            let (ticket, position) = (proposal.ticket, Position { term, index });
            self.replica.effects.proposed.push(Proposed { ticket, position });
        }
        let commands = proposals.into_iter().map(|proposal| Payload::Command(proposal.command));
        self.append_all(commands);
    }

    /// Appends what another member passes on, once.
    fn propose_for(&mut self, from: MemberId, batch: super::message::Batch, commands: Vec<bytes::Bytes>) {
        let refusal = self.refusal();
        let Some(peer) = self.role.peer(from) else {
            return;
        };
        if peer.batch.is_some_and(|last| batch <= last) && !is_planted(Plant::ForwardedTwice) {
            return;
        }
        peer.batch = Some(batch);
        let outcome = match refusal {
            Some(why) => Err(why),
            None => {
                let first = self.replica.log.last_index() + 1;
                self.append_all(commands.into_iter().map(Payload::Command));
                Ok(first)
            }
        };
        self.replica.send(from, Body::ForwardReply { batch, outcome });
    }

    /// Why nothing is appended just now, if so.
    fn refusal(&self) -> Option<Refusal> {
        if self.role.transfer.is_some() {
            Some(Refusal::Transferring)
        } else if self.role.uncommitted_bytes > self.replica.config.uncommitted_bytes_max {
            Some(Refusal::Overloaded)
        } else {
            None
        }
    }

    fn append_all(&mut self, payloads: impl Iterator<Item = Payload>) {
        let term = self.replica.term;
        let entries: Vec<Entry> = payloads
            .zip(self.replica.log.last_index() + 1..)
            .map(|(payload, index)| Entry { index, term, payload })
            .collect();
        self.role.uncommitted_bytes += entries.iter().map(Entry::weight).sum::<usize>();
        self.replica.append(entries);
    }

    /// Ends a step as a leader: sends what there is to send, and stops leading once it is no member.
    fn settle(mut self) -> State {
        self.replicate();
        self.confirm_reads();
        match self.is_removed() {
            true => State::Follower(self.bow_out()),
            false => State::Leader(self),
        }
    }

    /// What waits for this leader waits in vain.
    fn retire(&mut self) {
        let Self { replica, role } = self;
        for reader in role.reads.drain() {
            if let reads::Reader::Local(ticket) = reader {
                replica.refuse(ticket, Refusal::LeaderChanged);
            }
        }
    }
}
