//! Who is a member, and how that changes.
//!
//! # One change at a time
//! Members are changed one at a time (Ongaro's thesis, §4.1), not by joint consensus: any majority of the voters before a
//! change and any majority after it have a member in common, so there is never a moment in which two leaders can be
//! elected. etcd's interface asks for nothing more. The rules that this stands on, and where each is kept:
//!
//! 1. A member acts by the latest membership **in its log**, committed or not ([`Memberships::latest`]); when the entry is
//!    cut off again, so is the membership ([`Memberships::truncate`]).
//! 2. **One pending change**: a leader refuses a change while the latest membership is not committed
//!    (`leader/change.rs`).
//! 3. **The leader's own term first**: a leader refuses a change before an entry of its own term is committed. Without
//!    it, changes of different leaders, each begun from an uncommitted one, can have disjoint majorities (Ongaro's
//!    correction of 2015 to the thesis) (`leader/change.rs`).
//! 4. A change adds or removes **at most one voter** ([`Membership::changed`] can do nothing else). So the entry that adds
//!    one, and those before it, are committed once a majority of the voters before **or** after it has them: either
//!    shares a member with every majority that could elect a leader that lacks them. Without the former, a second voter
//!    could not be added to a single one before it runs; people do so, since in etcd a change takes effect only when it
//!    is applied. What is behind the change needs the new majority, and so does a removal, because a member that leaves
//!    does not keep what it has (`leader/replicate.rs`).
//! 5. A leader that is being removed leads on without counting itself, and **steps down once its removal is committed**
//!    (`leader/change.rs`).
//! 6. Who is not a voter does not campaign, with one exception: a voter whose removal is in its log but not known to be
//!    committed may have to, since its log may be the only one that can win (thesis §4.2.2) (`Replica::may_campaign`).
//! 7. **Learners** receive everything and count for nothing: not for votes, commitment, check-quorum or reads. A learner
//!    is promoted only when it has almost caught up, so that a promotion cannot stop commitment (thesis §4.2.1). A learner
//!    does answer a request for its vote: the candidate may know of a promotion that the learner does not yet.
//! 8. **A member that was removed** and does not know cannot disturb the others: they refuse its pre-votes and votes as
//!    long as they hear from a leader (thesis §4.2.3), and the leader goes on sending to it for a while so that it learns
//!    of its removal (`leader/change.rs`).
//! 9. **A member that was removed and added again** gets a new replication session; acknowledgements of the former session
//!    count for nothing (`leader/progress.rs`).
//! 10. The last voter cannot be removed.

use std::collections::VecDeque;

use bytes::{Buf, BufMut};

use super::entry::{Index, MemberId};

/// How many members there can be. Majorities are counted on the stack, and frames are bounded by this.
pub const MEMBERS_MAX: usize = 64;
/// As many voters as most clusters have at most.
const FEW_VOTERS: usize = 8;

/// Who votes and who only learns. Both lists are sorted and have no member in common.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Membership {
    voters: Vec<MemberId>,
    learners: Vec<MemberId>,
}

/// A change of one member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MemberChange {
    /// A new member that votes at once.
    AddVoter(MemberId),
    /// A new member that does not vote yet.
    AddLearner(MemberId),
    /// A learner becomes a voter.
    Promote(MemberId),
    /// A voter or a learner leaves.
    Remove(MemberId),
    /// The same members; only the entry's context says something new, such as an address.
    Update(MemberId),
}

/// Why a membership cannot be changed like that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChangeError {
    /// Zero names no one.
    NoId,
    /// There is such a member already.
    Exists,
    /// There is no such member.
    Unknown,
    /// Only a learner can be promoted.
    NotLearner,
    /// The last voter stays.
    LastVoter,
    /// There are [`MEMBERS_MAX`] members.
    TooMany,
}

