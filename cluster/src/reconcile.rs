//! How the actual becomes the ideal: the next moves, under rules.
//!
//! Helix's words (Gopalakrishna and others, *Untangling Cluster Management with Helix*, 2012): the *ideal state* says
//! which nodes should hold each resource and which of them leads; the *actual state* says which do; the *external view*
//! is the part of the actual state on nodes that are alive. [`next_moves`] compares and gives what to do now: copies are
//! added, then a leader is promoted, then what is superfluous is dropped. It is called again with the new actual state
//! until it gives nothing.
//!
//! It never takes a resource below its minimum of live, complete copies; nor does a node have more copies under way than
//! the rules allow. Copying ends by itself, so it terminates: each move brings the actual state nearer to the ideal, and
//! none away from it.

use std::collections::{BTreeMap, BTreeSet};

use crate::plant::{self, Plant};

pub type Resource = u64;
pub type Node = u64;

/// What one resource should be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ideal {
    /// The leader first, where there is one.
    pub nodes: Vec<Node>,
    pub bytes: u64,
}

/// What one resource is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Actual {
    /// Nodes with a complete copy.
    pub complete: BTreeSet<Node>,
    /// Nodes to which it is being copied.
    pub copying: BTreeSet<Node>,
    pub leader: Option<Node>,
}

impl Actual {
    /// The part that serves.
    pub fn external_view(&self, alive: &BTreeSet<Node>) -> BTreeSet<Node> {
        self.complete.intersection(alive).copied().collect()
    }
}

/// What may happen at a time.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Copies that a node takes part in at a time, as a receiver.
    pub moves_a_node: usize,
    /// Live complete copies below which nothing is dropped.
    pub alive_min: usize,
    /// Bytes that may be under way to all nodes together; one move is always allowed, or large resources would never move.
    pub bytes_under_way: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Move {
    /// Begin to copy the resource to a node.
    Add(Resource, Node),
    /// Make a node, which has a complete copy, the leader.
    Promote(Resource, Node),
    /// Remove a copy.
    Drop(Resource, Node),
}

