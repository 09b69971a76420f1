//! Functions on dates, times and timestamps.
//!
//! Whatever shows or takes apart a TIMESTAMP_LTZ does so in the session's zone.

use arrow::datatypes::{DataType, TimeUnit};

use super::arguments::{as_int, as_text, bigint, date, first, int, text, timestamp, timestamp_ltz};
use super::pattern::{Pattern, Strictness};
use super::string::{give, give_int, null};
use super::{Call, Failure, Function, zone};
use crate::format::column::Column;
use crate::format::temporal::{
    self, Fraction, Moment, SECONDS_PER_DAY, civil_from_days, days_from_civil, days_in_month,
};
use crate::format::view::Value;
use crate::output::local;
use crate::time::Zone;

pub const FUNCTIONS: &[Function] = &[
    Function::new(&["EXTRACT"], "sa", bigint, |call, a, out| {
        part_of(call, as_text(&a[0]), &a[1], out)
    }),
    Function::new(&["YEAR"], "t", bigint, |call, a, out| part_of(call, "YEAR", &a[0], out)),
    Function::new(&["QUARTER"], "t", bigint, |call, a, out| {
        part_of(call, "QUARTER", &a[0], out)
    }),
    Function::new(&["MONTH"], "t", bigint, |call, a, out| {
        part_of(call, "MONTH", &a[0], out)
    }),
    Function::new(&["WEEK"], "t", bigint, |call, a, out| part_of(call, "WEEK", &a[0], out)),
    Function::new(&["DAYOFYEAR"], "t", bigint, |call, a, out| {
        part_of(call, "DOY", &a[0], out)
    }),
    Function::new(&["DAYOFMONTH"], "t", bigint, |call, a, out| {
        part_of(call, "DAY", &a[0], out)
    }),
    Function::new(&["DAYOFWEEK"], "t", bigint, |call, a, out| {
        part_of(call, "DOW", &a[0], out)
    }),
    Function::new(&["HOUR"], "t", bigint, |call, a, out| part_of(call, "HOUR", &a[0], out)),
    Function::new(&["MINUTE"], "t", bigint, |call, a, out| {
        part_of(call, "MINUTE", &a[0], out)
    }),
    Function::new(&["SECOND"], "t", bigint, |call, a, out| {
        part_of(call, "SECOND", &a[0], out)
    }),
    Function::new(&["TIMESTAMPADD"], "sit", added_type, timestamp_add),
    Function::new(&["TIMESTAMPDIFF"], "stt", int, timestamp_diff),
    Function::new(&["DATE_FORMAT"], "as", text, date_format),
    Function::new(&["TO_TIMESTAMP"], "s?s", timestamp, to_timestamp),
    Function::new(&["TO_TIMESTAMP_LTZ"], "a?as", timestamp_ltz, to_timestamp_ltz),
    Function::new(&["TO_DATE"], "s?s", date, to_date),
    Function::new(&["FROM_UNIXTIME"], "i?s", text, from_unixtime),
    Function::new(&["UNIX_TIMESTAMP"], "?ss", bigint, unix_timestamp).volatile(),
    Function::new(&["CONVERT_TZ"], "sss", text, convert_tz),
    Function::new(&["CURRENT_DATE"], "", date, |call, _, out| {
        let days = now_local(call).day_and_second().0;
        give_value(out, Value::Date(days))
    })
    .volatile(),
    Function::new(
        &["LOCALTIME", "CURRENT_TIME"],
        "",
        |_| Ok(DataType::Time32(TimeUnit::Second)),
        |call, _, out| {
            let second = now_local(call).day_and_second().1;
            give_value(
                out,
                Value::Time {
                    second,
                    nano: 0,
                    unit: TimeUnit::Second,
                },
            )
        },
    )
    .volatile(),
    Function::new(&["LOCALTIMESTAMP"], "", timestamp, |call, _, out| {
        give_moment(out, now_local(call))
    })
    .volatile(),
    Function::new(&["CURRENT_TIMESTAMP", "NOW"], "", timestamp_ltz, |call, _, out| {
        give_moment(out, now(call))
    })
    .volatile(),
    Function::new(&["CURRENT_ROW_TIMESTAMP"], "", timestamp_ltz, |call, _, out| {
        give_moment(out, now(call))
    })
    .volatile(),
];

