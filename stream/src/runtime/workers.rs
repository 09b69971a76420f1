//! Threads of their own for what may keep a thread busy.
//!
//! Tasks of jobs compute for as long as there are rows. On the threads that serve sockets, signals and checkpoints they
//! would starve them, so they have a runtime of their own, and the kernel shares the cores between both. Reading and
//! planning a statement is recursive and may take long, so it has a thread with a deep stack for itself.

use std::sync::LazyLock;

use tokio::runtime::{Handle, Runtime, RuntimeFlavor};

use crate::Error;

/// Room for expressions as deep as the parser allows, evaluated in a build without optimisations.
const TASK_STACK_BYTES: usize = 16 << 20;
/// The same for the parser, whose frames are larger. Only what is used is ever backed by memory.
const PLANNING_STACK_BYTES: usize = 256 << 20;

/// The runtime of the jobs' tasks; lives as long as the process.
pub fn tasks() -> Result<&'static Handle, Error> {
    static TASKS: LazyLock<std::io::Result<Runtime>> = LazyLock::new(|| {
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .thread_name("stream-task")
            .thread_stack_size(TASK_STACK_BYTES)
            .build()
    });
    TASKS
        .as_ref()
        .map(Runtime::handle)
        .map_err(|error| Error::runtime(format!("cannot start the threads of the jobs: {error}")))
}

/// Runs what is deeply recursive on a thread with a deep stack, and waits for it; the other tasks of this thread move on.
pub fn deeply<T: Send>(work: impl FnOnce() -> Result<T, Error> + Send) -> Result<T, Error> {
    let spawned = || {
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new()
                .name("stream-plan".to_owned())
                .stack_size(PLANNING_STACK_BYTES)
                .spawn_scoped(scope, work)
                .map_err(|error| Error::runtime(format!("cannot start a thread to plan the statement: {error}")))?;
            thread
                .join()
                .map_err(|_| Error::runtime("planning the statement failed; this is a defect of the engine"))?
        })
    };
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(spawned),
        _ => spawned(),
    }
}
