//! Only what was asked for is decided, or nothing in a hole.

use super::{NOTHING, Value};
use crate::invariant::{Check, require};

/// Values are numbered from 1 as they are asked for, so the last one says all.
pub fn valid(value: Value, last_asked: Value) -> Check {
    require(value == NOTHING || value <= last_asked, "validity", || {
        format!("{value} was decided, and only values up to {last_asked} were asked for")
    })
}
