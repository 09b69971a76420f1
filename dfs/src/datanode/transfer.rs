//! Copies of a replica to other data nodes: because a client asks (TRANSFER_BLOCK), or because the name node does.

use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use dfs_wire::proto::hdfs::op_write_block_proto::BlockConstructionStage as Stage;
use dfs_wire::proto::hdfs::{DatanodeInfoProto, ExtendedBlockProto, OpTransferBlockProto, Status};

use super::DataNode;
use super::link::BlockWriter;
use super::send::{View, chunks_of};
use super::store::State;
use super::wire::invalid;

const PACKET_BYTES: u64 = 64 << 10;

/// Serves TRANSFER_BLOCK: a client replaces a node of its pipeline, and the new one needs what the others have.
pub fn serve(node: &Arc<DataNode>, stream: &mut TcpStream, asked: &OpTransferBlockProto) -> io::Result<()> {
    let block = &asked.header.base_header.block;
    let outcome = node.check_pool(&block.pool_id).map_err(invalid).and_then(|()| {
        let state = node.store.get(block.block_id).map(|replica| replica.state);
        let stage = if state == Some(State::Finalized) {
            Stage::TransferFinalized
        } else {
            Stage::TransferRbw
        };
        copy(node, block, &asked.targets, stage, &asked.header.client_name)
    });
    let answer = match outcome {
        Ok(()) => dfs_wire::op::write_answer(Status::Success, ""),
        Err(error) => dfs_wire::op::failure(Status::Error, &error.to_string()),
    };
    stream.write_all(&answer)
}

/// Carries out the name node's order.
pub fn order(node: &Arc<DataNode>, block: &ExtendedBlockProto, targets: &[DatanodeInfoProto]) {
    node.transfers.fetch_add(1, Ordering::Relaxed);
    match copy(node, block, targets, Stage::PipelineSetupCreate, "") {
        Ok(()) => tracing::info!(block = block.block_id, targets = targets.len(), "copied a replica"),
        Err(error) => {
            tracing::warn!(block = block.block_id, %error, "could not copy a replica");
            if error.kind() == io::ErrorKind::InvalidData {
                // What was sent did not match its checksums: maybe it is this replica that is corrupt.
                node.suspect(block.block_id);
            }
        }
    }
    node.transfers.fetch_sub(1, Ordering::Relaxed);
}

fn copy(
    node: &DataNode,
    block: &ExtendedBlockProto,
    targets: &[DatanodeInfoProto],
    stage: Stage,
    client: &str,
) -> io::Result<()> {
    let view = View::open(node, block.block_id, block.generation_stamp).map_err(invalid)?;
    let sent = ExtendedBlockProto {
        generation_stamp: view.stamp,
        num_bytes: Some(view.length),
        ..block.clone()
    };
    let checksum = view.files.checksum;
    let mut writer = BlockWriter::open(&sent, targets, stage, client, checksum)?;
    let chunk = u64::from(checksum.chunk);
    let step = (PACKET_BYTES / chunk).max(1) * chunk;
    while writer.offset() < view.length {
        let bytes = step.min(view.length - writer.offset());
        let (crcs, data) = chunks_of(&view, writer.offset(), bytes)?;
        writer.packet(&crcs, &data, false)?;
    }
    writer.finish().map(|_| ())
}
