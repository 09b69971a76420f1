//! The connector against a broker in memory.

mod broker;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use bytes::Bytes;
use log_broker_client::Record;

use self::broker::{Broker, TOPIC, append, log};
use super::*;
use crate::connector::SourceEvent;
use crate::table::{MetadataColumn, RowKind};

fn table(bootstrap: &str, options: &[(&str, &str)]) -> TableSpec {
    let base = [
        ("connector", "kafka"),
        ("topic", TOPIC),
        ("properties.bootstrap.servers", bootstrap),
        ("format", "json"),
        ("scan.startup.mode", "earliest-offset"),
    ];
    let mut merged = std::collections::BTreeMap::new();
    for (key, value) in base.iter().chain(options) {
        merged.insert((*key).to_owned(), (*value).to_owned());
    }
    TableSpec {
        name: "flights".to_owned(),
        physical: Arc::new(Schema::new(vec![
            Field::new("n", DataType::Int64, true),
            Field::new("at", DataType::Int64, true),
            Field::new(
                "ts",
                DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
                true,
            ),
        ])),
        metadata: vec![
            MetadataColumn {
                column: "at".to_owned(),
                key: "offset".to_owned(),
                virtual_: true,
            },
            MetadataColumn {
                column: "ts".to_owned(),
                key: "timestamp".to_owned(),
                virtual_: false,
            },
        ],
        options: merged,
        partition_keys: Vec::new(),
        primary_key: Vec::new(),
    }
}

fn flight(n: i64) -> Record {
    Record {
        timestamp: 1_000 * n,
        ..Record::new(Bytes::from(format!("{{\"n\":{n}}}")))
    }
}

/// Reads until the source ends, is idle for the first time, or `rows` are there; the numbers and their splits.
async fn read(source: &mut dyn Source, rows: usize) -> Vec<(u32, i64)> {
    let mut found = Vec::new();
    while found.len() < rows {
        match source.next().await.unwrap() {
            SourceEvent::Batch { split, rows } => {
                let numbers = rows.column(0).as_any().downcast_ref::<Int64Array>().unwrap();
                found.extend(numbers.values().iter().map(|n| (split, *n)));
            }
            SourceEvent::SplitFinished(_) => {}
            SourceEvent::Idle | SourceEvent::End => break,
        }
    }
    found
}

#[tokio::test]
async fn a_bounded_read_ends_where_the_topic_ended_at_its_start() {
    let log = log(2);
    (0..250).for_each(|n| append(&log, (n % 2) as usize, flight(n)));
    let broker = Broker::start(&log, "127.0.0.1:0".parse().unwrap()).await;
    let table = table(&broker.address.to_string(), &[("scan.bounded.mode", "latest-offset")]);
    let mut source = open_source(&table, &Context::default()).unwrap();
    assert!(source.is_bounded());
    source.start().await.unwrap();
    assert_eq!(source.splits(), 2);
    (250..300).for_each(|n| append(&log, 0, flight(n)));
    let found = read(source.as_mut(), usize::MAX).await;
    for split in 0..2 {
        let numbers: Vec<i64> = found.iter().filter(|(s, _)| *s == split).map(|(_, n)| *n).collect();
        let expected: Vec<i64> = (0..250).filter(|n| n % 2 == i64::from(split)).collect();
        assert_eq!(numbers, expected);
    }
    assert!(matches!(source.next().await.unwrap(), SourceEvent::End));
    broker.kill().await;
}

