//! The clock and chance, for the functions whose every row is new: RAND, UUID, CURRENT_ROW_TIMESTAMP.

use std::time::{SystemTime, UNIX_EPOCH};

use rand::Rng;

use crate::functions::Outside;

/// The machine's own.
pub const REAL: Outside = Outside { now, random };

fn now() -> (i64, u32) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (since.as_secs() as i64, since.subsec_nanos())
}

fn random() -> u64 {
    rand::rng().next_u64()
}
