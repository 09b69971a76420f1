//! Members that are killed while history is forgotten and files are rewritten: all hold the same in the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use coordinator_client::wire::etcdserverpb as pb;
use coordinator_client::{Client, Keys, RangeOptions};
use pb::maintenance_client::MaintenanceClient;

use crate::members::{Cluster, eventually_local};

const KILLS: u64 = 6;
/// Few, so that compactions have something to remove.
const KEYS: u64 = 50;

async fn put_until(stop: Arc<AtomicBool>, client: Client) -> i64 {
    let mut last = 0;
    for number in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let key = format!("k/{:02}", number % KEYS);
        // Whether a put happened whose member was killed is open; that it is the same everywhere is what counts.
        if let Ok(revision) = client.put(key, vec![b'x'; 2_000]).await {
            assert!(revision > last, "{revision} after {last}: the revision went back");
            last = revision;
        }
    }
    last
}

async fn hash(cluster: &Cluster, number: usize, revision: i64) -> (u32, i64) {
    let mut maintenance = MaintenanceClient::new(cluster.members[number].channel().await);
    let hashed = maintenance.hash_kv(pb::HashKvRequest { revision }).await;
    let hashed = hashed.expect("hashed").into_inner();
    (hashed.hash, hashed.compact_revision)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_during_compaction_and_defragmentation_leave_all_members_with_the_same_hash() {
    let mut cluster = Cluster::start(3);
    let stop = Arc::new(AtomicBool::new(false));
    let putting: Vec<_> = (0..2)
        .map(|_| Client::lazy(&cluster.endpoints()).expect("addresses"))
        .map(|client| tokio::spawn(put_until(Arc::clone(&stop), client)))
        .collect();
    let client = Client::lazy(&cluster.endpoints()).expect("addresses");
    for kill in 0..KILLS {
        let victim = usize::try_from(kill % 3).expect("small");
        tokio::time::sleep(Duration::from_millis(150)).await;
        let other = Client::connect(&cluster.members[(victim + 1) % 3].endpoint())
            .await
            .expect("it serves");
        let revision = other
            .range(Keys::one("k"), RangeOptions::default())
            .await
            .expect("read")
            .revision;
        other.compact(revision).await.expect("compacted");
        let mut maintenance = MaintenanceClient::new(cluster.members[victim].channel().await);
        let rewriting = tokio::spawn(async move { maintenance.defragment(pb::DefragmentRequest {}).await });
        // At another moment of both each time.
        tokio::time::sleep(Duration::from_millis(5 * kill)).await;
        cluster.members[victim].kill();
        let _killed = rewriting.await.expect("no panic");
        cluster.restart(victim);
    }
    stop.store(true, Ordering::Relaxed);
    let mut acknowledged = 0;
    for putting in putting {
        acknowledged = acknowledged.max(putting.await.expect("the revision never went back"));
    }
    let revision = client.put("end", "1").await.expect("acknowledged");
    assert!(revision > acknowledged && acknowledged > 0);
    for member in &cluster.members {
        eventually_local(member, "end").await;
    }
    let hashes = [
        hash(&cluster, 0, revision).await,
        hash(&cluster, 1, revision).await,
        hash(&cluster, 2, revision).await,
    ];
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
}
