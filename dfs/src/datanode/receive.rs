//! WRITE_BLOCK: a replica comes in, is written, passed on, and acknowledged.
//!
//! Two threads: this one reads packets, passes them to the next data node and writes them; a responder waits for the next
//! node's word on each packet and sends both words upstream. So a packet is on its way to all nodes at once.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use dfs_wire::checksum::Checksum;
use dfs_wire::op::{Op, write_answer};
use dfs_wire::packet::Header;
use dfs_wire::proto::hdfs::op_write_block_proto::BlockConstructionStage as Stage;
use dfs_wire::proto::hdfs::{BlockOpResponseProto, OpWriteBlockProto, PipelineAckProto, Status};
use prost::Message;

use super::DataNode;
use super::live::Live;
use super::store::Files;
use super::wire::{Packet, connect_within, invalid, node_timeout, read_message};
use crate::Error;
use crate::pipeline::{self, Action, Progress, Refusal};

/// Packets whose acknowledgement is outstanding.
const OUTSTANDING_MAX: usize = 1024;
/// A writer that was told of a failure closes within this time, after at most these bytes.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
const DRAIN_BYTES_MAX: u64 = 64 << 20;
/// The next data node has at least this long for an acknowledgement, and longer by the graded extension for each node behind
/// it: the writer may have been silent before, and then all timeouts of a pipeline would end at the same moment.
const ACK_TIMEOUT_MIN: Duration = Duration::from_secs(5);

/// What the responder has to answer next.
struct Outstanding {
    seqno: i64,
    /// Bytes of the replica after it.
    end: u64,
    own: Status,
    last: bool,
}

struct Mirror {
    stream: TcpStream,
    /// Nodes behind this one.
    nodes: usize,
    /// How long the next one may be silent.
    timeout: Duration,
}

/// Serves one write. `Ok`: the connection can be used again.
pub fn serve(node: &Arc<DataNode>, stream: &mut TcpStream, asked: OpWriteBlockProto) -> io::Result<()> {
    let block = asked.header.base_header.block.clone();
    let live = Arc::new(Live::default());
    live.watch(stream);
    let opened = open(node, &asked, &live);
    let (files, start) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            tracing::warn!(block = block.block_id, %error, "cannot open a replica for writing");
            let status = if matches!(error, Error::AlreadyExists(_)) {
                Status::ErrorExists
            } else {
                Status::Error
            };
            stream.write_all(&dfs_wire::op::failure(status, &error.to_string()))?;
            return Err(invalid(error));
        }
    };
    let _release = Release {
        node,
        block: block.block_id,
        live: &live,
        start,
    };
    write(node, stream, &asked, &live, &files)
}

/// Lets go of a replica however its writer ends, by a panic too: a replica that is held can neither be recovered nor written.
struct Release<'a> {
    node: &'a DataNode,
    block: u64,
    live: &'a Arc<Live>,
    /// Bytes that it had before.
    start: u64,
}

impl Drop for Release<'_> {
    fn drop(&mut self) {
        // First let go of the replica, then say so: who stopped this writer goes on with the replica at once.
        let length = self.live.snapshot().length.max(self.start);
        self.node.store.release(self.block, self.live, length);
        self.live.finish();
    }
}

/// Opens the replica as the stage of the writer asks.
fn open(node: &DataNode, asked: &OpWriteBlockProto, live: &Arc<Live>) -> Result<(Files, u64), Error> {
    let block = &asked.header.base_header.block;
    node.check_pool(&block.pool_id)?;
    let id = block.block_id;
    let stage = asked.stage();
    match stage {
        Stage::PipelineSetupCreate | Stage::TransferRbw | Stage::TransferFinalized => {
            let checksum = Checksum::from_proto(&asked.requested_checksum)?;
            let temporary = stage == Stage::PipelineSetupCreate && asked.header.client_name.is_empty();
            Ok((
                node.store
                    .create(id, block.generation_stamp, checksum, temporary, live)?,
                0,
            ))
        }
        Stage::PipelineSetupAppend
        | Stage::PipelineSetupAppendRecovery
        | Stage::PipelineSetupStreamingRecovery
        | Stage::PipelineCloseRecovery => {
            node.stop_writer(id)?;
            let stamp = asked.latest_generation_stamp.max(block.generation_stamp);
            let (files, length) = node.store.reopen(id, stamp, live)?;
            live.start_at(length);
            Ok((files, length))
        }
        Stage::DataStreaming | Stage::PipelineClose => {
            Err(Error::Io(format!("a pipeline cannot be opened in stage {stage:?}")))
        }
    }
}

