//! Arithmetic on DECIMAL with Flink's precision and scale.
//!
//! Results are exact in 256 bits and then rounded half up to the scale that Flink derives; what outgrows the precision
//! is NULL. Arrow's own kernels keep the full scale and fail instead, so they are not used.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array};
use arrow::datatypes::{DataType, Decimal128Type, SchemaRef, i256};
use datafusion::common::{DataFusionError, Result as DfResult};
use datafusion::logical_expr::{
    ColumnarValue, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr::ScalarFunctionExpr;

use super::Bound;
use super::coerce::cast_to;
use crate::Error;

const PRECISION_MAX: i32 = 38;
/// The digits behind the point that are kept when the precision must be cut, and that a quotient has at least.
const SCALE_MIN: i32 = 6;

/// The operation on numbers of precision and scale `l` and `r`; integers are cast first.
pub fn bind(
    left: Bound,
    l: (u8, i8),
    op: Operator,
    right: Bound,
    r: (u8, i8),
    schema: &SchemaRef,
) -> Result<Bound, Error> {
    let (precision, scale) = derive(op, l, r);
    let left = cast_to(left, &DataType::Decimal128(l.0, l.1))?;
    let right = cast_to(right, &DataType::Decimal128(r.0, r.1))?;
    let function = DecimalOp {
        op,
        precision,
        scale,
        signature: Signature::any(2, Volatility::Immutable),
    };
    let udf = Arc::new(ScalarUDF::from(function));
    // What outgrows the precision is NULL, which Flink's type does not say.
    let facts = super::arithmetic::strict(&[&left, &right]);
    let args = vec![left.expr, right.expr];
    let expr = ScalarFunctionExpr::try_new(udf, args, schema, super::call::config()).map_err(Error::validate)?;
    Ok(Bound::new(Arc::new(expr), DataType::Decimal128(precision, scale)).with(facts))
}

/// Flink's LogicalTypeMerging: the result's precision and scale.
fn derive(op: Operator, (lp, ls): (u8, i8), (rp, rs): (u8, i8)) -> (u8, i8) {
    let (lp, ls, rp, rs) = (i32::from(lp), i32::from(ls), i32::from(rp), i32::from(rs));
    let (precision, scale) = match op {
        Operator::Multiply => (lp + rp + 1, ls + rs),
        Operator::Divide => {
            let scale = SCALE_MIN.max(ls + rp + 1);
            (lp - ls + rs + scale, scale)
        }
        Operator::Modulo => {
            let scale = ls.max(rs);
            ((lp - ls).min(rp - rs) + scale, scale)
        }
        _ => {
            let scale = ls.max(rs);
            ((lp - ls).max(rp - rs) + scale + 1, scale)
        }
    };
    if precision <= PRECISION_MAX {
        return (precision.max(1) as u8, scale as i8);
    }
    let whole = precision - scale;
    let scale = (PRECISION_MAX - whole).max(scale.min(SCALE_MIN));
    (PRECISION_MAX as u8, scale as i8)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DecimalOp {
    op: Operator,
    precision: u8,
    scale: i8,
    signature: Signature,
}

impl ScalarUDFImpl for DecimalOp {
    fn name(&self) -> &str {
        match self.op {
            Operator::Plus => "decimal_plus",
            Operator::Minus => "decimal_minus",
            Operator::Multiply => "decimal_times",
            Operator::Divide => "decimal_divide",
            _ => "decimal_mod",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _args: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Decimal128(self.precision, self.scale))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let [left, right] = arrays.as_slice() else {
            return Err(DataFusionError::Internal(
                "a decimal operation takes two arguments".into(),
            ));
        };
        Ok(ColumnarValue::Array(self.compute(left, right)?))
    }
}

impl DecimalOp {
    fn compute(&self, left: &ArrayRef, right: &ArrayRef) -> DfResult<ArrayRef> {
        let scale_of = |array: &ArrayRef| match array.data_type() {
            DataType::Decimal128(_, scale) => i32::from(*scale),
            _ => 0,
        };
        let (ls, rs) = (scale_of(left), scale_of(right));
        let (left, right) = (
            left.as_primitive::<Decimal128Type>(),
            right.as_primitive::<Decimal128Type>(),
        );
        let limit = power(i32::from(self.precision)).unwrap_or(i256::MAX);
        let mut values = Vec::with_capacity(left.len());
        for row in 0..left.len() {
            if left.is_null(row) || right.is_null(row) {
                values.push(None);
                continue;
            }
            let (l, r) = (i256::from_i128(left.value(row)), i256::from_i128(right.value(row)));
            if r == i256::ZERO && matches!(self.op, Operator::Divide | Operator::Modulo) {
                return Err(DataFusionError::Execution("Division by zero".into()));
            }
            let value = self.value(l, ls, r, rs).filter(|value| value.wrapping_abs() < limit);
            values.push(value.and_then(i256::to_i128));
        }
        let array = Decimal128Array::from(values).with_precision_and_scale(self.precision, self.scale)?;
        Ok(Arc::new(array))
    }

    /// The result at the result's scale; none if it does not fit.
    fn value(&self, l: i256, ls: i32, r: i256, rs: i32) -> Option<i256> {
        let scale = i32::from(self.scale);
        match self.op {
            Operator::Multiply => rescale(l.checked_mul(r)?, ls + rs, scale),
            Operator::Divide => {
                // l / 10^ls / (r / 10^rs) at `scale`: the numerator gets `scale - ls + rs` digits more.
                let shift = scale - ls + rs;
                if shift >= 0 {
                    return half_up(l.checked_mul(power(shift)?)?, r);
                }
                half_up(l, r.checked_mul(power(-shift)?)?)
            }
            op => {
                let common = ls.max(rs);
                let (l, r) = (rescale(l, ls, common)?, rescale(r, rs, common)?);
                let value = match op {
                    Operator::Plus => l.checked_add(r)?,
                    Operator::Minus => l.checked_sub(r)?,
                    _ => l.checked_rem(r)?,
                };
                rescale(value, common, scale)
            }
        }
    }
}

fn power(digits: i32) -> Option<i256> {
    i256::from_i128(10).checked_pow(u32::try_from(digits).ok()?)
}

fn rescale(value: i256, from: i32, to: i32) -> Option<i256> {
    if to >= from {
        value.checked_mul(power(to - from)?)
    } else {
        half_up(value, power(from - to)?)
    }
}

/// Division rounding halves away from zero.
fn half_up(value: i256, by: i256) -> Option<i256> {
    let quotient = value.checked_div(by)?;
    let rest = value.checked_rem(by)?.wrapping_abs();
    let away = if (value < i256::ZERO) == (by < i256::ZERO) {
        i256::ONE
    } else {
        i256::MINUS_ONE
    };
    if rest >= by.wrapping_abs().checked_sub(rest)? {
        quotient.checked_add(away)
    } else {
        Some(quotient)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precision_and_scale_are_flinks() {
        assert_eq!(derive(Operator::Plus, (20, 5), (10, 0)), (21, 5));
        assert_eq!(derive(Operator::Multiply, (20, 5), (10, 0)), (31, 5));
        assert_eq!(derive(Operator::Divide, (20, 5), (10, 0)), (31, 16));
        assert_eq!(derive(Operator::Modulo, (20, 5), (10, 0)), (15, 5));
        assert_eq!(derive(Operator::Multiply, (20, 5), (38, 10)), (38, 6));
    }

    #[test]
    fn halves_round_away_from_zero_and_overflow_is_none() {
        let op = |op, precision, scale| DecimalOp {
            op,
            precision,
            scale,
            signature: Signature::any(2, Volatility::Immutable),
        };
        let int = i256::from_i128;
        assert_eq!(op(Operator::Divide, 10, 0).value(int(5), 0, int(2), 0), Some(int(3)));
        assert_eq!(op(Operator::Divide, 10, 0).value(int(-5), 0, int(2), 0), Some(int(-3)));
        assert_eq!(op(Operator::Multiply, 38, 1).value(int(25), 1, int(1), 1), Some(int(3)));
        assert_eq!(
            op(Operator::Modulo, 15, 5).value(int(-50), 2, int(2), 0),
            Some(int(-50_000))
        );
    }
}
