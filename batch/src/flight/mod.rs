//! Arrow Flight SQL: `batch serve` lets ADBC and JDBC programs query the engine.
//!
//! # How it moves
//! A client asks for a statement's [`FlightInfo`]: the statement is planned, not run, and the answer holds its schema and
//! one ticket. Redeeming the ticket runs the statement and streams its batches. The ticket, like the handle of a prepared
//! statement, *is* the statement's text with the values of its parameters ([`handle`]): the server keeps nothing between
//! calls, so a restart forgets nothing, an abandoned handle costs nothing, and there is no table of handles to bound.
//! Values that a client binds come back to it as a new handle.
//!
//! Each connection has a session: what it sets with SET holds for it alone. Tables and views are everybody's, as in one
//! database.
//!
//! A query ends when its client goes, and when a client asks for it (CancelQuery, CancelFlightInfo; [`running`]).
//!
//! # Where it stops
//! Transactions, Substrait plans and ingestion answer UNIMPLEMENTED. There is no authentication: listen on loopback, the
//! default.
//!
//! [`FlightInfo`]: arrow_flight::FlightInfo

mod catalog;
mod connection;
mod handle;
mod running;
mod server;
mod service;

pub use server::serve;
use service::FlightSql;
