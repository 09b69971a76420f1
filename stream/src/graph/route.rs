//! Which subtask a key belongs to.
//!
//! Keys hash into a fixed number of key groups, and each subtask owns a run of them. A row on its way and a row of
//! restored state are routed by the same function, so state follows its keys when the parallelism changes.

use std::hash::{DefaultHasher, Hash, Hasher};

use arrow::array::{ArrayRef, BooleanArray, UInt32Array};
use arrow::row::{RowConverter, SortField};

use crate::Error;
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
    let fields = keys.iter().map(|key| SortField::new(key.data_type().clone())).collect();
    let rows = RowConverter::new(fields)?.convert_columns(keys)?;
    let owner = |row: arrow::row::Row<'_>| {
        // With fixed keys, unlike a map's hasher: the same row must find its subtask in every process.
        let mut hasher = DefaultHasher::new();
        row.as_ref().hash(&mut hasher);
        let group = hasher.finish() % KEY_GROUPS;
        (group * u64::from(parallelism) / KEY_GROUPS) as u32
    };
    Ok(rows.iter().map(owner).collect())
}
