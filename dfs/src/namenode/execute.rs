//! Commands executed: what is replicated, and the one way to change it.
//!
//! The outcome depends on what is replicated and on the command alone: no clock, no chance, no block map. So a replayed log
//! gives the same namespace and the same answers.

use bytes::Bytes;
use dfs_wire::proto::hdfs::*;
use prost::Message;

use super::attributes;
use super::command::{AddBlock, Append, Command, FinishRecovery, NewStamp, Op, RecoverLease, Truncate, UpdatePipeline};
use super::retry::RetryCache;
use super::status;
use super::writing::{FLAG_CREATE, FLAG_NEW_BLOCK, FLAG_OVERWRITE, block_of};
use crate::Error;
use crate::namespace::acl::AclChange;
use crate::namespace::file::{Creation, NextBlock, Recovery};
use crate::namespace::permission::{Needs, WRITE};
use crate::namespace::truncate::Truncation;
use crate::namespace::{Block, BlockChange, Caller, Namespace};

/// What name nodes agree on: names, leases, stamps, and the answers of calls that may be repeated.
#[derive(Debug)]
pub struct Replicated {
    pub names: Namespace,
    pub retries: RetryCache,
    /// The last transaction: counts what was executed.
    pub transaction: u64,
    /// The last record of the edit log that was executed.
    pub log_index: u64,
    pub pool_id: String,
}

/// What came of a command.
#[derive(Debug)]
pub struct Outcome {
    pub answer: Result<Bytes, Error>,
    /// The block that was added.
    pub added: Option<u64>,
    /// What data nodes have to do before a file can be closed.
    pub recovery: Option<Recovery>,
    pub changes: Vec<BlockChange>,
}

/// What is known while a command is executed, beside its answer.
#[derive(Debug, Default)]
struct Effects {
    added: Option<u64>,
    recovery: Option<Recovery>,
}

/// Clients that send no permission without their umask have none.
fn unmasked(masked: &FsPermissionProto, unmasked: Option<&FsPermissionProto>) -> u16 {
    unmasked.unwrap_or(masked).perm as u16
}

fn bytes(message: &impl Message) -> Bytes {
    Bytes::from(message.encode_to_vec())
}

impl Replicated {
    /// What a command would be answered if it would change nothing: it is refused, or done already. `None` if it has to be
    /// executed.
    pub fn probe(&mut self, command: &Command, now: u64) -> Option<Result<Bytes, Error>> {
        self.names.begin_probe();
        let answer = self.run(command, now, &mut Effects::default());
        match self.names.end_probe() {
            true => None,
            false => Some(answer),
        }
    }

    /// Executes a durable command.
    pub fn execute(&mut self, log_index: u64, command: &Command, now: u64) -> Outcome {
        let mut effects = Effects::default();
        let answer = self.run(command, now, &mut effects);
        self.names.clear_edits();
        self.transaction += 1;
        self.log_index = log_index;
        if let Ok(answer) = &answer
            && let Some(key) = command.key()
        {
            self.retries.insert(&key.client_id, key.call_id, answer, now);
        }
        Outcome {
            answer,
            added: effects.added,
            recovery: effects.recovery,
            changes: self.names.take_changes(),
        }
    }

