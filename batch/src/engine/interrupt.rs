//! How a running query is stopped.
//!
//! An executor can only drop a task between two polls, and one poll of a join may go through billions of pairs. So each
//! statement has an [`Interrupt`], which travels with the session's configuration into the plan: [`InterruptRule`] wraps
//! the conditions of joins, which then fail as soon as the statement is interrupted, and makes operators that turn few
//! rows into many give up the thread now and then. Our own joins ask it themselves.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion::common::config::{ConfigEntry, ConfigExtension, ConfigOptions, ExtensionOptions};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DataFusionError, Result, internal_err, plan_err};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{
    HashJoinExec, HashJoinExecBuilder, NestedLoopJoinExec, NestedLoopJoinExecBuilder,
};
use tokio::runtime::{Handle, RuntimeFlavor};

/// After so long a thread that evaluates conditions hands the other tasks of its queue on.
const POLL_MAX: Duration = Duration::from_millis(20);

thread_local! {
    static POLL_STARTED: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// What an interrupted statement ends with.
const CANCELLED: &str = "the query was cancelled";

/// Shared by all that works for one statement.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    raised: Arc<AtomicBool>,
}

impl Interrupt {
    pub fn raise(&self) {
        self.raised.store(true, Ordering::Relaxed);
    }

    pub fn check(&self) -> Result<()> {
        if self.raised.load(Ordering::Relaxed) {
            return Err(cancelled());
        }
        Ok(())
    }

    /// The interrupt of the statement that runs with this configuration; one that is never raised where there is none.
    pub fn of(config: &ConfigOptions) -> Interrupt {
        config.extensions.get::<Interrupt>().cloned().unwrap_or_default()
    }
}

pub fn cancelled() -> DataFusionError {
    DataFusionError::Execution(CANCELLED.into())
}

/// Whether a statement ended because it was interrupted.
pub fn is_cancelled(error: &DataFusionError) -> bool {
    matches!(error.find_root(), DataFusionError::Execution(text) if text == CANCELLED)
}

impl ConfigExtension for Interrupt {
    const PREFIX: &'static str = "interrupt";
}

impl ExtensionOptions for Interrupt {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, _value: &str) -> Result<()> {
        plan_err!("there is no setting interrupt.{key}")
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        Vec::new()
    }
}

/// Lets a plan be interrupted.
#[derive(Debug)]
pub struct InterruptRule;

impl PhysicalOptimizerRule for InterruptRule {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(interrupt) = config.extensions.get::<Interrupt>() else {
            return Ok(plan);
        };
        let rebuilt = plan.transform_up(|plan| {
            if let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>() {
                let filter = join.filter().map(|filter| checked(filter, interrupt));
                let join = NestedLoopJoinExecBuilder::from(join).with_filter(filter).build()?;
                return Ok(Transformed::yes(yielding(Arc::new(join))));
            }
            if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
                let filter = join.filter().map(|filter| checked(filter, interrupt));
                let join = HashJoinExecBuilder::from(join).with_filter(filter).build()?;
                return Ok(Transformed::yes(yielding(Arc::new(join))));
            }
            let grows = [
                "CrossJoinExec",
                "SortMergeJoinExec",
                "PiecewiseMergeJoinExec",
                "UnnestExec",
                "RecursiveQueryExec",
            ];
            Ok(if grows.contains(&plan.name()) {
                Transformed::yes(yielding(plan))
            } else {
                Transformed::no(plan)
            })
        });
        rebuilt.data()
    }

    fn name(&self) -> &str {
        "Interrupt"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn yielding(plan: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    Arc::new(CooperativeExec::new(plan))
}

fn checked(filter: &JoinFilter, interrupt: &Interrupt) -> JoinFilter {
    let condition = Arc::new(Checked {
        condition: Arc::clone(filter.expression()),
        interrupt: interrupt.clone(),
    });
    JoinFilter::new(condition, filter.column_indices().to_vec(), Arc::clone(filter.schema()))
}

/// A condition that fails once the statement is interrupted.
#[derive(Debug, Clone)]
struct Checked {
    condition: Arc<dyn PhysicalExpr>,
    interrupt: Interrupt,
}

impl PartialEq for Checked {
    fn eq(&self, other: &Self) -> bool {
        self.condition.eq(&other.condition)
    }
}

impl Eq for Checked {}

impl Hash for Checked {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.condition.hash(state);
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.condition.fmt(f)
    }
}

impl PhysicalExpr for Checked {
    fn data_type(&self, input_schema: &Schema) -> Result<DataType> {
        self.condition.data_type(input_schema)
    }

    fn nullable(&self, input_schema: &Schema) -> Result<bool> {
        self.condition.nullable(input_schema)
    }

    fn return_field(&self, input_schema: &Schema) -> Result<FieldRef> {
        self.condition.return_field(input_schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        self.interrupt.check()?;
        let long = POLL_STARTED.with(|started| {
            let now = Instant::now();
            let since = now.duration_since(started.get().unwrap_or(now));
            if started.get().is_none() || since > POLL_MAX {
                started.set(Some(now));
            }
            since > POLL_MAX
        });
        // This may be one of billions of evaluations of one poll: let another thread run the other tasks meanwhile.
        let in_pool =
            || Handle::try_current().is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread);
        if long && in_pool() {
            return tokio::task::block_in_place(|| self.condition.evaluate(batch));
        }
        self.condition.evaluate(batch)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.condition]
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        let Some(condition) = children.pop() else {
            return internal_err!("a condition has gone");
        };
        Ok(Arc::new(Checked {
            condition,
            interrupt: self.interrupt.clone(),
        }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.condition.fmt_sql(f)
    }
}
