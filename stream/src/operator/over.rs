//! OVER: each row with aggregates over the rows of its partition up to it.
//!
//! Rows come in the order of the window: sorted by time before, or as they arrive. A frame that begins with the partition keeps
//! accumulators by partition; one that begins some rows or some time before keeps those rows, and aggregates each frame by itself. With
//! RANGE rows of the same time are peers: each sees all of them, so they must come in one batch, as the sort hands them on.
//!
//! State is one table: the rows that frames to come may reach; or the partition keys, then each accumulator's columns.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMillisecondArray, UInt32Array};
use arrow::compute;
use arrow::datatypes::{Field, Schema, SchemaRef};

use super::accumulator::Accumulator;
use super::aggregate::{Arguments, Call, arguments};
use super::assign::millis;
use super::calc::table;
use super::row_codec::{Kept, Keys, RowCodec};
use super::{Event, Keep, Operator, Rows, Snapshot};
use crate::Error;

/// Rows of frames that are aggregated at a time.
const FRAME_ROWS_MAX: usize = 65_536;

/// Where a frame begins; it ends with its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    Partition,
    /// This many rows before.
    Rows(u64),
    /// This many milliseconds before.
    Millis(i64),
}

/// What an OVER aggregation does.
#[derive(Debug, Clone)]
pub struct Plan {
    pub partition: Vec<usize>,
    /// The column of the time that the rows are in the order of; none for the order of arrival.
    pub time: Option<usize>,
    pub start: Start,
    /// Whether rows of the same time see each other.
    pub peers: bool,
    pub calls: Vec<Call>,
    pub input: SchemaRef,
    /// The input's columns, then the results.
    pub schema: SchemaRef,
}

type Accumulators = Vec<Box<dyn Accumulator>>;

#[derive(Default)]
struct Partition {
    /// Rows that frames to come may reach, with their times.
    rows: VecDeque<(i64, Kept)>,
    /// The partition's key as columns, and what has been aggregated of it.
    running: Option<(Vec<ArrayRef>, Accumulators)>,
}

pub struct Over {
    plan: Plan,
    codec: RowCodec,
    keys: Keys,
    partitions: HashMap<Box<[u8]>, Partition>,
    /// At how many partitions those whose rows are out of reach are looked for.
    sweep_at: usize,
}

impl Over {
    pub fn new(plan: Plan) -> Result<Self, Error> {
        let over = Self {
            codec: RowCodec::new(&plan.input)?,
            keys: Keys::new(&plan.input, &plan.partition, &vec![true; plan.partition.len()])?,
            plan,
            partitions: HashMap::new(),
            sweep_at: 1024,
        };
        over.accumulators()?;
        Ok(over)
    }

    fn accumulators(&self) -> Result<Accumulators, Error> {
        let calls = self.plan.calls.iter();
        calls
            .map(|call| call.function.accumulator(&call.arg_types, call.distinct))
            .collect()
    }

    fn rows(&mut self, rows: &Rows) -> Result<Rows, Error> {
        let mut chosen: HashMap<Box<[u8]>, Vec<u32>> = HashMap::new();
        let mut order = Vec::new();
        for (number, key) in self.keys.of(&rows.batch)?.into_iter().enumerate() {
            let Some(key) = key else { continue };
            let of = chosen.entry(key).or_insert_with_key(|key| {
                order.push(key.clone());
                Vec::new()
            });
            of.push(number as u32);
        }
        let mut places: Vec<u32> = vec![0; rows.len()];
        let mut results: Vec<Vec<ArrayRef>> = vec![Vec::new(); self.plan.calls.len()];
        let mut done = 0;
        for key in order {
            let own = chosen.remove(&key).unwrap_or_default();
            for row in &own {
                places[*row as usize] = done;
                done += 1;
            }
            let batch = compute::take_record_batch(&rows.batch, &UInt32Array::from(own))?;
            let computed = match self.plan.start {
                Start::Partition => self.running(key, &batch)?,
                _ => self.framed(key, &batch)?,
            };
            for (result, parts) in results.iter_mut().zip(computed) {
                result.extend(parts);
            }
        }
        let places = UInt32Array::from(places);
        let mut columns = rows.batch.columns().to_vec();
        for parts in results {
            let parts: Vec<&dyn arrow::array::Array> = parts.iter().map(AsRef::as_ref).collect();
            columns.push(compute::take(&compute::concat(&parts)?, &places, None)?);
        }
        let batch = table(&self.plan.schema, columns, rows.len())?;
        Ok(Rows { batch, ..rows.clone() })
    }

    fn times(&self, batch: &RecordBatch) -> Result<TimestampMillisecondArray, Error> {
        match self.plan.time {
            Some(column) => millis(batch.column(column)),
            None => Ok(TimestampMillisecondArray::from(vec![0; batch.num_rows()])),
        }
    }

