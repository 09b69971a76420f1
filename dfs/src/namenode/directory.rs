//! Calls on directories and attributes, and all that only reads.

use std::sync::Arc;

use dfs_wire::proto::hdfs::*;

use super::command::Op;
use super::retry::CallKey;
use super::state::{Answered, NameNode, wall_clock};
use super::status;
use crate::Error;
use crate::namespace::permission::{EXECUTE, Needs, READ};
use crate::namespace::{Caller, File};

/// Paths of one batched listing: HDFS' `dfs.batched.ls.limit`.
const BATCHED_PATHS_MAX: usize = 100;

/// Who makes a call.
#[derive(Debug, Clone)]
pub struct Asker {
    pub user: String,
    pub groups: Arc<[String]>,
    /// May do anything: a superuser, or permissions are not checked.
    pub privileged: bool,
    /// The address it calls from.
    pub ip: String,
    /// For the retry cache.
    pub key: Option<CallKey>,
}

impl Asker {
    /// The caller of what only reads.
    pub fn caller(&self) -> Caller<'_> {
        Caller {
            user: &self.user,
            groups: &self.groups,
            privileged: self.privileged,
            now: 0,
            time: 0,
        }
    }
}

impl NameNode {
    pub async fn mkdirs(
        &self,
        asker: &Asker,
        asked: MkdirsRequestProto,
    ) -> Result<Answered<MkdirsResponseProto>, Error> {
        let what = format!("create directory {}", asked.src);
        self.change(&what, asker, Op::Mkdirs(asked)).await
    }

    pub async fn delete(
        &self,
        asker: &Asker,
        asked: DeleteRequestProto,
    ) -> Result<Answered<DeleteResponseProto>, Error> {
        let what = format!("delete {}", asked.src);
        self.change(&what, asker, Op::Delete(asked)).await
    }

    pub async fn rename(
        &self,
        asker: &Asker,
        asked: RenameRequestProto,
    ) -> Result<Answered<RenameResponseProto>, Error> {
        let what = format!("rename {}", asked.src);
        self.change(&what, asker, Op::Rename(asked)).await
    }

    pub async fn rename2(
        &self,
        asker: &Asker,
        asked: Rename2RequestProto,
    ) -> Result<Answered<Rename2ResponseProto>, Error> {
        let what = format!("rename {}", asked.src);
        self.change(&what, asker, Op::Rename2(asked)).await
    }

    pub async fn set_permission(
        &self,
        asker: &Asker,
        asked: SetPermissionRequestProto,
    ) -> Result<Answered<SetPermissionResponseProto>, Error> {
        let what = format!("set permission for {}", asked.src);
        self.change(&what, asker, Op::SetPermission(asked)).await
    }

    pub async fn set_owner(
        &self,
        asker: &Asker,
        asked: SetOwnerRequestProto,
    ) -> Result<Answered<SetOwnerResponseProto>, Error> {
        let what = format!("set owner for {}", asked.src);
        self.change(&what, asker, Op::SetOwner(asked)).await
    }

    pub async fn set_times(
        &self,
        asker: &Asker,
        asked: SetTimesRequestProto,
    ) -> Result<Answered<SetTimesResponseProto>, Error> {
        if self.settings.access_time_precision_ms == 0 && i64::try_from(asked.atime).is_ok() {
            return Err(Error::Io(
                "Access time for hdfs is not configured. Please set dfs.namenode.accesstime.precision.".to_owned(),
            ));
        }
        let what = format!("set times {}", asked.src);
        self.change(&what, asker, Op::SetTimes(asked)).await
    }

    pub async fn set_replication(
        &self,
        asker: &Asker,
        asked: SetReplicationRequestProto,
    ) -> Result<Answered<SetReplicationResponseProto>, Error> {
        self.check_replication(asked.replication)?;
        let what = format!("set replication for {}", asked.src);
        self.change(&what, asker, Op::SetReplication(asked)).await
    }

    pub(super) fn check_replication(&self, replication: u32) -> Result<u16, Error> {
        let max = self.settings.replication_max;
        match u16::try_from(replication) {
            Ok(replication) if (1..=max).contains(&replication) => Ok(replication),
            _ => Err(Error::Io(format!(
                "Requested replication factor of {replication} is not within 1 and {max}"
            ))),
        }
    }

    /// What `look` finds in a file that has to be there.
    pub fn of_file<T>(&self, asker: &Asker, path: &str, look: impl FnOnce(&File) -> T) -> Result<T, Error> {
        let state = self.lock();
        state.replicated.names.check(asker.caller(), path, Needs::TRAVERSE)?;
        Ok(look(state.replicated.names.file(path)?.1))
    }

