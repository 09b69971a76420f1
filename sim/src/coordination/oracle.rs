//! What the coordinator should have said: a machine so simple that it can be seen to be right.
//!
//! It is given the commands in the order in which they were agreed upon, and keeps the whole state at every revision. The
//! revision in an answer names the state that the answer must be true of, so checking a history is replaying it: no
//! search. That revisions also keep to real time is checked in [`super::history`].

use std::collections::BTreeMap;

use bytes::Bytes;
use coordinator::machine::{Outcome, Request};
use coordinator_wire::etcdserverpb as pb;
use coordinator_wire::mvccpb::KeyValue;
use pb::compare::TargetUnion;
use pb::request_op::Request as Step;

use super::machine::Answered;
use crate::invariant::{Check, require};

pub type Pairs = BTreeMap<Bytes, KeyValue>;

/// One change as watchers are told of it; no value where the key was deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub key: Bytes,
    pub value: Option<Bytes>,
    pub version: i64,
    pub lease: i64,
}

/// All states so far.
#[derive(Debug)]
pub struct Oracle {
    /// Revision 1 is the first: the empty store. By revision minus one.
    states: Vec<Pairs>,
    changes: Vec<Vec<Change>>,
    pub compacted: i64,
    leases: BTreeMap<i64, i64>,
    /// The last entry that it was given.
    pub index: u64,
    /// What entry `index` must be answered with; filled in as they are given.
    expected: BTreeMap<u64, Expected>,
}

/// What matters of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Expected {
    revision: i64,
    refused: bool,
    /// Keys deleted, or 1 for a condition that held.
    number: i64,
}

impl Default for Oracle {
    fn default() -> Self {
        Self {
            states: vec![Pairs::new()],
            changes: vec![Vec::new()],
            compacted: 0,
            leases: BTreeMap::new(),
            index: 0,
            expected: BTreeMap::new(),
        }
    }
}

impl Oracle {
    pub fn revision(&self) -> i64 {
        self.states.len() as i64
    }

    pub fn pairs(&self, revision: i64) -> Option<&Pairs> {
        self.states.get(usize::try_from(revision - 1).ok()?)
    }

    pub fn changes(&self, revision: i64) -> &[Change] {
        let at = usize::try_from(revision - 1).unwrap_or(usize::MAX);
        self.changes.get(at).map_or(&[], Vec::as_slice)
    }

    pub fn lease_exists(&self, id: i64) -> bool {
        self.leases.contains_key(&id)
    }

    /// Entry `index` was agreed upon; `request` is none where it holds no command.
    pub fn agreed(&mut self, index: u64, request: Option<&Request>) {
        debug_assert_eq!(index, self.index + 1, "entries come in order");
        self.index = index;
        let Some(request) = request else { return };
        let outcome = self.carry_out(request);
        let expected = Expected {
            revision: self.revision(),
            refused: outcome.is_none(),
            number: outcome.unwrap_or_default(),
        };
        self.expected.insert(index, expected);
    }

    /// A member answers entry `index`.
    pub fn check(&self, index: u64, answered: &Answered) -> Check {
        let number = match &answered.outcome {
            Ok(Outcome::DeleteRange(response)) => response.deleted,
            Ok(Outcome::Txn(response)) => i64::from(response.succeeded),
            _ => 0,
        };
        let found = Expected {
            revision: answered.revision,
            refused: answered.outcome.is_err(),
            number,
        };
        require(self.expected.get(&index) == Some(&found), "revision_replay", || {
            format!(
                "entry {index} is answered {found:?} ({:?}), not {:?}",
                answered.outcome,
                self.expected.get(&index)
            )
        })
    }

