//! What the passing of time brings about: session timeouts, and offsets that nobody uses any more.

use std::sync::Arc;
use std::time::Duration;

use host::Shutdown;

use super::super::broker::Broker;
use super::super::now_ms;
use super::super::partition::lock;
use super::{Content, Coordinator};
use crate::group::{Offsets, group_tombstone};

/// The longest that the timers sleep.
const TICK_MAX: Duration = Duration::from_secs(5);
/// The shortest that the timers sleep, so that deadlines close to each other are looked at together.
const TICK_MIN: Duration = Duration::from_millis(10);

/// Lets time pass for the groups: sleeps until the next deadline, or until it may have changed.
pub(in super::super) async fn timers(broker: Arc<Broker>, shutdown: Shutdown) {
    let coordinator = &broker.groups;
    let check_ms = broker.properties.number("offsets.retention.check.interval.ms");
    let retention_ms = broker
        .properties
        .number("offsets.retention.minutes")
        .saturating_mul(60_000);
    let mut next_check_ms = now_ms().saturating_add(check_ms);
    while !shutdown.is_requested() {
        let deadline = lock(&coordinator.core).groups.next_deadline();
        let pause = deadline.map_or(TICK_MAX, |deadline| {
            Duration::from_millis(u64::try_from(deadline.saturating_sub(now_ms())).unwrap_or(0))
                .clamp(TICK_MIN, TICK_MAX)
        });
        tokio::select! {
            () = tokio::time::sleep(pause) => coordinator.step(|core| ((), core.groups.tick(now_ms()))),
            () = coordinator.changed.notified() => {}
        }
        if now_ms() >= next_check_ms {
            coordinator.expire(retention_ms, now_ms()).await;
            next_check_ms = now_ms().saturating_add(check_ms);
        }
    }
}

impl Coordinator {
    /// Deletes offsets that have expired, and groups that have neither members nor offsets.
    pub(super) async fn expire(&self, retention_ms: i64, now_ms: i64) {
        let named: Vec<String> = lock(&self.offsets).groups().map(str::to_owned).collect();
        for group in named {
            let expiry = lock(&self.core).groups.expiry(&group);
            if lock(&self.offsets)
                .expired(&group, &expiry, retention_ms, now_ms)
                .is_empty()
            {
                continue;
            }
            // Looked at again behind all commits that are queued before.
            let of = group.clone();
            let derive = move |offsets: &Offsets| offsets.expired(&of, &expiry, retention_ms, now_ms);
            match self.write(Content::Derived(group.clone(), Box::new(derive))).await {
                Ok(()) => tracing::info!(group, "committed offsets have expired"),
                Err(code) => tracing::warn!(group, %code, "expired offsets could not be deleted"),
            }
        }
        let idle: Vec<String> = {
            let core = lock(&self.core);
            let offsets = lock(&self.offsets);
            let idle = core.groups.idle().filter(|group| !offsets.contains(group));
            idle.map(str::to_owned).collect()
        };
        for group in idle {
            let _steps = lock(&self.steps);
            if lock(&self.core).groups.forget(&group) {
                let tombstone = vec![group_tombstone(&group)];
                self.submit(Content::Entries(group, tombstone), |_| {});
            }
        }
    }
}
