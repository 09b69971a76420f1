//! Dates, times and timestamps as text, in the proleptic Gregorian calendar and without limits on the year.
//!
//! Flink reads and writes them in the forms of `java.time`: `2024-02-29`, `10:00:00[.fraction]`, and both with a blank
//! (SQL) or a `T` (ISO-8601) between them. A [`Moment`] is a second since 1970 and a nanosecond in it, so that no unit of
//! Arrow's timestamps loses anything.

use std::fmt::Write;

use arrow::datatypes::{DataType, IntervalMonthDayNano, IntervalUnit, TimeUnit};

/// TIMESTAMP(7) to TIMESTAMP(9). An Arrow timestamp in nanoseconds ends in the year 2262, so days since 1970 and the
/// nanosecond of the day stand in Arrow's only type that has room for both, and that compares and sorts by them in turn. It
/// serves for nothing else here: intervals are months or milliseconds.
pub const WIDE_TIMESTAMP: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

pub const SECONDS_PER_DAY: i64 = 86_400;
const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// A point on the time line, or a local date and time when read as UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// Seconds since 1970-01-01T00:00:00.
    pub second: i64,
    /// 0..1_000_000_000.
    pub nano: u32,
}

impl Moment {
    pub fn new(second: i64, nano: u32) -> Self {
        Self { second, nano }
    }

    /// From the value of an Arrow timestamp.
    pub fn from_unit(value: i64, unit: TimeUnit) -> Self {
        let per_second = per_second(unit);
        let nano = value.rem_euclid(per_second) * (NANOS_PER_SECOND / per_second);
        Self {
            second: value.div_euclid(per_second),
            nano: nano as u32,
        }
    }

    /// To the value of an Arrow timestamp, cutting what the unit cannot hold; `None` past its range.
    pub fn to_unit(self, unit: TimeUnit) -> Option<i64> {
        let per_second = per_second(unit);
        let fraction = i64::from(self.nano) / (NANOS_PER_SECOND / per_second);
        if self.second >= 0 {
            self.second.checked_mul(per_second)?.checked_add(fraction)
        } else {
            // Towards zero first, so that the least value of the unit is reached without overflow.
            (self.second + 1)
                .checked_mul(per_second)?
                .checked_add(fraction - per_second)
        }
    }

    /// As a value of [`WIDE_TIMESTAMP`]; `None` past its range of days.
    pub fn to_wide(self) -> Option<IntervalMonthDayNano> {
        let (days, second) = self.day_and_second();
        let nanos = i64::from(second) * NANOS_PER_SECOND + i64::from(self.nano);
        Some(IntervalMonthDayNano::new(0, i32::try_from(days).ok()?, nanos))
    }

    pub fn from_wide(value: IntervalMonthDayNano) -> Self {
        Self {
            second: i64::from(value.days) * SECONDS_PER_DAY + value.nanoseconds.div_euclid(NANOS_PER_SECOND),
            nano: value.nanoseconds.rem_euclid(NANOS_PER_SECOND) as u32,
        }
    }

    /// The day since 1970 and the second in it.
    pub fn day_and_second(self) -> (i64, u32) {
        (
            self.second.div_euclid(SECONDS_PER_DAY),
            self.second.rem_euclid(SECONDS_PER_DAY) as u32,
        )
    }
}

fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => NANOS_PER_SECOND,
    }
}

/// Days since 1970-01-01 of a date (Howard Hinnant, "chrono-compatible low-level date algorithms").
pub fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * (i64::from(month) + if month > 2 { -3 } else { 9 }) + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day of a day since 1970-01-01.
pub fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * shifted_month + 2) / 5 + 1) as u32;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    } as u32;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

