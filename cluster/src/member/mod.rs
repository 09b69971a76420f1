//! Who is there: SWIM with Lifeguard's refinements.
//!
//! # What it is
//! Every member probes one other in each period, in a shuffled round robin. If no acknowledgement comes, it asks some
//! others to probe; if none comes by the end of the period, it suspects the member. The suspected member refutes by a
//! higher incarnation; otherwise it is declared dead after a while. News travels on the probes themselves, so the load of
//! a member does not depend on the size of the cluster (Das, Gupta, Motivala: *SWIM*, 2002).
//!
//! A slow member suspects healthy ones: it is the one that is slow. Lifeguard (Dadgar, Phillips, Currey, 2017) adds three
//! things: *self-awareness* (missed answers, missed refusals and own suspicions lengthen the member's own timeouts),
//! *dogpile* (a suspicion begins long, and each independent confirmation shortens it), *buddy* (a probe of a suspected
//! member carries the suspicion, so that it can refute at once).
//!
//! # How it moves
//! [`Membership::step`] takes an [`Event`] and the time and gives [`Effect`]s; [`Membership::deadline`] says when the
//! next tick is due. Chance comes from the seed given at the start. News about one member is totally ordered
//! ([`Rumor::rank`]), so merging is taking the larger one: order, repetition and loss do not matter. From time to time
//! two members compare digests and exchange what differs.
//!
//! # Where it stops
//! It is a hint, never a fence: what must not be wrong is decided by leases, which can be compared in a transaction. A
//! declaration of death may move reads or order copies early; it may not let someone else write.
//!
//! # Identity
//! A member is its id *and* its generation (the `create_revision` of its registration, say). A restarted process has a
//! newer generation, so it does not inherit its predecessor's death.

mod dissemination;
mod exchange;
mod health;
mod membership;
mod notes;
mod probe;
mod suspicion;
mod table;
pub mod wire;

pub use membership::{Effect, Event, Membership, Settings};
pub use notes::{Counter, LwwMap, Note};
pub use table::{Rumor, Status};

/// A member's number in its cluster.
pub type MemberId = u64;

/// A member's incarnation as a process: larger for each start.
pub type Generation = u64;

/// Milliseconds of the member's own clock.
pub type Millis = u64;

/// What one member sends to another. At most [`Settings::packet_bytes`] long on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    pub from: MemberId,
    pub generation: Generation,
    pub body: Body,
    /// News that travels along.
    pub rumors: Vec<Rumor>,
    pub notes: Vec<Note>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    Ping {
        number: u64,
    },
    Ack {
        number: u64,
    },
    /// Probe that one for me.
    PingRequest {
        number: u64,
        target: MemberId,
    },
    /// I asked it and heard nothing: but I am here.
    Nack {
        number: u64,
    },
    /// Hashes of what the sender knows, by bucket; `answer` if it answers another's.
    Digest {
        answer: bool,
        buckets: Vec<u64>,
    },
    /// Only news.
    News,
}

/// Buckets of a digest.
pub const BUCKETS: usize = 64;
