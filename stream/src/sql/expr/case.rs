//! CASE and what is a CASE in other words: COALESCE, NULLIF, IF.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{CaseExpr, is_not_null};
use sqlparser::ast::{CaseWhen, Expr};

use super::coerce::{cast_to, common_type};
use super::{Binder, Bound, at};
use crate::Error;
use crate::sql::data_type::name;

impl Binder<'_> {
    pub(super) fn case(
        &mut self,
        operand: Option<&Expr>,
        conditions: &[CaseWhen],
        otherwise: Option<&Expr>,
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
        let mut branches = Vec::new();
        let mut args = args;
        let last = args
            .pop()
            .ok_or_else(|| Error::validate(format!("COALESCE wants arguments{place}")))?;
        for arg in args {
            let there = is_not_null(Arc::clone(&arg.expr)).map_err(Error::validate)?;
            branches.push((Bound::new(there, DataType::Boolean), arg));
        }
        if branches.is_empty() {
            return Ok(last);
        }
        choose(branches, Some(last), place)
    }

    pub(super) fn nullif(&mut self, args: Vec<Bound>, place: &str) -> Result<Bound, Error> {
        let [value, other] =
            <[Bound; 2]>::try_from(args).map_err(|_| Error::validate(format!("NULLIF wants two arguments{place}")))?;
        let equal = self.compare(value.clone(), Operator::Eq, other, place)?;
        choose(vec![(equal, Bound::literal(ScalarValue::Null))], Some(value), place)
    }

    pub(super) fn choice(&mut self, args: Vec<Bound>, place: &str) -> Result<Bound, Error> {
        let [condition, then, otherwise] =
            <[Bound; 3]>::try_from(args).map_err(|_| Error::validate(format!("IF wants three arguments{place}")))?;
        if condition.data != DataType::Boolean {
            return Err(Error::validate(format!("IF wants a condition{place}")));
        }
        choose(vec![(condition, then)], Some(otherwise), place)
    }
}

fn choose(branches: Vec<(Bound, Bound)>, otherwise: Option<Bound>, place: &str) -> Result<Bound, Error> {
    let mut types: Vec<DataType> = branches.iter().map(|(_, result)| result.data.clone()).collect();
    types.extend(otherwise.iter().map(|otherwise| otherwise.data.clone()));
    let common = common_type(&types).ok_or_else(|| {
        let names: Vec<String> = types.iter().map(name).collect();
        Error::validate(format!(
            "Illegal mixing of types in CASE or COALESCE: {}{place}",
            names.join(", ")
        ))
    })?;
    let branches = branches
        .into_iter()
        .map(|(condition, result)| Ok((condition.expr, cast_to(result, &common)?.expr)))
        .collect::<Result<Vec<_>, Error>>()?;
    let otherwise = otherwise
        .map(|otherwise| cast_to(otherwise, &common))
        .transpose()?
        .map(|bound| bound.expr);
    let case = CaseExpr::try_new(None, branches, otherwise).map_err(Error::validate)?;
    Ok(Bound::new(Arc::new(case), common))
}
