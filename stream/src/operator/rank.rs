//! Top-N: the rows of each partition whose ROW_NUMBER is in a range.
//!
//! Rows are kept in their order by partition. A change sends the difference between the range before and after: the row
//! that leaves it and the one that enters, or, where the number itself is part of the result, each row that got another
//! number. Over inserts alone nothing below the range is kept. Among equals the first comes first; a deduplication that keeps
//! the last row by time ([`Ties::LastFirst`]) takes the newest of them, as Flink's does.
//!
//! With a window among its partition keys the operator fires each window as a whole, and inserts only; a row whose window has
//! ended is late.
//!
//! State is one table: the rows, by partition in their order.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::compute::{self, SortOptions};
use arrow::datatypes::{SchemaRef, TimestampMillisecondType};
use arrow::row::{RowConverter, SortField};

use super::calc::table;
use super::row_codec::{Kept, Keys, RowCodec};
use super::{Counters, Event, Keep, Operator, Rows, Snapshot};
use crate::Error;
use crate::table::RowKind;
use crate::time::window::fires_at;
use crate::time::{END, NONE, Zone};

/// What comes first among rows that are equal in the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ties {
    FirstFirst,
    LastFirst,
}

/// What a Top-N does.
#[derive(Debug, Clone)]
pub struct Plan {
    pub partition: Vec<usize>,
    pub order: Vec<(usize, SortOptions)>,
    pub ties: Ties,
    /// The least and the greatest number that is wanted, from 1.
    pub range: (u64, u64),
    /// Whether the number is the last column of the result.
    pub numbered: bool,
    pub input: SchemaRef,
    pub schema: SchemaRef,
    /// Whether rows may be taken back.
    pub retracts: bool,
    /// The column that holds the window's end, and the windows' zone.
    pub window: Option<(usize, Option<Zone>)>,
}

struct Ranked {
    order: Box<[u8]>,
    row: Kept,
}

struct Partition {
    rows: Vec<Ranked>,
    /// When it fires; [`END`] without windows.
    end: i64,
}

/// A change of the result: the row and its number.
type Change = (RowKind, Kept, i64);

pub struct Rank {
    plan: Plan,
    codec: RowCodec,
    keys: Keys,
    converter: Option<RowConverter>,
    partitions: HashMap<Box<[u8]>, Partition>,
    watermark: i64,
    late: u64,
}

impl Rank {
    pub fn new(plan: Plan) -> Result<Self, Error> {
        let null_safe = vec![true; plan.partition.len()];
        let fields: Vec<SortField> = plan
            .order
            .iter()
            .map(|(column, options)| {
                SortField::new_with_options(plan.input.field(*column).data_type().clone(), *options)
            })
            .collect();
        let converter = if fields.is_empty() {
            None
        } else {
            Some(
                RowConverter::new(fields)
                    .map_err(|error| Error::unsupported(format!("ORDER BY a column of this type ({error})")))?,
            )
        };
        Ok(Self {
            codec: RowCodec::new(&plan.input)?,
            keys: Keys::new(&plan.input, &plan.partition, &null_safe)?,
            converter,
            plan,
            partitions: HashMap::new(),
            watermark: NONE,
            late: 0,
        })
    }

    fn rows(&mut self, rows: &Rows, changes: &mut Vec<Change>) -> Result<(), Error> {
        let keys = self.keys.of(&rows.batch)?;
        let encoded = self.codec.encode(&rows.batch)?;
        let columns: Vec<ArrayRef> = self
            .plan
            .order
            .iter()
            .map(|(column, _)| Arc::clone(rows.batch.column(*column)))
            .collect();
        let orders = match &self.converter {
            Some(converter) => Some(converter.convert_columns(&columns)?),
            None => None,
        };
        for (number, key) in keys.into_iter().enumerate() {
            let Some(key) = key else { continue };
            let mut end = END;
            if let Some((column, zone)) = self.plan.window {
                end = fires_at(
                    rows.batch
                        .column(column)
                        .as_primitive::<TimestampMillisecondType>()
                        .value(number),
                    zone,
                );
                if rows.before.at(number).max(self.watermark) >= end {
                    self.late += 1;
                    continue;
                }
            }
            let ranked = Ranked {
                order: orders
                    .as_ref()
                    .map_or_else(Box::default, |orders| Box::from(orders.row(number).as_ref())),
                row: Arc::new(encoded.row(number).owned()),
            };
            self.row(key, end, ranked, rows.kinds.at(number), changes);
        }
        Ok(())
    }

