//! Where queries run: threads of their own.
//!
//! The threads that hold sockets, signals and health never plan, never compute and never drop a plan. A query that takes
//! its threads for long delays other queries, and nothing else.

use std::future::Future;
use std::sync::Arc;

use datafusion::common::{DataFusionError, Result};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use super::interrupt::{self, Interrupt};
use crate::Error;

/// The stack of each thread, in bytes: planning recurses with the depth of a statement, which [`depth`](super::depth)
/// bounds. It is address space, and only what is touched takes memory.
pub const STACK_BYTES: usize = 128 << 20;
/// Threads that wait for files: each has a stack, too.
const BLOCKING_THREADS_MAX: usize = 64;

/// The threads; cheap to share. The last one to go ends them without waiting.
#[derive(Debug, Clone)]
pub struct Queries {
    threads: Arc<Threads>,
}

#[derive(Debug)]
struct Threads {
    runtime: Option<Runtime>,
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Queries {
    pub fn start() -> Result<Queries, Error> {
        let runtime = Builder::new_multi_thread()
            .enable_all()
            .thread_name("query")
            .thread_stack_size(STACK_BYTES)
            .max_blocking_threads(BLOCKING_THREADS_MAX)
            .build()
            .map_err(|error| Error::Usage(format!("cannot start the threads for queries: {error}")))?;
        Ok(Queries {
            threads: Arc::new(Threads { runtime: Some(runtime) }),
        })
    }

    /// Runs the work on these threads. Dropping the future that this gives interrupts the work and ends it.
    pub async fn run<T: Send + 'static>(
        &self,
        interrupt: Interrupt,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let mut running = self.spawn(interrupt, work)?;
        match (&mut running.task).await {
            Ok(outcome) => outcome,
            Err(error) if error.is_cancelled() => Err(interrupt::cancelled()),
            Err(error) => Err(DataFusionError::Internal(format!("the query broke down: {error}"))),
        }
    }

    pub fn spawn<T: Send + 'static>(
        &self,
        interrupt: Interrupt,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<Running<T>> {
        let Some(runtime) = &self.threads.runtime else {
            return Err(interrupt::cancelled());
        };
        Ok(Running {
            task: runtime.spawn(work),
            interrupt,
        })
    }
}

/// Work that goes on; dropping this ends it.
#[derive(Debug)]
pub struct Running<T> {
    task: JoinHandle<T>,
    interrupt: Interrupt,
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        self.interrupt.raise();
        self.task.abort();
    }
}
