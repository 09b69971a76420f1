//! Who may do what: HDFS' permission checks.
//!
//! Every directory on the way has to be traversable. An operation asks for more: access to what it names, to the directory
//! that holds it, to the nearest directory that is there already, to all directories below. Mode bits and [`super::acl`]
//! decide; the sticky bit keeps others' entries in a shared directory. A privileged caller is not checked at all.

use super::acl::{AclKind, Scope};
use super::inode::{Inode, Kind};
use super::{Caller, Namespace, ROOT, path};
use crate::Error;

pub const READ: u8 = 4;
pub const WRITE: u8 = 2;
pub const EXECUTE: u8 = 1;
const ALL: u8 = 7;
const STICKY: u16 = 0o1000;

/// What an operation needs, beside traversing the directories on the way.
#[derive(Debug, Clone, Copy, Default)]
pub struct Needs {
    /// The caller owns what is named.
    pub owner: bool,
    /// Access to the nearest directory above that is there.
    pub ancestor: u8,
    /// Access to the directory that holds what is named; with write access, the sticky bit is heeded.
    pub parent: u8,
    /// Access to what is named.
    pub itself: u8,
    /// Access to each directory in it, itself included.
    pub below: u8,
}

impl Needs {
    pub const TRAVERSE: Self = Self {
        owner: false,
        ancestor: 0,
        parent: 0,
        itself: 0,
        below: 0,
    };
    pub const OWNER: Self = Self {
        owner: true,
        ..Self::TRAVERSE
    };

    pub const fn itself(access: u8) -> Self {
        Self {
            itself: access,
            ..Self::TRAVERSE
        }
    }

    pub const fn ancestor(access: u8) -> Self {
        Self {
            ancestor: access,
            ..Self::TRAVERSE
        }
    }

    pub const fn parent(access: u8) -> Self {
        Self {
            parent: access,
            ..Self::TRAVERSE
        }
    }

    pub const fn below(access: u8) -> Self {
        Self {
            below: access,
            ..Self::TRAVERSE
        }
    }

    /// To remove what is named, with all that is in it.
    pub const REMOVE: Self = Self {
        parent: WRITE,
        below: ALL,
        ..Self::TRAVERSE
    };
}

/// As `ls` shows it.
fn symbols(inode: &Inode) -> String {
    let mut text = String::from(if inode.is_directory() { "d" } else { "-" });
    for (shift, last) in [(6, false), (3, false), (0, true)] {
        let bits = inode.permission >> shift & 7;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (bits & 1 != 0, last && inode.permission & STICKY != 0) {
            (true, false) => 'x',
            (false, false) => '-',
            (true, true) => 't',
            (false, true) => 'T',
        });
    }
    if inode.has_acl() {
        text.push('+');
    }
    text
}

fn words(access: u8) -> &'static str {
    [
        "NONE",
        "EXECUTE",
        "WRITE",
        "WRITE_EXECUTE",
        "READ",
        "READ_EXECUTE",
        "READ_WRITE",
        "ALL",
    ][usize::from(access & ALL)]
}

impl Namespace {
    /// Fails if the caller may not do that with `path`. What is not there is for the operation to say.
    pub fn check(&self, caller: Caller, path: &str, needs: Needs) -> Result<(), Error> {
        if caller.privileged {
            return Ok(());
        }
        let path = &*self.resolve(path)?;
        let names = path::components(path)?;
        let mut chain = vec![&self.inodes[&ROOT]];
        for name in &names {
            let Some(Kind::Directory(children)) = chain.last().map(|inode| &inode.kind) else {
                break;
            };
            match children.get(*name) {
                Some(id) => chain.push(&self.inodes[id]),
                None => break,
            }
        }
        let last = (chain.len() > names.len()).then(|| chain[names.len()]);
        // The directories above what is named, as far as they are there.
        let above = &chain[..chain.len().min(names.len())];
        for directory in above.iter().filter(|inode| inode.is_directory()) {
            self.demand(caller, directory, EXECUTE)?;
        }
        if let Some(ancestor) = above.last().filter(|_| needs.ancestor != 0) {
            self.demand(caller, ancestor, needs.ancestor)?;
        }
        let Some(last) = last else { return Ok(()) };
        if let Some(parent) = above.last().filter(|_| needs.parent != 0) {
            self.demand(caller, parent, needs.parent)?;
            if needs.parent & WRITE != 0 {
                self.check_sticky(caller, parent, last)?;
            }
        }
        self.demand(caller, last, needs.itself)?;
        if needs.below != 0 {
            self.check_below(caller, last, needs.below)?;
        }
        if needs.owner && self.owner_of(last) != caller.user {
            return Err(Error::AccessControl(format!(
                "Permission denied. user={} is not the owner of inode={path}",
                caller.user
            )));
        }
        Ok(())
    }