    /// Results of rows of one partition whose frames begin with it.
    fn running(&mut self, key: Box<[u8]>, batch: &RecordBatch) -> Result<Vec<Vec<ArrayRef>>, Error> {
        let args = arguments(&self.plan.calls, batch)?;
        let times = self.times(batch)?;
        let fresh = self.accumulators()?;
        let key_columns = self.keys.columns(&batch.slice(0, 1));
        let partition = self.partitions.entry(key).or_default();
        let (_, accumulators) = partition.running.get_or_insert((key_columns, fresh));
        let mut results = vec![Vec::new(); accumulators.len()];
        let rows = batch.num_rows();
        let mut from = 0;
        while from < rows {
            let mut to = from + 1;
            while self.plan.peers && to < rows && times.value(to) == times.value(from) {
                to += 1;
            }
            let chosen: Vec<u32> = (from as u32..to as u32).collect();
            add(accumulators, &args, &chosen, &vec![0; chosen.len()], 1, rows)?;
            for (accumulator, result) in accumulators.iter().zip(&mut results) {
                let value = accumulator.evaluate()?;
                result.extend((from..to).map(|_| Arc::clone(&value)));
            }
            from = to;
        }
        Ok(results)
    }

    /// Results of rows of one partition whose frames begin some rows or time before them.
    fn framed(&mut self, key: Box<[u8]>, batch: &RecordBatch) -> Result<Vec<Vec<ArrayRef>>, Error> {
        let mut partition = self.partitions.remove(&key).unwrap_or_default();
        let before = partition.rows.len();
        let encoded = self.codec.encode(batch)?;
        let times = self.times(batch)?;
        let new = encoded.iter().enumerate();
        let new = new.map(|(number, row)| (times.value(number), Arc::new(row.owned())));
        partition.rows.extend(new);
        let all = self.codec.batch(partition.rows.iter().map(|(_, row)| row.as_ref()))?;
        let args = arguments(&self.plan.calls, &all)?;
        let time = |row: usize| partition.rows[row].0;
        let total = partition.rows.len();
        let mut results = vec![Vec::new(); self.plan.calls.len()];
        let (mut first, mut row) = (0, before);
        while row < total {
            let (mut chosen, mut numbers, mut count) = (Vec::new(), Vec::new(), 0);
            while row < total && (count == 0 || chosen.len() < FRAME_ROWS_MAX) {
                first = match self.plan.start {
                    Start::Rows(rows) => row.saturating_sub(usize::try_from(rows).unwrap_or(usize::MAX)),
                    Start::Millis(millis) => {
                        let least = time(row).saturating_sub(millis);
                        (first..=row).find(|at| time(*at) >= least).unwrap_or(row)
                    }
                    Start::Partition => 0,
                };
                let mut last = row;
                while self.plan.peers && last + 1 < total && time(last + 1) == time(row) {
                    last += 1;
                }
                chosen.extend(first as u32..=last as u32);
                numbers.resize(chosen.len(), count);
                count += 1;
                row += 1;
            }
            let mut accumulators = self.accumulators()?;
            add(&mut accumulators, &args, &chosen, &numbers, count as usize, total)?;
            for (accumulator, result) in accumulators.iter().zip(&mut results) {
                result.push(accumulator.evaluate()?);
            }
        }
        // What the next row's frame may reach.
        match self.plan.start {
            Start::Rows(rows) => {
                let kept = usize::try_from(rows).unwrap_or(usize::MAX);
                partition.rows.drain(..total.saturating_sub(kept));
            }
            Start::Millis(millis) => {
                let least = time(total - 1).saturating_sub(millis);
                partition.rows.retain(|(time, _)| *time >= least);
            }
            Start::Partition => {}
        }
        self.partitions.insert(key, partition);
        Ok(results)
    }

    /// Forgets partitions whose rows no later row reaches.
    fn sweep(&mut self, watermark: i64) {
        let Start::Millis(millis) = self.plan.start else { return };
        if self.partitions.len() < self.sweep_at {
            return;
        }
        let reached = |partition: &Partition| {
            let newest = partition.rows.back();
            newest.is_some_and(|(time, _)| time.saturating_add(millis) >= watermark)
        };
        self.partitions.retain(|_, partition| reached(partition));
        self.sweep_at = self.partitions.len().saturating_mul(2).max(1024);
    }

    fn sorted(&self) -> Vec<&Partition> {
        let mut partitions: Vec<_> = self.partitions.iter().collect();
        partitions.sort_by(|a, b| a.0.cmp(b.0));
        partitions.into_iter().map(|(_, partition)| partition).collect()
    }

