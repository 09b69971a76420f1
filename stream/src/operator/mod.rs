//! Operators: pure cores that take events and give events.
//!
//! An operator sees the events of its input in order: rows, watermarks, the end; one with two inputs sees the rows of both, each
//! marked with its side, and the watermark of both. It answers with events for the next
//! operator. Each row says what it does to the result ([`RowKind`](crate::table::RowKind)), so that results can be taken back. It has no channel, clock or disk; its caller (a task of the runtime, a test) feeds it and carries its
//! snapshot. A snapshot is a table, so that keyed state can be divided again when a job is restored with another parallelism,
//! and counters.
//!
//! - [`calc`]: filter and projection. - [`assign`]: per-row watermarks, windows, NOT NULL. - [`aggregate`]: grouped
//!   aggregates, by window or final, with [`accumulator`]s; [`slices`]: those of HOP and CUMULATE. - [`limit`]: the first n rows. - [`sort`]: by time. - [`join`]: two
//!   inputs, regular and by window; [`interval_join`]: by nearness in time. - [`set_operation`]: INTERSECT, EXCEPT. - [`rank`]: Top-N and deduplication. - [`over`]: aggregates up to each row.
//! - [`fold`]: the final rows of a changelog.
//!
//! Deliberately missing: aggregates that take rows back one by one. A plan that needs them is refused before it runs.

pub mod accumulator;
pub mod aggregate;
pub mod assign;
pub mod calc;
#[cfg(test)]
mod changelog_tests;
mod expand;
mod fold;
pub mod interval_join;
pub mod join;
mod kinds;
mod limit;
pub mod over;
pub mod rank;
mod row_codec;
mod rows;
pub mod set_operation;
pub mod slices;
mod sort;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};

pub use expand::Expand;
pub use fold::Fold;
pub use kinds::Kinds;
pub use limit::Limit;
pub use rows::Rows;
pub use sort::TimeSort;

use crate::Error;

/// What flows from operator to operator.
#[derive(Debug, Clone)]
pub enum Event {
    Rows(Rows),
    /// No row with a time up to this is expected any more.
    Watermark(i64),
    /// The source has this many splits.
    Splits(u32),
    SplitFinished(u32),
    /// A split has brought nothing for the idle timeout.
    SplitIdle(u32),
    /// The source has had nothing to read for a moment.
    Quiet,
    /// The whole input has brought nothing for the idle timeout, or wakes up: Flink's WatermarkStatus.
    Idle(bool),
    /// Nothing follows.
    End,
}

/// What an operator has counted since the job began; restored with its state, so a restart counts nothing twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Rows that came too late for a window and were left out.
    pub late_rows: u64,
    /// Rows emitted by fired windows.
    pub windows: u64,
    /// Rows read by a source.
    pub rows_read: u64,
}

impl Counters {
    pub fn add(&mut self, other: Counters) {
        self.late_rows += other.late_rows;
        self.windows += other.windows;
        self.rows_read += other.rows_read;
    }
}

/// An operator's state at a barrier.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    /// Small facts by name.
    pub facts: BTreeMap<String, serde_json::Value>,
    pub table: Option<RecordBatch>,
    pub counters: Counters,
}

impl Snapshot {
    /// The watermark that was in force, for operators that write it down.
    pub fn watermark(&self) -> i64 {
        let watermark = self.facts.get("watermark").and_then(serde_json::Value::as_i64);
        watermark.unwrap_or(crate::time::NONE)
    }
}

/// Says which rows of a state table belong to the subtask that is being restored: takes the key columns.
pub type Keep<'a> = dyn Fn(&[arrow::array::ArrayRef]) -> Result<arrow::array::BooleanArray, Error> + 'a;

pub trait Operator: Send {
    /// Takes the next event and appends what follows from it to `out`.
    fn on_event(&mut self, event: Event, out: &mut Vec<Event>) -> Result<(), Error>;

    /// The state after the events so far.
    fn snapshot(&self) -> Result<Snapshot, Error> {
        Ok(Snapshot::default())
    }

    /// Takes over the snapshots that all subtasks of this operator made, of their tables what `keep` says.
    /// `first` marks the subtask that takes over what cannot be divided.
    fn restore(&mut self, snapshots: &[Snapshot], keep: &Keep<'_>, first: bool) -> Result<(), Error> {
        let _ = (snapshots, keep, first);
        Ok(())
    }

    fn counters(&self) -> Counters {
        Counters::default()
    }
}

/// Operators one behind the other in one task.
#[derive(Default)]
pub struct Chain {
    operators: Vec<Box<dyn Operator>>,
}

impl Chain {
    pub fn new(operators: Vec<Box<dyn Operator>>) -> Self {
        Self { operators }
    }

    /// Runs one event through all operators.
    pub fn on_event(&mut self, event: Event) -> Result<Vec<Event>, Error> {
        let mut events = vec![event];
        let mut next = Vec::new();
        for operator in &mut self.operators {
            for event in events.drain(..) {
                operator.on_event(event, &mut next)?;
            }
            std::mem::swap(&mut events, &mut next);
        }
        Ok(events)
    }

    pub fn snapshot(&self) -> Result<Vec<Snapshot>, Error> {
        self.operators.iter().map(|operator| operator.snapshot()).collect()
    }

    /// `snapshots[subtask][operator]`.
    pub fn restore(&mut self, snapshots: &[Vec<Snapshot>], keep: &Keep<'_>, first: bool) -> Result<(), Error> {
        for (number, operator) in self.operators.iter_mut().enumerate() {
            let own: Vec<Snapshot> = snapshots
                .iter()
                .filter_map(|chain| chain.get(number).cloned())
                .collect();
            operator.restore(&own, keep, first)?;
        }
        Ok(())
    }

    pub fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        self.operators.iter().for_each(|operator| sum.add(operator.counters()));
        sum
    }
}
