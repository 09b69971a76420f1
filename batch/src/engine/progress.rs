//! A sign of life on a terminal while a query runs.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A quick query shows nothing.
const SHOWN_AFTER: Duration = Duration::from_millis(1500);
const TICK: Duration = Duration::from_millis(120);

/// Shown on stderr from [`SHOWN_AFTER`] on, when that is a terminal; gone when it is dropped.
pub struct Progress {
    bar: ProgressBar,
    rows: AtomicU64,
    starter: tokio::task::JoinHandle<()>,
}

impl Progress {
    pub fn start() -> Progress {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {msg}") {
            bar.set_style(style);
        }
        bar.set_message("running");
        let shown = bar.clone();
        let starter = tokio::spawn(async move {
            if std::io::stderr().is_terminal() {
                tokio::time::sleep(SHOWN_AFTER).await;
                shown.set_draw_target(ProgressDrawTarget::stderr());
                shown.enable_steady_tick(TICK);
            }
        });
        Progress {
            bar,
            rows: AtomicU64::new(0),
            starter,
        }
    }

    /// More rows of the result are there.
    pub fn rows(&self, more: usize) {
        let rows = self.rows.fetch_add(more as u64, Ordering::Relaxed) + more as u64;
        self.bar.set_message(format!("{rows} rows"));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.starter.abort();
        self.bar.finish_and_clear();
    }
}
