//! Notes that members tell of themselves (load, rack, addresses), and the types that merge without coordination.
//!
//! Only its owner writes a note, with a growing version, so two values of one version cannot differ: a last-writer-wins
//! map by (generation, version) loses nothing. A [`Counter`] grows in each owner's own place (a G-counter) and is the sum
//! of all. Merging is commutative, associative and idempotent (Shapiro and others, *Conflict-free Replicated Data Types*,
//! 2011).

use std::collections::BTreeMap;

use super::{Generation, MemberId};

/// Limits of what one member may note: the table of all notes is bounded by them.
pub const KEY_BYTES_MAX: usize = 32;
pub const VALUE_BYTES_MAX: usize = 128;
pub const NOTES_A_MEMBER_MAX: usize = 16;

/// One note of one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub owner: MemberId,
    pub generation: Generation,
    pub version: u64,
    pub key: String,
    pub value: String,
}

impl Note {
    pub fn is_within_limits(&self) -> bool {
        !self.key.is_empty() && self.key.len() <= KEY_BYTES_MAX && self.value.len() <= VALUE_BYTES_MAX
    }
}

type Versioned = (Generation, u64, String);

/// All members' notes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LwwMap {
    owners: BTreeMap<MemberId, BTreeMap<String, Versioned>>,
}

impl LwwMap {
    /// Takes a note over if it is newer than what is known, or if it is new and there is room.
    pub fn merge_note(&mut self, note: &Note) -> bool {
        if !note.is_within_limits() {
            return false;
        }
        let notes = self.owners.entry(note.owner).or_default();
        let newer = (note.generation, note.version);
        let has_room = notes.len() < NOTES_A_MEMBER_MAX;
        match notes.get_mut(&note.key) {
            // The value decides between equal versions, which only a broken owner makes: all members must agree even then.
            Some(known) if (newer, &note.value) > ((known.0, known.1), &known.2) => {
                *known = (newer.0, newer.1, note.value.clone());
                true
            }
            Some(_) => false,
            None if has_room => {
                notes.insert(note.key.clone(), (newer.0, newer.1, note.value.clone()));
                true
            }
            None => false,
        }
    }

    pub fn merge(&mut self, other: &Self) {
        for note in other.iter() {
            self.merge_note(&note);
        }
    }

    pub fn get(&self, owner: MemberId, key: &str) -> Option<&str> {
        Some(self.owners.get(&owner)?.get(key)?.2.as_str())
    }

    pub fn of(&self, owner: MemberId) -> impl Iterator<Item = (&str, &str)> {
        let notes = self.owners.get(&owner).into_iter().flatten();
        notes.map(|(key, (_, _, value))| (key.as_str(), value.as_str()))
    }

    pub fn iter(&self) -> impl Iterator<Item = Note> {
        self.owners.iter().flat_map(|(owner, notes)| {
            notes.iter().map(|(key, (generation, version, value))| Note {
                owner: *owner,
                generation: *generation,
                version: *version,
                key: key.clone(),
                value: value.clone(),
            })
        })
    }

    /// Forgets a member's notes, when the member is forgotten.
    pub fn forget(&mut self, owner: MemberId) {
        self.owners.remove(&owner);
    }

    /// A hash of one owner's notes, 0 for none.
    pub fn hash_of(&self, owner: MemberId) -> u64 {
        let notes = self.owners.get(&owner).into_iter().flatten();
        notes.fold(0, |hash: u64, (key, (generation, version, _))| {
            let words = [*generation, *version];
            let key = key
                .bytes()
                .fold(0u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte)));
            let note = words.iter().fold(key, |hash, word| {
                (hash.rotate_left(23) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15)
            });
            hash ^ note
        })
    }
}

/// A counter that only grows: each owner counts in its own place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counter(BTreeMap<MemberId, u64>);

impl Counter {
    pub fn add(&mut self, owner: MemberId, more: u64) {
        let count = self.0.entry(owner).or_default();
        *count = count.saturating_add(more);
    }

    pub fn merge(&mut self, other: &Self) {
        for (owner, count) in &other.0 {
            let mine = self.0.entry(*owner).or_default();
            *mine = (*mine).max(*count);
        }
    }

    pub fn value(&self) -> u64 {
        self.0.values().fold(0, |sum, count| sum.saturating_add(*count))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn map() -> impl Strategy<Value = LwwMap> {
        let note =
            (0..3u64, 1..3u64, 0..4u64, 0..3u8, 0..3u8).prop_map(|(owner, generation, version, key, value)| Note {
                owner,
                generation,
                version,
                key: format!("k{key}"),
                value: format!("v{value}"),
            });
        prop::collection::vec(note, 0..8).prop_map(|notes| {
            let mut map = LwwMap::default();
            notes.iter().for_each(|note| {
                map.merge_note(note);
            });
            map
        })
    }

    fn counter() -> impl Strategy<Value = Counter> {
        prop::collection::btree_map(0..4u64, 0..100u64, 0..4).prop_map(Counter)
    }

    fn union<T: Clone>(merge: fn(&mut T, &T), one: &T, other: &T) -> T {
        let mut sum = one.clone();
        merge(&mut sum, other);
        sum
    }

    proptest! {
        #[test]
        fn merging_maps_is_a_join(a in map(), b in map(), c in map()) {
            let join = |one: &LwwMap, other: &LwwMap| union(LwwMap::merge, one, other);
            prop_assert_eq!(join(&a, &b), join(&b, &a));
            prop_assert_eq!(join(&join(&a, &b), &c), join(&a, &join(&b, &c)));
            prop_assert_eq!(join(&a, &a), a);
        }

        #[test]
        fn merging_counters_is_a_join(a in counter(), b in counter(), c in counter()) {
            let join = |one: &Counter, other: &Counter| union(Counter::merge, one, other);
            prop_assert_eq!(join(&a, &b), join(&b, &a));
            prop_assert_eq!(join(&join(&a, &b), &c), join(&a, &join(&b, &c)));
            prop_assert_eq!(join(&a, &a), a.clone());
            prop_assert!(join(&a, &b).value() >= a.value());
        }
    }

    #[test]
    fn notes_beyond_the_limits_are_not_kept() {
        let mut map = LwwMap::default();
        let mut note = Note {
            owner: 1,
            generation: 1,
            version: 1,
            key: "rack".into(),
            value: "r1".into(),
        };
        assert!(map.merge_note(&note) && !map.merge_note(&note));
        note.value = "x".repeat(VALUE_BYTES_MAX + 1);
        note.version = 2;
        assert!(!map.merge_note(&note) && map.get(1, "rack") == Some("r1"));
        for more in 0..100 {
            map.merge_note(&Note {
                key: format!("k{more}"),
                value: String::new(),
                ..note.clone()
            });
        }
        assert_eq!(map.of(1).count(), NOTES_A_MEMBER_MAX);
    }
}
