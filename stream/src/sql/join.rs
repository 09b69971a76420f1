//! JOIN: two relations become one.
//!
//! Of the condition, equalities between a column of each side become keys; what is about one side alone filters that side
//! before it is joined, where that changes nothing; the rest is evaluated over pairs. A join whose keys are the bounds of the windows
//! of both sides is a window join.

use std::collections::BTreeMap;
use std::sync::Arc;

use sqlparser::ast::{Expr, JoinConstraint, JoinOperator, Spanned, TableWithJoins};

use super::condition::{conjuncts, equality, has_subquery, is_hashable};
use super::expr::{Bound, contains_aggregate};
use super::interval::Interval;
use super::parse::place;
use super::planner::Planner;
use super::relation::{Relation, positional};
use super::scope::{Role, Scope, ScopeColumn};
use crate::Error;
use crate::expression::{Coalesce, Junction, Kind, columns_of, remap};
use crate::graph::Node;
use crate::operator::interval_join;
use crate::operator::join::{JoinKind, Plan};

/// What holds between the sides of a join.
#[derive(Default)]
pub struct On {
    keys: Vec<(Bound, Bound, bool)>,
    rest: Vec<Bound>,
    interval: Interval,
}

/// The relation of FROM. Takes those conditions of WHERE out of `conditions` that can be part of a join.
pub fn from(
    planner: &mut Planner<'_>,
    tables: &[TableWithJoins],
    conditions: &mut Vec<&Expr>,
) -> Result<Relation, Error> {
    // A condition may be moved below what neither adds NULLs to its columns nor drops rows for them.
    let movable = !tables.iter().flat_map(|table| &table.joins).any(|join| {
        matches!(
            join.join_operator,
            JoinOperator::Right(_) | JoinOperator::RightOuter(_) | JoinOperator::FullOuter(_)
        )
    });
    let mut all: Option<Relation> = None;
    for table in tables {
        let mut relation = planner.factor(&table.relation)?;
        if let Some(left) = all.take() {
            let at = place(table.relation.span().start);
            relation = inner(planner, left, relation, &[], movable, conditions, &at)?;
        }
        for join in &table.joins {
            let right = planner.factor(&join.relation)?;
            let at = place(join.relation.span().start);
            let (kind, constraint) = kind_of(&join.join_operator, &at)?;
            relation = match constraint {
                JoinConstraint::On(on) if kind == JoinKind::Inner => {
                    inner(planner, relation, right, &conjuncts(on), movable, conditions, &at)?
                }
                JoinConstraint::On(on) => {
                    let on = bind_all(planner, &relation, &right, &conjuncts(on))?;
                    join_on(relation, right, kind, on, &at)?
                }
                JoinConstraint::None if kind == JoinKind::Inner => {
                    inner(planner, relation, right, &[], movable, conditions, &at)?
                }
                JoinConstraint::None => {
                    return Err(Error::validate(format!("this JOIN wants ON or USING{at}")));
                }
                JoinConstraint::Using(names) => {
                    let names = names.iter().map(|name| name.to_string().trim_matches('`').to_owned());
                    by_names(planner, relation, right, kind, &names.collect::<Vec<_>>(), &at)?
                }
                JoinConstraint::Natural => {
                    let is_common = |column: &&ScopeColumn| right.scope.columns.iter().any(|c| c.name == column.name);
                    let names = relation.scope.columns.iter().filter(is_common);
                    let names: Vec<String> = names.map(|column| column.name.clone()).collect();
                    by_names(planner, relation, right, kind, &names, &at)?
                }
            };
        }
        all = Some(relation);
    }
    all.ok_or_else(|| Error::validate("FROM without a table"))
}

fn kind_of<'a>(operator: &'a JoinOperator, at: &str) -> Result<(JoinKind, &'a JoinConstraint), Error> {
    Ok(match operator {
        JoinOperator::Join(on) | JoinOperator::Inner(on) | JoinOperator::CrossJoin(on) => (JoinKind::Inner, on),
        JoinOperator::Left(on) | JoinOperator::LeftOuter(on) => (JoinKind::Left, on),
        JoinOperator::Right(on) | JoinOperator::RightOuter(on) => (JoinKind::Right, on),
        JoinOperator::FullOuter(on) => (JoinKind::Full, on),
        _ => return Err(Error::unsupported(format!("this kind of JOIN{at}"))),
    })
}

