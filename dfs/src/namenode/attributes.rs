//! Access control lists and extended attributes in the protocol's messages, and the calls on them.

use dfs_wire::proto::hdfs::acl_entry_proto::FsActionProto;
use dfs_wire::proto::hdfs::x_attr_proto::XAttrNamespaceProto;
use dfs_wire::proto::hdfs::*;

use super::command::Op;
use super::directory::Asker;
use super::state::{Answered, NameNode};
use crate::Error;
use crate::namespace::acl::{AclEntry, AclKind, Scope};
use crate::namespace::permission::Needs;
use crate::namespace::xattr::{Xattr, XattrFlags};

const FLAG_CREATE: u32 = 1;
const FLAG_REPLACE: u32 = 2;

pub fn entries(spec: &[AclEntryProto]) -> Vec<AclEntry> {
    use acl_entry_proto::{AclEntryScopeProto, AclEntryTypeProto};
    let entry = |entry: &AclEntryProto| AclEntry {
        scope: match entry.scope() {
            AclEntryScopeProto::Access => Scope::Access,
            AclEntryScopeProto::Default => Scope::Default,
        },
        kind: match entry.r#type() {
            AclEntryTypeProto::User => AclKind::User,
            AclEntryTypeProto::Group => AclKind::Group,
            AclEntryTypeProto::Mask => AclKind::Mask,
            AclEntryTypeProto::Other => AclKind::Other,
        },
        name: entry.name.as_deref().filter(|name| !name.is_empty()).map(Into::into),
        permission: entry.permissions as u8 & 7,
    };
    spec.iter().map(entry).collect()
}

fn entry_message(entry: &AclEntry) -> AclEntryProto {
    AclEntryProto {
        scope: entry.scope as i32,
        r#type: entry.kind as i32,
        name: entry.name.as_deref().map(str::to_owned),
        permissions: entry.permission.into(),
    }
}

pub fn xattr(message: Option<&XAttrProto>) -> Result<Xattr, Error> {
    let message = message.ok_or_else(|| Error::IllegalArgument("no extended attribute is named".to_owned()))?;
    Ok(Xattr {
        namespace: message.namespace,
        name: message.name.as_str().into(),
        value: message.value().into(),
    })
}

fn xattr_message(xattr: &Xattr, value: bool) -> XAttrProto {
    XAttrProto {
        namespace: xattr.namespace,
        name: xattr.name.to_string(),
        value: value.then(|| xattr.value.to_vec()),
    }
}

pub fn flags(bits: u32) -> XattrFlags {
    XattrFlags {
        create: bits & FLAG_CREATE != 0,
        replace: bits & FLAG_REPLACE != 0,
    }
}

/// An attribute's name with its namespace, such as `user.colour`.
pub fn xattr_of_name(name: &str) -> Result<XAttrProto, Error> {
    let unknown = || {
        Error::IllegalArgument(format!(
            "An XAttr name must be prefixed with user/trusted/security/system/raw, followed by a '.': {name}"
        ))
    };
    let (prefix, rest) = name
        .split_once('.')
        .filter(|(_, rest)| !rest.is_empty())
        .ok_or_else(unknown)?;
    let namespace = XAttrNamespaceProto::from_str_name(&prefix.to_ascii_uppercase()).ok_or_else(unknown)?;
    Ok(XAttrProto {
        namespace: namespace as i32,
        name: rest.to_owned(),
        value: None,
    })
}

/// The inverse of [`xattr_of_name`].
pub fn xattr_name(xattr: &XAttrProto) -> String {
    format!(
        "{}.{}",
        xattr.namespace().as_str_name().to_ascii_lowercase(),
        xattr.name
    )
}

/// A permission as in `rwx`.
pub fn symbols(permission: i32) -> String {
    let bit = |bit: i32, symbol| if permission & bit != 0 { symbol } else { '-' };
    [bit(4, 'r'), bit(2, 'w'), bit(1, 'x')].iter().collect()
}

