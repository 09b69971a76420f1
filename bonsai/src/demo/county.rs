//! The demo's result: one row a county.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use arrow::array::Array;
use bytes::Bytes;

use crate::columns::{Columns, ReadError};

#[derive(Debug, Clone, PartialEq)]
pub struct CountyDelay {
    pub fips: String,
    pub name: String,
    pub zips: u64,
    /// The fewest flights that any airport nearest to its zips has: what the means rest on.
    pub flights: u64,
    /// Over the county's zips, the mean of the nearest served airport's mean arrival delay; minutes.
    pub mean_delay: f64,
    /// The mean distance to it.
    pub mean_km: f64,
}

/// Reads the table that the batch job wrote; sorted by `fips`.
pub fn read(parquet: Bytes) -> Result<Vec<CountyDelay>, ReadError> {
    let table = Columns::read(parquet)?;
    let (fips, names, zips) = (table.texts("fips")?, table.texts("name")?, table.integers("zips")?);
    let flights = table.integers("flights")?;
    let (delays, kms) = (table.floats("mean_delay")?, table.floats("mean_km")?);
    let mut rows: Vec<CountyDelay> = (0..fips.len())
        .map(|row| CountyDelay {
            fips: fips.value(row).to_owned(),
            name: names.value(row).to_owned(),
            zips: u64::try_from(zips.value(row)).unwrap_or(0),
            flights: u64::try_from(flights.value(row)).unwrap_or(0),
            mean_delay: delays.value(row),
            mean_km: kms.value(row),
        })
        .collect();
    rows.sort_by(|left, right| left.fips.cmp(&right.fips));
    Ok(rows)
}

/// `fips,name,zips,flights,mean_delay,mean_km`, numbers with four decimals.
pub fn csv(rows: &[CountyDelay]) -> String {
    let mut text = String::from("fips,name,zips,flights,mean_delay,mean_km\n");
    for row in rows {
        let _ = writeln!(
            text,
            "{},{},{},{},{},{}",
            row.fips,
            quoted(&row.name),
            row.zips,
            row.flights,
            decimals(row.mean_delay),
            decimals(row.mean_km)
        );
    }
    text
}

/// RFC 4180: only what needs quotes gets them.
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// Four decimals, and no negative zero.
fn decimals(number: f64) -> String {
    let text = format!("{number:.4}");
    if text == "-0.0000" { "0.0000".to_owned() } else { text }
}

/// Fewer flights than this make no mean.
pub const FLIGHTS_MIN: u64 = 30;

/// Counties with the same airports have the same delay: they stand together, behind the one with the most zips.
#[derive(Debug)]
pub struct Neighbours<'a> {
    pub county: &'a CountyDelay,
    /// How many more counties there are.
    pub others: u64,
}

/// The `count` longest delays, or the shortest, among counties whose airports have [`FLIGHTS_MIN`] flights each; ties by
/// number.
pub fn extremes(rows: &[CountyDelay], count: usize, worst: bool) -> Vec<Neighbours<'_>> {
    let mut sorted: Vec<&CountyDelay> = rows.iter().filter(|row| row.flights >= FLIGHTS_MIN).collect();
    sorted.sort_by(|left, right| {
        let by_delay = left.mean_delay.total_cmp(&right.mean_delay);
        (if worst { by_delay.reverse() } else { by_delay })
            .then_with(|| right.zips.cmp(&left.zips))
            .then_with(|| left.fips.cmp(&right.fips))
    });
    let same = |left: &CountyDelay, right: &CountyDelay| {
        left.flights == right.flights && decimals(left.mean_delay) == decimals(right.mean_delay)
    };
    let mut found = Vec::new();
    for group in sorted.chunk_by(|left, right| same(left, right)).take(count) {
        // Equal but for the last bits of their sums, so the order within is to be made once more.
        let first = group
            .iter()
            .max_by(|left, right| left.zips.cmp(&right.zips).then_with(|| right.fips.cmp(&left.fips)));
        found.extend(first.map(|county| Neighbours {
            county,
            others: group.len() as u64 - 1,
        }));
    }
    found
}