const MILLIS_PER_DAY: i64 = 86_400_000;
/// What `SimpleDateFormat` makes of a text that it cannot read, in Flink: the least long.
const UNREADABLE: i64 = i64::MIN;

fn give_value(out: &mut Column, value: Value<'_>) -> Result<(), Failure> {
    if !out.append_value(value) {
        out.append_null();
    }
    Ok(())
}

fn give_moment(out: &mut Column, moment: Moment) -> Result<(), Failure> {
    if !out.append_moment(moment) {
        out.append_null();
    }
    Ok(())
}

/// The time of the row. On a stream CURRENT_TIMESTAMP and its kin are new with each row, and the same within one; rows that
/// came in one batch share theirs.
fn now(call: &Call<'_>) -> Moment {
    let (second, nano) = super::row_time(call.outside.now);
    Moment::new(second, nano)
}

fn now_local(call: &Call<'_>) -> Moment {
    local(now(call), call.session.zone)
}

/// The local date and time that a value shows.
fn shown(call: &Call<'_>, value: &Value<'_>) -> Option<Moment> {
    match *value {
        Value::Date(days) => Some(Moment::new(days * SECONDS_PER_DAY, 0)),
        Value::Time { second, nano, .. } => Some(Moment::new(second.into(), nano)),
        Value::Timestamp {
            moment, zoned: false, ..
        } => Some(moment),
        Value::Timestamp {
            moment, zoned: true, ..
        } => Some(local(moment, call.session.zone)),
        Value::Text(text) => temporal::parse_timestamp_leniently(text),
        _ => None,
    }
}

/// EXTRACT.
fn part_of(call: &mut Call<'_>, unit: &str, value: &Value<'_>, out: &mut Column) -> Result<(), Failure> {
    match *value {
        Value::Millis(ms) => return interval_part(unit, ms, out),
        Value::Months(months) => return months_part(unit, months, out),
        _ => {}
    }
    let Some(moment) = shown(call, value) else {
        return Err(format!("EXTRACT({unit} FROM …) wants a date, a time or a timestamp."));
    };
    // Flink takes a time apart by divisions that round towards 1970: before it, parts of a day are negative, and belong to
    // the day that begins after them.
    let ms = match *value {
        // Of a date, what is smaller than a day is taken from the number of its day.
        Value::Date(days) => days,
        _ => moment.to_unit(TimeUnit::Millisecond).unwrap_or_default(),
    };
    let days = moment.to_unit(TimeUnit::Millisecond).unwrap_or_default() / MILLIS_PER_DAY;
    let (year, month, day) = civil_from_days(days);
    // Monday is 0.
    let weekday = (days + 3).rem_euclid(7);
    let (iso_year, iso_week) = iso_week(days);
    let part = match unit {
        "YEAR" => year,
        "QUARTER" => i64::from(month - 1) / 3 + 1,
        "MONTH" => month.into(),
        "WEEK" => iso_week,
        "DAY" => day.into(),
        "DOW" => (weekday + 1) % 7 + 1,
        "ISODOW" => weekday + 1,
        "ISOYEAR" => iso_year,
        "DOY" => days - days_from_civil(year, 1, 1) + 1,
        "HOUR" => ms % MILLIS_PER_DAY / 3_600_000,
        "MINUTE" => ms % 3_600_000 / 60_000,
        "SECOND" => ms % 60_000 / 1000,
        "MILLISECOND" => ms % 1000,
        "MICROSECOND" => ms % 1000 * 1_000,
        "NANOSECOND" => ms % 1000 * 1_000_000,
        "EPOCH" => match *value {
            Value::Date(days) => days * SECONDS_PER_DAY,
            _ => ms / 1000,
        },
        "DECADE" => year.div_euclid(10),
        "CENTURY" => (year + 99).div_euclid(100),
        "MILLENNIUM" => (year + 999).div_euclid(1000),
        other => {
            return Err(format!(
                "'{other}' is not a unit of EXTRACT. Use YEAR, MONTH, DAY, HOUR and the like."
            ));
        }
    };
    give_int(out, part)
}

