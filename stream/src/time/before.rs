//! The watermark that each row of a batch met when it arrived.

use arrow::array::{Array, BooleanArray, UInt32Array};
use arrow::buffer::ScalarBuffer;

/// For each row of a batch, the watermark in force just before it.
#[derive(Debug, Clone, PartialEq)]
pub enum Before {
    /// The same for every row.
    Same(i64),
    /// One for each row, never falling.
    Each(ScalarBuffer<i64>),
}

impl Before {
    pub fn at(&self, row: usize) -> i64 {
        match self {
            Self::Same(watermark) => *watermark,
            Self::Each(each) => each[row],
        }
    }

    /// Those of the rows for which `mask` is true.
    pub fn filter(&self, mask: &BooleanArray) -> Self {
        match self {
            Self::Same(_) => self.clone(),
            Self::Each(each) => {
                let kept = (0..mask.len())
                    .filter(|&row| mask.is_valid(row) && mask.value(row))
                    .map(|row| each[row]);
                Self::Each(kept.collect())
            }
        }
    }

    /// Those of the rows at `indices`.
    pub fn take(&self, indices: &UInt32Array) -> Self {
        match self {
            Self::Same(_) => self.clone(),
            Self::Each(each) => Self::Each(indices.values().iter().map(|&row| each[row as usize]).collect()),
        }
    }

    pub fn slice(&self, offset: usize, len: usize) -> Self {
        match self {
            Self::Same(_) => self.clone(),
            Self::Each(each) => Self::Each(each.slice(offset, len)),
        }
    }

    /// No row meets more than `bound`: another input is still there.
    pub fn capped(self, bound: i64) -> Self {
        match self {
            Self::Same(watermark) => Self::Same(watermark.min(bound)),
            Self::Each(each) if each.last().is_some_and(|last| *last > bound) => {
                Self::Each(each.iter().map(|watermark| (*watermark).min(bound)).collect())
            }
            each => each,
        }
    }
}
