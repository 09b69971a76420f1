//! The other side of the data transfer protocol: writing a block to data nodes, and reading one from them.
//!
//! Data nodes copy replicas to each other with it, and WebHDFS stands in for a client.

use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use dfs_wire::checksum::Checksum;
use dfs_wire::op::{Op, no_token};
use dfs_wire::packet::Header;
use dfs_wire::proto::hdfs::op_write_block_proto::BlockConstructionStage as Stage;
use dfs_wire::proto::hdfs::{
    BaseHeaderProto, BlockOpResponseProto, ClientOperationHeaderProto, ClientReadStatusProto, DatanodeInfoProto,
    ExtendedBlockProto, OpReadBlockProto, OpWriteBlockProto, PipelineAckProto, Status, StorageTypeProto,
};
use prost::Message;

use super::wire::{NODE_TIMEOUT, Packet, connect, connect_within, invalid, node_timeout, read_message, write_both};
use crate::pipeline;

/// Packets on their way.
const WINDOW: usize = 80;

fn header(block: &ExtendedBlockProto, client: &str) -> ClientOperationHeaderProto {
    ClientOperationHeaderProto {
        base_header: BaseHeaderProto {
            block: block.clone(),
            token: Some(no_token()),
        },
        client_name: client.to_owned(),
    }
}

pub fn address(node: &DatanodeInfoProto) -> String {
    format!("{}:{}", node.id.ip_addr, node.id.xfer_port)
}

/// How far the acknowledgements of a pipeline are.
#[derive(Debug, Default)]
struct Acknowledged {
    progress: Mutex<Progress>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Progress {
    /// Packets that all nodes have.
    packets: i64,
    /// No more acknowledgements come.
    ended: bool,
}

impl Acknowledged {
    fn update(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.progress.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    /// Waits until so many packets are acknowledged; false if they will not be.
    fn wait_for(&self, packets: i64) -> bool {
        let progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = |progress: &mut Progress| progress.packets < packets && !progress.ended;
        let progress = self.changed.wait_while(progress, waiting);
        progress.unwrap_or_else(PoisonError::into_inner).packets >= packets
    }
}

/// Writes one block through a pipeline.
#[derive(Debug)]
pub struct BlockWriter {
    stream: TcpStream,
    pipeline: Vec<DatanodeInfoProto>,
    checksum: Checksum,
    seqno: i64,
    offset: u64,
    window: Option<std::sync::mpsc::SyncSender<(i64, bool)>>,
    acknowledged: Arc<Acknowledged>,
    acknowledgements: Option<JoinHandle<io::Result<()>>>,
}

impl BlockWriter {
    /// Opens the pipeline. `client` is empty when a data node copies a replica.
    pub fn open(
        block: &ExtendedBlockProto,
        targets: &[DatanodeInfoProto],
        stage: Stage,
        client: &str,
        checksum: Checksum,
    ) -> io::Result<Self> {
        let (first, rest) = targets
            .split_first()
            .ok_or_else(|| invalid("a block needs a data node"))?;
        let mut stream = connect_within(&address(first), node_timeout(NODE_TIMEOUT, targets.len()))?;
        let asked = OpWriteBlockProto {
            header: header(block, client),
            targets: rest.to_vec(),
            stage: stage as i32,
            pipeline_size: targets.len() as u32,
            min_bytes_rcvd: block.num_bytes(),
            max_bytes_rcvd: block.num_bytes(),
            latest_generation_stamp: block.generation_stamp,
            requested_checksum: checksum.to_proto(),
            target_storage_types: vec![StorageTypeProto::Disk as i32; rest.len()],
            ..Default::default()
        };
        stream.write_all(&Op::WriteBlock.encode(&asked))?;
        let answer: BlockOpResponseProto = read_message(&mut stream)?;
        if answer.status() != Status::Success {
            return Err(invalid(format!("{} {}", answer.message(), answer.first_bad_link())));
        }
        let (window, sent) = sync_channel(WINDOW);
        let reading = stream.try_clone()?;
        let acknowledged = Arc::new(Acknowledged::default());
        let seen = Arc::clone(&acknowledged);
        let acknowledgements = std::thread::Builder::new()
            .name("dn-acks".to_owned())
            .stack_size(super::STACK_BYTES)
            .spawn(move || {
                let outcome = read_acknowledgements(reading, &sent, &seen);
                seen.update(|progress| progress.ended = true);
                outcome
            })?;
        let offset = if stage == Stage::PipelineSetupAppend {
            block.num_bytes()
        } else {
            0
        };
        Ok(Self {
            stream,
            pipeline: targets.to_vec(),
            checksum,
            seqno: 0,
            offset,
            window: Some(window),
            acknowledged,
            acknowledgements: Some(acknowledgements),
        })
    }

    /// The data nodes that it writes to, the first of them directly.
    pub fn pipeline(&self) -> &[DatanodeInfoProto] {
        &self.pipeline
    }

    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// How many bytes the next packet may hold, so that it begins on a chunk boundary or fills one up.
    pub fn packet_room(&self) -> usize {
        let chunk = u64::from(self.checksum.chunk);
        match self.offset % chunk {
            0 => (64 << 10) / self.checksum.chunk.max(1) as usize * self.checksum.chunk as usize,
            within => (chunk - within) as usize,
        }
    }