fn write(
    node: &Arc<DataNode>,
    stream: &mut TcpStream,
    asked: &OpWriteBlockProto,
    live: &Arc<Live>,
    files: &Files,
) -> io::Result<()> {
    let mirror = match connect_mirror(asked, live, node.settings.socket_timeout) {
        Ok(mirror) => mirror,
        Err((bad_link, error)) => {
            tracing::warn!(block = asked.header.base_header.block.block_id, bad_link, %error, "cannot open the pipeline to the next data node");
            stream.write_all(&write_answer(Status::Error, &bad_link))?;
            return Err(error);
        }
    };
    stream.write_all(&write_answer(Status::Success, ""))?;
    if asked.stage() == Stage::PipelineCloseRecovery {
        // All packets were acknowledged before: there is nothing to come.
        return finish(node, asked, live, files).map_err(invalid);
    }
    let (queue, outstanding) = sync_channel(OUTSTANDING_MAX);
    let upstream = stream.try_clone()?;
    let behind = mirror.as_ref().map(Behind::new).transpose()?;
    let responder_live = Arc::clone(live);
    let responder = std::thread::Builder::new()
        .name("dn-responder".to_owned())
        .stack_size(super::STACK_BYTES)
        .spawn(move || respond(upstream, behind, &outstanding, &responder_live))?;
    let received = receive(node, stream, asked, live, files, mirror, queue);
    let responded = responder
        .join()
        .unwrap_or_else(|_| Err(io::Error::other("the responder died")));
    received.and(responded)
}

fn connect_mirror(
    asked: &OpWriteBlockProto,
    live: &Live,
    socket_timeout: Duration,
) -> Result<Option<Mirror>, (String, io::Error)> {
    let Some((next, rest)) = asked.targets.split_first() else {
        return Ok(None);
    };
    let timeout = node_timeout(socket_timeout, asked.targets.len());
    let address = format!("{}:{}", next.id.ip_addr, next.id.xfer_port);
    let mut forwarded = asked.clone();
    forwarded.targets = rest.to_vec();
    if !forwarded.target_storage_types.is_empty() {
        forwarded.storage_type = Some(forwarded.target_storage_types.remove(0));
    }
    if !forwarded.target_storage_ids.is_empty() {
        forwarded.storage_id = Some(forwarded.target_storage_ids.remove(0));
    }
    let open = || -> io::Result<(TcpStream, BlockOpResponseProto)> {
        let mut stream = connect_within(&address, timeout)?;
        stream.write_all(&Op::WriteBlock.encode(&forwarded))?;
        let answer = read_message(&mut stream)?;
        Ok((stream, answer))
    };
    match open() {
        Ok((stream, answer)) if answer.status() == Status::Success => {
            live.watch(&stream);
            Ok(Some(Mirror {
                stream,
                nodes: rest.len() + 1,
                timeout,
            }))
        }
        Ok((_, answer)) => {
            let link = answer.first_bad_link.clone().filter(|link| !link.is_empty());
            Err((link.unwrap_or(address), invalid(answer.message())))
        }
        Err(error) => Err((address, error)),
    }
}

fn receive(
    node: &Arc<DataNode>,
    stream: &mut TcpStream,
    asked: &OpWriteBlockProto,
    live: &Arc<Live>,
    files: &Files,
    mut mirror: Option<Mirror>,
    queue: SyncSender<Outstanding>,
) -> io::Result<()> {
    // Each data node translates for itself: the packet goes on as it came.
    let sent = Checksum::from_proto(&asked.requested_checksum).map_err(invalid)?;
    let mut packet = Packet::default();
    loop {
        let header = packet.read(stream)?;
        if let Some(next) = &mut mirror
            && let Err(error) = packet.forward(&mut next.stream)
        {
            // The responder will not hear of this packet from the next node, and tell the writer.
            tracing::warn!(%error, "cannot write to the next data node");
            mirror = None;
        }
        let written = store_packet(live, files, sent, &header, &packet).and_then(|()| {
            if header.last {
                return finish(node, asked, live, files);
            }
            if header.sync {
                node.store.sync(asked.header.base_header.block.block_id, files)?;
            }
            Ok(())
        });
        let own = match &written {
            Ok(()) => Status::Success,
            Err(Error::IllegalArgument(_)) => Status::ErrorChecksum,
            Err(_) => Status::Error,
        };
        let end = header.offset + header.data_bytes as u64;
        let outstanding = Outstanding {
            seqno: header.seqno,
            end,
            own,
            last: header.last,
        };
        let gone = queue.send(outstanding).is_err();
        if let Err(error) = written {
            tracing::warn!(block = asked.header.base_header.block.block_id, %error, "a packet could not be written");
            drop(queue);
            drain(stream);
            return Err(invalid(error));
        }
        if header.last {
            return Ok(());
        }
        if gone {
            drain(stream);
            return Err(io::ErrorKind::BrokenPipe.into());
        }
    }
}

/// Reads on until the writer closes: closing with unread packets would reset the connection, and the writer would lose the
/// acknowledgement that tells it which node failed.
fn drain(stream: &mut TcpStream) {
    let _ = stream.set_read_timeout(Some(DRAIN_TIMEOUT));
    let mut rest = stream.take(DRAIN_BYTES_MAX);
    let _ = io::copy(&mut rest, &mut io::sink());
}

