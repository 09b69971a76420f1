//! A hybrid stamp is near the time.

use cluster::hlc::Stamp;

use crate::invariant::{Check, require};

pub fn near(stamp: Stamp, real_ms: u64, bound_ms: u64) -> Check {
    require(stamp.millis.abs_diff(real_ms) <= bound_ms, "bounded_drift", || {
        format!("{stamp} at {real_ms}: more than {bound_ms} ms away")
    })
}
