//! A batch on its way.

use arrow::array::{BooleanArray, RecordBatch, UInt32Array};
use arrow::compute;

use super::Kinds;
use crate::Error;
use crate::table::RowKind;
use crate::time::{Before, NONE};

/// A batch, the watermark that each of its rows met, what each row does to the result, and where they came from.
#[derive(Debug, Clone)]
pub struct Rows {
    pub batch: RecordBatch,
    pub before: Before,
    pub split: u32,
    pub kinds: Kinds,
    /// The input of an operator with several inputs that they arrived at; set by the gate.
    pub side: u8,
}

impl Rows {
    /// A batch that met no watermark yet.
    pub fn new(batch: RecordBatch, split: u32) -> Self {
        Self {
            batch,
            before: Before::Same(NONE),
            split,
            kinds: Kinds::Inserts,
            side: 0,
        }
    }

    /// Rows that an operator computed while `watermark` was in force.
    pub fn fired(batch: RecordBatch, watermark: i64) -> Self {
        Self {
            before: Before::Same(watermark),
            ..Self::new(batch, 0)
        }
    }

    /// The same with kinds.
    pub fn with(self, kinds: Vec<RowKind>) -> Self {
        Self {
            kinds: Kinds::of(kinds),
            ..self
        }
    }

    pub fn len(&self) -> usize {
        self.batch.num_rows()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn filter(&self, mask: &BooleanArray) -> Result<Self, Error> {
        let batch = compute::filter_record_batch(&self.batch, mask)?;
        Ok(Self {
            batch,
            before: self.before.filter(mask),
            split: self.split,
            kinds: self.kinds.filter(mask),
            side: self.side,
        })
    }

    pub fn take(&self, indices: &UInt32Array) -> Result<Self, Error> {
        let batch = compute::take_record_batch(&self.batch, indices)?;
        Ok(Self {
            batch,
            before: self.before.take(indices),
            split: self.split,
            kinds: self.kinds.take(indices),
            side: self.side,
        })
    }

    pub fn slice(&self, offset: usize, len: usize) -> Self {
        Self {
            batch: self.batch.slice(offset, len),
            before: self.before.slice(offset, len),
            split: self.split,
            kinds: self.kinds.slice(offset, len),
            side: self.side,
        }
    }
}
