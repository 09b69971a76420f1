//! GETFILECHECKSUM: Hadoop's MD5 of the blocks' MD5s of their chunks' CRCs.

use std::io::{self, Write};

use axum::Json;
use axum::response::{IntoResponse, Response};
use dfs_wire::op::{Op, no_token};
use dfs_wire::proto::hdfs::{
    BaseHeaderProto, BlockOpResponseProto, ChecksumTypeProto, LocatedBlockProto, OpBlockChecksumProto,
    OpBlockChecksumResponseProto, Status,
};
use md5::{Digest, Md5};
use serde_json::json;
use tokio::task::block_in_place;

use super::client::FileSystem;
use super::query::Query;
use crate::Error;
use crate::datanode::link::address;
use crate::datanode::wire::{connect, invalid, read_message};

/// Bytes of the checksum itself: u32 bytes per CRC, u64 CRCs per block, MD5.
const LENGTH: usize = 28;
/// Bytes as HDFS sends them, four zeros behind.
const PADDED: usize = 32;

pub async fn answer(mut fs: FileSystem, query: &Query) -> Result<Response, Error> {
    let located = fs.locations(&query.path, 0, i64::MAX as u64).await?;
    let blocks = block_in_place(|| located.blocks.iter().map(of_block).collect::<io::Result<Vec<_>>>())?;
    let mut sums: Vec<u8> = blocks.iter().flat_map(|block| block.block_checksum.clone()).collect();
    // HDFS digests its whole buffer: 32 bytes, doubled as needed, the rest zeros.
    sums.resize(sums.len().max(32).next_power_of_two(), 0);
    let digest = Md5::digest(&sums);
    let first = blocks.first();
    let chunk = first.map_or(0, |block| block.bytes_per_crc);
    // HDFS counts them only where a file has several blocks.
    let per_block = first
        .filter(|_| blocks.len() > 1)
        .map_or(0, |block| block.crc_per_block);
    let kind = match first.map(OpBlockChecksumResponseProto::crc_type) {
        Some(ChecksumTypeProto::ChecksumCrc32c) => "CRC32C",
        _ => "CRC32",
    };
    let mut bytes = Vec::with_capacity(PADDED);
    bytes.extend_from_slice(&chunk.to_be_bytes());
    bytes.extend_from_slice(&per_block.to_be_bytes());
    bytes.extend_from_slice(&digest);
    bytes.resize(PADDED, 0);
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let body = json!({"FileChecksum": {
        "algorithm": format!("MD5-of-{per_block}MD5-of-{chunk}{kind}"), "bytes": hex, "length": LENGTH,
    }});
    Ok(Json(body).into_response())
}

/// Asks the data nodes of a block, one after another.
fn of_block(block: &LocatedBlockProto) -> io::Result<OpBlockChecksumResponseProto> {
    let mut last = invalid(format!("no data node has blk_{}", block.b.block_id));
    for node in &block.locs {
        match ask(&address(node), block) {
            Ok(answer) => return Ok(answer),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn ask(address: &str, block: &LocatedBlockProto) -> io::Result<OpBlockChecksumResponseProto> {
    let mut stream = connect(address)?;
    let asked = OpBlockChecksumProto {
        header: BaseHeaderProto {
            block: block.b.clone(),
            token: Some(no_token()),
        },
        block_checksum_options: None,
    };
    stream.write_all(&Op::BlockChecksum.encode(&asked))?;
    let answer: BlockOpResponseProto = read_message(&mut stream)?;
    match answer.checksum_response {
        Some(checksum) if answer.status == Status::Success as i32 => Ok(checksum),
        _ => Err(invalid(answer.message.unwrap_or_default())),
    }
}
