//! The SQL gateway: Flink's REST API, so that the stock `sql-client` and the JDBC driver work against `stream serve`.
//!
//! # How it moves
//! A client opens a **session** (options, tables, views), posts statements to it and fetches what they give. A posted
//! statement becomes an **operation** at once, whatever it says; the session runs its operations one after the other, as
//! statements depend on each other, and a query goes on producing rows while the next statement runs. Rows wait in a
//! bounded channel: a client that does not fetch stops its query, not the gateway.
//!
//! Results come in **pages**, numbered from 0. Each page may be asked for twice (an answer can get lost), older ones are
//! gone. A refused statement was accepted by POST and fails at page 0, with Java's exception chain as text: the clients show
//! its last `Caused by:` line.
//!
//! # Where it stops
//! Statement completion answers no candidates. There is no authentication: listen on loopback, the default. Sessions are
//! not kept over a restart, as in Flink. [`jobs`] are: with a state directory an INSERT goes on from its newest checkpoint.

mod answer;
mod engine;
mod jobs;
mod operation;
mod rest;
mod rest_jobs;
mod server;
mod session;

pub use jobs::{Kept, inspect};
pub use server::serve;
