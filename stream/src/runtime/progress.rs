//! A line on the terminal that says how far the program is. Nothing where stderr is no terminal.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use super::Meter;

const EVERY: Duration = Duration::from_millis(200);

/// Rewrites the line until it is dropped.
pub async fn show(meter: Meter) {
    if !std::io::stderr().is_terminal() {
        return;
    }
    let mut ticks = tokio::time::interval(EVERY);
    loop {
        ticks.tick().await;
        let (counters, checkpoints) = meter.total();
        let line = format!(
            "\r\x1b[2K{} rows read, {} late, {} window rows, {checkpoints} checkpoints",
            counters.rows_read, counters.late_rows, counters.windows
        );
        let mut stderr = std::io::stderr();
        let _ = stderr.write_all(line.as_bytes()).and_then(|()| stderr.flush());
    }
}

/// Takes the line away.
pub fn clear() {
    if std::io::stderr().is_terminal() {
        let _ = std::io::stderr().write_all(b"\r\x1b[2K");
    }
}