    fn run(&mut self, command: &Command, now: u64, effects: &mut Effects) -> Result<Bytes, Error> {
        let caller = command.caller(now);
        let names = &mut self.names;
        Ok(match &command.op {
            None => Bytes::new(),
            Some(Op::Mkdirs(call)) => {
                let unmasked = unmasked(&call.masked, call.unmasked.as_ref());
                names.mkdirs(caller, &call.src, call.masked.perm as u16, unmasked, call.create_parent)?;
                bytes(&MkdirsResponseProto { result: true })
            }
            Some(Op::Create(call)) => self.create(caller, call)?,
            Some(Op::Delete(call)) => bytes(&DeleteResponseProto {
                result: names.delete(caller, &call.src, call.recursive)?,
            }),
            Some(Op::Rename(call)) => bytes(&RenameResponseProto {
                result: names.rename_into(caller, &call.src, &call.dst)?,
            }),
            Some(Op::Rename2(call)) => {
                names.rename(caller, &call.src, &call.dst, call.overwrite_dest)?;
                bytes(&Rename2ResponseProto {})
            }
            Some(Op::SetPermission(call)) => {
                names.set_permission(caller, &call.src, call.permission.perm as u16)?;
                bytes(&SetPermissionResponseProto {})
            }
            Some(Op::SetOwner(call)) => {
                let given = |name: &Option<String>| name.clone().filter(|name| !name.is_empty());
                names.set_owner(caller, &call.src, given(&call.username), given(&call.groupname))?;
                bytes(&SetOwnerResponseProto {})
            }
            Some(Op::SetTimes(call)) => {
                // A negative time, -1 above all, says: leave it.
                let given = |time: u64| i64::try_from(time).is_ok().then_some(time);
                names.set_times(caller, &call.src, given(call.mtime), given(call.atime))?;
                bytes(&SetTimesResponseProto {})
            }
            Some(Op::SetReplication(call)) => bytes(&SetReplicationResponseProto {
                result: names.set_replication(caller, &call.src, call.replication as u16)?,
            }),
            Some(Op::Concat(call)) => {
                names.concat(caller, &call.trg, &call.srcs)?;
                bytes(&ConcatResponseProto {})
            }
            Some(Op::AbandonBlock(call)) => {
                let (id, _) = names.held(&call.src, call.file_id(), &call.holder)?;
                names.abandon_block(caller, id, call.b.block_id)?;
                bytes(&AbandonBlockResponseProto {})
            }
            Some(Op::Append(append)) => self.append(caller, append)?,
            Some(Op::AddBlock(add)) => self.add_block(caller, add, effects)?,
            Some(Op::Complete(call)) => self.complete(caller, call)?,
            Some(Op::Fsync(call)) => self.fsync(caller, call)?,
            Some(Op::NewStamp(stamp)) => self.new_stamp(caller, stamp)?,
            Some(Op::UpdatePipeline(update)) => self.update_pipeline(caller, update)?,
            Some(Op::RecoverLease(recover)) => self.recover_lease(caller, recover, effects)?,
            Some(Op::Truncate(truncate)) => self.truncate(caller, truncate, effects)?,
            Some(Op::FinishRecovery(finish)) => self.finish_recovery(caller, *finish)?,
            Some(Op::SetAccessed(set)) => {
                names.set_accessed(now, set.file, set.time)?;
                Bytes::new()
            }
            Some(Op::ModifyAcl(call)) => {
                names.change_acl(
                    caller,
                    &call.src,
                    AclChange::Modify(&attributes::entries(&call.acl_spec)),
                )?;
                bytes(&ModifyAclEntriesResponseProto {})
            }
            Some(Op::RemoveAclEntries(call)) => {
                let entries = attributes::entries(&call.acl_spec);
                names.change_acl(caller, &call.src, AclChange::RemoveEntries(&entries))?;
                bytes(&RemoveAclEntriesResponseProto {})
            }
            Some(Op::RemoveDefaultAcl(call)) => {
                names.change_acl(caller, &call.src, AclChange::RemoveDefault)?;
                bytes(&RemoveDefaultAclResponseProto {})
            }
            Some(Op::RemoveAcl(call)) => {
                names.change_acl(caller, &call.src, AclChange::Remove)?;
                bytes(&RemoveAclResponseProto {})
            }
            Some(Op::SetAcl(call)) => {
                names.change_acl(
                    caller,
                    &call.src,
                    AclChange::Replace(&attributes::entries(&call.acl_spec)),
                )?;
                bytes(&SetAclResponseProto {})
            }
            Some(Op::SetXattr(call)) => {
                let (xattr, flags) = (attributes::xattr(call.x_attr.as_ref())?, attributes::flags(call.flag()));
                names.set_xattr(caller, &call.src, xattr, flags)?;
                bytes(&SetXAttrResponseProto {})
            }
            Some(Op::RemoveXattr(call)) => {
                let xattr = attributes::xattr(call.x_attr.as_ref())?;
                names.remove_xattr(caller, &call.src, xattr.namespace, &xattr.name)?;
                bytes(&RemoveXAttrResponseProto {})
            }
        })
    }

