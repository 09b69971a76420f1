//! `bonsai status`, and the table that `up` prints too.

use std::time::Duration;

use clap::Args;
use coordinator_client::Options;
use coordinator_client::registry::{self, Registration};
use serde_json::json;
use tokio::time::Instant;

use super::Error;
use super::board::{State, Status};
use super::health::{self, Health};
use super::service;
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
        let snapshot = match stack.snapshot() {
            Ok(snapshot) => snapshot,
            Err(Error::NoState(_)) if Instant::now() < deadline => {
                std::thread::sleep(POLL);
                continue;
            }
            Err(error) => return Err(error),
        };
        let is_up = snapshot.supervisor.is_alive();
        let services: Vec<Status> = if is_up {
            snapshot.services
        } else {
            snapshot.services.into_iter().map(down).collect()
        };
        let ports = stack.ports()?;
        let has_coordinator = ports.is_coordinator_elsewhere()
            || services
                .iter()
                .any(|status| service::find(&status.service).is_some_and(|row| row.name == "coordinator"));
        let health = runtime.block_on(async {
            let mut health = health::of_all(&services).await;
            if has_coordinator && is_up {
                health::check_registrations(&ports.coordinators().join(","), &services, &mut health).await;
            }
            health
        });
        let is_healthy = is_up && health.iter().all(Health::is_healthy);
        if !is_healthy && Instant::now() < deadline {
            std::thread::sleep(POLL);
            continue;
        }
        if args.json {
            let list: Vec<_> = services
                .iter()
                .zip(&health)
                .map(|(status, health)| object(status, health))
                .collect();
            outln!("{:#}", serde_json::Value::Array(list));
        } else {
            let directory = stack.directory().display();
            match is_up {
                true => outln!("up in {directory} (pid {})\n", snapshot.supervisor.pid),
                false => outln!("nothing is up in {directory}; start it with `bonsai up`\n"),
            }
            print_table(&services, &health);
        }
        return Ok(is_healthy);
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

/// What a service is when its supervisor is gone.
fn down(status: Status) -> Status {
    Status {
        process: None,
        ready_ms: None,
        state: State::Stopped,
        reason: None,
        ..status
    }
}

fn object(status: &Status, health: &Health) -> serde_json::Value {
    json!({
        "service": status.service,
        "address": status.address,
        "pid": status.process.map(|process| process.pid),
        "state": status.state,
        "healthy": health.is_healthy(),
        "reason": health.reason(),
        "ready_ms": status.ready_ms,
        "rss_bytes": rss(status),
        "restarts": status.restarts,
        "last_exit": status.last_exit,
    })
}

fn rss(status: &Status) -> Option<u64> {
    status.process.and_then(|process| process.rss_bytes())
}

/// Service, address, pid, state, ready in, RSS, restarts; the memory of all together below, and who is not healthy, with the
/// reason.
pub fn print_table(services: &[Status], health: &[Health]) {
    let width = |text: fn(&Status) -> &str, title: &str| {
        let longest = services.iter().map(|status| text(status).len()).max().unwrap_or(0);
        longest.max(title.len())
    };
    let (name, address) = (
        width(|status| &status.service, "service"),
        width(|status| &status.address, "address"),
    );
    outln!(
        "{:name$}  {:address$}  {:>8}  {:<10}  {:>8}  {:>8}",
        "service",
        "address",
        "pid",
        "state",
        "ready in",
        "RSS"
    );
    for (status, health) in services.iter().zip(health) {
        let state = match (status.state, health) {
            (State::Ready, Health::Unhealthy(_)) => "unhealthy",
            (state, _) => state.name(),
        };
        outln!(
            "{:name$}  {:address$}  {:>8}  {:<10}  {:>8}  {:>8}",
            status.service,
            status.address,
            status.process.map_or("-".to_owned(), |process| process.pid.to_string()),
            state,
            status.ready_ms.map_or("-".to_owned(), |ms| format!("{ms} ms")),
            rss(status).map_or("-".to_owned(), megabytes),
        );
    }
    let total: u64 = services.iter().filter_map(rss).sum();
    if total > 0 {
        outln!(
            "{:name$}  {:address$}  {:>8}  {:<10}  {:>8}  {:>8}",
            "together",
            "",
            "",
            "",
            "",
            megabytes(total)
        );
    }
    for (status, health) in services.iter().zip(health) {
        if let (Some(reason), false) = (health.reason(), status.state == State::Stopped) {
            outln!("\n{}: {reason}", status.service);
        }
        if let (Some(last), true) = (&status.last_exit, status.restarts > 0) {
            let times = if status.restarts == 1 { "once" } else { "times" };
            let count = if status.restarts == 1 {
                String::new()
            } else {
                format!("{} ", status.restarts)
            };
            outln!("\n{}: restarted {count}{times}; it {last}", status.service);
        }
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// `30s`, `500ms`, `2m`; a bare number is seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits
        .parse()
        .map_err(|_| format!("'{text}' is no time: write for example 30s or 2m"))?;
    match &text[digits.len()..] {
        "" | "s" => Ok(Duration::from_secs(number)),
        "ms" => Ok(Duration::from_millis(number)),
        "m" => Ok(Duration::from_secs(number.saturating_mul(60))),
        unit => Err(format!("'{unit}' is no unit of time: write ms, s or m")),
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
        assert!(duration("soon").is_err() && duration("3h").is_err() && duration("").is_err());
    }
}
