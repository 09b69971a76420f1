//! Extended attributes: named bytes of a file or directory.

use super::edit::{Edit, SetXattrs, XattrEdit};
use super::permission::{Needs, READ, WRITE};
use super::{Caller, Inode, Namespace};
use crate::Error;

/// `dfs.namenode.fs-limits.max-xattrs-per-inode` and `max-xattr-size`.
const XATTRS_MAX: usize = 32;
const XATTR_BYTES_MAX: usize = 16_384;
const NAME_BYTES_MAX: usize = 255;

/// Namespaces of attributes, by their numbers on the wire.
pub const USER: i32 = 0;
pub const TRUSTED: i32 = 1;

/// What `setXAttr` may do.
#[derive(Debug, Clone, Copy)]
pub struct XattrFlags {
    pub create: bool,
    pub replace: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Xattr {
    pub namespace: i32,
    pub name: Box<str>,
    pub value: Box<[u8]>,
}

fn prefix(namespace: i32) -> &'static str {
    ["user", "trusted", "security", "system", "raw"]
        .get(namespace as usize)
        .unwrap_or(&"unknown")
}

/// Users see and set `user.*`, superusers `trusted.*` too; the others are HDFS' own.
fn check_namespace(caller: Caller, namespace: i32, name: &str) -> Result<(), Error> {
    match namespace {
        USER => Ok(()),
        TRUSTED if caller.privileged => Ok(()),
        _ => Err(Error::AccessControl(format!(
            "User doesn't have permission for xattr: {}.{name}",
            prefix(namespace)
        ))),
    }
}

impl Namespace {
    fn with_xattrs(&self, path: &str) -> Result<&Inode, Error> {
        self.lookup(path)?
            .ok_or_else(|| Error::FileNotFound(format!("cannot find {path}")))
    }

    pub fn set_xattr(&mut self, caller: Caller, path: &str, xattr: Xattr, flags: XattrFlags) -> Result<(), Error> {
        check_namespace(caller, xattr.namespace, &xattr.name)?;
        self.check(caller, path, Needs::itself(WRITE))?;
        if xattr.name.is_empty() || xattr.name.len() > NAME_BYTES_MAX {
            return Err(Error::IllegalArgument(format!(
                "The name of an extended attribute has 1 to {NAME_BYTES_MAX} bytes."
            )));
        }
        let bytes = xattr.name.len() + xattr.value.len();
        if bytes > XATTR_BYTES_MAX {
            return Err(Error::IllegalArgument(format!(
                "The XAttr is too big. The maximum combined size of the name and value is {XATTR_BYTES_MAX}, but the total \
                 size is {bytes}"
            )));
        }
        let inode = self.with_xattrs(path)?;
        let id = inode.id;
        let mut xattrs = inode.xattrs().to_vec();
        let same = |known: &Xattr| known.namespace == xattr.namespace && known.name == xattr.name;
        let full = xattrs.len() >= XATTRS_MAX;
        match xattrs.iter_mut().find(|known| same(known)) {
            Some(_) if !flags.replace => {
                return Err(Error::Io(format!(
                    "XAttr: {} already exists. The REPLACE flag must be specified.",
                    xattr.name
                )));
            }
            Some(known) => *known = xattr,
            None if !flags.create => {
                return Err(Error::Io(format!(
                    "XAttr: {} does not exist. The CREATE flag must be specified.",
                    xattr.name
                )));
            }
            None if full => {
                return Err(Error::Io(format!(
                    "Cannot add additional XAttr to inode, would exceed limit of {XATTRS_MAX}"
                )));
            }
            None => xattrs.push(xattr),
        }
        self.set_xattrs(caller, id, &xattrs)
    }

    pub fn remove_xattr(&mut self, caller: Caller, path: &str, namespace: i32, name: &str) -> Result<(), Error> {
        check_namespace(caller, namespace, name)?;
        self.check(caller, path, Needs::itself(WRITE))?;
        let inode = self.with_xattrs(path)?;
        let (id, known) = (inode.id, inode.xattrs());
        let left = |xattr: &&Xattr| xattr.namespace != namespace || &*xattr.name != name;
        let left: Vec<Xattr> = known.iter().filter(left).cloned().collect();
        if left.len() == known.len() {
            return Err(Error::Io(
                "No matching attributes found for remove operation".to_owned(),
            ));
        }
        self.set_xattrs(caller, id, &left)
    }

    fn set_xattrs(&mut self, caller: Caller, id: u64, xattrs: &[Xattr]) -> Result<(), Error> {
        let xattrs = xattrs.iter().map(XattrEdit::from).collect();
        self.make(Edit::SetXattrs(SetXattrs { id, xattrs }), caller.now)
    }

    /// Those that the caller may see; `values`: it may read them too.
    pub fn xattrs(&self, caller: Caller, path: &str, values: bool) -> Result<Vec<Xattr>, Error> {
        let needs = if values { Needs::itself(READ) } else { Needs::TRAVERSE };
        self.check(caller, path, needs)?;
        let visible = |xattr: &&Xattr| check_namespace(caller, xattr.namespace, "").is_ok();
        Ok(self
            .with_xattrs(path)?
            .xattrs()
            .iter()
            .filter(visible)
            .cloned()
            .collect())
    }

    /// Exactly the attributes that are named.
    pub fn named_xattrs(&self, caller: Caller, path: &str, names: &[(i32, &str)]) -> Result<Vec<Xattr>, Error> {
        for (namespace, name) in names {
            check_namespace(caller, *namespace, name)?;
        }
        let known = self.xattrs(caller, path, true)?;
        let find = |(namespace, name): &(i32, &str)| {
            let same = |xattr: &&Xattr| xattr.namespace == *namespace && &*xattr.name == *name;
            known.iter().find(same).cloned()
        };
        names
            .iter()
            .map(find)
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| Error::Io("At least one of the attributes provided was not found.".to_owned()))
    }
}
