//! The namespace: directories, files, which blocks a file has, and who may write it. Pure.
//!
//! # How it moves
//! Every change is an [`Edit`]: an operation ([`tree`], [`file`]) checks what it was asked, then makes edits, which [`apply`]
//! applies. An operation's outcome depends on the namespace and its arguments alone, the time among them: the name node logs
//! the operations, and repeats them from an [`image`] on. (Logs of format 1 hold the edits.)
//!
//! What a change means for blocks comes out as [`BlockChange`]s, which the block map ([`crate::block`]) is fed with:
//! the namespace knows which blocks a file has, the block map knows where they are. Neither calls the other.
//!
//! # Leases
//! A file that is open for writing names its holder. Leases are renewed by holder ([`lease`]); after the soft limit another
//! client may take a file over, after the hard limit the name node closes it. Renewal times are not logged: a restarted
//! name node gives every holder a full term.
//!
//! # Where it stops
//! Deliberately missing: symbolic links, snapshots, quotas, erasure coding.

pub mod acl;
pub mod apply;
pub mod concat;
pub mod edit;
pub mod file;
pub mod image;
pub mod inode;
pub mod lease;
pub mod path;
pub mod permission;
pub mod tree;
pub mod truncate;
pub mod xattr;

#[cfg(test)]
mod stories;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

pub use edit::Edit;
pub use inode::{BLOCK_BYTES_MAX, Block, File, Inode, InodeId, Kind};

use crate::Error;
use inode::Names;
use lease::Leases;

/// The root directory's id, as in HDFS.
pub const ROOT: InodeId = 16385;
/// The first block id, as in HDFS (2^30).
pub const FIRST_BLOCK: u64 = 1 << 30;
/// The first generation stamp, as in HDFS.
pub const FIRST_STAMP: u64 = 1000;
/// Who holds the lease of a file that the name node itself is closing.
pub const RECOVERY_HOLDER: &str = "NameNode_Recovery";

/// What an edit means for the block map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockChange {
    /// A block was added to a file and is being written.
    Added {
        block: Block,
        inode: InodeId,
        replication: u16,
    },
    /// Its length or generation stamp is known better.
    Updated { block: Block },
    /// It will not change any more.
    Completed { block: Block },
    /// It is being written again, or cut.
    Reopened { block: Block },
    /// Another file has it.
    Moved {
        block: u64,
        inode: InodeId,
        replication: u16,
    },
    /// It should have this many replicas.
    Replication { block: u64, replication: u16 },
    /// Block ids below `next_block` and generation stamps up to `generation_stamp` were given out, and no others.
    Issued { next_block: u64, generation_stamp: u64 },
    /// No file has it any more.
    Removed { block: u64 },
}

/// Who calls and when.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    pub user: &'a str,
    pub groups: &'a [String],
    /// May do anything: a superuser, or permissions are not checked.
    pub privileged: bool,
    /// Milliseconds by a clock that never steps: for leases.
    pub now: u64,
    /// Milliseconds since 1970 by the wall clock, which may step: for times that are shown.
    pub time: u64,
}

/// The tree, its counters and leases.
///
/// - Every inode but the root is in exactly one directory, under its own name.
/// - A file under construction has a lease; no other file has.
/// - A file whose last block is being cut is under construction.
/// - All blocks of a file are complete, except the last one of a file under construction.
/// - Ids and generation stamps only grow.
#[derive(Debug)]
pub struct Namespace {
    pub(crate) inodes: HashMap<InodeId, Inode>,
    pub(crate) names: Names,
    pub(crate) leases: Leases,
    pub(crate) next_inode: InodeId,
    pub(crate) next_block: u64,
    pub(crate) generation_stamp: u64,
    pub(crate) files: u64,
    /// To how many bytes data nodes are cutting the last blocks of these files. Until they have, a file keeps its length.
    pub(crate) truncations: BTreeMap<InodeId, u64>,
    edits: Vec<Edit>,
    changes: Vec<BlockChange>,
    /// While it is only asked what an operation would do: whether it would change something.
    probe: Option<bool>,
    imaging: Option<image::Imaging>,
}

impl Namespace {
    /// A fresh namespace: the root directory of `owner`.
    pub fn new(owner: &str, group: &str, now: u64) -> Self {
        let mut names = Names::default();
        let root = Inode {
            id: ROOT,
            parent: ROOT,
            name: "".into(),
            owner: names.intern(owner),
            group: names.intern(group),
            permission: 0o755,
            modified: now,
            accessed: 0,
            extra: None,
            kind: Kind::Directory(Default::default()),
        };
        Self {
            inodes: HashMap::from([(ROOT, root)]),
            names,
            leases: Leases::default(),
            next_inode: ROOT + 1,
            next_block: FIRST_BLOCK,
            generation_stamp: FIRST_STAMP,
            files: 0,
            truncations: BTreeMap::new(),
            edits: Vec::new(),
            changes: Vec::new(),
            probe: None,
            imaging: None,
        }
    }

