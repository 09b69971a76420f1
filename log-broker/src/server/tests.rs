use std::sync::Arc;

use bytes::Bytes;
use disk::faulty::FaultyDisk;
use disk::{Disk, RealDisk};
use log_broker_wire::batch::{self, BatchHeader};
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
            "127.0.0.1:1".to_owned(),
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
    let response = api::produce::begin(broker, request, &Default::default())
        .finish()
        .await
        .unwrap();
    let answer = &response.responses[0].partition_responses[0];
    (ErrorCode(answer.error_code), answer.base_offset)
}

fn one_record(value: &str) -> Bytes {
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
    assert_eq!(produce(&broker, one_record("a")).await, (ErrorCode::NONE, 0));
    faulty.set_space_left(Some(20));
    assert_eq!(
        produce(&broker, one_record("b")).await,
        (ErrorCode::KAFKA_STORAGE_ERROR, -1)
    );
    assert_eq!(
        broker.topics.create("u", 1, Default::default()).unwrap_err().code,
        ErrorCode::KAFKA_STORAGE_ERROR
    );
    assert!(broker.topics.get("u").is_none());
    faulty.set_space_left(None);
    assert_eq!(produce(&broker, one_record("c")).await, (ErrorCode::NONE, 1));
    broker.topics.create("u", 1, Default::default()).unwrap();
    broker.close();
}

#[tokio::test]
async fn a_failed_sync_ends_acknowledgements_and_says_so() {
    let world = World::new();
    let faulty = world.faulty.clone();
    let broker = world.open();
    broker.topics.create("t", 1, Default::default()).unwrap();
    assert_eq!(produce(&broker, one_record("a")).await.0, ErrorCode::NONE);
    faulty.fail_syncs(true);
    assert_eq!(
        produce(&broker, one_record("b")).await.0,
        ErrorCode::KAFKA_STORAGE_ERROR
    );
    faulty.fail_syncs(false);
    assert_eq!(
        produce(&broker, one_record("c")).await.0,
        ErrorCode::KAFKA_STORAGE_ERROR
    );
    assert!(broker.health().unwrap_err().contains("restart"));
    broker.close();
    let broker = world.open();
    assert_eq!(broker.health(), Ok(()));
    assert_eq!(produce(&broker, one_record("d")).await.0, ErrorCode::NONE);
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
                records: Some(one_record(&i.to_string())),
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
            api::produce::begin(&broker, request, &Default::default())
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
            .with_log(|log| log.check().map(|()| log.high_watermark())),
        Ok(200)
    );
}

#[tokio::test]
async fn what_a_client_may_not_store_is_refused() {
    let world = World::new();
    let broker = world.open();
    broker.topics.create("t", 1, Default::default()).unwrap();
    let good = one_record("good");
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
        ("a time far ahead", resealed(27, 0x10), ErrorCode::INVALID_TIMESTAMP),
        (
            "a record behind its length",
            resealed(61, 0x40),
            ErrorCode::INVALID_RECORD,
        ),
        (
            "too much",
            one_record(&"x".repeat(1 << 20)),
            ErrorCode::MESSAGE_TOO_LARGE,
        ),
    ] {
        assert_eq!(produce(&broker, bytes).await, (code, -1), "{what}");
    }
    assert_eq!(produce(&broker, good).await, (ErrorCode::NONE, 0));
}

/// What a broker stored of a batch whose header claims `max_timestamp`.
async fn stored(broker: &Broker, topic: &str, max_timestamp: i64) -> (BatchHeader, Vec<i64>) {
    let records: Vec<Record> = (1000..1010)
        .map(|timestamp| Record {
            timestamp,
            ..Record::new("v")
        })
        .collect();
    let mut batch = record::encode_batch(&records, Codec::Gzip, None).unwrap().to_vec();
    let mut header = batch::check(&batch).unwrap();
    header.set_max_timestamp(&batch, max_timestamp, false);
    batch[..61].copy_from_slice(&header.encode());
    let data = PartitionProduceData {
        index: 0,
        records: Some(batch.into()),
    };
    let request = ProduceRequest {
        acks: 1,
        topic_data: vec![TopicProduceData {
            name: topic.to_owned(),
            partition_data: vec![data],
            ..Default::default()
        }],
        ..Default::default()
    };
    let response = api::produce::begin(broker, request, &Default::default())
        .finish()
        .await
        .unwrap();
    let answer = &response.responses[0].partition_responses[0];
    assert_eq!(answer.error_code, 0);
    let partition = broker.topics.partition(topic, 0).unwrap();
    let slice = partition
        .with_log(|log| log.locate(answer.base_offset, log.log_end_offset(), 1))
        .unwrap()
        .unwrap();
    let bytes = log::read_batches(&slice, answer.base_offset, i64::MAX, 1).unwrap();
    let header = batch::check(&bytes).unwrap();
    let timestamps = record::records(bytes, 1 << 20)
        .unwrap()
        .map(|record| record.unwrap().timestamp);
    assert_eq!(
        answer.log_append_time_ms,
        if header.is_log_append_time() {
            header.max_timestamp
        } else {
            -1
        }
    );
    (header, timestamps.collect())
}

