//! Joins of rows whose times are near each other.
//!
//! A row waits for partners as long as the watermark lets them come, and goes out with NULLs beside it, where its side is outer,
//! when it is removed without one. So inputs that only insert give a result that only inserts.
//!
//! When exactly a row is removed decides which late rows still find it, so it follows Flink: rows of a key go when a timer of the
//! key fires, half the interval after the first of them has expired, or earlier, when a row of the other side passes by.
//!
//! State is one table: the key, the side, whether the row has had a partner, the columns of both sides (those of the other side
//! NULL). Timers are set again from the rows.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{
    Array, AsArray, BooleanArray, Int8Array, RecordBatch, TimestampMillisecondArray, UInt32Array, new_null_array,
};
use arrow::compute;
use arrow::datatypes::{Field, Int8Type, Schema, SchemaRef};
use arrow::row::OwnedRow;

use super::assign::millis;
use super::calc::{boolean, table};
use super::join::JoinKind;
use super::row_codec::{Kept, Keys, RowCodec};
use super::{Event, Keep, Operator, Rows, Snapshot};
use crate::Error;
use crate::expression::Expr;
use crate::time::{END, NONE};

const LEFT: usize = 0;
const RIGHT: usize = 1;
/// Rows of a batch that goes out.
const BATCH_ROWS: usize = 8192;

/// What an interval join does.
#[derive(Debug, Clone)]
pub struct Plan {
    pub kind: JoinKind,
    pub keys: [Vec<usize>; 2],
    pub null_safe: Vec<bool>,
    /// What else must hold, over the columns of the left and then of the right side.
    pub condition: Option<Expr>,
    pub inputs: [SchemaRef; 2],
    pub schema: SchemaRef,
    /// The columns that hold the times.
    pub times: [usize; 2],
    /// The least and the greatest time of the left row minus that of the right one, in milliseconds.
    pub bounds: (i64, i64),
}

struct Entry {
    row: Kept,
    emitted: bool,
}

type Key = Box<[u8]>;
type Change = [Option<Kept>; 2];

/// The rows of one side, by key and time, and the timers that remove them.
#[derive(Default)]
struct Side {
    rows: HashMap<Key, BTreeMap<i64, Vec<Entry>>>,
    timers: BTreeSet<(i64, Key)>,
    timer_of: HashMap<Key, i64>,
    /// Rows up to this time were expired when it was last looked at.
    expired: i64,
}

pub struct IntervalJoin {
    plan: Plan,
    keys: [Keys; 2],
    codecs: [RowCodec; 2],
    pairs: SchemaRef,
    sides: [Side; 2],
    /// How long a row of each side waits beyond its own time.
    waits: [i64; 2],
    watermark: i64,
}

impl IntervalJoin {
    pub fn new(plan: Plan) -> Result<Self, Error> {
        let [left, right] = &plan.inputs;
        let keys = [
            Keys::new(left, &plan.keys[LEFT], &plan.null_safe)?,
            Keys::new(right, &plan.keys[RIGHT], &plan.null_safe)?,
        ];
        let codecs = [RowCodec::new(left)?, RowCodec::new(right)?];
        let fields = left.fields().iter().chain(right.fields()).enumerate();
        let fields: Vec<Field> = fields
            .map(|(index, field)| Field::new(format!("c{index}"), field.data_type().clone(), true))
            .collect();
        Ok(Self {
            pairs: Arc::new(Schema::new(fields)),
            waits: [plan.bounds.0.saturating_neg(), plan.bounds.1],
            plan,
            keys,
            codecs,
            sides: [Side::default(), Side::default()],
            watermark: NONE,
        })
    }

    /// The watermark as the time of the operator; before the first one it is 1970.
    fn now(&self) -> i64 {
        self.watermark.max(0)
    }

    /// Up to which time rows of a side have expired.
    fn expiry(&self, side: usize) -> i64 {
        match self.now() {
            END => END,
            now => now.saturating_sub(self.waits[side]).saturating_sub(1),
        }
    }

