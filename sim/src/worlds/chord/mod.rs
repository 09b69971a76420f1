//! Chord: a ring that keeps itself, as it was published and as it was corrected.
//!
//! # The idea
//! Stoica and others, *Chord* (2001): members on a circle of identifiers know a list of successors and a predecessor, and
//! repair them by talking to their neighbours; a table of fingers makes lookups take O(log n) hops. Zave, *Using
//! Lightweight Modeling to Understand Chord* (2012), showed that the published protocol does not keep its ring: none of
//! the invariants claimed for it holds. *Reasoning about Identifier Spaces* (2017) corrects it: a joining member takes
//! over its predecessor's whole successor list, a candidate is asked before it is believed, and a base of r+1 members
//! never goes away.
//!
//! # Two ways to look
//! `sim explore --scenario chord` visits all orders of joins, repairs and failures of a handful of members: the corrected
//! protocol passes, and with `--fault published` a shortest counterexample is printed. `sim soak` runs larger rings at
//! random and counts hops.
//!
//! # What must hold
//! [`one_ring`]: who follows live first successors from anywhere comes into one ring, which is in the order of
//! identifiers. [`short_lookups`]: in a repaired ring lookups find the owner within 2·log n hops. A failure is assumed
//! only where every member keeps a live successor, as the paper assumes.

mod one_ring;
mod peers;
mod short_lookups;
mod small;
mod world;

pub use peers::{Peers, Rules};
pub use small::Small;
pub use world::Chord;