fn interval_part(unit: &str, ms: i64, out: &mut Column) -> Result<(), Failure> {
    let part = match unit {
        "DAY" => ms / MILLIS_PER_DAY,
        "HOUR" => ms / 3_600_000 % 24,
        "MINUTE" => ms / 60_000 % 60,
        "SECOND" => ms / 1000 % 60,
        "MILLISECOND" => ms % 1000,
        other => return Err(format!("'{other}' is not a unit of a day-time interval.")),
    };
    give_int(out, part)
}

fn months_part(unit: &str, months: i64, out: &mut Column) -> Result<(), Failure> {
    let part = match unit {
        "YEAR" => months / 12,
        "QUARTER" => months % 12 / 3 + 1,
        "MONTH" => months % 12,
        other => return Err(format!("'{other}' is not a unit of a year-month interval.")),
    };
    give_int(out, part)
}

/// The ISO 8601 week and its year.
fn iso_week(days: i64) -> (i64, i64) {
    // The Thursday of a week decides its year.
    let thursday = days - (days + 3).rem_euclid(7) + 3;
    let year = civil_from_days(thursday).0;
    (year, (thursday - days_from_civil(year, 1, 1)) / 7 + 1)
}

/// CEIL and FLOOR of a date or timestamp to a unit.
///
/// Flink's habits are kept: units of a day and more look at the date only, and that is cut towards 1970; a week begins on
/// Sunday.
pub fn round_to(
    call: &mut Call<'_>,
    value: &Value<'_>,
    unit: &Value<'_>,
    up: bool,
    out: &mut Column,
) -> Result<(), Failure> {
    let Some(moment) = shown(call, value) else {
        return null(out);
    };
    let ms = moment.to_unit(TimeUnit::Millisecond).unwrap_or_default();
    let unit = as_text(unit);
    let unit_ms = match unit {
        "MILLISECOND" => Some(1),
        "SECOND" => Some(1000),
        "MINUTE" => Some(60_000),
        "HOUR" => Some(3_600_000),
        "DAY" => Some(MILLIS_PER_DAY),
        _ => None,
    };
    let rounded = match unit_ms {
        Some(unit_ms) => {
            let floor = ms.div_euclid(unit_ms) * unit_ms;
            if up && floor != ms { floor + unit_ms } else { floor }
        }
        None => round_date(ms / MILLIS_PER_DAY, unit, up)? * MILLIS_PER_DAY,
    };
    let rounded = Moment::from_unit(rounded, TimeUnit::Millisecond);
    match value {
        Value::Date(_) => give_value(out, Value::Date(rounded.day_and_second().0)),
        Value::Time { unit, .. } => {
            let second = rounded.day_and_second().1;
            give_value(
                out,
                Value::Time {
                    second,
                    nano: rounded.nano,
                    unit: *unit,
                },
            )
        }
        Value::Timestamp { zoned: true, .. } => give_moment(out, zone::to_moment(rounded, call.session.zone)),
        _ => give_moment(out, rounded),
    }
}