/// An inner join, of which also conditions of WHERE are part.
fn inner(
    planner: &mut Planner<'_>,
    left: Relation,
    right: Relation,
    on: &[&Expr],
    movable: bool,
    conditions: &mut Vec<&Expr>,
    at: &str,
) -> Result<Relation, Error> {
    let mut on = bind_all(planner, &left, &right, on)?;
    if movable {
        let mut left_over = Vec::new();
        for condition in conditions.drain(..) {
            // What does not bind here is about a table that comes later, or is refused where it stands.
            let plain = !has_subquery(condition) && !contains_aggregate(condition);
            let before = (on.keys.len(), on.rest.len(), on.interval.clone());
            if !plain || on.add(planner, &left, &right, condition).is_err() {
                on.keys.truncate(before.0);
                on.rest.truncate(before.1);
                on.interval = before.2;
                left_over.push(condition);
            }
        }
        *conditions = left_over;
    }
    join_on(left, right, JoinKind::Inner, on, at)
}

pub fn bind_all(planner: &mut Planner<'_>, left: &Relation, right: &Relation, on: &[&Expr]) -> Result<On, Error> {
    let mut bound = On::default();
    for condition in on {
        if has_subquery(condition) {
            let at = place(condition.span().start);
            return Err(Error::unsupported(format!("a subquery in the condition of a JOIN{at}")));
        }
        bound.add(planner, left, right, condition)?;
    }
    Ok(bound)
}

/// The columns of both sides one behind the other, to bind names over.
pub fn both(left: &Relation, right: &Relation) -> Relation {
    let columns: Vec<ScopeColumn> = left.scope.columns.iter().chain(&right.scope.columns).cloned().collect();
    Relation {
        schema: positional(columns.iter().map(|column| column.data.clone())),
        scope: Scope { columns },
        pending: None,
        ..left.clone()
    }
}

impl On {
    /// Adds one condition.
    pub fn add(
        &mut self,
        planner: &Planner<'_>,
        left: &Relation,
        right: &Relation,
        condition: &Expr,
    ) -> Result<(), Error> {
        let joint = both(left, right);
        if self.interval.add(planner, left, right, condition)? {
            return Ok(());
        }
        let mut binder = planner.binder(&joint);
        if let Some((a, b, null_safe)) = equality(condition) {
            let (a, b) = (binder.bind(a)?, binder.bind(b)?);
            if self.equal(planner, left, right, a, b, null_safe, &place(condition.span().start))? {
                return Ok(());
            }
        }
        self.rest.push(planner.binder(&joint).bind_condition(condition, "ON")?);
        Ok(())
    }

    /// Adds an equality of expressions over both sides as a key; false if it cannot be one.
    #[allow(clippy::too_many_arguments, reason = "both sides, each with its expression")]
    pub fn equal(
        &mut self,
        planner: &Planner<'_>,
        left: &Relation,
        right: &Relation,
        a: Bound,
        b: Bound,
        null_safe: bool,
        at: &str,
    ) -> Result<bool, Error> {
        let width = left.scope.columns.len();
        let side = |bound: &Bound| {
            let columns = columns_of(&bound.expr);
            match (columns.first(), columns.last()) {
                (Some(_), Some(last)) if *last < width => Some(0),
                (Some(first), Some(_)) if *first >= width => Some(1),
                _ => None,
            }
        };
        let (a, b) = match (side(&a), side(&b)) {
            (Some(0), Some(1)) => (a, b),
            (Some(1), Some(0)) => (b, a),
            _ => return Ok(false),
        };
        let joint = both(left, right);
        let (a, b) = planner.binder(&joint).comparable(a, b, at)?;
        if a.data != b.data || !is_hashable(&a.data) {
            return Ok(false);
        }
        let places: BTreeMap<usize, usize> = (0..right.scope.columns.len()).map(|to| (width + to, to)).collect();
        let expr = remap(&b.expr, &places).map_err(Error::validate)?;
        self.keys.push((a, Bound { expr, ..b }, null_safe));
        Ok(true)
    }

    /// Adds a condition over both sides.
    pub fn condition(&mut self, condition: Bound) {
        self.rest.push(condition);
    }
}

