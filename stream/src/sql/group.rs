//! GROUP BY, HAVING, DISTINCT.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::time::Zone;
use arrow::datatypes::DataType;
use sqlparser::ast::{Expr, GroupByExpr, Select, SelectItem, Spanned};

use super::expr::{Binder, Bound, Grouped, Sets, at, contains_aggregate};
use super::parse::place;
use super::planner::{Planner, output_name};
use super::relation::{Relation, column, positional};
use super::scope::{Role, Scope, ScopeColumn};
use super::sliced;
use crate::Error;
use crate::expression::{columns_of, remap};
use crate::graph::{Node, Step};
use crate::operator::aggregate::{self, Call};

/// Grouping sets that a query may come to: CUBE doubles them with each key.
const SETS_MAX: usize = 64;

/// Whether a SELECT aggregates.
pub fn is_grouped(select: &Select) -> bool {
    let keys = match &select.group_by {
        GroupByExpr::All(_) => true,
        GroupByExpr::Expressions(keys, _) => !keys.is_empty(),
    };
    let aggregates = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => contains_aggregate(expr),
        _ => false,
    };
    keys || select.having.is_some() || select.projection.iter().any(aggregates)
}

/// Plans a SELECT that aggregates, over what its FROM and WHERE gave.
pub fn plan(planner: &mut Planner<'_>, relation: Relation, select: &Select) -> Result<Relation, Error> {
    let at_select = place(select.span().start);
    let GroupByExpr::Expressions(items, modifiers) = &select.group_by else {
        return Err(Error::unsupported(format!("GROUP BY ALL{at_select}")));
    };
    if !modifiers.is_empty() {
        return Err(Error::unsupported(format!("a modifier of GROUP BY{at_select}")));
    }
    let keys = Keys::of(planner, &relation, items)?;
    let (relation, grouped) = prepare(relation, keys)?;
    let mut grouped = Box::new(grouped);
    let roles: Vec<(String, Role)> = key_roles(&relation, &grouped);

    // What stands above finds its calls while it is bound.
    let schema = positional(std::iter::empty());
    let above_scope = relation.scope.clone();
    let mut binder = Binder {
        scope: &above_scope,
        schema: &schema,
        session: planner.session,
        grouped: Some(&mut grouped),
    };
    let having = select
        .having
        .as_ref()
        .map(|having| binder.bind_condition(having, "HAVING"))
        .transpose()?;
    let mut columns: Vec<(Bound, ScopeColumn)> = Vec::new();
    for item in &select.projection {
        let (expr, name) = match item {
            SelectItem::UnnamedExpr(expr) => (expr, output_name(expr, columns.len())),
            SelectItem::ExprWithAlias { expr, alias } => (expr, alias.value.clone()),
            other => {
                return Err(Error::unsupported(format!(
                    "{other} above GROUP BY{}",
                    place(other.span().start)
                )));
            }
        };
        let bound = binder.bind(expr)?;
        let role = bound
            .column_index()
            .and_then(|index| roles.get(index))
            .map_or(Role::Plain, |(_, role)| *role);
        let column = column(None, &name, &bound.data, role).with(bound.facts.clone());
        columns.push((bound, column));
    }
    let relation = aggregate(planner, relation, &grouped, &at_select)?;
    Ok(relation.project(having, columns))
}

/// SELECT DISTINCT: an aggregation by all columns.
pub fn distinct(planner: &mut Planner<'_>, relation: Relation, keys: Vec<Bound>) -> Result<Relation, Error> {
    let columns = relation.scope.columns.clone();
    let grouped = Grouped {
        keys,
        calls: Vec::new(),
        scope: relation.scope.clone(),
        schema: Arc::clone(&relation.schema),
        sets: None,
    };
    let relation = aggregate(planner, relation, &grouped, "")?;
    Ok(Relation {
        scope: Scope { columns },
        ..relation
    })
}

/// The keys of a GROUP BY, and the sets if it has any.
struct Keys {
    keys: Vec<Bound>,
    sets: Option<Vec<Vec<bool>>>,
}

