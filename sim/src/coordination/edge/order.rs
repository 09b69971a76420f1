//! What clients and members say to each other.

use bytes::Bytes;
use coordinator::Error;
use coordinator::machine::Request;
use raft::consensus::{Index, MemberId};

/// What a client asks for.
#[derive(Debug, Clone)]
pub enum Asked {
    Write(Request),
    /// The pairs of a range, now or as of this many revisions ago.
    Read {
        key: Bytes,
        range_end: Bytes,
        ago: i64,
    },
    KeepAlive(i64),
    /// A token for a password.
    Authenticate {
        user: String,
        password: String,
    },
}

/// What someone got for a password.
#[derive(Debug, Clone)]
pub struct Session {
    pub user: String,
    pub token: Token,
    /// The entry that made it.
    pub given: Index,
}

#[derive(Debug, Clone)]
pub enum Token {
    Simple(String),
    /// It says itself at which revision of users and roles it was signed.
    Signed {
        revision: u64,
    },
}

/// A request on its way.
#[derive(Debug, Clone)]
pub struct Order {
    pub client: usize,
    pub turn: u64,
    pub asked: Asked,
    pub session: Option<Session>,
}

/// What a client is told.
#[derive(Debug, Clone)]
pub enum Response {
    /// It is done, or was refused as an entry.
    Done {
        revision: i64,
        lease: Option<(i64, i64)>,
        refusal: Option<Error>,
    },
    Session(Session),
    /// Refused, by a member that need not be up to date.
    Denied(Error),
    /// Nothing came of it: ask elsewhere.
    Failed(Option<MemberId>),
}
