//! A batch on its way.

use arrow::array::{BooleanArray, RecordBatch, UInt32Array};
use arrow::compute;

use crate::Error;
use crate::time::{Before, NONE};

/// A batch, the watermark that each of its rows met, and the split that it came from.
#[derive(Debug, Clone)]
pub struct Rows {
    pub batch: RecordBatch,
    pub before: Before,
    pub split: u32,
}

impl Rows {
    /// A batch that met no watermark yet.
    pub fn new(batch: RecordBatch, split: u32) -> Self {
        Self {
            batch,
            before: Before::Same(NONE),
            split,
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
        })
    }

    pub fn take(&self, indices: &UInt32Array) -> Result<Self, Error> {
        let batch = compute::take_record_batch(&self.batch, indices)?;
        Ok(Self {
            batch,
            before: self.before.take(indices),
            split: self.split,
        })
    }

    pub fn slice(&self, offset: usize, len: usize) -> Self {
        Self {
            batch: self.batch.slice(offset, len),
            before: self.before.slice(offset, len),
            split: self.split,
        }
    }
}
