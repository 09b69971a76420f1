//! Reads a partition from its start, and commits where it got to for a group.
//!
//!     cargo run -p log-broker-client --example consume -- 127.0.0.1:9092 example

use log_broker_client::{At, Client, FetchOptions};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let broker = arguments.next().unwrap_or_else(|| "127.0.0.1:9092".to_owned());
    let topic = arguments.next().unwrap_or_else(|| "example".to_owned());
    let client = Client::connect(&broker, "consume-example").await?;
    let group = "example-group";
    let committed = client.committed(group, &topic, &[0]).await?;
    let mut next = match committed.first() {
        Some(Some(offset)) => *offset,
        _ => client.offset(&topic, 0, At::Earliest).await?,
    };
    let end = client.offset(&topic, 0, At::Latest).await?;
    while next < end {
        let fetched = client.fetch(&topic, 0, next, &FetchOptions::default()).await?;
        for record in &fetched.records {
            let value = record.value.as_deref().unwrap_or(b"(no value)");
            println!("{}: {}", record.offset, String::from_utf8_lossy(value));
        }
        next = fetched.next_offset;
    }
    client.commit(group, &topic, &[(0, next)]).await?;
    println!("committed offset {next}");
    Ok(())
}
