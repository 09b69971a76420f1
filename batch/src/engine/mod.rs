//! The engine: DataFusion in this process, with our spatial functions, our joins and our tables.
//!
//! [`Engine`] holds what all its sessions share: a memory limit that all operators share fairly, a directory to spill
//! into, tables from files and hdfs ([`tables`]), and the threads that queries run on ([`runtime`]). A [`Session`] has
//! settings of its own, the spatial functions, and the planner's rules that turn spatial conditions into our operators
//! ([`join`]); [`statements`] is the one way in, for the command line and for Flight SQL. [`Engine::run`] takes a script
//! of statements and hands the last one's result, batch by batch, to an [`output`]. [`partitions`] is the command that
//! shows the partitioner at work.
//!
//! Everything here may name tokio and touch the world; what it computes with is in [`crate::spatial`].

mod admission;
mod depth;
mod formats;
mod geoparquet;
pub mod interrupt;
mod join;
mod output;
pub mod partitions;
mod progress;
mod runtime;
mod session;
mod spill;
mod statements;
mod tables;
mod write;

use datafusion::prelude::SessionContext;
use futures::TryStreamExt;

pub use admission::Limits;
pub use interrupt::Interrupt;
pub use output::{Format, Sink};
pub use session::{Memory, Options};
pub use spill::SpillDirectory;
pub use statements::{Described, Rows, Session};
pub use tables::follow;

use crate::Error;
use admission::Admission;
use runtime::Queries;
use session::Shared;

/// What all sessions share.
pub struct Engine {
    shared: Shared,
    queries: Queries,
    admission: Option<Admission>,
    /// The session of the command line.
    own: SessionContext,
}

impl Engine {
    pub fn new(options: &Options) -> Result<Engine, Error> {
        let shared = Shared::open(options)?;
        let own = shared.session();
        Ok(Engine {
            shared,
            queries: Queries::start()?,
            admission: None,
            own,
        })
    }

    /// Bounds how many queries of all its sessions run at a time.
    pub fn with_limits(mut self, limits: Limits) -> Engine {
        self.admission = Some(Admission::new(limits));
        self
    }

    /// The first session, for those who bring their own plans.
    pub fn context(&self) -> &SessionContext {
        &self.own
    }

    /// A session with settings of its own.
    pub fn session(&self) -> Session {
        self.with_context(self.shared.session())
    }

    fn with_context(&self, context: SessionContext) -> Session {
        Session {
            context,
            queries: self.queries.clone(),
            admission: self.admission.clone(),
        }
    }

    /// Runs the statements of a script in order; the result of the last one goes to `sink`.
    pub async fn run(&self, script: &str, sink: &mut Sink) -> Result<(), Error> {
        let session = self.with_context(self.own.clone());
        let mut statements = session.parse(script.to_owned()).await?;
        let Some(last) = statements.pop() else {
            return Err(Error::Usage(
                "the script holds no statement: give SQL with -c, in a file with -f, or on stdin".into(),
            ));
        };
        for statement in statements {
            let mut rows = session.run_statement(statement, Interrupt::default()).await?;
            while rows.try_next().await?.is_some() {}
        }
        let progress = progress::Progress::start();
        let mut rows = session.run_statement(last, Interrupt::default()).await?;
        sink.begin(rows.schema.clone())?;
        while let Some(batch) = rows.try_next().await? {
            progress.rows(batch.num_rows());
            sink.write(&batch)?;
        }
        drop(progress);
        sink.finish()
    }
}
