//! Refusals of consensus and of other members, in etcd's words.

use raft::consensus::Refusal;
use raft::node::Unserved;

use crate::Error;

/// The refusal that has this text.
pub(in crate::server) fn refusal_of(text: &str) -> Error {
    let known = Error::REFUSALS.iter().find(|refusal| refusal.to_string() == text);
    known.cloned().unwrap_or(Error::Stopped)
}

/// A refusal of consensus in etcd's words.
pub(in crate::server) fn refusal(why: &Unserved) -> Error {
    match why {
        Unserved::NoSpace => Error::NoSpace,
        Unserved::Stopped(_) => Error::Stopped,
        Unserved::Refused(Refusal::Overloaded) => Error::TooManyRequests,
        Unserved::Refused(Refusal::NotVoter) => Error::BadLeaderTransferee,
        Unserved::Refused(Refusal::OutcomeUnknown | Refusal::LeaderChanged) | Unserved::Unknown => {
            Error::TimeoutLeaderFailed
        }
        Unserved::Refused(_) | Unserved::Replaced => Error::Timeout,
    }
}