impl Membership {
    /// A membership; of an id that occurs more than once, the first occurrence among voters, then learners counts.
    pub fn new(voters: impl IntoIterator<Item = MemberId>, learners: impl IntoIterator<Item = MemberId>) -> Self {
        let mut voters: Vec<_> = voters.into_iter().collect();
        voters.sort_unstable();
        voters.dedup();
        let mut learners: Vec<_> = learners.into_iter().filter(|id| !voters.contains(id)).collect();
        learners.sort_unstable();
        learners.dedup();
        Self { voters, learners }
    }

    /// Who votes, in ascending order.
    pub fn voters(&self) -> &[MemberId] {
        &self.voters
    }

    /// Who learns, in ascending order.
    pub fn learners(&self) -> &[MemberId] {
        &self.learners
    }

    /// All members: voters, then learners.
    pub fn members(&self) -> impl Iterator<Item = MemberId> + '_ {
        self.voters.iter().chain(&self.learners).copied()
    }

    /// Whether it votes.
    pub fn is_voter(&self, id: MemberId) -> bool {
        self.voters.contains(&id)
    }

    /// Whether it learns.
    pub fn is_learner(&self, id: MemberId) -> bool {
        self.learners.contains(&id)
    }

    /// Whether it is a member.
    pub fn contains(&self, id: MemberId) -> bool {
        self.is_voter(id) || self.is_learner(id)
    }

    /// Whether there is no one, as for a member that waits to be told.
    pub fn is_empty(&self) -> bool {
        self.voters.is_empty() && self.learners.is_empty()
    }

    /// How many voters are a majority.
    pub fn quorum(&self) -> usize {
        self.voters.len() / 2 + 1
    }

    /// The membership after the change.
    pub fn changed(&self, change: MemberChange) -> Result<Self, ChangeError> {
        let mut next = self.clone();
        match change {
            MemberChange::AddVoter(id) | MemberChange::AddLearner(id) => {
                if id == 0 {
                    return Err(ChangeError::NoId);
                }
                if self.contains(id) {
                    return Err(ChangeError::Exists);
                }
                if self.voters.len() + self.learners.len() >= MEMBERS_MAX {
                    return Err(ChangeError::TooMany);
                }
                let list = match change {
                    MemberChange::AddVoter(_) => &mut next.voters,
                    _ => &mut next.learners,
                };
                insert(list, id);
            }
            MemberChange::Promote(id) => {
                if !self.contains(id) {
                    return Err(ChangeError::Unknown);
                }
                if !self.is_learner(id) {
                    return Err(ChangeError::NotLearner);
                }
                next.learners.retain(|learner| *learner != id);
                insert(&mut next.voters, id);
            }
            MemberChange::Remove(id) => {
                if !self.contains(id) {
                    return Err(ChangeError::Unknown);
                }
                if self.voters == [id] {
                    return Err(ChangeError::LastVoter);
                }
                next.voters.retain(|voter| *voter != id);
                next.learners.retain(|learner| *learner != id);
            }
            MemberChange::Update(id) if !self.contains(id) => return Err(ChangeError::Unknown),
            MemberChange::Update(_) => {}
        }
        Ok(next)
    }

    /// The greatest number that a majority of the voters has reached, if `reached` tells each one's. Zero without voters.
    ///
    /// The numbers are sorted afresh each time: an order that is kept between calls can be lost, and then the commit index
    /// moves without a quorum (openraft #1802).
    pub(super) fn reached_by_quorum(&self, mut reached: impl FnMut(MemberId) -> u64) -> u64 {
        let count = self.voters.len().min(MEMBERS_MAX);
        if count == 0 {
            return 0;
        }
        // Most clusters are small, and clearing room for the largest costs more than counting them.
        let (mut few, mut many);
        let numbers: &mut [u64] = if count <= FEW_VOTERS {
            few = [0; FEW_VOTERS];
            &mut few[..count]
        } else {
            many = [0; MEMBERS_MAX];
            &mut many[..count]
        };
        for (number, id) in numbers.iter_mut().zip(&self.voters) {
            *number = reached(*id);
        }
        numbers.sort_unstable();
        let mut quorum = self.quorum();
        if super::plant::is_planted(super::plant::Plant::QuorumMinusOne) {
            quorum -= 1;
        }
        numbers[count - quorum.max(1)]
    }

    /// How long [`Membership::encode`]'s bytes are.
    pub fn encoded_bytes(&self) -> usize {
        4 + 8 * (self.voters.len() + self.learners.len())
    }

    /// Two counts (u16) and the ids (u64), big-endian.
    pub fn encode(&self, buffer: &mut impl BufMut) {
        for list in [&self.voters, &self.learners] {
            buffer.put_u16(list.len().min(MEMBERS_MAX) as u16);
            for id in list.iter().take(MEMBERS_MAX) {
                buffer.put_u64(*id);
            }
        }
    }

    /// Reads what [`Membership::encode`] wrote; `None` if it is anything else.
    pub fn decode(bytes: &mut impl Buf) -> Option<Self> {
        let mut lists = [Vec::new(), Vec::new()];
        for list in &mut lists {
            let count = usize::from(bytes.try_get_u16().ok()?);
            if count > MEMBERS_MAX || bytes.remaining() < count * 8 {
                return None;
            }
            for _ in 0..count {
                list.push(bytes.try_get_u64().ok()?);
            }
        }
        let [voters, learners] = lists;
        let membership = Self::new(voters.iter().copied(), learners.iter().copied());
        let is_sound = membership.voters == voters
            && membership.learners == learners
            && voters.len() + learners.len() <= MEMBERS_MAX
            && !membership.contains(0);
        is_sound.then_some(membership)
    }
}