    /// Sends data with checksums computed here.
    pub fn write(&mut self, data: &[u8]) -> io::Result<()> {
        let crcs = self.checksum.compute(data);
        self.packet(&crcs, data, false)
    }

    /// Sends data with its stored checksums.
    pub fn packet(&mut self, crcs: &[u8], data: &[u8], last: bool) -> io::Result<()> {
        let header = Header {
            offset: self.offset,
            seqno: self.seqno,
            last,
            data_bytes: data.len(),
            sync: last,
        };
        let mut head = header.encode(crcs.len());
        head.extend_from_slice(crcs);
        let sent = match &self.window {
            Some(window) => window
                .send((self.seqno, last))
                .map_err(|_| io::ErrorKind::BrokenPipe.into()),
            None => Err(io::Error::from(io::ErrorKind::BrokenPipe)),
        };
        sent.and_then(|()| write_both(&mut self.stream, &head, data))
            .map_err(|error| self.failure(error))?;
        self.seqno += 1;
        self.offset += data.len() as u64;
        Ok(())
    }

    /// What the acknowledgements say is better than that the connection broke.
    fn failure(&mut self, error: io::Error) -> io::Error {
        drop(self.window.take());
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
        match self.acknowledgements.take().map(JoinHandle::join) {
            Some(Ok(Err(told))) => told,
            _ => error,
        }
    }

    /// Waits until all nodes have what was sent so far, as `hflush` does.
    pub fn wait_acknowledged(&mut self) -> io::Result<()> {
        match self.acknowledged.wait_for(self.seqno) {
            true => Ok(()),
            false => Err(self.failure(io::ErrorKind::BrokenPipe.into())),
        }
    }

    /// Sends the last packet and waits until all nodes have the block. Returns its length.
    pub fn finish(mut self) -> io::Result<u64> {
        self.packet(&[], &[], true)?;
        drop(self.window.take());
        match self.acknowledgements.take().map(JoinHandle::join) {
            Some(Ok(outcome)) => outcome.map(|()| self.offset),
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

impl Drop for BlockWriter {
    /// The thread that reads acknowledgements holds the socket as well: without this the data node would wait for more.
    fn drop(&mut self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}

fn read_acknowledgements(
    mut stream: TcpStream,
    sent: &Receiver<(i64, bool)>,
    acknowledged: &Acknowledged,
) -> io::Result<()> {
    while let Ok((seqno, last)) = sent.recv() {
        let ack: PipelineAckProto = read_message(&mut stream)?;
        if ack.seqno != seqno {
            return Err(invalid("an acknowledgement came for another packet"));
        }
        if !pipeline::is_success(&ack) {
            let checksum = ack.reply.contains(&(Status::ErrorChecksum as i32));
            let kind = if checksum {
                io::ErrorKind::InvalidData
            } else {
                io::ErrorKind::Other
            };
            return Err(io::Error::new(
                kind,
                format!("a data node of the pipeline failed: {:?}", ack.reply),
            ));
        }
        acknowledged.update(|progress| progress.packets = seqno + 1);
        if last {
            return Ok(());
        }
    }
    Err(io::ErrorKind::BrokenPipe.into())
}

/// Reads `offset..offset + length` of a block from one data node and hands the pieces on, verified.
pub fn read_block(
    node: &DatanodeInfoProto,
    block: &ExtendedBlockProto,
    client: &str,
    offset: u64,
    length: u64,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut stream = connect(&address(node))?;
    let asked = OpReadBlockProto {
        header: header(block, client),
        offset,
        len: length,
        send_checksums: Some(true),
        caching_strategy: None,
    };
    stream.write_all(&Op::ReadBlock.encode(&asked))?;
    let answer: BlockOpResponseProto = read_message(&mut stream)?;
    if answer.status() != Status::Success {
        return Err(invalid(answer.message()));
    }
    let info = answer
        .read_op_checksum_info
        .ok_or_else(|| invalid("the data node sent no checksum information"))?;
    let checksum = Checksum::from_proto(&info.checksum).map_err(invalid)?;
    let mut packet = Packet::default();
    let end = offset + length;
    loop {
        let packet_header = packet.read(&mut stream)?;
        if packet_header.data_bytes == 0 {
            break;
        }
        let data = packet.data();
        if !checksum.verify(data, packet.crcs()) {
            return Err(invalid(format!(
                "blk_{} is corrupt at {}",
                block.block_id, packet_header.offset
            )));
        }
        let start = packet_header.offset;
        let from = offset.saturating_sub(start).min(data.len() as u64);
        let to = end.saturating_sub(start).min(data.len() as u64);
        if from < to {
            take(&data[from as usize..to as usize])?;
        }
    }
    let status = ClientReadStatusProto {
        status: Status::ChecksumOk as i32,
    };
    stream.write_all(&status.encode_length_delimited_to_vec())
}
