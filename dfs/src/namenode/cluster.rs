//! Calls of data nodes.

use bytes::Bytes;
use dfs_wire::proto::cluster::{self, replica};
use prost::Message;

use super::command::{FinishRecovery, Followup, Op};
use super::reach;
use super::state::{Decision, NameNode, State};
use super::status::datanode_info;
use crate::Error;
use crate::block::{Address, Command, Event, Replica, ReplicaState, Usage};
use crate::ipc::Call;
use crate::namespace::{BLOCK_BYTES_MAX, Block};

/// Data nodes that are remembered, dead ones included: a registration costs memory until the next start.
const DATA_NODES_MAX: usize = 20_000;
/// Commands that one heartbeat carries.
const COMMANDS_PER_HEARTBEAT: usize = 500;

fn replica_of(message: &cluster::Replica) -> Replica {
    Replica {
        block: message.block_id,
        generation_stamp: message.generation_stamp,
        length: message.length,
        state: match message.state() {
            replica::State::Finalized => ReplicaState::Finalized,
            replica::State::Rbw => ReplicaState::Rbw,
            replica::State::Rwr => ReplicaState::Rwr,
            replica::State::Corrupt => ReplicaState::Corrupt,
        },
    }
}

fn replica_message(block: Block) -> cluster::Replica {
    cluster::Replica {
        block_id: block.id,
        generation_stamp: block.generation_stamp,
        length: block.length,
        state: None,
    }
}

impl NameNode {
    pub(super) async fn cluster_call(&self, call: &Call) -> Result<Bytes, Error> {
        let argument = call.argument.clone();
        let answer = match call.method.as_str() {
            "register" => self
                .register(call, cluster::RegisterRequest::decode(argument)?)?
                .encode_to_vec(),
            "heartbeat" => self
                .heartbeat(&cluster::HeartbeatRequest::decode(argument)?)
                .encode_to_vec(),
            "blockReport" => {
                let asked = cluster::BlockReportRequest::decode(argument)?;
                let replicas: Vec<Replica> = asked.replicas.iter().map(replica_of).collect();
                tracing::info!(node = asked.datanode_uuid, replicas = replicas.len(), "block report");
                let event = Event::Reported {
                    uuid: &asked.datanode_uuid,
                    replicas: &replicas,
                };
                let mut state = self.lock();
                state.soft.step(event, self.now());
                let (future, bytes) = state.soft.blocks.future();
                drop(state);
                if future > 0 {
                    tracing::error!(
                        replicas = future,
                        bytes,
                        "replicas have block ids or generation stamps that were never given out: is this an old copy of the \
                         name node's directory? Safe mode holds"
                    );
                }
                cluster::BlockReportResponse {}.encode_to_vec()
            }
            "blockReceived" => {
                let asked = cluster::BlockReceivedRequest::decode(argument)?;
                let replicas: Vec<Replica> = asked.received.iter().map(replica_of).collect();
                let event = Event::Received {
                    uuid: &asked.datanode_uuid,
                    replicas: &replicas,
                    deleted: &asked.deleted,
                };
                self.lock().soft.step(event, self.now());
                cluster::BlockReceivedResponse {}.encode_to_vec()
            }
            "badBlock" => {
                let asked = cluster::BadBlockRequest::decode(argument)?;
                tracing::warn!(
                    block = asked.block_id,
                    node = asked.datanode_uuid,
                    "a data node found a corrupt replica"
                );
                let event = Event::Corrupt {
                    uuid: &asked.datanode_uuid,
                    block: asked.block_id,
                };
                self.lock().soft.step(event, self.now());
                cluster::BadBlockResponse {}.encode_to_vec()
            }
            "commitRecovery" => {
                self.commit_recovery(cluster::CommitRecoveryRequest::decode(argument)?)
                    .await?;
                cluster::CommitRecoveryResponse {}.encode_to_vec()
            }
            _ => return Err(Error::NoSuchMethod(call.method.clone(), call.protocol.clone())),
        };
        self.data_nodes_changed.notify_waiters();
        Ok(Bytes::from(answer))
    }

    fn register(&self, call: &Call, asked: cluster::RegisterRequest) -> Result<cluster::RegisterResponse, Error> {
        if !asked.pool_id.is_empty() && asked.pool_id != self.pool_id {
            return Err(Error::Io(format!(
                "this data node's blocks belong to pool {}, the name node's pool is {}: give it an empty directory, or the \
                 address of its own name node",
                asked.pool_id, self.pool_id
            )));
        }
        let ports = [asked.id.xfer_port, asked.id.info_port, asked.id.ipc_port];
        if asked.id.datanode_uuid.is_empty() || ports.iter().any(|port| *port > u32::from(u16::MAX)) {
            return Err(Error::IllegalArgument(
                "a data node registers with a uuid and with ports below 65536".to_owned(),
            ));
        }
        let ip = reach::registered(&asked.id.ip_addr, call.peer.ip());
        let host = if asked.id.host_name.is_empty() {
            ip.clone()
        } else {
            asked.id.host_name
        };
        tracing::info!(
            node = asked.id.datanode_uuid,
            ip,
            port = asked.id.xfer_port,
            "a data node registered"
        );
        let address = Address {
            uuid: asked.id.datanode_uuid,
            storage_uuid: asked.storage_uuid,
            ip,
            host,
            transfer_port: asked.id.xfer_port,
            http_port: asked.id.info_port,
            ipc_port: asked.id.ipc_port,
        };
        let mut state = self.lock();
        if state.soft.blocks.find_node(&address.uuid).is_none() && state.soft.blocks.nodes().len() >= DATA_NODES_MAX {
            return Err(Error::Io(format!("there are {DATA_NODES_MAX} data nodes already")));
        }
        state
            .soft
            .data_node_by_connection
            .insert(call.connection, address.uuid.clone());
        state.soft.step(Event::Registered(address), self.now());
        Ok(cluster::RegisterResponse {
            pool_id: self.pool_id.clone(),
            heartbeat_millis: self.settings.heartbeat_ms,
        })
    }

