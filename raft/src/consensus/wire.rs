//! Messages as bytes: own framing, every length compared with what is there before anything is allocated.
//!
//! ```text
//!  0        1      9    17     25
//!  | kind   | from | to | term | the body's fields ...
//!  | u8     | u64  | u64| u64  |
//! ```
//!
//! Numbers are big-endian; a position is term, then index. Entries come last, a count (u32) and for each its term (u64),
//! its kind (u8), the length of its payload (u32) and the payload; their indexes follow `previous`. What carries the
//! message (a length in front, a checksum, a connection) is the transport's.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::config::Snapshot;
use super::entry::{Entry, Payload, Position};
use super::event::Refusal;
use super::membership::{ChangeError, Membership};
use super::message::{Batch, Body, Message, ReadContext};

/// The longest message that is decoded, in bytes: the largest record of the log, and room for a batch beside it.
pub const MESSAGE_BYTES_MAX: usize = crate::log::PAYLOAD_BYTES_MAX + (16 << 20);

/// The bytes are no message of this format. The connection that they came from is of no use any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a message of this protocol: {0}")]
pub struct Malformed(pub &'static str);

const PRE_VOTE: u8 = 1;
const PRE_VOTE_REPLY: u8 = 2;
const VOTE: u8 = 3;
const VOTE_REPLY: u8 = 4;
const APPEND: u8 = 5;
const APPEND_ACK: u8 = 6;
const APPEND_REJECT: u8 = 7;
const HEARTBEAT: u8 = 8;
const HEARTBEAT_ACK: u8 = 9;
const SNAPSHOT: u8 = 10;
const TIMEOUT_NOW: u8 = 11;
const READ_INDEX: u8 = 12;
const READ_INDEX_REPLY: u8 = 13;
const FORWARD: u8 = 14;
const FORWARD_REPLY: u8 = 15;
const STALE_TERM: u8 = 16;
const COMMIT: u8 = 17;

/// What an entry takes before its payload.
const ENTRY_HEADER_BYTES: usize = 8 + 1 + 4;

impl Message {
    /// Appends the message's bytes.
    pub fn encode(&self, out: &mut BytesMut) {
        out.put_u8(kind(&self.body));
        out.put_u64(self.from);
        out.put_u64(self.to);
        out.put_u64(self.term);
        encode_body(&self.body, out);
    }

    /// Reads a message that fills these bytes. Payloads are slices of them, not copies.
    pub fn decode(mut bytes: Bytes) -> Result<Self, Malformed> {
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(Malformed("it is too long"));
        }
        let kind = u8_of(&mut bytes)?;
        let (from, to, term) = (u64_of(&mut bytes)?, u64_of(&mut bytes)?, u64_of(&mut bytes)?);
        let body = decode_body(kind, &mut bytes)?;
        if bytes.has_remaining() {
            return Err(Malformed("bytes are left over"));
        }
        Ok(Self { from, to, term, body })
    }
}

fn kind(body: &Body) -> u8 {
    match body {
        Body::PreVote { .. } => PRE_VOTE,
        Body::PreVoteReply { .. } => PRE_VOTE_REPLY,
        Body::Vote { .. } => VOTE,
        Body::VoteReply { .. } => VOTE_REPLY,
        Body::Append { .. } => APPEND,
        Body::AppendAck { .. } => APPEND_ACK,
        Body::AppendReject { .. } => APPEND_REJECT,
        Body::Heartbeat { .. } => HEARTBEAT,
        Body::HeartbeatAck { .. } => HEARTBEAT_ACK,
        Body::Snapshot { .. } => SNAPSHOT,
        Body::TimeoutNow => TIMEOUT_NOW,
        Body::ReadIndex { .. } => READ_INDEX,
        Body::ReadIndexReply { .. } => READ_INDEX_REPLY,
        Body::Forward { .. } => FORWARD,
        Body::ForwardReply { .. } => FORWARD_REPLY,
        Body::StaleTerm => STALE_TERM,
        Body::Commit { .. } => COMMIT,
    }
}

