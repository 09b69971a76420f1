//! See the crate's README.

pub mod connector;
mod error;
pub mod format;
pub mod output;

use std::ffi::OsString;
use std::process::ExitCode;

pub use error::Error;

/// The program's entry point; the first argument is the program's name.
pub fn main(argv: impl IntoIterator<Item = OsString>) -> ExitCode {
    let _ = argv;
    host::fail(&"nothing here yet")
}
