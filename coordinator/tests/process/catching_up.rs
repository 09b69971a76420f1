//! A member far behind that is killed while the state is on its way to it, at every stage.

use std::path::Path;
use std::time::{Duration, Instant};

use coordinator_client::Client;
use coordinator_client::wire::etcdserverpb as pb;
use pb::maintenance_client::MaintenanceClient;

use crate::members::{Cluster, PATIENCE, PATIENT, eventually_local};

/// Puts of nearly a megabyte each: two segments of the log, so that what the absent member needs is purged.
const PUTS: usize = 36;
const VALUE_BYTES: usize = 900_000;
/// Keys that they go to: what is left of them after a compaction travels.
const KEYS: usize = 12;

/// When the member is killed.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// This many bytes of the state have arrived.
    Arrived(u64),
    /// It has written this line.
    Logged(&'static str),
}

/// From the first byte to the end. Before the last two nothing is installed, so all of it has to come again.
const MOMENTS: [Moment; 5] = [
    Moment::Arrived(0),
    Moment::Arrived(5 << 20),
    Moment::Logged("received and saved database snapshot"),
    Moment::Logged("applying snapshot"),
    Moment::Logged("applied snapshot"),
];

async fn put_much(client: &Client, round: usize) {
    let value = vec![b'a' + u8::try_from(round).expect("few"); VALUE_BYTES];
    let putting = (0..PUTS).map(|number| client.put(format!("big/{}", number % KEYS), value.clone()));
    let mut last = 0;
    for put in futures::future::join_all(putting).await {
        last = last.max(put.expect("acknowledged"));
    }
    client.compact(last).await.expect("compacted");
}

/// The first entry that the log has still, by the name of its first file.
fn first_entry(data: &Path) -> u64 {
    let files = std::fs::read_dir(data.join("log")).expect("a directory");
    let names = files.map(|file| file.expect("readable").file_name());
    let firsts = names.filter_map(|name| name.to_str()?.strip_suffix(".wal")?.parse().ok());
    firsts.min().unwrap_or_default()
}

/// Puts so much that the leader forgets the part of its log that an absent member needs.
async fn leave_behind(cluster: &Cluster, leader: usize, round: usize) {
    let client = Client::connect(&cluster.members[leader].endpoint())
        .await
        .expect("it serves");
    let data = &cluster.members[leader].data;
    // Anyone who is away has nothing later than this.
    let before = cluster.members[leader].status().await.expect("it serves").raft_index;
    put_much(&client, round).await;
    let deadline = Instant::now() + PATIENCE;
    while first_entry(data) <= before {
        assert!(
            Instant::now() < deadline,
            "the log is never purged, round {round}; {}",
            cluster.members[leader].log()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    client
        .put(format!("round/{round}"), "over")
        .await
        .expect("acknowledged");
}

/// Waits for the moment; `logged` is how much of its log is of the time before.
async fn until(moment: Moment, cluster: &Cluster, number: usize, logged: usize) {
    let member = &cluster.members[number];
    match moment {
        Moment::Logged(words) => member.until_logged(logged, words).await,
        Moment::Arrived(bytes) => {
            let incoming = member.data.join("store.incoming");
            let deadline = Instant::now() + PATIENCE;
            // What a killed one has left is removed before the first byte comes.
            member.until_logged(logged, "recovered").await;
            while !std::fs::metadata(&incoming).is_ok_and(|file| file.len() > bytes) {
                assert!(Instant::now() < deadline, "nothing arrives; {}", member.log());
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }
}

async fn hash(cluster: &Cluster, number: usize, revision: i64) -> (u32, i64) {
    let mut maintenance = MaintenanceClient::new(cluster.members[number].channel().await);
    let answer = maintenance.hash_kv(pb::HashKvRequest { revision }).await;
    let answer = answer.expect("answered").into_inner();
    (answer.hash, answer.compact_revision)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_killed_at_any_stage_of_a_snapshot_catches_up_and_has_the_same_hash() {
    let mut cluster = Cluster::start_with(3, &["--snapshot-catchup-entries=2", PATIENT]);
    let leader = cluster.leader().await;
    let follower = (leader + 1) % 3;
    cluster.members[follower].kill();
    let mut round = 0;
    leave_behind(&cluster, leader, round).await;
    for moment in MOMENTS {
        let logged = cluster.members[follower].log().len();
        cluster.spawn(follower);
        until(moment, &cluster, follower, logged).await;
        cluster.members[follower].kill();
        let log = cluster.members[follower].log();
        if log[logged..].contains("applying snapshot") {
            // It may have been installed; so that the next kill meets another one:
            round += 1;
            leave_behind(&cluster, leader, round).await;
        }
    }
    let logged = cluster.members[follower].log().len();
    cluster.restart(follower);
    eventually_local(&cluster.members[follower], &format!("round/{round}")).await;
    cluster.members[follower].until_logged(logged, "applied snapshot").await;
    // It takes part again: with the other one gone, nothing is committed without it.
    let client = Client::connect(&cluster.members[leader].endpoint())
        .await
        .expect("it serves");
    cluster.members[3 - leader - follower].kill();
    let revision = client.put("after", "1").await.expect("two agree");
    cluster.restart(3 - leader - follower);
    for number in 0..3 {
        eventually_local(&cluster.members[number], "after").await;
    }
    let hashes = [
        hash(&cluster, 0, revision).await,
        hash(&cluster, 1, revision).await,
        hash(&cluster, 2, revision).await,
    ];
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
}
