use std::sync::Arc;

use bytes::Bytes;
use disk::faulty::FaultyDisk;
use disk::{Disk, RealDisk};
use log_broker_wire::compression::Codec;
use log_broker_wire::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use log_broker_wire::{ErrorCode, Record, record};

use super::{Broker, api};
use crate::property::BrokerProperties;
use crate::{Flush, catalog, log};

/// A data directory on a disk that can be told to fail.
struct World {
    dir: tempfile::TempDir,
    faulty: FaultyDisk,
}

impl World {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            faulty: FaultyDisk::new(Arc::new(RealDisk)),
        }
    }

    fn try_open(&self) -> Result<Arc<Broker>, super::Error> {
        let advertised = (Some("localhost".to_owned()), 1);
        let disk: Arc<dyn Disk> = Arc::new(self.faulty.clone());
        Broker::open(
            disk,
            self.dir.path(),
            BrokerProperties::default(),
            Flush::Sync,
            advertised,
        )
    }

    fn open(&self) -> Arc<Broker> {
        self.try_open().unwrap()
    }
}

async fn produce(broker: &Broker, batch: Bytes) -> (ErrorCode, i64) {
    let data = PartitionProduceData {
        index: 0,
        records: Some(batch),
    };
    let topic = TopicProduceData {
        name: "t".to_owned(),
        partition_data: vec![data],
        ..Default::default()
    };
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 10_000,
        topic_data: vec![topic],
        ..Default::default()
    };
    let response = api::produce::begin(broker, request).finish().await.unwrap();
    let answer = &response.responses[0].partition_responses[0];
    (ErrorCode(answer.error_code), answer.base_offset)
}

fn batch(value: &str) -> Bytes {
    let record = Record {
        timestamp: 1,
        ..Record::new(value.as_bytes().to_vec())
    };
    record::encode_batch(&[record], Codec::None, None).unwrap()
}

#[tokio::test]
async fn a_full_disk_is_a_storage_error_until_there_is_space() {
    let world = World::new();
    let faulty = world.faulty.clone();
    let broker = world.open();
    broker.topics.create("t", 1, Default::default()).unwrap();
    assert_eq!(produce(&broker, batch("a")).await, (ErrorCode::NONE, 0));
    faulty.set_space_left(Some(20));
    assert_eq!(produce(&broker, batch("b")).await, (ErrorCode::KAFKA_STORAGE_ERROR, -1));
    assert_eq!(
        broker.topics.create("u", 1, Default::default()).unwrap_err().code,
        ErrorCode::KAFKA_STORAGE_ERROR
    );
    assert!(broker.topics.get("u").is_none());
    faulty.set_space_left(None);
    assert_eq!(produce(&broker, batch("c")).await, (ErrorCode::NONE, 1));
    broker.topics.create("u", 1, Default::default()).unwrap();
    broker.close();
}

#[tokio::test]
async fn a_failed_sync_ends_acknowledgements_and_says_so() {
    let world = World::new();
    let faulty = world.faulty.clone();
    let broker = world.open();
    broker.topics.create("t", 1, Default::default()).unwrap();
    assert_eq!(produce(&broker, batch("a")).await.0, ErrorCode::NONE);
    faulty.fail_syncs(true);
    assert_eq!(produce(&broker, batch("b")).await.0, ErrorCode::KAFKA_STORAGE_ERROR);
    faulty.fail_syncs(false);
    assert_eq!(produce(&broker, batch("c")).await.0, ErrorCode::KAFKA_STORAGE_ERROR);
    assert!(broker.health().unwrap_err().contains("restart"));
    broker.close();
    let broker = world.open();
    assert_eq!(broker.health(), Ok(()));
    assert_eq!(produce(&broker, batch("d")).await.0, ErrorCode::NONE);
}