#[tokio::test]
async fn positions_survive_a_restart_of_the_job_and_of_the_broker() {
    let log = log(1);
    (0..350).for_each(|n| append(&log, 0, flight(n)));
    let broker = Broker::start(&log, "127.0.0.1:0".parse().unwrap()).await;
    let address = broker.address;
    let table = table(&address.to_string(), &[]);
    let mut first = open_source(&table, &Context::default()).unwrap();
    first.start().await.unwrap();
    let mut numbers = read(first.as_mut(), 120).await;
    let position: serde_json::Value = serde_json::from_str(&first.position().to_string()).unwrap();
    drop(first);
    broker.kill().await;
    let mut second = open_source(&table, &Context::default()).unwrap();
    second.restore(&position).unwrap();
    let restarted = tokio::spawn({
        let log = log.clone();
        async move {
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            Broker::start(&log, address).await
        }
    });
    second.start().await.unwrap();
    numbers.extend(read(second.as_mut(), 350 - numbers.len()).await);
    assert_eq!(numbers, (0..350).map(|n| (0, n)).collect::<Vec<_>>());
    // Unbounded: idle at the end, until it is drained.
    assert!(matches!(second.next().await.unwrap(), SourceEvent::Idle));
    append(&log, 0, flight(350));
    second.drain();
    assert_eq!(read(second.as_mut(), usize::MAX).await, [(0, 350)]);
    assert!(matches!(second.next().await.unwrap(), SourceEvent::End));
    restarted.await.unwrap().kill().await;
}

#[tokio::test]
async fn metadata_time_and_records_that_are_left_out() {
    let log = log(1);
    for record in [
        flight(0),
        flight(1),
        Record::new("{broken"),
        Record {
            value: None,
            ..Record::default()
        },
        flight(4),
    ] {
        append(
            &log,
            0,
            Record {
                timestamp: record.timestamp.max(0),
                ..record
            },
        );
    }
    let broker = Broker::start(&log, "127.0.0.1:0".parse().unwrap()).await;
    let options = [
        ("json.ignore-parse-errors", "true"),
        ("scan.startup.mode", "timestamp"),
        ("scan.startup.timestamp-millis", "1"),
    ];
    let mut source = open_source(&table(&broker.address.to_string(), &options), &Context::default()).unwrap();
    source.start().await.unwrap();
    let SourceEvent::Batch { rows, .. } = source.next().await.unwrap() else {
        panic!("no rows")
    };
    let mut json = Vec::new();
    crate::output::write_json(&mut json, &rows, crate::time::Zone::UTC).unwrap();
    let expected =
        "{\"n\":1,\"at\":1,\"ts\":\"1970-01-01T00:00:01Z\"}\n{\"n\":4,\"at\":4,\"ts\":\"1970-01-01T00:00:04Z\"}\n";
    assert_eq!(String::from_utf8(json).unwrap(), expected);
    let strict = table(&broker.address.to_string(), &[]);
    let mut source = open_source(&strict, &Context::default()).unwrap();
    source.start().await.unwrap();
    let error = source.next().await.unwrap_err();
    assert!(error.message().contains("It is at flights-0 offset 2."), "{error}");
    broker.kill().await;
}

#[tokio::test]
async fn lost_offsets_and_unknown_topics_fail_loudly() {
    let log = log(1);
    let broker = Broker::start(&log, "127.0.0.1:0".parse().unwrap()).await;
    let known = table(&broker.address.to_string(), &[]);
    let mut source = open_source(&known, &Context::default()).unwrap();
    let position = serde_json::json!({"partitions": [
        {"topic": TOPIC, "partition": 0, "offset": 9, "stop": null, "finished": false}
    ]});
    source.restore(&position).unwrap();
    source.start().await.unwrap();
    let error = source.next().await.unwrap_err();
    assert!(
        error.message().contains("Offset 9 of flights-0 is not in the log"),
        "{error}"
    );
    let unknown = table(&broker.address.to_string(), &[("topic", "nope")]);
    let error = open_source(&unknown, &Context::default())
        .unwrap()
        .start()
        .await
        .unwrap_err();
    assert!(error.message().contains("nope"), "{error}");
    broker.kill().await;
}

