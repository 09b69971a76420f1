//! What the demo does not wait for: a disk without room, a service that does not come back, a person who has gone.

use std::path::Path;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep};

use super::error::Error;
use crate::launch::{Health, Stack};

/// What January takes with its logs and some room, in bytes; the name node keeps a reserve of its own.
const JANUARY_BYTES: u64 = 64 << 20;
const YEAR_BYTES: u64 = 256 << 20;
/// A service that was killed is back long before this.
const UNHEALTHY_MAX: Duration = Duration::from_secs(30);
/// After this time the reader sees what is waited for.
const MENTION_AFTER: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(500);

/// Refuses a disk that would be full on the way.
pub fn check_space(directory: &Path, year: bool) -> Result<(), Error> {
    let needed = if year { YEAR_BYTES } else { JANUARY_BYTES };
    // The stack's directory may not be there yet.
    let Some(existing) = directory.ancestors().find(|ancestor| ancestor.exists()) else {
        return Ok(());
    };
    let Ok(disk) = rustix::fs::statvfs(existing) else {
        return Ok(()); // What cannot be measured is tried.
    };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free < needed {
        return Err(Error::Space {
            directory: directory.to_owned(),
            free_mb: free >> 20,
            needed_mb: needed >> 20,
        });
    }
    Ok(())
}

/// Resolves at Ctrl-C, at SIGTERM, and when the terminal is closed.
pub async fn told_to_end() {
    let next = async |kind| match signal(kind) {
        Ok(mut signals) => {
            signals.recv().await;
        }
        Err(_) => std::future::pending().await,
    };
    tokio::select! {
        () = next(SignalKind::interrupt()) => {}
        () = next(SignalKind::terminate()) => {}
        () = next(SignalKind::hangup()) => {}
    }
}

/// Resolves when a service of the stack has not been healthy for too long: what waits for it would wait for good.
pub async fn lost(stack: &Stack) -> Error {
    let mut since: Option<(String, Instant, bool)> = None;
    loop {
        sleep(POLL).await;
        let found = match stack.running() {
            Ok(Some(snapshot)) => unhealthy(&snapshot).await,
            _ => Some(("the launcher".to_owned(), "it has ended".to_owned())),
        };
        let Some((service, reason)) = found else {
            since = None;
            continue;
        };
        let (_, began, told) = match &mut since {
            Some(since) if since.0 == service => since,
            since => since.insert((service.clone(), Instant::now(), false)),
        };
        if began.elapsed() >= UNHEALTHY_MAX {
            return Error::Lost {
                service,
                reason,
                seconds: UNHEALTHY_MAX.as_secs(),
            };
        }
        if began.elapsed() >= MENTION_AFTER && !std::mem::replace(told, true) {
            outln!("    waiting for {service}: {reason}");
        }
    }
}

async fn unhealthy(snapshot: &crate::launch::Snapshot) -> Option<(String, String)> {
    let health = crate::launch::health_of(snapshot).await;
    let services = snapshot.services.iter().zip(health);
    services
        .filter_map(|(status, health)| match health {
            Health::Healthy => None,
            Health::Unhealthy(reason) => Some((status.service.clone(), reason)),
        })
        .next()
}
