use std::sync::Arc;

use disk::{Disk, RealDisk};
use log_broker_wire::ErrorCode;
use log_broker_wire::marker::Marker;

use super::super::broker::Broker;
use super::super::now_ms;
use super::super::partition::Refused;
use super::{migration, topic};
use crate::Flush;
use crate::group::{Committed, StoredGroup};
use crate::property::BrokerProperties;

fn open(dir: &tempfile::TempDir, settings: &[&str]) -> Arc<Broker> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let settings = settings.iter().copied().chain(["offsets.topic.num.partitions=3"]);
    let properties = BrokerProperties::parse(settings).unwrap();
    let advertised = (Some("localhost".to_owned()), 1);
    Broker::open(
        disk,
        dir.path(),
        properties,
        Flush::Sync,
        advertised,
        "127.0.0.1:1".to_owned(),
    )
    .unwrap()
}

fn at(offset: i64) -> Committed {
    Committed {
        offset,
        leader_epoch: 3,
        metadata: "m".to_owned(),
        committed_at_ms: now_ms(),
        expires_at_ms: None,
    }
}

fn committed(broker: &Broker, group: &str, topic: &str) -> Option<i64> {
    broker
        .groups
        .committed(group, topic, 0)
        .map(|committed| committed.offset)
}

#[tokio::test]
async fn offsets_of_many_groups_come_back_from_the_topic() {
    let dir = tempfile::tempdir().unwrap();
    let broker = open(&dir, &[]);
    assert!(broker.topics.get(topic::NAME).is_none());
    for group in 0..20 {
        let offsets = vec![("t".to_owned(), 0, at(group)), ("u".to_owned(), 0, at(group))];
        broker.groups.commit(&format!("g{group}"), offsets).await.unwrap();
    }
    broker
        .groups
        .commit("g3", vec![("t".to_owned(), 0, at(99))])
        .await
        .unwrap();
    broker.groups.delete_group("g4").await.unwrap();
    assert_eq!(
        broker.groups.delete_group("g4").await,
        Err(ErrorCode::GROUP_ID_NOT_FOUND)
    );
    broker.groups.forget_topic("u").await.unwrap();
    broker
        .groups
        .delete_offsets("g5", vec![("t".to_owned(), 0)])
        .await
        .unwrap();
    let check = |broker: &Broker| {
        assert_eq!(committed(broker, "g3", "t"), Some(99));
        assert_eq!(broker.groups.committed("g7", "t", 0).unwrap().metadata, "m");
        assert_eq!(
            (committed(broker, "g4", "t"), committed(broker, "g5", "t")),
            (None, None)
        );
        assert_eq!(committed(broker, "g6", "u"), None);
        assert_eq!(broker.groups.list().len(), 18);
    };
    check(&broker);
    assert_eq!(broker.topics.get(topic::NAME).unwrap().partitions.len(), 3);
    broker.close();
    check(&open(&dir, &[]));
}

#[tokio::test]
async fn the_older_format_is_taken_over_once() {
    let dir = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    open(&dir, &[]).close();
    migration::write_older(&disk, dir.path());
    let broker = open(&dir, &[]);
    assert!(!dir.path().join("__consumer_offsets").exists());
    let check = |broker: &Broker| {
        assert_eq!(
            (committed(broker, "g", "t"), committed(broker, "h", "t")),
            (Some(5), Some(8))
        );
        assert_eq!(committed(broker, "h", "u"), None);
        let group = broker.groups.describe("h").unwrap();
        assert_eq!((group.state, group.members[0].member_id.as_str()), ("Stable", "m-1"));
    };
    check(&broker);
    broker
        .groups
        .commit("g", vec![("t".to_owned(), 0, at(6))])
        .await
        .unwrap();
    broker.close();
    let broker = open(&dir, &[]);
    assert_eq!(committed(&broker, "g", "t"), Some(6));
}

