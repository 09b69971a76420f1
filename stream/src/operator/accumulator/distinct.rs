//! DISTINCT within an aggregate.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray, UInt32Array};
use arrow::buffer::OffsetBuffer;
use arrow::compute;
use arrow::datatypes::{DataType, Field};
use arrow::row::{OwnedRow, RowConverter, SortField};

use super::{Accumulator, column};
use crate::Error;

/// Hands each value of a group to the inner accumulator once. Its state is the values; the inner one is rebuilt of them.
pub struct Distinct {
    data_type: DataType,
    converter: RowConverter,
    /// In the order of arrival, so that a restored sum of doubles adds in the same order.
    values: Vec<Vec<OwnedRow>>,
    known: HashSet<(u32, OwnedRow)>,
    inner: Box<dyn Accumulator>,
}

impl Distinct {
    pub fn new(arg: &DataType, inner: Box<dyn Accumulator>) -> Result<Self, Error> {
        let converter = RowConverter::new(vec![SortField::new(arg.clone())]).map_err(Error::unsupported)?;
        Ok(Self {
            data_type: arg.clone(),
            converter,
            values: Vec::new(),
            known: HashSet::new(),
            inner,
        })
    }
}

impl Accumulator for Distinct {
    fn update(&mut self, groups: &[u32], total: usize, args: &[ArrayRef]) -> Result<(), Error> {
        self.values.resize(total, Vec::new());
        let Some(arg) = args.first() else {
            return Err(Error::unsupported("DISTINCT of nothing"));
        };
        let rows = self.converter.convert_columns(std::slice::from_ref(arg))?;
        let nulls = arg.logical_nulls();
        let (mut new_rows, mut new_groups) = (Vec::new(), Vec::new());
        for (number, group) in groups.iter().enumerate() {
            if nulls.as_ref().is_some_and(|nulls| nulls.is_null(number)) {
                continue;
            }
            let row = rows.row(number).owned();
            if self.known.insert((*group, row.clone())) {
                self.values[*group as usize].push(row);
                new_rows.push(number as u32);
                new_groups.push(*group);
            }
        }
        let arg = compute::take(arg, &UInt32Array::from(new_rows), None)?;
        self.inner.update(&new_groups, total, &[arg])
    }

    fn evaluate(&self) -> Result<ArrayRef, Error> {
        self.inner.evaluate()
    }

    fn state(&self) -> Result<Vec<ArrayRef>, Error> {
        let mut columns = self
            .converter
            .convert_rows(self.values.iter().flatten().map(OwnedRow::row))?;
        let values = columns
            .pop()
            .ok_or_else(|| Error::runtime("an aggregate has no column"))?;
        let offsets = OffsetBuffer::from_lengths(self.values.iter().map(Vec::len));
        let field = Arc::new(Field::new("item", self.data_type.clone(), true));
        Ok(vec![Arc::new(ListArray::try_new(field, offsets, values, None)?)])
    }

    fn merge(&mut self, groups: &[u32], total: usize, state: &[ArrayRef]) -> Result<(), Error> {
        let lists: &ListArray = column(state, 0)?;
        for (row, group) in groups.iter().enumerate() {
            let values = lists.value(row);
            self.update(&vec![*group; values.len()], total, &[values])?;
        }
        // Groups without any value still need their slot.
        self.values.resize(total, Vec::new());
        let none = arrow::array::new_empty_array(&self.data_type);
        self.inner.update(&[], total, &[none])
    }
}
