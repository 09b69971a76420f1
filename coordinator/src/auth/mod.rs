//! Who may do what: users, roles, and the permissions on ranges of keys that roles carry.
//!
//! # How it moves
//! A [`Caller`] is established at the edge when a request comes in: by a token, or by the name in a client's certificate.
//! It travels in the log's entry, together with the revision of users and roles at which it was established. Whether it
//! may is decided here, by [`Auth::check`], in the moment the entry is applied. So two members never disagree, and a
//! request that was on its way while a permission was taken away is refused: its revision is old. Reads and watches ask the
//! same questions at the edge, under the machine's lock.
//!
//! # Rules
//! - While authentication is off, everyone may do everything. To turn it on takes a user `root` with the role `root`, and
//!   while it is on neither can be removed.
//! - A user of the role `root` may do everything. All others have the union of their roles' ranges ([`Permissions`]).
//! - Every change raises the revision, and every caller of an older one has to be established again.
//! - Entries without credentials are refused; what the server does itself (ending a lease) is done as root ([`root`]).
//!
//! # Where it stops
//! No clock, no chance, no hashing: passwords come as bcrypt hashes and are compared at the edge. [`SimpleTokens`] are told
//! the time. They are not part of the replicated state: they are made by entries on every member, but each member forgets
//! them by its own clock, at its end, and when a snapshot skips entries that changed users; clients then
//! authenticate again. Signed tokens are the edge's.

mod access;
mod manage;
mod permission;
mod state;
mod tokens;

pub use coordinator_wire::coordinatorpb::auth_request::Request as Change;
pub use coordinator_wire::coordinatorpb::{AuthRequest, Caller, StoredAuth};

pub use access::Access;
pub use manage::AuthOutcome;
pub use permission::{Permissions, Right};
pub use state::{Auth, Credential, ROOT};
pub use tokens::SimpleTokens;

/// The caller that the server itself is.
pub fn root() -> Caller {
    Caller {
        user: ROOT.to_owned(),
        auth_revision: 0,
    }
}
