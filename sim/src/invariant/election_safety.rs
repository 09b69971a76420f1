//! At most one leader in a term. Source: Ongaro, Consensus: Bridging Theory and Practice (2014), figure 3.2, Election Safety.

use std::collections::BTreeMap;

use super::{Check, Member, require};

#[derive(Debug, Default)]
pub struct ElectionSafety {
    leaders: BTreeMap<u64, Member>,
}

impl ElectionSafety {
    pub fn elected(&mut self, member: Member, term: u64) -> Check {
        let first = *self.leaders.entry(term).or_insert(member);
        require(first == member, "election_safety", || {
            format!("members {first} and {member} both lead in term {term}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_leader_is_seen() {
        let mut safety = ElectionSafety::default();
        assert!(safety.elected(1, 5).is_ok() && safety.elected(1, 5).is_ok() && safety.elected(2, 6).is_ok());
        assert!(safety.elected(2, 5).is_err());
    }
}
