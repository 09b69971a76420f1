//! What the demo must find, computed in the plainest way: row by row, every pair, no index, none of the services' code.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, Float64Array, Int64Array, RecordBatchReader, StringArray};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, TimeUnit};
use arrow::record_batch::RecordBatch;
use geo::{BoundingRect, Contains, Geometry, Point, Rect};
use geo_traits::to_geo::ToGeoGeometry;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const BOUND_MS: i64 = 360 * MINUTE_MS;
const EARTH_RADIUS_KM: f64 = 6371.0;

#[derive(Debug, Default, Clone, Copy)]
pub struct Window {
    pub flights: u64,
    pub sum: i64,
    pub max: i64,
}

#[derive(Debug, Clone, Copy)]
pub struct County {
    pub zips: u64,
    /// The fewest of any airport that its zips are nearest to.
    pub flights: u64,
    pub mean_delay: f64,
    pub mean_km: f64,
}

struct Table(RecordBatch);

impl Table {
    fn read(name: &str) -> Self {
        let path = format!("../examples/data/{name}");
        let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(path).unwrap())
            .unwrap()
            .build()
            .unwrap();
        let schema = reader.schema();
        let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
        Self(concat_batches(&schema, &batches).unwrap())
    }

    fn column<A: Array + Clone + 'static>(&self, name: &str, to: &DataType) -> A {
        cast(self.0.column_by_name(name).unwrap(), to)
            .unwrap()
            .as_any()
            .downcast_ref::<A>()
            .unwrap()
            .clone()
    }

    fn integers(&self, name: &str) -> Vec<Option<i64>> {
        self.column::<Int64Array>(name, &DataType::Int64).iter().collect()
    }

    fn floats(&self, name: &str) -> Vec<f64> {
        self.column::<Float64Array>(name, &DataType::Float64).values().to_vec()
    }

    fn texts(&self, name: &str) -> Vec<String> {
        self.column::<StringArray>(name, &DataType::Utf8)
            .iter()
            .map(|text| text.unwrap_or_default().to_owned())
            .collect()
    }
}

/// The windows by `(2013-01-01 10:00:00, EWR)`, without the rows that come too late.
pub fn windows() -> BTreeMap<(String, String), Window> {
    let flights = Table::read("flights_2013_01.parquet");
    let scheduled = cast(
        flights.0.column_by_name("sched_dep").unwrap(),
        &DataType::Timestamp(TimeUnit::Millisecond, None),
    )
    .unwrap();
    let scheduled = cast(&scheduled, &DataType::Int64).unwrap();
    let scheduled: Vec<i64> = scheduled
        .as_any()
        .downcast_ref::<Int64Array>()
        .unwrap()
        .values()
        .to_vec();
    let (delays, air_times) = (flights.integers("dep_delay"), flights.integers("air_time"));
    let origins = flights.texts("origin");
    let mut landed: Vec<(i64, i64, usize)> = (0..scheduled.len())
        .filter_map(|row| {
            let departed = scheduled[row] + MINUTE_MS * delays[row]?;
            Some((departed + MINUTE_MS * air_times[row]?, departed, row))
        })
        .collect();
    landed.sort_by_key(|(landed, _, _)| *landed);
    let mut watermark = i64::MIN;
    let mut windows: BTreeMap<(String, String), Window> = BTreeMap::new();
    for (_, departed, row) in landed {
        let start = departed.div_euclid(HOUR_MS) * HOUR_MS;
        if start + HOUR_MS - 1 > watermark {
            let hour = chrono::DateTime::from_timestamp_millis(start)
                .unwrap()
                .format("%Y-%m-%d %H:%M:%S")
                .to_string();
            let first = Window {
                max: i64::MIN,
                ..Window::default()
            };
            let window = windows.entry((hour, origins[row].clone())).or_insert(first);
            let delay = delays[row].unwrap();
            window.flights += 1;
            window.sum += delay;
            window.max = window.max.max(delay);
        }
        watermark = watermark.max(departed - BOUND_MS - 1);
    }
    windows
}

