//! `bonsai status`, and the table that `up` prints too.

use serde_json::json;

use super::Error;
use super::board::{State, Status};
use super::stack::Stack;

/// Prints the state of each service, as a table or as a JSON list of objects.
pub fn status(stack: &Stack, as_json: bool) -> Result<(), Error> {
    let snapshot = stack.snapshot()?;
    let is_up = snapshot.supervisor.is_alive();
    let services: Vec<Status> = if is_up {
        snapshot.services
    } else {
        snapshot.services.into_iter().map(down).collect()
    };
    if as_json {
        let list: Vec<_> = services.iter().map(object).collect();
        outln!("{:#}", serde_json::Value::Array(list));
        return Ok(());
    }
    match is_up {
        true => outln!(
            "up in {} (pid {})\n",
            stack.directory().display(),
            snapshot.supervisor.pid
        ),
        false => outln!(
            "nothing is up in {}; start it with `bonsai up`\n",
            stack.directory().display()
        ),
    }
    print_table(&services);
    Ok(())
}

/// What a service is when its supervisor is gone.
fn down(status: Status) -> Status {
    Status {
        process: None,
        ready_ms: None,
        state: State::Stopped,
        ..status
    }
}

fn object(status: &Status) -> serde_json::Value {
    json!({
        "service": status.service,
        "address": status.address,
        "pid": status.process.map(|process| process.pid),
        "state": status.state,
        "ready_ms": status.ready_ms,
        "rss_bytes": rss(status),
        "restarts": status.restarts,
    })
}

fn rss(status: &Status) -> Option<u64> {
    status.process.and_then(|process| process.rss_bytes())
}

/// Service, address, pid, state, ready in, RSS; the memory of all together below.
pub fn print_table(services: &[Status]) {
    let width = services
        .iter()
        .map(|status| status.service.len())
        .max()
        .unwrap_or(0)
        .max("service".len());
    outln!(
        "{:width$}  {:<21}  {:>8}  {:<10}  {:>8}  {:>8}",
        "service",
        "address",
        "pid",
        "state",
        "ready in",
        "RSS"
    );
    for status in services {
        outln!(
            "{:width$}  {:<21}  {:>8}  {:<10}  {:>8}  {:>8}",
            status.service,
            status.address,
            status.process.map_or("-".to_owned(), |process| process.pid.to_string()),
            status.state.name(),
            status.ready_ms.map_or("-".to_owned(), |ms| format!("{ms} ms")),
            rss(status).map_or("-".to_owned(), megabytes),
        );
    }
    let total: u64 = services.iter().filter_map(rss).sum();
    if total > 0 {
        outln!(
            "{:width$}  {:<21}  {:>8}  {:<10}  {:>8}  {:>8}",
            "together",
            "",
            "",
            "",
            "",
            megabytes(total)
        );
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
