//! Raft's deciding core: events and the time go in, effects come out.
//!
//! # What it is
//! One member of a group that agrees on a log (Ongaro and Ousterhout 2014, "the Raft paper"; Ongaro's thesis of 2014).
//! [`Consensus::step`] is told one [`Event`] and answers with [`Effects`]: messages to send, one [`Write`] to make
//! durable, entries to apply, requests answered. It never waits, does no I/O, looks at no clock and throws no dice: the
//! time is an argument, chance comes from a seed. So a test is a list of events, and the simulated world and the real
//! driver run the same code.
//!
//! # How it moves
//! ```text
//!               no leader in time        a quorum would           a quorum did
//!   Follower -------------------> PreCandidate ----------> Candidate ----------> Leader
//!      ^                               |                       |                    |
//!      +-------------------------------+-----------------------+--------------------+
//!            a leader of this term, a newer term, too many refusals, no quorum heard, own removal
//! ```
//! Each role is a type (`follower`, `candidate`, `leader`), and a transition is a function that consumes one and
//! gives another, so that nothing of a former role is left behind.
//!
//! # How a driver drives it
//! - Call [`Consensus::step`] with what happens, and with [`Event::Tick`] when [`Consensus::deadline`] has passed.
//! - Carry out the effects, in any order and at the same time, but writes in the order of their ids and entries in the order
//!   of their indexes.
//! - Report each write when it is durable ([`Event::Persisted`]), one by one or many at a time. Messages that promise
//!   durability wait for that **inside the core**: a vote leaves when term and vote are durable, an acknowledgement when
//!   the entries are. A leader's entries leave at once, so it sends while it syncs; it counts itself when it is done.
//!   A snapshot's installation is a write like any other.
//! - Report what was applied ([`Event::Applied`]); entries stay in memory until then. Only entries that are durable here
//!   are given out to be applied, so the state machine is never ahead of its own log.
//! - When memory does not hold what a slow member needs, [`Effects::fetches`] asks for it. When the log does not either,
//!   the core sends a [`Body::Snapshot`] message, which stands for the snapshot that [`Event::Compacted`] announced; the
//!   driver moves the state itself (in chunks that can be resumed), then hands the message over at the far end, and reports
//!   [`Event::SnapshotSent`].
//! - After a restart begin with [`Restored`]: what was durable.
//!
//! # What it promises, and where
//! Election safety, leader append-only, log matching, leader completeness and state machine safety (Raft paper, figure 3);
//! changes of members by the rules in [`Membership`]'s module; reads that are linearizable (`leader/reads.rs`), with a
//! context per attempt; acknowledgements that count only for what is durable as the log is now ([`Event::Persisted`]).
//! Peers are not trusted to be sane, only not to lie: no message can make a step panic, loop or grow without bound, and
//! what contradicts the committed is reported ([`Effects::contradiction`]) and ignored.
//!
//! # Deliberately missing
//! Reads by lease (they trust clocks), joint consensus (one change at a time is enough for etcd's interface), witnesses,
//! priorities, and any knowledge of addresses.

mod candidate;
mod config;
mod effects;
mod entry;
mod event;
mod follower;
mod forwarding;
mod jitter;
mod leader;
mod log_view;
mod member;
mod membership;
mod message;
pub(crate) mod plant;
mod replica;
#[cfg(test)]
mod tests;
mod wire;
mod writes;

pub use config::{Config, HardState, Restored, Snapshot};
pub use effects::{Contradiction, Effects, Fetch, RoleName, SoftState, Write, WriteId};
pub use entry::{
    Entry, Index, KIND_BLANK, KIND_COMMAND, KIND_MEMBERSHIP, MemberId, MembershipEntry, Millis, Payload, Position,
    Term, Ticket,
};
pub use event::{Event, Proposal, Proposed, ReadReady, Refusal, Refused};
pub use leader::PeerStatus;
pub use member::{Consensus, Status};
pub use membership::{ChangeError, MEMBERS_MAX, MemberChange, Membership};
pub use message::{Batch, Body, Message, ReadContext, Session};
#[cfg(feature = "planted-faults")]
pub use plant::{Plant, plant};
pub use wire::{MESSAGE_BYTES_MAX, Malformed};
