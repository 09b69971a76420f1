//! Arrow Flight SQL: `batch serve` lets ADBC and JDBC programs query the engine.
//!
//! # How it moves
//! A client asks for a statement's [`FlightInfo`]: the statement is planned, not run, and the answer holds its schema and
//! one ticket. Redeeming the ticket runs the statement and streams its batches. The ticket, like the handle of a prepared
//! statement, *is* the statement's text: the server keeps nothing between calls, so a restart forgets nothing, an
//! abandoned handle costs nothing, and there is no table of handles to bound.
//!
//! All clients share one session, as they would share one database: what one registers with `CREATE EXTERNAL TABLE`, the
//! others see.
//!
//! # Where it stops
//! Parameters of prepared statements, transactions, Substrait plans and ingestion answer UNIMPLEMENTED. There is no
//! authentication: listen on loopback, the default.
//!
//! [`FlightInfo`]: arrow_flight::FlightInfo

mod catalog;
mod connection;
mod server;
mod service;
mod statements;

pub use server::serve;
use service::FlightSql;
