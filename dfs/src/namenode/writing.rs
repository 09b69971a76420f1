//! Calls of writers: create, append, addBlock, complete, and what they need when a data node fails them.

use dfs_wire::proto::hdfs::*;

use super::directory::Asker;
use super::state::{Answered, NameNode, PendingRecovery, State};
use crate::Error;
use crate::block::{Command, NodeId};
use crate::namespace::file::{Creation, NextBlock, Recovery};
use crate::namespace::{Block, Caller, InodeId};

/// A data node must have room for this many bytes to be given a new block. It refuses by itself what does not fit.
const ROOM_BYTES: u64 = 1 << 20;
/// A recovery that the data nodes did not finish is ordered again after this.
const RECOVERY_RETRY_MS: u64 = 10_000;

const FLAG_CREATE: u32 = CreateFlagProto::CREATE;
const FLAG_OVERWRITE: u32 = CreateFlagProto::OVERWRITE;
const FLAG_NEW_BLOCK: u32 = CreateFlagProto::NEW_BLOCK;

/// Bits of `create` and `append`.
struct CreateFlagProto;
impl CreateFlagProto {
    const CREATE: u32 = 0x01;
    const OVERWRITE: u32 = 0x02;
    const NEW_BLOCK: u32 = 0x20;
}

fn block_of(message: &ExtendedBlockProto) -> Block {
    Block {
        id: message.block_id,
        generation_stamp: message.generation_stamp,
        length: message.num_bytes(),
    }
}

/// The nodes that a client names; those that are not known are left out.
fn nodes_of<'a>(state: &State, infos: impl IntoIterator<Item = &'a DatanodeIdProto>) -> Vec<NodeId> {
    infos
        .into_iter()
        .filter_map(|id| state.blocks.find_node(&id.datanode_uuid))
        .map(|node| node.id)
        .collect()
}

impl NameNode {
    pub async fn create(
        &self,
        asker: &Asker,
        asked: CreateRequestProto,
    ) -> Result<Answered<CreateResponseProto>, Error> {
        if asked.client_name.is_empty() {
            return Err(Error::IllegalArgument("create needs a client name".to_owned()));
        }
        if asked.ec_policy_name.as_deref().is_some_and(|name| !name.is_empty()) {
            return Err(Error::Unsupported("Erasure coding is not supported.".to_owned()));
        }
        let replication = self.check_replication(asked.replication)?;
        // A negative number in HDFS' signed field.
        if asked.block_size > i64::MAX as u64 || asked.block_size < self.settings.block_size_min {
            return Err(Error::Io(format!(
                "Specified block size is less than configured minimum value (dfs.namenode.fs-limits.min-block-size): {} < {}",
                asked.block_size as i64, self.settings.block_size_min
            )));
        }
        if asked.create_flag & FLAG_OVERWRITE == 0 {
            self.take_over(asker, &asked.src, &asked.client_name).await?;
        }
        self.change(&format!("create file {}", asked.src), asker.key, |state, now| {
            let creation = Creation {
                path: &asked.src,
                permission: asked.masked.perm as u16,
                holder: &asked.client_name,
                create: asked.create_flag & FLAG_CREATE != 0,
                overwrite: asked.create_flag & FLAG_OVERWRITE != 0,
                create_parent: asked.create_parent,
                replication,
                block_size: asked.block_size,
            };
            let id = state.names.create(asker.at(now), creation)?;
            let inode = state.names.inode(id).ok_or_else(|| Error::not_found(&asked.src))?;
            Ok(CreateResponseProto {
                fs: Some(self.status(state, inode, "", None)),
            })
        })
        .await
    }

    pub async fn append(
        &self,
        asker: &Asker,
        asked: AppendRequestProto,
    ) -> Result<Answered<AppendResponseProto>, Error> {
        self.take_over(asker, &asked.src, &asked.client_name).await?;
        let new_block = asked.flag() & FLAG_NEW_BLOCK != 0;
        self.change(&format!("append to file {}", asked.src), asker.key, |state, now| {
            if let Ok((_, file)) = state.names.file(&asked.src)
                && let Some(last) = file.blocks.last()
                && file.holder.is_none()
                && state.blocks.readable(last.id, "", now).is_empty()
            {
                return Err(Error::Io(format!("append: the last block of {} is missing", asked.src)));
            }
            let caller = asker.at(now);
            let (id, last) = state.names.append(caller, &asked.src, &asked.client_name, new_block)?;
            // The block map must know of the reopened block before its pipeline is asked for.
            let changes = state.names.take_changes();
            state.step(crate::block::Event::Changed(&changes), now);
            let inode = state.names.inode(id).ok_or_else(|| Error::not_found(&asked.src))?;
            let block = last.map(|block| {
                let offset = inode.as_file().map_or(0, |file| file.closed_length());
                let nodes = state.blocks.readable(block.id, &asker.ip, now);
                self.located(state, block, offset, &nodes)
            });
            Ok(AppendResponseProto {
                block,
                stat: Some(self.status(state, inode, "", None)),
            })
        })
        .await
    }

