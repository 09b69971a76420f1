//! Refusals of consensus and of other members, in etcd's words.

use raft::consensus::Refusal;
use raft::node::ProposalError;

use crate::Error;

/// The refusal that has this text.
pub(in crate::server) fn refusal_of(text: &str) -> Error {
    let known = Error::REFUSALS.iter().find(|refusal| refusal.to_string() == text);
    known.cloned().unwrap_or(Error::Stopped)
}

/// A refusal of consensus in etcd's words.
pub(in crate::server) fn refusal(why: &ProposalError) -> Error {
    match why {
        ProposalError::NoSpace => Error::NoSpace,
        ProposalError::Stopped(_) => Error::Stopped,
        ProposalError::Refused(Refusal::Overloaded) => Error::TooManyRequests,
        ProposalError::Refused(Refusal::NotVoter) => Error::BadLeaderTransferee,
        ProposalError::Refused(Refusal::OutcomeUnknown | Refusal::LeaderChanged) | ProposalError::Unknown => {
            Error::TimeoutLeaderFailed
        }
        ProposalError::Refused(_) | ProposalError::Replaced => Error::Timeout,
    }
}