impl Keys {
    fn of(planner: &mut Planner<'_>, relation: &Relation, items: &[Expr]) -> Result<Self, Error> {
        let mut keys: Vec<Bound> = Vec::new();
        // Each item contributes a list of sets; the query's sets are their product.
        let mut product: Vec<Vec<usize>> = vec![Vec::new()];
        let mut any_sets = false;
        for item in items {
            if contains_aggregate(item) {
                return Err(Error::validate(format!(
                    "Aggregate expression is illegal in GROUP BY clause{}",
                    at(item)
                )));
            }
            let sets: Vec<Vec<&Expr>> = match item {
                Expr::GroupingSets(sets) => sets.iter().map(|set| set.iter().collect()).collect(),
                Expr::Rollup(parts) => (0..=parts.len())
                    .rev()
                    .map(|n| parts[..n].iter().flatten().collect())
                    .collect(),
                Expr::Cube(parts) if parts.len() < 7 => (0..1_usize << parts.len())
                    .rev()
                    .map(|mask| {
                        let chosen = parts
                            .iter()
                            .enumerate()
                            .filter(|(i, _)| mask >> (parts.len() - 1 - i) & 1 == 1);
                        chosen.flat_map(|(_, part)| part).collect()
                    })
                    .collect(),
                Expr::Tuple(parts) => vec![parts.iter().collect()],
                plain => vec![vec![plain]],
            };
            any_sets |= matches!(item, Expr::GroupingSets(_) | Expr::Rollup(_) | Expr::Cube(_));
            let mut numbered = Vec::new();
            for set in sets {
                let mut numbers = Vec::new();
                for expr in set {
                    if let Expr::Value(_) = expr {
                        return Err(Error::unsupported(format!(
                            "GROUP BY a position or constant{}",
                            at(expr)
                        )));
                    }
                    let bound = planner.binder(relation).bind(expr)?;
                    let known = keys.iter().position(|key| key.expr.as_ref() == bound.expr.as_ref());
                    numbers.push(known.unwrap_or_else(|| {
                        keys.push(bound);
                        keys.len() - 1
                    }));
                }
                numbered.push(numbers);
            }
            let combine = |left: &Vec<usize>, right: &Vec<usize>| left.iter().chain(right).copied().collect();
            product = product
                .iter()
                .flat_map(|left| numbered.iter().map(move |right| combine(left, right)))
                .collect();
            if product.len() > SETS_MAX {
                return Err(Error::unsupported(format!(
                    "more than {SETS_MAX} grouping sets{}",
                    at(item)
                )));
            }
        }
        let members = |set: &Vec<usize>| (0..keys.len()).map(|key| set.contains(&key)).collect();
        let sets = any_sets.then(|| product.iter().map(members).collect());
        Ok(Self { keys, sets })
    }
}

/// Brings every key into a column of its own, and copies the rows for grouping sets.
fn prepare(relation: Relation, keys: Keys) -> Result<(Relation, Grouped), Error> {
    let mut columns = relation.columns();
    let mut plain = Vec::new();
    for key in &keys.keys {
        let shared = keys.sets.is_some() || key.column_index().is_none();
        match key.column_index() {
            // With grouping sets, a key that becomes NULL must not take its column with it.
            Some(index) if !shared => plain.push(index),
            index => {
                plain.push(columns.len());
                let role = index.map_or(Role::Plain, |index| relation.scope.columns[index].role);
                let column = column(None, "", &key.data, role).with(key.facts.clone());
                columns.push((key.clone(), column));
            }
        }
    }
    let input_scope = relation.scope.clone();
    let input_schema = Arc::clone(&relation.schema);
    let grown = columns.len() > relation.scope.columns.len();
    let mut relation = if grown {
        relation.project(None, columns)
    } else {
        relation
    };
    let mut bound_keys = keys.keys;
    let mut sets = None;
    if let Some(members) = keys.sets {
        let number = column(None, "", &DataType::Int64, Role::Plain);
        let mut scope = relation.scope.clone();
        scope.columns.push(number);
        let schema = positional(scope.columns.iter().map(|column| column.data.clone()));
        relation = relation.step(Step::Expand {
            keys: plain.clone(),
            sets: members.clone(),
            schema: Arc::clone(&schema),
        });
        relation = Relation {
            scope,
            schema,
            ..relation
        };
        bound_keys.push(Bound::column(relation.scope.columns.len() - 1, DataType::Int64));
        plain.push(relation.scope.columns.len() - 1);
        sets = Some(Sets {
            members,
            number_key: bound_keys.len() - 1,
        });
    }
    relation.key_columns = plain;
    Ok((
        relation,
        Grouped {
            keys: bound_keys,
            calls: Vec::new(),
            scope: input_scope,
            schema: input_schema,
            sets,
        },
    ))
}

fn key_roles(relation: &Relation, grouped: &Grouped) -> Vec<(String, Role)> {
    let column = |index: &usize| {
        let column = &relation.scope.columns[*index];
        (column.name.clone(), column.role)
    };
    relation
        .key_columns
        .iter()
        .take(grouped.keys.len())
        .map(column)
        .collect()
}

