//! A proposal that was refused is never committed: the client was told that it may try again. Source: the contract of
//! `raft::consensus`; in etcd's terms, an error that is not "unknown outcome" means that nothing happened.

use std::collections::BTreeSet;

use super::{Check, Member, require};

#[derive(Debug, Default)]
pub struct RefusedIsRefused {
    refused: BTreeSet<u64>,
}

impl RefusedIsRefused {
    /// The proposal of this digest was refused.
    pub fn refused(&mut self, digest: u64) {
        self.refused.insert(digest);
    }

    pub fn committed(&self, member: Member, index: u64, digest: u64) -> Check {
        require(!self.refused.contains(&digest), "refused_is_refused", || {
            format!("member {member} commits entry {index}, which was refused")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_entry_that_comes_back_is_seen() {
        let mut refused = RefusedIsRefused::default();
        refused.refused(7);
        assert!(refused.committed(1, 1, 8).is_ok() && refused.committed(1, 2, 7).is_err());
    }
}
