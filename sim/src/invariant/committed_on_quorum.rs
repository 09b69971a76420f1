//! An entry is committed only when it is durable on a majority of the voters. Source: Ongaro (2014), sections 3.5 and 11.7.3
//! (what a member has not synced does not count, the leader's own log included); both majorities while two memberships are
//! in force (section 4.3).

use super::{Check, Member, require};

/// The voters whose majority decides; both, where there are two.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Majority {
    pub voters: Vec<Member>,
    /// The voters before, while a joint change is under way.
    pub outgoing: Vec<Member>,
}

impl Majority {
    /// Whether those for whom `holds` are a majority.
    pub fn reached(&self, mut holds: impl FnMut(Member) -> bool) -> bool {
        let mut half = |voters: &[Member]| {
            let count = voters.iter().filter(|member| holds(**member)).count();
            voters.is_empty() || 2 * count > voters.len()
        };
        half(&self.voters) && half(&self.outgoing)
    }
}

/// `leader` committed entry `index`; `durable_on` says who has it on its disk at this moment.
pub fn committed_on_quorum(
    leader: Member,
    index: u64,
    term: u64,
    majority: &Majority,
    durable_on: impl Fn(Member) -> bool,
) -> Check {
    require(majority.reached(&durable_on), "committed_on_quorum", || {
        let voters = majority.voters.iter().chain(&majority.outgoing);
        let holders: Vec<Member> = voters.copied().filter(|member| durable_on(*member)).collect();
        format!("leader {leader} commits entry {index} of term {term}, which is durable on {holders:?} of {majority:?}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_is_not_a_majority_and_joint_needs_both() {
        let one = Majority {
            voters: vec![1, 2, 3, 4],
            outgoing: vec![],
        };
        assert!(committed_on_quorum(1, 9, 1, &one, |member| member <= 3).is_ok());
        assert!(committed_on_quorum(1, 9, 1, &one, |member| member <= 2).is_err());
        let both = Majority {
            voters: vec![1, 2, 3],
            outgoing: vec![3, 4, 5],
        };
        assert!(committed_on_quorum(1, 9, 1, &both, |member| member <= 3).is_err());
        assert!(committed_on_quorum(1, 9, 1, &both, |member| (2..=4).contains(&member)).is_ok());
    }
}
