//! Flink SQL: from text to a job's plan.
//!
//! [`parse`](parse::parse) reads statements in Flink's grammar; the [`Session`] keeps what they change (tables, views, options) and plans
//! queries and INSERTs through the [`planner`] into [`crate::graph`]. What is not known is refused where it stands:
//! `parse` for what is not Flink's grammar, `validate` for wrong names, types and options, `unsupported` for what Flink
//! has and we have not. Nothing here opens a socket or runs a row, except that constants of VALUES are computed.
//!
//! Deliberately missing: temporal and lookup joins, MATCH_RECOGNIZE, subqueries outside of WHERE, session windows,
//! catalogs, user functions.

mod catalog;
mod condition;
pub mod data_type;
mod ddl;
mod dialect;
mod environment;
mod expr;
mod facts;
mod group;
mod insert;
mod interval;
mod join;
mod json;
mod over;
pub mod parse;
mod planner;
mod rank;
mod relation;
mod scope;
mod session;
mod set;
mod shape;
mod sliced;
pub mod statement;
mod subquery;
mod table;
#[cfg(test)]
mod tests;
mod window;

pub use environment::Environment;
pub use facts::Facts;
pub use relation::positional;
pub use session::{Answer, Job, Options, Session};
