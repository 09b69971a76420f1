//! What happens by itself: dead data nodes, lost replicas, old leases, checkpoints, space on the disk.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use host::Shutdown;

use super::state::{NameNode, wall_clock};
use super::writing::recovery;
use crate::block::Event;
use crate::namespace::RECOVERY_HOLDER;

const TICK: Duration = Duration::from_millis(200);
/// How often leases, space and the retry cache are looked at, in ticks.
const SLOW_TICKS: u64 = 5;
/// Files whose leases are recovered before other things are looked at again.
const RECOVERIES_PER_TURN: usize = 1000;

/// Runs until `shutdown`.
pub async fn run(name_node: Arc<NameNode>, shutdown: Shutdown) {
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut last_checkpoint = (Instant::now(), name_node.operations.load(Ordering::Relaxed));
    let mut ticks = 0u64;
    let mut trash_turn = turn(&name_node, wall_clock());
    loop {
        tokio::select! {
            _ = interval.tick() => {}
            () = shutdown.requested() => return,
        }
        name_node.lock().soft.step(Event::Tick, name_node.now());
        name_node.data_nodes_changed.notify_waiters();
        ticks += 1;
        if !ticks.is_multiple_of(SLOW_TICKS) {
            continue;
        }
        name_node.check_space();
        name_node.expire_leases().await;
        let time = wall_clock();
        if turn(&name_node, time) > trash_turn {
            match name_node.empty_trash(time).await {
                Ok(()) => trash_turn = turn(&name_node, time),
                Err(error) => tracing::debug!(%error, "the trash is emptied later"),
            }
        }
        let (at, operations) = last_checkpoint;
        let new = name_node.operations.load(Ordering::Relaxed) - operations;
        let settings = &name_node.settings;
        let period = Duration::from_secs(settings.checkpoint_period_s);
        if new >= settings.checkpoint_transactions || (new > 0 && at.elapsed() >= period) || name_node.is_failed() {
            last_checkpoint = (Instant::now(), name_node.operations.load(Ordering::Relaxed));
            let this = Arc::clone(&name_node);
            let _ = tokio::task::spawn_blocking(move || this.maintain()).await;
        }
    }
}

/// Counts the emptier's turns: they are at multiples of its period, as in Hadoop.
fn turn(name_node: &NameNode, time: u64) -> u64 {
    time.checked_div(name_node.settings.trash_period_ms())
        .unwrap_or_default()
}

impl NameNode {
    fn maintain(&self) {
        if self.is_failed() {
            if let Err(error) = self.resume() {
                tracing::error!(%error, "the edit log is still not writable");
            }
            return;
        }
        if let Err(error) = self.checkpoint() {
            tracing::error!(%error, "could not save the namespace image");
        }
    }

    /// Refuses changes before the disk is full, as HDFS does, and serves them again when there is space.
    fn check_space(&self) {
        let Ok(stat) = rustix::fs::statvfs(self.data_directory()) else {
            return;
        };
        let low = stat.f_bavail * stat.f_frsize < self.settings.reserved_bytes;
        let now = self.now();
        let mut state = self.lock();
        if state.soft.low_on_space != low {
            state.soft.low_on_space = low;
            match low {
                true => tracing::error!("too little space is left for the edit log: changes are refused"),
                false => tracing::info!("there is space for the edit log again"),
            }
        }
        state.replicated.retries.expire(now, self.settings.retry_cache_ms);
    }

    /// Closes files whose writers were not heard of for the hard limit, and goes on with recoveries.
    async fn expire_leases(&self) {
        let files = {
            let state = self.lock();
            if state.soft.blocks.in_safe_mode() || self.is_failed() {
                return;
            }
            let mut files = state
                .replicated
                .names
                .leases()
                .expired_files(self.now(), self.settings.lease_hard_limit_ms);
            files.extend(state.replicated.names.leases().files(RECOVERY_HOLDER));
            files
        };
        let asker = self.own_asker();
        for file in files.into_iter().take(RECOVERIES_PER_TURN) {
            let closed = self.propose(&asker, None, |state, now| Ok(recovery(state, file, "", now)));
            if let Err(error) = closed.await {
                tracing::warn!(%error, "lease recovery failed");
                return;
            }
        }
    }
}
