//! The flights, into the log.

use std::time::Duration;

use log_broker_client::{Bytes, Client, Error as LogError, ProducerOptions, Record};
use tokio::time::Instant;

use super::error::Error;
use super::landing::{Landing, Landings};
use super::story::Story;

pub const TOPIC: &str = "flights";
/// One partition, so that there is one order and one watermark. The records carry times of 2013: retention by time
/// would delete them as soon as it looks.
const PARTITIONS: i32 = 1;
const CONFIGS: [(&str, &str); 1] = [("retention.ms", "-1")];
const BATCH_RECORDS: usize = 500;
/// With `--rate`, so often a second a batch is sent.
const BATCHES_A_SECOND: u32 = 20;
/// For the topic of an earlier run to go.
const DELETE_DEADLINE: Duration = Duration::from_secs(15);

/// Makes an empty topic, whatever there was.
pub async fn recreate_topic(client: &Client) -> Result<(), Error> {
    let deadline = Instant::now() + DELETE_DEADLINE;
    loop {
        match client.delete_topic(TOPIC).await {
            Ok(()) | Err(LogError::UnknownTopic(_)) => {}
            Err(error) => return Err(error.into()),
        }
        match client.create_topic(TOPIC, PARTITIONS, 1, &CONFIGS).await {
            Ok(()) => return Ok(()),
            Err(LogError::TopicAlreadyExists(_)) if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Sends all landings in their order, `rate` a second or as fast as it goes. Returns how many the broker acknowledged.
pub async fn replay(client: &Client, landings: &Landings, rate: Option<u32>, story: &Story) -> Result<u64, Error> {
    let producer = client.producer(ProducerOptions::default()).await?;
    let mut progress = story.progress(landings.len() as u64, "flights");
    let started = Instant::now();
    let batch_records = rate.map_or(BATCH_RECORDS, |rate| {
        (rate / BATCHES_A_SECOND).clamp(1, 10_000) as usize
    });
    let mut sent = 0;
    let mut all = landings.iter().map(record);
    loop {
        let batch: Vec<Record> = all.by_ref().take(batch_records).collect();
        if batch.is_empty() {
            return Ok(sent);
        }
        if let Some(rate) = rate {
            tokio::time::sleep_until(started + Duration::from_secs_f64(sent as f64 / f64::from(rate))).await;
        }
        let count = batch.len() as u64;
        producer.send(TOPIC, 0, batch).await?;
        sent += count;
        progress.at(sent);
    }
}

fn record(landing: Landing) -> Record {
    Record {
        offset: 0,
        timestamp: landing.landed,
        key: Some(Bytes::from(landing.origin)),
        value: Some(Bytes::from(landing.json)),
        headers: Vec::new(),
    }
}
