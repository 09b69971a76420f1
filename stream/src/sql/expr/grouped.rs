//! Expressions above an aggregation.

use std::ops::ControlFlow;

use arrow::datatypes::{DataType, SchemaRef};
use sqlparser::ast::{self, DuplicateTreatment, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Visit, Visitor};
use sqlparser::tokenizer::Span;

use super::{Binder, Bound, at};
use crate::Error;
use crate::expression::Choice;
use crate::operator::accumulator::Function;
use crate::operator::aggregate::Call;
use crate::sql::data_type::name;
use crate::sql::facts::Facts;
use crate::sql::parse::place;
use crate::sql::relation::positional;
use crate::sql::scope::Scope;

/// The keys of an aggregation, and the calls found so far in what stands above it.
#[derive(Debug)]
pub struct Grouped {
    /// Bound over the aggregation's input; key `i` is column `i` of its output.
    pub keys: Vec<Bound>,
    /// Behind the keys, column `keys + i` of the output is call `i`.
    pub calls: Vec<(Call, DataType, Facts)>,
    /// The input that keys and arguments are bound over.
    pub scope: Scope,
    pub schema: SchemaRef,
    /// For GROUPING SETS: which keys each set has, and the key that holds the set's number.
    pub sets: Option<Sets>,
}

#[derive(Debug, Clone)]
pub struct Sets {
    /// Which of the keys are in each set; keys in every set are true throughout.
    pub members: Vec<Vec<bool>>,
    /// The key that holds the set's number.
    pub number_key: usize,
}

impl Grouped {
    /// The aggregation's output as far as it is known: the keys, then the calls found so far.
    pub(super) fn output(&self) -> SchemaRef {
        let keys = self.keys.iter().map(|key| key.data.clone());
        positional(keys.chain(self.calls.iter().map(|(_, result, _)| result.clone())))
    }

    pub(super) fn not_grouped(&self, column: &str, span: Span) -> Error {
        Error::validate(format!(
            "Expression '{column}' is not being grouped{}",
            place(span.start)
        ))
    }
}

/// Whether an expression has an aggregate call in it; those of its subqueries are their own.
pub fn contains_aggregate(expr: &Expr) -> bool {
    struct Search {
        queries: usize,
    }
    impl Visitor for Search {
        type Break = ();

        fn pre_visit_query(&mut self, _query: &ast::Query) -> ControlFlow<()> {
            self.queries += 1;
            ControlFlow::Continue(())
        }

        fn post_visit_query(&mut self, _query: &ast::Query) -> ControlFlow<()> {
            self.queries -= 1;
            ControlFlow::Continue(())
        }

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match expr {
                Expr::Function(function) if self.queries == 0 && (is_aggregate(function) || is_grouping(function)) => {
                    ControlFlow::Break(())
                }
                _ => ControlFlow::Continue(()),
            }
        }
    }
    expr.visit(&mut Search { queries: 0 }).is_break()
}

fn upper(function: &ast::Function) -> String {
    function.name.to_string().to_ascii_uppercase()
}

pub fn is_aggregate(function: &ast::Function) -> bool {
    function.over.is_none() && Function::by_name(&upper(function)).is_some()
}

fn is_grouping(function: &ast::Function) -> bool {
    matches!(upper(function).as_str(), "GROUPING" | "GROUPING_ID")
}

impl Binder<'_> {
    /// A key or an aggregate call, if `expr` is one and we are above an aggregation.
    pub(super) fn bind_grouped(&mut self, expr: &Expr) -> Result<Option<Bound>, Error> {
        let Some(grouped) = self.grouped.as_deref_mut() else {
            return Ok(None);
        };
        if let Expr::Function(function) = expr {
            if is_aggregate(function) {
                return aggregate_call(grouped, function, self.session, expr).map(Some);
            }
            if is_grouping(function) {
                return grouping(grouped, function, self.session, expr).map(Some);
            }
        }
        if contains_aggregate(expr) {
            return Ok(None);
        }
        let mut below = Binder {
            scope: &grouped.scope,
            schema: &grouped.schema,
            session: self.session,
            grouped: None,
        };
        let Ok(bound) = below.bind(expr) else { return Ok(None) };
        let key = grouped
            .keys
            .iter()
            .position(|key| key.expr.as_ref() == bound.expr.as_ref());
        Ok(key.map(|key| {
            let bound = &grouped.keys[key];
            Bound::column(key, bound.data.clone()).with(bound.facts.clone())
        }))
    }
}