    /// Starts to close a file whose writer was not heard of for the soft limit, because another wants to write it.
    pub(super) async fn take_over(&self, asker: &Asker, path: &str, holder: &str) -> Result<(), Error> {
        if self.lock().names.can_be_taken_over(path, holder, self.now()) {
            self.recover(asker, path).await?;
        }
        Ok(())
    }

    pub async fn recover_lease(
        &self,
        asker: &Asker,
        asked: RecoverLeaseRequestProto,
    ) -> Result<RecoverLeaseResponseProto, Error> {
        Ok(RecoverLeaseResponseProto {
            result: self.recover(asker, &asked.src).await?,
        })
    }

    async fn recover(&self, asker: &Asker, path: &str) -> Result<bool, Error> {
        let answer: Answered<RecoverLeaseResponseProto> = self
            .change(&format!("recover the lease of {path}"), None, |state, now| {
                let (inode, _) = state.names.file(path)?;
                let id = inode.id;
                Ok(RecoverLeaseResponseProto {
                    result: self.start_recovery(state, asker.at(now), id)?,
                })
            })
            .await?;
        Ok(answer.result)
    }

    /// Closes a file, or orders the recovery of its last block; true if it is closed.
    pub(super) fn start_recovery(&self, state: &mut State, caller: Caller, file: InodeId) -> Result<bool, Error> {
        let open = state
            .names
            .inode(file)
            .and_then(|inode| inode.as_file())
            .and_then(|file| file.open_block());
        let nodes = open
            .map(|block| state.blocks.readable(block.id, "", caller.now))
            .unwrap_or_default();
        if let Some(block) = open
            && let Some(pending) = state.recoveries.get(&block.id)
            && pending.ordered + RECOVERY_RETRY_MS > caller.now
        {
            return Ok(false);
        }
        // A block with a length, none of whose nodes is there: wait for them.
        if open.is_some_and(|block| block.length > 0) && nodes.is_empty() {
            return Ok(false);
        }
        match state.names.recover_lease(caller, file, !nodes.is_empty())? {
            Recovery::Closed => Ok(true),
            Recovery::Block {
                file,
                block,
                new_stamp,
                truncating,
            } => {
                let pending = PendingRecovery {
                    file,
                    new_stamp,
                    ordered: caller.now,
                };
                state.recoveries.insert(block.id, pending);
                let primary = nodes[0];
                let command = Command::Recover {
                    block,
                    new_stamp,
                    truncating,
                    locations: nodes,
                };
                state.commands.entry(primary).or_default().push(command);
                Ok(false)
            }
        }
    }

    pub async fn add_block(
        &self,
        asker: &Asker,
        asked: AddBlockRequestProto,
    ) -> Result<Answered<AddBlockResponseProto>, Error> {
        let previous = asked.previous.as_ref().map(block_of);
        if let Some(previous) = previous {
            self.wait_stored(previous).await;
        }
        // A data node that is being restarted is worth a moment; one that the client could not reach is not waited for.
        if asked.exclude_nodes.is_empty() {
            self.wait_for_data_nodes(|state, now| state.blocks.can_place(&[], now))
                .await;
        }
        self.change(&format!("add block to {}", asked.src), asker.key, |state, now| {
            let (id, file) = state.names.held(&asked.src, asked.file_id(), &asked.client_name)?;
            let length = file.length();
            let replication = usize::from(file.replication);
            let named = previous.map(|block| (block.id, block.generation_stamp, block.length));
            let next = state.names.next_block(file, named)?;
            let excluded = nodes_of(state, asked.exclude_nodes.iter().map(|info| &info.id));
            if let NextBlock::Repeated(block) = next {
                let mut nodes = state.blocks.readable(block.id, &asker.ip, now);
                if nodes.is_empty() {
                    nodes = self.targets(state, replication, &excluded, asker, now)?;
                    state.blocks.set_pipeline(block.id, nodes.clone());
                }
                return Ok(AddBlockResponseProto {
                    block: self.located(state, block, length, &nodes),
                });
            }
            let NextBlock::Add { previous } = next else {
                return Err(Error::Io("no block to add".to_owned()));
            };
            if previous.is_some_and(|previous| !state.blocks.is_stored(previous)) {
                return Err(Error::NotReplicatedYet(asked.src.clone()));
            }
            let nodes = self.targets(state, replication, &excluded, asker, now)?;
            let caller = asker.at(now);
            if let Some(previous) = previous {
                state.names.update_last_block(caller, id, previous, true)?;
            }
            let block = state.names.add_block(caller, id)?;
            let changes = state.names.take_changes();
            state.step(crate::block::Event::Changed(&changes), now);
            state.blocks.set_pipeline(block.id, nodes.clone());
            let offset = state
                .names
                .inode(id)
                .and_then(|inode| inode.as_file())
                .map_or(0, |file| file.length());
            Ok(AddBlockResponseProto {
                block: self.located(state, block, offset, &nodes),
            })
        })
        .await
    }