fn permission_of(symbols: &str) -> Option<i32> {
    let mut bits = 0;
    let characters: Vec<char> = symbols.chars().collect();
    for (character, (symbol, bit)) in characters.iter().zip([('r', 4), ('w', 2), ('x', 1)]) {
        match *character {
            '-' => {}
            known if known == symbol => bits |= bit,
            _ => return None,
        }
    }
    (characters.len() == 3).then_some(bits)
}

/// Entries as FsShell and WebHDFS write them: `user:alice:rwx,default:group::r-x`; without permissions if those are to go.
pub fn parse_entries(spec: &str, with_permissions: bool) -> Result<Vec<AclEntryProto>, Error> {
    use acl_entry_proto::{AclEntryScopeProto, AclEntryTypeProto};
    let parse = |text: &str| {
        let invalid = || Error::IllegalArgument(format!("Invalid <aclSpec> : {text}"));
        let (scope, rest) = match text.strip_prefix("default:") {
            Some(rest) => (AclEntryScopeProto::Default, rest),
            None => (AclEntryScopeProto::Access, text),
        };
        let mut parts = rest.split(':');
        let kind = parts.next().unwrap_or_default().to_ascii_uppercase();
        let kind = AclEntryTypeProto::from_str_name(&kind).ok_or_else(invalid)?;
        let name = parts.next().unwrap_or_default();
        let permissions = match (parts.next(), with_permissions) {
            (Some(symbols), true) => permission_of(symbols).ok_or_else(invalid)?,
            (None, false) => FsActionProto::None as i32,
            _ => return Err(invalid()),
        };
        match parts.next() {
            Some(_) => Err(invalid()),
            None => Ok(AclEntryProto {
                scope: scope as i32,
                r#type: kind as i32,
                name: Some(name.to_owned()).filter(|name| !name.is_empty()),
                permissions,
            }),
        }
    };
    spec.split(',').map(parse).collect()
}

/// An entry as [`parse_entries`] reads it.
pub fn entry_text(entry: &AclEntryProto) -> String {
    let default = if entry.scope == Scope::Default as i32 {
        "default:"
    } else {
        ""
    };
    let kind = entry.r#type().as_str_name().to_ascii_lowercase();
    format!("{default}{kind}:{}:{}", entry.name(), symbols(entry.permissions))
}

impl NameNode {
    pub async fn modify_acl(
        &self,
        asker: &Asker,
        asked: ModifyAclEntriesRequestProto,
    ) -> Result<Answered<ModifyAclEntriesResponseProto>, Error> {
        let what = format!("modify ACL entries on {}", asked.src);
        self.change(&what, asker, Op::ModifyAcl(asked)).await
    }

    pub async fn remove_acl_entries(
        &self,
        asker: &Asker,
        asked: RemoveAclEntriesRequestProto,
    ) -> Result<Answered<RemoveAclEntriesResponseProto>, Error> {
        let what = format!("remove ACL entries on {}", asked.src);
        self.change(&what, asker, Op::RemoveAclEntries(asked)).await
    }

    pub async fn remove_default_acl(
        &self,
        asker: &Asker,
        asked: RemoveDefaultAclRequestProto,
    ) -> Result<Answered<RemoveDefaultAclResponseProto>, Error> {
        let what = format!("remove default ACL entries on {}", asked.src);
        self.change(&what, asker, Op::RemoveDefaultAcl(asked)).await
    }

    pub async fn remove_acl(
        &self,
        asker: &Asker,
        asked: RemoveAclRequestProto,
    ) -> Result<Answered<RemoveAclResponseProto>, Error> {
        let what = format!("remove ACL on {}", asked.src);
        self.change(&what, asker, Op::RemoveAcl(asked)).await
    }

    pub async fn set_acl(
        &self,
        asker: &Asker,
        asked: SetAclRequestProto,
    ) -> Result<Answered<SetAclResponseProto>, Error> {
        let what = format!("set ACL on {}", asked.src);
        self.change(&what, asker, Op::SetAcl(asked)).await
    }

