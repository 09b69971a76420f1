//! What members say to each other.

use bytes::Bytes;

use super::config::Snapshot;
use super::entry::{Entry, Index, MemberId, Term};
use super::event::Refusal;

/// A message. The network may lose, delay, repeat and reorder them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub from: MemberId,
    pub to: MemberId,
    /// The sender's term; of a [`Body::PreVote`] and of the grant of one, the term that the election would have.
    pub term: Term,
    pub body: Body,
}

/// Tells one period of replication to a member from any other of the same term: a leader begins a new one whenever a
/// member is added, also again. What is not of the current session does not count.
pub type Session = u64;

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Would you vote for me?
    PreVote { last: super::Position },
    /// The answer to a pre-vote. A refusal carries the voter's own term.
    PreVoteReply { granted: bool },
    /// Vote for me. `transfer`: the leader itself wants this election, so a leader's being there is no reason to refuse.
    Vote { last: super::Position, transfer: bool },
    /// The answer to a request for a vote. A grant leaves only when it is durable.
    VoteReply { granted: bool },
    /// Entries after `previous`; without entries a question whether `previous` is there.
    Append {
        session: Session,
        previous: super::Position,
        commit: Index,
        entries: Vec<Entry>,
    },
    /// The log is the leader's up to this index, durably.
    AppendAck { session: Session, match_index: Index },
    /// There is no entry `previous`. `hint` is the last entry that could be the leader's too.
    AppendReject {
        session: Session,
        previous: Index,
        hint: super::Position,
    },
    /// The commit index is this by now. Needs no answer: the next heartbeat says it again.
    Commit { session: Session, commit: Index },
    /// I lead. `round` counts up; the answer repeats it, which confirms reads that were asked before it.
    Heartbeat {
        session: Session,
        commit: Index,
        round: u64,
    },
    /// I follow. The log is the leader's up to `received`, and durably up to `match_index`, as an [`Body::AppendAck`] that got
    /// lost may have said.
    HeartbeatAck {
        session: Session,
        round: u64,
        match_index: Index,
        received: Index,
    },
    /// You are too far behind for entries; begin from this. The driver brings the state itself along: it hands the
    /// message over when all of it has arrived.
    Snapshot { session: Session, snapshot: Box<Snapshot> },
    /// The leader wants you to be elected, now.
    TimeoutNow,
    /// From which index on may reads be answered that were asked before this?
    ReadIndex { context: ReadContext },
    /// The answer: once the state machine has applied this index.
    ReadIndexReply {
        context: ReadContext,
        outcome: Result<Index, Refusal>,
    },
    /// Append these for me. `batch` counts up within an incarnation of the sender, so that a repeated message does not
    /// append twice.
    Forward { batch: Batch, commands: Vec<Bytes> },
    /// The answer: the index of the first, the others follow it, in this term.
    ForwardReply {
        batch: Batch,
        outcome: Result<Index, Refusal>,
    },
    /// Your term is over: the answer to the one that leads in an older one. It carries the newer.
    StaleTerm,
}

/// Names an attempt at a read: unique among all attempts of all members, ever. An attempt that is made again gets a new
/// one; else an old answer to the first could pass for an answer to the second (etcd #20418).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReadContext {
    pub incarnation: u64,
    pub attempt: u64,
}

/// Names a batch of forwarded proposals. The leader takes only greater ones than before from each member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Batch {
    pub incarnation: u64,
    pub number: u64,
}
