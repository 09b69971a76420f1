//! The stories' language, as requests of the protocol.
//!
//! ```text
//! put KEY VALUE [lease=N] [prev_kv] [ignore_value] [ignore_lease]
//! get KEY [END] [rev=N] [limit=N] [order=asc|desc] [by=key|version|create|mod|value] [keys_only] [count_only] [min_mod=N] …
//! del KEY [END] [prev_kv]
//! txn [if COMPARE [, COMPARE]…] [then OP [; OP]…] [else OP [; OP]…]     an OP is put, get, del or ( txn … )
//! as USER|no one
//! auth enable|disable|status|login USER
//! user add NAME [no_password] | get NAME | list | delete NAME | passwd NAME | grant NAME ROLE | revoke NAME ROLE
//! role add NAME | get NAME | list | delete NAME | grant NAME read|write|readwrite KEY [END] | revoke NAME KEY [END]
//! alarm list|raise|disarm [none|nospace|corrupt] [MEMBER]
//! COMPARE: value(KEY[..END]) = VALUE; version, create, mod, lease likewise; = != < >
//! ```
//! A key or end of `\0` is one zero byte; `''` is empty.

use std::collections::BTreeMap;

use bytes::Bytes;
use coordinator::auth::Change;
use coordinator_wire::authpb::{Permission, UserAddOptions};
use coordinator_wire::coordinatorpb::Authenticated;
use coordinator_wire::etcdserverpb as pb;
use pb::compare::{CompareResult, CompareTarget, TargetUnion};

/// The words of a command: plain ones, and options as `NAME=VALUE` or `NAME`.
pub struct Words<'a> {
    plain: Vec<&'a str>,
    options: BTreeMap<&'a str, &'a str>,
}

const FLAGS: &[&str] = &[
    "prev_kv",
    "ignore_value",
    "ignore_lease",
    "keys_only",
    "count_only",
    "no_put",
    "no_delete",
    "progress",
    "fragment",
    "no_password",
];

impl<'a> Words<'a> {
    pub fn new(words: impl IntoIterator<Item = &'a str>) -> Self {
        let (mut plain, mut options) = (Vec::new(), BTreeMap::new());
        for word in words {
            match word.split_once('=') {
                Some((name, value)) => {
                    options.insert(name, value);
                }
                None if FLAGS.contains(&word) => {
                    options.insert(word, "");
                }
                None => plain.push(word),
            }
        }
        Self { plain, options }
    }

    pub fn bytes(&self, at: usize) -> Bytes {
        bytes(self.plain.get(at).copied().unwrap_or("''"))
    }

    pub fn word(&self, at: usize) -> String {
        match self.plain.get(at).copied().unwrap_or_default() {
            "''" => String::new(),
            word => word.to_owned(),
        }
    }

    pub fn flag(&self, name: &str) -> bool {
        self.options.contains_key(name)
    }

    pub fn number(&self, name: &str) -> i64 {
        self.options
            .get(name)
            .map_or(0, |value| value.parse().expect("a number"))
    }

    fn one_of(&self, name: &str, values: &[(&str, i32)]) -> i32 {
        let Some(value) = self.options.get(name) else { return 0 };
        values
            .iter()
            .find(|(known, _)| known == value)
            .map(|(_, number)| *number)
            .expect("a known option")
    }
}

fn bytes(word: &str) -> Bytes {
    match word {
        "''" => Bytes::new(),
        "\\0" => Bytes::from_static(b"\0"),
        word => Bytes::copy_from_slice(word.as_bytes()),
    }
}

pub fn put(words: &Words<'_>) -> pb::PutRequest {
    pb::PutRequest {
        key: words.bytes(0),
        value: words.bytes(1),
        lease: words.number("lease"),
        prev_kv: words.flag("prev_kv"),
        ignore_value: words.flag("ignore_value"),
        ignore_lease: words.flag("ignore_lease"),
    }
}

