//! A planned relation: its plan, its names, and what may be done with it.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::expr::Bound;
use super::facts::Facts;
use super::rank::Pending;
use super::scope::{Role, Scope, ScopeColumn};
use crate::Error;
use crate::expression::{Expr, Junction, columns_of, inline};
use crate::graph::{Node, Step};
use crate::operator::calc::Calc;

#[derive(Debug, Clone)]
pub struct Relation {
    /// Shared by all that read the relation, so that its rows are computed once.
    pub node: Arc<Node>,
    pub scope: Scope,
    /// Columns `c0`, `c1`, … in the scope's order: names are the scope's business.
    pub schema: SchemaRef,
    /// It is a changelog to Flink: only a sink that takes updates may get it.
    pub updating: bool,
    /// Rows are taken back: kinds other than INSERT flow.
    pub retracts: bool,
    /// It has only the final rows of what Flink would tell as a changelog.
    pub final_only: bool,
    /// It ends by itself.
    pub bounded: bool,
    /// Set between GROUP BY and the aggregation: which columns hold the keys.
    pub key_columns: Vec<usize>,
    /// The zone that its windows are laid out in, if it is not UTC.
    pub window_zone: Option<crate::time::Zone>,
    /// Set between ROW_NUMBER and the WHERE that limits it.
    pub pending: Option<Box<Pending>>,
}

impl Relation {
    /// Rows that end and are not updated.
    pub fn bounded(node: Node, scope: Scope, schema: SchemaRef) -> Self {
        Self {
            node: Arc::new(node),
            scope,
            schema,
            updating: false,
            retracts: false,
            final_only: false,
            bounded: true,
            key_columns: Vec::new(),
            window_zone: None,
            pending: None,
        }
    }

    /// Computes `columns` for the rows that `filter` keeps.
    ///
    /// A projection over a projection becomes one, as in Flink: a column that is not used is not computed, and one that is
    /// only for the rows, and in the branches, that reach it.
    pub fn project(self, filter: Option<Bound>, columns: Vec<(Bound, ScopeColumn)>) -> Self {
        let schema = positional(columns.iter().map(|(bound, _)| bound.data.clone()));
        let (exprs, scope): (Vec<_>, Vec<_>) = columns.into_iter().map(|(bound, column)| (bound.expr, column)).unzip();
        let calc = Calc {
            filter: filter.map(|filter| filter.expr),
            columns: exprs,
            schema: Arc::clone(&schema),
        };
        let (below, calc) = merged(self.node, calc);
        let below = without_number(below, &calc);
        Self {
            node: Arc::new(Node::Step(below, Step::Calc(calc))),
            scope: Scope { columns: scope },
            schema,
            pending: None,
            ..self
        }
    }

    /// The rows for which `condition` is true.
    pub fn filter(self, condition: Bound) -> Self {
        let columns = self.columns();
        self.project(Some(condition), columns)
    }

    /// All columns as they are.
    pub fn columns(&self) -> Vec<(Bound, ScopeColumn)> {
        let bound = |index: usize| Bound::column(index, self.schema.field(index).data_type().clone());
        self.scope
            .columns
            .iter()
            .enumerate()
            .map(|(index, column)| (bound(index).with(column.facts.clone()), column.clone()))
            .collect()
    }

    /// Only some columns, so that what the others cost is not paid.
    pub fn keep(self, kept: &[usize]) -> Self {
        let all = self.columns();
        let columns = kept.iter().filter_map(|index| all.get(*index).cloned()).collect();
        self.project(None, columns)
    }

    pub fn step(self, step: Step) -> Self {
        Self {
            node: Arc::new(Node::Step(self.node, step)),
            pending: None,
            ..self
        }
    }

    /// The rows that are not taken back any more, for `what` cannot take rows back: those at the end of the input.
    pub fn settled(self, what: &str) -> Result<Self, Error> {
        if !self.retracts {
            return Ok(self);
        }
        if !self.bounded {
            return Err(Error::unsupported(format!(
                "{what} over a result that changes and does not end: bound its tables"
            )));
        }
        let schema = Arc::clone(&self.schema);
        Ok(Self {
            retracts: false,
            final_only: true,
            ..self.step(Step::Fold(schema))
        })
    }

    /// The columns under the names that the result shows.
    pub fn result_schema(&self) -> SchemaRef {
        let fields: Vec<Field> = self
            .scope
            .columns
            .iter()
            .map(|column| Field::new(&column.name, column.data.clone(), true))
            .collect();
        Arc::new(Schema::new(fields))
    }
}

/// Puts `calc` over `node` into the projection that `node` is, if it is one; gives what is below, and the projection.
fn merged(node: Arc<Node>, calc: Calc) -> (Arc<Node>, Calc) {
    let Node::Step(below, Step::Calc(inner)) = node.as_ref() else {
        return (node, calc);
    };
    let outer: Vec<&Expr> = calc.filter.iter().chain(&calc.columns).collect();
    let Some(mut exprs) = inline(&outer, &inner.columns) else {
        return (node, calc);
    };
    let columns = exprs.split_off(usize::from(calc.filter.is_some()));
    let filter = match (inner.filter.clone(), exprs.pop()) {
        (Some(first), Some(second)) => Some(Junction::and(first, second)),
        (first, second) => first.or(second),
    };
    let merged = Calc {
        filter,
        columns,
        schema: calc.schema,
    };
    (Arc::clone(below), merged)
}

/// A Top-N whose number `calc` does not use does not compute it, so that fewer of its rows change.
fn without_number(node: Arc<Node>, calc: &Calc) -> Arc<Node> {
    let Node::Rank(input, plan) = node.as_ref() else {
        return node;
    };
    let number = plan.input.fields().len();
    let mut used = calc.filter.iter().chain(&calc.columns).flat_map(columns_of);
    if !plan.numbered || used.any(|column| column == number) {
        return node;
    }
    let plan = crate::operator::rank::Plan {
        numbered: false,
        schema: Arc::clone(&plan.input),
        ..plan.clone()
    };
    Arc::new(Node::Rank(Arc::clone(input), plan))
}

pub fn positional(types: impl Iterator<Item = DataType>) -> SchemaRef {
    let fields: Vec<Field> = types
        .enumerate()
        .map(|(index, data)| Field::new(format!("c{index}"), data, true))
        .collect();
    Arc::new(Schema::new(fields))
}

/// A column that has a name of its own.
pub fn column(qualifier: Option<&str>, name: &str, data: &DataType, role: Role) -> ScopeColumn {
    ScopeColumn {
        qualifier: qualifier.map(str::to_owned),
        name: name.to_owned(),
        data: data.clone(),
        facts: Facts::default(),
        role,
    }
}
