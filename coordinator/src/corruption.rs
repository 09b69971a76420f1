//! Whose copy of the keys is wrong: what the hashes of all members say when they are laid side by side.
//!
//! Members that applied the same entries have the same keys, so at one revision and after the same compaction they have the
//! same hash. Where they have not, a bit has flipped on someone's disk or someone's program is wrong, and the sooner
//! writes end the better. Three comparisons, all etcd's: of a member with the others before it serves ([`differs`]), by the
//! leader now and then ([`mismatches`]), and by the leader after compactions ([`verdict`]), which alone can tell by majority
//! who is wrong. Whom they blame is etcd's choice as well, since operators know it: of a follower and its leader it is the
//! follower.
//!
//! Here is only the judgement; who is asked, when, and what follows is the server's.

use std::collections::BTreeMap;

/// The hash of all keys with their history, as one member has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyHash {
    pub hash: u32,
    /// Up to which revision.
    pub revision: i64,
    /// What it was compacted to.
    pub compacted: i64,
    /// The member's revision at the time.
    pub current: i64,
}

/// What one member is blamed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mismatch {
    pub member: u64,
    pub reason: &'static str,
}

/// What a comparison after a compaction has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// All members have the same.
    Same,
    /// No one has anything else, but not all could be compared.
    Incomplete,
    /// These have not what the majority has.
    Corrupt(Vec<u64>),
    /// There is no majority, so no one knows who is wrong.
    Divided,
}

/// Whether two members that were asked for the same revision have different keys. One that has compacted more, or less,
/// cannot be compared.
pub fn differs(own: &KeyHash, other: &KeyHash) -> bool {
    own.compacted == other.compacted && own.hash != other.hash
}

/// What a leader finds wrong with itself and others. It hashed its keys `before` it asked them for that revision, and again
/// `after` it had made sure that it leads.
pub fn mismatches(own: u64, before: &KeyHash, after: &KeyHash, others: &[(u64, KeyHash)]) -> Vec<Mismatch> {
    let mut found = Vec::new();
    let mut blame = |member, reason| found.push(Mismatch { member, reason });
    if (before.revision, before.compacted) == (after.revision, after.compacted) && before.hash != after.hash {
        blame(own, "found hash mismatch");
    }
    for (member, other) in others {
        if other.current > after.current {
            blame(*member, "revision from follower must be less than or equal to leader's");
        }
        if other.compacted > after.compacted {
            blame(
                *member,
                "compact revision from follower must be less than or equal to leader's",
            );
        }
        if differs(before, other) {
            blame(*member, "same compact revision then hashes must match");
        }
    }
    found
}

/// What all members' hashes of one compaction say; `None` for who did not answer.
pub fn verdict(leader: u64, own: &KeyHash, others: &[(u64, Option<KeyHash>)]) -> Verdict {
    let mut by_hash = BTreeMap::from([(own.hash, vec![leader])]);
    let mut is_complete = true;
    for (member, hash) in others {
        match hash {
            Some(hash) if hash.compacted == own.compacted => by_hash.entry(hash.hash).or_default().push(*member),
            _ => is_complete = false,
        }
    }
    if by_hash.len() == 1 {
        return if is_complete {
            Verdict::Same
        } else {
            Verdict::Incomplete
        };
    }
    let members = others.len() + 1;
    let quorum = members / 2 + 1;
    let before = by_hash.len();
    by_hash.retain(|_, members| members.len() < quorum);
    if by_hash.len() == before {
        return Verdict::Divided;
    }
    Verdict::Corrupt(by_hash.into_values().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(hash: u32, compacted: i64, current: i64) -> KeyHash {
        KeyHash {
            hash,
            revision: 10,
            compacted,
            current,
        }
    }

    const NOBODY: [u64; 0] = [];

    fn blamed(before: &KeyHash, after: &KeyHash, others: &[(u64, KeyHash)]) -> Vec<u64> {
        let found = mismatches(1, before, after, others);
        found.into_iter().map(|mismatch| mismatch.member).collect()
    }

    #[test]
    fn a_leader_blames_followers_that_differ_are_ahead_or_have_compacted_more() {
        let own = hash(7, 3, 10);
        assert_eq!(blamed(&own, &own, &[(2, own), (3, own)]), NOBODY);
        assert_eq!(blamed(&own, &own, &[(2, own), (3, hash(8, 3, 10))]), [3]);
        assert_eq!(blamed(&own, &own, &[(2, hash(7, 3, 11)), (3, own)]), [2], "ahead");
        assert_eq!(
            blamed(&own, &own, &[(2, hash(8, 4, 10))]),
            [2],
            "its hash is another's business"
        );
        assert_eq!(
            blamed(&own, &own, &[(2, hash(8, 2, 9))]),
            NOBODY,
            "it has compacted less, so nothing is known"
        );
        // What was written meanwhile is no reason.
        assert_eq!(blamed(&own, &hash(9, 4, 20), &[(2, hash(7, 3, 15)), (3, own)]), NOBODY);
    }

    #[test]
    fn a_leader_whose_own_hash_changes_by_itself_blames_itself_first() {
        let (own, later) = (hash(7, 3, 10), hash(8, 3, 10));
        assert_eq!(blamed(&own, &later, &[(2, own), (3, hash(9, 3, 10))]), [1, 3]);
        let moved_on = KeyHash { revision: 11, ..later };
        assert_eq!(
            blamed(&own, &moved_on, &[]),
            NOBODY,
            "at another revision it may be another"
        );
    }

    #[test]
    fn after_a_compaction_the_majority_is_right_and_without_one_nobody_is() {
        let own = hash(7, 3, 10);
        let (same, other, third) = (Some(own), Some(hash(8, 3, 10)), Some(hash(9, 3, 10)));
        assert_eq!(verdict(1, &own, &[(2, same), (3, same)]), Verdict::Same);
        assert_eq!(verdict(1, &own, &[(2, same), (3, other)]), Verdict::Corrupt(vec![3]));
        assert_eq!(
            verdict(1, &own, &[(2, other), (3, other)]),
            Verdict::Corrupt(vec![1]),
            "the leader too"
        );
        assert_eq!(verdict(1, &own, &[(2, other), (3, third)]), Verdict::Divided);
        assert_eq!(verdict(1, &own, &[(2, other)]), Verdict::Divided, "one against one");
        assert_eq!(
            verdict(1, &own, &[(2, other), (3, None)]),
            Verdict::Divided,
            "whoever is silent is not with the leader"
        );
        assert_eq!(
            verdict(1, &own, &[(2, same), (3, same), (4, other), (5, third)]),
            Verdict::Corrupt(vec![4, 5])
        );
    }

    #[test]
    fn who_did_not_answer_or_compacted_otherwise_leaves_it_open() {
        let own = hash(7, 3, 10);
        assert_eq!(verdict(1, &own, &[(2, Some(own)), (3, None)]), Verdict::Incomplete);
        assert_eq!(
            verdict(1, &own, &[(2, Some(own)), (3, Some(hash(8, 2, 10)))]),
            Verdict::Incomplete
        );
        assert_eq!(verdict(1, &own, &[]), Verdict::Same);
        assert!(!differs(&own, &hash(8, 4, 10)) && differs(&own, &hash(8, 3, 12)));
    }
}
