//! Elections: asking whether one could be won, and holding it.

use super::entry::{MemberId, Millis, Term};
use super::follower::Follower;
use super::leader::Leader;
use super::member::{Member, State};
use super::membership::Membership;
use super::message::{Body, Message};
use super::replica::Replica;

/// Asks whether an election could be won, in a term that is not counted yet (thesis §9.6).
#[derive(Debug)]
pub(super) struct PreCandidate {
    pub deadline: Millis,
    tally: Tally,
}

/// Asks for votes, in its own term.
#[derive(Debug)]
pub(super) struct Candidate {
    pub deadline: Millis,
    tally: Tally,
}

/// Who answered what. Only voters' answers count.
#[derive(Debug, Default)]
struct Tally {
    granted: Vec<MemberId>,
    refused: Vec<MemberId>,
}

enum Outcome {
    Open,
    Won,
    Lost,
}

impl Tally {
    fn count(&mut self, from: MemberId, granted: bool, membership: &Membership) -> Outcome {
        if !membership.is_voter(from) || self.granted.contains(&from) || self.refused.contains(&from) {
            return self.outcome(membership);
        }
        match granted {
            true => self.granted.push(from),
            false => self.refused.push(from),
        }
        self.outcome(membership)
    }

    fn outcome(&self, membership: &Membership) -> Outcome {
        let by_quorum = |list: &Vec<MemberId>| membership.reached_by_quorum(|id| u64::from(list.contains(&id))) == 1;
        if by_quorum(&self.granted) {
            Outcome::Won
        } else if membership.voters().len() - self.refused.len().min(membership.voters().len()) < membership.quorum() {
            Outcome::Lost
        } else {
            Outcome::Open
        }
    }
}

impl Member<Follower> {
    pub fn into_pre_candidate(self) -> State {
        let Self { mut replica, .. } = self;
        let role = PreCandidate {
            deadline: replica.election_deadline(),
            tally: Tally::default(),
        };
        let last = replica.log.last();
        let term = replica.term + 1;
        ask(&mut replica, term, &Body::PreVote { last });
        let role = Box::new(role);
        Member { replica, role }.counted(None)
    }

    pub fn into_candidate(self, transfer: bool) -> State {
        hold_election(self.replica, transfer)
    }
}

impl Member<PreCandidate> {
    pub fn tick(self) -> State {
        match self.replica.now >= self.role.deadline {
            true => self.tick_now(),
            false => State::PreCandidate(self),
        }
    }

    /// The time for an answer is over: asks again.
    pub fn tick_now(self) -> State {
        self.follow(None).campaign(false)
    }

    pub fn receive(self, message: Message) -> State {
        match message.body {
            Body::PreVoteReply { granted } => {
                // A grant is for the next term. An older one is the answer to another question.
                let is_ours = !granted || message.term == self.replica.term + 1;
                match is_ours {
                    true => self.counted(Some((message.from, granted))),
                    false => State::PreCandidate(self),
                }
            }
            // Its vote in this term may still be free.
            Body::Vote { .. } | Body::PreVote { .. } => self.answer(message),
            _ => State::PreCandidate(self),
        }
    }

    fn answer(mut self, message: Message) -> State {
        match message.body {
            Body::Vote { last, .. } => {
                let is_free = self.replica.vote.is_none_or(|vote| vote == message.from);
                let granted = is_free && self.replica.is_up_to_date(last);
                if granted {
                    self.replica.vote_for(message.from);
                    let mut follower = self.follow(None);
                    follower.replica.send(message.from, Body::VoteReply { granted });
                    return State::Follower(follower);
                }
                self.replica.send(message.from, Body::VoteReply { granted });
            }
            _ => self.replica.send(message.from, Body::PreVoteReply { granted: false }),
        }
        State::PreCandidate(self)
    }

    /// Counts an answer, at first its own.
    fn counted(mut self, answer: Option<(MemberId, bool)>) -> State {
        let (from, granted) = answer.unwrap_or((self.replica.id(), true));
        match self.role.tally.count(from, granted, self.replica.membership()) {
            Outcome::Won => hold_election(self.replica, false),
            Outcome::Lost => State::Follower(self.follow(None)),
            Outcome::Open => State::PreCandidate(self),
        }
    }
}

impl Member<Candidate> {
    pub fn tick(self) -> State {
        match self.replica.now >= self.role.deadline {
            true => self.tick_now(),
            false => State::Candidate(self),
        }
    }

    /// No one won: tries again, in another term.
    pub fn tick_now(self) -> State {
        self.follow(None).campaign(false)
    }

    /// Its own vote counts when it is durable, like everyone else's.
    pub fn persisted(self) -> State {
        match self.replica.is_hard_state_durable() {
            true => {
                let id = self.replica.id();
                self.counted(id, true)
            }
            false => State::Candidate(self),
        }
    }

    pub fn receive(mut self, message: Message) -> State {
        match message.body {
            // An answer before the question has left is none.
            Body::VoteReply { granted } if self.replica.is_hard_state_durable() => self.counted(message.from, granted),
            Body::Vote { .. } => {
                self.replica.send(message.from, Body::VoteReply { granted: false });
                State::Candidate(self)
            }
            Body::PreVote { .. } => {
                self.replica.send(message.from, Body::PreVoteReply { granted: false });
                State::Candidate(self)
            }
            _ => State::Candidate(self),
        }
    }

    fn counted(mut self, from: MemberId, granted: bool) -> State {
        match self.role.tally.count(from, granted, self.replica.membership()) {
            Outcome::Won => State::Leader(self.into_leader()),
            Outcome::Lost => State::Follower(self.follow(None)),
            Outcome::Open => State::Candidate(self),
        }
    }

    fn into_leader(self) -> Member<Leader> {
        debug_assert!(
            self.replica.is_hard_state_durable(),
            "votes are asked for when the own is durable"
        );
        Leader::begin(self.replica)
    }
}

/// Counts up the term and asks for votes. They leave when the term and the own vote are durable.
fn hold_election(mut replica: Box<Replica>, transfer: bool) -> State {
    let (id, term) = (replica.id(), replica.term + 1);
    replica.enter_term(term, Some(id));
    let last = replica.log.last();
    ask(&mut replica, term, &Body::Vote { last, transfer });
    let role = Candidate {
        deadline: replica.election_deadline(),
        tally: Tally::default(),
    };
    let role = Box::new(role);
    State::Candidate(Member { replica, role })
}

/// Asks all other voters.
fn ask(replica: &mut Replica, term: Term, question: &Body) {
    for index in 0..replica.membership().voters().len() {
        let voter = replica.membership().voters()[index];
        if voter != replica.id() {
            replica.send_of_term(voter, term, question.clone());
        }
    }
}
