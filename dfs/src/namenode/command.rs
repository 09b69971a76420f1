//! Commands: what the edit log holds. A call that changes the namespace becomes one, carries all that its outcome depends on
//! (who calls, the time, what the block map chose), and is executed when it is durable: now, at every replay, the same.
//!
//! A change of a field's number or meaning is a new format version of the data directory.

use dfs_wire::proto::hdfs::*;
use prost::{Message, Oneof};

use super::directory::Asker;
use super::retry::{CallKey, RetryCache};
use crate::block::NodeId;
use crate::namespace::Caller;
use crate::namespace::edit::EditBlock;

/// One record of the edit log.
#[derive(Clone, PartialEq, Message)]
pub struct Command {
    /// Milliseconds since 1970, of the name node that proposed it.
    #[prost(uint64, tag = "1")]
    pub time: u64,
    #[prost(string, tag = "2")]
    pub user: String,
    /// The caller's groups, where permissions are to be checked.
    #[prost(string, repeated, tag = "3")]
    pub groups: Vec<String>,
    /// The caller may do anything, or permissions are not checked.
    #[prost(bool, tag = "4")]
    pub privileged: bool,
    /// For the retry cache; empty if the call cannot be repeated.
    #[prost(bytes = "vec", tag = "5")]
    pub client_id: Vec<u8>,
    #[prost(sint32, tag = "6")]
    pub call_id: i32,
    /// Absent in a command that only proves that the log can be written.
    #[prost(
        oneof = "Op",
        tags = "16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, \
                39, 40, 41, 42, 43"
    )]
    pub op: Option<Op>,
}

/// What is to be done: the call as it came, and what the block map adds to it.
#[derive(Clone, PartialEq, Oneof)]
pub enum Op {
    #[prost(message, tag = "16")]
    Mkdirs(MkdirsRequestProto),
    #[prost(message, tag = "17")]
    Create(CreateRequestProto),
    #[prost(message, tag = "18")]
    Delete(DeleteRequestProto),
    #[prost(message, tag = "19")]
    Rename(RenameRequestProto),
    #[prost(message, tag = "20")]
    Rename2(Rename2RequestProto),
    #[prost(message, tag = "21")]
    SetPermission(SetPermissionRequestProto),
    #[prost(message, tag = "22")]
    SetOwner(SetOwnerRequestProto),
    #[prost(message, tag = "23")]
    SetTimes(SetTimesRequestProto),
    #[prost(message, tag = "24")]
    SetReplication(SetReplicationRequestProto),
    #[prost(message, tag = "25")]
    Concat(ConcatRequestProto),
    #[prost(message, tag = "26")]
    Append(Append),
    #[prost(message, tag = "27")]
    AddBlock(AddBlock),
    #[prost(message, tag = "28")]
    AbandonBlock(AbandonBlockRequestProto),
    #[prost(message, tag = "29")]
    Complete(CompleteRequestProto),
    #[prost(message, tag = "30")]
    Fsync(FsyncRequestProto),
    #[prost(message, tag = "31")]
    NewStamp(NewStamp),
    #[prost(message, tag = "32")]
    UpdatePipeline(UpdatePipeline),
    #[prost(message, tag = "33")]
    RecoverLease(RecoverLease),
    #[prost(message, tag = "34")]
    Truncate(Truncate),
    #[prost(message, tag = "35")]
    FinishRecovery(FinishRecovery),
    #[prost(message, tag = "36")]
    SetAccessed(SetAccessed),
    #[prost(message, tag = "37")]
    ModifyAcl(ModifyAclEntriesRequestProto),
    #[prost(message, tag = "38")]
    RemoveAclEntries(RemoveAclEntriesRequestProto),
    #[prost(message, tag = "39")]
    RemoveDefaultAcl(RemoveDefaultAclRequestProto),
    #[prost(message, tag = "40")]
    RemoveAcl(RemoveAclRequestProto),
    #[prost(message, tag = "41")]
    SetAcl(SetAclRequestProto),
    #[prost(message, tag = "42")]
    SetXattr(SetXAttrRequestProto),
    #[prost(message, tag = "43")]
    RemoveXattr(RemoveXAttrRequestProto),
}

#[derive(Clone, PartialEq, Message)]
pub struct Append {
    #[prost(message, required, tag = "1")]
    pub call: AppendRequestProto,
    /// The last block with the nodes that have it. If it is another one by the time of execution, the call is refused.
    #[prost(message, optional, tag = "2")]
    pub last: Option<LocatedBlockProto>,
}

#[derive(Clone, PartialEq, Message)]
pub struct AddBlock {
    #[prost(message, required, tag = "1")]
    pub call: AddBlockRequestProto,
    /// The chosen nodes; the block itself is filled in by the execution.
    #[prost(message, required, tag = "2")]
    pub targets: LocatedBlockProto,
    /// The block that the file has already for this call, which was made before.
    #[prost(uint64, optional, tag = "3")]
    pub repeated: Option<u64>,
}

/// `updateBlockForPipeline`.
#[derive(Clone, PartialEq, Message)]
pub struct NewStamp {
    #[prost(uint64, tag = "1")]
    pub file: u64,
    #[prost(message, required, tag = "2")]
    pub call: UpdateBlockForPipelineRequestProto,
    #[prost(message, required, tag = "3")]
    pub located: LocatedBlockProto,
}

#[derive(Clone, PartialEq, Message)]
pub struct UpdatePipeline {
    #[prost(uint64, tag = "1")]
    pub file: u64,
    #[prost(message, required, tag = "2")]
    pub call: UpdatePipelineRequestProto,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub struct RecoverLease {
    #[prost(uint64, tag = "1")]
    pub file: u64,
    /// A data node may have bytes of the last block.
    #[prost(bool, tag = "2")]
    pub any_replica: bool,
    /// Empty if the name node itself recovers the lease.
    #[prost(string, tag = "3")]
    pub path: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Truncate {
    #[prost(message, required, tag = "1")]
    pub call: TruncateRequestProto,
    /// A data node has a replica of the block that is to be cut.
    #[prost(bool, tag = "2")]
    pub any_replica: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct FinishRecovery {
    #[prost(uint64, tag = "1")]
    pub file: u64,
    #[prost(message, required, tag = "2")]
    pub block: EditBlock,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct SetAccessed {
    #[prost(uint64, tag = "1")]
    pub file: u64,
    #[prost(uint64, tag = "2")]
    pub time: u64,
}

/// What the execution of a command means for what is not replicated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Followup {
    #[default]
    None,
    /// The block that is added is written through these.
    NewPipeline(Vec<NodeId>),
    /// The block is written through these from its new generation stamp on.
    Pipeline { block: u64, nodes: Vec<NodeId> },
    /// If a block has to be recovered, these do it.
    Recovery(Vec<NodeId>),
}

impl Command {
    pub fn new(asker: &Asker, key: Option<CallKey>, time: u64, op: Op) -> Self {
        Self {
            time,
            user: asker.user.clone(),
            groups: asker.groups.to_vec(),
            privileged: asker.privileged,
            client_id: key.map(|key| key.client_id.to_vec()).unwrap_or_default(),
            call_id: key.map_or(-1, |key| key.call_id),
            op: Some(op),
        }
    }

    pub fn key(&self) -> Option<CallKey> {
        RetryCache::key(&self.client_id, self.call_id)
    }

    /// `now` only starts the terms of leases.
    pub fn caller(&self, now: u64) -> Caller<'_> {
        Caller {
            user: &self.user,
            groups: &self.groups,
            privileged: self.privileged,
            now,
            time: self.time,
        }
    }
}
