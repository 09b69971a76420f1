//! Do the replicas of each block agree? Each data node digests the checksums of its own.

use std::collections::VecDeque;
use std::io::Write;
use std::time::Duration;

use dfs::datanode::link::address;
use dfs::datanode::wire::{connect_within, invalid, read_message};
use dfs::ipc::{CLIENT_PROTOCOL, Client};
use dfs_wire::op::{Op, no_token};
use dfs_wire::proto::hdfs::hdfs_file_status_proto::FileType;
use dfs_wire::proto::hdfs::{
    BaseHeaderProto, BlockOpResponseProto, GetBlockLocationsRequestProto, GetBlockLocationsResponseProto,
    GetListingRequestProto, GetListingResponseProto, LocatedBlockProto, OpBlockChecksumProto, Status,
};

use super::Finding;
use crate::launch::probe::count;

/// Blocks that are compared, and entries that are looked at for them; a check is no audit.
const BLOCKS_MAX: usize = 1_000;
const ENTRIES_MAX: usize = 10_000;
/// Digesting the checksums of a block of 128 MB is reading 1 MB.
const ANSWER_MAX: Duration = Duration::from_secs(10);

pub async fn check(name_node: String) -> Result<Finding, String> {
    let id = uuid::Uuid::new_v4().into_bytes();
    let mut client = Client::new(name_node, user(), CLIENT_PROTOCOL, id);
    let (blocks, is_all) = blocks(&mut client).await?;
    let examined = tokio::task::spawn_blocking(move || compare_all(&blocks)).await;
    let (blocks, replicas, wrong) = examined.map_err(|error| error.to_string())?;
    let rest = if is_all {
        ""
    } else {
        "; there are more, which were not compared"
    };
    Ok(match wrong.as_slice() {
        [] => Finding::ok(
            "replicas",
            format!(
                "{} in {}: checksums agree{rest}",
                count(blocks, "block"),
                count(replicas, "replica")
            ),
        ),
        wrong => Finding::error(
            "replicas",
            wrong.join("; "),
            "readers get another file, or an error, depending on the data node that they ask",
            "copy the file from a good replica (`hdfs dfs -get`, which checks), put it again, and check that data node's disk",
        ),
    })
}

/// The one who started the stack may read everything.
fn user() -> String {
    std::env::var("HADOOP_USER_NAME")
        .or_else(|_| std::env::var("USER"))
        .unwrap_or_else(|_| "root".to_owned())
}

/// Blocks of complete files, from the root down; false if there are more than the limit.
async fn blocks(client: &mut Client) -> Result<(Vec<LocatedBlockProto>, bool), String> {
    let mut directories = VecDeque::from(["/".to_owned()]);
    let (mut blocks, mut entries) = (Vec::new(), 0);
    while let Some(directory) = directories.pop_front() {
        let mut start_after = Vec::new();
        loop {
            let asked = GetListingRequestProto {
                src: directory.clone(),
                start_after: start_after.into(),
                need_location: false,
            };
            let answer: Result<GetListingResponseProto, _> = client.call("getListing", &asked).await;
            // Removed meanwhile.
            let Some(listing) = answer.map_err(|error| error.to_string())?.dir_list else {
                break;
            };
            let Some(last) = listing.partial_listing.last() else {
                break;
            };
            start_after = last.path.to_vec();
            for entry in &listing.partial_listing {
                let name = String::from_utf8_lossy(&entry.path);
                let path = format!("{}/{name}", directory.trim_end_matches('/'));
                entries += 1;
                match entry.file_type() {
                    FileType::IsDir => directories.push_back(path),
                    FileType::IsFile => blocks.extend(of_file(client, path, entry.length).await?),
                    FileType::IsSymlink => {}
                }
                if blocks.len() >= BLOCKS_MAX || entries >= ENTRIES_MAX {
                    blocks.truncate(BLOCKS_MAX);
                    return Ok((blocks, false));
                }
            }
            if listing.remaining_entries == 0 {
                break;
            }
        }
    }
    Ok((blocks, true))
}

async fn of_file(client: &mut Client, path: String, length: u64) -> Result<Vec<LocatedBlockProto>, String> {
    let asked = GetBlockLocationsRequestProto {
        src: path,
        offset: 0,
        length: length.max(1),
    };
    let answer: Result<GetBlockLocationsResponseProto, _> = client.call("getBlockLocations", &asked).await;
    let located = answer.ok().and_then(|answer| answer.locations);
    // A block that is being written has no checksum yet; a file that was removed has no blocks.
    Ok(located
        .filter(|located| !located.under_construction)
        .map_or_else(Vec::new, |located| located.blocks))
}

/// How many blocks and replicas there are, and what is wrong with them.
fn compare_all(blocks: &[LocatedBlockProto]) -> (u64, u64, Vec<String>) {
    let mut wrong = Vec::new();
    let mut replicas = 0;
    for block in blocks {
        let digests: Vec<(String, Result<Vec<u8>, String>)> = block
            .locs
            .iter()
            .map(|node| {
                let node = address(node);
                let digest = digest(&node, block).map_err(|error| error.to_string());
                (node, digest)
            })
            .collect();
        replicas += digests.len() as u64;
        wrong.extend(compare(block.b.block_id, &digests));
    }
    (blocks.len() as u64, replicas, wrong)
}

fn compare(block: u64, digests: &[(String, Result<Vec<u8>, String>)]) -> Option<String> {
    if digests.is_empty() {
        return Some(format!("blk_{block} has no replica"));
    }
    if let Some((node, Err(error))) = digests.iter().find(|(_, digest)| digest.is_err()) {
        return Some(format!("blk_{block} on {node}: {error}"));
    }
    let first = &digests[0].1;
    let other = digests.iter().find(|(_, digest)| digest != first)?;
    Some(format!("blk_{block} differs between {} and {}", digests[0].0, other.0))
}

/// The digest of the checksums of a replica.
fn digest(node: &str, block: &LocatedBlockProto) -> std::io::Result<Vec<u8>> {
    let mut stream = connect_within(node, ANSWER_MAX)?;
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
        Some(checksum) if answer.status == Status::Success as i32 => Ok(checksum.block_checksum.to_vec()),
        _ => Err(invalid(answer.message.unwrap_or_default())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_that_differs_or_does_not_answer_is_named() {
        let good = |node: &str| (node.to_owned(), Ok(vec![1]));
        assert_eq!(compare(7, &[good("a"), good("b")]), None);
        let bad = ("c".to_owned(), Ok(vec![2]));
        assert_eq!(compare(7, &[good("a"), bad]).unwrap(), "blk_7 differs between a and c");
        let silent = ("d".to_owned(), Err("refused".to_owned()));
        assert_eq!(compare(7, &[good("a"), silent]).unwrap(), "blk_7 on d: refused");
        assert!(compare(7, &[]).is_some());
    }
}
