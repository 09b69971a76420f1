//! Calls and streams that require a leader (metadata `hasleader`), at a member that has lost it; and what a learner serves.

use std::time::{Duration, Instant};

use coordinator_client::wire::etcdserverpb as pb;
use coordinator_client::wire::v3electionpb::LeaderRequest;
use coordinator_client::wire::v3electionpb::election_client::ElectionClient;
use coordinator_client::wire::v3lockpb::LockRequest;
use coordinator_client::wire::v3lockpb::lock_client::LockClient;
use pb::kv_client::KvClient;
use pb::lease_client::LeaseClient;
use pb::maintenance_client::MaintenanceClient;
use pb::watch_client::WatchClient;
use pb::watch_request::RequestUnion;
use tokio_stream::StreamExt;
use tonic::{Code, Request, Status};

use crate::members::{Cluster, Member, PATIENCE, eventually_local};

const NO_LEADER: &str = "etcdserver: no leader";

fn requiring<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request
        .metadata_mut()
        .insert("hasleader", "true".parse().expect("metadata"));
    request
}

fn watch(key: &'static str) -> impl tokio_stream::Stream<Item = pb::WatchRequest> + Send + 'static {
    let create = pb::WatchCreateRequest {
        key: key.into(),
        ..Default::default()
    };
    let request = pb::WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(create)),
    };
    tokio_stream::once(request).chain(tokio_stream::pending())
}

fn serializable() -> pb::RangeRequest {
    pb::RangeRequest {
        key: "a".into(),
        serializable: true,
        ..Default::default()
    }
}

fn is_no_leader(status: &Status) -> bool {
    (status.code(), status.message()) == (Code::Unavailable, NO_LEADER)
}

