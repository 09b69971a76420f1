//! Grouped aggregates, vectorised.
//!
//! With a window among its keys, the operator keeps the groups of each window together and fires a window as a whole
//! when the watermark has passed its end; a row whose window had fired when the row arrived is late and left out. Without
//! one, the whole bounded input is the window: the final result comes at the end.
//!
//! State is one table: the keys, then each accumulator's columns. Cutting it by the hash of its keys restores the job
//! with any parallelism.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::time::Zone;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimestampMillisecondType};
use arrow::row::{OwnedRow, RowConverter, Rows as KeyRows, SortField};
use datafusion::physical_expr::PhysicalExpr;

use super::accumulator::{Accumulator, Function};
use super::calc::{boolean, evaluate, table};
use super::{Counters, Event, Keep, Operator, Rows, Snapshot};
use crate::Error;
use crate::functions::next_rows;
use crate::time::window::{Windows, fires_at};
use crate::time::{END, NONE};

/// One aggregate call.
#[derive(Debug, Clone)]
pub struct Call {
    pub function: Function,
    pub args: Vec<Arc<dyn PhysicalExpr>>,
    pub arg_types: Vec<DataType>,
    pub distinct: bool,
    pub filter: Option<Arc<dyn PhysicalExpr>>,
}

/// What an aggregation does.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The columns of the input that are its keys.
    pub keys: Vec<usize>,
    /// Which of `keys` is the window's end; none for a final aggregate.
    pub window_end: Option<usize>,
    /// The zone in which windows are laid out, for a TIMESTAMP_LTZ rowtime.
    pub zone: Option<Zone>,
    pub calls: Vec<Call>,
    /// Keys, then results.
    pub schema: SchemaRef,
    /// Set where the input's rows have not been given windows: the operator does so by slices. `keys` are then those that
    /// are no bounds of the window.
    pub slices: Option<Slices>,
}

/// Windows that are put together from slices.
#[derive(Debug, Clone)]
pub struct Slices {
    /// The column of the input that holds the time.
    pub time: usize,
    pub windows: Windows,
    /// What the first columns of the output are.
    pub layout: Vec<Part>,
}

/// A key of a window aggregation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Start,
    End,
    Time,
    /// One of [`Plan::keys`].
    Key(usize),
}

pub struct Aggregate {
    plan: Plan,
    converter: RowConverter,
    /// By the window's end; a final aggregate has one, ending at [`END`].
    windows: BTreeMap<i64, Groups>,
    watermark: i64,
    counters: Counters,
}

/// The groups of one window.
pub struct Groups {
    numbers: HashMap<OwnedRow, u32>,
    /// Keys by group number; none if there are no keys, and so one group.
    pub keys: Vec<OwnedRow>,
    pub len: usize,
    pub accumulators: Vec<Box<dyn Accumulator>>,
}

impl Groups {
    pub fn new(calls: &[Call]) -> Result<Self, Error> {
        let accumulators = calls
            .iter()
            .map(|call| call.function.accumulator(&call.arg_types, call.distinct))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            numbers: HashMap::new(),
            keys: Vec::new(),
            len: 0,
            accumulators,
        })
    }

    /// The group number of each of the chosen rows.
    pub fn intern(&mut self, keys: Option<&KeyRows>, chosen: &[u32]) -> Vec<u32> {
        let Some(keys) = keys else {
            self.len = 1;
            return vec![0; chosen.len()];
        };
        let number = |row: &u32| {
            let key = keys.row(*row as usize).owned();
            *self.numbers.entry(key).or_insert_with_key(|key| {
                self.keys.push(key.clone());
                (self.keys.len() - 1) as u32
            })
        };
        let numbers = chosen.iter().map(number).collect();
        self.len = self.keys.len();
        numbers
    }
}

impl Groups {
    /// Adds the chosen rows of a batch of `rows`.
    pub fn update(
        &mut self,
        keys: Option<&KeyRows>,
        chosen: &[u32],
        rows: usize,
        args: &[Arguments],
    ) -> Result<(), Error> {
        let numbers = self.intern(keys, chosen);
        let total = self.len;
        for (accumulator, args) in self.accumulators.iter_mut().zip(args) {
            let (numbers, columns) = args.choose(chosen, &numbers, rows)?;
            accumulator.update(&numbers, total, &columns)?;
        }
        Ok(())
    }

    /// Adds other groups.
    pub fn absorb(&mut self, other: &Self) -> Result<(), Error> {
        if other.len == 0 {
            return Ok(());
        }
        let numbers: Vec<u32> = if other.keys.is_empty() {
            self.len = self.len.max(1);
            vec![0; other.len]
        } else {
            let number = |key: &OwnedRow| {
                *self.numbers.entry(key.clone()).or_insert_with_key(|key| {
                    self.keys.push(key.clone());
                    (self.keys.len() - 1) as u32
                })
            };
            let numbers = other.keys.iter().map(number).collect();
            self.len = self.keys.len();
            numbers
        };
        for (accumulator, other) in self.accumulators.iter_mut().zip(&other.accumulators) {
            accumulator.merge(&numbers, self.len, &other.state()?)?;
        }
        Ok(())
    }