fn insert(list: &mut Vec<MemberId>, id: MemberId) {
    let at = list.partition_point(|member| *member < id);
    list.insert(at, id);
}

/// The memberships that the log holds, and the one that it starts from.
///
/// - There is always at least one; their indexes ascend.
/// - All but the first are of entries that are in the log.
#[derive(Debug, Clone)]
pub(super) struct Memberships {
    list: VecDeque<(Index, Membership)>,
}

impl Memberships {
    pub fn new(index: Index, membership: Membership) -> Self {
        Self {
            list: VecDeque::from([(index, membership)]),
        }
    }

    /// The one in force, committed or not.
    pub fn latest(&self) -> &Membership {
        &self.list[self.list.len() - 1].1
    }

    /// The index of the entry of the one in force.
    pub fn latest_index(&self) -> Index {
        self.list[self.list.len() - 1].0
    }

    /// Where a voter is added that is not committed yet: the entry's index, and the membership before it.
    pub fn pending_voter(&self, commit: Index) -> Option<(Index, &Membership)> {
        let (_, before) = &self.list[self.list.len().checked_sub(2)?];
        let change = self.latest_index();
        let adds = before.voters.len() < self.latest().voters.len();
        (adds && change > commit).then_some((change, before))
    }

    /// The one that was in force at this index, if it is still known.
    pub fn at(&self, index: Index) -> Option<&Membership> {
        let after = self.list.partition_point(|(from, _)| *from <= index);
        self.list.get(after.checked_sub(1)?).map(|(_, membership)| membership)
    }

    pub fn push(&mut self, index: Index, membership: Membership) {
        debug_assert!(self.latest_index() < index, "memberships come in the log's order");
        self.list.push_back((index, membership));
    }

    /// Forgets those of entries from this index on. Whether one was forgotten.
    pub fn truncate(&mut self, from: Index) -> bool {
        let before = self.list.len();
        while self.list.len() > 1 && self.latest_index() >= from {
            self.list.pop_back();
        }
        self.list.len() < before
    }

    /// Forgets those that were replaced up to this index.
    pub fn purge(&mut self, up_to: Index) {
        while self.list.get(1).is_some_and(|(index, _)| *index <= up_to) {
            self.list.pop_front();
        }
    }
}
