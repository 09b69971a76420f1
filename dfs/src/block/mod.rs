//! The block map: which blocks should exist, on which data nodes they are, and what to do about the difference. Pure.
//!
//! # How it moves
//! [`Blocks::step`] takes an [`Event`] (a data node registered, reported, was heard of; the namespace changed a block; time
//! passed) and returns [`Effect`]s: a replica was stored (whoever waits for it may go on), or a command for a data node.
//! Placement of a new block ([`placement`]) is a question, not an event, and takes its randomness as an argument.
//!
//! A block becomes *due* when something about it changed that may need work: [`replicate`] then compares the replicas
//! that count with those wanted, and orders copies or removals. A copy that does not arrive becomes due again.
//!
//! # Safe mode
//! Nothing is known at the start but what should exist. Until enough blocks have been reported ([`safemode`]), no
//! replica is copied and, above all, none is removed. A replica from the future (its id or stamp was never given out) shows
//! that the namespace is older than the data: it holds safe mode, and only an operator's force makes it go.
//!
//! # Where it stops
//! One rack, one storage per data node. Deliberately missing: rack awareness, storage policies, decommissioning, balancing.

pub mod node;
pub mod placement;
pub mod replicate;
pub mod report;
pub mod safemode;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

pub use node::{Address, Node, NodeId, Usage};
pub use report::{Replica, ReplicaState};
use safemode::SafeMode;

use crate::namespace::{Block, BlockChange, InodeId};

/// What happens to the block map.
#[derive(Debug)]
pub enum Event<'a> {
    /// The namespace changed.
    Changed(&'a [BlockChange]),
    /// A data node came, new or again; it will report all it has.
    Registered(Address),
    /// A data node is alive.
    Heartbeat { uuid: &'a str, usage: Usage },
    /// The connection to a data node broke.
    Lost { uuid: &'a str },
    /// All replicas of a data node.
    Reported { uuid: &'a str, replicas: &'a [Replica] },
    /// A data node has these replicas now, and these blocks no more.
    Received {
        uuid: &'a str,
        replicas: &'a [Replica],
        deleted: &'a [u64],
    },
    /// A replica is corrupt: its checksums do not match.
    Corrupt { uuid: &'a str, block: u64 },
    /// Time passed.
    Tick,
}

/// What has to be done, outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// A replica of this block is on a data node now.
    Stored(u64),
    /// Tell a data node at its next heartbeat.
    Command(NodeId, Command),
    /// A data node was not heard of for too long.
    Died(NodeId),
    /// The last data nodes that were waited for have reported.
    SafeModeLeft,
}

/// What a data node is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Copy a finalized replica to these.
    Transfer { block: Block, targets: Vec<NodeId> },
    /// Remove replicas.
    Invalidate { block: u64, generation_stamp: u64 },
    /// Lead the recovery of a block with these.
    Recover {
        block: Block,
        new_stamp: u64,
        /// Cut the replicas to the block's length.
        truncating: bool,
        locations: Vec<NodeId>,
    },
}

/// A replica that a data node has, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Location {
    pub node: NodeId,
    pub generation_stamp: u64,
    pub length: u64,
    /// False: it is corrupt or too short, and does not count.
    pub good: bool,
}

/// What is known of a block.
#[derive(Debug)]
pub struct BlockInfo {
    pub block: Block,
    pub inode: InodeId,
    pub replication: u16,
    /// False while it is being written.
    pub complete: bool,
    /// Replicas that were reported with the right stamp, ordered by node.
    pub locations: Vec<Location>,
    /// While it is being written: the nodes of its pipeline.
    pub pipeline: Vec<NodeId>,
    due: Option<u64>,
    /// Copies under way, and until when they may take.
    copying: Vec<NodeId>,
    copy_deadline: u64,
}

/// Times and thresholds, in milliseconds and fractions.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// A node not heard of for so long is dead.
    pub dead_after_ms: u64,
    /// A node not heard of for so long is the last choice.
    pub stale_after_ms: u64,
    /// A copy not reported for so long is ordered again.
    pub copy_timeout_ms: u64,
    /// After completion, so long the rest of the pipeline may take to report.
    pub settle_ms: u64,
    /// The part of the blocks that must be reported before safe mode is left.
    pub safe_part: f64,
    /// Data nodes that must be there before safe mode is left.
    pub safe_nodes: usize,
    /// So long safe mode goes on after that.
    pub safe_extension_ms: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            dead_after_ms: 15_000,
            stale_after_ms: 5_000,
            copy_timeout_ms: 30_000,
            settle_ms: 3_000,
            safe_part: 0.999,
            safe_nodes: 0,
            safe_extension_ms: 0,
        }
    }
}

