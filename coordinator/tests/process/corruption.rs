//! A member whose keys are not the others': found before it serves, now and then, and after a compaction.

use std::path::Path;
use std::time::{Duration, Instant};

use coordinator_client::Client;
use coordinator_client::wire::etcdserverpb as pb;
use pb::maintenance_client::MaintenanceClient;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use testing::Signal;

use crate::members::{Cluster, Member, PATIENCE, eventually_local, local};

/// The store file's versions, by revision.
const VERSIONS: TableDefinition<(i64, u32), &[u8]> = TableDefinition::new("versions");

/// Flips one bit of the last value in the store file of a member that does not run, and makes the file whole again around
/// it: what memory that has gone bad writes. A second time it takes that back.
fn flip_a_bit(data: &Path) {
    let database = Database::open(data.join("store.redb")).expect("nobody has it open");
    let (revision, mut bytes) = {
        let reading = database.begin_read().expect("readable");
        let versions = reading.open_table(VERSIONS).expect("there are versions");
        let (revision, bytes) = versions.last().expect("readable").expect("there is one");
        (revision.value(), bytes.value().to_vec())
    };
    let value = bytes
        .windows(5)
        .rposition(|window| window == b"value" || window == b"valud");
    let last = value.expect("it is a test's") + 4;
    bytes[last] ^= 1;
    let writing = database.begin_write().expect("writable");
    {
        let mut versions = writing.open_table(VERSIONS).expect("there are versions");
        versions.insert(revision, bytes.as_slice()).expect("replaced");
    }
    writing.commit().expect("durable");
}

/// Puts some keys and waits until all members have them.
async fn fill(cluster: &Cluster) -> i64 {
    let client = cluster.client().await;
    let mut revision = 0;
    for number in 0..20 {
        let put = client.put(format!("k/{number:02}"), "value");
        revision = put.await.expect("acknowledged");
    }
    for member in &cluster.members {
        eventually_local(member, "k/19").await;
    }
    revision
}

/// Ends a member, so that its store file holds everything, and flips a bit of it.
async fn corrupt(cluster: &mut Cluster, number: usize) {
    cluster.members[number].signal(Signal::TERM);
    cluster.members[number].until_ended().await;
    flip_a_bit(&cluster.members[number].data);
}

async fn corrupt_members(member: &Member) -> Vec<u64> {
    let mut maintenance = MaintenanceClient::new(member.channel().await);
    let answer = maintenance.alarm(pb::AlarmRequest {
        action: pb::alarm_request::AlarmAction::Get.into(),
        member_id: 0,
        alarm: pb::AlarmType::Corrupt.into(),
    });
    let alarms = answer.await.expect("answered").into_inner().alarms;
    alarms.into_iter().map(|alarm| alarm.member_id).collect()
}

/// Waits for the alarm and says who is blamed; then no one takes writes.
async fn until_alarmed(cluster: &Cluster, through: usize) -> Vec<u64> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let alarmed = corrupt_members(&cluster.members[through]).await;
        if !alarmed.is_empty() {
            let client = Client::connect(&cluster.members[through].endpoint()).await;
            let put = client.expect("it serves").put("after", "1").await;
            let refused = put.expect_err("nobody takes writes").to_string();
            assert_eq!(refused, "etcdserver: corrupt cluster");
            return alarmed;
        }
        let log = cluster.members[through].log();
        assert!(Instant::now() < deadline, "no alarm is raised; {log}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn id(member: &Member) -> u64 {
    let status = member.status().await.expect("it serves");
    status.header.expect("a header").member_id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_with_other_keys_does_not_start_and_one_with_the_same_does() {
    let mut cluster = Cluster::start_with(3, &["--initial-corrupt-check=true"]);
    fill(&cluster).await;
    let number = (cluster.leader().await + 1) % 3;
    let member = id(&cluster.members[number]).await;
    corrupt(&mut cluster, number).await;
    let skipped = cluster.members[number].log().len();
    cluster.spawn(number);
    let status = cluster.members[number].until_ended().await;
    assert!(!status.success());
    let log = cluster.members[number].log();
    let reason = format!("{member:x} found data inconsistency with peers");
    assert!(log[skipped..].contains(&reason), "{log}");
    flip_a_bit(&cluster.members[number].data);
    let skipped = log.len();
    cluster.restart(number);
    let log = cluster.members[number].log();
    assert!(
        log[skipped..].contains("initial corruption checking passed; no corruption"),
        "{log}"
    );
    assert!(local(&cluster.members[number], "k/19").await.is_some());
    assert!(corrupt_members(&cluster.members[number]).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_finds_a_follower_with_other_keys_and_raises_the_alarm() {
    let mut cluster = Cluster::start_with(3, &["--corrupt-check-time=200ms"]);
    fill(&cluster).await;
    let leader = cluster.leader().await;
    let logged = cluster.members[leader].log().len();
    cluster.members[leader]
        .until_logged(logged, "finished peer corruption check number_of_peers_checked=2")
        .await;
    assert!(
        corrupt_members(&cluster.members[leader]).await.is_empty(),
        "all is well"
    );
    let number = (leader + 1) % 3;
    let member = id(&cluster.members[number]).await;
    corrupt(&mut cluster, number).await;
    cluster.restart(number);
    assert_eq!(until_alarmed(&cluster, leader).await, [member]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_compaction_the_one_that_differs_from_the_majority_is_blamed() {
    let flags = [
        "--feature-gates=CompactHashCheck=true",
        "--compact-hash-check-time=200ms",
    ];
    let mut cluster = Cluster::start_with(3, &flags);
    let revision = fill(&cluster).await;
    let client = cluster.client().await;
    client.compact(revision - 5).await.expect("compacted");
    let leader = cluster.leader().await;
    cluster.members[leader]
        .until_logged(0, "successfully checked hash on whole cluster")
        .await;
    cluster.members[leader]
        .until_logged(0, "finished compaction hash check")
        .await;
    assert!(
        corrupt_members(&cluster.members[leader]).await.is_empty(),
        "all is well"
    );
    // The leader itself: anyone who leads next finds it by the majority.
    let member = id(&cluster.members[leader]).await;
    corrupt(&mut cluster, leader).await;
    cluster.restart(leader);
    cluster.leader().await;
    let client = cluster.client().await;
    client.compact(revision).await.expect("compacted");
    assert_eq!(until_alarmed(&cluster, leader).await, [member]);
}
