//! A transaction: of two writers that read the same revision, one wins.
//!
//!     cargo run -p coordinator-client --example compare_and_put -- 127.0.0.1:2379

use coordinator_client::{Client, Compare, Op};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let endpoints = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:2379".to_owned());
    let client = Client::connect(&endpoints).await?;
    let key = "example/counter";
    client.put(key, "0").await?;
    let read = client.get(key).await?.ok_or("the key was just put")?;
    for writer in ["first", "second"] {
        let unchanged = Compare::mod_revision(key, read.mod_revision);
        let outcome = client
            .txn(vec![unchanged], vec![Op::put(key, writer)], vec![Op::get(key)])
            .await?;
        println!(
            "{writer}: {}",
            if outcome.succeeded {
                "written"
            } else {
                "refused, the key has changed"
            }
        );
    }
    let last = client.get(key).await?.ok_or("nothing deletes it")?;
    println!("the value is {}", String::from_utf8_lossy(&last.value));
    Ok(())
}
