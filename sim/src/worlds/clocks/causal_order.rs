//! Cause before effect, in stamps.

use cluster::hlc::Stamp;

use crate::invariant::{Check, require};

pub fn ordered(cause: (Stamp, u64), effect: (Stamp, u64)) -> Check {
    require(effect.0 > cause.0, "causal_order", || {
        format!("the stamp {} was caused by {}", effect.0, cause.0)
    })?;
    require(effect.1 > cause.1, "causal_order", || {
        format!("the logical stamp {} was caused by {}", effect.1, cause.1)
    })
}
