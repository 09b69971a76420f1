//! The broker's entry in the coordinator: a key that lives as long as its lease, and the lease as long as the broker.

use std::sync::Arc;
use std::time::Duration;

use coordinator_client::{Client, PutOptions};
use host::Shutdown;
use tokio::time::timeout;

use super::broker::{Broker, NODE_ID};

/// Where brokers are registered; the id follows.
const PREFIX: &str = "/bonsai/log-broker/brokers/";

/// How long the entry outlives a broker that was killed, in seconds.
const LEASE_SECONDS: i64 = 10;

/// How long the coordinator may take to answer at first; the client itself would try for longer, in silence.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Keeps the broker registered until shutdown, then takes the entry away. The broker serves meanwhile, whether or not
/// the coordinator can be reached.
pub(super) async fn keep(broker: Arc<Broker>, address: String, shutdown: Shutdown) {
    let mut pause = PAUSE_FIRST;
    let mut told = false;
    while !shutdown.is_requested() {
        match registered(&broker, &address, &shutdown).await {
            Ok(()) if shutdown.is_requested() => return,
            Ok(()) => {
                (pause, told) = (PAUSE_FIRST, false);
                tracing::warn!(address, "the registration was lost; registering again");
            }
            Err(error) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(address, %error, "not registered in the coordinator; serving, and trying again");
                }
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = shutdown.requested() => return,
                }
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}

/// Registers, and returns when the registration is lost or given up for the shutdown.
async fn registered(broker: &Broker, address: &str, shutdown: &Shutdown) -> Result<(), String> {
    let text = |error: coordinator_client::Error| error.to_string();
    let client = tokio::select! {
        client = timeout(CONNECT_TIMEOUT, Client::connect(address)) => {
            client.map_err(|_| format!("no answer within {CONNECT_TIMEOUT:?}"))?.map_err(text)?
        }
        () = shutdown.requested() => return Ok(()),
    };
    let (lease, ttl) = client.lease_grant(LEASE_SECONDS).await.map_err(text)?;
    let (host, port) = &broker.advertised;
    let value = serde_json::json!({ "host": host, "port": port, "cluster_id": broker.topics.cluster_id() });
    let key = format!("{PREFIX}{NODE_ID}");
    client
        .put_with(
            key.clone(),
            value.to_string(),
            PutOptions {
                lease,
                ..PutOptions::default()
            },
        )
        .await
        .map_err(text)?;
    tracing::info!(address, key, "registered in the coordinator");
    let keeper = client.lease_keep_alive(lease, ttl);
    tokio::select! {
        () = keeper.lost() => Ok(()),
        () = shutdown.requested() => {
            drop(keeper);
            client.lease_revoke(lease).await.map_err(text)
        }
    }
}
