//! Snapshots, hashes, quota, defragmentation: of a real process, over restarts.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use coordinator_client::{Keys, RangeOptions};
use coordinator_wire::etcdserverpb as pb;
use pb::alarm_request::AlarmAction;
use pb::maintenance_client::MaintenanceClient;
use testing::{Program, Signal};
use tonic::transport::Channel;

use crate::members::Cluster;
use crate::program::Coordinator;

async fn maintenance(coordinator: &Coordinator) -> MaintenanceClient<Channel> {
    MaintenanceClient::new(coordinator.channel().await)
}

async fn hash_kv(coordinator: &Coordinator) -> (u32, i64) {
    let request = pb::HashKvRequest { revision: 0 };
    let hashed = maintenance(coordinator).await.hash_kv(request).await.expect("hashed");
    let hashed = hashed.into_inner();
    (hashed.hash, hashed.hash_revision)
}

async fn save_snapshot(coordinator: &Coordinator, to: &Path) {
    let answers = maintenance(coordinator).await.snapshot(pb::SnapshotRequest {}).await;
    let mut answers = answers.expect("sent").into_inner();
    let (mut bytes, mut remaining) = (Vec::new(), u64::MAX);
    while let Some(piece) = answers.message().await.expect("whole") {
        assert!(piece.remaining_bytes <= remaining);
        remaining = piece.remaining_bytes;
        bytes.extend_from_slice(&piece.blob);
    }
    assert_eq!(
        (remaining, bytes.len() % 4096),
        (0, 32),
        "pages, and the checksum behind them"
    );
    fs::write(to, bytes).expect("written");
}

fn restore(snapshot: &Path, data: &Path) -> std::process::Output {
    restore_with(snapshot, data, &[])
}

fn restore_with(snapshot: &Path, data: &Path, flags: &[&str]) -> std::process::Output {
    Program::new(env!("CARGO_BIN_EXE_coordinator"))
        .arg("restore")
        .arg(snapshot)
        .arg("--data-dir")
        .arg(data)
        .args(flags)
        .run()
}

#[tokio::test]
async fn a_snapshot_is_restored_whole_and_a_damaged_one_not_at_all() {
    let (data, other) = (
        tempfile::tempdir().expect("a directory"),
        tempfile::tempdir().expect("a directory"),
    );
    let coordinator = Coordinator::start(data.path());
    let client = coordinator.client().await;
    for number in 0..300 {
        client
            .put(format!("k{:03}", number % 100), vec![b'x'; number])
            .await
            .expect("acknowledged");
    }
    client.delete(Keys::one("k007")).await.expect("acknowledged");
    let (lease, _) = client.lease_grant(600).await.expect("granted");
    let snapshot = other.path().join("snapshot.db");
    save_snapshot(&coordinator, &snapshot).await;
    let everything = client
        .range(Keys::prefix("k"), RangeOptions::default())
        .await
        .expect("read");
    let hash = hash_kv(&coordinator).await;
    coordinator.kill();

    let restored = other.path().join("data");
    let output = restore(&snapshot, &restored);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let coordinator = Coordinator::start(&restored);
    let client = coordinator.client().await;
    let found = client
        .range(Keys::prefix("k"), RangeOptions::default())
        .await
        .expect("read");
    assert_eq!((found.kvs, found.revision), (everything.kvs, everything.revision));
    assert_eq!(hash_kv(&coordinator).await, hash);
    client.lease_revoke(lease).await.expect("it is there");
    client.put("k007", "again").await.expect("it goes on");
    assert_eq!(coordinator.terminate(), Some(0));
    assert!(!restore(&snapshot, &restored).status.success(), "there is data already");

    let mut bytes = fs::read(&snapshot).expect("readable");
    bytes[5000] ^= 1;
    fs::write(&snapshot, bytes).expect("written");
    let output = restore(&snapshot, &other.path().join("none"));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && stderr.contains("integrity hash"),
        "{stderr}"
    );
}

