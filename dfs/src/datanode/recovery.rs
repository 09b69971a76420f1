//! Block recovery: the writer is gone, and the replicas may differ. They agree on one length and one stamp.
//!
//! The data node that the name node names leads: it stops the writers everywhere, asks who has how much, and cuts all to the
//! shortest of those that were whole so far. What was synced is in all of them.

use std::sync::Arc;

use dfs_wire::proto::cluster::{
    CommitRecoveryRequest, CommitRecoveryResponse, FinishRecoveryRequest, FinishRecoveryResponse, InitRecoveryRequest,
    InitRecoveryResponse, RecoverBlock, Replica, replica,
};
use dfs_wire::proto::hdfs::DatanodeInfoProto;

use super::DataNode;
use super::store::State;
use crate::Error;
use crate::ipc::{CLUSTER_PROTOCOL, CallError, Client};

impl DataNode {
    /// Stops the writer of a replica and says what it is then; `None` if there is no such replica.
    pub fn init_recovery(&self, block: u64, new_stamp: u64) -> Result<Option<Replica>, Error> {
        self.stop_writer(block)?;
        let Some(found) = self.store.get(block) else {
            return Ok(None);
        };
        if found.stamp >= new_stamp {
            return Err(Error::Io(format!(
                "blk_{block} was recovered under stamp {} before",
                found.stamp
            )));
        }
        let state = match found.state {
            State::Finalized => replica::State::Finalized,
            State::Rbw => replica::State::Rbw,
            State::Rwr => replica::State::Rwr,
            State::Temporary => return Ok(None),
            State::Corrupt => return Err(Error::Io(format!("the checksums of blk_{block} are gone"))),
        };
        Ok(Some(Replica {
            block_id: block,
            generation_stamp: found.stamp,
            length: found.length,
            state: Some(state as i32),
        }))
    }

    pub fn finish_recovery(&self, block: u64, new_stamp: u64, length: u64) -> Result<(), Error> {
        self.store.recover(block, new_stamp, length)?;
        self.received(block);
        Ok(())
    }
}

/// Leads a recovery.
pub async fn lead(node: Arc<DataNode>, order: RecoverBlock) {
    let block = order.block.block_id;
    match try_lead(&node, &order).await {
        Ok(length) => tracing::info!(block, length, "led a block recovery"),
        Err(error) => tracing::warn!(block, %error, "a block recovery failed; the name node orders it again"),
    }
}

async fn try_lead(node: &Arc<DataNode>, order: &RecoverBlock) -> Result<u64, String> {
    let (block, stamp) = (order.block.block_id, order.new_generation_stamp);
    let mut found: Vec<(&DatanodeInfoProto, Replica)> = Vec::new();
    let mut unreachable = 0;
    for location in &order.locations {
        match init(node, location, block, stamp).await {
            Ok(Some(replica)) if replica.generation_stamp >= order.block.generation_stamp => {
                found.push((location, replica));
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(
                    block,
                    node = location.id.datanode_uuid,
                    error,
                    "a data node does not take part"
                );
                unreachable += 1;
            }
        }
    }
    if found.is_empty() && unreachable > 0 {
        return Err("no data node with a replica can be reached".to_owned());
    }
    let mut chosen = choose(&found);
    let mut length = chosen.iter().map(|(_, replica)| replica.length).min().unwrap_or(0);
    if let Some(cut) = order.truncate_length {
        chosen.retain(|(_, replica)| replica.length >= cut);
        if chosen.is_empty() {
            return Err("no data node has a replica to cut".to_owned());
        }
        length = cut;
    }
    let mut agreed = Vec::new();
    for (location, _) in chosen {
        match finish(node, location, block, stamp, length).await {
            Ok(()) => agreed.push(location.id.datanode_uuid.clone()),
            Err(error) => tracing::warn!(block, node = location.id.datanode_uuid, error, "a data node fell out"),
        }
    }
    if length > 0 && agreed.is_empty() {
        return Err("no data node finished".to_owned());
    }
    let asked = CommitRecoveryRequest {
        block_id: block,
        new_generation_stamp: stamp,
        length,
        datanode_uuids: agreed,
    };
    let mut client = node.name_node_client();
    client
        .call::<CommitRecoveryResponse>("commitRecovery", &asked)
        .await
        .map_err(|error| error.to_string())?;
    Ok(length)
}

/// Finalized replicas set the length; else those with a living writer's data, which have all that was acknowledged; only
/// then those of restarted data nodes.
fn choose<'a>(found: &[(&'a DatanodeInfoProto, Replica)]) -> Vec<(&'a DatanodeInfoProto, Replica)> {
    let of = |state: replica::State| found.iter().filter(move |(_, replica)| replica.state() == state);
    let finalized: Vec<_> = of(replica::State::Finalized).cloned().collect();
    if let Some((_, first)) = finalized.first() {
        let length = first.length;
        let same = of(replica::State::Rbw).filter(|(_, replica)| replica.length == length);
        return finalized.iter().cloned().chain(same.cloned()).collect();
    }
    let rbw: Vec<_> = of(replica::State::Rbw).cloned().collect();
    if rbw.is_empty() {
        of(replica::State::Rwr).cloned().collect()
    } else {
        rbw
    }
}

fn client(location: &DatanodeInfoProto) -> Client {
    let address = format!("{}:{}", location.id.ip_addr, location.id.ipc_port);
    Client::new(address, "datanode", CLUSTER_PROTOCOL, *uuid::Uuid::new_v4().as_bytes())
}

async fn init(
    node: &Arc<DataNode>,
    location: &DatanodeInfoProto,
    block: u64,
    stamp: u64,
) -> Result<Option<Replica>, String> {
    if location.id.datanode_uuid == node.identity.uuid {
        let this = Arc::clone(node);
        let local = tokio::task::spawn_blocking(move || this.init_recovery(block, stamp)).await;
        return local
            .map_err(|error| error.to_string())?
            .map_err(|error| error.to_string());
    }
    let asked = InitRecoveryRequest {
        block_id: block,
        new_generation_stamp: stamp,
    };
    let answer: Result<InitRecoveryResponse, CallError> = client(location).call("initRecovery", &asked).await;
    answer.map(|answer| answer.replica).map_err(|error| error.to_string())
}

async fn finish(
    node: &Arc<DataNode>,
    location: &DatanodeInfoProto,
    block: u64,
    stamp: u64,
    length: u64,
) -> Result<(), String> {
    if location.id.datanode_uuid == node.identity.uuid {
        let this = Arc::clone(node);
        let local = tokio::task::spawn_blocking(move || this.finish_recovery(block, stamp, length)).await;
        return local
            .map_err(|error| error.to_string())?
            .map_err(|error| error.to_string());
    }
    let asked = FinishRecoveryRequest {
        block_id: block,
        new_generation_stamp: stamp,
        length,
    };
    let answer: Result<FinishRecoveryResponse, CallError> = client(location).call("finishRecovery", &asked).await;
    answer.map(|_| ()).map_err(|error| error.to_string())
}
