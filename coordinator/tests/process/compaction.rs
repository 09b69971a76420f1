//! A member that is killed while it removes what a compaction has forgotten.

use std::time::Duration;

use coordinator_client::wire::etcdserverpb as pb;
use coordinator_client::{Client, Keys, RangeOptions};
use pb::maintenance_client::MaintenanceClient;

use crate::members::Cluster;

const KEYS: usize = 20;
const PUTS: usize = 1_000;

async fn hash(cluster: &Cluster, revision: i64) -> (u32, i64) {
    let mut maintenance = MaintenanceClient::new(cluster.members[0].channel().await);
    let hashed = maintenance.hash_kv(pb::HashKvRequest { revision }).await;
    let hashed = hashed.expect("hashed").into_inner();
    (hashed.hash, hashed.compact_revision)
}

/// Killed at another moment each time: what was compacted is gone for readers at once, and from the disk in the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compaction_that_a_kill_interrupts_is_finished_at_the_next_start() {
    let mut cluster = Cluster::start(1);
    for round in 0..6_u64 {
        let client = Client::connect(&cluster.members[0].endpoint())
            .await
            .expect("it serves");
        let putting = (0..PUTS).map(|number| client.put(format!("k/{:02}", number % KEYS), vec![b'x'; 500]));
        let mut revision = 0;
        for put in futures::future::join_all(putting).await {
            revision = revision.max(put.expect("acknowledged"));
        }
        // What is in the store file is what there is to remove.
        let mut maintenance = MaintenanceClient::new(cluster.members[0].channel().await);
        let rewritten = maintenance.defragment(pb::DefragmentRequest {}).await;
        rewritten.expect("rewritten");
        client.compact(revision).await.expect("compacted");
        let before = hash(&cluster, revision).await;
        tokio::time::sleep(Duration::from_millis(round * 250)).await;
        cluster.members[0].kill();
        cluster.restart(0);
        assert_eq!(hash(&cluster, revision).await, before);
        assert_eq!(before.1, revision);
        let client = Client::connect(&cluster.members[0].endpoint())
            .await
            .expect("it serves");
        let all = client.range(Keys::prefix("k/"), RangeOptions::default()).await;
        assert_eq!(all.expect("read").kvs.len(), KEYS);
        let past = RangeOptions {
            revision: revision - 1,
            ..Default::default()
        };
        let refused = client.range(Keys::prefix("k/"), past).await.expect_err("compacted");
        assert!(refused.to_string().contains("compacted"), "{refused}");
        let words = format!("finished scheduled compaction compact_revision={revision} ");
        cluster.members[0].until_logged(0, &words).await;
    }
}
