//! What data nodes report.

use std::collections::BTreeSet;

use super::safemode::SafeMode;
use super::{Blocks, Command, Effect, Location, NodeId};

/// A replica as its data node has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replica {
    pub block: u64,
    pub generation_stamp: u64,
    pub length: u64,
    pub state: ReplicaState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplicaState {
    Finalized,
    /// Being written.
    Rbw,
    /// Was being written when its data node ended.
    Rwr,
    /// Its checksums are gone: nothing vouches for its data.
    Corrupt,
}

impl Blocks {
    /// A full report: what is not in it is gone.
    pub(super) fn reported(&mut self, uuid: &str, replicas: &[Replica], now: u64, effects: &mut Vec<Effect>) {
        let Some(node) = self.node_mut(uuid) else { return };
        let id = node.id;
        node.reported = true;
        node.reported_at = Some(now);
        node.heard = now;
        let listed: BTreeSet<u64> = replicas.iter().map(|replica| replica.block).collect();
        let gone: Vec<u64> = node.blocks.difference(&listed).copied().collect();
        for block in gone {
            self.forget(id, block, now);
        }
        self.future
            .retain(|(node, block), _| *node != id || listed.contains(block));
        for replica in replicas {
            self.store(id, replica, now, effects);
        }
    }

    pub(super) fn received(
        &mut self,
        uuid: &str,
        replicas: &[Replica],
        deleted: &[u64],
        now: u64,
        effects: &mut Vec<Effect>,
    ) {
        let Some(node) = self.find_node(uuid) else { return };
        let id = node.id;
        for block in deleted {
            self.forget(id, *block, now);
            self.future.remove(&(id, *block));
        }
        for replica in replicas {
            self.store(id, replica, now, effects);
        }
    }

    fn store(&mut self, node: NodeId, replica: &Replica, now: u64, effects: &mut Vec<Effect>) {
        if replica.block >= self.issued.next_block || replica.generation_stamp > self.issued.generation_stamp {
            return self.keep_future(node, replica);
        }
        let Some(info) = self.blocks.get_mut(&replica.block) else {
            return self.unwanted(node, replica, effects);
        };
        let current = info.block.generation_stamp;
        if replica.state == ReplicaState::Corrupt {
            return self.store_corrupt(node, replica, now);
        }
        if replica.state != ReplicaState::Finalized {
            // Being written, or left by a writer that is gone: a place to recover the block from.
            if info.complete {
                // Its pipeline went on without it, and the block was closed.
                if replica.generation_stamp < current || info.good() > 0 {
                    self.unwanted(node, replica, effects);
                }
            } else if !info.pipeline.contains(&node) && replica.generation_stamp >= current {
                info.pipeline.push(node);
            }
            return;
        }
        if replica.generation_stamp < current {
            return self.unwanted(node, replica, effects);
        }
        if replica.generation_stamp > current && info.complete {
            // From the future: the name node's own record is older. Keep it, and do not serve it.
            return;
        }
        let good = !info.complete || replica.length == info.block.length;
        let (generation_stamp, length) = (replica.generation_stamp, replica.length);
        info.copying.retain(|copy| *copy != node);
        match info.locations.iter_mut().find(|location| location.node == node) {
            // One that was found corrupt stays so until its data node has removed it.
            Some(location) => {
                *location = Location {
                    node,
                    generation_stamp,
                    length,
                    good: good && location.good,
                };
            }
            None => {
                let at = info.locations.partition_point(|location| location.node < node);
                info.locations.insert(
                    at,
                    Location {
                        node,
                        generation_stamp,
                        length,
                        good,
                    },
                );
            }
        }
        let needs_work =
            info.complete && (info.good() != usize::from(info.replication) || info.good() != info.locations.len());
        self.nodes[node.0 as usize].blocks.insert(replica.block);
        effects.push(Effect::Stored(replica.block));
        if needs_work {
            self.due(replica.block, now);
        }
    }

    /// A replica whose checksums are gone counts as corrupt: it goes once enough good ones are there, and stays if there are
    /// none, since its data may be all that is left.
    fn store_corrupt(&mut self, node: NodeId, replica: &Replica, now: u64) {
        let Some(info) = self.blocks.get_mut(&replica.block) else {
            return;
        };
        if !info.complete {
            return;
        }
        let location = Location {
            node,
            generation_stamp: info.block.generation_stamp,
            length: replica.length,
            good: false,
        };
        match info.locations.binary_search_by_key(&node, |location| location.node) {
            Ok(at) => info.locations[at] = location,
            Err(at) => info.locations.insert(at, location),
        }
        self.nodes[node.0 as usize].blocks.insert(replica.block);
        self.due(replica.block, now);
    }

    /// A replica that this namespace never gave out: it was written under a newer one, which this may be an old copy of. It
    /// is kept, and nothing is changed until that is settled.
    fn keep_future(&mut self, node: NodeId, replica: &Replica) {
        self.future.insert((node, replica.block), *replica);
        if self.safe_mode == SafeMode::Off {
            self.safe_mode = SafeMode::Starting;
        }
    }

    /// Removes the replicas from the future: an operator accepts that their data is lost.
    pub(super) fn discard_future(&mut self, effects: &mut Vec<Effect>) {
        for ((node, block), replica) in std::mem::take(&mut self.future) {
            let command = Command::Invalidate {
                block,
                generation_stamp: replica.generation_stamp,
            };
            effects.push(Effect::Command(node, command));
        }
    }

    /// Replicas from the future, and their bytes.
    pub fn future(&self) -> (u64, u64) {
        let bytes = self
            .future
            .values()
            .fold(0, |sum: u64, replica| sum.saturating_add(replica.length));
        (self.future.len() as u64, bytes)
    }

    /// A replica that nothing wants: removed, but never in safe mode.
    fn unwanted(&mut self, node: NodeId, replica: &Replica, effects: &mut Vec<Effect>) {
        if self.in_safe_mode() {
            self.postponed.push((node, *replica));
            return;
        }
        let command = Command::Invalidate {
            block: replica.block,
            generation_stamp: replica.generation_stamp,
        };
        effects.push(Effect::Command(node, command));
    }

    /// After safe mode: what was postponed is looked at, and every block that lacks replicas becomes due once the data
    /// nodes that start late had their time.
    pub(super) fn catch_up(&mut self, now: u64, effects: &mut Vec<Effect>) {
        for (node, replica) in std::mem::take(&mut self.postponed) {
            self.store(node, &replica, now, effects);
        }
        let lacking = |info: &&super::BlockInfo| info.complete && info.good() != usize::from(info.replication);
        let lacking: Vec<u64> = self.blocks.values().filter(lacking).map(|info| info.block.id).collect();
        for block in lacking {
            self.due(block, now + self.policy.dead_after_ms);
        }
    }

    fn forget(&mut self, node: NodeId, block: u64, now: u64) {
        self.nodes[node.0 as usize].blocks.remove(&block);
        if let Some(info) = self.blocks.get_mut(&block) {
            info.locations.retain(|location| location.node != node);
            if info.complete {
                self.due(block, now);
            }
        }
    }

    pub(super) fn corrupt(&mut self, uuid: &str, block: u64, now: u64) {
        let Some(node) = self.find_node(uuid).map(|node| node.id) else {
            return;
        };
        let Some(info) = self.blocks.get_mut(&block) else {
            return;
        };
        if let Some(location) = info.locations.iter_mut().find(|location| location.node == node) {
            location.good = false;
            self.due(block, now);
        }
    }
}
