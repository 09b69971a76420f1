//! The nearest-neighbour join's node in the physical plan.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch, UInt32Array};
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, SortField};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::joins::utils::{ColumnIndex, build_join_schema};
use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, ExecutionPlanProperties, InputDistributionRequirements,
    Partitioning, PhysicalExpr, PlanProperties,
};
use futures::{StreamExt, TryStreamExt, stream};
use tokio::sync::OnceCell;

use super::KnnJoin;
use super::node::join_type;
use crate::engine::join::build::{collect, shapes, srid_of};
use crate::engine::join::pairs::Pairs;
use crate::spatial::functions::geometry_column;
use crate::spatial::geometry::Shape;
use crate::spatial::index::{Metric, Neighbors};

/// Pairs that are output at once, about.
const PAIRS_PER_STEP: usize = 8192;
/// What an object takes beside its row: its shape, its place in the index, its rank.
const OBJECT_BYTES: usize = 320;

type SharedObjects = Arc<OnceCell<Result<Arc<Objects>, Arc<DataFusionError>>>>;

/// For each query the k nearest objects: the objects are collected and indexed, the queries stream past them.
///
/// Among equally near objects those win whose rows come first when rows are ordered by all their columns, so the result
/// does not depend on threads, files or partitions.
#[derive(Debug)]
pub struct KnnJoinExec {
    left: Arc<dyn ExecutionPlan>,
    right: Arc<dyn ExecutionPlan>,
    left_geometry: Arc<dyn PhysicalExpr>,
    right_geometry: Arc<dyn PhysicalExpr>,
    k: usize,
    metric: Metric,
    queries_left: bool,
    keep_queries: bool,
    columns: Vec<ColumnIndex>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
    objects: SharedObjects,
}

impl KnnJoinExec {
    pub fn new(
        left: Arc<dyn ExecutionPlan>,
        right: Arc<dyn ExecutionPlan>,
        left_geometry: Arc<dyn PhysicalExpr>,
        right_geometry: Arc<dyn PhysicalExpr>,
        node: &KnnJoin,
    ) -> KnnJoinExec {
        let parts = (left_geometry, right_geometry);
        KnnJoinExec::of(
            left,
            right,
            parts,
            node.k,
            node.metric,
            node.queries_left,
            node.keep_queries,
        )
    }

    fn of(
        left: Arc<dyn ExecutionPlan>,
        right: Arc<dyn ExecutionPlan>,
        (left_geometry, right_geometry): (Arc<dyn PhysicalExpr>, Arc<dyn PhysicalExpr>),
        k: usize,
        metric: Metric,
        queries_left: bool,
        keep_queries: bool,
    ) -> KnnJoinExec {
        let kind = join_type(queries_left, keep_queries);
        let (schema, columns) = build_join_schema(&left.schema(), &right.schema(), &kind);
        let queries = if queries_left { &left } else { &right };
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::new(schema)),
            Partitioning::UnknownPartitioning(queries.output_partitioning().partition_count()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        KnnJoinExec {
            left,
            right,
            left_geometry,
            right_geometry,
            k,
            metric,
            queries_left,
            keep_queries,
            columns,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
            objects: Arc::default(),
        }
    }

    /// (queries, objects) of two things of the left and the right.
    fn roles<T>(&self, left: T, right: T) -> (T, T) {
        if self.queries_left {
            (left, right)
        } else {
            (right, left)
        }
    }
}

impl DisplayAs for KnnJoinExec {
    fn fmt_as(&self, kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (query, object) = self.roles(&self.left_geometry, &self.right_geometry);
        let join = join_type(self.queries_left, self.keep_queries);
        if matches!(kind, DisplayFormatType::TreeRender) {
            return writeln!(f, "join_type={join:?}\nk={}\nmetric={:?}", self.k, self.metric);
        }
        write!(
            f,
            "KnnJoinExec: join_type={join:?}, on=st_knn({query}, {object}, {}), metric={:?}, ties=by row",
            self.k, self.metric
        )
    }
}