fn round_date(days: i64, unit: &str, up: bool) -> Result<i64, Failure> {
    let (year, month, day) = if days < GREGORIAN_CALENDAR_DAY {
        julian_from_days(days)
    } else {
        civil_from_days(days)
    };
    if unit == "WEEK" {
        let since_sunday = (days + 4).rem_euclid(7);
        // Before the Gregorian calendar the date of the other calendar is rounded.
        let days = days_from_civil(year, month, day);
        return Ok(if up {
            days + (7 - since_sunday) % 7
        } else {
            days - since_sunday
        });
    }
    let start = days_from_civil(year, month, day);
    // The first day of the period, and of the next one.
    let (floor, next) = match unit {
        "MONTH" | "QUARTER" => {
            let months = if unit == "MONTH" { 1 } else { 3 };
            let first = (month - 1) / months * months + 1;
            let behind = first + months;
            let next = if behind > 12 {
                days_from_civil(year + 1, 1, 1)
            } else {
                days_from_civil(year, behind, 1)
            };
            (days_from_civil(year, first, 1), next)
        }
        "YEAR" | "DECADE" | "CENTURY" | "MILLENNIUM" => {
            let (years, offset) = match unit {
                "YEAR" => (1, 0),
                "DECADE" => (10, 0),
                "CENTURY" => (100, 1),
                _ => (1000, 1),
            };
            let first = (year - offset).div_euclid(years) * years + offset;
            (days_from_civil(first, 1, 1), days_from_civil(first + years, 1, 1))
        }
        other => {
            return Err(format!(
                "'{other}' is not a unit of CEIL and FLOOR. Use YEAR, MONTH, DAY, HOUR and the like."
            ));
        }
    };
    Ok(if up && floor != start { next } else { floor })
}

/// The first day of the Gregorian calendar, 1582-10-15. Before it Flink's CEIL and FLOOR use the Julian one.
const GREGORIAN_CALENDAR_DAY: i64 = -141_427;

/// Year, month and day in the Julian calendar (Richards, "Mapping Time", for Julian day numbers).
fn julian_from_days(days: i64) -> (i64, u32, u32) {
    let f = days + 2_440_588 + 1401;
    let e = 4 * f + 3;
    let h = 5 * (e.rem_euclid(1461) / 4) + 2;
    let day = (h % 153) / 5 + 1;
    let month = (h / 153 + 2) % 12 + 1;
    let year = e.div_euclid(1461) - 4716 + (14 - month) / 12;
    (year, month as u32, day as u32)
}

/// Adds months, staying within the month that is reached.
pub fn add_months(moment: Moment, months: i64) -> Moment {
    let (days, second) = moment.day_and_second();
    let (year, month, day) = civil_from_days(days);
    let total = year
        .saturating_mul(12)
        .saturating_add(i64::from(month) - 1)
        .saturating_add(months);
    let (year, month) = (
        total.div_euclid(12).clamp(-999_999, 999_999),
        total.rem_euclid(12) as u32 + 1,
    );
    let day = day.min(days_in_month(year, month));
    Moment::new(
        days_from_civil(year, month, day) * SECONDS_PER_DAY + i64::from(second),
        moment.nano,
    )
}

fn added_type(types: &[DataType]) -> Result<DataType, Failure> {
    match types {
        // Hours added to a date make a timestamp, but the unit is not seen here; days and more are most common.
        [_, _, data_type] => first(std::slice::from_ref(data_type)),
        _ => first(types),
    }
}

fn timestamp_add(_: &mut Call<'_>, a: &[Value<'_>], out: &mut Column) -> Result<(), Failure> {
    let (unit, count) = (as_text(&a[0]), as_int(&a[1]));
    let moment = match a[2] {
        Value::Date(days) => Moment::new(days * SECONDS_PER_DAY, 0),
        Value::Time { second, nano, .. } => Moment::new(second.into(), nano),
        Value::Timestamp { moment, .. } => moment,
        _ => return null(out),
    };
    let sum = match unit_of(unit) {
        Some(Unit::Months(months)) => add_months(moment, count.saturating_mul(months)),
        Some(Unit::Millis(ms)) => {
            let total = i128::from(count) * i128::from(ms) * 1_000_000 + i128::from(moment.nano);
            let seconds =
                i64::try_from(total.div_euclid(1_000_000_000)).map_err(|_| "TIMESTAMPADD is out of range.")?;
            let second = moment
                .second
                .checked_add(seconds)
                .ok_or("TIMESTAMPADD is out of range.")?;
            Moment::new(second, total.rem_euclid(1_000_000_000) as u32)
        }
        None => {
            return Err(format!(
                "'{unit}' is not a unit of TIMESTAMPADD. Use YEAR, MONTH, DAY, HOUR and the like."
            ));
        }
    };
    let (days, second) = sum.day_and_second();
    match a[2] {
        Value::Date(_) => give_value(out, Value::Date(days)),
        Value::Time { unit, .. } => give_value(
            out,
            Value::Time {
                second,
                nano: sum.nano,
                unit,
            },
        ),
        _ => give_moment(out, sum),
    }
}

