//! What a leader believes of a follower's log is on that follower's disk. Source: raft-rs's and etcd's bug of removed and
//! re-added members (github.com/drmingdrmer/raft-rejoin-bug): acknowledgements of a former life were counted.

use super::{Check, Member, require};

/// `leader` takes entries up to `match_index` for durable on `member`, whose disk ends at `last`.
pub fn progress_is_true(leader: Member, member: Member, match_index: u64, last: u64) -> Check {
    require(match_index <= last, "progress_is_true", || {
        format!(
            "leader {leader} believes that member {member} holds everything up to {match_index}; its disk ends at {last}"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_false_belief_is_seen() {
        assert!(progress_is_true(1, 2, 5, 5).is_ok() && progress_is_true(1, 2, 6, 5).is_err());
    }
}