/// The counties with at least one zip code, by number.
pub fn counties() -> BTreeMap<String, County> {
    let served = served();
    let zipcodes = Table::read("zipcodes.parquet");
    let homes: Vec<Point<f64>> = zipcodes
        .floats("lon")
        .into_iter()
        .zip(zipcodes.floats("lat"))
        .map(|(x, y)| Point::new(x, y))
        .collect();
    let counties = Table::read("counties.parquet");
    let outlines = outlines(&counties);
    let mut found: BTreeMap<String, (u64, f64, f64, BTreeSet<usize>)> = BTreeMap::new();
    for home in homes {
        for (fips, bounds, outline) in &outlines {
            if !holds(bounds, &home) || !outline.contains(&home) {
                continue;
            }
            let (km, airport) = nearest(&served, home);
            let county = found.entry(fips.clone()).or_default();
            county.0 += 1;
            county.1 += served[airport].delay;
            county.2 += km;
            county.3.insert(airport);
        }
    }
    let mean = |(zips, delay, km, airports): (u64, f64, f64, BTreeSet<usize>)| County {
        zips,
        flights: airports
            .into_iter()
            .map(|airport| served[airport].flights)
            .min()
            .unwrap(),
        mean_delay: delay / zips as f64,
        mean_km: km / zips as f64,
    };
    found.into_iter().map(|(fips, sums)| (fips, mean(sums))).collect()
}

fn holds(bounds: &Rect<f64>, point: &Point<f64>) -> bool {
    let (min, max) = (bounds.min(), bounds.max());
    min.x <= point.x() && point.x() <= max.x && min.y <= point.y() && point.y() <= max.y
}

fn outlines(counties: &Table) -> Vec<(String, Rect<f64>, Geometry<f64>)> {
    let wkb: arrow::array::BinaryArray = counties.column("wkb", &DataType::Binary);
    let outline = |(row, fips): (usize, String)| {
        let geometry = wkb::reader::read_wkb(wkb.value(row))
            .unwrap()
            .try_to_geometry()
            .unwrap();
        (fips, geometry.bounding_rect().unwrap(), geometry)
    };
    counties.texts("fips").into_iter().enumerate().map(outline).collect()
}

/// An airport where a flight landed whose arrival delay is known.
struct Airport {
    place: Point<f64>,
    /// The mean, in minutes.
    delay: f64,
    flights: u64,
}

fn served() -> Vec<Airport> {
    let flights = Table::read("flights_2013_01.parquet");
    let mut delays: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for (dest, delay) in flights.texts("dest").into_iter().zip(flights.integers("arr_delay")) {
        if let Some(delay) = delay {
            let sums = delays.entry(dest).or_default();
            sums.0 += delay;
            sums.1 += 1;
        }
    }
    let airports = Table::read("airports.parquet");
    let (codes, longitudes, latitudes) = (airports.texts("code"), airports.floats("lon"), airports.floats("lat"));
    (0..codes.len())
        .filter_map(|row| {
            let (sum, count) = delays.get(&codes[row])?;
            Some(Airport {
                place: Point::new(longitudes[row], latitudes[row]),
                delay: *sum as f64 / *count as f64,
                flights: u64::try_from(*count).unwrap(),
            })
        })
        .collect()
}

/// The distance in kilometres, and which airport.
fn nearest(served: &[Airport], home: Point<f64>) -> (f64, usize) {
    served
        .iter()
        .enumerate()
        .map(|(number, airport)| (haversine_km(home, airport.place), number))
        .min_by(|left, right| left.0.total_cmp(&right.0))
        .unwrap()
}

fn haversine_km(from: Point<f64>, to: Point<f64>) -> f64 {
    let (from_latitude, to_latitude) = (from.y().to_radians(), to.y().to_radians());
    let half = |degrees: f64| (degrees.to_radians() / 2.0).sin().powi(2);
    let h = half(to.y() - from.y()) + from_latitude.cos() * to_latitude.cos() * half(to.x() - from.x());
    2.0 * EARTH_RADIUS_KM * h.sqrt().asin()
}

#[test]
fn the_reference_gives_the_known_counts() {
    let windows = windows();
    assert_eq!(windows.len(), 1_763);
    assert_eq!(windows.values().map(|window| window.flights).sum::<u64>(), 26_336);
    let counties = counties();
    assert_eq!(counties.len(), 3_217);
    assert_eq!(counties.values().map(|county| county.zips).sum::<u64>(), 41_603);
}
