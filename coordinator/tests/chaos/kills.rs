//! One member, killed with SIGKILL again and again while clients put: nothing acknowledged is ever lost.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use coordinator_client::{Client, Keys, RangeOptions};
use testing::Program;
use tokio::sync::Mutex;

use crate::{Chance, from_environment};

/// Kills in a usual run of the tests.
const CYCLES: u64 = 20;
const WRITERS: u64 = 8;

struct Member(Child);

impl Member {
    fn start(data: &Path, address: SocketAddr) -> Self {
        let member = Program::new(env!("CARGO_BIN_EXE_coordinator"))
            .arg(format!("--data-dir={}", data.display()))
            .arg(format!("--listen-client-urls=http://{address}"))
            .arg("--listen-peer-urls=http://127.0.0.1:0")
            .args(["--log-level", "error"]);
        Self(member.spawn())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _already_ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// The revision at which each key was acknowledged.
type Acknowledged = Arc<Mutex<BTreeMap<String, i64>>>;

async fn write(client: Client, name: String, acknowledged: Acknowledged, stop: Arc<AtomicBool>) {
    for number in 0_u64.. {
        let key = format!("{name}/{number:06}");
        match client.put(key.clone(), key.clone()).await {
            Ok(revision) => {
                let before = acknowledged.lock().await.insert(key, revision);
                assert_eq!(before, None, "every key is put once");
            }
            // Killed: whether this one happened is open.
            Err(_) => return,
        }
        if stop.load(Ordering::Relaxed) {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_kill_takes_anything_that_was_acknowledged() {
    let cycles = from_environment("KILL_CYCLES").unwrap_or(CYCLES);
    let data = tempfile::tempdir().expect("a directory");
    let address = host::free_port::address().expect("a port");
    let mut chance = Chance::new(cycles);
    let acknowledged = Acknowledged::default();
    let mut member = Member::start(data.path(), address);
    let client = Client::connect(&address.to_string()).await.expect("it serves");
    let mut revision = 0;
    for cycle in 0..cycles {
        let stop = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..WRITERS)
            .map(|number| {
                let name = format!("w/{cycle:03}/{number}");
                tokio::spawn(write(
                    client.clone(),
                    name,
                    Arc::clone(&acknowledged),
                    Arc::clone(&stop),
                ))
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(chance.between(20, 250))).await;
        drop(member);
        stop.store(true, Ordering::Relaxed);
        // Writers whose put had not been sent wait for the next one.
        member = Member::start(data.path(), address);
        for writer in writers {
            writer.await.expect("no panic");
        }
        revision = check(&client, &acknowledged, revision, cycle).await;
    }
    let acknowledged = acknowledged.lock().await.len();
    println!("{cycles} kills, {acknowledged} acknowledged puts, none lost");
    assert!(acknowledged as u64 > cycles, "the kills left time for some puts");
}

/// Everything acknowledged is there, at its revision; returns the store's.
async fn check(client: &Client, acknowledged: &Acknowledged, revision: i64, cycle: u64) -> i64 {
    let found = client
        .range(Keys::prefix("w/"), RangeOptions::default())
        .await
        .expect("readable");
    assert!(found.revision >= revision, "cycle {cycle}: the revision went back");
    let there: BTreeMap<&[u8], i64> = found.kvs.iter().map(|kv| (kv.key.as_ref(), kv.mod_revision)).collect();
    for (key, at) in acknowledged.lock().await.iter() {
        assert_eq!(
            there.get(key.as_bytes()),
            Some(at),
            "cycle {cycle}: {key} was acknowledged"
        );
    }
    found.revision
}
