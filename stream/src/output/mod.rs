//! A result's rows for people and programs: one JSON object a line, or a table.
//!
//! The JSON is that of Flink's SQL gateway, so that a program that reads one reads the other: numbers as Java writes
//! them, bytes in base64, `TIMESTAMP_LTZ` as the session's local time with a `Z` behind it (a quirk that is kept).

mod json;
mod table;
pub mod text;

pub use json::{write_json, write_value as write_json_value};
pub use table::write_table;

use crate::time::Zone;
use chrono::{Offset, TimeZone};

use crate::format::temporal::Moment;

/// The local date and time of a moment in a zone.
pub fn local(moment: Moment, zone: Zone) -> Moment {
    Moment::new(moment.second + offset_seconds(moment.second, zone), moment.nano)
}

/// How far a zone is before UTC at a moment, in seconds.
pub fn offset_seconds(second: i64, zone: Zone) -> i64 {
    match chrono::DateTime::from_timestamp(second, 0) {
        Some(utc) => i64::from(zone.offset_from_utc_datetime(&utc.naive_utc()).fix().local_minus_utc()),
        None => 0,
    }
}