enum Unit {
    Months(i64),
    Millis(i64),
}

fn unit_of(unit: &str) -> Option<Unit> {
    Some(match unit.trim_start_matches("SQL_TSI_") {
        "YEAR" => Unit::Months(12),
        "QUARTER" => Unit::Months(3),
        "MONTH" => Unit::Months(1),
        "WEEK" => Unit::Millis(7 * MILLIS_PER_DAY),
        "DAY" => Unit::Millis(MILLIS_PER_DAY),
        "HOUR" => Unit::Millis(3_600_000),
        "MINUTE" => Unit::Millis(60_000),
        "SECOND" => Unit::Millis(1000),
        "MILLISECOND" => Unit::Millis(1),
        _ => return None,
    })
}

fn timestamp_diff(call: &mut Call<'_>, a: &[Value<'_>], out: &mut Column) -> Result<(), Failure> {
    let (Some(from), Some(to)) = (shown(call, &a[1]), shown(call, &a[2])) else {
        return null(out);
    };
    let ms = |moment: Moment| moment.second * 1000 + i64::from(moment.nano) / 1_000_000;
    let difference = match unit_of(as_text(&a[0])) {
        Some(Unit::Millis(unit)) => (ms(to) - ms(from)) / unit,
        Some(Unit::Months(unit)) => months_between(from, to) / unit,
        None => {
            let unit = as_text(&a[0]);
            return Err(format!(
                "'{unit}' is not a unit of TIMESTAMPDIFF. Use YEAR, MONTH, DAY, HOUR and the like."
            ));
        }
    };
    give_value(out, Value::Integer(difference))
}

/// Whole months from one local time to another.
fn months_between(from: Moment, to: Moment) -> i64 {
    let of = |moment: Moment| {
        let (year, month, _) = civil_from_days(moment.day_and_second().0);
        year * 12 + i64::from(month)
    };
    let mut months = of(to) - of(from);
    if months > 0 && add_months(from, months) > to {
        months -= 1;
    } else if months < 0 && add_months(from, months) < to {
        months += 1;
    }
    months
}

fn date_format(call: &mut Call<'_>, a: &[Value<'_>], out: &mut Column) -> Result<(), Failure> {
    match shown(call, &a[0]) {
        Some(moment) => give(out, &Pattern::new(as_text(&a[1]))?.format(moment)),
        None => null(out),
    }
}

/// A local date and time by a pattern, or else in the common form, as Flink falls back.
fn read_local(text: &str, pattern: Option<&Value<'_>>) -> Result<Option<Moment>, Failure> {
    let by_pattern = match pattern {
        Some(pattern) => Pattern::new(as_text(pattern))?.parse(text, Strictness::Exact),
        None => None,
    };
    Ok(by_pattern.or_else(|| temporal::parse_timestamp_leniently(text)))
}

fn to_timestamp(_: &mut Call<'_>, a: &[Value<'_>], out: &mut Column) -> Result<(), Failure> {
    match read_local(as_text(&a[0]), a.get(1))? {
        Some(moment) => give_moment(out, moment),
        None => null(out),
    }
}

