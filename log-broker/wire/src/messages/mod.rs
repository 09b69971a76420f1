//! The table: one file a call, one line a field.
//!
//! A line reads `name: Type [versions that carry it]`; see the `table!` macro for the rest. Names and versions are
//! those of Kafka's published protocol. [`ApiKey`] lists the calls.

pub mod add_offsets_to_txn;
pub mod add_partitions_to_txn;
pub mod alter_configs;
pub mod api_versions;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_groups;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_groups;
pub mod describe_log_dirs;
pub mod describe_producers;
pub mod describe_transactions;
pub mod end_txn;
pub mod fetch;
pub mod find_coordinator;
pub mod heartbeat;
pub mod incremental_alter_configs;
pub mod init_producer_id;
pub mod join_group;
pub mod leave_group;
pub mod list_groups;
pub mod list_offsets;
pub mod list_transactions;
pub mod metadata;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod offset_for_leader_epoch;
pub mod produce;
pub mod sync_group;
pub mod txn_offset_commit;
pub mod write_txn_markers;

use std::ops::RangeInclusive;

use crate::Message;

/// Declares [`ApiKey`] from the modules above.
macro_rules! calls {
    ($($name:ident: $request:path,)*) => {
        /// The calls of this table.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ApiKey {
            $($name,)*
        }

        impl ApiKey {
            /// Every call, by ascending key.
            pub const ALL: &[ApiKey] = &[$(ApiKey::$name,)*];

            pub fn from_key(key: i16) -> Option<Self> {
                match key {
                    $(<$request>::KEY => Some(ApiKey::$name),)*
                    _ => None,
                }
            }

            pub fn key(self) -> i16 {
                match self {
                    $(ApiKey::$name => <$request>::KEY,)*
                }
            }

            pub fn name(self) -> &'static str {
                match self {
                    $(ApiKey::$name => <$request>::API,)*
                }
            }

            /// The versions that the table can read and write.
            pub fn versions(self) -> RangeInclusive<i16> {
                match self {
                    $(ApiKey::$name => <$request>::VERSIONS,)*
                }
            }

            pub fn is_flexible(self, version: i16) -> bool {
                match self {
                    $(ApiKey::$name => <$request>::is_flexible(version),)*
                }
            }
        }
    };
}

calls! {
    Produce: produce::ProduceRequest,
    Fetch: fetch::FetchRequest,
    ListOffsets: list_offsets::ListOffsetsRequest,
    Metadata: metadata::MetadataRequest,
    OffsetCommit: offset_commit::OffsetCommitRequest,
    OffsetFetch: offset_fetch::OffsetFetchRequest,
    FindCoordinator: find_coordinator::FindCoordinatorRequest,
    JoinGroup: join_group::JoinGroupRequest,
    Heartbeat: heartbeat::HeartbeatRequest,
    LeaveGroup: leave_group::LeaveGroupRequest,
    SyncGroup: sync_group::SyncGroupRequest,
    DescribeGroups: describe_groups::DescribeGroupsRequest,
    ListGroups: list_groups::ListGroupsRequest,
    ApiVersions: api_versions::ApiVersionsRequest,
    CreateTopics: create_topics::CreateTopicsRequest,
    DeleteTopics: delete_topics::DeleteTopicsRequest,
    DeleteRecords: delete_records::DeleteRecordsRequest,
    InitProducerId: init_producer_id::InitProducerIdRequest,
    OffsetForLeaderEpoch: offset_for_leader_epoch::OffsetForLeaderEpochRequest,
    AddPartitionsToTxn: add_partitions_to_txn::AddPartitionsToTxnRequest,
    AddOffsetsToTxn: add_offsets_to_txn::AddOffsetsToTxnRequest,
    EndTxn: end_txn::EndTxnRequest,
    WriteTxnMarkers: write_txn_markers::WriteTxnMarkersRequest,
    TxnOffsetCommit: txn_offset_commit::TxnOffsetCommitRequest,
    DescribeConfigs: describe_configs::DescribeConfigsRequest,
    AlterConfigs: alter_configs::AlterConfigsRequest,
    DescribeLogDirs: describe_log_dirs::DescribeLogDirsRequest,
    CreatePartitions: create_partitions::CreatePartitionsRequest,
    DeleteGroups: delete_groups::DeleteGroupsRequest,
    IncrementalAlterConfigs: incremental_alter_configs::IncrementalAlterConfigsRequest,
    OffsetDelete: offset_delete::OffsetDeleteRequest,
    DescribeCluster: describe_cluster::DescribeClusterRequest,
    DescribeProducers: describe_producers::DescribeProducersRequest,
    DescribeTransactions: describe_transactions::DescribeTransactionsRequest,
    ListTransactions: list_transactions::ListTransactionsRequest,
}
