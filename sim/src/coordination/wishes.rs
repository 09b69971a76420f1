//! What ordinary clients want: to put, delete, compare, read, hold leases and compact.

use bytes::Bytes;
use coordinator::machine::Request;
use coordinator_wire::etcdserverpb as pb;
use pb::compare::{CompareResult, CompareTarget, TargetUnion};
use pb::request_op::Request as Step;

use super::edge::Asked;
use super::leases_never_early::LeasesNeverEarly;
use super::oracle::Oracle;
use crate::world::{Fault, Random, Tally};

const KEYS: u64 = 8;

/// What a client's wishes depend on.
pub struct Wishes<'a> {
    pub random: &'a mut Random,
    pub oracle: &'a Oracle,
    pub tally: &'a mut Tally,
    /// The lease that it holds.
    pub lease: &'a mut i64,
    pub next_lease: &'a mut i64,
    pub leases: &'a mut LeasesNeverEarly,
    /// The last that it saw.
    pub revision: i64,
}

impl Wishes<'_> {
    fn key(&mut self) -> Bytes {
        format!("k{}", self.random.below(KEYS)).into()
    }

    /// The next wish; a value that is put is number `value`.
    pub fn draw(&mut self, value: u64) -> Asked {
        let key = self.key();
        let value: Bytes = format!("v{value}").into();
        let lease = *self.lease;
        let put = |lease| pb::PutRequest {
            key: key.clone(),
            value: value.clone(),
            lease,
            ..Default::default()
        };
        match self.random.below(100) {
            0..25 => Asked::Write(Request::Put(put(0))),
            25..35 if lease != 0 => Asked::Write(Request::Put(put(lease))),
            35..45 => Asked::Write(Request::DeleteRange(pb::DeleteRangeRequest {
                range_end: match self.random.percent(20) {
                    true => "k9".into(),
                    false => Bytes::new(),
                },
                key,
                ..Default::default()
            })),
            45..60 => {
                // Half of them guess right.
                let known = self.oracle.pairs(self.oracle.revision());
                let known = known.and_then(|pairs| pairs.get(&key)).map_or(0, |kv| kv.mod_revision);
                let wanted = if self.random.percent(50) { known } else { self.revision };
                Asked::Write(Request::Txn(transaction(&put(0), wanted)))
            }
            60..65 => {
                *self.next_lease += 1;
                *self.lease = *self.next_lease;
                let ttl = self.random.between(2, 6) as i64;
                let id = *self.lease;
                Asked::Write(Request::LeaseGrant(pb::LeaseGrantRequest { id, ttl }))
            }
            65..78 if lease != 0 => Asked::KeepAlive(lease),
            78..80 if lease != 0 => {
                self.leases.given_up(lease);
                *self.lease = 0;
                Asked::Write(Request::LeaseRevoke(pb::LeaseRevokeRequest { id: lease }))
            }
            80..83 => {
                self.tally.count(Fault::Compaction);
                let revision = self.oracle.revision() - self.random.below(10) as i64;
                Asked::Write(Request::Compaction(pb::CompactionRequest {
                    revision,
                    physical: false,
                }))
            }
            n => self.read(n % 3 == 0),
        }
    }

    /// Of everything, more often than not: that shows most.
    fn read(&mut self, of_the_past: bool) -> Asked {
        let ago = if of_the_past { self.random.below(12) as i64 } else { 0 };
        let (key, range_end) = match self.random.below(10) {
            0 | 1 => (self.key(), Bytes::new()),
            2 | 3 => ("k0".into(), "k4".into()),
            _ => (Bytes::from_static(b"\0"), Bytes::from_static(b"\0")),
        };
        Asked::Read { key, range_end, ago }
    }
}

/// If the key was changed last at `wanted`, puts it; otherwise deletes it.
fn transaction(put: &pb::PutRequest, wanted: i64) -> pb::TxnRequest {
    let step = |request| pb::RequestOp { request: Some(request) };
    let delete = pb::DeleteRangeRequest {
        key: put.key.clone(),
        ..Default::default()
    };
    pb::TxnRequest {
        compare: vec![pb::Compare {
            result: CompareResult::Equal.into(),
            target: CompareTarget::Mod.into(),
            key: put.key.clone(),
            target_union: Some(TargetUnion::ModRevision(wanted)),
            ..Default::default()
        }],
        success: vec![step(Step::RequestPut(put.clone()))],
        failure: vec![step(Step::RequestDeleteRange(delete))],
    }
}