#[tokio::test]
async fn the_largest_timestamp_of_a_batch_is_the_brokers_to_tell() {
    let world = World::new();
    let broker = world.open();
    broker.topics.create("t", 1, Default::default()).unwrap();
    for claimed in [1009, 1000, -1, 2000] {
        let (header, timestamps) = stored(&broker, "t", claimed).await;
        assert_eq!(
            (header.max_timestamp, header.is_log_append_time()),
            (1009, false),
            "{claimed}"
        );
        assert_eq!(timestamps, (1000..1010).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn with_log_append_time_the_brokers_clock_is_the_records_time() {
    let world = World::new();
    let broker = world.open();
    let properties = [("message.timestamp.type".to_owned(), "LogAppendTime".to_owned())];
    broker.topics.create("t", 1, properties.into()).unwrap();
    let before = super::now_ms();
    let (header, timestamps) = stored(&broker, "t", 1009).await;
    assert!(header.is_log_append_time() && (before..=super::now_ms()).contains(&header.max_timestamp));
    assert_eq!(timestamps, [header.max_timestamp; 10]);
}

#[tokio::test]
async fn a_record_that_is_refused_is_named() {
    let world = World::new();
    let broker = world.open();
    let properties = [("message.timestamp.before.max.ms".to_owned(), "1000".to_owned())];
    broker.topics.create("t", 1, properties.into()).unwrap();
    let records = [super::now_ms(), 1, -1, 2].map(|timestamp| Record {
        timestamp,
        ..Record::new("v")
    });
    let data = PartitionProduceData {
        index: 0,
        records: Some(record::encode_batch(&records, Codec::None, None).unwrap()),
    };
    let request = |acks: i16| ProduceRequest {
        acks,
        topic_data: vec![TopicProduceData {
            name: "t".to_owned(),
            partition_data: vec![data.clone()],
            ..Default::default()
        }],
        ..Default::default()
    };
    let begun = api::produce::begin(&broker, request(1), &Default::default());
    assert!(begun.refused_silently().is_none());
    let response = begun.finish().await.unwrap();
    let answer = &response.responses[0].partition_responses[0];
    assert_eq!(answer.error_code, ErrorCode::INVALID_TIMESTAMP.0);
    let named: Vec<i32> = answer.record_errors.iter().map(|error| error.batch_index).collect();
    assert_eq!(named, [1, 3]);
    // A producer that takes no answers loses its connection.
    assert!(
        api::produce::begin(&broker, request(0), &Default::default())
            .refused_silently()
            .is_some()
    );
}

#[tokio::test]
async fn a_compacted_topic_takes_no_record_without_a_key() {
    let world = World::new();
    let broker = world.open();
    let properties = [("cleanup.policy".to_owned(), "compact,delete".to_owned())];
    broker.topics.create("t", 1, properties.into()).unwrap();
    assert_eq!(produce(&broker, one_record("v")).await, (ErrorCode::INVALID_RECORD, -1));
    let record = Record {
        key: Some("k".into()),
        ..Record::new("v")
    };
    let batch = record::encode_batch(&[record], Codec::Zstd, None).unwrap();
    assert_eq!(produce(&broker, batch).await, (ErrorCode::NONE, 0));
}

#[tokio::test]
async fn batches_are_stored_in_the_codec_of_the_topic() {
    let world = World::new();
    let broker = world.open();
    for (topic, name, codec) in [
        ("a", "zstd", Codec::Zstd),
        ("b", "uncompressed", Codec::None),
        ("c", "gzip", Codec::Gzip),
        ("d", "producer", Codec::Gzip),
    ] {
        let properties = [("compression.type".to_owned(), name.to_owned())];
        broker.topics.create(topic, 1, properties.into()).unwrap();
        let (header, timestamps) = stored(&broker, topic, -1).await;
        assert_eq!((header.codec(), header.max_timestamp), (Ok(codec), 1009));
        assert_eq!(timestamps, (1000..1010).collect::<Vec<_>>());
    }
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
    produce(&broker, one_record("old")).await;
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
    assert_eq!(produce(&broker, one_record("new")).await, (ErrorCode::NONE, 0));
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