    fn rows(&mut self, rows: &Rows, out: &mut Vec<Change>) -> Result<(), Error> {
        let side = usize::from(rows.side.min(1));
        let keys = self.keys[side].of(&rows.batch)?;
        let encoded = self.codecs[side].encode(&rows.batch)?;
        let times: TimestampMillisecondArray = millis(rows.batch.column(self.plan.times[side]))?;
        for (number, key) in keys.into_iter().enumerate() {
            self.advance(rows.before.at(number), out);
            let row = Arc::new(encoded.row(number).owned());
            match key {
                Some(key) if times.is_valid(number) => self.row(side, key, times.value(number), row, out)?,
                _ => self.alone(side, row, out),
            }
        }
        Ok(())
    }

    fn row(&mut self, side: usize, key: Key, time: i64, row: Kept, out: &mut Vec<Change>) -> Result<(), Error> {
        let other = 1 - side;
        let (from, to) = (
            time.saturating_sub(self.waits[other]),
            time.saturating_add(self.waits[side]),
        );
        let mut emitted = false;
        if self.sides[other].expired < to {
            self.sides[other].expired = self.expiry(other);
            emitted = self.pair(side, &key, &row, from, to, out)?;
            self.remove(other, &key, out);
        }
        if self.now() < to {
            let own = &mut self.sides[side];
            let entry = Entry { row, emitted };
            own.rows
                .entry(key.clone())
                .or_default()
                .entry(time)
                .or_default()
                .push(entry);
            if !own.timer_of.contains_key(&key) {
                self.set_timer(side, key, time);
            }
        } else if !emitted {
            self.alone(side, row, out);
        }
        Ok(())
    }

    /// Pairs a row with those of the other side between two times.
    fn pair(
        &mut self,
        side: usize,
        key: &Key,
        row: &Kept,
        from: i64,
        to: i64,
        out: &mut Vec<Change>,
    ) -> Result<bool, Error> {
        let other = 1 - side;
        let Some(rows) = self.sides[other].rows.get_mut(key) else {
            return Ok(false);
        };
        if from > to {
            return Ok(false);
        }
        let mut entries: Vec<&mut Entry> = rows.range_mut(from..=to).flat_map(|(_, entries)| entries).collect();
        if entries.is_empty() {
            return Ok(false);
        }
        let matched: Option<BooleanArray> = match &self.plan.condition {
            None => None,
            Some(condition) => {
                let own = self.codecs[side].decode(entries.iter().map(|_| Some(row.as_ref())))?;
                let others = self.codecs[other].decode(entries.iter().map(|entry| Some(entry.row.as_ref())))?;
                let columns = if side == LEFT { [own, others] } else { [others, own] }.concat();
                Some(boolean(condition, &table(&self.pairs, columns, entries.len())?)?)
            }
        };
        let mut emitted = false;
        for (number, entry) in entries.iter_mut().enumerate() {
            if matched
                .as_ref()
                .is_some_and(|mask| !(mask.is_valid(number) && mask.value(number)))
            {
                continue;
            }
            emitted = true;
            entry.emitted = true;
            let mut pair = [Some(Arc::clone(row)), Some(Arc::clone(&entry.row))];
            if side == RIGHT {
                pair.reverse();
            }
            out.push(pair);
        }
        Ok(emitted)
    }

    fn is_outer(&self, side: usize) -> bool {
        match self.plan.kind {
            JoinKind::Left => side == LEFT,
            JoinKind::Right => side == RIGHT,
            JoinKind::Full => true,
            _ => false,
        }
    }

    /// A row that has had no partner and gets none.
    fn alone(&self, side: usize, row: Kept, out: &mut Vec<Change>) {
        if self.is_outer(side) {
            let mut change = [None, None];
            change[side] = Some(row);
            out.push(change);
        }
    }