#[tokio::test]
async fn transactional_offsets_wait_for_their_marker_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let broker = open(&dir, &[]);
    broker
        .groups
        .commit("g", vec![("t".to_owned(), 0, at(1))])
        .await
        .unwrap();
    let index = topic::partition_of("g", 3);
    for (producer_id, offset) in [(7, 5), (7, 6), (8, 9)] {
        let partition = broker.topics.partition(topic::NAME, index).unwrap();
        // What the call does before it asks the transaction's coordinator.
        let begun = partition.with_log(|log| Ok::<_, Refused>(log.begin_verification(producer_id, 0)));
        assert_eq!(begun, Ok(offset != 6));
        let offsets = vec![(format!("t{producer_id}"), 0, at(offset))];
        broker
            .groups
            .commit_transactional("g", producer_id, 0, offsets)
            .await
            .unwrap();
    }
    assert_eq!(
        (committed(&broker, "g", "t7"), broker.groups.is_unstable("g", "t7", 0)),
        (None, true)
    );
    broker.close();
    let broker = open(&dir, &[]);
    assert!(broker.groups.is_unstable("g", "t7", 0) && broker.groups.is_unstable("g", "t8", 0));
    for (producer_id, is_commit) in [(7, true), (8, false)] {
        let marker = Marker {
            producer_id,
            producer_epoch: 0,
            is_commit,
            coordinator_epoch: 0,
        };
        let partition = broker.topics.partition(topic::NAME, index).unwrap();
        partition.append_marker(&marker, now_ms()).unwrap();
        broker
            .groups
            .end_transaction(index, producer_id, is_commit)
            .await
            .unwrap();
    }
    let check = |broker: &Broker| {
        assert_eq!(
            (committed(broker, "g", "t7"), committed(broker, "g", "t8")),
            (Some(6), None)
        );
        assert!(!broker.groups.is_unstable("g", "t7", 0) && !broker.groups.is_unstable("g", "t8", 0));
    };
    check(&broker);
    broker.close();
    check(&open(&dir, &[]));
}

#[tokio::test]
async fn unused_offsets_expire_and_their_group_with_them() {
    let dir = tempfile::tempdir().unwrap();
    let broker = open(&dir, &[]);
    broker
        .groups
        .commit("old", vec![("t".to_owned(), 0, at(1))])
        .await
        .unwrap();
    let empty = StoredGroup {
        protocol_type: "consumer".to_owned(),
        protocol: None,
        generation: 2,
        leader: None,
        members: Default::default(),
        state_since_ms: 1,
    };
    super::lock(&broker.groups.core).groups.restore("e", empty, now_ms());
    broker.groups.expire(1000, now_ms()).await;
    assert_eq!(committed(&broker, "old", "t"), Some(1));
    assert!(!broker.groups.contains("e"));
    broker.groups.expire(1000, now_ms() + 1000).await;
    assert_eq!(
        (committed(&broker, "old", "t"), broker.groups.contains("old")),
        (None, false)
    );
    broker.close();
    assert_eq!(open(&dir, &[]).groups.list(), []);
}

#[tokio::test]
async fn a_damaged_partition_stops_its_groups_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let broker = open(&dir, &[]);
    for group in ["g", "h"] {
        for offset in 0..3 {
            broker
                .groups
                .commit(group, vec![("t".to_owned(), 0, at(offset))])
                .await
                .unwrap();
        }
    }
    let (damaged, sound) = (topic::partition_of("g", 3), topic::partition_of("h", 3));
    assert_ne!(damaged, sound);
    broker.close();
    let segment = dir
        .path()
        .join(format!("{}-{damaged}/00000000000000000000.log", topic::NAME));
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[70] ^= 0xff;
    std::fs::write(&segment, bytes).unwrap();
    let broker = open(&dir, &[]);
    assert_eq!(
        broker.groups.check(&broker, "g"),
        Err(ErrorCode::COORDINATOR_NOT_AVAILABLE)
    );
    assert_eq!(broker.groups.check(&broker, "h"), Ok(()));
    let commit = broker.groups.commit("g", vec![("t".to_owned(), 0, at(9))]).await;
    assert_eq!(commit, Err(ErrorCode::COORDINATOR_NOT_AVAILABLE));
    assert_eq!(committed(&broker, "h", "t"), Some(2));
}