fn to_timestamp_ltz(_: &mut Call<'_>, a: &[Value<'_>], out: &mut Column) -> Result<(), Failure> {
    let precision = match a.get(1) {
        Some(Value::Integer(precision)) => *precision,
        _ => 3,
    };
    let per_second = match (precision, &a[0]) {
        (0, _) => 1,
        (3, _) => 1000,
        (_, Value::Text(_)) => 1000,
        (other, _) => {
            return Err(format!(
                "The precision value '{other}' for function TO_TIMESTAMP_LTZ(numeric, precision) is unsupported. Use 0 or 3."
            ));
        }
    };
    match a[0] {
        Value::Integer(value) => match value.checked_mul(1000 / per_second) {
            Some(ms) => give_moment(out, Moment::from_unit(ms, TimeUnit::Millisecond)),
            None => null(out),
        },
        Value::Text(text) => {
            let zone_name = a.get(2).map_or("UTC", as_text);
            let zone = zone::parse(zone_name)
                .ok_or_else(|| format!("'{zone_name}' is not a time zone. Write one such as Asia/Tokyo."))?;
            match read_local(text, a.get(1).filter(|v| matches!(v, Value::Text(_))))? {
                Some(moment) => give_moment(out, zone::to_moment(moment, zone)),
                None => null(out),
            }
        }
        ref number => {
            let ms = super::arguments::as_double(number) * 1000.0 / per_second as f64;
            if ms.is_finite() {
                give_moment(out, Moment::from_unit(ms as i64, TimeUnit::Millisecond))
            } else {
                null(out)
            }
        }
    }
}

fn to_date(_: &mut Call<'_>, a: &[Value<'_>], out: &mut Column) -> Result<(), Failure> {
    let text = as_text(&a[0]);
    match a.get(1) {
        None => match temporal::parse_date_leniently(text) {
            Some(days) => give_value(out, Value::Date(days)),
            None => null(out),
        },
        Some(pattern) => {
            let days = match Pattern::new(as_text(pattern))?.parse(text, Strictness::Lenient) {
                Some(moment) => moment.day_and_second().0,
                // Flink divides its mark of a failure into days, and keeps the low 32 bits.
                None => i64::from((UNREADABLE / MILLIS_PER_DAY) as i32),
            };
            give_value(out, Value::Date(days))
        }
    }
}

fn from_unixtime(call: &mut Call<'_>, a: &[Value<'_>], out: &mut Column) -> Result<(), Failure> {
    let moment = local(
        Moment::new(as_int(&a[0]).clamp(-1 << 50, 1 << 50), 0),
        call.session.zone,
    );
    let pattern = Pattern::new(a.get(1).map_or("yyyy-MM-dd HH:mm:ss", as_text))?;
    give(out, &pattern.format(moment))
}

fn unix_timestamp(call: &mut Call<'_>, a: &[Value<'_>], out: &mut Column) -> Result<(), Failure> {
    let Some(text) = a.first() else {
        return give_int(out, now(call).second);
    };
    let pattern = Pattern::new(a.get(1).map_or("yyyy-MM-dd HH:mm:ss", as_text))?;
    match pattern.parse(as_text(text), Strictness::Lenient) {
        Some(moment) => give_int(out, zone::to_moment(moment, call.session.zone).second),
        None => give_int(out, UNREADABLE),
    }
}

fn convert_tz(_: &mut Call<'_>, a: &[Value<'_>], out: &mut Column) -> Result<(), Failure> {
    let (from, to) = (Zone::leniently(as_text(&a[1])), Zone::leniently(as_text(&a[2])));
    match temporal::parse_timestamp_leniently(as_text(&a[0])) {
        Some(moment) => {
            let mut text = String::new();
            temporal::write_timestamp(
                &mut text,
                local(zone::to_moment(moment, from), to),
                ' ',
                Fraction::Fixed(0),
            );
            give(out, &text)
        }
        None => null(out),
    }
}
