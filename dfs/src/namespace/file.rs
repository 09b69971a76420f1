//! Files under construction: create, append, blocks, close, recovery of leases.

use super::edit::{Add, AddBlock, Close, Delete, DropBlock, Edit, Hold, NewFile, Stamp, UpdateBlock};
use super::inode::{Block, File, InodeId};
use super::lease::SOFT_LIMIT_MS;
use super::permission::{Needs, WRITE};
use super::tree::PERMISSION_MASK;
use super::{Caller, Namespace, RECOVERY_HOLDER, path};
use crate::Error;

/// What `create` was asked for.
#[derive(Debug, Clone, Copy)]
pub struct Creation<'a> {
    pub path: &'a str,
    pub permission: u16,
    /// The permission without the caller's umask, for directories with a default ACL.
    pub unmasked: u16,
    pub holder: &'a str,
    pub create: bool,
    pub overwrite: bool,
    pub create_parent: bool,
    pub replication: u16,
    pub block_size: u64,
}

/// What `addBlock` comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextBlock {
    /// Commit `previous` if there is one, then add a block.
    Add { previous: Option<Block> },
    /// The call was made before: this is the block it got.
    Repeated(Block),
}

/// What is left to do to close a file whose writer is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// It is closed.
    Closed,
    /// Data nodes have to agree on this block, now with this stamp; `truncating`: on exactly its length.
    Block {
        file: InodeId,
        block: Block,
        new_stamp: u64,
        truncating: bool,
    },
}

impl Namespace {
    /// Makes an empty file that `holder` writes. Also returns one it replaced or closed for the caller.
    pub fn create(&mut self, caller: Caller, asked: Creation) -> Result<InodeId, Error> {
        let Creation { path, holder, .. } = asked;
        let resolved = self.resolve(path)?;
        let path = &*resolved;
        let names = path::components(path)?;
        path::check_not_reserved(path)?;
        self.check(caller, path, Needs::ancestor(WRITE))?;
        let existing = self.lookup(path)?.map(|inode| (inode.id, inode.is_directory()));
        match existing {
            Some((_, true)) => {
                return Err(Error::AlreadyExists(format!("{path} already exists as a directory")));
            }
            Some((id, false)) if asked.overwrite => {
                self.check(caller, path, Needs::itself(WRITE))?;
                self.make(Edit::Delete(Delete { id, time: caller.time }), caller.now)?;
            }
            Some((id, false)) => {
                self.refuse_if_held(caller, id, path, holder, "CREATE_FILE")?;
                return Err(Error::AlreadyExists(format!(
                    "{path} for client {} already exists",
                    caller.user
                )));
            }
            None if !asked.create => {
                return Err(Error::FileNotFound(format!(
                    "Can't overwrite non-existent {path} for client {}",
                    caller.user
                )));
            }
            None => {}
        }
        let (parent, name) = self.parent_of(path)?;
        let parent = match parent {
            Some(parent) => parent.id,
            None if !asked.create_parent => {
                return Err(Error::FileNotFound(format!("Parent directory doesn't exist: {path}")));
            }
            None => self.make_directories(caller, &names[..names.len() - 1], 0o755, 0o777)?,
        };
        let id = self.next_inode;
        let add = Add {
            parent,
            id,
            name: name.to_owned(),
            owner: caller.user.to_owned(),
            group: self.group_of(&self.inodes[&parent]).to_owned(),
            permission: (asked.permission & PERMISSION_MASK).into(),
            time: caller.time,
            file: Some(NewFile {
                replication: asked.replication.into(),
                block_size: asked.block_size,
                holder: holder.to_owned(),
            }),
        };
        self.make(Edit::Add(add), caller.now)?;
        self.inherit_acl(caller, id, asked.unmasked)?;
        Ok(id)
    }

    /// Opens a closed file for writing at its end. The last block is written again if it is not full and no
    /// `new_block` was asked for; it is returned then.
    pub fn append(
        &mut self,
        caller: Caller,
        path: &str,
        holder: &str,
        new_block: bool,
    ) -> Result<(InodeId, Option<Block>), Error> {
        self.check(caller, path, Needs::itself(WRITE))?;
        let Some(inode) = self.lookup(path)? else {
            let message = format!(
                "Failed to append to non-existent file {path} for client {}",
                caller.user
            );
            return Err(Error::FileNotFound(message));
        };
        let id = inode.id;
        let Some(file) = inode.as_file() else {
            return Err(Error::AlreadyExists(format!(
                "Cannot append to directory {path}; already exists as a directory."
            )));
        };
        let last = file
            .blocks
            .last()
            .copied()
            .filter(|block| !new_block && block.length < file.block_size);
        self.refuse_if_held(caller, id, path, holder, "APPEND_FILE")?;
        let hold = Hold {
            file: id,
            holder: holder.to_owned(),
            last_block: last.is_some(),
        };
        self.make(Edit::Hold(hold), caller.now)?;
        Ok((id, last))
    }

