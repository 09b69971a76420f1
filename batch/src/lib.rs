//! The batch engine: SQL with spatial functions and spatial joins, in one process.
//!
//! A query comes in by the command line ([`cli`]) or over Arrow Flight SQL ([`flight`]). The [`engine`] plans and runs it with DataFusion on tables of local
//! files and of hdfs, under a memory limit, spilling where an operator can. What is spatial about it is in [`spatial`]:
//! geometries, predicates, the KD-tree partitioner, the indexes of the joins, and the `ST_*` functions, all of it pure.
//! The engine's own part is to bring the two together: operators for spatial and nearest-neighbour joins, and the rules
//! that put them into a plan.
//!
//! Deliberately missing: a catalog that outlives the process, UPDATE and DELETE, datum shifts by grids, geometry on the
//! spheroid beyond distances, lengths and areas.

mod cli;
pub mod engine;
mod error;
pub mod flight;
pub mod spatial;

use std::ffi::OsString;
use std::process::ExitCode;

pub use error::Error;

/// The program's entry point; the first argument is the program's name.
pub fn main(argv: impl IntoIterator<Item = OsString>) -> ExitCode {
    match host::config::parse("batch", argv) {
        Ok(batch) => cli::run(batch),
        Err(code) => code,
    }
}
