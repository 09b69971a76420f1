//! Which call goes where: one table for ClientProtocol, and short ones for what data nodes and tools ask.

use std::sync::Arc;

use bytes::Bytes;
use dfs_wire::proto::common::HaServiceStateProto;
use dfs_wire::proto::hdfs::*;
use prost::Message;

use super::directory::Asker;
use super::reach;
use super::retry::RetryCache;
use super::state::NameNode;
use crate::Error;
use crate::ipc::{
    CLIENT_PROTOCOL, CLUSTER_PROTOCOL, Call, GET_USER_MAPPINGS_PROTOCOL, NAMENODE_PROTOCOL,
    REFRESH_USER_MAPPINGS_PROTOCOL, Service,
};

/// Decodes the argument, calls, encodes the answer.
macro_rules! serve {
    ($call:expr, |$asked:ident: $type:ty| $answer:expr) => {{
        let $asked = <$type>::decode($call.argument.clone())?;
        Ok(Bytes::from($answer.encode_to_vec()))
    }};
}

/// The table of a protocol's calls. `read` changes nothing. `once` is executed once however often it comes
/// ([`NameNode::once`]); the answer of a `change` is not encoded again where the edit log has it already.
macro_rules! calls {
    ($node:ident, $call:ident, $asker:ident;
     read { $($read:literal: |$read_asked:ident: $read_type:ty| $read_answer:expr;)* }
     change { $($change:literal: |$asked:ident: $type:ty| $answer:expr;)* }
     once { $($once:literal: |$once_asked:ident: $once_type:ty| $once_answer:expr;)* }
    ) => {
        match $call.method.as_str() {
            $($read => serve!($call, |$read_asked: $read_type| $read_answer),)*
            $($change => {
                let $asked = <$type>::decode($call.argument.clone())?;
                $node.once($asker.key.as_ref(), async { Ok($answer.into_bytes()) }).await
            })*
            $($once => {
                let $once_asked = <$once_type>::decode($call.argument.clone())?;
                $node.once($asker.key.as_ref(), async { Ok(Bytes::from($once_answer.encode_to_vec())) }).await
            })*
            method if EXISTING.contains(&method) => Err(Error::Unsupported(format!(
                "{method} is not supported by this name node."
            ))),
            _ => Err(Error::NoSuchMethod($call.method.clone(), $call.protocol.clone())),
        }
    };
}

impl Service for NameNode {
    async fn call(self: Arc<Self>, call: Call) -> Result<Bytes, Error> {
        reach::at(call.reached.to_string(), self.answer(call)).await
    }

    fn check_impersonation(&self, real: &str, effective: &str, ip: &str) -> Result<(), Error> {
        NameNode::check_impersonation(self, real, effective, ip)
    }

    fn closed(&self, connection: u64) {
        self.data_node_gone(connection);
    }
}

impl NameNode {
    async fn answer(self: Arc<Self>, call: Call) -> Result<Bytes, Error> {
        match call.protocol.as_str() {
            CLIENT_PROTOCOL => {
                let key = RetryCache::key(&call.client_id, call.call_id);
                let asker = self.asker(&call.user, call.peer.ip().to_string(), key);
                self.client_call(&call, &asker).await
            }
            CLUSTER_PROTOCOL => self.cluster_call(&call).await,
            NAMENODE_PROTOCOL | REFRESH_USER_MAPPINGS_PROTOCOL | GET_USER_MAPPINGS_PROTOCOL => self.admin_call(&call),
            _ => Err(Error::NoSuchProtocol(call.protocol)),
        }
    }