    pub fn copy(&self, calls: &[Call]) -> Result<Self, Error> {
        let mut copy = Self::new(calls)?;
        copy.absorb(self)?;
        Ok(copy)
    }
}

impl Aggregate {
    pub fn new(plan: Plan) -> Result<Self, Error> {
        let fields = plan.schema.fields().iter().take(plan.keys.len());
        let fields = fields.map(|field| SortField::new(field.data_type().clone())).collect();
        let converter = RowConverter::new(fields)
            .map_err(|error| Error::unsupported(format!("GROUP BY a column of this type ({error})")))?;
        Ok(Self {
            plan,
            converter,
            windows: BTreeMap::new(),
            watermark: NONE,
            counters: Counters::default(),
        })
    }

    fn rows(&mut self, rows: &Rows) -> Result<(), Error> {
        let args = arguments(&self.plan.calls, &rows.batch)?;
        let keys: Vec<ArrayRef> = self
            .plan
            .keys
            .iter()
            .map(|key| Arc::clone(rows.batch.column(*key)))
            .collect();
        let key_rows = if keys.is_empty() {
            None
        } else {
            Some(self.converter.convert_columns(&keys)?)
        };
        let mut windows: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
        match self.plan.window_end {
            None => {
                windows.insert(END, (0..rows.len() as u32).collect());
            }
            Some(index) => {
                let ends = keys[index].as_primitive::<TimestampMillisecondType>();
                for row in 0..rows.len() {
                    let end = ends.value(row);
                    // What has fired here has fired, whatever the row met: after a restart another input's
                    // watermark may not have come yet.
                    if rows.before.at(row).max(self.watermark) >= fires_at(end, self.plan.zone) {
                        self.counters.late_rows += 1;
                    } else {
                        windows.entry(end).or_default().push(row as u32);
                    }
                }
            }
        }
        for (end, chosen) in windows {
            self.update(end, &chosen, rows.len(), key_rows.as_ref(), &args)?;
        }
        Ok(())
    }

    fn update(
        &mut self,
        end: i64,
        chosen: &[u32],
        rows: usize,
        keys: Option<&KeyRows>,
        args: &[Arguments],
    ) -> Result<(), Error> {
        let groups = match self.windows.entry(end) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => entry.insert(Groups::new(&self.plan.calls)?),
        };
        groups.update(keys, chosen, rows, args)
    }

    /// Fires the windows that may fire at `watermark`.
    fn fire(&mut self, watermark: i64, out: &mut Vec<Event>) -> Result<(), Error> {
        while let Some(entry) = self.windows.first_entry() {
            let due = match self.plan.window_end {
                None => watermark == END,
                Some(_) => fires_at(*entry.key(), self.plan.zone) <= watermark,
            };
            if !due {
                break;
            }
            let groups = entry.remove();
            let mut columns = self.key_columns(&groups)?;
            for accumulator in &groups.accumulators {
                columns.push(accumulator.evaluate()?);
            }
            let batch = table(&self.plan.schema, columns, groups.len)?;
            if self.plan.window_end.is_some() {
                self.counters.windows += groups.len as u64;
            }
            out.push(Event::Rows(Rows::fired(batch, self.watermark)));
        }
        self.watermark = self.watermark.max(watermark);
        Ok(())
    }

    fn key_columns(&self, groups: &Groups) -> Result<Vec<ArrayRef>, Error> {
        if self.plan.keys.is_empty() {
            return Ok(Vec::new());
        }
        Ok(self.converter.convert_rows(groups.keys.iter().map(OwnedRow::row))?)
    }

    fn state_table(&self) -> Result<Option<RecordBatch>, Error> {
        let mut batches: Vec<RecordBatch> = Vec::new();
        for groups in self.windows.values() {
            let mut columns = self.key_columns(groups)?;
            for accumulator in &groups.accumulators {
                columns.extend(accumulator.state()?);
            }
            let fields: Vec<Field> = columns
                .iter()
                .enumerate()
                .map(|(number, column)| Field::new(format!("c{number}"), column.data_type().clone(), true))
                .collect();
            batches.push(table(&Arc::new(Schema::new(fields)), columns, groups.len)?);
        }
        match batches.first() {
            None => Ok(None),
            Some(first) => Ok(Some(compute::concat_batches(first.schema_ref(), &batches)?)),
        }
    }

    fn restore_table(&mut self, state: &RecordBatch) -> Result<(), Error> {
        let columns = state.columns();
        let (keys, rest) = columns.split_at(self.plan.keys.len());
        let key_rows = if keys.is_empty() {
            None
        } else {
            Some(self.converter.convert_columns(keys)?)
        };
        let mut windows: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
        for row in 0..state.num_rows() {
            let end = match self.plan.window_end {
                None => END,
                Some(index) => keys[index].as_primitive::<TimestampMillisecondType>().value(row),
            };
            windows.entry(end).or_default().push(row as u32);
        }
        for (end, chosen) in windows {
            let mut groups = Groups::new(&self.plan.calls)?;
            let numbers = groups.intern(key_rows.as_ref(), &chosen);
            let total = groups.len;
            let indices = UInt32Array::from(chosen);
            let mut left = rest;
            for accumulator in &mut groups.accumulators {
                let width = accumulator.state()?.len();
                if left.len() < width {
                    return Err(Error::runtime("the checkpoint's aggregate state has too few columns"));
                }
                let (own, others) = left.split_at(width);
                left = others;
                let own: Vec<ArrayRef> = own
                    .iter()
                    .map(|column| compute::take(column, &indices, None))
                    .collect::<Result<_, _>>()?;
                accumulator.merge(&numbers, total, &own)?;
            }
            self.windows.insert(end, groups);
        }
        Ok(())
    }
}

