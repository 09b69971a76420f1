//! An actor of any kind in the simulated world, and what a world of them is.
//!
//! # What it is
//! [`crate::cluster`] drives one core, that of consensus, with everything that is special about it: logs, snapshots,
//! members that come and go. All other cores need less: a step for a message, a step for a timer, a disk. An [`Actor`] is
//! that; the [`Simulation`] carries out what it wants over the same event list, network, clocks and chance; a [`World`]
//! says what the nodes are, asks them things and holds the invariants. A world of one's own is some hundred lines.
//!
//! # How it moves
//! [`run`] draws a world and its [`Plan`] from the seed, starts all nodes, and gives them one event after the other.
//! Whatever an actor wants in one step goes out when the step is over. Faults happen until `faults_until`; then all is
//! mended, and at `end` the world asks whether everything is as it must be.
//!
//! # The disk
//! [`Context::write`] replaces what the disk holds; the write is durable some time later, in order.
//! [`Context::send_durable`] sends when everything written so far is durable: a promise goes out after it was written. A
//! crash keeps a first part of what was not yet durable, and what waited for it is never sent.
//!
//! # Seeing it
//! A [`Story`] has every step with its vector clock; it is drawn as a space-time diagram (SVG) or written for ShiViz.
//! [`explore`](mod@explore) takes all orders of a small world instead of one.

mod context;
pub mod explore;
mod idle;
mod model;
mod plan;
mod run;
mod simulation;
mod story;

pub use context::Context;
pub use explore::{Explored, Model, Next, explore};
pub use idle::Idle;
pub use model::{Explorable, explore_world};
pub use plan::{Faults, Plan};
pub use run::{Figures, Measure, Planted, World, run, run_as};
pub use simulation::Simulation;
pub use story::Story;

use std::fmt::Debug;

use crate::world::Address;

/// The world's own requests come from here: no node has this address.
pub const OUTSIDE: Address = Address::MAX;

/// A core: it is given what happened, and says through the [`Context`] what is to be done. No I/O, no clock, no chance of
/// its own.
pub trait Actor: Sized {
    type Message: Clone + Debug;
    /// A timer's name: setting it again moves it.
    type Timer: Copy + Debug + Eq;
    /// All that outlives a crash.
    type Disk: Clone + Debug + Default;
    /// What it tells the world, for invariants: decided, elected, delivered.
    type Note: Debug;

    /// The node starts, for the first time or again; `disk` is what it finds.
    fn start(&mut self, disk: &Self::Disk, context: &mut Context<'_, Self>);

    fn message(&mut self, from: Address, message: Self::Message, context: &mut Context<'_, Self>);

    fn timer(&mut self, timer: Self::Timer, context: &mut Context<'_, Self>);
}