    fn row(&mut self, key: Box<[u8]>, end: i64, ranked: Ranked, kind: RowKind, changes: &mut Vec<Change>) {
        let plan = &self.plan;
        let partition = self
            .partitions
            .entry(key)
            .or_insert(Partition { rows: Vec::new(), end });
        let rows = &mut partition.rows;
        let lower = rows.partition_point(|other| other.order < ranked.order);
        let upper = lower + rows[lower..].partition_point(|other| other.order == ranked.order);
        let quiet = plan.window.is_some();
        if kind.adds() {
            let at = if plan.ties == Ties::LastFirst { lower } else { upper };
            let last = plan.range.1;
            if !plan.retracts && at as u64 >= last {
                return;
            }
            rows.insert(at, ranked);
            if !quiet {
                inserted(plan, rows, at, changes);
            }
            if !plan.retracts {
                rows.truncate(usize::try_from(last).unwrap_or(usize::MAX));
            }
        } else if let Some(at) = (lower..upper).rev().find(|at| rows[*at].row == ranked.row) {
            let removed = rows.remove(at);
            if !quiet {
                deleted(plan, rows, at, removed.row, changes);
            }
        }
    }

    fn fire(&mut self, watermark: i64, out: &mut Vec<Event>) -> Result<(), Error> {
        if self.plan.window.is_some() {
            let mut due: Vec<_> = self
                .partitions
                .extract_if(|_, partition| partition.end <= watermark)
                .collect();
            due.sort_by(|a, b| (a.1.end, &a.0).cmp(&(b.1.end, &b.0)));
            let mut changes = Vec::new();
            for (_, partition) in due {
                let numbered = (1..).zip(partition.rows);
                let wanted = numbered.filter(|(number, _)| self.plan.wants(*number));
                changes.extend(wanted.map(|(number, ranked)| (RowKind::Insert, ranked.row, number)));
            }
            self.emit(&changes, out)?;
        }
        self.watermark = self.watermark.max(watermark);
        Ok(())
    }

    fn emit(&self, changes: &[Change], out: &mut Vec<Event>) -> Result<(), Error> {
        if changes.is_empty() {
            return Ok(());
        }
        let mut columns = self
            .codec
            .decode(changes.iter().map(|(_, row, _)| Some(row.as_ref())))?;
        if self.plan.numbered {
            columns.push(Arc::new(Int64Array::from_iter_values(
                changes.iter().map(|change| change.2),
            )));
        }
        let batch = table(&self.plan.schema, columns, changes.len())?;
        let kinds = changes.iter().map(|change| change.0).collect();
        out.push(Event::Rows(Rows::fired(batch, self.watermark).with(kinds)));
        Ok(())
    }
}

impl Plan {
    fn wants(&self, number: i64) -> bool {
        u64::try_from(number).is_ok_and(|number| (self.range.0..=self.range.1).contains(&number))
    }
}

/// What follows from a row that now stands at `at`.
fn inserted(plan: &Plan, rows: &[Ranked], at: usize, changes: &mut Vec<Change>) {
    let (from, to) = plan.range;
    if plan.numbered {
        // Each row behind it has moved by one.
        for index in at..rows.len() {
            let number = index as i64 + 1;
            if number as u64 > to {
                break;
            }
            if !plan.wants(number) {
                continue;
            }
            match rows.get(index + 1) {
                Some(before) => {
                    changes.push((RowKind::UpdateBefore, Arc::clone(&before.row), number));
                    changes.push((RowKind::UpdateAfter, Arc::clone(&rows[index].row), number));
                }
                None => changes.push((RowKind::Insert, Arc::clone(&rows[index].row), number)),
            }
        }
        return;
    }
    if at as u64 >= to {
        return;
    }
    // The row that was last in the range leaves it; the new one, or the one that the new one has pushed into it, enters.
    let entering = at.max(from as usize - 1);
    let leaving = usize::try_from(to).ok().and_then(|to| rows.get(to));
    let Some(entering) = rows.get(entering) else { return };
    match leaving {
        Some(leaving) if from == to => {
            changes.push((RowKind::UpdateBefore, Arc::clone(&leaving.row), 0));
            changes.push((RowKind::UpdateAfter, Arc::clone(&entering.row), 0));
        }
        Some(leaving) => {
            changes.push((RowKind::Delete, Arc::clone(&leaving.row), 0));
            changes.push((RowKind::Insert, Arc::clone(&entering.row), 0));
        }
        None => changes.push((RowKind::Insert, Arc::clone(&entering.row), 0)),
    }
}

