//! Paxos: agreement on one value, and on a log of them.
//!
//! # The idea
//! Lamport, *The Part-Time Parliament* (1998) and *Paxos Made Simple* (2001). A proposer picks a ballot and asks a
//! majority to promise that they accept nothing older; each tells what it accepted last. The proposer must take over the
//! value of the highest ballot that it hears of, and only if there is none may it propose its own. Any two majorities
//! share an acceptor, so a chosen value is always heard of. A log is many such decisions: one promise covers all slots
//! from one on, and a leader that keeps its ballot needs one round trip for each entry.
//!
//! # Beside raft
//! A raft leader has all committed entries because only such a candidate is elected; a Paxos leader may lack them and
//! learns them in its first phase, slot by slot, and decides holes as no-ops. Raft's entries keep the term of their
//! birth; here a value moves to the new ballot. Both wait for one majority an entry; `sim soak` prints messages an entry
//! and latencies. Raft on the same networks is still to be set beside it.
//!
//! # What must hold
//! [`agreement`], [`validity`], [`learned`]. Planted: a promise forgotten at a restart, a value that is not taken over, a
//! proposer whose own vote counts twice, an acceptance that is told before it is durable.
//!
//! # What is missing
//! Changes of members, snapshots: a world is short.

mod acceptor;
mod agreement;
mod learned;
mod proposer;
mod requests;
mod validity;
mod world;

pub use proposer::{Fault, Message, Note, Paxos, Timer};
pub use requests::Requests;
pub use world::{Multi, Single};

/// A proposer's attempt: round and proposer in one number, so that no two share one. 0 is none.
pub type Ballot = u64;
pub type Slot = u64;
/// What is agreed upon. [`NOTHING`] fills a hole.
pub type Value = u64;

pub const NOTHING: Value = 0;
