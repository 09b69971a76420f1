//! Users, roles and permissions as they should be: a second, simpler account of them, for the oracle.
//!
//! It is given the same changes in the same order. Where the coordinator unites intervals and keeps the union per user, this
//! one counts single keys and the gaps between them, afresh for every question: there are ten keys, so a set of keys is a
//! number.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use coordinator::Error;
use coordinator::auth::{Caller, Change, ROOT};
use coordinator::machine::Request;
use coordinator_wire::authpb::permission::Type;
use coordinator_wire::etcdserverpb as pb;
use pb::alarm_request::AlarmAction;
use pb::request_op::Request as Step;

/// One bit for each key from `k0` to `k9`, and for each gap before, between and behind them.
type Keys = u32;

const GAPS_AND_KEYS: u32 = 21;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    Read,
    Write,
}

#[derive(Debug, Clone, Default)]
struct User {
    password: String,
    roles: BTreeSet<String>,
}

#[derive(Debug, Clone)]
struct Grant {
    key: Bytes,
    range_end: Bytes,
    kind: Type,
}

/// All there is to know about who may do what.
#[derive(Debug, Clone)]
pub struct Accounts {
    pub enabled: bool,
    pub revision: u64,
    users: BTreeMap<String, User>,
    roles: BTreeMap<String, Vec<Grant>>,
    /// The last entry that made all of a user's tokens void; under no name: everyone's.
    voided: BTreeMap<String, u64>,
}

impl Default for Accounts {
    fn default() -> Self {
        Self {
            enabled: false,
            revision: 1,
            users: BTreeMap::new(),
            roles: BTreeMap::new(),
            voided: BTreeMap::new(),
        }
    }
}

impl Accounts {
    pub fn password(&self, user: &str) -> Option<&str> {
        self.users.get(user).map(|user| user.password.as_str())
    }

    pub fn is_root(&self, user: &str) -> bool {
        self.users.get(user).is_some_and(|user| user.roles.contains(ROOT))
    }

    /// Whether a user's token that entry `given` made is good no more.
    pub fn is_void(&self, user: &str, given: u64) -> bool {
        [user, ""]
            .iter()
            .any(|name| self.voided.get(*name).is_some_and(|at| *at > given))
    }

    /// Entry `index` changes something, or is refused.
    pub fn carry_out(&mut self, index: u64, caller: &Caller, change: &Change) -> Result<(), Error> {
        if let Change::Authenticated(request) = change {
            return match self.users.contains_key(&request.name) {
                _ if !self.enabled => Err(Error::AuthNotEnabled),
                true => Ok(()),
                false => Err(Error::AuthFailed),
            };
        }
        self.may_manage(caller)?;
        match change {
            Change::Enable(_) => return self.enable(),
            Change::Disable(_) if !self.enabled => return Ok(()),
            Change::Disable(_) => {
                self.enabled = false;
                self.voided.insert(String::new(), index);
            }
            Change::UserAdd(request) if self.users.contains_key(&request.name) => return Err(Error::UserExists),
            Change::UserAdd(request) => {
                let user = User {
                    password: request.hashed_password.clone(),
                    roles: BTreeSet::new(),
                };
                self.users.insert(request.name.clone(), user);
            }
            Change::UserDelete(request) if self.enabled && request.name == ROOT => {
                return Err(Error::InvalidAuthManagement);
            }
            Change::UserDelete(request) => {
                self.users.remove(&request.name).ok_or(Error::UserNotFound)?;
                self.voided.insert(request.name.clone(), index);
            }
            Change::UserChangePassword(request) => {
                self.user(&request.name)?.password = request.hashed_password.clone();
                self.voided.insert(request.name.clone(), index);
            }
            other => {
                if !self.change_roles(other)? {
                    return Ok(());
                }
            }
        }
        self.revision += 1;
        Ok(())
    }