    pub async fn set_xattr(
        &self,
        asker: &Asker,
        asked: SetXAttrRequestProto,
    ) -> Result<Answered<SetXAttrResponseProto>, Error> {
        let what = format!("set XAttr on {}", asked.src);
        self.change(&what, asker, Op::SetXattr(asked)).await
    }

    pub async fn remove_xattr(
        &self,
        asker: &Asker,
        asked: RemoveXAttrRequestProto,
    ) -> Result<Answered<RemoveXAttrResponseProto>, Error> {
        let what = format!("remove XAttr entry on {}", asked.src);
        self.change(&what, asker, Op::RemoveXattr(asked)).await
    }

    pub fn acl_status(&self, asker: &Asker, path: &str) -> Result<AclStatusProto, Error> {
        let state = self.lock();
        let names = &state.replicated.names;
        names.check(asker.caller(), path, Needs::TRAVERSE)?;
        let inode = names.lookup(path)?.ok_or_else(|| Error::not_found(path))?;
        Ok(AclStatusProto {
            owner: names.owner_of(inode).to_owned(),
            group: names.group_of(inode).to_owned(),
            sticky: inode.permission & 0o1000 != 0,
            entries: inode.acl().iter().map(entry_message).collect(),
            permission: Some(FsPermissionProto {
                perm: inode.permission.into(),
            }),
        })
    }

    /// Fails if the caller has no such access.
    pub fn check_access(&self, asker: &Asker, path: &str, mode: i32) -> Result<(), Error> {
        let state = self.lock();
        let names = &state.replicated.names;
        names.check(asker.caller(), path, Needs::TRAVERSE)?;
        let inode = names.lookup(path)?.ok_or_else(|| Error::not_found(path))?;
        names.demand(asker.caller(), inode, mode as u8 & 7)
    }

    /// Those that are named; all if none is.
    pub fn xattrs(&self, asker: &Asker, path: &str, named: &[XAttrProto]) -> Result<Vec<XAttrProto>, Error> {
        let state = self.lock();
        let names = &state.replicated.names;
        let wanted: Vec<(i32, &str)> = named
            .iter()
            .map(|xattr| (xattr.namespace, xattr.name.as_str()))
            .collect();
        let xattrs = match wanted.is_empty() {
            true => names.xattrs(asker.caller(), path, true)?,
            false => names.named_xattrs(asker.caller(), path, &wanted)?,
        };
        Ok(xattrs.iter().map(|xattr| xattr_message(xattr, true)).collect())
    }

    pub fn xattr_names(&self, asker: &Asker, path: &str) -> Result<Vec<XAttrProto>, Error> {
        let xattrs = self.lock().replicated.names.xattrs(asker.caller(), path, false)?;
        Ok(xattrs.iter().map(|xattr| xattr_message(xattr, false)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_as_they_are_written() {
        let text = "user:alice:rwx,group::r-x,default:mask::rw-,default:other::---";
        let parsed = parse_entries(text, true).unwrap();
        let written: Vec<String> = parsed.iter().map(entry_text).collect();
        assert_eq!(written.join(","), text);
        assert_eq!(parse_entries("user:alice", false).unwrap()[0].name(), "alice");
        for bad in [
            "",
            "user",
            "user:a",
            "user:a:rw",
            "user:a:wrx",
            "users:a:rwx",
            "user:a:rwx:x",
        ] {
            assert!(parse_entries(bad, true).is_err(), "{bad}");
        }
        assert!(parse_entries("user:a:rwx", false).is_err());
        let xattr = xattr_of_name("user.a.b").unwrap();
        assert_eq!(
            (xattr.namespace, xattr.name.as_str(), xattr_name(&xattr).as_str()),
            (0, "a.b", "user.a.b")
        );
        assert!(xattr_of_name("colour").is_err() && xattr_of_name("user.").is_err());
    }
}