/// JOIN … USING, NATURAL JOIN: the common columns come first, and once.
fn by_names(
    planner: &mut Planner<'_>,
    left: Relation,
    right: Relation,
    kind: JoinKind,
    names: &[String],
    at: &str,
) -> Result<Relation, Error> {
    let find = |relation: &Relation, name: &str| {
        let mut found = (0..relation.scope.columns.len()).filter(|index| relation.scope.columns[*index].name == name);
        match (found.next(), found.next()) {
            (Some(index), None) => Ok(index),
            (None, _) => Err(Error::validate(format!("Column '{name}' not found in any table{at}"))),
            _ => Err(Error::validate(format!("Column '{name}' is ambiguous{at}"))),
        }
    };
    let width = left.scope.columns.len();
    let joint = both(&left, &right);
    let columns = joint.columns();
    let mut on = On::default();
    let mut common = Vec::new();
    for name in names {
        let (a, b) = (find(&left, name)?, width + find(&right, name)?);
        let (a_bound, b_bound) = (columns[a].0.clone(), columns[b].0.clone());
        if !on.equal(planner, &left, &right, a_bound.clone(), b_bound.clone(), false, at)? {
            let equal = planner
                .binder(&joint)
                .compare(a_bound, datafusion::logical_expr::Operator::Eq, b_bound, at)?;
            on.condition(equal);
        }
        common.push((a, b));
    }
    let joined = join_on(left, right, kind, on, at)?;
    let all = joined.columns();
    let mut result = Vec::new();
    for (a, b) in &common {
        let (left, right) = (all[*a].clone(), all[*b].clone());
        result.push(match kind {
            JoinKind::Right => right,
            JoinKind::Full => {
                if left.0.data != right.0.data {
                    return Err(Error::unsupported(format!(
                        "FULL JOIN USING columns of different types{at}"
                    )));
                }
                let either: Vec<_> = [&left, &right]
                    .into_iter()
                    .map(|(bound, _)| Arc::clone(&bound.expr))
                    .collect();
                let expr = Arc::new(Coalesce::new(either, left.0.data.clone()));
                (Bound { expr, ..left.0 }, left.1)
            }
            _ => left,
        });
    }
    let rest = (0..all.len()).filter(|index| !common.iter().any(|(a, b)| a == index || b == index));
    result.extend(rest.map(|index| all[index].clone()));
    Ok(joined.project(None, result))
}