    /// Whether something is different now.
    fn change_roles(&mut self, change: &Change) -> Result<bool, Error> {
        match change {
            Change::UserGrantRole(request) => {
                let exists = request.role == ROOT || self.roles.contains_key(&request.role);
                let user = self.user(&request.user)?;
                return match exists {
                    true => Ok(user.roles.insert(request.role.clone())),
                    false => Err(Error::RoleNotFound),
                };
            }
            Change::UserRevokeRole(request) => {
                if self.enabled && request.name == ROOT && request.role == ROOT {
                    return Err(Error::InvalidAuthManagement);
                }
                if !self.user(&request.name)?.roles.remove(&request.role) {
                    return Err(Error::RoleNotGranted);
                }
            }
            Change::RoleAdd(request) if self.roles.contains_key(&request.name) => return Err(Error::RoleExists),
            Change::RoleAdd(request) => {
                self.roles.insert(request.name.clone(), Vec::new());
            }
            Change::RoleDelete(request) => {
                self.roles.remove(&request.role).ok_or(Error::RoleNotFound)?;
                for user in self.users.values_mut() {
                    user.roles.remove(&request.role);
                }
            }
            Change::RoleGrantPermission(request) => {
                let role = self.roles.get_mut(&request.name).ok_or(Error::RoleNotFound)?;
                let granted = request.perm.clone().unwrap_or_default();
                role.retain(|grant| grant.key != granted.key || grant.range_end != granted.range_end);
                role.push(Grant {
                    kind: granted.perm_type(),
                    key: granted.key,
                    range_end: granted.range_end,
                });
            }
            Change::RoleRevokePermission(request) => {
                let role = self.roles.get_mut(&request.role).ok_or(Error::RoleNotFound)?;
                let before = role.len();
                role.retain(|grant| grant.key != request.key || grant.range_end != request.range_end);
                if role.len() == before {
                    return Err(Error::PermissionNotGranted);
                }
            }
            // No one here asks.
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn user(&mut self, name: &str) -> Result<&mut User, Error> {
        self.users.get_mut(name).ok_or(Error::UserNotFound)
    }

    fn enable(&mut self) -> Result<(), Error> {
        let root = self.users.get(ROOT).ok_or(Error::RootUserNotExist)?;
        if !root.roles.contains(ROOT) {
            return Err(Error::RootRoleNotExist);
        }
        self.enabled = true;
        Ok(())
    }

    fn may_manage(&self, caller: &Caller) -> Result<(), Error> {
        match self.users.get(&caller.user) {
            _ if !self.enabled => Ok(()),
            _ if caller.user.is_empty() => Err(Error::UserEmpty),
            None => Err(Error::UserNotFound),
            Some(user) if user.roles.contains(ROOT) => Ok(()),
            Some(_) => Err(Error::PermissionDenied),
        }
    }

    /// Whether someone may read or write all of a range.
    pub fn may(&self, caller: &Caller, right: Right, key: &Bytes, range_end: &Bytes) -> Result<(), Error> {
        let is_the_server = caller.user == ROOT && caller.auth_revision == 0;
        if !self.enabled || is_the_server {
            return Ok(());
        }
        if caller.auth_revision == 0 {
            return Err(Error::UserEmpty);
        }
        if caller.auth_revision < self.revision {
            return Err(Error::AuthOldRevision);
        }
        let asked = keys(key, range_end);
        let allowed = self.is_root(&caller.user) || (asked != 0 && asked & !self.granted(&caller.user, right) == 0);
        if allowed { Ok(()) } else { Err(Error::PermissionDenied) }
    }

    fn granted(&self, user: &str, right: Right) -> Keys {
        let roles = self.users.get(user).into_iter().flat_map(|user| &user.roles);
        let grants = roles.filter_map(|role| self.roles.get(role)).flatten();
        grants
            .filter(|grant| match grant.kind {
                Type::Read => right == Right::Read,
                Type::Write => right == Right::Write,
                Type::Readwrite => true,
            })
            .fold(0, |all, grant| all | keys(&grant.key, &grant.range_end))
    }

    /// Whether someone may end or renew a lease with these keys, or hang another on it.
    pub fn may_write_lease(&self, caller: &Caller, on_lease: &[Bytes]) -> Result<(), Error> {
        if self.may_manage(caller).is_ok() {
            return Ok(());
        }
        let one = Bytes::new();
        on_lease
            .iter()
            .try_for_each(|key| self.may(caller, Right::Write, key, &one))
    }

    pub fn is_somebody(&self, caller: &Caller) -> Result<(), Error> {
        if self.enabled && caller.user.is_empty() && caller.auth_revision == 0 {
            return Err(Error::UserEmpty);
        }
        Ok(())
    }

    /// Whether the entry of `caller` may be carried out; `on_lease` has the keys of a lease.
    pub fn may_apply(
        &self,
        caller: &Caller,
        request: &Request,
        on_lease: &dyn Fn(i64) -> Vec<Bytes>,
    ) -> Result<(), Error> {
        let one = Bytes::new();
        let put = |put: &pb::PutRequest| {
            self.may(caller, Right::Write, &put.key, &one)?;
            self.may_write_lease(caller, &on_lease(put.lease))
        };
        let delete = |delete: &pb::DeleteRangeRequest| self.may(caller, Right::Write, &delete.key, &delete.range_end);
        match request {
            Request::Put(request) => put(request),
            Request::DeleteRange(request) => delete(request),
            Request::Txn(txn) => {
                for compare in &txn.compare {
                    self.may(caller, Right::Read, &compare.key, &one)?;
                }
                let steps = txn.success.iter().chain(&txn.failure);
                steps
                    .filter_map(|step| step.request.as_ref())
                    .try_for_each(|step| match step {
                        Step::RequestPut(request) => put(request),
                        Step::RequestDeleteRange(request) => delete(request),
                        _ => Ok(()),
                    })
            }
            Request::LeaseGrant(_) => self.is_somebody(caller),
            Request::LeaseRevoke(request) => {
                self.is_somebody(caller)?;
                self.may_write_lease(caller, &on_lease(request.id))
            }
            Request::Alarm(request) if request.action() == AlarmAction::Get => self.is_somebody(caller),
            Request::Compaction(_) | Request::Alarm(_) => self.may_manage(caller),
            _ => Ok(()),
        }
    }
}

/// The keys of a range; those are asked for that clients here use.
fn keys(key: &Bytes, range_end: &Bytes) -> Keys {
    let first = place(key);
    let behind = match range_end.as_ref() {
        [] => first + 1,
        b"\0" => GAPS_AND_KEYS,
        _ => place(range_end),
    };
    let below = |place: u32| (1 << place) - 1;
    below(behind) & !below(first)
}

/// The gap before `k0` is the first.
fn place(key: &Bytes) -> u32 {
    match key.as_ref() {
        b"\0" => 0,
        [b'k', digit @ b'0'..=b'9'] => u32::from(digit - b'0') * 2 + 1,
        other => panic!("no client here names the key {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use coordinator_wire::authpb::Permission;

    use super::*;

    #[test]
    fn a_permission_on_a_key_is_none_on_the_gap_behind_it() {
        let mut accounts = Accounts::default();
        let root = Caller::default();
        let mut change = |change| accounts.carry_out(1, &root, &change).expect("it is allowed");
        for name in [ROOT, "ann"] {
            change(Change::UserAdd(pb::AuthUserAddRequest {
                name: name.to_owned(),
                ..Default::default()
            }));
        }
        change(Change::RoleAdd(pb::AuthRoleAddRequest { name: "r".to_owned() }));
        for (user, role) in [(ROOT, ROOT), ("ann", "r")] {
            change(Change::UserGrantRole(pb::AuthUserGrantRoleRequest {
                user: user.to_owned(),
                role: role.to_owned(),
            }));
        }
        for (key, range_end) in [("k1", "k3"), ("k3", "")] {
            change(Change::RoleGrantPermission(pb::AuthRoleGrantPermissionRequest {
                name: "r".to_owned(),
                perm: Some(Permission {
                    perm_type: Type::Write.into(),
                    key: key.into(),
                    range_end: range_end.into(),
                }),
            }));
        }
        change(Change::Enable(pb::AuthEnableRequest {}));
        let ann = Caller {
            user: "ann".to_owned(),
            auth_revision: accounts.revision,
        };
        let may = |right, key: &'static str, end: &'static str| accounts.may(&ann, right, &key.into(), &end.into());
        assert_eq!(may(Right::Write, "k1", "k3"), Ok(()));
        assert_eq!(may(Right::Write, "k3", ""), Ok(()));
        for (key, end) in [("k1", "k4"), ("k0", "k2"), ("k1", "\0"), ("k3", "k1")] {
            assert_eq!(may(Right::Write, key, end), Err(Error::PermissionDenied), "{key} {end}");
        }
        assert_eq!(may(Right::Read, "k1", ""), Err(Error::PermissionDenied));
        let stale = Caller {
            auth_revision: ann.auth_revision - 1,
            ..ann.clone()
        };
        let refused = accounts.may(&stale, Right::Write, &"k1".into(), &Bytes::new());
        assert_eq!(refused, Err(Error::AuthOldRevision));
    }
}
