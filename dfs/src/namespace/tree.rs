//! Directories and attributes: mkdirs, both renames, delete, listing, summary.

use super::edit::{Add, Delete, Edit, Rename, SetAttributes};
use super::inode::{Inode, InodeId, Kind};
use super::permission::{Needs, WRITE};
use super::{Caller, Namespace, ROOT, path};
use crate::Error;

/// What a subtree holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    pub length: u64,
    pub files: u64,
    pub directories: u64,
    /// Bytes times replicas.
    pub space: u64,
}

/// Permission bits that directories made on the way get in addition: their owner must be able to fill them.
const OWNER_WRITE_EXECUTE: u16 = 0o300;
/// Permission bits that exist: rwx for three, set-id and sticky.
pub(super) const PERMISSION_MASK: u16 = 0o1777;

impl Namespace {
    /// The directory that is to hold the last name of `path`, which may be missing.
    pub(super) fn parent_of<'p>(&self, path: &'p str) -> Result<(Option<&Inode>, &'p str), Error> {
        path::components(path)?;
        let (parent, name) = path::split(path).ok_or_else(|| Error::InvalidPath(path.to_owned()))?;
        self.check_ancestors(parent)?;
        Ok((self.lookup(parent)?, name))
    }

    /// Fails if a name of `path` is a file, the last one included.
    pub(super) fn check_ancestors(&self, path: &str) -> Result<(), Error> {
        let mut inode = &self.inodes[&ROOT];
        for name in path::components(path)? {
            let Kind::Directory(children) = &inode.kind else {
                return Err(Error::ParentNotDirectory(self.path_of(inode.id)));
            };
            match children.get(name) {
                Some(id) => inode = &self.inodes[id],
                None => return Ok(()),
            }
        }
        match inode.kind {
            Kind::File(_) => Err(Error::ParentNotDirectory(self.path_of(inode.id))),
            Kind::Directory(_) => Ok(()),
        }
    }

    /// Makes a directory and, with `create_parent`, those above it. True also if it was there.
    /// `unmasked`: the permission without the caller's umask, for directories with a default ACL.
    pub fn mkdirs(
        &mut self,
        caller: Caller,
        path: &str,
        permission: u16,
        unmasked: u16,
        create_parent: bool,
    ) -> Result<(), Error> {
        let resolved = self.resolve(path)?;
        let path = &*resolved;
        let names = path::components(path)?;
        path::check_not_reserved(path)?;
        self.check(caller, path, Needs::TRAVERSE)?;
        match self.lookup(path)? {
            Some(inode) if inode.is_directory() => return Ok(()),
            Some(_) => return Err(Error::AlreadyExists(format!("Path is not a directory: {path}"))),
            None => {}
        }
        self.check(caller, path, Needs::ancestor(WRITE))?;
        if let Some((parent, _)) = path::split(path) {
            self.check_ancestors(parent)?;
            if !create_parent && self.lookup(parent)?.is_none() {
                return Err(Error::FileNotFound(format!("Parent directory doesn't exist: {parent}")));
            }
        }
        self.make_directories(caller, &names, permission, unmasked)?;
        Ok(())
    }

    /// Makes what is missing of `names`, which must hold no file, and returns the last directory.
    pub(super) fn make_directories(
        &mut self,
        caller: Caller,
        names: &[&str],
        permission: u16,
        unmasked: u16,
    ) -> Result<InodeId, Error> {
        let mut at = ROOT;
        for (depth, name) in names.iter().enumerate() {
            let parent = &self.inodes[&at];
            let Kind::Directory(children) = &parent.kind else {
                return Ok(at);
            };
            if let Some(id) = children.get(*name) {
                at = *id;
                continue;
            }
            let bits = if depth + 1 == names.len() {
                permission
            } else {
                permission | OWNER_WRITE_EXECUTE
            };
            let add = Add {
                parent: at,
                id: self.next_inode,
                name: (*name).to_owned(),
                owner: caller.user.to_owned(),
                group: self.group_of(parent).to_owned(),
                permission: (bits & PERMISSION_MASK).into(),
                time: caller.time,
                file: None,
            };
            at = add.id;
            self.make(Edit::Add(add), caller.now)?;
            // HDFS gives directories that are made on the way all that the default list gives.
            let last = depth + 1 == names.len();
            self.inherit_acl(caller, at, if last { unmasked } else { 0o777 })?;
        }
        Ok(at)
    }

    /// Removes a file or a directory. False if it was not there.
    pub fn delete(&mut self, caller: Caller, path: &str, recursive: bool) -> Result<bool, Error> {
        self.check(caller, path, Needs::REMOVE)?;
        let Some(inode) = self.lookup(path)? else {
            return Ok(false);
        };
        if inode.id == ROOT {
            return Ok(false);
        }
        if let Kind::Directory(children) = &inode.kind
            && !children.is_empty()
            && !recursive
        {
            return Err(Error::NotEmpty(path.to_owned()));
        }
        let id = inode.id;
        self.make(Edit::Delete(Delete { id, time: caller.time }), caller.now)?;
        Ok(true)
    }

    /// The old rename: into the destination if that is a directory; false where it cannot be done.
    pub fn rename_into(&mut self, caller: Caller, source: &str, destination: &str) -> Result<bool, Error> {
        let (from, to) = (self.resolve(source)?, self.resolve(destination)?);
        let (source, destination) = (&*from, &*to);
        path::components(destination)?;
        path::check_not_reserved(destination)?;
        self.check(caller, source, Needs::parent(WRITE))?;
        let Some(inode) = self.lookup(source)? else {
            return Ok(false);
        };
        let (id, name) = (inode.id, inode.name.clone());
        if id == ROOT {
            return Ok(false);
        }
        let into = self.lookup(destination)?.is_some_and(Inode::is_directory);
        let target = if into {
            format!("{}/{name}", destination.trim_end_matches('/'))
        } else {
            destination.to_owned()
        };
        self.check(caller, &target, Needs::ancestor(WRITE))?;
        if self.lookup(&target)?.is_some_and(|there| there.id == id) {
            return Ok(true);
        }
        if self.lookup(&target)?.is_some() || is_below(source, &target) {
            return Ok(false);
        }
        let (parent, name) = self.parent_of(&target)?;
        let Some(parent) = parent.map(|parent| parent.id) else {
            return Ok(false);
        };
        let rename = Rename {
            id,
            parent,
            name: name.to_owned(),
            time: caller.time,
        };
        self.make(Edit::Rename(rename), caller.now)?;
        Ok(true)
    }

    /// The newer rename: to exactly that name, with an error that says why not.
    pub fn rename(&mut self, caller: Caller, source: &str, destination: &str, overwrite: bool) -> Result<(), Error> {
        let (resolved_source, resolved_destination) = (self.resolve(source)?, self.resolve(destination)?);
        let (source, destination) = (&*resolved_source, &*resolved_destination);
        path::components(destination)?;
        path::check_not_reserved(destination)?;
        self.check(caller, source, Needs::parent(WRITE))?;
        self.check(caller, destination, Needs::ancestor(WRITE))?;
        let from = self
            .lookup(source)?
            .ok_or_else(|| Error::FileNotFound(format!("rename source {source} is not found.")))?;
        let (id, from_directory) = (from.id, from.is_directory());
        if id == ROOT {
            return Err(Error::Io("rename source cannot be the root".to_owned()));
        }
        let to = self.lookup(destination)?;
        if to.is_some_and(|to| to.id == id) {
            let message = format!("The source {source} and destination {destination} are the same");
            return Err(Error::AlreadyExists(message));
        }
        if is_below(source, destination) {
            let message = format!("Rename destination {destination} is a directory or file under source {source}");
            return Err(Error::Io(message));
        }
        let replaced = match to {
            None => None,
            Some(to) => Some(self.check_overwrite(source, from_directory, destination, to, overwrite)?),
        };
        let (parent, name) = match self.parent_of(destination) {
            Err(Error::ParentNotDirectory(parent)) => {
                return Err(Error::ParentNotDirectory(format!("rename destination parent {parent}")));
            }
            other => other?,
        };
        let parent = parent.map(|parent| parent.id).ok_or_else(|| {
            let parent = path::split(destination).map_or("/", |(parent, _)| parent);
            Error::FileNotFound(format!("rename destination parent {parent} not found."))
        })?;
        if let Some(id) = replaced {
            self.make(Edit::Delete(Delete { id, time: caller.time }), caller.now)?;
        }
        let rename = Rename {
            id,
            parent,
            name: name.to_owned(),
            time: caller.time,
        };
        self.make(Edit::Rename(rename), caller.now)?;
        Ok(())
    }

    fn check_overwrite(
        &self,
        source: &str,
        from_directory: bool,
        destination: &str,
        to: &Inode,
        overwrite: bool,
    ) -> Result<InodeId, Error> {
        if to.is_directory() != from_directory {
            let kind = if from_directory { "directories" } else { "files" };
            return Err(Error::Io(format!(
                "Source {source} and destination {destination} must both be {kind}"
            )));
        }
        if !overwrite {
            return Err(Error::AlreadyExists(format!(
                "rename destination {destination} already exists"
            )));
        }
        match &to.kind {
            Kind::Directory(children) if !children.is_empty() || to.id == ROOT => Err(Error::Io(format!(
                "rename destination directory is not empty: {destination}"
            ))),
            _ => Ok(to.id),
        }
    }

    fn existing(&self, path: &str) -> Result<InodeId, Error> {
        Ok(self.lookup(path)?.ok_or_else(|| Error::not_found(path))?.id)
    }

    pub fn set_permission(&mut self, caller: Caller, path: &str, permission: u16) -> Result<(), Error> {
        self.check(caller, path, Needs::OWNER)?;
        let id = self.existing(path)?;
        let permission = Some((permission & PERMISSION_MASK).into());
        self.make(
            Edit::SetAttributes(SetAttributes {
                id,
                permission,
                ..Default::default()
            }),
            caller.now,
        )?;
        Ok(())
    }

    /// Changes those of owner and group that are given.
    pub fn set_owner(
        &mut self,
        caller: Caller,
        path: &str,
        owner: Option<String>,
        group: Option<String>,
    ) -> Result<(), Error> {
        self.check(caller, path, Needs::OWNER)?;
        let id = self.existing(path)?;
        if !caller.privileged {
            let user = caller.user;
            if owner.as_deref().is_some_and(|owner| owner != user) {
                return Err(Error::AccessControl(format!(
                    "User {user} is not a super user (non-super user cannot change owner)."
                )));
            }
            if let Some(group) = &group
                && !caller.groups.contains(group)
            {
                return Err(Error::AccessControl(format!("User {user} does not belong to {group}")));
            }
        }
        self.make(
            Edit::SetAttributes(SetAttributes {
                id,
                owner,
                group,
                ..Default::default()
            }),
            caller.now,
        )?;
        Ok(())
    }

    pub fn set_times(
        &mut self,
        caller: Caller,
        path: &str,
        modified: Option<u64>,
        accessed: Option<u64>,
    ) -> Result<(), Error> {
        self.check(caller, path, Needs::itself(WRITE))?;
        let id = self.existing(path)?;
        self.make(
            Edit::SetAttributes(SetAttributes {
                id,
                modified,
                accessed,
                ..Default::default()
            }),
            caller.now,
        )?;
        Ok(())
    }

    /// Records that a file was read.
    pub fn set_accessed(&mut self, now: u64, id: InodeId, time: u64) -> Result<(), Error> {
        let set = SetAttributes {
            id,
            accessed: Some(time),
            ..Default::default()
        };
        self.make(Edit::SetAttributes(set), now)
    }

    /// False for a directory, which has no replicas.
    pub fn set_replication(&mut self, caller: Caller, path: &str, replication: u16) -> Result<bool, Error> {
        self.check(caller, path, Needs::itself(WRITE))?;
        let inode = self.lookup(path)?.ok_or_else(|| Error::not_found(path))?;
        let Some(file) = inode.as_file() else { return Ok(false) };
        let id = inode.id;
        if file.replication != replication {
            let replication = Some(replication.into());
            self.make(
                Edit::SetAttributes(SetAttributes {
                    id,
                    replication,
                    ..Default::default()
                }),
                caller.now,
            )?;
        }
        Ok(true)
    }

    /// The children after the name `after`, at most `limit`, and how many more there are. A file lists itself.
    pub fn list(&self, path: &str, after: &[u8], limit: usize) -> Result<Option<(Vec<&Inode>, usize)>, Error> {
        let Some(inode) = self.lookup(path)? else {
            return Ok(None);
        };
        let Kind::Directory(children) = &inode.kind else {
            return Ok(Some((vec![inode], 0)));
        };
        let after = String::from_utf8_lossy(after);
        let rest = children.range::<str, _>((
            if after.is_empty() {
                std::ops::Bound::Unbounded
            } else {
                std::ops::Bound::Excluded(&*after)
            },
            std::ops::Bound::Unbounded,
        ));
        let page: Vec<&Inode> = rest.clone().take(limit).map(|(_, id)| &self.inodes[id]).collect();
        let remaining = if page.len() < limit {
            0
        } else {
            rest.count() - page.len()
        };
        Ok(Some((page, remaining)))
    }

    /// Counts a subtree.
    pub fn summary(&self, path: &str) -> Result<Summary, Error> {
        let mut summary = Summary::default();
        let mut pending = vec![self.existing(path)?];
        while let Some(id) = pending.pop() {
            match &self.inodes[&id].kind {
                Kind::Directory(children) => {
                    summary.directories += 1;
                    pending.extend(children.values());
                }
                Kind::File(file) => {
                    summary.files += 1;
                    let length = file.length();
                    summary.length = summary.length.saturating_add(length);
                    let space = length.saturating_mul(file.replication.into());
                    summary.space = summary.space.saturating_add(space);
                }
            }
        }
        Ok(summary)
    }
}

/// True if `path` is below `directory`.
fn is_below(directory: &str, path: &str) -> bool {
    path.strip_prefix(directory.trim_end_matches('/'))
        .is_some_and(|rest| rest.starts_with('/') && rest.len() > 1)
}
