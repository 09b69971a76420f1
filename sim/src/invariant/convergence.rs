//! Once faults end, a leader is elected, it commits, and every member catches up. Source: Ongaro (2014), section 9.2: with
//! working communication and timing, elections end and clients are served. A safe cluster that stands still is no use.

use super::{Check, Member, require};

/// How a member stands at the end of a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SoftState {
    pub member: Member,
    pub running: bool,
    pub applied: u64,
}

/// `leader` leads and its log ends at `last`; `answered` operations were answered since the faults ended; `members` are
/// those in force.
pub fn converged(leader: Option<Member>, last: u64, answered: u64, members: &[SoftState]) -> Check {
    require(leader.is_some(), "convergence", || {
        "nobody leads long after all was mended".to_owned()
    })?;
    require(answered > 0, "convergence", || {
        "no operation was answered since all was mended, though somebody leads".to_owned()
    })?;
    let behind = members
        .iter()
        .find(|soft_state| !soft_state.running || soft_state.applied != last);
    require(behind.is_none(), "convergence", || {
        format!("long after all was mended the leader's log ends at {last}, and {behind:?}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standing_still_is_seen() {
        let soft_state = |applied| SoftState {
            member: 2,
            running: true,
            applied,
        };
        assert!(converged(Some(1), 9, 3, &[soft_state(9)]).is_ok());
        assert!(converged(None, 9, 3, &[soft_state(9)]).is_err());
        assert!(converged(Some(1), 9, 0, &[soft_state(9)]).is_err());
        assert!(converged(Some(1), 9, 3, &[soft_state(8)]).is_err());
    }
}
