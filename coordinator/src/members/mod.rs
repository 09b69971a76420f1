//! Who is a member of the cluster: names and addresses, in the replicated state.
//!
//! Consensus knows members by number, and who votes. Here is the rest of what etcd tells of them, and etcd's rules about
//! which changes are wise. A change travels as one entry that carries both: consensus's part, and a
//! [`coordinator_wire::coordinatorpb::MemberChange`] for this room; so both change at the same point of the log. What a
//! member says about itself once it has started (its name, where its clients connect) comes as an ordinary entry.
//!
//! A downgrade is a matter of all members too, so what is known of one is kept here.
//!
//! A member that was removed never comes back under its id. It is remembered for ever, so that it can be told.

mod identity;
mod list;
mod reconfiguration;

pub use identity::{cluster_id, member_id};
pub use list::Members;
pub use reconfiguration::Health;