    pub fn file_info(&self, asker: &Asker, path: &str) -> Result<Option<HdfsFileStatusProto>, Error> {
        let state = self.lock();
        state.replicated.names.check(asker.caller(), path, Needs::TRAVERSE)?;
        Ok(state
            .replicated
            .names
            .lookup(path)?
            .map(|inode| status::of(&state.replicated.names, inode, "", None)))
    }

    pub fn located_file_info(&self, asker: &Asker, path: &str) -> Result<Option<HdfsFileStatusProto>, Error> {
        let state = self.lock();
        state.replicated.names.check(asker.caller(), path, Needs::TRAVERSE)?;
        Ok(state.replicated.names.lookup(path)?.map(|inode| {
            let locations = inode
                .as_file()
                .map(|_| self.locations(&state, inode, 0, u64::MAX, &asker.ip));
            status::of(&state.replicated.names, inode, "", locations)
        }))
    }

    pub fn listing(
        &self,
        asker: &Asker,
        path: &str,
        after: &[u8],
        with_locations: bool,
    ) -> Result<Option<DirectoryListingProto>, Error> {
        let state = self.lock();
        let directory = state
            .replicated
            .names
            .lookup(path)?
            .is_some_and(|inode| inode.is_directory());
        let access = if directory { READ | EXECUTE } else { 0 };
        state
            .replicated
            .names
            .check(asker.caller(), path, Needs::itself(access))?;
        let limit = self.settings.list_limit as usize;
        let Some((page, remaining)) = state.replicated.names.list(path, after, limit)? else {
            return Ok(None);
        };
        let is_directory = state
            .replicated
            .names
            .lookup(path)?
            .is_some_and(|inode| inode.is_directory());
        let partial_listing = page
            .into_iter()
            .map(|inode| {
                let name = if is_directory { &*inode.name } else { "" };
                let locations = (with_locations && !inode.is_directory())
                    .then(|| self.locations(&state, inode, 0, u64::MAX, &asker.ip));
                status::of(&state.replicated.names, inode, name, locations)
            })
            .collect();
        Ok(Some(DirectoryListingProto {
            partial_listing,
            remaining_entries: remaining as u32,
        }))
    }

    /// Lists several paths, page after page. What cannot be listed is answered with why, in its place.
    pub fn batched_listing(
        &self,
        asker: &Asker,
        asked: &GetBatchedListingRequestProto,
    ) -> Result<GetBatchedListingResponseProto, Error> {
        if asked.paths.len() > BATCHED_PATHS_MAX {
            return Err(Error::Unsupported(format!(
                "Too many source paths ({} > {BATCHED_PATHS_MAX})",
                asked.paths.len()
            )));
        }
        let (first, mut after) = match &*asked.start_after {
            [] => (0, &[][..]),
            key => match key.split_first_chunk::<4>() {
                // No name: the path itself was a file, or could not be listed.
                Some((index, [])) => (u32::from_be_bytes(*index) as usize + 1, &[][..]),
                Some((index, name)) => (u32::from_be_bytes(*index) as usize, name),
                None => {
                    return Err(Error::IllegalArgument(
                        "the key to go on listing after is not one".to_owned(),
                    ));
                }
            },
        };
        let mut answer = GetBatchedListingResponseProto::default();
        let mut entries = 0;
        for (index, path) in asked.paths.iter().enumerate().skip(first) {
            let listing = self
                .listing(asker, path, after, asked.need_location)
                .and_then(|listing| listing.ok_or_else(|| Error::FileNotFound(format!("Path {path} does not exist"))));
            after = &[];
            let mut part = BatchedDirectoryListingProto {
                parent_idx: index as u32,
                ..Default::default()
            };
            let (mut last, mut remaining) = (Vec::new(), 0);
            match listing {
                Ok(listing) => {
                    entries += listing.partial_listing.len();
                    last = listing
                        .partial_listing
                        .last()
                        .map(|status| status.path.to_vec())
                        .unwrap_or_default();
                    remaining = listing.remaining_entries;
                    part.partial_listing = listing.partial_listing;
                }
                Err(error) => {
                    part.exception = Some(RemoteExceptionProto {
                        class_name: error.java_class().to_owned(),
                        message: Some(error.to_string()),
                    });
                }
            }
            answer.listings.push(part);
            if entries >= self.settings.list_limit as usize && (index + 1 < asked.paths.len() || remaining > 0) {
                answer.has_more = true;
                answer.start_after = [&(index as u32).to_be_bytes()[..], &last].concat().into();
                break;
            }
        }
        Ok(answer)
    }

