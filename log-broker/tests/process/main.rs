//! The real program, killed, misused and restarted, as its clients see it.

#![allow(clippy::unwrap_used, reason = "the helpers of a test are test code")]

mod broker;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use log_broker_wire::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use log_broker_wire::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use log_broker_wire::{batch, frame};

use broker::{Broker, free_address, program};
use log_broker_client::{At, Client, Codec, Error, ErrorCode, FetchOptions, ProducerOptions, Record};
use testing::TestDir;

async fn read_all(client: &Client, topic: &str, partition: i32) -> Vec<Record> {
    let mut records = Vec::new();
    let end = client.offset(topic, partition, At::Latest).await.unwrap();
    let mut next = client.offset(topic, partition, At::Earliest).await.unwrap();
    while next < end {
        let fetched = client
            .fetch(topic, partition, next, &FetchOptions::default())
            .await
            .unwrap();
        records.extend(fetched.records);
        next = fetched.next_offset;
    }
    records
}

fn value(text: impl Into<String>) -> Record {
    Record::new(text.into().into_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_nine_under_load_loses_nothing_acknowledged() {
    const PARTITIONS: i32 = 3;
    let data = TestDir::new();
    let listen = free_address();
    let mut broker = Broker::start(data.path(), &listen, &[]);
    let client = broker.client().await;
    client
        .create_topic("t", PARTITIONS, 1, &[("segment.bytes", "1048576")])
        .await
        .unwrap();
    let producer = Arc::new(client.producer(ProducerOptions::default()).await.unwrap());
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..PARTITIONS)
        .map(|partition| {
            let (producer, stop) = (Arc::clone(&producer), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let number = acknowledged.len();
                    let record = value(format!("{partition}-{number}-{}", "x".repeat(number % 3000)));
                    let offset = producer.send("t", partition, vec![record.clone()]).await.unwrap();
                    acknowledged.push((offset, record.value));
                }
                acknowledged
            })
        })
        .collect();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(700)).await;
        broker.kill();
        broker = Broker::start(data.path(), &listen, &[]);
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.store(true, Ordering::Relaxed);
    let mut total = 0;
    for (partition, writer) in writers.into_iter().enumerate() {
        let acknowledged = writer.await.unwrap();
        let stored = read_all(&client, "t", partition as i32).await;
        let stored: Vec<_> = stored.into_iter().map(|record| (record.offset, record.value)).collect();
        assert!(
            stored == acknowledged,
            "partition {partition}: {} acknowledged, {} stored",
            acknowledged.len(),
            stored.len()
        );
        total += stored.len();
    }
    assert!(total > 50, "only {total} records in all");
}

#[tokio::test]
async fn positions_and_topics_outlive_kill_nine() {
    let data = TestDir::new();
    let listen = free_address();
    let broker = Broker::start(data.path(), &listen, &[]);
    let client = broker.client().await;
    client.create_topic("t", 2, 1, &[]).await.unwrap();
    assert!(matches!(
        client.create_topic("t", 2, 1, &[]).await,
        Err(Error::TopicAlreadyExists(_))
    ));
    assert_eq!(client.committed("g", "t", &[0, 1]).await.unwrap(), [None, None]);
    client.commit("g", "t", &[(0, 5), (1, 7)]).await.unwrap();
    client.commit("g", "t", &[(0, 6)]).await.unwrap();
    broker.kill();
    let broker = Broker::start(data.path(), &listen, &[]);
    assert_eq!(client.committed("g", "t", &[1, 0]).await.unwrap(), [Some(7), Some(6)]);
    assert_eq!(
        client.metadata(Some(&["t"])).await.unwrap().topics[0].partitions.len(),
        2
    );
    client.delete_topic("t").await.unwrap();
    assert!(matches!(
        client.offset("t", 0, At::Latest).await,
        Err(Error::UnknownTopic(_))
    ));
    assert_eq!(broker.terminate(), Some(0));
    let broker = Broker::start(data.path(), &listen, &[]);
    let metadata = client.metadata(Some(&["t"])).await.unwrap();
    assert_eq!(metadata.topics[0].error, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    drop(broker);
}

#[tokio::test]
async fn every_codec_and_every_offset() {
    let data = TestDir::new();
    let broker = Broker::start(data.path(), "127.0.0.1:0", &["--flush", "os"]);
    let client = broker.client().await;
    client.create_topic("t", 1, 1, &[]).await.unwrap();
    let mut expected = Vec::new();
    for (place, compression) in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4]
        .into_iter()
        .enumerate()
    {
        let producer = client
            .producer(ProducerOptions {
                compression,
                ..Default::default()
            })
            .await
            .unwrap();
        let records: Vec<Record> = (0..10)
            .map(|i| Record {
                timestamp: 1_700_000_000_000 + (place as i64) * 100 + i,
                key: Some("k".into()),
                headers: vec![("h".to_owned(), None)],
                ..value(format!("{place}-{i}"))
            })
            .collect();
        assert_eq!(producer.send("t", 0, records.clone()).await.unwrap(), place as i64 * 10);
        expected.extend(records);
    }
    for (offset, record) in expected.iter_mut().enumerate() {
        record.offset = offset as i64;
    }
    assert_eq!(read_all(&client, "t", 0).await, expected);
    for offset in 0..40 {
        // Two bytes at most: still the whole batch that holds the offset.
        let options = FetchOptions {
            max_bytes: 2,
            ..Default::default()
        };
        let fetched = client.fetch("t", 0, offset, &options).await.unwrap();
        assert_eq!(
            fetched.records,
            expected[offset as usize..(offset as usize / 10 + 1) * 10]
        );
    }
    assert_eq!(
        client.offset("t", 0, At::Timestamp(1_700_000_000_105)).await.unwrap(),
        15
    );
    assert_eq!(
        client.offset("t", 0, At::Timestamp(1_700_000_009_000)).await.unwrap(),
        40
    );
    assert!(matches!(
        client.fetch("t", 0, 41, &FetchOptions::default()).await,
        Err(Error::OffsetOutOfRange { offset: 41, .. })
    ));
}

