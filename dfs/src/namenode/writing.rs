//! Calls of writers: create, append, addBlock, complete, and what they need when a data node fails them.

use dfs_wire::proto::hdfs::*;

use super::command::{AddBlock, Append, Followup, NewStamp, Op, RecoverLease, UpdatePipeline};
use super::directory::Asker;
use super::state::{Answered, Decision, NameNode, State};
use crate::Error;
use crate::block::NodeId;
use crate::namespace::file::NextBlock;
use crate::namespace::{Block, InodeId};

/// A data node must have room for this many bytes to be given a new block. It refuses by itself what does not fit.
const ROOM_BYTES: u64 = 1 << 20;
/// A recovery that the data nodes did not finish is ordered again after this.
const RECOVERY_RETRY_MS: u64 = 10_000;

pub(super) const FLAG_CREATE: u32 = CreateFlagProto::CREATE;
pub(super) const FLAG_OVERWRITE: u32 = CreateFlagProto::OVERWRITE;
pub(super) const FLAG_NEW_BLOCK: u32 = CreateFlagProto::NEW_BLOCK;

/// Bits of `create` and `append`.
struct CreateFlagProto;
impl CreateFlagProto {
    const CREATE: u32 = 0x01;
    const OVERWRITE: u32 = 0x02;
    const NEW_BLOCK: u32 = 0x20;
}