    /// Where the blocks of a file are. It counts as an access.
    pub fn block_locations(
        &self,
        asker: &Asker,
        path: &str,
        offset: u64,
        length: u64,
        near: &str,
    ) -> Result<LocatedBlocksProto, Error> {
        let state = self.lock();
        state
            .replicated
            .names
            .check(asker.caller(), path, Needs::itself(READ))?;
        let (inode, _) = state.replicated.names.file(path)?;
        let (id, accessed) = (inode.id, inode.accessed);
        let located = self.locations(&state, inode, offset, length, near);
        let precision = self.settings.access_time_precision_ms;
        let time = wall_clock();
        if precision > 0 && time > accessed.saturating_add(precision) {
            drop(state);
            self.note_access(id, time);
        }
        Ok(located)
    }

    pub fn content_summary(&self, asker: &Asker, path: &str) -> Result<ContentSummaryProto, Error> {
        let summary = {
            let state = self.lock();
            state
                .replicated
                .names
                .check(asker.caller(), path, Needs::below(READ | EXECUTE))?;
            state.replicated.names.summary(path)?
        };
        Ok(ContentSummaryProto {
            length: summary.length,
            file_count: summary.files,
            directory_count: summary.directories,
            // -1: none is set.
            quota: u64::MAX,
            space_consumed: summary.space,
            space_quota: u64::MAX,
            erasure_coding_policy: Some("Replicated".to_owned()),
        })
    }

    pub fn fs_stats(&self) -> GetFsStatsResponseProto {
        let state = self.lock();
        let usage = state.soft.blocks.usage();
        let health = state.soft.blocks.health();
        GetFsStatsResponseProto {
            capacity: usage.capacity,
            used: usage.used,
            remaining: usage.remaining,
            under_replicated: health.under_replicated,
            corrupt_blocks: health.corrupt,
            missing_blocks: health.missing,
            missing_repl_one_blocks: Some(0),
            blocks_in_future: Some(state.soft.blocks.future().1),
            pending_deletion_blocks: Some(0),
        }
    }

    pub fn datanodes(&self, kind: DatanodeReportTypeProto) -> Vec<DatanodeInfoProto> {
        let state = self.lock();
        let wanted = |node: &&crate::block::Node| match kind {
            DatanodeReportTypeProto::All => true,
            DatanodeReportTypeProto::Live => node.alive,
            DatanodeReportTypeProto::Dead => !node.alive,
            _ => false,
        };
        state
            .soft
            .blocks
            .nodes()
            .iter()
            .filter(wanted)
            .map(|node| {
                // What is kept is by a clock that never steps.
                let passed = |at: u64| wall_clock().saturating_sub(self.now().saturating_sub(at));
                DatanodeInfoProto {
                    last_update: Some(passed(node.heard)),
                    last_block_report_time: node.reported_at.map(passed),
                    ..status::datanode_info(node)
                }
            })
            .collect()
    }

    /// Enters, leaves or asks for safe mode; true if it is on afterwards. To change it is for superusers.
    pub fn safe_mode(&self, asker: &Asker, action: SafeModeActionProto) -> Result<bool, Error> {
        if action != SafeModeActionProto::SafemodeGet {
            self.check_superuser(asker)?;
        }
        let now = self.now();
        let mut state = self.lock();
        match action {
            SafeModeActionProto::SafemodeLeave | SafeModeActionProto::SafemodeForceExit => {
                let force = action == SafeModeActionProto::SafemodeForceExit;
                let (replicas, bytes) = state.soft.blocks.future();
                let Some(effects) = state.soft.blocks.leave_safe_mode(force, now) else {
                    let reason = state.soft.blocks.safe_mode_reason();
                    return Err(Error::SafeMode(format!("Cannot leave safe mode. {reason}")));
                };
                if replicas > 0 {
                    tracing::warn!(
                        replicas,
                        bytes,
                        "safe mode was left by force: replicas from the future are deleted"
                    );
                }
                state.soft.carry_out(effects);
            }
            SafeModeActionProto::SafemodeEnter => state.soft.blocks.enter_safe_mode(),
            SafeModeActionProto::SafemodeGet => {}
        }
        self.data_nodes_changed.notify_waiters();
        Ok(state.soft.blocks.in_safe_mode() || state.soft.low_on_space || self.is_failed())
    }
}
