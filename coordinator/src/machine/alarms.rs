//! Alarms: what keeps the cluster from taking writes until an operator has looked at it.
//!
//! An alarm is of one member and one kind. It is raised and disarmed by entries of the log, so all members agree, and it
//! outlives a restart. NOSPACE refuses whatever makes the store larger; reads, deletions and compaction go on, since they
//! are the way out. CORRUPT refuses every change.

use std::collections::BTreeSet;

use coordinator_wire::etcdserverpb as pb;
use pb::AlarmType;
use pb::alarm_request::AlarmAction;

use super::{Request, quota};
use crate::Error;
use crate::plant::{Plant, is_planted};

/// The alarms that stand.
#[derive(Debug, Clone, Default)]
pub struct Alarms {
    /// By member and kind.
    standing: BTreeSet<(u64, i32)>,
    changed: bool,
}

impl Alarms {
    /// Alarms read from disk.
    pub fn restore(standing: impl IntoIterator<Item = (u64, i32)>) -> Self {
        Self {
            standing: standing.into_iter().collect(),
            changed: false,
        }
    }

    /// All that stand, by member and kind.
    pub fn iter(&self) -> impl Iterator<Item = (u64, i32)> {
        self.standing.iter().copied()
    }

    /// Those of one kind, or all (`None` of etcd's kinds), as etcd shows them.
    pub fn list(&self, kind: AlarmType) -> Vec<pb::AlarmMember> {
        self.iter()
            .filter(|(_, alarm)| kind == AlarmType::None || *alarm == i32::from(kind))
            .map(|(member_id, alarm)| pb::AlarmMember { member_id, alarm })
            .collect()
    }

    /// Whether some member has raised `kind`.
    pub fn stands(&self, kind: AlarmType) -> bool {
        self.standing.iter().any(|(_, alarm)| *alarm == i32::from(kind))
    }

    /// Carries out a request; what it says is what was raised, was disarmed, or was asked for.
    pub(super) fn apply(&mut self, request: &pb::AlarmRequest) -> Vec<pb::AlarmMember> {
        let (member_id, alarm) = (request.member_id, request.alarm);
        let one = vec![pb::AlarmMember { member_id, alarm }];
        match request.action() {
            AlarmAction::Get => self.list(request.alarm()),
            AlarmAction::Activate if request.alarm() == AlarmType::None => Vec::new(),
            AlarmAction::Activate => {
                self.changed |= self.standing.insert((member_id, alarm));
                one
            }
            AlarmAction::Deactivate if self.standing.remove(&(member_id, alarm)) => {
                self.changed |= !is_planted(Plant::DisarmedInMemoryOnly);
                one
            }
            AlarmAction::Deactivate => Vec::new(),
        }
    }

    /// Why a request may not be carried out now.
    pub(super) fn refusal(&self, request: &Request) -> Option<Error> {
        if self.standing.is_empty() {
            return None;
        }
        let changes_keys = matches!(
            request,
            Request::Put(_)
                | Request::DeleteRange(_)
                | Request::Txn(_)
                | Request::Compaction(_)
                | Request::LeaseGrant(_)
                | Request::LeaseRevoke(_)
        );
        if changes_keys && self.stands(AlarmType::Corrupt) {
            return Some(Error::Corrupt);
        }
        (quota::cost(request) > 0 && self.stands(AlarmType::Nospace)).then_some(Error::NoSpace)
    }

    /// All that stand, if that has changed since the last call.
    pub(super) fn take_changed(&mut self) -> Option<Vec<(u64, i32)>> {
        std::mem::take(&mut self.changed).then(|| self.iter().collect())
    }
}
