//! Lists brokers, topics and the offsets of their partitions.
//!
//!     cargo run -p log-broker-client --example topics -- 127.0.0.1:9092

use log_broker_client::{At, Client};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9092".to_owned());
    let client = Client::connect(&broker, "topics-example").await?;
    let metadata = client.metadata(None).await?;
    println!("{} brokers", metadata.brokers.len());
    for topic in &metadata.topics {
        for partition in &topic.partitions {
            let from = client.offset(&topic.name, partition.id, At::Earliest).await?;
            let to = client.offset(&topic.name, partition.id, At::Latest).await?;
            println!("{}-{}: offsets {from} to {to}", topic.name, partition.id);
        }
    }
    Ok(())
}
