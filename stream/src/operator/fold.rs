//! The final rows of a changelog whose input ends.
//!
//! Inserts add a row and deletes take an equal one away, the newest first; what is left goes out at the end in the order in
//! which it came. So an operator that cannot take rows back gives the right final result over a bounded changelog.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::row_codec::{Kept, RowCodec};
use super::{Event, Keep, Operator, Rows, Snapshot};
use crate::Error;
use crate::time::NONE;

/// Rows of a batch that goes out.
const BATCH_ROWS: usize = 8192;

pub struct Fold {
    codec: RowCodec,
    /// By the number of their arrival.
    rows: BTreeMap<u64, Kept>,
    /// The arrivals of equal rows.
    arrivals: HashMap<Kept, Vec<u64>>,
    next: u64,
}

impl Fold {
    pub fn new(schema: &SchemaRef) -> Result<Self, Error> {
        Ok(Self {
            codec: RowCodec::new(schema)?,
            rows: BTreeMap::new(),
            arrivals: HashMap::new(),
            next: 0,
        })
    }

    fn add(&mut self, row: Kept) {
        self.arrivals.entry(Arc::clone(&row)).or_default().push(self.next);
        self.rows.insert(self.next, row);
        self.next += 1;
    }

    fn take(&mut self, row: &Kept) {
        let Some(arrivals) = self.arrivals.get_mut(row) else {
            return;
        };
        if let Some(newest) = arrivals.pop() {
            self.rows.remove(&newest);
        }
        if arrivals.is_empty() {
            self.arrivals.remove(row);
        }
    }
}

impl Operator for Fold {
    fn on_event(&mut self, event: Event, out: &mut Vec<Event>) -> Result<(), Error> {
        match event {
            Event::Rows(rows) => {
                let encoded = self.codec.encode(&rows.batch)?;
                for (number, row) in encoded.iter().enumerate() {
                    let row = Arc::new(row.owned());
                    if rows.kinds.at(number).adds() {
                        self.add(row);
                    } else {
                        self.take(&row);
                    }
                }
            }
            Event::End => {
                self.arrivals.clear();
                let rows: Vec<Kept> = std::mem::take(&mut self.rows).into_values().collect();
                for part in rows.chunks(BATCH_ROWS) {
                    let batch = self.codec.batch(part.iter().map(|row| row.as_ref()))?;
                    out.push(Event::Rows(Rows::fired(batch, NONE)));
                }
                out.push(Event::End);
            }
            other => out.push(other),
        }
        Ok(())
    }

    fn snapshot(&self) -> Result<Snapshot, Error> {
        Ok(Snapshot {
            table: Some(self.codec.batch(self.rows.values().map(|row| row.as_ref()))?),
            ..Snapshot::default()
        })
    }

    fn restore(&mut self, snapshots: &[Snapshot], _keep: &Keep<'_>, _first: bool) -> Result<(), Error> {
        for state in snapshots.iter().filter_map(|snapshot| snapshot.table.as_ref()) {
            let encoded = self.codec.encode(state)?;
            encoded.iter().for_each(|row| self.add(Arc::new(row.owned())));
        }
        Ok(())
    }
}
