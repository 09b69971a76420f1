//! A member in one role, and how it gets from one role to the next.

use super::candidate::{Candidate, PreCandidate};
use super::config::{Config, Restored};
use super::effects::{Effects, RoleName, SoftState};
use super::entry::{Entry, Index, MemberId, Millis, NUMBER_MAX, Position, Term};
use super::event::{Event, Refusal};
use super::follower::Follower;
use super::leader::{Leader, PeerStatus};
use super::membership::Membership;
use super::message::{Body, Message, Session};
use super::plant::{Plant, is_planted};
use super::replica::Replica;

/// One member of the cluster. See [the module](super) for how it is driven.
#[derive(Debug)]
pub struct Consensus {
    /// Absent only within a step.
    state: Option<State>,
}

/// A member in some role. Every step consumes it and gives back the one that comes of it.
#[derive(Debug)]
pub(super) enum State {
    Follower(Member<Follower>),
    PreCandidate(Member<PreCandidate>),
    Candidate(Member<Candidate>),
    Leader(Member<Leader>),
}

/// A member in the role `R`. Two pointers, since every step moves it through several hands.
#[derive(Debug)]
pub(super) struct Member<R> {
    pub replica: Box<Replica>,
    pub role: Box<R>,
}

/// What [`Consensus::status`] tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    pub soft_state: SoftState,
    pub vote: Option<MemberId>,
    pub last: Position,
    pub durable: Index,
    pub commit: Index,
    pub applied: Index,
    /// Of a leader: the others.
    pub peers: Vec<PeerStatus>,
}

const STEP_ENDS: &str = "a step ends before anything else begins";

impl Consensus {
    /// A member that starts. The only voter of a cluster campaigns at once.
    pub fn new(config: Config, restored: Restored, now: Millis) -> Self {
        let soft_state = SoftState {
            term: restored.hard_state.term,
            role: RoleName::Follower,
            leader: None,
        };
        let mut replica = Box::new(Replica::new(config, restored, now, soft_state));
        let mut role = Box::new(Follower::new(&mut replica, None));
        if replica.membership().voters() == [replica.id()] {
            role.deadline = now;
        }
        Self {
            state: Some(State::Follower(Member { replica, role })),
        }
    }

    /// Takes an event in, gives back what is to be done. Costs memory only where there is something to be done.
    pub fn step(&mut self, event: Event, now: Millis) -> Effects {
        let mut effects = Box::default();
        self.step_into(event, now, &mut effects);
        *effects
    }

    /// As [`Consensus::step`], into effects whose memory is used again; what was in them is lost. Boxed, since they change
    /// places with the core's own.
    pub fn step_into(&mut self, event: Event, now: Millis, effects: &mut Box<Effects>) {
        let mut state = self.state.take().expect(STEP_ENDS);
        effects.clear();
        let replica = state.replica_mut();
        // A clock that goes back is taken for one that stands still.
        replica.now = replica.now.max(now);
        let mut state = state.step(event);
        let soft_state = state.soft_state();
        let replica = state.replica_mut();
        replica.finish(soft_state);
        std::mem::swap(&mut replica.effects, effects);
        self.state = Some(state);
    }

    /// When the next [`Event::Tick`] is due. `Millis::MAX` for never.
    #[inline]
    pub fn deadline(&self) -> Millis {
        match self.state() {
            State::Follower(member) => member.role.next_deadline(),
            State::PreCandidate(member) => member.role.deadline,
            State::Candidate(member) => member.role.deadline,
            State::Leader(member) => member.role.next_deadline(),
        }
    }

    /// An entry that is still in memory: at least those that were written since the start and are not reported as applied.
    #[inline]
    pub fn entry(&self, index: Index) -> Option<&Entry> {
        self.replica().log.cached(index)
    }

    /// This member.
    pub fn id(&self) -> MemberId {
        self.replica().id()
    }

    /// Its term, its role, and whom it takes for the leader.
    #[inline]
    pub fn soft_state(&self) -> SoftState {
        self.state().soft_state()
    }

    /// The current term.
    pub fn term(&self) -> Term {
        self.replica().term
    }

    /// Up to where the log is known to be committed.
    #[inline]
    pub fn commit(&self) -> Index {
        self.replica().commit
    }

    /// The last entry of the log, durable or not.
    #[inline]
    pub fn last(&self) -> Position {
        self.replica().log.last()
    }

    /// The term of the entry at this index, if the log still holds it or purged it last.
    #[inline]
    pub fn term_at(&self, index: Index) -> Option<Term> {
        self.replica().log.term_at(index)
    }

