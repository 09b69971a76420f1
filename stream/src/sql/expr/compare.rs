//! Comparisons and truth.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, in_list, is_not_null, is_null};
use sqlparser::ast;

use super::arithmetic::junction;
use super::coerce::{cast_to, common_type, decimal_of, is_numeric};
use super::{Binder, Bound, at};
use crate::Error;
use crate::expression::{Choice, Comparison, Expr, Kind, is_deterministic};
use crate::format::temporal::WIDE_TIMESTAMP;
use crate::sql::data_type::name;
use crate::sql::facts::Facts;

impl Binder<'_> {
    pub fn compare(&mut self, left: Bound, op: Operator, right: Bound, at: &str) -> Result<Bound, Error> {
        let (left, right) = self.comparable(left, right, at)?;
        let is_distinct = matches!(op, Operator::IsDistinctFrom | Operator::IsNotDistinctFrom);
        let facts = Facts::default().with_not_null(is_distinct || left.facts.not_null && right.facts.not_null);
        if left.expr.as_ref() == right.expr.as_ref() && is_deterministic(&left.expr) {
            return compare_with_itself(left, op, facts);
        }
        let expr: Expr = if Comparison::is_for(&left.data, op) {
            Arc::new(Comparison::new(left.expr, op, right.expr))
        } else {
            Arc::new(BinaryExpr::new(left.expr, op, right.expr))
        };
        Ok(Bound::new(expr, DataType::Boolean).with(facts))
    }

    /// Casts both sides to the type in which they are compared.
    pub fn comparable(&mut self, left: Bound, right: Bound, at: &str) -> Result<(Bound, Bound), Error> {
        let refuse = |left: &Bound, right: &Bound| {
            Error::validate(format!(
                "Cannot compare {} with {}{at}",
                name(&left.data),
                name(&right.data)
            ))
        };
        if matches!(left.data, DataType::Map(..)) || matches!(right.data, DataType::Map(..)) {
            return Err(refuse(&left, &right));
        }
        // A string beside something else is read as that.
        if left.data == DataType::Utf8 && is_readable(&right.data) {
            let left = self.cast_by_function(left, &right.data, at)?;
            return Ok((left, right));
        }
        if right.data == DataType::Utf8 && is_readable(&left.data) {
            let right = self.cast_by_function(right, &left.data, at)?;
            return Ok((left, right));
        }
        let common = match (decimal_of(&left.data), decimal_of(&right.data)) {
            (Some((lp, ls)), Some((rp, rs))) if !(left.data.is_signed_integer() && right.data.is_signed_integer()) => {
                let scale = ls.max(rs);
                let whole = (i16::from(lp) - i16::from(ls)).max(i16::from(rp) - i16::from(rs));
                let precision = whole + i16::from(scale);
                // Compared exactly also where no DECIMAL of 38 digits holds both.
                if precision > 38 {
                    DataType::Decimal256(76, scale)
                } else {
                    DataType::Decimal128(precision as u8, scale)
                }
            }
            _ => common_type(&[left.data.clone(), right.data.clone()]).ok_or_else(|| refuse(&left, &right))?,
        };
        let common = if common == DataType::Float32 && left.data != right.data {
            DataType::Float64
        } else {
            common
        };
        Ok((cast_to(left, &common)?, cast_to(right, &common)?))
    }

    pub(super) fn is_null(&mut self, inner: &ast::Expr, negated: bool) -> Result<Bound, Error> {
        let bound = self.bind(inner)?;
        let expr = if negated {
            is_not_null(bound.expr)
        } else {
            is_null(bound.expr)
        };
        Ok(Bound::new(expr.map_err(Error::validate)?, DataType::Boolean).not_null(true))
    }

    pub(super) fn is_truth(&mut self, inner: &ast::Expr, truth: bool, negated: bool) -> Result<Bound, Error> {
        let bound = self.bind_condition(inner, "IS")?;
        let op = if negated {
            Operator::IsDistinctFrom
        } else {
            Operator::IsNotDistinctFrom
        };
        let truth = Bound::literal(ScalarValue::Boolean(Some(truth)));
        let expr = Arc::new(BinaryExpr::new(bound.expr, op, truth.expr));
        Ok(Bound::new(expr, DataType::Boolean).not_null(true))
    }

    pub(super) fn distinct(&mut self, left: &ast::Expr, right: &ast::Expr, distinct: bool) -> Result<Bound, Error> {
        let place = at(left);
        let (left, right) = (self.bind(left)?, self.bind(right)?);
        let op = if distinct {
            Operator::IsDistinctFrom
        } else {
            Operator::IsNotDistinctFrom
        };
        self.compare(left, op, right, &place)
    }

    pub(super) fn between(
        &mut self,
        inner: &ast::Expr,
        low: &ast::Expr,
        high: &ast::Expr,
        negated: bool,
    ) -> Result<Bound, Error> {
        let place = at(inner);
        let (inner, low, high) = (self.bind(inner)?, self.bind(low)?, self.bind(high)?);
        let above = self.compare(inner.clone(), Operator::GtEq, low, &place)?;
        let below = self.compare(inner, Operator::LtEq, high, &place)?;
        let both = junction(Kind::And, vec![above, below]);
        if negated { super::negated(both) } else { Ok(both) }
    }

    /// `x BETWEEN SYMMETRIC a AND b`: between them in either order.
    pub(super) fn between_symmetric(&mut self, args: Vec<Bound>, place: &str) -> Result<Bound, Error> {
        let [inner, a, b] =
            <[Bound; 3]>::try_from(args).map_err(|_| Error::parse("BETWEEN SYMMETRIC wants two bounds"))?;
        let mut side = |low: &Bound, high: &Bound| {
            let above = self.compare(inner.clone(), Operator::GtEq, low.clone(), place)?;
            let below = self.compare(inner.clone(), Operator::LtEq, high.clone(), place)?;
            Ok::<_, Error>(junction(Kind::And, vec![above, below]))
        };
        let (forth, back) = (side(&a, &b)?, side(&b, &a)?);
        Ok(junction(Kind::Or, vec![forth, back]))
    }

    pub(super) fn in_list(&mut self, inner: &ast::Expr, list: &[ast::Expr], negated: bool) -> Result<Bound, Error> {
        let place = at(inner);
        let inner = self.bind(inner)?;
        let list = list.iter().map(|item| self.bind(item)).collect::<Result<Vec<_>, _>>()?;
        let mut types: Vec<DataType> = list.iter().map(|item| item.data.clone()).collect();
        types.push(inner.data.clone());
        // Strings among others, floats, and values that are computed: each is compared by itself, in the list's order.
        let common = match common_type(&types) {
            Some(common)
                if !Comparison::is_for(&common, Operator::Eq)
                    && common != WIDE_TIMESTAMP
                    && list.iter().all(|item| item.constant().is_some()) =>
            {
                common
            }
            _ => return self.in_list_singly(inner, list, negated, &place),
        };
        let facts = super::arithmetic::strict(&list.iter().chain([&inner]).collect::<Vec<_>>());
        let list = list
            .into_iter()
            .map(|item| Ok(cast_to(item, &common)?.expr))
            .collect::<Result<Vec<_>, Error>>()?;
        let inner = cast_to(inner, &common)?;
        let expr = in_list(inner.expr, list, &negated, &self.input_schema()).map_err(Error::validate)?;
        Ok(Bound::new(expr, DataType::Boolean).with(facts))
    }

    fn in_list_singly(&mut self, inner: Bound, list: Vec<Bound>, negated: bool, at: &str) -> Result<Bound, Error> {
        if list.is_empty() {
            return Err(Error::parse(format!("IN wants a list that is not empty{at}")));
        }
        let equals = list
            .into_iter()
            .map(|item| self.compare(inner.clone(), Operator::Eq, item, at))
            .collect::<Result<Vec<_>, _>>()?;
        let any = junction(Kind::Or, equals);
        if negated { super::negated(any) } else { Ok(any) }
    }
}

/// `x = x` and its kin: Flink's optimizer knows the result of what is not NULL, also where NaN would have another.
fn compare_with_itself(side: Bound, op: Operator, facts: Facts) -> Result<Bound, Error> {
    let truth = matches!(
        op,
        Operator::Eq | Operator::LtEq | Operator::GtEq | Operator::IsNotDistinctFrom
    );
    let result = Bound::literal(ScalarValue::Boolean(Some(truth)));
    if facts.not_null {
        return Ok(result);
    }
    let there = is_not_null(side.expr).map_err(Error::validate)?;
    let expr = Choice::new(vec![(there, result.expr)], None, DataType::Boolean);
    Ok(Bound::new(Arc::new(expr), DataType::Boolean))
}

/// Whether a string is read as this type when compared with it.
fn is_readable(data: &DataType) -> bool {
    is_numeric(data)
        || matches!(
            data,
            DataType::Boolean | DataType::Date32 | DataType::Time32(_) | DataType::Timestamp(..)
        )
        || *data == WIDE_TIMESTAMP
}
