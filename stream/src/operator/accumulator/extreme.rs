//! MIN, MAX, FIRST_VALUE and LAST_VALUE.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use arrow::row::{OwnedRow, RowConverter, SortField};

use super::Accumulator;
use crate::Error;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    Least,
    Greatest,
    First,
    Last,
}

/// One of each group's values; NULL does not count. Values are kept in Arrow's row form, whose bytes compare as the
/// values do, so one implementation serves every type.
pub struct Extreme {
    which: Which,
    data_type: DataType,
    converter: RowConverter,
    values: Vec<Option<OwnedRow>>,
    /// The same values of a FLOAT or DOUBLE, to be compared.
    floats: Vec<f64>,
}

impl Extreme {
    pub fn new(arg: &DataType, which: Which) -> Result<Self, Error> {
        let converter = RowConverter::new(vec![SortField::new(arg.clone())]).map_err(Error::unsupported)?;
        Ok(Self {
            which,
            data_type: arg.clone(),
            converter,
            values: Vec::new(),
            floats: Vec::new(),
        })
    }
}

impl Accumulator for Extreme {
    fn update(&mut self, groups: &[u32], total: usize, args: &[ArrayRef]) -> Result<(), Error> {
        self.values.resize(total, None);
        let Some(arg) = args.first() else {
            return Err(Error::unsupported("an extreme of nothing"));
        };
        let rows = self.converter.convert_columns(std::slice::from_ref(arg))?;
        let nulls = arg.logical_nulls();
        let floats: Option<Vec<f64>> = match arg.data_type() {
            DataType::Float32 => Some(
                arg.as_primitive::<Float32Type>()
                    .values()
                    .iter()
                    .map(|v| f64::from(*v))
                    .collect(),
            ),
            DataType::Float64 => Some(arg.as_primitive::<Float64Type>().values().to_vec()),
            _ => None,
        };
        if floats.is_some() {
            self.floats.resize(total, f64::NAN);
        }
        for (number, group) in groups.iter().enumerate() {
            if nulls.as_ref().is_some_and(|nulls| nulls.is_null(number)) {
                continue;
            }
            let row = rows.row(number);
            let slot = &mut self.values[*group as usize];
            let better = match (self.which, &slot) {
                (_, None) | (Which::Last, _) => true,
                (Which::First, _) => false,
                // Floats compare as in Java: nothing is below or above NaN, and zeros are equal.
                (Which::Least, Some(_)) if floats.is_some() => floats
                    .as_ref()
                    .is_some_and(|floats| floats[number] < self.floats[*group as usize]),
                (Which::Greatest, Some(_)) if floats.is_some() => floats
                    .as_ref()
                    .is_some_and(|floats| floats[number] > self.floats[*group as usize]),
                (Which::Least, Some(old)) => row < old.row(),
                (Which::Greatest, Some(old)) => row > old.row(),
            };
            if better {
                *slot = Some(row.owned());
                if let Some(floats) = &floats {
                    self.floats[*group as usize] = floats[number];
                }
            }
        }
        Ok(())
    }

    fn evaluate(&self) -> Result<ArrayRef, Error> {
        // A group without a value is the NULL row.
        let nothing = arrow::array::new_null_array(&self.data_type, 1);
        let nothing = self.converter.convert_columns(&[nothing])?;
        let rows = self
            .values
            .iter()
            .map(|value| value.as_ref().map_or_else(|| nothing.row(0), OwnedRow::row));
        let mut columns = self.converter.convert_rows(rows)?;
        columns
            .pop()
            .ok_or_else(|| Error::runtime("an aggregate has no column"))
    }

    fn state(&self) -> Result<Vec<ArrayRef>, Error> {
        Ok(vec![self.evaluate()?])
    }

    fn merge(&mut self, groups: &[u32], total: usize, state: &[ArrayRef]) -> Result<(), Error> {
        self.update(groups, total, state)
    }
}
