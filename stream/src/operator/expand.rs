//! GROUPING SETS, ROLLUP and CUBE: each row once for each set, the keys outside the set as NULL.

use std::sync::Arc;

use arrow::array::{Int64Array, new_null_array};
use arrow::datatypes::SchemaRef;

use super::calc::table;
use super::{Event, Operator, Rows};
use crate::Error;

/// Appends, for each set, one copy of the rows with `keys` outside the set replaced by NULL and the set's id behind.
pub struct Expand {
    /// The columns that the sets are about.
    pub keys: Vec<usize>,
    /// For each set, which of `keys` are in it.
    pub sets: Vec<Vec<bool>>,
    /// The input's columns and then the set's id.
    pub schema: SchemaRef,
}

impl Expand {
    fn copy(&self, rows: &Rows, number: usize, set: &[bool]) -> Result<Rows, Error> {
        let mut columns = rows.batch.columns().to_vec();
        for (key, kept) in self.keys.iter().zip(set) {
            if !kept {
                columns[*key] = new_null_array(columns[*key].data_type(), rows.len());
            }
        }
        columns.push(Arc::new(Int64Array::from(vec![number as i64; rows.len()])));
        let batch = table(&self.schema, columns, rows.len())?;
        Ok(Rows { batch, ..rows.clone() })
    }
}

impl Operator for Expand {
    fn on_event(&mut self, event: Event, out: &mut Vec<Event>) -> Result<(), Error> {
        let Event::Rows(rows) = event else {
            out.push(event);
            return Ok(());
        };
        for (number, set) in self.sets.iter().enumerate() {
            out.push(Event::Rows(self.copy(&rows, number, set)?));
        }
        Ok(())
    }
}
