//! Registration, heartbeats and block reports to the name node, and the commands that come back.
//!
//! One connection, one call at a time, so that a full block report never overtakes an incremental one or the other way
//! round. Incremental block reports are sent at once: writers wait for them in `complete`.

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
/// Entries of one incremental block report.
const INCREMENTAL_REPORT_ENTRIES_MAX: usize = 1000;

/// An entry of an incremental block report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IncrementalReport {
    Received(u64),
    Deleted(u64),
    Corrupt(u64),
}

/// Runs until `shutdown`. An error is one that no retry mends.
pub async fn run(
    node: Arc<DataNode>,
    mut reports: UnboundedReceiver<IncrementalReport>,
    shutdown: Shutdown,
) -> Result<(), String> {
    let mut client = node.name_node_client();
    let mut retry = RETRY_MIN;
    let mut warned = false;
    while !shutdown.is_requested() {
        let outcome = tokio::select! {
            outcome = serve(&node, &mut client, &mut reports, &mut warned) => outcome,
            () = shutdown.requested() => return Ok(()),
        };
        match outcome {
            Ok(()) => retry = RETRY_MIN,
            Err(CallError::Remote { message, .. }) if message.contains("belong to pool") => return Err(message),
            Err(error) => {
                if !warned {
                    tracing::warn!(name_node = client.address(), %error, "cannot reach the name node; retrying");
                    warned = true;
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
    reports: &mut UnboundedReceiver<IncrementalReport>,
    warned: &mut bool,
) -> Result<(), CallError> {
    let heartbeat_interval = register(node, client).await?;
    *warned = false;
    // Once before the report: the name node then knows how much space there is.
    heartbeat(node, client).await?;
    block_report(node, client).await?;
    node.set_registered(true);
    let outcome = report_on(node, client, reports, heartbeat_interval).await;
    node.set_registered(false);
    outcome
}

async fn report_on(
    node: &Arc<DataNode>,
    client: &mut Client,
    reports: &mut UnboundedReceiver<IncrementalReport>,
    heartbeat_interval: Duration,
) -> Result<(), CallError> {
    let mut next_report = Instant::now() + node.settings.block_report_interval;
    let mut interval = tokio::time::interval(heartbeat_interval);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            count = reports.recv_many(&mut batch, INCREMENTAL_REPORT_ENTRIES_MAX) => {
                if count == 0 {
                    return Ok(());
                }
                incremental_block_report(node, client, &batch).await?;
                batch.clear();
            }
            _ = interval.tick() => {
                if heartbeat(node, client).await? {
                    tracing::info!("the name node requests a new registration");
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
async fn heartbeat(node: &Arc<DataNode>, client: &mut Client) -> Result<bool, CallError> {
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
        execute(node, command);
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
    tracing::info!(replicas = replicas.len(), "sent a full block report");
    let asked = BlockReportRequest {
        datanode_uuid: node.identity.uuid.clone(),
        replicas,
    };
    client.call::<BlockReportResponse>("blockReport", &asked).await?;
    Ok(())
}

async fn incremental_block_report(
    node: &Arc<DataNode>,
    client: &mut Client,
    reports: &[IncrementalReport],
) -> Result<(), CallError> {
    let mut received = Vec::new();
    let mut deleted = Vec::new();
    for item in reports {
        match item {
            // As it is now: it may be open again, or gone.
            IncrementalReport::Received(id) => {
                received.extend(node.store.get(*id).map(|found| message_of(*id, &found)))
            }
            IncrementalReport::Deleted(id) => deleted.push(*id),
            IncrementalReport::Corrupt(id) => {
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

/// Executes a command, beside the heartbeats.
fn execute(node: &Arc<DataNode>, command: Command) {
    if let Some(order) = command.invalidate {
        let node = Arc::clone(node);
        tokio::task::spawn_blocking(move || {
            for block in order.blocks {
                if node.store.remove(block.block_id, block.generation_stamp) {
                    tracing::debug!(block = block.block_id, "removed a replica");
                    node.report(IncrementalReport::Deleted(block.block_id));
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
