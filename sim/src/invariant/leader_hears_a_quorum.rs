//! A leader that hears from no majority steps down, where check-quorum is on. Source: Ongaro (2014), section 6.2: otherwise
//! clients wait for ever at a leader that is alone.

use super::{Check, Majority, Member, require};

/// `member` still leads in `term`. `heard` says who answered it within three times the time after which it must step down.
pub fn leader_hears_a_quorum(member: Member, term: u64, majority: &Majority, heard: impl Fn(Member) -> bool) -> Check {
    let reached = majority.reached(|voter| voter == member || heard(voter));
    require(reached, "leader_hears_a_quorum", || {
        format!("member {member} leads on in term {term}, and no majority of {majority:?} has answered it for long")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lonely_leader_is_seen() {
        let majority = Majority {
            voters: vec![1, 2, 3],
            outgoing: vec![],
        };
        assert!(leader_hears_a_quorum(1, 5, &majority, |voter| voter == 3).is_ok());
        assert!(leader_hears_a_quorum(1, 5, &majority, |_| false).is_err());
    }
}
