//! The multi-version store: every key at every revision since the last compaction.
//!
//! # What it is
//! Each transaction that changes something makes one *revision* of the whole store; the changes in it are numbered by a
//! *sub-revision*. A [`Version`] is what one change left behind: a pair, or a tombstone where the key was deleted. Nothing
//! is overwritten, so a range can be read as of any revision, and a watch can start in the past.
//!
//! # How it moves
//! The [`Index`] in memory knows, for each key in order, the revisions at which it changed, but no values. The versions
//! themselves are first in the *tail*, also in memory, and later in an [`Archive`] on disk: anyone who owns the store takes
//! what is new ([`Store::hand_over`]), makes it durable at leisure, and gives the new archive back ([`Store::archived`]),
//! upon which the tail is cut. A reader selects versions under a lock ([`Store::select`]) and loads them without it
//! ([`Selection::load`]), because an archive never changes: a new one takes its place.
//! All changes go through a [`Writer`], which is one revision.
//!
//! # Where it stops
//! Compaction forgets all versions that no revision from the compaction's on can see. What it removes of the archive is
//! part of the next hand-over. The store knows nothing of leases but their number in each pair, nothing of the log, and
//! has no clock: the same calls in the same order give the same store.
//!
//! Deliberately missing: an index of values, and snapshots for readers that take longer than one call.

mod archive;
mod bounds;
mod history;
mod index;
mod kv;
mod range;
mod version;
mod view;
mod writer;

#[cfg(test)]
mod model_test;

pub use archive::{Archive, ArchiveError, EmptyArchive};
pub use bounds::Bounds;
pub use history::History;
pub use index::Index;
pub use kv::{HandOver, NEVER_COMPACTED, Selection, Store};
pub use range::{RangeChunks, RangePlan};
pub use version::{Revision, Version};
pub use view::View;
pub use writer::Writer;
