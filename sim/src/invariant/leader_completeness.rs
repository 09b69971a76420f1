//! A leader has every entry that was committed in an earlier term. Source: Ongaro (2014), figure 3.2, Leader Completeness.
//!
//! With log matching, it is enough to look at the last committed one.

use super::{Check, Member, require};

/// `member` was elected in `term`; the last entry committed anywhere is `committed` (index and term), and at that index the
/// member's log or snapshot has the term `held`.
pub fn leader_completeness(member: Member, term: u64, committed: (u64, u64), held: Option<u64>) -> Check {
    let (index, committed_term) = committed;
    // A leader of the past may learn late that it was elected.
    let concerns = index > 0 && committed_term < term;
    require(!concerns || held == Some(committed_term), "leader_completeness", || {
        format!(
            "member {member} leads in term {term} and has {} at {index}, where an entry of term {committed_term} is committed",
            held.map_or("nothing".to_owned(), |held| format!("an entry of term {held}"))
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_without_a_committed_entry_is_seen() {
        assert!(leader_completeness(1, 5, (0, 0), None).is_ok());
        assert!(leader_completeness(1, 5, (9, 4), Some(4)).is_ok());
        assert!(leader_completeness(1, 5, (9, 4), None).is_err());
        assert!(leader_completeness(1, 5, (9, 4), Some(3)).is_err());
        assert!(leader_completeness(1, 3, (9, 4), None).is_ok(), "it will find out");
    }
}