    async fn client_call(self: &Arc<Self>, call: &Call, asker: &Asker) -> Result<Bytes, Error> {
        calls! { self, call, asker;
            read {
                "getFileInfo": |asked: GetFileInfoRequestProto| GetFileInfoResponseProto { fs: self.file_info(asker, &asked.src)? };
                "getFileLinkInfo": |asked: GetFileLinkInfoRequestProto| GetFileLinkInfoResponseProto { fs: self.file_info(asker, &asked.src)? };
                "getLocatedFileInfo": |asked: GetLocatedFileInfoRequestProto| GetLocatedFileInfoResponseProto { fs: self.located_file_info(asker, asked.src())? };
                "getListing": |asked: GetListingRequestProto| GetListingResponseProto { dir_list: self.listing(asker, &asked.src, &asked.start_after, asked.need_location)? };
                "getBatchedListing": |asked: GetBatchedListingRequestProto| self.batched_listing(asker, &asked)?;
                "getBlockLocations": |asked: GetBlockLocationsRequestProto| GetBlockLocationsResponseProto { locations: Some(self.block_locations(asker, &asked.src, asked.offset, asked.length, &asker.ip)?) };
                "getAclStatus": |asked: GetAclStatusRequestProto| GetAclStatusResponseProto { result: self.acl_status(asker, &asked.src)? };
                "checkAccess": |asked: CheckAccessRequestProto| { self.check_access(asker, &asked.path, asked.mode)?; CheckAccessResponseProto {} };
                "getXAttrs": |asked: GetXAttrsRequestProto| GetXAttrsResponseProto { x_attrs: self.xattrs(asker, &asked.src, &asked.x_attrs)? };
                "listXAttrs": |asked: ListXAttrsRequestProto| ListXAttrsResponseProto { x_attrs: self.xattr_names(asker, &asked.src)? };
                "getServerDefaults": |_asked: GetServerDefaultsRequestProto| GetServerDefaultsResponseProto { server_defaults: self.server_defaults() };
                "getContentSummary": |asked: GetContentSummaryRequestProto| GetContentSummaryResponseProto { summary: self.content_summary(asker, &asked.path)? };
                "getQuotaUsage": |asked: GetQuotaUsageRequestProto| GetQuotaUsageResponseProto { usage: self.quota_usage(asker, &asked.path)? };
                "getPreferredBlockSize": |asked: GetPreferredBlockSizeRequestProto| GetPreferredBlockSizeResponseProto { bsize: self.of_file(asker, &asked.filename, |file| file.block_size)? };
                "isFileClosed": |asked: IsFileClosedRequestProto| IsFileClosedResponseProto { result: self.of_file(asker, &asked.src, |file| file.holder.is_none())? };
                "renewLease": |asked: RenewLeaseRequestProto| { self.renew_lease(&asked.client_name); RenewLeaseResponseProto {} };
                "reportBadBlocks": |asked: ReportBadBlocksRequestProto| { self.report_bad_blocks(&asked); ReportBadBlocksResponseProto {} };
                "getAdditionalDatanode": |asked: GetAdditionalDatanodeRequestProto| self.additional_datanode(asker, asked)?;
                "getFsStats": |_asked: GetFsStatusRequestProto| self.fs_stats();
                "getFsReplicatedBlockStats": |_asked: GetFsReplicatedBlockStatsRequestProto| self.replicated_block_stats();
                "getFsECBlockGroupStats": |_asked: GetFsEcBlockGroupStatsRequestProto| GetFsEcBlockGroupStatsResponseProto::default();
                "getDatanodeReport": |asked: GetDatanodeReportRequestProto| GetDatanodeReportResponseProto { di: self.datanodes(asked.r#type()) };
                "getSlowDatanodeReport": |_asked: GetSlowDatanodeReportRequestProto| GetSlowDatanodeReportResponseProto::default();
                "getDatanodeStorageReport": |asked: GetDatanodeStorageReportRequestProto| self.storage_reports(asked.r#type());
                "setSafeMode": |asked: SetSafeModeRequestProto| SetSafeModeResponseProto { result: self.safe_mode(asker, asked.action())? };
                "listCorruptFileBlocks": |_asked: ListCorruptFileBlocksRequestProto| ListCorruptFileBlocksResponseProto { corrupt: self.corrupt_files() };
                "listEncryptionZones": |_asked: ListEncryptionZonesRequestProto| ListEncryptionZonesResponseProto { has_more: false };
                "getDataEncryptionKey": |_asked: GetDataEncryptionKeyRequestProto| GetDataEncryptionKeyResponseProto {};
                "msync": |_asked: MsyncRequestProto| MsyncResponseProto {};
                "getHAServiceState": |_asked: HaServiceStateRequestProto| HaServiceStateResponseProto { state: HaServiceStateProto::Active as i32 };
            }
            change {
                "mkdirs": |asked: MkdirsRequestProto| self.mkdirs(asker, asked).await?;
                "delete": |asked: DeleteRequestProto| self.delete(asker, asked).await?;
                "rename": |asked: RenameRequestProto| self.rename(asker, asked).await?;
                "rename2": |asked: Rename2RequestProto| self.rename2(asker, asked).await?;
                "setPermission": |asked: SetPermissionRequestProto| self.set_permission(asker, asked).await?;
                "setOwner": |asked: SetOwnerRequestProto| self.set_owner(asker, asked).await?;
                "setTimes": |asked: SetTimesRequestProto| self.set_times(asker, asked).await?;
                "setReplication": |asked: SetReplicationRequestProto| self.set_replication(asker, asked).await?;
                "create": |asked: CreateRequestProto| self.create(asker, asked).await?;
                "append": |asked: AppendRequestProto| self.append(asker, asked).await?;
                "addBlock": |asked: AddBlockRequestProto| self.add_block(asker, asked).await?;
                "abandonBlock": |asked: AbandonBlockRequestProto| self.abandon_block(asker, asked).await?;
                "complete": |asked: CompleteRequestProto| self.complete(asker, asked).await?;
                "fsync": |asked: FsyncRequestProto| self.fsync(asker, asked).await?;
                "updateBlockForPipeline": |asked: UpdateBlockForPipelineRequestProto| self.update_block_for_pipeline(asker, asked).await?;
                "updatePipeline": |asked: UpdatePipelineRequestProto| self.update_pipeline(asker, asked).await?;
                "truncate": |asked: TruncateRequestProto| self.truncate(asker, asked).await?;
                "modifyAclEntries": |asked: ModifyAclEntriesRequestProto| self.modify_acl(asker, asked).await?;
                "removeAclEntries": |asked: RemoveAclEntriesRequestProto| self.remove_acl_entries(asker, asked).await?;
                "removeDefaultAcl": |asked: RemoveDefaultAclRequestProto| self.remove_default_acl(asker, asked).await?;
                "removeAcl": |asked: RemoveAclRequestProto| self.remove_acl(asker, asked).await?;
                "setAcl": |asked: SetAclRequestProto| self.set_acl(asker, asked).await?;
                "setXAttr": |asked: SetXAttrRequestProto| self.set_xattr(asker, asked).await?;
                "removeXAttr": |asked: RemoveXAttrRequestProto| self.remove_xattr(asker, asked).await?;
                "concat": |asked: ConcatRequestProto| self.concat(asker, asked).await?;
            }
            once {
                "recoverLease": |asked: RecoverLeaseRequestProto| self.recover_lease(asker, asked).await?;
                "saveNamespace": |_asked: SaveNamespaceRequestProto| self.save_namespace(asker).await?;
            }
        }
    }

    /// What administrative tools and Hadoop's benchmark ask in protocols of their own.
    fn admin_call(&self, call: &Call) -> Result<Bytes, Error> {
        match (call.protocol.as_str(), call.method.as_str()) {
            (NAMENODE_PROTOCOL, "versionRequest") => serve!(call, |_asked: VersionRequestProto| VersionResponseProto {
                info: self.namespace_info()
            }),
            (REFRESH_USER_MAPPINGS_PROTOCOL, "refreshUserToGroupsMappings") => {
                serve!(call, |_asked: RefreshUserToGroupsMappingsRequestProto| {
                    self.groups.refresh();
                    RefreshUserToGroupsMappingsResponseProto {}
                })
            }
            (REFRESH_USER_MAPPINGS_PROTOCOL, "refreshSuperUserGroupsConfiguration") => {
                serve!(call, |_asked: RefreshSuperUserGroupsConfigurationRequestProto| {
                    RefreshSuperUserGroupsConfigurationResponseProto {}
                })
            }
            (GET_USER_MAPPINGS_PROTOCOL, "getGroupsForUser") => {
                serve!(call, |asked: GetGroupsForUserRequestProto| {
                    GetGroupsForUserResponseProto {
                        groups: self.groups_of(&asked.user).to_vec(),
                    }
                })
            }
            _ => Err(Error::NoSuchMethod(call.method.clone(), call.protocol.clone())),
        }
    }

    fn quota_usage(&self, asker: &Asker, path: &str) -> Result<QuotaUsageProto, Error> {
        let summary = self.content_summary(asker, path)?;
        Ok(QuotaUsageProto {
            file_and_directory_count: summary.file_count + summary.directory_count,
            quota: summary.quota,
            space_consumed: summary.space_consumed,
            space_quota: summary.space_quota,
        })
    }

    fn replicated_block_stats(&self) -> GetFsReplicatedBlockStatsResponseProto {
        let stats = self.fs_stats();
        GetFsReplicatedBlockStatsResponseProto {
            low_redundancy: stats.under_replicated,
            corrupt_blocks: stats.corrupt_blocks,
            missing_blocks: stats.missing_blocks,
            blocks_in_future: stats.blocks_in_future(),
            ..Default::default()
        }
    }

    fn storage_reports(&self, kind: DatanodeReportTypeProto) -> GetDatanodeStorageReportResponseProto {
        let report = |info: DatanodeInfoProto| DatanodeStorageReportProto {
            storage_reports: vec![StorageReportProto {
                storage_uuid: info.id.datanode_uuid.clone(),
                capacity: info.capacity,
                dfs_used: info.dfs_used,
                remaining: info.remaining,
                ..Default::default()
            }],
            datanode_info: info,
        };
        GetDatanodeStorageReportResponseProto {
            datanode_storage_reports: self.datanodes(kind).into_iter().map(report).collect(),
        }
    }

    /// Files with blocks of which no good replica is there.
    fn corrupt_files(&self) -> CorruptFileBlocksProto {
        let state = self.lock();
        let files = state.soft.blocks.lost_files().into_iter();
        CorruptFileBlocksProto {
            files: files.map(|inode| state.replicated.names.path_of(inode)).collect(),
            cookie: "0".to_owned(),
        }
    }

    async fn save_namespace(self: &Arc<Self>, asker: &Asker) -> Result<SaveNamespaceResponseProto, Error> {
        self.check_superuser(asker)?;
        let this = Arc::clone(self);
        let saved = tokio::task::spawn_blocking(move || this.checkpoint()).await;
        saved.map_err(|error| Error::Io(error.to_string()))??;
        Ok(SaveNamespaceResponseProto { saved: Some(true) })
    }
}

/// Methods that HDFS has and this name node does not: "unsupported" is a better answer than "no such method".
const EXISTING: &[&str] = &[
    "createSymlink",
    "getLinkTarget",
    "setQuota",
    "setStoragePolicy",
    "unsetStoragePolicy",
    "getStoragePolicy",
    "getStoragePolicies",
    "satisfyStoragePolicy",
    "createSnapshot",
    "deleteSnapshot",
    "renameSnapshot",
    "allowSnapshot",
    "disallowSnapshot",
    "getSnapshottableDirListing",
    "getSnapshotListing",
    "getSnapshotDiffReport",
    "getSnapshotDiffReportListing",
    "createEncryptionZone",
    "getEZForPath",
    "reencryptEncryptionZone",
    "listReencryptionStatus",
    "setErasureCodingPolicy",
    "unsetErasureCodingPolicy",
    "getErasureCodingPolicies",
    "addErasureCodingPolicies",
    "removeErasureCodingPolicy",
    "enableErasureCodingPolicy",
    "disableErasureCodingPolicy",
    "getErasureCodingPolicy",
    "getErasureCodingCodecs",
    "getECTopologyResultForPolicies",
    "listOpenFiles",
    "addCacheDirective",
    "modifyCacheDirective",
    "removeCacheDirective",
    "listCacheDirectives",
    "addCachePool",
    "modifyCachePool",
    "removeCachePool",
    "listCachePools",
    "getDelegationToken",
    "renewDelegationToken",
    "cancelDelegationToken",
    "setBalancerBandwidth",
    "rollEdits",
    "restoreFailedStorage",
    "refreshNodes",
    "finalizeUpgrade",
    "upgradeStatus",
    "rollingUpgrade",
    "metaSave",
    "getCurrentEditLogTxid",
    "getEditsFromTxid",
    "getEnclosingRoot",
];