impl ExecutionPlan for KnnJoinExec {
    fn name(&self) -> &str {
        "KnnJoinExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        let (queries, objects) = (Distribution::UnspecifiedDistribution, Distribution::SinglePartition);
        let (left, right) = if self.queries_left {
            (queries, objects)
        } else {
            (objects, queries)
        };
        InputDistributionRequirements::new(vec![left, right])
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.left, &self.right]
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        match f(&self.left_geometry)? {
            TreeNodeRecursion::Stop => Ok(TreeNodeRecursion::Stop),
            _ => f(&self.right_geometry),
        }
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let (Some(right), Some(left)) = (children.pop(), children.pop()) else {
            return internal_err!("a join has two inputs");
        };
        let geometries = (Arc::clone(&self.left_geometry), Arc::clone(&self.right_geometry));
        let join = KnnJoinExec::of(
            left,
            right,
            geometries,
            self.k,
            self.metric,
            self.queries_left,
            self.keep_queries,
        );
        Ok(Arc::new(join))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let (queries, objects) = self.roles(&self.left, &self.right);
        let (query, object) = self.roles(&self.left_geometry, &self.right_geometry);
        let run = Run {
            queries: queries.execute(partition, Arc::clone(&context))?,
            query: Arc::clone(query),
            source: Source {
                plan: Arc::clone(objects),
                geometry: Arc::clone(object),
                metric: self.metric,
                context,
                shared: Arc::clone(&self.objects),
            },
            k: self.k,
            queries_left: self.queries_left,
            keep_queries: self.keep_queries,
            columns: self.columns.clone(),
            schema: self.schema(),
            step: None,
            ready: VecDeque::new(),
            output_rows: MetricBuilder::new(&self.metrics).output_rows(partition),
        };
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

/// All objects, indexed.
#[derive(Debug)]
struct Objects {
    rows: RecordBatch,
    index: Neighbors,
    /// Each row's place in the order of all rows.
    ranks: Vec<u32>,
    _reservation: MemoryReservation,
}

impl Objects {
    fn new(
        rows: RecordBatch,
        geometry: &Arc<dyn PhysicalExpr>,
        metric: Metric,
        reservation: MemoryReservation,
    ) -> Result<Objects> {
        let geometries = geometry.evaluate(&rows)?.into_array(rows.num_rows())?;
        reservation.try_grow(2 * geometries.get_array_memory_size() + rows.num_rows() * OBJECT_BYTES)?;
        let order = ordered(&rows, &reservation)?;
        let mut ranks = vec![0; order.len()];
        for (rank, row) in (0u32..).zip(&order) {
            ranks[*row as usize] = rank;
        }
        let bytes = geometry_column(&geometries)?;
        let mut shapes = shapes(&geometries, srid_of(geometry, &rows.schema())?)?;
        let ordered = order.iter().map(|row| {
            (
                *row,
                bytes(*row as usize).unwrap_or_default(),
                shapes[*row as usize].take(),
            )
        });
        let index = Neighbors::new(ordered, metric);
        Ok(Objects {
            rows,
            index,
            ranks,
            _reservation: reservation,
        })
    }

