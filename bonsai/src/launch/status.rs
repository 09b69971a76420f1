//! `bonsai status`, and the table that `up` prints too.

use std::time::Duration;

use clap::Args;
use coordinator_client::Options;
use coordinator_client::registry::{self, Registration};
use tokio::time::Instant;

use super::Error;
use super::board::{State, Status};
use super::health::Health;
use super::report::{Report, ServiceReport};
use super::stack::Stack;

const POLL: Duration = Duration::from_millis(200);
/// How long the registrations of a coordinator elsewhere are waited for.
const REGISTRY_MAX: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Default, Args)]
pub struct StatusArgs {
    /// As a JSON list of objects.
    #[arg(long)]
    json: bool,
    /// Wait until all services are healthy, at most this long: 30s, 2m.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    wait: Option<Duration>,
    /// Instead of this machine's stack, what is registered in a coordinator or an etcd.
    #[command(flatten)]
    registry: Options,
}

/// Prints the state of each service, as a table or as a JSON list of objects. True if all are healthy.
pub fn status(stack: &Stack, args: &StatusArgs) -> Result<bool, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::io("cannot start the runtime", error))?;
    if args.registry.coordinator.is_some() {
        return runtime.block_on(registered(args));
    }
    let deadline = Instant::now() + args.wait.unwrap_or_default();
    loop {
        let report = match runtime.block_on(Report::of(stack)) {
            Ok(report) => report,
            Err(Error::NoState(_)) if Instant::now() < deadline => {
                std::thread::sleep(POLL);
                continue;
            }
            Err(error) => return Err(error),
        };
        let is_healthy = report.is_healthy();
        if !is_healthy && Instant::now() < deadline {
            std::thread::sleep(POLL);
            continue;
        }
        if args.json {
            let list: Vec<_> = report.services.iter().map(ServiceReport::object).collect();
            outln!("{:#}", serde_json::Value::Array(list));
        } else {
            print(&report);
        }
        return Ok(is_healthy);
    }
}

fn print(report: &Report) {
    let directory = report.directory.display();
    match report.is_up {
        true => outln!("up in {directory} (pid {})\n", report.supervisor.pid),
        false => outln!("nothing is up in {directory}; start it with `bonsai up`\n"),
    }
    let rows: Vec<Row<'_>> = report
        .services
        .iter()
        .map(|service| Row {
            status: &service.status,
            health: &service.health,
            detail: service.answer().map_or("", |answer| &answer.facts.summary),
        })
        .collect();
    print_rows(&rows);
    for service in &report.services {
        let name = &service.status.service;
        for warning in service.answer().into_iter().flat_map(|answer| &answer.facts.warnings) {
            outln!("\n{name}: warning: {warning}");
        }
        if let (false, Some(error), true) = (service.health.is_healthy(), &service.last_error, report.is_up) {
            outln!("\n{name}: its last error: {error}");
        }
    }
    if let Some(bytes) = super::report::available(&report.directory) {
        outln!("\ndisk: {} left", megabytes(bytes));
    }
}

/// What is registered, by any launcher or none.
async fn registered(args: &StatusArgs) -> Result<bool, Error> {
    let found = find_registered(&args.registry).await?;
    if args.json {
        let list = serde_json::to_value(&found).map_err(|error| Error::io("cannot write JSON", error.into()))?;
        outln!("{list:#}");
    } else {
        for registration in &found {
            let addresses: Vec<String> = registration
                .addresses
                .iter()
                .map(|(listener, address)| format!("{listener}={address}"))
                .collect();
            let Registration {
                program, id, version, ..
            } = registration;
            outln!("{program:12} {id:36} {version:8} {}", addresses.join(" "));
        }
    }
    Ok(!found.is_empty())
}