/// What is saved while others write is the store at one revision, hash and all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_is_saved_under_load_is_one_moment_of_the_store() {
    let (data, other) = (
        tempfile::tempdir().expect("a directory"),
        tempfile::tempdir().expect("a directory"),
    );
    let coordinator = Coordinator::start(data.path());
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for task in 0..4 {
        let (client, stop) = (coordinator.client().await, Arc::clone(&stop));
        writers.push(tokio::spawn(async move {
            for number in 0_u64.. {
                if stop.load(Ordering::Relaxed) {
                    return number;
                }
                let put = client
                    .put(format!("{task}/{:03}", number % 200), vec![b'x'; 3_000])
                    .await;
                put.expect("acknowledged");
            }
            0
        }));
    }
    for round in 0..3 {
        let revision = coordinator
            .client()
            .await
            .put("round", "begins")
            .await
            .expect("acknowledged");
        let snapshot = other.path().join(format!("{round}.db"));
        save_snapshot(&coordinator, &snapshot).await;
        let restored = other.path().join(format!("{round}"));
        let output = restore(&snapshot, &restored);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let copy = Coordinator::start(&restored);
        let (hash, at) = hash_kv(&copy).await;
        assert!(at >= revision, "what was acknowledged before is in it");
        let request = pb::HashKvRequest { revision: at };
        let then = maintenance(&coordinator).await.hash_kv(request).await.expect("hashed");
        assert_eq!(hash, then.into_inner().hash, "at revision {at}");
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        assert!(writer.await.expect("no panic") > 0, "it did write");
    }
}

/// What compaction leaves free is given back before the next start serves, where it is as much as the flag says.
#[tokio::test]
async fn the_store_is_rewritten_at_a_start_that_asks_for_it() {
    let data = tempfile::tempdir().expect("a directory");
    let start = |megabytes: &str| {
        let flags = [format!("--bootstrap-defrag-threshold-megabytes={megabytes}")];
        Coordinator::start_with(data.path(), "http://127.0.0.1:0", &flags)
    };
    let size = async |coordinator: &Coordinator| {
        let status = maintenance(coordinator).await.status(pb::StatusRequest {}).await;
        status.expect("status").into_inner().db_size
    };
    let coordinator = start("0");
    let client = coordinator.client().await;
    for number in 0..40 {
        client
            .put("key", vec![b'a' + number % 26; 200_000])
            .await
            .expect("acknowledged");
    }
    let revision = client.put("kept", "1").await.expect("acknowledged");
    // What is in the file only now, since it is written behind.
    assert_eq!(coordinator.end_by(&[Signal::TERM]), Some(0));
    let coordinator = start("0");
    coordinator.client().await.compact(revision).await.expect("compacted");
    assert_eq!(coordinator.end_by(&[Signal::TERM]), Some(0));
    let coordinator = start("1000");
    let before = size(&coordinator).await;
    assert!(before > 4_000_000, "{before} bytes");
    assert_eq!(coordinator.end_by(&[Signal::TERM]), Some(0));
    let coordinator = start("1");
    let after = size(&coordinator).await;
    assert!(after < before / 2, "{before} bytes before, {after} after");
    let kept = coordinator.client().await.get("kept").await.expect("read");
    assert_eq!(kept.expect("it is there").value.as_ref(), b"1");
}

