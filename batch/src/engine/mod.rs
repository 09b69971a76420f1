//! The engine: DataFusion in this process, with our spatial functions, our joins and our tables.
//!
//! [`Engine`] is one session: a memory limit that all operators share fairly, a directory to spill into, tables from
//! files and hdfs ([`tables`]), the spatial functions, and the planner's rules that turn spatial conditions into our
//! operators ([`join`]). [`Engine::run`] takes a script of statements and hands the last one's result, batch by batch,
//! to an [`output`]. [`partitions`] is the command that shows the partitioner at work.
//!
//! Everything here may name tokio and touch the world; what it computes with is in [`crate::spatial`].

mod join;
mod output;
pub mod partitions;
mod progress;
mod session;
mod tables;

use std::collections::VecDeque;

use datafusion::common::Result as PlanResult;
use datafusion::dataframe::DataFrame;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::{DFParser, Statement};
use futures::TryStreamExt;

pub use output::{Format, Sink};
pub use session::{Memory, Options};
pub use tables::follow;

use crate::Error;

/// One session.
pub struct Engine {
    context: SessionContext,
}

impl Engine {
    pub fn new(options: &Options) -> Result<Engine, Error> {
        Ok(Engine {
            context: session::open(options)?,
        })
    }

    /// The session, for those who bring their own plans.
    pub fn context(&self) -> &SessionContext {
        &self.context
    }

    /// Runs the statements of a script in order; the result of the last one goes to `sink`.
    pub async fn run(&self, script: &str, sink: &mut Sink) -> Result<(), Error> {
        let mut statements = DFParser::parse_sql(script)?;
        let Some(last) = statements.pop_back() else {
            return Err(Error::Usage(
                "the script holds no statement: give SQL with -c, in a file with -f, or on stdin".into(),
            ));
        };
        self.execute(statements).await?;
        let frame = self.plan(last).await?;
        let progress = progress::Progress::start();
        let mut batches = frame.execute_stream().await?;
        sink.begin(batches.schema())?;
        while let Some(batch) = batches.try_next().await? {
            progress.rows(batch.num_rows());
            sink.write(&batch)?;
        }
        drop(progress);
        sink.finish()
    }

    async fn execute(&self, statements: VecDeque<Statement>) -> Result<(), Error> {
        for statement in statements {
            let mut batches = self.plan(statement).await?.execute_stream().await?;
            while batches.try_next().await?.is_some() {}
        }
        Ok(())
    }

    async fn plan(&self, statement: Statement) -> PlanResult<DataFrame> {
        let plan = self.context.state().statement_to_plan(statement).await?;
        self.context.execute_logical_plan(plan).await
    }
}
