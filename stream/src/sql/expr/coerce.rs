//! Which types go together, and the casts that bring them there.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::physical_expr::ScalarFunctionExpr;
use datafusion::physical_expr::expressions::CastExpr;

use super::Bound;
use crate::Error;
use crate::format::temporal::WIDE_TIMESTAMP;
use crate::functions::{self, SessionFacts};
use crate::sql::facts::Facts;
use crate::time::Zone;

/// The type that values of all `types` can have without loss, as Flink finds it for CASE, COALESCE, VALUES and UNION.
pub fn common_type(types: &[DataType]) -> Option<DataType> {
    let mut common = DataType::Null;
    for data in types {
        common = pair(&common, data)?;
    }
    Some(common)
}

fn pair(left: &DataType, right: &DataType) -> Option<DataType> {
    use DataType::{Date32, Decimal128, Float32, Float64, Null, Time32, Timestamp};
    if left == right {
        return Some(left.clone());
    }
    Some(match (left, right) {
        (Null, other) | (other, Null) => other.clone(),
        (l, r) if l.is_signed_integer() && r.is_signed_integer() => wider(l, r).clone(),
        (Float64, r) if is_numeric(r) => Float64,
        (l, Float64) if is_numeric(l) => Float64,
        (Float32, Decimal128(..)) | (Decimal128(..), Float32) => Float64,
        (Float32, r) if is_numeric(r) => Float32,
        (l, Float32) if is_numeric(l) => Float32,
        (l, r) if is_numeric(l) && is_numeric(r) => {
            let ((lp, ls), (rp, rs)) = (decimal_of(l)?, decimal_of(r)?);
            let scale = ls.max(rs);
            let whole = (i16::from(lp) - i16::from(ls)).max(i16::from(rp) - i16::from(rs));
            let precision = (whole + i16::from(scale)).min(38);
            Decimal128(u8::try_from(precision).ok()?, scale)
        }
        (Timestamp(l, zone), Timestamp(r, other)) if zone == other => Timestamp(finer(*l, *r), zone.clone()),
        (wide, Timestamp(_, None) | Date32) | (Timestamp(_, None) | Date32, wide) if *wide == WIDE_TIMESTAMP => {
            WIDE_TIMESTAMP
        }
        (Date32, Timestamp(unit, None)) | (Timestamp(unit, None), Date32) => Timestamp(*unit, None),
        (Time32(l), Time32(r)) => Time32(finer(*l, *r)),
        _ => return None,
    })
}

/// Precision and scale of an exact number.
pub fn decimal_of(data: &DataType) -> Option<(u8, i8)> {
    Some(match data {
        DataType::Int8 => (3, 0),
        DataType::Int16 => (5, 0),
        DataType::Int32 => (10, 0),
        DataType::Int64 => (19, 0),
        DataType::Decimal128(precision, scale) => (*precision, *scale),
        _ => return None,
    })
}

pub fn is_numeric(data: &DataType) -> bool {
    data.is_signed_integer() || matches!(data, DataType::Float32 | DataType::Float64 | DataType::Decimal128(..))
}

pub fn wider<'a>(left: &'a DataType, right: &'a DataType) -> &'a DataType {
    if left.primitive_width() >= right.primitive_width() {
        left
    } else {
        right
    }
}

fn finer(left: TimeUnit, right: TimeUnit) -> TimeUnit {
    left.max(right)
}

/// Casts where nothing can be lost; a constant at once.
pub fn cast_to(bound: Bound, to: &DataType) -> Result<Bound, Error> {
    if bound.data == *to {
        return Ok(bound);
    }
    let facts = Facts::default().with_not_null(bound.facts.not_null);
    if let Some(value) = bound.constant()
        && (value.is_null() || bound.data != WIDE_TIMESTAMP && *to != WIDE_TIMESTAMP)
        && let Ok(value) = if value.is_null() {
            ScalarValue::try_from(to)
        } else {
            value.cast_to(to)
        }
    {
        return Ok(Bound::literal(value).with(facts));
    }
    if bound.data == WIDE_TIMESTAMP || *to == WIDE_TIMESTAMP {
        // Arrow takes the type for an interval. No zone is involved.
        let session = SessionFacts {
            zone: Zone::UTC,
            now_ms: 0,
            outside: functions::Outside::FIXED,
        };
        let udf = functions::cast(to, None, None, false, &session);
        let field = Arc::new(Field::new("cast", to.clone(), true));
        let expr = ScalarFunctionExpr::new("CAST", udf, vec![bound.expr], field, super::call::config());
        return Ok(Bound::new(Arc::new(expr), to.clone()).with(facts));
    }
    Ok(Bound::new(Arc::new(CastExpr::new(bound.expr, to.clone(), None)), to.clone()).with(facts))
}

/// The same for what stands outside of expressions: columns of VALUES, UNION and INSERT.
pub fn widen(bound: Bound, to: &DataType) -> Result<Bound, Error> {
    cast_to(bound, to)
}

/// Whether INSERT may put `from` into a column of `to` without a CAST.
pub fn implicit_cast(from: &DataType, to: &DataType) -> bool {
    use DataType::{Date32, Decimal128, Float32, Float64, List, Map, Null, Struct, Time32, Timestamp};
    if from == to {
        return true;
    }
    match (from, to) {
        (Null, _) => true,
        (l, r) if l.is_signed_integer() && r.is_signed_integer() => l.primitive_width() <= r.primitive_width(),
        // Rounded to the scale; NULL where the digits do not fit.
        (l, Decimal128(..)) => decimal_of(l).is_some(),
        (l, Float64) => is_numeric(l),
        (l, Float32) => l.is_signed_integer() || matches!(l, Decimal128(..)),
        (Timestamp(..), Timestamp(..)) | (Time32(_), Time32(_)) | (Date32, Timestamp(..)) => true,
        (wide, Timestamp(..)) | (Timestamp(..) | Date32, wide) if *wide == WIDE_TIMESTAMP => true,
        (Float32, _) => false,
        (List(l), List(r)) => implicit_cast(l.data_type(), r.data_type()),
        (Map(l, _), Map(r, _)) => implicit_cast(l.data_type(), r.data_type()),
        (Struct(l), Struct(r)) => {
            l.len() == r.len()
                && l.iter()
                    .zip(r)
                    .all(|(l, r)| implicit_cast(l.data_type(), r.data_type()))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_types_are_flinks() {
        use DataType::{Decimal128, Float32, Float64, Int8, Int32, Int64, Null, Utf8};
        assert_eq!(common_type(&[Int8, Int64, Null]), Some(Int64));
        assert_eq!(common_type(&[Int32, Decimal128(20, 5)]), Some(Decimal128(20, 5)));
        assert_eq!(common_type(&[Int64, Decimal128(20, 5)]), Some(Decimal128(24, 5)));
        assert_eq!(common_type(&[Decimal128(5, 1), Float32]), Some(Float64));
        assert_eq!(common_type(&[Utf8, Int32]), None);
    }
}
