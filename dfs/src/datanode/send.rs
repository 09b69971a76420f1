//! READ_BLOCK and BLOCK_CHECKSUM: a replica goes out with the checksums it was stored with.
//!
//! Nothing is computed on the way: checksums come from the meta file, data goes from the file to the socket by `sendfile`.
//! The reader verifies. A replica whose reader went away unhappy is verified here ([`super::DataNode::suspect`]).

use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::Arc;

use dfs_wire::checksum::{CRC_BYTES, Checksum, Kind, combine};
use dfs_wire::packet::Header;
use dfs_wire::proto::hdfs::{
    BlockChecksumOptionsProto, BlockChecksumTypeProto, BlockOpResponseProto, ClientReadStatusProto,
    OpBlockChecksumProto, OpBlockChecksumResponseProto, OpReadBlockProto, ReadOpChecksumInfoProto, Status,
};
use md5::{Digest, Md5};
use prost::Message;

use super::DataNode;
use super::store::{Files, Replica};
use super::wire::{invalid, read_message};
use crate::Error;
use crate::pipeline::{Span, crc_offset, span};

/// Data bytes of a packet: two system calls each, and a reader verifies one while the next is on its way.
const PACKET_BYTES: u64 = 128 << 10;

/// A replica as it is at one moment.
pub struct View {
    pub files: Files,
    pub length: u64,
    pub stamp: u64,
    /// Overrides the last checksum on disk, which may be ahead while the replica is written.
    last_crc: Option<[u8; CRC_BYTES]>,
}

impl View {
    pub fn open(node: &DataNode, block: u64, stamp: u64) -> Result<Self, Error> {
        let (files, replica): (Files, Replica) = node.store.read(block, stamp)?;
        let (length, last_crc) = match &replica.live {
            Some(live) => {
                let snapshot = live.snapshot();
                (snapshot.length, snapshot.last_crc)
            }
            None => (replica.length, None),
        };
        Ok(Self {
            files,
            length,
            stamp: replica.stamp,
            last_crc,
        })
    }

    /// Checksums of the chunks in `start..end`; both are chunk boundaries, or the replica's end.
    pub fn crcs(&self, start: u64, end: u64) -> io::Result<Vec<u8>> {
        let checksum = self.files.checksum;
        let mut crcs = vec![0; checksum.chunks(end - start) as usize * checksum.crc_bytes()];
        let at = crc_offset(checksum, start / u64::from(checksum.chunk));
        self.files.meta.read_exact_at(&mut crcs, at)?;
        if end == self.length
            && let (Some(last), Some(place)) = (self.last_crc, crcs.last_chunk_mut::<CRC_BYTES>())
        {
            *place = last;
        }
        Ok(crcs)
    }