#[tokio::test]
async fn a_full_quota_refuses_writes_over_a_restart_until_space_is_made_and_the_alarm_disarmed() {
    let data = tempfile::tempdir().expect("a directory");
    let flags = ["--quota-backend-bytes=100000".to_owned()];
    let with_quota = || Coordinator::start_with(data.path(), "http://127.0.0.1:0", &flags);
    let coordinator = with_quota();
    let client = coordinator.client().await;
    let mut puts = 0;
    while client.put("key", vec![b'x'; 10_000]).await.is_ok() {
        puts += 1;
        assert!(puts < 20, "the quota is never reached");
    }
    assert!(puts >= 8, "the quota was reached after {puts} puts");
    coordinator.kill();

    let coordinator = with_quota();
    let client = coordinator.client().await;
    client.put("small", "x").await.expect_err("the alarm stands");
    assert!(client.get("key").await.expect("reads go on").is_some());
    let revision = client
        .range(Keys::prefix("key"), RangeOptions::default())
        .await
        .expect("read")
        .revision;
    client.compact(revision).await.expect("compaction goes on");
    let mut maintenance = maintenance(&coordinator).await;
    let size = async |maintenance: &mut MaintenanceClient<Channel>| {
        let status = maintenance.status(pb::StatusRequest {}).await.expect("status");
        status.into_inner().db_size
    };
    let before = size(&mut maintenance).await;
    maintenance
        .defragment(pb::DefragmentRequest {})
        .await
        .expect("defragmented");
    assert!(size(&mut maintenance).await <= before);
    assert!(client.get("key").await.expect("read from the new file").is_some());
    let alarms = pb::AlarmRequest {
        action: AlarmAction::Get.into(),
        ..Default::default()
    };
    let alarms = maintenance.alarm(alarms).await.expect("listed").into_inner().alarms;
    assert_eq!(alarms.len(), 1);
    for alarm in alarms {
        let disarm = pb::AlarmRequest {
            action: AlarmAction::Deactivate.into(),
            member_id: alarm.member_id,
            alarm: alarm.alarm,
        };
        maintenance.alarm(disarm).await.expect("disarmed");
    }
    client.put("small", "x").await.expect("there is room again");
    let hash = hash_kv(&coordinator).await;
    coordinator.kill();
    let coordinator = with_quota();
    assert_eq!(hash_kv(&coordinator).await, hash, "as it was before the kill");
}

/// etcd takes revision 0 once, because a store that never was compacted stands below it.
#[tokio::test]
async fn a_compaction_to_revision_0_is_taken_once_and_a_finished_one_is_logged() {
    let mut cluster = Cluster::start(1);
    let client = cluster.client().await;
    let compacted = async |cluster: &Cluster| {
        let mut maintenance = MaintenanceClient::new(cluster.members[0].channel().await);
        let hashed = maintenance.hash_kv(pb::HashKvRequest { revision: 0 }).await;
        hashed.expect("hashed").into_inner().compact_revision
    };
    assert_eq!(compacted(&cluster).await, -1);
    client.compact(0).await.expect("once");
    let again = client.compact(0).await.expect_err("only once");
    assert_eq!(
        again.to_string(),
        "etcdserver: mvcc: required revision has been compacted"
    );
    assert_eq!(compacted(&cluster).await, 0);
    let revision = client.put("a", "1").await.expect("acknowledged");
    client.compact(revision).await.expect("compacted");
    let line = format!("finished scheduled compaction compact_revision={revision} ");
    cluster.members[0].until_logged(0, &line).await;
    cluster.members[0].kill();
    cluster.restart(0);
    assert_eq!(compacted(&cluster).await, revision);
}

