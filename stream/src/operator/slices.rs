//! HOP and CUMULATE aggregated by slices.
//!
//! A row of HOP(10 s, 1 day) is in 8,640 windows. Copying it into each would cost as many times the memory and the work, so
//! its values are added once, to the *slice* of ten seconds that it falls into, and a window is put together from its slices
//! when it fires. CUMULATE keeps the sum of the window that grows; HOP keeps the sums of all ends of the older slices, so
//! that each window costs two merges (the two-stacks scheme: Tangwongsan, Hirzel, Schneider, "Low-Latency Sliding-Window
//! Aggregation in Worst-Case Constant Time", 2017).
//!
//! - A window fires once, when the watermark passes its end; rows of its slices that come later count for later windows.
//! - A row is late when its last window has fired.
//! - Which rows are in a window is decided by the watermark that each row met, whatever the batches: before a row is added,
//!   the windows that had fired when it came are fired.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, TimestampMillisecondArray, UInt32Array};
use arrow::compute;
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use arrow::row::{OwnedRow, RowConverter, Rows as KeyRows, SortField};

use super::aggregate::{Arguments, Groups, Part, Plan, Slices, arguments};
use super::assign::millis;
use super::calc::table;
use super::{Counters, Event, Keep, Operator, Rows, Snapshot};
use crate::Error;
use crate::sql::data_type::UTC;
use crate::time::window::{Windows, fires_at, start_of, to_instant, to_local};
use crate::time::{END, NONE, Zone};

/// Marks the rows of a state table that belong to the window that grows.
const GROWING: i64 = i64::MIN;

pub struct SlicedAggregate {
    plan: Plan,
    slices: Slices,
    shape: Shape,
    converter: RowConverter,
    /// By the slice's end.
    groups: BTreeMap<i64, Groups>,
    /// Of CUMULATE: the start of the window that grows, and what it has so far.
    growing: Option<(i64, Groups)>,
    /// Of HOP.
    sums: Sums,
    /// No window that ends before this fires any more.
    cursor: i64,
    watermark: i64,
    counters: Counters,
}

/// How windows are made of slices.
#[derive(Clone, Copy)]
struct Shape {
    step: i64,
    size: i64,
    offset: i64,
    cumulates: bool,
}

/// Sums over slices that a window needs again and again.
#[derive(Default)]
struct Sums {
    /// For the end of a slice, the sum from there to `front_last`.
    front: BTreeMap<i64, Groups>,
    front_last: Option<i64>,
    /// The sum of the slices behind `front_last`, up to `back_last`.
    back: Option<Groups>,
    back_last: Option<i64>,
}

impl Shape {
    fn of(windows: Windows) -> Option<Self> {
        match windows {
            Windows::Tumble { .. } => None,
            Windows::Hop { slide, size, offset } => Some(Self {
                step: slide,
                size,
                offset,
                cumulates: false,
            }),
            Windows::Cumulate { step, size, offset } => Some(Self {
                step,
                size,
                offset,
                cumulates: true,
            }),
        }
    }

    fn slice_end(&self, time: i64) -> i64 {
        start_of(time, self.offset, self.step) + self.step
    }

    /// The start of the largest window of CUMULATE that holds a slice.
    fn start(&self, slice_end: i64) -> i64 {
        start_of(slice_end - 1, self.offset, self.size)
    }

    /// The least end of a window that has not fired at `watermark`.
    fn first_open(&self, watermark: i64, zone: Option<Zone>) -> i64 {
        let local = zone.map_or(watermark, |zone| to_local(watermark, zone));
        let mut end = start_of(local + 1, self.offset, self.step) + self.step;
        // Where a zone's clock jumps, the estimate may be some windows off.
        while fires_at(end, zone) <= watermark {
            end += self.step;
        }
        while fires_at(end - self.step, zone) > watermark {
            end -= self.step;
        }
        end
    }

    /// The end of the last window that holds a slice.
    fn last_end(&self, slice_end: i64) -> i64 {
        if self.cumulates {
            self.start(slice_end) + self.size
        } else {
            slice_end + self.size - self.step
        }
    }
}