    /// Removes the rows of a key that have expired.
    fn remove(&mut self, side: usize, key: &Key, out: &mut Vec<Change>) {
        let expired = self.sides[side].expired;
        let Some(rows) = self.sides[side].rows.get_mut(key) else {
            return;
        };
        let kept = match expired.checked_add(1) {
            Some(first) => rows.split_off(&first),
            None => BTreeMap::new(),
        };
        let removed = std::mem::replace(rows, kept);
        if rows.is_empty() {
            self.sides[side].rows.remove(key);
        }
        for entry in removed.into_values().flatten().filter(|entry| !entry.emitted) {
            self.alone(side, entry.row, out);
        }
    }

    /// Rows of this key are looked at again some time after the one of `time` expires.
    fn set_timer(&mut self, side: usize, key: Key, time: i64) {
        let slack = self.waits[LEFT].saturating_add(self.waits[RIGHT]) / 2;
        let at = time
            .saturating_add(self.waits[side])
            .saturating_add(slack)
            .saturating_add(1);
        let own = &mut self.sides[side];
        own.timers.insert((at, key.clone()));
        own.timer_of.insert(key, at);
    }

    /// Fires the timers up to a watermark.
    fn advance(&mut self, watermark: i64, out: &mut Vec<Change>) {
        if watermark <= self.watermark {
            return;
        }
        self.watermark = watermark;
        for side in [LEFT, RIGHT] {
            while self.sides[side].timers.first().is_some_and(|(at, _)| *at <= watermark) {
                let Some((_, key)) = self.sides[side].timers.pop_first() else {
                    break;
                };
                self.sides[side].timer_of.remove(&key);
                self.sides[side].expired = self.expiry(side);
                self.remove(side, &key, out);
                let first = self.sides[side]
                    .rows
                    .get(&key)
                    .and_then(|rows| rows.keys().next().copied());
                if let Some(first) = first {
                    self.set_timer(side, key, first);
                }
            }
        }
    }

    fn emit(&self, changes: &[Change], out: &mut Vec<Event>) -> Result<(), Error> {
        for part in changes.chunks(BATCH_ROWS) {
            let mut columns = self.codecs[LEFT].decode(part.iter().map(|change| change[LEFT].as_deref()))?;
            columns.extend(self.codecs[RIGHT].decode(part.iter().map(|change| change[RIGHT].as_deref()))?);
            let batch = table(&self.plan.schema, columns, part.len())?;
            out.push(Event::Rows(Rows::fired(batch, self.watermark)));
        }
        Ok(())
    }

    fn state_batch(&self, side: usize) -> Result<RecordBatch, Error> {
        let mut keys: Vec<_> = self.sides[side].rows.iter().collect();
        keys.sort_by(|a, b| a.0.cmp(b.0));
        let entries: Vec<&Entry> = keys.into_iter().flat_map(|(_, rows)| rows.values().flatten()).collect();
        let rows: Vec<&OwnedRow> = entries.iter().map(|entry| entry.row.as_ref()).collect();
        let own = self.codecs[side].batch(rows.into_iter())?;
        let count = entries.len();
        let mut columns = self.keys[side].columns(&own);
        columns.push(Arc::new(Int8Array::from(vec![side as i8; count])));
        columns.push(Arc::new(
            entries
                .iter()
                .map(|entry| Some(entry.emitted))
                .collect::<BooleanArray>(),
        ));
        for of in [LEFT, RIGHT] {
            if of == side {
                columns.extend(own.columns().iter().cloned());
            } else {
                let fields = self.codecs[of].schema().fields().iter();
                columns.extend(fields.map(|field| new_null_array(field.data_type(), count)));
            }
        }
        let fields: Vec<Field> = columns
            .iter()
            .enumerate()
            .map(|(index, column)| Field::new(format!("c{index}"), column.data_type().clone(), true))
            .collect();
        table(&Arc::new(Schema::new(fields)), columns, count)
    }