/// Writes a packet's data, then its checksums, then says how far the replica is: in this order, so that a reader who is
/// told of a length finds it.
fn store_packet(live: &Live, files: &Files, sent: Checksum, header: &Header, packet: &Packet) -> Result<(), Error> {
    if live.is_stopped() {
        return Err(Error::Io("the writer was stopped".to_owned()));
    }
    let (data, mut crcs) = (packet.data(), packet.crcs());
    let progress = Progress {
        length: live.snapshot().length,
    };
    let action =
        pipeline::receive(sent, files.checksum, progress, header, crcs, data).map_err(|refusal| match refusal {
            Refusal::Checksum(_) => Error::IllegalArgument(refusal.to_string()),
            other => Error::Io(other.to_string()),
        })?;
    let filled;
    let (offset, chunk) = match action {
        Action::Nothing => return Ok(()),
        Action::Write { offset, chunk } => (offset, chunk),
        Action::Fill {
            offset,
            chunk,
            prefix_bytes,
        } => {
            let mut prefix = vec![0; prefix_bytes];
            files.data.read_exact_at(&mut prefix, offset - prefix_bytes as u64)?;
            filled = pipeline::fill(files.checksum, &prefix, data);
            crcs = &filled;
            (offset, chunk)
        }
    };
    files.data.write_at(data, offset)?;
    if files.checksum.crc_bytes() > 0 {
        files.meta.write_at(crcs, pipeline::crc_offset(files.checksum, chunk))?;
    }
    let last_crc = pipeline::last_crc(crcs).filter(|_| files.checksum.crc_bytes() > 0);
    live.wrote(offset + data.len() as u64, last_crc);
    Ok(())
}

/// The replica is whole: durable, final, reported. A copy of one that is still written elsewhere stays open for its writer.
fn finish(node: &Arc<DataNode>, asked: &OpWriteBlockProto, live: &Arc<Live>, files: &Files) -> Result<(), Error> {
    let id = asked.header.base_header.block.block_id;
    let length = live.snapshot().length;
    if matches!(asked.stage(), Stage::TransferRbw | Stage::TransferFinalized) {
        node.store.sync(id, files)?;
        return Ok(());
    }
    node.store.finalize(id, files, length)?;
    live.acknowledged(length);
    node.received(id);
    Ok(())
}

/// The next data node's acknowledgements.
struct Behind {
    stream: TcpStream,
    nodes: usize,
    timeout: Duration,
    /// When it was last heard of.
    heard: Instant,
}

impl Behind {
    fn new(mirror: &Mirror) -> io::Result<Self> {
        Ok(Self {
            stream: mirror.stream.try_clone()?,
            nodes: mirror.nodes,
            timeout: mirror.timeout,
            heard: Instant::now(),
        })
    }

    /// The acknowledgement of `seqno`; `None` if the next node is gone or silent for too long. The time is counted from the
    /// last acknowledgement, as the writer upstream does, which waits for 5 s longer.
    fn acknowledgement(&mut self, seqno: i64) -> Option<PipelineAckProto> {
        let left = self.timeout.saturating_sub(self.heard.elapsed());
        let least = node_timeout(ACK_TIMEOUT_MIN, self.nodes);
        self.stream.set_read_timeout(Some(left.max(least))).ok()?;
        let read = read_message::<PipelineAckProto>(&mut self.stream);
        if let Err(error) = &read {
            tracing::warn!(%error, "no acknowledgement from the next data node");
        }
        self.heard = Instant::now();
        read.ok().filter(|ack| ack.seqno == seqno)
    }
}

/// Sends acknowledgements upstream, in order.
fn respond(
    mut upstream: TcpStream,
    mut behind: Option<Behind>,
    queue: &Receiver<Outstanding>,
    live: &Live,
) -> io::Result<()> {
    let nodes_behind = behind.as_ref().map_or(0, |behind| behind.nodes);
    while let Ok(outstanding) = queue.recv() {
        let downstream = behind
            .as_mut()
            .and_then(|behind| behind.acknowledgement(outstanding.seqno));
        let ack = pipeline::combine(outstanding.seqno, outstanding.own, downstream.as_ref(), nodes_behind);
        let success = pipeline::is_success(&ack);
        if success && outstanding.seqno >= 0 {
            live.acknowledged(outstanding.end);
        }
        upstream.write_all(&ack.encode_length_delimited_to_vec())?;
        if !success {
            // The writer makes a new pipeline; nothing more comes on this one.
            let _ = upstream.shutdown(std::net::Shutdown::Write);
            return Err(io::Error::other("a node of the pipeline failed"));
        }
        if outstanding.last {
            return Ok(());
        }
    }
    Err(io::ErrorKind::BrokenPipe.into())
}