#[tokio::test]
async fn many_producers_share_a_sync() {
    let world = World::new();
    let faulty = world.faulty.clone();
    let broker = world.open();
    broker.topics.create("t", 1, Default::default()).unwrap();
    let before = faulty.syncs();
    let begun: Vec<_> = (0..200)
        .map(|i| {
            let data = PartitionProduceData {
                index: 0,
                records: Some(batch(&i.to_string())),
            };
            let topic = TopicProduceData {
                name: "t".to_owned(),
                partition_data: vec![data],
                ..Default::default()
            };
            let request = ProduceRequest {
                acks: -1,
                timeout_ms: 10_000,
                topic_data: vec![topic],
                ..Default::default()
            };
            api::produce::begin(&broker, request)
        })
        .collect();
    for one in begun {
        let response = one.finish().await.unwrap();
        assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
    }
    assert!(faulty.syncs() - before <= 200);
    assert_eq!(
        broker
            .topics
            .partition("t", 0)
            .unwrap()
            .with_log(|log| log.check().map(|()| log.durable_end())),
        Ok(200)
    );
}

#[tokio::test]
async fn what_a_client_may_not_store_is_refused() {
    let world = World::new();
    let broker = world.open();
    broker.topics.create("t", 1, Default::default()).unwrap();
    let good = batch("good");
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.to_vec();
        change(&mut bytes);
        Bytes::from(bytes)
    };
    // A field that the CRC covers, with the CRC made right again.
    let resealed = |place: usize, value: u8| {
        changed(&|bytes| {
            bytes[place] = value;
            let crc = crc32c::crc32c(&bytes[21..]).to_be_bytes();
            bytes[17..21].copy_from_slice(&crc);
        })
    };
    for (what, bytes, code) in [
        ("nothing", Bytes::new(), ErrorCode::CORRUPT_MESSAGE),
        (
            "a wrong CRC",
            changed(&|bytes| bytes[70] ^= 1),
            ErrorCode::CORRUPT_MESSAGE,
        ),
        ("magic 1", changed(&|bytes| bytes[16] = 1), ErrorCode::INVALID_RECORD),
        (
            "two batches",
            Bytes::from([good.clone(), good.clone()].concat()),
            ErrorCode::INVALID_RECORD,
        ),
        ("a cut batch", good.slice(..good.len() - 1), ErrorCode::CORRUPT_MESSAGE),
        ("a wrong count", resealed(60, 2), ErrorCode::INVALID_RECORD),
        ("a control batch", resealed(22, 0x20), ErrorCode::INVALID_RECORD),
        (
            "an unknown codec",
            resealed(22, 7),
            ErrorCode::UNSUPPORTED_COMPRESSION_TYPE,
        ),
        ("a time far ahead", resealed(35, 0x10), ErrorCode::INVALID_TIMESTAMP),
        ("too much", batch(&"x".repeat(1 << 20)), ErrorCode::MESSAGE_TOO_LARGE),
    ] {
        assert_eq!(produce(&broker, bytes).await, (code, -1), "{what}");
    }
    assert_eq!(produce(&broker, good).await, (ErrorCode::NONE, 0));
}

#[tokio::test]
async fn the_records_of_a_deleted_topic_do_not_come_back_with_its_name() {
    let world = World::new();
    let broker = world.open();
    let name = "n".repeat(249); // The longest there is.
    broker.topics.create(&name, 1, Default::default()).unwrap();
    broker.topics.delete(&name).unwrap();
    assert!(
        world
            .faulty
            .list(world.dir.path())
            .unwrap()
            .iter()
            .all(|entry| !entry.name.starts_with("nnn"))
    );
    broker.topics.create("t", 1, Default::default()).unwrap();
    produce(&broker, batch("old")).await;
    broker.close();
    // As a crash leaves it between the catalog and the removal of the logs.
    let catalog = log::read_optional(&world.faulty, world.dir.path(), catalog::FILE)
        .unwrap()
        .unwrap();
    let mut catalog: catalog::Catalog = serde_json::from_slice(&catalog).unwrap();
    catalog.topics.clear();
    let catalog = serde_json::to_vec(&catalog).unwrap();
    log::replace(&world.faulty, world.dir.path(), catalog::FILE, &catalog).unwrap();
    let broker = world.open();
    broker.topics.create("t", 1, Default::default()).unwrap();
    assert_eq!(produce(&broker, batch("new")).await, (ErrorCode::NONE, 0));
    broker.close();
    // Without its catalog the broker does not start.
    world.faulty.remove_file(&world.dir.path().join(catalog::FILE)).unwrap();
    assert!(
        world
            .try_open()
            .unwrap_err()
            .to_string()
            .contains("catalog.json is missing")
    );
}
