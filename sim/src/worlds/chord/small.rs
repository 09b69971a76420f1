//! A handful of members, in all orders of joins, repairs and failures.

use super::one_ring::one_ring;
use super::{Peers, Rules};
use crate::actor::{Model, Next};
use crate::invariant::Check;

/// Places on the circle: a base on the even ones, joiners on the odd ones.
const PLACES: usize = 6;
const FAILURES_MAX: usize = 2;
const JOINS_MAX: usize = 3;

#[derive(Debug)]
pub struct Small(pub Rules);

impl Model for Small {
    /// The members, how many joined and failed so far.
    type State = (Peers, usize, usize);

    fn initial(&self) -> Vec<Self::State> {
        // As published, any ring will do; the corrected protocol demands one more than a list is long.
        let members: &[usize] = if self.0.base > 0 { &[0, 2, 4] } else { &[0, 3] };
        vec![(Peers::ring(PLACES, members, self.0.successors), 0, 0)]
    }

    fn next(&self, (peers, joins, failures): &Self::State, next: &mut Next<Self::State>) {
        for id in 0..PLACES {
            let mut after = peers.clone();
            if *joins < JOINS_MAX
                && let Some(known) = peers.members().next()
                && after.join(id, known, self.0)
            {
                next.push((after, joins + 1, *failures), || format!("{id} joins through {known}"));
            }
            if peers.lives(id) {
                let mut after = peers.clone();
                after.stabilize(id, self.0);
                next.push((after, *joins, *failures), || format!("{id} stabilizes"));
            }
            if *failures < FAILURES_MAX && peers.may_fail(id, self.0) {
                let mut after = peers.clone();
                after.fail(id);
                next.push((after, *joins, failures + 1), || format!("{id} fails"));
            }
        }
    }

    fn check(&self, (peers, ..): &Self::State) -> Check {
        one_ring(peers)
    }
}