fn encode_body(body: &Body, out: &mut BytesMut) {
    match body {
        Body::PreVote { last } => put_position(*last, out),
        Body::PreVoteReply { granted } | Body::VoteReply { granted } => out.put_u8((*granted).into()),
        Body::Vote { last, transfer } => {
            put_position(*last, out);
            out.put_u8((*transfer).into());
        }
        Body::Append {
            session,
            previous,
            commit,
            entries,
        } => {
            out.put_u64(*session);
            put_position(*previous, out);
            out.put_u64(*commit);
            put_entries(entries, out);
        }
        Body::AppendAck { session, match_index } => put_all(&[*session, *match_index], out),
        Body::Commit { session, commit } => put_all(&[*session, *commit], out),
        Body::AppendReject {
            session,
            previous,
            hint,
        } => {
            put_all(&[*session, *previous], out);
            put_position(*hint, out);
        }
        Body::Heartbeat { session, commit, round } => put_all(&[*session, *commit, *round], out),
        Body::HeartbeatAck {
            session,
            round,
            match_index,
            received,
        } => put_all(&[*session, *round, *match_index, *received], out),
        Body::Snapshot { session, snapshot } => {
            out.put_u64(*session);
            put_position(snapshot.last, out);
            snapshot.membership.encode(out);
        }
        Body::TimeoutNow | Body::StaleTerm => {}
        Body::ReadIndex { context } => put_all(&[context.incarnation, context.attempt], out),
        Body::ReadIndexReply { context, outcome } => {
            put_all(&[context.incarnation, context.attempt], out);
            put_outcome(*outcome, out);
        }
        Body::Forward { batch, commands } => {
            put_all(&[batch.incarnation, batch.number], out);
            put_count(commands.len(), out);
            for command in commands {
                put_count(command.len(), out);
                out.put_slice(command);
            }
        }
        Body::ForwardReply { batch, outcome } => {
            put_all(&[batch.incarnation, batch.number], out);
            put_outcome(*outcome, out);
        }
    }
}

fn decode_body(kind: u8, bytes: &mut Bytes) -> Result<Body, Malformed> {
    Ok(match kind {
        PRE_VOTE => Body::PreVote {
            last: position_of(bytes)?,
        },
        PRE_VOTE_REPLY => Body::PreVoteReply {
            granted: bool_of(bytes)?,
        },
        VOTE => Body::Vote {
            last: position_of(bytes)?,
            transfer: bool_of(bytes)?,
        },
        VOTE_REPLY => Body::VoteReply {
            granted: bool_of(bytes)?,
        },
        APPEND => {
            let session = u64_of(bytes)?;
            let previous = position_of(bytes)?;
            Body::Append {
                session,
                previous,
                commit: u64_of(bytes)?,
                entries: entries_of(previous, bytes)?,
            }
        }
        APPEND_ACK => Body::AppendAck {
            session: u64_of(bytes)?,
            match_index: u64_of(bytes)?,
        },
        APPEND_REJECT => Body::AppendReject {
            session: u64_of(bytes)?,
            previous: u64_of(bytes)?,
            hint: position_of(bytes)?,
        },
        HEARTBEAT => Body::Heartbeat {
            session: u64_of(bytes)?,
            commit: u64_of(bytes)?,
            round: u64_of(bytes)?,
        },
        HEARTBEAT_ACK => Body::HeartbeatAck {
            session: u64_of(bytes)?,
            round: u64_of(bytes)?,
            match_index: u64_of(bytes)?,
            received: u64_of(bytes)?,
        },
        SNAPSHOT => Body::Snapshot {
            session: u64_of(bytes)?,
            snapshot: Box::new(Snapshot {
                last: position_of(bytes)?,
                membership: Membership::decode(bytes).ok_or(Malformed("a membership is not one"))?,
            }),
        },
        COMMIT => Body::Commit {
            session: u64_of(bytes)?,
            commit: u64_of(bytes)?,
        },
        TIMEOUT_NOW => Body::TimeoutNow,
        STALE_TERM => Body::StaleTerm,
        _ => return decode_request(kind, bytes),
    })
}

/// What followers pass on, and the answers.
fn decode_request(kind: u8, bytes: &mut Bytes) -> Result<Body, Malformed> {
    let (incarnation, number) = match kind {
        READ_INDEX..=FORWARD_REPLY => (u64_of(bytes)?, u64_of(bytes)?),
        _ => return Err(Malformed("its kind is not known")),
    };
    let context = ReadContext {
        incarnation,
        attempt: number,
    };
    let batch = Batch { incarnation, number };
    Ok(match kind {
        READ_INDEX => Body::ReadIndex { context },
        READ_INDEX_REPLY => Body::ReadIndexReply {
            context,
            outcome: outcome_of(bytes)?,
        },
        FORWARD => Body::Forward {
            batch,
            commands: commands_of(bytes)?,
        },
        _ => Body::ForwardReply {
            batch,
            outcome: outcome_of(bytes)?,
        },
    })
}

fn put_all(numbers: &[u64], out: &mut BytesMut) {
    for number in numbers {
        out.put_u64(*number);
    }
}

fn put_position(position: Position, out: &mut BytesMut) {
    put_all(&[position.term, position.index], out);
}

fn put_count(count: usize, out: &mut BytesMut) {
    out.put_u32(u32::try_from(count).expect("batches and payloads are far smaller than 4 GiB"));
}

fn put_entries(entries: &[Entry], out: &mut BytesMut) {
    put_count(entries.len(), out);
    for entry in entries {
        let payload = entry.payload.encode();
        out.put_u64(entry.term);
        out.put_u8(entry.payload.kind());
        put_count(payload.len(), out);
        out.put_slice(&payload);
    }
}