#[tokio::test]
async fn a_restore_bumps_the_revision_and_marks_all_before_as_compacted() {
    let (data, other) = (
        tempfile::tempdir().expect("a directory"),
        tempfile::tempdir().expect("a directory"),
    );
    let coordinator = Coordinator::start(data.path());
    let client = coordinator.client().await;
    for value in ["1", "2"] {
        client.put("kept", value).await.expect("acknowledged");
    }
    client.put("gone", "1").await.expect("acknowledged");
    client.delete(Keys::one("gone")).await.expect("acknowledged");
    let snapshot = other.path().join("snapshot.db");
    save_snapshot(&coordinator, &snapshot).await;
    for flags in [&["--bump-revision=5"][..], &["--mark-compacted"]] {
        let output = restore_with(&snapshot, &other.path().join("none"), flags);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            told.contains("--bump-revision") && told.contains("--mark-compacted"),
            "{told}"
        );
    }
    let restored = other.path().join("data");
    let output = restore_with(&snapshot, &restored, &["--bump-revision=1000000", "--mark-compacted"]);
    assert!(output.status.success(), "{output:?}");
    for _start in 0..2 {
        let coordinator = Coordinator::start(&restored);
        let client = coordinator.client().await;
        let at = |revision| RangeOptions {
            revision,
            ..Default::default()
        };
        let found = client.range(Keys::prefix(""), at(0)).await.expect("read");
        assert!(found.revision >= 1_000_005, "{found:?}");
        assert_eq!(found.kvs.len(), 1);
        assert_eq!((found.kvs[0].value.as_ref(), found.kvs[0].mod_revision), (&b"2"[..], 3));
        let refused = client.range(Keys::prefix(""), at(5)).await.expect_err("compacted");
        assert!(refused.to_string().contains("compacted"), "{refused}");
        client.put("new", "1").await.expect("it goes on");
        client.delete(Keys::one("new")).await.expect("it goes on");
        coordinator.kill();
    }
}

#[tokio::test]
async fn a_streamed_range_is_the_same_in_pieces() {
    let data = tempfile::tempdir().expect("a directory");
    let coordinator = Coordinator::start_with(
        data.path(),
        "http://127.0.0.1:0",
        &["--max-request-bytes=20000".to_owned()],
    );
    let client = coordinator.client().await;
    for number in 0..40 {
        client
            .put(format!("k{number:02}"), vec![b'x'; 2_000])
            .await
            .expect("acknowledged");
    }
    let mut kv = pb::kv_client::KvClient::new(coordinator.channel().await);
    let all = pb::RangeRequest {
        key: "k".into(),
        range_end: "l".into(),
        ..Default::default()
    };
    for request in [
        all.clone(),
        pb::RangeRequest {
            limit: 25,
            ..all.clone()
        },
        pb::RangeRequest {
            limit: 40,
            keys_only: true,
            ..all.clone()
        },
        pb::RangeRequest {
            count_only: true,
            ..all.clone()
        },
        pb::RangeRequest {
            revision: 5,
            ..all.clone()
        },
        pb::RangeRequest {
            key: "x".into(),
            range_end: "y".into(),
            ..all.clone()
        },
    ] {
        let whole = kv.range(request.clone()).await.expect("read").into_inner();
        let mut stream = kv.range_stream(request.clone()).await.expect("read").into_inner();
        let (mut merged, mut pieces) = (pb::RangeResponse::default(), 0);
        while let Some(piece) = stream.message().await.expect("goes on") {
            let piece = piece.range_response.expect("a part");
            assert!(merged.header.is_none(), "only the last one has a header");
            merged.kvs.extend(piece.kvs);
            (merged.header, merged.more, merged.count) = (piece.header, piece.more, piece.count);
            pieces += 1;
        }
        assert_eq!(merged, whole);
        assert!(request != all || pieces > 2, "{pieces} pieces");
    }
    let sorted = pb::RangeRequest {
        sort_order: pb::range_request::SortOrder::Descend.into(),
        ..all
    };
    let refused = kv.range_stream(sorted).await.expect_err("as in etcd");
    assert_eq!(refused.code(), tonic::Code::Unimplemented);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_puts_large_values_one_after_the_other_is_slowed_down_not_refused() {
    let data = tempfile::tempdir().expect("a directory");
    let flag = ["--unsafe-no-fsync".to_owned()];
    let coordinator = Coordinator::start_with(data.path(), "http://127.0.0.1:0", &flag);
    let client = coordinator.client().await;
    let value = vec![b'x'; 1 << 20];
    // More than waits for the persister in memory.
    for number in 0..200 {
        let key = format!("large/{}", number % 8);
        client.put(key, value.clone()).await.expect("it waits for room");
    }
}
