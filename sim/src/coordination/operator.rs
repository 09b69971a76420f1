//! Operators: they manage users, roles and permissions, and look after alarms.
//!
//! They want a world in which someone may do something: while something is missing they mostly add it, else they take away
//! as often as they give. No one tells them what the others do, so they get in each other's way.

use bytes::Bytes;
use coordinator::auth::{AuthRequest, Change, ROOT};
use coordinator::machine::Request;
use coordinator_wire::authpb::{Permission, permission::Type};
use coordinator_wire::etcdserverpb as pb;
use pb::AlarmType;
use pb::alarm_request::AlarmAction;

use super::oracle::Oracle;
use crate::world::{Fault, Random, Tally};

pub const USERS: u64 = 3;
const ROLES: u64 = 3;
const RANGES: [(&str, &str); 6] = [
    ("k0", "k9"),
    ("k0", "k4"),
    ("k3", "k9"),
    ("k5", ""),
    ("\0", "\0"),
    ("k4", "k6"),
];

/// What operators of a world look after.
#[derive(Debug, Clone, Copy)]
pub struct Duties {
    pub accounts: bool,
    pub alarms: bool,
}

/// The name of user number `n`.
pub fn user(n: u64) -> String {
    format!("u{}", n % USERS)
}

/// A password: four letters.
pub fn password(n: u64) -> String {
    let letter = |place: u32| char::from(b'A' + (n / 26_u64.pow(place) % 26) as u8);
    (0..4).rev().map(letter).collect()
}

impl Duties {
    pub fn draw(random: &mut Random) -> Self {
        Self {
            accounts: random.percent(50),
            alarms: random.percent(50),
        }
    }

    /// What an operator asks for, if it finds something to do.
    pub fn wish(self, random: &mut Random, oracle: &Oracle, members: usize, tally: &mut Tally) -> Option<Request> {
        if self.alarms && random.percent(if oracle.alarms.is_empty() { 3 } else { 60 }) {
            return Some(alarm(random, oracle, members, tally));
        }
        let patience = if oracle.accounts_now().enabled { 50 } else { 10 };
        if !self.accounts || random.percent(patience) {
            return None;
        }
        tally.count(Fault::AccountChange);
        let change = founding(random, oracle).unwrap_or_else(|| change(random));
        Some(Request::Auth(AuthRequest { request: Some(change) }))
    }
}

/// CORRUPT comes out of the blue; what stands is disarmed, for NOSPACE after room was made.
fn alarm(random: &mut Random, oracle: &Oracle, members: usize, tally: &mut Tally) -> Request {
    let stands = random.pick(&oracle.alarms).copied();
    let is_space = stands.is_some_and(|(_, kind)| kind == i32::from(AlarmType::Nospace));
    match (stands, random.below(3)) {
        (Some(_), 0) if is_space => Request::Compaction(pb::CompactionRequest {
            revision: oracle.revision(),
            physical: false,
        }),
        (Some(_), 1) if is_space => Request::DeleteRange(pb::DeleteRangeRequest {
            key: "k0".into(),
            range_end: "k9".into(),
            ..Default::default()
        }),
        (Some((member_id, alarm)), _) => Request::Alarm(pb::AlarmRequest {
            action: AlarmAction::Deactivate.into(),
            member_id,
            alarm,
        }),
        (None, _) => {
            tally.count(Fault::Alarm);
            Request::Alarm(pb::AlarmRequest {
                action: AlarmAction::Activate.into(),
                member_id: random.below(members as u64) + 1,
                alarm: AlarmType::Corrupt.into(),
            })
        }
    }
}

/// What is missing for authentication to be on, and for users to be able to do something.
fn founding(random: &mut Random, oracle: &Oracle) -> Option<Change> {
    let accounts = oracle.accounts_now();
    if random.percent(30) {
        return None;
    }
    if accounts.password(ROOT).is_none() {
        return Some(add_user(ROOT.to_owned(), random));
    }
    if !accounts.is_root(ROOT) {
        return Some(grant_role(ROOT.to_owned(), ROOT.to_owned()));
    }
    if !accounts.enabled {
        return random.percent(60).then(|| Change::Enable(pb::AuthEnableRequest {}));
    }
    None
}

fn role(random: &mut Random) -> String {
    format!("r{}", random.below(ROLES))
}

fn add_user(name: String, random: &mut Random) -> Change {
    Change::UserAdd(pb::AuthUserAddRequest {
        name,
        hashed_password: password(random.below(1_000)),
        ..Default::default()
    })
}

fn grant_role(user: String, role: String) -> Change {
    Change::UserGrantRole(pb::AuthUserGrantRoleRequest { user, role })
}

fn change(random: &mut Random) -> Change {
    let user = user(random.below(USERS));
    let role = role(random);
    let (key, range_end) = *random.pick(&RANGES).unwrap_or(&RANGES[0]);
    let (key, range_end) = (
        Bytes::from_static(key.as_bytes()),
        Bytes::from_static(range_end.as_bytes()),
    );
    match random.below(100) {
        0..12 => add_user(user, random),
        12..16 => Change::UserDelete(pb::AuthUserDeleteRequest { name: user }),
        16..26 => Change::UserChangePassword(pb::AuthUserChangePasswordRequest {
            name: if random.percent(10) { ROOT.to_owned() } else { user },
            hashed_password: password(random.below(1_000)),
            ..Default::default()
        }),
        26..46 => grant_role(user, if random.percent(5) { ROOT.to_owned() } else { role }),
        46..54 => Change::UserRevokeRole(pb::AuthUserRevokeRoleRequest {
            role: if random.percent(20) { ROOT.to_owned() } else { role },
            name: user,
        }),
        54..62 => Change::RoleAdd(pb::AuthRoleAddRequest { name: role }),
        62..65 => Change::RoleDelete(pb::AuthRoleDeleteRequest { role }),
        65..85 => Change::RoleGrantPermission(pb::AuthRoleGrantPermissionRequest {
            name: role,
            perm: Some(Permission {
                perm_type: random
                    .pick(&[Type::Readwrite, Type::Readwrite, Type::Write, Type::Read])
                    .map_or(0, |kind| (*kind).into()),
                key,
                range_end,
            }),
        }),
        85..97 => Change::RoleRevokePermission(pb::AuthRoleRevokePermissionRequest { role, key, range_end }),
        97..98 => Change::Disable(pb::AuthDisableRequest {}),
        _ => Change::Enable(pb::AuthEnableRequest {}),
    }
}
