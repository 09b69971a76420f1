//! The spatial join's node in the physical plan.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{JoinType, Operator};
use datafusion::physical_expr::split_conjunction;
use datafusion::physical_plan::expressions::BinaryExpr;
use datafusion::physical_plan::joins::NestedLoopJoinExec;
use datafusion::physical_plan::joins::utils::{ColumnIndex, JoinFilter, build_join_schema};
use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet, SpillMetrics};
use datafusion::physical_plan::stream::{RecordBatchReceiverStream, RecordBatchStreamAdapter};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, ExecutionPlanProperties, InputDistributionRequirements,
    PhysicalExpr, PlanProperties, SpillManager,
};
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use tokio::sync::OnceCell;

use super::build::{BuildSide, Loaded};
use super::condition::{Condition, Test};
use super::out_of_core::Outside;
use super::probe::{Join, Probe};
use crate::engine::interrupt::Interrupt;

type SharedBuild = Arc<OnceCell<Result<Arc<Loaded>, Arc<DataFusionError>>>>;

/// Joins by a spatial predicate: the left side is indexed, the right side streams past it.
///
/// - Every left row is in exactly one cell, so no pair comes twice; a right row visits every cell whose rows' bounds it
///   meets, so none is lost.
/// - Rows whose geometry is NULL, empty or not finite match nothing, and come once in the joins that keep rows without
///   a partner.
#[derive(Debug)]
pub struct SpatialJoin {
    left: Arc<dyn ExecutionPlan>,
    right: Arc<dyn ExecutionPlan>,
    condition: Condition,
    rest: Option<JoinFilter>,
    join_type: JoinType,
    projection: Option<Vec<usize>>,
    partitions: usize,
    columns: Vec<ColumnIndex>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
    build: SharedBuild,
}

impl SpatialJoin {
    pub fn new(
        left: Arc<dyn ExecutionPlan>,
        right: Arc<dyn ExecutionPlan>,
        condition: Condition,
        rest: Option<JoinFilter>,
        join_type: JoinType,
        projection: Option<Vec<usize>>,
        partitions: usize,
    ) -> Result<SpatialJoin> {
        let (_, mut columns) = build_join_schema(&left.schema(), &right.schema(), &join_type);
        if let Some(projection) = &projection {
            columns = projection.iter().map(|at| columns[*at].clone()).collect();
        }
        // To the rest of the plan it is the nested loop whose place it takes: same schema, same partitioning.
        let twin = NestedLoopJoinExec::try_new(
            Arc::clone(&left),
            Arc::clone(&right),
            None,
            &join_type,
            projection.clone(),
        )?;
        let properties = Arc::clone(twin.properties());
        Ok(SpatialJoin {
            left,
            right,
            condition,
            rest,
            join_type,
            projection,
            partitions,
            columns,
            properties,
            metrics: ExecutionPlanMetricsSet::new(),
            build: SharedBuild::default(),
        })
    }

    fn start(&self, partition: usize, context: &Arc<TaskContext>) -> Result<Run> {
        let join = Join {
            condition: self.condition.clone(),
            rest: self.rest.clone(),
            join_type: self.join_type,
            columns: self.columns.clone(),
            schema: self.schema(),
            batch_rows: context.session_config().batch_size(),
            rest_first: self.rest.as_ref().is_some_and(|rest| has_equality(rest.expression())),
            interrupt: Interrupt::of(context.session_config().options()),
        };
        let spilled = SpillMetrics::new(&self.metrics, partition);
        let manager = |schema| SpillManager::new(context.runtime_env(), spilled.clone(), schema);
        let counter = |name: &'static str| MetricBuilder::new(&self.metrics).counter(name, partition);
        Ok(Run {
            join,
            right: Some(self.right.execute(partition, Arc::clone(context))?),
            right_spill: manager(self.right.schema()),
            outside: None,
            memory: MemoryConsumer::new("SpatialJoinProbe").register(context.memory_pool()),
            left: Left {
                spill: manager(self.left.schema()),
                plan: Arc::clone(&self.left),
                context: Arc::clone(context),
                shared: Arc::clone(&self.build),
                cells: self.partitions,
                streams: self.right.output_partitioning().partition_count(),
                build_rows: counter("build_rows"),
                build_cells: counter("build_cells"),
            },
            probe: None,
            ready: VecDeque::new(),
            ended: false,
            output_rows: MetricBuilder::new(&self.metrics).output_rows(partition),
        })
    }
}

impl DisplayAs for SpatialJoin {
    fn fmt_as(&self, kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if matches!(kind, DisplayFormatType::TreeRender) {
            writeln!(f, "join_type={:?}", self.join_type)?;
            writeln!(f, "partitions={}", self.partitions)?;
            return writeln!(f, "on={}", self.condition);
        }
        write!(
            f,
            "SpatialJoinExec: join_type={:?}, on={}, partitions={}",
            self.join_type, self.condition, self.partitions
        )?;
        if let Some(rest) = &self.rest {
            write!(f, ", filter={}", rest.expression())?;
        }
        if self.projection.is_some() {
            let names: Vec<_> = self
                .schema()
                .fields()
                .iter()
                .map(|field| field.name().clone())
                .collect();
            write!(f, ", projection=[{}]", names.join(", "))?;
        }
        Ok(())
    }
}