    /// The edits made since the last call.
    pub fn take_edits(&mut self) -> Vec<Edit> {
        std::mem::take(&mut self.edits)
    }

    /// The changes made since the last call, for the block map.
    pub fn take_changes(&mut self) -> Vec<BlockChange> {
        std::mem::take(&mut self.changes)
    }

    /// From here to [`Namespace::end_probe`] operations change nothing: the first edit fails. So one that succeeds has nothing
    /// to change, and one that fails before is refused.
    pub fn begin_probe(&mut self) {
        self.probe = Some(false);
    }

    /// True if an operation would have changed something.
    pub fn end_probe(&mut self) -> bool {
        self.probe.take().unwrap_or_default()
    }

    pub fn clear_edits(&mut self) {
        self.edits.clear();
    }

    /// Applies an edit. One that does not apply changes nothing.
    fn make(&mut self, edit: Edit, now: u64) -> Result<(), Error> {
        if let Some(would_change) = &mut self.probe {
            *would_change = true;
            return Err(Error::Io("the operation would change the namespace".to_owned()));
        }
        self.apply(&edit, now).map_err(|misfit| Error::Io(misfit.to_string()))?;
        self.edits.push(edit);
        Ok(())
    }

    pub fn inode(&self, id: InodeId) -> Option<&Inode> {
        self.inodes.get(&id)
    }

    pub fn inode_count(&self) -> u64 {
        self.inodes.len() as u64
    }

    pub fn file_count(&self) -> u64 {
        self.files
    }

    pub fn owner_of(&self, inode: &Inode) -> &str {
        self.names.name(inode.owner)
    }

    pub fn group_of(&self, inode: &Inode) -> &str {
        self.names.name(inode.group)
    }

    pub fn leases(&self) -> &Leases {
        &self.leases
    }

    /// The plain path of one below [`path::INODES`], which names a file or directory by its id wherever it has moved.
    pub(super) fn resolve<'p>(&self, path: &'p str) -> Result<Cow<'p, str>, Error> {
        let Some(rest) = path.strip_prefix(path::INODES) else {
            return Ok(Cow::Borrowed(path));
        };
        let (id, below) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let found = id.parse().ok().filter(|id| self.inodes.contains_key(id));
        let id =
            found.ok_or_else(|| Error::FileNotFound(format!("File for given inode path does not exist: {path}")))?;
        let resolved = self.path_of(id) + below;
        Ok(Cow::Owned(if resolved.is_empty() { "/".to_owned() } else { resolved }))
    }

    /// Finds what `path` names.
    pub fn lookup(&self, path: &str) -> Result<Option<&Inode>, Error> {
        let path = &*self.resolve(path)?;
        let mut inode = &self.inodes[&ROOT];
        for name in path::components(path)? {
            let Kind::Directory(children) = &inode.kind else {
                return Ok(None);
            };
            match children.get(name) {
                Some(id) => inode = &self.inodes[id],
                None => return Ok(None),
            }
        }
        Ok(Some(inode))
    }

    /// Finds a file that has to exist.
    pub fn file(&self, path: &str) -> Result<(&Inode, &File), Error> {
        let inode = self.lookup(path)?.ok_or_else(|| Error::not_found(path))?;
        match &inode.kind {
            Kind::File(file) => Ok((inode, file)),
            Kind::Directory(_) => Err(Error::FileNotFound(format!("Path is not a file: {path}"))),
        }
    }

    /// True if `directory` is `inode` or above it.
    pub(super) fn is_within(&self, inode: InodeId, directory: InodeId) -> bool {
        let mut at = inode;
        loop {
            if at == directory {
                return true;
            }
            match self.inodes.get(&at) {
                Some(inode) if at != ROOT => at = inode.parent,
                _ => return false,
            }
        }
    }

    /// To how many bytes the last block of a file is being cut, if it is.
    pub fn truncation(&self, file: InodeId) -> Option<u64> {
        self.truncations.get(&file).copied()
    }

    /// The path of an inode.
    pub fn path_of(&self, id: InodeId) -> String {
        let mut names = Vec::new();
        let mut at = id;
        while at != ROOT {
            let Some(inode) = self.inodes.get(&at) else { break };
            names.push(&*inode.name);
            at = inode.parent;
        }
        names.iter().rev().fold(String::new(), |path, name| path + "/" + name)
    }
}
