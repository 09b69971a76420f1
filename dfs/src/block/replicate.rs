//! Making good what is missing, and removing what is too much.

use super::{Blocks, Command, Effect, NodeId};

/// Blocks looked at per tick, so that the death of a large node does not hold everything else up.
const BLOCKS_PER_TICK: usize = 1000;
/// Copies that one data node is asked for at a time: Hadoop's `dfs.namenode.replication.max-streams`, for small disks more.
const TRANSFERS_PER_NODE_MAX: u32 = 8;
/// After this a block that could not be helped is looked at again.
const RETRY_MS: u64 = 3_000;

impl Blocks {
    pub(super) fn tick(&mut self, now: u64, effects: &mut Vec<Effect>) {
        self.bury(now, effects);
        if self.in_safe_mode() {
            return;
        }
        let due: Vec<(u64, u64)> = self
            .queue
            .iter()
            .take_while(|(at, _)| *at <= now)
            .take(BLOCKS_PER_TICK)
            .copied()
            .collect();
        for (at, block) in due {
            self.queue.remove(&(at, block));
            if let Some(info) = self.blocks.get_mut(&block) {
                info.due = None;
            }
            self.repair(block, now, effects);
        }
    }

    /// Compares the replicas that count with those wanted.
    fn repair(&mut self, id: u64, now: u64, effects: &mut Vec<Effect>) {
        let Some(info) = self.blocks.get(&id) else { return };
        if !info.complete {
            return;
        }
        let wanted = usize::from(info.replication);
        let good: Vec<NodeId> = info.locations.iter().filter(|l| l.good).map(|l| l.node).collect();
        let bad: Vec<NodeId> = info.locations.iter().filter(|l| !l.good).map(|l| l.node).collect();
        let live = self.live_nodes().count();
        if good.len() > wanted {
            self.prune(id, &good, wanted, effects);
        }
        if good.is_empty() {
            // Nothing to copy from: a report will make it due again.
            return;
        }
        // A corrupt replica goes as soon as a good one can take its place: at once if all others are there or it is on the
        // only node left.
        if !bad.is_empty() && (good.len() >= wanted || good.len() + bad.len() >= live) {
            for node in bad {
                self.drop_replica(id, node, effects);
            }
        }
        if good.len() < wanted {
            self.copy(id, &good, wanted - good.len(), now, effects);
        }
    }

    fn copy(&mut self, id: u64, good: &[NodeId], missing: usize, now: u64, effects: &mut Vec<Effect>) {
        let Some(info) = self.blocks.get_mut(&id) else { return };
        if info.copy_deadline <= now {
            // What was ordered did not arrive in time.
            info.copying.clear();
        }
        let deadline = info.copy_deadline;
        let info = &self.blocks[&id];
        let mut excluded: Vec<NodeId> = info.locations.iter().map(|location| location.node).collect();
        excluded.extend(&info.copying);
        let under_way = info.copying.iter().filter(|node| self.node(**node).alive).count();
        if missing <= under_way {
            return self.due(id, deadline);
        }
        let block = info.block;
        let targets = self.place(missing - under_way, block.length, &excluded, "", now, id ^ now);
        let source = good
            .iter()
            .copied()
            .filter(|node| self.node(*node).usage.transfers < TRANSFERS_PER_NODE_MAX)
            .min_by_key(|node| (self.node(*node).usage.transfers, *node));
        match source {
            Some(source) if !targets.is_empty() => {
                let usage = &mut self.nodes[source.0 as usize].usage;
                usage.transfers = usage.transfers.saturating_add(targets.len() as u32);
                if let Some(info) = self.blocks.get_mut(&id) {
                    info.copying.extend(&targets);
                    info.copy_deadline = now + self.policy.copy_timeout_ms;
                }
                effects.push(Effect::Command(source, Command::Transfer { block, targets }));
                self.due(id, now + self.policy.copy_timeout_ms);
            }
            _ => self.due(id, now + RETRY_MS),
        }
    }

    /// Removes the replicas on the fullest nodes.
    fn prune(&mut self, id: u64, good: &[NodeId], wanted: usize, effects: &mut Vec<Effect>) {
        let mut nodes = good.to_vec();
        nodes.sort_by_key(|node| (self.node(*node).usage.remaining, *node));
        for node in nodes.into_iter().take(good.len() - wanted) {
            self.drop_replica(id, node, effects);
        }
    }

    fn drop_replica(&mut self, id: u64, node: NodeId, effects: &mut Vec<Effect>) {
        let Some(info) = self.blocks.get_mut(&id) else { return };
        info.locations.retain(|location| location.node != node);
        let generation_stamp = info.block.generation_stamp;
        self.nodes[node.0 as usize].blocks.remove(&id);
        effects.push(Effect::Command(
            node,
            Command::Invalidate {
                block: id,
                generation_stamp,
            },
        ));
    }
}
