//! What the log is made of.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::membership::Membership;

/// Names a member. Zero is never a member.
pub type MemberId = u64;
/// A place in the log; the first entry has index 1.
pub type Index = u64;
/// Counts elections; in each there is at most one leader.
pub type Term = u64;
/// The driver's name for something that it waits for. The core only hands it back.
pub type Ticket = u64;
/// A time or a span, in milliseconds. Times are of a clock that never goes back; its zero does not matter.
pub type Millis = u64;

/// The greatest term and index that is taken from a peer: no one counts so far, and from here on counting cannot overflow.
pub(super) const NUMBER_MAX: u64 = u64::MAX >> 1;

/// A place in the log and the term of the entry there. Two logs that hold the same position hold the same entries up to
/// it (the Log Matching Property, Raft paper §5.3). Positions are compared as votes compare them: by term, then index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    pub term: Term,
    pub index: Index,
}

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub index: Index,
    pub term: Term,
    pub payload: Payload,
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// A new leader's first entry: by committing it, the leader commits everything before it (Raft paper §8).
    Blank,
    /// A command of the state machine; the core does not look into it. Cloning is cheap.
    Command(Bytes),
    /// Who is a member from this entry on. Boxed, because it is rare.
    Membership(Box<MembershipEntry>),
}

/// A change of members: the outcome, and what the state machine wants to know about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MembershipEntry {
    pub membership: Membership,
    /// The state machine's own words about the change (names, addresses); the core does not look into it.
    pub context: Bytes,
}

impl Entry {
    /// Its position.
    pub fn position(&self) -> Position {
        Position {
            term: self.term,
            index: self.index,
        }
    }

    /// What it weighs in limits, in bytes.
    pub(super) fn weight(&self) -> usize {
        ENTRY_BYTES + self.payload.bytes()
    }
}

/// What an entry costs beside its payload, in bytes; so that very small ones count too.
const ENTRY_BYTES: usize = 32;

/// [`Payload::Blank`] on disk and on the wire.
pub const KIND_BLANK: u8 = 0;
/// [`Payload::Command`] on disk and on the wire.
pub const KIND_COMMAND: u8 = 1;
/// [`Payload::Membership`] on disk and on the wire.
pub const KIND_MEMBERSHIP: u8 = 2;

impl Payload {
    /// The payload's kind, for a header on disk or on the wire.
    pub fn kind(&self) -> u8 {
        match self {
            Self::Blank => KIND_BLANK,
            Self::Command(_) => KIND_COMMAND,
            Self::Membership(_) => KIND_MEMBERSHIP,
        }
    }

    /// The bytes that [`Payload::decode`] reads, without the kind. Borrows a command's.
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Blank => Bytes::new(),
            Self::Command(command) => command.clone(),
            Self::Membership(entry) => {
                let mut buffer = BytesMut::with_capacity(entry.membership.encoded_bytes() + entry.context.len());
                entry.membership.encode(&mut buffer);
                buffer.put_slice(&entry.context);
                buffer.freeze()
            }
        }
    }

    /// The payload of this kind in these bytes; `None` if they are none.
    pub fn decode(kind: u8, mut bytes: Bytes) -> Option<Self> {
        match kind {
            KIND_BLANK => bytes.is_empty().then_some(Self::Blank),
            KIND_COMMAND => Some(Self::Command(bytes)),
            KIND_MEMBERSHIP => {
                let membership = Membership::decode(&mut bytes)?;
                let context = bytes.copy_to_bytes(bytes.remaining());
                Some(Self::Membership(Box::new(MembershipEntry { membership, context })))
            }
            _ => None,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Blank => 0,
            Self::Command(command) => command.len(),
            Self::Membership(entry) => entry.membership.encoded_bytes() + entry.context.len(),
        }
    }
}