/// The status that a stream ends with.
async fn end<T>(mut stream: tonic::Streaming<T>) -> Status {
    loop {
        match tokio::time::timeout(PATIENCE, stream.message()).await.expect("it ends") {
            Ok(Some(_)) => {}
            Ok(None) => return Status::ok(""),
            Err(status) => return status,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_leader_calls_that_require_one_are_refused_and_streams_end() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader().await;
    cluster.client().await.put("a", "1").await.expect("acknowledged");
    let lonely = (leader + 1) % 3;
    eventually_local(&cluster.members[lonely], "a").await;
    let channel = cluster.members[lonely].channel().await;
    let mut watches = WatchClient::new(channel.clone());
    let mut leases = LeaseClient::new(channel.clone());
    let mut elections = ElectionClient::new(channel.clone());
    // While there is a leader the metadata changes nothing.
    let found = KvClient::new(channel.clone()).range(requiring(serializable())).await;
    assert_eq!(found.expect("there is a leader").into_inner().count, 1);
    let watching = watches.watch(requiring(watch("a"))).await.expect("opened").into_inner();
    let mut indifferent = watches.watch(watch("a")).await.expect("opened").into_inner();
    let keeping = leases
        .lease_keep_alive(requiring(tokio_stream::pending()))
        .await
        .expect("opened")
        .into_inner();
    let name = LeaderRequest { name: "seat".into() };
    let observing = elections
        .observe(requiring(name.clone()))
        .await
        .expect("opened")
        .into_inner();
    for other in [leader, (leader + 2) % 3] {
        cluster.members[other].kill();
    }
    let lost = Instant::now();
    for status in [end(watching).await, end(keeping).await, end(observing).await] {
        assert!(is_no_leader(&status), "{status:?}");
    }
    // Three election timeouts of a second, and what it takes to notice.
    assert!(
        lost.elapsed() >= Duration::from_secs(2),
        "a moment without a leader ends no stream"
    );

    let mut kv = KvClient::new(channel.clone());
    let put = pb::PutRequest {
        key: "b".into(),
        ..Default::default()
    };
    let grant = pb::LeaseGrantRequest { ttl: 60, id: 0 };
    let lock = LockRequest {
        name: "m".into(),
        lease: 0,
    };
    let begun = Instant::now();
    let refusals = [
        kv.range(requiring(serializable())).await.map(|_| ()),
        kv.range(requiring(pb::RangeRequest {
            key: "a".into(),
            ..Default::default()
        }))
        .await
        .map(|_| ()),
        kv.put(requiring(put)).await.map(|_| ()),
        kv.delete_range(requiring(pb::DeleteRangeRequest::default()))
            .await
            .map(|_| ()),
        kv.txn(requiring(pb::TxnRequest::default())).await.map(|_| ()),
        leases.lease_grant(requiring(grant)).await.map(|_| ()),
        leases
            .lease_keep_alive(requiring(tokio_stream::pending()))
            .await
            .map(|_| ()),
        watches.watch(requiring(watch("a"))).await.map(|_| ()),
        LockClient::new(channel.clone()).lock(requiring(lock)).await.map(|_| ()),
        elections.observe(requiring(name)).await.map(|_| ()),
        MaintenanceClient::new(channel.clone())
            .status(requiring(pb::StatusRequest {}))
            .await
            .map(|_| ()),
        MaintenanceClient::new(channel.clone())
            .snapshot(requiring(pb::SnapshotRequest {}))
            .await
            .map(|_| ()),
    ];
    assert!(begun.elapsed() < Duration::from_secs(5), "refused at once");
    for (number, refusal) in refusals.into_iter().enumerate() {
        let status = refusal.expect_err("no leader");
        assert!(is_no_leader(&status), "{number}: {status:?}");
    }
    // Who does not ask for a leader is served as before.
    let found = kv.range(serializable()).await.expect("its own state").into_inner();
    assert_eq!(found.count, 1);
    let created = indifferent.message().await.expect("it goes on").expect("an answer");
    assert!(created.created);
    let more = tokio::time::timeout(Duration::from_millis(300), indifferent.message()).await;
    assert!(more.is_err(), "it waits for events: {more:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_learner_serves_status_serializable_reads_and_snapshots_only() {
    let cluster = Cluster::start(1);
    let client = cluster.client().await;
    client.put("a", "1").await.expect("acknowledged");
    let mut joining = Member::new(cluster.directory.path(), "joining");
    let add = pb::MemberAddRequest {
        peer_ur_ls: vec![joining.peer_url()],
        is_learner: true,
    };
    let mut members = pb::cluster_client::ClusterClient::new(cluster.members[0].channel().await);
    members.member_add(add).await.expect("added");
    let named = format!("{},joining={}", cluster.initial, joining.peer_url());
    joining.spawn(&named, "existing", &[]);
    joining.until_ready();
    eventually_local(&joining, "a").await;
    let channel = joining.channel().await;
    let mut kv = KvClient::new(channel.clone());
    let range = pb::RangeRequest {
        key: "a".into(),
        ..Default::default()
    };
    let read = pb::TxnRequest {
        success: vec![pb::RequestOp {
            request: Some(pb::request_op::Request::RequestRange(serializable())),
        }],
        ..Default::default()
    };
    let put = pb::PutRequest {
        key: "b".into(),
        ..Default::default()
    };
    let refusals = [
        kv.range(range).await.map(|_| ()),
        kv.range(pb::RangeRequest::default()).await.map(|_| ()),
        kv.txn(read).await.map(|_| ()),
        kv.put(put).await.map(|_| ()),
        LeaseClient::new(channel.clone())
            .lease_leases(pb::LeaseLeasesRequest {})
            .await
            .map(|_| ()),
        pb::cluster_client::ClusterClient::new(channel.clone())
            .member_list(pb::MemberListRequest { linearizable: true })
            .await
            .map(|_| ()),
        WatchClient::new(channel.clone()).watch(watch("a")).await.map(|_| ()),
    ];
    for (number, refusal) in refusals.into_iter().enumerate() {
        let status = refusal.expect_err("a learner");
        assert_eq!(
            status.message(),
            "etcdserver: rpc not supported for learner",
            "{number}"
        );
    }
    assert_eq!(kv.range(serializable()).await.expect("local").into_inner().count, 1);
    let snapshot = MaintenanceClient::new(channel).snapshot(pb::SnapshotRequest {}).await;
    let first = snapshot.expect("served").into_inner().message().await;
    assert!(first.expect("served").is_some());
    assert!(joining.status().await.expect("it serves").is_learner);
}
