//! The data node's word to the name node: who it is, that it lives, what it has; and the orders that come back.
//!
//! One connection, one call at a time, so that a full report never overtakes the news of a single replica or the other way
//! round. News is sent at once: writers wait for it in `complete`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dfs_wire::proto::cluster::{
    BadBlockRequest, BadBlockResponse, BlockReceivedRequest, BlockReceivedResponse, BlockReportRequest,
    BlockReportResponse, Command, HeartbeatRequest, HeartbeatResponse, RegisterRequest, RegisterResponse, Replica,
    replica,
};
use dfs_wire::proto::hdfs::ExtendedBlockProto;
use host::Shutdown;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, MissedTickBehavior};

use super::store::State;
use super::{DataNode, recovery, transfer};
use crate::ipc::{CallError, Client};

const RETRY_MIN: Duration = Duration::from_millis(100);
/// A restarted name node is found within half a second: until then it is in safe mode.
const RETRY_MAX: Duration = Duration::from_millis(500);
/// News sent in one call.
const NEWS_PER_CALL: usize = 1000;

/// What the name node has to hear of at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    Received(u64),
    Deleted(u64),
    Corrupt(u64),
}

/// Runs until `shutdown`. An error is one that no retry mends.
pub async fn run(node: Arc<DataNode>, mut news: UnboundedReceiver<News>, shutdown: Shutdown) -> Result<(), String> {
    let mut client = node.name_node_client();
    let mut retry = RETRY_MIN;
    let mut told = false;
    while !shutdown.is_requested() {
        let outcome = tokio::select! {
            outcome = serve(&node, &mut client, &mut news, &mut told) => outcome,
            () = shutdown.requested() => return Ok(()),
        };
        match outcome {
            Ok(()) => retry = RETRY_MIN,
            Err(CallError::Remote { message, .. }) if message.contains("belong to pool") => return Err(message),
            Err(error) => {
                if !told {
                    tracing::warn!(name_node = client.address(), %error, "no word from the name node; trying again");
                    told = true;
                }
                tokio::select! {
                    () = tokio::time::sleep(retry) => {}
                    () = shutdown.requested() => return Ok(()),
                }
                retry = (retry * 2).min(RETRY_MAX);
                if client.address() != node.name_node() {
                    client = node.name_node_client();
                }
            }
        }
    }
    Ok(())
}

/// Registers, reports, then goes on until the name node has forgotten this data node or is gone.
async fn serve(
    node: &Arc<DataNode>,
    client: &mut Client,
    news: &mut UnboundedReceiver<News>,
    told: &mut bool,
) -> Result<(), CallError> {
    let heartbeat = register(node, client).await?;
    *told = false;
    // Once before the report: the name node then knows how much space there is.
    beat(node, client).await?;
    block_report(node, client).await?;
    node.set_registered(true);
    let outcome = report_on(node, client, news, heartbeat).await;
    node.set_registered(false);
    outcome
}

async fn report_on(
    node: &Arc<DataNode>,
    client: &mut Client,
    news: &mut UnboundedReceiver<News>,
    heartbeat: Duration,
) -> Result<(), CallError> {
    let mut next_report = Instant::now() + node.settings.block_report_interval;
    let mut interval = tokio::time::interval(heartbeat);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            count = news.recv_many(&mut batch, NEWS_PER_CALL) => {
                if count == 0 {
                    return Ok(());
                }
                tell(node, client, &batch).await?;
                batch.clear();
            }
            _ = interval.tick() => {
                if beat(node, client).await? {
                    tracing::info!("the name node asks for a new registration");
                    return Ok(());
                }
                if Instant::now() >= next_report {
                    block_report(node, client).await?;
                    next_report = Instant::now() + node.settings.block_report_interval;
                }
            }
        }
    }
}

