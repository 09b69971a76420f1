//! The one place where the tree changes.

use super::edit::{Add, AddBlock, Edit, EditBlock, Hold, Rename, SetAttributes, UpdateBlock};
use super::inode::{Block, File, Inode, InodeId, Kind};
use super::{BLOCK_BYTES_MAX, BlockChange, Namespace, ROOT};

/// Ids and stamps are signed 64-bit numbers in HDFS' protocols.
pub(super) const ID_MAX: u64 = i64::MAX as u64;

/// An edit that does not fit the tree: the log belongs to another image, or this program has a bug. The node stops.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an edit does not fit the namespace ({0}): the image and the edit log do not belong together")]
pub struct Misfit(pub &'static str);

impl From<EditBlock> for Block {
    fn from(block: EditBlock) -> Self {
        Self {
            id: block.id,
            generation_stamp: block.generation_stamp,
            length: block.length,
        }
    }
}

impl From<Block> for EditBlock {
    fn from(block: Block) -> Self {
        Self {
            id: block.id,
            generation_stamp: block.generation_stamp,
            length: block.length,
        }
    }
}

impl Namespace {
    /// Applies one edit. `now` only starts the terms of leases.
    ///
    /// # Errors
    /// If the edit does not fit; then nothing was changed.
    pub fn apply(&mut self, edit: &Edit, now: u64) -> Result<(), Misfit> {
        match edit {
            Edit::Add(add) => self.apply_add(add, now),
            Edit::Delete(delete) => self.apply_delete(delete.id, delete.time),
            Edit::Rename(rename) => self.apply_rename(rename),
            Edit::AddBlock(add) => self.apply_add_block(add),
            Edit::UpdateBlock(update) => self.apply_update_block(update),
            Edit::DropBlock(drop) => {
                let file = self.file_mut(drop.file)?;
                if file.blocks.last().map(|block| block.id) != Some(drop.block) {
                    return Err(Misfit("a block to drop is not the last"));
                }
                file.blocks.pop();
                file.last_open = false;
                self.changes.push(BlockChange::Removed { block: drop.block });
                Ok(())
            }
            Edit::Close(close) => self.apply_close(close.file, close.time),
            Edit::Hold(hold) => self.apply_hold(hold, now),
            Edit::SetAttributes(set) => self.apply_attributes(set),
            Edit::Truncate(truncate) => self.apply_truncate(truncate, now),
            Edit::Concat(concat) => self.apply_concat(concat),
            Edit::SetAcl(set) => {
                let inode = self.inode_mut(set.id)?;
                inode.permission = set.permission as u16;
                inode.change_extra(|extra| extra.acl = set.entries.iter().map(Into::into).collect());
                Ok(())
            }
            Edit::SetXattrs(set) => {
                let xattrs = set.xattrs.iter().map(Into::into).collect();
                self.inode_mut(set.id)?.change_extra(|extra| extra.xattrs = xattrs);
                Ok(())
            }
            Edit::Stamp(stamp) => {
                self.issue(self.next_block, stamp.generation_stamp)?;
                Ok(())
            }
        }
    }

    /// Raises the counters of block ids and generation stamps. Both only grow, and stay below the largest number that the
    /// protocol's signed fields carry.
    fn issue(&mut self, next_block: u64, generation_stamp: u64) -> Result<(), Misfit> {
        if next_block < self.next_block || generation_stamp < self.generation_stamp {
            return Err(Misfit("a block id or generation stamp was given out before"));
        }
        if next_block >= ID_MAX || generation_stamp >= ID_MAX {
            return Err(Misfit("a block id or generation stamp is out of range"));
        }
        (self.next_block, self.generation_stamp) = (next_block, generation_stamp);
        self.changes.push(BlockChange::Issued {
            next_block,
            generation_stamp,
        });
        Ok(())
    }

    pub(super) fn inode_mut(&mut self, id: InodeId) -> Result<&mut Inode, Misfit> {
        self.before_change(id);
        self.inodes.get_mut(&id).ok_or(Misfit("an inode is missing"))
    }

    pub(super) fn file_mut(&mut self, id: InodeId) -> Result<&mut File, Misfit> {
        self.inode_mut(id)?
            .as_file_mut()
            .ok_or(Misfit("a directory is not a file"))
    }

    fn link(&mut self, parent: InodeId, name: &str, id: InodeId, time: u64) -> Result<(), Misfit> {
        let parent = self.inode_mut(parent)?;
        let Kind::Directory(children) = &mut parent.kind else {
            return Err(Misfit("a parent is a file"));
        };
        if children.contains_key(name) {
            return Err(Misfit("a name is taken"));
        }
        children.insert(name.into(), id);
        parent.modified = parent.modified.max(time);
        Ok(())
    }

    pub(super) fn unlink(&mut self, id: InodeId, time: u64) -> Result<(), Misfit> {
        let inode = self.inodes.get(&id).ok_or(Misfit("an inode is missing"))?;
        let (parent, name) = (inode.parent, inode.name.clone());
        if parent == id {
            return Err(Misfit("the root cannot be removed"));
        }
        let parent = self.inode_mut(parent)?;
        let Kind::Directory(children) = &mut parent.kind else {
            return Err(Misfit("a parent is a file"));
        };
        children.remove(&name);
        parent.modified = parent.modified.max(time);
        Ok(())
    }

    fn apply_add(&mut self, add: &Add, now: u64) -> Result<(), Misfit> {
        if self.inodes.contains_key(&add.id) || add.id < self.next_inode {
            return Err(Misfit("an inode id is taken"));
        }
        if add.id >= ID_MAX {
            return Err(Misfit("an inode id is out of range"));
        }
        self.link(add.parent, &add.name, add.id, add.time)?;
        let kind = match &add.file {
            None => Kind::Directory(Default::default()),
            Some(new) => {
                self.files += 1;
                self.leases.add(&new.holder, add.id, now);
                Kind::File(File {
                    replication: new.replication as u16,
                    block_size: new.block_size,
                    blocks: Vec::new(),
                    holder: Some(new.holder.as_str().into()),
                    last_open: false,
                })
            }
        };
        let is_file = add.file.is_some();
        let inode = Inode {
            id: add.id,
            parent: add.parent,
            name: add.name.as_str().into(),
            owner: self.names.intern(&add.owner),
            group: self.names.intern(&add.group),
            permission: add.permission as u16,
            modified: add.time,
            accessed: if is_file { add.time } else { 0 },
            extra: None,
            kind,
        };
        self.inodes.insert(add.id, inode);
        self.next_inode = add.id + 1;
        Ok(())
    }

    fn apply_delete(&mut self, id: InodeId, time: u64) -> Result<(), Misfit> {
        self.unlink(id, time)?;
        let mut doomed = vec![id];
        while let Some(id) = doomed.pop() {
            self.before_change(id);
            let Some(inode) = self.inodes.remove(&id) else { continue };
            match inode.kind {
                Kind::Directory(children) => doomed.extend(children.into_values()),
                Kind::File(file) => {
                    self.files -= 1;
                    self.truncations.remove(&id);
                    if let Some(holder) = &file.holder {
                        self.leases.remove(holder, id);
                    }
                    self.changes
                        .extend(file.blocks.iter().map(|block| BlockChange::Removed { block: block.id }));
                }
            }
        }
        Ok(())
    }

    fn apply_rename(&mut self, rename: &Rename) -> Result<(), Misfit> {
        if !self.inodes.contains_key(&rename.id) || rename.id == ROOT {
            return Err(Misfit("an inode is missing"));
        }
        if self.is_within(rename.parent, rename.id) {
            return Err(Misfit("a directory cannot be moved into itself"));
        }
        // Link first: if the name is taken, nothing has changed.
        self.link(rename.parent, &rename.name, rename.id, rename.time)?;
        self.unlink(rename.id, rename.time)?;
        let inode = self.inode_mut(rename.id)?;
        inode.parent = rename.parent;
        inode.name = rename.name.as_str().into();
        Ok(())
    }

    fn apply_add_block(&mut self, add: &AddBlock) -> Result<(), Misfit> {
        let block = Block::from(add.block);
        if self.file_mut(add.file)?.last_open {
            return Err(Misfit("the block before is still being written"));
        }
        let next_block = block
            .id
            .checked_add(1)
            .filter(|_| block.id >= self.next_block && block.generation_stamp > self.generation_stamp)
            .ok_or(Misfit("a block id or generation stamp was given out before"))?;
        self.issue(next_block, block.generation_stamp)?;
        let file = self.file_mut(add.file)?;
        file.blocks.push(block);
        file.last_open = true;
        let replication = file.replication;
        self.changes.push(BlockChange::Added {
            block,
            inode: add.file,
            replication,
        });
        Ok(())
    }

    fn apply_update_block(&mut self, update: &UpdateBlock) -> Result<(), Misfit> {
        let mut block = Block::from(update.block);
        if block.generation_stamp > self.generation_stamp {
            return Err(Misfit("a generation stamp was never given out"));
        }
        // Logs of earlier versions may hold lengths that clients made up.
        block.length = block.length.min(BLOCK_BYTES_MAX);
        let file = self.file_mut(update.file)?;
        match file.blocks.last_mut() {
            Some(last) if last.id == block.id => *last = block,
            _ => return Err(Misfit("a block to update is not the last")),
        }
        if update.complete {
            file.last_open = false;
        }
        self.changes.push(match update.complete {
            true => BlockChange::Completed { block },
            false => BlockChange::Updated { block },
        });
        Ok(())
    }

    fn apply_close(&mut self, id: InodeId, time: u64) -> Result<(), Misfit> {
        let inode = self.inode_mut(id)?;
        let file = inode.as_file_mut().ok_or(Misfit("a directory is not a file"))?;
        let holder = file.holder.take();
        let open = file.open_block();
        file.last_open = false;
        inode.modified = time;
        if let Some(block) = open {
            self.changes.push(BlockChange::Completed { block });
        }
        if let Some(holder) = holder {
            self.leases.remove(&holder, id);
        }
        self.truncations.remove(&id);
        Ok(())
    }

    fn apply_hold(&mut self, hold: &Hold, now: u64) -> Result<(), Misfit> {
        let file = self.file_mut(hold.file)?;
        let former = file.holder.replace(hold.holder.as_str().into());
        let mut reopened = None;
        if hold.last_block && !file.last_open {
            reopened = file.blocks.last().copied();
            file.last_open = reopened.is_some();
        }
        if let Some(block) = reopened {
            self.changes.push(BlockChange::Reopened { block });
        }
        if let Some(former) = former {
            self.leases.remove(&former, hold.file);
        }
        self.leases.add(&hold.holder, hold.file, now);
        Ok(())
    }

    fn apply_attributes(&mut self, set: &SetAttributes) -> Result<(), Misfit> {
        let owner = set.owner.as_ref().map(|name| self.names.intern(name));
        let group = set.group.as_ref().map(|name| self.names.intern(name));
        let inode = self.inode_mut(set.id)?;
        if let Some(permission) = set.permission {
            inode.permission = permission as u16;
        }
        inode.owner = owner.unwrap_or(inode.owner);
        inode.group = group.unwrap_or(inode.group);
        inode.modified = set.modified.unwrap_or(inode.modified);
        inode.accessed = set.accessed.unwrap_or(inode.accessed);
        if let (Some(replication), Some(file)) = (set.replication, inode.as_file_mut()) {
            let replication = replication as u16;
            file.replication = replication;
            let blocks: Vec<u64> = file.blocks.iter().map(|block| block.id).collect();
            self.changes.extend(
                blocks
                    .into_iter()
                    .map(|block| BlockChange::Replication { block, replication }),
            );
        }
        Ok(())
    }
}
