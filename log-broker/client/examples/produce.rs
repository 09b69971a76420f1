//! Produces records to a topic: idempotent, acknowledged once they are durable.
//!
//!     cargo run -p log-broker-client --example produce -- 127.0.0.1:9092 example

use log_broker_client::{Client, Codec, Error, ProducerOptions, Record};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let broker = arguments.next().unwrap_or_else(|| "127.0.0.1:9092".to_owned());
    let topic = arguments.next().unwrap_or_else(|| "example".to_owned());
    let client = Client::connect(&broker, "produce-example").await?;
    match client.create_topic(&topic, 1, 1, &[]).await {
        Ok(()) | Err(Error::TopicAlreadyExists(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let options = ProducerOptions {
        compression: Codec::Lz4,
        ..Default::default()
    };
    let producer = client.producer(options).await?;
    let records = (0..3).map(|number| Record::new(format!("record {number}").into_bytes()));
    let offset = producer.send(&topic, 0, records.collect()).await?;
    println!("3 records from offset {offset}");
    Ok(())
}
