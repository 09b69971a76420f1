//! Puts the spatial join in the place of the nested loop.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::logical_expr::JoinType;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::NestedLoopJoinExec;

use super::Options;
use super::condition::Condition;
use super::exec::SpatialJoin;

#[derive(Debug)]
pub struct SpatialJoinRule;

impl PhysicalOptimizerRule for SpatialJoinRule {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let partitions = config
            .extensions
            .get::<Options>()
            .map_or(1, |options| options.partitions.max(1));
        plan.transform_up(|plan| match replacement(&plan, partitions)? {
            Some(join) => Ok(Transformed::yes(Arc::new(join) as Arc<dyn ExecutionPlan>)),
            None => Ok(Transformed::no(plan)),
        })
        .data()
    }

    fn name(&self) -> &str {
        "SpatialJoin"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn replacement(plan: &Arc<dyn ExecutionPlan>, partitions: usize) -> Result<Option<SpatialJoin>> {
    let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>() else {
        return Ok(None);
    };
    // A mark join (EXISTS below OR) stays a nested loop: right, only slower.
    if matches!(join.join_type(), JoinType::LeftMark | JoinType::RightMark) {
        return Ok(None);
    }
    let Some(filter) = join.filter() else { return Ok(None) };
    let Some((condition, rest)) = Condition::find(filter)? else {
        return Ok(None);
    };
    let projection = join.projection().as_ref().map(|projection| projection.to_vec());
    let join = SpatialJoin::new(
        Arc::clone(join.left()),
        Arc::clone(join.right()),
        condition,
        rest,
        *join.join_type(),
        projection,
        partitions,
    )?;
    Ok(Some(join))
}
