//! All or nothing over several nodes: two-phase commit, three-phase commit, saga.
//!
//! # The idea
//! Gray, *Notes on Data Base Operating Systems* (1978); Skeen, *Nonblocking Commit Protocols* (1981); Garcia-Molina and
//! Salem, *Sagas* (1987).
//! - *Two-phase commit*: all vote, the coordinator decides. A participant that voted yes may not decide alone: while the
//!   coordinator is down it is blocked, holding its locks. The figures show how long.
//! - *Three-phase commit*: before it commits, the coordinator lets all know that all voted yes. A participant that waits
//!   too long aborts before it knows that, and commits after: no one is blocked. The price: it is right only while every
//!   message comes in time. A partition breaks it; that is planted, and found.
//! - *Saga*: steps are done one after the other, visible at once; if one fails, those before it are compensated in
//!   reverse order.
//!
//! # What must hold
//! [`atomic`]: no two participants decide differently, and none commits what one voted against. [`compensated`]: a saga
//! is done as a whole or undone as a whole, in reverse order. [`decided`]: in the end everything is decided. Planted: a
//! decision that is told before it is durable, a participant that decides alone, three phases in a network that is cut,
//! compensation in the wrong order.

mod atomic;
mod compensated;
mod decided;
mod node;
mod world;

pub use node::{Fault, Message, Node, Note, Protocol};
pub use world::Commit;
