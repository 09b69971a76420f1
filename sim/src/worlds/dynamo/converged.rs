//! In the end the replicas of a key hold the same.

use super::Versions;
use crate::invariant::{Check, require};

pub fn converged(key: u64, replicas: &[&Versions]) -> Check {
    let equal = replicas.windows(2).all(|pair| pair[0] == pair[1]);
    require(equal, "converged", || {
        let dots: Vec<Vec<_>> = replicas
            .iter()
            .map(|one| one.0.iter().map(|version| version.dot).collect())
            .collect();
        format!("the replicas of cart {key} hold {dots:?}")
    })
}
