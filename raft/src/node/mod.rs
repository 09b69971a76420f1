//! One member at work: consensus, its log and its streams, driven on threads and on tokio.
//!
//! # What runs
//! - The *driver*, one thread ([`Node`]): takes whatever is queued, steps consensus through it, writes and syncs the log
//!   once for all of it. It is the only one that touches either.
//! - For each other member a task that dials it and writes what is queued for it ([`Transport`]), and one that reads what
//!   it says on the stream that it opened. So there is one stream in each direction, and who dialled first does not matter.
//! - For a snapshot on its way a task at each end ([`Source`], [`Sink`]), beside the other frames of the same streams.
//!
//! # How a proposal moves
//! [`Node::propose`] queues it with anyone who waits. In its next turn the driver appends it together with all others, sends
//! it to the followers, and syncs it while they do the same; when a majority has it, it goes to the [`StateMachine`]
//! together with who waits, and that is the last the driver knows of it. A follower forwards it to the leader, and hands
//! over who waits when the entry comes back to it.
//!
//! # Limits
//! Bytes of proposals in the queue, frames and bytes for each member, messages of each member that wait for the driver,
//! connections, chunks under way: each has a named limit. What a member cannot take is dropped, since consensus says
//! everything again that matters; who proposes is refused.
//!
//! # Where it stops
//! It knows members by number and peer URL; names, and which changes are wise, are the state machine's. TLS is
//! supplied by the implementation of [`Connect`] and [`Accept`]. After a failed sync nothing is acknowledged any more and the process is
//! told to end; a full disk is waited out.

mod accept;
mod connect;
mod driver;
mod frame;
mod gauges;
mod handle;
mod peer;
mod state_machine;
#[cfg(test)]
mod tests;
mod transfer;
mod transport;

pub use connect::{Accept, Connect, Connection, Door, Duplex, Pending, Plain, Stream, address_of};
pub use driver::{Start, is_transient};
pub use frame::FRAME_BYTES_MAX;
pub use gauges::Gauges;
pub use handle::{Node, QUEUE_BYTES_MAX};
pub use state_machine::{Committed, ProposalError, StateMachine};
pub use transfer::{CHUNK_BYTES, STALLED_MAX, Sink, Source};
pub use transport::{Identity, Inbox, Transport};
