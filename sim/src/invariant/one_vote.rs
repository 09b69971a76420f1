//! A member grants one vote in a term, whatever it forgets. Source: Ongaro (2014), section 3.4.

use std::collections::BTreeMap;

use super::{Check, Member, require};

#[derive(Debug, Default)]
pub struct OneVote {
    /// By term and voter.
    votes: BTreeMap<(u64, Member), Member>,
}

impl OneVote {
    /// The member's disk was replaced after it was removed; if it is added again, it is another one of the same name.
    pub fn forget(&mut self, member: Member) {
        self.votes.retain(|(_, voter), _| *voter != member);
    }

    /// A granted vote left `member` (for itself, where it stands for election).
    pub fn granted(&mut self, member: Member, term: u64, candidate: Member) -> Check {
        let first = *self.votes.entry((term, member)).or_insert(candidate);
        require(first == candidate, "one_vote", || {
            format!("member {member} votes for {first} and for {candidate} in term {term}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_vote_is_seen() {
        let mut votes = OneVote::default();
        assert!(votes.granted(1, 2, 3).is_ok() && votes.granted(1, 2, 3).is_ok() && votes.granted(1, 3, 4).is_ok());
        assert!(votes.granted(1, 2, 4).is_err());
    }
}
