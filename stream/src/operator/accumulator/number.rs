//! SUM and AVG.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array,
    Int64Array,
};
use arrow::datatypes::{DataType, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type};

use super::{Accumulator, column};
use crate::Error;

/// The largest DECIMAL without its point: 38 nines.
const DECIMAL_MAX: i128 = 10_i128.pow(38) - 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberResult {
    Sum,
    Average,
}

/// The sum and the count of each group's numbers.
#[derive(Debug)]
pub struct Number {
    sums: Sums,
    counts: Vec<i64>,
    result: DataType,
    kind: NumberResult,
}

#[derive(Debug)]
enum Sums {
    Integer(Vec<i64>),
    /// SUM(FLOAT) adds in single precision, as Flink does.
    Single(Vec<f32>),
    Double(Vec<f64>),
    /// None before the first value, and where the sum has outgrown 38 digits: SUM starts again with the next value then, as
    /// Flink's does, and AVG stays NULL. The scale is the argument's.
    Decimal(Vec<Option<i128>>, i8),
}

impl Number {
    pub fn new(arg: &DataType, result: DataType, kind: NumberResult) -> Result<Self, Error> {
        let sums = match arg {
            DataType::Float32 if kind == NumberResult::Sum => Sums::Single(Vec::new()),
            DataType::Float32 | DataType::Float64 => Sums::Double(Vec::new()),
            DataType::Decimal128(_, scale) => Sums::Decimal(Vec::new(), *scale),
            integer if integer.is_signed_integer() => Sums::Integer(Vec::new()),
            other => return Err(Error::unsupported(format!("a sum of {other}"))),
        };
        Ok(Self {
            sums,
            counts: Vec::new(),
            result,
            kind,
        })
    }

    fn resize(&mut self, total: usize) {
        self.counts.resize(total, 0);
        match &mut self.sums {
            Sums::Integer(sums) => sums.resize(total, 0),
            Sums::Single(sums) => sums.resize(total, 0.0),
            Sums::Double(sums) => sums.resize(total, 0.0),
            Sums::Decimal(sums, _) => sums.resize(total, Some(0)),
        }
    }

    fn integers(&self, sums: &[i64]) -> Vec<Option<i64>> {
        let value = |(sum, count): (&i64, &i64)| match (count, self.kind) {
            (0, _) => None,
            (_, NumberResult::Sum) => Some(*sum),
            (count, NumberResult::Average) => Some(sum.wrapping_div(*count)),
        };
        sums.iter().zip(&self.counts).map(value).collect()
    }

    fn doubles(&self, sums: &[f64]) -> Vec<Option<f64>> {
        let value = |(sum, count): (&f64, &i64)| match (count, self.kind) {
            (0, _) => None,
            (_, NumberResult::Sum) => Some(*sum),
            (count, NumberResult::Average) => Some(sum / *count as f64),
        };
        sums.iter().zip(&self.counts).map(value).collect()
    }

    fn decimals(&self, sums: &[Option<i128>], scale: i8) -> Vec<Option<i128>> {
        let DataType::Decimal128(_, result_scale) = self.result else {
            return vec![None; sums.len()];
        };
        let value = |(sum, count): (&Option<i128>, &i64)| match (sum, count, self.kind) {
            (None, ..) | (_, 0, _) => None,
            (Some(sum), _, NumberResult::Sum) => Some(*sum),
            (Some(sum), count, NumberResult::Average) => {
                let scaled = sum.checked_mul(10_i128.pow(u32::from(result_scale.abs_diff(scale))))?;
                Some(divide_half_up(scaled, i128::from(*count)))
            }
        };
        sums.iter()
            .zip(&self.counts)
            .map(value)
            .map(|v| v.filter(|v| v.abs() <= DECIMAL_MAX))
            .collect()
    }
}

/// Division rounding halves away from zero; `by` is positive.
fn divide_half_up(value: i128, by: i128) -> i128 {
    let (quotient, rest) = (value / by, value % by);
    if rest.abs() * 2 >= by {
        quotient + value.signum()
    } else {
        quotient
    }
}

/// Adds the valid values of `array`, cast by `$value`, to the sums of their groups.
macro_rules! add {
    ($array:expr, $groups:expr, $counts:expr, $add:expr) => {{
        let array = $array;
        for (row, group) in $groups.iter().enumerate() {
            if array.is_valid(row) {
                let group = *group as usize;
                $counts[group] += 1;
                $add(group, array.value(row));
            }
        }
    }};
}