/// What follows from a row that stood at `at`.
fn deleted(plan: &Plan, rows: &[Ranked], at: usize, removed: Kept, changes: &mut Vec<Change>) {
    let (from, to) = plan.range;
    if plan.numbered {
        let mut before = removed;
        for index in at..=rows.len() {
            let number = index as i64 + 1;
            if number as u64 > to {
                break;
            }
            let after = rows.get(index).map(|ranked| Arc::clone(&ranked.row));
            if plan.wants(number) {
                match &after {
                    Some(after) => {
                        changes.push((RowKind::UpdateBefore, before, number));
                        changes.push((RowKind::UpdateAfter, Arc::clone(after), number));
                    }
                    None => changes.push((RowKind::Delete, before, number)),
                }
            }
            let Some(after) = after else { break };
            before = after;
        }
        return;
    }
    if at as u64 >= to {
        return;
    }
    let first = from as usize - 1;
    let leaving = if at >= first {
        Some(removed)
    } else {
        // All have moved up: the one that was first in the range has left it.
        first
            .checked_sub(1)
            .and_then(|index| rows.get(index))
            .map(|ranked| Arc::clone(&ranked.row))
    };
    let Some(leaving) = leaving else { return };
    let entering = usize::try_from(to).ok().and_then(|to| rows.get(to - 1));
    changes.push((RowKind::Delete, leaving, 0));
    changes.extend(entering.map(|ranked| (RowKind::Insert, Arc::clone(&ranked.row), 0)));
}

impl Operator for Rank {
    fn on_event(&mut self, event: Event, out: &mut Vec<Event>) -> Result<(), Error> {
        match event {
            Event::Rows(rows) => {
                let mut changes = Vec::new();
                self.rows(&rows, &mut changes)?;
                self.emit(&changes, out)?;
            }
            Event::Watermark(watermark) => {
                self.fire(watermark, out)?;
                out.push(Event::Watermark(watermark));
            }
            Event::End => {
                self.fire(END, out)?;
                out.push(Event::End);
            }
            other => out.push(other),
        }
        Ok(())
    }

    fn snapshot(&self) -> Result<Snapshot, Error> {
        let mut partitions: Vec<_> = self.partitions.iter().collect();
        partitions.sort_by(|a, b| a.0.cmp(b.0));
        let newest_first = self.plan.ties == Ties::LastFirst;
        let mut rows: Vec<&Ranked> = Vec::new();
        for (_, partition) in partitions {
            // Restoring adds row by row, so that equals must come in the order of their arrival.
            if newest_first {
                rows.extend(partition.rows.iter().rev());
            } else {
                rows.extend(&partition.rows);
            }
        }
        let mut snapshot = Snapshot {
            table: Some(self.codec.batch(rows.iter().map(|ranked| ranked.row.as_ref()))?),
            counters: self.counters(),
            ..Snapshot::default()
        };
        snapshot.facts.insert("watermark".into(), self.watermark.into());
        Ok(snapshot)
    }

    fn restore(&mut self, snapshots: &[Snapshot], keep: &Keep<'_>, first: bool) -> Result<(), Error> {
        for state in snapshots.iter().filter_map(|snapshot| snapshot.table.as_ref()) {
            if state.schema_ref().fields().len() != self.plan.input.fields().len() {
                return Err(Error::runtime(
                    "the checkpoint's Top-N state has another form than this program's",
                ));
            }
            let keys = self.keys.columns(state);
            let own = if keys.is_empty() {
                state.clone()
            } else {
                compute::filter_record_batch(state, &keep(&keys)?)?
            };
            self.rows(&Rows::new(own, 0), &mut Vec::new())?;
        }
        for snapshot in snapshots {
            self.watermark = self.watermark.max(snapshot.watermark());
            if first {
                self.late += snapshot.counters.late_rows;
            }
        }
        Ok(())
    }

    fn counters(&self) -> Counters {
        Counters {
            late_rows: self.late,
            ..Counters::default()
        }
    }
}