    /// Sends `length` bytes of data from `offset`.
    fn send_data(&self, stream: &mut TcpStream, offset: u64, length: u64) -> io::Result<()> {
        let Some(file) = self.files.data.as_fd() else {
            let mut data = vec![0; length as usize];
            self.files.data.read_exact_at(&mut data, offset)?;
            return stream.write_all(&data);
        };
        let (mut position, end) = (offset, offset + length);
        while position < end {
            let left = (end - position) as usize;
            match rustix::fs::sendfile(&*stream, file, Some(&mut position), left) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// Serves one read. `Ok`: the connection can be used again.
pub fn serve(node: &Arc<DataNode>, stream: &mut TcpStream, asked: &OpReadBlockProto) -> io::Result<()> {
    let block = &asked.header.base_header.block;
    let opened = node.check_pool(&block.pool_id).and_then(|()| {
        let view = View::open(node, block.block_id, block.generation_stamp)?;
        let span = span(view.files.checksum, view.length, asked.offset, asked.len).ok_or_else(|| {
            Error::Io(format!(
                "offset {} and length {} don't match block blk_{} (length {})",
                asked.offset, asked.len, block.block_id, view.length
            ))
        })?;
        Ok((view, span))
    });
    let (view, span) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            // Perhaps a file of it is gone.
            node.suspect(block.block_id);
            stream.write_all(&dfs_wire::op::failure(Status::Error, &error.to_string()))?;
            return Ok(());
        }
    };
    let told = match asked.send_checksums() {
        true => view.files.checksum,
        false => Checksum {
            kind: Kind::Null,
            ..view.files.checksum
        },
    };
    let answer = BlockOpResponseProto {
        status: Status::Success as i32,
        read_op_checksum_info: Some(ReadOpChecksumInfoProto {
            checksum: told.to_proto(),
            chunk_offset: span.start,
        }),
        ..Default::default()
    };
    stream.write_all(&answer.encode_length_delimited_to_vec())?;

    send_packets(stream, &view, told, span)?;
    node.read_bytes
        .fetch_add(span.end - span.start, std::sync::atomic::Ordering::Relaxed);

    match read_message::<ClientReadStatusProto>(stream) {
        Ok(status) if matches!(status.status(), Status::Success | Status::ChecksumOk) => Ok(()),
        Ok(_) => {
            node.suspect(block.block_id);
            Ok(())
        }
        Err(error) => {
            // The reader went away after all was sent and without a word: perhaps the checksums were wrong.
            node.suspect(block.block_id);
            Err(error)
        }
    }
}

/// Sends a span in packets, then the empty one that ends it.
fn send_packets(stream: &mut TcpStream, view: &View, told: Checksum, span: Span) -> io::Result<()> {
    let chunk = u64::from(told.chunk);
    let step = (PACKET_BYTES / chunk).max(1) * chunk;
    let (mut offset, mut seqno) = (span.start, 0);
    while offset < span.end {
        let bytes = step.min(span.end - offset);
        let crcs = if told.kind == Kind::Null {
            Vec::new()
        } else {
            view.crcs(offset, offset + bytes)?
        };
        let header = Header {
            offset,
            seqno,
            last: false,
            data_bytes: bytes as usize,
            sync: false,
        };
        let mut head = header.encode(crcs.len());
        head.extend_from_slice(&crcs);
        stream.write_all(&head)?;
        view.send_data(stream, offset, bytes)?;
        offset += bytes;
        seqno += 1;
    }
    let header = Header {
        offset: span.end,
        seqno,
        last: true,
        data_bytes: 0,
        sync: false,
    };
    stream.write_all(&header.encode(0))
}

/// Serves BLOCK_CHECKSUM: MD5 of all chunk checksums, or their combination.
pub fn serve_checksum(node: &Arc<DataNode>, stream: &mut TcpStream, asked: &OpBlockChecksumProto) -> io::Result<()> {
    let answer = match checksum(node, asked) {
        Ok(response) => BlockOpResponseProto {
            status: Status::Success as i32,
            checksum_response: Some(response),
            ..Default::default()
        }
        .encode_length_delimited_to_vec(),
        Err(error) => dfs_wire::op::failure(Status::Error, &error.to_string()),
    };
    stream.write_all(&answer)
}

fn checksum(node: &DataNode, asked: &OpBlockChecksumProto) -> Result<OpBlockChecksumResponseProto, Error> {
    let block = &asked.header.block;
    node.check_pool(&block.pool_id)?;
    let view = View::open(node, block.block_id, block.generation_stamp)?;
    let checksum = view.files.checksum;
    if checksum.kind == Kind::Null {
        return Err(Error::Unsupported("the block has no checksums".to_owned()));
    }
    let length = match block.num_bytes() {
        0 => view.length,
        asked => asked.min(view.length),
    };
    let chunk = u64::from(checksum.chunk);
    let whole = length / chunk * chunk;
    let mut crcs = view.crcs(0, whole)?;
    if whole < length {
        // The last chunk may be longer on disk than what was asked for.
        let mut last = vec![0; (length - whole) as usize];
        view.files.data.read_exact_at(&mut last, whole)?;
        crcs.extend_from_slice(&checksum.crc(&last).to_be_bytes());
    }
    let options = asked.block_checksum_options;
    let kind = options.map_or(BlockChecksumTypeProto::Md5crc, |options| options.block_checksum_type());
    let block_checksum = match kind {
        BlockChecksumTypeProto::Md5crc => Md5::digest(&crcs).to_vec(),
        BlockChecksumTypeProto::CompositeCrc => composite(checksum, &crcs, length).to_be_bytes().to_vec(),
    };
    Ok(OpBlockChecksumResponseProto {
        bytes_per_crc: checksum.chunk,
        crc_per_block: (crcs.len() / CRC_BYTES) as u64,
        block_checksum,
        crc_type: Some(checksum.proto_kind() as i32),
        block_checksum_options: Some(BlockChecksumOptionsProto {
            block_checksum_type: Some(kind as i32),
            stripe_length: options.and_then(|options| options.stripe_length),
        }),
    })
}

/// The checksum of all bytes, from those of the chunks.
fn composite(checksum: Checksum, crcs: &[u8], length: u64) -> u32 {
    let chunk = u64::from(checksum.chunk);
    let (mut whole, mut rest) = (0, length);
    for crc in crcs.chunks_exact(CRC_BYTES) {
        let bytes = rest.min(chunk);
        let crc = u32::from_be_bytes([crc[0], crc[1], crc[2], crc[3]]);
        whole = combine(checksum.kind, whole, crc, bytes);
        rest -= bytes;
    }
    whole
}

/// Reads all of a view: for copying a replica elsewhere.
pub fn chunks_of(view: &View, offset: u64, bytes: u64) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let mut data = vec![0; usize::try_from(bytes).map_err(invalid)?];
    view.files.data.read_exact_at(&mut data, offset)?;
    Ok((view.crcs(offset, offset + bytes)?, data))
}
