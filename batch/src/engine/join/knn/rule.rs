//! From the join that was written to the node, and from the node to the operator.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{JoinType, Result, ScalarValue, plan_err};
use datafusion::execution::context::QueryPlanner;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, Extension, Filter, Join, LogicalPlan, UserDefinedLogicalNode};
use datafusion::optimizer::AnalyzerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};

use super::KnnJoin;
use super::exec::KnnJoinExec;
use crate::spatial::functions::KNN;
use crate::spatial::index::Metric;

/// Replaces joins on ST_KNN.
#[derive(Debug)]
pub struct KnnRule;

impl AnalyzerRule for KnnRule {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|plan| match plan {
            LogicalPlan::Join(join) if join.filter.as_ref().is_some_and(has_knn) => replace(join).map(Transformed::yes),
            // FROM q, s WHERE ST_KNN(…): the same join, written the old way.
            LogicalPlan::Filter(filter) if has_knn(&filter.predicate) => from_where(filter),
            plan => Ok(Transformed::no(plan)),
        })
        .data()
    }

    fn name(&self) -> &str {
        "knn_join"
    }
}

fn knn_args(expr: &Expr) -> Option<&[Expr]> {
    match expr {
        Expr::ScalarFunction(function) if function.func.name() == KNN => Some(&function.args),
        _ => None,
    }
}

fn has_knn(expr: &Expr) -> bool {
    expr.exists(|expr| Ok(knn_args(expr).is_some())).unwrap_or(false)
}

fn from_where(filter: Filter) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Join(join) = filter.input.as_ref() else {
        return Ok(Transformed::no(LogicalPlan::Filter(filter)));
    };
    if join.join_type != JoinType::Inner || !join.on.is_empty() || join.filter.is_some() {
        return Ok(Transformed::no(LogicalPlan::Filter(filter)));
    }
    let mut join = join.clone();
    join.filter = Some(filter.predicate);
    replace(join).map(Transformed::yes)
}

fn replace(join: Join) -> Result<LogicalPlan> {
    let conjuncts = join.filter.map(split_conjunction_owned).unwrap_or_default();
    let (mut knn, mut rest): (Vec<Expr>, Vec<Expr>) =
        conjuncts.into_iter().partition(|conjunct| knn_args(conjunct).is_some());
    rest.extend(join.on.into_iter().map(|(left, right)| left.eq(right)));
    if knn.len() != 1 || rest.iter().any(has_knn) {
        return plan_err!("a join takes one ST_KNN, as a condition of its own beside AND");
    }
    let condition = knn.remove(0);
    let Some([query, object, k, options @ ..]) = knn_args(&condition) else {
        return plan_err!("st_knn takes 3 to 4 arguments");
    };
    let k = match literal(k).map(|k| k.cast_to(&arrow::datatypes::DataType::Int64)) {
        Some(Ok(ScalarValue::Int64(Some(k)))) if k >= 1 => usize::try_from(k).unwrap_or(usize::MAX),
        _ => return plan_err!("the third argument of ST_KNN is the number of neighbours: a constant from 1 on"),
    };
    let metric = match options.first().map(literal) {
        None | Some(Some(ScalarValue::Boolean(Some(false)))) => Metric::Planar,
        Some(Some(ScalarValue::Boolean(Some(true)))) => Metric::Sphere,
        _ => return plan_err!("the fourth argument of ST_KNN says whether to use the sphere: true or false"),
    };
    let of = |expr: &Expr, plan: &LogicalPlan| {
        let columns = expr.column_refs();
        !columns.is_empty() && columns.into_iter().all(|column| plan.schema().has_column(column))
    };
    let queries_left = match (of(query, &join.left), of(object, &join.right)) {
        (true, true) => true,
        _ if of(query, &join.right) && of(object, &join.left) => false,
        _ => {
            return plan_err!(
                "the geometries of ST_KNN must come from one side of the join each: ST_KNN(query.g, object.g, k)"
            );
        }
    };
    let keep_queries = match (join.join_type, queries_left) {
        (JoinType::Inner, _) => false,
        (JoinType::Left, true) | (JoinType::Right, false) => true,
        (kind, _) => {
            return plan_err!("ST_KNN joins are INNER, or keep the side of the first geometry (LEFT), not {kind}");
        }
    };
    if keep_queries && !rest.is_empty() {
        return plan_err!("beside ST_KNN an outer join takes no other condition: put it into a subquery or into WHERE");
    }
    let (left_geometry, right_geometry) = if queries_left { (query, object) } else { (object, query) };
    let node = KnnJoin::new(
        join.left,
        join.right,
        left_geometry.clone(),
        right_geometry.clone(),
        k,
        metric,
        queries_left,
        keep_queries,
    )?;
    let plan = LogicalPlan::Extension(Extension { node: Arc::new(node) });
    match conjunction(rest) {
        Some(rest) => Ok(LogicalPlan::Filter(Filter::try_new(rest, Arc::new(plan))?)),
        None => Ok(plan),
    }
}

fn literal(expr: &Expr) -> Option<ScalarValue> {
    match expr {
        Expr::Literal(value, _) => Some(value.clone()),
        Expr::Cast(cast) => literal(&cast.expr),
        _ => None,
    }
}

/// DataFusion's planner, which knows our node.
#[derive(Debug)]
pub struct Planner;

#[async_trait]
impl QueryPlanner for Planner {
    async fn create_physical_plan(&self, plan: &LogicalPlan, session: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        let planner = DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(KnnPlanner)]);
        planner.create_physical_plan(plan, session).await
    }
}

struct KnnPlanner;

#[async_trait]
impl ExtensionPlanner for KnnPlanner {
    async fn plan_extension(
        &self,
        planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        session: &dyn Session,
        planning: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let (Some(node), [left, right]) = (node.as_any().downcast_ref::<KnnJoin>(), physical_inputs) else {
            return Ok(None);
        };
        let physical = |expr, plan: &LogicalPlan| planner.create_physical_expr(expr, plan.schema(), session, planning);
        let join = KnnJoinExec::new(
            Arc::clone(left),
            Arc::clone(right),
            physical(&node.left_geometry, &node.left)?,
            physical(&node.right_geometry, &node.right)?,
            node,
        );
        Ok(Some(Arc::new(join)))
    }
}