impl ExecutionPlan for SpatialJoin {
    fn name(&self) -> &str {
        "SpatialJoinExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![
            Distribution::SinglePartition,
            Distribution::UnspecifiedDistribution,
        ])
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.left, &self.right]
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        let limit = match &self.condition.test {
            Test::Distance { limit, .. } => Some(limit),
            Test::Relation(_) => None,
        };
        let rest = self.rest.as_ref().map(|rest| rest.expression());
        for expr in [&self.condition.left, &self.condition.right]
            .into_iter()
            .chain(limit)
            .chain(rest)
        {
            if f(expr)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let (Some(right), Some(left)) = (children.pop(), children.pop()) else {
            return internal_err!("a join has two inputs");
        };
        Ok(Arc::new(SpatialJoin::new(
            left,
            right,
            self.condition.clone(),
            self.rest.clone(),
            self.join_type,
            self.projection.clone(),
            self.partitions,
        )?))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let run = self.start(partition, &context)?;
        let batches = stream::try_unfold(
            run,
            |mut run| async move { Ok(run.next().await?.map(|batch| (batch, run))) },
        );
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches.boxed())))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// One partition of the right side while it runs.
struct Run {
    join: Join,
    /// `None`: the join outside of memory has it.
    right: Option<SendableRecordBatchStream>,
    right_spill: SpillManager,
    outside: Option<SendableRecordBatchStream>,
    memory: MemoryReservation,
    left: Left,
    probe: Option<Probe>,
    ready: VecDeque<RecordBatch>,
    ended: bool,
    output_rows: Count,
}

impl Run {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let loaded = self.left.load(&self.join).await?;
        let build = match loaded.as_ref() {
            Loaded::Inside(build) => build,
            Loaded::Outside(outside) => {
                if let Some(right) = self.right.take() {
                    self.outside = Some(self.start_outside(Arc::clone(outside), right));
                }
                let Some(stream) = &mut self.outside else {
                    return Ok(None);
                };
                let batch = stream.try_next().await?;
                if let Some(batch) = &batch {
                    self.output_rows.add(batch.num_rows());
                }
                return Ok(batch);
            }
        };
        loop {
            if let Some(batch) = self.ready.pop_front() {
                self.output_rows.add(batch.num_rows());
                return Ok(Some(batch));
            }
            if self.ended {
                return Ok(None);
            }
            if let Some(probe) = &mut self.probe {
                match probe.step(&self.join, build)? {
                    Some(batches) => self
                        .ready
                        .extend(batches.into_iter().filter(|batch| batch.num_rows() > 0)),
                    None => {
                        self.probe = None;
                        self.memory.free();
                    }
                }
                // A step is long; others may want the thread, or the query may be over.
                tokio::task::yield_now().await;
                continue;
            }
            let Some(right) = &mut self.right else { return Ok(None) };
            match right.try_next().await? {
                Some(batch) => {
                    let probe = Probe::new(&self.join, batch)?;
                    // A batch is bounded, and without it nothing goes on: it counts, and is not refused.
                    self.memory.resize(probe.bytes());
                    self.probe = Some(probe);
                }
                None => {
                    self.ended = true;
                    if build.stream_ended() && self.join.tracks_left() {
                        self.ready.extend(self.join.left_rows(build)?);
                    }
                }
            }
        }
    }
}

impl Run {
    fn start_outside(&self, outside: Arc<Outside>, right: SendableRecordBatchStream) -> SendableRecordBatchStream {
        let mut builder = RecordBatchReceiverStream::builder(Arc::clone(&self.join.schema), 2);
        let (join, manager, cells) = (self.join.clone(), self.right_spill.clone(), self.left.cells);
        let (context, out) = (Arc::clone(&self.left.context), builder.tx());
        builder.spawn(outside.join(join, right, manager, cells, context, out).boxed());
        builder.build()
    }
}

/// Whether a conjunct compares two columns for equality.
fn has_equality(condition: &Arc<dyn PhysicalExpr>) -> bool {
    split_conjunction(condition).into_iter().any(|conjunct| {
        let comparison = conjunct.downcast_ref::<BinaryExpr>();
        comparison.is_some_and(|comparison| matches!(comparison.op(), Operator::Eq | Operator::IsNotDistinctFrom))
    })
}

/// Where the left side comes from.
struct Left {
    spill: SpillManager,
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    shared: SharedBuild,
    cells: usize,
    streams: usize,
    build_rows: Count,
    build_cells: Count,
}

impl Left {
    /// The left side, which the first partition to ask loads for all.
    async fn load(&self, join: &Join) -> Result<Arc<Loaded>> {
        let load = || async { self.build(join).await.map(Arc::new).map_err(Arc::new) };
        let loaded = self.shared.get_or_init(load).await;
        loaded
            .as_ref()
            .map(Arc::clone)
            .map_err(|error| DataFusionError::Shared(Arc::clone(error)))
    }

    async fn build(&self, join: &Join) -> Result<Loaded> {
        let stream = self.plan.execute(0, Arc::clone(&self.context))?;
        let reservation = MemoryConsumer::new("SpatialJoinBuild").register(self.context.memory_pool());
        let loaded = BuildSide::load(stream, join, self.cells, self.streams, self.spill.clone(), reservation).await?;
        if let Loaded::Inside(build) = &loaded {
            self.build_rows.add(build.rows.num_rows());
            self.build_cells.add(build.candidates.cells());
        }
        Ok(loaded)
    }
}