pub fn range(words: &Words<'_>) -> pb::RangeRequest {
    pb::RangeRequest {
        key: words.bytes(0),
        range_end: words.bytes(1),
        limit: words.number("limit"),
        revision: words.number("rev"),
        sort_order: words.one_of("order", &[("asc", 1), ("desc", 2), ("wrong", 7)]),
        sort_target: words.one_of(
            "by",
            &[("key", 0), ("version", 1), ("create", 2), ("mod", 3), ("value", 4)],
        ),
        keys_only: words.flag("keys_only"),
        count_only: words.flag("count_only"),
        min_mod_revision: words.number("min_mod"),
        max_mod_revision: words.number("max_mod"),
        min_create_revision: words.number("min_create"),
        max_create_revision: words.number("max_create"),
        serializable: false,
    }
}

pub fn delete(words: &Words<'_>) -> pb::DeleteRangeRequest {
    pb::DeleteRangeRequest {
        key: words.bytes(0),
        range_end: words.bytes(1),
        prev_kv: words.flag("prev_kv"),
    }
}

/// A request to users and roles; `None` for what is none.
pub fn change(noun: &str, words: &Words<'_>) -> Option<Change> {
    let name = words.word(1);
    let (key, range_end) = (words.bytes(3), words.bytes(4));
    Some(match (noun, words.word(0).as_str()) {
        ("auth", "enable") => Change::Enable(pb::AuthEnableRequest {}),
        ("auth", "disable") => Change::Disable(pb::AuthDisableRequest {}),
        ("auth", "status") => Change::Status(pb::AuthStatusRequest {}),
        ("auth", "login") => Change::Authenticated(Authenticated {
            name,
            token_prefix: "token".to_owned(),
        }),
        ("user", "add") => Change::UserAdd(pb::AuthUserAddRequest {
            name,
            options: Some(UserAddOptions {
                no_password: words.flag("no_password"),
            }),
            ..Default::default()
        }),
        ("user", "get") => Change::UserGet(pb::AuthUserGetRequest { name }),
        ("user", "list") => Change::UserList(pb::AuthUserListRequest {}),
        ("user", "delete") => Change::UserDelete(pb::AuthUserDeleteRequest { name }),
        ("user", "passwd") => Change::UserChangePassword(pb::AuthUserChangePasswordRequest {
            name,
            ..Default::default()
        }),
        ("user", "grant") => Change::UserGrantRole(pb::AuthUserGrantRoleRequest {
            user: name,
            role: words.word(2),
        }),
        ("user", "revoke") => Change::UserRevokeRole(pb::AuthUserRevokeRoleRequest {
            name,
            role: words.word(2),
        }),
        ("role", "add") => Change::RoleAdd(pb::AuthRoleAddRequest { name }),
        ("role", "get") => Change::RoleGet(pb::AuthRoleGetRequest { role: name }),
        ("role", "list") => Change::RoleList(pb::AuthRoleListRequest {}),
        ("role", "delete") => Change::RoleDelete(pb::AuthRoleDeleteRequest { role: name }),
        ("role", "grant") => {
            let rights = ["read", "write", "readwrite"];
            let right = rights.iter().position(|right| *right == words.word(2));
            let perm = right.map(|right| Permission {
                perm_type: i32::try_from(right).expect("one of three"),
                key,
                range_end,
            });
            Change::RoleGrantPermission(pb::AuthRoleGrantPermissionRequest { name, perm })
        }
        ("role", "revoke") => Change::RoleRevokePermission(pb::AuthRoleRevokePermissionRequest {
            role: name,
            key: words.bytes(2),
            range_end: words.bytes(3),
        }),
        _ => return None,
    })
}

/// What follows the word `txn`.
pub fn txn(text: &str) -> pb::TxnRequest {
    let spaced = text
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace(';', " ; ")
        .replace(',', " , ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut parser = TxnParser { words: &words, at: 0 };
    let txn = parser.txn();
    assert_eq!(parser.at, words.len(), "nothing is left of {text:?}");
    txn
}

struct TxnParser<'a> {
    words: &'a [&'a str],
    at: usize,
}

