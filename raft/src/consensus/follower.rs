//! Following: taking over a leader's log, voting, and noticing when the leader is gone.

use super::effects::Contradiction;
use super::entry::{Entry, Index, MemberId, Millis, NUMBER_MAX, Position, Term};
use super::event::{Event, Refusal};
use super::forwarding::Forwarding;
use super::member::{Member, State, refuse};
use super::message::{Body, Message, Session};
use super::plant::{Plant, is_planted};
use super::replica::Replica;

/// A follower, and everyone at the start.
#[derive(Debug)]
pub(super) struct Follower {
    /// The leader of this term, once it was heard from.
    pub leader: Option<MemberId>,
    /// When it was heard from last.
    last_contact: Millis,
    /// When to campaign, unless it is heard from.
    pub deadline: Millis,
    /// The newest session that the leader spoke in.
    session: Session,
    /// Up to where the log was compared with the leader's in this term. Only this far may it be acknowledged.
    match_index: Index,
    /// What was acknowledged last.
    acknowledged: Index,
    /// Requests that the leader has to answer.
    forwarding: Forwarding,
}

impl Follower {
    pub fn new(replica: &mut Replica, leader: Option<MemberId>) -> Self {
        Self {
            leader,
            last_contact: replica.now,
            deadline: replica.election_deadline(),
            session: 0,
            // What is committed is in every later leader's log (Leader Completeness).
            match_index: replica.commit,
            acknowledged: 0,
            forwarding: Forwarding::default(),
        }
    }

    pub fn next_deadline(&self) -> Millis {
        self.deadline.min(self.forwarding.deadline())
    }
}

impl Member<Follower> {
    /// Whether the leader was heard from so recently that it cannot have been deposed by an honest election.
    pub fn hears_leader(&self) -> bool {
        let config = &self.replica.config;
        config.check_quorum
            && self.role.leader.is_some()
            && self.replica.now < self.role.last_contact.saturating_add(config.election_ms)
    }

    pub fn into_newer_term(mut self, term: Term, leader: Option<MemberId>) -> Member<Follower> {
        self.role.forwarding.fail(&mut self.replica);
        self.follow_newer(term, leader)
    }

    pub fn tick(mut self) -> State {
        if self.replica.now >= self.role.deadline {
            if self.replica.may_campaign() {
                return self.campaign(false);
            }
            // A learner, or one that is no member (yet): it can only wait, but should not name a leader that is gone.
            self.role.leader = None;
            self.role.deadline = self.replica.election_deadline();
            self.role.forwarding.fail(&mut self.replica);
        }
        self.role.forwarding.tick(&mut self.replica, self.role.leader);
        State::Follower(self)
    }

    /// Leaves for an election; at the leader's own wish without asking first.
    pub fn campaign(mut self, transfer: bool) -> State {
        if !self.replica.may_campaign() {
            return State::Follower(self);
        }
        self.role.forwarding.fail(&mut self.replica);
        if self.replica.config.pre_vote && !transfer {
            self.into_pre_candidate()
        } else {
            self.into_candidate(transfer)
        }
    }

    /// A write became durable: acknowledge what it lets us.
    pub fn persisted(mut self) -> State {
        if self.acknowledgeable() > self.role.acknowledged {
            self.acknowledge();
        }
        State::Follower(self)
    }

    /// A request of the driver: the leader's business.
    pub fn request(&mut self, event: Event) {
        let Some(leader) = self.role.leader else {
            return refuse(&mut self.replica, event, Refusal::NoLeader);
        };
        match event {
            Event::Propose(proposals) if self.replica.config.forward => {
                self.role.forwarding.propose(&mut self.replica, leader, proposals);
            }
            Event::ReadIndex(tickets) => self.role.forwarding.read(&mut self.replica, leader, tickets),
            event => refuse(&mut self.replica, event, Refusal::NotLeader { leader }),
        }
    }

    pub fn receive(mut self, message: Message) -> State {
        let Message { from, body, term, .. } = message;
        if body.is_from_leader() && !(self.hear(from) && self.enter_session(&body)) {
            return State::Follower(self);
        }
        match body {
            Body::Append {
                previous,
                commit,
                entries,
                ..
            } => self.take(from, previous, commit, entries),
            Body::Commit { commit, .. } => {
                self.replica.commit_to(commit.min(self.role.match_index));
            }
            Body::Heartbeat { session, commit, round } => {
                let (match_index, received) = (self.acknowledgeable(), self.role.match_index);
                self.replica.commit_to(commit.min(received));
                self.replica.send(
                    from,
                    Body::HeartbeatAck {
                        session,
                        round,
                        match_index,
                        received,
                    },
                );
            }
            Body::Snapshot { snapshot, .. } => self.take_snapshot(*snapshot),
            Body::TimeoutNow => return self.campaign(true),
            // The candidate is a term behind; the refusal tells it.
            Body::PreVote { .. } => self.replica.send(from, Body::PreVoteReply { granted: false }),
            Body::Vote { last, .. } => self.vote(from, last),
            Body::ReadIndexReply { context, outcome } => {
                self.role
                    .forwarding
                    .read_answered(&mut self.replica, from, context, outcome);
            }
            Body::ForwardReply { batch, outcome } => {
                self.role
                    .forwarding
                    .proposals_answered(&mut self.replica, term, batch, outcome);
            }
            _ => {}
        }
        State::Follower(self)
    }