async fn register(node: &Arc<DataNode>, client: &mut Client) -> Result<Duration, CallError> {
    let asked = RegisterRequest {
        id: node.id_message(),
        pool_id: node.pool_id().unwrap_or_default(),
        storage_uuid: node.identity.storage_uuid.clone(),
    };
    let answer: RegisterResponse = client.call("register", &asked).await?;
    node.join_pool(&answer.pool_id)
        .map_err(|error| CallError::Connection(error.to_string()))?;
    tracing::info!(name_node = client.address(), pool = answer.pool_id, "registered");
    Ok(Duration::from_millis(answer.heartbeat_millis.clamp(100, 60_000)))
}

/// True: register again.
async fn beat(node: &Arc<DataNode>, client: &mut Client) -> Result<bool, CallError> {
    let (capacity, remaining) = node.store.space();
    let asked = HeartbeatRequest {
        datanode_uuid: node.identity.uuid.clone(),
        capacity,
        used: node.store.used(),
        remaining,
        transfers: node.transfers.load(Ordering::Relaxed),
        connections: node.connections.load(Ordering::Relaxed),
    };
    let answer: HeartbeatResponse = client.call("heartbeat", &asked).await?;
    for command in answer.commands {
        obey(node, command);
    }
    Ok(answer.register_again)
}

fn message_of(id: u64, found: &super::store::Replica) -> Replica {
    let state = match found.state {
        State::Finalized => replica::State::Finalized,
        State::Rwr => replica::State::Rwr,
        State::Rbw | State::Temporary => replica::State::Rbw,
        State::Corrupt => replica::State::Corrupt,
    };
    let length = found.live.as_ref().map_or(found.length, |live| live.snapshot().length);
    Replica {
        block_id: id,
        generation_stamp: found.stamp,
        length,
        state: Some(state as i32),
    }
}

async fn block_report(node: &Arc<DataNode>, client: &mut Client) -> Result<(), CallError> {
    let replicas: Vec<Replica> = node
        .store
        .list()
        .iter()
        .map(|(id, found)| message_of(*id, found))
        .collect();
    tracing::info!(replicas = replicas.len(), "reported all replicas");
    let asked = BlockReportRequest {
        datanode_uuid: node.identity.uuid.clone(),
        replicas,
    };
    client.call::<BlockReportResponse>("blockReport", &asked).await?;
    Ok(())
}

async fn tell(node: &Arc<DataNode>, client: &mut Client, news: &[News]) -> Result<(), CallError> {
    let mut received = Vec::new();
    let mut deleted = Vec::new();
    for item in news {
        match item {
            // As it is now: it may be open again, or gone.
            News::Received(id) => received.extend(node.store.get(*id).map(|found| message_of(*id, &found))),
            News::Deleted(id) => deleted.push(*id),
            News::Corrupt(id) => {
                let asked = BadBlockRequest {
                    datanode_uuid: node.identity.uuid.clone(),
                    block_id: *id,
                };
                client.call::<BadBlockResponse>("badBlock", &asked).await?;
            }
        }
    }
    if received.is_empty() && deleted.is_empty() {
        return Ok(());
    }
    let asked = BlockReceivedRequest {
        datanode_uuid: node.identity.uuid.clone(),
        received,
        deleted,
    };
    client.call::<BlockReceivedResponse>("blockReceived", &asked).await?;
    Ok(())
}

/// Carries out an order, beside the heartbeats.
fn obey(node: &Arc<DataNode>, command: Command) {
    if let Some(order) = command.invalidate {
        let node = Arc::clone(node);
        tokio::task::spawn_blocking(move || {
            for block in order.blocks {
                if node.store.remove(block.block_id, block.generation_stamp) {
                    tracing::debug!(block = block.block_id, "removed a replica");
                    node.tell(News::Deleted(block.block_id));
                }
            }
        });
    }
    if let Some(order) = command.transfer {
        let node = Arc::clone(node);
        tokio::task::spawn_blocking(move || {
            let block = ExtendedBlockProto {
                pool_id: node.pool_id().unwrap_or_default(),
                block_id: order.block.block_id,
                generation_stamp: order.block.generation_stamp,
                num_bytes: Some(order.block.length),
            };
            transfer::order(&node, &block, &order.targets);
        });
    }
    if let Some(order) = command.recover {
        tokio::spawn(recovery::lead(Arc::clone(node), order));
    }
}
