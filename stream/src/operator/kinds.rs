//! The kind of each row of a batch.

use std::sync::Arc;

use arrow::array::{Array, BooleanArray, UInt32Array};

use crate::table::RowKind;

/// Most batches insert only, and cost nothing for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kinds {
    Inserts,
    Each(Arc<[RowKind]>),
}

impl Kinds {
    /// The shortest form of these kinds.
    pub fn of(kinds: Vec<RowKind>) -> Self {
        if kinds.iter().all(|kind| *kind == RowKind::Insert) {
            Self::Inserts
        } else {
            Self::Each(kinds.into())
        }
    }

    pub fn at(&self, row: usize) -> RowKind {
        match self {
            Self::Inserts => RowKind::Insert,
            Self::Each(kinds) => kinds[row],
        }
    }

    pub fn to_vec(&self, rows: usize) -> Vec<RowKind> {
        (0..rows).map(|row| self.at(row)).collect()
    }

    pub fn filter(&self, mask: &BooleanArray) -> Self {
        match self {
            Self::Inserts => Self::Inserts,
            Self::Each(kinds) => {
                let kept = (0..mask.len()).filter(|row| mask.is_valid(*row) && mask.value(*row));
                Self::of(kept.map(|row| kinds[row]).collect())
            }
        }
    }

    pub fn take(&self, indices: &UInt32Array) -> Self {
        match self {
            Self::Inserts => Self::Inserts,
            Self::Each(kinds) => Self::of(indices.values().iter().map(|row| kinds[*row as usize]).collect()),
        }
    }

    pub fn slice(&self, offset: usize, len: usize) -> Self {
        match self {
            Self::Inserts => Self::Inserts,
            Self::Each(kinds) => Self::of(kinds[offset..offset + len].to_vec()),
        }
    }
}