    /// A killed data node is known by its broken connection long before its heartbeats are missed: nobody is sent to it.
    pub(super) fn data_node_gone(&self, connection: u64) {
        let mut state = self.lock();
        if let Some(uuid) = state.soft.data_node_by_connection.remove(&connection) {
            tracing::info!(node = uuid, "lost the connection of a data node");
            state.soft.step(Event::Lost { uuid: &uuid }, self.now());
        }
    }

    fn heartbeat(&self, asked: &cluster::HeartbeatRequest) -> cluster::HeartbeatResponse {
        let mut state = self.lock();
        let id = match state.soft.blocks.find_node(&asked.datanode_uuid) {
            Some(node) if node.alive => node.id,
            _ => {
                return cluster::HeartbeatResponse {
                    register_again: true,
                    commands: Vec::new(),
                };
            }
        };
        let usage = Usage {
            capacity: asked.capacity,
            used: asked.used,
            remaining: asked.remaining,
            transfers: asked.transfers,
            connections: asked.connections,
        };
        state.soft.step(
            Event::Heartbeat {
                uuid: &asked.datanode_uuid,
                usage,
            },
            self.now(),
        );
        let mut queued = state.soft.commands.remove(&id).unwrap_or_default();
        if queued.len() > COMMANDS_PER_HEARTBEAT {
            let rest = queued.split_off(COMMANDS_PER_HEARTBEAT);
            state.soft.commands.insert(id, rest);
        }
        let commands = queued
            .into_iter()
            .map(|command| command_message(&state, command))
            .collect();
        cluster::HeartbeatResponse {
            register_again: false,
            commands,
        }
    }

    /// Data nodes agreed on the last block of a file whose writer is gone.
    async fn commit_recovery(&self, asked: cluster::CommitRecoveryRequest) -> Result<(), Error> {
        let block = Block {
            id: asked.block_id,
            generation_stamp: asked.new_generation_stamp,
            length: asked.length,
        };
        if block.length > BLOCK_BYTES_MAX {
            return Err(Error::Io(format!(
                "blk_{} cannot have {} bytes",
                block.id, block.length
            )));
        }
        self.propose(&self.own_asker(), None, |state, _| {
            let known = state.soft.recoveries.get(&block.id);
            let Some(pending) = known.filter(|pending| pending.new_stamp == block.generation_stamp) else {
                return Err(Error::Io(format!(
                    "the recovery of blk_{} under that generation stamp was superseded",
                    block.id
                )));
            };
            let finish = FinishRecovery {
                file: pending.file,
                block: block.into(),
            };
            let nodes = asked
                .datanode_uuids
                .iter()
                .filter_map(|uuid| state.soft.blocks.find_node(uuid));
            let followup = Followup::Pipeline {
                block: block.id,
                nodes: nodes.map(|node| node.id).collect(),
            };
            Ok(Decision::propose(Op::FinishRecovery(finish), followup))
        })
        .await?;
        self.lock().soft.recoveries.remove(&block.id);
        tracing::info!(block = block.id, length = block.length, "recovered a block");
        Ok(())
    }
}

fn command_message(state: &State, command: Command) -> cluster::Command {
    let infos = |nodes: Vec<crate::block::NodeId>| {
        nodes
            .into_iter()
            .map(|node| datanode_info(state.soft.blocks.node(node)))
            .collect()
    };
    match command {
        Command::Transfer { block, targets } => cluster::Command {
            transfer: Some(cluster::TransferBlock {
                block: replica_message(block),
                targets: infos(targets),
            }),
            ..Default::default()
        },
        Command::Invalidate {
            block,
            generation_stamp,
        } => {
            let block = Block {
                id: block,
                generation_stamp,
                length: 0,
            };
            cluster::Command {
                invalidate: Some(cluster::InvalidateBlocks {
                    blocks: vec![replica_message(block)],
                }),
                ..Default::default()
            }
        }
        Command::Recover {
            block,
            new_stamp,
            truncating,
            locations,
        } => cluster::Command {
            recover: Some(cluster::RecoverBlock {
                block: replica_message(block),
                new_generation_stamp: new_stamp,
                locations: infos(locations),
                truncate_length: truncating.then_some(block.length),
            }),
            ..Default::default()
        },
    }
}
