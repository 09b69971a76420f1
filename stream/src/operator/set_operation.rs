//! INTERSECT and EXCEPT: how often a row is in the result follows from how often it is on each side.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{AsArray, Int64Array};
use arrow::compute;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};

use super::calc::table;
use super::row_codec::{Kept, RowCodec};
use super::{Event, Keep, Operator, Rows, Snapshot};
use crate::Error;
use crate::table::RowKind;
use crate::time::NONE;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetKind {
    Intersect { all: bool },
    Except { all: bool },
}

impl SetKind {
    /// How often a row is in the result that is `left` and `right` times on the sides.
    fn result(self, left: i64, right: i64) -> i64 {
        match self {
            Self::Intersect { all: true } => left.min(right).max(0),
            Self::Intersect { all: false } => i64::from(left > 0 && right > 0),
            Self::Except { all: true } => (left - right.max(0)).max(0),
            Self::Except { all: false } => i64::from(left > 0 && right <= 0),
        }
    }
}

#[derive(Debug, Clone)]
pub struct Plan {
    pub kind: SetKind,
    pub schema: SchemaRef,
}

pub struct SetOperation {
    plan: Plan,
    codec: RowCodec,
    counts: HashMap<Kept, [i64; 2]>,
}

impl SetOperation {
    pub fn new(plan: Plan) -> Result<Self, Error> {
        Ok(Self {
            codec: RowCodec::new(&plan.schema)?,
            plan,
            counts: HashMap::new(),
        })
    }

    fn rows(&mut self, rows: &Rows) -> Result<Option<Rows>, Error> {
        let encoded = self.codec.encode(&rows.batch)?;
        let mut changes: Vec<(RowKind, Kept)> = Vec::new();
        for (number, row) in encoded.iter().enumerate() {
            let row = Arc::new(row.owned());
            let counts = self.counts.entry(Arc::clone(&row)).or_default();
            let before = self.plan.kind.result(counts[0], counts[1]);
            let step = if rows.kinds.at(number).adds() { 1 } else { -1 };
            counts[usize::from(rows.side.min(1))] += step;
            let after = self.plan.kind.result(counts[0], counts[1]);
            if *counts == [0, 0] {
                self.counts.remove(&row);
            }
            let kind = if after > before {
                RowKind::Insert
            } else {
                RowKind::Delete
            };
            changes.extend((0..after.abs_diff(before)).map(|_| (kind, Arc::clone(&row))));
        }
        if changes.is_empty() {
            return Ok(None);
        }
        let batch = self.codec.batch(changes.iter().map(|(_, row)| row.as_ref()))?;
        let kinds = changes.iter().map(|(kind, _)| *kind).collect();
        Ok(Some(Rows::fired(batch, NONE).with(kinds)))
    }
}

impl Operator for SetOperation {
    fn on_event(&mut self, event: Event, out: &mut Vec<Event>) -> Result<(), Error> {
        match event {
            Event::Rows(rows) => out.extend(self.rows(&rows)?.map(Event::Rows)),
            other => out.push(other),
        }
        Ok(())
    }

    /// The rows, then how often each is on the left and on the right.
    fn snapshot(&self) -> Result<Snapshot, Error> {
        let mut counts: Vec<_> = self.counts.iter().collect();
        counts.sort_by(|a, b| a.0.cmp(b.0));
        let rows = self.codec.batch(counts.iter().map(|(row, _)| row.as_ref()))?;
        let mut columns = rows.columns().to_vec();
        for side in 0..2 {
            let count = counts.iter().map(|(_, sides)| sides[side]);
            columns.push(Arc::new(Int64Array::from_iter_values(count)));
        }
        let mut fields: Vec<Field> = self
            .plan
            .schema
            .fields()
            .iter()
            .map(|field| field.as_ref().clone())
            .collect();
        fields.extend(["left", "right"].map(|name| Field::new(name, DataType::Int64, true)));
        Ok(Snapshot {
            table: Some(table(&Arc::new(Schema::new(fields)), columns, counts.len())?),
            ..Snapshot::default()
        })
    }

    fn restore(&mut self, snapshots: &[Snapshot], keep: &Keep<'_>, _first: bool) -> Result<(), Error> {
        let width = self.plan.schema.fields().len();
        for state in snapshots.iter().filter_map(|snapshot| snapshot.table.as_ref()) {
            if state.num_columns() != width + 2 {
                return Err(Error::runtime(
                    "the checkpoint's set operation has another form than this program's",
                ));
            }
            let state = compute::filter_record_batch(state, &keep(&state.columns()[..width])?)?;
            let rows = table(&self.plan.schema, state.columns()[..width].to_vec(), state.num_rows())?;
            let encoded = self.codec.encode(&rows)?;
            let counts = [width, width + 1].map(|column| state.column(column).as_primitive::<Int64Type>().clone());
            for (number, row) in encoded.iter().enumerate() {
                let sides = [counts[0].value(number), counts[1].value(number)];
                self.counts.insert(Arc::new(row.owned()), sides);
            }
        }
        Ok(())
    }
}