/// Notes an aggregate call; its column of the aggregation's output.
pub fn aggregate_call(
    grouped: &mut Grouped,
    function: &ast::Function,
    session: &crate::functions::SessionFacts,
    whole: &Expr,
) -> Result<Bound, Error> {
    let (upper, place) = (upper(function), at(whole));
    let Some(kind) = Function::by_name(&upper) else {
        return Err(Error::unsupported(format!("the aggregate {upper}{place}")));
    };
    if !function.within_group.is_empty() || function.null_treatment.is_some() {
        return Err(Error::unsupported(format!(
            "{upper} with an order or a treatment of NULL{place}"
        )));
    }
    let FunctionArguments::List(list) = &function.args else {
        return Err(Error::validate(format!("{upper} wants arguments{place}")));
    };
    if !list.clauses.is_empty() {
        return Err(Error::unsupported(format!("clauses within {upper}{place}")));
    }
    let distinct = list.duplicate_treatment == Some(DuplicateTreatment::Distinct);
    let mut below = Binder {
        scope: &grouped.scope,
        schema: &grouped.schema,
        session,
        grouped: None,
    };
    let mut args = Vec::new();
    for arg in &list.args {
        match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Wildcard) if kind == Function::Count && list.args.len() == 1 => {}
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) if contains_aggregate(expr) => {
                return Err(Error::validate(format!(
                    "Aggregate expressions cannot be nested{place}"
                )));
            }
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => args.push(below.bind(expr)?),
            other => {
                return Err(Error::validate(format!(
                    "{upper} does not take the argument {other}{place}"
                )));
            }
        }
    }
    let filter = match &function.filter {
        None => None,
        Some(filter) => Some(below.bind_condition(filter, "FILTER")?.expr),
    };
    if args.is_empty() && (kind != Function::Count || distinct || list.args.is_empty()) {
        return Err(Error::validate(format!("{upper} wants an argument{place}")));
    }
    let arg_types: Vec<DataType> = args.iter().map(|arg| arg.data.clone()).collect();
    let result = kind.result(&arg_types).map_err(|why| {
        let types: Vec<String> = arg_types.iter().map(name).collect();
        Error::validate(format!(
            "Cannot apply '{upper}' to arguments of type ({}): it {why}{place}",
            types.join(", ")
        ))
    })?;
    let facts = result_facts(kind, &args, filter.is_some(), grouped.keys.is_empty());
    let call = Call {
        function: kind,
        args: args.into_iter().map(|arg| arg.expr).collect(),
        arg_types,
        distinct,
        filter,
    };
    grouped.calls.push((call, result.clone(), facts.clone()));
    Ok(Bound::column(grouped.keys.len() + grouped.calls.len() - 1, result).with(facts))
}

/// COUNT is never NULL; others are where their argument may be, where a filter may leave nothing over, and over no rows.
fn result_facts(kind: Function, args: &[Bound], filtered: bool, all_rows: bool) -> Facts {
    let first = args.first().map(|arg| arg.facts.clone()).unwrap_or_default();
    match kind {
        Function::Count => Facts::not_null(),
        Function::Min | Function::Max | Function::Sum | Function::Avg => {
            let not_null = first.not_null && !filtered && !all_rows;
            let keeps = matches!(kind, Function::Min | Function::Max);
            let facts = if keeps { first } else { Facts::default() };
            facts.with_not_null(not_null)
        }
        Function::FirstValue | Function::LastValue => first.with_not_null(false),
        _ => Facts::default(),
    }
}

/// GROUPING(k, …): a bit for each argument, 1 where the row's set leaves it out.
fn grouping(
    grouped: &mut Grouped,
    function: &ast::Function,
    session: &crate::functions::SessionFacts,
    whole: &Expr,
) -> Result<Bound, Error> {
    use datafusion::common::ScalarValue;
    use datafusion::logical_expr::Operator;
    use datafusion::physical_expr::expressions::BinaryExpr;
    use std::sync::Arc;

    let place = at(whole);
    let FunctionArguments::List(list) = &function.args else {
        return Err(Error::validate(format!("GROUPING wants arguments{place}")));
    };
    let mut keys = Vec::new();
    for arg in &list.args {
        let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = arg else {
            return Err(Error::validate(format!("GROUPING wants columns{place}")));
        };
        let mut below = Binder {
            scope: &grouped.scope,
            schema: &grouped.schema,
            session,
            grouped: None,
        };
        let bound = below.bind(expr)?;
        let key = grouped
            .keys
            .iter()
            .position(|key| key.expr.as_ref() == bound.expr.as_ref());
        keys.push(
            key.ok_or_else(|| Error::validate(format!("Argument to GROUPING must be a grouped expression{place}")))?,
        );
    }
    let Some(sets) = &grouped.sets else {
        return Ok(Bound::literal(ScalarValue::Int64(Some(0))));
    };
    let number = Bound::column(sets.number_key, DataType::Int64);
    let branches = sets.members.iter().enumerate().map(|(set, members)| {
        let id = keys.iter().fold(0_i64, |id, key| {
            id * 2 + i64::from(!members.get(*key).copied().unwrap_or(true))
        });
        let this = Bound::literal(ScalarValue::Int64(Some(set as i64)));
        let is_this = Arc::new(BinaryExpr::new(Arc::clone(&number.expr), Operator::Eq, this.expr));
        (is_this as _, Bound::literal(ScalarValue::Int64(Some(id))).expr)
    });
    let otherwise = Bound::literal(ScalarValue::Int64(Some(0))).expr;
    let case = Choice::new(branches.collect(), Some(otherwise), DataType::Int64);
    Ok(Bound::new(Arc::new(case), DataType::Int64).not_null(true))
}
