//! Which changes are wise: etcd's strict reconfiguration check.
//!
//! A change that consensus could carry out can still stop a cluster: who adds a second member to one, and mistypes its
//! address, has lost the majority. So a change is refused when too few members have ever started, or when members are out of
//! reach at that moment. The rules and their order are etcd's; `--strict-reconfig-check=false` queue them off.

use std::collections::BTreeSet;

use coordinator_wire::etcdserverpb as pb;

use super::Members;
use crate::Error;

/// What the leader sees of the others.
#[derive(Debug, Clone, Default)]
pub struct Health {
    /// The member that looks.
    pub own: u64,
    /// Members that have been in touch without a break for long enough to count, the own one included.
    pub steady: BTreeSet<u64>,
    /// Members that are in touch now.
    pub active: BTreeSet<u64>,
}

fn majority_of(members: usize) -> usize {
    members / 2 + 1
}

/// A member that has told its name has started once.
fn has_started(member: &pb::Member) -> bool {
    !member.name.is_empty()
}

impl Members {
    fn started_voters(&self, except: u64) -> usize {
        self.voters()
            .filter(|member| member.id != except && has_started(member))
            .count()
    }

    /// Whether a member with these URLs can be added.
    pub fn check_add(&self, member: &pb::Member, learners_max: usize) -> Result<(), Error> {
        if self.get(member.id).is_some() || self.is_removed(member.id) {
            return Err(Error::MemberExists);
        }
        if self.is_taken(&member.peer_ur_ls, member.id) {
            return Err(Error::PeerUrlExists);
        }
        if member.is_learner && self.learners().count() >= learners_max {
            return Err(Error::TooManyLearners);
        }
        Ok(())
    }

    /// Whether it is wise to add one.
    pub fn may_add(&self, is_learner: bool, health: &Health) -> Result<(), Error> {
        let voters = self.voters().count() + 1;
        let started = self.started_voters(0);
        // One member alone may always get a second.
        let restoring = started == 1 && voters == 2;
        if !is_learner && !restoring && started < majority_of(voters) {
            return Err(Error::MemberNotEnoughStarted);
        }
        // The new one counts as one that is away.
        let steady = self.voters().filter(|voter| health.steady.contains(&voter.id)).count();
        if voters > 2 && steady < majority_of(voters) {
            return Err(Error::Unhealthy);
        }
        Ok(())
    }

    /// Whether it is wise to remove `id`.
    pub fn may_remove(&self, id: u64, health: &Health) -> Result<(), Error> {
        let Some(member) = self.get(id) else {
            return Err(Error::MemberNotFound);
        };
        if member.is_learner {
            return Ok(());
        }
        let voters = self.voters().count();
        if self.started_voters(id) < majority_of(voters - 1) || voters == 1 {
            return Err(Error::MemberNotEnoughStarted);
        }
        // One that is down anyway is no loss.
        if id != health.own && !health.active.contains(&id) {
            return Ok(());
        }
        let steady = self.voters().filter(|voter| health.steady.contains(&voter.id)).count();
        if steady.saturating_sub(1) < majority_of(voters - 1) {
            return Err(Error::Unhealthy);
        }
        Ok(())
    }

    /// Whether it is wise to promote `id`.
    pub fn may_promote(&self, id: u64) -> Result<(), Error> {
        match self.get(id) {
            None => Err(Error::MemberNotFound),
            Some(member) if !member.is_learner => Err(Error::MemberNotLearner),
            // The learner counts as started: only one that has caught up is promoted.
            Some(_) if self.started_voters(0) + 1 < majority_of(self.voters().count() + 1) => {
                Err(Error::MemberNotEnoughStarted)
            }
            Some(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u64, name: &str, is_learner: bool) -> pb::Member {
        pb::Member {
            id,
            name: name.to_owned(),
            peer_ur_ls: vec![format!("http://h:{id}")],
            client_ur_ls: Vec::new(),
            is_learner,
        }
    }

    fn health(ids: &[u64]) -> Health {
        Health {
            own: 1,
            steady: ids.iter().copied().collect(),
            active: ids.iter().copied().collect(),
        }
    }

    #[test]
    fn a_second_member_may_be_added_to_one_but_no_third_before_it_started() {
        let one = Members::found([member(1, "a", false)]);
        assert_eq!(one.may_add(false, &health(&[1])), Ok(()));
        let two = Members::found([member(1, "a", false), member(2, "", false)]);
        assert_eq!(two.may_add(false, &health(&[1])), Err(Error::MemberNotEnoughStarted));
        assert_eq!(two.may_add(true, &health(&[1])), Err(Error::Unhealthy));
        let two = Members::found([member(1, "a", false), member(2, "b", false)]);
        assert_eq!(two.may_add(false, &health(&[1])), Err(Error::Unhealthy));
        assert_eq!(two.may_add(false, &health(&[1, 2])), Ok(()));
    }

    #[test]
    fn with_the_new_one_away_there_must_be_a_majority_still() {
        for (voters, steady, expected) in [
            (3, 2, Err(Error::Unhealthy)),
            (3, 3, Ok(())),
            (4, 2, Err(Error::Unhealthy)),
            (4, 3, Ok(())),
            (5, 3, Err(Error::Unhealthy)),
            (5, 4, Ok(())),
        ] {
            let members = Members::found((1..=voters).map(|id| member(id, "started", false)));
            let steady: Vec<u64> = (1..=steady).collect();
            for is_learner in [true, false] {
                assert_eq!(
                    members.may_add(is_learner, &health(&steady)),
                    expected,
                    "{steady:?} of {voters}"
                );
            }
        }
    }

    #[test]
    fn a_removal_must_leave_a_majority_that_is_there() {
        let three = Members::found([member(1, "a", false), member(2, "b", false), member(3, "c", false)]);
        assert_eq!(three.may_remove(3, &health(&[1, 2, 3])), Ok(()));
        assert_eq!(three.may_remove(3, &health(&[1, 2])), Ok(()), "it is down");
        assert_eq!(three.may_remove(2, &health(&[1, 2])), Err(Error::Unhealthy));
        assert_eq!(three.may_remove(9, &health(&[1, 2])), Err(Error::MemberNotFound));
        let one = Members::found([member(1, "a", false), member(2, "", true)]);
        assert_eq!(one.may_remove(1, &health(&[1])), Err(Error::MemberNotEnoughStarted));
        assert_eq!(one.may_remove(2, &health(&[1])), Ok(()));
    }

    #[test]
    fn ids_urls_and_the_number_of_learners_are_checked() {
        let mut members = Members::found([member(1, "a", false), member(2, "", true)]);
        assert_eq!(members.check_add(&member(1, "", false), 1), Err(Error::MemberExists));
        let mut twin = member(3, "", false);
        twin.peer_ur_ls = vec!["http://h:1".to_owned()];
        assert_eq!(members.check_add(&twin, 1), Err(Error::PeerUrlExists));
        assert_eq!(members.check_add(&member(3, "", true), 1), Err(Error::TooManyLearners));
        assert_eq!(members.check_add(&member(3, "", false), 1), Ok(()));
        assert_eq!(members.may_promote(1), Err(Error::MemberNotLearner));
        assert_eq!(members.may_promote(2), Ok(()));
        use coordinator_wire::coordinatorpb::{MemberChange, member_change::Change};
        members.apply(&MemberChange {
            change: Some(Change::Remove(2)),
        });
        assert_eq!(
            members.check_add(&member(2, "", false), 1),
            Err(Error::MemberExists),
            "never again"
        );
        assert_eq!(
            Members::restore(members.take_changed().expect("it did")).list(),
            members.list()
        );
    }
}
