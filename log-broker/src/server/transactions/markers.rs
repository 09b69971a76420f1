//! Writing markers: what ends a transaction in each of its partitions.

use std::sync::Arc;
use std::time::Duration;

use log_broker_wire::ErrorCode;
use log_broker_wire::marker::Marker;

use super::super::api::blocking;
use super::super::broker::Broker;
use super::super::now_ms;
use super::super::partition::{Partition, Refused};
use crate::catalog;
use crate::transaction::Identity;

/// The pause before a marker is tried again, at first and at most.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Ends a transaction in all its partitions, however often that has to be tried.
pub(super) async fn end(
    broker: &Arc<Broker>,
    coordinator: &Arc<Partition>,
    producer: Identity,
    is_commit: bool,
    partitions: Vec<(String, i32)>,
) {
    let mut left = partitions;
    let mut pause = PAUSE_MIN;
    loop {
        let Ok(coordinator_epoch) = coordinator.leader_epoch() else {
            return; // Its successor ends the transaction.
        };
        let marker = Marker {
            producer_id: producer.producer_id,
            producer_epoch: producer.producer_epoch,
            is_commit,
            coordinator_epoch,
        };
        let outcomes = write(broker, &marker, std::mem::take(&mut left)).await;
        left = outcomes
            .into_iter()
            .filter(|(partition, outcome)| is_to_be_tried_again(partition, &marker, outcome))
            .map(|(partition, _)| partition)
            .collect();
        if left.is_empty() {
            return;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

fn is_to_be_tried_again((topic, index): &(String, i32), marker: &Marker, outcome: &Result<(), Refused>) -> bool {
    let Err(refused) = outcome else { return false };
    match refused.code {
        // The topic was deleted, with what there was of the transaction.
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => false,
        // Somebody has ended it already, in a newer epoch: an administrator, or a newer coordinator.
        ErrorCode::INVALID_PRODUCER_EPOCH | ErrorCode::TRANSACTION_COORDINATOR_FENCED => {
            tracing::warn!(topic, partition = index, ?marker, ?refused, "a marker is too late");
            false
        }
        _ => {
            tracing::warn!(
                topic,
                partition = index,
                ?refused,
                "a marker could not be written, trying again"
            );
            true
        }
    }
}

/// Writes a marker to partitions once, and waits until it is before the high watermark of each.
pub(in super::super) async fn write(
    broker: &Arc<Broker>,
    marker: &Marker,
    partitions: Vec<(String, i32)>,
) -> Vec<((String, i32), Result<(), Refused>)> {
    let marker = *marker;
    let appended = blocking(broker, move |broker| {
        let append = |(topic, index): (String, i32)| {
            let found = broker.topics.partition(&topic, index);
            let appended = found
                .ok_or(Refused::from(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION))
                .and_then(|partition| {
                    let end = partition.append_marker(&marker, now_ms())?.end;
                    let reached = broker.settle(&partition, end, true);
                    Ok(reached)
                });
            ((topic, index), appended)
        };
        Ok(partitions.into_iter().map(append).collect::<Vec<_>>())
    });
    let mut outcomes = Vec::new();
    for (partition, appended) in appended.await.unwrap_or_default() {
        let outcome = match appended {
            Ok(Some(reached)) => reached.await.unwrap_or(Err(ErrorCode::NOT_LEADER_OR_FOLLOWER.into())),
            Ok(None) => Ok(()),
            Err(refused) => Err(refused),
        };
        let outcome = match outcome {
            Ok(()) if partition.0 == catalog::CONSUMER_OFFSETS => {
                // The offsets of the transaction count from now on, or are forgotten.
                let groups = &broker.groups;
                let ended = groups
                    .end_transaction(partition.1, marker.producer_id, marker.is_commit)
                    .await;
                ended.map_err(Refused::from)
            }
            outcome => outcome,
        };
        outcomes.push((partition, outcome));
    }
    outcomes
}
