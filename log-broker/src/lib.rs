//! See the crate's README.

pub mod group;
pub mod log;

use std::ffi::OsString;
use std::process::ExitCode;

/// The program's entry point; the first argument is the program's name.
pub fn main(argv: impl IntoIterator<Item = OsString>) -> ExitCode {
    let _ = argv;
    host::fail(&"nothing here yet")
}