impl SlicedAggregate {
    pub fn new(plan: Plan, slices: Slices) -> Result<Self, Error> {
        let shape = Shape::of(slices.windows).ok_or_else(|| Error::unsupported("TUMBLE has no slices"))?;
        let mut fields = vec![None; plan.keys.len()];
        for (part, field) in slices.layout.iter().zip(plan.schema.fields()) {
            if let Part::Key(key) = part {
                fields[*key] = Some(SortField::new(field.data_type().clone()));
            }
        }
        let converter = RowConverter::new(fields.into_iter().flatten().collect())
            .map_err(|error| Error::unsupported(format!("GROUP BY a column of this type ({error})")))?;
        Ok(Self {
            plan,
            slices,
            shape,
            converter,
            groups: BTreeMap::new(),
            growing: None,
            sums: Sums::default(),
            cursor: NONE,
            watermark: NONE,
            counters: Counters::default(),
        })
    }

    fn rows(&mut self, rows: &Rows, out: &mut Vec<Event>) -> Result<(), Error> {
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
        let times = millis(rows.batch.column(self.slices.time))?;
        let mut run: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
        let mut checked = self.watermark;
        for row in 0..rows.len() {
            // Flink's window functions drop rows without a time.
            if times.is_null(row) {
                continue;
            }
            let time = times.value(row);
            let time = self.plan.zone.map_or(time, |zone| to_local(time, zone));
            let end = self.shape.slice_end(time);
            let before = rows.before.at(row).max(self.watermark);
            if before >= fires_at(self.shape.last_end(end), self.plan.zone) {
                self.counters.late_rows += 1;
                continue;
            }
            if before > checked {
                checked = before;
                let first = run.keys().next().copied();
                if self
                    .next_end(first)
                    .is_some_and(|end| fires_at(end, self.plan.zone) <= before)
                {
                    self.add(std::mem::take(&mut run), rows.len(), key_rows.as_ref(), &args)?;
                }
                self.fire(before, out)?;
            }
            run.entry(end).or_default().push(row as u32);
        }
        self.add(run, rows.len(), key_rows.as_ref(), &args)
    }

    fn add(
        &mut self,
        run: BTreeMap<i64, Vec<u32>>,
        rows: usize,
        keys: Option<&KeyRows>,
        args: &[Arguments],
    ) -> Result<(), Error> {
        for (end, chosen) in run {
            self.sums.add(end, keys, &chosen, rows, args)?;
            let groups = match self.groups.entry(end) {
                std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::btree_map::Entry::Vacant(entry) => entry.insert(Groups::new(&self.plan.calls)?),
            };
            groups.update(keys, &chosen, rows, args)?;
        }
        Ok(())
    }

    /// The end of the next window that has rows; `further` is the first slice of rows that have not been added.
    fn next_end(&self, further: Option<i64>) -> Option<i64> {
        let first = self.groups.keys().next().copied();
        let first = first.into_iter().chain(further).min();
        match &self.growing {
            Some(_) => Some(self.cursor),
            None => first.map(|first| first.max(self.cursor)),
        }
    }

    /// Fires the windows that may fire at `watermark`.
    fn fire(&mut self, watermark: i64, out: &mut Vec<Event>) -> Result<(), Error> {
        loop {
            self.forget();
            let Some(end) = self.next_end(None) else { break };
            if fires_at(end, self.plan.zone) > watermark {
                break;
            }
            let rows = if self.shape.cumulates {
                self.cumulated(end)?
            } else {
                self.hopped(end)?
            };
            self.counters.windows += rows.len() as u64;
            if !rows.is_empty() {
                out.push(Event::Rows(rows));
            }
            self.cursor = end + self.shape.step;
        }
        // What has no rows yet has fired too: rows that come now are not for it.
        if watermark > NONE && watermark < END {
            self.cursor = self.cursor.max(self.shape.first_open(watermark, self.plan.zone));
        }
        self.watermark = self.watermark.max(watermark);
        Ok(())
    }

    /// Drops the slices whose last window has fired.
    fn forget(&mut self) {
        while let Some(entry) = self.groups.first_entry() {
            if self.shape.last_end(*entry.key()) >= self.cursor {
                break;
            }
            entry.remove();
        }
    }

    fn cumulated(&mut self, end: i64) -> Result<Rows, Error> {
        let start = self.shape.start(end);
        let (_, mut sum) = match self.growing.take() {
            Some(growing) => growing,
            None => (start, Groups::new(&self.plan.calls)?),
        };
        // Also slices that came behind their own window.
        let later = self.groups.split_off(&(end + 1));
        for groups in std::mem::replace(&mut self.groups, later).values() {
            sum.absorb(groups)?;
        }
        let rows = self.window(start, end, &sum)?;
        if end < start + self.shape.size {
            self.growing = Some((start, sum));
        }
        Ok(rows)
    }

