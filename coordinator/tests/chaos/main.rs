//! Real processes under faults, and what their clients saw of it.
//!
//! Three members run as processes of their own, the connections between them go through a proxy of ours. While clients put,
//! get, delete, compare and swap, watch, hold leases and locks, members are killed, stopped and cut off at random. Then
//! everything heals, and what happened is told from the store's own history: every change since revision 1, the same on
//! all members. Against it is held what each client saw:
//!
//! - nothing acknowledged is missing, nothing happened twice, and the answers fit one order that respects real time
//!   ([`verdict`]);
//! - every watch was told everything once, in order, whole revisions at a time ([`watchers`]);
//! - no lease ended before its time ([`leases`]), no lock had two holders that both could write ([`locks`]).
//!
//! `CHAOS_SECONDS=300` makes it minutes, `CHAOS_SEED=N` chooses the faults, `KILL_CYCLES=200` the kills of [`kills`].

mod ballast;
mod clients;
mod cluster;
mod faults;
mod history;
mod kills;
mod leases;
mod locks;
mod proxy;
mod verdict;
mod watchers;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use history::Journal;

/// How long the faults last in a usual run of the tests.
const SECONDS: u64 = 10;
const CLIENTS: u64 = 6;

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// A small generator of chance (splitmix64), so that a seed is all that a run is told.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    pub fn between(&mut self, least: u64, limit: u64) -> u64 {
        least + self.below(limit - least)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_members_under_faults_stay_one_store() {
    let seconds = from_environment("CHAOS_SECONDS").unwrap_or(SECONDS);
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_nanos();
    let seed = from_environment("CHAOS_SEED").unwrap_or(u64::try_from(now % 1_000_000).expect("small"));
    println!("CHAOS_SEED={seed} CHAOS_SECONDS={seconds}");

    let cluster = cluster::Cluster::start(3).await;
    let endpoints = cluster.endpoints();
    let journal = Arc::new(Journal::new());
    let watching = watchers::start(&endpoints);
    let ending = Duration::from_secs(seconds);
    let work: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let chance = Chance::new(seed ^ (number + 1) << 32);
            tokio::spawn(clients::run(
                number,
                endpoints.clone(),
                Arc::clone(&journal),
                chance,
                ending,
            ))
        })
        .collect();
    let leases = tokio::spawn(leases::run(endpoints.clone(), ending));
    let locks = tokio::spawn(locks::run(endpoints.clone(), ending));
    let ballast = tokio::spawn(ballast::run(endpoints.clone(), ending));
    let (cluster, tally) = faults::run(cluster, Chance::new(seed), ending).await;
    for client in work {
        client.await.expect("no client panics");
    }
    let leases = leases.await.expect("no lease ended early");
    let locks = locks.await.expect("the locks were taken");
    ballast.await.expect("no panic");

    let told = watchers::whole_history(&endpoints).await;
    let journal = Arc::into_inner(journal)
        .expect("all clients have ended")
        .into_operations();
    println!(
        "{} operations, {} changes, {leases} leases, {locks} locks held; {tally}; {} snapshots installed",
        journal.len(),
        told.len(),
        cluster.snapshots(),
    );
    verdict::check(&journal, &told);
    watchers::check(watching, &told).await;
    locks::check(&told);
    assert!(
        journal.iter().filter(|operation| operation.is_acknowledged()).count() > 20,
        "the faults left nothing to look at"
    );
    drop(cluster);
}
