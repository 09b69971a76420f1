//! Event time: watermarks that move with every row.
//!
//! A watermark `w` says that no row with a time up to `w` is expected any more. Flink moves it row by row, so whether a
//! row is late never depends on how rows were cut into batches. We process batches, so each row carries *the watermark
//! in force when it arrived* ([`Before`]); an operator judges each row by that, and fires its windows once a batch.
//!
//! - [`Generator`] is Flink's watermark assigner: the largest candidate so far, emitted when it has risen by more than
//!   the auto interval.
//! - [`SplitWatermarks`] combines the splits of one source, [`ChannelWatermarks`] the inputs of one task: the least of
//!   those that still count. A split that has ended or fallen idle does not hold the others back, and coming back it
//!   cannot make the watermark regress.
//! - [`window`] says which windows a time belongs to and when a window may fire.
//!
//! Pure: no clock in here; the caller, who has one, reports idleness.

mod before;
mod generator;
mod inputs;
pub mod window;
mod zone;

pub use before::Before;
pub use generator::{AUTO_INTERVAL_MS, Generator};
pub use inputs::{ChannelWatermarks, SplitWatermarks};
pub use zone::Zone;

/// Before any watermark: nothing is late.
pub const NONE: i64 = i64::MIN;
/// After the last row: everything fires.
pub const END: i64 = i64::MAX;
