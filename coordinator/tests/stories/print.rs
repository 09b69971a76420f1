//! Answers as text.

use coordinator::auth::AuthOutcome;
use coordinator::machine::Outcome;
use coordinator::watch::Answer;
use coordinator_wire::etcdserverpb as pb;
use coordinator_wire::mvccpb::KeyValue;
use pb::response_op::Response;

fn text(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        "''".to_owned()
    } else {
        String::from_utf8_lossy(bytes).replace('\0', "\\0")
    }
}

/// `KEY=VALUE c2 m3 v1 l7`: create revision, mod revision, version, and the lease if there is one.
fn pair(kv: &KeyValue) -> String {
    let lease = if kv.lease == 0 {
        String::new()
    } else {
        format!(" l{}", kv.lease)
    };
    let (created, modified, version) = (kv.create_revision, kv.mod_revision, kv.version);
    format!(
        "{}={} c{created} m{modified} v{version}{lease}",
        text(&kv.key),
        text(&kv.value)
    )
}

fn revision(header: &Option<pb::ResponseHeader>) -> i64 {
    header.as_ref().map_or(0, |header| header.revision)
}

pub fn range(response: &pb::RangeResponse) -> String {
    let more = if response.more { ", more" } else { "" };
    let mut lines = format!("r{} {} found{more}\n", revision(&response.header), response.count);
    for kv in &response.kvs {
        lines.push_str(&format!("  {}\n", pair(kv)));
    }
    lines
}

fn put(response: &pb::PutResponse) -> String {
    let before = response
        .prev_kv
        .as_ref()
        .map_or(String::new(), |kv| format!(", before {}", pair(kv)));
    format!("r{} put{before}\n", revision(&response.header))
}

fn delete(response: &pb::DeleteRangeResponse) -> String {
    let mut lines = format!("r{} {} deleted\n", revision(&response.header), response.deleted);
    for kv in &response.prev_kvs {
        lines.push_str(&format!("  before {}\n", pair(kv)));
    }
    lines
}

pub fn txn(response: &pb::TxnResponse) -> String {
    let way = if response.succeeded { "then" } else { "else" };
    let mut lines = format!("r{} {way}\n", revision(&response.header));
    for step in &response.responses {
        let step = match &step.response {
            Some(Response::ResponseRange(response)) => range(response),
            Some(Response::ResponsePut(response)) => put(response),
            Some(Response::ResponseDeleteRange(response)) => delete(response),
            Some(Response::ResponseTxn(response)) => txn(response),
            None => "nothing\n".to_owned(),
        };
        for line in step.lines() {
            lines.push_str(&format!("  {line}\n"));
        }
    }
    lines
}

pub fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Put(response) => put(response),
        Outcome::DeleteRange(response) => delete(response),
        Outcome::Txn(response) => txn(response),
        Outcome::Compaction(response) => format!("r{} compacted\n", revision(&response.header)),
        Outcome::LeaseGrant(response) => format!("lease {} for {} s\n", response.id, response.ttl),
        Outcome::LeaseRevoke(response) => format!("r{} revoked\n", revision(&response.header)),
        Outcome::Alarm(response) => {
            let alarms = response.alarms.iter();
            let alarms: Vec<_> = alarms
                .map(|alarm| format!("{:?} of {}", alarm.alarm(), alarm.member_id))
                .collect();
            format!("alarms [{}]\n", alarms.join(", "))
        }
        Outcome::Done => "done\n".to_owned(),
        Outcome::Auth(outcome) => auth(outcome),
    }
}

fn auth(outcome: &AuthOutcome) -> String {
    match outcome {
        AuthOutcome::Done => "done\n".to_owned(),
        AuthOutcome::Status { enabled, revision } => {
            let enabled = if *enabled { "on" } else { "off" };
            format!("authentication is {enabled} at r{revision}\n")
        }
        AuthOutcome::Authenticated { user, revision, token } => format!("{token} for {user} at r{revision}\n"),
        AuthOutcome::User { roles } => format!("roles [{}]\n", roles.join(" ")),
        AuthOutcome::Users(names) | AuthOutcome::Roles(names) => format!("[{}]\n", names.join(" ")),
        AuthOutcome::Role { permissions } if permissions.is_empty() => "nothing\n".to_owned(),
        AuthOutcome::Role { permissions } => permissions
            .iter()
            .map(|granted| {
                let right = format!("{:?}", granted.perm_type()).to_lowercase();
                format!("  {right} {} {}\n", text(&granted.key), text(&granted.range_end))
            })
            .collect(),
    }
}

pub fn answer(answer: &Answer) -> String {
    match answer {
        Answer::Created { id, revision } => format!("  watch {id}: created at r{revision}\n"),
        Answer::Refused { revision, reason } => format!("  watch refused at r{revision}: {reason}\n"),
        Answer::Cancelled { id, .. } => format!("  watch {id}: cancelled\n"),
        Answer::Compacted { id, compacted, .. } => format!("  watch {id}: cancelled, compacted at r{compacted}\n"),
        Answer::Progress { id, revision } => format!("  watch {id}: all told up to r{revision}\n"),
        Answer::Changes { id, changes, .. } => {
            let mut line = format!("  watch {id}:");
            for version in changes {
                let (main, sub) = (version.revision.main, version.revision.sub);
                let key = text(&version.kv.key);
                if version.deleted {
                    line.push_str(&format!(" {main}.{sub} del {key}"));
                } else {
                    line.push_str(&format!(" {main}.{sub} put {key}={}", text(&version.kv.value)));
                }
            }
            line.push('\n');
            line
        }
    }
}
