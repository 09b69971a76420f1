//! LISTAGG.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};

use super::{Accumulator, column};
use crate::Error;

/// The separator of Flink where none is given.
const SEPARATOR: &str = ",";

/// The values of each group joined in the order of their arrival.
#[derive(Debug, Default)]
pub struct Join {
    texts: Vec<Option<String>>,
}

impl Accumulator for Join {
    fn update(&mut self, groups: &[u32], total: usize, args: &[ArrayRef]) -> Result<(), Error> {
        self.texts.resize(total, None);
        let Some(values) = args.first().map(|arg| arg.as_string::<i32>()) else {
            return Err(Error::unsupported("LISTAGG of nothing"));
        };
        let separators = args.get(1).map(|arg| arg.as_string::<i32>());
        for (row, group) in groups.iter().enumerate() {
            if values.is_null(row) {
                continue;
            }
            let separator = separators.map_or(SEPARATOR, |separators| separators.value(row));
            match &mut self.texts[*group as usize] {
                Some(text) => {
                    text.push_str(separator);
                    text.push_str(values.value(row));
                }
                empty => *empty = Some(values.value(row).to_owned()),
            }
        }
        Ok(())
    }

    fn evaluate(&self) -> Result<ArrayRef, Error> {
        Ok(Arc::new(
            self.texts.iter().map(Option::as_deref).collect::<StringArray>(),
        ))
    }

    fn state(&self) -> Result<Vec<ArrayRef>, Error> {
        Ok(vec![self.evaluate()?])
    }

    fn merge(&mut self, groups: &[u32], total: usize, state: &[ArrayRef]) -> Result<(), Error> {
        self.texts.resize(total, None);
        let texts: &StringArray = column(state, 0)?;
        for (group, text) in groups.iter().zip(texts) {
            let Some(text) = text else { continue };
            match &mut self.texts[*group as usize] {
                Some(before) => {
                    before.push_str(SEPARATOR);
                    before.push_str(text);
                }
                empty => *empty = Some(text.to_owned()),
            }
        }
        Ok(())
    }
}
