//! `+ - * / %`, `||`, and time arithmetic.

use std::sync::Arc;

use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::BinaryExpr;
use sqlparser::ast::{BinaryOperator, Expr};

use super::coerce::{cast_to, decimal_of, is_numeric, wider};
use super::decimal;
use super::literal::is_duration;
use super::{Binder, Bound, at};
use crate::Error;
use crate::expression::{Junction, Kind, Quotient};
use crate::format::temporal::WIDE_TIMESTAMP;
use crate::sql::data_type::name;
use crate::sql::facts::Facts;

const DAY_MILLIS: i64 = 86_400_000;

impl Binder<'_> {
    pub(super) fn binary(
        &mut self,
        left: &Expr,
        op: &BinaryOperator,
        right: &Expr,
        whole: &Expr,
    ) -> Result<Bound, Error> {
        let logical = match op {
            BinaryOperator::And => Some(Kind::And),
            BinaryOperator::Or => Some(Kind::Or),
            _ => None,
        };
        if let Some(logical) = logical {
            let (left, right) = (
                self.bind_condition(left, "AND/OR")?,
                self.bind_condition(right, "AND/OR")?,
            );
            return Ok(junction(logical, vec![left, right]));
        }
        let place = at(whole);
        let (left, right) = (self.bind(left)?, self.bind(right)?);
        let comparison = match op {
            BinaryOperator::Eq => Operator::Eq,
            BinaryOperator::NotEq => Operator::NotEq,
            BinaryOperator::Lt => Operator::Lt,
            BinaryOperator::LtEq => Operator::LtEq,
            BinaryOperator::Gt => Operator::Gt,
            BinaryOperator::GtEq => Operator::GtEq,
            BinaryOperator::StringConcat => return self.apply("CONCAT_OPERATOR", vec![left, right], &place),
            BinaryOperator::Plus => return self.arithmetic(left, Operator::Plus, right, &place),
            BinaryOperator::Minus => return self.arithmetic(left, Operator::Minus, right, &place),
            BinaryOperator::Multiply => return self.arithmetic(left, Operator::Multiply, right, &place),
            BinaryOperator::Divide => return self.arithmetic(left, Operator::Divide, right, &place),
            BinaryOperator::Modulo => return self.arithmetic(left, Operator::Modulo, right, &place),
            other => {
                return Err(Error::parse(format!(
                    "Encountered \"{other}\"{place}: no operator of Flink SQL"
                )));
            }
        };
        self.compare(left, comparison, right, &place)
    }

    pub(super) fn arithmetic(&mut self, left: Bound, op: Operator, right: Bound, at: &str) -> Result<Bound, Error> {
        if is_time_or_interval(&left.data) || is_time_or_interval(&right.data) {
            if left.data == WIDE_TIMESTAMP || right.data == WIDE_TIMESTAMP {
                return self.wide_arithmetic(left, op, right, at);
            }
            return time_arithmetic(left, op, right, at);
        }
        let (left, right) = match (&left.data, &right.data) {
            (DataType::Null, other) if is_numeric(other) => (cast_to(left, &other.clone())?, right),
            (other, DataType::Null) if is_numeric(other) => {
                let data = other.clone();
                (left, cast_to(right, &data)?)
            }
            _ => (left, right),
        };
        if !is_numeric(&left.data) || !is_numeric(&right.data) {
            return Err(misfit(&left, op, &right, at));
        }
        if let (Some(l), Some(r)) = (decimal_of(&left.data), decimal_of(&right.data)) {
            if left.data.is_signed_integer() && right.data.is_signed_integer() {
                let data = wider(&left.data, &right.data).clone();
                return plain(cast_to(left, &data)?, op, cast_to(right, &data)?, data);
            }
            return decimal::bind(left, l, op, right, r, &self.input_schema());
        }
        let single = [&left.data, &right.data]
            .iter()
            .all(|data| **data == DataType::Float32 || data.is_signed_integer());
        let data = if single { DataType::Float32 } else { DataType::Float64 };
        plain(cast_to(left, &data)?, op, cast_to(right, &data)?, data)
    }

    /// A TIMESTAMP(7) to (9) and an interval, as TIMESTAMPADD.
    fn wide_arithmetic(&mut self, left: Bound, op: Operator, right: Bound, at: &str) -> Result<Bound, Error> {
        let is_interval =
            |data: &DataType| is_duration(data) || matches!(data, DataType::Interval(IntervalUnit::YearMonth));
        let (time, interval) = match op {
            Operator::Plus if is_interval(&left.data) => (right, left),
            Operator::Plus | Operator::Minus if is_interval(&right.data) => (left, right),
            _ => return Err(misfit(&left, op, &right, at)),
        };
        let unit = if is_duration(&interval.data) {
            "MILLISECOND"
        } else {
            "MONTH"
        };
        let count = self.cast_by_function(interval, &DataType::Int64, at)?;
        let count = if op == Operator::Minus {
            let minus = Bound::literal(ScalarValue::Int64(Some(-1)));
            plain(count, Operator::Multiply, minus, DataType::Int64)?
        } else {
            count
        };
        let unit = Bound::literal(ScalarValue::Utf8(Some(unit.to_owned())));
        self.apply("TIMESTAMPADD", vec![unit, count, time], at)
    }

    pub(super) fn negate(&mut self, bound: Bound, whole: &Expr) -> Result<Bound, Error> {
        let place = at(whole);
        match bound.constant() {
            Some(ScalarValue::DurationMillisecond(Some(millis))) => {
                return Ok(Bound::literal(ScalarValue::DurationMillisecond(Some(-millis))));
            }
            Some(ScalarValue::IntervalYearMonth(Some(months))) => {
                return Ok(Bound::literal(ScalarValue::IntervalYearMonth(Some(-months))));
            }
            _ => {}
        }
        match &bound.data {
            DataType::Decimal128(precision, scale) => {
                // 0 - x has one digit more than x; -x has as many.
                let data = DataType::Decimal128(*precision, *scale);
                let zero = Bound::literal(ScalarValue::Decimal128(Some(0), *precision, *scale));
                let (l, r) = ((*precision, *scale), (*precision, *scale));
                cast_to(
                    decimal::bind(zero, l, Operator::Minus, bound, r, &self.input_schema())?,
                    &data,
                )
            }
            data if is_numeric(data) => {
                let data = data.clone();
                let minus = cast_to(Bound::literal(ScalarValue::Int8(Some(-1))), &data)?;
                plain(bound, Operator::Multiply, minus, data)
            }
            other => Err(Error::validate(format!("Cannot apply '-' to {}{place}", name(other)))),
        }
    }
}

