//! Every target with its seeds, and with what chance makes of them: on any compiler, some seconds each.
//!
//! `FUZZ_SECONDS=60 cargo test --manifest-path fuzz/Cargo.toml` takes longer. A failure prints the bytes; put them into
//! `fuzz/seeds/TARGET/`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use fuzz::mutation::Mutator;
use fuzz::{TARGETS, Target};

/// Seconds of mutations a target.
const SECONDS: u64 = 2;

fn seeds(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(name);
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("readable").path())
        .collect();
    files.sort();
    files
        .iter()
        .map(|file| std::fs::read(file).expect("readable"))
        .collect()
}

fn run((name, target): Target) {
    let seconds = std::env::var("FUZZ_SECONDS")
        .ok()
        .and_then(|seconds| seconds.parse().ok());
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(SECONDS));
    let seeds = seeds(name);
    assert!(!seeds.is_empty(), "{name} has no seeds");
    for seed in &seeds {
        target(seed);
    }
    let mut mutator = Mutator::new(seeds.len() as u64);
    let mut count = 0_u64;
    while Instant::now() < end {
        let bytes = mutator.mutate(&seeds);
        count += 1;
        if catch_unwind(AssertUnwindSafe(|| target(&bytes))).is_err() {
            panic!("{name} fails with {:?}", bytes.escape_ascii().to_string());
        }
    }
    println!("{name}: {} seeds, {count} mutations", seeds.len());
}

/// A test a target, so that they are told apart and run beside each other.
macro_rules! targets {
    ($($name:ident),*) => {
        $(
            #[test]
            fn $name() {
                let target = TARGETS.iter().find(|(name, _)| *name == stringify!($name));
                run(*target.expect("a target of this name"));
            }
        )*

        #[test]
        fn every_target_is_tried() {
            let tried = [$(stringify!($name)),*];
            for (name, _) in TARGETS {
                assert!(tried.contains(&name), "{name} is not in the list above");
            }
        }
    };
}

targets!(
    coordinator_entry,
    gateway_json,
    raft_message,
    raft_log,
    snapshot_file,
    log_broker_wire,
    dfs_wire
);
