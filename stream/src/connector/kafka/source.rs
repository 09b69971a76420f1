//! Reads the partitions of topics.
//!
//! `next` fetches from all unfinished partitions at the same time when nothing is left of the round before. What a round
//! brought waits in `ready`; an offset counts as read when its rows are returned, so a position never covers rows that
//! only wait.

use std::collections::VecDeque;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, try_join_all};
use log_broker_client::{At, Client, FetchOptions, Record};
use serde::{Deserialize, Serialize};

use super::offsets::Bound;
use super::rows::RowDecoder;
use super::{Settings, kafka_error};
use crate::Error;
use crate::connector::{Source, SourceEvent};
use crate::table::TableSpec;

/// Rows a batch.
const BATCH_ROWS: usize = 8192;
/// Bytes of one fetch from one partition.
const FETCH_BYTES: i32 = 4 << 20;
/// How long a round waits for new records.
const WAIT: Duration = Duration::from_millis(200);

/// A partition and how far it has been returned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Split {
    topic: String,
    partition: i32,
    /// The next offset.
    offset: i64,
    /// The first offset that is not read.
    stop: Option<i64>,
    finished: bool,
}

/// Records of a split that have not been returned.
struct Ready {
    split: usize,
    records: VecDeque<Record>,
    /// Where the split goes on behind them.
    next_offset: i64,
}

pub struct KafkaSource {
    table: TableSpec,
    settings: Settings,
    decoder: RowDecoder,
    client: Option<Client>,
    splits: Vec<Split>,
    restored: bool,
    ready: VecDeque<Ready>,
    /// The last round brought something, so the next one does not wait.
    busy: bool,
    drain: bool,
    drained: bool,
}

impl KafkaSource {
    pub fn new(table: &TableSpec, settings: Settings) -> Result<Self, Error> {
        Ok(Self {
            decoder: RowDecoder::new(table, &settings)?,
            table: table.clone(),
            settings,
            client: None,
            splits: Vec::new(),
            restored: false,
            ready: VecDeque::new(),
            busy: true,
            drain: false,
            drained: false,
        })
    }

    fn client(&self) -> Result<Client, Error> {
        self.client
            .clone()
            .ok_or_else(|| Error::runtime("A source was asked for rows before it was started."))
    }

    async fn find_partitions(&mut self) -> Result<(), Error> {
        let client = self.settings.connect().await?;
        let names: Vec<&str> = self.settings.topics.iter().map(String::as_str).collect();
        let metadata = client
            .metadata(Some(&names))
            .await
            .map_err(|error| kafka_error(&error))?;
        let mut found: Vec<(String, i32)> = Vec::new();
        for name in &names {
            let topic = metadata.topics.iter().find(|topic| topic.name == *name);
            let partitions = topic.map_or(&[][..], |topic| topic.partitions.as_slice());
            if partitions.is_empty() {
                return Err(Error::runtime(format!(
                    "Topic '{name}' of table '{}' does not exist at {}. Create it, or correct the table's 'topic'.",
                    self.table.name,
                    self.settings.bootstrap.as_deref().unwrap_or("the registered brokers")
                )));
            }
            found.extend(partitions.iter().map(|partition| ((*name).to_owned(), partition.id)));
        }
        found.sort();
        for (topic, partition) in found {
            if self
                .splits
                .iter()
                .any(|split| split.topic == topic && split.partition == partition)
            {
                continue;
            }
            // A partition that is new since the checkpoint is read from its start, or rows would be lost.
            let offset = match self.restored {
                true => client
                    .offset(&topic, partition, At::Earliest)
                    .await
                    .map_err(|error| kafka_error(&error))?,
                false => self.settings.start.resolve(&client, &topic, partition).await?,
            };
            let stop = self.settings.bound.resolve(&client, &topic, partition).await?;
            self.splits.push(Split {
                topic,
                partition,
                offset,
                stop,
                finished: false,
            });
        }
        self.client = Some(client);
        Ok(())
    }

    /// Sets the ends of all partitions to where they are now.
    async fn set_stops(&mut self) -> Result<(), Error> {
        let client = self.client()?;
        let latest = self
            .splits
            .iter()
            .map(|split| client.offset(&split.topic, split.partition, At::Latest));
        let latest = try_join_all(latest).await.map_err(|error| kafka_error(&error))?;
        for (split, latest) in self.splits.iter_mut().zip(latest) {
            split.stop = Some(split.stop.map_or(latest, |stop| stop.min(latest)));
        }
        self.drained = true;
        Ok(())
    }

