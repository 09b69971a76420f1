//! What a packet does to a replica, and what a pipeline's nodes answer. Pure.
//!
//! # Packets and chunks
//! A replica is data and one checksum per chunk. Packets come in order but not always end to end: after a flush the writer
//! sends the last, partial chunk again, longer; after a data node failed it sends again what was not acknowledged; and
//! the first packet of an append fills up a chunk that is half there, with a checksum of only its new part. [`receive`]
//! decides for each packet what to write where, and with which checksums.
//!
//! # Acknowledgements
//! Each node answers a packet once it has it and once the node behind it has answered; [`combine`] puts its own word in
//! front. The first word that is not SUCCESS tells the writer which node to leave out.

use dfs_wire::checksum::{CRC_BYTES, Checksum, Kind};
use dfs_wire::packet::Header;
use dfs_wire::proto::hdfs::{PipelineAckProto, Status};

/// How far a replica that is being written is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of data that are written.
    pub length: u64,
}

/// Why a packet is refused: the writer has to make a new pipeline, or give up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Writer: a packet in between was lost.
    #[error("a packet at {offset} leaves a gap after {length}")]
    Gap { offset: u64, length: u64 },
    /// Whoever sent it: the bytes changed on the way.
    #[error("the checksums of the packet at {0} do not match its data")]
    Checksum(u64),
    /// Writer: it sends something else than a packet.
    #[error("{0}")]
    Malformed(&'static str),
}

/// What to do with a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// It is on disk already, or carries nothing.
    Nothing,
    /// Write all of its data at `offset`, and its checksums as those of the chunks from `chunk` on.
    Write { offset: u64, chunk: u64 },
    /// It begins inside a chunk, or has other checksums than the replica: read the `prefix_bytes` before it, then see
    /// [`fill`].
    Fill {
        offset: u64,
        chunk: u64,
        prefix_bytes: usize,
    },
}

/// Decides what a packet does to a replica of `progress`. The packet carries checksums as its writer makes them (`sent`); the
/// replica keeps those that its first writer chose (`stored`), which may be of another type or chunk size.
pub fn receive(
    sent: Checksum,
    stored: Checksum,
    progress: Progress,
    header: &Header,
    crcs: &[u8],
    data: &[u8],
) -> Result<Action, Refusal> {
    if header.is_heartbeat() || data.is_empty() {
        return Ok(Action::Nothing);
    }
    let offset = header.offset;
    if offset > progress.length {
        return Err(Refusal::Gap {
            offset,
            length: progress.length,
        });
    }
    if !sent.verify(data, crcs) {
        return Err(Refusal::Checksum(offset));
    }
    if offset + data.len() as u64 <= progress.length {
        return Ok(Action::Nothing);
    }
    let chunk_bytes = u64::from(stored.chunk);
    let (chunk, within) = (offset / chunk_bytes, offset % chunk_bytes);
    if stored.kind == Kind::Null || (within == 0 && sent == stored) {
        return Ok(Action::Write { offset, chunk });
    }
    Ok(Action::Fill {
        offset,
        chunk,
        prefix_bytes: within as usize,
    })
}

/// Checksums of the chunks that `data` touches, whose first one begins with `prefix` that is on disk.
pub fn fill(checksum: Checksum, prefix: &[u8], data: &[u8]) -> Vec<u8> {
    let room = (checksum.chunk as usize).saturating_sub(prefix.len()).min(data.len());
    let mut first = Vec::with_capacity(prefix.len() + room);
    first.extend_from_slice(prefix);
    first.extend_from_slice(&data[..room]);
    let mut crcs = checksum.crc(&first).to_be_bytes().to_vec();
    crcs.extend(checksum.compute(&data[room..]));
    crcs
}

/// Where the checksum of `chunk` stands in a meta file.
pub fn crc_offset(checksum: Checksum, chunk: u64) -> u64 {
    (dfs_wire::checksum::META_HEADER_BYTES as u64) + chunk * checksum.crc_bytes() as u64
}

/// The checksum of the last chunk, after `crcs` of a packet.
pub fn last_crc(crcs: &[u8]) -> Option<[u8; CRC_BYTES]> {
    crcs.last_chunk::<CRC_BYTES>().copied()
}

/// What is read to answer `offset..offset + length` of a replica: whole chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub start: u64,
    pub end: u64,
}

/// The chunks around a range. `None` if the range is not in the replica.
pub fn span(checksum: Checksum, visible: u64, offset: u64, length: u64) -> Option<Span> {
    let end = offset.checked_add(length)?;
    if end > visible {
        return None;
    }
    let chunk = u64::from(checksum.chunk);
    let start = offset / chunk * chunk;
    Some(Span {
        start,
        end: end.div_ceil(chunk).saturating_mul(chunk).min(visible),
    })
}

/// This node's answer in front of those of the nodes behind it.
pub fn combine(seqno: i64, own: Status, behind: Option<&PipelineAckProto>, nodes_behind: usize) -> PipelineAckProto {
    let mut reply = vec![own as i32];
    match behind {
        Some(ack) => reply.extend(ack.reply.iter().take(nodes_behind)),
        // The next node is gone: what is behind it is unknown, and the writer looks at the first failure only.
        None if nodes_behind > 0 => reply.push(Status::Error as i32),
        None => {}
    }
    // ECN "disabled" and the status, as HDFS packs them: the low four bits.
    let flag = reply.iter().map(|status| *status as u32 & 0xf).collect();
    PipelineAckProto {
        seqno,
        reply,
        downstream_ack_time_nanos: Some(0),
        flag,
    }
}

/// True if all nodes have the packet.
pub fn is_success(ack: &PipelineAckProto) -> bool {
    ack.reply.iter().all(|status| *status == Status::Success as i32)
}

#[cfg(test)]
mod tests;
