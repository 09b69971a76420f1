use crate::consensus::membership::Memberships;
use crate::consensus::{ChangeError, MEMBERS_MAX, MemberChange, Membership};

#[test]
fn a_change_moves_one_member() {
    let members = Membership::new([3, 1, 2], [4]);
    let changed = |change| members.changed(change);
    assert_eq!(
        changed(MemberChange::AddVoter(5)),
        Ok(Membership::new([1, 2, 3, 5], [4]))
    );
    assert_eq!(
        changed(MemberChange::AddLearner(5)),
        Ok(Membership::new([1, 2, 3], [4, 5]))
    );
    assert_eq!(changed(MemberChange::Promote(4)), Ok(Membership::new([1, 2, 3, 4], [])));
    assert_eq!(changed(MemberChange::Remove(2)), Ok(Membership::new([1, 3], [4])));
    assert_eq!(changed(MemberChange::Remove(4)), Ok(Membership::new([1, 2, 3], [])));
    assert_eq!(changed(MemberChange::Update(4)), Ok(members.clone()));
}

#[test]
fn impossible_changes_are_refused_by_their_reason() {
    let members = Membership::new([1], [4]);
    let refused = |change| members.changed(change).unwrap_err();
    assert_eq!(refused(MemberChange::AddVoter(0)), ChangeError::NoId);
    assert_eq!(refused(MemberChange::AddVoter(4)), ChangeError::Exists);
    assert_eq!(refused(MemberChange::AddLearner(1)), ChangeError::Exists);
    assert_eq!(refused(MemberChange::Promote(1)), ChangeError::NotLearner);
    assert_eq!(refused(MemberChange::Promote(9)), ChangeError::Unknown);
    assert_eq!(refused(MemberChange::Remove(9)), ChangeError::Unknown);
    assert_eq!(refused(MemberChange::Remove(1)), ChangeError::LastVoter);
    assert_eq!(refused(MemberChange::Update(9)), ChangeError::Unknown);
    let full = Membership::new(1..=MEMBERS_MAX as u64, []);
    assert_eq!(full.changed(MemberChange::AddLearner(99)), Err(ChangeError::TooMany));
}

/// Any change but for the learners' leaves every majority before and after with a member in common.
#[test]
fn majorities_before_and_after_a_change_overlap() {
    let majorities = |members: &Membership| -> Vec<u32> {
        let voters = members.voters().iter().fold(0_u32, |set, id| set | 1 << id);
        let is_majority = |set: &u32| set & !voters == 0 && set.count_ones() as usize >= members.quorum();
        (0..1 << 8).filter(is_majority).collect()
    };
    for count in 1..=6 {
        let before = Membership::new(1..=count, [7]);
        let mut changes = vec![MemberChange::Promote(7)];
        changes.extend((1..=count).map(MemberChange::Remove));
        for after in changes.into_iter().filter_map(|change| before.changed(change).ok()) {
            for one in majorities(&before) {
                assert!(majorities(&after).iter().all(|other| one & other != 0));
            }
        }
    }
}

#[test]
fn the_number_that_a_quorum_has_reached() {
    let reached = |voters: &[u64]| {
        let members = Membership::new(1..=voters.len() as u64, []);
        members.reached_by_quorum(|id| voters[id as usize - 1])
    };
    assert_eq!(reached(&[]), 0);
    assert_eq!(reached(&[7]), 7);
    assert_eq!(reached(&[7, 3]), 3);
    assert_eq!(reached(&[1, 9, 5]), 5);
    assert_eq!(reached(&[9, 1, 5, 2]), 2);
    assert_eq!(reached(&[5, 4, 3, 2, 1]), 3);
}

#[test]
fn memberships_go_with_their_entries() {
    let of = |count| Membership::new(1..=count, []);
    let mut memberships = Memberships::new(0, of(1));
    memberships.push(5, of(2));
    memberships.push(9, of(3));
    assert_eq!(memberships.at(4), Some(&of(1)));
    assert_eq!(memberships.at(5), Some(&of(2)));
    assert!(memberships.truncate(7));
    assert_eq!(memberships.latest(), &of(2));
    assert!(!memberships.truncate(6));
    memberships.push(8, of(4));
    memberships.purge(6);
    assert_eq!((memberships.at(4), memberships.at(7)), (None, Some(&of(2))));
    assert!(memberships.truncate(1));
    assert_eq!(memberships.latest(), &of(2), "the first stays");
}