impl Accumulator for Number {
    fn update(&mut self, groups: &[u32], total: usize, args: &[ArrayRef]) -> Result<(), Error> {
        self.resize(total);
        let Some(arg) = args.first() else {
            return Err(Error::unsupported("a sum of nothing"));
        };
        let counts = &mut self.counts;
        let restarts = self.kind == NumberResult::Sum;
        match (&mut self.sums, arg.data_type()) {
            (Sums::Integer(sums), data_type) => {
                let mut step = |group: usize, value: i64| sums[group] = sums[group].wrapping_add(value);
                match data_type {
                    DataType::Int8 => add!(arg.as_primitive::<Int8Type>(), groups, counts, |g, v| step(
                        g,
                        i64::from(v)
                    )),
                    DataType::Int16 => add!(arg.as_primitive::<Int16Type>(), groups, counts, |g, v| step(
                        g,
                        i64::from(v)
                    )),
                    DataType::Int32 => add!(arg.as_primitive::<Int32Type>(), groups, counts, |g, v| step(
                        g,
                        i64::from(v)
                    )),
                    _ => add!(arg.as_primitive::<Int64Type>(), groups, counts, &mut step),
                }
            }
            (Sums::Single(sums), _) => {
                add!(arg.as_primitive::<Float32Type>(), groups, counts, |g: usize, v: f32| {
                    sums[g] += v
                })
            }
            (Sums::Double(sums), DataType::Float32) => {
                add!(arg.as_primitive::<Float32Type>(), groups, counts, |g: usize, v: f32| {
                    sums[g] += f64::from(v)
                })
            }
            (Sums::Double(sums), _) => {
                add!(arg.as_primitive::<Float64Type>(), groups, counts, |g: usize, v: f64| {
                    sums[g] += v
                })
            }
            (Sums::Decimal(sums, _), _) => {
                add!(
                    arg.as_primitive::<Decimal128Type>(),
                    groups,
                    counts,
                    |g: usize, v: i128| {
                        let before = match (sums[g], restarts) {
                            (None, true) => Some(0),
                            (sum, _) => sum,
                        };
                        sums[g] = before
                            .and_then(|sum| sum.checked_add(v))
                            .filter(|sum| sum.abs() <= DECIMAL_MAX);
                    }
                )
            }
        }
        Ok(())
    }

    fn evaluate(&self) -> Result<ArrayRef, Error> {
        Ok(match &self.sums {
            Sums::Integer(sums) => {
                let values = self.integers(sums).into_iter();
                // Narrow sums wrap, because Flink adds in the argument's type.
                match self.result {
                    DataType::Int8 => Arc::new(values.map(|v| v.map(|v| v as i8)).collect::<Int8Array>()) as ArrayRef,
                    DataType::Int16 => Arc::new(values.map(|v| v.map(|v| v as i16)).collect::<Int16Array>()),
                    DataType::Int32 => Arc::new(values.map(|v| v.map(|v| v as i32)).collect::<Int32Array>()),
                    _ => Arc::new(values.collect::<Int64Array>()),
                }
            }
            Sums::Single(sums) => {
                let values = sums
                    .iter()
                    .zip(&self.counts)
                    .map(|(sum, count)| (*count > 0).then_some(*sum));
                Arc::new(values.collect::<Float32Array>())
            }
            Sums::Double(sums) if self.result == DataType::Float32 => Arc::new(
                self.doubles(sums)
                    .into_iter()
                    .map(|v| v.map(|v| v as f32))
                    .collect::<Float32Array>(),
            ),
            Sums::Double(sums) => Arc::new(self.doubles(sums).into_iter().collect::<Float64Array>()),
            Sums::Decimal(sums, scale) => {
                let values: Decimal128Array = self.decimals(sums, *scale).into_iter().collect();
                Arc::new(values.with_data_type(self.result.clone()))
            }
        })
    }

    fn state(&self) -> Result<Vec<ArrayRef>, Error> {
        let sums: ArrayRef = match &self.sums {
            Sums::Integer(sums) => Arc::new(Int64Array::from(sums.clone())),
            Sums::Single(sums) => Arc::new(Float32Array::from(sums.clone())),
            Sums::Double(sums) => Arc::new(Float64Array::from(sums.clone())),
            Sums::Decimal(sums, _) => {
                let values: Decimal128Array = sums.iter().copied().collect();
                Arc::new(values.with_data_type(DataType::Decimal128(38, 0)))
            }
        };
        Ok(vec![sums, Arc::new(Int64Array::from(self.counts.clone()))])
    }

    fn merge(&mut self, groups: &[u32], total: usize, state: &[ArrayRef]) -> Result<(), Error> {
        self.resize(total);
        let more: &Int64Array = column(state, 1)?;
        match &mut self.sums {
            Sums::Integer(sums) => {
                let from: &Int64Array = column(state, 0)?;
                let add = |(group, sum): (&u32, &i64)| {
                    let slot = &mut sums[*group as usize];
                    *slot = slot.wrapping_add(*sum);
                };
                groups.iter().zip(from.values()).for_each(add);
            }
            Sums::Single(sums) => {
                let from: &Float32Array = column(state, 0)?;
                groups
                    .iter()
                    .zip(from.values())
                    .for_each(|(group, sum)| sums[*group as usize] += *sum);
            }
            Sums::Double(sums) => {
                let from: &Float64Array = column(state, 0)?;
                groups
                    .iter()
                    .zip(from.values())
                    .for_each(|(group, sum)| sums[*group as usize] += *sum);
            }
            Sums::Decimal(sums, _) => {
                let from: &Decimal128Array = column(state, 0)?;
                for (row, (group, sum)) in groups.iter().zip(from).enumerate() {
                    let group = *group as usize;
                    if more.value(row) == 0 {
                        continue;
                    }
                    sums[group] = match (self.counts[group], sums[group], sum) {
                        (0, _, sum) => sum,
                        (_, Some(a), Some(b)) => a.checked_add(b).filter(|sum| sum.abs() <= DECIMAL_MAX),
                        // One side has overflowed: SUM goes on with the other, AVG has lost it.
                        (_, a, b) if self.kind == NumberResult::Sum => a.or(b),
                        _ => None,
                    };
                }
            }
        }
        groups
            .iter()
            .zip(more.values())
            .for_each(|(group, count)| self.counts[*group as usize] += *count);
        Ok(())
    }
}
