//! One demo at a time on one stack: a key in the coordinator that lives as long as the demo, and one with its result.
//!
//! The key is bound to a lease that this process keeps alive. A demo that is killed leaves it behind for no longer than
//! the lease lives; the next one waits for that.

use std::time::{Duration, SystemTime};

use coordinator_client::{Client, Compare, Error as ClientError, LeaseKeeper, Op};

use super::error::Error;
use super::story::Story;

pub const RUNNING: &str = "/bonsai/demo/flights/running";
pub const RESULT: &str = "/bonsai/demo/flights/result";
const TTL_SECONDS: i64 = 5;
/// Longer than the lease of a demo that was killed.
const PATIENCE: Duration = Duration::from_secs(12);
const POLL: Duration = Duration::from_millis(250);

/// The demo's place in the coordinator, until dropped.
#[derive(Debug)]
pub struct Registration {
    client: Client,
    keeper: LeaseKeeper,
}

impl Registration {
    /// Takes the key, when it is free.
    pub async fn take(address: &str, story: &Story) -> Result<Self, Error> {
        let client = Client::connect(address).await?;
        let (lease, ttl) = client.lease_grant(TTL_SECONDS).await?;
        let keeper = client.lease_keep_alive(lease, ttl);
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let me = format!("pid {} since {} ms", std::process::id(), now.as_millis());
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut told = false;
        loop {
            let put = Op::put_with_lease(RUNNING, me.clone(), lease);
            match client.txn(vec![Compare::absent(RUNNING)], vec![put], Vec::new()).await {
                Ok(result) if result.succeeded => return Ok(Self { client, keeper }),
                // Whether it was carried out is to be seen below.
                Ok(_) | Err(ClientError::Unknown(_)) => {}
                Err(error) => return Err(error.into()),
            }
            if client
                .get(RUNNING)
                .await?
                .is_some_and(|holder| holder.value == me.as_bytes())
            {
                return Ok(Self { client, keeper });
            }
            if tokio::time::Instant::now() >= deadline {
                return Err(Error::Busy);
            }
            if !told {
                story.say("another demo is registered on this stack; waiting for it to end");
                told = true;
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Leaves the result behind, and makes room for the next demo.
    pub async fn finish(self, result: &serde_json::Value) -> Result<(), Error> {
        let text = result.to_string();
        loop {
            match self.client.put(RESULT, text.clone()).await {
                Ok(_) => break,
                // The same again does no harm.
                Err(ClientError::Unknown(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        match self.client.lease_revoke(self.keeper.lease()).await {
            // Gone is gone, however it went.
            Ok(()) | Err(ClientError::LeaseNotFound(_) | ClientError::Unknown(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
