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
    /// Operator: make the user root before authentication is enabled.
    #[error("etcdserver: root user does not exist")]
    RootUserNotExist,
    /// Operator: give the user root the role root before authentication is enabled.
    #[error("etcdserver: root user does not have root role")]
    RootRoleNotExist,
    /// Caller: choose another name.
    #[error("etcdserver: user name already exists")]
    UserAlreadyExists,
    /// Caller: name a user; as an answer to other requests: say who you are.
    #[error("etcdserver: user name is empty")]
    UserEmpty,
    /// Caller: name a user who exists.
    #[error("etcdserver: user name not found")]
    UserNotFound,
    /// Caller: choose another name.
    #[error("etcdserver: role name already exists")]
    RoleAlreadyExists,
    /// Caller: name a role that exists.
    #[error("etcdserver: role name not found")]
    RoleNotFound,
    /// Caller: name the role.
    #[error("etcdserver: role name is empty")]
    RoleEmpty,
    /// Caller: name and password do not belong together.
    #[error("etcdserver: authentication failed, invalid user ID or password")]
    AuthFailed,
    /// Caller: this user authenticates by certificate.
    #[error("auth: authentication failed, password was given for no password user")]
    NoPasswordUser,
    /// Caller: choose a shorter password.
    #[error("bcrypt: password length exceeds 72 bytes")]
    PasswordTooLong,
    /// Caller: say which permission.
    #[error("etcdserver: permission not given")]
    PermissionNotGiven,
    /// Caller: ask whoever manages the users.
    #[error("etcdserver: permission denied")]
    PermissionDenied,
    /// Caller: the user does not have the role.
    #[error("etcdserver: role is not granted to the user")]
    RoleNotGranted,
    /// Caller: the role does not have the permission.
    #[error("etcdserver: permission is not granted to the role")]
    PermissionNotGranted,
    /// Caller: there is nothing to authenticate for.
    #[error("etcdserver: authentication is not enabled")]
    AuthNotEnabled,
    /// Caller: authenticate again.
    #[error("etcdserver: invalid auth token")]
    InvalidAuthToken,
    /// Caller: root cannot be taken away while authentication is on, and a range has its end behind its start.
    #[error("etcdserver: invalid auth management")]
    InvalidAuthManagement,
    /// Caller: users or roles have changed since; try again.
    #[error("etcdserver: revision of auth store is old")]
    AuthOldRevision,
    /// Caller: authenticate at a member that has the private key.
    #[error("auth: token signing attempted with verify-only key")]
    VerifyOnly,
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
