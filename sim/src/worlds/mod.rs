//! Worlds of actors: each idea of the field that can be watched, broken and mended.
//!
//! One folder, one idea: its essay names the paper, its invariants are a file each, its planted faults are caught. The
//! cores of `cluster` run here as they run in the services. What no service needs (Paxos beside raft, Chord, elections on
//! graphs, Dynamo's quorums) is a simulation and nothing else.

pub mod chord;
pub mod clocks;
pub mod commit;
pub mod crdt;
pub mod dynamo;
pub mod elections;
pub mod gossip;
pub mod paxos;
pub mod reconcile;
pub mod ring;
pub mod snapshot;

/// A line of `cluster` that is wrong while this lives, on this thread.
#[derive(Debug)]
pub struct PlantGuard(());

impl PlantGuard {
    pub fn new(plant: Option<cluster::Plant>) -> Self {
        cluster::plant(plant);
        Self(())
    }
}

impl Drop for PlantGuard {
    fn drop(&mut self) {
        cluster::plant(None);
    }
}