/// The registrations in the coordinator that `options` name.
pub async fn find_registered(options: &Options) -> Result<Vec<Registration>, Error> {
    let registry_error = |reason: String| Error::Registry(options.coordinator.clone().unwrap_or_default(), reason);
    let client = options.client().map_err(|error| registry_error(error.to_string()))?;
    let Some(client) = client else { return Ok(Vec::new()) };
    match tokio::time::timeout(REGISTRY_MAX, registry::all(&client)).await {
        Ok(found) => found.map_err(|error| registry_error(error.to_string())),
        Err(_) => Err(registry_error(format!("no answer within {} s", REGISTRY_MAX.as_secs()))),
    }
}

/// A line of the table.
struct Row<'a> {
    status: &'a Status,
    health: &'a Health,
    /// What its own protocol says.
    detail: &'a str,
}

/// As [`print_rows`], of services that were not asked by their own protocols.
pub fn print_table(services: &[Status], health: &[Health]) {
    let rows: Vec<Row<'_>> = services
        .iter()
        .zip(health)
        .map(|(status, health)| Row {
            status,
            health,
            detail: "",
        })
        .collect();
    print_rows(&rows);
}

/// Service, address, pid, state, ready in, RSS, and what it answers; the memory of all together below, and who is not healthy,
/// with the reason.
fn print_rows(rows: &[Row<'_>]) {
    let widest = |text: fn(&Status) -> &str, title: &str| {
        let longest = rows.iter().map(|row| text(row.status).len()).max().unwrap_or(0);
        longest.max(title.len())
    };
    let name = widest(|status| &status.service, "service");
    let address = widest(|status| &status.address, "address");
    let line = |cells: [&str; 7]| {
        let [service, at, pid, state, ready, memory, detail] = cells;
        let line = format!("{service:name$}  {at:address$}  {pid:>8}  {state:<10}  {ready:>8}  {memory:>8}  {detail}");
        outln!("{}", line.trim_end());
    };
    let has_details = rows.iter().any(|row| !row.detail.is_empty());
    let answers = if has_details { "answers" } else { "" };
    line(["service", "address", "pid", "state", "ready in", "RSS", answers]);
    for Row { status, health, detail } in rows {
        let state = match (status.state, health) {
            (State::Ready, Health::Unhealthy(_)) => "unhealthy",
            (state, _) => state.name(),
        };
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        line([
            &status.service,
            &status.address,
            &or_none(status.process.map(|process| process.pid.to_string())),
            state,
            &or_none(status.ready_ms.map(|ms| format!("{ms} ms"))),
            &or_none(rss(status).map(megabytes)),
            detail,
        ]);
    }
    let total: u64 = rows.iter().filter_map(|row| rss(row.status)).sum();
    if total > 0 {
        line(["together", "", "", "", "", &megabytes(total), ""]);
    }
    for Row { status, health, .. } in rows {
        if let (Some(reason), false) = (health.reason(), status.state == State::Stopped) {
            outln!("\n{}: {reason}", status.service);
        }
        if let (Some(last), true) = (&status.last_exit, status.restarts > 0) {
            let times = match status.restarts {
                1 => "once".to_owned(),
                count => format!("{count} times"),
            };
            outln!("\n{}: restarted {times}; it {last}", status.service);
        }
    }
}

fn rss(status: &Status) -> Option<u64> {
    status.process.and_then(|process| process.rss_bytes())
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// `30s`, `500ms`, `2m`, `1h`; a bare number is seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits
        .parse()
        .map_err(|_| format!("'{text}' is no time: write for example 30s or 2m"))?;
    match &text[digits.len()..] {
        "" | "s" => Ok(Duration::from_secs(number)),
        "ms" => Ok(Duration::from_millis(number)),
        "m" => Ok(Duration::from_secs(number.saturating_mul(60))),
        "h" => Ok(Duration::from_secs(number.saturating_mul(3_600))),
        unit => Err(format!("'{unit}' is no unit of time: write ms, s, m or h")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("7"), Ok(Duration::from_secs(7)));
        assert_eq!(duration("3h"), Ok(Duration::from_secs(10_800)));
        assert!(duration("soon").is_err() && duration("3d").is_err() && duration("").is_err());
    }
}