/// What to do now. Empty when the actual state is the ideal one, or when nothing can be done before copies end or nodes
/// return.
pub fn next_moves(
    ideal: &BTreeMap<Resource, Ideal>,
    actual: &BTreeMap<Resource, Actual>,
    alive: &BTreeSet<Node>,
    rules: &Rules,
) -> Vec<Move> {
    let mut moves = Vec::new();
    let mut under_way: BTreeMap<Node, usize> = BTreeMap::new();
    let mut bytes = 0u64;
    for (resource, is) in actual {
        for node in &is.copying {
            *under_way.entry(*node).or_default() += 1;
            bytes = bytes.saturating_add(ideal.get(resource).map_or(0, |wanted| wanted.bytes));
        }
    }
    let nothing = Actual::default();
    // The most endangered first: those with the fewest live copies.
    let mut order: Vec<(usize, Resource)> = ideal
        .keys()
        .map(|resource| {
            (
                actual.get(resource).unwrap_or(&nothing).external_view(alive).len(),
                *resource,
            )
        })
        .collect();
    order.sort_unstable();
    for (_, resource) in order {
        let (wanted, is) = (&ideal[&resource], actual.get(&resource).unwrap_or(&nothing));
        let serving = is.external_view(alive);
        for node in &wanted.nodes {
            let has = is.complete.contains(node) || is.copying.contains(node);
            let busy = under_way.get(node).copied().unwrap_or(0);
            let fits = bytes == 0 || bytes.saturating_add(wanted.bytes) <= rules.bytes_under_way;
            if !has && alive.contains(node) && busy < rules.moves_a_node && fits {
                *under_way.entry(*node).or_default() += 1;
                bytes = bytes.saturating_add(wanted.bytes);
                moves.push(Move::Add(resource, *node));
            }
        }
        // A leader that may lead: the ideal one, or while that has no copy, any other of the ideal ones.
        let leads = is.leader.filter(|leader| serving.contains(leader));
        let best = wanted.nodes.iter().find(|node| serving.contains(node)).copied();
        let best = best.or_else(|| leads.or_else(|| serving.first().copied()));
        if let Some(best) = best.filter(|best| Some(*best) != is.leader) {
            moves.push(Move::Promote(resource, best));
            // It is not known whether it happened: who leads now is dropped next time.
            continue;
        }
        // A copy elsewhere is superfluous once all that should have one do; until then it serves.
        let all_there = wanted.nodes.iter().all(|node| serving.contains(node));
        let mut live = serving.len();
        for node in is
            .complete
            .iter()
            .filter(|node| !wanted.nodes.contains(node) && alive.contains(node))
        {
            let safe = all_there && live > rules.alive_min;
            if (safe || plant::is(Plant::DropsFirst)) && is.leader != Some(*node) {
                live -= 1;
                moves.push(Move::Drop(resource, *node));
            }
        }
    }
    moves
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RULES: Rules = Rules {
        moves_a_node: 2,
        alive_min: 2,
        bytes_under_way: 1_000,
    };

    fn ideal(nodes: &[Node]) -> BTreeMap<Resource, Ideal> {
        BTreeMap::from([(
            1,
            Ideal {
                nodes: nodes.to_vec(),
                bytes: 10,
            },
        )])
    }

    fn apply(actual: &mut BTreeMap<Resource, Actual>, moves: &[Move]) {
        for next in moves {
            match *next {
                Move::Add(resource, node) => {
                    actual.entry(resource).or_default().copying.insert(node);
                }
                Move::Promote(resource, node) => actual.entry(resource).or_default().leader = Some(node),
                Move::Drop(resource, node) => {
                    actual.entry(resource).or_default().complete.remove(&node);
                }
            }
        }
    }

    #[test]
    fn a_copy_is_added_before_one_is_dropped_and_the_leader_moves_between() {
        let alive = (1..=4).collect();
        let is = Actual {
            complete: [1, 2].into(),
            leader: Some(1),
            ..Actual::default()
        };
        let mut actual = BTreeMap::from([(1, is)]);
        let wanted = ideal(&[3, 2]);
        let moves = next_moves(&wanted, &actual, &alive, &RULES);
        assert_eq!(moves, [Move::Add(1, 3), Move::Promote(1, 2)]);
        apply(&mut actual, &moves);
        assert_eq!(
            next_moves(&wanted, &actual, &alive, &RULES),
            [],
            "nothing before the copy is complete"
        );
        let is = actual.entry(1).or_default();
        is.copying.clear();
        is.complete.insert(3);
        let moves = next_moves(&wanted, &actual, &alive, &RULES);
        assert_eq!(moves, [Move::Promote(1, 3)]);
        apply(&mut actual, &moves);
        assert_eq!(next_moves(&wanted, &actual, &alive, &RULES), [Move::Drop(1, 1)]);
    }

    #[test]
    fn what_is_endangered_most_is_copied_first_within_the_limits() {
        let alive = (1..=3).collect();
        let wanted = (1..=5).map(|resource| {
            (
                resource,
                Ideal {
                    nodes: vec![1, 2, 3],
                    bytes: 400,
                },
            )
        });
        let wanted: BTreeMap<_, _> = wanted.collect();
        let has = |nodes: &[Node]| Actual {
            complete: nodes.iter().copied().collect(),
            leader: Some(nodes[0]),
            ..Actual::default()
        };
        let actual = BTreeMap::from([
            (1, has(&[1, 2])),
            (2, has(&[1])),
            (3, has(&[1, 2])),
            (4, has(&[1, 2])),
            (5, has(&[1])),
        ]);
        let moves = next_moves(&wanted, &actual, &alive, &RULES);
        assert_eq!(
            moves,
            [Move::Add(2, 2), Move::Add(2, 3)],
            "two of 400 bytes under a limit of 1,000"
        );
    }

    type Nodes = Vec<BTreeSet<Node>>;

    fn states() -> impl Strategy<Value = (Nodes, Nodes)> {
        let nodes = || prop::collection::btree_set(0..6u64, 2..4);
        prop::collection::vec((nodes(), nodes()), 1..6).prop_map(|pairs| pairs.into_iter().unzip())
    }

    proptest! {
        #[test]
        fn it_ends_at_the_ideal_and_never_has_too_few((ideal, actual) in states()) {
            let alive: BTreeSet<Node> = (0..6).collect();
            let numbered = |nodes: Nodes| nodes.into_iter().zip(0u64..).map(|(nodes, resource)| (resource, nodes));
            let ideal: BTreeMap<Resource, Ideal> = numbered(ideal)
                .map(|(resource, nodes)| (resource, Ideal { nodes: nodes.into_iter().collect(), bytes: 300 }))
                .collect();
            let mut actual: BTreeMap<Resource, Actual> = numbered(actual)
                .map(|(resource, complete)| (resource, Actual { complete, ..Actual::default() }))
                .collect();
            let mut rounds = 0;
            loop {
                let moves = next_moves(&ideal, &actual, &alive, &RULES);
                let copying = actual.values().any(|is| !is.copying.is_empty());
                if moves.is_empty() && !copying {
                    break;
                }
                apply(&mut actual, &moves);
                let mut receiving: BTreeMap<Node, usize> = BTreeMap::new();
                for is in actual.values() {
                    prop_assert!(is.complete.len() >= RULES.alive_min);
                    prop_assert!(is.leader.is_none_or(|leader| is.complete.contains(&leader)));
                    is.copying.iter().for_each(|node| *receiving.entry(*node).or_default() += 1);
                }
                prop_assert!(receiving.values().all(|count| *count <= RULES.moves_a_node));
                // One copy ends in each round.
                if let Some(is) = actual.values_mut().find(|is| !is.copying.is_empty())
                    && let Some(node) = is.copying.pop_first()
                {
                    is.complete.insert(node);
                }
                rounds += 1;
                prop_assert!(rounds < 200, "it does not end");
            }
            for (resource, wanted) in &ideal {
                let is = &actual[resource];
                prop_assert_eq!(&is.complete, &wanted.nodes.iter().copied().collect::<BTreeSet<_>>());
                prop_assert_eq!(is.leader, wanted.nodes.first().copied());
            }
        }
    }
}
