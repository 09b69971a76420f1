//! The space that the store may take.
//!
//! A member that is asked to write more raises the alarm NOSPACE for itself through the log, and from then on every
//! member refuses what makes the store larger ([`crate::machine::Alarms`]) until an operator disarms it. What counts is
//! what the versions take, not the file's length: whatever compaction frees is free at once, defragmented or not.

use coordinator_wire::etcdserverpb as pb;
use pb::AlarmType;
use pb::alarm_request::AlarmAction;

use crate::Error;
use crate::auth;
use crate::machine::{Request, quota};
use crate::server::replica::node::Node;

/// What the store takes.
pub(in crate::server) fn used(node: &Node) -> u64 {
    let archived = u64::try_from(node.metrics.size_in_use()).unwrap_or(0);
    archived + node.tail_bytes() as u64
}

/// Refuses `request` where there is no room for it, and raises the alarm.
pub(in crate::server) async fn check(node: &Node, request: &Request) -> Result<(), Error> {
    let cost = quota::cost(request);
    if cost == 0 || used(node).saturating_add(cost) < node.limits.quota_bytes {
        return Ok(());
    }
    if !node.machine().alarms().stands(AlarmType::Nospace) {
        tracing::warn!(
            quota_bytes = node.limits.quota_bytes,
            "storage quota exceeded; raising the NOSPACE alarm"
        );
        let alarm = pb::AlarmRequest {
            action: AlarmAction::Activate.into(),
            member_id: node.identity.member,
            alarm: AlarmType::Nospace.into(),
        };
        node.propose(auth::root(), Request::Alarm(alarm)).await?;
    }
    Err(Error::NoSpace)
}