    fn restore_rows(&mut self, state: &RecordBatch) -> Result<(), Error> {
        let other_form = || Error::runtime("the checkpoint's interval join has another form than this program's");
        let from = self.plan.keys[LEFT].len();
        let widths = [
            self.plan.inputs[LEFT].fields().len(),
            self.plan.inputs[RIGHT].fields().len(),
        ];
        if state.num_columns() != from + 2 + widths[LEFT] + widths[RIGHT] {
            return Err(other_form());
        }
        let sides = state
            .column(from)
            .as_primitive_opt::<Int8Type>()
            .ok_or_else(other_form)?;
        let emitted = state.column(from + 1).as_boolean_opt().ok_or_else(other_form)?;
        for side in [LEFT, RIGHT] {
            let chosen = (0..state.num_rows()).filter(|row| sides.value(*row) == side as i8);
            let chosen: UInt32Array = chosen.map(|row| row as u32).collect::<Vec<_>>().into();
            let first = from + 2 + if side == LEFT { 0 } else { widths[LEFT] };
            let columns = state.columns()[first..first + widths[side]].to_vec();
            let all = table(&self.plan.inputs[side], columns, state.num_rows())?;
            let own = compute::take_record_batch(&all, &chosen)?;
            let keys = self.keys[side].of(&own)?;
            let encoded = self.codecs[side].encode(&own)?;
            let times = millis(own.column(self.plan.times[side]))?;
            for (row, key) in keys.into_iter().enumerate() {
                let Some(key) = key else { continue };
                let entry = Entry {
                    row: Arc::new(encoded.row(row).owned()),
                    emitted: emitted.value(chosen.value(row) as usize),
                };
                let time = times.value(row);
                self.sides[side]
                    .rows
                    .entry(key.clone())
                    .or_default()
                    .entry(time)
                    .or_default()
                    .push(entry);
                if !self.sides[side].timer_of.contains_key(&key) {
                    self.set_timer(side, key, time);
                }
            }
        }
        Ok(())
    }
}

impl Operator for IntervalJoin {
    fn on_event(&mut self, event: Event, out: &mut Vec<Event>) -> Result<(), Error> {
        let mut changes = Vec::new();
        match event {
            Event::Rows(rows) => {
                self.rows(&rows, &mut changes)?;
                self.emit(&changes, out)?;
            }
            Event::Watermark(watermark) => {
                self.advance(watermark, &mut changes);
                self.emit(&changes, out)?;
                out.push(Event::Watermark(watermark));
            }
            Event::End => {
                self.advance(END, &mut changes);
                self.emit(&changes, out)?;
                out.push(Event::End);
            }
            other => out.push(other),
        }
        Ok(())
    }

    fn snapshot(&self) -> Result<Snapshot, Error> {
        let batches = [self.state_batch(LEFT)?, self.state_batch(RIGHT)?];
        let mut snapshot = Snapshot {
            table: Some(compute::concat_batches(&batches[0].schema(), &batches)?),
            ..Snapshot::default()
        };
        snapshot.facts.insert("watermark".into(), self.watermark.into());
        snapshot
            .facts
            .insert("expired left".into(), self.sides[LEFT].expired.into());
        snapshot
            .facts
            .insert("expired right".into(), self.sides[RIGHT].expired.into());
        Ok(snapshot)
    }

    fn restore(&mut self, snapshots: &[Snapshot], keep: &Keep<'_>, _first: bool) -> Result<(), Error> {
        for state in snapshots.iter().filter_map(|snapshot| snapshot.table.as_ref()) {
            let keys = state
                .columns()
                .get(..self.plan.keys[LEFT].len())
                .unwrap_or_default()
                .to_vec();
            let own = if keys.is_empty() {
                state.clone()
            } else {
                compute::filter_record_batch(state, &keep(&keys)?)?
            };
            self.restore_rows(&own)?;
        }
        for snapshot in snapshots {
            self.watermark = self.watermark.max(snapshot.watermark());
            for (side, name) in [(LEFT, "expired left"), (RIGHT, "expired right")] {
                let expired = snapshot.facts.get(name).and_then(serde_json::Value::as_i64);
                self.sides[side].expired = self.sides[side].expired.max(expired.unwrap_or(0));
            }
        }
        Ok(())
    }
}