    fn check_below(&self, caller: Caller, top: &Inode, access: u8) -> Result<(), Error> {
        let mut pending = vec![top];
        while let Some(inode) = pending.pop() {
            let Kind::Directory(children) = &inode.kind else {
                continue;
            };
            // To remove an empty directory its own permission does not matter, as in HDFS.
            if children.is_empty() && access & WRITE != 0 {
                continue;
            }
            self.demand(caller, inode, access)?;
            for child in children.values().map(|id| &self.inodes[id]) {
                if access & WRITE != 0 {
                    self.check_sticky(caller, inode, child)?;
                }
                if child.is_directory() {
                    pending.push(child);
                }
            }
        }
        Ok(())
    }

    fn check_sticky(&self, caller: Caller, parent: &Inode, inode: &Inode) -> Result<(), Error> {
        let owns = |inode| self.owner_of(inode) == caller.user;
        if parent.permission & STICKY == 0 || owns(parent) || owns(inode) {
            return Ok(());
        }
        Err(Error::AccessControl(format!(
            "Permission denied by sticky bit: user={}, path=\"{}\":{}:{}:{}, parent=\"{}\":{}:{}:{}",
            caller.user,
            self.path_of(inode.id),
            self.owner_of(inode),
            self.group_of(inode),
            symbols(inode),
            self.path_of(parent.id),
            self.owner_of(parent),
            self.group_of(parent),
            symbols(parent),
        )))
    }

    /// Fails unless the caller has `access` to an inode.
    pub fn demand(&self, caller: Caller, inode: &Inode, access: u8) -> Result<(), Error> {
        if caller.privileged || self.allows(caller, inode, access) {
            return Ok(());
        }
        let path = match self.path_of(inode.id) {
            path if path.is_empty() => "/".to_owned(),
            path => path,
        };
        Err(Error::AccessControl(format!(
            "Permission denied: user={}, access={}, inode=\"{path}\":{}:{}:{}",
            caller.user,
            words(access),
            self.owner_of(inode),
            self.group_of(inode),
            symbols(inode),
        )))
    }

    fn allows(&self, caller: Caller, inode: &Inode, access: u8) -> bool {
        let bits = |shift: u16| (inode.permission >> shift) as u8 & ALL;
        let has = |bits: u8| bits & access == access;
        let member = |group: &str| caller.groups.iter().any(|known| known == group);
        if self.owner_of(inode) == caller.user {
            return has(bits(6));
        }
        let mut entries = inode
            .acl()
            .iter()
            .filter(|entry| entry.scope == Scope::Access)
            .peekable();
        if entries.peek().is_none() {
            return match member(self.group_of(inode)) {
                true => has(bits(3)),
                false => has(bits(0)),
            };
        }
        // With an ACL the mode's group bits are its mask.
        let mut found = false;
        for entry in entries {
            let name = entry.name.as_deref();
            match entry.kind {
                AclKind::User if name == Some(caller.user) => return has(entry.permission & bits(3)),
                AclKind::Group if member(name.unwrap_or(self.group_of(inode))) => {
                    if has(entry.permission & bits(3)) {
                        return true;
                    }
                    found = true;
                }
                _ => {}
            }
        }
        !found && has(bits(0))
    }
}
