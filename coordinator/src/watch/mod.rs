//! Watching: who is told what, in which order.
//!
//! # What it is
//! All changes go once into the [`Feed`], a bounded ring of the latest revisions, anyone who watches. Each client stream has
//! its [`Watchers`]: a *cursor* in the feed, up to which its watchers have been told everything, and a list of those that
//! are *behind* the cursor because they start in the past.
//!
//! # How it moves
//! Streams pull. When there is something new, a stream takes the next revisions from the feed and hands them to
//! [`Watchers::advance`], which yields one [`Answer`] for each watcher concerned. A stream whose client reads slowly pulls
//! later; if the feed has moved on without it, all its watchers are behind and catch up from the store
//! ([`Watchers::catch_up`]). So a slow client costs one cursor, never blocks another, and never holds memory beyond what
//! is on its way to it.
//!
//! # What is promised, to each watcher
//! Ordered: revisions ascend. Unique: no change twice. Atomic: the changes of one revision come in one answer (unless the
//! client asked for fragments). Complete from its start revision on, or it is told that the start is compacted.
//! A progress answer of revision R comes after all changes up to R, for every watcher of the stream.

mod feed;
mod watchers;

pub use feed::{FEED_BYTES_MAX, Feed};
pub use watchers::{Answer, WATCHERS_PER_STREAM_MAX, Watchers};