/// Which block ids and generation stamps the namespace has given out: a replica with another one is from the future, and
/// tells of a namespace that was newer than this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Issued {
    next_block: u64,
    generation_stamp: u64,
}

/// The block map.
///
/// - A location exists exactly if the node's own set has the block.
/// - A replica of another stamp, or of a block that no file has, is never a location.
/// - `due` of a block is set exactly if the queue has it.
#[derive(Debug)]
pub struct Blocks {
    pub(crate) policy: Policy,
    blocks: BTreeMap<u64, BlockInfo>,
    nodes: Vec<Node>,
    queue: BTreeSet<(u64, u64)>,
    pub(crate) safe_mode: SafeMode,
    issued: Issued,
    /// Replicas that nothing wants, reported in safe mode: looked at again after it.
    postponed: Vec<(NodeId, Replica)>,
    /// Replicas with a block id or generation stamp that was never given out: kept, and not served.
    future: BTreeMap<(NodeId, u64), Replica>,
}

impl Blocks {
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            blocks: BTreeMap::new(),
            nodes: Vec::new(),
            queue: BTreeSet::new(),
            safe_mode: SafeMode::Starting,
            issued: Issued::default(),
            postponed: Vec::new(),
            future: BTreeMap::new(),
        }
    }

    /// One event at a time, milliseconds `now`.
    pub fn step(&mut self, event: Event, now: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Changed(changes) => {
                for change in changes {
                    self.changed(*change, now, &mut effects);
                }
            }
            Event::Registered(address) => self.registered(address, now, &mut effects),
            Event::Heartbeat { uuid, usage } => {
                if let Some(node) = self.node_mut(uuid) {
                    node.usage = usage;
                    node.heard = now;
                    node.suspect = false;
                }
            }
            Event::Lost { uuid } => {
                if let Some(node) = self.node_mut(uuid) {
                    node.suspect = true;
                }
            }
            Event::Reported { uuid, replicas } => self.reported(uuid, replicas, now, &mut effects),
            Event::Received {
                uuid,
                replicas,
                deleted,
            } => self.received(uuid, replicas, deleted, now, &mut effects),
            Event::Corrupt { uuid, block } => self.corrupt(uuid, block, now),
            Event::Tick => self.tick(now, &mut effects),
        }
        self.check_safe_mode(now, &mut effects);
        effects
    }

    pub fn get(&self, block: u64) -> Option<&BlockInfo> {
        self.blocks.get(&block)
    }

    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    pub fn find_node(&self, uuid: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.address.uuid == uuid)
    }

    fn node_mut(&mut self, uuid: &str) -> Option<&mut Node> {
        self.nodes.iter_mut().find(|node| node.address.uuid == uuid)
    }

    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Good replicas of a block on live nodes, those heard of lately first, `near` (an ip address) before others.
    pub fn readable(&self, block: u64, near: &str, now: u64) -> Vec<NodeId> {
        let Some(info) = self.blocks.get(&block) else {
            return Vec::new();
        };
        let mut nodes: Vec<NodeId> = match info.complete {
            true => info
                .locations
                .iter()
                .filter(|location| location.good)
                .map(|location| location.node)
                .collect(),
            false => info.pipeline.clone(),
        };
        if !info.complete {
            let reported = info.locations.iter().map(|location| location.node);
            nodes.extend(reported.filter(|node| !info.pipeline.contains(node)));
        }
        nodes.retain(|node| self.node(*node).alive);
        nodes.sort_by_key(|id| {
            let node = self.node(*id);
            (
                node.heard + self.policy.stale_after_ms < now,
                node.address.ip != near,
                node.usage.connections,
            )
        });
        nodes
    }

    /// True if at least one replica with this stamp and all of its bytes was reported.
    pub fn is_stored(&self, block: Block) -> bool {
        let whole = |location: &Location| {
            location.good && location.generation_stamp == block.generation_stamp && location.length >= block.length
        };
        self.blocks
            .get(&block.id)
            .is_some_and(|info| info.locations.iter().any(whole))
    }

    /// Sets the pipeline of a block that is being written.
    pub fn set_pipeline(&mut self, block: u64, pipeline: Vec<NodeId>) {
        if let Some(info) = self.blocks.get_mut(&block) {
            info.pipeline = pipeline;
        }
    }

    fn changed(&mut self, change: BlockChange, now: u64, effects: &mut Vec<Effect>) {
        match change {
            BlockChange::Added {
                block,
                inode,
                replication,
            } => {
                let info = BlockInfo {
                    block,
                    inode,
                    replication,
                    complete: false,
                    locations: Vec::new(),
                    pipeline: Vec::new(),
                    due: None,
                    copying: Vec::new(),
                    copy_deadline: 0,
                };
                self.blocks.insert(block.id, info);
            }
            BlockChange::Updated { block } => self.update(block, effects),
            BlockChange::Completed { block } => {
                self.update(block, effects);
                self.completed(block, now);
            }
            BlockChange::Reopened { block } => {
                if let Some(info) = self.blocks.get_mut(&block.id) {
                    info.block = block;
                    info.complete = false;
                    info.pipeline = info.locations.iter().filter(|l| l.good).map(|l| l.node).collect();
                }
            }
            BlockChange::Moved {
                block,
                inode,
                replication,
            } => {
                if let Some(info) = self.blocks.get_mut(&block) {
                    info.inode = inode;
                    if info.replication != replication {
                        info.replication = replication;
                        self.due(block, now);
                    }
                }
            }
            BlockChange::Replication { block, replication } => {
                if let Some(info) = self.blocks.get_mut(&block) {
                    info.replication = replication;
                    self.due(block, now);
                }
            }
            BlockChange::Removed { block } => self.remove(block, effects),
            BlockChange::Issued {
                next_block,
                generation_stamp,
            } => {
                self.issued = Issued {
                    next_block,
                    generation_stamp,
                }
            }
        }
    }

    /// Takes over length and stamp. Replicas of a former stamp are stale; the pipeline's nodes have raised theirs, or will
    /// report so.
    fn update(&mut self, block: Block, effects: &mut Vec<Effect>) {
        let safe = self.in_safe_mode();
        let Some(info) = self.blocks.get_mut(&block.id) else {
            return;
        };
        info.block = block;
        let stamp = block.generation_stamp;
        for stale in info
            .locations
            .extract_if(.., |location| location.generation_stamp != stamp)
        {
            self.nodes[stale.node.0 as usize].blocks.remove(&block.id);
            if !info.pipeline.contains(&stale.node) && !safe {
                let command = Command::Invalidate {
                    block: block.id,
                    generation_stamp: stale.generation_stamp,
                };
                effects.push(Effect::Command(stale.node, command));
            }
        }
    }

    fn completed(&mut self, block: Block, now: u64) {
        let settle = self.policy.settle_ms;
        let Some(info) = self.blocks.get_mut(&block.id) else {
            return;
        };
        info.complete = true;
        info.pipeline.clear();
        for location in &mut info.locations {
            location.good &= location.length == block.length;
        }
        if info.good() != usize::from(info.replication) || info.good() != info.locations.len() {
            self.due(block.id, now + settle);
        }
    }

    fn remove(&mut self, block: u64, effects: &mut Vec<Effect>) {
        let Some(info) = self.blocks.remove(&block) else { return };
        if let Some(due) = info.due {
            self.queue.remove(&(due, block));
        }
        let generation_stamp = info.block.generation_stamp;
        let mut holders: BTreeSet<NodeId> = info.locations.iter().map(|location| location.node).collect();
        holders.extend(&info.pipeline);
        holders.extend(&info.copying);
        for node in holders {
            self.nodes[node.0 as usize].blocks.remove(&block);
            effects.push(Effect::Command(
                node,
                Command::Invalidate {
                    block,
                    generation_stamp,
                },
            ));
        }
    }

    /// Puts a block into the queue for `at`, or earlier if it is there for later.
    fn due(&mut self, block: u64, at: u64) {
        let Some(info) = self.blocks.get_mut(&block) else {
            return;
        };
        if let Some(former) = info.due {
            if former <= at {
                return;
            }
            self.queue.remove(&(former, block));
        }
        info.due = Some(at);
        self.queue.insert((at, block));
    }
}
