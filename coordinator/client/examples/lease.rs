//! A key that lives as long as its process: bound to a lease that is kept alive, gone when the lease is revoked.
//!
//!     cargo run -p coordinator-client --example lease -- 127.0.0.1:2379

use coordinator_client::{Client, PutOptions};

const TTL_SECONDS: i64 = 5;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let endpoints = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:2379".to_owned());
    let client = Client::connect(&endpoints).await?;
    let (lease, ttl) = client.lease_grant(TTL_SECONDS).await?;
    let keeper = client.lease_keep_alive(lease, ttl);
    let options = PutOptions {
        lease,
        ..Default::default()
    };
    client
        .put_with("example/alive", std::process::id().to_string(), options)
        .await?;
    println!(
        "registered; the lease is {}",
        if keeper.is_lost() { "lost" } else { "kept alive" }
    );
    drop(keeper);
    client.lease_revoke(lease).await?;
    println!("after the revocation: {:?}", client.get("example/alive").await?);
    Ok(())
}