    /// Fails if the file is being written. What its error says decides whether clients try again.
    pub(super) fn refuse_if_held(
        &self,
        caller: Caller,
        id: InodeId,
        path: &str,
        holder: &str,
        what: &str,
    ) -> Result<(), Error> {
        let Some(current) = self.inodes[&id].as_file().and_then(|file| file.holder.as_deref()) else {
            return Ok(());
        };
        if current == RECOVERY_HOLDER {
            return Err(Error::RecoveryInProgress(format!(
                "Failed to {what} {path} for {holder}: lease recovery is in progress. Try again later."
            )));
        }
        let again = if current == holder {
            "because the current leaseholder is trying to recreate file."
        } else {
            ""
        };
        Err(Error::AlreadyBeingCreated(format!(
            "Failed to {what} {path} for {holder} on {}: {again} this file lease is currently owned by {current}",
            caller.user
        )))
    }

    /// True if another than `holder` writes the file and was not heard of for the soft limit.
    pub fn can_be_taken_over(&self, path: &str, holder: &str, now: u64) -> bool {
        self.lookup(path)
            .ok()
            .flatten()
            .and_then(|inode| inode.as_file())
            .and_then(|file| file.holder.as_deref())
            .is_some_and(|current| {
                current != holder && current != RECOVERY_HOLDER && self.leases.expired(current, now, SOFT_LIMIT_MS)
            })
    }

    /// The file that `holder` writes, found by id if one is given (it may have been renamed meanwhile), else by path.
    pub fn held(&self, path: &str, file_id: u64, holder: &str) -> Result<(InodeId, &File), Error> {
        let by_id = if file_id == 0 { None } else { self.inodes.get(&file_id) };
        let inode = match (by_id, file_id) {
            (Some(inode), _) => Some(inode),
            (None, 0) => self.lookup(path)?,
            (None, _) => None,
        };
        let expired = |why: &str| {
            Error::LeaseExpired(format!(
                "No lease on {path} (inode {file_id}): {why} Holder {holder} does not have any open files."
            ))
        };
        let inode = inode.ok_or_else(|| expired("File does not exist."))?;
        let file = inode.as_file().ok_or_else(|| expired("It is a directory."))?;
        match file.holder.as_deref() {
            None => Err(expired("File is not open for writing.")),
            Some(current) if current == holder => Ok((inode.id, file)),
            Some(current) => Err(Error::LeaseExpired(format!(
                "Client (={holder}) is not the lease owner (={current}): {path}"
            ))),
        }
    }

    /// Decides what `addBlock` comes to, without changing anything.
    pub fn next_block(&self, file: &File, previous: Option<(u64, u64, u64)>) -> Result<NextBlock, Error> {
        let last = file.blocks.last().copied();
        let open_and_empty = last.filter(|last| file.last_open && last.length == 0);
        let Some((id, generation_stamp, length)) = previous else {
            return match last {
                None => Ok(NextBlock::Add { previous: None }),
                Some(_) if !file.last_open => Ok(NextBlock::Add { previous: None }),
                Some(last) if file.blocks.len() == 1 && last.length == 0 => Ok(NextBlock::Repeated(last)),
                Some(_) => Err(Error::Io(
                    "Cannot allocate block: the one before it was not named".to_owned(),
                )),
            };
        };
        match last {
            Some(last) if last.id == id => {
                let block = Block {
                    id,
                    generation_stamp,
                    length,
                };
                if file.last_open {
                    self.check_open_block(file, block, last.generation_stamp..=last.generation_stamp)?;
                }
                Ok(NextBlock::Add {
                    previous: file.last_open.then_some(block),
                })
            }
            Some(_) => {
                let penultimate = file.blocks.len().checked_sub(2).map(|index| file.blocks[index].id);
                match open_and_empty {
                    Some(last) if penultimate == Some(id) => Ok(NextBlock::Repeated(last)),
                    _ => Err(Error::Io(format!(
                        "Cannot allocate block: passed 'previous' block blk_{id} does not match actual last block in file"
                    ))),
                }
            }
            None => Err(Error::Io(format!(
                "Cannot allocate block: the file has no block blk_{id}"
            ))),
        }
    }

    /// Adds a block to a file, after the last one was completed.
    pub fn add_block(&mut self, caller: Caller, file: InodeId) -> Result<Block, Error> {
        let generation_stamp = self.generation_stamp + 1;
        let block = Block {
            id: self.next_block,
            generation_stamp,
            length: 0,
        };
        self.make(
            Edit::AddBlock(AddBlock {
                file,
                block: block.into(),
            }),
            caller.now,
        )?;
        Ok(block)
    }

