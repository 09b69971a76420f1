//! Puts keys and watches them: every change arrives once, in the order of revisions.
//!
//!     cargo run -p coordinator-client --example put_and_watch -- 127.0.0.1:2379

use coordinator_client::{Change, Client, Keys};
use tokio_stream::StreamExt;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let endpoints = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:2379".to_owned());
    let client = Client::connect(&endpoints).await?;
    // Confirmed by the server, so no later change is missed.
    let mut watch = client.watch(Keys::prefix("example/watch/"), 0).await?;
    for name in ["a", "b"] {
        let revision = client.put(format!("example/watch/{name}"), "1").await?;
        println!("put {name} at revision {revision}");
    }
    client.delete(Keys::prefix("example/watch/")).await?;
    let mut seen = 0;
    while seen < 4 {
        let Some(changes) = watch.next().await else { break };
        for change in changes?.changes {
            let (what, kv) = match change {
                Change::Put(kv) => ("put", kv),
                Change::Delete(kv) => ("delete", kv),
            };
            println!(
                "watch: {what} {} at {}",
                String::from_utf8_lossy(&kv.key),
                kv.mod_revision
            );
            seen += 1;
        }
    }
    Ok(())
}
