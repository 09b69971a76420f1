//! Two memberships that follow each other always share a majority's member: any majority of one meets any of the other.
//! Source: Ongaro (2014), section 4.1, with the correction of 2015 (a leader changes nothing before an entry of its own term
//! is committed); for joint changes section 4.3.

use super::{Check, Majority, Member, require};

/// `member` puts `after` in force where `before` was.
pub fn one_change_at_a_time(member: Member, before: &Majority, after: &Majority) -> Check {
    require(meet(before, after), "one_change_at_a_time", || {
        format!("member {member} goes from {before:?} to {after:?}: two majorities could decide apart")
    })
}

/// A leader of `term` begins a change: the membership before it must be committed (`pending` is its index, `committed` what is
/// committed), and so must an entry of the leader's own term (`committed_term`).
pub fn change_is_alone(member: Member, term: u64, pending: u64, committed: u64, committed_term: Option<u64>) -> Check {
    require(pending <= committed, "one_change_at_a_time", || {
        format!("member {member} changes the members while the change of entry {pending} is not committed")
    })?;
    require(committed_term == Some(term), "one_change_at_a_time", || {
        format!("member {member} changes the members before it has committed an entry of its own term {term}")
    })
}

/// Whether no two disjoint sets can be majorities, one of each.
fn meet(before: &Majority, after: &Majority) -> bool {
    let mut members: Vec<Member> = [&before.voters, &before.outgoing, &after.voters, &after.outgoing]
        .into_iter()
        .flatten()
        .copied()
        .collect();
    members.sort_unstable();
    members.dedup();
    // Few enough to try them all: who is not on one side is on the other.
    (0u32..1 << members.len()).all(|side| {
        let on_side = |member: Member| {
            members
                .iter()
                .position(|known| *known == member)
                .is_some_and(|at| side >> at & 1 == 1)
        };
        !(before.reached(on_side) && after.reached(|member| !on_side(member)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_on_top_of_another_or_before_the_own_term_is_seen() {
        assert!(change_is_alone(1, 5, 7, 9, Some(5)).is_ok());
        assert!(change_is_alone(1, 5, 10, 9, Some(5)).is_err());
        assert!(change_is_alone(1, 5, 7, 9, Some(4)).is_err());
    }

    fn of(voters: &[Member], outgoing: &[Member]) -> Majority {
        Majority {
            voters: voters.to_vec(),
            outgoing: outgoing.to_vec(),
        }
    }

    #[test]
    fn one_more_or_one_less_is_safe_and_two_are_not() {
        let before = of(&[1, 2, 3], &[]);
        for safe in [&[1, 2, 3, 4][..], &[1, 2], &[1, 2, 3]] {
            assert!(one_change_at_a_time(1, &before, &of(safe, &[])).is_ok(), "{safe:?}");
        }
        assert!(one_change_at_a_time(1, &before, &of(&[1, 2, 3, 4, 5], &[])).is_err());
        assert!(one_change_at_a_time(1, &before, &of(&[1, 2, 4], &[])).is_err());
        assert!(
            one_change_at_a_time(1, &before, &of(&[4, 5, 6], &[1, 2, 3])).is_ok(),
            "joint"
        );
    }
}