pub fn is_leap_year(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

pub fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        2 if is_leap_year(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Reads digits from the front of a text.
struct Digits<'a>(&'a [u8]);

impl Digits<'_> {
    fn number(&mut self, least: usize, most: usize) -> Option<u32> {
        let n = self.0.iter().take(most).take_while(|b| b.is_ascii_digit()).count();
        if n < least {
            return None;
        }
        let value = self.0[..n].iter().fold(0, |value, b| value * 10 + u32::from(b - b'0'));
        self.0 = &self.0[n..];
        Some(value)
    }

    fn literal(&mut self, byte: u8) -> Option<()> {
        let (first, rest) = self.0.split_first()?;
        (*first == byte).then(|| self.0 = rest)
    }

    /// `.` and up to nine digits, as nanoseconds; nothing is 0.
    fn fraction(&mut self) -> Option<u32> {
        if self.literal(b'.').is_none() {
            return Some(0);
        }
        let n = self.0.iter().take_while(|b| b.is_ascii_digit()).count();
        if n == 0 || n > 9 {
            return None;
        }
        let value = self.0[..n].iter().fold(0, |value, b| value * 10 + u32::from(b - b'0'));
        self.0 = &self.0[n..];
        Some(value * 10u32.pow(9 - n as u32))
    }

    fn date(&mut self, padded: bool) -> Option<i64> {
        let least = if padded { 2 } else { 1 };
        let year = i64::from(self.number(if padded { 4 } else { 1 }, 4)?);
        self.literal(b'-')?;
        let month = self.number(least, 2)?;
        self.literal(b'-')?;
        let day = self.number(least, 2)?;
        ((1..=12).contains(&month) && (1..=days_in_month(year, month)).contains(&day))
            .then(|| days_from_civil(year, month, day))
    }

    /// The second of the day and its nanosecond.
    fn time(&mut self) -> Option<(u32, u32)> {
        let hour = self.number(2, 2)?;
        self.literal(b':')?;
        let minute = self.number(2, 2)?;
        self.literal(b':')?;
        let second = self.number(2, 2)?;
        let nano = self.fraction()?;
        (hour < 24 && minute < 60 && second < 60).then_some((hour * 3600 + minute * 60 + second, nano))
    }
}

/// `yyyy-MM-dd` as days since 1970.
pub fn parse_date(text: &str) -> Option<i64> {
    let mut digits = Digits(text.as_bytes());
    let days = digits.date(true)?;
    digits.0.is_empty().then_some(days)
}

/// `HH:mm:ss[.fraction]` as second of the day and nanosecond.
pub fn parse_time(text: &str) -> Option<(u32, u32)> {
    let mut digits = Digits(text.as_bytes());
    let time = digits.time()?;
    digits.0.is_empty().then_some(time)
}

/// `yyyy-MM-dd HH:mm:ss[.fraction]`, with `between` instead of the blank.
pub fn parse_timestamp(text: &str, between: u8) -> Option<Moment> {
    let mut digits = Digits(text.as_bytes());
    let days = digits.date(true)?;
    digits.literal(between)?;
    let (second, nano) = digits.time()?;
    digits
        .0
        .is_empty()
        .then(|| Moment::new(days * SECONDS_PER_DAY + i64::from(second), nano))
}

/// What `CAST(text AS DATE)` takes: a date, parts unpadded or missing, and anything behind a blank is left out.
pub fn parse_date_leniently(text: &str) -> Option<i64> {
    let text = text.trim();
    let text = text.split_once(' ').map_or(text, |(date, _)| date);
    let mut parts = text.splitn(3, '-');
    let year = part(parts.next()?, 4)?;
    let month = parts.next().map_or(Some(1), |p| part(p, 2))?;
    let day = parts.next().map_or(Some(1), |p| part(p, 2))?;
    let valid = (1..=12).contains(&month) && (1..=days_in_month(i64::from(year), month)).contains(&day);
    valid.then(|| days_from_civil(i64::from(year), month, day))
}

/// What `CAST(text AS TIME)` takes: hour, then minute, second and fraction, each of which may be missing.
pub fn parse_time_leniently(text: &str) -> Option<(u32, u32)> {
    let text = text.trim();
    let (clock, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut parts = clock.splitn(3, ':');
    let hour = part(parts.next()?, 2)?;
    let minute = parts.next().map_or(Some(0), |p| part(p, 2))?;
    let second = parts.next().map_or(Some(0), |p| part(p, 2))?;
    let nano = match fraction.len() {
        0 => 0,
        n if n <= 9 => part(fraction, 9)? * 10u32.pow(9 - n as u32),
        _ => part(fraction.get(..9)?, 9)?,
    };
    (hour < 24 && minute < 60 && second < 60).then_some((hour * 3600 + minute * 60 + second, nano))
}

/// What `CAST(text AS TIMESTAMP)` takes: a date, and maybe a blank and a time.
pub fn parse_timestamp_leniently(text: &str) -> Option<Moment> {
    let text = text.trim();
    let (date, time) = text.split_once(' ').unwrap_or((text, ""));
    let days = parse_date_leniently(date)?;
    let (second, nano) = if time.is_empty() {
        (0, 0)
    } else {
        parse_time_leniently(time)?
    };
    Some(Moment::new(days * SECONDS_PER_DAY + i64::from(second), nano))
}

fn part(text: &str, most: usize) -> Option<u32> {
    let sound = !text.is_empty() && text.len() <= most && text.bytes().all(|b| b.is_ascii_digit());
    sound.then(|| text.parse().ok())?
}

/// Writes `yyyy-MM-dd`; years past 9999 get a sign, as `java.time` writes them.
pub fn write_date(out: &mut String, days: i64) {
    let (year, month, day) = civil_from_days(days);
    let written = match year {
        0..=9999 => write!(out, "{year:04}-{month:02}-{day:02}"),
        10_000.. => write!(out, "+{year}-{month:02}-{day:02}"),
        _ => write!(out, "-{:04}-{month:02}-{day:02}", -year),
    };
    written.expect("a String takes all that is written to it");
}

/// How many digits stand behind the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fraction {
    /// As many as are needed, none for zero.
    Shortest,
    /// Always this many, 0 to 9.
    Fixed(u8),
}

