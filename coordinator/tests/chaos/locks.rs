//! Locks under faults. A lock alone proves nothing: its holder may be paused beyond its lease. So every write of a holder
//! says which lock it was made under and is made only if that is still there, and the history tells whether two ever had
//! it at once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use coordinator_wire::{etcdserverpb as pb, v3lockpb};
use pb::compare::{CompareResult, CompareTarget, TargetUnion};
use pb::kv_client::KvClient;
use pb::lease_client::LeaseClient;
use pb::request_op::Request;
use tokio::time::{sleep, timeout};
use tonic::transport::Channel;
use v3lockpb::lock_client::LockClient;

use crate::clients::channel;
use crate::verdict::Told;

const CONTENDERS: usize = 3;
const LOCK: &str = "lock";
/// Written by holders only, with the lock's key as its value.
const GUARDED: &str = "guarded";
const TTL_SECONDS: i64 = 2;
const TIMEOUT: Duration = Duration::from_millis(1_500);
/// A contender waits for a lock as long as others may hold it.
const LOCK_TIMEOUT: Duration = Duration::from_secs(8);

/// Contends for one lock until the time is over; returns how often it was held.
pub async fn run(endpoints: Vec<String>, length: Duration) -> u64 {
    let end = Instant::now() + length;
    let contenders: Vec<_> = (0..CONTENDERS)
        .map(|number| {
            let channel = channel(&endpoints[number % endpoints.len()]);
            tokio::spawn(async move {
                let mut held = 0;
                while Instant::now() < end {
                    if turn(&channel, number).await.is_some() {
                        held += 1;
                    }
                    sleep(Duration::from_millis(20)).await;
                }
                held
            })
        })
        .collect();
    let mut held = 0;
    for contender in contenders {
        held += contender.await.expect("no panic");
    }
    held
}

/// Takes the lock, writes under it, sometimes dawdles beyond its lease, writes again, lets go.
async fn turn(channel: &Channel, number: usize) -> Option<()> {
    let grant = pb::LeaseGrantRequest {
        ttl: TTL_SECONDS,
        id: 0,
    };
    let granting = timeout(TIMEOUT, LeaseClient::new(channel.clone()).lease_grant(grant)).await;
    let lease = granting.ok()?.ok()?.into_inner().id;
    let mut locks = LockClient::new(channel.clone());
    let request = v3lockpb::LockRequest {
        name: LOCK.into(),
        lease,
    };
    let locked = timeout(LOCK_TIMEOUT, locks.lock(request))
        .await
        .ok()?
        .ok()?
        .into_inner();
    let key = locked.key;
    write(channel, &key).await;
    let dawdles = number == 0;
    sleep(Duration::from_millis(if dawdles { 2_500 } else { 30 })).await;
    write(channel, &key).await;
    // Where this fails, the lease ends it.
    let _unlocked = timeout(TIMEOUT, locks.unlock(v3lockpb::UnlockRequest { key })).await;
    let revoke = pb::LeaseRevokeRequest { id: lease };
    let _revoked = timeout(TIMEOUT, LeaseClient::new(channel.clone()).lease_revoke(revoke)).await;
    Some(())
}

/// A write that is fenced: nothing happens if the lock's key is gone.
async fn write(channel: &Channel, key: &bytes::Bytes) {
    let request = pb::TxnRequest {
        compare: vec![pb::Compare {
            result: CompareResult::Greater.into(),
            target: CompareTarget::Create.into(),
            key: key.clone(),
            target_union: Some(TargetUnion::CreateRevision(0)),
            ..Default::default()
        }],
        success: vec![pb::RequestOp {
            request: Some(Request::RequestPut(pb::PutRequest {
                key: GUARDED.into(),
                value: key.clone(),
                ..Default::default()
            })),
        }],
        failure: Vec::new(),
    };
    // Whatever becomes of it is in the history.
    let _answer = timeout(TIMEOUT, KvClient::new(channel.clone()).txn(request)).await;
}

/// Every write was made under the oldest key of the lock that there was at that moment.
pub fn check(told: &[Told]) {
    let mut waiting: BTreeMap<i64, String> = BTreeMap::new();
    let mut writes = 0;
    for change in told {
        if change.key.starts_with("lock/") {
            match change.value {
                Some(_) => {
                    waiting.insert(change.create_revision, change.key.clone());
                }
                None => waiting.retain(|_, key| *key != change.key),
            }
        } else if change.key == GUARDED {
            writes += 1;
            let holder = waiting.first_key_value().map(|(_, key)| key.as_bytes());
            assert_eq!(
                holder,
                change.value.as_deref(),
                "revision {} was written by somebody who did not hold the lock",
                change.revision
            );
        }
    }
    println!("{writes} writes under locks");
}