/// Each call's arguments, and the rows that its filter keeps.
pub fn arguments(calls: &[Call], batch: &RecordBatch) -> Result<Vec<Arguments>, Error> {
    next_rows();
    let arguments = |call: &Call| {
        let filter = call.filter.as_ref().map(|filter| boolean(filter, batch)).transpose()?;
        // An argument is computed for all rows: Flink does so before the aggregation, and a FILTER guards nothing.
        let columns = call.args.iter().map(|arg| {
            let column = evaluate(arg, batch)?;
            Ok::<_, Error>(match &filter {
                None => column,
                Some(mask) => compute::filter(&column, mask)?,
            })
        });
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        Ok(Arguments { columns, filter })
    };
    calls.iter().map(arguments).collect()
}

/// A call's argument columns, already filtered, and its filter.
pub struct Arguments {
    columns: Vec<ArrayRef>,
    filter: Option<BooleanArray>,
}

impl Arguments {
    /// The groups and arguments of the chosen rows that the filter keeps.
    fn choose(&self, chosen: &[u32], numbers: &[u32], rows: usize) -> Result<(Vec<u32>, Vec<ArrayRef>), Error> {
        let Some(mask) = &self.filter else {
            if chosen.len() == rows {
                return Ok((numbers.to_vec(), self.columns.clone()));
            }
            return Ok((numbers.to_vec(), self.take(chosen.to_vec())?));
        };
        // Positions of the kept rows among the filtered columns.
        let mut positions = vec![None; rows];
        let mut next = 0_u32;
        for (row, position) in positions.iter_mut().enumerate() {
            if mask.is_valid(row) && mask.value(row) {
                *position = Some(next);
                next += 1;
            }
        }
        let kept = chosen
            .iter()
            .zip(numbers)
            .filter_map(|(row, number)| Some((*number, positions[*row as usize]?)));
        let (numbers, indices): (Vec<u32>, Vec<u32>) = kept.unzip();
        Ok((numbers, self.take(indices)?))
    }

    /// The same where a row may be chosen several times.
    pub fn choose_any(&self, chosen: &[u32], numbers: &[u32], rows: usize) -> Result<(Vec<u32>, Vec<ArrayRef>), Error> {
        match &self.filter {
            None => Ok((numbers.to_vec(), self.take(chosen.to_vec())?)),
            Some(_) => self.choose(chosen, numbers, rows),
        }
    }

    fn take(&self, indices: Vec<u32>) -> Result<Vec<ArrayRef>, Error> {
        let indices = UInt32Array::from(indices);
        Ok(self
            .columns
            .iter()
            .map(|column| compute::take(column, &indices, None))
            .collect::<Result<_, _>>()?)
    }
}

impl Operator for Aggregate {
    fn on_event(&mut self, event: Event, out: &mut Vec<Event>) -> Result<(), Error> {
        match event {
            Event::Rows(rows) => self.rows(&rows)?,
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
        let mut snapshot = Snapshot {
            table: self.state_table()?,
            counters: self.counters,
            ..Snapshot::default()
        };
        snapshot.facts.insert("watermark".into(), self.watermark.into());
        Ok(snapshot)
    }

    fn restore(&mut self, snapshots: &[Snapshot], keep: &Keep<'_>, first: bool) -> Result<(), Error> {
        for snapshot in snapshots {
            // Subtasks of one job fire at the same watermark but may have been told of it at different moments.
            let watermark = snapshot
                .facts
                .get("watermark")
                .and_then(serde_json::Value::as_i64)
                .unwrap_or(NONE);
            self.watermark = self.watermark.max(watermark);
            if first {
                self.counters.add(snapshot.counters);
            }
        }
        let tables: Vec<&RecordBatch> = snapshots
            .iter()
            .filter_map(|snapshot| snapshot.table.as_ref())
            .collect();
        let Some(any) = tables.first() else { return Ok(()) };
        let all = compute::concat_batches(any.schema_ref(), tables.iter().copied())?;
        let keys = all.columns()[..self.plan.keys.len()].to_vec();
        let own = if keys.is_empty() {
            all
        } else {
            compute::filter_record_batch(&all, &keep(&keys)?)?
        };
        self.restore_table(&own)
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}
