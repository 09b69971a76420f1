//! Answers: the namespace and the block map in the protocol's messages.

use dfs_wire::op::no_token;
use dfs_wire::proto::hdfs::hdfs_file_status_proto::FileType;
use dfs_wire::proto::hdfs::{
    ChecksumTypeProto, DatanodeIdProto, DatanodeInfoProto, ExtendedBlockProto, FsPermissionProto,
    FsServerDefaultsProto, HdfsFileStatusProto, LocatedBlockProto, LocatedBlocksProto, NamespaceInfoProto,
    StorageInfoProto, StorageTypeProto,
};

use super::reach;
use super::state::{NameNode, State};
use crate::block::{Node, NodeId};
use crate::namespace::{Block, Inode, Kind, Namespace};

/// The version of HDFS whose protocols are spoken, for tools that compare it, and its name node's layout.
const SOFTWARE_VERSION: &str = "3.5.0";
const LAYOUT_VERSION: i32 = -67;

/// In a status: there are entries beyond the mode.
pub const FLAG_HAS_ACL: u32 = 1;

/// A data node as clients see it.
pub fn datanode_info(node: &Node) -> DatanodeInfoProto {
    let address = &node.address;
    DatanodeInfoProto {
        id: DatanodeIdProto {
            ip_addr: reach::host(&address.ip),
            host_name: reach::host(&address.host),
            datanode_uuid: address.uuid.clone(),
            xfer_port: address.transfer_port,
            info_port: address.http_port,
            ipc_port: address.ipc_port,
            info_secure_port: None,
        },
        capacity: Some(node.usage.capacity),
        dfs_used: Some(node.usage.used),
        remaining: Some(node.usage.remaining),
        block_pool_used: Some(node.usage.used),
        last_update: Some(node.heard),
        xceiver_count: Some(node.usage.connections),
        location: Some("/default-rack".to_owned()),
        non_dfs_used: Some(
            node.usage
                .capacity
                .saturating_sub(node.usage.used.saturating_add(node.usage.remaining)),
        ),
        num_blocks: Some(node.block_count() as u32),
        ..Default::default()
    }
}

pub fn extended(pool_id: &str, block: Block) -> ExtendedBlockProto {
    ExtendedBlockProto {
        pool_id: pool_id.to_owned(),
        block_id: block.id,
        generation_stamp: block.generation_stamp,
        num_bytes: Some(block.length),
    }
}

/// What is known of a file or directory. `name` is what a listing calls it; empty where it was asked for by path.
pub fn of(names: &Namespace, inode: &Inode, name: &str, locations: Option<LocatedBlocksProto>) -> HdfsFileStatusProto {
    let mut status = HdfsFileStatusProto {
        file_type: FileType::IsDir as i32,
        path: name.as_bytes().to_vec().into(),
        length: 0,
        permission: FsPermissionProto {
            perm: inode.permission.into(),
        },
        owner: names.owner_of(inode).to_owned(),
        group: names.group_of(inode).to_owned(),
        modification_time: inode.modified,
        access_time: inode.accessed,
        file_id: Some(inode.id),
        block_replication: Some(0),
        blocksize: Some(0),
        locations,
        children_num: Some(0),
        storage_policy: Some(0),
        flags: Some(if inode.has_acl() { FLAG_HAS_ACL } else { 0 }),
        ..Default::default()
    };
    match &inode.kind {
        Kind::Directory(children) => status.children_num = Some(children.len() as i32),
        Kind::File(file) => {
            status.file_type = FileType::IsFile as i32;
            status.length = file.length();
            status.block_replication = Some(file.replication.into());
            status.blocksize = Some(file.block_size);
        }
    }
    status
}

impl NameNode {
    /// A block with the nodes that have it, or are to have it.
    pub fn located(&self, state: &State, block: Block, offset: u64, nodes: &[NodeId]) -> LocatedBlockProto {
        let nodes: Vec<&Node> = nodes.iter().map(|node| state.soft.blocks.node(*node)).collect();
        LocatedBlockProto {
            b: extended(&self.pool_id, block),
            offset,
            locs: nodes.iter().map(|node| datanode_info(node)).collect(),
            corrupt: false,
            block_token: no_token(),
            is_cached: vec![false; nodes.len()],
            storage_types: vec![StorageTypeProto::Disk as i32; nodes.len()],
            storage_i_ds: nodes.iter().map(|node| node.address.storage_uuid.clone()).collect(),
        }
    }

    /// The blocks of a file that overlap `offset..offset + length`.
    ///
    /// The block that is being written is not among them: it comes as the last block, and its length is for the reader to
    /// ask its data nodes. Neither does the file's length count it.
    pub fn locations(&self, state: &State, inode: &Inode, offset: u64, length: u64, near: &str) -> LocatedBlocksProto {
        let Some(file) = inode.as_file() else {
            return LocatedBlocksProto::default();
        };
        let now = self.now();
        let locate = |block: Block, start: u64| {
            let mut nodes = state.soft.blocks.readable(block.id, near, now);
            let mut corrupt = false;
            if nodes.is_empty()
                && let Some(info) = state.soft.blocks.get(block.id)
            {
                // Only corrupt ones are left: better than none, the client verifies what it reads.
                nodes = info.locations.iter().map(|location| location.node).collect();
                nodes.retain(|node| state.soft.blocks.node(*node).alive);
                corrupt = !nodes.is_empty();
            }
            LocatedBlockProto {
                corrupt,
                ..self.located(state, block, start, &nodes)
            }
        };
        let end = offset.saturating_add(length);
        let closed = file.blocks.len() - usize::from(file.last_open);
        let mut start = 0_u64;
        let mut blocks = Vec::new();
        for block in &file.blocks[..closed] {
            let next = start.saturating_add(block.length);
            if start < end && next > offset {
                blocks.push(locate(*block, start));
            }
            start = next;
        }
        let last_start = match file.blocks.last() {
            Some(last) if !file.last_open => start.saturating_sub(last.length),
            _ => start,
        };
        LocatedBlocksProto {
            file_length: file.closed_length(),
            blocks,
            under_construction: file.holder.is_some(),
            last_block: file.blocks.last().map(|block| locate(*block, last_start)),
            is_last_block_complete: !file.last_open && !file.blocks.is_empty(),
        }
    }

    pub fn namespace_info(&self) -> NamespaceInfoProto {
        NamespaceInfoProto {
            build_version: env!("CARGO_PKG_VERSION").to_owned(),
            block_pool_id: self.pool_id.clone(),
            storage_info: StorageInfoProto {
                layout_version: LAYOUT_VERSION as u32,
                cluster_id: format!("CID-{}", self.pool_id.trim_start_matches("BP-")),
                ..Default::default()
            },
            software_version: SOFTWARE_VERSION.to_owned(),
            ..Default::default()
        }
    }

    pub fn server_defaults(&self) -> FsServerDefaultsProto {
        FsServerDefaultsProto {
            block_size: self.settings.block_size,
            bytes_per_checksum: self.settings.bytes_per_checksum,
            write_packet_size: self.settings.packet_bytes,
            replication: self.settings.replication.into(),
            file_buffer_size: 4096,
            encrypt_data_transfer: Some(false),
            trash_interval: Some(self.settings.trash_minutes),
            checksum_type: Some(ChecksumTypeProto::ChecksumCrc32c as i32),
            key_provider_uri: Some(String::new()),
            policy_id: Some(0),
            snapshot_trash_root_enabled: Some(false),
        }
    }
}