/// Joins by what was bound over the columns of both sides.
pub fn join_on(left: Relation, right: Relation, kind: JoinKind, on: On, at: &str) -> Result<Relation, Error> {
    let widths = [left.scope.columns.len(), right.scope.columns.len()];
    let (mut left, mut right) = (left, right);
    let appends = !left.updating && !right.updating && !kind.is_one_sided();
    let near = on.interval.complete().filter(|_| appends);
    let mut conditions = on.rest;
    if near.is_none() {
        conditions.extend(on.interval.conditions);
    }
    let mut rest = Vec::new();
    let (mut on_left, mut on_right) = (Vec::new(), Vec::new());
    for condition in conditions {
        let columns = columns_of(&condition.expr);
        let is_left = columns.last().is_some_and(|last| *last < widths[0]);
        let is_right = columns.first().is_some_and(|first| *first >= widths[0]);
        // A side whose rows go out without a partner too must keep them.
        if is_left && matches!(kind, JoinKind::Inner | JoinKind::Right | JoinKind::Semi) {
            on_left.push(condition.expr);
        } else if is_right && !matches!(kind, JoinKind::Right | JoinKind::Full) {
            let places: BTreeMap<usize, usize> = (0..widths[1]).map(|to| (widths[0] + to, to)).collect();
            on_right.push(remap(&condition.expr, &places).map_err(Error::validate)?);
        } else {
            rest.push(condition.expr);
        }
    }
    let filtered = |relation: Relation, conditions: Vec<crate::expression::Expr>| match conditions.is_empty() {
        true => relation,
        false => {
            let expr = Junction::of(Kind::And, conditions);
            relation.filter(Bound::new(expr, arrow::datatypes::DataType::Boolean))
        }
    };
    left = filtered(left, on_left);
    right = filtered(right, on_right);

    // Each key in a column of its own.
    let (mut left_columns, mut right_columns) = (left.columns(), right.columns());
    let (mut left_keys, mut right_keys, mut null_safe) = (Vec::new(), Vec::new(), Vec::new());
    for (a, b, safe) in on.keys {
        left_keys.push(column_of(&mut left_columns, a));
        right_keys.push(column_of(&mut right_columns, b));
        null_safe.push(safe);
    }
    if left_columns.len() > widths[0] {
        left = left.project(None, left_columns);
    }
    if right_columns.len() > widths[1] {
        right = right.project(None, right_columns);
    }
    let grown = left.scope.columns.len();
    let places: BTreeMap<usize, usize> = (0..widths[0])
        .map(|index| (index, index))
        .chain((0..widths[1]).map(|index| (widths[0] + index, grown + index)))
        .collect();
    let rest = rest
        .iter()
        .map(|expr| remap(expr, &places).map_err(Error::validate))
        .collect::<Result<Vec<_>, _>>()?;
    let condition = (!rest.is_empty()).then(|| Junction::of(Kind::And, rest));

    let role = |relation: &Relation, index: usize| relation.scope.columns[index].role;
    let pair = |wanted: Role| {
        left_keys
            .iter()
            .zip(&right_keys)
            .find(|(a, b)| role(&left, **a) == wanted && role(&right, **b) == wanted)
            .map(|(a, b)| [*a, *b])
    };
    let is_window = !left.updating && !right.updating && left.window_zone == right.window_zone;
    let window = match (pair(Role::WindowStart), pair(Role::WindowEnd)) {
        (Some(_), Some(ends)) if is_window && near.is_none() => Some((ends, left.window_zone)),
        _ => None,
    };
    let mut columns: Vec<ScopeColumn> = left.scope.columns.clone();
    if !kind.is_one_sided() {
        columns.extend(right.scope.columns.iter().cloned());
    }
    for (index, column) in columns.iter_mut().enumerate() {
        let is_left = index < grown;
        let keeps = window.is_some() && column.role != Role::Rowtime;
        if !keeps {
            column.role = Role::Plain;
        }
        let padded = match kind {
            JoinKind::Left => !is_left,
            JoinKind::Right => is_left,
            JoinKind::Full => true,
            JoinKind::Inner | JoinKind::Semi | JoinKind::Anti => false,
        };
        if padded {
            column.facts.not_null = false;
        }
    }
    let schema = positional(columns.iter().map(|column| column.data.clone()));
    let changes = window.is_none() && !matches!(kind, JoinKind::Inner | JoinKind::Semi);
    if [&left.schema, &right.schema]
        .iter()
        .any(|schema| schema.fields().is_empty())
    {
        return Err(Error::unsupported(format!("JOIN of a relation without columns{at}")));
    }
    let changes = changes && near.is_none();
    let (keys, inputs) = (
        [left_keys, right_keys],
        [Arc::clone(&left.schema), Arc::clone(&right.schema)],
    );
    let nodes = [left.node, right.node];
    let node = match near {
        Some((times, bounds)) => {
            let plan = interval_join::Plan {
                kind,
                keys,
                null_safe,
                condition,
                inputs,
                schema: Arc::clone(&schema),
                times,
                bounds,
            };
            Node::IntervalJoin(nodes, plan)
        }
        None => {
            let plan = Plan {
                kind,
                keys,
                null_safe,
                condition,
                inputs,
                schema: Arc::clone(&schema),
                window,
            };
            Node::Join(nodes, plan)
        }
    };
    let joined = Relation {
        scope: Scope { columns },
        schema,
        updating: changes || left.updating || right.updating,
        retracts: changes || left.retracts || right.retracts,
        final_only: left.final_only || right.final_only,
        bounded: left.bounded && right.bounded,
        key_columns: Vec::new(),
        window_zone: window.and_then(|(_, zone)| zone),
        pending: None,
        node: Arc::new(node),
    };
    // Without the columns that only hold keys.
    let all = joined.scope.columns.len();
    let kept: Vec<usize> = (0..widths[0])
        .chain((grown..grown + widths[1]).filter(|index| *index < all))
        .collect();
    Ok(if kept.len() == all { joined } else { joined.keep(&kept) })
}

/// The column that holds a key: its own, or a new one.
fn column_of(columns: &mut Vec<(Bound, ScopeColumn)>, key: Bound) -> usize {
    if let Some(index) = key.column_index() {
        return index;
    }
    let column = super::relation::column(None, "", &key.data, Role::Plain).with(key.facts.clone());
    columns.push((key, column));
    columns.len() - 1
}