/// The aggregation itself: keys, then results.
fn aggregate(planner: &Planner<'_>, relation: Relation, grouped: &Grouped, at: &str) -> Result<Relation, Error> {
    let keys: Vec<usize> = if relation.key_columns.is_empty() {
        grouped.keys.iter().filter_map(Bound::column_index).collect()
    } else {
        relation.key_columns.clone()
    };
    let roles: Vec<Role> = keys.iter().map(|key| relation.scope.columns[*key].role).collect();
    let in_every_set = |key: &usize| {
        grouped
            .sets
            .as_ref()
            .is_none_or(|sets| sets.members.iter().all(|m| m.get(*key).copied().unwrap_or(true)))
    };
    let start = roles.iter().position(|role| *role == Role::WindowStart);
    let end = roles
        .iter()
        .position(|role| *role == Role::WindowEnd)
        .filter(in_every_set);
    let window_end = start.filter(in_every_set).and(end);
    if window_end.is_none() && !relation.bounded {
        return Err(Error::unsupported(format!(
            "an aggregate without a window over an unbounded table{at}: group by window_start and window_end of TUMBLE, \
             HOP or CUMULATE, or bound the table"
        )));
    }
    if window_end.is_some() && relation.updating {
        return Err(Error::unsupported(format!(
            "a window aggregate over a relation that is updated{at}"
        )));
    }
    let relation = relation.settled(&format!("an aggregate{at}"))?;
    let zone: Option<Zone> = relation
        .scope
        .columns
        .iter()
        .find(|column| column.role == Role::WindowTime)
        .and_then(|column| matches!(column.data, DataType::Timestamp(_, Some(_))).then_some(planner.session.zone));
    let zone = zone.or(relation.window_zone);
    let mut scope = Scope::default();
    for (key, role) in keys.iter().zip(&roles) {
        let source = &relation.scope.columns[*key];
        // Without a window the keys lose their meaning to event time.
        let role = if window_end.is_some() { *role } else { Role::Plain };
        scope.columns.push(ScopeColumn { role, ..source.clone() });
    }
    for (_, data, facts) in &grouped.calls {
        scope
            .columns
            .push(column(None, "", data, Role::Plain).with(facts.clone()));
    }
    let schema = positional(scope.columns.iter().map(|column| column.data.clone()));
    let calls: Vec<Call> = grouped.calls.iter().map(|(call, ..)| call.clone()).collect();
    let (relation, keys, calls) = narrowed(relation, keys, calls)?;
    let plan = aggregate::Plan {
        keys,
        window_end,
        zone,
        calls,
        schema: Arc::clone(&schema),
        slices: None,
    };
    let (node, plan) = sliced::by_slices(relation.node, plan);
    Ok(Relation {
        node: Arc::new(Node::Aggregate(node, plan)),
        scope,
        schema,
        updating: relation.updating || window_end.is_none(),
        retracts: false,
        final_only: relation.final_only || window_end.is_none(),
        pending: None,
        bounded: relation.bounded,
        key_columns: Vec::new(),
        window_zone: zone,
    })
}

/// The relation with only the columns that keys and calls use: Flink's optimizer removes the others, so they must not fail.
fn narrowed(
    relation: Relation,
    keys: Vec<usize>,
    calls: Vec<Call>,
) -> Result<(Relation, Vec<usize>, Vec<Call>), Error> {
    let exprs = calls.iter().flat_map(|call| call.args.iter().chain(&call.filter));
    let mut used: BTreeSet<usize> = exprs.flat_map(columns_of).collect();
    used.extend(&keys);
    if used.len() == relation.scope.columns.len() {
        return Ok((relation, keys, calls));
    }
    let kept: Vec<usize> = used.iter().copied().collect();
    let places: BTreeMap<usize, usize> = kept.iter().enumerate().map(|(new, old)| (*old, new)).collect();
    let moved = |expr: &crate::expression::Expr| remap(expr, &places).map_err(Error::validate);
    let calls = calls
        .into_iter()
        .map(|call| {
            let args = call.args.iter().map(&moved).collect::<Result<_, _>>()?;
            let filter = call.filter.as_ref().map(&moved).transpose()?;
            Ok(Call { args, filter, ..call })
        })
        .collect::<Result<Vec<_>, Error>>()?;
    let keys = keys.iter().filter_map(|key| places.get(key).copied()).collect();
    Ok((relation.keep(&kept), keys, calls))
}