#[tokio::test]
async fn a_long_poll_wakes_when_enough_is_there() {
    let data = TestDir::new();
    let broker = Broker::start(data.path(), "127.0.0.1:0", &[]);
    let client = broker.client().await;
    client.create_topic("t", 1, 1, &[]).await.unwrap();
    let producer = client.producer(ProducerOptions::default()).await.unwrap();
    let begun = Instant::now();
    let wait = FetchOptions {
        max_wait: Duration::from_millis(400),
        ..Default::default()
    };
    assert!(client.fetch("t", 0, 0, &wait).await.unwrap().records.is_empty());
    assert!(begun.elapsed() >= Duration::from_millis(390), "{:?}", begun.elapsed());

    let patient = FetchOptions {
        min_bytes: 1000,
        max_wait: Duration::from_secs(20),
        ..Default::default()
    };
    let poll = tokio::spawn({
        let client = client.clone();
        async move { client.fetch("t", 0, 0, &patient).await.unwrap() }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    producer.send("t", 0, vec![value("too little")]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!poll.is_finished());
    producer.send("t", 0, vec![value("x".repeat(1000))]).await.unwrap();
    let fetched = tokio::time::timeout(Duration::from_secs(5), poll)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(fetched.records.len(), 2);
}

#[tokio::test]
async fn a_damaged_segment_takes_its_partition_offline_and_is_named() {
    let data = TestDir::new();
    let broker = Broker::start(data.path(), "127.0.0.1:0", &[]);
    let client = broker.client().await;
    client.create_topic("t", 2, 1, &[]).await.unwrap();
    let producer = client.producer(ProducerOptions::default()).await.unwrap();
    for i in 0..10 {
        producer.send("t", 0, vec![value(format!("first {i}"))]).await.unwrap();
        producer.send("t", 1, vec![value(format!("second {i}"))]).await.unwrap();
    }
    broker.kill();
    let segment = data.path().join("t-0/00000000000000000000.log");
    let mut bytes = std::fs::read(&segment).unwrap();
    let place = bytes.len() / 2;
    bytes[place] ^= 0x10;
    std::fs::write(&segment, &bytes).unwrap();
    let broker = Broker::start(data.path(), "127.0.0.1:0", &[]);
    let client = Client::connect_within(&broker.listen, "test", Duration::from_millis(300))
        .await
        .unwrap();
    assert_eq!(read_all(&client, "t", 1).await.len(), 10);
    let refused = client.fetch("t", 0, 0, &FetchOptions::default()).await.unwrap_err();
    assert!(refused.to_string().contains("KAFKA_STORAGE_ERROR"), "{refused}");
    let health = broker.get("/healthz");
    assert!(
        health.status == 503 && health.body.contains("is damaged at byte"),
        "{health:?}"
    );
    assert_eq!(std::fs::read(&segment).unwrap(), bytes, "a damaged file is left alone");
}

/// Sends bytes, closes the sending side, and returns what comes back until the broker closes.
fn exchange(listen: &str, bytes: &[u8], end_of_input: bool) -> Vec<u8> {
    let mut stream = TcpStream::connect(listen).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // The broker may close before all is written.
    let _ = stream.write_all(bytes);
    if end_of_input {
        let _ = stream.shutdown(Shutdown::Write);
    }
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

fn frame(body: &[u8]) -> Vec<u8> {
    [&(body.len() as i32).to_be_bytes()[..], body].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_closes_connections_and_nothing_else() {
    let data = TestDir::new();
    let broker = Broker::start(data.path(), "127.0.0.1:0", &[]);
    let client = broker.client().await;
    let header =
        |key: i16, version: i16| [&key.to_be_bytes()[..], &version.to_be_bytes(), &[0, 0, 0, 7, 255, 255]].concat();
    let idle: Vec<TcpStream> = (0..500).map(|_| TcpStream::connect(&broker.listen).unwrap()).collect();
    let before = broker.resident_bytes();
    // Arrays of i32::MAX, in a request that would be answered otherwise.
    let produce = [header(0, 3), vec![255, 255, 0, 1, 0, 0, 0, 9, 0x7f, 255, 255, 255]].concat();
    let metadata = [header(3, 1), vec![0x7f, 255, 255, 255]].concat();
    let metadata_compact = [header(3, 9), vec![0, 255, 255, 255, 255, 15]].concat();
    for hostile in [
        frame(&produce),
        frame(&metadata),
        frame(&metadata_compact),
        frame(&header(999, 0)),
        frame(&header(3, 99)),
        frame(&[0; 8]),
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        0x7fff_ffff_i32.to_be_bytes().to_vec(),
        (-1_i32).to_be_bytes().to_vec(),
        0_i32.to_be_bytes().to_vec(),
        vec![0xff; 4096],
    ] {
        assert_eq!(exchange(&broker.listen, &hostile, false), b"", "{hostile:?}");
    }
    for cut in 1..produce.len() {
        assert_eq!(exchange(&broker.listen, &frame(&produce)[..cut], true), b"");
    }
    // Announced and never sent: a hundred times 90 MB.
    let announced: Vec<TcpStream> = (0..100)
        .map(|_| {
            let mut stream = TcpStream::connect(&broker.listen).unwrap();
            stream.write_all(&(90_i32 << 20).to_be_bytes()).unwrap();
            stream
        })
        .collect();
    assert!(client.metadata(None).await.unwrap().topics.is_empty());
    let grown = broker.resident_bytes().saturating_sub(before);
    assert!(grown < 30 << 20, "RSS grew by {grown} bytes");
    drop((idle, announced));
    // A version of ApiVersions that nobody knows is answered in version 0, and the connection goes on.
    let asked = [frame(&header(18, 99)), frame(&header(18, 0))].concat();
    let answer = exchange(&broker.listen, &asked, true);
    assert_eq!(answer[4..14], [0, 0, 0, 7, 0, 35, 0, 0, 0, 1]);
    assert!(answer.len() > 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_take_nothing_cost_no_memory() {
    let data = TestDir::new();
    let broker = Broker::start(data.path(), "127.0.0.1:0", &["--flush", "os"]);
    let client = broker.client().await;
    client.create_topic("t", 1, 1, &[]).await.unwrap();
    let producer = client.producer(ProducerOptions::default()).await.unwrap();
    for _ in 0..32 {
        producer.send("t", 0, vec![value("x".repeat(900_000))]).await.unwrap();
    }
    let before = broker.resident_bytes();
    let partition = FetchPartition {
        partition: 0,
        partition_max_bytes: 50 << 20,
        ..Default::default()
    };
    let request = FetchRequest {
        min_bytes: 1,
        max_bytes: 50 << 20,
        topics: vec![FetchTopic {
            topic: "t".to_owned(),
            partitions: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    };
    let asked = frame::write_request(&request, 11, 7, "slow").concat();
    let mut readers: Vec<TcpStream> = (0..20)
        .map(|_| {
            let mut stream = TcpStream::connect(&broker.listen).unwrap();
            stream.write_all(&asked).unwrap();
            stream
        })
        .collect();
    let deadline = Instant::now() + Duration::from_secs(20);
    for reader in &readers {
        reader.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        // It has an answer, and takes none of it.
        assert!(reader.peek(&mut [0; 4]).unwrap() > 0 && Instant::now() < deadline);
    }
    let grown = broker.resident_bytes().saturating_sub(before);
    assert!(grown < 20 << 20, "RSS grew by {grown} bytes");
    // What comes in the end is whole: a length, then as much.
    let mut length = [0; 4];
    readers[0].read_exact(&mut length).unwrap();
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    readers[0].read_exact(&mut answer).unwrap();
    assert!(answer.len() > 32 * 900_000);
    let response = frame::read_response::<FetchRequest>(answer.into(), 11, 7).unwrap();
    let mut records = response.responses[0].partitions[0]
        .records
        .clone()
        .unwrap()
        .into_bytes();
    for offset in 0..32 {
        let header = batch::check(&records).unwrap();
        assert_eq!(header.base_offset, offset);
        let _ = records.split_to(header.len);
    }
    assert!(records.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn senders_that_do_not_get_on_hold_up_no_other() {
    let data = TestDir::new();
    let broker = Broker::start(data.path(), "127.0.0.1:0", &["--flush", "os"]);
    let client = broker.client().await;
    client.create_topic("t", 1, 1, &[]).await.unwrap();
    let producer = client.producer(ProducerOptions::default()).await.unwrap();
    let announce = |sent: usize| {
        let mut stream = TcpStream::connect(&broker.listen).unwrap();
        stream.write_all(&(100_i32 << 20).to_be_bytes()).unwrap();
        stream.write_all(&vec![0; sent]).unwrap();
        stream
    };
    // Announced only.
    let announced: Vec<TcpStream> = (0..5).map(|_| announce(100)).collect();
    let begun = Instant::now();
    producer.send("t", 0, vec![value("x".repeat(200_000))]).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    // All memory taken, and then nothing more.
    let stalled: Vec<TcpStream> = (0..4).map(|_| announce(90 << 20)).collect();
    let begun = Instant::now();
    producer.send("t", 0, vec![value("x".repeat(200_000))]).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    drop((announced, stalled));
}

#[tokio::test]
async fn a_producer_without_answers_is_told_by_the_end_of_its_connection() {
    let data = TestDir::new();
    let broker = Broker::start(data.path(), "127.0.0.1:0", &[]);
    let topic = TopicProduceData {
        name: "nowhere".to_owned(),
        partition_data: vec![PartitionProduceData {
            index: 0,
            records: Some(log_broker_wire::record::encode_batch(&[value("v")], Codec::None, None).unwrap()),
        }],
        ..Default::default()
    };
    let request = ProduceRequest {
        acks: 0,
        topic_data: vec![topic],
        ..Default::default()
    };
    let produce = frame::write_request(&request, 7, 1, "silent").concat();
    assert_eq!(exchange(&broker.listen, &produce, false), b"");
}

#[tokio::test]
async fn the_status_page_has_addresses_and_counts() {
    let data = TestDir::new();
    let broker = Broker::start(data.path(), "127.0.0.1:0", &[]);
    broker.client().await.create_topic("t", 3, 1, &[]).await.unwrap();
    let status = broker.status();
    assert_eq!(
        (&status["program"], &status["role"]),
        (&"log-broker".into(), &"broker".into())
    );
    assert_eq!(status["ready"], true);
    assert_eq!(status["facts"]["partitions"], 3);
    assert_eq!(status["data_directory"], data.path().display().to_string());
}

#[test]
fn what_cannot_work_is_said_in_one_line() {
    let data = TestDir::new();
    let broker = Broker::start(data.path(), "127.0.0.1:0", &[]);
    let other = TestDir::new();
    let fails = |data: &Path, listen: &str, more: &[&str], code: i32, said: &[&str]| {
        let output = program(data, listen, more).run();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        assert!(said.iter().all(|said| stderr.contains(said)), "{stderr}");
    };
    fails(
        other.path(),
        &broker.listen,
        &[],
        1,
        &["error: ", &broker.listen, "--listen"],
    );
    fails(data.path(), "127.0.0.1:0", &[], 1, &["error: ", "held"]);
    fails(
        other.path(),
        "127.0.0.1:0",
        &["--set", "num.partition=3"],
        1,
        &["error: ", "num.partition"],
    );
    fails(
        other.path(),
        "127.0.0.1:0",
        &["--set", "num.partitions=0"],
        1,
        &["error: ", "within 1"],
    );
    fails(other.path(), "127.0.0.1:0", &["--flush", "never"], 2, &["--flush"]);
}