    fn targets(
        &self,
        state: &State,
        replication: usize,
        excluded: &[NodeId],
        asker: &Asker,
        now: u64,
    ) -> Result<Vec<NodeId>, Error> {
        let nodes = state
            .blocks
            .place(replication, ROOM_BYTES, excluded, &asker.ip, now, self.seed());
        if nodes.is_empty() {
            let live = state.blocks.live_nodes().count();
            return Err(Error::Io(format!(
                "File could only be written to 0 of the 1 minReplication nodes. There are {live} datanode(s) running and {} \
                 node(s) are excluded in this operation.",
                excluded.len()
            )));
        }
        Ok(nodes)
    }

    pub async fn abandon_block(
        &self,
        asker: &Asker,
        asked: AbandonBlockRequestProto,
    ) -> Result<Answered<AbandonBlockResponseProto>, Error> {
        self.change(&format!("abandon a block of {}", asked.src), asker.key, |state, now| {
            let (id, _) = state.names.held(&asked.src, asked.file_id(), &asked.holder)?;
            state.names.abandon_block(asker.at(now), id, asked.b.block_id)?;
            Ok(AbandonBlockResponseProto {})
        })
        .await
    }

    /// Replaces nodes of a pipeline that failed. Where there are none, the answer has none: the client decides whether it
    /// goes on with fewer.
    pub fn additional_datanode(
        &self,
        asker: &Asker,
        asked: GetAdditionalDatanodeRequestProto,
    ) -> Result<GetAdditionalDatanodeResponseProto, Error> {
        let now = self.now();
        let state = self.lock();
        state.names.held(&asked.src, asked.file_id(), &asked.client_name)?;
        let mut nodes = nodes_of(&state, asked.existings.iter().map(|info| &info.id));
        let mut excluded = nodes_of(&state, asked.excludes.iter().map(|info| &info.id));
        excluded.extend(&nodes);
        let count = asked.num_additional_nodes.min(16) as usize;
        let added = state
            .blocks
            .place(count, ROOM_BYTES, &excluded, &asker.ip, now, self.seed());
        nodes.extend(added);
        let block = self.located(&state, block_of(&asked.blk), 0, &nodes);
        Ok(GetAdditionalDatanodeResponseProto { block })
    }

    pub async fn complete(
        &self,
        asker: &Asker,
        asked: CompleteRequestProto,
    ) -> Result<Answered<CompleteResponseProto>, Error> {
        let last = asked.last.as_ref().map(block_of);
        // The data node's report is on its way: waiting some milliseconds for it spares the client a sleep of 400.
        let awaited = match last {
            Some(last) => Some(last),
            None => self.open_block(&asked),
        };
        if let Some(awaited) = awaited {
            self.wait_stored(awaited).await;
        }
        self.change(
            &format!("complete file {}", asked.src),
            // Not kept for retries: a file that is closed with that block is complete again.
            None,
            |state, now| {
                if let Some(answer) = already_complete(state, &asked, last) {
                    return Ok(CompleteResponseProto { result: answer });
                }
                let (id, file) = state.names.held(&asked.src, asked.file_id(), &asked.client_name)?;
                let caller = asker.at(now);
                if let Some(open) = file.open_block() {
                    let committed = last.unwrap_or(open);
                    let stamp = open.generation_stamp;
                    state.names.check_open_block(file, committed, stamp..=stamp)?;
                    if !state.blocks.is_stored(committed) {
                        return Ok(CompleteResponseProto { result: false });
                    }
                    state.names.update_last_block(caller, id, committed, true)?;
                }
                state.names.close(caller, id)?;
                Ok(CompleteResponseProto { result: true })
            },
        )
        .await
    }

