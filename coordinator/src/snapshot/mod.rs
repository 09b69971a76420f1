//! The whole state as one file in etcd's own format, to be kept, looked at and restored by etcd's tools or by ours.
//!
//! # What it is
//! etcd's snapshot is its database file, a [bbolt] file: pages of 4 KiB that form one B+tree of buckets, each a B+tree of
//! pairs. We keep our state otherwise, but people script `etcdctl snapshot save` and `etcdutl snapshot restore`, move data
//! between clusters with it and keep years of such files. So this is the exchange format, both ways: [`write()`] makes a
//! file that `etcdutl snapshot status` and `restore` accept, [`Reader`] and [`content`] take in a file from a real etcd.
//!
//! # How it moves
//! A snapshot is streamed, so nothing is written to the disk, which may be full: full disks are when people save. The
//! meta pages at the beginning name the root, which comes last; so the content, which does not change, is gone through
//! twice: once to [`measure`], once to write. Memory is one page and the first key of each.
//! The reader trusts nothing: every offset and count is compared with the file before it is used, pages are visited once,
//! keys must ascend. Whatever is wrong is refused with its page.
//!
//! # Where it stops
//! Files only ever made in one go: no free pages, no updates in place, no inline buckets in what is written (read they
//! are). The 32 bytes of SHA-256 behind the file are the protocol's, not the format's, and added by the one that sends it.
//!
//! [bbolt]: https://github.com/etcd-io/bbolt

pub mod content;
mod key_hash;
mod page;
mod reader;
mod schema;
mod writer;

#[cfg(test)]
mod tests;

use std::io;

pub use key_hash::Unhashed;
pub use reader::{Reader, split_checksum};
pub use writer::{Layout, measure, write};

use crate::store::ArchiveError;

/// Why a snapshot cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Operator: this file is no snapshot, or was damaged; take another one.
    #[error("the snapshot is damaged at page {page}: {what}; take another one")]
    Damaged { page: u64, what: &'static str },
    /// Operator: as above, inside a bucket.
    #[error("the snapshot's bucket {bucket} has an entry that cannot be read; take another one")]
    Unreadable { bucket: &'static str },
    /// Operator: look at the disk.
    #[error("the snapshot cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// No one: anyone who asked for it does not want it any more.
    #[error("the snapshot's receiver is gone")]
    Gone,
}

/// etcd's buckets, in the order of their names, in which a file has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bucket {
    Alarm,
    Auth,
    AuthRoles,
    AuthUsers,
    Cluster,
    Key,
    Lease,
    Members,
    MembersRemoved,
    Meta,
}

impl Bucket {
    pub const ALL: [Self; 10] = [
        Self::Alarm,
        Self::Auth,
        Self::AuthRoles,
        Self::AuthUsers,
        Self::Cluster,
        Self::Key,
        Self::Lease,
        Self::Members,
        Self::MembersRemoved,
        Self::Meta,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Alarm => "alarm",
            Self::Auth => "auth",
            Self::AuthRoles => "authRoles",
            Self::AuthUsers => "authUsers",
            Self::Cluster => "cluster",
            Self::Key => "key",
            Self::Lease => "lease",
            Self::Members => "members",
            Self::MembersRemoved => "members_removed",
            Self::Meta => "meta",
        }
    }
}

/// Is shown a pair, or says why it wants no more.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> Result<(), SnapshotError> + 'a;

/// What a file is made of.
pub trait Source {
    /// Shows the pairs of a bucket in ascending order of their keys; the same ones each time.
    fn scan(&self, bucket: Bucket, visit: &mut Visit<'_>) -> Result<(), SnapshotError>;
}

/// The CRC-32C of all buckets' names, keys and values: what etcd's call Hash and `etcdutl snapshot status` say.
pub fn hash(source: &dyn Source) -> Result<u32, SnapshotError> {
    let mut hash = 0;
    for bucket in Bucket::ALL {
        hash = crc32c::crc32c_append(hash, bucket.name().as_bytes());
        source.scan(bucket, &mut |key, value| {
            hash = crc32c::crc32c_append(crc32c::crc32c_append(hash, key), value);
            Ok(())
        })?;
    }
    Ok(hash)
}