    fn hopped(&mut self, end: i64) -> Result<Rows, Error> {
        let from = end - self.shape.size + 1;
        if !self.sums.holds(from) {
            self.sums = Sums::default();
            let mut sum: Option<Groups> = None;
            // The newest slices stay in the sum behind: it takes rows that come to them late without much ado.
            let front_last = end - (self.shape.size / 8 / self.shape.step).max(1) * self.shape.step;
            for (slice, groups) in self.groups.range(from..=front_last.max(from)).rev() {
                let mut next = Groups::new(&self.plan.calls)?;
                next.absorb(groups)?;
                if let Some(sum) = &sum {
                    next.absorb(sum)?;
                }
                self.sums.front.insert(*slice, next.copy(&self.plan.calls)?);
                sum = Some(next);
            }
            self.sums.front_last = Some(front_last);
            self.sums.back_last = Some(front_last.max(from));
        }
        let mut back = match self.sums.back.take() {
            Some(back) => back,
            None => Groups::new(&self.plan.calls)?,
        };
        let behind = self.sums.back_last.unwrap_or(NONE).saturating_add(1).max(from);
        if behind <= end {
            for (_, groups) in self.groups.range(behind..=end) {
                back.absorb(groups)?;
            }
        }
        self.sums.back_last = Some(end);
        let rows = match self.sums.front.range(from..).next() {
            Some((_, front)) => {
                let mut sum = front.copy(&self.plan.calls)?;
                sum.absorb(&back)?;
                self.window(end - self.shape.size, end, &sum)?
            }
            None => self.window(end - self.shape.size, end, &back)?,
        };
        self.sums.back = Some(back);
        let rest = self.sums.front.split_off(&(from + self.shape.step));
        self.sums.front = rest;
        Ok(rows)
    }

    /// The rows of a window that fires.
    fn window(&self, start: i64, end: i64, groups: &Groups) -> Result<Rows, Error> {
        let keys = self.key_columns(groups)?;
        let of = |value: i64| -> ArrayRef { Arc::new(TimestampMillisecondArray::from(vec![value; groups.len])) };
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.plan.schema.fields().len());
        for part in &self.slices.layout {
            columns.push(match part {
                Part::Start => of(start),
                Part::End => of(end),
                Part::Time => match self.plan.zone {
                    None => of(end - 1),
                    Some(zone) => {
                        let times = vec![to_instant(end - 1, zone); groups.len];
                        Arc::new(TimestampMillisecondArray::from(times).with_timezone(UTC))
                    }
                },
                Part::Key(key) => Arc::clone(&keys[*key]),
            });
        }
        for accumulator in &groups.accumulators {
            columns.push(accumulator.evaluate()?);
        }
        Ok(Rows::fired(
            table(&self.plan.schema, columns, groups.len)?,
            self.watermark,
        ))
    }

    fn key_columns(&self, groups: &Groups) -> Result<Vec<ArrayRef>, Error> {
        if self.plan.keys.is_empty() {
            return Ok(Vec::new());
        }
        Ok(self.converter.convert_rows(groups.keys.iter().map(OwnedRow::row))?)
    }

    /// The keys, the slice's end, and each accumulator's columns.
    fn state_of(&self, end: i64, groups: &Groups) -> Result<RecordBatch, Error> {
        let mut columns = self.key_columns(groups)?;
        columns.push(Arc::new(Int64Array::from(vec![end; groups.len])));
        for accumulator in &groups.accumulators {
            columns.extend(accumulator.state()?);
        }
        let fields: Vec<Field> = columns
            .iter()
            .enumerate()
            .map(|(number, column)| Field::new(format!("c{number}"), column.data_type().clone(), true))
            .collect();
        table(&Arc::new(Schema::new(fields)), columns, groups.len)
    }

    fn restore_table(&mut self, state: &RecordBatch) -> Result<(), Error> {
        let keys = self.plan.keys.len();
        let damaged = || Error::runtime("the checkpoint's state of a window has another form than this program's");
        let (key_columns, rest) = state.columns().split_at_checked(keys).ok_or_else(damaged)?;
        let (ends, states) = rest.split_first().ok_or_else(damaged)?;
        if *ends.data_type() != DataType::Int64 {
            return Err(damaged());
        }
        let ends = ends.as_primitive::<Int64Type>();
        let key_rows = if keys == 0 {
            None
        } else {
            Some(self.converter.convert_columns(key_columns)?)
        };
        let mut by_slice: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
        for row in 0..state.num_rows() {
            by_slice.entry(ends.value(row)).or_default().push(row as u32);
        }
        for (end, chosen) in by_slice {
            let mut groups = Groups::new(&self.plan.calls)?;
            let numbers = groups.intern(key_rows.as_ref(), &chosen);
            let total = groups.len;
            let indices = UInt32Array::from(chosen);
            let mut left = states;
            for accumulator in &mut groups.accumulators {
                let width = accumulator.state()?.len();
                let (own, others) = left.split_at_checked(width).ok_or_else(damaged)?;
                left = others;
                let own: Vec<ArrayRef> = own
                    .iter()
                    .map(|column| compute::take(column, &indices, None))
                    .collect::<Result<_, _>>()?;
                accumulator.merge(&numbers, total, &own)?;
            }
            if end == GROWING {
                let start = self.growing.as_ref().map_or(NONE, |(start, _)| *start);
                self.growing = Some((start, groups));
            } else {
                self.groups.insert(end, groups);
            }
        }
        Ok(())
    }
}

