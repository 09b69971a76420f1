//! A vote or an acknowledgement leaves a member only after what it promises is on its disk. Source: Ongaro (2014), figure
//! 3.1 ("updated on stable storage before responding to RPCs") and section 3.8.

use super::never_back::Promise;
use super::{Check, Member, require};

/// `member` grants its vote to `candidate`; its disk holds `durable`.
pub fn vote_is_durable(member: Member, term: u64, candidate: Member, durable: Promise) -> Check {
    // A disk that is further than the vote has forgotten nothing either: the vote counts for nothing any more.
    let kept = durable.term > term || (durable.term == term && durable.vote == Some(candidate));
    require(kept, "promises_are_durable", || {
        format!("member {member} votes for {candidate} in term {term}, but its disk says {durable:?}")
    })
}

/// `member` tells the leader of `term` that it holds everything up to `index`; its disk holds `durable_last` entries and
/// `durable`.
pub fn acknowledgement_is_durable(member: Member, term: u64, index: u64, durable_last: u64, durable: Promise) -> Check {
    require(index <= durable_last, "promises_are_durable", || {
        format!("member {member} acknowledges entry {index}, but its disk ends at {durable_last}")
    })?;
    require(durable.term >= term, "promises_are_durable", || {
        format!(
            "member {member} acknowledges in term {term}, but its disk says term {}",
            durable.term
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promise_ahead_of_the_disk_is_seen() {
        let durable = Promise { term: 4, vote: Some(2) };
        assert!(vote_is_durable(1, 4, 2, durable).is_ok());
        assert!(vote_is_durable(1, 4, 3, durable).is_err());
        assert!(vote_is_durable(1, 5, 2, durable).is_err());
        assert!(acknowledgement_is_durable(1, 4, 9, 9, durable).is_ok());
        assert!(acknowledgement_is_durable(1, 4, 10, 9, durable).is_err());
        assert!(acknowledgement_is_durable(1, 5, 9, 9, durable).is_err());
    }
}