    fn order(&self, a: u32, b: u32) -> Ordering {
        self.ranks[a as usize].cmp(&self.ranks[b as usize])
    }
}

/// The row numbers in the order of the rows' values, column by column.
fn ordered(rows: &RecordBatch, reservation: &MemoryReservation) -> Result<Vec<u32>> {
    let count = u32::try_from(rows.num_rows()).unwrap_or(u32::MAX);
    let mut order: Vec<u32> = (0..count).collect();
    if rows.num_columns() == 0 {
        return Ok(order);
    }
    let fields = rows
        .schema()
        .fields()
        .iter()
        .map(|field| SortField::new(field.data_type().clone()))
        .collect();
    let keys = RowConverter::new(fields)?.convert_columns(rows.columns())?;
    let size = keys.size();
    reservation.try_grow(size)?;
    order.sort_by(|a, b| keys.row(*a as usize).cmp(&keys.row(*b as usize)));
    reservation.shrink(size);
    Ok(order)
}

/// One partition of the queries while it runs.
struct Run {
    queries: SendableRecordBatchStream,
    query: Arc<dyn PhysicalExpr>,
    source: Source,
    k: usize,
    queries_left: bool,
    keep_queries: bool,
    columns: Vec<ColumnIndex>,
    schema: SchemaRef,
    step: Option<Step>,
    ready: VecDeque<RecordBatch>,
    output_rows: Count,
}

/// A batch of queries on its way.
struct Step {
    rows: RecordBatch,
    shapes: Vec<Option<Shape>>,
    next_row: usize,
}

impl Run {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let objects = self.source.load().await?;
        loop {
            if let Some(batch) = self.ready.pop_front() {
                self.output_rows.add(batch.num_rows());
                return Ok(Some(batch));
            }
            if let Some(mut step) = self.step.take() {
                let batch = self.answer(&mut step, &objects)?;
                if batch.num_rows() > 0 {
                    self.ready.push_back(batch);
                }
                if step.next_row < step.shapes.len() {
                    self.step = Some(step);
                }
                tokio::task::yield_now().await;
                continue;
            }
            let Some(rows) = self.queries.try_next().await? else {
                return Ok(None);
            };
            let geometries = self.query.evaluate(&rows)?.into_array(rows.num_rows())?;
            self.step = Some(Step {
                shapes: shapes(&geometries, srid_of(&self.query, &rows.schema())?)?,
                rows,
                next_row: 0,
            });
        }
    }

    fn answer(&self, step: &mut Step, objects: &Objects) -> Result<RecordBatch> {
        let (mut query_rows, mut object_rows) = (Vec::new(), Vec::new());
        while step.next_row < step.shapes.len() && query_rows.len() < PAIRS_PER_STEP {
            let row = u32::try_from(step.next_row).unwrap_or(u32::MAX);
            let nearest = match &step.shapes[step.next_row] {
                Some(shape) => objects.index.nearest(shape, self.k, |a, b| objects.order(a, b)),
                None => Vec::new(),
            };
            step.next_row += 1;
            if nearest.is_empty() && self.keep_queries {
                query_rows.push(row);
                object_rows.push(None);
            }
            for object in nearest {
                query_rows.push(row);
                object_rows.push(Some(object));
            }
        }
        let (queries, found) = (UInt32Array::from(query_rows), UInt32Array::from(object_rows));
        if self.queries_left {
            Pairs {
                left: queries,
                right: found,
            }
            .rows(&self.schema, &self.columns, &step.rows, &objects.rows)
        } else {
            Pairs {
                left: found,
                right: queries,
            }
            .rows(&self.schema, &self.columns, &objects.rows, &step.rows)
        }
    }
}

/// Where the objects come from.
struct Source {
    plan: Arc<dyn ExecutionPlan>,
    geometry: Arc<dyn PhysicalExpr>,
    metric: Metric,
    context: Arc<TaskContext>,
    shared: SharedObjects,
}

impl Source {
    /// The objects, which the first partition to ask loads for all.
    async fn load(&self) -> Result<Arc<Objects>> {
        let loaded = self
            .shared
            .get_or_init(|| async { self.build().await.map(Arc::new).map_err(Arc::new) })
            .await;
        loaded
            .as_ref()
            .map(Arc::clone)
            .map_err(|error| DataFusionError::Shared(Arc::clone(error)))
    }

    async fn build(&self) -> Result<Objects> {
        let stream = self.plan.execute(0, Arc::clone(&self.context))?;
        let reservation = MemoryConsumer::new("KnnJoinObjects").register(self.context.memory_pool());
        let rows = collect(stream, &reservation).await?;
        Objects::new(rows, &self.geometry, self.metric, reservation)
    }
}
