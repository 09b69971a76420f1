//! The types. Each is a state with a merge.

use std::collections::{BTreeMap, BTreeSet};

use cluster::member::{Counter, LwwMap, Note};

/// Lines that are made wrong to see whether it is caught.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    MergeReplaces,
    RemovesUnseen,
    OrderOfArrival,
}

/// Who made it, and as which of its changes: unique.
pub type Tag = (u64, u64);

/// Two counters that only grow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PnCounter {
    up: Counter,
    down: Counter,
}

impl PnCounter {
    pub fn add(&mut self, owner: u64, more: i64) {
        let counter = if more >= 0 { &mut self.up } else { &mut self.down };
        counter.add(owner, more.unsigned_abs());
    }

    pub fn merge(&mut self, other: &Self) {
        self.up.merge(&other.up);
        self.down.merge(&other.down);
    }

    pub fn value(&self) -> i64 {
        self.up.value() as i64 - self.down.value() as i64
    }
}

/// Elements with the tags of their additions; a removal takes away the tags that it saw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrSet {
    added: BTreeMap<u64, BTreeSet<Tag>>,
    removed: BTreeSet<Tag>,
}

impl OrSet {
    pub fn add(&mut self, element: u64, tag: Tag) {
        self.added.entry(element).or_default().insert(tag);
    }

    /// Gives the tags that were removed.
    pub fn remove(&mut self, element: u64) -> BTreeSet<Tag> {
        let seen = self.added.get(&element).cloned().unwrap_or_default();
        self.removed.extend(seen.iter().copied());
        seen
    }

    pub fn contains(&self, element: u64) -> bool {
        self.added
            .get(&element)
            .is_some_and(|tags| !tags.is_subset(&self.removed))
    }

    pub fn merge(&mut self, other: &Self, fault: Option<Fault>) {
        for (element, tags) in &other.added {
            let mine = self.added.entry(*element).or_default();
            if fault == Some(Fault::RemovesUnseen) && tags.iter().any(|tag| other.removed.contains(tag)) {
                self.removed.extend(mine.iter().copied());
            }
            mine.extend(tags.iter().copied());
        }
        self.removed.extend(other.removed.iter().copied());
    }
}

/// A text as a tree of insertions: each character stands behind the one that it was typed after, the newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text {
    /// By (Lamport time, owner): the character, and the one before it.
    inserted: BTreeMap<Tag, (char, Option<Tag>)>,
    deleted: BTreeSet<Tag>,
    /// Only of a broken one: the order of arrival.
    arrived: Vec<Tag>,
}

impl Text {
    /// Later than everything known here.
    pub fn next_tag(&self, owner: u64) -> Tag {
        (self.inserted.keys().next_back().map_or(0, |last| last.0) + 1, owner)
    }

    pub fn insert(&mut self, tag: Tag, character: char, after: Option<Tag>) {
        self.arrived.push(tag);
        self.inserted.insert(tag, (character, after));
    }

    pub fn delete(&mut self, tag: Tag) {
        self.deleted.insert(tag);
    }

    pub fn merge(&mut self, other: &Self) {
        for (tag, inserted) in &other.inserted {
            if self.inserted.insert(*tag, *inserted).is_none() {
                self.arrived.push(*tag);
            }
        }
        self.deleted.extend(other.deleted.iter().copied());
    }

    /// All tags in the order of the text, deleted ones too.
    pub fn order(&self, fault: Option<Fault>) -> Vec<Tag> {
        if fault == Some(Fault::OrderOfArrival) {
            return self.arrived.clone();
        }
        let mut behind: BTreeMap<Option<Tag>, Vec<Tag>> = BTreeMap::new();
        for (tag, (_, after)) in &self.inserted {
            behind.entry(*after).or_default().push(*tag);
        }
        // Depth first without recursion; the last pushed is the newest, and comes first.
        let mut order = Vec::new();
        let mut stack = behind.get(&None).cloned().unwrap_or_default();
        while let Some(tag) = stack.pop() {
            order.push(tag);
            stack.extend(behind.get(&Some(tag)).into_iter().flatten().copied());
        }
        order
    }

    pub fn visible(&self, fault: Option<Fault>) -> Vec<Tag> {
        let order = self.order(fault).into_iter();
        order.filter(|tag| !self.deleted.contains(tag)).collect()
    }
}

/// One of each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replica {
    pub grows: Counter,
    pub counter: PnCounter,
    pub set: OrSet,
    pub map: LwwMap,
    pub text: Text,
}

impl Replica {
    pub fn merge(&mut self, other: &Self, fault: Option<Fault>) {
        if fault == Some(Fault::MergeReplaces) {
            self.grows = other.grows.clone();
        }
        self.grows.merge(&other.grows);
        self.counter.merge(&other.counter);
        self.set.merge(&other.set, fault);
        self.map.merge(&other.map);
        self.text.merge(&other.text);
    }

    /// Equal in everything that a reader sees.
    pub fn looks_like(&self, other: &Self, fault: Option<Fault>) -> bool {
        self.grows == other.grows
            && self.counter == other.counter
            && self.set == other.set
            && self.map == other.map
            && self.text.visible(fault) == other.text.visible(fault)
    }

    /// A note of the owner's, newer than its last.
    pub fn put(&mut self, owner: u64, version: u64, key: u64) {
        let (key, value) = (format!("k{key}"), format!("v{version}"));
        self.map.merge_note(&Note {
            owner,
            generation: 1,
            version,
            key,
            value,
        });
    }
}
