//! Edits: the single changes of the tree. An operation makes some, and they are applied at once. Logs of format 1 hold them,
//! so that a field's number or meaning must not change.

use super::acl::{AclEntry, AclKind, Scope};
use super::xattr::Xattr;

/// A block as an edit names it.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct EditBlock {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(uint64, tag = "2")]
    pub generation_stamp: u64,
    #[prost(uint64, tag = "3")]
    pub length: u64,
}

/// A new directory or file.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Add {
    #[prost(uint64, tag = "1")]
    pub parent: u64,
    #[prost(uint64, tag = "2")]
    pub id: u64,
    #[prost(string, tag = "3")]
    pub name: String,
    #[prost(string, tag = "4")]
    pub owner: String,
    #[prost(string, tag = "5")]
    pub group: String,
    #[prost(uint32, tag = "6")]
    pub permission: u32,
    #[prost(uint64, tag = "7")]
    pub time: u64,
    /// Absent for a directory.
    #[prost(message, optional, tag = "8")]
    pub file: Option<NewFile>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct NewFile {
    #[prost(uint32, tag = "1")]
    pub replication: u32,
    #[prost(uint64, tag = "2")]
    pub block_size: u64,
    #[prost(string, tag = "3")]
    pub holder: String,
}

#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Delete {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(uint64, tag = "2")]
    pub time: u64,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Rename {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(uint64, tag = "2")]
    pub parent: u64,
    #[prost(string, tag = "3")]
    pub name: String,
    #[prost(uint64, tag = "4")]
    pub time: u64,
}

/// The file gets one more block, which is being written.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct AddBlock {
    #[prost(uint64, tag = "1")]
    pub file: u64,
    #[prost(message, required, tag = "2")]
    pub block: EditBlock,
}

/// The last block has this length and stamp. `complete`: it is not being written any more.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct UpdateBlock {
    #[prost(uint64, tag = "1")]
    pub file: u64,
    #[prost(message, required, tag = "2")]
    pub block: EditBlock,
    #[prost(bool, tag = "3")]
    pub complete: bool,
}

/// The last block, which was being written, is given up.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct DropBlock {
    #[prost(uint64, tag = "1")]
    pub file: u64,
    #[prost(uint64, tag = "2")]
    pub block: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Close {
    #[prost(uint64, tag = "1")]
    pub file: u64,
    #[prost(uint64, tag = "2")]
    pub time: u64,
}

/// The file is (again) written by `holder`; `last_block`: the last block is being written again.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Hold {
    #[prost(uint64, tag = "1")]
    pub file: u64,
    #[prost(string, tag = "2")]
    pub holder: String,
    #[prost(bool, tag = "3")]
    pub last_block: bool,
}

/// Attributes that change; the others are absent.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SetAttributes {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(uint32, optional, tag = "2")]
    pub permission: Option<u32>,
    #[prost(string, optional, tag = "3")]
    pub owner: Option<String>,
    #[prost(string, optional, tag = "4")]
    pub group: Option<String>,
    #[prost(uint64, optional, tag = "5")]
    pub modified: Option<u64>,
    #[prost(uint64, optional, tag = "6")]
    pub accessed: Option<u64>,
    #[prost(uint32, optional, tag = "7")]
    pub replication: Option<u32>,
}

/// A generation stamp was given out.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Stamp {
    #[prost(uint64, tag = "1")]
    pub generation_stamp: u64,
}

/// The file has this many bytes, no more. Its blocks beyond are gone; if the last one is cut, data nodes have yet to cut
/// their replicas of it.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Truncate {
    #[prost(uint64, tag = "1")]
    pub file: u64,
    #[prost(uint64, tag = "2")]
    pub length: u64,
    #[prost(uint64, tag = "3")]
    pub time: u64,
    /// Who holds the file until the replicas are cut; empty if none has to be.
    #[prost(string, tag = "4")]
    pub holder: String,
}

/// The blocks of `sources` go to the end of `target`; the sources are gone.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Concat {
    #[prost(uint64, tag = "1")]
    pub target: u64,
    #[prost(uint64, repeated, tag = "2")]
    pub sources: Vec<u64>,
    #[prost(uint64, tag = "3")]
    pub time: u64,
}

