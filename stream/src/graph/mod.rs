//! A job's plan: first a tree of relations, then a graph of tasks.
//!
//! The SQL rooms build a [`Node`] tree. [`build`] cuts it into *vertices*: a source with the stateless operators behind
//! it, a keyed operator with those behind it, a sink. Between vertices rows go over channels, by the hash of their keys
//! or all to one. Only keyed operators run in parallel; each row's watermark travels with it, so the result does not
//! depend on the parallelism. Pure: opens nothing, runs nothing.

mod build;
mod hash;
mod route;

use std::sync::Arc;

use crate::time::Zone;
use arrow::array::RecordBatch;
use arrow::compute::SortOptions;
use arrow::datatypes::SchemaRef;
use datafusion::physical_expr::PhysicalExpr;

pub use build::{Exchange, Graph, Input, Origin, Vertex, build};
pub use hash::KEY_HASH;
pub use route::{key_group_filter, partition};

use crate::Error;
use crate::operator::aggregate::{self, Aggregate};
use crate::operator::assign::{NotNull, ReadCounter, WatermarkAssigner, WindowAssigner};
use crate::operator::calc::Calc;
use crate::operator::interval_join::{self, IntervalJoin};
use crate::operator::join::{self, Join};
use crate::operator::over::{self, Over};
use crate::operator::rank::{self, Rank};
use crate::operator::set_operation::{self, SetOperation};
use crate::operator::slices::SlicedAggregate;
use crate::operator::{Expand, Fold, Limit, Operator, TimeSort};
use crate::table::TableSpec;
use crate::time::window::Windows;

/// A relation: how its rows come to be.
#[derive(Debug, Clone)]
pub enum Node {
    /// A table, and after how many milliseconds without rows a split of it is idle.
    Scan(Arc<TableSpec>, Option<i64>),
    Values(RecordBatch),
    /// An operator that needs no other task's rows.
    Step(Arc<Node>, Step),
    /// Grouped aggregates: rows with equal keys meet in one task.
    Aggregate(Arc<Node>, aggregate::Plan),
    /// Two inputs whose rows meet by key.
    Join([Arc<Node>; 2], join::Plan),
    /// Two inputs whose rows meet by key and nearness in time.
    IntervalJoin([Arc<Node>; 2], interval_join::Plan),
    /// INTERSECT, EXCEPT: equal rows of both inputs meet.
    SetOperation([Arc<Node>; 2], set_operation::Plan),
    /// The rows of each partition with certain numbers.
    Rank(Arc<Node>, rank::Plan),
    /// Each row with aggregates over its partition up to it.
    Over(Arc<Node>, over::Plan),
    /// All rows of all inputs.
    Union(Vec<Arc<Node>>),
}

/// An operator as the planner describes it; each subtask makes its own.
#[derive(Debug, Clone)]
pub enum Step {
    Calc(Calc),
    ReadCounter,
    Watermark {
        column: usize,
        name: String,
        candidate: Arc<dyn PhysicalExpr>,
        by_split: bool,
        interval_ms: i64,
    },
    Windows {
        column: usize,
        windows: Windows,
        zone: Option<Zone>,
        schema: SchemaRef,
    },
    Expand {
        keys: Vec<usize>,
        sets: Vec<Vec<bool>>,
        schema: SchemaRef,
    },
    NotNull(Vec<(usize, String)>),
    /// All rows meet in one task, a number of them go on.
    Limit(u64),
    /// All rows meet in one task and leave it ordered by time.
    Sort {
        columns: Vec<(usize, SortOptions)>,
        schema: SchemaRef,
    },
    Aggregate(aggregate::Plan),
    Join(join::Plan),
    IntervalJoin(interval_join::Plan),
    SetOperation(set_operation::Plan),
    Rank(rank::Plan),
    Over(over::Plan),
    /// All rows meet in one task; the final ones leave it at the end.
    Fold(SchemaRef),
}

impl Step {
    pub fn operator(&self) -> Result<Box<dyn Operator>, Error> {
        Ok(match self.clone() {
            Self::Calc(calc) => Box::new(calc),
            Self::ReadCounter => Box::<ReadCounter>::default(),
            Self::Watermark {
                column,
                name,
                candidate,
                by_split,
                interval_ms,
            } => Box::new(WatermarkAssigner::new(column, name, candidate, by_split, interval_ms)),
            Self::Windows {
                column,
                windows,
                zone,
                schema,
            } => Box::new(WindowAssigner {
                column,
                windows,
                zone,
                schema,
            }),
            Self::Expand { keys, sets, schema } => Box::new(Expand { keys, sets, schema }),
            Self::NotNull(columns) => Box::new(NotNull { columns }),
            Self::Limit(rows) => Box::new(Limit::new(rows)),
            Self::Sort { columns, schema } => Box::new(TimeSort::new(columns, schema)),
            Self::Aggregate(mut plan) => match plan.slices.take() {
                Some(slices) => Box::new(SlicedAggregate::new(plan, slices)?),
                None => Box::new(Aggregate::new(plan)?),
            },
            Self::Join(plan) => Box::new(Join::new(plan)?),
            Self::IntervalJoin(plan) => Box::new(IntervalJoin::new(plan)?),
            Self::SetOperation(plan) => Box::new(SetOperation::new(plan)?),
            Self::Rank(plan) => Box::new(Rank::new(plan)?),
            Self::Over(plan) => Box::new(Over::new(plan)?),
            Self::Fold(schema) => Box::new(Fold::new(&schema)?),
        })
    }

    /// Whether all rows must meet in one task.
    fn gathers(&self) -> bool {
        matches!(self, Self::Limit(_) | Self::Sort { .. } | Self::Fold(_))
    }
}

/// Where a job's rows go.
#[derive(Debug, Clone)]
pub enum Target {
    Table(Arc<TableSpec>),
    /// To the client of the query.
    Collect,
}

/// One output of a job: a relation and where it goes. A statement set has several.
#[derive(Debug, Clone)]
pub struct Output {
    pub node: Arc<Node>,
    pub target: Target,
}
