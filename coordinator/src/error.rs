//! Why a request is refused: etcd's own texts, because clients compare them.

use crate::store::ArchiveError;

/// A refusal, or the one failure that ends the process.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Caller: name a key.
    #[error("etcdserver: key is not provided")]
    EmptyKey,
    /// Caller: only an existing key can keep its value or its lease.
    #[error("etcdserver: key not found")]
    KeyNotFound,
    /// Caller: leave the value out when asking to keep the old one.
    #[error("etcdserver: value is provided")]
    ValueProvided,
    /// Caller: leave the lease out when asking to keep the old one.
    #[error("etcdserver: lease is provided")]
    LeaseProvided,
    /// Caller: split the transaction.
    #[error("etcdserver: too many operations in txn request")]
    TooManyOperations,
    /// Caller: a transaction may change a key once.
    #[error("etcdserver: duplicate key given in txn request")]
    DuplicateKey,
    /// Caller: use an order and a target that exist.
    #[error("etcdserver: invalid sort option")]
    InvalidSortOption,
    /// Caller: start from the current revision, that part of the history is gone.
    #[error("etcdserver: mvcc: required revision has been compacted")]
    Compacted,
    /// Caller: this revision does not exist yet.
    #[error("etcdserver: mvcc: required revision is a future revision")]
    FutureRevision,
    /// Operator: free disk space; reads go on.
    #[error("etcdserver: mvcc: database space exceeded")]
    NoSpace,
    /// Caller: grant a new lease.
    #[error("etcdserver: requested lease not found")]
    LeaseNotFound,
    /// Caller: choose another id, or none.
    #[error("etcdserver: lease already exists")]
    LeaseExists,
    /// Caller: ask for a shorter time.
    #[error("etcdserver: too large lease TTL")]
    LeaseTtlTooLarge,
    /// Caller: send less at once.
    #[error("etcdserver: request is too large")]
    RequestTooLarge,
    /// Caller: retry later.
    #[error("etcdserver: too many requests")]
    TooManyRequests,
    /// Caller: retry elsewhere or later; the server is ending.
    #[error("etcdserver: server stopped")]
    Stopped,
    /// Operator: the archive of old versions cannot be read or written. Ends the process.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}