/// An entry of an access control list; scope and kind by their numbers on the wire.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct AclEdit {
    #[prost(uint32, tag = "1")]
    pub scope: u32,
    #[prost(uint32, tag = "2")]
    pub kind: u32,
    #[prost(string, optional, tag = "3")]
    pub name: Option<String>,
    #[prost(uint32, tag = "4")]
    pub permission: u32,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SetAcl {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(uint32, tag = "2")]
    pub permission: u32,
    #[prost(message, repeated, tag = "3")]
    pub entries: Vec<AclEdit>,
}

/// An extended attribute; the namespace by its number on the wire.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct XattrEdit {
    #[prost(int32, tag = "1")]
    pub namespace: i32,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(bytes = "vec", tag = "3")]
    pub value: Vec<u8>,
}

/// All extended attributes that there are afterwards.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SetXattrs {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(message, repeated, tag = "2")]
    pub xattrs: Vec<XattrEdit>,
}

impl From<&AclEntry> for AclEdit {
    fn from(entry: &AclEntry) -> Self {
        Self {
            scope: entry.scope as u32,
            kind: entry.kind as u32,
            name: entry.name.as_deref().map(str::to_owned),
            permission: entry.permission.into(),
        }
    }
}

impl From<&AclEdit> for AclEntry {
    fn from(edit: &AclEdit) -> Self {
        Self {
            scope: if edit.scope == 0 { Scope::Access } else { Scope::Default },
            kind: match edit.kind {
                0 => AclKind::User,
                1 => AclKind::Group,
                2 => AclKind::Mask,
                _ => AclKind::Other,
            },
            name: edit.name.as_deref().filter(|name| !name.is_empty()).map(Into::into),
            permission: edit.permission as u8 & 7,
        }
    }
}

impl From<&Xattr> for XattrEdit {
    fn from(xattr: &Xattr) -> Self {
        Self {
            namespace: xattr.namespace,
            name: xattr.name.to_string(),
            value: xattr.value.to_vec(),
        }
    }
}

impl From<&XattrEdit> for Xattr {
    fn from(edit: &XattrEdit) -> Self {
        Self {
            namespace: edit.namespace,
            name: edit.name.as_str().into(),
            value: edit.value.as_slice().into(),
        }
    }
}

#[derive(Clone, PartialEq, Eq, prost::Oneof)]
pub enum Edit {
    #[prost(message, tag = "1")]
    Add(Add),
    #[prost(message, tag = "2")]
    Delete(Delete),
    #[prost(message, tag = "3")]
    Rename(Rename),
    #[prost(message, tag = "4")]
    AddBlock(AddBlock),
    #[prost(message, tag = "5")]
    UpdateBlock(UpdateBlock),
    #[prost(message, tag = "6")]
    DropBlock(DropBlock),
    #[prost(message, tag = "7")]
    Close(Close),
    #[prost(message, tag = "8")]
    Hold(Hold),
    #[prost(message, tag = "9")]
    SetAttributes(SetAttributes),
    #[prost(message, tag = "10")]
    Stamp(Stamp),
    #[prost(message, tag = "11")]
    Truncate(Truncate),
    #[prost(message, tag = "12")]
    Concat(Concat),
    #[prost(message, tag = "13")]
    SetAcl(SetAcl),
    #[prost(message, tag = "14")]
    SetXattrs(SetXattrs),
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct EditBox {
    #[prost(oneof = "Edit", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14")]
    pub edit: Option<Edit>,
}

/// One record of the edit log: all edits of one call, which happen together or not at all, and what the caller was
/// answered, so that a call repeated after a restart is answered the same.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Transaction {
    /// Counts without gaps. One that does not follow the last was written after a refused one, was never acknowledged, and
    /// is skipped.
    #[prost(uint64, tag = "1")]
    pub number: u64,
    #[prost(uint64, tag = "2")]
    pub time: u64,
    #[prost(message, repeated, tag = "3")]
    pub edits: Vec<EditBox>,
    #[prost(bytes = "vec", tag = "4")]
    pub client_id: Vec<u8>,
    #[prost(sint32, tag = "5")]
    pub call_id: i32,
    #[prost(bytes = "bytes", tag = "6")]
    pub response: bytes::Bytes,
}
