//! Access control lists, as HDFS has them (POSIX 1003.1e draft 17).
//!
//! A *logical* list has an entry for the owner, the group and others, and further ones by name; with those it also has a mask,
//! which bounds all but owner and others. Directories have a second list, the *default* one, which what is made in them gets.
//! An inode keeps of the access list only what its mode does not say: owner, mask and others are mode bits.

use super::edit::{AclEdit, Edit, SetAcl};
use super::inode::Inode;
use super::permission::Needs;
use super::{Caller, InodeId, Namespace};
use crate::Error;

/// Entries of one list: HDFS' own limit.
const ENTRIES_MAX: usize = 32;
/// The longest user or group name in bytes.
const NAME_BYTES_MAX: usize = 255;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    Access,
    Default,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AclKind {
    User,
    Group,
    Mask,
    Other,
}

/// In the order of a list: by scope, kind and name, those without a name first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AclEntry {
    pub scope: Scope,
    pub kind: AclKind,
    pub name: Option<Box<str>>,
    pub permission: u8,
}

/// How a list changes.
#[derive(Debug, Clone, Copy)]
pub enum AclChange<'a> {
    Modify(&'a [AclEntry]),
    RemoveEntries(&'a [AclEntry]),
    RemoveDefault,
    /// All but the mode bits.
    Remove,
    Replace(&'a [AclEntry]),
}

fn acl_error(message: String) -> Error {
    Error::Acl(format!("Invalid ACL: {message}"))
}

fn same_key(a: &AclEntry, b: &AclEntry) -> bool {
    (a.scope, a.kind, &a.name) == (b.scope, b.kind, &b.name)
}

/// A list in the making: entries without masks, and what is known of each scope.
#[derive(Default)]
struct Draft {
    entries: Vec<AclEntry>,
    scopes: [DraftScope; 2],
}

#[derive(Default)]
struct DraftScope {
    mask: Option<u8>,
    mask_changed: bool,
    changed: bool,
}

impl Draft {
    fn keep(&mut self, entry: &AclEntry) {
        match entry.kind {
            AclKind::Mask => self.scopes[entry.scope as usize].mask = Some(entry.permission),
            _ => self.entries.push(entry.clone()),
        }
    }

    fn set(&mut self, entry: &AclEntry) {
        let scope = &mut self.scopes[entry.scope as usize];
        scope.changed = true;
        scope.mask_changed |= entry.kind == AclKind::Mask;
        self.keep(entry);
    }

    fn drop(&mut self, entry: &AclEntry) {
        let scope = &mut self.scopes[entry.scope as usize];
        scope.changed = true;
        scope.mask_changed |= entry.kind == AclKind::Mask;
    }

    /// The complete list: default entries and masks that are missing are filled in.
    fn finish(mut self) -> Result<Vec<AclEntry>, Error> {
        if self.entries.iter().any(|entry| entry.scope == Scope::Default) {
            for kind in [AclKind::User, AclKind::Group, AclKind::Other] {
                let find = |scope| {
                    let unnamed = |entry: &&AclEntry| entry.kind == kind && entry.name.is_none();
                    self.entries.iter().filter(unnamed).find(|entry| entry.scope == scope)
                };
                if find(Scope::Default).is_none()
                    && let Some(access) = find(Scope::Access)
                {
                    let copy = AclEntry {
                        scope: Scope::Default,
                        ..access.clone()
                    };
                    self.entries.push(copy);
                }
            }
        }
        for scope in [Scope::Access, Scope::Default] {
            let state = &self.scopes[scope as usize];
            let of_scope = || self.entries.iter().filter(|entry| entry.scope == scope);
            if of_scope().next().is_none() {
                continue;
            }
            let needed = of_scope().any(|entry| entry.name.is_some());
            let bounded = of_scope().filter(|entry| entry.kind == AclKind::Group || entry.name.is_some());
            let union = bounded.fold(0, |union, entry| union | entry.permission);
            let permission = match state.mask {
                None if needed && state.mask_changed => {
                    return Err(acl_error("mask is required and cannot be deleted.".to_owned()));
                }
                Some(mask) if !state.changed || state.mask_changed => mask,
                Some(_) => union,
                None if needed => union,
                None => continue,
            };
            self.entries.push(AclEntry {
                scope,
                kind: AclKind::Mask,
                name: None,
                permission,
            });
        }
        self.entries.sort();
        check(&self.entries)?;
        Ok(self.entries)
    }
}

fn check(entries: &[AclEntry]) -> Result<(), Error> {
    for scope in [Scope::Access, Scope::Default] {
        let of_scope = || entries.iter().filter(|entry| entry.scope == scope);
        let count = of_scope().count();
        if count > ENTRIES_MAX {
            let which = if scope == Scope::Access { "access" } else { "default" };
            return Err(acl_error(format!(
                "ACL has {count} {which} entries, which exceeds maximum of {ENTRIES_MAX}."
            )));
        }
        let required = [AclKind::User, AclKind::Group, AclKind::Other];
        let has = |kind: &AclKind| of_scope().any(|entry| entry.kind == *kind && entry.name.is_none());
        if (count > 0 || scope == Scope::Access) && !required.iter().all(has) {
            return Err(acl_error(match scope {
                Scope::Access => "the user, group and other entries are required.".to_owned(),
                Scope::Default => "default ACL: the user, group and other entries are required.".to_owned(),
            }));
        }
    }
    if entries.windows(2).any(|pair| same_key(&pair[0], &pair[1])) {
        return Err(acl_error("multiple entries with same scope, type and name.".to_owned()));
    }
    let misnamed = |entry: &&AclEntry| {
        let named = entry.name.as_ref();
        matches!(entry.kind, AclKind::Mask | AclKind::Other) && named.is_some()
            || named.is_some_and(|name| name.len() > NAME_BYTES_MAX)
    };
    match entries.iter().find(misnamed) {
        Some(entry) => Err(acl_error(format!(
            "this entry type must not have a name, or it is too long: {}.",
            entry.name.as_deref().unwrap_or_default()
        ))),
        None => Ok(()),
    }
}

/// The mode bits and the kept entries of a complete list.
fn split(list: Vec<AclEntry>, permission: u16) -> (u16, Vec<AclEntry>) {
    let access = |kind: AclKind| {
        let of_kind = |entry: &&AclEntry| entry.scope == Scope::Access && entry.kind == kind && entry.name.is_none();
        list.iter().find(of_kind).map(|entry| u16::from(entry.permission))
    };
    let group = access(AclKind::Mask).or(access(AclKind::Group)).unwrap_or(0);
    let owner = access(AclKind::User).unwrap_or(0);
    let bits = owner << 6 | group << 3 | access(AclKind::Other).unwrap_or(0);
    let extended = access(AclKind::Mask).is_some();
    let kept = |entry: &AclEntry| {
        entry.scope == Scope::Default || extended && (entry.name.is_some() || entry.kind == AclKind::Group)
    };
    let entries = list.into_iter().filter(kept).collect();
    (permission & 0o1000 | bits, entries)
}

impl Inode {
    fn mode_entry(&self, kind: AclKind) -> AclEntry {
        let shift = match kind {
            AclKind::User => 6,
            AclKind::Group | AclKind::Mask => 3,
            AclKind::Other => 0,
        };
        AclEntry {
            scope: Scope::Access,
            kind,
            name: None,
            permission: (self.permission >> shift) as u8 & 7,
        }
    }

    /// The complete list.
    fn logical_acl(&self) -> Vec<AclEntry> {
        let mut list = self.acl().to_vec();
        list.push(self.mode_entry(AclKind::User));
        list.push(self.mode_entry(AclKind::Other));
        let extended = self.acl().iter().any(|entry| entry.scope == Scope::Access);
        list.push(self.mode_entry(if extended { AclKind::Mask } else { AclKind::Group }));
        list.sort();
        list
    }
}

impl Namespace {
    /// Changes the lists of what `path` names. Its owner may.
    pub fn change_acl(&mut self, caller: Caller, path: &str, change: AclChange) -> Result<(), Error> {
        self.check(caller, path, Needs::OWNER)?;
        let inode = self.lookup(path)?.ok_or_else(|| Error::not_found(path))?;
        let (id, existing) = (inode.id, inode.logical_acl());
        let mut draft = Draft::default();
        match change {
            AclChange::Modify(spec) => {
                for entry in &existing {
                    match spec.iter().find(|new| same_key(new, entry)) {
                        Some(new) => draft.set(new),
                        None => draft.keep(entry),
                    }
                }
                let new = |entry: &&AclEntry| !existing.iter().any(|known| same_key(known, entry));
                spec.iter().filter(new).for_each(|entry| draft.set(entry));
            }
            AclChange::RemoveEntries(spec) => {
                for entry in &existing {
                    match spec.iter().any(|gone| same_key(gone, entry)) {
                        true => draft.drop(entry),
                        false => draft.keep(entry),
                    }
                }
            }
            AclChange::RemoveDefault => {
                let access = existing.iter().filter(|entry| entry.scope == Scope::Access);
                access.for_each(|entry| draft.keep(entry));
            }
            AclChange::Remove => {
                // The group's own entry takes the mask's place in the mode.
                let minimal = |entry: &&AclEntry| {
                    entry.scope == Scope::Access && entry.name.is_none() && entry.kind != AclKind::Mask
                };
                existing.iter().filter(minimal).for_each(|entry| draft.keep(entry));
            }
            AclChange::Replace(spec) => {
                spec.iter().for_each(|entry| draft.set(entry));
                for entry in &existing {
                    if !spec.iter().any(|new| new.scope == entry.scope) {
                        draft.keep(entry);
                    }
                }
            }
        }
        let list = draft.finish()?;
        if !inode.is_directory() && list.iter().any(|entry| entry.scope == Scope::Default) {
            return Err(acl_error(format!(
                "only directories may have a default ACL. Path: {path}"
            )));
        }
        let (permission, entries) = split(list, inode.permission);
        if permission == inode.permission && entries == inode.acl() {
            return Ok(());
        }
        self.set_acl(caller, id, permission, &entries)
    }

    fn set_acl(&mut self, caller: Caller, id: InodeId, permission: u16, entries: &[AclEntry]) -> Result<(), Error> {
        let set = SetAcl {
            id,
            permission: permission.into(),
            entries: entries.iter().map(AclEdit::from).collect(),
        };
        self.make(Edit::SetAcl(set), caller.now)
    }

    /// Gives a new inode what the default list of its directory says. `mode`: the permission without the caller's umask.
    pub(super) fn inherit_acl(&mut self, caller: Caller, id: InodeId, mode: u16) -> Result<(), Error> {
        let Some(inode) = self.inodes.get(&id) else {
            return Ok(());
        };
        let Some(parent) = self.inodes.get(&inode.parent) else {
            return Ok(());
        };
        let defaults: Vec<AclEntry> = parent.default_acl().cloned().collect();
        if defaults.is_empty() {
            return Ok(());
        }
        let minimal = !defaults.iter().any(|entry| entry.kind == AclKind::Mask);
        let mut list: Vec<AclEntry> = defaults
            .iter()
            .map(|entry| {
                let bounded = match (entry.kind, &entry.name) {
                    (AclKind::User, None) => mode >> 6,
                    (AclKind::Group, None) if minimal => mode >> 3,
                    (AclKind::Mask, _) => mode >> 3,
                    (AclKind::Other, _) => mode,
                    _ => 7,
                };
                AclEntry {
                    scope: Scope::Access,
                    permission: entry.permission & bounded as u8 & 7,
                    ..entry.clone()
                }
            })
            .collect();
        if inode.is_directory() {
            list.extend(defaults);
        }
        let (permission, entries) = split(list, inode.permission);
        self.set_acl(caller, id, permission, &entries)
    }
}
