//! WebHDFS: the file system over HTTP, under `/webhdfs/v1`.
//!
//! The name node ([`namenode`]) answers what concerns names, and sends whoever wants to read or write contents on to a data
//! node (307, or the address as JSON with `noredirect=true`). The data node ([`datanode`]) is then a client of the file
//! system on the caller's behalf ([`client`]): it asks the name node for blocks and moves them through pipelines as any
//! writer does. Errors are Hadoop's `RemoteException` objects ([`json`]).
//!
//! Users are who they say they are (`user.name`); superusers and `hadoop.proxyuser.*` may act for others (`doas`). Deliberately missing: delegation tokens, ACLs, extended attributes,
//! snapshots: answered with UnsupportedOperationException.

mod checksum;
mod client;
mod datanode;
mod json;
mod namenode;
mod query;

pub use datanode::router as datanode_router;
pub use namenode::router as namenode_router;

/// Where the file system begins.
const PREFIX: &str = "/webhdfs/v1";
/// What a read beyond a file's end is answered.
fn out_of_range(offset: u64, length: u64, path: &str) -> crate::Error {
    crate::Error::Io(format!(
        "Offset={offset} out of the range [0, {length}); OPEN, path={path}"
    ))
}

/// Who calls without a name: Hadoop's `hadoop.http.staticuser.user`.
const ANONYMOUS: &str = "dr.who";
