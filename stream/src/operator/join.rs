//! Joins of two inputs.
//!
//! A *regular* join keeps all rows of both inputs by key, and tells a changelog: a row of an outer side that finds no
//! partner goes out with NULLs beside it and is taken back when a partner comes; a row that is taken back takes back the pairs that
//! it is in. Each kept row of an outer, semi or anti side counts its partners, so that the last one to leave is known.
//! A *window* join keeps rows until their window ends, joins each window as a whole and inserts only; a row whose window has
//! ended is late.
//!
//! State is one table: the key, the side, the number of partners, the columns of both sides (those of the other side NULL).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int8Array, RecordBatch, UInt32Array, new_null_array};
use arrow::compute;
use arrow::datatypes::{Field, Int8Type, Schema, SchemaRef, TimestampMillisecondType, UInt32Type};
use arrow::row::OwnedRow;

use super::calc::{boolean, table};
use super::row_codec::{Kept, Keys, RowCodec};
use super::{Counters, Event, Keep, Kinds, Operator, Rows, Snapshot};
use crate::Error;
use crate::expression::Expr;
use crate::functions::next_rows;
use crate::table::RowKind;
use crate::time::window::fires_at;
use crate::time::{END, NONE, Zone};

/// Pairs that are compared at a time: bounds the memory of a hot key.
const PAIRS_MAX: usize = 16_384;
const LEFT: usize = 0;
const RIGHT: usize = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinKind {
    Inner,
    Left,
    Right,
    Full,
    Semi,
    Anti,
}

impl JoinKind {
    /// Whether rows of a side go out also without a partner.
    fn is_outer(self, side: usize) -> bool {
        match self {
            Self::Left => side == LEFT,
            Self::Right => side == RIGHT,
            Self::Full => true,
            Self::Inner | Self::Semi | Self::Anti => false,
        }
    }

    /// Whether the result has the columns of the left side only.
    pub fn is_one_sided(self) -> bool {
        matches!(self, Self::Semi | Self::Anti)
    }
}

/// What a join does.
#[derive(Debug, Clone)]
pub struct Plan {
    pub kind: JoinKind,
    /// The key columns of each side, of the same types.
    pub keys: [Vec<usize>; 2],
    /// Which keys are compared by IS NOT DISTINCT FROM rather than `=`.
    pub null_safe: Vec<bool>,
    /// What else must hold, over the columns of the left and then of the right side.
    pub condition: Option<Expr>,
    pub inputs: [SchemaRef; 2],
    pub schema: SchemaRef,
    /// A window join: the column of each side that holds the window's end, and the windows' zone.
    pub window: Option<([usize; 2], Option<Zone>)>,
}

/// A row that is kept, and how many rows of the other side it is paired with.
struct Entry {
    row: Kept,
    partners: u32,
}

/// A change of the result.
struct Change {
    kind: RowKind,
    sides: [Option<Kept>; 2],
}

type Buckets = HashMap<Box<[u8]>, Vec<Entry>>;

pub struct Join {
    plan: Plan,
    keys: [Keys; 2],
    codecs: [RowCodec; 2],
    pairs: SchemaRef,
    state: [Buckets; 2],
    /// A window join's rows by the end of their window.
    waiting: BTreeMap<i64, [Vec<RecordBatch>; 2]>,
    watermark: i64,
    late: u64,
}