    /// The members in force: the latest in the log, committed or not.
    pub fn membership(&self) -> &Membership {
        self.replica().membership()
    }

    /// The members as of this index, for a snapshot. Known from the latest snapshot on.
    pub fn membership_at(&self, index: Index) -> Option<&Membership> {
        self.replica().memberships.at(index)
    }

    /// The index of the entry of the members in force; they are committed when it is.
    pub fn membership_index(&self) -> Index {
        self.replica().memberships.latest_index()
    }

    /// How it stands, for operators and tests.
    pub fn status(&self) -> Status {
        let replica = self.replica();
        Status {
            soft_state: self.soft_state(),
            vote: replica.vote,
            last: replica.log.last(),
            durable: replica.writes.durable(),
            commit: replica.commit,
            applied: replica.applied,
            peers: match self.state() {
                State::Leader(member) => member.role.peers(replica.now, replica.config.election_ms),
                _ => Vec::new(),
            },
        }
    }

    /// Of a leader: up to where it takes this other member's log for durable and its own; none for who is no member.
    #[inline]
    pub fn match_index(&self, peer: MemberId) -> Option<Index> {
        match self.state() {
            State::Leader(member) => member.role.match_index(peer),
            _ => None,
        }
    }

    #[inline]
    fn state(&self) -> &State {
        self.state.as_ref().expect(STEP_ENDS)
    }

    #[inline]
    fn replica(&self) -> &Replica {
        match self.state() {
            State::Follower(member) => &member.replica,
            State::PreCandidate(member) => &member.replica,
            State::Candidate(member) => &member.replica,
            State::Leader(member) => &member.replica,
        }
    }
}

impl State {
    fn replica_mut(&mut self) -> &mut Replica {
        match self {
            Self::Follower(member) => &mut member.replica,
            Self::PreCandidate(member) => &mut member.replica,
            Self::Candidate(member) => &mut member.replica,
            Self::Leader(member) => &mut member.replica,
        }
    }

    fn soft_state(&self) -> SoftState {
        let (replica, role, leader) = match self {
            Self::Follower(member) => (&member.replica, RoleName::Follower, member.role.leader),
            Self::PreCandidate(member) => (&member.replica, RoleName::PreCandidate, None),
            Self::Candidate(member) => (&member.replica, RoleName::Candidate, None),
            Self::Leader(member) => (&member.replica, RoleName::Leader, Some(member.replica.id())),
        };
        let term = replica.term;
        SoftState { term, role, leader }
    }

    fn step(mut self, event: Event) -> Self {
        match event {
            Event::Tick => match self {
                Self::Follower(member) => member.tick(),
                Self::PreCandidate(member) => member.tick(),
                Self::Candidate(member) => member.tick(),
                Self::Leader(member) => member.tick(),
            },
            Event::Message(message) => self.receive(message),
            Event::Persisted { first, last } => {
                if !self.replica_mut().persisted(first, last) {
                    return self;
                }
                match self {
                    Self::Follower(member) => member.persisted(),
                    Self::PreCandidate(_) => self,
                    Self::Candidate(member) => member.persisted(),
                    Self::Leader(member) => member.persisted(),
                }
            }
            Event::Applied { index } => {
                self.replica_mut().applied(index);
                self
            }
            Event::Compacted { snapshot, purged } => {
                self.replica_mut().compacted(snapshot, purged);
                self
            }
            Event::Campaign => self.campaign(),
            Event::StepDown => match self {
                Self::Leader(member) => Self::Follower(member.into_follower(None)),
                other => other,
            },
            request => self.request(request),
        }
    }

    /// What only a leader can do; the others forward it or refuse.
    fn request(self, event: Event) -> Self {
        match self {
            Self::Leader(member) => member.request(event),
            Self::Follower(mut member) => {
                member.request(event);
                Self::Follower(member)
            }
            mut other => {
                refuse(other.replica_mut(), event, Refusal::NoLeader);
                other
            }
        }
    }

    fn campaign(self) -> Self {
        match self {
            Self::Follower(member) => member.campaign(false),
            Self::PreCandidate(member) => member.tick_now(),
            Self::Candidate(member) => member.tick_now(),
            leading => leading,
        }
    }

    /// A message arrived: compare terms, then let the role decide (Raft paper §5.1).
    fn receive(mut self, message: Message) -> Self {
        let replica = self.replica_mut();
        let is_for_us = message.to == replica.id() && message.from != replica.id() && message.from != 0;
        if !is_for_us || message.term > NUMBER_MAX {
            return self;
        }
        if message.term > replica.term {
            return self.receive_newer(message);
        }
        if message.term < replica.term && !is_planted(Plant::StaleTermAccepted) {
            self.receive_older(&message);
            return self;
        }
        self.receive_current(message)
    }