pub(super) fn block_of(message: &ExtendedBlockProto) -> Block {
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
        .filter_map(|id| state.soft.blocks.find_node(&id.datanode_uuid))
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
        self.check_replication(asked.replication)?;
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
        let what = format!("create file {}", asked.src);
        self.change(&what, asker, Op::Create(asked)).await
    }

    pub async fn append(
        &self,
        asker: &Asker,
        asked: AppendRequestProto,
    ) -> Result<Answered<AppendResponseProto>, Error> {
        self.take_over(asker, &asked.src, &asked.client_name).await?;
        let what = format!("append to file {}", asked.src);
        self.decide(&what, asker, asker.key, |state, now| {
            let file = state.replicated.names.file(&asked.src);
            let last = file
                .ok()
                .and_then(|(_, file)| file.blocks.last().map(|last| (file, *last)));
            let last = match last {
                None => None,
                Some((file, last)) => {
                    let nodes = state.soft.blocks.readable(last.id, &asker.ip, now);
                    if file.holder.is_none() && nodes.is_empty() {
                        return Err(Error::Io(format!("append: the last block of {} is missing", asked.src)));
                    }
                    Some(self.located(state, last, 0, &nodes))
                }
            };
            Ok(Op::Append(Append { call: asked, last }).into())
        })
        .await
    }

    /// Starts to close a file whose writer was not heard of for the soft limit, because another wants to write it.
    pub(super) async fn take_over(&self, asker: &Asker, path: &str, holder: &str) -> Result<(), Error> {
        if self.lock().replicated.names.can_be_taken_over(path, holder, self.now()) {
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
        let what = format!("recover the lease of {path}");
        let answer: Answered<RecoverLeaseResponseProto> = self
            .decide(&what, asker, None, |state, now| {
                let id = state.replicated.names.file(path)?.0.id;
                Ok(recovery(state, id, path, now))
            })
            .await?;
        Ok(answer.message()?.result)
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
            self.wait_for_data_nodes(|state, now| state.soft.blocks.can_place(&[], now))
                .await;
        }
        let what = format!("add block to {}", asked.src);
        self.decide(&what, asker, asker.key, |state, now| {
            let (_, file) = state
                .replicated
                .names
                .held(&asked.src, asked.file_id(), &asked.client_name)?;
            let replication = usize::from(file.replication);
            let named = previous.map(|block| (block.id, block.generation_stamp, block.length));
            let next = state.replicated.names.next_block(file, named)?;
            let excluded = nodes_of(state, asked.exclude_nodes.iter().map(|info| &info.id));
            let (nodes, repeated, followup) = match next {
                NextBlock::Repeated(block) => {
                    let mut nodes = state.soft.blocks.readable(block.id, &asker.ip, now);
                    let mut followup = Followup::None;
                    if nodes.is_empty() {
                        nodes = self.targets(state, replication, &excluded, asker, now)?;
                        followup = Followup::Pipeline {
                            block: block.id,
                            nodes: nodes.clone(),
                        };
                    }
                    (nodes, Some(block.id), followup)
                }
                NextBlock::Add { previous } => {
                    if previous.is_some_and(|previous| !state.soft.blocks.is_stored(previous)) {
                        return Err(Error::NotReplicatedYet(asked.src.clone()));
                    }
                    let nodes = self.targets(state, replication, &excluded, asker, now)?;
                    (nodes.clone(), None, Followup::NewPipeline(nodes))
                }
            };
            let targets = self.located(state, Block::default(), 0, &nodes);
            let add = AddBlock {
                call: asked,
                targets,
                repeated,
            };
            Ok(Decision::propose(Op::AddBlock(add), followup))
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
            .soft
            .blocks
            .place(replication, ROOM_BYTES, excluded, &asker.ip, now, self.seed());
        if nodes.is_empty() {
            let live = state.soft.blocks.live_nodes().count();
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
        let what = format!("abandon a block of {}", asked.src);
        self.change(&what, asker, Op::AbandonBlock(asked)).await
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
        state
            .replicated
            .names
            .held(&asked.src, asked.file_id(), &asked.client_name)?;
        let mut nodes = nodes_of(&state, asked.existings.iter().map(|info| &info.id));
        let mut excluded = nodes_of(&state, asked.excludes.iter().map(|info| &info.id));
        excluded.extend(&nodes);
        let count = asked.num_additional_nodes.min(16) as usize;
        let added = state
            .soft
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
        let what = format!("complete file {}", asked.src);
        // Not kept for retries: a file that is closed with that block is complete again.
        self.decide(&what, asker, None, |state, _| {
            let answer = |result| Decision::Answer(Answered::new(&CompleteResponseProto { result }).into_bytes());
            if let Some(result) = already_complete(state, &asked, last) {
                return Ok(answer(result));
            }
            let names = &state.replicated.names;
            let (_, file) = names.held(&asked.src, asked.file_id(), &asked.client_name)?;
            if let Some(open) = file.open_block() {
                let committed = last.unwrap_or(open);
                let stamp = open.generation_stamp;
                names.check_open_block(file, committed, stamp..=stamp)?;
                if !state.soft.blocks.is_stored(committed) {
                    return Ok(answer(false));
                }
            }
            Ok(Op::Complete(asked).into())
        })
        .await
    }

    fn open_block(&self, asked: &CompleteRequestProto) -> Option<Block> {
        let state = self.lock();
        let (_, file) = state
            .replicated
            .names
            .held(&asked.src, asked.file_id(), &asked.client_name)
            .ok()?;
        file.open_block()
    }

    /// Records how long the block that is being written is at least.
    pub async fn fsync(&self, asker: &Asker, asked: FsyncRequestProto) -> Result<Answered<FsyncResponseProto>, Error> {
        let what = format!("fsync {}", asked.src);
        self.change(&what, asker, Op::Fsync(asked)).await
    }

    pub async fn update_block_for_pipeline(
        &self,
        asker: &Asker,
        asked: UpdateBlockForPipelineRequestProto,
    ) -> Result<Answered<UpdateBlockForPipelineResponseProto>, Error> {
        self.decide("update a pipeline", asker, asker.key, |state, now| {
            let block = block_of(&asked.block);
            let nodes = state.soft.blocks.readable(block.id, &asker.ip, now);
            let stamp = NewStamp {
                file: file_with(state, block.id)?,
                located: self.located(state, block, 0, &nodes),
                call: asked,
            };
            Ok(Op::NewStamp(stamp).into())
        })
        .await
    }

    pub async fn update_pipeline(
        &self,
        asker: &Asker,
        asked: UpdatePipelineRequestProto,
    ) -> Result<Answered<UpdatePipelineResponseProto>, Error> {
        self.decide("update a pipeline", asker, asker.key, |state, _| {
            let block = asked.new_block.block_id;
            let followup = Followup::Pipeline {
                block,
                nodes: nodes_of(state, &asked.new_nodes),
            };
            let update = UpdatePipeline {
                file: file_with(state, block)?,
                call: asked,
            };
            Ok(Decision::propose(Op::UpdatePipeline(update), followup))
        })
        .await
    }

    pub fn renew_lease(&self, holder: &str) {
        let now = self.now();
        self.lock().replicated.names.renew_lease(holder, now);
    }

    pub fn report_bad_blocks(&self, asked: &ReportBadBlocksRequestProto) {
        let now = self.now();
        let mut state = self.lock();
        for block in &asked.blocks {
            for node in &block.locs {
                let (uuid, block) = (&node.id.datanode_uuid, block.b.block_id);
                tracing::warn!(block, node = uuid, "a client reported a corrupt replica");
                state.soft.step(crate::block::Event::Corrupt { uuid, block }, now);
            }
        }
    }
}

/// Closes a file, or has its last block recovered. A recovery that is under way is left alone, as is a block with a length
/// none of whose nodes is there.
pub(super) fn recovery(state: &State, file: InodeId, path: &str, now: u64) -> Decision {
    let inode = state.replicated.names.inode(file).and_then(|inode| inode.as_file());
    let open = inode.and_then(|file| file.open_block());
    let nodes = open.map(|block| state.soft.blocks.readable(block.id, "", now));
    let nodes = nodes.unwrap_or_default();
    if let Some(block) = open {
        let pending = state.soft.recoveries.get(&block.id);
        let under_way = pending.is_some_and(|pending| pending.ordered + RECOVERY_RETRY_MS > now);
        if under_way || (block.length > 0 && nodes.is_empty()) {
            let answer = RecoverLeaseResponseProto { result: false };
            return Decision::Answer(Answered::new(&answer).into_bytes());
        }
    }
    let recover = RecoverLease {
        file,
        any_replica: !nodes.is_empty(),
        path: path.to_owned(),
    };
    Decision::propose(Op::RecoverLease(recover), Followup::Recovery(nodes))
}

/// The file that has a block.
fn file_with(state: &State, block: u64) -> Result<InodeId, Error> {
    let info = state.soft.blocks.get(block);
    info.map(|info| info.inode)
        .ok_or_else(|| Error::Io(format!("blk_{block} does not exist or is not under construction")))
}

/// A repeated `complete` of a file that is closed with that last block is true again.
fn already_complete(state: &State, asked: &CompleteRequestProto, last: Option<Block>) -> Option<bool> {
    let inode = match asked.file_id() {
        0 => state.replicated.names.lookup(&asked.src).ok().flatten(),
        id => state.replicated.names.inode(id),
    };
    let file = inode?.as_file()?;
    let same = file.blocks.last().map(|block| block.id) == last.map(|block| block.id);
    (file.holder.is_none() && same).then_some(true)
}
