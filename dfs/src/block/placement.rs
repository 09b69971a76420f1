//! Where a new replica goes.

use super::{Blocks, NodeId};

impl Blocks {
    /// True if a data node that is not in `excluded` was heard of just now.
    pub fn can_place(&self, excluded: &[NodeId], now: u64) -> bool {
        let stale_after = self.policy.stale_after_ms;
        self.live_nodes()
            .any(|node| !excluded.contains(&node.id) && !node.is_doubtful(now, stale_after))
    }

    /// Up to `count` live data nodes for a block of `bytes`, none of them in `excluded`.
    ///
    /// The data node on the client's machine comes first, as in HDFS; then those that were heard of lately and have the
    /// fewest connections. `seed` breaks ties, so that files spread.
    pub fn place(
        &self,
        count: usize,
        bytes: u64,
        excluded: &[NodeId],
        client_ip: &str,
        now: u64,
        seed: u64,
    ) -> Vec<NodeId> {
        let mut candidates: Vec<_> = self
            .live_nodes()
            .filter(|node| !excluded.contains(&node.id) && (node.usage.capacity == 0 || node.usage.remaining >= bytes))
            .map(|node| {
                let stale = node.is_doubtful(now, self.policy.stale_after_ms);
                let tie = mix(seed ^ u64::from(node.id.0));
                ((stale, node.usage.connections / 8, tie), node)
            })
            .collect();
        candidates.sort_by_key(|(rank, _)| *rank);
        // Better one replica less for a while than a pipeline that breaks at once.
        if candidates.first().is_some_and(|(rank, _)| !rank.0) {
            candidates.retain(|(rank, _)| !rank.0);
        }
        // With several data nodes on the client's machine none is nearer than the other.
        let local: Vec<usize> = candidates
            .iter()
            .enumerate()
            .filter(|(_, (rank, node))| !rank.0 && node.address.ip == client_ip)
            .map(|(index, _)| index)
            .collect();
        if let [only] = local[..] {
            candidates[..=only].rotate_right(1);
        }
        candidates.into_iter().take(count).map(|(_, node)| node.id).collect()
    }
}

/// A round of splitmix64: neighbouring seeds give unrelated numbers.
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
