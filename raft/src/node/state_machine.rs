//! What consensus is for: the state that the entries make, as the driver sees it.

use std::io;

use bytes::Bytes;

use crate::consensus::{Index, Membership, Message, Payload, Refusal, Snapshot, SoftState, Term};
use crate::log::LogError;

/// A state machine behind the driver. All calls come from the driver's thread, in order; they should hand on what is work.
pub trait StateMachine: Send + 'static {
    /// Who waits for a proposal, a change of members or a transfer.
    type Waiting: Send;
    /// Who waits to read.
    type Reader: Send;

    /// These entries are committed, and are to be applied in this order.
    fn apply(&mut self, entries: Vec<Committed<Self::Waiting>>);
    /// Nothing comes of what this one waits for, or no one knows.
    fn refuse(&mut self, waiting: Self::Waiting, why: ProposalError);
    /// These may read once the entry with this index is applied.
    fn read(&mut self, readers: Vec<Self::Reader>, from: Index);
    /// These may not read.
    fn refuse_reads(&mut self, readers: Vec<Self::Reader>, why: ProposalError);
    /// Term, role or leader changed.
    fn soft_state(&mut self, soft_state: SoftState);
    /// Other members are in force, committed or not.
    fn membership(&mut self, membership: &Membership);
    /// A received state takes the present one's place; returns when that is durable.
    ///
    /// # Errors
    /// If it cannot; the process must end then.
    fn install(&mut self, snapshot: &Snapshot) -> io::Result<()>;
    /// Sends this message, which carries a [`crate::consensus::Body::Snapshot`], and the state with it; then
    /// [`super::Node::snapshot_sent`].
    fn send_snapshot(&mut self, message: Message);
    /// The process must end.
    fn fail(&mut self, reason: String);
}

/// An entry to be applied.
#[derive(Debug)]
pub struct Committed<W> {
    pub index: Index,
    pub term: Term,
    pub payload: Payload,
    /// Who proposed it here, if anybody did.
    pub waiting: Option<W>,
}

impl<W> Committed<W> {
    /// The command's bytes; `None` for an entry of consensus itself.
    pub fn command(&self) -> Option<&Bytes> {
        match &self.payload {
            Payload::Command(command) => Some(command),
            _ => None,
        }
    }
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProposalError {
    /// Consensus says why. Nothing came of it, but for [`Refusal::OutcomeUnknown`].
    Refused(Refusal),
    /// Another entry stands in its place: nothing came of it.
    Replaced,
    /// It may happen or not.
    Unknown,
    /// The disk is full: nothing came of it.
    NoSpace,
    /// The node has stopped, for this reason if there is one: it may have happened or not.
    Stopped(Option<LogError>),
}
