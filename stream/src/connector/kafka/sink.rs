//! Writes rows to a topic, each at least once.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, try_join_all};
use log_broker_client::{Acks, Producer, ProducerOptions, Record};

use super::rows::columns_of;
use super::{Settings, kafka_error, partitioner};
use crate::Error;
use crate::connector::{Context, Sink};
use crate::format::Encoder;
use crate::format::view::{Value, View};
use crate::table::{RowKind, TableSpec};

pub struct KafkaSink {
    table: String,
    settings: Settings,
    subtask: u32,
    value: Part,
    key: Option<Part>,
    /// Where the columns of writable metadata stand in the rows.
    timestamp: Option<usize>,
    headers: Option<usize>,
    producer: Option<Producer>,
    partitions: i32,
    turn: i32,
}

/// The key or the value of a record: which columns of the rows, and how they are written.
struct Part {
    columns: Vec<usize>,
    schema: SchemaRef,
    encoder: Box<dyn Encoder>,
}

impl Part {
    fn encode(&self, rows: &RecordBatch) -> Result<Vec<Bytes>, Error> {
        let columns = self.columns.iter().map(|index| rows.column(*index).clone()).collect();
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let rows = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?;
        let mut messages = Vec::with_capacity(rows.num_rows());
        self.encoder.encode(&rows, &mut |_, message| {
            messages.push(Bytes::copy_from_slice(message));
            Ok(())
        })?;
        Ok(messages)
    }
}

impl KafkaSink {
    pub fn new(table: &TableSpec, settings: Settings, context: &Context) -> Result<Self, Error> {
        let [topic] = settings.topics.as_slice() else {
            return Err(Error::validate(
                "The Kafka sink writes to one topic. Name a single one in the table's 'topic'.",
            ));
        };
        if topic.is_empty() {
            return Err(Error::validate("The table's 'topic' is empty. Name a topic."));
        }
        let is_virtual = |name: &str| table.metadata.iter().any(|m| m.column == name && m.virtual_);
        let written: Vec<_> = table
            .physical
            .fields()
            .iter()
            .filter(|f| !is_virtual(f.name()))
            .cloned()
            .collect();
        let written = Schema::new(written);
        let place = |name: &str| written.index_of(name).unwrap_or_default();
        let (mut timestamp, mut headers) = (None, None);
        for column in table.metadata.iter().filter(|m| !m.virtual_) {
            match column.key.as_str() {
                "timestamp" => timestamp = Some(place(&column.column)),
                "headers" => headers = Some(place(&column.column)),
                key => {
                    return Err(Error::validate(format!(
                        "Invalid metadata key '{key}' in column '{}' of table '{}'. The connector 'kafka' supports the \
                         following metadata keys for writing: timestamp, headers. Declare the column VIRTUAL.",
                        column.column, table.name
                    )));
                }
            }
        }
        let (value_schema, key_schema) = columns_of(table, &settings);
        let value = Part {
            columns: value_schema.fields().iter().map(|f| place(f.name())).collect(),
            encoder: settings.value_format.encoder(&value_schema)?,
            schema: value_schema,
        };
        let key = settings
            .key
            .as_ref()
            .map(|key| -> Result<Part, Error> {
                let columns = key.columns.iter().map(|column| place(column)).collect();
                Ok(Part {
                    columns,
                    encoder: key.format.encoder(&key_schema)?,
                    schema: Arc::clone(&key_schema),
                })
            })
            .transpose()?;
        Ok(Self {
            table: table.name.clone(),
            subtask: context.subtask,
            settings,
            value,
            key,
            timestamp,
            headers,
            producer: None,
            partitions: 1,
            turn: 0,
        })
    }

    async fn connect(&mut self) -> Result<(), Error> {
        let client = self.settings.connect().await?;
        let topic = self.settings.topics[0].as_str();
        let metadata = client
            .metadata(Some(&[topic]))
            .await
            .map_err(|error| kafka_error(&error))?;
        let partitions = metadata
            .topics
            .iter()
            .find(|t| t.name == topic)
            .map_or(0, |t| t.partitions.len());
        if partitions == 0 {
            // Flink's producer lets the broker create the topic; ask for the same.
            match client.create_topic(topic, -1, -1, &[]).await {
                Ok(()) | Err(log_broker_client::Error::TopicAlreadyExists(_)) => {}
                Err(error) => return Err(kafka_error(&error)),
            }
        }
        let metadata = client
            .metadata(Some(&[topic]))
            .await
            .map_err(|error| kafka_error(&error))?;
        let partitions = metadata
            .topics
            .iter()
            .find(|t| t.name == topic)
            .map_or(1, |t| t.partitions.len());
        self.partitions = i32::try_from(partitions.max(1)).unwrap_or(1);
        let acks = if self.settings.acknowledged {
            Acks::All
        } else {
            Acks::Leader
        };
        let options = ProducerOptions {
            acks,
            idempotent: self.settings.acknowledged,
            compression: self.settings.compression,
        };
        self.producer = Some(client.producer(options).await.map_err(|error| kafka_error(&error))?);
        Ok(())
    }

