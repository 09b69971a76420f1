use log_broker_client::Client;

use super::{ANSWER_MAX, Facts, count};

pub const CALL: &str = "Kafka's ApiVersions and Metadata";

/// Names of off-line partitions in a message.
const NAMES_MAX: usize = 5;

pub async fn ask(address: &str) -> Result<Facts, String> {
    let client = Client::connect_within(address, "bonsai-status", ANSWER_MAX).await;
    let client = client.map_err(|error| error.to_string())?;
    let metadata = client.metadata(None).await.map_err(|error| error.to_string())?;
    let mut partitions = 0_u64;
    let mut offline = Vec::new();
    for topic in &metadata.topics {
        partitions += topic.partitions.len() as u64;
        let without = topic.partitions.iter().filter(|partition| partition.leader < 0);
        offline.extend(without.map(|partition| format!("{}-{}", topic.name, partition.id)));
    }
    let topics = metadata.topics.len() as u64;
    let mut facts = Facts::default()
        .with("brokers", metadata.brokers.len())
        .with("topics", topics)
        .with("partitions", partitions)
        .with("offline_partitions", offline.len())
        .summary(format!(
            "{}, {}",
            count(topics, "topic"),
            count(partitions, "partition")
        ));
    if !offline.is_empty() {
        let names = offline.iter().take(NAMES_MAX).cloned().collect::<Vec<_>>().join(", ");
        let more = if offline.len() > NAMES_MAX { ", …" } else { "" };
        facts.problem = Some(format!(
            "{} off-line: {names}{more}",
            count(offline.len() as u64, "partition")
        ));
    }
    Ok(facts)
}
