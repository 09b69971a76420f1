//! Accumulators: one aggregate for many groups at once.
//!
//! An accumulator keeps a vector with a slot for each group. `update` takes a batch's arguments and the group of each
//! row; `evaluate` and `state` give one value for each group, `state` such that `merge` can go on from it. Results have
//! Flink's types: SUM(INT) is INT and wraps, AVG(BIGINT) is BIGINT and truncates, AVG(DECIMAL(p, s)) has 38 digits and at
//! least 6 behind the point, a DECIMAL that outgrows 38 digits is NULL.

mod count;
mod distinct;
mod extreme;
mod join;
mod number;
mod variance;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

pub use count::Count;
pub use distinct::Distinct;
pub use extreme::{Extreme, Which};
pub use join::Join;
pub use number::{Number, NumberResult};
pub use variance::{Moment, Variance};

use crate::Error;

pub trait Accumulator: Send {
    /// Row `i` belongs to group `groups[i]`; groups are numbered below `total`. All rows count: filters and duplicates
    /// have been taken out before.
    fn update(&mut self, groups: &[u32], total: usize, args: &[ArrayRef]) -> Result<(), Error>;

    /// The result of each group.
    fn evaluate(&self) -> Result<ArrayRef, Error>;

    /// What `merge` needs, one row for each group.
    fn state(&self) -> Result<Vec<ArrayRef>, Error>;

    /// Adds the `state` of other groups, of a checkpoint or of another slice: row `i` of it to group `groups[i]`.
    fn merge(&mut self, groups: &[u32], total: usize, state: &[ArrayRef]) -> Result<(), Error>;
}

/// An aggregate function of Flink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    Count,
    Sum,
    Avg,
    Min,
    Max,
    FirstValue,
    LastValue,
    ListAgg,
    StddevPop,
    StddevSamp,
    VarPop,
    VarSamp,
}

impl Function {
    pub fn by_name(upper: &str) -> Option<Self> {
        Some(match upper {
            "COUNT" => Self::Count,
            "SUM" => Self::Sum,
            "AVG" => Self::Avg,
            "MIN" => Self::Min,
            "MAX" => Self::Max,
            "FIRST_VALUE" => Self::FirstValue,
            "LAST_VALUE" => Self::LastValue,
            "LISTAGG" => Self::ListAgg,
            "STDDEV_POP" => Self::StddevPop,
            "STDDEV_SAMP" | "STDDEV" => Self::StddevSamp,
            "VAR_POP" => Self::VarPop,
            "VAR_SAMP" | "VARIANCE" => Self::VarSamp,
            _ => return None,
        })
    }

    /// The type of the result for arguments of `args`, or why there is none.
    pub fn result(self, args: &[DataType]) -> Result<DataType, String> {
        let one = || match args {
            [arg] => Ok(arg.clone()),
            _ => Err(format!("takes one argument, not {}", args.len())),
        };
        match self {
            Self::Count if args.len() <= 1 => Ok(DataType::Int64),
            Self::Count => Err("of several columns is not served".into()),
            Self::Sum => match one()? {
                DataType::Decimal128(_, scale) => Ok(DataType::Decimal128(38, scale)),
                numeric if is_number(&numeric) => Ok(numeric),
                other => Err(format!("does not take {other}")),
            },
            Self::Avg => match one()? {
                DataType::Decimal128(_, scale) => Ok(DataType::Decimal128(38, scale.max(6))),
                numeric if is_number(&numeric) => Ok(numeric),
                other => Err(format!("does not take {other}")),
            },
            Self::Min | Self::Max => match one()? {
                nested if nested.is_nested() || nested == DataType::Null => Err(format!("does not take {nested}")),
                plain => Ok(plain),
            },
            Self::FirstValue | Self::LastValue => one(),
            Self::ListAgg => match args {
                [DataType::Utf8] | [DataType::Utf8, DataType::Utf8] => Ok(DataType::Utf8),
                _ => Err("takes strings".into()),
            },
            Self::StddevPop | Self::StddevSamp | Self::VarPop | Self::VarSamp => match one()? {
                DataType::Float64 => Ok(DataType::Float64),
                other => Err(format!("of {other} is not served; cast the argument to DOUBLE")),
            },
        }
    }

    /// An accumulator without groups.
    pub fn accumulator(self, args: &[DataType], distinct: bool) -> Result<Box<dyn Accumulator>, Error> {
        let result = self.result(args).map_err(Error::unsupported)?;
        let first = args.first().cloned().unwrap_or(DataType::Null);
        let plain: Box<dyn Accumulator> = match self {
            Self::Count => Box::<Count>::default(),
            Self::Sum => Box::new(Number::new(&first, result, NumberResult::Sum)?),
            Self::Avg => Box::new(Number::new(&first, result, NumberResult::Average)?),
            Self::Min => Box::new(Extreme::new(&first, Which::Least)?),
            Self::Max => Box::new(Extreme::new(&first, Which::Greatest)?),
            Self::FirstValue => Box::new(Extreme::new(&first, Which::First)?),
            Self::LastValue => Box::new(Extreme::new(&first, Which::Last)?),
            Self::ListAgg => Box::<Join>::default(),
            Self::StddevPop => Box::new(Variance::new(Moment::StddevPop)),
            Self::StddevSamp => Box::new(Variance::new(Moment::StddevSamp)),
            Self::VarPop => Box::new(Variance::new(Moment::VarPop)),
            Self::VarSamp => Box::new(Variance::new(Moment::VarSamp)),
        };
        Ok(if distinct {
            Box::new(Distinct::new(&first, plain)?)
        } else {
            plain
        })
    }
}

fn is_number(data_type: &DataType) -> bool {
    data_type.is_signed_integer() || matches!(data_type, DataType::Float32 | DataType::Float64)
}

/// A state column of the expected type; anything else is a checkpoint of another program.
fn column<T: 'static>(state: &[ArrayRef], index: usize) -> Result<&T, Error> {
    let column = state.get(index).and_then(|column| column.as_any().downcast_ref::<T>());
    column.ok_or_else(|| Error::runtime("the checkpoint's aggregate state has another form than this program's"))
}