impl Join {
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
            plan,
            keys,
            codecs,
            state: [HashMap::new(), HashMap::new()],
            waiting: BTreeMap::new(),
            watermark: NONE,
            late: 0,
        })
    }

    /// Takes rows of one side.
    fn rows(
        &mut self,
        side: usize,
        batch: &RecordBatch,
        kinds: &Kinds,
        changes: &mut Vec<Change>,
    ) -> Result<(), Error> {
        next_rows();
        let keys = self.keys[side].of(batch)?;
        let encoded = self.codecs[side].encode(batch)?;
        let mut row = 0;
        while row < keys.len() {
            // As many rows as have a bounded number of candidates; the other side's rows stay the same meanwhile.
            let from = row;
            let mut candidates: Vec<(u32, u32)> = Vec::new();
            while row < keys.len() && (row == from || candidates.len() < PAIRS_MAX) {
                let bucket = keys[row].as_ref().and_then(|key| self.state[1 - side].get(key));
                candidates.extend((0..bucket.map_or(0, Vec::len)).map(|entry| (row as u32, entry as u32)));
                row += 1;
            }
            let matched = self.matched(side, batch, &keys, &candidates)?;
            let mut next = 0;
            for (this, key) in keys.iter().enumerate().take(row).skip(from) {
                let mut partners = Vec::new();
                while let Some((_, entry)) = candidates.get(next).filter(|(of, _)| *of as usize == this) {
                    if matched
                        .as_ref()
                        .is_none_or(|mask| mask.is_valid(next) && mask.value(next))
                    {
                        partners.push(*entry as usize);
                    }
                    next += 1;
                }
                let kept = Arc::new(encoded.row(this).owned());
                self.row(side, key.as_deref(), kept, kinds.at(this), &partners, changes);
            }
        }
        Ok(())
    }

    /// Which candidates meet the condition; none if there is no condition.
    fn matched(
        &self,
        side: usize,
        batch: &RecordBatch,
        keys: &[Option<Box<[u8]>>],
        candidates: &[(u32, u32)],
    ) -> Result<Option<BooleanArray>, Error> {
        let Some(condition) = &self.plan.condition else {
            return Ok(None);
        };
        let own = UInt32Array::from_iter_values(candidates.iter().map(|(row, _)| *row));
        let own = compute::take_record_batch(batch, &own)?.columns().to_vec();
        let other = candidates.iter().map(|(row, entry)| {
            let bucket = keys[*row as usize]
                .as_ref()
                .and_then(|key| self.state[1 - side].get(key))?;
            bucket.get(*entry as usize).map(|entry| entry.row.as_ref())
        });
        let other = self.codecs[1 - side].decode(other)?;
        let columns = if side == LEFT { [own, other] } else { [other, own] }.concat();
        let pairs = table(&self.pairs, columns, candidates.len())?;
        Ok(Some(boolean(condition, &pairs)?))
    }

    /// One row and the entries of the other side that it is paired with.
    fn row(
        &mut self,
        side: usize,
        key: Option<&[u8]>,
        row: Kept,
        kind: RowKind,
        partners: &[usize],
        changes: &mut Vec<Change>,
    ) {
        let join = self.plan.kind;
        let adds = kind.adds();
        let (own, others) = match &mut self.state {
            [left, right] if side == LEFT => (left, right),
            [left, right] => (right, left),
        };
        if let Some(key) = key {
            if adds {
                let entry = Entry {
                    row: Arc::clone(&row),
                    partners: partners.len() as u32,
                };
                own.entry(Box::from(key)).or_default().push(entry);
            } else if let Some(bucket) = own.get_mut(key) {
                if let Some(at) = bucket.iter().rposition(|entry| entry.row == row) {
                    bucket.remove(at);
                }
                if bucket.is_empty() {
                    own.remove(key);
                }
            }
        }
        if join.is_one_sided() && side == LEFT {
            if partners.is_empty() == (join == JoinKind::Anti) {
                changes.push(Change::of(kind, LEFT, row));
            }
            return;
        }
        // An outer join tells its changes as inserts and deletes: the row of before and after may have other partners.
        let paired = match (join, adds) {
            (JoinKind::Inner, _) => kind,
            (_, true) => RowKind::Insert,
            (_, false) => RowKind::Delete,
        };
        if partners.is_empty() && join.is_outer(side) {
            changes.push(Change::of(paired, side, Arc::clone(&row)));
        }
        let Some(bucket) = key.and_then(|key| others.get_mut(key)) else {
            return;
        };
        for partner in partners {
            let entry = &mut bucket[*partner];
            let (first, last) = (adds && entry.partners == 0, !adds && entry.partners == 1);
            let alone = first || last;
            entry.partners = if adds {
                entry.partners.saturating_add(1)
            } else {
                entry.partners.saturating_sub(1)
            };
            let other = Arc::clone(&entry.row);
            match join {
                JoinKind::Semi if alone => changes.push(Change::of(kind, LEFT, other)),
                JoinKind::Anti if first => changes.push(Change::of(RowKind::Delete, LEFT, other)),
                JoinKind::Anti if last => changes.push(Change::of(RowKind::Insert, LEFT, other)),
                JoinKind::Semi | JoinKind::Anti => {}
                _ => {
                    let outer = join.is_outer(1 - side);
                    if outer && first {
                        changes.push(Change::of(RowKind::Delete, 1 - side, Arc::clone(&other)));
                    }
                    let mut sides = [Some(Arc::clone(&row)), Some(Arc::clone(&other))];
                    if side == RIGHT {
                        sides.reverse();
                    }
                    changes.push(Change { kind: paired, sides });
                    if outer && last {
                        changes.push(Change::of(RowKind::Insert, 1 - side, other));
                    }
                }
            }
        }
    }

    /// A window join keeps the rows of each window together.
    fn keep(&mut self, rows: &Rows, ends: [usize; 2], zone: Option<Zone>) -> Result<(), Error> {
        let side = usize::from(rows.side.min(1));
        let column = rows.batch.column(ends[side]);
        let times = column.as_primitive::<TimestampMillisecondType>();
        let mut chosen: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
        for row in 0..rows.len() {
            let end = times.value(row);
            if rows.before.at(row).max(self.watermark) >= fires_at(end, zone) {
                self.late += 1;
            } else {
                chosen.entry(end).or_default().push(row as u32);
            }
        }
        for (end, rows_of_window) in chosen {
            let batch = compute::take_record_batch(&rows.batch, &UInt32Array::from(rows_of_window))?;
            self.waiting.entry(end).or_default()[side].push(batch);
        }
        Ok(())
    }

    /// Joins one window as a whole.
    fn window(&mut self, sides: &[Vec<RecordBatch>; 2]) -> Result<Vec<Change>, Error> {
        let mut changes = Vec::new();
        for batch in &sides[RIGHT] {
            self.rows(RIGHT, batch, &Kinds::Inserts, &mut changes)?;
        }
        // What the right side has said before the left one came does not hold.
        changes.clear();
        for batch in &sides[LEFT] {
            self.rows(LEFT, batch, &Kinds::Inserts, &mut changes)?;
        }
        changes.retain(|change| change.kind.adds());
        if self.plan.kind.is_outer(RIGHT) {
            for batch in &sides[RIGHT] {
                // Rows with NULL in their key are in no bucket.
                let keys = self.keys[RIGHT].of(batch)?;
                let encoded = self.codecs[RIGHT].encode(batch)?;
                let unknown = keys.iter().enumerate().filter(|(_, key)| key.is_none());
                changes.extend(
                    unknown.map(|(row, _)| Change::of(RowKind::Insert, RIGHT, Arc::new(encoded.row(row).owned()))),
                );
            }
            let alone = self.state[RIGHT].values().flatten().filter(|entry| entry.partners == 0);
            changes.extend(alone.map(|entry| Change::of(RowKind::Insert, RIGHT, Arc::clone(&entry.row))));
        }
        self.state.iter_mut().for_each(HashMap::clear);
        Ok(changes)
    }

    fn fire(&mut self, watermark: i64, out: &mut Vec<Event>) -> Result<(), Error> {
        if let Some((_, zone)) = self.plan.window {
            while let Some(entry) = self.waiting.first_entry() {
                if watermark != END && fires_at(*entry.key(), zone) > watermark {
                    break;
                }
                let sides = entry.remove();
                let changes = self.window(&sides)?;
                self.emit(&changes, self.watermark, out)?;
            }
        }
        self.watermark = self.watermark.max(watermark);
        Ok(())
    }

    fn emit(&self, changes: &[Change], watermark: i64, out: &mut Vec<Event>) -> Result<(), Error> {
        for part in changes.chunks(PAIRS_MAX) {
            let side = |side: usize| self.codecs[side].decode(part.iter().map(|change| change.sides[side].as_deref()));
            let mut columns = side(LEFT)?;
            if !self.plan.kind.is_one_sided() {
                columns.extend(side(RIGHT)?);
            }
            let batch = table(&self.plan.schema, columns, part.len())?;
            let kinds = part.iter().map(|change| change.kind).collect();
            out.push(Event::Rows(Rows::fired(batch, watermark).with(kinds)));
        }
        Ok(())
    }

    fn state_batch(&self, side: usize, rows: &[&OwnedRow], partners: Vec<u32>) -> Result<RecordBatch, Error> {
        let count = rows.len();
        let own = self.codecs[side].batch(rows.iter().copied())?;
        let mut columns = self.keys[side].columns(&own);
        columns.push(Arc::new(Int8Array::from(vec![side as i8; count])));
        columns.push(Arc::new(UInt32Array::from(partners)));
        let nothing = |schema: &SchemaRef| -> Vec<ArrayRef> {
            let fields = schema.fields().iter();
            fields.map(|field| new_null_array(field.data_type(), count)).collect()
        };
        match side {
            LEFT => {
                columns.extend(own.columns().iter().cloned());
                columns.extend(nothing(self.codecs[RIGHT].schema()));
            }
            _ => {
                columns.extend(nothing(self.codecs[LEFT].schema()));
                columns.extend(own.columns().iter().cloned());
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
        let key_columns = self.plan.keys[LEFT].len();
        let widths = [
            self.plan.inputs[LEFT].fields().len(),
            self.plan.inputs[RIGHT].fields().len(),
        ];
        if state.num_columns() != key_columns + 2 + widths[LEFT] + widths[RIGHT] {
            return Err(Error::runtime(
                "the checkpoint's join state has another form than this program's",
            ));
        }
        let sides = state.column(key_columns).as_primitive_opt::<Int8Type>();
        let partners = state.column(key_columns + 1).as_primitive_opt::<UInt32Type>();
        let (Some(sides), Some(partners)) = (sides, partners) else {
            return Err(Error::runtime(
                "the checkpoint's join state has another form than this program's",
            ));
        };
        for side in [LEFT, RIGHT] {
            let chosen = (0..state.num_rows()).filter(|row| sides.value(*row) == side as i8);
            let chosen: UInt32Array = chosen.map(|row| row as u32).collect::<Vec<_>>().into();
            let from = key_columns + 2 + if side == LEFT { 0 } else { widths[LEFT] };
            let columns = state.columns()[from..from + widths[side]].to_vec();
            let all = table(&self.plan.inputs[side], columns, state.num_rows())?;
            let own = compute::take_record_batch(&all, &chosen)?;
            if let Some((ends, zone)) = self.plan.window {
                let rows = Rows {
                    side: side as u8,
                    ..Rows::new(own, 0)
                };
                self.keep(&rows, ends, zone)?;
                continue;
            }
            let keys = self.keys[side].of(&own)?;
            let encoded = self.codecs[side].encode(&own)?;
            for (row, key) in keys.into_iter().enumerate() {
                let Some(key) = key else { continue };
                let entry = Entry {
                    row: Arc::new(encoded.row(row).owned()),
                    partners: partners.value(chosen.value(row) as usize),
                };
                self.state[side].entry(key).or_default().push(entry);
            }
        }
        Ok(())
    }
}

impl Change {
    /// A row of one side, beside nothing.
    fn of(kind: RowKind, side: usize, row: Kept) -> Self {
        let mut sides = [None, None];
        sides[side] = Some(row);
        Self { kind, sides }
    }
}

impl Operator for Join {
    fn on_event(&mut self, event: Event, out: &mut Vec<Event>) -> Result<(), Error> {
        match event {
            Event::Rows(rows) => match self.plan.window {
                Some((ends, zone)) => self.keep(&rows, ends, zone)?,
                None => {
                    let mut changes = Vec::new();
                    self.rows(usize::from(rows.side.min(1)), &rows.batch, &rows.kinds, &mut changes)?;
                    self.emit(&changes, self.watermark, out)?;
                }
            },
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
        for side in [LEFT, RIGHT] {
            let mut buckets: Vec<_> = self.state[side].iter().collect();
            buckets.sort_by(|a, b| a.0.cmp(b.0));
            let entries: Vec<&Entry> = buckets.into_iter().flat_map(|(_, bucket)| bucket).collect();
            let rows: Vec<&OwnedRow> = entries.iter().map(|entry| entry.row.as_ref()).collect();
            let partners = entries.iter().map(|entry| entry.partners).collect();
            batches.push(self.state_batch(side, &rows, partners)?);
            for batch in self.waiting.values().flat_map(|sides| &sides[side]) {
                let encoded = self.codecs[side].encode(batch)?;
                let rows: Vec<OwnedRow> = encoded.iter().map(|row| row.owned()).collect();
                let rows: Vec<&OwnedRow> = rows.iter().collect();
                batches.push(self.state_batch(side, &rows, vec![0; rows.len()])?);
            }
        }
        let schema = batches[0].schema();
        let mut snapshot = Snapshot {
            table: Some(compute::concat_batches(&schema, &batches)?),
            counters: self.counters(),
            ..Snapshot::default()
        };
        snapshot.facts.insert("watermark".into(), self.watermark.into());
        Ok(snapshot)
    }

    fn restore(&mut self, snapshots: &[Snapshot], keep: &Keep<'_>, first: bool) -> Result<(), Error> {
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