    /// Notes that the leader is there. `false` if this is not the leader of the term, which an honest peer cannot cause.
    fn hear(&mut self, from: MemberId) -> bool {
        if self.role.leader.is_some_and(|leader| leader != from) {
            return false;
        }
        self.role.leader = Some(from);
        self.role.last_contact = self.replica.now;
        self.role.deadline = self.replica.election_deadline();
        true
    }

    /// `false` if the message is of a session that is over.
    fn enter_session(&mut self, body: &Body) -> bool {
        match body.session() {
            Some(session) if session < self.role.session => false,
            Some(session) => {
                self.role.session = session;
                true
            }
            None => true,
        }
    }

    fn vote(&mut self, from: MemberId, last: Position) {
        if is_planted(Plant::VotesTwice) {
            self.replica.vote = None;
        }
        let is_free = match self.replica.vote {
            Some(vote) => vote == from,
            None => self.role.leader.is_none() || is_planted(Plant::VotesTwice),
        };
        let granted = is_free && (self.replica.is_up_to_date(last) || is_planted(Plant::StaleLogElected));
        if granted {
            self.replica.vote_for(from);
            self.role.deadline = self.replica.election_deadline();
        }
        self.replica.send(from, Body::VoteReply { granted });
    }

    /// Takes over the leader's entries after `previous` (Raft paper, figure 2, AppendEntries).
    fn take(&mut self, from: MemberId, previous: Position, commit: Index, entries: Vec<Entry>) {
        let replica = &mut *self.replica;
        if !follow_each_other(previous, &entries, replica.term) {
            return;
        }
        let is_question = entries.is_empty();
        let last = previous.index + entries.len() as u64;
        // What was purged cannot be compared, and need not be: it is committed, so the leader has it too.
        let is_known = previous.index < replica.log.purged().index || replica.log.holds(previous);
        if !is_known && previous.index <= replica.commit {
            let index = previous.index;
            replica.effects.contradiction = Some(Contradiction { from, index });
            return;
        }
        if !is_known && !is_planted(Plant::PreviousUnchecked) {
            let hint = replica.log.last_possible(previous);
            let (session, previous) = (self.role.session, previous.index);
            return replica.send(
                from,
                Body::AppendReject {
                    session,
                    previous,
                    hint,
                },
            );
        }
        let entries = match fresh_entries(replica, entries) {
            Ok(entries) => entries,
            Err(index) => {
                replica.effects.contradiction = Some(Contradiction { from, index });
                return;
            }
        };
        if let Some(first) = entries.first().map(|entry| entry.index) {
            if first <= replica.log.last_index() {
                replica.truncate(first);
            }
            replica.append(entries);
        }
        self.role.match_index = self
            .role
            .match_index
            .max(last.max(replica.commit).min(replica.log.last_index()));
        replica.commit_to(commit.min(last));
        if is_question || replica.writes.durable() >= self.role.match_index {
            self.acknowledge();
        }
    }

    fn take_snapshot(&mut self, snapshot: super::Snapshot) {
        let replica = &mut *self.replica;
        let last = snapshot.last;
        let is_sound = last.term <= replica.term && last.index <= NUMBER_MAX && !snapshot.membership.is_empty();
        if !is_sound {
            return;
        }
        if last.index > replica.commit {
            if replica.log.holds(last) {
                // Everything in it is here already.
                replica.commit_to(last.index);
            } else {
                replica.install(snapshot);
            }
        }
        self.role.match_index = self.role.match_index.max(replica.commit);
        if replica.writes.durable() >= last.index {
            self.acknowledge();
        }
    }

    /// What may be acknowledged: what is the leader's, as of this term, and durable, as it is now.
    fn acknowledgeable(&self) -> Index {
        if is_planted(Plant::AcknowledgedUnsynced) {
            return self.role.match_index;
        }
        self.role.match_index.min(self.replica.writes.durable())
    }

    fn acknowledge(&mut self) {
        let Some(leader) = self.role.leader else {
            return;
        };
        let match_index = self.acknowledgeable();
        self.role.acknowledged = match_index;
        let session = self.role.session;
        self.replica.send(leader, Body::AppendAck { session, match_index });
    }
}

/// Whether the entries are numbered from `previous` on and their terms can be.
fn follow_each_other(previous: Position, entries: &[Entry], term: Term) -> bool {
    let mut last = previous;
    for entry in entries {
        if last.index.checked_add(1) != Some(entry.index) || entry.term < last.term || entry.term > term {
            return false;
        }
        last = entry.position();
    }
    true
}

/// The entries that are not in the log yet, from the first on that is missing or of another term. `Err` if that one is
/// committed here.
fn fresh_entries(replica: &Replica, mut entries: Vec<Entry>) -> Result<Vec<Entry>, Index> {
    let is_here = |entry: &&Entry| match replica.log.term_at(entry.index) {
        Some(term) => term == entry.term,
        None => entry.index <= replica.log.purged().index,
    };
    let known = entries.iter().take_while(is_here).count();
    match entries.get(known) {
        Some(entry) if entry.index <= replica.commit => Err(entry.index),
        _ => {
            entries.drain(..known);
            Ok(entries)
        }
    }
}