#[tokio::test]
async fn rows_are_written_to_the_partition_of_their_key() {
    let log = log(3);
    let broker = Broker::start(&log, "127.0.0.1:0".parse().unwrap()).await;
    let options = [
        ("key.format", "raw"),
        ("key.fields", "origin"),
        ("value.fields-include", "EXCEPT_KEY"),
    ];
    let mut table = table(&broker.address.to_string(), &options);
    table.physical = Arc::new(Schema::new(vec![
        Field::new("origin", DataType::Utf8, true),
        Field::new("n", DataType::Int64, true),
    ]));
    table.metadata.clear();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec!["JFK", "LGA", "EWR", "JFK"])),
        Arc::new(Int64Array::from(vec![1, 2, 3, 4])),
    ];
    let rows = RecordBatch::try_new(table.physical.clone(), columns).unwrap();
    let mut sink = open_sink(&table, &Context::default()).unwrap();
    sink.recover(None).await.unwrap();
    sink.write(&rows, &[RowKind::Insert; 4]).await.unwrap();
    let written = log.lock().unwrap().clone();
    let partition = partitioner::of_key(b"JFK", 3) as usize;
    let of_jfk: Vec<_> = written[partition]
        .iter()
        .filter(|r| r.key.as_deref() == Some(b"JFK"))
        .collect();
    let values: Vec<_> = of_jfk.iter().map(|record| record.value.clone().unwrap()).collect();
    assert_eq!(values, [Bytes::from("{\"n\":1}"), Bytes::from("{\"n\":4}")]);
    // And back, the key as a column.
    table
        .options
        .insert("scan.bounded.mode".to_owned(), "latest-offset".to_owned());
    let mut source = open_source(&table, &Context::default()).unwrap();
    source.start().await.unwrap();
    let mut found = Vec::new();
    loop {
        match source.next().await.unwrap() {
            SourceEvent::Batch { rows, .. } => {
                let origins = rows.column(0).as_any().downcast_ref::<StringArray>().unwrap();
                let numbers = rows.column(1).as_any().downcast_ref::<Int64Array>().unwrap();
                (0..rows.num_rows()).for_each(|row| found.push((numbers.value(row), origins.value(row).to_owned())));
            }
            SourceEvent::End => break,
            _ => {}
        }
    }
    found.sort();
    let expected = [(1, "JFK"), (2, "LGA"), (3, "EWR"), (4, "JFK")];
    assert_eq!(found, expected.map(|(n, origin)| (n, origin.to_owned())));
    broker.kill().await;
}

#[test]
fn options_are_checked_by_name() {
    let read = |options: &[(&str, &str)]| Settings::read(&table("localhost:9092", options), true).map(|_| ());
    assert!(
        read(&[
            ("properties.max.poll.records", "5"),
            ("json.ignore-parse-errors", "true")
        ])
        .is_ok()
    );
    let error = read(&[("scan.startup.mod", "x")]).unwrap_err();
    assert!(
        error
            .message()
            .contains("Unsupported options found for 'kafka'. Unsupported options: scan.startup.mod."),
        "{error}"
    );
    assert_eq!(
        read(&[("sink.delivery-guarantee", "exactly-once")]).unwrap_err().kind(),
        "unsupported"
    );
    assert_eq!(
        read(&[("properties.sasl.mechanism", "PLAIN")]).unwrap_err().kind(),
        "unsupported"
    );
    assert_eq!(
        read(&[("scan.startup.mode", "timestamp")]).unwrap_err().kind(),
        "validate"
    );
    assert_eq!(
        read(&[("scan.startup.mode", "group-offsets")]).unwrap_err().kind(),
        "validate"
    );
    assert_eq!(
        read(&[("scan.startup.mode", "sometimes")]).unwrap_err().kind(),
        "validate"
    );
    assert!(
        read(&[
            ("scan.bounded.mode", "specific-offsets"),
            ("scan.bounded.specific-offsets", "partition:0,offset:4")
        ])
        .is_ok()
    );
    assert!(read(&[("key.format", "json"), ("key.fields", "nope")]).is_err());
}
