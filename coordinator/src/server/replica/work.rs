//! Completions of proposals and reads, and the work that consensus hands to the applier.

use std::sync::mpsc;

use raft::consensus::{Index, Snapshot, SoftState};
use raft::node::{Committed, ProposalError};
use tokio::sync::oneshot;

use crate::Error;
use crate::auth::Caller;
use crate::machine::{Outcome, Request};

/// What becomes of a proposal: its outcome once it is applied, or why it does not come that far.
pub(in crate::server) type Answer = Result<Result<Outcome, Error>, ProposalError>;
/// Who waits to read.
pub(in crate::server) type Reader = oneshot::Sender<Result<(), ProposalError>>;

/// Who waits for an entry.
pub(in crate::server) enum Waiting {
    /// A request, which need not be decoded again.
    Request {
        caller: Caller,
        request: Request,
        only_in_term: u64,
        respond: oneshot::Sender<Answer>,
    },
    /// A change of members, or a transfer of leadership; the answer is the entry's index.
    Change(oneshot::Sender<Result<Index, ProposalError>>),
}

/// Work for the applier.
pub(in crate::server) enum Work {
    /// Entries that are committed.
    Apply(Vec<Committed<Waiting>>),
    /// These may read once entry `from` is applied.
    Read { readers: Vec<Reader>, from: u64 },
    /// Another member leads, or none, or this one.
    SoftState(SoftState),
    /// A state that has arrived takes the present one's place.
    Install {
        snapshot: Snapshot,
        done: mpsc::SyncSender<std::io::Result<()>>,
    },
    /// End the thread.
    Stop,
}
