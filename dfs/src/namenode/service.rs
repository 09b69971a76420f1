//! Which call goes where.

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
                let asker = Asker {
                    user: call.user.to_string(),
                    ip: call.peer.ip().to_string(),
                    key: RetryCache::key(&call.client_id, call.call_id),
                };
                if let Some(answer) = self.read_call(&call, &asker) {
                    return answer;
                }
                self.once(asker.key.as_ref(), async {
                    if let Some(answer) = self.attribute_call(&call, &asker).await {
                        return answer;
                    }
                    self.write_call(&call, &asker).await
                })
                .await
            }
            CLUSTER_PROTOCOL => self.cluster_call(&call).await,
            NAMENODE_PROTOCOL | REFRESH_USER_MAPPINGS_PROTOCOL | GET_USER_MAPPINGS_PROTOCOL => self.admin_call(&call),
            _ => Err(Error::NoSuchProtocol(call.protocol)),
        }
    }

    /// What administrative tools and Hadoop's benchmark ask in protocols of their own.
    fn admin_call(&self, call: &Call) -> Result<Bytes, Error> {
        match (call.protocol.as_str(), call.method.as_str()) {
            (NAMENODE_PROTOCOL, "versionRequest") => serve!(call, |_asked: VersionRequestProto| VersionResponseProto {
                info: self.namespace_info()
            }),
            // Groups are looked up anew for each call.
            (REFRESH_USER_MAPPINGS_PROTOCOL, "refreshUserToGroupsMappings") => {
                serve!(call, |_asked: RefreshUserToGroupsMappingsRequestProto| {
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
                        groups: self.settings.groups_of(&asked.user),
                    }
                })
            }
            _ => Err(Error::NoSuchMethod(call.method.clone(), call.protocol.clone())),
        }
    }

    /// Calls that change nothing; `None` for any other.
    fn read_call(&self, call: &Call, asker: &Asker) -> Option<Result<Bytes, Error>> {
        Some(self.try_read_call(call, asker)).filter(|answer| !matches!(answer, Err(Error::NoSuchMethod(..))))
    }

    fn try_read_call(&self, call: &Call, asker: &Asker) -> Result<Bytes, Error> {
        match call.method.as_str() {
            "getFileInfo" => serve!(call, |asked: GetFileInfoRequestProto| GetFileInfoResponseProto {
                fs: self.file_info(&asked.src)?
            }),
            "getFileLinkInfo" => serve!(call, |asked: GetFileLinkInfoRequestProto| {
                GetFileLinkInfoResponseProto {
                    fs: self.file_info(&asked.src)?,
                }
            }),
            "getLocatedFileInfo" => {
                serve!(call, |asked: GetLocatedFileInfoRequestProto| {
                    GetLocatedFileInfoResponseProto {
                        fs: self.located_file_info(asked.src(), &asker.ip)?,
                    }
                })
            }
            "getListing" => serve!(call, |asked: GetListingRequestProto| GetListingResponseProto {
                dir_list: self.listing(&asked.src, &asked.start_after, asked.need_location, &asker.ip)?
            }),
            "getBatchedListing" => serve!(call, |asked: GetBatchedListingRequestProto| {
                self.batched_listing(&asked, &asker.ip)?
            }),
            "getBlockLocations" => {
                serve!(call, |asked: GetBlockLocationsRequestProto| {
                    GetBlockLocationsResponseProto {
                        locations: Some(self.block_locations(&asked.src, asked.offset, asked.length, &asker.ip)?),
                    }
                })
            }
            "getServerDefaults" => serve!(call, |_asked: GetServerDefaultsRequestProto| {
                GetServerDefaultsResponseProto {
                    server_defaults: self.server_defaults(),
                }
            }),
            "getContentSummary" => {
                serve!(call, |asked: GetContentSummaryRequestProto| {
                    GetContentSummaryResponseProto {
                        summary: self.content_summary(&asked.path)?,
                    }
                })
            }
            "getQuotaUsage" => serve!(call, |asked: GetQuotaUsageRequestProto| {
                let summary = self.content_summary(&asked.path)?;
                GetQuotaUsageResponseProto {
                    usage: QuotaUsageProto {
                        file_and_directory_count: summary.file_count + summary.directory_count,
                        quota: summary.quota,
                        space_consumed: summary.space_consumed,
                        space_quota: summary.space_quota,
                    },
                }
            }),
            "getPreferredBlockSize" => {
                serve!(call, |asked: GetPreferredBlockSizeRequestProto| {
                    GetPreferredBlockSizeResponseProto {
                        bsize: self.lock().names.file(&asked.filename)?.1.block_size,
                    }
                })
            }
            "isFileClosed" => serve!(call, |asked: IsFileClosedRequestProto| IsFileClosedResponseProto {
                result: self.lock().names.file(&asked.src)?.1.holder.is_none()
            }),
            "renewLease" => serve!(call, |asked: RenewLeaseRequestProto| {
                self.renew_lease(&asked.client_name);
                RenewLeaseResponseProto {}
            }),
            "reportBadBlocks" => serve!(call, |asked: ReportBadBlocksRequestProto| {
                self.report_bad_blocks(&asked);
                ReportBadBlocksResponseProto {}
            }),
            _ => self.cluster_question(call, asker),
        }
    }

    /// Questions about the whole file system.
    fn cluster_question(&self, call: &Call, asker: &Asker) -> Result<Bytes, Error> {
        match call.method.as_str() {
            "getFsStats" => serve!(call, |_asked: GetFsStatusRequestProto| self.fs_stats()),
            "getFsReplicatedBlockStats" => serve!(call, |_asked: GetFsReplicatedBlockStatsRequestProto| {
                let stats = self.fs_stats();
                GetFsReplicatedBlockStatsResponseProto {
                    low_redundancy: stats.under_replicated,
                    corrupt_blocks: stats.corrupt_blocks,
                    missing_blocks: stats.missing_blocks,
                    blocks_in_future: stats.blocks_in_future(),
                    ..Default::default()
                }
            }),
            "getFsECBlockGroupStats" => serve!(call, |_asked: GetFsEcBlockGroupStatsRequestProto| {
                GetFsEcBlockGroupStatsResponseProto::default()
            }),
            "getDatanodeReport" => serve!(call, |asked: GetDatanodeReportRequestProto| {
                GetDatanodeReportResponseProto {
                    di: self.datanodes(asked.r#type()),
                }
            }),
            // None is measured against the others.
            "getSlowDatanodeReport" => serve!(call, |_asked: GetSlowDatanodeReportRequestProto| {
                GetSlowDatanodeReportResponseProto::default()
            }),
            "getDatanodeStorageReport" => serve!(call, |asked: GetDatanodeStorageReportRequestProto| {
                let nodes = self.datanodes(asked.r#type()).into_iter();
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
                    datanode_storage_reports: nodes.map(report).collect(),
                }
            }),
            "setSafeMode" => serve!(call, |asked: SetSafeModeRequestProto| SetSafeModeResponseProto {
                result: self.safe_mode(asker, asked.action())?
            }),
            "listCorruptFileBlocks" => serve!(call, |_asked: ListCorruptFileBlocksRequestProto| {
                let corrupt = CorruptFileBlocksProto {
                    files: self.corrupt_files(),
                    cookie: "0".to_owned(),
                };
                ListCorruptFileBlocksResponseProto { corrupt }
            }),
            "listEncryptionZones" => serve!(call, |_asked: ListEncryptionZonesRequestProto| {
                ListEncryptionZonesResponseProto { has_more: false }
            }),
            "getDataEncryptionKey" => serve!(call, |_asked: GetDataEncryptionKeyRequestProto| {
                GetDataEncryptionKeyResponseProto {}
            }),
            "msync" => serve!(call, |_asked: MsyncRequestProto| MsyncResponseProto {}),
            "getHAServiceState" => serve!(call, |_asked: HaServiceStateRequestProto| HaServiceStateResponseProto {
                state: HaServiceStateProto::Active as i32
            }),
            _ => Err(Error::NoSuchMethod(call.method.clone(), call.protocol.clone())),
        }
    }

    /// Paths of files with blocks of which no good replica is there.
    fn corrupt_files(&self) -> Vec<String> {
        let state = self.lock();
        state
            .blocks
            .lost_files()
            .into_iter()
            .map(|inode| state.names.path_of(inode))
            .collect()
    }

    /// Changes of directories and attributes; `None` for any other call.
    async fn attribute_call(self: &Arc<Self>, call: &Call, asker: &Asker) -> Option<Result<Bytes, Error>> {
        let answer = self.try_attribute_call(call, asker).await;
        Some(answer).filter(|answer| !matches!(answer, Err(Error::NoSuchMethod(..))))
    }

    async fn try_attribute_call(self: &Arc<Self>, call: &Call, asker: &Asker) -> Result<Bytes, Error> {
        match call.method.as_str() {
            "mkdirs" => serve!(call, |asked: MkdirsRequestProto| self.mkdirs(asker, asked).await?),
            "delete" => serve!(call, |asked: DeleteRequestProto| self.delete(asker, asked).await?),
            "rename" => serve!(call, |asked: RenameRequestProto| self.rename(asker, asked).await?),
            "rename2" => serve!(call, |asked: Rename2RequestProto| self.rename2(asker, asked).await?),
            "setPermission" => {
                serve!(call, |asked: SetPermissionRequestProto| self
                    .set_permission(asker, asked)
                    .await?)
            }
            "setOwner" => serve!(call, |asked: SetOwnerRequestProto| self.set_owner(asker, asked).await?),
            "setTimes" => serve!(call, |asked: SetTimesRequestProto| self.set_times(asker, asked).await?),
            "setReplication" => {
                serve!(call, |asked: SetReplicationRequestProto| self
                    .set_replication(asker, asked)
                    .await?)
            }
            "saveNamespace" => serve!(call, |_asked: SaveNamespaceRequestProto| {
                self.check_superuser(asker)?;
                let this = Arc::clone(self);
                let saved = tokio::task::spawn_blocking(move || this.checkpoint()).await;
                saved.map_err(|error| Error::Io(error.to_string()))??;
                SaveNamespaceResponseProto { saved: Some(true) }
            }),
            _ => Err(Error::NoSuchMethod(call.method.clone(), call.protocol.clone())),
        }
    }

    async fn write_call(&self, call: &Call, asker: &Asker) -> Result<Bytes, Error> {
        match call.method.as_str() {
            "create" => serve!(call, |asked: CreateRequestProto| self.create(asker, asked).await?),
            "append" => serve!(call, |asked: AppendRequestProto| self.append(asker, asked).await?),
            "addBlock" => serve!(call, |asked: AddBlockRequestProto| self.add_block(asker, asked).await?),
            "abandonBlock" => {
                serve!(call, |asked: AbandonBlockRequestProto| self
                    .abandon_block(asker, asked)
                    .await?)
            }
            "getAdditionalDatanode" => serve!(call, |asked: GetAdditionalDatanodeRequestProto| {
                self.additional_datanode(asker, asked).await?
            }),
            "complete" => serve!(call, |asked: CompleteRequestProto| self.complete(asker, asked).await?),
            "fsync" => serve!(call, |asked: FsyncRequestProto| self.fsync(asker, asked).await?),
            "updateBlockForPipeline" => serve!(call, |asked: UpdateBlockForPipelineRequestProto| {
                self.update_block_for_pipeline(asker, asked).await?
            }),
            "updatePipeline" => {
                serve!(call, |asked: UpdatePipelineRequestProto| self
                    .update_pipeline(asker, asked)
                    .await?)
            }
            "recoverLease" => {
                serve!(call, |asked: RecoverLeaseRequestProto| self
                    .recover_lease(asker, asked)
                    .await?)
            }
            "truncate" => serve!(call, |asked: TruncateRequestProto| self.truncate(asker, asked).await?),
            "concat" => serve!(call, |asked: ConcatRequestProto| self.concat(asker, asked).await?),
            method if EXISTING.contains(&method) => Err(Error::Unsupported(format!(
                "{method} is not supported by this name node."
            ))),
            _ => Err(Error::NoSuchMethod(call.method.clone(), call.protocol.clone())),
        }
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
    "modifyAclEntries",
    "removeAclEntries",
    "removeDefaultAcl",
    "removeAcl",
    "setAcl",
    "getAclStatus",
    "setXAttr",
    "getXAttrs",
    "listXAttrs",
    "removeXAttr",
    "checkAccess",
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
