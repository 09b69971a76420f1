//! Reading records.

use std::time::Duration;

use bytes::Bytes;
use log_broker_wire::batch::{self, BatchError, BatchHeader};
use log_broker_wire::messages::fetch::{FetchPartition, FetchRequest, FetchTopic, PartitionData};
use log_broker_wire::record::{self, RecordError};
use log_broker_wire::{ErrorCode, Record};

use crate::{Client, Error};

/// The last version that names topics; later ones use their ids.
const NEWEST_BY_NAME: i16 = 12;

/// Most bytes that one batch may unpack to.
const UNPACKED_BYTES_MAX: usize = 256 << 20;

/// How much to read, and how long to wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchOptions {
    /// The broker answers when this many bytes are there, or when `max_wait` is over.
    pub min_bytes: i32,
    /// Whole batches up to this many bytes; at least one, however long.
    pub max_bytes: i32,
    pub max_wait: Duration,
}

impl Default for FetchOptions {
    fn default() -> Self {
        Self {
            min_bytes: 1,
            max_bytes: 8 << 20,
            max_wait: Duration::from_millis(500),
        }
    }
}

/// What one fetch found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fetched {
    /// In the order of their offsets, none below the one that was asked for.
    pub records: Vec<Record>,
    /// Behind the last record that may be read.
    pub high_watermark: i64,
    /// The oldest offset that is still there.
    pub log_start_offset: i64,
    /// Where to go on; it moves past offsets that hold no record.
    pub next_offset: i64,
}

impl Client {
    /// Reads records from `offset` on; waits up to `max_wait` where there are none yet.
    ///
    /// # Errors
    /// [`Error::OffsetOutOfRange`], [`Error::UnknownTopic`], [`Error::UnknownPartition`], or what the broker says.
    pub async fn fetch(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
        options: &FetchOptions,
    ) -> Result<Fetched, Error> {
        let what = format!("Fetch of {topic}/{partition}");
        let mut retry = self.retry();
        loop {
            match self.fetch_once(topic, partition, offset, options, &what).await {
                Err(error) => {
                    self.forget_leader(topic, partition);
                    retry.after(&what, error).await?;
                }
                outcome => return outcome,
            }
        }
    }

    async fn fetch_once(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
        options: &FetchOptions,
        what: &str,
    ) -> Result<Fetched, Error> {
        let asked = FetchPartition {
            partition,
            fetch_offset: offset,
            partition_max_bytes: options.max_bytes,
            ..Default::default()
        };
        let request = FetchRequest {
            max_wait_ms: i32::try_from(options.max_wait.as_millis()).unwrap_or(i32::MAX),
            min_bytes: options.min_bytes,
            max_bytes: options.max_bytes,
            topics: vec![FetchTopic {
                topic: topic.to_owned(),
                partitions: vec![asked],
                ..Default::default()
            }],
            ..Default::default()
        };
        let leader = self.leader(topic, partition).await?;
        let response = self
            .call_at(&leader, &request, NEWEST_BY_NAME, options.max_wait)
            .await?;
        Error::check(|| what.to_owned(), response.error_code, None)?;
        let answer = response.responses.into_iter().flat_map(|topic| topic.partitions).next();
        let answer = answer.ok_or_else(|| Error::UnknownPartition(topic.to_owned(), partition))?;
        if answer.error_code == ErrorCode::OFFSET_OUT_OF_RANGE.0 {
            return Err(Error::OffsetOutOfRange {
                topic: topic.to_owned(),
                partition,
                offset,
            });
        }
        Error::check(|| what.to_owned(), answer.error_code, None)?;
        read_batches(answer, offset).map_err(|source| Error::Records {
            topic: topic.to_owned(),
            partition,
            source,
        })
    }
}

fn read_batches(answer: PartitionData, offset: i64) -> Result<Fetched, RecordError> {
    let mut fetched = Fetched {
        records: Vec::new(),
        high_watermark: answer.high_watermark,
        log_start_offset: answer.log_start_offset,
        next_offset: offset,
    };
    let mut bytes = answer.records.unwrap_or_default().into_bytes();
    while let Some((header, batch)) = split_batch(&mut bytes)? {
        fetched.next_offset = fetched.next_offset.max(header.next_offset());
        if header.is_control() {
            continue; // Markers of transactions are no records.
        }
        for record in record::records(batch, UNPACKED_BYTES_MAX)? {
            let record = record?;
            if record.offset >= offset {
                fetched.records.push(record);
            }
        }
    }
    Ok(fetched)
}

/// The next whole batch; a broker may cut the last one off.
fn split_batch(bytes: &mut Bytes) -> Result<Option<(BatchHeader, Bytes)>, BatchError> {
    match batch::check(bytes) {
        Ok(header) => Ok(Some((header, bytes.split_to(header.len)))),
        Err(BatchError::Truncated) => Ok(None),
        Err(error) => Err(error),
    }
}
