//! What the tree is made of, kept small: millions of these are in memory.

use std::collections::{BTreeMap, HashMap};

use super::acl::{AclEntry, Scope};
use super::xattr::Xattr;

pub type InodeId = u64;

/// The longest block in bytes: a data node takes no packet beyond it.
pub const BLOCK_BYTES_MAX: u64 = 1 << 50;

/// A block of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Block {
    pub id: u64,
    /// Raised whenever the set of replicas that count changes, so that stale ones are known.
    pub generation_stamp: u64,
    /// Bytes; for one that is being written, as many as are known.
    pub length: u64,
}

#[derive(Debug)]
pub struct Inode {
    pub id: InodeId,
    pub parent: InodeId,
    pub name: Box<str>,
    /// Index into [`Names`].
    pub owner: u32,
    pub group: u32,
    pub permission: u16,
    /// Milliseconds since 1970.
    pub modified: u64,
    pub accessed: u64,
    /// What few inodes have.
    pub extra: Option<Box<Extra>>,
    pub kind: Kind,
}

/// Access control entries that the mode does not say, and extended attributes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extra {
    pub acl: Vec<AclEntry>,
    pub xattrs: Vec<Xattr>,
}

#[derive(Debug)]
pub enum Kind {
    /// Children in the byte order of their names, which is the order of a listing.
    Directory(BTreeMap<Box<str>, InodeId>),
    File(File),
}

#[derive(Debug)]
pub struct File {
    pub replication: u16,
    pub block_size: u64,
    pub blocks: Vec<Block>,
    /// Who writes it; `None` once closed.
    pub holder: Option<Box<str>>,
    /// True while the last block is being written.
    pub last_open: bool,
}

impl File {
    /// Length with what is known of the block that is being written.
    pub fn length(&self) -> u64 {
        total(&self.blocks)
    }

    /// Length without the block that is being written.
    pub fn closed_length(&self) -> u64 {
        let closed = self.blocks.len() - usize::from(self.last_open);
        total(&self.blocks[..closed])
    }

    /// The longest that a block of this file may become, in bytes.
    pub fn block_bytes_max(&self) -> u64 {
        self.block_size.min(BLOCK_BYTES_MAX)
    }

    /// The block with a byte at `offset`.
    pub fn block_at(&self, offset: u64) -> Option<Block> {
        let mut end = 0_u64;
        let holds = |block: &&Block| {
            end = end.saturating_add(block.length);
            offset < end
        };
        self.blocks.iter().find(holds).copied()
    }

    /// The block that is being written.
    pub fn open_block(&self) -> Option<Block> {
        if self.last_open {
            self.blocks.last().copied()
        } else {
            None
        }
    }
}

fn total(blocks: &[Block]) -> u64 {
    blocks
        .iter()
        .fold(0, |total, block| u64::saturating_add(total, block.length))
}

impl Inode {
    pub fn acl(&self) -> &[AclEntry] {
        self.extra.as_ref().map_or(&[], |extra| &extra.acl)
    }

    pub fn has_acl(&self) -> bool {
        !self.acl().is_empty()
    }

    pub fn default_acl(&self) -> impl Iterator<Item = &AclEntry> {
        self.acl().iter().filter(|entry| entry.scope == Scope::Default)
    }

    pub fn xattrs(&self) -> &[Xattr] {
        self.extra.as_ref().map_or(&[], |extra| &extra.xattrs)
    }

    pub(super) fn change_extra(&mut self, change: impl FnOnce(&mut Extra)) {
        let mut extra = self.extra.take().unwrap_or_default();
        change(&mut extra);
        self.extra = Some(extra).filter(|extra| **extra != Extra::default());
    }

    pub fn is_directory(&self) -> bool {
        matches!(self.kind, Kind::Directory(_))
    }

    pub fn as_file(&self) -> Option<&File> {
        match &self.kind {
            Kind::File(file) => Some(file),
            Kind::Directory(_) => None,
        }
    }

    pub fn as_file_mut(&mut self) -> Option<&mut File> {
        match &mut self.kind {
            Kind::File(file) => Some(file),
            Kind::Directory(_) => None,
        }
    }
}

/// User and group names, each kept once.
#[derive(Debug, Default)]
pub struct Names {
    names: Vec<Box<str>>,
    indexes: HashMap<Box<str>, u32>,
}

impl Names {
    pub fn intern(&mut self, name: &str) -> u32 {
        if let Some(index) = self.indexes.get(name) {
            return *index;
        }
        let index = self.names.len() as u32;
        self.names.push(name.into());
        self.indexes.insert(name.into(), index);
        index
    }

    pub fn name(&self, index: u32) -> &str {
        self.names.get(index as usize).map_or("", |name| name)
    }
}
