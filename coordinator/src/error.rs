//! Why a request is refused: etcd's own texts and codes, because clients compare them.
//!
//! One table, in the order of etcd's package `rpctypes`. All of its 63 are here, those too that so far no part of this
//! program has reason to say: a client's list of what may come is then ours. A test holds the table against etcd's list.

use tonic::Code;

use crate::store::ArchiveError;

/// Declares the refusals: variant, gRPC's code, etcd's text.
macro_rules! refusals {
    ($($(#[doc = $doc:literal])+ $variant:ident: $code:ident, $text:literal;)*) => {
        /// A refusal, or the one failure that ends the process.
        #[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
        pub enum Error {
            $($(#[doc = $doc])+ #[error($text)] $variant,)*
            /// Caller: this user authenticates by certificate. etcd has no code for it, nor for the next two.
            #[error("auth: authentication failed, password was given for no password user")]
            NoPasswordUser,
            /// Caller: choose a shorter password.
            #[error("bcrypt: password length exceeds 72 bytes")]
            PasswordTooLong,
            /// Caller: authenticate at a member that has the private key.
            #[error("auth: token signing attempted with verify-only key")]
            VerifyOnly,
            /// Operator: the archive of old versions cannot be read or written. Ends the process.
            #[error(transparent)]
            Archive(#[from] ArchiveError),
        }

        impl Error {
            /// All refusals, for tests and for those that translates them.
            pub const REFUSALS: &'static [Self] = &[$(Self::$variant),*];

            /// The gRPC code that goes with the text.
            pub fn code(&self) -> Code {
                match self {
                    $(Self::$variant => Code::$code,)*
                    Self::NoPasswordUser | Self::PasswordTooLong | Self::VerifyOnly => Code::Unknown,
                    Self::Archive(_) => Code::Internal,
                }
            }
        }
    };
}

refusals! {
    /// Caller: name a key.
    EmptyKey: InvalidArgument, "etcdserver: key is not provided";
    /// Caller: only an existing key can keep its value or its lease.
    KeyNotFound: InvalidArgument, "etcdserver: key not found";
    /// Caller: leave the value out when asking to keep the old one.
    ValueProvided: InvalidArgument, "etcdserver: value is provided";
    /// Caller: leave the lease out when asking to keep the old one.
    LeaseProvided: InvalidArgument, "etcdserver: lease is provided";
    /// Caller: split the transaction.
    TooManyOperations: InvalidArgument, "etcdserver: too many operations in txn request";
    /// Caller: a transaction may change a key once.
    DuplicateKey: InvalidArgument, "etcdserver: duplicate key given in txn request";
    /// Caller: use a client of API version 3.
    InvalidClientApiVersion: InvalidArgument, "etcdserver: invalid client api version";
    /// Caller: use an order and a target that exist.
    InvalidSortOption: InvalidArgument, "etcdserver: invalid sort option";
    /// Caller: start from the current revision, that part of the history is gone.
    Compacted: OutOfRange, "etcdserver: mvcc: required revision has been compacted";
    /// Caller: this revision does not exist yet.
    FutureRevision: OutOfRange, "etcdserver: mvcc: required revision is a future revision";
    /// Operator: compact, defragment, then disarm the alarm, or give more room; reads and deletes go on.
    NoSpace: ResourceExhausted, "etcdserver: mvcc: database space exceeded";
    /// Caller: grant a new lease.
    LeaseNotFound: NotFound, "etcdserver: requested lease not found";
    /// Caller: choose another id, or none.
    LeaseExists: FailedPrecondition, "etcdserver: lease already exists";
    /// Caller: ask for a shorter time.
    LeaseTtlTooLarge: OutOfRange, "etcdserver: too large lease TTL";
    /// No one: the caller ended its watch.
    WatchCanceled: Cancelled, "etcdserver: watch canceled";
    /// Caller: this member is there already.
    MemberExists: FailedPrecondition, "etcdserver: member ID already exist";
    /// Caller: another member has this peer URL.
    PeerUrlExists: FailedPrecondition, "etcdserver: Peer URLs already exists";
    /// Operator: start the members that are down first, or the cluster would lose its majority.
    MemberNotEnoughStarted: FailedPrecondition, "etcdserver: re-configuration failed due to not enough started members";
    /// Caller: write peer URLs as http://HOST:PORT.
    MemberBadUrls: InvalidArgument, "etcdserver: given member URLs are invalid";
    /// Caller: list the members and choose one.
    MemberNotFound: NotFound, "etcdserver: member not found";
    /// Caller: only learners are promoted.
    MemberNotLearner: FailedPrecondition, "etcdserver: can only promote a learner member";
    /// Caller: wait until the learner has caught up.
    LearnerNotReady: FailedPrecondition, "etcdserver: can only promote a learner member which is in sync with leader";
    /// Caller: promote or remove a learner first.
    TooManyLearners: FailedPrecondition, "etcdserver: too many learner members in cluster";
    /// Operator: this member belongs to another cluster; look at its flags and its data.
    ClusterIdMismatch: FailedPrecondition, "etcdserver: cluster ID mismatch";
    /// Caller: send less at once.
    RequestTooLarge: InvalidArgument, "etcdserver: request is too large";
    /// Caller: retry later.
    TooManyRequests: ResourceExhausted, "etcdserver: too many requests";
    /// Caller: add the user `root` first.
    RootUserNotExist: FailedPrecondition, "etcdserver: root user does not exist";
    /// Caller: grant the role `root` to the user `root` first.
    RootRoleNotExist: FailedPrecondition, "etcdserver: root user does not have root role";
    /// Caller: choose another name.
    UserExists: FailedPrecondition, "etcdserver: user name already exists";
    /// Caller: name a user.
    UserEmpty: InvalidArgument, "etcdserver: user name is empty";
    /// Caller: there is no such user.
    UserNotFound: FailedPrecondition, "etcdserver: user name not found";
    /// Caller: choose another name.
    RoleExists: FailedPrecondition, "etcdserver: role name already exists";
    /// Caller: there is no such role.
    RoleNotFound: FailedPrecondition, "etcdserver: role name not found";
    /// Caller: name a role.
    RoleEmpty: InvalidArgument, "etcdserver: role name is empty";
    /// Caller: give the right name and password.
    AuthFailed: InvalidArgument, "etcdserver: authentication failed, invalid user ID or password";
    /// Caller: say which permission.
    PermissionNotGiven: InvalidArgument, "etcdserver: permission not given";
    /// Caller: this user may not do that.
    PermissionDenied: PermissionDenied, "etcdserver: permission denied";
    /// Caller: the user does not have this role.
    RoleNotGranted: FailedPrecondition, "etcdserver: role is not granted to the user";
    /// Caller: the role does not have this permission.
    PermissionNotGranted: FailedPrecondition, "etcdserver: permission is not granted to the role";
    /// Caller: enable authentication first, or do not ask for a token.
    AuthNotEnabled: FailedPrecondition, "etcdserver: authentication is not enabled";
    /// Caller: authenticate again.
    InvalidAuthToken: Unauthenticated, "etcdserver: invalid auth token";
    /// Caller: this change would lock everyone out.
    InvalidAuthManagement: InvalidArgument, "etcdserver: invalid auth management";
    /// Caller: permissions have changed meanwhile; authenticate again.
    AuthOldRevision: InvalidArgument, "etcdserver: revision of auth store is old";
    /// Caller: retry later, the members cannot agree upon a leader now.
    NoLeader: Unavailable, "etcdserver: no leader";
    /// Caller: ask the leader.
    NotLeader: FailedPrecondition, "etcdserver: not leader";
    /// Caller: retry; whether the request was carried out is not known.
    LeaderChanged: Unavailable, "etcdserver: leader changed";
    /// Caller: this is not served, or not yet.
    NotCapable: FailedPrecondition, "etcdserver: not capable";
    /// Caller: retry elsewhere or later; the server is ending.
    Stopped: Unavailable, "etcdserver: server stopped";
    /// Caller: retry; whether the request was carried out is not known.
    Timeout: Unavailable, "etcdserver: request timed out";
    /// Caller: as with [`Error::Timeout`].
    TimeoutLeaderFailed: Unavailable, "etcdserver: request timed out, possibly due to previous leader failure";
    /// Caller: as with [`Error::Timeout`].
    TimeoutConnectionLost: Unavailable, "etcdserver: request timed out, possibly due to connection lost";
    /// Caller: as with [`Error::Timeout`].
    TimeoutAppliedIndex: Unavailable, "etcdserver: request timed out, waiting for the applied index took too long";
    /// Caller: members are down or have just been started; retry later.
    Unhealthy: Unavailable, "etcdserver: unhealthy cluster";
    /// Operator: members differ; restore the one that is wrong.
    Corrupt: DataLoss, "etcdserver: corrupt cluster";
    /// Caller: ask a voting member.
    NotSupportedForLearner: FailedPrecondition, "etcdserver: rpc not supported for learner";
    /// Caller: choose a voting member that follows.
    BadLeaderTransferee: FailedPrecondition, "etcdserver: bad leader transferee";
    /// Caller: write the version as MAJOR.MINOR.
    WrongDowngradeVersionFormat: InvalidArgument, "etcdserver: wrong downgrade target version format";
    /// Caller: only the release line before this one can be a target.
    InvalidDowngradeTarget: InvalidArgument, "etcdserver: invalid downgrade target version";
    /// Caller: retry once the cluster has decided on its version.
    ClusterVersionUnavailable: FailedPrecondition, "etcdserver: cluster version not found during downgrade";
    /// Caller: cancel the one under way first.
    DowngradeInProcess: FailedPrecondition, "etcdserver: cluster has a downgrade job in progress";
    /// Caller: there is none to cancel.
    NoInflightDowngrade: FailedPrecondition, "etcdserver: no inflight downgrade job";
    /// No one: the caller gave up.
    Canceled: Cancelled, "etcdserver: request canceled";
    /// Caller: retry with more time; whether the request was carried out is not known.
    DeadlineExceeded: DeadlineExceeded, "etcdserver: context deadline exceeded";
}