/// Writes `HH:mm:ss[.fraction]`.
pub fn write_time(out: &mut String, second_of_day: u32, nano: u32, fraction: Fraction) {
    let (hour, minute, second) = (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);
    write!(out, "{hour:02}:{minute:02}:{second:02}").expect("a String takes all that is written to it");
    let digits = format!("{nano:09}");
    let digits = match fraction {
        Fraction::Shortest => digits.trim_end_matches('0'),
        Fraction::Fixed(n) => &digits[..usize::from(n.min(9))],
    };
    if !digits.is_empty() {
        out.push('.');
        out.push_str(digits);
    }
}

/// Writes a date and a time with `between` in the middle.
pub fn write_timestamp(out: &mut String, moment: Moment, between: char, fraction: Fraction) {
    let (days, second) = moment.day_and_second();
    write_date(out, days);
    out.push(between);
    write_time(out, second, moment.nano, fraction);
}

/// The digits that a unit of Arrow stands for, when the SQL precision is not known any more.
pub fn digits_of(unit: TimeUnit) -> u8 {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(moment: Moment) -> String {
        let mut out = String::new();
        write_timestamp(&mut out, moment, ' ', Fraction::Shortest);
        out
    }

    #[test]
    fn known_days() {
        assert_eq!(days_from_civil(1970, 1, 1), 0);
        assert_eq!(days_from_civil(2000, 2, 29), 11_016);
        assert_eq!(civil_from_days(-1), (1969, 12, 31));
        assert_eq!(parse_date("2023-02-29"), None);
        assert_eq!(parse_date("2024-02-29"), Some(19_782));
        // Flink's TO_DATE of a text that does not fit its pattern.
        let mut out = String::new();
        write_date(&mut out, 622_191_233);
        assert_eq!(out, "+1705471-09-27");
    }

    #[test]
    fn strict_and_lenient_forms() {
        assert_eq!(
            parse_timestamp("2024-01-01 00:00:00.5", b' ').map(text).as_deref(),
            Some("2024-01-01 00:00:00.5")
        );
        assert_eq!(parse_timestamp("2024-01-01T00:00:00", b' '), None);
        assert_eq!(parse_timestamp("2024-01-01 24:00:00", b' '), None);
        assert_eq!(
            parse_timestamp_leniently("2020-12-31").map(text).as_deref(),
            Some("2020-12-31 00:00:00")
        );
        assert_eq!(parse_timestamp_leniently("2021-01-03T10:00:00"), None);
        assert_eq!(parse_timestamp_leniently("2023/12/31 12.30"), None);
        assert_eq!(parse_date_leniently("2024-02-29 23:59:59"), Some(19_782));
        assert_eq!(parse_time_leniently("7:8"), Some((7 * 3600 + 8 * 60, 0)));
    }

    proptest! {
        #[test]
        fn days_and_dates_are_one_to_one(days in -200_000_000i64..700_000_000) {
            let (year, month, day) = civil_from_days(days);
            prop_assert!(day >= 1 && day <= days_in_month(year, month));
            prop_assert_eq!(days_from_civil(year, month, day), days);
        }

        #[test]
        fn what_is_written_is_read(second in -62_000_000_000i64..250_000_000_000, nano in 0u32..1_000_000_000) {
            let moment = Moment::new(second, nano);
            prop_assert_eq!(parse_timestamp(&text(moment), b' '), Some(moment));
        }

        #[test]
        fn units_keep_what_they_hold(value in any::<i64>()) {
            for unit in [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond] {
                if unit != TimeUnit::Second || value > i64::MIN {
                    prop_assert_eq!(Moment::from_unit(value, unit).to_unit(unit), Some(value));
                }
            }
        }
    }
}
