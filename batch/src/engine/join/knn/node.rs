//! The nearest-neighbour join in the logical plan.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use datafusion::common::{DFSchemaRef, JoinType, Result, internal_err};
use datafusion::logical_expr::logical_plan::builder::build_join_schema;
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};

use crate::spatial::index::Metric;

/// For each query row the k nearest object rows; the output has the columns of the left, then those of the right input.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KnnJoin {
    pub left: Arc<LogicalPlan>,
    pub right: Arc<LogicalPlan>,
    /// The geometry of a left row, and of a right row.
    pub left_geometry: Expr,
    pub right_geometry: Expr,
    pub k: usize,
    pub metric: Metric,
    pub queries_left: bool,
    /// A query without any object comes once, with NULLs.
    pub keep_queries: bool,
    schema: DFSchemaRef,
}

impl KnnJoin {
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of a join; a builder would only repeat them"
    )]
    pub fn new(
        left: Arc<LogicalPlan>,
        right: Arc<LogicalPlan>,
        left_geometry: Expr,
        right_geometry: Expr,
        k: usize,
        metric: Metric,
        queries_left: bool,
        keep_queries: bool,
    ) -> Result<KnnJoin> {
        let kind = join_type(queries_left, keep_queries);
        let schema = Arc::new(build_join_schema(left.schema(), right.schema(), &kind)?);
        Ok(KnnJoin {
            left,
            right,
            left_geometry,
            right_geometry,
            k,
            metric,
            queries_left,
            keep_queries,
            schema,
        })
    }
}

/// The join whose schema this one has.
pub fn join_type(queries_left: bool, keep_queries: bool) -> JoinType {
    match (keep_queries, queries_left) {
        (false, _) => JoinType::Inner,
        (true, true) => JoinType::Left,
        (true, false) => JoinType::Right,
    }
}

impl PartialOrd for KnnJoin {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        if self == other {
            return Some(Ordering::Equal);
        }
        let order = self
            .left
            .partial_cmp(&other.left)?
            .then(self.right.partial_cmp(&other.right)?);
        Some(order).filter(|order| order.is_ne())
    }
}

impl UserDefinedLogicalNodeCore for KnnJoin {
    fn name(&self) -> &str {
        "KnnJoin"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.left, &self.right]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![self.left_geometry.clone(), self.right_geometry.clone()]
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let (query, object) = if self.queries_left {
            (&self.left_geometry, &self.right_geometry)
        } else {
            (&self.right_geometry, &self.left_geometry)
        };
        let kind = join_type(self.queries_left, self.keep_queries);
        write!(
            f,
            "KnnJoin: {kind} k={}, query={query}, object={object}, metric={:?}",
            self.k, self.metric
        )
    }

    fn with_exprs_and_inputs(&self, mut exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        let (Some(right), Some(left)) = (inputs.pop(), inputs.pop()) else {
            return internal_err!("a join has two inputs");
        };
        let (Some(right_geometry), Some(left_geometry)) = (exprs.pop(), exprs.pop()) else {
            return internal_err!("a nearest-neighbour join has two geometries");
        };
        KnnJoin::new(
            Arc::new(left),
            Arc::new(right),
            left_geometry,
            right_geometry,
            self.k,
            self.metric,
            self.queries_left,
            self.keep_queries,
        )
    }

    fn necessary_children_exprs(&self, output: &[usize]) -> Option<Vec<Vec<usize>>> {
        let left_width = self.left.schema().fields().len();
        let needed = |plan: &LogicalPlan, geometry: &Expr, wanted: Vec<usize>| {
            let columns = geometry.column_refs();
            let of_geometry = columns
                .into_iter()
                .map(|column| plan.schema().maybe_index_of_column(column));
            let mut all: Vec<usize> = of_geometry.collect::<Option<Vec<_>>>()?;
            all.extend(wanted);
            all.sort_unstable();
            all.dedup();
            Some(all)
        };
        let of_left = output.iter().copied().filter(|at| *at < left_width).collect();
        let of_right = output
            .iter()
            .copied()
            .filter(|at| *at >= left_width)
            .map(|at| at - left_width)
            .collect();
        Some(vec![
            needed(&self.left, &self.left_geometry, of_left)?,
            needed(&self.right, &self.right_geometry, of_right)?,
        ])
    }
}
