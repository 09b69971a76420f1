//! What the service asks of the engine, behind an object.
//!
//! An object and not a [`SessionContext`], for the sake of whoever builds this crate: each async method of the service is
//! a future that must be shown to be `Send`, and as long as it holds a session, a plan or an expression, that proof walks
//! through all of DataFusion's types, anew for every method (the compiler keeps such proofs only where no lifetimes are
//! bound, see <https://github.com/apache/datafusion/issues/13814>). Behind the object, the walk is made once.

use std::sync::Arc;

use arrow::array::{Array, Int64Array, UInt64Array};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use arrow_flight::sql::{CommandGetCatalogs, CommandGetDbSchemas, CommandGetTables};
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::{DataFrame, SessionContext};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};

use super::catalog;

/// A statement as its plan sees it, before anything runs.
#[derive(Debug)]
pub struct Described {
    pub schema: SchemaRef,
    /// Whether values are to be given when it is executed.
    pub has_parameters: bool,
}

type Metadata = arrow_flight::error::Result<RecordBatch>;

/// An engine that statements are given to. Dropping a future or a stream ends its work.
pub trait Statements: Send + Sync {
    /// Plans without running anything: DDL too has no effect yet.
    fn describe<'a>(&'a self, sql: &'a str) -> BoxFuture<'a, Result<Described, DataFusionError>>;
    /// Runs a statement and gives its batches as they come.
    fn run<'a>(&'a self, sql: &'a str) -> BoxFuture<'a, Result<SendableRecordBatchStream, DataFusionError>>;
    /// Runs a statement for its effect and counts the rows it says it wrote.
    fn update<'a>(&'a self, sql: &'a str) -> BoxFuture<'a, Result<i64, DataFusionError>>;

    fn catalogs(&self, query: CommandGetCatalogs) -> Metadata;
    fn schemas(&self, query: CommandGetDbSchemas) -> Metadata;
    fn tables(&self, query: CommandGetTables) -> BoxFuture<'_, Metadata>;
}

impl Statements for SessionContext {
    fn describe<'a>(&'a self, sql: &'a str) -> BoxFuture<'a, Result<Described, DataFusionError>> {
        describe(self, sql).boxed()
    }

    fn run<'a>(&'a self, sql: &'a str) -> BoxFuture<'a, Result<SendableRecordBatchStream, DataFusionError>> {
        run(self, sql).boxed()
    }

    fn update<'a>(&'a self, sql: &'a str) -> BoxFuture<'a, Result<i64, DataFusionError>> {
        update(self, sql).boxed()
    }

    fn catalogs(&self, query: CommandGetCatalogs) -> Metadata {
        catalog::catalogs(self, query)
    }

    fn schemas(&self, query: CommandGetDbSchemas) -> Metadata {
        catalog::schemas(self, query)
    }

    fn tables(&self, query: CommandGetTables) -> BoxFuture<'_, Metadata> {
        catalog::tables(self, query).boxed()
    }
}

async fn plan(context: &SessionContext, sql: &str) -> Result<LogicalPlan, DataFusionError> {
    context.state().create_logical_plan(sql).await
}

async fn execute(context: &SessionContext, sql: &str) -> Result<DataFrame, DataFusionError> {
    context.execute_logical_plan(plan(context, sql).await?).await
}

async fn describe(context: &SessionContext, sql: &str) -> Result<Described, DataFusionError> {
    let plan = plan(context, sql).await?;
    Ok(Described {
        schema: Arc::clone(plan.schema().inner()),
        has_parameters: !plan.get_parameter_names()?.is_empty(),
    })
}

/// The batches have the schema that [`describe`] gives, as the protocol demands: what runs may know better than the plan
/// that a column has no nulls, and clients refuse a stream that is not what was announced.
async fn run(context: &SessionContext, sql: &str) -> Result<SendableRecordBatchStream, DataFusionError> {
    let frame = execute(context, sql).await?;
    let announced = Arc::clone(frame.schema().inner());
    let stream = frame.execute_stream().await?;
    let schema = Arc::clone(&announced);
    let batches = stream.map(move |batch| relabelled(&batch?, &schema));
    Ok(Box::pin(RecordBatchStreamAdapter::new(announced, batches)))
}

/// The same columns under another schema, which may only promise less.
fn relabelled(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, DataFusionError> {
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let columns = batch.columns().to_vec();
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &rows)?)
}

async fn update(context: &SessionContext, sql: &str) -> Result<i64, DataFusionError> {
    Ok(rows_written(&execute(context, sql).await?.collect().await?))
}

/// What DataFusion's INSERT and COPY answer is one column with the count of rows; DDL answers nothing.
fn rows_written(batches: &[RecordBatch]) -> i64 {
    let mut rows = 0_i64;
    for batch in batches.iter().filter(|batch| batch.num_columns() == 1) {
        let column = batch.column(0);
        if let Some(counts) = column.as_any().downcast_ref::<UInt64Array>() {
            rows += counts
                .iter()
                .flatten()
                .map(|count| i64::try_from(count).unwrap_or(i64::MAX))
                .sum::<i64>();
        } else if let Some(counts) = column.as_any().downcast_ref::<Int64Array>() {
            rows += counts.iter().flatten().sum::<i64>();
        }
    }
    rows
}
