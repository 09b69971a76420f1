//! COUNT.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array};

use super::{Accumulator, column};
use crate::Error;

/// Rows, or rows in which the argument is not NULL.
#[derive(Debug, Default)]
pub struct Count {
    counts: Vec<i64>,
}

impl Accumulator for Count {
    fn update(&mut self, groups: &[u32], total: usize, args: &[ArrayRef]) -> Result<(), Error> {
        self.counts.resize(total, 0);
        match args.first().and_then(|arg| arg.logical_nulls()) {
            None => groups.iter().for_each(|group| self.counts[*group as usize] += 1),
            Some(nulls) => {
                for (row, group) in groups.iter().enumerate() {
                    self.counts[*group as usize] += i64::from(nulls.is_valid(row));
                }
            }
        }
        Ok(())
    }

    fn evaluate(&self) -> Result<ArrayRef, Error> {
        Ok(Arc::new(Int64Array::from(self.counts.clone())))
    }

    fn state(&self) -> Result<Vec<ArrayRef>, Error> {
        Ok(vec![self.evaluate()?])
    }

    fn merge(&mut self, groups: &[u32], total: usize, state: &[ArrayRef]) -> Result<(), Error> {
        self.counts.resize(total, 0);
        let counts: &Int64Array = column(state, 0)?;
        groups
            .iter()
            .zip(counts.values())
            .for_each(|(group, count)| self.counts[*group as usize] += *count);
        Ok(())
    }
}
