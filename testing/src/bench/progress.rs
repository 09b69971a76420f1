//! One line that says what is measured now.

use std::io::{IsTerminal, Write};

/// Writes to stderr, and only if that is a terminal.
#[derive(Debug)]
pub struct Progress {
    is_shown: bool,
}

impl Progress {
    pub fn new() -> Self {
        Self {
            is_shown: std::io::stderr().is_terminal(),
        }
    }

    /// Replaces the line.
    pub fn show(&self, what: &str) {
        self.print(&format!("\r\x1b[2K{what} …"));
    }

    /// Removes the line.
    pub fn clear(&self) {
        self.print("\r\x1b[2K");
    }

    fn print(&self, text: &str) {
        if self.is_shown {
            let mut stderr = std::io::stderr().lock();
            // A terminal that is gone must not end a measurement.
            let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}
