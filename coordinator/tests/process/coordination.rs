//! Locks and elections as services: turns in order, and fencing.

use std::time::Duration;

use bytes::Bytes;
use coordinator_wire::etcdserverpb as pb;
use coordinator_wire::v3electionpb::election_client::ElectionClient;
use coordinator_wire::v3electionpb::{CampaignRequest, LeaderRequest, ProclaimRequest, ResignRequest};
use coordinator_wire::v3lockpb::lock_client::LockClient;
use coordinator_wire::v3lockpb::{LockRequest, UnlockRequest};
use pb::compare::{CompareResult, CompareTarget, TargetUnion};
use pb::kv_client::KvClient;
use pb::lease_client::LeaseClient;
use tonic::Code;
use tonic::transport::Channel;

use crate::program::Coordinator;

async fn lease(channel: &Channel, id: i64, ttl: i64) -> i64 {
    let request = pb::LeaseGrantRequest { id, ttl };
    let granted = LeaseClient::new(channel.clone()).lease_grant(request).await;
    granted.expect("granted").into_inner().id
}

async fn get(channel: &Channel, key: &Bytes) -> Option<coordinator_wire::mvccpb::KeyValue> {
    let request = pb::RangeRequest {
        key: key.clone(),
        ..Default::default()
    };
    let found = KvClient::new(channel.clone()).range(request).await.expect("read");
    found.into_inner().kvs.pop()
}

/// Writes under a lock: only if the lock's key is still the one that was created at `created`.
async fn guarded_put(channel: &Channel, lock: &Bytes, created: i64) -> bool {
    let put = pb::PutRequest {
        key: "resource".into(),
        value: created.to_string().into(),
        ..Default::default()
    };
    let request = pb::TxnRequest {
        compare: vec![pb::Compare {
            key: lock.clone(),
            target: CompareTarget::Create.into(),
            result: CompareResult::Equal.into(),
            target_union: Some(TargetUnion::CreateRevision(created)),
            ..Default::default()
        }],
        success: vec![pb::RequestOp {
            request: Some(pb::request_op::Request::RequestPut(put)),
        }],
        failure: Vec::new(),
    };
    let response = KvClient::new(channel.clone()).txn(request).await.expect("answered");
    response.into_inner().succeeded
}

fn lock_request(lease: i64) -> LockRequest {
    LockRequest {
        name: "mutex".into(),
        lease,
    }
}

#[tokio::test]
async fn a_holder_that_was_paused_beyond_its_lease_is_fenced_off() {
    let data = tempfile::tempdir().expect("a directory");
    let coordinator = Coordinator::start(data.path());
    let channel = coordinator.channel().await;
    let mut locks = LockClient::new(channel.clone());
    // The first holder never renews its lease: as if it was stopped.
    let paused = lease(&channel, 0, 2).await;
    let first = locks.lock(lock_request(paused)).await.expect("free").into_inner();
    let created = get(&channel, &first.key).await.expect("it is held").create_revision;
    assert!(guarded_put(&channel, &first.key, created).await, "the holder may write");

    let patient = lease(&channel, 0, 60).await;
    let second = locks
        .lock(lock_request(patient))
        .await
        .expect("its turn comes")
        .into_inner();
    let second_created = get(&channel, &second.key).await.expect("it is held").create_revision;
    assert!(second_created > created, "fencing tokens grow");
    assert!(guarded_put(&channel, &second.key, second_created).await);
    assert!(
        !guarded_put(&channel, &first.key, created).await,
        "the old holder wakes up too late"
    );
    let written = get(&channel, &"resource".into()).await.expect("written");
    assert_eq!(written.value, second_created.to_string());
}

#[tokio::test]
async fn a_lock_goes_from_one_to_the_next_in_order_and_who_gives_up_leaves_the_queue() {
    let data = tempfile::tempdir().expect("a directory");
    let coordinator = Coordinator::start(data.path());
    let channel = coordinator.channel().await;
    let mut locks = LockClient::new(channel.clone());
    let held = locks
        .lock(lock_request(lease(&channel, 1, 60).await))
        .await
        .expect("free");
    let held = held.into_inner().key;
    assert_eq!(held, "mutex/1");
    let again = locks
        .lock(lock_request(1))
        .await
        .expect("it is its own already")
        .into_inner();
    assert_eq!(again.key, held);

    let mut waiting = Vec::new();
    for id in [2, 3, 4] {
        lease(&channel, id, 60).await;
        let mut locks = locks.clone();
        let own = Bytes::from(format!("mutex/{id}"));
        waiting.push(tokio::spawn(async move { locks.lock(lock_request(id)).await }));
        while get(&channel, &own).await.is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    // The second in line hangs up.
    waiting.remove(1).abort();
    while get(&channel, &"mutex/3".into()).await.is_some() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for next in ["mutex/2", "mutex/4"] {
        let turn = waiting.remove(0);
        assert!(!turn.is_finished(), "{next} waits");
        let free = UnlockRequest {
            key: if next == "mutex/2" {
                held.clone()
            } else {
                "mutex/2".into()
            },
        };
        locks.unlock(free).await.expect("deleted");
        let key = turn.await.expect("not aborted").expect("its turn").into_inner().key;
        assert_eq!(key, next);
    }

    let refused = locks.lock(lock_request(99)).await.expect_err("there is no such lease");
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::Unknown, "etcdserver: requested lease not found")
    );
}

#[tokio::test]
async fn an_observer_sees_each_leader_and_what_he_proclaims() {
    let data = tempfile::tempdir().expect("a directory");
    let coordinator = Coordinator::start(data.path());
    let channel = coordinator.channel().await;
    let mut elections = ElectionClient::new(channel.clone());
    let name = Bytes::from_static(b"seat");
    let nobody = elections
        .leader(LeaderRequest { name: name.clone() })
        .await
        .expect_err("no leader");
    assert_eq!(nobody.message(), "election: no leader");
    let mut seen = elections
        .observe(LeaderRequest { name: name.clone() })
        .await
        .expect("observed")
        .into_inner();

    let campaign = |lease: i64, value: &'static str| CampaignRequest {
        name: Bytes::from_static(b"seat"),
        lease,
        value: value.into(),
    };
    lease(&channel, 1, 60).await;
    lease(&channel, 2, 60).await;
    let first = elections
        .campaign(campaign(1, "one"))
        .await
        .expect("elected")
        .into_inner()
        .leader;
    let mut value = async || {
        seen.message()
            .await
            .expect("goes on")
            .expect("another")
            .kv
            .expect("a pair")
            .value
    };
    assert_eq!(value().await, "one");
    let proclaim = |leader, value: &'static str| ProclaimRequest {
        leader,
        value: value.into(),
    };
    elections
        .proclaim(proclaim(first.clone(), "one again"))
        .await
        .expect("he leads");
    assert_eq!(value().await, "one again");

    let mut other = elections.clone();
    let second = tokio::spawn(async move { other.campaign(campaign(2, "two")).await });
    while get(&channel, &"seat/2".into()).await.is_none() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!second.is_finished());
    let resign = ResignRequest { leader: first.clone() };
    elections.resign(resign).await.expect("resigned");
    let second = second.await.expect("not aborted").expect("elected").into_inner();
    assert_eq!(value().await, "two");
    assert_eq!(second.leader.expect("a key").key, "seat/2");
    let late = elections
        .proclaim(proclaim(first, "still here"))
        .await
        .expect_err("he does not lead any more");
    assert_eq!(late.message(), "election: not leader");
}