fn entries_of(previous: Position, bytes: &mut Bytes) -> Result<Vec<Entry>, Malformed> {
    let count = u32_of(bytes)? as usize;
    if count > bytes.remaining() / ENTRY_HEADER_BYTES {
        return Err(Malformed("it counts more entries than it has"));
    }
    let mut entries = Vec::with_capacity(count);
    let mut index = previous.index;
    for _ in 0..count {
        index = index
            .checked_add(1)
            .ok_or(Malformed("an index is beyond all numbers"))?;
        let (term, kind) = (u64_of(bytes)?, u8_of(bytes)?);
        let payload = slice_of(bytes)?;
        let payload = Payload::decode(kind, payload).ok_or(Malformed("an entry is not one"))?;
        entries.push(Entry { index, term, payload });
    }
    Ok(entries)
}

fn commands_of(bytes: &mut Bytes) -> Result<Vec<Bytes>, Malformed> {
    let count = u32_of(bytes)? as usize;
    if count > bytes.remaining() / size_of::<u32>() {
        return Err(Malformed("it counts more commands than it has"));
    }
    (0..count).map(|_| slice_of(bytes)).collect()
}

fn put_outcome(outcome: Result<u64, Refusal>, out: &mut BytesMut) {
    let (code, detail) = match outcome {
        Ok(index) => (0, index),
        Err(Refusal::NoLeader) => (1, 0),
        Err(Refusal::NotLeader { leader }) => (2, leader),
        Err(Refusal::Transferring) => (3, 0),
        Err(Refusal::Overloaded) => (4, 0),
        Err(Refusal::ChangePending) => (5, 0),
        Err(Refusal::NotReady) => (6, 0),
        Err(Refusal::LearnerBehind) => (7, 0),
        Err(Refusal::BadChange(error)) => (8, CHANGE_ERRORS.iter().position(|e| *e == error).unwrap_or(0) as u64),
        Err(Refusal::NotVoter) => (9, 0),
        Err(Refusal::TransferTimedOut) => (10, 0),
        Err(Refusal::LeaderChanged) => (11, 0),
        Err(Refusal::OutcomeUnknown) => (12, 0),
    };
    out.put_u8(code);
    out.put_u64(detail);
}

fn outcome_of(bytes: &mut Bytes) -> Result<Result<u64, Refusal>, Malformed> {
    let (code, detail) = (u8_of(bytes)?, u64_of(bytes)?);
    let refusal = match code {
        0 => return Ok(Ok(detail)),
        1 => Refusal::NoLeader,
        2 => Refusal::NotLeader { leader: detail },
        3 => Refusal::Transferring,
        4 => Refusal::Overloaded,
        5 => Refusal::ChangePending,
        6 => Refusal::NotReady,
        7 => Refusal::LearnerBehind,
        8 => {
            let error = usize::try_from(detail).ok().and_then(|at| CHANGE_ERRORS.get(at));
            Refusal::BadChange(*error.ok_or(Malformed("a refusal is not one"))?)
        }
        9 => Refusal::NotVoter,
        10 => Refusal::TransferTimedOut,
        11 => Refusal::LeaderChanged,
        12 => Refusal::OutcomeUnknown,
        _ => return Err(Malformed("a refusal is not one")),
    };
    Ok(Err(refusal))
}

/// Their places are their numbers on the wire.
const CHANGE_ERRORS: [ChangeError; 6] = [
    ChangeError::NoId,
    ChangeError::Exists,
    ChangeError::Unknown,
    ChangeError::NotLearner,
    ChangeError::LastVoter,
    ChangeError::TooMany,
];

const TOO_SHORT: Malformed = Malformed("it ends too early");

fn u8_of(bytes: &mut Bytes) -> Result<u8, Malformed> {
    bytes.try_get_u8().map_err(|_| TOO_SHORT)
}

fn u32_of(bytes: &mut Bytes) -> Result<u32, Malformed> {
    bytes.try_get_u32().map_err(|_| TOO_SHORT)
}

fn u64_of(bytes: &mut Bytes) -> Result<u64, Malformed> {
    bytes.try_get_u64().map_err(|_| TOO_SHORT)
}

fn bool_of(bytes: &mut Bytes) -> Result<bool, Malformed> {
    match u8_of(bytes)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Malformed("a yes or no is neither")),
    }
}

fn position_of(bytes: &mut Bytes) -> Result<Position, Malformed> {
    let (term, index) = (u64_of(bytes)?, u64_of(bytes)?);
    Ok(Position { term, index })
}

fn slice_of(bytes: &mut Bytes) -> Result<Bytes, Malformed> {
    let length = u32_of(bytes)? as usize;
    match length <= bytes.remaining() {
        true => Ok(bytes.split_to(length)),
        false => Err(TOO_SHORT),
    }
}
