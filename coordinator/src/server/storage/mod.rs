//! What is on the disk besides the log: the store file, and those who write it.
//!
//! [`store_file`] is `store.redb` on [`redb_disk`]; [`recovery`] makes a machine of it at a start; the [`persister`] moves what is
//! new into it, woken early by [`wake_up`]. [`restore`] and [`import`] make one of etcd's files.

pub(in crate::server) mod defragment;
pub(in crate::server) mod import;
pub(in crate::server) mod jobs;
pub(in crate::server) mod log_directory;
pub(in crate::server) mod persister;
pub(in crate::server) mod recovery;
pub(in crate::server) mod redb_disk;
pub(in crate::server) mod restore;
pub(in crate::server) mod store_file;
pub(in crate::server) mod timed_disk;
pub(in crate::server) mod wake_up;