    fn status(&self, id: u64, path: &str) -> Result<HdfsFileStatusProto, Error> {
        let inode = self.names.inode(id).ok_or_else(|| Error::not_found(path))?;
        Ok(status::of(&self.names, inode, "", None))
    }

    fn create(&mut self, caller: Caller, call: &CreateRequestProto) -> Result<Bytes, Error> {
        let creation = Creation {
            path: &call.src,
            permission: call.masked.perm as u16,
            unmasked: unmasked(&call.masked, call.unmasked.as_ref()),
            holder: &call.client_name,
            create: call.create_flag & FLAG_CREATE != 0,
            overwrite: call.create_flag & FLAG_OVERWRITE != 0,
            create_parent: call.create_parent,
            replication: call.replication as u16,
            block_size: call.block_size,
        };
        let id = self.names.create(caller, creation)?;
        Ok(bytes(&CreateResponseProto {
            fs: Some(self.status(id, &call.src)?),
        }))
    }

    fn append(&mut self, caller: Caller, append: &Append) -> Result<Bytes, Error> {
        let call = &append.call;
        let named = append.last.as_ref().map(|last| block_of(&last.b));
        if let Ok((_, file)) = self.names.file(&call.src)
            && file.holder.is_none()
            && file.blocks.last().copied() != named
        {
            return Err(Error::Io(format!(
                "append: another client has changed {} meanwhile",
                call.src
            )));
        }
        let new_block = call.flag() & FLAG_NEW_BLOCK != 0;
        let (id, last) = self.names.append(caller, &call.src, &call.client_name, new_block)?;
        let file = self.names.inode(id).and_then(|inode| inode.as_file());
        let offset = file.map_or(0, |file| file.closed_length());
        let block = append.last.clone().filter(|_| last.is_some());
        Ok(bytes(&AppendResponseProto {
            block: block.map(|block| LocatedBlockProto { offset, ..block }),
            stat: Some(self.status(id, &call.src)?),
        }))
    }

    fn add_block(&mut self, caller: Caller, add: &AddBlock, effects: &mut Effects) -> Result<Bytes, Error> {
        let call = &add.call;
        let (id, file) = self.names.held(&call.src, call.file_id(), &call.client_name)?;
        let previous = call.previous.as_ref().map(block_of);
        let named = previous.map(|block| (block.id, block.generation_stamp, block.length));
        let (offset, block) = match self.names.next_block(file, named)? {
            NextBlock::Repeated(block) if add.repeated == Some(block.id) => (file.length(), block),
            NextBlock::Add { previous } if add.repeated.is_none() => {
                if let Some(previous) = previous {
                    self.names.update_last_block(caller, id, previous, true)?;
                }
                let block = self.names.add_block(caller, id)?;
                effects.added = Some(block.id);
                let file = self.names.inode(id).and_then(|inode| inode.as_file());
                (file.map_or(0, |file| file.length()), block)
            }
            _ => {
                return Err(Error::Io(format!(
                    "addBlock: another call has added a block to {} meanwhile",
                    call.src
                )));
            }
        };
        let block = LocatedBlockProto {
            b: status::extended(&self.pool_id, block),
            offset,
            ..add.targets.clone()
        };
        Ok(bytes(&AddBlockResponseProto { block }))
    }

    fn complete(&mut self, caller: Caller, call: &CompleteRequestProto) -> Result<Bytes, Error> {
        let (id, file) = self.names.held(&call.src, call.file_id(), &call.client_name)?;
        if let Some(open) = file.open_block() {
            let committed = call.last.as_ref().map_or(open, block_of);
            let stamp = open.generation_stamp;
            self.names.check_open_block(file, committed, stamp..=stamp)?;
            self.names.update_last_block(caller, id, committed, true)?;
        }
        self.names.close(caller, id)?;
        Ok(bytes(&CompleteResponseProto { result: true }))
    }

