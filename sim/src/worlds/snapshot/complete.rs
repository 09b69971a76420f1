//! Every cut ends.

use crate::invariant::{Check, require};

pub fn complete(begun: u64, ended: u64) -> Check {
    require(begun == ended, "complete", || {
        format!("{begun} cuts were begun and {ended} ended")
    })
}
