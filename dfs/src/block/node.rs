//! Data nodes as the name node knows them.

use std::collections::BTreeSet;

use super::{BlockInfo, Blocks, Effect};

/// Which data node: the order of their first registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

/// How clients reach a data node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Address {
    pub uuid: String,
    pub storage_uuid: String,
    pub ip: String,
    pub host: String,
    pub transfer_port: u32,
    pub http_port: u32,
    pub ipc_port: u32,
}

/// What a data node says with each heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    pub capacity: u64,
    pub used: u64,
    pub remaining: u64,
    /// Copies to other data nodes under way.
    pub transfers: u32,
    pub connections: u32,
}

#[derive(Debug)]
pub struct Node {
    pub id: NodeId,
    pub address: Address,
    pub usage: Usage,
    pub alive: bool,
    /// When it was last heard of, in milliseconds.
    pub heard: u64,
    /// Its connection broke: maybe it is gone, and the last choice until it is heard of again.
    pub suspect: bool,
    /// True once it has reported all its replicas since it registered.
    pub reported: bool,
    /// When it last did, in milliseconds.
    pub reported_at: Option<u64>,
    pub(super) blocks: BTreeSet<u64>,
}

impl Node {
    /// True if it may be gone, though it does not count as dead yet.
    pub fn is_doubtful(&self, now: u64, stale_after_ms: u64) -> bool {
        self.suspect || self.heard + stale_after_ms < now
    }

    pub fn block_count(&self) -> usize {
        self.blocks.len()
    }
}

impl Blocks {
    /// A node that comes again has lost whatever it does not report; until then, what it had is kept.
    pub(super) fn registered(&mut self, address: Address, now: u64, _effects: &mut [Effect]) {
        // Another process at the same address: the former data node is gone.
        for node in &mut self.nodes {
            let same_place = (&node.address.ip, node.address.transfer_port) == (&address.ip, address.transfer_port);
            if same_place && node.address.uuid != address.uuid && node.alive {
                node.heard = 0;
            }
        }
        let id = NodeId(self.nodes.len() as u32);
        match self.node_mut(&address.uuid) {
            Some(node) => {
                node.address = address;
                node.alive = true;
                node.heard = now;
                node.suspect = false;
                node.reported = false;
            }
            None => self.nodes.push(Node {
                id,
                address,
                usage: Usage::default(),
                alive: true,
                heard: now,
                suspect: false,
                reported: false,
                reported_at: None,
                blocks: BTreeSet::new(),
            }),
        }
    }

    /// Nodes that were not heard of are dead: their replicas do not count any more.
    pub(super) fn bury(&mut self, now: u64, effects: &mut Vec<Effect>) {
        let dead_after = self.policy.dead_after_ms;
        let dead: Vec<NodeId> = self
            .nodes
            .iter()
            .filter(|node| node.alive && node.heard + dead_after <= now)
            .map(|node| node.id)
            .collect();
        for id in dead {
            let node = &mut self.nodes[id.0 as usize];
            node.alive = false;
            node.reported = false;
            let lost = std::mem::take(&mut node.blocks);
            self.future.retain(|(node, _), _| *node != id);
            effects.push(Effect::Died(id));
            for block in lost {
                if let Some(info) = self.blocks.get_mut(&block) {
                    info.locations.retain(|location| location.node != id);
                    self.due(block, now);
                }
            }
        }
    }

    pub fn live_nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.alive)
    }

    /// Sums of capacity, used and remaining bytes.
    pub fn usage(&self) -> Usage {
        self.live_nodes().fold(Usage::default(), |sum, node| Usage {
            capacity: sum.capacity.saturating_add(node.usage.capacity),
            used: sum.used.saturating_add(node.usage.used),
            remaining: sum.remaining.saturating_add(node.usage.remaining),
            transfers: sum.transfers.saturating_add(node.usage.transfers),
            connections: sum.connections.saturating_add(node.usage.connections),
        })
    }

    /// Complete blocks with fewer good replicas than wanted, with only corrupt ones, and with none at all.
    pub fn health(&self) -> Health {
        let mut health = Health::default();
        for info in self.blocks.values().filter(|info| info.complete) {
            let good = info.good();
            if good == 0 && info.block.length > 0 {
                health.missing += 1;
            } else if good < usize::from(info.replication) {
                health.under_replicated += 1;
            }
            if info.locations.iter().any(|location| !location.good) {
                health.corrupt += 1;
            }
        }
        health
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Health {
    pub under_replicated: u64,
    pub corrupt: u64,
    pub missing: u64,
}

impl BlockInfo {
    /// Replicas that count.
    pub fn good(&self) -> usize {
        self.locations.iter().filter(|location| location.good).count()
    }
}

impl Blocks {
    /// Files with a complete block of which no good replica is there.
    pub fn lost_files(&self) -> Vec<crate::namespace::InodeId> {
        let lost = self
            .blocks
            .values()
            .filter(|info| info.complete && info.block.length > 0 && info.good() == 0);
        let files: BTreeSet<_> = lost.map(|info| info.inode).collect();
        files.into_iter().collect()
    }
}
