//! A leader commits by counting only entries of its own term; older ones are committed with them. Source: Ongaro (2014),
//! section 3.6.2 and figure 3.7: counted by themselves, entries of older terms can still be overwritten.

use super::{Check, Member, require};

/// `leader` of `term` moves its commit index to an entry of `committed_term`.
pub fn own_term_first(leader: Member, term: u64, index: u64, committed_term: Option<u64>) -> Check {
    require(committed_term == Some(term), "own_term_first", || {
        format!("leader {leader} of term {term} commits up to entry {index}, of term {committed_term:?}, by counting")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_term_is_seen() {
        assert!(own_term_first(1, 5, 9, Some(5)).is_ok() && own_term_first(1, 5, 9, Some(4)).is_err());
    }
}
