//! The flights in the order in which they land.
//!
//! A flight is known to the airport of departure only when it has landed: that is when its record is written. So records
//! come in the order of landing, while their event time is the departure, up to ten hours earlier: the disorder that
//! watermarks exist for. Flights without a departure or an air time (cancelled, diverted) never land here. Ties keep the
//! order of the file.

use arrow::array::{Array, Int64Array, StringArray};
use bytes::Bytes;
use chrono::DateTime;
use serde_json::{Value, json};

use crate::columns::{Columns, ReadError};

const MINUTE_MS: i64 = 60_000;

/// Flights, sorted by landing.
#[derive(Debug)]
pub struct Landings {
    columns: FlightColumns,
    order: Vec<(i64, usize)>,
}

#[derive(Debug)]
struct FlightColumns {
    sched_dep: Int64Array,
    dep_delay: Int64Array,
    arr_delay: Int64Array,
    air_time: Int64Array,
    distance: Int64Array,
    flight: Int64Array,
    carrier: StringArray,
    tailnum: StringArray,
    origin: StringArray,
    dest: StringArray,
}

/// What goes into the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Landing {
    /// Milliseconds since 1970.
    pub landed: i64,
    pub origin: String,
    pub json: String,
}

impl Landings {
    pub fn read(parquet: Bytes) -> Result<Self, ReadError> {
        let table = Columns::read(parquet)?;
        let columns = FlightColumns {
            sched_dep: table.times("sched_dep")?,
            dep_delay: table.integers("dep_delay")?,
            arr_delay: table.integers("arr_delay")?,
            air_time: table.integers("air_time")?,
            distance: table.integers("distance")?,
            flight: table.integers("flight")?,
            carrier: table.texts("carrier")?,
            tailnum: table.texts("tailnum")?,
            origin: table.texts("origin")?,
            dest: table.texts("dest")?,
        };
        let mut order: Vec<(i64, usize)> = (0..table.rows())
            .filter_map(|row| Some((columns.landed(row)?, row)))
            .collect();
        order.sort_by_key(|(landed, _)| *landed);
        Ok(Self { columns, order })
    }

    pub fn len(&self) -> usize {
        self.order.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = Landing> {
        self.order
            .iter()
            .map(|(landed, row)| self.columns.landing(*landed, *row))
    }
}

impl FlightColumns {
    /// Departure plus time in the air; `None` if either is unknown.
    fn landed(&self, row: usize) -> Option<i64> {
        let departed = valid(&self.sched_dep, row)? + MINUTE_MS * valid(&self.dep_delay, row)?;
        Some(departed + MINUTE_MS * valid(&self.air_time, row)?)
    }

    fn landing(&self, landed: i64, row: usize) -> Landing {
        let text = |column: &StringArray| column.is_valid(row).then(|| column.value(row).to_owned());
        let origin = text(&self.origin).unwrap_or_default();
        let json = json!({
            "origin": origin,
            "dest": text(&self.dest),
            "carrier": text(&self.carrier),
            "flight": valid(&self.flight, row),
            "tailnum": text(&self.tailnum),
            "sched_dep": valid(&self.sched_dep, row).and_then(sql_time),
            "dep_delay": valid(&self.dep_delay, row),
            "arr_delay": valid(&self.arr_delay, row),
            "air_time": valid(&self.air_time, row),
            "distance": valid(&self.distance, row),
        });
        Landing {
            landed,
            origin,
            json: json.to_string(),
        }
    }
}

fn valid(column: &Int64Array, row: usize) -> Option<i64> {
    column.is_valid(row).then(|| column.value(row))
}

/// As Flink's JSON format wants a TIMESTAMP by default: `2013-01-01 10:15:00`.
fn sql_time(ms: i64) -> Option<Value> {
    Some(
        DateTime::from_timestamp_millis(ms)?
            .format("%Y-%m-%d %H:%M:%S")
            .to_string()
            .into(),
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::demo::data;

    const HOUR_MS: i64 = 3_600_000;

    #[test]
    fn january_lands_in_order() {
        let landings = Landings::read(data::flights(false).contents).unwrap();
        assert_eq!(landings.len(), 26_398);
        let times: Vec<i64> = landings.iter().map(|landing| landing.landed).collect();
        assert!(times.is_sorted());
        let first: Value = serde_json::from_str(&landings.iter().next().unwrap().json).unwrap();
        assert_eq!(first["sched_dep"].as_str().unwrap().len(), "2013-01-01 10:15:00".len());
        assert!(first["dep_delay"].is_i64() && first["air_time"].is_i64());
    }

    /// The numbers that the stack must show, from a row-by-row reference: the windows of an hour and an airport, with one
    /// watermark 360 minutes behind the newest departure, moved by every row.
    fn windows(landings: &Landings) -> (u64, BTreeMap<(i64, String), u64>) {
        let mut late = 0;
        let mut windows = BTreeMap::new();
        let mut watermark = i64::MIN;
        for landing in landings.iter() {
            let flight: Value = serde_json::from_str(&landing.json).unwrap();
            let departed = landing.landed - MINUTE_MS * flight["air_time"].as_i64().unwrap();
            let window = departed.div_euclid(HOUR_MS) * HOUR_MS;
            if window + HOUR_MS - 1 <= watermark {
                late += 1;
            } else {
                *windows.entry((window, landing.origin)).or_default() += 1;
            }
            watermark = watermark.max(departed - 360 * MINUTE_MS - 1);
        }
        (late, windows)
    }

    #[test]
    fn january_has_62_late_rows_in_this_order() {
        let (late, windows) = windows(&Landings::read(data::flights(false).contents).unwrap());
        assert_eq!(
            (late, windows.len(), windows.values().sum::<u64>()),
            (62, 1_763, 26_336)
        );
    }
}
