//! Writing records.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use log_broker_wire::batch::advance_sequence;
use log_broker_wire::compression::Codec;
use log_broker_wire::messages::init_producer_id::InitProducerIdRequest;
use log_broker_wire::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use log_broker_wire::record::{self, ProducerStamp};
use log_broker_wire::{ErrorCode, Record};

use crate::{Client, Error};

/// The last version before a broker may take a batch for the beginning of a transaction.
const NEWEST_WITHOUT_TRANSACTIONS: i16 = 11;

/// Records are cut into batches of about this many bytes before compression; brokers refuse more than 1 MiB by default.
const BATCH_BYTES_MAX: usize = 900 << 10;

/// How long a broker may take to make a batch safe.
const PRODUCE_TIMEOUT: Duration = Duration::from_secs(30);

/// When a batch counts as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Acks {
    /// When all replicas in sync have it (and, on Bonsai's broker, its disk).
    #[default]
    All,
    /// When the leader has it.
    Leader,
    /// At once: nobody answers, and the offset is not known.
    None,
}

/// How a producer works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerOptions {
    pub acks: Acks,
    /// Numbers the batches, so that one that is sent again is stored once. Wants [`Acks::All`].
    pub idempotent: bool,
    pub compression: Codec,
}

impl Default for ProducerOptions {
    fn default() -> Self {
        Self {
            acks: Acks::All,
            idempotent: true,
            compression: Codec::None,
        }
    }
}

/// Writes records to partitions. May be shared; what goes to one partition goes in the order of the calls.
#[derive(Debug)]
pub struct Producer {
    client: Client,
    options: ProducerOptions,
    partitions: Mutex<BTreeMap<(String, i32), SharedSequence>>,
}

/// Held by the one call that sends to its partition.
type SharedSequence = Arc<tokio::sync::Mutex<Sequence>>;

/// Who we are to a partition, and the number of the next record.
///
/// * `stamp` is `None` until the first batch, and again while a batch is under way: a call that was dropped or failed
///   leaves `None`, so that the next one begins with a fresh identity instead of a number that may have been used.
#[derive(Debug, Default)]
struct Sequence {
    stamp: Option<ProducerStamp>,
}

impl Client {
    /// A producer.
    ///
    /// # Errors
    /// When `idempotent` comes without [`Acks::All`].
    pub async fn producer(&self, options: ProducerOptions) -> Result<Producer, Error> {
        if options.idempotent && options.acks != Acks::All {
            let reason = "an idempotent producer wants acks from all replicas";
            return Err(Error::Batch(std::io::Error::new(
                std::io::ErrorKind::InvalidInput,
                reason,
            )));
        }
        Ok(Producer {
            client: self.clone(),
            options,
            partitions: Mutex::default(),
        })
    }
}

