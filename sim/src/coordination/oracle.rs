//! What the coordinator should have said: a machine so simple that it can be seen to be right.
//!
//! It is given the commands in the order in which they were committed, and keeps the whole state at every revision. The
//! revision in an answer names the state that the answer must be true of, so checking a history is replaying it: no
//! search. That revisions also keep to real time is checked in [`super::history`]. Users and roles are kept in
//! [`super::accounts`], as they were at every entry.

use std::collections::BTreeMap;

use bytes::Bytes;
use coordinator::Error;
use coordinator::auth::Caller;
use coordinator::machine::Request;
use coordinator_wire::coordinatorpb::AuthRequest;
use coordinator_wire::etcdserverpb as pb;
use coordinator_wire::mvccpb::KeyValue;
use pb::alarm_request::AlarmAction;
use pb::compare::TargetUnion;
use pb::request_op::Request as Step;

use super::accounts::Accounts;
use super::alarms_stand::{self, Standing, alarms_stand};
use super::machine::{Entry, Verdict};
use super::permissions_in_force::permissions_in_force;
use crate::invariant::{Check, Member, require};

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
    /// Users and roles as they are from these entries on; entries ascend.
    accounts: Vec<(u64, Accounts)>,
    pub alarms: Standing,
    /// What entry `index` must be answered with; filled in as they are given.
    expected: BTreeMap<u64, Expected>,
}

/// What matters of an answer.
#[derive(Debug, Clone)]
struct Expected {
    outcome: Decided,
    revision: i64,
    auth_revision: u64,
    alarms: Standing,
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Decided {
    /// Keys deleted, or 1 for a condition that held.
    Done(i64),
    /// Whatever it is.
    ByAlarm(Error),
    /// Anyone who asks.
    Forbidden(Error),
    /// Users and roles allow no such change.
    Unmanageable(Error),
    /// It makes no sense as things are.
    Refused,
}

impl Default for Oracle {
    fn default() -> Self {
        Self {
            states: vec![Pairs::new()],
            changes: vec![Vec::new()],
            compacted: 0,
            leases: BTreeMap::new(),
            index: 0,
            accounts: vec![(0, Accounts::default())],
            alarms: Standing::new(),
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

    /// Users and roles behind entry `index`.
    pub fn accounts(&self, index: u64) -> &Accounts {
        let behind = self.accounts.partition_point(|(from, _)| *from <= index);
        &self.accounts[behind - 1].1
    }

    /// Users and roles as they are now.
    pub fn accounts_now(&self) -> &Accounts {
        self.accounts(self.index)
    }

    /// The keys that hang on a lease.
    pub fn keys_of(&self, lease: i64) -> Vec<Bytes> {
        self.keys_at(self.revision(), lease)
    }

    /// The same as of a revision.
    pub fn keys_at(&self, revision: i64, lease: i64) -> Vec<Bytes> {
        let pairs = self.pairs(revision).into_iter().flatten();
        let attached = pairs.filter(|(_, kv)| lease != 0 && kv.lease == lease);
        attached.map(|(key, _)| key.clone()).collect()
    }

    /// Entry `index` was committed; `entry` is none where it holds no command.
    pub fn agreed(&mut self, index: u64, entry: Option<&Entry>) {
        debug_assert_eq!(index, self.index + 1, "entries come in order");
        self.index = index;
        let Some((entry, request)) = entry.and_then(|entry| Some((entry, entry.request.as_ref()?))) else {
            return;
        };
        let caller = entry.caller.clone().unwrap_or_default();
        let outcome = self.decide(index, &caller, request);
        let expected = Expected {
            outcome,
            revision: self.revision(),
            auth_revision: self.accounts_now().revision,
            alarms: self.alarms.clone(),
        };
        self.expected.insert(index, expected);
    }

    fn decide(&mut self, index: u64, caller: &Caller, request: &Request) -> Decided {
        if let Some(refusal) = alarms_stand::refusal(&self.alarms, request) {
            return Decided::ByAlarm(refusal);
        }
        let accounts = self.accounts_now();
        if let Err(forbidden) = accounts.may_apply(caller, request, &|lease| self.keys_of(lease)) {
            return Decided::Forbidden(forbidden);
        }
        match request {
            Request::Auth(AuthRequest { request: Some(change) }) => {
                let mut accounts = accounts.clone();
                let before = (accounts.revision, accounts.enabled);
                if let Err(refusal) = accounts.carry_out(index, caller, change) {
                    return Decided::Unmanageable(refusal);
                }
                if before != (accounts.revision, accounts.enabled) {
                    self.accounts.push((index, accounts));
                }
                Decided::Done(0)
            }
            Request::Alarm(request) => {
                self.alarm(request);
                Decided::Done(0)
            }
            _ => self.carry_out(request).map_or(Decided::Refused, Decided::Done),
        }
    }

    fn alarm(&mut self, request: &pb::AlarmRequest) {
        let one = (request.member_id, request.alarm);
        self.alarms
            .retain(|raised| *raised != one || request.action() == AlarmAction::Get);
        if request.action() == AlarmAction::Activate {
            self.alarms.push(one);
            self.alarms.sort_unstable();
        }
    }

    /// What a member makes of an entry.
    pub fn check(&self, member: Member, found: &Verdict) -> Check {
        let Some(expected) = self.expected.get(&found.index) else {
            return require(false, "revision_replay", || format!("{found:?} is of no entry"));
        };
        let by_alarm = match &expected.outcome {
            Decided::ByAlarm(error) => Some(error),
            _ => None,
        };
        let said = found.number.as_ref();
        let standing = (&expected.alarms, &found.alarms);
        alarms_stand(member, found.index, (by_alarm, said.err()), standing)?;
        if by_alarm.is_none() {
            let lawful = match &expected.outcome {
                Decided::Forbidden(error) | Decided::Unmanageable(error) => Some(error),
                _ => None,
            };
            permissions_in_force(member, found.index, lawful, said.err())?;
        }
        let agrees = match &expected.outcome {
            Decided::Done(number) => said == Ok(number),
            _ => said.is_err(),
        };
        let states = (expected.revision, expected.auth_revision) == (found.revision, found.auth_revision);
        require(agrees && states, "revision_replay", || {
            format!("member {member} makes {found:?} of an entry, not {expected:?}")
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
        let entry = |request| Entry {
            request: Some(request),
            ..Entry::default()
        };
        let mut oracle = Oracle::default();
        oracle.agreed(1, None);
        oracle.agreed(2, Some(&entry(put("a", "1"))));
        let verdict = |index, revision, number| Verdict {
            index,
            number: Ok(number),
            revision,
            auth_revision: 1,
            alarms: Standing::new(),
        };
        assert!(oracle.check(1, &verdict(2, 2, 0)).is_ok());
        let delete = Request::DeleteRange(pb::DeleteRangeRequest {
            key: "a".into(),
            ..Default::default()
        });
        oracle.agreed(3, Some(&entry(delete)));
        assert!(oracle.check(1, &verdict(3, 3, 1)).is_ok());
        assert!(oracle.check(1, &verdict(3, 3, 0)).is_err());
        assert!(oracle.check(1, &verdict(3, 2, 1)).is_err());
        assert!(oracle.check(1, &verdict(1, 2, 1)).is_err());
        let other_accounts = Verdict {
            auth_revision: 2,
            ..verdict(3, 3, 1)
        };
        assert!(oracle.check(1, &other_accounts).is_err());
        assert_eq!(oracle.pairs(2).map(BTreeMap::len), Some(1));
        assert_eq!(oracle.changes(3), [deleted(&"a".into())]);
    }
}