    fn fsync(&mut self, caller: Caller, call: &FsyncRequestProto) -> Result<Bytes, Error> {
        let (id, file) = self.names.held(&call.src, call.file_id(), &call.client)?;
        let length = u64::try_from(call.last_block_length()).unwrap_or(0);
        if let Some(open) = file.open_block()
            && length > open.length
        {
            let stamp = open.generation_stamp;
            let block = Block { length, ..open };
            self.names.check_open_block(file, block, stamp..=stamp)?;
            self.names.update_last_block(caller, id, block, false)?;
        }
        Ok(bytes(&FsyncResponseProto {}))
    }

    /// The file that has `block` open for `holder`.
    fn writer_of(&self, file: u64, block: u64, holder: &str) -> Result<Block, Error> {
        let gone = || Error::Io(format!("blk_{block} does not exist or is not under construction"));
        let (_, file) = self.names.held(&self.names.path_of(file), file, holder)?;
        file.open_block().filter(|open| open.id == block).ok_or_else(gone)
    }

    fn new_stamp(&mut self, caller: Caller, stamp: &NewStamp) -> Result<Bytes, Error> {
        let block = block_of(&stamp.call.block);
        self.writer_of(stamp.file, block.id, &stamp.call.client_name)?;
        let generation_stamp = self.names.next_stamp(caller)?;
        let block = Block {
            generation_stamp,
            ..block
        };
        let block = LocatedBlockProto {
            b: status::extended(&self.pool_id, block),
            ..stamp.located.clone()
        };
        Ok(bytes(&UpdateBlockForPipelineResponseProto { block }))
    }

    fn update_pipeline(&mut self, caller: Caller, update: &UpdatePipeline) -> Result<Bytes, Error> {
        let new = block_of(&update.call.new_block);
        let open = self.writer_of(update.file, new.id, &update.call.client_name)?;
        let issued = open.generation_stamp + 1..=self.names.generation_stamp();
        let held = self.names.inode(update.file).and_then(|inode| inode.as_file());
        let held = held.ok_or_else(|| Error::not_found(&format!("inode {}", update.file)))?;
        self.names.check_open_block(held, new, issued)?;
        self.names.update_last_block(caller, update.file, new, false)?;
        Ok(bytes(&UpdatePipelineResponseProto {}))
    }

    fn recover_lease(&mut self, caller: Caller, recover: &RecoverLease, effects: &mut Effects) -> Result<Bytes, Error> {
        if !recover.path.is_empty() {
            self.names.check(caller, &recover.path, Needs::itself(WRITE))?;
        }
        let recovery = self.names.recover_lease(caller, recover.file, recover.any_replica)?;
        effects.recovery = Some(recovery);
        Ok(bytes(&RecoverLeaseResponseProto {
            result: recovery == Recovery::Closed,
        }))
    }

    fn truncate(&mut self, caller: Caller, truncate: &Truncate, effects: &mut Effects) -> Result<Bytes, Error> {
        let call = &truncate.call;
        let truncation = self
            .names
            .truncate(caller, &call.src, call.new_length, &call.client_name)?;
        if let Truncation::Started(file) = truncation
            && truncate.any_replica
        {
            effects.recovery = Some(self.names.recover_lease(caller, file, true)?);
        }
        Ok(bytes(&TruncateResponseProto {
            result: truncation == Truncation::Done,
        }))
    }

    fn finish_recovery(&mut self, caller: Caller, finish: FinishRecovery) -> Result<Bytes, Error> {
        let block = Block::from(finish.block);
        self.check_recovered(finish.file, block)?;
        self.names.finish_recovery(caller, finish.file, block)?;
        Ok(Bytes::new())
    }

    /// Fails if that is not the block that data nodes were to agree on.
    fn check_recovered(&self, file: u64, block: Block) -> Result<(), Error> {
        if let Some(cut) = self.names.truncation(file)
            && cut != block.length
        {
            return Err(Error::Io(format!(
                "blk_{} is to be cut to {cut} bytes, not {}",
                block.id, block.length
            )));
        }
        let inode = self.names.inode(file).and_then(|inode| inode.as_file());
        let recovered = inode.filter(|file| file.holder.as_deref() == Some(crate::namespace::RECOVERY_HOLDER));
        match recovered.and_then(|file| file.open_block()) {
            Some(open) if open.id == block.id => Ok(()),
            _ => Err(Error::Io(format!("blk_{} is not under recovery", block.id))),
        }
    }
}