    async fn next_event(&mut self) -> Result<SourceEvent, Error> {
        loop {
            if self.drain && !self.drained {
                self.set_stops().await?;
            }
            if let Some(event) = self.take_ready()? {
                return Ok(event);
            }
            if let Some(number) = self
                .splits
                .iter()
                .position(|s| !s.finished && s.stop.is_some_and(|stop| s.offset >= stop))
            {
                self.splits[number].finished = true;
                return Ok(SourceEvent::SplitFinished(number as u32));
            }
            if self.splits.iter().all(|split| split.finished) {
                return Ok(SourceEvent::End);
            }
            let waited = !self.busy;
            self.fetch_round().await?;
            if waited && self.ready.is_empty() {
                return Ok(SourceEvent::Idle);
            }
        }
    }

    /// The next batch of what was fetched.
    fn take_ready(&mut self) -> Result<Option<SourceEvent>, Error> {
        while let Some(ready) = self.ready.front_mut() {
            let split = &mut self.splits[ready.split];
            let number = ready.split as u32;
            let stop = split.stop.unwrap_or(i64::MAX);
            let count = ready
                .records
                .iter()
                .take(BATCH_ROWS)
                .take_while(|record| record.offset < stop)
                .count();
            let records: Vec<Record> = ready.records.drain(..count).collect();
            let stopped = ready.records.front().is_some_and(|record| record.offset >= stop);
            let offset = match ready.records.front() {
                Some(next) => next.offset.min(stop),
                None => ready.next_offset.min(stop.max(split.offset)),
            };
            if stopped || ready.records.is_empty() {
                self.ready.pop_front();
            }
            split.offset = split.offset.max(offset);
            let rows = self.decoder.decode(&split.topic, split.partition, &records)?;
            if rows.num_rows() > 0 {
                return Ok(Some(SourceEvent::Batch { split: number, rows }));
            }
        }
        Ok(None)
    }

    async fn fetch_round(&mut self) -> Result<(), Error> {
        let client = self.client()?;
        let options = FetchOptions {
            min_bytes: 1,
            max_bytes: FETCH_BYTES,
            max_wait: if self.busy { Duration::ZERO } else { WAIT },
        };
        let unfinished = self.splits.iter().enumerate().filter(|(_, split)| !split.finished);
        let fetches = unfinished.map(|(number, split)| {
            let (client, options) = (&client, &options);
            async move {
                let fetched = client.fetch(&split.topic, split.partition, split.offset, options).await;
                fetched.map(|fetched| (number, fetched))
            }
        });
        let round = try_join_all(fetches).await.map_err(|error| match error {
            log_broker_client::Error::OffsetOutOfRange { topic, partition, offset } => Error::runtime(format!(
                "Offset {offset} of {topic}-{partition} is not in the log any more (or not yet): records are lost to this \
                 job. Start it with an empty --state directory, and keep records longer (retention.ms)."
            )),
            error => kafka_error(&error),
        })?;
        self.busy = false;
        for (number, fetched) in round {
            if fetched.next_offset > self.splits[number].offset {
                self.busy = true;
                let records = fetched.records.into();
                self.ready.push_back(Ready {
                    split: number,
                    records,
                    next_offset: fetched.next_offset,
                });
            }
        }
        Ok(())
    }
}

impl Source for KafkaSource {
    fn start(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        self.find_partitions().boxed()
    }

    fn next(&mut self) -> BoxFuture<'_, Result<SourceEvent, Error>> {
        self.next_event().boxed()
    }

    fn position(&self) -> serde_json::Value {
        serde_json::json!({ "partitions": self.splits })
    }

    fn restore(&mut self, position: &serde_json::Value) -> Result<(), Error> {
        let partitions = position.get("partitions").cloned().unwrap_or_default();
        self.splits = serde_json::from_value(partitions).map_err(|error| {
            Error::runtime(format!(
                "The checkpoint holds no position of a Kafka source: {error}. Start the job with an empty --state directory."
            ))
        })?;
        self.restored = true;
        Ok(())
    }

    fn checkpointed<'a>(&'a mut self, position: &'a serde_json::Value) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            let (Some(group), Some(client)) = (&self.settings.group, &self.client) else {
                return Ok(());
            };
            let partitions = position.get("partitions").cloned().unwrap_or_default();
            let splits: Vec<Split> = serde_json::from_value(partitions).map_err(Error::runtime)?;
            for topic in &self.settings.topics {
                let of_topic = splits.iter().filter(|split| split.topic == *topic);
                let offsets: Vec<(i32, i64)> = of_topic.map(|split| (split.partition, split.offset)).collect();
                client
                    .commit(group, topic, &offsets)
                    .await
                    .map_err(|error| kafka_error(&error))?;
            }
            Ok(())
        }
        .boxed()
    }

    fn drain(&mut self) {
        self.drain = true;
    }

    fn splits(&self) -> usize {
        self.splits.len()
    }

    fn is_bounded(&self) -> bool {
        self.settings.bound != Bound::Unbounded
    }
}
