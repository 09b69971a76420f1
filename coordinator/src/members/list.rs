//! The list of members.

use std::collections::{BTreeMap, BTreeSet};

use coordinator_wire::coordinatorpb::{MemberAttributes, MemberChange, StoredMembers, member_change::Change};
use coordinator_wire::etcdserverpb as pb;
use raft::consensus::Membership;

/// All members, and who was one.
///
/// - No id is both in `members` and in `removed`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members {
    members: BTreeMap<u64, pb::Member>,
    removed: BTreeSet<u64>,
    /// The version of a downgrade that was begun; empty where none was.
    downgrade_target: String,
    changed: bool,
}

impl Members {
    /// The members that a cluster is founded with.
    pub fn found(members: impl IntoIterator<Item = pb::Member>) -> Self {
        Self {
            members: members.into_iter().map(|member| (member.id, member)).collect(),
            ..Self::default()
        }
    }

    /// The members as they were kept.
    pub fn restore(stored: StoredMembers) -> Self {
        Self {
            removed: stored.removed.into_iter().collect(),
            downgrade_target: stored.downgrade_target,
            ..Self::found(stored.members)
        }
    }

    /// As they are to be kept.
    pub fn to_stored(&self) -> StoredMembers {
        StoredMembers {
            members: self.list(),
            removed: self.removed.iter().copied().collect(),
            downgrade_target: self.downgrade_target.clone(),
        }
    }

    /// What is to be kept, if it changed since the last call.
    pub fn take_changed(&mut self) -> Option<StoredMembers> {
        std::mem::take(&mut self.changed).then(|| self.to_stored())
    }

    /// Who votes and who learns, for consensus.
    pub fn membership(&self) -> Membership {
        Membership::new(
            self.voters().map(|member| member.id),
            self.learners().map(|member| member.id),
        )
    }

    /// All, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &pb::Member> {
        self.members.values()
    }

    /// All, as etcd shows them.
    pub fn list(&self) -> Vec<pb::Member> {
        self.iter().cloned().collect()
    }

    pub fn get(&self, id: u64) -> Option<&pb::Member> {
        self.members.get(&id)
    }

    pub fn voters(&self) -> impl Iterator<Item = &pb::Member> {
        self.iter().filter(|member| !member.is_learner)
    }

    pub fn learners(&self) -> impl Iterator<Item = &pb::Member> {
        self.iter().filter(|member| member.is_learner)
    }

    pub fn is_removed(&self, id: u64) -> bool {
        self.removed.contains(&id)
    }

    /// Whether another member than `id` has one of these peer URLs.
    pub fn is_taken(&self, peer_urls: &[String], id: u64) -> bool {
        self.iter()
            .filter(|member| member.id != id)
            .any(|member| member.peer_ur_ls.iter().any(|url| peer_urls.contains(url)))
    }

    /// A change that is committed.
    pub fn apply(&mut self, change: &MemberChange) {
        self.changed = true;
        match &change.change {
            Some(Change::Add(member)) => {
                self.members.insert(member.id, member.clone());
            }
            Some(Change::Promote(id)) => {
                if let Some(member) = self.members.get_mut(id) {
                    member.is_learner = false;
                }
            }
            Some(Change::Remove(id)) => {
                self.members.remove(id);
                self.removed.insert(*id);
            }
            Some(Change::Update(new)) => {
                if let Some(member) = self.members.get_mut(&new.id) {
                    member.peer_ur_ls.clone_from(&new.peer_ur_ls);
                }
            }
            Some(Change::Only(one)) => {
                let others = std::mem::take(&mut self.members).into_keys();
                self.removed.extend(others.filter(|id| *id != one.id));
                self.removed.remove(&one.id);
                self.members.insert(one.id, one.clone());
            }
            None => {}
        }
    }

    /// The version that the cluster is to go down to, if any.
    pub fn downgrade_target(&self) -> Option<&str> {
        Some(self.downgrade_target.as_str()).filter(|target| !target.is_empty())
    }

    /// A downgrade begins, or, where the target is empty, is cancelled.
    pub fn set_downgrade_target(&mut self, target: &str) {
        self.changed = true;
        target.clone_into(&mut self.downgrade_target);
    }

    /// What a member says about itself.
    pub fn set_attributes(&mut self, attributes: &MemberAttributes) {
        if let Some(member) = self.members.get_mut(&attributes.member) {
            self.changed = true;
            member.name.clone_from(&attributes.name);
            member.client_ur_ls.clone_from(&attributes.client_urls);
        }
    }
}
