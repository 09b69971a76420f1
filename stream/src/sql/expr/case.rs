//! CASE and what is a CASE in other words: COALESCE, NULLIF, IF.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use sqlparser::ast::{self, CaseWhen};

use super::coerce::{cast_to, common_type};
use super::{Binder, Bound, at};
use crate::Error;
use crate::expression::{Choice, Coalesce, Expr};
use crate::sql::data_type::name;
use crate::sql::facts::Facts;

impl Binder<'_> {
    pub(super) fn case(
        &mut self,
        operand: Option<&ast::Expr>,
        conditions: &[CaseWhen],
        otherwise: Option<&ast::Expr>,
    ) -> Result<Bound, Error> {
        let operand = operand.map(|operand| self.bind(operand)).transpose()?;
        let mut branches = Vec::new();
        for when in conditions {
            let condition = match &operand {
                None => self.bind_condition(&when.condition, "WHEN")?,
                Some(operand) => {
                    let value = self.bind(&when.condition)?;
                    self.compare(operand.clone(), Operator::Eq, value, &at(&when.condition))?
                }
            };
            branches.push((condition, self.bind(&when.result)?));
        }
        let otherwise = otherwise.map(|otherwise| self.bind(otherwise)).transpose()?;
        let place = conditions.first().map_or_else(String::new, |when| at(&when.result));
        choose(branches, otherwise, &place)
    }

    pub(super) fn coalesce(&mut self, args: Vec<Bound>, place: &str) -> Result<Bound, Error> {
        let Some(first) = args.first() else {
            return Err(Error::validate(format!("COALESCE wants arguments{place}")));
        };
        let common = common(&args.iter().collect::<Vec<_>>(), place)?;
        let either = args
            .iter()
            .skip(1)
            .fold(first.facts.clone(), |facts, arg| facts.either(&arg.facts));
        let facts = either.with_not_null(args.iter().any(|arg| arg.facts.not_null));
        // What stands behind a value that is never NULL is not reached.
        let reached = args
            .iter()
            .position(|arg| arg.facts.not_null)
            .map_or(args.len(), |at| at + 1);
        let mut values = args
            .into_iter()
            .take(reached)
            .map(|arg| Ok(cast_to(arg, &common)?.expr))
            .collect::<Result<Vec<_>, Error>>()?;
        let expr: Expr = match (values.pop(), values.is_empty()) {
            (Some(only), true) => only,
            (last, _) => {
                values.extend(last);
                Arc::new(Coalesce::new(values, common.clone()))
            }
        };
        Ok(Bound::new(expr, common).with(facts))
    }

    pub(super) fn nullif(&mut self, args: Vec<Bound>, place: &str) -> Result<Bound, Error> {
        let [value, other] =
            <[Bound; 2]>::try_from(args).map_err(|_| Error::validate(format!("NULLIF wants two arguments{place}")))?;
        let equal = self.compare(value.clone(), Operator::Eq, other, place)?;
        Ok(choose(vec![(equal, Bound::literal(ScalarValue::Null))], Some(value), place)?.not_null(false))
    }

    pub(super) fn choice(&mut self, args: Vec<Bound>, place: &str) -> Result<Bound, Error> {
        let [condition, then, otherwise] =
            <[Bound; 3]>::try_from(args).map_err(|_| Error::validate(format!("IF wants three arguments{place}")))?;
        if condition.data != DataType::Boolean {
            return Err(Error::validate(format!("IF wants a condition{place}")));
        }
        // Flink's IF may always be NULL, as its type says.
        Ok(choose(vec![(condition, then)], Some(otherwise), place)?.not_null(false))
    }
}

fn choose(branches: Vec<(Bound, Bound)>, otherwise: Option<Bound>, place: &str) -> Result<Bound, Error> {
    let mut results: Vec<&Bound> = branches.iter().map(|(_, result)| result).collect();
    results.extend(&otherwise);
    let common = common(&results, place)?;
    let mut typed = results.iter().filter(|result| result.data != DataType::Null);
    let facts = typed.next().map_or_else(Facts::default, |first| {
        typed.fold(first.facts.clone(), |facts, result| facts.either(&result.facts))
    });
    let facts = facts.with_not_null(otherwise.is_some() && results.iter().all(|result| result.facts.not_null));
    let branches = branches
        .into_iter()
        .map(|(condition, result)| Ok((condition.expr, cast_to(result, &common)?.expr)))
        .collect::<Result<Vec<_>, Error>>()?;
    let otherwise = otherwise
        .map(|otherwise| cast_to(otherwise, &common))
        .transpose()?
        .map(|bound| bound.expr);
    let case = Choice::new(branches, otherwise, common.clone());
    Ok(Bound::new(Arc::new(case), common).with(facts))
}

/// The type that all values have in common.
fn common(values: &[&Bound], place: &str) -> Result<DataType, Error> {
    let types: Vec<DataType> = values.iter().map(|value| value.data.clone()).collect();
    common_type(&types).ok_or_else(|| {
        let names: Vec<String> = types.iter().map(name).collect();
        Error::validate(format!(
            "Illegal mixing of types in CASE or COALESCE: {}{place}",
            names.join(", ")
        ))
    })
}