pub fn delays(rows: &[CountyDelay]) -> BTreeMap<String, f64> {
    rows.iter().map(|row| (row.fips.clone(), row.mean_delay)).collect()
}

/// The postal code of the state in which a county lies, from the first two digits of its number.
pub fn state(fips: &str) -> &'static str {
    const STATES: [(&str, &str); 56] = [
        ("01", "AL"),
        ("02", "AK"),
        ("04", "AZ"),
        ("05", "AR"),
        ("06", "CA"),
        ("08", "CO"),
        ("09", "CT"),
        ("10", "DE"),
        ("11", "DC"),
        ("12", "FL"),
        ("13", "GA"),
        ("15", "HI"),
        ("16", "ID"),
        ("17", "IL"),
        ("18", "IN"),
        ("19", "IA"),
        ("20", "KS"),
        ("21", "KY"),
        ("22", "LA"),
        ("23", "ME"),
        ("24", "MD"),
        ("25", "MA"),
        ("26", "MI"),
        ("27", "MN"),
        ("28", "MS"),
        ("29", "MO"),
        ("30", "MT"),
        ("31", "NE"),
        ("32", "NV"),
        ("33", "NH"),
        ("34", "NJ"),
        ("35", "NM"),
        ("36", "NY"),
        ("37", "NC"),
        ("38", "ND"),
        ("39", "OH"),
        ("40", "OK"),
        ("41", "OR"),
        ("42", "PA"),
        ("44", "RI"),
        ("45", "SC"),
        ("46", "SD"),
        ("47", "TN"),
        ("48", "TX"),
        ("49", "UT"),
        ("50", "VT"),
        ("51", "VA"),
        ("53", "WA"),
        ("54", "WV"),
        ("55", "WI"),
        ("56", "WY"),
        ("60", "AS"),
        ("66", "GU"),
        ("69", "MP"),
        ("72", "PR"),
        ("78", "VI"),
    ];
    let number = fips.get(..2).unwrap_or_default();
    STATES
        .iter()
        .find(|(code, _)| *code == number)
        .map_or("", |(_, state)| state)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(fips: &str, name: &str, zips: u64, flights: u64, mean_delay: f64) -> CountyDelay {
        CountyDelay {
            fips: fips.into(),
            name: name.into(),
            zips,
            flights,
            mean_delay,
            mean_km: 12.345_67,
        }
    }

    #[test]
    fn csv_has_four_decimals_and_quotes_only_where_needed() {
        let text = csv(&[
            row("01001", "Autauga", 2, 40, -0.000_01),
            row("01003", "Bald, \"win\"", 2, 50, 8.5),
        ]);
        assert_eq!(
            text,
            "fips,name,zips,flights,mean_delay,mean_km\n01001,Autauga,2,40,0.0000,12.3457\n01003,\"Bald, \"\"win\"\"\",2,50,8.5000,12.3457\n"
        );
    }

    #[test]
    fn extremes_rest_on_enough_flights_and_neighbours_stand_together() {
        let rows = [
            row("1", "a", 2, 29, 99.0),
            row("2", "b", 3, 30, 5.0),
            row("3", "c", 7, 30, 5.0 + 1e-12),
            row("4", "d", 1, 400, 1.0),
            row("5", "e", 1, 400, 2.0),
        ];
        let found = |worst| {
            extremes(&rows, 2, worst)
                .iter()
                .map(|found| (found.county.name.clone(), found.others))
                .collect::<Vec<_>>()
        };
        assert_eq!(found(true), [("c".to_owned(), 1), ("e".to_owned(), 0)]);
        assert_eq!(found(false), [("d".to_owned(), 0), ("e".to_owned(), 0)]);
    }
}
