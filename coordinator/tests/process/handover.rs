//! A leader that is asked to end hands over: no one waits for an election, nothing acknowledged is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use coordinator_client::Client;
use tokio::task::JoinHandle;

use testing::Signal;

use crate::members::Cluster;

/// So long the others would wait before they chose another by themselves. Long, so that a busy machine is not taken for it.
const ELECTION: Duration = Duration::from_secs(6);

/// What one client put.
#[derive(Default)]
struct Puts {
    /// With the moment of the answer.
    acknowledged: Vec<(String, Instant)>,
    refused: usize,
    /// The longest that one put took, answered or refused.
    longest: Duration,
}

fn put_until(stop: &Arc<AtomicBool>, client: Client, name: String) -> JoinHandle<Puts> {
    let stop = Arc::clone(stop);
    tokio::spawn(async move {
        let mut puts = Puts::default();
        for number in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let key = format!("w/{name}/{number:06}");
            let asked = Instant::now();
            match client.put(key.clone(), key.clone()).await {
                Ok(_) => puts.acknowledged.push((key, Instant::now())),
                Err(_) => puts.refused += 1,
            }
            puts.longest = puts.longest.max(asked.elapsed());
        }
        puts
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_terminated_hands_over_under_load_and_nobody_waits_for_an_election() {
    let election = format!("--election-timeout={}", ELECTION.as_millis());
    let mut cluster = Cluster::start_with(3, &[&election]);
    let leader = cluster.leader().await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = Vec::new();
    for (number, member) in cluster.members.iter().enumerate() {
        for twin in 0..2 {
            let client = Client::connect(&member.endpoint()).await.expect("it serves");
            // Those at the leader have it end under them, and stop then.
            let stop = if number == leader { &Arc::default() } else { &stop };
            let puts = put_until(stop, client, format!("{number}-{twin}"));
            clients.push((number, puts));
        }
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let asked = Instant::now();
    cluster.members[leader].signal(Signal::TERM);
    let status = cluster.members[leader].until_ended().await;
    let ended = asked.elapsed();
    assert_eq!(status.code(), Some(0), "{}", cluster.members[leader].log());
    tokio::time::sleep(Duration::from_millis(500)).await;
    stop.store(true, Ordering::Relaxed);
    let mut acknowledged = Vec::new();
    let mut longest = Duration::ZERO;
    let mut refused = 0;
    for (number, puts) in clients {
        if number == leader {
            puts.abort();
            continue;
        }
        let puts = puts.await.expect("no panic");
        longest = longest.max(puts.longest);
        refused += puts.refused;
        acknowledged.extend(puts.acknowledged);
    }
    let next = cluster.leader().await;
    assert_ne!(next, leader);
    let mut moments: Vec<Instant> = acknowledged.iter().map(|(_, at)| *at).collect();
    moments.sort();
    let gap = moments.windows(2).map(|pair| pair[1] - pair[0]).max();
    let gap = gap.expect("some were acknowledged");
    println!(
        "{} puts acknowledged, {refused} refused; {gap:?} without any, the longest put {longest:?}, the leader ended after {ended:?}",
        acknowledged.len()
    );
    assert!(moments.last().is_some_and(|last| *last > asked + ended), "puts go on");
    assert!(gap < ELECTION / 3, "{gap:?} without a put");
    assert!(longest < ELECTION / 2, "one put took {longest:?}");
    assert!(
        cluster.members[leader].log().contains("leadership transfer finished"),
        "{}",
        cluster.members[leader].log()
    );
    // The one that ended has it all again, and nothing is lost.
    cluster.restart(leader);
    let keys = acknowledged.iter().map(|(key, _)| key.as_str());
    cluster.members[leader].holds("w/", keys).await;
}
