//! STDDEV_POP, STDDEV_SAMP, VAR_POP and VAR_SAMP.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array};
use arrow::datatypes::Float64Type;

use super::{Accumulator, column};
use crate::Error;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    StddevPop,
    StddevSamp,
    VarPop,
    VarSamp,
}

/// Computed from the sums of values and squares, as Flink's plan does; Welford's method would differ in the last digits.
#[derive(Debug)]
pub struct Variance {
    moment: Moment,
    sums: Vec<f64>,
    squares: Vec<f64>,
    counts: Vec<i64>,
}

impl Variance {
    pub fn new(moment: Moment) -> Self {
        Self {
            moment,
            sums: Vec::new(),
            squares: Vec::new(),
            counts: Vec::new(),
        }
    }

    fn resize(&mut self, total: usize) {
        self.sums.resize(total, 0.0);
        self.squares.resize(total, 0.0);
        self.counts.resize(total, 0);
    }

    fn value(&self, group: usize) -> Option<f64> {
        let count = self.counts[group];
        let by = match self.moment {
            Moment::StddevPop | Moment::VarPop => count,
            Moment::StddevSamp | Moment::VarSamp => count - 1,
        };
        if by <= 0 {
            return None;
        }
        let sum = self.sums[group];
        let variance = (self.squares[group] - sum * sum / count as f64) / by as f64;
        Some(match self.moment {
            Moment::VarPop | Moment::VarSamp => variance,
            Moment::StddevPop | Moment::StddevSamp => variance.sqrt(),
        })
    }
}

impl Accumulator for Variance {
    fn update(&mut self, groups: &[u32], total: usize, args: &[ArrayRef]) -> Result<(), Error> {
        self.resize(total);
        let Some(values) = args.first().map(|arg| arg.as_primitive::<Float64Type>()) else {
            return Err(Error::unsupported("a variance of nothing"));
        };
        for (row, group) in groups.iter().enumerate() {
            if values.is_valid(row) {
                let (group, value) = (*group as usize, values.value(row));
                self.sums[group] += value;
                self.squares[group] += value * value;
                self.counts[group] += 1;
            }
        }
        Ok(())
    }

    fn evaluate(&self) -> Result<ArrayRef, Error> {
        Ok(Arc::new(
            (0..self.counts.len())
                .map(|group| self.value(group))
                .collect::<Float64Array>(),
        ))
    }

    fn state(&self) -> Result<Vec<ArrayRef>, Error> {
        Ok(vec![
            Arc::new(Float64Array::from(self.sums.clone())),
            Arc::new(Float64Array::from(self.squares.clone())),
            Arc::new(Int64Array::from(self.counts.clone())),
        ])
    }

    fn merge(&mut self, groups: &[u32], total: usize, state: &[ArrayRef]) -> Result<(), Error> {
        self.resize(total);
        let (sums, squares): (&Float64Array, &Float64Array) = (column(state, 0)?, column(state, 1)?);
        let counts: &Int64Array = column(state, 2)?;
        for (row, group) in groups.iter().enumerate() {
            let group = *group as usize;
            self.sums[group] += sums.value(row);
            self.squares[group] += squares.value(row);
            self.counts[group] += counts.value(row);
        }
        Ok(())
    }
}