impl Sums {
    /// Whether the sums cover a window that begins behind `from`.
    fn holds(&self, from: i64) -> bool {
        self.front_last.is_some_and(|last| from <= last)
    }

    /// Rows have come to a slice: a sum that holds it takes them too, or is void.
    fn add(
        &mut self,
        slice_end: i64,
        keys: Option<&KeyRows>,
        chosen: &[u32],
        rows: usize,
        args: &[Arguments],
    ) -> Result<(), Error> {
        if self.back_last.is_none_or(|last| slice_end > last) {
            return Ok(());
        }
        match &mut self.back {
            Some(back) if self.front_last.is_none_or(|last| slice_end > last) => back.update(keys, chosen, rows, args),
            _ => {
                *self = Self::default();
                Ok(())
            }
        }
    }
}

impl Operator for SlicedAggregate {
    fn on_event(&mut self, event: Event, out: &mut Vec<Event>) -> Result<(), Error> {
        match event {
            Event::Rows(rows) => self.rows(&rows, out)?,
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
        let mut batches = Vec::new();
        for (end, groups) in &self.groups {
            batches.push(self.state_of(*end, groups)?);
        }
        let mut snapshot = Snapshot {
            counters: self.counters,
            ..Snapshot::default()
        };
        if let Some((start, groups)) = &self.growing {
            batches.push(self.state_of(GROWING, groups)?);
            snapshot.facts.insert("growing".into(), (*start).into());
        }
        snapshot.facts.insert("watermark".into(), self.watermark.into());
        snapshot.facts.insert("cursor".into(), self.cursor.into());
        if let Some(first) = batches.first() {
            snapshot.table = Some(compute::concat_batches(&first.schema(), &batches)?);
        }
        Ok(snapshot)
    }

    fn restore(&mut self, snapshots: &[Snapshot], keep: &Keep<'_>, first: bool) -> Result<(), Error> {
        let fact = |snapshot: &Snapshot, name: &str| snapshot.facts.get(name).and_then(serde_json::Value::as_i64);
        for snapshot in snapshots {
            // All subtasks had met the same watermark, so all had fired the same windows.
            self.watermark = self.watermark.max(fact(snapshot, "watermark").unwrap_or(NONE));
            self.cursor = self.cursor.max(fact(snapshot, "cursor").unwrap_or(NONE));
            if let Some(start) = fact(snapshot, "growing") {
                self.growing = Some((start, Groups::new(&self.plan.calls)?));
            }
            if first {
                self.counters.add(snapshot.counters);
            }
        }
        let tables: Vec<&RecordBatch> = snapshots
            .iter()
            .filter_map(|snapshot| snapshot.table.as_ref())
            .collect();
        if let Some(any) = tables.first() {
            let all = compute::concat_batches(any.schema_ref(), tables.iter().copied())?;
            let keys = all.columns()[..self.plan.keys.len()].to_vec();
            let own = if keys.is_empty() {
                all
            } else {
                compute::filter_record_batch(&all, &keep(&keys)?)?
            };
            self.restore_table(&own)?;
        }
        // Another subtask has all of it.
        if self.growing.as_ref().is_some_and(|(_, groups)| groups.len == 0) {
            self.growing = None;
        }
        Ok(())
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}
