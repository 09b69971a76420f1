//! Which subtask a key belongs to.
//!
//! Keys hash into a fixed number of key groups, and each subtask owns a run of them. A row on its way and a row of
//! restored state are routed by the same function, so state follows its keys when the parallelism changes.

use arrow::array::{Array, ArrayRef, BooleanArray, UInt32Array};

use super::hash;
use crate::Error;
use crate::format::view::View;
use crate::operator::Rows;

/// Flink's default for 128 subtasks at most; more of them would share groups.
const KEY_GROUPS: u64 = 128;

/// The rows for each of `parallelism` subtasks.
pub fn partition(rows: &Rows, keys: &[usize], parallelism: u32) -> Result<Vec<Rows>, Error> {
    if parallelism == 1 {
        return Ok(vec![rows.clone()]);
    }
    let columns: Vec<ArrayRef> = keys.iter().map(|key| rows.batch.column(*key).clone()).collect();
    let mut indices = vec![Vec::new(); parallelism as usize];
    for (row, subtask) in subtasks(&columns, parallelism)?.into_iter().enumerate() {
        indices[subtask as usize].push(row as u32);
    }
    indices
        .into_iter()
        .map(|indices| rows.take(&UInt32Array::from(indices)))
        .collect()
}

/// Which rows of a state table with these key columns belong to `subtask`.
pub fn key_group_filter(keys: &[ArrayRef], subtask: u32, parallelism: u32) -> Result<BooleanArray, Error> {
    Ok(subtasks(keys, parallelism)?
        .into_iter()
        .map(|owner| Some(owner == subtask))
        .collect())
}

fn subtasks(keys: &[ArrayRef], parallelism: u32) -> Result<Vec<u32>, Error> {
    let rows = keys.first().map_or(0, |key| key.len());
    let views = keys.iter().map(|key| View::new(key)).collect::<Result<Vec<_>, _>>()?;
    let mut bytes = Vec::new();
    let owner = |row: usize| {
        bytes.clear();
        views.iter().for_each(|view| hash::write(&mut bytes, view.value(row)));
        let group = hash::hash(&bytes) % KEY_GROUPS;
        (group * u64::from(parallelism) / KEY_GROUPS) as u32
    };
    Ok((0..rows).map(owner).collect())
}
