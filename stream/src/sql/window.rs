//! TABLE(TUMBLE(…)), TABLE(HOP(…)), TABLE(CUMULATE(…)).

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use sqlparser::ast::{Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Spanned};

use super::data_type::{UTC, name};
use super::dialect::TABLE_ARGUMENT;
use super::expr::{at, interval_millis};
use super::facts::Facts;
use super::parse::place;
use super::planner::Planner;
use super::relation::{Relation, column, positional};
use super::scope::Role;
use crate::Error;
use crate::graph::Step;
use crate::time::window::Windows;

/// The parameters of each function, in their order; the last one, OFFSET, may be left out.
const PARAMETERS: [(&str, &[&str]); 3] = [
    ("TUMBLE", &["DATA", "TIMECOL", "SIZE", "OFFSET"]),
    ("HOP", &["DATA", "TIMECOL", "SLIDE", "SIZE", "OFFSET"]),
    ("CUMULATE", &["DATA", "TIMECOL", "STEP", "SIZE", "OFFSET"]),
];

/// Adds window_start, window_end and window_time to the rows of the function's table.
pub fn plan(planner: &mut Planner<'_>, expr: &Expr) -> Result<Relation, Error> {
    let place_of = at(expr);
    let Expr::Function(function) = expr else {
        return Err(Error::validate(format!("TABLE( ) wants a table function{place_of}")));
    };
    let upper = function.name.to_string().to_ascii_uppercase();
    let Some((_, parameters)) = PARAMETERS.iter().find(|(name, _)| *name == upper) else {
        return Err(match upper.as_str() {
            "SESSION" => Error::unsupported(format!("SESSION windows{place_of}")),
            _ => Error::unsupported(format!("the table function {upper}{place_of}")),
        });
    };
    let args = arguments(function, &upper, parameters, &place_of)?;
    let get = |parameter: &str| {
        parameters
            .iter()
            .position(|p| *p == parameter)
            .and_then(|index| args[index])
    };
    let required = |parameter: &str| {
        get(parameter).ok_or_else(|| Error::validate(format!("{upper} wants the argument {parameter}{place_of}")))
    };
    let relation = data(planner, required("DATA")?)?;
    let time = time_column(&relation, required("TIMECOL")?)?;
    let millis = |parameter: &str| -> Result<i64, Error> {
        let expr = required(parameter)?;
        let bound = planner.binder(&relation).bind(expr)?;
        interval_millis(&bound).ok_or_else(|| {
            Error::validate(format!(
                "{upper} wants {parameter} as an INTERVAL from DAY to SECOND{}",
                at(expr)
            ))
        })
    };
    let size = millis("SIZE")?;
    let offset = if get("OFFSET").is_some() { millis("OFFSET")? } else { 0 };
    let windows = match upper.as_str() {
        "TUMBLE" => Windows::tumble(size, offset),
        "HOP" => Windows::hop(millis("SLIDE")?, size, offset),
        _ => Windows::cumulate(millis("STEP")?, size, offset),
    };
    let windows = windows.map_err(|error| match error {
        Error::Validate(text) => Error::validate(format!("{text}{place_of}")),
        other => other,
    })?;
    if relation.updating {
        return Err(Error::unsupported(format!(
            "{upper} over a relation that is updated{place_of}"
        )));
    }
    Ok(assign(planner, relation, time, windows))
}

fn assign(planner: &Planner<'_>, relation: Relation, time: usize, windows: Windows) -> Relation {
    let local = matches!(relation.scope.columns[time].data, DataType::Timestamp(_, Some(_)));
    let bound = DataType::Timestamp(TimeUnit::Millisecond, None);
    let instant = DataType::Timestamp(TimeUnit::Millisecond, local.then(|| UTC.into()));
    let mut scope = relation.scope.clone();
    // What was a time attribute or a window's bound before is a plain column now.
    scope.columns.iter_mut().for_each(|column| column.role = Role::Plain);
    scope
        .columns
        .push(column(None, "window_start", &bound, Role::WindowStart).with(Facts::not_null()));
    scope
        .columns
        .push(column(None, "window_end", &bound, Role::WindowEnd).with(Facts::not_null()));
    scope
        .columns
        .push(column(None, "window_time", &instant, Role::WindowTime).with(Facts::not_null()));
    let schema = positional(scope.columns.iter().map(|column| column.data.clone()));
    let zone = local.then_some(planner.session.zone);
    let relation = relation.step(Step::Windows {
        column: time,
        windows,
        zone,
        schema: Arc::clone(&schema),
    });
    Relation {
        scope,
        schema,
        window_zone: zone,
        ..relation
    }
}

/// Each parameter's argument, given by place or by name.
fn arguments<'a>(
    function: &'a Function,
    upper: &str,
    parameters: &[&str],
    place_of: &str,
) -> Result<Vec<Option<&'a Expr>>, Error> {
    let FunctionArguments::List(list) = &function.args else {
        return Err(Error::validate(format!("{upper} wants arguments{place_of}")));
    };
    let mut args = vec![None; parameters.len()];
    for (number, arg) in list.args.iter().enumerate() {
        let (index, expr) = match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => (Some(number), expr),
            FunctionArg::Named {
                name,
                arg: FunctionArgExpr::Expr(expr),
                ..
            } => (parameters.iter().position(|p| name.value.eq_ignore_ascii_case(p)), expr),
            other => {
                return Err(Error::validate(format!(
                    "{upper} does not take the argument {other}{place_of}"
                )));
            }
        };
        let slot = index.and_then(|index| args.get_mut(index));
        let slot = slot.ok_or_else(|| Error::validate(format!("{upper} takes no such argument: {arg}{}", at(expr))))?;
        *slot = Some(expr);
    }
    Ok(args)
}

/// `TABLE t` or a query in brackets.
fn data(planner: &mut Planner<'_>, expr: &Expr) -> Result<Relation, Error> {
    match expr {
        Expr::Subquery(query) => planner.query(query),
        Expr::Function(function) if function.name.to_string() == TABLE_ARGUMENT => {
            let FunctionArguments::List(list) = &function.args else {
                return Err(Error::parse(format!("TABLE wants a name{}", at(expr))));
            };
            match list.args.first() {
                Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::CompoundIdentifier(parts)))) => {
                    let start = parts.first().map_or(expr.span().start, |part| part.span.start);
                    planner.table(parts, start)
                }
                _ => Err(Error::parse(format!("TABLE wants a name{}", at(expr)))),
            }
        }
        _ => Err(Error::validate(format!(
            "a window function wants TABLE and a name, or a query in brackets{}",
            at(expr)
        ))),
    }
}

/// `DESCRIPTOR(column)`.
fn time_column(relation: &Relation, expr: &Expr) -> Result<usize, Error> {
    let place_of = at(expr);
    let refuse = || {
        Error::validate(format!(
            "a window function wants DESCRIPTOR(column) for its time{place_of}"
        ))
    };
    let Expr::Function(function) = expr else {
        return Err(refuse());
    };
    if !function.name.to_string().eq_ignore_ascii_case("DESCRIPTOR") {
        return Err(refuse());
    }
    let FunctionArguments::List(list) = &function.args else {
        return Err(refuse());
    };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(ident)))] = list.args.as_slice() else {
        return Err(refuse());
    };
    let (index, _) = relation.scope.resolve(std::slice::from_ref::<Ident>(ident))?;
    let column = &relation.scope.columns[index];
    if !column.role.is_time() {
        return Err(Error::validate(format!(
            "The window function requires the timecol is a time attribute type, but is {}{}",
            name(&column.data),
            place(ident.span.start)
        )));
    }
    Ok(index)
}
