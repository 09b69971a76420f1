//! Time zones: those of the tz database, and fixed offsets.

use std::str::FromStr;

use chrono::{FixedOffset, MappedLocalTime, NaiveDate, NaiveDateTime, Offset, TimeZone};
use chrono_tz::Tz;

/// A session's time zone, as `table.local-time-zone` takes it: a name of the tz database, or `GMT+08:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Zone {
    Named(Tz),
    /// Seconds before UTC.
    Fixed(i32),
}

/// The farthest offset that `java.time.ZoneOffset` takes.
const OFFSET_SECONDS_MAX: i32 = 18 * 3600;

/// The short names that `java.util.TimeZone` still knows, as far as the tz database does not.
const SHORT_NAMES: [(&str, &str); 22] = [
    ("ACT", "Australia/Darwin"),
    ("AET", "Australia/Sydney"),
    ("AGT", "America/Argentina/Buenos_Aires"),
    ("ART", "Africa/Cairo"),
    ("AST", "America/Anchorage"),
    ("BET", "America/Sao_Paulo"),
    ("BST", "Asia/Dhaka"),
    ("CAT", "Africa/Harare"),
    ("CNT", "America/St_Johns"),
    ("CST", "America/Chicago"),
    ("CTT", "Asia/Shanghai"),
    ("EAT", "Africa/Addis_Ababa"),
    ("ECT", "Europe/Paris"),
    ("IET", "America/Indiana/Indianapolis"),
    ("IST", "Asia/Kolkata"),
    ("JST", "Asia/Tokyo"),
    ("MIT", "Pacific/Apia"),
    ("NET", "Asia/Yerevan"),
    ("NST", "Pacific/Auckland"),
    ("PLT", "Asia/Karachi"),
    ("PNT", "America/Phoenix"),
    ("PST", "America/Los_Angeles"),
];

impl Zone {
    pub const UTC: Self = Self::Named(Tz::UTC);

    /// What `java.util.TimeZone.getTimeZone` makes of a name: also short names and offsets such as `GMT+8`, and GMT of what
    /// it does not know.
    pub fn leniently(name: &str) -> Self {
        if let Ok(zone) = name.parse() {
            return zone;
        }
        if let Some((_, full)) = SHORT_NAMES.iter().find(|(short, _)| *short == name) {
            return full.parse().unwrap_or(Self::UTC);
        }
        name.strip_prefix("GMT")
            .and_then(lenient_offset)
            .map_or(Self::UTC, Self::Fixed)
    }

    fn fixed(offset: i32) -> FixedOffset {
        FixedOffset::east_opt(offset).unwrap_or_else(|| chrono::Utc.fix())
    }
}

impl FromStr for Zone {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if let Some(offset) = text.strip_prefix("GMT").and_then(strict_offset) {
            return Ok(Self::Fixed(offset));
        }
        text.parse().map(Self::Named).map_err(|_| ())
    }
}

/// `+08:00`
fn strict_offset(text: &str) -> Option<i32> {
    let bytes = text.as_bytes();
    (bytes.len() == 6 && bytes[3] == b':').then(|| lenient_offset(text))?
}

/// `+8`, `+08`, `+0800` or `+8:00`
fn lenient_offset(text: &str) -> Option<i32> {
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = match rest.split_once(':') {
        Some((hours, minutes)) => (hours, minutes),
        None if rest.len() > 2 => rest.split_at_checked(rest.len() - 2)?,
        None => (rest, "00"),
    };
    let number = |text: &str| -> Option<i32> {
        let sound = (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        sound.then(|| text.parse().ok())?
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let seconds = hours * 3600 + minutes * 60;
    (minutes < 60 && seconds <= OFFSET_SECONDS_MAX).then_some(sign * seconds)
}

impl TimeZone for Zone {
    type Offset = FixedOffset;

    fn from_offset(offset: &FixedOffset) -> Self {
        Self::Fixed(offset.local_minus_utc())
    }

    fn offset_from_local_date(&self, local: &NaiveDate) -> MappedLocalTime<FixedOffset> {
        match self {
            Self::Named(zone) => zone.offset_from_local_date(local).map(|offset| offset.fix()),
            Self::Fixed(offset) => MappedLocalTime::Single(Self::fixed(*offset)),
        }
    }

    fn offset_from_local_datetime(&self, local: &NaiveDateTime) -> MappedLocalTime<FixedOffset> {
        match self {
            Self::Named(zone) => zone.offset_from_local_datetime(local).map(|offset| offset.fix()),
            Self::Fixed(offset) => MappedLocalTime::Single(Self::fixed(*offset)),
        }
    }

    fn offset_from_utc_date(&self, utc: &NaiveDate) -> FixedOffset {
        match self {
            Self::Named(zone) => zone.offset_from_utc_date(utc).fix(),
            Self::Fixed(offset) => Self::fixed(*offset),
        }
    }

    fn offset_from_utc_datetime(&self, utc: &NaiveDateTime) -> FixedOffset {
        match self {
            Self::Named(zone) => zone.offset_from_utc_datetime(utc).fix(),
            Self::Fixed(offset) => Self::fixed(*offset),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_offsets_are_written_in_full_and_java_is_lenient() {
        assert_eq!("GMT+08:00".parse(), Ok(Zone::Fixed(28_800)));
        assert_eq!("GMT-05:30".parse(), Ok(Zone::Fixed(-19_800)));
        assert_eq!("Asia/Tokyo".parse(), Ok(Zone::Named(Tz::Asia__Tokyo)));
        for refused in [
            "GMT+8",
            "GMT+8:00",
            "+08:00",
            "UTC+8",
            "PST",
            "Z",
            "GMT+19:00",
            "GMT+08:60",
        ] {
            assert!(refused.parse::<Zone>().is_err(), "{refused}");
        }
        assert_eq!(Zone::leniently("GMT+8"), Zone::Fixed(28_800));
        assert_eq!(Zone::leniently("PST"), Zone::Named(Tz::America__Los_Angeles));
        assert_eq!(Zone::leniently("+08:00"), Zone::UTC);
    }
}