impl<'a> TxnParser<'a> {
    fn take(&mut self, word: &str) -> bool {
        let taken = self.words.get(self.at) == Some(&word);
        self.at += usize::from(taken);
        taken
    }

    fn next(&mut self) -> &'a str {
        self.at += 1;
        self.words[self.at - 1]
    }

    fn txn(&mut self) -> pb::TxnRequest {
        let mut txn = pb::TxnRequest::default();
        if self.take("if") {
            txn.compare.push(self.compare());
            while self.take(",") {
                txn.compare.push(self.compare());
            }
        }
        if self.take("then") {
            txn.success = self.ops();
        }
        if self.take("else") {
            txn.failure = self.ops();
        }
        txn
    }

    fn compare(&mut self) -> pb::Compare {
        let target = self.next();
        assert!(self.take("("), "a compare is TARGET(KEY)");
        let keys = self.next();
        assert!(self.take(")"), "a compare is TARGET(KEY)");
        let result = match self.next() {
            "=" => CompareResult::Equal,
            "!=" => CompareResult::NotEqual,
            "<" => CompareResult::Less,
            ">" => CompareResult::Greater,
            other => panic!("{other:?} compares nothing"),
        };
        let value = self.next();
        let number = || value.parse().expect("a number");
        let (target, union) = match target {
            "value" => (CompareTarget::Value, TargetUnion::Value(bytes(value))),
            "version" => (CompareTarget::Version, TargetUnion::Version(number())),
            "create" => (CompareTarget::Create, TargetUnion::CreateRevision(number())),
            "mod" => (CompareTarget::Mod, TargetUnion::ModRevision(number())),
            "lease" => (CompareTarget::Lease, TargetUnion::Lease(number())),
            other => panic!("{other:?} cannot be compared"),
        };
        let (key, end) = keys.split_once("..").unwrap_or((keys, "''"));
        pb::Compare {
            result: result.into(),
            target: target.into(),
            key: bytes(key),
            range_end: bytes(end),
            target_union: Some(union),
        }
    }

    fn ops(&mut self) -> Vec<pb::RequestOp> {
        use pb::request_op::Request;
        let mut ops = Vec::new();
        loop {
            let request = if self.take("(") {
                assert!(self.take("txn"), "only a txn is nested");
                let nested = self.txn();
                assert!(self.take(")"), "a nested txn ends with )");
                Request::RequestTxn(nested)
            } else {
                let verb = self.next();
                let from = self.at;
                while self
                    .words
                    .get(self.at)
                    .is_some_and(|word| !matches!(*word, ";" | ")" | "else"))
                {
                    self.at += 1;
                }
                let words = Words::new(self.words[from..self.at].iter().copied());
                match verb {
                    "put" => Request::RequestPut(put(&words)),
                    "get" => Request::RequestRange(range(&words)),
                    "del" => Request::RequestDeleteRange(delete(&words)),
                    other => panic!("{other:?} is no step of a txn"),
                }
            };
            ops.push(pb::RequestOp { request: Some(request) });
            if !self.take(";") {
                return ops;
            }
        }
    }
}

pub fn alarm(text: &str) -> pb::AlarmRequest {
    let mut words = text.split_whitespace();
    let action = match words.next() {
        Some("raise") => pb::alarm_request::AlarmAction::Activate,
        Some("disarm") => pb::alarm_request::AlarmAction::Deactivate,
        _ => pb::alarm_request::AlarmAction::Get,
    };
    let alarm = match words.next() {
        Some("nospace") => pb::AlarmType::Nospace,
        Some("corrupt") => pb::AlarmType::Corrupt,
        _ => pb::AlarmType::None,
    };
    pb::AlarmRequest {
        action: action.into(),
        member_id: words
            .next()
            .map_or(0, |member| member.parse().expect("a member's number")),
        alarm: alarm.into(),
    }
}