    async fn send(&mut self, rows: &RecordBatch, kinds: &[RowKind]) -> Result<(), Error> {
        if kinds.iter().any(|kind| *kind != RowKind::Insert) {
            return Err(Error::unsupported(format!(
                "Table sink '{}' doesn't support consuming update and delete changes.",
                self.table
            )));
        }
        let records = self.records(rows)?;
        let mut by_partition: Vec<Vec<Record>> = vec![Vec::new(); self.partitions as usize];
        for record in records {
            let partition = self.partition_of(record.key.as_deref());
            by_partition[partition as usize].push(record);
        }
        // Without keys a batch goes to one partition, the next batch to the next one.
        self.turn = self.turn.wrapping_add(1);
        let Some(producer) = &self.producer else {
            return Err(Error::runtime("A sink was used before it was recovered."));
        };
        let topic = self.settings.topics[0].as_str();
        let sends = by_partition
            .into_iter()
            .enumerate()
            .filter(|(_, records)| !records.is_empty())
            .map(|(partition, records)| producer.send(topic, partition as i32, records));
        try_join_all(sends).await.map_err(|error| kafka_error(&error))?;
        Ok(())
    }

    fn partition_of(&mut self, key: Option<&[u8]>) -> i32 {
        match (self.settings.partitioner, key) {
            (partitioner::Kind::Default, Some(key)) => partitioner::of_key(key, self.partitions),
            (partitioner::Kind::Default, None) => self.turn.rem_euclid(self.partitions),
            (partitioner::Kind::Fixed, _) => (self.subtask % self.partitions as u32) as i32,
            (partitioner::Kind::RoundRobin, _) => {
                self.turn = self.turn.wrapping_add(1);
                self.turn.rem_euclid(self.partitions)
            }
        }
    }

    fn records(&self, rows: &RecordBatch) -> Result<Vec<Record>, Error> {
        let values = self.value.encode(rows)?;
        let keys = self.key.as_ref().map(|key| key.encode(rows)).transpose()?;
        let times = self.timestamp.map(|index| View::new(rows.column(index))).transpose()?;
        let headers = self.headers.map(|index| View::new(rows.column(index))).transpose()?;
        let records = values.into_iter().enumerate().map(|(row, value)| Record {
            value: Some(value),
            key: keys.as_ref().map(|keys| keys[row].clone()),
            timestamp: times.as_ref().map_or(-1, |view| milliseconds(view.value(row))),
            headers: headers
                .as_ref()
                .map_or_else(Vec::new, |view| header_pairs(view.value(row))),
            ..Record::default()
        });
        Ok(records.collect())
    }
}

fn milliseconds(value: Value<'_>) -> i64 {
    match value {
        Value::Timestamp { moment, .. } => moment
            .to_unit(arrow::datatypes::TimeUnit::Millisecond)
            .filter(|ms| *ms >= 0)
            .unwrap_or(-1),
        _ => -1,
    }
}

fn header_pairs(value: Value<'_>) -> Vec<(String, Option<Bytes>)> {
    let Value::Map { keys, values, from, to } = value else {
        return Vec::new();
    };
    (from..to)
        .filter_map(|row| {
            let Value::Text(name) = keys.value(row) else {
                return None;
            };
            let value = match values.value(row) {
                Value::Bytes(bytes) => Some(Bytes::copy_from_slice(bytes)),
                Value::Text(text) => Some(Bytes::copy_from_slice(text.as_bytes())),
                _ => None,
            };
            Some((name.to_owned(), value))
        })
        .collect()
}

impl Sink for KafkaSink {
    fn recover<'a>(&'a mut self, _last: Option<&'a serde_json::Value>) -> BoxFuture<'a, Result<(), Error>> {
        self.connect().boxed()
    }

    fn write<'a>(&'a mut self, rows: &'a RecordBatch, kinds: &'a [RowKind]) -> BoxFuture<'a, Result<(), Error>> {
        self.send(rows, kinds).boxed()
    }

    fn pre_commit(&mut self, _epoch: u64) -> BoxFuture<'_, Result<serde_json::Value, Error>> {
        futures::future::ready(Ok(serde_json::Value::Null)).boxed()
    }

    fn commit<'a>(&'a mut self, _committable: &'a serde_json::Value) -> BoxFuture<'a, Result<(), Error>> {
        futures::future::ready(Ok(())).boxed()
    }
}