    /// Records length and stamp of the last block; `complete`: it is not written any more.
    pub fn update_last_block(
        &mut self,
        caller: Caller,
        file: InodeId,
        block: Block,
        complete: bool,
    ) -> Result<(), Error> {
        self.make(
            Edit::UpdateBlock(UpdateBlock {
                file,
                block: block.into(),
                complete,
            }),
            caller.now,
        )
    }

    /// Gives up the last block, which the writer could not write to any data node.
    pub fn abandon_block(&mut self, caller: Caller, file: InodeId, block: u64) -> Result<(), Error> {
        let open = self
            .inodes
            .get(&file)
            .and_then(|inode| inode.as_file())
            .and_then(File::open_block);
        match open {
            Some(open) if open.id == block => {
                self.make(Edit::DropBlock(DropBlock { file, block }), caller.now)?;
                Ok(())
            }
            // It was given up before: the call is repeated.
            _ => Ok(()),
        }
    }

    /// Gives out a generation stamp.
    pub fn next_stamp(&mut self, caller: Caller) -> Result<u64, Error> {
        let generation_stamp = self.generation_stamp + 1;
        self.make(Edit::Stamp(Stamp { generation_stamp }), caller.now)?;
        Ok(generation_stamp)
    }

    /// Closes a file; its last block, if open, is complete with that.
    pub fn close(&mut self, caller: Caller, file: InodeId) -> Result<(), Error> {
        self.make(
            Edit::Close(Close {
                file,
                time: caller.time,
            }),
            caller.now,
        )
    }

    /// Renews all leases of `holder`.
    pub fn renew_lease(&mut self, holder: &str, now: u64) {
        self.leases.renew(holder, now);
    }

    pub fn renew_all_leases(&mut self, now: u64) {
        self.leases.renew_all(now);
    }

    /// Takes a file from its writer and starts to close it. `known_bytes` says whether a data node may have bytes of the
    /// last block: without any, an empty last block is dropped.
    pub fn recover_lease(&mut self, caller: Caller, id: InodeId, any_replica: bool) -> Result<Recovery, Error> {
        let Some(file) = self.inodes.get(&id).and_then(|inode| inode.as_file()) else {
            return Ok(Recovery::Closed);
        };
        let Some(holder) = file.holder.clone() else {
            return Ok(Recovery::Closed);
        };
        let (open, cut) = (file.open_block(), self.truncation(id));
        match open {
            None => {
                self.close(caller, id)?;
                Ok(Recovery::Closed)
            }
            Some(block) if block.length == 0 && !any_replica => {
                self.make(
                    Edit::DropBlock(DropBlock {
                        file: id,
                        block: block.id,
                    }),
                    caller.now,
                )?;
                self.close(caller, id)?;
                Ok(Recovery::Closed)
            }
            Some(block) => {
                if &*holder != RECOVERY_HOLDER {
                    let hold = Hold {
                        file: id,
                        holder: RECOVERY_HOLDER.to_owned(),
                        last_block: true,
                    };
                    self.make(Edit::Hold(hold), caller.now)?;
                }
                let new_stamp = self.next_stamp(caller)?;
                Ok(Recovery::Block {
                    file: id,
                    block: Block {
                        length: cut.unwrap_or(block.length),
                        ..block
                    },
                    new_stamp,
                    truncating: cut.is_some(),
                })
            }
        }
    }

    /// The data nodes agreed on the last block: the file is closed with it, or without it if nothing of it is left.
    pub fn finish_recovery(&mut self, caller: Caller, file: InodeId, block: Block) -> Result<(), Error> {
        if block.length == 0 {
            self.make(Edit::DropBlock(DropBlock { file, block: block.id }), caller.now)?;
        } else {
            self.update_last_block(caller, file, block, true)?;
        }
        self.close(caller, file)
    }

    /// What a writer says of the block that it has open is believed only within what is known: the stamp must be the
    /// block's own (`stamps` says which ones are), the length no shorter than before and no longer than a block may be.
    pub fn check_open_block(
        &self,
        file: &File,
        claimed: Block,
        stamps: impl std::ops::RangeBounds<u64>,
    ) -> Result<(), Error> {
        let Block {
            id,
            generation_stamp,
            length,
        } = claimed;
        let open = file
            .open_block()
            .filter(|open| open.id == id)
            .ok_or_else(|| Error::Io(format!("blk_{id} is not the block that is being written")))?;
        if !stamps.contains(&generation_stamp) {
            return Err(Error::Io(format!(
                "blk_{id} has the generation stamp {}; {generation_stamp} was not given out for this",
                open.generation_stamp
            )));
        }
        let max = file.block_bytes_max();
        if length < open.length || length > max {
            return Err(Error::Io(format!(
                "blk_{id} cannot have {length} bytes: {} are known of it, and a block of this file has at most {max}",
                open.length
            )));
        }
        Ok(())
    }

    /// The last generation stamp that was given out.
    pub fn generation_stamp(&self) -> u64 {
        self.generation_stamp
    }
}