impl Producer {
    /// Appends records to a partition and returns the offset of the first (-1 with [`Acks::None`]). Records without a
    /// timestamp get the clock's. Many records become several batches, stored one after the other.
    ///
    /// # Errors
    /// When they could not be stored, or, without `idempotent`, when it is unknown whether they were.
    pub async fn send(&self, topic: &str, partition: i32, mut records: Vec<Record>) -> Result<i64, Error> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as i64);
        for record in &mut records {
            if record.timestamp < 0 {
                record.timestamp = now;
            }
        }
        let sequence = {
            let mut partitions = self.partitions.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(partitions.entry((topic.to_owned(), partition)).or_default())
        };
        let mut sequence = sequence.lock().await;
        let mut first = None;
        for batch in batches(&records) {
            let offset = self.send_batch(topic, partition, batch, &mut sequence).await?;
            first.get_or_insert(offset);
        }
        Ok(first.unwrap_or(-1))
    }

    async fn send_batch(
        &self,
        topic: &str,
        partition: i32,
        records: &[Record],
        sequence: &mut Sequence,
    ) -> Result<i64, Error> {
        let stamp = match sequence.stamp.take() {
            None if self.options.idempotent => Some(self.identity().await?),
            stamp => stamp,
        };
        let batch = record::encode_batch(records, self.options.compression, stamp).map_err(Error::Batch)?;
        let offset = self.store(topic, partition, batch).await?;
        sequence.stamp = stamp.map(|stamp| ProducerStamp {
            base_sequence: advance_sequence(stamp.base_sequence, records.len() as i32),
            ..stamp
        });
        Ok(offset)
    }

    async fn identity(&self) -> Result<ProducerStamp, Error> {
        let request = InitProducerIdRequest {
            transaction_timeout_ms: i32::MAX,
            ..Default::default()
        };
        let mut retry = self.client.retry();
        loop {
            let outcome = match self.client.call_any(&request, i16::MAX).await {
                Ok(response) => {
                    Error::check(|| "InitProducerId".to_owned(), response.error_code, None).map(|()| response)
                }
                Err(error) => Err(error),
            };
            match outcome {
                Err(error) => retry.after("InitProducerId", error).await?,
                Ok(response) => {
                    return Ok(ProducerStamp {
                        producer_id: response.producer_id,
                        producer_epoch: response.producer_epoch,
                        base_sequence: 0,
                    });
                }
            }
        }
    }

    async fn store(&self, topic: &str, partition: i32, batch: Bytes) -> Result<i64, Error> {
        let data = PartitionProduceData {
            index: partition,
            records: Some(batch),
        };
        let request = ProduceRequest {
            transactional_id: None,
            acks: match self.options.acks {
                Acks::All => -1,
                Acks::Leader => 1,
                Acks::None => 0,
            },
            timeout_ms: PRODUCE_TIMEOUT.as_millis() as i32,
            topic_data: vec![TopicProduceData {
                name: topic.to_owned(),
                partition_data: vec![data],
                ..Default::default()
            }],
        };
        let what = format!("Produce to {topic}/{partition}");
        let mut retry = self.client.retry();
        loop {
            let leader = match self.client.leader(topic, partition).await {
                Ok(leader) => leader,
                Err(error) => {
                    retry.after(&what, error).await?;
                    continue;
                }
            };
            match self.store_at(&leader, &request, &what).await {
                // The connection broke, so the batch may be stored: only its number makes a second attempt safe.
                Err(error @ Error::Connection { .. }) if !self.options.idempotent => return Err(error),
                Err(error) => {
                    self.client.forget_leader(topic, partition);
                    retry.after(&what, error).await?;
                }
                outcome => return outcome,
            }
        }
    }

    async fn store_at(&self, leader: &str, request: &ProduceRequest, what: &str) -> Result<i64, Error> {
        if self.options.acks == Acks::None {
            self.client
                .send_at(leader, request, NEWEST_WITHOUT_TRANSACTIONS)
                .await?;
            return Ok(-1);
        }
        let response = self
            .client
            .call_at(leader, request, NEWEST_WITHOUT_TRANSACTIONS, PRODUCE_TIMEOUT)
            .await?;
        let answer = response
            .responses
            .into_iter()
            .flat_map(|topic| topic.partition_responses)
            .next();
        let answer = answer.ok_or(Error::Unsupported { api: "Produce" })?;
        if answer.error_code == ErrorCode::DUPLICATE_SEQUENCE_NUMBER.0 {
            return Ok(answer.base_offset); // Stored before, so long ago that the broker forgot where.
        }
        Error::check(|| what.to_owned(), answer.error_code, answer.error_message)?;
        Ok(answer.base_offset)
    }
}

/// Cuts records into runs that fit a batch; a record that is longer than one stands alone.
fn batches(records: &[Record]) -> impl Iterator<Item = &[Record]> {
    let mut rest = records;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut len = 0;
        let fitting = rest.iter().take_while(|record| {
            len += record_len(record);
            len <= BATCH_BYTES_MAX
        });
        let (batch, left) = rest.split_at(fitting.count().max(1));
        rest = left;
        Some(batch)
    })
}

/// About how long a record is in a batch.
fn record_len(record: &Record) -> usize {
    let optional = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len) + 5;
    let headers = record
        .headers
        .iter()
        .map(|(name, value)| name.len() + 5 + optional(value))
        .sum::<usize>();
    optional(&record.key) + optional(&record.value) + headers + 20
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_cover_all_records_in_order() {
        let records: Vec<Record> = [10, 600 << 10, 600 << 10, 3 << 20, 5, 5]
            .into_iter()
            .map(|len| Record::new(vec![b'x'; len]))
            .collect();
        let lens: Vec<usize> = batches(&records).map(<[Record]>::len).collect();
        assert_eq!(lens, [2, 1, 1, 2]);
        assert_eq!(batches(&[]).count(), 0);
    }
}
