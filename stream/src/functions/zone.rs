//! Local time and moments: what a zone makes of one and the other.

use crate::time::Zone;
use chrono::{MappedLocalTime, Offset, TimeZone};

use crate::format::temporal::Moment;
use crate::output::offset_seconds;

/// The moment of a local date and time, as `java.time.ZonedDateTime.ofLocal` has it: the earlier one where a clock is
/// turned back, and later by the gap where it is turned forward.
pub fn to_moment(local: Moment, zone: Zone) -> Moment {
    let offset = match chrono::DateTime::from_timestamp(local.second, 0) {
        None => 0,
        Some(utc) => match zone.offset_from_local_datetime(&utc.naive_utc()) {
            MappedLocalTime::Single(offset) | MappedLocalTime::Ambiguous(offset, _) => {
                i64::from(offset.fix().local_minus_utc())
            }
            MappedLocalTime::None => {
                // In a gap the offset before it holds; no gap is within a day of another.
                offset_seconds(local.second - 86_400, zone)
            }
        },
    };
    Moment::new(local.second - offset, local.nano)
}

/// A zone by its name (`Asia/Tokyo`), or `UTC`, `Z`, `GMT`.
pub fn parse(name: &str) -> Option<Zone> {
    match name {
        "Z" => Some(Zone::UTC),
        name => name.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::temporal::parse_timestamp;

    fn moment(local: &str, zone: Zone) -> i64 {
        to_moment(parse_timestamp(local, b' ').unwrap(), zone).second
    }

    #[test]
    fn local_times_that_are_twice_or_never() {
        let berlin = Zone::Named(chrono_tz::Tz::Europe__Berlin);
        assert_eq!(moment("2024-03-31 01:59:59", berlin), 1_711_846_799);
        assert_eq!(moment("2024-03-31 02:30:00", berlin), 1_711_848_600);
        assert_eq!(moment("2024-10-27 02:30:00", berlin), 1_729_989_000);
        assert_eq!(
            moment("1970-01-01 09:00:00", Zone::Named(chrono_tz::Tz::Asia__Tokyo)),
            0
        );
    }
}
