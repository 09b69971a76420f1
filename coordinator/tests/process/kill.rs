//! SIGKILL under load: nothing acknowledged is lost, watches miss nothing and repeat nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use coordinator_client::{Change, Client, Keys, PutOptions, RangeOptions};
use futures::StreamExt;
use tokio::task::JoinHandle;

use crate::program::Coordinator;

const CYCLES: u64 = 5;
const WRITERS: u64 = 8;

/// Writes numbered keys until told to stop or the server is gone; returns what was acknowledged, with its revision.
fn writer(client: Client, cycle: u64, writer: u64, stop: Arc<AtomicBool>) -> JoinHandle<Vec<(String, i64)>> {
    tokio::spawn(async move {
        let mut acknowledged = Vec::new();
        for number in 0.. {
            let key = format!("w/{cycle}/{writer}/{number:06}");
            match client.put(key.clone(), key.clone()).await {
                Ok(revision) => acknowledged.push((key, revision)),
                Err(_) => break,
            }
            if stop.load(Ordering::Relaxed) {
                break;
            }
        }
        acknowledged
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_under_put_load_loses_nothing_acknowledged() {
    let data = tempfile::tempdir().expect("a directory");
    let mut acknowledged: BTreeMap<String, i64> = BTreeMap::new();
    let mut revision = 0;
    let mut coordinator = Coordinator::start(data.path());
    let listen = coordinator.listen_url();
    let (lease, _ttl) = coordinator.client().await.lease_grant(600).await.expect("granted");
    for cycle in 0..CYCLES {
        let stop = Arc::new(AtomicBool::new(false));
        let mut writers = Vec::new();
        for number in 0..WRITERS {
            writers.push(writer(coordinator.client().await, cycle, number, Arc::clone(&stop)));
        }
        tokio::time::sleep(Duration::from_millis(150 + 170 * cycle)).await;
        coordinator.kill();
        stop.store(true, Ordering::Relaxed);
        coordinator = Coordinator::start_at(data.path(), &listen);
        let mut fresh = 0;
        for writer in writers {
            let keys = writer.await.expect("no panic");
            fresh += keys.len();
            acknowledged.extend(keys);
        }
        assert!(fresh > 0, "cycle {cycle} put nothing");

        let client = coordinator.client().await;
        let found = client
            .range(Keys::prefix("w/"), RangeOptions::default())
            .await
            .expect("readable");
        assert!(found.revision >= revision, "the revision went back");
        revision = found.revision;
        let found: BTreeMap<&[u8], _> = found.kvs.iter().map(|kv| (kv.key.as_ref(), kv)).collect();
        for (key, at) in &acknowledged {
            let kv = found
                .get(key.as_bytes())
                .unwrap_or_else(|| panic!("{key} is lost, cycle {cycle}"));
            assert_eq!((kv.value.as_ref(), kv.mod_revision), (key.as_bytes(), *at));
        }
        assert!(client.lease_keep_alive_once(lease).await.is_ok(), "the lease survives");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_across_kills_is_ordered_unique_and_complete() {
    let data = tempfile::tempdir().expect("a directory");
    let mut coordinator = Coordinator::start(data.path());
    let listen = coordinator.listen_url();
    let client = coordinator.client().await;
    let mut watch = client.watch(Keys::prefix("w/"), 0).await.expect("watched");
    let mut acknowledged: BTreeMap<i64, String> = BTreeMap::new();
    for cycle in 0..3 {
        let stop = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..4)
            .map(|number| writer(client.clone(), cycle, number, Arc::clone(&stop)))
            .collect();
        tokio::time::sleep(Duration::from_millis(300)).await;
        coordinator.kill();
        stop.store(true, Ordering::Relaxed);
        coordinator = Coordinator::start_at(data.path(), &listen);
        for writer in writers {
            acknowledged.extend(writer.await.expect("no panic").into_iter().map(|(key, at)| (at, key)));
        }
    }
    let end = client.put("w/end", "").await.expect("acknowledged");
    let mut told: BTreeMap<i64, String> = BTreeMap::new();
    let mut last = 0;
    while last < end {
        let next = tokio::time::timeout(Duration::from_secs(20), watch.next()).await;
        for change in next.expect("told in time").expect("goes on").expect("no error").changes {
            let Change::Put(kv) = change else {
                panic!("nothing was deleted")
            };
            assert!(kv.mod_revision > last, "{} after {last}", kv.mod_revision);
            last = kv.mod_revision;
            told.insert(last, String::from_utf8_lossy(&kv.key).into_owned());
        }
    }
    for (at, key) in &acknowledged {
        assert_eq!(told.get(at), Some(key), "revision {at}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_watcher_holds_up_nobody_and_misses_nothing() {
    const PUTS: i64 = 1_500;
    let data = tempfile::tempdir().expect("a directory");
    let coordinator = Coordinator::start(data.path());
    let client = coordinator.client().await;
    let mut slow = client.watch(Keys::prefix("s/"), 0).await.expect("watched");
    let mut quick = client.watch(Keys::prefix("s/"), 0).await.expect("watched");
    let counting = tokio::spawn(async move {
        let mut count = 0;
        while count < PUTS {
            count += quick.next().await.expect("goes on").expect("no error").changes.len() as i64;
        }
    });
    // More than the feed holds: 24 MB, of which the slow one reads nothing yet.
    let value = vec![b'x'; 16 << 10];
    let putting = (0..10).map(|task| {
        let (client, value) = (client.clone(), value.clone());
        async move {
            for number in 0..PUTS / 10 {
                client
                    .put(format!("s/{task}/{number}"), value.clone())
                    .await
                    .expect("acknowledged");
            }
        }
    });
    futures::future::join_all(putting).await;
    tokio::time::timeout(Duration::from_secs(20), counting)
        .await
        .expect("the quick one is not held up")
        .expect("ok");
    let (mut count, mut last) = (0, 0);
    while count < PUTS {
        let next = tokio::time::timeout(Duration::from_secs(20), slow.next()).await;
        for change in next.expect("told in time").expect("goes on").expect("no error").changes {
            let Change::Put(kv) = change else {
                panic!("nothing was deleted")
            };
            assert_eq!(kv.mod_revision, last.max(1) + 1, "each revision once, in order");
            last = kv.mod_revision;
            count += 1;
        }
    }
}

#[tokio::test]
async fn leases_end_in_one_revision_and_not_early() {
    let data = tempfile::tempdir().expect("a directory");
    let coordinator = Coordinator::start(data.path());
    let client = coordinator.client().await;
    let (lease, ttl) = client.lease_grant(1).await.expect("granted");
    assert_eq!(ttl, 2, "the shortest time there is");
    let granted = std::time::Instant::now();
    for key in ["l/a", "l/b", "l/c"] {
        client
            .put_with(
                key,
                "x",
                PutOptions {
                    lease,
                    ..Default::default()
                },
            )
            .await
            .expect("acknowledged");
    }
    let mut watch = client.watch(Keys::prefix("l/"), 0).await.expect("watched");
    let ended = watch.next().await.expect("goes on").expect("no error");
    assert!(
        granted.elapsed() >= Duration::from_secs(2),
        "ended after {:?}",
        granted.elapsed()
    );
    let revisions: Vec<i64> = ended
        .changes
        .iter()
        .map(|change| match change {
            Change::Delete(kv) => kv.mod_revision,
            Change::Put(kv) => panic!("{kv:?}"),
        })
        .collect();
    assert_eq!(revisions.len(), 3);
    assert!(
        revisions.iter().all(|revision| *revision == revisions[0]),
        "{revisions:?}"
    );

    // A kept lease lives on, and its keeper knows when it is gone.
    let (lease, ttl) = client.lease_grant(2).await.expect("granted");
    let keeper = client.lease_keep_alive(lease, ttl);
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(!keeper.is_lost());
    client.lease_revoke(lease).await.expect("it was there");
    tokio::time::timeout(Duration::from_secs(3), keeper.lost())
        .await
        .expect("told");
}
