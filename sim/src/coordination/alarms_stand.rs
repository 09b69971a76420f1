//! While NOSPACE stands nothing that makes the store larger is carried out, and what makes it smaller is; while CORRUPT
//! stands no key changes. An alarm stands from the entry that raises it to the one that disarms it, on every member, over
//! restarts and snapshots. Source: etcd's `applierV3Capped` and `applierV3Corrupt`. Reads do not come through them in etcd
//! either: both alarms let them pass.

use coordinator::Error;
use coordinator::machine::Request;
use coordinator_wire::etcdserverpb as pb;
use pb::AlarmType;
use pb::request_op::Request as Step;

use crate::invariant::{Check, Member, require};

/// Those that stand, by member and kind, in order.
pub type Standing = Vec<(u64, i32)>;

/// Why a request must be refused while these stand.
pub fn refusal(standing: &Standing, request: &Request) -> Option<Error> {
    let stands = |kind: AlarmType| standing.iter().any(|(_, raised)| *raised == i32::from(kind));
    let grows = match request {
        Request::Put(_) | Request::LeaseGrant(_) => true,
        Request::Txn(txn) => {
            let mut steps = txn.success.iter().chain(&txn.failure);
            steps.any(|step| matches!(step.request, Some(Step::RequestPut(_))))
        }
        _ => false,
    };
    let is_of_the_store = !matches!(request, Request::Auth(_) | Request::Alarm(_));
    match () {
        () if is_of_the_store && stands(AlarmType::Corrupt) => Some(Error::Corrupt),
        () if grows && stands(AlarmType::Nospace) => Some(Error::NoSpace),
        () => None,
    }
}

/// `member` has applied entry `index`. The alarms that stood before it want it refused for `wanted`, or not; `found` is why it
/// was. Behind it `standing` stand, and on this member `found_standing`.
pub fn alarms_stand(
    member: Member,
    index: u64,
    (wanted, found): (Option<&Error>, Option<&Error>),
    (standing, found_standing): (&Standing, &Standing),
) -> Check {
    let found = found.filter(|error| matches!(error, Error::Corrupt | Error::NoSpace));
    require(wanted == found, "alarms_stand", || {
        format!("member {member} refuses entry {index} for {found:?}; by the alarms that stand it is {wanted:?}")
    })?;
    require(standing == found_standing, "alarms_stand", || {
        format!("behind entry {index} the alarms {standing:?} stand, but on member {member} {found_standing:?}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_passes_and_an_alarm_that_is_forgotten_are_seen() {
        let space = vec![(2, i32::from(AlarmType::Nospace))];
        let (put, delete) = (
            Request::Put(Default::default()),
            Request::DeleteRange(Default::default()),
        );
        assert_eq!(refusal(&space, &put), Some(Error::NoSpace));
        assert_eq!(refusal(&space, &delete), None);
        let corrupt = vec![(1, i32::from(AlarmType::Corrupt))];
        assert_eq!(refusal(&corrupt, &delete), Some(Error::Corrupt));
        let (full, none) = (Error::NoSpace, Standing::new());
        assert!(alarms_stand(1, 9, (Some(&full), Some(&full)), (&space, &space)).is_ok());
        assert!(alarms_stand(1, 9, (Some(&full), None), (&space, &space)).is_err());
        assert!(alarms_stand(1, 9, (None, Some(&full)), (&space, &space)).is_err());
        assert!(alarms_stand(1, 9, (None, None), (&space, &none)).is_err());
    }
}