    fn receive_newer(self, message: Message) -> Self {
        match &message.body {
            Body::PreVote { .. } | Body::Vote { transfer: false, .. } if self.is_content(&message) => self,
            // An election that may never be held is no reason to count up.
            Body::PreVote { last } => {
                let last = *last;
                let mut state = self;
                let replica = state.replica_mut();
                let granted = replica.is_up_to_date(last);
                let term = if granted { message.term } else { replica.term };
                replica.send_of_term(message.from, term, Body::PreVoteReply { granted });
                state
            }
            Body::PreVoteReply { granted: true } => self.receive_current(message),
            body => {
                let leader = body.is_from_leader().then_some(message.from);
                self.follow_newer(message.term, leader).receive_current(message)
            }
        }
    }

    /// Whether there is a leader that makes an election needless: the check against disruptive members (thesis §4.2.3).
    fn is_content(&self, message: &Message) -> bool {
        if is_planted(Plant::LeaseCheckSkipped) {
            return false;
        }
        match self {
            Self::Follower(member) => member.hears_leader() && member.role.leader != Some(message.from),
            Self::Leader(member) => member.replica.config.check_quorum,
            _ => false,
        }
    }

    fn follow_newer(self, term: Term, leader: Option<MemberId>) -> Self {
        Self::Follower(match self {
            Self::Follower(member) => member.into_newer_term(term, leader),
            Self::PreCandidate(member) => member.follow_newer(term, leader),
            Self::Candidate(member) => member.follow_newer(term, leader),
            Self::Leader(member) => member.into_newer_term(term, leader),
        })
    }

    /// Who speaks for an older term is told of the newer one, if it could go on for long without noticing: pre-votes and
    /// leases keep a newer term from spreading by itself.
    fn receive_older(&mut self, message: &Message) {
        let replica = self.replica_mut();
        match message.body {
            Body::Append { .. } | Body::Commit { .. } | Body::Heartbeat { .. } | Body::Snapshot { .. }
                if replica.config.check_quorum || replica.config.pre_vote =>
            {
                replica.send(message.from, Body::StaleTerm);
            }
            Body::PreVote { .. } => replica.send(message.from, Body::PreVoteReply { granted: false }),
            _ => {}
        }
    }

    fn receive_current(self, message: Message) -> Self {
        match self {
            Self::Follower(member) => member.receive(message),
            Self::PreCandidate(member) if message.body.is_from_leader() => {
                Self::Follower(member.follow(Some(message.from))).receive_current(message)
            }
            Self::Candidate(member) if message.body.is_from_leader() => {
                Self::Follower(member.follow(Some(message.from))).receive_current(message)
            }
            Self::PreCandidate(member) => member.receive(message),
            Self::Candidate(member) => member.receive(message),
            Self::Leader(member) => member.receive(message),
        }
    }
}

impl Body {
    /// Whether only a leader says this.
    pub(super) fn is_from_leader(&self) -> bool {
        self.session().is_some() || *self == Self::TimeoutNow
    }

    /// The replication session that a leader speaks in.
    pub(super) fn session(&self) -> Option<Session> {
        match self {
            Self::Append { session, .. }
            | Self::Commit { session, .. }
            | Self::Heartbeat { session, .. }
            | Self::Snapshot { session, .. } => Some(*session),
            _ => None,
        }
    }
}

impl<R> Member<R> {
    /// Gives up the role and follows a later term.
    pub fn follow_newer(mut self, term: Term, leader: Option<MemberId>) -> Member<Follower> {
        self.replica.enter_term(term, None);
        self.follow(leader)
    }

    /// Gives up the role and follows in the same term.
    pub fn follow(mut self, leader: Option<MemberId>) -> Member<Follower> {
        let role = Follower::new(&mut self.replica, leader);
        Member {
            replica: self.replica,
            role: Box::new(role),
        }
    }
}

/// Refuses a request of the driver, all of it.
pub(super) fn refuse(replica: &mut Replica, event: Event, why: Refusal) {
    match event {
        Event::Propose(proposals) => {
            for proposal in proposals {
                replica.refuse(proposal.ticket, why);
            }
        }
        Event::ReadIndex(tickets) => {
            for ticket in tickets {
                replica.refuse(ticket, why);
            }
        }
        Event::ChangeMembers { ticket, .. } | Event::TransferLeadership { ticket, .. } => replica.refuse(ticket, why),
        _ => {}
    }
}