    /// Carries a request out: a number, or none where it is refused.
    fn carry_out(&mut self, request: &Request) -> Option<i64> {
        let mut pairs = self.states.last().cloned().unwrap_or_default();
        let mut changes = Vec::new();
        let revision = self.revision() + 1;
        let number = match request {
            Request::Put(put) => {
                self.put(&mut pairs, &mut changes, put, revision)?;
                0
            }
            Request::DeleteRange(delete) => remove(&mut pairs, &mut changes, delete),
            Request::Txn(txn) => {
                let holds = txn.compare.iter().all(|compare| condition(&pairs, compare));
                let steps = if holds { &txn.success } else { &txn.failure };
                for step in steps {
                    match &step.request {
                        Some(Step::RequestPut(put)) => self.put(&mut pairs, &mut changes, put, revision)?,
                        Some(Step::RequestDeleteRange(delete)) => {
                            remove(&mut pairs, &mut changes, delete);
                        }
                        _ => {}
                    }
                }
                i64::from(holds)
            }
            Request::Compaction(compaction) => {
                let possible = compaction.revision > self.compacted && compaction.revision <= self.revision();
                if !possible {
                    return None;
                }
                self.compacted = compaction.revision;
                0
            }
            Request::LeaseGrant(grant) => {
                if self.leases.contains_key(&grant.id) {
                    return None;
                }
                self.leases.insert(grant.id, grant.ttl);
                0
            }
            Request::LeaseRevoke(revoke) => {
                self.leases.remove(&revoke.id)?;
                let keys: Vec<Bytes> = pairs
                    .iter()
                    .filter(|(_, kv)| kv.lease == revoke.id)
                    .map(|(key, _)| key.clone())
                    .collect();
                for key in keys {
                    pairs.remove(&key);
                    changes.push(deleted(&key));
                }
                0
            }
            _ => return None,
        };
        if !changes.is_empty() {
            self.states.push(pairs);
            self.changes.push(changes);
        }
        Some(number)
    }

    fn put(&self, pairs: &mut Pairs, changes: &mut Vec<Change>, put: &pb::PutRequest, revision: i64) -> Option<()> {
        if put.lease != 0 && !self.leases.contains_key(&put.lease) {
            return None;
        }
        let before = pairs.get(&put.key);
        let kv = KeyValue {
            key: put.key.clone(),
            value: put.value.clone(),
            create_revision: before.map_or(revision, |before| before.create_revision),
            mod_revision: revision,
            version: before.map_or(0, |before| before.version) + 1,
            lease: put.lease,
        };
        changes.push(Change {
            key: kv.key.clone(),
            value: Some(kv.value.clone()),
            version: kv.version,
            lease: kv.lease,
        });
        pairs.insert(put.key.clone(), kv);
        Some(())
    }
}

fn deleted(key: &Bytes) -> Change {
    Change {
        key: key.clone(),
        value: None,
        version: 0,
        lease: 0,
    }
}

fn remove(pairs: &mut Pairs, changes: &mut Vec<Change>, delete: &pb::DeleteRangeRequest) -> i64 {
    let keys: Vec<Bytes> = pairs
        .keys()
        .filter(|key| match delete.range_end.is_empty() {
            true => **key == delete.key,
            false => **key >= delete.key && **key < delete.range_end,
        })
        .cloned()
        .collect();
    for key in &keys {
        pairs.remove(key);
        changes.push(deleted(key));
    }
    keys.len() as i64
}

/// Clients here compare a single key's mod revision for equality, nothing else.
fn condition(pairs: &Pairs, compare: &pb::Compare) -> bool {
    let found = pairs.get(&compare.key).map_or(0, |kv| kv.mod_revision);
    matches!(compare.target_union, Some(TargetUnion::ModRevision(wanted)) if wanted == found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &'static str, value: &'static str) -> Request {
        Request::Put(pb::PutRequest {
            key: key.into(),
            value: value.into(),
            ..Default::default()
        })
    }

    #[test]
    fn a_wrong_revision_and_a_wrong_number_are_seen() {
        let mut oracle = Oracle::default();
        oracle.agreed(1, None);
        oracle.agreed(2, Some(&put("a", "1")));
        let answered = |revision, deleted| Answered {
            outcome: Ok(Outcome::DeleteRange(pb::DeleteRangeResponse {
                deleted,
                ..Default::default()
            })),
            revision,
        };
        let put_answer = Answered {
            outcome: Ok(Outcome::Put(pb::PutResponse::default())),
            revision: 2,
        };
        assert!(oracle.check(2, &put_answer).is_ok());
        oracle.agreed(
            3,
            Some(&Request::DeleteRange(pb::DeleteRangeRequest {
                key: "a".into(),
                ..Default::default()
            })),
        );
        assert!(oracle.check(3, &answered(3, 1)).is_ok());
        assert!(oracle.check(3, &answered(3, 0)).is_err());
        assert!(oracle.check(3, &answered(2, 1)).is_err());
        assert_eq!(oracle.pairs(2).map(BTreeMap::len), Some(1));
        assert_eq!(oracle.changes(3), [deleted(&"a".into())]);
    }
}