    fn running_table(&self) -> Result<Option<RecordBatch>, Error> {
        let mut batches = Vec::new();
        for (keys, accumulators) in self
            .sorted()
            .into_iter()
            .filter_map(|partition| partition.running.as_ref())
        {
            let mut columns = keys.clone();
            // A table without columns has no rows.
            columns.push(Arc::new(Int64Array::from(vec![1])));
            for accumulator in accumulators {
                columns.extend(accumulator.state()?);
            }
            let fields = columns.iter().enumerate();
            let fields: Vec<Field> = fields
                .map(|(number, column)| Field::new(format!("c{number}"), column.data_type().clone(), true))
                .collect();
            batches.push(table(&Arc::new(Schema::new(fields)), columns, 1)?);
        }
        Ok(match batches.first() {
            None => None,
            Some(first) => Some(compute::concat_batches(first.schema_ref(), &batches)?),
        })
    }

    fn restore_running(&mut self, state: &RecordBatch) -> Result<(), Error> {
        let width = self.plan.partition.len();
        let fields = self
            .plan
            .partition
            .iter()
            .map(|column| self.plan.input.field(*column).clone());
        let schema: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let places: Vec<usize> = (0..width).collect();
        let keys = Keys::new(&schema, &places, &vec![true; width])?;
        let key_table = table(&schema, state.columns()[..width].to_vec(), state.num_rows())?;
        for (row, key) in keys.of(&key_table)?.into_iter().enumerate() {
            let Some(key) = key else { continue };
            let mut left = &state.columns()[width + 1..];
            let mut accumulators = self.accumulators()?;
            for accumulator in &mut accumulators {
                let own_width = accumulator.state()?.len();
                if left.len() < own_width {
                    return Err(Error::runtime("the checkpoint's OVER state has too few columns"));
                }
                let (own, others) = left.split_at(own_width);
                left = others;
                let own: Vec<ArrayRef> = own.iter().map(|column| column.slice(row, 1)).collect();
                accumulator.merge(&[0], 1, &own)?;
            }
            let columns = key_table.slice(row, 1).columns().to_vec();
            self.partitions.entry(key).or_default().running = Some((columns, accumulators));
        }
        Ok(())
    }
}

/// Adds the chosen rows of a batch of `rows` to groups.
fn add(
    accumulators: &mut Accumulators,
    args: &[Arguments],
    chosen: &[u32],
    numbers: &[u32],
    total: usize,
    rows: usize,
) -> Result<(), Error> {
    for (accumulator, args) in accumulators.iter_mut().zip(args) {
        let (numbers, columns) = args.choose_any(chosen, numbers, rows)?;
        accumulator.update(&numbers, total, &columns)?;
    }
    Ok(())
}

impl Operator for Over {
    fn on_event(&mut self, event: Event, out: &mut Vec<Event>) -> Result<(), Error> {
        match event {
            Event::Rows(rows) if rows.is_empty() => {}
            Event::Rows(rows) => out.push(Event::Rows(self.rows(&rows)?)),
            Event::Watermark(watermark) => {
                self.sweep(watermark);
                out.push(Event::Watermark(watermark));
            }
            other => out.push(other),
        }
        Ok(())
    }

    fn snapshot(&self) -> Result<Snapshot, Error> {
        let table = match self.plan.start {
            Start::Partition => self.running_table()?,
            _ => {
                let rows: Vec<&Kept> = self
                    .sorted()
                    .into_iter()
                    .flat_map(|p| &p.rows)
                    .map(|(_, row)| row)
                    .collect();
                Some(self.codec.batch(rows.into_iter().map(AsRef::as_ref))?)
            }
        };
        Ok(Snapshot {
            table,
            ..Snapshot::default()
        })
    }

    fn restore(&mut self, snapshots: &[Snapshot], keep: &Keep<'_>, _first: bool) -> Result<(), Error> {
        let width = self.plan.partition.len();
        for state in snapshots.iter().filter_map(|snapshot| snapshot.table.as_ref()) {
            let running = self.plan.start == Start::Partition;
            let keys = match running {
                true => state.columns().get(..width).unwrap_or_default().to_vec(),
                false => self.keys.columns(state),
            };
            let own = if keys.is_empty() {
                state.clone()
            } else {
                compute::filter_record_batch(state, &keep(&keys)?)?
            };
            if running {
                self.restore_running(&own)?;
                continue;
            }
            let times = self.times(&own)?;
            let encoded = self.codec.encode(&own)?;
            for (row, key) in self.keys.of(&own)?.into_iter().enumerate() {
                let Some(key) = key else { continue };
                let kept = Arc::new(encoded.row(row).owned());
                self.partitions
                    .entry(key)
                    .or_default()
                    .rows
                    .push_back((times.value(row), kept));
            }
        }
        Ok(())
    }
}
