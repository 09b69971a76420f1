//! In the end all that live have the same view, and everyone who lives is in it: a refutation wins.

use cluster::member::Membership;

use crate::invariant::{Check, require};
use crate::world::Address;

pub fn same_view(members: &[(Address, &Membership)]) -> Check {
    for (id, member) in members {
        for (other, _) in members {
            let present = member
                .status(*other as u64)
                .is_some_and(|known| known.status.is_present());
            require(present, "same_view", || {
                format!("{id} does not know that {other} lives")
            })?;
        }
    }
    Ok(())
}
