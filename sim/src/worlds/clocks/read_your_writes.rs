//! A client reads its own last write, or something later.

use cluster::hlc::Stamp;

use crate::invariant::{Check, require};

pub fn reads_its_own(written: Stamp, read: Stamp) -> Check {
    require(read >= written, "read_your_writes", || {
        format!("a client wrote at {written} and reads what is of {read}")
    })
}
