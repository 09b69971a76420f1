//! Who is dead for long is known to be dead by every member that lives.

use cluster::member::Membership;

use crate::invariant::{Check, require};
use crate::world::Address;

pub fn complete(dead: &[Address], members: &[(Address, &Membership)]) -> Check {
    for (id, member) in members {
        for gone in dead {
            let present = member
                .status(*gone as u64)
                .is_some_and(|known| known.status.is_present());
            require(!present, "completeness", || format!("{id} believes {gone} to be alive"))?;
        }
    }
    Ok(())
}
