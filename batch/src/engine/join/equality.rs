//! Spatial joins with an equality beside the predicate.
//!
//! DataFusion makes them hash joins with the spatial predicate as a filter: where many rows share a key, that is every pair
//! of them. The spatial index does not mind, so the predicate leads and the equality is checked for its candidates.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{JoinSide, NullEquality, Result};
use datafusion::logical_expr::{JoinType, Operator};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::expressions::{BinaryExpr, Column};
use datafusion::physical_plan::joins::utils::{ColumnIndex, JoinFilter};
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec};

use super::condition::Condition;

/// Makes a hash join with a spatial filter a nested loop with both conditions, which the spatial join then replaces.
#[derive(Debug)]
pub struct SpatialFirst;

impl PhysicalOptimizerRule for SpatialFirst {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|plan| match nested_loop(&plan)? {
            Some(join) => Ok(Transformed::yes(Arc::new(join) as Arc<dyn ExecutionPlan>)),
            None => Ok(Transformed::no(plan)),
        })
        .data()
    }

    fn name(&self) -> &str {
        "SpatialFirst"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn nested_loop(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<NestedLoopJoinExec>> {
    let Some(join) = plan.downcast_ref::<HashJoinExec>() else {
        return Ok(None);
    };
    let marks = matches!(join.join_type(), JoinType::LeftMark | JoinType::RightMark);
    let Some(filter) = join.filter().filter(|_| !marks && !join.null_aware) else {
        return Ok(None);
    };
    if Condition::find(filter)?.is_none() {
        return Ok(None);
    }
    let mut columns: Vec<ColumnIndex> = filter.column_indices().to_vec();
    let mut fields: Vec<_> = filter.schema().fields().to_vec();
    let mut condition = Arc::clone(filter.expression());
    let operator = match join.null_equality() {
        NullEquality::NullEqualsNothing => Operator::Eq,
        NullEquality::NullEqualsNull => Operator::IsNotDistinctFrom,
    };
    for (left, right) in join.on() {
        let mut of_side = |expr: &Arc<dyn PhysicalExpr>, side: JoinSide| -> Result<Arc<dyn PhysicalExpr>> {
            let schema = if side == JoinSide::Left {
                join.left().schema()
            } else {
                join.right().schema()
            };
            let mut places = std::collections::HashMap::new();
            for column in collect_columns(expr) {
                places.insert(column.index(), fields.len());
                fields.push(Arc::clone(&schema.fields()[column.index()]));
                columns.push(ColumnIndex {
                    index: column.index(),
                    side,
                });
            }
            Arc::clone(expr)
                .transform_up(|expr| {
                    let Some(column) = expr.downcast_ref::<Column>() else {
                        return Ok(Transformed::no(expr));
                    };
                    let place = places.get(&column.index()).copied().unwrap_or(column.index());
                    let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(column.name(), place));
                    Ok(Transformed::yes(column))
                })
                .data()
        };
        let (left, right) = (of_side(left, JoinSide::Left)?, of_side(right, JoinSide::Right)?);
        let equality: Arc<dyn PhysicalExpr> = Arc::new(BinaryExpr::new(left, operator, right));
        condition = Arc::new(BinaryExpr::new(condition, Operator::And, equality));
    }
    let schema = Arc::new(arrow::datatypes::Schema::new(fields));
    let filter = JoinFilter::new(condition, columns, schema);
    let projection = join.projection.as_ref().map(|projection| projection.to_vec());
    let (left, right) = (Arc::clone(join.left()), Arc::clone(join.right()));
    NestedLoopJoinExec::try_new(left, right, Some(filter), join.join_type(), projection).map(Some)
}
