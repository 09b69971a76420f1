//! The IPC port: what readers of a file that is being written ask, and what data nodes ask each other.

use std::sync::Arc;

use bytes::Bytes;
use dfs_wire::proto::cluster::{
    FinishRecoveryRequest, FinishRecoveryResponse, InitRecoveryRequest, InitRecoveryResponse,
};
use dfs_wire::proto::hdfs::{
    DatanodeLocalInfoProto, GetDatanodeInfoResponseProto, GetReplicaVisibleLengthRequestProto,
    GetReplicaVisibleLengthResponseProto,
};
use prost::Message;

use super::DataNode;
use crate::Error;
use crate::ipc::{CLIENT_DATANODE_PROTOCOL, CLUSTER_PROTOCOL, Call, Service};

impl Service for DataNode {
    async fn call(self: Arc<Self>, call: Call) -> Result<Bytes, Error> {
        let no_such = || Error::NoSuchMethod(call.method.clone(), call.protocol.clone());
        let argument = call.argument.clone();
        let answer = match (call.protocol.as_str(), call.method.as_str()) {
            (CLIENT_DATANODE_PROTOCOL, "getReplicaVisibleLength") => {
                let asked = GetReplicaVisibleLengthRequestProto::decode(argument)?;
                GetReplicaVisibleLengthResponseProto {
                    length: self.visible_length(&asked)?,
                }
                .encode_to_vec()
            }
            (CLIENT_DATANODE_PROTOCOL, "getDatanodeInfo") => {
                let local_info = DatanodeLocalInfoProto {
                    software_version: env!("CARGO_PKG_VERSION").to_owned(),
                    config_version: "core-default".to_owned(),
                    uptime: self.started.elapsed().as_secs(),
                };
                GetDatanodeInfoResponseProto { local_info }.encode_to_vec()
            }
            (CLUSTER_PROTOCOL, "initRecovery") => {
                let asked = InitRecoveryRequest::decode(argument)?;
                let replica = blocking(move || self.init_recovery(asked.block_id, asked.new_generation_stamp)).await?;
                InitRecoveryResponse { replica }.encode_to_vec()
            }
            (CLUSTER_PROTOCOL, "finishRecovery") => {
                let asked = FinishRecoveryRequest::decode(argument)?;
                blocking(move || self.finish_recovery(asked.block_id, asked.new_generation_stamp, asked.length))
                    .await?;
                FinishRecoveryResponse {}.encode_to_vec()
            }
            (CLIENT_DATANODE_PROTOCOL | CLUSTER_PROTOCOL, _) => return Err(no_such()),
            _ => return Err(Error::NoSuchProtocol(call.protocol)),
        };
        Ok(Bytes::from(answer))
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::Io(error.to_string()))?
}

impl DataNode {
    /// Bytes of a replica that all nodes of its pipeline have.
    fn visible_length(&self, asked: &GetReplicaVisibleLengthRequestProto) -> Result<u64, Error> {
        self.check_pool(&asked.block.pool_id)?;
        let found = self.store.get(asked.block.block_id);
        let found = found
            .filter(|found| found.stamp >= asked.block.generation_stamp)
            .ok_or_else(|| {
                let (block, stamp) = (asked.block.block_id, asked.block.generation_stamp);
                Error::ReplicaNotFound(format!("Replica not found for blk_{block}_{stamp}"))
            })?;
        Ok(found.live.map_or(found.length, |live| live.snapshot().acknowledged))
    }
}
