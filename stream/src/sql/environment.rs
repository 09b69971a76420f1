//! What planning asks of the edge, handed in, so that this room opens nothing.

use crate::Error;
use crate::functions::Outside;
use crate::table::TableSpec;
use crate::time::Zone;

/// The connectors' answers about a table, and the clock and randomness of functions.
#[derive(Debug, Clone, Copy)]
pub struct Environment {
    /// Validates a table's options for reading; whether the source ends by itself.
    pub is_bounded: fn(&TableSpec, Zone) -> Result<bool, Error>,
    /// Validates a table's options for writing; whether the sink takes updates and deletes.
    pub takes_updates: fn(&TableSpec, Zone) -> Result<bool, Error>,
    pub outside: Outside,
}