fn plain(left: Bound, op: Operator, right: Bound, data: DataType) -> Result<Bound, Error> {
    let facts = strict(&[&left, &right]);
    let divides = matches!(op, Operator::Divide | Operator::Modulo);
    let expr: Arc<dyn PhysicalExpr> = if divides && data.is_signed_integer() {
        Arc::new(Quotient::new(left.expr, op, right.expr, data.clone()))
    } else {
        Arc::new(BinaryExpr::new(left.expr, op, right.expr))
    };
    Ok(Bound::new(expr, data).with(facts))
}

/// NULL where an operand is.
pub(super) fn strict(operands: &[&Bound]) -> Facts {
    Facts::default().with_not_null(operands.iter().all(|operand| operand.facts.not_null))
}

/// AND or OR of conditions.
pub(super) fn junction(kind: Kind, conditions: Vec<Bound>) -> Bound {
    let facts = strict(&conditions.iter().collect::<Vec<_>>());
    let expr = Junction::of(kind, conditions.into_iter().map(|condition| condition.expr));
    Bound::new(expr, DataType::Boolean).with(facts)
}

fn misfit(left: &Bound, op: Operator, right: &Bound, at: &str) -> Error {
    Error::validate(format!(
        "Cannot apply '{op}' to arguments of type {} and {}{at}",
        name(&left.data),
        name(&right.data)
    ))
}

fn is_time_or_interval(data: &DataType) -> bool {
    data.is_temporal()
}

/// Times and intervals: a time ± an interval, an interval ± an interval, an interval times a number.
fn time_arithmetic(left: Bound, op: Operator, right: Bound, at: &str) -> Result<Bound, Error> {
    use DataType::{Date32, Duration, Interval, Timestamp};
    let signed = matches!(op, Operator::Plus | Operator::Minus);
    match (&left.data, &right.data) {
        (Timestamp(..), Duration(_)) if signed => timestamp_duration(left, op, right),
        (Duration(_), Timestamp(..)) if op == Operator::Plus => timestamp_duration(right, op, left),
        (Timestamp(..) | Date32, Interval(IntervalUnit::YearMonth)) if signed => {
            let data = left.data.clone();
            plain(left, op, right, data)
        }
        (Interval(IntervalUnit::YearMonth), Timestamp(..) | Date32) if op == Operator::Plus => {
            let data = right.data.clone();
            plain(right, op, left, data)
        }
        (Date32, Duration(_)) if signed => date_duration(left, op, right, at),
        (Duration(_), Date32) if op == Operator::Plus => date_duration(right, op, left, at),
        (Duration(_), Duration(_)) if signed => plain(left, op, right, Duration(TimeUnit::Millisecond)),
        (Duration(_), number) if number.is_signed_integer() && op == Operator::Multiply => scale(left, right),
        (number, Duration(_)) if number.is_signed_integer() && op == Operator::Multiply => scale(right, left),
        (DataType::Null, _) | (_, DataType::Null) => {
            let data = if left.data == DataType::Null {
                right.data
            } else {
                left.data
            };
            cast_to(Bound::literal(ScalarValue::Null), &data)
        }
        _ => Err(misfit(&left, op, &right, at)),
    }
}

fn timestamp_duration(time: Bound, op: Operator, duration: Bound) -> Result<Bound, Error> {
    let DataType::Timestamp(unit, zone) = time.data.clone() else {
        return Ok(time);
    };
    // Whole seconds hold no milliseconds.
    let unit = unit.max(TimeUnit::Millisecond);
    let data = DataType::Timestamp(unit, zone);
    let time = cast_to(time, &data)?;
    let duration = cast_to(duration, &DataType::Duration(unit))?;
    plain(time, op, duration, data)
}

fn date_duration(date: Bound, op: Operator, duration: Bound, at: &str) -> Result<Bound, Error> {
    let Some(ScalarValue::DurationMillisecond(Some(millis))) = duration.constant() else {
        return Err(Error::unsupported(format!(
            "a DATE and an INTERVAL that is not a literal{at}; cast to TIMESTAMP(3)"
        )));
    };
    let days = i32::try_from(millis.div_euclid(DAY_MILLIS)).unwrap_or(i32::MAX);
    let interval = ScalarValue::new_interval_dt(days, 0);
    plain(date, op, Bound::literal(interval), DataType::Date32)
}

fn scale(duration: Bound, number: Bound) -> Result<Bound, Error> {
    let data = duration.data.clone();
    if !is_duration(&data) {
        return Err(Error::unsupported("this interval times a number"));
    }
    let millis = cast_to(duration, &DataType::Int64)?;
    let product = plain(
        millis,
        Operator::Multiply,
        cast_to(number, &DataType::Int64)?,
        DataType::Int64,
    )?;
    cast_to(product, &data)
}
