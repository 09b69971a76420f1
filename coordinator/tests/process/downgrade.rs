//! A downgrade: committed by all, kept over restarts, refused and cancelled with etcd's words.

use coordinator_client::wire::etcdserverpb as pb;
use pb::downgrade_request::DowngradeAction;
use pb::maintenance_client::MaintenanceClient;

use testing::Signal;

use crate::members::{Cluster, Member};

async fn downgrade(member: &Member, action: DowngradeAction, version: &str) -> Result<String, String> {
    let mut maintenance = MaintenanceClient::new(member.channel().await);
    let request = pb::DowngradeRequest {
        action: action.into(),
        version: version.to_owned(),
    };
    let answer = maintenance.downgrade(request).await;
    answer
        .map(|answer| answer.into_inner().version)
        .map_err(|status| status.message().to_owned())
}

async fn target(member: &Member) -> Option<String> {
    let status = member.status().await.expect("it serves");
    let info = status.downgrade_info.expect("there always is");
    info.enabled.then_some(info.target_version)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_downgrade_is_a_job_that_all_members_know_until_it_is_cancelled() {
    use DowngradeAction::{Cancel, Enable, Validate};
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader().await;
    let follower = (leader + 1) % 3;
    let refused = |words: &str| Err(format!("etcdserver: {words}"));
    let member = &cluster.members[follower];
    assert_eq!(downgrade(member, Validate, "3.5.0").await, Ok("3.6".to_owned()));
    for action in [Validate, Enable] {
        for version in ["3.4.0", "3.6", "3.7"] {
            let outcome = downgrade(member, action, version).await;
            assert_eq!(outcome, refused("invalid downgrade target version"), "{version}");
        }
        let outcome = downgrade(member, action, "v3.5").await;
        assert_eq!(outcome, refused("wrong downgrade target version format"));
    }
    assert_eq!(target(member).await, None);
    assert_eq!(downgrade(member, Enable, "3.5.4").await, Ok("3.6".to_owned()));
    for action in [Validate, Enable] {
        let outcome = downgrade(&cluster.members[leader], action, "3.5").await;
        assert_eq!(outcome, refused("cluster has a downgrade job in progress"));
    }
    assert_eq!(target(&cluster.members[leader]).await.as_deref(), Some("3.5.0"));
    // Killed before the store file has it, and ended after it has.
    for signal in [Signal::KILL, Signal::TERM] {
        for number in 0..3 {
            cluster.members[number].signal(signal);
            cluster.members[number].until_ended().await;
        }
        for number in 0..3 {
            cluster.spawn(number);
        }
        for number in 0..3 {
            cluster.members[number].until_ready();
        }
        let outcome = downgrade(&cluster.members[follower], Validate, "3.5").await;
        assert_eq!(outcome, refused("cluster has a downgrade job in progress"));
        assert_eq!(target(&cluster.members[follower]).await.as_deref(), Some("3.5.0"));
    }
    let member = &cluster.members[follower];
    assert_eq!(downgrade(member, Cancel, "").await, Ok("3.6".to_owned()));
    assert_eq!(target(member).await, None);
    assert_eq!(downgrade(member, Validate, "3.5").await, Ok("3.6".to_owned()));
    // Once more there is nothing to cancel, which only the log says.
    assert_eq!(downgrade(member, Cancel, "").await, Ok("3.6".to_owned()));
    member.until_logged(0, "etcdserver: no inflight downgrade job").await;
}