    fn open_block(&self, asked: &CompleteRequestProto) -> Option<Block> {
        let state = self.lock();
        let (_, file) = state.names.held(&asked.src, asked.file_id(), &asked.client_name).ok()?;
        file.open_block()
    }

    /// Records how long the block that is being written is at least.
    pub async fn fsync(&self, asker: &Asker, asked: FsyncRequestProto) -> Result<Answered<FsyncResponseProto>, Error> {
        self.change(&format!("fsync {}", asked.src), asker.key, |state, now| {
            let (id, file) = state.names.held(&asked.src, asked.file_id(), &asked.client)?;
            let length = u64::try_from(asked.last_block_length()).unwrap_or(0);
            if let Some(open) = file.open_block()
                && length > open.length
            {
                let stamp = open.generation_stamp;
                let block = Block { length, ..open };
                state.names.check_open_block(file, block, stamp..=stamp)?;
                state.names.update_last_block(asker.at(now), id, block, false)?;
            }
            Ok(FsyncResponseProto {})
        })
        .await
    }

    pub async fn update_block_for_pipeline(
        &self,
        asker: &Asker,
        asked: UpdateBlockForPipelineRequestProto,
    ) -> Result<Answered<UpdateBlockForPipelineResponseProto>, Error> {
        self.change("update a pipeline", asker.key, |state, now| {
            self.writer_of(state, asked.block.block_id, &asked.client_name)?;
            let generation_stamp = state.names.next_stamp(asker.at(now))?;
            let block = Block {
                generation_stamp,
                ..block_of(&asked.block)
            };
            let nodes = state.blocks.readable(block.id, &asker.ip, now);
            Ok(UpdateBlockForPipelineResponseProto {
                block: self.located(state, block, 0, &nodes),
            })
        })
        .await
    }

    /// The file that has `block` open for `holder`.
    fn writer_of(&self, state: &State, block: u64, holder: &str) -> Result<(InodeId, Block), Error> {
        let gone = || Error::Io(format!("blk_{block} does not exist or is not under construction"));
        let inode = state.blocks.get(block).ok_or_else(gone)?.inode;
        let (id, file) = state.names.held(&state.names.path_of(inode), inode, holder)?;
        let open = file.open_block().filter(|open| open.id == block).ok_or_else(gone)?;
        Ok((id, open))
    }

    pub async fn update_pipeline(
        &self,
        asker: &Asker,
        asked: UpdatePipelineRequestProto,
    ) -> Result<Answered<UpdatePipelineResponseProto>, Error> {
        self.change("update a pipeline", asker.key, |state, now| {
            let (file, open) = self.writer_of(state, asked.new_block.block_id, &asked.client_name)?;
            let new = block_of(&asked.new_block);
            let issued = open.generation_stamp + 1..=state.names.generation_stamp();
            let held = state.names.inode(file).and_then(|inode| inode.as_file());
            let held = held.ok_or_else(|| Error::not_found(&format!("inode {file}")))?;
            state.names.check_open_block(held, new, issued)?;
            let nodes = nodes_of(state, &asked.new_nodes);
            state.blocks.set_pipeline(new.id, nodes);
            state.names.update_last_block(asker.at(now), file, new, false)?;
            Ok(UpdatePipelineResponseProto {})
        })
        .await
    }

    pub fn renew_lease(&self, holder: &str) {
        let now = self.now();
        self.lock().names.renew_lease(holder, now);
    }

    pub fn report_bad_blocks(&self, asked: &ReportBadBlocksRequestProto) {
        let now = self.now();
        let mut state = self.lock();
        for block in &asked.blocks {
            for node in &block.locs {
                let (uuid, block) = (&node.id.datanode_uuid, block.b.block_id);
                tracing::warn!(block, node = uuid, "a client reported a corrupt replica");
                state.step(crate::block::Event::Corrupt { uuid, block }, now);
            }
        }
    }
}

/// A repeated `complete` of a file that is closed with that last block is true again.
fn already_complete(state: &State, asked: &CompleteRequestProto, last: Option<Block>) -> Option<bool> {
    let inode = match asked.file_id() {
        0 => state.names.lookup(&asked.src).ok().flatten(),
        id => state.names.inode(id),
    };
    let file = inode?.as_file()?;
    let same = file.blocks.last().map(|block| block.id) == last.map(|block| block.id);
    (file.holder.is_none() && same).then_some(true)
}
