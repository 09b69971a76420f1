//! One program, the whole stack.
//!
//! `bonsai` links the five services and is each of them: `bonsai log-broker …` is the log broker, the same code as the
//! program of that name. Beyond that it does two things. [`launch`] runs the services as processes of this very file and
//! looks after them (`up`, `status`, `logs`, `down`, `reset`, `env`). [`demo`] carries real flights through all five and
//! draws a map.
//!
//! As a library it gives tests a [`Stack`] of their own.
//!
//! This is the only crate that knows all services. It speaks to them as anyone could: through their command lines, their
//! wire clients and their files.

/// `println!`, but a reader that has gone away (`bonsai status | head -1`) is no reason to panic.
macro_rules! outln {
    ($($argument:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout().lock(), $($argument)*);
    }};
}

/// `eprintln!`, but a terminal that was closed is no reason to panic.
macro_rules! errln {
    ($($argument:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr().lock(), $($argument)*);
    }};
}

mod cli;
mod columns;
mod demo;
mod launch;
mod map;

pub use launch::{Builder, Embedded as Stack, Error as StackError};

use std::ffi::OsString;
use std::process::ExitCode;

/// The program's entry point; the first argument is the program's name.
pub fn main(argv: impl IntoIterator<Item = OsString>) -> ExitCode {
    launch::lifeline::hold();
    cli::run(argv.into_iter().collect())
}
